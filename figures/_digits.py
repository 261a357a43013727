"""The digits, the classifiers of figures 28 and 29, and how all of them are trained."""

from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minode import MLP, Classifier, Fit, Layered, fit
from minode.learning.optimisers import cosine

from ._counting import Counting
from ._kept import kept

WIDTH, LAYERS, SEEDS = 32, 6, (0, 1, 2)
STEPS, BATCH, RATE, DECAY = 500, 96, 0.02, 1e-4
SHIFT, NOISE = 0.4, 0.1                    # of a pixel, and of the grey of one


class Data(NamedTuple):
    """Images (n, 64), from 0 to 1, and their labels (n,)."""

    images: np.ndarray
    labels: np.ndarray


@cache
def data():
    """(training part, held-out part): a fifth of the images, drawn once, is held out."""
    with np.load(Path(__file__).parent / "data" / "digits.npz", allow_pickle=False) as file:
        images, labels = file["images"].reshape(-1, 64) / 16.0, file["labels"].astype(int)
    order = np.random.default_rng(0).permutation(len(labels))
    held, rest = np.split(order, [len(labels) // 5])
    return Data(images[rest], labels[rest]), Data(images[held], labels[held])


def divided():
    """The training part in two: (three fifths of all images, another fifth)."""
    training, _ = data()
    n = len(training.labels) // 4
    return tuple(Data(training.images[part], training.labels[part])
                 for part in (slice(n, None), slice(n)))


def models():
    """The classifiers by name, with the same block g."""
    block = MLP([WIDTH, WIDTH, WIDTH], ["tanh", "identity"])
    layers = {"t": (0, LAYERS), "method": "euler", "step_size": 1.0}
    return {
        "no block": Classifier(64, Counting(block), 10, t=(0, 0)),
        "residual network": Classifier(64, Counting(Layered(block, LAYERS)), 10, **layers),
        "the same, one θ": Classifier(64, Counting(block), 10, **layers),
        "ODE-Net": Classifier(64, Counting(block), 10, method="dopri5", rtol=1e-2, atol=1e-2),
    }


def moved(images, shift, axis):
    """Images (n, 8, 8), each moved by a part of a pixel along an axis, by linear interpolation."""
    images, shift = np.moveaxis(images, axis, 1), shift[:, None, None]
    before, after = np.zeros_like(images), np.zeros_like(images)
    before[:, 1:], after[:, :-1] = images[:, :-1], images[:, 1:]
    images = (1 - np.abs(shift)) * images + np.maximum(shift, 0) * before + np.maximum(-shift, 0) * after
    return np.moveaxis(images, 1, axis)


def draw_batch(training, rng):
    """Some of these images, moved a little and with a little noise, and their labels."""
    rows = rng.choice(len(training.labels), BATCH, replace=False)
    images = training.images[rows].reshape(-1, 8, 8)
    for axis in (1, 2):
        images = moved(images, rng.uniform(-SHIFT, SHIFT, BATCH), axis)
    return images.reshape(-1, 64) + NOISE * rng.normal(size=(BATCH, 64)), training.labels[rows]


def train(name, seed, training, rate) -> Fit:
    """A classifier trained from this seed on these images, at rates falling from `rate`."""
    model = models()[name]
    return fit(lambda theta, batch: model.value_and_gradient(*batch, theta), model.init(np.random.default_rng(seed)),
               n_steps=STEPS, data=partial(draw_batch, training), seed=seed, weight_decay=DECAY,
               learning_rate=lambda k: cosine(k, rate, STEPS, 20), counter=model.field,
               progress=False)


@kept
def trained(name, seed) -> Fit:
    """A classifier of the figures, trained from this seed on the whole training part."""
    return train(name, seed, data()[0], RATE)


def misread(rate):
    """How many of another fifth all classifiers misread, trained at this rate on three fifths."""
    (training, other), wrong = divided(), 0
    for name, model in models().items():
        theta = train(name, 0, training, rate).last
        wrong += np.sum(model.logits(other.images, theta).argmax(axis=1) != other.labels)
    return int(wrong)

"""Figure 29. Ten digits, carried apart

The ODE-Net of figure 28, first seed: the images go through the affine map into 32 dimensions, flow from
t = 0 to 1, and are read off by another affine map. The plane is the one in which the means of
the ten classes lie furthest apart at t = 1; two paths may cross in it, but in 32 dimensions no two
images are ever in the same place at the same time. The figure shows (25.1), and the training of (24.2) by (23.4) with the rate (23.6).

Caption. Above: the 359 held-out digits on their way, in the plane in which the classes' means lie
furthest apart at t = 1, its axes those of the spread of the means; each class has its number near
its mean, and lines are the paths. The states move far, on average by 1.02 times the length that
they start with, and the classes come apart: of the mean square distance from the centre, in all
dimensions, the part that lies between the classes' means rises from 0.70 to 0.77. Below: the loss,
weight decay included, on batches of 96; without a block it stays at 0.18 where the others reach
0.10 to 0.13. The seven digits that this net misreads, each with what it is and what it is read as.
"""

import numpy as np
from matplotlib.patheffects import withStroke

from minode import odeint

from . import style
from ._digits import data, models, trained
from .digits import COLOURS

SECONDS = 6
SIZE = (8.0, 5.4)
TIMES = np.linspace(0.0, 1.0, 9)
SHOWN = (0, 4, 8)                          # of TIMES
GAP = 0.06                                 # between the numbers, in the extent of the states
PER_ROW = 4                                # of the images misread
AVERAGED = 20                              # steps, for the loss
TEN = (style.BLACK, style.ORANGE, style.SKY, style.GREEN, "#777700", style.BLUE, style.VERMILION, style.PURPLE,
       style.GREY, "#7f4f24")


def spread(states, labels):
    """The mean square distance of the states from all others' mean that is not within their class: 0 to 1."""
    means = np.array([states[labels == digit].mean(axis=0) for digit in range(10)])
    within = np.mean(np.sum((states - means[labels])**2, axis=1))
    return 1 - within / np.mean(np.sum((states - states.mean(axis=0))**2, axis=1))


def parted(places, gap):
    """Places (n, 2) moved as little as it takes to be at least `gap` from each other, or nearly."""
    places = places.copy()
    for _ in range(200):
        away = places[:, None] - places
        distance = np.linalg.norm(away, axis=-1) + np.eye(len(places))
        push = np.maximum(gap / distance - 1, 0.0) * (1 - np.eye(len(places)))
        places += 0.25 * np.sum(push[..., None] * away, axis=1)
    return places


def compute():
    _, held = data()
    model, found = models()["ODE-Net"], trained("ODE-Net", 0)
    theta_in, theta_f, _ = model.split(found.last)
    y0 = model.inward(0.0, held.images, theta_in)
    ys = odeint(model.field, y0, TIMES, theta_f, method="dopri5", rtol=1e-6, atol=1e-6)
    means = np.array([ys[-1, held.labels == digit].mean(axis=0) for digit in range(10)])
    plane = np.linalg.svd(means - means.mean(axis=0))[2][:2]
    read = model.logits(held.images, found.last).argmax(axis=1)
    wrong = np.flatnonzero(read != held.labels)
    losses = {name: trained(name, 0).history.loss.reshape(-1, AVERAGED).mean(axis=1) for name in models()}
    return {"states": (ys - ys[-1].mean(axis=0)) @ plane.T, "labels": held.labels, "wrong": wrong, "read": read,
            "images": held.images[wrong], "apart": np.array([spread(y, held.labels) for y in ys]),
            "moved": np.linalg.norm(ys[-1] - ys[0], axis=1).mean() / np.linalg.norm(ys[0], axis=1).mean(),
            "losses": losses}


def draw(fig, data):
    top, bottom = fig.subfigures(2, 1, height_ratios=[1.5, 1])
    states, labels = data["states"], data["labels"]
    for i, ax in zip(SHOWN, top.subplots(1, 3, sharex=True, sharey=True)):
        for digit, colour in enumerate(TEN):
            here = labels == digit
            if i == SHOWN[-1]:
                ax.plot(*states[:, here].transpose(2, 0, 1), color=colour, lw=0.4, alpha=0.35)
            ax.plot(*states[i, here].T, ".", color=colour, ms=2.5)
        means = np.array([states[i, labels == digit].mean(axis=0) for digit in range(10)])
        for digit, (colour, place) in enumerate(zip(TEN, parted(means, GAP * np.ptp(states)))):
            ax.text(*place, str(digit), color=style.ink(colour), size=13, weight="bold",
                    ha="center", va="center", path_effects=[withStroke(linewidth=3, foreground="white")])
        ax.grid(visible=False)
        ax.set(title=f"$t = {TIMES[i]:g}$", xlabel="first axis", xticks=(-10, 0, 10),
               yticks=(-5, 0, 5))
    top.axes[0].set_ylabel("second axis")
    loss, images = bottom.subplots(1, 2, width_ratios=[1.1, 1])
    for name, values in data["losses"].items():
        loss.semilogy(AVERAGED * (np.arange(len(values)) + 0.5), values, color=COLOURS[name], lw=1.4)
    loss.set(xlabel="step", ylabel="loss", title="training, means of 20 steps")
    style.key(loss, COLOURS, "upper right", size=10)
    images.axis("off")
    images.set_title(f"misread: {len(data['wrong'])} of {len(labels)} held-out digits")
    for n, (image, where) in enumerate(zip(data["images"], data["wrong"])):
        row, column = divmod(n, PER_ROW)
        x, y = 10 * column, 11.5 * row
        images.imshow(image.reshape(8, 8), cmap="Greys", extent=(x, x + 8, y + 8, y),
                      interpolation="nearest")
        images.text(x + 4, y + 9.7, f"{labels[where]} as {data['read'][where]}", ha="center",
                    va="center", size=10)
    images.set(xlim=(0, 10 * PER_ROW), ylim=(11.5 * row + 11, 0), aspect="equal")

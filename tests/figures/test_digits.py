"""What the captions of the figures about handwritten digits say is what compute() finds."""

import numpy as np
import pytest

from figures import _digits, digits, learning_digits
from . import computed, listed, says

CHEN = 1 / 3                    # the part of the parameters with which Chen and others found the same error
ABOUT = 0.1                     # how nearly a quarter less is one, of megabytes with one decimal
SAME_DATA = 1e-12               # of an image moved by nothing


@pytest.mark.eq("25.1", "25.2", "25.6")
def test_the_same_block_is_as_good_as_layers_and_as_an_ode_and_only_one_of_them_is_a_flow():
    data, n = computed("digits"), len(_digits.data()[1].labels)
    none, *errors = (data["errors"][name][:, 0] for name in _digits.models())
    means = [100 * error.mean() for error in errors]
    assert says("digits", "wrong on {:.2f} %, the one with one θ on {:.2f} %, the ODE-Net on {:.2f} %".format(*means))
    counts = listed([n * error.mean() for error in errors], lambda count: f"{count:.1f}")
    assert says("digits", f"which is {counts} of {n} images")
    assert max(error.max() for error in errors) < 0.03 and says("digits", "all above 97 % right")
    assert max(error.max() for error in errors) < none.min()
    assert says("digits", "all better than no block")
    assert says("digits", f"With no block, {100 * none.mean():.2f} % are wrong")
    deviation = np.sqrt(n * np.mean(errors) * (1 - np.mean(errors)))
    assert n * np.ptp([error.mean() for error in errors]) < 2 * deviation       # "too near each other"

    share = data["parameters"]["ODE-Net"] / data["parameters"]["residual network"]
    assert says("digits", f"with {share:.2f} of them") and share < CHEN
    assert data["parameters"]["the same, one θ"] == data["parameters"]["ODE-Net"]

    calls = {name: set(counts[:, 0]) for name, counts in data["calls"].items()}
    assert calls["ODE-Net"] == {14} and calls["residual network"] == calls["the same, one θ"] == {6}
    assert says("digits", "calls of f: 14 against 6")
    assert not data["changed"]["ODE-Net"].any() and says("digits", "with finer steps it keeps every answer")
    changed = [data["changed"][name].max() for name in ("residual network", "the same, one θ")]
    assert says("digits", "they change up to {} and up to {} of the {} answers".format(*changed, n))


@pytest.mark.eq("25.6", "19.1", "17.2")
def test_with_two_steps_there_is_little_to_save():
    costs = computed("digits")["costs"]
    memory, calls, products = (dict(zip(costs, column)) for column in zip(*costs.values()))
    discrete = memory["ODE-Net", "discrete"]
    assert discrete < 1.5 * memory["residual network", "discrete"]
    assert says("digits", "checkpoint needs about a quarter less, and backsolve about as much")
    assert abs(memory["ODE-Net", "checkpoint"] / discrete - 0.75) < ABOUT
    assert abs(memory["ODE-Net", "backsolve"] / discrete - 1) < 0.3
    assert products["ODE-Net", "discrete"] == 12 == 2 * products["residual network", "discrete"]   # two steps
    assert calls["ODE-Net", "checkpoint"] == 28


@pytest.mark.eq("23.4", "24.2", "25.1")
def test_the_flow_carries_the_digits_apart_and_the_loss_says_so():
    data = computed("learning_digits")
    assert says("learning_digits", f"the {len(data['labels'])} held-out digits")
    assert says("learning_digits", f"on average by {data['moved']:.2f} times the length")
    assert says("learning_digits", f"rises from {data['apart'][0]:.2f} to {data['apart'][-1]:.2f}")
    assert (np.diff(data["apart"]) > 0).all()
    none, *others = (values[-1] for values in data["losses"].values())
    assert says("learning_digits", f"ends without a block at {none:.2f}, and the others reach {min(others):.2f} to "
                                   f"{max(others):.2f}")
    assert len(data["wrong"]) == 7 and says("learning_digits", "the seven images that are misread")
    assert (data["read"][data["wrong"]] != data["labels"][data["wrong"]]).all()
    error = computed("digits")["errors"]["ODE-Net"][0, 0]
    assert error == len(data["wrong"]) / len(data["labels"])


def test_the_numbers_of_the_classes_stand_apart_and_near_their_means():
    data, labels = computed("learning_digits"), computed("learning_digits")["labels"]
    extent = np.ptp(data["states"])
    for states in data["states"][list(learning_digits.SHOWN)]:
        means = np.array([states[labels == digit].mean(axis=0) for digit in range(10)])
        places = learning_digits.parted(means, learning_digits.GAP * extent)
        away = np.linalg.norm(places[:, None] - places, axis=-1) + 9 * extent * np.eye(10)
        assert away.min() > 0.9 * learning_digits.GAP * extent
        assert np.linalg.norm(places - means, axis=1).max() < learning_digits.GAP * extent


def test_a_fifth_is_held_out_and_no_held_out_image_is_trained_on():
    training, held = _digits.data()
    assert (len(training.labels), len(held.labels)) == (1438, 359)
    whole = {image.tobytes() for image in training.images}
    assert not any(image.tobytes() in whole for image in held.images)
    assert np.bincount(held.labels).min() >= 25


def test_the_learning_rate_was_chosen_on_images_that_are_not_held_out():
    (training, held), (three, other) = _digits.data(), _digits.divided()
    assert (len(three.labels), len(other.labels)) == (1079, 359)
    assert sorted(map(bytes, training.images)) == sorted(map(bytes, [*three.images, *other.images]))
    assert f"the same for all, {_digits.RATE}; on another fifth" in digits.__doc__
    misread = computed("digits")["misread"]
    counts = list(misread.values())                            # of four classifiers together
    assert list(misread) == [0.5, 1, 2] and np.ptp(counts) < 2 * np.sqrt(min(counts))


def test_moved_by_a_whole_pixel_or_none_an_image_is_moved_by_that():
    images = np.random.default_rng(0).random((2, 8, 8))
    assert np.abs(_digits.moved(images, np.zeros(2), 1) - images).max() <= SAME_DATA
    down = _digits.moved(images, np.ones(2), 1)
    assert np.array_equal(down[:, 1:], images[:, :-1]) and not down[:, 0].any()
    left = _digits.moved(images, -np.ones(2), 2)
    assert np.array_equal(left[..., :-1], images[..., 1:]) and not left[..., -1].any()

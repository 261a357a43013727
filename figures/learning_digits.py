"""Figure 29. A flow carries the images of ten digits apart

The ODE-Net of figure 28, first seed: the images go through the affine map into 32 dimensions, flow from
t = 0 to 1, and are read off by another affine map. The plane is the one in which the means of
the ten classes lie furthest apart at t = 1, its axes those of the spread of the means; two paths may cross in it,
but in 32 dimensions no two images are ever in the same place at the same time. The figure shows (25.1), and the
training of (24.2) by (23.4) with the rate (23.6).

Caption. The flow moves the held-out digits about as far as they start from the origin, and the classes come apart.
Above: each class as an ellipse of two standard deviations, before and after, with paths of three images. Crosses mark
the seven images that are misread. Below: these seven, what each is and what it is read as.

Numbers. Drawn are the 359 held-out digits. Their states move on average by 1.02 times the length that they start
with. Of the mean square distance from the centre, in all dimensions, the part that lies between the classes' means
rises from 0.70 to 0.77. The loss, weight decay included, ends without a block at 0.18, and the others reach 0.10 to
0.13.
"""

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke

from minode import odeint

from . import style
from ._digits import data, models, trained

SECONDS = 6
SIZE = (8.0, 5.0)
TIMES = np.linspace(0.0, 1.0, 9)
SHOWN = (0, 8)                             # of TIMES
GAP = 0.06                                 # between the numbers, in the extent of the states
PATHS = 3                                  # drawn of each class
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
    above, below = fig.subfigures(2, 1, height_ratios=[2.9, 1])
    states, labels, wrong = data["states"], data["labels"], data["wrong"]
    for i, ax in zip(SHOWN, above.subplots(1, 2, sharex=True, sharey=True)):
        means = np.array([states[i, labels == digit].mean(axis=0) for digit in range(10)])
        for digit, (colour, place) in enumerate(zip(TEN, parted(means, GAP * np.ptp(states)))):
            here = labels == digit
            squares, axes = np.linalg.eigh(np.cov(states[i, here].T))
            (width, height), angle = 4 * np.sqrt(squares), np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
            ax.add_patch(Ellipse(means[digit], width, height, angle=angle, fc=to_rgba(colour, 0.22), ec=colour, lw=1.2))
            if i == SHOWN[-1]:
                paths = states[:, np.flatnonzero(here)[:PATHS]]
                ax.plot(*paths.transpose(2, 0, 1), color=colour, lw=0.9)
                ax.plot(*paths[-1].T, ".", color=colour, ms=5)
            ax.text(*place, str(digit), color=style.ink(colour), size=15, weight="bold", zorder=5,
                    ha="center", va="center", path_effects=[withStroke(linewidth=3, foreground="white")])
        if i == SHOWN[-1]:
            ax.plot(*states[i, wrong].T, "x", color=style.BLACK, ms=6, mew=1.6, zorder=4)
        ax.grid(visible=False)
        ax.set(title="$t = 1$: carried by the flow" if i else "$t = 0$: after the first affine map", aspect="equal",
               xlabel="first axis", xticks=(-10, 0, 10), yticks=(-5, 0, 5))
    above.axes[0].set_ylabel("second axis")
    images = below.subplots()
    images.axis("off")
    images.set_title(f"misread (×): {len(wrong)} of {len(labels)} held-out digits")
    for n, (image, where) in enumerate(zip(data["images"], wrong)):
        images.imshow(image.reshape(8, 8), cmap="Greys", extent=(12 * n, 12 * n + 8, 8, 0), interpolation="nearest")
        images.text(12 * n + 4, 10, f"{labels[where]} as {data['read'][where]}", ha="center", va="center")
    images.set(xlim=(0, 12 * len(wrong)), ylim=(11.5, 0), aspect="equal")

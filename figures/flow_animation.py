"""Figure 54. A flow carries a cloud like a drawing on rubber

The flow of figure 37 for the two moons, which was fitted to points of them, carries a grid and 250
points of the standard normal from t = 0 to 1. The first picture of the animation shows the end, so that
it can stand alone. The area of the marked cells are those of polygons with 400 corners. They are also
the integrals over the cells at t = 0 of exp ∫ tr f_y dt, which the tests compute. Training is chaotic:
elsewhere the numbers differ. The figure shows (26.1) and (26.2).

Caption. Left: a grid and points drawn from the standard normal. Right: both, carried by a flow that has
learnt two moons. Lines bend and cells are stretched, and nothing tears or crosses. Each point stays in
its cell. So the density grows where a cell shrinks, as the green one does, and falls where one grows.

Numbers. The green cell ends with about 0.25 of its area, the orange one with about 2 times its area.
"""

import numpy as np

from minode import odeint

from . import _targets, style

SECONDS = 6
SIZE = (6.4, 3.5)
FRAMES, PER_SECOND = 17, 8
TIMES = np.linspace(0.0, 1.0, FRAMES - 1)
FINE = {"rtol": 1e-7, "atol": 1e-7}
GRID, ALONG = np.linspace(-2.25, 2.25, 10), np.linspace(-2.25, 2.25, 181)
CELLS = {style.GREEN: np.array([[-1.25, 0.75], [-0.75, 1.25]]), style.ORANGE: np.array([[0.25, 0.25], [0.75, 0.75]])}
CLOUD = 250


def edge(cell):
    """The edge of a cell between two corners, counter-clockwise, (400, 2)."""
    (left, low), (right, high) = cell
    corners, s = np.array([[left, low], [right, low], [right, high], [left, high]]), np.arange(100)[:, None] / 100
    return np.concatenate([(1 - s) * a + s * b for a, b in zip(corners, np.roll(corners, -1, axis=0))])


def area(polygon):
    """The area inside (..., n, 2), counter-clockwise."""
    x, y = np.moveaxis(polygon, -1, 0)
    return 0.5 * np.sum(x * np.roll(y, -1, axis=-1) - y * np.roll(x, -1, axis=-1), axis=-1)


def compute():
    _, theta = _targets.trained("two moons")
    lines = np.stack(np.meshgrid(GRID, ALONG, indexing="ij"), axis=-1)
    starts = [np.concatenate([lines, lines[..., ::-1]]), np.random.default_rng(4).normal(size=(CLOUD, 2)),
              np.stack([edge(cell) for cell in CELLS.values()])]
    ys = odeint(_targets.MODEL, np.concatenate([part.reshape(-1, 2) for part in starts]), TIMES, theta, **FINE)
    n = starts[0].size // 2
    return {"lines": ys[:, :n].reshape(-1, *starts[0].shape), "cloud": ys[:, n:n + CLOUD], "theta": theta,
            "cells": ys[:, n + CLOUD:].reshape(-1, *starts[2].shape)}


def draw(fig, data, frame):
    fig.set_layout_engine("none")                        # nothing but the flow may move
    shown = len(TIMES) - 1 if frame == 0 else frame - 1
    for x, n, name in ((0.02, 0, "t = 0"), (0.52, shown, f"t = {TIMES[shown]:.2f}")):
        ax = fig.add_axes((x, 0.03, 0.46, 0.86))
        for line in data["lines"][n]:
            ax.plot(*line.T, color=style.PALE, lw=0.9)
        grown = area(data["cells"][n]) / area(data["cells"][0])
        for colour, cell, times, at, word in zip(CELLS, data["cells"][n], grown, (0.35, 0.75), ("area ", "")):
            ax.fill(*cell.T, color=colour, lw=0)
            ax.text(at, 1.03, f"{word}× {times:.2f}", color=style.ink(colour), transform=ax.transAxes)
        ax.plot(*data["cloud"][n].T, ".", color=style.BLUE, ms=3.5)
        ax.set(xlim=(-2.7, 2.7), ylim=(-2.5, 2.5), xticks=(), yticks=(), aspect="equal")
        ax.text(0.0, 1.03, name, transform=ax.transAxes)
        ax.spines[:].set_visible(False)

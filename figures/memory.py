"""Figure 25. The memory of a gradient grows with the steps, with their root, or not at all

The peak of the memory taken by value_and_gradients, as Python's tracemalloc measures it,
against the number of steps from 0 to 1: 400 driven pendula, so that a state has 3.2 kB, with
Euler's method, and asynchronous leapfrog for the reversible route. The figure shows (17.2),
(18.3), (19.1) and (19.2) by what they need kept: discrete and interpolate every step with its
stage, checkpoint √n states and √n steps, backsolve and reversible a few states. The times of
the steps (9.4) need not be kept, except by checkpoint, which must take the same steps again.

Caption. Discrete and interpolate keep all n steps and their memory is proportional to n; checkpoint
keeps about √n, and backsolve and reversible a few states whatever n is. After 10,000 steps the peak is
about 44 MB, 1.1 MB and less than 0.2 MB.

Numbers. Peak memory for 100, 1,000 and 10,000 steps, interpolate, which is slow, up to 1,000. Interpolate
takes about 10 kB a step and discrete 4.2, about 44 MB in the end. Checkpoint takes about 1.1 MB then,
less than ten times as much as for 100 steps. Backsolve takes less than 0.2 MB and reversible less than
0.1 MB, as much for 100 steps as for 10,000, within 1 % (of three measurements each the least counts).
"""

import tracemalloc

import numpy as np

from minode import VectorField, value_and_gradients

from . import style

SECONDS = 15
STEPS = np.array([100, 1000, 10000])
WIDTH = 400
MEASURED = 3                               # times, if it is constant: a garbage collection meanwhile can add 2 kB


class Pendula(VectorField):
    """First-order pendula, each driven with a strength of its own: y' = θ cos t − sin y."""

    dim = n_params = WIDTH

    def __call__(self, t, y, theta):
        return theta * np.cos(t)[..., None] - np.sin(y)

    def vjp(self, t, y, theta, a):
        drive = np.cos(t)[..., None] * a
        return -np.cos(y) * a, drive.reshape(-1, WIDTH).sum(axis=0)


ROUTES = {"discrete": ("euler", "s"), "interpolate": ("euler", "D"), "checkpoint": ("euler", "o"),
          "backsolve": ("euler", "v"), "reversible": ("asynchronous_leapfrog", "^")}
INTERPOLATED = 1000                        # no more steps than these by interpolate, which is slow


def loss(ys):
    """½ |y(1)|², and its derivative."""
    weight = np.array([[0.0], [1.0]])
    return 0.5 * np.sum(weight * ys**2), weight * ys


def peak(route, method, n, y0, theta):
    """The most bytes in use at a time while a gradient through n steps is computed."""
    tracemalloc.start()
    try:
        value_and_gradients(loss, Pendula(), y0, [0.0, 1.0], theta, gradient=route, method=method,
                            step_size=1 / n, times=False)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def compute():
    y0, theta = np.random.default_rng(0).normal(size=(2, WIDTH))
    data = {}
    for route, (method, _) in ROUTES.items():
        peak(route, method, 10, y0, theta)             # what is made once and kept is not counted
        steps = STEPS[STEPS <= INTERPOLATED] if route == "interpolate" else STEPS
        times = MEASURED if route in ("backsolve", "reversible") else 1
        data[route] = np.array([min(peak(route, method, n, y0, theta) for _ in range(times)) for n in steps])
    return data


def draw(fig, data):
    ax = fig.subplots()
    for route, (_, marker) in ROUTES.items():
        colour = style.ROUTE[route]
        ax.loglog(STEPS[:len(data[route])], data[route] / 1e6, marker=marker, color=colour, ms=6)
    ax.set(xlabel="$n$, steps", ylabel="peak memory (MB)", xticks=STEPS, xticklabels=[f"{n:,}" for n in STEPS],
           xlim=(80, 50000), ylim=(0.02, 300))
    ax.minorticks_off()
    growth = {"discrete": "$\\propto n$", "checkpoint": "$\\propto \\sqrt{n}$", "backsolve": "constant",
              "reversible": "constant"}
    style.end_labels(ax, STEPS[-1], [(data[route][-1] / 1e6, f"{route}: {how}", style.ROUTE[route])
                                     for route, how in growth.items()])
    ax.text(STEPS[1] / 1.2, 13, "interpolate: $\\propto n$", color=style.ink(style.ROUTE["interpolate"]), ha="right")

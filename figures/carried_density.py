"""Figure 36. A density carried along a flow

The flow of figure 37 for the pinwheel, at four times on its way from the standard normal. The density
at each time is found on a grid by going back from there, (26.2) and (26.9); the particles
are moved forwards, each alone, and know nothing of it. The figure shows (26.1), read
backwards and along one particle.

Caption. Above: the density (blue, darkest near the largest value of each time) and 400 particles
that were drawn from the standard normal at t = 0 and carried by the same field. At each of the
times about 90 per cent of 4,000 such particles lie where the density is highest and encloses 90 per
cent. Along the marked one log p grows by about 2, minus the integral of tr f_y (its values are
written above): where particles crowd, the density grows. Below: the field, arrows as long as the
square root of the speed; in the blue it crowds (tr f_y < 0), in the red it spreads (tr f_y > 0), in
the darker by more than 1. It changes little with time; the red tears the cloud into five, and while
65 per cent of the particles are in the blue at t = 0, 94 per cent are at t = 1.
"""

import numpy as np

from minode import Flow, log_prob, odeint

from . import _targets, style
from .learnt_densities import FINE, cells

SECONDS = 12
SIZE = (8.0, 4.4)
TIMES = np.array([0.0, 0.35, 0.7, 1.0])
PARTICLES, DRAWN, SHARE = 4000, 400, 0.9
MARKED = (-1.35, 0.35)                     # about where
SEEN, PLANE = 3.2, np.linspace(-3.2, 3.2, 41)
RATES = (-99, -1, 0, 1, 99)                # levels of −tr f_y
SHADES = ("#fc9272", "#fee0d2", "#deebf7", "#9ecae1")


def crowding(t, y, theta):
    """−tr f_y, the rate at which log p grows on the way through y."""
    return -np.trace(_targets.MODEL.jacobian(t, y, theta), axis1=-2, axis2=-1)          # (26.1)


def compute():
    _, theta = _targets.trained("pinwheel")
    grid, area = cells()
    z = np.random.default_rng(3).normal(size=(PARTICLES, 2))
    s = np.concatenate([z, np.zeros((PARTICLES, 1))], axis=1)
    paths = odeint(Flow(_targets.MODEL), s, TIMES, theta, **FINE)
    data = {"particles": paths[..., :2], "densities": [], "inside": []}
    for t, states in zip(TIMES, paths):
        p = np.exp(log_prob(_targets.MODEL, grid, [0.0, t], theta, **FINE))
        ranked = np.sort(p.ravel())[::-1]
        level = ranked[np.searchsorted(np.cumsum(ranked) * area, SHARE)]
        at = np.exp(log_prob(_targets.MODEL, states[:, :2], [0.0, t], theta, **FINE))
        data["densities"].append(p)
        data["inside"].append(np.mean(at > level))
    plane = np.stack(np.meshgrid(PLANE, PLANE), axis=-1)
    data["fields"] = [(_targets.MODEL(t, plane, theta), crowding(t, plane, theta)) for t in TIMES]
    data["crowded"] = [np.mean(crowding(t, y, theta) > 0) for t, y in zip(TIMES, data["particles"])]
    start = -0.5 * np.sum(z * z, axis=1) - np.log(2 * np.pi)
    data["log p"] = start + paths[..., 2]                     # (26.1), forwards
    data["marked"] = int(np.argmin(np.sum((z - MARKED) ** 2, axis=1)))
    return data


def draw(fig, data):
    above, below = fig.subplots(2, 4, sharex=True, sharey=True)
    for ax, t, density, states, value in zip(above, TIMES, data["densities"], data["particles"],
                                           data["log p"][:, data["marked"]]):
        _targets.shade(ax, *np.moveaxis(cells()[0], -1, 0), density, 0.9 * density.max())
        ax.plot(*states[:DRAWN].T, ".", color=style.BLACK, ms=1.2)
        ax.plot(*states[data["marked"]], "o", color=style.VERMILION, ms=5)
        ax.set_title(f"$t = {t:g}$")
        ax.set_title(rf"$\log p = {value:.1f}$", color=style.ink(style.VERMILION), loc="right", size=10)
    fastest = max(np.linalg.norm(velocity[3::5, 3::5], axis=-1).max() for velocity, _ in data["fields"])
    for ax, (velocity, rate), states in zip(below, data["fields"], data["particles"]):
        ax.contourf(PLANE, PLANE, rate, RATES, colors=SHADES)
        style.field(ax, velocity[3::5, 3::5], PLANE[3::5], color=style.BLACK, longest=1.2, fastest=fastest, width=0.01)
        ax.plot(*states[data["marked"]], "o", color=style.VERMILION, ms=5)
        ax.grid(False)
        ax.set_xlabel("$y_1$")
    for ax in (*above, *below):
        ax.set(xticks=(-2, 0, 2), yticks=(-2, 0, 2), aspect="equal",
               xlim=(-SEEN, SEEN), ylim=(-SEEN, SEEN))
    above[0].set_ylabel("density, $y_2$")
    below[0].set_ylabel("field, $y_2$")

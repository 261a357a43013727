"""Figure 36. A density carried along a flow

The flow of figure 37 for the pinwheel, at four times on its way from the standard normal. The density
at each time is found on a grid by going back from there, (26.2) and (26.9); the particles
are moved forwards, each alone, and know nothing of it. The figure shows (26.1), read
backwards and along one particle.

Caption. The density (blue, darkest near the largest value of each time) and 400 particles that were
drawn from the standard normal at t = 0 and carried by the same field. At each of the times about 90 per cent of 4,000 such particles lie where
the density is highest and encloses 90 per cent. Along the marked one log p grows by about 2,
minus the integral of tr f_y (its values are written in): where particles crowd, the density grows.
"""

import numpy as np

from minode import Flow, log_prob, odeint

from . import _targets, style
from .learnt_densities import EDGE, FINE, cells

SECONDS = 12
SIZE = (8.0, 2.35)
TIMES = np.array([0.0, 0.35, 0.7, 1.0])
PARTICLES, DRAWN, SHARE = 4000, 400, 0.9
MARKED = (-1.35, 0.35)                     # about where


def compute():
    _, theta = _targets.trained("pinwheel")
    grid, area = cells()
    z = np.random.default_rng(3).normal(size=(PARTICLES, 2))
    s = np.concatenate([z, np.zeros((PARTICLES, 1))], axis=1)
    paths = odeint(Flow(_targets.MODEL).bind(theta, s), s, TIMES, **FINE)
    data = {"particles": paths[..., :2], "densities": [], "inside": []}
    for t, states in zip(TIMES, paths):
        p = np.exp(log_prob(_targets.MODEL, grid, [0.0, t], theta, **FINE))
        ranked = np.sort(p.ravel())[::-1]
        level = ranked[np.searchsorted(np.cumsum(ranked) * area, SHARE)]
        at = np.exp(log_prob(_targets.MODEL, states[:, :2], [0.0, t], theta, **FINE))
        data["densities"].append(p)
        data["inside"].append(np.mean(at > level))
    start = -0.5 * np.sum(z * z, axis=1) - np.log(2 * np.pi)
    data["log p"] = start + paths[..., 2]                     # (26.1), forwards
    data["marked"] = int(np.argmin(np.sum((z - MARKED) ** 2, axis=1)))
    return data


def draw(fig, data):
    for ax, t, density, states, value in zip(fig.subplots(1, 4), TIMES, data["densities"], data["particles"],
                                           data["log p"][:, data["marked"]]):
        _targets.shade(ax, *np.moveaxis(cells()[0], -1, 0), density, 0.9 * density.max())
        ax.plot(*states[:DRAWN].T, ".", color=style.BLACK, ms=1.2)
        ax.plot(*states[data["marked"]], "o", color=style.VERMILION, ms=5)
        ax.set(title=f"$t$ = {t:g}", xticks=[], yticks=[], xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal",
               xlabel="$y_1$")
        ax.text(0.04, 0.04, rf"$\log p = {value:.1f}$", color=style.VERMILION, size=10, transform=ax.transAxes)
    fig.axes[0].set(ylabel="$y_2$")

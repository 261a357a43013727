"""Figure 36. Where a flow crowds its particles, the density grows

The flow of figure 37 for the pinwheel, at four times on its way from the standard normal. The density
at each time is found on a grid by going back from there, (26.2) and (26.9); the particles
are moved forwards, each alone, and know nothing of it. The figure shows (26.1), read
backwards and along one particle.

Caption. A flow tears a normal density (blue) into five blades. Its particles, each carried alone, stay where the
density is. Along the marked one log p grows by minus the integral of tr f_y: negative in the blue of the field, where
particles crowd, positive in the red, where they part. At the end nearly all are in the blue.

Numbers. The blue of a density is darkest near the largest value of each time. Drawn are 400 particles from the
standard normal at t = 0. At each of the times about 90 per cent of 4,000 lie where the density is highest and
encloses 90 per cent. Along the marked one log p grows by about 2. In the field, arrows are as long as the square root
of the speed, and in the darker blue and red |tr f_y| is above 1. While 65 per cent of the particles are in the blue
at t = 0, 94 per cent are at t = 1. Until then more than three quarters of the square drawn keep their colour, blue or
red.
"""

import numpy as np

from minode import Flow, log_prob, odeint

from . import _targets, style
from .learnt_densities import FINE, cells

SECONDS = 12
SIZE = (8.0, 4.9)
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
    left, right = fig.subfigures(1, 2, width_ratios=[1.4, 1])
    densities, marked = left.subplots(2, 2, sharex=True, sharey=True), data["marked"]
    for ax, t, density, states, value in zip(densities.flat, TIMES, data["densities"], data["particles"],
                                             data["log p"][:, marked]):
        _targets.shade(ax, *np.moveaxis(cells()[0], -1, 0), density, 0.9 * density.max())
        ax.plot(*states[:DRAWN].T, ".", color=style.BLACK, ms=2, alpha=0.7, mew=0)
        ax.plot(*states[marked], "o", color=style.VERMILION, ms=6)
        ax.set_title(f"$t = {t:g}$")
        ax.text(0.97, 0.94, rf"$\log p = {value:.1f}$", color=style.ink(style.VERMILION), ha="right", va="top", size=10,
                transform=ax.transAxes)
    field, (velocity, rate) = right.subplots(), data["fields"][0]
    field.contourf(PLANE, PLANE, rate, RATES, colors=SHADES)
    style.field(field, velocity[3::5, 3::5], PLANE[3::5], color=style.BLACK, longest=1.1, width=0.006)
    field.plot(*data["particles"][:, marked].T, "-", color=style.VERMILION, lw=2)
    field.plot(*data["particles"][0, marked], "o", color=style.VERMILION, ms=7)
    field.grid(False)
    field.set_title("the field at $t = 0$, and a path")
    for ax in (*densities.flat, field):
        ax.set(xticks=(-2, 0, 2), yticks=(-2, 0, 2), aspect="equal", xlim=(-SEEN, SEEN), ylim=(-SEEN, SEEN))
    field.set_xlabel("blue: particles crowd, $p$ grows\nred: they part, $p$ falls")

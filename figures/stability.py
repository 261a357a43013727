"""Figure 17. A fast decay limits an explicit step, and does not limit an implicit one

On y' = λy a step multiplies y by R(z), z = hλ, and if |R(z)| > 1 the numbers grow whatever
the solution does. The figure shows (13.2): for explicit methods the part of the plane
in which |R(z)| ≤ 1, for implicit ones |R| along the negative real axis. There, where the
solution decays ever faster, an explicit method has no use for a large z at all; a
symmetric one keeps |R| ≤ 1 but tends to |R| = 1 and lets the fast part ring on; an L-stable
one puts it out.

Caption. On y' = λy a step multiplies y by R(z), z = hλ. Left: explicit methods have |R| ≤ 1 only in a
bounded region, so a fast decay limits h. Right: implicit methods have no limit on the negative
real axis. Symmetric ones let a fast decay ring on, as |R| tends to 1; L-stable ones put it out.

Numbers. Left, the regions in which a step does not grow, except for small islands on the right. On the
negative real axis they reach to −2 for Euler and Heun, −2.51 for bosh3, −2.79 for rk4, −3.31 for
dopri5, −3.51 for tsit5 and −6.39 for dop853. Right: at z = −1000 rk4 (dotted) multiplies y by
4.2e10, the symmetric methods by 0.976 to 0.996, and the L-stable ones by 0.0010, implicit Euler, to
0.0064, kvaerno5.
"""

import numpy as np
from scipy.optimize import brentq

from minode import methods
from minode.solvers.implicit import stability_function

from . import style

SECONDS = 1
SIZE = (8.0, 4.0)
EXPLICIT = {name: style.METHOD[name] for name in ("euler", "heun", "bosh3", "rk4", "dopri5", "tsit5", "dop853")}
SYMMETRIC = ("trapezoid", "implicit_midpoint", "gauss4", "gauss6")
L_STABLE = ("implicit_euler", "radau3", "radau5", "trbdf2", "kvaerno5")
X, Y = np.linspace(-6.6, 0.5, 121), np.linspace(0.0, 6.6, 111)
FAST = 1000.0


def R(name, z):
    return stability_function(methods[name], np.asarray(z, dtype=complex))


def reach(name):
    """The end of the stretch of the negative real axis, from 0, on which |R| ≤ 1."""
    x = np.linspace(-8.0, -0.1, 160)
    outside = np.flatnonzero(np.abs(R(name, x)) > 1)[-1]
    return brentq(lambda x: float(np.abs(R(name, [x]))[0]) - 1, x[outside], x[outside + 1])


def compute():
    x = np.logspace(-1, 4, 251)
    y = np.concatenate([[0.0], np.logspace(-3, 4, 401)])
    return {"x": x,
            "region": {name: np.abs(R(name, X + 1j * Y[:, None])) for name in EXPLICIT},
            "reach": {name: reach(name) for name in EXPLICIT},
            "decay": {name: np.abs(R(name, -x)) for name in (*SYMMETRIC, *L_STABLE, "rk4")},
            "left": {name: np.abs(R(name, [-FAST]))[0] for name in (*SYMMETRIC, *L_STABLE, "rk4")},
            "imaginary": {name: np.abs(R(name, 1j * y)).max() for name in (*SYMMETRIC, *L_STABLE)}}


def draw(fig, data):
    plane, ax = fig.subplots(1, 2, width_ratios=[1.05, 1])
    imaginary, shown = np.concatenate([-Y[:0:-1], Y]), ("dop853", "dopri5", "rk4", "euler")
    for name in shown:
        size = data["region"][name]
        both_halves = np.concatenate([size[:0:-1], size])
        plane.contourf(X, imaginary, both_halves, [0.0, 1.0], colors=EXPLICIT[name],
                       alpha=0.05 if name == "dop853" else 0.15)
        plane.contour(X, imaginary, both_halves, [1.0], colors=EXPLICIT[name])
    for name, x, y, at in (("dop853", -2.6, 4.9, None), ("dopri5", -4.75, 0.0, None), ("rk4", 1.9, 3.6, (0.3, 2.6)),
                           ("euler", -1.0, 0.0, None)):
        reach = f"{data['reach'][name]:.2f}".replace("-", "−").replace(".00", "")
        plane.text(x, y, f"{name}\nto {reach}", color=style.ink(EXPLICIT[name]), ha="center", va="center",
                   size=10, linespacing=1.1)
        if at:
            plane.plot([x - 0.3, at[0]], [y - 0.75, at[1]], color=style.ink(EXPLICIT[name]), lw=0.7)
    plane.set(aspect="equal", xlim=(-6.8, 3.2), xticks=(-6, -4, -2, 0), xlabel="real part of $z = hλ$",
              ylabel="imaginary part of $z$", title="explicit: $|R| ≤ 1$ in a bounded region")

    labels = []
    for name in ("trapezoid", "gauss4", "implicit_euler", "radau5"):
        size = data["decay"][name]
        ax.loglog(data["x"], size, color=style.METHOD[name])
        labels.append((size[-1], name, style.METHOD[name]))
    ax.loglog(data["x"], data["decay"]["rk4"], ":", color=style.METHOD["rk4"])
    ax.text(3.2, 8, "rk4", color=style.ink(style.METHOD["rk4"]), ha="right")
    ax.text(1e4, 2.2, "symmetric: rings on", ha="right")
    ax.text(80, 8e-4, "L-stable:\ndies out", ha="right")
    ax.set(xlim=(0.1, 1e4), ylim=(3e-5, 30), xlabel="$-z$, along the negative real axis", ylabel="$|R(z)|$",
           title="implicit: $|R| ≤ 1$ for all of these $z$")
    style.end_labels(ax, data["x"][-1], labels, space=0.03)

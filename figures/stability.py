"""Figure 17. How long a step may be

On y' = λy a step multiplies y by R(z), z = hλ, and where |R(z)| > 1 the numbers grow whatever
the solution does. The figure shows (13.2): for explicit methods the part of the plane
where |R(z)| ≤ 1, for implicit ones |R| along the negative real axis. There, where the
solution decays ever faster, an explicit method has no use for a large z at all; a
symmetric one keeps |R| ≤ 1 but tends to |R| = 1 and lets the fast part ring on; an L-stable
one puts it out.

Caption. A step of size h on y' = λy multiplies y by R(z), z = hλ. Left: the regions in which it
does not grow, but for small islands on the right. On the negative real axis they reach to −2 for
Euler and Heun, −2.51 for bosh3, −2.79 for rk4, −3.31 for dopri5, −3.51 for tsit5 and −6.39 for
dop853. Right: at z = −1000 rk4 (dotted) multiplies y by 4.2e10, the symmetric methods (grey) by
0.976 to 0.996, and the L-stable ones (black) by 0.0010, implicit Euler, to 0.0064, kvaerno5.
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
    for row, (name, size) in enumerate(data["region"].items()):
        both_halves = np.concatenate([size[:0:-1], size])
        plane.contour(X, np.concatenate([-Y[:0:-1], Y]), both_halves, [1.0], colors=EXPLICIT[name])
        plane.text(0.9, 1.05 * (row - 3), name, color=style.ink(EXPLICIT[name]), va="center")
    plane.set(aspect="equal", xlim=(-6.8, 3.8), xticks=(-6, -4, -2, 0), xlabel="real part of $z$",
              ylabel="imaginary part of $z$", title="explicit: $|R(z)| ≤ 1$ inside")

    labels = []
    for name, size in data["decay"].items():
        colour = style.GREY if name in SYMMETRIC else style.BLACK if name in L_STABLE else style.METHOD[name]
        ax.loglog(data["x"], size, color=colour, lw=1.4, ls=":" if name == "rk4" else "-")
        if name in L_STABLE:
            labels.append((size[-1], name, colour))
    labels.append((1.2, "implicit_midpoint,\ntrapezoid,\ngauss4, gauss6", style.GREY))
    ax.text(3.5, 10, "rk4", color=style.ink(style.METHOD["rk4"]), ha="right")
    ax.set(xlim=(0.1, 1e4), ylim=(3e-5, 30), xlabel="$-z$", ylabel="$|R(z)|$",
           title="implicit, on the negative real axis")
    style.end_labels(ax, data["x"][-1], labels, space=0.03)

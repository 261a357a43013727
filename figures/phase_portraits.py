"""Figure 52. Nullclines, equilibria and a few orbits tell a field in the plane

The four fields of chapter 2. Linear has A = (0.5, 1.5; 1, −1), Lotka and Volterra α = β = γ = δ = 1,
van der Pol μ = 1, and the cubic spiral A = (−0.1, 2; −2, −0.1). Arrows are as long as the square root
of the speed. Orbits are solved by dopri5 with rtol = atol = 1e-8. The figure shows (2.1) to (2.4).

Caption. On a nullcline (dashed) one component of f is 0: purple, y₁ stands still; orange, y₂ does. An
equilibrium is where both cross (●: orbits end in it, ○: they do not). Eigenvectors are the straight
orbits of a linear field. Prey and predators run round closed curves, van der Pol's oscillator reaches
one cycle, the spiral winds inwards.

Numbers. The eigenvalues are 1.19 and −1.69. Lotka's and Volterra's invariant changes by less than 1e-6
on the orbits drawn. The cycle of van der Pol reaches y₁ = 2.009.
"""

import numpy as np

from minode import CubicSpiral, Linear, LotkaVolterra, VanDerPol, odeint

from . import style

SECONDS = 1.5
SIZE = (8.0, 6.8)
FINE = {"rtol": 1e-8, "atol": 1e-8}
A, SPIRAL = np.array([[0.5, 1.5], [1.0, -1.0]]), np.array([[-0.1, 2.0], [-2.0, -0.1]])
VALUES, VECTORS = np.linalg.eig(A)
RATES = np.ones(4)
AROUND = np.array([[0.7, 0.0], [-0.7, 0.0], [0.3, 0.9], [-0.3, -0.9], [1.6, 0.0], [-1.6, 0.0]])

FIELDS = {                # field, θ, axes, starts, how long, the equilibrium, do orbits end in it
    "linear: eigenvectors are straight orbits":
        (Linear(2), A.ravel(), (-2.5, 2.5, -2.5, 2.5), AROUND, 4.0, (0.0, 0.0), False),
    "Lotka–Volterra: round and round for ever":
        (LotkaVolterra(), RATES, (0.0, 4.0, 0.0, 4.0), np.array([[1.0, y] for y in (0.8, 0.6, 0.4, 0.25, 0.13)]), 9.0,
         (1.0, 1.0), False),
    "van der Pol: all ends on one cycle":
        (VanDerPol(), np.ones(1), (-3.5, 3.5, -3.5, 3.5),
         np.array([[0.1, 0.0], [-0.4, 0.0], [-3.0, 3.0], [3.0, -3.0], [0.5, 3.2]]), 20.0, (0.0, 0.0), False),
    "cubic spiral: inwards, ever slower":
        (CubicSpiral(), SPIRAL.ravel(), (-2.5, 2.5, -2.5, 2.5), np.array([[2.0, 0.0]]), 25.0, (0.0, 0.0), True)}


def compute():
    data = {}
    for name, (field, theta, (left, right, low, high), starts, span, *_) in FIELDS.items():
        orbits = [odeint(field, starts, np.linspace(0.0, span, 1001), theta, **FINE)]
        if "linear" in name:                                     # its orbits come from somewhere too
            orbits.append(odeint(field, starts, np.linspace(0.0, -span / 2, 1001), theta, **FINE))
        plane = np.stack(np.meshgrid(np.linspace(left, right, 121), np.linspace(low, high, 121)), axis=-1)
        coarse = np.stack(np.meshgrid(np.linspace(left, right, 12)[1:-1], np.linspace(low, high, 12)[1:-1]), axis=-1)
        data[name] = {"orbits": orbits, "plane": plane, "f": field(0.0, plane, theta), "coarse": coarse,
                      "arrows": field(0.0, coarse, theta)}
    return data


def draw(fig, data):
    for ax, (name, (_, _, axes, _, _, equilibrium, stable)) in zip(fig.subplots(2, 2).flat, FIELDS.items()):
        found = data[name]
        style.field(ax, found["arrows"], found["coarse"], color="#9a9a9a", width=0.004, longest=0.9)
        for i, colour in enumerate((style.PURPLE, style.ORANGE)):
            ax.contour(*np.moveaxis(found["plane"], -1, 0), found["f"][..., i], [0.0], colors=[colour],
                       linestyles="--", linewidths=1.6)
        for states in found["orbits"]:
            ax.plot(states[..., 0], states[..., 1], color=style.Y, lw=1.2)
        if "linear" in name:
            for vector in 9 * VECTORS.T:
                ax.plot(*np.stack([-vector, vector]).T, color=style.Y, lw=2.4)
            for x, y, angle, i in ((-1.7, 0.72, -16, 0), (1.35, 1.55, 38, 1)):
                ax.text(x, y, f"$y_{i + 1}$ stands still", rotation=angle, size=10,
                        color=style.ink((style.PURPLE, style.ORANGE)[i]), ha="center", va="center", rotation_mode="anchor", bbox={"color": "white", "pad": 0.5, "alpha": 0.8})
        ax.plot(*equilibrium, "o", color=style.BLACK, mfc=style.BLACK if stable else "white", ms=7, zorder=5)
        ax.set(xlim=axes[:2], ylim=axes[2:], xlabel="$y_1$", ylabel="$y_2$", title=name)
        ax.grid(False)

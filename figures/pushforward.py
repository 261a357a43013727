"""Figure 5. A tangent says to first order where a moved start is carried

The trajectory of figure 4, and a small move Δy₀ = (0, 0, 1) of its start, carried
along by the tangent system: the figure shows (16.2). What the arrows claim can be
looked at: a second trajectory starts at y₀ + 0.3 Δy₀, and to first order in 0.3 it runs
through the tips of the arrows 0.3 w. Where a hidden unit of the LeakyReLU changes
sign, as at t = 2.2, f_y jumps, and w has a corner.

Caption. The tangent w says to first order where a small move of the start is carried. Left: arrows
0.3 w along the path, and the trajectory that really starts so much higher (dashed). Its distance
from their tips is of second order: at the end (inset) half the move has a quarter of it. Right:
the components of w.

Numbers. For Δy₀ = (0, 0, 1) the tangent has by t = 6 turned through 121 degrees, to
(−0.54, −0.91, −0.39). There the dashed line misses the tip of the arrow by 0.065; with half the move
it misses by a quarter of that, 0.016.
"""

import numpy as np

from minode import odeint, pushforward

from . import style, trajectory
from .trajectory import MODEL, SIZE, T, THETA, Y0

SECONDS = 0.4
DY0 = np.array([0.0, 0.0, 1.0])
EPSILON = 0.3
MOVES = EPSILON * np.array([1.0, 0.5])


def switches(ys):
    """The times at which a hidden unit of the LeakyReLU changes sign."""
    W, b = MODEL.layers(THETA)[0]
    z = np.column_stack([T, ys]) @ W.T + b
    n, unit = np.nonzero(z[1:] * z[:-1] < 0)
    return T[n] + T[1] * z[n, unit] / (z[n, unit] - z[n + 1, unit])


def in_the_plane(moved, w):
    """Moves at the end as coordinates along w, and across it in the plane of w and the first move."""
    along = w / np.linalg.norm(w)
    across = moved[0] - moved[0] @ along * along
    return moved @ np.column_stack([along, -across / np.linalg.norm(across)])


def compute():
    ys, ws = pushforward(MODEL, Y0, T, THETA, dy0=DY0, method="rk4")
    moved = odeint(MODEL, Y0 + MOVES[:, None] * DY0, T, THETA, method="rk4")
    missed = [np.linalg.norm(moved[-1, i] - ys[-1] - e * ws[-1]) for i, e in enumerate(MOVES)]
    return {"t": T, "ys": ys, "ws": ws, "moved": moved[:, 0], "turning": trajectory.turning(ws),
            "missed": np.array(missed), "switches": switches(ys),
            "tips": MOVES * np.linalg.norm(ws[-1]), "ends": in_the_plane(moved[-1] - ys[-1], ws[-1])}


def draw(fig, data):
    space, parts = trajectory.panels(fig, "path, and tangents × 0.3", "components of the tangent")
    trajectory.draw_path(space, data["t"], data["ys"])
    arrows(space, data["ys"], EPSILON * data["ws"], style.W)
    space.plot(*data["moved"].T, "--", color=style.BLACK, lw=1.2, zorder=3)
    trajectory.components(parts, data["t"], data["ws"], "w", style.W)
    trajectory.corners(parts, data["switches"])

    inset = fig.add_axes((0.06, 0.67, 0.2, 0.15))
    for row, tip, end in zip((0.0, -0.1), data["tips"], data["ends"]):
        inset.annotate("", (tip, row), (0, row), arrowprops={"arrowstyle": "-|>", "color": style.W, "lw": 1.5,
                                                             "shrinkA": 0, "shrinkB": 0})
        inset.plot([tip, end[0]], [row, row + end[1]], color=style.VERMILION, lw=2)
        inset.plot(end[0], row + end[1], "o", color=style.BLACK, ms=4)
        inset.plot(0, row, "o", color=style.Y, ms=5)
    inset.set(xlim=(-0.02, 1.05 * data["ends"][:, 0].max()), ylim=(-0.15, 0.04), aspect="equal")
    inset.axis("off")
    inset.set_title("at $t = 6$: half the move,\na quarter of the miss (red)", size=9, pad=2)


def arrows(space, feet, vectors, colour, every=20):
    """Arrows along a path, by default at whole times."""
    space.quiver(*feet[::every].T, *vectors[::every].T, color=colour, lw=1.5,
                 arrow_length_ratio=0.25, zorder=5)

"""Figure 5. A tangent pushed forward along the trajectory

The trajectory of figure 4, and a small move Δy₀ = (0, 0, 1) of its start, carried
along by the tangent system: the figure shows (16.2). What the arrows claim can be
looked at: a second trajectory starts at y₀ + 0.3 Δy₀, and to first order in 0.3 it runs
through the tips of the arrows 0.3 w. Where a hidden unit of the LeakyReLU changes
sign, as at t = 2.2, f_y jumps, and w has a corner.

Caption. Arrows: the tangent w(t), 0.3 times its length, for Δy₀ = (0, 0, 1). Dashed: the
trajectory that really starts 0.3 higher. By t = 6 the tangent has turned through
121 degrees, to (−0.54, −0.91, −0.39). There the dashed line misses the tip of the arrow
by 0.065; with half the move it misses by a quarter of that, 0.016: first order means
that the error is of second.
"""

import numpy as np

from minode import odeint, pushforward

from . import style, trajectory
from .trajectory import MODEL, SIZE, T, THETA, Y0

SECONDS = 0.4
DY0 = np.array([0.0, 0.0, 1.0])
EPSILON = 0.3
MOVES = EPSILON * np.array([1.0, 0.5])


def compute():
    ys, ws = pushforward(MODEL, Y0, T, THETA, dy0=DY0, method="rk4")
    moved = odeint(MODEL, Y0 + MOVES[:, None] * DY0, T, THETA, method="rk4")
    missed = [np.linalg.norm(moved[-1, i] - ys[-1] - e * ws[-1]) for i, e in enumerate(MOVES)]
    return {"t": T, "ys": ys, "ws": ws, "moved": moved[:, 0], "turning": trajectory.turning(ws),
            "missed": np.array(missed)}


def draw(fig, data):
    space, parts = trajectory.panels(fig, "trajectory and tangents × 0.3\n(dashed: started 0.3 higher)",
                                     "components of the tangent")
    trajectory.draw_path(space, data["t"], data["ys"])
    arrows(space, data["ys"], EPSILON * data["ws"], style.W)
    space.plot(*data["moved"].T, "--", color=style.BLACK, lw=1.2, zorder=3)
    trajectory.components(parts, data["t"], data["ws"], "w", style.W)


def arrows(space, feet, vectors, colour, every=6):
    """Arrows along a path."""
    space.quiver(*feet[::every].T, *vectors[::every].T, color=colour, lw=1.3,
                 arrow_length_ratio=0.25, zorder=5)

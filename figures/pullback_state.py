"""Figure 6. The cotangent is the push that raises the loss fastest, at every time

The trajectory of figure 4 and the loss L = y₃(6), whose cotangent at the end is
(0, 0, 1). The augmented system [y, a, b] is solved backwards from there by the
classical method on the same 120 steps: the figure shows (17.2). a(t) is dL/dy(t): the
direction in which to push the state at time t so that y₃(6) rises fastest, and by how
much it does. The dots come by the other road, the exact derivative of the steps
(18.3) that remain after t.

Caption. The cotangent a(t) = dL/dy(t) is the push at time t that raises the loss L = y₃(6) fastest.
It is solved backwards from the end. What arrives at the start says: raise y₂, raise y₁ half as
much, and lower y₃ a little. The discrete gradients (dots) agree with it to 3.9e-8.

Numbers. What arrives is dL/dy₀ = (0.89, 1.98, −0.39). That −0.39 is also where w₃ ends in figure 5:
both are ∂y₃(6)/∂y₃(0). The discrete gradients are 3.9e-8 away at most.
"""

import numpy as np

from minode import adjoint_rhs, odeint, pullback

from . import style, trajectory
from .pushforward import arrows, switches
from .trajectory import MODEL, SIZE, T, THETA, Y0

SECONDS = 0.5
COTANGENT = np.array([0.0, 0.0, 1.0])
SCALE = 0.3
WHOLE = np.arange(0, 120, 20)


def augmented():
    """y, a and b at T[::-1], solved backwards from y(6), the cotangent, and zero."""
    rhs = adjoint_rhs(MODEL)
    ys = odeint(MODEL, Y0, T, THETA, method="rk4")
    end = ys[-1], COTANGENT, np.zeros(MODEL.n_params)
    return ys, odeint(rhs, end, T[::-1], THETA, method="rk4")


def compute():
    ys, (ys_back, a, b) = augmented()
    discrete = [pullback(MODEL, ys[i], T[i:], THETA, COTANGENT, method="rk4").y0 for i in WHOLE]
    return {"t": T[::-1], "ys": ys_back, "a": a, "discrete": np.array(discrete),
            "switches": switches(ys), "apart": np.abs(discrete - a[::-1][WHOLE]).max()}


def draw(fig, data):
    space, parts = trajectory.panels(fig, "path, and cotangents × 0.3", "components of the cotangent")
    trajectory.draw_path(space, data["t"], data["ys"])
    arrows(space, data["ys"], SCALE * data["a"], style.A)
    end = data["ys"][0]
    space.plot(*np.transpose([[end[0], end[1], 0.0], end]), color=style.BLACK, lw=1.2, zorder=3)
    space.text(end[0], end[1], 0.45 * end[2], "$L$ ", ha="right", va="center", zorder=6)
    parts.plot(T[WHOLE], data["discrete"], "o", color=style.A, ms=5, clip_on=False)
    parts.text(0.98, 0.09, "dots: discrete gradient", color=style.ink(style.A), size=9, ha="right",
               transform=parts.transAxes)
    trajectory.components(parts, data["t"], data["a"], "a", style.A)
    trajectory.corners(parts, data["switches"], right=True)

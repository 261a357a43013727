"""Figure 22. A finite difference gives ten digits at best, the complex step all of them

The loss of figure 9 through 20 steps of RK4, differentiated along one direction of (y₀, θ)
by finite differences, forward and central, and by the complex step, for ε from 1 down to
1e-16. What they are compared with is pushforward, which is exact on these steps. The
figure shows (22.1) to (22.3): forward differences have an error of ε/2 |L''| + u |L|/ε, central
ones of ε²/6 |L'''| + u |L|/ε, both with the rounding of numbers of size |L| in a difference of
size ε; the complex step has the ε² and subtracts nothing.

Caption. As ε decreases, a difference first gains digits and then loses them again in its subtraction.
Forward differences reach a relative error of about 1.5e-8, central ones of 3.7e-11. The complex step subtracts
nothing, and is right to a few roundings for every ε ≤ 1e-8. u = 2.2e-16 is the distance from one to
the next number.

Numbers. Forward differences get no better than about u^{1/2} = 1.5e-8, central ones no better than
about u^{2/3} = 3.7e-11, where u = 2.2e-16 is the distance from 1 to the next number; how near they
come is up to rounding. On the way down the slopes are 1.00, 2.00 and 2.00. The dashed line is
ε = u^{1/3}.
"""

import numpy as np

from minode import odeint, pushforward
from minode.gradients.checks import EPSILON, complex_step

from . import style
from .three_gradients import MODEL, T, Y0, loss
from .trajectory import THETA

SECONDS = 1
EPSILONS = 10.0 ** -np.arange(0, 16.5, 0.5)
SOLVER = {"method": "rk4", "step_size": 0.1}
WAYS = {"forward": (style.VERMILION, "s"), "central": (style.BLUE, "o"), "complex step": (style.GREEN, "D")}
SLOPE_FROM = {"forward": slice(6, 13), "central": slice(4, 9), "complex step": slice(4, 11)}
FLOOR = 1e-17                               # where the line "exactly 0" is drawn


def compute():
    rng = np.random.default_rng(0)
    direction = rng.normal(size=len(Y0) + len(THETA))
    direction /= np.linalg.norm(direction)
    dy0, dtheta = direction[:3], direction[3:]

    def along(s):
        theta = THETA + s * dtheta
        return loss(odeint(MODEL, Y0 + s * dy0, T, theta, **SOLVER))[0]

    ys, ws = pushforward(MODEL, Y0, T, THETA, dy0=dy0, dtheta=dtheta, **SOLVER)
    exact = np.vdot(loss(ys)[1], ws)
    found = {"forward": [(along(e) - along(0.0)) / e for e in EPSILONS],
             "central": [(along(e) - along(-e)) / (2 * e) for e in EPSILONS],
             "complex step": [complex_step(along, 0.0, 1.0, e) for e in EPSILONS]}
    errors = {name: np.abs(np.array(values) / exact - 1) for name, values in found.items()}
    return {"errors": errors, "exact": exact,
            "slopes": {name: style.slope(EPSILONS[part], errors[name][part])
                       for name, part in SLOPE_FROM.items()}}


def draw(fig, data):
    ax = fig.subplots()
    for name, (colour, marker) in WAYS.items():
        ax.loglog(EPSILONS, data["errors"][name], marker=marker, color=colour, lw=1.2)
    ax.axvline(EPSILON, color=style.GREY, lw=1, ls="--")
    ax.text(EPSILON * 0.8, 3, "$ε = u^{1/3}$", color=style.ink(style.GREY))
    ax.text(1e-2, 2e-2, "forward:\ntruncation $\\propto ε$", color=style.ink(style.VERMILION), ha="left")
    ax.text(1e-10, 1e-8, "the subtraction loses digits", color=style.BLACK)
    ax.text(9e-1, 1e-11, "central and\ncomplex step:\ntruncation $\\propto ε^2$", color=style.ink(style.BLUE))
    ax.text(1e-13, 8e-15, "complex step: nothing subtracted", color=style.ink(style.GREEN), ha="center")
    ax.set(xlabel="$ε$, the size of the step", ylabel="relative error of the derivative",
           xlim=(2, 5e-17), ylim=(FLOOR, 30))
    style.floor(ax, FLOOR)

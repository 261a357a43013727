"""Figure 8. Only a symmetric or a reversible method finds its way back

A damped pendulum, x'' = −sin x − x'/5 from x = 1.5 at rest, is solved to t = 5 in steps
of h, and from where it arrives back to 0 in the same steps: the figure shows (9.3) with
h of both signs. A step of order p errs by C h^{p+1}, to leading order, and the step
back over it by C (−h)^{p+1}. For odd p the two add up and the round trip is of order p;
for even p they cancel and it is of order p + 1. An explicit method never does better.
Not the order decides but symmetry: an implicit method (13.1) whose step with −h undoes its
step with h returns to round-off, and so do the methods (14.1) and (14.2) that carry a
second copy of the state, as long as that copy, too, is taken back.

Caption. A damped pendulum, solved forwards and back in the same steps. Left: Euler's method misses
the start. Right: by how much, and slopes. An explicit method of odd order p misses it with order p,
one of even order with p + 1. Symmetric and reversible methods return up to round-off, at every
step size.

Numbers. Euler's method takes 32 steps to t = 5 and 32 steps back, which end 1.7 away from the start.
Slopes: Euler 1.07, midpoint and Heun 3.00 and 3.00, RK4 and the 3/8 rule 5.00 and 5.00. The implicit
midpoint rule, the trapezoidal rule, asynchronous leapfrog and reversible Heun miss the start by less
than 1e-13.
"""

import numpy as np

from minode import methods, odeint
from minode.solvers.reversible import round_trip as reversed_exactly

from . import style

SECONDS = 1.5
DAMPING, Y0, END = 0.2, np.array([1.5, 0.0]), 5.0
STEPS = 2 ** np.arange(5, 10)
FLOOR, LOWEST = 1e-17, 1e-19                # where an exact return would be drawn, and the end of the axis
EXPLICIT = {                                # its name, colour and line
    "euler": ("Euler", style.METHOD["euler"], "o-"),
    "midpoint": ("midpoint", style.METHOD["midpoint"], "o-"),
    "heun": ("Heun", style.METHOD["heun"], "o--"),
    "rk4": ("RK4", style.METHOD["rk4"], "o-"),
    "rk38": ("3/8 rule", style.METHOD["rk38"], "o--"),
}
SYMMETRIC = {"implicit_midpoint": "o-", "trapezoid": "o-"}
REVERSIBLE = {"asynchronous_leapfrog": "o-", "reversible_heun": "o-"}


def pendulum(t, y):
    return np.stack([y[..., 1], -np.sin(y[..., 0]) - DAMPING * y[..., 1]], axis=-1)


def jacobian(t, y):
    return np.array([[0.0, 1.0], [-np.cos(y[0]), -DAMPING]])


def there_and_back(method, n):
    """The states in n steps to the end, and those in n steps back."""
    t = np.linspace(0.0, END, n + 1)
    there = odeint(pendulum, Y0, t, method=method, jacobian=jacobian)
    return there, odeint(pendulum, there[-1], t[::-1], method=method, jacobian=jacobian)


def arrival(name, n):
    """Where a round trip of n steps each way ends."""
    if name in REVERSIBLE:
        return reversed_exactly(methods[name], pendulum, Y0, np.linspace(0.0, END, n + 1))
    return there_and_back(name, n)[1][-1]


def compute():
    missed = {name: np.array([np.linalg.norm(arrival(name, n) - Y0) for n in STEPS])
              for name in (*EXPLICIT, *SYMMETRIC, *REVERSIBLE)}
    return {"paths": there_and_back("euler", STEPS[0]), "missed": missed,
            "slope": {name: style.slope(END / STEPS[1:], missed[name][1:]) for name in EXPLICIT}}


def draw(fig, data):
    plane, ax = fig.subplots(1, 2, width_ratios=[1, 1.1])
    there, back = data["paths"]
    plane.plot(*there.T, ".-", color=style.METHOD["euler"], lw=1)
    plane.plot(*back.T, ".--", color=style.VERMILION, lw=1)
    plane.plot(*Y0, "o", color=style.BLACK, ms=8)
    plane.text(1.45, 0.1, "start", ha="right")
    plane.text(0.15, -1.1, "there", color=style.ink(style.METHOD["euler"]), ha="center")
    plane.text(1.6, -1.9, "back", color=style.ink(style.VERMILION))
    plane.set(xlabel="angle $x$ (radians)", ylabel="angular velocity $x'$",
              title=f"Euler, {STEPS[0]} steps there, {STEPS[0]} back")

    ax.axhspan(LOWEST, 1e-13, color="#eeeeee", lw=0)
    ax.text(END / STEPS[0], 2e-13, "symmetric or reversible: round-off", va="bottom")
    ax.text(END / STEPS[0], 1.5 * LOWEST, "implicit midpoint, trapezoid,\nasynchronous leapfrog, reversible Heun",
            size=9)
    labels = []
    for name, missed in data["missed"].items():
        label, colour, line = EXPLICIT.get(name) or (None, style.BLACK, (SYMMETRIC | REVERSIBLE)[name])
        ax.loglog(END / STEPS, missed, line, color=colour, ms=5 if label else 3, lw=1.8 if label else 0.8)
        if label:
            labels.append((missed[-1], f"{label} {data['slope'][name]:.2f}", colour))
    ax.set(xlabel="step size $h$", ylabel="distance from the start", title="missed after the round trip, and slope")
    ax.set(ylim=(LOWEST, 10))
    ax.invert_xaxis()
    style.floor(ax, FLOOR)
    style.end_labels(ax, END / STEPS[-1], labels, space=0.05)

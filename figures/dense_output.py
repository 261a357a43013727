"""Figure 15. Between the steps

The driven pendulum of figure 12 is solved to t = 6 in equal steps, and asked for at 19
times inside each of them. What lies there comes from a straight line between the ends, for
a control; from Hermite's cubic, as for rk4; from dopri5's and tsit5's own quartics; from the
polynomial of order 7 of dop853. The figure shows (11.1) and (11.2). A polynomial that
is right through h^q is wrong by a multiple of h^{q+1}: so a method of order p keeps its order
between the steps where q ≥ p − 1, as in all of these but the line.

Caption. Left: inside one step of 0.5, begun on the solution. The line has the ends of dopri5
and is 0.034 off between them, rk4's cubic 4.1e-4, the quartics of dopri5 and tsit5 2.6e-5 and
2.4e-5, dop853 1.1e-7. Right: the largest error at any time, against the step. Slopes: line
2.00, rk4 4.08, dopri5 5.12 and tsit5 5.05, dop853 7.84.
"""

import numpy as np

from minode import odeint, solve

from . import style
from .orders import END, Y0, pendulum

SECONDS = 1
STEPS, INSIDE = 8 * 2 ** np.arange(0, 6), 20
SHOWN, H = 2.0, 0.5                         # the start and size of the step on the left
ROUND_OFF = 2e-13                           # errors below this are not counted in a slope
KINDS = {                                   # the method, the slope to expect, and a colour
    "straight line": ("dopri5", 2, style.GREY),
    "rk4": ("rk4", 4, style.METHOD["rk4"]),
    "dopri5": ("dopri5", 5, style.METHOD["dopri5"]),
    "tsit5": ("tsit5", 5, style.METHOD["tsit5"]),
    "dop853": ("dop853", 8, style.METHOD["dop853"]),
}


def exact(t, y0=Y0):
    """The states at finely spaced t by dop853, a step to each."""
    return odeint(pendulum, y0, t, method="dop853", step_size=END)


def between(kind, n, t, y0=Y0):
    """The states at t of a solve from t[0] in n equal steps, as this kind of dense output has them."""
    ends = np.linspace(t[0], t[-1], n + 1)
    solution = solve(pendulum, y0, ends, method=KINDS[kind][0], step_size=END)
    if kind == "straight line":
        return np.stack([np.interp(t, ends, y) for y in solution.ys.T], axis=-1)
    return solution.interpolate(t)


def compute():
    start = exact(np.linspace(0.0, SHOWN, 201))[-1]
    inside = np.linspace(SHOWN, SHOWN + H, 101)
    data = {kind: {"inside": np.linalg.norm(between(kind, 1, inside, start) - exact(inside, start), axis=1),
                   "error": []} for kind in KINDS}
    for n in STEPS:
        t = np.linspace(0.0, END, INSIDE * n + 1)
        reference = exact(t)
        for kind in KINDS:
            data[kind]["error"].append(np.linalg.norm(between(kind, n, t) - reference, axis=1).max())
    for row in data.values():
        row["error"] = np.array(row["error"])
        counted = np.flatnonzero(row["error"] > ROUND_OFF)[-3:]
        row["slope"] = style.slope(END / STEPS[counted], row["error"][counted])
    return data


def draw(fig, data):
    one, ax = fig.subplots(1, 2, width_ratios=[1, 1])
    labels = []
    for kind, (_, _, colour) in KINDS.items():
        error = data[kind]["error"]
        one.semilogy(np.linspace(0.0, 1.0, 101), np.maximum(data[kind]["inside"], 1e-17), color=colour)
        ax.loglog(END / STEPS, error, "o-", color=colour)
        labels.append((error[-1], f"{kind} {data[kind]['slope']:.2f}", colour))
    one.set(xlabel="$σ$, the fraction of the step", ylabel="error", ylim=(1e-11, 1),
            title=f"inside one step, $h = {H}$")
    ax.set(xlabel="step size $h$", ylabel="largest error", ylim=(1e-15, 3),
           title="in a whole solve, and slope")
    ax.minorticks_off()
    ax.set(xticks=(0.03, 0.1, 0.3), xticklabels=("0.03", "0.1", "0.3"))
    ax.invert_xaxis()
    style.end_labels(ax, END / STEPS[-1], labels, space=0.04)

"""Figure 15. A method's own polynomial keeps its order between the steps

The driven pendulum of figure 12 is solved to t = 6 in equal steps, and evaluated at 19
times inside each of them. The states there come from a straight line between the ends, for
a control; from Hermite's cubic, as for rk4; from dopri5's and tsit5's own quartics; from the
polynomial of order 7 of dop853. The figure shows (11.1) and (11.2). A polynomial that
is right through h^q is wrong by a multiple of h^{q+1}: so a method of order p keeps its order
between the steps if q ≥ p − 1, as in all of these except the line.

Caption. A method's own polynomial keeps its order between the steps; a straight line does not. Left:
three long steps of dopri5 (dots), and between them lines, Hermite's cubics and dopri5's own
quartics, over the solution (grey), with errors. Right: the largest error in shorter steps; its
slope is 2 for the line, the method's order for the others.

Numbers. Slopes: line 2.00, rk4 4.08, dopri5 5.12 and tsit5 5.05, dop853 7.84. Inside one step of
0.5, begun on the solution, the line has the ends of dopri5 and is 0.034 off between them, rk4's cubic
4.1e-4, the quartics of dopri5 and tsit5 2.6e-5 and 2.4e-5, dop853 1.1e-7. In the three steps on the
left, of 1.25, the lines are off by up to 0.24, the cubics by 0.023, the quartics by 0.011.
"""

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from minode import odeint, solve

from . import style
from .orders import END, Y0, pendulum

SECONDS = 1
STEPS, INSIDE = 8 * 2 ** np.arange(0, 6), 20
SHOWN, H = 2.0, 0.5                         # the start and size of a step begun on the solution
LONG_STEPS, LONG_H = 3, 1.25                # on the left
ROUND_OFF = 2e-13                           # errors below this are not counted in a slope
KINDS = {                                   # the method, the slope to expect, and a colour
    "straight line": ("dopri5", 2, style.GREY),
    "rk4": ("rk4", 4, style.METHOD["rk4"]),
    "dopri5": ("dopri5", 5, style.METHOD["dopri5"]),
    "tsit5": ("tsit5", 5, style.METHOD["tsit5"]),
    "dop853": ("dop853", 8, style.METHOD["dop853"]),
}
LONG = {                                    # what lies between the long steps: its name, colour and line
    "line": ("straight line", style.GREY, "--"),
    "cubic": ("Hermite's cubic", style.METHOD["rk4"], "-"),
    "quartic": ("dopri5's quartic", style.METHOD["dopri5"], "-"),
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


def hermite(ends, ys, t):
    """Hermite's cubics through the states ys at the ends of the steps, at the times t."""
    slopes = np.array([pendulum(end, y) for end, y in zip(ends, ys)])
    return CubicHermiteSpline(ends, ys, slopes)(t)


def between_long_steps():
    """The angular velocity in and between a few long steps of dopri5."""
    t = LONG_H * np.linspace(0.0, LONG_STEPS, LONG_STEPS * INSIDE + 1)
    line, quartic = (between(kind, LONG_STEPS, t) for kind in ("straight line", "dopri5"))
    states = {"solution": exact(t), "line": line, "cubic": hermite(t[::INSIDE], quartic[::INSIDE], t),
              "quartic": quartic}
    return {"t": t} | {kind: ys[:, 1] for kind, ys in states.items()}


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
    for row in data.values():                   # of each kind
        row["error"] = np.array(row["error"])
        counted = np.flatnonzero(row["error"] > ROUND_OFF)[-3:]
        row["slope"] = style.slope(END / STEPS[counted], row["error"][counted])
    return data | {"long": between_long_steps()}


def draw(fig, data):
    left, right = fig.subfigures(1, 2, width_ratios=[1, 1.05])
    (path, off), ax = left.subplots(2, 1, sharex=True, height_ratios=[1.5, 1]), right.subplots()
    long, t = data["long"], data["long"]["t"]
    path.plot(t, long["solution"], color=style.PALE, lw=6, solid_capstyle="round", zorder=1)
    for kind, (name, colour, line) in LONG.items():
        path.plot(t, long[kind], line, color=colour, lw=1.6)
        if kind != "line":
            off.plot(t, long[kind] - long["solution"], line, color=colour)
            off.plot(t[::INSIDE], (long[kind] - long["solution"])[::INSIDE], "o", color=style.METHOD["dopri5"], ms=6)
    path.plot(t[::INSIDE], long["quartic"][::INSIDE], "o", color=style.METHOD["dopri5"], ms=7, zorder=4)
    style.key(path, {name: colour for name, colour, _ in LONG.values()}, "upper right", size=10)
    path.set(ylabel="$x'$", title=f"steps of {LONG_H}")
    off.set(xlabel="time $t$", ylabel="error")

    labels = []
    for kind, (_, _, colour) in KINDS.items():
        error = data[kind]["error"]
        ax.loglog(END / STEPS, error, "o-", color=colour)
        labels.append((error[-1], f"{kind} {data[kind]['slope']:.2f}", colour))
    ax.set(xlabel="step size $h$", ylabel="error", ylim=(1e-15, 3),
           title="largest error at any time, and slope")
    ax.minorticks_off()
    ax.set(xticks=(0.03, 0.1, 0.3), xticklabels=("0.03", "0.1", "0.3"))
    ax.invert_xaxis()
    style.end_labels(ax, END / STEPS[-1], labels, space=0.04)

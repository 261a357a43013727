"""Figure 21. A solution that contracts cannot be solved back: errors grow, until y is set right

Where a field contracts it expands backwards. y' = −λy is solved from 0 to 1 with rtol =
atol = 1e-6, and then the augmented system [y, a, b] back, as backsolve does it: y is set right
at each output time, where it is known, and nowhere else. What was a harmless error of 1e-6
at such a time has grown by e^{λΔt} at the one before. The loss is ½ Σ y(t_i)². The figure shows
(17.2) to (17.4) and the trap of chapter 17.

Caption. Where a field contracts, it expands backwards. Left: y' = −λy solved back; an error of the size
of the tolerance grows like e^{λΔt}. Right: setting y right at output times, where it is known, keeps
the error small. For λ = 20 it is 14 at the start with one of them, and 1.3e-6 with 16.

Numbers. The distance of the y met on the way back from the y that the way there had computed, at
t = 0. With one it is 7.1e-7, 4.7e-5, 1.5e-3, 14 and 1.4e15 for λ = 1, 5, 10, 20 and 50; for λ = 20 and
2, 4, 8 and 16 of them 1.9e-3, 2.5e-5, 4.8e-6 and 1.3e-6.
"""

import numpy as np

from minode import Linear, adjoint_rhs, odeint

from . import style

SECONDS = 1
LAMBDAS = {1: style.BLACK, 5: style.GREEN, 10: style.BLUE, 20: style.VERMILION, 50: style.PURPLE}
RESETS = np.array([1, 2, 4, 8, 16, 32])
SOLVER = {"rtol": 1e-6, "atol": 1e-6}
PATH = np.linspace(1.0, 0.0, 101)
FLOOR = 1e-10


def way_back(rate, resets, path):
    """The y met again at the times `path` from t_1 to 0, last stretch of the way back of [y, a, b]."""
    field, theta, t = Linear(1), np.array([-float(rate)]), np.linspace(0.0, 1.0, resets + 1)
    ys = odeint(field, [1.0], t, theta, **SOLVER)
    rhs, a, b = adjoint_rhs(field), np.zeros(1), np.zeros(1)
    for i in range(resets, 0, -1):
        a = a + ys[i]                                                # ∂L/∂y(t_i) = y(t_i)
        times = path if i == 1 else t[[i, i - 1]]
        met, a_path, b_path = odeint(rhs, (ys[i], a, b), times, theta, **SOLVER)
        a, b = a_path[-1], b_path[-1]
    return met[:, 0]


def way_there(rate, path):
    """The y that the way there computed at the same times."""
    return odeint(lambda t, y: -rate * y, [1.0], path[::-1], **SOLVER)[::-1, 0]


def compute():
    data = {}
    for rate in LAMBDAS:
        at_start = [abs(way_back(rate, n, np.array([1 / n, 0.0]))[-1] - 1) for n in RESETS]
        data[rate] = {"path": np.abs(way_back(rate, 1, PATH) - way_there(rate, PATH)),
                      "at_start": np.array(at_start)}
    return data


def draw(fig, data):
    path, ax = fig.subplots(1, 2, sharey=True)
    for rate, colour in LAMBDAS.items():
        away = np.maximum(data[rate]["path"], FLOOR)
        path.semilogy(PATH[1:], away[1:], color=colour)
        ax.loglog(RESETS, np.maximum(data[rate]["at_start"], FLOOR), "o-", color=colour)
    for side in (path, ax):
        side.axhspan(FLOOR / 3, SOLVER["rtol"], color="#f0f0f0", zorder=0)
    path.text(0.02, 1e-9, "below the tolerance", color=style.ink(style.GREY))
    path.text(0.37, 1e10, "grows like $e^{λ(1 - t)}$", color=style.ink(LAMBDAS[50]))
    path.set(xlabel="time $t$", ylabel="error of the $y$ met again", xlim=(0.0, 1.0),
             ylim=(FLOOR / 3, 1e17), title="$y' = -λy$, solved back from $t = 1$")
    style.solved_backwards(path, x=0.7)
    style.end_labels(path, 0.0, [(data[rate]["path"][-1], f"$λ = {rate}$", colour)
                                 for rate, colour in LAMBDAS.items()], gap=0.06, ha="right")
    ax.text(2.3, 1e6, "$λ = 50$", color=style.ink(LAMBDAS[50]))
    ax.text(1.6, 2.0, "$λ = 20$", color=style.ink(LAMBDAS[20]))
    ax.set(xlabel="output times, at which $y$ is set right", xticks=RESETS, xticklabels=RESETS,
           title="its error at $t = 0$")
    ax.minorticks_off()

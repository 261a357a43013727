"""Figure 41. The more digits of a stiff problem are wanted, the more a high order saves

Six stiff problems of the literature (`figures/_stiff.py`), with their Jacobians, by the implicit methods that choose
their steps, and by SciPy's Radau and BDF (rings), which are the same method as radau5 and one of several steps. The
tolerance rtol goes down by factors of ten, with atol = rtol times a size that suits the problem; drawn is the error at the
end against the calls of f. The figure shows (13.1) to (13.7) under the control (10.7).

Caption. The fewer digits are wanted, the less the methods differ; for many digits the order counts, and
radau5 calls f least often. For a relative error of 1e-5 on E5, it calls f about 300 times and kvaerno5
820 times. SciPy's Radau, which is the same method, costs about as much (rings).

Numbers. For the same error on E5 SciPy's Radau takes 380 calls, BDF 490.
With equal tolerances, over all six problems, radau5 calls f 0.7 to 1.2 times as often as SciPy's Radau and
computes 0.4 to 2.3 times as many Jacobians.
"""

import numpy as np
from scipy.integrate import solve_ivp

from minode import solve

from . import style
from ._stiff import PROBLEMS
from .work_precision import calls_for

SECONDS = 15
SIZE = (8.0, 5.6)
METHODS = {name: style.METHOD[name] for name in ("trbdf2", "kvaerno5", "radau5")}
SCIPY = {"Radau": style.METHOD["radau5"], "BDF": style.GREY}
TITLES = {"robertson": "Robertson", "van der pol": "van der Pol, $\\mu = 1000$", "hires": "HIRES", "orego": "Oregonator",
          "e5": "E5", "pollution": "pollution"}
TOLERANCES = 10.0 ** -np.arange(3, 8)
MOST_CALLS = 5_000                          # no tighter tolerance after a solve that took more
CALLS = (300, 1000, 3000)                   # marked on the axes
ASKED, WHERE = 1e-5, "e5"


def work(problem, name, rtol):
    """The calls of f, the Jacobians, and the error at the end of a solve."""
    options = {"rtol": rtol, "atol": rtol * problem.size}
    if name in METHODS:
        done = solve(problem.f, problem.y0, problem.span, method=name, jacobian=problem.jacobian, **options)
        return done.stats.n_f, done.stats.n_jac, problem.error(done.ys[-1])
    done = solve_ivp(problem.f, problem.span, problem.y0, name, jac=problem.jacobian, **options)
    return done.nfev, done.njev, problem.error(done.y[:, -1])


def compute():
    data = {}
    for title, problem in PROBLEMS.items():
        for name in (*METHODS, *SCIPY):
            rows = []
            for rtol in TOLERANCES:
                rows.append(work(problem, name, rtol))
                if rows[-1][0] > MOST_CALLS:
                    break
            data[title, name] = dict(zip(("calls", "jacobians", "error"), np.transpose(rows)))
    return data | {"calls for": {name: calls_for(ASKED, data[WHERE, name]["calls"], data[WHERE, name]["error"])
                                 for name in (*METHODS, *SCIPY)}}


def draw(fig, data):
    axes = dict(zip(PROBLEMS, fig.subplots(2, 3, sharey=True, sharex=True).flat))
    for title, ax in axes.items():
        for name, colour in SCIPY.items():
            ax.loglog(data[title, name]["calls"], data[title, name]["error"], "o", color=colour, mfc="none",
                      ms=7, mew=1)
        for name, colour in METHODS.items():
            ax.loglog(data[title, name]["calls"], data[title, name]["error"], ".-", color=colour)
        ax.minorticks_off()
        ax.set(title=TITLES[title], ylim=(1e-9, 1), xticks=CALLS, xticklabels=[f"{calls:,}" for calls in CALLS])
    for ax in list(axes.values())[3:]:
        ax.set_xlabel("calls of $f$")
    for ax in list(axes.values())[::3]:
        ax.set_ylabel("relative error at the end")
    orders = {"trbdf2, order 2": "trbdf2", "kvaerno5, order 5": "kvaerno5", "radau5, order 5": "radau5"}
    style.key(axes["robertson"], {text: METHODS[name] for text, name in orders.items()}, "lower left", 10)
    style.key(axes["van der pol"], {f"rings: SciPy's {name}": colour for name, colour in SCIPY.items()},
              "lower left", 10)

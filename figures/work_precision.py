"""Figure 14. The more digits are wanted, the more a high order is worth

The adaptive methods of chapter 8 on three problems: Lotka–Volterra to t = 40, the
orbit of figure 13, and a field tanh(W y + b cos t) of width 64 to t = 10. The tolerances
rtol = atol go down by factors of ten; drawn is the error at the end against the calls
of f, which are what a solve costs if f is a network. The figure shows (9.1) to (9.3) under
the control (10.1) to (10.4). Solved, too, and compared by a test, but not drawn: SciPy's RK45
and DOP853, which are dopri5 and dop853 with other constants in (10.4). The reference is SciPy's DOP853 with
rtol = 1e-13; for the orbit, its start.

Caption. The more digits are wanted, the more a high order is worth. Each point is a solve with another
tolerance. For six digits (line), dop853, of order 8, needs about as many calls of f as tsit5 of
order 5; bosh3, of order 3, needs several times as many. For ten, dop853 needs the fewest.

Numbers. For a relative error of 1e-6 dopri5, tsit5 and dop853 call f 1,200, 890 and 900 times
on Lotka–Volterra, 5,200, 3,200 and 2,700 times on the orbit, 190, 190 and 230 times on the tanh
field, where bosh3 takes 620. For 1e-10 they call it 5,000, 4,500 and 2,300 times on the first
and 780, 900 and 640 times on the last. From rtol = 1e-6 on, SciPy's two call f as often as dopri5
and dop853 to within 6 %.
"""

import numpy as np
from scipy.integrate import solve_ivp

from minode import LotkaVolterra, methods, solve

from . import arenstorf, style

SECONDS = 4
METHODS = {name: style.METHOD[name] for name in ("bosh3", "dopri5", "tsit5", "dop853")}
SCIPY = ("RK45", "DOP853")
TOLERANCES = 10.0 ** -np.arange(3, 13)
MOST_CALLS = 5_000                          # no tighter tolerance after a solve that took more
ASTRAY = 0.1                                # of the orbit: which loose tolerance goes astray is up to rounding
CALLS = (100, 300, 1000, 3000)             # marked on the axes
WIDTH, ERRORS = 64, (1e-6, 1e-10)


def problems(rng):
    """name -> (f, y0, end)."""
    animals, theta = LotkaVolterra(), np.array([0.55, 0.028, 0.80, 0.024])
    W, b = 1.5 / WIDTH**0.5 * rng.normal(size=(WIDTH, WIDTH)), rng.normal(size=WIDTH)
    return {"Lotka–Volterra": (lambda t, y: animals(t, y, theta), np.array([30.0, 4.0]), 40.0),
            "Arenstorf": (arenstorf.satellite, arenstorf.Y0, arenstorf.PERIOD),
            "64-wide tanh field": (lambda t, y: np.tanh(W @ y + b * np.cos(t)), rng.normal(size=WIDTH), 10.0)}


def ours(f, y0, end, name, tolerance):
    """The calls of f and the end of a solve."""
    solution = solve(f, y0, [0.0, end], method=name, rtol=tolerance, atol=tolerance)
    return solution.stats.n_f, solution.ys[-1]


def scipys(f, y0, end, name, tolerance):
    solution = solve_ivp(f, (0.0, end), y0, name, rtol=tolerance, atol=tolerance)
    return solution.nfev, solution.y[:, -1]


def calls_for(error, calls, errors):
    """The calls of f at which the curve last comes down through this error, read off between its points.

    NaN where it stays above.
    """
    above = np.flatnonzero(errors > error)[-1]
    if above + 1 == len(errors):
        return np.nan
    segment = slice(above, above + 2)
    return float(np.exp(np.interp(-np.log(error), -np.log(errors[segment]), np.log(calls[segment]))))


def compute():
    data = {}
    for problem, (f, y0, end) in problems(np.random.default_rng(0)).items():
        exact = y0 if problem == "Arenstorf" else scipys(f, y0, end, "DOP853", 1e-13)[1]
        for name in (*METHODS, *SCIPY):
            rows = []
            for tolerance in TOLERANCES:
                calls, y = (ours if name in METHODS else scipys)(f, y0, end, name, tolerance)
                error = np.linalg.norm(y - exact) / np.linalg.norm(exact)
                if calls <= MOST_CALLS or error < ASTRAY:    # else the orbit has come close to the Moon, and is lost
                    rows.append((calls, error))
                if calls > MOST_CALLS and error < ASTRAY:
                    break
            calls, errors = np.transpose(rows)
            data[problem, name] = {"calls": calls, "error": errors,
                                   "calls_for": {error: calls_for(error, calls, errors) for error in ERRORS}}
    return data


def draw(fig, data):
    titles = list(dict.fromkeys(problem for problem, _ in data))
    axes = dict(zip(titles, fig.subplots(1, 3, sharey=True)))
    for problem, ax in axes.items():
        ax.axhline(ERRORS[0], color=style.BLACK, lw=1, ls=":")
        for name, colour in METHODS.items():
            row = data[problem, name]
            ax.loglog(row["calls"], row["error"], ".-", color=colour)
        ax.minorticks_off()
        ax.set(title=problem, xlabel="calls of $f$", ylim=(1e-13, 5), xlim=ax.get_xlim(), xticks=CALLS,
               xticklabels=[f"{calls:,}" for calls in CALLS])
    first, second, _ = axes.values()
    first.set_ylabel("relative error at the end")
    style.key(first, {f"{name}, order {methods[name].order}": colour for name, colour in METHODS.items()}, "lower left",
              size=10)
    second.text(110, 1.3 * ERRORS[0], "six digits", size=10)

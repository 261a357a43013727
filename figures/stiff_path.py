"""Figure 18. On a stiff path accuracy limits an implicit step, and stability an explicit one

Van der Pol's oscillator at μ = 1000 creeps for 800 units of time and jumps in less than one.
While it creeps, y₁ changes slowly, but any departure from the slow path dies out like
e^{λt} with λ ≈ μ (1 − y₁²), down to −3000. An explicit method may then not step further than its
stability allows, h |λ| ≤ 3.31 for dopri5 (figure 17), however little happens; the figure
shows (13.1) and (13.4) doing without that limit: kvaerno5, and for comparison trbdf2, which is
not drawn, with rtol = atol = 1e-5.

Caption. Van der Pol's oscillator creeps, and jumps. Above: kvaerno5 takes 200 steps (dots). Below: its
steps are short in a jump and up to 194 long between two. dopri5 may step no further than its
stability allows (dotted), and after 10,000 steps it has only come to t = 11 (inset).

Numbers. kvaerno5: its 200 steps (43 more were rejected; 3,300 calls of f) have sizes from 1.3e-4 in a
jump to 194. trbdf2 takes 890 (3 rejected, 3,600 calls). They end 9.7e-6 and 8.6e-4 away from SciPy's
Radau with rtol = 1e-8. dopri5, stopped after 10,000 steps and 60,002 calls at t = 11, has taken steps
of 0.0011, the limit of its stability; keeping to that would take 1.2 million steps to the end.
"""

import numpy as np
from scipy.integrate import solve_ivp, trapezoid

from minode import SolverError, VanDerPol
from minode.solvers.solve import run

from . import style
from .stability import reach

SECONDS = 2
SIZE = (8.0, 4.6)
FIELD, THETA, Y0, END = VanDerPol(), np.array([1000.0]), np.array([2.0, 0.0]), 2000.0
TOLERANCE, REFERENCE, BUDGET = 1e-5, 1e-8, 10_000
METHODS = {name: style.METHOD[name] for name in ("kvaerno5", "trbdf2", "dopri5")}


def steps(method):
    """Where the steps start, their sizes, the states there, what it cost, and the run if it went through."""
    tape, done = [], None
    try:
        done = run(FIELD, Y0, [0.0, END], THETA, tape, method=method, rtol=TOLERANCE, atol=TOLERANCE, max_steps=BUDGET)
        stats = done.solution.stats
    except SolverError as error:
        stats = error.solution.stats
    t, h, y, _ = zip(*tape)
    return {"t": np.array(t), "h": np.array(h), "y": np.array(y), "stats": stats, "done": done}


def compute():
    data = {method: steps(method) for method in METHODS}
    reference = solve_ivp(FIELD, (0.0, END), Y0, "Radau", args=(THETA,), jac=FIELD.jacobian,
                          rtol=REFERENCE, atol=REFERENCE).y[:, -1]
    runs = {method: row.pop("done") for method, row in data.items()}
    for method in ("kvaerno5", "trbdf2"):
        data[method]["missed"] = np.linalg.norm(runs[method].solution.ys[-1] - reference)
    t = np.linspace(0.0, END, 4001)
    y = runs["kvaerno5"].interpolation()(t)
    decay = np.maximum(1.0, -np.linalg.eigvals(FIELD.jacobian(t, y, THETA)).real.min(axis=1))
    limit = -reach("dopri5") / decay
    return data | {"path": (t, y[:, 0]), "limit": limit, "at the limit": trapezoid(1 / limit, t)}


def draw(fig, data):
    path, sizes = fig.subplots(2, 1, sharex=True, height_ratios=[1, 1.9])
    t, y_1 = data["path"]
    row, explicit = data["kvaerno5"], data["dopri5"]
    taken = float(f"{len(row['t']):.2g}")                            # as the caption has it
    path.plot(t, y_1, color=METHODS["kvaerno5"], lw=1)
    path.plot(row["t"], row["y"][:, 0], ".", color=METHODS["kvaerno5"], ms=6)
    path.set(ylabel="$y_1$", yticks=[-2, 0, 2],
             title=f"van der Pol, $\\mu = {THETA[0]:.0f}$: kvaerno5 takes {taken:.0f} steps")

    sizes.semilogy(row["t"], row["h"], ".-", color=METHODS["kvaerno5"], lw=0.8, ms=4)
    sizes.semilogy(explicit["t"], explicit["h"], color=METHODS["dopri5"], lw=0.8)
    sizes.semilogy(t, data["limit"], ":", color=METHODS["dopri5"])
    sizes.text(1200, 250, "kvaerno5", color=style.ink(METHODS["kvaerno5"]), ha="center")
    sizes.text(1200, 1.2e-4, "dopri5 is unstable above $h |λ| = 3.31$", color=style.ink(METHODS["dopri5"]),
               ha="center", size=10)
    sizes.set(xlabel="time $t$", ylabel="step size $h$", ylim=(1e-5, 2e3), xlim=(-40, 2040))

    inset = sizes.inset_axes([0.105, 0.45, 0.245, 0.2])
    inset.plot(explicit["t"], 1e3 * explicit["h"], color=METHODS["dopri5"], lw=0.5)
    inset.plot(t, 1e3 * data["limit"], ":", color=style.BLACK, lw=1.5)
    inset.set(xlim=(0, explicit["t"][-1]), ylim=(0, 2), xticks=[0, 5, 10], yticks=[0, 1, 2])
    inset.set_title(f"dopri5, {BUDGET:,} steps: 1000 $h$", size=9, color=style.ink(METHODS["dopri5"]), pad=3)
    inset.tick_params(labelsize=9)
    sizes.annotate("", (8, 1.5e-3), (0.1, 0.45), "data", "axes fraction", {"arrowstyle": "->", "color": style.GREY})

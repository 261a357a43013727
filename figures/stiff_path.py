"""Figure 18. A stiff path

Van der Pol's oscillator at μ = 1000 creeps for 800 units of time and jumps in less than one.
While it creeps, y₁ changes slowly, but any departure from the slow path dies out like
e^{λt} with λ ≈ μ (1 − y₁²), down to −3000. An explicit method may then not step further than its
stability allows, h |λ| ≤ 3.31 for dopri5 (figure 17), however little happens; the figure
shows (13.1) and (13.4) doing without that limit: trbdf2 and kvaerno5, rtol = atol = 1e-5.

Caption. Above: y₁ by kvaerno5, a dot for each of its 200 steps (43 more were rejected; 3,300
calls of f). trbdf2 takes 890 (3 rejected, 3,600 calls). They end 9.7e-6 and 8.6e-4 away from
SciPy's Radau with rtol = 1e-8. Below: the sizes of the steps, from 1.3e-4 in a jump to 194
between two of them for kvaerno5. dopri5, stopped after 10,000 steps and 60,002 calls at t = 11,
has taken steps of 0.0011, the limit of its stability (dotted); keeping to that would take 1.2
million steps to the end.
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
    path, sizes = fig.subplots(2, 1, sharex=True, height_ratios=[1, 1.7])
    t, y_1 = data["path"]
    row = data["kvaerno5"]
    path.plot(t, y_1, color=METHODS["kvaerno5"], lw=1)
    path.plot(row["t"], row["y"][:, 0], ".", color=METHODS["kvaerno5"], ms=6)
    path.set(ylabel="$y_1$", yticks=[-2, -1, 0, 1, 2], title=f"van der Pol, $\\mu = {THETA[0]:.0f}$")
    for method, colour in METHODS.items():
        sizes.semilogy(data[method]["t"], data[method]["h"], ".-", color=colour, lw=0.8, ms=4)
    sizes.semilogy(t, data["limit"], ":", color=METHODS["dopri5"])
    for name, x, y, colour in (("kvaerno5", 420, 250, METHODS["kvaerno5"]), ("trbdf2", 300, 4, METHODS["trbdf2"])):
        taken = float(f"{len(data[name]['t']):.2g}")                 # as the caption has it
        sizes.text(x, y, f"{name}, {taken:.0f} steps", color=style.ink(colour), ha="center")
    sizes.text(25, 1e-4, f"dopri5, {BUDGET:,} steps to $t = 11$", color=style.ink(METHODS["dopri5"]))
    sizes.text(1250, 5e-3, "$h |λ| = 3.31$", color=style.ink(METHODS["dopri5"]), ha="right")
    sizes.set(xlabel="time $t$", ylabel="step size $h$", ylim=(1e-5, 2e3))

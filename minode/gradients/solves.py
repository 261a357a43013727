"""Appendix to chapter 22. Solves that are compared

`check_gradients` differentiates a whole solve in three ways: by differences, by pushforward and by pullback. All
of them take the same steps. This page chooses these steps and the cotangent, and makes the terms of the table.
"""

import numpy as np

from ..inputs import as_stops, check_pushforward, chooses_steps
from ..solvers.solve import KEYWORDS, find_method, run
from ..solvers.tableaus import Tableau
from .discrete import Tape, backward_pass, run_on_tape
from .pullback import pullback, stops_in
from .tangent import solve_tangents

RESOLVED = 1e-6               # of its size: an entry that differences do not know better counts less
ROUND_OFF = 1e4 * np.finfo(np.float64).eps


def first_solve(f, y0, t, theta, solver):
    """The solve whose steps all others take, and the keywords with which they do."""
    check_pushforward(find_method(solver.get("method", "dopri5")), solver, KEYWORDS, np.ones(y0.shape))
    first = run(f, y0, t, theta, [], exactly=True, **solver)
    return first, steps_of(first, solver) | {"tstops": as_stops(solver.get("tstops"), f)}


def steps_of(first, solver):
    """Keywords with which a solve takes the steps of the first one, even if its method chose them."""
    if not chooses_steps(first.method, solver.get("step_size")) or solver.get("per_trajectory"):
        return solver
    return {"method": first.method, "grid": [*(step[0] for step in first.tape), first.problem.t[-1]]}


def gradients_both_ways(f, y0, t, theta, cotangent, method, solver, steps):
    """[(dL/dy0, dL/dθ)] by `pullback`, and again step by step, as `pullback` does if f is large."""
    gradients = [pullback(f, y0, t, theta, cotangent, **solver)[:2]]
    if isinstance(method, Tableau) and method.is_explicit and not stops_in(f, t, solver)[0]:
        tape = Tape(f, theta, method, may_choose_steps=False)
        run_on_tape(f, y0, t, theta, tape, **steps)
        a, b = backward_pass(f, theta, tape, method, t, cotangent, np.zeros(y0.shape), np.zeros(theta.shape))
        gradients.append((a + cotangent[0], b))
    return [(a, b if np.shape(b) == theta.shape else np.full(theta.shape, np.nan)) for a, b in gradients]


def balanced(ys, found):
    """A random cotangent of ys to which all components matter alike, and entries that differences hardly know less."""
    size = sum((np.abs(value) for *_, value, _ in found), np.abs(ys)).max(axis=0)
    size = size + sum(allowed for *_, allowed in found) / RESOLVED
    return np.random.default_rng(1).normal(size=ys.shape) / np.where(size == 0, 1.0, size)


def terms_of_solves(f, y0, t, theta, steps, cotangent, gradients, found, duality_of_solves):
    """The terms (got, expected, allowed) of pushforward, of pullback in y0 and in θ, and of both (22.5)."""
    forward, back_y0, back_theta, duality = [], [], [], []
    for dy0, dtheta, expected, allowed in found:
        ws = solve_tangents(f, y0, t, theta, dy0, dtheta, **steps).solution.ys[1]
        forward.append((ws, expected, allowed))
        along = np.vdot(cotangent, expected)
        allowed = np.vdot(np.abs(cotangent), np.where(np.isfinite(allowed), allowed, 0.0))     # elsewhere it is 0
        for dL_dy0, dL_dtheta in gradients:
            dL = np.vdot(dL_dy0, dy0) + np.vdot(dL_dtheta, dtheta)
            size = np.abs(dL_dy0 * dy0).sum() + np.abs(dL_dtheta * dtheta).sum()
            (back_y0 if dy0.any() else back_theta).append((dL, along, allowed + ROUND_OFF * size))
            duality.append(duality_of_solves(cotangent, ws, dL_dy0, dL_dtheta, dy0, dtheta))
    return forward, back_y0, back_theta, duality

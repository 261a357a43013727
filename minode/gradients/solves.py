"""Appendix to chapter 22. Solves that are compared

`check_gradients` differentiates a whole solve in three ways: by differences, by pushforward and
by pullback. All of them take the same steps. This page chooses these steps and the cotangent, and
makes the terms of the table. If the times are moved, the ends of the steps move as the appendix
step_times.py of chapter 18 says. The number of steps stays.
"""

import numpy as np

from ..inputs import as_stops, check_pushforward, chooses_steps
from ..solvers.solve import KEYWORDS, find_method, run
from ..solvers.tableaus import Tableau
from .differences import RATIO
from .discrete import Tape, backward_pass, run_on_tape
from .pullback import pullback, stops_in
from .step_times import moving_ends
from .tangent import solve_tangents

RESOLVED = 1e-6               # of its size: an entry with a larger error bar counts less
STEPS_IN_TIME = RATIO ** -np.arange(2.0, 12)                # of half the shortest interval
ROUND_OFF = 1e4 * np.finfo(np.float64).eps


def first_solve(f, y0, t, theta, solver):
    """The solve whose steps all others take, and the keywords with which they take them."""
    check_pushforward(find_method(solver.get("method", "dopri5")), solver, KEYWORDS, np.ones(y0.shape))
    first = run(f, y0, t, theta, [], exactly=True, **solver)
    return first, steps_of(first, solver) | {"tstops": as_stops(solver.get("tstops"), f)}


def steps_of(first, solver):
    """Keywords with which a solve takes the steps of the first one, even if its method chose them."""
    if not chooses_steps(first.method, solver.get("step_size")) or solver.get("per_trajectory"):
        return solver
    return {"method": first.method, "grid": [*(step[0] for step in first.tape), first.problem.t[-1]]}


def gradients_both_ways(f, y0, t, theta, cotangent, method, solver, steps):
    """[(dL/dy0, dL/dθ)] by `pullback`, and step by step (as if f were large, chapter 18); and dL/dt."""
    *pulled, dL_dt = pullback(f, y0, t, theta, cotangent, **solver)
    gradients = [pulled]
    if isinstance(method, Tableau) and method.is_explicit and not stops_in(f, t, solver)[0]:
        tape = Tape(f, theta, method, may_choose_steps=False)
        run_on_tape(f, y0, t, theta, tape, **steps)
        a, b = backward_pass(f, theta, tape, method, t, cotangent, np.zeros(y0.shape), np.zeros(theta.shape))
        gradients.append((a + cotangent[0], b))
    return [(a, b if np.shape(b) == theta.shape else np.full(theta.shape, np.nan)) for a, b in gradients], dL_dt


def solve_at_moved_times(f, y0, theta, first, solver):
    """The states at t + s τ in the steps of the first solve, a function of s, and τ (N,), random; or None.

    No two times change their order, and equal ones stay equal. None if there are no steps, or stops.
    """
    t, tape, sign = first.problem.t, first.tape, np.sign(first.problem.t[-1] - first.problem.t[0])
    if not tape or stops_in(f, t, solver)[0]:
        return None
    ends, (different, of) = np.array([*(step[0] for step in tape), t[-1]]), np.unique(sign * t, return_inverse=True)
    gap = min(np.abs(np.diff(ends)).min(), np.diff(different).min())
    tau = np.random.default_rng(2).uniform(-0.5, 0.5, different.size) * gap
    moves, along = moving_ends(first.method, solver.get("step_size")), np.interp(sign * ends, different, tau)
    if moves != "grid":                                      # the other ends were chosen, and are held fixed
        along[~np.isin(ends, t if moves == "outputs" else t[[0, -1]])] = 0.0
    return tau[of], lambda s: run(f, y0, t + s * tau[of], theta, method=first.method, grid=ends + s * along).solution.ys


def terms_in_time(f, y0, theta, first, solver, cotangent, dL_dt, along):
    """[the term (got, expected, allowed) of dL/dt], or []. along(g, steps) is the derivative of g(s) at 0."""
    moved = solve_at_moved_times(f, y0, theta, first, solver)
    if moved is None:
        return []
    tau, states = moved
    ys_dot, allowed = along(states, STEPS_IN_TIME)
    allowed = np.vdot(np.abs(cotangent), np.where(np.isfinite(allowed), allowed, 0.0))
    return [(dL_dt @ tau, np.vdot(cotangent, ys_dot), allowed + ROUND_OFF * np.abs(dL_dt * tau).sum())]


def balanced(ys, found):
    """A random cotangent of ys that gives all components the same weight, but little to uncertain entries."""
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

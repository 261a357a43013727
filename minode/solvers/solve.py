"""15. One function for every solve

`solve` checks its arguments, chooses the integration loop that fits the method, and collects the states
at the output times. `odeint` returns only these states.

Every loop yields its accepted steps, whatever the method, so one function collects them all.
(Under per_trajectory, chapter 12 has its own.) Each output time is read off the step that reaches it,
from its end or from its polynomial (11.1). Each step may be put on a list, the tape: (t, h, y) and the
increments h k_i. `Solution.interpolate` and all of Part III need nothing but the tape. Which loop is
chosen:

    fixed steps          a table without b̂, or any table if step_size is given
    adaptive             a table with b̂
    per trajectory       the same with per_trajectory, each row of a batch by itself
    reversible           the methods of chapter 14
    one after another    any of these, if f jumps at given times (appendix legs.py)

An implicit table takes the step of chapter 13 in the first two. Figure 12 shows the order of every
method.

Next: the derivatives (Part III, chapter 16).
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from ..inputs import (as_jacobian, as_options, as_progress, as_stops, as_velocity, check_options, check_precision,
                      check_reversible, check_trajectories, chooses_steps, with_keywords_of)
from .adaptive import Controller, PredictiveController, Tolerances, adaptive_steps
from .batch import TrajectoryInterpolation, collect_trajectories, trajectory_steps
from .dense import Interpolation, all_increments, dense_output, require_finite, state_inside
from .explicit import Grid, explicit_step, fixed_steps
from .implicit import ImplicitStepper, SimplifiedNewton
from .implicit_tables import IMPLICIT
from .legs import legs, run_legs
from .methods import EXPLICIT, Methods
from .newton import FullNewton, by_differences
from .reversible import COUPLING, REVERSIBLE, TWO_ENDS, Reversible, reversible_steps
from .states import Problem, Solution, SolverError, Stats, initial_value_problem
from .steps import steps_on
from .tableaus import Tableau

methods = Methods({method.name: method for method in (*EXPLICIT, *IMPLICIT, *REVERSIBLE)})


def find_method(method):
    """The method of that name, or the reader's own. ValueError with the list of names if there is none."""
    if isinstance(method, str) and method in methods:
        return methods[method]
    if isinstance(method, Tableau) or hasattr(method, "back"):
        return method
    raise ValueError(f"unknown method {method!r}; known: {', '.join(methods)}, reversible(...), or a Tableau")


def reversible(method, coupling=COUPLING):
    """An explicit method made reversible (14.3): `method=reversible("rk4")`.

    `method` is a name or a Tableau of explicit stages, `coupling` the c of (14.3), 0 < c ≤ 1.
    The steps are fixed, two evaluations of the method each, and `gradient="reversible"` undoes them by (14.4).
    If the solution decays by e^{−x} a step, the difference of the two copies grows by c eˣ. If it decays far,
    take a coupling below e^{−2x}, or `method` itself. ValueError for another method. McCallum and Foster (2024).

    >>> there = odeint(lambda t, y: y * np.cos(t), [1.0], [0.0, 0.1, 0.2], method=reversible("rk4"))
    >>> reversible("rk4").name, bool(abs(there[-1, 0] - np.exp(np.sin(0.2))) < 1e-6)
    ('reversible(rk4)', True)
    """
    tableau = find_method(method)
    return Reversible(tableau, check_reversible(tableau, isinstance(tableau, Tableau), coupling))


class Options(NamedTuple):
    """The keywords of `solve`, with their defaults."""

    method: object = "dopri5"
    rtol: object = 1e-6
    atol: object = 1e-9
    step_size: float = None
    max_steps: int = 100_000
    first_step: float = None
    max_step: float = np.inf
    norm: object = None
    per_trajectory: bool = False
    jacobian: object = None
    progress: object = None
    tstops: object = None


KEYWORDS = list(Options._fields)


def odeint(f, y0, t, theta=None, **options):
    """The states at t, (N, ...), the first of them y0: `solve(f, y0, t, theta, **options).ys`.

    f(t, y, theta) returns dy/dt in the shape of y0, t is (N,), theta (p,); without theta, f is f(t, y).
    Keywords and errors (ValueError, TypeError, SolverError) are those of `solve`. Keeps no steps. Chapter 15.

    >>> t = np.linspace(0.0, 1.0, 11)
    >>> ys = odeint(lambda t, y: y * np.cos(t), [1.0, 2.0], t, rtol=1e-8)
    >>> ys.shape, bool(abs(ys[-1, 0] - np.exp(np.sin(1.0))) < 1e-7)
    ((11, 2), True)
    """
    return run(f, y0, t, theta, **as_options(Options, options)._asdict()).solution.ys


@with_keywords_of(Options)
def solve(f, y0, t, theta=None, **options):
    """Solve y' = f(t, y, θ), y(t[0]) = y0, and return a `Solution`: .t, .ys, .stats, .interpolate, .t_steps, .y_steps.

    f(t, y, theta) returns dy/dt in the shape of y: a `VectorField`, or any function. Without theta, f is
    f(t, y). y0 is an array (..., d) or a tuple of arrays. t (N,) is sorted, up or down; ys[i] is the
    state at t[i]. Between two steps it is (11.1), whose error is not controlled. An implicit method ends a step at
    every t[i]. If the problem is stiff, put the times that matter into t: between its steps it is rough. Keywords:

    method          a name in `minode.methods`, `reversible(name)`, or a Tableau ("dopri5")
    rtol, atol      error tolerances (10.2) of adaptive methods (1e-6, 1e-9): numbers, or arrays that fit the
                    shape of y0 by NumPy's rules; if y0 is a tuple, numbers or tuples of such
    step_size       equal steps no longer than this, also of methods that could adapt
    max_steps       attempts after which to give up (100,000)
    first_step      the first step an adaptive method tries, instead of (10.6)
    max_step        no step of an adaptive method is longer than this (inf)
    norm            norm(error, scale) -> float in place of (10.3), on states like y0
    per_trajectory  each trajectory of a (B, d) batch takes its own steps (False); f then gets
                    t of shape (B,), and norm one trajectory, (d,)
    jacobian        jacobian(t, y) -> f_y (..., d, d), for implicit methods; else a VectorField's own, or differences
    progress        called with the fraction done; True draws a line on stderr, if that is a terminal
    tstops          times (m,) that a step must end at and where f may jump: f is evaluated on both sides, never
                    at one, and the solve begins anew there, with first_step and max_steps anew too
    event           an `Event`, or g(t, y, theta) -> float: the solve of one trajectory (d,) ends when it is zero,
                    and so do t and ys; `.t_event` is the time, None if it did not come (chapter 28 adds this)

    ValueError or TypeError for unusable input; SolverError if the solve cannot go on, with
    everything up to there in its .solution. Dormand and Prince (1980); chapters 9 to 14.

    >>> solution = solve(lambda t, y: -y * np.cos(t), [1.0], [0.0, 3.0])
    >>> bool(abs(solution.interpolate(1.0)[0] - np.exp(-np.sin(1.0))) < 1e-5)
    True
    >>> solution.stats.n_f, solution.stats.n_accepted, solution.stats.n_rejected
    (92, 12, 3)
    """
    done = run(f, y0, t, theta, [], **as_options(Options, options)._asdict())
    return done.solution._replace(interpolate=done.interpolation())


class Run(NamedTuple):
    """A solve with its steps: what the derivatives of Part III are made from."""

    problem: Problem
    solution: Solution
    method: object
    tape: list                # (t, h, y, hK) for each step, flat; or the passes of chapter 12
    interpolation: object     # called, it makes interpolate(t) from the tape


def run(f, y0, t, theta=None, tape=None, *, grid=None, controller=Controller(), until=None, exactly=False, **keywords):
    """Check everything, then solve. `solve` calls it, and so does Part III, with five more keywords.

    `tape` is a list for the steps, or None. `grid` replays these times as fixed steps, whatever the method.
    `controller` has the constants of (10.4). `exactly` lets Newton's method go on to round-off in adaptive steps,
    and `until` (chapter 28) may end the steps early.
    """
    options = as_options(Options, keywords)
    method, problem = find_method(options.method), initial_value_problem(f, y0, t, theta)
    is_tableau = isinstance(method, Tableau)
    is_adaptive = chooses_steps(method, options.step_size) and grid is None
    given = options                                          # as they were handed in, for the legs
    options = check_options(options, problem, is_adaptive)
    check_precision(options, problem.y, method, is_adaptive)
    report = as_progress(options.progress, problem.t)
    if between_stops := legs(problem.t, as_stops(options.tstops, f)):
        solution, interpolation = run_legs(run, between_stops, f, y0, theta, tape, grid, controller, problem, given,
                                           report, exactly)
        return Run(problem, solution, method, tape, interpolation)
    if options.per_trajectory:
        check_trajectories(y0, method, is_adaptive and method.is_explicit)
        return run_trajectories(as_velocity("f", f, theta), y0, problem, method, options, tape, controller, report)
    grid = Grid(problem.t, options.step_size) if grid is None else Grid(grid)
    if is_tableau:
        steps = tableau_steps(f, y0, theta, problem, method, options, is_adaptive, grid, controller, exactly)
    else:
        steps = reversible_steps(problem, method, grid, options.max_steps)
    dense = dense_output(method) if is_tableau else TWO_ENDS
    ys = collect(problem, until.watch(problem, dense, steps) if until else steps, dense, tape, report)
    problem, ys = until.cut(problem, ys) if until else (problem, ys)     # an event (chapter 28) ends it early
    steps = steps_on(tape, problem.t[-1], ys[-1], problem.unflatten)
    solution = Solution(problem.t, problem.unflatten(ys), problem.stats, steps=steps)
    return Run(problem, solution, method, tape, partial(Interpolation, problem, dense, tape, ys))


def tableau_steps(f, y0, theta, problem, tableau, options, is_adaptive, grid, controller, exactly):
    """The integration loop of a table: the step of chapter 9 or 13 in the loop of chapter 9 or 10."""
    norm = options.norm and (lambda error, scale: options.norm(problem.unflatten(error), problem.unflatten(scale)))
    tolerances, smooth, stops = Tolerances(options.rtol, options.atol, norm), None, None
    if tableau.is_explicit:
        step = partial(explicit_step, problem.f_uncopied, tableau)
    else:
        jacobian = as_jacobian(options.jacobian, f, y0, theta, problem, tableau) or by_differences(problem, y0)
        newton = FullNewton(problem.f, jacobian, tableau.stages, chooses_steps(tableau, options.step_size))
        if is_adaptive:
            newton = SimplifiedNewton(problem.f, jacobian, tableau, tolerances, newton if exactly else None)
            smooth, controller, stops = newton.smooth, PredictiveController(newton, controller), problem.t[1:].tolist()
        step = ImplicitStepper(problem.f, tableau, newton, problem.y.dtype).step
    if is_adaptive:
        return adaptive_steps(problem, tableau, step, tolerances, controller, options.first_step, options.max_steps,
                              smooth, stops, options.max_step)
    return fixed_steps(problem, tableau, step, grid, options.max_steps)


def run_trajectories(velocity, y0, problem, tableau, options, tape, controller, report):
    """`run` for a batch in which each trajectory takes its own steps."""
    zeros = [np.zeros(np.shape(y0)[0], dtype=int) for _ in range(5)]
    problem = problem._replace(f=velocity, y=problem.y.reshape(np.shape(y0)), stats=Stats(*zeros))
    rtol, atol = (x if isinstance(x, float) else x.reshape(np.shape(y0)) for x in (options.rtol, options.atol))
    tolerances, dense = Tolerances(rtol, atol, options.norm), dense_output(tableau)
    passes = trajectory_steps(problem, tableau, tolerances, controller, options.first_step, options.max_steps,
                              options.max_step)
    solution = collect_trajectories(problem, passes, dense, tape, report)
    return Run(problem, solution, tableau, tape, partial(TrajectoryInterpolation, problem, dense, tape, solution.ys))


def collect(problem, steps, dense, tape, report):
    """Take the steps, put them on the tape, and return the flat states (N, n) at the output times."""
    times, sign = problem.t.tolist(), 1.0 if problem.t[-1] >= problem.t[0] else -1.0
    ys, n = np.empty((len(times), problem.y.size), problem.y.dtype), times.count(times[0])
    ys[:n], end = problem.y, (times[0], problem.y)
    try:
        with np.errstate(all="ignore"):
            for t, h, y, t_new, y_new, hK in steps:
                first = n                                    # of the outputs inside the step
                while n < len(times) and sign * (times[n] - t_new) < 0:
                    n += 1
                if n > first:
                    hK = all_increments(problem.f, dense, t, h, y, hK)
                    ys[first:n] = state_inside(dense, (problem.t[first:n] - t) / h, y, hK)
                    require_finite(ys[first:n], times[first:n])
                while n < len(times) and times[n] == t_new:
                    ys[n] = y_new
                    n += 1
                if tape is not None:
                    tape.append((t, h, y, hK))
                    end = t_new, y_new
                if report is not None:
                    report(t_new)
    except SolverError as error:
        n = int(np.append(np.isfinite(ys[:n]).all(axis=1), False).argmin())     # the first that is not finite
        error.solution = Solution(problem.t[:n], problem.unflatten(ys[:n]), problem.stats,
                                  steps=steps_on(tape, *end, problem.unflatten))
        raise
    return ys

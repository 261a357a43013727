"""15. The front door

`solve` checks what it was handed, picks the march that fits the method, and collects
the states at the output times; `odeint` is `solve` for a reader who wants only those.

But for per_trajectory, whose passes chapter 12 collects, a march yields accepted steps and
nothing else, whatever the method. So one loop serves them all: an output time that a step reaches
is read off that step, from its end or from its polynomial (11.1), and every step may be kept, for
the polynomial is asked again by `Solution.interpolate`, and the derivative of the solve (Part
III) needs nothing but the steps. A step is (t, h, y) and the increments h k_i.

Which march:
    fixed steps          a table without b̂, or any table when step_size is given
    adaptive             a table with b̂
    one for each         the same, per_trajectory
    reversible           the methods of chapter 14
An implicit table takes the stepper of chapter 13 into the first two.

Next: the derivatives (Part III, chapter 16).
"""

import inspect
from functools import partial
from typing import NamedTuple

import numpy as np

from .adaptive import Controller, Tolerances, adaptive_steps
from .batch import between_trajectories, collect_trajectories, trajectory_steps
from .dense import all_increments, between, evaluate, finite_rows, interpolant, require_finite
from .explicit import Grid, Stats, explicit_stepper, fixed_steps
from .implicit import IMPLICIT, implicit_stepper, solved_to_round_off, solved_to_tolerance
from .methods import EXPLICIT, Methods
from .reversible import COUPLING, REVERSIBLE, TWO_ENDS, Reversible, reversible_steps
from .states import Problem, Solution, SolverError, as_count, as_positive, pose, teller
from .tableaus import Tableau

methods = Methods({method.name: method for method in (*EXPLICIT, *IMPLICIT, *REVERSIBLE)})


def find_method(method):
    """The method of that name, or the reader's own, or an error with the list of names."""
    if isinstance(method, str) and method in methods:
        return methods[method]
    if isinstance(method, Tableau) or hasattr(method, "back"):
        return method
    raise ValueError(f"unknown method {method!r}; known: {', '.join(methods)}, reversible(...), or a Tableau")


def reversible(method, coupling=COUPLING):
    """An explicit method made reversible (14.3): `method=reversible("rk4")`.

    `method` is a name or a Tableau of explicit stages, `coupling` the λ of (14.3), 0 < λ ≤ 1.
    The steps are fixed, two evaluations of the method each, and `gradient="reversible"` undoes
    them by (14.4). ValueError for another method or coupling. McCallum and Foster (2024).

    >>> there = odeint(lambda t, y: y * np.cos(t), [1.0], [0.0, 0.1, 0.2], method=reversible("rk4"))
    >>> reversible("rk4").name, bool(abs(there[-1, 0] - np.exp(np.sin(0.2))) < 1e-6)
    ('reversible(rk4)', True)
    """
    tableau = find_method(method)
    if not isinstance(tableau, Tableau) or not tableau.is_explicit:
        raise ValueError(f"reversible() takes an explicit Runge–Kutta method, not {tableau.name!r}")
    coupling = as_positive("coupling", coupling)
    if coupling > 1:
        raise ValueError(f"coupling must be at most 1, not {coupling}")
    return Reversible(tableau, coupling)


def odeint(f, y0, t, **options):
    """The states at t, (N, ...), the first of them y0: `solve(f, y0, t, **options).ys`.

    f(t, y) returns dy/dt in the shape of y0, t is (N,); keywords and errors (ValueError, TypeError,
    SolverError) are those of `solve`. Keeps no steps: no memory beyond its result. Chapter 15.

    >>> t = np.linspace(0.0, 1.0, 11)
    >>> ys = odeint(lambda t, y: y * np.cos(t), [1.0, 2.0], t, rtol=1e-8)
    >>> ys.shape, bool(abs(ys[-1, 0] - np.exp(np.sin(1.0))) < 1e-7)
    ((11, 2), True)
    """
    return run(f, y0, t, None, **options).solution.ys


def solve(f, y0, t, **options):
    """Solve y' = f(t, y), y(t[0]) = y0, and return a `Solution`: .t, .ys, .stats, .interpolate.

    f(t, y) returns dy/dt in the shape of y. y0 is an array (..., d) or a tuple of arrays. t (N,) is
    sorted, up or down; ys[i] is the state at t[i], between two chosen steps by (11.1), whose error
    nothing controls; of dopri5, tsit5 and dop853 it is of order 4, 4 and 7. Keywords:

    method          a name in `minode.methods`, `reversible(name)`, or a Tableau ("dopri5")
    rtol, atol      error tolerances (10.2) of adaptive methods (1e-6, 1e-9)
    step_size       equal steps no longer than this, also of methods that could adapt
    max_steps       attempts after which to give up (100,000)
    first_step      the first step an adaptive method tries, instead of (10.6)
    norm            norm(error, scale) -> float in place of (10.3), on states like y0
    per_trajectory  each trajectory of a (B, d) batch takes its own steps (False); f then gets
                    t of shape (B,), and norm one trajectory, (d,)
    jacobian        jacobian(t, y) -> f_y (..., d, d), which implicit methods need
    progress        called with the fraction done; True draws a line on stderr, if that is a terminal

    ValueError or TypeError for unusable input; SolverError where the solve cannot go on, with
    everything up to there in its .solution. Dormand and Prince (1980); chapters 9 to 14.

    >>> solution = solve(lambda t, y: -y * np.cos(t), [1.0], [0.0, 3.0])
    >>> bool(abs(solution.interpolate(1.0)[0] - np.exp(-np.sin(1.0))) < 1e-5)
    True
    >>> solution.stats.n_f, solution.stats.n_accepted, solution.stats.n_rejected
    (92, 12, 3)
    """
    done = run(f, y0, t, [], **options)
    return done.solution._replace(interpolate=done.dense_output())


class Run(NamedTuple):
    """A solve with its steps: what the derivatives of Part III are made from."""

    problem: Problem
    solution: Solution
    method: object
    tape: list                # (t, h, y, hK) for each step, flat; or the passes of chapter 12
    dense_output: object      # called, it makes interpolate(t) from the tape


def run(f, y0, t, tape, *, method="dopri5", rtol=1e-6, atol=1e-9, step_size=None, max_steps=100_000,
        first_step=None, norm=None, per_trajectory=False, jacobian=None, progress=None, grid=None,
        controller=Controller(), **unknown):
    """Check everything, then solve. Behind `solve`: its keywords, and two more.

    `tape` is a list to put the steps on, or None. `grid` replays the given times as fixed steps,
    whatever the method; `controller` holds the constants of (10.4).
    """
    for name in unknown:
        raise TypeError(f"unknown keyword {name!r}; known: {', '.join(KEYWORDS)}")
    problem, method = pose(f, y0, t), find_method(method)
    rtol, atol = as_positive("rtol", rtol, allow_zero=True), as_positive("atol", atol, allow_zero=True)
    if rtol == 0 and atol == 0:
        raise ValueError("rtol and atol must not both be 0")
    max_steps = as_count("max_steps", max_steps)
    if norm is not None and not callable(norm):
        raise TypeError(f"norm must be callable as norm(error, scale), not {type(norm).__name__}")
    is_tableau = isinstance(method, Tableau)
    is_adaptive = is_tableau and method.b_hat is not None and step_size is None and grid is None
    if is_adaptive and atol == 0 and (problem.y == 0).any():
        raise ValueError("atol must be positive where a component of y0 is 0")
    if step_size is not None:
        step_size = as_positive("step_size", step_size)
    if first_step is not None:
        if not is_adaptive:
            raise ValueError("first_step is for adaptive methods; give step_size to one of fixed steps")
        first_step = as_positive("first_step", first_step)
    if norm is not None and not per_trajectory:
        norm = structured(norm, problem.unpack)
    tolerances, stats = Tolerances(rtol, atol, norm), Stats()
    if per_trajectory:
        if not (is_adaptive and method.is_explicit):
            raise ValueError("per_trajectory needs an adaptive explicit method without step_size, "
                             f"such as dopri5; got {method.name}")
        return run_trajectories(f, y0, problem, method, tolerances, stats, tape, controller, first_step,
                                max_steps, progress)
    grid = Grid(problem.t, step_size) if grid is None else Grid(grid)
    if not is_tableau:
        steps, dense = reversible_steps(problem, method, grid, stats, max_steps), TWO_ENDS
    else:
        stepper = make_stepper(problem, y0, method, jacobian, tolerances if is_adaptive else None, stats)
        dense = interpolant(method)
        if is_adaptive:
            steps = adaptive_steps(problem, method, stepper, tolerances, stats, controller, first_step,
                                   max_steps)
        else:
            steps = fixed_steps(problem, method, stepper, grid, stats, max_steps)
    solution = collect(problem, steps, dense, stats, tape, teller(progress, problem.t))
    return Run(problem, solution, method, tape, partial(between, problem, tape, dense, stats))


KEYWORDS = [name for name in run.__kwdefaults__ if name not in ("grid", "controller")]
for front_door in (odeint, solve):                                  # so that help() lists the keywords
    front_door.__signature__ = inspect.Signature(
        [inspect.signature(run).parameters[name] for name in ("f", "y0", "t", *KEYWORDS)])


def make_stepper(problem, y0, tableau, jacobian, tolerances, stats):
    """The stepper of chapter 9, or for an implicit table that of chapter 13."""
    if tableau.is_explicit:
        return explicit_stepper(problem.f, tableau, problem.y, stats)
    if isinstance(y0, tuple) or not np.shape(y0):
        raise ValueError(f"{tableau.name} is implicit and takes an array state (..., d), not "
                         f"{'a tuple' if isinstance(y0, tuple) else 'a number'}")
    shape = np.shape(y0)
    if not callable(jacobian):
        raise ValueError(f"{tableau.name} is implicit and needs jacobian(t, y) -> (..., d, d)")
    got = np.shape(jacobian(float(problem.t[0]), problem.unpack(problem.y)))
    stats.n_jac += 1
    if got != (*shape, shape[-1]):
        raise ValueError(f"jacobian must return shape {(*shape, shape[-1])}, not {got}")
    is_solved = solved_to_tolerance(tolerances) if tolerances else solved_to_round_off(problem.y.real.dtype)
    return implicit_stepper(problem.f, jacobian, tableau, problem.y, shape, stats, is_solved, bool(tolerances))


def run_trajectories(f, y0, problem, tableau, tolerances, stats, tape, controller, h, max_steps, progress):
    """`run` for a batch in which each trajectory takes its own steps."""
    if isinstance(y0, tuple) or np.ndim(y0) != 2:
        raise ValueError("per_trajectory needs y0 of shape (B, d), not "
                         f"{'a tuple' if isinstance(y0, tuple) else np.shape(y0)}")
    shape, first = np.shape(y0), problem.first
    problem = problem._replace(f=f, y=problem.y.reshape(shape),
                               first=lambda t, y: first(t, y.ravel()).reshape(shape))
    for name in vars(stats):
        setattr(stats, name, np.zeros(shape[0], dtype=int))
    dense = interpolant(tableau)
    passes = trajectory_steps(problem, tableau, tolerances, stats, controller, h, max_steps)
    solution = collect_trajectories(problem, passes, dense, stats, tape, teller(progress, problem.t))
    return Run(problem, solution, tableau, tape, partial(between_trajectories, problem, tape, dense, stats))


def collect(problem, steps, dense, stats, tape, tell):
    """Run the steps, keep the states at the output times, and the steps on the tape."""
    times = problem.t.tolist()
    sign = 1.0 if times[-1] >= times[0] else -1.0
    ys = np.empty((len(times), problem.y.size), problem.y.dtype)
    n, keep = times.count(times[0]), getattr(tape, "keep", np.ndarray.copy)
    ys[:n] = problem.y
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for t, h, y, t_new, y_new, hK in steps:
                inside = n
                while n < len(times) and sign * (times[n] - t_new) < 0:
                    n += 1
                if n > inside:
                    hK, calls = all_increments(problem.f, dense, t, h, y, hK)
                    stats.n_f += calls
                    ys[inside:n] = evaluate(dense, (problem.t[inside:n] - t) / h, y, hK[:, None])
                    require_finite(ys[inside:n], times[inside:n])
                while n < len(times) and times[n] == t_new:
                    ys[n] = y_new
                    n += 1
                if tape is not None:
                    tape.append((t, h, y, keep(hK)))
                if tell is not None:
                    tell(t_new)
    except SolverError as error:
        n = finite_rows(ys[:n])
        error.solution = Solution(problem.t[:n], problem.unpack(ys[:n]), stats)
        raise
    return Solution(problem.t, problem.unpack(ys), stats)


def structured(norm, unpack):
    """The reader's norm of states like y0, as a norm of flat vectors."""
    return lambda error, scale: norm(unpack(error), unpack(scale))

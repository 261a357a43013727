"""15. The front door

`solve` checks what it was handed, picks the march that fits the method, and
collects the states at the output times; `odeint` is `solve` for a reader who
wants only those. One loop serves every method: a march yields accepted steps,
and whatever else happens to a step happens here.

Next: the derivatives (Part III, chapter 16).
"""

import sys

import numpy as np

from .explicit import Stats, fixed_grid, fixed_steps
from .methods import methods
from .states import Solution, SolverError, as_positive, pose
from .tableaus import Tableau


def odeint(f, y0, t, **options):
    """The states at t, (N, ...), the first of them y0: `solve(...).ys`.

    >>> t = np.linspace(0.0, 1.0, 11)
    >>> ys = odeint(lambda t, y: y * np.cos(t), [1.0, 2.0], t, method="rk4")
    >>> ys.shape, bool(abs(ys[-1, 0] - np.exp(np.sin(1.0))) < 1e-6)
    ((11, 2), True)
    """
    return solve(f, y0, t, **options).ys


def solve(f, y0, t, *, method="dopri5", rtol=1e-6, atol=1e-9, step_size=None,
          max_steps=100_000, first_step=None, norm=None, per_trajectory=False,
          jacobian=None, progress=None):
    """Solve y' = f(t, y), y(t[0]) = y0, and return a `Solution`.
    """
    return _run(pose(f, y0, t), method, step_size)[0]


def record(f, y0, t, **options):
    """Solve and keep the steps: (solution, steps, outputs, tableau).

    `steps` lists (t, h, y, K) with y of the state's shape and K (s, ...); output i is
    the state before step outputs[i].
    """
    problem = pose(f, y0, t)
    tape = []
    solution, outputs, tableau = _run(problem, options.pop("method", "dopri5"), tape=tape, **options)
    return solution, [(t, h, problem.unpack(y), problem.unpack(K)) for t, h, y, K in tape], outputs, tableau


def _run(problem, method, step_size=None, tape=None):
    tableau = find_method(method)
    if step_size is not None:
        step_size = as_positive("step_size", step_size)
    grid = fixed_grid(problem.t, step_size)
    stats = Stats()
    solution, outputs = collect(problem, fixed_steps(problem, tableau, grid, stats), stats, tape)
    return solution, outputs, tableau


def find_method(method):
    """The tableau named, or the reader's own."""
    if isinstance(method, Tableau):
        return method
    if not isinstance(method, str) or method not in methods:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(methods)}, or a Tableau")
    return methods[method]


def collect(problem, steps, stats, tape=None):
    """Run the steps, keep the states at the output times, and the steps themselves on the tape."""
    t = problem.t.tolist()
    sign = 1.0 if t[-1] >= t[0] else -1.0
    ys = np.empty((len(t), problem.y.size), problem.y.dtype)
    outputs = np.zeros(len(t), dtype=int)
    n = int(np.searchsorted(sign * problem.t, sign * t[0], side="right"))
    ys[:n] = problem.y
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            for count, step in enumerate(steps, start=1):
                while n < len(t) and sign * (t[n] - step.t_new) <= 0:
                    ys[n], outputs[n], n = step.y_new, count, n + 1
                if tape is not None:
                    tape.append((step.t, step.h, step.y, step.K.copy()))
    except SolverError as error:
        error.solution = Solution(problem.t[:n], problem.unpack(ys[:n]), stats)
        raise
    return Solution(problem.t, problem.unpack(ys), stats), outputs

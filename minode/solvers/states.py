"""5. How a tuple becomes a vector

A solver works on one flat vector y of n numbers. The caller may have a batch of rows, or the
triple (y, a, b) of chapter 17. This chapter lays the arrays of such a tuple one behind the other:

    y = [ vec y⁽¹⁾, …, vec y⁽ᵐ⁾ ],     f(t, y) = [ vec f⁽¹⁾, …, vec f⁽ᵐ⁾ ].   (5.1)

vec reads an array row by row, and a single array is the case m = 1. The methods of chapters 6
to 11 only add states and velocities and multiply them by numbers. They do the same to every
component, so the order of the components does not matter: a step of the tuple is the tuple of
the steps. Two kinds of solve do treat components differently, and take one array only.
Implicit methods (chapter 13) need the matrices f_y of its rows. Per-trajectory solves
(chapter 12) take different steps for different rows.

Precision. A state may be float64, float32 or complex. Integers and lists become float64, and
the parts of a tuple get one dtype in common. Times are always float64: in float32 the sum t + h
is t itself if h is below 3e-8 t. Times must be sorted, up or down. A repeated time
repeats the state, and a single time is a solve without steps.

Values of f. If f returned a number in place of a vector, or (1, d) in place of (d,), NumPy would
broadcast it and the solve would go on with wrong numbers. So we check that each value of f has
the shape of the state, and that it is real if the state is. We copy it before the next call,
because f may return the same array every time. And f receives y and θ read-only: if it tries to
write into them, NumPy raises an error.

Figure 11 shows a solution that ends early, and where the `SolverError` below is raised.
Next: the first two methods, spelled out (chapter 6).
"""

import cmath
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Callable, NamedTuple

import numpy as np

from ..inputs import as_parts, as_times, as_velocity, check_dim, check_order, check_velocity


@dataclass
class Stats:
    """What a solve cost: how often f was called (NFE; calls that only check f are not counted), how many steps were
    tried, accepted and rejected, and how many Jacobians were computed.

    These are numbers, or arrays of shape (B,) if each trajectory took its own steps (chapter 12).
    """

    n_f: Any = 0
    n_steps: Any = 0
    n_accepted: Any = 0
    n_rejected: Any = 0
    n_jac: Any = 0


class Solution(NamedTuple):
    """What `solve` returns: the states `ys` (N, ...) at the times `t` (N,), and what they cost, `stats`.

    (A reference, best read after chapter 15.)
    `interpolate(t)` is the state (...) at any time between the first and the last, and for an array of
    times (M,) the states (M, ...), by (11.1). It raises a ValueError outside, and a SolverError if a state is
    infinite or NaN. `stats` counts: n_f calls of f, n_steps attempts, n_accepted and n_rejected of them,
    n_jac calls of jacobian. Each is an array (B,) under per_trajectory. `t_event` is the time of the event
    that ended the solve, or None (chapter 28).
    `t_steps` (M + 1,) and `y_steps` (M + 1, ...) are the times and states where the solver stepped: t[0], y0
    and the ends of the M accepted steps. y_steps is a tuple of arrays if the state is a tuple. Under
    per_trajectory both are lists of B arrays, (M_r + 1,) and (M_r + 1, d). They are computed when they are read.
    The solution in a `SolverError` has the times and states that were reached and the steps until then (None
    if `odeint` raised it, which keeps no steps), but no `interpolate`. A solution can be copied and pickled,
    whatever f is.

    >>> from minode import solve
    >>> solution = solve(lambda t, y: -y, [1.0, 2.0], [0.0, 0.5, 1.0], method="rk4")
    >>> solution.ys.shape, solution.interpolate([0.1, 0.7]).shape, solution.stats.n_accepted
    ((3, 2), (2, 2), 2)
    >>> solution.t_steps, solution.y_steps.shape
    (array([0. , 0.5, 1. ]), (3, 2))
    """

    t: np.ndarray
    ys: Any
    stats: Any = None
    interpolate: Any = None
    t_event: Any = None
    steps: Any = None

    @property
    def t_steps(self):
        """The times where the solver stepped, (M + 1,)."""
        return None if self.steps is None else self.steps.t

    @property
    def y_steps(self):
        """The states there, (M + 1, ...)."""
        return None if self.steps is None else self.steps.y


class SolverError(RuntimeError):
    """The integration could not go on beyond the time `.t`; `.solution` holds what was computed until then.

    It is a RuntimeError whose message says where and why: the step size underflows, max_steps is reached,
    f is not finite, or Newton's method does not converge. `.t` is a number. `.solution` is a `Solution` with
    the times (n,) that were reached and their states (n, ...). Chapter 5.

    >>> from minode import odeint
    >>> try:
    ...     odeint(lambda t, y: y**2, [1.0], [0.0, 0.5, 2.0])           # 1 / (1 - t) is gone at t = 1
    ... except SolverError as error:
    ...     round(error.t, 3), error.solution.t
    (1.0, array([0. , 0.5]))
    """

    def __init__(self, message, t, solution=None):
        super().__init__(message)
        self.t, self.solution = t, solution

    def __reduce__(self):
        """So that a copy or a pickle keeps t and the solution."""
        return type(self), (*self.args, self.t, self.solution)


def is_finite(y):
    """Whether all of y (n,) is finite. y · y is quick to compute; only if it is not finite, each entry is tested."""
    return cmath.isfinite(y.dot(y)) or bool(np.isfinite(y).all())


class Problem(NamedTuple):
    """An initial value problem as the solvers see it: f on flat vectors, y (n,), sorted times.

    The value of `f_uncopied` may be overwritten by the next call of it or of f.
    """

    f: Callable
    f_uncopied: Callable
    y: np.ndarray
    t: np.ndarray
    unflatten: Callable       # flat (..., n) -> the caller's array, or tuple of arrays
    stats: Stats


def in_parts(cuts, shapes, is_tuple, flat):
    """The array, or the tuple of arrays, whose numbers stand in `flat` (..., n)."""
    arrays = [flat[..., i:j].reshape(flat.shape[:-1] + shape) for i, j, shape in zip(cuts, cuts[1:], shapes)]
    return tuple(arrays) if is_tuple else arrays[0]


def initial_value_problem(f, y0, t, theta=None):
    """The `Problem` of f(t, y), or of f(t, y, theta), from y0 at t[0], laid out flat (5.1).

    >>> problem = initial_value_problem(lambda t, y: (y[1], -y[0]), ([1.0, 2.0], [3.0, 4.0]), [0, 1])
    >>> problem.y, problem.f(0.0, problem.y)
    (array([1., 2., 3., 4.]), array([ 3.,  4., -1., -2.]))
    """
    velocity, is_tuple = as_velocity("f", f, theta), isinstance(y0, tuple)
    parts, stats = as_parts(y0), Stats()
    check_order(velocity, y0, t)
    shapes, dtype = [part.shape for part in parts], np.result_type(*parts)
    cuts = [0, *accumulate(part.size for part in parts)]
    check_dim(f, theta, shapes)
    y = np.concatenate([part.ravel() for part in parts], dtype=dtype)              # (5.1)

    unflatten = partial(in_parts, cuts, shapes, is_tuple)

    def flat_f_of_tuple(t, y):
        stats.n_f += 1
        y.setflags(write=False)
        parts = check_velocity(velocity(t, unflatten(y)), shapes, dtype, is_tuple)
        return np.concatenate([part.ravel().astype(dtype) for part in parts])      # (5.1)

    def flat_f(t, y, shape=shapes[0], is_flat=len(shapes[0]) == 1):     # defaults: worked out once
        stats.n_f += 1
        y.setflags(False)                                    # read-only; by name it takes longer
        value = velocity(t, y if is_flat else y.reshape(shape))
        if type(value) is not np.ndarray or value.shape != shape or value.dtype is not dtype:
            value = check_velocity((value,), shapes, dtype, is_tuple)[0].astype(dtype)
        return value if is_flat else value.reshape(-1)                             # (5.1)

    def copied(t, y):
        return f_uncopied(t, y).copy()                       # f may return the same array every time

    f_uncopied = flat_f_of_tuple if is_tuple else flat_f
    return Problem(copied, f_uncopied, y, as_times(t), unflatten, stats)

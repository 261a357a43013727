"""5. States, times, and what may be handed in

A solver works on one flat vector y of n numbers and a list of times. A reader
has a batch of rows, or the triple [y, a, b] of chapter 17. This chapter lays
one into the other:

    y = [ vec y⁽¹⁾, …, vec y⁽ᵐ⁾ ],     f(t, y) = [ vec f⁽¹⁾, …, vec f⁽ᵐ⁾ ].   (5.1)

vec reads an array row by row. Every method of the book is a recipe of sums of
states and velocities times numbers, and such a recipe does not care how the
numbers are arranged: a Runge–Kutta step of the tuple is the tuple of the steps.
An array is the case m = 1.

What is accepted. A state may be float64, float32, or complex; integers and
lists become float64; parts of a tuple get one dtype in common. Times are
float64 always: in float32 the sum t + h of a small step is lost near t = 1e7 h.
They must be sorted, up or down. Repeated times are allowed and repeat the
state, and one single time is a solve of no steps.

What is refused is refused here, before any work: a ValueError or TypeError
names the argument, what it was, and what it should have been. What goes wrong
later, in the middle of a solve, is a `SolverError`; it says where and why, and
its `.solution` holds everything computed up to there.

The trap: numpy broadcasts. A field that returns a number where a vector was due,
or (1, d) for (d,), would be spread over the state in silence and give plausible
nonsense. So the first value of f is looked at closely. It is the first stage of
the first step, or where an implicit method has no stage there, a call for that alone.
A real velocity that turns complex later on, under a root or a logarithm, is met
where the step is written down.

Next: the two methods of the source text, spelled out (chapter 6).
"""

import sys
from itertools import accumulate
from typing import Any, Callable, NamedTuple

import numpy as np


class Solution(NamedTuple):
    """What `solve` returns: the states `ys` (N, ...) at the times `t` (N,), and what they cost, `stats`.

    `interpolate(t)` is the state (...) at any time between the first and the last, and for
    an array of times (M,) the states (M, ...), by (11.1); ValueError outside, SolverError where
    that is infinite or NaN. `stats` counts: n_f calls of f, n_steps attempts, n_accepted and
    n_rejected of them, n_jac calls of jacobian; each is an array (B,) under per_trajectory. In a
    `SolverError` t and ys hold the times that were reached, and there is no `interpolate`.

    >>> from minode import solve
    >>> solution = solve(lambda t, y: -y, [1.0, 2.0], [0.0, 0.5, 1.0], method="rk4")
    >>> solution.ys.shape, solution.interpolate([0.1, 0.7]).shape, solution.stats.n_accepted
    ((3, 2), (2, 2), 2)
    """

    t: np.ndarray
    ys: Any
    stats: Any = None
    interpolate: Any = None


class SolverError(RuntimeError):
    """The integration could not go on. `.t` is where; `.solution` what was computed until then.

    A RuntimeError whose message says where and why: a step size that underflows, max_steps, values of f
    that are not finite, Newton's method not converging. `.t` is a number; `.solution` a `Solution` with
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
        """To be copied, and sent from one process to another, with t and the solution."""
        return type(self), (*self.args, self.t, self.solution)


class Problem(NamedTuple):
    """An initial value problem as the solvers see it: f on flat vectors, y (n,), sorted times."""

    f: Callable
    y: np.ndarray
    t: np.ndarray
    unpack: Callable          # flat (..., n) -> the caller's array, or tuple of arrays
    first: Callable           # f, with its value looked at closely


def pose(f, y0, t):
    """Check f, y0 and t, and lay the state out flat (5.1).

    >>> problem = pose(lambda t, y: (y[1], -y[0]), ([1.0, 2.0], [3.0, 4.0]), [0, 1])
    >>> problem.y, problem.f(0.0, problem.y)
    (array([1., 2., 3., 4.]), array([ 3.,  4., -1., -2.]))
    """
    f, is_tuple = as_velocity("f", f), isinstance(y0, tuple)
    parts = [as_real_or_complex("y0", part) for part in (y0 if is_tuple else (y0,))]
    if sum(part.size for part in parts) == 0:
        raise ValueError("y0 must have at least one component, but it is empty")
    dtype = np.result_type(*parts)
    shapes = [part.shape for part in parts]
    cuts = [0, *accumulate(part.size for part in parts)]
    y = np.concatenate([part.ravel() for part in parts], dtype=dtype)              # (5.1)

    def unpack(flat):
        # A list, since Python keeps up to 2,000 of the tuples that are made from a generator for later use.
        arrays = [flat[..., i:j].reshape(flat.shape[:-1] + shape)
                  for i, j, shape in zip(cuts, cuts[1:], shapes)]
        return tuple(arrays) if is_tuple else arrays[0]

    if is_tuple:
        def flat_f(t, y):
            return np.concatenate([np.ravel(part) for part in f(t, unpack(y))])    # (5.1)
    elif len(shapes[0]) == 1:
        flat_f = f
    else:
        def flat_f(t, y, shape=shapes[0]):
            return np.asarray(f(t, y.reshape(shape))).reshape(-1)                  # (5.1)

    def first(t, y):
        value = f(t, unpack(y))
        _check_velocity(value, y0, shapes, is_tuple, dtype)
        return np.concatenate([np.ravel(part) for part in (value if is_tuple else (value,))],
                              dtype=dtype, casting="unsafe")

    return Problem(flat_f, y, as_times(t), unpack, first)


def as_velocity(name, f):
    """f, if it can be called as f(t, y): no class, and no field that waits for its θ."""
    if isinstance(f, type) or not callable(f):
        got = f"the class {f.__name__} itself" if isinstance(f, type) else type(f).__name__
        raise TypeError(f"{name} must be callable as {name}(t, y), not {got}")
    if hasattr(f, "param_jacobian"):
        raise TypeError(f"{name} must be callable as {name}(t, y), but it is a VectorField and wants "
                        "its θ too: hand in lambda t, y: f(t, y, theta)")
    return f


def as_real_or_complex(name, value):
    """`value` as a finite floating array: float32, float64 and complex stay, the rest is float64."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise TypeError
        if array.dtype.kind != "c" and array.dtype != np.float32:
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array of numbers, not {value!r}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity: {array}")
    return array


def as_real(name, value, shape=None):
    """`value` as a finite real array, of the given shape where one is given."""
    array = as_real_or_complex(name, value)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, not complex: derivatives here are of real functions")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    return array


def as_times(t):
    """`t` as a sorted, finite, one-dimensional float64 array of at least one time."""
    times = as_real("t", t).astype(np.float64)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"t must be a 1-D array of at least one time, not of shape {times.shape}")
    steps = times[1:] - times[:-1]
    if not ((steps >= 0).all() or (steps <= 0).all()):
        raise ValueError(f"t must be monotone, increasing or decreasing, not {times}")
    return times


def as_count(name, value):
    """`value` as a positive int; True is none."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return int(value)


def as_positive(name, value, allow_zero=False):
    """`value` as a positive (or non-negative) finite float."""
    number = value if type(value) is float and abs(value) < np.inf else float(as_real(name, value, shape=()))
    if number < 0 or (number == 0 and not allow_zero):
        raise ValueError(f"{name} must be {'non-negative' if allow_zero else 'positive'}, not {value!r}")
    return number


def as_size(value):
    """What a norm of the reader's returned, as a float: infinite or NaN where the error is."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":
        raise TypeError(f"norm must return a real number, not {value!r}")
    return float(value)


def _check_velocity(value, y0, shapes, is_tuple, dtype):
    """The first value of f against the state: the same shape, and real for a real state."""
    if is_tuple and not (isinstance(value, tuple) and len(value) == len(shapes)):
        got = f"a tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__
        raise TypeError(f"f must return a tuple of {len(shapes)} arrays like y0, not {got}")
    for part, shape in zip(value if is_tuple else (value,), shapes):
        if part is None or np.shape(part) != shape:
            got = "None" if part is None else np.shape(part)
            raise ValueError(f"f must return the shape of y, {shape}, not {got}")
        as_real_as(dtype, part)


def as_real_as(dtype, value):
    """`value`, or TypeError where it is complex and the state's dtype is not."""
    if np.iscomplexobj(value) and dtype.kind != "c":
        raise TypeError("f returned complex values for a real state; make y0 complex to solve it so")
    return value


def copied(dtype, velocity):
    """A velocity as a new array of the state's dtype."""
    return np.array(as_real_as(dtype, velocity), dtype)


def teller(progress, t):
    """tell(t_reached), which calls `progress` with the fraction of the span t that is done; or None."""
    if progress is None or progress is False:
        return None
    if progress is not True and not callable(progress):
        raise TypeError("progress must be True or callable as progress(fraction), "
                        f"not {type(progress).__name__}")
    show = line_on_stderr if progress is True else progress
    return lambda reached: show(float(np.min(np.abs(reached - t[0]))) / abs(t[-1] - t[0]))


def line_on_stderr(fraction):
    """Draw the fraction over the last one, where stderr is a terminal."""
    if sys.stderr.isatty():
        print(f"\rsolving: {fraction:6.1%}", end="\n" if fraction == 1 else "", file=sys.stderr, flush=True)

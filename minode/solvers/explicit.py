"""9. One step function for every explicit method

With the method a table, the step is written once:

    Y_i = y + Σ_{j<i} a_ij h k_j,                                        (9.1)
    k_i = f(t + c_i h, Y_i),                                             (9.2)
    y(t + h) ≈ y + Σ_i b_i h k_i.                                        (9.3)

The increments h k_i are the rows of one array hK (s, n), made once and filled anew in each
step, so the sums in (9.1) and (9.3) are products of a row of numbers with a matrix. In (9.1)
y is a row like the others, with weight 1, above them. In (9.3) it is added last and by itself:
what the sum rounds there is carried on from step to step, and so y should be rounded once; the
roundings of Y_i come to y_new times h. An explicit method has c₁ = 0 and a₁ⱼ = 0, so k₁ is the
velocity at the left end, whatever the method. The step is handed k₁ and hands back the last k,
because where b is also the last row of A, the last stage is f at the new state, and so the
first stage of the next step: "first same as last".

The grid. Between two output times t_a and t_b a fixed-step method takes one step,
or, given a step size, m equal steps no longer than that (up to round-off in the
division, so that the interval from 0.1 to 0.4 is three steps of 0.1 and not four):

    t_j = t_a + j (t_b − t_a) / m,   m = ⌈|t_b − t_a| / step_size⌉.      (9.4)

Each time is computed from the ends, not from its neighbour: the sum of ten steps of 0.1
is 0.9999999999999999, and a million such steps end 1.3e-6 off. So no time needs another
to be known: no list of them is made, and the grid can be walked both ways. h < 0 is
nothing special: the same lines integrate backwards.

Next: step sizes chosen by the method itself (chapter 10).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .states import SolverError, as_real_as

ROUND_OFF = 1e-12       # relative excess of |t_b − t_a| / step_size that is not worth a step


@dataclass
class Stats:
    """What a solve cost: calls of f, steps tried, accepted and rejected, Jacobians computed.

    Numbers, or arrays of shape (B,) where each trajectory took its own steps.
    """

    n_f: Any = 0
    n_steps: Any = 0
    n_accepted: Any = 0
    n_rejected: Any = 0
    n_jac: Any = 0


@lru_cache(maxsize=None)
def rows_of(tableau, dtype):
    """c_i and [1, a_i1, …, a_i,i−1] for i = 2, …, s, and b, as numbers of that dtype."""
    A, b, c = tableau.arrays
    rows = [np.append(1.0, row[:i]).astype(dtype) for i, row in enumerate(A)]
    return list(zip(c[1:].astype(b.astype(dtype).real.dtype).tolist(), rows[1:])), b.astype(dtype)


def explicit_stepper(f, tableau, y, stats):
    """The array hK and the function step(t, h, y, k) -> (y_new, k_last) that fills its first s rows.

    f takes and returns arrays like y, k is f(t, y), and k_last the last stage. y is (n,), t and h
    are numbers; or y is (d, m), its columns with times and steps of their own, t and h (m,).
    Where the velocity at y_new is not a stage, hK has one row more to put it in. Where f can
    `read_in_place`, Y_i is computed in the array from which f will read it; elsewhere in a new one.
    """
    coefficients, b = rows_of(tableau, y.dtype)
    s, is_fsal, shape = tableau.stages, tableau.is_fsal, y.shape
    own = s - is_fsal                            # the stages that y_new is made from
    stack, change = np.empty((s + 2 - is_fsal, y.size), y.dtype), np.empty(shape, y.dtype)
    y_row, hK, flat_change = stack[0].reshape(shape), stack[1:].reshape(len(stack) - 1, *shape), change.reshape(-1)
    rows = [(c_i, row.dot, stack[:len(row)], hk_i)
            for (c_i, row), hk_i in zip(coefficients, hK[1:own])]
    sum_up, used, first, multiply = b[:own].dot, stack[1:own + 1], hK[0], np.multiply
    f_i = f if y.ndim == 1 else lambda t, Y_i: f(t, Y_i.reshape(shape))
    inlet = f.read_in_place(y) if getattr(f, "read_in_place", None) is not None else None

    def step(t, h, y, k):
        try:
            h_array = np.asarray(h)              # quicker to multiply with than a number is
            y_row[...] = y
            multiply(k, h_array, first)
            for c_i, row_dot, y_and_hK, hk_i in rows:
                k = f_i(t + c_i * h, row_dot(y_and_hK, inlet))                     # (9.1) (9.2)
                multiply(k, h_array, hk_i)
            sum_up(used, flat_change)                                              # (9.3)
            y_new = y + change                                                     # (9.3)
            if is_fsal:
                k = f(t + h, y_new)                                                # (9.2)
                multiply(k, h_array, hK[own])
        except TypeError:                                    # of a complex k, or the reader's own
            as_real_as(y.dtype, k)
            raise
        stats.n_f += s - 1
        return y_new, k

    return hK, step


class Grid:
    """The steps of a fixed-step method, as pairs (t, t_new) of the times (9.4).

    They stop at all of `t` and are equal between. None is kept: each is computed when it is its
    turn, forwards in `for` and backwards in `reversed`.

    >>> grid = Grid(np.array([0.0, 1.0, 1.0, 1.5]), step_size=0.5)
    >>> list(grid), next(reversed(grid))
    ([(0.0, 0.5), (0.5, 1.0), (1.0, 1.5)], (1.0, 1.5))
    """

    def __init__(self, t, step_size=None):
        self.t, self.step_size = t, step_size
        if step_size is not None and step_size < np.spacing(np.abs(t).max()):
            raise ValueError(f"step_size must be at least the spacing of numbers at t, "
                             f"{np.spacing(np.abs(t).max()):.1e}, not {step_size!r}")

    def __iter__(self):
        return self.pairs(1)

    def __reversed__(self):
        return self.pairs(-1)

    def pairs(self, direction):
        """The pairs, in the direction of the solve, 1, or against it, −1."""
        for t_a, t_b in zip(map(float, self.t[:-1][::direction]), map(float, self.t[1:][::direction])):
            m = self.count(t_a, t_b)
            if m == 1:
                yield t_a, t_b
            else:
                for j in range(m)[::direction]:
                    yield (t_a + j * (t_b - t_a) / m,                              # (9.4)
                           t_a + (j + 1) * (t_b - t_a) / m if j + 1 < m else t_b)  # (9.4)

    def count(self, t_a, t_b):
        """How many steps there are from t_a to t_b."""
        if self.step_size is None or t_a == t_b:
            return int(t_a != t_b)
        return max(1, int(np.ceil(abs(t_b - t_a) / self.step_size * (1 - ROUND_OFF))))  # (9.4)


def fixed_steps(problem, tableau, stepper, grid, stats, max_steps=np.inf):
    """The steps of a Runge–Kutta method along a `Grid`.

    `stepper` is what explicit_stepper returns, or implicit_stepper. Raises SolverError where
    the new state is not finite, and after max_steps steps.
    """
    y, zero, (hK, step, *_) = problem.y, np.zeros_like(problem.y), stepper
    asks_anew = tableau.starts_with_velocity and not tableau.is_fsal
    k, own = None, hK[:tableau.stages]
    for t, t_new in grid:
        if stats.n_steps >= max_steps:
            raise SolverError(f"stopped at t = {t}: max_steps = {max_steps} were not enough", t)
        if k is None or asks_anew:
            k = (problem.first if k is None else problem.f)(t, y)                  # (9.2)
            stats.n_f += 1
        stats.n_steps += 1
        h = t_new - t
        y_new, k = step(t, h, y, k)
        if y_new.dot(zero) != 0:                 # 0 times infinity or NaN is NaN
            why = ("the state is no longer finite after" if tableau.is_explicit
                   else "Newton does not converge, or f or jacobian is not finite, in")
            raise SolverError(f"{why} the step from t = {t} to {t_new}", t)
        stats.n_accepted += 1
        if tableau.is_fsal:
            k = np.array(k)                      # f may write its next answer into the same array
        yield t, h, y, t_new, y_new, own
        y = y_new

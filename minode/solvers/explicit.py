"""9. One step function for every explicit method

With the method a table, the step is written once:

    Y_i = y + h Σ_{j<i} a_ij k_j,                                        (9.1)
    k_i = f(t + c_i h, Y_i),                                             (9.2)
    y(t + h) ≈ y + h Σ_i b_i k_i.                                        (9.3)

The stages k_i are the rows of one array K (s, n) that is made once and filled
anew in each step, so that the sums in (9.1) and (9.3) are products of a row of
numbers with a matrix. An explicit method has c₁ = 0 and a₁ⱼ = 0, so k₁ is the
velocity at the left end, whatever the method. That leaves a choice of who
computes it, and here it is the caller, because the caller may have it already:
where b is also the last row of A, the last stage was f at the new state, the
first stage of the next step. ("First same as last".)

The grid. Between two output times t_a and t_b a fixed-step method takes one step,
or, given a step size, m equal steps no longer than that (up to round-off in the
division, so that an interval of 0.3 is three steps of 0.1 and not four):

    t_j = t_a + j (t_b − t_a) / m,   m = ⌈|t_b − t_a| / step_size⌉.      (9.4)

Each time is computed from the ends, not from its neighbour: the sum of ten
steps of 0.1 is 0.9999999999999999, and after a million such steps the clock
would be wrong in the sixth decimal of the last step. h < 0 is nothing special.

Next: step sizes chosen by the method itself (chapter 10).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .states import SolverError

ROUND_OFF = 1e-12       # relative excess of |t_b − t_a| / step_size that is not worth a step


@dataclass
class Stats:
    """What a solve cost: calls of f, steps tried, accepted and rejected (n_jac: Jacobians)."""

    n_f: int = 0
    n_steps: int = 0
    n_accepted: int = 0
    n_rejected: int = 0
    n_jac: int = 0


class Step(NamedTuple):
    """An accepted step from (t, y) to (t_new, y_new); K (s, n) holds its stages until the next."""

    t: float
    h: float
    y: np.ndarray
    t_new: float
    y_new: np.ndarray
    K: np.ndarray


def explicit_stepper(f, tableau, y):
    """The array K of stages and step(t, h, y) -> y_new, which expects k₁ in K[0].

    f takes and returns flat vectors like y. The step calls it s − 1 times.
    """
    A, b, c = tableau.arrays(y.real.dtype)
    K = np.empty((tableau.stages, y.size), y.dtype)
    hA = np.empty_like(A)
    later_stages = [(i, float(c[i]), hA[i, :i], K[:i]) for i in range(1, tableau.stages)]

    def step(t, h, y):
        np.multiply(A, h, out=hA)
        for i, c_i, hA_i, K_i in later_stages:
            Y_i = y + np.dot(hA_i, K_i)                                            # (9.1)
            K[i] = f(t + c_i * h, Y_i)                                             # (9.2)
        return y + np.dot(h * b, K)                                                # (9.3)

    return K, step


def fixed_grid(t, step_size=None):
    """The times (9.4) at which a fixed-step method stops: all of t, and between them equal steps.

    >>> fixed_grid(np.array([0.0, 0.3, 0.3, 0.4]), step_size=0.1)
    [0.0, 0.09999999999999999, 0.19999999999999998, 0.3, 0.4]
    """
    grid = [float(t[0])]
    for t_a, t_b in zip(t[:-1].tolist(), t[1:].tolist()):
        if t_a == t_b:
            continue
        m = 1
        if step_size is not None:
            m = max(1, int(np.ceil(abs(t_b - t_a) / step_size * (1 - ROUND_OFF))))  # (9.4)
        grid += [t_a + j * (t_b - t_a) / m for j in range(1, m)] + [t_b]           # (9.4)
    return grid


def fixed_steps(problem, tableau, grid, stats):
    """The steps of an explicit method along a grid, one after the other.

    Raises SolverError where the new state is not finite.
    """
    y = problem.y
    K, step = explicit_stepper(problem.f, tableau, y)
    for t, t_new in zip(grid, grid[1:]):
        if stats.n_steps == 0:
            K[0] = problem.first(t, y)                                             # (9.2)
        elif tableau.is_fsal:
            K[0] = K[-1]
        else:
            K[0] = problem.f(t, y)                                                 # (9.2)
        y_new = step(t, t_new - t, y)
        stats.n_steps += 1
        stats.n_f += tableau.stages - (tableau.is_fsal and stats.n_steps > 1)
        if not np.isfinite(y_new).all():
            raise SolverError(f"the state is no longer finite after the step from t = {t} to {t_new}", t)
        stats.n_accepted += 1
        yield Step(t, t_new - t, y, t_new, y_new, K)
        y = y_new

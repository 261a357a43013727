"""Appendix to chapter 13. Newton's method to the last digit, and a Jacobian by differences

A step of a given size may be long, and its stages far from y. `FullNewton` therefore computes the
Jacobian of every stage at that stage, afresh in each iteration, and solves (13.3) until only
rounding is left. Near the solution each iteration doubles the number of right digits. The
derivatives of the steps rely on this: they differentiate (13.1), not the iterations.

If no f_y is given, it is found by differences. Moving the component y_j by δ_j changes f by f_y
δ_j, and by terms of the size δ_j². Rounding adds an error of the size u f, with u the spacing of
numbers at 1. With

    δ_j = √u max(|y_j|, 10⁻⁵ max_k |y_k|)

both errors are about √u of the change that f undergoes if y_j doubles. The second number in the
bracket is for components that happen to be 0. Without it δ_j would be lost beside the other terms
of f. With it about a thousandth of δ_j is lost, which is no harm to Newton's method. (A share
larger than 10⁻⁵ costs many steps on Robertson's problem. At its end the second component is 10⁻¹³
of the third, and enters f squared.) δ_j has the sign of f_j, so the state is moved to the side to
which it moves anyway, and a concentration that begins at 0 does not become negative. In a batch
all rows are moved at once, each by its own δ_j. This costs d + 1 calls of f, which are counted.
"""

import numpy as np

MOST_ITERATIONS = 20    # of Newton's method, which doubles its digits with each once it is near
NEAR_ROUND_OFF = 1e6    # spacings: a correction this small that stops shrinking is round-off
LEAST_SHARE = 1e-5      # of the largest component, below which a component is moved as if it were so large


def newton_matrix(h, A, f_y):
    """The matrices of (13.3), (B, m d, m d), for a batch of B and m stages: A is (m, m), f_y (m, B, d, d)."""
    m, B, d, _ = f_y.shape
    M, I = np.empty((B, m, d, m, d), f_y.dtype), np.eye(d)
    for i in range(m):
        for j in range(m):
            M[:, i, :, j, :] = (i == j) * I - h * A[i, j] * f_y[i]         # (13.3)
    return M.reshape(B, m * d, m * d)


def blocks(A):
    """The diagonal blocks of A as slices. Each block needs only itself and those before it."""
    slices, start = [], 0
    for stop in range(1, len(A) + 1):
        if not A[start:stop, stop:].any():
            slices.append(slice(start, stop))
            start = stop
    return slices


def as_columns(rho, B):
    """Rows of m stages (m, B d) as one column (B, m d, 1) for each trajectory of the batch."""
    return rho.reshape(len(rho), B, -1).swapaxes(0, 1).reshape(B, -1, 1)


def as_stages(columns, m):
    """What `as_columns` undoes: (m, B d)."""
    return columns.reshape(len(columns), m, -1).swapaxes(0, 1).reshape(m, -1)


def apply(inverse, rho):
    """M⁻¹ρ for rows of m stages rho (m, B d) and inverses (B, m d, m d)."""
    if len(inverse) == 1:                                    # quicker
        return inverse[0].dot(rho.ravel()).reshape(rho.shape)
    return as_stages(inverse @ as_columns(rho, len(inverse)), len(rho))


class FullNewton:
    """Newton's method for steps of a given size: (13.3) with the Jacobian of each stage, to round-off.

    f(t, y) and jacobian(t, y), f_y as (B, d, d), are functions of flat states y (n,), n = B d. `is_short` says that
    the steps were chosen once to meet a tolerance.
    """

    def __init__(self, f, jacobian, stages, is_short=False):
        self.f, self.jacobian, self.stages, self.is_short = f, jacobian, stages, is_short

    def guesses(self, t, h, y, k):
        """Yield increments (s, n) to start from: in a short step h k with the last k, and always 0."""
        if self.is_short:
            yield np.repeat(h * k[None], self.stages, axis=0).astype(y.dtype)
        yield np.zeros((self.stages, y.size), y.dtype)

    def solve(self, times, h, known, A, hK):
        """Solve (13.1) for the increments hK (m, n) of a block, in place. Returns whether that succeeded."""
        is_solved = SolvedToRoundOff(hK.real.dtype)
        for _ in range(MOST_ITERATIONS):
            Y = known + A @ hK                                                     # (13.1)
            rho = hK - h * np.array([self.f(t_i, Y_i) for t_i, Y_i in zip(times, Y)])  # (13.1)
            f_y = np.array([self.jacobian(t_i, Y_i) for t_i, Y_i in zip(times, Y)])
            try:
                columns = np.linalg.solve(newton_matrix(h, A, f_y), -as_columns(rho, f_y.shape[1]))  # (13.3)
            except np.linalg.LinAlgError:
                return False
            delta = as_stages(columns, len(hK))
            hK += delta
            if not np.isfinite(hK).all():
                return False
            if is_solved(delta, Y):
                return True
        return False


class SolvedToRoundOff:
    """Whether a correction is round-off of the largest Y so far, or near it and no longer shrinking."""

    def __init__(self, dtype):
        self.limits, self.last, self.largest = np.finfo(dtype), np.inf, 0.0

    def __call__(self, delta, Y):
        self.largest = max(self.largest, np.abs(Y).max())
        size = np.abs(delta).max() / max(self.largest, self.limits.tiny)
        is_solved = size <= 4 * self.limits.eps or self.last <= size < NEAR_ROUND_OFF * self.limits.eps
        self.last = size
        return bool(is_solved)


def by_differences(problem, y0):
    """A function of t and a flat state like y0 (..., d), which gives f_y (B, d, d) by d + 1 calls of f.

    >>> from minode.solvers.states import initial_value_problem
    >>> problem = initial_value_problem(lambda t, y: y**2, [[1.0], [3.0]], [0.0, 1.0])
    >>> by_differences(problem, [[1.0], [3.0]])(0.0, problem.y).ravel().round(6)
    array([2., 6.])
    """
    f, stats, d = problem.f, problem.stats, np.shape(y0)[-1]

    def jacobian(t, y):
        stats.n_jac += 1
        y, f_0 = y.reshape(-1, d), f(t, y).reshape(-1, d)
        size = np.abs(y)
        size = np.maximum(size, LEAST_SHARE * size.max(axis=1, keepdims=True))
        size[size == 0] = 1.0                                # a state that is 0 has no size
        delta = np.sqrt(np.finfo(y.dtype).eps) * np.where(f_0.real < 0, -size, size)
        f_y = np.empty((*y.shape, d), y.dtype)
        for j in range(d):
            moved = y.copy()
            moved[:, j] += delta[:, j]
            change = f(t, moved.ravel()).reshape(-1, d) - f_0
            f_y[:, :, j] = change / (moved - y)[:, j:j + 1]  # what was added, after rounding
        return f_y
    return jacobian

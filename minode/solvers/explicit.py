"""9. One step function for every explicit method

Since a method is a table, the step is written only once:

    Y_i = y + Σ_{j<i} a_ij h k_j,                                        (9.1)
    k_i = f(t + c_i h, Y_i),                                             (9.2)
    y(t + h) ≈ y + Σ_i b_i h k_i.                                        (9.3)

The velocities k_i are the rows of an array K (s, n). The sum in (9.1) is therefore the product of
a row of numbers, h a_ij, with a matrix, and the sum in (9.3) that of the row h b_i. The fractions
of the table (chapter 7) are rounded to the precision of y once, by `tableau.arrays`. In (9.3) we
add y to the finished increment, so that the large number y enters a single addition. Rounding
errors in Y_i reach y_new multiplied by h b_i f_y, which is small if the problem is not stiff.

An explicit method has c₁ = 0 and a₁ⱼ = 0, so k₁ is the velocity at the start of the step. The
step function receives k₁ and returns its last k. If the last row of A is b, with c_s = 1, the last Y_i
is y_new itself. The last k is then the first one of the next step, and the method is called "first
same as last" (FSAL). With any other method the last k is not the velocity at y_new, and the next
step must evaluate f there.

The grid. Between two output times t_a and t_b a fixed-step method takes one step. If a step size
is given, it takes m equal steps that are no longer than that,

    t_j = t_a + j (t_b − t_a) / m,   m = ⌈|t_b − t_a| / step_size⌉.      (9.4)

The quotient is rounded, so we allow it to exceed a whole number a little: the interval from 0.1 to
0.4 is three steps of 0.1, not four. Each t_j is computed from the two ends, not from t_{j−1}. Ten
times 0.1, added up, is 0.9999999999999999, and after a million such steps the sum is off by 1.3e-6.
For the same reason we can walk along the grid in both directions without storing it. If h < 0, the
same lines integrate backwards.

Figure 8 shows (9.3) with h of both signs. Figures 12, 14 and 23 show (9.1) to (9.3) on problems with
and without a kink, and figure 90 how long they take.
Next: step sizes chosen by the method itself (chapter 10).

Exercises. 1. Derive: on y' = λy every explicit method with as many stages as its order p multiplies
y by 1 + hλ + … + (hλ)^p/p!. Predict, then run: how far apart are rk4 and rk38 on y' = −y? 2. Break
this line: set ROUND_OFF to 0. How many steps of 0.1 now lead from 0.1 to 0.4?
"""

import numpy as np

from .states import SolverError, is_finite

ROUND_OFF = 1e-12       # relative excess of |t_b − t_a| / step_size that is not worth a step


def explicit_step(f, tableau, t, h, y, k):
    """One step from y, where the velocity is k: y_new, the last velocity, and the increments hK.

    f(t, y) takes and returns arrays (n,) like y, and hK is (s, n).

    >>> from minode import methods
    >>> y = np.array([1.0])
    >>> explicit_step(lambda t, y: -y, methods["heun"], 0.0, 0.5, y, -y)
    (array([0.625]), array([-0.5]), array([[-0.5 ],
           [-0.25]]))
    """
    A, b, c = tableau.arrays(y.dtype)                        # c: floats, as times are float64
    hA, K = h * A, np.empty((len(b), y.size), y.dtype)
    K[0] = k
    for i in range(1, len(b)):
        Y = y + hA[i, :i].dot(K[:i])                                               # (9.1)
        K[i] = f(t + c[i] * h, Y)                                                  # (9.2)
    y_new = Y if tableau.is_fsal else y + (h * b).dot(K)                           # (9.3)
    k_last = K[-1].copy()                                    # since K becomes the increments h k_i
    K *= h
    return y_new, k_last, K


class Grid:
    """The steps of a fixed-step method, as pairs (t, t_new) of the times (9.4).

    They end at each of the times `t`, and between two of these they are equal. No list of them is
    made: each is computed when it is needed, forwards with `for` and backwards with `reversed`.

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
        """The pairs, in the direction of the solve (1) or against it (−1)."""
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


def fixed_steps(problem, tableau, step, grid, max_steps=np.inf):
    """The steps (t, h, y, t_new, y_new, hK) of a Runge–Kutta method along a `Grid`.

    step(t, h, y, k) is that of chapter 9 or 13. Raises SolverError if the new state is not
    finite, and after max_steps steps.
    """
    f, y, stats, k = problem.f, problem.y, problem.stats, None
    carries_velocity = tableau.carries_velocity              # k is the next k₁, or Newton's start
    for t, t_new in grid:
        if stats.n_steps >= max_steps:
            raise SolverError(f"stopped at t = {t}: max_steps = {max_steps} were not enough", t)
        if k is None or not carries_velocity:
            k = f(t, y)                                                            # (9.2)
        stats.n_steps += 1
        y_new, k, hK = step(t, t_new - t, y, k)
        if not is_finite(y_new):
            why = ("the state is no longer finite after" if tableau.is_explicit
                   else "Newton does not converge, or f or jacobian is not finite, in")
            raise SolverError(f"{why} the step from t = {t} to {t_new}", t)
        stats.n_accepted += 1
        yield t, t_new - t, y, t_new, y_new, hK
        y = y_new

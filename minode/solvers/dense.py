"""11. Between the steps

A step knows y at both its ends and s velocities inside. Dense output means that they are combined
into a polynomial that gives the state at any time t + σh inside the step, with 0 ≤ σ ≤ 1. Like the
step itself it is a weighted sum of the increments, and the weights depend on σ:

    y(t + σh) ≈ y + Σ_j b_j(σ) h k_j,     b_j(σ) = Σ_m P_jm σᵐ.          (11.1)

At σ = 1 the weights are those of the method, b_j(1) = b_j. A dense output has order q if it meets
the conditions of chapter 7 for all trees with at most q points, with b_j(σ) in the place of b_j.
The solution now goes only as far as σh, and its term for a tree with n points has the factor
(σh)ⁿ. So the sum for that tree must be σⁿ/γ instead of 1/γ. dopri5 has such weights of order 4
(Shampine 1986), and so has tsit5. dop853 has weights of order 7. They need three more velocities,
which are computed only if a state inside the step is needed.

Any other method gets Hermite's cubic: the one with the right values and slopes at both ends. With
Δy = Σ b_j h k_j, and k and k' for the velocities at the start and at the end, it is

    y + (3σ² − 2σ³) Δy + (σ − 2σ² + σ³) h k + (σ³ − σ²) h k'.            (11.2)

If these data are exact, it is right up to h³, and its error is a multiple of h⁴. Methods of order
at most 4 keep their order between the steps, though the error there may be many times that at the
steps (fehlberg45). Methods of higher order lose theirs: cash_karp, gauss6 and
reversible("dopri5"). The step-size control does not see this error. The cubic needs f at both
ends. An explicit method has evaluated f at the first end. The second one is the first stage of the
next step, or costs one more call.

If the problem is stiff, h k is large wherever y is a little off the slow solution, and at σ = ½ the
cubic multiplies h k by 1/8. Implicit Euler's step of y' = −10⁶ y with h = 1 leads from 1 to 10⁻⁶, but
halfway the cubic would be near −10⁵. So L-stable methods (chapter 13) have weights of their own. On
y' = λy with Re λ ≤ 0, their state inside a step is at most 1.022 times that at its start (and never
larger if λ is real). The price is some order: implicit_euler has 1, trbdf2 and radau3 2, radau5 3,
kvaerno5 4. And the steps of a stiff problem may be so long that no polynomial follows the solution
inside them.

The output times do not change the steps of an adaptive explicit method. A solve for a hundred
times and a solve for two take the same steps, and the other 98 states come from here. Implicit
methods, and methods of fixed steps (chapter 9), end a step at each output time.

Figure 15 shows (11.1) and (11.2).
Next: a step size for each trajectory (chapter 12).
"""

from typing import NamedTuple

import numpy as np

from ..inputs import as_times_between
from .states import SolverError


class DenseOutput(NamedTuple):
    """P (r, q) of (11.1), and A (r, r), b (r), c (r) of all its r stages: the method's own come first."""

    P: np.ndarray
    A: np.ndarray
    b: np.ndarray
    c: tuple


def dense_output(tableau):
    """The `DenseOutput` of a method: its own, or Hermite's cubic (11.2). It is remembered with the tableau.

    >>> from minode import methods
    >>> dense_output(methods["euler"]).P @ [0.5, 0.25, 0.125]     # σ = 1/2: of h k, and of h k'
    array([ 0.625, -0.125])
    """
    if "dense output" not in tableau.remembered:
        tableau.remembered["dense output"] = _dense_output(tableau)
    return tableau.remembered["dense output"]


def _dense_output(tableau):
    A, b, _ = tableau.arrays()
    s, at_end, at_start = tableau.stages, [], []
    if not tableau.is_fsal:
        at_end = [b]                                         # one more stage: f at the new state
    if tableau.dense is None and not tableau.starts_with_velocity:
        at_start = [np.zeros(s)]                             # and one: f at the old state
    more = [*at_end, *at_start, *(np.array(row, float) for row in tableau.dense_A)]
    r = s + len(more)
    A_all, b_all = np.zeros((r, r)), np.zeros(r)
    A_all[:s, :s], b_all[:s] = A, b
    for i, row in enumerate(more, start=s):
        A_all[i, :len(row)] = row
    c = (*map(float, tableau.c), *(1.0 if row is b else float(row.sum()) for row in more))
    if tableau.dense is not None:
        return DenseOutput(np.array(tableau.dense, float), A_all, b_all, c)
    P = np.zeros((r, 3))
    first = r - 1 if at_start else 0                         # the rows of f at both ends of the step
    last = s if at_end else s - 1
    P[:s] = b[:, None] * [0, 3, -2]                                                # (11.2)
    P[first] += [1, -2, 1]                                                         # (11.2)
    P[last] += [0, -1, 1]                                                          # (11.2)
    return DenseOutput(P, A_all, b_all, c)


def all_increments(f, dense, t, h, y, hK):
    """hK (s, n) with the rows that only the dense output needs, (r, n)."""
    for i in range(len(hK), len(dense.P)):
        Y = y + dense.A[i, :i] @ hK                          # as in a step of chapter 9
        hK = np.vstack([hK, h * f(t + dense.c[i] * h, Y.astype(y.dtype))])
    return hK


def weights_at(dense, sigma):
    """b_j(σ) of (11.1), for a number or an array sigma: (r, *sigma.shape)."""
    P, sigma = dense.P, np.asarray(sigma)
    powers = sigma.ravel() ** np.arange(1, P.shape[1] + 1)[:, None]                # σ, σ², … as rows
    return (P @ powers).reshape(len(P), *sigma.shape)                              # (11.1)


def slopes_at(dense, sigma):
    """b_j'(σ) = Σ_m m P_jm σ^{m−1}, the slopes of the weights (11.1), for (13.6) and (18.9): (r, *sigma.shape)."""
    m, sigma = np.arange(1, dense.P.shape[1] + 1), np.asarray(sigma)
    return ((dense.P * m) @ sigma.ravel() ** (m[:, None] - 1)).reshape(len(dense.P), *sigma.shape)


def state_inside(dense, sigma, y, hK):
    """The states at t + σh (11.1) for sigma (m,): (m, n), from y (n,) and all increments (r, n)."""
    return y + np.einsum("jm,jn->mn", weights_at(dense, sigma), hK)                # (11.1)


def is_in_step(times, t, t_new):
    """Which outputs belong to the step from t to t_new: those after its start, up to and including its end.

    `times` are compared with the ends themselves. t + h and σ are rounded, so with these an output close to the
    end of a step could be counted in two steps, or in none.
    """
    sign = np.sign(t_new - t)
    return (sign * times > sign * t) & (sign * times <= sign * t_new)


def require_finite(ys, t, ids=None):
    """SolverError at the first of the times t (m,) whose state between two steps, a row of ys, is not finite.

    `ids` (m,) are the numbers of the trajectories, if each takes its own steps.
    """
    is_finite = np.isfinite(ys).all(axis=1)
    if not is_finite.all():
        m = int(is_finite.argmin())
        who = "" if ids is None else f"trajectory {ids[m]}: "
        raise SolverError(f"{who}the state is not finite between the steps, at t = {t[m]}", float(t[m]))


def known_states(flat, times, t, ys):
    """Put the states ys, which the solve returned for t, into `flat` (states at `times`) at each time that is in t.

    So interpolate and ys agree to the last digit, at the last time too. (At any other end of a step they do
    anyway: the next step starts there with σ = 0.) t must increase.
    """
    i = t.searchsorted(times)
    is_known = t[i] == times
    if is_known.any():
        flat[is_known] = ys[i[is_known]]


class Interpolation:
    """interpolate(t), the state at any times in the span, from the steps (t, h, y, hK) on the tape and the outputs ys.

    Increments that only the dense output needs are computed when they are first used, and put on the tape. Before a
    copy or a pickle all are computed. So the copy needs no f, which may be a function that cannot be pickled.
    """

    def __init__(self, problem, dense, tape, ys):
        self.f, self.unflatten, self.dense, self.tape = problem.f, problem.unflatten, dense, tape
        self.t, self.ys = problem.t.copy(), ys.copy()        # those of the solution are the caller's
        self.sign = 1.0 if self.t[-1] >= self.t[0] else -1.0
        self.starts = self.sign * np.array([step[0] for step in tape])

    def __getstate__(self):
        with np.errstate(all="ignore"):
            return self.__dict__ | {"f": None, "tape": [self.step(n) for n in range(len(self.tape))]}

    def step(self, n):
        """(t, h, y, hK) of step n, with all increments (r, n)."""
        t, h, y, hK = self.tape[n]
        self.tape[n] = t, h, y, all_increments(self.f, self.dense, t, h, y, hK)
        return self.tape[n]

    def __call__(self, t):
        """The states at t, a number or an array of any shape inside the span: (*t.shape, ...)."""
        times = as_times_between(self.t[0], self.t[-1], t)
        flat, clock = np.empty((times.size, self.ys.shape[1]), self.ys.dtype), times.ravel()
        flat[:] = self.ys[0]
        step_of = self.starts.searchsorted(self.sign * clock, side="right") - 1
        with np.errstate(all="ignore"):                      # an overflow is a SolverError
            for n in sorted(set(step_of.tolist())) if self.tape else ():
                (t_n, h, y, hK), here = self.step(n), step_of == n
                flat[here] = state_inside(self.dense, (clock[here] - t_n) / h, y, hK)
        known_states(flat, self.sign * clock, self.sign * self.t, self.ys)
        require_finite(flat, clock)
        return self.unflatten(flat.reshape(*times.shape, flat.shape[1]))

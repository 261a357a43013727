"""13. Implicit methods: an equation in every step

Let a stage depend on itself and on later ones, a_ij ≠ 0 for j ≥ i, and the step is no longer
a recipe but an equation for all the stages at once,

    h k_i = h f(t + c_i h, Y_i),   Y_i = y + Σ_j a_ij h k_j.             (13.1)

The gain shows on y' = λy. With 𝟙 a column of ones, every Runge–Kutta step multiplies y by

    R(z) = 1 + z bᵀ (I − zA)⁻¹ 𝟙,   z = hλ.                              (13.2)

For an explicit method R is a polynomial and grows without bound. So a fast decay, with λ very
negative, forces a tiny h long after it has died out: the problem is stiff. For an implicit
method R is rational. If |R| ≤ 1 on the whole left half plane, the method is called A-stable,
and if R(−∞) = 0 too, L-stable: a fast transient is damped out in a single step, however long.
A method that looks the same from both ends of the step, a_ij + a_{s+1−i,s+1−j} = b_j, is
symmetric: its step with −h from y_new is exactly y again. No explicit method is.

    implicit_euler     1   L-stable             trapezoid   2   A-stable, symmetric
    implicit_midpoint  2   A-stable, symmetric  gauss4 gauss6   4 6   A-stable, symmetric
    radau3 radau5      3 5 L-stable             trbdf2      2(3)  L-stable, adaptive
                                                kvaerno5    5(4)  L-stable, adaptive

Solving (13.1). Newton: with ρ_i = h k_i − h f(t + c_i h, Y_i) as what is left over, and the
hand-written f_y, correct the increments by Δ with

    Σ_j (δ_ij I − h a_ij f_y(t + c_i h, Y_i)) Δ_j = −ρ_i,                (13.3)

where δ_ij is 1 for i = j and 0 otherwise. Where to start matters. (13.1) has other solutions than
the one that tends to y as h tends to 0, and from h k_i = h f(t, y) Newton may find one of
them: the implicit Euler method would take y' = −y² from 1 to −1 with h = 2, and not to ½. Steps of
a given size therefore start from h k_i = 0. Then Y_i begins as y plus the increments of the stages
that are known already. A method that chooses its steps starts from the increment before, which
saves calls of f, and its error estimate rejects a wrong solution.

If A falls into blocks, each block's stages are solved once those before them are
known: a diagonally implicit method (trbdf2, kvaerno5) solves d equations a stage, a fully
implicit one s d equations once; an explicit stage is a block with a_ii = 0 and no equation.
Every trajectory of a batch has its own matrix and all are solved in one call. (The third stage of kvaerno5
lies at t + 1.23 h, in its last step after the end of the span. If f does not exist there, take trbdf2.)

The unknowns are the increments and not, as is more usual, Y_i − y. The increments are then known to
the precision of the solve. To compute h f from a stiff Y_i afterwards would multiply the
rounding error of Y_i by hλ. For the same reason the first stage of trapezoid, trbdf2 and
kvaerno5 is not f(t, y) evaluated anew, but the last stage of the step before. In a stiff component
the increments, and with them e in (10.1), are too large by about the factor 1 − hγλ that the
implicit stages divide by, with γ = a_ss. So e is divided by it too (Hosea and Shampine 1996):

    (I − hγ f_y) ẽ = e.                                                  (13.4)

In kvaerno5 b̂ is a row of A. Then e is a difference of two Y_i, which have been divided already, and we
leave it as it is.

Where a solution is slow, an L-stable method takes steps much longer than its polynomial (chapter 11) can follow. An
adaptive implicit method therefore ends a step at every output time. A step cut short there does not shorten the next.

Next: methods that can be undone exactly without solving anything (chapter 14).
"""

from copy import copy
from fractions import Fraction

import numpy as np

from .tableaus import Tableau

S2, S3, S6, S15 = (x ** 0.5 for x in (2, 3, 6, 15))

IMPLICIT_EULER = Tableau("implicit_euler", order=1, A=["1"], b="1", dense=["1"])

IMPLICIT_MIDPOINT = Tableau("implicit_midpoint", order=2, A=["1/2"], b="1")

TRAPEZOID = Tableau("trapezoid", order=2, A=["0 0", "1/2 1/2"], b="1/2 1/2")

GAUSS4 = Tableau("gauss4", order=4,
                 A=[[1/4, 1/4 - S3/6],
                    [1/4 + S3/6, 1/4]],
                 b="1/2 1/2")

GAUSS6 = Tableau("gauss6", order=6,
                 A=[[5/36, 2/9 - S15/15, 5/36 - S15/30],
                    [5/36 + S15/24, 2/9, 5/36 - S15/24],
                    [5/36 + S15/30, 2/9 + S15/15, 5/36]],
                 b="5/18 4/9 5/18")

RADAU3 = Tableau("radau3", order=3, A=["5/12 -1/12", "3/4 1/4"], b="3/4 1/4",
                 dense=["3/2 -3/4",
                        "-1/2 3/4"])

RADAU5 = Tableau("radau5", order=5,
                 A=[[(88 - 7*S6)/360, (296 - 169*S6)/1800, (-2 + 3*S6)/225],
                    [(296 + 169*S6)/1800, (88 + 7*S6)/360, (-2 - 3*S6)/225],
                    [(16 - S6)/36, (16 + S6)/36, Fraction(1, 9)]],
                 b=[(16 - S6)/36, (16 + S6)/36, Fraction(1, 9)],
                 dense=[[(2 + 3*S6)/6, (8 - 13*S6)/12, (-5 + 5*S6)/9],
                        [(2 - 3*S6)/6, (8 + 13*S6)/12, (-5 - 5*S6)/9],
                        [Fraction(1, 3), Fraction(-4, 3), Fraction(10, 9)]])

TRBDF2 = Tableau("trbdf2", order=2, embedded_order=3,            # Bank et al. 1985; Hosea and Shampine 1996
                 A=[[0, 0, 0],
                    [1 - S2/2, 1 - S2/2, 0],
                    [S2/4, S2/4, 1 - S2/2]],
                 b=[S2/4, S2/4, 1 - S2/2],
                 b_hat=[1/3 - S2/12, 1/3 + S2/4, 1/3 - S2/6],
                 dense=[[S2/2, -S2/4],
                        [S2/2, -S2/4],
                        [1 - S2, S2/2]])

KVAERNO5 = Tableau("kvaerno5", order=5, embedded_order=4,        # Kværnø 2004
                   A=["0",
                      "0.26 0.26",
                      "0.13 0.84033320996790809 0.26",
                      "0.22371961478320505 0.47675532319799699 -0.06470895363112615 0.26",
                      "0.16648564323248321 0.10450018841591720 0.03631482272098715 -0.13090704451073998 0.26",
                      "0.13855640231268224 0 -0.04245337201752043 0.02446657898003141 "
                      "0.61943039072480676 0.26",
                      "0.13659751177640291 0 -0.05496908796538376 -0.04118626728321046 0.62993304899016403 "
                      "0.06962479448202728 0.26"],
                   b="0.13659751177640291 0 -0.05496908796538376 -0.04118626728321046 0.62993304899016403 "
                     "0.06962479448202728 0.26",
                   b_hat="0.13855640231268224 0 -0.04245337201752043 0.02446657898003141 "
                         "0.61943039072480676 0.26 0",
                   dense=["0.98909070836224659 -2.07518184436140517 1.72948161074168221 -0.50679296296612072",
                          "0 0 0 0",
                          "-0.06970149316758578 0.82263508548823772 -1.65604204333525321 0.84813936304921750",
                          "-0.36562841744831543 -0.77196645005683822 2.47607308332578080 -1.37966448310383763",
                          "0.05849053832587676 3.27378684760444030 -4.20331311422585451 1.50096877728570158",
                          "0.27614386221746419 -0.54615950626150266 0.54238660379872201 -0.20274616527265622",
                          "0.11160480171031361 -0.70311413241293167 1.11141385969492259 -0.25990452899230450"])

IMPLICIT = (IMPLICIT_EULER, IMPLICIT_MIDPOINT, TRAPEZOID, GAUSS4, GAUSS6, RADAU3, RADAU5, TRBDF2, KVAERNO5)

MOST_ITERATIONS = 20    # of Newton's method, which doubles its digits with each once it is near
NEAR_ROUND_OFF = 1e6    # spacings: a correction this small that stops shrinking is round-off
NEWTON_SHARE = 1e-2     # of the error tolerance: what Newton may leave in an adaptive step


def stability_function(tableau, z):
    """R(z) of (13.2) for an array of complex z, any tableau.

    >>> from minode import methods
    >>> stability_function(methods["rk4"], np.array([1.0]))      # 1 + 1 + 1/2 + 1/6 + 1/24
    array([2.70833333])
    """
    A, b, _ = tableau.arrays()
    z = np.asarray(z)[..., None, None]
    ones = np.ones((len(b), 1))
    return 1 + (z * b @ np.linalg.solve(np.eye(len(b)) - z * A, ones))[..., 0, 0]  # (13.2)


def newton_matrix(h, A, f_y):
    """The matrices of (13.3), (B, m d, m d), for a batch of B and m stages: A is (m, m), f_y (m, B, d, d)."""
    m, B, d, _ = f_y.shape
    M = np.empty((B, m, d, m, d), f_y.dtype)
    for i in range(m):
        for j in range(m):
            M[:, i, :, j, :] = (i == j) * np.eye(d) - h * A[i, j] * f_y[i]         # (13.3)
    return M.reshape(B, m * d, m * d)


def blocks(A):
    """The diagonal blocks of A as slices, each needing only itself and those before."""
    slices, start = [], 0
    for stop in range(1, len(A) + 1):
        if not A[start:stop, stop:].any():
            slices.append(slice(start, stop))
            start = stop
    return slices


class ImplicitStepper:
    """The steps of an implicit method: step(t, h, y, k), which returns what `explicit_step` does.

    f(t, y) and jacobian(t, y), f_y as (B, d, d), are functions of flat states y (n,), n = B d.
    `is_solved(delta, Y)` decides when Newton's method stops. It starts from the increment before if
    `predicts`, and from 0 if not. A step that Newton's method cannot solve returns a state of NaN.
    """

    def __init__(self, f, jacobian, tableau, is_solved, predicts):
        self.f, self.jacobian, self.tableau = f, jacobian, tableau
        self.is_solved, self.predicts = is_solved, predicts
        self.h, self.f_y = None, None                        # of the last stage that was solved

    def step(self, t, h, y, k):
        A, b, c = self.tableau.arrays(y.dtype)
        hK, guess = np.zeros((len(b), y.size), y.dtype), h * k
        for block in blocks(A):
            A_block, known = A[block, block], y + A[block, :block.start] @ hK[:block.start]
            times = [t + c_i * h for c_i in c[block]]
            if block.start == 0 and self.tableau.starts_with_velocity:
                hK[0] = guess
            elif not A_block.any():
                hK[block] = h * self.f(times[0], known[0])
            else:
                hK[block] = guess if self.predicts else 0.0
                if not self.newton(times, h, known, A_block, hK[block]):
                    return np.full_like(y, np.nan), k, hK
            guess = hK[block.stop - 1]
        return y + b @ hK, hK[-1] / h, hK

    def newton(self, times, h, known, A, hK):
        """Solve (13.1) for the increments hK (m, n) of a block, in place; whether that succeeded."""
        is_solved = copy(self.is_solved)                     # what it remembers is of these iterations alone
        for _ in range(MOST_ITERATIONS):
            Y = known + A @ hK                                                     # (13.1)
            rho = hK - h * np.array([self.f(t_i, Y_i) for t_i, Y_i in zip(times, Y)])  # (13.1)
            f_y = np.array([self.jacobian(t_i, Y_i) for t_i, Y_i in zip(times, Y)])
            m, B, d, _ = f_y.shape
            columns = rho.reshape(m, B, d).swapaxes(0, 1).reshape(B, m * d, 1)
            try:
                delta = np.linalg.solve(newton_matrix(h, A, f_y), -columns)        # (13.3)
            except np.linalg.LinAlgError:
                return False
            delta = delta.reshape(B, m, d).swapaxes(0, 1).reshape(m, B * d)
            hK += delta
            if not np.isfinite(hK).all():
                return False
            if is_solved(delta, Y):
                self.h, self.f_y = h, f_y[-1]
                return True
        return False

    def smooth(self, e):
        """The error e (n,) of the last step, filtered by (13.4)."""
        if self.h is None:
            return e
        gamma, d = self.tableau.arrays()[0][-1, -1], self.f_y.shape[-1]
        M = np.eye(d) - self.h * gamma * self.f_y                                  # (13.4)
        return np.linalg.solve(M, e.reshape(-1, d, 1)).reshape(e.shape)            # (13.4)


class SolvedToRoundOff:
    """For fixed steps: stop when a correction is round-off of the largest Y so far, or near it shrinks no more."""

    def __init__(self, dtype):
        self.limits, self.last, self.largest = np.finfo(dtype), np.inf, 0.0

    def __call__(self, delta, Y):
        self.largest = max(self.largest, np.abs(Y).max())
        size = np.abs(delta).max() / max(self.largest, self.limits.tiny)
        is_solved = size <= 4 * self.limits.eps or self.last <= size < NEAR_ROUND_OFF * self.limits.eps
        self.last = size
        return bool(is_solved)


def solved_to_tolerance(tolerances):
    """For adaptive steps: Newton's method stops when a correction is a hundredth of the error tolerated."""
    def is_solved(delta, Y):
        return all(tolerances.measure(d, tolerances.scale(Y_i, Y_i)) < NEWTON_SHARE for d, Y_i in zip(delta, Y))
    return is_solved

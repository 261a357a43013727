"""13. Implicit methods: an equation in every step

If a stage depends on itself or on later ones, so that a_ij ≠ 0 for some j ≥ i, the step is no longer a
recipe. It is an equation for all the stages at once:

    h k_i = h f(t + c_i h, Y_i),   Y_i = y + Σ_j a_ij h k_j.             (13.1)

What do we gain? Take y' = λy, and let z = hλ. Write the increments as a column: hk = z (𝟙 y + A hk),
with 𝟙 a column of ones. So hk = z (I − zA)⁻¹ 𝟙 y, and every Runge–Kutta step multiplies y by

    R(z) = 1 + z bᵀ (I − zA)⁻¹ 𝟙,   z = hλ.                              (13.2)

For an explicit method R is a polynomial, and grows without bound. If λ is very negative, this forces a
tiny h even long after the fast decay has died out. Such a problem is called stiff. For an implicit
method R is rational. If |R| ≤ 1 on the whole left half plane, the method is called A-stable. If
R(−∞) = 0 too, it is L-stable: a fast transient is damped out in a single step, however long. A method
that looks the same from both ends of the step, a_ij + a_{s+1−i,s+1−j} = b_j, is symmetric: its step
with −h from y_new leads exactly back to y, by the same k_i in reverse order. No explicit method is
symmetric.

    implicit_euler     1   L-stable             trapezoid   2   A-stable, symmetric
    implicit_midpoint  2   A-stable, symmetric  gauss4, gauss6  4, 6  A-stable, symmetric
    radau3             3   L-stable             radau5      5(3)  L-stable, adaptive
    trbdf2             2(3)  L-stable, adaptive     kvaerno5    5(4)  L-stable, adaptive

Solving (13.1). We use Newton's method. Let ρ_i = h k_i − h f(t + c_i h, Y_i) be what is left over, and
correct the increments by Δ with

    Σ_j ([i = j] I − h a_ij f_y(t + c_i h, Y_i)) Δ_j = −ρ_i,             (13.3)

with [i = j] as in (2.1). If A falls into blocks, we solve block after block, each once the stages
before it are known. A fully implicit method is one block, and solves s d equations together. A
diagonally implicit one (trbdf2, kvaerno5) has a block for each stage, and solves d equations each time.
An explicit stage is a block with a_ii = 0, and needs no equation. Every trajectory of a batch has its
own matrix. (The third stage of kvaerno5 lies at t + 1.23 h, and in the last step this is after the end
of the span. If f does not exist there, take another method.)

It matters where Newton's method starts. We want the solution of (13.1) that tends to y as h tends to 0,
but there may be others. For y' = −y² the implicit Euler method solves y_new = y − h y_new². From y = 1
with h = 2 this has the roots ½ and −1, and from h k = h f(t, y) Newton's method finds −1. Steps of a
given size therefore start from h k_i = 0. They are solved to the last digit (appendix newton.py).

The unknowns are the increments h k_i and not, as is more usual, Y_i − y. To compute h f from a stiff
Y_i afterwards would multiply the rounding error of Y_i by hλ. For the same reason the first stage of
trapezoid, trbdf2 and kvaerno5 is not f(t, y) evaluated anew, but the last stage of the step before. In
a stiff component the increments hλ Y_i are large though the Y_i are not, and so is e in (10.1). On
y' = λy, (13.3) divided the stages by 1 − hγλ, with γ = a_ss. We divide e by it too, which takes this
factor away (Hosea and Shampine 1996):

    (I − hγ f_y) ẽ = e.                                                  (13.4)

In kvaerno5 b̂ is a row of A. There e is a difference of two Y_i, which have been divided already, and we
leave it as it is.

Adaptive steps. Here it is enough to solve (13.1) to a fraction of the tolerance, and most of the work
is in the matrices. So we compute f_y once, at the start of a step, and use it for all stages, all
iterations and the steps that follow. While h stays the same, we also keep the inverse of the matrix of
(13.3). (NumPy cannot keep a factorisation. Up to d = 20 an inverse costs no more than some calls of f.
For d = 100 that of radau5 takes 17 ms, and a program with sparse matrices is the better choice.) With
an old matrix the corrections shrink only by a factor Θ, the rate, each time. A geometric series
estimates what is left:

    Θ = ‖Δ_new‖ / ‖Δ‖,   ‖Δ_later‖ ≤ (Θ + Θ² + …) ‖Δ_new‖ = Θ / (1 − Θ) ‖Δ_new‖.   (13.5)

The norm is that of (10.3). We stop when this estimate is 0.03, and give up when ten iterations cannot
reach it. If we gave up, or if Θ was above 0.03 in the last step, f_y is computed again. If that does
not help, h is halved. A good start saves iterations. We follow the polynomial (11.1) of the last step
beyond its end:

    h k_i ≈ r Σ_j b_j'(1 + c_i r) (h k_j)_last,   r = h / h_last.         (13.6)

The error estimate of radau5. The stages of radau5 define a polynomial u of degree 3, which begins at y
and has the slopes k_i at the three nodes. No other weights of these stages give a result of order 3, so
no b̂ of them alone has order 3. But the slope of u at the start of the step is Σ_j b_j'(0) k_j, and not
quite f(t, y). The difference measures the error. Let b̂ be b with γ times this difference added. Then
(10.1) is

    e = −γ (h f(t, y) − Σ_j b_j'(0) h k_j).                              (13.7)

It is of the size h⁴. As γ we take the real eigenvalue of A (Hairer and Wanner, section IV.8), since
(13.3) divides by 1 − hγλ too. As hλ tends to −∞, e nears −γ hλ y, and so ẽ by (13.4) tends to y. But
R tends to 0, and the step would be rejected for no reason. So in the first step and after a
rejection, f in (13.7) is evaluated at y − ẽ, and the result is filtered again.

If the solution is slow, an L-stable method takes steps much longer than its polynomial (chapter 11) can
follow. On y' = −10⁶ (y − cos t) − sin t from y(0) = 1 to t = 10, with tolerances of 10⁻⁶, radau5 is
right to that at the ends of its seven steps, and wrong by 0.2 between. An adaptive implicit method
therefore ends a step at every output time. A step cut short there does not shorten the next.

Figure 17 shows R, figure 18 a stiff path, and figure 41 what an accurate digit costs.

Next: methods that can be undone exactly without solving anything (chapter 14).
"""

import numpy as np

from .newton import apply, blocks, newton_matrix

MOST_ITERATIONS = 10    # of the simplified method: a step that needs more is better made shorter
SLOW = 0.03             # a rate (13.5) at which a new Jacobian is worth its price
NEWTON_SHARE = 0.03     # of the error tolerance: what Newton may leave in an adaptive step
SAME_H = 1e-6           # how far h may be, relatively, from that of the inverse that is kept
FAR = 10.0              # a step so many times as long as the last one does not start from its polynomial
EPS = np.finfo(float).eps


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


class ImplicitStepper:
    """The steps of an implicit method: step(t, h, y, k), which returns what `explicit_step` does.

    `newton`, a `FullNewton` or a `SimplifiedNewton`, guesses the increments and solves (13.1) for those of
    a block. If it cannot solve a step, the state that is returned is NaN.
    """

    def __init__(self, f, tableau, newton, dtype):
        self.f, self.newton, self.starts_with_velocity = f, newton, tableau.starts_with_velocity
        A, self.b, c = tableau.arrays(dtype)
        self.blocks = [(block, A[block, :block.start], A[block, block], c[block]) for block in blocks(A)]

    def step(self, t, h, y, k):
        for hK in self.newton.guesses(t, h, y, k):
            if self.solve(t, h, y, k, hK):
                return y + self.b.dot(hK), hK[-1] / h, hK
        return np.full_like(y, np.nan), k, hK

    def solve(self, t, h, y, k, hK):
        """Compute the increments hK (s, n) block by block, in place. Returns whether that succeeded."""
        for block, A_before, A, c in self.blocks:
            known, times = y + A_before.dot(hK[:block.start]), [t + c_i * h for c_i in c]
            if block.start == 0 and self.starts_with_velocity:
                hK[0] = h * k
            elif not A.any():
                hK[block] = h * self.f(times[0], known[0])
            elif not self.newton.solve(times, h, known, A, hK[block]):
                return False
        return True


class SimplifiedNewton:
    """Newton's method for adaptive steps. Its Jacobian and its inverse are kept until they are too old.

    f(t, y) and jacobian(t, y), f_y as (B, d, d), are functions of flat states y (n,), n = B d. `h` and `iterations`
    are those of the last attempt. If the steps are to be differentiated, `full` is a `FullNewton`, which then goes on
    to round-off.
    """

    most_iterations = MOST_ITERATIONS

    def __init__(self, f, jacobian, tableau, tolerances, full=None):
        self.full, self.f, self.jacobian, self.tableau, self.tolerances = full, f, jacobian, tableau, tolerances
        self.t = self.t_f_y = self.hK = self.last = None
        self.rate, self.remains = np.inf, 1.0
        self.gamma = tableau.b_hat_0 or tableau.A[-1][-1]

    def guesses(self, t, h, y, k):
        """Yield increments (s, n) to start from, with the Jacobian kept, and again with a new one."""
        if t != self.t:                                      # the step before, if there was one, has been accepted
            self.last = None if self.hK is None else (self.h, self.hK)
        self.is_tried_anew = t == self.t or not self.last
        self.t, self.h, self.y, self.k, self.scale = t, h, y, k, self.tolerances.scale(y, y)
        tries = [True] if self.rate > SLOW else [False, True]
        for is_new in [False] if self.t_f_y == t else tries:           # not twice at one t
            if is_new:
                self.f_y, self.t_f_y, self.inverses, self.rate = self.jacobian(t, y), t, {}, 0.0
            self.iterations, self.hK = 0, self.foreseen().astype(y.dtype)
            yield self.hK
        self.hK = None

    def foreseen(self):
        """The increments (s, n) by the polynomial of the last step, (13.6). In the first step they are 0."""
        s, dense = self.tableau.stages, self.tableau.dense
        if not self.last:
            return np.zeros((s, self.y.size))
        h_last, hK = self.last
        r = self.h / h_last
        if dense is None or len(dense) > s or r > FAR:       # no polynomial of the stages alone: the last increment
            return np.repeat(r * hK[s - 1:s], s, axis=0)
        P, sigma = np.array(dense, float), 1 + r * np.array(self.tableau.c, float)
        m = np.arange(1, P.shape[1] + 1)[:, None]
        return r * (P @ (m * sigma ** (m - 1))).T.dot(hK)                          # (13.6)

    def inverse(self, A):
        """The inverses (B, m d, m d) of the matrices of (13.3), with the same Jacobian in all stages."""
        key, m = A.tobytes(), len(A)
        h, inverse = self.inverses.get(key, (np.inf, None))
        if not abs(self.h - h) <= SAME_H * abs(self.h):
            M = newton_matrix(self.h, A, np.broadcast_to(self.f_y, (m, *self.f_y.shape)))
            try:
                inverse = np.linalg.inv(M)
            except np.linalg.LinAlgError:
                inverse = np.full_like(M, np.nan)
            self.inverses[key] = self.h, inverse
        return inverse

    def solve(self, times, h, known, A, hK):
        """Solve (13.1) for the increments hK (m, n) of a block, in place. Returns whether that succeeded."""
        inverse, h_f, last = self.inverse(A), np.empty_like(hK), None
        remains = self.remains ** 0.8                        # Θ/(1 − Θ) of the step before, trusted less
        for n in range(1, MOST_ITERATIONS + 1):
            Y = known + A.dot(hK)                                                  # (13.1)
            for i, t_i in enumerate(times):
                h_f[i] = h * self.f(t_i, Y[i])                                     # (13.1)
            delta = apply(inverse, h_f - hK)                                       # (13.3)
            hK += delta
            size = max([self.tolerances.measure(delta_i, self.scale) for delta_i in delta])
            if last is not None:
                rate = size / last                                                 # (13.5)
                if not rate < 1 or rate ** (MOST_ITERATIONS - n) / (1 - rate) * size > NEWTON_SHARE:
                    return False
                remains, self.rate = rate / (1 - rate), max(rate, self.rate)       # (13.5)
            if remains * size <= NEWTON_SHARE:                                     # (13.5)
                self.remains, self.iterations = max(remains, EPS), max(n, self.iterations)
                return size < np.inf and (self.full is None or self.full.solve(times, h, known, A, hK))
            last = size
        return False

    def smooth(self, e):
        """The error of the last step, (13.4) or (13.7), from the e (n,) of (10.1)."""
        weight = self.tableau.b_hat_0
        if not weight:
            return e if self.tableau.b_hat in self.tableau.A else self.filtered(e)
        filtered = self.filtered(e - weight * self.h * self.k)                     # (13.7)
        if self.is_tried_anew:
            k = self.f(self.t, (self.y - filtered).astype(self.y.dtype))
            filtered = self.filtered(e - weight * self.h * k)                      # (13.7)
        return filtered

    def filtered(self, e):
        """ẽ from e (n,)."""
        return apply(self.inverse(np.array([[self.gamma]], e.dtype)), e[None])[0]  # (13.4)

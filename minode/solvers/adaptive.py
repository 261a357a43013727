"""10. A method that chooses its own steps

Two results from the same stages, of orders p and p̂, differ by about the error of the
worse one. That difference is the estimate,

    e = Σ_i (b_i − b̂_i) h k_i,                                           (10.1)

and it is measured against what the reader tolerates, component by component, with
an absolute and a relative tolerance,

    sc = atol + rtol · max(|y|, |y_new|),                                (10.2)
    E = ‖e / sc‖ = ( 1/n Σ (e_i / sc_i)² )^{1/2},                        (10.3)

so that a step is good enough when E < 1. The kept result is the better one where
p > p̂, and its error is then smaller than the estimate; the tolerance is of the error
in one step, not of the error at the end. DOP853 has two estimates of orders 5 and 3 and
combines them as E = E₅² / (E₅² + E₃²/100)^{1/2}, which is of order h⁸ (Hairer, Nørsett
and Wanner, section II.10).

The next step. E behaves like C h^q with q = 1 + min(p, p̂), for DOP853 8, so the
largest step with E = 1 is h E^{−1/q}. Taken every time, that rule answers a rising E
only after it has risen, so the change since the last accepted step has a say too, which
makes it a proportional-integral controller (Gustafsson 1991):

    h_new = h · safety · E^{−1/q} (E_prev / E)^β.                        (10.4)

Its constants, and why: safety 0.9, since a rejected step wastes everything in it and
one shorter by a tenth costs a tenth; β = 0.05/q, small, since the estimate is noisy and
a larger β answers the noise; no step but the last is less than 0.2 of the one before,
for an estimate that far off its asymptotic size is no guide, and none more than 10
times. After a rejection E_prev is left out, since the model has just failed, and the
step that then succeeds does not grow. β = 0 is the controller of SciPy, whose accepted
times dopri5 and bosh3 then reproduce.

The first step (Hairer, section II.4) has to come from nothing but y₀ and f. One
that would move y by a hundredth of its size is tried by Euler, and the change of f
along it tells the size of y'':

    h₀ = 0.01 ‖y₀/sc‖ / ‖f₀/sc‖,
    d₂ = ‖(f(t₀ + h₀, y₀ + h₀ f₀) − f₀)/sc‖ / h₀,                        (10.5)
    h₁ = ( 0.01 / max(‖f₀/sc‖, d₂) )^{1/q},   first step = min(100 h₀, h₁).   (10.6)

Where y₀ or f₀ is nearly nothing, below 1e-5 of sc, h₀ is 1e-6; where f₀ and d₂ are nothing, h₁
is 1e-6 too; where f is not finite at the trial state, d₂ is left out; no step is longer than the span.

A step never passes the end of the span (but for the rounding of t + c_i h) and the last
one meets it exactly. E is NaN where y_new is infinite too: measured against infinity, any error
would be nothing. NaN is not less than 1, so such a step is rejected and retried with a fifth;
when a step shrinks to ten spacings of floating-point numbers at t, there is nothing left to
try, and the solve stops with a SolverError.

Next: states between the ends of a step (chapter 11).
"""

import math
from typing import NamedTuple

import numpy as np

from .states import SolverError, as_real_as, as_size


class Controller(NamedTuple):
    """The constants of (10.4); `beta` is in units of 1/q."""

    safety: float = 0.9
    beta: float = 0.05
    min_factor: float = 0.2
    max_factor: float = 10.0

    def factor(self, E, E_prev, q):
        """h_new / h by (10.4), before it is limited; E and E_prev are numbers or arrays."""
        return self.safety * E ** (-1 / q) * (E_prev / E) ** (self.beta / q)       # (10.4)


SCIPY = Controller(beta=0.0)
SMALLEST_E = 1e-10      # an E below this asks for a growth that max_factor forbids anyway
SMALLEST_E_PREV = 1e-4  # a smaller one was luck, or a step cut short, and no base for comparison


class Tolerances(NamedTuple):
    """rtol, atol, and a norm(error, scale) of flat vectors in place of (10.3), or None."""

    rtol: float
    atol: float
    norm: object = None

    def scale(self, size):
        """(10.2), from the larger of |y| and |y_new|."""
        return self.atol + self.rtol * size                                        # (10.2)

    def measure(self, error, scale):
        """The size of an error against its scale: (10.3), or the reader's own norm."""
        if self.norm is not None:
            return as_size(self.norm(error, scale))
        r = error / scale
        return math.sqrt(np.vdot(r, r).real / len(r))                              # (10.3)


def error_estimator(tableau, measure, smooth=None):
    """q, and estimate(hK, scale) -> E from measure(error, scale), for a tableau with b̂.

    `smooth` filters the error before it is measured (chapter 13).
    """
    e, e_3 = tableau.errors
    q = 1 + min(tableau.order, tableau.embedded_order)
    if smooth is not None:
        return q, lambda hK, scale: measure(smooth(np.dot(e, hK)), scale)          # (10.1)
    if e_3 is None:
        return q, lambda hK, scale: measure(np.dot(e, hK), scale)                  # (10.1)
    q = tableau.order

    def estimate(hK, scale):
        E_5, E_3 = measure(np.dot(e, hK), scale), measure(np.dot(e_3, hK), scale)  # (10.1)
        both = E_5 * E_5 + 0.01 * E_3 * E_3
        return E_5 * E_5 / np.sqrt(both + (both == 0))
    return q, estimate


def first_step(f, t, y, k, sign, span, q, tolerances, measure):
    """Hairer's starting step (10.5), (10.6), positive; calls f once.

    In a batch y is (d, m), and t, span and what `measure` gives are (m,).
    """
    scale = tolerances.scale(np.abs(y))
    d_0, d_1 = measure(y, scale), measure(k, scale)
    tiny = (d_0 < 1e-5) | (d_1 < 1e-5)
    h_0 = np.minimum(np.where(tiny, 1e-6, 0.01 * d_0 / np.maximum(d_1, 1e-5)), span)
    h = sign * h_0
    k_1 = np.asarray(f(t + h, (y + h * k).astype(y.dtype)))
    d_2 = measure(k_1 - k, scale) / h_0                                            # (10.5)
    d = np.maximum(d_1, np.where(np.isfinite(d_2), d_2, 0.0))      # a trial that failed says nothing of y''
    h_1 = np.where(d <= 1e-15, 1e-6, (0.01 / np.maximum(d, 1e-15)) ** (1 / q))     # (10.6)
    return np.minimum(np.minimum(100 * h_0, h_1), span)                            # (10.6)


def adaptive_steps(problem, tableau, stepper, tolerances, stats, controller=Controller(), h=None,
                   max_steps=math.inf):
    """The accepted steps of a method with b̂, from the first time to the last.

    `stepper` is what explicit_stepper or implicit_stepper returns, `h` the size of the first step
    to try, (10.6) where it is None. Raises SolverError on step size underflow, and after max_steps attempts.
    """
    f, y, t, end = problem.f, problem.y, float(problem.t[0]), float(problem.t[-1])
    sign = math.copysign(1.0, end - t)
    hK, step, *smooth = stepper
    q, estimate = error_estimator(tableau, tolerances.measure, *smooth)
    stages = hK[:tableau.stages]
    if t != end:
        k = np.array(problem.first(t, y))
        stats.n_f += 1
        if not np.isfinite(k).all():
            raise SolverError(f"f is not finite at the initial state, t = {t}", t)
        if h is None:
            h = float(first_step(f, t, y, k, sign, abs(end - t), q, tolerances, tolerances.measure))
            stats.n_f += 1
    size, zero, E_prev, rejected = np.abs(y), np.zeros_like(y), None, False
    while t != end:
        smallest = 10 * abs(math.nextafter(t, sign * math.inf) - t)
        if stats.n_steps >= max_steps:
            raise SolverError(f"stopped at t = {t}: max_steps = {max_steps} were not enough", t)
        if rejected and not h >= smallest:
            raise SolverError(underflow(t, smallest, tableau), t)
        t_new = t + sign * max(h, smallest)
        if sign * (t_new - end) > 0:
            t_new = end
        h = abs(t_new - t)
        stats.n_steps += 1
        y_new, k_new = step(t, t_new - t, y, k)
        size_new = np.abs(y_new)
        is_finite = y_new.dot(zero) == 0         # 0 times infinity or NaN is NaN
        E = estimate(stages, tolerances.scale(np.maximum(size, size_new))) if is_finite else math.nan
        if not E < 1:
            stats.n_rejected += 1
            rejected = True
            h *= max(controller.min_factor, controller.factor(E, E, q))
            continue
        if not tableau.is_fsal:
            k_new = as_real_as(y.dtype, f(t_new, y_new))
            np.multiply(t_new - t, k_new, out=hK[-1])
            stats.n_f += 1
        k_new = np.array(k_new)                  # f may write its next answer into the same array
        stats.n_accepted += 1
        yield t, t_new - t, y, t_new, y_new, hK
        E = max(E, SMALLEST_E)
        factor = controller.factor(E, E if rejected or E_prev is None else E_prev, q)
        h *= min(1.0 if rejected else controller.max_factor, factor)
        t, y, k, size = t_new, y_new, k_new, size_new
        E_prev, rejected = max(E, SMALLEST_E_PREV), False


def underflow(t, smallest, tableau):
    """What is said when the step size is used up at t."""
    suspect = "the problem stiff" if tableau.is_explicit else "Newton does not converge"
    return (f"step size underflow at t = {t}: no step longer than {smallest:.1e} meets the tolerance. "
            f"The solution may blow up there, f may be NaN, or {suspect}")

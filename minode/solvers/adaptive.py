"""10. A method that chooses its own steps

A table with b and b̂ gives two results from the same stages, of orders p and p̂. They differ by
about the error of the less accurate one. This difference is the error estimate,

    e = Σ_i (b_i − b̂_i) h k_i.                                           (10.1)

It is compared with what the caller tolerates. Each component has an absolute and a relative
tolerance, which may differ from those of the others. Together they make its scale sc_i:

    sc_i = atol_i + rtol_i · max(|y_i|, |y_new,i|),                      (10.2)
    E = ‖e / sc‖ = ( 1/n Σ (e_i / sc_i)² )^{1/2}.                        (10.3)

A step is accepted if E < 1. If p > p̂, the result that is kept is the more accurate one, and its
error is usually smaller than the estimate. The tolerance is for the error of one step, not for
the error at the end. DOP853 has two estimates, with the norms E₅ ~ h⁶ and E₃ ~ h⁴, and combines
them as E = E₅² / (E₅² + E₃²/100)^{1/2}, which falls like h⁸ (Hairer, Nørsett and Wanner, section
II.10).

The next step. E behaves like C h^q with q = 1 + min(p, p̂), and q = 8 for DOP853. If C stays as it
is, the step with E = 1 is h E^{−1/q}. Used alone, this rule reacts to a growing error only
afterwards. We therefore also use how E has changed since the last accepted step, which makes it a
proportional-integral controller (Gustafsson 1991; many codes lower the exponent 1/q as well):

    h_new = h · safety · E^{−1/q} (E_prev / E)^{β/q}.                    (10.4)

safety is 0.9, because a rejected step wastes all its work, while a step shorter by a tenth costs only
a tenth more. β is 0.05 and no larger, because E is noisy and a larger β would follow the noise.
h_new / h is kept between 0.2 and 10, because an E far from 1 tells little about the right step. Only
the last step may be shorter, to end at the last time. After a rejection we ignore E_prev, because the
error model has just failed, and h does not grow after the next accepted step. With β = 0 this is the
controller of SciPy: dopri5 and bosh3 then reproduce its times.

The first step (Hairer, section II.4) can use only y₀ and f. We try an Euler step that would move
y by a hundredth of its size. The change of f along it tells the size of y'':

    h₀ = 0.01 ‖y₀/sc‖ / ‖f₀/sc‖,
    d₂ = ‖(f(t₀ + h₀, y₀ + h₀ f₀) − f₀)/sc‖ / h₀,                        (10.5)
    h₁ = ( 0.01 / max(‖f₀/sc‖, d₂) )^{1/q},   first step = min(100 h₀, h₁).   (10.6)

If ‖y₀/sc‖ or ‖f₀/sc‖ is below 1e-5, h₀ is 1e-6. If f₀ and d₂ are zero, h₁ is 1e-6 too. If f is not
finite at the trial state, d₂ is left out. No step is longer than the span, from the first time to
the last, nor longer than max_step. Give max_step if something happens so fast that a long step
could pass over it unnoticed.

An implicit method (chapter 13) takes few steps, and a rejected one is expensive. If the problem is
stiff, the number C in E = C h^q may grow a hundredfold from one step to the next. Its controller
assumes that C = E/h^q will grow by the same factor once more, to C² / C_prev. If h_new with
C² / C_prev · h_new^q = 1 is shorter, it is taken (Gustafsson 1994):

    h_new = h · safety · E^{−1/q} min(1, h / h_prev · (E_prev / E)^{1/q}).   (10.7)

If Newton's method took n of at most m iterations, safety is multiplied by (2m + 1) / (2m + n). If it
did not converge, h is halved. A growth of less than a fifth is not worth a new matrix, so h then
stays as it is (Hairer and Wanner, section IV.8).

A step never passes the end of the span (t + c_i h may, by rounding or because c_i > 1, as in
kvaerno5), and the last one ends on it exactly. An implicit method ends a step on every output time in
this way (chapter 13). If y_new or E is infinite or NaN, E counts as 1e10: the step is rejected and
tried again with a fifth of its length (a half, if the method is implicit). When a rejected step would
have to be shorter than ten spacings of floating-point numbers at t, the solve stops with a
SolverError.

Figures 13 and 14 show (10.1) to (10.4), figure 23 shows them at a kink, and figure 41 shows (10.7).
Figures 16, 20 and 24 show what depends on the norm (10.3).
Next: states between the ends of a step (chapter 11).
"""

import math
from typing import NamedTuple

import numpy as np

from ..inputs import size_by
from .states import SolverError, is_finite


class Controller(NamedTuple):
    """The constants of (10.4)."""

    safety: float = 0.9
    beta: float = 0.05
    min_factor: float = 0.2
    max_factor: float = 10.0

    def factor(self, E, E_prev, q):
        """h_new / h by (10.4), before it is limited; E and E_prev are numbers or arrays."""
        return self.safety * E ** (-1 / q) * (E_prev / E) ** (self.beta / q)       # (10.4)


class PredictiveController:
    """(10.7) with the constants of a `Controller`, for steps that `newton` solves. It remembers the last step."""

    def __init__(self, newton, constants):
        self.newton, self.constants, self.last = newton, constants, None
        self.min_factor, self.max_factor = constants.min_factor, constants.max_factor

    def factor(self, E, E_prev, q):
        """h_new / h after an attempt with the error E, before it is limited."""
        h, n, m = abs(self.newton.h), self.newton.iterations, self.newton.most_iterations
        factor = self.constants.safety * (2 * m + 1) / (2 * m + n) * E ** (-1 / q)  # (10.7)
        if E >= 1:
            return factor if E < LARGEST_E else HALF         # Newton's method did not converge
        if self.last is not None:
            h_prev, E_prev = self.last
            factor *= min(1.0, h / h_prev * (E_prev / E) ** (1 / q))               # (10.7)
        self.last = h, max(E, SMALLEST_E_PREV)
        return 1.0 if 1 <= factor < LEAST_GROWTH else factor


SCIPY = Controller(beta=0.0)
HALF, LEAST_GROWTH = 0.5, 1.2           # of h, with an implicit method
SMALLEST_E, LARGEST_E = 1e-10, 1e10     # beyond these (10.4) asks for a change that its limits forbid anyway
SMALLEST_E_PREV = 1e-4                  # a smaller one was luck, or a step cut short, and no base for comparison


class Tolerances(NamedTuple):
    """rtol and atol, numbers or arrays like y, and a norm(error, scale) to use for (10.3), or None."""

    rtol: object
    atol: object
    norm: object = None

    def scale(self, y, y_new):
        """(10.2), an array like y."""
        return self.atol + self.rtol * np.maximum(np.abs(y), np.abs(y_new))        # (10.2)

    def of(self, ids):
        """The tolerances of the trajectories `ids` (chapter 12): (B, d) arrays are cut and made flat."""
        if isinstance(self.rtol, float) and isinstance(self.atol, float):
            return self
        rtol, atol = (x if isinstance(x, float) else x[ids].ravel() for x in (self.rtol, self.atol))
        return self._replace(rtol=rtol, atol=atol)

    def measure(self, error, scale):
        """The size of an error against its scale: (10.3), or the reader's own norm."""
        if self.norm is not None:
            return size_by(self.norm, error, scale)
        r = error / scale
        return math.sqrt(np.vdot(r, r).real / len(r))                              # (10.3)


def error_size(tableau, hK, scale, measure, smooth=None):
    """E of a step from its increments hK (s, n). `smooth` filters the error before it is measured (chapter 13)."""
    b_minus_b_hat, b_minus_b_hat_3 = tableau.errors
    e = b_minus_b_hat.dot(hK)                                                      # (10.1)
    E = measure(e if smooth is None else smooth(e), scale)
    if b_minus_b_hat_3 is None:
        return E
    E_3 = measure(b_minus_b_hat_3.dot(hK), scale)                                  # (10.1)
    both = E * E + 0.01 * E_3 * E_3
    return E * E / np.sqrt(both + (both == 0))               # E₅ and E₃ of the docstring; 0 if both are 0


def first_step(f, t, y, k, sign, span, q, tolerances, measure, each=lambda size: size):
    """Hairer's starting step (10.5), (10.6), positive; calls f once.

    For many trajectories (chapter 12) y is (B, d), t, span and what `measure` gives are (B,), and `each` makes a
    function of numbers one of arrays.
    """
    scale = tolerances.scale(y, y)
    d_0, d_1 = measure(y, scale), measure(k, scale)
    h_0 = each(trial_size)(d_0, d_1, span)
    h = sign * h_0
    k_1 = f(t + h, (y + (h * k.T).T).astype(y.dtype))        # at y + h k; h may be (B,)
    return each(first_size)(h_0, d_1, measure(k_1 - k, scale), span, q)


def trial_size(d_0, d_1, span):
    """h_0, from the sizes of y_0 and f_0."""
    h_0 = 0.01 * d_0 / d_1 if d_0 >= 1e-5 and d_1 >= 1e-5 else 1e-6                # (10.5)
    return float(min(h_0, span))                             # in float64, like all times


def first_size(h_0, d_1, change, span, q):
    """The first step, from the sizes of f_0 and of its change along h_0."""
    d_2 = change / h_0 if h_0 > 0 else 0.0                                         # (10.5)
    d = max(d_1, d_2 if math.isfinite(d_2) else 0.0)
    h_1 = (0.01 / d) ** (1 / q) if d > 1e-15 else 1e-6                             # (10.6)
    return float(min(100 * h_0, h_1, span))                                        # (10.6)


def adaptive_steps(problem, tableau, step, tolerances, controller=Controller(), h=None, max_steps=math.inf,
                   smooth=None, stops=None, max_step=math.inf):
    """The accepted steps (t, h, y, t_new, y_new, hK) of a method with b̂, from the first time to the last.

    step(t, h, y, k) is that of chapter 9 or 13. `h` is the size of the first step to try, by (10.6) if it is None,
    and `max_step` is the largest size. `stops` are the times at which a step must end, the last one by default. A
    step that is cut short there does not shorten the steps after it. Raises SolverError if the step size
    underflows, and after max_steps attempts.
    """
    f, y, stats, (t, end) = problem.f, problem.y, problem.stats, problem.t[[0, -1]].tolist()
    sign, q = math.copysign(1.0, end - t), tableau.error_order
    if t != end:
        k = f(t, y)
        if not np.isfinite(k).all():
            raise SolverError(f"f is not finite at the initial state, t = {t}", t)
        if h is None:
            h = first_step(f, t, y, k, sign, min(abs(end - t), max_step), q, tolerances, tolerances.measure)
        h = min(h, max_step)
    E_prev, is_retry, stop, stops = None, False, t, iter([end] if stops is None else stops)
    while t != end:
        while t == stop:                                     # the next time at which a step must end
            stop = next(stops)
        smallest = 10 * abs(math.nextafter(t, sign * math.inf) - t)
        check_step(t, h, smallest, is_retry, stats.n_steps, max_steps, tableau)
        t_new, wanted = t + sign * max(h, smallest), h
        if sign * (t_new - stop) > 0:
            t_new = stop
        h = abs(t_new - t)
        stats.n_steps += 1
        y_new, k_new, hK = step(t, t_new - t, y, k)
        E = LARGEST_E
        if is_finite(y_new):
            E = bounded(error_size(tableau, hK, tolerances.scale(y, y_new), tolerances.measure, smooth))
        if E >= 1:
            stats.n_rejected, is_retry = stats.n_rejected + 1, True
            h *= max(controller.min_factor, controller.factor(E, E, q))
            continue
        stats.n_accepted += 1
        if not tableau.is_fsal:
            k_new = f(t_new, y_new)
            hK = np.concatenate([hK, (t_new - t) * k_new[None]], dtype=y.dtype)    # for Hermite's cubic
        yield t, t_new - t, y, t_new, y_new, hK
        ignores_E_prev = is_retry or E_prev is None
        factor = controller.factor(E, E if ignores_E_prev else E_prev, q)    # E/E = 1: no second factor
        h = min(h * min(1.0 if is_retry else controller.max_factor, factor), max_step)
        h = max(h, wanted) if t_new == stop else h
        t, y, k, E_prev, is_retry = t_new, y_new, k_new, max(E, SMALLEST_E_PREV), False


def bounded(E):
    """E between SMALLEST_E and LARGEST_E; NaN counts as the largest."""
    return float(min(max(E, SMALLEST_E), LARGEST_E)) if E == E else LARGEST_E


def check_step(t, h, smallest, is_retry, n_steps, max_steps, tableau):
    """SolverError if there have been max_steps attempts, or if h is too small to try again."""
    if n_steps >= max_steps:
        raise SolverError(f"stopped at t = {t}: max_steps = {max_steps} were not enough", t)
    if is_retry and not h >= smallest:
        raise SolverError(underflow(t, smallest, tableau), t)


def underflow(t, smallest, tableau):
    """The message if the step size underflows at t."""
    suspect = "the problem stiff" if tableau.is_explicit else "Newton does not converge"
    return (f"step size underflow at t = {t}: no step longer than {smallest:.1e} meets the tolerance. "
            f"The solution may blow up there, f may be NaN, or {suspect}")

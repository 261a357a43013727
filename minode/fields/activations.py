"""3. Activations

A network alternates linear maps with a nonlinearity σ applied to each component,

    x = σ(z),     dx = σ'(z) dz.                                         (3.1)

A chapter on first derivatives needs of it the value, the slope, and one number
more, the largest slope L_σ; second ones (4.8) need σ'', the `curvature`. By the
mean value theorem

    |σ(u) − σ(v)| ≤ L_σ |u − v|   with   L_σ = sup |σ'|,                 (3.2)

so σ is Lipschitz, and chapter 4 turns these constants into a bound for the
whole network, which is what existence and uniqueness of solutions rest on.

    name         σ(z)                    σ'(z)                     L_σ
    identity     z                       1                         1
    tanh         tanh z                  1 − σ²                    1
    sigmoid      1 / (1 + e⁻ᶻ)           σ (1 − σ)                 1/4
    softplus     ln(1 + eᶻ)              sigmoid(z)                1
    swish        z s, s = sigmoid(z)     s + z s (1 − s)           1.0998…
    sin          sin z                   cos z                     1
    relu         z for z > 0, else 0     1 for z > 0, else 0       1
    leaky_relu   z for z > 0, else z/100 1 for z > 0, else 1/100   1

The slopes of tanh, sigmoid and swish reuse the value just computed, so a slope
is a function of both z and x = σ(z); and for all but sin and swish x alone tells it (softplus
has σ' = 1 − e⁻ˣ), so that z need not be kept. swish is steepest at z ≈ 2.3994, where
its second derivative vanishes: z tanh(z/2) = 2.

At the kink. relu and leaky_relu have no derivative at z = 0. They return the
slope from the left there, 0 and 1/100, as PyTorch does; that is a choice, and
no gradient is right at that point. Off the kink they are smooth, but a
trajectory that crosses it sees f_y jump: f is Lipschitz, solutions exist, and
still no method keeps an order above two across it. Finite differences that
straddle it compare nothing with nothing.

Two traps in floating point. e⁻ᶻ overflows for z below −709, so sigmoid is
computed as (1 + tanh(z/2))/2 and softplus as max(z, 0) + ln(1 + e^{−|z|}). (So
sigmoid is right to the spacing of numbers at 1, not of its own: sigmoid(−40), which
is 4e-18, comes out 0.) And |z|, max and comparisons are not analytic: for complex z,
which complex-step differentiation feeds in, each formula here decides by the real
part alone.

Next: layers of them (chapter 4).
"""

from typing import Callable, NamedTuple

import numpy as np


class Activation(NamedTuple):
    """A nonlinearity: `value(z, out)`, `slope(z, x, out)` with x = value(z), `curvature(z, x)`, and L_σ.

    `out` is an array for the answer, or None for a new one. `reads` tells which of "zx" slope and
    curvature look at; where it is empty, σ' is 1.
    """

    value: Callable
    slope: Callable
    curvature: Callable
    lipschitz: float
    reads: str = "x"


def _sigmoid(z, out=None):
    half = np.tanh(np.multiply(z, 0.5, out), out)
    half += 1.0
    return np.multiply(half, 0.5, out)


def _softplus(z, out=None):
    positive = z.real > 0.0
    return np.add(np.where(positive, z, 0.0), np.log1p(np.exp(np.where(positive, -z, z))), out)


def _softplus_slope(z, x, out=None):
    return np.negative(np.expm1(np.negative(x, out), out), out)                    # (3.1)


def _swish(z, out=None):
    return np.multiply(z, _sigmoid(z), out)


def _swish_slope(z, x, out=None):
    s = _sigmoid(z)
    return np.add(s, x * (1.0 - s), out)                                           # (3.1)


def _swish_curvature(z, x):
    s = _sigmoid(z)
    return s * (1.0 - s) * (2.0 + z * (1.0 - 2.0 * s))


def _one(z, x, out=None):
    out = np.empty_like(x) if out is None else out
    out[...] = 1.0
    return out


def _times_one_minus(z, x, out=None):
    return np.multiply(x, np.subtract(1.0, x, out), out)                           # (3.1)


def _one_minus_square(z, x, out=None):
    return np.subtract(1.0, np.multiply(x, x, out), out)                           # (3.1)


def _leaky(slope):
    """z where its real part is positive, slope · z elsewhere; slope 0 is relu."""
    factor = np.array(slope)                         # quicker to multiply with than a number is

    def value(z, out=None):
        if not slope and z.dtype.kind != "c":
            return np.maximum(z, 0.0, out=out)       # not of z and 0 z, which is NaN where z is infinite
        out = np.multiply(z, factor, np.empty_like(z) if out is None else out)
        if z.dtype.kind != "c":
            return np.maximum(z, out, out=out)       # of the two the larger
        np.copyto(out, z, where=z.real > 0.0)
        return out

    def slope_at(z, x, out=None):
        return np.maximum(x.real > 0.0, slope, out=np.empty_like(x) if out is None else out)
    return Activation(value, slope_at, lambda z, x: np.zeros_like(x), 1.0)


ACTIVATIONS = {                                                                    # (3.1) (3.2)
    "identity": Activation(np.positive, _one, lambda z, x: np.zeros_like(x), 1.0, reads=""),
    "tanh": Activation(np.tanh, _one_minus_square,
                       lambda z, x: -2.0 * x * (1.0 - x * x), 1.0),
    "sigmoid": Activation(_sigmoid, _times_one_minus,
                          lambda z, x: x * (1.0 - x) * (1.0 - 2.0 * x), 0.25),
    "softplus": Activation(_softplus, _softplus_slope, lambda z, x: np.exp(-x) * -np.expm1(-x), 1.0),
    "swish": Activation(_swish, _swish_slope, _swish_curvature, 1.0998393201288669, reads="zx"),
    "sin": Activation(np.sin, lambda z, x, out=None: np.cos(z, out), lambda z, x: -x, 1.0, reads="zx"),
    "relu": _leaky(0.0),
    "leaky_relu": _leaky(0.01),
}

"""3. Activations

A network alternates linear maps with a nonlinearity σ applied to each component,

    x = σ(z),     dx = σ'(z) dz.                                         (3.1)

That is all a chapter on derivatives needs of it: the value, the slope, and one
number more, the largest slope L_σ. By the mean value theorem

    |σ(u) − σ(v)| ≤ L_σ |u − v|   with   L_σ = sup |σ'|,                 (3.2)

so σ is Lipschitz, and chapter 4 turns these constants into a bound for the
whole network, which is what existence and uniqueness of solutions rest on.

    name         σ(z)                    σ'(z)                     L_σ
    identity     z                       1                         1
    tanh         tanh z                  1 − σ²                    1
    sigmoid      1 / (1 + e⁻ᶻ)           σ (1 − σ)                 1/4
    softplus     ln(1 + eᶻ)              sigmoid(z)                1
    swish        z sigmoid(z)            s + z s (1 − s)           1.0998…
    sin          sin z                   cos z                     1
    relu         z for z > 0, else 0     1 for z > 0, else 0       1
    leaky_relu   z for z > 0, else z/100 1 for z > 0, else 1/100   1

The slopes of tanh, sigmoid and swish reuse the value just computed, so a slope
is a function of both z and x = σ(z). swish is steepest at z ≈ 2.3994, where
its second derivative vanishes: z tanh(z/2) = 2.

At the kink. relu and leaky_relu have no derivative at z = 0. They return the
slope from the left there, 0 and 1/100, as PyTorch does; that is a choice, and
no gradient is right at that point. Off the kink they are smooth, but a
trajectory that crosses it sees f_y jump: f is Lipschitz, solutions exist, and
still no method keeps an order above two across it. Finite differences that
straddle it compare nothing with nothing.

Two traps in floating point. e⁻ᶻ overflows for z below −709, so sigmoid is
computed as (1 + tanh(z/2))/2 and softplus as max(z, 0) + ln(1 + e^{−|z|}). And
|z|, max and comparisons are not analytic: for complex z, which complex-step
differentiation feeds in, each formula here decides by the real part alone.

Next: layers of them (chapter 4).
"""

from typing import Callable, NamedTuple

import numpy as np


class Activation(NamedTuple):
    """A nonlinearity: `value(z)`, its derivative `slope(z, x)` with x = value(z), and L_σ."""

    value: Callable
    slope: Callable
    lipschitz: float


def _sigmoid(z):
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _softplus(z):
    positive = z.real > 0
    return np.where(positive, z, 0.0) + np.log1p(np.exp(np.where(positive, -z, z)))


def _swish_slope(z, x):
    s = _sigmoid(z)
    return s + x * (1.0 - s)


def _leaky(slope):
    """z where its real part is positive, slope · z elsewhere; slope 0 is relu."""
    return Activation(
        value=lambda z: np.where(z.real > 0, z, slope * z),
        slope=lambda z, x: np.where(z.real > 0, 1.0, slope).astype(z.dtype),
        lipschitz=1.0,
    )


ACTIVATIONS = {                                                                    # (3.1) (3.2)
    "identity": Activation(lambda z: z, lambda z, x: np.ones_like(z), 1.0),
    "tanh": Activation(np.tanh, lambda z, x: 1.0 - x * x, 1.0),
    "sigmoid": Activation(_sigmoid, lambda z, x: x * (1.0 - x), 0.25),
    "softplus": Activation(_softplus, lambda z, x: _sigmoid(z), 1.0),
    "swish": Activation(lambda z: z * _sigmoid(z), _swish_slope, 1.0998393194500453),
    "sin": Activation(np.sin, lambda z, x: np.cos(z), 1.0),
    "relu": _leaky(0.0),
    "leaky_relu": _leaky(0.01),
}

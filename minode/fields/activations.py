"""3. Activations

A network alternates linear maps with a nonlinearity σ, applied to each component,

    x = σ(z),     dx = σ'(z) dz.                                         (3.1)

Chapter 4 needs three things of σ: its value, its slope σ', and its largest slope L_σ.
Second derivatives (4.8) also need σ'', the curvature. By the mean value theorem

    |σ(u) − σ(v)| ≤ L_σ |u − v|   with   L_σ = sup |σ'|.                 (3.2)

A function with such a bound is called Lipschitz. Chapter 4 turns these constants into a
bound for the whole network, and chapter 6 needs that bound: with it there is exactly one
solution. The slopes of tanh, sigmoid, softplus and swish reuse the value x = σ(z) that was
just computed, so a slope is a function of both z and x:

    name         x = σ(z)                σ'(z)                     largest at   L_σ
    identity     z                       1                         any z        1
    tanh         tanh z                  1 − x²                    0            1
    sigmoid      1 / (1 + e⁻ᶻ)           x (1 − x)                 0            1/4
    softplus     ln(1 + eᶻ)              1 − e⁻ˣ                   ∞            1
    swish        z s, s = sigmoid(z)     s + x (1 − s)             2.3994       1.0998
    sin          sin z                   cos z                     0            1
    relu         z for z > 0, else 0     1 for x > 0, else 0       z > 0        1
    leaky_relu   z for z > 0, else z/100 1 for x > 0, else 1/100   z > 0        1

The slope of softplus approaches 1 and never reaches it. That of swish is largest at a zero of its
derivative, the curvature s r (2 + z (r − s)) with r = 1 − s. Since r − s = −tanh(z/2), this is
where z tanh(z/2) = 2.

Kinks. relu and leaky_relu have no derivative at z = 0. We use the slope on the left there, 0 or
1/100, as PyTorch does. This is a choice: no slope is right at that point. Everywhere else they
are smooth. If a trajectory crosses z = 0, f_y jumps, and so does y''. f is still Lipschitz, so
the solution exists, but a step of length h across the kink makes an error of the size of h²,
however accurate the method is elsewhere. A step that ends on the kink loses nothing. And do not
check a derivative with a finite difference across a kink: it mixes two slopes.

Floating point. In float64 e⁻ᶻ overflows for z below −709. So sigmoid keeps z within ±708, and
softplus is computed as max(z, 0) + ln(1 + e^{−min(|z|, 708)}). For z above −708 their values have
all their digits, however small they are, and so have the curvatures of softplus and, away from
its zeros, of swish. The slopes of tanh and sigmoid lose theirs if |x| is near 1, because they are
computed from the rounded x. Their absolute error there is about 1e-16. That of tanh is 0 for |z|
above 20, that of sigmoid for z above 40; the true slopes are below 2e-17.

For complex-step differentiation (chapter 22) z is complex. |z|, max and comparisons are not
analytic, so every formula here decides by the real part of z alone.

Figure 23 shows what a kink costs.
Next: layers of these functions (chapter 4).
"""

from typing import Callable, NamedTuple

import numpy as np


class Activation(NamedTuple):
    """A nonlinearity: `value(z)`, `slope(z, x)`, `curvature(z, x)` with x = value(z)."""

    value: Callable
    slope: Callable
    curvature: Callable
    steepest: float                         # a z at which the slope is largest
    slope_reads_z: bool = False             # if not, x is enough, and chapter 4 does not save z

    @property
    def lipschitz(self):
        """L_σ = sup |σ'|. Here it is the largest slope: no negative slope is larger in size."""
        z = np.array(self.steepest)
        return float(self.slope(z, self.value(z)))                                 # (3.2)


# -- the rows of the table: x = σ(z), σ'(z) and σ''(z) --------------------------------------


def identity(z):
    return +z                                                                      # (3.1)


def identity_slope(z, x):
    return np.ones_like(x)                                                         # (3.1)


def no_curvature(z, x):
    return np.zeros_like(x)


def tanh(z):
    return np.tanh(z)                                                              # (3.1)


def tanh_slope(z, x):
    return 1.0 - x * x                                                             # (3.1)


def tanh_curvature(z, x):
    return -2.0 * x * (1.0 - x * x)


def sigmoid(z):
    largest = 87.0 if z.real.dtype == np.float32 else 708.0
    z = np.minimum(np.maximum(z, -largest), largest)         # no overflow, and no underflow
    return 1.0 / (1.0 + np.exp(-z))                                                # (3.1)


def sigmoid_slope(z, x):
    return x * (1.0 - x)                                                           # (3.1)


def sigmoid_curvature(z, x):
    return x * (1.0 - x) * (1.0 - 2.0 * x)


def softplus(z):
    positive = z.real > 0.0
    least = -87.0 if z.real.dtype == np.float32 else -708.0  # no underflow
    return np.where(positive, z, 0.0) + np.log1p(np.exp(np.maximum(np.where(positive, -z, z), least)))  # (3.1)


def softplus_slope(z, x):
    return -np.expm1(-x)                                                           # (3.1)


def softplus_curvature(z, x):
    return np.exp(-x) * -np.expm1(-x)


def swish(z):
    return z * sigmoid(z)                                                          # (3.1)


def swish_slope(z, x):
    s = sigmoid(z)
    return s + x * (1.0 - s)                                                       # (3.1)


def swish_curvature(z, x):
    s, r = sigmoid(z), sigmoid(-z)                           # r = 1 − s, with all its digits
    return s * r * (2.0 + z * (r - s))


def sin(z):
    return np.sin(z)                                                               # (3.1)


def sin_slope(z, x):
    return np.cos(z)                                                               # (3.1)


def sin_curvature(z, x):
    return -x


def relu(z):
    return larger(z, 0.0)                                                          # (3.1)


def relu_slope(z, x):
    return np.where(x.real > 0.0, 1.0, 0.0).astype(x.dtype)                        # (3.1)


def leaky_relu(z):
    return larger(z, 0.01 * z)                                                     # (3.1)


def leaky_relu_slope(z, x):
    return np.where(x.real > 0.0, 1.0, 0.01).astype(x.dtype)                       # (3.1)


def larger(z, left):
    """The larger of z and `left`, the line on the left of the kink. If z is complex, its real part decides."""
    return np.maximum(z, left) if z.dtype.kind != "c" else np.where(z.real > 0.0, z, left)


ACTIVATIONS = {
    "identity": Activation(identity, identity_slope, no_curvature, 0.0),
    "tanh": Activation(tanh, tanh_slope, tanh_curvature, 0.0),
    "sigmoid": Activation(sigmoid, sigmoid_slope, sigmoid_curvature, 0.0),
    "softplus": Activation(softplus, softplus_slope, softplus_curvature, np.inf),
    "swish": Activation(swish, swish_slope, swish_curvature, 2.3993572805154677, slope_reads_z=True),
    "sin": Activation(sin, sin_slope, sin_curvature, 0.0, slope_reads_z=True),
    "relu": Activation(relu, relu_slope, no_curvature, 1.0),
    "leaky_relu": Activation(leaky_relu, leaky_relu_slope, no_curvature, 1.0),
}

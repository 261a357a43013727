"""25. Telling digits apart

A neural ODE as the middle of a classifier: a map into the space of the states, the flow there,
and a map out to one number z_c for each class c. With θ = (θ_in, θ_f, θ_out),

    y₀ = x W_inᵀ + b_in,   y' = f(t, y, θ_f),   z = y(T) W_outᵀ + b_out.   (25.1)

A flow keeps the dimension and never tears or glues; the maps at its ends change the dimension.

The loss. Probabilities from z, and minus the logarithm of that of the right class c*, as a mean
over the batch:

    p_c = exp z_c / Σ_j exp z_j,     L = −(1/B) Σ ln p_c*.               (25.2)

The trap: exp z overflows from z = 710, and ln p is −∞ where p underflows. Take out the largest first,

    ln p_c = z_c − M − ln Σ_j exp(z_j − M),   M = max_j z_j,             (25.3)

and no exponent is positive, the sum is at least 1. Since ∂ ln Σ_j exp z_j / ∂z_c = p_c,

    ∂L/∂z_c = (p_c − [c = c*]) / B:                                      (25.4)

what was said too loudly or too softly. M is no part of the derivative, as it drops out of (25.3).

Back through the maps. For z = x Wᵀ + b and the cotangent g of z, (1.3) is

    g W  to x,     Σ gᵀ x  to W,     Σ g  to b,                          (25.5)

the sums over the batch. So g of (25.4) becomes the cotangent of y(T), `pullback` takes it to y₀
and θ_f, and (25.5) again to θ_in.

The residual network. Let the block be r(y, θ), and θ a different one for each of n layers:

    y_{i+1} = y_i + r(y_i, θ_i),     f(t, y, θ) = r(y, θ_⌊t⌋).           (25.6)

The first is Euler's method with h = 1 for the second, a field whose parameters change at every
whole t: so it needs no code of its own. The classifier below is a residual network with the
field `Layered(r, n)` (of the appendix, layers.py), t = (0, n), Euler and step_size = 1, and its
discrete gradient is backpropagation; an ODE-Net is what is left when all layers share one θ and
a solver chooses the steps.

Next: what a flow does to a density (chapter 26).
"""

import numpy as np

from ..fields.base import VectorField, as_generator
from ..gradients.pullback import value_and_gradients
from ..gradients.tangent import as_field
from ..solvers.solve import odeint
from ..solvers.states import as_count, as_real, as_real_or_complex, as_times


class Affine(VectorField):
    """The map x Wᵀ + b from `dim` to `dim_out` numbers, θ = (W, b) with W row by row; it has no clock.

    >>> Affine(2, 1)(0.0, np.array([3.0, 4.0]), np.array([1.0, 2.0, 0.5]))
    array([11.5])
    """

    def __init__(self, dim, dim_out):
        self.dim, self.dim_out, self.n_params = dim, dim_out, dim_out * (dim + 1)

    def parts(self, theta):
        """W (dim_out, dim) and b (dim_out,), views into θ."""
        return theta[:-self.dim_out].reshape(self.dim_out, self.dim), theta[-self.dim_out:]

    def init(self, rng):
        """A random θ, uniform in ±1/√dim."""
        return as_generator(rng).uniform(-1.0, 1.0, self.n_params) * self.dim**-0.5

    def __call__(self, t, y, theta):
        W, b = self.parts(theta)
        return y @ W.T + b                                                         # (25.1)

    def jacobian(self, t, y, theta):
        return np.broadcast_to(self.parts(theta)[0], (*y.shape[:-1], self.dim_out, self.dim))

    def param_jacobian(self, t, y, theta):
        unit = np.eye(self.dim_out)
        by_W = (unit[:, :, None] * y[..., None, None, :]).reshape(*y.shape[:-1], self.dim_out, -1)
        return np.concatenate([by_W, np.broadcast_to(unit, (*y.shape[:-1], *unit.shape))], axis=-1)

    def time_derivative(self, t, y, theta):
        return np.zeros((*y.shape[:-1], self.dim_out))

    def jvp(self, t, y, theta, w, dtheta):
        return w @ self.parts(theta)[0].T + self(t, y, dtheta)

    def vjp(self, t, y, theta, a):
        rows = a.reshape(-1, self.dim_out)
        dW = rows.T @ y.reshape(-1, self.dim)                                      # (25.5)
        return a @ self.parts(theta)[0], np.concatenate([dW.ravel(), rows.sum(axis=0)])  # (25.5)


def cross_entropy(z, labels):
    """The loss (25.2) of logits z (B, K) for the right classes (B,), and ∂L/∂z (B, K), (25.4).

    ValueError or TypeError where z is not finite, or a label no class, from 0 to K − 1.

    >>> value, dL_dz = cross_entropy(np.array([[1000.0, 0.0]]), np.array([1]))
    >>> float(value), dL_dz
    (1000.0, array([[ 1., -1.]]))
    """
    z = as_real_or_complex("z", z)
    labels, rows = as_labels(labels, z.shape), np.arange(len(z))
    shifted = z - z.real.max(axis=-1, keepdims=True)                               # (25.3)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))          # (25.3)
    dL_dz = np.exp(log_p)                                                          # (25.2)
    dL_dz[rows, labels] -= 1.0                                                     # (25.4)
    return np.mean(-log_p[rows, labels]), dL_dz / len(z)                             # (25.2) (25.4)


def as_labels(labels, shape):
    """The labels as an array, if they are classes of the rows of logits of this shape (B, K)."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or len(shape) != 2 or labels.shape != shape[:1] or not labels.size:
        raise ValueError(f"labels must be a whole number for each row of z {shape}, not {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise ValueError(f"labels must be from 0 to {shape[1] - 1}, not from {labels.min()} to {labels.max()}")
    return labels


class Classifier:
    """A map in, the flow of `field` along t, a map out (25.1); θ = (θ_in, θ_f, θ_out) flat.

    Of x (B, n_in) it makes logits (B, n_out); t (N,) and `solver`, the keywords of `solve`, are those of
    the flow. ValueError or TypeError for unusable input, of which t and solver are tried on a solve of
    no steps before anything is trained.

    >>> from minode import MLP
    >>> model = Classifier(64, MLP([8, 16, 8], ["tanh", "identity"]), 10, method="rk4")
    >>> model.n_params, model.logits(np.zeros((5, 64)), model.init(np.random.default_rng(0))).shape
    (890, (5, 10))
    """

    def __init__(self, n_in, field, n_out, t=(0.0, 1.0), **solver):
        self.field = as_field(field, "field")
        self.dim, self.dim_out = as_count("n_in", n_in), as_count("n_out", n_out)
        if n_out == 1:
            raise ValueError("n_out must be at least 2 classes, not 1: one class is always right")
        self.inward, self.outward = Affine(n_in, field.dim), Affine(field.dim, n_out)
        self.t, self.solver = as_times(t), solver
        odeint(lambda t, y: y, np.ones((1, field.dim)), self.t[:1], **solver)      # no steps, for its checks
        self.pieces = self.inward, self.field, self.outward
        self.n_params = sum(piece.n_params for piece in self.pieces)

    def init(self, rng):
        """A random θ, each piece's own."""
        return np.concatenate([piece.init(rng) for piece in self.pieces])

    def split(self, theta):
        """θ_in, θ_f and θ_out, views into θ (p,)."""
        if np.shape(theta) != (self.n_params,):
            raise ValueError(f"theta must have shape ({self.n_params},), not {np.shape(theta)}")
        return np.split(theta, np.cumsum([piece.n_params for piece in self.pieces])[:-1])

    def rows(self, x):
        """x as an array (B, n_in)."""
        x = as_real("x", x)
        if x.ndim != 2 or x.shape[1] != self.dim or not len(x):
            raise ValueError(f"x must have shape (B, {self.dim}), not {x.shape}")
        return x

    def logits(self, x, theta):
        """z (B, n_out) for x (B, n_in), by (25.1)."""
        x, theta = self.rows(x), as_real_or_complex("theta", theta)
        theta_in, theta_f, theta_out = self.split(theta)
        y0 = self.inward(0.0, x, theta_in)                                         # (25.1)
        ys = odeint(self.field.bind(theta_f, y0), y0, self.t, **self.solver)       # (25.1)
        return self.outward(0.0, ys[-1], theta_out)                                # (25.1)

    def value_and_gradient(self, x, labels, theta, gradient="discrete"):
        """The loss (25.2) of a batch, x (B, n_in) and labels (B,), and dL/dθ (p,) by the route `gradient`."""
        x, theta = self.rows(x), as_real("theta", theta, (self.n_params,))
        labels = as_labels(labels, (len(x), self.dim_out))
        theta_in, theta_f, theta_out = self.split(theta)
        dL_dtheta = np.zeros(self.n_params)
        by_in, by_f, by_out = self.split(dL_dtheta)

        def loss(ys):
            value, dL_dz = cross_entropy(self.outward(0.0, ys[-1], theta_out), labels)
            dL_dys = np.zeros_like(ys)
            dL_dys[-1], by_out[:] = self.outward.vjp(0.0, ys[-1], theta_out, dL_dz)  # (25.5)
            return value, dL_dys
        y0 = self.inward(0.0, x, theta_in)                                         # (25.1)
        value, gradients = value_and_gradients(
            loss, self.field, y0, self.t, theta_f, gradient=gradient, times=False, **self.solver)
        by_f[:] = gradients.theta
        by_in[:] = self.inward.vjp(0.0, x, theta_in, gradients.y0)[1]              # (25.5)
        return value, dL_dtheta

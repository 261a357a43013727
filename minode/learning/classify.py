"""25. Telling digits apart

Here a neural ODE is the middle of a classifier. An affine map takes an image x to a state y₀, a
flow carries the state from t = 0 to T, and a second affine map takes it to one number z_c for
each class c (the logits). With θ = (θ_in, θ_f, θ_out),

    y₀ = x W_inᵀ + b_in,   y' = f(t, y, θ_f),   z = y(T) W_outᵀ + b_out.   (25.1)

A flow keeps the dimension, and it never tears or glues (chapter 32). The maps at its ends
change the dimension.

The loss. The numbers z are turned into probabilities p_c (softmax). The loss is minus the
logarithm of the probability of the right class c*, as a mean over the B images of a batch (the
cross-entropy):

    p_c = exp z_c / Σ_j exp z_j,     L = −(1/B) Σ ln p_c*.               (25.2)

In floating point exp z overflows from z = 710 on, and ln p is −∞ if p underflows. So we factor
out the largest term. Then no exponent is positive. What remains is the logarithm of 1 plus the
sum of the other terms, and log1p computes it with all its digits even if that sum is tiny:

    ln Σ_j exp z_j = M + ln(1 + Σ_{j≠m} exp(z_j − M)),   M = z_m = max_j z_j.   (25.3)

Since ∂ ln Σ_j exp z_j / ∂z_c = p_c,

    ∂L/∂z_c = (p_c − [c = c*]) / B,                                      (25.4)

where [c = c*] is 1 for the right class and 0 for the others. So the gradient is the error of
the probabilities. M is treated as a constant here, because the right side of (25.3) does not
depend on it. A loss near 0 keeps its digits if M is subtracted from all z before. p_c − 1 in
(25.4) keeps its digits if it is computed from ln p_c by expm1.

Back through the maps. Let z = x Wᵀ + b, and let g be the cotangent of z. By (1.3) it
contributes

    g W  to x,     Σ gᵀ x  to W,     Σ g  to b,                          (25.5)

with sums over the batch. So the cotangent (25.4) of z gives that of y(T). Chapter 20 takes it back
to y₀ and θ_f, and (25.5) takes that of y₀ back to θ_in.

The residual network. It has n layers of one block r(y, θ), each with a θ of its own. Compare
its layers, on the left, with the field on the right:

    y_{i+1} = y_i + r(y_i, θ_i),     f(t, y, θ) = r(y, θ_⌊t⌋).           (25.6)

A layer is a step of Euler's method with h = 1 for this field, whose parameters change at every
whole t. So the classifier below is a residual network if its field is `Layered(r, n)` (appendix
layers.py), t = (0, n), and the method is Euler's with step_size = 1. Its discrete gradient is
then backpropagation. It is an ODE-Net if all layers share one θ and a solver chooses the steps.

Figure 28 shows both as classifiers of digits, and figure 29 shows the ten classes on their way
through an ODE-Net.

Next: what a flow does to a density (chapter 26).
"""

import numpy as np

from ..fields.base import VectorField
from ..gradients.pullback import finite, solve_and_way_back
from ..inputs import (as_count, as_field, as_generator, as_images, as_labels, as_n_classes, as_real,
                      as_real_or_complex, as_times)
from ..solvers.solve import odeint
from .layers import Layered


class Affine(VectorField):
    """The map x Wᵀ + b from `dim` to `dim_out` numbers, θ = (W, b), W row by row. It does not depend on t.

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
        W, _ = self.parts(theta)
        return np.broadcast_to(W, (*y.shape[:-1], self.dim_out, self.dim))

    def param_jacobian(self, t, y, theta):
        identity = np.eye(self.dim_out)
        by_W = np.einsum("ij,...k->...ijk", identity, y).reshape(*y.shape[:-1], self.dim_out, -1)
        by_b = np.broadcast_to(identity, (*y.shape[:-1], self.dim_out, self.dim_out))
        return np.concatenate([by_W, by_b], axis=-1)

    def time_derivative(self, t, y, theta):
        return np.zeros((*y.shape[:-1], self.dim_out))

    def jvp(self, t, y, theta, w, dtheta):
        (W, _), (dW, db) = self.parts(theta), self.parts(dtheta)
        return w @ W.T + y @ dW.T + db

    def vjp(self, t, y, theta, a):
        W, _ = self.parts(theta)
        rows_a, rows_y = a.reshape(-1, self.dim_out), y.reshape(-1, self.dim)
        to_y, to_W, to_b = a @ W, rows_a.T @ rows_y, rows_a.sum(axis=0)            # (25.5)
        return to_y, np.concatenate([to_W.ravel(), to_b])


def log_sum_exp(z):
    """ln Σ_j exp z_j along the last axis, which becomes one of length 1 (25.3).

    >>> log_sum_exp(np.array([1000.0, 1000.0])) - 1000.0            # ln 2
    array([0.69314718])
    """
    m = z.real.argmax(axis=-1)[..., None]                                          # (25.3)
    M = np.take_along_axis(z.real, m, axis=-1)                                     # (25.3)
    with np.errstate(under="ignore"):
        terms = np.exp(z - M)
    of_m = np.take_along_axis(terms, m, axis=-1)             # 1, if z is real
    np.put_along_axis(terms, m, of_m - 1.0, axis=-1)
    return M + np.log1p(terms.sum(axis=-1, keepdims=True))                         # (25.3)


def cross_entropy(z, labels):
    """The loss (25.2) of logits z (B, K) for the right classes (B,), and ∂L/∂z (B, K), (25.4).

    ValueError or TypeError if z is not finite, or a label is no class from 0 to K − 1.

    >>> value, dL_dz = cross_entropy(np.array([[1000.0, 0.0]]), np.array([1]))
    >>> float(value), dL_dz
    (1000.0, array([[ 1., -1.]]))
    """
    z = as_real_or_complex("z", z)
    B, right = len(z), as_labels(labels, z.shape)
    with np.errstate(all="ignore"):                          # exp may underflow; L is infinite if z is near it
        z = z - z.real.max(axis=-1, keepdims=True)           # this changes no p
        log_p = z - log_sum_exp(z)                                                 # (25.2)
        value = -np.mean(log_p[np.arange(B), right])                               # (25.2)
        is_right = np.arange(z.shape[1]) == np.array(right)[:, None]
        return value, np.where(is_right, np.expm1(log_p), np.exp(log_p)) / B       # (25.4)


def residual_network(block, y, thetas):
    """y after all layers of (25.6) for y (..., d) and a θ_i for each layer, thetas (n, p).

    >>> from minode import Linear
    >>> thetas = np.array([[1.0], [2.0]])                       # y ← y + y, and y ← y + 2 y
    >>> residual_network(Linear(1), np.array([1.0]), thetas)
    array([6.])
    >>> odeint(Layered(Linear(1), 2), [1.0], [0, 2], thetas.ravel(), method="euler", step_size=1.0)[-1]
    array([6.])
    """
    for i, theta_i in enumerate(thetas):
        y = y + block(float(i), y, theta_i)                                        # (25.6)
    return y


class Classifier:
    """A map in, the flow of `field` along t, a map out (25.1); θ = (θ_in, θ_f, θ_out) flat.

    It maps x (B, n_in) to logits (B, n_out). t (N,) and `solver`, the keywords of `solve`, are those of
    the flow. ValueError or TypeError for unusable input. A solve without steps checks t and solver at
    once, before anything is trained.

    >>> from minode import MLP
    >>> model = Classifier(64, MLP([8, 16, 8], ["tanh", "identity"]), 10, method="rk4")
    >>> model.n_params, model.logits(np.zeros((5, 64)), model.init(np.random.default_rng(0))).shape
    (890, (5, 10))
    """

    def __init__(self, n_in, field, n_out, t=(0.0, 1.0), **solver):
        self.field = as_field(field, "field")
        self.dim, self.dim_out = as_count("n_in", n_in), as_n_classes(n_out)
        self.inward, self.outward = Affine(self.dim, field.dim), Affine(field.dim, self.dim_out)
        self.t, self.solver = as_times(t), solver
        odeint(lambda t, y: y, np.ones((1, field.dim)), self.t[:1], **solver)      # no steps: only to check
        self.pieces = self.inward, self.field, self.outward
        self.n_params = sum(piece.n_params for piece in self.pieces)

    def init(self, rng):
        """A random θ, drawn for each piece as that piece does."""
        return np.concatenate([piece.init(rng) for piece in self.pieces])

    def split(self, theta):
        """θ_in, θ_f and θ_out, views into θ (p,)."""
        if theta.shape != (self.n_params,):
            raise ValueError(f"theta must have shape ({self.n_params},), not {theta.shape}")
        return np.split(theta, np.cumsum([piece.n_params for piece in self.pieces])[:-1])

    def logits(self, x, theta):
        """z (B, n_out) for x (B, n_in), by (25.1)."""
        x = as_images(x, self.dim)
        theta_in, theta_f, theta_out = self.split(as_real_or_complex("theta", theta))
        with np.errstate(all="ignore"):                      # an overflow is refused as z
            y0 = self.inward(0.0, x, theta_in)                                     # (25.1)
            ys = odeint(self.field, y0, self.t, theta_f, **self.solver)            # (25.1)
            return as_real_or_complex("z", self.outward(0.0, ys[-1], theta_out))   # (25.1)

    def value_and_gradient(self, x, labels, theta, gradient="discrete"):
        """The loss (25.2) of a batch, x (B, n_in) and labels (B,), and dL/dθ (p,) by the route `gradient`."""
        x, theta = as_images(x, self.dim), as_real("theta", theta)
        labels = as_labels(labels, (len(x), self.dim_out))
        theta_in, theta_f, theta_out = self.split(theta)

        with np.errstate(all="ignore"):                      # an overflow is refused as z, or is a SolverError
            y0 = self.inward(0.0, x, theta_in)                                     # (25.1)
            y_T, back = self.flow(y0, theta_f, gradient)                           # (25.1)
            z = self.outward(0.0, y_T, theta_out)                                  # (25.1)
            value, dL_dz = cross_entropy(z, labels)
            dL_dy_T, dL_dtheta_out = self.outward.vjp(0.0, y_T, theta_out, dL_dz)  # (25.5)
            dL_dy0, dL_dtheta_f = back(dL_dy_T)
            _, dL_dtheta_in = self.inward.vjp(0.0, x, theta_in, dL_dy0)            # (25.5)
        return value, np.concatenate([dL_dtheta_in, dL_dtheta_f, dL_dtheta_out], dtype=theta.dtype)

    def flow(self, y0, theta_f, gradient):
        """y(T) (B, d), and the way back of chapter 20 from there: dL/dy(T) -> (dL/dy₀, dL/dθ_f)."""
        solution, route_back = solve_and_way_back(self.field, y0, self.t, theta_f, gradient, None, self.solver)

        def back(dL_dy_T):
            dL_dys = np.zeros_like(solution.ys)
            dL_dys[-1] = dL_dy_T
            a, b = route_back(dL_dys, np.zeros(theta_f.shape))
            return finite((a + dL_dys[0], b), solution)
        return solution.ys[-1], back

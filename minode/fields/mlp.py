"""4. The multilayer perceptron

The field of a neural ODE is a network. Its input is x₀ = [t, y], or x₀ = y if the field is
autonomous (chapter 2). It passes x₀ through m layers,

    z_l = x_{l−1} W_lᵀ + b_l,     x_l = σ_l(z_l),     f = x_m.           (4.1)

θ holds W₁, b₁, W₂, b₂, …, each W row by row. For each state of the batch, layer l turns n_{l−1}
numbers into n_l. ⊙ is the product of two arrays entry by entry, and I the identity matrix:

    x_l, z_l, dx_l, dz_l, g_l, δ_l   (..., n_l)        W_l   (n_l, n_{l−1}), as in PyTorch
    G_l, D_l of (4.5)                (d, ..., n_l)     b_l   (n_l,)

Forward mode. Move y by dy, t by dt and θ by (dW_l, db_l). Layer by layer, the product rule gives

    dz_l = dx_{l−1} W_lᵀ + x_{l−1} dW_lᵀ + db_l,     dx_l = σ_l'(z_l) ⊙ dz_l.     (4.2)

If dt = 0, dy = w and (dW_l, db_l) is Δθ, then dx_m is f_y w + f_θ Δθ. If only dt = 1, it is f_t.

Reverse mode, or backpropagation. Let g_l be the cotangent of x_l for the number a · f: a change dx_l
changes a · f by g_l · dx_l. At the output f = x_m, so g_m = a. From the last layer to the first,
insert (4.2) into g_l · dx_l and collect what multiplies dx_{l−1}, dW_l and db_l:

    δ_l = g_l ⊙ σ_l'(z_l),     g_{l−1} = δ_l W_l,                        (4.3)
    cotangent of W_l:  Σ δ_lᵀ x_{l−1},     of b_l:  Σ δ_l.               (4.4)

The sums run over the batch. g₀ is [a · f_t, a f_y]. Neither mode ever forms f_y or f_θ. Each costs as
much as two to four evaluations of f, whatever d and p are.

Implicit methods and small systems (chapters 13 and 18) need the matrices themselves. For these,
start (4.3) from the d rows of I at once, instead of from a:

    G_m = I,     D_l = G_l ⊙ σ_l'(z_l),     G_{l−1} = D_l W_l.           (4.5)

Each row of G_l is multiplied by the slopes entry by entry, and G₀ = [f_t, f_y]. For one state,
and the i-th row of I as a, δ_l is the i-th row of D_l. So (4.4) gives the i-th row of f_θ:

    ∂f_i/∂(W_l)_jk = (D_l)_ij (x_{l−1})_k,     ∂f_i/∂(b_l)_j = (D_l)_ij.     (4.6)

A Lipschitz bound. W_l stretches no vector by more than its largest singular value ‖W_l‖₂. So, by
(3.2), x_l changes at most L_σl ‖W_l‖₂ times as much as x_{l−1}. For all layers and all u and v,

    |f(t, u) − f(t, v)| ≤ Π_l L_σl ‖W_l‖₂ · |u − v|,                     (4.7)

and of W₁ only the columns that multiply y count. So a network with Lipschitz activations is Lipschitz
in y everywhere. Its solutions exist for all time and are unique (chapter 6 shows what else can happen).

Second derivatives. Move y and θ, and hold a fixed. Let dg_l be the change of g_l, with dg_m = 0, and
take dz_l and dx_l from (4.2). By the product rule, the quantities of (4.3) and (4.4) change by

    dδ_l = dg_l ⊙ σ_l' + g_l ⊙ σ_l'' ⊙ dz_l,     dg_{l−1} = dδ_l W_l + δ_l dW_l,
    change for W_l:  Σ (dδ_lᵀ x_{l−1} + δ_lᵀ dx_{l−1}),     for b_l:  Σ dδ_l.     (4.8)

Figures 4, 23, 31, 32, 33 and 34 show (4.1) at work, and figure 11 shows the bound (4.7).
Next: how any state becomes the vector that a solver works on (chapter 5).

Exercises. 1. Derive from (4.2) and (4.3) that a · dx_m is g₀ · dx₀ plus each cotangent of (4.4) times
its dW_l or db_l. 2. Break this line: in `lipschitz` keep all columns of W₁. Is (4.7) still true?
"""

import numpy as np

from ..inputs import as_architecture, as_clock, as_factor, as_generator, as_real, as_states, as_theta
from .activations import ACTIVATIONS
from .base import VectorField
from .workspace import keep


class MLP(VectorField):
    """A multilayer perceptron (4.1) as a vector field, its derivatives by hand.

    `widths` lists the layers' sizes from input to output, `activations` one name per layer: tanh softplus
    sigmoid relu leaky_relu swish sin identity. `widths[0] == widths[-1] + 1` puts t in front of y;
    `widths[0] == widths[-1]` is autonomous; anything else is a ValueError. Called as f(t, y, theta) with
    y (..., d) and theta (p,). Rumelhart, Hinton and Williams (1986) for (4.3).

    >>> f = MLP([4, 5, 3], ["leaky_relu", "tanh"])         # reads [t, y₁, y₂, y₃]
    >>> f.dim, f.n_params
    (3, 43)
    >>> theta = f.init(np.random.default_rng(0))
    >>> f(0.5, np.zeros((7, 3)), theta).shape              # a batch of seven
    (7, 3)
    """

    def __init__(self, widths, activations):
        self.widths, self.names = as_architecture(widths, activations, ACTIVATIONS)
        self.dim = self.widths[-1]
        self.sees_time = self.widths[0] == self.dim + 1
        self.shapes = list(zip(self.widths[1:], self.widths[:-1]))     # of W_l: (fan_out, fan_in)
        self.n_params = sum(n * m + n for n, m in self.shapes)
        self.sigmas = [ACTIVATIONS[name] for name in self.names]
        self.remembered = None, None                       # the θ that was met last, and its stack

    def __getstate__(self):
        return self.__dict__ | {"remembered": (None, None)}

    def __repr__(self):
        return f"MLP({self.widths}, {self.names})"

    def init(self, rng):
        """A random θ (p,): every W and b uniform in ±1/√fan_in, as PyTorch's Linear (rng: a Generator)."""
        bounds = [np.full(n * m + n, m**-0.5) for n, m in self.shapes]
        return as_generator(rng).uniform(-1.0, 1.0, self.n_params) * np.concatenate(bounds)

    def layers(self, theta):
        """[(W_1, b_1), ...] as views into theta, W_l of shape (fan_out, fan_in)."""
        theta, layers, start = as_theta(theta, self), [], 0
        for fan_out, fan_in in self.shapes:
            bias = start + fan_out * fan_in
            layers.append((theta[start:bias].reshape(fan_out, fan_in), theta[bias:bias + fan_out]))
            start = bias + fan_out
        return layers

    def stack(self, theta):
        """[(W_1, b_1, σ_1), ...]. The last is remembered: views, which follow a θ that is changed in place."""
        last_theta, stack = self.remembered
        if last_theta is not theta:
            stack = [(W, b, sigma) for (W, b), sigma in zip(self.layers(theta), self.sigmas)]
            if type(theta) is np.ndarray:
                self.remembered = theta, stack
        return stack

    def network_input(self, t, y):
        """x₀ in the precision of y: [t, y], or y. A batch becomes one axis, (N, n₀); a single state stays (n₀,)."""
        x = y
        if self.sees_time:
            t = t if isinstance(t, float) else as_clock(t, y)
            x = np.empty(y.shape[:-1] + (self.dim + 1,), y.dtype if isinstance(t, float) else t.dtype)
            x[..., 0], x[..., 1:] = t, y
        return x if x.ndim <= 2 else x.reshape(-1, x.shape[-1])

    def forward(self, t, y, theta):
        """f(t, y, θ), and for the way back (x_{l−1}, z_l, x_l) of each layer."""
        if type(y) is not np.ndarray or y.shape[-1:] != (self.dim,) or y.dtype.kind not in "fc":
            y = as_states(y, self)
        x, saved = self.network_input(t, y), []
        for W, b, sigma in self.stack(theta):
            z = x.dot(W.T)                                                         # (4.1)
            z += b                                                                 # (4.1)
            x_next = sigma.value(z)                                                # (4.1)
            saved.append((x, z, x_next))
            x = x_next
        return (x if x.ndim == y.ndim else x.reshape(y.shape)), saved

    def backward(self, saved, theta, a):
        """a f_y (..., d) and Σ a f_θ (p,) at the point where `forward` saved these."""
        g, parts = a.reshape(-1, self.dim), []
        ones = np.ones(len(g), g.dtype)                      # as a row: both products of (4.4) sum over the batch
        for (x, z, x_next), (W, b, sigma) in zip(as_batch(saved)[::-1], self.stack(theta)[::-1]):
            delta = g * sigma.slope(z, x_next)                                     # (4.3)
            by_W, by_b = delta.T.dot(x), ones.dot(delta)                           # (4.4)
            g = delta.dot(W)                                                       # (4.3)
            parts = [by_W.ravel(), by_b, *parts]
        return g[:, -self.dim:].reshape(a.shape), np.concatenate(parts)            # without the column of t

    def __call__(self, t, y, theta):
        return self.forward(t, y, theta)[0]

    def vjp(self, t, y, theta, a):
        value, saved = self.forward(t, y, theta)
        return self.backward(saved, theta, as_factor("a", a, value.shape))

    def value_and_vjp(self, t, y, theta):
        """f, and its vjp at this point. For the way back x_l of each layer is saved, and z_l if σ_l' reads z_l."""
        value, whole = self.forward(t, y, theta)
        x, saved = keep(whole[0][0]), []
        for (_, z, x_next), sigma in zip(whole, self.sigmas):
            x_next = keep(x_next)
            saved.append((x, keep(z) if sigma.slope_reads_z else None, x_next))
            x = x_next
        return value, lambda a: self.backward(saved, theta, as_factor("a", a, value.shape))

    def jvp(self, t, y, theta, w, dtheta):
        value, saved = self.forward(t, y, theta)
        w, dtheta = as_factor("w", w, value.shape), as_factor("dtheta", dtheta, (self.n_params,))
        return self.tangents(saved, theta, w, dtheta)[-1][0].reshape(value.shape)

    def time_derivative(self, t, y, theta):
        if not self.sees_time and type(y) is np.ndarray and y.shape[-1:] == (self.dim,) and y.dtype.kind in "fc":
            return np.zeros(y.shape, np.result_type(y, self.stack(theta)[0][0]))     # f_t = 0 in y's and θ's dtype
        value, saved = self.forward(t, y, theta)
        dx = self.network_input(1.0, np.zeros_like(value))
        for (x, z, x_next), (W, b, sigma) in zip(saved, self.stack(theta)):
            dx = sigma.slope(z, x_next) * dx.dot(W.T)                              # (4.2)
        return dx.reshape(value.shape)

    def tangents(self, saved, theta, dy, dtheta):
        """(dx_{l−1}, dz_l) of each layer along (dy, dθ), and followed by (dx_m, None)."""
        dx, tangents = self.network_input(0.0, dy), []
        for (x, z, x_next), (W, b, sigma), (dW, db) in zip(saved, self.stack(theta), self.layers(dtheta)):
            dz = dx.dot(W.T) + x.dot(dW.T) + db                                    # (4.2)
            tangents.append((dx, dz))
            dx = sigma.slope(z, x_next) * dz                                       # (4.2)
        return [*tangents, (dx, None)]

    def matrices(self, t, y, theta):
        """D_l (d, N, n_l) and x_{l−1} (N, n_{l−1}) of each layer, last first, and G₀ (d, N, n₀), for N states."""
        _, saved = self.forward(t, y, theta)
        parts, I = [], np.eye(self.dim, dtype=saved[0][0].dtype)
        G = I[:, None]                                                             # (4.5)
        for (x, z, x_next), (W, b, sigma) in zip(as_batch(saved)[::-1], self.stack(theta)[::-1]):
            D = G * sigma.slope(z, x_next)                                         # (4.5)
            G = D @ W                                                              # (4.5)
            parts.append((D, x))
        return parts, G

    def jacobian(self, t, y, theta):
        _, G = self.matrices(t, y, theta)
        return np.moveaxis(G[..., -self.dim:], 0, 1).reshape(*np.shape(y), self.dim)

    def param_jacobian(self, t, y, theta):
        blocks = []
        for D, x in self.matrices(t, y, theta)[0]:
            by_W = D[:, :, :, None] * x[:, None, :]                                # (4.6)
            by_b = D                                                               # (4.6)
            blocks = [by_W.reshape(*D.shape[:2], D.shape[2] * x.shape[1]), by_b, *blocks]
        return np.moveaxis(np.concatenate(blocks, axis=-1), 0, 1).reshape(*np.shape(y), self.n_params)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        value, saved = self.forward(t, y, theta)
        a, w = as_factor("a", a, value.shape), as_factor("w", w, value.shape)
        dtheta = as_factor("dtheta", dtheta, (self.n_params,))
        tangents = self.tangents(saved, theta, w, dtheta)[:-1]
        g, parts = a.reshape(-1, self.dim), []
        dg = np.zeros_like(g)
        layers = [*zip(as_batch(saved), as_batch(tangents), self.stack(theta), self.layers(dtheta))]
        for (x, z, x_next), (dx, dz), (W, b, sigma), (dW, db) in layers[::-1]:
            slope, curvature = sigma.slope(z, x_next), sigma.curvature(z, x_next)
            delta, d_delta = g * slope, dg * slope + g * curvature * dz            # (4.8)
            by_W, by_b = d_delta.T.dot(x) + delta.T.dot(dx), d_delta.sum(axis=0)   # (4.8)
            g, dg = delta.dot(W), d_delta.dot(W) + delta.dot(dW)                   # (4.8)
            parts = [by_W.ravel(), by_b, *parts]
        return dg[:, -self.dim:].reshape(a.shape), np.concatenate(parts)

    def lipschitz(self, theta):
        """The bound (4.7): a number K with |f(t, u) − f(t, v)| ≤ K |u − v| for all t, u, v.

        >>> f = MLP([2, 2], ["tanh"])
        >>> float(f.lipschitz(np.array([3.0, 0.0, 0.0, 4.0, 0.0, 0.0])))
        4.0
        """
        matrices = [W for W, _ in self.layers(as_real("theta", theta))]
        matrices[0] = matrices[0][:, -self.dim:]                                   # the columns of y
        slopes = [sigma.lipschitz for sigma in self.sigmas]
        return np.prod(slopes) * np.prod([np.linalg.norm(W, 2) for W in matrices])  # (4.7)


def as_batch(saved):
    """The arrays of each layer as rows: those of a single state become a batch of one."""
    return saved if saved[0][0].ndim > 1 else [[x if x is None else x[None] for x in layer] for layer in saved]

"""4. The multilayer perceptron

The field of a neural ODE is a network. It reads x₀ = [t, y], or y alone where
it is autonomous, and passes it through m layers,

    z_l = x_{l−1} W_lᵀ + b_l,     x_l = σ_l(z_l),     f = x_m.           (4.1)

x is a row, W_l is (fan_out, fan_in) as in PyTorch, and θ is W₁, b₁, W₂, b₂, …,
each W row by row. The first column of W₁ belongs to t: write x₀ W₁ᵀ as
t τ + y V, with τ that column as a row and V the rest transposed, and no
concatenation is needed.

Forward mode. Let y move along dy, t along dt, θ along dW, db; apply the product
rule to (4.1), first layer first:

    dz_l = dx_{l−1} W_lᵀ + x_{l−1} dW_lᵀ + db_l,     dx_l = σ_l'(z_l) dz_l.  (4.2)

With dy = w, dW and db from Δθ, and dt = 0 this is the product f_y w + f_θ Δθ.
With dt = 1 and nothing else it is f_t.

Reverse mode. Start from a row g_m = a and ask, last layer first, with what
weights a · f depends on each layer. A change of x_l changes a · f by g_l · dx_l.
Insert (4.2), collect what multiplies dx_{l−1}, dW_l and db_l:

    δ_l = g_l σ_l'(z_l),     g_{l−1} = δ_l W_l,                          (4.3)
    cotangent of W_l:  Σ δ_lᵀ x_{l−1},   of b_l:  Σ δ_l.                 (4.4)

The products are of rows with matrices; the sums run over the batch. What
arrives at the input is [a · f_t, a f_y]. Neither mode ever forms f_y or f_θ:
each costs about as much as two evaluations of f, whatever d and p are.

The matrices themselves, where they are wanted (an implicit method, a figure),
are (4.3) started from the d rows of the identity at once instead of from a,

    D_l = G_l σ_l'(z_l),  G_{l−1} = D_l W_l,  G_m = 1,                   (4.5)

whose end G₀ = [f_t, f_y]; and since the W_l and b_l of one output row do not mix
with those of another, D_l and x_{l−1} are all that f_θ is made of:

    ∂f_i/∂(W_l)_jk = (D_l)_ij (x_{l−1})_k,   ∂f_i/∂(b_l)_j = (D_l)_ij.   (4.6)

Lipschitz. A product of matrices shrinks or stretches no vector by more than the
product of their largest singular values, so (3.2) gives for all u, v

    |f(t, u) − f(t, v)| ≤ Π_l L_σl ‖W_l‖₂ · |u − v|,                     (4.7)

with only the columns of W₁ that multiply y. A network with Lipschitz activations
is therefore Lipschitz in y everywhere, not just near y₀: its solutions exist for
all time and are unique (chapter 6 shows what happens without that).

Next: how states of any shape become the vectors a solver works on (chapter 5).
"""

import numpy as np

from .activations import ACTIVATIONS
from .base import VectorField


class MLP(VectorField):
    """A multilayer perceptron as a vector field, its derivatives by hand.

    `widths` lists the layers' sizes from input to output and `activations` one
    name per layer. `widths[0] == widths[-1] + 1` puts t in front of y;
    `widths[0] == widths[-1]` is autonomous; anything else is a ValueError.

    >>> f = MLP([4, 5, 3], ["leaky_relu", "tanh"])         # the model of the source text
    >>> f.dim, f.n_params
    (3, 43)
    >>> theta = f.init(np.random.default_rng(0))
    >>> f(0.5, np.zeros((7, 3)), theta).shape              # a batch of seven
    (7, 3)
    """

    def __init__(self, widths, activations):
        self.widths, self.names = _check_architecture(widths, activations)
        self.dim = self.widths[-1]
        self.sees_time = self.widths[0] == self.dim + 1
        self.shapes = list(zip(self.widths[1:], self.widths[:-1]))
        self.n_params = sum(n * m + n for n, m in self.shapes)
        self.sigmas = [ACTIVATIONS[name] for name in self.names]

    def __repr__(self):
        return f"MLP({self.widths}, {self.names})"

    def init(self, rng):
        """A random θ: every W and b uniform in ±1/√fan_in, as PyTorch's Linear (rng: a Generator)."""
        bounds = [np.full(n * m + n, m**-0.5) for n, m in self.shapes]
        return rng.uniform(-1.0, 1.0, self.n_params) * np.concatenate(bounds)

    def layers(self, theta):
        """[(W_1, b_1), ...] as views into theta, W_l of shape (fan_out, fan_in)."""
        if theta.shape != (self.n_params,):
            raise ValueError(f"theta must have shape ({self.n_params},) for {self!r}, not {theta.shape}")
        layers, start = [], 0
        for n, m in self.shapes:
            bias = start + n * m
            layers.append((theta[start:bias].reshape(n, m), theta[bias:bias + n]))
            start = bias + n
        return layers

    def __call__(self, t, y, theta):
        x = y
        for z, x in self._forward(t, y, self.layers(theta)):
            pass
        return x

    def jvp(self, t, y, theta, w, dtheta):
        return self._tangent(t, y, theta, 0.0, w, dtheta)

    def time_derivative(self, t, y, theta):
        return self._tangent(t, y, theta, 1.0, np.zeros_like(y), np.zeros_like(theta))

    def vjp(self, t, y, theta, a):
        layers = self.layers(theta)
        trace = self._forward(t, y, layers)
        a_f_theta = np.empty(self.n_params, np.result_type(a, y, theta))
        g = a
        for l in reversed(range(len(layers))):
            z, x = trace[l]
            delta = g * self.sigmas[l].slope(z, x)                                 # (4.3)
            dW, db = self.layers(a_f_theta)[l]
            rows = delta.reshape(-1, delta.shape[-1])
            inputs = self._input(t, y) if l == 0 else trace[l - 1][1]
            dW[...] = rows.T @ inputs.reshape(-1, inputs.shape[-1])                # (4.4)
            db[...] = rows.sum(axis=0)                                             # (4.4)
            g = delta @ layers[l][0]                                               # (4.3)
        return g[..., -self.dim:], a_f_theta

    def jacobian(self, t, y, theta):
        for _, _, G in self._backward(t, y, theta):
            pass
        return G[..., -self.dim:]

    def param_jacobian(self, t, y, theta):
        f_theta = np.empty((*y.shape, self.n_params), np.result_type(y, theta))
        stop = self.n_params
        for D, x, _ in self._backward(t, y, theta):
            n, m = D.shape[-1], x.shape[-1]
            start = stop - n * m - n
            dW = D[..., :, None] * x[..., None, None, :]                           # (4.6)
            f_theta[..., start:stop - n] = dW.reshape(*y.shape, n * m)
            f_theta[..., stop - n:stop] = D                                        # (4.6)
            stop = start
        return f_theta

    def lipschitz(self, theta):
        """The bound (4.7): a number K with |f(t, u) − f(t, v)| ≤ K |u − v| for all t, u, v.

        >>> f = MLP([2, 2], ["tanh"])
        >>> float(f.lipschitz(np.array([3.0, 0.0, 0.0, 4.0, 0.0, 0.0])))
        4.0
        """
        matrices = [W for W, _ in self.layers(theta)]
        matrices[0] = matrices[0][:, -self.dim:]
        slopes = [sigma.lipschitz for sigma in self.sigmas]
        return np.prod(slopes) * np.prod([np.linalg.norm(W, 2) for W in matrices])  # (4.7)

    # -- the three passes through the layers ------------------------------------------------

    def _forward(self, t, y, layers):
        """[(z_1, x_1), ..., (z_m, x_m)] of (4.1)."""
        trace, x = [], y
        for l, ((W, b), sigma) in enumerate(zip(layers, self.sigmas)):
            if l == 0 and self.sees_time:
                z = y @ W[:, 1:].T + (_column(t) * W[:, 0] + b)                    # (4.1)
            else:
                z = x @ W.T + b                                                    # (4.1)
            x = sigma.value(z)                                                     # (4.1)
            trace.append((z, x))
        return trace

    def _tangent(self, t, y, theta, dt, dy, dtheta):
        """The change of f along (dt, dy, dθ), (4.2)."""
        layers, x = self.layers(theta), self._input(t, y)
        dx = np.concatenate([np.full((*dy.shape[:-1], 1), dt), dy], axis=-1) if self.sees_time else dy
        for (z, x_next), (W, _), (dW, db), sigma in zip(
                self._forward(t, y, layers), layers, self.layers(dtheta), self.sigmas):
            dz = dx @ W.T + x @ dW.T + db                                          # (4.2)
            dx, x = sigma.slope(z, x_next) * dz, x_next                            # (4.2)
        return dx

    def _backward(self, t, y, theta):
        """(D_l, x_{l−1}, G_{l−1}) of (4.5), last layer first; G₀ is [f_t, f_y]."""
        layers = self.layers(theta)
        trace = self._forward(t, y, layers)
        G = np.broadcast_to(np.eye(self.dim), (*y.shape, self.dim))                # (4.5)
        for l in reversed(range(len(layers))):
            z, x = trace[l]
            D = G * self.sigmas[l].slope(z, x)[..., None, :]                       # (4.5)
            G = D @ layers[l][0]                                                   # (4.5)
            yield D, self._input(t, y) if l == 0 else trace[l - 1][1], G

    def _input(self, t, y):
        """x_0: y, with t in front of it where the network sees time."""
        if not self.sees_time:
            return y
        clock = np.broadcast_to(_column(t), (*y.shape[:-1], 1))
        return np.concatenate([clock, y], axis=-1)


def _column(t):
    """A time as something that multiplies a row: a number as it is, an array as a column."""
    return t[..., None] if isinstance(t, np.ndarray) else t


def _check_architecture(widths, names):
    widths, names = [int(n) for n in widths], list(names)
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must list at least two positive layer sizes, not {widths}")
    if widths[0] - widths[-1] not in (0, 1):
        raise ValueError(
            f"widths[0] must be widths[-1] + 1 (t in front of y) or widths[-1] (autonomous); "
            f"got {widths[0]} and {widths[-1]}")
    if len(names) != len(widths) - 1:
        raise ValueError(f"activations must name one per layer: {len(widths) - 1}, not {len(names)}")
    for name in names:
        if name not in ACTIVATIONS:
            raise ValueError(f"unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}")
    return widths, names

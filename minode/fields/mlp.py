"""4. The multilayer perceptron

The field of a neural ODE is a network. It reads x₀ = [t, y], or y alone where
it is autonomous, and passes it through m layers,

    z_l = x_{l−1} W_lᵀ + b_l,     x_l = σ_l(z_l),     f = x_m.           (4.1)

x is a row, W_l is (fan_out, fan_in) as in PyTorch, and θ is W₁, b₁, W₂, b₂, …,
each W row by row. In the code a bias is one weight more: with x̃ = [x, 1] and
W̃ = [W, b], every layer is the one product z = x̃ W̃ᵀ.

Forward mode. Let y move along dy, t along dt, θ along dW̃; apply the product
rule to (4.1), first layer first:

    dz_l = dx_{l−1} W_lᵀ + x̃_{l−1} dW̃_lᵀ,     dx_l = σ_l'(z_l) dz_l.     (4.2)

With dy = w, dW̃ from Δθ, and dt = 0 this is the product f_y w + f_θ Δθ. With dt = 1
and nothing else it is f_t.

Reverse mode. Start from the row g_m = a and find, last layer first, the row g_l
with which a · f depends on x_l: a change of x_l changes a · f by g_l · dx_l.
Insert (4.2), and collect what multiplies dx_{l−1} and dW̃_l:

    δ_l = g_l σ_l'(z_l),     g_{l−1} = δ_l W_l,                          (4.3)
    cotangent of W̃_l:  Σ δ_lᵀ x̃_{l−1}.                                   (4.4)

The sum runs over the batch. What arrives at the input is [a · f_t, a f_y].
Neither mode ever forms f_y or f_θ: each costs about as much as two evaluations of
f besides the one whose layers it passes, whatever d and p are.

The matrices themselves, where they are wanted (a short sweep, an implicit method), are
(4.3) started from the d rows of the identity at once instead of from a,

    D_l = G_l σ_l'(z_l),  G_{l−1} = D_l W_l,  G_m = 1,                   (4.5)

whose end G₀ = [f_t, f_y]; and since the weights of one output row do not mix
with those of another, D_l and x̃_{l−1} are all that f_θ is made of:

    ∂f_i/∂(W̃_l)_jk = (D_l)_ij (x̃_{l−1})_k.                              (4.6)

Lipschitz. A product of matrices stretches no vector by more than the product of
their largest singular values, so (3.2) gives for all u, v

    |f(t, u) − f(t, v)| ≤ Π_l L_σl ‖W_l‖₂ · |u − v|,                     (4.7)

with only the columns of W₁ that multiply y. A network with Lipschitz activations
is therefore Lipschitz in y everywhere, not just near y₀: its solutions exist for
all time and are unique (chapter 6 shows what happens without that).

Second derivatives. Move y and θ while a stays, and (4.3) and (4.4) move by the product rule,

    dδ = dg σ' + g σ'' dz,   dg_{l−1} = dδ W + δ dW,   Σ (dδᵀ x̃ + δᵀ dx̃),   (4.8)

with dz and dx from (4.2) and dg_m = 0.

Next: how states of any shape become the vectors a solver works on (chapter 5).
"""

import operator

import numpy as np

from .activations import ACTIVATIONS
from .base import VectorField, as_generator
from .network import Network, flat, homogeneous


class MLP(VectorField):
    """A multilayer perceptron (4.1) as a vector field, its derivatives by hand.

    `widths` lists the layers' sizes from input to output and `activations` one
    name per layer: tanh softplus sigmoid relu leaky_relu swish sin identity.
    `widths[0] == widths[-1] + 1` puts t in front of y; `widths[0] == widths[-1]` is
    autonomous; anything else is a ValueError. Called as f(t, y, theta) with y (..., d)
    and theta (p,). Rumelhart, Hinton and Williams (1986) for (4.3).

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
        self.shapes = list(zip(self.widths[1:], self.widths[:-1]))     # (fan_out, fan_in), n and m below
        self.n_params = sum(n * m + n for n, m in self.shapes)
        self.sigmas = [ACTIVATIONS[name] for name in self.names]
        self.idle = {}                # arrays that its networks have given back, for states of one shape

    def __reduce__(self):
        return type(self), (self.widths, self.names)

    def __repr__(self):
        return f"MLP({self.widths}, {self.names})"

    def init(self, rng):
        """A random θ (p,): every W and b uniform in ±1/√fan_in, as PyTorch's Linear (rng: a Generator)."""
        bounds = [np.full(n * m + n, m**-0.5) for n, m in self.shapes]
        return as_generator(rng).uniform(-1.0, 1.0, self.n_params) * np.concatenate(bounds)

    def layers(self, theta):
        """[(W_1, b_1), ...] as views into theta, W_l of shape (fan_out, fan_in)."""
        theta = np.asarray(theta)
        if theta.shape != (self.n_params,):
            raise ValueError(f"theta must have shape ({self.n_params},) for {self!r}, not {theta.shape}")
        layers, start = [], 0
        for n, m in self.shapes:
            bias = start + n * m
            layers.append((theta[start:bias].reshape(n, m), theta[bias:bias + n]))
            start = bias + n
        return layers

    def __call__(self, t, y, theta):
        if np.shape(y)[-1:] != (self.dim,):
            raise ValueError(f"y must have shape (..., {self.dim}) for {self!r}, not {np.shape(y)}")
        y = np.asarray(y)
        return self._network(t, y, theta)(t, y)

    def vjp(self, t, y, theta, a):
        network = self._network(t, y, theta)
        return network.vjp(t, y, a), network.a_f_theta().astype(network.dtype, copy=False)

    def _network(self, t, y, theta):
        """With θ filled in, complex where t is: a time in float64 makes no float64 of a float32 state."""
        return Network(self.layers(theta), self, np.result_type(y, theta, *([t] if np.iscomplexobj(t) else [])))

    def bind(self, theta, y):
        return Network(self.layers(theta), self, np.result_type(y, theta))

    def jvp(self, t, y, theta, w, dtheta):
        return self._tangent(t, y, theta, 0.0, w, dtheta)

    def time_derivative(self, t, y, theta):
        return self._tangent(t, y, theta, 1.0, np.zeros_like(y), np.zeros_like(theta))

    def jacobian(self, t, y, theta):
        return self._network(t, y, theta).linearize(t, y)[0]

    def param_jacobian(self, t, y, theta):
        network, parts = self._network(t, y, theta), []
        for D, _, (x, _, _) in network.backward(t, y):
            dW = D.swapaxes(0, 1)[..., None] * x[:, None, None]                    # (4.6)
            rows, n, m = len(x), D.shape[-1], x.shape[-1] - 1
            parts[:0] = dW[..., :-1].reshape(rows, self.dim, n * m), dW[..., -1]
        return np.concatenate(parts, axis=-1).reshape(*y.shape, self.n_params)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        network = self._network(t, y, theta)
        moves, passes = homogeneous(self.layers(dtheta)), []
        dx = np.concatenate([np.zeros((*w.shape[:-1], 1), w.dtype), w], axis=-1) if self.sees_time else w
        dx = dx.reshape(-1, dx.shape[-1])
        for (x, z, x_next), Wt, dWt, sigma in zip(network.trace(t, y), network.weights, moves, self.sigmas):
            dz, slope = dx @ Wt[:-1] + x @ dWt, sigma.slope(z, x_next)             # (4.2)
            passes.append((x.reshape(-1, len(Wt)), dx, slope, sigma.curvature(z, x_next) * dz))
            dx = slope * dz                                                        # (4.2)
        g, dg, shares = a.reshape(-1, self.dim), 0.0, []
        for (x, dx, slope, bend), Wt, dWt in zip(passes[::-1], network.weights[::-1], moves[::-1]):
            delta, d_delta = g * slope, dg * slope + g * bend                      # (4.8)
            share = x.T @ d_delta
            share[:-1] += dx.T @ delta                                             # (4.8)
            shares.insert(0, share)
            g, dg = delta @ Wt[:-1].T, d_delta @ Wt[:-1].T + delta @ dWt[:-1].T    # (4.8)
        return dg[..., -self.dim:].reshape(y.shape), flat(shares)

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

    def _tangent(self, t, y, theta, dt, dy, dtheta):
        """The change of f along (dt, dy, dθ), (4.2)."""
        network = self._network(t, y, theta)
        clock = np.full((*dy.shape[:-1], 1), dt, dy.dtype)
        dx = np.concatenate([clock, dy], axis=-1) if self.sees_time else dy
        dx = dx.reshape(-1, dx.shape[-1])
        for (x, z, x_next), Wt, dWt, sigma in zip(
                network.trace(t, y), network.weights, homogeneous(self.layers(dtheta)), self.sigmas):
            dz = dx @ Wt[:-1] + x @ dWt                                            # (4.2)
            dx = sigma.slope(z, x_next) * dz                                       # (4.2)
        return dx.reshape(y.shape)


def _check_architecture(widths, names):
    if isinstance(names, str):
        raise TypeError(f"activations must be a list of names, one per layer, not the string {names!r}")
    try:
        widths, names = [operator.index(n) for n in widths], list(names)
    except TypeError:
        raise TypeError("widths must be a list of integers and activations a list of names, "
                        f"not {widths!r} and {names!r}") from None
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

"""26. The continuous normalizing flow

Draw points from a density p(t₀, ·) that is simple, and let the field carry them. Where they
arrive they have some other density, and with a network for the field almost any: a flow that is
fitted to data is a model one can draw from, and one that says how probable a point is.

No point is made or lost on the way, so the probability in a region changes only by what flows
through its boundary. That is the continuity equation (Liouville's, in mechanics)

    ∂p/∂t = −∇ · (p f).

Follow one particle. Along y(t) the density changes by ∂p/∂t + f · ∇p = −p ∇ · f, and ∇ · f is the
trace of f_y. Divide by p (Chen, Rubanova, Bettencourt and Duvenaud 2018, who call it the
instantaneous change of variables):

    d log p(t, y(t)) / dt = −tr f_y(t, y(t), θ).                         (26.1)

A map g from y₀ to y(T) stretches volumes by |det g_y|, so p(y(T)) |det g_y| = p(y₀): log |det g_y|
is what log p loses. A layer that is no flow needs the determinant itself; here its logarithm is
an integral of traces, and is found by the solver that moves the particle:

    log det ∂y(T)/∂y(t₀) = ∫ tr f_y dt.                                  (26.2)

The trace. With rows v_r for which Σ_r v_rᵀ v_r = 1,

    tr f_y = Σ_r v_r · (f_y v_r).                                        (26.3)

The d unit vectors are such rows, and give the exact trace, at the price of d Jacobian-vector
products. Where d is large, take a random row v with independent entries ±1 instead: v_i v_j is 1
on average for i = j and 0 otherwise, so that v · f_y v is the trace on average (Hutchinson 1990).
Its variance is that of Σ_{i<j} (f_ij + f_ji) v_i v_j, whose terms are uncorrelated:

    var v · f_y v = Σ_{i<j} (f_ij + f_ji)².                              (26.4)

K rows with the factor 1/√K make it K times smaller. The trap: the noise must stay as it is
during a solve, or f is no function of (t, y) and the solver fights its own noise; with the noise
fixed, the mean over it is right at every step and so in the end (Grathwohl et al. 2019).

The augmented field. Put ℓ beside y and let it collect −tr f_y:

    d/dt [y, ℓ] = [f(t, y, θ), −Σ_r v_r · f_y v_r].                      (26.5)

This is a field like any other, with d + 1 components, and every route of chapter 20 differentiates
it, if it can say how the trace moves with y and θ. It can: second derivatives commute, so

    ∂(v · f_y v) = v (f_yy v, f_θy v),                                   (26.6)

which is `vjp_derivative` of chapter 1 with the cotangent v and the direction v. For a network
it is one reverse pass. Weigh f with g_m and the trace with c. Let γ_{l,r} be the cotangent of the
tangent dx_{l,r} of (4.2) that started from v_r, so that γ_{m,r} = c v_r, and η_{l,r} that of
dz_{l,r}. Then (4.1) and (4.2), read backwards, with what W̃_l gets at the end of each line, are

    δ_l = g_l σ_l' + σ_l'' Σ_r γ_{l,r} dz_{l,r},   g_{l−1} = δ_l W_l,   Σ δ_lᵀ x̃_{l−1},   (26.7)
    η_{l,r} = γ_{l,r} σ_l',   γ_{l−1,r} = η_{l,r} W_l,   Σ_r Σ η_{l,r}ᵀ dx_{l−1,r}.       (26.8)

The code of these two is in the appendix, probes.py. It never forms f_y. Another trap: the trace has a
derivative where f has two. That of a network with relu jumps, and (26.6) does not see the jumps.

Likelihood. The base density is the standard normal N at t₀. Carry data x from T back to z, with
ℓ(T) = 0. Then ℓ(t₀) is (26.2), and by (26.1)

    log p(x) = log N(z) − ℓ(t₀),   log N(z) = −½ |z|² − ½ d log 2π.      (26.9)

The mean of −log p(x) over the data, in nats, is what training makes small.

Next: a flow that need not be trained (chapter 27).
"""

import numpy as np

from ..fields.base import Bound, VectorField, as_generator
from ..fields.mlp import MLP
from ..gradients.checks import complex_step
from ..gradients.pullback import Gradients, value_and_gradients
from ..gradients.tangent import as_field, as_point, as_twice
from ..solvers.solve import odeint
from ..solvers.states import as_count, as_real, as_times
from .probes import ProbedNetwork, repeated


class Flow(VectorField):
    """The field (26.5) of the states [y, ℓ], (..., d + 1), for a field f.

    `noise` (K, ..., d), its rows of the shape of y, makes Hutchinson's estimate of K probes of the
    trace; left out, the trace is exact. θ is that of f. TypeError where f is no VectorField.

    >>> from minode import LotkaVolterra
    >>> flow, theta = Flow(LotkaVolterra()), np.array([0.5, 0.05, 0.8, 0.02])
    >>> flow(0.0, np.array([30.0, 4.0, 0.0]), theta)         # tr f_y = 0.3 − 0.2
    array([ 9. , -0.8, -0.1])
    """

    def __init__(self, f, noise=None):
        self.f, self.dim, self.n_params, self.noise = as_field(f), f.dim + 1, f.n_params, None
        if noise is not None:
            noise = as_real("noise", noise)
            if noise.ndim < 2 or noise.shape[-1] != f.dim or not len(noise):
                raise ValueError(f"noise must have shape (K, ..., {f.dim}), not {noise.shape}")
            self.noise = noise / np.sqrt(len(noise))

    def probes(self, t, y):
        """The v_r (R, ..., d) of (26.3), and t and y repeated for each."""
        v = repeated(np.eye(self.f.dim) if self.noise is None else self.noise, y.shape)
        return v, np.broadcast_to(t, v.shape[:-1]) if np.ndim(t) else t, np.broadcast_to(y, v.shape)

    def trace(self, t, y, theta):
        """tr f_y at y (..., d), or its estimate: (...)."""
        v, t, y = self.probes(t, y)
        return np.sum(v * self.f.jvp(t, y, theta, v, 0.0 * theta), axis=(0, -1))   # (26.3)

    def __call__(self, t, s, theta):
        y = s[..., :-1]
        return beside(self.f(t, y, theta), -self.trace(t, y, theta))               # (26.1) (26.5)

    def vjp(self, t, s, theta, a):
        y, c = s[..., :-1], -a[..., -1:]
        a_f_y, a_f_theta = self.f.vjp(t, y, theta, a[..., :-1])
        v, t, y = self.probes(t, y)
        bend, bend_theta = self.f.vjp_derivative(t, y, theta, c * v, v, 0.0 * theta)  # (26.6)
        return beside(a_f_y + bend.sum(axis=0), 0.0), a_f_theta + bend_theta       # (26.6)

    def jvp(self, t, s, theta, w, dtheta):
        y, w = s[..., :-1], w[..., :-1]
        forward = self.f.jvp(t, y, theta, w, dtheta)
        v, t, y = self.probes(t, y)
        bend, _ = self.f.vjp_derivative(t, y, theta, v, np.broadcast_to(w, v.shape), dtheta)
        return beside(forward, -np.sum(v * bend, axis=(0, -1)))                    # (26.6)

    def jacobian(self, t, s, theta):
        return np.stack([self.jvp(t, s, theta, e + 0.0 * s, 0.0 * theta) for e in np.eye(self.dim)], axis=-1)

    def param_jacobian(self, t, s, theta):
        return np.stack([self.jvp(t, s, theta, 0.0 * s, e) for e in np.eye(self.n_params)], axis=-1)

    def time_derivative(self, t, s, theta):
        y = s[..., :-1]
        along = complex_step(lambda t: self.trace(t, y, theta), t, 1.0)            # f_ty is in no protocol
        return beside(self.f.time_derivative(t, y, theta), -along)

    def bind(self, theta, s):
        if isinstance(self.f, MLP):
            return ProbedNetwork(self.f.layers(theta), self.f, np.result_type(s, theta), self.noise)
        return Bound(self, theta)


def beside(y, last):
    """[y, last] as one array (..., d + 1)."""
    out = np.empty((*y.shape[:-1], y.shape[-1] + 1), np.result_type(y, last))
    out[..., :-1], out[..., -1] = y, last
    return out


def standard_normal(z):
    """log N(z) of (26.9): z is (..., d), the answer (...).

    >>> float(standard_normal(np.zeros(2)))             # −log 2π
    -1.8378770664093453
    """
    return -0.5 * np.sum(z * z, axis=-1) - 0.5 * z.shape[-1] * np.log(2 * np.pi)   # (26.9)


def log_prob(f, y, t, theta, *, noise=None, base=standard_normal, **solver):
    """log p(y) at t[-1] (...) of the density that f carries there from `base` at t[0], by (26.9).

    y is (..., d), t (N,), theta (p,). `noise` (K, *y.shape) for an estimate of the trace, as
    `rademacher` draws it; base(z) is a log density of z (..., d). `solver` are the keywords of
    `solve`. ValueError or TypeError for unusable input, SolverError where the solve fails.

    >>> from minode import Linear
    >>> shrink = np.array([-1.0, 0.0, 0.0, -1.0])            # y' = −y: p(1) is normal, of width e⁻¹
    >>> float(log_prob(Linear(2), [0.0, 0.0], [0.0, 1.0], shrink))       # 2 − log 2π
    0.1621229...
    """
    if not callable(base):
        raise TypeError(f"base must be callable as base(z), a log density, not {base!r}")
    flow, s, back, theta = pose_backwards(f, y, t, theta, noise, solver)
    end = odeint(flow.bind(theta, s), s, back, **solver)[-1]
    z, log_det = end[..., :-1], end[..., -1]                                       # (26.2)
    log_p = np.asarray(base(z))
    if log_p.shape != log_det.shape:
        raise ValueError(f"base(z) must have shape {log_det.shape}, not {log_p.shape}")
    if np.isnan(log_p).any():
        raise ValueError(f"base(z) must not be NaN, but is for {np.isnan(log_p).sum()} of {log_p.size} points")
    return log_p - log_det                                                         # (26.9)


def negative_log_likelihood(f, y, t, theta, *, noise=None, **solver):
    """The mean of −log p(y) (26.9) over a batch (..., d), in nats, and its `Gradients` in y, θ and t.

    Arguments and errors as for `log_prob`, noise too; `gradient` and `times` as for `pullback`. Up to
    about 128 MB of an MLP's passes are kept for the way back, and for the next gradient (appendix probes.py).

    >>> from minode import MLP
    >>> f = MLP([3, 8, 2], ["tanh", "identity"])
    >>> theta, y = f.init(np.random.default_rng(0)), np.ones((5, 2))
    >>> value, gradients = negative_log_likelihood(f, y, np.linspace(0.0, 1.0, 5), theta, method="rk4")
    >>> bool(np.isclose(value, -log_prob(f, y, np.linspace(0.0, 1.0, 5), theta, method="rk4").mean()))
    True
    """
    if "base" in solver:
        raise TypeError("base must be left to the standard normal, whose gradient is known; log_prob takes any base")
    flow, s, back, theta = pose_backwards(as_twice(f), y, t, theta, noise, solver)
    n = s[..., 0].size

    def loss(ys):
        z, l = ys[-1, ..., :-1], ys[-1, ..., -1]
        dL_dys = np.zeros_like(ys)
        dL_dys[-1] = beside(z, 1.0) / n                                            # (26.9)
        return (np.sum(l) - np.sum(standard_normal(z))) / n, dL_dys                # (26.9)

    value, found = value_and_gradients(loss, flow, s, back, theta, **solver)
    return value, Gradients(found.y0[..., :-1], found.theta, found.t if found.t is None else found.t[::-1])


def sample(f, n, t, theta, rng, **solver):
    """n points (n, d) from the density that f carries to t[-1] from the standard normal at t[0].

    rng is a NumPy Generator. The other arguments and errors as for `log_prob`.

    >>> from minode import Linear
    >>> points = sample(Linear(2), 1000, [0.0, 1.0], np.array([-1.0, 0.0, 0.0, -1.0]), np.random.default_rng(0))
    >>> points.shape, bool(0.3 < points.std() < 0.45)         # e⁻¹ = 0.37
    ((1000, 2), True)
    """
    z, theta = as_point(f, np.ones((as_count("n", n), as_field(f).dim)), theta)
    odeint(f.bind(theta, z), z, as_times(t)[:1], **solver)                # no steps, for its checks
    z = as_generator(rng).normal(size=z.shape)
    return odeint(f.bind(theta, z), z, t, **solver)[-1]


def noise_variance(f_y):
    """The variance (26.4) of the estimate of one probe, for f_y (..., d, d).

    >>> float(noise_variance(np.array([[1.0, 2.0], [1.0, 5.0]])))         # v₁v₂ (2 + 1) is ±3
    9.0
    """
    return np.sum(np.triu(f_y + np.swapaxes(f_y, -1, -2), 1) ** 2, axis=(-2, -1))  # (26.4)


def pose_backwards(f, y, t, theta, noise, solver):
    """The augmented field, its state at t[-1], the times from there back to t[0], and θ."""
    flow, (y, theta) = Flow(f, noise), as_point(f, y, theta, "y")
    s = beside(y, 0.0)
    if noise is not None and np.shape(noise)[1:] != y.shape:
        raise ValueError(f"noise must have shape (K, *y.shape), here (K, {', '.join(map(str, y.shape))}), "
                         f"not {np.shape(noise)}")
    if noise is not None and solver.get("per_trajectory"):
        raise ValueError("noise needs joint steps, not per_trajectory: each row of it belongs to a row of y")
    return flow, s, as_times(t)[::-1], theta

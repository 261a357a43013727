"""26. The continuous normalizing flow

Draw points from a normal density and let a field carry them. Where they arrive they have another density. If
the field is a network, this is a model of data: it can draw new points, and it says how probable a given
point is. A flow never tears or glues (chapter 25), so its density has no gaps: it is positive everywhere.
Apart from that, almost any density can be approached: blurred with a little normal noise, it is reached by a
field of chapter 27, and a wide network can come near that field.

How the density changes. Take one dimension, and a box from x to x + h, which holds p h of the probability.
Per unit of time (p f)(x) flows in on its left and (p f)(x + h) flows out on its right, and no point is made
or lost. So h ∂p/∂t = (p f)(x) − (p f)(x + h), and ∂p/∂t = −∂(p f)/∂x as h → 0. In d dimensions a box has d
pairs of faces. Their sum is the continuity equation (Liouville's)

    ∂p/∂t = −∇ · (p f) = −p ∇ · f − f · ∇p.

Now follow one particle. Along y(t) the density changes by ∂p/∂t + f · ∇p = −p ∇ · f, and ∇ · f is tr f_y.
Divide by p to get the instantaneous change of variables (Chen and others 2018):

    d log p(t, y(t)) / dt = −tr f_y(t, y(t), θ).                         (26.1)

The map from y(t₀) to y(T) multiplies volumes by its determinant, and divides the density by it. The solver
that moves the particle also computes the logarithm of that determinant, as an integral:

    log det ∂y(T)/∂y(t₀) = ∫ tr f_y dt.                                  (26.2)

The trace. Let v_r be rows with Σ_r v_rᵀ v_r = I, where each term is a column times a row. Then

    tr f_y = Σ_r v_r · (f_y v_r).                                        (26.3)

The d unit vectors are such rows. They give the exact trace for d Jacobian-vector products. If d is large,
take a random row v of independent ±1. The mean of v_i v_j is 1 if i = j and 0 otherwise, so that of v · f_y v
is the trace (Hutchinson 1990). What varies is Σ_{i<j} ((f_y)_ij + (f_y)_ji) v_i v_j, with uncorrelated terms:

    var v · f_y v = Σ_{i<j} ((f_y)_ij + (f_y)_ji)².                      (26.4)

K independent rows, each divided by √K, make it K times smaller (FFJORD, Grathwohl et al. 2019). Draw the
noise once per solve. If it changed between evaluations, f would not be a function of (t, y), and the error
control would see noise. The path y depends on it only by the choice of steps: (26.2) is right on average.

The augmented field. Put ℓ beside y and let it collect −tr f_y:

    d/dt [y, ℓ] = [f(t, y, θ), −Σ_r v_r · f_y v_r].                      (26.5)

This is a field like any other, with d + 1 components. Its derivatives need those of q = v · f_y v. Let D_v
denote the derivative as y moves along v. Then q = D_v (v · f), and as second derivatives commute,

    ∂q/∂y = D_v (v f_y),     ∂q/∂θ = D_v (v f_θ).                        (26.6)

In words: take the products (1.3) with the cotangent v, and see how they change as y moves along v. That is
`vjp_derivative` of chapter 1. Along another direction q changes by v · (the change of v f_y).

A network needs one pass forwards and one backwards. Forwards, the tangents dx_{l,r} of (4.2) that start from
the v_r are computed beside x_l. Backwards we want the derivatives of a · f + c Σ_r q_r. Let g_l, δ_l,
γ_{l,r}, η_{l,r} be the cotangents of x_l, z_l, dx_{l,r}, dz_{l,r}. They begin with g_m = a and
γ_{m,r} = c v_r. Since dx_{l,r} = σ_l'(z_l) ⊙ dz_{l,r} depends on z_l as well,

    δ_l = g_l ⊙ σ_l' + σ_l'' ⊙ Σ_r γ_{l,r} ⊙ dz_{l,r},     g_{l−1} = δ_l W_l,
    to W_l:  Σ δ_lᵀ x_{l−1},     to b_l:  Σ δ_l,                         (26.7)
    η_{l,r} = γ_{l,r} ⊙ σ_l',     γ_{l−1,r} = η_{l,r} W_l,
    to W_l besides:  Σ_r Σ η_{l,r}ᵀ dx_{l−1,r}.                          (26.8)

x, z, g, δ are (..., n_l), and dx, dz, γ, η are (R, ..., n_l). No Jacobian is formed. The trace has a
derivative only if f has two. The trace of a network with relu jumps, and (26.6) does not see the jumps.

Likelihood. At t₀ let the density be the standard normal N. Solve from data x with ℓ(T) = 0 back to [z,
ℓ(t₀)], where ℓ(t₀) is (26.2). Training minimises the mean of −log p(x), in nats (natural logarithms):

    log p(x) = log N(z) − ℓ(t₀),   log N(z) = −½ |z|² − ½ d log 2π,
    ∂(−log p)/∂z = z,   ∂(−log p)/∂ℓ(t₀) = 1.                            (26.9)

Figures 36 and 54 show (26.1), figure 37 three densities learnt, and figure 39 (26.3), (26.4) and (26.6).

Next: a flow that need not be trained (chapter 27).
"""

import numpy as np

from ..fields.base import VectorField, rows
from ..gradients.checks import complex_step
from ..gradients.pullback import Gradients, value_and_gradients
from ..inputs import (as_base_value, as_count, as_field, as_flow_point, as_generator, as_noise, as_point, as_times,
                      as_twice, check_base, check_no_base, on_arrays)
from ..solvers.solve import find_method, odeint
from .probes import beside, for_rows, is_network, repeated


@on_arrays
class Flow(VectorField):
    """The field (26.5) of the states [y, ℓ], (..., d + 1), for a field f.

    With `noise` (K, ..., d), K arrays of the shape of y, the trace is Hutchinson's estimate from K rows;
    without, it is exact. θ is that of f. TypeError if f is no VectorField. For a network 3–32–32–2 the
    tape of a gradient holds some 400 numbers for each point and stage.

    >>> from minode import LotkaVolterra
    >>> flow, theta = Flow(LotkaVolterra()), np.array([0.5, 0.05, 0.8, 0.02])
    >>> flow(0.0, np.array([30.0, 4.0, 0.0]), theta)         # tr f_y = 0.3 − 0.2
    array([ 9. , -0.8, -0.1])
    """

    def __init__(self, f, noise=None):
        self.f, self.dim, self.n_params = as_field(f), f.dim + 1, f.n_params
        self.v = np.eye(f.dim) if noise is None else as_noise(noise, f.dim) / np.sqrt(np.shape(noise)[0])
        self.is_network, self.tstops = is_network(f), getattr(f, "tstops", ())

    def trace(self, t, y, theta):
        """tr f_y at y (..., d), or its estimate: (...)."""
        v, t, y = repeated(self.v, t, y)
        return np.sum(v * self.f.jvp(t, y, theta, v, 0 * theta), axis=(0, -1))     # (26.3)

    def __call__(self, t, s, theta):
        if self.is_network:
            return self.forward(t, s, theta)[0]
        y = s[..., :-1]
        return beside(self.f(t, y, theta), -self.trace(t, y, theta))               # (26.1) (26.5)

    def vjp(self, t, s, theta, a):
        if self.is_network:
            return self.backward(self.forward(t, s, theta)[1], theta, a)
        y, a, c = s[..., :-1], a[..., :-1], -a[..., -1:]
        a_f_y, a_f_theta = self.f.vjp(t, y, theta, a)
        v, t, y = repeated(self.v, t, y)
        q_y, q_theta = self.f.vjp_derivative(t, y, theta, c * v, v, 0 * theta)     # (26.6)
        return beside(a_f_y + q_y.sum(axis=0), 0), a_f_theta + q_theta             # (26.6)

    def value_and_vjp(self, t, s, theta):
        if not self.is_network:
            return super().value_and_vjp(t, s, theta)
        velocity, saved = self.forward(t, s, theta)
        return velocity, lambda a: self.backward(saved, theta, a)

    def forward(self, t, s, theta):
        """The velocity (26.5) of a network, and what each layer computed. States are rows (N, ·)."""
        y, v, saved = s[..., :-1], for_rows(self.v, s), []
        x, dx = rows(self.f.network_input(t, y)), self.f.network_input(0.0, v).reshape(*v.shape[:2], -1)
        for (W, b), sigma in zip(self.f.layers(theta), self.f.sigmas):
            z, dz = x @ W.T + b, dx @ W.T                        # by (4.1), and by (4.2) for every r at once
            x_next = sigma.value(z)
            slope = sigma.slope(z, x_next)
            saved.append((x, dx, z if sigma.slope_reads_z else None, dz, x_next, slope))
            x, dx = x_next, slope * dz
        return beside(x, -np.sum(v * dx, axis=(0, -1))).reshape(s.shape), saved    # (26.5)

    def backward(self, saved, theta, a):
        """The vector-Jacobian product of (26.5) at the point where `forward` saved these."""
        g, c, parts = rows(a)[:, :-1], -rows(a)[:, -1:], []
        gamma = c * for_rows(self.v, a)
        layers = zip(saved, self.f.layers(theta), self.f.sigmas)
        for (x, dx, z, dz, x_next, slope), (W, _), sigma in reversed(list(layers)):
            gamma_dz = np.einsum("rnk, rnk -> nk", gamma, dz)                      # (26.7)
            delta = g * slope + sigma.curvature(z, x_next) * gamma_dz              # (26.7)
            eta = gamma * slope                                                    # (26.8)
            dW, db = delta.T @ x, delta.sum(axis=0)                                # (26.7)
            dW += rows(eta).T @ rows(np.broadcast_to(dx, eta.shape[:2] + dx.shape[2:]))  # (26.8)
            g, gamma = delta @ W, eta @ W                                          # (26.7) (26.8)
            parts = [dW.ravel(), db, *parts]
        return beside(g[:, -self.f.dim:], 0).reshape(a.shape), np.concatenate(parts)

    def jvp(self, t, s, theta, w, dtheta):
        y, w = s[..., :-1], w[..., :-1]
        f_y_w = self.f.jvp(t, y, theta, w, dtheta)
        v, t, y = repeated(self.v, t, y)
        change_of_v_f_y, _ = self.f.vjp_derivative(t, y, theta, v, np.broadcast_to(w, v.shape), dtheta)
        return beside(f_y_w, -np.sum(v * change_of_v_f_y, axis=(0, -1)))           # (26.6)

    def jacobian(self, t, s, theta):
        return np.stack([self.jvp(t, s, theta, e + 0 * s, 0 * theta) for e in np.eye(self.dim)], axis=-1)

    def param_jacobian(self, t, s, theta):
        return np.stack([self.jvp(t, s, theta, 0 * s, e) for e in np.eye(self.n_params)], axis=-1)

    def time_derivative(self, t, s, theta):
        f_t = self.f.time_derivative(t, s[..., :-1], theta)
        v, t, y = repeated(self.v, t, s[..., :-1])
        change_of_f_t = complex_step(lambda y: self.f.time_derivative(t, y, theta), y, v)  # D_v f_t = ∂(f_y v)/∂t
        return beside(f_t, -np.sum(v * change_of_f_t, axis=(0, -1)))


def standard_normal(z):
    """log N(z) of (26.9): z is (..., d), the answer (...)."""
    with np.errstate(all="ignore"):                          # far out it is −∞
        return -0.5 * np.sum(z * z, axis=-1) - 0.5 * z.shape[-1] * np.log(2 * np.pi)  # (26.9)


def log_prob(f, y, t, theta, *, noise=None, base=standard_normal, **solver):
    """log p(y) at t[-1] (...) of the density that f carries there from `base` at t[0], by (26.9).

    y is (..., d), t (N,), theta (p,). `noise` (K, *y.shape), as `rademacher` draws it, is for an estimate of
    the trace. base(z) is a log density of z (..., d). `solver` are the keywords of `solve`; rtol and atol may
    be like [y, log p], (d + 1,). ValueError or TypeError for unusable input, SolverError if the solve fails.

    >>> from minode import Linear
    >>> shrink = np.array([-1.0, 0.0, 0.0, -1.0])            # y' = −y: p(1) is normal, of width e⁻¹
    >>> float(log_prob(Linear(2), [0.0, 0.0], [0.0, 1.0], shrink))       # 2 − log 2π
    0.1621229...
    """
    check_base(base)
    y, theta = as_flow_point(f, y, theta, noise, solver, find_method)
    end = odeint(Flow(f, noise), beside(y, 0), as_times(t)[::-1], theta, **solver)[-1]  # (26.2)
    z, log_det = end[..., :-1], end[..., -1]                                       # (26.2)
    log_p_z = as_base_value(base(z), log_det.shape)
    return log_p_z - log_det                                                       # (26.9)


def negative_log_likelihood(f, y, t, theta, *, noise=None, **solver):
    """The mean of −log p(y) (26.9) over a batch (..., d), in nats, and its `Gradients` in y, θ and t.

    Arguments and errors as for `log_prob`, but no base, and `pullback`: times=False is about three times as fast.

    >>> from minode import MLP
    >>> f = MLP([3, 8, 2], ["tanh", "identity"])
    >>> theta, y = f.init(np.random.default_rng(0)), np.ones((5, 2))
    >>> value, gradients = negative_log_likelihood(f, y, np.linspace(0.0, 1.0, 5), theta, method="rk4")
    >>> bool(np.isclose(value, -log_prob(f, y, np.linspace(0.0, 1.0, 5), theta, method="rk4").mean()))
    True
    """
    def loss(ys):
        z, log_det = ys[-1, ..., :-1], ys[-1, ..., -1]
        dL_dys = np.zeros_like(ys)
        dL_dys[-1] = beside(z, 1) / log_det.size                                   # (26.9)
        return np.mean(log_det - standard_normal(z)), dL_dys                       # (26.9)

    check_no_base(solver)
    y, theta = as_flow_point(as_twice(f), y, theta, noise, solver, find_method)
    value, found = value_and_gradients(loss, Flow(f, noise), beside(y, 0), as_times(t)[::-1], theta, **solver)
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
    odeint(f, z, as_times(t)[:1], theta, **solver)                         # no steps: checks before drawing
    return odeint(f, as_generator(rng).normal(size=z.shape), t, theta, **solver)[-1]


def noise_variance(f_y):
    """The variance (26.4) of the estimate from one row, for f_y (..., d, d).

    >>> float(noise_variance(np.array([[1.0, 2.0], [1.0, 5.0]])))         # v₁v₂ (2 + 1) is ±3
    9.0
    """
    return np.sum(np.triu(f_y + np.swapaxes(f_y, -1, -2), 1) ** 2, axis=(-2, -1))  # (26.4)

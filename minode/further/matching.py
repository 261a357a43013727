"""30. Learning a flow without solving it

Chapter 26 solves a differential equation for every gradient. If we knew a field u that carries normal
noise to the data, no solve would be needed: f could be fitted to u by least squares, like any other
function. This chapter defines such a u, and shows that we need not know it.

A path for each pair. Draw x₀ from the standard normal and x₁ from the data. Join them by a straight
line, along which a particle moves with constant velocity:

    x_t = (1 − t) x₀ + t x₁,   v = dx_t/dt = x₁ − x₀.                    (30.1)

At t = 0 the particles x_t are noise, and at t = 1 they are the data. But this is not a flow. Lines of
different pairs cross, and at a crossing a field f(t, x) would need two values at once. So take the
mean of all velocities that pass through x at time t. It is called the marginal velocity:

    u(t, x) = E[ x₁ − x₀ | x_t = x ].

A single particle moves differently by u than by (30.1), and yet u moves the density p(t, ·) in the
same way. To see this, let φ be any smooth function of x. Along (30.1) its mean changes at the rate
E[∇φ(x_t) · v]. For given x_t = x only v is still random, so this is E[∇φ(x_t) · u(t, x_t)], which is
the rate for particles that move with u. As φ is arbitrary, ∂p/∂t = −∇ · (p u), the continuity
equation of chapter 26: the flow of u, if u is smooth enough to have one, carries the noise to the data.

Now fit f to v instead of u. Draw t from [0, 1] too, and minimise

    L(θ) = E |f(t, x_t, θ) − v|²                                         (30.2)

Write f − v = (f − u) + (u − v). The mean of the product of the two terms is 0, because for given t
and x_t the first term is fixed and the second has mean 0. So

    L(θ) = E |f(t, x_t, θ) − u(t, x_t)|² + E |u(t, x_t) − v|²,

and only the first term depends on θ. So fitting f to v, which is known, also fits it to u, which is
wanted (Lipman et al. 2023, flow matching; Liu, Gong and Liu 2023; Albergo and Vanden-Eijnden 2023).
The second term does not become 0: a loss that stays large is no failure. With N triples (x₀, x₁, t)
and r_n = f(t_n, x_n, θ) − v_n, the gradient is one vector-Jacobian product,

    L = Σ_n |r_n|² / N,   ∂L/∂θ = Σ_n (2 r_n / N) f_θ(t_n, x_n, θ).      (30.3)

The result is an ordinary field. `odeint` draws from it, and `log_prob` of chapter 26 gives its
density. Expect a somewhat lower likelihood than from (26.9): that training maximises the likelihood
itself, and matching does not.

A case with a known u. Let the data be a mixture of normal densities with weights w_k, means μ_k and
standard deviations s_k. For a given component, x_t is normal with mean m_k = t μ_k and variance
v_k = (1 − t)² + t² s_k², and the covariance of v and x_t is t s_k² − (1 − t). So the mean of v is
linear in x_t. The components are averaged with the responsibilities r_k of chapter 27, r_k ∝ w_k N(x;
m_k, v_k):

    u(t, x) = Σ_k r_k ( μ_k + (t s_k² − (1 − t)) / v_k · (x − m_k) ).    (30.4)

Learning the score. In chapter 27 noise is added by dx = −x dt + √2 dW. A particle that began at x₀ is
then at

    x = e⁻ᵗ x₀ + √v ξ,   v = 1 − e⁻²ᵗ,                                   (30.5)

with ξ standard normal. Given x₀, the score of x is −(x − e⁻ᵗ x₀)/v = −ξ/√v. Given x alone, the mean
of −ξ/√v is the score ∇ log p(t, x). The argument is like that for u: ∇p is the mean of the gradients
of the densities given x₀, and each gradient is its density times its score. So regress again (Vincent
2011). The factor v keeps the target of size 1 for small t:

    L(θ) = E | √v s(t, x, θ) + ξ |².                                     (30.6)

Put the learnt s into (27.3) in place of the true score. The probability flow, driven by a network,

    dx/dt = f(t, x, θ) = −x − s(t, x, θ),                                (30.7)

runs from the data at t = 0 to the standard normal at a large t, and backwards from noise to data.
Start at a small t > 0, because the score of a density of points has no bound at t = 0.

Straight lines. If u were constant along each of its paths, one step of Euler's method would draw a
sample. To come nearer to that, take pairs that u itself joins: x₀, and the x₁ to which the flow takes
it. Then fit again by (30.3). Such lines cross less (reflow, Liu, Gong and Liu 2023). How far the
paths are from straight lines at constant speed is measured by

    S = E ∫₀¹ | x(1) − x(0) − f(t, x(t), θ) |² dt,                       (30.8)

which is 0 if and only if the velocity of each particle is constant.

Figure 43 shows both kinds of training, their cost, and Euler's method before and after reflow.

Next: learning from measurements (chapter 31).
"""

import numpy as np

from ..fields.base import VectorField
from ..inputs import (as_count, as_data_rows, as_field, as_mixture, as_real, as_triples, check_after_start,
                      has_second_derivatives, on_arrays)
from ..learning.classify import log_sum_exp
from ..solvers.solve import odeint


def pairs(x1, n):
    """draw(rng) -> n triples (x₀ (n, d), x₁ (n, d), t (n,)) of (30.1), with x₁ from the rows of x1 (N, d).

    Pass it to `fit` as its `data`. If x1 is a tuple (x₀, x₁) of two arrays (N, d), their rows stay
    together. ValueError or TypeError for unusable data.

    >>> x0, x1, t = pairs(np.array([[1.0, 2.0], [3.0, 4.0]]), 5)(np.random.default_rng(0))
    >>> x0.shape, x1.shape, t.shape
    ((5, 2), (5, 2), (5,))
    """
    x0, x1 = x1 if isinstance(x1, tuple) else (None, x1)
    x1, n = as_data_rows("x1", x1), as_count("n", n)
    if x0 is not None:
        x0 = as_data_rows("x0", x0, x1.shape)

    def draw(rng):
        rows = rng.integers(len(x1), size=n)
        noise = rng.normal(size=(n, x1.shape[1])) if x0 is None else x0[rows]
        return noise, x1[rows], rng.random(n)
    return draw


def flow_matching(f, triples, theta):
    """The loss (30.3) and its gradient (p,) for triples (x₀ (n, d), x₁ (n, d), t (n,)) of `pairs`.

    f is a `VectorField`, theta its θ (p,). No equation is solved. ValueError or TypeError for unusable input.

    >>> from minode import MLP, fit
    >>> f, data = MLP([3, 8, 2], ["tanh", "identity"]), np.random.default_rng(0).normal(3.0, 0.1, (100, 2))
    >>> found = fit(lambda theta, batch: flow_matching(f, batch, theta), f.init(np.random.default_rng(1)),
    ...             n_steps=500, data=pairs(data, 64), learning_rate=0.02)
    >>> points = odeint(f, np.zeros((1, 2)), [0.0, 1.0], found.last)[-1]       # from the middle of the noise
    >>> bool(np.abs(points - 3.0).max() < 0.3)
    True
    """
    x0, x1, t = as_triples("triples", triples, f)
    x, v = line(x0, x1, t)                                                         # (30.1)
    value, vjp = f.value_and_vjp(t, x, as_real("theta", theta, (f.n_params,)))
    r = value - v                                                                  # (30.2)
    L = np.sum(r * r) / len(r)                                                     # (30.3)
    dL_dtheta = vjp(2 * r / len(r))[1]                                             # (30.3)
    return float(L), dL_dtheta


def line(x0, x1, t):
    """x_t and v of (30.1) for x₀ and x₁ (n, d) and t (n,)."""
    t = t[:, None]
    return (1 - t) * x0 + t * x1, x1 - x0                                          # (30.1)


def marginal_velocity(t, x, weights, means, deviations):
    """u(t, x) of (30.4) (..., d) for noise joined to a mixture: weights (K,), means (K, d), deviations (K,).

    t is a number from 0 to 1, or has the leading axes of x (..., d). ValueError or TypeError for
    unusable input.

    >>> marginal_velocity(0.0, np.array([0.5]), [1.0], [[2.0]], [0.1])        # E[x₁] − x
    array([1.5])
    """
    w, mu, s = as_mixture(weights, means, deviations)
    t, x = as_real("t", t)[..., None], as_real("x", x)[..., None, :]
    m, v = t[..., None] * mu, (1 - t) ** 2 + t**2 * s**2                           # (30.4)
    l = np.log(w) - np.sum((x - m) ** 2, axis=-1) / (2 * v) - mu.shape[1] / 2 * np.log(v)
    r = np.exp(l - log_sum_exp(l))                                                 # (30.4)
    slope = (t * s**2 - (1 - t)) / v                                               # (30.4)
    return np.sum(r[..., None] * (mu + slope[..., None] * (x - m)), axis=-2)       # (30.4)


def score_matching(s, triples, theta):
    """The loss (30.6) of a score s and its gradient (p,), for triples (ξ (n, d), x₀ (n, d), t (n,)).

    s is a `VectorField` whose value is the score. ξ is noise, x₀ data, and t > 0. ValueError or
    TypeError for unusable input. `pairs` draws such triples with t from [0, 1]; multiply t by the time
    that the noise needs.

    >>> from minode import Linear                            # data N(0, 1): the score is −x at any time
    >>> draw, theta = pairs(np.random.default_rng(0).normal(size=(10_000, 1)), 10_000), np.array([-1.0])
    >>> _, gradient = score_matching(Linear(1), draw(np.random.default_rng(1)), theta)
    >>> bool(np.abs(gradient) < 0.05)
    True
    """
    xi, x0, t = as_triples("triples", triples, s)
    check_after_start(t)
    x, root_v = diffused(x0, xi, t)                                                # (30.5)
    value, vjp = s.value_and_vjp(t, x, as_real("theta", theta, (s.n_params,)))
    r = root_v * value + xi                                                        # (30.6)
    return float(np.sum(r * r) / len(r)), vjp(2 * root_v * r / len(r))[1]          # (30.6)


def diffused(x0, xi, t):
    """x and √v of (30.5) for x₀ and ξ (n, d) and t (n,)."""
    t = t[:, None]
    root_v = np.sqrt(-np.expm1(-2 * t))                                            # (30.5)
    return np.exp(-t) * x0 + root_v * xi, root_v                                   # (30.5)


@on_arrays
class ScoreFlow(VectorField):
    """The probability flow (30.7) of a score s(t, y, θ) -> (..., d), a `VectorField`, with the same θ (p,).

    TypeError if s is no `VectorField`.

    >>> from minode import Linear                            # with the score −x nothing moves
    >>> ScoreFlow(Linear(2))(0.0, np.array([1.0, 2.0]), -np.eye(2).ravel())
    array([0., 0.])
    """

    def __init__(self, s):
        self.s, self.dim, self.n_params = as_field(s), s.dim, s.n_params
        if not has_second_derivatives(s):
            self.vjp_derivative = None                       # then the flow has none

    def __call__(self, t, y, theta):
        return -y - self.s(t, y, theta)                                            # (30.7)

    def jacobian(self, t, y, theta):
        return -np.eye(self.dim) - self.s.jacobian(t, y, theta)

    def param_jacobian(self, t, y, theta):
        return -self.s.param_jacobian(t, y, theta)

    def time_derivative(self, t, y, theta):
        return -self.s.time_derivative(t, y, theta)

    def vjp(self, t, y, theta, a):
        by_y, by_theta = self.s.vjp(t, y, theta, a)
        return -a - by_y, -by_theta

    def value_and_vjp(self, t, y, theta):
        value, vjp = self.s.value_and_vjp(t, y, theta)

        def product(a):
            by_y, by_theta = vjp(a)
            return -a - by_y, -by_theta
        return -y - value, product                                                 # (30.7)

    def jvp(self, t, y, theta, w, dtheta):
        return -w - self.s.jvp(t, y, theta, w, dtheta)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        by_y, by_theta = self.s.vjp_derivative(t, y, theta, a, w, dtheta)
        return -by_y, -by_theta


def straightness(f, x0, theta, n=32, **solver):
    """S (30.8) of the paths of f, with theta (p,), from x0 (N, d), by the trapezoidal rule on n intervals.

    0 is straight. `solver` are the keywords of `solve`. ValueError or TypeError for unusable input.

    >>> from minode import Linear
    >>> straightness(Linear(1), [[1.0]], np.zeros(1))        # nothing moves
    0.0
    """
    t = np.linspace(0.0, 1.0, as_count("n", n) + 1)
    xs = odeint(f, x0, t, theta, **solver)
    off = [xs[-1] - xs[0] - f(t_i, x, theta) for t_i, x in zip(t.tolist(), xs)]    # (30.8)
    return float(np.trapezoid(np.mean(np.sum(np.square(off), axis=-1), axis=-1), t))  # (30.8)

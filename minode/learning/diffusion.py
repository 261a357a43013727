"""27. From a stochastic to an ordinary differential equation

Push a particle at random while it moves. In a short time h it drifts by g h, and a normal random vector with
variance 2h in each component is added:

    dx = g(t, x) dt + √2 dW,   here with   g = −x.                       (27.1)

Here dW stands for the random pushes. The drift −x pulls to the origin, and the factor √2 makes the formulas
short. No path can be predicted, but the density p(t, ·) of many particles can. The drift changes it by the
continuity equation of chapter 26. Over a time h the pushes replace p(x) by the mean of p(x − √(2h) ξ), with ξ
standard normal. In its Taylor series the term of first order in ξ has mean zero, and the second leaves h Δp,
where Δp = Σ_i ∂²p/∂x_i² is the Laplacian. Both changes together are the Fokker–Planck equation

    ∂p/∂t = −∇ · (p g) + Δp.                                             (27.2)

This chapter rests on one observation. Since ∇p = p ∇ log p, we have Δp = ∇ · (p ∇ log p). So (27.2) is a
continuity equation ∂p/∂t = −∇ · (p f) without any randomness, for the field

    f(t, x) = g(t, x) − ∇ log p(t, x).                                   (27.3)

Start particles with the density p(0, ·) and let them follow dx/dt = f. At every time they have the same
density p(t, ·) as those that are pushed at random. This is the probability-flow equation (Maoutsa, Reich and
Opper 2020; Song et al. 2021), and ∇ log p is called the score. Its paths are not those of (27.1): only the
marginals p(t, ·) agree, which say how many particles are where, but not which. And an ordinary differential
equation also runs backwards, here from noise to data.

With g = −x, the Ornstein–Uhlenbeck process, everything has a closed form. (27.1) is linear, so a normal
density stays normal. Its mean m and the variance v of each component obey

    m' = −m,   v' = 2 − 2v = 2 e⁻²ᵗ (1 − v(0)).                          (27.4)

So a mixture of K normal densities, with weights w_k, means μ_k and standard deviations s_k, stays a mixture,

    p(t, x) = Σ_k w_k N(x; m_k, v_k),  m_k = e⁻ᵗ μ_k,  v_k = e⁻²ᵗ s_k² + 1 − e⁻²ᵗ,   (27.5)

and tends to the standard normal. Let ℓ_k = log(w_k N(x; m_k, v_k)), and let u_k = (m_k − x)/v_k be its
gradient in x. Let r_k = e^{ℓ_k} / Σ_j e^{ℓ_j} be the responsibility of component k, that is, the probability
that a particle at x belongs to it. Write ⟨q⟩ = Σ_k r_k q_k for a mean with these weights. The score is

    s = ∇ log p = ⟨u⟩.                                                   (27.6)

Let x, t or a parameter move. Then ∂r_k = r_k (∂ℓ_k − ⟨∂ℓ⟩), because the r_k sum to 1. So

    ∂s = Σ_k r_k ( ∂u_k + (u_k − s) ∂ℓ_k ),                              (27.7)

and every derivative of the score is this line with, in d dimensions,

    along m_k:      ∂u_k = I/v_k         ∂ℓ_k = −u_k,
    along v_k:      ∂u_k = −u_k/v_k      ∂ℓ_k = ½ (|u_k|² − d/v_k),
    along log w_k:  ∂u_k = 0             ∂ℓ_k = 1,
    along x:        −1 times the sum over k of what is along m_k,
    along μ_k:      e⁻ᵗ times what is along m_k,
    along log s_k:  2 e⁻²ᵗ s_k² times what is along v_k.                 (27.8)

Time moves m_k and v_k by (27.4). The parameters θ are log w_k, μ_k and log s_k. In practice p is not known,
and a network learns the score (chapter 30). From x = e⁻ᵗ x₀ + √v ξ, with x₀ of the data and v = 1 − e⁻²ᵗ, it
guesses −ξ/√v. The mean of −ξ/√v over all x₀ and ξ that lead to x is the score (Vincent 2011).

The random motion is simulated by the method of Euler and Maruyama, with ξ_n standard normal,

    x_{n+1} = x_n + h g(t_n, x_n) + √(2h) ξ_n.                           (27.9)

Its density is wrong by a multiple of h: with g = −x its variance tends to 1/(1 − h/2), not 1. A solver of
dx/dt = f goes back with h < 0. This method does not: to go back with noise, the score must be in the drift.

Second derivatives. The gradient of this flow's likelihood needs (26.6). Let x and θ move along given
directions, at fixed t, and let a dot mark the rate at which a quantity changes. By (27.8) and (27.7)

    u̇_k = (ṁ_k − ẋ − v̇_k u_k) / v_k,
    ℓ̇_k = (log w_k)˙ − u_k · (ṁ_k − ẋ) + ½ v̇_k (|u_k|² − d/v_k),
    ṙ_k = r_k (ℓ̇_k − ⟨ℓ̇⟩),     ṡ = Σ_k (r_k u̇_k + ṙ_k u_k).            (27.10)

Multiply (27.7) by a fixed row a. With e_k = a · (u_k − s), and ė_k = a · (u̇_k − ṡ) by the product rule,

    a · ∂s = Σ_k r_k q_k,     q_k = a · ∂u_k + e_k ∂ℓ_k,                 (27.11)
    (a · ∂s)˙ = Σ_k (ṙ_k q_k + r_k q̇_k),     q̇_k = a · ∂u̇_k + ė_k ∂ℓ_k + e_k ∂ℓ̇_k,   (27.12)

where ∂u̇_k and ∂ℓ̇_k are the rates at which the entries of (27.8) change:

    along m_k:     ∂u̇_k = −I v̇_k/v_k²               ∂ℓ̇_k = −u̇_k,
    along v_k:     ∂u̇_k = u_k v̇_k/v_k² − u̇_k/v_k    ∂ℓ̇_k = u_k · u̇_k + ½ d v̇_k/v_k²,
    along log w_k: ∂u̇_k = 0                         ∂ℓ̇_k = 0.          (27.13)

Figure 38 shows paths of (27.1) and of (27.3), and the one density of both by (27.2).

Next: where to stop (chapter 28).
"""

import numpy as np

from ..inputs import (as_arguments, as_count, as_density_time, as_floats, as_generator, as_increasing_times, as_real,
                      as_real_or_complex, as_velocity, on_arrays)
from .classify import log_sum_exp
from .mixture import Mixture, dot, sum_k


@on_arrays
class DiffusedMixture(Mixture):
    """The probability flow (27.3) of a mixture of K normal densities in d dimensions.

    θ is log w (K), the means (K × d, row by row) and log s (K), as `pack` lays them out. Only the
    ratios of the weights count. At t = 0 the density is the mixture itself. ValueError for sizes
    that are not positive, and for a t so far below 0 that some v_k would not be positive.

    >>> f = DiffusedMixture(1, 2)
    >>> theta = f.pack([0.5, 0.5], [[-2.0], [2.0]], [0.5, 0.5])
    >>> bool(f.score(0.3, np.zeros(1), theta)[0] == 0)       # in the middle, by symmetry
    True
    """

    def drift(self, t, y):
        """The drift g (27.1) of the process whose density this is, (..., d)."""
        return -y                                                                  # (27.1)

    def normals(self, t, theta):
        """m_k (..., K, d) and v_k (..., K) of (27.5); the leading axes are those of t."""
        (_, mu, log_s), t = self.unpack(theta), np.asarray(t)[..., None]
        m = np.exp(-t)[..., None] * mu                                             # (27.5)
        v = np.exp(-2 * t) * np.exp(2 * log_s) - np.expm1(-2 * t)                  # (27.5)
        return m, as_density_time(v, t)

    def at(self, t, y, theta):
        """v_k (..., K, 1), ℓ_k (..., K), r_k (..., K, 1), u_k (..., K, d) and s (..., 1, d)."""
        (m, v), d, log_w = self.normals(t, theta), self.dim, theta[:self.components, None]
        v = v[..., None]
        u = (m - y[..., None, :]) / v
        l = (log_w - 0.5 * v * dot(u, u) - 0.5 * d * np.log(2 * np.pi * v))[..., 0]  # (27.5)
        r = np.exp(l - log_sum_exp(l))[..., None]
        s = sum_k(r * u)                                                           # (27.6)
        return v, l, r, u, s

    @np.errstate(under="ignore")
    def log_density(self, t, y, theta):
        """log p(t, y) of (27.5): y is (..., d), the answer (...)."""
        t, y, theta = map(as_real_or_complex, ("t", "y", "theta"), (t, y, theta))
        _, l, _, _, _ = self.at(t, *as_arguments(self, y, theta))
        return (log_sum_exp(l) - log_sum_exp(theta[:self.components]))[..., 0]     # (27.5)

    @np.errstate(under="ignore")
    def score(self, t, y, theta):
        """s = ∇ log p (27.6), (..., d)."""
        return self.at(as_floats("t", t), *as_arguments(self, y, theta))[-1][..., 0, :]

    def score_derivatives(self, t, y, theta):
        """∂s (27.7) along each m_k (..., K, d, d), v_k (..., K, d, 1) and log w_k (..., K, d, 1)."""
        v, _, r, u, s = self.at(t, y, theta)

        def of_s(du, dl):
            return r[..., None] * (du + (u - s)[..., None] * dl[..., None, :])     # (27.7)
        along_m = of_s(np.eye(self.dim) / v[..., None], -u)                        # (27.8)
        along_v = of_s((-u / v)[..., None], 0.5 * (dot(u, u) - self.dim / v))      # (27.8)
        return along_m, along_v, of_s(0.0, np.ones_like(v))                        # (27.8)

    def score_jacobian(self, t, y, theta):
        """The Jacobian of the score in y, (..., d, d). Moving y is moving every m_k the other way."""
        return -self.score_derivatives(t, y, theta)[0].sum(axis=-3)                # (27.8)

    @np.errstate(under="ignore")
    def density_rate(self, t, y, theta):
        """∂p/∂t (...) by the Fokker–Planck equation (27.2)."""
        t, y, theta = map(as_real_or_complex, ("t", "y", "theta"), (t, y, theta))
        p, s, g = np.exp(self.log_density(t, y, theta)), self.score(t, y, theta), self.drift(t, y)
        div_g, div_s = -self.dim, np.trace(self.score_jacobian(t, y, theta), axis1=-2, axis2=-1)
        div_p_g = p * div_g + p * np.sum(s * g, axis=-1)                           # with ∇p = p s
        laplacian_p = p * div_s + p * np.sum(s * s, axis=-1)
        return -div_p_g + laplacian_p                                              # (27.2)

    @np.errstate(under="ignore")
    def __call__(self, t, y, theta):
        return self.drift(t, y) - self.score(t, y, theta)                          # (27.3)

    @np.errstate(under="ignore")
    def jacobian(self, t, y, theta):
        return -np.eye(self.dim) - self.score_jacobian(t, y, theta)

    @np.errstate(under="ignore")
    def time_derivative(self, t, y, theta):
        along_m, along_v, _ = self.score_derivatives(t, y, theta)
        (m, _), t, log_s = self.normals(t, theta), np.asarray(t)[..., None], theta[-self.components:]
        dm, dv = -m, 2 * np.exp(-2 * t) * -np.expm1(2 * log_s)                      # (27.4)
        return -np.sum((along_m @ dm[..., None] + along_v * dv[..., None, None])[..., 0], axis=-2)

    def chain(self, t, theta):
        """∂m_k/∂μ_k (..., 1, 1) and ∂v_k/∂log s_k (..., K, 1)."""
        t, log_s = np.asarray(t)[..., None, None], theta[-self.components:, None]
        return np.exp(-t), 2 * np.exp(-2 * t) * np.exp(2 * log_s)                  # (27.8)

    @np.errstate(under="ignore")
    def param_jacobian(self, t, y, theta):
        along_m, along_v, along_log_w = self.score_derivatives(t, y, theta)
        m_mu, v_log_s = (x[..., None] for x in self.chain(t, theta))
        blocks = along_log_w, m_mu * along_m, v_log_s * along_v                    # (27.8)
        return -np.concatenate([np.moveaxis(x, -3, -2).reshape(*y.shape, -1) for x in blocks], axis=-1)

    @np.errstate(under="ignore")
    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        (v, _, r, u, s), (m_mu, v_log_s), d = self.at(t, y, theta), self.chain(t, theta), self.dim
        log_w_dot, mu_dot, log_s_dot = (x.reshape(self.components, -1) for x in self.unpack(dtheta))
        x_dot, m_dot, v_dot, a = w[..., None, :], m_mu * mu_dot, v_log_s * log_s_dot, a[..., None, :]
        l_v = 0.5 * (dot(u, u) - d / v)                                            # (27.8)
        u_dot = (m_dot - x_dot - v_dot * u) / v                                    # (27.10)
        l_dot = log_w_dot - dot(u, m_dot - x_dot) + v_dot * l_v                    # (27.10)
        r_dot = r * (l_dot - sum_k(r * l_dot))                                     # (27.10)
        s_dot = sum_k(r * u_dot + r_dot * u)                                       # (27.10)
        l_v_dot = dot(u, u_dot) + 0.5 * d * v_dot / v**2                           # (27.13)
        e, e_dot = dot(a, u - s), dot(a, u_dot - s_dot)
        a_u, a_u_dot = dot(a, u), dot(a, u_dot)

        def weighed(a_du, dl, a_du_dot, dl_dot):                 # r_k q_k, and the rate at which it changes
            q = a_du + e * dl                                                      # (27.11)
            q_dot = a_du_dot + e_dot * dl + e * dl_dot                             # (27.12)
            return r * q, r_dot * q + r * q_dot                                    # (27.11) (27.12)
        _, by_m = weighed(a / v, -u, -a * v_dot / v**2, -u_dot)                    # (27.8) (27.13)
        rq_v, by_v = weighed(-a_u / v, l_v, a_u * v_dot / v**2 - a_u_dot / v, l_v_dot)  # (27.8) (27.13)
        _, by_log_w = weighed(0, 1, 0, 0)                                          # (27.8) (27.13)

        v_log_s_dot = 2 * log_s_dot * v_log_s                                      # v_log_s = 2 e⁻²ᵗ s² moves too
        blocks = by_log_w, m_mu * by_m, v_log_s * by_v + v_log_s_dot * rq_v
        by_theta = np.concatenate([x.reshape(*y.shape[:-1], -1) for x in blocks], axis=-1)
        return by_m.sum(axis=-2), -by_theta.reshape(-1, self.n_params).sum(axis=0)

    @np.errstate(under="ignore")
    def draw(self, n, t, theta, rng):
        """n points (n, d) from p(t, ·) itself, with a NumPy Generator: first a component k, then a normal."""
        t, theta = as_real("t", t, ()), as_real("theta", theta, (self.n_params,))
        (m, v), log_w = self.normals(t, theta), theta[:self.components]
        w = np.exp(log_w - log_sum_exp(log_w))
        k = as_generator(rng).choice(self.components, size=as_count("n", n), p=w / w.sum())
        return m[k] + np.sqrt(v[k])[:, None] * rng.normal(size=(n, self.dim))      # (27.5)


def euler_maruyama(g, y0, t, rng):
    """Paths of (27.1) by (27.9) from y0 (..., d), one step for each interval of t: (N, ..., d).

    g(t, y), of the shape of y, is the drift, and rng a NumPy Generator. t must increase, because a path
    has no way back. ValueError or TypeError for unusable input, or a drift that is not finite.

    >>> t, rng = np.linspace(0.0, 3.0, 301), np.random.default_rng(0)
    >>> paths = euler_maruyama(lambda t, y: -y, np.zeros((1000, 1)), t, rng)
    >>> paths.shape, bool(0.9 < paths[-1].std() < 1.1)        # on the way to the standard normal
    ((301, 1000, 1), True)
    """
    g, y, times, rng = as_velocity("g", g), as_real("y0", y0), as_increasing_times(t), as_generator(rng)
    ys = np.empty((len(times), *y.shape))
    ys[0] = y
    for n, h in enumerate(np.diff(times)):
        with np.errstate(all="ignore"):
            drift = as_real("g(t, y)", g(times[n], ys[n].copy()), y.shape)         # (27.9)
            ys[n + 1] = ys[n] + h * drift + np.sqrt(2 * h) * rng.normal(size=y.shape)  # (27.9)
    return as_real("y at the end of the path", ys)

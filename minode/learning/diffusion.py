"""27. From a stochastic to an ordinary differential equation

Shake a particle while it moves. Over a short time h it drifts by g h and is pushed at random, by a
normal vector of variance 2h in each component:

    dx = g(t, x) dt + √2 dW,   here with   g = −x.                       (27.1)

The drift −x pulls to the origin; the strength √2 makes the formulas short. Two particles from one
place part, and no path can be foretold, but the density p(t, ·) of many can. What the drift does
to it is the continuity equation of chapter 26. The pushes spread it: over h they replace p(x) by
the mean of p(x − √(2h) ξ), ξ standard normal, and in the Taylor series the first order in ξ
averages out and the second leaves h Δp, with Δp = Σ_i ∂²p/∂x_i², the Laplacian. Together that is
the Fokker–Planck equation

    ∂p/∂t = −∇ · (p g) + Δp.                                             (27.2)

Now the observation on which this chapter rests. Since ∇p = p ∇ log p,

    Δp = ∇ · ∇p = ∇ · (p ∇ log p),

and (27.2) is a continuity equation, ∂p/∂t = −∇ · (p f), without any randomness, for the field

    f(t, x) = g(t, x) − ∇ log p(t, x).                                   (27.3)

Start particles with the density p(0, ·) and let them follow dx/dt = f: at every time they have
the density p(t, ·) that the shaken ones have. Take the diffusion away, and correct the drift for
it by the score ∇ log p: this is the probability-flow equation (Maoutsa, Reich and Opper 2020; Song
et al. 2021). Its paths are not those of (27.1). Only the marginals are the same: who is where, not
who went where. And being an ordinary equation it runs backwards as well, from noise to data.

With g = −x everything is in closed form. This is the Ornstein–Uhlenbeck process. It is linear, so
that a normal density stays normal, and its mean m and the variance v of each component obey

    m' = −m,   v' = 2 − 2v.                                              (27.4)

So a mixture of K normal densities, of weights w_k, means μ_k and standard deviations s_k, stays one:

    p(t, x) = Σ_k w_k N(x; m_k, v_k),  m_k = e⁻ᵗ μ_k,  v_k = e⁻²ᵗ s_k² + 1 − e⁻²ᵗ,   (27.5)

which forgets where it came from and tends to the standard normal. Let ℓ_k be log(w_k N(x; m_k, v_k)),
u_k its gradient (m_k − x)/v_k, and r_k = e^{ℓ_k} / Σ_j e^{ℓ_j} the share that component k has in
the density at x. Then the score is

    ∇ log p = Σ_k r_k u_k.                                               (27.6)

Whatever moves, x, t or a parameter, ∂r_k = r_k (∂ℓ_k − Σ_j r_j ∂ℓ_j). So, with s for the score,

    ∂s = Σ_k r_k ( ∂u_k + (u_k − s) ∂ℓ_k ),                              (27.7)

and all derivatives of the field are this line with, in d dimensions,

    along x:       ∂u_k = −1/v_k             ∂ℓ_k = u_k,
    along m_k:     ∂u_k = 1/v_k              ∂ℓ_k = −u_k,
    along v_k:     ∂u_k = −u_k/v_k           ∂ℓ_k = ½ (|u_k|² − d/v_k),
    along log w_k: ∂u_k = 0                  ∂ℓ_k = 1.                   (27.8)

Time moves m_k and v_k by (27.4), and the parameters are log w_k, μ_k and log s_k. In practice p is
not known, and a network is trained to be the score: a diffusion model.

The shaken particle itself is simulated by the method of Euler and Maruyama, with ξ_n standard normal,

    x_{n+1} = x_n + h g(t_n, x_n) + √(2h) ξ_n,                           (27.9)

whose density is wrong by a multiple of h: with g = −x its variance ends at 1/(1 − h/2), not 1. The trap:
which way is backwards. A solver of dx/dt = f just takes h < 0. In (27.9) that is not possible, for
noise is not undone by more noise.

The gradient of this flow's likelihood needs (26.6), and so the derivative of (27.7). Weigh (27.7)
with a fixed a, let ⟨q⟩ be Σ_k r_k q_k, and a dot the rate of change while x and θ move along given
directions:

    a · ∂s = ⟨q⟩ with q_k = a · ∂u_k + e_k ∂ℓ_k,   e_k = a · (u_k − s),
    (a · ∂s)˙ = ⟨q (ℓ̇ − ⟨ℓ̇⟩) + q̇⟩,   ė_k = a · u̇_k − ⟨a · u̇ + e ℓ̇⟩.      (27.10)

Here the book ends.
"""

import numpy as np

from ..fields.base import VectorField, as_generator
from ..solvers.states import as_count, as_real, as_real_or_complex, as_times, as_velocity


class DiffusedMixture(VectorField):
    """The probability flow (27.3) of a mixture of K normal densities in d dimensions.

    θ is log w (K), the means (K × d, row by row) and log s (K), as `pack` lays them out; of the
    weights only the ratios count. At t = 0 the density is the mixture itself. ValueError for
    sizes that are not positive, and for a t so far below 0 that a v_k would not be.

    >>> f = DiffusedMixture(1, 2)
    >>> theta = f.pack([0.5, 0.5], [[-2.0], [2.0]], [0.5, 0.5])
    >>> bool(f.score(0.3, np.zeros(1), theta)[0] == 0)       # in the middle, by symmetry
    True
    """

    def __init__(self, dim, components):
        self.dim, self.components = as_count("dim", dim), as_count("components", components)
        self.n_params = self.components * (self.dim + 2)

    def pack(self, weights, means, deviations):
        """θ (p,) from weights (K,), means (K, d) and standard deviations (K,)."""
        K, d = self.components, self.dim
        weights, deviations = as_real("weights", weights, (K,)), as_real("deviations", deviations, (K,))
        for name, values in (("weights", weights), ("deviations", deviations)):
            if (values <= 0).any():
                raise ValueError(f"{name} must be positive, not {values}")
        return np.concatenate([np.log(weights), as_real("means", means, (K, d)).ravel(), np.log(deviations)])

    def unpack(self, theta):
        """log w (K,), μ (K, d), log s (K,) from θ."""
        K, d = self.components, self.dim
        return theta[:K], theta[K:K + K * d].reshape(K, d), theta[K + K * d:]

    def drift(self, t, y):
        """The drift g (27.1) of the process whose density this is, (..., d)."""
        return -y                                                                  # (27.1)

    def normals(self, t, theta):
        """m_k (..., K, d) and v_k (..., K) of (27.5); the leading axes are those of t."""
        _, mu, log_s = self.unpack(theta)
        decay = np.exp(-np.asarray(t))[..., None]
        m, v = decay[..., None] * mu, decay**2 * np.exp(2 * log_s) + 1 - decay**2  # (27.5)
        if not (v.real > 0).all():
            raise ValueError(f"t = {np.min(np.real(t))} is before any density that this mixture could come from")
        return m, v

    def shares(self, t, y, theta):
        """ℓ_k (..., K), u_k (..., K, d) and r_k (..., K)."""
        if np.shape(y)[-1:] != (self.dim,) or np.shape(theta) != (self.n_params,):
            raise ValueError(f"y and theta must have shapes (..., {self.dim}) and ({self.n_params},), "
                             f"not {np.shape(y)} and {np.shape(theta)}")
        m, v = self.normals(t, theta)
        u = (m - y[..., None, :]) / v[..., None]
        log_w = theta[:self.components]
        l = log_w - 0.5 * v * np.sum(u * u, axis=-1) - 0.5 * self.dim * np.log(2 * np.pi * v)  # (27.5)
        r = np.exp(l - l.real.max(axis=-1, keepdims=True))
        return l, u, r / r.sum(axis=-1, keepdims=True)

    def log_density(self, t, y, theta):
        """log p(t, y) of (27.5): y is (..., d), the answer (...)."""
        t, y, theta = map(as_real_or_complex, ("t", "y", "theta"), (t, y, theta))
        l, _, _ = self.shares(t, y, theta)
        return log_sum_exp(l) - log_sum_exp(theta[:self.components])               # (27.5)

    def score(self, t, y, theta):
        """∇ log p (27.6), (..., d)."""
        _, u, r = self.shares(t, y, theta)
        return np.sum(r[..., None] * u, axis=-2)                                   # (27.6)

    def score_moves(self, t, y, theta):
        """What each component has in (27.7): along m_k (..., K, d, d), along v_k and log w_k (..., K, d, 1)."""
        _, u, r = self.shares(t, y, theta)
        v = self.normals(t, theta)[1][..., None]
        off = u - np.sum(r[..., None] * u, axis=-2, keepdims=True)

        def share(du, dl):
            return r[..., None, None] * (du + off[..., None] * dl[..., None, :])   # (27.7)
        along_m = share(np.eye(self.dim) / v[..., None], -u)                       # (27.8)
        stretch = np.sum(u * u, axis=-1, keepdims=True) - self.dim / v             # (27.8)
        along_v = share((-u / v)[..., None], 0.5 * stretch)                        # (27.8)
        return along_m, along_v, share(0.0, np.ones_like(v))                       # (27.8)

    def score_jacobian(self, t, y, theta):
        """The Jacobian of the score in y, (..., d, d): a move of y is one of every m_k the other way."""
        return -self.score_moves(t, y, theta)[0].sum(axis=-3)                      # (27.8)

    def density_rate(self, t, y, theta):
        """∂p/∂t (...) by the Fokker–Planck equation (27.2): ∇·(p g) is p (∇·g + g·s), and Δp is p (∇·s + |s|²)."""
        t, y, theta = map(as_real_or_complex, ("t", "y", "theta"), (t, y, theta))
        s, g = self.score(t, y, theta), self.drift(t, y)
        spread = np.trace(self.score_jacobian(t, y, theta), axis1=-2, axis2=-1) + np.sum(s * s, axis=-1)
        carried = -self.dim + np.sum(g * s, axis=-1)
        return np.exp(self.log_density(t, y, theta)) * (spread - carried)          # (27.2)

    def __call__(self, t, y, theta):
        return self.drift(t, y) - self.score(t, y, theta)                          # (27.3)

    def jacobian(self, t, y, theta):
        return -np.eye(self.dim) - self.score_jacobian(t, y, theta)                # (27.3)

    def time_derivative(self, t, y, theta):
        along_m, along_v, _ = self.score_moves(t, y, theta)
        m, v = self.normals(t, theta)
        dm, dv = -m, 2 - 2 * v                                                     # (27.4)
        return -np.sum((along_m @ dm[..., None] + along_v * dv[..., None, None])[..., 0], axis=-2)

    def param_jacobian(self, t, y, theta):
        along_m, along_v, along_w = self.score_moves(t, y, theta)
        decay = np.exp(-np.asarray(t))[..., None, None, None]
        along_s = 2 * along_v * decay**2 * np.exp(2 * theta[-self.components:])[:, None, None]
        blocks = along_w, along_m * decay, along_s                                 # (27.5)
        return -np.concatenate([np.moveaxis(x, -3, -2).reshape(*y.shape, -1) for x in blocks], axis=-1)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        (_, u, r), (_, v), d = self.shares(t, y, theta), self.normals(t, theta), self.dim
        decay, (dlog_w, dmu, dlog_s) = np.exp(-np.asarray(t))[..., None], self.unpack(dtheta)
        v_s = 2 * decay**2 * np.exp(2 * theta[-self.components:])                  # ∂v_k/∂log s_k
        dx, dv, a = decay[..., None] * dmu - w[..., None, :], v_s * dlog_s, a[..., None, :]
        V, stretch = v[..., None], np.sum(u * u, axis=-1) - d / v
        du = (dx - u * dv[..., None]) / V                                          # (27.8)
        dl = 0.5 * stretch * dv - np.sum(u * dx, axis=-1) + dlog_w                 # (27.8)
        au, a_du = np.sum(a * u, axis=-1), np.sum(a * du, axis=-1)
        e, dl = (q - np.sum(r * q, axis=-1, keepdims=True) for q in (au, dl))
        de = a_du - np.sum(r * (a_du + e * dl), axis=-1, keepdims=True)            # (27.10)
        q = -au / v + 0.5 * e * stretch                                            # (27.8)
        dq = (au * dv / v - a_du) / v + 0.5 * (de * stretch + e * (2 * np.sum(u * du, axis=-1) + d * dv / v**2))
        by_s = r * v_s * (q * (dl + 2 * dlog_s) + dq)                              # (27.10)
        E, q = e[..., None], a / V - e[..., None] * u                              # (27.8)
        dq = -a * dv[..., None] / V**2 - de[..., None] * u - E * du
        by_m = r[..., None] * (q * dl[..., None] + dq)                             # (27.10)
        parts = r * (e * dl + de), (decay[..., None] * by_m).reshape(*r.shape[:-1], -1), by_s  # (27.10)
        return by_m.sum(axis=-2), -np.concatenate(parts, axis=-1).reshape(-1, self.n_params).sum(axis=0)

    def draw(self, n, t, theta, rng):
        """n points (n, d) from p(t, ·) itself, with a NumPy Generator: a component each, then a normal."""
        t, theta = as_real("t", t, ()), as_real("theta", theta, (self.n_params,))
        m, v = self.normals(t, theta)
        w = np.exp(theta[:self.components] - log_sum_exp(theta[:self.components]))
        k = as_generator(rng).choice(self.components, size=as_count("n", n), p=w / w.sum())
        return m[k] + np.sqrt(v[k])[:, None] * rng.normal(size=(n, self.dim))      # (27.5)


def log_sum_exp(l):
    """log Σ e^l along the last axis, of numbers of any size."""
    top = l.real.max(axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(l - top), axis=-1)) + top[..., 0]


def euler_maruyama(g, y0, t, rng):
    """Paths of (27.1) by (27.9) from y0 (..., d), one step for each interval of t: (N, ..., d).

    g(t, y), of the shape of y, is the drift and rng a NumPy Generator. ValueError or TypeError for
    unusable input, and a drift that is not finite: t must increase, for a path has no way back.

    >>> t, rng = np.linspace(0.0, 3.0, 301), np.random.default_rng(0)
    >>> paths = euler_maruyama(lambda t, y: -y, np.zeros((1000, 1)), t, rng)
    >>> paths.shape, bool(0.9 < paths[-1].std() < 1.1)        # pulled and pushed: the standard normal
    ((301, 1000, 1), True)
    """
    g, y, times, rng = as_velocity("g", g), as_real("y0", y0), as_times(t), as_generator(rng)
    if (np.diff(times) < 0).any():
        raise ValueError(f"t must increase, for noise is not undone going back, not {times}")
    ys = np.empty((len(times), *y.shape))
    ys[0] = y
    for n, h in enumerate(np.diff(times)):
        drift = as_real("g(t, y)", g(times[n], ys[n].copy()), y.shape)             # (27.9)
        ys[n + 1] = ys[n] + h * drift + np.sqrt(2 * h) * rng.normal(size=y.shape)  # (27.9)
    return ys

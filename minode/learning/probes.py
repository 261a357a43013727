"""Appendix to chapter 26. A network and its trace in one pass

What chapter 26 asks of an MLP whose θ is known. The tangents dx_{l,r} that start from the rows
v_r go through the layers beside the state: d of them for the exact trace, one for each row of
noise. Both ends of that pass are cheap. What the first layer makes of v_r is the same for the
whole solve; for the exact trace it is the columns of W₁. And of what the last layer makes of
the r-th tangent only the r-th component is wanted, which takes one row of W_m: the other d² − d
entries of f_y are never computed.

An array of tangents has the rows v_r in front, then the batch as one axis: (R, n, width).
"""

import numpy as np

from ..fields.base import as_generator
from ..fields.network import Network
from ..solvers.states import as_count


def rademacher(rng, n_probes, shape):
    """Noise (n_probes, ..., d) for `log_prob`, by (26.3) and Hutchinson (1990): ±1 with equal chances.

    shape (..., d) is that of y, a tuple of counts, rng a NumPy Generator. ValueError or TypeError where they
    are something else.

    >>> rademacher(np.random.default_rng(0), 2, (5, 3)).shape
    (2, 5, 3)
    """
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape must be a tuple, that of y, not {shape!r}")
    size = as_count("n_probes", n_probes), *(as_count("each of shape", n) for n in shape)
    return as_generator(rng).choice([-1.0, 1.0], size=size)


class ProbedNetwork(Network):
    """The field (26.5) of an MLP with θ filled in, and its vector-Jacobian product.

    States [y, ℓ] are (..., d + 1). `rows` (R, ..., d) are the v_r, or None for the exact trace.

    >>> from minode import MLP
    >>> f, theta = MLP([2, 2], ["identity"]), np.array([1.0, 2.0, 3.0, 4.0, 0.0, 0.0])
    >>> ProbedNetwork(f.layers(theta), f, float, None)(0.0, np.array([1.0, 0.0, 7.0]))
    array([ 1.,  3., -5.])
    """

    noted = linearize = read_in_place = None           # the way back computes its passes again

    def __init__(self, layers, mlp, dtype, rows):
        super().__init__(layers, mlp, dtype)
        self.totals = [np.zeros(Wt.shape, self.dtype) for Wt in self.weights]
        self.is_exact = rows is None
        self.rows = np.eye(mlp.dim) if self.is_exact else rows
        self.starts = {}

    def start(self, batch):
        """The v_r and what the first layer makes of them, (R, n, ·) both, once for each batch shape."""
        if batch not in self.starts:
            first = self.rows @ self.weights[0][-1 - self.mlp.dim:-1]              # (4.2)
            self.starts[batch] = [repeated(x, (*batch, x.shape[-1])).reshape(len(x), -1, x.shape[-1])
                                  for x in (self.rows, first)]
        return self.starts[batch]

    def push(self, t, y):
        """(x̃_{l−1}, dx_{l−1}, dz_l, z_l, x_l, σ_l') of each layer.

        Of the last layer dz is no tangent any more but Σ_r v_r ∘ dz_{m,r}, (n, d).
        """
        (v, dz), layers = self.start(y.shape[:-1]), []
        dx = v
        for (x, z, x_next), Wt, sigma in zip(self.trace(t, y), self.weights, self.mlp.sigmas):
            if layers and Wt is self.weights[-1] and self.is_exact:
                dz = np.einsum("rnk,kr->nr", dx, Wt[:-1])                          # (26.3)
            elif layers:
                dz = dx @ Wt[:-1]                                                  # (4.2)
            slope = np.atleast_2d(sigma.slope(z, x_next))
            layers.append((np.atleast_2d(x), dx, dz, z, x_next, slope))
            if Wt is not self.weights[-1]:
                dx = slope * dz                                                    # (4.2)
        if dz.ndim == 3:
            layers[-1] = *layers[-1][:2], np.sum(v * dz, axis=0), *layers[-1][3:]  # (26.3)
        return layers

    def __call__(self, t, s):
        *_, (_, _, v_dz, _, value, slope) = self.push(t, s[..., :-1])
        ds = np.empty((len(slope), s.shape[-1]), self.dtype)
        ds[:, :-1] = value
        ds[:, -1] = -np.sum(v_dz * slope, axis=-1)                                 # (26.5)
        return ds.reshape(s.shape)

    def vjp(self, t, s, a):
        """a times the Jacobian of (26.5); its share of θ is added to what `a_f_theta` returns."""
        layers, d = self.push(t, s[..., :-1]), self.mlp.dim
        a = a.reshape(-1, d + 1)
        g, c = a[:, :-1], -a[:, -1:]
        gamma = c * self.start(s.shape[:-1])[0]                                    # (26.8)
        for l in range(len(layers) - 1, -1, -1):
            (x, dx, dz, z, x_next, slope), W, total = layers[l], self.weights[l][:-1], self.totals[l]
            bend = np.einsum("rnk,rnk->nk", gamma, dz) if dz.ndim == 3 else c * dz  # (26.7)
            delta = g * slope + self.mlp.sigmas[l].curvature(z, x_next) * bend     # (26.7)
            eta = gamma * slope                                                    # (26.8)
            total += x.T @ delta                                                   # (26.7)
            fan_in, fan_out = dx.shape[-1], eta.shape[-1]
            total[-1 - fan_in:-1] += dx.reshape(-1, fan_in).T @ eta.reshape(-1, fan_out)  # (26.8)
            g = delta @ W.T                                                        # (26.7)
            if l > 0:
                gamma = eta @ W.T                                                  # (26.8)
        return np.concatenate([g[:, -d:], np.zeros((len(g), 1))], axis=1).reshape(s.shape)


def repeated(rows, shape):
    """The v_r (R, ..., d) as (R, *shape): repeated along the axes that they lack."""
    lacking = len(shape) + 1 - rows.ndim
    return np.broadcast_to(rows[(slice(None), *[None] * lacking)], (len(rows), *shape))

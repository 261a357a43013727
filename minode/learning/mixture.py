"""Appendix to chapter 27. The parameters of a mixture

This appendix lays out the parameters of K normal densities in one flat θ. It also has the two
sums of chapter 27: over the components of a vector, and over the densities of the mixture.
Arrays have an axis for k and one for the vector, (..., K, d). A quantity that is one number for
each density is (..., K, 1).
"""

import numpy as np

from ..fields.base import VectorField
from ..inputs import as_count, as_positive_array, as_real


class Mixture(VectorField):
    """A field whose θ is log w (K), the means (K × d, row by row) and log s (K)."""

    def __init__(self, dim, components):
        self.dim, self.components = as_count("dim", dim), as_count("components", components)
        self.n_params = self.components * (self.dim + 2)

    def pack(self, weights, means, deviations):
        """θ (p,) from weights (K,), means (K, d) and standard deviations (K,)."""
        K, d = self.components, self.dim
        log_w = np.log(as_positive_array("weights", weights, (K,)))
        log_s = np.log(as_positive_array("deviations", deviations, (K,)))
        return np.concatenate([log_w, as_real("means", means, (K, d)).ravel(), log_s])

    def unpack(self, theta):
        """log w (K,), μ (K, d), log s (K,) from θ."""
        K, d = self.components, self.dim
        return theta[:K], theta[K:K + K * d].reshape(K, d), theta[K + K * d:]


def dot(a, b):
    """a · b along the last axis, which becomes one of length 1."""
    return np.sum(a * b, axis=-1, keepdims=True)


def sum_k(x):
    """Σ_k x_k along the last axis but one, which becomes one of length 1."""
    return np.sum(x, axis=-2, keepdims=True)

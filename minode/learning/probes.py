"""Appendix to chapter 26. Rows for the trace

This appendix draws Hutchinson's noise, and arranges the arrays of chapter 26. The rows v_r of
(26.3) are one array (R, ..., d): the index r comes first, then the axes of the batch. The unit
vectors of the exact trace are the same for every state of the batch. So are the tangents dz_1
of a network's first layer, which are columns of W₁. Both have one row for the whole batch, and
are repeated only if the arithmetic needs it.
"""

import numpy as np

from ..fields.mlp import MLP
from ..inputs import as_generator, as_noise_shape


def rademacher(rng, n_probes, shape):
    """Noise (n_probes, ..., d) for `log_prob`, by (26.3) and Hutchinson (1990): ±1 with equal chances.

    shape (..., d) is that of y, a tuple of counts. rng is a NumPy Generator. ValueError or TypeError if
    they are something else.

    >>> rademacher(np.random.default_rng(0), 2, (5, 3)).shape
    (2, 5, 3)
    """
    return as_generator(rng).choice([-1.0, 1.0], size=as_noise_shape(n_probes, shape))


def repeated(v, t, y):
    """The v_r (R, ..., d), one for each y and in its precision, and t and y repeated for each of them."""
    lacking = y.ndim + 1 - v.ndim                          # axes of y that v lacks: unit vectors have none of a batch
    v = v.astype(y.real.dtype, copy=False).reshape(len(v), *[1] * lacking, *v.shape[1:])
    v = np.broadcast_to(v, (len(v), *y.shape))
    return v, np.broadcast_to(t, v.shape[:-1]) if np.ndim(t) else t, np.broadcast_to(y, v.shape)


def for_rows(v, s):
    """The v_r for the rows of s = [y, ℓ]: (R, 1, d) if they are the same for all rows, (R, N, d) if not."""
    if v.ndim == 2:
        return v[:, None].astype(s.real.dtype, copy=False)
    v, _, _ = repeated(v, 0.0, s[..., :-1])
    return v.reshape(len(v), -1, v.shape[-1])


def beside(y, last):
    """[y, last] as one array (..., d + 1)."""
    s = np.empty((*y.shape[:-1], y.shape[-1] + 1), np.result_type(y, last))
    s[..., :-1], s[..., -1] = y, last
    return s


def is_network(f):
    """Whether f is an `MLP` and computes as one: no subclass has replaced a method that computes."""
    if not isinstance(f, MLP):
        return False
    subclasses = type(f).__mro__[:type(f).__mro__.index(MLP)]
    anew = {name for kind in subclasses for name in vars(kind) if callable(getattr(MLP, name, None))}
    return anew <= {"__init__", "__repr__", "__getstate__", "init", "lipschitz", "value_and_vjp"}

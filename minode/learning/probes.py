"""Appendix to chapter 26. A network and its trace in one pass

What chapter 26 asks of an MLP whose θ is known. The tangents dx_{l,r} that start from the rows
v_r go through the layers beside the state: d of them for the exact trace, one for each row of
noise. Both ends of that pass are cheap. What the first layer makes of v_r is the same for the
whole solve; for the exact trace it is the columns of W₁. And of what the last layer makes of
the r-th tangent only the r-th component is wanted, which takes one row of W_m: the other d² − d
entries of f_y are never computed.

On the way back both ask for everything that the pass came across: of a network 3–32–32–2, the flow of
figure 37, some 400 numbers for each point and stage, where the state is 3. The discrete route keeps
them, up to about 128 MB; of what comes later it keeps the point, and makes the pass again.

An array of tangents has the rows v_r in front, then the batch as one axis: (R, n, width).
"""

from math import prod

import numpy as np

from ..fields.base import as_generator
from ..fields.network import Network
from ..solvers.states import as_count

KEPT = 2**24            # numbers that are kept of passes, 128 MB


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

    linearize = read_in_place = None

    def __init__(self, layers, mlp, dtype, rows):
        super().__init__(layers, mlp, dtype)
        self.totals = [np.zeros(Wt.shape, self.dtype) for Wt in self.weights]
        self.is_exact = rows is None
        self.rows = np.eye(mlp.dim) if self.is_exact else rows
        self.starts, self.traits = {}, (len(self.rows), self.is_exact)

    def start(self, batch):
        """The v_r and what the first layer makes of them, (R, n, ·) both, once for each batch shape."""
        if batch not in self.starts:
            first = self.rows @ self.weights[0][-1 - self.mlp.dim:-1]              # (4.2)
            self.starts[batch] = [repeated(x, (*batch, x.shape[-1])).reshape(len(x), -1, x.shape[-1])
                                  for x in (self.rows, first)]
        return self.starts[batch]

    def new_note(self, shape, weights):
        """A room for a pass, and an empty list that `push` fills."""
        d, n = self.mlp.dim, prod(shape[:-1])
        inputs, sums = ([np.empty((n, k), self.dtype) for k in widths]
                        for widths in zip(*(Wt.shape for Wt in weights)))
        return self.furnish((*shape[:-1], d), weights, inputs, sums, np.empty((n, d), self.dtype), slice(None)), []

    def push(self, note, t, y):
        """The list of the note, with (x̃_{l−1}, dx_{l−1}, dz_l, z_l, x_l, σ_l') of each layer.

        Of the last layer dz is no tangent any more but Σ_r v_r ∘ dz_{m,r}, (n, d). Where an earlier pass has
        filled the list, what it made (`own`) is written over.
        """
        room, layers = note
        states, own, made = self.trace(t, y, room), layers or [(None,) * 6] * len(self.weights), []
        v, dz = self.start(y.shape[:-1])
        for (x, z, x_next), Wt, sigma, (_, dx, own_dz, _, _, slope) in zip(states, self.weights, self.mlp.sigmas, own):
            dx = np.multiply(made[-1][-1], dz, dx) if made else v                  # (4.2)
            is_last = Wt is self.weights[-1]
            if made and is_last and self.is_exact:
                dz = np.einsum("rnk,kr->nr", dx, Wt[:-1], out=own_dz)              # (26.3)
            elif made:
                dz = np.matmul(dx, Wt[:-1], None if is_last else own_dz)           # (4.2)
            if is_last and dz.ndim == 3:
                dz = np.sum(v * dz, axis=0)                                        # (26.3)
            made.append((x, dx, dz, z, x_next, sigma.slope(z, x_next, slope)))
        layers[:] = made
        return layers

    def velocity(self, layers, shape):
        """(26.5) at the end of that pass, for states of this shape."""
        *_, (_, _, v_dz, _, value, slope) = layers
        ds = np.empty((len(slope), shape[-1]), self.dtype)
        ds[:, :-1] = value
        ds[:, -1] = -np.sum(v_dz * slope, axis=-1)                                 # (26.5)
        return ds.reshape(shape)

    def fill(self, note, t, s):
        return self.velocity(self.push(note, t, s[..., :-1]), s.shape)

    def noted(self, t, s):
        note_size = prod(s.shape[:-1]) * sum(self.mlp.widths) * (2 * len(self.rows) + 3)
        if self.lent * note_size < KEPT:
            return super().noted(t, s)
        self.log.append((None, (t, s.copy())))
        return self(t, s)

    def give_back(self, notes):
        full = [note for note in notes if note[0] is not None]
        if full:
            super().give_back(full)

    def scratch(self, shape):
        """The note of all the passes that nobody keeps, for states of one shape."""
        if shape not in self.rooms:
            self.starts.clear()
            self.rooms = {shape: self.new_note(shape, self.widened)}
        return self.rooms[shape]

    def __call__(self, t, s):
        return self.fill(self.scratch(s.shape), t, s)

    def vjp(self, t, s, a):
        """a times the Jacobian of (26.5); its share of θ is added to what `a_f_theta` returns."""
        note, a_f_s = self.scratch(s.shape), np.empty(s.shape, self.dtype)
        self.push(note, t, s[..., :-1])
        self.pull(note, a, a_f_s)
        return a_f_s

    def pull(self, note, a, out):
        """The vector-Jacobian product at the point of that note, into out; its share of θ as in `vjp`."""
        (room, layers), d, batch = note, self.mlp.dim, a.shape[:-1]
        if room is None:                               # of this one there is the point alone
            t, s = layers
            layers = self.push(self.scratch(s.shape), t, s[..., :-1])
        a = a.reshape(-1, d + 1)
        g, c = a[:, :-1], -a[:, -1:]
        gamma = c * self.start(batch)[0]                                           # (26.8)
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
        out[..., :-1], out[..., -1] = g[:, -d:].reshape(*batch, d), 0.0


def repeated(rows, shape):
    """The v_r (R, ..., d) as (R, *shape): repeated along the axes that they lack."""
    lacking = len(shape) + 1 - rows.ndim
    return np.broadcast_to(rows[(slice(None), *[None] * lacking)], (len(rows), *shape))

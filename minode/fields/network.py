"""Appendix to chapter 4. The passes through the layers

An MLP whose θ is known, with the arrays that it works in. A solver evaluates the same
network at the same θ hundreds of times, and for a small network most of that time would go into
taking θ apart and making arrays; so both are done once. x̃ has its last entry set to 1 when
it is made, and each layer writes its result into the x̃ of the next.

A wide batch has another reason to work in the same arrays again: fresh memory of some megabytes
has to be mapped page by page when it is first touched, which can take longer than the
arithmetic that fills it.
"""

import numpy as np


class Network:
    """An MLP with θ filled in: f(t, y), and its vector-Jacobian product.

    It works in arrays that are made once for each shape of y.

    >>> from minode import MLP
    >>> f, theta = MLP([2, 2], ["sin"]), np.arange(6.0)
    >>> f.bind(theta, np.zeros(2))(0.0, np.ones(2)) == f(0.0, np.ones(2), theta)
    array([ True,  True])
    """

    def __init__(self, layers, mlp, dtype):
        self.mlp, self.dtype = mlp, dtype
        self.weights = homogeneous(layers)
        self.totals = None
        self.rooms = {}

    def __call__(self, t, y):
        value = self.forward(self.room_for(y.shape), t, y)
        return value.reshape(y.shape)

    def room_for(self, shape):
        room = self.rooms.get(shape)
        if room is None:
            room = self.rooms[shape] = self.room(shape[:-1])
        return room

    def room(self, batch):
        """Arrays for one pass over a batch: views for t and y in x̃_0, and (x̃_{l−1}, W̃_lᵀ, z_l, x_l, σ_l).

        The batch is one axis in them, for a matrix product is fastest of matrices.
        """
        rows = (int(np.prod(batch)),) if batch else ()
        inputs = [np.empty((*rows, len(Wt)), self.dtype) for Wt in self.weights]
        for x in inputs:
            x[..., -1] = 1.0
        sums = [np.empty((*rows, Wt.shape[1]), self.dtype) for Wt in self.weights]
        outputs = [x[..., :-1] for x in inputs[1:]] + [None]
        first = inputs[0].reshape(*batch, len(self.weights[0]))
        clock = first[..., 0] if self.mlp.sees_time else None
        return clock, first[..., -1 - self.mlp.dim:-1], [*zip(inputs, self.weights, sums, outputs, self.mlp.sigmas)]

    def forward(self, room, t, y):
        """x_m of (4.1), every layer before it written into the room."""
        clock, state, layers = room
        if clock is not None:
            clock[...] = t
        state[...] = y
        for x, Wt, z, x_next, sigma in layers:
            np.dot(x, Wt, out=z)                                                   # (4.1)
            value = sigma.value(z, x_next)                                         # (4.1)
        return value

    def trace(self, t, y):
        """[(x̃_{l−1}, z_l, x_l), ...] of the evaluation at (t, y), in the room of its shape."""
        room = self.room_for(y.shape)
        value = self.forward(room, t, y)
        return [(x, z, value if x_next is None else x_next) for x, _, z, x_next, _ in room[2]]

    def vjp(self, t, y, a):
        """a f_y; a f_θ, (4.4), is added to what `a_f_theta` returns."""
        traced = self.trace(t, y)
        if self.totals is None:
            self.totals = [np.zeros(Wt.shape, self.dtype) for Wt in self.weights]
        g = a.reshape(traced[-1][2].shape)
        for (x, z, x_next), Wt, total, sigma in zip(
                traced[::-1], self.weights[::-1], self.totals[::-1], self.mlp.sigmas[::-1]):
            delta = sigma.slope(z, x_next)
            delta *= g                                                             # (4.3)
            total += x.reshape(-1, x.shape[-1]).T @ delta.reshape(-1, delta.shape[-1])  # (4.4)
            g = delta @ Wt[:-1].T                                                  # (4.3)
        return g[..., -self.mlp.dim:].reshape(y.shape)

    def a_f_theta(self):
        """The sum of all a f_θ pulled so far, laid out like θ."""
        if self.totals is None:
            return np.zeros(self.mlp.n_params)
        return flat(self.totals)


def homogeneous(layers):
    """[W̃_1ᵀ, ..., W̃_mᵀ] from [(W_1, b_1), ...]: (fan_in + 1, fan_out) each, the bias in the last row."""
    return [np.concatenate([W.T, b[None]]) for W, b in layers]


def flat(matrices):
    """What `homogeneous` took apart put together again, a vector laid out like θ."""
    return np.concatenate([part for Wt in matrices for part in (Wt[:-1].T.ravel(), Wt[-1])])

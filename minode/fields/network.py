"""Appendix to chapter 4. The passes through the layers

An MLP whose θ is known, with the arrays that it works in. A solver evaluates the same
network at the same θ hundreds of times, and for a small network most of that time would go into
taking θ apart and making arrays; so both are done once. x̃ has its last entry set to 1 when
it is made, and each layer writes its result into the x̃ of the next.

A wide batch has another reason to work in the same arrays again: fresh memory of some megabytes
has to be mapped page by page when it is first touched, which can take longer than the
arithmetic that fills it. So the way back has arrays of its own; and the passes that are kept for
it, so that no layer is computed again, lie in arrays that the MLP keeps from one gradient to the next.
"""

from math import prod
from typing import NamedTuple

import numpy as np


class Room(NamedTuple):
    """The arrays of a pass: views for t and y in x̃_0; and layer by layer, first to last,

    way_in: a product with x̃_{l−1}, W̃_lᵀ, z_l, where x_l goes (None: to a new array), and σ_l;
    way_out: a product with x̃_{l−1}ᵀ, z_l and x_l.
    """

    clock: np.ndarray
    state: np.ndarray
    way_in: list
    way_out: list


class Network:
    """An MLP with θ filled in: f(t, y), and its vector-Jacobian product.

    It works in arrays that are made once for each shape of y. `noted(t, y)` is f(t, y) in a room that
    is kept on the list `log`, and `pull(room, a)` is what `vjp` is there; `give_back` takes rooms
    that are not needed any more.

    >>> from minode import MLP
    >>> f, theta = MLP([2, 2], ["sin"]), np.arange(6.0)
    >>> f.bind(theta, np.zeros(2))(0.0, np.ones(2)) == f(0.0, np.ones(2), theta)
    array([ True,  True])
    """

    def __init__(self, layers, mlp, dtype):
        self.mlp, self.dtype = mlp, dtype
        self.weights = homogeneous(layers)
        self.totals = None
        self.rooms, self.desks, self.log = {}, {}, []

    def __call__(self, t, y):
        value = self.forward(self.rooms.get(y.shape) or self.new_room(y.shape), t, y)
        return value if y.ndim < 3 else value.reshape(y.shape)

    def noted(self, t, y):
        idle = self.mlp.idle.get((y.shape, self.dtype))
        if idle:
            room = idle.pop()                    # with the weights of the network that left it
            room.way_in[:] = [(times, Wt, *rest) for (times, _, *rest), Wt in zip(room.way_in, self.weights)]
        else:
            room = self.room_to_keep(y.shape)
        self.log.append(room)
        return self.forward(room, t, y).reshape(y.shape)

    def give_back(self, rooms):
        for room in rooms:
            self.mlp.idle.setdefault((room.state.shape, self.dtype), []).append(room)

    def new_room(self, shape):
        """The room in which all passes of this shape are made; x_m alone is new each time."""
        rows = (prod(shape[:-1]),) if len(shape) > 1 else ()
        inputs, sums = ([np.empty((*rows, n), self.dtype) for n in widths]
                        for widths in zip(*(Wt.shape for Wt in self.weights)))
        self.rooms[shape] = self.furnish(shape, inputs, sums, None)
        return self.rooms[shape]

    def room_to_keep(self, shape):
        """A room with an x_m, and with a z_l of its own only where a slope reads it."""
        rows = prod(shape[:-1])
        inputs = [np.empty((rows, len(Wt)), self.dtype) for Wt in self.weights]
        sums = [np.empty_like(delta) if sigma.reads_z else delta
                for sigma, (_, _, _, delta, _, _) in zip(self.mlp.sigmas, self.desk(shape))]
        return self.furnish(shape, inputs, sums, np.empty((rows, self.mlp.dim), self.dtype))

    def furnish(self, shape, inputs, sums, last):
        """The `Room` of these arrays. The batch is one axis in them, for products are fastest of matrices."""
        for x in inputs:
            x[..., -1] = 1.0
        first = inputs[0].reshape(*shape[:-1], len(self.weights[0]))
        outputs = [x[..., :-1] for x in inputs[1:]] + [last]
        way_in = [*zip([x.dot for x in inputs], self.weights, sums, outputs, [s.value for s in self.mlp.sigmas])]
        way_out = [(x.reshape(-1, x.shape[-1]).T.dot, z, x_next) for x, z, x_next in zip(inputs, sums, outputs)]
        return Room(first[..., 0] if self.mlp.sees_time else None, first[..., -1 - self.mlp.dim:-1], way_in, way_out)

    def desk(self, shape):
        """The arrays of the way back, for each layer: (σ_l', W_l, the sums (4.4), δ_l, a term of them, g_{l−1})."""
        if self.totals is None:
            self.totals = [np.zeros(Wt.shape, self.dtype) for Wt in self.weights]
        if shape not in self.desks:
            rows = prod(shape[:-1])
            self.desks[shape] = [
                (sigma.slope, Wt[:-1].T, total, np.empty((rows, Wt.shape[1]), self.dtype), np.empty(Wt.shape, self.dtype),
                 np.empty((rows, len(Wt) - 1), self.dtype))
                for sigma, Wt, total in zip(self.mlp.sigmas, self.weights, self.totals)]
        return self.desks[shape]

    def forward(self, room, t, y):
        """x_m of (4.1), every layer before it written into the room."""
        clock, state, layers, _ = room
        if clock is not None:
            clock[...] = t
        state[...] = y
        for times, Wt, z, x_next, sigma in layers:
            times(Wt, z)                                                           # (4.1)
            value = sigma(z, x_next)                                               # (4.1)
        return value

    def trace(self, t, y):
        """[(x̃_{l−1}, z_l, x_l), ...] of the evaluation at (t, y), in the room of its shape."""
        room = self.rooms.get(y.shape) or self.new_room(y.shape)
        value = self.forward(room, t, y)
        return [(times.__self__, z, value if x is None else x) for times, _, z, x, _ in room.way_in]

    def vjp(self, t, y, a):
        """a f_y; a f_θ, (4.4), is added to what `a_f_theta` returns."""
        room = self.rooms.get(y.shape) or self.new_room(y.shape)
        value, (times, z, _) = self.forward(room, t, y), room.way_out[-1]
        return self.back([*room.way_out[:-1], (times, z, value)], a).copy()

    def pull(self, room, a):
        """`vjp` where `noted` was; the answer lasts until the next."""
        return self.back(room.way_out, a)

    def back(self, layers, a):
        g = a.reshape(-1, self.mlp.dim)
        for (times, z, x), (slope, W, total, delta, term, g_before) in [*zip(layers, self.desk(a.shape))][::-1]:
            slope(z, x, delta)
            delta *= g                                                             # (4.3)
            times(delta, term)                                                     # (4.4)
            total += term                                                          # (4.4)
            g = delta.dot(W, g_before)                                             # (4.3)
        return g[:, -self.mlp.dim:].reshape(a.shape)

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

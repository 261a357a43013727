"""Appendix to chapter 4. The passes through the layers

An MLP whose θ is known, with the arrays that it works in. A solver evaluates the same network
at the same θ hundreds of times, and for a small network most of that time would go into
taking θ apart and making arrays; so both are done once. Each layer writes its result into the
x̃ of the next, whose last entry is 1. So that σ has one unbroken array to go through, W̃ᵀ has
a column of zeros in that place, and the 1 is written over what σ makes of it.

A wide batch has another reason to work in the same arrays again: fresh memory of some megabytes
has to be mapped page by page when it is first touched, which can take longer than the arithmetic
that fills it. So the passes that are kept for the way back, where no layer is computed again, lie in
arrays that the MLP keeps from one gradient to the next, for states of one shape; `f.idle.clear()` frees
them. A pass takes the layers a part of the batch at a time, which the processor's cache has room for.
"""

from math import prod
from typing import NamedTuple

import numpy as np

PART = 2**16            # numbers of a layer that are worked on at a time, 512 kB
FEW = 32                # states of fewer numbers in all are small, if those times the widest layer are below FEW²


class Room(NamedTuple):
    """The arrays of a pass: views for t and y in x̃_0; and layer by layer, first to last,

    way_in: a product with x̃_{l−1}, W̃_lᵀ, z_l, where x̃_l goes (None: to a new array), σ_l, the place of its 1;
    way_out, last to first: a product with x̃_{l−1}ᵀ, z_l and x̃_l; empty until it is needed.
    `rows` is the part of the batch that they are for, `clock` None in an autonomous network.
    """

    clock: np.ndarray
    state: np.ndarray
    way_in: list
    way_out: list
    rows: slice


class Network:
    """An MLP with θ filled in: f(t, y), and its vector-Jacobian product.

    It works in arrays that are made once for each shape of y. `noted(t, y)` is f(t, y) for states of
    one shape and a number t, and leaves a note, the rooms it was computed in and x_m, on the list `log`;
    the next call may write its answer into the same array. `pull(note, a, out)` writes into out the
    vector-Jacobian product at that point; `give_back` takes notes that are not needed any more.
    `read_in_place(y)` is the part of x̃_0 for a single y: what is computed there need not be copied.

    >>> from minode import MLP
    >>> f, theta = MLP([2, 2], ["sin"]), np.arange(6.0)
    >>> f.bind(theta, np.zeros(2))(0.0, np.ones(2)) == f(0.0, np.ones(2), theta)
    array([ True,  True])
    """

    def __init__(self, layers, mlp, dtype):
        self.mlp, self.dtype = mlp, dtype
        self.weights = homogeneous(layers)
        *before, last = self.weights
        self.widened = [*(np.concatenate([Wt, 0 * Wt[:, :1]], axis=1) for Wt in before), last]
        self.totals = [np.zeros(Wt.shape, np.result_type(dtype, float)) for Wt in self.widened]     # of (4.4)
        self.rooms, self.desks, self.log, self.lent = {}, {}, [], 0
        self.idle, self.value, self.entrance, self.traits = None, None, None, ()    # traits: what notes differ by

    def __call__(self, t, y):
        if y is self.entrance:
            return self.forward(self.ready, t, y)
        value = self.forward(self.rooms.get(y.shape) or self.new_room(y.shape), t, y)
        return value if y.ndim < 3 else value.reshape(y.shape)

    def read_in_place(self, y):
        if y.ndim == 1 and y.dtype == self.dtype:           # the y of a batch lie apart in x̃_0
            self.ready = self.rooms.get(y.shape) or self.new_room(y.shape)
            self.entrance = self.ready.state
            return self.entrance

    def noted(self, t, y):
        if self.idle is None:                               # no other network may work in these
            self.kind = y.shape, self.dtype, self.weights[0].dtype, *self.traits
            stocks = self.mlp.idle.get(self.kind, [])
            self.mlp.idle = {self.kind: stocks}
            self.kept, self.idle = stocks.pop() if stocks else ([np.empty_like(Wt) for Wt in self.widened], [])
            for Wt, own in zip(self.kept, self.widened):
                Wt[...] = own
        note = self.idle.pop() if self.idle else self.new_note(y.shape, self.kept)
        self.log.append(note)
        self.lent += 1
        return self.fill(note, t, y)

    def fill(self, note, t, y):
        (rooms, value), y = note, y.reshape(-1, self.mlp.dim)
        for room in rooms:
            self.forward(room, t, y[room.rows])
        return value

    def give_back(self, notes):
        self.idle.extend(notes)
        self.lent -= len(notes)
        if self.lent == 0:                                  # all are back, for the next network
            stocks = self.mlp.idle.get(self.kind, [])
            self.mlp.idle, self.idle = {self.kind: [*stocks, (self.kept, self.idle)]}, None

    def new_room(self, shape):
        """The room in which all passes of this shape are made; x_m alone is new each time."""
        rows = (prod(shape[:-1]),) if len(shape) > 1 else ()
        inputs = [np.empty((*rows, len(Wt)), self.dtype) for Wt in self.widened]
        sums = [np.empty((*rows, Wt.shape[1]), self.dtype) for Wt in self.widened]
        return self.rooms.setdefault(shape, self.furnish(shape, self.widened, inputs, sums, None, slice(None)))

    def new_note(self, shape, weights):
        """Rooms for a part of the batch each, and x_m; z_l and x_m are their own where a slope reads them."""
        batch, widest, rooms = prod(shape[:-1]), max(len(Wt) for Wt in self.weights), []
        if self.value is None or self.mlp.sigmas[-1].reads:
            self.value = np.empty(shape, self.dtype)
        cuts = np.linspace(0, batch, max(1, -(-batch * widest // PART)) + 1).astype(int)
        for rows in map(slice, cuts[:-1], cuts[1:]):
            last = self.value.reshape(-1, self.mlp.dim)[rows]
            inputs = [aligned((len(last), len(Wt)), self.dtype) for Wt in self.weights]
            sums = [aligned(delta.shape, self.dtype) if "z" in sigma.reads else delta
                    for sigma, (_, _, _, delta, _, _) in zip(self.mlp.sigmas, self.desk(len(last))[::-1])]
            rooms.append(self.furnish(last.shape, weights, inputs, sums, last, rows))
        return rooms, self.value

    def furnish(self, shape, weights, inputs, sums, last, rows):
        """The `Room` of these arrays. The batch is one axis in them: products are fastest of matrices."""
        for x in inputs:
            x[..., -1] = 1.0
        first = inputs[0].reshape(*shape[:-1], len(self.weights[0]))
        outputs, ones = inputs[1:] + [last], [x[..., -1] for x in inputs[1:]] + [None]
        values = [sigma.value for sigma in self.mlp.sigmas]
        way_in = [*zip([x.dot for x in inputs], weights, sums, outputs, values, ones)]
        clock, state = first[..., 0] if self.mlp.sees_time else None, first[..., -1 - self.mlp.dim:-1]
        return Room(clock, state, way_in, [], rows)

    def desk(self, rows):
        """The way back, last layer first: σ_l' or None for 1, W_l, the sums (4.4), δ_l, a term of them, g_{l−1}."""
        if rows not in self.desks:
            desk = []
            for sigma, Wt, total in zip(self.mlp.sigmas, self.widened, self.totals):
                W = Wt.T if desk else Wt[-1 - self.mlp.dim:-1].T           # of x̃_0 only y is asked for
                delta, term, g_before = (aligned(shape, self.dtype) for shape in (
                    (rows, Wt.shape[1]), Wt.shape, (rows, W.shape[1])))
                desk.insert(0, (sigma.slope if sigma.reads else None, W, total, delta, term, g_before))
            self.desks[rows] = desk
        return self.desks[rows]

    def forward(self, room, t, y):
        """x_m of (4.1), every layer before it written into the room."""
        clock, state, layers, _, _ = room
        if clock is not None:
            clock[()] = t
        if y is not state:
            state[...] = y
        for product, Wt, z, x_next, sigma, one in layers:
            product(Wt, z)                                                         # (4.1)
            value = sigma(z, x_next)                                               # (4.1)
            if one is not None:
                one[...] = 1.0
        return value

    def trace(self, t, y, room=None):
        """[(x̃_{l−1}, z_l, x_l), ...] of the evaluation at (t, y), in this room or that of its shape."""
        room = room or self.rooms.get(y.shape) or self.new_room(y.shape)
        value = self.forward(room, t, y)
        return [(product.__self__, z[..., :n], (value if x is None else x)[..., :n])
                for (product, _, z, x, _, _), n in zip(room.way_in, self.mlp.widths[1:])]

    def vjp(self, t, y, a):
        """a f_y; a f_θ, (4.4), is added to what `a_f_theta` returns."""
        room = self.rooms.get(y.shape) or self.new_room(y.shape)
        (product, z, _), *others = room.way_out or turn(room)
        value, a_f_y = self.forward(room, t, y), np.empty(y.shape, self.dtype)
        a, out = a.reshape(-1, self.mlp.dim), a_f_y.reshape(-1, self.mlp.dim)
        self.back([(product, z, value), *others], a, out)
        return a_f_y

    def pull(self, note, a, out):
        """The vector-Jacobian product at the point of that note, into out; a f_θ is added as in `vjp`."""
        if a.ndim != 2:
            a, out = a.reshape(-1, self.mlp.dim), out.reshape(-1, self.mlp.dim)
        for room in note[0]:
            self.back(room.way_out or turn(room), a[room.rows], out[room.rows])

    def back(self, layers, g, out):
        desk = self.desks.get(len(g)) or self.desk(len(g))
        for (product, z, x), (slope, W, total, delta, term, g_before) in zip(layers, desk):
            if slope is None:
                delta[...] = g                                                     # (4.3)
            else:
                slope(z, x, delta)
                delta *= g                                                         # (4.3)
            product(delta, term)                                                   # (4.4)
            total += term                                                          # (4.4)
            g = delta.dot(W, g_before)                                             # (4.3)
        out[...] = g

    def backward(self, t, y):
        """D_l, G_{l−1} of (4.5), (d, rows, ·), and (x̃_{l−1}, σ_l', W̃_lᵀ), last layer first; G₀ is [f_t, f_y]."""
        G = np.eye(self.mlp.dim, dtype=self.dtype)[:, None]                        # (4.5)
        for (x, z, x_next), Wt, sigma in reversed([*zip(self.trace(t, y), self.weights, self.mlp.sigmas)]):
            slope = sigma.slope(z, x_next).reshape(-1, len(Wt[0]))
            D = G * slope                                                          # (4.5)
            G = D @ Wt[:-1].T                                                      # (4.5)
            yield D, G, (x.reshape(-1, len(Wt)), slope, Wt)

    def linearize(self, t, y):
        """f_y, and the function of a that adds a f_θ to what `a_f_theta` returns."""
        layers, d = [*self.backward(t, y)], self.mlp.dim

        def pull_theta(a):
            g = a.reshape(-1, self.mlp.dim)
            for (_, _, (x, slope, Wt)), total in zip(layers, self.totals[::-1]):
                delta = g * slope                                                  # (4.3)
                total[:, :Wt.shape[1]] += x.T @ delta                              # (4.4)
                g = delta @ Wt[:-1].T                                              # (4.3)
        return layers[-1][1][..., -d:].swapaxes(0, 1).reshape(*y.shape, d), pull_theta

    def is_small(self, shape):
        return prod(shape) < FEW and prod(shape) * max(self.mlp.widths) < FEW * FEW

    def a_f_theta(self):
        """The sum of all a f_θ pulled so far, laid out like θ."""
        return flat(total[:, :n] for total, n in zip(self.totals, self.mlp.widths[1:]))


def aligned(shape, dtype):
    """np.empty, but that a large array begins at a multiple of 64 bytes, where the processor's vectors do."""
    size = prod(shape) * dtype.itemsize
    if size < PART:
        return np.empty(shape, dtype)
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start:start + size].view(dtype).reshape(shape)


def turn(room):
    """Fill room.way_out, which not every room needs, and return it."""
    for product, _, z, x_next, _, _ in reversed(room.way_in):
        x = product.__self__
        room.way_out.append((x.reshape(-1, x.shape[-1]).T.dot, z, x_next))
    return room.way_out


def homogeneous(layers):
    """[W̃_1ᵀ, ..., W̃_mᵀ] from [(W_1, b_1), ...]: (fan_in + 1, fan_out) each, the bias in the last row."""
    return [np.concatenate([W.T, b[None]]) for W, b in layers]


def flat(matrices):
    """What `homogeneous` took apart put together again, a vector laid out like θ."""
    return np.concatenate([part for Wt in matrices for part in (Wt[:-1].T.ravel(), Wt[-1])])

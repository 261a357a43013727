"""Appendix to chapter 25. One block, and a θ of its own for every whole t

The field of a residual network (25.6). Its derivatives are those of the block, at the θ of the
layer; and f_θ is zero but for the columns of that layer, so that `vjp` fills one row of a table
with a row for each layer. Where every trajectory has its own clock, a batch may be in several
layers at once, and is taken apart and put together again.
"""

import numpy as np

from ..fields.base import Bound, VectorField
from ..gradients.tangent import as_field
from ..solvers.states import as_count


class Layered(VectorField):
    """n layers of one block, each with a θ of its own, as a field: layer i where ⌊t⌋ = i (25.6).

    y (..., d); θ is that of layer 0, of layer 1, ... Layer 0 acts before t = 0 too, n − 1 after t = n too.
    With falling t Euler's steps begin at the upper end of each layer, and so n − 1 acts twice and 0 never.
    TypeError where the block is no `VectorField`, ValueError where n_layers is no positive integer.

    >>> from minode import MLP
    >>> Layered(MLP([2, 2], ["tanh"]), 3).n_params           # three blocks, each of four weights and two biases
    18
    """

    def __init__(self, block, n_layers):
        self.block, self.n_layers = as_field(block, "block"), as_count("n_layers", n_layers)
        self.dim, self.n_params = block.dim, self.n_layers * block.n_params

    def init(self, rng):
        """A random θ: the block's own, once for each layer."""
        return np.concatenate([self.block.init(rng) for _ in range(self.n_layers)])

    def layer(self, t):
        """The number of the layer at t."""
        return np.clip(np.floor(t), 0, self.n_layers - 1).astype(int)              # (25.6)

    def gather(self, t, y, theta, shape, what):
        """what(i, t, y, θ_i, rows) for the rows of the batch that are in layer i, put together again."""
        layer, thetas = np.broadcast_to(self.layer(t), y.shape[:-1]), theta.reshape(self.n_layers, -1)
        clock, result = np.broadcast_to(t, layer.shape), np.zeros(shape, np.result_type(y, theta))
        for i in np.unique(layer):
            rows = layer == i
            result[rows] = what(i, clock[rows], y[rows], thetas[i], rows)
        return result

    def __call__(self, t, y, theta):
        return self.gather(t, y, theta, y.shape, lambda i, t, y, theta, rows: self.block(t, y, theta))

    def jacobian(self, t, y, theta):
        return self.gather(t, y, theta, (*y.shape, self.dim), lambda i, t, y, th, _: self.block.jacobian(t, y, th))

    def param_jacobian(self, t, y, theta):
        def own(i, t, y, theta_i, rows):
            whole = np.zeros((*y.shape, self.n_layers, len(theta_i)), np.result_type(y, theta_i))
            whole[..., i, :] = self.block.param_jacobian(t, y, theta_i)
            return whole.reshape(*y.shape, -1)
        return self.gather(t, y, theta, (*y.shape, self.n_params), own)

    def time_derivative(self, t, y, theta):
        return self.gather(t, y, theta, y.shape, lambda i, t, y, th, _: self.block.time_derivative(t, y, th))

    def jvp(self, t, y, theta, w, dtheta):
        moves = dtheta.reshape(self.n_layers, -1)
        return self.gather(t, y, theta, y.shape,
                           lambda i, t, y, theta, rows: self.block.jvp(t, y, theta, w[rows], moves[i]))

    def vjp(self, t, y, theta, a):
        a_f_theta = np.zeros((self.n_layers, self.block.n_params))

        def pull(i, t, y, theta_i, rows):
            a_f_y, a_f_theta[i] = self.block.vjp(t, y, theta_i, a[rows])
            return a_f_y
        return self.gather(t, y, theta, y.shape, pull), a_f_theta.ravel()

    def bind(self, theta, y):
        return BoundLayers(self, theta, y)


class BoundLayers(Bound):
    """A `Layered` field with θ filled in: what `bind` returns. Where t is a number, one block does all."""

    def __init__(self, field, theta, y):
        super().__init__(field, theta)
        self.bound = [field.block.bind(part, y) for part in theta.reshape(field.n_layers, -1)]
        if getattr(self.bound[0], "noted", None) is None:
            self.noted = None                          # the way back computes its passes again

    def __call__(self, t, y):
        if np.ndim(t):
            return super().__call__(t, y)
        return self.bound[self.field.layer(t)](t, y)                               # (25.6)

    def vjp(self, t, y, a):
        if np.ndim(t):
            return super().vjp(t, y, a)
        return self.bound[self.field.layer(t)].vjp(t, y, a)                        # (25.6)

    def noted(self, t, y):
        layer = self.bound[self.field.layer(t)]                                    # (25.6)
        value = layer.noted(t, y)
        self.log.append((layer, layer.log.pop()))
        return value

    def pull(self, note, a, out):
        layer, note = note
        layer.pull(note, a, out)

    def give_back(self, notes):
        for layer, note in notes:
            layer.give_back([note])

    def is_small(self, shape):
        layer = self.bound[0]
        return getattr(layer, "linearize", None) is not None and layer.is_small(shape) and super().is_small(shape)

    def a_f_theta(self):
        return self.total + np.concatenate([bound.a_f_theta() for bound in self.bound])

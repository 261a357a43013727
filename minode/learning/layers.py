"""Appendix to chapter 25. One block, and a θ of its own for every layer

This is the field of a residual network (25.6). At time t only one layer acts, i = ⌊t⌋. The
value and the derivatives in y and t are those of the block at θ_i. Of θ = (θ_0, θ_1, …) only
the part θ_i has any effect. So a f_θ is a table with one row for each layer, in which only row
i is not zero.

If every trajectory has its own clock (chapter 12), a batch may be in several layers at once.
Each method therefore loops over the layers in use, and `rows` says which trajectories are in
the current one. If t is a number, all trajectories are in one layer, and `rows` is `...`: all
of them.
"""

import numpy as np

from ..fields.base import VectorField
from ..inputs import as_count, as_field, on_arrays


@on_arrays
class Layered(VectorField):
    """n layers of one block, each with a θ of its own, as a field: layer i acts while ⌊t⌋ = i (25.6).

    y is (..., d), and θ holds that of layer 0, of layer 1, ... Layer 0 also acts before t = 0, and layer
    n − 1 also from t = n on. `tstops` are the whole t at which the layer changes. If the field itself is
    solved, steps end at these times, and all stages of a step are in the step's own layer (`tstops` of
    `solve`). So every method keeps its order. If you solve a function that calls it, lambda t, y:
    f(t, y, theta), pass tstops=f.tstops; otherwise a stage at the end of a step reads the next layer.
    TypeError if the block is no `VectorField`, ValueError if n_layers is no positive integer.

    >>> from minode import MLP
    >>> Layered(MLP([2, 2], ["tanh"]), 3).n_params           # three blocks, each of four weights and two biases
    18
    """

    def __init__(self, block, n_layers):
        self.block, self.n_layers = as_field(block, "block"), as_count("n_layers", n_layers)
        self.dim, self.n_params = block.dim, self.n_layers * block.n_params
        self.tstops = np.arange(1.0, self.n_layers)

    def init(self, rng):
        """A random θ: one of the block for each layer."""
        return np.concatenate([self.block.init(rng) for _ in range(self.n_layers)])

    def layer(self, t):
        """The number of the layer at t."""
        return np.minimum(np.maximum(np.floor(t), 0), self.n_layers - 1).astype(int)  # (25.6)

    def by_layer(self, theta):
        """θ as a table with one row θ_i for each layer."""
        return theta.reshape(self.n_layers, self.block.n_params)

    def in_use(self, t, y):
        """(i, rows, the t of these rows) for each layer i in use: `rows` are the trajectories in it."""
        layer = self.layer(t)
        if layer.ndim == 0:
            return [(layer, ..., t)]
        layer, t = np.broadcast_to(layer, y.shape[:-1]), np.broadcast_to(t, y.shape[:-1])
        return [(i, layer == i, t[layer == i]) for i in np.unique(layer)]

    def __call__(self, t, y, theta):
        value, thetas = np.empty(y.shape, np.result_type(y, theta)), self.by_layer(theta)
        for i, rows, t_i in self.in_use(t, y):
            value[rows] = self.block(t_i, y[rows], thetas[i])                      # (25.6)
        return value

    def vjp(self, t, y, theta, a):
        thetas, dtype = self.by_layer(theta), np.result_type(y, theta, a)
        a_f_y, a_f_theta = np.empty(y.shape, dtype), np.zeros(thetas.shape, dtype)
        for i, rows, t_i in self.in_use(t, y):
            a_f_y[rows], a_f_theta[i] = self.block.vjp(t_i, y[rows], thetas[i], a[rows])
        return a_f_y, a_f_theta.ravel()

    def value_and_vjp(self, t, y, theta):
        thetas, value, vjps = self.by_layer(theta), np.empty(y.shape, np.result_type(y, theta)), []
        for i, rows, t_i in self.in_use(t, y):
            value[rows], vjp_i = self.block.value_and_vjp(t_i, y[rows], thetas[i])  # (25.6)
            vjps.append((i, rows, vjp_i))

        def vjp(a):
            dtype = np.result_type(value, a)
            a_f_y, a_f_theta = np.empty(value.shape, dtype), np.zeros(thetas.shape, dtype)
            for i, rows, vjp_i in vjps:
                a_f_y[rows], a_f_theta[i] = vjp_i(a[rows])
            return a_f_y, a_f_theta.ravel()
        return value, vjp

    def jvp(self, t, y, theta, w, dtheta):
        thetas, dthetas = self.by_layer(theta), self.by_layer(dtheta)
        change = np.empty(y.shape, np.result_type(y, theta, w, dtheta))
        for i, rows, t_i in self.in_use(t, y):
            change[rows] = self.block.jvp(t_i, y[rows], thetas[i], w[rows], dthetas[i])
        return change

    def jacobian(self, t, y, theta):
        """f_y (..., d, d), one row at a time by vjp, because a block may have no jacobian of its own."""
        return np.stack([self.vjp(t, y, theta, a + 0 * y)[0] for a in np.eye(self.dim)], axis=-2)

    def param_jacobian(self, t, y, theta):
        thetas = self.by_layer(theta)
        f_theta = np.zeros((*y.shape, *thetas.shape), np.result_type(y, theta))
        for i, rows, t_i in self.in_use(t, y):
            f_theta[rows, :, i, :] = self.block.param_jacobian(t_i, y[rows], thetas[i])
        return f_theta.reshape(*y.shape, self.n_params)

    def time_derivative(self, t, y, theta):
        f_t, thetas = np.empty(y.shape, np.result_type(y, theta)), self.by_layer(theta)
        for i, rows, t_i in self.in_use(t, y):
            f_t[rows] = self.block.time_derivative(t_i, y[rows], thetas[i])
        return f_t

"""torchdiffeq's demonstration with minode, from import to a trained network; prints the first and the last loss.

The spiral y' = y³ A is learnt by a network of y³: 500 steps of RMSprop, each on 20 pieces of 10 states in a row.
"""

import numpy as np

from minode import MLP, VectorField, odeint, value_and_gradients

SOLVER = {"method": "dopri5", "rtol": 1e-7, "atol": 1e-9}
A, t, rng = np.array([[-0.1, 2.0], [-2.0, -0.1]]), np.linspace(0.0, 25.0, 1000), np.random.default_rng(0)


class OfCubes(VectorField):
    """A network of y³ (the cube of each component)."""

    net = MLP([2, 50, 2], ["tanh", "identity"])
    dim, n_params = net.dim, net.n_params

    def __call__(self, t, y, theta):
        return self.net(t, y**3, theta)

    def value_and_vjp(self, t, y, theta):
        value, vjp_of_net = self.net.value_and_vjp(t, y**3, theta)

        def vjp(a):
            a_f_x, a_f_theta = vjp_of_net(a)
            return 3 * y**2 * a_f_x, a_f_theta
        return value, vjp


f, data = OfCubes(), odeint(lambda t, y: y**3 @ A, [2.0, 0.0], t, **SOLVER)
theta, v = np.zeros(f.n_params), np.zeros(f.n_params)
for W, b in f.net.layers(theta):
    W[:] = 0.1 * rng.normal(size=W.shape)

for step in range(500):
    first = rng.choice(990, 20, replace=False)
    pieces = data[first + np.arange(10)[:, None]]

    def loss(ys):
        return np.mean(np.abs(ys - pieces)), np.sign(ys - pieces) / ys.size
    value, gradients = value_and_gradients(loss, f, pieces[0], t[:10], theta, times=False, **SOLVER)
    v = 0.99 * v + 0.01 * gradients.theta**2                   # RMSprop
    theta = theta - 1e-3 * gradients.theta / (np.sqrt(v) + 1e-8)
    if step in (0, 499):
        print(value)

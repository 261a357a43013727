"""The same demonstration with diffrax: see with_minode.py."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
A, t, rng = jnp.array([[-0.1, 2.0], [-2.0, -0.1]]), jnp.linspace(0.0, 25.0, 1000), np.random.default_rng(0)


def odeint(f, y0, t, theta):
    control = diffrax.PIDController(rtol=1e-7, atol=1e-9)
    return diffrax.diffeqsolve(diffrax.ODETerm(f), diffrax.Dopri5(), t[0], t[-1], None, y0, theta,
                               saveat=diffrax.SaveAt(ts=t), stepsize_controller=control).ys


def f(t, y, theta):
    """A network of y³ (the cube of each component)."""
    (W1, b1), (W2, b2) = theta
    return jnp.tanh(y**3 @ W1.T + b1) @ W2.T + b2


@jax.value_and_grad
def loss_and_gradient(theta, pieces):
    return jnp.mean(jnp.abs(odeint(f, pieces[0], t[:10], theta) - pieces))


@jax.jit
def train(theta, v, pieces):
    loss, gradient = loss_and_gradient(theta, pieces)
    v = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, v, gradient)          # RMSprop
    theta = jax.tree.map(lambda x, v, g: x - 1e-3 * g / (jnp.sqrt(v) + 1e-8), theta, v, gradient)
    return loss, theta, v


data = odeint(lambda t, y, theta: y**3 @ A, jnp.array([2.0, 0.0]), t, None)
theta = [(jnp.array(0.1 * rng.normal(size=shape)), jnp.zeros(shape[0])) for shape in ((50, 2), (2, 50))]
v = jax.tree.map(jnp.zeros_like, theta)

for step in range(500):
    first = rng.choice(990, 20, replace=False)
    loss, theta, v = train(theta, v, data[first + np.arange(10)[:, None]])
    if step in (0, 499):
        print(float(loss))

"""Three densities in the plane, points of them from a generator, and a flow fitted to such points

Eight Gaussians on a circle; two moons, half circles blurred by a Gaussian; a pinwheel, five Gaussian arms
wound up by a rotation whose angle depends on the radius alone, so that it changes no area. The logarithm
of each density is known.
"""

import numpy as np

from minode import MLP, fit, negative_log_likelihood
from minode.learning.optimisers import cosine

from ._kept import kept

CENTRES = 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=-1)
SPREAD, BLUR = 0.2, 0.15                   # of a Gaussian of the eight, of a moon
ARM = np.array([0.45, 0.15])               # standard deviations of an arm along and across
REACH, ARMS = 1.5, 5


def normal(x, variance):
    """The density of N(0, variance · 1) in the plane."""
    return np.exp(-0.5 * np.sum(x * x, axis=-1) / variance) / (2 * np.pi * variance)


def moon(u):
    """The two half circles at u in [0, 1]: (2, ..., 2), each the other turned about the origin."""
    arc = 1.5 * np.stack([np.cos(np.pi * u) - 0.5, np.sin(np.pi * u) - 0.25], axis=-1)
    return np.stack([arc, -arc])


def turned(x, sign):
    """x turned by an angle that depends on |x|, or turned back."""
    angle = sign * 1.5 * np.exp(-0.5 * np.linalg.norm(x, axis=-1))
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * x[..., 0] - s * x[..., 1], s * x[..., 0] + c * x[..., 1]], axis=-1)


def arms(x, sign):
    """x (..., 2) turned by each multiple of 72 degrees: (5, ..., 2)."""
    angle = sign * 2 * np.pi * np.arange(ARMS) / ARMS
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.multiply.outer(c, x[..., 0]) - np.multiply.outer(s, x[..., 1]),
                     np.multiply.outer(s, x[..., 0]) + np.multiply.outer(c, x[..., 1])], axis=-1)


def shade(ax, x, y, density, top, levels=14):
    """A density as bands of blue, from white at 0 to the darkest at `top`."""
    ax.contourf(x, y, density, np.linspace(0.0, top, levels + 1), cmap="Blues", extend="max")
    ax.grid(False)


class Eight:
    def draw(n, rng):
        return CENTRES[rng.integers(8, size=n)] + SPREAD * rng.normal(size=(n, 2))

    def log_density(x):
        return np.log(np.mean([normal(x - centre, SPREAD**2) for centre in CENTRES], axis=0))


class Moons:
    def draw(n, rng):
        return moon(rng.random(n))[rng.integers(2, size=n), np.arange(n)] + BLUR * rng.normal(size=(n, 2))

    def log_density(x):
        nodes, weights = np.polynomial.legendre.leggauss(100)
        density = sum(w * normal(x - c, BLUR**2) for two in moon((nodes + 1) / 2) for w, c in zip(weights, two))
        return np.log(density / 4)


class Pinwheel:
    def draw(n, rng):
        blade = ARM * rng.normal(size=(n, 2)) + [REACH, 0.0]
        return turned(arms(blade, 1)[rng.integers(ARMS, size=n), np.arange(n)], 1)

    def log_density(x):
        blades = arms(turned(x, -1), -1) - np.array([REACH, 0.0])
        quadratic = np.sum((blades / ARM) ** 2, axis=-1)
        return np.log(np.mean(np.exp(-0.5 * quadratic), axis=0) / (2 * np.pi * np.prod(ARM)))


TARGETS = {"eight Gaussians": Eight, "two moons": Moons, "pinwheel": Pinwheel}

POINTS, BATCH, STEPS, RATE = 2000, 128, 650, 0.05
MODEL = MLP([3, 32, 32, 2], ["tanh", "tanh", "identity"])
TRAINING = {"method": "rk4", "step_size": 1 / 7}


@kept
def trained(name, steps=STEPS):
    """The points of a target that a flow is fitted to, and its θ after so many steps of Adam."""
    rng = np.random.default_rng(1)
    points, theta = TARGETS[name].draw(POINTS, rng), MODEL.init(rng)

    def objective(theta, batch):
        value, gradients = negative_log_likelihood(MODEL, batch, [0.0, 1.0], theta, times=False, **TRAINING)
        return value, gradients.theta
    found = fit(objective, theta, n_steps=steps, data=points, batch_size=BATCH,
                learning_rate=lambda step: cosine(step, RATE, steps), progress=False)
    return points, found.last

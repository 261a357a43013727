"""Figure 39. Random signs: too noisy for a density, no noisier than the batch for a gradient

Networks (d + 1)–64–64–d with twice PyTorch's weights, 50 points from the standard normal, log p by
the classical method with 10 steps. With its noise held fixed in a solve, Hutchinson's estimate of
∫ tr f_y dt is the quadratic form of M = ∫ f_y dt, so that (26.4) of M says what its error will be.
Right, the gradient of the mean of −log p for the moons of figure 37 after 100 steps of Adam: its
relative root mean square error, from the choice of 128 points among 2,000 and from the noise. The
figure shows (26.3), (26.4) and (26.6).

Caption. Left: with random signs log p is off by nats, and more products help only with the slope −1/2; d of them are
exact. Dots are measured, lines are (26.4). Right: to the gradient, even one product adds no more noise than the
choice of the batch. Here d = 2, and two products would be the trace itself.

Numbers. Left: the standard deviation of log p, in nats, over 16 draws of the noise, against the number of
Jacobian–vector products in each evaluation. One product leaves 0.44 nats for d = 2, 1.71 for d = 8 and 4.00 for d =
32. The dots are within 4 per cent of the lines. Right: the noise adds an error of 0.87 to the gradient with one
product, against 0.94 from the choice of the batch.
"""

import numpy as np

from minode import MLP, log_prob, negative_log_likelihood, odeint, rademacher
from minode.learning.flows import noise_variance

from . import _targets, style

SECONDS = 5
DIMENSIONS = {2: style.BLUE, 8: style.GREEN, 32: style.VERMILION}
PROBES = np.array([1, 2, 4, 8, 16, 32])
DRAWS, PLACES, BATCHES = 16, 50, 20
NATS, RELATIVE = (0.25, 0.5, 1, 2, 4, 8), (0.25, 0.5, 1, 2)
STEPS = {"method": "rk4", "step_size": 0.1}


def spread(d, rng):
    """The standard deviation of log p for 1, 2, 4, ... products below d: measured, and by (26.4)."""
    f = MLP([d + 1, 64, 64, d], ["tanh", "tanh", "identity"])
    theta, x = 2 * f.init(rng), rng.normal(size=(PLACES, d))
    exact = log_prob(f, x, [0.0, 1.0], theta, **STEPS)

    def pair(t, state, theta):
        return f(t, state[0], theta), f.jacobian(t, state[0], theta)
    M = odeint(pair, (x, np.zeros((PLACES, d, d))), [1.0, 0.0], theta, **STEPS)[1][-1]
    rows = []
    for K in PROBES[PROBES < d]:
        off = [log_prob(f, x, [0.0, 1.0], theta, noise=rademacher(rng, K, x.shape), **STEPS) - exact
               for _ in range(DRAWS)]
        rows.append((np.sqrt(np.mean(np.square(off))), np.sqrt(noise_variance(M).mean() / K)))
    return np.array(rows)


def gradient_errors(rng):
    """The relative error of the gradient by the choice of a batch, and by 1, 2, 4, ... rows of noise."""
    points, theta = _targets.trained("two moons", 100)

    def gradient(x, noise=None):
        return negative_log_likelihood(_targets.MODEL, x, [0.0, 1.0], theta, noise=noise, **_targets.TRAINING)[1].theta
    whole, batch = gradient(points), points[:_targets.BATCH]
    of_batch = gradient(batch)

    def error(found, true):
        return np.sqrt(np.mean(np.sum((np.array(found) - true) ** 2, axis=1))) / np.linalg.norm(whole)
    by_noise = [error([gradient(batch, rademacher(rng, K, batch.shape)) for _ in range(BATCHES)], of_batch)
                for K in PROBES[:4]]
    by_choice = error([gradient(points[rng.choice(len(points), _targets.BATCH, replace=False)])
                       for _ in range(BATCHES)], whole)
    return np.array(by_noise), by_choice


def compute():
    rng = np.random.default_rng(5)
    data = {d: spread(d, rng) for d in DIMENSIONS}
    data["by noise"], data["by choice"] = gradient_errors(rng)
    return data


def draw(fig, data):
    nats, gradient = fig.subplots(1, 2)
    for d, colour in DIMENSIONS.items():
        K, (measured, predicted) = PROBES[PROBES < d], data[d].T
        nats.loglog(K, measured, "o", color=colour)
        nats.loglog(np.append(K, d), np.append(predicted, predicted[0] / np.sqrt(d)), color=colour, lw=1.2)
        nats.axvline(d, color=colour, ls=":", lw=1.4)
        nats.text(1.05, measured[0] * 1.12, f"$d$ = {d}", color=style.ink(colour))
        nats.text(1.06 * d, 0.27, f"exact with {d}", color=style.ink(colour), size=10, rotation=90, va="bottom")
    nats.text(11.5, 1.25, "slope −1/2", color=style.ink(style.GREY), size=10, rotation=-27, ha="center", va="bottom")
    nats.set(xlabel="Jacobian–vector products", ylabel="standard deviation of log $p$ (nats)", xlim=(0.87, 46),
             title="log $p$ is off by nats", xticks=PROBES, xticklabels=PROBES, yticks=NATS, yticklabels=NATS)
    nats.minorticks_off()
    gradient.loglog(PROBES[:4], data["by noise"], "o-", color=style.B)
    gradient.axhline(data["by choice"], color=style.BLACK, lw=1.4)
    gradient.set(xlabel="Jacobian–vector products", ylabel="relative error of the gradient",
                 title="a gradient is no noisier than by its batch", xticks=PROBES[:4], xticklabels=PROBES[:4],
                 yticks=RELATIVE, yticklabels=RELATIVE)
    gradient.minorticks_off()
    gradient.text(8.2, 1.06 * data["by choice"], "from the choice of a batch", ha="right")
    gradient.text(2.1, 1.03 * data["by noise"][1], "from random signs", color=style.B)

"""Figure 34. Over a long time, one solve learns to stand still; three other ways learn to swing

A pendulum without friction, its angle and half its velocity observed 201 times from t = 0 to 40
with noise of 0.1, and a network 2–16–2. One solve over the whole of it has a loss with a wide
plain: a field whose solution comes to rest at the mean; around it are cliffs (figure 45). Gradients no longer
than 1 (23.5) may get across. A growing horizon, ten parts for 40 steps each (clipped as well),
keeps the phase right while it grows. And the observations can be taken to pieces of five intervals
("multiple shooting"), solved as one batch, whose first states are learnt as θ is, through dL/dy₀,
and whose jumps are part of the loss. All have 400 steps of Adam from one θ, the learning rate
falling from 0.02 to 0, and RK4 with a step for each observation. The figure shows (4.1), (20.1),
(23.4), (23.5) and (23.6).

Caption. One solve over all observations learns to stand still at their mean. Clipped gradients, a growing horizon and
pieces learn to swing. Drawn is the angle, observed (dots) and from the first state on in one solve (lines), and at
the right the mean square of the error. The growing horizon is best: it has to keep its phase.

Numbers. The mean square of what is left, for angle and velocity, without noise: one solve 1.6, next to a variance of
1.7, so it is flat; the same with clipped gradients less than 0.3, a growing horizon 0.016, pieces 0.052. The pieces
have the lowest loss but not the least error: a solve of five intervals does not have to keep its phase for longer.
"""

import numpy as np

from minode import MLP, odeint, value_and_gradients
from minode.learning.fit import fit
from minode.learning.optimisers import cosine

from . import style

SECONDS = 10
SIZE = (8.0, 5.6)
FIELD, T = MLP([2, 16, 2], ["tanh", "identity"]), np.linspace(0.0, 40.0, 201)
Y0, NOISE, STEPS, RATE, LARGEST = np.array([2.0, 0.0]), 0.1, 400, 0.02, 1.0
PIECE, WEIGHT = 5, 1.0                     # intervals of a piece, weight of the jumps between pieces
PARTS = 10                                 # of the growing horizon


def pendulum(t, y):
    """(angle, velocity / 2)' of a pendulum without friction, θ'' = −4 sin θ."""
    return 2.0 * np.stack([y[..., 1], -np.sin(y[..., 0])], axis=-1)


def pulled(loss, u, y0, t):
    """The loss of u = (θ, first states), and its gradient in both, through RK4 with a step for each interval."""
    value, gradients = value_and_gradients(loss, FIELD, y0, t, u[:FIELD.n_params], times=False, method="rk4")
    return value, np.concatenate([gradients.theta, gradients.y0.ravel()])


def one_solve(counts, n):
    """The objective of one solve over the first n observations."""
    def loss(ys):
        r = ys - counts[:n]
        return 0.5 * np.mean(r**2), r / r.size
    return lambda u, batch: pulled(loss, u, u[FIELD.n_params:], T[:n])


def shooting(pieces):
    """The objective of pieces (PIECE + 1, m, 2), each solved from a first state of its own, and of the jumps."""
    def loss(ys):
        r, jump = ys - pieces, ys[-1, :-1] - ys[0, 1:]
        weights = r / r.size
        weights[-1, :-1] += WEIGHT * jump / jump.size
        weights[0, 1:] -= WEIGHT * jump / jump.size
        return 0.5 * np.mean(r**2) + 0.5 * WEIGHT * np.mean(jump**2), weights
    return lambda u, batch: pulled(loss, u, u[FIELD.n_params:].reshape(-1, 2), T[:PIECE + 1])


def learn(u, objectives, largest):
    """STEPS of Adam, an equal share on each of the objectives: the last u, and the losses."""
    for k, objective in enumerate(objectives, start=1):
        u = fit(objective, u, n_steps=k * STEPS // len(objectives), largest_gradient=largest, progress=False,
                learning_rate=lambda step: cosine(step, RATE, STEPS))
    return u.last, u.history.loss


def compute(seed=0):
    truth = odeint(pendulum, Y0, T, rtol=1e-9, atol=1e-9)
    observed = truth + NOISE * np.random.default_rng(0).normal(size=truth.shape)
    theta = FIELD.init(np.random.default_rng(seed))
    m = (len(T) - 1) // PIECE
    pieces = observed[np.arange(PIECE + 1)[:, None] + PIECE * np.arange(m)]
    start, horizons = np.concatenate([theta, observed[0]]), np.linspace(0, len(T), PARTS + 1)[1:].astype(int)
    long, growing = [one_solve(observed, len(T))], [one_solve(observed, n) for n in horizons]
    data = {"truth": truth, "observed": observed, "variance": np.mean((truth - truth.mean(axis=0)) ** 2)}
    for name, (u, objectives, largest) in {
            "long": (start, long, None), "clipped": (start, long, LARGEST),
            "growing": (start, growing, LARGEST),
            "pieces": (np.concatenate([theta, pieces[0].ravel()]), [shooting(pieces)], None)}.items():
        u, losses = learn(u, objectives, largest)
        first = u[FIELD.n_params:][:2]
        ys = odeint(FIELD, first, T, u[:FIELD.n_params], method="rk4")
        data[name] = {"ys": ys, "loss": losses, "error": np.mean((ys - truth) ** 2)}
    return data


WAYS = {"long": ("one solve", style.VERMILION), "clipped": ("one solve, gradients clipped", style.ORANGE),
        "growing": ("a growing horizon", style.GREEN), "pieces": ("pieces of five intervals", style.BLUE)}


def draw(fig, data):
    for ax, (name, (label, colour)) in zip(fig.subplots(4, 1, sharex=True), WAYS.items()):
        ax.plot(T, data["observed"][:, 0], ".", color="#9a9a9a", ms=5)
        ax.plot(T, data[name]["ys"][:, 0], color=colour, lw=1.8)
        ax.set(ylim=(-2.6, 2.6), yticks=(-2, 0, 2), title=label, xlim=T[[0, -1]], ylabel="angle")
        ax.title.set_color(style.ink(colour))
        ax.text(1.02, 0.5, f"error {data[name]['error']:.2g}", color=style.ink(colour), size=13, va="center",
                transform=ax.transAxes)
    ax.set_xlabel("time $t$")

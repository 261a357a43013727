"""Figure 44. One solution passes through measurements at any times, and goes on after them

Three swings of a pendulum without friction, x'' = −sin x, from (1, 0), (2, 0) and (0, 1.5). Angle and velocity of each are
measured at 30 random times of its own up to t = 8, with noise of 0.1. A network 2–16–2 that knows nothing of pendulums
learns from all 90, together with the three first states, by (31.1): 400 steps of Adam with the times up to 3, and as
many with all. The three are one batch on one table of times, solved by dopri5 at 1e-3. The figure shows (31.1), (31.3) and
(31.4).

Caption. A network as the right-hand side has learnt three swings of a pendulum from measurements at random times, each with its
own. Its solution (blue) is there at all times, between the measurements (dots) and after the last of them at t = 8.
Grey: the true swings.

Numbers. A mean square misfit of about 0.01 is left, that of the noise of 0.1. The root mean square distance from the true
states is less than 0.1 up to t = 8 and about 0.2 from 8 to 16.
"""

import numpy as np

from minode import MLP, growing_horizon, misfit, odeint, solve, tabulate, value_and_gradients
from minode.learning.optimisers import cosine

from . import style

SECONDS = 8
SIZE = (8.0, 4.4)
STARTS = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.5]])
EACH, NOISE, LAST, END = 30, 0.1, 8.0, 16.0
HORIZONS, STEPS, RATE = (3.0, LAST), 400, 0.03
SOLVER = {"rtol": 1e-3, "atol": 1e-3}
FIELD = MLP([2, 16, 2], ["tanh", "identity"])
P = FIELD.n_params


def pendulum(t, y):
    """(angle, velocity)' of a pendulum without friction."""
    return np.stack([y[..., 1], -np.sin(y[..., 0])], axis=-1)


def objective(u, measured):
    """The loss (31.1) of u = (θ, the first states), and its gradient."""
    def loss(ys):
        return misfit(ys, measured)
    L, gradients = value_and_gradients(loss, FIELD, u[P:].reshape(STARTS.shape), measured.t, u[:P], times=False, **SOLVER)
    return L, np.concatenate([gradients.theta, gradients.y0.ravel()])


def compute():
    rng = np.random.default_rng(0)
    t, which = rng.uniform(0.0, LAST, EACH * len(STARTS)), np.repeat(np.arange(len(STARTS)), EACH)
    true = solve(pendulum, STARTS, [0.0, END], rtol=1e-9, atol=1e-9)
    x = true.interpolate(t)[np.arange(len(t)), which] + NOISE * rng.normal(size=(len(t), 2))
    measured = tabulate(t, which, x)
    u = np.concatenate([FIELD.init(np.random.default_rng(1)), measured.states([0]).ravel()])
    found = growing_horizon(objective, u, measured, HORIZONS, n_steps=STEPS, progress=False,
                            learning_rate=lambda step: cosine(step, RATE, STEPS))[-1]
    times = np.linspace(0.0, END, 321)
    learnt = odeint(FIELD, found.theta[P:].reshape(STARTS.shape), times, found.theta[:P], rtol=1e-6, atol=1e-6)
    truth = true.interpolate(times)
    away = np.sqrt(np.mean((learnt - truth) ** 2, axis=(1, 2)))
    return {"t": t, "which": which, "x": x, "times": times, "learnt": learnt, "truth": truth, "loss": found.loss,
            "known": np.sqrt(np.mean(away[times <= LAST] ** 2)), "ahead": np.sqrt(np.mean(away[times > LAST] ** 2))}


def draw(fig, data):
    left, right = fig.subfigures(1, 2, width_ratios=[1.7, 1])
    for j, ax in enumerate(left.subplots(len(STARTS), 1, sharex=True)):
        own = data["which"] == j
        ax.axvspan(0, LAST, color="#f2f2f2", lw=0, zorder=0)
        ax.plot(data["times"], data["truth"][:, j, 0], color=style.PALE, lw=3)
        ax.plot(data["times"], data["learnt"][:, j, 0], color=style.BLUE, lw=1.4)
        ax.plot(data["t"][own], data["x"][own, 0], "o", color=style.BLACK, ms=3.5)
        ax.set(xlim=(0, END), ylim=(-2.9, 2.9), yticks=(-2, 0, 2), ylabel="angle")
        if j == 0:
            ax.text(0.2, 1.9, "measured", color=style.GREY)
            ax.text(LAST + 0.2, 1.9, "forecast", color=style.GREY)
        if j == 1:
            ax.text(10.4, -1.9, "network", color=style.BLUE, ha="right")
            ax.text(14.0, -1.9, "true", color=style.GREY)
    ax.set_xlabel("time $t$")
    ax = right.subplots()
    for j in range(len(STARTS)):
        ax.plot(*data["truth"][:, j].T, color=style.PALE, lw=3)
        ax.plot(*data["learnt"][:, j].T, color=style.BLUE, lw=1.2)
    ax.plot(*data["x"].T, "o", color=style.BLACK, ms=2.5)
    ax.set(xlabel="angle", ylabel="velocity", title="all three swings")

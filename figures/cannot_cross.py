"""Figure 46. A flow of the line cannot swap two points; with one dimension more it turns them

To be learnt is x ↦ −x on [−1, 1]. On the left a network of (t, x) with 16 hidden units, fitted by 100 steps
of Adam to 33 points, RK4 with h = 1/8, the loss the mean square of x(1) + x(0). On the right the half turn
(32.5), from y(0) = (x, 0). The figure shows (32.2), (32.4), (32.5) and (23.4).

Caption. Left: to get from x to −x, trajectories in (t, x) would have to cross (dashed), and those of one
field never do. What a network learns instead (solid) keeps their order and ends near 0. Right: with a
second component, 0 at the start (dots), half a turn brings every point to its opposite (rings).

Numbers. What is learnt ends within 0.1 of 0. So the mean square error is 0.35, about as much as if all
ended at 0.
"""

import numpy as np

from minode import MLP, Linear, augmented, fit, odeint, value_and_gradients
from minode.further.limits import HALF_TURN, keeps_order
from minode.learning.optimisers import cosine

from . import style

SECONDS = 2
SIZE = (8.0, 3.6)
FIELD, STEPS, RATE = MLP([2, 16, 1], ["tanh", "identity"]), 100, 0.03
STARTS = np.linspace(-1.0, 1.0, 33)[:, None]
SHOWN = [0, 8, 24, 32]                     # of the starts: ∓1 and ∓½
T = np.linspace(0.0, 1.0, 9)


def compute():
    def loss(ys):
        r = ys[-1] + STARTS
        return np.mean(r**2), np.concatenate([0 * ys[:-1], 2 * r[None] / r.size])

    def objective(theta, batch):
        value, gradients = value_and_gradients(loss, FIELD, STARTS, T, theta, times=False, method="rk4")
        return value, gradients.theta
    found = fit(objective, FIELD.init(np.random.default_rng(0)), n_steps=STEPS, progress=False,
                learning_rate=lambda step: cosine(step, RATE, STEPS))
    fine = np.linspace(0.0, 1.0, 65)
    learnt = odeint(FIELD, STARTS, fine, found.theta, rtol=1e-8, atol=1e-10)
    return {"t": fine, "learnt": learnt, "keeps": keeps_order(learnt), "error": np.mean((learnt[-1] + STARTS) ** 2),
            "turned": odeint(Linear(2), augmented(STARTS), fine, HALF_TURN, rtol=1e-8, atol=1e-10)}


def draw(fig, data):
    line, plane = fig.subplots(1, 2, width_ratios=[1.3, 1])
    for start, learnt, turned in zip(STARTS[SHOWN, 0], data["learnt"][:, SHOWN, 0].T, np.moveaxis(data["turned"][:, SHOWN], 1, 0)):
        colour = style.BLUE if start > 0 else style.VERMILION
        line.plot([0, 1], [start, -start], "--", color=colour, lw=0.9)
        line.plot(data["t"], learnt, color=colour)
        plane.plot(*turned.T, color=colour)
        plane.plot(*turned[0], "o", color=colour)
        plane.plot(*turned[-1], "o", color=colour, ms=10, mfc="none")
        plane.annotate("", turned[33], turned[32], arrowprops={"arrowstyle": "->", "color": colour})
    line.text(0.98, 0.5, "wanted", ha="right")
    line.text(0.98, 0.12, "learnt", ha="right")
    line.set(xlabel="$t$", ylabel="$x$", xlim=(0, 1), title="on a line: no one can pass another")
    plane.set(xlabel="$x$", ylabel="one component more", aspect="equal", title="in a plane: half a turn")

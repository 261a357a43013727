"""Figure 47. A flow gets dearer to solve as it learns; a penalty on its energy keeps it cheaper

The two moons of figure 37, its network, points and batches; 400 steps of Adam, RK4 with 7 steps. Once down
the mean of −log p (26.9), and once down that plus 0.1 times the mean of ∫ |f|² dt, by (32.7) for the first
two components of (26.5). Calls are those of dopri5 for all points together. On the left, 1,000 held-out
points are carried back at rtol = atol = 1e-7, after every 25 steps. On the right, the flow trained without
the penalty, a batch of 128 and the gradient of the mean of −log p: calls of f on the way forward, and vjps
on the way back, of (26.5). Training is chaotic: elsewhere the numbers differ. The figure shows (26.5),
(32.7) and (32.9).

Caption. Left: calls of f in one solve while a flow is trained, without and with a penalty on ∫ |f|² dt.
Held-out points are about as likely in the end. Right: calls for one gradient. A ten times smaller tolerance
takes about 1.5 times as many. The way back takes nearly as many as the way there, by either route.

Numbers. The calls grow from 20 to about 134 without the penalty, and to about 86 with it. Held-out points
are 0.08 and 0.06 nats above what is possible, and ∫ |f|² dt is 1.4 and 0.5. On the way back the discrete
gradient takes at least 0.9 times as many vjps as there were calls of f forward, and backsolve at least 0.75
times. Tried once on each of the two other targets of figure 37, the penalty saved at most a tenth of the
calls.
"""

import numpy as np

from minode import Flow, WithEnergy, augmented, fit, log_prob, solve, value_and_gradients
from minode.further.limits import energies
from minode.learning.flows import standard_normal
from minode.learning.optimisers import cosine

from . import _targets, style
from ._counting import Counting

SECONDS = 25
SIZE = (8.0, 3.8)
TARGET, STEPS, EVERY, PENALTY = "two moons", 400, 25, 0.1
FLOW = WithEnergy(Flow(_targets.MODEL), _targets.MODEL.dim)
FINE = {"rtol": 1e-7, "atol": 1e-7}
TOLERANCES = 10.0 ** -np.arange(4, 10)
ROUTES = ("discrete", "backsolve")


def with_penalty(penalty):
    """The loss of [y, ℓ, e] at the end of the way back, where e is −∫ |f|² dt, and its gradient."""
    def loss(ys):
        z, log_det, e = np.split(ys[-1], [2, 3], axis=1)
        dL_dys = np.zeros_like(ys)
        dL_dys[-1] = np.concatenate([z, 1 + 0 * log_det, -penalty + 0 * e], axis=1) / len(z)
        return np.mean(log_det[:, 0] - standard_normal(z) - penalty * e[:, 0]), dL_dys
    return loss


def trained(penalty, points, start):
    """The θ after every EVERY steps, from the one before the first on."""
    def objective(theta, x):
        value, gradients = value_and_gradients(with_penalty(penalty), FLOW, augmented(x, 2), [1.0, 0.0], theta,
                                               times=False, **_targets.TRAINING)
        return value, gradients.theta
    now, thetas = start, [start]
    for steps in range(EVERY, STEPS + 1, EVERY):
        now = fit(objective, now, n_steps=steps, data=points, batch_size=_targets.BATCH, progress=False,
                  learning_rate=lambda step: cosine(step, _targets.RATE, STEPS))
        thetas.append(now.last)
    return thetas


def compute():
    target, rng = _targets.TARGETS[TARGET], np.random.default_rng(1)
    points, start = target.draw(_targets.POINTS, rng), _targets.MODEL.init(rng)
    held_out, data = target.draw(1000, np.random.default_rng(2)), {}
    own = -target.log_density(held_out).mean()
    for penalty in (0.0, PENALTY):
        thetas = trained(penalty, points, start)
        calls = [solve(Flow(_targets.MODEL), augmented(held_out), [1.0, 0.0], theta, **FINE).stats.n_f
                 for theta in thetas]
        above = -log_prob(_targets.MODEL, held_out, [0.0, 1.0], thetas[-1], **FINE).mean() - own
        e, _ = energies(_targets.MODEL, held_out, [1.0, 0.0], thetas[-1], **FINE)
        data[penalty] = {"calls": calls, "above": above, "energy": -e.mean(), "theta": thetas[-1]}
    return data | {"gradient": against_tolerance(points[:_targets.BATCH], data[0.0]["theta"])}


def against_tolerance(x, theta):
    """{route: (calls forward, vjps backward) for each tolerance} of one gradient of the mean of −log p."""
    counts = {}
    for route in ROUTES:
        counts[route] = []
        for tolerance in TOLERANCES:
            f = Counting(Flow(_targets.MODEL))
            forward = solve(f.field, augmented(x), [1.0, 0.0], theta, rtol=tolerance, atol=tolerance).stats.n_f
            value_and_gradients(likelihood, f, augmented(x), [1.0, 0.0], theta, gradient=route, times=False,
                                rtol=tolerance, atol=tolerance)
            counts[route].append((forward, f.n_vjp))
    return {route: np.array(rows) for route, rows in counts.items()}


def likelihood(ys):
    """The mean of −log p from [y, ℓ] at the end of the way back, and its gradient."""
    value, dL_dys = with_penalty(0.0)(augmented(ys))
    return value, dL_dys[..., :-1]


def draw(fig, data):
    left, right = fig.subplots(1, 2)
    steps, ends = np.arange(0, STEPS + 1, EVERY), []
    for penalty, name, colour in ((0.0, "no penalty", style.VERMILION), (PENALTY, "penalty", style.GREEN)):
        row = data[penalty]
        left.plot(steps, row["calls"], "o-", color=colour, ms=4)
        ends.append((row["calls"][-1], f"{name}\n{row['above']:.2f} nats", colour))
    left.set(xlabel="steps of training", ylabel="calls of f in a solve", ylim=(0, 150), xlim=(0, STEPS),
             title="calls grow, less with the penalty")
    style.end_labels(left, STEPS, ends, gap=0.15)
    forward, ticks = data["gradient"]["discrete"][:, 0], (30, 50, 100, 200, 300)
    right.loglog(TOLERANCES, forward, "o-", color=style.BLACK, ms=4)
    labels = [(forward[-1], "f, forward", style.BLACK)]
    for (route, counts), mark in zip(data["gradient"].items(), ("s--", "s-")):
        right.loglog(TOLERANCES, counts[:, 1], mark, color=style.ROUTE[route], ms=4)
        labels.append((counts[-1, 1], f"vjp, {route}", style.ROUTE[route]))
    right.set(xlabel="tolerance", ylabel="calls for a gradient", ylim=(25, 400),
              title="10 times smaller: 1.5 times as many", yticks=ticks, yticklabels=map(str, ticks))
    right.minorticks_off()
    right.invert_xaxis()
    style.end_labels(right, TOLERANCES[-1], labels)

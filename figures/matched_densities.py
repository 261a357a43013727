"""Figure 43. Matching learns a density without a solve: quickly, and less likely

The targets and points of figure 37, and its network. Each training is 1,200 steps of Adam with batches of 256: above by
(30.3), below by (30.6) for times from 0.001 to 3, most of them small, whose density is followed from 3 to 0.003. Densities
are solved with dopri5 at 1e-3. On the right, for the two moons: paths of the matched flow, and how far N equal
steps of Euler's method end from where the flow goes, in the root mean square over 300 points of noise. The second
curve is a flow fitted again, to 4,000 pairs that the first one joined. Training is chaotic: elsewhere the last digits
differ. The figure shows (30.1) at work.

Caption. Matching velocities (above) or scores (below) is quick: a training is 1,200 calls of f and no solve,
instead of 18,200 calls (figure 37), but what it learns is less likely. Right: paths of the matched flow. A
second fit, to pairs that the first joined, makes them straight enough for one step of Euler's method.

Numbers. Above what is possible, in nats: velocities about 0.2, 0.3 and 0.3, scores 0.9, 0.5 and 0.8, maximum likelihood
0.04, 0.05 and 0.05. The first fit has S = 0.9 (30.8) and the second less than 0.01. With one step the first misses by
1.5 and the second by 0.06, with 32 the first by 0.05.
"""

import numpy as np

from minode import MLP, ScoreFlow, fit, flow_matching, log_prob, odeint, pairs, score_matching, straightness
from minode.learning.optimisers import cosine

from . import _targets, style

SECONDS = 25
SIZE = (8.0, 4.4)
STEPS, BATCH, RATE = 1200, 256, 0.05
FIRST, LAST = 0.003, 3.0                   # times of the score
SOLVER = {"rtol": 1e-3, "atol": 1e-3}
EDGE, CELLS, HELD_OUT = 3.4, 48, 1000
EULER = 2 ** np.arange(6)
JOINED, MOVED = 4000, 300
MODEL = MLP([3, 32, 32, 2], ["tanh", "tanh", "identity"])


def trained(loss, draw, seed=1):
    """θ after STEPS of Adam on loss(MODEL, batch, θ)."""
    theta = MODEL.init(np.random.default_rng(seed))
    return fit(lambda theta, batch: loss(MODEL, batch, theta), theta, n_steps=STEPS, data=draw,
               learning_rate=lambda step: cosine(step, RATE, STEPS), progress=False).last


def noisy(points):
    """Triples for the score: small times, where it is steep, are drawn more often."""
    draw = pairs(points, BATCH)

    def triples(rng):
        xi, x0, u = draw(rng)
        return xi, x0, 1e-3 + LAST * u**2
    return triples


def compute():
    x = EDGE * (2 * np.arange(CELLS) + 1 - CELLS) / CELLS
    grid, data = np.stack(np.meshgrid(x, x), axis=-1), {}
    for name, target in _targets.TARGETS.items():
        points = target.draw(_targets.POINTS, np.random.default_rng(1))
        held_out = target.draw(HELD_OUT, np.random.default_rng(2))
        own = -target.log_density(held_out).mean()
        thetas = {"flow": trained(flow_matching, pairs(points, BATCH)), "score": trained(score_matching, noisy(points))}
        fields = {"flow": (MODEL, [0.0, 1.0]), "score": (ScoreFlow(MODEL), [LAST, FIRST])}
        data[name] = {"top": np.exp(target.log_density(grid)).max()}
        for way, (f, t) in fields.items():
            data[name][way] = np.exp(log_prob(f, grid, t, thetas[way], **SOLVER))
            data[name][f"{way} above"] = -log_prob(f, held_out, t, thetas[way], **SOLVER).mean() - own
        if name == "two moons":
            data["straight"] = straightened(thetas["flow"])
    return data


def straightened(theta):
    """Paths of the flow, and for it and one fitted to its own pairs: S (30.8), and the error of N steps of Euler's."""
    z = np.random.default_rng(3).normal(size=(JOINED, 2))
    again = trained(flow_matching, pairs((z, odeint(MODEL, z, [0.0, 1.0], theta, **SOLVER)[-1]), BATCH))
    start, data = np.random.default_rng(4).normal(size=(MOVED, 2)), {}
    for name, parameters in (("once", theta), ("again", again)):
        paths = odeint(MODEL, start, np.linspace(0.0, 1.0, 33), parameters, **SOLVER)
        ends = [odeint(MODEL, start, [0.0, 1.0], parameters, method="euler", step_size=1 / n)[-1] for n in EULER]
        data[name] = {"S": straightness(MODEL, start, parameters, **SOLVER), "paths": paths,
                      "missed": [np.sqrt(np.mean(np.sum((end - paths[-1]) ** 2, axis=1))) for end in ends]}
    return data


def draw(fig, data):
    axes = fig.subplots(2, 4)
    x = EDGE * (2 * np.arange(CELLS) + 1 - CELLS) / CELLS
    for column, name in zip(axes.T, _targets.TARGETS):
        for ax, way in zip(column, ("flow", "score")):
            _targets.shade(ax, *np.meshgrid(x, x), data[name][way], data[name]["top"])
            ax.set(xticks=[], yticks=[], aspect="equal")
            ax.set_xlabel(f"{data[name][f'{way} above']:.2f} nats above best", size=10)
        column[0].set_title(name, loc="center")
    axes[0, 0].set_ylabel("velocity matched")
    axes[1, 0].set_ylabel("score matched")
    paths = data["straight"]["once"]["paths"]
    above, below = axes[:, 3]
    above.plot(*np.moveaxis(paths[:, :60], -1, 0), color=style.PALE, lw=0.7)
    above.plot(*paths[0, :60].T, ".", color=style.GREY, ms=2)
    above.plot(*paths[-1, :60].T, ".", color=style.BLUE, ms=3)
    above.set(xticks=[], yticks=[], aspect="equal", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
    above.set_title("from noise to data", loc="center")
    for name, colour in (("once", style.BLUE), ("again", style.GREEN)):
        below.loglog(EULER, data["straight"][name]["missed"], "o-", color=colour, ms=4)
        below.text(EULER[2], 1.6 * data["straight"][name]["missed"][2], f"fitted {name}",
                   color=style.ink(colour), size=10)
    below.set(xlabel="Euler steps", ylabel="missed by", xticks=EULER[::2], xticklabels=map(str, EULER[::2]))
    below.minorticks_off()

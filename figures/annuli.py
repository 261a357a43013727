"""Figure 33. One dimension more

Points of a disc, and of a ring around it, are to be told apart by the sign of a read-out v · y(1) +
c, linear in where an ODE has carried them (Dupont, Doucet and Teh, 2019). Solutions do not cross,
so a flow of the plane only bends it: the image of the ring still goes all round that of the disc,
and no line has one on each side. With a third component, 0 at the start, the disc can be lifted
out. Each field is a network with 32 hidden units; loss ½ mean (v · y(1) + c ∓ 1)² on 300 points,
RK4 with h = 1/8, 250 steps of Adam, three seeds. The figure shows (4.1), (18.4), (20.1) and (23.4).

Caption. Left: the points, and the classes of the plane by one seed. Middle: its field where the
points start (disc and ring outlined); arrows, its components in the plane, as long as the square
root of their speed; colour, that along v, the way of the read-out, to −1 blue and to 1 red. In the
plane it points both ways on the disc and on the ring. With one dimension more it lifts all points
of the ring, and carries those of the disc down, at −0.29 on average. Right: where points and edges
are at t = 1, drawn across the read-out, which is to be ∓1; grey is 0. In the plane the flow pulls
the disc out through a gap between points of the ring, and the edges of the ring follow it. Bottom:
losses, and dots on 4,000 fresh points. Of those, the three flows of the plane have 56, 10 and 24 on
the wrong side; with one dimension more there are none. On the points shown, whose gaps a flow of
the plane can use, all losses end below 0.01.
"""

import numpy as np

from minode import MLP, odeint, solve, value_and_gradients
from minode.learning.fit import fit
from minode.learning.optimisers import cosine

from . import style

SECONDS = 9
SIZE = (8.0, 7.2)
SEEDS, SHOWN, POINTS, FRESH, STEPS, RATE = (0, 1, 2), 1, 300, 4000, 250, 0.03
T = [0.0, 1.0]
CLASSES = {-1: style.BLUE, 1: style.VERMILION}
FIELDS = {extra: MLP([2 + extra, 32, 2 + extra], ["tanh", "identity"]) for extra in (0, 1)}


def points(rng, n):
    """n points, half of them in |x| < 1/2 and half in 1 < |x| < 3/2, each evenly spread, and their classes ∓1."""
    square = np.concatenate([0.25 * rng.uniform(size=n // 2), 1 + 1.25 * rng.uniform(size=n // 2)])
    return np.sqrt(square)[:, None] * on_circle(rng.uniform(0.0, 1.0, n)), np.repeat([-1.0, 1.0], n // 2)


def on_circle(turns):
    return np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=-1)


def raised(x, extra):
    """Points of the plane with zeros for the other components."""
    return np.concatenate([x, np.zeros((*x.shape[:-1], extra))], axis=-1)


class Classifier:
    """u = (θ, v, c): the read-out v · y(1) + c should be the class."""

    def __init__(self, extra):
        self.extra, self.field = extra, FIELDS[extra]

    def start(self, rng):
        theta, d = self.field.init(rng), self.field.dim
        return np.concatenate([theta, rng.normal(size=d) / np.sqrt(d), [0.0]])

    def split(self, u):
        p = self.field.n_params
        return u[:p], u[p:-1], u[-1]

    def objective(self, u, batch):
        """½ mean (v · y(1) + c − class)², and its gradient."""
        (x, classes), (theta, v, c), readout = batch, self.split(u), {}

        def loss(ys):
            r = ys[-1] @ v + c - classes
            readout["gradient"] = [*(r @ ys[-1] / len(r)), np.mean(r)]
            return 0.5 * np.mean(r**2), np.stack([np.zeros_like(ys[0]), r[:, None] * v / len(r)])

        value, gradients = value_and_gradients(loss, self.field, raised(x, self.extra), T, theta, times=False,
                                               method="rk4", step_size=0.125)
        return value, np.concatenate([gradients.theta, readout["gradient"]])

    def along_and_across(self, u, x):
        """The field at points x of the plane: its component along v, and those in the plane."""
        theta, v, _ = self.split(u)
        velocity = self.field(0.0, raised(x, self.extra), theta)
        return velocity @ v / np.linalg.norm(v), velocity[..., :2]

    def carried(self, u, x):
        """(y(1), read-out) of points x, and the calls of f that dopri5 takes for all of them together."""
        theta, v, c = self.split(u)
        solution = solve(self.field, raised(x, self.extra), T, theta)
        return solution.ys[-1], solution.ys[-1] @ v + c, solution.stats.n_f

    def seen(self, u, x):
        """Where points are at the end: across the read-out (along which they spread most), and the read-out."""
        v = self.split(u)[1]
        y, readout, _ = self.carried(u, x)
        across = y - np.outer(y @ v, v) / (v @ v)
        axis = np.linalg.svd(across - across.mean(axis=0), full_matrices=False)[2][0]
        return np.stack([across @ axis, readout], axis=-1)


def compute():
    shown, fresh = points(np.random.default_rng(0), POINTS), points(np.random.default_rng(1), FRESH)
    edges = np.concatenate([r * on_circle(np.linspace(0.0, 1.0, 401)) for r in (0.5, 1.0, 1.5)])
    grid = np.stack(np.meshgrid(*[np.linspace(-1.6, 1.6, 101)] * 2), axis=-1)
    data = {"shown": shown}
    for extra in FIELDS:
        model, rows = Classifier(extra), []
        for seed in SEEDS:
            found = fit(model.objective, model.start(np.random.default_rng(seed)), n_steps=STEPS, data=shown,
                        learning_rate=lambda step: cosine(step, RATE, STEPS), progress=False)
            _, readout, n_f = model.carried(found.last, fresh[0])
            rows.append({"loss": found.history.loss, "fresh": 0.5 * np.mean((readout - fresh[1]) ** 2),
                         "wrong": int(np.sum(readout * fresh[1] <= 0)), "n_f": n_f})
            if seed == SHOWN:
                ends = model.seen(found.last, np.concatenate([shown[0], edges]))
                rows[-1] |= {"along": model.along_and_across(found.last, shown[0])[0],
                             "field": model.along_and_across(found.last, grid),
                             "ends": ends[:POINTS], "edges": ends[POINTS:].reshape(3, -1, 2),
                             "map": model.carried(found.last, grid.reshape(-1, 2))[1].reshape(grid.shape[:2])}
        data[extra] = rows
    return data | {"grid": grid[0, :, 0]}


def draw(fig, data):
    rows = [["map 0", "field 0", "ends 0"], ["map 1", "field 1", "ends 1"], 3 * ["loss"]]
    panels = fig.subplot_mosaic(rows, height_ratios=[1, 1, 0.75])
    circle, coarse = on_circle(np.linspace(0.0, 1.0, 101)).T, slice(8, 100, 14)
    (x, classes), names = data["shown"], ("in the plane", "one dimension more")
    for extra, name in enumerate(names):
        row, plane, ends = data[extra][SHOWN], panels[f"map {extra}"], panels[f"ends {extra}"]
        plane.contourf(data["grid"], data["grid"], row["map"], levels=[-99, 0, 99], colors=["#cfe3f1", "#f7ddcc"])
        for label, colour in CLASSES.items():
            of = classes == label
            plane.plot(*x[of].T, ".", color=colour, ms=2.5)
            ends.plot(*row["ends"][of].T, ".", color=colour, ms=2.5)
        for edge, colour in zip(row["edges"], (style.BLUE, style.VERMILION, style.VERMILION)):
            ends.plot(*edge.T, color=colour, lw=0.7)
        field, (along, across) = panels[f"field {extra}"], row["field"]
        field.contourf(data["grid"], data["grid"], along, levels=[-9, -0.5, 0, 1, 2, 9],
                       colors=["#9ecae1", "#deebf7", "#fee0d2", "#fcbba1", "#fc9272"])
        field.plot(*np.multiply.outer(circle, [0.5, 1.0, 1.5]), color=style.BLACK, lw=0.7)
        arrows = across / np.sqrt(np.linalg.norm(across, axis=-1, keepdims=True))
        field.quiver(*2 * [data["grid"][coarse]], *np.moveaxis(arrows[coarse, coarse], -1, 0),
                     width=0.01, scale=18)
        field.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$",
                  title="field, at $y_3 = 0$" if extra else "field")
        ends.axhline(0.0, color=style.GREY, lw=0.8)
        plane.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$", title=f"{name}: classes")
        ends.set(xlabel="across", ylabel="read-out", title="states at $t = 1$")
    ax = panels["loss"]
    for extra, colour in ((0, style.PURPLE), (1, style.GREEN)):
        for row in data[extra]:
            ax.semilogy(np.arange(1, STEPS + 1), row["loss"], color=colour, lw=1)
            ax.semilogy(STEPS * 1.03, row["fresh"], "o", color=colour, clip_on=False)
    ax.text(85, 0.2, "in the plane", color=style.PURPLE)
    ax.text(25, 0.0045, "one dimension more", color=style.ink(style.GREEN))
    ax.set(xlabel="steps of Adam", ylabel="loss", ylim=(2e-3, 2), title="loss (fresh points: ●)",
           xlim=(0, STEPS * 1.06))

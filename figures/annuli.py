"""Figure 33. A flow of the plane cannot take a disc out of the ring around it; one of space can

Points of a disc, and of a ring around it, are to be told apart by the sign of a read-out v · y(1) + c,
linear in where an ODE has carried them (Dupont, Doucet and Teh, 2019). By (32.3) the image of the ring
still surrounds that of the disc, so that no line separates them. Each field is a network with 32 hidden
units; loss ½ mean (v · y(1) + c ∓ 1)² on 300 points, RK4 with h = 1/8, 250 steps of Adam, three seeds. The
edges are drawn from so many points that no two in a row are farther apart than 0.04 at t = 1: the straight
line between two images may cross what the curve between them does not. The figure shows (4.1), (18.4),
(20.1), (23.4), (32.3) and (32.4).

Caption. Above: in the plane, a flow pulls the disc (blue) out through a gap between points of the ring
(red). The edges follow, and none crosses another: the line that separates the points (grey) cuts the ring.
Below: with a third component, 0 at the start, the flow lifts the disc out of the ring.

Numbers. Of 4,000 fresh points, the three flows of the plane have 56, 10 and 24 on the wrong side; with one
dimension more there are none. On the points shown, whose gaps a flow of the plane can use, all losses end
below 0.01.
"""

import numpy as np

from minode import MLP, augmented, odeint, value_and_gradients
from minode.learning.fit import fit
from minode.learning.optimisers import cosine

from . import style

SECONDS = 9
SIZE = (8.0, 5.4)
SEEDS, SHOWN, POINTS, FRESH, STEPS, RATE = (0, 1, 2), 1, 300, 4000, 250, 0.03
T = [0.0, 1.0]
RADII, LONGEST = (0.5, 1.0, 1.5), 0.04     # of the edges: no piece of an image is longer
TIMES = [0.0, 0.5, 1.0]
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
    return augmented(x, extra) if extra else x


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

    def carried(self, u, x, t=T):
        """y (len(t), n, d) of points x of the plane at the times t, and the read-out at the last of them."""
        theta, v, c = self.split(u)
        ys = odeint(self.field, raised(x, self.extra), t, theta)
        return ys, ys[-1] @ v + c

    def edges(self, u):
        """The images at t = 1 of the three circles, as closed curves with no piece longer than LONGEST."""
        curves = []
        for r in RADII:
            turns, is_long = np.linspace(0.0, 1.0, 201), [True]
            while np.any(is_long):
                ends = self.carried(u, r * on_circle(turns))[0][-1]
                is_long = np.linalg.norm(np.diff(ends, axis=0), axis=1) > LONGEST
                between = (turns[:-1] + turns[1:])[is_long] / 2
                turns = np.sort(np.concatenate([turns, between]))
            curves.append(np.concatenate([ends[:-1], ends[:1]]))
        return curves


def compute():
    shown, fresh = points(np.random.default_rng(0), POINTS), points(np.random.default_rng(1), FRESH)
    data = {"shown": shown}
    for extra in FIELDS:
        model, rows = Classifier(extra), []
        for seed in SEEDS:
            found = fit(model.objective, model.start(np.random.default_rng(seed)), n_steps=STEPS, data=shown,
                        learning_rate=lambda step: cosine(step, RATE, STEPS), progress=False)
            _, readout = model.carried(found.last, fresh[0])
            rows.append({"loss": found.history.loss[-1], "wrong": int(np.sum(readout * fresh[1] <= 0))})
            if seed == SHOWN:
                ys, readout = model.carried(found.last, shown[0], TIMES)
                rows[-1] |= {"ys": ys, "readout": readout, "line": model.split(found.last)[1:]}
                if extra == 0:
                    rows[-1]["edges"] = model.edges(found.last)
        data[extra] = rows
    return data


def draw(fig, data):
    grid, classes = fig.add_gridspec(3, 3, height_ratios=[1.2, 0.34, 0.9]), data["shown"][1]
    plane, row = fig.add_subplot(grid[0, :]), data[0][SHOWN]
    for edge, colour in zip(row["edges"], (style.BLUE, style.VERMILION, style.VERMILION)):
        plane.plot(*edge.T, color=colour, lw=0.9)
    for label, colour in CLASSES.items():
        plane.plot(*row["ys"][-1][classes == label].T, ".", color=colour, ms=3)
    xlim, ylim = plane.get_xlim(), plane.get_ylim()
    (v, c) = row["line"]
    nearest, along = -c * v / (v @ v), np.array([-v[1], v[0]]) * 9
    plane.plot(*np.stack([nearest - along, nearest + along]).T, color=style.GREY, lw=1)
    plane.set(aspect="equal", xlim=xlim, ylim=ylim, xlabel="$y_1$", ylabel="$y_2$",
              title="in the plane, $t = 1$: disc (blue) and ring (red) with their edges")
    for i, (y, name) in enumerate(zip(data[1][SHOWN]["ys"], ("one component more: $t = 0$", "$t = ½$", "$t = 1$"))):
        ax = fig.add_subplot(grid[2, i], projection="3d")
        for label, colour in CLASSES.items():
            ax.plot(*y[classes == label].T, ".", color=colour, ms=2.5)
        ax.set(xticklabels=[], yticklabels=[], zticklabels=[], title=name)
        ax.set_box_aspect(None, zoom=1.4)
        ax.view_init(elev=12, azim=-60)
        ax.set_in_layout(False)                              # its title is in the empty row

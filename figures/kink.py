"""Figure 23. At a kink a method loses its order, and an adaptive one has its steps rejected

The network of figure 4 with one or another activation in its hidden layer, from 64 points of
R³ to t = 2. leaky_relu has a kink at 0, and a path on which a hidden unit changes sign meets
a velocity whose slope jumps: one step makes an error of h² there, whatever its method. No order
above two is left, and an adaptive method is stopped, and made to creep across. Of tanh and
softplus every derivative exists. The figure shows (9.1) to (9.3) and (10.1) to (10.4) on (4.1),
and the end of the argument in chapter 3.

Caption. A kink costs RK4 its order and an adaptive method many steps. Left: on paths that cross a kink of
leaky_relu the slope of the error is 2.03 in place of 4.01. Right: dopri5 on one of these, try by try. Steps
across a time at which a unit changes sign (dashed) are often rejected; 6 of 17 are.

Numbers. Left: the error of RK4, root mean square over the paths. Slopes: tanh 4.00, softplus 4.00,
leaky_relu 4.01 on the 16 paths where no hidden unit changes sign and 2.03 on the 48 others. Right,
with rtol = atol = 1e-6: 11 steps are accepted and 6 rejected. On average over the 64 paths 4.0 are
rejected beside 7.3 accepted; for tanh 0.4 beside 5.7, for softplus 0.8 beside 4.6.
"""

import numpy as np

from minode import MLP, odeint, solve
from minode.solvers.solve import run

from . import style
from .trajectory import THETA

SECONDS = 3
END, PATHS = 2.0, 64
SOLVER = {"rtol": 1e-6, "atol": 1e-6}
T = np.linspace(0.0, END, 5)
STEPS = np.array([8, 16, 32, 64, 128, 256])
FINE = 4096
ACTIVATIONS = {"tanh": style.BLUE, "softplus": style.GREEN, "leaky_relu": style.VERMILION}
FOLLOWED = 19                                # the path on the right


def changes_of_sign(model, ys, t):
    """Whether a hidden unit changes sign between t[i] and t[i + 1], (len(t) − 1, paths)."""
    W, b = model.layers(THETA)[0]
    clock = np.broadcast_to(t[:, None, None], (*ys.shape[:-1], 1))
    z = np.concatenate([clock, ys], axis=-1) @ W.T + b
    return ((z[1:] > 0) != (z[:-1] > 0)).any(axis=-1)


def tries(model, y0):
    """Every step that dopri5 tried: (from, to, whether it was accepted)."""
    asked = []

    def recorded(t, y, theta):
        asked.append(t)
        return model(t, y, theta)

    accepted = run(recorded, y0, [0.0, END], THETA, [], **SOLVER).tape
    starts, found = [step[0] for step in accepted[1:]] + [END], []
    t = 0.0
    for end in asked[2:][5::6]:             # two calls for the first step, then six a try, the last at t + h
        found.append((t, end, end == starts[0]))
        if end == starts[0]:
            t = starts.pop(0)
    return np.array(found)


def compute():
    starts = np.random.default_rng(0).normal(size=(PATHS, 3))
    grid = np.linspace(0.0, END, FINE + 1)
    data = {}
    for name in ACTIVATIONS:
        model = MLP([4, 5, 3], [name, "tanh"])
        exact = odeint(model, starts, grid, THETA, method="rk4")
        coarse = exact[::FINE // (len(T) - 1)]
        rk4 = [odeint(model, starts, T, THETA, method="rk4", step_size=END / n) for n in STEPS]
        errors = np.abs(np.array(rk4) - coarse).max(axis=(1, 3))
        stats = solve(model, starts, [0.0, END], THETA, per_trajectory=True, **SOLVER).stats
        data[name] = {"accepted": stats.n_accepted.mean(), "rejected": stats.n_rejected.mean()}
        groups = {"error": np.ones(PATHS, dtype=bool)}
        if name == "leaky_relu":
            changes = changes_of_sign(model, exact, grid)
            crosses = changes.any(axis=0)
            groups = {"error": ~crosses, "error across": crosses}
            data |= {"tries": tries(model, starts[FOLLOWED]), "kinks": grid[:-1][changes[:, FOLLOWED]],
                     "across": int(crosses.sum())}
        for key, paths in groups.items():
            error = np.sqrt(np.mean(errors[:, paths] ** 2, axis=1))
            data[name] |= {key: error, f"slope of {key}": style.slope(END / STEPS, error)}
    return data


def draw(fig, data):
    ax, bars = fig.subplots(1, 2, width_ratios=[1, 1.1])
    h = END / STEPS
    for (name, colour), marker in zip(ACTIVATIONS.items(), "oD^"):
        ax.loglog(h, data[name]["error"], f"{marker}-", color=colour, lw=1)
    ax.loglog(h, data["leaky_relu"]["error across"], "s-", color=style.BLACK)
    ax.text(h[2], 2e-4, "leaky_relu across\na kink: error $\\propto h^2$", ha="left")
    ax.text(h[2], 2e-7, "smooth: $\\propto h^4$", ha="left")
    names = {"leaky_relu": "leaky_relu, no kink"}
    style.key(ax, {names.get(name, name): colour for name, colour in ACTIVATIONS.items()}, "lower left", 10)
    ax.set(xlabel="step size $h$", ylabel="error", ylim=(2e-13, 1e-2), xticks=h[::2],
           xticklabels=[f"1/{1 / x:.0f}" for x in h[::2]], title="RK4 loses two orders")
    ax.minorticks_off()
    ax.invert_xaxis()

    for i, (start, end, accepted) in enumerate(data["tries"], start=1):
        bars.barh(i, end - start, left=start, height=0.7, color=style.BLUE if accepted else style.ORANGE)
    for time in data["kinks"]:
        bars.axvline(time, color=style.BLACK, ls="--", lw=1.2)
    bars.text(data["kinks"][0] - 0.03, 1.2, "a unit switches", ha="right", va="center")
    bars.text(0.42, 9, "accepted", color=style.ink(style.BLUE), va="center")
    bars.text(0.42, 12, "rejected", color=style.ink(style.ORANGE), va="center")
    bars.set(xlabel="time $t$", ylabel="steps tried", xlim=(0, END), ylim=(len(data["tries"]) + 0.7, 0.3),
             yticks=[1, 5, 10, 15], title="dopri5 on leaky_relu is stopped at each kink")
    bars.grid(axis="y", visible=False)

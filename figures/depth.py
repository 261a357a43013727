"""Figure 50. A residual network has layers, an ODE has a continuous depth

One field, f(t, y) = 1.5 sin 3t + 0.8 cos(1.5 y + t), moves five inputs from the bottom up. On the left
it is the residual of six layers, each multiplied by the distance h = 1/3 to the next one; the figure
shows (6.1). On the right dopri5 solves the equation with rtol = atol = 1e-4, each input by itself, and
every call of f is recorded: (10.1) and (10.4) say where. This is the picture of Chen, Rubanova,
Bettencourt and Duvenaud (2018), drawn from a field.

Caption. Five inputs (below) become five outputs (above). Left: a residual network of six layers moves
all states at the same depths, and nothing is defined between two layers. Right: an ODE moves them all
the time, and an adaptive solver evaluates the field (dots) where each input needs it.

Numbers. The network ends up to 0.25 away from the ODE. The solver calls f between 26 and 50 times.
"""

import numpy as np

from minode import odeint, odeint_euler

from . import style

SECONDS = 0.8
SIZE = (8.0, 5.0)
LAYERS, DEPTH = 6, 2.0
INPUTS = np.array([-2.4, -1.3, -0.2, 0.9, 2.0])
FINE = np.linspace(0.0, DEPTH, 201)


def f(t, y):
    return 1.5 * np.sin(3 * t) + 0.8 * np.cos(1.5 * y + t)


def calls_of(y0):
    """Every (t, y) at which dopri5 evaluates f on the way from y0, and where it ends."""
    calls = []

    def watched(t, y):
        calls.extend(np.stack(np.broadcast_arrays(t, y[..., 0]), axis=-1).reshape(-1, 2))
        return f(t, y)

    end = odeint(watched, [y0], [0.0, DEPTH], rtol=1e-4, atol=1e-4)[-1, 0]
    return np.array(calls), float(end)


def compute():
    found = [calls_of(y0) for y0 in INPUTS]
    return {"layers": odeint_euler(f, INPUTS, np.linspace(0.0, DEPTH, LAYERS + 1)),
            "paths": odeint(f, INPUTS, FINE, rtol=1e-8, atol=1e-8), "calls": [calls for calls, _ in found],
            "ends": np.array([end for _, end in found])}


def draw(fig, data):
    left, right = fig.subplots(1, 2, sharey=True, sharex=True)
    colours = (style.PURPLE, style.BLUE, style.GREEN, style.INK[style.ORANGE], style.VERMILION)
    at, states = np.linspace(0.0, DEPTH, LAYERS + 1), np.linspace(-3.8, 3.0, 17)
    h = at[1]
    for t in at[:-1]:
        draw_field(left, t, states, 0.95 * h)
    for t in np.linspace(0.0, DEPTH, 17):
        draw_field(right, t, states, 0.11)
    for i, colour in enumerate(colours):
        left.plot(data["layers"][:, i], at, "o-", color=colour, ms=7, lw=1.6)
        right.plot(data["paths"][:, i], FINE, color=colour, lw=1.8)
        right.plot(*data["calls"][i].T[::-1], "o", color=colour, ms=4)
    left.set(title="residual network: steps from layer to layer", ylabel="depth", xlabel="state", xlim=(-4.0, 3.2),
             ylim=(-0.06, DEPTH + 0.06), yticks=at,
             yticklabels=["input"] + [f"layer {i}" for i in range(1, LAYERS + 1)])
    right.set(title="ODE: a path, evaluated at the dots", xlabel="state")
    right.tick_params(labelleft=False, left=False)
    right.grid(False)
    left.grid(False, axis="x")


def draw_field(ax, t, states, dt):
    """The field at one depth as arrows that show where a state gets within dt, depth upwards."""
    ax.quiver(states, np.full(len(states), t), dt * f(t, states), np.full(len(states), dt), color=style.PALE,
              angles="xy", scale_units="xy", scale=1, width=0.0035, headwidth=4, zorder=0)

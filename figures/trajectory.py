"""Figure 4. A network as a velocity carries every point along a path

The model of the source text, tanh(leaky_relu([t, y] W₁ᵀ + b₁) W₂ᵀ + b₂) with five
hidden units, moves a point of R³ from the origin. It is solved by the classical
method, 120 steps from 0 to 6: the figure shows (4.1) as a field and (6.6) as its
solver. With PyTorch's initial weights most paths bend little. These are twice as
large, and the seed was chosen: among the first thousand, those whose path, and in
figures 5 and 6 whose tangent and cotangent, turn through more than 120 degrees; of
these few, the one whose path is furthest from lying in a plane.

Caption. A network taken as a velocity, y' = f(t, y, θ), carries every point along a path of its own.
Left: the path from the origin (blue; dots at whole times, its shadow on the floor), and those from
five points near it (pale). Right: the three components of the blue one.

Numbers. The blue path turns through 232 degrees on the way and ends at (2.49, −0.39, 1.89).
Halving the steps moves it by 2.0e-5 at most.
"""

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator

from minode import MLP, odeint

from . import style

SECONDS = 0.3
SIZE = (8.0, 4.2)
MODEL = MLP([4, 5, 3], ["leaky_relu", "tanh"])
THETA = 2.0 * MODEL.init(np.random.default_rng(922))
T = np.linspace(0.0, 6.0, 121)
Y0 = np.zeros(3)
OTHERS = 0.3 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])


def turning(vectors):
    """The angle through which a sequence of vectors turns in all, in degrees."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    cosines = np.sum(unit[1:] * unit[:-1], axis=-1)
    return float(np.degrees(np.arccos(np.minimum(cosines, 1.0)).sum()))


def compute():
    ys = odeint(MODEL, Y0, T, THETA, method="rk4")
    finer = odeint(MODEL, Y0, T, THETA, method="rk4", step_size=0.5 * T[1])
    others = odeint(MODEL, OTHERS, T, THETA, method="rk4")
    return {"t": T, "ys": ys, "others": others, "turning": turning(np.diff(ys, axis=0)),
            "moved": float(np.abs(finer - ys).max())}


def draw(fig, data):
    space, parts = panels(fig, "six paths in space", "components of the blue one")
    draw_path(space, data["t"], data["ys"], data["others"])
    components(parts, data["t"], data["ys"], "y", style.Y)


def panels(fig, left, right):
    """A panel in space on the left, one over time on the right."""
    fig.set_layout_engine("none")
    space = fig.add_axes((-0.03, 0.0, 0.56, 1.0), projection="3d", computed_zorder=False)
    space.view_init(elev=20, azim=-56)
    for i, axis in enumerate((space.xaxis, space.yaxis, space.zaxis)):
        axis.set_major_locator(MultipleLocator(1))
        axis.set_label_text(f"$y_{i + 1}$")
        axis.set_tick_params(pad=0)
        axis.labelpad = (3, 5, -1)[i]
    fig.text(0.03, 0.95, left, va="top")
    parts = fig.add_axes((0.655, 0.14, 0.295, 0.74))
    fig.text(0.59, 0.95, right, va="top")
    return space, parts


def draw_path(space, t, ys, others=None):
    """The path, a dot and the time at every whole unit of it, its shadow on the floor, and pale other paths."""
    all_of_them = ys if others is None else np.concatenate([ys, *others.swapaxes(0, 1)])
    low, high = all_of_them.min(axis=0) - 0.15, all_of_them.max(axis=0) + 0.15
    space.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    space.set_box_aspect(high - low, zoom=0.98)
    space.plot(ys[:, 0], ys[:, 1], np.full(len(t), low[2]), color=style.PALE, lw=2, zorder=1)
    for path in () if others is None else others.swapaxes(0, 1):
        space.plot(*path.T, color="#8fbfdf", lw=1.3, zorder=2)
        space.plot(*path[-1], "o", color="#8fbfdf", ms=3.5, zorder=2)
    space.plot(*ys.T, color=style.Y, lw=2.2, zorder=4)
    whole = np.isclose(t, np.round(t))
    space.plot(*ys[whole].T, "o", color=style.Y, ms=5, zorder=5)
    for time, y in zip(t[whole], ys[whole]):
        space.text(*(y - [0, 0, 0.17]), f"{time:.0f}", color=style.Y, ha="center", va="center", zorder=6,
                   path_effects=[withStroke(linewidth=2.5, foreground="white")])


def components(ax, t, rows, name, colour):
    """The three components over time, named where they end: on the right, or on the left if t runs backwards."""
    for row, dashes in zip(rows.T, ("-", "--", ":")):
        ax.plot(t, row, dashes, color=colour)
    ax.set(xlabel="time $t$", ylabel=f"${name}_1, {name}_2, {name}_3$", xlim=(t.min(), t.max()))
    if t[0] > t[-1]:
        style.solved_backwards(ax)
        ax.set_position((0.61, 0.14, 0.295, 0.74))
    style.end_labels(ax, t[-1], [(rows[-1, i], f"${name}_{i + 1}$", colour) for i in range(3)], space=0.03,
                     ha="left" if t[0] < t[-1] else "right")


def corners(ax, times, right=False):
    """Thin lines at the times at which a unit of the LeakyReLU changes sign: a component has a corner there."""
    for time in times:
        ax.axvline(time, color=style.GREY, lw=0.8, ls=":", zorder=0)
    ax.text(0.98 if right else 0.02, 0.03, "dotted: a hidden unit switches", color=style.ink(style.GREY), size=9,
            ha="right" if right else "left", transform=ax.transAxes)

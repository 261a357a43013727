"""Figure 48. Euler takes one slope, Runge–Kutta the mean of four

One step of h = 1 for y' = 2 t y from y(0) = 1, whose solution is exp t². The places and the slopes are
recorded from the calls of f: the figure shows (6.1) on the left, and (6.2) to (6.6) on the right, as
(9.1) to (9.3) have them for every table. An arrow is as steep as the k that was computed at its foot.

Caption. A step with h = 1, in the slope field (short lines) beside the solution (grey). Euler's method
goes straight on with the slope at the start, which here is 0. Each kᵢ of the classical method is
measured where the dashed line leads, which has the slope of the k before it. The step has the mean
slope.

Numbers. k₁ to k₄ are 0, 1, 1.5 and 5. Euler's step ends at 1 and Runge–Kutta's at 8/3 = 2.667, the
solution at e = 2.718.
"""

import numpy as np

from minode import odeint_euler, odeint_rk4

from . import style

SECONDS = 1
SIZE = (8.0, 4.2)
H, Y0 = 1.0, 1.0
BEHIND = {"color": "white", "pad": 1}
NAMES = ((-13, 12), (-2, -15), (-2, -15), (12, -8))          # where k₁ to k₄ are written, in points from their places


def slope_at(t, y):
    return 2 * t * y


def step(method):
    """Where one step ends, and the (t, y, k) of its calls of f."""
    calls = []

    def f(t, y):
        calls.append((float(t), float(y), float(slope_at(t, y))))
        return slope_at(t, y)

    end = method(f, Y0, [0.0, H])[-1]
    return {"end": float(end), "calls": calls}


def compute():
    t = np.linspace(0.0, 1.08 * H, 100)
    return {"euler": step(odeint_euler), "rk4": step(odeint_rk4), "t": t, "exact": Y0 * np.exp(t**2)}


def draw(fig, data):
    left, right = fig.subplots(1, 2, sharey=True)
    for ax in (left, right):
        ax.set(xlim=(-0.12, 1.3), ylim=(0.6, 3.4), xlabel="time $t$", xticks=(0, 0.5, 1),
               xticklabels=("0", "$h/2$", "$h$"))
        ax.grid(False)
        draw_slopes(fig, ax)
        ax.plot(data["t"], data["exact"], color=style.GREY, lw=5, alpha=0.45, solid_capstyle="round")
        ax.text(0.94, 2.95, "solution", color=style.ink(style.GREY), ha="right", va="center", bbox=BEHIND)
    left.set(ylabel="$y$", title="Euler: the slope at the start")
    right.set_title("Runge–Kutta: $(k_1 + 2k_2 + 2k_3 + k_4)\\,/\\,6$")
    for ax, method in ((left, "euler"), (right, "rk4")):
        colour, end = style.METHOD[method], data[method]["end"]
        ax.plot([0, H], [Y0, end], color=colour, lw=2.6, zorder=4)
        ax.plot([0, H], [Y0, end], "o", color=colour, ms=7, zorder=5)
        ax.text(H + 0.06, end + 0.35 * (method == "rk4"), "the step", color=style.ink(colour), va="center", size=12,
                bbox=BEHIND, zorder=6)
    calls = data["rk4"]["calls"]
    for (_, _, k), (t, y, _) in zip(calls, calls[1:]):
        right.plot([0, t], [Y0, y], "--", color=style.ink(style.ORANGE), lw=1.1, zorder=3)
    for ax, method in ((left, "euler"), (right, "rk4")):
        for i, (t, y, k) in enumerate(data[method]["calls"]):
            draw_arrow(fig, ax, t, y, k, i)


def unit(fig, ax, k):
    """The direction of the slope k as a vector (Δt, Δy) that is one inch long on paper, about."""
    width, height = 0.41 * fig.get_figwidth(), 0.72 * fig.get_figheight()
    per_t, per_y = width / np.diff(ax.get_xlim())[0], height / np.diff(ax.get_ylim())[0]
    return np.array([1.0, k]) / np.hypot(per_t, k * per_y)


def draw_slopes(fig, ax):
    """The slope field as short lines of one length."""
    for t in np.linspace(-0.05, 1.25, 14):
        for y in np.linspace(0.7, 3.3, 14):
            d = 0.07 * unit(fig, ax, slope_at(t, y))
            ax.plot([t - d[0], t + d[0]], [y - d[1], y + d[1]], color=style.PALE, lw=0.9, zorder=1)


def draw_arrow(fig, ax, t, y, k, i):
    """A slope as a short arrow at the place at which it was evaluated."""
    d = 0.5 * unit(fig, ax, k)
    ax.annotate("", (t + d[0], y + d[1]), (t, y), arrowprops={
        "arrowstyle": "-|>", "color": style.INK[style.ORANGE], "lw": 2.2, "shrinkA": 0, "shrinkB": 0,
        "mutation_scale": 13}, zorder=6)
    ax.plot(t, y, "o", color=style.INK[style.ORANGE], ms=4.5, zorder=7)
    ax.annotate(f"$k_{i + 1}$", (t, y), NAMES[i], textcoords="offset points", color=style.INK[style.ORANGE], size=13,
                ha="center", va="center", bbox=BEHIND, zorder=6)

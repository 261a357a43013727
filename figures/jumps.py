"""Figure 49. The adjoint state jumps where the loss reads the state

A pendulum with friction, y'' = −θ₁ sin y − θ₂ y', starts at the angle 2 and at rest, with θ = (1, 0.1).
Its angle is observed at t = 2, 4, 7 and 10: the loss is L = ½ Σ (y(t_i) − o_i)². The augmented system
is solved from one observation back to the one before, by dopri5 with rtol = atol = 1e-9, y set right at
each. The figure shows (17.2) and (17.4).

Caption. Above: the angle of a pendulum, solved forwards, and four observations (○) that it misses.
Below: a = ∂L/∂y, solved backwards from 0. At each observation it jumps by what the state misses (red
above): the derivative of one term of L. Between them it follows da/dt = −a f_y. Where it ends, a is
dL/dy₀.

Numbers. The jumps are −0.6, 0.7, 0.7 and −0.5, the first one at t = 2, and dL/dy₀ = (−1.97, −1.94).
"""

import numpy as np

from minode import VectorField, adjoint_rhs, odeint

from . import style

SECONDS = 0.5
SIZE = (8.0, 4.6)
THETA, Y0 = np.array([1.0, 0.1]), np.array([2.0, 0.0])
TIMES = np.array([0.0, 2.0, 4.0, 7.0, 10.0])
MISSED = np.array([-0.6, 0.7, 0.7, -0.5])                # y(t_i) − o_i: chosen
FINE = {"rtol": 1e-9, "atol": 1e-9}


class Pendulum(VectorField):
    """y = (angle, velocity), θ = (g over the length, friction)."""

    dim = n_params = 2

    def __call__(self, t, y, theta):
        return np.stack([y[..., 1], -theta[0] * np.sin(y[..., 0]) - theta[1] * y[..., 1]], axis=-1)

    def jacobian(self, t, y, theta):
        f_y = np.zeros((*y.shape, 2), np.result_type(y, theta))
        f_y[..., 0, 1], f_y[..., 1, 0], f_y[..., 1, 1] = 1.0, -theta[0] * np.cos(y[..., 0]), -theta[1]
        return f_y

    def param_jacobian(self, t, y, theta):
        f_theta = np.zeros((*y.shape, 2), np.result_type(y, theta))
        f_theta[..., 1, 0], f_theta[..., 1, 1] = -np.sin(y[..., 0]), -y[..., 1]
        return f_theta

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


FIELD = Pendulum()


def compute():
    ys = odeint(FIELD, Y0, TIMES, THETA, **FINE)
    observed = ys[1:, 0] - MISSED
    t = np.linspace(0.0, TIMES[-1], 301)
    data = {"t": t, "angle": odeint(FIELD, Y0, t, THETA, **FINE)[:, 0], "observed": observed, "stretches": []}
    rhs, a, b = adjoint_rhs(FIELD), np.zeros(2), np.zeros(2)
    for i in range(len(TIMES) - 1, 0, -1):
        a = a + np.array([ys[i, 0] - observed[i - 1], 0.0])                         # (17.4)
        back = np.linspace(TIMES[i], TIMES[i - 1], 101)
        _, path, b_path = odeint(rhs, (ys[i], a, b), back, THETA, **FINE)
        data["stretches"].append((back, path))
        a, b = path[-1], b_path[-1]
    return data | {"y": ys, "a": a, "b": b}


def draw(fig, data):
    above, below = fig.subplots(2, 1, sharex=True)
    above.plot(data["t"], data["angle"], color=style.Y)
    above.vlines(TIMES[1:], data["observed"], data["y"][1:, 0], color=style.A, lw=3.5, zorder=4)
    above.plot(TIMES[1:], data["observed"], "o", mfc="white", color=style.BLACK, ms=6, zorder=5)
    above.set(ylabel="angle $y_1$", title="forwards: the state, and where the loss reads it",
              ylim=(-2.7, 2.5), xlim=(-0.15, 10.6))
    draw_way(above, 0.36, 0.44, style.Y, "solved this way")
    below.axhline(0, color=style.GREY, lw=0.8)
    jumps = [(TIMES[-1], np.zeros(2))] + [(back[-1], path[-1]) for back, path in data["stretches"]]
    for (back, path), (t, before) in zip(data["stretches"], jumps):
        below.plot(back, path[:, 0], color=style.A)
        below.annotate("", (t, path[0, 0]), (t, before[0]), arrowprops={
            "arrowstyle": "-|>", "color": style.A, "lw": 2.5, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 13})
    below.plot([TIMES[-1], 10.6], [0, 0], color=style.A)
    below.plot(0, data["a"][0], "o", color=style.A, ms=7)
    below.annotate("$dL/dy_0$", (0, data["a"][0]), (9, 0), textcoords="offset points", color=style.ink(style.A),
                   va="center")
    below.set(xlabel="time $t$", ylabel="$a_1$", title="backwards: the adjoint state, which jumps there")
    draw_way(below, 0.44, 0.36, style.A, "solved this way")
    for ax in (above, below):
        for t in TIMES[1:]:
            ax.axvline(t, color=style.PALE, lw=1, ls=":", zorder=0)
        ax.grid(False)


def draw_way(ax, start, end, colour, text):
    """A short arrow from start to end above the axes, in fractions of them, with words on it."""
    ax.annotate("", (end + 0.4, 1.06), (start + 0.4, 1.06), "axes fraction", "axes fraction",
                {"arrowstyle": "-|>", "color": style.ink(colour), "lw": 2}, annotation_clip=False)
    ax.text(0.85, 1.06, text, color=style.ink(colour), transform=ax.transAxes, va="center", size=10)

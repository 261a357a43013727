"""Figure 3. A fourth stage one step too late costs three orders

The Runge–Kutta code of the source text computes its fourth stage at t + h where the
name t is already the new time: one whole step after (6.5). It is kept here as an
exhibit, `late_rk4`. Its own example, y' = y, cannot show the mistake, because f does not
depend on t. On y' = cos(t) y, y(0) = 1, it shows: the figure shows (6.5), and (6.6)
at work beside it. The times at which f is evaluated are recorded from the calls.

Caption. A slip of one step in k₄ costs three orders. Left: the times at which each method evaluates f
in one step of length h; the code of the source text evaluates k₄ a whole step too late. Right: the
error at t = 2. Its slope is −1.02 instead of −4.01, hardly better than Euler's method.

Numbers. With 20, 40, 80 and 160 steps the correct method is off by 1.06e-6, 6.51e-8, 4.03e-9
and 2.51e-10 (slope −4.01); the source text's code by 6.13e-2, 3.00e-2, 1.48e-2 and 7.37e-3
(slope −1.02), Euler's method by 7.47e-2, 3.75e-2, 1.88e-2 and 9.39e-3 (slope −1.00).
"""

import numpy as np

from minode import odeint_euler, odeint_rk4

from . import style

SECONDS = 0.4
STEPS = np.array([20, 40, 80, 160])


def late_rk4(f, y0, t):
    """The source text's method, its mistake kept: k₄ at t + h where t is the end of the step."""
    ys = [y0]
    for t_prev, t in zip(t[:-1], t[1:]):
        h = t - t_prev
        k1 = f(t_prev, ys[-1])
        k2 = f(t_prev + h / 2, ys[-1] + h / 2 * k1)
        k3 = f(t_prev + h / 2, ys[-1] + h / 2 * k2)
        k4 = f(t + h, ys[-1] + h * k3)                       # the mistake: t_prev + h is meant
        ys.append(ys[-1] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.array(ys)


METHODS = {"Runge–Kutta": odeint_rk4, "source text's code": late_rk4, "Euler": odeint_euler}


def called(method):
    """The times at which one step from 0 to 1 calls f."""
    times = []

    def f(t, y):
        times.append(float(t))
        return y

    method(f, 1.0, [0.0, 1.0])
    return times


def compute():
    def f(t, y):
        return np.cos(t) * y

    exact = np.exp(np.sin(2.0))
    error = {name: np.array([abs(method(f, 1.0, np.linspace(0.0, 2.0, n + 1))[-1] - exact) for n in STEPS])
             for name, method in METHODS.items()}
    return {"called": {name: called(method) for name, method in METHODS.items()}, "error": error,
            "slope": {name: style.slope(STEPS, values) for name, values in error.items()}}


def draw(fig, data):
    nodes, error = fig.subplots(1, 2, width_ratios=[1, 1.25])
    colours = dict(zip(METHODS, (style.METHOD["rk4"], style.VERMILION, style.METHOD["euler"])))
    nodes.axvspan(0, 1, color="#eeeeee", lw=0)
    nodes.text(0.5, 0.62, "one step", color=style.ink(style.GREY), ha="center")
    for row, name in enumerate(METHODS):
        nodes.plot([-0.1, 2.1], [-row, -row], color=style.PALE, lw=1)
        nodes.text(-0.1, 0.3 - row, name, color=style.ink(colours[name]))
        times = data["called"][name]
        for i, t in enumerate(times):
            nodes.plot(t, -row, "o", color=colours[name], ms=8)
        for t in sorted(set(times)):
            stages = ", ".join(f"$k_{i + 1}$" for i, time in enumerate(times) if time == t)
            nodes.text(t, -row - 0.14, stages, ha="center", va="top")
    nodes.set(xlabel="time, in units of $h$", yticks=[], ylim=(-2.55, 0.9), xticks=[0, 0.5, 1, 1.5, 2],
              title="when $f$ is evaluated, in one step")
    nodes.text(2, -0.72, "too late", color=style.ink(style.VERMILION), ha="center")
    nodes.grid(False)
    nodes.spines["left"].set_visible(False)

    for name, values in data["error"].items():
        error.loglog(STEPS, values, "o-", color=colours[name])
    labels = [(values[-1], f"{name},\nslope {data['slope'][name]:.2f}".replace("-", "−"), colours[name])
              for name, values in data["error"].items()]
    error.set(xlabel="number of steps", ylabel="error at $t = 2$", xticks=STEPS, xticklabels=STEPS,
              xlim=(18, 180), title="$y' = \\cos(t)\\, y$: the slip costs three orders")
    error.minorticks_off()
    style.end_labels(error, STEPS[-1], labels, gap=0.15, space=0.04)

"""Figure 2. In the same hundred steps Runge–Kutta errs 50,000 times less than Euler

The worked example of the source text: y' = y, y(0) = 2, 100 steps to t = 10, so
h = 0.1. The figure shows (6.1) and (6.6), each step of which multiplies y by the
first two or the first five terms of e^h. Hence the theory beside the errors: after
time t the Euler solution is e^{−ht/2} of the true one, to leading order, and the
Runge–Kutta solution 1 − h⁴t/120 of it.

Caption. The worked example, y' = y, in a hundred steps to t = 10. Left: why Euler's method
falls behind, here with h = 1: each step follows a tangent. Right: at the end Euler is 37 % too low;
Runge–Kutta, for four times the calls of f, only 0.0008 %. Theory (grey) predicts both.

Numbers. Euler's method ends at 27561.22, the classical Runge–Kutta method at 44052.59;
the solution is 2e¹⁰ = 44052.93. Euler is 37.4 % too low, where the leading term of the theory
says 39.3 %; Runge–Kutta is 7.7e-6 too low, and theory says 8.3e-6.
"""

import numpy as np

from minode import odeint_euler, odeint_rk4

from . import style

SECONDS = 0.5
H = 0.1
FEW = 3                                     # steps of 1, on the left


def compute():
    t = np.linspace(0.0, 10.0, 101)
    exact = 2 * np.exp(t)
    ys = {"Euler": odeint_euler(lambda t, y: y, 2.0, t), "Runge–Kutta": odeint_rk4(lambda t, y: y, 2.0, t)}
    few = np.arange(FEW + 1.0)
    long = {"Euler": odeint_euler(lambda t, y: y, 2.0, few), "Runge–Kutta": odeint_rk4(lambda t, y: y, 2.0, few)}
    return {"t": t, "exact": exact, "ys": ys, "long": long,
            "too_low": {name: 1 - y / exact for name, y in ys.items()},
            "theory": {"Euler": -np.expm1(-H * t / 2), "Runge–Kutta": H**4 * t / 120}}


def draw(fig, data):
    state, error = fig.subplots(1, 2, width_ratios=[1, 1.15])
    t, colours = data["t"], {"Euler": style.METHOD["euler"], "Runge–Kutta": style.METHOD["rk4"]}
    fine, (few, long) = np.linspace(0.0, FEW, 200), (np.arange(FEW + 1), data["long"])
    for n in few[:-1]:
        state.plot(fine[fine >= n], long["Euler"][n] * np.exp(fine[fine >= n] - n), color=style.PALE,
                   lw=5 if n == 0 else 1.2, zorder=1)
    for name, marker in (("Euler", "o-"), ("Runge–Kutta", "o")):
        state.plot(few, long[name], marker, color=colours[name], ms=6)
    style.end_labels(state, FEW, [(long["Euler"][-1], "Euler", colours["Euler"]),
                                  (long["Runge–Kutta"][-1], "Runge–\nKutta", colours["Runge–Kutta"])])
    state.text(2.6, 33, "solution $2e^t$", color=style.ink(style.GREY), ha="right")
    state.annotate("from each point there is\nanother solution", (1.55, 4 * np.exp(0.55)), (0.0, 18),
                   color=style.ink(style.GREY), arrowprops={"arrowstyle": "-", "color": style.GREY, "lw": 0.7})
    state.set(xlabel="time $t$", ylabel="$y$", title="$y' = y$ in steps of 1", ylim=(0, None), xticks=few)

    for name, low in data["too_low"].items():
        error.semilogy(t[1:], data["theory"][name][1:], color=style.PALE, lw=6, solid_capstyle="round")
        error.semilogy(t[1:], low[1:], color=colours[name])
    error.text(9.9, 0.02, "Euler: 37 % too low at $t = 10$", color=style.ink(colours["Euler"]), ha="right")
    error.text(9.9, 5e-7, "Runge–Kutta: 0.0008 %", color=style.ink(colours["Runge–Kutta"]), ha="right")
    error.text(3.0, 1.3, "theory: $ht\\,/\\,2$", color=style.ink(style.GREY), ha="center", va="center")
    error.text(3.0, 4e-5, "theory: $h^4t\\,/\\,120$", color=style.ink(style.GREY), ha="center", va="center")
    error.set(xlabel="time $t$", ylabel="relative error (too low by)", title="100 steps of 0.1",
              ylim=(3e-8, 5))

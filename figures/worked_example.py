"""Figure 2. One hundred steps of Euler and of Runge–Kutta on y' = y

The worked example of the source text: y' = y, y(0) = 2, 100 steps to t = 10, so
h = 0.1. The figure shows (6.1) and (6.6), each step of which multiplies y by the
first two or the first five terms of e^h. Hence the theory beside the errors: after
time t the Euler solution is e^{−ht/2} of the true one, to leading order, and the
Runge–Kutta solution 1 − h⁴t/120 of it.

Caption. Euler's method ends at 27561.22, the classical Runge–Kutta method at 44052.59;
the solution is 2e¹⁰ = 44052.93. Euler is 37.4 % too low, where the leading term of the
theory (dotted) says 39.3 %; Runge–Kutta is 7.7e-6 too low, and theory says 8.3e-6.
"""

import numpy as np

from minode import odeint_euler, odeint_rk4

from . import style

SECONDS = 0.5
H = 0.1


def compute():
    t = np.linspace(0.0, 10.0, 101)
    exact = 2 * np.exp(t)
    ys = {"Euler": odeint_euler(lambda t, y: y, 2.0, t), "Runge–Kutta": odeint_rk4(lambda t, y: y, 2.0, t)}
    return {"t": t, "exact": exact, "ys": ys,
            "too_low": {name: 1 - y / exact for name, y in ys.items()},
            "theory": {"Euler": -np.expm1(-H * t / 2), "Runge–Kutta": H**4 * t / 120}}


def draw(fig, data):
    state, error = fig.subplots(1, 2)
    t, colours = data["t"], {"Euler": style.METHOD["euler"], "Runge–Kutta": style.METHOD["rk4"]}
    state.plot(t, data["exact"] / 1000, color=style.PALE, lw=7, solid_capstyle="round")
    for name, ys in data["ys"].items():
        state.plot(t, ys / 1000, ".", color=colours[name], ms=4)
    state.text(8.4, 36, "solution $2e^t$ (grey)\nand Runge–Kutta", color=style.ink(colours["Runge–Kutta"]), ha="right")
    state.text(8.8, 4, "Euler", color=style.ink(colours["Euler"]))
    state.set(xlabel="time $t$", ylabel="$y$ (thousands)", title="$y' = y$, 100 steps", ylim=(0, None))

    for name, low in data["too_low"].items():
        error.semilogy(t[1:], low[1:], color=colours[name])
        error.semilogy(t[1:], data["theory"][name][1:], ":", color=style.BLACK, lw=1.4)
    error.text(9.9, 0.02, "Euler: 37 % too low at $t = 10$", color=style.ink(colours["Euler"]), ha="right")
    error.text(9.9, 5e-7, "Runge–Kutta: 0.0008 %", color=style.ink(colours["Runge–Kutta"]), ha="right")
    error.set(xlabel="time $t$", ylabel="relative error (too low by)", title="error, and theory (dotted)",
              ylim=(3e-8, 3))

"""Figure 10. The derivatives of the steps keep a · w + b · Δθ; equations solved apart let it drift

For any tangent w and any cotangents a, b the number a · w + b · Δθ does not change along
a trajectory; at the end it is the change of L as forward mode computes it, at the start
as reverse mode does. The figure shows (17.1) for the model of figure 9, L = y₃(2), and a
random move of y₀ and of θ, by two kinds of a and b. The discrete ones are the derivatives
of the steps themselves, (18.1) to (18.4), and keep the number at every step. Those of the
adjoint equation (17.2, 17.3), solved backwards with the same method and the same
steps, keep it only as well as the method solves equations.

Caption. The change of L by forward mode (at the end) and by reverse mode (at the start) is the same
number. If w, a and b are solved as differential equations, it drifts by the error of the method
(lines). With the derivatives of the steps it is kept to round-off, by Euler's method (squares)
as by RK4 (dots).

Numbers. Relative to its value at the end, the number differs at the start by 0.16, 0.077 and 0.038
for 20, 40 and 80 steps of Euler's method, and by 3.1e-7, 1.9e-8 and 1.1e-9 for RK4. With the
discrete a and b of 20 steps it stays within 1e-14 throughout.
"""

import numpy as np

from minode import adjoint_rhs, odeint, pullback, pushforward

from . import style
from .three_gradients import MODEL, Y0
from .trajectory import THETA

SECONDS = 0.5
END, STEPS = 2.0, (20, 40, 80)
METHODS = {"euler": "Euler", "rk4": "RK4"}
FLOOR = 1e-17             # where the line "exactly 0" is drawn
COTANGENT = np.array([0.0, 0.0, 1.0])
RNG = np.random.default_rng(0)
DY0, DTHETA = RNG.normal(size=MODEL.dim), RNG.normal(size=MODEL.n_params)


def adjoint_solved(ys, t, method):
    """a and b at the times t, from the adjoint equation solved backwards."""
    rhs = adjoint_rhs(MODEL)
    end = ys[-1], COTANGENT, np.zeros(MODEL.n_params)
    _, a, b = odeint(rhs, end, t[::-1], THETA, method=method)
    return a[::-1], b[::-1]


def adjoint_of_steps(ys, t, method):
    """a and b at the times t, as the derivative of the steps that remain after each."""
    tails = [pullback(MODEL, ys[n], t[n:], THETA, COTANGENT, method=method) for n in range(len(t))]
    return np.array([tail.y0 for tail in tails]), np.array([tail.theta for tail in tails])


def compute():
    data = {}
    for method in METHODS:
        for n in STEPS:
            t = np.linspace(0.0, END, n + 1)
            ys, ws = pushforward(MODEL, Y0, t, THETA, DY0, DTHETA, method=method)
            kinds = {"solved": adjoint_solved, "discrete": adjoint_of_steps}
            for kind, adjoint in kinds.items() if n == STEPS[0] else [("solved", adjoint_solved)]:
                a, b = adjoint(ys, t, method)
                number = np.sum(a * ws, axis=1) + b @ DTHETA                       # (17.1)
                data[method, kind, n] = t, np.abs(number / number[-1] - 1)
    return data


def draw(fig, data):
    ax = fig.subplots()
    labels = []
    for (method, kind, n), (t, drift) in data.items():
        colour = style.METHOD[method]
        if kind == "solved":
            ax.semilogy(t[:-1], drift[:-1], color=colour)
            labels.append((drift[0], f"{METHODS[method]}, {n} steps", colour))
        else:
            marker, size = {"euler": ("s", 6), "rk4": ("o", 3.5)}[method]
            ax.semilogy(t, drift, marker, color=colour, ms=size)
    for height, text in ((1e-4, "$w$ forwards, $y$, $a$ and $b$ backwards, as differential equations"),
                         (3e-14, "$a$ and $b$ as derivatives of the steps, 20 of Euler (squares) and of RK4 (dots)")):
        ax.text(END / 2, height, text, ha="center", va="center")
    ax.set(xlabel="time $t$", ylabel="relative drift", xlim=(-0.03, END + 0.03),
           ylim=(FLOOR, 10), title="$a \\cdot w + b \\cdot Δθ$, against its value at the end")
    style.floor(ax, FLOOR)
    style.solved_backwards(ax, y=0.97)
    style.end_labels(ax, 0.0, labels, ha="right", space=0.03)

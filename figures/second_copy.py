"""Figure 19. What the second copy costs

A reversible method carries a second copy of the state, and it is not free. On
y' = −a(t) y a step is a 2 × 2 matrix on the two copies. Its determinant is −1 for (14.1) and
(14.2) and the coupling c for (14.3): the shape of f and the size of h play no part. So where
y shrinks by e^{−ha} a step, the difference of the copies grows by e^{ha}, or by c e^{ha};
it is damped only if c < e^{−ha}. Backwards, by (14.4), the same difference grows by 1/c, and
with it round-off. The figure shows (14.1) to (14.4): the way there with h = 1/2 and
a = (1 + ½ cos t)/10, and the way back for a driven pendulum without friction.

Caption. Left: the difference of the two copies; the solution, grey, is 4.7e-5 at t = 100. The
difference is then 31 for reversible Heun, 15 for asynchronous leapfrog, 0.0074 for
reversible("rk4") with c = 0.999 and 2.4e-10 with c = 0.9, for the determinants are −1, −1, 0.999
and 0.9, and e^{−ha} is 0.951 on average. Right: how far the states that reversible("rk4") meets on
the way back are from those of the way there; dotted 1e-16 c⁻ⁿ. Over 2,000 steps it stays below
1e-12 with c = 1 and 0.999, and comes to about 1e-7 with 0.99; with 0.9 the distance is 1
after fewer than 400 steps.
"""

import numpy as np

from minode import methods, reversible

from . import style

SECONDS = 2
H, STEPS = 0.5, 200
H_BACK, STEPS_BACK, START = 0.02, 2000, np.array([1.5, 0.0])
COUPLINGS = {1.0: style.BLACK, 0.999: style.BLUE, 0.99: style.GREEN, 0.9: style.PURPLE}
FLOOR = 1e-17                               # where an exact zero is drawn


def decay(t, y):
    return -(1 + 0.5 * np.cos(t)) / 10 * y


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0]) + 0.1 * np.cos(t)])


def there(method, f, y0, h, n):
    """The states (y and its copy) after 0, 1, ..., n steps."""
    states = [method.start(f, 0.0, y0)]
    for i in range(n):
        states.append(method.step(f, i * h, (i + 1) * h, states[-1]))
    return states


def difference(method, states):
    """The difference of the two copies in units of y; for asynchronous leapfrog that is h (v − f)."""
    if method.name == "asynchronous_leapfrog":
        return np.array([H * (v - decay(i * H, y)).item() for i, (y, v) in enumerate(states)])
    return np.array([(state[0] - state[1]).item() for state in states])


def back(method):
    """The distances from the states of the way there, on the way back, until they reach 1."""
    states = there(method, pendulum, START, H_BACK, STEPS_BACK)
    state, missed = states[-1], []
    for i in range(STEPS_BACK, 0, -1):
        state = method.back(pendulum, i * H_BACK, (i - 1) * H_BACK, state)
        missed.append(np.linalg.norm(state[0] - states[i - 1][0]))
        if missed[-1] > 1:
            break
    return np.array(missed)


def determinant(method):
    """Of the first step on y' = −a(t) y, as a matrix on (y, its copy)."""
    def step(y, copy):
        y, copy = np.array([y]), np.array([copy])
        state = (y, copy, decay(0.0, copy)) if method.name == "reversible_heun" else (y, copy)
        return np.ravel(method.step(decay, 0.0, H, state)[:2])
    return np.linalg.det([step(1.0, 0.0), step(0.0, 1.0)])


def compute():
    carried = {"reversible Heun": methods["reversible_heun"],
               "asynchronous leapfrog": methods["asynchronous_leapfrog"],
               "c = 0.999": reversible("rk4"), "c = 0.9": reversible("rk4", 0.9)}
    t = H * np.arange(STEPS + 1)
    return {"t": t, "solution": np.exp(-(t + 0.5 * np.sin(t)) / 10),
            "difference": {name: np.abs(difference(method, there(method, decay, np.ones(1), H, STEPS)))
                           for name, method in carried.items()},
            "determinant": {name: determinant(method) for name, method in carried.items()},
            "missed": {coupling: back(reversible("rk4", coupling)) for coupling in COUPLINGS}}


def draw(fig, data):
    copies, ax = fig.subplots(1, 2)
    copies.semilogy(data["t"], data["solution"], color=style.PALE, lw=5)
    colours = dict(zip(data["difference"], (style.VERMILION, style.ORANGE, style.BLUE, style.PURPLE)))
    for name, values in data["difference"].items():
        copies.semilogy(data["t"][1:], values[1:], color=colours[name])
    copies.text(98, 250, "reversible Heun", color=style.ink(style.VERMILION), ha="right")
    copies.text(62, 0.03, "asynchronous\nleapfrog", color=style.ink(style.ORANGE), va="center")
    copies.text(46, 5e-6, "$c = 0.999$", color=style.BLUE)
    copies.text(58, 3e-8, "$c = 0.9$", color=style.PURPLE)
    copies.text(5, 1.5, "solution", color=style.GREY)
    copies.set(xlabel="time $t$", ylabel="difference of the two copies", ylim=(3e-11, 3e3),
               title="there: $y' = -a(t)\\,y$")

    for coupling, missed in data["missed"].items():
        n = np.arange(1, len(missed) + 1)
        ax.semilogy(n, np.maximum(missed, FLOOR), color=COUPLINGS[coupling], lw=1.2)
        ax.semilogy(n, 1e-16 * coupling ** -n.astype(float), ":", color=COUPLINGS[coupling], lw=1.4)
    for coupling, x, y in ((0.9, 380, 1e-3), (0.99, 620, 3e-9), (0.999, 1470, 9.5e-16), (1.0, 1480, 2.5e-13)):
        ax.text(x, y, f"$c = {coupling:g}$", color=style.ink(COUPLINGS[coupling]))
    ax.set(xlabel="steps back", ylabel="distance from the way there", ylim=(2e-18, 10),
           title="back: a driven pendulum")

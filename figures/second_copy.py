"""Figure 19. What a coupling damps on the way there, it amplifies on the way back

A reversible method carries a second copy of the state, and it is not free. On
y' = −k(t) y a step is a 2 × 2 matrix on the two copies. Its determinant is −1 for (14.1) and
(14.2) and the coupling c for (14.3): the shape of f and the size of h play no part. So where
y shrinks by e^{−hk} a step, the difference of the copies grows by e^{hk}, or by c e^{hk};
it is damped only if c < e^{−hk}. Backwards, by (14.4), the same difference grows by 1/c, and
with it round-off. The figure shows (14.4) at work, on a driven pendulum without friction; the
tests measure (14.1) to (14.3) on the way there.

Caption. A coupling c below one damps the difference of the two copies, and so undoing a step amplifies
it, and round-off with it. Drawn is how far the states on the way back are from those of the way
there. With c = 0.9 the distance is 1 after fewer than 400 steps; with c = 1 it remains round-off.

Numbers. Over 2,000 steps back it stays below 1e-12 with c = 1 and 0.999, and comes to about 1e-7 with
0.99. There, with h = 1/2 and k = (1 + ½ cos t)/10, the solution is 4.7e-5 at t = 100. The difference of
the copies is then 31 for reversible Heun, 15 for asynchronous leapfrog, 0.0074 for
reversible("rk4") with c = 0.999 and 2.4e-10 with c = 0.9, for the determinants are −1, −1, 0.999
and 0.9, and e^{−hk} is 0.951 on average.
"""

import numpy as np

from minode import methods, reversible

from . import style

SECONDS = 2
H, STEPS = 0.5, 200
H_BACK, STEPS_BACK, START = 0.02, 2000, np.array([1.5, 0.0])
COUPLINGS = {1.0: style.BLACK, 0.999: style.BLUE, 0.99: style.GREEN, 0.9: style.PURPLE}


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
    """Of the first step on y' = −k(t) y, as a matrix on (y, its copy)."""
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
    ax = fig.subplots()
    for coupling in (1.0, 0.99, 0.9):
        missed, colour = data["missed"][coupling], COUPLINGS[coupling]
        n = np.arange(1, len(missed) + 1)
        ax.semilogy(n, np.where(missed > 0, missed, np.nan), color=colour)
        if coupling < 1:
            ax.semilogy(n, 1e-16 * coupling ** -n.astype(float), ":", color=colour, lw=1.6)
    for coupling, x, y in ((0.9, 350, 1e-2), (0.99, 1500, 1e-7), (1.0, 1400, 6e-13)):
        ax.text(x, y, f"coupling $c = {coupling:g}$", color=style.ink(COUPLINGS[coupling]),
                ha="left" if coupling < 0.95 else "right")
    ax.text(330, 1e-5, "dotted: $10^{-16}\\, c^{-n}$", color=style.ink(style.GREY))
    ax.text(1990, 2e-16, "round-off", color=style.ink(style.GREY), ha="right")
    ax.set(xlabel="$n$, steps back", ylabel="distance from the way there", ylim=(1e-17, 10), xlim=(0, 2020),
           title='reversible("rk4") undoes its steps along a driven pendulum')

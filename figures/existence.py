"""Figure 11. A Lipschitz bound promises one solution; without it there may be many, or none

When does y' = f(t, y) have one solution? If f is continuous in t and Lipschitz in y (Picard
and Lindelöf). y' = √|y| is not Lipschitz at 0: from y(0) = 0 it is solved by 0, by
t²/4, and by waiting at 0 for any time before setting off. y' = y² is, near each point, but
its slope 2y has no bound, and the solution from y(0) = 1 is 1/(1 − t). For a network the
bound holds everywhere: the figure shows (4.7) for the model of figure 4. The distance of two of
its solutions changes by a factor between e^{−Lt} and e^{Lt}, so it is never 0 if it was not at first.

Caption. Left: y' = √|y| has many solutions from 0 (grey); a nudge of 1e-30 decides which one a solver
follows. Middle: the solution of y' = y² ends at t = 1. dopri5 stops there, equal steps run across.
Right: a network has a Lipschitz bound L, so two solutions can neither meet nor part faster
than e^{±Lt} (shaded).

Numbers. Left: from y(0) = 0 dopri5 stays at 0; from y(0) = 1e-30 it follows t²/4 and ends at 3.99984,
and Euler's method with h = 0.1 is at 2.88. Middle: the steps of dopri5 climb beyond 1e13, and then a
SolverError says that the step size underflows, 3.0e-7 past t = 1. RK4 with h = 0.1 steps across the
pole and runs out of numbers at t = 1.2, Euler's method with h = 0.1 at t = 2.1. Right: L = 2.79
is proved. Of 3,000 pairs of states, at distances from 0.001 to 10 around points of a normal
distribution, the largest slope is 1.19. The solutions drawn start 0.001 from the one from the origin.
"""

import numpy as np

from minode import SolverError, odeint
from minode.solvers.solve import run

from . import style
from .trajectory import MODEL, THETA

SECONDS = 0.5
SIZE = (8.0, 3.7)
PAIRS, NUDGE, H = 3000, 1e-30, 0.1
COLOURS = {name: style.METHOD[name.lower()] for name in ("dopri5", "rk4", "euler", "Euler")}
T = np.linspace(0.0, 4.0, 41)
T_NEAR, APART = np.linspace(0.0, 3.0, 61), 1e-3          # of the solutions of the network


def root(t, y):
    return np.sqrt(np.abs(y))


def blow_up(**solver):
    """The steps (t, y) of a solve of y' = y² that should reach t = 3, and where a SolverError ended them."""
    tape, stopped = [], None
    try:
        run(lambda t, y: y * y, [1.0], [0.0, 3.0], tape=tape, **solver)
    except SolverError as error:
        stopped = error.t
    return {"steps": np.array([(t, y[0]) for t, _, y, _ in tape]), "stopped": stopped}


def slopes(rng):
    """The distances of random pairs of states, and |f(t, u) − f(t, v)| / |u − v|."""
    u, direction = rng.normal(size=(2, PAIRS, MODEL.dim))
    distance = 10 ** rng.uniform(-3, 1, PAIRS)
    v = u + distance[:, None] * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    t = rng.uniform(0.0, 6.0, PAIRS)
    moved = np.linalg.norm(MODEL(t, u, THETA) - MODEL(t, v, THETA), axis=1)
    return distance, moved / distance


def near():
    """States at the same small distance from the origin, on both sides along each axis."""
    return APART * np.concatenate([np.eye(MODEL.dim), -np.eye(MODEL.dim)])


def compute():
    from_zero = {"dopri5 from 0": odeint(root, [0.0], T),
                 "dopri5 from 1e-30": odeint(root, [NUDGE], T),
                 "Euler from 1e-30": odeint(root, [NUDGE], T, method="euler")}
    towards = {"dopri5": {}, "rk4": {"step_size": H}, "euler": {"step_size": H}}
    distance, slope = slopes(np.random.default_rng(0))
    ys = odeint(MODEL, [np.zeros(MODEL.dim), *near()], T_NEAR, THETA, rtol=1e-10, atol=1e-13)
    return {"apart": np.linalg.norm(ys[:, 1:] - ys[:, :1], axis=2),
            "root": {name: ys[:, 0] for name, ys in from_zero.items()},
            "pole": {name: blow_up(method=name, **options) for name, options in towards.items()},
            "distance": distance, "slope": slope, "bound": MODEL.lipschitz(THETA)}


def draw(fig, data):
    two, none, one = fig.subplots(1, 3)
    for wait in (0, 1, 2, 3):
        two.plot(T, np.maximum(T - wait, 0) ** 2 / 4, color=style.PALE, lw=5, zorder=1)
    for name, ys in data["root"].items():
        two.plot(T, ys, ".", color=COLOURS[name.split()[0]], ms=4)
    two.text(2.35, 2.1, "dopri5\nfrom $10^{-30}$", color=style.ink(COLOURS["dopri5"]), ha="right")
    two.text(4.2, 2.87, "Euler\nfrom\n$10^{-30}$", color=style.ink(COLOURS["euler"]), va="center")
    two.text(0.1, -0.2, "dopri5 from 0", color=style.ink(COLOURS["dopri5"]), va="top")
    two.set(xlabel="time $t$", ylabel="$y$", title="$y' = \\sqrt{|y|}$: many",
            xlim=(-0.1, 5.4), ylim=(-0.7, 4.3))

    for name, row in data["pole"].items():
        none.semilogy(*row["steps"].T, ".-", color=COLOURS[name], ms=4, lw=1)
    none.text(0.93, 3e13, "dopri5\nstops", color=style.ink(COLOURS["dopri5"]), ha="right", va="top")
    none.text(1.17, 3e11, "RK4", color=style.ink(COLOURS["rk4"]))
    none.text(1.48, 1e6, "Euler", color=style.ink(COLOURS["euler"]), ha="right")
    none.set(xlabel="time $t$", ylabel="$y$", title="$y' = y^2$: none beyond 1",
             xlim=(0, 1.85), ylim=(0.5, 1e16))

    growth = np.exp(data["bound"] * T_NEAR)
    one.fill_between(T_NEAR, APART / growth, APART * growth, color="#e4e4e4", lw=0)
    one.semilogy(T_NEAR, data["apart"], color=style.Y, lw=1.2)
    one.text(1.45, 0.4, "$e^{Lt}$", color=style.ink(style.GREY), ha="right")
    one.text(1.45, 2.5e-6, "$e^{-Lt}$", color=style.ink(style.GREY), ha="right", va="top")
    one.set(xlabel="time $t$", ylabel="distance of two solutions", xlim=(0, 3), title="a network: exactly one")

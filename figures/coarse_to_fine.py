"""Figure 35. What is learnt through coarse steps is right only with those steps

A linear field y' = A y is learnt from states a time h apart, with one step of a method from each to
the next. Euler's step y + h A_h y meets the states, which e^{Ah} carries on, where

    A_h = (e^{Ah} − I) / h = A + h A² / 2 + …,

and so that is what is learnt, and not A: the error of the method has gone into the field. At that
step size it cancels; with finer steps what comes out tends to the flow of A_h (Ott and others,
2021, and Krishnapriyan and others, 2023, find the same in networks). Here A = (−0.1, 1; −2, −0.3),
h = 0.25, 40 first states from N(0, 1), 16 intervals; 300 steps of Adam from A = 0, and four of
Newton's method. The figure shows (2.1), (6.1), (20.1), (21.3) and (23.4).

Caption. A field learnt through one coarse step from each state to the next is exact with that step and wrong with
finer ones: the error of the method has gone into the field. Left: states (grey), and the field learnt with Euler's
method, solved with the same steps and with finer ones. Right: the error of three methods.

Numbers. The error is for states of rms 0.72. In the steps it was trained with it is that of round-off for each of the
methods. In twice as many, Euler's is 0.15 and in 64 times as many 0.26; the midpoint method's is 0.031 and 0.041,
that of RK4 2.6e-4 and 2.8e-4. The true field is the tangent, the one learnt with Euler's method the chord: to end
each step right it points inwards, and its eigenvalues are −0.43 ± 1.31 i, while those of A are −0.20 ± 1.41 i. It is
the closed form to 13 digits, and off A by up to 0.24; that of RK4 by 2.6e-4.
"""

import numpy as np
from scipy.linalg import expm

from minode import Linear, hessian_vector_product, odeint, value_and_gradients
from minode.learning.fit import fit
from minode.learning.optimisers import cosine

from . import style

SECONDS = 2
SIZE = (8.0, 4.3)
A = np.array([[-0.1, 1.0], [-2.0, -0.3]])
FIELD, H, INTERVALS, STARTS = Linear(2), 0.25, 16, 40
STEPS, RATE, NEWTON = 300, 0.1, 4
FINER = 2 ** np.arange(7)                  # steps to an interval when tested
TRAINED = ("euler", "midpoint", "rk4")
FLOOR = 2e-15


def compute():
    t = H * np.arange(INTERVALS + 1)
    y0 = np.random.default_rng(0).normal(size=(STARTS, 2))
    truth = np.array([y0 @ expm(A * time).T for time in t])

    def loss(ys, ws=None):
        value = 0.5 * np.mean((ys - truth) ** 2), (ys - truth) / truth.size
        return value if ws is None else (*value, ws / truth.size)

    def run(A, method, m):
        return odeint(lambda t, y: y @ A.T, y0, t, method=method, step_size=H / m)

    data = {"t": t, "truth": truth, "size": np.sqrt(np.mean(truth[1:] ** 2))}
    for method in TRAINED:
        def objective(theta, batch):
            value, gradients = value_and_gradients(loss, FIELD, y0, t, theta, times=False, method=method)
            return value, gradients.theta
        found = fit(objective, np.zeros(4), n_steps=STEPS, progress=False,
                    learning_rate=lambda step: cosine(step, RATE, STEPS))
        theta = found.theta
        for _ in range(NEWTON):
            H_theta = np.array([hessian_vector_product(loss, FIELD, y0, t, theta, 0 * y0, v, method=method).theta
                                for v in np.eye(4)])
            theta = theta - np.linalg.solve(H_theta, objective(theta, None)[1])
        learnt = theta.reshape(2, 2)
        errors = [np.sqrt(np.mean((run(learnt, method, m)[1:] - truth[1:]) ** 2)) for m in FINER]
        flow = np.array([y0 @ expm(learnt * time).T for time in t])
        data[method] = {"A": learnt, "errors": np.array(errors),
                        "of the flow": np.sqrt(np.mean((flow[1:] - truth[1:]) ** 2))}
    starts = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 5)] * 2), axis=-1).reshape(-1, 2)
    data["arcs"] = np.array([starts @ expm(A * time).T for time in np.linspace(0.0, H, 13)])
    return data | {"closed form": (expm(A * H) - np.eye(2)) / H, "path": run(data["euler"]["A"], "euler", 1)[:, 0],
                   "fine": run(data["euler"]["A"], "euler", FINER[-1])[:, 0]}


COLOURS = {name: style.METHOD[name] for name in ("euler", "midpoint", "rk4")}


def draw(fig, data):
    plane, errors = fig.subplots(1, 2, width_ratios=[1.1, 1])
    plane.plot(*data["truth"][:, 0].T, "o-", color=style.PALE, ms=10, lw=6)
    plane.plot(*data["path"].T, "o-", color=style.PURPLE, ms=4, lw=1.2)
    plane.plot(*data["fine"].T, "o-", color=style.ORANGE, ms=4, lw=1.2)
    plane.text(0.045, 0.118, "with the steps\nof training", color=style.PURPLE, va="top")
    plane.text(-0.005, -0.05, "with 64 times\nas many", color=style.ink(style.ORANGE), ha="center")
    plane.set(xlabel="$y_1$", ylabel="$y_2$", aspect="equal", title="learnt with Euler's method")
    for method, colour in COLOURS.items():
        errors.loglog(FINER, np.maximum(data[method]["errors"], FLOOR), "o-", color=colour)
        name = {"euler": "Euler", "rk4": "RK4"}.get(method, method)
        factor, side = (3, "bottom") if method == "euler" else (1 / 3, "top")            # above the line, below it
        errors.text(64, factor * data[method]["errors"][-1], name, color=style.ink(colour), ha="right", va=side)
    errors.text(1.15, FLOOR, "round-off, for all three", va="center", color=style.ink(style.GREY))
    errors.minorticks_off()
    errors.set(xlabel="steps where training had one", ylabel="rms error", xticks=FINER, xticklabels=FINER,
               ylim=(3e-16, 50), title="exact only with the steps of training")

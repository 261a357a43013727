"""Figure 53. A network learns a spiral from short pieces of it

Chapter 0 at work: its network of 32 hidden units, its 40 pieces of the spiral (2.4), its RK4 (6.6), its
exact gradient of the steps (18.4) and its Adam (23.4), 1,000 steps. A picture of the animation shows
the network after some of them: its field, its solution from (2, 0) alone up to t = 5, and the loss so
far. The first picture is the last one too, so that it can stand alone. The figure shows (2.4), (6.6),
(18.4) and (23.4).

Caption. Left: the spiral (grey) that the network has to learn, its own solution from the same start
(blue), and its field. Right: the loss. The network sees only short pieces of the spiral, and in the end
its solution follows all of it.

Numbers. The two solutions are 6.0 apart on average at first, and less than 0.1 in the end. The loss
falls by more than 1,000 times.
"""

import numpy as np

from minode import one_page

from . import style

SECONDS = 9
SIZE = (6.4, 3.5)
STEPS = 1000
SHOWN = (STEPS, 0, 3, 6, 9, 12, 15, 20, 26, 35, 50, 70, 100, 150, 200, 300, 500, STEPS)
FRAMES, PER_SECOND = len(SHOWN), 3
EDGE = 2.4
A, Y0, T = np.array([[-0.1, 2.0], [-2.0, -0.1]]), np.array([2.0, 0.0]), np.linspace(0.0, 5.0, 201)


def compute():
    spiral = one_page.odeint_rk4(lambda t, y: y**3 @ A.T, Y0, np.linspace(0.0, 5.0, 2001))[::10]
    pieces = np.stack([spiral[j:j + 196:5] for j in range(6)])
    theta, state, losses = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * 32 + 2), None, []
    plane, found = np.stack(np.meshgrid(*[np.linspace(-2.0, 2.0, 7)] * 2), axis=-1), {}
    for k in range(STEPS + 1):
        ys = one_page.odeint_rk4(lambda t, y: one_page.f(t, y, theta), pieces[0], T[:6])
        losses.append(np.mean((ys - pieces) ** 2))
        if k in SHOWN:
            whole = one_page.odeint_rk4(lambda t, y: one_page.f(t, y, theta), Y0, T)
            found[k] = {"ys": whole, "field": one_page.f(0.0, plane, theta),
                        "away": np.linalg.norm(whole - spiral, axis=1).mean()}
        _, gradient = one_page.discrete_gradient(ys, T[:6], theta, 2 * (ys - pieces) / ys.size)
        theta, state = one_page.adam(theta, gradient, state, learning_rate=0.1 * (1 - k / STEPS))
    return {"spiral": spiral, "plane": plane, "found": found, "loss": np.array(losses)}


def draw(fig, data, frame):
    fig.set_layout_engine("none")                        # nothing but the curves may move
    left, right = fig.add_axes((0.06, 0.1, 0.48, 0.8)), fig.add_axes((0.655, 0.155, 0.32, 0.745))
    steps, found = SHOWN[frame], data["found"]
    now = found[steps]
    left.plot(*data["spiral"].T, color=style.PALE, lw=5, solid_capstyle="round", zorder=1)
    fastest = np.linalg.norm(found[STEPS]["field"], axis=-1).max()
    style.field(left, now["field"], data["plane"], power=1 / 3, fastest=fastest, width=0.006)
    left.plot(*now["ys"].T, color=style.BLUE, lw=1.8)
    left.plot(*Y0, "o", color=style.BLUE, ms=7)
    left.set(aspect="equal", xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xticks=(), yticks=(),
             title=f"after {steps:,} steps")
    so_far = np.arange(steps + 1)
    right.loglog(so_far + 1, data["loss"][:steps + 1], color=style.BLUE, lw=1.4)
    right.loglog(steps + 1, data["loss"][steps], "o", color=style.BLUE, ms=7)
    right.set(xlim=(0.8, 1.5 * STEPS), ylim=(data["loss"].min() / 3, data["loss"].max() * 3), title="the loss",
              xlabel="steps of training")
    right.minorticks_off()
    right.grid(False)

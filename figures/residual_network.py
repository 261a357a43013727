"""Figure 1. The layers of a residual network close in on a flow

A fixed network f(t, y), y in the plane, tanh(tanh([t, y] W₁ᵀ + b₁) W₂ᵀ + b₂) of width
16, is the residual of n layers, each multiplied by the distance h = 3/n to the next.
That is Euler's method: the figure shows (6.1). The flow itself comes from (6.2) to
(6.6) on 2,048 steps, which is exact on this scale. The weights are four times
PyTorch's initial ones, so that the path bends, and the seed is the one of the first
hundred whose flow turns through the largest angle.

Caption. One state on its way through 4, 8, 16 and 64 residual layers (dots), and the
flow they approximate (grey). The last of 4 layers is 0.60 away from the flow, the last
of 64 layers 0.030: the distance falls in proportion to 1/n (slope −1.00), as long as
the residuals shrink as the layers multiply.
"""

import numpy as np

from minode import MLP, odeint_euler, odeint_rk4

from . import style

SECONDS = 0.6
SEED, GAIN, DEPTH = 86, 4.0, 3.0
SHOWN = (4, 8, 16, 64)
LAYERS = 2 ** np.arange(2, 11)


def compute():
    net = MLP([3, 16, 2], ["tanh", "tanh"])
    theta = GAIN * net.init(np.random.default_rng(SEED))

    def f(t, y):
        return net(t, y, theta)

    flow = odeint_rk4(f, np.zeros(2), np.linspace(0.0, DEPTH, 2049))
    networks = {n: odeint_euler(f, np.zeros(2), np.linspace(0.0, DEPTH, n + 1)) for n in LAYERS.tolist()}
    distance = np.array([np.linalg.norm(states[-1] - flow[-1]) for states in networks.values()])
    return {"flow": flow, "networks": {n: networks[n] for n in SHOWN},
            "distance": distance, "slope": style.slope(LAYERS[2:], distance[2:])}


def draw(fig, data):
    path, error = fig.subplots(1, 2, width_ratios=[1.2, 1])
    colours = dict(zip(SHOWN, (style.PURPLE, style.GREEN, style.VERMILION, style.BLUE)))
    path.plot(*data["flow"].T, color=style.PALE, lw=7, solid_capstyle="round", zorder=1)
    for n, states in data["networks"].items():
        path.plot(*states.T, "o-", color=colours[n], ms=5 if n < 20 else 2.5, lw=1.2)
    style.key(path, {f"{n} layers": colours[n] for n in SHOWN} | {"flow": style.EXACT}, (0.22, 0.42))
    path.annotate("input", (0, 0), xytext=(-2, -14), textcoords="offset points", va="center")
    path.set(xlabel="$y_1$", ylabel="$y_2$", title="one state, layer by layer")

    error.loglog(LAYERS, data["distance"], color=style.GREY, lw=1)
    for n, distance in zip(LAYERS.tolist(), data["distance"]):
        error.loglog(n, distance, "o", color=colours.get(n, style.GREY), ms=7 if n in colours else 4)
    error.text(90, 0.04, f"slope {data['slope']:.2f}".replace("-", "−"), color=style.GREY)
    error.set(xlabel="number of layers $n$", ylabel="distance from the flow", title="error of the last layer")

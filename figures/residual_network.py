"""Figure 1. The deeper a residual network, the closer it comes to a flow

A fixed network f(t, y), y in the plane, tanh(tanh([t, y] W₁ᵀ + b₁) W₂ᵀ + b₂) of width
16, is the residual of n layers, each multiplied by the distance h = 3/n to the next.
That is Euler's method: the figure shows (6.1). The flow itself comes from (6.2) to
(6.6) on 2,048 steps, which is exact on this scale. The weights are four times
PyTorch's initial ones, so that the path bends, and the seed is the one of the first
hundred whose flow turns through the largest angle.

Caption. More layers, each with a smaller residual, come closer to a flow. Left: one state on
its way through 4, 8, 16 and 64 layers, a dot for each, and along the flow that they approximate
(grey). Right: the distance between the last layer and the flow falls in inverse proportion to
the number of layers.

Numbers. The last of 4 layers is 0.60 away from the flow, the last of 64 layers 0.030. On
logarithmic axes the distance falls with slope −1.00, as long as the residuals shrink as the
layers multiply.
"""

import numpy as np

from minode import MLP, odeint_euler, odeint_rk4

from . import style

SECONDS = 0.6
SEED, GAIN, DEPTH = 86, 4.0, 3.0
SHOWN = (4, 8, 16, 64)
LAYERS = 2 ** np.arange(2, 11)
DARKER = (style.SKY, "#2070b4", "#084a91", "#04204a")          # the more layers; of states, hence blue


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
    path, error = fig.subplots(1, 2, width_ratios=[1.25, 1])
    colours = dict(zip(SHOWN, DARKER))
    path.plot(*data["flow"].T, color=style.PALE, lw=9, solid_capstyle="round", zorder=1)
    for n, states in data["networks"].items():
        path.plot(*states.T, "o-", color=colours[n], ms=5 if n < 20 else 2.5, lw=1.2)
    for n, offset, ha in ((4, (0, -16), "center"), (8, (-7, -3), "right"), (16, (-7, 0), "right")):
        path.annotate(f"{n} layers", data["networks"][n][-1], xytext=offset, textcoords="offset points",
                      color=style.ink(colours[n]), ha=ha, va="center")
    path.text(0.53, 0.1, "64 layers, and\nthe flow (grey)", color=colours[64], ha="center", va="center")
    path.annotate("input", (0, 0), xytext=(-2, -14), textcoords="offset points", va="center")
    path.set(xlabel="$y_1$", ylabel="$y_2$", title="one state, layer by layer", ylim=(-0.36, None))

    error.loglog(LAYERS, data["distance"], color=style.GREY, lw=1)
    for n, distance in zip(LAYERS.tolist(), data["distance"]):
        error.loglog(n, distance, "o", color=colours.get(n, style.GREY), ms=7 if n in colours else 4)
    error.text(90, 0.04, f"slope {data['slope']:.2f}".replace("-", "−"), color=style.GREY)
    error.set(xlabel="number of layers $n$", ylabel="distance from the flow",
              title="twice the layers, half the distance")

"""Figure 7. The same cotangent pulled back to the parameters

As figure 6: L = y₃(6), and [y, a, b] solved backwards. Now b: it starts at zero, for L
does not look at θ, and collects −a f_θ on the way, so that b(0) = dL/dθ. The figure
shows (17.3) on the right and (20.1) on the left, the 43 numbers of dL/dθ in the places
of the weights and biases they belong to. The latter are the discrete gradient.

Caption. Left: dL/dθ for L = y₃(6); rows are the units of a layer, columns what it is
fed. The largest entry, 4.61, is the weight with which the fourth hidden unit hears the
time. Right: b(t) on its way from zero at t = 6 to dL/dθ at t = 0, one line for each of
the 43 parameters, the five largest named by layer, row and column. Where it ends and
the discrete gradient differ by 1.9e-7 at most.
"""

import numpy as np

from minode import pullback

from . import style
from .pullback_state import COTANGENT, augmented
from .trajectory import MODEL, T, THETA, Y0

SECONDS = 0.6
SIZE = (8.0, 4.6)
NAMED = 5


def names():
    """A name for each of the 43 parameters, in the order of θ."""
    return [f"$W_{l}[{i + 1},{j + 1}]$" if j < m else f"$b_{l}[{i + 1}]$"
            for l, (n, m) in enumerate(MODEL.shapes, start=1)
            for i, j in [(i, j) for i in range(n) for j in range(m)] + [(i, m) for i in range(n)]]


def compute():
    _, (_, _, b) = augmented()
    dL_dtheta = pullback(MODEL, Y0, T, THETA, COTANGENT, method="rk4").theta
    return {"t": T[::-1], "b": b, "dL_dtheta": dL_dtheta, "layers": MODEL.layers(dL_dtheta),
            "apart": np.abs(b[-1] - dL_dtheta).max()}


def draw(fig, data):
    left, right = fig.subfigures(1, 2, width_ratios=[1.1, 1])
    images = left.subplots(2, 1, height_ratios=[5, 3])
    limit = np.abs(data["dL_dtheta"]).max()
    inputs = [["$t$", "$y_1$", "$y_2$", "$y_3$"], ["1", "2", "3", "4", "5"]]
    for l, (ax, (W, b)) in enumerate(zip(images, data["layers"])):
        n, m = W.shape
        cells = np.full((n, 7), np.nan)
        cells[:, :m], cells[:, 6] = W, b
        ax.imshow(cells, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(cells):
            if np.isfinite(value):
                ax.text(j, i, f"{value:.1f}".replace("-", "−"), ha="center", va="center", size=9,
                        color="white" if abs(value) > 0.65 * limit else "black")
        ax.set_xticks([*range(m), 6], [*inputs[l], "bias"])
        ax.set_xlabel(("input", "hidden unit")[l], loc="left")
        ax.set_yticks(range(n), [f"{'hidden' if l == 0 else 'output'} {i + 1}" for i in range(n)])
        ax.set_title(f"$dL/dW_{l + 1}$ and $dL/db_{l + 1}$")
        ax.grid(False)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)

    ax = right.subplots()
    ax.plot(data["t"], data["b"], color="#d9b3d9", lw=0.6, antialiased=False)
    largest = np.argsort(-np.abs(data["b"][-1]))[:NAMED]
    ax.plot(data["t"], data["b"][:, largest], color=style.B, lw=1.8)
    ax.set(xlabel="time $t$", ylabel="$b(t)$", xlim=(0, 6), title="$b(t)$, from 0 at $t = 6$ to $dL/dθ$")
    style.solved_backwards(ax, x=0.7)
    style.end_labels(ax, 0.0, [(data["b"][-1, k], names()[k], style.B) for k in largest], ha="right")

"""Figure 7. Solved backwards, b collects the gradient of every parameter at once

As figure 6: L = y₃(6), and [y, a, b] solved backwards. Now b: it starts at zero, because L
does not depend on θ itself, and collects −a f_θ on the way, so that b(0) = dL/dθ. The figure
shows (17.3) on the right and (20.1) on the left, the 43 numbers of dL/dθ in the places
of the weights and biases they belong to. The latter are the discrete gradient.

Caption. Solved backwards from zero, b(t) collects dL/dθ of all 43 parameters at once. Left: the result
in the places of the weights, a row for each unit. Right: b(t) on its way; the five largest are named,
and outlined on the left. The largest, 4.61, is the weight of the time in the fourth hidden
unit.

Numbers. Where b ends and the discrete gradient differ by 1.9e-7 at most.
"""

import numpy as np
from matplotlib.patches import Rectangle

from minode import pullback

from . import style
from .pullback_state import COTANGENT, augmented
from .trajectory import MODEL, T, THETA, Y0

SECONDS = 0.6
SIZE = (8.0, 4.6)
NAMED, BIAS = 5, 6                          # how many are named; the column of the biases


def places():
    """Layer, row and column of each of the 43 parameters, in the order of θ; the column of a bias is BIAS."""
    return [(l, i, j) for l, (n, m) in enumerate(MODEL.shapes)
            for i, j in [(i, j) for i in range(n) for j in range(m)] + [(i, BIAS) for i in range(n)]]


def names():
    """A name for each of the 43 parameters, in the order of θ."""
    return [f"$b_{l + 1}[{i + 1}]$" if j == BIAS else f"$W_{l + 1}[{i + 1},{j + 1}]$" for l, i, j in places()]


def compute():
    _, (_, _, b) = augmented()
    dL_dtheta = pullback(MODEL, Y0, T, THETA, COTANGENT, method="rk4").theta
    return {"t": T[::-1], "b": b, "dL_dtheta": dL_dtheta, "layers": MODEL.layers(dL_dtheta),
            "apart": np.abs(b[-1] - dL_dtheta).max()}


def draw(fig, data):
    left, right = fig.subfigures(1, 2, width_ratios=[1.1, 1])
    images = left.subplots(2, 1, height_ratios=[5, 3])
    limit, largest = np.abs(data["dL_dtheta"]).max(), np.argsort(-np.abs(data["b"][-1]))[:NAMED]
    inputs = [["$t$", "$y_1$", "$y_2$", "$y_3$"], ["1", "2", "3", "4", "5"]]
    for l, (ax, (W, b)) in enumerate(zip(images, data["layers"])):
        n, m = W.shape
        cells = np.full((n, BIAS + 1), np.nan)
        cells[:, :m], cells[:, BIAS] = W, b
        ax.imshow(cells, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(cells):
            if np.isfinite(value):
                ax.text(j, i, f"{value:.1f}".replace("-", "−"), ha="center", va="center", size=10,
                        color="white" if abs(value) > 0.65 * limit else "black")
        ax.set_xticks([*range(m), BIAS], [*inputs[l], "bias"])
        ax.set_xlabel(("input", "hidden unit")[l], loc="left")
        ax.set_yticks(range(n), [f"{'hidden' if l == 0 else 'output'} {i + 1}" for i in range(n)])
        ax.set_title(f"$dL/dW_{l + 1}$ and $dL/db_{l + 1}$")
        ax.grid(False)
        ax.tick_params(length=0)
        for _, i, j in [places()[k] for k in largest if places()[k][0] == l]:
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec=style.BLACK, lw=2, clip_on=False))
        for spine in ax.spines.values():
            spine.set_visible(False)

    ax = right.subplots()
    ax.plot(data["t"], data["b"], color="#dcb8c8", lw=0.6, antialiased=False)
    ax.plot(data["t"], data["b"][:, largest], color=style.B, lw=1.8)
    ax.set(xlabel="time $t$", ylabel="$b(t)$", xlim=(0, 6), title="$b(t)$, from 0 at $t = 6$ to $dL/dθ$")
    style.solved_backwards(ax, x=0.7)
    style.end_labels(ax, 0.0, [(data["b"][-1, k], names()[k], style.B) for k in largest], ha="right")

"""Figure 27. Newton's method doubles its digits at each step, gradient descent creeps

Counts of prey and predators at t = 0, 1, …, 10 with 10 % noise, and the α and γ of
Lotka–Volterra that fit them best: L = ½ Σ |y(t_i) − count_i|² / 20², solved with RK4. The
Hessian of L in (α, γ) is two products Hv, for v along α and along γ; Newton's method goes to
the bottom of the parabola that has L's value, gradient and Hessian, whose contours are
ellipses. Gradient descent has steps 1/λ, where λ is the larger eigenvalue of the Hessian at the
bottom. The figure shows (21.1) to (21.3).

Caption. Left: contours of a loss (grey) over α and γ of Lotka–Volterra. Newton's first step goes to the
middle of the parabola (blue) that has the gradient and the Hessian of the loss at the start. Right:
after five such steps only round-off is left; after 30 steps of gradient descent the bottom is still
3.1e-4 away.

Numbers. The distance from the bottom: Newton's method goes from 0.099 to 0.045, 0.0052, 5.7e-5, 8.2e-9,
and then to round-off. Gradient descent, where the eigenvalues are 67 and 383, is still 3.1e-4 away
after 30 steps. A Newton step costs the gradient and two products Hv.
"""

import numpy as np

from minode import LotkaVolterra, hessian_vector_product, odeint, value_and_gradients

from . import style

SECONDS = 1
FIELD, Y0, T = LotkaVolterra(), np.array([30.0, 4.0]), np.linspace(0.0, 10.0, 11)
TRUE = np.array([0.55, 0.028, 0.80, 0.024])
FREE = [0, 2]                              # α and γ
START, UNIT, NOISE = np.array([0.49, 0.74]), 20.0, 0.1
SOLVER = {"method": "rk4", "step_size": 0.25}
NEWTON, DESCENT = 7, 30                    # steps
ALPHA, GAMMA = np.linspace(0.43, 0.67, 61), np.linspace(0.66, 0.97, 61)
FLOOR = 1e-17


def full(pair):
    """θ with these α and γ, numbers or arrays."""
    alpha, gamma = pair
    return alpha, TRUE[1], gamma, TRUE[3]


class Fit:
    """The loss of (α, γ) on some counts, its gradient and its Hessian."""

    def __init__(self, counts):
        self.counts = counts

    def loss(self, ys, ws=None):
        r = (ys - self.counts) / UNIT
        value = 0.5 * np.sum(r**2), r / UNIT
        return value if ws is None else (*value, ws / UNIT**2)

    def gradient(self, pair):
        gradients = value_and_gradients(self.loss, FIELD, Y0, T, full(pair), times=False, **SOLVER)[1]
        return gradients.theta[FREE]

    def hessian(self, pair):
        products = [hessian_vector_product(self.loss, FIELD, Y0, T, full(pair), 0 * Y0, v, **SOLVER)
                    for v in np.eye(4)[FREE]]
        return np.array([Hv.theta[FREE] for Hv in products])

    def on(self, alpha, gamma):
        """The loss at every point of a plane."""
        alpha, gamma = np.meshgrid(alpha, gamma)
        start = np.broadcast_to(Y0, (*alpha.shape, 2))

        def f(t, y):
            a, b, c, d = full((alpha, gamma))
            prey, predators = y[..., 0], y[..., 1]
            return np.stack([(a - b * predators) * prey, (d * prey - c) * predators], axis=-1)

        away = (odeint(f, start, T, **SOLVER) - self.counts[:, None, None]) / UNIT
        return 0.5 * np.sum(away**2, axis=(0, -1))


def compute():
    ys = odeint(FIELD, Y0, T, TRUE, **SOLVER)
    fit = Fit(ys * (1 + NOISE * np.random.default_rng(0).normal(size=ys.shape)))
    newton = [START]
    for _ in range(NEWTON):
        newton.append(newton[-1] - np.linalg.solve(fit.hessian(newton[-1]), fit.gradient(newton[-1])))
    bottom, H = newton[-1], fit.hessian(newton[-1])
    eigenvalues = np.linalg.eigvalsh(H)
    descent = [START]
    for _ in range(DESCENT):
        descent.append(descent[-1] - fit.gradient(descent[-1]) / eigenvalues[-1])
    return {"loss": fit.on(ALPHA, GAMMA), "H at start": fit.hessian(START), "eigenvalues": eigenvalues,
            "asymmetry": abs(H[0, 1] - H[1, 0]) / np.linalg.norm(H), "bottom": bottom,
            "newton": np.array(newton), "descent": np.array(descent)}


def draw(fig, data):
    plane, ax = fig.subplots(1, 2)
    lowest = data["loss"].min()
    plane.contour(ALPHA, GAMMA, data["loss"] - lowest, levels=np.geomspace(0.01, 5.12, 10), colors=style.PALE,
                  linewidths=1)
    middle = data["newton"][1]
    angle = np.linspace(0.0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    L = np.linalg.cholesky(data["H at start"])
    reach = np.linalg.norm(L.T @ (START - middle))       # the parabola's contour through the start
    for share in (0.25, 0.5, 0.75, 1.0):
        ellipse = middle[:, None] + share * reach * np.linalg.solve(L.T, circle)
        plane.plot(*ellipse, color=style.BLUE, lw=0.8, alpha=0.6)
    plane.plot(*data["descent"].T, ".-", color=style.VERMILION, lw=1)
    plane.plot(*data["newton"].T, "o-", color=style.BLUE)
    plane.plot(*data["bottom"], "x", color=style.BLACK, ms=9, mew=2, zorder=5)
    plane.text(START[0], START[1] - 0.005, "start", ha="center", va="top")
    boxed = {"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
    plane.text(0.665, 0.735, "the parabola\nat the start", color=style.ink(style.BLUE), ha="right", bbox=boxed)
    plane.set(xlabel="$α$", ylabel="$γ$", xlim=ALPHA[[0, -1]], ylim=GAMMA[[0, -1]], title="the loss, and its bottom")

    for name, colour, marker in (("descent", style.VERMILION, "."), ("newton", style.BLUE, "o")):
        away = np.linalg.norm(data[name] - data["bottom"], axis=1)
        ax.semilogy(away, marker=marker, color=colour)
    ax.text(6, 1e-9, "Newton: a gradient and\ntwo products $H\\,v$ a step", color=style.ink(style.BLUE))
    ax.text(30, 1.5e-5, "gradient descent:\na gradient a step", color=style.ink(style.VERMILION), ha="right",
            va="center")
    ax.set(xlabel="steps", ylabel="distance from the bottom", ylim=(1e-17, 1),
           title="Newton doubles the digits")
    style.floor(ax, FLOOR)

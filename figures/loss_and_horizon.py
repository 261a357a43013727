"""Figure 45. A short solve has a bowl for a loss, a long one has plains and cliffs

A ball rolls between two valleys, x'' = x − x³ − c x', from (1, 1.6) with the friction c = 0.1, and comes to rest in the left
one. Position and velocity are measured every 0.2, with noise of 0.05. Left: the loss (31.1) of one solve from the known
start, for 801 values of c and three horizons. Right: the same measurements up to t = 40 in pieces of 20, 8 and 4, each
from the state measured at its beginning, (31.5) with μ = 1. All solves take RK4 with a step for each measurement. Fits
begin with eight values of c: 100 steps of Adam on all of it, rate 0.005; as many on each of four horizons, 4, 8, 16 and
40; or 200 steps with pieces of 4, rate 0.05, the states at their beginnings learnt as c is. The figure shows (31.1), (31.4)
and (31.5).

Caption. A ball rolls between two valleys, and its friction is sought. Left: the loss of a solve up to t = 4 is a bowl. Up to 40,
every cliff is a change of the valley in which the ball ends, and fits (○) get stuck (●). Right: cut into short pieces, the same
data have a bowl again.

Numbers. The true friction is 0.1. A growing horizon ends within 0.002 of it from all eight, and pieces of 4 within 0.01.
"""

import numpy as np

from minode import Measurements, VectorField, fit, growing_horizon, misfit, odeint, shooting_loss, value_and_gradients
from minode.learning.optimisers import cosine

from . import style

SECONDS = 20
SIZE = (8.0, 3.9)
TRUE, Y0, NOISE = 0.1, np.array([1.0, 1.6]), 0.05
STARTS = np.array([0.03, 0.05, 0.07, 0.15, 0.2, 0.25, 0.3, 0.35])
T = np.linspace(0.0, 40.0, 201)
FRICTIONS = np.linspace(0.0, 0.4, 801)
HORIZONS, GROWING, PIECES, LEARNT = (4.0, 12.0, 40.0), (4.0, 8.0, 16.0, 40.0), (20, 8, 4), 4


class Balls(VectorField):
    """x'' = x − x³ − c x' for the states (x, x') of n balls, (..., n, 2), each with a friction of its own: θ (n,)."""

    def __init__(self, n):
        self.dim, self.n_params = 2, n

    def __call__(self, t, y, theta):
        x, v = y[..., 0], y[..., 1]
        return np.stack([v, x - x**3 - theta * v], axis=-1)

    def jacobian(self, t, y, theta):
        f_y = np.zeros((*y.shape, 2), np.result_type(y, theta))
        f_y[..., 0, 1], f_y[..., 1, 0], f_y[..., 1, 1] = 1.0, 1 - 3 * y[..., 0] ** 2, -theta
        return f_y

    def param_jacobian(self, t, y, theta):
        by_own = -y[..., 1, None] * np.eye(self.n_params)
        return np.stack([0 * by_own, by_own], axis=-2)

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)

    def vjp(self, t, y, theta, a):
        by_x, by_v = a[..., 1] * (1 - 3 * y[..., 0] ** 2), a[..., 0] - theta * a[..., 1]
        return np.stack([by_x, by_v], axis=-1), -(a[..., 1] * y[..., 1]).reshape(-1, self.n_params).sum(axis=0)


FIELD = Balls(len(STARTS))


def solved(y0, t):
    """The states from y0 (..., 2) at the times t for each of FRICTIONS, (N, ..., 801, 2)."""
    start = np.repeat(y0[..., None, :], len(FRICTIONS), axis=-2)
    return odeint(Balls(len(FRICTIONS)), start, t, FRICTIONS, method="rk4")


def cuts(length):
    """The rows of the table at which pieces of this length begin and end."""
    return np.arange(0, len(T), round(length / T[1]))


def loss_of_pieces(observed, length):
    """(31.5) with μ = 1 for each of FRICTIONS, each piece from the state measured at its beginning."""
    rows = cuts(length)
    m = rows[1]
    r = solved(observed[rows[:-1]], T[:m + 1]) - observed[rows[:-1] + np.arange(m + 1)[:, None]][..., None, :]
    squares = np.sum(r[:-1] ** 2, axis=(0, 1, 3)) + np.sum(r[-1, -1] ** 2, axis=-1)
    return squares / observed.size + np.mean(r[-1, :-1] ** 2, axis=(0, 2))


def of_one_solve(theta, measured):
    """The mean loss of eight solves from the known start, and its gradient in their frictions."""
    def loss(ys):
        return misfit(ys, measured)
    L, gradients = value_and_gradients(loss, FIELD, np.tile(Y0, (len(theta), 1)), measured.t, theta, times=False, method="rk4")
    return L, gradients.theta


def fits(measured):
    """The eight frictions found by one solve, by a growing horizon and in pieces."""
    rows = cuts(LEARNT)
    starts = measured.observed[rows[:-1]]

    def of_pieces(u, batch):
        theta, states = np.split(u, [len(STARTS)])
        L, gradients = shooting_loss(FIELD, states.reshape(starts.shape), measured, rows, theta, method="rk4")
        return L, np.concatenate([gradients.theta, gradients.y0.ravel()])

    def steps(n, rate):
        return {"n_steps": n, "learning_rate": lambda step: cosine(step, rate, n), "progress": False}
    alone = fit(lambda theta, batch: of_one_solve(theta, measured), STARTS, **steps(100, 0.005))
    grown = growing_horizon(of_one_solve, STARTS, measured, GROWING, **steps(100, 0.005))
    in_pieces = fit(of_pieces, np.append(STARTS, starts.ravel()), **steps(200, 0.05))
    return {"alone": alone.last, "grown": grown[-1].last, "in pieces": in_pieces.last[:len(STARTS)]}


def measurements():
    """The states of the true ball, and what is measured of them, (N, 2) both."""
    truth = odeint(Balls(1), Y0[None], T, [TRUE], rtol=1e-9, atol=1e-9)[:, 0]
    return truth, truth + NOISE * np.random.default_rng(0).normal(size=truth.shape)


def compute():
    _, observed = measurements()
    r = solved(Y0, T) - observed[:, None]
    data = {("one", end): np.mean(r[T <= end] ** 2, axis=(0, 2)) for end in HORIZONS}
    data |= {("pieces", length): loss_of_pieces(observed, length) for length in PIECES}
    eight = np.repeat(observed[:, None], len(STARTS), axis=1)
    return data | fits(Measurements(T, eight, np.ones(eight.shape)))


def draw(fig, data):
    left, right = fig.subplots(1, 2, sharex=True, sharey=True)
    of_40 = data["one", 40.0]
    for end, colour, width in zip(HORIZONS, (style.BLUE, style.GREEN, style.VERMILION), (1.8, 1.4, 1.2)):
        left.semilogy(FRICTIONS, data["one", end], color=colour, lw=width)
    for marks, frictions in (("o", data["alone"]), ("", STARTS)):
        left.plot(frictions, np.interp(frictions, FRICTIONS, of_40), "o", color=style.VERMILION, mfc=None if marks else "white", ms=6)
    for at, height, end, colour in ((0.26, 0.09, 4, style.BLUE), (0.26, 1.0, 12, style.GREEN), (0.26, 0.36, 40, style.VERMILION)):
        left.text(at, height, f"up to {end}", color=style.ink(colour))
    left.set(xlabel="friction $c$", ylabel="loss", ylim=(1.3e-3, 4), xlim=(0, 0.4), xticks=np.arange(5) / 10, title="one solve")
    right.semilogy(FRICTIONS, of_40, color=style.PALE, lw=1.2)
    for length, height, colour in zip(PIECES, (0.2, 1.45, 0.09), (style.ORANGE, style.SKY, style.BLUE)):
        right.plot(FRICTIONS, data["pieces", length], color=colour)
        right.text(0.28, height, f"pieces of {length}", color=style.ink(colour))
    right.set(xlabel="friction $c$", title="all of it, in pieces")
    for ax in (left, right):
        ax.axvline(TRUE, color=style.GREY, lw=0.8, ls=":")

"""What the tests of Part III differentiate, and three independent ways to know the derivative.

The complex step through the solver gives the derivative of the numbers that were computed; SciPy's DOP853 on
the variational equations, with Jacobians by complex step, gives the derivative of the true solution; slopes
tell how fast one tends to the other.
"""

from fractions import Fraction

import numpy as np
from hypothesis import assume, strategies as st
from scipy.integrate import solve_ivp

from minode import MLP, Tableau, VectorField, methods
from minode.gradients.checks import central_difference, extrapolated
from minode.solvers.solve import run
from tests.strategies import arrays, batches, grids, mlps

EPS = np.finfo(np.float64).eps
EXACT = 1e-12             # relative to the largest entry: some 4500 roundings, whatever the step size
ROUND_OFF = 500 * EPS     # relative to the terms of a sum of a few hundred products
SLOPE = 0.1               # an order measured on finite grids is this near to the whole number
DIFFERENCE_TOLERANCE = 50 * EPS ** (2 / 3)   # of (22.1) with (22.2), for a function that varies over a distance of one
REFERENCE = 1e-10         # global error of DOP853 at rtol 1e-12 over the short spans used here

EXPLICIT = [m for m in methods.values() if isinstance(m, Tableau) and m.is_explicit]
ADAPTIVE = [m for m in EXPLICIT if m.b_hat is not None]
ONE_STEP = {"step_size": 100.0}       # each interval of t is one step, whether the method could adapt or not


class ForcedPendulum(VectorField):
    """x' = v, v' = −θ₁ sin x − θ₂ v + θ₃ cos 2t: non-autonomous, and no entry of f_y equals its mirror."""

    dim, n_params = 2, 3

    def __call__(self, t, y, theta):
        x, v = y[..., 0], y[..., 1]
        return np.stack([v, -theta[0] * np.sin(x) - theta[1] * v + theta[2] * np.cos(2 * t) + 0 * x], axis=-1)

    def jacobian(self, t, y, theta):
        x = y[..., 0]
        rows = [[0 * x, 0 * x + 1], [-theta[0] * np.cos(x), 0 * x - theta[1]]]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    def param_jacobian(self, t, y, theta):
        x, v = y[..., 0], y[..., 1]
        return np.stack([np.zeros((*x.shape, 3)),
                         np.stack([-np.sin(x), -v, 0 * x + np.cos(2 * t)], axis=-1)], axis=-2)

    def time_derivative(self, t, y, theta):
        return np.stack([0 * y[..., 0], 0 * y[..., 0] - 2 * theta[2] * np.sin(2 * t)], axis=-1)


class Silent(ForcedPendulum):
    """A field that must not be called: input is refused before any work is done."""

    def __call__(self, t, y, theta):
        raise AssertionError("f was called before its arguments were checked")

    vjp = jvp = value_and_vjp = jacobian = vjp_derivative = __call__


PENDULUM, PENDULUM_THETA = ForcedPendulum(), np.array([3.0, 0.2, 1.5])
NETWORK = MLP([4, 5, 3], ["softplus", "tanh"])
NETWORK_THETA = 1.5 * NETWORK.init(np.random.default_rng(16))
PROBLEMS = {                                     # field, θ, y0, for tests that need no drawing
    "pendulum": (PENDULUM, PENDULUM_THETA, np.array([0.5, -0.3])),
    "network": (NETWORK, NETWORK_THETA, np.array([0.4, -0.7, 0.2])),
}


@st.composite
def tableaus(draw, weights=st.integers(-2, 5)):
    """An explicit method of the reader's own: any table that fulfils (7.1) and (7.2)."""
    s = draw(st.integers(1, 4))
    A = [[Fraction(draw(st.integers(-6, 6)), 6) for _ in range(i)] for i in range(s)]
    b = [draw(weights) for _ in range(s)]
    assume(sum(b) > 0)
    return Tableau("own", order=1, A=A, b=[Fraction(b_i, sum(b)) for b_i in b])


explicit_methods = st.sampled_from(EXPLICIT) | tableaus()


@st.composite
def repeated_grids(draw, **sizes):
    """An uneven grid, up or down, some of its times more than once; one single time now and then."""
    t = draw(grids(**sizes))
    if draw(st.integers(0, 4)) == 0:
        t = t[:1]
    return np.repeat(t, draw(st.lists(st.integers(1, 2), min_size=len(t), max_size=len(t))))


@st.composite
def solves(draw, times=grids(), max_layers=2):
    """What a solve needs: a network f, y0 with its batch axes, times, θ, a method, one step an interval."""
    f, theta = draw(mlps(max_layers=max_layers))
    y0 = draw(arrays((*draw(batches), f.dim)))
    return f, y0, draw(times), theta, {"method": draw(explicit_methods), **ONE_STEP}


def complex_step_gradients(loss, f, y0, t, theta, **solver):
    """dL/dy0 and dL/dθ of an analytic loss(ys, theta), entry by entry, through the solver in use."""
    def value(y0, theta):
        return loss(run(f, y0.astype(complex), t, theta, **solver).solution.ys, theta)

    def unit(x, i):
        e = np.zeros(x.size)
        e[i] = 1e-30
        return 1j * e.reshape(x.shape)

    along_y0 = [np.imag(value(y0 + unit(y0, i), theta)) / 1e-30 for i in range(y0.size)]
    along_theta = [np.imag(value(y0, theta + unit(theta, i))) / 1e-30 for i in range(theta.size)]
    return np.reshape(along_y0, y0.shape), np.array(along_theta)


def true_flow(f, y0, t, theta):
    """ys (N, d), ∂y/∂y0 (N, d, d) and ∂y/∂θ (N, d, p) of the ODE itself, nothing of `minode` but f."""
    d, p = y0.size, theta.size

    def rhs(t, state):
        y, Y, S = state[:d], state[d:d + d * d].reshape(d, d), state[d + d * d:].reshape(d, p)
        f_y = np.imag(f(t, y + 1e-30j * np.eye(d), theta)).T / 1e-30
        f_theta = np.stack([np.imag(f(t, y + 0j, theta + 1e-30j * e)) / 1e-30 for e in np.eye(p)], axis=-1)
        return np.concatenate([f(t, y, theta), (f_y @ Y).ravel(), (f_y @ S + f_theta).ravel()])

    start = np.concatenate([y0, np.eye(d).ravel(), np.zeros(d * p)])
    path = solve_ivp(rhs, (t[0], t[-1]), start, "DOP853", t_eval=t, rtol=1e-12, atol=1e-13).y.T
    N = len(t)
    return path[:, :d], path[:, d:d + d * d].reshape(N, d, d), path[:, d + d * d:].reshape(N, d, p)


def relative_error(got, expected, size=0.0):
    """The largest difference over the largest entry, or over `size` where that is larger."""
    scale = max(np.max(np.abs(expected), initial=0.0), size)
    return np.max(np.abs(got - expected), initial=0.0) / (scale or 1.0)


def extrapolated_difference(g, x, v, epsilon):
    """The derivative of g at x along v by (22.6), from (22.1) with ε and ε/2."""
    return extrapolated(*(central_difference(g, x, v, step) for step in (epsilon, epsilon / 2)), r=2, q=2)


def observed_order(error, n):
    """How the error falls when a grid of n steps becomes one of 2n, as a power of the step."""
    return np.log2(error(n) / error(2 * n))

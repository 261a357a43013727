"""What hypothesis draws: bounded arrays, sizes, fields, grids; never bare seeds."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minode import MLP, CubicSpiral, Linear, LotkaVolterra, VanDerPol
from minode.gradients.checks import complex_step

SMOOTH = ["tanh", "softplus", "sigmoid", "swish", "sin", "identity"]
KINKED = ["relu", "leaky_relu"]


def arrays(shape, bound=2.0):
    """float64 arrays with entries in ±bound, a multiple of 2⁻²⁰ so that shrinking stays readable."""
    scale = 2**20
    return hnp.arrays(np.int64, shape, elements=st.integers(-int(bound * scale), int(bound * scale))).map(
        lambda a: a / scale)


@st.composite
def mlps(draw, activations=SMOOTH, max_dim=3, max_width=4, max_layers=3):
    """A small MLP, with or without time, and a θ for it."""
    dim = draw(st.integers(1, max_dim))
    hidden = draw(st.lists(st.integers(1, max_width), max_size=max_layers - 1))
    widths = [dim + draw(st.booleans()), *hidden, dim]
    f = MLP(widths, [draw(st.sampled_from(activations)) for _ in widths[1:]])
    return f, draw(arrays(f.n_params, bound=1.0))


@st.composite
def grids(draw, max_steps=5, shortest=0.02, longest=0.3):
    """Uneven times, increasing or decreasing, starting anywhere in [−1, 1]."""
    steps = draw(st.lists(st.floats(shortest, longest), min_size=1, max_size=max_steps))
    t0, sign = draw(st.floats(-1, 1)), draw(st.sampled_from([1.0, -1.0]))
    return t0 + sign * np.concatenate([[0.0], np.cumsum(steps)])


batches = st.sampled_from([(), (1,), (3,), (2, 2)])


@st.composite
def physics(draw):
    """One of the four fields of chapter 2 and a θ for it."""
    f = draw(st.sampled_from([Linear(1), Linear(2), Linear(3), CubicSpiral(), LotkaVolterra(), VanDerPol()]))
    return f, draw(arrays(f.n_params))


def off_the_kinks(network):
    """The same with θ moved by an odd little vector: no argument of a relu is 0, where it has a kink."""
    f, theta = network
    return f, theta + 0.01 * np.cos(1 + np.arange(theta.size))


def clocks(batch):
    """A time for a batch of this shape: one for all, or each its own."""
    return st.one_of(st.floats(-2, 2), arrays(batch))


def complex_columns(g, x):
    """∂g/∂x_j for every entry j of x's last axis, stacked behind the axes of g: complex steps (22.3)."""
    return np.stack([complex_step(g, x, unit) for unit in np.eye(x.shape[-1])], axis=-1)


def assert_agree(got, expected, tolerance):
    """The same shape, and the same numbers up to a tolerance times the largest of them (at least one)."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    size = max(1.0, np.abs(expected).max(initial=0.0))
    assert np.abs(got - expected).max(initial=0.0) <= tolerance * size

"""The network neuron by neuron, both of its modes by complex step, its θ, its bound (4.7), its refusals."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import MLP
from minode.fields.activations import ACTIVATIONS
from minode.fields.network import Network
from minode.gradients.checks import complex_step
from tests.fields.test_activations import OTHER_FORMULA, STEEPEST_AT
from tests.strategies import (KINKED, SMOOTH, arrays, assert_agree, batches, clocks, complex_columns, mlps,
                              off_the_kinks)

ROUND_OFF = 200 * np.finfo(float).eps          # three layers of at most five products each
networks = mlps(SMOOTH + KINKED).map(off_the_kinks)
MODEL = MLP([4, 5, 3], ["leaky_relu", "tanh"])                      # the source text's


def drawn_point(data, f, batch):
    return data.draw(clocks(batch)), data.draw(arrays((*batch, f.dim)))


@pytest.mark.eq("4.1")
@given(st.data(), networks, batches)
def test_the_network_is_its_neurons_one_by_one(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    clock, expected = np.broadcast_to(t, batch), np.empty_like(y)
    for i in np.ndindex(batch):
        x, numbers = ([clock[i]] if f.widths[0] > f.dim else []) + list(y[i]), list(theta)
        for fan_in, fan_out, name in zip(f.widths, f.widths[1:], f.names):
            W = [[numbers.pop(0) for _ in range(fan_in)] for _ in range(fan_out)]      # row by row, then b
            b = [numbers.pop(0) for _ in range(fan_out)]
            z = [math.fsum(w * u for w, u in zip(row, x)) + bias for row, bias in zip(W, b)]
            x = list(OTHER_FORMULA[name](np.array(z)))
        assert not numbers
        expected[i] = x
    assert_agree(f(t, y, theta), expected, ROUND_OFF)


@pytest.mark.eq("4.2")
@given(st.data(), networks, batches)
def test_forward_mode_is_the_derivative_along_state_parameters_and_time(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    w, dtheta = data.draw(arrays(y.shape)), data.draw(arrays(theta.shape))
    along = complex_step(lambda s: f(t, y + s * w, theta + s * dtheta), 0.0, 1.0)
    assert_agree(f.jvp(t, y, theta, w, dtheta), along, ROUND_OFF)
    in_time = complex_step(lambda t: f(t, y + 0j, theta), t, 1.0)
    assert_agree(f.time_derivative(t, y, theta), in_time, ROUND_OFF)


@pytest.mark.eq("4.3", "4.4")
@given(st.data(), networks, batches)
def test_reverse_mode_is_the_gradient_of_the_weighted_sum(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    a = data.draw(arrays(y.shape))
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    assert_agree(a_f_y, complex_columns(lambda y: np.sum(a * f(t, y, theta), axis=-1), y), ROUND_OFF)
    assert_agree(a_f_theta, complex_columns(lambda theta: np.sum(a * f(t, y, theta)), theta), ROUND_OFF)


@pytest.mark.eq("4.2", "4.8")
@given(st.data(), networks, batches)
def test_the_change_of_reverse_mode_along_a_move_is_that_of_the_complex_step(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    a, w, dtheta = data.draw(arrays(y.shape)), data.draw(arrays(y.shape)), data.draw(arrays(theta.shape))
    for i, change in enumerate(f.vjp_derivative(t, y, theta, a, w, dtheta)):
        along = complex_step(lambda s: f.vjp(t, y + s * w, theta + s * dtheta, a)[i], 0.0, 1.0)
        assert_agree(change, along, ROUND_OFF)


@pytest.mark.eq("4.5", "4.6")
@given(st.data(), networks, batches)
def test_the_matrices_are_those_of_the_complex_step(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    assert_agree(f.jacobian(t, y, theta), complex_columns(lambda y: f(t, y, theta), y), ROUND_OFF)
    f_theta = complex_columns(lambda theta: f(t, y, theta), theta)
    assert_agree(f.param_jacobian(t, y, theta), f_theta, ROUND_OFF)


@pytest.mark.eq("4.5")
@given(st.data(), networks, batches)
def test_reverse_mode_from_the_identity_ends_in_the_derivatives_by_time_and_state(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    *_, (_, G, _) = f.bind(theta, y).backward(t, y)
    matrix = f.jacobian(t, y, theta)
    if f.sees_time:
        matrix = np.concatenate([f.time_derivative(t, y, theta)[..., None], matrix], axis=-1)
    assert_agree(np.moveaxis(G, 0, 1).reshape(*y.shape, -1), matrix, ROUND_OFF)


def test_the_products_never_form_the_matrices(monkeypatch):
    def closed(*_):
        raise AssertionError("f_y was formed")

    for owner, name in ((MLP, "jacobian"), (MLP, "param_jacobian"), (Network, "backward")):
        monkeypatch.setattr(owner, name, closed)
    f = MLP([65, 64, 64], ["tanh", "tanh"])
    rng = np.random.default_rng(0)
    theta, dtheta = f.init(rng), rng.normal(size=f.n_params)
    y, w, a = rng.normal(size=(3, 32, f.dim))
    for call in (lambda: f.vjp(0.5, y, theta, a), lambda: f.jvp(0.5, y, theta, w, dtheta),
                 lambda: f.time_derivative(0.5, y, theta),
                 lambda: f.vjp_derivative(0.5, y, theta, a, w, dtheta)):
        tracemalloc.start()
        call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < y.size * f.dim * 8            # the bytes of f_y, the smaller of the two matrices


# -- θ ----------------------------------------------------------------------------------------

def test_theta_is_w_and_b_layer_after_layer_row_by_row_and_layers_are_views():
    theta = np.arange(float(MODEL.n_params))
    (W1, b1), (W2, b2) = MODEL.layers(theta)
    assert (MODEL.dim, MODEL.n_params) == (3, 4 * 5 + 5 + 5 * 3 + 3)
    assert np.array_equal(W1, np.arange(20.0).reshape(5, 4)) and np.array_equal(b1, np.arange(20.0, 25.0))
    assert np.array_equal(W2, np.arange(25.0, 40.0).reshape(3, 5)) and np.array_equal(b2, [40.0, 41.0, 42.0])
    W1[0, 1], b2[2] = -1.0, -2.0
    assert theta[1] == -1.0 and theta[42] == -2.0


def test_the_first_column_of_the_first_matrix_belongs_to_time():
    theta, y = MODEL.init(np.random.default_rng(4)), np.array([0.3, -0.2, 0.5])
    assert np.abs(MODEL.time_derivative(0.7, y, theta)).min() > 0.01
    MODEL.layers(theta)[0][0][:, 0] = 0.0
    assert np.array_equal(MODEL(0.7, y, theta), MODEL(-5.0, y, theta))
    assert not MODEL.time_derivative(0.7, y, theta).any()


SURE = 1e-9                                # chance that a right sampler fails (for this seed it does not)


def test_init_is_uniform_in_one_over_the_root_of_fan_in():
    f = MLP([101, 36, 100], ["tanh", "tanh"])
    theta = f.init(np.random.default_rng(1))
    assert np.array_equal(theta, f.init(np.random.default_rng(1))) and theta.shape == (f.n_params,)
    for (W, b), fan_in in zip(f.layers(theta), [101, 36]):
        for sample in (W.ravel(), b):
            u = np.sort(sample) * fan_in**0.5                       # uniform in [−1, 1]
            assert -1 <= u[0] and u[-1] <= 1
            distance = np.abs((u + 1) / 2 - (np.arange(u.size) + 0.5) / u.size).max()
            # Dvoretzky, Kiefer, Wolfowitz: how far an empirical distribution strays.
            assert distance <= np.sqrt(np.log(2 / SURE) / (2 * u.size)) + 0.5 / u.size


# -- (4.7) ------------------------------------------------------------------------------------

@pytest.mark.eq("4.7")
@given(st.data(), networks)
def test_no_pair_of_states_is_stretched_by_more_than_the_bound(data, network):
    f, theta = network
    bound, t = f.lipschitz(theta), data.draw(st.floats(-2, 2))
    u, v = data.draw(arrays((20, f.dim))), data.draw(arrays((20, f.dim)))
    stretched = np.linalg.norm(f(t, u, theta) - f(t, v, theta), axis=-1)
    values = np.linalg.norm(f(t, u, theta), axis=-1) + np.linalg.norm(f(t, v, theta), axis=-1)
    assert np.all(stretched <= bound * np.linalg.norm(u - v, axis=-1) + ROUND_OFF * (1 + values))
    norms = np.linalg.norm(f.jacobian(t, u, theta), 2, axis=(-2, -1))
    assert np.all(norms <= bound + ROUND_OFF * (1 + bound))


@pytest.mark.eq("4.7")
@given(arrays((3, 4)), arrays(3), st.floats(-2, 2))
def test_the_bound_is_reached_by_a_linear_network_along_its_largest_singular_vector(W, b, t):
    f, theta = MLP([4, 3], ["identity"]), np.concatenate([W.ravel(), b])
    _, singular, directions = np.linalg.svd(W[:, 1:])
    stretched = f(t, directions[0], theta) - f(t, -directions[0], theta)
    assert abs(np.linalg.norm(stretched) / 2 - f.lipschitz(theta)) <= ROUND_OFF * (10 + abs(t))
    assert abs(f.lipschitz(theta) - singular[0]) <= ROUND_OFF * 10


@pytest.mark.eq("4.7")
@pytest.mark.parametrize("name", ACTIVATIONS)
@given(w=arrays((2,), bound=2.0))
def test_the_bound_is_reached_by_a_chain_of_neurons_at_their_steepest(name, w):
    f, steepest = MLP([1, 1, 1], ["identity", name]), STEEPEST_AT[name]
    theta = np.array([w[0], 0.0, w[1], steepest])
    slope = f.jacobian(0.0, np.zeros(1), theta)
    assert_agree(abs(slope[0, 0]), f.lipschitz(theta), ROUND_OFF)


# -- what is refused, and dtypes --------------------------------------------------------------

@pytest.mark.parametrize("widths, names, message", [
    ([3], [], r"widths must list at least two positive layer sizes, not \[3\]"),
    ([3, 0, 3], ["tanh"] * 2, r"widths must list at least two positive layer sizes, not \[3, 0, 3\]"),
    ([5, 4, 3], ["tanh"] * 2, r"widths\[0\] must be widths\[-1\] \+ 1 \(t in front of y\) or widths\[-1\] "
                              r"\(autonomous\); got 5 and 3"),
    ([3, 4], ["tanh"], "got 3 and 4"),
    ([4, 5, 3], ["tanh"], "activations must name one per layer: 2, not 1"),
    ([4, 5, 3], ["tanh", "gelu"], "unknown activation 'gelu'; known: identity, tanh, sigmoid"),
])
def test_an_architecture_that_makes_no_sense_is_refused(widths, names, message):
    with pytest.raises(ValueError, match=message):
        MLP(widths, names)


@pytest.mark.parametrize("call", [lambda f, y, theta: f(0.0, y, theta),
                                  lambda f, y, theta: f.jacobian(0.0, y, theta),
                                  lambda f, y, theta: f.vjp(0.0, y, theta, y),
                                  lambda f, y, theta: f.lipschitz(theta)])
@pytest.mark.parametrize("shape", [(42,), (44,), (1, 43)])
def test_a_theta_of_another_shape_is_refused(call, shape):
    message = rf"theta must have shape \(43,\) for MLP\(\[4, 5, 3\], \['leaky_relu', .*, not \({shape[0]},"
    with pytest.raises(ValueError, match=message):
        call(MODEL, np.zeros(3), np.zeros(shape))


@pytest.mark.parametrize("names", [["leaky_relu", "tanh"], ["swish", "softplus"], ["relu", "sigmoid"]])
def test_float32_states_and_parameters_give_float32(names):
    f = MLP([4, 5, 3], names)
    y, theta = np.ones((2, 3), np.float32), f.init(np.random.default_rng(0)).astype(np.float32)
    assert f(0.5, y, theta).dtype == np.float32
    assert [part.dtype for part in f.vjp(0.5, y, theta, y)] == [np.float32] * 2


def test_a_state_of_the_wrong_length_is_named_and_a_list_is_a_state():
    f, theta = MLP([4, 5, 3], ["tanh", "tanh"]), np.zeros(43)
    for y in (np.zeros(2), np.zeros((3, 4)), 1.0):
        with pytest.raises(ValueError, match=r"y must have shape \(..., 3\) for MLP\(\[4, 5, 3\], .*, not \("):
            f(0.0, y, theta)
    assert np.array_equal(f(0.0, [1.0, 2.0, 3.0], theta), np.zeros(3))

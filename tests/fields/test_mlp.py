"""The network neuron by neuron, its modes by complex step, its θ and its views, its bound (4.7), its refusals."""

import copy
import math
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import MLP, pullback
from minode.fields.activations import ACTIVATIONS
from minode.gradients.checks import complex_step
from tests.fields.test_activations import OTHER_FORMULA, STEEPEST_AT
from tests.strategies import (KINKED, SMOOTH, arrays, assert_agree, batches, clocks, complex_columns, mlps,
                              off_the_kinks)
from tests.threads import assert_threads_agree

ROUND_OFF = 200 * np.finfo(float).eps          # three layers of at most five products each
HUNDRED_ROUNDINGS = 100 * np.finfo(np.float32).eps
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


def neuron_by_neuron(f, theta, t, y, dt, dy, dtheta):
    """What each neuron adds to (4.2), in Python numbers: how f moves with t, y, θ, for one state."""
    x, dx = ([t] if f.sees_time else []) + list(y), ([dt] if f.sees_time else []) + list(dy)
    numbers, moves = iter(theta), iter(dtheta)
    for fan_in, fan_out, name in zip(f.widths, f.widths[1:], f.names):
        z, dz = [0.0] * fan_out, [0.0] * fan_out
        for j in range(fan_out):
            for k in range(fan_in):
                W, dW = next(numbers), next(moves)
                z[j] += W * x[k]
                dz[j] += W * dx[k] + dW * x[k]
        for j in range(fan_out):
            z[j], dz[j] = z[j] + next(numbers), dz[j] + next(moves)
        slope = [complex_step(ACTIVATIONS[name].value, np.array(u), 1.0) for u in z]
        x, dx = list(OTHER_FORMULA[name](np.array(z))), [s * u for s, u in zip(slope, dz)]
    return np.array(dx)


@pytest.mark.eq("4.2")
@given(st.data(), networks)
def test_forward_mode_is_the_sum_of_what_each_weight_and_neuron_adds(data, network):
    f, theta = network
    t, y = drawn_point(data, f, ())
    w, dtheta = data.draw(arrays(y.shape)), data.draw(arrays(theta.shape))
    assert_agree(f.jvp(t, y, theta, w, dtheta), neuron_by_neuron(f, theta, t, y, 0.0, w, dtheta), ROUND_OFF)
    in_time = neuron_by_neuron(f, theta, t, y, 1.0, 0 * w, 0 * dtheta)
    assert_agree(f.time_derivative(t, y, theta), in_time if f.sees_time else np.zeros_like(y), ROUND_OFF)


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


@pytest.mark.eq("4.2", "4.3", "4.4")
@given(st.data(), networks, batches)
def test_both_modes_compute_one_number(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    a, w, dtheta = data.draw(arrays(y.shape)), data.draw(arrays(y.shape)), data.draw(arrays(theta.shape))
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    forward, reverse = np.sum(a * f.jvp(t, y, theta, w, dtheta)), np.sum(a_f_y * w) + a_f_theta @ dtheta
    size = np.sum(np.abs(a_f_y * w)) + np.abs(a_f_theta) @ np.abs(dtheta)
    assert abs(forward - reverse) <= ROUND_OFF * (1 + size)


@pytest.mark.eq("4.1", "4.3", "4.4")
@pytest.mark.parametrize("names", [["tanh", "identity"], ["sin", "swish"], ["leaky_relu", "softplus"]])
@pytest.mark.parametrize("batch", [(), (4,), (3, 300)])
def test_the_way_back_uses_the_saved_activations_and_makes_no_other_pass(names, batch, monkeypatch):
    f, rng, passes = MLP([4, 100, 3], names), np.random.default_rng(1), []
    thetas, y, a = [f.init(rng), f.init(rng)], rng.normal(size=(2, *batch, 3)), rng.normal(size=(2, *batch, 3))
    expected = [f.vjp(t, y[t], thetas[t], a[t]) for t in (0, 1)]
    forward = MLP.forward
    monkeypatch.setattr(MLP, "forward", lambda *arguments: passes.append(None) or forward(*arguments))
    vjps = [f.value_and_vjp(t, y[t], thetas[t])[1] for t in (0, 1)]
    assert len(passes) == 2
    for t in (1, 0, 1):
        assert all(map(np.array_equal, vjps[t](a[t]), expected[t]))
    assert len(passes) == 2


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
    _, G = f.matrices(t, y, theta)
    matrix = complex_columns(lambda y: f(t, y, theta), y)
    if f.sees_time:
        in_time = complex_step(lambda t: f(t, y + 0j, theta), t, 1.0)
        matrix = np.concatenate([in_time[..., None], matrix], axis=-1)
    rows_of_each_state = np.moveaxis(G.reshape(f.dim, -1, f.widths[0]), 0, 1)
    assert_agree(rows_of_each_state.reshape(*y.shape, f.widths[0]), matrix, ROUND_OFF)


@pytest.mark.eq("4.6")
@given(st.data(), networks, batches)
def test_a_weight_acts_on_f_as_its_input_times_a_bias_and_each_row_of_weights_on_one_neuron(data, network, batch):
    f, theta = network
    t, y = drawn_point(data, f, batch)
    blocks, start = f.param_jacobian(t, y, theta), 0
    _, saved = f.forward(t, y, theta)
    for (n, m), (x, *_) in zip(f.shapes, saved):
        by_W = blocks[..., start:start + n * m].reshape(*y.shape, n, m)
        by_b = blocks[..., start + n * m:start + n * m + n]
        assert_agree(by_W, np.einsum("...ij,...k->...ijk", by_b, x.reshape(*y.shape[:-1], m)), ROUND_OFF)
        start += n * m + n
    assert start == f.n_params


@pytest.mark.eq("4.8")
def test_the_second_derivative_of_one_neuron_worked_by_hand():
    f, theta, y = MLP([1, 1], ["sigmoid"]), np.array([2.0, 0.0]), np.array([0.0])       # f = σ(2 y) at z = 0
    a, w, dtheta = np.array([8.0]), np.array([3.0]), np.array([5.0, 7.0])               # σ' = 1/4, σ'' = 0
    change, by_theta = f.vjp_derivative(0.0, y, theta, a, w, dtheta)
    assert np.array_equal(change, [8 * 5 / 4]) and np.array_equal(by_theta, [8 * 3 / 4, 0.0])
    f = MLP([1, 1], ["sin"])                                # a sin' = 8 cos z, a sin'' = −8 sin z
    y, z, dz = np.array([0.5]), 2 * 0.5 + 1, 2 * 3 + 5 * 0.5 + 7
    change, by_theta = f.vjp_derivative(0.0, y, np.array([2.0, 1.0]), a, w, dtheta)
    assert_agree(change, [8 * (5 * np.cos(z) - 2 * np.sin(z) * dz)], ROUND_OFF)
    assert_agree(by_theta, [8 * (3 * np.cos(z) - 0.5 * np.sin(z) * dz), -8 * np.sin(z) * dz], ROUND_OFF)


def test_the_products_never_form_the_matrices(monkeypatch):
    def closed(*_):
        raise AssertionError("f_y was formed")

    for name in ("jacobian", "param_jacobian", "matrices"):
        monkeypatch.setattr(MLP, name, closed)
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


def test_a_theta_that_changes_in_place_is_seen_and_so_is_another_theta():
    f, rng, y = MLP([3, 4, 2], ["tanh", "sin"]), np.random.default_rng(5), np.array([0.3, -0.2])
    theta, a = f.init(rng), np.array([1.0, -2.0])

    def fresh(theta):                                       # what a network gives that has met no other θ
        g = MLP(f.widths, f.names)
        return [g(0.5, y, theta.copy()), *g.vjp(0.5, y, theta.copy(), a), g.jvp(0.5, y, theta.copy(), y, theta.copy())]

    def agrees(theta):
        answers = [f(0.5, y, theta), *f.vjp(0.5, y, theta, a), f.jvp(0.5, y, theta, y, theta)]
        assert all(map(np.array_equal, answers, fresh(theta)))

    before = f(0.5, y, theta)
    agrees(theta)
    views = f.layers(theta)
    theta[:] = f.init(rng)                                  # in place: the same object with other numbers
    assert not np.array_equal(f(0.5, y, theta), before)
    assert all(np.shares_memory(W, theta) and np.shares_memory(b, theta) for W, b in f.layers(theta))
    assert np.array_equal(views[1][0], f.layers(theta)[1][0])
    agrees(theta)
    theta -= 0.1 * theta
    agrees(theta)
    for _ in range(50):                                     # another object, perhaps where the last one lay
        theta = f.init(rng)
        agrees(theta)
    numbers = theta.tolist()                                # a list is a θ too, and may change as well
    agrees(np.array(numbers))
    assert np.array_equal(f(0.5, y, numbers), f(0.5, y, theta))
    numbers[0] += 1.0
    assert np.array_equal(f(0.5, y, numbers), fresh(np.array(numbers))[0])
    assert all(map(np.array_equal, f.vjp(0.5, y, numbers, a), fresh(np.array(numbers))[1:3]))


def test_the_list_of_layers_belongs_to_the_reader():
    f, y = MLP([2, 3, 2], ["tanh", "tanh"]), np.ones(2)
    theta = f.init(np.random.default_rng(0))
    before = f(0.0, y, theta)
    f.layers(theta).reverse()
    f.layers(theta).clear()
    assert np.array_equal(f(0.0, y, theta), before)


def test_every_second_entry_of_an_array_is_a_theta():
    f, y = MLP([3, 4, 2], ["tanh", "sin"]), np.array([0.3, -0.2])
    wide = np.repeat(f.init(np.random.default_rng(0)), 2)
    theta = wide[::2]
    assert_agree(f(0.5, y, theta), f(0.5, y, theta.copy()), ROUND_OFF)
    wide[:] = 0.5
    assert_agree(f(0.5, y, theta), f(0.5, y, np.full(f.n_params, 0.5)), ROUND_OFF)


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


@pytest.mark.eq("4.1")
def test_whole_numbers_are_a_state_and_time_keeps_its_fraction():
    f, theta = MLP([4, 5, 3], ["tanh", "tanh"]), MODEL.init(np.random.default_rng(0))
    expected = f(0.5, np.array([1.0, 2.0, 3.0]), theta)
    assert np.abs(expected - f(0.0, np.array([1.0, 2.0, 3.0]), theta)).max() > 0.01
    assert np.array_equal(f(0.5, np.array([1, 2, 3]), theta), expected)
    assert np.array_equal(f(0.5, [1, 2, 3], theta), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_it_works_in_the_dtype_of_the_states(dtype):
    f, y = MLP([4, 5, 3], ["swish", "tanh"]), np.ones((2, 3), dtype)
    theta = f.init(np.random.default_rng(0)).astype(np.float32)
    value, vjp = f.value_and_vjp(0.5, y, theta)
    assert value.dtype == f(0.5, y, theta).dtype == vjp(y)[0].dtype == f.vjp(0.5, y, theta, y)[0].dtype == dtype


@pytest.mark.eq("4.2")
@given(st.data(), networks)
def test_a_complex_time_is_a_time(data, network):
    f, theta = network
    t, y = drawn_point(data, f, (2,))
    assert_agree(complex_step(lambda t: f(t, y, theta), t, 1.0) if f.sees_time else np.zeros_like(y),
                 f.time_derivative(t, y, theta), ROUND_OFF)


# -- one network, used by many ----------------------------------------------------------------

@given(st.data(), networks, st.lists(batches, min_size=2, max_size=6))
def test_states_of_many_shapes_may_alternate(data, network, shapes):
    f, theta = network
    for batch in shapes:
        t, y = drawn_point(data, f, batch)
        a, g = data.draw(arrays(y.shape)), MLP(f.widths, f.names)
        assert np.array_equal(f(t, y, theta), g(t, y, theta))
        assert all(map(np.array_equal, f.vjp(t, y, theta, a), g.vjp(t, y, theta, a)))


def test_several_thetas_may_be_under_way_at_once():
    f, y, a = MLP([3, 4, 2], ["tanh", "swish"]), np.ones((3, 2)), np.array([[1.0, 2.0]] * 3)
    thetas = [np.linspace(-1, x, f.n_params) for x in (1.0, 2.0, 3.0)]
    pairs = [f.value_and_vjp(0.3, y, theta) for theta in thetas]
    for (value, vjp), theta in zip(pairs, thetas):
        assert np.array_equal(value, f(0.3, y, theta))
        assert all(map(np.array_equal, vjp(a), f.vjp(0.3, y, theta, a)))


@pytest.mark.parametrize("last", ["identity", "tanh"])
def test_a_gradient_taken_while_another_of_the_same_mlp_is_under_way_disturbs_neither(last):
    f, rng, inner = MLP([5, 60, 5], ["tanh", last]), np.random.default_rng(3), []
    theta, other, (y0, a, z0) = f.init(rng), f.init(rng), rng.normal(size=(3, 30, 5))

    def gradient(y0, theta, progress=None):
        return pullback(f, y0, [0.0, 1.0], theta, a, method="dopri5", step_size=0.2, progress=progress)
    outer = gradient(y0, theta, lambda fraction: inner.append(gradient(z0, other)))
    assert len(inner) == 5
    for got, alone in [(outer, gradient(y0, theta)), *((got, gradient(z0, other)) for got in inner)]:
        assert all(map(np.array_equal, got, alone))


def test_threads_with_other_thetas_may_share_one_network():
    f, rng = MLP([3, 16, 2], ["tanh", "swish"]), np.random.default_rng(6)
    thetas, y, a = [f.init(rng), f.init(rng)], rng.normal(size=(4, 2)), rng.normal(size=(4, 2))

    def job(k):
        for theta in (thetas[k], thetas[1 - k]):            # each changes θ at every call, out of step
            value, vjp = f.value_and_vjp(0.3, y, theta)
            yield from (value, *vjp(a), f.jvp(0.3, y, theta, a, theta))
    assert_threads_agree(lambda k: [*job(k)], 2, rounds=150)


def test_a_gradient_after_one_in_float32_is_that_of_a_fresh_network():
    f, rng = MLP([2, 40, 2], ["tanh", "identity"]), np.random.default_rng(2)
    theta, y0 = f.init(rng), rng.normal(size=(30, 2))
    options = {"method": "rk4", "step_size": 0.5}
    pullback(f, y0, [0.0, 1.0], theta.astype(np.float32), y0, **options)
    after = pullback(f, y0, [0.0, 1.0], theta, y0, **options)
    fresh = pullback(MLP(f.widths, f.names), y0, [0.0, 1.0], theta, y0, **options)
    assert all(map(np.array_equal, after, fresh))


@pytest.mark.parametrize("last", ["identity", "tanh"])
def test_a_gradient_in_float32_is_near_that_in_float64(last):
    f, rng = MLP([3, 16, 2], ["tanh", last]), np.random.default_rng(2)
    theta, y0 = f.init(rng), rng.normal(size=(40, 2))
    single, double = (pullback(f, y0.astype(kind), [0.0, 2.0], theta.astype(kind), y0, method="rk4", step_size=0.5)
                      for kind in (np.float32, np.float64))
    for a, b in zip(single, double):
        assert np.abs(a - b).max() <= HUNDRED_ROUNDINGS * np.abs(b).max()


class Scaled(MLP):
    """A subclass with an __init__ and attributes of its own."""

    def __init__(self, factor):
        super().__init__([2, 3, 2], ["tanh", "sin"])
        self.factor, self.history = factor, [factor]

    def __call__(self, t, y, theta):
        return self.factor * super().__call__(t, y, theta)

    def vjp(self, t, y, theta, a):
        return super().vjp(t, y, theta, self.factor * a)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))],
                         ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("f", [MLP([2, 3, 2], ["tanh", "sin"]), Scaled(3.0),
                               *(MLP([3, 2], [name]) for name in ACTIVATIONS)],
                         ids=lambda f: f"{type(f).__name__}-{f.names}")
def test_a_copy_is_the_same_network_with_a_memory_of_its_own(make, f):
    theta, y = np.linspace(-1, 1, f.n_params), np.array([0.3, -0.2])
    value = f(0.5, y, theta)                                # f has met a θ now
    other = make(f)
    assert type(other) is type(f) and repr(other) == repr(f) and other.names == f.names
    assert vars(other).keys() == vars(f).keys()
    if isinstance(f, Scaled):
        assert other.factor == 3.0 and other.history == [3.0]
    assert np.array_equal(other(0.5, y, theta), value)
    assert np.array_equal(other(0.5, y, -theta), f(0.5, y, -theta))
    assert all(map(np.array_equal, other.value_and_vjp(0.5, y, theta)[1](y), f.vjp(0.5, y, theta, y)))


def test_a_pickle_does_not_carry_the_theta_that_was_met_last():
    f = MLP([64, 64, 64], ["tanh", "tanh"])
    empty = len(pickle.dumps(f))
    f(0.0, np.ones(64), f.init(np.random.default_rng(0)))
    assert len(pickle.dumps(f)) == empty < 1000

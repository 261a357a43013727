"""A network with θ filled in works in its own arrays, and nobody outside can tell."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import MLP, odeint, pullback
from minode.fields.network import PART, Network, aligned, flat, homogeneous
from tests.strategies import KINKED, SMOOTH, arrays, assert_agree, batches, clocks, mlps

ROUND_OFF = 200 * np.finfo(float).eps
LITTLE = 0.2                # of the arrays of a pass: tuples, views, and one layer's slope at a time
networks = mlps(SMOOTH + KINKED)


@pytest.mark.eq("4.1", "4.3", "4.4")
@given(st.data(), networks, batches)
def test_a_bound_network_is_the_network_and_its_products(data, network, batch):
    f, theta = network
    y, a, t = data.draw(arrays((*batch, f.dim))), data.draw(arrays((*batch, f.dim))), data.draw(clocks(batch))
    bound, x = f.bind(theta, y), y[..., None, :]
    assert isinstance(bound, Network)
    if f.sees_time:
        x = np.concatenate([np.broadcast_to(t, batch)[..., None, None], x], axis=-1)
    for (W, b), sigma in zip(f.layers(theta), f.sigmas):
        x = sigma.value(x @ W.T + b)
    assert_agree(bound(t, y), x[..., 0, :], ROUND_OFF)
    assert_agree(bound.vjp(t, y, a), (a[..., None, :] @ f.jacobian(t, y, theta))[..., 0, :], ROUND_OFF)
    assert_agree(bound.a_f_theta(), np.tensordot(a, f.param_jacobian(t, y, theta), a.ndim), ROUND_OFF)


@given(networks)
def test_weights_and_biases_are_one_matrix_a_layer_and_theta_again(network):
    f, theta = network
    matrices = homogeneous(f.layers(theta))
    assert [Wt.shape for Wt in matrices] == [(n + 1, m) for m, n in f.shapes]
    assert np.array_equal(flat(matrices), theta)
    assert not any(np.shares_memory(Wt, theta) for Wt in matrices)     # θ may change after it was filled in
    for Wt, (W, b) in zip(matrices, f.layers(theta)):
        x = np.arange(1.0, W.shape[1] + 1)
        assert_agree(np.append(x, 1.0) @ Wt, W @ x + b, ROUND_OFF)


@pytest.mark.eq("4.1")
@given(st.data(), networks)
def test_what_it_returned_once_stays_as_it_was(data, network):
    f, theta = network
    bound, kept = f.bind(theta, np.zeros(f.dim)), []
    for shape in [(2, f.dim), (f.dim,), (2, f.dim), (3, 2, f.dim), (2, f.dim)]:
        y, a = data.draw(arrays(shape)), data.draw(arrays(shape))
        for value in (bound(0.5, y), bound.vjp(0.5, y, a)):
            kept.append((value, value.copy()))
    total = bound.a_f_theta().copy()
    bound(0.5, np.zeros(f.dim))
    assert all(np.array_equal(value, then) for value, then in kept)
    assert np.array_equal(bound.a_f_theta(), total)
    assert set(bound.rooms) == {(2, f.dim), (f.dim,), (3, 2, f.dim)}      # one room for each shape


@pytest.mark.eq("4.1")
def test_a_second_pass_makes_no_arrays_but_its_answer():
    f = MLP([9, 64, 64, 8], ["tanh", "softplus", "tanh"])
    y, bound = np.ones((500, 8)), f.bind(f.init(np.random.default_rng(0)), np.ones((500, 8)))
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        bound(0.5, y)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    wide = 500 * 64 * 8                               # the bytes of one layer; softplus takes four of its own
    assert peaks[0] > 4 * wide + 4 * wide * (1 - LITTLE)
    assert peaks[1] < 4 * wide * (1 + LITTLE)


@pytest.mark.eq("4.1", "9.1")
@given(networks)
def test_a_stage_that_is_computed_where_the_network_reads_it_is_the_stage(network):
    f, theta = network
    y0, t = np.linspace(-1.0, 1.0, f.dim), [0.0, 0.3, 0.5, 1.1]
    bound = f.bind(theta, y0)
    inlet = bound.read_in_place(y0)
    inlet[:] = y0
    assert any(np.shares_memory(inlet, room.state) for room in bound.rooms.values())
    assert np.array_equal(bound(0.3, inlet), bound(0.3, y0.copy()))
    for method in ("rk4", "dopri5"):
        copied = odeint(lambda t, y: bound(t, y.copy()), y0, t, method=method)
        assert np.array_equal(odeint(bound, y0, t, method=method), copied)


def test_batches_and_states_of_another_dtype_have_no_such_place():
    f = MLP([4, 5, 3], ["tanh", "tanh"])
    bound = f.bind(f.init(np.random.default_rng(0)), np.zeros(3))
    assert bound.read_in_place(np.zeros((2, 3))) is None and bound.read_in_place(np.zeros(3, np.float32)) is None


def test_before_anything_was_pulled_back_the_share_of_theta_is_nothing():
    f = MLP([3, 2], ["tanh"])
    bound = f.bind(np.ones(8), np.ones(2))
    bound(0.0, np.ones(2))
    assert np.array_equal(bound.a_f_theta(), np.zeros(8))
    bound.vjp(0.0, np.ones(2), np.ones(2))
    once = bound.a_f_theta()
    bound.vjp(0.0, np.ones(2), np.ones(2))
    assert np.array_equal(bound.a_f_theta(), 2 * once) and once.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_it_works_in_the_dtype_of_the_states(dtype):
    f, y = MLP([4, 5, 3], ["swish", "tanh"]), np.ones((2, 3), dtype)
    bound = f.bind(f.init(np.random.default_rng(0)).astype(np.float32), y)
    assert bound(0.5, y).dtype == bound.vjp(0.5, y, y).dtype == dtype


@pytest.mark.eq("4.1", "4.3", "4.4")
@pytest.mark.parametrize("names", [["tanh", "identity"], ["sin", "swish"], ["leaky_relu", "softplus"]])
@pytest.mark.parametrize("batch", [(), (4,), (3, 300)])
def test_a_pass_that_is_kept_is_pulled_back_without_another(names, batch):
    f, rng = MLP([4, 100, 3], names), np.random.default_rng(1)
    assert (np.prod(batch) * 101 > PART) == (batch == (3, 300))                # which goes in two parts
    for theta in (f.init(rng), f.init(rng)):                                   # the second in arrays of the first
        y, a = rng.normal(size=(2, 2, *batch, 3))
        bound, plain = f.bind(theta, y[0]), f.bind(theta, y[0])
        values, pulled = [bound.noted(t, y[t]).copy() for t in (0, 1)], np.empty_like(a)
        notes = list(bound.log)
        for t in (1, 0):
            assert_agree(values[t], plain(t, y[t]), ROUND_OFF)
            bound.pull(notes[t], a[t], pulled[t])
            assert_agree(pulled[t], plain.vjp(t, y[t], a[t]), ROUND_OFF)
        assert_agree(bound.a_f_theta(), plain.a_f_theta(), 10 * ROUND_OFF)
        assert [*f.idle.values()] == [[]]                                      # all are with this network
        bound.give_back(notes[:1])
        assert [*f.idle.values()] == [[]]
        bound.give_back(notes[1:])
        assert [len(kept) for (_, kept), in f.idle.values()] == [2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("shape", [(3,), (0, 2), (205, 257), (1024, 65)])
def test_a_large_array_begins_at_a_multiple_of_64_bytes_and_is_otherwise_as_any(shape, dtype):
    for _ in range(5):
        array = aligned(shape, np.dtype(dtype))
        assert array.shape == shape and array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable
        assert array.nbytes < PART or array.__array_interface__["data"][0] % 64 == 0


def test_an_mlp_keeps_the_arrays_of_the_last_kind_of_batch_alone():
    f, y0 = MLP([2, 2], ["tanh"]), np.ones(2)
    for kind in (y0, np.ones((3, 2)), np.ones((3, 2), np.float32), y0):
        bound = f.bind(np.ones(6, kind.dtype), kind)
        bound.noted(0.0, kind)
        bound.give_back(bound.log)
        assert [(*kept, len(notes)) for kept, [(_, notes)] in f.idle.items()] == [(kind.shape, kind.dtype, kind.dtype, 1)]


def test_arrays_for_a_theta_of_float32_are_not_those_for_one_of_float64():
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
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()                   # a hundred roundings


def test_several_networks_of_one_mlp_leave_arrays_for_as_many():
    f, y = MLP([2, 2], ["tanh"]), np.ones((3, 2))
    for _ in range(2):                                                         # the second time in those of the first
        networks = [f.bind(np.full(6, x), y) for x in (1.0, 2.0, 3.0)]
        values = [network.noted(0.0, y).copy() for network in networks]
        assert all(np.array_equal(value, f(0.0, y, np.full(6, x))) for value, x in zip(values, (1.0, 2.0, 3.0)))
        for network in networks:
            network.give_back(network.log)
        assert [len(stocks) for stocks in f.idle.values()] == [3]


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


def test_the_sum_over_many_float32_products_is_made_in_float64():
    f = MLP([1, 1], ["identity"])
    theta, y = np.ones(2, np.float32), np.full((1, 1), 1 / 3, np.float32)
    bound = f.bind(theta, y)
    for _ in range(1000):
        bound.vjp(0.0, y, y)
    once = y.astype(float)[0, 0]
    assert_agree(bound.a_f_theta() / 1000, [once * once, once], np.finfo(np.float32).eps)
    assert bound.a_f_theta().dtype == float and f.vjp(0.0, y, theta, y)[1].dtype == np.float32


def test_an_empty_batch_has_empty_derivatives():
    f, y = MLP([3, 4, 2], ["tanh", "sin"]), np.ones((0, 2))
    theta = np.ones(f.n_params)
    assert f.jacobian(0.0, y, theta).shape == (0, 2, 2) and f.param_jacobian(0.0, y, theta).shape == (0, 2, 26)


def test_an_mlp_is_copied_and_pickled_without_the_arrays_it_keeps():
    f = MLP([2, 2], ["tanh"])
    bound = f.bind(np.ones(6), np.ones(2))
    bound.noted(0.0, np.ones(2))
    bound.give_back(bound.log)
    other = pickle.loads(pickle.dumps(f))
    assert f.idle and not other.idle and repr(other) == repr(f)
    assert type(copy.copy(type("Own", (MLP,), {})([2, 2], ["tanh"]))).__name__ == "Own"

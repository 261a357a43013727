"""Pieces of a classifier: each derivative by hand, then all of them together, against the complex step."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import (MLP, Classifier, Layered, Linear, SolverError, VectorField, check_field, fit, odeint, pullback,
                    value_and_gradients)
from minode.gradients.checks import complex_step
from minode.learning.classify import Affine, cross_entropy, log_sum_exp, residual_network
from tests.gradients.problems import EXACT, ROUND_OFF, SLOPE, relative_error
from tests.strategies import arrays, assert_agree, batches, clocks, complex_columns
from tests.subclasses import ProductsAlone, Residual
from tests.threads import assert_threads_agree

BLOCK = MLP([3, 5, 3], ["tanh", "identity"])
CLOCKED = MLP([4, 5, 3], ["softplus", "tanh"])
RESNET = {"t": (0, 3), "method": "euler", "step_size": 1.0}
ODE = {"method": "heun", "step_size": 0.25}
CHECKPOINTED = 1e-10                                 # a gradient of 12 steps by another route
MODELS = {
    "residual network": Classifier(4, Layered(BLOCK, 3), 5, **RESNET),
    "ODE-Net": Classifier(4, BLOCK, 5, **ODE),
    "ODE-Net with a clock": Classifier(4, CLOCKED, 5, t=[0.5, 1.0, 2.0], method="dopri5", step_size=0.5),
}


def images(n, rng=np.random.default_rng(8)):
    return rng.normal(size=(n, 4)), rng.integers(5, size=n)


# -- the maps ---------------------------------------------------------------------------------


@pytest.mark.eq("25.1", "25.5")
@given(st.integers(1, 4), st.integers(1, 4), batches, st.data())
def test_the_derivatives_of_an_affine_map_are_those_of_the_complex_step(n_in, n_out, batch, data):
    f = Affine(n_in, n_out)
    theta, x = data.draw(arrays(f.n_params)), data.draw(arrays((*batch, n_in)))
    assert check_field(f, 0.3, x, theta)
    assert_agree(f.jacobian(0.0, x, theta), complex_columns(lambda x: f(0.0, x, theta), x), ROUND_OFF)
    assert_agree(f.param_jacobian(0.0, x, theta), complex_columns(lambda theta: f(0.0, x, theta), theta), ROUND_OFF)
    a, w, dtheta = data.draw(arrays((*batch, n_out))), data.draw(arrays(x.shape)), data.draw(arrays(theta.shape))
    for got, expected in zip(f.vjp(0.0, x, theta, a), VectorField.vjp(f, 0.0, x, theta, a)):
        assert_agree(got, expected, ROUND_OFF)
    assert_agree(f.jvp(0.0, x, theta, w, dtheta), VectorField.jvp(f, 0.0, x, theta, w, dtheta), ROUND_OFF)


@pytest.mark.eq("25.1")
def test_an_affine_map_reads_its_weights_row_by_row_and_then_its_bias():
    f, theta = Affine(3, 2), np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, -0.5])
    assert np.array_equal(f(0.0, np.eye(3), theta), [[1.5, 3.5], [2.5, 4.5], [3.5, 5.5]])
    drawn = np.concatenate([f.init(np.random.default_rng(seed)) for seed in range(200)])
    assert abs(drawn).max() <= 3**-0.5 and drawn.max() > 0.57 and drawn.min() < -0.57


# -- the layers -------------------------------------------------------------------------------


each_block = pytest.mark.parametrize("block", [
    MLP([2, 3, 2], ["tanh", "identity"]), MLP([3, 2, 2], ["softplus", "tanh"])], ids=["autonomous", "with a clock"])


@pytest.mark.eq("25.6")
@each_block
def test_the_derivatives_of_layers_are_those_of_differences(block):
    f = Layered(block, 3)
    assert check_field(f, 1.25, np.array([[0.3, -0.7], [1.1, 0.4]]), np.cos(np.arange(f.n_params)))


@pytest.mark.eq("25.6")
@each_block
@given(data=st.data(), batch=batches)
def test_layers_are_the_block_with_the_theta_of_the_floor_of_the_time(block, data, batch):
    f = Layered(block, 3)
    theta, y = data.draw(arrays(f.n_params, bound=1.0)), data.draw(arrays((*batch, 2)))
    t = 1.5 * data.draw(clocks(batch))
    assert f.layer(np.array([0.7, 1.6, 2.5, 2.0, -0.6, 9.0])).tolist() == [0, 1, 2, 2, 0, 2]
    layer = np.clip(np.floor(np.broadcast_to(t, batch)), 0, 2).astype(int)
    value, f_y, f_theta = f(t, y, theta), f.jacobian(t, y, theta), f.param_jacobian(t, y, theta)
    for at in np.ndindex(*batch):
        part = slice(layer[at] * block.n_params, (layer[at] + 1) * block.n_params)
        own = np.broadcast_to(t, batch)[at], y[at], theta[part]
        assert_agree(value[at], block(*own), ROUND_OFF)
        assert_agree(f_y[at], block.jacobian(*own), ROUND_OFF)
        whole = np.zeros((2, f.n_params))
        whole[:, part] = block.param_jacobian(*own)
        assert_agree(f_theta[at], whole, ROUND_OFF)
    a, w, dtheta = data.draw(arrays(y.shape)), data.draw(arrays(y.shape)), data.draw(arrays(theta.shape))
    for got, expected in zip(f.vjp(t, y, theta, a), VectorField.vjp(f, t, y, theta, a)):
        assert_agree(got, expected, ROUND_OFF)
    assert_agree(f.jvp(t, y, theta, w, dtheta), VectorField.jvp(f, t, y, theta, w, dtheta), ROUND_OFF)


@pytest.mark.eq("25.6")
@pytest.mark.parametrize("block", [BLOCK, CLOCKED], ids=["autonomous", "with a clock"])
@pytest.mark.parametrize("t", [-0.5, 0.0, 0.999, 1.0, 2.5, 3.0, 17.0, np.array([0.3, 2.7, -1.0, 1.0, 0.9, 5.0])])
def test_the_value_and_the_product_taken_together_are_the_same_as_each_alone(t, block):
    f, rng = Layered(block, 3), np.random.default_rng(2)
    theta, y, a = f.init(rng), rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    value, vjp = f.value_and_vjp(t, y, theta)
    assert_agree(value, f(t, y, theta), ROUND_OFF)
    for got, expected in zip(vjp(a), f.vjp(t, y, theta, a)):
        assert_agree(got, expected, ROUND_OFF)
    if np.ndim(t) == 0:
        a_f_y, a_f_theta = f.vjp(t, y, theta, a)
        by_y, by_layer = block.vjp(t, y, f.by_layer(theta)[f.layer(t)], a)
        assert np.array_equal(a_f_y, by_y)
        table = np.zeros((3, block.n_params))
        table[min(max(int(np.floor(t)), 0), 2)] = by_layer
        assert np.array_equal(a_f_theta, table.ravel())


@pytest.mark.eq("18.4", "25.6")
@pytest.mark.parametrize("rows", [6, 80])                    # all steps at once, and step by step
def test_layers_of_a_block_with_the_products_alone_have_the_same_gradient(rows):
    rng = np.random.default_rng(4)
    theta, y0, a = Layered(BLOCK, 3).init(rng), *rng.normal(size=(2, rows, 3))
    network, products = (pullback(Layered(block, 3), y0, (0, 3), theta, a, method="heun", step_size=0.5, times=False)
                         for block in (BLOCK, ProductsAlone(BLOCK)))
    assert relative_error(products.y0, network.y0) <= EXACT
    assert relative_error(products.theta, network.theta) <= EXACT


@pytest.mark.eq("25.1", "25.5", "25.6")
@pytest.mark.parametrize("batch", [6, 250])                  # all steps at once, and step by step
@pytest.mark.parametrize("as_layers", [False, True], ids=["as field", "as block"])
def test_a_subclass_of_a_network_is_what_it_says(as_layers, batch):
    f = Residual([4, 5, 3], ["softplus", "tanh"])
    field, options = (Layered(f, 3), RESNET) if as_layers else (f, ODE)
    model, (x, labels) = Classifier(4, field, 5, **options), images(batch)
    theta = model.init(np.random.default_rng(7))
    theta_in, theta_f, theta_out = model.split(theta)
    y, parts = model.inward(0.0, x, theta_in), np.split(theta_f, 3 if as_layers else 1)
    if as_layers:
        for i, part in enumerate(parts):
            y = CLOCKED(float(i), y, part)                     # y + NN − y
    else:
        y = odeint(lambda t, y: CLOCKED(t, y, theta_f) - y, y, model.t, **ODE)[-1]
    z = model.outward(0.0, y, theta_out)
    assert_agree(model.logits(x, theta), z, 10 * ROUND_OFF)
    value, gradient = model.value_and_gradient(x, labels, theta)
    assert abs(value - cross_entropy(z, labels)[0]) <= 10 * ROUND_OFF
    if batch == 6:
        expected = [complex_step(lambda theta: cross_entropy(model.logits(x, theta), labels)[0], theta, unit)
                    for unit in np.eye(model.n_params)]
        assert relative_error(gradient, np.array(expected)) <= EXACT
    else:
        direction = np.cos(np.arange(model.n_params))
        along = complex_step(lambda theta: cross_entropy(model.logits(x, theta), labels)[0], theta, direction)
        assert abs(gradient @ direction - along) <= EXACT * np.abs(gradient * direction).sum()


@pytest.mark.parametrize("name", ["residual network", "ODE-Net with a clock"])
def test_threads_that_share_one_classifier_get_the_numbers_that_each_gets_alone(name):
    model, rng = MODELS[name], np.random.default_rng(12)
    batches = [images(20 + k, rng) for k in range(2)]
    thetas = [model.init(rng) for _ in batches]

    def job(k):
        return *model.value_and_gradient(*batches[k], thetas[k]), model.logits(batches[k][0], thetas[k])
    assert_threads_agree(job, 2, rounds=10)


@pytest.mark.eq("25.6")
@pytest.mark.parametrize("block", [BLOCK, CLOCKED], ids=["autonomous", "with a clock"])
def test_the_layers_one_after_the_other_are_eulers_method(block):
    rng = np.random.default_rng(3)
    f, y = Layered(block, 4), rng.normal(size=(5, 3))
    theta = f.init(rng)
    by_euler = odeint(f, y, [0, 4], theta, method="euler", step_size=1.0)[-1]
    assert_agree(residual_network(block, y, f.by_layer(theta)), by_euler, ROUND_OFF)


@pytest.mark.eq("25.6")
@pytest.mark.parametrize("method, order, hidden", [("euler", 1, 1), ("midpoint", 2, 2), ("heun", 2, 1), ("rk4", 4, 1)])
def test_every_method_keeps_its_order_across_the_layers_unless_a_function_hides_the_field(method, order, hidden):
    rates = np.array([0.3, -0.5, 0.8])

    f = Layered(Linear(1), 3)

    def error(n, *theta, f=f, **options):
        y = odeint(f, [1.0], [0.0, 3.0], *theta, method=method, step_size=1 / n, **options)[-1]
        return abs(y[0] / np.exp(rates.sum()) - 1)

    def function(t, y):
        return f(t, y, rates)
    assert abs(np.log2(error(8, rates) / error(16, rates)) - order) <= SLOPE
    assert abs(np.log2(error(8, f=function, tstops=f.tstops) / error(16, f=function, tstops=f.tstops)) - order) <= SLOPE
    assert abs(np.log2(error(32, f=function) / error(64, f=function)) - hidden) <= SLOPE


@pytest.mark.eq("12.1", "25.6")
def test_layers_have_gradients_where_each_trajectory_has_its_own_clock():
    f, rng = Layered(CLOCKED, 2), np.random.default_rng(5)
    theta, (y0, a), options = f.init(rng), rng.normal(size=(2, 3, 3)), {"rtol": 1e-3, "atol": 1e-3}
    together = pullback(f, y0, [0.0, 2.0], theta, a, per_trajectory=True, **options)
    alone = [pullback(f, y0[i], [0.0, 2.0], theta, a[i], **options) for i in range(3)]
    assert_agree(together.y0, [part.y0 for part in alone], 10 * ROUND_OFF)
    assert_agree(together.theta, sum(part.theta for part in alone), 10 * ROUND_OFF)


@pytest.mark.eq("6.1", "25.6")
def test_a_residual_network_is_eulers_method_and_its_backpropagation_the_discrete_gradient():
    model, (x, labels), rng = MODELS["residual network"], images(7), np.random.default_rng(1)
    theta = model.init(rng)
    (W_in, b_in), (W_out, b_out) = (piece.parts(part) for piece, part in zip(
        (model.inward, model.outward), model.split(theta)[::2]))
    layers = model.split(theta)[1].reshape(3, -1)
    states = [x @ W_in.T + b_in]
    together = residual_network(BLOCK, states[0], layers)
    for own in layers:
        states.append(states[-1] + BLOCK(0.0, states[-1], own))
    assert_agree(together, states[-1], ROUND_OFF)
    z = states[-1] @ W_out.T + b_out
    assert_agree(model.logits(x, theta), z, ROUND_OFF)

    value, dL_dz = cross_entropy(z, labels)
    a, by_layer = dL_dz @ W_out, []
    for own, y in zip(layers[::-1], states[-2::-1]):
        back, by_own = BLOCK.vjp(0.0, y, own, a)
        a, by_layer = a + back, [by_own, *by_layer]
    expected = np.concatenate([(a.T @ x).ravel(), a.sum(axis=0), *by_layer,
                               (dL_dz.T @ states[-1]).ravel(), dL_dz.sum(axis=0)])
    got, gradient = model.value_and_gradient(x, labels, theta)
    assert abs(got - value) <= ROUND_OFF and relative_error(gradient, expected) <= EXACT


# -- the loss ---------------------------------------------------------------------------------

logits = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(lambda shape: arrays(shape, bound=20.0))


@pytest.mark.eq("25.2", "25.3", "25.4")
@given(logits, st.data())
def test_cross_entropy_and_its_derivative_are_as_printed_and_as_the_complex_step_says(z, data):
    B, K = z.shape
    labels = np.array(data.draw(st.lists(st.integers(0, K - 1), min_size=B, max_size=B)))
    value, dL_dz = cross_entropy(z, labels)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    printed = -sum(np.log(p[i, labels[i]]) for i in range(B)) / B
    assert abs(value - printed) <= ROUND_OFF * (1 + np.abs(z).max())
    assert_agree(dL_dz, (p - np.eye(K)[labels]) / B, ROUND_OFF)
    along = [complex_step(lambda s: cross_entropy(z + s * unit.reshape(B, K), labels)[0], 0.0, 1.0)
             for unit in np.eye(B * K)]
    assert_agree(dL_dz.ravel(), along, EXACT)


@pytest.mark.eq("25.2", "25.3", "25.4")
@pytest.mark.parametrize("shift", [0.0, 1000.0, -1000.0])
@pytest.mark.parametrize("gap", [1.0, 30.0, 40.0, 600.0])
def test_a_loss_near_0_and_its_derivative_have_all_their_digits(gap, shift):
    z = np.array([[0.0, gap, -1.0]]) + shift                                     # p of the right class is 1 − e^{−gap} …
    value, dL_dz = cross_entropy(z, [1])
    rest = np.exp(-gap) + np.exp(-gap - 1)                                        # relative to it, of the others
    assert abs(value - np.log1p(rest)) <= ROUND_OFF * value
    expected = np.array([[np.exp(-gap), -rest, np.exp(-gap - 1)]]) / (1 + rest)
    assert np.all(np.abs(dL_dz - expected) <= ROUND_OFF * np.abs(expected))
    assert abs(log_sum_exp(z - gap - shift)[0, 0] - np.log1p(rest)) <= ROUND_OFF * np.log1p(rest)


@pytest.mark.eq("25.3")
@given(logits)
def test_the_logarithm_of_the_sum_is_that_of_numbers_of_any_size(z):
    assert_agree(log_sum_exp(z)[:, 0], np.log(np.exp(z).sum(axis=1)), ROUND_OFF)
    assert_agree(log_sum_exp(z + 1e3)[:, 0], 1e3 + np.log(np.exp(z).sum(axis=1)), ROUND_OFF)
    assert_agree(log_sum_exp(z - 1e3)[:, 0], -1e3 + np.log(np.exp(z).sum(axis=1)), ROUND_OFF)


@pytest.mark.eq("25.3")
def test_the_loss_of_any_finite_logits_is_finite_and_does_not_see_what_is_added_to_all():
    z = np.array([[1e4, -1e4, 0.0], [710.0, 800.0, 5.0], [-800.0, -900.0, -750.0]])
    value, dL_dz = cross_entropy(z, np.array([1, 0, 1]))
    assert abs(value - (2e4 + 90.0 + 150.0) / 3) <= ROUND_OFF * value
    assert np.isfinite(dL_dz).all() and np.abs(dL_dz.sum(axis=1)).max() <= ROUND_OFF
    again, _ = cross_entropy(z + 1e3, np.array([1, 0, 1]))
    assert abs(again - value) <= ROUND_OFF * value


class PerRow(VectorField):
    """The losses of single rows as a map from K numbers to one, for `check_field`; its one parameter does nothing."""

    dim, dim_out, n_params, label = 4, 1, 1, 2

    def __call__(self, t, y, theta):
        rows = y.reshape(-1, 4)
        return np.array([cross_entropy(row[None], [self.label])[0] for row in rows]).reshape(*y.shape[:-1], 1)

    def jacobian(self, t, y, theta):
        rows = y.reshape(-1, 4)
        return cross_entropy(rows, [self.label] * len(rows))[1].reshape(*y.shape[:-1], 1, 4) * len(rows)

    def param_jacobian(self, t, y, theta):
        return np.zeros((*y.shape[:-1], 1, 1))

    def time_derivative(self, t, y, theta):
        return np.zeros((*y.shape[:-1], 1))


@pytest.mark.eq("25.4")
def test_check_field_reaches_the_loss_as_well():
    y = np.random.default_rng(5).normal(size=(2, 1, 4))
    check_field(PerRow(), 0.0, y, np.zeros(1))
    wrong = type("Wrong", (PerRow,), {"jacobian": lambda self, t, y, theta: -PerRow.jacobian(self, t, y, theta)})()
    with pytest.raises(AssertionError, match="f_y, jacobian .* NO"):
        check_field(wrong, 0.0, y, np.zeros(1))


# -- the whole --------------------------------------------------------------------------------


@pytest.mark.eq("25.1", "25.2", "25.4", "25.5", "25.6")
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_the_whole_is_that_of_the_complex_step_in_every_parameter(name):
    model, (x, labels) = MODELS[name], images(6)
    theta = model.init(np.random.default_rng(7))
    value, gradient = model.value_and_gradient(x, labels, theta)
    assert abs(value - cross_entropy(model.logits(x, theta), labels)[0]) <= ROUND_OFF * value
    expected = [complex_step(lambda theta: cross_entropy(model.logits(x, theta), labels)[0], theta, unit)
                for unit in np.eye(model.n_params)]
    assert relative_error(gradient, np.array(expected)) <= EXACT
    assert all(np.abs(part).max() > 1e-3 for part in model.split(gradient))


@pytest.mark.eq("20.1", "25.5")
@pytest.mark.parametrize("gradient", ["discrete", "checkpoint", "backsolve", "interpolate"])
@pytest.mark.parametrize("name", MODELS)
def test_the_way_through_the_flow_is_that_of_chapter_20(name, gradient):
    model, (x, labels) = MODELS[name], images(6)
    theta = model.init(np.random.default_rng(7))
    theta_in, theta_f, theta_out = model.split(theta)

    def loss(ys):
        value, dL_dz = cross_entropy(model.outward(0.0, ys[-1], theta_out), labels)
        return value, np.concatenate([0 * ys[:-1], model.outward.vjp(0.0, ys[-1], theta_out, dL_dz)[:1]])
    y0 = model.inward(0.0, x, theta_in)
    value, gradients = value_and_gradients(loss, model.field, y0, model.t, theta_f, gradient=gradient, **model.solver)
    got, found = model.value_and_gradient(x, labels, theta, gradient=gradient)
    by_in, by_f, _ = model.split(found)
    assert got == value and np.array_equal(by_f, gradients.theta)
    assert np.array_equal(by_in, model.inward.vjp(0.0, x, theta_in, gradients.y0)[1])


@pytest.mark.eq("20.1", "25.1", "25.5")
@pytest.mark.parametrize("t", [[0.5], [0.5, 0.5]])
def test_with_no_time_for_the_flow_it_is_two_maps_and_their_gradient(t):
    model, (x, labels) = Classifier(4, BLOCK, 5, t=t), images(6)
    theta = model.init(np.random.default_rng(7))
    _, gradient = model.value_and_gradient(x, labels, theta)
    expected = [complex_step(lambda theta: cross_entropy(model.logits(x, theta), labels)[0], theta, unit)
                for unit in np.eye(model.n_params)]
    assert relative_error(gradient, np.array(expected)) <= EXACT and not model.split(gradient)[1].any()


def test_a_gradient_that_overflows_on_the_way_back_is_a_solver_error():
    class Steep(VectorField):                                  # y' = 0 y whose product is too large
        dim, n_params = 1, 1

        def __call__(self, t, y, theta):
            return 0 * y

        def vjp(self, t, y, theta, a):
            return 1e200 * a, np.zeros(1)

        def jvp(self, t, y, theta, w, dtheta):
            return 1e200 * w

        def init(self, rng):
            return np.ones(1)
    model = Classifier(1, Steep(), 2, method="rk4", step_size=0.1)
    with pytest.raises(SolverError, match="the gradient is no longer finite on the way back from t = 1.0 to 0.0"):
        model.value_and_gradient(np.ones((1, 1)), [0], model.init(np.random.default_rng(0)))


@pytest.mark.eq("25.5", "20.1")
@pytest.mark.parametrize("name", MODELS)
def test_it_takes_the_other_routes_too(name):
    model, (x, labels) = MODELS[name], images(6)
    theta = model.init(np.random.default_rng(7))
    _, exact = model.value_and_gradient(x, labels, theta)
    _, same = model.value_and_gradient(x, labels, theta, gradient="checkpoint")
    assert relative_error(same, exact) <= CHECKPOINTED


def test_theta_is_the_pieces_one_after_the_other_and_has_to_have_their_length():
    model = MODELS["residual network"]
    assert [len(part) for part in model.split(np.zeros(model.n_params))] == [15, 3 * 38, 20]
    assert model.n_params == 149 and model.logits(np.zeros((2, 4)), model.init(np.random.default_rng(0))).shape == (2, 5)
    with pytest.raises(ValueError, match=r"theta must have shape \(149,\), not \(148,\)"):
        model.value_and_gradient(*images(2), np.zeros(148))


@pytest.mark.parametrize("labels, message", [
    ([0, 1, -1], "labels must be from 0 to 4, not from -1 to 1"),
    ([0, 1, 5], "labels must be from 0 to 4, not from 0 to 5"),
    ([0.0, 1.0, 2.0], r"labels must be a whole number for each row of z \(3, 5\), not float64 \(3,\)"),
    ([True, False, True], r"not bool \(3,\)"),
    ([0, 1], r"not int64 \(2,\)"),
    (np.eye(5, dtype=int)[:3], r"not int64 \(3, 5\)"),
    (1, r"not int64 \(\)"),
])
def test_labels_that_are_no_classes_of_the_rows_are_refused_and_not_counted_from_the_end(labels, message):
    model, (x, _) = MODELS["ODE-Net"], images(3)
    with pytest.raises(ValueError, match=message):
        model.value_and_gradient(x, labels, np.zeros(model.n_params))


@pytest.mark.parametrize("x, message", [
    (np.zeros((3, 3)), r"x must have shape \(B, 4\), not \(3, 3\)"),
    (np.zeros(4), r"x must have shape \(B, 4\), not \(4,\)"),
    (np.full((3, 4), np.nan), "x must be finite")])
def test_images_of_another_size_are_refused(x, message):
    model = MODELS["ODE-Net"]
    with pytest.raises(ValueError, match=message):
        model.value_and_gradient(x, [0, 1, 2], np.zeros(model.n_params))


@pytest.mark.parametrize("name", MODELS)
def test_each_learns_to_tell_apart_what_a_line_cannot(name):
    """Four clusters at the corners of a square, opposite ones of the same class."""
    rng = np.random.default_rng(11)
    corners = rng.integers(4, size=80)
    x = np.concatenate([np.stack([corners // 2, corners % 2], axis=1), np.zeros((80, 2))], axis=1) * 2 - 1.0
    x, labels = x + 0.1 * rng.normal(size=x.shape), (corners // 2 + corners) % 2
    model = MODELS[name]
    found = fit(lambda theta, batch: model.value_and_gradient(*batch, theta), model.init(rng), n_steps=100,
                data=(x, labels), batch_size=20, learning_rate=0.1, progress=False)
    assert (model.logits(x, found.theta).argmax(axis=1) == labels).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_have_no_cross_entropy(bad):
    with pytest.raises(ValueError, match="z must be finite"):
        cross_entropy(np.array([[0.0, bad]]), np.array([0]))


def test_logits_with_a_short_theta_say_which_shape_it_should_have():
    model = Classifier(2, MLP([2, 2], ["identity"]), 3)
    with pytest.raises(ValueError, match=f"theta must have shape .{model.n_params},., not .3,."):
        model.logits(np.zeros((1, 2)), np.zeros(3))


@pytest.mark.parametrize("build, name", [
    (lambda: Layered(BLOCK, 0), "n_layers"), (lambda: Layered(BLOCK, 2.5), "n_layers"),
    (lambda: Classifier(0, BLOCK, 2), "n_in"), (lambda: Classifier(4, BLOCK, -3), "n_out")])
def test_a_number_of_layers_inputs_or_classes_that_is_none_is_refused(build, name):
    with pytest.raises(ValueError, match=f"{name} must be a positive integer, not"):
        build()

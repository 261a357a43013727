"""The flow of densities: exact where one is known, derivatives by complex step, the estimate in the mean."""

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.linalg import expm
from scipy.stats import multivariate_normal, norm

from minode import (MLP, CubicSpiral, DiffusedMixture, Layered, Linear, LotkaVolterra, SolverError, VanDerPol, VectorField, check_field,
                    check_gradients, odeint, pushforward, value_and_gradients)
from minode.gradients.checks import complex_step
from minode.learning.flows import (Flow, log_prob, negative_log_likelihood, noise_variance, sample,
                                   standard_normal)
from minode.learning.probes import rademacher
from tests.gradients.problems import EXACT, SLOPE, complex_step_gradients, extrapolated_difference, relative_error
from tests.strategies import (SMOOTH, arrays, assert_agree, batches, clocks, complex_columns, grids, mlps,
                              physics)
from tests.subclasses import Doubled, Residual
from tests.threads import assert_threads_agree

ROUND_OFF = 2000 * np.finfo(float).eps         # three layers and their derivatives, a few hundred operations
GRID = 1e-6                                    # the trapezoid rule for a smooth density that ends inside the grid
DIFFERENCE = 1e-9                              # ε⁴ and round-off over ε, for ε = 1e-3
LOOP = 10                                      # a way there and back, in tolerances of the solver
STANDARD_ERRORS = 5                            # of a mean over a fixed seed's draws
PAIR = MLP([3, 6, 5, 2], ["tanh", "softplus", "identity"])
PAIR_THETA = 1.5 * PAIR.init(np.random.default_rng(26))
SMALL = MLP([3, 3, 2, 2], ["tanh", "softplus", "identity"])                  # 26 parameters, each moved by itself
SMALL_THETA = 1.5 * SMALL.init(np.random.default_rng(26))
POINTS = np.array([[0.3, -0.5], [-1.2, 0.4], [0.8, 1.1]])
every_field = st.one_of(physics(), mlps(SMOOTH))


def noises(batch, d):
    """Noise for a batch, or None for the exact trace: any numbers will do for its derivatives."""
    return st.none() | st.integers(1, 3).flatmap(lambda K: arrays((K, *batch, d)))


def all_signs(d):
    """Every row of signs once, (2^d, d): the average over them is the mean."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=d)))


def by_products(flow):
    """The same flow, without what it knows of networks: by the products of its field alone, as for any field."""
    general = Flow(flow.f)
    general.v, general.is_network = flow.v, False
    return general


# -- the trace, and its derivatives -------------------------------------------------------------------


@pytest.mark.eq("26.1", "26.3", "26.5")
@given(st.data(), every_field, batches)
def test_the_last_component_is_minus_the_trace_of_the_jacobian(data, field, batch):
    f, theta = field
    t, s = data.draw(clocks(batch)), data.draw(arrays((*batch, f.dim + 1)))
    expected = np.concatenate([f(t, s[..., :-1], theta), -np.trace(f.jacobian(t, s[..., :-1], theta), axis1=-2,
                                                                   axis2=-1)[..., None]], axis=-1)
    flow = Flow(f)
    for got in (flow(t, s, theta), flow.value_and_vjp(t, s, theta)[0], by_products(flow)(t, s, theta)):
        assert_agree(got, expected, ROUND_OFF)


@pytest.mark.eq("26.3", "26.5")
@given(st.data(), every_field, batches, st.integers(1, 3))
def test_the_estimate_is_the_mean_of_the_quadratic_forms_of_its_rows(data, field, batch, K):
    f, theta = field
    t, s = data.draw(clocks(batch)), data.draw(arrays((*batch, f.dim + 1)))
    noise = data.draw(arrays((K, *batch, f.dim)))
    forms = np.einsum("k...i,...ij,k...j->k...", noise, f.jacobian(t, s[..., :-1], theta), noise)
    flow = Flow(f, noise)
    for got in (flow(t, s, theta), flow.value_and_vjp(t, s, theta)[0], by_products(flow)(t, s, theta)):
        assert_agree(got[..., -1], -forms.mean(axis=0), ROUND_OFF)
        assert_agree(got[..., :-1], f(t, s[..., :-1], theta), ROUND_OFF)


@pytest.mark.eq("26.6", "26.7", "26.8")
@given(st.data(), every_field, batches)
def test_the_derivatives_of_the_augmented_field_are_those_of_complex_steps(data, field, batch):
    f, theta = field
    t, s = data.draw(clocks(batch)), data.draw(arrays((*batch, f.dim + 1)))
    a, w, dtheta = data.draw(arrays(s.shape)), data.draw(arrays(s.shape)), data.draw(arrays(theta.shape))
    flow = Flow(f, data.draw(noises(batch, f.dim)))
    a_f_s = complex_columns(lambda s: np.sum(a * flow(t, s, theta), axis=-1), s)
    a_f_theta = complex_columns(lambda theta: np.sum(a * flow(t, s, theta)), theta)
    for got in (flow.value_and_vjp(t, s, theta)[1](a), flow.vjp(t, s, theta, a), by_products(flow).vjp(t, s, theta, a)):
        assert_agree(got[0], a_f_s, ROUND_OFF)
        assert_agree(got[1], a_f_theta, ROUND_OFF)
    along = complex_step(lambda e: flow(t, s + e * w, theta + e * dtheta), 0.0, 1.0)
    assert_agree(flow.jvp(t, s, theta, w, dtheta), along, ROUND_OFF)
    assert_agree(flow.jacobian(t, s, theta), complex_columns(lambda s: flow(t, s, theta), s), ROUND_OFF)
    assert_agree(flow.param_jacobian(t, s, theta), complex_columns(lambda x: flow(t, s, x), theta), ROUND_OFF)
    assert_agree(flow.time_derivative(t, s, theta), complex_step(lambda t: flow(t, s, theta), t, 1.0), ROUND_OFF)


@pytest.mark.eq("26.6", "26.7", "26.8")
@pytest.mark.parametrize("t", [0.3, np.array([-0.7, 0.3, 1.2])])
def test_the_products_of_any_field_and_those_of_a_network_in_one_pass_agree(t):
    flow, rng = Flow(PAIR), np.random.default_rng(9)
    s, a = rng.normal(size=(2, 3, 3))
    (value, vjp), (a_f_s, a_f_theta) = flow.value_and_vjp(t, s, PAIR_THETA), by_products(flow).vjp(t, s, PAIR_THETA, a)
    assert_agree(value, by_products(flow)(t, s, PAIR_THETA), ROUND_OFF)
    for got in (vjp(a), flow.vjp(t, s, PAIR_THETA, a)):
        assert_agree(got[0], a_f_s, ROUND_OFF)
        assert_agree(got[1], a_f_theta, ROUND_OFF)


@pytest.mark.eq("26.7", "26.8")
@given(st.data(), mlps(SMOOTH), st.lists(batches, min_size=1, max_size=3))
def test_products_of_several_points_may_be_taken_later_in_any_order_and_more_than_once(data, field, shapes):
    f, theta = field
    flow, taken = Flow(f), []
    for batch in shapes:
        t, s, a = data.draw(clocks(batch)), *(data.draw(arrays((*batch, f.dim + 1))) for _ in range(2))
        value, vjp = flow.value_and_vjp(t, s, theta)
        taken.append((value, value.copy(), vjp, a, flow.vjp(t, s, theta, a)))
    for value, copy, vjp, a, (a_f_s, a_f_theta) in [*taken[::-1], *taken]:
        got = vjp(a)
        assert_agree(got[0], a_f_s, ROUND_OFF)
        assert_agree(got[1], a_f_theta, ROUND_OFF)
        assert np.array_equal(value, copy)


class Scaled(MLP):
    """The network of another θ, whose layers are written anew: nothing that reads θ passes it by."""

    def layers(self, theta):
        return super().layers(np.multiply(0.5, theta))


@pytest.mark.eq("26.1", "26.3", "26.5", "26.6", "26.9")
@pytest.mark.parametrize("kind", [Residual, Doubled])
@pytest.mark.parametrize("noise", [None, np.array([[[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]])])
def test_a_subclass_of_a_network_is_what_it_says(kind, noise):
    f, rng = kind(SMALL.widths, SMALL.names), np.random.default_rng(3)
    t, theta, flow, s, a = np.linspace(0.1, 0.9, 3), SMALL_THETA, Flow(f, noise), *rng.normal(size=(2, 3, 3))
    v = np.eye(2)[:, None] if noise is None else noise
    forms = np.sum((v[..., None, :] @ f.jacobian(0.3, s[:, :-1], theta) @ v[..., None])[..., 0, 0], axis=0)
    for value in (flow(0.3, s, theta), flow.value_and_vjp(0.3, s, theta)[0]):
        assert_agree(value, np.column_stack([f(0.3, s[:, :-1], theta), -forms]), ROUND_OFF)
    for got in (flow.vjp(0.3, s, theta, a), flow.value_and_vjp(0.3, s, theta)[1](a)):
        assert_agree(got[0], complex_columns(lambda s: np.sum(a * flow(0.3, s, theta), axis=-1), s), ROUND_OFF)
        assert_agree(got[1], complex_columns(lambda theta: np.sum(a * flow(0.3, s, theta)), theta), ROUND_OFF)
    start = np.column_stack([POINTS, np.zeros(3)])
    pair = lambda t, s: np.concatenate([f(t, s[:, :-1], theta), -np.trace(                # noqa: E731
        f.jacobian(t, s[:, :-1], theta), axis1=-2, axis2=-1)[:, None]], axis=-1)
    if noise is None:
        end = odeint(pair, start, t[::-1], method="rk4")[-1]
        assert_agree(log_prob(f, POINTS, t, theta, method="rk4"), standard_normal(end[:, :-1]) - end[:, -1], ROUND_OFF)
        assert np.abs(log_prob(SMALL, POINTS, t, theta) - log_prob(f, POINTS, t, theta)).max() > 0.1
    value, found = negative_log_likelihood(f, POINTS, t, theta, noise=noise, method="rk4")

    def loss(ys, theta):
        return np.mean(ys[-1, :, -1] - standard_normal(ys[-1, :, :-1]))
    dL_ds, dL_dtheta = complex_step_gradients(loss, flow, start, t[::-1], theta, method="rk4")
    assert relative_error(found.y0, dL_ds[:, :-1], 1.0) <= EXACT
    assert relative_error(found.theta, dL_dtheta, 1.0) <= EXACT


@pytest.mark.eq("26.5")
@pytest.mark.parametrize("names", [["__call__"], ["vjp_derivative"], ["layers"], ["init"]])
def test_only_a_network_with_all_methods_of_its_own_is_taken_for_one(names):
    """A subclass that writes something else anew, as init, is as fast as a network."""
    kind = type("Own", (MLP,), {name: lambda self, *arguments, name=name: getattr(MLP, name)(self, *arguments)
                                for name in names})
    assert Flow(kind(PAIR.widths, PAIR.names)).is_network == (names == ["init"])


@pytest.mark.eq("26.5")
def test_the_flow_of_a_network_reads_theta_by_its_own_layers():
    s, f = np.column_stack([POINTS, np.zeros(3)]), Scaled(PAIR.widths, PAIR.names)
    assert_agree(Flow(f)(0.3, s, PAIR_THETA), Flow(PAIR)(0.3, s, 0.5 * PAIR_THETA), ROUND_OFF)


class Flashing(VectorField):
    """y' = −θ y |sin t|, right but not analytic in t: only y and θ are asked to be complex."""

    dim, n_params = 1, 1

    def rate(self, t):
        return np.abs(np.sin(np.asarray(t)))[..., None]

    def __call__(self, t, y, theta):
        return -theta[0] * y * self.rate(t)

    def jacobian(self, t, y, theta):
        return (-theta[0] * self.rate(t) + 0 * y)[..., None]

    def param_jacobian(self, t, y, theta):
        return (-y * self.rate(t))[..., None]

    def time_derivative(self, t, y, theta):
        return -theta[0] * y * (np.sign(np.sin(t)) * np.cos(t))[..., None]

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        return -a * dtheta[0] * self.rate(t), np.array([-(a * w * self.rate(t)).sum()])


@pytest.mark.eq("26.5", "26.6")
@pytest.mark.parametrize("f, t", [(Flashing(), 0.5), (Flashing(), -0.5), (DiffusedMixture(1, 2), 0.5),
                                  (Layered(MLP([2, 3, 1], ["tanh", "sin"]), 2), 0.5)])
def test_the_trace_has_its_derivative_in_time_whether_or_not_the_field_takes_complex_times(f, t):
    s, theta = np.array([[0.3, 0.0], [-0.7, 1.0]]), np.linspace(-0.5, 0.7, f.n_params)
    flow = Flow(f)
    moved = extrapolated_difference(lambda t: flow(t, s, theta), t, 1.0, 1e-3)
    assert_agree(flow.time_derivative(t, s, theta), moved, DIFFERENCE)
    if not isinstance(f, Layered):                             # which has no second derivatives
        assert all(row.ok for row in check_field(flow, t, s, theta))


def test_the_checks_of_chapter_22_pass_for_the_flow_of_a_network():
    noise = rademacher(np.random.default_rng(0), 2, (3, 2))
    s = np.concatenate([POINTS, np.zeros((3, 1))], axis=1)
    for flow in (Flow(SMALL), Flow(SMALL, noise)):
        assert all(row.ok for row in check_field(flow, 0.3, s, SMALL_THETA))
        assert all(row.ok for row in check_gradients(flow, s, [1.0, 0.4, 0.0], SMALL_THETA, method="rk4"))


@pytest.mark.eq("26.2", "26.6", "26.7", "26.8", "26.9")
@given(st.data(), mlps(SMOOTH, max_layers=3), grids(max_steps=3))
def test_the_gradient_of_the_likelihood_is_the_derivative_of_the_number_computed(data, field, t):
    f, theta = field
    y, noise = data.draw(arrays((2, f.dim))), data.draw(noises((2,), f.dim))
    value, found = negative_log_likelihood(f, y, t, theta, noise=noise, method="rk4")
    flow, start = Flow(f, noise), np.concatenate([y, np.zeros((2, 1))], axis=1)

    def loss(ys, theta):
        z, l = ys[-1, ..., :-1], ys[-1, ..., -1]
        return np.mean(0.5 * np.sum(z * z, axis=-1) + 0.5 * f.dim * np.log(2 * np.pi) + l)

    path = odeint(flow, start, t[::-1], theta, method="rk4")
    assert_agree(value, loss(path, theta), ROUND_OFF)
    assert_agree(value, -log_prob(f, y, t, theta, noise=noise, method="rk4").mean(), ROUND_OFF)
    dL_ds, dL_dtheta = complex_step_gradients(loss, flow, start, t[::-1], theta, method="rk4")
    assert relative_error(found.y0, dL_ds[:, :-1], 1.0) <= EXACT
    assert relative_error(found.theta, dL_dtheta, 1.0) <= EXACT
    assert found.t.shape == t.shape


def test_gradients_one_after_the_other_do_not_see_each_other():
    f, rng, options = MLP(PAIR.widths, PAIR.names), np.random.default_rng(5), {"method": "rk4", "step_size": 0.25}
    noises = [None, rademacher(rng, 2, POINTS.shape), rademacher(rng, 2, POINTS.shape), rademacher(rng, 3, POINTS.shape)]
    for noise in [*noises, *noises]:
        theta = f.init(rng).astype(rng.choice([np.float32, np.float64]))
        _, left = negative_log_likelihood(f, POINTS, [0.0, 1.0], theta, noise=noise, **options)
        _, fresh = negative_log_likelihood(MLP(f.widths, f.names), POINTS, [0.0, 1.0], theta, noise=noise, **options)
        assert all(np.array_equal(a, b) for a, b in zip(left, fresh))


@pytest.mark.parametrize("noise", [None, np.ones((1, 16, 2))])
def test_threads_that_share_one_flow_get_the_numbers_that_each_gets_alone(noise):
    flow, rng, t = Flow(PAIR, noise), np.random.default_rng(2), [0.0, 1.0]
    starts = rng.normal(size=(2, 16, 3))
    thetas = [PAIR_THETA + 0.1 * k for k in range(2)]

    def loss(ys):
        return 0.5 * np.sum(ys**2), ys

    def job(k):
        value, gradients = value_and_gradients(loss, flow, starts[k], t, thetas[k], method="rk4", times=False)
        return value, gradients.y0, gradients.theta, odeint(flow, starts[k], t, thetas[k], method="rk4")
    assert_threads_agree(job, 2, rounds=10)


@pytest.mark.eq("26.7", "26.8")
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_a_gradient_makes_one_pass_forwards_and_one_backwards_for_each_stage(monkeypatch, method):
    points, passes = np.tile(POINTS, (60, 1)), {"forward": 0, "backward": 0}
    for name in passes:
        def counted(*arguments, name=name, made=getattr(Flow, name)):
            passes[name] += 1
            return made(*arguments)
        monkeypatch.setattr(Flow, name, counted)
    negative_log_likelihood(PAIR, points, [0.0, 1.0], PAIR_THETA, times=False, method=method, step_size=0.25)
    steps, stages, last = 4, 4 if method == "rk4" else 6, int(method == "dopri5")    # the last at the end has weight 0
    assert passes == {"forward": steps * stages + last, "backward": steps * stages}


def test_states_of_float32_have_a_velocity_of_float32():
    s, theta, noise = np.ones((3, 3), np.float32), PAIR_THETA.astype(np.float32), np.ones((1, 3, 2))
    for flow in (Flow(PAIR), Flow(PAIR, noise), by_products(Flow(PAIR, noise))):
        assert flow(0.3, s, theta).dtype == np.float32
        a_f_s, a_f_theta = flow.value_and_vjp(0.3, s, theta)[1](s)
        assert a_f_s.dtype == a_f_theta.dtype == np.float32
        assert_agree(flow(0.3, s, theta), flow(0.3, s.astype(float), PAIR_THETA), 1e-5)


@pytest.mark.parametrize("gradient", ["checkpoint", "backsolve", "interpolate"])
def test_every_route_finds_that_gradient(gradient):
    options = {"method": "dopri5", "rtol": 1e-9, "atol": 1e-9}
    value, one = negative_log_likelihood(PAIR, POINTS, [0.0, 1.0], PAIR_THETA, **options)
    again, other = negative_log_likelihood(PAIR, POINTS, [0.0, 1.0], PAIR_THETA, gradient=gradient, **options)
    assert value == again
    for a, b in zip(one, other):
        assert relative_error(b, a, 1.0) <= 1e-7               # a hundred tolerances


@pytest.mark.eq("26.9")
def test_the_gradient_in_the_times_is_that_of_moving_an_end_and_comes_in_their_order():
    t, options = np.array([0.1, 0.9]), {"rtol": 1e-11, "atol": 1e-11}
    _, found = negative_log_likelihood(PAIR, POINTS, t, PAIR_THETA, **options)
    e = 1e-5

    def value(shift):
        return -log_prob(PAIR, POINTS, t + shift, PAIR_THETA, **options).mean()
    moved = [(value(e * unit) - value(-e * unit)) / (2 * e) for unit in np.eye(2)]
    assert np.abs(found.t - moved).max() <= 1e-8               # e² and 1e-12 over e
    _, rest = negative_log_likelihood(PAIR, POINTS, t, PAIR_THETA, times=False, **options)
    assert rest.t is None and np.array_equal(rest.theta, found.theta)


# -- densities that are known --------------------------------------------------------------------------


@pytest.mark.eq("26.1", "26.2", "26.9")
@given(st.sampled_from([1, 2, 3]).flatmap(lambda d: st.tuples(arrays((d, d), 1.0), arrays((4, d)))),
       st.floats(-1, 1), st.floats(0.3, 1.5).flatmap(lambda h: st.sampled_from([h, -h])))
def test_a_linear_field_makes_the_normal_density_of_the_matrix_exponential(field, t0, span):
    A, y = field
    d, E = len(A), expm(span * A)
    exact = multivariate_normal(np.zeros(d), E @ E.T).logpdf(y)
    got = log_prob(Linear(d), y, [t0, t0 + span], A.ravel(), rtol=1e-10, atol=1e-12)
    assert_agree(got, np.reshape(exact, 4), 1e-8)              # a hundred tolerances, as |z|² has
    got = log_prob(Linear(d), y[0], [t0, t0 + span], A.ravel(), rtol=1e-10, atol=1e-12)
    assert_agree(got, np.ravel(exact)[0], 1e-8)


@pytest.mark.eq("26.2")
@given(arrays((3, 3), 1.0), arrays(3), st.integers(1, 4))
def test_for_a_linear_field_every_method_finds_the_integral_of_the_trace_exactly(A, y, n):
    s = np.append(y, 0.0)
    for method in ("euler", "rk4", "dopri5"):
        end = odeint(Flow(Linear(3)), s, np.linspace(0.0, 1.5, n + 1), A.ravel(), method=method, step_size=9.0)
        assert_agree(end[-1, -1], -np.log(np.linalg.det(expm(1.5 * A))), 1e-11)


@pytest.mark.eq("26.2", "26.5")
@pytest.mark.parametrize("method, order", [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_the_integral_of_the_trace_is_the_log_determinant_of_the_pushed_basis(method, order):
    y0 = np.array([0.4, -0.7])

    def gap(n):
        t = np.linspace(0.2, 1.7, n + 1)
        s = np.append(y0, 0.0)
        trace = -odeint(Flow(PAIR), s, t, PAIR_THETA, method=method)[-1, -1]
        _, basis = pushforward(PAIR, np.tile(y0, (2, 1)), t, PAIR_THETA, dy0=np.eye(2), method=method)
        return abs(trace - np.log(np.linalg.det(basis[-1])))
    errors = np.array([gap(n) for n in (20, 40, 80)])
    assert np.abs(np.log2(errors[:-1] / errors[1:]) - order).max() <= 2 * SLOPE
    assert errors[0] > 1e-9


@pytest.mark.eq("26.1", "26.9")
def test_the_density_integrates_to_one():
    x = np.linspace(-6.0, 6.0, 81)
    points = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    p = np.exp(log_prob(PAIR, points, [0.0, 1.0], PAIR_THETA, rtol=1e-7, atol=1e-7))
    assert abs(p.sum() * (x[1] - x[0]) ** 2 - 1) <= GRID


@pytest.mark.eq("26.9")
def test_another_base_density_may_be_given():
    y, A = np.array([[0.3], [-1.0]]), np.array([0.7])
    got = log_prob(Linear(1), y, [0.0, 1.0], A, base=lambda z: norm(1.0, 2.0).logpdf(z[..., 0]), rtol=1e-10)
    assert_agree(got, norm(np.exp(0.7), 2.0 * np.exp(0.7)).logpdf(y[:, 0]), 1e-8)


@pytest.mark.parametrize("base, shape", [
    (lambda z: -0.5 * np.sum(z * z), r"\(\)"), (lambda z: -0.5 * np.sum(z * z, axis=-1, keepdims=True), r"\(3, 1\)")])
def test_a_base_that_is_not_one_number_a_point_is_refused_and_not_spread(base, shape):
    with pytest.raises(ValueError, match=rf"base\(z\) must have shape \(3,\), not {shape}"):
        log_prob(PAIR, POINTS, [0.0, 1.0], PAIR_THETA, base=base, method="rk4")


@pytest.mark.eq("26.9")
@given(batches.flatmap(lambda batch: arrays((*batch, 3))))
def test_the_base_density_is_the_standard_normal(z):
    assert_agree(standard_normal(z), norm.logpdf(z).sum(axis=-1), ROUND_OFF)


# -- drawing ---------------------------------------------------------------------------------------------


def test_a_base_that_returns_nan_is_refused():
    f = Linear(2)
    with pytest.raises(ValueError, match=r"base\(z\) must not be NaN, but is for 3 of 3 points"):
        log_prob(f, np.ones((3, 2)), [0.0, 1.0], np.zeros(4), base=lambda z: np.nan * z[..., 0])


def test_the_gradient_of_the_likelihood_is_for_the_standard_normal_alone():
    with pytest.raises(TypeError, match="base must be left to the standard normal"):
        negative_log_likelihood(Linear(2), np.ones((3, 2)), [0.0, 1.0], np.zeros(4), base=lambda z: z[..., 0])


def test_points_are_the_flow_of_standard_normal_noise_and_inverting_returns_it():
    tolerance = 1e-8
    options = {"rtol": tolerance, "atol": tolerance}
    x = sample(PAIR, 500, [0.0, 1.0], PAIR_THETA, np.random.default_rng(5), **options)
    noise = np.random.default_rng(5).normal(size=(500, 2))
    back = odeint(PAIR, x, [1.0, 0.0], PAIR_THETA, **options)[-1]
    assert x.shape == (500, 2) and np.abs(back - noise).max() <= LOOP * tolerance * np.abs(noise).max()
    assert np.array_equal(x, sample(PAIR, 500, [0.0, 1.0], PAIR_THETA, np.random.default_rng(5), **options))


@pytest.mark.eq("26.1", "26.9")
def test_points_lie_where_the_density_says():
    n, x = 4000, np.linspace(-6.0, 6.0, 121)
    points = sample(PAIR, n, [0.0, 1.0], PAIR_THETA, np.random.default_rng(6))
    grid = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    p = np.exp(log_prob(PAIR, grid, [0.0, 1.0], PAIR_THETA)) * (x[1] - x[0]) ** 2
    for g in (lambda y: y[:, 0], lambda y: y[:, 1], lambda y: y[:, 0] * y[:, 1], lambda y: np.sin(2 * y[:, 0])):
        mean, spread = np.sum(p * g(grid)), np.sqrt(np.sum(p * g(grid) ** 2) - np.sum(p * g(grid)) ** 2)
        assert abs(g(points).mean() - mean) <= STANDARD_ERRORS * spread / np.sqrt(n)


# -- Hutchinson's estimate ----------------------------------------------------------------------------------


@pytest.mark.eq("26.3", "26.4")
@given(st.integers(1, 4).flatmap(lambda d: arrays((d, d))))
def test_over_all_signs_one_probe_has_the_trace_for_mean_and_the_variance_of_the_formula(A):
    v = all_signs(len(A))
    estimates = np.einsum("ki,ij,kj->k", v, A, v)
    assert_agree(estimates.mean(), np.trace(A), ROUND_OFF)
    assert_agree(estimates.var(), noise_variance(A), ROUND_OFF)
    assert_agree(noise_variance(np.stack([A, 2 * A.T])), noise_variance(A) * np.array([1.0, 4.0]), ROUND_OFF)


@pytest.mark.eq("26.3", "26.5", "26.6", "26.7", "26.8")
@pytest.mark.parametrize("f, theta", [(PAIR, PAIR_THETA), (VanDerPol(), np.array([1.2]))])
def test_over_all_signs_the_likelihood_and_its_gradient_are_those_of_the_exact_trace(f, theta):
    t = np.linspace(0.0, 0.6, 4)
    value, exact = negative_log_likelihood(f, POINTS, t, theta, method="rk4")
    parts = [negative_log_likelihood(f, POINTS, t, theta, noise=np.broadcast_to(v, (1, 3, 2)), method="rk4")
             for v in all_signs(2)]
    assert np.std([part[0] for part in parts]) > 1e-3          # or the mean would prove nothing
    assert_agree(np.mean([part[0] for part in parts]), value, ROUND_OFF)
    assert relative_error(np.mean([part[1].theta for part in parts], axis=0), exact.theta, 1.0) <= EXACT
    assert relative_error(np.mean([part[1].y0 for part in parts], axis=0), exact.y0, 1.0) <= EXACT


def test_the_mean_over_random_noise_is_within_its_standard_error():
    t, rng = np.linspace(0.0, 1.0, 2), np.random.default_rng(8)
    _, exact = negative_log_likelihood(PAIR, POINTS, t, PAIR_THETA, method="rk4")
    many = np.tile(POINTS, (10, 1))                            # ten draws at once
    drawn = np.array([negative_log_likelihood(PAIR, many, t, PAIR_THETA, noise=rademacher(rng, 1, many.shape),
                                              method="rk4")[1].theta for _ in range(40)])
    error = drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - exact.theta) <= STANDARD_ERRORS * error + ROUND_OFF)


def test_rademacher_noise_is_signs_of_the_given_shape():
    noise = rademacher(np.random.default_rng(0), 3, (50, 2))
    assert noise.shape == (3, 50, 2) and np.array_equal(np.unique(noise), [-1.0, 1.0])
    assert abs(noise.mean()) <= STANDARD_ERRORS / np.sqrt(noise.size)


@given(st.data(), mlps(SMOOTH), st.sampled_from([(3,), (2, 2)]))
def test_a_batch_is_its_trajectories_one_by_one_each_with_its_noise(data, field, batch):
    f, theta = field
    y, noise = data.draw(arrays((*batch, f.dim))), data.draw(arrays((2, *batch, f.dim)))
    t, options = [0.2, 0.5, 0.7], {"method": "rk4"}
    whole = log_prob(f, y, t, theta, noise=noise, **options)
    assert whole.shape == batch
    for i in np.ndindex(batch):
        assert_agree(whole[i], log_prob(f, y[i], t, theta, noise=noise[(slice(None), *i)], **options), ROUND_OFF)


def test_with_the_exact_trace_each_trajectory_may_take_its_own_steps():
    options = {"rtol": 1e-8, "atol": 1e-8}
    joint = log_prob(PAIR, POINTS, [0.0, 1.0], PAIR_THETA, **options)
    alone = log_prob(PAIR, POINTS, [0.0, 1.0], PAIR_THETA, per_trajectory=True, **options)
    assert_agree(alone, joint, 1e-6)                           # a hundred tolerances


# -- what is refused, and the rest ----------------------------------------------------------------------------


class Silent(Linear):
    """A field that must not be called: input is refused before any work is done."""

    def __call__(self, t, y, theta):
        raise AssertionError("f was called before its arguments were checked")

    vjp = jvp = jacobian = __call__


GOOD = {"f": Silent(2), "y": np.ones((3, 2)), "t": [0.0, 1.0], "theta": np.ones(4)}


@pytest.mark.parametrize("call", [log_prob, negative_log_likelihood])
@pytest.mark.parametrize("bad, error, message", [
    ({"f": np.sin}, TypeError, "f must be a VectorField, with derivatives, not ufunc"),
    ({"y": np.ones((3, 3))}, ValueError, r"y must have shape \(..., 2\) for this field, not \(3, 3\)"),
    ({"y": [[np.nan, 0.0]]}, ValueError, "y must be finite"),
    ({"y": [[1j, 0.0]]}, TypeError, "y must be real, not complex"),
    ({"theta": np.ones(3)}, ValueError, r"theta must have shape \(4,\), not \(3,\)"),
    ({"t": [0.0, 2.0, 1.0]}, ValueError, "t must be monotone"),
    ({"t": []}, ValueError, "t must be a 1-D array of at least one time"),
    ({"noise": np.ones((3, 2))}, ValueError, r"noise must have shape \(K, \*y.shape\), here \(K, 3, 2\), not \(3, 2\)"),
    ({"noise": np.ones((1, 3, 3))}, ValueError, r"noise must have shape \(K, ..., 2\), not \(1, 3, 3\)"),
    ({"noise": np.ones((0, 3, 2))}, ValueError, r"noise must have shape \(K, ..., 2\), not \(0, 3, 2\)"),
    ({"noise": np.full((1, 3, 2), np.inf)}, ValueError, "noise must be finite"),
    ({"noise": np.ones((1, 3, 2)), "per_trajectory": True}, ValueError, "noise needs joint steps"),
    ({"method": "rk5"}, ValueError, "unknown method 'rk5'"),
    ({"rtol": -1.0}, ValueError, "rtol must be non-negative"),
])
def test_unusable_input_is_refused_before_f_is_called(call, bad, error, message):
    with pytest.raises(error, match=message):
        call(**{**GOOD, **bad})


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_the_number_of_points_must_be_positive(n):
    with pytest.raises(ValueError, match=f"n must be a positive integer, not {n}"):
        sample(Silent(2), n, [0.0, 1.0], np.ones(4), np.random.default_rng(0))


def test_a_field_without_second_derivatives_has_a_density_and_says_what_its_gradient_lacks():
    class Bare(Linear):
        vjp_derivative = VectorField.vjp_derivative

    A = np.array([0.1, 1.0, -2.0, 0.3])
    assert np.isfinite(log_prob(Bare(2), POINTS, [0.0, 1.0], A)).all()

    class Unasked(Silent):
        vjp_derivative = VectorField.vjp_derivative

    with pytest.raises(TypeError, match="f must have second derivatives, but Unasked does not define"):
        negative_log_likelihood(Unasked(2), POINTS, [0.0, 1.0], A)


@pytest.mark.parametrize("name, sees", [("relu", False), ("tanh", True)])
def test_the_gradient_of_the_likelihood_does_not_see_the_jumps_of_a_trace_with_kinks(name, sees):
    f, y = MLP([2, 8, 2], [name, "identity"]), np.random.default_rng(0).normal(size=(200, 2))
    theta, move, s = f.init(np.random.default_rng(1)), np.eye(f.n_params)[18], np.linspace(0.0, 0.3, 31)
    found = [negative_log_likelihood(f, y, np.linspace(0.0, 1.0, 3), theta + x * move, method="rk4") for x in s]
    values, slopes = np.array([value for value, _ in found]), np.array([part.theta @ move for _, part in found])
    missed = abs(values[-1] - values[0] - np.sum(slopes[1:] + slopes[:-1]) / 2 * (s[1] - s[0]))
    assert (missed <= 1e-5) == sees and missed <= 1.0


def test_a_solve_that_fails_is_a_solver_error_with_what_was_reached():
    with pytest.raises(SolverError) as caught:
        log_prob(CubicSpiral(), np.full((1, 2), 3.0), [5.0, 0.0], np.array([1.0, 0.0, 0.0, 1.0]))
    assert np.isfinite(caught.value.solution.ys).all()


def test_no_argument_is_written_to():
    y, theta, t, noise = POINTS.copy(), PAIR_THETA.copy(), np.array([0.0, 1.0]), np.ones((1, 3, 2))
    for array in (y, theta, t, noise):
        array.flags.writeable = False
    log_prob(PAIR, y, t, theta, noise=noise, method="rk4")
    negative_log_likelihood(PAIR, y, t, theta, noise=noise, method="rk4")
    sample(PAIR, 3, t, theta, np.random.default_rng(0), method="rk4")


def test_the_likelihood_of_the_flow_of_any_field_can_be_made_larger():
    f, theta = LotkaVolterra(), np.array([0.5, 0.3, 0.4, 0.2])
    value, found = negative_log_likelihood(f, POINTS, [0.0, 1.0], theta)
    smaller, _ = negative_log_likelihood(f, POINTS, [0.0, 1.0], theta - 0.01 * found.theta)
    assert smaller < value
    value_and_gradients(lambda ys: (0.0, 0 * ys), Flow(f), np.zeros(3), [0.0, 1.0], theta)


def test_a_sample_wants_a_generator_and_a_number():
    f, theta = Linear(2), np.zeros(4)
    with pytest.raises(TypeError, match="rng must be a NumPy Generator, .*, not 0"):
        sample(f, 3, [0.0, 1.0], theta, 0)
    with pytest.raises(ValueError, match="n must be a positive integer, not 2.5"):
        sample(f, 2.5, [0.0, 1.0], theta, np.random.default_rng(0))

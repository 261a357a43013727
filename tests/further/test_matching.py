"""Matching: its gradients by complex step, its minimisers the known velocity and score, what they carry where it should go."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import norm

from minode import MLP, DiffusedMixture, Linear, VectorField, check_field, fit, log_prob, odeint
from minode.further.matching import (ScoreFlow, diffused, flow_matching, line, marginal_velocity, pairs, score_matching,
                                     straightness)
from minode.gradients.checks import complex_step
from tests.strategies import arrays

ROUND_OFF = 1e-12
QUADRATURE = 1e-9          # of Gauss and Hermite's rule with 160 nodes, for a u that is no polynomial
TOLERANCE = 1e-9           # of the solver
SOLVED = 1e-6              # what a solve at that tolerance may be off at the end
STANDARD_ERRORS = 5
W, MU, S = np.array([0.3, 0.7]), np.array([[-1.0], [1.5]]), np.array([0.5, 0.8])
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(160)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
TIMES = [0.1, 0.5, 0.9]


def joint():
    """Nodes (m, 1), (m, 1) and weights (m,) of noise and data that are independent, for means over both."""
    noise, data = [], []
    weights = []
    for w, mu, s in zip(W, MU[:, 0], S):
        z, x = np.meshgrid(NODES, mu + s * NODES)
        noise, data = [*noise, z.ravel()], [*data, x.ravel()]
        weights.append(w * np.outer(WEIGHTS, WEIGHTS).ravel())
    return np.concatenate(noise)[:, None], np.concatenate(data)[:, None], np.concatenate(weights)


SEEN_BY = [np.ones_like, lambda x: x, lambda x: x**2, np.sin, np.tanh]


# -- the path and the velocity that it has on average ------------------------------------------------------


@pytest.mark.eq("30.1")
def test_the_line_begins_with_noise_ends_with_data_and_has_the_velocity_of_its_slope():
    x0, x1, t = np.ones((3, 2)), np.arange(6.0).reshape(3, 2), np.array([0.0, 1.0, 0.25])
    x, v = line(x0, x1, t)
    assert np.array_equal(x[0], x0[0]) and np.array_equal(x[1], x1[1])
    assert np.array_equal(x[2], 0.75 * x0[2] + 0.25 * x1[2])
    assert np.allclose(complex_step(lambda t: line(x0, x1, t)[0], t, np.ones(3)), v, rtol=0, atol=ROUND_OFF)


@pytest.mark.eq("30.1", "30.4")
@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("g", SEEN_BY)
def test_the_marginal_velocity_is_the_mean_of_the_velocities_that_pass(t, g):
    x0, x1, weights = joint()
    x, v = line(x0, x1, np.full(len(x0), t))
    u = marginal_velocity(t, x, W, MU, S)
    assert abs(weights @ ((v - u) * g(x))[:, 0]) < QUADRATURE           # for every g: u is the conditional mean


@pytest.mark.eq("30.4")
def test_the_flow_of_the_marginal_velocity_carries_noise_to_the_data():
    x0 = norm.ppf(np.linspace(0.02, 0.98, 25))[:, None]
    x1 = odeint(lambda t, x: marginal_velocity(t, x, W, MU, S), x0, [0.0, 1.0], method="dop853", rtol=TOLERANCE,
                atol=TOLERANCE)[-1]
    share = sum(w * norm.cdf(x1, mu, s) for w, mu, s in zip(W, MU[:, 0], S))
    assert np.abs(share - norm.cdf(x0)).max() < SOLVED                  # in one dimension nobody overtakes


@pytest.mark.eq("30.4")
def test_times_and_points_may_be_batches_in_any_number_of_dimensions():
    rng = np.random.default_rng(0)
    w, mu, s = np.ones(3) / 3, rng.normal(size=(3, 2)), rng.uniform(0.5, 1.0, 3)
    t, x = rng.random((4, 5)), rng.normal(size=(4, 5, 2))
    whole = marginal_velocity(t, x, w, mu, s)
    each = [[marginal_velocity(t[i, j], x[i, j], w, mu, s) for j in range(5)] for i in range(4)]
    assert whole.shape == x.shape and np.allclose(whole, each, rtol=0, atol=ROUND_OFF)


# -- flow matching -----------------------------------------------------------------------------------------


@pytest.mark.eq("30.1", "30.2", "30.3")
@given(arrays(43, bound=1.0), st.integers(1, 6))
def test_the_gradient_of_the_loss_is_that_by_complex_step(theta, n):
    f = MLP([4, 5, 3], ["tanh", "tanh"])
    rng = np.random.default_rng(n)
    x0, x1, t = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), rng.random(n)

    def loss(theta):
        return np.mean(np.sum((f(t, (1 - t[:, None]) * x0 + t[:, None] * x1, theta) - (x1 - x0)) ** 2, axis=1))
    L, gradient = flow_matching(f, (x0, x1, t), theta)
    expected = np.array([complex_step(loss, theta, e) for e in np.eye(43)])
    assert abs(L - loss(theta)) < ROUND_OFF * (1 + L)
    assert np.allclose(gradient, expected, rtol=0, atol=ROUND_OFF * (1 + np.abs(expected).max()))


class Affine(VectorField):
    """θ₀ + θ₁ y at any time."""

    dim, n_params = 1, 2

    def __call__(self, t, y, theta):
        return theta[0] + theta[1] * y

    def jacobian(self, t, y, theta):
        return np.broadcast_to(theta[1], (*y.shape, 1))

    def param_jacobian(self, t, y, theta):
        return np.stack([np.ones_like(y), y], axis=-1)

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


@pytest.mark.eq("30.2", "30.3", "30.4")
@pytest.mark.parametrize("t", TIMES)
def test_the_minimiser_of_the_loss_is_the_marginal_velocity(t):
    n, rng = 100_000, np.random.default_rng(0)
    mu, s = 1.5, 0.7
    triples = rng.normal(size=(n, 1)), mu + s * rng.normal(size=(n, 1)), np.full(n, t)
    at_0, along = flow_matching(Affine(), triples, np.zeros(2))[1], np.zeros((2, 2))
    for i, e in enumerate(np.eye(2)):
        along[:, i] = flow_matching(Affine(), triples, e)[1] - at_0     # the loss is quadratic
    theta = np.linalg.solve(along, -at_0)
    x = np.array([[0.0], [1.0]])
    known = marginal_velocity(t, x, [1.0], [[mu]], [s])
    assert np.abs(Affine()(t, x, theta) - known).max() < STANDARD_ERRORS * 2 / np.sqrt(n) * 2


@pytest.mark.eq("30.2")
@pytest.mark.parametrize("t", TIMES)
def test_the_loss_is_the_distance_from_the_marginal_velocity_and_something_that_theta_is_not_in(t):
    x0, x1, weights = joint()
    x, v = line(x0, x1, np.full(len(x0), t))
    u = marginal_velocity(t, x, W, MU, S)

    def mean_square(difference):
        return weights @ (difference**2)[:, 0]
    for theta in ([0.3, -1.0], [2.0, 0.7]):
        f = Affine()(t, x, np.array(theta))
        assert abs(mean_square(f - v) - mean_square(f - u) - mean_square(u - v)) < QUADRATURE * mean_square(f - v)
    assert mean_square(u - v) > 0.1                                     # a loss that stays large is no failure


def test_a_network_learns_two_clusters_without_a_solve_and_its_density_is_that_of_chapter_26():
    rng = np.random.default_rng(0)
    data = np.array([-2.0, 2.0])[rng.integers(2, size=1000)][:, None] + 0.3 * rng.normal(size=(1000, 1))
    f = MLP([2, 16, 1], ["tanh", "identity"])
    found = fit(lambda theta, batch: flow_matching(f, batch, theta), f.init(rng), n_steps=1500, data=pairs(data, 128),
                learning_rate=0.02, progress=False)
    x = np.linspace(-4.0, 4.0, 161)[:, None]
    p = np.exp(log_prob(f, x, [0.0, 1.0], found.last))
    assert abs(p.sum() * 0.05 - 1) < 1e-2
    near, between = p[np.abs(np.abs(x[:, 0]) - 2) < 0.01].mean(), p[80]
    assert near > 8 * between and np.abs(odeint(f, rng.normal(size=(500, 1)), [0.0, 1.0], found.last)[-1]).std() < 1.0


def test_triples_are_rows_of_the_data_noise_and_times_and_the_same_ones_from_the_same_seed():
    data = np.arange(10.0).reshape(5, 2)
    draw = pairs(data, 1000)
    x0, x1, t = draw(np.random.default_rng(3))
    assert {tuple(row) for row in x1} == {tuple(row) for row in data}
    assert abs(x0.mean()) < 0.1 < 0.9 < x0.std() < 1.1 and 0 <= t.min() < 0.05 < 0.95 < t.max() < 1
    assert all(np.array_equal(a, b) for a, b in zip(draw(np.random.default_rng(3)), (x0, x1, t)))
    x0, x1, _ = pairs((data + 100, data), 50)(np.random.default_rng(0))
    assert np.array_equal(x0, x1 + 100)                                 # pairs that a flow has made stay together


# -- score matching ------------------------------------------------------------------------------------------


MIXTURE = DiffusedMixture(1, 2)
THETA = MIXTURE.pack(W, MU, S)


class Score(VectorField):
    """The score of a `DiffusedMixture`, as a field."""

    def __init__(self, f):
        self.f, self.dim, self.n_params = f, f.dim, f.n_params

    def __call__(self, t, y, theta):
        return self.f.score(t, y, theta)

    def jacobian(self, t, y, theta):
        return self.f.score_jacobian(t, y, theta)

    def param_jacobian(self, t, y, theta):
        return -self.f.param_jacobian(t, y, theta)

    def time_derivative(self, t, y, theta):
        return -self.f.time_derivative(t, y, theta)


@pytest.mark.eq("30.5", "30.6")
@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("g", SEEN_BY)
def test_the_score_is_the_mean_of_what_the_network_is_asked_to_guess(t, g):
    xi, x0, weights = joint()
    x, root_v = diffused(x0, xi, np.full(len(x0), t))
    assert np.allclose(root_v, np.sqrt(1 - np.exp(-2 * t)), rtol=ROUND_OFF)
    left_over = root_v * MIXTURE.score(t, x, THETA) + xi
    assert abs(weights @ (left_over * g(x))[:, 0]) < QUADRATURE


@pytest.mark.eq("30.5")
def test_what_is_diffused_has_the_moments_of_chapter_27():
    xi, x0, weights = joint()
    x, _ = diffused(x0, xi, np.full(len(x0), 0.4))
    m, v = MIXTURE.normals(0.4, THETA)
    assert abs(weights @ x[:, 0] - W @ m[:, 0]) < ROUND_OFF
    assert abs(weights @ x[:, 0] ** 2 - W @ (v + m[:, 0] ** 2)) < 100 * ROUND_OFF


@pytest.mark.eq("30.5", "30.6")
@given(arrays(43, bound=1.0), st.integers(1, 6))
def test_the_gradient_of_the_score_matching_loss_is_that_by_complex_step(theta, n):
    s = MLP([4, 5, 3], ["tanh", "tanh"])
    rng = np.random.default_rng(n)
    xi, x0, t = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), 0.01 + rng.random(n)
    root_v = np.sqrt(1 - np.exp(-2 * t))[:, None]

    def loss(theta):
        return np.mean(np.sum((root_v * s(t, np.exp(-t)[:, None] * x0 + root_v * xi, theta) + xi) ** 2, axis=1))
    L, gradient = score_matching(s, (xi, x0, t), theta)
    expected = np.array([complex_step(loss, theta, e) for e in np.eye(43)])
    assert abs(L - loss(theta)) < ROUND_OFF * (1 + L)
    assert np.allclose(gradient, expected, rtol=0, atol=ROUND_OFF * (1 + np.abs(expected).max()))


@pytest.mark.eq("30.7")
def test_driven_by_the_true_score_it_is_the_field_of_chapter_27():
    y, t = np.linspace(-3.0, 3.0, 7)[:, None], 0.3
    f = ScoreFlow(Score(MIXTURE))
    assert np.allclose(f(t, y, THETA), MIXTURE(t, y, THETA), rtol=0, atol=ROUND_OFF)
    value, vjp = f.value_and_vjp(t, y, THETA)
    assert np.array_equal(value, f(t, y, THETA))
    for by, known in zip(vjp(y), MIXTURE.vjp(t, y, THETA, y)):
        assert np.allclose(by, known, rtol=0, atol=10 * ROUND_OFF)
    check_field(f, t, y, THETA)


@pytest.mark.eq("30.7")
def test_driven_by_a_network_it_is_a_field_with_all_its_derivatives():
    s, rng = MLP([3, 6, 2], ["tanh", "identity"]), np.random.default_rng(0)
    f, theta, y, a, w = ScoreFlow(s), s.init(rng), *rng.normal(size=(3, 4, 2))
    check_field(f, 0.3, y, theta)
    dtheta = rng.normal(size=theta.shape)
    for i, found in enumerate(f.vjp_derivative(0.3, y, theta, a, w, dtheta)):
        changed = complex_step(lambda e: f.vjp(0.3, y + e * w, theta + e * dtheta, a)[i], 0.0, 1.0)
        assert np.allclose(found, changed, rtol=0, atol=ROUND_OFF)
    assert np.allclose(log_prob(f, y, [3.0, 0.1], theta), log_prob(f, y, [3.0, 0.1], theta, method="dop853"), atol=1e-4)


# -- straight lines ---------------------------------------------------------------------------------------------


@pytest.mark.eq("30.8")
def test_how_far_from_straight_a_path_is_that_is_known():
    x0, A = np.array([[1.0], [2.0]]), np.array([0.8])
    r = np.e ** 0.8 - 1

    def exactly():                                                      # ∫ (r − 0.8 e^{0.8t})² dt, times E x₀²
        return (r**2 - 2 * r * r + 0.4 * (np.e**1.6 - 1)) * 2.5
    found = [straightness(Linear(1), x0, A, n, rtol=TOLERANCE, atol=TOLERANCE) for n in (16, 32)]
    assert abs(found[1] / exactly() - 1) < 0.01
    assert abs(np.log2(abs(found[0] - exactly()) / abs(found[1] - exactly())) - 2) < 0.1     # the rule's order


@pytest.mark.eq("30.8")
def test_a_constant_velocity_is_straight():
    assert straightness(Affine(), [[1.0], [-2.0]], np.array([0.7, 0.0])) < ROUND_OFF


# -- refused -----------------------------------------------------------------------------------------------------


X, T = np.ones((3, 2)), np.full(3, 0.5)


@pytest.mark.parametrize("call, error, message", [
    (lambda: pairs(np.ones(3), 2), ValueError, "x1 must have shape (N, d) with at least one row, not (3,)"),
    (lambda: pairs(np.ones((0, 2)), 2), ValueError, "x1 must have shape (N, d) with at least one row, not (0, 2)"),
    (lambda: pairs((X, X[:2]), 2), ValueError, "x0 must have shape (2, 2), not (3, 2)"),
    (lambda: pairs(X, 0), ValueError, "n must be a positive integer, not 0"),
    (lambda: pairs(X + np.nan, 1), ValueError, "x1 must be finite"),
    (lambda: flow_matching(lambda t, y, theta: y, (X, X, T), np.ones(4)), TypeError, "must be a VectorField"),
    (lambda: flow_matching(Linear(2), [X, X, T], np.ones(4)), TypeError, "triples must be a tuple of three arrays"),
    (lambda: flow_matching(Linear(2), (X, X), np.ones(4)), TypeError, "triples must be a tuple of three arrays"),
    (lambda: flow_matching(Linear(3), (X, X, T), np.ones(9)), ValueError, "triples[0] must have shape (n, 3), not (3, 2)"),
    (lambda: flow_matching(Linear(2), (X, X[:2], T), np.ones(4)), ValueError, "triples must have shapes"),
    (lambda: flow_matching(Linear(2), (X, X, T[:, None]), np.ones(4)), ValueError, "triples must have shapes"),
    (lambda: flow_matching(Linear(2), (X, X, T), np.ones(3)), ValueError, "theta must have shape (4,), not (3,)"),
    (lambda: flow_matching(Linear(2), (X, 1j * X, T), np.ones(4)), TypeError, "triples[1] must be real"),
    (lambda: score_matching(Linear(2), (X, X, 0 * T), np.ones(4)), ValueError, "must be positive"),
    (lambda: marginal_velocity(0.5, X, [1.0, -1.0], X[:2], [1.0, 1.0]), ValueError, "weights must be positive numbers"),
    (lambda: marginal_velocity(0.5, X, [1.0, 1.0], X, [1.0, 1.0]), ValueError, "means must have shape (2, d), not (3, 2)"),
    (lambda: marginal_velocity(0.5, X, [1.0], X[:1], [0.0]), ValueError, "deviations must be positive"),
    (lambda: ScoreFlow(np.sin), TypeError, "must be a VectorField"),
    (lambda: straightness(Linear(1), [[1.0]], np.zeros(1), n=0), ValueError, "n must be a positive integer, not 0"),
])
def test_what_cannot_be_matched_is_refused_by_name(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)

"""The probability flow: its derivatives by complex step, its densities known, its marginals those of the paths."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad
from scipy.stats import ks_2samp, kstest, multivariate_normal, norm, spearmanr

from minode import check_field, check_gradients, odeint
from minode.gradients.checks import complex_step
from minode.learning.diffusion import DiffusedMixture, euler_maruyama
from minode.learning.flows import Flow, log_prob, negative_log_likelihood, sample, standard_normal
from tests.gradients.problems import SLOPE
from tests.strategies import arrays, assert_agree, batches, complex_columns

ROUND_OFF = 1e-12          # exponents up to some tens: a few thousand roundings of the largest entry
SECOND = 1e-11             # second derivatives, whose sums cancel by a further 1/v
TOLERANCE = 1e-9           # of the solver
SOLVED = 1e-6              # what a solve at that tolerance may be off after e^T-fold growth, T = 5 or less
UNLIKELY = 1e-3            # a p-value smaller than this in a test with a fixed seed is taken for a mistake
STANDARD_ERRORS = 5
FORGOTTEN = 6.0            # time after which e^{−2t} is 6e-6: the density is the standard normal
LINE = DiffusedMixture(1, 3)
LINE_THETA = LINE.pack([0.5, 0.3, 0.2], [[-2.0], [0.5], [2.5]], [0.3, 0.2, 0.5])


@st.composite
def mixtures(draw):
    """A mixture in one to three dimensions, and a θ for it."""
    f = DiffusedMixture(draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return f, draw(arrays(f.n_params, bound=1.0))


def times(batch):
    """Times at which no v_k is near 0, for log s_k of at least −1: one for all, or each its own."""
    return st.one_of(st.floats(0, 2), arrays(batch, bound=1.0).map(np.abs))


def density(f, t, x, theta):
    """p(t, x) by SciPy, from the parameters as they are."""
    log_w, mu, log_s = theta[:f.components], theta[f.components:-f.components], theta[-f.components:]
    w, mu = np.exp(log_w) / np.exp(log_w).sum(), mu.reshape(f.components, f.dim)
    covariances = np.exp(-2 * t) * np.exp(2 * log_s) + 1 - np.exp(-2 * t)
    return sum(w_k * multivariate_normal(np.exp(-t) * m, v).pdf(x) for w_k, m, v in zip(w, mu, covariances))


def cumulative(t):
    """The distribution function of the mixture LINE at time t."""
    w, mu, s = np.exp(LINE_THETA[:3]), LINE_THETA[3:6], np.exp(LINE_THETA[6:])
    return lambda x: norm.cdf(x[..., None], np.exp(-t) * mu, np.sqrt(np.exp(-2 * t) * (s**2 - 1) + 1)) @ w


# -- exact ---------------------------------------------------------------------------------------------


@pytest.mark.eq("27.4", "27.8")
@pytest.mark.parametrize("t", [0.0, 1e-8, 1.0, 20.0, 100.0])
@pytest.mark.parametrize("log_s", [-5.0, 1e-9, 1e-5, 2.0])
def test_the_last_changes_of_a_density_that_is_almost_normal_have_all_their_digits(t, log_s):
    f, y = DiffusedMixture(1, 1), np.array([0.7])                     # about 0: only v moves, and f_t = y v'/v² … of u = −y/v
    got = f.time_derivative(t, y, np.array([0.3, 0.0, log_s]))
    v, rate = np.exp(-2 * t + 2 * log_s) - np.expm1(-2 * t), -2 * np.exp(-2 * t) * np.expm1(2 * log_s)
    assert abs(got[0] + y[0] * rate / v**2) <= ROUND_OFF * abs(got[0])


@pytest.mark.eq("27.5")
@given(st.data(), mixtures())
def test_the_density_is_that_of_the_mixture(data, mixture):
    f, theta = mixture
    t, x = data.draw(st.floats(0, 2)), data.draw(arrays((4, f.dim)))
    assert_agree(f.log_density(t, x, theta), np.log(np.reshape(density(f, t, x, theta), 4)), ROUND_OFF)


@pytest.mark.eq("27.6")
@given(st.data(), mixtures(), batches)
def test_the_score_is_the_gradient_of_the_logarithm_of_the_density(data, mixture, batch):
    f, theta = mixture
    t, x = data.draw(times(batch)), data.draw(arrays((*batch, f.dim)))
    assert_agree(f.score(t, x, theta), complex_columns(lambda x: f.log_density(t, x, theta), x), ROUND_OFF)


@pytest.mark.eq("27.3", "27.4", "27.5", "27.7", "27.8")
@given(st.data(), mixtures(), batches)
def test_every_derivative_of_the_field_is_that_of_complex_steps(data, mixture, batch):
    f, theta = mixture
    t, x = data.draw(times(batch)), data.draw(arrays((*batch, f.dim)))
    assert_agree(f.jacobian(t, x, theta), complex_columns(lambda x: f(t, x, theta), x), ROUND_OFF)
    assert_agree(f.param_jacobian(t, x, theta), complex_columns(lambda p: f(t, x, p), theta), ROUND_OFF)
    assert_agree(f.time_derivative(t, x, theta), complex_step(lambda t: f(t, x, theta), t, 1.0), ROUND_OFF)


@pytest.mark.eq("27.6", "27.8", "27.10", "27.11", "27.12", "27.13")
@given(st.data(), mixtures(), batches)
def test_the_second_derivatives_are_those_of_complex_steps(data, mixture, batch):
    f, theta = mixture
    t, x, dtheta = data.draw(times(batch)), data.draw(arrays((*batch, f.dim))), data.draw(arrays(f.n_params))
    a, w = data.draw(arrays(x.shape)), data.draw(arrays(x.shape))
    for i, change in enumerate(f.vjp_derivative(t, x, theta, a, w, dtheta)):
        along = complex_step(lambda e: f.vjp(t, x + e * w, theta + e * dtheta, a)[i], 0.0, 1.0)
        assert_agree(change, along, SECOND)


@pytest.mark.eq("26.6", "27.10", "27.11", "27.12", "27.13")
@pytest.mark.parametrize("noise", [None, np.array([[[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]])])
def test_the_likelihood_of_the_flow_has_its_gradient(noise):
    f, theta, rng = DiffusedMixture(2, 2), np.linspace(-1.0, 1.0, 8), np.random.default_rng(6)
    x, t = rng.normal(size=(3, 2)), np.linspace(1.0, 0.0, 4)
    _, found = negative_log_likelihood(f, x, t, theta, noise=noise, method="rk4")
    back, flow = t[::-1], Flow(f, noise)

    def value(theta):
        s = np.concatenate([x, np.zeros((3, 1))], axis=1) + 0j
        end = odeint(flow, s, back, theta, method="rk4")[-1]
        return -np.mean(standard_normal(end[:, :-1]) - end[:, -1])
    assert_agree(found.theta, [complex_step(value, theta, e) for e in np.eye(8)], SECOND)


@pytest.mark.eq("27.1", "27.2")
@given(st.data(), mixtures(), batches)
def test_the_density_solves_the_fokker_planck_equation(data, mixture, batch):
    f, theta = mixture
    t, x = data.draw(times(batch)), data.draw(arrays((*batch, f.dim)))
    rate = complex_step(lambda t: np.exp(f.log_density(t, x, theta)), t, 1.0)
    assert_agree(f.density_rate(t, x, theta), rate, ROUND_OFF)


@pytest.mark.eq("27.1", "27.3")
@given(st.data(), mixtures(), batches)
def test_and_the_continuity_equation_of_the_field_without_noise(data, mixture, batch):
    f, theta = mixture
    t, x = data.draw(times(batch)), data.draw(arrays((*batch, f.dim)))
    rate = complex_step(lambda t: f.log_density(t, x, theta), t, 1.0)
    divergence = np.trace(f.jacobian(t, x, theta), axis1=-2, axis2=-1)
    carried = divergence + np.sum(f(t, x, theta) * f.score(t, x, theta), axis=-1)
    assert_agree(rate, -carried, ROUND_OFF)


@pytest.mark.eq("27.3")
def test_the_drift_is_evaluated_at_the_time_of_the_score():
    class Driven(DiffusedMixture):
        def drift(self, t, y):
            return np.cos(t) * y

    f, x = Driven(1, 3), np.array([[0.3], [-1.0]])
    assert_agree(f(0.4, x, LINE_THETA), np.cos(0.4) * x - LINE.score(0.4, x, LINE_THETA), ROUND_OFF)


def test_the_checks_of_chapter_22_pass():
    x = np.array([[0.3], [-2.1], [1.7]])
    assert all(row.ok for row in check_field(LINE, 0.4, x, LINE_THETA))
    assert all(row.ok for row in check_gradients(LINE, x, [0.1, 0.5, 1.0], LINE_THETA, method="rk4"))


@pytest.mark.eq("27.5", "27.6")
@pytest.mark.parametrize("s", [1e-5, 1e-6, 1e-8, 1e-12])
def test_a_narrow_component_keeps_all_its_digits_at_the_start(s):
    f, y = DiffusedMixture(1, 1), np.array([5 * s])
    theta = f.pack([1.0], [[0.0]], [s])
    known = norm.logpdf(5 * s, 0.0, s)
    assert abs(f.log_density(0.0, y, theta) - known) <= ROUND_OFF * abs(known)     # 1 − e⁻²ᵗ as it is, not s² + 1 − 1
    assert_agree(s * f.score(0.0, y, theta), [-5.0], ROUND_OFF)


@pytest.mark.eq("27.3", "27.5", "27.6")
def test_the_mean_of_what_a_network_learns_to_guess_is_the_score():
    """−ξ/√v in x = e⁻ᵗ x₀ + √v ξ, weighed with functions of x, has the means that the score has (Vincent 2011)."""
    n, t, rng = 40_000, 0.5, np.random.default_rng(9)
    x0, xi, v = LINE.draw(n, 0.0, LINE_THETA, rng)[:, 0], rng.normal(size=n), 1 - np.exp(-2 * t)
    x = np.exp(-t) * x0 + np.sqrt(v) * xi
    score = LINE.score(t, x[:, None], LINE_THETA)[:, 0]
    assert kstest(x, cumulative(t)).pvalue > UNLIKELY
    for weight in (np.sin(2 * x), x, np.exp(-x * x), (x > 0.3).astype(float)):
        off = (-xi / np.sqrt(v) - score) * weight
        assert abs(off.mean()) <= STANDARD_ERRORS * off.std() / np.sqrt(n)
        assert abs(np.mean((xi / np.sqrt(v) - score) * weight)) > STANDARD_ERRORS * off.std() / np.sqrt(n)


@pytest.mark.eq("27.6")
def test_a_point_far_from_every_component_has_a_finite_density_and_the_score_of_the_nearest():
    x = np.array([[1e3], [-1e3]])
    assert_agree(LINE.score(0.0, x, LINE_THETA)[0], (2.5 - x[0]) / 0.5**2, ROUND_OFF)
    assert np.isfinite(LINE.log_density(0.0, x, LINE_THETA)).all() and (LINE.log_density(0.0, x, LINE_THETA) < -1e5).all()


# -- the flow, and its exact density ------------------------------------------------------------------------


@pytest.mark.eq("26.1", "26.9", "27.3")
@pytest.mark.parametrize("f, theta", [(LINE, LINE_THETA), (DiffusedMixture(2, 2), np.linspace(-1.0, 1.0, 8))])
def test_the_density_carried_by_the_flow_is_the_known_one(f, theta):
    x, end = np.random.default_rng(0).normal(size=(20, f.dim)), 2.0
    known = f.log_density(0.0, x, theta)
    tight = {"method": "dop853", "rtol": TOLERANCE, "atol": TOLERANCE}
    got = log_prob(f, x, [end, 0.0], theta, base=lambda z: f.log_density(end, z, theta), **tight)
    assert_agree(got, known, SOLVED)
    from_noise = log_prob(f, x, [FORGOTTEN, 0.0], theta, **tight)
    assert_agree(from_noise, known, 30 * np.exp(-FORGOTTEN))       # e^{−t} μ z is what is not forgotten


@pytest.mark.eq("26.2", "27.3")
def test_by_the_classical_method_it_is_found_with_order_four():
    x = np.array([[0.3], [-1.1], [1.4]])
    known = LINE.log_density(0.1, x, LINE_THETA)

    def error(n):
        got = log_prob(LINE, x, np.linspace(1.6, 0.1, n + 1), LINE_THETA, method="rk4",
                       base=lambda z: LINE.log_density(1.6, z, LINE_THETA))
        return np.abs(got - known).max()
    assert abs(np.log2(error(60) / error(120)) - 4) <= SLOPE


@pytest.mark.eq("27.3")
def test_integrated_back_from_noise_it_samples_the_mixture():
    points = sample(LINE, 2000, [FORGOTTEN, 0.0], LINE_THETA, np.random.default_rng(1))
    assert kstest(points[:, 0], cumulative(0.0)).pvalue > UNLIKELY


@pytest.mark.eq("27.3")
def test_in_one_dimension_the_flow_keeps_every_quantile():
    x = np.linspace(-3.0, 4.0, 30)
    t = np.array([0.0, 0.2, 1.0])
    ys = odeint(LINE, x[:, None], t, LINE_THETA, rtol=TOLERANCE, atol=TOLERANCE)
    for time, y in zip(t, ys):
        assert_agree(cumulative(time)(y[:, 0]), cumulative(0.0)(x), SOLVED)


# -- paths --------------------------------------------------------------------------------------------------


@pytest.mark.eq("27.1", "27.9")
def test_random_paths_and_the_flow_have_the_same_marginals():
    n, rng = 4000, np.random.default_rng(2)
    t = np.linspace(0.0, 1.0, 201)
    start = LINE.draw(n, 0.0, LINE_THETA, rng)
    paths = euler_maruyama(LINE.drift, start, t, rng)
    flow = odeint(LINE, LINE.draw(n, 0.0, LINE_THETA, rng), t[::100], LINE_THETA)
    for i, time in enumerate(t[::100]):
        random, carried = paths[100 * i, :, 0], flow[i, :, 0]
        assert ks_2samp(random, carried).pvalue > UNLIKELY
        assert kstest(random, cumulative(time)).pvalue > UNLIKELY
        assert kstest(carried, cumulative(time)).pvalue > UNLIKELY
        w, (m, v) = np.exp(LINE_THETA[:3]), LINE.normals(time, LINE_THETA)
        mean, second = w @ m[:, 0], w @ (v + m[:, 0] ** 2)
        fourth = w @ (m[:, 0] ** 4 + 6 * m[:, 0] ** 2 * v + 3 * v**2)
        for x in (random, carried):
            assert abs(x.mean() - mean) <= STANDARD_ERRORS * np.sqrt((second - mean**2) / n)
            assert abs(np.mean(x**2) - second) <= STANDARD_ERRORS * np.sqrt((fourth - second**2) / n)
    order = np.argsort(flow[0, :, 0])                          # as many are everywhere, but not the same ones:
    assert np.all(np.diff(flow[-1, order, 0]) > 0) and spearmanr(*paths[[0, -1], :, 0]).statistic < 0.9


@pytest.mark.eq("27.9")
def test_the_variance_that_it_tends_to_is_wrong_by_a_multiple_of_h():
    n, h = 4000, 0.5
    paths = euler_maruyama(lambda t, y: -y, np.zeros(n), h * np.arange(41), np.random.default_rng(4))
    assert abs(paths[-1].var() - 1 / (1 - h / 2)) <= STANDARD_ERRORS * 1 / (1 - h / 2) * np.sqrt(2 / n)
    assert abs(paths[-1].var() - 1) > STANDARD_ERRORS * np.sqrt(2 / n)


@pytest.mark.eq("27.9")
@given(arrays((2, 3)), st.lists(st.floats(0.01, 0.5), min_size=1, max_size=4), st.integers(0, 5))
def test_a_path_is_the_recursion_with_the_noise_of_its_generator(y0, steps, seed):
    t = 0.3 + np.concatenate([[0.0], np.cumsum(steps)])
    ys = euler_maruyama(lambda t, y: np.cos(t) * y, y0, t, np.random.default_rng(seed))
    rng, y = np.random.default_rng(seed), y0
    assert ys.shape == (len(t), 2, 3) and np.array_equal(ys[0], y0)
    for n in range(len(steps)):
        h = t[n + 1] - t[n]
        y = y * (1 + h * np.cos(t[n])) + (2 * h) ** 0.5 * rng.normal(size=(2, 3))
        assert_agree(ys[n + 1], y, ROUND_OFF)


@pytest.mark.eq("27.9")
def test_for_a_linear_drift_the_density_of_the_numbers_is_known_and_is_tested():
    n, h, steps = 4000, 0.1, 12
    ys = euler_maruyama(lambda t, y: -y, np.full((n, 1), 1.5), h * np.arange(steps + 1.0), np.random.default_rng(3))
    shrink = (1 - h) ** 2
    variance = 2 * h * (1 - shrink**steps) / (1 - shrink)      # of v ← (1 − h)² v + 2h from 0
    assert kstest(ys[-1, :, 0], norm(1.5 * (1 - h) ** steps, variance**0.5).cdf).pvalue > UNLIKELY


class OneEach(np.random.Generator):
    """Noise that is 1 in step n of path n, and 0 elsewhere: what each of the ξ_n contributes, without chance."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))
        self.n = 0

    def normal(self, size):
        noise = np.zeros(size)
        noise[self.n], self.n = 1.0, self.n + 1
        return noise


@pytest.mark.eq("27.1", "27.9")
def test_the_density_of_the_numbers_is_right_to_first_order_in_h():
    start, end, x = 1.5, 2.0, np.linspace(-12.0, 12.0, 241)
    mean = start * np.exp(np.sin(end))                         # of dx = cos t x dt + √2 dW
    variance = quad(lambda s: 2 * np.exp(2 * (np.sin(end) - np.sin(s))), 0.0, end, epsabs=1e-12)[0]

    def error(n):
        y0 = np.zeros((n + 1, 1))                              # a path for each ξ_n, and one for the mean
        y0[n] = start
        ys = euler_maruyama(lambda t, y: np.cos(t) * y, y0, np.linspace(0.0, end, n + 1), OneEach())
        density = norm(ys[-1, n, 0], np.sqrt(np.sum(ys[-1, :n, 0] ** 2))).pdf(x)
        return np.abs(density - norm(mean, np.sqrt(variance)).pdf(x)).max()
    errors = np.array([error(n) for n in (80, 160, 320)])
    assert np.abs(np.log2(errors[:-1] / errors[1:]) - 1).max() <= SLOPE


@pytest.mark.eq("27.5")
@pytest.mark.parametrize("t", [0.0, 0.7])
def test_points_are_drawn_from_the_density(t):
    points = LINE.draw(3000, t, LINE_THETA, np.random.default_rng(4))
    assert points.shape == (3000, 1) and kstest(points[:, 0], cumulative(t)).pvalue > UNLIKELY


# -- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes, message", [
    ((0, 2), "dim must be a positive integer, not 0"), ((2, 0), "components must be a positive integer, not 0"),
    ((2, 1.5), "components must be a positive integer, not 1.5")])
def test_sizes_that_are_not_positive_integers_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        DiffusedMixture(*sizes)


@pytest.mark.parametrize("bad, message", [
    ({"weights": [0.5, 0.5, 0.0]}, r"weights must be positive, not \[0.5 0.5 0. \]"),
    ({"weights": [0.5, 0.5]}, r"weights must have shape \(3,\), not \(2,\)"),
    ({"means": [0.0, 1.0, 2.0]}, r"means must have shape \(3, 1\), not \(3,\)"),
    ({"deviations": [1.0, -1.0, 1.0]}, r"deviations must be positive"),
    ({"deviations": [1.0, np.nan, 1.0]}, r"deviations must be finite"),
])
def test_parameters_of_no_mixture_are_refused(bad, message):
    good = {"weights": np.ones(3), "means": np.zeros((3, 1)), "deviations": np.ones(3)}
    with pytest.raises(ValueError, match=message):
        LINE.pack(**{**good, **bad})


@pytest.mark.parametrize("y, theta", [
    (np.zeros(3), LINE_THETA), (np.zeros((4, 2)), LINE_THETA), (np.float64(0.0), LINE_THETA),
    (np.zeros(1), LINE_THETA[:-1]), (np.zeros(1), np.append(LINE_THETA, 0.0))])
def test_states_and_parameters_of_another_size_are_refused_and_not_spread(y, theta):
    for call in (LINE, LINE.log_density, LINE.score, LINE.jacobian):
        with pytest.raises(ValueError, match=r"y and theta must have shapes \(..., 1\) and \(9,\), not"):
            call(0.3, y, theta)


@pytest.mark.parametrize("bad, error, message", [
    ({"t": [1.0, 0.0]}, ValueError, r"t must increase, for noise is not undone going back"),
    ({"t": [0.0, 1.0, 0.5]}, ValueError, "t must be monotone"),
    ({"y0": [np.nan]}, ValueError, "y0 must be finite"),
    ({"y0": [1j]}, TypeError, "y0 must be real"),
])
def test_a_path_is_refused_before_the_drift_is_called(bad, error, message):
    def silent(t, y):
        raise AssertionError("the drift was called before its arguments were checked")
    with pytest.raises(error, match=message):
        euler_maruyama(**{"g": silent, "y0": [0.0], "t": [0.0, 1.0], "rng": np.random.default_rng(0), **bad})


@pytest.mark.parametrize("g, error, message", [
    (lambda t, y: 0.0, ValueError, r"g\(t, y\) must have shape \(3, 1\), not \(\)"),
    (lambda t, y: y[:1], ValueError, r"must have shape \(3, 1\), not \(1, 1\)"),
    (lambda t, y: np.where(t > 0.4, np.nan, 1.0) * y, ValueError, r"g\(t, y\) must be finite"),
    (lambda t, y: y + 1j, TypeError, r"g\(t, y\) must be real"),
])
def test_a_drift_of_another_shape_or_that_is_no_number_is_refused_and_not_spread_over_the_state(g, error, message):
    with pytest.raises(error, match=message):
        euler_maruyama(g, np.ones((3, 1)), [0.0, 0.5, 1.0], np.random.default_rng(0))


def test_a_drift_that_writes_to_its_argument_does_not_change_the_path():
    ys = euler_maruyama(lambda t, y: y.__imul__(-1.0), np.ones((1, 1)), [0.0, 0.5], np.random.default_rng(0))
    assert ys[0] == 1.0


@pytest.mark.parametrize("call", [lambda t: LINE(t, np.zeros(1), LINE_THETA), lambda t: LINE.log_density(t, np.zeros(1), LINE_THETA)])
def test_a_time_before_the_mixture_could_have_been_one_is_refused(call):
    assert np.isfinite(call(-0.01)).all()                      # the narrowest component has s = 0.2
    with pytest.raises(ValueError, match="t = -0.1 is before any density"):
        call(-0.1)

"""The checks are as good as they say, pass what is right, and name what is wrong."""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import (MLP, CubicSpiral, Linear, LotkaVolterra, VanDerPol, VectorField, check_field,
                    check_gradients)
from minode.gradients.checks import (EPSILON, TRUST, allowed, central_difference, complex_step, derivative, estimate,
                                     extrapolated)
from minode.gradients.differences import ladder, samples
from tests.gradients.problems import (DIFFERENCE_TOLERANCE, EPS, PENDULUM, PENDULUM_THETA, ROUND_OFF, SLOPE, ForcedPendulum,
                                      Silent, extrapolated_difference, observed_order)
from tests.strategies import arrays, grids, mlps

PRINTED = 0.05                     # a number of the book that is printed with two digits
AWAY_FROM_ROUNDING = 0.05          # an ε so large that Taylor's error is all there is


def g(x):
    return np.exp(np.sin(3 * x)) / (1 + x**2)


def g_prime(x):
    return g(x) * (3 * np.cos(3 * x) - 2 * x / (1 + x**2))


def test_a_field_and_states_of_float32_are_checked_in_float64():
    f, y = MLP([3, 4, 2], ["tanh", "identity"]), np.ones((3, 2), np.float32)
    theta = f.init(np.random.default_rng(0)).astype(np.float32)
    assert str(check_field(f, 0.3, y, theta)) == str(check_field(f, 0.3, y.astype(float), theta.astype(float)))
    report = check_gradients(f, y, [0.0, 1.0], theta, rtol=1e-3)
    assert str(report) == str(check_gradients(f, y.astype(float), [0.0, 1.0], theta.astype(float), rtol=1e-3))


@pytest.mark.parametrize("written_out", [{"step_size": None}, {"per_trajectory": False}])
def test_a_default_that_is_written_out_changes_nothing(written_out):
    options = {"rtol": 1e-2, "atol": 1e-2}
    assert str(check_gradients(VanDerPol(), [2.0, 0.0], np.linspace(0.0, 1.0, 3), [3.0], **options, **written_out)) \
        == str(check_gradients(VanDerPol(), [2.0, 0.0], np.linspace(0.0, 1.0, 3), [3.0], **options))


@pytest.mark.parametrize("t", [1e9, -1e11, 1e15])
def test_a_field_is_checked_at_large_times_too(t):
    assert check_field(LotkaVolterra(), t, np.array([30.0, 4.0]), np.array([0.5, 0.05, 0.8, 0.02]))


@pytest.mark.eq("22.1")
@pytest.mark.parametrize("x", [-0.4, 0.3, 1.1])
def test_central_differences_are_of_second_order_in_epsilon(x):
    def error(n):
        return abs(central_difference(g, x, 2.0, AWAY_FROM_ROUNDING / n) - 2 * g_prime(x))
    assert abs(observed_order(error, 4) - 2) < SLOPE
    assert central_difference(lambda x: x**2, x, 2.0, 0.5) == pytest.approx(4 * x, rel=ROUND_OFF)


@pytest.mark.eq("22.2")
def test_the_chosen_epsilon_is_near_the_best_and_a_hundred_times_more_or_less_is_worse():
    x = np.linspace(0.1, 1.5, 50)

    def error(epsilon):
        return np.abs(central_difference(np.sin, x, 1.0, epsilon) - np.cos(x)).max()
    assert error(EPSILON) <= DIFFERENCE_TOLERANCE
    assert error(EPSILON) <= 5 * min(error(EPSILON * 4.0**k) for k in range(-8, 9))
    assert min(error(100 * EPSILON), error(EPSILON / 100)) > 20 * error(EPSILON)


@pytest.mark.eq("22.2")
def test_a_function_that_varies_faster_is_differentiated_best_by_a_smaller_epsilon():
    k, x = 1e4, np.linspace(1e-5, 1.4e-4, 200)               # |g| = 1 and |third derivative| = k³; x so small that x ± ε is hardly rounded

    def relative_error(epsilon):
        return np.abs(central_difference(lambda x: np.sin(k * x), x, 1.0, epsilon) / (k * np.cos(k * x)) - 1).max()
    assert relative_error(6e-6) == pytest.approx(6.0e-4, rel=PRINTED)
    assert relative_error(6e-9) == pytest.approx(6.0e-10, rel=PRINTED)
    assert relative_error(EPSILON) == pytest.approx((k * EPSILON)**2 / 6, rel=PRINTED)
    best = (3 * EPS)**(1 / 3) / k                            # as chapter 22 says
    assert relative_error(best) <= DIFFERENCE_TOLERANCE
    assert relative_error(best) <= 5 * min(relative_error(best * 4.0**n) for n in range(-8, 9))
    assert min(relative_error(100 * best), relative_error(best / 100)) > 20 * relative_error(best)


@pytest.mark.eq("22.6")
@pytest.mark.parametrize("x", [-0.4, 0.3, 1.1])
def test_extrapolated_differences_are_of_fourth_order_in_epsilon(x):
    def error(n):
        return abs(extrapolated_difference(g, x, 2.0, AWAY_FROM_ROUNDING / n) - 2 * g_prime(x))
    assert abs(observed_order(error, 4) - 4) < SLOPE


@pytest.mark.eq("22.6")
@pytest.mark.parametrize("f, theta, y0, t, options", [
    (LotkaVolterra(), [0.5, 0.05, 0.8, 0.02], [30.0, 4.0], np.linspace(0.0, 5.0, 51), {"method": "rk4"}),
    (LotkaVolterra(), [0.5, 0.05, 0.8, 0.02], [30.0, 4.0], np.linspace(0.0, 10.0, 11), {}),
    (CubicSpiral(), [-0.1, 2.0, -2.0, -0.1], [2.0, 0.0], np.linspace(0.0, 6.0, 121), {"method": "rk4"}),
    (VanDerPol(), [2.0], [2.0, 0.0], [0.0, 5.0], {"method": "dop853"}),
    (Linear(2), [0.0, 1.0, -4.0, 0.0], [1.0, 2.0], np.linspace(0.0, 2.0, 5), {"rtol": 1e-2, "atol": 1e-2})])
def test_long_solves_and_steps_that_are_chosen_are_no_mistakes(f, theta, y0, t, options):
    assert all(row.ok for row in check_gradients(f, y0, t, theta, **options))


def derivative_at(g, x, size=None):
    """The estimate of g'(x) for a number x, the size of whose terms is |g| if none is given."""
    centre = np.array([g(x)])
    found = derivative(samples(lambda x: np.array([g(x)]), x, ladder(x), centre), np.abs(centre) if size is None else size)
    return [float(part[0]) for part in found]


BENDING = {                                              # g, g', and points from 1e-9 to 1e6, each in its own units
    "exp(40 x)": (lambda x: np.exp(40 * x), lambda x: 40 * np.exp(40 * x), [0.3, -1.0]),
    "tanh(50 x)": (lambda x: np.tanh(50 * x), lambda x: 50 / np.cosh(50 * x)**2, [0.02, 1e-5, 0.0]),
    "sin(377 x)": (lambda x: np.sin(377 * x), lambda x: 377 * np.cos(377 * x), [0.3, 0.02, 20.0]),
    "1/x": (lambda x: 1 / x, lambda x: -1 / x**2, [1e-9, 0.01, 1e6]),
    "x/(K + x)": (lambda x: x / (1e-4 + x), lambda x: 1e-4 / (1e-4 + x)**2, [1e-9, 2e-4, 1.0]),
    "x log x": (lambda x: x * np.log(x), lambda x: 1 + np.log(x), [1e-9, 1e-3, 0.5]),
    "x**3": (lambda x: x**3, lambda x: 3 * x**2, [0.0, 1e-9, 1e6]),
}


@pytest.mark.eq("22.6", "22.8")
@pytest.mark.parametrize("name", BENDING)
def test_an_error_bar_holds_and_is_small_whatever_the_scale_on_which_a_function_bends(name):
    g, g_prime, points = BENDING[name]
    for x in points:
        value, bar, _ = derivative_at(g, x)
        terms = abs(g_prime(x)) + abs(g(x)) / max(abs(x), EPSILON) + 1e-20
        assert abs(value - g_prime(x)) <= TRUST * bar + 8 * EPS * terms       # what g' itself is rounded by
        assert TRUST * bar <= 1e-7 * terms


@pytest.mark.eq("22.8")
def test_an_error_bar_grows_with_what_a_function_is_rounded_by():
    for digits in (1e-5, 1e-8, 1e-11):
        value, bar, _ = derivative_at(lambda x: np.sin(x) + digits * np.sin(1e15 * x), 0.7)    # as good as noise
        assert abs(value - np.cos(0.7)) <= TRUST * bar <= 3e3 * digits ** (2 / 3)
    assert estimate(np.full(9, 2.0), 4.0 ** -np.arange(9), 2, 1e-16).bar == 1e-16              # nothing but u S
    epsilon = 4.0 ** -np.arange(9)
    found = estimate(2 + 1e-9 * (-1.0) ** np.arange(9) / epsilon, epsilon, 2, 0.0)             # rounded by ±1e-9
    assert found.epsilon == 1 and found.bar == pytest.approx(5e-9, rel=1e-6)


@pytest.mark.eq("22.9")
@pytest.mark.parametrize("width", [1e-2, 1e-4, 1e-6])
def test_a_large_step_over_a_narrow_hill_is_not_believed(width):
    x = 0.7 + width / 2
    value, bar, epsilon = derivative_at(lambda x: 1 + np.exp(-((x - 0.7) / width)**2), x)
    expected = -np.exp(-0.25) / width
    assert epsilon < width and abs(value - expected) <= TRUST * bar <= 1e-3 * abs(expected)


@pytest.mark.eq("22.9")
def test_nor_is_one_over_a_hill_so_low_that_it_seems_sure():
    low, narrow = 1e-6, 1e-8
    value, bar, _ = derivative_at(lambda x: 1 + low * np.exp(-((x - 0.7) / narrow)**2), 0.7 + narrow / 2)
    expected = -np.exp(-0.25) * low / narrow
    assert abs(value - expected) <= TRUST * bar <= 0.1 * abs(expected)


@pytest.mark.eq("22.7")
@pytest.mark.parametrize("g, expected", [
    (lambda x: np.exp(x) if x >= 0 else np.nan, 1.0),                         # ends at 0
    (lambda x: np.exp(-x) if x <= 0 else np.nan, -1.0),
    (lambda x: np.exp(x) + (x < 0), 1.0),                                     # jumps at 0, and belongs to the right
    (lambda x: np.exp(x) + (x > 0), 1.0)])
def test_where_a_function_ends_or_jumps_one_side_is_enough(g, expected):
    value, bar, _ = derivative_at(g, 0.0)
    assert abs(value - expected) <= TRUST * bar <= 1e-6


@pytest.mark.eq("22.7")
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_side_is_extrapolated_as_it_should_be(sign):
    def one_sided(x):
        return np.array([np.exp(x) if sign * x >= 0 else np.nan])
    found = derivative(samples(one_sided, 0.0, 8.0 ** -np.arange(1.0, 5), np.ones(1)), np.ones(1))
    assert found.epsilon == 8.0**-2 and abs(found.value - 1) < 8.0**-5              # ε²/8, and not ε/8


@pytest.mark.eq("22.6", "22.7")
def test_one_sided_differences_gain_an_order_by_extrapolation():
    def error(n):
        epsilon = AWAY_FROM_ROUNDING / n
        return abs(extrapolated(*((g(0.3 + e) - g(0.3)) / e for e in (epsilon, epsilon / 4)), r=4, q=1) - g_prime(0.3))
    assert abs(observed_order(error, 8) - 2) < SLOPE


def test_at_a_kink_anything_between_both_slopes_may_be_written():
    def leaky(x):
        return np.array([max(0.0, x) + 0.01 * min(0.0, x)])
    D, error = allowed(samples(leaky, 0.0, ladder(0.0), leaky(0.0)), 0.0, 1.0)
    assert D[0] - error[0] <= 0.01 < 1.0 <= D[0] + error[0] < 1.02             # the sum of both is right too


@pytest.mark.parametrize("right, left, least, most", [(1.0, 0.5, 0.0, 1.5), (1.0, -1.0, -1.0, 1.0), (1.0, -0.5, -0.5, 1.0)])
def test_and_anything_from_0_to_their_sum_but_no_more(right, left, least, most):
    def bent(x):
        return np.array([right * max(0.0, x) + left * min(0.0, x)])
    D, error = allowed(samples(bent, 0.0, ladder(0.0), bent(0.0)), 0.0, 1.0)
    assert abs(D[0] - error[0] - least) < 1e-6 and abs(D[0] + error[0] - most) < 1e-6


@pytest.mark.eq("22.10")
def test_what_is_allowed_covers_what_a_derivative_is_rounded_by():
    def room(g, x, S):
        centre = np.array([g(x)])
        D, allowed_error = allowed(samples(lambda x: np.array([g(x)]), x, ladder(x), centre), S, abs(x) or 1.0)
        return D[0], allowed_error[0]
    D, error = room(lambda x: 2.0**41 * x, 2.0**-30, 2.0**11)                 # exact: u |D| is far more than u S / ε
    assert D == 2.0**41 and EPS * D <= error <= 1e3 * EPS * D
    for x in (1.0, 4096.0):
        D, error = room(lambda x: x, x, 1e6)                                  # a small part of large terms
        assert 50 * EPS * 1e6 / x <= error <= 300 * EPS * 1e6 / x
    assert room(np.exp, 1.0, np.e)[1] >= TRUST * derivative_at(np.exp, 1.0)[1]
    omega, t = 2e6 * np.pi, 2e-6                                              # at its crest: ω t is rounded by u ω t
    D, error = room(lambda t: np.cos(omega * t), t, 1.0)
    assert abs(-omega * np.sin(omega * t) - D) <= error <= 1e3 * EPS * omega**2 * t
    D, error = room(np.exp, 1.0, np.e)
    assert abs(D - np.e) <= error <= 1e-8


@pytest.mark.eq("22.3")
@given(arrays(3), arrays(3))
def test_the_complex_step_is_right_to_round_off(x, v):
    expected = g_prime(x) * v
    assert np.abs(complex_step(g, x, v) - expected).max() <= ROUND_OFF * (1 + np.abs(expected).max())


@pytest.mark.eq("1.2", "1.3", "22.4")
@given(st.data(), mlps(), st.sampled_from([(), (3,), (2, 2)]), st.floats(-2, 2))
def test_every_smooth_network_passes_the_check_of_its_field(data, network, batch, t):
    f, theta = network
    report = check_field(f, t, data.draw(arrays((*batch, f.dim))), theta)
    assert len(report) == 6 and all(row.ok for row in report)


@pytest.mark.eq("22.4", "22.5")
@pytest.mark.parametrize("f, y, theta", [
    (Linear(3), [0.3, -0.5, 1.0], np.cos(np.arange(9.0))),
    (LotkaVolterra(), [1.3, 0.7], [0.5, 0.4, 0.8, 0.3]),
    (VanDerPol(), [1.5, -0.4], [2.0]),
    (CubicSpiral(), [1.2, 0.5], [-0.1, 2.0, -2.0, -0.1]),
    (MLP([3, 4, 2], ["leaky_relu", "relu"]), [0.3, 0.8], 0.5 + 0.1 * np.sin(np.arange(26.0))),
    (PENDULUM, [0.4, -0.3], PENDULUM_THETA),
], ids=lambda value: type(value).__name__ if hasattr(value, "dim") else "")
def test_the_shipped_fields_and_one_of_the_readers_own_pass_both_checks(f, y, theta):
    batch = np.array(y) * np.array([[1.0], [0.9], [1.1]])
    assert all(row.ok for row in check_field(f, 0.4, batch, np.array(theta)))
    assert all(row.ok for row in check_gradients(f, batch, [0.0, 0.1, 0.3], theta, method="rk4"))


@pytest.mark.eq("22.5")
@given(st.data(), mlps(max_layers=2), grids())
def test_every_smooth_network_passes_the_check_of_its_gradients(data, network, t):
    f, theta = network
    report = check_gradients(f, data.draw(arrays((2, f.dim))), t, theta, method="heun")
    assert len(report) == 6 and all(row.ok for row in report)


@pytest.mark.parametrize("f, y, theta", [
    *[(LotkaVolterra(), [n, 0.9 * n], [0.5, 0.5 / n, 0.8, 0.8 / n]) for n in (100.0, 3e3, 1e6)],
    (LotkaVolterra(), [1e6, 0.625e6], [0.5, 0.8e-6, 0.8, 0.8e-6]),              # at rest: f is 0
    *[(Linear(2), [n, -n + 0.01], [1.0, 1.0, -2.0, -2.0]) for n in (1e2, 1e4)]],  # a difference of large terms
    ids=repr)
def test_large_states_and_small_differences_of_large_terms_are_no_mistakes(f, y, theta):
    assert all(row.ok for row in check_field(f, 0.4, np.array(y), np.array(theta)))
    assert all(row.ok for row in check_gradients(f, y, np.linspace(0.0, 1.0, 6), theta, method="rk4"))


def test_a_state_at_rest_is_no_mistake_however_a_batch_is_rounded():
    A = np.random.default_rng(0).normal(size=(5, 5))
    U, s, V = np.linalg.svd(A)
    A = U * [*s[:-1], 0.0] @ V                                   # A y is round-off for the last row of V
    assert all(row.ok for row in check_field(Linear(5), 0.0, V[-1], A.ravel()))
    assert all(row.ok for row in check_gradients(Linear(5), V[-1], [0.0, 1.0], A.ravel(), method="rk4"))


class Robertson(VectorField):
    """Numbers of ten orders of magnitude; `slow` is what the Jacobian takes for the slowest rate."""
    dim, n_params, slow = 3, 3, 1.0

    def __call__(self, t, y, theta):
        a, b, c = np.moveaxis(y, -1, 0)
        rates = theta[0] * a, theta[1] * b * c, theta[2] * b * b
        return np.stack([rates[1] - rates[0], rates[0] - rates[1] - rates[2], rates[2]], axis=-1)

    def jacobian(self, t, y, theta):
        _, b, c = np.moveaxis(y, -1, 0)
        f_y = np.zeros((*y.shape, 3))
        f_y[..., 1, 0], f_y[..., 0, 1], f_y[..., 0, 2] = self.slow * theta[0], theta[1] * c, theta[1] * b
        f_y[..., 2, 1] = 2 * theta[2] * b
        f_y[..., 1, 1:], f_y[..., 0, 0] = -f_y[..., 0, 1:] - f_y[..., 2, 1:], -f_y[..., 1, 0]
        return f_y

    def param_jacobian(self, t, y, theta):
        a, b, c = np.moveaxis(y, -1, 0)
        f_theta = np.zeros((*y.shape, 3))
        f_theta[..., 1, 0], f_theta[..., 0, 1], f_theta[..., 2, 2] = a, b * c, b * b
        f_theta[..., 0, 0], f_theta[..., 1, 1:] = -a, -np.stack([b * c, b * b], axis=-1)
        return f_theta

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


def test_a_small_entry_is_not_lost_among_large_ones():
    y, theta = np.array([0.9, 3e-5, 0.1]), np.array([0.04, 1e4, 3e7])
    assert all(row.ok for row in check_field(Robertson(), 0.0, y, theta))
    for slow in (0.0, 0.5, 0.99):
        wrong = type("Wrong", (Robertson,), {"slow": slow})()
        with pytest.raises(AssertionError, match="f_y, jacobian .* NO"):
            check_field(wrong, 0.0, y, theta)


@pytest.mark.parametrize("tiny", [0.0, 1e-17, 1e-9, 1e-8, 1e-3])
def test_a_component_that_is_nearly_zero_is_moved_all_the_same(tiny):
    class OneEntry(Linear):
        def vjp(self, t, y, theta, a):
            A = theta.reshape(2, 2) * [[1, 1], [-1, 1]]
            return a @ A, super().vjp(t, y, theta, a)[1]
    with pytest.raises(AssertionError, match="a derivative is wrong"):
        check_gradients(OneEntry(2), [tiny, 1.0], [0.0, 0.5, 1.0], np.array([0.0, 0.3, 3.0, -0.2]), method="rk4")


class Transposed(ForcedPendulum):
    def jacobian(self, t, y, theta):
        return np.swapaxes(super().jacobian(t, y, theta), -1, -2)


class WrongSign(ForcedPendulum):
    def param_jacobian(self, t, y, theta):
        return -super().param_jacobian(t, y, theta)


class LostTimeDerivative(ForcedPendulum):
    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


class LostParameters(ForcedPendulum):
    def jvp(self, t, y, theta, w, dtheta):
        return super().jvp(t, y, theta, w, 0 * dtheta)


class TransposedProduct(ForcedPendulum):
    def vjp(self, t, y, theta, a):
        return (self.jacobian(t, y, theta) @ a[..., None])[..., 0], super().vjp(t, y, theta, a)[1]


class StoppedClock(ForcedPendulum):
    def vjp(self, t, y, theta, a):
        return super().vjp(0.0, y, theta, a)


class SumOverTheParameters(ForcedPendulum):
    def vjp(self, t, y, theta, a):
        per_trajectory = np.einsum("...i,...ip->...p", a, self.param_jacobian(t, y, theta))
        return super().vjp(t, y, theta, a)[0], per_trajectory.sum(axis=-1)


class MeanOverTheBatch(ForcedPendulum):
    def vjp(self, t, y, theta, a):
        a_f_y, a_f_theta = super().vjp(t, y, theta, a)
        return a_f_y, a_f_theta / a[..., 0].size


F_Y, F_THETA, F_T = "f_y, jacobian", "f_θ, param_jacobian", "f_t, time_derivative"
JVP, VJP = "f_y w + f_θ Δθ, jvp", "a f_y, a f_θ, vjp against jvp"
FORWARD, BACK_Y0, BACK_THETA = "pushforward, along Δy0 and Δθ", "pullback, dL/dy0", "pullback, dL/dθ"
DUAL, TIME, BACK_T = "pullback against pushforward", "f_t along the solution", "pullback, dL/dt"
BATCH = np.array([[0.4, -0.3], [1.0, 0.2], [-0.7, 0.5]])      # three trajectories and three parameters

MISTAKES = {
    Transposed: ({F_Y, JVP}, {FORWARD, BACK_Y0, BACK_THETA, BACK_T}),
    WrongSign: ({F_THETA, JVP}, {FORWARD, BACK_THETA}),
    LostTimeDerivative: ({F_T}, {TIME, BACK_T}),
    LostParameters: ({JVP, VJP}, {FORWARD, DUAL}),
    TransposedProduct: ({VJP}, {BACK_Y0, BACK_THETA, BACK_T, DUAL}),
    StoppedClock: ({VJP}, {BACK_THETA, DUAL}),
    SumOverTheParameters: ({VJP}, {BACK_THETA, DUAL}),
    MeanOverTheBatch: ({VJP}, {BACK_THETA, DUAL}),
}


def rows_that_say_no(check, *args, **options):
    """The names of the failing rows of the table in the AssertionError, or none if the check passes."""
    try:
        check(*args, **options)
    except AssertionError as error:
        assert str(error).startswith("a derivative is wrong\nwhat ")
        return {line.split("  ")[0] for line in str(error).splitlines() if line.endswith("NO")}
    return set()


@pytest.mark.eq("22.1", "22.4")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_check_field_says_no_in_the_rows_of_a_planted_mistake_and_no_others(mistake):
    assert rows_that_say_no(check_field, mistake(), 0.4, BATCH, PENDULUM_THETA) == MISTAKES[mistake][0]


@pytest.mark.eq("22.1", "22.5")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_check_gradients_says_no_in_the_rows_of_a_planted_mistake_and_no_others(mistake):
    found = rows_that_say_no(check_gradients, mistake(), BATCH, [0.3, 0.7, 1.0], PENDULUM_THETA, method="rk4")
    assert found == MISTAKES[mistake][1]


JVP_Y, JVP_THETA = ("jvp: the term f_y w of (1.2), and so of (16.2)",
                    "jvp: the term f_θ Δθ of (1.2), and so of (16.2)")
VJP_Y, VJP_THETA = ("vjp: the term a f_y of (1.3), and so of (17.2) and (18.2)",
                    "vjp: the term Σ a f_θ of (1.3), and so of (17.3) and (18.4)")


class WrongSignInTheProduct(ForcedPendulum):
    def vjp(self, t, y, theta, a):
        a_f_y, a_f_theta = super().vjp(t, y, theta, a)
        return -a_f_y, a_f_theta


class FirstOfTheBatch(ForcedPendulum):
    def vjp(self, t, y, theta, a):
        each = a[..., None, :] @ self.param_jacobian(t, y, theta)
        return super().vjp(t, y, theta, a)[0], each.reshape(-1, 3)[0]


class LastOfTheBatch(ForcedPendulum):
    def vjp(self, t, y, theta, a):
        each = a[..., None, :] @ self.param_jacobian(t, y, theta)
        return super().vjp(t, y, theta, a)[0], each.reshape(-1, 3)[-1]


class WrongFriction(ForcedPendulum):
    def jacobian(self, t, y, theta):
        f_y = super().jacobian(t, y, theta)
        f_y[..., 1, 1] = 7.0
        return f_y


IN_WORDS = {
    Transposed: ["jacobian: f_y, in (1.2), (1.3) and (18.2) is transposed", f"{JVP_Y} has f_y transposed",
                 f"{VJP_Y} has f_y transposed"],
    WrongSign: ["param_jacobian: f_θ, in (1.2), (1.3) and (18.4) has the wrong sign",
                f"{JVP_THETA} has the wrong sign", f"{VJP_THETA} has the wrong sign"],
    WrongSignInTheProduct: [f"{VJP_Y} has the wrong sign"],
    LostTimeDerivative: ["time_derivative: f_t is missing: it is zero"],
    LostParameters: [f"{JVP_THETA} is missing: it is zero"],
    TransposedProduct: [f"{VJP_Y} has f_y transposed"],
    SumOverTheParameters: [f"{VJP_THETA} is summed over θ, not over the batch"],
    MeanOverTheBatch: [f"{VJP_THETA} is averaged over the batch, not summed"],
    FirstOfTheBatch: [f"{VJP_THETA} is that of the first trajectory alone"],
    LastOfTheBatch: [f"{VJP_THETA} is that of the last trajectory alone"],
}


def words_of(check, *args, **options):
    """What the AssertionError says below its table."""
    with pytest.raises(AssertionError) as caught:
        check(*args, **options)
    lines = str(caught.value).splitlines()
    return [line for line in lines[2:] if not line.endswith(("yes", "NO"))]


@pytest.mark.eq("1.2", "1.3")
@pytest.mark.parametrize("mistake", IN_WORDS)
def test_both_checks_say_in_words_which_term_of_which_formula_is_off(mistake):
    expected = IN_WORDS[mistake]
    assert words_of(check_field, mistake(), 0.4, BATCH, PENDULUM_THETA) == expected
    assert words_of(check_gradients, mistake(), BATCH, [0.3, 0.7, 1.0], PENDULUM_THETA, method="rk4") == expected


@pytest.mark.parametrize("mistake, term, entry", [
    (StoppedClock, VJP_THETA, r"is wrong: entry \(1, 2\) is [-.\d]+, and by differences [-.\d]+"),
    (WrongFriction, "jacobian: f_y", r"is wrong: entry \(\d, 1, 1\) is 7, and by differences -0.2$")])
def test_a_mistake_that_is_none_of_the_usual_ones_is_shown_by_its_worst_entry(mistake, term, entry):
    first, *_ = words_of(check_field, mistake(), 0.4, BATCH, PENDULUM_THETA)
    assert first.startswith(term) and re.search(entry, first)


class OneTrajectory(ForcedPendulum):
    """A Jacobian for y (2,) alone."""

    def jacobian(self, t, y, theta):
        return np.array([[0.0, 1.0], [-theta[0] * np.cos(y[0]), -theta[1]]])


class Flipped(LotkaVolterra):
    """A sign in the second derivatives."""

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        by_y, by_theta = super().vjp_derivative(t, y, theta, a, w, dtheta)
        return -by_y, by_theta


class Writer(ForcedPendulum):
    """A field that works in the array it was handed."""

    def __call__(self, t, y, theta):
        velocity = super().__call__(t, y, theta)
        y *= 0.0
        return velocity


@pytest.mark.parametrize("f, y, theta, message", [
    (OneTrajectory(), BATCH[0], PENDULUM_THETA, "jacobian must take any axes in front of the last, write y"),
    (Flipped(), np.array([30.0, 4.0]), np.array([0.5, 0.05, 0.8, 0.02]), r"vjp_derivative .*NO"),
    (Writer(), BATCH, PENDULUM_THETA, "must not write into y")],
    ids=["one trajectory", "second derivatives", "writes into y"])
def test_what_only_shows_later_is_found_by_the_check_of_the_field(f, y, theta, message):
    with pytest.raises(AssertionError, match=message):
        check_field(f, 0.4, y, theta)


@pytest.mark.parametrize("check", [
    lambda f, y: check_field(f, 0.4, y, PENDULUM_THETA),
    lambda f, y: check_gradients(f, y, [0.3, 0.7, 1.0], PENDULUM_THETA, method="rk4")],
    ids=["check_field", "check_gradients"])
def test_a_field_that_is_right_with_a_value_and_vjp_that_is_not_is_told_so(check):
    class Halved(ForcedPendulum):
        def value_and_vjp(self, t, y, theta):
            return self(t, y, theta), lambda a: self.vjp(t, y, theta, 0.5 * a)
    with pytest.raises(AssertionError, match="value_and_vjp must give what f and vjp give, but its a f_y differs"):
        check(Halved(), BATCH)


@pytest.mark.eq("1.3")
@pytest.mark.parametrize("mistake", [MeanOverTheBatch, TransposedProduct, LostParameters, FirstOfTheBatch, LastOfTheBatch])
def test_one_trajectory_is_told_of_its_mistakes_and_states_are_stacked_for_those_of_a_sum(mistake):
    if mistake in (TransposedProduct, LostParameters):
        assert words_of(check_field, mistake(), 0.4, BATCH[0], PENDULUM_THETA) == IN_WORDS[mistake]
    else:
        with pytest.raises(AssertionError, match=re.escape(f"{IN_WORDS[mistake][0]}, for y (3, 2)")):
            check_field(mistake(), 0.4, BATCH[0], PENDULUM_THETA)


@pytest.mark.parametrize("check", [
    lambda f, y: check_field(f, 0.4, y, PENDULUM_THETA),
    lambda f, y: check_gradients(f, y, [0.0, 1.0], PENDULUM_THETA, method="rk4")],
    ids=["check_field", "check_gradients"])
def test_both_checks_name_a_sum_over_the_wrong_axis_that_shows_in_the_shape(check):
    message = r"vjp must return shapes \(2, 2\) and \(3,\), not \(2, 2\) and \(2,\): .* is summed over the batch"
    with pytest.raises(AssertionError, match=message):
        check(SumOverTheParameters(), BATCH[:2])


@pytest.mark.parametrize("t", [0.4, 1845.0, 1e6])
def test_a_right_field_passes_however_late_it_is(t):
    assert all(row.ok for row in check_field(PENDULUM, t, BATCH, PENDULUM_THETA))


@pytest.mark.parametrize("method, shape, message", [
    ("__call__", (3,), r"f\(t, y, theta\) must have shape \(3, 2\), not \(3,\)"),
    ("jacobian", (2, 2), r"jacobian must have shape \(3, 2, 2\), not \(2, 2\)"),
    ("param_jacobian", (3, 3, 2), r"param_jacobian must have shape \(3, 2, 3\), not \(3, 3, 2\)"),
    ("time_derivative", (2,), r"time_derivative must have shape \(3, 2\), not \(2,\)"),
    ("jvp", (3, 3), r"jvp must have shape \(3, 2\), not \(3, 3\)"),
])
def test_check_field_names_the_derivative_whose_shape_is_wrong(method, shape, message):
    f = type("Misshapen", (ForcedPendulum,), {method: lambda *_: np.zeros(shape)})()
    with pytest.raises(AssertionError, match=message):
        check_field(f, 0.4, BATCH, PENDULUM_THETA)


def test_check_gradients_names_the_derivative_whose_shape_is_wrong():
    f = type("Wide", (ForcedPendulum,), {"param_jacobian": lambda self, t, y, theta: np.zeros((*y.shape, 4))})()
    with pytest.raises(AssertionError, match=r"param_jacobian must have shape \(3, 2, 3\), not \(3, 2, 4\)"):
        check_gradients(f, BATCH, [0.0, 1.0], PENDULUM_THETA, method="rk4")


class FirstAxis(VectorField):
    """(θ₁ y₂, −θ₂ sin y₁), written with y[0] for y[..., 0]: two states at once have the shape of a matrix."""
    dim, n_params = 2, 2

    def __call__(self, t, y, theta):
        return np.array([theta[0] * y[1], -theta[1] * np.sin(y[0])])

    def jacobian(self, t, y, theta):
        return np.array([[0 * y[0], theta[0] + 0 * y[0]], [-theta[1] * np.cos(y[0]), 0 * y[0]]])

    def param_jacobian(self, t, y, theta):
        return np.array([[y[1], 0 * y[0]], [0 * y[0], -np.sin(y[0])]])

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


class ClockAlong(VectorField):
    """θ cos(t) y, with the clocks of two states along the components instead of the states."""
    dim, n_params = 2, 1

    def __call__(self, t, y, theta):
        return theta * np.cos(t) * y

    def jacobian(self, t, y, theta):
        return (theta * np.cos(t) * np.ones_like(y))[..., None] * np.eye(2)

    def param_jacobian(self, t, y, theta):
        return (np.cos(t) * y)[..., None]

    def time_derivative(self, t, y, theta):
        return -theta * np.sin(t) * y


class Mixed(ClockAlong):
    """A sum that runs over the batch too."""

    def __call__(self, t, y, theta):
        return theta * np.cos(t)[..., None] * y * np.sum(y * y)


@pytest.mark.parametrize("f, message", [
    (FirstAxis(), r"__call__ must take any axes .*: for y \(3, 2\) its shape must be \(3, 2\), not \(2, 2\)"),
    (ClockAlong(), r"__call__ must take t as an array too, .*: for y \(3, 2\) its shape must be \(3, 2\), not ValueError: "),
    (Mixed(), r"__call__ must take any axes .*: for y \(3, 2\) 3 states must be answered as each of them alone")],
    ids=lambda f: type(f).__name__)
def test_a_field_of_two_components_must_not_take_two_states_for_one(f, message):
    with pytest.raises(AssertionError, match=message):
        check_field(f, 0.4, np.array([0.3, -0.8]), np.full(f.n_params, 0.7))


def test_a_matrix_may_be_of_integers():
    class Turn(Linear):
        def jacobian(self, t, y, theta):
            return np.broadcast_to([[0, 1], [-4, 0]], (*y.shape, 2))
    assert all(row.ok for row in check_field(Turn(2), 0.0, np.ones((3, 2)), np.array([0.0, 1.0, -4.0, 0.0])))


def test_a_field_without_parameters_passes_both_checks():
    class Still(VectorField):
        dim, n_params = 1, 0

        def __call__(self, t, y, theta):
            return -np.sin(y)

        def jacobian(self, t, y, theta):
            return -np.cos(y)[..., None]

        def param_jacobian(self, t, y, theta):
            return np.zeros((*y.shape, 0))

        def time_derivative(self, t, y, theta):
            return np.zeros_like(y)

    assert all(row.ok for row in check_field(Still(), 0.0, np.ones((3, 1)), np.zeros(0)))
    assert all(row.ok for row in check_gradients(Still(), np.ones((3, 1)), [0.0, 1.0], np.zeros(0)))


def test_check_field_names_a_vjp_that_forgets_the_sum_over_the_batch():
    f = type("Unsummed", (ForcedPendulum,), {"vjp": lambda self, t, y, theta, a: (a, np.zeros((3, 3)))})()
    message = r"vjp must return shapes \(3, 2\) and \(3,\), not \(3, 2\) and \(3, 3\)"
    with pytest.raises(AssertionError, match=message):
        check_field(f, 0.4, BATCH, PENDULUM_THETA)


@pytest.mark.parametrize("check", [
    lambda f, y, theta: check_field(f, 0.4, y, theta),
    lambda f, y, theta: check_gradients(f, y, [0.0, 1.0], theta, method="rk4"),
], ids=["check_field", "check_gradients"])
@pytest.mark.parametrize("bad, error, message", [
    ({"f": np.sin}, TypeError, "f must be a VectorField"),
    ({"y": np.ones(3)}, ValueError, r"^y0? must have shape \(..., 2\) for this field, not \(3,\)"),
    ({"y": [1j, 0]}, TypeError, "^y0? must be real, not complex"),
    ({"y": np.ones((0, 2))}, ValueError, "^y0? must h(old|ave) at least one (state|component), but "),
    ({"theta": np.ones(2)}, ValueError, r"theta must have shape \(3,\), not \(2,\)"),
    ({"theta": [np.nan, 0, 0]}, ValueError, "theta must be finite"),
])
def test_the_checks_refuse_unusable_input_before_calling_f(check, bad, error, message):
    with pytest.raises(error, match=message):
        check(**{"f": Silent(), "y": np.ones(2), "theta": np.ones(3), **bad})


@pytest.mark.parametrize("t, error, message", [
    ("noon", TypeError, "t must be an array of numbers, not 'noon'"),
    (np.nan, ValueError, "t must be finite"),
    ([0.0, 1.0], ValueError, r"t must be a number or have the batch's shape \(\), not \(2,\)"),
])
def test_check_field_refuses_a_time_that_is_none_before_calling_f(t, error, message):
    with pytest.raises(error, match=message):
        check_field(Silent(), t, np.ones(2), np.ones(3))


def test_a_field_without_its_sizes_is_told_what_it_lacks():
    with pytest.raises(TypeError, match="not VectorField, which has no dim"):
        check_field(VectorField(), 0.0, np.ones(2), np.ones(3))
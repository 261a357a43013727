"""Steps downhill: each equation against its closed form, and no argument is written to."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import adam, sgd
from minode.learning.optimisers import clip, cosine, one_minus_power, step_decay
from tests.strategies import arrays, assert_agree

EPS = np.finfo(np.float64).eps
ROUND_OFF = 100 * EPS               # a recursion of at most 12 steps, a few roundings each
CANCELLED = 1e-10                   # the same where 1 − β₂^k, about k/1000, is left of numbers near 1

gradients = st.integers(1, 12).flatmap(lambda n: arrays((n, 3), bound=4.0))


def path_of(optimiser, gs, theta, **options):
    """θ before the first and after each step, and the last state."""
    path, state = [theta], None
    for g in gs:
        theta, state = optimiser(theta, g, state, 0.25, **options)
        path.append(theta)
    return np.array(path), state


@pytest.mark.eq("23.1")
@given(gradients, st.floats(0, 0.99))
def test_the_velocity_is_the_sum_of_all_gradients_each_forgotten_at_its_rate(gs, mu):
    theta = np.array([1.0, -2.0, 0.5])
    path, state = path_of(sgd, gs, theta, momentum=mu)
    n = len(gs)
    weights = np.tril(mu ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))))
    velocities = weights @ gs
    assert_agree(state.v, velocities[-1], ROUND_OFF * n)
    assert_agree(path[-1], theta - 0.25 * velocities.sum(axis=0), ROUND_OFF * n)


@pytest.mark.eq("23.1")
def test_momentum_on_a_parabola_is_a_power_of_a_matrix():
    curvature, mu, rate, steps = 3.0, 0.9, 0.1, 50
    theta, state = np.array([2.0]), None
    for _ in range(steps):
        theta, state = sgd(theta, curvature * theta, state, rate, momentum=mu)
    step = np.array([[1 - rate * curvature, -rate * mu], [curvature, mu]])       # of (θ, v)
    assert_agree([theta[0], state.v[0]], np.linalg.matrix_power(step, steps) @ [2.0, 0.0], ROUND_OFF * steps)


@pytest.mark.eq("23.2", "23.3", "23.4")
@given(gradients, st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.5)]))
def test_adam_divides_a_weighted_mean_of_the_gradients_by_the_root_of_one_of_their_squares(gs, betas):
    theta, means = np.array([1.0, -2.0, 0.5]), []
    path, state = path_of(adam, gs, theta, beta1=betas[0], beta2=betas[1], epsilon=1e-3)
    for k in range(1, len(gs) + 1):
        pair = []
        for beta, g in zip(betas, (gs[:k], gs[:k]**2)):
            weights = float(beta) ** np.arange(k - 1, -1, -1)
            pair.append(weights @ g / weights.sum())
        means.append(pair[0] / (np.sqrt(pair[1]) + 1e-3))
    assert_agree(path, theta - 0.25 * np.concatenate([np.zeros((1, 3)), np.cumsum(means, axis=0)]), CANCELLED)
    assert state.k == len(gs)


@pytest.mark.eq("23.2")
def test_adams_averages_start_from_nothing():
    g = np.array([2.0, -3.0])
    _, state = adam(np.zeros(2), g, None, 0.1, beta1=0.75, beta2=0.5)
    assert np.array_equal(state.m, 0.25 * g) and np.array_equal(state.v, 0.5 * g**2)


@pytest.mark.eq("23.3", "23.4")
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e9])
def test_under_a_constant_gradient_adam_moves_by_the_learning_rate_however_large_it_is(size):
    path, _ = path_of(adam, np.tile([size, -3 * size], (40, 1)), np.zeros(2), epsilon=1e-300)
    assert_agree(np.diff(path, axis=0), np.tile([-0.25, 0.25], (40, 1)), CANCELLED)


@pytest.mark.eq("23.3")
@pytest.mark.parametrize("beta", [0.0, 1e-20, 0.5, 0.9, 0.999, 1 - 2.0**-30, 1 - 2.0**-52])
@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_what_is_left_of_1_after_a_power_of_a_number_near_1_has_all_its_digits(beta, n):
    exact = float(1 - Fraction(beta) ** n)
    assert abs(one_minus_power(beta, n) - exact) <= ROUND_OFF * exact
    _, (m, v, k) = path_of(adam, np.ones((3, 1)), np.zeros(1), beta1=beta, beta2=beta)
    assert_agree(m / one_minus_power(beta, k), np.ones(1), ROUND_OFF)            # the mean of a constant is the constant


@pytest.mark.eq("23.6")
@pytest.mark.parametrize("n", [10, 10**4, 10**8])
def test_the_last_rate_of_the_cosine_has_all_its_digits(n):
    for left in (1, 2, 3):
        series = sum(Fraction((-1) ** j * (left * Fraction(math.pi) / n) ** (2 * j + 2), math.factorial(2 * j + 2)) / 2
                     for j in range(12))                                          # (1 − cos x) / 2
        assert abs(cosine(n - left, 1.0, n) - float(series)) <= ROUND_OFF * float(series)


@pytest.mark.eq("23.4")
@given(gradients)
def test_adam_is_the_same_as_its_authors_second_form(gs):
    """α_k = α √(1−β₂^k) / (1−β₁^k) with ε √(1−β₂^k): their remark after Algorithm 1."""
    path, (m, v, k) = path_of(adam, gs, np.zeros(3), epsilon=0.1)
    root = math.sqrt(1 - 0.999**k)
    step = 0.25 * root / (1 - 0.9**k) * m / (np.sqrt(v) + 0.1 * root)
    assert_agree(path[-2] - path[-1], step, CANCELLED)


@pytest.mark.parametrize("optimiser", [sgd, adam])
def test_a_step_writes_to_none_of_its_arguments_and_can_be_repeated(optimiser):
    theta, g = np.array([1.0, 2.0]), np.array([0.3, -0.4])
    _, state = optimiser(theta, g, None, 0.1)
    kept = [part.copy() if isinstance(part, np.ndarray) else part for part in state]
    for array in (theta, g, *(part for part in state if isinstance(part, np.ndarray))):
        array.setflags(write=False)
    first, second = optimiser(theta, g, state, 0.1), optimiser(theta, g, tuple(state), 0.1)
    assert np.array_equal(first[0], second[0])
    assert all(np.array_equal(a, b) for a, b in zip(state, kept))


@pytest.mark.eq("23.5")
@given(arrays(3, bound=10.0), st.floats(0.01, 10.0))
def test_a_clipped_gradient_keeps_its_direction_and_is_no_longer_than_allowed(g, largest):
    clipped, norm = clip(g, largest), np.linalg.norm(g)
    if norm <= largest:
        assert np.array_equal(clipped, g)
    else:
        assert abs(np.linalg.norm(clipped) - largest) <= ROUND_OFF * largest
        assert_agree(clipped * norm, g * largest, ROUND_OFF)


def test_a_gradient_whose_square_overflows_is_clipped_and_not_lost():
    assert_agree(clip(np.array([3e200, -4e200]), 1.0), [0.6, -0.8], ROUND_OFF)
    assert np.array_equal(clip(np.zeros(2), 1.0), np.zeros(2))


@pytest.mark.eq("23.6")
@given(st.integers(2, 1000), st.integers(1, 50), st.floats(1e-4, 1.0))
def test_the_cosine_falls_from_the_rate_to_nothing_after_a_straight_rise(n, warm_up, rate):
    assert cosine(0, rate, n) == rate and cosine(n, rate, n) == 0.0
    for k in {1, n // 3, n // 2, n - 1}:
        assert abs(cosine(k, rate, n) + cosine(n - k, rate, n) - rate) <= ROUND_OFF * rate
        assert abs(cosine(k, rate, n) - rate * math.cos(math.pi * k / (2 * n)) ** 2) <= ROUND_OFF * rate
        rise = (k + 1) / warm_up if k < warm_up else 1.0
        assert abs(cosine(k, rate, n, warm_up) - rise * cosine(k, rate, n)) <= ROUND_OFF * rate


@pytest.mark.eq("23.7")
def test_the_rate_of_step_decay_falls_by_its_factor_after_every_so_many_steps():
    rates = [step_decay(k, 0.8, 3, factor=0.25) for k in range(9)]
    assert rates == [0.8] * 3 + [0.2] * 3 + [0.05] * 3

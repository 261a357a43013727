"""Measurements: the loss and its gradients by complex step, a table that loses nothing, and what makes long fits possible."""

import inspect

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.optimize import brentq

import minode
from minode import (MLP, FitError, Linear, Measurements, fit, growing_horizon, misfit, odeint, shooting_loss,
                    solve, tabulate, value_and_gradients)
from minode.gradients.checks import complex_step
from minode.learning.optimisers import cosine
from tests.strategies import arrays

ROUND_OFF = 1e-11          # relative to the largest number, of sums of some hundred terms
SOLVED = 1e-7              # of a solve at the tolerance given here
TIGHT = {"method": "dop853", "rtol": 1e-11, "atol": 1e-11}
STEPS = {"method": "rk4"}
F = MLP([3, 4, 2], ["tanh", "identity"])               # reads t: a piece that starts its clock anew would show
THETA = F.init(np.random.default_rng(0))
RNG = np.random.default_rng(1)
T = np.array([0.0, 0.2, 0.5, 0.6, 1.0, 1.3])
TABLE = Measurements(T, RNG.normal(size=(6, 3, 2)), RNG.uniform(0.5, 2.0, (6, 3, 2)) * RNG.integers(0, 2, (6, 3, 2)))
CUTS = [0, 2, 3, 5]
STARTS = RNG.normal(size=(3, 3, 2))


def near(found, expected):
    return np.allclose(found, expected, rtol=0, atol=ROUND_OFF * (1 + np.abs(expected).max()))


def by_complex_step(loss, x):
    """The gradient of loss at x, component by component."""
    units = np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([complex_step(loss, x, unit) for unit in units]).reshape(x.shape)


# -- the loss and the table ------------------------------------------------------------------------------------


def mean_square(ys, measured):
    return sum(measured.weights[i] * (ys[i] - measured.observed[i]) ** 2 for i in np.ndindex(ys.shape)) / measured.weights.sum()


@pytest.mark.eq("31.1", "31.2")
@given(arrays(36, bound=3.0))
def test_the_loss_is_a_weighted_mean_square_and_its_derivative_that_by_complex_step(ys):
    ys = ys.reshape(6, 3, 2)
    L, dL_dys = misfit(ys, TABLE)
    assert near(L, mean_square(ys, TABLE))
    assert near(dL_dys, by_complex_step(lambda ys: mean_square(ys, TABLE), ys))
    assert not dL_dys[TABLE.weights == 0].any()


@pytest.mark.eq("31.1")
def test_the_true_states_leave_the_variance_of_the_noise_and_weights_count_measurements():
    ys, sigma = np.zeros((20_000, 1)), 0.3
    noise = sigma * np.random.default_rng(0).normal(size=ys.shape)
    t = np.arange(len(ys), dtype=float)
    L = misfit(ys, Measurements(t, noise, np.ones(ys.shape)))[0]
    assert abs(L / sigma**2 - 1) < 5 * np.sqrt(2 / len(ys))
    assert misfit(ys, Measurements(t, noise, np.full(ys.shape, 7.0)))[0] == pytest.approx(L)


@pytest.mark.eq("31.3")
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(-5, 5), st.sampled_from([0.5, 1.0, 2.0])), min_size=1,
                max_size=12))
def test_a_table_has_the_loss_of_the_single_measurements_up_to_a_constant(rows):
    t, which, x, weights = (np.array(column, dtype=float) for column in zip(*rows))
    which = which.astype(int)
    measured = tabulate(t, which, x[:, None], weights)
    assert (np.diff(measured.t) > 0).all() and measured.t[0] == 0.0
    assert near(measured.weights.sum(), weights.sum())

    def singly(y):
        return weights @ (y[np.searchsorted(measured.t, t), which, 0] - x) ** 2 / weights.sum()
    y = np.cos(np.arange(measured.observed.size)).reshape(measured.observed.shape)
    assert near(misfit(y, measured)[0] - misfit(0 * y, measured)[0], singly(y) - singly(0 * y))
    assert near(misfit(y, measured)[1], by_complex_step(singly, y))


def test_the_first_time_of_a_table_is_that_of_the_initial_states():
    measured = tabulate([3.0, 2.0], [1, 0], [[1.0], [2.0]], t0=1.0)
    assert measured.t.tolist() == [1.0, 2.0, 3.0] and measured.weights[0].sum() == 0
    assert tabulate([1.0], [0], [[1.0]], t0=1.0).t.tolist() == [1.0]


def test_first_guesses_lie_on_lines_between_measurements_and_stay_at_the_ends():
    measured = Measurements(np.array([0.0, 1.0, 2.0, 4.0]), np.array([[9.0], [1.0], [9.0], [4.0]]), np.array([[0.0], [1], [0], [1]]))
    assert measured.states([0, 1, 2, 3]).tolist() == [[1.0], [1.0], [2.0], [4.0]]
    assert TABLE.states([0, 3]).shape == (2, 3, 2)
    seen = TABLE.weights > 0
    assert near(TABLE.states(range(6))[seen], TABLE.observed[seen])


@pytest.mark.eq("31.1", "31.2")
@pytest.mark.parametrize("own", [STEPS, {}, {"method": "bosh3", "rtol": 1e-4}], ids=str)
def test_the_gradient_of_the_loss_of_a_solve_is_that_by_complex_step(own):
    def loss_of(ys):
        return np.sum(TABLE.weights * (ys - TABLE.observed) ** 2) / TABLE.weights.sum()
    y0, steps = STARTS[0], solve(F, STARTS[0], T, THETA, **own)
    L, gradients = value_and_gradients(lambda ys: misfit(ys, TABLE), F, y0, T, THETA, **own)
    assert near(L, loss_of(steps.ys))
    if own == STEPS:                                   # the steps do not depend on what is moved
        assert near(gradients.theta, by_complex_step(lambda theta: loss_of(odeint(F, y0 + 0j, T, theta, **own)), THETA))
        assert near(gradients.y0, by_complex_step(lambda y0: loss_of(odeint(F, y0, T, THETA, **own)), y0))
    else:
        exact = value_and_gradients(lambda ys: misfit(ys, TABLE), F, y0, T, THETA, **TIGHT)[1]
        assert np.abs(gradients.theta - exact.theta).max() < 0.05 * np.abs(exact.theta).max()


def test_measurements_at_more_times_cost_an_adaptive_method_no_step():
    few = solve(F, STARTS[0], [0.0, 1.3], THETA)
    many = solve(F, STARTS[0], np.linspace(0.0, 1.3, 100), THETA)
    assert few.stats.n_accepted == many.stats.n_accepted


# -- why long solves are hard to learn -------------------------------------------------------------------------


def turning(omega, T, n=4001):
    """The loss between two points that turn with frequencies omega and 1, measured evenly to T."""
    t = np.linspace(0.0, T, n)
    circle = np.stack([np.cos(t), np.sin(t)], axis=-1)
    weights = np.ones((n, 2))
    weights[[0, -1]] = 0.5                             # the trapezoidal rule
    return misfit(odeint(lambda t, y: omega * np.stack([-y[..., 1], y[..., 0]], axis=-1), circle[0], t, rtol=1e-9, atol=1e-9),
                  Measurements(t, circle, weights))[0]


@pytest.mark.eq("31.1")
@pytest.mark.parametrize("T", [5.0, 10.0])
def test_the_loss_of_a_frequency_is_a_bowl_as_wide_as_the_chapter_says(T):
    for delta in (0.5, 2.0, 4.0, 7.0):
        assert turning(1 + delta / T, T) == pytest.approx(1 - np.sin(delta) / delta, abs=1e-5)
    edge = brentq(lambda x: np.tan(x) - x, 4.4, 4.7)   # where sin x / x is least
    assert round(edge, 2) == 4.49
    inside = [turning(1 + share * edge / T, T) for share in (0.9, 1.0, 1.1)]
    assert inside[0] < inside[1] > inside[2] > 0.9


# -- a growing horizon -------------------------------------------------------------------------------------------


@pytest.mark.eq("31.4")
def test_each_horizon_begins_with_what_the_last_one_found_and_sees_no_later_measurement():
    seen = []

    def objective(theta, measured):
        seen.append((theta.copy(), measured))
        ys = np.multiply.outer(measured.t, theta)
        return misfit(ys, measured)[0], measured.t @ misfit(ys, measured)[1]
    measured = Measurements(np.arange(6.0), np.arange(6.0)[:, None] ** 2, np.ones((6, 1)))
    fits = growing_horizon(objective, np.zeros(1), measured, [1.0, 2.5, 9.0], n_steps=50, learning_rate=0.1)
    assert len(fits) == 3 and len(seen) == 150
    for m, n in enumerate((2, 3, 6)):
        assert all(len(part.t) == len(part.observed) == len(part.weights) == n for _, part in seen[50 * m:50 * (m + 1)])
        assert np.array_equal(seen[50 * m][0], fits[m - 1].theta if m else np.zeros(1))
    t = np.arange(6.0)
    assert abs(fits[-1].theta[0] - t @ t**2 / (t @ t)) < 0.05


@pytest.mark.eq("31.4")
def test_a_growing_horizon_finds_a_frequency_that_one_fit_does_not():
    t = np.linspace(0.0, 40.0, 161)
    measured = Measurements(t, np.stack([np.cos(t), np.sin(t)], axis=-1), np.ones((161, 2)))

    def objective(theta, measured):
        angle = theta[0] * measured.t
        L, dL_dys = misfit(np.stack([np.cos(angle), np.sin(angle)], axis=-1), measured)
        return L, np.array([np.sum(dL_dys * np.stack([-np.sin(angle), np.cos(angle)], axis=-1) * measured.t[:, None])])
    more = {"n_steps": 100, "learning_rate": lambda k: cosine(k, 0.03, 100)}
    alone = fit(lambda theta, batch: objective(theta, measured), np.array([1.7]), **more)
    grown = growing_horizon(objective, np.array([1.7]), measured, [4.0, 10.0, 40.0], **more)
    assert abs(alone.theta[0] - 1) > 0.3 and alone.loss > 0.5
    assert abs(grown[-1].theta[0] - 1) < 1e-3


def test_ctrl_c_ends_the_fit_of_a_horizon_and_no_other_follows():
    calls = []

    def objective(theta, measured):
        calls.append(len(measured.t))
        if len(calls) == 15:
            raise KeyboardInterrupt
        return float(theta @ theta), 2 * theta
    fits = growing_horizon(objective, np.ones(1), TABLE, [0.5, 1.0, 1.3], n_steps=10)
    assert [found.stopped for found in fits] == ["n_steps done", "interrupted"] and len(calls) == 15


def test_a_fit_that_fails_says_so():
    with pytest.raises(FitError, match="the loss is nan"):
        growing_horizon(lambda theta, measured: (np.nan, theta), np.ones(1), TABLE, [1.0], n_steps=3)


# -- multiple shooting -----------------------------------------------------------------------------------------------


def in_pieces(starts, theta, mu, own):
    """(31.5) as it is printed: a loop over the measurements."""
    L, gaps, W = 0.0, [], TABLE.weights.sum()
    for k, (first, last) in enumerate(zip(CUTS[:-1], CUTS[1:])):
        ys = odeint(F, starts[k] + 0j, T[first:last + 1], theta, **own)
        for i in range(first, last + (k == 2)):
            L = L + np.sum(TABLE.weights[i] * (ys[i - first] - TABLE.observed[i]) ** 2) / W
        if k < 2:
            gaps.append(ys[-1] - starts[k + 1])
    return L + mu * np.mean(np.array(gaps) ** 2)


@pytest.mark.eq("31.5", "31.6")
@pytest.mark.parametrize("mu", [0.0, 0.7, 30.0])
@pytest.mark.parametrize("gradient", ["discrete", "checkpoint"])
def test_the_loss_of_pieces_and_its_gradients_are_those_by_complex_step(mu, gradient):
    def loss(starts, theta):
        return in_pieces(starts, theta, mu, STEPS)
    L, gradients = shooting_loss(F, STARTS, TABLE, CUTS, THETA, mu, gradient=gradient, **STEPS)
    assert near(L, loss(STARTS, THETA).real) and gradients.t is None
    assert near(gradients.y0, by_complex_step(lambda starts: loss(starts, THETA), STARTS))
    assert near(gradients.theta, by_complex_step(lambda theta: loss(STARTS, theta), THETA))


@pytest.mark.eq("31.5", "31.6")
def test_pieces_without_gaps_have_the_loss_of_one_solve_and_one_piece_is_one_solve():
    y0 = STARTS[0]
    ys = odeint(F, y0, T, THETA, **TIGHT)
    L, gradients = value_and_gradients(lambda ys: misfit(ys, TABLE), F, y0, T, THETA, times=False, **TIGHT)
    joined, _ = shooting_loss(F, ys[CUTS[:-1]], TABLE, CUTS, THETA, 1e3, **TIGHT)
    assert abs(joined - L) < SOLVED
    one, of_one = shooting_loss(F, y0[None], TABLE, [0, 5], THETA, 1e3, **TIGHT)
    assert one == L and np.array_equal(of_one.y0[0], gradients.y0) and np.array_equal(of_one.theta, gradients.theta)


@pytest.mark.eq("31.6")
def test_the_gradient_of_one_solve_is_that_of_pieces_whose_starts_follow():
    """dL/dθ of one solve is ∂L/∂θ + Σ ∂L/∂s_k · ds_k/dθ of the pieces, where the gaps are closed."""
    y0, e = STARTS[0], RNG.normal(size=THETA.shape)
    ys = odeint(F, y0, T, THETA, **STEPS)
    moved = complex_step(lambda theta: odeint(F, y0 + 0j, T, theta, **STEPS), THETA, e)
    _, gradients = shooting_loss(F, ys[CUTS[:-1]], TABLE, CUTS, THETA, 5.0, **STEPS)
    whole = value_and_gradients(lambda ys: misfit(ys, TABLE), F, y0, T, THETA, **STEPS)[1].theta @ e
    assert near(gradients.theta @ e + np.sum(gradients.y0 * moved[CUTS[:-1]]), whole)


# -- refused -----------------------------------------------------------------------------------------------------------


M = Measurements(np.array([0.0, 1.0, 2.0]), np.ones((3, 2)), np.ones((3, 2)))
X, A = np.ones((3, 2)), np.ones(4)


def silent(*arguments):
    raise AssertionError("a function was called before the arguments were checked")


REFUSED = [
    (lambda: tabulate([0.0], [0], 1.0), ValueError, "x must have shape (N, d) with at least one row, not ()"),
    (lambda: tabulate([0.0, 1.0], [0, 0, 0], X), ValueError, "t must be 3 times, one for each row of x"),
    (lambda: tabulate([0.0, 1.0, -1.0], [0, 0, 0], X), ValueError, "none before t0 = 0.0"),
    (lambda: tabulate(T[:3], [0, 1], X), ValueError, "which must have shape (3,), one number for each row of x, not (2,)"),
    (lambda: tabulate(T[:3], [0.0, 1.0, 1.0], X), ValueError, "which must be integers from 0 on"),
    (lambda: tabulate(T[:3], [0, -1, 1], X), ValueError, "which must be integers from 0 on"),
    (lambda: tabulate(T[:3], [0, 1, 1], X, [1.0, 0.0, 1.0]), ValueError, "weights must be positive"),
    (lambda: tabulate(T[:3], [0, 1, 1], X, t0="now"), TypeError, "t0 must be an array of numbers, not 'now'"),
    (lambda: misfit(X[:2], M), ValueError, "ys must have shape (3, 2), not (2, 2)"),
    (lambda: misfit(1j * X, M), TypeError, "ys must be real"),
    (lambda: misfit(X, [*M]), TypeError, "measured must be `Measurements`, such as `tabulate` makes, not list"),
    (lambda: misfit(X, M._replace(t=M.t[::-1])), ValueError, "measured.t must be increasing times"),
    (lambda: misfit(X, M._replace(t=M.t[:2])), ValueError, "measured.observed and measured.weights must have shape (2, ..., d)"),
    (lambda: misfit(X, M._replace(observed=X * np.nan)), ValueError, "measured.observed must be finite"),
    (lambda: misfit(X, M._replace(weights=0 * X)), ValueError, "measured.weights must be numbers from 0 on, and not all of them 0"),
    (lambda: misfit(X, M._replace(weights=-X)), ValueError, "measured.weights must be numbers from 0 on"),
    (lambda: M.states([3]), ValueError, "rows must be integers from 0 to 2"),
    (lambda: M._replace(weights=np.array([[1.0, 0.0]] * 3)).states([0]), ValueError, "each component of each trajectory, but (1,) has none"),
    (lambda: growing_horizon(None, A, M, [1.0], n_steps=1), TypeError, "objective must be callable as objective(theta, measured)"),
    (lambda: growing_horizon(silent, A, M, [], n_steps=1), ValueError, "ends must be increasing times"),
    (lambda: growing_horizon(silent, A, M, [2.0, 1.0], n_steps=1), ValueError, "ends must be increasing times"),
    (lambda: growing_horizon(silent, A, M, [-1.0], n_steps=1), ValueError, "the first not before 0.0, that of the first measurement"),
    (lambda: growing_horizon(silent, A, (1, 2), [1.0], n_steps=1), TypeError, "measured must be `Measurements`"),
    (lambda: growing_horizon(silent, A, M, [1.0], n_steps=1, data=X), TypeError, "data is no keyword of a growing horizon"),
    (lambda: growing_horizon(silent, A, M, [1.0], n_steps=1, batch_size=2), TypeError, "batch_size is no keyword"),
    (lambda: growing_horizon(silent, A, M, [1.0], n_steps=0), ValueError, "n_steps must be a positive integer, not 0"),
    (lambda: shooting_loss(np.sin, X[:2], M, [0, 1, 2], A), TypeError, "must be a VectorField"),
    (lambda: shooting_loss(Linear(3), X[:2], M, [0, 1, 2], A), ValueError, "measured.observed must have shape (N, ..., 3) for states of f"),
    (lambda: shooting_loss(Linear(2), X, M, [0, 1, 2], A), ValueError, "starts must have shape (2, 2), not (3, 2)"),
    (lambda: shooting_loss(Linear(2), X[:2], M, [0, 1], A), ValueError, "cuts must increase from 0 to 2"),
    (lambda: shooting_loss(Linear(2), X[:2], M, [0, 2, 1, 2], A), ValueError, "cuts must increase from 0 to 2"),
    (lambda: shooting_loss(Linear(2), X[:2], M, [0, 1, 3], A), ValueError, "cuts must be integers from 0 to 2"),
    (lambda: shooting_loss(Linear(2), X[:2], M, "all", A), TypeError, "cuts must be an array of numbers, not 'all'"),
    (lambda: shooting_loss(Linear(2), X[:2], M, [0, 1, 2], A[:3]), ValueError, "theta must have shape (4,), not (3,)"),
    (lambda: shooting_loss(Linear(2), X[:2], M, [0, 1, 2], A, -1.0), ValueError, "penalty must be non-negative, not -1.0"),
    (lambda: shooting_loss(Linear(2), X[:2], M, [0, 1, 2], A, rtool=1.0), TypeError, "unknown keyword 'rtool'"),
]


@pytest.mark.parametrize("call, error, message", REFUSED)
def test_what_cannot_be_measured_or_fitted_is_refused_by_name(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_every_function_of_the_chapter_refuses_something():
    text = inspect.getsource(inspect.getmodule(silent))
    of_the_chapter = [name for name in minode.__all__ if getattr(minode, name).__module__ == "minode.further.measurements"]
    assert len(of_the_chapter) == 5
    assert all(f"(lambda: {name}(" in text for name in set(of_the_chapter) - {"Measurements"})

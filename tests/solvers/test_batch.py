"""A batch with a step for each trajectory gives what each would give alone, steps, costs and all."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import SolverError, Tableau, methods, odeint, solve
from minode.solvers.solve import run
from tests.solvers.test_adaptive import (
    ADAPTIVE, FEW_STEPS, PROBLEMS, SAME_STEPS, each_method, pendulum)
from tests.strategies import arrays, assert_agree, grids

EPS = np.finfo(float).eps
ROUND_OFF = 200 * EPS                  # relative to the terms of a sum of at most sixteen products
ALIKE = 1e-3                           # of the tolerance. E is known to a few eps/tol of itself, so is each step, and over
#                                        hundreds of steps that grows: an f rounded by 16 eps otherwise makes it 7e-4
ENOUGH = 5000                          # steps, more than any solve here takes
CHECKED = [1, 4]                       # rows of the calls that see whether f answers row by row; they are not counted
COUNTS = ("n_f", "n_steps", "n_accepted", "n_rejected")


def tolerance(method):
    return {2: 1e-3, 3: 1e-4, 8: 1e-7}.get(method.order, 1e-6)


def alike(tol):
    """How well a state agrees that was met with the same steps, up to their rounding."""
    return ALIKE * tol + ROUND_OFF


# -- as each alone ----------------------------------------------------------------------------

@pytest.mark.eq("12.1", "12.2", "12.3")
@given(st.sampled_from(ADAPTIVE), st.integers(1, 4).flatmap(lambda B: arrays((B, 2))), grids(longest=2.0),
       st.data())
def test_each_trajectory_is_what_it_would_be_alone(method, y0, t, data):
    t = np.repeat(t, data.draw(st.lists(st.integers(1, 2), min_size=len(t), max_size=len(t))))
    tol = tolerance(method)
    batch = solve(pendulum, y0, t, method=method, rtol=tol, atol=tol, max_steps=ENOUGH, per_trajectory=True)
    counts = {name: getattr(batch.stats, name).copy() for name in COUNTS}        # before dop853 is asked for more
    between = t[0] + (t[-1] - t[0]) * np.array([[0.0, 0.3], [0.77, 1.0]])
    states = batch.interpolate(between)
    for i, start in enumerate(y0):
        alone = solve(pendulum, start, t, method=method, rtol=tol, atol=tol)
        assert_agree(batch.ys[:, i], alone.ys, alike(tol))
        for count in COUNTS:
            assert counts[count][i] == getattr(alone.stats, count), count
        assert_agree(states[..., i, :], alone.interpolate(between), alike(tol))


@pytest.mark.eq("12.1", "12.2", "12.3")
@each_method
@pytest.mark.parametrize("problem", ["pendulum", "seasons, backwards", "oscillator"])
def test_each_trajectory_takes_the_steps_it_would_take_alone(method, problem):
    (f, y0, span), tol, tape = PROBLEMS[problem], tolerance(method), []
    starts = np.array(y0) * np.array([[1.0, 1.0], [0.5, 1.5], [0.1, 2.0]])
    outputs = np.linspace(*span, 40)
    batch = run(f, starts, outputs, tape=tape, method=method, rtol=tol, atol=tol, max_steps=ENOUGH,
                per_trajectory=True)
    ids, begins, steps = (np.concatenate([entry[n] for entry in tape]) for n in range(3))
    between, calls = np.linspace(*span, 7), batch.solution.stats.n_f.copy()
    states = batch.interpolation()(between)
    for i, start in enumerate(starts):
        alone = run(f, start, outputs, tape=[], method=method, rtol=tol, atol=tol)
        t = np.array([step[0] for step in alone.tape] + [span[-1]])
        assert calls[i] == alone.solution.stats.n_f
        assert_agree(batch.solution.ys[:, i], alone.solution.ys, alike(tol))
        assert_agree(states[:, i], alone.interpolation()(between), alike(tol))
        assert len(t) == np.sum(ids == i) + 1
        same = SAME_STEPS * (100 if method.name == "dop853" else 1)  # its first estimate is made of round-off
        assert np.abs(begins[ids == i] - t[:-1]).max() <= same * abs(span[1] - span[0])
        assert np.abs(steps[ids == i] - np.diff(t)).max() <= same * abs(span[1] - span[0])


@each_method
def test_a_batch_of_one_and_a_first_step_of_the_readers_are_nothing_special(method):
    tol, t = tolerance(method), [0.0, 1.0, 2.0]
    for h in (1e-3, 100.0):
        options = dict(method=method, rtol=tol, atol=tol, first_step=h)
        batch, alone = (solve(pendulum, y0, t, **options, per_trajectory=own)
                        for y0, own in (([[0.5, -0.3]], True), ([0.5, -0.3], False)))
        assert_agree(batch.ys[:, 0], alone.ys, alike(tol))
        for count in COUNTS:
            assert getattr(batch.stats, count).tolist() == [getattr(alone.stats, count)]


def test_a_norm_of_the_readers_measures_one_trajectory_at_a_time():
    def largest(error, scale):
        assert error.shape == scale.shape == (2,)
        return np.max(np.abs(error / scale))
    y0 = np.array([[0.5, -0.3], [2.0, 1.0]])
    batch = solve(pendulum, y0, [0.0, 5.0], norm=largest, per_trajectory=True)
    for i, start in enumerate(y0):
        alone = solve(pendulum, start, [0.0, 5.0], norm=largest)
        assert batch.stats.n_accepted[i] == alone.stats.n_accepted
        assert_agree(batch.ys[:, i], alone.ys, alike(1e-6))


@each_method
def test_float32_and_complex_batches_keep_their_kind(method):
    seen, tol, t = set(), 1e-3, [0.0, 0.5, 1.0]

    def f(t, y):
        seen.add(y.dtype)
        return (-y + np.cos(t)[:, None]).astype(y.dtype)
    y0 = np.array([[1.0, 2.0], [-0.5, 0.1]])
    double = odeint(f, y0, t, method=method, rtol=tol, atol=tol, per_trajectory=True)
    for kind in (np.float32, np.complex128):
        seen.clear()
        ys = odeint(f, y0.astype(kind), t, method=method, rtol=tol, atol=tol, per_trajectory=True)
        assert ys.dtype == kind and seen == {np.dtype(kind)}
        assert_agree(ys, double, FEW_STEPS * tol)
        solution = solve(f, y0.astype(kind), t, method=method, rtol=tol, atol=tol, per_trajectory=True)
        assert solution.interpolate([0.1, 0.7]).dtype == kind


def test_what_interpolate_asks_of_f_is_counted_for_the_trajectory_it_is_asked_for():
    calls = []

    def f(t, y):
        calls.append(len(t))
        return pendulum(t, y)
    solution = solve(f, [[0.5, -0.3], [2.0, 1.0]], [0.0, 5.0], method="dop853", per_trajectory=True)
    solution.interpolate([0.1, 2.0, 4.0])
    assert solution.stats.n_f.sum() == sum(calls) - (2 + 1 + 1) and solution.stats.n_jac.tolist() == [0, 0]


# -- how f is called --------------------------------------------------------------------------

@each_method
@pytest.mark.parametrize("span", [(0.0, 8.0), (8.0, 0.0)])
def test_f_gets_a_time_for_each_row_and_no_row_more_than_it_must(method, span):
    asked = []

    def f(t, y):
        assert t.shape == (len(y),) and t.dtype == float and y.shape == (len(y), 2)
        asked.append(len(y))
        return pendulum(t, y)
    t, tol = np.linspace(*span, 30), tolerance(method)
    y0 = np.array([[0.5, -0.3], [0.01, 0.0], [3.0, 2.0], [0.5, -0.3]])
    stats = solve(f, y0, t, method=method, rtol=tol, atol=tol, per_trajectory=True).stats
    assert asked[:2] == CHECKED and sum(asked) - sum(CHECKED) == stats.n_f.sum()
    assert (stats.n_steps == stats.n_accepted + stats.n_rejected).all()
    if method.is_fsal:
        # All that are not done try one step in each pass, and those that are done have left.
        going = [int(np.sum(stats.n_steps > n)) for n in range(max(stats.n_steps))]
        assert going[-1] < 4 and asked == [*CHECKED, 4, 4] + [rows for rows in going for _ in range(method.stages - 1)]


def test_a_batch_that_has_nowhere_to_go_asks_nothing():
    def never(t, y):
        raise AssertionError("f was called for a solve of no steps")
    for t in ([1.0], [1.0, 1.0]):
        solution = solve(never, np.ones((3, 2)), t, per_trajectory=True)
        assert np.array_equal(solution.ys, np.ones((len(t), 3, 2))) and not solution.stats.n_f.any()
        assert np.array_equal(solution.interpolate([1.0]), np.ones((1, 3, 2)))
    with pytest.raises(ValueError, match=r"t must lie between 1\.0 and 1\.0, not 1\.5"):
        solution.interpolate(1.5)


# -- what shared steps would cost -------------------------------------------------------------

def test_with_shared_steps_the_easy_pay_for_the_hard_one_and_it_is_solved_worse():
    def f(t, y):                                       # a pendulum whose frequency is its third component
        x, v, omega = y[..., 0], y[..., 1], y[..., 2]
        return np.array([v, -omega**2 * np.sin(x) + np.cos(t), 0 * x]).T
    y0 = np.array([[1.0, 0.0, 0.3]] * 63 + [[1.0, 0.0, 12.0]])
    exact = odeint(f, y0[[0, -1]], [0.0, 10.0], method="dop853", rtol=1e-11, atol=1e-11)[-1, -1]

    def go(**options):
        solution = solve(f, y0, [0.0, 10.0], rtol=1e-5, atol=1e-5, **options)
        return np.abs(solution.ys[-1, -1] - exact).max(), solution.stats.n_accepted
    own, own_steps = go(per_trajectory=True)
    mean, mean_steps = go()
    largest, largest_steps = go(norm=lambda error, scale: np.max(np.abs(error / scale)))
    assert mean > 4 * own and mean_steps < own_steps[-1]           # its error is diluted by those of the easy
    assert largest < own and largest_steps > own_steps[-1]         # a maximum is not, and everyone pays
    assert own_steps[0] < mean_steps / 10


# -- when one of them cannot go on ------------------------------------------------------------

@each_method
def test_a_step_into_nan_is_rejected_for_those_who_took_it(method):
    def f(t, y):                                       # y = 1 − (1 − t/2)² from 0, and nothing above y = 1
        return np.sqrt(1 - np.where(y <= 1, y, np.nan))
    t, tol = np.array([0.0, 1.0, 1.9]), 1e-5
    batch = solve(f, [[0.0], [-3.0]], t, method=method, rtol=tol, atol=tol, first_step=1.9,
                  per_trajectory=True)
    assert batch.stats.n_rejected[0] > 0
    assert_agree(batch.ys[:, 0, 0], 1 - (1 - t / 2)**2, FEW_STEPS * tol)
    assert_agree(batch.ys[:, 1, 0], 1 - (2 - t / 2)**2, FEW_STEPS * tol)


@each_method
def test_an_error_names_the_trajectory_and_hands_over_what_all_have_reached(method):
    t, tol = np.array([0.0, 0.2, 0.4, 0.8, 1.5]), tolerance(method)
    y0 = np.array([[0.1], [2.0], [0.3]])               # y' = y²: the second is gone at 1/2
    with pytest.raises(SolverError, match=r"trajectory 1: step size underflow at t = 0\.[45]") as caught:
        solve(lambda t, y: y**2, y0, t, method=method, rtol=tol, atol=tol, per_trajectory=True)
    error, exact = caught.value, 1 / (1 / y0 - t[:3, None, None])
    assert abs(error.t - 0.5) <= FEW_STEPS * tol and error.solution.t.tolist() == [0.0, 0.2, 0.4]
    assert_agree(error.solution.ys, exact, FEW_STEPS * tol)


@each_method
def test_the_one_that_is_stuck_is_named_while_others_are_still_going(method):
    def f(t, y):                                       # from 0: sin t; from 4: 4 + t, and nothing above 4.95
        return np.where(y <= 4.95, np.where(y < 3, np.cos(t)[:, None], 1.0), np.nan)
    t, tol = [0.0, 0.5, 0.9, 100.0], tolerance(method)
    message = r"trajectory 1: step size underflow at t = 0\.9[45]\d*: no step longer than 1.1e-15 meets"
    with pytest.raises(SolverError, match=message) as caught:
        solve(f, [[0.0], [4.0], [0.0]], t, method=method, rtol=tol, atol=tol, per_trajectory=True)
    partial = caught.value.solution
    assert partial.t.tolist() == [0.0, 0.5, 0.9]
    assert_agree(partial.ys[:, 1, 0], 4 + partial.t, ROUND_OFF)
    assert_agree(partial.ys[:, 2, 0], np.sin(partial.t), 10 * FEW_STEPS * tol)   # Hermite's cubic, long steps


def test_a_trajectory_that_takes_too_many_steps_or_starts_badly_is_named():
    f, (calm, wild) = PROBLEMS["oscillator"][0], ([0.1, 0.0], [2.0, 0.0])
    own = dict(rtol=1e-5, atol=1e-5, per_trajectory=True)
    stats = solve(f, [calm, wild], [0.0, 4.0], **own).stats
    few, many = sorted(stats.n_steps)
    slow = int(np.argmax(stats.n_steps))
    message = rf"stopped trajectory {slow} at t = \S+: max_steps = {few} were not enough"
    assert few < many
    with pytest.raises(SolverError, match=message) as caught:
        solve(f, [calm, wild], [0.0, 0.1, 4.0], **own, max_steps=int(few))
    assert 0.1 < caught.value.t < 4.0 and caught.value.solution.ys.shape == (2, 2, 2)
    with pytest.raises(SolverError, match=r"trajectory 1: f is not finite at the initial state, t = 0\.5"):
        solve(lambda t, y: np.where(y == 1, np.nan, y), [[0.0, 2.0], [3.0, 1.0]], [0.5, 1.0], **own)


def test_a_table_of_the_readers_does_it_too():
    bosh3 = methods["bosh3"]
    own = Tableau("own", 3, A=bosh3.A, b=bosh3.b, b_hat=bosh3.b_hat, embedded_order=2)
    options, y0 = dict(rtol=1e-3, atol=1e-3, per_trajectory=True), [[0.5, -0.3], [1.0, 1.0]]
    assert np.array_equal(odeint(pendulum, y0, [0.0, 2.0], method=own, **options),
                          odeint(pendulum, y0, [0.0, 2.0], method=bosh3, **options))


def test_a_pass_in_which_every_step_is_rejected_asks_for_no_velocity_of_nobody():
    seen = []

    def f(t, y):
        seen.append(len(y))
        return -50.0 * y
    solution = solve(f, np.ones((2, 1)), [0.0, 0.1], method="fehlberg45", first_step=0.1, per_trajectory=True)
    assert (solution.stats.n_rejected > 0).all() and min(seen) > 0


def test_the_first_steps_of_a_single_precision_batch_are_double_whatever_its_first_row_is():
    def h(t, y):
        return np.stack([-y[..., 1] * y[..., 0], 0 * y[..., 1]], axis=-1)
    rows, options = np.array([[1, 1e3], [1, 1e-3], [1, 1e-4]], np.float32), dict(max_step=0.1, rtol=1e-3, atol=1e-3)
    for order in ([0, 1, 2], [1, 0, 2]):
        solution = solve(h, rows[order], [0.0, 1.0], per_trajectory=True, **options)
        alone = [solve(h, row[None], [0.0, 1.0], per_trajectory=True, **options) for row in rows[order]]
        assert solution.stats.n_f.tolist() == [int(one.stats.n_f[0]) for one in alone]
        for steps in solution.t_steps:
            assert np.diff(steps).max() <= 0.1 + 1e-15

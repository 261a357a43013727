"""Where a solve stepped: from t[0] to t[-1] over the ends of all accepted steps, whatever the method and the state."""

import copy
import pickle

import numpy as np
import pytest

from minode import SolverError, odeint, reversible, solve
from minode.solvers.solve import run
from tests.solvers.test_adaptive import pendulum
from tests.solvers.test_dense import EVERY_METHOD, jacobian, to_the_top
from tests.strategies import assert_agree

ROUND_OFF, LOOSE = 1e-13, 1e-3
POLE = 2e-2                     # how well a solve at rtol 1e-5 knows y = 1 / (1 − t) until t = 0.9
Y0, BATCH = np.array([0.5, -0.3]), np.array([[0.5, -0.3], [2.0, 0.0], [0.0, 0.1]])
each_method = pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
each_span = pytest.mark.parametrize("span", [(0.0, 0.7, 2.0), (2.0, 2.0, 0.0)], ids=["forwards", "backwards"])


@each_method
@each_span
def test_the_steps_lead_from_the_first_time_to_the_last_and_their_states_are_those_of_interpolate(method, span):
    told, tape = {"method": method, "jacobian": jacobian, "rtol": 1e-3, "atol": 1e-3}, []
    solution = solve(pendulum, Y0, span, **told)
    run(pendulum, Y0, span, tape=tape, **told)
    assert solution.t_steps.tolist() == [*(step[0] for step in tape), span[-1]]
    assert solution.y_steps.shape == (solution.stats.n_accepted + 1, 2) and solution.y_steps.dtype == np.float64
    assert np.array_equal(solution.y_steps[0], Y0) and np.array_equal(solution.y_steps[-1], solution.ys[-1])
    assert np.array_equal(solution.interpolate(solution.t_steps), solution.y_steps)
    assert solution.t_steps is solution.t_steps


def test_steps_of_a_given_size_are_the_grid_and_their_states_those_of_the_text_book():
    solution = solve(lambda t, y: -y, [1.0], [0.0, 0.5, 1.0], method="euler", step_size=0.25)
    assert solution.t_steps.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert_agree(solution.y_steps[:, 0], 0.75**np.arange(5), ROUND_OFF)
    assert solve(lambda t, y: -y, [1.0], [3.0]).t_steps.tolist() == [3.0]
    assert solve(lambda t, y: -y, [1.0], [3.0, 3.0]).y_steps.tolist() == [[1.0]]


def test_at_a_stop_there_is_one_step_end_with_the_state_of_both_sides():
    f, t, tstops = (lambda t, y: np.where(np.reshape(t, (-1, 1)[:y.ndim]) < 1.0, 1.0, -1.0) + 0 * y), [0.0, 0.3, 3.0], [1.0, 2.5]
    solution = solve(f, [0.0], t, tstops=tstops)
    assert (np.diff(solution.t_steps) > 0).all() and set(tstops) <= set(solution.t_steps)
    assert_agree(solution.y_steps[:, 0], 1.0 - np.abs(solution.t_steps - 1.0), ROUND_OFF)
    assert len(solution.t_steps) == solution.stats.n_accepted + 1
    own = solve(f, [[0.0], [1.0]], t, tstops=tstops, per_trajectory=True)
    for n, (times, states) in enumerate(zip(own.t_steps, own.y_steps)):
        assert (np.diff(times) > 0).all() and set(tstops) <= set(times) and len(times) == own.stats.n_accepted[n] + 1
        assert_agree(states[:, 0], n + 1.0 - np.abs(times - 1.0), ROUND_OFF)


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dop853"])
@each_span
def test_trajectories_with_steps_of_their_own_have_lists_each_as_it_would_be_alone(method, span):
    solution = solve(pendulum, BATCH, span, method=method, per_trajectory=True)
    assert type(solution.t_steps) is type(solution.y_steps) is list and len(solution.t_steps) == len(BATCH)
    for r, y0 in enumerate(BATCH):
        alone = solve(pendulum, y0, span, method=method)
        assert solution.y_steps[r].shape == (len(solution.t_steps[r]), 2) == (solution.stats.n_accepted[r] + 1, 2)
        assert_agree(solution.t_steps[r], alone.t_steps, 1e-6)
        assert_agree(solution.y_steps[r], alone.y_steps, 1e-6)
        assert solution.t_steps[r][[0, -1]].tolist() == [span[0], span[-1]]
        assert np.array_equal(solution.y_steps[r][-1], solution.ys[-1, r])
        assert np.array_equal(solution.interpolate(solution.t_steps[r])[:, r], solution.y_steps[r])
    assert [x.tolist() for x in solve(pendulum, BATCH, [1.0], per_trajectory=True).t_steps] == [[1.0]] * 3


def test_a_tuple_state_has_a_tuple_of_arrays():
    u, v = solve(lambda t, s: (-s[0], s[0].sum() + 0 * s[1]), (np.ones(2), np.zeros((2, 3))), [0.0, 1.0], method="rk4",
                 step_size=0.25).y_steps
    assert u.shape == (5, 2) and v.shape == (5, 2, 3)
    single = solve(lambda t, y: -y, np.ones(2, np.float32), [0.0, 1.0])
    assert single.y_steps.dtype == np.float32 and single.t_steps.dtype == np.float64


@pytest.mark.parametrize("own", [{}, {"tstops": [0.5]}, {"per_trajectory": True}, {"per_trajectory": True, "tstops": [0.5]},
                                 {"method": "trbdf2", "jacobian": lambda t, y: 2 * y[..., None], "rtol": 1e-5}], ids=str)
def test_an_error_has_the_steps_that_were_taken_until_then(own):
    y0 = np.array([[1.0], [0.5]])
    with pytest.raises(SolverError) as caught:                         # y₀ / (1 − t y₀) is infinite at t = 1 and 2
        solve(lambda t, y: y**2, y0, [0.0, 0.25, 3.0], **own)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        t_steps, y_steps = error.solution.t_steps, error.solution.y_steps
        if "per_trajectory" not in own:
            t_steps, y_steps = [t_steps] * 2, [y_steps[:, 0], y_steps[:, 1]]
        for times, states, start in zip(t_steps, y_steps, y0):
            assert times[0] == 0.0 and states[0] == start and (np.diff(times) > 0).all() and times.shape == states.shape[:1]
            early = times < 0.9
            assert_agree(states[early], start / (1 - times[early, None] * start), POLE)
        assert t_steps[0][-1] == error.t and abs(t_steps[0][-1] - 1.0) < POLE


@pytest.mark.parametrize("own", [False, True], ids=["joint", "own steps"])
def test_where_a_state_between_two_steps_is_not_finite_the_steps_are_those_until_then(own):
    t, y0 = np.linspace(0.0, 1.98, 41), np.zeros((2, 1) if own else 1)
    with pytest.raises(SolverError, match="between the steps") as caught:
        solve(to_the_top, y0, t, method="dop853", rtol=LOOSE, atol=LOOSE, per_trajectory=own)
    solution = caught.value.solution
    t_steps, y_steps = (solution.t_steps[0], solution.y_steps[0]) if own else (solution.t_steps, solution.y_steps)
    assert len(t_steps) > 2 and (np.diff(t_steps) > 0).all() and t_steps[0] == 0.0
    assert_agree(y_steps[:, 0], 1 - (1 - t_steps / 2)**2, LOOSE)


def test_if_no_step_was_accepted_there_is_the_start():
    for own, y0 in (({}, [1.0]), ({"tstops": [0.5]}, [1.0]), ({"method": "rk4"}, [1.0]), ({"per_trajectory": True}, [[1.0]])):
        with pytest.raises(SolverError) as caught:
            solve(lambda t, y: np.inf * y, y0, [0.0, 1.0], **own)
        assert np.ravel(caught.value.solution.t_steps).tolist() == [0.0]
        assert np.ravel(caught.value.solution.y_steps).tolist() == [1.0]


def test_odeint_keeps_no_steps_and_pays_for_none():
    with pytest.raises(SolverError) as caught:
        odeint(lambda t, y: y**2, [1.0], [0.0, 2.0])
    assert caught.value.solution.t_steps is None and caught.value.solution.y_steps is None
    assert run(pendulum, Y0, [0.0, 1.0]).solution.steps is None


@pytest.mark.parametrize("own", [{}, {"per_trajectory": True}, {"tstops": [0.5]}, {"method": "dop853"},
                                 {"method": reversible("rk4")}], ids=str)
def test_the_steps_are_copied_and_pickled_without_the_tape(own):
    solution = solve(lambda t, y: np.reshape(np.cos(t), (-1, 1)) * y, BATCH, [0.0, 1.0], **own)
    for other in (pickle.loads(pickle.dumps(solution)), copy.deepcopy(solution), copy.copy(solution)):
        for got, expected in ((other.t_steps, solution.t_steps), (other.y_steps, solution.y_steps)):
            assert type(got) is type(expected) and all(map(np.array_equal, got, expected))
    assert set(vars(copy.copy(solution.steps))) == {"t", "y"}


def test_who_writes_into_the_states_writes_into_no_step():
    solution = solve(pendulum, Y0, [0.0, 1.0])
    last = solution.ys[-1].copy()
    solution.ys[:] = np.nan
    assert np.array_equal(solution.y_steps[-1], last)
    solution.y_steps[:] = np.nan
    assert np.isfinite(solution.interpolate(solution.t_steps)).all()

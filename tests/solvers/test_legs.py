"""Jumps of f: every method keeps its order across them, on either side of which f may have its value; and so do gradients."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import Layered, Linear, SolverError, odeint, pullback, pushforward, reversible, solve
from minode.gradients.checks import complex_step
from minode.solvers.legs import legs
from minode.solvers.solve import run
from tests.solvers.test_dense import EVERY_METHOD
from tests.strategies import assert_agree

ROUND_OFF = 1e-13                     # of some hundred steps
EXACT = 1e-12                         # a gradient against the complex step
SOLVED = 1e-7                         # at a tolerance of 1e-10
FIELD, THETA = Layered(Linear(1), 3), np.array([0.3, -0.5, 0.8])
each_span = pytest.mark.parametrize("span", [(0.0, 3.0), (3.0, 0.0)], ids=["forwards", "backwards"])
each_method = pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
each_method_and_span = pytest.mark.parametrize("method, span", [             # backwards one of each kind of method
    *[pytest.param(method, (0.0, 3.0), id=method.name) for method in EVERY_METHOD],
    *[pytest.param(method, (3.0, 0.0), id=f"{method.name} backwards") for method in EVERY_METHOD if method.name in (
        "euler", "rk4", "bosh3", "dopri5", "dop853", "trapezoid", "gauss4", "trbdf2", "radau5", "asynchronous_leapfrog",
        "reversible_heun", "reversible(rk4)")]])


def as_function(t, y):
    return FIELD(t, y, THETA)


def its_jacobian(t, y):
    return FIELD.jacobian(t, y, THETA)


def pulse(is_late):
    """1 until t = 2 and −1 from 5 to 7; at the jumps either value."""
    def f(t, y):
        before = np.less_equal if is_late else np.less
        return np.where(before(t, 2.0), 1.0, np.where(before(5.0, t) & before(t, 7.0), -1.0, 0.0)) + 0.0 * y
    return f


@each_method_and_span
def test_a_solve_across_jumps_is_that_of_each_piece_after_the_other(method, span):
    t = np.linspace(*span, 4)
    y, options = np.array([1.0]), {"method": method, "step_size": 0.25}
    for a, b, theta in zip(t, t[1:], THETA[::1 if span[1] > 0 else -1]):
        y = odeint(lambda t, y: theta * y, y, [a, b], jacobian=lambda t, y: np.array([[theta]]), **options)[-1]
    field, at_jumps = solve(FIELD, [1.0], span, THETA, **options), solve(FIELD, [1.0], t, THETA, **options).ys[1:3]
    function = solve(as_function, [1.0], span, tstops=FIELD.tstops, jacobian=its_jacobian, **options)
    for solution in (field, function):
        assert_agree(solution.ys[-1], y, ROUND_OFF)
        assert_agree(solution.interpolate(t[1:3]), at_jumps, ROUND_OFF)
        assert np.array_equal(solution.interpolate(span), solution.ys) and solution.stats.n_accepted == 12


@each_method
@pytest.mark.parametrize("is_late", [False, True])
def test_f_is_evaluated_on_the_side_of_the_step_whichever_value_it_has_at_the_jump(method, is_late):
    options = {"method": method, "jacobian": lambda t, y: np.zeros((1, 1)), "tstops": [7, 2.0, 5.0, 100.0]}
    for t in (np.array([0.0, 1.0, 2.0, 5.0, 5.0, 6.5, 10.0]), np.array([2.0, 5.0, 10.0]), np.array([10.0, 6.0, 0.0])):
        exact = np.minimum(t, 2.0) - np.clip(t - 5.0, 0.0, 2.0)
        solution = solve(pulse(is_late), [exact[0]], t, **options)
        assert_agree(solution.ys[:, 0], exact, ROUND_OFF)
        assert_agree(solution.interpolate(t[::-1])[::-1], solution.ys, 0.0)
        if method.name in ("dopri5", "bosh3", "kvaerno5"):
            assert solution.stats.n_rejected == 0


@pytest.mark.parametrize("route, method, options", [
    ("discrete", "rk4", {"step_size": 0.3}), ("discrete", "dopri5", {"step_size": 0.3}), ("checkpoint", "tsit5", {"step_size": 0.3}),
    ("checkpoint", "heun", {"step_size": 0.3}), ("discrete", reversible("heun"), {}), ("reversible", "reversible_heun", {}),
    ("discrete", "dopri5", {"rtol": 1e-2}), ("checkpoint", "dop853", {"rtol": 1e-2})])
@each_span
def test_the_gradient_across_jumps_is_exact(route, method, options, span):
    t, rng = np.linspace(*span, 7), np.random.default_rng(0)                         # an output at each jump, and others
    f = Layered(Linear(2), 3)
    y0, theta, cotangent = rng.normal(size=(4, 2)), rng.normal(size=12), rng.normal(size=(7, 4, 2))
    pulled = pullback(f, y0, t, theta, cotangent, gradient=route, method=method, **options)
    taken = run(f, y0, t, theta, [], method=method, **options)
    same = {"method": method} | ({"grid": [*(step[0] for step in taken.tape), t[-1]]} if "rtol" in options else options)
    for dy0, dtheta in ((rng.normal(size=y0.shape), 0 * theta), (0 * y0, rng.normal(size=12))):
        change = complex_step(lambda s: np.sum(cotangent * run(f, y0 + s * dy0, t, theta + s * dtheta, **same).solution.ys), 0.0, 1.0)
        assert abs(np.vdot(pulled.y0, dy0) + np.vdot(pulled.theta, dtheta) - change) <= EXACT * (1 + abs(change))
        if "rtol" not in options:
            _, ws = pushforward(f, y0, t, theta, dy0, dtheta, method=method, **options)
            assert abs(np.vdot(cotangent, ws) - change) <= EXACT * (1 + abs(change))


@pytest.mark.parametrize("route", ["discrete", "checkpoint", "backsolve", "interpolate"])
def test_every_route_goes_through_with_the_gradient_of_the_solution(route):
    t = [0.0, 0.5, 1.0, 2.7, 3.0]
    pulled = pullback(FIELD, [1.0], t, THETA, [1.0], gradient=route, rtol=1e-10, atol=1e-10)
    end = np.exp(THETA.sum())
    assert_agree(pulled.y0, [end], SOLVED)
    assert_agree(pulled.theta, np.full(3, end), SOLVED)
    assert_agree(pulled.t, [-0.3 * end, 0, 0, 0, 0.8 * end], SOLVED)
    at_a_jump = pullback(FIELD, [1.0], [0.0, 1.0], THETA, [1.0], gradient=route, rtol=1e-10, atol=1e-10)
    assert_agree(at_a_jump.t, 0.3 * np.exp(0.3) * np.array([-1, 1]), SOLVED)          # from the left


def test_trajectories_tuples_and_float32_go_across_jumps():
    y0, t = np.array([[1.0], [2.0]]), [0.0, 1.5, 3.0]
    own = {"rtol": 1e-10, "atol": 1e-10, "per_trajectory": True}
    solution = solve(FIELD, y0, t, THETA, **own)
    assert_agree(solution.ys[-1], y0 * np.exp(0.6), SOLVED)
    assert solution.stats.n_steps.shape == (2,) and np.array_equal(solution.interpolate(t), solution.ys)
    assert_agree(pullback(FIELD, y0, t, THETA, y0, **own).theta, np.full(3, 5 * np.exp(0.6)), SOLVED)
    u, v = solve(lambda t, s: (as_function(t, s[0]), -s[1]), (np.ones(1), np.ones((2, 2))), t, tstops=FIELD.tstops).interpolate([3.0, 1.0])
    assert u.shape == (2, 1) and v.shape == (2, 2, 2) and abs(u[1, 0] - np.exp(0.3)) < 1e-5
    single = odeint(lambda t, y: as_function(t, y).astype(np.float32), np.ones(1, np.float32), t, tstops=[1, 2], method="rk4")
    assert single.dtype == np.float32


def test_an_error_in_a_later_leg_has_the_solution_of_those_before():
    def f(t, y):
        return y**2 if t > 1 else 0 * y
    with pytest.raises(SolverError) as caught:                         # 1 / (2 − t) from t = 1 on
        solve(f, [1.0], [0.0, 0.5, 1.0, 1.5, 3.0], tstops=[1.0])
    assert caught.value.solution.t.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert_agree(caught.value.solution.ys[:, 0], [1.0, 1.0, 1.0, 2.0], 1e-4)


def test_progress_runs_from_leg_to_leg_and_the_tape_has_all_steps():
    seen, tape = [], []
    done = run(FIELD, [1.0], [0.0, 3.0], THETA, tape, method="rk4", step_size=0.5, progress=seen.append)
    assert_agree(seen, np.arange(1, 7) / 6, ROUND_OFF)
    assert [step[0] for step in tape] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5] and done.tape is tape


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.lists(st.integers(-2, 14), max_size=5), st.booleans())
def test_the_legs_cover_the_span_once(times, stops, is_reversed):
    t = np.sort(np.array(times, float))[::-1 if is_reversed else 1]
    found = legs(t, np.array(stops, float))
    inside = {s for s in stops if t.min() <= s <= t.max()}
    assert bool(found) == bool(inside and t[0] != t[-1])
    if found:
        assert np.concatenate([leg.at[leg.at >= 0] for leg in found]).tolist() == list(range(len(t)))
        assert all(np.array_equal(leg.t[leg.at >= 0], t[leg.at[leg.at >= 0]]) for leg in found)
        assert found[0].t[0] == t[0] and found[-1].t[-1] == t[-1]
        assert all(a.t[-1] == b.t[0] and a.t[-1] in inside for a, b in zip(found, found[1:]))
        assert not any(leg.least <= s <= leg.most for leg in found for s in inside)


@pytest.mark.parametrize("tstops, error, message", [
    ([0.5, np.nan], ValueError, "tstops must be finite"), ([[0.5]], ValueError, "tstops must be a list of times"),
    (0.5, ValueError, "tstops must be a list of times"), ("later", TypeError, "tstops must")])
def test_stops_that_are_no_times_are_refused(tstops, error, message):
    with pytest.raises(error, match=message):
        solve(as_function, [1.0], [0.0, 3.0], tstops=tstops)


@each_method_and_span
def test_behind_a_stop_f_is_evaluated_afresh_and_at_it_never(method, span):
    asked, stop = [], 1.5

    def f(t, y):
        asked.append(float(t))
        return -y + (t > stop)
    solution = solve(f, [1.0], span, method=method, tstops=[stop], jacobian=lambda t, y: np.array([[-1.0]]))
    sides = [np.nextafter(stop, end) for end in span]
    assert stop not in asked and solution.stats.n_f == len(asked)
    if getattr(method, "is_fsal", False) and getattr(method, "is_explicit", False):
        before, behind = (asked.index(side) for side in sides)
        assert before < behind and asked.count(sides[1]) == 1          # the last stage of a step, and not the first of the next
    pieces, y = [], [1.0]
    for a, b in ((span[0], stop), (stop, span[1])):
        late = max(a, b) > stop
        pieces.append(solve(lambda t, y: -y + late, y, [a, b], method=method, jacobian=lambda t, y: np.array([[-1.0]])))
        y = pieces[-1].ys[-1]
    assert_agree(solution.ys[-1], y, ROUND_OFF)
    assert solution.stats.n_f == sum(piece.stats.n_f for piece in pieces)
    assert_agree(solution.t_steps, np.concatenate([pieces[0].t_steps, pieces[1].t_steps[1:]]), ROUND_OFF)


@pytest.mark.parametrize("route", ["discrete", "checkpoint", "backsolve", "interpolate"])
def test_every_route_goes_through_with_a_longest_step_and_tolerances_of_each_component(route):
    f, y0, t = Layered(Linear(2), 3), np.array([1.0, -0.5]), [0.0, 1.0, 2.2, 3.0]
    theta, cotangent = np.cos(np.arange(12.0)), np.sin(1 + np.arange(8.0)).reshape(4, 2)
    expected = pullback(f, y0, t, theta, cotangent, method="dop853", rtol=1e-12, atol=1e-12)
    got = pullback(f, y0, t, theta, cotangent, gradient=route, rtol=[1e-10, 1e-9], atol=[1e-9, 1e-10], max_step=0.1)
    for one, other in zip(got, expected):
        assert_agree(one, other, SOLVED)

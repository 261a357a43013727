"""One step function runs every explicit table: stage by stage, as R(hλ), at its order, along its grid."""

import math
import tracemalloc
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from scipy.integrate import solve_ivp

from minode import SolverError, Tableau, methods, odeint, odeint_euler, odeint_rk4, solve
from minode.solvers.explicit import Grid, explicit_step
from minode.solvers.solve import run
from tests.solvers.test_adaptive import fewer
from tests.strategies import arrays, assert_agree, grids

EPS = np.finfo(float).eps
ROUND_OFF = 200 * EPS                  # relative to the terms of a few sums of at most thirteen products
CLOCK = 4 * EPS                        # t + c h: two roundings, and c itself
SLOPE = 0.1                            # of an observed order on finite grids
WORTH_A_STEP = 1e-11                   # by which a step may exceed step_size (1e-12, and the roundings)
LONG = 1e3                             # a step size longer than any interval: fixed steps, one for each

LAST_IS_FIRST = Tableau("own", 3, A=["", "1/2", "0 3/4", "2/9 1/3 4/9"], b="2/9 1/3 4/9 0")
RALSTON = Tableau("own", 2, A=["", "2/3"], b="1/4 3/4")
TABLES = [*(m for m in methods.values() if isinstance(m, Tableau) and m.is_explicit), LAST_IS_FIRST, RALSTON]
FIXED = ["euler", "midpoint", "heun", "rk4", "rk38"]
each_table = pytest.mark.parametrize("tableau", TABLES, ids=lambda tableau: f"{tableau.name}{tableau.stages}")


def f(t, y):
    """Nonlinear, non-autonomous, its Jacobian not symmetric."""
    return np.array([y[1] * np.cos(3 * t) - 0.3 * y[0]**2, t - y[0] * y[1]])


def recorded(tableau, f, y0, t):
    """The calls (t, y, f(t, y)) of a solve in fixed steps, and the solution."""
    calls = []

    def spy(t, y):
        calls.append((t, y.copy(), f(t, y)))
        return calls[-1][2]

    return calls, solve(spy, y0, t, method=tableau, step_size=LONG)


# -- (9.1), (9.2), (9.3) ----------------------------------------------------------------------

def assert_steps_follow(tableau, calls, ys, t):
    """Every call of f is at the node, every stage and state the sum, that the table says; no call is left."""
    calls, last = iter(calls), None
    for t_n, h, y, y_new in zip(t, np.diff(t), ys, ys[1:]):
        if last is None or tableau.A[-1] != tableau.b:
            asked, Y, last = next(calls)
            assert asked == t_n and np.array_equal(Y, y)
        k = [last]
        for i in range(1, tableau.stages):
            asked, Y, last = next(calls)
            assert abs(asked - (t_n + float(tableau.c[i]) * h)) <= CLOCK * (1 + abs(t_n))
            assert_is_sum(Y, y, h, tableau.A[i], k)
            k.append(last)
        assert_is_sum(y_new, y, h, tableau.b, k)
    assert list(calls) == []


def assert_is_sum(got, y, h, weights, k):
    terms = [y, *(h * float(w) * k_j for w, k_j in zip(weights, k))]
    assert np.all(np.abs(got - sum(terms)) <= ROUND_OFF * (1 + sum(map(np.abs, terms))))


@pytest.mark.eq("9.1", "9.2", "9.3")
@each_table
@fewer
@given(arrays(2), grids())
def test_every_stage_is_asked_for_where_the_table_says_and_only_once(tableau, y0, t):
    calls, solution = recorded(tableau, f, y0, t)
    assert_steps_follow(tableau, calls, solution.ys, t)
    stats, steps = solution.stats, len(t) - 1
    saved = steps - 1 if tableau.A[-1] == tableau.b else 0
    assert stats.n_f == len(calls) == steps * tableau.stages - saved
    assert (stats.n_steps, stats.n_accepted, stats.n_rejected, stats.n_jac) == (steps, steps, 0, 0)


@pytest.mark.eq("9.1", "9.2", "9.3")
@each_table
@fewer
@given(arrays(4), st.floats(-1, 1), st.floats(-1, 1))
def test_one_step_hands_over_the_increments_and_the_last_velocity(tableau, y, t, h):
    def swirl(t, y):
        return np.sin(t) * np.roll(y, 1) - np.sin(2 * y) + t
    y_new, k_last, hK = explicit_step(swirl, tableau, t, h, y, swirl(t, y))
    assert hK.shape == (tableau.stages, 4) and hK.dtype == y.dtype
    for i, a_i in enumerate(tableau.A):
        Y = y + sum(float(a) * row for a, row in zip(a_i, hK[:i]))
        k = swirl(t + float(tableau.c[i]) * h, Y)
        assert_agree(hK[i], h * k, ROUND_OFF)
    assert_agree(k_last, k, ROUND_OFF)
    assert_is_sum(y_new, y, 1.0, tableau.b, hK)


@pytest.mark.eq("9.3")
@each_table
def test_a_step_rounds_a_large_state_once(tableau):
    rng = np.random.default_rng(0)
    slopes, y0, t = rng.normal(size=(2, 50)), 1e9 * rng.uniform(1.0, 2.0, 50), np.linspace(0.0, 0.3, 4)
    calls, solution = recorded(tableau, lambda t, y: slopes[0] + t * slopes[1], y0, t)
    for t_n, h, y, y_new in zip(t, np.diff(t), solution.ys, solution.ys[1:]):
        k = [slopes[0] + (t_n + float(c) * h) * slopes[1] for c in tableau.c]
        exact = [math.fsum(column) for column in zip(y, *(h * float(b) * k_i for b, k_i in zip(tableau.b, k)))]
        assert np.all(np.abs(y_new - exact) <= 0.501 * np.spacing(y_new))


@pytest.mark.eq("9.1", "9.2", "9.3")
@each_table
@fewer
@given(st.complex_numbers(max_magnitude=3.0, allow_nan=False), st.complex_numbers(max_magnitude=3.0), grids())
def test_a_step_multiplies_by_the_polynomial_of_the_table(tableau, lam, y0, t):
    # R(z) = 1 + z b·1 + z² b·A1 + z³ b·A²1 + …, which ends since A is strictly lower triangular.
    powers, coefficients = [Fraction(1)] * tableau.stages, [Fraction(1)]
    for _ in range(tableau.stages):
        coefficients.append(sum(b * p for b, p in zip(tableau.b, powers)))
        powers = [sum(a * p for a, p in zip(row, powers)) for row in tableau.A]
    R = np.polynomial.Polynomial([float(x) for x in coefficients])
    ys = odeint(lambda t, y: lam * y, y0, t, method=tableau, step_size=LONG)
    assert_agree(ys, y0 * np.cumprod([1.0 + 0j, *R(np.diff(t) * lam)]), 10 * ROUND_OFF)


@pytest.mark.eq("9.1", "9.2", "9.3")
@pytest.mark.parametrize("name, textbook", [("euler", odeint_euler), ("rk4", odeint_rk4)])
@given(arrays((3, 2)), grids())
def test_the_step_of_the_table_is_the_one_spelled_out_in_chapter_6(name, textbook, y0, t):
    def rows(t, y):
        return np.stack([f(t, y_b) for y_b in y])
    assert_agree(odeint(rows, y0, t, method=name), textbook(rows, y0, t), ROUND_OFF)


def broken(**change):
    table = replace(methods["rk4"])
    for field, value in change.items():
        object.__setattr__(table, field, tuple(value))              # past the checks of (7.1) and (7.2)
    return table


A, B, C = methods["rk4"].A, methods["rk4"].b, methods["rk4"].c
MISTAKES = {                                                        # what is run as rk4, the order it has
    "the clock stands still": (broken(c=[0, 0, 0, 0]), 1),
    "k4 a whole step late": (broken(c=[*C[:3], 2 * C[3]]), 1),
    "k3 from k1": (broken(A=[A[0], A[1], A[1], A[3]]), 2),
    "k4 from half of k3": (broken(A=[*A[:3], [a / 2 for a in A[3]]]), 1),
    "weights exchanged": (broken(b=[B[1], B[0], B[3], B[2]]), 2),
    "weights in equal parts": (broken(b=[Fraction(1, 4)] * 4), 2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_step_with_a_mistake_is_noticed_stage_by_stage_and_loses_its_order(mistake):
    table, order = MISTAKES[mistake]
    y0, t = np.array([0.4, -0.3]), np.array([0.2, 0.5, 0.7])
    calls, solution = recorded(table, f, y0, t)
    with pytest.raises(AssertionError):
        assert_steps_follow(methods["rk4"], calls, solution.ys, t)
    assert abs(observed_order(table, 320, (0.2, 2.2)) - order) <= SLOPE


# -- order ------------------------------------------------------------------------------------

def observed_order(tableau, n, span):
    def error(n):
        ys = odeint(f, [0.4, -0.3], np.linspace(*span, n + 1), method=tableau, step_size=LONG)
        return np.linalg.norm(ys[-1] - exact)
    exact = solve_ivp(f, span, [0.4, -0.3], "DOP853", rtol=3e-14, atol=1e-15).y[:, -1]
    return np.log2(error(n) / error(2 * n))


# Steps where h^p rules and round-off does not yet. Tables tuned to a small error (dopri5, tsit5, dop853) have
# none such: the trees of test_orders.py prove their order, the stages above that they are what is run.
STEPS = {"euler": 400, "midpoint": 100, "heun": 100, "rk4": 40, "rk38": 40, "cash_karp": 60}
SLOPES = [*((methods[name], n) for name, n in STEPS.items()), (LAST_IS_FIRST, 200), (RALSTON, 100)]


@pytest.mark.eq("9.1", "9.2", "9.3")
@pytest.mark.parametrize("span", [(0.2, 2.2), (2.2, 0.2)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("tableau, n", SLOPES, ids=[*STEPS, "last is first", "ralston"])
def test_the_error_falls_at_the_order_of_the_table(tableau, n, span):
    assert abs(observed_order(tableau, n, span) - tableau.order) <= SLOPE


# -- the grid ---------------------------------------------------------------------------------

def times_of(t, step_size=None):
    """All times of a grid, one after the other; the steps back are the same steps."""
    grid = Grid(np.array(t), step_size)
    steps = list(grid)
    assert list(reversed(grid)) == steps[::-1]
    assert all(last[1] == first[0] for last, first in zip(steps, steps[1:]))
    return np.array([float(t[0])] + [t_new for _, t_new in steps])


@pytest.mark.eq("9.4")
@given(st.floats(-2, 2), st.integers(1, 200), st.sampled_from([0.1, 0.2, 0.3, 0.7, 1/3, 1e-3]),
       st.sampled_from([1, -1]))
def test_an_interval_of_m_steps_is_m_steps_in_spite_of_round_off(t_a, m, step_size, sign):
    t_b = t_a + sign * m * step_size
    expected = [t_a + j * (t_b - t_a) / m for j in range(m)] + [t_b]
    assert np.array_equal(times_of([t_a, t_b], step_size), expected)


@pytest.mark.eq("9.4")
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5), st.floats(0.05, 20), st.booleans())
@example([0.0, 1.4], 1.0, False)                       # which is nearer to one step than to two
def test_the_grid_has_the_fewest_equal_steps_that_are_not_too_long(times, step_size, down):
    t = np.sort(times)[::-1] if down else np.sort(times)
    grid = times_of(t, step_size)
    ends = [np.flatnonzero(grid == time).item() for time in dict.fromkeys(t.tolist())]      # met once
    assert ends[0] == 0 and ends[-1] == len(grid) - 1
    for first, last in zip(ends, ends[1:]):
        m, interval = last - first, abs(grid[last] - grid[first])
        steps = np.abs(np.diff(grid[first:last + 1]))
        assert np.all(np.abs(steps - interval / m) <= CLOCK * 5)
        assert interval / m <= step_size * (1 + WORTH_A_STEP)
        assert m == 1 or interval / (m - 1) > step_size


@pytest.mark.eq("9.4")
def test_a_grid_ends_at_the_last_time_and_not_beside_it():
    tenths = np.arange(-20, 21) / 10
    pairs = [(t_a, t_b) for t_a in tenths.tolist() for t_b in tenths.tolist() if t_a != t_b]
    assert any(t_a + (t_b - t_a) != t_b for t_a, t_b in pairs)                 # what the formula would give
    assert all(list(Grid(np.array(pair), abs(pair[1] - pair[0]) / 3))[-1][1] == pair[1] for pair in pairs)


@pytest.mark.eq("9.4")
def test_times_on_the_grid_are_computed_and_not_accumulated():
    n = 100_000
    grid = times_of([0.0, n / 10], 0.1)
    accumulated = np.add.accumulate(np.full(n, 0.1))
    assert len(grid) == n + 1 and sum([0.1] * 10) == 0.9999999999999999
    assert np.abs(grid - np.arange(n + 1) / 10).max() <= 2 * EPS * n / 10
    assert abs(accumulated[-1] - n / 10) > 1000 * EPS * n / 10
    assert len(times_of([0.0, 0.3], 0.1)) == len(times_of([0.1, 0.4], 0.1)) == 4


@pytest.mark.eq("9.4")
@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_size_refines_the_grid_and_changes_nothing_else(sign):
    t, fine = sign * np.array([0.0, 0.25, 0.25, 1.0]), sign * np.linspace(0.0, 1.0, 9)
    solution = solve(f, [0.4, -0.3], t, method="rk4", step_size=0.125)
    assert solution.stats.n_steps == 8 and solution.stats.n_f == 32
    assert np.array_equal(solution.ys, odeint(f, [0.4, -0.3], fine, method="rk4")[[0, 2, 2, 8]])
    once = solve(f, [0.4, -0.3], t, method="rk4", step_size=2.0)
    assert once.stats.n_steps == 2 and np.array_equal(once.ys, odeint(f, [0.4, -0.3], t, method="rk4"))


# -- times, and the end of the road -----------------------------------------------------------

@each_table
def test_times_may_fall_repeat_or_stand_alone(tableau):
    def run(f, t):
        return odeint(f, [0.4, -0.3], t, method=tableau, step_size=LONG)
    up = np.array([0.0, 0.3, 0.5, 1.2])
    assert_agree(run(f, -up), run(lambda t, y: -f(-t, y), up), ROUND_OFF)
    ys = run(f, up[[0, 0, 1, 2, 2, 3, 3]])
    assert np.array_equal(ys, run(f, up)[[0, 0, 1, 2, 2, 3, 3]])
    calls, solution = recorded(tableau, f, [0.4, -0.3], [0.7])
    assert calls == [] and solution.ys.tolist() == [[0.4, -0.3]] and solution.stats.n_steps == 0
    assert run(f, [0.7, 0.7]).tolist() == [[0.4, -0.3]] * 2


@each_table
def test_a_field_may_reuse_the_array_it_returns(tableau):
    buffer, t = np.empty(2), np.array([0.0, 0.3, 0.5, 1.2])

    def frugal(t, y):
        buffer[:] = f(t, y)
        return buffer

    ys = [odeint(field, [0.4, -0.3], t, method=tableau, step_size=LONG) for field in (frugal, f)]
    assert np.array_equal(*ys)


def test_a_field_may_have_attributes_of_its_own():
    class Reactor:
        inlet = 0.3

        def __call__(self, t, y):
            return self.inlet - y
    t = [0.0, 0.5, 1.0]
    assert np.array_equal(odeint(Reactor(), [1.0], t, method="rk4"), odeint(lambda t, y: 0.3 - y, [1.0], t, method="rk4"))


def test_it_may_reuse_it_where_the_dense_output_calls_it_between_two_steps():
    buffer, b = np.empty(2), methods["bosh3"].b
    own = Tableau("own", order=3, A=methods["bosh3"].A, b=b, dense=[[x] for x in b] + [[0]], dense_A=["1/2"])

    def frugal(t, y):
        buffer[:] = f(t, y)
        return buffer

    ys = [run(field, np.array([0.4, -0.3]), [0.0, 0.2, 1.0], method=own, grid=[0.0, 0.5, 1.0]).solution.ys
          for field in (frugal, f)]
    assert np.array_equal(*ys)


@pytest.mark.parametrize("name", FIXED)
def test_a_solve_that_ends_early_hands_over_the_output_times_it_reached(name):
    t = np.linspace(0.0, 3.0, 7)                                    # y' = y² is gone at t = 1
    with pytest.raises(SolverError, match="state is no longer finite") as caught:
        odeint(lambda t, y: y**2, [1.0], t, method=name, step_size=0.1)
    error, n = caught.value, len(caught.value.solution.t)
    assert 1 < n < 7 and 0.9 < error.t < 3.0 and t[n - 1] <= error.t
    assert np.array_equal(error.solution.t, t[:n])
    again = odeint(lambda t, y: y**2, [1.0], t[:n], method=name, step_size=0.1)
    assert np.array_equal(error.solution.ys, again)


def test_a_solve_gives_up_after_max_steps():
    with pytest.raises(SolverError, match=r"t = 0\.5.*max_steps = 5") as caught:
        odeint(f, [0.4, -0.3], [0.0, 0.3, 1.0], method="rk4", step_size=0.1, max_steps=5)
    assert caught.value.t == 0.5 and caught.value.solution.t.tolist() == [0.0, 0.3]


@pytest.mark.eq("9.4")
@pytest.mark.parametrize("t, spacing", [([0.0, 1.0], "2.2e-16"), ([5.0, -1000.0], "1.1e-13")])
@pytest.mark.parametrize("step_size", [1e-300, 5e-324, 1e-17])
@pytest.mark.parametrize("method", ["rk4", "dopri5", "reversible_heun"])
def test_a_step_that_would_not_move_the_clock_is_refused_before_any_work(t, spacing, step_size, method):
    message = f"step_size must be at least the spacing of numbers at t, {spacing}, not {step_size}"
    with pytest.raises(ValueError, match=message):
        odeint(never_called, [0.4, -0.3], t, method=method, step_size=step_size)


def never_called(t, y):
    raise AssertionError("f was called before step_size was looked at")


@pytest.mark.eq("9.4")
@pytest.mark.parametrize("method", ["rk4", "reversible_heun"])
def test_more_steps_than_fit_into_memory_stop_at_max_steps_and_take_none(method):
    tracemalloc.start()
    try:
        with pytest.raises(SolverError, match="max_steps = 100 were not enough") as caught:
            odeint(f, [0.4, -0.3], [0.0, 1.0], method=method, step_size=1e-14, max_steps=100)
        assert tracemalloc.get_traced_memory()[1] < 100_000             # and not the 8e14 bytes of their times
    finally:
        tracemalloc.stop()
    assert 0 < caught.value.t < 1.1e-12 and caught.value.solution.t.tolist() == [0.0]

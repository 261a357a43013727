"""Between the steps lies what the trees say, of the order they say, and asking for it changes no step."""

import functools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import DOP853, RK23, RK45, solve_ivp

from minode import SolverError, Tableau, methods, odeint, reversible, solve
from minode.solvers.dense import dense_output, is_in_step, state_inside, weights_at
from minode.solvers.solve import run
from tests.solvers.test_adaptive import each_problem, fewer, pendulum
from tests.solvers.trees import EPS as PRINTED, Weights, density, order, rooted_trees
from tests.strategies import arrays, assert_agree, grids

EPS = np.finfo(float).eps
ROUND_OFF = 200 * EPS                        # relative to the terms of a few sums of at most sixteen products
SLOPE = 0.1                                  # of an observed order on finite steps
HERMITE = 0.1                                # times h⁴: a fourth derivative below 40, over 384
CLEARLY = 1000                               # times what printing allows: no rounding explains that
ONE_STEP = dict(rtol=1e9, atol=1e9)          # any step will do

L_STABLE = {"implicit_euler": 1, "radau3": 2, "radau5": 3, "trbdf2": 2, "kvaerno5": 4}      # the orders between
OWN_DENSE = {"dopri5": 4, "tsit5": 4, "dop853": 7} | L_STABLE
BETWEEN = {"radau5": 0.008, "kvaerno5": 0.022}       # beyond 1, of R at σ: near the imaginary axis
PEAK = 5e-4                                  # what these three digits and a finite grid leave open
TABLES = [m for m in methods.values() if isinstance(m, Tableau)]
each_table = pytest.mark.parametrize("tableau", TABLES, ids=lambda tableau: tableau.name)
sigma = np.linspace(0.0, 1.0, 21)


def jacobian(t, y):
    return np.array([[0.0, 1.0], [-3 * np.cos(y[0]), -0.2]])


def options(method, tol=1e-3):
    """What a solve of the pendulum with this method is told."""
    implicit = isinstance(method, Tableau) and not method.is_explicit
    return dict(method=method, rtol=tol, atol=tol, jacobian=jacobian if implicit else None)


def rounding(method):
    """Of a state between: the weights are polynomials, dop853's with coefficients of some hundreds."""
    return ROUND_OFF * (np.abs(dense_output(method).P).max() if isinstance(method, Tableau) else 1.0)


# -- the weights ------------------------------------------------------------------------------

def rows(tableau):
    """The coefficients P of b_j(σ), exact where the table prints them, and the rows of A of all stages j."""
    dense = dense_output(tableau)
    P = dense.P.tolist() if tableau.dense is None else tableau.dense
    A = [*tableau.A, *dense.A[tableau.stages:].tolist()]
    return [[[Fraction(x) for x in row] for row in table] for table in (P, A)]


def broken(tableau, nodes, allowed=1):
    """The trees of so many nodes whose Σ_j b_j(σ) Φ_j(t) = σ^{|t|} / γ(t) fails in some power of σ."""
    P, A = rows(tableau)
    phi, size = Weights(A), Weights([[abs(a) for a in row] for row in A])
    exact = all(x.denominator < 10**12 for row in (*P, *A) for x in row)
    found = []
    for tree in rooted_trees(nodes):
        for m, column in enumerate(zip(*P), start=1):
            residual = phi.total(column, tree) - Fraction(m == nodes, density(tree))
            printed = 0 if exact else order(tree) * PRINTED * size.total(map(abs, column), tree)
            if abs(residual) > allowed * printed:
                found.append(tree)
    return found


@pytest.mark.eq("11.1", "11.2")
@each_table
def test_the_weights_fulfil_the_conditions_of_the_trees_up_to_their_order_and_no_further(tableau):
    q = OWN_DENSE.get(tableau.name, min(tableau.order, 3))
    assert not any(broken(tableau, nodes) for nodes in range(1, q + 1))
    assert broken(tableau, q + 1, CLEARLY)


@pytest.mark.eq("11.1", "11.2")
@each_table
def test_the_weights_meet_the_step_at_both_ends_in_value_and_slope(tableau):
    dense = dense_output(tableau)
    P, stages, nodes = dense.P, len(dense.P), dense.c
    at_end = dense.b
    A, b, c = tableau.arrays()
    assert np.array_equal(at_end, np.append(b, np.zeros(stages - len(b)))) and nodes[:len(c)] == c
    assert np.array_equal(dense.A[:len(b)], np.hstack([A, np.zeros((len(b), stages - len(b)))]))
    assert_agree(dense.A.sum(axis=1), nodes, ROUND_OFF)
    assert_agree(weights_at(dense, 0.0), np.zeros(stages), 0.0)
    assert_agree(weights_at(dense, 1.0), at_end, rounding(tableau))
    slopes = P[:, 0], P @ np.arange(1, P.shape[1] + 1)                # b'_j(0) and b'_j(1)
    for slope, node in list(zip(slopes, (0.0, 1.0)))[tableau.name in L_STABLE:]:      # are f at that end, nothing else
        j = int(np.argmax(slope))
        assert nodes[j] == node
        assert_agree(slope, np.eye(stages)[j], rounding(tableau))


@pytest.mark.eq("11.1", "13.2")
@pytest.mark.parametrize("name", L_STABLE)
def test_between_the_steps_of_an_l_stable_method_no_decay_grows(name):
    dense, sizes = dense_output(methods[name]), np.concatenate([np.logspace(-2, 8, 60), np.linspace(1.0, 10.0, 181)])
    z = -sizes[:, None] * np.exp(1j * np.pi / 2 * np.linspace(0.0, 1.0, 21))       # the other half is conjugate
    ones = np.ones((len(dense.b), 1))
    k = np.linalg.solve(np.eye(len(dense.b)) - z[..., None, None] * dense.A, ones)[..., 0]       # hK = z k for y = 1
    largest = np.abs(1 + z[..., None] * (k @ weights_at(dense, np.linspace(0.0, 1.0, 101)))).max(axis=(0, 2))
    assert largest[0] <= 1 + ROUND_OFF                                             # for λ < 0
    assert abs(largest.max() - 1 - BETWEEN.get(name, 0.0)) <= PEAK
    for lam in (-1e3, -1e6, -1e12):
        fast = solve(lambda t, y: lam * y, [1.0], [0.0, 1.0, 2.0], method=name, jacobian=lambda t, y: [[lam]],
                     step_size=1.0)
        assert np.abs(fast.interpolate(2 * sigma)).max() <= 1 + ROUND_OFF


@pytest.mark.eq("11.1")
@given(st.sampled_from(sorted(OWN_DENSE)), st.data())
def test_a_state_between_is_a_sum_of_increments_with_those_weights(name, data):
    tableau, n = methods[name], 2
    y, hK = data.draw(arrays(n)), data.draw(arrays((len(tableau.dense), n)))
    times = data.draw(arrays(3, bound=1.0))
    expected = [y + sum(sum(float(p) * x**m for m, p in enumerate(row, start=1)) * hk
                        for row, hk in zip(tableau.dense, hK)) for x in times]
    dense = dense_output(tableau)
    assert_agree(state_inside(dense, times, y, hK), expected, rounding(tableau))
    assert_agree(state_inside(dense, times[:1], y, hK), expected[:1], rounding(tableau))
    assert np.array_equal(weights_at(dense, times.reshape(3, 1)), weights_at(dense, times)[..., None])


@pytest.mark.eq("11.2")
@each_table
@fewer
@given(arrays(3), st.tuples(st.floats(-2, 2), st.sampled_from([0.5, -0.75])))
def test_hermites_cubic_and_better_is_exact_where_the_solution_is_a_cubic(tableau, p, span):
    slope = np.polynomial.Polynomial(p)
    order = OWN_DENSE.get(tableau.name, tableau.order)
    if order < 3:                                                     # the step must be exact to begin with
        slope = slope.cutdeg(order - 1)
    exact, (t, h) = slope.integ(), span
    solution = solve(lambda t, y: np.array([slope(t)]), [exact(t)], [t, t + h], step_size=1.0, method=tableau,
                     jacobian=lambda t, y: np.zeros((1, 1)))
    times = t + h * sigma
    assert_agree(solution.interpolate(times)[:, 0], exact(times), rounding(tableau))


@pytest.mark.eq("11.2")
@pytest.mark.parametrize("sign", [1, -1])
def test_a_table_of_the_readers_has_the_cubic_too_whether_or_not_its_stages_are_at_the_ends(sign):
    gauss, radau = methods["gauss4"], methods["radau3"]
    slope = np.polynomial.Polynomial([1.0, -2.0, 3.0])
    exact, t = slope.integ(), sign * np.array([0.0, 0.75, 1.5])
    for table in (gauss, radau):
        own = Tableau("own", table.order, A=table.A, b=table.b, b_hat="1 0", embedded_order=1)
        for steps in (dict(step_size=2.0), ONE_STEP | dict(first_step=2.0)):
            solution = solve(lambda t, y: np.array([slope(t)]), [0.0], t, method=own,
                             jacobian=lambda t, y: np.zeros((1, 1)), **steps)
            times = t[-1] * sigma
            assert_agree(solution.interpolate(times)[:, 0], exact(times), ROUND_OFF)
            assert_agree(solution.ys[:, 0], exact(t), ROUND_OFF)


# -- against others, and against the solution -------------------------------------------------

@pytest.mark.eq("11.1", "11.2")
@each_problem
@pytest.mark.parametrize("name, theirs", [("bosh3", RK23), ("dopri5", RK45), ("dop853", DOP853)])
def test_between_the_ends_of_the_same_step_lies_what_scipy_says(name, theirs, f, y0, span):
    t, t_new = span[0], span[0] + 0.1 * np.sign(span[1] - span[0])
    other = theirs(f, t, np.array(y0), t_new, first_step=abs(t_new - t), **ONE_STEP)
    other.step()
    times = t + (t_new - t) * sigma
    solution = solve(f, y0, [t, t_new], method=name, first_step=abs(t_new - t), **ONE_STEP)
    assert other.t == t_new and solution.stats.n_accepted == 1
    assert_agree(solution.interpolate(times), other.dense_output()(times).T, rounding(methods[name]))


@functools.cache
def pendulums_path():
    """t -> the state of the pendulum that starts in (0.5, −0.3) at 0, until 4, by SciPy."""
    return solve_ivp(pendulum, (0.0, 4.0), [0.5, -0.3], "DOP853", rtol=1e-13, atol=1e-14, max_step=0.02,
                     dense_output=True).sol


@pytest.mark.eq("11.1", "11.2")
@pytest.mark.parametrize("name, power, n", [
    ("linear", 2, 80), ("cash_karp", 4, 60), (reversible("dopri5"), 4, 60), ("dopri5", 5, 80), ("tsit5", 5, 80), ("dop853", 8, 32)])
def test_the_error_between_the_steps_falls_with_its_power_of_the_step(name, power, n):
    span = (0.0, 4.0)

    def error(n):
        t = np.linspace(*span, n + 1)
        between = np.concatenate([t[:-1] + x * np.diff(t) for x in (0.21, 0.5, 0.83)])
        exact = reference(between)
        if name == "linear":
            got = np.stack([np.interp(between, t, y) for y in reference(t)])
        else:
            got = solve(pendulum, [0.5, -0.3], t, method=name, step_size=1.0).interpolate(between).T
        return np.abs(got - exact).max()
    reference = pendulums_path()
    assert abs(np.log2(error(n) / error(2 * n)) - power) <= SLOPE


@pytest.mark.parametrize("method", [*methods.values(), reversible("rk4")], ids=lambda method: method.name)
def test_between_the_steps_the_error_is_hardly_more_than_at_them(method):
    t = np.linspace(0.0, 2.0, 41)
    middle = (t[1:] + t[:-1]) / 2
    exact = pendulums_path()
    solution = solve(pendulum, [0.5, -0.3], t, **options(method), step_size=1.0)
    at_them = np.abs(solution.ys - exact(t).T).max()
    assert np.abs(solution.interpolate(middle) - exact(middle).T).max() <= 1.1 * at_them + HERMITE * t[1]**4


# -- what a reader does with it ---------------------------------------------------------------

EVERY_METHOD = [*methods.values(), reversible("rk4")]


@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
@pytest.mark.parametrize("span", [(0.1, 2.3), (2.3, 0.1)], ids=["forwards", "backwards"])
def test_at_the_outputs_and_the_ends_of_the_steps_it_is_what_the_solve_computed_to_the_last_digit(method, span):
    t = np.linspace(*span, 12)[[0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]]
    for times in (t, t[[0, -1]]):
        done = run(pendulum, [0.5, -0.3], times, tape=[], **options(method))
        ys, ends = done.solution.ys.copy(), done.tape
        interpolate = done.interpolation()
        assert np.array_equal(interpolate(times[::-1].reshape(2, -1)).reshape(-1, 2), ys[::-1])
        assert all(np.array_equal(interpolate(time), y) for time, y in zip(times, ys))
        assert all(np.array_equal(interpolate(step[0]), step[2]) for step in ends)
        done.solution.ys[:] = np.nan                                  # they are the caller's
        assert np.array_equal(interpolate(times), ys)


@pytest.mark.parametrize("name", [m.name for m in TABLES if m.b_hat is not None and m.is_explicit])
def test_and_so_for_each_trajectory_of_a_batch(name):
    t, y0 = np.linspace(2.3, 0.1, 7), np.array([[0.5, -0.3], [2.0, 1.0]])
    for times in (t, t[[0, -1]]):
        solution = solve(pendulum, y0, times, method=name, rtol=1e-3, atol=1e-3, per_trajectory=True)
        assert np.array_equal(solution.interpolate(times[::-1]), solution.ys[::-1])
        assert all(np.array_equal(solution.interpolate(time), y) for time, y in zip(times, solution.ys))


@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
@pytest.mark.parametrize("span", [(0.0, 2.0), (2.0, 0.0)])
def test_asking_later_is_asking_at_once(method, span):
    t = np.linspace(*span, 6)
    solution = solve(pendulum, [0.5, -0.3], t, **options(method))
    for shape in ((6,), (2, 3)):
        between = solution.interpolate(t[::-1].reshape(shape))
        assert_agree(between, solution.ys[::-1].reshape(*shape, 2), rounding(method))
    assert_agree(solution.interpolate(t[2]), solution.ys[2], rounding(method))


@pytest.mark.parametrize("method", [m for m in TABLES if m.b_hat and m.is_explicit], ids=lambda method: method.name)
@pytest.mark.parametrize("span", [(0.0, 5.0), (5.0, 0.0)])
def test_output_times_do_not_change_the_steps(method, span):
    few = solve(pendulum, [0.5, -0.3], span, **options(method))
    many = solve(pendulum, [0.5, -0.3], np.linspace(*span, 100), **options(method))
    assert np.array_equal(many.ys[-1], few.ys[-1]) and many.stats.n_steps == few.stats.n_steps
    assert (many.stats.n_accepted, many.stats.n_rejected) == (few.stats.n_accepted, few.stats.n_rejected)
    assert_agree(few.interpolate(many.t), many.ys, rounding(method))
    assert many.stats.n_f == few.stats.n_f         # now that both have asked for the states between


def test_the_dense_output_asks_for_more_only_where_it_must_and_only_once():
    calls, t = [], np.linspace(0.0, 5.0, 40)

    def f(t, y):
        calls.append(t)
        return pendulum(t, y)
    for name, extra in (("dopri5", 0), ("dop853", 3)):
        solution = solve(f, [0.5, -0.3], [0.0, 5.0], method=name)
        before = len(calls)
        for _ in range(2):
            solution.interpolate(t)
        assert len(calls) - before == extra * solution.stats.n_accepted
        assert solution.stats.n_f == len(calls)
        calls.clear()


def to_the_top(t, y):
    """y = 1 − (1 − t/2)² from 0; there is no velocity above y = 1, which it touches at t = 2."""
    return np.sqrt(np.where(y > 1, np.nan, 1 - y))


@pytest.mark.parametrize("own", [False, True], ids=["joint", "own steps"])
@pytest.mark.parametrize("method, t_end", [("dop853", 1.98), ("cash_karp", 2.03)])
def test_a_state_between_that_is_not_finite_is_reported_and_never_returned(method, t_end, own):
    t, y0 = np.linspace(0.0, t_end, 41), np.zeros((2, 1) if own else 1)
    message = ("trajectory 0: " if own else "^") + "the state is not finite between the steps, at t = "
    options = {"method": method, "rtol": 1e-3, "atol": 1e-3, "per_trajectory": own}
    with pytest.raises(SolverError, match=message) as caught:
        odeint(to_the_top, y0, t, **options)
    reached = caught.value.solution
    assert len(reached.t) > 20 and caught.value.t == t[len(reached.t)]
    assert reached.ys.shape == (len(reached.t), *y0.shape) and np.isfinite(reached.ys).all()
    whole = solve(to_the_top, y0, [0.0, t_end], **options)                    # at its steps it is finite
    with pytest.raises(SolverError, match=message) as again:
        whole.interpolate(t)
    assert again.value.t == caught.value.t and np.isfinite(whole.interpolate(reached.t)).all()


def test_a_state_between_has_the_shape_and_kind_of_y0():
    def f(t, state):
        u, z = state
        return np.cos(t) - u, 1j * t * z
    y0 = np.ones((3, 1)), 1j
    solution = solve(f, y0, [0.0, 0.5, 1.0])
    u, z = solution.interpolate([[0.1, 0.5]])
    assert u.shape == (1, 2, 3, 1) and z.shape == (1, 2)
    assert_agree(u[0, 1], solution.ys[0][1], ROUND_OFF)
    assert_agree(z[0, 1], solution.ys[1][1], ROUND_OFF)
    y0 = np.array([0.5, -0.3], np.float32)
    seen = set()

    def single(t, y):
        seen.add(y.dtype)
        return pendulum(t, y).astype(np.float32)
    for method in EVERY_METHOD:
        between = solve(single, y0, [0.0, 0.1], **options(method)).interpolate([0.05, 0.07])
        assert between.dtype == np.float32 and seen == {np.dtype(np.float32)}, method.name


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_output_belongs_to_one_step_however_near_it_is_to_the_end(sign):
    t = sign * np.cumsum([-1.0, 0.9, 0.1, 1.0])                       # the third is 2.8e-17
    times = np.sort(np.concatenate([t, np.nextafter(t, np.inf), np.nextafter(t, -np.inf)]))
    counts = sum(is_in_step(times, a, b).astype(int) for a, b in zip(t, t[1:]))
    assert np.array_equal(counts, (sign * times > sign * t[0]) & (sign * times <= sign * t[-1]))
    assert is_in_step(t[1], t[0], t[1]) and not is_in_step(t[1], t[1], t[2])      # the end is its own


def test_a_solve_of_no_steps_is_known_at_its_one_time():
    for t in ([0.5], [0.5, 0.5]):
        solution = solve(pendulum, [0.5, -0.3], t)
        assert solution.interpolate([0.5, 0.5]).tolist() == [[0.5, -0.3]] * 2
        with pytest.raises(ValueError, match=r"t must lie between 0\.5 and 0\.5, not 0\.6"):
            solution.interpolate(0.6)


@pytest.mark.parametrize("span, outside", [((0.0, 1.0), 1.1), ((0.0, 1.0), -1e-9), ((1.0, 0.0), [0.5, -0.1]),
                                           ((1.0, 0.0), 1.5)])
def test_outside_the_span_nothing_is_known(span, outside):
    solution = solve(pendulum, [0.5, -0.3], span)
    with pytest.raises(ValueError, match=rf"t must lie between {span[0]} and {span[1]}, not"):
        solution.interpolate(outside)
    with pytest.raises(ValueError, match="t must be finite"):
        solution.interpolate(np.nan)


@pytest.mark.eq("11.1")
@pytest.mark.parametrize("span", [(0.0, 3.0), (3.0, 0.0)], ids=["forwards", "backwards"])
def test_one_time_is_answered_as_it_is_among_many_at_the_ends_of_steps_and_between(span):
    solution = solve(pendulum, [0.5, -0.3], np.linspace(*span, 31), method="rk4")
    t = np.concatenate([solution.t, solution.t[:-1] + np.diff(solution.t) / 3])[::-1]
    alone = np.array([solution.interpolate(time) for time in t.tolist()])
    assert np.array_equal(alone, solution.interpolate(t))
    assert solution.interpolate([]).shape == (0, 2)

"""Steps are undone in algebra, at the order of their method; and what becomes of the state's second copy."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import SolverError, Tableau, methods, odeint, reversible, solve
from minode.solvers.reversible import round_trip
from tests.solvers.test_adaptive import EPS, fewer, pendulum, pendulum_after
from tests.strategies import arrays, assert_agree, grids, mlps

ROUND_OFF = 200 * EPS                  # of a step and back, relative to the terms of its sums
ROUND_TRIP = 1e-12                     # of a hundred steps and back, each with that round-off
SLOPE = 0.1                            # of an observed order on finite steps
SECOND = 0.01                          # relative, of a rate: h² for h = 1/10
COUPLING = 0.999

EXPLICIT = [m for m in methods.values() if isinstance(m, Tableau) and m.is_explicit]
LEAPFROG, HEUN = methods["asynchronous_leapfrog"], methods["reversible_heun"]
WRAPPED = [reversible(tableau.name) for tableau in EXPLICIT]
named = dict(ids=lambda method: method.name)
each_method = pytest.mark.parametrize("method", [LEAPFROG, HEUN, *WRAPPED], **named)
each_wrapped = pytest.mark.parametrize("tableau", EXPLICIT, **named)


# -- undone in algebra ------------------------------------------------------------------------

@pytest.mark.eq("14.1", "14.2", "14.3", "14.4")
@each_method
@fewer
@given(st.data(), mlps(), grids(max_steps=2))
def test_a_step_from_any_pair_of_copies_is_undone(method, data, network, t):
    field, theta = network

    def f(t, y):
        return field(t, y, theta)
    y, other = data.draw(arrays(field.dim)), data.draw(arrays(field.dim))     # the copies need not be alike
    state = (y, other, f(t[0], other)) if method is HEUN else (y, other)
    new = method.step(f, t[0], t[1], state)
    assert_agree(np.concatenate(method.back(f, t[1], t[0], new)), np.concatenate(state), ROUND_OFF)


@pytest.mark.eq("14.1", "14.2", "14.3", "14.4")
@given(st.sampled_from([LEAPFROG, HEUN, *WRAPPED]), st.data(), mlps(), grids())
def test_a_solve_of_a_drawn_network_is_undone(method, data, network, t):
    field, theta = network
    y0 = data.draw(arrays((2, field.dim)))
    assert_agree(round_trip(method, lambda t, y: field(t, y, theta), y0, t), y0, 10 * ROUND_OFF)


@pytest.mark.eq("14.1", "14.2", "14.3", "14.4")
@pytest.mark.parametrize("method, span", [          # backwards one of each kind: only h has another sign
    *[pytest.param(method, (0.0, 5.0), id=method.name) for method in (LEAPFROG, HEUN, *WRAPPED)],
    *[pytest.param(method, (5.0, 0.0), id=f"{method.name} backwards")
      for method in (LEAPFROG, HEUN, reversible("rk4"))]])
def test_a_hundred_steps_of_the_pendulum_are_undone_where_those_of_explicit_methods_are_not(method, span):
    t, y0 = np.linspace(*span, 101), np.array([0.5, -0.3])
    there = odeint(pendulum, y0, t, method=method)[-1]
    assert np.abs(round_trip(method, pendulum, y0, t) - y0).max() <= ROUND_TRIP < np.abs(there - y0).max()
    table = getattr(method, "tableau", methods["heun"])
    there = odeint(pendulum, y0, t, method=table, step_size=10.0)[-1]
    back = odeint(pendulum, there, t[::-1], method=table, step_size=10.0)[-1]
    assert table.order == 8 or np.abs(back - y0).max() > ROUND_TRIP


# -- the formulas, one by one -----------------------------------------------------------------

def psi(table, f, t, h, y):
    """The increment of a step of the table from y."""
    return odeint(f, y, [t, t + h], method=table, step_size=10.0)[-1] - y


@pytest.mark.eq("14.1", "14.2", "14.3")
@each_method
@fewer
@given(arrays(2), arrays(2), st.floats(-1, 1), st.sampled_from([0.125, -0.25]))
def test_a_step_is_what_its_formula_says(method, y, other, t, h):
    f = pendulum
    if method is LEAPFROG:
        middle = y + h / 2 * other
        v_new = 2 * f(t + h / 2, middle) - other
        expected = y + h * (other + v_new) / 2, v_new
        state = y, other
    elif method is HEUN:
        z_new = 2 * y - other + h * f(t, other)
        expected = y + h * (f(t, other) + f(t + h, z_new)) / 2, z_new, f(t + h, z_new)
        state = y, other, f(t, other)
    else:
        y_new = COUPLING * y + (1 - COUPLING) * other + psi(method.tableau, f, t, h, other)
        expected = y_new, other - psi(method.tableau, f, t + h, -h, y_new)
        state = y, other
    assert_agree(np.concatenate(method.step(f, t, t + h, state)), np.concatenate(expected), ROUND_OFF)


@pytest.mark.eq("14.1", "14.2", "14.3")
@each_method
@fewer
@given(arrays(2), grids(max_steps=1))
def test_the_first_step_is_a_known_one(method, y0, t):
    table = getattr(method, "tableau", methods["midpoint" if method is LEAPFROG else "heun"])
    expected = odeint(pendulum, y0, t, method=table, step_size=10.0)
    assert_agree(odeint(pendulum, y0, t, method=method), expected, ROUND_OFF)


@pytest.mark.eq("14.4")
@each_wrapped
@fewer
@given(arrays(2), arrays(2), st.floats(0.1, 1.0), st.sampled_from([0.125, -0.25]))
def test_back_is_the_inverse_for_any_coupling(tableau, y, z, coupling, h):
    method, t = reversible(tableau.name, coupling), 0.3
    new = method.step(pendulum, t, t + h, (y, z))
    back = method.back(pendulum, t + h, t, new)
    assert_agree(np.concatenate(back), np.concatenate([y, z]), ROUND_OFF / coupling)


# -- order and cost ---------------------------------------------------------------------------

# Steps where h^p rules and round-off does not yet; the tables tuned to a small h^p (dopri5, tsit5, dop853)
# have none such, and their order rests on the first step above. Coupling turns the sign of an error of odd
# order after some 1/(1 − λ) steps, and a slope across that says nothing: there λ is 1.
STEPS = {LEAPFROG: 20, HEUN: 20, reversible("euler", 1): 40, reversible("midpoint"): 40,
         reversible("heun"): 40, reversible("rk4"): 40, reversible("rk38"): 40, reversible("bosh3", 1): 80,
         reversible("fehlberg45"): 40, reversible("cash_karp", 1): 40}


@pytest.mark.eq("14.1", "14.2", "14.3")
@pytest.mark.parametrize("method", STEPS, **named)
@pytest.mark.parametrize("span", [(0.0, 2.0), (2.0, 0.0)])
def test_the_error_falls_at_the_order_of_the_method(method, span):
    def error(n):
        ys = odeint(pendulum, [0.5, -0.3], np.linspace(*span, n + 1), method=method)
        return np.linalg.norm(ys[-1] - exact)
    exact, n = pendulum_after(*span), STEPS[method]
    assert abs(np.log2(error(n) / error(2 * n)) - method.order) <= SLOPE
    assert method.order == getattr(method, "tableau", methods["heun"]).order


@pytest.mark.eq("14.1", "14.2", "14.3", "14.4")
@pytest.mark.parametrize("method", [LEAPFROG, HEUN, reversible("rk4"), reversible("rk4", 1.0)], **named)
def test_where_the_solution_grows_a_lot_the_way_back_does_not_find_its_start(method):
    def missed(end):
        """The median over twelve starts: how the rounding falls is chance."""
        starts = 1.0 + 1e-3 * np.arange(12)
        back = round_trip(method, lambda t, y: y, starts, np.linspace(0.0, end, 20 * end + 1))
        return np.median(np.abs(back / starts - 1))
    least = 1e-3 if method in (LEAPFROG, HEUN) else 1.0
    assert missed(5) < 1e-10 and least < missed(20) < 100 * least and missed(25) > 10


@each_method
def test_a_step_costs_one_call_of_f_or_two_steps_of_the_table(method):
    stats = solve(pendulum, [0.5, -0.3], np.linspace(0.0, 1.0, 11), method=method).stats
    used = None if method in (LEAPFROG, HEUN) else np.flatnonzero(method.tableau.b)[-1] + 1
    assert stats.n_f == (11 if used is None else 10 * 2 * used)            # none for a last stage of weight 0
    assert (stats.n_steps, stats.n_accepted, stats.n_rejected) == (10, 10, 0)


@each_method
def test_a_solve_that_cannot_go_on_says_where_and_hands_over_what_there_is(method):
    t = np.linspace(0.0, 3.0, 31)                      # y' = y² is gone at t = 1
    whole = odeint(lambda t, y: y**2, [1.0], t[:9], method=method)
    with pytest.raises(SolverError, match="no longer finite after the step from t = ") as caught:
        odeint(lambda t, y: y**2, [1.0], t, method=method)
    partial = caught.value.solution
    assert 0.9 < caught.value.t == partial.t[-1] < 3 and np.array_equal(partial.ys[:9], whole)
    with pytest.raises(SolverError, match=r"stopped at t = 0\.8: max_steps = 8 were not enough") as caught:
        odeint(lambda t, y: y**2, [1.0], t, method=method, max_steps=8)
    assert np.array_equal(caught.value.solution.ys, whole)


# -- the trap: what becomes of the difference of the copies -----------------------------------

def linear_map(method, lam, h):
    """The 2 × 2 matrix of a step of y' = λy from the pair of copies to the next."""
    def f(t, y):
        return lam * y
    columns = []
    for y, other in np.eye(2):
        state = np.array([y]), np.array([other])
        columns.append(method.step(f, 0.0, h, (*state, f(0.0, state[1])) if method is HEUN else state)[:2])
    return np.reshape(columns, (2, 2)).T


@pytest.mark.eq("14.1", "14.2", "14.3")
@each_method
@pytest.mark.parametrize("lam", [-0.1, -3.0, 2.0])
def test_what_the_solution_loses_in_a_step_the_difference_gains(method, lam):
    # A step has one factor for the solution and one for the difference: their product is −1, in (14.3) λ.
    M = linear_map(method, lam, h=0.05)
    factors = np.linalg.eigvals(M)
    assert abs(np.linalg.det(M) - (COUPLING if method in WRAPPED else -1.0)) <= ROUND_OFF * (1 + abs(lam))
    assert np.abs(factors / np.exp(lam * 0.05) - 1).min() <= (lam * 0.05)**2     # consistent, at the least


@pytest.mark.eq("14.1", "14.2")
@pytest.mark.parametrize("method", [LEAPFROG, HEUN], **named)
def test_the_difference_of_the_copies_changes_its_sign_in_each_step_and_grows_as_y_decays(method):
    lam, h, n = -0.1, 0.1, 600
    state = method.start(lambda t, y: lam * y, 0.0, np.array([1.0]))
    differences, ys = [], []
    for i in range(n):
        state = method.step(lambda t, y: lam * y, i * h, (i + 1) * h, state)
        y, other = state[:2]
        differences.append(float((other - lam * y if method is LEAPFROG else y - other)[0]))
        ys.append(float(y[0]))
    late = np.array(differences[n // 2:])
    assert (late[1:] * late[:-1] < 0).all()
    rate = np.log(np.abs(late[-1] / late[0])) / (h * (len(late) - 1))
    assert abs(rate / -lam - 1) <= SECOND
    assert abs(differences[0]) < ys[0] / 1000 and (method is LEAPFROG or abs(differences[-1]) > ys[-1])


@pytest.mark.eq("14.3", "14.4")
@pytest.mark.parametrize("n, growth", [(1000, "2.7"), (10_000, "2.2e+04")])
def test_coupling_damps_the_difference_on_the_way_there_and_amplifies_round_off_on_the_way_back(n, growth):
    method, t, nudge = reversible("heun"), np.linspace(0.0, 1.0, n + 1), 2.0**-20

    def f(t, y):                                       # no y in it: the difference is a matter of λ alone
        return np.full(2, np.cos(t))
    y0 = np.ones(2)
    y, z = y0 + [0.0, nudge], y0                       # two solves at once, one of them nudged
    for t_n, t_new in zip(t, t[1:]):
        y, z = method.step(f, t_n, t_new, (y, z))
    assert abs((y - z)[0]) <= n * EPS and abs((y - z)[1] - nudge * COUPLING**n) <= n * EPS
    y, z = y[0] + [0.0, nudge], z[0] + np.zeros(2)
    for t_new, t_n in zip(t[:0:-1], t[-2::-1]):
        y, z = method.back(f, t_new, t_n, (y, z))
    assert f"{(y - y0)[1] / nudge:.2g}" == f"{COUPLING**-n:.2g}" == growth


@pytest.mark.eq("14.3")
@pytest.mark.parametrize("c, stays_below", [(0.36, True), (0.38, False)])         # e^{−2r} = 0.368 for r = 1/2
def test_the_difference_stays_below_what_is_left_of_y_if_c_is_below_the_square_of_the_decay(c, stays_below):
    def f(t, y):
        return -y
    method, h, n = reversible("rk4", c), 0.5, 200
    state = method.start(f, 0.0, np.ones(1))
    shares = []
    for i in range(n):
        state = method.step(f, i * h, (i + 1) * h, state)
        shares.append(abs(state[0] - state[1])[0] / np.exp(-h * (i + 1)))
    assert (shares[-1] < 0.1) == stays_below and (shares[-1] > 1000 * shares[0]) != stays_below


@pytest.mark.parametrize("arguments, error, message", [
    (("gauss4",), ValueError, r"reversible\(\) takes an explicit Runge–Kutta method, not 'gauss4'"),
    (("reversible_heun",), ValueError, "takes an explicit Runge–Kutta method, not 'reversible_heun'"),
    ((reversible("rk4"),), ValueError, r"takes an explicit Runge–Kutta method, not 'reversible\(rk4\)'"),
    (("rk5",), ValueError, "unknown method 'rk5'; known: euler, midpoint, heun, rk4"),
    (("rk4", 0), ValueError, "coupling must be positive, not 0"),
    (("rk4", -0.5), ValueError, "coupling must be positive, not -0.5"),
    (("rk4", 1.001), ValueError, "coupling must be at most 1, not 1.001"),
    (("rk4", np.nan), ValueError, "coupling must be finite"),
    (("rk4", "all"), TypeError, "coupling must be an array of numbers, not 'all'")])
def test_only_an_explicit_table_and_a_number_up_to_one_make_a_reversible_method(arguments, error, message):
    with pytest.raises(error, match=message):
        reversible(*arguments)
    assert reversible("rk4", 1).coupling == 1.0 and reversible("rk4").coupling == COUPLING
    own = Tableau("own", 2, A=["", "2/3"], b="1/4 3/4")
    assert reversible(own).name == "reversible(own)" and reversible(own).order == 2

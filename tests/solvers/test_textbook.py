"""Euler and RK4 as the text has them: published numbers, exact discrete solutions, nodes, order."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import solve_ivp

from minode import odeint_euler, odeint_rk4
from tests.strategies import arrays, assert_agree, grids

EPS = np.finfo(float).eps
ROUND_OFF = 200 * EPS                          # a hundred steps, two roundings each
DIGITS_SHOWN = 0.05                            # relative, of numbers quoted with two digits
SLOPE = 0.1                                    # of an observed order on a finite grid
numbers = st.complex_numbers(max_magnitude=3.0, allow_nan=False, allow_infinity=False)


def growth(t, y):
    return y


def mistaken_rk4(f, y0, t):
    """The source text's: in `step` the name t is the new time already, and k₄ is asked at t + dt."""
    def step(y_prev, t_prev, t):
        dt = t - t_prev
        k1 = dt * f(t_prev, y_prev)
        k2 = dt * f(t_prev + dt / 2, y_prev + k1 / 2)
        k3 = dt * f(t_prev + dt / 2, y_prev + k2 / 2)
        k4 = dt * f(t + dt, y_prev + k3)
        return y_prev + (k1 + 2 * k2 + 2 * k3 + k4) / 6

    ys = [np.asarray(y0)]
    for t_prev, t_new in zip(t, t[1:]):
        ys.append(step(ys[-1], t_prev, t_new))
    return np.array(ys)


# -- numbers ----------------------------------------------------------------------------------

@pytest.mark.eq("6.1", "6.2", "6.3", "6.4", "6.5", "6.6")
def test_the_worked_example_gives_the_published_numbers():
    t, exact = np.linspace(0.0, 10.0, 101), 44052.931589613436
    euler, rk4 = odeint_euler(growth, 2.0, t)[-1], odeint_rk4(growth, 2.0, t)[-1]
    assert abs(2 * np.exp(10.0) - exact) <= ROUND_OFF * exact
    assert abs(euler - 27561.22467964454) <= ROUND_OFF * exact
    assert abs(rk4 - 44052.5938017524) <= ROUND_OFF * exact
    assert f"{100 * (euler / exact - 1):.1f} {100 * np.expm1(-0.5):.0f}" == "-37.4 -39"      # per cent
    assert f"{1e6 * (1 - rk4 / exact):.0f}" == "8"                                           # per million


@pytest.mark.eq("6.1")
@given(numbers, numbers, grids())
def test_euler_multiplies_by_one_plus_h_lambda(lam, y0, t):
    expected = y0 * np.cumprod([1.0, *(1 + np.diff(t) * lam)])
    assert_agree(odeint_euler(lambda t, y: lam * y, y0, t), expected.astype(complex), ROUND_OFF)


@pytest.mark.eq("6.2", "6.3", "6.4", "6.5", "6.6")
@given(numbers, numbers, grids())
def test_rk4_multiplies_by_the_exponential_cut_after_the_fourth_power(lam, y0, t):
    z = np.diff(t) * lam
    expected = y0 * np.cumprod([1.0, *(1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24)])
    assert_agree(odeint_rk4(lambda t, y: lam * y, y0, t), expected.astype(complex), ROUND_OFF)


@pytest.mark.eq("6.6")
@given(arrays(4), grids())
def test_rk4_is_simpsons_rule_for_a_velocity_that_looks_at_the_clock_alone(p, t):
    cubic = np.polynomial.Polynomial(p)
    integral = cubic.integ()
    ys = odeint_rk4(lambda t, y: cubic(t), 0.0, t)
    assert_agree(ys, integral(t) - integral(t[0]), ROUND_OFF)
    h = t[1] - t[0]
    quartic = odeint_rk4(lambda t, y: t**4, 0.0, t[:2])[1] - (t[1]**5 - t[0]**5) / 5
    assert abs(quartic - h**5 / 120) <= ROUND_OFF * (1 + abs(t[0]))**5      # Simpson's error, h⁵/2880 · 4!


@pytest.mark.eq("6.1")
def test_a_residual_network_whose_residual_shrinks_with_the_step_is_euler():
    weights, t = np.array([[0.3, -1.2], [0.9, 0.4]]), np.array([0.0, 0.1, 0.4, 0.5])
    layers = [np.array([1.0, -0.5])]
    for i in range(1, len(t)):
        layers.append(layers[i - 1] + (t[i] - t[i - 1]) * np.tanh(weights @ layers[i - 1] + t[i - 1]))
    assert_agree(odeint_euler(lambda t, y: np.tanh(weights @ y + t), [1.0, -0.5], t), layers, ROUND_OFF)


# -- where f is asked -------------------------------------------------------------------------

def asked(solver, f, y0, t):
    """The calls (t, y, f(t, y)) that the solver makes, and its states."""
    calls = []

    def recorded(t, y):
        calls.append((t, y.copy(), f(t, y)))
        return calls[-1][2]

    return calls, solver(recorded, y0, t)


def f(t, y):
    return np.array([y[1] * np.cos(3 * t) - np.sin(2 * y[0]), t - y[1] * np.cos(y[0])])


def nodes_of_euler(f, t, h, y):
    return [(t, y)], y + h * f(t, y)


def nodes_of_rk4(f, t, h, y):
    nodes = [(t, y)]
    for c in (Fraction(1, 2), Fraction(1, 2), Fraction(1)):
        nodes.append((t + float(c) * h, y + float(c) * h * f(*nodes[-1])))
    return nodes, y + h * sum(w * f(*node) for w, node in zip((1/6, 1/3, 1/3, 1/6), nodes))


METHODS = [pytest.param(odeint_euler, nodes_of_euler, id="euler", marks=pytest.mark.eq("6.1")),
           pytest.param(odeint_rk4, nodes_of_rk4, id="rk4",
                        marks=pytest.mark.eq("6.2", "6.3", "6.4", "6.5", "6.6"))]


@pytest.mark.parametrize("solver, nodes", METHODS)
@given(arrays(2), grids())
def test_f_is_asked_at_the_nodes_of_the_method_and_nowhere_else(solver, nodes, y0, t):
    calls, ys = asked(solver, f, y0, t)
    expected, y = [], y0
    for i, h in enumerate(np.diff(t)):
        of_step, y = nodes(f, t[i], h, y)
        expected += of_step
        assert_agree(ys[i + 1], y, ROUND_OFF)
    assert len(calls) == len(expected)
    for (time, state, _), (expected_time, expected_state) in zip(calls, expected):
        assert abs(time - expected_time) <= 4 * EPS * (1 + abs(expected_time))
        assert_agree(state, expected_state, ROUND_OFF)


# -- order, and the mistake of the source text ------------------------------------------------

def errors_on_cosine(solver):
    """At t = 2 with 20, 40, 80, 160 steps, for y' = y cos t, y(0) = 1."""
    def error(n):
        ys = solver(lambda t, y: y * np.cos(t), 1.0, np.linspace(0.0, 2.0, n + 1))
        return abs(ys[-1] - np.exp(np.sin(2.0)))
    return np.array([error(n) for n in (20, 40, 80, 160)])


@pytest.mark.eq("6.5")
@pytest.mark.parametrize("solver, quoted, order", [
    (odeint_rk4, [1.06e-6, 6.5e-8, 4.0e-9, 2.5e-10], 4),
    (mistaken_rk4, [6.1e-2, 3.0e-2, 1.5e-2, 7.4e-3], 1),
])
def test_the_text_s_rk4_is_of_order_one_and_the_right_one_of_order_four(solver, quoted, order):
    errors = errors_on_cosine(solver)
    assert np.all(np.abs(errors / quoted - 1) <= DIGITS_SHOWN)
    assert abs(np.log2(errors[2] / errors[3]) - order) <= SLOPE


def test_the_mistake_cannot_be_seen_on_the_text_s_own_example_but_is_by_the_nodes():
    t = np.linspace(0.0, 10.0, 101)
    assert_agree(mistaken_rk4(growth, 2.0, t), odeint_rk4(growth, 2.0, t), ROUND_OFF)
    calls, _ = asked(mistaken_rk4, f, np.array([0.3, -0.2]), t[:2])
    nodes, _ = nodes_of_rk4(f, t[0], t[1], np.array([0.3, -0.2]))
    assert [call[0] == node[0] for call, node in zip(calls, nodes)] == [True, True, True, False]


@pytest.mark.eq("6.1", "6.2", "6.3", "6.4", "6.5", "6.6")
@pytest.mark.parametrize("solver, order, n", [(odeint_euler, 1, 400), (odeint_rk4, 4, 40)])
@pytest.mark.parametrize("span", [(0.2, 2.2), (2.2, 0.2)], ids=["forwards", "backwards"])
def test_the_error_falls_at_the_order_on_a_nonlinear_problem_that_depends_on_time(solver, order, n, span):
    y0 = np.array([0.4, -0.3])
    exact = solve_ivp(f, span, y0, "DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    coarse, fine = (np.linalg.norm(solver(f, y0, np.linspace(*span, m + 1))[-1] - exact) for m in (n, 2 * n))
    assert abs(np.log2(coarse / fine) - order) <= SLOPE


GRONWALL = [                                   # f, L, C = max |y''|/2 on the solution, y0, T
    (growth, 1.0, np.exp(2.0), 2.0, 2.0),                                  # y'' = y ≤ 2 e²
    (lambda t, y: np.cos(y) + t, 1.0, 2.0, 0.3, 2.0),                      # y'' = 1 − sin y · y', |y'| ≤ 3
    (lambda t, y: -3.0 * y, 3.0, 9.0, 2.0, 2.0)]                           # y'' = 9 y ≤ 18


@pytest.mark.eq("6.1")
@pytest.mark.parametrize("f, L, C, y0, T", GRONWALL, ids=["growth", "cosine", "decay"])
@pytest.mark.parametrize("n", [10, 100])
def test_the_errors_of_euler_add_up_and_grow_as_gronwalls_inequality_says(f, L, C, y0, T, n):
    t, h = np.linspace(0.0, T, n + 1), T / n
    exact = solve_ivp(f, (0.0, T), [y0], "DOP853", t_eval=t, rtol=1e-13, atol=1e-14).y[0]
    e = np.abs(odeint_euler(f, y0, t) - exact)
    assert np.all(e[1:] <= (1 + h * L) * e[:-1] + C * h**2)                # one step more
    assert e[-1] <= C * h * np.expm1(L * T) / L                            # all of them
    assert_agree(odeint_euler(lambda t, y: 2 * t, 0.0, t)[-1], T**2 - h * T, ROUND_OFF)    # L = 0, C = 1: C h T


# -- existence and uniqueness -----------------------------------------------------------------

@pytest.mark.eq("6.1")
def test_the_root_has_two_solutions_from_zero_and_euler_stays_on_one_of_them():
    t = np.linspace(0.0, 2.0, 2001)

    def root(t, y):
        return np.sqrt(abs(y))

    assert not odeint_euler(root, 0.0, t).any()
    assert np.array_equal(root(t, t**2 / 4), t / 2)                     # the other one, t²/4, has slope t/2
    lifted = odeint_euler(root, 1e-8, t)                                # a hair above zero finds that one
    assert abs(lifted[-1] - 1.0) <= 10 * (t[1] - t[0])                  # Euler's error, of order h


@pytest.mark.parametrize("solver", [odeint_euler, odeint_rk4])
def test_times_may_fall_repeat_or_stand_alone(solver):
    up = np.array([0.0, 0.3, 0.5, 1.2])
    assert_agree(solver(f, [0.4, -0.3], -up), solver(lambda t, y: -f(-t, y), [0.4, -0.3], up), ROUND_OFF)
    ys = solver(f, [0.4, -0.3], up[[0, 0, 1, 2, 2, 3]])
    assert_agree(ys, solver(f, [0.4, -0.3], up)[[0, 0, 1, 2, 2, 3]], ROUND_OFF)
    assert np.array_equal(ys[0], ys[1]) and np.array_equal(ys[3], ys[4])
    calls, ys = asked(solver, f, [0.4, -0.3], [0.7])
    assert calls == [] and ys.tolist() == [[0.4, -0.3]]
    calls, ys = asked(solver, f, [0.4, -0.3], [0.7, 0.7])       # no step, and so f need not be finite there
    assert calls == [] and ys.tolist() == [[0.4, -0.3]] * 2
    with pytest.raises(ValueError, match="f must return the shape of y"):
        solver(lambda t, y: np.zeros(3), [0.4, -0.3], [0.7, 0.7, 0.8])

"""The tangent system is the derivative of the field, and solving it is the derivative of the solve."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import solve_ivp

from minode import Linear, odeint, pushforward, tangent_rhs
from tests.gradients.problems import (EXACT, NETWORK, NETWORK_THETA, PROBLEMS, REFERENCE, ROUND_OFF, SLOPE,
                                      Silent, observed_order, relative_error, repeated_grids, solves,
                                      true_flow)
from tests.strategies import arrays, batches, mlps

STEPS_AT_MOST = 100           # the tolerance is of one step: the error at the end may be as many times larger


@pytest.mark.eq("16.1", "16.2")
@given(st.data(), mlps(), batches, st.floats(-2, 2))
def test_the_tangent_rhs_is_the_field_and_its_derivative_along_the_move(data, network, batch, t):
    f, theta = network
    y, w = (data.draw(arrays((*batch, f.dim))) for _ in range(2))
    dtheta = data.draw(arrays(f.n_params))
    dy, dw = tangent_rhs(f)(t, (y, w), theta, dtheta)
    moved = f(t, y + 1e-30j * w, theta + 1e-30j * dtheta)
    assert relative_error(dy, moved.real, size=1.0) <= ROUND_OFF
    assert relative_error(dw, moved.imag / 1e-30, size=1.0) <= ROUND_OFF


@pytest.mark.eq("16.2")
@given(st.data(), solves(times=repeated_grids()))
def test_the_pushforward_is_the_derivative_of_the_numbers_computed_at_any_step_size(data, problem):
    f, y0, t, theta, options = problem
    dy0, dtheta = data.draw(arrays(y0.shape)), data.draw(arrays(theta.shape))
    ys, ws = pushforward(f, y0, t, theta, dy0, dtheta, **options)
    moved = odeint(lambda t, y: f(t, y, theta + 1e-30j * dtheta), y0 + 1e-30j * dy0, t, **options)
    assert ws.shape == ys.shape == (len(t), *y0.shape)
    assert relative_error(ys, odeint(f, y0, t, theta, **options)) <= ROUND_OFF
    assert relative_error(ws, moved.imag / 1e-30, size=1.0) <= EXACT


@pytest.mark.eq("16.1", "16.2")
@pytest.mark.parametrize("name", PROBLEMS)
def test_scipy_solves_the_tangent_rhs_to_the_derivative_of_the_true_flow(name):
    f, theta, y0 = PROBLEMS[name]
    t, dy0, dtheta = np.linspace(0.3, 2.3, 5), np.cos(np.arange(f.dim)), np.sin(1.0 + np.arange(f.n_params))
    rhs = tangent_rhs(f)
    path = solve_ivp(lambda t, s: np.concatenate(rhs(t, np.split(s, 2), theta, dtheta)), (t[0], t[-1]),
                     np.concatenate([y0, dy0]), "LSODA", t_eval=t, rtol=1e-12, atol=1e-13).y.T
    ys, Y, S = true_flow(f, y0, t, theta)
    assert relative_error(path, np.hstack([ys, Y @ dy0 + S @ dtheta])) <= 10 * REFERENCE


@pytest.mark.eq("16.2")
@pytest.mark.parametrize("method, order, n", [("euler", 1, 256), ("heun", 2, 64), ("rk4", 4, 16)])
def test_the_pushforward_tends_to_the_derivative_of_the_flow_at_the_order_of_the_method(method, order, n):
    f, theta, y0 = PROBLEMS["pendulum"]
    dy0, dtheta = np.array([1.0, 0.5]), np.array([0.3, -0.7, 1.0])
    _, Y, S = true_flow(f, y0, np.array([0.0, 1.0]), theta)

    def error(n):
        _, ws = pushforward(f, y0, np.linspace(0, 1, n + 1), theta, dy0, dtheta, method=method)
        return np.linalg.norm(ws[-1] - Y[-1] @ dy0 - S[-1] @ dtheta)
    assert abs(observed_order(error, n) - order) < SLOPE


@pytest.mark.eq("16.2")
@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
def test_with_steps_of_its_own_choice_the_tangent_grows_where_the_state_rests(rtol):
    A = np.array([[1.0, -1.0], [-1.0, 1.0]])                 # (1, 1) rests; a move along (1, −1) does not
    ys, ws = pushforward(Linear(2), [1.0, 1.0], [0.0, 5.0], A.ravel(), dy0=[1.0, 0.0], rtol=rtol, atol=rtol)
    assert relative_error(ys[-1], np.ones(2)) <= ROUND_OFF
    assert relative_error(ws[-1], [(1 + np.exp(10)) / 2, (1 - np.exp(10)) / 2]) <= STEPS_AT_MOST * rtol


def test_directions_left_out_are_zero():
    f, theta, y0, t = NETWORK, NETWORK_THETA, np.array([0.4, -0.7, 0.2]), np.linspace(0, 1, 4)
    zero_y0, zero_theta = np.zeros_like(y0), np.zeros_like(theta)
    only_y0 = pushforward(f, y0, t, theta, dy0=y0, method="rk4")[1]
    only_theta = pushforward(f, y0, t, theta, dtheta=theta, method="rk4")[1]
    assert np.array_equal(only_y0, pushforward(f, y0, t, theta, y0, zero_theta, method="rk4")[1])
    assert np.array_equal(only_theta, pushforward(f, y0, t, theta, zero_y0, theta, method="rk4")[1])
    assert not pushforward(f, y0, t, theta, method="rk4")[1].any() and only_y0.any() and only_theta[1:].any()


GOOD = {"f": Silent(), "y0": np.ones((4, 2)), "t": [0.0, 1.0], "theta": np.ones(3)}


@pytest.mark.parametrize("bad, error, message", [
    ({"f": lambda t, y, theta: y}, TypeError, "f must be a VectorField, with derivatives, not function"),
    ({"y0": np.ones((4, 3))}, ValueError, r"y0 must have shape \(..., 2\) for this field, not \(4, 3\)"),
    ({"y0": 1.0}, ValueError, r"y0 must have shape \(..., 2\) for this field, not \(\)"),
    ({"y0": [np.nan, 0.0]}, ValueError, "y0 must be finite"),
    ({"y0": [1j, 0.0]}, TypeError, "y0 must be real, not complex"),
    ({"y0": "ab"}, TypeError, "y0 must be an array of numbers, not 'ab'"),
    ({"y0": np.ones((0, 2))}, ValueError, "y0 must have at least one component, but it is empty"),
    ({"theta": np.ones(2)}, ValueError, r"theta must have shape \(3,\), not \(2,\)"),
    ({"theta": [1.0, np.inf, 0.0]}, ValueError, "theta must be finite"),
    ({"theta": [1.0, 1j, 0.0]}, TypeError, "theta must be real, not complex"),
    ({"dy0": np.ones(2)}, ValueError, r"dy0 must have shape \(4, 2\), not \(2,\)"),
    ({"dy0": np.full((4, 2), np.nan)}, ValueError, "dy0 must be finite"),
    ({"dy0": np.full((4, 2), 1j)}, TypeError, "dy0 must be real, not complex"),
    ({"dtheta": np.ones((4, 3))}, ValueError, r"dtheta must have shape \(3,\), not \(4, 3\)"),
    ({"dtheta": [0.0, 0.0, np.inf]}, ValueError, "dtheta must be finite"),
    ({"dtheta": [0.0, 0.0, 1j]}, TypeError, "dtheta must be real, not complex"),
    ({"t": []}, ValueError, "t must be a 1-D array of at least one time"),
    ({"t": [0.0, 1.0, 0.5]}, ValueError, "t must be monotone, increasing or decreasing"),
    ({"t": [0.0, np.nan]}, ValueError, "t must be finite"),
    ({"method": "rk5"}, ValueError, "unknown method 'rk5'; known: euler, "),
    ({"step_size": -0.1}, ValueError, "step_size must be positive, not -0.1"),
])
def test_the_pushforward_refuses_unusable_input_before_calling_f(bad, error, message):
    with pytest.raises(error, match=message):
        pushforward(**{**GOOD, "method": "rk4", **bad})

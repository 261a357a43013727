"""The Hessian-vector product is the derivative of the discrete gradient, exactly, and is symmetric."""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import (MLP, CubicSpiral, Gradients, Linear, LotkaVolterra, SolverError, VanDerPol, VectorField,
                    hessian_vector_product, odeint, tangent_rhs, value_and_gradients)
from minode.gradients.checks import central_difference, complex_step
from minode.solvers.solve import Options, run
from tests.gradients.problems import (ADAPTIVE, DIFFERENCE_TOLERANCE, EXACT, NETWORK, NETWORK_THETA, PENDULUM, PENDULUM_THETA,
                                      Silent, extrapolated_difference, relative_error, repeated_grids, solves)
from tests.strategies import arrays, batches, grids

RATES = np.array([0.5, 0.3, 0.8, 0.2])
FIELDS = {"network": (MLP([3, 2, 2], ["swish", "tanh"]), np.cos(1.0 + np.arange(14.0))),
          "linear": (Linear(2), np.array([0.3, 1.0, -2.0, -0.1])),
          "spiral": (CubicSpiral(), np.array([-0.1, 2.0, -2.0, -0.1])), "lotka": (LotkaVolterra(), RATES),
          "oscillator": (VanDerPol(), np.array([1.5]))}
each = pytest.mark.parametrize("name", FIELDS)


class TwiceDifferentiable(type(PENDULUM)):
    """The forced pendulum with its second derivatives."""

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        x, (u, v), a_2 = y[..., 0], np.moveaxis(w, -1, 0), a[..., 1]
        change = a_2 * (theta[0] * np.sin(x) * u - dtheta[0] * np.cos(x))
        return (np.stack([change, -a_2 * dtheta[1]], axis=-1),
                np.array([-np.sum(a_2 * np.cos(x) * u), -np.sum(a_2 * v), 0.0]))


def quartic(weights):
    """A loss with a gradient and a curvature that depend on every state."""
    def loss(ys, ws=0.0):
        return np.sum(weights * (ys + ys**4)), weights * (1 + 4 * ys**3), 12 * weights * ys**2 * ws
    return loss


def by_complex_step(loss, f, y0, t, theta, v_y0, v_theta, units=None, **solver):
    """(21.3) with nothing run backwards: tangents for every entry, at a point moved off the real line.

    With `units` for a few weights of all entries, and what comes out are those sums.
    """
    rhs, n = tangent_rhs(f), y0.size

    def gradient(s):
        start, params, along = y0 + s * v_y0, theta + s * v_theta, []
        for unit in np.eye(n + theta.size) if units is None else units:
            ys, ws = run(lambda t, state: rhs(t, state, params, unit[n:]),
                         (start, unit[:n].reshape(y0.shape) + 0j), t, **solver).solution.ys
            along.append(np.sum(loss(ys)[1] * ws))
        return np.array(along)

    change = complex_step(gradient, 0.0, 1.0)
    if units is not None:
        return change
    return np.reshape(change[:n], y0.shape), change[n:]


def assert_near(got, expected, tolerance, size=1.0):
    for part, other in zip(got, expected):
        assert np.shape(part) == np.shape(other) and relative_error(part, other, size) <= tolerance


# -- exact ------------------------------------------------------------------------------------------


@pytest.mark.eq("21.1", "21.2", "21.3")
@given(st.data(), solves(times=repeated_grids(max_steps=3)))
def test_it_is_the_complex_step_derivative_of_the_discrete_gradient(data, problem):
    f, y0, t, theta, options = problem
    v_y0, v_theta = data.draw(arrays(y0.shape)), data.draw(arrays(theta.shape))
    loss = quartic(data.draw(arrays((len(t), *y0.shape))))
    Hv = hessian_vector_product(loss, f, y0, t, theta, v_y0, v_theta, **options)
    assert isinstance(Hv, Gradients)
    expected = by_complex_step(loss, f, y0, t, theta, v_y0, v_theta, **options)
    _, dL_dys, _ = loss(odeint(f, y0, t, theta, **options))
    assert_near(Hv[:2], expected, EXACT, size=1 + np.abs(dL_dys).max())


@pytest.mark.eq("2.7", "2.8", "2.9", "4.8", "21.1", "21.2", "21.3")
@each
@given(st.data(), grids(max_steps=3), st.sampled_from(ADAPTIVE))
def test_it_is_so_along_steps_that_the_method_chose_with_outputs_inside_them(name, data, t, method):
    f, theta = FIELDS[name]
    shapes, options = ((2, f.dim), (2, f.dim), theta.shape), {"method": method, "rtol": 1e-2, "atol": 1e-2}
    y0, v_y0, v_theta = (data.draw(arrays(shape, bound=1.0)) for shape in shapes)
    loss = quartic(data.draw(arrays((len(t), 2, f.dim))))
    Hv = hessian_vector_product(loss, f, y0, t, theta, v_y0, v_theta, **options)
    taken = run(f, y0, t, theta, [], **options).tape
    same_steps = {"method": method, "grid": [step[0] for step in taken] + [t[-1]]}
    units = np.cos(np.arange(2.0 * (y0.size + theta.size))).reshape(2, -1)
    changes = by_complex_step(loss, f, y0, t, theta, v_y0, v_theta, units, **same_steps)
    terms = np.concatenate([Hv.y0.ravel(), Hv.theta])
    assert np.all(np.abs(units @ terms - changes) <= EXACT * (1 + np.abs(units * terms).sum(axis=1)))


@pytest.mark.eq("21.1", "21.2", "21.3")
@given(st.data(), solves(times=repeated_grids()))
def test_the_hessian_is_symmetric(data, problem):
    f, y0, t, theta, options = problem
    loss = quartic(data.draw(arrays((len(t), *y0.shape))))
    (u_y0, u_theta), (v_y0, v_theta) = ([data.draw(arrays(x.shape)) for x in (y0, theta)] for _ in "uv")
    Hu, Hv = (hessian_vector_product(loss, f, y0, t, theta, *direction, **options)
              for direction in ((u_y0, u_theta), (v_y0, v_theta)))
    v_H_u = np.concatenate([(v_y0 * Hu.y0).ravel(), v_theta * Hu.theta])
    u_H_v = np.concatenate([(u_y0 * Hv.y0).ravel(), u_theta * Hv.theta])
    assert abs(v_H_u.sum() - u_H_v.sum()) <= EXACT * (1 + np.abs(v_H_u).sum() + np.abs(u_H_v).sum())


@pytest.mark.eq("21.1", "21.2", "21.3")
@given(arrays((2, 2), bound=1.0), arrays(2), arrays((2, 2)), arrays(2), st.integers(1, 4),
       st.floats(-0.5, 0.5).filter(bool))
def test_euler_steps_of_a_linear_field_have_the_hessian_of_the_powers_of_a_matrix(A, y0, v_A, v_y0, n, h):
    def gradient(s):                                        # of ½ |P^n y0|², P = 1 + hA
        powers, start = [np.eye(2)], y0 + s * v_y0
        for _ in range(n):
            powers.append(powers[-1] @ (np.eye(2) + h * (A + s * v_A)))
        y = powers[n] @ start
        dL_dA = sum(h * np.outer(y @ powers[n - 1 - k], powers[k] @ start) for k in range(n))
        return y @ powers[n], dL_dA.ravel()

    def loss(ys, ws):
        last = np.zeros_like(ys)
        last[-1] = 1.0
        return np.sum(last * ys**2) / 2, last * ys, last * ws
    Hv = hessian_vector_product(loss, Linear(2), y0, h * np.arange(n + 1), A.ravel(), v_y0, v_A.ravel(),
                                method="euler")
    expected = [complex_step(lambda s: gradient(s)[i], 0.0, 1.0) for i in range(2)]
    assert_near(Hv[:2], expected, EXACT, size=1 + 4.0 * np.abs(y0).max()**2)


# -- against the gradient itself --------------------------------------------------------------------


@pytest.mark.eq("21.1", "21.2", "21.3", "22.1")
@each
@pytest.mark.parametrize("method", ["rk4", "dop853"])
def test_central_differences_of_the_gradient_agree_to_their_ten_digits(name, method):
    f, theta = FIELDS[name]
    y0, t = 0.2 * (1 + np.arange(2.0 * f.dim).reshape(2, -1)), np.array([0.1, 0.4, 0.9])
    v_y0, v_theta = np.cos(np.arange(2.0 * f.dim)).reshape(2, -1), np.sin(1.0 + np.arange(theta.size))
    loss = quartic(np.cos(1.0 + np.arange(6.0 * f.dim)).reshape(3, 2, -1))
    options = {"step_size": 0.2, "method": method}

    def gradient(s):
        _, found = value_and_gradients(lambda ys: loss(ys)[:2], f, y0 + s * v_y0, t, theta + s * v_theta,
                                       **options)
        return np.concatenate([part.ravel() for part in found])
    Hv = hessian_vector_product(loss, f, y0, t, theta, v_y0, v_theta, **options)
    size = 1 + np.abs(gradient(0.0)).max() + np.abs(np.concatenate([part.ravel() for part in Hv])).max()
    moved = central_difference(gradient, 0.0, 1.0)
    assert np.abs(np.concatenate([part.ravel() for part in Hv]) - moved).max() <= DIFFERENCE_TOLERANCE * size


@pytest.mark.eq("18.7", "18.8", "18.9", "21.1")
@pytest.mark.parametrize("method", ["dopri5", "dop853", "bosh3"])
def test_along_chosen_steps_the_change_in_the_times_is_how_the_complex_step_moves_with_them(method):
    f, theta, t = TwiceDifferentiable(), PENDULUM_THETA, np.array([0.1, 0.1, 0.4, 1.9, 2.5, 2.5])
    y0, v_y0, v_theta = np.array([[0.5, -0.3], [1.0, 0.2]]), np.cos(np.arange(4.0)).reshape(2, 2), np.array([0.3, 0.1, -0.7])
    loss, options = quartic(np.cos(1.0 + np.arange(24.0)).reshape(6, 2, 2)), {"rtol": 1e-3, "atol": 1e-3, "method": method}
    inner = [step[0] for step in run(f, y0, t, theta, [], **options).tape][1:]
    assert len(inner) > 1

    def change(t):                                            # of the loss along v, when the times are these
        grid = [t[0], *inner, t[-1]]
        return complex_step(lambda s: loss(run(f, y0 + s * v_y0, t, theta + s * v_theta, method=method, grid=grid)
                                           .solution.ys)[0], 0.0, 1.0)

    def moved(e):                                             # equal times move together
        return extrapolated_difference(lambda x: change(t + x * e), 0.0, 1.0, 2e-3)
    Hv = hessian_vector_product(loss, f, y0, t, theta, v_y0, v_theta, **options)
    equal = [[0, 1], [2], [3], [4, 5]]
    expected = [moved(np.isin(np.arange(6), some).astype(float)) for some in equal]
    assert relative_error(np.array([Hv.t[some].sum() for some in equal]), np.array(expected)) <= 1e-8


@pytest.mark.eq("21.2")
@given(st.data(), solves(times=grids(max_steps=3)))
def test_that_of_a_batch_is_the_sum_over_its_trajectories(data, problem):
    f, _, t, theta, options = problem
    y0, v_y0 = data.draw(arrays((2, 2, f.dim))), data.draw(arrays((2, 2, f.dim)))
    v_theta, weights = data.draw(arrays(theta.shape)), data.draw(arrays((len(t), *y0.shape)))
    whole = hessian_vector_product(quartic(weights), f, y0, t, theta, v_y0, v_theta, **options)
    each = {i: hessian_vector_product(quartic(weights[(slice(None), *i)]), f, y0[i], t, theta,
                                      v_y0[i], v_theta, **options) for i in np.ndindex(2, 2)}
    size = max(1.0, *(np.abs(np.concatenate(alone)).max() for alone in each.values()))
    assert all(relative_error(whole.y0[i], alone.y0, size) <= EXACT for i, alone in each.items())
    assert relative_error(whole.theta, sum(alone.theta for alone in each.values()), size) <= EXACT
    assert relative_error(whole.t, sum(alone.t for alone in each.values()), size) <= EXACT


@pytest.mark.eq("21.3")
@given(st.data(), batches, st.sampled_from([[0.7], [0.7, 0.7, 0.7]]))
def test_if_no_time_passes_it_is_what_the_loss_says(data, batch, t):
    f, theta = NETWORK, NETWORK_THETA
    y0, v_y0 = data.draw(arrays((*batch, 3))), data.draw(arrays((*batch, 3)))
    loss = quartic(data.draw(arrays((len(t), *batch, 3))))
    Hv = hessian_vector_product(loss, f, y0, t, theta, v_y0, np.ones_like(theta), method="rk4")
    ys, ws = np.stack([y0] * len(t)), np.stack([v_y0] * len(t))
    assert relative_error(Hv.y0, loss(ys, ws)[2].sum(axis=0)) <= EXACT and not Hv.theta.any()
    assert Hv.t.shape == (len(t),)


@pytest.mark.eq("21.3")
def test_along_zero_it_is_zero_and_twice_as_far_is_twice_as_much():
    f, theta, y0, t = TwiceDifferentiable(), PENDULUM_THETA, np.array([0.5, -0.3]), np.linspace(0.0, 2.0, 4)
    loss, v_y0, v_theta = quartic(np.ones((4, 2))), np.array([1.0, -2.0]), np.array([0.3, 0.1, -0.7])
    rest, once, twice = (hessian_vector_product(loss, f, y0, t, theta, s * v_y0, s * v_theta)
                         for s in (0.0, 1.0, 2.0))
    assert not any(part.any() for part in rest) and all(part.any() for part in once)
    for one, two in zip(once, twice):
        assert np.array_equal(two, 2 * one)


@pytest.mark.parametrize("options", [{"step_size": 0.02}, {"rtol": 1e-12, "atol": 1e-14}], ids=["fixed", "adaptive"])
def test_the_steps_that_were_allowed_once_are_taken_a_second_time(options, monkeypatch):
    defaults = Options(max_steps=10)                         # of the solve along the same steps too, if it took them
    monkeypatch.setattr(Options.__new__, "__defaults__", tuple(defaults))
    f, theta, y0 = TwiceDifferentiable(), PENDULUM_THETA, np.array([0.5, -0.3])
    Hv = hessian_vector_product(quartic(np.ones((2, 2))), f, y0, [0.0, 1.0], theta, y0, theta, max_steps=1000, **options)
    assert np.isfinite(Hv.y0).all()


# -- what is refused ----------------------------------------------------------------------------------


GOOD = {"loss": quartic(np.ones((2, 4, 2))), "f": Silent(), "y0": np.ones((4, 2)), "t": [0.0, 1.0],
        "theta": np.ones(3), "v_y0": np.ones((4, 2)), "v_theta": np.ones(3), "method": "rk4"}


@pytest.mark.parametrize("bad, error, message", [
    ({"f": np.sin}, TypeError, "f must be a VectorField, with derivatives, not ufunc"),
    ({"y0": np.ones((4, 3))}, ValueError, r"y0 must have shape \(..., 2\) for this field, not \(4, 3\)"),
    ({"theta": np.ones(2)}, ValueError, r"theta must have shape \(3,\), not \(2,\)"),
    ({"v_y0": np.ones(2)}, ValueError, r"v_y0 must have shape \(4, 2\), not \(2,\)"),
    ({"v_y0": np.full((4, 2), np.nan)}, ValueError, "v_y0 must be finite"),
    ({"v_y0": np.full((4, 2), 1j)}, TypeError, "v_y0 must be real, not complex"),
    ({"v_theta": np.ones((4, 3))}, ValueError, r"v_theta must have shape \(3,\), not \(4, 3\)"),
    ({"v_theta": [0.0, np.inf, 0.0]}, ValueError, "v_theta must be finite"),
    ({"v_theta": [0.0, 1j, 0.0]}, TypeError, "v_theta must be real, not complex"),
    ({"method": "rk5"}, ValueError, "unknown method 'rk5'; known: euler, "),
    ({"method": "gauss4"}, ValueError,
     "hessian_vector_product takes an explicit Runge–Kutta method with joint steps, not 'gauss4'"),
    ({"method": "reversible_heun"}, ValueError, "takes an explicit .* method .* not 'reversible_heun'"),
    ({"method": "dopri5", "per_trajectory": True}, ValueError, "Runge–Kutta method with joint steps"),
    ({"t": [0.0, 1.0, 0.5]}, ValueError, "t must be monotone"),
    ({"step_size": -1.0}, ValueError, "step_size must be positive, not -1.0"),
])
def test_unusable_input_is_refused_before_f_is_called(bad, error, message):
    with pytest.raises(error, match=message):
        hessian_vector_product(**{**GOOD, **bad})


@pytest.mark.parametrize("returned, error, message", [
    ((0.0, np.ones(2), np.ones((2, 2))), ValueError, r"dL_dys must have shape \(2, 2\), not \(2,\)"),
    ((0.0, np.ones((2, 2)), np.ones(2)), ValueError, r"its derivative must have shape \(2, 2\), not \(2,\)"),
    ((0.0, np.ones((2, 2)), np.full((2, 2), np.nan)), ValueError, "its derivative must be finite"),
    ((0.0, np.ones((2, 2)), np.full((2, 2), 1j)), TypeError, "its derivative must be real, not complex"),
])
def test_a_loss_must_return_its_gradient_and_that_ones_derivative(returned, error, message):
    with pytest.raises(error, match=message):
        hessian_vector_product(lambda ys, ws: returned, TwiceDifferentiable(), np.ones(2), [0.0, 1.0], np.ones(3),
                               np.ones(2), np.ones(3), method="rk4")


def test_a_field_without_second_derivatives_is_named():
    assert PENDULUM.vjp_derivative.__func__ is VectorField.vjp_derivative
    message = "f must have second derivatives, but Once does not define vjp_derivative(t, y, theta, a,"

    class Once(Silent):
        vjp_derivative = VectorField.vjp_derivative

    with pytest.raises(TypeError, match=re.escape(message)):
        hessian_vector_product(quartic(np.ones((2, 2))), Once(), np.ones(2), [0.0, 1.0], PENDULUM_THETA,
                               np.ones(2), np.ones(3), method="rk4")


def test_the_inputs_are_not_written_to():
    f = MLP([3, 2], ["tanh"])
    y0, t, theta = np.ones((2, 2)), np.array([0.0, 0.3, 1.0]), np.linspace(-1.0, 1.0, 8)
    arguments = y0, t, theta, y0.copy(), theta.copy()
    for array in arguments:
        array.flags.writeable = False
    hessian_vector_product(quartic(np.ones((3, 2, 2))), f, *arguments)


def test_a_second_derivative_that_overflows_is_a_solver_error_with_the_states():
    class Kinked(TwiceDifferentiable):
        def vjp_derivative(self, t, y, theta, a, w, dtheta):
            return np.full(y.shape, 1e300) * a, np.full(3, 1e300) * 1e300

    with pytest.raises(SolverError, match="the gradient is no longer finite") as caught:
        hessian_vector_product(quartic(np.ones((2, 2))), Kinked(), np.ones(2), [0.0, 1.0], np.ones(3),
                               np.ones(2), np.ones(3), method="rk4")
    assert np.array_equal(caught.value.solution.t, [0.0, 1.0])

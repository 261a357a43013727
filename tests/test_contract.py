"""A field or function that breaks the contract is refused by name, and one that keeps it never is."""

import numpy as np
import pytest

from minode import (MLP, Linear, LotkaVolterra, SolverError, VanDerPol, VectorField, adjoint_rhs, hessian_vector_product,
                    methods, odeint, odeint_euler, odeint_rk4, pullback, pushforward, value_and_gradients)
from minode.inputs import at_once

ROUTES = ["discrete", "checkpoint", "backsolve", "interpolate"]
T, Y0 = [0.0, 0.4, 1.0], np.array([1.0, 2.0])


# -- who writes into what it is given ---------------------------------------------------------

def writes_y(t, y):
    y *= -1
    return y


def writes_theta(t, y, theta):
    theta *= 2
    return theta * y


@pytest.mark.parametrize("name", [name for name in methods if getattr(methods[name], "is_explicit", True)])
def test_f_cannot_write_into_y_by_any_method(name):
    with pytest.raises(ValueError, match="read-only"):
        odeint(writes_y, [1.0], T, method=name)


@pytest.mark.parametrize("odeint_textbook", [odeint_euler, odeint_rk4])
def test_nor_in_the_textbook_loops(odeint_textbook):
    with pytest.raises(ValueError, match="read-only"):
        odeint_textbook(writes_y, [1.0], T)


@pytest.mark.parametrize("per_trajectory", [False, True])
def test_nor_with_steps_of_their_own_nor_in_a_tuple_nor_into_theta(per_trajectory):
    with pytest.raises(ValueError, match="read-only"):
        odeint(writes_y, np.ones((3, 2)), T, per_trajectory=per_trajectory)
    with pytest.raises(ValueError, match="read-only"):
        odeint(writes_theta, np.ones((3, 1)), T, np.ones(1), per_trajectory=per_trajectory)
    with pytest.raises(ValueError, match="read-only"):
        odeint(lambda t, y: (writes_y(t, y[0]), y[1]), (Y0, Y0), T)


class Decay(VectorField):
    """y' = −θ y, and one of its methods writes into one of its arguments."""

    dim, n_params = 2, 1

    def __init__(self, method=None, argument=None):
        self.writes = method, argument

    def write(self, method, *arguments):
        if method == self.writes[0]:
            arguments[self.writes[1]][...] = 0.0

    def __call__(self, t, y, theta):
        self.write("__call__", y, theta)
        return -theta * y

    def jacobian(self, t, y, theta):
        self.write("jacobian", y, theta)
        return -theta * np.broadcast_to(np.eye(2), (*y.shape, 2))

    def param_jacobian(self, t, y, theta):
        self.write("param_jacobian", y, theta)
        return -y[..., None]

    def time_derivative(self, t, y, theta):
        return 0 * y

    def vjp(self, t, y, theta, a):
        self.write("vjp", y, theta, a)
        return super().vjp(t, y, theta, a)

    def jvp(self, t, y, theta, w, dtheta):
        self.write("jvp", y, theta, w, dtheta)
        return super().jvp(t, y, theta, w, dtheta)


@pytest.mark.parametrize("shape", [(2,), (200, 2)], ids=["small", "large"])
@pytest.mark.parametrize("gradient", ROUTES)
@pytest.mark.parametrize("method, argument", [("__call__", 0), ("__call__", 1), ("param_jacobian", 0),
                                              ("param_jacobian", 1), ("vjp", 0), ("vjp", 1), ("vjp", 2)])
def test_a_field_cannot_write_into_y_theta_or_a_on_any_route(gradient, method, argument, shape):
    y0 = np.ones(shape)
    with pytest.raises(ValueError, match="read-only"):
        pullback(Decay(method, argument), y0, T, [0.5], y0, method="rk4", gradient=gradient)


@pytest.mark.parametrize("argument", range(4))
def test_nor_into_y_theta_w_or_its_change(argument):
    with pytest.raises(ValueError, match="read-only"):
        pushforward(Decay("jvp", argument), Y0, T, [0.5], Y0, [1.0])


# -- who takes one state alone ----------------------------------------------------------------

class Driven(VectorField):
    """y' = −θ y |y|² + sin t, with the methods named in `spread` written as for a single state."""

    dim, n_params = 2, 1

    def __init__(self, *spread):
        self.spread = spread

    def square(self, method, y):
        return np.sum(y * y) if method + " sum" in self.spread else np.sum(y * y, axis=-1, keepdims=True)

    def clock(self, method, t):
        return np.sin(t) if method + " clock" in self.spread else np.sin(t)[..., None]

    def __call__(self, t, y, theta):
        return -theta * y * self.square("f", y) + self.clock("f", t)

    def jacobian(self, t, y, theta):
        y_y = y[..., None] * y[..., None, :]
        return -theta * (np.eye(2) * self.square("jacobian", y)[..., None] + 2 * y_y)

    def param_jacobian(self, t, y, theta):
        return -(y * self.square("param_jacobian", y))[..., None] + 0 * self.clock("param_jacobian", t)[..., None]

    def time_derivative(self, t, y, theta):
        return np.cos(t)[..., None] + 0 * y


ALONE = "must answer several states at once, each at its own time, as it answers each alone"


def half_square(ys):
    return 0.5 * np.sum(ys**2), ys


@pytest.mark.parametrize("gradient", ROUTES)
@pytest.mark.parametrize("t", [[0.0, 2.0], [0.0, 1.0, 2.0]], ids=["as many times as components", "more"])
@pytest.mark.parametrize("wrong", ["f clock", "f sum"])
def test_the_gradient_in_times_sees_an_f_for_single_states(wrong, t, gradient):
    value, gradients = value_and_gradients(half_square, Driven(), Y0, t, [0.3], gradient=gradient)
    if gradient in ("discrete", "checkpoint"):               # they evaluate f for one state at a time
        _, found = value_and_gradients(half_square, Driven(wrong), Y0, t, [0.3], gradient=gradient)
        assert np.array_equal(found.t, gradients.t)
    else:
        with pytest.raises(ValueError, match=f"f {ALONE}"):
            value_and_gradients(half_square, Driven(wrong), Y0, t, [0.3], gradient=gradient)
    assert np.isfinite(gradients.t).all() and value > 0


@pytest.mark.parametrize("wrong", ["jacobian sum", "param_jacobian sum"])
@pytest.mark.parametrize("n_steps", [2, 3])
def test_all_steps_at_once_see_derivatives_for_single_states(wrong, n_steps):
    name = "jacobian" if wrong == "jacobian sum" else "vjp"
    with pytest.raises(ValueError, match=f"{name} {ALONE}"):
        pullback(Driven(wrong), Y0, np.linspace(0, 1, n_steps + 1), [0.3], Y0, method="rk4", times=False)


@pytest.mark.parametrize("B", [1, 2, 3])
@pytest.mark.parametrize("wrong", ["f clock", "f sum"])
def test_steps_for_each_trajectory_see_an_f_for_single_states(wrong, B):
    f, y0 = Driven(wrong), np.linspace(1, 2, 2 * B).reshape(B, 2)
    if B > 1:
        with pytest.raises(ValueError, match=f"f {ALONE}"):
            odeint(lambda t, y: f(t, y, np.ones(1)), y0, T, per_trajectory=True)
    right = odeint(lambda t, y: Driven()(t, y, np.ones(1)), y0, T, per_trajectory=True)
    assert np.allclose(right[:, 0], odeint(Driven(), y0[0], T, [1.0]), rtol=1e-5)


def test_and_the_case_in_which_the_numbers_would_have_been_plausible():
    with pytest.raises(ValueError, match=f"f {ALONE}"):
        odeint(lambda t, y: -5 * y**3 + 20 * np.sin(8 * t), [[3.0, 3.0], [0.1, 0.1]], [0.0, 2.0], per_trajectory=True)


def test_a_batch_whose_rows_see_each_other_has_no_steps_for_each():
    with pytest.raises(ValueError, match=f"f {ALONE}"):
        odeint(lambda t, y: y.mean(axis=0) - y, [[3.0, 3.0], [0.1, 0.1]], [0.0, 2.0], per_trajectory=True)


class ConstantJacobian(Linear):
    def jacobian(self, t, y, theta):
        return theta.reshape(2, 2)

    def param_jacobian(self, t, y, theta):
        return np.kron(np.eye(2), y)


@pytest.mark.parametrize("gradient", ["discrete", "checkpoint"])
def test_a_jacobian_of_a_single_state_is_refused_by_name(gradient):
    with pytest.raises(ValueError, match=f"jacobian {ALONE}.*must have shape"):
        pullback(ConstantJacobian(2), Y0, T, [0.0, 1.0, -4.0, 0.0], Y0, gradient=gradient)


# -- who is right -----------------------------------------------------------------------------

class Robertson(VectorField):
    """Chemistry whose velocity is a small difference of terms up to 1e4 times as large."""

    dim, n_params = 3, 3

    def __call__(self, t, y, k):
        a, b, c = k[0] * y[..., 0], k[1] * y[..., 1] ** 2, k[2] * y[..., 1] * y[..., 2]
        return np.stack([c - a, a - b - c, b], axis=-1)


@pytest.mark.parametrize("y", [[0.7, 9.2e-6, 0.3], [0.0, 0.0, 1.0], [1e-300, 0.0, 1e300], [np.nan, 1.0, 0.0]])
def test_rounding_infinite_values_and_rest_are_no_reason_to_refuse(y):
    ys, t = np.array([y, y, y]), np.linspace(0, 1, 3)
    with np.errstate(all="ignore"):
        got = at_once("f", Robertson(), t, ys, np.array([0.04, 3e7, 1e4]), (3,))
    assert got.shape == (3, 3)


@pytest.mark.parametrize("seed", range(20))
def test_a_network_at_a_state_of_rest_up_to_rounding_is_not_refused(seed):
    rng = np.random.default_rng(seed)
    f = MLP([33, 64, 32], ["tanh", "identity"])
    theta, y = f.init(rng), rng.normal(size=32)
    theta[-32:] -= f(0.5, y, theta)                          # velocity 0 but for rounding
    ys = np.tile(y, (5, 1))
    got = at_once("f", f, np.full(5, 0.5), ys, theta, (32,))
    assert np.abs(got).max() < 1e-14 and np.abs(got - f(0.5, y, theta)).max() < 1e-14


# -- a backward solve that loses its way --------------------------------------------------------

@pytest.mark.parametrize("T_end", [3.0, 4.0, 5.0])
def test_backsolve_that_misses_the_state_it_must_meet_is_a_solver_error(T_end):
    y0, theta, cotangent = np.array([2.0, 0.0]), np.array([3.0]), np.array([1.0, 0.0])
    with pytest.raises(SolverError, match=r"away from that of the forward solve at t = 0\.0.*'discrete'") as caught:
        pullback(VanDerPol(), y0, [0.0, T_end], theta, cotangent, gradient="backsolve")
    assert caught.value.t == 0.0 and np.array_equal(caught.value.solution.ys[0], y0)
    many = np.linspace(0.0, T_end, 50)
    right = pullback(VanDerPol(), y0, [0.0, T_end], theta, cotangent, rtol=1e-10, atol=1e-12)
    got = pullback(VanDerPol(), y0, many, theta, cotangent, gradient="backsolve", rtol=1e-8, atol=1e-10)
    assert np.allclose(got.y0, right.y0, rtol=1e-2, atol=1e-3)


def test_and_one_that_meets_it_is_not():
    theta, y0 = np.array([0.5, 0.05, 0.8, 0.02]), np.array([30.0, 4.0])
    got = pullback(LotkaVolterra(), y0, [0.0, 20.0], theta, y0, gradient="backsolve")
    right = pullback(LotkaVolterra(), y0, [0.0, 20.0], theta, y0)
    assert np.allclose(got.theta, right.theta, rtol=1e-3)

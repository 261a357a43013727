"""The adjoint system is dual to the tangent system, and solved backwards it is the gradient of the flow."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import solve_ivp

from minode import Linear, VectorField, adjoint_rhs, odeint, pullback, pushforward, tangent_rhs
from minode.gradients.adjoint import invariant, seminorm, solve_backwards
from minode.solvers.solve import run
from minode.solvers.states import SolverError
from tests.gradients.problems import (PROBLEMS, REFERENCE, ROUND_OFF, SLOPE, observed_order, relative_error,
                                      true_flow)
from tests.strategies import arrays, batches, mlps

DIFFERENCE = 1e-6         # a central difference at step 1e-4: ε²/6 of a third derivative of order 100
RK4_FINE = 1e-7           # RK4's error at a few hundred steps per unit of time on these problems
ERRORS_OF_STEPS = 20      # what the errors of some ten steps, each within the tolerance, add up to
RESET = 1e-6              # rtol, of a gradient whose y is reset at outputs between which errors grow by e³
SAVED = 5                 # times fewer calls where only b wants short steps


@pytest.mark.eq("16.1", "17.2", "17.3")
@given(st.data(), mlps(), batches, st.floats(-2, 2))
def test_the_adjoint_rhs_is_the_gradient_of_minus_the_weighted_velocity(data, network, batch, t):
    f, theta = network
    y, a = (data.draw(arrays((*batch, f.dim))) for _ in range(2))
    w, dtheta = data.draw(arrays(y.shape)), data.draw(arrays(f.n_params))
    dy, da, db = adjoint_rhs(f)(t, (y, a, np.zeros_like(theta)), theta)
    along = np.imag(f(t, y + 1e-30j * w, theta + 1e-30j * dtheta)) / 1e-30
    assert dy.shape == da.shape == y.shape and db.shape == theta.shape
    assert relative_error(dy, f(t, y, theta)) <= ROUND_OFF
    size = 1 + np.abs(da * w).sum() + np.abs(db * dtheta).sum()
    assert abs(np.sum(da * w) + db @ dtheta + np.sum(a * along)) <= ROUND_OFF * size


@pytest.mark.eq("17.1", "17.2", "17.3")
@given(st.data(), mlps(), batches, st.floats(-2, 2))
def test_the_two_right_hand_sides_leave_the_invariant_where_it_is(data, network, batch, t):
    f, theta = network
    y, a, w = (data.draw(arrays((*batch, f.dim))) for _ in range(3))
    b, dtheta = data.draw(arrays(f.n_params)), data.draw(arrays(f.n_params))
    _, dw = tangent_rhs(f)(t, (y, w), theta, dtheta)
    _, da, db = adjoint_rhs(f)(t, (y, a, b), theta)
    rate = invariant(da, w, db, dtheta) + invariant(a, dw, b, np.zeros_like(dtheta))
    terms = np.abs(da * w).sum() + np.abs(db * dtheta).sum() + np.abs(a * dw).sum()
    assert abs(rate) <= ROUND_OFF * (1 + terms)


@pytest.mark.eq("17.1")
def test_the_invariant_weighs_the_state_and_the_parameters():
    a, w = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 7.0], [11.0, 13.0]])
    assert invariant(a, w, np.array([17.0]), np.array([19.0])) == 5 + 14 + 33 + 52 + 17 * 19


@pytest.mark.eq("17.1", "17.2", "17.3")
@pytest.mark.parametrize("name", PROBLEMS)
def test_scipy_solves_the_adjoint_rhs_to_the_gradient_of_the_true_flow(name):
    f, theta, y0 = PROBLEMS[name]
    t, a, b = np.array([0.3, 2.3]), np.cos(np.arange(f.dim)), np.sin(1.0 + np.arange(f.n_params))
    ys, Y, S = true_flow(f, y0, t, theta)
    rhs, cuts = adjoint_rhs(f), [f.dim, 2 * f.dim]
    path = solve_ivp(lambda t, s: np.concatenate(rhs(t, np.split(s, cuts), theta)), t[::-1],
                     np.concatenate([ys[-1], a, b]), "LSODA", rtol=1e-12, atol=1e-13).y
    assert relative_error(path[:, -1], np.concatenate([y0, a @ Y[-1], b + a @ S[-1]])) <= 10 * REFERENCE


class Square(VectorField):
    """y' = −θ y², solved by y₀ / (1 + θ y₀ (t − t₀)): the first exercise of chapter 17."""

    dim, n_params = 1, 1

    def __call__(self, t, y, theta):
        return -theta * y**2

    def jacobian(self, t, y, theta):
        return -2 * (theta * y)[..., None]

    def param_jacobian(self, t, y, theta):
        return -(y**2)[..., None]


@pytest.mark.eq("17.2", "17.3", "17.5", "17.6")
def test_the_example_worked_by_hand_and_the_exercise():
    t, theta, y0 = np.array([0.3, 2.3]), np.array([0.7]), np.array([1.5])
    T, tight = t[1] - t[0], {"gradient": "backsolve", "rtol": 1e-12, "atol": 1e-13}
    growth = np.exp(theta * T)
    expected = growth, T * growth * y0, np.concatenate([-growth * theta * y0, theta * growth * y0])
    for got, part in zip(pullback(Linear(1), y0, t, theta, [1.0], **tight), expected):
        assert relative_error(got, part) <= REFERENCE
    fall = 1 / (1 + theta * y0 * T)
    pulled = pullback(Square(), y0, t, theta, [1.0], **tight)
    assert relative_error(pulled.y0, fall**2) <= REFERENCE
    assert relative_error(pulled.theta, -T * (y0 * fall) ** 2) <= REFERENCE


@pytest.mark.eq("17.2", "17.4")
def test_an_error_grows_backwards_from_output_to_output_alone():
    theta, few, many = np.array([-30.0]), np.array([0.0, 1.0]), np.linspace(0.0, 1.0, 11)
    with pytest.raises(SolverError, match="away from that of the forward solve"):
        pullback(Linear(1), [1.0], few, theta, np.ones((2, 1)), gradient="backsolve")
    pulled = pullback(Linear(1), [1.0], many, theta, np.ones((11, 1)), gradient="backsolve")
    assert relative_error(pulled.y0, np.exp(theta * many).sum()) <= RESET


@pytest.mark.eq("17.2", "17.3", "17.4")
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])
def test_backsolve_finds_the_gradient_of_a_loss_on_several_times(name, sign):
    f, theta, y0 = PROBLEMS[name]
    t = 0.3 + sign * np.array([0.0, 0.2, 0.7, 1.1])
    cotangent = np.cos(np.arange(4 * f.dim)).reshape(4, f.dim)
    _, Y, S = true_flow(f, y0, t, theta)
    pulled = pullback(f, y0, t, theta, cotangent, gradient="backsolve", method="rk4", step_size=0.02)
    assert relative_error(pulled.y0, np.einsum("ni,nij->j", cotangent, Y)) <= RK4_FINE
    assert relative_error(pulled.theta, np.einsum("ni,nij->j", cotangent, S)) <= RK4_FINE


@pytest.mark.eq("17.4")
@pytest.mark.parametrize("gradient", ["backsolve", "discrete"])
def test_a_jumps_by_the_cotangent_at_each_time_it_passes(gradient):
    f, theta, y0 = PROBLEMS["network"]
    t, cotangent = np.array([0.0, 0.5, 1.0]), np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5], [0.3, 0.4, -1.0]])
    options = {"gradient": gradient, "method": "rk4", "step_size": 0.05}
    ys = odeint(f, y0, t, theta, method="rk4", step_size=0.05)
    late = pullback(f, ys[1], t[1:], theta, cotangent[2], **options)
    early = pullback(f, y0, t[:2], theta, late.y0 + cotangent[1], **options)
    whole = pullback(f, y0, t, theta, cotangent, **options)
    assert relative_error(whole.y0, early.y0) <= ROUND_OFF
    assert relative_error(whole.theta, early.theta + late.theta) <= ROUND_OFF


@pytest.mark.eq("17.3")
@pytest.mark.parametrize("gradient", ["backsolve", "discrete"])
@given(st.data())
def test_b_starts_from_the_direct_derivative_of_the_loss_in_theta(gradient, data):
    f, theta, y0 = PROBLEMS["pendulum"]
    t, decay = np.linspace(0.0, 1.0, 5), data.draw(arrays(f.n_params))
    plain, penalised = (pullback(f, y0, t, theta, np.ones(2), gradient=gradient, dL_dtheta=b, method="rk4")
                        for b in (None, decay))
    assert relative_error(penalised.theta - plain.theta, decay, size=np.abs(plain.theta).max()) <= ROUND_OFF
    assert np.array_equal(penalised.y0, plain.y0) and np.array_equal(penalised.t, plain.t)


@pytest.mark.eq("17.5", "17.6")
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_time_gradients_are_the_differences_of_accurate_solves(name):
    f, theta, y0 = PROBLEMS[name]
    y0 = np.stack([y0, 0.5 - y0])
    t, cotangent = np.array([0.1, 0.5, 0.9, 1.4]), np.cos(np.arange(8 * f.dim)).reshape(4, 2, f.dim)

    def loss(t):
        ys = [solve_ivp(f, t[[0, -1]], y, "DOP853", t, args=(theta,), rtol=1e-12, atol=1e-13).y.T for y in y0]
        return np.sum(cotangent * np.stack(ys, axis=1))

    moved = [(loss(t + e) - loss(t - e)) / 2e-4 for e in 1e-4 * np.eye(4)]
    for gradient in ("backsolve", "discrete"):
        pulled = pullback(f, y0, t, theta, cotangent, gradient=gradient, method="rk4", step_size=0.02)
        assert relative_error(pulled.t, moved) <= DIFFERENCE


@pytest.mark.eq("17.1", "17.2", "17.3")
@pytest.mark.parametrize("method, order, n", [("euler", 1, 64), ("midpoint", 2, 16), ("rk4", 4, 64)])
def test_solved_apart_the_two_odes_keep_the_invariant_to_the_order_of_the_method(method, order, n):
    f, theta, y0 = PROBLEMS["network"]
    dy0, dtheta, cotangent = np.cos(np.arange(3)), np.sin(np.arange(f.n_params)), np.array([1.0, -2.0, 0.5])

    def drift(n):
        t = np.linspace(0.0, 2.0, n + 1)
        _, ws = pushforward(f, y0, t, theta, dy0, dtheta, method=method)
        pulled = pullback(f, y0, [0.0, 2.0], theta, cotangent, gradient="backsolve", method=method,
                          step_size=2 / n)
        return abs(invariant(pulled.y0, dy0, pulled.theta, dtheta) - np.vdot(cotangent, ws[-1]))
    assert abs(observed_order(drift, n) - order) < SLOPE


# -- the two routes that solve the adjoint system ---------------------------------------------------


OUTPUTS = np.array([0.1, 0.5, 1.1])


@cache
def derivatives_of(name):
    """∂y/∂y0 and ∂y/∂θ of the true flow at these times."""
    f, theta, y0 = PROBLEMS[name]
    return true_flow(f, y0, OUTPUTS, theta)[1:]


def error_of(name, **options):
    """How far a gradient of a loss on several times is from that of the true flow, relatively."""
    (f, theta, y0), (Y, S) = PROBLEMS[name], derivatives_of(name)
    cotangent = np.cos(np.arange(3.0 * f.dim)).reshape(3, f.dim)
    pulled = pullback(f, y0, OUTPUTS, theta, cotangent, **options)
    return max(relative_error(pulled.y0, np.einsum("ni,nij->j", cotangent, Y)),
               relative_error(pulled.theta, np.einsum("ni,nij->j", cotangent, S)))


@pytest.mark.eq("11.1", "11.2", "17.2", "17.3", "17.4")
@pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])
@pytest.mark.parametrize("method, order, n", [
    ("euler", 1, 32), ("midpoint", 2, 16), ("bosh3", 3, 8), ("rk4", 4, 8), ("reversible_heun", 2, 16),
    ("asynchronous_leapfrog", 2, 16)])
def test_with_fixed_steps_they_tend_to_the_truth_at_the_order_of_the_method(gradient, method, order, n):
    def error(n):
        return error_of("pendulum", gradient=gradient, method=method, step_size=0.2 / n)
    assert abs(observed_order(error, n) - order) < SLOPE


@pytest.mark.eq("11.2", "17.2", "17.3")
@pytest.mark.parametrize("gradient, order", [("backsolve", 5), ("interpolate", 4)])
def test_what_reads_y_between_the_steps_has_the_order_it_has_there(gradient, order):
    def error(n):
        return error_of("pendulum", gradient=gradient, method="cash_karp", step_size=0.2 / n)
    assert abs(observed_order(error, 4) - order) < SLOPE


@pytest.mark.eq("11.1", "17.2", "17.3", "17.4")
@pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])
@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5", "dop853"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_with_steps_of_their_own_choice_they_are_as_near_as_the_tolerance(gradient, method, name):
    for tolerance in (1e-4, 1e-6, 1e-8):
        error = error_of(name, gradient=gradient, method=method, rtol=tolerance, atol=tolerance)
        assert error <= ERRORS_OF_STEPS * tolerance


@pytest.mark.eq("17.7")
@given(st.data(), st.integers(0, 3), st.integers(1, 4))
def test_the_seminorm_is_the_root_mean_square_of_all_parts_but_the_last(data, p, d):
    error = tuple(data.draw(arrays(shape)) for shape in ((2, d), (2, d), (p,)))
    scale = tuple(2.5 + data.draw(arrays(part.shape)) for part in error)
    squares = [(e / sc)**2 for part, by in zip(error[:2], scale) for e, sc in zip(part.ravel(), by.ravel())]
    assert abs(seminorm(error, scale) - np.sqrt(sum(squares) / (4 * d))) <= ROUND_OFF * (1 + max(squares))
    assert seminorm((*error[:2], np.inf * np.ones(p)), scale) == seminorm(error, scale)


class Waves(VectorField):
    """y' = −y + Σ θ_k sin(40 + k)t: at θ = 0 all is smooth but b."""

    dim, n_params = 1, 4

    def __init__(self):
        self.n_vjp = 0

    def waves(self, t):
        return np.sin(np.multiply.outer(t, 40.0 + np.arange(4)))

    def __call__(self, t, y, theta):
        return -y + (self.waves(t) @ theta)[..., None]

    def vjp(self, t, y, theta, a):
        self.n_vjp += 1
        return -a, self.waves(t) * a.sum()


@pytest.mark.eq("17.7")
def test_without_b_in_the_norm_a_is_as_right_and_much_cheaper():
    n_vjp = {}
    for backward in (None, {"norm": seminorm}):
        f = Waves()
        pulled = pullback(f, [1.0], [0.0, 3.0], np.zeros(4), [1.0], gradient="backsolve", backward=backward)
        assert relative_error(pulled.y0, np.exp([-3.0])) <= ERRORS_OF_STEPS * 1e-6
        n_vjp[backward is None] = f.n_vjp
    assert n_vjp[True] > SAVED * n_vjp[False]


@pytest.mark.eq("17.2", "17.3")
@pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])
def test_the_backward_solve_takes_the_keywords_of_the_forward_one_except_those_given_to_it(gradient):
    f, theta, y0 = PROBLEMS["network"]
    t, cotangent = np.array([0.0, 0.3, 1.0]), np.cos(np.arange(9.0)).reshape(3, 3)
    forward, backward = {"method": "dopri5", "rtol": 1e-3}, {"method": "heun", "step_size": 0.1}
    pulled = pullback(f, y0, t, theta, cotangent, gradient=gradient, backward=backward, **forward)
    done = run(f, y0, t, theta, [], **forward)
    y_at = done.interpolation() if gradient == "interpolate" else None
    a, b = solve_backwards(f, done.solution.ys, t, theta, cotangent, np.zeros_like(theta), y_at, **backward)
    assert np.array_equal(pulled.y0, a + cotangent[0]) and np.array_equal(pulled.theta, b)
    options = {"gradient": gradient, "rtol": 1e-3, "atol": 1e-3}
    named, tight = {"rtol": 1e-3, "atol": 1e-3, "method": "dopri5"}, {"rtol": 1e-9, "atol": 1e-9}
    loose, same, strict = (pullback(f, y0, t, theta, cotangent, backward=backward, **options)
                           for backward in ({}, named, tight))
    assert all(map(np.array_equal, loose, same)) and not np.array_equal(loose.theta, strict.theta)


@pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])
def test_what_is_said_of_the_forward_norm_and_first_step_is_not_said_of_the_backward_solve(gradient):
    f, theta, y0 = PROBLEMS["network"]
    seen, told = [], []

    def norm(error, scale):
        seen.append(np.shape(error))
        return np.abs(error / scale).max()
    pullback(f, y0, [0.0, 1.0], theta, y0, gradient=gradient, norm=norm, first_step=0.01,
             progress=told.append)
    forwards = len(seen)
    assert set(seen) == {y0.shape} and told == sorted(told) and told[-1] == 1.0
    seen.clear()
    odeint(f, y0, [0.0, 1.0], theta, norm=norm, first_step=0.01)
    assert len(seen) == forwards > 0


class OneWave(VectorField):
    """y' = θ cos 40t: at θ = 0 neither y nor a moves at all, and f_θ = cos 40t does."""

    dim = n_params = 1

    def __call__(self, t, y, theta):
        return theta * np.cos(40 * np.asarray(t))[..., None] + 0 * y

    def vjp(self, t, y, theta, a):
        return 0 * a, np.cos(40 * t) * a

    jvp = None


@pytest.mark.eq("17.7")
def test_left_out_of_the_norm_b_itself_may_be_wrong_and_nothing_says_so():
    def error(norm):
        pulled = pullback(OneWave(), [1.0], [0.0, 1.0], [0.0], [1.0], gradient="backsolve", rtol=1e-8, atol=1e-8,
                          backward={"norm": norm})
        return abs(pulled.theta[0] - np.sin(40) / 40)
    assert error(None) <= ERRORS_OF_STEPS * 1e-8 and error(seminorm) > 10 * np.sin(40) / 40

"""From a loss to its gradients: the bookkeeping of outputs, batch, times, parameters, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import (Gradients, Linear, LotkaVolterra, SolverError, VanDerPol, check_gradients, log_prob, methods,
                    negative_log_likelihood, odeint, pullback, pushforward, reversible, value_and_gradients)
from minode.gradients.discrete import is_small
from minode.gradients.pullback import OF_THE_EQUATION
from tests.gradients.problems import (EXACT, PROBLEMS, ROUND_OFF, ForcedPendulum, Silent,
                                      complex_step_gradients, relative_error, repeated_grids, solves)
from tests.strategies import arrays, grids

ROUTES = ["discrete", "checkpoint", "reversible", "backsolve", "interpolate"]
FLOAT32 = 1e-4                # of a gradient at rtol = 1e-6 in float32: some hundred roundings of 1.2e-7
RK4_ERROR = (4 / 400)**4      # (‖A‖ h)⁴ for the oscillator below on 400 steps


def by(gradient, method):
    """The route and a method that it goes through."""
    return {"gradient": gradient, "method": reversible(method) if gradient == "reversible" else method}


@pytest.mark.eq("20.1", "22.5")
@given(st.data(), solves(times=repeated_grids()))
def test_pullback_and_pushforward_are_dual_over_the_whole_flow_at_any_step_size(data, problem):
    f, y0, t, theta, options = problem
    dy0, dtheta = data.draw(arrays(y0.shape)), data.draw(arrays(theta.shape))
    cotangent = data.draw(arrays((len(t), *y0.shape)))
    _, ws = pushforward(f, y0, t, theta, dy0, dtheta, **options)
    pulled = pullback(f, y0, t, theta, cotangent, **options)
    terms = [cotangent * ws, pulled.y0 * dy0, pulled.theta * dtheta]
    forward, back_y0, back_theta = (term.sum() for term in terms)
    assert abs(forward - back_y0 - back_theta) <= ROUND_OFF * (1 + sum(np.abs(term).sum() for term in terms))


class Products:
    """The pendulum as a field that is no VectorField and has the products alone."""

    dim, n_params = PROBLEMS["pendulum"][0].dim, PROBLEMS["pendulum"][0].n_params

    def __call__(self, *arguments):
        return PROBLEMS["pendulum"][0](*arguments)

    def vjp(self, *arguments):
        return PROBLEMS["pendulum"][0].vjp(*arguments)

    def jvp(self, *arguments):
        return PROBLEMS["pendulum"][0].jvp(*arguments)

    def value_and_vjp(self, t, y, theta):
        return self(t, y, theta), lambda a: self.vjp(t, y, theta, a)


def test_a_field_of_the_readers_own_kind_that_has_the_products_alone_has_gradients():
    f, theta, y0 = PROBLEMS["pendulum"]
    own, other = (pullback(field, y0, [0.0, 1.0], theta, y0, method="rk4", step_size=0.1) for field in (Products(), f))
    assert relative_error(own.y0, other.y0) <= EXACT and relative_error(own.theta, other.theta) <= EXACT


@pytest.mark.eq("20.1")
@given(st.data(), solves(times=repeated_grids()))
def test_a_loss_with_a_penalty_on_theta_has_the_gradient_of_the_complex_step(data, problem):
    f, y0, t, theta, options = problem
    weights, decay = data.draw(arrays((len(t), *y0.shape))), data.draw(arrays(theta.shape))

    def total(ys, theta):
        return np.sum(weights * ys**2) + np.sum(decay * theta**2)

    value, gradients = value_and_gradients(
        lambda ys: (np.sum(weights * ys**2), 2 * weights * ys), f, y0, t, theta,
        dL_dtheta=2 * decay * theta, **options)
    ys = odeint(f, y0, t, theta, **options)
    dL_dy0, dL_dtheta = complex_step_gradients(total, f, y0, t, theta, **options)
    size = np.abs(2 * weights * ys).max(initial=0.0) + np.abs(decay * theta).max()
    assert value == np.sum(weights * ys**2)
    assert relative_error(gradients.y0, dL_dy0, size) <= EXACT
    assert relative_error(gradients.theta, dL_dtheta, size) <= EXACT


@pytest.mark.eq("17.4", "18.3")
@pytest.mark.parametrize("gradient", ROUTES)
def test_a_time_that_is_listed_twice_counts_twice(gradient):
    f, theta, y0 = PROBLEMS["network"]
    cotangent = np.cos(np.arange(5 * f.dim)).reshape(5, f.dim)
    twice = pullback(f, y0, [0.1, 0.1, 0.6, 0.6, 0.9], theta, cotangent, **by(gradient, "heun"))
    once = pullback(f, y0, [0.1, 0.6, 0.9], theta,
                    np.stack([cotangent[0] + cotangent[1], cotangent[2] + cotangent[3], cotangent[4]]),
                    **by(gradient, "heun"))
    assert relative_error(twice.y0, once.y0) <= ROUND_OFF
    assert relative_error(twice.theta, once.theta) <= ROUND_OFF


@pytest.mark.eq("20.1")
@pytest.mark.parametrize("gradient", ROUTES)
def test_at_one_single_time_the_gradient_is_the_cotangent(gradient):
    f, theta, y0 = PROBLEMS["network"]
    cotangent, decay = np.array([1.0, -2.0, 3.0]), np.cos(theta)
    pulled = pullback(f, y0, [0.7], theta, cotangent, dL_dtheta=decay, **by(gradient, "rk4"))
    assert np.array_equal(pulled.y0, cotangent) and np.array_equal(pulled.theta, decay)
    assert np.array_equal(pulled.t, [0.0])


@pytest.mark.eq("17.3", "18.4")
@pytest.mark.parametrize("name, gradient", [("network", "discrete"), *((("pendulum", "network")[k % 2], gradient)
                                                                        for k, gradient in enumerate(ROUTES))])
@given(st.data(), grids(max_steps=2))
def test_the_gradient_of_a_batch_is_the_sum_over_its_trajectories(name, gradient, data, t):
    f, theta, _ = PROBLEMS[name]
    y0 = data.draw(arrays((2, 2, f.dim)))
    cotangent = data.draw(arrays((len(t), *y0.shape)))
    whole = pullback(f, y0, t, theta, cotangent, **by(gradient, "rk4"))
    each = {i: pullback(f, y0[i], t, theta, cotangent[(slice(None), *i)], **by(gradient, "rk4"))
            for i in np.ndindex(2, 2)}
    size = np.abs(cotangent).max()
    assert all(relative_error(whole.y0[i], alone.y0, size) <= EXACT for i, alone in each.items())
    assert relative_error(whole.theta, sum(alone.theta for alone in each.values()), size) <= EXACT
    assert relative_error(whole.t, sum(alone.t for alone in each.values()), size) <= EXACT


@pytest.mark.eq("17.5", "17.6")
@pytest.mark.parametrize("gradient", ROUTES)
def test_on_a_linear_flow_the_time_gradients_are_known_in_closed_form(gradient):
    A, y0, cotangent = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.array([1.0, 0.5]), np.array([0.3, -2.0])
    t = np.linspace(0.2, 1.2, 201)
    pulled = pullback(Linear(2), y0, t, A.ravel(), cotangent, **by(gradient, "rk4"))
    half = 0.5 * np.sin(2.0)
    flow = np.array([[np.cos(2.0), half], [-4 * half, np.cos(2.0)]])
    rate = cotangent @ A @ flow @ y0
    assert relative_error(pulled.t[[0, -1]], [-rate, rate]) <= RK4_ERROR
    assert relative_error(pulled.t[1:-1], 0 * t[1:-1], np.abs(rate)) <= RK4_ERROR


def test_a_cotangent_of_the_last_state_alone_may_leave_out_the_others():
    f, theta, y0 = PROBLEMS["network"]
    y0, t, last = np.stack([y0, -y0]), [0.0, 0.3, 1.0], np.cos(np.arange(6.0)).reshape(2, 3)
    whole = pullback(f, y0, t, theta, np.stack([0 * last, 0 * last, last]), method="rk4")
    short = pullback(f, y0, t, theta, last, method="rk4")
    assert isinstance(short, Gradients) and all(map(np.array_equal, short, whole))


@pytest.mark.parametrize("gradient", ROUTES)
def test_without_the_times_the_rest_is_the_same_and_f_and_f_t_are_called_less(gradient):
    f, theta, y0 = PROBLEMS["pendulum"]
    t, cotangent, calls, rates = [0.0, 0.4, 1.0], np.array([1.0, -2.0]), [], []

    class Counted(type(f)):
        def __call__(self, t, y, theta):
            calls.append(t)
            return super().__call__(t, y, theta)

        def time_derivative(self, t, y, theta):
            rates.append(t)
            return super().time_derivative(t, y, theta)

    whole = pullback(Counted(), y0, t, theta, cotangent, **by(gradient, "rk4"))
    n, n_rates = len(calls), len(rates)
    rest = pullback(Counted(), y0, t, theta, cotangent, times=False, **by(gradient, "rk4"))
    assert rest.t is None and whole.t.shape == (3,) and len(rates) == n_rates
    assert np.array_equal(rest.y0, whole.y0) and np.array_equal(rest.theta, whole.theta)
    if gradient in OF_THE_EQUATION:
        assert n_rates == 0 and len(calls) - n == n - 3          # f at both outputs, together and alone
    else:
        assert n_rates > 0 and len(calls) - n == n


def test_times_is_true_or_false():
    f, theta, y0 = PROBLEMS["network"]
    for times in (None, "no", np.array([1, 0])):
        with pytest.raises(TypeError, match="times must be True or False, not "):
            pullback(f, y0, [0.0, 1.0], theta, y0, times=times)


def test_every_route_returns_the_value_of_the_loss_on_the_states_of_its_solve():
    f, theta, y0 = PROBLEMS["network"]
    t = [0.0, 0.4, 1.0]
    for gradient in ROUTES:
        value, _ = value_and_gradients(lambda ys: (np.sum(ys**2), 2 * ys), f, y0, t, theta,
                                       **by(gradient, "rk4"))
        assert value == np.sum(odeint(f, y0, t, theta, method=by(gradient, "rk4")["method"])**2)


def test_the_default_is_the_discrete_route():
    f, theta, y0 = PROBLEMS["network"]
    plain, named = (pullback(f, y0, [0.0, 1.0], theta, y0, **route)
                    for route in ({}, {"gradient": "discrete"}))
    assert all(map(np.array_equal, plain, named))


def test_the_inputs_are_not_written_to():
    f, theta, y0 = PROBLEMS["network"]
    cotangent, decay, t = np.ones((3, 3)), np.ones_like(theta), np.array([0.0, 0.3, 1.0])
    for array in (theta, y0, cotangent, decay, t):
        array.flags.writeable = False
    for gradient in ROUTES:
        pullback(f, y0, t, theta, cotangent, dL_dtheta=decay, **by(gradient, "rk4"))
    pushforward(f, y0, t, theta, dy0=y0, dtheta=theta, method="rk4")
    for array in (theta, y0):
        array.flags.writeable = True


def test_a_loss_that_writes_into_the_states_is_stopped():
    f, theta, y0 = PROBLEMS["network"]

    def loss(ys):
        ys -= 1.0
        return 0.5 * np.sum(ys**2), ys
    with pytest.raises(ValueError, match="read-only"):
        value_and_gradients(loss, f, y0, [0.0, 1.0], theta, method="rk4")


GOOD = {"f": Silent(), "y0": np.ones((4, 2)), "t": [0.0, 1.0], "theta": np.ones(3),
        "cotangent": np.ones((4, 2))}


@pytest.mark.parametrize("bad, error, message", [
    ({"f": np.sin}, TypeError, "f must be a VectorField, with derivatives, not ufunc"),
    ({"f": LotkaVolterra}, TypeError, "f must be a VectorField, an instance and not the class LotkaVolterra"),
    ({"y0": np.ones((4, 3)), "cotangent": np.ones((4, 3))}, ValueError, r"y0 must have shape \(..., 2\) for"),
    ({"y0": np.full((4, 2), np.nan)}, ValueError, "y0 must be finite"),
    ({"y0": np.full((4, 2), 1j)}, TypeError, "y0 must be real, not complex"),
    ({"theta": np.ones((4, 3))}, ValueError, r"theta must have shape \(3,\), not \(4, 3\)"),
    ({"theta": [1.0, np.nan, 0.0]}, ValueError, "theta must be finite"),
    ({"theta": [1.0, 1j, 0.0]}, TypeError, "theta must be real, not complex"),
    ({"cotangent": np.ones(2)}, ValueError,
     r"cotangent must have the shape of ys, \(2, 4, 2\), or of y0, \(4, 2\), not \(2,\)"),
    ({"cotangent": np.full((4, 2), np.inf)}, ValueError, "cotangent must be finite"),
    ({"cotangent": np.full((4, 2), 1j)}, TypeError, "cotangent must be real, not complex"),
    ({"dL_dtheta": 1.0}, ValueError, r"dL_dtheta must have shape \(3,\), not \(\)"),
    ({"dL_dtheta": [0.0, 0.0, np.nan]}, ValueError, "dL_dtheta must be finite"),
    ({"dL_dtheta": [0.0, 0.0, 1j]}, TypeError, "dL_dtheta must be real, not complex"),
    ({"gradient": "adjoint"}, ValueError,
     "unknown gradient 'adjoint'; known: discrete, checkpoint, reversible, backsolve, interpolate"),
    ({"gradient": None}, ValueError, "unknown gradient None; known: discrete, checkpoint, reversible, "),
    ({"t": [0.0, 1.0, 0.5], "cotangent": np.ones((3, 4, 2))}, ValueError, "t must be monotone"),
    ({"t": [0.0, np.inf]}, ValueError, "t must be finite"),
    ({"t": []}, ValueError, "t must be a 1-D array of at least one time"),
    ({"method": "rk5"}, ValueError, "unknown method 'rk5'; known: euler, "),
    ({"step_size": 0}, ValueError, "step_size must be positive, not 0"),
])
def test_the_pullback_refuses_unusable_input_before_calling_f(bad, error, message):
    with pytest.raises(error, match=message):
        pullback(**{**GOOD, "method": "rk4", **bad})


@pytest.mark.parametrize("gradient", ["discrete", "checkpoint", "reversible"])
def test_keywords_of_a_backward_solve_are_refused_by_the_routes_that_have_none(gradient):
    message = f"backward is for gradient='backsolve' or 'interpolate', which solve backwards, not '{gradient}'"
    with pytest.raises(ValueError, match=message):
        pullback(**GOOD, **by(gradient, "rk4"), backward={})


@pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])
@pytest.mark.parametrize("backward, error, message", [
    ([("rtol", 1e-3)], TypeError, "backward must be a dict of keywords of solve, not list"),
    ({"rtoll": 1e-3}, ValueError, "unknown keyword 'rtoll' in backward; known: method, rtol, atol, step_size, "),
    ({"method": "rk5"}, ValueError, "unknown method 'rk5'; known: euler, "),
    ({"method": "radau5"}, ValueError, "backward solves y, a and b as one .* joint steps, not radau5"),
    ({"per_trajectory": True}, ValueError, "reversible methods with joint steps, not per_trajectory"),
])
def test_a_backward_solve_that_could_not_be_run_is_refused_before_the_forward_one(gradient, backward, error, message):
    with pytest.raises(error, match=message):
        pullback(**GOOD, gradient=gradient, backward=backward)


@pytest.mark.parametrize("dL_dys, error, message", [
    (np.ones((2, 2)), ValueError, r"dL_dys must have shape \(3, 2\), not \(2, 2\)"),
    (np.full((3, 2), np.nan), ValueError, "dL_dys must be finite"),
    (np.full((3, 2), 1j), TypeError, "dL_dys must be real, not complex"),
])
def test_a_loss_must_return_a_real_derivative_of_the_shape_of_the_states(dL_dys, error, message):
    f, theta, y0 = PROBLEMS["pendulum"]
    with pytest.raises(error, match=message):
        value_and_gradients(lambda ys: (0.0, dL_dys), f, y0, [0.0, 0.5, 1.0], theta, method="rk4")


class Slanted(ForcedPendulum):
    """A pendulum whose velocity has lost a component."""

    def __call__(self, t, y, theta):
        return super().__call__(t, y, theta)[..., :1]


class Imaginary(ForcedPendulum):
    """A pendulum with a complex velocity for a real state."""

    def __call__(self, t, y, theta):
        return super().__call__(t, y, theta) + 0j


@pytest.mark.parametrize("f, error, message", [
    (Slanted(), ValueError, r"f must return the shape of y, \(2,\), not \(1,\)"),
    (Imaginary(), TypeError, "f returned complex values for a real state"),
])
def test_a_field_that_returns_something_else_than_a_velocity_is_refused(f, error, message):
    with pytest.raises(error, match=message):
        pushforward(f, np.ones(2), [0.0, 1.0], np.ones(3), method="rk4")
    with pytest.raises(error, match=message):
        pullback(f, np.ones(2), [0.0, 1.0], np.ones(3), np.ones(2), method="rk4")


class Steep(ForcedPendulum):
    """A pendulum whose velocity is tame and whose derivatives are as large as numbers get."""

    def jacobian(self, t, y, theta):
        return np.full((*y.shape, 2), 1e300)


@pytest.mark.eq("20.1")
@pytest.mark.parametrize("gradient", ROUTES)
@pytest.mark.parametrize("rows", [1, 200], ids=["at once", "in turn"])
def test_a_way_back_that_overflows_is_a_solver_error_with_the_states_and_never_nan(gradient, rows):
    f, t, y0 = Steep(), np.linspace(0.0, 1.0, 41), np.ones((rows, 2))
    assert is_small(f, y0.size) == (rows == 1)
    options = by(gradient, "rk4")
    with pytest.raises(SolverError, match="no longer finite") as caught:
        pullback(f, y0, t, np.ones(3), y0, **options)
    if gradient not in ("backsolve", "interpolate"):             # they are told by the solver, going back
        assert "on the way back from t = 1.0 to 0.0" in str(caught.value) and caught.value.t == 0.0
        assert np.array_equal(caught.value.solution.t, t)
        expected = odeint(f, y0, t, np.ones(3), method=options["method"])
        assert np.array_equal(caught.value.solution.ys, expected)


def test_an_overflow_in_the_time_gradient_alone_is_a_solver_error():
    with pytest.raises(SolverError, match="the gradient is no longer finite"):
        pullback(Linear(1), [10.0], [0.0, 1e-300], [1.0], [1e308], method="euler")


def test_what_the_limits_are_and_what_helps_is_in_the_help():
    assert 'step_size then, or gradient="backsolve"' in pullback.__doc__ and "If y rests" in pullback.__doc__
    assert "take a coupling below e^{−2x}" in reversible.__doc__
    for limit, remedy in (("bosh3's error estimate is 0", "give first_step, or take dopri5"),
                          ("0.23 h after the end", "take trbdf2"), ("A reversible method amplifies", "smaller coupling")):
        assert limit in type(methods).__doc__ and remedy in type(methods).__doc__


@pytest.mark.parametrize("remedy", [{"gradient": "backsolve"}, {"gradient": "interpolate"}, {"step_size": 0.01}])
def test_the_gradient_of_a_state_at_rest_is_right_with_the_remedy_that_the_help_names(remedy):
    f, y0, theta = LotkaVolterra(), np.array([0.0, 0.0]), np.array([1.0, 1.0, 2.0, 1.0])     # at rest: prey e^t, predators e^−2t
    exact = np.array([np.exp(4.0), np.exp(-8.0)])
    rest = pullback(f, y0, [0.0, 4.0], theta, [1.0, 1.0], rtol=1e-8, atol=1e-8).y0
    assert abs(rest[0] / exact[0] - 1) > 0.01
    helped = pullback(f, y0, [0.0, 4.0], theta, [1.0, 1.0], rtol=1e-8, atol=1e-8, **remedy).y0
    assert np.abs(helped - exact).max() <= 1e-6 * exact[0]


def test_a_decay_by_a_reversible_method_is_right_with_the_remedy_that_the_help_names():
    def y_1(method):
        return odeint(lambda t, y: -20 * y, [1.0], [0.0, 1.0], method=method, step_size=0.005)[-1, 0]
    assert abs(y_1(reversible("rk4"))) > 1 and abs(y_1(reversible("rk4", 0.9)) - np.exp(-20)) < 1e-8
    assert abs(y_1("rk4") / np.exp(-20) - 1) < 1e-4


def test_a_decay_from_a_first_step_that_bosh3_cannot_judge_is_right_with_the_remedy_that_the_help_names():
    tau = 1e-9

    def error(**options):
        return abs(odeint(lambda t, y: -y / tau, [1.0], [0.0, 3 * tau], **options)[-1, 0] / np.exp(-3) - 1)
    assert error(method="bosh3") > 0.05
    assert error(method="bosh3", first_step=0.01 * tau) < 1e-4 and error(method="dopri5") < 1e-4


# -- what is said of a solve that the reader did not write --------------------------------------


@pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])
def test_a_backward_solve_that_fails_says_that_it_is_one_and_carries_the_forward_solution(gradient):
    f, theta, t, own = VanDerPol(), np.array([3.0]), [0.0, 5.0, 10.0], {"max_steps": 60} if gradient != "backsolve" else {}
    with pytest.raises(SolverError, match=r"^the backward solve from t = 10.0 to 5.0 failed: .* at t = "
                                          r".*gradient='discrete' takes back the steps") as caught:
        pullback(f, [2.0, 0.0], t, theta, [1.0, 0.0], gradient=gradient, backward=own)
    error = caught.value
    assert 0.0 <= error.t <= 10.0 and isinstance(error.__cause__, SolverError)
    assert np.array_equal(error.solution.ys, odeint(f, [2.0, 0.0], t, theta)) and np.array_equal(error.solution.t, t)


ATOL_0 = {
    "backsolve": (lambda **own: pullback(Linear(2), Y0, T, A, Y0, gradient="backsolve", **own), "b = 0"),
    "interpolate": (lambda **own: pullback(Linear(2), Y0, T, A, Y0, gradient="interpolate", **own), "b = 0"),
    "backward": (lambda **own: pullback(Linear(2), Y0, T, A, Y0, gradient="backsolve", backward=own), "b = 0"),
    "pushforward": (lambda **own: pushforward(Linear(2), Y0, T, A, **own), "tangent w has components that begin at 0"),
    "pushforward of dy0": (lambda **own: pushforward(Linear(2), Y0, T, A, [1.0, 0.0], **own), "tangent w"),
    "log_prob": (lambda **own: log_prob(Linear(2), Y0, T, A, **own), "a log density, which begins at 0"),
    "negative_log_likelihood": (lambda **own: negative_log_likelihood(Linear(2), Y0, T, A, **own), "a log density")}
Y0, T, A = [1.0, 2.0], [0.0, 1.0], np.array([0.1, 1.0, -1.0, 0.2])


@pytest.mark.parametrize("name", ATOL_0)
def test_an_atol_of_0_is_refused_for_a_part_that_is_not_the_readers_and_this_part_is_named(name):
    call, part = ATOL_0[name]
    with pytest.raises(ValueError, match=f"^atol must be positive for .*{part}.*: give "):
        call(atol=0)
    call(atol=0, method="rk4")                               # which has no use for it
    call(atol=0, step_size=0.1)


def test_an_atol_of_0_is_good_for_what_is_the_readers():
    odeint(Linear(2), Y0, T, A, atol=0)
    check_gradients(Linear(2), Y0, T, A, atol=0)
    pushforward(Linear(2), Y0, T, A, Y0, atol=0)
    pullback(Linear(2), Y0, T, A, Y0, atol=0)


@pytest.mark.parametrize("gradient", ["discrete", "checkpoint", "interpolate", "backsolve"])
def test_a_field_is_called_in_the_precision_of_y0_on_every_route(gradient):
    seen = set()

    class Seen(Linear):
        def __call__(self, t, y, theta):
            seen.add(y.dtype)
            return super().__call__(t, y, theta)

        def vjp(self, t, y, theta, a):
            seen.add(y.dtype)
            return super().vjp(t, y, theta, a)
    for theta in (A.astype(np.float32), A):
        pulled = pullback(Seen(2), np.float32(Y0), T, theta, np.ones(2), gradient=gradient)
        expected = pullback(Linear(2), Y0, T, A, np.ones(2), rtol=1e-9)
        assert seen == {np.dtype(np.float32)}
        assert all(np.abs(got / wanted - 1).max() < FLOAT32 for got, wanted in zip(pulled, expected))

"""Whatever the method, what goes in is checked, what is done is counted, and all doors lead to one place."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import (MLP, CubicSpiral, Linear, LotkaVolterra, Tableau, VanDerPol, methods, odeint, odeint_euler,
                    odeint_rk4, reversible, solve)
from minode.solvers.adaptive import Tolerances
from minode.solvers.implicit import NEWTON_SHARE
from minode.solvers.solve import find_method, run
from tests.solvers.test_adaptive import PROBLEMS, ROUND_OFF, SAME_STEPS, fewer, pendulum, rms, times
from tests.solvers.test_dense import jacobian, options
from tests.strategies import assert_agree, grids

EVERY_METHOD = [*methods.values(), reversible("rk4"), reversible("dopri5")]
each_method = pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
ADAPTS = [m for m in methods.values() if isinstance(m, Tableau) and m.b_hat is not None]
Y0 = [0.5, -0.3]


# -- one door ---------------------------------------------------------------------------------

@each_method
def test_odeint_is_the_states_of_solve(method):
    t = np.linspace(0.0, 1.0, 5)
    solution = solve(pendulum, Y0, t, **options(method))
    assert np.array_equal(odeint(pendulum, Y0, t, **options(method)), solution.ys)
    assert np.array_equal(solution.t, t) and solution.ys.shape == (5, 2) and solution.ys[0].tolist() == Y0


@each_method
def test_times_may_fall_repeat_or_stand_alone(method):
    t = np.array([0.0, 0.3, 0.5, 1.2])
    up = odeint(pendulum, Y0, t, **options(method))
    turned = options(method) | dict(jacobian=lambda t, y: -jacobian(-t, y))
    assert_agree(odeint(lambda t, y: -pendulum(-t, y), Y0, -t, **turned), up, ROUND_OFF)
    again = [0, 0, 1, 2, 2, 2, 3, 3]
    assert np.array_equal(odeint(pendulum, Y0, t[again], **options(method)), up[again])
    for t in ([0.7], [0.7, 0.7, 0.7]):
        solution = solve(pendulum, Y0, t, **options(method))
        assert solution.ys.tolist() == [Y0] * len(t) and solution.stats.n_f == solution.stats.n_steps == 0


@pytest.mark.parametrize("method", ADAPTS, ids=lambda method: method.name)
def test_a_step_size_makes_an_adaptive_method_one_of_fixed_steps(method):
    t, never = np.array([0.0, 0.5, 1.0]), dict(rtol=1e-30, atol=1e-30)
    solution = solve(pendulum, Y0, t, **options(method) | never, step_size=0.125)
    assert (solution.stats.n_steps, solution.stats.n_rejected) == (8, 0)
    fine = odeint(pendulum, Y0, np.linspace(0.0, 1.0, 9), **options(method), step_size=1.0)
    assert_agree(solution.ys, fine[::4], ROUND_OFF)


@each_method
def test_the_steps_that_were_taken_can_be_replayed(method):
    tape, t = [], np.linspace(0.0, 2.0, 3)
    done = run(pendulum, Y0, t, tape=tape, **options(method))
    grid = [step[0] for step in tape] + [2.0]
    again = run(pendulum, Y0, t[[0, -1]], **options(method), grid=grid)
    assert again.solution.stats.n_steps == len(tape) == done.solution.stats.n_accepted
    newton = NEWTON_SHARE * 1e-3 * len(tape) if method in ADAPTS and not method.is_explicit else 0.0   # in each step
    assert_agree(again.solution.ys[-1], done.solution.ys[-1], ROUND_OFF + newton)


def test_a_table_of_the_readers_is_a_method_like_any_other():
    rk4, bosh3, radau3 = (methods[name] for name in ("rk4", "bosh3", "radau3"))
    t = [0.0, 0.5, 2.0]
    fixed = Tableau("own", 4, A=rk4.A, b=rk4.b)
    assert np.array_equal(odeint(pendulum, Y0, t, method=fixed), odeint(pendulum, Y0, t, method="rk4"))
    assert_agree(odeint(pendulum, Y0, t, method=fixed), odeint_rk4(pendulum, Y0, t), ROUND_OFF)
    adaptive = Tableau("own", 3, A=bosh3.A, b=bosh3.b, b_hat=bosh3.b_hat, embedded_order=2)
    assert np.array_equal(odeint(pendulum, Y0, t, method=adaptive), odeint(pendulum, Y0, t, method=bosh3))
    implicit = Tableau("own", 3, A=radau3.A, b=radau3.b)
    assert np.array_equal(odeint(pendulum, Y0, t, method=implicit, jacobian=jacobian),
                          odeint(pendulum, Y0, t, method="radau3", jacobian=jacobian))
    assert find_method(fixed) is fixed and find_method("rk4") is rk4


def test_a_table_of_the_readers_may_be_implicit_throughout_and_adapt():
    gauss4 = methods["gauss4"]
    own = Tableau("own", 4, A=gauss4.A, b=gauss4.b, b_hat="1 0", embedded_order=1)
    exact = odeint(pendulum, Y0, [0.0, 1.0], method="dop853", rtol=1e-10)[-1]
    for norm in (None, largest):
        ys = odeint(pendulum, Y0, [0.0, 1.0], **options(own), norm=norm)
        assert_agree(ys[-1], exact, 1e-3)


# -- θ as an argument -------------------------------------------------------------------------

FIELDS = {"linear": Linear(2), "spiral": CubicSpiral(), "van der pol": VanDerPol(), "predators": LotkaVolterra(),
          "network": MLP([3, 4, 2], ["tanh", "identity"])}
each_field = pytest.mark.parametrize("f", FIELDS.values(), ids=FIELDS)
REACH, STEP = 1e-9, 1e-20              # of a solve at rtol 1e-10; of a complex step, in which nothing cancels
NUDGE, BY_DIFFERENCE = 1e-4, 1e-6      # of a central difference: its square, and the tolerance over it


def a_theta(f):
    return 0.5 * np.cos(np.arange(f.n_params))


def rotated(t, y, theta):
    """No field but a function of θ (2,), for a state of any shape."""
    return theta[0] * np.sin(t) * y - theta[1] * y**2


@pytest.mark.parametrize("method, field, shape", [      # every method with every field, in either shape by turns
    pytest.param(method, field, [(2,), (3, 2)][(i + j) % 2], id=f"{method.name}-{field}")
    for i, method in enumerate(EVERY_METHOD) for j, field in enumerate(FIELDS)])
def test_theta_as_the_fourth_argument_is_a_function_of_t_and_y_at_this_theta(method, field, shape):
    f = FIELDS[field]
    theta, t = a_theta(f), np.linspace(0.0, 0.5, 4)
    y0 = 0.3 + 0.2 * np.sin(np.arange(np.prod(shape))).reshape(shape)
    told = dict(method=method, rtol=1e-3, atol=1e-3)
    own = solve(f, y0, t, theta, **told)
    by_hand = solve(lambda t, y: f(t, y, theta), y0, t, **told, jacobian=lambda t, y: f.jacobian(t, y, theta))
    assert np.array_equal(own.ys, by_hand.ys) and own.stats == by_hand.stats
    assert np.array_equal(odeint(f, y0, t, theta, **told), own.ys)
    assert np.array_equal(own.interpolate([0.1, 0.33]), by_hand.interpolate([0.1, 0.33]))


@pytest.mark.parametrize("method", ["rk4", "bosh3", "dopri5", "dop853", "reversible_heun"])
@pytest.mark.parametrize("y0", [0.4, [0.4, 0.1], [[0.4], [0.1]], np.float32(0.4)], ids=repr)
def test_any_function_may_take_a_theta_of_any_kind(method, y0):
    theta, t = [1, 2], np.linspace(0.0, 1.0, 4)
    seen = []

    def f(t, y, theta):
        seen.append(theta)
        return rotated(t, y, theta)
    ys = odeint(f, y0, t, theta, method=method)
    assert np.array_equal(ys, odeint(lambda t, y: rotated(t, y, np.array([1.0, 2.0])), y0, t, method=method))
    assert all(part is seen[0] and part.dtype == float and part.tolist() == [1.0, 2.0] for part in seen)


def test_a_tuple_as_the_state_and_trajectories_with_steps_of_their_own_take_a_theta_too():
    theta, t, y0 = np.array([1.0, 2.0]), np.linspace(0.0, 1.0, 4), np.array([[0.4, 0.1], [0.2, 0.9]])

    def pair(t, state, theta):
        return rotated(t, state[0], theta), theta[1] * state[0][:, 0]
    us, vs = odeint(pair, (y0, np.zeros(2)), t, theta)
    expected = odeint(lambda t, state: pair(t, state, theta), (y0, np.zeros(2)), t)
    assert np.array_equal(us, expected[0]) and np.array_equal(vs, expected[1])
    f = FIELDS["network"]
    own = solve(f, y0, t, a_theta(f), method="dop853", per_trajectory=True)
    by_hand = solve(lambda t, y: f(t, y, a_theta(f)), y0, t, method="dop853", per_trajectory=True)
    assert np.array_equal(own.ys, by_hand.ys) and own.stats.n_f.tolist() == by_hand.stats.n_f.tolist()
    assert np.array_equal(own.interpolate(0.2), by_hand.interpolate(0.2))


@each_method
def test_theta_is_not_written_to_and_the_next_solve_sees_what_it_has_become(method):
    f, t, told = FIELDS["network"], [0.0, 0.2, 0.5], dict(method=method, rtol=1e-3, atol=1e-3)
    theta = a_theta(f)
    theta.flags.writeable = False
    before = odeint(f, Y0, t, theta, **told)
    assert np.array_equal(theta, a_theta(f))
    theta.flags.writeable = True
    theta += 0.1
    assert not np.array_equal(odeint(f, Y0, t, theta, **told), before)
    assert np.array_equal(odeint(f, Y0, t, theta, **told), odeint(f, Y0, t, theta.copy(), **told))


@pytest.mark.parametrize("method", ["rk4", "dopri5", "gauss4", "kvaerno5", "reversible_heun"])
@each_field
def test_a_complex_theta_wants_a_complex_state_and_is_solved_with_one(method, f):
    t, told = [0.0, 0.25, 0.5], dict(method=method, rtol=1e-10, atol=1e-10)
    theta, along = a_theta(f), np.cos(1 + np.arange(f.n_params))
    with pytest.raises(TypeError, match=r"complex values for a real state; make y0 complex to solve it so"):
        odeint(f, Y0, t, theta + STEP * 1j * along, **told)
    zs = odeint(f, np.array(Y0) + 0j, t, theta + STEP * 1j * along, **told)
    assert_agree(zs.real, odeint(f, Y0, t, theta, **told), REACH)
    ahead, behind = (odeint(f, Y0, t, theta + x * along, **told) for x in (NUDGE, -NUDGE))
    assert_agree(zs.imag / STEP, (ahead - behind) / (2 * NUDGE), BY_DIFFERENCE)


def test_the_complex_step_in_theta_is_the_derivative_of_the_exponential():
    zs = odeint(Linear(1), [1.0 + 0j], [0.0, 2.0], [-0.5 + STEP * 1j], rtol=1e-12, atol=1e-12)
    assert_agree(zs[-1].real, [np.exp(-1.0)], REACH)
    assert_agree(zs[-1].imag / STEP, [2 * np.exp(-1.0)], REACH)


def with_a_misprint(t, y):
    return -y


TWO = FIELDS["linear"]
REFUSED_THETA = {
    "too short": (TWO, [1.0, 2.0], ValueError, r"theta must have shape \(4,\) for .*, not \(2,\)"),
    "one too long": (TWO, np.ones(5), ValueError, r"theta must have shape \(4,\) for .*, not \(5,\)"),
    "a matrix": (TWO, np.eye(2), ValueError, r"theta must have shape \(4,\) for .*, not \(2, 2\)"),
    "a number": (TWO, 1.0, ValueError, r"theta must have shape \(4,\) for .*, not \(\)"),
    "of a network": (FIELDS["network"], np.ones(3), ValueError, r"theta must have shape \(26,\) for .*, not \(3,\)"),
    "not finite": (TWO, [1.0, np.nan, 0.0, 0.0], ValueError, "theta must be finite, but holds NaN or infinity"),
    "a function's, not finite": (rotated, np.inf, ValueError, "theta must be finite"),
    "words": (TWO, "mine", TypeError, "theta must be an array of numbers, not 'mine'"),
    "forgotten": (TWO, None, TypeError,
                  r"f must be callable as f\(t, y\), but it is a VectorField and wants its θ too: hand in theta after t"),
    "for a class": (Linear, np.ones(4), TypeError,
                    r"f must be callable as f\(t, y, theta\), not the class Linear itself"),
    "for no function": (3.0, np.ones(4), TypeError, r"f must be callable as f\(t, y, theta\), not float"),
    "for f(t, y)": (with_a_misprint, np.ones(4), TypeError, r"with_a_misprint\(\) takes 2 positional arguments but 3"),
}


@pytest.mark.parametrize("method", ["rk4", "dopri5", "radau5", "reversible_heun"])
@pytest.mark.parametrize("f, theta, error, message", REFUSED_THETA.values(), ids=REFUSED_THETA)
def test_a_theta_that_does_not_fit_is_refused_by_name(method, f, theta, error, message):
    for door in (odeint, solve):
        with pytest.raises(error, match=message):
            door(f, Y0, [0.0, 1.0], theta, method=method, jacobian=lambda t, y: np.eye(2))
    if method == "dopri5":
        with pytest.raises(error, match=message):
            odeint(f, [Y0], [0.0, 1.0], theta, per_trajectory=True)


def test_a_function_that_wants_a_theta_and_gets_none_says_so_itself():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'theta'"):
        odeint(rotated, Y0, [0.0, 1.0])


@pytest.mark.parametrize("door", [odeint_euler, odeint_rk4])
def test_the_textbook_loops_take_no_field_without_its_theta(door):
    with pytest.raises(TypeError, match=r"f must be callable as f\(t, y\), but it is a VectorField"):
        door(TWO, Y0, [0.0, 1.0])


# -- what it cost -----------------------------------------------------------------------------

@each_method
@fewer
@given(grids(), st.sampled_from([None, 0.05]))
def test_every_call_of_f_and_of_its_jacobian_is_counted(method, t, step_size):
    calls, jacobians = [], []

    def f(t, y):
        calls.append(t)
        return pendulum(t, y)

    def f_y(t, y):
        jacobians.append(t)
        return jacobian(t, y)
    stats = (solution := solve(f, Y0, t, **options(method) | dict(jacobian=f_y), step_size=step_size)).stats
    assert (stats.n_f, stats.n_jac) == (len(calls), len(jacobians))
    assert stats.n_steps == stats.n_accepted + stats.n_rejected
    solution.interpolate(t)
    assert stats.n_f == len(calls) and stats.n_jac == len(jacobians)


@each_method
def test_f_and_its_jacobian_may_hand_out_the_same_array_each_time(method):
    velocity, f_y, t = np.empty(2), np.empty((2, 2)), np.linspace(0.0, 2.0, 9)

    def frugal(t, y):
        velocity[:] = pendulum(t, y)
        return velocity

    def frugal_jacobian(t, y):
        f_y[:] = jacobian(t, y)
        return f_y
    assert np.array_equal(odeint(frugal, Y0, t, **options(method) | dict(jacobian=frugal_jacobian)),
                          odeint(pendulum, Y0, t, **options(method) | dict(jacobian=jacobian)))


@each_method
def test_nothing_the_caller_owns_is_written_to(method):
    y0, t = np.array(Y0), np.linspace(0.0, 1.0, 4)
    y0.flags.writeable = t.flags.writeable = False

    def f(t, y):
        y.flags.writeable = False                      # nor what f was shown: it may keep it
        return pendulum(t, y)
    solution = solve(f, y0, t, **options(method))
    solution.interpolate(t)
    solution.ys[:] = 0.0
    assert y0.tolist() == Y0


# -- what is refused --------------------------------------------------------------------------

def never(t, y):
    raise AssertionError("f was called before the arguments were checked")


BATCH = np.ones((3, 2))
OWN = dict(per_trajectory=True)
REFUSED = [                                            # y0, keywords, error, message
    (Y0, dict(method="rk5"), ValueError, "unknown method 'rk5'; known: " + ", ".join(methods)),
    (Y0, dict(method=None), ValueError, "unknown method None; known: euler, midpoint, heun"),
    (Y0, dict(method=["rk4"]), ValueError, r"unknown method \['rk4'\]; known: euler"),
    (Y0, dict(rtol=-1e-6), ValueError, "rtol must be non-negative, not -1e-06"),
    (Y0, dict(atol=-1), ValueError, "atol must be non-negative, not -1"),
    (Y0, dict(rtol=0, atol=0), ValueError, "rtol and atol must not both be 0"),
    ([1.0, 0.0], dict(atol=0), ValueError, "atol must be positive where a component of y0 is 0"),
    (Y0, dict(rtol=np.nan), ValueError, "rtol must be finite, but holds NaN"),
    (Y0, dict(atol=[1, 2, 3]), ValueError, r"atol must be a number, or an array that fits the shape of y, \(2,\), not \(3,\)"),
    (Y0, dict(rtol=[[1e-3, 1e-3]]), ValueError, r"rtol must be .* fits the shape of y, \(2,\), not \(1, 2\)"),
    (Y0, dict(rtol=(1e-3, 1e-3, 1e-3)), ValueError, r"rtol must be .* fits the shape of y, \(2,\), not \(3,\)"),
    (BATCH, dict(atol=[1e-3, 1e-3, 1e-3]), ValueError, r"atol must be .* fits the shape of y, \(3, 2\), not \(3,\)"),
    (BATCH, OWN | dict(atol=np.ones((2, 2))), ValueError, r"atol must be .* fits the shape of y, \(3, 2\), not \(2, 2\)"),
    (Y0, dict(atol=[1e-6, -1e-6]), ValueError, r"atol must be non-negative, not \[1e-06, -1e-06\]"),
    (Y0, dict(rtol=[1e-6, np.nan]), ValueError, "rtol must be finite, but holds NaN"),
    (Y0, dict(rtol=[1e-6, np.inf]), ValueError, "rtol must be finite, but holds NaN or infinity"),
    (Y0, dict(atol=[1e-6, 1j]), TypeError, "atol must be real, not complex"),
    (Y0, dict(atol=np.ma.array([1e-6, 1e-6], mask=[0, 1])), TypeError, "atol must be a plain array, not a masked one"),
    (Y0, dict(atol=[[1e-6], [1e-6, 1e-6]]), TypeError, "atol must be an array of numbers"),
    (Y0, dict(rtol=None), TypeError, "rtol must be an array of numbers, not None"),
    (Y0, dict(rtol=[1e-6, 0], atol=[1e-6, 0]), ValueError, "rtol and atol must not both be 0"),
    ([1.0, 0.0], dict(atol=[1e-6, 0]), ValueError, "atol must be positive where a component of y0 is 0"),
    ((BATCH, 1.0), dict(atol=[1e-6, 1e-6]), ValueError, r"atol must be a number, or a tuple of 2 .* part of the state, not \[1e-06"),
    ((BATCH, 1.0), dict(atol=(1e-6,)), ValueError, r"atol must be a number, or a tuple of 2 numbers or arrays, one for each part"),
    ((BATCH, 1.0), dict(rtol=(1e-6, [1e-6, 1e-6])), ValueError, r"rtol must be .* fits the shape of y, \(\), not \(2,\)"),
    ((BATCH, 1.0), dict(rtol=(1e-6, -1)), ValueError, r"rtol must be non-negative, not \(1e-06, -1\)"),
    (Y0, dict(max_step=0.0), ValueError, "max_step must be positive, not 0.0"),
    (Y0, dict(max_step=-np.inf), ValueError, "max_step must be finite"),
    (Y0, dict(max_step=np.nan), ValueError, "max_step must be finite, but holds NaN"),
    (Y0, dict(max_step=None), TypeError, "max_step must be an array of numbers, not None"),
    (Y0, dict(max_step=[1.0]), ValueError, r"max_step must have shape \(\), not \(1,\)"),
    (Y0, dict(max_step=1e-16), ValueError, "max_step must be at least ten spacings of the numbers at t, .*, not 1e-16"),
    (Y0, dict(max_step=0.1, method="rk4"), ValueError, "max_step is for adaptive methods; give step_size to one of fixed steps"),
    (Y0, dict(max_step=0.1, step_size=0.1), ValueError, "max_step is for adaptive methods"),
    (Y0, dict(max_step=0.1, method="reversible_heun"), ValueError, "max_step is for adaptive methods"),
    (Y0, dict(rtol="low"), TypeError, "rtol must be an array of numbers, not 'low'"),
    (Y0, dict(step_size=0), ValueError, "step_size must be positive, not 0"),
    (Y0, dict(step_size=-0.1, method="rk4"), ValueError, "step_size must be positive, not -0.1"),
    (Y0, dict(first_step=0.0), ValueError, "first_step must be positive, not 0.0"),
    (Y0, dict(first_step=0.1, method="rk4"), ValueError, "first_step is for adaptive methods; give step"),
    (Y0, dict(first_step=0.1, step_size=0.1), ValueError, "first_step is for adaptive methods"),
    (Y0, dict(first_step=0.1, method="reversible_heun"), ValueError, "first_step is for adaptive methods"),
    (Y0, dict(max_steps=0), ValueError, "max_steps must be a positive integer, not 0"),
    (Y0, dict(max_steps=10.5), ValueError, "max_steps must be a positive integer, not 10.5"),
    (Y0, dict(norm=2), TypeError, r"norm must be callable as norm\(error, scale\), not int"),
    (Y0, dict(progress=1), TypeError, r"progress must be True or callable as progress\(fraction\), not int"),
    (Y0, dict(progress="yes", method="rk4"), TypeError, "progress must be True or callable .*, not str"),
    (BATCH, OWN | dict(progress=1), TypeError, "progress must be True or callable .*, not int"),
    (Y0, OWN, ValueError, r"per_trajectory needs y0 of shape \(B, d\), not \(2,\)"),
    ((BATCH,), OWN, ValueError, r"per_trajectory needs y0 of shape \(B, d\), not a tuple"),
    ((1.0, [0.1, 2.0]), OWN, ValueError, r"per_trajectory needs y0 of shape \(B, d\), not a tuple"),
    (BATCH[None], OWN, ValueError, r"per_trajectory needs y0 of shape \(B, d\), not \(1, 3, 2\)"),
    (BATCH, OWN | dict(method="rk4"), ValueError, "per_trajectory needs an adaptive explicit .* got rk4"),
    (BATCH, OWN | dict(step_size=0.1), ValueError, "adaptive explicit method without step_size.* got dopri5"),
    (BATCH, OWN | dict(method="trbdf2"), ValueError, "needs an adaptive explicit .* got trbdf2"),
    (BATCH, OWN | dict(method="reversible_heun"), ValueError, "adaptive explicit .* got reversible_heun"),
]


@pytest.mark.parametrize("y0, wrong, error, message", REFUSED)
def test_what_cannot_be_meant_is_refused_before_f_is_called(y0, wrong, error, message):
    for door in (odeint, solve):
        with pytest.raises(error, match=message):
            door(never, y0, [0.0, 1.0], **wrong)


def test_a_keyword_that_there_is_not_is_refused_by_name():
    with pytest.raises(TypeError, match="unknown keyword 'tolerance'; known: method, rtol, "):
        odeint(never, Y0, [0.0, 1.0], tolerance=1e-6)
    with pytest.raises(TypeError, match="unknown keyword 'tolerance'; known: method, rtol, "):
        solve(never, Y0, [0.0, 1.0], tolerance=1e-6)


@pytest.mark.parametrize("internal", [dict(grid=[0.0, 1.0]), dict(controller=None), dict(tape=[])], ids=str)
def test_what_the_derivatives_ask_of_a_solve_is_no_keyword_of_the_readers(internal):
    for door in (odeint, solve):
        with pytest.raises(TypeError, match=rf"keyword (argument )?'{next(iter(internal))}'"):
            door(never, Y0, [0.0, 1.0], **internal)


@pytest.mark.parametrize("own", [{}, OWN])
@pytest.mark.parametrize("answer", [None, "1", 1j, np.ones(2), np.ones(1)], ids=repr)
def test_a_norm_that_returns_no_number_is_told_so(own, answer):
    with pytest.raises(TypeError, match="norm must return a real number, not "):
        odeint(lambda t, y: -y, BATCH, [0.0, 1.0], norm=lambda error, scale: answer, **own)


@each_method
def test_a_velocity_that_does_not_fit_is_refused_where_it_first_appears(method):
    with pytest.raises(ValueError, match=r"f must return the shape of y, \(2,\), not \(1,\)"):
        odeint(lambda t, y: y[:1], Y0, [0.0, 1.0], **options(method))


def test_what_a_method_does_not_need_it_does_not_mind():
    def end(y0=Y0, **options):
        return odeint(pendulum, y0, [0.0, 1.0], **options)[-1]
    assert np.array_equal(end(jacobian=jacobian), end())
    assert np.array_equal(end(atol=0), end(atol=1e-300))
    assert np.array_equal(end([1.0, 0.0], atol=0, step_size=0.1), end([1.0, 0.0], step_size=0.1))
    assert np.array_equal(end(method="rk4", max_steps=1), end(method="rk4"))


# -- norms ------------------------------------------------------------------------------------

def largest(error, scale):
    return np.max(np.abs(error / scale))


def of_the_first(error, scale):
    return abs(error[0] / scale[0])


@pytest.mark.eq("10.3")
@pytest.mark.parametrize("norm", [largest, of_the_first, rms])
def test_a_norm_of_the_readers_takes_the_place_of_the_mean_square(norm):
    f, y0, span = PROBLEMS["oscillator"]
    t, _ = times(f, y0, span, 1e-5, norm=norm)
    default, _ = times(f, y0, span, 1e-5)
    assert (len(t) == len(default) and np.allclose(t, default, rtol=SAME_STEPS)) == (norm is rms)
    measured = Tolerances(1e-5, 1e-5, norm).measure(np.array([3.0, -4.0]), np.array([2.0, 1.0]))
    assert measured == {largest: 4.0, of_the_first: 1.5}.get(norm, np.sqrt((1.5**2 + 4**2) / 2))


def test_a_norm_sees_states_like_y0_and_may_leave_a_part_out():
    shapes = set()

    def seminorm(error, scale):
        shapes.update((len(x), x[0].shape, x[1].shape) for x in (error, scale))
        return rms(error[0], scale[0])

    def f(t, state):                                   # the second part is fast and rides along
        return pendulum(t, state[0]), np.cos(200 * t) * np.ones((1, 3))
    ys, _ = odeint(f, (np.array([0.5, -0.3]), np.zeros((1, 3))), [0.0, 2.0], norm=seminorm)
    alone = odeint(pendulum, [0.5, -0.3], [0.0, 2.0])
    assert shapes == {(2, (2,), (1, 3))} and np.abs(ys - alone).max() <= ROUND_OFF


# -- progress ---------------------------------------------------------------------------------

@each_method
@pytest.mark.parametrize("span", [(0.5, 2.0), (2.0, 0.5)])
def test_progress_is_told_the_fraction_after_every_step(method, span):
    told = []
    solution = solve(pendulum, Y0, np.linspace(*span, 8), **options(method), progress=told.append)
    assert len(told) == solution.stats.n_accepted and (np.diff(told) > 0).all()
    assert 0 < told[0] and told[-1] == 1.0 and all(isinstance(fraction, float) for fraction in told)


def test_progress_of_a_batch_is_that_of_its_slowest_and_never_goes_back():
    told, y0 = [], [[0.5, -0.3], [0.01, 0.0], [3.0, 2.0]]
    stats = solve(PROBLEMS["oscillator"][0], y0, [0.0, 10.0], per_trajectory=True, progress=told.append).stats
    assert stats.n_rejected.all() and len(told) == max(stats.n_steps)
    assert (np.diff(told) >= 0).all() and told[-1] == 1.0 and told.count(1.0) == 1


def test_a_line_is_drawn_where_stderr_is_a_terminal_and_nowhere_else(capsys, monkeypatch):
    t = np.linspace(0.0, 1.0, 5)
    odeint(pendulum, Y0, t, method="rk4", progress=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    odeint(pendulum, Y0, t, method="rk4", progress=True)
    odeint(pendulum, Y0, t, method="rk4", progress=False)
    lines = "".join(f"\rsolving: {fraction:6.1%}" for fraction in (0.25, 0.5, 0.75, 1.0))
    assert capsys.readouterr() == ("", lines + "\n")


# -- a solution goes from one process to another -----------------------------------------------


IMPLICIT = [name for name, method in methods.items() if not getattr(method, "is_explicit", True)]
AGAIN = {"pickle": lambda solution: pickle.loads(pickle.dumps(solution)), "copy": copy.copy, "deepcopy": copy.deepcopy}
KINDS = {name: {"method": name} for name in methods} | {
    "rk4 in steps": {"method": "rk4", "step_size": 0.1}, "a stop": {"tstops": [0.45]},
    "a stop, trbdf2": {"method": "trbdf2", "tstops": [0.45]}, "a stop, dop853": {"method": "dop853", "tstops": [0.3]},
    "a stop, own steps": {"per_trajectory": True, "tstops": [0.45]}, "reversible(dopri5)": {"method": reversible("dopri5")},
    **{f"{name}, own steps": {"method": name, "per_trajectory": True} for name in ("dopri5", "bosh3", "dop853")}}


@pytest.mark.parametrize("span", [[0.0, 0.3, 1.0], [1.0, 0.6, 0.0], [0.5]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", AGAIN)
def test_a_solution_of_any_kind_is_copied_and_pickled_with_its_interpolate(again, kind, span):
    def local(t, y):                                         # which cannot be pickled
        return np.reshape(np.cos(t), (-1, 1)) * y[..., ::-1] - y
    own = {} if getattr(KINDS[kind].get("method", "dopri5"), "name", KINDS[kind].get("method")) not in IMPLICIT else {
        "jacobian": lambda t, y: np.zeros((2, 2, 2)) + np.array([[-1.0, np.cos(t)], [np.cos(t), -1.0]])}
    y0 = np.array([[1.0, 0.5], [2.0, -1.0]])
    solution = solve(local, y0, span, **KINDS[kind], **own, rtol=1e-3, atol=1e-3)
    t = np.linspace(span[0], span[-1], 7).reshape(7, 1)
    other = AGAIN[again](solution)
    n_f = np.copy(other.stats.n_f)
    for got, expected in ((other.t, solution.t), (other.ys, solution.ys), (other.interpolate(t), solution.interpolate(t)),
                          (other.interpolate(span[-1]), solution.ys[-1])):
        assert got.dtype == expected.dtype and np.array_equal(got, expected)
    assert again == "copy" or np.array_equal(other.stats.n_f, n_f), "the copy needs no f"
    with pytest.raises(ValueError, match="t must lie between"):
        other.interpolate(2.0)


@pytest.mark.parametrize("again", AGAIN)
def test_a_solution_of_a_tuple_state_is_copied_and_pickled_with_its_interpolate(again):
    y0, t = (np.ones((2, 3)), np.full((2, 3), 2.0)), [0.2, 0.9]
    solution = solve(lambda t, y: (y[1], -y[0] * np.cos(t)), y0, [0.0, 1.0])
    for got, expected in zip(AGAIN[again](solution).interpolate(t), solution.interpolate(t), strict=True):
        assert got.shape == (2, 2, 3) and np.array_equal(got, expected)


@pytest.mark.parametrize("name", ["dop853", "dopri5"])
def test_a_copy_may_be_sent_on_after_it_was_used(name):
    solution = solve(lambda t, y: np.cos(t) * y, [1.0], [0.0, 1.0, 2.0], method=name)
    first = solution.interpolate(0.7)
    again = AGAIN["pickle"](AGAIN["deepcopy"](solution))
    assert np.array_equal(again.interpolate(0.7), first) and np.array_equal(again.interpolate(1.7), solution.interpolate(1.7))

"""States of any shape come out as they went in; what cannot be solved is refused by name, before any work."""

import copy
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import Linear, SolverError, methods, odeint, odeint_euler, odeint_rk4, reversible, solve
from minode.inputs import as_positive, as_real
from minode.solvers.states import initial_value_problem
from tests.strategies import arrays, assert_agree, batches, grids

EPS = np.finfo(float).eps
ROUND_OFF = 200 * EPS                 # a few steps of a few dozen operations
SINGLE = 50 * np.finfo(np.float32).eps
DOORS = {"odeint_euler": odeint_euler, "odeint_rk4": odeint_rk4,
         "odeint": lambda f, y0, t: odeint(f, y0, t, method="rk4")}
through_every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


def swirl(t, y):
    """Nonlinear, non-autonomous, every component drawn to another: works on states of any shape."""
    return np.sin(t) * np.roll(y.ravel(), 1).reshape(y.shape) - np.sin(2 * y) + t


def same(t, y):
    return y


# -- (5.1) ------------------------------------------------------------------------------------

@pytest.mark.eq("5.1")
@through_every_door
@given(st.data(), st.sampled_from([(), (1,), (3,), (2, 2), (3, 1, 2), (2, 0, 2)]), grids())
def test_a_tuple_is_solved_as_the_one_vector_it_is(door, data, shape, t):
    u0, v0 = data.draw(arrays((2, 3))), data.draw(arrays(shape))

    def pair(t, state):
        u, v = state
        velocity = swirl(t, np.concatenate([u.ravel(), v.ravel()]))
        return velocity[:6].reshape(2, 3), velocity[6:].reshape(shape)

    us, vs = door(pair, (u0, v0), t)
    ys = door(swirl, np.concatenate([u0.ravel(), v0.ravel()]), t)
    assert_agree(us, ys[:, :6].reshape(len(t), 2, 3), ROUND_OFF)
    assert_agree(vs, ys[:, 6:].reshape(len(t), *shape), ROUND_OFF)


@pytest.mark.eq("5.1")
@through_every_door
@given(st.data(), batches, st.integers(1, 3), grids())
def test_an_array_of_any_shape_is_the_vector_of_its_rows(door, data, batch, d, t):
    y0 = data.draw(arrays((*batch, d)))
    seen = []

    def f(t, y):
        seen.append(y.shape)
        return swirl(t, y)

    ys = door(f, y0, t)
    assert set(seen) == {y0.shape}
    assert_agree(ys, door(swirl, y0.ravel(), t).reshape(len(t), *y0.shape), ROUND_OFF)
    assert np.array_equal(ys[0], y0)
    assert np.array_equal(door(swirl, np.asfortranarray(y0), t), ys)         # however it lies in memory


@pytest.mark.eq("5.1")
def test_the_flat_problem_lays_the_parts_out_one_behind_the_other():
    problem = initial_value_problem(lambda t, y: (10 * y[0], 20 * y[1]), ([[1.0, 2.0], [3.0, 4.0]], 5.0), [0.0, 1.0])
    assert np.array_equal(problem.y, [1, 2, 3, 4, 5])
    assert np.array_equal(problem.f(0.0, problem.y), [10, 20, 30, 40, 100])
    matrix, number = problem.unflatten(np.arange(10.0).reshape(2, 5))
    assert np.array_equal(matrix, [[[0, 1], [2, 3]], [[5, 6], [7, 8]]]) and np.array_equal(number, [4, 9])


@pytest.mark.eq("5.1")
@pytest.mark.parametrize("y0", [2.0, [1.0, 2.0], np.ones((2, 3)), (1.0, [2.0, 3.0]), np.ones((2, 3), np.float32).T],
                         ids=["number", "vector", "matrix", "tuple", "transposed"])
def test_the_flat_velocity_is_counted_and_a_new_array_each_time(y0):
    given = []

    def f(t, y):
        given.append(y)
        return y                                             # the very array it was called with

    problem = initial_value_problem(f, y0, [0.0, 1.0])
    values = [problem.f(0.0, problem.y) for _ in range(3)]
    assert problem.stats.n_f == 3 == len(given)
    for value in values:
        assert value.shape == problem.y.shape and value.dtype == problem.y.dtype
        assert np.array_equal(value, problem.y) and not np.shares_memory(value, problem.y)
        value += 1.0


@pytest.mark.eq("5.1")
@pytest.mark.parametrize("y0, expected", [
    ([1.0, 2.0], [3.0, 6.0]), (2.0, [6.0]), ((1.0, [2.0]), [3.0, 6.0])], ids=["array", "number", "tuple"])
def test_the_problem_of_f_of_theta_is_that_of_f_at_this_theta(y0, expected):
    def f(t, y, theta):
        return tuple(theta * part for part in y) if isinstance(y, tuple) else theta * y
    problem = initial_value_problem(f, y0, [0.0, 1.0], 3)
    assert problem.f(0.0, problem.y).tolist() == expected


# -- dtypes -----------------------------------------------------------------------------------

@through_every_door
@pytest.mark.parametrize("y0, dtype", [
    (1, np.float64), ([1, 2], np.float64), (True, np.float64), ([1.5, 2], np.float64),
    (np.array([1, 2], np.int8), np.float64), (np.array([1, 2], np.float16), np.float64),
    (np.array([1, 2], np.float32), np.float32), (np.float32(1), np.float32),
    (np.array([1, 2], np.complex64), np.complex64), ([1j, 2], np.complex128),
], ids=repr)
def test_a_state_keeps_float32_and_complex_and_is_float64_otherwise(door, y0, dtype):
    times, states = [], []

    def f(t, y):
        times.append(t)
        states.append(y.dtype)
        return -y

    ys = door(f, y0, [0, 1, 2])
    assert ys.dtype == dtype and ys.shape == (3, *np.shape(y0))
    assert set(states) == {np.dtype(dtype)}
    assert all(isinstance(t, float) for t in times)


@through_every_door
def test_the_parts_of_a_tuple_get_one_dtype_in_common(door):
    for parts, dtype in [((np.float32(1), 2), np.float64), ((np.float32(1), np.float32(2)), np.float32),
                         ((1.0, 1j), np.complex128)]:
        assert [ys.dtype for ys in door(same, parts, [0.0, 1.0])] == [dtype, dtype]


@through_every_door
def test_times_stay_float64_beside_a_float32_state(door):
    t = np.float64(2**24) + np.array([0.0, 0.25, 0.5])         # in float32 these are one and the same
    ys = door(lambda t, y: np.ones_like(y), np.zeros(2, np.float32), t)
    assert np.array_equal(ys, np.array([[0, 0], [0.25, 0.25], [0.5, 0.5]], np.float32))
    solution = solve(same, np.float32(1), [0, 1], method="rk4")
    assert solution.t.dtype == np.float64 and solution.ys.dtype == np.float32


@through_every_door
@given(arrays(3), grids())
def test_a_float32_solve_is_the_float64_one_to_single_precision(door, y0, t):
    assert_agree(door(swirl, y0.astype(np.float32), t), door(swirl, y0, t).astype(np.float32), SINGLE)


@through_every_door
@given(arrays(3), arrays(3), grids())
def test_a_complex_state_is_solved_as_it_is(door, re, im, t):
    z0 = re + 1j * im

    def parts(t, y):
        velocity = (1j + t) * (y[:3] + 1j * y[3:]) ** 2 / 20
        return np.concatenate([velocity.real, velocity.imag])

    zs = door(lambda t, z: (1j + t) * z**2 / 20, z0, t)
    ys = door(parts, np.concatenate([re, im]), t)
    assert_agree(zs, ys[:, :3] + 1j * ys[:, 3:], ROUND_OFF)


@through_every_door
def test_a_field_may_return_lists(door):
    t = [0.0, 0.5, 1.0]
    assert np.array_equal(door(lambda t, y: [y[1], -t * y[0]], [1, 2], t),
                          door(lambda t, y: np.array([y[1], -t * y[0]]), [1, 2], t))
    assert_agree(door(lambda t, y: 1, 0, t), t, ROUND_OFF)
    half = Fraction(1, 2)
    assert_agree(door(lambda t, y: np.array([half]), [0.0], t)[:, 0], np.array(t) / 2, ROUND_OFF)
    us, vs = door(lambda t, y: ([half], half), ([0.0], 0.0), t)
    assert_agree(us[:, 0], np.array(t) / 2, ROUND_OFF)
    assert_agree(vs, np.array(t) / 2, ROUND_OFF)


@through_every_door
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.complex128])
def test_a_number_as_the_state_takes_a_velocity_of_any_spelling(door, kind):
    y0, t = kind(2.0), np.array([0.0, 0.5, 1.0])
    for velocity in (1.0, 1, np.float64(1.0), np.float32(1.0), np.array(1.0), Fraction(1)):
        ys = door(lambda t, y: velocity, y0, t)
        assert ys.dtype == kind and ys.tolist() == [2.0, 2.5, 3.0]


@through_every_door
def test_a_field_may_reuse_the_array_it_returns(door):
    buffer = np.empty(3)

    def frugal(t, y):
        buffer[:] = swirl(t, y)
        return buffer

    t = np.linspace(0.0, 1.0, 5)
    assert np.array_equal(door(frugal, [0.1, 0.2, 0.3], t), door(swirl, [0.1, 0.2, 0.3], t))


@through_every_door
@pytest.mark.parametrize("wrap", [lambda y0: y0, lambda y0: (y0, y0[0])], ids=["array", "tuple"])
def test_nothing_the_caller_owns_is_written_to_or_handed_back(door, wrap):
    y0, t = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.0, 0.5, 1.0])
    y0.flags.writeable = t.flags.writeable = False           # to write to them now is an error
    ys = door(same, wrap(y0), t)
    for part in ys if isinstance(ys, tuple) else (ys,):
        part += 1.0                                          # and the answer is the caller's own
    assert y0.tolist() == [[1, 2], [3, 4]] and t.tolist() == [0, 0.5, 1]


# -- what is refused --------------------------------------------------------------------------

def never(t, y):
    raise AssertionError("f was called before the arguments were checked")


BAD_ARGUMENTS = {
    "f is no function": (3.0, 1.0, [0, 1], TypeError, r"f must be callable as f\(t, y\), not float"),
    "f is a class": (Linear, [1.0], [0, 1], TypeError, r"as f\(t, y\), not the class Linear itself"),
    "y0 NaN": (never, [1.0, np.nan], [0, 1], ValueError, "y0 must be finite, but holds NaN or infinity"),
    "y0 infinite": (never, -np.inf, [0, 1], ValueError, "y0 must be finite, but holds NaN or infinity: -inf"),
    "y0 complex NaN": (never, [1j * np.nan], [0, 1], ValueError, "y0 must be finite"),
    "a part of y0 NaN": (never, ([1.0], [np.nan]), [0, 1], ValueError, "y0 must be finite"),
    "y0 empty": (never, [], [0, 1], ValueError, "y0 must have at least one component, but it is empty"),
    "y0 no rows": (never, np.zeros((0, 3)), [0, 1], ValueError, "y0 must have at least one component"),
    "y0 no parts": (never, (), [0, 1], ValueError, "y0 must have at least one component"),
    "y0 a string": (never, "one", [0, 1], TypeError, "y0 must be an array of numbers, not 'one'"),
    "y0 strings": (never, ["1", "2"], [0, 1], TypeError, r"y0 must be an array of numbers, not \['1', '2'\]"),
    "y0 None": (never, None, [0, 1], TypeError, "y0 must be an array of numbers, not None"),
    "y0 ragged": (never, [[1.0], [2.0, 3.0]], [0, 1], TypeError, "y0 must be an array of numbers, not"),
    "t NaN": (never, 1.0, [0, np.nan, 1], ValueError, "t must be finite, but holds NaN or infinity"),
    "t infinite": (never, 1.0, [0, np.inf], ValueError, "t must be finite, but holds NaN or infinity"),
    "t turns round": (never, 1.0, [0, 1, 0.5], ValueError, "t must be monotone, increasing or decreasing"),
    "t turns round late": (never, 1.0, [1, 1, 0, 0, 1], ValueError, "t must be monotone"),
    "t empty": (never, 1.0, [], ValueError, r"t must be a 1-D array of at least one time, .* \(0,\)"),
    "t a number": (never, 1.0, 2.0, ValueError, r"t must be a 1-D array of at least one time, .* \(\)"),
    "t 2-D": (never, 1.0, [[0, 1]], ValueError, r"t must be a 1-D array .* not of shape \(1, 2\)"),
    "t complex": (never, 1.0, [0, 1j], TypeError, "t must be real, not complex"),
    "t a string": (never, 1.0, "0 1", TypeError, "t must be an array of numbers, not '0 1'"),
    "t None": (never, 1.0, None, TypeError, "t must be an array of numbers, not None"),
}
ARRAY, PAIR = np.ones(3), (np.ones(3), np.ones((2, 2)))
BAD_VELOCITIES = {
    "a number for a vector": (ARRAY, 0.0, ValueError, r"f must return the shape of y, \(3,\), not \(\)"),
    "a row for a vector": (ARRAY, np.ones((1, 3)), ValueError, r"the shape of y, \(3,\), not \(1, 3\)"),
    "another length": (ARRAY, np.ones(2), ValueError, r"f must return the shape of y, \(3,\), not \(2,\)"),
    "a vector for a number": (1.0, np.ones(1), ValueError, r"f must return the shape of y, \(\), not \(1,\)"),
    "a transpose": (np.ones((2, 3)), np.ones((3, 2)), ValueError, r"the shape of y, \(2, 3\), not \(3, 2\)"),
    "nothing": (ARRAY, None, ValueError, r"f must return the shape of y, \(3,\), not None"),
    "nothing for a number": (1.0, None, ValueError, r"f must return the shape of y, \(\), not None"),
    "a tuple of other shapes": (PAIR, PAIR[::-1], ValueError, r"the shape of y, \(3,\), not \(2, 2\)"),
    "a tuple too short": (PAIR, PAIR[:1], TypeError,
                          "f must return a tuple of 2 arrays like y0, not a tuple of 1"),
    "a list for a tuple": (PAIR, list(PAIR), TypeError, "a tuple of 2 arrays like y0, not list"),
    "an array for a tuple": (PAIR, np.ones(7), TypeError, "a tuple of 2 arrays like y0, not ndarray"),
    "complex values": (ARRAY, np.ones(3) + 0j, TypeError,
                       "f returned complex values for a real state; make y0 complex to solve it so"),
    "complex values in a part": (PAIR, (PAIR[0], PAIR[1] + 0j), TypeError, "f returned complex values"),
}


@through_every_door
@pytest.mark.parametrize("f, y0, t, error, message", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_an_argument_that_makes_no_sense_is_refused_before_f_is_called(door, f, y0, t, error, message):
    with pytest.raises(error, match=message):
        door(f, y0, t)


@through_every_door
@pytest.mark.parametrize("y0, velocity, error, message", BAD_VELOCITIES.values(), ids=BAD_VELOCITIES)
def test_a_velocity_that_does_not_fit_the_state_is_refused(door, y0, velocity, error, message):
    with pytest.raises(error, match=message):
        door(lambda t, y: velocity, y0, [0.0, 1.0])


def late(y0, velocity, begins=0.5):
    """f of y0's shape, all zero, and from t = begins on a velocity that does not fit."""
    zeros = tuple(np.zeros_like(part) for part in y0) if isinstance(y0, tuple) else np.zeros_like(y0)
    return lambda t, y: velocity if np.max(t) > begins else zeros


@through_every_door
@pytest.mark.parametrize("y0, velocity, error, message", BAD_VELOCITIES.values(), ids=BAD_VELOCITIES)
def test_and_so_is_one_that_fits_at_first_and_not_later(door, y0, velocity, error, message):
    with pytest.raises(error, match=message):
        door(late(y0, velocity), y0, np.linspace(0.0, 1.0, 6))


@through_every_door
@pytest.mark.parametrize("y0, velocity, got", [
    (2.0, [1.0], r"\(\), not \(1,\)"), (np.float32(2.0), np.ones(1), r"\(\), not \(1,\)"),
    (np.ones(3, np.float32), 1.0, r"\(3,\), not \(\)"),
    (np.ones(3, np.float32), np.ones((3, 3)), r"\(3,\), not \(3, 3\)"),
    (np.ones(2) + 1j, 1j, r"\(2,\), not \(\)"), (np.ones((2, 1)) + 1j, np.ones(2), r"\(2, 1\), not \(2,\)"),
    (np.ones((4, 2)), np.ones((1, 2)), r"\(4, 2\), not \(1, 2\)"),
    (np.ones((4, 2)), np.ones(8), r"\(4, 2\), not \(8,\)"),
    ((2.0, np.ones(2)), (1.0, 1.0), r"\(2,\), not \(\)"), ((np.ones((2, 2)),), (np.ones(4),), r"\(2, 2\), not \(4,\)"),
])
def test_a_velocity_that_would_broadcast_is_refused_late_whatever_the_state(door, y0, velocity, got):
    with pytest.raises(ValueError, match="f must return the shape of y, " + got):
        door(late(y0, velocity), y0, np.linspace(0.0, 1.0, 6))


EVERY_METHOD = [*methods.values(), reversible("rk4")]


@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
@pytest.mark.parametrize("velocity", [0.0, np.zeros(1), np.zeros((1, 3)), np.zeros((3, 3)), None],
                         ids=["number", "(1,)", "(1, 3)", "(3, 3)", "nothing"])
def test_every_method_looks_at_the_shape_of_every_velocity(method, velocity):
    got = None if velocity is None else np.shape(velocity)
    with pytest.raises(ValueError, match=re.escape(f"f must return the shape of y, (3,), not {got}")):
        odeint(late(ARRAY, velocity), ARRAY, [0.0, 0.31, 0.62, 1.0], method=method,
               jacobian=lambda t, y: np.zeros((3, 3)))


@pytest.mark.parametrize("method", ["heun_euler", "bosh3", "dopri5", "tsit5", "dop853"])
def test_and_so_do_trajectories_with_steps_of_their_own(method):
    y0 = np.ones((2, 3))
    for velocity in (0.0, np.zeros(3), np.zeros((1, 3)), np.zeros((2, 1))):
        with pytest.raises(ValueError, match=r"f must return the shape of y, \(\d, 3\), not "):
            odeint(late(y0, velocity), y0, [0.0, 1.0], method=method, per_trajectory=True)


@pytest.mark.parametrize("own", [False, True], ids=["joint", "own steps"])
def test_and_so_does_a_question_for_a_state_between_the_steps(own):
    y0, fits = (np.ones((2, 3)) if own else ARRAY), [True]
    solution = solve(lambda t, y: -y if fits else 0.0, y0, [0.0, 1.0], method="dop853", per_trajectory=own)
    fits.clear()
    with pytest.raises(ValueError, match="f must return the shape of y, "):
        solution.interpolate(0.3)


def under_a_root(t, y):
    """y' = −y √(1/2 − t), which numpy's own root of negative numbers makes complex for t > 1/2."""
    return -y * np.emath.sqrt(0.5 - np.asarray(t))[..., None]


TURNS_COMPLEX = "f returned complex values for a real state; make y0 complex to solve it so"


@through_every_door
@pytest.mark.parametrize("t", [[0.0, 0.3, 0.7, 1.0], np.linspace(0.0, 1.0, 11)], ids=["few", "many"])
def test_a_velocity_that_turns_complex_on_the_way_is_refused_as_if_it_had_begun_so(door, t):
    with pytest.raises(TypeError, match=TURNS_COMPLEX):
        door(under_a_root, ARRAY, t)
    with pytest.raises(TypeError, match=TURNS_COMPLEX):
        door(lambda t, y: (y[0], under_a_root(t, y[1])), PAIR, t)
    assert np.isfinite(door(under_a_root, ARRAY + 0j, t)).all()


@pytest.mark.parametrize("step_size", [None, 0.1])
@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
def test_and_by_every_method_with_outputs_at_the_ends_of_steps_or_between(method, step_size):
    options = {"method": method, "step_size": step_size, "jacobian": decay_of_the_root}
    with pytest.raises(TypeError, match=TURNS_COMPLEX):
        odeint(under_a_root, ARRAY, [0.0, 0.31, 0.62, 1.0], **options)


def decay_of_the_root(t, y):
    return -np.eye(3) * np.sqrt(abs(0.5 - t))


@pytest.mark.parametrize("method", ["heun_euler", "bosh3", "dopri5", "dop853"])
def test_and_by_trajectories_with_steps_of_their_own(method):
    with pytest.raises(TypeError, match=TURNS_COMPLEX):
        odeint(under_a_root, np.ones((2, 3)), [0.0, 1.0], method=method, per_trajectory=True)


@pytest.mark.parametrize("method", ["cash_karp", "dop853"])       # which ask for f at the new state by itself
@pytest.mark.parametrize("own", [False, True], ids=["joint", "own steps"])
def test_and_where_it_does_so_in_the_last_call_of_a_step(method, own):
    refused = 0
    for t_end in np.linspace(1.85, 2.1, 26):                      # of y = 1 − (1 − t/2)², which may overshoot 1
        try:
            odeint(lambda t, y: np.emath.sqrt(1 - y), [[0.0]] if own else [0.0], [0.0, t_end], method=method,
                   rtol=1e-2, atol=1e-3, per_trajectory=own)
        except TypeError as error:
            assert re.search(TURNS_COMPLEX, str(error))
            refused += 1
    assert refused > 5


@through_every_door
def test_a_field_that_answers_in_float64_is_asked_in_float32_all_the_same(door):
    seen = set()

    def f(t, y):
        seen.add(y.dtype)
        return -y.astype(np.float64)
    assert door(f, np.ones(2, np.float32), [0.0, 0.1, 0.2]).dtype == np.float32
    for method in EVERY_METHOD:
        odeint(f, np.ones(2, np.float32), [0.0, 0.1, 0.2], method=method, jacobian=lambda t, y: -np.eye(2), rtol=1e-3)
    assert seen == {np.dtype(np.float32)}


@pytest.mark.parametrize("error", [TypeError("the reader's own"), KeyError("another")])
def test_what_f_itself_raises_is_handed_on(error):
    def f(t, y):
        if t > 0.5:
            raise error
        return y
    with pytest.raises(type(error)) as caught:
        odeint(f, ARRAY, [0.0, 1.0], method="rk4", step_size=0.1)
    assert caught.value is error


@pytest.mark.parametrize("step_size, error, message", [
    (0.0, ValueError, "step_size must be positive, not 0.0"),
    (-0.1, ValueError, "step_size must be positive, not -0.1"),
    (np.nan, ValueError, "step_size must be finite, but holds NaN or infinity: nan"),
    ([0.1, 0.2], ValueError, r"step_size must have shape \(\), not \(2,\)"),
    ("small", TypeError, "step_size must be an array of numbers, not 'small'"),
    (1j, TypeError, "step_size must be real, not complex"),
])
def test_a_step_size_is_one_positive_number(step_size, error, message):
    with pytest.raises(error, match=message):
        odeint(never, 1.0, [0.0, 1.0], method="rk4", step_size=step_size)


def test_zero_passes_only_where_it_may():
    assert as_positive("atol", 0, allow_zero=True) == 0.0 and as_positive("h", np.float32(0.5)) == 0.5
    with pytest.raises(ValueError, match="atol must be non-negative, not -1"):
        as_positive("atol", -1, allow_zero=True)
    assert as_real("theta", [1, 2], (2,)).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"theta must have shape \(3,\), not \(2,\)"):
        as_real("theta", [1, 2], (3,))


# -- what goes wrong later --------------------------------------------------------------------

@through_every_door
def test_a_blow_up_is_reported_with_where_it_was_and_the_states_before_it(door):
    t = np.linspace(0.0, 3.0, 31)                             # y' = y² is gone at t = 1
    with pytest.raises(SolverError, match="the state is no longer finite") as caught:
        door(lambda t, y: y**2, [1.0, 0.5], t)
    error = caught.value
    n = len(error.solution.t)
    assert isinstance(error, RuntimeError) and 1.0 <= error.t < 2.5
    assert error.t == error.solution.t[-1] and np.array_equal(error.solution.t, t[:n])
    assert np.array_equal(error.solution.ys, door(lambda t, y: y**2, [1.0, 0.5], t[:n]))


@through_every_door
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_field_that_stops_being_finite_is_reported_and_never_returned(door, bad):
    t, last = [0.0, 0.25, 0.5, 0.75, 1.0], 3 if door is odeint_euler else 2      # Euler does not look ahead
    with pytest.raises(SolverError, match="the state is no longer finite") as caught:
        door(lambda t, y: (y[0], y[1] * (bad if t > 0.5 else 1.0)), (1.0, 2.0), t)
    solution = caught.value.solution
    assert f"step from t = {t[last]} to {t[last + 1]}" in str(caught.value)
    assert caught.value.t == t[last] and solution.t.tolist() == t[:last + 1]
    for ys, expected in zip(solution.ys, door(same, (1.0, 2.0), t[:last + 1])):
        assert np.array_equal(ys, expected)


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
                         ids=["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("options", [{"method": "rk4", "step_size": 0.5}, {"method": "dopri5"},
                                     {"method": "reversible_heun", "step_size": 0.5}], ids=lambda o: o["method"])
def test_a_solver_error_goes_from_one_process_to_another_with_all_it_carries(again, options):
    with pytest.raises(SolverError) as caught:
        odeint(lambda t, y: y**2, [1.0, 0.5], np.linspace(0.0, 50.0, 101), **options)
    error, other = caught.value, again(caught.value)
    assert type(other) is SolverError and str(other) == str(error) and other.t == error.t
    assert len(other.solution.t) > 1 and other.solution.stats == error.solution.stats
    assert np.array_equal(other.solution.t, error.solution.t)
    assert np.array_equal(other.solution.ys, error.solution.ys)


@pytest.mark.eq("5.1")
def test_f_of_a_problem_is_that_of_its_time_and_state_and_a_copy():
    answer = np.zeros(2)

    def f(t, y):
        answer[:] = t * y
        return answer
    problem, y = initial_value_problem(f, [1.0, 2.0], [0.0, 1.0]), np.array([3.0, 4.0])
    found = problem.f(2.0, y)
    assert problem.f_uncopied(3.0, y) is answer and answer.tolist() == [9.0, 12.0]
    assert found.tolist() == [6.0, 8.0]

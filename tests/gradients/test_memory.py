"""Checkpoints and reversal give the numbers of the discrete route, and keep no more than they say."""

import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import Linear, SolverError, VectorField, methods, pullback, reversible
from minode.gradients import discrete
from minode.gradients.discrete import backward_pass
from minode.gradients.memory import Checkpoints
from minode.solvers.dense import dense_output
from minode.solvers.solve import run
from tests.gradients.problems import (ADAPTIVE, EPS, EXACT, EXPLICIT, PROBLEMS, ROUND_OFF, Silent,
                                      complex_step_gradients, relative_error, repeated_grids, solves,
                                      tableaus)
from tests.gradients.test_exact import assert_exact, change_along
from tests.strategies import arrays, batches, grids, mlps

FEW_ULP = 64 * EPS         # the same steps and products; only the sums over steps are bracketed otherwise
REVERSIBLE = [methods["asynchronous_leapfrog"], methods["reversible_heun"], *map(reversible, EXPLICIT)]
drawn_reversible = st.one_of(st.sampled_from(REVERSIBLE),
                             st.builds(reversible, tableaus(), st.floats(0.5, 1.0)))
by_name = pytest.mark.parametrize("method", REVERSIBLE, ids=lambda m: m.name)


def weighted(cotangent):
    return lambda ys, theta: np.sum(cotangent * ys)


def assert_near(got, expected, tolerance, size=0.0):
    for part, other in zip(got, expected):
        assert relative_error(part, other, size) <= tolerance


# -- checkpoints --------------------------------------------------------------------------------


@pytest.mark.eq("19.1")
@given(st.data(), solves(times=repeated_grids(max_steps=12)))
def test_checkpoints_give_the_numbers_of_the_discrete_route_on_any_grid(data, problem):
    f, y0, t, theta, options = problem
    cotangent = data.draw(arrays((len(t), *y0.shape)))
    whole, kept = (pullback(f, y0, t, theta, cotangent, gradient=gradient, **options)
                   for gradient in ("discrete", "checkpoint"))
    assert_near(kept, whole, FEW_ULP, size=np.abs(cotangent).max())
    dL_dy0, dL_dtheta = complex_step_gradients(weighted(cotangent), f, y0, t, theta, **options)
    assert_near(kept[:2], (dL_dy0, dL_dtheta), EXACT, size=np.abs(cotangent).max())


@pytest.mark.eq("18.5", "19.1")
@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
@given(st.data(), grids(max_steps=6, longest=0.8), st.sampled_from([1e-2, 1e-4]))
def test_checkpoints_follow_a_method_that_chose_its_steps_with_outputs_inside_them(method, data, t, tol):
    f, theta, y0 = PROBLEMS["pendulum"]
    cotangent = data.draw(arrays((len(t), f.dim)))
    options = {"method": method, "rtol": tol, "atol": tol}
    whole, kept = (pullback(f, y0, t, theta, cotangent, gradient=gradient, **options)
                   for gradient in ("discrete", "checkpoint"))
    largest_weights = np.abs(dense_output(method).P).sum(axis=1).max()     # what a rounding of σ is multiplied by
    assert_near(kept, whole, FEW_ULP + EPS * largest_weights, size=np.abs(cotangent).max())


@pytest.mark.eq("19.1")
@given(st.integers(1, 200))
def test_the_checkpoints_are_every_mth_state_and_between_the_roots_of_half_and_of_twice_the_steps(n):
    tape = Checkpoints()
    for i in range(n):
        tape.append((float(i), 1.0, np.array([10.0 * i]), None))
    assert list(tape.times) == list(range(n))
    assert [float(y[0]) for y in tape.states] == [10.0 * i for i in range(0, n, tape.spacing)]
    assert len(tape.states) <= 2 * tape.spacing and tape.spacing**2 <= 2 * n
    assert (len(tape.states) - 1)**2 <= 2 * n <= 4 * len(tape.states)**2      # the last stretch may be short


@pytest.mark.eq("19.1")
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 9, 31, 32, 33, 100])
def test_any_number_of_steps_is_put_together_from_its_stretches(steps):
    f, theta, y0 = PROBLEMS["network"]
    t = np.array([0.2, 0.2, 0.2 + 0.5 / steps, 1.2])       # two outputs at the start, one after a step or so
    cotangent = np.cos(np.arange(12.0)).reshape(4, 3)
    options = {"method": "rk38", "step_size": 1 / steps}
    whole, kept = (pullback(f, y0, t, theta, cotangent, gradient=gradient, **options)
                   for gradient in ("discrete", "checkpoint"))
    assert_near(kept, whole, FEW_ULP)


# -- reversal -----------------------------------------------------------------------------------


@pytest.mark.eq("14.1", "14.2", "14.3", "14.4", "19.2", "19.3", "19.4")
@by_name
@pytest.mark.parametrize("step_size, sign", [(None, 1.0), (0.4, -1.0)], ids=["forwards", "backwards-0.4"])
def test_each_reversible_method_is_differentiated_exactly_with_its_states_or_without(method, step_size, sign):
    f, theta, y0 = PROBLEMS["network"]
    t = 0.3 + sign * np.array([0.0, 0.0, 0.2, 0.7, 0.7, 1.3])
    cotangent, rng = np.cos(np.arange(18.0)).reshape(6, 3), np.random.default_rng(0)
    options = {"method": method, "step_size": step_size}
    directions = [(rng.normal(size=3), rng.normal(size=theta.shape)), (y0, 0 * theta), (0 * y0, theta)]
    changes = [change_along(f, y0, t, theta, cotangent, *d, **options) for d in directions]
    for gradient in ("discrete", "reversible"):
        assert_exact(pullback(f, y0, t, theta, cotangent, gradient=gradient, **options), changes, directions)


@pytest.mark.eq("19.2", "19.3", "19.4")
@given(st.data(), mlps(max_layers=2), batches, repeated_grids(), drawn_reversible)
def test_they_are_so_for_drawn_networks_batches_grids_methods_and_couplings(data, network, batch, t, method):
    f, theta = network
    y0 = data.draw(arrays((*batch, f.dim)))
    cotangent = data.draw(arrays((len(t), *y0.shape)))
    expected = complex_step_gradients(weighted(cotangent), f, y0, t, theta, method=method)
    for gradient in ("discrete", "reversible"):
        pulled = pullback(f, y0, t, theta, cotangent, gradient=gradient, method=method)
        assert_near(pulled[:2], expected, EXACT, size=np.abs(cotangent).max())


@pytest.mark.eq("19.4")
def test_what_is_met_on_the_way_back_carries_the_round_off_that_the_coupling_amplifies():
    f, theta, y0 = PROBLEMS["network"]
    cotangent, n = np.cos(np.arange(3.0)), 140

    def distance(coupling):
        options = {"method": reversible("heun", coupling), "step_size": 1 / n}
        kept, undone = (pullback(f, y0, [0.0, 1.0], theta, cotangent, gradient=gradient, **options)
                        for gradient in ("discrete", "reversible"))
        return relative_error(undone.theta, kept.theta)
    assert distance(0.999) <= ROUND_OFF
    assert ROUND_OFF < distance(0.9) < n * EPS / 0.9**n


@pytest.mark.parametrize("method", REVERSIBLE[:2] + [reversible("rk4")], ids=lambda m: m.name)
def test_after_a_growth_that_leaves_no_digit_the_way_back_says_so_and_discrete_is_right(method):
    f, y0, theta, t = Linear(1), np.ones(1), np.ones(1), np.linspace(0.0, 25.0, 501)
    with pytest.raises(SolverError, match="away from y0: .* gradient='discrete'") as caught:
        pullback(f, y0, t, theta, y0, method=method, gradient="reversible")
    assert caught.value.t == 0.0 and caught.value.solution.ys.shape == (501, 1)
    kept = pullback(f, y0, t, theta, y0, method=method)
    assert abs(kept.theta[0] / (25 * np.exp(25.0)) - 1) < 25 * 0.05**2 * 0.5               # of order two, or better
    for growth in (5, 10):
        t = np.linspace(0.0, growth, 10 * growth + 1)
        undone, kept = (pullback(f, y0, t, theta, y0, method=method, gradient=g).theta for g in ("reversible", "discrete"))
        assert abs(undone / kept - 1) < EPS * np.exp(2 * growth)                           # the way there, and back
    assert np.array_equal(pullback(f, 0 * y0, t, theta, y0, method=method, gradient="reversible").theta, [0.0])


# -- memory -------------------------------------------------------------------------------------


class Polynomial(VectorField):
    """y' = p(t) y for each of many trajectories, p of degree 4 with the coefficients θ; cheap and large."""

    dim, n_params = 1, 5

    def rate(self, t, theta):
        value = 0.0
        for coefficient in theta:
            value = value * t + coefficient
        return np.asarray(value)[..., None]

    def __call__(self, t, y, theta):
        return self.rate(t, theta) * y

    def vjp(self, t, y, theta, a):
        return self.rate(t, theta) * a, t ** np.arange(4.0, -1.0, -1.0) * np.vdot(a, y)

    def time_derivative(self, t, y, theta):
        return self.rate(t, theta[:4] * np.arange(4.0, 0.0, -1.0)) * y


NUMBERS = 10_000                        # of one state: with p = 5 too large for all Jacobians at once
FEW, MANY = 20, 200                     # steps
FEWER, MOST = 25, 500                   # of a state of two numbers: 8 bytes a step are a fifth of all that is in use
FLAT = 1.1                              # a route of constant memory may grow by a tenth
PASSING = 28                            # states that live for a moment in f, the step or the loss
LOST = 0.02                             # of a memory in proportion to the steps, times and tuples


def peak(steps, gradient, method, numbers=NUMBERS):
    """The most memory in use during a pullback through so many steps, in states."""
    y0 = np.linspace(-1.0, 1.0, numbers)[:, None]
    theta, cotangent = np.array([0.1, -0.2, 0.3, 0.2, -0.5]), np.ones_like(y0)
    tracemalloc.start()
    try:
        pullback(Polynomial(), y0, [0.0, 1.0], theta, cotangent, gradient=gradient, method=method,
                 step_size=1 / steps)
        return tracemalloc.get_traced_memory()[1] / y0.nbytes
    finally:
        tracemalloc.stop()


REVERSIBLE_EULER = reversible("euler")
of_constant_memory = pytest.mark.parametrize("gradient, method", [
    ("backsolve", "euler"), ("reversible", "asynchronous_leapfrog"), ("reversible", "reversible_heun"),
    ("reversible", REVERSIBLE_EULER)],
    ids=["backsolve", "leapfrog", "heun", "reversible(euler)"])


@pytest.mark.eq("17.2", "19.2", "19.3", "19.4")
@of_constant_memory
def test_backsolve_and_reversal_need_the_same_memory_for_ten_times_the_steps(gradient, method):
    few = peak(FEW, gradient, method)
    assert few <= PASSING and peak(MANY, gradient, method) <= FLAT * few


@pytest.mark.eq("9.4", "17.2", "19.2", "19.3", "19.4")
@of_constant_memory
def test_and_for_twenty_times_those_of_a_state_smaller_than_the_times_of_its_steps(gradient, method):
    peak(FEWER, gradient, method, numbers=2)                    # what is made once and kept is not counted
    assert peak(MOST, gradient, method, numbers=2) <= FLAT * peak(FEWER, gradient, method, numbers=2)


@pytest.mark.eq("19.1")
def test_checkpoints_need_memory_like_the_root_of_the_steps():
    # at most √2n states, and in a stretch of at most √2n steps the state of each stage
    for steps, method, stages in ((FEW, "euler", 1), (MANY, "euler", 1), (700, "midpoint", 2)):
        used = peak(steps, "checkpoint", method)
        assert used <= (1 + stages) * np.sqrt(2 * steps) + PASSING
    assert used < stages * steps / 10                       # what the discrete route stores


@pytest.mark.parametrize("method, stages", [("euler", 1), ("midpoint", 2)])
def test_the_discrete_route_keeps_the_state_of_each_stage_once(method, stages):
    grown = (peak(3 * FEW, "discrete", method) - peak(FEW, "discrete", method)) / (2 * FEW)
    assert stages <= grown <= stages * (1 + LOST)                 # Y_1 is the state itself


OBJECTS = 400                           # bytes of a step on the tape that are no numbers: a tuple, arrays' heads
PIECES = 1.5                            # of the numbers of a piece: its Jacobians, and what is made of them


@pytest.mark.eq("18.6")
@pytest.mark.parametrize("method", ["euler", "rk4", "dopri5"])
def test_a_small_system_keeps_states_and_increments_and_takes_its_steps_back_in_pieces(method):
    f, theta, y0 = PROBLEMS["network"]
    t, a, tableau, few, steps = np.array([0.0, 1.0]), np.ones(3), methods[method], 2**14, 500
    tracemalloc.start()
    try:
        tape = run(f, y0, t, theta, [], method=method, step_size=1 / steps).tape
        assert tracemalloc.get_traced_memory()[0] <= steps * (y0.nbytes * (1 + tableau.stages) + OBJECTS)
        used = {}
        for numbers in (few, 1000 * few):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            with mock.patch.object(discrete, "PIECE", numbers):
                backward_pass(f, theta, tape, tableau, t, np.zeros((2, 3)), a, 0 * theta)
            used[numbers] = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert used[few] <= PIECES * 8 * few < used[1000 * few]


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("options, message", [
    ({"gradient": "reversible", "method": "rk4"},
     r"gradient='reversible' needs a reversible method, such as reversible\('rk4'\), not 'rk4'"),
    ({"gradient": "reversible"}, "gradient='reversible' needs a reversible method, .* not 'dopri5'"),
    ({"gradient": "checkpoint", "method": "reversible_heun"},
     "gradient='checkpoint' is for Runge–Kutta methods; reversible_heun has gradient='reversible'"),
    ({"gradient": "checkpoint", "method": reversible("rk4")},
     r"gradient='checkpoint' is for Runge–Kutta methods; reversible\(rk4\) has"),
    *[({"gradient": gradient, "method": "gauss4"},
       f"gradient='{gradient}' does not go through gauss4: an implicit method has gradient='discrete' and 'checkpoint'")
      for gradient in ("reversible", "backsolve", "interpolate")],
    *[({"gradient": gradient, "per_trajectory": True},
       f"per_trajectory goes with gradient='discrete', not '{gradient}'")
      for gradient in ("checkpoint", "backsolve", "interpolate")],
    ({"gradient": "checkpoints"}, "unknown gradient 'checkpoints'; known: discrete, checkpoint, reversible,"),
])
def test_a_route_that_does_not_go_through_the_method_is_refused_before_any_work(options, message):
    with pytest.raises(ValueError, match=message):
        pullback(Silent(), np.ones((4, 2)), [0.0, 1.0], np.ones(3), np.ones((4, 2)), **options)


def test_the_tape_of_checkpoints_holds_no_increments():
    f, theta, y0 = PROBLEMS["pendulum"]
    tape = Checkpoints()
    whole = run(f, y0, [0.0, 2.0], theta, tape, method="dopri5")
    assert len(tape.times) == whole.solution.stats.n_accepted and tape.states[0].shape == y0.shape
    assert set(vars(tape)) == {"spacing", "times", "states"}

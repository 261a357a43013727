"""Steps are chosen as chapter 10 says: SciPy's with SciPy's constants, and those of its text with its own."""

import functools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from scipy.integrate import DOP853, RK23, RK45, solve_ivp

from minode import SolverError, Tableau, methods, odeint, solve
from minode.solvers.adaptive import SCIPY, Controller, PredictiveController, Tolerances, error_size, first_step
from minode.solvers.solve import run
from tests.strategies import arrays, assert_agree

EPS = np.finfo(float).eps
ROUND_OFF = 200 * EPS          # relative to the terms of a sum of at most sixteen products
SAME_STEPS = 1e-7              # of the span: E is a small difference known to eps/rtol, and that adds up
STRICT = {"dopri5": SAME_STEPS, "bosh3": SAME_STEPS, "dop853": 1e-3}     # whose E₅ at strict tolerances is nearly round-off
CLOCK = EPS                    # of the larger end: t + h is rounded once, so that it may miss the end
FEW_STEPS = 100                # times the tolerance of one: tens of steps, magnified a little by the flow
WALL = 1000 * EPS              # steps get no shorter than ten spacings, and the last few stop before it

ADAPTIVE = [m for m in methods.values() if isinstance(m, Tableau) and m.is_explicit and m.b_hat is not None]
each_method = pytest.mark.parametrize("method", ADAPTIVE, ids=lambda tableau: tableau.name)
fewer = settings(max_examples=max(4, settings().max_examples * 2 // 5))      # examples for each table: dozens for all


def pendulum(t, y):
    """Forced and damped; for one trajectory, or for rows with a time each."""
    x, v = y[..., 0], y[..., 1]
    return np.array([v, -3 * np.sin(x) - 0.2 * v + 1.5 * np.cos(2 * t)]).T


@functools.cache
def pendulum_after(t0, t1):
    """The state at t1 of the pendulum that starts in (0.5, −0.3) at t0, by SciPy."""
    return solve_ivp(pendulum, (t0, t1), [0.5, -0.3], "DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


def seasons(t, y):
    """Lotka and Volterra's, the predators' death rate changing with the season."""
    prey, predator = y[..., 0], y[..., 1]
    return np.array([(0.5 - 0.05 * predator) * prey, (0.02 * prey - 0.8 + 0.3 * np.sin(t)) * predator]).T


def oscillator(t, y):
    """Van der Pol's with μ = 5, forced: slow, then fast, then slow."""
    x, v = y[..., 0], y[..., 1]
    return np.array([v, 5 * (1 - x * x) * v - x + np.cos(t)]).T


PROBLEMS = {"pendulum": (pendulum, [0.5, -0.3], (0.0, 8.0)),
            "pendulum, backwards": (pendulum, [0.5, -0.3], (8.0, 0.0)),
            "seasons": (seasons, [30.0, 4.0], (1.0, 12.0)),
            "seasons, backwards": (seasons, [30.0, 4.0], (12.0, 1.0)),
            "oscillator": (oscillator, [2.0, 0.0], (0.0, 10.0))}
each_problem = pytest.mark.parametrize("f, y0, span", PROBLEMS.values(), ids=PROBLEMS)


def times(f, y0, span, tol, **options):
    """The times between accepted steps, and the solution, with rtol = atol = tol."""
    tape = []
    done = run(f, y0, span, tape=tape, rtol=tol, atol=tol, **options)
    return np.array([step[0] for step in tape] + [span[-1]]), done.solution


# -- the steps of others ----------------------------------------------------------------------

@pytest.mark.eq("10.1", "10.2", "10.3", "10.4", "10.5", "10.6")
@each_problem
@pytest.mark.parametrize("name, theirs, tol", [
    ("dopri5", RK45, 1e-4), ("dopri5", RK45, 1e-7), ("bosh3", RK23, 1e-3), ("bosh3", RK23, 1e-5),
    ("dop853", DOP853, 1e-6)])
def test_with_scipys_constants_the_steps_are_scipys(name, theirs, tol, f, y0, span):
    other, expected = theirs(f, span[0], np.array(y0), span[1], rtol=tol, atol=tol), [span[0]]
    while other.status == "running":
        other.step()
        expected.append(other.t)
    t, solution = times(f, y0, span, tol, method=name, controller=SCIPY)
    assert len(t) == len(expected)
    assert np.abs(t - expected).max() <= SAME_STEPS * abs(span[1] - span[0])
    # DOP853 asks for f at the new state before it looks at the error, so once more for each rejected step.
    assert solution.stats.n_f == other.nfev - (name == "dop853") * solution.stats.n_rejected


def rms(error, scale):
    return np.sqrt(np.mean(np.abs(error / scale)**2))


def hairers_start(f, t, y, sign, span, q, rtol, atol):
    """Hairer, Nørsett and Wanner, section II.4, as it stands there."""
    f_0, scale = f(t, y), atol + rtol * np.abs(y)
    d_0, d_1 = rms(y, scale), rms(f_0, scale)
    h_0 = min(1e-6 if d_0 < 1e-5 or d_1 < 1e-5 else 0.01 * d_0 / d_1, span)
    d_2 = rms(f(t + sign * h_0, y + sign * h_0 * f_0) - f_0, scale) / h_0
    h_1 = max(1e-6, h_0 / 1000) if max(d_1, d_2) <= 1e-15 else (0.01 / max(d_1, d_2))**(1 / q)
    return min(100 * h_0, h_1, span)


def written_out(method, f, y, span, tol, norm=rms):
    """The times between accepted steps and how many were rejected, from the text of chapter 10 alone."""
    (t, end), y, sign = span, np.array(y), np.sign(span[1] - span[0])
    A, b, b_hat, c = (np.array(x, dtype=float) for x in (method.A, method.b, method.b_hat, method.c))
    q = 8 if method.name == "dop853" else 1 + min(method.order, method.embedded_order)
    h = hairers_start(f, t, y, sign, abs(end - t), q, tol, tol)
    reached, rejected, failed, E_prev = [t], 0, False, None
    while t != end:
        t_new = t + sign * h if h < abs(end - t) else end
        h, k = t_new - t, []
        for a_i, c_i in zip(A, c):
            k.append(f(t + c_i * h, y + h * sum(a * k_j for a, k_j in zip(a_i, k))))
        y_new = y + h * (b @ k)
        scale = tol + tol * np.maximum(np.abs(y), np.abs(y_new))
        E = norm(h * ((b - b_hat) @ k), scale)
        if method.name == "dop853":
            E_3 = norm(h * ((b - np.array(method.b_hat_3, dtype=float)) @ k), scale)
            E = E**2 / np.sqrt(E**2 + E_3**2 / 100)
        if E < 1:
            growth = 0.9 * E**(-1 / q) * (1 if failed or E_prev is None else (E_prev / E)**(0.05 / q))
            h = abs(h) * min(growth, 1 if failed else 10)
            t, y, E_prev, failed = t_new, y_new, max(E, 1e-4), False
            reached.append(t)
        else:
            h, failed, rejected = abs(h) * max(0.2, 0.9 * E**(-1 / q)), True, rejected + 1
    return np.array(reached), rejected


@pytest.mark.eq("10.1", "10.2", "10.3", "10.4", "10.5", "10.6")
@each_method
@pytest.mark.parametrize("problem", ["pendulum", "seasons, backwards", "oscillator"])
def test_the_steps_are_those_of_the_chapter_written_out(method, problem):
    f, y0, span = PROBLEMS[problem]
    tol = {2: 1e-3, 3: 1e-4, 8: 1e-7}.get(method.order, 1e-5)
    t, solution = times(f, y0, span, tol, method=method)
    expected, rejected = written_out(method, f, y0, span, tol)
    assert (solution.stats.n_accepted, solution.stats.n_rejected) == (len(expected) - 1, rejected)
    assert np.abs(t - expected).max() <= SAME_STEPS * abs(span[1] - span[0])


# -- its parts --------------------------------------------------------------------------------

@pytest.mark.eq("10.1", "10.2", "10.3")
@each_method
@fewer
@given(st.data(), st.integers(1, 4), st.booleans())
def test_the_error_is_the_difference_of_two_results_against_what_is_tolerated(method, data, n, is_complex):
    y, y_new, hK = (data.draw(arrays(shape)) for shape in (n, n, (method.stages, n)))
    if is_complex:
        hK = hK + 1j * data.draw(arrays(hK.shape))
    tolerances = Tolerances(1e-2, 1e-3)
    scale = tolerances.scale(y, y_new)
    assert scale.tolist() == [1e-3 + 1e-2 * max(abs(u), abs(v)) for u, v in zip(y, y_new)]

    def distance(other):
        error = sum(float(b - b_hat) * hk for b, b_hat, hk in zip(method.b, other, hK))
        return (sum(abs(e / sc)**2 for e, sc in zip(error, scale)) / n)**0.5
    expected = distance(method.b_hat)
    if method.b_hat_3 is not None and expected:
        expected = expected**2 / (expected**2 + distance(method.b_hat_3)**2 / 100)**0.5
    allowed = ROUND_OFF * max(1.0, np.abs(hK).max()) / scale.min()
    assert_agree(error_size(method, hK, scale, tolerances.measure), expected, allowed)


@pytest.mark.eq("10.4")
@given(st.floats(0.05, 1), st.floats(0, 1), st.floats(1e-8, 1e3), st.floats(1e-8, 1e3), st.integers(2, 8))
def test_the_next_step_answers_the_error_and_its_change(safety, beta, E, E_prev, q):
    factor = Controller(safety=safety, beta=beta).factor(E, E_prev, q)
    assert_agree(factor * E**(1 / q), safety * (E_prev / E)**(beta / q), ROUND_OFF)
    assert Controller() == (0.9, 0.05, 0.2, 10.0) and SCIPY == (0.9, 0.0, 0.2, 10.0)


class Solved(NamedTuple):
    """What the controller of an implicit method looks at in Newton's method."""

    h: float
    iterations: int
    most_iterations: int = 10


@pytest.mark.eq("10.7")
@given(st.floats(1e-3, 0.9), st.floats(1e-2, 0.9), st.floats(0.1, 10), st.sampled_from([4, 6]), st.integers(1, 10))
def test_an_implicit_method_expects_the_error_to_grow_as_it_did(E_1, E_2, ratio, q, n):
    h_1, h_2 = 0.1, -0.1 * ratio                             # the sign is the direction of the solve
    controller = PredictiveController(Solved(h_1, n), Controller(safety=0.8))
    controller.factor(E_1, None, q)
    controller.newton = Solved(h_2, n)
    C_1, C_2 = E_1 / h_1**q, E_2 / abs(h_2) ** q
    C_3 = max(C_2, C_2**2 / C_1)                             # the same factor once more
    expected = 0.8 * 21 / (20 + n) * (1 / C_3) ** (1 / q) / abs(h_2)
    got = controller.factor(E_2, E_1, q)
    assert abs(got / (1.0 if 1 <= expected < 1.2 else expected) - 1) <= 1e-9 or abs(expected - 1.2) <= 1e-9


@pytest.mark.eq("10.7")
def test_after_a_rejection_only_its_error_counts_and_without_convergence_h_is_halved():
    controller = PredictiveController(Solved(0.1, 1), Controller())
    assert abs(controller.factor(16.0, 16.0, 4) - 0.9 / 2) <= ROUND_OFF
    assert controller.factor(1e10, 1e10, 4) == 0.5 and controller.last is None
    assert controller.factor(0.5, 0.5, 4) == 1.0             # 1.07: not worth a new matrix
    assert (controller.min_factor, controller.max_factor) == (0.2, 10.0)


@pytest.mark.eq("10.5", "10.6")
@pytest.mark.parametrize("f, y0", [
    (pendulum, [0.5, -0.3]), (seasons, [30.0, 4.0]), (pendulum, [0.0, 0.0]), (lambda t, y: 0 * y, [1.0, 2.0]),
    (lambda t, y: 0 * y, [0.0, 0.0]), (lambda t, y: np.array([t, 1.0]), [3e3, -1e3]),
    (pendulum, [1.05e-9, 1.05e-9]), (lambda t, y: 1.155e-9 + 0 * y, [1.0, 1.0]),
    (lambda t, y: 1.155e-19 + 0 * y, [1.0, 1.0])],
    ids=["pendulum", "seasons", "from zero", "at rest", "at rest in zero", "slow", "just not from zero",
         "just not slow", "just not at rest"])
@pytest.mark.parametrize("span", [1e-9, 1e-3, 5.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_first_step_is_hairers(f, y0, span, sign):
    t, y, tolerances = 0.7, np.array(y0), Tolerances(1e-5, 1e-4)
    for q in (2, 3, 5, 8):
        h = first_step(f, t, y, f(t, y), sign, span, q, tolerances, tolerances.measure)
        expected = hairers_start(f, t, y, sign, span, q, 1e-5, 1e-4)
        assert 0 < h <= span and abs(h - expected) <= SAME_STEPS * expected


@each_method
@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, 0.0)])
def test_a_first_step_of_the_readers_is_tried_first_and_saves_a_call(method, span):
    asked = []

    def f(t, y):
        asked.append(t)
        return pendulum(t, y)
    h = (span[1] - span[0]) / 1024
    t, solution = times(f, [0.5, -0.3], span, 1e-3, method=method, first_step=abs(h))
    assert t[1] == span[0] + h and asked[1] == span[0] + h * float(method.c[1])
    at_new_states = 0 if method.is_fsal else solution.stats.n_accepted
    assert len(asked) == 1 + (method.stages - 1) * solution.stats.n_steps + at_new_states
    t, _ = times(pendulum, [0.5, -0.3], span, 1e9, method=method, first_step=50.0)
    assert t.tolist() == list(span)                                      # one too long ends at the end


# -- where f is asked, and where steps end ----------------------------------------------------

@given(st.sampled_from(ADAPTIVE), st.floats(-3, 3), st.floats(-3, 3), st.sampled_from([1e-1, 1e-3, 1e-5]),
       st.sampled_from([None, 0.01, 100.0]), st.booleans())
@example(methods["dopri5"], 0.5, 0.5001, 1e-1, None, False)                # shorter than (10.6) would have it
@example(methods["dopri5"], 0.5001, 0.5, 1e-1, None, True)
def test_f_is_never_asked_outside_the_span_and_the_last_step_ends_on_it(method, t_0, t_1, tol, h, own):
    asked, done = [], []

    def f(t, y):
        asked.extend(np.ravel(t))
        return pendulum(t, y)
    stats = solve(f, [[0.5, -0.3]] if own else [0.5, -0.3], [t_0, t_1], method=method, rtol=tol, atol=tol,
                  first_step=h, per_trajectory=own, progress=done.append).stats
    rounding = CLOCK * max(abs(t_0), abs(t_1))
    assert all(min(t_0, t_1) - rounding <= t <= max(t_0, t_1) + rounding for t in asked)
    assert bool(asked) == (t_0 != t_1) == bool(done) and (not done or done[-1] == 1.0)
    assert np.sum(stats.n_accepted + stats.n_rejected) == np.sum(stats.n_steps)


@each_method
@each_problem
def test_backwards_is_forwards_with_the_clock_turned_round(method, f, y0, span):
    mirrored = tuple(-t for t in span)
    t, there = times(f, y0, span, 1e-3, method=method)
    s, back = times(lambda t, y: -f(-t, y), y0, mirrored, 1e-3, method=method)
    assert np.array_equal(s, -t) and np.array_equal(back.ys, there.ys) and back.stats == there.stats


@each_method
def test_a_step_into_nan_is_rejected_and_what_can_be_passed_is_solved(method):
    def f(t, y):                                       # y = 1 − (1 − t/2)², and nothing above y = 1
        return np.sqrt(1 - y) if y[0] <= 1 else np.full(1, np.nan)
    t, tol = np.array([0.0, 1.0, 1.9]), 1e-5
    solution = solve(f, [0.0], t, method=method, rtol=tol, atol=tol, first_step=1.9)
    assert solution.stats.n_rejected > 0
    assert_agree(solution.ys[:, 0], 1 - (1 - t / 2)**2, FEW_STEPS * tol)


@each_method
def test_a_first_step_too_short_for_the_clock_is_ten_spacings_long(method):
    solution = solve(pendulum, [0.5, -0.3], [1.0, 2.0], method=method, first_step=1e-300)
    assert solution.t_steps[1] - 1.0 == 10 * np.spacing(1.0)


@each_method
def test_a_wall_of_nan_ends_the_solve_with_everything_before_it(method):
    def f(t, y):
        return pendulum(t, y) if t < 1 else np.full(2, np.nan)
    t, tol = np.array([0.0, 0.5, 0.9, 1.5]), 1e-3
    message = r"step size underflow at t = 0\.99999\d*: no step longer than 1.1e-15 meets the tolerance"
    with pytest.raises(SolverError, match=message) as caught:
        solve(f, [0.5, -0.3], t, method=method, rtol=tol, atol=tol)
    partial = caught.value.solution
    assert 1 - WALL <= caught.value.t < 1 and partial.t.tolist() == [0.0, 0.5, 0.9]
    assert_agree(partial.ys, odeint(pendulum, [0.5, -0.3], t[:3], rtol=1e-9), FEW_STEPS * tol)
    assert partial.stats.n_steps == partial.stats.n_accepted + partial.stats.n_rejected


@each_method
@pytest.mark.parametrize("dtype, most", [(np.float64, 1e308), (np.float32, 3e38)])
def test_a_step_to_infinity_is_rejected_however_small_its_error_beside_it(method, dtype, most):
    t = np.array([0.0, 1.0, 3.0])
    first = None if method.name == "dopri5" and dtype is np.float64 else 0.5    # hundreds from one of 1e-300
    for own, shape in ((False, (1,)), (True, (2, 1))):
        with pytest.raises(SolverError, match="step size underflow|max_steps") as caught:      # near the largest
            solve(lambda t, y: np.full(y.shape, most, dtype), np.zeros(shape, dtype), t, method=method,
                  per_trajectory=own, max_steps=100 if first else 1000, first_step=first)
        assert caught.value.solution.t.tolist() == [0.0, 1.0] and np.isfinite(caught.value.solution.ys).all()


@each_method
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("failure", [np.nan, -np.inf])
def test_a_first_step_is_found_where_the_trial_of_f_fails(method, own, failure):
    def f(t, y):                                       # y₁ = (√y₁(0) − t/2)², and f is not there for y₁ < 0
        return np.stack([np.where(y[..., 0] < 0, failure, -np.sqrt(np.abs(y[..., 0]))), 0 * y[..., 1]], axis=-1)
    y0 = np.array([[1e-3, 1.0]] if own else [1e-3, 1.0])
    ys = odeint(f, y0, [0.0, 0.05], method=method, rtol=1e-6, atol=1e-2, per_trajectory=own)
    assert abs(ys[-1].ravel()[0] - (np.sqrt(1e-3) - 0.025)**2) <= FEW_STEPS * 1e-2


@pytest.mark.parametrize("failure", [np.nan, np.inf])
def test_a_first_step_whose_trial_fails_is_no_smaller_for_it(failure):
    calls = []

    def f(t, y):
        calls.append(t)
        return np.full(1, failure if len(calls) == 2 else 1.0)
    assert solve(f, [1.0], [0.0, 1.0]).stats.n_steps <= 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_velocity_that_is_not_finite_at_the_start_is_reported_there(value):
    with pytest.raises(SolverError, match=r"f is not finite at the initial state, t = 0\.5") as caught:
        solve(lambda t, y: np.array([value, 1.0]), [1.0, 2.0], [0.5, 1.0])
    assert caught.value.t == 0.5 and caught.value.solution.ys.tolist() == [[1.0, 2.0]]


@each_method
def test_a_solution_that_blows_up_ends_near_the_time_it_does(method):
    t, tol = np.array([0.0, 0.25, 0.5, 2.0]), 1e-3 if method.order < 4 else 1e-6
    exact = np.stack([1 / (1 - t[:3]), 1 / (2 - t[:3])], axis=-1)       # y' = y²: gone at t = 1
    with pytest.raises(SolverError, match="step size underflow at t = .* may blow up") as caught:
        solve(lambda t, y: y**2, exact[0], t, method=method, rtol=tol, atol=tol)
    assert abs(caught.value.t - 1) <= FEW_STEPS * tol
    assert caught.value.solution.t.tolist() == [0.0, 0.25, 0.5]
    assert_agree(caught.value.solution.ys, exact, FEW_STEPS * tol)


def test_a_solve_gives_up_after_max_steps_rejected_ones_included():
    def go(**options):
        return solve(oscillator, [2.0, 0.0], [0.0, 5.0, 10.0], **options)
    full = go()
    enough = full.stats.n_steps
    assert full.stats.n_rejected > 0 and np.array_equal(go(max_steps=enough).ys, full.ys)
    with pytest.raises(SolverError, match=rf"stopped at t = \S+: max_steps = {enough - 1} were") as caught:
        go(max_steps=enough - 1)
    partial = caught.value.solution
    assert partial.stats.n_steps == enough - 1 and np.array_equal(partial.ys, full.ys[:2])
    assert 5 < caught.value.t < 10


# -- tolerances of each component, and the longest step ---------------------------------------

OWN = {"atol": (1e-6, [1e-3, 1e-7]), "rtol": ([1e-3, 1e-7], 1e-9), "both": ([1e-3, 1e-6], [1e-8, 1e-4])}     # rtol, atol


def scipys_times(theirs, f, y0, span, **options):
    """The times between the accepted steps of one of SciPy's solvers."""
    solution = solve_ivp(f, span, np.array(y0), theirs, **options)
    assert solution.success
    return solution.t


THEIRS = {"dopri5": RK45, "bosh3": RK23, "dop853": DOP853}
# Each problem by each method, and each method and each problem with tolerances of every kind.
PAIRED = [(problem, name, list(OWN)[(i + j) % 3])
          for i, problem in enumerate(PROBLEMS) for j, name in enumerate(THEIRS)]


@pytest.mark.eq("10.2")
@pytest.mark.parametrize("problem, name, own", PAIRED)
def test_with_tolerances_of_each_component_the_steps_are_scipys(problem, name, own):
    (f, y0, span), theirs, (rtol, atol) = PROBLEMS[problem], THEIRS[name], OWN[own]
    expected, tape = scipys_times(theirs, f, y0, span, rtol=rtol, atol=atol), []
    run(f, y0, span, tape=tape, rtol=rtol, atol=atol, method=name, controller=SCIPY)
    assert len(tape) + 1 == len(expected)
    assert np.abs([step[0] for step in tape] - expected[:-1]).max() <= STRICT[name] * abs(span[1] - span[0])


@pytest.mark.eq("10.2")
@each_method
@pytest.mark.parametrize("own", [{}, {"per_trajectory": True}], ids=["joint", "own steps"])
def test_tolerances_of_one_size_are_a_number_in_whatever_form_they_are_handed_in(method, own):
    y0, tol = np.array([[0.5, -0.3], [1.0, 0.2], [0.0, 0.4]]), 2.0**-10
    expected = solve(pendulum, y0, [0.0, 1.0], method=method, rtol=tol, atol=tol, **own)
    for form in ([tol, tol], np.full((3, 2), tol), np.full((3, 1), tol), [[tol]], np.float32(tol), [np.float32(tol)]):
        for tolerances in ({"rtol": form, "atol": tol}, {"rtol": tol, "atol": form}, {"rtol": form, "atol": form}):
            got = solve(pendulum, y0, [0.0, 1.0], method=method, **tolerances, **own)
            assert np.array_equal(got.ys, expected.ys) and np.all(got.stats.n_steps == expected.stats.n_steps)


@pytest.mark.eq("10.2")
def test_a_tuple_state_has_a_tuple_of_tolerances_or_a_number():
    def f(t, state):
        x, v = state
        return v, -3 * np.sin(x) + np.array([np.cos(t), 0.0])
    y0, span = (np.array([0.5, 1.0]), np.array([0.0, 0.2])), [0.0, 5.0]

    def flat(t, y):
        return np.concatenate(f(t, (y[:2], y[2:])))
    rtol, atol = (1e-3, [1e-6, 1e-4]), ([1e-8, 1e-5], 1e-3)
    x, v = odeint(f, y0, span, rtol=rtol, atol=atol)
    ys = odeint(flat, np.concatenate(y0), span, rtol=[1e-3, 1e-3, 1e-6, 1e-4], atol=[1e-8, 1e-5, 1e-3, 1e-3])
    assert np.array_equal(np.concatenate([x, v], axis=1), ys)
    assert np.array_equal(odeint(f, y0, span, rtol=(1e-5, 1e-5))[0], odeint(f, y0, span, rtol=1e-5)[0])


@pytest.mark.eq("10.2")
def test_a_component_with_a_loose_tolerance_costs_no_steps_and_one_with_a_tight_one_is_right():
    def f(t, y):                                             # a fast oscillation of its own beside a decay
        return np.array([-y[0], y[2], -400 * y[1]])
    y0, span = [1.0, 1.0, 0.0], [0.0, 2.0]
    loose, tight = solve(f, y0, span, atol=[1e-9, 1e3, 1e3]), solve(f, y0, span, atol=1e-9)
    assert 4 * loose.stats.n_steps < tight.stats.n_steps
    assert abs(loose.ys[-1, 0] - np.exp(-2.0)) < FEW_STEPS * 1e-6 and abs(tight.ys[-1, 1] - np.cos(40.0)) < 1e-3


@each_problem
@pytest.mark.parametrize("name, theirs", THEIRS.items())
@pytest.mark.parametrize("max_step", [0.07, 0.3, np.inf])
def test_with_a_longest_step_the_steps_are_scipys(name, theirs, max_step, f, y0, span):
    expected = scipys_times(theirs, f, y0, span, rtol=1e-3, atol=1e-3, max_step=max_step)
    t, _ = times(f, y0, span, 1e-3, method=name, controller=SCIPY, max_step=max_step)
    assert len(t) == len(expected) and np.abs(np.diff(t)).max() <= max_step * (1 + ROUND_OFF) + CLOCK * max(map(abs, span))
    assert np.abs(t - expected).max() <= STRICT[name] * abs(span[1] - span[0])


@pytest.mark.parametrize("own", [{"method": m.name} for m in ADAPTIVE] + [{"method": name} for name in ("trbdf2", "kvaerno5")]
                         + [{"per_trajectory": True}, {"first_step": 0.5}, {"tstops": [0.33]}], ids=str)
@pytest.mark.parametrize("span", [[0.0, 0.2, 1.0], [1.0, 0.0]], ids=str)
def test_no_step_is_longer_than_the_longest_not_even_the_first(own, span):
    f_y = (lambda t, y: np.zeros((*y.shape, 2))) if own.get("method") in ("trbdf2", "kvaerno5") else None
    asked = []

    def f(t, y):
        asked.extend(np.ravel(t))
        return np.ones_like(y)                               # which any step solves
    solution = solve(f, np.ones((2, 2)), span, max_step=0.0625, jacobian=f_y, **own)
    assert_agree(solution.ys[-1], 1.0 + span[-1] - span[0] + np.zeros((2, 2)), ROUND_OFF)
    for t in solution.t_steps if "per_trajectory" in own else [solution.t_steps]:
        assert np.abs(np.diff(t)).max() <= 0.0625 * (1 + ROUND_OFF) and 16 <= len(t) - 1 <= 40


@each_method
def test_with_a_longest_step_of_1_a_pulse_after_a_rest_is_seen_by_every_method(method):
    def f(t, y):                                             # of JAX's test_hmax: up to t = 2, down from 5 to 7
        return np.array([1.0 if t <= 2 else -1.0 if 5 <= t <= 7 else 0.0])
    ys = odeint(f, [0.0], [0.0, 5.0, 10.0], method=method, rtol=1e-8, atol=1e-8, max_step=1.0)
    assert_agree(ys[1:, 0], [2.0, 0.0], 1e-4)


def test_a_longest_step_sees_what_the_error_estimate_steps_over():
    def pulse(t, y):                                         # of area 1, at t = 5
        return np.exp(-((t - 5.0) / 0.01)**2) / (0.01 * np.sqrt(np.pi)) + 0 * y
    over = odeint(pulse, [0.0], [0.0, 10.0])[-1, 0]
    seen = odeint(pulse, [0.0], [0.0, 10.0], max_step=0.02)[-1, 0]
    assert over == 0.0 and abs(seen - 1.0) < 1e-5

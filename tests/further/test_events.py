"""Events: where they are, against SciPy and closed forms; their gradients, against a step into the complex plane."""

import copy
import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import minode
from minode import (MLP, Event, Linear, SolverError, VanDerPol, VectorField, hessian_vector_product, methods, odeint,
                    pullback, pushforward, reversible, solve, value_and_gradients)
from minode.further.events import PIECES, Stop, zero, zero_of_quadratic
from minode.gradients import discrete
from minode.solvers.dense import all_increments, dense_output
from minode.solvers.solve import run

U = np.finfo(np.float64).eps
TIGHT = dict(rtol=1e-10, atol=1e-12)
OF_TIGHT = 1e-8                 # what dopri5 and SciPy at these tolerances may be apart
ROUND_OFF = 200 * U             # of a few steps
OF_GRADIENT = 1e-12             # relative: thousands of roundings, and division by the rate of g
MOVE = 1e-3                     # of a time, for differences of order four
OF_DIFFERENCES = 1e-8           # theirs: MOVE⁴, and round-off over MOVE
STEP = 1e-30                    # into the complex plane
ROUTES = ("discrete", "checkpoint")
EXPLICIT = [name for name, method in methods.items() if getattr(method, "is_explicit", False)]
IMPLICIT = [name for name, method in methods.items() if not getattr(method, "is_explicit", True)]
REVERSIBLE = ["asynchronous_leapfrog", "reversible_heun", reversible("rk4")]


class Ball(VectorField):
    """y = (height, velocity), θ = (gravity,)."""

    dim, n_params = 2, 1

    def __call__(self, t, y, theta):
        return np.stack([y[..., 1], 0 * y[..., 1] - theta[0]], axis=-1)

    def jacobian(self, t, y, theta):
        return np.array([[0.0, 1.0], [0.0, 0.0]]) + 0 * y[..., None]

    def param_jacobian(self, t, y, theta):
        return np.array([[0.0], [-1.0]]) + 0 * y[..., None]

    def time_derivative(self, t, y, theta):
        return 0 * y


class Height(Event):
    """The ball at a height, coming down."""

    direction = -1

    def __init__(self, height=0.0, direction=-1):
        self.height, self.direction = height, direction

    def __call__(self, t, y, theta):
        return y[0] - self.height

    def gradient(self, t, y, theta):
        return 0.0, np.eye(1, len(y))[0], np.zeros_like(theta)


class Curved(Event):
    """One that depends on all three, and on each nonlinearly; `level` says when it comes."""

    def __init__(self, level=0.0, t_factor=0.3):
        self.level, self.t_factor = level, t_factor

    def __call__(self, t, y, theta):
        g = y[1] ** 2 * y[0] + self.t_factor * np.sin(t) * y[0] + theta[0] ** 2 * y[1] + 0.1 * t - self.level
        return g if np.iscomplexobj(g) else float(g)

    def gradient(self, t, y, theta):
        g_theta = np.zeros_like(theta)
        g_theta[0] = 2 * theta[0] * y[1]
        return (self.t_factor * np.cos(t) * y[0] + 0.1,
                np.array([y[1] ** 2 + self.t_factor * np.sin(t), 2 * y[1] * y[0] + theta[0] ** 2]), g_theta)


def scipys(f, y0, span, g, direction=0, **tolerances):
    """SciPy's time and state of the event, or None."""
    g.terminal, g.direction = True, direction
    found = solve_ivp(f, span, y0, events=g, **(tolerances or TIGHT))
    return (found.t_events[0][0], found.y_events[0][0]) if len(found.t_events[0]) else None


# -- where ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [*({"method": name} for name in [*EXPLICIT, *IMPLICIT]),
                                     *({"method": name, "step_size": 0.3} for name in ("euler", "dopri5", "radau5")),
                                     *({"method": name} for name in REVERSIBLE)], ids=str)
def test_a_falling_ball_hits_the_ground_when_it_does(options):
    """Steps of order two and more, and their polynomials, are exact on a parabola; the others nearly."""
    gravity, y0, t = [9.81], [2.0, 3.0], np.linspace(0.0, 3.0, 31)
    hits = (3.0 + np.sqrt(9.0 + 4 * 9.81)) / 9.81
    solution = solve(Ball(), y0, t, gravity, event=Height(), **options)
    is_rough = options["method"] in ("euler", "implicit_euler")
    allowed = 0.1 if is_rough else ROUND_OFF
    assert abs(solution.t_event - hits) <= allowed
    assert solution.t[-1] == solution.t_event and len(solution.t) == len(solution.ys)
    assert np.array_equal(solution.t[:-1], t[t < solution.t_event])
    assert abs(solution.ys[-1, 0]) <= 100 * U and solution.ys[0].tolist() == y0
    if not is_rough:
        exact = 2 + 3 * solution.t - 9.81 / 2 * solution.t**2
        assert np.abs(solution.ys[:, 0] - exact).max() <= 10 * ROUND_OFF


@pytest.mark.parametrize("method", ["dopri5", "dop853", "tsit5", "kvaerno5"])
def test_a_pendulum_of_small_swings_passes_its_lowest_point_at_half_of_pi_and_every_pi_behind(method):
    A, swing = np.array([0.0, 1.0, -1.0, 0.0]), dict(method=method, **TIGHT)
    for direction, passes in ((0, np.pi / 2), (-1, np.pi / 2), (1, 3 * np.pi / 2)):
        found = solve(Linear(2), [1.0, 0.0], [0.0, 9.0], A, event=Height(direction=direction), **swing)
        assert abs(found.t_event - passes) <= OF_TIGHT
        assert np.abs(found.ys[-1] - [0.0, -np.sin(passes)]).max() <= OF_TIGHT
    backwards = solve(Linear(2), [1.0, 0.0], [0.0, -9.0], A, event=Height(direction=1), **swing)
    assert abs(backwards.t_event + 3 * np.pi / 2) <= OF_TIGHT and backwards.ys[-1, 1] < 0    # rising as we go, back


@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("y0", [[2.0, 0.0], [0.5, -1.5], [-2.0, 0.3], [0.0, 1.0], [0.0, -1.0]], ids=str)
@pytest.mark.parametrize("end", [8.0, -1.0, 0.2])
def test_the_event_is_scipys(y0, direction, end):
    """Of any direction, also none within the span, and one that the solve begins on (direction decides)."""
    expected = scipys(lambda t, y: VanDerPol()(t, y, [1.0]), y0, (0.0, end), lambda t, y: y[0], direction)
    found = solve(VanDerPol(), y0, [0.0, end], [1.0], event=Height(direction=direction), **TIGHT)
    if expected is None:
        assert found.t_event is None and found.t.tolist() == [0.0, end] and found.ys.shape == (2, 2)
    else:
        assert abs(found.t_event - expected[0]) <= OF_TIGHT
        assert np.abs(found.ys[-1] - expected[1]).max() <= OF_TIGHT


@pytest.mark.eq("28.1")
def test_a_zero_at_the_first_time_is_an_event_if_what_follows_fits_its_direction():
    def thrown(direction, velocity):
        found = solve(Ball(), [0.0, velocity], [0.0, 3.0], [2.0], event=Height(direction=direction))
        return found.t_event, found.t.tolist(), found.ys.tolist()
    for direction, velocity in ((0, 1.0), (0, -1.0), (1, 1.0), (-1, -1.0)):
        assert thrown(direction, velocity) == (0.0, [0.0], [[0.0, velocity]])
    assert abs(thrown(-1, 1.0)[0] - 1.0) <= ROUND_OFF
    assert thrown(1, -1.0)[0] is None
    at_rest = solve(Ball(), [0.0, 0.0], [1.0, 3.0], [0.0], event=Height(direction=-1))
    assert at_rest.t_event == 1.0 and at_rest.t.tolist() == [1.0]         # as SciPy's: 0, and then 0, is falling too


@pytest.mark.parametrize("method", ["midpoint", "rk4", "dopri5"])
@pytest.mark.parametrize("end", [1.5, 3.0, 30.0])
def test_a_ball_thrown_up_from_the_ground_lands_though_one_step_sees_it_up_and_down(method, end):
    """It is in the air for 1 s: g just after the start tells that it rises, however long the first step."""
    found = solve(Ball(), [0.0, 1.0], [0.0, end], [2.0], event=Height(), method=method)
    assert abs(found.t_event - 1.0) <= 10 * ROUND_OFF


@pytest.mark.eq("28.1")
@pytest.mark.parametrize("sign", [1, -1])
def test_of_several_zeros_in_one_step_the_first_that_fits_is_taken(sign):
    """One step of rk4 over 3 periods of g, whose ends have one sign; 28.1's pairs are an eighth of it apart."""
    class Wave(Event):
        def __call__(self, t, y, theta):
            return float(np.cos(2 * np.pi * (sign * t - 0.2)))

    for Wave.direction, expected in ((0, 0.45), (-1, 0.45), (1, 0.95)):
        found = solve(lambda t, y: 0 * y, [1.0], [0.0, sign * 3.0], event=Wave(), method="rk4")
        assert abs(sign * found.t_event - expected) <= ROUND_OFF and found.stats.n_accepted == 1


def test_two_zeros_within_an_eighth_of_a_step_are_not_seen_as_the_page_says():
    for centre, is_seen in ((0.5, True), (0.5 + 0.5 / PIECES, False)):
        found = solve(lambda t, y: 0 * y, [1.0], [0.0, 1.0], method="rk4",
                      event=lambda t, y, theta: (t - centre) ** 2 - (0.2 / PIECES) ** 2)
        assert (found.t_event is not None) == is_seen


def test_an_event_at_an_output_or_at_the_end_of_a_step_is_not_repeated():
    for method in ("rk4", "dopri5"):
        found = solve(Linear(1), [1.0], [0.0, 0.5, 1.0, 2.0], [1.0], event=lambda t, y, theta: t - 1.0, method=method)
        assert found.t.tolist() == [0.0, 0.5, 1.0] and found.t_event == 1.0 and found.ys.shape == (3, 1)
    last = solve(Linear(1), [1.0], [0.0, 1.0], [1.0], event=lambda t, y, theta: t - 1.0)
    assert last.t.tolist() == [0.0, 1.0] and last.t_event == 1.0
    assert np.array_equal(last.ys, solve(Linear(1), [1.0], [0.0, 1.0], [1.0]).ys)
    repeated = solve(Linear(1), [1.0], [0.0, 0.0, 1.0, 1.0, 2.0], [1.0], event=lambda t, y, theta: t - 1.5)
    assert repeated.t.tolist() == [0.0, 0.0, 1.0, 1.0, 1.5]


def test_a_solve_of_one_time_has_no_event():
    found = solve(Linear(1), [1.0], [0.0], [1.0], event=lambda t, y, theta: 0.0)
    assert found.t_event is None and found.ys.tolist() == [[1.0]]


@pytest.mark.parametrize("method", ["dopri5", "rk4", "dop853", "trbdf2", "reversible_heun"])
def test_until_the_event_the_solve_is_the_one_without(method):
    """The same steps, and the state between them; an event that never comes changes nothing."""
    t, A = np.linspace(0.0, 6.0, 13), [0.0, 1.0, -1.0, -0.1]
    whole = solve(Linear(2), [1.0, 0.0], t, A, method=method)
    found = solve(Linear(2), [1.0, 0.0], t, A, method=method, event=Height(direction=1))
    n = len(found.t) - 1
    assert 0 < n < len(t) and np.array_equal(found.ys[:n], whole.ys[:n])
    inside = np.linspace(0.0, found.t_event, 7)
    assert np.abs(found.interpolate(inside) - whole.interpolate(inside)).max() <= ROUND_OFF
    assert np.array_equal(found.interpolate(found.t_event), found.ys[-1])
    with pytest.raises(ValueError, match="t must lie between 0.0 and"):
        found.interpolate(6.0)
    assert np.array_equal(odeint(Linear(2), [1.0, 0.0], t, A, method=method, event=Height(direction=1)), found.ys)
    never = solve(Linear(2), [1.0, 0.0], t, A, method=method, event=Height(9.0))
    assert never.t_event is None and np.array_equal(never.ys, whole.ys) and np.array_equal(never.t, t)
    assert whole.t_event is None


def test_a_solution_with_an_event_can_be_copied_and_pickled():
    found = solve(Ball(), [2.0, 3.0], [0.0, 3.0], [9.81], event=Height())
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert again.t_event == found.t_event and np.array_equal(again.interpolate(0.3), found.interpolate(0.3))
    assert pickle.loads(pickle.dumps(solve)) is solve and minode.solve is solve


def test_without_theta_and_in_float32():
    plain = solve(lambda t, y: -y, [1.0], [0.0, 5.0], event=lambda t, y, theta: y[0] - 0.5 if theta is None else 1 / 0)
    assert abs(plain.t_event - np.log(2)) <= 1e-5
    single = solve(lambda t, y: -y, np.ones(1, np.float32), [0.0, 5.0], event=lambda t, y, theta: y[0] - 0.5)
    assert abs(single.t_event - np.log(2)) <= 1e-5 and single.ys.dtype == np.float32


def test_an_event_whose_value_is_not_finite_is_a_solver_error_with_what_was_solved():
    with pytest.raises(SolverError, match="event is not finite at t = 0.0, but nan"):
        solve(Linear(1), [1.0], [0.0, 1.0], [1.0], event=lambda t, y, theta: np.nan)
    with pytest.raises(SolverError, match="event is not finite at t") as caught:
        solve(Linear(1), [1.0], [0.0, 1.0, 2.0], [1.0], method="rk4",
              event=lambda t, y, theta: 1.0 if t < 1.5 else np.inf)
    assert caught.value.solution.t.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("g, bracket, expected, calls", [
    (lambda x: x**3 - 2, (1.0, 2.0), 2 ** (1 / 3), 7), (np.cos, (1.0, 2.0), np.pi / 2, 7),
    (lambda x: np.exp(x) - 1e5, (0.0, 20.0), np.log(1e5), 13), (lambda x: (x - 0.3) ** 3, (0.0, 1.0), 0.3, 60),
    (lambda x: np.sign(x - 0.3), (0.0, 1.0), 0.3, 60), (lambda x: x - 1e-9, (0.0, 0.125), 1e-9, 5),
    (lambda x: 1e-200 * (x - 0.7), (0.0, 1.0), 0.7, 5), (lambda x: x - 0.25, (0.0, 0.25), 0.25, 0),
    (lambda x: x - 0.25, (0.25, 1.0), 0.25, 0)])
@pytest.mark.eq("28.2")
def test_the_zero_in_a_bracket_is_found_to_rounding_in_few_calls(g, bracket, expected, calls):
    def counted(x):
        visited.append(x)
        assert len(visited) <= calls                         # at once: a wrong step may never end
        return g(x)

    for a, b in (bracket, bracket[::-1]):
        visited = []
        assert abs(zero(counted, a, b, g(a), g(b)) - expected) <= 4 * U * max(abs(a), abs(b))


@pytest.mark.eq("28.2")
def test_the_quadratic_through_three_points_is_exact_for_one():
    g = np.array([-0.7, 0.4, 1.3])
    a, b, c = 0.3 + 0.9 * g + 0.2 * g**2
    assert abs(zero_of_quadratic(a, b, c, *g) - 0.3) <= 4 * U


# -- the gradient -------------------------------------------------------------------------------


def loss_of(weights, with_time):
    """A loss that sees all outputs, the state at the event and its time: as a value, and as the package wants it."""
    def value(ys, t_event):
        return np.sum(weights[:len(ys)] * np.sin(ys)) + with_time * np.exp(0.3 * t_event)

    def loss(ys, t_event):
        return (value(ys, t_event), weights[:len(ys)] * np.cos(ys), with_time * 0.3 * np.exp(0.3 * t_event))
    return value, loss


def on_frozen_steps(value, f, y0, t, theta, event, solver):
    """L as a function of y0 and θ, complex or not, through the steps that were accepted for the real ones.

    The zero is found by Newton's method with differences of the polynomial, from the real one.
    """
    stop = Stop(event, theta, event.direction)
    first = run(f, y0, t, theta, [], until=stop, exactly=True, **solver)
    grid, outputs = [*(step[0] for step in first.tape), stop.t_new], first.solution.t[:-1]
    method, dense = first.method, dense_output(first.method)

    def of(y0, theta):
        done = run(f, y0, outputs, theta, tape := [], grid=grid, method=method)
        t_n, h, y, hK = tape[-1]
        hK = all_increments(lambda t, y: f(t, y, theta), dense, t_n, h, y, hK)

        def at(sigma):
            return t_n + sigma * h, y + (dense.P @ sigma ** np.arange(1, dense.P.shape[1] + 1)) @ hK
        sigma = (stop.t - t_n) / h + 0j
        for _ in range(4):
            t_e, y_e = at(sigma)
            g_t, g_y, _ = event.gradient(t_e, y_e, theta)
            m = np.arange(1, dense.P.shape[1] + 1)
            slope = (dense.P @ (m * sigma ** (m - 1))) @ hK / h
            sigma = sigma - event(t_e, y_e, theta) / (h * (g_t + g_y @ slope))
        t_e, y_e = at(sigma)
        return value(np.concatenate([done.solution.ys[:len(outputs)], y_e[None]]), t_e)
    return of, first.solution


NETWORK = MLP([3, 4, 2], ["tanh", "identity"])
PROBLEMS = {                                                # field, y0, θ, event, t, with the event well inside
    "network": (NETWORK, np.array([0.9, -0.7]), NETWORK.init(np.random.default_rng(3)), Curved(0.9, 0.5)),
    "van der Pol": (VanDerPol(), np.array([1.0, 0.5]), np.array([0.8]), Curved(0.24)),
    "ball": (Ball(), np.array([2.0, 3.0]), np.array([9.81]), Height(0.3)),
}
T = np.array([0.0, 0.2, 0.45, 0.7, 1.6])
WEIGHTS = np.random.default_rng(1).normal(size=(5, 2))
WIDE = {"rtol": 1e-2, "atol": 1e-2}
SOLVERS = [*({"method": name} for name in [*EXPLICIT, *IMPLICIT]),
           *({"method": name, "step_size": 0.11} for name in ("rk4", "dopri5"))]


def sizes_of(solver):
    """What counts as small: with 0 an explicit method takes its steps back one by one. An implicit one never asks."""
    return (discrete.SMALL, 0) if methods[solver["method"]].is_explicit else (discrete.SMALL,)


@pytest.mark.eq("28.3", "28.4", "28.5")
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_the_gradient_is_the_complex_step_through_the_accepted_steps(problem, solver, monkeypatch):
    f, y0, theta, event = PROBLEMS[problem]
    solver = solver | ({"rtol": 1e-3, "atol": 1e-4} if "step_size" not in solver else {})
    value, loss = loss_of(WEIGHTS, 0.7)
    of, solution = on_frozen_steps(value, f, y0, T, theta, event, solver)
    L_there, rng = of(y0 + 0j, theta + 0j), np.random.default_rng(2)
    dy0, dtheta = rng.normal(size=y0.shape), rng.normal(size=theta.shape)                # through every entry
    change = np.imag(of(y0 + 1j * STEP * dy0, theta + 1j * STEP * dtheta)) / STEP
    for small in sizes_of(solver):
        monkeypatch.setattr(discrete, "SMALL", small)
        for route in ROUTES:
            L, gradients = value_and_gradients(loss, f, y0, T, theta, event=event, gradient=route, **solver)
            assert abs(L - L_there) <= OF_GRADIENT * abs(L)
            terms = np.concatenate([gradients.y0 * dy0, gradients.theta * dtheta])
            assert abs(terms.sum() - change) <= OF_GRADIENT * np.abs(terms).sum()


def only_the_time(ys, t_event):
    return t_event, 0 * ys, 1.0


@pytest.mark.eq("28.4", "28.5")
@pytest.mark.parametrize("gradient", [*ROUTES, "backsolve"])
def test_how_the_time_of_a_decay_depends_on_its_rate_its_start_and_the_threshold(gradient):
    """t_e = ln(y0 / c) / k for y' = −k y, by a c that is part of θ too."""
    class Decay(VectorField):
        dim, n_params = 1, 2

        def __call__(self, t, y, theta):
            return -theta[0] * y

        def jacobian(self, t, y, theta):
            return -theta[0] + 0 * y[..., None]

        def param_jacobian(self, t, y, theta):
            return np.stack([-y, 0 * y], axis=-1)

        def time_derivative(self, t, y, theta):
            return 0 * y

    class Threshold(Event):
        def __call__(self, t, y, theta):
            return y[0] - theta[1]

        def gradient(self, t, y, theta):
            return 0.0, np.ones(1), np.array([0.0, -1.0])

    k, c, y0 = 0.7, 0.4, 3.0
    t_e = np.log(y0 / c) / k
    value, gradients = value_and_gradients(only_the_time, Decay(), [y0], [0.0, 9.0], [k, c], event=Threshold(),
                                           gradient=gradient, **TIGHT)
    assert abs(value - t_e) <= OF_TIGHT
    assert np.abs(gradients.theta - [-t_e / k, -1 / (k * c)]).max() <= 10 * OF_TIGHT
    assert abs(gradients.y0[0] - 1 / (k * y0)) <= OF_TIGHT


@pytest.mark.eq("28.4", "28.5")
@pytest.mark.parametrize("gradient", [*ROUTES, "backsolve"])
@pytest.mark.parametrize("method", ["midpoint", "dopri5"])
def test_how_the_time_and_the_speed_of_a_fall_depend_on_gravity_and_the_throw(gradient, method):
    """s² = v² + 2 g h; t_e = (v + s) / g, and the speed there −s: exact on a parabola, to round-off."""
    g, h, v = 9.81, 2.0, 3.0
    s = np.sqrt(v**2 + 2 * g * h)
    ds = np.array([h / s, g / s, v / s])                     # along g, h, v
    dt = (np.array([0, 0, 1]) + ds) / g - np.array([(v + s) / g**2, 0, 0])
    for weights in ((1.0, 0.0), (0.0, 1.0), (0.3, -2.0)):
        def loss(ys, t_event):
            dL_dys = np.zeros_like(ys)
            dL_dys[-1, 1] = weights[1]
            return weights[0] * t_event + weights[1] * ys[-1, 1], dL_dys, weights[0]
        _, found = value_and_gradients(loss, Ball(), [h, v], [0.0, 0.7, 3.0], [g], event=Height(), gradient=gradient,
                                       method=method)
        expected = weights[0] * dt - weights[1] * ds
        assert np.abs(np.concatenate([found.theta, found.y0]) - expected).max() <= 100 * ROUND_OFF


@pytest.mark.parametrize("method", ["dopri5", "reversible_heun"])
def test_backsolve_comes_near_the_exact_gradient(method):
    f, y0, theta, event = PROBLEMS["network"]
    _, loss = loss_of(WEIGHTS, 0.7)
    fine = dict(TIGHT) if method == "dopri5" else dict(method=method, step_size=1e-3)
    exact = value_and_gradients(loss, f, y0, T, theta, event=event, **TIGHT)[1]
    near = value_and_gradients(loss, f, y0, T, theta, event=event, gradient="backsolve", **fine)[1]
    for got, expected in zip(near, exact):
        assert np.abs(got - expected).max() <= (OF_TIGHT if method == "dopri5" else 1e-5) * np.abs(expected).max()


@pytest.mark.parametrize("solver", [{}, {"method": "rk4"}, {"method": "dop853", "rtol": 1e-3}], ids=str)
def test_an_event_at_a_fixed_time_is_an_output_there(solver):
    """g = t − T: κ g_y = 0, and the gradient is that of the output, beyond which the steps go on."""
    class At(Event):
        def __call__(self, t, y, theta):
            return t - 1.1

        def gradient(self, t, y, theta):
            return 1.0, np.zeros(2), np.zeros_like(theta)

    f, y0, theta, _ = PROBLEMS["network"]
    times, weights = np.array([0.0, 0.2, 0.45, 0.7, 1.1, 1.6]), np.random.default_rng(2).normal(size=(5, 2))

    def loss(ys, *t_event):
        dL_dys = np.zeros_like(ys)
        dL_dys[:5] = weights
        return (np.sum(weights * ys[:5]), dL_dys, *[0.0] * len(t_event))
    L, found = value_and_gradients(loss, f, y0, times, theta, event=At(), **solver)
    L_2, expected = value_and_gradients(loss, f, y0, times, theta, **solver)
    assert abs(L - L_2) <= ROUND_OFF * abs(L)
    for got, right in zip(found[:2], expected):
        assert np.abs(got - right).max() <= OF_GRADIENT * np.abs(right).max()


@pytest.mark.parametrize("gradient", [*ROUTES, "backsolve"])
def test_the_gradient_in_the_times_is_that_of_the_times_handed_in(gradient):
    """y = e^{−(t − t₀)}, down to c: L = y(t_1) + 3 t_e. The times after the event have no say."""
    t = np.array([0.5, 1.0, 4.0, 5.0])
    t_e = 0.5 + np.log(1 / 0.3)

    def loss(ys, t_event):
        assert np.abs(ys[:, 0] - np.exp(0.5 - np.array([0.5, 1.0, t_e]))).max() <= OF_TIGHT
        return ys[1, 0] + 3 * t_event, np.array([[0.0], [1.0], [0.0]]), 3.0
    value, found = value_and_gradients(loss, Linear(1), [1.0], t, [-1.0], event=Height(0.3), gradient=gradient, **TIGHT)
    y_1 = np.exp(-0.5)
    assert abs(value - (y_1 + 3 * t_e)) <= OF_TIGHT
    assert np.abs(found.t - [y_1 + 3, -y_1, 0.0, 0.0]).max() <= OF_TIGHT and np.abs(found.t[2:]).max() <= ROUND_OFF
    again = value_and_gradients(loss, Linear(1), [1.0], t, [-1.0], event=Height(0.3), gradient=gradient, times=False,
                                **TIGHT)[1]
    assert again.t is None and np.array_equal(again.theta, found.theta)


def on_moved_ends(value, f, y0, theta, event, solver):
    """L as a function of the times: those of a fixed grid, or the accepted steps with the ends moved that move with t."""
    def of_grid(t):
        found = solve(f, y0, t, theta, event=event, **solver)
        return value(found.ys, found.t_event)

    def of_span(t, t_0, steps):
        ends = t_0[[0, -1]] if methods[solver["method"]].is_explicit else t_0    # an implicit method steps to each output
        moved = dict(zip(t_0, t))
        grid = [moved[end] if end in ends else end for end in steps]
        stop = Stop(event, theta, event.direction)
        found = run(f, y0, t, theta, grid=grid, until=stop, method=solver["method"]).solution
        return value(found.ys, stop.t)
    if "step_size" in solver or methods[solver["method"]].b_hat is None:
        return of_grid
    stop = Stop(event, theta, event.direction)
    first = run(f, y0, T, theta, [], until=stop, exactly=True, **solver)
    steps = [*(step[0] for step in first.tape), stop.t_new]
    return lambda t: of_span(t, T, steps)


@pytest.mark.parametrize("solver, problem", [(solver, problem) for problem in ("network", "ball")
                                             for solver in [*SOLVERS, {"method": "dopri5", **WIDE, "first_step": 3.0}]
                                             if problem == "network" or solver["method"] in EXPLICIT], ids=str)
def test_the_gradient_in_the_times_is_that_of_the_numbers_computed(problem, solver, monkeypatch):
    """By differences of order four along a direction, also of the times behind the event that end a step."""
    f, y0, theta, event = PROBLEMS[problem]
    solver = solver | ({"rtol": 1e-3, "atol": 1e-4} if "step_size" not in solver and "rtol" not in solver else {})
    value, loss = loss_of(WEIGHTS, 0.7)
    of = on_moved_ends(value, f, y0, theta, event, solver)
    direction = np.random.default_rng(3).uniform(-1.0, 1.0, len(T))                # in which every time moves
    one, two = (of(T + n * MOVE * direction) - of(T - n * MOVE * direction) for n in (1, 2))
    expected = (8 * one - two) / (12 * MOVE)
    for small in sizes_of(solver):
        monkeypatch.setattr(discrete, "SMALL", small)
        for route in ROUTES:
            found = value_and_gradients(loss, f, y0, T, theta, event=event, gradient=route, **solver)[1].t
            assert abs(direction @ found - expected) <= OF_DIFFERENCES * max(1.0, abs(expected))


@pytest.mark.parametrize("route", ROUTES)
def test_an_event_at_the_very_end_of_a_step_stays_there_when_the_end_moves(route):
    """y' = 1 by one step from 0 to 1, the event y = 1 at its end: t_e is 1 + t_0, whatever the end."""
    class Rises(Linear):
        def __call__(self, t, y, theta):
            return 1.0 + 0 * y

        def jacobian(self, t, y, theta):
            return 0 * y[..., None]

        def param_jacobian(self, t, y, theta):
            return 0 * y[..., None]

        def time_derivative(self, t, y, theta):
            return 0 * y
        vjp, jvp, value_and_vjp = VectorField.vjp, VectorField.jvp, VectorField.value_and_vjp
    value, found = value_and_gradients(only_the_time, Rises(1), [0.0], [0.0, 1.0, 2.0], [0.0], event=Height(1.0, 0),
                                       gradient=route, method="rk4")
    assert value == 1.0 and np.abs(found.t - [1.0, 0.0, 0.0]).max() <= ROUND_OFF


@pytest.mark.parametrize("gradient", [*ROUTES, "backsolve"])
def test_without_the_event_it_is_the_gradient_of_a_solve_without_one(gradient):
    f, y0, theta, _ = PROBLEMS["network"]

    def loss(ys, *t_event):
        assert t_event in ((), (None,)) and ys.shape == (5, 2)
        return (np.sum(WEIGHTS * ys), WEIGHTS, *[last] * len(t_event))
    for last in (None, 0.0):
        _, found = value_and_gradients(loss, f, y0, T, theta, event=Height(9.0), gradient=gradient)
        _, expected = value_and_gradients(loss, f, y0, T, theta, gradient=gradient)
        for got, right in zip(found, expected):
            assert np.abs(got - right).max() <= 10 * ROUND_OFF
    last = 1.0
    with pytest.raises(ValueError, match="dL_dt_event must be 0 or None if no event came"):
        value_and_gradients(loss, f, y0, T, theta, event=Height(9.0), gradient=gradient)


@pytest.mark.eq("28.5")
def test_a_loss_that_sees_theta_adds_its_own_derivative():
    f, y0, theta, event = PROBLEMS["network"]
    _, loss = loss_of(WEIGHTS, 0.7)
    alone = value_and_gradients(loss, f, y0, T, theta, event=event)[1]
    both = value_and_gradients(loss, f, y0, T, theta, event=event, dL_dtheta=theta)[1]
    assert np.abs(both.theta - alone.theta - theta).max() <= ROUND_OFF and np.array_equal(both.y0, alone.y0)


class Touch(Event):
    """(y − 1)³ on y = t: it passes zero at the rate zero."""

    def __call__(self, t, y, theta):
        return (y[0] - 1.0) ** 3

    def gradient(self, t, y, theta):
        return 0.0, np.array([3 * (y[0] - 1.0) ** 2]), np.zeros_like(theta)


@pytest.mark.parametrize("gradient", [*ROUTES, "backsolve"])
def test_an_event_that_grazes_is_found_but_has_no_derivative_and_says_so(gradient):
    class Rises(Linear):
        def __call__(self, t, y, theta):
            return 1.0 + 0 * y
    assert abs(solve(Rises(1), [0.0], [0.0, 3.0], [0.0], event=Touch()).t_event - 1.0) <= 1e-5
    with pytest.raises(SolverError, match="the event grazes: at t = .* and its time has no derivative"):
        value_and_gradients(only_the_time, Rises(1), [0.0], [0.0, 3.0], [0.0], event=Touch(), gradient=gradient)
    peak = 3.0**2 / (2 * 9.81)                               # a ball that just reaches a height
    for dip in (0.0, 1e-15, 1e-14):
        case = (Ball(), [0.0, 3.0], [0.0, 0.55], [9.81])
        top = Height(peak - dip, direction=0)
        if solve(*case, event=top).t_event is not None:
            with pytest.raises(SolverError, match="the event grazes"):
                value_and_gradients(only_the_time, *case, event=top, gradient=gradient)


def test_an_event_at_the_first_time_has_no_derivative():
    with pytest.raises(SolverError, match="the event is at the first time, t = 0.0"):
        value_and_gradients(only_the_time, Ball(), [0.0, -3.0], [0.0, 1.0], [9.81], event=Height())


# -- what is refused ------------------------------------------------------------------------------

Y0, A = [1.0, 0.0], [0.0, 1.0, -1.0, 0.0]


class Jumps(Linear):
    tstops = (0.5,)


def refused(error, message, y0=Y0, f=None, event=None, **solver):
    event = Height(direction=0) if event is None else event
    with pytest.raises(error, match=message):
        solve(f or Linear(2), y0, [0.0, 2.0], A, event=event, **solver)
    with pytest.raises(error, match=message):
        odeint(f or Linear(2), y0, [0.0, 2.0], A, event=event, **solver)
    if not isinstance(y0, tuple) and not np.iscomplexobj(y0) and np.shape(y0):
        with pytest.raises(error, match=message):
            value_and_gradients(only_the_time, f or Linear(2), y0, [0.0, 2.0], A, event=event, **solver)


def test_what_is_no_event_is_refused_by_name():
    refused(TypeError, "event must be one Event, or another function .* not the class Height itself", event=Height)
    refused(TypeError, "event must be one Event, .* not a list", event=[Height()])
    refused(TypeError, "event must be one Event, .* not a float", event=0.5)
    for direction in (2, "up", None, np.nan):
        refused(ValueError, "event.direction must be 0, 1 \\(rising\\) or -1", event=Height(direction=direction))
    refused(NotImplementedError, "Event must define __call__", event=Event())


def test_what_an_event_returns_is_refused_if_it_is_no_number():
    def returning(answer):
        event = Height()
        return type("Returns", (Height,), {"__call__": lambda self, t, y, theta: answer})()
    refused(ValueError, r"event must return a number, not an array of shape \(1,\)", event=returning(np.ones(1)))
    refused(TypeError, "event must return a real number, not a complex one", event=returning(1j))
    refused(TypeError, "what event returns must be an array of numbers, not None", event=returning(None))
    for answer in (1, np.float32(1.0), np.array(1.0), True):
        assert solve(Linear(2), Y0, [0.0, 2.0], A, event=returning(answer)).t_event is None


def test_one_that_writes_into_what_it_is_given_is_stopped():
    def event(t, y, theta):
        y[0] = 5.0
        return y[0]
    with pytest.raises(ValueError, match="read-only"):
        solve(Linear(2), Y0, [0.0, 2.0], A, event=event)


def test_states_and_solves_without_events_are_refused_by_name():
    refused(ValueError, r"event needs one trajectory, y0 of shape \(d,\), not \(3, 2\)", y0=np.ones((3, 2)))
    refused(ValueError, r"event needs one trajectory, y0 of shape \(d,\), not a tuple", y0=(np.ones(2), np.ones(2)))
    refused(ValueError, r"event needs one trajectory, y0 of shape \(d,\), not \(\)", y0=1.0)
    refused(TypeError, "y0 of a solve with an event must be real", y0=np.array([1.0, 1j]))
    refused(ValueError, "event does not go with per_trajectory", per_trajectory=True)
    refused(ValueError, "event does not go with tstops", tstops=[0.5])
    refused(ValueError, "event does not go with tstops, nor with a field that has some", f=Jumps(2))
    refused(TypeError, "unknown keyword 'rtool'", rtool=1.0)


def gradients_with(event=None, loss=only_the_time, **keywords):
    return value_and_gradients(loss, Linear(2), Y0, [0.0, 2.0], A, event=event or Height(), **keywords)


def test_routes_and_losses_that_do_not_go_with_an_event_are_refused_by_name():
    with pytest.raises(ValueError, match="event goes with gradient='discrete', 'checkpoint' or .*, not 'interpolate'"):
        gradients_with(gradient="interpolate")
    for gradient in ("discrete", "reversible"):
        with pytest.raises(ValueError, match="event goes with"):
            gradients_with(gradient=gradient, method="reversible_heun")
    with pytest.raises(ValueError, match="gradient='backsolve' does not go through trbdf2"):
        gradients_with(method="trbdf2", gradient="backsolve")
    with pytest.raises(ValueError, match="unknown gradient 'adjoint'"):
        gradients_with(gradient="adjoint")
    with pytest.raises(TypeError, match=r"event must have gradient\(t, y, theta\)"):
        gradients_with(event=lambda t, y, theta: y[0])
    with pytest.raises(NotImplementedError, match="must define gradient"):
        gradients_with(event=type("Plain", (Event,), {"__call__": lambda self, t, y, theta: y[0]})())
    with pytest.raises(TypeError, match=r"loss must return \(L, dL_dys, dL_dt_event\), not a tuple of 2"):
        gradients_with(loss=lambda ys, t_event: (1.0, 0 * ys))
    with pytest.raises(TypeError, match=r"loss must be callable as loss\(ys, t_event\)"):
        gradients_with(loss=3.0)
    with pytest.raises(ValueError, match="dL_dt_event must have shape"):
        gradients_with(loss=lambda ys, t_event: (1.0, 0 * ys, np.ones(2)))
    with pytest.raises(ValueError, match=r"dL_dys must have shape \(2, 2\)"):
        gradients_with(loss=lambda ys, t_event: (1.0, ys[0], 1.0))
    with pytest.raises(ValueError, match="backward is for gradient='backsolve'"):
        gradients_with(backward={"rtol": 1e-3})


@pytest.mark.parametrize("answer, error, message", [
    (1.0, TypeError, r"event.gradient must return \(g_t, g_y, g_theta\), not float"),
    ((0.0, np.ones(2)), TypeError, "not a tuple of 2"),
    ((np.ones(1), np.ones(2), np.ones(4)), ValueError, r"g_t of event.gradient must have shape \(\)"),
    ((0.0, np.ones(3), np.ones(4)), ValueError, r"g_y of event.gradient must have shape \(2,\), not \(3,\)"),
    ((0.0, np.ones(2), 0.0), ValueError, r"g_theta of event.gradient must have shape \(4,\), not \(\)"),
    ((0.0, np.array([np.nan, 1.0]), np.ones(4)), ValueError, "g_y of event.gradient must be finite")])
def test_what_the_gradient_of_an_event_returns_is_refused_if_it_does_not_fit(answer, error, message):
    with pytest.raises(error, match=message):
        gradients_with(event=type("Wrong", (Height,), {"gradient": lambda self, t, y, theta: answer})())


def test_functions_that_know_of_no_events_say_so():
    calls = [lambda: pushforward(Linear(2), Y0, [0.0, 1.0], A, event=Height()),
             lambda: pullback(Linear(2), Y0, [0.0, 1.0], A, Y0, event=Height()),
             lambda: hessian_vector_product(None, Linear(2), Y0, [0.0, 1.0], A, Y0, A, event=Height())]
    for call in calls:
        with pytest.raises(TypeError, match="unknown keyword 'event'|loss must be callable"):
            call()


class Threshold(Event):
    """A weighted sum of the components in a unit of their own, and a clock, all in any unit."""

    def __init__(self, unit, **wrong):
        self.unit, self.wrong = unit, wrong

    def __call__(self, t, y, theta):
        return y[0] + 3 * y[1] + self.unit * (np.sin(t) + theta[1] ** 2 - 2.5)

    def gradient(self, t, y, theta):
        right = {"g_t": self.unit * np.cos(t), "g_y": np.array([1.0, 3.0]),
                 "g_theta": self.unit * np.array([0.0, 2 * theta[1], 0.0, 0.0])}
        return tuple(self.wrong.get(name, lambda part: part)(part) for name, part in right.items())


class Cancels(Height):
    """One whose terms are a million times what is left of them near the event."""

    def __call__(self, t, y, theta):
        return 1e6 * np.exp(np.sin(3 * y[0])) - 1e6 * np.exp(np.sin(3 * self.height))

    def gradient(self, t, y, theta):
        return 0.0, np.array([3e6 * np.cos(3 * y[0]) * np.exp(np.sin(3 * y[0])), 0.0]), np.zeros_like(theta)


@pytest.mark.parametrize("event, unit, comes, solver", [
    (Cancels(0.3, 0), 1.0, True, dict(method="heun")), (Curved(0.5), 1.0, True, {}),
    (Curved(100.0), 1.0, False, dict(method="euler")), (Height(0.5), 1.0, True, dict(method="radau5", step_size=0.5)),
    (Threshold(1.0), 1.0, True, dict(method="heun")), (Threshold(1e-10), 1e-10, True, dict(method="heun")),
    (Threshold(1e9), 1e9, True, dict(method="heun"))],
    ids=["cancels", "curved", "never", "height", "threshold", "tiny", "huge"])
def test_the_right_gradient_of_an_event_passes_the_check_whether_it_comes_or_not(event, unit, comes, solver):
    y0, t, theta = np.array([1.0, 0.3]) * unit, [0.0, 1.0, 2.0], np.array([0.1, -2.0, 2.0, 0.05])
    assert (solve(Linear(2), y0, t, theta, event=event, **solver).t_event is not None) == comes
    report = minode.check_gradients(Linear(2), y0, t, theta, event=event, **solver)
    assert [row.what for row in report][-3:] == ["g_t, event.gradient", "g_y, event.gradient", "g_θ, event.gradient"]
    assert all(row.ok for row in report)
    solution = solve(Linear(2), y0, t, theta, event=event, **solver)
    assert report[:-3] == minode.check_gradients(Linear(2), y0, solution.t, theta, **solver)


class Explodes(VectorField):
    """y' = θ y², which ends at t = 1 for θ = y₀ = 1."""

    dim = n_params = 1

    def __call__(self, t, y, theta):
        return theta * y**2

    def jacobian(self, t, y, theta):
        return 2 * theta * y[..., None]

    def param_jacobian(self, t, y, theta):
        return y[..., None] ** 2

    def time_derivative(self, t, y, theta):
        return 0 * y


def test_the_check_ends_at_the_event_where_the_solution_goes_on_to_infinity():
    report = minode.check_gradients(Explodes(), [1.0], [0.0, 5.0], [1.0], event=Height(4.0, direction=1))
    assert all(row.ok for row in report)


@pytest.mark.parametrize("y_0", [0.5, 0.8])
def test_an_event_is_compared_where_it_comes_and_not_elsewhere(y_0):
    class Wrong(Height):
        def gradient(self, t, y, theta):                       # only near y_0
            g_t, g_y, g_theta = super().gradient(t, y, theta)
            return g_t, g_y * (2.0 if abs(y[0] - y_0) < 0.1 else 1.0), g_theta
    theta, is_accused = np.array([-1.0]), y_0 == 0.5
    try:
        minode.check_gradients(Linear(1), [1.0], [0.0, 3.0], theta, event=Wrong(0.5), method="rk4", step_size=0.1)
    except AssertionError as error:
        assert is_accused and "g_y of (28.4) and (28.5) is wrong: entry (0, 0) is 2, " in str(error)
    else:
        assert not is_accused


def test_an_event_in_single_precision_lists_and_with_an_overflow_can_be_checked():
    class Smooth(Height):
        def __call__(self, t, y, theta):
            return np.float64(y[0] - self.height + np.exp(-np.exp(y[0] * 1e3)))     # e^1000 overflows, and adds 0
    y0, theta = np.array([1.0, 0.3], np.float32), [0.1, -2.0, 2.0, 0.05]
    for solver in (dict(method="trbdf2"), dict(method="heun", step_size=0.1)):
        assert all(row.ok for row in minode.check_gradients(Linear(2), y0, [0, 2], theta, event=Height(0.5), **solver))
    assert all(row.ok for row in minode.check_gradients(Linear(2), [1.0, 0.3], [0, 2], theta, event=Smooth(0.8)))


def test_an_event_that_has_no_value_beside_a_state_cannot_be_compared_and_f_is_not_blamed():
    class Edge(Height):
        def __call__(self, t, y, theta):
            return y[0] - self.height if theta[0] == 0.1 else np.nan
    with pytest.raises(AssertionError, match="g_θ of .28.5. cannot be compared: there are no finite values on either side"):
        minode.check_gradients(Linear(2), [1.0, 0.3], [0.0, 2.0], [0.1, -2.0, 2.0, 0.05], event=Edge(0.5), method="heun")


@pytest.mark.parametrize("unit", [1.0, 1e-10, 1e9])
@pytest.mark.parametrize("name, mistake, words", [
    ("g_t", lambda part: -part, "g_t of (28.4) has the wrong sign"),
    ("g_t", lambda part: 0.0, "g_t of (28.4) is missing: it is zero"),
    ("g_y", lambda part: part[::-1], "g_y of (28.4) and (28.5) is wrong: entry (0, "),
    ("g_y", lambda part: 0 * part, "g_y of (28.4) and (28.5) is missing: it is zero"),
    ("g_y", lambda part: part * [1.0, 1 + 1e-6], "g_y of (28.4) and (28.5) is wrong: entry (0, 1) is 3.000003, "),
    ("g_theta", lambda part: 2 * part, "g_θ of (28.5) is wrong: entry (0, 1) is "),
    ("g_theta", lambda part: -part, "g_θ of (28.5) has the wrong sign")],
    ids=["sign of g_t", "no g_t", "g_y turned round", "no g_y", "a millionth in g_y", "twice g_θ", "sign of g_θ"])
def test_a_wrong_gradient_of_an_event_is_named_by_the_check_in_any_unit(unit, name, mistake, words):
    y0, theta = np.array([1.0, 0.3]) * unit, np.array([0.1, -2.0, 2.0, 0.05])
    with pytest.raises(AssertionError) as caught:
        minode.check_gradients(Linear(2), y0, [0.0, 1.0], theta, event=Threshold(unit, **{name: mistake}), method="rk4")
    assert f"event.gradient: {words}" in str(caught.value) and str(caught.value).count("NO") == 1


def test_a_check_with_what_is_no_event_or_has_no_gradient_is_refused_by_name():
    def call(event, y0=Y0, **solver):
        return minode.check_gradients(Linear(2), y0, [0.0, 2.0], A, event=event, **solver)
    with pytest.raises(TypeError, match=r"event must have gradient\(t, y, theta\) .* but function has none"):
        call(lambda t, y, theta: y[0])
    with pytest.raises(TypeError, match="not the class Height itself"):
        call(Height)
    with pytest.raises(ValueError, match="event needs one trajectory"):
        call(Height(), np.ones((3, 2)))
    with pytest.raises(ValueError, match="event does not go with tstops"):
        call(Height(), tstops=[0.5])
    with pytest.raises(TypeError, match="unknown keyword 'until'"):
        call(Height(), until=3)
    with pytest.raises(ValueError, match=r"g_y of event.gradient must have shape \(2,\), not \(3,\)"):
        call(type("Wrong", (Height,), {"gradient": lambda self, t, y, theta: (0.0, np.ones(3), np.ones(4))})())

    class Writes(Height):
        def gradient(self, t, y, theta):
            y[0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        call(Writes())

"""dL/dt on the exact routes: the derivative of the numbers computed in the times handed in.

The oracle writes the steps out in plain loops over the table, with complex times, and knows nothing of cotangents.
"""

import numpy as np
import pytest

from minode import Linear, VectorField, odeint, pullback, reversible
from minode.gradients import discrete, step_times
from minode.gradients.discrete import is_small
from minode.gradients.step_times import AT_ONCE
from minode.solvers.dense import dense_output
from minode.solvers.reversible import Reversible
from minode.solvers.solve import find_method, run
from tests.gradients.problems import ADAPTIVE, EXACT, EXPLICIT, NETWORK, NETWORK_THETA, PENDULUM, PENDULUM_THETA, relative_error

FIELDS = {"network": (NETWORK, NETWORK_THETA), "pendulum": (PENDULUM, PENDULUM_THETA)}
SMALL_OR_WIDE = {"network": (2, 60), "pendulum": (2, 160)}          # rows
TIMES = 0.3 + np.array([0.0, 0.0, 0.05, 0.11, 0.7, 0.7, 0.7, 1.5, 1.5])
LOOSE = {"rtol": 1e-2, "atol": 1e-2}
DIFFERENCE = 1e-8         # of Richardson's extrapolation from ε = 1e-3 and half of it
BY_DIFFERENCES = 1e-9     # of f_t from three values of f
TINY = 1e-30
names = [method.name for method in EXPLICIT]
# Each field in both directions of time, small in the one and wide in the other: these act on different lines.
each_field = pytest.mark.parametrize("name, is_wide, sign", [
    ("network", False, 1.0), ("network", True, -1.0), ("pendulum", False, -1.0), ("pendulum", True, 1.0)],
    ids=["network-small-forwards", "network-wide-backwards", "pendulum-small-backwards", "pendulum-wide-forwards"])
each_sign = pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])


# -- the steps, written out -----------------------------------------------------------------------------


def increments_of(f, table, s, t, h, y):
    """h k_i of an explicit table."""
    hK = []
    for i in range(s):
        hK.append(h * f(t + table.c[i] * h, y + sum((table.A[i, j] * hK[j] for j in range(i)), 0 * y)))
    return hK


def step_of(f, method, t, t_new, y, other):
    """y_new, and what a reversible method carries beside it."""
    h = t_new - t
    if isinstance(method, Reversible):
        table, s, c, z = dense_output(method.tableau), method.tableau.stages, method.coupling, other

        def psi(t, h, y):
            return sum(b * k for b, k in zip(table.b, increments_of(f, table, s, t, h, y)))
        y_new = c * y + (1 - c) * z + psi(t, h, z)
        return y_new, z - psi(t_new, -h, y_new)
    if method.name == "asynchronous_leapfrog":
        v = f(t, y) if other is None else other
        half = y + h / 2 * v
        v_new = 2 * f(t + h / 2, half) - v
        return half + h / 2 * v_new, v_new
    if method.name == "reversible_heun":
        z, k = (y, f(t, y)) if other is None else other
        z_new = 2 * y - z + h * k
        k_new = f(t_new, z_new)
        return y + h / 2 * (k + k_new), (z_new, k_new)
    table = dense_output(method)
    return y + sum(b * k for b, k in zip(table.b, increments_of(f, table, method.stages, t, h, y))), None


def along_a_grid(f, method, y0, t, counts):
    """The states at t, with so many equal steps from each time to the next one; 0 from one to its equal."""
    ys, other = [y0], y0 if isinstance(method, Reversible) else None
    for t_a, t_b, m in zip(t, t[1:], counts):
        y = ys[-1]
        for j in range(m):
            y, other = step_of(f, method, t_a + j * (t_b - t_a) / m, t_a + (j + 1) * (t_b - t_a) / m, y, other)
        if m == 0:                                             # a step of length 0 moves y by f
            y = y + (t_b - t_a) * f(t_a, y)
        ys.append(y)
    return np.array(ys)


def along_chosen_steps(f, method, y0, t, taken):
    """The states at t, when the steps taken, at real times, keep their ends except the first and the last."""
    where, table, y, ys = t.real, dense_output(method), y0, np.array([y0 + 0j] * len(t))
    sign, ends = np.sign(where[-1] - where[0]), np.array([*taken, t[-1]])
    ends[0] = t[0]
    for n, (start, end) in enumerate(zip(ends, ends[1:])):
        h = end - start
        hK = increments_of(f, table, len(table.P), start, h, y)
        for i in range(1, len(t)):
            if sign * start.real < sign * where[i] <= sign * end.real or (n == 0 and where[i] == where[0]):
                sigma = (t[i] - start) / h
                ys[i] = y + sum(sum(P * sigma ** (m + 1) for m, P in enumerate(row)) * k for row, k in zip(table.P, hK))
        y = y + sum(b * k for b, k in zip(table.b, hK))
    ys[-1] = ys[-1] if where[-1] == where[0] else y
    return ys


def derivatives(states, cotangent, t):
    """Σ cotangent · ∂ states(t) / ∂t_i by the complex step, (N,)."""
    return np.array([np.sum(cotangent * states(t + 1j * TINY * e).imag) / TINY for e in np.eye(len(t))])


def change_in(states, cotangent, t):
    """A random direction of the times, in which every one of them moves, and the same along it."""
    direction = np.random.default_rng(1).normal(size=len(t))
    return direction, np.sum(cotangent * states(t + 1j * TINY * direction).imag) / TINY


def assert_exact_in(dL_dt, direction, change, tolerance=EXACT):
    terms = dL_dt * direction
    assert abs(terms.sum() - change) <= tolerance * np.abs(terms).sum()


def counts_of(t, step_size):
    return [0 if a == b else 1 if step_size is None else int(np.ceil(abs(b - a) / step_size - 1e-9)) for a, b in zip(t, t[1:])]


def problem_of(name, is_wide, sign, times=TIMES):
    (f, theta), rng = FIELDS[name], np.random.default_rng(0)
    y0 = rng.uniform(-1.0, 1.0, (SMALL_OR_WIDE[name][is_wide], f.dim))
    assert is_small(f, y0.size) == (not is_wide)
    return f, theta, y0, sign * times, rng.normal(size=(len(times), *y0.shape))


# -- fixed steps --------------------------------------------------------------------------------------------


@pytest.mark.eq("18.7", "18.8", "18.10")
@each_field
@pytest.mark.parametrize("route, method, step_size", [
    *[(route, name, size) for name in names for route, size in (("discrete", None), ("checkpoint", 0.3))],
    ("discrete", "euler", 0.1), ("checkpoint", "rk4", None)])
def test_in_fixed_steps_it_is_the_complex_step_through_them(route, method, step_size, name, is_wide, sign):
    f, theta, y0, t, cotangent = problem_of(name, is_wide, sign)
    options = {} if step_size is None else {"step_size": step_size}
    if find_method(method).b_hat is not None and not options:
        options = {"step_size": 100.0}
    pulled = pullback(f, y0, t, theta, cotangent, gradient=route, method=method, **options)
    assert_exact_in(pulled.t, *change_in(lambda t: along_a_grid(lambda t, y: f(t, y, theta), find_method(method), y0, t,
                                                                counts_of(t.real, step_size)), cotangent, t))


@pytest.mark.eq("19.5", "19.6", "18.7", "18.8")
@pytest.mark.parametrize("name, sign", [("network", 1.0), ("pendulum", -1.0)],
                         ids=["network-forwards", "pendulum-backwards"])
@pytest.mark.parametrize("step_size", [None, 0.3, 0.7 / AT_ONCE])
@pytest.mark.parametrize("method", ["asynchronous_leapfrog", "reversible_heun", reversible("cash_karp"), reversible("rk4", 0.99)],
                         ids=lambda method: getattr(method, "name", method))
def test_in_the_steps_of_a_reversible_method_too(method, step_size, name, sign):
    times = 0.3 + np.array([0.0, 0.05, 0.11, 0.7, 1.5])
    f, theta, y0, t, cotangent = problem_of(name, False, sign, times)
    options = {} if step_size is None else {"step_size": step_size}
    along = change_in(lambda t: along_a_grid(lambda t, y: f(t, y, theta), find_method(method), y0, t,
                                             counts_of(t.real, step_size)), cotangent, t)
    copies = np.array([2, 1, 2, 1, 3])                                  # equal times move on together
    repeated, shares = np.repeat(np.arange(5), copies), cotangent / copies[:, None, None]
    for route in ("reversible", "discrete"):
        pulled = pullback(f, y0, t, theta, cotangent, gradient=route, method=method, **options)
        assert_exact_in(pulled.t, *along, 100 * EXACT)                  # the states met on the way back are rounded
        again = pullback(f, y0, t[repeated], theta, shares[repeated], gradient=route, method=method, **options)
        assert_exact_in(np.bincount(repeated, again.t), *along, 100 * EXACT)


@pytest.mark.eq("18.7", "18.8")
def test_one_step_of_eulers_method_by_hand():
    t, theta, y0 = np.array([0.0, 1.0]), np.array([0.5]), np.array([-3.0])
    pulled = pullback(Linear(1), y0, t, theta, np.ones(1), method="euler")      # y₁ = y₀ (1 + θ h)
    assert np.array_equal(pulled.t, [1.5, -1.5])                                # the equation's formula says −2.25

    class Ramp(VectorField):                                                    # y' = θ t, and y₁ = y₀ + h θ t₀
        dim = n_params = 1

        def __call__(self, t, y, theta):
            return theta * np.asarray(t)[..., None] + 0 * y

        def jacobian(self, t, y, theta):
            return 0 * y[..., None]

        def param_jacobian(self, t, y, theta):
            return np.asarray(t)[..., None, None] + 0 * y[..., None]

        def time_derivative(self, t, y, theta):
            return theta + 0 * y
    pulled = pullback(Ramp(), y0, [0.25, 1.0], theta, np.ones(1), method="euler")
    assert np.allclose(pulled.t, [0.5 * (0.75 - 0.25), 0.5 * 0.25], rtol=0, atol=EXACT)


@pytest.mark.eq("18.7", "18.8")
@pytest.mark.parametrize("method, options", [("rk4", {}), ("heun", {"step_size": 0.3}), ("dopri5", {"step_size": 0.3}),
                                             ("reversible_heun", {"step_size": 0.3}), (reversible("midpoint"), {})])
def test_it_is_the_difference_of_what_odeint_prints(method, options):
    t = np.array([0.2, 0.85, 0.95, 2.0])                                # no interval is a whole number of steps
    y0, cotangent = np.array([[0.5, -0.3], [1.0, 2.0]]), np.random.default_rng(0).normal(size=(4, 2, 2))

    def along(e, epsilon):
        there, back = (odeint(PENDULUM, y0, t + s * epsilon * e, PENDULUM_THETA, method=method, **options) for s in (1, -1))
        return np.sum(cotangent * (there - back)) / (2 * epsilon)
    differences = [(4 * along(e, 5e-4) - along(e, 1e-3)) / 3 for e in np.eye(4)]
    pulled = pullback(PENDULUM, y0, t, PENDULUM_THETA, cotangent, method=method, **options)
    assert relative_error(pulled.t, np.array(differences)) <= DIFFERENCE


# -- steps that the method chose -------------------------------------------------------------------------------


@pytest.mark.eq("18.7", "18.8", "18.9", "18.10")
@each_field
@pytest.mark.parametrize("method", [method.name for method in ADAPTIVE])
def test_in_chosen_steps_the_inner_ends_are_held_fixed(method, name, is_wide, sign):
    f, theta, y0, t, cotangent = problem_of(name, is_wide, sign)
    for times in (t, t[[0, -1]], t[:-1]):
        g = cotangent[:len(times)]
        taken = [step[0] for step in run(f, y0, times, theta, [], method=method, **LOOSE).tape]
        along = change_in(lambda t: along_chosen_steps(lambda t, y: f(t, y, theta), find_method(method), y0, t,
                                                        taken), g, times)
        for route in ("discrete", "checkpoint"):
            assert_exact_in(pullback(f, y0, times, theta, g, gradient=route, method=method, **LOOSE).t, *along)


@pytest.mark.eq("18.9")
@pytest.mark.parametrize("route", ["discrete", "checkpoint"])
@pytest.mark.parametrize("method", [method.name for method in ADAPTIVE])
def test_an_output_at_the_end_of_a_step_moves_alone(method, route):
    y0 = np.array([0.5, -0.3])
    taken = [step[0] for step in run(PENDULUM, y0, [0.0, 3.0], PENDULUM_THETA, [], method=method, **LOOSE).tape]
    t = np.array([*taken, 3.0])
    g = np.random.default_rng(0).normal(size=(len(t), 2))
    pulled = pullback(PENDULUM, y0, t, PENDULUM_THETA, g, gradient=route, method=method, **LOOSE)
    expected = derivatives(lambda t: along_chosen_steps(lambda t, y: PENDULUM(t, y, PENDULUM_THETA), find_method(method), y0,
                                                        t, taken), g, t)
    assert len(t) > 3 and relative_error(pulled.t, expected) <= EXACT


@pytest.mark.eq("12.1", "18.7", "18.8", "18.9")
@each_sign
@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("method", ["dopri5", "dop853", "cash_karp", "bosh3"])
def test_for_trajectories_with_steps_of_their_own(method, name, sign):
    f, theta, _, t, _ = problem_of(name, False, sign)
    rng = np.random.default_rng(0)
    y0, cotangent = rng.uniform(-1.0, 1.0, (3, f.dim)) * [[0.1], [1.0], [5.0]], rng.normal(size=(len(t), 3, f.dim))
    pulled = pullback(f, y0, t, theta, cotangent, method=method, per_trajectory=True, **LOOSE)
    passes = run(f, y0, t, theta, [], method=method, per_trajectory=True, **LOOSE).tape
    taken = [[float(times[ids == i][0]) for ids, times, *_ in passes if i in ids] for i in range(3)]
    assert_exact_in(pulled.t, *change_in(lambda t: np.stack([along_chosen_steps(
        lambda t, y: f(t, y, theta), find_method(method), y0[i], t, taken[i]) for i in range(3)], axis=1),
        cotangent, t))


# -- times that coincide, one time, stops ------------------------------------------------------------------------------


@pytest.mark.parametrize("route, method", [("discrete", "rk4"), ("checkpoint", "rk4"), ("discrete", "dopri5"),
                                           ("checkpoint", "dopri5"), ("reversible", "reversible_heun")])
def test_one_time_has_no_derivative_and_equal_ones_move_y_by_f(route, method):
    y0, g = np.array([0.5, -0.3]), np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.1]])
    alone = pullback(PENDULUM, y0, [0.7], PENDULUM_THETA, g[:1], gradient=route, method=method)
    assert np.array_equal(alone.t, [0.0])
    equal = pullback(PENDULUM, y0, [0.7, 0.7, 0.7], PENDULUM_THETA, g, gradient=route, method=method)
    moved = g @ PENDULUM(0.7, y0, PENDULUM_THETA)
    assert relative_error(equal.t, np.array([-moved[1] - moved[2], moved[1], moved[2]])) <= EXACT


class Jumping(VectorField):
    """y' = θ_i sin(y + t²) between the whole numbers i and i + 1."""

    dim, n_params, tstops = 1, 3, (1.0, 2.0)

    def rate(self, t, y, theta):
        return theta[np.clip(np.floor(np.asarray(t).real).astype(int), 0, 2)][..., None], y + np.asarray(t)[..., None]**2

    def __call__(self, t, y, theta):
        rate, u = self.rate(t, y, theta)
        return rate * np.sin(u)

    def jacobian(self, t, y, theta):
        rate, u = self.rate(t, y, theta)
        return (rate * np.cos(u))[..., None]

    def param_jacobian(self, t, y, theta):
        rate, u = self.rate(t, y, theta)
        return np.sin(u)[..., None] * (np.floor(np.asarray(t))[..., None, None] == np.arange(3))

    def time_derivative(self, t, y, theta):
        rate, u = self.rate(t, y, theta)
        return rate * np.cos(u) * 2 * np.asarray(t)[..., None]


@pytest.mark.parametrize("is_wide", [False, True], ids=["small", "wide"])
@pytest.mark.parametrize("route, method, options", [
    ("discrete", "rk4", {}), ("checkpoint", "rk4", {"step_size": 0.3}), ("discrete", "dopri5", LOOSE),
    ("checkpoint", "dop853", LOOSE), ("discrete", "reversible_heun", {"step_size": 0.3}), ("reversible", reversible("rk4"), {})])
@each_sign
def test_stops_are_held_fixed_and_an_output_at_one_moves_before_it(route, method, options, is_wide, sign):
    f, theta, t = Jumping(), np.array([0.7, -1.1, 0.4]), np.array([0.2, 0.5, 1.0, 1.6, 2.7])[::int(sign)]
    rng = np.random.default_rng(0)
    y0 = rng.normal(size=(700 if is_wide else 2, 1))
    g, found, actual = rng.normal(size=(5, *y0.shape)), find_method(method), None
    pulled = pullback(f, y0, t, theta, g, gradient=route, method=method, **options)
    stops = [1.0, 2.0][::int(sign)]
    own = [*t[sign * t <= sign * stops[0]], stops[0]], [stops[0], *t[(t > 1) & (t < 2)], stops[1]], [stops[1], t[-1]]
    if sign < 0:
        own = [t[0], stops[0]], [stops[0], 1.6, stops[1], stops[1]], [stops[1], 0.5, t[-1]]
    at = ([0, 1, 2, -1], [-1, 3, -1], [-1, 4]) if sign > 0 else ([0, -1], [-1, 1, 2, -1], [-1, 3, 4])

    def states(moved):
        y, ys = y0, np.empty((5, *y0.shape), complex)
        for leg, numbers in zip(own, at):
            leg = np.array(leg, complex)
            for k, i in enumerate(numbers):
                if i >= 0:
                    leg[k] += moved[i] - t[i]
            i = int(min(leg.real))

            def one_sided(t, y, i=i):
                return theta[i] * np.sin(y + t**2)
            if options is LOOSE:
                taken = [step[0] for step in run(one_sided, y, leg.real, None, [], method=method, **LOOSE).tape]
                found_ys = along_chosen_steps(one_sided, found, y, leg, taken)
            else:
                found_ys = along_a_grid(one_sided, found, y, leg, counts_of(leg.real, options.get("step_size")))
            for k, i in enumerate(numbers):
                if i >= 0:
                    ys[i] = found_ys[k]
            y = found_ys[-1]
        return ys
    assert_exact_in(pulled.t, *change_in(states, g, t), 100 * EXACT)


# -- the rest -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("few", [1, 2**16])
def test_in_one_piece_or_many_it_is_the_same(few, monkeypatch):
    for is_wide in (False, True):
        f, theta, y0, t, cotangent = problem_of("network", is_wide, 1.0)
        whole = pullback(f, y0, t, theta, cotangent, method="rk4", step_size=0.1)
        with monkeypatch.context() as context:
            context.setattr(discrete, "PIECE", few)
            context.setattr(step_times, "FEW", few)
            pieces = pullback(f, y0, t, theta, cotangent, method="rk4", step_size=0.1)
        assert relative_error(pieces.t, whole.t) <= EXACT


class NoRate(type(PENDULUM)):
    time_derivative = VectorField.time_derivative


@pytest.mark.parametrize("route, method", [("discrete", "dop853"), ("discrete", "rk4"), ("checkpoint", "euler"),
                                           ("reversible", "asynchronous_leapfrog"), ("reversible", "reversible_heun"),
                                           ("reversible", reversible("rk4"))])
@pytest.mark.parametrize("t", [np.array([0.2, 0.9, 1.5]), 1e6 + np.array([0.0, -0.3, -1.0])], ids=["near", "far"])
def test_a_field_without_f_t_has_it_by_differences_inside_the_steps(route, method, t):
    y0, g = np.array([[0.5, -0.3], [1.0, 2.0]]), np.random.default_rng(0).normal(size=(3, 2, 2))

    class Inside(NoRate):
        def __call__(self, t_, y, theta):
            assert np.all(np.minimum(t[0], t[-1]) <= t_) and np.all(t_ <= np.maximum(t[0], t[-1]))
            return super().__call__(t_, y, theta)
    found, exact = (pullback(f, y0, t, PENDULUM_THETA, g, gradient=route, method=method).t for f in (Inside(), PENDULUM))
    spacing = np.spacing(np.abs(t).max()) / np.finfo(float).eps / 1e-5 * 1e-12
    assert relative_error(found, exact) <= BY_DIFFERENCES + spacing


def test_it_tends_to_that_of_the_solution():
    t, y0 = np.array([0.0, 0.5, 1.2]), np.array([0.5, -0.3])
    g = np.array([[1.0, 0.0], [0.5, -1.0], [3.0, 0.1]])
    exact = pullback(PENDULUM, y0, t, PENDULUM_THETA, g, rtol=1e-12, atol=1e-12, gradient="backsolve").t
    errors = [np.abs(pullback(PENDULUM, y0, t, PENDULUM_THETA, g, method="rk4", step_size=size).t - exact).max()
              for size in (0.01, 0.005)]
    assert abs(np.log2(errors[0] / errors[1]) - 4) < 0.1

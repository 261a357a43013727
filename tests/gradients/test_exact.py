"""What the exact routes promise: the derivative of the numbers computed, for any field, size, thread and memory."""

import weakref

import numpy as np
import pytest

from minode import MLP, Linear, VanDerPol, VectorField, odeint, pullback, reversible
from minode.gradients.checks import central_difference, complex_step
from minode.gradients.discrete import Tape, backward_pass, is_small, run_on_tape
from minode.solvers.solve import find_method, run
from tests.gradients.problems import EXACT, NETWORK, NETWORK_THETA, PENDULUM, PENDULUM_THETA, relative_error
from tests.threads import assert_threads_agree


class Changed(MLP):
    """2 N(t, y, θ) + sin y for a network N, its derivatives by hand, but none of their speed."""

    def __call__(self, t, y, theta):
        return 2 * super().__call__(t, y, theta) + np.sin(y)

    def vjp(self, t, y, theta, a):
        a_f_y, a_f_theta = super().vjp(t, y, theta, 2 * a)
        return a_f_y + a * np.cos(y), a_f_theta


class ChangedAlike(Changed):
    """The same with the other derivatives changed alike."""

    def jacobian(self, t, y, theta):
        return 2 * super().jacobian(t, y, theta) + np.cos(y)[..., None] * np.eye(self.dim)

    def jvp(self, t, y, theta, w, dtheta):
        return 2 * super().jvp(t, y, theta, w, dtheta) + np.cos(y) * w


FIELDS = {"network": (NETWORK, NETWORK_THETA), "pendulum": (PENDULUM, PENDULUM_THETA),
          "vjp changed": (Changed(NETWORK.widths, NETWORK.names), 0.5 * NETWORK_THETA),
          "all changed": (ChangedAlike(NETWORK.widths, NETWORK.names), 0.5 * NETWORK_THETA)}
SMALL_OR_WIDE = {"network": (2, 60), "pendulum": (2, 160), "vjp changed": (1, 60), "all changed": (2, 60)}   # rows
TIMES = 0.3 + np.array([0.0, 0.0, 0.05, 0.11, 0.7, 0.7, 1.5])       # repeated, and several inside one step
LOOSE = {"rtol": 1e-2, "atol": 1e-2}
WAYS = [*[(route, options) for route in ("discrete", "checkpoint")
          for options in ({"method": "rk4", "step_size": 0.3}, *({"method": method, **LOOSE} for method in
                          ("dopri5", "dop853", "cash_karp", "bosh3")))],     # stages of their own, and Hermite's cubic
        *[("reversible", {"method": method, "step_size": 0.3})
          for method in ("asynchronous_leapfrog", "reversible_heun", reversible("cash_karp"))]]


def name_of(value):
    return getattr(value["method"], "name", value["method"]) if isinstance(value, dict) else str(value)


def along_the_steps(f, y0, t, theta, options):
    """The keywords of a solve that takes the steps that these take."""
    if "rtol" not in options:
        return options
    taken = run(f, y0, t, theta, [], **options).tape
    return {"method": options["method"], "grid": [*(step[0] for step in taken), t[-1]]}


def change_along(f, y0, t, theta, cotangent, dy0, dtheta, **solver):
    """How Σ cotangent · ys changes along (dy0, dtheta): the complex step through the solver."""
    return complex_step(lambda s: np.sum(cotangent * run(f, y0 + s * dy0, t, theta + s * dtheta, **solver).solution.ys),
                        0.0, 1.0)


def assert_exact(pulled, changes, directions):
    """The change of the loss along each direction is what the gradient says, up to the rounding of its terms."""
    for change, (dy0, dtheta) in zip(changes, directions):
        terms = np.concatenate([(pulled.y0 * dy0).ravel(), pulled.theta * dtheta])
        assert abs(terms.sum() - change) <= EXACT * max(1.0, np.abs(terms).sum())


@pytest.mark.eq("18.1", "18.2", "18.3", "18.4", "18.5")
@pytest.mark.parametrize("name, is_wide, sign", [              # each field small and wide, one forwards and one back
    (name, is_wide, (-1.0)**(k + is_wide)) for k, name in enumerate(FIELDS) for is_wide in (False, True)])
@pytest.mark.parametrize("route, options", WAYS, ids=name_of)
def test_every_exact_route_is_the_complex_step_of_the_numbers_computed(route, options, name, is_wide, sign):
    (f, theta), t, rng = FIELDS[name], sign * TIMES, np.random.default_rng(0)
    y0 = rng.uniform(-1.0, 1.0, (SMALL_OR_WIDE[name][is_wide], f.dim))
    cotangent = rng.normal(size=(len(t), *y0.shape))
    assert is_small(f, y0.size) == (not is_wide and name != "vjp changed")
    pulled = pullback(f, y0, t, theta, cotangent, gradient=route, **options)
    directions = [(rng.normal(size=y0.shape), rng.normal(size=theta.shape))]         # through every entry
    same_steps = along_the_steps(f, y0, t, theta, options)
    assert_exact(pulled, [change_along(f, y0, t, theta, cotangent, *d, **same_steps) for d in directions], directions)


@pytest.mark.eq("12.1", "12.2", "12.3", "18.1", "18.2", "18.3", "18.4", "18.5")
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("method", ["dopri5", "dop853", "cash_karp", "bosh3"])
def test_and_so_is_that_of_trajectories_with_steps_of_their_own(method, name, sign):
    (f, theta), t, rng = FIELDS[name], sign * TIMES, np.random.default_rng(0)
    y0 = rng.uniform(-1.0, 1.0, (3, f.dim)) * [[0.1], [1.0], [5.0]]
    cotangent, options = rng.normal(size=(len(t), *y0.shape)), {"method": method, **LOOSE}
    pulled = pullback(f, y0, t, theta, cotangent, per_trajectory=True, **options)
    passes = run(f, y0, t, theta, [], per_trajectory=True, **options).tape
    grids = [[*(float(step_t[ids == i][0]) for ids, step_t, *_ in passes if i in ids), t[-1]] for i in range(3)]
    directions = [(rng.normal(size=y0.shape), rng.normal(size=theta.shape))]
    changes = [sum(change_along(f, y0[i], t, theta, cotangent[:, i], dy0[i], dtheta, method=method, grid=grids[i])
                   for i in range(3)) for dy0, dtheta in directions]
    assert len({tuple(grid) for grid in grids}) == 3
    assert_exact(pulled, changes, directions)


class Root(VectorField):
    """y' = −θ √y, which is no number for y < 0."""

    dim = n_params = 1

    def __call__(self, t, y, theta):
        return -theta * np.sqrt(y)

    def jacobian(self, t, y, theta):
        return (-theta / (2 * np.sqrt(y)))[..., None]

    def param_jacobian(self, t, y, theta):
        return -np.sqrt(y)[..., None]


@pytest.mark.eq("18.5", "18.6")
@pytest.mark.parametrize("route", ["discrete", "checkpoint"])
@pytest.mark.parametrize("rows", [1, 700], ids=["at once", "in turn"])
def test_stages_that_a_step_did_not_need_are_not_evaluated_outside_the_domain_of_the_field(rows, route):
    f, y0, t, theta = Root(), np.ones((rows, 1)), np.array([0.0, 0.3, 1.8]), np.ones(1)
    options = {"method": "dop853", "rtol": 1e-4, "first_step": 0.2}
    taken, cotangent = run(f, y0, t, theta, [], **options).tape, np.ones((3, rows, 1))
    assert len(taken) > 2 and is_small(f, y0.size) == (rows == 1)     # an output in one of them, and in others none
    pulled, direction = pullback(f, y0, t, theta, cotangent, gradient=route, **options), (y0, theta)
    grid = [*(step[0] for step in taken), t[-1]]
    assert_exact(pulled, [change_along(f, y0, t, theta, cotangent, *direction, method="dop853", grid=grid)], [direction])


# -- with steps that depend on y0 and θ --------------------------------------------------------------------


LAST_DIGIT = {1e-2: 1e-3, 1e-3: 1e-3, 1e-6: 1e-6}          # of the numbers below, by the tolerance


@pytest.mark.parametrize("tolerance, gradient, difference", [
    (1e-2, -0.594, -1.817), (1e-3, -0.399, -0.249), (1e-6, -0.330249, -0.330254)])
def test_it_holds_with_the_accepted_steps_held_fixed_and_the_steps_move_at_loose_tolerances(
        tolerance, gradient, difference):
    f, y0, t, mu, last = VanDerPol(), np.array([2.0, 0.0]), np.array([0.0, 6.0]), np.array([3.0]), np.array([1.0, 0.0])
    options = {"method": "dopri5", "rtol": tolerance, "atol": tolerance}
    pulled = pullback(f, y0, t, mu, last, **options)
    actual = central_difference(lambda s: odeint(f, y0, t, mu + s, **options)[-1, 0], 0.0, 1.0)
    cotangent = np.stack([0 * last, last])
    exact = change_along(f, y0, t, mu, cotangent, 0 * y0, np.ones(1), **along_the_steps(f, y0, t, mu, options))
    assert abs(pulled.theta[0] / exact - 1) <= EXACT
    assert max(abs(pulled.theta[0] - gradient), abs(actual - difference)) <= LAST_DIGIT[tolerance]


# -- θ, threads and memory -----------------------------------------------------------------------------------


def test_a_theta_that_is_changed_in_place_between_two_gradients_is_seen():
    for rows in SMALL_OR_WIDE["network"]:
        theta, y0 = NETWORK_THETA.copy(), np.linspace(-1.0, 1.0, 3 * rows).reshape(rows, 3)
        before = pullback(NETWORK, y0, TIMES, theta, y0, method="rk4")
        again = pullback(NETWORK, y0, TIMES, theta, y0, method="rk4")
        theta *= 0.5
        after = pullback(NETWORK, y0, TIMES, theta, y0, method="rk4")
        fresh = pullback(NETWORK, y0, TIMES, 0.5 * NETWORK_THETA, y0, method="rk4")
        assert all(map(np.array_equal, before, again)) and all(map(np.array_equal, after, fresh))
        assert not np.array_equal(before.theta, after.theta)


@pytest.mark.parametrize("shape", [(3,), (136, 3)], ids=["small", "wide"])    # large enough for a workspace
def test_two_threads_with_one_field_get_what_each_gets_alone(shape):
    f, y0 = MLP([4, 64, 3], ["tanh", "identity"]), np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape)
    thetas = [f.init(np.random.default_rng(seed)) for seed in range(2)]
    assert_threads_agree(lambda k: pullback(f, y0, [0.0, 0.3, 0.5], thetas[k], y0, method="rk4"), 2)


class Counted(VectorField):
    """y' = θ (s(t) − y) with an s that switches at each multiple of π; it counts the products it handed out."""

    dim = n_params = 1

    def __init__(self):
        self.handed_out = []

    def __call__(self, t, y, theta):
        return theta * (np.tanh(20 * np.sin(t)) - y)

    def value_and_vjp(self, t, y, theta):
        def vjp(a):
            return -theta * a, np.array([np.vdot(a, np.tanh(20 * np.sin(t)) - y)])
        self.handed_out.append(weakref.ref(vjp))
        return self(t, y, theta), vjp

    def alive(self):                                         # no cycle holds them: they go without a collection
        return sum(product() is not None for product in self.handed_out)


@pytest.mark.parametrize("method", ["dopri5", "cash_karp"])
def test_the_products_of_rejected_steps_are_dropped_and_those_of_a_step_after_it_is_taken_back(method):
    f, theta, tableau = Counted(), np.array([1.0]), find_method(method)
    y0, t, a, b = np.ones(1), np.array([0.0, 40.0]), np.ones(1), np.zeros(1)
    tape = Tape(f, theta, tableau, may_choose_steps=True)
    stats = run_on_tape(f, y0, t, theta, tape, method=method, rtol=1e-3, atol=1e-3).stats
    s = tableau.stages
    assert stats.n_rejected > 10 and len(tape) == stats.n_accepted > 10
    per_step = s - 1 if tableau.is_fsal else s               # the last product of a step is the first of the next
    assert len(f.handed_out) == stats.n_f >= per_step * len(tape) + (s - 1) * stats.n_rejected
    assert f.alive() <= per_step * len(tape) + 2 * s
    n, taken_back = len(tape), []

    class Watched(Tape):                                     # the same tape, looked at as it is used up
        def pop(self):
            taken_back.append(f.alive())
            return super().pop()

    tape.__class__ = Watched
    tape.latest.clear()
    backward_pass(f, theta, tape, tableau, t, np.zeros((2, 1)), a, b)
    assert not tape and all(alive <= per_step * (n - i) + 2 * s for i, alive in enumerate(taken_back))
    tape.first = None
    assert f.alive() == 0


def test_the_gradient_of_a_linear_equation_by_eulers_method_is_the_one_worked_by_hand():
    theta, h, n = np.array([0.7]), 0.1, 8                    # y_N = (1 + hθ)^N y_0
    pulled = pullback(Linear(1), np.array([2.0]), h * np.arange(n + 1), theta, np.ones(1), method="euler")
    assert relative_error(pulled.y0, [1.07**n]) <= EXACT
    assert relative_error(pulled.theta, [n * h * 1.07**(n - 1) * 2.0]) <= EXACT

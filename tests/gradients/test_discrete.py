"""The discrete route is the derivative of the numbers computed: to round-off, by any steps of any method."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import MLP, Flow, Layered, Linear, VectorField, pullback, pushforward
from minode.fields.base import FEW_ENTRIES
from minode.fields.network import FEW, Network
from minode.gradients.adjoint import invariant, time_gradient
from minode.gradients.at_once import Packed
from minode.gradients.discrete import Notes, sweep
from minode.solvers.solve import find_method, run
from tests.gradients.problems import (ADAPTIVE, EXACT, PROBLEMS, ROUND_OFF, SLOPE, complex_step_gradients,
                                      explicit_methods, observed_order, relative_error, repeated_grids,
                                      solves, tableaus)
from tests.strategies import arrays, grids


@pytest.mark.eq("1.1", "9.1", "18.1", "18.2", "18.3", "18.4")
@given(st.data(), solves(times=repeated_grids()), st.booleans())
def test_the_discrete_gradient_is_the_complex_step_derivative_of_what_was_computed(data, problem, at_the_end):
    f, y0, t, theta, options = problem
    cotangent = data.draw(arrays(y0.shape if at_the_end else (len(t), *y0.shape)))

    def loss(ys, theta):
        return np.sum(cotangent * (ys[-1] if at_the_end else ys))
    dL_dy0, dL_dtheta = complex_step_gradients(loss, f, y0, t, theta, **options)
    pulled = pullback(f, y0, t, theta, cotangent, **options)
    size = np.abs(cotangent).max()
    assert relative_error(pulled.y0, dL_dy0, size) <= EXACT
    assert relative_error(pulled.theta, dL_dtheta, size) <= EXACT


@pytest.mark.eq("18.1", "18.2", "18.3", "18.4")
@pytest.mark.parametrize("name", PROBLEMS)
@given(st.data(), grids(longest=2.0), explicit_methods, st.floats(0.1, 1.0))
def test_it_is_so_for_steps_of_any_length_and_any_number_of_them(name, data, t, method, step_size):
    f, theta, y0 = PROBLEMS[name]
    cotangent = data.draw(arrays((len(t), f.dim)))
    options = {"method": method, "step_size": step_size}

    def loss(ys, theta):
        return np.sum(cotangent * ys)
    dL_dy0, dL_dtheta = complex_step_gradients(loss, f, y0, t, theta, **options)
    pulled = pullback(f, y0, t, theta, cotangent, gradient="discrete", **options)
    size = np.abs(cotangent).max()
    assert relative_error(pulled.y0, dL_dy0, size) <= EXACT
    assert relative_error(pulled.theta, dL_dtheta, size) <= EXACT


@pytest.mark.eq("9.1", "11.1", "18.1", "18.2", "18.3", "18.4", "18.5")
@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
@given(st.data(), grids(max_steps=6))
def test_a_method_that_chose_its_steps_is_differentiated_along_those_and_between_them(method, data, t):
    f, theta, y0 = PROBLEMS["pendulum"]
    cotangent = data.draw(arrays((len(t), f.dim)))
    options = {"method": method, "rtol": 1e-2, "atol": 1e-2}
    taken = run(lambda t, y: f(t, y, theta), y0, t, [], **options).tape
    frozen = {"method": method, "grid": [step[0] for step in taken] + [t[-1]]}

    def loss(ys, theta):
        return np.sum(cotangent * ys)
    dL_dy0, dL_dtheta = complex_step_gradients(loss, f, y0, t, theta, **frozen)
    pulled = pullback(f, y0, t, theta, cotangent, **options)
    size = np.abs(cotangent).max()
    assert relative_error(pulled.y0, dL_dy0, size) <= EXACT
    assert relative_error(pulled.theta, dL_dtheta, size) <= EXACT


@pytest.mark.eq("18.5")
@pytest.mark.parametrize("route", ["discrete", "checkpoint"])
@pytest.mark.parametrize("name", ["pendulum", "network"])
@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
def test_outputs_that_the_loss_does_not_see_change_nothing(method, name, route):
    f, theta, y0 = PROBLEMS[name]
    t, weights = np.array([0.0, 0.001, 0.002, 4.0, 6.0]), np.array([2.0, 0.0, 0.0, 0.0, 3.0])
    cotangent = weights.reshape(-1, *[1] * y0.ndim) * np.ones(y0.shape)
    options = {"method": method, "rtol": 1e-3, "atol": 1e-3}
    tape = run(lambda t, y: f(t, y, theta), y0, t, [], **options).tape
    assert len(tape) > 2 and tape[0][1] > 0.002               # outputs inside the first step, and in others none
    frozen = {"method": method, "grid": [*(step[0] for step in tape), t[-1]]}
    exact, exact_theta = complex_step_gradients(lambda ys, theta: np.sum(cotangent * ys), f, y0, t, theta, **frozen)
    pulled = pullback(f, y0, t, theta, cotangent, gradient=route, **options)
    assert relative_error(pulled.y0, exact, 3.0) <= EXACT
    assert relative_error(pulled.theta, exact_theta, 3.0) <= EXACT


@pytest.mark.eq("9.1", "18.1", "18.2", "18.3", "18.4", "18.5", "18.6")
@given(st.data(), solves(times=repeated_grids()), st.booleans())
def test_all_jacobians_at_once_give_what_the_steps_give_one_by_one(data, problem, chooses):
    f, y0, t, theta, options = problem
    if chooses:                                              # long steps, with outputs inside them
        options = {"method": data.draw(st.sampled_from(ADAPTIVE)), "rtol": 1e-2, "atol": 1e-2}
    cotangents, later = data.draw(arrays((len(t), *y0.shape))), data.draw(arrays(y0.shape))
    method = find_method(options["method"])
    tape, bound = run(f.bind(theta, y0), y0, t, [], **options).tape, f.bind(theta, y0)
    notes = run(bound.noted, y0, t, Notes(bound, method, chooses), **options).tape
    packed = run(bound, y0, t, Packed(), **options).tape
    assert len(notes) == len(packed) == len(tape)
    ways = []
    for field, steps in ((f.bind(theta, y0), packed), (f.bind(theta, y0), tape), (bound, notes)):
        ways.append((sweep(field, steps, method, t, cotangents, later), field.a_f_theta()))
    size = np.abs(cotangents).max(initial=np.abs(later).max())
    for at_once, in_turn, from_notes in zip(*ways):
        assert at_once.shape == in_turn.shape and relative_error(at_once, in_turn, size) <= EXACT
        assert at_once.shape == from_notes.shape and relative_error(at_once, from_notes, size) <= EXACT


@pytest.mark.eq("18.6")
@pytest.mark.parametrize("name, rows, steps, at_once", [
    ("network", 1, 40, True), ("network", 1, 1, True), ("network", 10, 40, True), ("network", 11, 40, False),
    ("pendulum", 1, 40, True), ("pendulum", 149, 40, True), ("pendulum", 150, 40, False)])
def test_the_way_is_chosen_by_the_size_of_the_states_or_their_jacobians(monkeypatch, name, rows, steps, at_once):
    f, theta, _ = PROBLEMS[name]
    kind, d = type(f.bind(theta, np.zeros(f.dim))), f.dim
    assert (rows * d < FEW if kind is Network else rows * d * d < FEW_ENTRIES) == at_once
    seen = []

    def watched(bound, t, y, linearize=kind.linearize):
        seen.append(y.shape)
        return linearize(bound, t, y)

    monkeypatch.setattr(kind, "linearize", watched)
    pullback(f, np.full((rows, d), 0.1), [0.0, 0.2], theta, np.ones((rows, d)), method="midpoint",
             step_size=0.2 / steps)
    assert seen == [(2, steps, rows, d)] * at_once           # all stages of all steps in one call


WIDE = MLP([4, 16, 3], ["tanh", "identity"])


@pytest.mark.parametrize("f", [WIDE, Flow(WIDE), Layered(WIDE, 2)], ids=lambda f: type(f).__name__)
def test_no_layer_is_computed_again_on_the_way_back_through_a_large_batch(monkeypatch, f):
    passes, theta = [], np.linspace(-1.0, 1.0, f.n_params)

    def watched(*arguments, forward=Network.forward):
        passes.append(arguments)
        return forward(*arguments)

    monkeypatch.setattr(Network, "forward", watched)
    y0 = np.full((30, f.dim), 0.1)
    pullback(f, y0, [0.0, 1.0, 2.0], theta, y0, method="rk4", times=False)
    assert len(passes) == 2 * 4                              # two steps of four stages


def test_jacobians_of_many_parameters_or_wide_layers_are_too_large_to_be_kept_for_all_steps():
    wide, narrow = MLP([17, 256, 16], ["tanh", "tanh"]), MLP([17, 32, 16], ["tanh", "tanh"])
    shape = np.zeros(16)
    assert narrow.bind(np.zeros(narrow.n_params), shape).is_small((16,))
    assert not wide.bind(np.zeros(wide.n_params), shape).is_small((16,))
    assert Linear(12).bind(np.zeros(144), shape).is_small((12,))                # 12 · 144 numbers of f_θ a stage
    assert not Linear(20).bind(np.zeros(400), shape).is_small((20,))            # 20 · 400


@pytest.mark.parametrize("d, has_jacobian", [(100, True), (3, False)])
def test_a_field_of_many_components_or_of_products_alone_is_never_asked_for_its_jacobian(d, has_jacobian):
    class Heat(VectorField):                                 # θ times the second differences of y
        dim, n_params = d, 1

        def __call__(self, t, y, theta):
            return theta * np.diff(y, 2, prepend=0.0, append=0.0, axis=-1)

        def vjp(self, t, y, theta, a):
            return self(t, a, theta), np.array([np.vdot(a, self(t, y, np.ones(1)))])

        if has_jacobian:
            def jacobian(self, t, y, theta):
                raise AssertionError("of d² numbers, of which nearly all are 0")

    y0, theta = np.sin(np.arange(1.0, d + 1.0)), np.array([0.3])
    pulled = pullback(Heat(), y0, [0.0, 0.5, 1.0], theta, y0, method="rk4")
    exact = complex_step_gradients(lambda ys, theta: ys[-1] @ y0, Heat(), y0, [0.0, 0.5, 1.0], theta, method="rk4")
    assert relative_error(pulled.y0, exact[0]) <= EXACT and relative_error(pulled.theta, exact[1]) <= EXACT


@pytest.mark.eq("9.1", "11.1", "12.1", "18.1", "18.2", "18.3", "18.4", "18.5")
@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
@given(st.data(), repeated_grids(max_steps=4, longest=0.8))
def test_trajectories_with_steps_of_their_own_have_gradients_of_their_own(method, data, t):
    f, theta, _ = PROBLEMS["pendulum"]
    y0 = data.draw(arrays((3, f.dim)))
    cotangent = data.draw(arrays((len(t), *y0.shape)))
    options = {"method": method, "rtol": 1e-2, "atol": 1e-2, "per_trajectory": True}
    whole, size = pullback(f, y0, t, theta, cotangent, **options), max(1.0, np.abs(cotangent).max())
    passes, theta_total, t_total = run(f.bind(theta, y0), y0, t, [], **options).tape, 0.0, 0.0
    for i in range(3):
        starts = [float(step_t[ids == i][0]) for ids, step_t, *_ in passes if i in ids]
        frozen, g = {"method": method, "grid": [*starts, t[-1]]}, cotangent[:, i]
        exact, _ = complex_step_gradients(lambda ys, theta: np.sum(g * ys), f, y0[i], t, theta, **frozen)
        assert relative_error(whole.y0[i], exact, size) <= EXACT
        alone = run(f.bind(theta, y0[i]), y0[i], t, [], **frozen)
        bound = f.bind(theta, y0[i])
        a = sweep(bound, alone.tape, method, t, g)
        assert relative_error(whole.y0[i], a + g[0], size) <= EXACT
        t_total += time_gradient(bound, alone.solution.ys, t, g, a)
        theta_total += bound.a_f_theta()
    assert relative_error(whole.theta, theta_total, size) <= EXACT
    assert relative_error(whole.t, t_total, size) <= EXACT


@pytest.mark.eq("17.1", "18.1", "18.2", "18.3", "18.4")
@given(st.data(), solves(times=grids(longest=1.0)))
def test_tangent_steps_and_sweep_conserve_the_invariant_at_every_step(data, problem):
    f, y0, t, theta, options = problem
    dy0, dtheta, cotangent = (data.draw(arrays(x.shape)) for x in (y0, theta, y0))
    _, ws = pushforward(f, y0, t, theta, dy0, dtheta, **options)
    tape = run(lambda t, y: f(t, y, theta), y0, t, [], **options).tape
    cotangents, values, terms = np.stack([0 * y0, cotangent]), [], 1.0
    for n in range(len(tape) + 1):
        bound = f.bind(theta, y0)
        a = sweep(bound, tape[n:], options["method"], t[[n, -1]], cotangents)
        b = bound.a_f_theta()
        values.append(invariant(a, ws[n], b, dtheta))
        terms = max(terms, np.abs(a * ws[n]).sum() + np.abs(b * dtheta).sum())
    assert np.ptp(values) <= ROUND_OFF * terms


@pytest.mark.eq("18.1", "18.2", "18.3", "18.4")
@given(st.data(), tableaus(weights=st.integers(1, 5)), grids(max_steps=1))
def test_the_sweep_is_the_partner_tableau_run_backwards_where_no_weight_is_zero(data, tableau, t):
    f, theta, y0 = PROBLEMS["network"]
    a_new, h = data.draw(arrays(y0.shape)), t[1] - t[0]
    A, b, c = tableau.arrays
    tape = run(lambda t, y: f(t, y, theta), y0, t, [], method=tableau).tape
    Y = y0 + A @ tape[0][3]
    f_y = [f.jacobian(t[0] + c[i] * h, Y[i], theta) for i in range(tableau.stages)]
    f_theta = [f.param_jacobian(t[0] + c[i] * h, Y[i], theta) for i in range(tableau.stages)]

    # A step of da/dt = −a f_y by a* has stages a_i = a_n − h Σ_j a*_ij a_j f_y(Y_j) and arrives at
    # a_{n+1} = a_n − h Σ_j b_j a_j f_y(Y_j). Backwards a_{n+1} is known: subtract the second from the first.
    partner = b - b * A.T / b[:, None]
    stages, slopes = np.zeros((2, tableau.stages, f.dim))
    for i in reversed(range(tableau.stages)):
        stages[i] = a_new + h * (b - partner[i]) @ slopes
        slopes[i] = stages[i] @ f_y[i]
    a = a_new + h * b @ slopes
    b_theta = h * sum(b[i] * stages[i] @ f_theta[i] for i in range(tableau.stages))
    assert relative_error(stages, a - h * partner @ slopes, size=1.0) <= EXACT

    bound = f.bind(theta, y0)
    assert relative_error(sweep(bound, tape, tableau, t, np.stack([0 * y0, a_new])), a, size=1.0) <= EXACT
    assert relative_error(bound.a_f_theta(), b_theta, size=1.0) <= EXACT


@pytest.mark.eq("17.2", "17.3", "18.1", "18.3", "18.4")
@pytest.mark.parametrize("method, order, n", [("euler", 1, 64), ("midpoint", 2, 32), ("rk4", 4, 8)])
def test_backsolve_closes_on_the_discrete_gradient_at_the_order_of_the_method(method, order, n):
    f, theta, y0 = PROBLEMS["network"]
    cotangent = np.array([[0.5, 0.2, 1.0], [1.0, -2.0, 0.5], [0.3, 0.4, -1.0]])

    def distance(n):
        steps, back = (pullback(f, y0, [0.0, 0.6, 1.0], theta, cotangent, gradient=gradient, method=method,
                                step_size=0.2 / n) for gradient in ("discrete", "backsolve"))
        return np.linalg.norm(np.concatenate([steps.y0 - back.y0, steps.theta - back.theta]))
    assert abs(observed_order(distance, n) - order) < SLOPE


@pytest.mark.eq("18.1", "18.2", "18.3", "18.4")
@given(arrays((2, 2), bound=1.0), arrays(2), arrays(2), st.integers(1, 4), st.floats(-0.5, 0.5).filter(bool))
def test_euler_steps_of_a_linear_field_pull_back_by_powers_of_a_matrix(A, y0, cotangent, n, h):
    pulled = pullback(Linear(2), y0, h * np.arange(n + 1), A.ravel(), cotangent, method="euler")
    power = [np.linalg.matrix_power(np.eye(2) + h * A, k) for k in range(n + 1)]
    dL_dA = sum(h * np.outer(cotangent @ power[n - 1 - k], power[k] @ y0) for k in range(n))
    size = np.abs(cotangent).max() * (1 + np.abs(y0).max())
    assert relative_error(pulled.y0, cotangent @ power[n], size) <= EXACT
    assert relative_error(pulled.theta, dL_dA.ravel(), size) <= EXACT

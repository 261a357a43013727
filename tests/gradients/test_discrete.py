"""The discrete route is the derivative of the numbers computed: to round-off, by any steps of any method."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import (MLP, Flow, Gradients, Layered, Linear, VectorField, adjoint_rhs, methods, odeint, pullback,
                    pushforward)
from minode.gradients import discrete
from minode.gradients.adjoint import invariant
from minode.gradients.discrete import SMALL, Tape, backward_pass, is_small, reverse_step, run_on_tape
from minode.gradients.step_times import StepEnds
from minode.solvers.dense import dense_output
from minode.solvers.solve import find_method, run
from tests.gradients.problems import (ADAPTIVE, EXACT, PROBLEMS, ROUND_OFF, SLOPE, ForcedPendulum,
                                      complex_step_gradients, explicit_methods, observed_order, relative_error,
                                      repeated_grids, solves, tableaus)
from tests.gradients.test_exact import assert_exact, change_along
from tests.strategies import arrays, grids

LOOSE = {"rtol": 1e-2, "atol": 1e-2}
CLEARLY = 1e-4            # far from round-off, and about the error of five steps


def steps_taken(f, y0, t, theta, **options):
    """The keywords of a solve along the steps that a method chose."""
    taken = run(f, y0, t, theta, [], **options).tape
    return {"method": options["method"], "grid": [*(step[0] for step in taken), t[-1]]}


def changes_along_two(f, y0, t, theta, cotangent, **solver):
    """The changes of Σ cotangent · ys along two directions, and these, through every entry of y0 and of θ."""
    directions = [(np.cos(np.arange(y0.size)).reshape(y0.shape), 0 * theta), (0 * y0, np.cos(np.arange(theta.size)))]
    return [change_along(f, y0, t, theta, cotangent, *d, **solver) for d in directions], directions


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

    pulled = pullback(f, y0, t, theta, cotangent, gradient="discrete", **options)
    assert_exact(pulled, *changes_along_two(f, y0, t, theta, cotangent, **options))


@pytest.mark.eq("9.1", "11.1", "18.1", "18.2", "18.3", "18.4", "18.5")
@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
@given(st.data(), grids(max_steps=6))
def test_a_method_that_chose_its_steps_is_differentiated_along_those_and_between_them(method, data, t):
    f, theta, y0 = PROBLEMS["pendulum"]
    cotangent = data.draw(arrays((len(t), f.dim)))
    options = {"method": method, **LOOSE}
    pulled, same_steps = pullback(f, y0, t, theta, cotangent, **options), steps_taken(f, y0, t, theta, **options)
    assert_exact(pulled, *changes_along_two(f, y0, t, theta, cotangent, **same_steps))


@pytest.mark.eq("18.5")
@pytest.mark.parametrize("name", ["pendulum", "network"])
@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
def test_outputs_that_the_loss_does_not_see_change_nothing(method, name):
    f, theta, y0 = PROBLEMS[name]
    t, weights = np.array([0.0, 0.001, 0.002, 4.0, 6.0]), np.array([2.0, 0.0, 0.0, 0.0, 3.0])
    cotangent = weights.reshape(-1, *[1] * y0.ndim) * np.ones(y0.shape)
    options = {"method": method, "rtol": 1e-3, "atol": 1e-3}
    tape = run(f, y0, t, theta, [], **options).tape
    assert len(tape) > 2 and tape[0][1] > 0.002               # outputs inside the first step, and in others none
    changes = changes_along_two(f, y0, t, theta, cotangent, **steps_taken(f, y0, t, theta, **options))
    for route in ("discrete", "checkpoint"):
        assert_exact(pullback(f, y0, t, theta, cotangent, gradient=route, **options), *changes)


# -- one step after the other, all at once, and in pieces --------------------------------------------------


@pytest.mark.eq("18.1", "18.2", "18.3", "18.4", "18.5")
@given(st.data(), tableaus(), st.floats(-0.5, 0.5).filter(bool), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_a_reverse_step_is_the_transpose_of_a_step_of_matrices(data, tableau, h, n, p, has_outputs):
    # k_i = F_i Y_i + G_i θ is linear, so that a step and its derivative are the same matrix. That of the
    # stages is (I − h A ⊗ F) K = F y + G θ, solved here as it stands.
    s, table = tableau.stages, dense_output(tableau)
    F, G, a, b = data.draw(arrays((s, n, n))), data.draw(arrays((s, n, p))), data.draw(arrays(n)), data.draw(arrays(p))
    inside = data.draw(arrays((s, n))) if has_outputs else None
    A = table.A[:s, :s]
    M = np.eye(s * n) - h * np.einsum("ij,ikl->ikjl", A, F).reshape(s * n, s * n)
    K = np.linalg.solve(M, np.concatenate([np.vstack(F), np.vstack(G)], axis=1))       # along y and along θ
    weights = h * np.einsum("j,k->jk", table.b[:s], a).ravel() + (0 if inside is None else h * inside.ravel())
    vjps = [lambda k_bar, F=F_i, G=G_i: (k_bar @ F, k_bar @ G) for F_i, G_i in zip(F, G)]
    got_a, got_b = reverse_step(table, h, vjps, a, b, inside)
    size = max(1.0, np.abs(weights @ K).max(initial=0.0))
    assert relative_error(got_a, a + weights @ K[:, :n], size) <= EXACT
    assert relative_error(got_b, b + weights @ K[:, n:], size) <= EXACT


def by_tape(f, y0, t, theta, options):
    """The steps of a solve with the vector-Jacobian products of their stages."""
    tape = Tape(f, theta, find_method(options["method"]), "step_size" not in options)
    run_on_tape(f, y0, t, theta, tape, **options)
    return tape


@pytest.mark.eq("9.1", "18.1", "18.2", "18.3", "18.4", "18.5", "18.6")
@given(st.data(), solves(times=repeated_grids()), st.booleans())
def test_all_steps_at_once_and_in_pieces_give_what_they_give_one_by_one(data, problem, chooses_steps):
    f, y0, t, theta, options = problem
    if chooses_steps:                                        # long steps, with outputs inside them
        options = {"method": data.draw(st.sampled_from(ADAPTIVE)), **LOOSE}
    g, a, b = data.draw(arrays((len(t), *y0.shape))), data.draw(arrays(y0.shape)), data.draw(arrays(theta.shape))
    method, steps = find_method(options["method"]), run(f, y0, t, theta, [], **options).tape

    def way_back(tape):
        return backward_pass(f, theta, tape, method, t, g, a, b)

    in_turn, at_once, pieces = way_back(by_tape(f, y0, t, theta, options)), way_back(steps), []
    for numbers in (1, 3 * len(dense_output(method).P) * y0.size * (f.dim + f.n_params)):
        with mock.patch.object(discrete, "PIECE", numbers):  # each step by itself, and three of them or a few more
            pieces.append(way_back(steps))
    along = steps_taken(f, y0, t, theta, **options) if chooses_steps and steps else options
    exact = complex_step_gradients(lambda ys, theta: np.sum(g[1:] * ys[1:]) + np.sum(a * ys[-1]) + b @ theta,
                                   f, y0, t, theta, **along)
    size = max(np.abs(x).max(initial=0.0) for x in (g, a, b))
    for got in (in_turn, at_once, *pieces):
        for part, expected in zip(got, exact):
            assert part.shape == expected.shape and relative_error(part, expected, size) <= EXACT


def largest_small(f):
    """The most rows of states of f whose Jacobians are few enough for all steps at once."""
    return max(rows for rows in range(1, SMALL) if rows * f.dim**2 < SMALL and rows * f.dim * f.n_params < 10 * SMALL)


@pytest.mark.eq("18.6")
@pytest.mark.parametrize("more", [0, 1], ids=["at once", "in turn"])
@pytest.mark.parametrize("name", ["network", "pendulum"])
def test_the_way_is_chosen_by_the_size_of_the_jacobians(monkeypatch, name, more):
    f, theta, _ = PROBLEMS[name]
    kind, rows, seen = type(f), largest_small(f) + more, []

    def watched(field, t, y, theta, jacobian=kind.jacobian):
        seen.append(y.shape)
        return jacobian(field, t, y, theta)

    monkeypatch.setattr(kind, "jacobian", watched)
    y0 = np.full((rows, f.dim), 0.1)
    pulled = pullback(f, y0, [0.0, 0.2], theta, y0, method="midpoint", step_size=0.005)
    assert is_small(f, y0.size) == (more == 0)
    if name == "pendulum" and more:                          # its vjp is made of the Jacobian, stage by stage
        assert set(seen) == {y0.shape}
    else:
        assert ((2, 40, *y0.shape) in seen) == (more == 0)   # all stages of all steps in one call
    alone = pullback(f, y0[0], [0.0, 0.2], theta, y0[0], method="midpoint", step_size=0.005)
    assert relative_error(pulled.y0, np.tile(alone.y0, (rows, 1))) <= EXACT
    assert relative_error(pulled.theta, rows * alone.theta) <= EXACT


def test_jacobians_of_many_parameters_or_wide_states_are_too_large_for_all_steps_at_once():
    assert is_small(MLP([4, 16, 3], ["tanh", "tanh"]), 3)
    assert not is_small(MLP([4, 300, 3], ["tanh", "tanh"]), 3)                 # 3 · 2403 numbers of f_θ a stage
    assert is_small(Linear(12), 12) and not is_small(Linear(20), 20)           # 12 · 144 of them, and 20 · 400


def test_a_vjp_that_its_jacobian_knows_nothing_of_is_never_passed_over():
    class Products(VectorField):
        dim = n_params = 1

        def vjp(self, t, y, theta, a):
            return a, a

    class Doubled(Linear):
        def vjp(self, t, y, theta, a):
            return tuple(2 * part for part in super().vjp(t, y, theta, a))

    class Both(Doubled):
        def jacobian(self, t, y, theta):
            return 2 * super().jacobian(t, y, theta)

    assert not is_small(Products(), 1) and not is_small(Doubled(1), 1) and is_small(Both(1), 1)


WIDE = MLP([4, 16, 3], ["tanh", "identity"])


@pytest.mark.parametrize("f", [WIDE, Flow(WIDE), Layered(WIDE, 2)], ids=lambda f: type(f).__name__)
def test_no_layer_is_computed_again_on_the_way_back_through_a_large_batch(monkeypatch, f):
    points, theta = [], np.linspace(-1.0, 1.0, f.n_params)
    kind = Flow if isinstance(f, Flow) else MLP

    def watched(self, t, y, theta, forward=kind.forward):
        points.append(y.shape)
        return forward(self, t, y, theta)

    monkeypatch.setattr(kind, "forward", watched)
    y0 = np.full((60, f.dim), 0.1)
    assert not is_small(f, y0.size)
    pullback(f, y0, [0.0, 1.0, 2.0], theta, y0, method="rk4", times=False)
    assert points == [y0.shape] * 2 * 4                      # two steps of four stages


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
    options = {"method": method, **LOOSE, "per_trajectory": True}
    whole, size = pullback(f, y0, t, theta, cotangent, **options), max(1.0, np.abs(cotangent).max())
    passes, theta_total, t_total = run(f, y0, t, theta, [], **options).tape, 0.0, 0.0
    for i in range(3):
        starts = [float(step_t[ids == i][0]) for ids, step_t, *_ in passes if i in ids]
        same_steps, g = {"method": method, "grid": [*starts, t[-1]]}, cotangent[:, i]
        changes = changes_along_two(f, y0[i], t, theta, g, **same_steps)
        alone = run(f, y0[i], t, theta, [], **same_steps)
        ends = StepEnds(f, alone.solution, theta, g, "span")
        a, b = backward_pass(f, theta, alone.tape, method, t, g, 0 * y0[i], 0 * theta, ends)
        assert_exact(Gradients(a + g[0], b, None), *changes)
        assert relative_error(whole.y0[i], a + g[0], size) <= EXACT
        t_total += ends.gradient()
        theta_total += b
    assert relative_error(whole.theta, theta_total, size) <= EXACT
    assert relative_error(whole.t, t_total, size) <= EXACT


@pytest.mark.eq("18.5")
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])
@pytest.mark.parametrize("nudge", [-2.0, -1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("own", [False, True], ids=["joint", "own steps"])
def test_an_output_within_rounding_of_the_end_of_a_step_is_counted_once(own, nudge, sign):
    t, theta = sign * np.array([-1.0, -0.1, 2.8e-17 * nudge, 1.0]), np.array([sign * 0.5])      # a step ends at 0
    y0, cotangent = np.array([[1.0], [2.0]]), np.zeros((4, 2, 1))
    cotangent[2] = 1.0                                                # L = y(t₂) of both: Σ R(θ) y₀, θ that of one step
    options = {"first_step": 1.0, "rtol": 0.1, "atol": 0.1, "per_trajectory": own}
    for route in ("discrete",) if own else ("discrete", "checkpoint"):
        pulled = pullback(Linear(1), y0, t, theta, cotangent, gradient=route, **options)
        a = run(Linear(1), y0[:1], t, theta, [], **options).solution.ys[2]
        assert relative_error(pulled.y0, np.broadcast_to(a, (2, 1))) <= EXACT


@pytest.mark.eq("17.1", "18.1", "18.2", "18.3", "18.4")
@given(st.data(), solves(times=grids(longest=1.0)))
def test_the_tangent_and_its_reverse_conserve_the_invariant_at_every_step(data, problem):
    f, y0, t, theta, options = problem
    dy0, dtheta, cotangent = (data.draw(arrays(x.shape)) for x in (y0, theta, y0))
    _, ws = pushforward(f, y0, t, theta, dy0, dtheta, **options)
    tape = run(f, y0, t, theta, [], **options).tape
    values, terms = [], 1.0
    for n in range(len(tape) + 1):
        a, b = backward_pass(f, theta, tape[n:], options["method"], t[[n, -1]], np.zeros((2, *y0.shape)), cotangent,
                             0 * theta)
        values.append(invariant(a, ws[n], b, dtheta))
        terms = max(terms, np.abs(a * ws[n]).sum() + np.abs(b * dtheta).sum())
    assert np.ptp(values) <= ROUND_OFF * terms


@pytest.mark.eq("18.1", "18.2", "18.3", "18.4")
@given(st.data(), tableaus(weights=st.integers(1, 5)), grids(max_steps=1))
def test_the_way_back_is_a_step_of_another_table_if_no_weight_is_zero(data, tableau, t):
    f, theta, y0 = PROBLEMS["network"]
    a_new, h = data.draw(arrays(y0.shape)), t[1] - t[0]
    A, b, c = tableau.arrays()
    tape = run(f, y0, t, theta, [], method=tableau).tape
    Y = y0 + A @ tape[0][3]
    f_y = [f.jacobian(t[0] + c[i] * h, Y[i], theta) for i in range(tableau.stages)]
    f_theta = [f.param_jacobian(t[0] + c[i] * h, Y[i], theta) for i in range(tableau.stages)]

    # A step of da/dt = −a f_y from a_{n+1} with −h, by the table b_j a_ji / b_i: its last stage comes first.
    table = b * A.T / b[:, None]
    Lambda, Lambda_f_y = np.zeros((2, tableau.stages, f.dim))
    for i in reversed(range(tableau.stages)):
        Lambda[i] = a_new + h * table[i] @ Lambda_f_y
        Lambda_f_y[i] = Lambda[i] @ f_y[i]
    a = a_new + h * b @ Lambda_f_y
    b_theta = h * sum(b[i] * Lambda[i] @ f_theta[i] for i in range(tableau.stages))

    got_a, got_b = backward_pass(f, theta, tape, tableau, t, np.stack([0 * y0, a_new]), 0 * y0, 0 * theta)
    assert relative_error(got_a, a, size=1.0) <= EXACT and relative_error(got_b, b_theta, size=1.0) <= EXACT


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


@pytest.mark.eq("18.1", "18.2", "18.3", "18.4")
@pytest.mark.parametrize("method, R, R_prime", [("euler", lambda z: 1 + z, lambda z: 1.0),
                                                ("midpoint", lambda z: 1 + z + z**2 / 2, lambda z: 1 + z)])
def test_the_example_worked_by_hand_and_the_exercise(method, R, R_prime):
    theta, y0, h, N = -0.7, 1.5, 0.3, 6                               # y_N = R(hθ)^N y_0
    pulled = pullback(Linear(1), [y0], h * np.arange(N + 1), [theta], [1.0], method=method)
    assert relative_error(pulled.y0, [R(h * theta) ** N]) <= EXACT
    assert relative_error(pulled.theta, [N * h * R_prime(h * theta) * R(h * theta) ** (N - 1) * y0]) <= EXACT


@pytest.mark.eq("18.1", "18.3")
@pytest.mark.parametrize("name, is_the_gradient", [("implicit_midpoint", True), ("gauss4", True), ("gauss6", True),
                                                   ("trapezoid", False), ("radau3", False)])
def test_the_adjoint_of_a_gauss_method_solved_backwards_by_it_is_the_gradient_of_its_steps(name, is_the_gradient):
    A, b, _ = methods[name].arrays()
    assert np.allclose(b * A.T / b[:, None], b - A, rtol=0, atol=ROUND_OFF) == is_the_gradient
    f, theta, t = ForcedPendulum(), np.array([1.2, 0.3, 0.5]), np.linspace(0.0, 2.0, 6)
    y0, a_end = np.array([1.0, 0.5]), np.array([1.0, -0.4])
    rhs = adjoint_rhs(f)

    def of_y_and_a(t, state):
        return np.concatenate(rhs(t, (state[:2], state[2:], None), theta)[:2])
    y_end = odeint(f, y0, t, theta, method=name)[-1]
    back = odeint(of_y_and_a, np.concatenate([y_end, a_end]), t[::-1], method=name)[-1]
    error = relative_error(back[2:], pullback(f, y0, t, theta, a_end, method=name).y0)
    assert error <= EXACT if is_the_gradient else error > CLEARLY

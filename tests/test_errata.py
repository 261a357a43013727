"""The errors of the source text, one test each: what it says fails here, what this book says holds.

Number 14, "ODE Award" for "Solving the ODE", is a matter of language and has no test.
"""

import numpy as np
import pytest

from minode import (MLP, SolverError, Tableau, methods, odeint, odeint_euler, odeint_rk4, pullback,
                    pushforward, solve, value_and_gradients)
from minode.solvers.reversible import round_trip
from tests.gradients.problems import (NETWORK, NETWORK_THETA, PENDULUM, PENDULUM_THETA, REFERENCE, ROUND_OFF,
                                      SLOPE, observed_order, relative_error, true_flow)

CLEARLY = 0.1               # a difference far above every error in these tests
SAME_STEPS = 1e-6           # two errors of 1e-5 that differ by the rounding of a few hundred sums
NUDGE_GROWN = 1e-6          # rounding of 4,000 steps near y = 1, relative to a nudge grown to 1e-7 and more
PENDULUM_Y0, NETWORK_Y0 = np.array([0.5, -0.3]), np.array([0.4, -0.7, 0.2])


def late_rk4(f, y0, t):
    """The source text's Runge–Kutta code: its `t` is the new time, and its k4 one whole step too late."""
    ys = [y0]
    for t_old, t_new in zip(t, t[1:]):
        h, y = t_new - t_old, ys[-1]
        k1 = f(t_new - h, y)
        k2 = f(t_new - h / 2, y + h / 2 * k1)
        k3 = f(t_new - h / 2, y + h / 2 * k2)
        k4 = f(t_new + h, y + h * k3)
        ys.append(y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.array(ys)


@pytest.mark.eq("6.5")
def test_erratum_1_k4_one_step_late_is_first_order_and_cannot_be_seen_on_the_texts_example():
    def error(solver):
        exact = np.exp(np.sin(2))
        return lambda n: abs(solver(lambda t, y: y * np.cos(t), 1.0, np.linspace(0, 2, n + 1))[-1] - exact)
    assert abs(observed_order(error(late_rk4), 80) - 1) < SLOPE
    assert abs(observed_order(error(odeint_rk4), 80) - 4) < SLOPE
    assert error(late_rk4)(160) > error(odeint_euler)(160) / 2
    t = np.linspace(0, 10, 101)
    assert relative_error(late_rk4(lambda t, y: y, 2.0, t), odeint_rk4(lambda t, y: y, 2.0, t)) <= ROUND_OFF


def test_erratum_2_the_solvers_return_the_states_and_the_first_of_them_is_y0():
    for solver in (odeint_euler, odeint_rk4):
        ys = solver(lambda t, y: t * y, [1.0, 2.0], [0.0, 0.5, 1.0])
        assert ys.shape == (3, 2) and np.array_equal(ys[0], [1.0, 2.0])


def there_and_back(method, n):
    """The distance of the pendulum from its start after n steps to t = 2 and n steps back."""
    def go(y, t):
        return odeint(lambda t, y: PENDULUM(t, y, PENDULUM_THETA), y, t, method=method, step_size=1.0,
                      jacobian=lambda t, y: PENDULUM.jacobian(t, y, PENDULUM_THETA))[-1]
    t = np.linspace(0, 2, n + 1)
    return np.linalg.norm(go(go(PENDULUM_Y0, t), t[::-1]) - PENDULUM_Y0)


def is_symmetric(tableau):
    """a_ij + a_{s+1−i,s+1−j} = b_j: the step with −h undoes the step."""
    A, b, _ = tableau.arrays()
    return np.allclose(A + A[::-1, ::-1], b, rtol=0, atol=ROUND_OFF)


TABLEAUS = [method for method in methods.values() if isinstance(method, Tableau)]


@pytest.mark.parametrize("method, order, n",
                         [("euler", 1, 1024), ("midpoint", 3, 64), ("heun", 3, 64), ("rk4", 5, 32)])
def test_erratum_3a_explicit_methods_do_not_reverse_exactly_but_to_order_p_or_p_plus_1(method, order, n):
    assert not any(is_symmetric(tableau) for tableau in TABLEAUS if tableau.is_explicit)
    assert abs(observed_order(lambda n: there_and_back(method, n), n) - order) < SLOPE


def test_erratum_3b_runge_kutta_methods_that_are_symmetric_reverse_exactly_and_so_do_the_reversible_ones():
    symmetric = [tableau for tableau in TABLEAUS if is_symmetric(tableau)]
    assert {"implicit_midpoint", "trapezoid", "gauss4", "gauss6"} == {tableau.name for tableau in symmetric}
    assert max(there_and_back(tableau, 20) for tableau in symmetric) <= ROUND_OFF
    for name in ("asynchronous_leapfrog", "reversible_heun"):
        back = round_trip(methods[name], lambda t, y: PENDULUM(t, y, PENDULUM_THETA), PENDULUM_Y0,
                          np.linspace(0, 2, 21))
        assert relative_error(back, PENDULUM_Y0) <= ROUND_OFF


def test_erratum_3c_exact_reversal_does_not_make_the_continuous_adjoint_the_gradient_of_the_numbers():
    def trapezoid(h, g_old, g_new):
        return (1 + h / 2 * g_old) / (1 - h / 2 * g_new)           # one step of y' = g(t) y multiplies y so
    h, g_old, g_new = 0.1, 1.0, 2.0
    assert abs(trapezoid(h, g_old, g_new) * trapezoid(-h, g_new, g_old) - 1) <= ROUND_OFF
    gradient = trapezoid(h, g_old, g_new)                          # the step is linear: this is ∂y_new/∂y_old
    adjoint = trapezoid(-h, -g_new, -g_old)                        # da/dt = −g a by the same rule, backwards
    assert abs(adjoint / gradient - 1) > h**2 / 10


@pytest.mark.parametrize("rate", [5.0, 10.0, 20.0])
def test_erratum_3d_where_the_reversed_dynamics_are_unstable_an_error_at_T_grows_like_its_exponential(rate):
    there = odeint(lambda t, y: -rate * y, [1.0], np.linspace(0, 1, 2001), method="rk4")[-1]
    nudged = odeint(lambda t, y: -rate * y, there + 1e-9, np.linspace(1, 0, 2001), method="rk4")[-1]
    assert nudged - 1.0 == pytest.approx(1e-9 * np.exp(rate), rel=NUDGE_GROWN)


def test_erratum_4_b_at_T_is_the_direct_derivative_of_the_loss_in_theta():
    t, decay = np.linspace(0.0, 1.0, 5), 0.3

    def loss_and_penalty(theta):
        ys = odeint(lambda t, y: NETWORK(t, y, theta), NETWORK_Y0.astype(complex), t, method="rk4")
        return np.sum(ys**2) + decay * np.sum(theta**2)

    def gradient(dL_dtheta):
        return value_and_gradients(lambda ys: (np.sum(ys**2), 2 * ys), NETWORK, NETWORK_Y0, t, NETWORK_THETA,
                                   dL_dtheta=dL_dtheta, method="rk4")[1].theta
    expected = [np.imag(loss_and_penalty(NETWORK_THETA + 1e-30j * e)) / 1e-30
                for e in np.eye(NETWORK.n_params)]
    with_b, without = gradient(2 * decay * NETWORK_THETA), gradient(None)
    assert relative_error(with_b, expected) <= ROUND_OFF and relative_error(without, expected) > CLEARLY


def test_erratum_5_a_cotangent_pulled_back_is_a_row_of_the_flows_jacobian_and_a_tangent_a_column():
    f, theta, e3, t = NETWORK, NETWORK_THETA, np.array([0.0, 0.0, 1.0]), np.linspace(0.0, 2.0, 101)
    _, Y, _ = true_flow(f, NETWORK_Y0, t[[0, -1]], theta)
    row = pullback(f, NETWORK_Y0, t, theta, e3, method="rk4").y0
    column = pushforward(f, NETWORK_Y0, t, theta, dy0=e3, method="rk4")[1][-1]
    rk4_error = (t[1] - t[0])**4
    assert relative_error(row, Y[-1][2]) <= rk4_error and relative_error(column, Y[-1][:, 2]) <= rk4_error
    assert relative_error(row, column) > CLEARLY


@pytest.mark.eq("17.4")
def test_erratum_6_a_loss_on_several_times_makes_a_jump_at_each():
    t = np.array([0.0, 1.0, 2.0])
    both, first, last = (pullback(NETWORK, NETWORK_Y0, t, NETWORK_THETA, np.outer(weights, [1.0, -2.0, 3.0]),
                                  gradient="backsolve", method="rk4", step_size=0.02).y0
                         for weights in ([0, 1, 1], [0, 1, 0], [0, 0, 1]))
    assert relative_error(both, first + last) <= ROUND_OFF and relative_error(both, last) > CLEARLY


@pytest.mark.eq("17.5", "17.6")
def test_erratum_7_the_times_have_gradients_too_and_a_at_t0_is_read_before_the_loss_there():
    f, theta, t = PENDULUM, PENDULUM_THETA, np.array([0.2, 0.8, 1.5])
    cotangent = np.array([[5.0, -3.0], [1.0, 2.0], [0.4, -0.6]])

    def loss(t):
        return np.sum(cotangent * true_flow(f, PENDULUM_Y0, t, theta)[0])
    epsilon = 1e-3
    moved = [(8 * (loss(t + e) - loss(t - e)) - (loss(t + 2 * e) - loss(t - 2 * e))) / (12 * epsilon)
             for e in epsilon * np.eye(3)]
    for gradient in ("discrete", "backsolve"):
        pulled = pullback(f, PENDULUM_Y0, t, theta, cotangent, gradient=gradient, method="rk4", step_size=0.005)
        assert relative_error(pulled.t, moved) <= REFERENCE / epsilon
    added_too_early = pulled.t[0] - cotangent[0] @ f(t[0], PENDULUM_Y0, theta)
    assert abs(added_too_early - moved[0]) > CLEARLY * abs(moved[0])


def test_erratum_8a_the_model_runs_and_a_kink_crossed_costs_the_order():
    def order(activation):
        f, theta = MLP([2, 1, 1], [activation, "identity"]), np.array([-1.0, 0.5, 0.3, 1.0, 0.5])

        def end(n):
            return odeint(lambda t, y: f(t, y, theta), [0.2], np.linspace(0, 2, n + 1), method="rk4")[-1]
        exact = end(1000)

        def mean_error(n):
            return np.mean([np.abs(end(m) - exact) for m in range(n, n + n // 4)])
        return observed_order(mean_error, 32)
    assert order("leaky_relu") < 3 and abs(order("softplus") - 4) < SLOPE
    model = MLP([4, 5, 3], ["leaky_relu", "tanh"])
    assert model(0.5, np.ones((7, 3)), model.init(np.random.default_rng(0))).shape == (7, 3)


def test_erratum_8b_the_order_is_kept_where_a_step_ends_on_the_kink():
    f, theta, T = MLP([1, 1, 1], ["leaky_relu", "identity"]), np.array([1.0, -1.0, 1.0, 1.0]), 2.0

    def kink(y0):
        return -np.log1p(0.01 * (y0 - 1)) / 0.01         # y' = 1 + (y − 1)/100 up to y = 1, and then y' = y

    def order(y0, times):
        def mean_error(n):
            return np.abs(odeint(f, y0, times(n), theta, method="rk4")[-1] - np.exp(T - kink(y0))).mean()
        return np.log(mean_error(64) / mean_error(256)) / np.log(4)

    def through_it(n):
        return np.concatenate([np.linspace(0.0, kink(0.2), n + 1), np.linspace(kink(0.2), T, n + 1)[1:]])
    across = order(np.linspace(0.0, 0.4, 101)[:, None], lambda n: np.linspace(0.0, T, n + 1))    # anywhere in a step
    ends_on_it = order(np.array([0.2]), through_it)
    assert abs(across - 2) < SLOPE and abs(ends_on_it - 4) < SLOPE


def test_erratum_9_the_flow_has_an_invertible_derivative_and_carries_a_back_by_it():
    f, theta, t = NETWORK, NETWORK_THETA, np.linspace(0.0, 2.0, 101)
    Y = np.stack([pushforward(f, NETWORK_Y0, t, theta, dy0=e, method="rk4")[1] for e in np.eye(3)], axis=-1)
    _, divergence = odeint(lambda t, state: (f(t, state[0], theta), np.trace(f.jacobian(t, state[0], theta))),
                           (NETWORK_Y0, 0.0), t, method="rk4")
    rk4_error = (t[1] - t[0])**4
    assert relative_error(np.linalg.det(Y), np.exp(divergence)) <= rk4_error
    assert np.ptp(divergence) > 1e4 * rk4_error
    a, ys = np.array([1.0, -2.0, 0.5]), odeint(lambda t, y: f(t, y, theta), NETWORK_Y0, t, method="rk4")
    a_t = np.stack([pullback(f, y, [s, 2.0], theta, a, gradient="backsolve", method="rk4", step_size=0.02).y0
                    for s, y in zip(t[:-1:10], ys[:-1:10])])
    assert relative_error(np.einsum("ni,nij->nj", a_t, Y[:-1:10]), np.tile(a @ Y[-1], (10, 1))) <= rk4_error


def test_erratum_10a_without_lipschitz_there_are_two_solutions_and_a_nudge_decides():
    t = np.linspace(0.0, 2.0, 401)
    stays, leaves = (odeint(lambda t, y: np.sqrt(np.abs(y)), y0, t, method="rk4") for y0 in (0.0, 1e-16))
    first_step = t[1] * t[-1]              # where √|y| is not smooth, √y is off by h, and y later by t h
    assert not stays.any() and np.abs(leaves - t**2 / 4).max() < first_step
    assert relative_error(np.sqrt(np.abs(t**2 / 4)), t / 2) <= ROUND_OFF           # t²/4 solves y' = √|y| too


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_erratum_10b_a_local_solution_may_end_and_the_solver_says_where(n):
    t = np.linspace(0.0, 2.0, n + 1)
    with pytest.raises(SolverError, match="no longer finite") as caught:
        odeint(lambda t, y: y**2, [1.0], t, method="rk4")                          # 1 / (1 − t)
    assert 1.0 <= caught.value.t <= 1.0 + 10 * t[1]
    before, rk4_error = t < 0.9, (20 * t[1])**4                                # y doubles within 0.1
    assert relative_error(caught.value.solution.ys[:before.sum(), 0], 1 / (1 - t[before])) < rk4_error


@pytest.mark.eq("4.7")
def test_erratum_10c_a_network_is_lipschitz_everywhere_and_two_solutions_part_no_faster_than_that():
    f, theta = MLP([3, 8, 2], ["softplus", "leaky_relu"]), np.sin(np.arange(50.0)) / 2
    t = np.linspace(0, 10, 501)
    ys = odeint(lambda t, y: f(t, y, theta), [[0.3, -0.2], [0.4, -0.1]], t, method="rk4")
    apart = np.linalg.norm(ys[:, 0] - ys[:, 1], axis=-1)
    assert (apart <= apart[0] * np.exp(f.lipschitz(theta) * t) * (1 + ROUND_OFF)).all()
    assert apart[-1] > apart[0] and np.abs(ys[-1]).max() > 10 * np.abs(ys[0]).max()


@pytest.mark.eq("6.1")
def test_erratum_11_residuals_must_shrink_with_the_step_or_more_layers_tend_to_nothing():
    def layers(n, shrink):
        y = NETWORK_Y0
        for t in np.arange(n) * 2 / n:
            y = y + (2 / n if shrink else 1.0) * NETWORK(t, y, NETWORK_THETA)
        return y
    flow = true_flow(NETWORK, NETWORK_Y0, np.array([0.0, 2.0]), NETWORK_THETA)[0][-1]
    assert abs(observed_order(lambda n: np.linalg.norm(layers(n, True) - flow), 64) - 1) < SLOPE
    assert np.linalg.norm(layers(128, False) - flow) > np.linalg.norm(layers(16, False) - flow) > 1
    assert np.array_equal(layers(64, True), odeint_euler(
        lambda t, y: NETWORK(t, y, NETWORK_THETA), NETWORK_Y0, np.arange(65) / 32)[-1])


def test_erratum_12_a_joint_mean_norm_costs_the_hard_trajectory_accuracy_and_a_maximum_only_steps():
    frequency = np.array([20.0] + 63 * [1.0])                      # one hard trajectory and 63 easy ones
    y0 = np.stack([np.ones(64), np.zeros(64), frequency], axis=-1)

    def f(t, y):
        return (y[..., 2] * np.cos(t))[..., None] * np.stack([-y[..., 1], y[..., 0], 0 * y[..., 2]], axis=-1)

    def solved(y0=y0, **options):
        done = solve(f, y0, [0.0, 1.0], rtol=1e-6, atol=1e-6, **options)
        angle, end = frequency[0] * np.sin(1.0), np.reshape(done.ys[-1], (-1, 3))[0, :2]
        return np.linalg.norm(end - [np.cos(angle), np.sin(angle)]), done.stats.n_accepted

    def maximum_norm(error, scale):
        return np.sqrt(np.mean((error / scale)**2, axis=-1)).max()
    alone, steps_hard = solved(y0[0])
    _, steps_easy = solved(y0[1])
    mean, steps_mean = solved()
    maximum, steps_maximum = solved(norm=maximum_norm)
    own, steps_own = solved(per_trajectory=True)
    assert mean > 3 * alone and steps_easy < steps_mean / 3 < steps_mean < steps_hard
    assert abs(maximum / alone - 1) < SAME_STEPS and steps_maximum == steps_hard
    assert abs(own / alone - 1) < SAME_STEPS and list(steps_own) == [steps_hard] + 63 * [steps_easy]


@pytest.mark.eq("6.1")
def test_erratum_13_euler_is_37_percent_short_where_theory_says_39():
    euler = odeint_euler(lambda t, y: y, 2.0, np.linspace(0, 10, 101))[-1]
    assert relative_error(euler, 2 * 1.1**100) <= ROUND_OFF
    assert round(100 * (euler / (2 * np.exp(10)) - 1), 1) == -37.4
    assert round(100 * (np.exp(-0.1 * 10 / 2) - 1)) == -39

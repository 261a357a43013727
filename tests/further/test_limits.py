"""What a flow cannot do: distances, orders and winding numbers of solutions; and the energy of its paths, with all derivatives."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import (MLP, CubicSpiral, Flow, Layered, Linear, VanDerPol, VectorField, WithEnergy, augmented, check_field,
                    check_gradients, hessian_vector_product, log_prob, methods, odeint, reversible, solve,
                    value_and_gradients)
from minode.further.limits import HALF_TURN, distances, energies, keeps_order, winding_number
from minode.further.matching import straightness
from minode.gradients.checks import complex_step
from tests.strategies import SMOOTH, arrays, assert_agree, batches, clocks, complex_columns, mlps, off_the_kinks, physics
from tests.subclasses import ProductsAlone

ROUND_OFF = 1e-12
TOLERANCE = 1e-9           # of the solver
SOLVED = 1e-6              # what a solve at that tolerance may be off at the end
CLOSE = 0.1                # of the sizes of a circle that some points stand for
ON_THE_LINE, IN_THE_PLANE = MLP([2, 6, 1], ["tanh", "identity"]), MLP([3, 6, 2], ["tanh", "identity"])
STARTS = np.linspace(-1.0, 1.0, 9)[:, None]
TURNS = np.linspace(0.0, 1.0, 200, endpoint=False)
CIRCLE = np.stack([np.cos(2 * np.pi * TURNS), np.sin(2 * np.pi * TURNS)], axis=-1)


# -- solutions do not meet ----------------------------------------------------------------------------------


@pytest.mark.eq("32.1")
@pytest.mark.parametrize("K, which", [(0.7, 1), (-0.7, 0)])
@pytest.mark.parametrize("t", [[0.3, 1.0, 2.0], [0.3, -1.0]])
def test_the_bounds_are_reached_by_the_field_that_only_stretches_or_shrinks(K, which, t):
    f, theta, t = MLP([2, 2], ["identity"]), np.array([K, 0.0, 0.0, K, 0.4, 0.1]), np.array(t)
    u, v = odeint(f, np.array([[1.0, 2.0], [1.5, 2.0]]), t, theta, rtol=TOLERANCE, atol=TOLERANCE).swapaxes(0, 1)
    which = which if t[-1] > t[0] else 1 - which
    assert np.abs(distances(f, 0.5, t, theta)[which] - np.linalg.norm(u - v, axis=1)).max() < SOLVED


@pytest.mark.eq("32.1")
@given(mlps(max_dim=2), st.data())
def test_two_solutions_of_a_network_stay_between_the_bounds(network, data):
    (f, theta), t = network, np.linspace(0.0, 1.0, 5)
    starts = data.draw(arrays((2, f.dim)))
    u, v = odeint(f, starts, t, theta, rtol=1e-7, atol=1e-9).swapaxes(0, 1)
    gap = np.linalg.norm(starts[0] - starts[1])
    if gap > SOLVED:
        least, largest = distances(f, gap, t, theta)
        apart = np.linalg.norm(u - v, axis=1)
        assert (least <= apart * (1 + SOLVED) + SOLVED).all() and (apart <= largest * (1 + SOLVED) + SOLVED).all()


@pytest.mark.eq("32.2")
@given(arrays(ON_THE_LINE.n_params, bound=3.0))
def test_a_flow_of_the_line_keeps_the_order_of_its_points(theta):
    ys = odeint(ON_THE_LINE, STARTS[::-1], np.linspace(0.0, 1.0, 5), theta, rtol=1e-7, atol=1e-9)
    gaps = np.abs(np.diff(ys[..., 0], axis=1))
    assert gaps.min() < SOLVED or keeps_order(ys)               # nearer than the solver sees


@pytest.mark.eq("32.2")
def test_what_a_flow_cannot_do_a_step_that_is_too_long_can():
    K = 2.0                                                     # y' = −2y, to −y by one layer
    assert np.array_equal(odeint(Linear(1), STARTS, [0.0, 1.0], [-K], method="euler")[-1], -STARTS)
    for h, keeps in ((0.49, True), (0.51, False)):
        ys = odeint(Linear(1), STARTS, np.arange(5) * h, [-K], method="euler")
        assert keeps_order(ys) == keeps
    assert not keeps_order(np.array([[[0.0], [1.0]], [[1.0], [0.0]]]))
    assert not keeps_order(np.array([[[0.0], [1.0]], [[0.5], [0.5]], [[0.0], [1.0]]]))          # they have met
    assert keeps_order(np.array([[[0.0], [1.0]]]))              # one time alone
    assert keeps_order(np.array([[[1.0], [0.0], [2.0]], [[1.5], [0.5], [1.6]]]))


@pytest.mark.eq("32.3")
def test_a_winding_number_counts_the_ways_round():
    spread = 0.3 * CIRCLE
    for times in (-2, -1, 0, 1, 3):
        curve = np.stack([np.cos(2 * np.pi * times * TURNS), np.sin(2 * np.pi * times * TURNS)], axis=-1)
        inside, outside = [winding_number(curve + [2.0, -1.0], c) for c in ([2.1, -1.2], [2.1, 0.2])]
        assert inside == times and outside == 0
    eight = np.stack([np.sin(2 * np.pi * TURNS), np.sin(4 * np.pi * TURNS)], axis=-1)           # one loop each way
    assert sorted(winding_number(eight, c) for c in ([0.5, 0.0], [-0.5, 0.0])) == [-1, 1]
    assert all(winding_number(CIRCLE, c) == 1 for c in spread)


@pytest.mark.eq("32.3")
@pytest.mark.parametrize("seed", range(4))
def test_a_flow_of_the_plane_keeps_a_disc_within_its_ring_and_no_line_separates_them(seed):
    theta = 2 * IN_THE_PLANE.init(np.random.default_rng(seed))
    starts = np.concatenate([CIRCLE, 0.5 * CIRCLE[::20], 1.5 * CIRCLE[::20]])
    for now in odeint(IN_THE_PLANE, starts, np.array([0.0, 0.5, 1.0]), theta):
        ring, within, beyond = np.split(now, [len(CIRCLE), len(CIRCLE) + 10])
        assert [winding_number(ring, c) for c in within] == [1] * 10
        assert [winding_number(ring, c) for c in beyond] == [0] * 10
        for direction in CIRCLE[::10]:                          # on a line across, the ring is on both sides of the disc
            along = ring @ direction
            assert along.min() < (within @ direction).min() and (within @ direction).max() < along.max()


@pytest.mark.eq("32.4", "32.5")
def test_half_a_turn_takes_every_point_of_the_line_to_its_opposite():
    start = augmented(STARTS)
    assert np.array_equal(start[:, :1], STARTS) and not start[:, 1:].any()
    half, end = odeint(Linear(2), start, [0.0, 0.5, 1.0], HALF_TURN, rtol=TOLERANCE, atol=TOLERANCE)[1:]
    assert np.abs(end + start).max() < SOLVED
    assert np.abs(half[:, 1] - STARTS[:, 0]).max() < SOLVED     # beside each other, not through each other


@pytest.mark.eq("32.4")
@given(batches.flatmap(lambda batch: arrays((*batch, 2))), st.integers(1, 3))
def test_what_is_augmented_has_zeros_behind_it_and_passes_derivatives(x, n):
    y = augmented(x, n)
    assert y.shape == (*x.shape[:-1], 2 + n) and np.array_equal(y[..., :2], x) and not y[..., 2:].any()
    assert np.array_equal(complex_step(lambda x: augmented(x, n), x, np.ones_like(x)), augmented(np.ones_like(x), n))


# -- the energy ------------------------------------------------------------------------------------------------


@pytest.mark.eq("32.7")
@given(mlps(), batches, st.data())
def test_the_last_component_moves_by_the_square_of_the_velocity(network, batch, data):
    (f, theta), t = network, data.draw(clocks(batch))
    s = data.draw(arrays((*batch, f.dim + 1)))
    n = data.draw(st.integers(1, f.dim))
    velocity = f(t, s[..., :-1], theta)
    for field, size in ((WithEnergy(f), f.dim), (WithEnergy(f, n), n)):
        ds = field(t, s, theta)
        assert np.array_equal(ds[..., :-1], velocity)
        assert_agree(ds[..., -1], np.linalg.norm(velocity[..., :size], axis=-1) ** 2, ROUND_OFF)


@pytest.mark.eq("32.7", "32.8", "32.9")
@given(st.one_of(mlps(), physics(), mlps(["leaky_relu"]).map(off_the_kinks)), batches, st.data())
def test_all_its_derivatives_are_those_by_complex_step(field, batch, data):
    (f, theta), t = field, data.draw(st.floats(-2, 2))
    n = data.draw(st.integers(1, f.dim))
    whole, s = WithEnergy(f, n), data.draw(arrays((*batch, f.dim + 1)))
    a, w, dtheta = data.draw(arrays((2, *s.shape))), data.draw(arrays(s.shape)), data.draw(arrays(theta.shape))
    a = a[0]
    f_y, f_theta = complex_columns(lambda s: whole(t, s, theta), s), complex_columns(lambda q: whole(t, s, q), theta)
    assert_agree(whole.jacobian(t, s, theta), f_y, ROUND_OFF)
    assert_agree(whole.param_jacobian(t, s, theta), f_theta, ROUND_OFF)
    assert_agree(whole.time_derivative(t, s, theta), complex_step(lambda t: whole(t, s, theta), t, 1.0), ROUND_OFF)
    assert_agree(whole.jvp(t, s, theta, w, dtheta), (f_y @ w[..., None])[..., 0] + f_theta @ dtheta, ROUND_OFF)
    value, vjp = whole.value_and_vjp(t, s, theta)
    expected = (a[..., None, :] @ f_y)[..., 0, :], np.sum((a[..., None, :] @ f_theta).reshape(-1, len(theta)), axis=0)
    assert np.array_equal(value, whole(t, s, theta))
    for products in (whole.vjp(t, s, theta, a), vjp(a)):
        for got, known in zip(products, expected):
            assert_agree(got, known, ROUND_OFF)


@pytest.mark.eq("32.9")
@given(mlps(SMOOTH), batches, st.data())
def test_the_product_changes_as_by_complex_step(network, batch, data):
    (f, theta), t = network, data.draw(clocks(batch))
    whole = WithEnergy(f, data.draw(st.integers(1, f.dim)))
    s, a, w = (data.draw(arrays((*batch, f.dim + 1))) for _ in range(3))
    dtheta = data.draw(arrays(theta.shape))
    for i, found in enumerate(whole.vjp_derivative(t, s, theta, a, w, dtheta)):
        moved = complex_step(lambda e: whole.vjp(t, s + e * w, theta + e * dtheta, a)[i], 0.0, 1.0)
        assert_agree(found, moved, 10 * ROUND_OFF)


def point(f, seed=0, batch=(4,)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*batch, f.dim)), (f.init(rng) if hasattr(f, "init") else 0.5 * rng.normal(size=f.n_params))


@pytest.mark.eq("32.8", "32.9")
@pytest.mark.parametrize("f", [IN_THE_PLANE, CubicSpiral(), VanDerPol(), Linear(3), Flow(IN_THE_PLANE),
                               Layered(MLP([2, 4, 2], ["tanh", "identity"]), 2)], ids=repr)
def test_it_is_a_field_with_all_its_derivatives(f):
    y, theta = point(getattr(f, "f", f))
    s = augmented(y, WithEnergy(f).dim - y.shape[1])
    theta = np.resize(theta, f.n_params)
    check_field(WithEnergy(f), 0.3, s, theta)


@pytest.mark.eq("32.9")
def test_check_gradients_finds_its_gradients_right():
    f = MLP([2, 2], ["tanh"])
    y, theta = point(f, batch=())
    check_gradients(WithEnergy(f, 1), augmented(y), [0.0, 0.4], theta, method="rk4")


def penalised(ys):
    """A loss of [y, e] with the penalty, and its gradient."""
    y, e = ys[-1, ..., :-1], ys[-1, ..., -1]
    dL_dys = np.zeros_like(ys)
    dL_dys[-1] = np.concatenate([np.cos(y), np.full((*e.shape, 1), 0.3)], axis=-1) / e.size
    return np.sum(np.sin(y)) / e.size + 0.3 * np.mean(e), dL_dys


@pytest.mark.eq("32.7", "32.9")
@pytest.mark.parametrize("method, gradient", [
    ("rk4", "discrete"), ("rk4", "checkpoint"), ("dopri5", "discrete"), ("midpoint", "checkpoint"),
    (reversible("rk4"), "reversible"), (reversible("rk4"), "discrete")],
    ids=lambda x: x if isinstance(x, str) else "reversible")
def test_the_gradient_of_a_loss_with_the_penalty_is_that_by_complex_step(method, gradient):
    y, theta = point(IN_THE_PLANE)
    f, s, t, options = WithEnergy(IN_THE_PLANE), augmented(y), np.array([0.0, 0.7]), dict(method=method, step_size=0.35)

    def loss(s, theta):
        return penalised(odeint(f, s + 0j, t, theta, **options))[0]
    value, found = value_and_gradients(penalised, f, s, t, theta, gradient=gradient, **options)
    by_s = complex_columns(lambda s: loss(s.reshape(y.shape[0], 3), theta), s.ravel())
    assert abs(value - loss(s, theta)) < ROUND_OFF
    assert_agree(found.y0.ravel(), by_s, ROUND_OFF)
    assert_agree(found.theta, complex_columns(lambda q: loss(s, q), theta), ROUND_OFF)
    assert_agree(found.y0[:, -1], np.full(4, 0.3 / 4), ROUND_OFF)                   # nothing depends on e


@pytest.mark.eq("32.9")
@pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])
def test_the_other_routes_come_near_it(gradient):
    y, theta = point(IN_THE_PLANE)
    f, s, t, fine = WithEnergy(IN_THE_PLANE), augmented(y), [0.0, 0.7], dict(rtol=TOLERANCE, atol=TOLERANCE)
    exact = value_and_gradients(penalised, f, s, t, theta, **fine)[1]
    found = value_and_gradients(penalised, f, s, t, theta, gradient=gradient, **fine)[1]
    assert_agree(found.theta, exact.theta, SOLVED)
    assert_agree(found.y0, exact.y0, SOLVED)


@pytest.mark.eq("32.9")
def test_the_gradient_through_implicit_steps_is_that_by_differences():
    y, theta = point(IN_THE_PLANE)
    e, w, options = 1e-5, np.cos(np.arange(len(theta))), dict(method="trbdf2", step_size=0.35)

    def both(theta):
        return value_and_gradients(penalised, WithEnergy(IN_THE_PLANE), augmented(y), [0.0, 0.7], theta, **options)
    by_differences = (both(theta + e * w)[0] - both(theta - e * w)[0]) / (2 * e)
    assert abs(both(theta)[1].theta @ w - by_differences) < 1e-8 * (1 + abs(by_differences))


@pytest.mark.eq("32.9")
def test_second_derivatives_of_a_loss_with_the_penalty():
    y, theta = point(IN_THE_PLANE)
    f, s, t, w = WithEnergy(IN_THE_PLANE), augmented(y), np.array([0.0, 0.7]), np.cos(np.arange(len(theta)))

    def gradient(theta):
        return value_and_gradients(lambda ys: (np.sum(ys[-1, :, -1]), last(ys)), f, s, t, theta, method="rk4")[1].theta

    def last(ys):
        return np.concatenate([0 * ys[:-1], np.broadcast_to([0.0, 0.0, 1.0], (1, *ys.shape[1:]))])

    def loss(ys, ws):
        return np.sum(ys[-1, :, -1]), last(ys), 0 * ws
    found = hessian_vector_product(loss, f, s, t, theta, 0 * s, w, method="rk4")
    e = 1e-5
    assert_agree(found.theta, (gradient(theta + e * w) - gradient(theta - e * w)) / (2 * e), 1e-7)


@pytest.mark.eq("32.7")
@pytest.mark.parametrize("A, y0, t", [(0.8, 1.5, [0.0, 1.0]), (-0.6, 2.0, [0.5, 2.0]), (0.8, 1.5, [1.0, 0.0])])
def test_the_energy_of_a_linear_field_is_that_of_its_exponential(A, y0, t):
    exact = A * y0**2 * (np.exp(2 * A * (t[1] - t[0])) - 1) / 2         # ∫ A² y0² e^{2A(t−t₀)} dt
    e, uneven = energies(Linear(1), [y0], t, [A], rtol=TOLERANCE, atol=TOLERANCE)
    moved = y0 * np.expm1(A * (t[1] - t[0]))
    assert abs(e - exact) < SOLVED and abs(uneven - (exact - moved**2 / (t[1] - t[0]))) < SOLVED


@pytest.mark.eq("32.6")
def test_what_the_energy_has_more_than_the_distance_needs_is_how_far_from_straight_the_paths_are():
    y, theta = point(IN_THE_PLANE, seed=3)
    theta = 3 * theta
    e, uneven = energies(IN_THE_PLANE, y, [0.0, 1.0], theta, rtol=TOLERANCE, atol=TOLERANCE)
    S = straightness(IN_THE_PLANE, y, theta, n=4000, rtol=TOLERANCE, atol=TOLERANCE)            # (30.8), by a rule
    assert uneven.shape == e.shape == (4,) and (uneven > 0).all() and (e > uneven).all()
    assert abs(uneven.mean() / S - 1) < 1e-5


class Constant(VectorField):
    """θ, wherever and whenever."""

    dim = n_params = 2

    def __call__(self, t, y, theta):
        return theta + 0 * y

    def jacobian(self, t, y, theta):
        return np.zeros((*y.shape, 2))

    def param_jacobian(self, t, y, theta):
        return np.zeros((*y.shape, 2)) + np.eye(2)

    def time_derivative(self, t, y, theta):
        return 0 * y


@pytest.mark.eq("32.6")
@pytest.mark.parametrize("t", [[0.0, 1.0], [0.0, 3.0], [2.0, 1.5]])
def test_a_constant_velocity_costs_what_the_distance_needs_and_one_step_of_any_method(t):
    theta = np.array([0.6, -0.8])
    for method in (name for name in ("euler", "heun", "rk4", "dopri5") if name in methods):
        e, uneven = energies(Constant(), [1.0, 2.0], t, theta, method=method, step_size=9.0)
        assert abs(e - (t[1] - t[0])) < ROUND_OFF and abs(uneven) < ROUND_OFF


def test_beside_a_flow_the_energy_is_that_of_the_points_and_the_density_stays_what_it_is():
    y, theta = point(IN_THE_PLANE)
    s = odeint(WithEnergy(Flow(IN_THE_PLANE), 2), augmented(y, 2), [1.0, 0.0], theta, rtol=TOLERANCE, atol=TOLERANCE)[-1]
    e, _ = energies(IN_THE_PLANE, y, [1.0, 0.0], theta, rtol=TOLERANCE, atol=TOLERANCE)
    log_p = -0.5 * np.sum(s[:, :2] ** 2, axis=1) - np.log(2 * np.pi) - s[:, 2]
    assert (e < 0).all() and np.abs(s[:, 3] - e).max() < SOLVED
    assert np.abs(log_p - log_prob(IN_THE_PLANE, y, [0.0, 1.0], theta, rtol=TOLERANCE, atol=TOLERANCE)).max() < SOLVED


def test_a_gradient_with_the_penalty_calls_the_field_no_more_often():
    class Counting(Linear):
        def __call__(self, t, y, theta):
            self.calls += 1
            return super().__call__(t, y, theta)

        def vjp(self, t, y, theta, a):
            self.products += 1
            return super().vjp(t, y, theta, a)
    f, counts = Counting(20), []           # no matrices, as it is large
    y, theta = point(f)
    for field, s in ((f, y), (WithEnergy(f), augmented(y))):
        f.calls = f.products = 0
        value_and_gradients(lambda ys: (np.sum(ys), np.ones_like(ys)), field, s, np.linspace(0.0, 0.7, 8), theta,
                            method="rk4", times=False)
        counts.append((f.calls, f.products))
    assert counts[0] == counts[1] == (28, 28)                   # four stages, seven steps


def test_a_field_with_products_alone_has_products_alone_and_stops_are_those_of_the_field():
    f = WithEnergy(ProductsAlone(IN_THE_PLANE))
    y, theta = point(IN_THE_PLANE)
    s = augmented(y)
    assert np.allclose(f.jacobian(0.3, s, theta), WithEnergy(IN_THE_PLANE).jacobian(0.3, s, theta), rtol=0, atol=ROUND_OFF)
    assert f.vjp_derivative is None or callable(f.vjp_derivative)
    layered = Layered(MLP([2, 2], ["tanh"]), 3)
    assert np.array_equal(WithEnergy(layered).tstops, layered.tstops)
    solution = solve(WithEnergy(layered), [1.0, 2.0, 0.0], [0.0, 3.0], layered.init(np.random.default_rng(0)))
    assert set(layered.tstops) <= set(solution.t_steps)


# -- refused -----------------------------------------------------------------------------------------------------


THETA = IN_THE_PLANE.init(np.random.default_rng(0))


@pytest.mark.parametrize("call, error, message", [
    (lambda: distances(Linear(2), 1.0, [0.0, 1.0], np.ones(4)), TypeError, "f must have a Lipschitz constant"),
    (lambda: distances(IN_THE_PLANE, -1.0, [0.0, 1.0], THETA), ValueError, "gap must be positive, not -1.0"),
    (lambda: distances(IN_THE_PLANE, 1.0, [0.0, 2.0, 1.0], THETA), ValueError, "t must be monotone"),
    (lambda: distances(IN_THE_PLANE, 1.0, [0.0, 1.0], THETA[1:]), ValueError, "theta must have shape"),
    (lambda: keeps_order(np.ones((3, 4))), ValueError, "ys must have shape (N, n, 1), the states of n solutions on a line, "
     "not (3, 4)"),
    (lambda: keeps_order(np.ones((3, 4, 2))), ValueError, "not (3, 4, 2)"),
    (lambda: winding_number(CIRCLE[:2], [0.0, 0.0]), ValueError, "curve must have shape (n, 2), at least three points"),
    (lambda: winding_number(CIRCLE, CIRCLE[3]), ValueError, "c must not lie on the curve"),
    (lambda: winding_number(CIRCLE, [0.0]), ValueError, "c must have shape (2,), not (1,)"),
    (lambda: augmented(1.0), ValueError, "x must have shape (..., d), not ()"),
    (lambda: augmented([1.0], 0), ValueError, "n must be a positive integer, not 0"),
    (lambda: augmented(["a"]), TypeError, "x must be an array of numbers"),
    (lambda: WithEnergy(np.sin), TypeError, "f must be a VectorField"),
    (lambda: WithEnergy(IN_THE_PLANE, 3), ValueError, "n must be at most 2, the number of components, not 3"),
    (lambda: WithEnergy(IN_THE_PLANE, 0), ValueError, "n must be a positive integer, not 0"),
    (lambda: WithEnergy(IN_THE_PLANE)(0.0, [1.0, 2.0], THETA), ValueError, "y and theta must have shapes (..., 3)"),
    (lambda: energies(IN_THE_PLANE, [1.0, 2.0], [1.0, 1.0], THETA), ValueError, "t must begin and end at different times"),
    (lambda: energies(IN_THE_PLANE, [1.0, 2.0, 3.0], [0.0, 1.0], THETA), ValueError, "y0 must have shape"),
])
def test_what_cannot_be_done_is_refused_by_name(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)

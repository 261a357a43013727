"""The four fields with known physics: what they conserve, where they rest, and their derivatives."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.linalg import expm

from minode import CubicSpiral, Linear, LotkaVolterra, VanDerPol, VectorField
from minode.gradients.checks import complex_step
from tests.strategies import arrays, assert_agree, batches, clocks, complex_columns

ROUND_OFF = 200 * np.finfo(float).eps
FIELDS = [pytest.param(Linear(1), marks=pytest.mark.eq("2.1"), id="Linear(1)"),
          pytest.param(Linear(3), marks=pytest.mark.eq("2.1"), id="Linear(3)"),
          pytest.param(LotkaVolterra(), marks=pytest.mark.eq("2.2"), id="LotkaVolterra"),
          pytest.param(VanDerPol(), marks=pytest.mark.eq("2.3"), id="VanDerPol"),
          pytest.param(CubicSpiral(), marks=pytest.mark.eq("2.4"), id="CubicSpiral")]
SECOND = [pytest.param(Linear(1), marks=pytest.mark.eq("2.7"), id="Linear(1)"),
          pytest.param(Linear(3), marks=pytest.mark.eq("2.7"), id="Linear(3)"),
          pytest.param(CubicSpiral(), marks=pytest.mark.eq("2.7"), id="CubicSpiral"),
          pytest.param(LotkaVolterra(), marks=pytest.mark.eq("2.8"), id="LotkaVolterra"),
          pytest.param(VanDerPol(), marks=pytest.mark.eq("2.9"), id="VanDerPol")]
EXPONENTIAL = 1e-12          # expm of a 3 × 3 matrix of norm up to 6, by scaling and squaring
positive = st.floats(0.1, 5.0)


@pytest.mark.parametrize("f", FIELDS)
@given(data=st.data(), batch=batches)
def test_hand_written_derivatives_are_those_of_the_complex_step(f, data, batch):
    t, y = data.draw(clocks(batch)), data.draw(arrays((*batch, f.dim)))
    theta = data.draw(arrays(f.n_params))
    assert f(t, y, theta).shape == y.shape
    assert_agree(f.jacobian(t, y, theta), complex_columns(lambda y: f(t, y, theta), y), ROUND_OFF)
    f_theta = complex_columns(lambda theta: f(t, y, theta), theta)
    assert_agree(f.param_jacobian(t, y, theta), f_theta, ROUND_OFF)
    assert_agree(f.time_derivative(t, y, theta), np.zeros_like(y), 0.0)
    assert np.array_equal(f(0.0, y, theta), f(1.0, y, theta))


@pytest.mark.parametrize("f", SECOND)
@given(data=st.data(), batch=batches)
def test_the_change_of_the_vector_jacobian_product_is_that_of_the_complex_step(f, data, batch):
    y, a, w = (data.draw(arrays((*batch, f.dim))) for _ in range(3))
    theta, dtheta = data.draw(arrays(f.n_params)), data.draw(arrays(f.n_params))
    for i, change in enumerate(f.vjp_derivative(0.5, y, theta, a, w, dtheta)):
        along = complex_step(lambda s: f.vjp(0.5, y + s * w, theta + s * dtheta, a)[i], 0.0, 1.0)
        assert_agree(change, along, ROUND_OFF)


@pytest.mark.eq("2.1")
@given(arrays((3, 3)), arrays(3), st.floats(-1, 1))
def test_the_matrix_exponential_solves_the_linear_field(A, y0, t):
    f = Linear(3)
    assert (f.dim, f.n_params) == (3, 9)
    velocity = complex_step(lambda t: expm(t * A) @ y0, t, 1.0)
    assert_agree(f(t, expm(t * A) @ y0, A.ravel()), velocity, EXPONENTIAL)


@pytest.mark.eq("2.1", "2.4")
@given(arrays((2, 2)), arrays(2))
def test_the_entries_of_theta_are_those_of_the_matrix_row_by_row(A, y):
    by_hand = [A[0, 0] * y[0] + A[0, 1] * y[1], A[1, 0] * y[0] + A[1, 1] * y[1]]
    assert_agree(Linear(2)(0.0, y, A.ravel()), by_hand, ROUND_OFF)
    cubes = [A[0, 0] * y[0]**3 + A[0, 1] * y[1]**3, A[1, 0] * y[0]**3 + A[1, 1] * y[1]**3]
    assert_agree(CubicSpiral()(0.0, y, A.ravel()), cubes, ROUND_OFF)


@pytest.mark.eq("2.1", "2.4")
def test_the_derivatives_of_both_matrix_fields_written_out_once():
    y, A = np.array([2.0, 3.0]), np.array([1.0, 10.0, 100.0, 1000.0])
    assert np.array_equal(Linear(2).jacobian(0.0, y, A), [[1, 10], [100, 1000]])
    assert np.array_equal(Linear(2).param_jacobian(0.0, y, A), [[2, 3, 0, 0], [0, 0, 2, 3]])
    assert np.array_equal(CubicSpiral().jacobian(0.0, y, A), [[12, 270], [1200, 27000]])
    assert np.array_equal(CubicSpiral().param_jacobian(0.0, y, A), [[8, 27, 0, 0], [0, 0, 8, 27]])


@pytest.mark.eq("2.2", "2.3")
def test_the_derivatives_of_both_oscillators_written_out_once():
    y, theta = np.array([2.0, 3.0]), np.array([1.0, 10.0, 100.0, 1000.0])
    assert np.array_equal(LotkaVolterra()(0.0, y, theta), [2 - 60, -300 + 6000])
    assert np.array_equal(LotkaVolterra().jacobian(0.0, y, theta), [[1 - 30, -20], [3000, 2000 - 100]])
    assert np.array_equal(LotkaVolterra().param_jacobian(0.0, y, theta), [[2, -6, 0, 0], [0, 0, -3, 6]])
    assert np.array_equal(VanDerPol()(0.0, y, theta[1:2]), [3, 10 * -3 * 3 - 2])
    assert np.array_equal(VanDerPol().jacobian(0.0, y, theta[1:2]), [[0, 1], [-2 * 10 * 6 - 1, 10 * -3]])
    assert np.array_equal(VanDerPol().param_jacobian(0.0, y, theta[1:2]), [[0], [-9]])


@pytest.mark.parametrize("f, theta, dtheta, d_y, d_theta", [
    pytest.param(CubicSpiral(), [1, 2, 3, 4], [1, 0, 0, -1], [372, -873], [60, -135, 84, -189],
                 marks=pytest.mark.eq("2.7"), id="CubicSpiral"),
    pytest.param(Linear(2), [1, 2, 3, 4], [1, 0, 0, -1], [5, -7], [5, -5, 7, -7],
                 marks=pytest.mark.eq("2.7"), id="Linear"),
    pytest.param(LotkaVolterra(), [1, 2, 3, 4], [1, -1, 2, 1], [23, 28], [5, -5, 7, 7],
                 marks=pytest.mark.eq("2.8"), id="LotkaVolterra"),
    pytest.param(VanDerPol(), [4], [1], [-140, -133], [-63], marks=pytest.mark.eq("2.9"), id="VanDerPol")])
def test_the_second_derivatives_worked_by_hand_once(f, theta, dtheta, d_y, d_theta):
    y, a, w = np.array([[2.0, 3.0], [5.0, 7.0], [1.0, -1.0]])
    theta, dtheta = np.array(theta, float), np.array(dtheta, float)
    got_y, got_theta = f.vjp_derivative(0.0, y, theta, a, w, dtheta)
    assert np.array_equal(got_y, d_y) and np.array_equal(got_theta, d_theta)
    two = [np.stack([x, x]) for x in (y, a, w)]
    batch_y, batch_theta = f.vjp_derivative(0.0, two[0], theta, *two[1:], dtheta)
    assert np.array_equal(batch_y, [d_y, d_y]) and np.array_equal(batch_theta, 2 * np.array(d_theta))


@pytest.mark.eq("2.5", "2.6")
@pytest.mark.parametrize("f", [Linear(1), Linear(3), CubicSpiral()], ids=["Linear(1)", "Linear(3)", "CubicSpiral"])
@given(data=st.data(), batch=batches)
def test_the_products_of_both_matrix_fields_are_those_of_their_matrices(f, data, batch):
    y, w, a = (data.draw(arrays((*batch, f.dim))) for _ in range(3))
    theta, dtheta = data.draw(arrays(f.n_params)), data.draw(arrays(f.n_params))
    assert_agree(f.jvp(0.5, y, theta, w, dtheta), VectorField.jvp(f, 0.5, y, theta, w, dtheta), ROUND_OFF)
    for got, expected in zip(f.vjp(0.5, y, theta, a), VectorField.vjp(f, 0.5, y, theta, a)):
        assert_agree(got, expected, ROUND_OFF)


@pytest.mark.eq("2.5", "2.6")
def test_those_products_form_no_matrix_of_a_trajectory():
    f, (y, w, a) = Linear(50), np.ones((3, 200, 50))
    theta = np.ones(2500)                          # f_y of the batch would take 50 states, f_θ 2,500
    tracemalloc.start()
    try:
        f.jvp(0.0, y, theta, w, theta), f.vjp(0.0, y, theta, a)
        assert tracemalloc.get_traced_memory()[1] < 6 * y.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.eq("2.4")
@given(arrays(2))
def test_the_spiral_winds_inwards(y):
    f, theta = CubicSpiral(), np.array([-0.1, 2.0, -2.0, -0.1])
    # d/dt (y₁⁴ + y₂⁴)/4 = y³ · A y³, and the skew part of A does not contribute.
    assert_agree(y**3 @ f(0.0, y, theta), -0.1 * np.sum(y**6), ROUND_OFF)
    assert np.all(f(0.0, np.array([0.0, 1.0]), theta) == [2.0, -0.1])
    # Clockwise, y₁ y₂' < y₂ y₁'; with y³ A, the product that torchdiffeq forms, the other way.
    for velocity, sense in ((f(0.0, y, theta), -1), (y**3 @ theta.reshape(2, 2), 1)):
        turn = y[0] * velocity[1] - y[1] * velocity[0]
        assert_agree(turn, sense * 2 * np.sum(y**4) - 0.1 * (y[0] * y[1]**3 - y[1] * y[0]**3), ROUND_OFF)


@pytest.mark.eq("2.2")
@given(positive, positive, positive, positive, positive, positive)
def test_lotka_and_volterra_conserve_their_quantity(y1, y2, alpha, beta, gamma, delta):
    f, theta = LotkaVolterra(), np.array([alpha, beta, gamma, delta])

    def conserved(y):
        return delta * y[0] - gamma * np.log(y[0]) + beta * y[1] - alpha * np.log(y[1])

    y = np.array([y1, y2])
    velocity = f(0.0, y, theta)
    change = complex_step(conserved, y, velocity)
    terms = (delta + gamma / y1) * abs(velocity[0]) + (beta + alpha / y2) * abs(velocity[1])
    assert abs(change) <= ROUND_OFF * max(1.0, terms)


@pytest.mark.eq("2.2")
@given(positive, positive, positive, positive, positive, positive)
def test_prey_grow_alone_predators_starve_alone_and_both_can_rest(prey, predators, alpha, beta, gamma, delta):
    f, theta = LotkaVolterra(), np.array([alpha, beta, gamma, delta])
    alone = f(0.0, np.array([[prey, 0.0], [0.0, predators]]), theta)
    assert_agree(alone, [[alpha * prey, 0.0], [0.0, -gamma * predators]], ROUND_OFF)
    assert_agree(f(0.0, np.array([gamma / delta, alpha / beta]), theta), np.zeros(2), 25 * ROUND_OFF)
    meeting = f(0.0, np.array([prey, predators]), theta) - alone.sum(axis=0)
    assert_agree(meeting, [-beta * prey * predators, delta * prey * predators], ROUND_OFF)


@pytest.mark.eq("2.3")
@given(st.floats(-3, 3), st.floats(-3, 3), positive)
def test_van_der_pol_gains_energy_inside_the_unit_strip_and_loses_it_outside(x, v, mu):
    f, y, theta = VanDerPol(), np.array([x, v]), np.array([mu])
    velocity = f(0.0, y, theta)
    assert velocity[0] == v
    assert_agree(y @ velocity, mu * (1 - x * x) * v * v, ROUND_OFF)      # d/dt (x² + v²)/2
    assert_agree(f(0.0, np.array([x, 0.0]), theta), [0.0, -x], ROUND_OFF)


@pytest.mark.eq("2.3")
def test_van_der_pol_is_stiff_for_large_mu():
    mu = np.array([1000.0])
    y = np.array([2.0, 2.0 / (mu[0] * (1 - 2.0**2))])       # where it creeps: y₂' is zero
    attraction = np.linalg.eigvals(VanDerPol().jacobian(0.0, y, mu)).real.min()
    speed = np.linalg.norm(VanDerPol()(0.0, y, mu)) / np.linalg.norm(y)
    assert -attraction > 0.9 * 3 * mu[0] and speed < 1.1 / (3 * mu[0])


@pytest.mark.parametrize("f", FIELDS)
def test_a_float32_state_has_a_float32_velocity(f):
    y, theta = np.ones((2, f.dim), np.float32), np.ones(f.n_params, np.float32)
    assert f(0.5, y, theta).dtype == np.float32


@pytest.mark.parametrize("dim", [0, -1, 2.0, "2", None, True])
def test_a_linear_field_needs_a_positive_whole_dimension(dim):
    with pytest.raises(ValueError, match=f"dim must be a positive integer, not {dim!r}"):
        Linear(dim)


@pytest.mark.parametrize("f", FIELDS)
@pytest.mark.parametrize("y_shape, more", [((), 0), (None, 1), (None, -1), ((3, -1), 0), ((-1,), 0)])
def test_a_state_or_a_theta_of_another_shape_is_refused_in_words(f, y_shape, more):
    shape = (f.dim,) if y_shape is None else tuple(f.dim + 1 if n < 0 else n for n in y_shape)
    y, theta = np.ones(shape), np.ones(f.n_params + more)
    wanted = f"y and theta must have shapes (..., {f.dim}) and ({f.n_params},), "
    with pytest.raises(ValueError, match=re.escape(wanted + f"not {y.shape} and {theta.shape}")):
        f(0.0, y, theta)

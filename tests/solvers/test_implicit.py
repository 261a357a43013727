"""The stages solve their equation, a step multiplies by R, symmetry reverses it, stiffness costs no steps."""

import functools

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.polynomial import Legendre, Polynomial
from numpy.polynomial.legendre import leggauss
from scipy.integrate import solve_ivp

from minode import MLP, Linear, SolverError, Tableau, VanDerPol, VectorField, methods, odeint, solve
from minode.solvers.adaptive import Tolerances
from minode.solvers.implicit import ImplicitStepper, SimplifiedNewton, stability_function
from minode.solvers.implicit_tables import IMPLICIT
from minode.solvers.newton import FullNewton, by_differences, newton_matrix
from minode.solvers.solve import run
from minode.solvers.states import initial_value_problem
from figures._stiff import robertson, robertson_jacobian, van_der_pol, van_der_pol_jacobian
from tests.solvers.test_adaptive import EPS, FEW_STEPS, fewer, pendulum_after
from tests.solvers.test_dense import jacobian, pendulum
from tests.strategies import arrays, assert_agree, batches

ROUND_OFF = 500 * EPS                 # of a linear system solved, its condition some tens
FAR, NEARLY = -1e6, 1e-4              # z, and how near R(z) is to its limit there: some tens over |z|
ROUND_TRIP = 1e-12                    # of some hundred steps, each with that round-off
SLOPE = 0.1                           # of an observed order on finite steps
STIFF_SLOPE = 0.5                     # the least power of the tolerance: stiffness costs some of the order
ROBERTSON_ERROR = 1e-4                # of methods of order 3 and more after 50 steps as long as the problem is stiff
OUTPUT = 3                            # times the tolerance, of a slow solution however stiff
RATE = 1e-4                           # of a rate, from corrections down to 1e-10
NEWTON_LEAVES = 1e-6                  # relative: a share of the default rtol in each of a few steps, in two ways
LONG = 1e3                            # a step size longer than any interval: fixed steps, one for each

# A table of the reader's own, an explicit stage between two implicit ones.
OWN = Tableau("own", 1, A=["1/2", "1 0", "1/4 1/4 1/2"], b="1/2 1/4 1/4")
L_STABLE = ["implicit_euler", "radau3", "radau5", "trbdf2", "kvaerno5"]
SYMMETRIC = ["implicit_midpoint", "trapezoid", "gauss4", "gauss6"]
each_method = pytest.mark.parametrize("method", IMPLICIT, ids=lambda tableau: tableau.name)


def rows(t, y):
    """The Jacobian of the pendulum for a batch of any shape."""
    f_y = np.zeros((*y.shape, 2), y.dtype)
    f_y[..., 0, 1], f_y[..., 1, 0], f_y[..., 1, 1] = 1.0, -3 * np.cos(y[..., 0]), -0.2
    return f_y


def one_step(method, t, h, y):
    """hK, y_new and the last k, after a step of the pendulum from y of any shape, all flat."""
    def f(t, y):
        return pendulum(t, y.reshape(-1, 2)).ravel()

    def f_y(t, y):
        return rows(t, y.reshape(-1, 2))
    stepper = ImplicitStepper(f, method, FullNewton(f, f_y, method.stages), y.dtype)
    y_new, k_last, hK = stepper.step(t, h, y.ravel(), f(t, y))
    assert hK.shape == (method.stages, y.size)
    return hK, y_new, k_last


def fixed(f, y0, t, method, jacobian=rows, **options):
    return solve(f, y0, t, method=method, jacobian=jacobian, step_size=LONG, **options)


# -- the equation of the stages ---------------------------------------------------------------

@pytest.mark.eq("13.1")
@pytest.mark.parametrize("method", [*IMPLICIT, OWN], ids=lambda tableau: tableau.name)
@fewer
@given(st.data(), batches, st.floats(-1, 1), st.sampled_from([0.2, -0.3]))
def test_the_stages_solve_their_equation(method, data, batch, t, h):
    y = data.draw(arrays((*batch, 2)))
    hK, y_new, k_last = one_step(method, t, h, y)
    A, b, c = method.arrays()
    for a_i, c_i, hk in zip(A, c, hK):
        Y_i = (y.ravel() + a_i @ hK).reshape(-1, 2)
        assert_agree(hk, h * pendulum(t + c_i * h, Y_i).ravel(), ROUND_OFF)
    assert_agree(y_new, y.ravel() + b @ hK, ROUND_OFF)
    assert_agree(h * k_last, hK[-1], ROUND_OFF)


@pytest.mark.eq("13.1")
@pytest.mark.parametrize("name, stages", [
    ("implicit_midpoint", 1), ("gauss4", 2), ("gauss6", 3),
    ("implicit_euler", 1), ("radau3", 2), ("radau5", 3)])
@fewer
@given(arrays(3), st.floats(-1, 1), st.sampled_from([0.5, -0.75]))
def test_collocation_meets_a_polynomial_solution_at_every_node(name, stages, p, t, h):
    velocity, asked = Polynomial(p[:stages]), []
    exact = velocity.integ()

    def f(t, y):
        asked.append((t, y[0]))
        return np.array([velocity(t)])
    fixed(f, [exact(t)], [t, t + h], name, lambda t, y: np.zeros((1, 1)))
    nodes = (leggauss(stages)[0] + 1) / 2
    if name not in SYMMETRIC:                                        # Radau: the roots of P_s − P_{s−1}
        nodes = (np.sort((Legendre.basis(stages) - Legendre.basis(stages - 1)).roots().real) + 1) / 2
    for (asked_t, Y), node in zip(asked[-stages:], nodes, strict=True):
        assert_agree(asked_t, t + node * h, ROUND_OFF)
        assert_agree(Y, exact(asked_t), ROUND_OFF)


# -- R(z) -------------------------------------------------------------------------------------

def padé(numerator, denominator):
    return lambda z: Polynomial(numerator)(z) / Polynomial(denominator)(z)


def trbdf2(z):
    """The trapezoidal rule to γ = 2 − √2 of the step, then the backward formula through three points."""
    gamma = 2 - np.sqrt(2)
    middle = (1 + gamma * z / 2) / (1 - gamma * z / 2)
    return (middle - (1 - gamma)**2) / (gamma * (2 - gamma)) / (1 - (1 - gamma) / (2 - gamma) * z)


def kvaerno5(z):
    """Of order 5 with the denominator (1 − 0.26 z)⁶: the numerator is e^z times that, cut after z⁵."""
    denominator = Polynomial([1, -0.26])**6
    series = Polynomial(1 / np.cumprod([1, 1, 2, 3, 4, 5]))
    return (denominator * series).cutdeg(5)(z) / denominator(z)


R = {"implicit_euler": padé([1], [1, -1]), "implicit_midpoint": padé([1, 1/2], [1, -1/2]),
     "trapezoid": padé([1, 1/2], [1, -1/2]), "gauss4": padé([1, 1/2, 1/12], [1, -1/2, 1/12]),
     "gauss6": padé([1, 1/2, 1/10, 1/120], [1, -1/2, 1/10, -1/120]), "radau3": padé([1, 1/3], [1, -2/3, 1/6]),
     "radau5": padé([1, 2/5, 1/20], [1, -3/5, 3/20, -1/60]), "trbdf2": trbdf2, "kvaerno5": kvaerno5}


@pytest.mark.eq("13.1", "13.2", "13.3")
@each_method
@fewer
@given(st.floats(-30, 0.5), st.floats(-30, 30), st.sampled_from([0.25, -0.5]))
def test_a_step_of_a_decay_multiplies_by_R(method, re, im, h):
    z = re + 1j * im
    expected = R[method.name](z)
    assert_agree(stability_function(method, np.array([[z]])), [[expected]], ROUND_OFF)
    lam = z / h
    ys = fixed(lambda t, y: lam * y, [1 + 0j], [0.0, h, 2 * h], method, lambda t, y: np.array([[lam]])).ys
    assert_agree(ys[:, 0], [1, expected, expected**2], ROUND_OFF)


@pytest.mark.eq("13.2")
def test_of_an_explicit_method_R_is_a_polynomial():
    z = np.array([-3.0, 0.5 + 2j])
    assert_agree(stability_function(methods["rk4"], z), 1 + z + z**2/2 + z**3/6 + z**4/24, ROUND_OFF)
    assert_agree(stability_function(methods["heun"], z), 1 + z + z**2/2, ROUND_OFF)
    assert abs(stability_function(methods["dop853"], np.array(-100.0))) > 1e6


@pytest.mark.eq("13.2")
@each_method
def test_every_implicit_method_is_A_stable_and_L_stable_where_it_says_so(method):
    left = -np.logspace(-3, 3, 60)[:, None] * np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 61))
    assert np.abs(stability_function(method, left)).max() <= 1 + ROUND_OFF
    limit = 0.0 if method.name in L_STABLE else 1.0
    assert abs(abs(stability_function(method, np.array(FAR))) - limit) <= NEARLY


# -- Newton -----------------------------------------------------------------------------------

LINEAR = np.array([[-3.0, 40.0, 0.5], [0.1, -2.0, 7.0], [1.0, 0.2, -50.0]])


@pytest.mark.eq("13.3")
@each_method
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_newton_solves_a_linear_problem_at_once_and_checks(method, batch):
    scales = 1 + np.arange(np.prod(batch, dtype=int)).reshape(batch) / 7      # each trajectory its own matrix
    J = scales[..., None, None] * LINEAR

    def f(t, y):
        return (J @ y[..., None])[..., 0] + np.sin(t)
    y0, t = np.ones((*batch, 3)), np.array([0.0, 0.1, 0.3])
    solution = fixed(f, y0, t, method, lambda t, y: J)
    A, b, c = method.arrays()
    y = y0
    for t_n, h in zip(t, np.diff(t)):                            # (1 − h A ⊗ J) K = 1 ⊗ (J y) + sin(t + c h)
        s, new = len(b), np.empty_like(y)
        for i in np.ndindex(*batch):
            M = np.eye(3 * s) - h * np.kron(A, J[i])
            k = np.linalg.solve(M, np.concatenate([J[i] @ y[i] + np.sin(t_n + c_j * h) for c_j in c]))
            new[i] = y[i] + h * b @ k.reshape(s, 3)
        y = new
    assert_agree(solution.ys[-1], y, ROUND_OFF)
    equations = sum(1 for a_i in method.A if any(a_i))
    assert solution.stats.n_jac - 1 <= 3 * equations * solution.stats.n_steps    # solve, check, and once more
    assert solution.stats.n_f == solution.stats.n_jac       # one of each before the first step, then in pairs


@pytest.mark.eq("13.3")
@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.3, -0.7]))
def test_the_matrix_of_newton_is_the_derivative_of_what_is_left_over(data, m, B, d, h):
    A, f_y = data.draw(arrays((m, m))), data.draw(arrays((m, B, d, d)))
    M = newton_matrix(h, A, f_y)
    assert M.shape == (B, m * d, m * d)
    for b in range(B):
        expected = [np.concatenate([(i == j) * np.eye(d) - h * A[i, j] * f_y[i, b] for j in range(m)], axis=1)
                    for i in range(m)]
        assert_agree(M[b], np.concatenate(expected), 10 * EPS)


@pytest.mark.eq("13.3")
@each_method
@pytest.mark.parametrize("f_y", [lambda t, y: np.array([[0, 1], [-2, 0]]), lambda t, y: [[0, 1], [-2, 0]],
                                 lambda t, y: np.array([[0, 1], [-2, 0]], np.float32)], ids=["int", "list", "float32"])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.complex128])
def test_a_jacobian_in_whole_numbers_lists_or_another_precision_is_as_good(method, f_y, kind):
    def f(t, y):
        return np.array([y[1], -2 * y[0]])
    y0, t = np.array([1.0, 0.5], kind), [0.0, 0.3, 0.5]
    exact = fixed(f, y0, t, method, lambda t, y: np.array([[0.0, 1.0], [-2.0, 0.0]])).ys
    ys = fixed(f, y0, t, method, f_y).ys
    assert ys.dtype == kind
    assert_agree(ys, exact, 100 * np.finfo(kind).eps)


@each_method
def test_a_complex_jacobian_of_a_real_state_is_refused(method):
    with pytest.raises(TypeError, match="jacobian returned complex values for a real state; make y0 complex"):
        fixed(pendulum, [0.5, -0.3], [0.0, 1.0], method, lambda t, y: rows(t, y) + 0j)


@pytest.mark.eq("13.3")
@each_method
@pytest.mark.parametrize("f, y0", [(Linear(2), [1.0, -0.5]), (VanDerPol(), [[1.0, -0.5], [0.2, 0.1]]),
                                   (MLP([3, 4, 2], ["tanh", "identity"]), [1.0, -0.5])],
                         ids=["linear", "batch", "network"])
def test_a_field_brings_its_own_jacobian(method, f, y0):
    theta, t = np.cos(np.arange(f.n_params)), np.array([0.0, 0.3, 0.5])
    own = solve(f, y0, t, theta, method=method)
    given = solve(lambda t, y: f(t, y, theta), y0, t, method=method, jacobian=lambda t, y: f.jacobian(t, y, theta))
    assert np.array_equal(own.ys, given.ys) and own.stats == given.stats and own.stats.n_jac > 0
    assert np.array_equal(odeint(f, y0, t, theta.tolist(), method=method), own.ys)            # θ may be a list
    by_differences = solve(lambda t, y, theta: f(t, y, theta), y0, t, theta, method=method)
    assert by_differences.stats.n_jac > 0 and by_differences.stats.n_f > own.stats.n_f
    assert_agree(by_differences.ys, own.ys, NEWTON_LEAVES)


@each_method
def test_a_jacobian_that_is_given_goes_before_that_of_the_field(method):
    calls, f, theta = [], Linear(2), np.array([0.0, 1.0, -4.0, -0.5])

    def f_y(t, y):
        calls.append(t)
        return f.jacobian(t, y, theta)
    stats = solve(f, [1.0, 0.0], [0.0, 0.5], theta, method=method, jacobian=f_y).stats
    assert stats.n_jac == len(calls) > 0


@pytest.mark.eq("13.3")
@each_method
def test_newton_doubles_its_digits_with_every_iteration(method):
    solution = fixed(pendulum, [0.5, -0.3], np.linspace(0.0, 2.0, 11), method)
    equations = sum(1 for a_i in method.A if any(a_i))
    assert solution.stats.n_jac - 1 <= 4 * equations * solution.stats.n_steps


@pytest.mark.eq("13.3")
@each_method
def test_each_stage_has_the_jacobian_of_its_own_time(method):
    def rate(t):                                     # the matrix changes by several times its size in a step
        return np.array([[-1.0 - 40 * t, 2.0], [-3.0 + 20 * t, -0.5]])
    t = np.array([0.0, 0.5, 1.1])
    solution = fixed(lambda t, y: rate(t) @ y, [1.0, -2.0], t, method, lambda t, y: rate(t))
    equations = sum(1 for a_i in method.A if any(a_i))
    assert solution.stats.n_jac - 1 <= 3 * equations * solution.stats.n_steps    # as of any linear problem


@pytest.mark.eq("13.1")
@pytest.mark.parametrize("method, h, y", [          # of two solutions of the step of y' = −y² from 1
    ("implicit_euler", 2.0, 1 / 2), ("implicit_euler", 4.0, (17**0.5 - 1) / 8),
    ("implicit_midpoint", 1.0, 12**0.5 - 3), ("implicit_midpoint", 4.0, 0.0)])
def test_newton_finds_the_solution_of_the_step_that_belongs_to_y(method, h, y):
    found = fixed(lambda t, y: -y**2, [1.0], [0.0, h], method, lambda t, y: (-2 * y)[..., None])
    assert_agree(found.ys[-1], [y], ROUND_OFF)


@functools.cache
def by_lsoda(f, f_y, y0, t, rtol, atol):
    """SciPy's solution at the times t, (T, d), which no mistake of ours can change."""
    return solve_ivp(f, (t[0], t[-1]), y0, "LSODA", t, jac=f_y, rtol=rtol, atol=atol).y.T


@pytest.mark.parametrize("method", ["gauss4", "gauss6", "radau3", "radau5"])
@pytest.mark.parametrize("h", [0.01, 0.1, 1.0])
def test_and_of_a_stiff_problem_from_its_first_step_on(method, h):
    t = np.array([0.0, 50 * h])
    reference = by_lsoda(robertson, robertson_jacobian, (1.0, 0.0, 0.0), tuple(t), 1e-9, 1e-13)[-1]
    ys = odeint(robertson, [1.0, 0.0, 0.0], t, method=method, jacobian=robertson_jacobian, step_size=h)
    slow = [0, 2]                                    # of y₂ Gauss's methods leave an oscillation, R(−∞) = ±1
    assert np.abs(ys[-1, slow] - reference[slow]).max() <= ROBERTSON_ERROR


@pytest.mark.eq("13.4")
@pytest.mark.parametrize("name", ["trbdf2", "radau5"])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_the_error_is_filtered_with_the_jacobian_that_is_kept(name, batch):
    method, h, t = methods[name], -0.3, 0.4
    y = np.linspace(-1.0, 1.0, 2 * np.prod(batch, dtype=int)).reshape(*batch, 2)
    newton = simplified(method, batch)
    next(newton.guesses(t, h, y.ravel(), 0 * y.ravel()))
    e, gamma = np.cos(np.arange(y.size)), GAMMA if name == "radau5" else float(method.A[-1][-1])
    M = np.eye(2) - h * gamma * rows(t, y)
    assert_agree((M @ newton.filtered(e).reshape(*y.shape, 1)).ravel(), e, ROUND_OFF)


# -- one Jacobian, kept -----------------------------------------------------------------------

ADAPTIVE = ["trbdf2", "kvaerno5", "radau5"]
GAMMA = min(np.linalg.eigvals(methods["radau5"].arrays()[0]), key=lambda x: abs(x.imag)).real


def simplified(method, batch=(), tolerances=Tolerances(1e-3, 1e-3)):
    """The simplified Newton method of the pendulum."""
    def f(t, y):
        return pendulum(t, y.reshape(-1, 2)).ravel()
    return SimplifiedNewton(f, lambda t, y: rows(t, y.reshape(-1, 2)), method, tolerances)


@pytest.mark.eq("13.1", "13.3", "13.5")
@pytest.mark.parametrize("wrong", [1.2, 0.85, 0.97])
@pytest.mark.parametrize("rtol", [1e-2, 1e-6])
def test_newton_stops_when_the_geometric_series_of_the_corrections_leaves_a_share_of_the_tolerance(wrong, rtol):
    lam, h, y, values = -3.0, 0.5, np.array([2.0]), []

    def f(t, y):
        values.append(y[0])
        return lam * y
    newton = SimplifiedNewton(f, lambda t, y: np.array([[[lam * wrong]]]), methods["implicit_euler"],
                              Tolerances(rtol, 0.0))
    hK, = newton.guesses(0.0, h, y, lam * y)         # to the end: with the Jacobian of this time there is no other
    values.clear()
    newton.h, newton.hK = h, hK
    assert newton.solve([h], h, y, np.ones((1, 1)), hK)
    rate = abs(1 - (1 - h * lam) / (1 - h * lam * wrong))          # of the iteration of a linear equation
    exact = h * lam / (1 - h * lam) * y
    first = abs(exact[0]) * (1 - h * lam) / (1 - h * lam * wrong)  # the first correction, from 0
    least = [n for n in range(1, 11) if n == 1 and first <= 0.03 * rtol * 2
             or n > 1 and rate / (1 - rate) * first * rate ** (n - 1) <= 0.03 * rtol * 2][0]
    assert len(values) == newton.iterations == least
    assert abs(newton.rate - rate) <= RATE and abs(newton.remains - rate / (1 - rate)) <= RATE
    assert abs(hK - exact) <= 0.03 * rtol * 2 * (1 + 1e-6)


def test_newton_is_done_when_every_stage_is_and_gives_up_when_it_cannot_be():
    def largest(error, scale):
        return np.abs(error / scale).max()
    for norm in (None, largest):
        for f_y, solves in ((-1.0, True), (40.0, False), (np.nan, False), (1 / 0.5, False)):
            newton = SimplifiedNewton(lambda t, y: -y, lambda t, y: np.full((1, 2, 2), np.diag([f_y, f_y])),
                                      methods["gauss4"], Tolerances(1e-3, 1e-3, norm))
            A, y = np.array([[0.5, 0.0], [0.0, 0.5]]), np.array([1.0, 100.0])
            hK = next(newton.guesses(0.0, 1.0, y, -y))
            assert newton.solve([0.5, 0.5], 1.0, y, A, hK) is solves
            if solves:
                assert_agree(hK, np.array([y, y]) / -1.5, 1e-5)


@pytest.mark.eq("13.1")
@pytest.mark.parametrize("name", ADAPTIVE)
@given(st.data(), st.sampled_from([(), (3,)]), st.floats(-1, 1), st.sampled_from([0.1, -0.1]))
def test_the_stages_of_a_step_that_is_chosen_solve_the_same_equation(name, data, batch, t, h):
    method, y = methods[name], data.draw(arrays((*batch, 2))).ravel()
    newton = simplified(method, batch, Tolerances(1e-10, 1e-10))
    _, _, hK = ImplicitStepper(newton.f, method, newton, y.dtype).step(t, h, y, newton.f(t, y))
    A, _, c = method.arrays()
    for a_i, c_i, hk in zip(A, c, hK):
        assert_agree(hk, h * newton.f(t + c_i * h, y + a_i @ hK), 1e-10)


@pytest.mark.eq("13.6")
@pytest.mark.parametrize("name, degree", [("trbdf2", 1), ("kvaerno5", 3), ("radau5", 2)])
@given(arrays(4), st.sampled_from([0.3, -0.2]), st.sampled_from([0.5, 1.0, 3.0]))
def test_a_step_begins_where_the_polynomial_of_the_last_one_leads(name, degree, p, h, r):
    velocity, method = Polynomial(p[:degree + 1]), methods[name]
    _, _, c = method.arrays()
    newton = SimplifiedNewton(None, lambda t, y: np.zeros((1, 1, 1)), method, Tolerances(1e-3, 1e-3))
    y = np.ones(1)
    first = next(newton.guesses(0.2, h, y, y))
    assert not first.any()
    first[:, 0] = [h * velocity(0.2 + c_i * h) for c_i in c]        # as if it had been solved
    foreseen = next(newton.guesses(0.2 + h, r * h, y, y))
    assert_agree(foreseen[:, 0], [r * h * velocity(0.2 + h + c_i * r * h) for c_i in c], 1e4 * ROUND_OFF)
    far = next(newton.guesses(0.2 + (1 + r) * h, 1000 * h, y, y))   # ten steps ahead no polynomial is to be trusted
    assert_agree(far[:, 0], np.full(len(c), 1000 / r * foreseen[-1, 0]), ROUND_OFF)


def driven(t, y):
    return LINEAR @ y + np.sin(t)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_one_jacobian_serves_a_linear_problem_from_end_to_end(name):
    y0, t = np.array([1.0, -2.0, 0.5]), np.linspace(0.0, 3.0, 7)
    solution = solve(driven, y0, t, method=name, jacobian=lambda t, y: LINEAR)
    assert solution.stats.n_jac == 2 and solution.stats.n_accepted > 20          # one to see whether it fits
    reference = by_lsoda(driven, None, tuple(y0), tuple(t), 1e-10, 1e-12)
    assert np.abs(solution.ys - reference).max() <= FEW_STEPS * 1e-6 * np.abs(solution.ys).max()


# -- radau5's own estimate --------------------------------------------------------------------

def hairers_estimate(z, y, retried):
    """Hairer and Wanner (IV.8.19) and (IV.8.20) for one step of y' = λy, h λ = z, from their printed numbers."""
    A, _, _ = methods["radau5"].arrays()
    Z = np.linalg.solve(np.eye(3) - z * A, np.full(3, y)) - y
    weights = np.array([-13 - 7 * 6**0.5, -13 + 7 * 6**0.5, -1]) / 3
    gamma = 1 / (3 + 3**(2/3) - 3**(1/3))
    error = gamma * (z * y + weights @ Z) / (1 - z * gamma)
    return gamma * (z * (y + error) + weights @ Z) / (1 - z * gamma) if retried else error


@pytest.mark.eq("13.7", "13.4")
@given(st.floats(-1e4, -1e-2), st.sampled_from([0.25, -0.5]))
def test_the_estimate_of_radau5_is_hairers(z, h):
    lam, y, method = z / h, np.array([1.5]), methods["radau5"]
    newton = SimplifiedNewton(lambda t, y: lam * y, lambda t, y: np.array([[[lam]]]), method, Tolerances(1e-13, 0.0))
    step = ImplicitStepper(newton.f, method, newton, y.dtype).step

    def estimate(t, h):
        return newton.smooth(method.errors[0] @ step(t, h, y, lam * y)[2])[0]
    assert_agree(estimate(0.0, h), -hairers_estimate(z, 1.5, True), 1e-8)                      # the first step
    assert_agree(estimate(h, h), -hairers_estimate(z, 1.5, False), 1e-8)
    assert_agree(estimate(h, h / 2), -hairers_estimate(z / 2, 1.5, True), 1e-8)                # a second attempt


@pytest.mark.eq("13.7")
def test_the_estimate_of_radau5_is_of_order_3_and_where_y_decays_at_once_it_does_too():
    method = methods["radau5"]
    _, b, c = method.arrays()
    b_hat = np.array(method.b_hat, float)
    assert abs(method.b_hat_0 - GAMMA) <= ROUND_OFF
    for power in range(4):                            # ∫ σ^m from the three stages and f at σ = 0
        total = b_hat @ np.array(c) ** power + method.b_hat_0 * (power == 0)
        assert (abs(total - 1 / (power + 1)) <= ROUND_OFF) == (power < 3)
    assert abs(hairers_estimate(FAR, 1.0, False) + 1) <= NEARLY and abs(hairers_estimate(FAR, 1.0, True)) <= NEARLY


def test_radau5_chooses_its_steps_and_with_a_step_size_takes_equal_ones():
    t = [0.0, 1.0, 5.0]
    errors = []
    exact = solve_ivp(pendulum, (0.0, 5.0), [0.5, -0.3], "DOP853", t, rtol=1e-13, atol=1e-14).y.T
    for tol in (1e-4, 1e-7):
        solution = solve(pendulum, [0.5, -0.3], t, method="radau5", rtol=tol, atol=tol, jacobian=rows)
        errors.append(np.abs(solution.ys - exact).max())
        assert errors[-1] <= FEW_STEPS * tol
    assert errors[0] / errors[1] >= 100
    tape = run(pendulum, [0.5, -0.3], t, tape=[], method="radau5", jacobian=rows, step_size=0.5).tape
    assert [step[1] for step in tape] == 10 * [0.5] and {step[3].shape for step in tape} == {(3, 2)}


# -- a Jacobian by differences ----------------------------------------------------------------

@pytest.mark.parametrize("kind", [np.float64, np.complex128, np.float32])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_a_by_differences_is_that_of_each_row(kind, batch):
    scales = np.logspace(-9, 6, int(np.prod(batch, dtype=int))).reshape(*batch, 1)       # each row its own size
    y = (scales * np.array([0.5, -0.3])).astype(kind)
    if kind is np.complex128:
        y = y * (1 + 2j)

    def f(t, y):
        return np.stack([y[..., 1] * y[..., 0], 3 * y[..., 0] - y[..., 1]**2 * t], axis=-1).astype(kind)
    problem = initial_value_problem(f, y, [0.0, 1.0])
    f_y = by_differences(problem, y)(0.7, problem.y).reshape(*batch, 2, 2)
    expected = np.stack([np.stack([y[..., 1], y[..., 0]], axis=-1),
                         np.stack([0 * y[..., 0] + 3, -1.4 * y[..., 1]], axis=-1)], axis=-2)
    size = np.abs(y).max(axis=-1)[..., None, None] + 1
    assert np.abs((f_y - expected) / size).max() <= 20 * np.finfo(kind).eps ** 0.5 and f_y.dtype == kind
    assert problem.stats.n_f == 3 and problem.stats.n_jac == 1


def test_a_component_that_is_zero_is_moved_by_what_counts_beside_the_others_and_never_to_the_other_side():
    def f(t, y):
        assert (y >= 0).all(), "a concentration has become negative"
        return robertson(t, y)
    problem = initial_value_problem(f, [1.0, 0.0, 0.0], [0.0, 1.0])
    f_y = by_differences(problem, problem.y)(0.0, problem.y)[0]
    expected = robertson_jacobian(0.0, problem.y)
    assert np.abs(f_y - expected).max() <= 1.01 * 3e7 * 1e-5 * EPS**0.5                       # of 3e7 b²
    y = np.zeros(2)
    problem = initial_value_problem(lambda t, y: LINEAR[:2, :2] @ y, y, [0.0, 1.0])
    assert_agree(by_differences(problem, y)(0.0, y)[0], LINEAR[:2, :2], 1e-7)


@each_method
@pytest.mark.parametrize("y0", [[0.5, -0.3], [[0.5, -0.3], [1.0, 0.2]], [0.5 + 0.1j, -0.3]])
def test_steps_of_a_given_size_are_as_exact_by_differences(method, y0):
    t = np.linspace(0.0, 1.0, 6)
    given = fixed(pendulum, y0, t, method)
    differenced = fixed(pendulum, y0, t, method, None)
    assert_agree(differenced.ys, given.ys, ROUND_OFF)
    assert differenced.stats.n_f > given.stats.n_f


@pytest.mark.parametrize("tstops", [None, [0.2]])
def test_a_field_without_a_jacobian_is_differenced(tstops):
    class Decay(VectorField):
        dim, n_params = 1, 1

        def __call__(self, t, y, theta):
            return -theta * y
    solution = solve(Decay(), [1.0], [0.0, 0.5], [3.0], method="kvaerno5", tstops=tstops)
    assert solution.stats.n_jac > 0 and abs(solution.ys[-1, 0] - np.exp(-1.5)) <= FEW_STEPS * 1e-6


# -- order, symmetry, batches -----------------------------------------------------------------

STEPS = {"implicit_euler": 120}                  # of the others 20


@each_method
@pytest.mark.parametrize("span", [(0.0, 3.0), (3.0, 0.0)])
def test_the_error_falls_at_the_order_of_the_table(method, span):
    def error(n):
        return np.linalg.norm(fixed(pendulum, [0.5, -0.3], np.linspace(*span, n + 1), method).ys[-1] - exact)
    exact, n = pendulum_after(*span), STEPS.get(method.name, 20)
    assert abs(np.log2(error(n) / error(2 * n)) - method.order) <= SLOPE


@each_method
def test_the_step_of_a_symmetric_method_and_of_no_other_can_be_taken_back(method):
    t = np.linspace(0.0, 2.5, 26)
    there = fixed(pendulum, [0.5, -0.3], t, method).ys
    back = fixed(pendulum, there[-1], t[::-1], method).ys
    missed = np.abs(back[::-1] - there).max()
    A, b, _ = method.arrays()
    symmetric = np.abs(A + A[::-1, ::-1] - b).max() <= ROUND_OFF
    assert symmetric == (method.name in SYMMETRIC) == (missed <= ROUND_TRIP)


@each_method
def test_a_batch_is_solved_as_each_of_its_trajectories(method):
    y0, t = np.array([[0.5, -0.3], [-2.0, 1.0], [0.0, 0.0]]), np.linspace(0.0, 1.0, 6)
    ys = fixed(pendulum, y0, t, method).ys
    for i in range(3):
        assert_agree(ys[:, i], fixed(pendulum, y0[i], t, method).ys, ROUND_OFF)


# -- stiff problems ---------------------------------------------------------------------------

@pytest.mark.eq("13.3", "13.4")
@pytest.mark.parametrize("f, f_y, y0, t, small", [
    (robertson, robertson_jacobian, [1.0, 0.0, 0.0], [0.0, 0.4, 4e2, 4e5, 4e8, 1e11], 1e-8),
    (van_der_pol, van_der_pol_jacobian, [2.0, 0.0], [0.0, 500.0, 1000.0], 1e-3)],
    ids=["robertson", "van der pol"])
def test_a_stiff_problem_is_solved_to_its_tolerance_in_a_few_steps(f, f_y, y0, t, small):
    reference = by_lsoda(f, f_y, tuple(y0), tuple(t), 1e-10, 1e-10 * small)[1:]
    for name, tols in (("trbdf2", (1e-3, 1e-5)), ("kvaerno5", (1e-4, 1e-6)), ("radau5", (1e-4, 1e-6))):
        errors = []
        for tol in tols:
            solution = solve(f, y0, t, method=name, jacobian=f_y, rtol=tol, atol=tol * small)
            error = np.abs(solution.ys[1:] / reference - 1)[:, 0]
            errors.append(error.max())
            assert error.max() <= FEW_STEPS * tol and solution.stats.n_steps < 2000
        assert np.log(errors[0] / errors[1]) >= STIFF_SLOPE * np.log(tols[0] / tols[1])
    if f is robertson:
        # What the test set for initial value problems of Bari prints, and no mass is lost.
        printed = [0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050]
        assert np.abs(solution.ys[-1] / printed - 1).max() <= FEW_STEPS * tol
        assert np.abs(solution.ys.sum(axis=1) - 1).max() <= ROUND_OFF


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("tol, span", [
    (1e-4, (0.0, 10.0)), (1e-6, (0.0, 10.0)), (1e-8, (0.0, 10.0)), (1e-6, (10.0, 0.0))])
def test_the_outputs_of_a_stiff_problem_are_as_exact_as_the_ends_of_its_steps(name, tol, span):
    sign = np.sign(span[1] - span[0])
    t, y0 = np.linspace(*span, 41), [1.0 if sign > 0 else np.cos(10.0)]
    options = dict(method=name, rtol=tol, atol=tol, jacobian=lambda t, y: np.full((1, 1), -sign * 1e4))
    few, many = (run(lambda t, y: sign * -1e4 * (y - np.cos(t)) - np.sin(t), y0, times, tape=[], **options)
                 for times in (t[[0, -1]], t))
    assert np.abs(many.solution.ys[:, 0] - np.cos(t)).max() <= OUTPUT * tol
    assert np.abs(few.solution.ys[:, 0] - np.cos(t[[0, -1]])).max() <= OUTPUT * tol     # kvaerno5's is not filtered
    ends = [*(step[0] for step in many.tape), t[-1]]
    assert set(t.tolist()) <= set(ends) and np.array_equal(many.interpolation()(t), many.solution.ys)
    assert many.solution.stats.n_accepted <= few.solution.stats.n_accepted + 2 * len(t)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_step_cut_short_at_an_output_does_not_shorten_those_behind_it(name):
    def sizes(t):
        done = run(pendulum, [0.5, -0.3], t, tape=[], method=name, jacobian=rows, rtol=1e-5, atol=1e-5)
        return {step[0]: step[1] for step in done.tape}, np.array(list(done.tape), dtype=object)[:, 0].tolist()
    free, _ = sizes([0.0, 10.0])
    at = [t for t in free if t > 1.6][0]                                # met at the first attempt
    cut, starts = sizes([0.0, at + 1e-9, 10.0])                       # a step of 1e-9, and then on as before
    assert cut[at] == (at + 1e-9) - at
    assert cut[starts[starts.index(at) + 1]] >= 0.9 * free[at]


def test_between_its_steps_radau5_is_rough_where_a_solution_is_slow():
    def f(t, y):
        return -1e6 * (y - np.cos(t)) - np.sin(t)
    solution = solve(f, [1.0], [0.0, 10.0], method="radau5", rtol=1e-6, atol=1e-6, jacobian=lambda t, y: [[-1e6]])
    t = np.linspace(0.0, 10.0, 1001)
    assert abs(solution.ys[-1, 0] - np.cos(10.0)) <= 1e-6 and solution.stats.n_accepted == 7
    assert abs(np.abs(solution.interpolate(t)[:, 0] - np.cos(t)).max() - 0.2) <= 0.05


def test_kvaerno5_looks_beyond_its_step_and_trbdf2_does_not():
    for name, last in (("trbdf2", 1.0), ("kvaerno5", 1.0 + 0.23033320996790809)):
        asked = []
        fixed(lambda t, y: asked.append(t) or -y, [1.0], [0.0, 1.0], name, lambda t, y: [[-1.0]])
        assert_agree(max(asked), last, ROUND_OFF)
    assert "take trbdf2 or radau5" in type(methods).__doc__


def test_what_has_died_out_forces_explicit_methods_to_small_steps_and_implicit_ones_not():
    def f(t, y):
        return -2e3 * (y - np.cos(t))
    steps = {name: solve(f, [1.0], [0.0, 2.0], method=name, rtol=1e-3, atol=1e-3,
                         jacobian=lambda t, y: np.array([[-2e3]])).stats.n_steps
             for name in ("dopri5", *ADAPTIVE)}
    assert steps["dopri5"] > 2 * 2e3 / 4 and max(steps[name] for name in ADAPTIVE) < 50


# -- when Newton cannot go on -----------------------------------------------------------------

def nan(t, y):
    return np.full((1, 1), np.nan)


BAD = {"no solution": (lambda t, y: y**2 + 1, lambda t, y: np.array([[2 * y[0]]])),
       "another field's jacobian": (lambda t, y: -50 * y, lambda t, y: np.array([[1000.0]])),
       "a singular matrix": (lambda t, y: y, lambda t, y: np.array([[1.0]])),
       "a jacobian of NaN": (lambda t, y: -y, nan)}


@pytest.mark.parametrize("f, f_y", BAD.values(), ids=BAD)
def test_a_fixed_step_that_newton_cannot_solve_is_reported_as_that(f, f_y):
    message = r"Newton does not converge, or f or jacobian is not finite, in the step from t = 1\.0 to 2\.0"
    with pytest.raises(SolverError, match=message) as caught:
        fixed(f, [1.0], [1.0, 1.0, 2.0], "implicit_euler", f_y)
    assert caught.value.t == 1.0 and caught.value.solution.ys.tolist() == [[1.0], [1.0]]


def test_an_adaptive_step_that_newton_cannot_solve_is_made_shorter():
    f, f_y = BAD["no solution"]                                                 # y = tan(t + π/4)
    for name in ADAPTIVE:
        options = dict(method=name, first_step=0.5, rtol=1e-5, atol=1e-5)
        solution = solve(f, [1.0], [0.0, 0.5], jacobian=f_y, **options)
        assert solution.stats.n_rejected > 0
        assert_agree(solution.ys[-1], np.tan([0.5 + np.pi / 4]), FEW_STEPS * 1e-5)
        with pytest.raises(SolverError, match=r"underflow at t = 0\.0: .* Newton does not converge"):
            solve(f, [1.0], [0.0, 0.5], jacobian=nan, **options)


@each_method
@pytest.mark.parametrize("y0, f_y, message", [
    ([1.0, 2.0], np.eye(2), r"jacobian must be callable as jacobian\(t, y\) -> \(..., d, d\), not ndarray"),
    ([1.0, 2.0], lambda t, y: np.ones(2), r"jacobian must return shape \(2, 2\), not \(2,\)"),
    ([[1.0, 2.0]], lambda t, y: np.eye(2), r"jacobian must return shape \(1, 2, 2\), not \(2, 2\)"),
    (1.0, lambda t, y: 1.0, r"is implicit and takes an array state \(..., d\), not a number"),
    ((np.ones(2),), lambda t, y: np.eye(2), r"is implicit and takes an array state \(..., d\), not a tuple"),
    ((1.0, [0.1]), lambda t, y: np.eye(2), r"is implicit and takes an array state \(..., d\), not a tuple")])
def test_with_a_jacobian_that_does_not_fit_nothing_is_begun(method, y0, f_y, message):
    def never(t, y):
        raise AssertionError("f was called before the arguments were checked")
    with pytest.raises((TypeError, ValueError), match=message):
        odeint(never, y0, [0.0, 1.0], method=method, jacobian=f_y)


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("y0", [np.ones(1, np.float32), np.zeros(1, np.float32), np.ones(1, np.complex64)])
def test_errors_that_drown_in_the_rounding_of_float32_are_not_asked_for(name, y0):
    def solve_it(y0, **tolerances):
        return solve(lambda t, y: y.dtype.type(-1000) * (y - y.dtype.type(np.cos(t))), y0, [0.0, 2.0], method=name,
                     jacobian=lambda t, y: np.full((1, 1), -1000, y.dtype), **tolerances)
    message = rf"rtol must be at least 1\.2e-04 for {name} and a {y0.dtype} y0, not 1e-06: .* y0 as float64"
    with pytest.raises(ValueError, match=message):
        solve_it(y0)
    assert solve_it(y0, rtol=1e-3, atol=1e-5).stats.n_steps < 100
    assert solve_it(y0.astype(np.result_type(y0, np.float64))).stats.n_steps < 300
    if y0.all():
        assert solve_it(y0, atol=1e-3).stats.n_steps < 100               # a tolerance is enough


# -- tolerances of each component ---------------------------------------------------------------

@pytest.mark.eq("10.2")
@pytest.mark.parametrize("name", ["trbdf2", "kvaerno5"])
def test_robertson_with_a_tolerance_of_its_own_for_the_small_component_is_lsodas(name):
    t, y0, atol = [0.0, 0.4, 40.0, 4000.0], [1.0, 0.0, 0.0], [1e-6, 1e-10, 1e-6]
    expected = by_lsoda(robertson, robertson_jacobian, tuple(y0), tuple(t), 1e-9, 1e-13)[1:]
    options = dict(method=name, jacobian=robertson_jacobian, rtol=1e-4)
    own, alike, strict = (solve(robertson, y0, t, atol=tol, **options) for tol in (atol, 1e-6, 1e-10))
    assert np.abs(own.ys[1:] / expected - 1).max() < FEW_STEPS * 1e-4
    assert alike.stats.n_steps < own.stats.n_steps <= strict.stats.n_steps


def test_newtons_method_stops_by_the_tolerances_of_each_component():
    def calls(atol):
        count = []

        def f(t, y):
            count.append(t)
            return np.array([-1.0, -1.2]) * y                # the Jacobian below is wrong for the second
        newton = SimplifiedNewton(f, lambda t, y: -np.eye(2)[None], methods["implicit_euler"], Tolerances(np.zeros(2), np.array(atol)))
        hK = next(newton.guesses(0.0, 0.5, np.ones(2), -np.ones(2)))
        assert newton.solve([0.5], 0.5, np.ones(2), np.ones((1, 1)), hK)
        return len(count)
    assert calls([1e-6, 1.0]) < calls([1.0, 1e-6])


@pytest.mark.parametrize("name", ["trbdf2", "kvaerno5"])
def test_each_component_of_float32_has_a_tolerance_that_its_rounding_allows(name):
    def solve_it(**tolerances):
        return solve(lambda t, y: -y, np.ones(2, np.float32), [0.0, 1.0], method=name, jacobian=lambda t, y: -np.eye(2), **tolerances)
    for wrong, smallest in ((dict(rtol=[1e-3, 1e-5]), "1e-05"), (dict(rtol=1e-5, atol=[1e-3, 1e-9]), "1e-05"),
                            (dict(rtol=[1e-6, 1e-5], atol=[1e-3, 1e-9]), "1e-05")):
        with pytest.raises(ValueError, match=rf"rtol must be at least 1\.2e-04 for {name} and a float32 y0, not {smallest}: "):
            solve_it(**wrong)
    for right in (dict(rtol=[1e-3, 1e-5], atol=[1e-9, 1e-3]), dict(rtol=[1e-3, 2e-4]), dict(rtol=1e-5, atol=[1e-3, 1e-3])):
        solution = solve_it(**right)
        assert solution.ys.dtype == np.float32 and np.abs(solution.ys[-1] - np.exp(-1)).max() < 1e-2


@pytest.mark.parametrize("name", ["trbdf2", "kvaerno5"])
def test_a_longest_step_bounds_the_steps_of_an_adaptive_implicit_method(name):
    f, f_y = robertson, robertson_jacobian
    free, bounded = (solve(f, [1.0, 0.0, 0.0], [0.0, 7.0, 40.0], method=name, jacobian=f_y, rtol=1e-4, atol=1e-9, **own)
                     for own in ({}, {"max_step": 0.5}))
    assert np.diff(free.t_steps).max() > 1.0 and np.diff(bounded.t_steps).max() <= 0.5 + 40 * EPS
    assert_agree(bounded.ys, free.ys, 1e-3)
    with pytest.raises(ValueError, match="max_step is for adaptive methods"):
        odeint(f, [1.0, 0.0, 0.0], [0.0, 40.0], method="radau5", jacobian=f_y, step_size=1.0, max_step=0.5)

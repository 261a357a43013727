"""Through implicit steps too the gradient is that of the numbers computed: against R(z), complex steps, and CVODES."""

import itertools
from unittest import mock

import numpy as np
import pytest

from figures.robertson import Robertson
from minode import (Linear, LotkaVolterra, Tableau, VanDerPol, VectorField, check_field, check_gradients,
                    methods, odeint, pullback, pushforward, value_and_gradients)
from minode.further import implicit_adjoint
from minode.further.implicit_adjoint import steps_back, through_first_velocity
from minode.gradients.tangent import solve_tangents
from minode.solvers.explicit import Grid
from minode.solvers.implicit import ImplicitStepper, stability_function
from minode.solvers.newton import FullNewton
from tests.solvers.test_implicit import R as PADE
from minode.solvers.solve import run
from tests.gradients.problems import EXACT, NETWORK, NETWORK_THETA, PENDULUM, PENDULUM_THETA, Silent, relative_error
from tests.subclasses import ProductsAlone
from tests.gradients.test_exact import assert_exact, change_along, complex_step
from tests.gradients.test_times import assert_exact_in, change_in

# Tables of the reader's own: an explicit stage between two implicit ones; one that begins with f(t, y) and does not
# end with f(t + h, y_new), so that nothing is carried; and a pair of that kind.
OWN = Tableau("own", 1, A=["1/2", "1 0", "1/4 1/4 1/2"], b="1/2 1/4 1/4")
NOT_CARRIED = Tableau("not carried", 1, A=["0 0", "1/4 1/2"], b="1/4 3/4")
OWN_PAIR = Tableau("own pair", 1, A=["0 0", "1/4 1/2"], b="1/4 3/4", b_hat="1 0", embedded_order=1)
NAMED = [m for m in methods.values() if isinstance(m, Tableau) and not m.is_explicit]
IMPLICIT = [*NAMED, OWN, NOT_CARRIED, OWN_PAIR]
ROUTES = ("discrete", "checkpoint")
FIELDS = {                                       # f, θ, y0, the times, the size of a fixed step
    "Lotka and Volterra": (LotkaVolterra(), np.array([0.5, 0.05, 0.8, 0.02]), np.array([[30.0, 4.0], [20.0, 5.0]]),
                           np.linspace(0.0, 3.0, 4), 0.3),
    "van der Pol": (VanDerPol(), np.array([30.0]), np.array([2.0, 0.0]), np.array([0.0, 0.2, 1.0]), 0.1),
    "Robertson": (Robertson(), np.array([0.04, 1e4, 3e7]), np.array([0.98, 3e-5, 0.02]), np.array([0.4, 0.6, 2.0]),
                  0.2),
    "network": (NETWORK, NETWORK_THETA, np.array([[0.4, -0.7, 0.2], [0.1, 0.2, 0.3]]),
                np.array([0.3, 0.3, 0.5, 0.5, 1.1]), 0.25),
    "pendulum, backwards": (PENDULUM, PENDULUM_THETA, np.array([0.5, -0.3]), np.array([1.0, 0.3, 0.0, -0.8]), 0.25),
}
SINGLE = 1e-4                 # of float32 states over a few steps
CVODES = 2e-4                 # of a value printed with five digits, from a solve at rtol 1e-4
each_method = pytest.mark.parametrize("method", IMPLICIT, ids=lambda tableau: tableau.name)
# A method enters by its table, a field by its products: each method meets a batch and a clock that runs backwards, and
# each field two tables whose stages are solved together, with steps of their own choice and without, and one in turn.
each_method_and_field = pytest.mark.parametrize("method, name", [
    (method, name) for method in IMPLICIT for name in FIELDS
    if name in ("network", "pendulum, backwards") or method.name in ("radau5", "trbdf2", "gauss4")
], ids=lambda value: getattr(value, "name", value))


def ways(method, step):
    """The keywords of a solve with fixed steps, and with steps of the method's own, if it can choose them."""
    tolerances = {"rtol": 1e-2, "atol": 1e-3} if method is OWN_PAIR else {"rtol": 1e-3, "atol": 1e-5}
    adaptive = [tolerances] if method.b_hat is not None else []
    return [{"method": method, **options} for options in [{"step_size": step}, *adaptive]]


def steps_of(f, y0, t, theta, options, solve=run, **more):
    """Keywords with which a solve takes the steps that these take."""
    if "step_size" in options:
        return options
    tape = solve(f, y0, t, theta, [], exactly=True, **options).tape
    return {"method": options["method"], "grid": [*(step[0] for step in tape), t[-1]]}


def random_directions(y0, theta, rng):
    return [(y0 * rng.normal(size=y0.shape), theta * rng.normal(size=theta.shape)), (y0, 0 * theta), (0 * y0, theta)]


# -- closed forms --------------------------------------------------------------------------------------------


@pytest.mark.eq("29.1", "29.2", "29.3", "29.4")
@pytest.mark.parametrize("gradient", ROUTES)
@pytest.mark.parametrize("lam", [0.7, -2.0, -50.0, -1e3, -1e7])
@pytest.mark.parametrize("method", NAMED, ids=lambda tableau: tableau.name)
def test_on_a_linear_problem_each_step_back_multiplies_by_R(method, lam, gradient):
    t = np.array([0.0, 0.2, 0.3, 0.8, 1.0])                          # steps of different sizes, one for each interval
    z = lam * np.diff(t)
    R_of = PADE.get(method.name) or (lambda z: stability_function(method, z))
    R, R_prime = (np.array(part) for part in (R_of(z), np.imag(R_of(z + 1e-30j)) / 1e-30))
    last = np.array([1.5])
    pulled = pullback(Linear(1), [1.0], t, [lam], last, method=method, step_size=10.0, gradient=gradient)
    others = np.array([np.prod(np.delete(R, n)) for n in range(len(R))])
    scale = max(1.0, np.abs(np.prod(R)))
    assert abs(pulled.y0[0] - 1.5 * np.prod(R)) <= EXACT * scale
    assert abs(pulled.theta[0] - 1.5 * np.sum(others * R_prime * np.diff(t))) <= EXACT * scale


@pytest.mark.eq("29.1", "29.2", "29.3", "29.4")
@each_method
def test_and_in_several_dimensions_by_the_transposed_matrices(method):
    A, h, g = np.array([[-1.0, 2.0, 0.5], [0.3, -40.0, 7.0], [-2.0, 0.1, -3.0]]), 0.1, np.array([1.0, -2.0, 0.5])
    lam, V = np.linalg.eig(A)
    step = (V * stability_function(method, h * lam)) @ np.linalg.inv(V)               # R(hA)
    pulled = pullback(Linear(3), np.ones((2, 3)), [0.0, 0.3], A.ravel(), np.stack([g, 2 * g]), method=method, step_size=h)
    expected = g @ np.linalg.matrix_power(step, 3)
    assert relative_error(pulled.y0, np.real(np.stack([expected, 2 * expected]))) <= EXACT


# -- the complex step ----------------------------------------------------------------------------------------


@pytest.mark.eq("29.1", "29.2", "29.3", "29.4")
@each_method_and_field
def test_every_gradient_is_the_complex_step_of_the_numbers_computed(method, name):
    f, theta, y0, t, step = FIELDS[name]
    rng = np.random.default_rng(0)
    cotangent, directions = rng.normal(size=(len(t), *y0.shape)), random_directions(y0, theta, rng)[:1]    # all entries
    for options in ways(method, step):
        steps = steps_of(f, y0, t, theta, options)
        changes = [change_along(f, y0, t, theta, cotangent, *d, **steps) for d in directions]
        for gradient in ROUTES:
            assert_exact(pullback(f, y0, t, theta, cotangent, gradient=gradient, **options), changes, directions)


@pytest.mark.eq("29.1", "29.2", "29.3", "29.4")
@pytest.mark.parametrize("method", [*NAMED, OWN, NOT_CARRIED], ids=lambda tableau: tableau.name)
@pytest.mark.parametrize("numbers", [1, 10**9], ids=["in pieces", "at once"])
def test_and_with_outputs_inside_the_steps(method, numbers):
    f, theta, y0, *_ = FIELDS["network"]
    t, grid, rng = np.array([0.0, 0.1, 0.5, 0.6, 0.6, 0.9, 1.3]), [0.0, 0.5, 0.7, 1.3], np.random.default_rng(1)
    cotangent, directions = rng.normal(size=(len(t), *y0.shape)), random_directions(y0, theta, rng)
    tape, zero = [], np.zeros(y0.shape)
    run(f, y0, t, theta, tape, method=method, grid=grid)
    with mock.patch.object(implicit_adjoint, "PIECE", numbers):
        bars = steps_back(f, theta, tape, method, t, cotangent, zero, 0 * theta, zero)
        a, b = through_first_velocity(f, theta, t[0], y0, *bars)
    changes = [change_along(f, y0, t, theta, cotangent, *d, method=method, grid=grid) for d in directions]
    for change, (dy0, dtheta) in zip(changes, directions):
        assert abs(np.sum((a + cotangent[0]) * dy0) + b @ dtheta - change) <= EXACT * np.abs(cotangent).sum()


@pytest.mark.parametrize("method", NAMED, ids=lambda tableau: tableau.name)
def test_newtons_matrices_may_be_rough_and_the_field_may_have_none(method):
    (f, theta, y0, (*t, _), step), cotangent = FIELDS["pendulum, backwards"], np.array([2.0, -1.0])

    def rough(t, y):
        return 0.9 * f.jacobian(t, y, theta)
    right = pullback(f, y0, t, theta, cotangent, method=method, step_size=step)
    for field, gradient in itertools.product((f, ProductsAlone(PENDULUM)), ROUTES):
        pulled = pullback(field, y0, t, theta, cotangent, method=method, step_size=step, jacobian=rough,
                          gradient=gradient)
        assert max(map(relative_error, pulled, right)) <= EXACT
    ys, ws = pushforward(ProductsAlone(PENDULUM), y0, t, theta, y0, theta, method=method, step_size=step)
    for got, expected in zip((ys, ws), pushforward(f, y0, t, theta, y0, theta, method=method, step_size=step)):
        assert relative_error(got, expected) <= EXACT


class Switched(Linear):
    """y' = A y before t = 1, and y' = −y from then on; at t = 1 itself it is NaN."""

    def factor(self, t):
        return np.where(np.equal(t, 1.0), np.nan, np.where(np.less(t, 1.0), 1.0, 0.0))[..., None]

    def __call__(self, t, y, theta):
        c = self.factor(t)
        return c * super().__call__(t, y, theta) - (1 - c) * y

    def jacobian(self, t, y, theta):
        c = self.factor(t)[..., None]
        return c * super().jacobian(t, y, theta) - (1 - c) * np.eye(self.dim)

    def param_jacobian(self, t, y, theta):
        return self.factor(t)[..., None] * super().param_jacobian(t, y, theta)

    vjp, jvp = VectorField.vjp, VectorField.jvp


@pytest.mark.parametrize("gradient", ROUTES)
@pytest.mark.parametrize("method", NAMED, ids=lambda tableau: tableau.name)
def test_a_jump_of_the_field_at_a_stop_is_seen_from_its_two_sides(method, gradient):
    f, A = Switched(2), np.array([-1.0, 2.0, 0.5, -3.0])
    y0, t, g = np.array([1.0, -2.0]), np.array([0.0, 0.5, 2.0]), np.array([1.0, 0.5])
    options = {"method": method, "step_size": 0.25, "tstops": [1.0]}
    first = pullback(Linear(2), y0, [0.0, 0.5, 1.0], A, g, method=method, step_size=0.25)
    decay = stability_function(method, np.array(-0.25))**4
    for more in ({}, {"jacobian": lambda t, y: f.jacobian(t, y, A)}):
        pulled = pullback(f, y0, t, A, g, gradient=gradient, times=False, **options, **more)
        assert relative_error(pulled.y0, decay * first.y0) <= EXACT
        assert relative_error(pulled.theta, decay * first.theta) <= EXACT


@pytest.mark.parametrize("gradient", ROUTES)
def test_a_solve_of_no_steps_and_one_in_float32(gradient):
    f, theta, y0, t, step = FIELDS["network"]
    pulled = pullback(f, y0, t[:2], theta, np.ones((2, *y0.shape)), method="radau5", gradient=gradient)
    assert np.array_equal(pulled.y0, np.full(y0.shape, 2.0)) and not pulled.theta.any()
    options = {"method": "trbdf2", "step_size": step, "gradient": gradient}
    double, single = (pullback(f, y0.astype(kind), t, theta.astype(kind), y0, **options) for kind in (float, np.float32))
    assert max(map(relative_error, single[:2], double[:2])) <= SINGLE


# -- forwards ------------------------------------------------------------------------------------------------


@pytest.mark.eq("16.2")
@each_method_and_field
def test_every_tangent_is_the_complex_step_too_and_in_every_component(method, name):
    f, theta, y0, t, step = FIELDS[name]
    dy0, dtheta = random_directions(y0, theta, np.random.default_rng(2))[0]
    for options in ways(method, step):
        _, ws = pushforward(f, y0, t, theta, dy0, dtheta, **options)
        steps = options
        if "rtol" in options:
            tape = []
            solve_tangents(f, y0, t, theta, dy0, dtheta, tape, **options)
            steps = {"method": method, "grid": [*(taken[0] for taken in tape), t[-1]]}
        expected = complex_step(lambda s: run(f, y0 + s * dy0, t, theta + s * dtheta, **steps).solution.ys, 0.0, 1.0)
        for w, at_the_time in zip(ws, expected):
            assert np.abs(w - at_the_time).max() <= EXACT * np.abs(at_the_time).max()


@pytest.mark.eq("22.5", "29.1", "29.2", "29.3", "29.4")
@each_method
def test_forwards_and_backwards_agree(method):
    f, theta, y0, t, step = FIELDS["network"]                         # with the other fields each is the complex step
    dy0, dtheta = random_directions(y0, theta, np.random.default_rng(3))[0]
    cotangent = np.random.default_rng(4).normal(size=(len(t), *y0.shape))
    for options in ways(method, step):
        _, ws = solve_tangents(f, y0, t, theta, dy0, dtheta, **steps_of(f, y0, t, theta, options)).solution.ys
        pulled = pullback(f, y0, t, theta, cotangent, **options)
        terms = np.concatenate([(pulled.y0 * dy0).ravel(), pulled.theta * dtheta, -(cotangent * ws).ravel()])
        assert abs(terms.sum()) <= EXACT * np.abs(terms).sum()


def test_the_norm_of_a_tangent_solve_is_that_of_the_pair():
    f, theta, y0, t, _ = FIELDS["pendulum, backwards"]
    seen = []

    def of_y_alone(error, scale):
        seen.append([type(part) for part in (error, scale)] + [error[1].shape])
        return np.sqrt(np.mean((error[0] / scale[0])**2))
    kept, longer = [], []
    solve_tangents(f, y0, t, theta, y0, 1e3 * theta, kept, method="kvaerno5")
    solve_tangents(f, y0, t, theta, y0, 1e3 * theta, longer, method="kvaerno5", norm=of_y_alone)
    assert all(each == [tuple, tuple, y0.shape] for each in seen) and len(longer) < len(kept)


def test_check_gradients_goes_through_implicit_methods():
    f, theta, y0, *_ = FIELDS["pendulum, backwards"]
    for options in ({"method": "trbdf2", "rtol": 1e-2}, {"method": "radau5", "rtol": 1e-3}):
        assert all(row.ok for row in check_gradients(f, y0, [1.0, 0.9], theta, **options))


# -- the times -----------------------------------------------------------------------------------------------


def along_moved_steps(f, method, y0, t, theta, ends):
    """The states at complex times t when the steps have these complex ends; between equal times a step y' = f."""
    def velocity(t, y):
        return f(t, y.reshape(y0.shape), theta).ravel()

    def f_y(t, y):
        return f.jacobian(t, y.reshape(y0.shape), theta).reshape(-1, f.dim, f.dim)
    step = ImplicitStepper(velocity, method, FullNewton(velocity, f_y, method.stages, is_short=True), np.dtype(complex)).step
    y, ys, n, now = y0.ravel().astype(complex), [], 0, t[0]
    k = velocity(now, y)
    for end in [*ends, None]:
        while n < len(t) and t[n].real == now.real:
            y, now = y + (t[n] - now) * velocity(now, y), t[n]
            ys.append(y.reshape(y0.shape))
            k, n = velocity(now, y), n + 1
        if end is not None:
            y, k, _ = step(now, end - now, y, k if method.carries_velocity else velocity(now, y))
            now = end
    return np.array(ys)


def moved_ends(t, steps):
    """The ends of all steps but the first start, as functions of the complex times t."""
    real = t.real
    if "grid" in steps:
        ends = np.array(steps["grid"][1:])
        return [t[np.flatnonzero(real == end)[0]] if end in real else end for end in ends]
    ends = []
    for a, b in zip(t, t[1:]):
        m = Grid(np.array([a.real, b.real]), steps["step_size"]).count(a.real, b.real)
        ends += [a + (j + 1) * (b - a) / m if j + 1 < m else b for j in range(m)]
    return ends


@pytest.mark.eq("18.7", "18.8", "29.3")
@pytest.mark.parametrize("name", ["network", "pendulum, backwards"])
@each_method
def test_dL_dt_is_the_complex_step_in_the_times(method, name):
    f, theta, y0, t, step = FIELDS[name]
    cotangent = np.random.default_rng(5).normal(size=(len(t), *y0.shape))
    for options in ways(method, step):
        steps = steps_of(f, y0, t, theta, options)
        along = change_in(lambda t: along_moved_steps(f, method, y0, t, theta, moved_ends(t, steps)), cotangent, t)
        for gradient in ROUTES:
            pulled = pullback(f, y0, t, theta, cotangent, gradient=gradient, **options)
            assert_exact_in(pulled.t, *along)


# -- what is exact -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [m for m in NAMED if m.b_hat is not None], ids=lambda tableau: tableau.name)
def test_the_loss_is_that_of_the_steps_solved_to_round_off(method):
    f, theta, y0, t, _ = FIELDS["Robertson"]
    options = {"method": method, "rtol": 1e-3, "atol": 1e-6}

    def loss(ys):
        return ys[-1, 0], np.concatenate([0 * ys[:-1], [[1.0, 0.0, 0.0]]])
    value, _ = value_and_gradients(loss, f, y0, t, theta, **options)
    along_the_steps = run(f, y0, t, theta, **steps_of(f, y0, t, theta, options)).solution.ys[-1, 0]
    seen = odeint(f, y0, t, theta, **options)[-1, 0]
    assert abs(value / along_the_steps - 1) <= EXACT and abs(value / seen - 1) <= options["rtol"]


def test_without_that_the_gradient_of_chosen_steps_would_lack_what_newton_left_undone():
    f, theta, y0, t = VanDerPol(), np.array([30.0]), np.array([2.0, 0.0]), np.array([0.0, 0.5, 3.0, 10.0, 25.0])
    options, g = {"method": "trbdf2", "rtol": 1e-3, "atol": 1e-6}, np.random.default_rng(7).normal(size=(5, 2))
    with mock.patch.object(implicit_adjoint, "run", lambda *arguments, exactly, **more: run(*arguments, **more)):
        rough = pullback(f, y0, t, theta, g, **options).theta[0]
    done = [run(f, y0, t, theta, [], exactly=exactly, **options) for exactly in (False, True)]
    exact = change_along(f, y0, t, theta, g, 0 * y0, np.ones(1), method="trbdf2", grid=[*(s[0] for s in done[0].tape), 25.0])
    assert 0.003 < abs(rough / exact - 1) < 0.03                     # the hundredth of the chapter
    assert 1.5 < done[1].solution.stats.n_f / done[0].solution.stats.n_f < 2.5


@pytest.mark.parametrize("gradient", ["reversible", "backsolve", "interpolate"])
def test_other_routes_are_refused_before_any_work(gradient):
    message = f"gradient='{gradient}' does not go through kvaerno5: an implicit method has gradient='discrete' and"
    with pytest.raises(ValueError, match=message):
        pullback(Silent(), np.ones(2), [0.0, 1.0], np.ones(3), np.ones(2), method="kvaerno5", gradient=gradient)


# -- Robertson's reaction, whose rates differ by nine powers of ten ------------------------------------------


def test_the_field_of_the_reaction_is_differentiated_right():
    check_field(Robertson(), 0.0, np.array([0.9, 2e-5, 0.1]), np.array([0.04, 1e4, 3e7]))


@pytest.mark.eq("29.1", "29.2", "29.3", "29.4")
def test_the_sensitivities_are_those_that_cvodes_prints():
    f, theta, y0, t = Robertson(), np.array([0.04, 1e4, 3e7]), [1.0, 0.0, 0.0], [0.0, 0.4]
    printed = np.array([3.9026e-4, -2.1310e-10, -5.2900e-13])           # dy₂(0.4)/dp of cvsRoberts_FSA_dns
    for gradient in ROUTES:
        pulled = pullback(f, y0, t, theta, [0.0, 1.0, 0.0], method="kvaerno5", rtol=1e-7, atol=1e-11, gradient=gradient)
        assert np.abs(pulled.theta / printed - 1).max() <= CVODES
    for i, expected in enumerate(printed):
        _, ws = pushforward(f, y0, t, theta, dtheta=theta * (np.arange(3) == i), method="kvaerno5", rtol=1e-7,
                            atol=1e-11)
        assert abs(ws[-1, 1] / theta[i] / expected - 1) <= CVODES

"""Chapter 0 is the package in small: each of its functions equals the package's own, or a complex step.

The package is called by its public names alone. What both could get wrong together is also tested without it:
the order of RK4 on a problem that looks at t, the derivatives against complex steps.
"""

import ast
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minode
from minode import one_page as page
from tests.ahead import ONE_PAGE, result

SOURCE = Path(page.__file__).read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)

EPS = np.finfo(float).eps
ROUND_OFF = 200 * EPS                     # the same sums in another order: a few hundred roundings at most
SLOPE = 0.1                               # how far a measured order may be from the true one
COARSE_SLOPE = 0.5                        # the same for the first steps towards it, of printed errors
EXACT = 1e-12                             # a relative error: some hundred roundings, and a small dL/d(...) to divide by
FOLLOWS = 0.2                             # a distance, beside a radius of 2: three times what is seen
SMALL_LOSS = 2e-5                         # a mean square, 0.005 in each coordinate: four times what is seen
SAME_FIELD = 0.08                         # of the speed, in the mean, after a short training: twice what is seen
TINY = 1e-100                             # of a complex step, whose error TINY² is far below EPS


def assert_agree(got, expected, tolerance=ROUND_OFF):
    """The same shape, and the same numbers up to a tolerance times the largest of them (at least one)."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def arrays(*shape):
    return hnp.arrays(np.int64, shape, elements=st.integers(-2**20, 2**20)).map(lambda a: a / 2**20)


@st.composite
def networks(draw):
    """MLP([d, H, d]), (y, w, a) for it, each (d,) or (B, d), and (θ, Δθ)."""
    d, H, batch = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.sampled_from([(), (1,), (2,), (3,)]))
    mlp = minode.MLP([d, H, d], ["tanh", "identity"])
    return mlp, [draw(arrays(*batch, d)) for _ in range(3)], [draw(arrays(mlp.n_params)) for _ in range(2)]


@st.composite
def grids(draw):
    """Uneven times, up or down."""
    steps = draw(st.lists(st.floats(0.05, 0.4), min_size=1, max_size=4))
    return draw(st.floats(-1, 1)) + draw(st.sampled_from([1.0, -1.0])) * np.cumsum([0.0, *steps])


def odd(*shape, phase=0.0):
    """Numbers without any symmetry."""
    return np.cos(1.0 + phase + 1.7 * np.arange(np.prod(shape, dtype=int))).reshape(shape)


# A problem that no draw can make symmetric, trivial or blind: a batch of three, four uneven steps
MLP = minode.MLP([2, 4, 2], ["tanh", "identity"])
STATES, PARAMETERS = [odd(3, 2, phase=i) for i in range(3)], [odd(22, phase=i) for i in (0.3, 0.6)]
TIMES = np.array([0.2, 0.5, 0.6, 1.0, 1.3])
an_odd_network = example((MLP, STATES, PARAMETERS))


def looks_at_t(t, y):
    """A field for (..., 2), nonlinear, whose value changes much with t."""
    return np.cos(5 * t) * np.sin(y @ np.array([[0.3, -1.0], [2.0, 0.5]])) + t


def directional(ys_of, y0, theta, dy0, dtheta, dL_dys):
    """Σ ∂L/∂ys · (the derivative of ys along (Δy₀, Δθ)), by a complex step."""
    return np.sum(dL_dys * ys_of(y0 + 1j * TINY * dy0, theta + 1j * TINY * dtheta).imag) / TINY


def solve(y0, t, theta):
    return page.odeint_rk4(lambda t, y: page.f(t, y, theta), y0, t)


# The page as a text

def test_it_imports_numpy_and_nothing_else():
    imports = [node for node in ast.walk(TREE) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]
    assert "__import__" not in SOURCE and "importlib" not in SOURCE


def test_it_is_one_page_of_short_functions():
    lines = SOURCE.splitlines()
    assert len(lines) <= 150 and max(map(len, lines)) <= 110
    functions = [node for node in ast.walk(TREE) if isinstance(node, ast.FunctionDef)]
    assert len(functions) >= 12
    assert all(node.end_lineno - node.lineno + 1 <= 25 for node in functions)
    public = [node for node in TREE.body if isinstance(node, ast.FunctionDef)]
    assert not [node.name for node in public if not ast.get_docstring(node)]


# The solvers

@pytest.mark.parametrize("name", ["odeint_euler", "odeint_rk4"])
@given(t=grids(), y0=st.sampled_from([(2,), (3, 2)]).flatmap(lambda shape: arrays(*shape)))
@example(t=TIMES, y0=odd(3, 2))
def test_the_solvers_are_those_of_the_package(name, t, y0):
    assert_agree(getattr(page, name)(looks_at_t, y0, t), getattr(minode, name)(looks_at_t, y0, t))


@pytest.mark.parametrize("solver, order", [(page.odeint_euler, 1), (page.odeint_rk4, 4)])
def test_their_orders_on_a_problem_that_looks_at_t(solver, order):
    errors = [abs(solver(lambda t, y: y * np.cos(t), 1.0, np.linspace(0.0, 2.0, n + 1))[-1] - np.exp(np.sin(2.0)))
              for n in (80, 160)]
    assert abs(np.log2(errors[0] / errors[1]) - order) < SLOPE


def test_the_worked_example_gives_the_numbers_of_the_source_text():
    t, grows = np.linspace(0.0, 10.0, 101), lambda t, y: y
    assert_agree(page.odeint_euler(grows, 2.0, t)[-1], 27561.22467964454)
    assert_agree(page.odeint_rk4(grows, 2.0, t)[-1], 44052.5938017524)


# The network

@given(networks())
@an_odd_network
def test_the_network_and_its_products_are_those_of_the_package(network):
    mlp, (y, w, a), (theta, dtheta) = network
    assert_agree(page.f(0.7, y, theta), mlp(0.7, y, theta))
    assert_agree(page.jvp(0.7, y, theta, w, dtheta), mlp.jvp(0.7, y, theta, w, dtheta))
    for got, expected in zip(page.vjp(0.7, y, theta, a), mlp.vjp(0.7, y, theta, a), strict=True):
        assert_agree(got, expected)


@given(networks())
@an_odd_network
def test_its_products_are_its_derivatives(network):
    mlp, (y, w, a), (theta, dtheta) = network
    df = page.f(0.7, y + 1j * TINY * w, theta + 1j * TINY * dtheta).imag / TINY
    a_f_y, a_f_theta = page.vjp(0.7, y, theta, a)
    assert_agree(page.jvp(0.7, y, theta, w, dtheta), df)
    assert_agree(np.sum(a_f_y * w) + a_f_theta @ dtheta, np.sum(a * df))


def test_theta_is_unpacked_as_in_the_package():
    for got, expected in zip(page.layers(PARAMETERS[0], 2), sum(MLP.layers(PARAMETERS[0]), ()), strict=True):
        assert np.array_equal(got, expected)


# The two systems

@given(networks())
@an_odd_network
def test_the_tangent_and_the_adjoint_system_are_those_of_the_package(network):
    mlp, (y, w, a), (theta, dtheta) = network
    tangent = page.tangent_rhs(0.7, (y, w), theta, dtheta), minode.tangent_rhs(mlp)(0.7, (y, w), theta, dtheta)
    adjoint = page.adjoint_rhs(0.7, (y, a, dtheta), theta), minode.adjoint_rhs(mlp)(0.7, (y, a, dtheta), theta)
    for ours, theirs in (tangent, adjoint):
        for got, expected in zip(ours, theirs, strict=True):
            assert_agree(got, expected)


@given(networks())
@an_odd_network
def test_what_the_page_derives_the_adjoint_system_from(network):
    """a · w + b · Δθ does not change: a · dw + da · w + db · Δθ = 0."""
    mlp, (y, w, a), (theta, dtheta) = network
    _, dw = page.tangent_rhs(0.7, (y, w), theta, dtheta)
    _, da, db = page.adjoint_rhs(0.7, (y, a, np.zeros_like(theta)), theta)
    assert_agree(np.sum(a * dw), -(np.sum(da * w) + db @ dtheta))


# The exact derivative of the steps

@given(networks(), grids(), st.data())
def test_the_gradient_is_the_packages(network, t, data):
    mlp, (y0, *_), (theta, _) = network
    assert_the_gradient_is_the_packages(mlp, y0, t, theta, data.draw(arrays(len(t), *y0.shape)))


def test_the_gradient_is_the_packages_on_a_problem_without_symmetry():
    assert_the_gradient_is_the_packages(MLP, STATES[0], TIMES, PARAMETERS[0], odd(len(TIMES), 3, 2))


def assert_the_gradient_is_the_packages(mlp, y0, t, theta, dL_dys):
    a, b = page.discrete_gradient(solve(y0, t, theta), t, theta, dL_dys)
    expected = minode.pullback(mlp, y0, t, theta, dL_dys, method="rk4")
    assert_agree(a, expected.y0)
    assert_agree(b, expected.theta)


@pytest.mark.parametrize("time", ["unseen", "seen"])
@pytest.mark.parametrize("t", [TIMES, TIMES[::-1]], ids=["up", "down"])
def test_the_gradient_is_that_of_the_numbers_computed(time, t, monkeypatch):
    """Along each axis of y₀ and θ, to round-off; also for a network whose speed changes with t."""
    if time == "seen":
        network, network_vjp = page.f, page.vjp
        monkeypatch.setattr(page, "f", lambda t, y, theta: np.exp(np.sin(4 * t)) * network(t, y, theta))
        monkeypatch.setattr(page, "vjp",
                            lambda t, y, theta, a: network_vjp(t, y, theta, np.exp(np.sin(4 * t)) * a))
    y0, theta, dL_dys = STATES[0], PARAMETERS[0], odd(len(t), 3, 2)
    a, b = page.discrete_gradient(solve(y0, t, theta), t, theta, dL_dys)

    def along(dy0, dtheta):
        return directional(lambda y0, theta: solve(y0, t, theta), y0, theta, dy0, dtheta, dL_dys)
    assert_agree(a.ravel(), [along(unit.reshape(y0.shape), 0 * theta) for unit in np.eye(y0.size)])
    assert_agree(b, [along(0 * y0, unit) for unit in np.eye(theta.size)])


# Learning

@given(st.lists(arrays(3), min_size=1, max_size=6), st.floats(0.0, 0.95), st.floats(0.0, 0.999))
@example([odd(3, phase=i) for i in range(6)], 0.9, 0.999)
@example([odd(3, phase=i) for i in range(6)], 0.5, 0.7)
def test_adam_is_that_of_the_package(gradients, beta1, beta2):
    ours = theirs = np.array([1.0, -2.0, 0.5])
    state = their_state = None
    for gradient in gradients:
        ours, state = page.adam(ours, gradient, state, 0.1, beta1, beta2, 1e-3)
        theirs, their_state = minode.adam(theirs, gradient, their_state, 0.1, beta1, beta2, 1e-3)
        assert_agree(ours, theirs)


def test_adam_has_the_defaults_of_the_package():
    ours = theirs = np.array([1.0, -2.0, 0.5])
    state = their_state = None
    for gradient in [odd(3, phase=i) for i in range(5)] + [1e-9 * odd(3)] * 5:       # 1e-9 is where ε shows
        ours, state = page.adam(ours, gradient, state, 0.1)
        theirs, their_state = minode.adam(theirs, gradient, their_state, 0.1)
        assert_agree(ours, theirs)
    ours, theirs = (adam(np.zeros(3), 1e-9 * odd(3), None, 0.1)[0] for adam in (page.adam, minode.adam))
    assert_agree(ours, theirs)


def test_what_is_learnt_is_the_spiral_of_the_package(capsys):
    """Its data, cut and timed rightly, is y' = A y³, and the distance it prints is that of a better solver."""
    theta, t, y0 = page.learn(n_steps=300), np.linspace(0.0, 5.0, 101), np.array([2.0, 0.0])
    true, A = minode.CubicSpiral(), np.array([-0.1, 2.0, -2.0, -0.1])
    network = minode.MLP([2, 32, 2], ["tanh", "identity"])
    spiral = minode.odeint(lambda t, y: true(t, y, A), y0, t, rtol=1e-9, atol=1e-9)
    learnt = minode.odeint(lambda t, y: network(t, y, theta), y0, t, rtol=1e-9, atol=1e-9)
    distance = np.linalg.norm(learnt - spiral, axis=1).max()
    difference = network(0.0, spiral, theta) - true(0.0, spiral, A)
    assert np.linalg.norm(difference) < SAME_FIELD * np.linalg.norm(true(0.0, spiral, A))
    assert abs(float(capsys.readouterr().out.splitlines()[-1].split()[-1]) - distance) < 0.1 * distance


# The page runs

@cache
def printed():
    """What `python -m minode.one_page` prints. A warning of the page is an error."""
    ran = result(ONE_PAGE)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr
    return ran.stdout


@pytest.fixture
def output():
    return printed()


def test_the_page_prints_the_worked_example(output):
    assert "= 44052.93, Euler 27561.22, RK4 44052.59" in output.splitlines()[0]


def test_the_loss_falls_and_ends_small(output):
    losses = [float(loss) for loss in re.findall(r"^step +\d+ +loss (\S+)$", output, re.M)]
    assert len(losses) == 11
    assert losses[-1] == min(losses) and losses[0] > 1e3 * losses[-1]
    assert losses[-1] < SMALL_LOSS
    assert float(re.search(r"whole spiral to within (\S+)$", output, re.M)[1]) < FOLLOWS


def test_two_derivatives_are_exact_and_the_third_is_of_fourth_order(output):
    rows = np.array([line.split()[2:] for line in output.splitlines() if re.match(r" *\d+ steps ", line)], float)
    tangent, discrete, adjoint = rows.T
    assert len(rows) == 3
    assert max(tangent) < EXACT and max(discrete) < EXACT < adjoint[-1] / 100
    assert np.all(np.abs(np.log2(adjoint[:-1] / adjoint[1:]) - 4) < COARSE_SLOPE)

"""Tolerances of each component, the longest step, and float32, on the ways to a derivative."""

import numpy as np
import pytest

from minode import (MLP, Classifier, Linear, check_gradients, hessian_vector_product, log_prob, negative_log_likelihood, odeint,
                    pullback, pushforward, reversible, value_and_gradients)
from minode.gradients.adjoint import adjoint_rhs, solve_backwards
from minode.gradients.tangent import tangent_rhs
from minode.solvers.solve import run
from tests.strategies import assert_agree

A, Y0, T, DY0 = np.array([0.1, 1.0, -2.0, 0.2]), np.array([1.0, 2.0]), np.array([0.0, 0.7, 2.0]), np.array([0.3, -1.0])
COTANGENT = np.array([[0.5, 1.0], [-1.0, 0.3], [2.0, 0.7]])
F, RTOL, ATOL = Linear(2), [1e-3, 1e-6], [1e-8, 1e-5]
STRICT = {"rtol": 1e-11, "atol": 1e-12}
AT_MOST = 1e3                    # how many times the largest tolerance a gradient may be off: tens of steps, and what the flow makes of them
SINGLE = 1e-4                    # of a gradient at rtol = 1e-6 in float32: some hundred roundings of 1.2e-7
SAME = 1e-12                     # the same gradient, its sums in another order
ADJOINT = pytest.mark.parametrize("gradient", ["backsolve", "interpolate"])


def loss(ys, *ws):
    return (0.5 * float(np.sum(ys * ys)), ys, *ws)


# -- tolerances -----------------------------------------------------------------------------------

def tolerances_seen(monkeypatch, call):
    """The scale at y = 0 and rtol, as functions of the flat state, of all solves in call()."""
    from minode.solvers import solve
    seen = []

    def record(*values):
        seen.append(tuple(np.asarray(value).tolist() for value in values[:2]))
        return Tolerances(*values)
    Tolerances = solve.Tolerances
    monkeypatch.setattr(solve, "Tolerances", record)
    call()
    return seen


@ADJOINT
def test_the_backward_solve_has_the_tolerances_of_y_for_y_and_a_and_the_smallest_for_b(monkeypatch, gradient):
    seen = tolerances_seen(monkeypatch, lambda: pullback(F, Y0, T, A, COTANGENT, gradient=gradient, rtol=RTOL, atol=ATOL))
    n = 2 if gradient == "backsolve" else 1
    backward = (RTOL * n + 4 * [1e-6], ATOL * n + 4 * [1e-8])
    assert seen == [(RTOL, ATOL)] + [backward] * 2
    batch = tolerances_seen(monkeypatch, lambda: pullback(F, np.outer([1, 2, 3], Y0), T[:2], A, np.outer([1, 2, 3], Y0), rtol=RTOL,
                                                          atol=1e-9, gradient=gradient))
    assert batch == [(RTOL * 3, 1e-9), (RTOL * 3 * n + 4 * [1e-6], 1e-9)]


@ADJOINT
def test_backward_may_have_tolerances_like_y_or_those_of_each_part(monkeypatch, gradient):
    parts = ([1e-4, 1e-5], 1e-6, 1e-7)[-3 if gradient == "backsolve" else -2:]
    flat = [number for part, n in zip(parts, (2, 2, 4)[-len(parts):]) for number in (part if isinstance(part, list) else [part] * n)]
    for rtol, expected in ((parts, flat), ([1e-4, 1e-5], [1e-4, 1e-5] * (len(parts) - 1) + [1e-5] * 4), (1e-4, 1e-4)):
        seen = tolerances_seen(monkeypatch, lambda: pullback(F, Y0, T[:2], A, Y0, gradient=gradient, backward={"rtol": rtol}))
        assert seen == [(1e-6, 1e-9), (expected, 1e-9)]


@ADJOINT
def test_the_backward_solve_with_tolerances_of_each_component_is_that_of_the_adjoint_system(gradient):
    pulled = pullback(F, Y0, T, A, COTANGENT, gradient=gradient, rtol=RTOL, atol=ATOL)
    done = run(F, Y0, T, A, [], rtol=RTOL, atol=ATOL)
    like = (RTOL, RTOL, 1e-6), (ATOL, ATOL, 1e-8)
    y_at = done.interpolation() if gradient == "interpolate" else None
    rtol, atol = like if y_at is None else (like[0][1:], like[1][1:])
    a, b = solve_backwards(F, done.solution.ys, T, A, COTANGENT, np.zeros(4), y_at, rtol=rtol, atol=atol)
    assert np.array_equal(pulled.y0, a + COTANGENT[0]) and np.array_equal(pulled.theta, b)
    expected = pullback(F, Y0, T, A, COTANGENT, gradient=gradient, **STRICT)
    for got, wanted in zip(pulled[:2], expected):
        assert_agree(got, wanted, AT_MOST * max(RTOL) * 1e-2)


@pytest.mark.parametrize("gradient", ["discrete", "checkpoint", "backsolve", "interpolate"])
def test_on_every_route_a_strict_component_makes_the_gradient_right(gradient):
    expected = pullback(F, Y0, T, A, COTANGENT, **STRICT)
    for rtol, atol in (([1e-9, 1e-9], 1e-9), ([1e-4, 1e-9], [1e-12, 1e-4]), (1e-9, [1e-9, 1e-3])):
        pulled = pullback(F, Y0, T, A, COTANGENT, gradient=gradient, rtol=rtol, atol=atol)
        for got, wanted in zip(pulled, expected):
            assert_agree(got, wanted, AT_MOST * np.max(rtol))


@pytest.mark.parametrize("own", [{}, {"per_trajectory": True}], ids=["joint", "own steps"])
def test_the_discrete_gradient_through_steps_of_such_tolerances_is_exact(own):
    y0 = np.outer([1.0, -0.5, 2.0], Y0)
    options = {"rtol": RTOL, "atol": np.outer([1, 10, 100], ATOL)} | own
    pulled, tape = pullback(F, y0, T, A, y0, **options), []
    run(F, y0, T, A, tape, **options)
    if not own:
        same = pullback(F, y0, T, A, y0, **options | {"gradient": "checkpoint"})
        assert_agree(pulled.y0, same.y0, SAME)
        assert_agree(pulled.theta, same.theta, SAME)
        assert check_gradients(F, y0, T, A, **options)
    else:
        alone = [pullback(F, y, T, A, y, rtol=RTOL, atol=atol) for y, atol in zip(y0, options["atol"])]
        assert_agree(pulled.y0, [one.y0 for one in alone], SAME)
        assert_agree(pulled.theta, sum(one.theta for one in alone), SAME)


def test_the_tangent_has_the_tolerances_of_its_state():
    rhs, dtheta = tangent_rhs(F), np.cos(np.arange(4.0))
    ys, ws = pushforward(F, Y0, T, A, DY0, dtheta, rtol=RTOL, atol=ATOL)
    flat = odeint(lambda t, s: np.concatenate(rhs(t, (s[:2], s[2:]), A, dtheta)), np.concatenate([Y0, DY0]), T,
                  rtol=RTOL * 2, atol=ATOL * 2)
    assert np.array_equal(np.concatenate([ys, ws], axis=1), flat)
    fixed = pushforward(F, Y0, T, A, DY0, dtheta, method="rk4", rtol=RTOL, atol=ATOL)
    assert np.array_equal(fixed[1], pushforward(F, Y0, T, A, DY0, dtheta, method="rk4")[1])
    value = value_and_gradients(loss, F, Y0, T, A, rtol=RTOL, atol=ATOL)[1]
    Hv = hessian_vector_product(loss, F, Y0, T, A, DY0, dtheta, rtol=RTOL, atol=ATOL)
    assert Hv.y0.shape == value.y0.shape


REFUSED = [
    (dict(rtol=[1e-3] * 3), r"rtol must be a number, or an array that fits the shape of y, \(2,\), not \(3,\)"),
    (dict(atol=[1e-3, -1e-3]), r"atol must be non-negative"), (dict(atol=[1e-3, np.nan]), "atol must be finite"),
    (dict(atol=[1e-3, 0.0]), "atol must be positive for "), (dict(max_step=0.0), "max_step must be positive, not 0.0"),
    (dict(max_step=0.1, step_size=0.1), "max_step is for adaptive methods"), (dict(max_step=0.1, method="rk4"), "max_step is for adaptive")]


@pytest.mark.parametrize("wrong, message", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name_before_f_is_called(wrong, message):
    class Never(Linear):
        def __call__(self, t, y, theta):
            raise AssertionError("f was called before the arguments were checked")
    f = Never(2)
    calls = [lambda: pullback(f, Y0, T, A, Y0, gradient="backsolve", **wrong),
             lambda: pullback(f, Y0, T, A, Y0, gradient="backsolve", backward=wrong),
             lambda: pullback(f, Y0, T, A, Y0, gradient="interpolate", backward=wrong),
             lambda: pushforward(f, Y0, T, A, np.zeros(2), **wrong)]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_tolerances_of_the_parts_of_the_backward_solve_are_refused_by_their_number_and_shape():
    for gradient, wrong, message in (("backsolve", (1e-3, 1e-3), "rtol must be a number, or a tuple of 3"),
                                     ("interpolate", (1e-3, 1e-3, 1e-3), "rtol must be a number, or a tuple of 2"),
                                     ("interpolate", (1e-3, [1e-3, 1e-3]), r"rtol must be .* fits the shape of y, \(4,\), not \(2,\)")):
        with pytest.raises(ValueError, match=message):
            pullback(F, Y0, T, A, Y0, gradient=gradient, backward={"rtol": wrong})


def test_an_atol_of_0_is_refused_for_a_tangent_only_where_it_begins_with_0():
    with pytest.raises(ValueError, match="atol must be positive for pushforward"):
        pushforward(F, Y0, T, A, [1.0, 0.0], atol=[1e-9, 0.0])
    assert np.isfinite(pushforward(F, Y0, T, A, [0.0, 1.0], atol=[1e-9, 0.0])[1]).all()


def test_of_a_flow_tolerances_are_those_of_the_state_and_of_log_p():
    y, theta = np.array([[0.3, -0.2], [1.0, 0.5]]), np.array([0.1, 1.0, -1.0, 0.2])
    expected = log_prob(F, y, T, theta, **STRICT)
    assert_agree(log_prob(F, y, T, theta, rtol=[1e-9, 1e-9, 1e-3], atol=[1e-9, 1e-9, 1e-3]), expected, 1e-6)
    with pytest.raises(ValueError, match=r"atol must be .* fits the shape of y, \(2, 3\), not \(2,\)"):
        log_prob(F, y, T, theta, atol=[1e-9, 1e-9])
    with pytest.raises(ValueError, match="atol must be positive for a log density"):
        log_prob(F, y, T, theta, atol=[1e-9, 1e-9, 0.0])


# -- the longest step ---------------------------------------------------------------------------------

@ADJOINT
def test_the_longest_step_is_that_of_the_backward_solve_too_if_this_chooses_its_steps(monkeypatch, gradient):
    counts, expected = [], pullback(F, Y0, T, A, COTANGENT, **STRICT).theta

    class Counted(Linear):
        def value_and_vjp(self, t, y, theta):
            counts.append(t)
            return super().value_and_vjp(t, y, theta)

    def calls(**own):
        counts.clear()
        pulled = pullback(Counted(2), Y0, T, A, COTANGENT, gradient=gradient, rtol=1e-3, **own)
        assert_agree(pulled.theta, expected, AT_MOST * 1e-3)
        return len(counts)
    free, bounded = calls(), calls(max_step=0.02)
    assert bounded > 6 * 100 > free and calls(backward={"max_step": 0.02}) == bounded
    assert calls(max_step=0.02, backward={"max_step": np.inf}) == free
    fixed = {"method": "rk4", "step_size": 0.1}
    assert calls(max_step=0.02, backward=fixed) == calls(backward=fixed)
    assert calls(step_size=0.05, backward={"step_size": None, "max_step": 0.02}) == bounded


def test_the_checks_and_the_tangents_take_the_longest_step():
    assert check_gradients(F, Y0, T, A, max_step=0.05)
    assert_agree(pushforward(F, Y0, T, A, DY0, max_step=0.05)[1], pushforward(F, Y0, T, A, DY0, **STRICT)[1], 1e-6)
    with pytest.raises(ValueError, match="max_step is for adaptive methods"):
        check_gradients(F, Y0, T, A, max_step=0.05, method="rk4")


# -- float32 ------------------------------------------------------------------------------------------

class Recorded(MLP):
    """A network that notes the kinds of its arguments; `SMALL` ones are asked for their Jacobians, and others for products."""

    def seen(self, name, *arrays):
        self.kinds.setdefault(name, set()).update(array.dtype.name for array in arrays)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kinds = {}

    def __call__(self, t, y, theta):
        self.seen("f", y, theta)
        return super().__call__(t, y, theta)

    def value_and_vjp(self, t, y, theta):
        self.seen("value_and_vjp", y, theta)
        value, vjp = super().value_and_vjp(t, y, theta)

        def product(a):
            self.seen("a", a)
            return vjp(a)
        return value, product

    def vjp(self, t, y, theta, a):
        self.seen("vjp", y, theta, a)
        return super().vjp(t, y, theta, a)

    def jvp(self, t, y, theta, w, dtheta):
        self.seen("jvp", y, theta, w, dtheta)
        return super().jvp(t, y, theta, w, dtheta)

    def jacobian(self, t, y, theta):
        self.seen("jacobian", y, theta)
        return super().jacobian(t, y, theta)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        self.seen("vjp_derivative", y, theta, a, w, dtheta)
        return super().vjp_derivative(t, y, theta, a, w, dtheta)


ROUTES = {
    "discrete": {}, "discrete, fixed": {"method": "rk4", "step_size": 0.1}, "discrete, inside": {"first_step": 1.0, "rtol": 1e-3},
    "discrete, own steps": {"per_trajectory": True}, "discrete, dop853": {"method": "dop853"}, "discrete, stops": {"tstops": [0.3]},
    "checkpoint": {"gradient": "checkpoint"}, "checkpoint, fixed": {"gradient": "checkpoint", "method": "rk4", "step_size": 0.1},
    "backsolve": {"gradient": "backsolve"}, "backsolve, fixed": {"gradient": "backsolve", "method": "rk4", "step_size": 0.1},
    "backsolve, tolerances": {"gradient": "backsolve", "rtol": [1e-5, 1e-6], "atol": [1e-6, 1e-7]},
    "interpolate": {"gradient": "interpolate"}, "interpolate, dop853": {"gradient": "interpolate", "method": "dop853"},
    "interpolate, stops": {"gradient": "interpolate", "tstops": [0.3]},
    **{f"{gradient}, {name}": {"gradient": gradient, "method": method, "step_size": 0.05} for gradient in ("reversible", "discrete")
       for name, method in (("leapfrog", "asynchronous_leapfrog"), ("heun", "reversible_heun"), ("rk4", reversible("rk4")))}}


@pytest.mark.parametrize("name, width", [                     # which matters where steps may be taken back all at once
    (name, width) for name in ROUTES for width in (4, 300) if width == 4 or name[:5] in ("discr", "check")])
def test_on_every_route_float32_stays_float32_and_is_right(name, width):
    f, t = Recorded([3, width, 2], ["tanh", "identity"]), np.array([0.0, 0.4, 1.0])
    theta, y0 = f.init(np.random.default_rng(0)), np.array([[1.0, -0.5], [0.3, 0.8]])
    options = {"rtol": 1e-5, "atol": 1e-6} | ROUTES[name]
    value, pulled = value_and_gradients(loss, f, y0.astype(np.float32), t, theta.astype(np.float32), **options)
    assert set().union(*f.kinds.values()) == {"float32"}, f.kinds
    assert [part.dtype.name for part in pulled] == ["float32", "float32", "float64"] and value > 0
    expected = value_and_gradients(loss, f, y0, t, theta, **options)[1]
    assert [part.dtype.name for part in expected] == ["float64"] * 3
    for got, wanted in zip(pulled, expected):
        assert_agree(got, wanted, SINGLE)


def test_the_gradient_of_each_has_its_own_precision():
    for y0, theta in ((np.float32(Y0), A), (Y0, np.float32(A))):
        for gradient in ("discrete", "checkpoint", "backsolve", "interpolate"):
            pulled = pullback(F, y0, T, theta, COTANGENT, gradient=gradient, rtol=1e-5, atol=1e-6)
            assert (pulled.y0.dtype, pulled.theta.dtype, pulled.t.dtype) == (y0.dtype, theta.dtype, np.float64)
    assert pullback(F, np.float32(Y0), T, A, COTANGENT, times=False).t is None


def test_tangents_and_second_derivatives_stay_in_float32():
    f, t, dtheta = Recorded([3, 5, 2], ["tanh", "identity"]), np.array([0.0, 0.4, 1.0]), np.cos(np.arange(32.0))
    theta, y0 = f.init(np.random.default_rng(0)), np.array([[1.0, -0.5], [0.3, 0.8]])
    single = y0.astype(np.float32), t, theta.astype(np.float32)
    for own in ({"rtol": 1e-5, "atol": 1e-6}, {"method": "rk4", "step_size": 0.1}, {"method": "reversible_heun", "step_size": 0.05}):
        got, expected = pushforward(f, *single, y0[::-1], dtheta, **own), pushforward(f, y0, t, theta, y0[::-1], dtheta, **own)
        assert [part.dtype.name for part in got] == ["float32"] * 2
        for one, other in zip(got, expected):
            assert_agree(one, other, SINGLE)
    f.kinds.clear()
    pushforward(f, *single, y0[::-1], dtheta)
    Hv = hessian_vector_product(lambda ys, ws: (0.5 * np.sum(ys * ys), ys, ws), f, *single, y0[::-1], dtheta, rtol=1e-5, atol=1e-6)
    assert set().union(*f.kinds.values()) == {"float32"}, f.kinds
    assert [part.dtype.name for part in Hv] == ["float32", "float32", "float64"]
    for got, wanted in zip(Hv, hessian_vector_product(lambda ys, ws: (0.5 * np.sum(ys * ys), ys, ws), f, y0, t, theta, y0[::-1], dtheta)):
        assert_agree(got, wanted, SINGLE)


def test_the_adjoint_system_is_solved_in_float32_by_whatever_loss():
    rhs, state = adjoint_rhs(F), tuple(np.float32(x) for x in (Y0, DY0, A))
    assert {part.dtype.name for part in rhs(0.0, state, np.float32(A))} == {"float32"}
    double = value_and_gradients(lambda ys: (1.0, np.ones_like(ys, dtype=np.float64)), F, np.float32(Y0), T, np.float32(A),
                                 gradient="backsolve", rtol=1e-5, dL_dtheta=A)[1]
    assert double.y0.dtype == double.theta.dtype == np.float32


def test_models_have_gradients_in_the_precision_of_their_parameters():
    model = Classifier(3, MLP([2, 4, 2], ["tanh", "identity"]), 2, rtol=1e-5, atol=1e-6)
    theta, x, labels = model.init(np.random.default_rng(0)), np.eye(2, 3), np.array([0, 1])
    for gradient in ("discrete", "backsolve"):
        value, got = model.value_and_gradient(np.float32(x), labels, np.float32(theta), gradient=gradient)
        expected = model.value_and_gradient(x, labels, theta, gradient=gradient)
        assert got.dtype == np.float32 and abs(value - expected[0]) < SINGLE
        assert_agree(got, expected[1], SINGLE)
    y, theta = np.array([[0.3, -0.2], [1.0, 0.5]]), np.array([0.1, 1.0, -1.0, 0.2])
    _, single = negative_log_likelihood(F, np.float32(y), T, np.float32(theta), rtol=1e-5, atol=1e-6)
    for got, expected, dtype in zip(single, negative_log_likelihood(F, y, T, theta)[1], ("float32", "float32", "float64")):
        assert got.dtype == dtype
        assert_agree(got, expected, SINGLE)

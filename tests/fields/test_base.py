"""What the protocol promises of every field: products that agree with its matrices, and batches."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import solve_ivp

from minode import MLP, CubicSpiral, Linear, LotkaVolterra, VanDerPol, VectorField, odeint, pullback
from minode.gradients.checks import complex_step
from tests.strategies import (KINKED, SMOOTH, arrays, assert_agree, batches, clocks, complex_columns, mlps,
                              physics)
from tests.subclasses import MinusY

ROUND_OFF = 200 * np.finfo(float).eps          # a few dozen operations, one rounding each
REFERENCE = 1e-11                              # SciPy's DOP853 at a relative tolerance of 1e-13
every_field = st.one_of(physics(), mlps(SMOOTH + KINKED))


class Toy(VectorField):
    """Looks at everything: y₁' = θ₁ y₂ sin t + θ₂ y₁², y₂' = θ₃ y₁ y₂ + θ₁² t."""

    dim, n_params = 2, 3

    def __call__(self, t, y, theta):
        u, v = y[..., 0], y[..., 1]
        return np.stack([theta[0] * v * np.sin(t) + theta[1] * u * u,
                         theta[2] * u * v + theta[0] ** 2 * t], -1)

    def jacobian(self, t, y, theta):
        u, v, zero = y[..., 0], y[..., 1], 0 * y[..., 0]
        return np.stack([np.stack([2 * theta[1] * u, theta[0] * np.sin(t) + zero], -1),
                         np.stack([theta[2] * v, theta[2] * u], -1)], -2)

    def param_jacobian(self, t, y, theta):
        u, v, zero = y[..., 0], y[..., 1], 0 * y[..., 0]
        return np.stack([np.stack([v * np.sin(t), u * u, zero], -1),
                         np.stack([2 * theta[0] * t + zero, zero, u * v], -1)], -2)

    def time_derivative(self, t, y, theta):
        return np.stack([theta[0] * y[..., 1] * np.cos(t), theta[0] ** 2 + 0 * y[..., 1]], -1)


@st.composite
def toys(draw):
    return Toy(), draw(arrays(3))


@pytest.mark.eq("1.1")
def test_a_field_is_solved_as_it_stands_and_knows_nothing_but_its_three_arguments():
    f, y0, t = Toy(), np.array([0.5, -0.3]), np.linspace(-0.5, 1.0, 4)
    for theta in (np.array([1.0, -0.7, 0.4]), np.array([-0.3, 0.2, 1.1]), np.array([1.0, -0.7, 0.4])):
        ys = odeint(f, y0, t, theta, method="rk4", step_size=2e-3)
        reference = solve_ivp(lambda t, y: [theta[0] * y[1] * np.sin(t) + theta[1] * y[0]**2,
                                            theta[2] * y[0] * y[1] + theta[0]**2 * t],
                              (t[0], t[-1]), y0, "DOP853", t, rtol=1e-13, atol=1e-14)
        assert np.array_equal(ys[0], y0)
        assert_agree(ys, reference.y.T, REFERENCE)


@pytest.mark.eq("1.1", "1.3", "4.1", "4.3", "4.4")
@given(st.data(), st.one_of(every_field, toys()), st.lists(batches, min_size=1, max_size=4))
def test_value_and_vjp_is_the_velocity_and_the_product_of_its_own_point(data, field, shapes):
    f, theta = field
    points = []
    for batch in shapes:                                    # all points first: each function keeps its own
        t, y = data.draw(clocks(batch)), data.draw(arrays((*batch, f.dim)))
        value, vjp = f.value_and_vjp(t, y, theta)
        assert_agree(value, f(t, y, theta), ROUND_OFF)
        points.append((t, y, vjp))
    for t, y, vjp in [*points, *reversed(points)]:          # in any order, and as often as one likes
        a = data.draw(arrays(y.shape))
        for got, expected in zip(vjp(a), f.vjp(t, y, theta, a), strict=True):
            assert_agree(got, expected, ROUND_OFF)


@given(st.data(), st.one_of(every_field, toys()), batches)
def test_what_a_field_has_returned_stays_as_it_was(data, field, batch):
    f, theta = field
    returned = []
    for _ in range(3):                                      # what one call returns, the next must not touch
        t, (y, w, a) = data.draw(clocks(batch)), (data.draw(arrays((*batch, f.dim))) for _ in range(3))
        value, vjp = f.value_and_vjp(t, y, theta)
        for array in (value, *vjp(a), *vjp(w), f(t, y, theta), *f.vjp(t, y, theta, a), f.jvp(t, y, theta, w, theta),
                      f.jacobian(t, y, theta), f.param_jacobian(t, y, theta), f.time_derivative(t, y, theta)):
            returned.append((array, array.copy()))
    assert all(np.array_equal(array, then) for array, then in returned)


@pytest.mark.eq("1.2")
@given(st.data(), toys(), batches)
def test_jvp_is_the_derivative_along_a_move_of_state_and_parameters(data, field, batch):
    f, theta = field
    y, w = data.draw(arrays((*batch, 2))), data.draw(arrays((*batch, 2)))
    t, dtheta = data.draw(clocks(batch)), data.draw(arrays(3))
    along = complex_step(lambda s: f(t, y + s * w, theta + s * dtheta), 0.0, 1.0)
    assert_agree(f.jvp(t, y, theta, w, dtheta), along, ROUND_OFF)


@pytest.mark.eq("1.3")
@given(st.data(), toys(), batches)
def test_vjp_is_the_gradient_of_the_weighted_sum_over_components_and_batch(data, field, batch):
    f, theta = field
    y, a, t = data.draw(arrays((*batch, 2))), data.draw(arrays((*batch, 2))), data.draw(clocks(batch))
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    each = complex_columns(lambda y: np.sum(a * f(t, y, theta), axis=-1), y)
    together = complex_columns(lambda theta: np.sum(a * f(t, y, theta)), theta)
    assert_agree(a_f_y, each, ROUND_OFF)
    assert_agree(a_f_theta, together, ROUND_OFF)


@pytest.mark.eq("1.3", "4.3", "4.5", "4.6")
@given(st.data(), st.one_of(every_field, toys()), batches)
def test_vjp_from_each_unit_vector_gives_the_rows_of_both_matrices(data, field, batch):
    f, theta = field
    t, y = data.draw(clocks(batch)), data.draw(arrays((*batch, f.dim)))
    _, vjp = f.value_and_vjp(t, y, theta)
    f_y, f_theta = f.jacobian(t, y, theta), f.param_jacobian(t, y, theta)
    for i, unit in enumerate(np.eye(f.dim)):
        a_f_y, a_f_theta = vjp(np.broadcast_to(unit, y.shape))
        assert_agree(a_f_y, f_y[..., i, :], ROUND_OFF)
        assert_agree(a_f_theta, f_theta[..., i, :].reshape(-1, f.n_params).sum(axis=0), ROUND_OFF)


@pytest.mark.eq("1.3")
def test_the_parameters_get_the_sum_over_all_trajectories():
    f, theta, y = Toy(), np.array([1.0, -0.7, 0.4]), np.array([0.5, -0.3])
    _, one = f.vjp(0.3, y, theta, np.array([1.0, 2.0]))
    _, five = f.vjp(0.3, np.tile(y, (5, 1)), theta, np.tile([1.0, 2.0], (5, 1)))
    assert np.abs(one).min() > 0.01                         # five times zero would prove nothing
    assert_agree(five, 5 * one, ROUND_OFF)


@pytest.mark.eq("1.2", "1.3", "2.5", "2.6")
@given(st.data(), every_field, batches)
def test_products_that_a_field_overrides_are_those_of_its_matrices(data, field, batch):
    f, theta = field
    y, w, a = (data.draw(arrays((*batch, f.dim))) for _ in range(3))
    t, dtheta = data.draw(clocks(batch)), data.draw(arrays(f.n_params))
    assert_agree(f.jvp(t, y, theta, w, dtheta), VectorField.jvp(f, t, y, theta, w, dtheta), ROUND_OFF)
    for own, base in zip(f.vjp(t, y, theta, a), VectorField.vjp(f, t, y, theta, a)):
        assert_agree(own, base, ROUND_OFF)


@given(st.data(), st.one_of(every_field, toys()), st.sampled_from([(1,), (3,), (2, 2)]))
def test_a_batch_is_the_loop_over_its_trajectories_each_at_its_own_time(data, field, batch):
    f, theta = field
    y, w, a = (data.draw(arrays((*batch, f.dim))) for _ in range(3))
    t, dtheta = data.draw(clocks(batch)), data.draw(arrays(f.n_params))
    clock, summed = np.broadcast_to(t, batch), 0
    whole = [f(t, y, theta), f.jacobian(t, y, theta), f.param_jacobian(t, y, theta),
             f.time_derivative(t, y, theta), f.jvp(t, y, theta, w, dtheta)]
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    for i in np.ndindex(batch):
        s = float(clock[i])
        single = [f(s, y[i], theta), f.jacobian(s, y[i], theta), f.param_jacobian(s, y[i], theta),
                  f.time_derivative(s, y[i], theta), f.jvp(s, y[i], theta, w[i], dtheta)]
        for of_batch, alone in zip(whole, single):
            assert_agree(of_batch[i], alone, ROUND_OFF)
        single_f_y, single_f_theta = f.vjp(s, y[i], theta, a[i])
        assert_agree(a_f_y[i], single_f_y, ROUND_OFF)
        summed = summed + single_f_theta
    assert_agree(a_f_theta, summed, ROUND_OFF)


@given(st.data(), every_field)
def test_no_argument_of_a_field_is_written_to(data, field):
    f, theta = field
    arguments = y, w, a = tuple(data.draw(arrays((2, f.dim))) for _ in range(3))
    t, dtheta = data.draw(arrays((2,))), data.draw(arrays(f.n_params))
    for array in (*arguments, t, theta, dtheta):
        array.flags.writeable = False                       # to write to it now is an error
    f(t, y, theta), f.jacobian(t, y, theta), f.param_jacobian(t, y, theta), f.time_derivative(t, y, theta)
    f.jvp(t, y, theta, w, dtheta), f.vjp(t, y, theta, a), f.vjp_derivative(t, y, theta, a, w, dtheta)
    f.value_and_vjp(t, y, theta)[1](a)


@pytest.mark.parametrize("call", ["__call__", "jacobian", "param_jacobian", "time_derivative"])
def test_a_field_that_lacks_a_method_is_named_with_it(call):
    class Unfinished(VectorField):
        dim, n_params = 2, 1

    with pytest.raises(NotImplementedError, match=rf"Unfinished must define {call}\(t, y, theta\)"):
        getattr(Unfinished(), call)(0.0, np.zeros(2), np.zeros(1))
    with pytest.raises(NotImplementedError, match=r"vjp_derivative\(.*\) for second derivatives"):
        Unfinished().vjp_derivative(0.0, np.zeros(2), np.zeros(1), np.zeros(2), np.zeros(2), np.zeros(1))


def all_of(f, t, y, theta, w, dtheta, a):
    """What every method of a field gives, by name."""
    values = {name: getattr(f, name)(t, y, theta)
              for name in ("__call__", "jacobian", "param_jacobian", "time_derivative")}
    values["jvp"] = f.jvp(t, y, theta, w, dtheta)
    values["value"], vjp = f.value_and_vjp(t, y, theta)
    for name, pair in (("vjp", f.vjp(t, y, theta, a)), ("its vjp", vjp(a)),
                       ("vjp_derivative", f.vjp_derivative(t, y, theta, a, w, dtheta))):
        values[name], values[f"{name}, θ"] = pair
    return values


SHIPPED = [Linear(1), Linear(3), CubicSpiral(), LotkaVolterra(), VanDerPol()]
SHIPPED += [MLP([3 + sees_time, 4, 3], [name, "tanh"]) for name in SMOOTH + KINKED for sees_time in (False, True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("f", SHIPPED, ids=lambda f: repr(f) if isinstance(f, MLP) else f"{type(f).__name__}({f.dim})")
def test_every_method_of_a_field_returns_the_dtype_that_it_was_given(f, dtype):
    y, w, a = (np.full((2, f.dim), x, dtype) for x in (0.3, 0.7, -0.2))
    theta, dtheta = np.linspace(-1, 1, f.n_params).astype(dtype), np.linspace(1, 0, f.n_params).astype(dtype)
    for t in (0.5, 1, np.float64(0.5), np.full(2, 0.5)):               # times are float64 always
        found = {name: value.dtype for name, value in all_of(f, t, y, theta, w, dtheta, a).items()}
        assert found == dict.fromkeys(found, np.dtype(dtype))


# -- value_and_vjp of subclasses ----------------------------------------------------------------

class OnlyValue(MLP):
    def __call__(self, t, y, theta):
        return 2 * super().__call__(t, y, theta)


class OnlyProduct(MLP):
    def vjp(self, t, y, theta, a):
        return tuple(2 * part for part in super().vjp(t, y, theta, a))


class Twice:
    """Not a field by itself: something to mix into one."""

    def vjp(self, t, y, theta, a):
        return tuple(2 * part for part in super().vjp(t, y, theta, a))


class Mixed(Twice, MLP):
    pass


class Heir(MinusY):
    pass


DEFAULT = VectorField.value_and_vjp


@pytest.mark.parametrize("kind", [MinusY, OnlyValue, OnlyProduct, Mixed, Heir])
@given(data=st.data(), batch=batches)
def test_a_subclass_that_writes_f_or_vjp_anew_has_a_value_and_vjp_that_says_the_same(kind, data, batch):
    f = kind([4, 5, 3], ["swish", "tanh"])
    t, y, a = data.draw(clocks(batch)), data.draw(arrays((*batch, 3))), data.draw(arrays((*batch, 3)))
    theta = data.draw(arrays(f.n_params, bound=1.0))
    assert kind.value_and_vjp is DEFAULT
    value, vjp = f.value_and_vjp(t, y, theta)
    assert np.array_equal(value, f(t, y, theta))
    assert all(map(np.array_equal, vjp(a), f.vjp(t, y, theta, a)))


def test_the_gradient_of_such_a_subclass_is_that_of_the_field_it_is():
    class FromMatrices(VectorField):                        # the same right-hand side, products from the matrices
        dim, n_params = 2, 22

        def __call__(self, t, y, theta):
            return net(t, y, theta) - y

        def jacobian(self, t, y, theta):
            return net.jacobian(t, y, theta) - np.eye(2)

        def param_jacobian(self, t, y, theta):
            return net.param_jacobian(t, y, theta)

    net, rng = MLP([2, 4, 2], ["tanh", "sin"]), np.random.default_rng(0)
    theta, (y0, cotangent) = net.init(rng), rng.normal(size=(2, 3, 2))
    options = {"method": "rk4", "step_size": 0.25}
    got, expected, plain = (pullback(f, y0, [0.0, 1.0], theta, cotangent, **options) for f in
                            (MinusY([2, 4, 2], ["tanh", "sin"]), FromMatrices(), net))
    for part in ("y0", "theta"):
        assert_agree(getattr(got, part), getattr(expected, part), ROUND_OFF)
        assert np.abs(getattr(got, part) - getattr(plain, part)).max() > 0.01


def test_a_subclass_that_writes_neither_keeps_the_fast_one_and_one_of_its_own_is_kept():
    class Named(MLP):
        def __init__(self):
            super().__init__([3, 4, 2], ["tanh", "tanh"])

    class Own(MLP):
        def __call__(self, t, y, theta):
            return -super().__call__(t, y, theta)

        def vjp(self, t, y, theta, a):
            return super().vjp(t, y, theta, -a)

        def value_and_vjp(self, t, y, theta):
            value, vjp = super().value_and_vjp(t, y, theta)
            return -value, lambda a: vjp(-a)

    class OfOwn(Own):
        pass

    assert MLP.value_and_vjp is not DEFAULT and Named.value_and_vjp is MLP.value_and_vjp
    assert Own.value_and_vjp is not DEFAULT and OfOwn.value_and_vjp is Own.value_and_vjp
    assert all(field.value_and_vjp is DEFAULT for field in (Linear, CubicSpiral, LotkaVolterra, VanDerPol, Toy))
    f, y, theta = Own([2, 2], ["tanh"]), np.ones(2), np.linspace(-1, 1, 6)
    value, vjp = f.value_and_vjp(0.0, y, theta)
    assert np.array_equal(value, f(0.0, y, theta)) and np.array_equal(vjp(y)[1], f.vjp(0.0, y, theta, y)[1])


@pytest.mark.eq("1.3")
@given(st.one_of(every_field, toys()))
def test_an_empty_batch_has_empty_derivatives_and_adds_nothing_to_theta(field):
    f, theta = field
    y = np.ones((0, f.dim))
    a_f_y, a_f_theta = f.vjp(0.5, y, theta, y)
    assert f(0.5, y, theta).shape == a_f_y.shape == f.jvp(0.5, y, theta, y, theta).shape == (0, f.dim)
    assert np.array_equal(a_f_theta, np.zeros(f.n_params))
    assert f.jacobian(0.5, y, theta).shape == (0, f.dim, f.dim)
    assert f.param_jacobian(0.5, y, theta).shape == (0, f.dim, f.n_params)

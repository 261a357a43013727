"""Every activation: value by another formula, slope by complex step, steepest point, kink, limits."""

import decimal
import math

import numpy as np
import pytest
from hypothesis import given
from scipy.optimize import brentq
from scipy.special import expit

from minode.fields.activations import ACTIVATIONS
from minode.gradients.checks import complex_step
from tests.strategies import KINKED, SMOOTH, arrays, assert_agree

ROUND_OFF = 20 * np.finfo(float).eps
GRID = np.linspace(-40.0, 40.0, 80_001)                 # spacing 1e-3, with 0 on it
TINY = 1e-304                                           # 1000 times what sigmoid is at least
FAR = [1e-12, 1e-5, 0.3, 2.0, 12.0, 40.0, 300.0]        # where 1 − x², 1 − s or 1 + eᶻ lose digits, on both sides
BETWEEN = 1e-6                                          # |σ''| < 1/2 near a maximum of σ' times (spacing)²
OTHER_FORMULA = {
    "identity": lambda z: z,
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    "sigmoid": expit,
    "softplus": lambda z: np.logaddexp(0.0, z),
    "swish": lambda z: z * expit(z),
    "sin": lambda z: np.cos(z - math.pi / 2),
    "relu": lambda z: np.maximum(z, 0.0),
    "leaky_relu": lambda z: np.maximum(z, z / 100),
}
STEEPEST_AT = {"identity": 0.0, "tanh": 0.0, "sigmoid": 0.0, "softplus": 40.0, "sin": 0.0, "relu": 1.0,
               "leaky_relu": 1.0, "swish": brentq(lambda z: z * np.tanh(z / 2) - 2, 2.0, 3.0, xtol=1e-15)}
each = pytest.mark.parametrize("name", ACTIVATIONS)


def test_the_activations_are_those_of_the_table():
    assert set(ACTIVATIONS) == set(SMOOTH + KINKED) == set(OTHER_FORMULA) == set(STEEPEST_AT)


@pytest.mark.eq("3.1")
@each
@given(z=arrays((4,), bound=8.0))
def test_the_value_is_that_of_another_formula_and_both_derivatives_are_complex_steps(name, z):
    value, slope, curvature, *_ = ACTIVATIONS[name]
    x = value(z)
    assert_agree(x, OTHER_FORMULA[name](z), ROUND_OFF)
    assert_agree(slope(z, x), complex_step(value, z, 1.0), ROUND_OFF)
    assert_agree(curvature(z, x), complex_step(lambda z: slope(z, value(z)), z, 1.0), ROUND_OFF)


@pytest.mark.eq("3.1")
@each
@given(z=arrays((4,), bound=8.0), dz=arrays((4,)))
def test_a_move_of_z_moves_x_by_the_slope_times_the_move(name, z, dz):
    value, slope, *_ = ACTIVATIONS[name]
    assert_agree(complex_step(value, z, dz), slope(z, value(z)) * dz, ROUND_OFF)


@each
@given(z=arrays((2, 3), bound=8.0), w=arrays((2, 3)))
def test_an_answer_is_an_array_of_its_own_and_its_arguments_stay_as_they_were(name, z, w):
    value, slope, curvature, *_ = ACTIVATIONS[name]
    for z in (z, z + 1j * w):
        x, before = value(z), z.copy()
        answers, at_first = [x, slope(z, x), curvature(z, x)], x.copy()
        for i, answer in enumerate(answers):
            assert answer.shape == z.shape
            assert not any(np.shares_memory(answer, other) for other in (z, *answers[:i]))
        assert np.array_equal(z, before) and np.array_equal(x, at_first)


@each
@given(z=arrays((4,), bound=8.0))
def test_a_slope_that_is_said_not_to_read_z_is_told_by_x_alone(name, z):
    value, slope, *_ = ACTIVATIONS[name]
    x = value(z)
    if ACTIVATIONS[name].slope_reads_z:
        with pytest.raises((TypeError, AttributeError)):
            slope(None, x)
    else:
        assert np.array_equal(slope(None, x), slope(z, x))


@pytest.mark.eq("3.1")
@pytest.mark.parametrize("name, left", [("relu", 0.0), ("leaky_relu", 0.01)])
def test_at_the_kink_the_slope_is_the_one_from_the_left(name, left):
    value, slope, *_ = ACTIVATIONS[name]
    z = np.array([-1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0])
    assert np.array_equal(slope(z, value(z)), [left, left, left, left, 1.0, 1.0])
    assert np.array_equal(complex_step(value, z, 1.0), [left, left, left, left, 1.0, 1.0])
    assert np.array_equal(value(np.array([-2.0, 0.0, 2.0])), [-2 * left, 0.0, 2.0])


@pytest.mark.parametrize("name, left", [("relu", 0.0), ("leaky_relu", 0.01)])
def test_at_infinity_a_kinked_activation_has_its_limits_and_nan_stays_nan(name, left):
    value = ACTIVATIONS[name].value
    for dtype in (np.float32, np.float64):
        x = value(np.array([-np.inf, np.inf, np.nan], dtype))
        assert np.array_equal(x, [-np.inf if left else 0.0, np.inf, np.nan], equal_nan=True) and x.dtype == dtype


@pytest.mark.eq("3.2")
@each
def test_the_lipschitz_constant_is_the_largest_slope(name):
    (value, slope, *_), bound = ACTIVATIONS[name], ACTIVATIONS[name].lipschitz
    slopes = np.abs(slope(GRID, value(GRID)))
    assert bound - BETWEEN <= slopes.max() <= bound * (1 + ROUND_OFF)
    top = np.array(STEEPEST_AT[name])
    assert abs(slope(top, value(top)) - bound) <= ROUND_OFF


@pytest.mark.eq("3.2")
@each
@given(uv=arrays((2, 20), bound=8.0))
def test_no_two_points_are_stretched_by_more_than_the_lipschitz_constant(name, uv):
    value, bound = ACTIVATIONS[name].value, ACTIVATIONS[name].lipschitz
    u, v = uv
    assert np.all(np.abs(value(u) - value(v)) <= bound * np.abs(u - v) + ROUND_OFF * 8.0)


@pytest.mark.eq("3.2")
def test_the_constants_are_those_of_the_table():
    printed = {"sigmoid": 0.25, "swish": 1.0998}
    assert {name: round(ACTIVATIONS[name].lipschitz, 4) for name in ACTIVATIONS} == \
        {name: printed.get(name, 1.0) for name in ACTIVATIONS}
    assert f"{STEEPEST_AT['swish']:.4f}" == "2.3994"
    assert abs(ACTIVATIONS["swish"].steepest - STEEPEST_AT["swish"]) <= ROUND_OFF


@pytest.mark.eq("3.2")
@each
def test_no_slope_is_steeper_downwards_than_the_largest_upwards(name):
    value, slope, *_ = ACTIVATIONS[name]
    assert (-slope(GRID, value(GRID))).max() <= ACTIVATIONS[name].lipschitz


@pytest.mark.eq("3.1")
@each
@pytest.mark.parametrize("z", [1e3, -1e3, 1e300, -1e300])
def test_nothing_overflows_far_from_zero(name, z):
    (value, slope, curvature, *_), bound = ACTIVATIONS[name], ACTIVATIONS[name].lipschitz
    z = np.array([z, z + 1e-30j])                           # complex, as the complex step hands it in
    for far in (z.real, z):
        x = value(far)
        assert np.isfinite([x, slope(far, x), curvature(far, x)]).all()
        assert np.all(np.abs(slope(far, x)) <= bound)


@pytest.mark.eq("3.1")
def test_far_from_zero_the_values_are_the_limits():
    z = np.array([-1e3, 1e3])
    for name, expected in {"sigmoid": [0.0, 1.0], "softplus": [0.0, 1e3], "swish": [0.0, 1e3],
                           "tanh": [-1.0, 1.0], "relu": [0.0, 1e3], "leaky_relu": [-10.0, 1e3]}.items():
        assert np.abs(ACTIVATIONS[name].value(z) - expected).max() <= TINY, name


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_value_and_slope_keep_the_dtype(name, dtype):
    value, slope, curvature, *_ = ACTIVATIONS[name]
    z = np.array([-1.5, 0.0, 0.5], dtype)
    x = value(z)
    assert x.dtype == slope(z, x).dtype == curvature(z, x).dtype == dtype


def exactly(name, z):
    """The value, slope and curvature at a float z, from three hundred digits."""
    with decimal.localcontext(prec=300):
        z = decimal.Decimal(z)
        s, r = 1 / (1 + (-z).exp()), 1 / (1 + z.exp())                # sigmoid(z) and 1 − sigmoid(z)
        tanh = (z.exp() - (-z).exp()) / (z.exp() + (-z).exp())
        return [float(x) for x in {
            "tanh": (tanh, 1 - tanh**2, -2 * tanh * (1 - tanh**2)),
            "sigmoid": (s, s * r, s * r * (r - s)),
            "softplus": ((1 + z.exp()).ln(), s, s * r),
            "swish": (z * s, s + z * s * r, s * r * (2 + z * (r - s)))}[name]]


@pytest.mark.eq("3.1")
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "swish"])
@pytest.mark.parametrize("z", [*FAR, *(-z for z in FAR)])
def test_however_small_a_value_or_slope_is_it_has_all_its_digits(name, z):
    value, slope, curvature, *_ = ACTIVATIONS[name]
    x = value(np.array([z]))
    got, expected = [x[0], slope(np.array([z]), x)[0], curvature(np.array([z]), x)[0]], exactly(name, z)
    tell_all = name == "softplus" or name == "swish" or (name == "sigmoid" and z < -1)      # the others' slopes see x alone
    rounding = [ROUND_OFF * (1 + abs(z)) * max(abs(right), 0.0 if i == 0 or tell_all else 1.0)
                for i, right in enumerate(expected)]
    assert np.all(np.abs(np.subtract(got, expected)) <= rounding)


@pytest.mark.eq("3.1")
def test_far_out_two_slopes_are_zero_and_two_values_stay_where_they_are():
    for name, z in (("tanh", [20.0, -20.0]), ("sigmoid", [40.0])):
        z = np.array(z)
        assert not ACTIVATIONS[name].slope(z, ACTIVATIONS[name].value(z)).any()
        assert 0 < exactly(name, float(z[0]))[1] < 2e-17
    for name in ("sigmoid", "softplus"):
        assert np.ptp(ACTIVATIONS[name].value(np.array([-708.0, -720.0, -1e4]))) == 0
        assert exactly(name, -720.0)[0] < 1e-312


def test_a_sigmoid_in_float32_overflows_no_sooner():
    z = np.array([-200.0, -60.0, 60.0], np.float32)
    x = ACTIVATIONS["sigmoid"].value(z)
    assert x.dtype == np.float32 and x[0] < 1e-37 and x[2] == 1 and abs(x[1] / expit(-60.0) - 1) <= 1e-5

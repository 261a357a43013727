"""The captions of the figures on solving (1 to 4 and 8) state what their compute() finds."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from figures import late_stage, round_trip, trajectory
from minode import methods

from . import computed, fixed, listed, says, scientific

U = np.finfo(np.float64).eps
SLOPE = 0.1                    # observed slope against order, on grids that are not infinitely fine
CLAIMED = 1e-13                # what the caption of the round trip says of round-off, after 1,024 steps
STEPS_OF_ROUND_OFF = 1000 * U  # a few hundred steps, each rounded a few times


@pytest.mark.eq("6.1")
def test_the_last_layer_approaches_the_flow_in_proportion_to_one_over_n():
    data = computed("residual_network")
    assert abs(data["slope"] + 1) <= SLOPE
    assert says("residual_network", f"slope {fixed(data['slope'], 2)}")
    assert says("residual_network", f"The last of 4 layers is {data['distance'][0]:.2f} away")
    assert says("residual_network", f"the last of 64 layers {data['distance'][4]:.3f}")
    assert [len(states) - 1 for states in data["networks"].values()] == [4, 8, 16, 64]


@pytest.mark.eq("6.1", "6.6")
def test_the_worked_example_ends_on_the_powers_of_one_step():
    data = computed("worked_example")
    h, factors = 0.1, {"Euler": 1.1, "Runge–Kutta": 1.1 + 0.1**2 / 2 + 0.1**3 / 6 + 0.1**4 / 24}
    n = np.arange(101)
    for name, factor in factors.items():
        assert np.allclose(data["ys"][name], 2 * factor**n, rtol=STEPS_OF_ROUND_OFF, atol=0)
        assert data["theory"][name][-1] > data["too_low"][name][-1] > (1 - 1.1 * h) * data["theory"][name][-1]
    assert says("worked_example", f"ends at {data['ys']['Euler'][-1]:.2f}")
    assert says("worked_example", f"method at {data['ys']['Runge–Kutta'][-1]:.2f}")
    assert says("worked_example", f"2e¹⁰ = {data['exact'][-1]:.2f}")
    low, theory = data["too_low"], data["theory"]
    assert np.allclose(data["long"]["Euler"], 2 * 2.0 ** np.arange(4), rtol=10 * U, atol=0)
    assert round(low["Euler"][-1] / low["Runge–Kutta"][-1], -4) == 50_000
    assert says("worked_example", f"Euler is {100 * low['Euler'][-1]:.0f} % too low")
    assert says("worked_example", f"only {100 * low['Runge–Kutta'][-1]:.4f} %")
    assert says("worked_example", f"{100 * low['Euler'][-1]:.1f} % too low")
    assert says("worked_example", f"says {100 * theory['Euler'][-1]:.1f} %")
    assert says("worked_example", f"{scientific(low['Runge–Kutta'][-1])} too low, "
                                  f"and theory says {scientific(theory['Runge–Kutta'][-1])}")


@pytest.mark.eq("6.5")
def test_the_fourth_stage_of_the_source_text_is_one_step_late_and_costs_three_orders():
    data = computed("late_stage")
    assert data["called"]["Runge–Kutta"] == [0.0, 0.5, 0.5, 1.0]
    assert data["called"]["source text's code"] == [0.0, 0.5, 0.5, 2.0]
    for name, order in {"Runge–Kutta": 4, "source text's code": 1, "Euler": 1}.items():
        assert abs(data["slope"][name] + order) <= SLOPE
        assert says("late_stage", listed(data["error"][name], lambda x: scientific(x, 2))
                    + f" (slope {fixed(data['slope'][name], 2)})")


def test_the_source_texts_own_example_cannot_see_its_mistake():
    t = np.linspace(0.0, 10.0, 101)
    late, right = (method(lambda t, y: y, 2.0, t) for method in (late_stage.late_rk4, late_stage.odeint_rk4))
    assert np.allclose(late, right, rtol=STEPS_OF_ROUND_OFF, atol=0)


def test_the_trajectory_is_the_one_scipy_finds_and_bends_as_much_as_is_said():
    data = computed("trajectory")
    reference = solve_ivp(lambda t, y: trajectory.MODEL(t, y, trajectory.THETA), (0.0, 6.0), trajectory.Y0,
                          "DOP853", data["t"], rtol=1e-10, atol=1e-10, max_step=0.01).y.T
    at_order_one = 2 * data["moved"]              # halving the steps removes half the error, or more of it
    assert np.abs(data["ys"] - reference).max() <= at_order_one
    assert data["others"].shape == (121, 5, 3) and np.array_equal(data["others"][0], trajectory.OTHERS)
    assert says("trajectory", f"{data['turning']:.0f} degrees")
    assert says("trajectory", f"({', '.join(fixed(y, 2) for y in data['ys'][-1])})")
    assert says("trajectory", f"moves it by {scientific(data['moved'])} at most")
    cotangent = computed("pullback_state")["a"]
    assert min(data["turning"], computed("pushforward")["turning"], trajectory.turning(cotangent)) > 120


@pytest.mark.eq("9.3")
@pytest.mark.parametrize("name", round_trip.EXPLICIT)
def test_an_explicit_method_returns_with_order_p_or_p_plus_one(name):
    data, p = computed("round_trip"), methods[name].order
    assert abs(data["slope"][name] - (p + 1 if p % 2 == 0 else p)) <= SLOPE


@pytest.mark.eq("13.1", "14.1", "14.2")
@pytest.mark.parametrize("name", [*round_trip.SYMMETRIC, *round_trip.REVERSIBLE])
def test_a_symmetric_or_reversible_method_returns_to_round_off(name):
    assert computed("round_trip")["missed"][name].max() < CLAIMED


def test_the_caption_of_the_round_trip_states_the_distance_and_the_slopes():
    data = computed("round_trip")
    slopes = {name: f"{slope:.2f}" for name, slope in data["slope"].items()}
    assert says("round_trip", f"end {data['missed']['euler'][0]:.1f} away")
    assert says("round_trip", "Euler {euler}, midpoint and Heun {midpoint} and {heun}, "
                              "RK4 and the 3/8 rule {rk4} and {rk38}".format(**slopes))

"""The captions of the figures on gradients (5 to 7, 9 and 10) state what their compute() finds."""

import numpy as np
import pytest

from figures import invariant, pullback_parameters, three_gradients

from . import computed, fixed, listed, says, scientific

U = np.finfo(np.float64).eps
SLOPE = 0.1                    # observed slope against order, on grids that are not infinitely fine
CLAIMED = 1e-14               # what the captions say of round-off
ROUND_OFF = 1000 * U           # a hundred steps forwards and back, each rounded a few times


def vector(numbers):
    return f"({', '.join(fixed(x, 2) for x in numbers)})"


@pytest.mark.eq("16.2")
def test_the_moved_trajectory_leaves_the_tips_of_the_arrows_quadratically():
    data = computed("pushforward")
    missed, half = data["missed"]
    assert abs(np.log2(missed / half) - 2) <= SLOPE
    assert says("pushforward", f"turned through {data['turning']:.0f} degrees, to {vector(data['ws'][-1])}")
    assert len(data["switches"]) and np.all((0 < data["switches"]) & (data["switches"] < 6))
    in_the_inset = np.linalg.norm(data["ends"] - np.column_stack([data["tips"], np.zeros(2)]), axis=1)
    assert np.all((0.9 * data["missed"] < in_the_inset) & (in_the_inset <= (1 + 10 * U) * data["missed"]))
    assert says("pushforward", f"misses the tip of the arrow by {missed:.3f}")
    assert says("pushforward", f"by a quarter of that, {half:.3f}")


@pytest.mark.eq("17.2", "18.3")
def test_the_cotangent_solved_backwards_is_the_discrete_one_and_dual_to_the_tangent():
    data, forward = computed("pullback_state"), computed("pushforward")
    assert says("pullback_state", f"dL/dy₀ = {vector(data['a'][-1])}")
    assert says("pullback_state", f"{scientific(data['apart'])} away at most")
    assert abs(data["discrete"][0, 2] - forward["ws"][-1, 2]) <= ROUND_OFF
    assert says("pullback_state", f"That {fixed(forward['ws'][-1, 2], 2)} is also where w₃ ends")


@pytest.mark.eq("17.3", "20.1")
def test_b_grows_from_nothing_to_the_gradient_in_theta():
    data = computed("pullback_parameters")
    assert not data["b"][0].any()
    assert says("pullback_parameters", f"differ by {scientific(data['apart'])} at most")
    largest = np.argmax(np.abs(data["dL_dtheta"]))
    assert pullback_parameters.names()[largest] == "$W_1[4,1]$"
    assert says("pullback_parameters", f"The largest, {data['dL_dtheta'][largest]:.2f}, is the weight "
                                       "of the time in the fourth hidden unit")


@pytest.mark.eq("18.3", "18.4", "20.1", "22.3")
@pytest.mark.parametrize("method, order", [("euler", 1), ("rk4", 4)])
def test_discrete_is_the_gradient_of_the_computed_loss_and_backsolve_of_neither(method, order):
    data = computed("three_gradients")[method]
    assert data["complex_step"].max() < CLAIMED
    assert abs(data["slope"] - order) <= SLOPE
    assert says("three_gradients", f"{fixed(-data['slope'], 2)} for {three_gradients.METHODS[method]}")
    show = scientific if method == "rk4" else lambda x: f"{x:.2f}"
    assert says("three_gradients", f"{show(data['discrete'][0])} and {show(data['backsolve'][0])} "
                                   f"with 4 {three_gradients.METHODS[method]} steps")
    ratio = data["backsolve"] / data["discrete"]
    assert 0.5 < ratio.min() and ratio.max() < 2          # equally far from the solution's gradient


@pytest.mark.eq("17.1")
def test_the_discrete_pair_keeps_the_number_that_two_solved_equations_let_drift():
    data = computed("invariant")
    for method in invariant.METHODS:
        at_start = [data[method, "solved", n][1][0] for n in invariant.STEPS]
        show = scientific if method == "rk4" else lambda x: f"{x:.2g}"
        assert says("invariant", listed(at_start, show))
        order = np.log2(at_start[1] / at_start[2])
        assert abs(order - {"euler": 1, "rk4": 4}[method]) <= SLOPE
        assert data[method, "discrete", invariant.STEPS[0]][1].max() < CLAIMED

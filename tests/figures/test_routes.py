"""What the captions of the figures about the routes of a gradient say is what compute() finds."""

import numpy as np
import pytest

from figures import resting_state
from tests.figures import computed, fixed, says, scientific

EXACT = (1 + np.exp(10.0)) / 2                          # dx(5)/dx(0) of figure 20


@pytest.mark.eq("16.2", "17.2", "18.1")
def test_only_what_has_the_tangent_or_the_cotangent_in_its_norm_finds_the_derivative_of_a_state_at_rest():
    data = computed("resting_state")
    values, at = data["values"], int(np.argmin(np.abs(np.array(resting_state.TOLERANCES) - 1e-8)))
    assert says("resting_state", f"which is {EXACT:.4f}")
    assert says("resting_state", f"The discrete gradient gives {values['discrete'][0]:.4f} at every tolerance")
    assert np.ptp(values["discrete"]) <= 1e-9 * EXACT
    assert says("resting_state", f"pushforward, backsolve and interpolate all give {values['pushforward'][at]:.4f}")
    for route in ("backsolve", "interpolate"):
        assert f"{values[route][at]:.4f}" == f"{values['pushforward'][at]:.4f}"


@pytest.mark.eq("17.2", "17.4")
def test_an_error_made_at_the_end_grows_on_the_way_back_and_output_times_stop_it():
    data = computed("lost_on_the_way_back")
    once = [scientific(data[rate]["at_start"][0]) for rate in (1, 5, 10)]
    assert says("lost_on_the_way_back", f"With one it is {', '.join(once)}, {data[20]['at_start'][0]:.0f} and "
                                        f"{data[50]['at_start'][0]:.1e}".replace("e+", "e"))
    more = [scientific(error) for error in data[20]["at_start"][1:5]]
    assert says("lost_on_the_way_back", f"of them {', '.join(more[:-1])} and {more[-1]}")


@pytest.mark.eq("22.1", "22.2", "22.3")
def test_finite_differences_have_ten_digits_at_best_and_the_complex_step_all():
    data = computed("differences")
    errors = data["errors"]
    assert says("differences", f"no better than about {errors['forward'].min():.0e}".replace("e-0", "e-"))
    assert says("differences", f"than about {errors['central'].min():.0e}".replace("e-0", "e-"))
    assert says("differences", "the slopes are " + "{:.2f}, {:.2f} and {:.2f}".format(*data["slopes"].values()))


@pytest.mark.eq("9.3", "10.3")
def test_a_kink_that_is_crossed_costs_the_order_and_many_rejected_steps():
    data = computed("kink")
    slopes = {name: fixed(data[name]["slope of error"], 2) for name in ("tanh", "softplus", "leaky_relu")}
    assert says("kink", f"tanh {slopes['tanh']}, softplus {slopes['softplus']}, leaky_relu {slopes['leaky_relu']} on the")
    assert says("kink", f"and {data['leaky_relu']['slope of error across']:.2f} on the {data['across']} others")
    assert says("kink", f"On average over the 64 paths {data['leaky_relu']['rejected']:.1f} are rejected beside "
                        f"{data['leaky_relu']['accepted']:.1f} accepted")

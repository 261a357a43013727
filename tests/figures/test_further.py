"""The captions of the figures of Part V say what they compute."""

import numpy as np
import pytest

from figures import bouncing_ball as ball

from . import computed, fixed, says

ROUND_OFF = 1e-12               # of a few flights
OF_DIFFERENCES = 1e-9           # of a closed form, by a step of 1e-4, to fourth order
MILLISECOND = 1e-3


def difference(value, x, epsilon=1e-4):
    """Of order four."""
    one, two = (value(x + n * epsilon) - value(x - n * epsilon) for n in (1, 2))
    return (8 * one - two) / (12 * epsilon)


@pytest.mark.parametrize("theta", [ball.TRUE, ball.GUESS, np.array([3.0, 0.95])], ids=str)
def test_the_impacts_and_their_gradient_are_those_of_the_closed_form(theta):
    flown = ball.flights(theta)
    times = np.array([solution.t_event for *_, solution in flown])
    assert np.abs(times - ball.impacts(theta)).max() <= ROUND_OFF
    for k in range(ball.IMPACTS):
        found = ball.gradient(theta, flown, np.eye(ball.IMPACTS)[k])
        expected = [difference(lambda x: ball.impacts(theta + (x - theta[i]) * np.eye(2)[i])[k], theta[i]) for i in (0, 1)]
        assert np.abs(found - expected).max() <= OF_DIFFERENCES
        assert not ball.gradient(theta, flown, np.eye(ball.IMPACTS)[k], times_move=False).any()      # 0 throughout


@pytest.mark.eq("28.4", "28.5")
def test_the_slope_of_the_height_needs_the_impacts_to_move():
    data, (g, e) = computed("bouncing_ball"), ball.TRUE
    expected = [ball.height(x, e, ball.WATCHED) for x in ball.GRAVITIES]
    assert np.abs(data["height"] - expected).max() <= ROUND_OFF
    assert abs(data["moving"] - difference(lambda x: ball.height(x, e, ball.WATCHED), g)) <= OF_DIFFERENCES
    assert data["moving"] < 0 < data["held"]
    assert says("bouncing_ball", f"slope is that of the curve, {fixed(data['moving'], 3)}; with impacts held fixed it is "
                                 f"{fixed(data['held'], 3)}")


def test_gravity_and_restitution_are_learnt_from_five_times():
    data = computed("bouncing_ball")
    assert np.abs(data["found"] - data["seen"]).max() <= MILLISECOND / 2                  # the rounding of the data
    g, e = data["learnt"]
    assert says("bouncing_ball", f"g = {fixed(g, 2)} m/s², restitution {fixed(e, 3)}")
    assert np.abs(data["path"][1]).min() <= ROUND_OFF and data["loss"][0] > 1e4 * data["loss"][-1]

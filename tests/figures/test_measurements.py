"""The figures of chapter 31, held to what they compute."""

import numpy as np
import pytest

from figures import irregular_samples, loss_and_horizon
from minode import Measurements, check_field, misfit, odeint, shooting_loss
from tests.figures import computed, says

ROUND_OFF = 1e-10
NEAR = 0.02                # of the true friction, where a fit counts as one that found it


@pytest.mark.eq("31.1", "31.3", "31.4")
def test_a_network_learns_from_measurements_at_random_times_and_forecasts():
    data = computed("irregular_samples")
    assert abs(data["loss"] / irregular_samples.NOISE**2 - 1) < 0.6
    assert says("irregular_samples", "A mean square misfit of about 0.01 is left, that of the noise of 0.1")
    assert data["known"] < 0.1 and 0.05 < data["ahead"] < 0.4
    assert says("irregular_samples", "less than 0.1 up to t = 8 and about 0.2 from 8 to 16")
    swing = data["truth"].std()
    assert data["ahead"] < 0.4 * swing                                   # it keeps its phase
    assert len(np.unique(data["t"])) == 90


@pytest.mark.eq("31.1", "31.4", "31.5", "31.6")
def test_a_long_solve_has_cliffs_where_fits_get_stuck_and_short_ones_lead_to_the_friction():
    data, true = computed("loss_and_horizon"), loss_and_horizon.TRUE

    def minima(loss):
        return int(np.sum((loss[1:-1] < loss[:-2]) & (loss[1:-1] < loss[2:])))
    assert minima(data["one", 4.0]) == 1 == minima(data["pieces", 4])
    assert minima(data["one", 40.0]) >= 6 and minima(data["pieces", 20]) >= 6
    steps = np.abs(np.diff(data["one", 40.0]))                           # one of 801 steps may cross a cliff
    assert steps.max() > 0.3 and np.abs(np.diff(data["one", 4.0])).max() < 0.01
    least = loss_and_horizon.FRICTIONS[data["one", 40.0].argmin()]
    assert abs(least - true) < 1e-3
    away = {way: np.abs(data[way] - true) for way in ("alone", "grown", "in pieces")}
    assert np.sum(away["alone"] > NEAR) >= 3
    assert away["grown"].max() < 0.002 and away["in pieces"].max() < 0.01
    assert says("loss_and_horizon", "A growing horizon ends within 0.002 of it from all eight, and pieces of 4 within 0.01")


@pytest.mark.eq("31.1", "31.5")
@pytest.mark.parametrize("at", [100, 480])
def test_the_curves_are_the_losses_of_the_chapter(at):
    data, T = computed("loss_and_horizon"), loss_and_horizon.T
    _, observed = loss_and_horizon.measurements()
    measured, c = Measurements(T, observed[:, None], np.ones((len(T), 1, 2))), loss_and_horizon.FRICTIONS[[at]]
    field = loss_and_horizon.Balls(1)
    L, _ = misfit(odeint(field, loss_and_horizon.Y0[None], T, c, method="rk4"), measured)
    assert abs(L - data["one", 40.0][at]) < 1e-6 * L                     # a cliff multiplies round-off
    rows = loss_and_horizon.cuts(8)
    L, _ = shooting_loss(field, measured.observed[rows[:-1]], measured, rows, c, method="rk4")
    assert abs(L - data["pieces", 8][at]) < ROUND_OFF * L


def test_the_field_of_many_balls_has_the_derivatives_that_differences_find():
    rng, field = np.random.default_rng(0), loss_and_horizon.Balls(3)
    theta, y, a = rng.uniform(0.0, 0.4, 3), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    check_field(field, 0.0, y, theta)
    by_y, by_theta = field.vjp(0.0, y, theta, a)
    assert np.allclose(by_y, np.einsum("ij,ijk->ik", a, field.jacobian(0.0, y, theta)), rtol=0, atol=ROUND_OFF)
    assert np.allclose(by_theta, np.einsum("ij,ijk->k", a, field.param_jacobian(0.0, y, theta)), rtol=0, atol=ROUND_OFF)

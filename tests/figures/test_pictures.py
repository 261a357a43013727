"""The pictures that say a thing at a glance (48 to 54) draw what is so, and their captions state it."""

import numpy as np
import pytest
import scipy

from figures import depth, jumps
from tests.figures import computed, fixed, listed, says

U = np.finfo(np.float64).eps
ROUNDED = 100 * U              # a few operations
SOLVED = 1e-7                  # two solves with rtol = 1e-9, and a loss of size 1
DIFFERENCE = 1e-6              # a central difference with ε = 1e-5 of a solve with rtol = 1e-11


@pytest.mark.eq("6.1", "6.2", "6.3", "6.4", "6.5", "6.6", "9.2", "9.3")
def test_a_step_has_the_slopes_that_are_drawn_and_their_mean():
    euler, rk4 = computed("one_step")["euler"], computed("one_step")["rk4"]
    assert euler["calls"] == [(0.0, 1.0, 0.0)] and euler["end"] == 1.0
    k = [k for _, _, k in rk4["calls"]]
    assert [(t, y) for t, y, _ in rk4["calls"]] == [(0.0, 1.0), (0.5, 1.0), (0.5, 1.0 + 0.5 * k[1]), (1.0, 1.0 + k[2])]
    assert k == [2 * t * y for t, y, _ in rk4["calls"]] == [0.0, 1.0, 1.5, 5.0]
    assert abs(rk4["end"] - 8 / 3) <= ROUNDED
    assert says("one_step", f"k₁ to k₄ are {listed(k, lambda x: f'{x:g}')}.")
    assert says("one_step", f"ends at {euler['end']:g} and Runge–Kutta's at 8/3 = {rk4['end']:.3f}")
    assert says("one_step", f"the solution at e = {np.e:.3f}")
    t, exact = computed("one_step")["t"], computed("one_step")["exact"]
    assert np.abs(np.gradient(exact, t)[1:-1] - (2 * t * exact)[1:-1]).max() < 0.01


def loss_of_pendulum(y0):
    """L from the start y0, by SciPy."""
    found = scipy.integrate.solve_ivp(lambda t, y: [y[1], -jumps.THETA[0] * np.sin(y[0]) - jumps.THETA[1] * y[1]],
                                      [0.0, jumps.TIMES[-1]], y0, "DOP853", jumps.TIMES[1:], rtol=1e-11, atol=1e-12)
    return 0.5 * np.sum((found.y[0] - computed("jumps")["observed"]) ** 2)


@pytest.mark.eq("17.2", "17.4")
def test_the_adjoint_jumps_by_what_the_state_misses_and_ends_at_the_gradient():
    data = computed("jumps")
    ends = [np.zeros(2)] + [path[-1] for _, path in data["stretches"]]
    gains = np.array([path[0] - end for (_, path), end in zip(data["stretches"], ends)])[::-1]
    missed = data["y"][1:, 0] - data["observed"]
    assert np.abs(gains[:, 0] - missed).max() <= ROUNDED and (gains[:, 1] == 0).all()
    assert says("jumps", f"The jumps are {listed(missed, lambda x: fixed(x, 1))}, the first one at t = {jumps.TIMES[1]:g}")
    for i, move in enumerate(1e-5 * np.eye(2)):
        slope = (loss_of_pendulum(jumps.Y0 + move) - loss_of_pendulum(jumps.Y0 - move)) / 2e-5
        assert abs(data["a"][i] - slope) <= DIFFERENCE
    assert says("jumps", f"dL/dy₀ = ({', '.join(fixed(x, 2) for x in data['a'])})")
    for back, path in data["stretches"]:
        angle = np.interp(back, data["t"], data["angle"])
        slopes = np.stack([jumps.THETA[0] * np.cos(angle) * path[:, 1], jumps.THETA[1] * path[:, 1] - path[:, 0]], axis=-1)
        assert np.abs(np.gradient(path, back, axis=0) - slopes)[2:-2].max() < 0.01


@pytest.mark.eq("6.1", "10.1", "10.4")
def test_layers_are_eulers_steps_and_the_dots_are_where_the_solver_calls_f():
    data, h = computed("depth"), depth.DEPTH / depth.LAYERS
    for i, (before, after) in enumerate(zip(data["layers"], data["layers"][1:])):
        assert np.abs(after - before - h * depth.f(i * h, before)).max() <= ROUNDED
    exact = scipy.integrate.solve_ivp(depth.f, [0.0, depth.DEPTH], depth.INPUTS, "DOP853", rtol=1e-10, atol=1e-10).y[:, -1]
    assert np.abs(data["paths"][-1] - exact).max() <= SOLVED
    assert np.abs(data["ends"] - exact).max() < 0.02                     # what tolerances of 1e-4 become, here
    off = np.abs(data["layers"][-1] - exact).max()
    assert says("depth", f"ends up to {off:.2f} away from the ODE")
    for calls, y0 in zip(data["calls"], depth.INPUTS):
        assert tuple(calls[0]) == (0.0, y0) and calls[:, 0].max() == depth.DEPTH
    few, many = (extreme(map(len, data["calls"])) for extreme in (min, max))
    assert says("depth", f"calls f between {few} and {many} times")

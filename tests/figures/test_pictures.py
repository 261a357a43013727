"""The pictures that say a thing at a glance (48 to 54) draw what is so, and their captions state it."""

import weakref

import numpy as np
import pytest
import scipy
from matplotlib.path import Path as Polygon
from PIL import Image

from figures import _targets, depth, flow_animation, jumps, phase_portraits, spiral_learning, what_is_kept
from figures.__main__ import GALLERY
from minode import Flow, VectorField, augmented, odeint, pullback
from tests.figures import computed, fixed, listed, says
from tests.test_one_page import printed

U = np.finfo(np.float64).eps
ROUNDED = 100 * U              # a few operations
SOLVED = 1e-7                  # two solves with rtol = 1e-9, and a loss of size 1
DIFFERENCE = 1e-6              # a central difference with ε = 1e-5 of a solve with rtol = 1e-11
INTEGRATED = 0.01              # of an area: by a polygon of 400 corners, and by 1,600 nodes
PORTRAITS = {name.split(":")[0]: row for name, row in phase_portraits.FIELDS.items()}


def found(field):
    """What the phase portraits computed for the field whose title begins so."""
    return next(row for name, row in computed("phase_portraits").items() if name.startswith(field))


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
    said = listed(missed, lambda x: fixed(x, 1))
    assert says("jumps", f"The jumps are {said}, the first one at t = {jumps.TIMES[1]:g}")
    for i, move in enumerate(1e-5 * np.eye(2)):
        slope = (loss_of_pendulum(jumps.Y0 + move) - loss_of_pendulum(jumps.Y0 - move)) / 2e-5
        assert abs(data["a"][i] - slope) <= DIFFERENCE
    assert says("jumps", f"dL/dy₀ = ({', '.join(fixed(x, 2) for x in data['a'])})")
    for back, path in data["stretches"]:
        angle = np.interp(back, data["t"], data["angle"])
        (g, friction), (a_1, a_2) = jumps.THETA, path.T
        slopes = np.stack([g * np.cos(angle) * a_2, friction * a_2 - a_1], axis=-1)
        assert np.abs(np.gradient(path, back, axis=0) - slopes)[2:-2].max() < 0.01


@pytest.mark.eq("6.1", "10.1", "10.4")
def test_layers_are_eulers_steps_and_the_dots_are_where_the_solver_calls_f():
    data, h = computed("depth"), depth.DEPTH / depth.LAYERS
    for i, (before, after) in enumerate(zip(data["layers"], data["layers"][1:])):
        assert np.abs(after - before - h * depth.f(i * h, before)).max() <= ROUNDED
    exact = scipy.integrate.solve_ivp(depth.f, [0.0, depth.DEPTH], depth.INPUTS, "DOP853",
                                      rtol=1e-10, atol=1e-10).y[:, -1]
    assert np.abs(data["paths"][-1] - exact).max() <= SOLVED
    assert np.abs(data["ends"] - exact).max() < 0.02                     # what tolerances of 1e-4 become, here
    off = np.abs(data["layers"][-1] - exact).max()
    assert says("depth", f"ends up to {off:.2f} away from the ODE")
    for calls, y0 in zip(data["calls"], depth.INPUTS):
        assert tuple(calls[0]) == (0.0, y0) and calls[:, 0].max() == depth.DEPTH
    few, many = (extreme(map(len, data["calls"])) for extreme in (min, max))
    assert says("depth", f"calls f between {few} and {many} times")


class Watched(VectorField):
    """y' = θ cos t − sin y for many components, which notes its calls, and the steps whose vjps still exist."""

    dim = n_params = 200

    def __init__(self):
        self.log, self.alive = [], weakref.WeakKeyDictionary()

    def __call__(self, t, y, theta):
        self.log.append(("f", float(t), set(self.alive.values())))
        return theta * np.cos(t)[..., None] - np.sin(y)

    def value_and_vjp(self, t, y, theta):
        value = self(t, y, theta)

        def vjp(a):
            self.log.append(("vjp", float(t), set(self.alive.values())))
            return self.vjp_at(t, y, a)
        self.alive[vjp] = float(t)
        return value, vjp

    def vjp(self, t, y, theta, a):
        self.log.append(("vjp", float(t), set()))
        return self.vjp_at(t, y, a)

    def vjp_at(self, t, y, a):
        return -np.cos(y) * a, (np.cos(t)[..., None] * a).reshape(-1, self.dim).sum(axis=0)


def work_of(route):
    """The calls (name, k, steps whose vjps exist) of a real gradient through the steps, k the step at work."""
    field, n = Watched(), what_is_kept.STEPS
    cotangents = np.ones((2, field.dim))
    pullback(field, np.zeros(field.dim), [0.0, 1.0], np.ones(field.dim), cotangents, gradient=route, times=False,
             step_size=1 / n, method="asynchronous_leapfrog" if route == "reversible" else "euler")
    return [(name, n * t, {round(n * s) for s in alive}) for name, t, alive in field.log]


@pytest.mark.eq("17.2", "18.3", "19.1", "19.2")
def test_what_is_kept_is_what_real_gradients_keep():
    work, n = computed("what_is_kept")["work"], what_is_kept.STEPS
    for route in ("discrete", "checkpoint"):
        real = work_of(route)
        assert [(name, k) for name, k, _ in real] == [(name, k) for k, name, _ in work[route]]
        states = set() if route == "discrete" else {0, 4, 8, 12}
        for (name, k, alive), (_, _, held) in zip(real, work[route]):
            last = n - 1 if route == "discrete" else 4 * (k // 4) + 3
            if name == "vjp":
                noted = {k + 1, last - 1, last}                  # of the step before, and the latest two of the solver
                assert held - states <= alive <= held | noted and states <= held
    there = [(name, k) for name, k, _ in work_of("backsolve")]
    assert [k for name, k in there if name == "f"][:n] == [k for k, name, _ in work["backsolve"] if name == "f"]
    assert [k - 1 for name, k in there if name == "vjp"] == [k for k, name, _ in work["backsolve"] if name == "vjp"]
    there = [(name, k - 0.5) for name, k, _ in work_of("reversible") if k % 1 == 0.5]
    assert [k for name, k in there if name == "f"][:n] == [k for k, name, _ in work["reversible"] if name == "f"]
    assert [k for name, k in there if name == "vjp"] == [k for k, name, _ in work["reversible"] if name == "vjp"]


def test_the_caption_says_how_much_each_route_keeps_and_does():
    work, held = computed("what_is_kept")["work"], computed("what_is_kept")["held"]
    most = [int(raster.sum(axis=0).max()) for raster in held.values()]
    assert says("what_is_kept", f"At most {listed(most, str)} of the {what_is_kept.STEPS} states")
    calls = {route: [sum(name == which for _, name, _ in columns) for which in ("f", "vjp")]
             for route, columns in work.items()}
    assert {back for _, back in calls.values()} == {16} and says("what_is_kept", "Each route takes 16 steps back")
    assert [there for there, _ in calls.values()] == [16, 32, 16, 16]
    assert says("what_is_kept", "Checkpoint takes 32 steps forwards, the others 16.")


@pytest.mark.eq("2.1")
def test_the_linear_field_has_its_orbits_and_straight_ones():
    field, theta, _, starts, span, *_ = PORTRAITS["linear"]
    there, back = found("linear")["orbits"]
    for orbit, t in ((there, span), (back, -span / 2)):
        exact = starts @ scipy.linalg.expm(t * phase_portraits.A).T
        assert (np.abs(orbit[-1] - exact) <= SOLVED * np.abs(exact).max()).all()
    for value, vector in zip(phase_portraits.VALUES, phase_portraits.VECTORS.T):
        assert np.abs(field(0.0, vector, theta) - value * vector).max() <= ROUNDED
    low, high = sorted(phase_portraits.VALUES)
    assert low < 0 < high and says("phase_portraits", f"The eigenvalues are {fixed(high, 2)} and {fixed(low, 2)}.")


@pytest.mark.eq("2.2", "2.3", "2.4")
def test_closed_curves_one_cycle_and_a_spiral_inwards():
    y = found("Lotka")["orbits"][0]
    kept = (y - np.log(y)).sum(axis=-1)
    assert np.abs(kept - kept[0]).max() < 1e-6 and says("phase_portraits", "changes by less than 1e-6")
    for orbit in np.moveaxis(y, 1, 0):
        turned = np.unwrap(np.angle((orbit - 1) @ [1, 1j]))
        assert turned[-1] - turned[0] > 2 * np.pi                          # each is seen closed
    ends = found("van der Pol")["orbits"][0][-350:, :, 0].max(axis=0)      # more than a period of 6.66
    assert np.abs(ends - 2.0086).max() < 1e-3 and says("phase_portraits", "reaches y₁ = 2.009")
    size = (found("cubic")["orbits"][0][:, 0] ** 4).sum(axis=-1)
    assert (np.diff(size) < 0).all() and size[-1] < size[0] / 100


def test_an_equilibrium_is_where_the_nullclines_cross():
    for field, theta, _, _, _, equilibrium, _ in PORTRAITS.values():
        assert (field(0.0, np.array(equilibrium), theta) == 0).all()


@pytest.mark.eq("2.4", "6.6", "18.4", "23.4")
def test_the_network_that_is_shown_learning_is_that_of_chapter_0():
    data = computed("spiral_learning")
    losses = [float(line.split()[-1]) for line in printed().splitlines() if line.startswith("step")]
    assert np.abs(data["loss"][::100] / losses - 1).max() < 0.06           # two digits are printed
    assert data["loss"][0] > 1000 * data["loss"][-1] and says("spiral_learning", "more than 1,000 times")
    away = [row["away"] for row in data["found"].values()]
    assert away[-1] < 0.1
    assert says("spiral_learning", f"{away[0]:.1f} apart on average at first, and less than 0.1 in the end")
    spiral = scipy.integrate.solve_ivp(lambda t, y: spiral_learning.A @ y**3, [0.0, 5.0], spiral_learning.Y0, "DOP853",
                                       spiral_learning.T, rtol=1e-9, atol=1e-9).y.T
    assert np.abs(data["spiral"] - spiral).max() < 1e-4
    assert spiral_learning.SHOWN[0] == spiral_learning.SHOWN[-1] == max(data["found"])


@pytest.mark.eq("26.1", "26.2")
def test_the_area_of_a_cell_changes_by_the_integral_of_the_trace():
    data, (nodes, weights) = computed("flow_animation"), np.polynomial.legendre.leggauss(40)
    grown = flow_animation.area(data["cells"][-1]) / flow_animation.area(data["cells"][0])
    for cell, times in zip(flow_animation.CELLS.values(), grown):
        square = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
        points = square * np.diff(cell, axis=0) / 2 + cell.mean(axis=0)
        ell = odeint(Flow(_targets.MODEL), augmented(points), [0.0, 1.0], data["theta"], rtol=1e-5, atol=1e-5)[-1, :, 2]
        assert abs(np.outer(weights, weights).ravel() / 4 @ np.exp(-ell) / times - 1) < INTEGRATED
    assert grown[0] < 0.4 and grown[1] > 1.4
    assert says("flow_animation", "about 0.25 of its area, the orange one with about 2 times")


def test_points_stay_in_their_cells():
    data = computed("flow_animation")
    for i, (low, high) in enumerate(flow_animation.CELLS.values()):
        inside = ((data["cloud"][0] > low) & (data["cloud"][0] < high)).all(axis=1)
        assert inside.any()
        for cloud, cells in zip(data["cloud"], data["cells"]):
            assert (Polygon(cells[i]).contains_points(cloud) == inside).all()


@pytest.mark.parametrize("name", ["spiral_learning", "flow_animation"])
def test_the_first_frame_of_an_animation_is_its_last(name):
    with Image.open(GALLERY / f"{name}.png") as picture:
        frames = []
        for k in (0, picture.n_frames - 1):
            picture.seek(k)
            frames.append(np.array(picture.convert("RGB")))
    assert (frames[0] == frames[1]).all()

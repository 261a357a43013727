"""What the captions of the figures about learning from gradients say is what compute() finds."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import least_squares

from figures import annuli, cannot_cross, coarse_to_fine, hare_and_lynx, hare_and_lynx_learnt, long_oscillation, spiral
from minode import check_field, odeint
from minode.further.limits import winding_number

from . import computed, fixed, says, scientific

ROUND_OFF = 1e-13                                       # of a gradient, of a matrix after sixteen steps
TO_TOLERANCE = 1e-6                                     # two optima of one function, solved to 1e-10 each
OF_A_CYCLE = 5e-3                                       # a mean over cycles cut to a step
GAUSS_NEWTON = 0.1                                      # J'J against the whole Hessian, residuals of 0.2


@pytest.mark.eq("2.2", "20.1", "21.3", "23.4")
def test_newton_finds_the_optimum_that_least_squares_finds_and_the_published_means_are_near():
    data = computed("hare_and_lynx")
    counts, T = hare_and_lynx.COUNTS, hare_and_lynx.T
    reference = least_squares(lambda u: np.log(hare_and_lynx.curves(u, T) / counts).ravel(),
                              np.log(hare_and_lynx.PUBLISHED), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    assert np.abs(reference.x - data["u"]).max() < TO_TOLERANCE
    curvature = np.diag(np.linalg.inv(reference.jac.T @ reference.jac))
    assert np.abs(data["sigma"] * np.sqrt(curvature) / data["relative errors"] - 1).max() < GAUSS_NEWTON
    estimates, errors = data["estimates"], data["estimates"] * data["relative errors"]
    assert says("hare_and_lynx", "α {:.3f} ± {:.3f}, β {:.4f} ± {:.4f}, γ {:.3f} ± {:.3f}, δ {:.4f} ± {:.4f}, and in "
                "1900 {:.1f} ± {:.1f} thousand hares and {:.1f} ± {:.1f} thousand lynx".format(
                    *np.stack([estimates, errors], axis=-1).ravel()))
    published = hare_and_lynx.PUBLISHED
    assert says("hare_and_lynx", "published, {:.2f}, {:.3f}, {:.2f}, {:.3f}, {:.1f} and {:.1f}".format(*published))
    away = np.abs(estimates - published) / errors
    assert says("hare_and_lynx", f"within {np.ceil(100 * away.max()) / 100:.2f} standard errors")
    assert says("hare_and_lynx", f"σ is {data['sigma']:.2f}, and 0.25 there")
    assert np.abs(data["H"] - data["H"].T).max() < 1e-9 * np.abs(data["H"]).max()
    rest, alone = data["rest"], hare_and_lynx.FIELD(0.0, data["rest"], estimates[:4])
    assert np.abs(alone).max() < ROUND_OFF * rest.max()
    figure, means = "hare_and_lynx", counts.mean(axis=0)
    assert says(figure, "{:.1f} thousand hares and α/β = {:.1f} thousand lynx".format(*rest))
    assert says(figure, "those of the counts are {:.1f} and {:.1f}".format(*means))
    assert np.abs(rest / means - 1).max() < 0.02                  # "near the means of the counts"
    years = np.linspace(0.0, 40.0, 4001)
    curves = hare_and_lynx.curves(data["u"], years)
    log_hares = np.log(curves[:, 0] / data["estimates"][4])
    upwards = np.flatnonzero((log_hares[:-1] < 0) & (log_hares[1:] >= 0))      # a cycle apart
    cycle = curves[upwards[0]:upwards[-1]]
    assert np.abs(cycle.mean(axis=0) / rest - 1).max() < OF_A_CYCLE


@pytest.mark.eq("20.1", "21.3", "23.4")
def test_a_growing_horizon_finds_the_cycle_from_every_start_and_all_years_at_once_do_not():
    data = computed("hare_and_lynx")
    assert data["norms"][4:].max() < ROUND_OFF * 10
    steps = [f"{data['norms'][0]:.2f}", f"{data['norms'][1]:.2f}", *map(scientific, data["norms"][2:4])]
    assert says("hare_and_lynx", "norm of the gradient from {} to {}, {}, {} and to round-off".format(*steps))
    least, whole, growing = np.sqrt(np.mean(data["rms"] ** 2)), data["whole", "rms"], data["growing", "rms"]
    assert (growing < 1.02 * least).all() and len(growing) == 8
    found = int(np.sum(whole < 1.1 * least))
    stuck = whole[whole >= 1.1 * least]
    assert found == 5 and says("hare_and_lynx", "five of eight starts find the cycle, and three get stuck")
    assert says("hare_and_lynx", f"find the optimum from {found} of the eight starts, and are stuck at a residual "
                                 f"of {np.floor(100 * stuck.min()) / 100:.2f} or more from {len(stuck)}")
    swing = np.ptp(np.log(data["stuck"]), axis=0) / np.ptp(np.log(hare_and_lynx.COUNTS), axis=0)
    assert swing.max() < 0.2 and whole[0] in stuck      # the one drawn, nearly flat


def test_the_fields_of_the_figures_have_the_derivatives_that_differences_find():
    rng = np.random.default_rng(0)
    for field in (hare_and_lynx_learnt.PHYSICS, hare_and_lynx_learnt.BOTH, spiral.FIELD):
        check_field(field, 0.0, rng.normal(size=(3, 2)), 0.5 * rng.normal(size=field.n_params))
    theta, y, a = rng.normal(size=spiral.FIELD.n_params), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    (value, vjp), of_vjp = spiral.FIELD.value_and_vjp(0.0, y, theta), spiral.FIELD.vjp(0.0, y, theta, a)
    np.testing.assert_array_equal(value, spiral.FIELD(0.0, y, theta))
    for fast, plain in zip(vjp(a), of_vjp):
        np.testing.assert_array_equal(fast, plain)


@pytest.mark.eq("2.2", "4.1", "20.1", "24.2")
def test_a_network_fits_the_years_it_is_shown_better_and_forecasts_worse():
    data = computed("hare_and_lynx_learnt")
    known, ahead = data["alone"]["residuals"][hare_and_lynx_learnt.SHOWN]
    rows = {model: {rate: np.array([found for (decay, _), found in data[model]["residuals"].items() if decay == rate])
                    for rate in hare_and_lynx_learnt.DECAYS} for model in ("both", "network")}
    figure = "hare_and_lynx_learnt"
    assert says(figure, f"has {known:.2f} in the years fitted and {ahead:.2f} in the forecast")
    assert says(figure, "ten years before would have had {ten years before:.2f}, the mean {mean:.2f}".format(
        **data["guesses"]))
    assert says(figure, f"σ = {computed('hare_and_lynx')['sigma']:.2f} in figure 30")
    both, network = rows["both"][0.03], rows["network"][0.03]
    for found in both:
        assert says(figure, "at decay 0.03, which is drawn, it is {:.2f} in the years fitted and {:.2f} in the "
                            "forecast".format(*found))
    assert says(figure, "the network alone {:.2f} to {:.2f} and {:.2f} to {:.2f}".format(
        *np.stack([network.min(axis=0), network.max(axis=0)], axis=-1).ravel()))
    for found in rows["both"][3.0]:
        assert says(figure, "At decay 3 the sum has {:.2f} and {:.2f}".format(*found))
    assert (rows["network"][3.0] > 3 * known).any(axis=1).all()
    assert ahead > 0.9 * data["guesses"]["ten years before"]              # "nor does any model clearly beat"
    for model in rows:
        assert (rows[model][0.03][:, 0] < known).all() and (rows[model][0.03][:, 1] > ahead).all()
        assert (rows[model][0.3][:, 1] > ahead).all()


@pytest.mark.eq("2.4", "4.1", "18.4", "23.4", "23.6")
def test_the_network_learns_to_spiral_where_there_are_data():
    data = computed("spiral")
    away = list(data["away"].values())
    assert says("spiral", "they are {:.0f}, {:.2f}, {:.2f} and {:.3f} apart".format(*away))
    untrained = data["snapshots"][0]
    outside = np.abs(untrained).max(axis=1) > spiral.EDGE
    first = int(np.argmax(outside))
    assert outside[first:].all() and (np.diff(np.linalg.norm(untrained, axis=1)) > 0).all()
    x, y = (fixed(value, 0) for value in untrained[-1])
    assert says("spiral", f"from t = {spiral.T[first]:.1f} on, and at t = 25 at ({x}, {y})")
    radius = np.linalg.norm(data["plane"], axis=-1)
    speed = np.linalg.norm(data["true"], axis=-1)
    apart = np.linalg.norm(data["learnt"] - data["true"], axis=-1)
    between = (radius >= 0.5) & (radius <= 2.0)
    assert (apart[between] < 0.2 * speed[between]).all()
    assert (apart[radius > 2] > 0.4 * speed[radius > 2]).any()


def crossings(p, q):
    """How many pieces of one polygonal line (n, 2) cross pieces of another; of the same line, neighbours do not count."""
    def side(a, b, c):
        ab, ac = b - a, c - a
        return np.sign(ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0])
    a, b, c, d = p[:-1, None], p[1:, None], q[None, :-1], q[None, 1:]
    cross = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    if p is q:
        i, j = np.indices(cross.shape)
        cross &= (np.abs(i - j) > 1) & (np.abs(i - j) < len(cross) - 1)
    return int(cross.sum())


def test_crossings_are_counted():
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [0.0, 0.0]])
    assert crossings(square, square) == 0 and crossings(square, square + 1.0) == 2
    assert crossings(square, square + 3.0) == 0
    bow = square[[0, 2, 1, 3, 0]]
    assert crossings(bow, bow) == 2                             # one crossing, found from both its pieces


@pytest.mark.eq("4.1", "18.4", "20.1", "23.4", "32.4")
def test_a_flow_of_the_plane_leaves_points_of_the_ring_on_the_wrong_side_and_one_in_space_none():
    data = computed("annuli")
    plane, space = ([row["wrong"] for row in data[extra]] for extra in (0, 1))
    assert says("annuli", "have {}, {} and {} on the wrong side".format(*plane))
    assert max(space) == 0 and says("annuli", "with one dimension more there are none")
    assert max(row["loss"] for extra in (0, 1) for row in data[extra]) < 0.01
    classes = data["shown"][1]
    for row in (data[extra][annuli.SHOWN] for extra in (0, 1)):      # the sides are those that are drawn
        v, c = row["line"]
        assert ((row["ys"][-1] @ v + c > 0) == (classes > 0)).all()
    y = data[1][annuli.SHOWN]["ys"]
    assert not y[0, :, 2].any()
    assert y[-1, classes < 0, 2].min() > y[-1, classes > 0, 2].max()             # the disc is lifted out


@pytest.mark.eq("32.1", "32.3")
def test_the_edges_that_are_drawn_do_not_cross_and_the_ring_surrounds_the_disc():
    row = computed("annuli")[0][annuli.SHOWN]
    edges, (v, c) = row["edges"], row["line"]
    for edge in edges:
        assert np.array_equal(edge[0], edge[-1])
        assert np.linalg.norm(np.diff(edge, axis=0), axis=1).max() < 1.1 * annuli.LONGEST
    assert [crossings(p, q) for p in edges for q in edges] == 9 * [0]
    disc, inner, outer = edges
    for within, around in ((disc, inner), (inner, outer)):
        assert all(abs(winding_number(around[:-1], point)) == 1 for point in within[::20])
    assert (inner @ v + c).min() < 0 < (inner @ v + c).max()         # the line cuts the ring


@pytest.mark.eq("32.2", "32.4", "32.5", "23.4")
def test_what_cannot_cross_is_taken_near_the_middle_and_half_a_turn_swaps():
    data = computed("cannot_cross")
    starts, ends = cannot_cross.STARTS, data["learnt"][-1]
    assert data["keeps"] and np.abs(ends).max() < 0.1 and says("cannot_cross", "ends within 0.1 of 0")
    all_at_zero = np.mean(starts**2)
    assert says("cannot_cross", f"the mean square error is {all_at_zero:.2f}")
    assert abs(data["error"] / all_at_zero - 1) < 0.05
    assert np.abs(data["turned"][-1] + data["turned"][0]).max() < 1e-6


@pytest.mark.eq("4.1", "20.1", "23.4", "23.5", "23.6")
def test_one_long_solve_goes_flat_and_the_other_ways_follow_the_oscillation():
    data = computed("long_oscillation")
    error = {name: data[name]["error"] for name in long_oscillation.WAYS}
    assert says("long_oscillation", f"one solve {error['long']:.1f}, next to a variance of {data['variance']:.1f}")
    assert np.ptp(data["long"]["ys"][100:], axis=0).max() < 0.01
    assert error["clipped"] < 0.3 and says("long_oscillation", "with clipped gradients less than 0.3")
    assert says("long_oscillation", "The growing horizon is best")
    assert says("long_oscillation", f"a growing horizon {error['growing']:.3f}, pieces {error['pieces']:.3f}")
    assert min(long_oscillation.WAYS, key=lambda name: data[name]["loss"][-1]) == "pieces"
    assert error["growing"] == min(error.values())


@pytest.mark.eq("2.1", "6.1", "20.1", "21.3", "23.4")
def test_what_is_learnt_through_coarse_steps_is_the_closed_form_and_no_flow():
    data, h = computed("coarse_to_fine"), coarse_to_fine.H
    A, I = coarse_to_fine.A, np.eye(2)
    learnt = {method: data[method]["A"] for method in coarse_to_fine.TRAINED}
    assert np.abs(learnt["euler"] - (expm(A * h) - I) / h).max() < ROUND_OFF
    for method, terms in (("midpoint", 2), ("rk4", 4)):               # R(A_h h) = exp(A h)
        z, term, R = learnt[method] * h, I, I
        for k in range(1, terms + 1):
            term = term @ z / k
            R = R + term
        assert np.abs(R - expm(A * h)).max() < ROUND_OFF
    errors = {method: data[method]["errors"] for method in learnt}
    assert max(row[0] for row in errors.values()) < ROUND_OFF
    assert says("coarse_to_fine", f"of rms {data['size']:.2f}")
    euler, midpoint, rk4 = errors.values()
    assert says("coarse_to_fine", f"Euler's is {euler[1]:.2f} and in 64 times as many {euler[-1]:.2f}; the midpoint "
                                  f"method's is {midpoint[1]:.3f} and {midpoint[-1]:.3f}, that of RK4 "
                                  f"{scientific(rk4[1])} and {scientific(rk4[-1])}")
    off = {method: np.abs(learnt[method] - A).max() for method in learnt}
    assert says("coarse_to_fine", f"off A by up to {off['euler']:.2f}; that of RK4 by {scientific(off['rk4'])}")
    chords = data["arcs"][0] + h * data["arcs"][0] @ learnt["euler"].T
    assert np.abs(chords - data["arcs"][-1]).max() < ROUND_OFF
    values = [np.linalg.eigvals(matrix)[0] for matrix in (learnt["euler"], A)]
    values = [f"{fixed(value.real, 2)} ± {abs(value.imag):.2f} i" for value in values]
    assert says("coarse_to_fine", "its eigenvalues are {}, while those of A are {}".format(*values))
    for method in learnt:                                             # finer steps tend to the flow of A_h
        assert abs(errors[method][-1] / data[method]["of the flow"] - 1) < 0.02
    ys = odeint(lambda t, y: y @ learnt["euler"].T, data["truth"][0], data["t"], method="euler")
    assert np.abs(ys - data["truth"]).max() < ROUND_OFF

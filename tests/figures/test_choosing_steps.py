"""The captions of the figures on existence, orders and steps (11 to 16) state what their compute() finds."""

import numpy as np
import pytest

from figures import arenstorf, dense_output, existence, orders, shared_steps, work_precision
from minode import methods

from . import computed, listed, says, scientific

U = np.finfo(np.float64).eps
SLOPE = 0.1                    # observed slope against order, on grids that are not infinitely fine
SMALL_LEADING_TERM = 0.2       # the same where the next order has a share down to round-off
NUDGED = 1e-12                 # the solution from 1e-30 is that from 0, set off 2e-15 of a unit of time earlier
EXPLICIT = [*orders.FAMILIES["explicit"], *orders.FAMILIES["explicit pairs"]]
IMPLICIT = [name for name, method in methods.items() if hasattr(method, "A") and not method.is_explicit]


ORBIT = (5200, 3200, 2700)      # calls of f
ABOUT, SEVERAL = np.log(1.35), 2.5      # the same number of calls; a multiple of it
ROUNDED = 0.1                   # of them: the orbit passes the Moon, and makes a difference of round-off 1e5 times larger


def rounded(calls, digits=2):
    """A count as a caption rounds it: 5,200."""
    return f"{float(f'{calls:.{digits}g}'):,.0f}"


@pytest.mark.eq("9.3")
def test_one_right_hand_side_has_several_solutions_and_another_none_beyond_its_pole():
    roots, poles = computed("existence")["root"], computed("existence")["pole"]
    assert not roots["dopri5 from 0"].any()
    assert says("existence", f"ends at {roots['dopri5 from 1e-30'][-1]:.5f}")
    assert says("existence", f"with h = 0.1 is at {roots['Euler from 1e-30'][-1]:.2f}")
    assert (existence.NUDGE**0.5 + existence.T[-1] / 2) ** 2 - existence.T[-1] ** 2 / 4 <= NUDGED
    assert says("existence", f"underflows, {scientific(poles['dopri5']['stopped'] - 1)} past t = 1")
    assert poles["dopri5"]["steps"][-1, 1] > 1e13 and says("existence", "climb beyond 1e13")
    assert says("existence", f"runs out of numbers at t = {poles['rk4']['stopped']:.1f}, Euler's method with "
                             f"h = {existence.H} at t = {poles['euler']['stopped']:.1f}")


@pytest.mark.eq("4.7")
def test_the_bound_on_the_slopes_of_a_network_holds_for_all_pairs_drawn():
    data = computed("existence")
    assert len(data["slope"]) == existence.PAIRS
    assert data["distance"].min() < 0.002 and data["distance"].max() > 9
    assert data["slope"].max() <= data["bound"]
    assert says("existence", f"L = {data['bound']:.2f} is proved")
    assert says("existence", f"the largest slope is {data['slope'].max():.2f}")


@pytest.mark.eq("4.7")
def test_solutions_of_a_network_stay_between_the_exponentials_of_its_bound():
    data, growth = computed("existence"), np.exp(computed("existence")["bound"] * existence.T_NEAR)[:, None]
    assert data["apart"].shape == (61, 6) and np.allclose(data["apart"][0], existence.APART)
    inside = data["apart"][1:] / existence.APART
    assert np.all((1 / growth[1:] < inside) & (inside < growth[1:]))


@pytest.mark.parametrize("name", [
    *(pytest.param(name, marks=pytest.mark.eq("9.3")) for name in EXPLICIT),
    *(pytest.param(name, marks=pytest.mark.eq("13.1")) for name in IMPLICIT),
    pytest.param("asynchronous_leapfrog", marks=pytest.mark.eq("14.1")),
    pytest.param("reversible_heun", marks=pytest.mark.eq("14.2")),
    pytest.param("reversible(rk4)", marks=pytest.mark.eq("14.3")),
])
def test_every_method_shows_its_order(name):
    row = computed("orders")[name]
    excused = name in ("fehlberg45", "dop853")
    assert abs(row["slope"] - row["order"]) <= (SMALL_LEADING_TERM if excused else SLOPE)
    if excused:
        assert says("orders", f"{name} {'is ' * (name == 'fehlberg45')}{row['slope']:.2f}")


def test_the_figure_of_the_orders_names_every_method_there_is():
    data = computed("orders")
    assert set(data) == {*methods, "reversible(rk4)"}
    assert says("orders", f"There are {len(methods)} methods by name")
    assert np.array_equal(data["heun_euler"]["error"], data["heun"]["error"])


@pytest.mark.eq("10.1", "10.2", "10.3", "10.4")
def test_adaptive_steps_close_the_orbit_that_many_more_equal_steps_do_not():
    data = computed("arenstorf")
    row, stats = data["dopri5"], data["dopri5"]["stats"]
    assert says("arenstorf", f"Euler's end is {data['Euler']['missed']:.1f} away from the start, RK4's "
                             f"{data['RK4']['missed']:.2f}, that of dopri5 {scientific(row['missed'])}")
    assert says("arenstorf", f"the {stats.n_accepted} steps of dopri5 ({stats.n_rejected} more were "
                             f"rejected; {stats.n_f:,} calls of f in all)")
    assert {data[name]["stats"].n_f for name in arenstorf.EQUAL} == {24_000}
    assert says("arenstorf", f"{data['range']:.0f} times smaller than the largest")
    assert says("arenstorf", f"closer than {arenstorf.NEAR} of the distance")
    assert says("arenstorf", f"The largest of the {len(row['h'])} is {data['range']:.0f} times the smallest")


@pytest.mark.eq("9.1", "9.2", "10.1")
def test_the_cost_of_a_digit_is_what_the_caption_says_and_about_scipys():
    data = computed("work_precision")
    titles = dict.fromkeys(problem for problem, _ in data)

    def calls(problem, error):
        names = ("dopri5", "tsit5", "dop853")
        return listed([data[problem, name]["calls_for"][error] for name in names], rounded)

    first, orbit, last = titles
    assert work_precision.ERRORS == (1e-6, 1e-10)
    on_the_orbit = [data[orbit, name]["calls_for"][1e-6] for name in ("dopri5", "tsit5", "dop853")]
    assert np.abs(np.divide(on_the_orbit, ORBIT) - 1).max() <= ROUNDED
    assert says("work_precision", f"call f {calls(first, 1e-6)} times on Lotka–Volterra, "
                                  f"{listed(ORBIT, rounded)} times on the orbit, "
                                  f"{calls(last, 1e-6)} times on the tanh field")
    assert says("work_precision", f"bosh3 takes {rounded(data[last, 'bosh3']['calls_for'][1e-6])}")
    assert says("work_precision", f"they call it {calls(first, 1e-10)} times on the first and "
                                  f"{calls(last, 1e-10)} times on the last")
    for problem in (first, last):
        ten = {name: data[problem, name]["calls_for"][1e-10] for name in ("dopri5", "tsit5", "dop853")}
        assert min(ten, key=ten.get) == "dop853"
    six = [{name: data[problem, name]["calls_for"][1e-6] for name in work_precision.METHODS} for problem in titles]
    assert all(abs(np.log(row["dop853"] / row["tsit5"])) < ABOUT for row in six)
    assert not any(row["bosh3"] < SEVERAL * row["tsit5"] for row in six)            # NaN if it never gets there
    apart = [np.abs(ours[:n] / theirs[:n] - 1).max() for problem in titles
             for name, their_name in (("dopri5", "RK45"), ("dop853", "DOP853"))
             for ours, theirs in [(data[problem, name]["calls"][3:], data[problem, their_name]["calls"][3:])]
             for n in [min(len(ours), len(theirs))]]
    assert work_precision.TOLERANCES[3] == 1e-6 and len(apart) == 6
    assert says("work_precision", f"to within {100 * max(apart):.0f} %")


@pytest.mark.eq("11.1", "11.2")
def test_dense_output_has_the_order_that_its_polynomial_promises():
    data = computed("dense_output")
    for kind, (_, order, _) in dense_output.KINDS.items():
        assert abs(data[kind]["slope"] - order) <= SMALL_LEADING_TERM
    slopes = {kind: f"{data[kind]['slope']:.2f}" for kind in dense_output.KINDS}
    assert says("dense_output", "Slopes: line {straight line}, rk4 {rk4}, dopri5 {dopri5} and tsit5 {tsit5}, "
                                "dop853 {dop853}".format(**slopes))
    inside = {kind: data[kind]["inside"].max() for kind in dense_output.KINDS}
    assert says("dense_output", f"is {inside['straight line']:.3f} off between them, "
                                f"rk4's cubic {scientific(inside['rk4'])}")
    assert says("dense_output", f"{scientific(inside['dopri5'])} and {scientific(inside['tsit5'])}, "
                                f"dop853 {scientific(inside['dop853'])}")
    assert abs(data["straight line"]["inside"][-1] - data["dopri5"]["inside"][-1]) <= 10 * U


@pytest.mark.eq("11.1", "11.2")
def test_between_long_steps_the_quartic_is_nearer_than_the_cubic_and_the_cubic_than_the_line():
    long, ends = computed("dense_output")["long"], slice(None, None, dense_output.INSIDE)
    off = {kind: np.abs(long[kind] - long["solution"]).max() for kind in dense_output.LONG}
    assert all(np.array_equal(np.round(long[kind][ends], 12), np.round(long["quartic"][ends], 12)) for kind in off)
    assert says("dense_output", f"off by up to {off['line']:.2f}, the cubics by {off['cubic']:.3f}, "
                                f"the quartics by {off['quartic']:.3f}")


@pytest.mark.eq("12.3")
def test_a_batch_in_common_steps_pays_for_its_hardest_trajectory():
    ratios = computed("shared_steps")["ratios"]
    (low, low_max), (high, high_max) = [(row["mean"][-1], row["maximum"][-1]) for row in ratios.values()]
    assert says("shared_steps", f"{low:.1f} times as many steps in common as of their own with the mean, "
                                f"{low_max:.1f} times with the maximum; at μ = 10, {high:.1f} and {high_max:.1f} times")
    eight = list(shared_steps.SIZES).index(shared_steps.DRAWN)
    assert says("shared_steps", f"{ratios[10.0]['mean'][eight]:.1f} times as many as each takes alone")


@pytest.mark.eq("10.3")
def test_the_steps_in_common_are_small_wherever_one_of_the_eight_needs_it():
    drawn = computed("shared_steps")["raster"]
    own, common = drawn["own"], drawn["common"]
    assert len(own) == shared_steps.DRAWN and all(times[-1] == common[-1] for times in own)
    for times in own:                        # near its first jump; in a mean over eight its error is smaller by √8
        at = times[np.argmin(np.diff(times[times < common[-1] / 2]))]
        taken = [np.sum(np.abs(steps - at) < common[-1] / 40) for steps in (times, common)]
        assert taken[1] > taken[0] / 2
    assert len(common) > 2 * max(len(times) for times in own)


@pytest.mark.eq("12.2", "10.3")
def test_a_mean_over_the_batch_hides_the_error_of_one_and_a_maximum_does_not():
    comet = computed("shared_steps")["comet"]
    at = int(np.argmin(np.abs(shared_steps.TOLERANCES - shared_steps.RINGED)))
    own, mean, maximum = (comet[way] for way in ("own", "mean", "maximum"))
    assert says("shared_steps", f"which at 1e-7 becomes {mean['error'][at] / own['error'][at]:.1f} times less accurate")
    assert says("shared_steps", f"the planets take {own['planets'][at]:.0f} steps each of their own and the "
                                f"comet {own['comet'][at]}")
    assert says("shared_steps", f"all take {mean['all'][at]:.0f} and the comet is "
                                f"{mean['error'][at] / own['error'][at]:.1f} times less accurate")
    assert says("shared_steps", f"they take {maximum['all'][at]:.0f} and it is "
                                f"{own['error'][at] / maximum['error'][at]:.1f} times more accurate")
    assert (mean["error"] > 2 * own["error"])[1:].all()         # at 1e-4 all are about 1 % off

"""The captions of the figures on stability, stiffness and second copies (17 to 19, 41, 42) say what they compute."""

import numpy as np
import pytest

from figures import robertson, second_copy, stability, stiff_path, stiff_work

from . import computed, fixed, listed, says, scientific

U = np.finfo(np.float64).eps
ABOUT = 0.1                     # of a number of calls that is said to two digits
ROUND_OFF = 100 * U            # R(z) by solving with a small matrix
FAST_ROUND_OFF = 1000 * U      # of one whose condition is about |z| = 1000
ROOT = 1e-11                   # of SciPy's brentq, whose own tolerance is 2e-12
OF_THE_LIMIT = 0.05            # how closely a controlled step keeps to the limit of stability
UP_TO_ROUNDING = 10            # of what 2,000 roundings have become
GROWTH = 0.005                 # of a difference in a step, on average over a hundred steps


@pytest.mark.eq("13.2")
def test_an_explicit_method_is_stable_as_far_as_its_polynomial_is_small():
    reach = computed("stability")["reach"]
    assert says("stability", "−2 for Euler and Heun")
    for name, coefficients in {"euler": [1, 1], "heun": [1 / 2, 1, 1], "bosh3": [1 / 6, 1 / 2, 1, 1],
                               "rk4": [1 / 24, 1 / 6, 1 / 2, 1, 1]}.items():
        assert abs(abs(np.polyval(coefficients, reach[name])) - 1) <= ROOT
    for name in ("bosh3", "rk4", "dopri5", "tsit5", "dop853"):
        assert says("stability", f"{fixed(reach[name], 2)} for {name}")


@pytest.mark.eq("13.2")
def test_implicit_methods_are_a_stable_and_the_l_stable_ones_put_out_what_the_symmetric_let_ring():
    data = computed("stability")
    assert max(data["imaginary"].values()) <= 1 + ROUND_OFF
    assert all(values.max() <= 1 for name, values in data["decay"].items() if name != "rk4")
    left, z = data["left"], stability.FAST
    assert abs(left["implicit_euler"] - 1 / (1 + z)) <= ROUND_OFF
    assert abs(left["trapezoid"] - (z / 2 - 1) / (z / 2 + 1)) <= FAST_ROUND_OFF
    symmetric = [left[name] for name in stability.SYMMETRIC]
    assert says("stability", f"by {min(symmetric):.3f} to {max(symmetric):.3f}")
    l_stable = [left[name] for name in stability.L_STABLE]
    assert (min(l_stable), max(l_stable)) == (left["implicit_euler"], left["kvaerno5"])
    assert says("stability", f"by {min(l_stable):.4f}, implicit Euler, to {max(l_stable):.4f}, kvaerno5")
    assert says("stability", f"multiplies y by {left['rk4']:.1e}".replace("e+", "e"))


def cost(stats):
    return stats.n_accepted, stats.n_rejected, stats.n_f


@pytest.mark.eq("13.1", "13.4")
def test_implicit_steps_follow_the_stiff_path_and_explicit_ones_keep_to_their_limit():
    data = computed("stiff_path")
    kvaerno5, trbdf2, dopri5 = (data[name] for name in ("kvaerno5", "trbdf2", "dopri5"))
    steps, rejected, calls = (f"{float(f'{n:.2g}'):,.0f}" for n in cost(kvaerno5["stats"]))
    assert says("stiff_path", f"its {steps} steps ({rejected} more were rejected; {calls} calls of f)")
    assert says("stiff_path", f"kvaerno5 takes {steps} steps (dots)")
    steps, rejected, calls = (f"{float(f'{n:.2g}'):,.0f}" for n in cost(trbdf2["stats"]))
    assert says("stiff_path", f"trbdf2 takes {steps} ({rejected} rejected, {calls} calls)")
    missed = f"{scientific(kvaerno5['missed'])} and {scientific(trbdf2['missed'])}"
    assert says("stiff_path", f"They end {missed} away")
    shortest, longest = kvaerno5["h"].min(), kvaerno5["h"].max()
    assert says("stiff_path", f"from {scientific(shortest)} in a jump to {longest:.0f}")
    assert says("stiff_path", f"short in a jump and up to {longest:.0f} long between two")
    assert says("stiff_path", f"after 10,000 steps it has only come to t = {dopri5['t'][-1]:.0f}")
    assert dopri5["stats"].n_steps == stiff_path.BUDGET and dopri5["t"][-1] < 12 < stiff_path.END
    assert says("stiff_path", f"stopped after 10,000 steps and {dopri5['stats'].n_f:,} calls at "
                              f"t = {dopri5['t'][-1]:.0f}, has taken steps of {np.median(dopri5['h']):.4f}")
    assert abs(np.median(dopri5["h"]) / data["limit"][0] - 1) <= OF_THE_LIMIT
    assert says("stiff_path", f"{data['at the limit'] / 1e6:.1f} million steps")


@pytest.mark.eq("13.1", "13.5", "13.6", "13.7", "10.7")
def test_what_a_digit_of_a_stiff_problem_costs_is_what_the_caption_says():
    data = computed("stiff_work")
    assert (stiff_work.ASKED, stiff_work.WHERE) == (1e-5, "e5")
    assert says("stiff_work", "it calls f about 300 times and kvaerno5 820 times")
    assert says("stiff_work", "SciPy's Radau takes 380 calls, BDF 490")
    for name, calls in (("radau5", 300), ("kvaerno5", 820), ("Radau", 380), ("BDF", 490)):
        assert abs(data["calls for"][name] / calls - 1) < ABOUT
    for what, low, high in (("calls", 0.7, 1.2), ("jacobians", 0.4, 2.3)):
        pairs = [(data[name, "radau5"][what], data[name, "Radau"][what]) for name in stiff_work.PROBLEMS]
        ratios = np.concatenate([a[:min(len(a), len(b))] / b[:min(len(a), len(b))] for a, b in pairs])
        assert abs(ratios.min() - low) < 0.15 and abs(ratios.max() - high) < 0.2
    assert says("stiff_work", "calls f 0.7 to 1.2 times as often")
    assert says("stiff_work", "computes 0.4 to 2.3 times as many Jacobians")


@pytest.mark.eq("14.1", "14.2", "14.3")
def test_what_the_solution_loses_the_difference_of_the_copies_gains():
    data = computed("second_copy")
    ends = [values[-1] for values in data["difference"].values()]
    assert says("second_copy", f"the solution is {scientific(data['solution'][-1])} at t = 100")
    assert says("second_copy", f"{ends[0]:.0f} for reversible Heun, {ends[1]:.0f} for asynchronous leapfrog, "
                               f"{ends[2]:.4f} for reversible(\"rk4\") with c = 0.999 and "
                               f"{scientific(ends[3])} with c = 0.9")
    assert np.allclose(list(data["determinant"].values()), [-1, -1, 0.999, 0.9], rtol=0, atol=ROUND_OFF)
    a_step = data["solution"][-1] ** (1 / second_copy.STEPS)
    assert says("second_copy", f"e^{{−hk}} is {a_step:.3f} on average")
    half = second_copy.STEPS // 2
    *growing, damped = data["difference"].values()
    for values, determinant in zip(growing, data["determinant"].values()):
        growth = (values[-1] / values[half]) ** (1 / half)
        assert abs(growth * a_step / abs(determinant) - 1) <= GROWTH
    assert damped[-1] < damped[half]


@pytest.mark.eq("14.4")
def test_the_coupling_that_damps_on_the_way_there_amplifies_round_off_on_the_way_back():
    missed = computed("second_copy")["missed"]
    assert max(missed[1.0].max(), missed[0.999].max()) < 1e-12 and says("second_copy", "below 1e-12 with c = 1 and 0.999")
    assert len(missed[0.99]) == second_copy.STEPS_BACK and says("second_copy", "Over 2,000 steps")
    assert says("second_copy", "comes to about 1e-7 with 0.99")
    assert 1e-7 / UP_TO_ROUNDING < missed[0.99].max() < 1e-7 * UP_TO_ROUNDING
    assert says("second_copy", "With c = 0.9 the distance is 1 after fewer than 400 steps")
    assert missed[0.9][-1] > 1 and len(missed[0.9]) < 400


@pytest.mark.eq("29.2", "20.1")
def test_the_rates_of_a_stiff_reaction_are_learnt_from_its_course():
    data = computed("robertson")
    first, end, errors = data["path"][0], data["path"][-1], data["errors"]
    assert np.abs(np.abs(np.log(first) / np.log(5)) - 1).max() <= ROUND_OFF and robertson.NOISE == 0.02
    assert says("robertson", f"within two standard errors, at {listed(end, lambda x: fixed(x, 3))}.")
    assert (np.abs(np.log(end)) <= 2 * errors).all()
    size = data["data"].max(axis=0)
    at_start, at_end = (np.abs(np.log(data[name][-1] / data["data"][-1])) for name in ("start", "end"))
    assert at_end.max() <= 3 * robertson.NOISE < at_start.max() and np.log10(size[0] / size[1]) > 4

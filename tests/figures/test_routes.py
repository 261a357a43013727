"""What the captions of the figures about the routes of a gradient say is what compute() finds."""

import numpy as np
import pytest

from figures import differences, memory, resting_state, seminorm, three_gradients
from . import computed, fixed, says, scientific

EXACT = (1 + np.exp(10.0)) / 2                          # dx(5)/dx(0) of figure 20
ROUND_OFF = 1e-14                                       # what the captions say of it
ORDER = 0.1                                             # observed slope against order
ABOUT = 0.15                                            # of a ratio of costs that is said to be "about" so much
QUADRATIC = 0.2                                         # observed order of convergence, far from its limit
PROPORTIONAL = 0.05                                     # observed slope of memory that grows with the steps
UP_TO_ROUNDING = 10                                     # of the best of a few differences that are made of it


@pytest.mark.eq("16.2", "17.2", "18.1")
def test_only_what_has_the_tangent_or_the_cotangent_in_its_norm_finds_the_derivative_of_a_state_at_rest():
    data = computed("resting_state")
    values, at = data["values"], int(np.argmin(np.abs(np.array(resting_state.TOLERANCES) - 1e-8)))
    assert says("resting_state", f"which is {EXACT:.4f}")
    assert says("resting_state", f"The discrete gradient gives {values['discrete'][0]:.4f} at every "
                                 "tolerance")
    assert np.ptp(values["discrete"]) <= 1e-9 * EXACT
    assert says("resting_state", "pushforward, backsolve and interpolate all give "
                                 f"{values['pushforward'][at]:.4f}")
    assert says("resting_state", f"it is {values['discrete'][0]:,.0f} instead of {EXACT:,.0f}")
    (times, _), (own, _) = data["y alone"], data["pair"]
    assert says("resting_state", f"{len(times) - 1} of them for the state alone, the last "
                                 f"{times[-1] - times[-2]:.2f} long, and {len(own) - 1} for state and "
                                 "tangent")
    loose = int(np.argmin(np.abs(np.array(resting_state.TOLERANCES) - resting_state.SHOWN)))
    for name, confirmed in (("differences", 1e-2), ("fine differences", 1e-5)):
        assert abs(values[name][loose] / values["discrete"][loose] - 1) < confirmed
    for route in ("backsolve", "interpolate"):
        assert f"{values[route][at]:.4f}" == f"{values['pushforward'][at]:.4f}"


@pytest.mark.eq("17.2", "17.4")
def test_an_error_made_at_the_end_grows_on_the_way_back_and_output_times_stop_it():
    data = computed("lost_on_the_way_back")
    once = [scientific(data[rate]["at_start"][0]) for rate in (1, 5, 10)]
    assert says("lost_on_the_way_back", f"With one it is {', '.join(once)}, {data[20]['at_start'][0]:.0f} "
                                        f"and {data[50]['at_start'][0]:.1e}".replace("e+", "e"))
    more = [scientific(error) for error in data[20]["at_start"][1:5]]
    first, *_, sixteen = data[20]["at_start"][:5]
    assert says("lost_on_the_way_back", f"For λ = 20 it is {first:.0f} at the start with one of them, and "
                                        f"{scientific(sixteen)} with 16")
    assert says("lost_on_the_way_back", f"of them {', '.join(more[:-1])} and {more[-1]}")


@pytest.mark.eq("22.1", "22.2", "22.3")
def test_finite_differences_have_ten_digits_at_best_and_the_complex_step_all():
    data = computed("differences")
    errors = data["errors"]
    assert says("differences", f"where u = {scientific(np.spacing(1.0))} is the distance from 1")
    assert np.isclose(differences.EPSILON, np.spacing(1.0) ** (1 / 3))
    for name, power, text in (("forward", 1 / 2, "u^{1/2}"), ("central", 2 / 3, "u^{2/3}")):
        best = np.spacing(1.0) ** power
        assert says("differences", f"no better than about {text} = {scientific(best)}")
        assert best / UP_TO_ROUNDING <= errors[name].min() <= best * UP_TO_ROUNDING
    assert says("differences", "right to a few roundings for every ε ≤ 1e-8")
    assert errors["complex step"][differences.EPSILONS <= 1.001e-8].max() < 20 * np.spacing(1.0)
    slopes = "{:.2f}, {:.2f} and {:.2f}".format(*data["slopes"].values())
    assert says("differences", f"the slopes are {slopes}")


@pytest.mark.eq("9.3", "10.3")
def test_a_kink_that_is_crossed_costs_the_order_and_many_rejected_steps():
    data = computed("kink")
    tanh, softplus, leaky = (data[name] for name in ("tanh", "softplus", "leaky_relu"))
    slopes = [fixed(row["slope of error"], 2) for row in (tanh, softplus, leaky)]
    assert says("kink", "tanh {}, softplus {}, leaky_relu {} on the".format(*slopes))
    assert says("kink", f"and {leaky['slope of error across']:.2f} on the {data['across']} others")
    counts = [f"{row[kind]:.1f}" for row in (leaky, tanh, softplus) for kind in ("rejected", "accepted")]
    assert says("kink", "On average over the 64 paths {} are rejected beside {} accepted; for tanh {} "
                        "beside {}, for softplus {} beside {}".format(*counts))
    accepted = data["tries"][:, 2] == 1
    assert says("kink", f"{accepted.sum()} steps are accepted and {(~accepted).sum()} rejected")
    assert says("kink", f"the slope of the error is {leaky['slope of error across']:.2f} in place of {slopes[2]}")
    assert says("kink", f"{(~accepted).sum()} of {len(accepted)} are")
    assert says("kink", f"on the {64 - data['across']} paths where no hidden unit changes sign")


@pytest.mark.eq("17.3", "17.7")
def test_the_seminorm_saves_products_and_buys_more_for_the_same_number():
    data = computed("seminorm")
    ratios, errors = {}, {}
    for name in seminorm.RATIOS:
        (calls, error), (fewer, looser) = (data[name, kind] for kind in seminorm.NORMS)
        ratios[name], errors[name] = fewer / calls, looser / error
        if seminorm.RATIOS[name] < 1:
            shared = fewer >= calls[0]
            same = np.exp(np.interp(np.log(fewer[shared]), np.log(calls[1:]), np.log(error[1:])))
            assert shared.any() and (looser[shared] < same).all()
    first, second = (f"{ratio.min():.2f} to {ratio.max():.2f}" for ratio in ratios.values())
    assert says("seminorm", f"{first} of the products in the first case, {second} in the second")
    assert says("seminorm", f"it takes {first} of the products, and dL/dθ is")
    assert says("seminorm", f"at most {errors['atol = rtol/1000'].max():.1f} times less accurate")


@pytest.mark.eq("9.4", "17.2", "18.3", "19.1", "19.2")
def test_memory_grows_with_the_steps_with_their_root_or_not_at_all():
    data, decades = computed("memory"), memory.STEPS[-1] / memory.STEPS[0]
    assert says("memory", "Interpolate takes about 10 kB a step and discrete 4.2,")
    for route, kilobytes in (("discrete", 4.2), ("interpolate", 10)):
        per_step = np.diff(data[route]) / np.diff(memory.STEPS[:len(data[route])])
        assert (np.abs(per_step / (1000 * kilobytes) - 1) < 2 * PROPORTIONAL).all()
    assert abs(np.log(data["discrete"][-1] / data["discrete"][0]) / np.log(decades) - 1) <= PROPORTIONAL
    assert says("memory", "about 44 MB in the end") and abs(data["discrete"][-1] / 44e6 - 1) < 0.05
    assert says("memory", "After 10,000 steps the peak is about 44 MB, 1.1 MB and less than 0.2 MB")
    assert says("memory", "Checkpoint takes about 1.1 MB then, less than ten times")
    assert abs(data["checkpoint"][-1] / 1.1e6 - 1) < 0.1
    assert data["checkpoint"][-1] <= np.sqrt(decades) * data["checkpoint"][0]
    backsolve, undone = data["backsolve"], data["reversible"]
    assert says("memory", "Backsolve takes less than 0.2 MB and reversible less than 0.1 MB")
    assert max(backsolve) < 0.2e6 and max(undone) < 0.1e6
    assert says("memory", "as much for 100 steps as for 10,000, within 1 %")
    assert max(backsolve) <= 1.01 * min(backsolve) and max(undone) <= 1.01 * min(undone)


@pytest.mark.eq("17.2", "18.3", "19.1", "19.4", "20.1")
def test_the_routes_cost_what_the_caption_says_for_the_same_error():
    data = computed("routes")
    adaptive = {route: f"{row['for']:.0f}" for (route, kind), row in data.items() if kind == "adaptive"}
    equal = {route: f"{row['for']:.0f}" for (route, kind), row in data.items() if kind == "equal"}
    assert says("routes", "discrete takes {discrete} calls, checkpoint {checkpoint}, backsolve {backsolve} "
                          "and interpolate {interpolate}".format(**adaptive))
    assert says("routes", "they take {discrete}, {checkpoint}, {backsolve} and {interpolate}, "
                          "reversible {reversible}".format(**equal))
    least = data["discrete", "equal"]["for"]
    assert says("routes", "call f and its products about 1.5 times as often as discrete, reversible 4 times")
    for route, times in {"checkpoint": 1.5, "backsolve": 1.5, "interpolate": 1.5, "reversible": 4.0}.items():
        assert abs(data[route, "equal"]["for"] / least - times) <= ABOUT
    for kind in ("adaptive", "equal"):
        apart = data["checkpoint", kind]["error"] - data["discrete", kind]["error"]
        assert np.abs(apart).max() <= ROUND_OFF
    errors = np.array([row["error"] for (_, kind), row in data.items() if kind == "equal"])
    most = np.ceil(10 * (errors.max(axis=0) / errors.min(axis=0)).max()) / 10
    assert says("routes", f"no route's is more than {most} times another's")


@pytest.mark.eq("18.3", "19.1", "19.4", "20.1")
def test_the_frugal_routes_have_the_numbers_of_the_discrete_one_and_interpolate_the_order_of_its_method():
    data = computed("three_gradients")
    assert max(data["euler"]["checkpoint"].max(), data["rk4"]["checkpoint"].max()) < ROUND_OFF
    assert data["reversible"]["reversible"].max() < ROUND_OFF
    slope = fixed(-data["reversible"]["slope"], 2)
    assert says("three_gradients", f'and {slope} for {three_gradients.METHODS["reversible"]}')
    for method, order in {"euler": 1, "rk4": 4, "reversible": 4}.items():
        row = data[method]
        assert abs(np.log2(row["interpolate"][-2] / row["interpolate"][-1]) - order) <= ORDER
        assert abs(np.log2(row["discrete"][-2] / row["discrete"][-1]) - order) <= ORDER


@pytest.mark.eq("21.1", "21.2", "21.3")
def test_newtons_method_with_products_of_the_hessian_doubles_its_digits_and_descent_does_not():
    data = computed("newton")
    newton, descent = (np.linalg.norm(data[way] - data["bottom"], axis=1) for way in ("newton", "descent"))
    first, second, third = newton[0], newton[1], newton[2]
    assert says("newton", f"goes from {first:.3f} to {second:.3f}, {third:.4f}, {scientific(newton[3])}, "
                          f"{scientific(newton[4])}")
    assert newton[5:].max() < ROUND_OFF and data["asymmetry"] < ROUND_OFF
    exponents = np.log(newton[3:5] / newton[2:4]) / np.log(newton[2:4] / newton[1:3])
    assert (np.abs(exponents - 2) <= QUADRATIC).all()
    assert says("newton", "eigenvalues are {:.0f} and {:.0f}".format(*data["eigenvalues"]))
    assert says("newton", f"after {len(descent) - 1} steps of gradient descent the bottom is still "
                          f"{scientific(descent[-1])} away")
    assert says("newton", f"still {scientific(descent[-1])} away after {len(descent) - 1} steps")

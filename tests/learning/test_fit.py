"""The loop: the same numbers from the same seed, after an interrupt too, and nothing lost when it goes wrong."""

import ast
import functools
import inspect
import re
import signal
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import MLP, Fit, FitError, Linear, SolverError, adam, fit, load, odeint, save, sgd, value_and_gradients
from minode.learning.fit import batches, decay
from minode.learning.optimisers import clip, cosine
from minode.learning.records import Counted
from tests.gradients.problems import ROUND_OFF, relative_error
from tests.strategies import arrays

DESCENT = 1e-6              # the distance from the bottom of a parabola after the 400 steps given here
SHRUNK = 5e-4              # of 0.1: Adam's m̂ / √v̂ is not quite 1 as θ, and so its gradient, shrinks
LEARNT = 0.01               # and of a matrix from the one that made the data, relative
F = MLP([3, 4, 2], ["tanh", "identity"])
THETA = F.init(np.random.default_rng(3))
T = np.array([0.0, 0.4, 1.0])
STARTS = np.random.default_rng(4).normal(size=(10, 2))
AIMS = STARTS @ np.array([[0.6, 0.8], [-0.8, 0.6]])
DATA = STARTS, AIMS
SMALL = {"n_steps": 12, "learning_rate": 0.02, "progress": False}


def mismatch(theta, batch, **more):
    """Half the mean square of the distance of the last state from where it should be."""
    y0, aims = DATA if batch is None else batch

    def loss(ys):
        dL_dys = np.zeros_like(ys)
        dL_dys[-1] = (ys[-1] - aims) / len(aims)
        return 0.5 * np.sum((ys[-1] - aims)**2) / len(aims), dL_dys
    value, gradients = value_and_gradients(loss, F, y0, T, theta, method="heun", **more)
    return value, gradients.theta


def held_out(theta):
    return mismatch(theta, (STARTS[:3] + 0.1, AIMS[:3]))[0]


def noisy(rng):
    rows = rng.integers(len(STARTS), size=4)
    return STARTS[rows] + 0.1 * rng.normal(size=(4, 2)), AIMS[rows]


VARIANTS = {
    "all data": {},
    "batches": {"data": DATA, "batch_size": 3, "seed": 5, "weight_decay": 0.01},
    "a stream": {"data": noisy, "seed": 6, "largest_gradient": 0.1},
    "validation": {"data": DATA, "batch_size": 4, "validate": held_out, "validate_every": 3},
    "momentum": {"optimiser": functools.partial(sgd, momentum=0.8), "learning_rate": lambda k: cosine(k, 0.1, 12, 2)},
}


def bits(found):
    """All of a `Fit` as bytes, so that NaN equals NaN and 0 does not equal −0."""
    parts = [*found._replace(history=None, state=None), *found.history, *(found.state or ())]
    return [part.tobytes() if isinstance(part, np.ndarray) else part for part in parts]


def unasked(theta, batch):
    raise AssertionError("the objective was called before the arguments were checked")


def parabola(theta, batch):
    return 0.5 * np.sum((theta - 3.0) ** 2), theta - 3.0


# -- batches, decay, which θ is the best ------------------------------------------------------


@pytest.mark.eq("24.1")
@given(st.integers(1, 30), st.data())
def test_in_each_epoch_every_example_is_met_at_most_once_and_all_but_a_rest_are(n, data):
    size, seed = data.draw(st.integers(1, n)), data.draw(st.integers(0, 5))
    draw, per_epoch = batches(np.arange(n), size, seed)
    assert per_epoch == n // size
    epochs = [np.concatenate([draw(e * per_epoch + j) for j in range(per_epoch)]) for e in range(3)]
    for e, rows in enumerate(epochs):
        assert len(set(rows.tolist())) == len(rows) == per_epoch * size
        assert np.array_equal(rows, np.random.default_rng([seed, e]).permutation(n)[:per_epoch * size])


@pytest.mark.eq("24.1")
def test_the_arrays_of_a_tuple_stay_together_and_another_seed_or_epoch_has_another_order():
    draw, per_epoch = batches((np.arange(20), -np.arange(20.0)), 6, seed=0)
    assert all(np.array_equal(rows, -mirrored) for rows, mirrored in map(draw, range(9)))
    again, _ = batches(np.arange(20), 6, seed=1)
    assert not np.array_equal(draw(0)[0], again(0)) and not np.array_equal(draw(0)[0], draw(per_epoch)[0])


@pytest.mark.eq("24.2", "20.1")
@pytest.mark.parametrize("gradient", ["discrete", "checkpoint", "backsolve", "interpolate"])
def test_weight_decay_in_the_loop_is_weight_decay_handed_to_the_solve_as_b_at_its_end(gradient):
    def with_decay(theta, batch):
        penalty, dL_dtheta = decay(theta, 0.3)
        value, gradient_ = mismatch(theta, batch, gradient=gradient, dL_dtheta=dL_dtheta)
        return value + penalty, gradient_
    inside = fit(with_decay, THETA, **SMALL | {"n_steps": 1, "optimiser": sgd})
    outside = fit(functools.partial(mismatch, gradient=gradient), THETA,
                  **SMALL | {"n_steps": 1, "optimiser": sgd, "weight_decay": 0.3})
    assert inside.history.loss == outside.history.loss
    assert relative_error(inside.state.v, outside.state.v) <= ROUND_OFF


@pytest.mark.eq("24.2")
@given(arrays(5), st.sampled_from([0.0, 0.5, 2.0]))
def test_the_gradient_of_the_penalty_is_that_of_the_complex_step(theta, rate):
    penalty, dL_dtheta = decay(theta, rate)
    assert abs(penalty - rate * np.sum(theta**2) / 2) <= ROUND_OFF * (1 + penalty)
    for i, unit in enumerate(np.eye(5)):
        moved = theta + 1e-30j * unit
        assert abs(dL_dtheta[i] - 0.5 * rate * (moved @ moved).imag / 1e-30) <= ROUND_OFF


def recorded(objective):
    """The objective, and the list of the θ that it is asked at."""
    asked = []

    def ask(theta, batch):
        asked.append(theta)
        return objective(theta, batch)
    return ask, asked


@pytest.mark.eq("24.3")
@pytest.mark.parametrize("name, window", [("batches", 3), ("all data", 1), ("a stream", 20)])
def test_without_validation_theta_is_judged_by_the_average_loss_of_about_an_epoch(name, window):
    objective, asked = recorded(mismatch)
    found = fit(objective, THETA, **SMALL | VARIANTS[name])
    averages = [found.history.loss[0]]
    for k, value in enumerate(found.history.loss[1:], start=1):
        weight = 1 / min(k + 1, window)
        averages.append((1 - weight) * averages[-1] + weight * value)
    best = int(np.argmin(averages))
    assert np.array_equal(found.theta, asked[best]) and found.best_step == best
    assert abs(found.loss - averages[best]) <= ROUND_OFF * averages[best]


def test_the_average_is_a_plain_mean_for_one_epoch_and_forgets_afterwards():
    """Exercise 1 of chapter 24: a loss of 1 in step i alone leaves the weight of L_i in the average (24.3)."""
    J, k = 4, 9
    for i in range(k + 1):
        losses = iter(np.eye(k + 1)[i])
        found = fit(lambda theta, batch: (next(losses), 0 * theta), np.zeros(1), n_steps=k + 1, data=np.zeros(2 * J),
                    batch_size=2, progress=False)
        assert abs(found.average - (1 - 1 / J) ** (k - max(i, J - 1)) / J) <= ROUND_OFF


def test_adam_shrinks_all_weights_by_the_same_length_and_plain_descent_by_the_same_factor():
    """Exercise 2 of chapter 24: a loss of 0, and weight decay."""
    def shrunk(optimiser):
        return fit(lambda theta, batch: (0.0, 0 * theta), np.array([1.0, 100.0]), n_steps=10, learning_rate=0.01,
                   weight_decay=0.1, optimiser=optimiser, progress=False).last
    assert np.allclose(shrunk(adam), [0.9, 99.9], rtol=0, atol=SHRUNK)
    assert np.allclose(shrunk(functools.partial(sgd, momentum=0.0)), np.array([1, 100]) * (1 - 0.001) ** 10, rtol=ROUND_OFF)


def test_with_validation_it_is_the_theta_of_the_least_validation_loss_the_first_one_included():
    found = fit(mismatch, THETA, **SMALL | VARIANTS["validation"])
    where = np.flatnonzero(~np.isnan(found.history.validation))
    assert where.tolist() == [2, 5, 8, 11]
    assert found.loss == held_out(found.theta) == np.nanmin(found.history.validation) < held_out(THETA)
    assert found.best_step == where[np.argmin(found.history.validation[where])] + 1
    worse = fit(mismatch, THETA, validate=lambda theta: np.sum((theta - THETA)**2), **SMALL)
    assert worse.loss == 0.0 and worse.best_step == 0 and np.array_equal(worse.theta, THETA)


def test_a_fit_that_gets_no_better_stops_after_its_patience():
    losses = iter([5.0, 4.0, 3.0, 3.5, 2.0, 2.0, 2.5, 2.2, 2.1, 1.0])
    found = fit(parabola, np.zeros(1), n_steps=50, validate=lambda theta: next(losses), validate_every=1,
                patience=4, progress=False)
    assert found.stopped == "nothing better in 4 steps" and (found.best_step, found.steps) == (4, 8)
    assert found.loss == 2.0


def test_the_history_has_the_losses_the_gradients_and_the_calls_of_every_step():
    counted = Counted(F)

    def objective(theta, batch):
        ys = odeint(counted, STARTS, T, theta, method="rk4")
        return mismatch(theta, batch)[0] + 0 * ys.sum(), mismatch(theta, batch)[1]
    found = fit(objective, THETA, counter=counted, **SMALL)
    assert found.history.n_f.tolist() == [8.0] * 12 and counted.n_f == 8 * 12
    value, gradient = mismatch(THETA, None)
    assert (found.history.loss[0], found.history.gradient[0]) == (value, np.linalg.norm(gradient))
    assert all(len(column) == 12 for column in found.history)
    assert np.isnan(fit(mismatch, THETA, **SMALL).history.n_f).all()


def test_a_counted_field_is_the_field_itself_but_for_counting():
    counted = Counted(F)
    a = value_and_gradients(lambda ys: (np.sum(ys), np.ones_like(ys)), counted, STARTS, T, THETA, method="rk4")
    b = value_and_gradients(lambda ys: (np.sum(ys), np.ones_like(ys)), F, STARTS, T, THETA, method="rk4")
    assert a[0] == b[0] and all(np.array_equal(x, y) for x, y in zip(a[1], b[1]))
    assert counted.n_f == 8                             # dL/dt asks for f_t alone
    assert counted.dim == 2 and np.array_equal(counted(0.0, STARTS, THETA), F(0.0, STARTS, THETA))


def test_the_largest_gradient_bounds_every_step_of_plain_descent():
    found = fit(parabola, np.zeros(4), n_steps=3, optimiser=functools.partial(sgd, momentum=0.0), learning_rate=0.5,
                largest_gradient=0.25, progress=False)
    assert np.array_equal(found.state[0], clip(parabola(np.full(4, 0.125), None)[1], 0.25))
    assert found.history.gradient[0] == 6.0


@pytest.mark.parametrize("optimiser, rate", [(adam, 0.1), (sgd, 0.05)])
def test_it_finds_the_bottom_of_a_parabola(optimiser, rate):
    found = fit(parabola, np.zeros(2), n_steps=400, optimiser=optimiser,
                learning_rate=lambda k: cosine(k, rate, 400), progress=False)
    assert np.abs(found.theta - 3).max() <= DESCENT and found.stopped == "n_steps done"
    assert found.loss == parabola(found.theta, None)[0] == found.history.loss.min()


# -- the same numbers again -------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fit_is_the_same_to_the_last_bit_when_it_is_done_again(name):
    once, again = (fit(mismatch, THETA, **SMALL | VARIANTS[name]) for _ in range(2))
    assert bits(once) == bits(again)
    if "seed" in VARIANTS[name]:
        assert bits(once) != bits(fit(mismatch, THETA, **SMALL | VARIANTS[name] | {"seed": 99}))


def interrupted_at(call, objective):
    """The objective, pressing Ctrl-C in its call number `call`."""
    calls = iter(range(10**6))

    def ask(theta, batch):
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return objective(theta, batch)
    return ask


@pytest.fixture
def heed_ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, even where a shell began this process with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def uninterrupted():
    """A variant's name -> its fit, all twelve steps at once."""
    return functools.cache(lambda name: fit(mismatch, THETA, **SMALL | VARIANTS[name]))


@pytest.mark.usefixtures("heed_ctrl_c")
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("at", [0, 1, 5, 11])
def test_interrupted_and_gone_on_with_is_uninterrupted_to_the_last_bit(name, at, tmp_path, uninterrupted):
    options, whole = SMALL | VARIANTS[name], uninterrupted(name)
    half = fit(interrupted_at(at, mismatch), THETA, **options)
    assert half.stopped == "interrupted" and half.steps == at == len(half.history.loss)
    save(tmp_path / "half.npz", F, half)
    for start in (half, load(tmp_path / "half.npz", F)):
        assert bits(fit(mismatch, start, **options)) == bits(whole)


def test_an_interrupted_validation_loses_nothing_either():
    options, calls = SMALL | VARIANTS["validation"], iter(range(100))

    def validate(theta):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return held_out(theta)
    half = fit(mismatch, THETA, **options | {"validate": validate})
    assert half.steps == 5 and half.stopped == "interrupted"
    assert bits(fit(mismatch, half, **options)) == bits(fit(mismatch, THETA, **options))


@pytest.mark.parametrize("at", range(1, 9))
def test_an_interrupt_between_two_steps_changes_neither_the_numbers_nor_where_patience_ends(at):
    def validate(theta):
        return abs(theta[0] - 0.25)
    def press(step, n_steps, loss):
        if step == at:
            raise KeyboardInterrupt
    options = {"n_steps": 50, "validate": validate, "validate_every": 1, "patience": 4, "learning_rate": 0.06}
    whole = fit(parabola, np.zeros(1), progress=False, **options)
    half = fit(parabola, np.zeros(1), progress=press, **options)
    assert (half.stopped, half.steps) == ("interrupted", at) and (whole.best_step, whole.steps) == (4, 8)
    assert bits(fit(parabola, half, progress=False, **options)) == bits(whole)
    assert bits(fit(parabola, whole, progress=False, **options)) == bits(whole)


def lines_of_the_loop():
    """The lines of `fit` that every step runs through, the condition of the loop included."""
    source, first = inspect.getsourcelines(fit)
    loop, = (node for node in ast.walk(ast.parse("".join(source))) if isinstance(node, ast.While))
    return range(first + loop.lineno - 1, first + loop.end_lineno)


def test_ctrl_c_may_come_at_any_line_of_a_step():
    def objective(theta, batch):
        return 0.5 * np.sum((theta - batch) ** 2), np.sum(theta - batch, axis=0)
    options = {"n_steps": 3, "data": np.arange(8.0).reshape(4, 2), "batch_size": 2, "largest_gradient": 1.0,
               "validate": lambda theta: np.sum(theta**2), "validate_every": 2, "progress": False}
    helpers = {"draw", "decay", "with_decay", "calls", "as_loss", "as_loss_and_gradient", "as_theta_and_state", "loss_and_gradient",
               "step", "judge", "check_divergence", "check", "adam", "clip", "goes_on", "now", "add"}
    line, loop, error_state = 0, lines_of_the_loop(), np.geterr()
    whole, theta, steps = fit(objective, np.ones(2), **options), np.ones(2), set()
    while True:
        count = 0

        def press(frame, event, argument):
            nonlocal count
            name, of_minode = frame.f_code.co_name, "minode" in frame.f_code.co_filename
            if not of_minode or name not in helpers | {"fit"}:
                return None
            if event == "line" and (name != "fit" or frame.f_lineno in loop):
                count += 1
                if count == line + 1:
                    raise KeyboardInterrupt
            return press
        before = sys.gettrace()
        sys.settrace(press)
        try:
            half = fit(objective, theta, **options)
        finally:
            sys.settrace(before)
        if half.stopped != "interrupted":
            break
        steps.add(half.steps)
        assert np.geterr() == error_state
        assert bits(fit(objective, half, **options)) == bits(whole)
        line += 1
    assert line > 150 and steps == {0, 1, 2, 3}


def test_a_longer_fit_goes_on_from_a_shorter_one():
    short = fit(mismatch, THETA, **SMALL | {"n_steps": 5})
    assert bits(fit(mismatch, short, **SMALL)) == bits(fit(mismatch, THETA, **SMALL))
    assert bits(fit(mismatch, short, **SMALL | {"n_steps": 5})) == bits(short)


@pytest.mark.parametrize("first", [3, 4, 5, 7, 11])
def test_so_it_does_with_validation_wherever_the_shorter_one_ended(first):
    options = SMALL | {"validate": held_out, "validate_every": 3, "learning_rate": 0.1}
    short, whole = fit(mismatch, THETA, **options | {"n_steps": first}), fit(mismatch, THETA, **options)
    assert bits(fit(mismatch, short, **options)) == bits(whole)
    assert np.flatnonzero(~np.isnan(short.history.validation)).tolist() == list(range(2, first, 3))


def test_the_theta_that_was_handed_in_is_not_written_to():
    theta = THETA.copy()
    theta.setflags(write=False)
    found = fit(mismatch, theta, **SMALL)
    assert not np.shares_memory(found.last, theta) and np.array_equal(theta, THETA)


# -- when it goes wrong -----------------------------------------------------------------------


def failing(call, what):
    """`mismatch`, but for what happens in its call number `call`."""
    calls = iter(range(10**6))
    return lambda theta, batch: what(theta) if next(calls) == call else mismatch(theta, batch)


@pytest.fixture(scope="module")
def seven_steps():
    return fit(mismatch, THETA, **SMALL | {"n_steps": 7})


def no_solution(theta):
    raise SolverError("the state is no longer finite", 0.3)


@pytest.mark.parametrize("what, message", [
    (lambda theta: (np.nan, theta), "stopped after 7 steps: the loss is nan"),
    (lambda theta: (-np.inf, theta), "the loss is -inf"),
    (lambda theta: (theta, 0.1), r"the loss must be a number, not ndarray \(26,\)"),
    (lambda theta: (np.ones(1), theta), r"the loss must be a number, not ndarray \(1,\)"),
    (lambda theta: ("0.1", theta), "the loss must be a number, not str"),
    (lambda theta: (None, theta), "the loss must be a number, not NoneType"),
    (lambda theta: (0.1j, theta), "the loss must be a number, not complex"),
    (lambda theta: (0.1, np.nan * theta), "the gradient must be finite"),
    (lambda theta: (0.1, theta[:-1]), r"the gradient must have shape \(26,\), not \(25,\)"),
    (lambda theta: (1e9, theta), "the loss diverges: it is 1e\\+09 and was"),
    (no_solution, "the state is no longer finite"),
])
def test_a_step_that_fails_ends_the_fit_with_the_best_theta_so_far(what, message, seven_steps, uninterrupted):
    best = seven_steps
    with pytest.raises(FitError, match=message) as caught:
        fit(failing(7, what), THETA, **SMALL)
    assert caught.value.fit.stopped == "failed"
    assert bits(caught.value.fit._replace(stopped=best.stopped)) == bits(best)
    assert isinstance(caught.value.__cause__, Exception)
    assert bits(fit(mismatch, caught.value.fit, **SMALL)) == bits(uninterrupted("all data"))


@pytest.mark.parametrize("first", [0.0, 1e-12, -1.0])
def test_divergence_is_growth_whatever_the_first_loss_and_a_loss_far_below_zero_is_none(first):
    def run(second):
        losses = iter([first, second])
        return fit(lambda theta, batch: (next(losses), theta), np.ones(2), n_steps=2, progress=False)
    with pytest.raises(FitError, match="diverges"):
        run(3e6)
    assert run(-1e9).steps == run(1e-3).steps == 2


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_a_seed_that_is_none_is_refused_before_any_work(seed):
    with pytest.raises(ValueError, match="seed must be an integer from 0 on"):
        fit(None.__class__, THETA, seed=seed, **SMALL)


def test_a_list_of_arrays_is_not_stacked_in_silence():
    with pytest.raises(TypeError, match="data must be a tuple of arrays, not a list"):
        fit(mismatch, THETA, data=list(DATA), **SMALL)


@pytest.mark.parametrize("first, second", [(adam, sgd), (sgd, adam)])
def test_a_fit_does_not_go_on_with_another_optimiser(first, second):
    begun = fit(mismatch, THETA, optimiser=first, **SMALL)
    message = f"optimiser is {second.__name__}, but the fit to go on from was made with {first.__name__}"
    with pytest.raises(ValueError, match=message):
        fit(mismatch, begun, optimiser=second, **SMALL | {"n_steps": 14})


def own(theta, gradient, state, rate):
    """A reader's optimiser, whose state looks like that of `sgd`."""
    return theta - rate * gradient, (gradient,)


class Own:
    """Another, that is an object."""

    def __call__(self, theta, gradient, state, rate):
        return own(theta, gradient, state, rate)


@pytest.mark.parametrize("first, second, names", [
    (functools.partial(sgd, momentum=0.5), functools.partial(adam, beta1=0.5), ("sgd", "adam")),
    (own, sgd, ("own", "sgd")), (sgd, own, ("sgd", "own")), (own, Own(), ("own", "Own"))])
def test_nor_with_one_of_the_readers_or_with_settings_of_its_own_from_a_file_either(first, second, names, tmp_path):
    begun = fit(mismatch, THETA, **SMALL | {"optimiser": first, "n_steps": 5})
    save(tmp_path / "begun.npz", F, begun)
    for start in (begun, load(tmp_path / "begun.npz", F)):
        with pytest.raises(ValueError, match=f"optimiser is {names[1]}, but .* was made with {names[0]}$"):
            fit(unasked, start, **SMALL | {"optimiser": second})
        whole = fit(mismatch, THETA, **SMALL | {"optimiser": first})
        assert bits(fit(mismatch, start, **SMALL | {"optimiser": first})) == bits(whole)
    assert fit(mismatch, begun._replace(state=None), **SMALL | {"optimiser": second}).optimiser == names[1]


def test_the_state_of_another_optimiser_whose_name_is_not_known_is_refused_by_the_first_step():
    begun = fit(mismatch, THETA, **SMALL | {"n_steps": 5})._replace(optimiser="")
    with pytest.raises(FitError, match="stopped after 5 steps: state must be None or what the step before returned"):
        fit(mismatch, begun, **SMALL | {"optimiser": sgd})


@pytest.mark.parametrize("settings, message", [
    ({"beta1": 1.0}, "beta1 must be less than 1, not 1.0"), ({"beta2": np.nan}, "beta2 must be finite"),
    ({"epsilon": -1.0}, "epsilon must be non-negative, not -1.0")])
def test_settings_of_the_optimiser_that_are_none_end_the_fit_in_its_first_step_and_are_named(settings, message):
    with pytest.raises(FitError, match="stopped after 0 steps: " + message):
        fit(mismatch, THETA, optimiser=functools.partial(adam, **settings), **SMALL)


def test_so_does_a_learning_rate_of_a_schedule():
    with pytest.raises(FitError, match="stopped after 3 steps: learning_rate must be finite"):
        fit(mismatch, THETA, **SMALL | {"learning_rate": lambda k: 0.1 if k < 3 else np.nan})


@pytest.mark.parametrize("answer", [1.0, np.ones(3), (1.0,), (1.0, THETA, 0)])
def test_an_objective_that_returns_no_pair_is_told_what_to_return(answer):
    with pytest.raises(FitError, match="objective must return a loss and its gradient"):
        fit(lambda theta, batch: answer, THETA, **SMALL)


@pytest.mark.parametrize("theta", [np.ones(2), np.ones(3)])
def test_an_optimiser_that_returns_no_pair_is_told_what_to_return(theta):
    with pytest.raises(FitError, match="optimiser must return the new θ and its state, not ndarray"):
        fit(lambda theta, batch: (1.0, theta), theta, optimiser=lambda theta, *rest: theta, n_steps=1)


def test_too_long_steps_diverge_and_the_best_theta_is_the_one_before_they_did():
    with pytest.raises(FitError, match="diverges") as caught:
        fit(parabola, np.zeros(2), n_steps=1000, optimiser=sgd, learning_rate=10.0, progress=False)
    found = caught.value.fit
    assert np.isfinite(found.theta).all() and found.loss == parabola(found.theta, None)[0] <= 9.0
    assert np.isfinite(found.history.loss).all() and found.steps < 100


def test_nan_in_the_data_is_named_before_any_work_is_done():
    broken = AIMS.copy()
    broken[[2, 7], 1] = np.nan
    with pytest.raises(ValueError, match=r"data must be finite, but holds NaN or infinity in rows \[2 7\]"):
        fit(unasked, THETA, data=(STARTS, broken), batch_size=3, **SMALL)


def test_nan_in_data_that_the_loop_does_not_see_ends_the_fit_with_what_it_has():
    def objective(theta, batch):
        return mismatch(theta, (STARTS, AIMS * (np.nan if calls.append(0) or len(calls) > 3 else 1)))
    calls = []
    with pytest.raises(FitError, match="must be finite, but holds NaN") as caught:
        fit(objective, THETA, **SMALL)
    assert caught.value.fit.steps == 3 and np.isfinite(caught.value.fit.theta).all()


@pytest.mark.parametrize("at", [0, 2])
def test_a_validation_loss_that_is_no_number_ends_the_fit(at):
    calls = iter(range(100))
    with pytest.raises(FitError, match="the validation loss is nan") as caught:
        fit(mismatch, THETA, validate=lambda theta: np.nan if next(calls) == at else 1.0, validate_every=2, **SMALL)
    assert caught.value.fit.steps == max(0, 2 * at - 1)


@pytest.mark.parametrize("options, message", [
    ({"n_steps": 0}, "n_steps must be a positive integer, not 0"),
    ({"n_steps": 2.5}, "n_steps must be a positive integer, not 2.5"),
    ({"validate_every": 0}, "validate_every must be a positive integer"),
    ({"patience": -1}, "patience must be a positive integer, not -1"),
    ({"data": STARTS, "batch_size": 0}, "batch_size must be a positive integer, not 0"),
    ({"data": STARTS, "batch_size": 11}, r"at least batch_size = 11, not \[10\]"),
    ({"data": (STARTS, AIMS[:4]), "batch_size": 2}, r"the same number of rows everywhere.*not \[10, 4\]"),
    ({"learning_rate": -0.1}, "learning_rate must be positive, not -0.1"),
    ({"weight_decay": -1.0}, "weight_decay must be non-negative"),
    ({"largest_gradient": 0.0}, "largest_gradient must be positive"),
    ({"give_up": 0}, "give_up must be positive"),
    ({"theta": np.array([np.nan])}, "theta must be finite"),
    ({"theta": np.zeros((2, 2))}, r"theta must have shape \(p,\), not \(2, 2\)"),
    ({"theta": 1.0}, r"theta must have shape \(p,\), not \(\)"),
    ({"batch_size": 3}, "batch_size = 3 is for data in arrays"),
    ({"data": noisy, "batch_size": 3}, "batch_size = 3 is for data in arrays"),
    ({"validate": held_out, "patience": 5}, "patience = 5 would end the fit before a validation, every 10 steps"),
    ({"validate": held_out, "n_steps": 5}, "n_steps = 5 would end the fit before a validation, every 10 steps"),
])
def test_what_cannot_be_used_is_refused_before_any_work(options, message):
    with pytest.raises(ValueError, match=message):
        fit(unasked, **{"theta": THETA} | SMALL | options)


@pytest.mark.parametrize("options, message", [
    ({"theta": ["a"]}, "theta must be an array of numbers"),
    ({"objective": None}, "objective must be callable, not None"),
    ({"optimiser": "adam"}, "optimiser must be callable, not 'adam'"),
    ({"validate": 0.5}, "validate must be callable, not 0.5"),
    ({"progress": "yes"}, "progress must be True, False, None or callable, not 'yes'"),
])
def test_what_is_of_another_type_is_refused_too(options, message):
    with pytest.raises(TypeError, match=message):
        fit(**{"objective": unasked, "theta": THETA} | SMALL | options)


@pytest.mark.parametrize("step, message", [
    (lambda theta: np.nan * theta, "the θ after a step must be finite"),
    (lambda theta: theta[:-1], r"the θ after a step must have shape \(26,\), not \(25,\)"),
])
def test_an_optimiser_that_leaves_no_theta_to_go_on_from_ends_the_fit(step, message):
    calls = iter(range(100))

    def optimiser(theta, gradient, state, rate):
        return (step(theta) if next(calls) == 3 else theta - rate * gradient), state
    with pytest.raises(FitError, match="stopped after 3 steps: " + message) as caught:
        fit(mismatch, THETA, optimiser=optimiser, **SMALL | {"n_steps": 4})
    assert np.isfinite(caught.value.fit.last).all() and caught.value.fit.steps == 3


# -- progress ---------------------------------------------------------------------------------


def test_progress_is_a_line_on_stderr_where_it_is_asked_for_or_seen(capsys, monkeypatch):
    fit(mismatch, THETA, **SMALL | {"progress": True})
    out, err = capsys.readouterr()
    lines = err.rstrip("\n").split("\r")[1:]
    assert out == "" and err.endswith("\n") and len(lines) >= 2
    assert all(re.fullmatch(r"step \d+/12   loss \d\.\d+   \d+ s left *", line) for line in lines)
    assert lines[0].startswith("step 1/12") and lines[-1].startswith("step 12/12")
    fit(mismatch, THETA, **SMALL | {"progress": None})
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fit(mismatch, THETA, **SMALL | {"progress": None})
    assert "step 12/12" in capsys.readouterr().err
    fit(mismatch, THETA, **SMALL)
    assert capsys.readouterr() == ("", "")


def test_no_line_is_begun_for_a_fit_that_is_refused(capsys):
    with pytest.raises(ValueError, match="theta must be finite"):
        fit(mismatch, np.nan * THETA, **SMALL | {"progress": True})
    assert capsys.readouterr() == ("", "")


def test_progress_may_be_a_function_of_the_readers():
    told = []
    found = fit(mismatch, THETA, **SMALL | {"progress": lambda *news: told.append(news)})
    assert told == [(k + 1, 12, value) for k, value in enumerate(found.history.loss)]


def test_fit_is_a_record_of_the_best_theta_first():
    theta, loss, *_ = found = fit(parabola, np.zeros(2), n_steps=3, progress=False)
    assert isinstance(found, Fit) and theta is found.theta and loss == found.loss


def test_a_linear_field_is_learnt_from_a_solution():
    A, y0, t = np.array([[-0.1, 2.0], [-2.0, -0.1]]), [2.0, 0.0], np.linspace(0.0, 1.5, 6)
    seen = odeint(Linear(2), y0, t, A.ravel(), method="rk4")

    def objective(theta, batch):
        value, gradients = value_and_gradients(lambda ys: (np.mean((ys - seen)**2), 2 * (ys - seen) / ys.size),
                                               Linear(2), y0, t, theta, method="rk4")
        return value, gradients.theta
    found = fit(objective, np.zeros(4), n_steps=400, learning_rate=lambda k: cosine(k, 0.1, 400), progress=False)
    assert np.abs(found.theta - A.ravel()).max() <= LEARNT * np.abs(A).max()


# -- what is handed out stays as it is ----------------------------------------------------------


def in_place(theta, batch=None, *more):
    theta -= 0.1
    return float(theta @ theta), 2 * theta


def state_in_place(theta, gradient, state, learning_rate):
    (v,) = (np.zeros_like(theta),) if state is None else state
    v *= 0.9
    v += gradient
    return theta - learning_rate * v, (v,)


def data_in_place(theta, batch):
    batch[0][:] = 0.0
    return mismatch(theta, batch)


@pytest.mark.parametrize("name, change, steps", [
    ("objective", {"objective": in_place}, 0), ("objective", {"objective": data_in_place, "data": DATA}, 0),
    ("validate", {"validate": in_place}, 0), ("optimiser", {"optimiser": in_place}, 0),
    ("optimiser", {"optimiser": state_in_place}, 1)])
def test_what_would_change_the_fit_in_place_is_refused_by_name_and_the_fit_is_as_it_was(name, change, steps):
    arguments = {"objective": mismatch, "theta": THETA.copy()} | SMALL | {"validate_every": 1} | change
    before = [array.copy() for array in DATA]
    with pytest.raises(FitError, match=f"stopped after {steps} steps: {name} must not change what it is given") as caught:
        fit(**arguments)
    whole = fit(**{"objective": mismatch, "theta": THETA} | SMALL | {"n_steps": 1, "optimiser": plain})
    assert np.array_equal(arguments["theta"], THETA) and all(map(np.array_equal, before, DATA))
    assert caught.value.fit.steps == steps and np.array_equal(caught.value.fit.last, whole.last if steps else THETA)


def plain(theta, gradient, state, learning_rate):
    return theta - learning_rate * gradient, (gradient,)


def test_a_theta_that_the_optimiser_uses_again_is_copied():
    buffer = THETA.copy()

    def reusing(theta, gradient, state, learning_rate):
        np.subtract(theta, learning_rate * gradient, out=buffer)
        return buffer, None
    found, expected = (fit(mismatch, THETA, optimiser=optimiser, **SMALL) for optimiser in (reusing, plain))
    assert found.theta.tobytes() == expected.theta.tobytes() and found.last.tobytes() == expected.last.tobytes()
    assert mismatch(found.theta, None)[0] == found.loss


@pytest.mark.parametrize("answer, got", [((1.0, THETA), "a tuple of 2"), ([1.0, 2.0], "a list of 2"), (None, r"NoneType"),
                                         (np.ma.masked, "Masked"), (np.ones(1), r"ndarray \(1,\)"), (1j, "complex")])
def test_what_validate_returns_that_is_no_number_is_told_so_by_name(answer, got):
    with pytest.raises(FitError, match=f"the validation loss, what validate returns, must be a number, not {got}"):
        fit(mismatch, THETA, validate=lambda theta: answer, validate_every=1, **SMALL)

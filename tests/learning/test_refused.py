"""Every argument of every public name of Part IV, wrong: refused in words, and nothing was done before."""

import inspect

import numpy as np
import pytest

from minode import (MLP, Classifier, DiffusedMixture, Flow, Layered, Linear, LotkaVolterra, adam,
                    euler_maruyama, fit, load, log_prob, negative_log_likelihood, rademacher, sample, save, sgd)
from minode.inputs import as_generator
from tests.test_help import OF_PART_FOUR

RECORDS = {"Fit", "FitError"}            # that are handed out, and not made by a reader
FILE = "theta.npz"                       # in a folder of its own; stands for it in the table


class Silent(Linear):
    """A field that must not be called: input is refused before any work is done."""

    def __call__(self, t, y, theta):
        raise AssertionError("f was called before its arguments were checked")

    vjp = jvp = jacobian = __call__

    def init(self, rng):
        return as_generator(rng).normal(size=self.n_params)


def silent(*arguments):
    raise AssertionError("a function was called before the arguments were checked")


SILENT, BATCH, T, THETA = Silent(2), np.ones((3, 2)), [0.0, 1.0], np.ones(4)
NAN, NOISE, MIXTURE = np.full((3, 2), np.nan), np.ones((1, 3, 2)), DiffusedMixture(1, 2)
MODEL, LABELS = Classifier(3, SILENT, 2), [0, 1]
MODEL_THETA, IMAGES = np.ones(MODEL.n_params), np.ones((2, 3))
_, ADAMS = adam(THETA, THETA, None, 0.1)
_, SGDS = sgd(THETA, THETA, None, 0.1)

STEP = {"theta": THETA, "gradient": THETA, "state": None, "learning_rate": 0.1}
FIT = {"objective": silent, "theta": THETA, "n_steps": 5, "progress": False}
DENSITY = {"f": SILENT, "y": BATCH, "t": T, "theta": THETA}
DRAWN = {"f": SILENT, "n": 3, "t": T, "theta": THETA, "rng": np.random.default_rng(0)}
POINT = {"t": 0.5, "y": [[0.5]], "theta": [0.0, 0.0, 1.0, 2.0, -1.0, -1.0]}

NO_FIELD = [(np.sin, TypeError, "must be a VectorField, with derivatives, not ufunc"),
            (LotkaVolterra, TypeError, "must be a VectorField, an instance and not the class LotkaVolterra"),
            (None, TypeError, "must be a VectorField, with derivatives, not NoneType")]
NO_TIMES = [([], ValueError, "must be a 1-D array of at least one time"), (1.0, ValueError, "must be a 1-D array"),
            ([0.0, 2.0, 1.0], ValueError, "must be monotone"), ([0.0, np.inf], ValueError, "must be finite"),
            ([0.0, 1j], TypeError, "must be real"), ("now", TypeError, "must be an array of numbers, not 'now'"),
            (None, TypeError, "must be an array of numbers, not None")]
NO_COUNT = [(n, ValueError, f"must be a positive integer, not {n!r}")
            for n in (0, -1, 2.5, True, "two", None, np.nan, {})]
NO_RNG = [(rng, TypeError, "must be a NumPy Generator") for rng in (0, None, np.random, np.random.RandomState(0))]
NO_RATE = [(np.nan, ValueError, "must be finite"), (np.inf, ValueError, "must be finite"),
           (-0.1, ValueError, "must be non-negative, not -0.1"), ("low", TypeError, "array of numbers, not 'low'"),
           ([0.1], ValueError, r"must have shape \(\), not \(1,\)"), (1j, TypeError, "must be real")]
NO_FRACTION = [*NO_RATE, (1.0, ValueError, "must be less than 1, not 1.0"), (2, ValueError, "less than 1, not 2")]
NO_FUNCTION = [(g, TypeError, f"must be callable.*, not {g!r}") for g in (1.0, "g")]
NO_SOLVER = [({"metod": "rk4"}, TypeError, "unknown keyword 'metod'; known: method, "),
             ({"method": "rk5"}, ValueError, "unknown method 'rk5'; known: "),
             ({"rtol": -1.0}, ValueError, "rtol must be non-negative"), ({"rtol": np.nan}, ValueError, "rtol must be"),
             ({"atol": "low"}, TypeError, "atol must be an array of numbers, not 'low'"),
             ({"step_size": 0.0}, ValueError, "step_size must be positive, not 0.0"),
             ({"max_steps": 1.5}, ValueError, "max_steps must be a positive integer, not 1.5"),
             ({"norm": 2}, TypeError, "norm must be callable"), ({"progress": 3}, TypeError, "progress must be")]


def no_array(shape, n=None):
    """What is no array of real numbers of this shape; `n` of them is one too few."""
    few = np.ones(n or 0)
    return [(few, ValueError, rf"must have shape {shape}, not \({len(few)},\)"),
            (1.0, ValueError, rf"must have shape {shape}, not \(\)"), ("ab", TypeError, "array of numbers, not 'ab'"),
            (None, TypeError, "must be an array of numbers, not None"), ([[1.0], [1.0, 2.0]], TypeError, "of numbers")]


def not_finite(array):
    """The array with NaN, infinity and an imaginary number for its first entry."""
    def first(number):
        changed = np.array(array, dtype=np.result_type(array, number))
        changed.flat[0] = number
        return changed
    return [(first(np.nan), ValueError, "must be finite"), (first(-np.inf), ValueError, "must be finite"),
            (first(1j), TypeError, "must be real, not complex")]


def no_theta(n):
    return [*no_array(rf"\({n},\)", n - 1), *not_finite(np.ones(n)), (np.ones((n, 1)), ValueError, "must have shape")]


NO_STATES = [*no_array(r"\(..., 2\) for this field", 3), *not_finite(BATCH)]
NO_NOISE = [(np.ones((3, 2)), ValueError, r"must have shape \(K, \*y.shape\), here \(K, 3, 2\), not \(3, 2\)"),
            (np.ones((1, 3, 3)), ValueError, r"must have shape \(K, ..., 2\), not \(1, 3, 3\)"),
            (np.ones((0, 3, 2)), ValueError, r"must have shape \(K, ..., 2\)"), (NAN, ValueError, "must be finite"),
            ("white", TypeError, "must be an array of numbers, not 'white'"), (1.0, ValueError, "must have shape"),
            (1j * NOISE, TypeError, "must be real"), (np.random.default_rng(0), TypeError, "array of numbers")]
NO_STATE = [(SGDS, ValueError, "must be None or what the step before returned"), (0, ValueError, "must be None or"),
            (ADAMS[:2], ValueError, "must be None or"), (dict(v=THETA), ValueError, "must be None or"),
            (adam(np.ones(3), np.ones(3), None, 0.1)[1], ValueError, "must be None or")]
NO_SGD_STATE = [(ADAMS, ValueError, "must be None or what the step before returned"), (THETA, ValueError, "must be None"),
                ((np.ones(3),), ValueError, "must be None or")]
NO_STEP = {"theta": [("ab", TypeError, "array of numbers, not 'ab'"), *not_finite(THETA)],
           "gradient": [*no_array(r"\(4,\)", 3), *not_finite(THETA), (THETA[:, None], ValueError, r"not \(4, 1\)")],
           "learning_rate": NO_RATE}
NO_PATH = [(path, TypeError, "path must be a str or a Path, not ") for path in (None, 0, 2.5, True, ["a.npz"])]
NO_PATH += [(path, ValueError, "path must name a file, not ") for path in ("", "/")]
OF_NO_FIELD = [(field, TypeError, "field must be the VectorField or Classifier that theta is of, not ")
               for field in (np.sin, LotkaVolterra, None, "MLP")]
NO_POINT = {"t": [(np.nan, ValueError, "must be finite"), ("now", TypeError, "array of numbers, not 'now'"),
                  (-1.0, ValueError, "t = -1.0 is before any density")],
            "y": [(np.ones((1, 2)), ValueError, r"y and theta must have shapes \(..., 1\) and \(6,\), not \(1, 2\)"),
                  ([[np.nan]], ValueError, "must be finite"), ([[np.inf]], ValueError, "must be finite"),
                  ("ab", TypeError, "array of numbers, not 'ab'"), (1.0, ValueError, "must have shapes")],
            "theta": [(np.zeros(5), ValueError, r"y and theta must have shapes .*, not \(1, 1\) and \(5,\)"),
                      (np.full(6, np.nan), ValueError, "must be finite"), (None, TypeError, "of numbers, not None")]}

REFUSED = {          # name: what to call, with what that would be right, and what is wrong of each argument
    "adam": (adam, STEP, NO_STEP | {"state": NO_STATE, "beta1": NO_FRACTION, "beta2": NO_FRACTION, "epsilon": NO_RATE}),
    "sgd": (sgd, STEP, NO_STEP | {"state": NO_SGD_STATE, "momentum": NO_FRACTION}),
    "fit": (fit, FIT, {
        "objective": [*NO_FUNCTION, (None, TypeError, "must be callable, not None")],
        "theta": [(np.ones((2, 2)), ValueError, r"must have shape \(p,\), not \(2, 2\)"),
                  (1.0, ValueError, r"must have shape \(p,\), not \(\)"), ("ab", TypeError, "array of numbers"),
                  (None, TypeError, "array of numbers, not None"), *not_finite(THETA)],
        "n_steps": NO_COUNT,
        "data": [(NAN, ValueError, r"must be finite, but holds NaN or infinity in rows \[0 1 2\]"),
                 ((BATCH, BATCH[:2]), ValueError, r"same number of rows everywhere, .* not \[3, 2\]"),
                 *[(data, TypeError, r"must be an array, a tuple of arrays or data\(rng\), not ")
                   for data in ((), 5, 3.0, "ab", {"x": BATCH}, (BATCH, 3.0))],
                 ([BATCH, BATCH], TypeError, "must be a tuple of"),
                 (BATCH[:0], ValueError, r"must have the same number of rows .* not \[0\]")],
        "batch_size": [(3, ValueError, "batch_size = 3 is for data in arrays"), (-1, ValueError, "positive integer")],
        "seed": [(seed, ValueError, "must be an integer from 0 on, not ") for seed in (-1, 0.5, "0", None, np.nan)],
        "optimiser": [*NO_FUNCTION, (None, TypeError, "must be callable, not None")],
        "learning_rate": [(0.0, ValueError, "must be positive, not 0.0"), (-0.1, ValueError, "must be positive"),
                          (np.nan, ValueError, "must be finite"), ("low", TypeError, "array of numbers, not 'low'"),
                          ([0.1], ValueError, "must have shape"), (None, TypeError, "array of numbers, not None")],
        "weight_decay": NO_RATE,
        "largest_gradient": [(0.0, ValueError, "must be positive, not 0.0"), *NO_RATE[:2], *NO_RATE[3:]],
        "validate": NO_FUNCTION,
        "validate_every": NO_COUNT,
        "patience": [case for case in NO_COUNT if case[0] is not None],
        "give_up": [(0, ValueError, "must be positive, not 0"), *NO_RATE[:2], *NO_RATE[3:]],
        "counter": [(3, TypeError, "must have an n_f that counts"), (SILENT, TypeError, "such as Counted")],
        "progress": [(3, TypeError, "must be True, False, None or callable, not 3"), ("yes", TypeError, "not 'yes'"),
                     (np.ones(2), TypeError, "must be True, False")]}),
    "save": (save, {"path": FILE, "field": SILENT, "theta": THETA},
             {"path": NO_PATH, "field": OF_NO_FIELD, "theta": no_theta(4)}),
    "load": (load, {"path": FILE, "field": SILENT}, {"path": NO_PATH, "field": OF_NO_FIELD}),
    "Classifier": (Classifier, {"n_in": 3, "field": SILENT, "n_out": 2},
                   {"n_in": NO_COUNT, "field": NO_FIELD, "t": NO_TIMES, "solver": NO_SOLVER,
                    "n_out": [*NO_COUNT, (1, ValueError, "must be at least 2 classes, not 1")]}),
    "Classifier.init": (MODEL.init, {}, {"rng": NO_RNG}),
    "Classifier.logits": (MODEL.logits, {"x": IMAGES, "theta": MODEL_THETA},
                          {"x": no_array(r"\(B, 3\)", 3) + not_finite(IMAGES),
                           "theta": [case for case in no_theta(MODEL.n_params) if "real" not in case[2]]}),
    "Classifier.value_and_gradient": (
        MODEL.value_and_gradient, {"x": IMAGES, "labels": LABELS, "theta": MODEL_THETA},
        {"x": [*no_array(r"\(B, 3\)", 3), *not_finite(IMAGES), (np.ones((0, 3)), ValueError, r"not \(0, 3\)")],
         "labels": [([0, 2], ValueError, "must be from 0 to 1, not from 0 to 2"), ([-1, 0], ValueError, "not from -1"),
                    ([0], ValueError, r"must be a whole number for each row of z \(2, 2\), not int64 \(1,\)"),
                    ([0.0, np.nan], ValueError, "must be a whole number .*, not float64"), ("ab", ValueError, "whole"),
                    (None, ValueError, "must be a whole number")],
         "theta": no_theta(MODEL.n_params),
         "gradient": [("adjoint", ValueError, "unknown gradient 'adjoint'; known: "), (None, ValueError, "unknown")]}),
    "Layered": (Layered, {"block": SILENT, "n_layers": 3}, {"block": NO_FIELD, "n_layers": NO_COUNT}),
    "Layered.init": (Layered(MLP([2, 2], ["tanh"]), 2).init, {}, {"rng": NO_RNG}),
    "Flow": (Flow, {"f": SILENT}, {
        "f": NO_FIELD, "noise": [case for case in NO_NOISE if "y.shape" not in case[2]]}),
    "log_prob": (log_prob, DENSITY, {
        "f": NO_FIELD, "y": NO_STATES, "t": NO_TIMES, "theta": no_theta(4), "noise": NO_NOISE,
        "base": [*NO_FUNCTION, (None, TypeError, "must be callable")], "solver": [
            *NO_SOLVER, ({"noise": NOISE, "per_trajectory": True}, ValueError, "noise needs joint steps")]}),
    "negative_log_likelihood": (negative_log_likelihood, DENSITY, {
        "f": NO_FIELD, "y": NO_STATES, "t": NO_TIMES, "theta": no_theta(4), "noise": NO_NOISE, "solver": [
            *NO_SOLVER, ({"base": silent}, TypeError, "base must be left to the standard normal"),
            ({"gradient": "adjoint"}, ValueError, "unknown gradient 'adjoint'; known: "),
            ({"backward": {"rtool": 1.0}, "gradient": "backsolve"}, ValueError, "unknown keyword 'rtool' in backward")]}),
    "sample": (sample, DRAWN, {"f": NO_FIELD[::2], "n": NO_COUNT, "t": NO_TIMES, "theta": no_theta(4), "rng": NO_RNG,
                               "solver": NO_SOLVER}),
    "rademacher": (rademacher, {"rng": DRAWN["rng"], "n_probes": 2, "shape": (3, 2)}, {
        "rng": NO_RNG, "n_probes": NO_COUNT,
        "shape": [(3, TypeError, "must be a tuple, that of y, not 3"), ("32", TypeError, "not '32'"),
                  ((3, 0), ValueError, "each of shape must be a positive integer, not 0"), (None, TypeError, "tuple"),
                  ((3, 2.0), ValueError, "not 2.0"), ((-3, 2), ValueError, "not -3"), (BATCH, TypeError, "tuple")]}),
    "DiffusedMixture": (DiffusedMixture, {"dim": 1, "components": 2}, {"dim": NO_COUNT, "components": NO_COUNT}),
    "DiffusedMixture.pack": (MIXTURE.pack, {"weights": [0.5, 0.5], "means": [[0.0], [1.0]], "deviations": [1.0, 2.0]}, {
        "weights": [*no_theta(2), ([0.5, 0.0], ValueError, "must be positive, not")],
        "means": [*no_array(r"\(2, 1\)", 2), *not_finite(np.ones((2, 1)))],
        "deviations": [*no_theta(2), ([-1.0, 1.0], ValueError, "must be positive, not")]}),
    "DiffusedMixture.log_density": (MIXTURE.log_density, POINT, NO_POINT),
    "DiffusedMixture.density_rate": (MIXTURE.density_rate, POINT, NO_POINT),
    "DiffusedMixture.draw": (MIXTURE.draw, {"n": 3, "t": 0.5, "theta": POINT["theta"], "rng": DRAWN["rng"]}, {
        "n": NO_COUNT, "t": [*NO_POINT["t"], ([0.0, 1.0], ValueError, r"must have shape \(\), not \(2,\)")],
        "theta": no_theta(6), "rng": NO_RNG}),
    "euler_maruyama": (euler_maruyama, {"g": silent, "y0": BATCH, "t": T, "rng": DRAWN["rng"]}, {
        "g": [(1.0, TypeError, r"must be callable as g\(t, y\), not float"),
              (None, TypeError, "must be callable as g.*, not NoneType"),
              (Linear, TypeError, "must be callable as g.*, not the class Linear itself"),
              (SILENT, TypeError, "but it is a VectorField and wants its θ too")],
        "y0": [*not_finite(BATCH), ("ab", TypeError, "array of numbers, not 'ab'"), (None, TypeError, "not None")],
        "t": [*NO_TIMES, ([1.0, 0.0], ValueError, "must increase")], "rng": NO_RNG}),
}
CASES = [(name, argument, i) for name, (_, _, wrong) in REFUSED.items()
         for argument, cases in wrong.items() for i in range(len(cases))]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The file, alone in its folder: no test may change it, and each sees whether it did."""
    path = tmp_path_factory.mktemp("kept") / FILE
    save(path, SILENT, THETA)
    return path, path.read_bytes()


@pytest.mark.parametrize("name, argument, i", CASES)
def test_a_wrong_argument_is_refused_by_name_and_nothing_is_done(name, argument, i, kept):
    call, right, wrong = REFUSED[name]
    value, error, message = wrong[argument][i]
    path, before = kept
    drawn = DRAWN["rng"].bit_generator.state
    arguments = right | (value if argument == "solver" else {argument: value})
    if arguments.get("path") == FILE:
        arguments["path"] = path
    with pytest.raises(error, match=message) as caught:
        call(**arguments)
    assert type(caught.value) is error, "a subclass, from somewhere below"
    assert argument == "solver" or argument in str(caught.value), "the argument is not named"
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1
    assert DRAWN["rng"].bit_generator.state == drawn, "random numbers were drawn"


def test_no_argument_of_a_public_name_of_part_four_is_left_out():
    assert OF_PART_FOUR - RECORDS == {name.split(".")[0] for name in REFUSED}
    for name, (call, _, wrong) in REFUSED.items():
        assert set(inspect.signature(call).parameters) == set(wrong), name


@pytest.mark.parametrize("name", [name for name in REFUSED if inspect.isfunction(REFUSED[name][0])
                                  or inspect.isclass(REFUSED[name][0])])
def test_a_misspelt_keyword_is_named(name):
    call, right, _ = REFUSED[name]
    with pytest.raises(TypeError, match="keyword.*'lerning_rate'"):
        call(**right, lerning_rate=0.1)

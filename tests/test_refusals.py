"""Whatever is handed in as an array: what holds the right numbers works, and the rest is refused by name before any work."""

from functools import cache

import numpy as np
import pytest

from minode import (MLP, Classifier, CubicSpiral, DiffusedMixture, Event, FitError, Flow, Layered, Linear, LotkaVolterra,
                    Measurements, SolverError, VanDerPol, VectorField, adam, adjoint_rhs, check_field, check_gradients,
                    euler_maruyama, fit, hessian_vector_product, log_prob, methods, misfit, negative_log_likelihood, odeint,
                    odeint_euler, odeint_rk4, pullback, pushforward, sample, sgd, shooting_loss, solve, tabulate,
                    tangent_rhs, value_and_gradients)
from minode.learning.classify import cross_entropy

A, Y, T = np.array([0.0, 1.0, -1.0, 0.2]), np.array([1.0, 0.5]), np.array([0.0, 0.5, 1.0])
BATCH, HALF = np.array([[1.0, 0.5], [0.3, -0.4], [1.0, 1.0]]), np.array(0.5)
F, NETWORK, MIXTURE = Linear(2), MLP([3, 2, 2], ["tanh", "identity"]), DiffusedMixture(1, 2)
THETA, OF_MIXTURE = NETWORK.init(np.random.default_rng(0)), MIXTURE.pack([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0])
MODEL = Classifier(3, MLP([2, 2], ["tanh"]), 2, method="rk4")
OF_MODEL, NOISE, LABELS = np.linspace(-1, 1, MODEL.n_params), np.ones((2, 3, 2)), np.array([0, 1])
HALF_DIGITS = 1e-2              # float16 keeps three


class Like:
    """An array of another library."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


def decay(t, y):
    return -y


def loss(ys, *ws):
    return (float(np.sum(ys[-1])), np.concatenate([0 * ys[:-1], np.ones_like(ys[-1:])]), *[0 * ys for _ in ws])


def parabola(theta, batch):
    return float(theta @ theta), 2 * theta


def rng():
    return np.random.default_rng(0)


class At(Event):
    """t = 0.75, with derivatives that are handed in."""

    def __init__(self, **parts):
        self.parts = {"g_t": HALF, "g_y": Y, "g_theta": A} | parts

    def __call__(self, t, y, theta):
        return t - 0.75

    def gradient(self, t, y, theta):
        return tuple(self.parts.values())


CALLS = {               # name: a function, and the arrays that it takes
    "odeint": (lambda y0, t, theta: odeint(F, y0, t, theta), {"y0": Y, "t": T, "theta": A}),
    "odeint of lists": (lambda y0, t: odeint(decay, y0, t), {"y0": BATCH, "t": T[::-1]}),
    "odeint by trbdf2": (lambda y0, t, theta: odeint(F, y0, t, theta, method="trbdf2"), {"y0": Y, "t": T, "theta": A}),
    "odeint, own steps": (lambda y0, t: odeint(decay, y0, t, per_trajectory=True), {"y0": BATCH, "t": T}),
    "odeint, keywords": (lambda rtol, atol, first_step, max_step: odeint(decay, Y, T, rtol=rtol, atol=atol, first_step=first_step,
                                                                         max_step=max_step),
                         {"rtol": np.array(0.25), "atol": np.array(0.25), "first_step": HALF, "max_step": HALF}),
    **{f"odeint, {name}": (lambda rtol, atol, own=own: odeint(decay, BATCH, T, rtol=rtol, atol=atol, **own),
                           {"rtol": BATCH**2, "atol": Y}) for name, own in
       {"tolerances": {}, "tolerances of each": {"per_trajectory": True}, "tolerances in steps": {"method": "rk4"}}.items()},
    "pushforward, tolerances": (lambda rtol, atol: pushforward(F, Y, T, A, Y, rtol=rtol, atol=atol), {"rtol": Y, "atol": Y}),
    "backsolve, tolerances": (lambda rtol, atol: pullback(F, Y, T, A, Y, gradient="backsolve", backward={"rtol": rtol, "atol": atol}),
                              {"rtol": Y, "atol": Y}),
    "odeint, step_size": (lambda step_size: odeint(decay, Y, T, step_size=step_size), {"step_size": HALF}),
    "odeint, tstops": (lambda tstops: odeint(decay, Y, T, tstops=tstops), {"tstops": np.array([0.25])}),
    "odeint, jacobian": (lambda jacobian: odeint(decay, Y, T, method="kvaerno5", jacobian=lambda t, y: jacobian),
                         {"jacobian": -np.eye(2)}),
    "odeint, f": (lambda f: odeint(lambda t, y: f, Y, T), {"f": Y}),
    "odeint, norm": (lambda norm: odeint(decay, Y, T, norm=lambda error, scale: norm), {"norm": HALF}),
    "odeint, event": (lambda event: odeint(F, Y, T, A, event=lambda t, y, theta: event), {"event": HALF}),
    "event.gradient": (lambda **parts: value_and_gradients(lambda ys, t_event: (1.0, 0 * ys, 1.0), F, Y, T, A,
                                                           event=At(**parts)), At().parts),
    "loss at an event": (lambda dL_dys, dL_dt_event: value_and_gradients(lambda *_: (1.0, dL_dys, dL_dt_event), F, Y, T, A,
                                                                         event=At()),
                         {"dL_dys": BATCH, "dL_dt_event": HALF}),
    "odeint_euler": (lambda y0, t: odeint_euler(decay, y0, t), {"y0": Y, "t": T}),
    "odeint_rk4": (lambda y0, t: odeint_rk4(decay, y0, t), {"y0": Y, "t": T}),
    "solve.interpolate": (lambda t: solve(decay, Y, T).interpolate(t), {"t": T}),
    "pushforward": (lambda **arrays: pushforward(F, **arrays), {"y0": Y, "t": T, "theta": A, "dy0": Y, "dtheta": A}),
    "pullback": (lambda **arrays: pullback(F, **arrays), {"y0": Y, "t": T, "theta": A, "cotangent": Y, "dL_dtheta": A}),
    "value_and_gradients": (lambda **arrays: value_and_gradients(loss, F, **arrays), {"y0": Y, "t": T, "theta": A}),
    "loss": (lambda L, dL_dys: value_and_gradients(lambda ys: (L, dL_dys), F, Y, T, A), {"L": HALF, "dL_dys": BATCH}),
    "hessian_vector_product": (lambda **arrays: hessian_vector_product(loss, F, **arrays),
                               {"y0": Y, "t": T, "theta": A, "v_y0": Y, "v_theta": A}),
    "check_field": (lambda **arrays: [row.error for row in check_field(MLP([3, 2], ["tanh"]), **arrays)],
                    {"t": np.array([0.5, 0.25, 1.0]), "y": BATCH, "theta": THETA[:8]}),
    "check_gradients": (lambda **arrays: [row.ok for row in check_gradients(VanDerPol(), method="euler", **arrays)],
                        {"y0": Y, "t": T, "theta": A[1:2]}),
    "tangent_rhs": (lambda y, w, theta, dtheta: tangent_rhs(F)(0.0, (y, w), theta, dtheta),
                    {"y": Y, "w": Y, "theta": A, "dtheta": A}),
    "adjoint_rhs": (lambda y, a, theta: adjoint_rhs(F)(0.0, (y, a, A), theta), {"y": Y, "a": Y, "theta": A}),
    "log_prob": (lambda **arrays: log_prob(F, **arrays), {"y": BATCH, "t": T, "theta": A, "noise": NOISE}),
    "negative_log_likelihood": (lambda **arrays: negative_log_likelihood(F, **arrays),
                                {"y": BATCH, "t": T, "theta": A, "noise": NOISE}),
    "base": (lambda base: log_prob(F, BATCH, T, A, base=lambda z: base), {"base": T}),
    "sample": (lambda **arrays: sample(F, 3, rng=rng(), **arrays), {"t": T, "theta": A}),
    "adam": (lambda **arrays: adam(state=None, **arrays), {"theta": A, "gradient": A, "learning_rate": HALF}),
    "sgd": (lambda **arrays: sgd(state=None, **arrays), {"theta": A, "gradient": A, "learning_rate": HALF}),
    "fit": (lambda theta, learning_rate: fit(parabola, theta, n_steps=2, learning_rate=learning_rate, progress=False)[0],
            {"theta": A, "learning_rate": HALF}),
    "objective": (lambda loss, gradient: fit(lambda *_: (loss, gradient), A, n_steps=2, progress=False)[0],
                  {"loss": HALF, "gradient": A}),
    "Classifier.logits": (MODEL.logits, {"x": BATCH @ np.ones((2, 3)), "theta": OF_MODEL}),
    "Classifier.value_and_gradient": (MODEL.value_and_gradient, {"x": np.eye(2, 3), "labels": LABELS, "theta": OF_MODEL}),
    "cross_entropy": (cross_entropy, {"z": np.eye(2, 3), "labels": LABELS}),
    "DiffusedMixture.pack": (MIXTURE.pack, {"weights": Y, "means": Y[:, None], "deviations": Y}),
    **{f"DiffusedMixture.{name}": (getattr(MIXTURE, name), {"t": HALF, "y": BATCH[:, :1], "theta": OF_MIXTURE})
       for name in ("log_density", "density_rate", "score")},
    "DiffusedMixture.draw": (lambda **arrays: MIXTURE.draw(3, rng=rng(), **arrays), {"t": HALF, "theta": OF_MIXTURE}),
    "euler_maruyama": (lambda y0, t: euler_maruyama(decay, y0, t, rng()), {"y0": Y, "t": T}),
    "MLP.lipschitz": (NETWORK.lipschitz, {"theta": THETA}),
    "tabulate": (tabulate, {"t": T, "which": np.array([0, 1, 0]), "x": BATCH, "weights": T + 1}),
    "misfit": (lambda ys, observed: misfit(ys, Measurements(T, observed, BATCH**2)), {"ys": BATCH, "observed": BATCH - 1}),
    "shooting_loss": (lambda **arrays: shooting_loss(F, measured=Measurements(T, BATCH, BATCH**2), **arrays),
                      {"starts": BATCH[:2], "cuts": np.array([0, 1, 2]), "theta": A}),
}


class Own(VectorField):
    """A reader's field: its methods work on arrays, and those of `VectorField` make arrays."""

    dim, n_params = 2, 1

    def __call__(self, t, y, theta):
        return -theta * y

    def jacobian(self, t, y, theta):
        return -theta[0] * np.eye(2) + 0 * y[..., None]

    def param_jacobian(self, t, y, theta):
        return -y[..., None]

    def time_derivative(self, t, y, theta):
        return 0 * y


FIELDS = {"Linear": (F, A), "CubicSpiral": (CubicSpiral(), A), "LotkaVolterra": (LotkaVolterra(), A),
          "VanDerPol": (VanDerPol(), A[1:2]), "MLP": (NETWORK, THETA), "DiffusedMixture": (MIXTURE, OF_MIXTURE),
          "Layered": (Layered(NETWORK, 2), np.tile(THETA, 2)), "Flow of a network": (Flow(NETWORK), THETA), "Flow": (Flow(F), A)}
PRODUCTS = {"__call__": (), "jacobian": (), "param_jacobian": (), "time_derivative": (), "vjp": ("a",),
            "jvp": ("w", "dtheta"), "vjp_derivative": ("a", "w", "dtheta")}


def of_field(f, theta, name, factors):
    """A method of a field, and its arguments, at three states with a clock each."""
    y = np.arange(1.0, 1 + 3 * f.dim).reshape(3, f.dim) / 8
    arrays = {"t": np.array([0.25, 0.5, 0.75]), "y": y, "theta": theta, "a": y[::-1].copy(), "w": 0.5 * y, "dtheta": 2 * theta}
    if name == "value_and_vjp":
        return (lambda t, y, theta, a: f.value_and_vjp(t, y, theta)[1](a)), {key: arrays[key] for key in ("t", "y", "theta", "a")}
    return (lambda **given: getattr(f, name)(*given.values())), {key: arrays[key] for key in ("t", "y", "theta", *factors)}


for field_name, (field, parameters) in FIELDS.items():
    for method_name, more in (PRODUCTS | {"value_and_vjp": ()}).items():
        if method_name != "vjp_derivative" or type(field).vjp_derivative is not VectorField.vjp_derivative:
            CALLS[f"{field_name}.{method_name}"] = of_field(field, parameters, method_name, more)
for method_name in ("vjp", "jvp"):
    CALLS[f"Own.{method_name}"] = of_field(Own(), A[1:2], method_name, PRODUCTS[method_name])
ARGUMENTS = [(name, argument) for name, (_, arrays) in CALLS.items() for argument in arrays]
each_argument = pytest.mark.parametrize("name, argument", ARGUMENTS)


def spelt_otherwise(array):
    """The same numbers in other forms."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2] if array.ndim else array.copy()
    wide[...] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    forms = {"list": array.tolist(), "array-like": Like(array), "read-only": frozen, "not contiguous": wide,
             "Fortran's order": np.asfortranarray(array) if array.ndim else array, "objects": array.astype(object),
             "unmasked": np.ma.array(array), "other bytes": array.astype(array.dtype.newbyteorder(">"))}
    if array.dtype.kind == "f":
        forms |= {"longdouble": array.astype(np.longdouble), "float16": array.astype(np.float16)}
    return forms


def no_array(array):
    """What cannot be meant."""
    return {"masked": np.ma.array(array, mask=True), "list with a masked entry": [np.ma.masked, 1.0], "text": "abc",
            "texts": np.array(["1", "2"]), "objects": np.array([object()] * 3), "a set": {1.0}, "a class": float,
            "a dict": {"x": 1.0}, "dates": np.array(["2020-01-01"], "datetime64[D]"), "rows of several lengths": [[1.0], [1.0, 2.0]],
            "wrong shape": np.ones((7, 5, 11)), "bytes": b"ab"}


def numbers_in(answer):
    if isinstance(answer, (tuple, list)):
        return [number for part in answer for number in numbers_in(part)]
    return [] if answer is None else [np.asanyarray(answer)]


@cache
def right_numbers(name):
    call, arrays = CALLS[name]
    return numbers_in(call(**arrays))


@each_argument
def test_the_same_numbers_in_another_form_give_the_same_answer(name, argument):
    call, arrays = CALLS[name]
    expected = right_numbers(name)
    for form, value in spelt_otherwise(arrays[argument]).items():
        if name == "check_field" and form in ("float16", "longdouble"):
            continue                                         # whose answers are errors of rounding
        try:
            answer = call(**arrays | {argument: value})
        except (ValueError, TypeError, FitError) as error:
            assert form == "objects" and argument in str(error)      # refused by name
            continue
        for got, wanted in zip(numbers_in(answer), expected, strict=True):
            assert type(got) is np.ndarray and got.dtype.kind == wanted.dtype.kind and got.shape == wanted.shape, form
            close = np.abs(got - wanted) <= HALF_DIGITS * (1 + np.abs(wanted)) if wanted.dtype.kind == "f" else got == wanted
            assert np.all(close) if form == "float16" else np.allclose(got, wanted, rtol=1e-12, atol=1e-12), form


@each_argument
def test_what_is_no_array_of_numbers_is_refused_by_name(name, argument):
    call, arrays = CALLS[name]
    for form, value in no_array(arrays[argument]).items():
        if form == "wrong shape" and argument in ("y0", "z", "x") and ("euler" in name or "rk4" in name or "lists" in name) \
                or (name, form) == ("solve.interpolate", "wrong shape") or (argument, form) == ("learning_rate", "a class"):
            continue                                         # any shape is a state's there, and float(k) is a schedule
        if name.startswith("Own") and (argument == "t" or form in ("list with a masked entry", "rows of several lengths")):
            continue                                         # NumPy's own words
        with pytest.raises((ValueError, TypeError, FitError)) as caught:
            call(**arrays | {argument: value})
        message = str(caught.value)
        assert type(caught.value) in (ValueError, TypeError, FitError), f"{form}: {message}"
        named = argument in message or (form == "wrong shape" and {"y": "a w", "theta": "gradient dtheta"}.get(argument, argument)
                                        .split()[0] in message) or "gradient must have shape" in message
        assert named, f"{form}: {message}"


@pytest.mark.parametrize("method", methods)
def test_what_f_returns_is_no_number_is_refused_by_every_method(method):
    for answer in (["1", "2"], np.ma.array(Y, mask=[0, 1]), [None, 1.0], {1.0}, np.array(["2020"] * 2, "datetime64[Y]")):
        with pytest.raises((TypeError, ValueError), match="f return") as caught:
            odeint(lambda t, y: answer, Y, T, method=method, jacobian=lambda t, y: np.eye(2))
        assert not isinstance(caught.value, SolverError)


# -- the order of the arguments ---------------------------------------------------------------

SCIPYS = {"-0.5 y": lambda t, y: -0.5 * y, "-y": lambda t, y: -y, "y": lambda t, y: y, "2 y": lambda t, y: 2 * y,
          "y + y": lambda t, y: y + y, "a list": lambda t, y: [y[1], -y[0]], "np.sin": lambda t, y: np.sin(y),
          "y.copy()": lambda t, y: y.copy(), "y[2]": lambda t, y: y[2]}


STARTS = [[2.0], [2.0, 3.0], np.array([0.5, 0.25]), [1.0, 0.5, 2.0]]


@pytest.mark.parametrize("f, y0", [(f, y0) for f in SCIPYS for y0 in STARTS if f != "y" or len(y0) <= 2], ids=str)
def test_the_order_of_scipys_solve_ivp_is_recognised_and_named(f, y0):
    for door in (odeint, solve, odeint_euler, odeint_rk4):
        for span in ((0.0, 10.0), (0, 5), (np.float64(1.0), 0.0)):
            with pytest.raises(TypeError, match=r"is this SciPy's order, solve_ivp\(f, \(t0, t1\), y0\)\? Here it is solve\(f, y0, t\)"):
                door(SCIPYS[f], span, y0)


def test_a_state_of_two_numbers_is_solved():
    x, v = odeint(lambda t, y: (y[1], -y[0]), (1.0, 0.0), T, rtol=1e-9)
    assert np.abs(x - np.cos(T)).max() < 1e-8 and np.abs(v + np.sin(T)).max() < 1e-8
    assert [part.tolist() for part in odeint(lambda t, y: (-y[0], y[1]), (1, 2), [3.0])] == [[1.0], [2.0]]


@pytest.mark.parametrize("keyword", ["rtool", "grid", "controller", "tape", "t_span", "t_eval"])
def test_a_keyword_that_there_is_not_is_refused_by_name_at_every_door(keyword):
    doors = (lambda **own: odeint(F, Y, T, A, **own), lambda **own: solve(F, Y, T, A, **own),
             lambda **own: pushforward(F, Y, T, A, **own), lambda **own: pullback(F, Y, T, A, Y, **own),
             lambda **own: value_and_gradients(loss, F, Y, T, A, **own), lambda **own: log_prob(F, Y, T, A, **own),
             lambda **own: hessian_vector_product(loss, F, Y, T, A, Y, A, **own), lambda **own: check_gradients(F, Y, T, A, **own),
             lambda **own: negative_log_likelihood(F, Y, T, A, **own), lambda **own: sample(F, 2, T, A, rng(), **own),
             lambda **own: Classifier(3, F, 2, **own))
    for door in doors:
        with pytest.raises(TypeError, match=f"unknown keyword '{keyword}'; known: method, rtol, .*tstops$"):
            door(**{keyword: [0.0, 1.0]})


@pytest.mark.parametrize("norm, error, message", [
    (lambda e, s: -1.0, ValueError, "norm must return a number that is not negative, not -1.0"),
    (np.linalg.norm, TypeError, r"norm must be callable as norm\(error, scale\) -> float, but says"),
    (lambda e: 1.0, TypeError, r"norm must be callable as norm\(error, scale\)"),
    (lambda e, s: np.ma.masked, TypeError, "norm must return a real number"),
    (lambda e, s: [[1.0], [1.0, 2.0]], TypeError, "norm must return a real number")])
def test_a_norm_that_is_none_is_refused(norm, error, message):
    for own in ({}, {"per_trajectory": True}, {"method": "trbdf2", "jacobian": lambda t, y: -np.eye(2) + 0 * y[..., None]}):
        with pytest.raises(error, match=message):
            odeint(decay, BATCH, T, norm=norm, **own)


def test_a_field_is_told_where_its_theta_goes_and_what_shape_its_states_have():
    for door in (odeint_euler, odeint_rk4, odeint):
        with pytest.raises(TypeError, match=r"wants its θ too: hand in theta after t, or, where none is taken, lambda t, y: "):
            door(F, Y, T)
    for method in methods:
        for y0 in (np.ones(3), np.ones((2, 1)), 1.0, (Y, Y)):
            with pytest.raises(ValueError, match=r"y0 must have shape \(..., 2\) for .*, not|y0 must be a number"):
                odeint(F, y0, T, A, method=method)

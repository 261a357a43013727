"""Appendix. What may be handed in

These are the checks of arguments, kept out of the chapters. A chapter calls one of them on a line of
its own; nobody has to read this page to understand the book. `as_x(...)` returns its argument in the
form in which the book works with it, or raises a ValueError or TypeError. The message names the
argument, what it was, and what it should have been. All of this happens before any work is done.
"""

import functools
import inspect
import numbers
import operator
import os
import reprlib
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from .fields.base import VectorField, array_like


# -- numbers and arrays ---------------------------------------------------------------------


def is_masked(value):
    """Whether an entry of an array, or of a list of arrays, is masked: NumPy would ignore the mask."""
    if isinstance(value, (list, tuple)):
        return any(is_masked(part) for part in value if not isinstance(part, (float, int, str)))
    return isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)


def as_numbers(name, value):
    """`value` as an array of numbers, perhaps infinite or NaN. Fractions become floats, other dtypes stay."""
    if is_masked(value):
        raise TypeError(f"{name} must be a plain array, not a masked one, for some of its numbers are not there")
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and all(isinstance(number, numbers.Real) for number in array.flat):
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None or array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be an array of numbers, not {reprlib.repr(value)}")
    return array


def as_floats(name, value):
    """`value` as a floating array: float32, float64, complex64 and complex128 stay, others become float64."""
    array = as_numbers(name, value)
    if array.dtype.kind == "c":
        return array if array.dtype.itemsize <= 16 else array.astype(np.complex128)
    if array.dtype == np.float32 or array.dtype == np.float64:
        return array
    with np.errstate(all="ignore"):
        return array.astype(np.float64)


def as_real_or_complex(name, value):
    """`value` as a finite floating array: float32, float64 and complex stay, others become float64."""
    array = as_floats(name, value)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity: {array}")
    return array


def as_real(name, value, shape=None):
    """`value` as a finite real array, of the given shape if there is one."""
    array = as_real_or_complex(name, value)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, not complex: derivatives here are of real functions")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    return array


def as_times(t):
    """`t` as a sorted, finite, one-dimensional float64 array of at least one time."""
    times = as_real("t", t).astype(np.float64)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"t must be a 1-D array of at least one time, not of shape {times.shape}")
    steps = times[1:] - times[:-1]
    if not ((steps >= 0).all() or (steps <= 0).all()):
        raise ValueError(f"t must be monotone, increasing or decreasing, not {times}")
    return times


def as_count(name, value):
    """`value` as a positive int; booleans are not accepted."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return int(value)


def as_positive(name, value, allow_zero=False):
    """`value` as a positive (or non-negative) finite float."""
    number = value if type(value) is float and abs(value) < np.inf else float(as_real(name, value, shape=()))
    if number < 0 or (number == 0 and not allow_zero):
        raise ValueError(f"{name} must be {'non-negative' if allow_zero else 'positive'}, not {value!r}")
    return number


def as_generator(rng):
    """`rng`, if it is a NumPy Generator: everything random in this book is drawn with one."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a NumPy Generator, np.random.default_rng(0), not {rng!r}")
    return rng


def as_pair(of, pair, answer):
    """What a function of the reader's returned, if it is a pair. An array of two numbers is not a pair."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise TypeError(f"{of} must return {pair}, not {type(answer).__name__}")
    return answer


# -- fields, and points where they are evaluated --------------------------------------------


def as_field(f, name="f"):
    """f, if it has what derivatives need: `dim`, `n_params` and the products of a field."""
    if isinstance(f, type):
        raise TypeError(f"{name} must be a VectorField, an instance and not the class {f.__name__} itself")
    for part in ("vjp", "jvp", "value_and_vjp", "dim", "n_params"):
        if not hasattr(f, part):
            raise TypeError(f"{name} must be a VectorField, with derivatives, not {type(f).__name__}, "
                            f"which has no {part}")
    return f


def has_second_derivatives(f):
    """Whether the field has a `vjp_derivative` of its own; that of VectorField only raises an error."""
    written = getattr(f, "vjp_derivative", None)
    return written is not None and getattr(written, "__func__", None) is not VectorField.vjp_derivative


def as_twice(f):
    """f, if it is a field with second derivatives of its own."""
    if not has_second_derivatives(as_field(f)):
        raise TypeError(f"f must have second derivatives, but {type(f).__name__} does not define "
                        "vjp_derivative(t, y, theta, a, w, dtheta)")
    return f


def as_point(f, y0, theta, name="y0"):
    """y0 and theta as arrays, if they fit the field f; otherwise an error says which does not."""
    y0, theta = as_real(name, y0), as_real("theta", theta, (as_field(f).n_params,))
    if y0.ndim == 0 or y0.shape[-1] != f.dim:
        raise ValueError(f"{name} must have shape (..., {f.dim}) for this field, not {y0.shape}")
    return read_only(y0), read_only(theta)


def as_states(y, f):
    """`y` as an array (..., d) of states of the field f; whole numbers become float64."""
    y = as_numbers("y", y)
    y = y.astype(np.float64) if y.dtype.kind in "biu" else y
    if y.shape[-1:] != (f.dim,):
        raise ValueError(f"y must have shape (..., {f.dim}) for {f!r}, not {y.shape}")
    return y


def as_clock(t, y):
    """The time t, a number or of the batch's shape, in the precision of the states y; complex if t is."""
    t = as_numbers("t", t)
    if t.shape not in ((), y.shape[:-1]):
        raise ValueError(f"t must be a number or have the batch's shape {y.shape[:-1]}, not {t.shape}")
    return t.astype(np.result_type(y, 1j) if t.dtype.kind == "c" else y.dtype)


def as_theta(theta, f):
    """`theta` as an array (p,) of parameters of the field f."""
    theta = as_numbers("theta", theta)
    if theta.shape != (f.n_params,):
        raise ValueError(f"theta must have shape ({f.n_params},) for {f!r}, not {theta.shape}")
    return theta


def as_arguments(f, y, theta):
    """y (..., d) and theta (p,) as floating arrays of shapes that fit the field f."""
    y, theta = (as_floats(name, x) for name, x in (("y", y), ("theta", theta)))
    if y.shape[-1:] != (f.dim,) or theta.shape != (f.n_params,):
        raise ValueError(f"y and theta must have shapes (..., {f.dim}) and ({f.n_params},), "
                         f"not {y.shape} and {theta.shape}")
    return y, theta


def as_point_of_field(f, t, y, theta):
    """t, a number or of the batch's shape, y (..., d) and theta (p,) as arrays; quick inside a solve."""
    if type(y) is type(theta) is np.ndarray and y.dtype.kind in "fc" and theta.dtype.kind in "fc":
        if type(t) is float and y.shape[-1:] == (f.dim,) and theta.shape == (f.n_params,):
            return t, y, theta
    y, theta = as_arguments(f, y, theta)
    t = as_floats("t", t)[()]
    if t.shape not in ((), y.shape[:-1]):
        raise ValueError(f"t must be a number or have the batch's shape {y.shape[:-1]}, not {t.shape}")
    return t, y, theta


def on_arrays(kind):
    """A class decorator: a field's methods then take lists too, and refuse what does not fit."""
    def at_point(method):
        return lambda self, t, y, theta: method(self, *as_point_of_field(self, t, y, theta))

    def value_and_vjp(method):
        def value_and_vjp(self, t, y, theta):
            value, vjp = method(self, *as_point_of_field(self, t, y, theta))
            return value, lambda a: vjp(as_factor("a", a, value.shape))
        return value_and_vjp

    def vjp(method):
        def vjp(self, t, y, theta, a):
            t, y, theta = as_point_of_field(self, t, y, theta)
            return method(self, t, y, theta, as_factor("a", a, y.shape))
        return vjp

    def jvp(method):
        def jvp(self, t, y, theta, w, dtheta):
            t, y, theta = as_point_of_field(self, t, y, theta)
            return method(self, t, y, theta, as_factor("w", w, y.shape), as_factor("dtheta", dtheta, theta.shape))
        return jvp

    def vjp_derivative(method):
        def vjp_derivative(self, t, y, theta, a, w, dtheta):
            t, y, theta = as_point_of_field(self, t, y, theta)
            a, w = as_factor("a", a, y.shape), as_factor("w", w, y.shape)
            return method(self, t, y, theta, a, w, as_factor("dtheta", dtheta, theta.shape))
        return vjp_derivative

    points = dict.fromkeys(("__call__", "jacobian", "param_jacobian", "time_derivative"), at_point)
    products = {"value_and_vjp": value_and_vjp, "vjp": vjp, "jvp": jvp, "vjp_derivative": vjp_derivative}
    for name, wrap in (points | products).items():
        method, of_all = vars(kind).get(name, getattr(VectorField, name)), getattr(VectorField, name)
        if method is not of_all or name in ("vjp", "jvp") and getattr(kind, name) is of_all:
            setattr(kind, name, functools.wraps(method)(wrap(method)))
    return kind


def as_factor(name, x, shape):
    """The tangent or cotangent x, by which a Jacobian is multiplied, as an array of this shape."""
    if type(x) is np.ndarray and x.shape == shape and x.dtype.kind in "fc":
        return x
    return array_like(name, as_floats(name, x), shape)


def as_architecture(widths, names, known):
    """The widths and the activations' names of a network as two lists."""
    if isinstance(names, str):
        raise TypeError(f"activations must be a list of names, one per layer, not the string {names!r}")
    try:
        widths, names = [operator.index(n) for n in widths], list(names)
    except TypeError:
        raise TypeError("widths must be a list of integers and activations a list of names, "
                        f"not {widths!r} and {names!r}") from None
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must list at least two positive layer sizes, not {widths}")
    if widths[0] - widths[-1] not in (0, 1):
        raise ValueError(
            f"widths[0] must be widths[-1] + 1 (t in front of y) or widths[-1] (autonomous); "
            f"got {widths[0]} and {widths[-1]}")
    if len(names) != len(widths) - 1:
        raise ValueError(f"activations must name one per layer: {len(widths) - 1}, not {len(names)}")
    for name in names:
        if name not in known:
            raise ValueError(f"unknown activation {name!r}; known: {', '.join(known)}")
    return widths, names


# -- what a solver is given -----------------------------------------------------------------


def as_velocity(name, f, theta=None):
    """A function of t and y alone: f itself, or f(t, y, theta) with its theta."""
    arguments = "(t, y)" if theta is None else "(t, y, theta)"
    if isinstance(f, type) or not callable(f):
        got = f"the class {f.__name__} itself" if isinstance(f, type) else type(f).__name__
        raise TypeError(f"{name} must be callable as {name}{arguments}, not {got}")
    if theta is None:
        if hasattr(f, "param_jacobian"):
            raise TypeError(f"{name} must be callable as {name}(t, y), but it is a VectorField and wants its θ too: "
                            f"hand in theta after t, or, where none is taken, lambda t, y: {name}(t, y, theta)")
        return f
    theta = as_real_or_complex("theta", theta)
    if hasattr(f, "n_params"):
        theta = as_theta(theta, f)
    theta = read_only(theta)
    return lambda t, y: f(t, y, theta)


def check_dim(f, theta, shapes):
    """ValueError if f is a field, but y0 is not an array of its states."""
    if theta is not None and hasattr(f, "param_jacobian") and (len(shapes) > 1 or shapes[0][-1:] != (f.dim,)):
        got = shapes[0] if len(shapes) == 1 else f"a tuple of shapes {shapes}"
        raise ValueError(f"y0 must have shape (..., {f.dim}) for {f!r}, not {got}")


def as_parts(y0):
    """The parts of the state y0, an array or a tuple of arrays, as finite arrays."""
    parts = [as_real_or_complex("y0", part) for part in (y0 if isinstance(y0, tuple) else (y0,))]
    if sum(part.size for part in parts) == 0:
        raise ValueError("y0 must have at least one component, but it is empty")
    return parts


def check_order(velocity, y0, t):
    """TypeError if y0 seems to be the span of times in SciPy's order, solve_ivp(f, (t0, t1), y0)."""
    if not (isinstance(y0, tuple) and len(y0) == 2 and all(type(part) in (int, float, np.float64) for part in y0)):
        return
    message = (f"y0 = {y0!r} and t = {reprlib.repr(t)}: is this SciPy's order, solve_ivp(f, (t0, t1), y0)? Here it is "
               "solve(f, y0, t). For a state of two numbers write a list, or let f take and return a tuple of two")
    y, times = tuple(np.array(float(part)) for part in y0), as_real("t", t)
    try:
        with np.errstate(all="ignore"):
            answer = velocity(float(times.flat[0]), y) if times.size else y
    except (AttributeError, IndexError, TypeError, ValueError) as error:      # f expects an array
        raise TypeError(message) from error
    returns_y = answer is y and times.size <= 2              # lambda t, y: y does so by accident
    if not isinstance(answer, tuple) or len(answer) != 2 or returns_y:
        raise TypeError(message)


def check_velocity(values, shapes, dtype, is_tuple):
    """The values of f as arrays, if they have the shapes of the state, and are real for a real state."""
    if is_tuple and not (isinstance(values, tuple) and len(values) == len(shapes)):
        got = f"a tuple of {len(values)}" if isinstance(values, tuple) else type(values).__name__
        raise TypeError(f"f must return a tuple of {len(shapes)} arrays like y0, not {got}")
    arrays = []
    for part, shape in zip(values, shapes):
        if part is None:
            raise ValueError(f"f must return the shape of y, {shape}, not None")
        part = as_numbers("what f returns", part)
        if part.shape != shape:
            raise ValueError(f"f must return the shape of y, {shape}, not {part.shape}")
        if part.dtype.kind == "c" and dtype.kind != "c":
            raise TypeError("f returned complex values for a real state; make y0 complex to solve it so")
        arrays.append(part)
    return arrays


def size_by(norm, error, scale):
    """norm(error, scale), by the reader's own norm, as a float; infinite or NaN if the error is."""
    try:
        value = norm(error, scale)
    except (TypeError, ValueError) as problem:               # np.linalg.norm, for one, takes no scale
        raise TypeError(f"norm must be callable as norm(error, scale) -> float, but says: {problem}") from problem
    try:
        size = np.asarray(None if is_masked(value) else value)
    except ValueError:
        size = np.asarray(None)
    if size.ndim or size.dtype.kind not in "iuf":
        raise TypeError(f"norm must return a real number, not {value!r}")
    if size < 0:
        raise ValueError(f"norm must return a number that is not negative, not {value!r}: every step would pass")
    return float(size)


# -- tables of Runge–Kutta methods ----------------------------------------------------------


def as_rows(tableau):
    """The rows of a table as tuples of numbers, by name, if their number and lengths are right."""
    def refuse(message):
        raise ValueError(f"tableau {tableau.name!r}: {message}")
    if not isinstance(tableau.A, (list, tuple, np.ndarray)):
        refuse(f"A must be a list of rows, not {tableau.A!r}")
    for name in ("order", "embedded_order"):
        value = getattr(tableau, name)
        is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value > 0
        if not is_whole and (name, value) != ("embedded_order", None):
            refuse(f"{name} must be a positive integer, not {value!r}")
    if tableau.b_hat is None and tableau.embedded_order is not None:
        refuse("embedded_order is for a b_hat")
    if tableau.b is None:
        refuse("b must be a row of numbers, not None")
    rows = {name: as_row(getattr(tableau, name)) for name in ("b", "c", "b_hat", "b_hat_3")
            if getattr(tableau, name) is not None}
    rows["b_hat_0"], = as_row([tableau.b_hat_0])
    for name in ("A", "dense", "dense_A"):
        if getattr(tableau, name) is not None:
            rows[name] = tuple(as_row(row) for row in getattr(tableau, name))
    s = len(rows["b"])
    if len(rows["A"]) != s or any(len(row) > s for row in rows["A"]):
        refuse(f"A has rows of {[len(row) for row in rows['A']]} numbers, b has {s}")
    return rows


def as_row(row):
    """A row of a table as a tuple: fractions if they are exact, floats if they are not."""
    try:
        if is_masked(row):
            raise TypeError
        entries = row.split() if isinstance(row, str) else row
        return tuple(float(x) if isinstance(x, (float, np.floating)) else Fraction(x) for x in entries)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"a row of a tableau must hold numbers, such as '3/40 9/40', not {row!r}") from None


def as_times_between(first, last, t):
    """`t` as a float64 array of any shape, if all its times lie between the two ends of a solve."""
    times = as_real("t", t).astype(np.float64)
    if times.size and not min(first, last) <= times.min() <= times.max() <= max(first, last):
        raise ValueError(f"t must lie between {first} and {last}, not {times}")
    return times


def as_stops(tstops, f):
    """All times (m,) at which f jumps, in any order: `tstops`, and those that the field f itself has."""
    stops = np.empty(0) if tstops is None else as_real("tstops", tstops).astype(np.float64)
    if stops.ndim != 1:
        raise ValueError(f"tstops must be a list of times, of one axis, not of shape {stops.shape}")
    return np.concatenate([stops, getattr(f, "tstops", ())])


def as_rows_velocity(f):
    """f(t, y) for times (m,) and states (m, d), which f cannot change; its values are checked and copied."""
    def velocity(t, y):
        value, = check_velocity((f(read_only(t), read_only(y)),), [y.shape], y.dtype, False)
        return np.array(value, y.dtype)
    return velocity


def check_rows_velocity(f, t, y, end):
    """ValueError if f gives a batch y (B, d) with times (B,) other values than each of its rows alone.

    At t all times are equal, so f is evaluated at different times between t and the end of the solve.
    """
    def call(t, y, theta):
        return f(np.reshape(t, (-1,)), y.reshape(-1, y.shape[-1])).reshape(y.shape)

    with np.errstate(all="ignore"):
        at_once("f", call, t + (end - t) * np.linspace(0.0, 0.61, len(t)), y, None, y.shape[1:])


# -- calls for many states at once ----------------------------------------------------------


def read_only(x):
    """A view of the array x that cannot be written into."""
    view = x.view()
    view.flags.writeable = False
    return view


def at_once(name, call, t, y, theta, shape, *more):
    """call(t, y, theta, *more) for states (*lead, *shape) at times t; ValueError if it cannot take them so.

    The answer for the last state is compared with that for this state alone. If times of this shape could be
    broadcast over the components of a state unnoticed, the first state is compared too. For a vjp, which sums
    over the states, the sum over these two is compared.
    """
    states, lead = [read_only(x) for x in (y, *more)], t.shape[:t.ndim - len(shape) + 1]
    rule = (f"{name} must answer several states at once, each at its own time, as it answers each alone (write "
            f"t[..., None] beside y, y[..., 0] for y[0], axis=-1 in a sum): for t {t.shape} and y {y.shape}")
    both = t.shape[-1:] == shape[-1:] or name == "vjp"
    ends = [*dict.fromkeys([tuple(n - 1 for n in lead), *[(0,) * len(lead)] * both])] if t.size else []

    def alone(factor=1.0):
        ones = [(float(t[i].flat[0]) * factor, [x[i] * factor for x in states]) for i in ends]
        return [as_arrays(call(time, one[0], theta, *one[1:])) for time, one in ones]

    right_ones = alone()
    try:
        answer = call(t, states[0], theta, *states[1:])
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{rule} it raised {type(error).__name__}: {error}") from error
    got = as_arrays(answer)
    for i, right in zip(ends, right_ones):
        if got[0].shape != lead + right[0].shape:
            raise ValueError(f"{rule} the answer must have shape {lead + right[0].shape}, not {got[0].shape}")
        check_alike(rule, got[0][i], right[0], lambda: alone(1.0 + 1e5 * precision(right[0]))[ends.index(i)][0])
    if name == "vjp" and ends:
        t_2, y_2, a_2 = (np.stack([x[i] for i in ends]) for x in (t, *states))
        check_alike(rule, call(t_2, y_2, theta, a_2)[1], sum(right[1] for right in right_ones),
                    lambda: sum(right[1] for right in alone(1.0 + 1e5 * precision(a_2))))
    return answer


def check_alike(rule, got, right, moved):
    """ValueError if `got` is not `right`. moved(), at slightly moved arguments, shows what rounding does."""
    difference = np.abs(got - right).max(initial=0.0)
    if difference <= np.sqrt(precision(right)) * np.abs(right).max(initial=0.0) or np.array_equal(got, right, True):
        return
    if not difference <= np.abs(moved() - right).max():
        i = np.unravel_index(np.argmax(np.nan_to_num(np.abs(got - right), nan=np.inf)), right.shape)
        raise ValueError(f"{rule} an entry of the answer is {got[i]:.6g}, and alone {right[i]:.6g}")


def precision(x):
    """The machine epsilon of the numbers in x."""
    return np.finfo(np.result_type(x, np.float32)).eps


def as_arrays(answer):
    """An answer as a list of new arrays; a vjp has two."""
    return [np.array(part) for part in (answer if isinstance(answer, tuple) else (answer,))]


# -- the keywords of a solve ----------------------------------------------------------------


def as_options(kind, keywords):
    """The keywords of `solve` as a record of this kind; a TypeError lists those that exist."""
    check_keywords(keywords, kind._fields)
    return kind(**keywords)


def with_keywords_of(kind):
    """For a function(..., **options): `help` then shows the fields of this record, with their defaults."""
    def with_keywords(function):
        signature, keyword = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
        own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
        more = [inspect.Parameter(name, keyword, default=default) for name, default in kind._field_defaults.items()]
        function.__signature__ = signature.replace(parameters=own + more)
        return function
    return with_keywords


def check_keywords(keywords, known):
    """TypeError if one of these is not a keyword of `solve`."""
    for name in keywords:
        if name not in known:
            raise TypeError(f"unknown keyword {name!r}; known: {', '.join(known)}")


def tolerances_like(name, value, y0):
    """rtol or atol for a state y0: a number, or a list with an array for y0, or for each part of a tuple."""
    is_tuple, is_for_parts = isinstance(y0, tuple), isinstance(y0, tuple) and isinstance(value, tuple)
    shapes = [np.shape(part) for part in (y0 if is_tuple else (y0,))]
    arrays = [as_real(name, part) for part in (value if is_for_parts else (value,))]
    if any((array < 0).any() for array in arrays):
        raise ValueError(f"{name} must be non-negative, not {value!r}")
    if not is_for_parts and arrays[0].ndim == 0:
        return float(arrays[0])
    if len(arrays) != len(shapes) or is_tuple != is_for_parts:
        raise ValueError(f"{name} must be a number, or a tuple of {len(shapes)} numbers or arrays, one for each part of "
                         f"the state, not {reprlib.repr(value)}")
    return [spread(name, array, shape) for array, shape in zip(arrays, shapes)]


def spread(name, array, shape):
    """The array broadcast to this shape by NumPy's rules; ValueError if it does not fit."""
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} must be a number, or an array that fits the shape of y, {shape}, "
                         f"not {array.shape}") from None


def tolerances_of_parts(keywords, y, n_like, n_others=0):
    """The keywords for a state with n_like parts like y and n_others other parts, if rtol or atol are like y.

    Each part like y gets such an array. Each other part gets its smallest entry.
    """
    found = {name: tolerances_like(name, keywords[name], y) for name in ("rtol", "atol") if name in keywords}
    return keywords | {name: x if isinstance(x, float) else (x[0],) * n_like + (float(x[0].min()),) * n_others
                       for name, x in found.items()}


def as_tolerance(name, value, problem):
    """rtol or atol as the solvers use it: a number, or an array (n,), one for each component of y."""
    if type(value) is float and 0 <= value < np.inf:
        return value
    found = tolerances_like(name, value, problem.unflatten(problem.y))
    if isinstance(found, float):
        return found
    with np.errstate(all="ignore"):
        return np.concatenate([array.ravel() for array in found]).astype(problem.y.real.dtype)


def as_max_step(value, t, is_adaptive):
    """`max_step` as a positive float, infinite if there is none. Only methods that choose steps have one."""
    if type(value) is float and value == np.inf or np.array_equal(as_floats("max_step", value), np.inf):
        return np.inf
    number, least = as_positive("max_step", value), 10 * np.spacing(np.abs(t).max())
    if not is_adaptive:
        raise ValueError("max_step is for adaptive methods; give step_size to one of fixed steps")
    if number < least:
        raise ValueError(f"max_step must be at least ten spacings of the numbers at t, {least:.1e}, not {value!r}")
    return number


def check_options(options, problem, is_adaptive):
    """The options of a solve, each in the form that the solvers use."""
    rtol, atol = (as_tolerance(name, getattr(options, name), problem) for name in ("rtol", "atol"))
    has_0 = atol == 0 if isinstance(atol, float) else (atol == 0).any()
    if has_0 and np.any((rtol == 0) & (atol == 0)):
        raise ValueError("rtol and atol must not both be 0")
    max_steps = as_count("max_steps", options.max_steps)
    if options.norm is not None and not callable(options.norm):
        raise TypeError(f"norm must be callable as norm(error, scale), not {type(options.norm).__name__}")
    if is_adaptive and has_0 and np.any((atol == 0) & (problem.y == 0)):
        raise ValueError("atol must be positive where a component of y0 is 0")
    step_size, first_step = options.step_size, options.first_step
    if step_size is not None:
        step_size = as_positive("step_size", step_size)
    if first_step is not None:
        if not is_adaptive:
            raise ValueError("first_step is for adaptive methods; give step_size to one of fixed steps")
        first_step = as_positive("first_step", first_step)
    return options._replace(rtol=rtol, atol=atol, max_steps=max_steps, step_size=step_size, first_step=first_step,
                            max_step=as_max_step(options.max_step, problem.t, is_adaptive))


def check_precision(options, y, method, is_adaptive):
    """ValueError if rtol and atol are so small that an implicit method cannot tell errors from rounding."""
    if not is_adaptive or method.is_explicit or y.real.dtype != np.float32:
        return
    size, least, rtol = np.abs(y).max(), 1e3 * np.finfo(y.dtype).eps, np.asarray(options.rtol)
    is_less = (rtol < least) & ~((options.atol >= least * size) & (size > 0))
    if is_less.any():
        raise ValueError(f"rtol must be at least {least:.1e} for {method.name} and a {y.dtype} y0, not "
                         f"{np.where(is_less, rtol, np.inf).min():.3g}: smaller errors drown in its rounding; or hand in "
                         "y0 as float64")


def check_reversible(method, is_tableau, coupling):
    """The coupling of `reversible(method)`, if the method is an explicit table and the coupling usable."""
    if not is_tableau or not method.is_explicit:
        raise ValueError(f"reversible() takes an explicit Runge–Kutta method, not {method.name!r}")
    coupling = as_positive("coupling", coupling)
    if coupling > 1:
        raise ValueError(f"coupling must be at most 1, not {coupling}")
    return coupling


def check_trajectories(y0, method, is_fit):
    """ValueError if the trajectories of y0 cannot take steps of their own, or not by this method."""
    if not is_fit:
        raise ValueError("per_trajectory needs an adaptive explicit method without step_size, "
                         f"such as dopri5; got {method.name}")
    if isinstance(y0, tuple) or np.ndim(y0) != 2:
        raise ValueError("per_trajectory needs y0 of shape (B, d), not "
                         f"{'a tuple' if isinstance(y0, tuple) else np.shape(y0)}")


def as_jacobian(jacobian, f, y0, theta, problem, tableau):
    """f_y (B, d, d) as a function of t and a flat state, by `jacobian` or the field f, or None."""
    if isinstance(y0, tuple) or not np.shape(y0):
        raise ValueError(f"{tableau.name} is implicit and takes an array state (..., d), not "
                         f"{'a tuple' if isinstance(y0, tuple) else 'a number'}")
    if jacobian is None and (theta is None or not has_jacobian(f)):
        return None
    if jacobian is None:
        theta = as_real_or_complex("theta", theta)

        def jacobian(t, y):
            return f.jacobian(t, y, theta)
    if not callable(jacobian):
        raise TypeError(f"jacobian must be callable as jacobian(t, y) -> (..., d, d), not {type(jacobian).__name__}")
    shape, stats = np.shape(y0), problem.stats
    expected = (*shape, shape[-1])

    def flat_jacobian(t, y):
        stats.n_jac += 1
        f_y = np.array(as_floats("what jacobian returns", jacobian(t, y.reshape(shape))))
        if f_y.shape != expected:
            raise ValueError(f"jacobian must return shape {expected}, not {f_y.shape}")
        if np.iscomplexobj(f_y) and problem.y.dtype.kind != "c":
            raise TypeError("jacobian returned complex values for a real state; make y0 complex to solve it so")
        f_y = f_y.astype(np.result_type(f_y, problem.y))     # whole numbers as floats, complex if y is
        return f_y.reshape(-1, shape[-1], shape[-1])
    with np.errstate(all="ignore"):
        flat_jacobian(float(problem.t[0]), problem.y)        # checks its shape before any work
    return flat_jacobian


def has_jacobian(f):
    """Whether f has a jacobian of its own; that of VectorField only raises an error."""
    written = getattr(getattr(f, "without_clock", f), "jacobian", None)
    return written is not None and getattr(written, "__func__", None) is not VectorField.jacobian


def as_progress(progress, t):
    """report(t_reached), which calls `progress` with the fraction of the span t that is done, or None."""
    if progress is None or progress is False:
        return None
    if progress is not True and not callable(progress):
        raise TypeError("progress must be True or callable as progress(fraction), "
                        f"not {type(progress).__name__}")
    show = line_on_stderr if progress is True else progress
    return lambda reached: show(float(np.min(np.abs(reached - t[0]))) / abs(t[-1] - t[0]))


def is_terminal(stream):
    """Whether a stream is a terminal. Without a console there may be no stream at all."""
    return stream is not None and stream.isatty()


def in_letters_of(stream, text):
    """The text as the stream can show it: letters that it cannot encode are replaced."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return text.replace("θ", "theta").replace("Δ", "d").encode(encoding, "replace").decode(encoding)


def line_on_stderr(fraction):
    """Draw the fraction in the place of the last one, if stderr is a terminal."""
    if is_terminal(sys.stderr):
        print(f"\rsolving: {fraction:6.1%}", end="\n" if fraction == 1 else "", file=sys.stderr, flush=True)


# -- derivatives of a solve -----------------------------------------------------------------


def check_pushforward(method, solver, keywords, w0=None):
    """ValueError or TypeError if this method and keywords cannot solve y and its tangent as one state."""
    check_keywords(solver, keywords)
    if w0 is not None:
        check_absolute(solver, method, "pushforward, whose tangent w has components that begin at 0", "a small one", w0)
    if solver.get("per_trajectory"):
        raise ValueError("pushforward solves y and w as one state, and takes methods with joint steps, "
                         f"not per_trajectory; got {method.name!r}")


def as_cotangent(cotangent, whole, last):
    """The cotangent of the states, of the shape of ys or of y0."""
    weights = as_real("cotangent", cotangent)
    if weights.shape not in (last, whole):
        raise ValueError(f"cotangent must have the shape of ys, {whole}, or of y0, {last}, "
                         f"not {weights.shape}")
    return weights


def check_flag(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r}")


def check_loss(loss, form):
    if not callable(loss):
        raise TypeError(f"loss must be callable as {form}, not {type(loss).__name__}")


def as_loss_value(answer, expected):
    """What a loss returned, if it is the expected tuple and begins with a finite number."""
    if not isinstance(answer, tuple) or len(answer) != expected.count(",") + 1:
        got = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
        raise TypeError(f"loss must return {expected}, not {got}")
    L = as_real("L, what loss returns first,", answer[0], ())
    return (answer[0] if isinstance(answer[0], float) else L[()], *answer[1:])


def check_route(gradient, routes, method, is_tableau, solver, backward, keywords, find_method, y0, t, theta):
    """The options of the backward solve, or {} without one; ValueError if route and method do not fit."""
    check_keywords(solver, keywords)
    if not isinstance(gradient, str) or gradient not in routes:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(routes)}")
    if is_tableau and not method.is_explicit and gradient not in ("discrete", "checkpoint"):
        raise ValueError(f"gradient={gradient!r} does not go through {method.name}: an implicit method has "
                         "gradient='discrete' and 'checkpoint'")
    if gradient == "reversible" and is_tableau:
        raise ValueError("gradient='reversible' needs a reversible method, such as reversible('rk4'), "
                         f"not {method.name!r}")
    if gradient == "checkpoint" and not is_tableau:
        raise ValueError("gradient='checkpoint' is for Runge–Kutta methods; "
                         f"{method.name} has gradient='reversible'")
    if solver.get("per_trajectory") and gradient != "discrete":
        raise ValueError(f"per_trajectory goes with gradient='discrete', not {gradient!r}")
    solves_backwards = gradient in ("backsolve", "interpolate")
    if backward is not None:
        check_backward(backward, gradient, solves_backwards, method, keywords, find_method)
    if not solves_backwards:
        return {}
    own = {name: value for name, value in solver.items() if name not in ("method", "norm", "first_step", "progress")}
    return as_backward(own | {"method": method}, backward or {}, gradient, find_method, y0, t, theta)


def as_backward(own, backward, gradient, find_method, y0, t, theta):
    """The keywords of the backward solve: those of the forward solve, `own`, and over them `backward`."""
    back, n_like = own | backward, 2 if gradient == "backsolve" else 1
    method = find_method(back["method"])
    is_adaptive = chooses_steps(method, back.get("step_size"))
    if not is_adaptive and "max_step" not in backward:
        back.pop("max_step", None)
    as_max_step(back.get("max_step", np.inf), t, is_adaptive)
    of_parts = {name: tolerances_like(name, value, (*(y0,) * n_like, theta)) for name, value in backward.items()
                if name in ("rtol", "atol") and isinstance(value, tuple)}
    back = tolerances_of_parts({name: value for name, value in back.items() if name not in of_parts}, y0, n_like, 1)
    back |= {name: tuple(values) for name, values in of_parts.items()}
    check_absolute(back, method, f"gradient={gradient!r}, whose backward solve begins with b = 0",
                   "backward=dict(atol=1e-9)")
    return back


def chooses_steps(method, step_size=None):
    """Whether a solve by this method, and with this step_size, chooses its steps to meet tolerances."""
    return getattr(method, "b_hat", None) is not None and step_size is None


def check_absolute(solver, method, what, remedy, begin=0.0):
    """ValueError if atol is 0 in an adaptive solve to which the package adds a part that begins at 0.

    `begin` is the initial value of that part, if some of it is not 0.
    """
    atol = solver.get("atol", 1.0)
    if np.ndim(begin):
        atol = np.where(begin == 0, tolerances_like("atol", atol, begin), 1.0)
    parts = [as_real("atol", part) for part in (atol if isinstance(atol, tuple) else (atol,))]
    if chooses_steps(method, solver.get("step_size")) and any((part == 0).any() for part in parts):
        raise ValueError(f"atol must be positive for {what}: give {remedy}")


def check_backward(backward, gradient, solves_backwards, method, keywords, find_method):
    if not solves_backwards:
        raise ValueError("backward is for gradient='backsolve' or 'interpolate', which solve backwards, "
                         f"not {gradient!r}")
    if not isinstance(backward, dict):
        raise TypeError(f"backward must be a dict of keywords of solve, not {type(backward).__name__}")
    for name in backward:
        if name not in keywords:
            raise ValueError(f"unknown keyword {name!r} in backward; known: {', '.join(keywords)}")
    back = find_method(backward.get("method", method))
    if backward.get("per_trajectory") or not getattr(back, "is_explicit", True):
        got = "per_trajectory" if backward.get("per_trajectory") else back.name
        raise ValueError("backward solves y, a and b as one state, and takes explicit and "
                         f"reversible methods with joint steps, not {got}")


def check_second(method, is_tableau, solver, keywords):
    check_keywords(solver, keywords)
    if solver.get("tstops") is not None:
        raise ValueError("hessian_vector_product takes no tstops: call it for each of the legs between them")
    if not is_tableau or not method.is_explicit or solver.get("per_trajectory"):
        raise ValueError("hessian_vector_product takes an explicit Runge–Kutta method with joint steps, "
                         f"not {method.name!r}")


# -- events ---------------------------------------------------------------------------------


def as_event(event, f, y0, options):
    """The direction of the event, −1, 0 or 1; ValueError or TypeError if it cannot end this solve."""
    if isinstance(event, type) or not callable(event):
        got = f"the class {event.__name__} itself" if isinstance(event, type) else f"a {type(event).__name__}"
        raise TypeError(f"event must be one Event, or another function event(t, y, theta) -> float, not {got}")
    direction = getattr(event, "direction", 0)
    if not isinstance(direction, numbers.Real) or direction not in (-1, 0, 1):
        raise ValueError(f"event.direction must be 0, 1 (rising) or -1 (falling), not {direction!r}")
    if isinstance(y0, tuple) or as_real("y0 of a solve with an event", y0).ndim != 1:
        raise ValueError("event needs one trajectory, y0 of shape (d,), not "
                         f"{'a tuple' if isinstance(y0, tuple) else np.shape(y0)}")
    if options.get("per_trajectory"):
        raise ValueError("event does not go with per_trajectory: solve for each trajectory by itself")
    if as_stops(options.get("tstops"), f).size:
        raise ValueError("event does not go with tstops, nor with a field that has some: solve leg by leg")
    return int(direction)


def as_event_value(value):
    """What an event returned, as a float; TypeError or ValueError if it is no real number."""
    if type(value) is float:
        return value
    value = as_numbers("what event returns", value)
    if value.dtype.kind == "c":
        raise TypeError("event must return a real number, not a complex one")
    if value.shape != ():
        raise ValueError(f"event must return a number, not an array of shape {value.shape}")
    return float(value)


def as_event_gradient(answer, y_shape, theta_shape):
    """(g_t, g_y, g_theta) from event.gradient, if they have their shapes."""
    if not isinstance(answer, tuple) or len(answer) != 3:
        got = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
        raise TypeError(f"event.gradient must return (g_t, g_y, g_theta), not {got}")
    shapes = {"g_t": (), "g_y": y_shape, "g_theta": theta_shape}
    return tuple(as_real(f"{name} of event.gradient", part, shape) for part, (name, shape) in zip(answer, shapes.items()))


def check_event_gradient(event):
    """TypeError if the event has no gradient."""
    if not callable(getattr(event, "gradient", None)):
        raise TypeError("event must have gradient(t, y, theta) -> (g_t, g_y, g_theta) to be differentiated, "
                        f"but {type(event).__name__} has none")


def check_event_route(event, gradient, method, is_tableau):
    """ValueError or TypeError if this route cannot lead back from an event."""
    check_event_gradient(event)
    if gradient not in ("discrete", "checkpoint", "backsolve"):
        raise ValueError(f"event goes with gradient='discrete', 'checkpoint' or 'backsolve', not {gradient!r}")
    if not is_tableau and gradient != "backsolve":
        raise ValueError(f"event goes with gradient='backsolve' for the reversible method {method.name}, not {gradient!r}")


def as_loss_at_event(answer, shape, t_event):
    """(L, dL_dys, dL_dt_event) from loss(ys, t_event); without an event the last must be 0 or None."""
    L, dL_dys, dL_dt_event = as_loss_value(answer, "(L, dL_dys, dL_dt_event)")
    dL_dt_event = as_real("dL_dt_event", 0.0 if dL_dt_event is None and t_event is None else dL_dt_event, ())
    if t_event is None and dL_dt_event != 0:
        raise ValueError(f"dL_dt_event must be 0 or None if no event came and t_event is None, not {dL_dt_event}")
    return L, as_real("dL_dys", dL_dys, shape), dL_dt_event


# -- checks of derivatives ------------------------------------------------------------------


def as_float64_point(f, y, theta, name):
    """`as_point` in float64, because differences of float32 numbers have few digits."""
    return [x.astype(np.float64, copy=False) for x in as_point(f, y, theta, name)]


def as_check_point(f, t, y, theta, name="y"):
    """t, y and theta in float64, if they are a time, at least one state, and parameters of the field f."""
    (y, theta), t = as_float64_point(f, y, theta, name), as_real("t", t)[()]
    if not y.size:
        raise ValueError(f"{name} must hold at least one state, but has shape {y.shape}")
    if np.shape(t) not in ((), y.shape[:-1]):
        raise ValueError(f"t must be a number or have the batch's shape {y.shape[:-1]}, not {np.shape(t)}")
    return t, y, theta


# -- training, and files --------------------------------------------------------------------


def as_step(theta, gradient, state, n_parts, **numbers):
    """theta and the gradient as arrays, if an optimiser whose state has n_parts can take a step with them."""
    theta = as_real("theta", theta)
    gradient = as_real("gradient", gradient, theta.shape)
    if state is not None and not (isinstance(state, tuple) and len(state) == n_parts
                                  and all(np.shape(part) in (theta.shape, ()) for part in state)):
        raise ValueError(f"state must be None or what the step before returned for this theta, not {state!r}")
    for name, value in numbers.items():
        number = as_positive(name, value, allow_zero=True)
        if number >= 1.0 and name not in ("learning_rate", "epsilon"):
            raise ValueError(f"{name} must be less than 1, not {value!r}")
        if number == 0.0 and name == "epsilon":
            raise ValueError("epsilon must be positive, not 0: a component that never moved would be 0/0")
    return theta, gradient


def as_new_theta(theta, squares=0.0):
    """The θ after a step; ValueError if it, or an average of squares of gradients, is infinite or NaN."""
    as_real("gradient**2", squares)
    return as_real("the new theta", theta)


def as_parameters(theta):
    """A copy (p,) of `theta` in float64, from which a fit can start."""
    theta = as_real("theta", theta).astype(np.float64)
    if theta.ndim != 1:
        raise ValueError(f"theta must have shape (p,), not {theta.shape}")
    return theta


def check_training(objective, optimiser, n_steps, learning_rate, weight_decay, largest_gradient, give_up, counter,
                   progress):
    """ValueError or TypeError if one of these arguments of `fit` cannot be used."""
    for name, function in {"objective": objective, "optimiser": optimiser}.items():
        if not callable(function):
            raise TypeError(f"{name} must be callable, not {function!r}")
    as_count("n_steps", n_steps)
    if not callable(learning_rate):
        as_positive("learning_rate", learning_rate)
    as_positive("weight_decay", weight_decay, allow_zero=True)
    if largest_gradient is not None:
        as_positive("largest_gradient", largest_gradient)
    as_positive("give_up", give_up)
    if counter is not None and not hasattr(counter, "n_f"):
        raise TypeError(f"counter must have an n_f that counts, such as Counted(field), not {counter!r}")
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, False, None or callable, not {progress!r}")


def check_validation(validate, validate_every, n_steps, patience):
    """ValueError or TypeError if a fit cannot be validated so, or would end before its first validation."""
    as_count("validate_every", validate_every)
    if patience is not None:
        as_count("patience", patience)
    if validate is None:
        return
    if not callable(validate):
        raise TypeError(f"validate must be callable, not {validate!r}")
    for name, steps in {"n_steps": n_steps, "patience": patience}.items():
        if steps is not None and steps < validate_every:
            raise ValueError(f"{name} = {steps} would end the fit before a validation, every {validate_every} steps")


def check_data(data, batch_size, seed):
    """ValueError or TypeError if batches of this size cannot be drawn from the data."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer from 0 on, not {seed!r}")
    if batch_size is not None:
        as_count("batch_size", batch_size)
    if isinstance(data, list) and data and isinstance(data[0], np.ndarray) and data[0].ndim:
        raise TypeError("data must be a tuple of arrays, not a list of them: give tuple(data)")
    if data is None or callable(data):
        if batch_size is not None:
            raise ValueError(f"batch_size = {batch_size} is for data in arrays")
        return
    if is_masked(data):
        raise TypeError("data must be plain arrays, not masked ones: leave out rows whose numbers are not there")
    try:
        arrays = [np.asarray(array) for array in (data if isinstance(data, tuple) else (data,))]
    except ValueError:
        raise TypeError(f"data must be arrays, with rows of one length, not {reprlib.repr(data)}") from None
    if not arrays or min(array.ndim for array in arrays) == 0:
        raise TypeError(f"data must be an array, a tuple of arrays or data(rng), not {data!r}")
    lengths = [len(array) for array in arrays]
    if min(lengths) < max(1, batch_size or 1) or len(set(lengths)) > 1:
        raise ValueError(f"data must have the same number of rows everywhere, at least batch_size = {batch_size}, "
                         f"not {lengths}")
    for array in arrays:
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
            raise ValueError(f"data must be finite, but holds NaN or infinity in rows {rows}")


def as_read_only(value):
    """Views of arrays, or of those in a tuple, that cannot be written into: the fit still needs them."""
    if isinstance(value, tuple):
        parts = [as_read_only(part) for part in value]
        return type(value)._make(parts) if hasattr(value, "_make") else tuple(parts)
    return read_only(value) if isinstance(value, np.ndarray) else value


def called(name, function, *arguments):
    """function(*arguments). It cannot write into them; a ValueError names it if it tries."""
    try:
        return function(*as_read_only(arguments))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise ValueError(f"{name} must not change what it is given in place, for the fit still needs it: "
                         "theta = theta - step makes a new array, and theta.copy() one to write into") from error


def as_loss(what, value, by=None):
    """A loss, which `by` returned, as a float; TypeError if no number, ArithmeticError if not finite."""
    sequence = isinstance(value, (tuple, list))
    if sequence or is_masked(value) or np.shape(value) or np.asarray(value).dtype.kind not in "biuf":
        got = f"a {type(value).__name__} of {len(value)}" if sequence else f"{type(value).__name__} {np.shape(value)}"
        raise TypeError(f"{what}{f', what {by} returns,' if by else ''} must be a number, not {got}")
    value = float(np.asarray(value))
    if not np.isfinite(value):
        raise ArithmeticError(f"{what} is {value}")
    return value


def as_loss_and_gradient(answer, theta):
    """What an objective returned at theta (p,): a finite loss, and its gradient (p,)."""
    loss, gradient = as_pair("objective", "a loss and its gradient", answer)
    return as_loss("the loss", loss), as_real("the gradient", gradient, theta.shape)


def as_theta_and_state(answer, theta):
    """What an optimiser returned at theta (p,): the θ after its step (p,), and its state."""
    new, state = as_pair("optimiser", "the new θ and its state", answer)
    return as_real("the θ after a step", new, theta.shape).astype(np.float64), state


def as_objective(objective, draw, counter):
    """(k, theta) -> the loss of batch k, its gradient (p,), and the calls of f, NaN without a counter."""
    def loss_and_gradient(k, theta):
        before = calls(counter)
        loss, gradient = as_loss_and_gradient(called("objective", objective, theta, draw(k)), theta)
        return loss, gradient, calls(counter) - before
    return loss_and_gradient


def calls(counter):
    """How many calls of f have been counted; NaN without a counter."""
    return np.nan if counter is None else counter.n_f


def as_optimiser(optimiser):
    """The optimiser, with its answer checked: the θ after its step (p,), and its state."""
    def step(theta, gradient, state, learning_rate):
        answer = called("optimiser", optimiser, theta, gradient, state, learning_rate)
        return as_theta_and_state(answer, theta)
    return step


def as_judge(validate, every):
    """(steps, theta) -> the validation loss if one is due after so many steps, or NaN."""
    def judge(steps, theta):
        if validate is None or steps % every:
            return np.nan
        return as_loss("the validation loss", called("validate", validate, theta), by="validate")
    return judge


def check_divergence(loss, first, factor):
    """ArithmeticError if a loss is more than so many times 1 + |the first one|."""
    if loss > factor * (1 + abs(first)):
        raise ArithmeticError(f"the loss diverges: it is {loss:.3g} and was {first:.3g} at first")


def check_fit(fit, n_params=None):
    """ValueError or TypeError if a part of a `Fit` is unusable, or if two parts contradict each other."""
    theta = as_real("theta", fit.theta, None if n_params is None else (n_params,))
    last = as_real("last", fit.last, theta.shape)
    for name in ("steps", "best_step"):
        n = getattr(fit, name)
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0:
            raise ValueError(f"{name} must be a number of steps, not {n!r}")
    if fit.best_step > fit.steps:
        raise ValueError(f"best_step = {fit.best_step} is after the last of {fit.steps} steps")
    if fit.best_step == fit.steps and not np.array_equal(theta, last):
        raise ValueError(f"theta, found after best_step = {fit.best_step} of {fit.steps} steps, must be last")
    for name, column in fit.history._asdict().items():
        column = as_numbers(f"history.{name}", column)
        if column.shape != (fit.steps,) or column.dtype.kind == "c":
            raise ValueError(f"history.{name} must be a real number for each of {fit.steps} steps, "
                             f"not {column.dtype} {column.shape}")
    for name in ("loss", "average"):
        number = getattr(fit, name)
        if not isinstance(number, numbers.Real) or number != number:
            raise ValueError(f"{name} must be a number, not {number!r}")
    for name in ("stopped", "optimiser"):
        if not isinstance(getattr(fit, name), str):
            raise TypeError(f"{name} must be a str, not {getattr(fit, name)!r}")


def as_owner(field):
    """`field`, if a θ can belong to it: a field or a model, but not a class."""
    if isinstance(field, type) or not hasattr(field, "n_params"):
        raise TypeError(f"field must be the VectorField or Classifier that theta is of, not {field!r}")
    return field


def as_path(path):
    """`path` as a Path. A number is refused, because `open` would take it for an open file."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str or a Path, not {path!r}")
    if not Path(path).name:
        raise ValueError(f"path must name a file, not {path!r}")
    return Path(path)


# -- classifiers, flows and diffusion -------------------------------------------------------


def as_labels(labels, shape):
    """The labels as an array, if they are classes of the rows of logits of this shape (B, K)."""
    if is_masked(labels):
        raise TypeError("labels must be a plain array, not a masked one, for some of its numbers are not there")
    try:
        labels = np.asarray(labels)
    except ValueError:
        raise ValueError(f"labels must be a whole number for each row of z {shape}, not {labels!r}") from None
    if labels.dtype.kind not in "iu" or len(shape) != 2 or labels.shape != shape[:1] or not labels.size:
        raise ValueError(f"labels must be a whole number for each row of z {shape}, not {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise ValueError(f"labels must be from 0 to {shape[1] - 1}, not from {labels.min()} to {labels.max()}")
    return labels


def as_images(x, n_in):
    """x as an array (B, n_in) with at least one row."""
    x = as_real("x", x)
    if x.ndim != 2 or x.shape[1] != n_in or not len(x):
        raise ValueError(f"x must have shape (B, {n_in}), not {x.shape}")
    return x


def as_n_classes(n_out):
    """`n_out` as a number of classes: at least two."""
    if as_count("n_out", n_out) == 1:
        raise ValueError("n_out must be at least 2 classes, not 1: one class is always right")
    return int(n_out)


def as_noise(noise, d):
    """`noise` as an array (K, ..., d)."""
    noise = as_real("noise", noise)
    if noise.ndim < 2 or noise.shape[-1] != d or not len(noise):
        raise ValueError(f"noise must have shape (K, ..., {d}), not {noise.shape}")
    return noise


def as_noise_shape(n_probes, shape):
    """(n_probes, *shape), if shape is that of states."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape must be a tuple, that of y, not {shape!r}")
    return as_count("n_probes", n_probes), *(as_count("each of shape", n) for n in shape)


def as_flow_point(f, y, theta, noise, solver, find_method):
    """y and theta as arrays that fit the field f, if noise and the keywords of the solve fit y."""
    if noise is not None:
        noise = as_noise(noise, as_field(f).dim)
    y, theta = as_point(f, y, theta, "y")
    if noise is not None and noise.shape[1:] != y.shape:
        raise ValueError(f"noise must have shape (K, *y.shape), here (K, {', '.join(map(str, y.shape))}), "
                         f"not {noise.shape}")
    method = solver.get("method", "dopri5")
    check_absolute(solver, find_method(method), "a log density, which begins at 0", "a small one")
    if noise is not None and solver.get("per_trajectory"):
        raise ValueError("noise needs joint steps, not per_trajectory: each row of it belongs to a row of y")
    return y, theta


def check_base(base):
    """TypeError if the base density is not a function."""
    if not callable(base):
        raise TypeError(f"base must be callable as base(z), a log density, not {base!r}")


def check_no_base(solver):
    """TypeError if a base density is among the keywords."""
    if "base" in solver:
        raise TypeError("base must be left to the standard normal, whose gradient is known; log_prob takes any base")


def as_base_value(log_p, shape):
    """What a base density returned, if it is a number for each point."""
    log_p = as_numbers("base(z)", log_p)
    if log_p.shape != shape:
        raise ValueError(f"base(z) must have shape {shape}, not {log_p.shape}")
    if np.isnan(log_p).any():
        raise ValueError(f"base(z) must not be NaN, but is for {np.isnan(log_p).sum()} of {log_p.size} points")
    return log_p


def as_positive_array(name, values, shape):
    """`values` as a real array of this shape, all of it positive."""
    values = as_real(name, values, shape)
    if (values <= 0).any():
        raise ValueError(f"{name} must be positive, not {values}")
    return values


def as_increasing_times(t):
    """`t` as increasing times, because going back does not undo noise."""
    times = as_times(t)
    if (np.diff(times) < 0).any():
        raise ValueError(f"t must increase, for noise is not undone going back, not {times}")
    return times


def as_density_time(v, t):
    """The variances v_k at t, if all of them are positive."""
    if np.isnan(v).any():
        raise ValueError("theta and t must be finite, but a variance that they give is NaN")
    if not (np.real(v) > 0).all():
        raise ValueError(f"t = {np.min(np.real(t))} is before any density that this mixture could come from")
    return v


# -- matching (chapter 30) ------------------------------------------------------------------


def as_data_rows(name, x, shape=None):
    """Data as a finite array (N, d), N ≥ 1."""
    x = as_real(name, x, shape)
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"{name} must have shape (N, d) with at least one row, not {x.shape}")
    return x


def as_triples(name, triples, f):
    """Three finite arrays (n, d), (n, d) and (n,) for the field f of states (d,)."""
    as_field(f)
    if not isinstance(triples, tuple) or len(triples) != 3:
        raise TypeError(f"{name} must be a tuple of three arrays, such as `pairs` draws, not {type(triples).__name__}")
    first, second, t = (as_real(f"{name}[{i}]", x) for i, x in enumerate(triples))
    for i, x in enumerate((first, second)):
        if x.ndim != 2 or x.shape[1] != f.dim or len(x) == 0:
            raise ValueError(f"{name}[{i}] must have shape (n, {f.dim}), not {x.shape}")
    if second.shape != first.shape or t.shape != first.shape[:1]:
        raise ValueError(f"{name} must have shapes (n, d), (n, d) and (n,), not {first.shape}, {second.shape} and {t.shape}")
    return first, second, t


def check_after_start(t):
    """ValueError if one of these times is not positive: there the score has no bound."""
    if not (t > 0).all():
        raise ValueError(f"the times of the triples must be positive, as the score has no bound at 0, not {t.min()}")


def as_mixture(weights, means, deviations):
    """The weights (K,) and deviations (K,) as positive arrays, and the means (K, d)."""
    w = as_real("weights", weights)
    if w.ndim != 1 or not (w > 0).all():
        raise ValueError(f"weights must be positive numbers, of shape (K,), not {weights!r}")
    mu, s = as_real("means", means), as_positive_array("deviations", deviations, w.shape)
    if mu.ndim != 2 or len(mu) != len(w):
        raise ValueError(f"means must have shape ({len(w)}, d), not {mu.shape}")
    return w, mu, s


def as_measured(measured, f=None):
    """The arrays of a `Measurements`: increasing times (N,), and two (N, ..., d) that fit f, if given."""
    if not isinstance(measured, tuple) or len(measured) != 3:
        raise TypeError(f"measured must be `Measurements`, such as `tabulate` makes, not {type(measured).__name__}")
    t, observed, weights = (as_real(f"measured.{name}", part) for name, part in zip(("t", "observed", "weights"), measured))
    if t.ndim != 1 or t.size == 0 or not (np.diff(t) > 0).all():
        raise ValueError(f"measured.t must be increasing times, of shape (N,), not {t}")
    if observed.ndim < 2 or len(observed) != len(t) or weights.shape != observed.shape:
        raise ValueError(f"measured.observed and measured.weights must have shape ({len(t)}, ..., d), not {observed.shape} "
                         f"and {weights.shape}")
    if not (weights >= 0).all() or not weights.any():
        raise ValueError("measured.weights must be numbers from 0 on, and not all of them 0")
    if f is not None and observed.shape[-1] != as_field(f).dim:
        raise ValueError(f"measured.observed must have shape (N, ..., {f.dim}) for states of f, not {observed.shape}")
    return t, observed, weights


def check_all_measured(weights):
    """ValueError if a component of a trajectory was never measured."""
    never = np.argwhere(~weights.any(axis=0))
    if len(never):
        raise ValueError(f"measured.weights must have a positive number for each component of each trajectory, but "
                         f"{tuple(never[0].tolist())} has none")


def as_single_measurements(t, which, x, weights, t0):
    """Times (n,), not before t0, numbers of trajectories (n,), states (n, d) and positive weights (n,)."""
    x, t = as_data_rows("x", x), as_real("t", t)
    n, t0 = len(x), as_real("t0", t0, shape=())
    if t.shape != (n,) or not (t >= t0).all():
        raise ValueError(f"t must be {n} times, one for each row of x, none before t0 = {t0}, not {reprlib.repr(t)}")
    which = as_indices("which", which)
    if which.shape != (n,):
        raise ValueError(f"which must have shape ({n},), one number for each row of x, not {which.shape}")
    return t, which, x, np.ones(n) if weights is None else as_positive_array("weights", weights, (n,))


def as_indices(name, values, n=None):
    """Integers from 0 on, and less than n if it is given, as a vector of at least one."""
    array = as_numbers(name, values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0 or array.min() < 0 or n is not None and array.max() >= n:
        below = "" if n is None else f" to {n - 1}"
        raise ValueError(f"{name} must be integers from 0{below or ' on'}, of shape (n,), not {reprlib.repr(values)}")
    return array


def as_cuts(cuts, n):
    """The rows at which pieces begin and end, from 0 to n − 1, increasing, as a list of ints."""
    rows = as_indices("cuts", cuts, n).tolist()
    if len(rows) < 2 or rows[0] != 0 or rows[-1] != n - 1 or not (np.diff(rows) > 0).all():
        raise ValueError(f"cuts must increase from 0 to {n - 1}, the first and the last row of the table, not {rows}")
    return rows


def as_horizons(ends, objective, measured, keywords):
    """`ends` as a list, if they increase, and something is measured up to the first; checks the rest too."""
    if not callable(objective):
        raise TypeError(f"objective must be callable as objective(theta, measured) -> (L, dL_dtheta), not {objective!r}")
    for name in ("data", "batch_size"):
        if keywords.get(name) is not None:
            raise TypeError(f"{name} is no keyword of a growing horizon: its data are measured")
    ends, (t, _, weights) = as_real("ends", ends), measured
    first = t[weights.reshape(len(t), -1).any(axis=1)][0]
    if ends.ndim != 1 or ends.size == 0 or not (np.diff(ends) > 0).all() or ends[0] < first:
        raise ValueError(f"ends must be increasing times, the first not before {first}, that of the first measurement, "
                         f"not {ends}")
    return ends.tolist()
# -- what a flow cannot do (chapter 32) -----------------------------------------------------


def as_bounded(f):
    """f, if it knows a Lipschitz constant."""
    if not hasattr(f, "lipschitz"):
        raise TypeError(f"f must have a Lipschitz constant, f.lipschitz(theta), as an MLP has, not {type(f).__name__}")
    return f


def as_states_on_a_line(ys):
    """ys as a real array (N, n, 1), N ≥ 1, without its last axis."""
    ys = as_real("ys", ys)
    if ys.ndim != 3 or ys.shape[2] != 1 or len(ys) == 0:
        raise ValueError(f"ys must have shape (N, n, 1), the states of n solutions on a line, not {ys.shape}")
    return ys[..., 0]


def as_curve_around(curve, c):
    """The points (n, 2) of a curve, n ≥ 3, relative to c (2,), which is not one of them."""
    curve, c = as_real("curve", curve), as_real("c", c, (2,))
    if curve.ndim != 2 or curve.shape[1] != 2 or len(curve) < 3:
        raise ValueError(f"curve must have shape (n, 2), at least three points, not {curve.shape}")
    if (curve == c).all(axis=1).any():
        raise ValueError(f"c must not lie on the curve, but {c} does")
    return curve - c


def as_points(name, x):
    """Points (..., d) as an array; whole numbers become float64."""
    x = as_real_or_complex(name, x)
    if x.ndim == 0:
        raise ValueError(f"{name} must have shape (..., d), not ()")
    return x


def as_part_of(name, n, d):
    """n, the number of components meant out of d; d if n is None."""
    n = d if n is None else as_count(name, n)
    if n > d:
        raise ValueError(f"{name} must be at most {d}, the number of components, not {n}")
    return n


def as_span(t):
    """The times t (N,), if the last differs from the first."""
    t = as_times(t)
    if t[0] == t[-1]:
        raise ValueError(f"t must begin and end at different times, not {t}")
    return t

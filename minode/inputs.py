"""Appendix. What may be handed in

The checks of arguments, kept out of the chapters. A chapter calls one of these on a line of its own and goes
on; nobody has to read this page to understand the book. `as_x(...)` returns its argument in the form in which
the book works with it, or raises a ValueError or TypeError that names the argument, what it was, and what it
should have been. All of this happens before any work is done.
"""

import operator
import os
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from .fields.base import VectorField


# -- numbers and arrays ---------------------------------------------------------------------


def as_real_or_complex(name, value):
    """`value` as a finite floating array: float32, float64 and complex stay, everything else becomes float64."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise TypeError
        if array.dtype.kind != "c" and array.dtype != np.float32:
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array of numbers, not {value!r}") from None
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
    """What a function of the reader's returned, if it is a pair; an array of two numbers is none."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise TypeError(f"{of} must return {pair}, not {type(answer).__name__}")
    return answer


# -- fields, and points where they are evaluated --------------------------------------------


def as_field(f, name="f"):
    """f, if it has what the derivatives need of a field."""
    if isinstance(f, type):
        raise TypeError(f"{name} must be a VectorField, an instance and not the class {f.__name__} itself")
    for part in ("vjp", "jvp", "value_and_vjp", "dim", "n_params"):
        if not hasattr(f, part):
            raise TypeError(f"{name} must be a VectorField, with derivatives, not {type(f).__name__}, "
                            f"which has no {part}")
    return f


def has_second_derivatives(f):
    """Whether `vjp_derivative` is written, and not the one of VectorField that says it is not."""
    written = getattr(f, "vjp_derivative", None)
    return written is not None and getattr(written, "__func__", None) is not VectorField.vjp_derivative


def as_twice(f):
    """f, if it is a field whose second derivatives are written."""
    if not has_second_derivatives(as_field(f)):
        raise TypeError(f"f must have second derivatives, but {type(f).__name__} does not define "
                        "vjp_derivative(t, y, theta, a, w, dtheta)")
    return f


def as_point(f, y0, theta, name="y0"):
    """y0 and theta as arrays that fit the field f, or an error that says which does not."""
    y0, theta = as_real(name, y0), as_real("theta", theta, (as_field(f).n_params,))
    if y0.ndim == 0 or y0.shape[-1] != f.dim:
        raise ValueError(f"{name} must have shape (..., {f.dim}) for this field, not {y0.shape}")
    return y0, theta


def as_states(y, f):
    """`y` as an array (..., d) of states of the field f; whole numbers become float64."""
    y = np.asarray(y)
    y = y.astype(np.float64) if y.dtype.kind in "biu" else y
    if y.shape[-1:] != (f.dim,):
        raise ValueError(f"y must have shape (..., {f.dim}) for {f!r}, not {y.shape}")
    return y


def as_clock(t, y):
    """The time t as an array in the precision of the states y, complex if t is."""
    return np.asarray(t, np.result_type(y, 1j) if np.iscomplexobj(t) else y.dtype)


def as_theta(theta, f):
    """`theta` as an array (p,) of parameters of the field f."""
    if np.shape(theta) != (f.n_params,):
        raise ValueError(f"theta must have shape ({f.n_params},) for {f!r}, not {np.shape(theta)}")
    return np.asarray(theta)


def check_point(f, y, theta):
    """ValueError if y is not (..., d), or theta not (p,), for the field f."""
    if np.shape(y)[-1:] != (f.dim,) or np.shape(theta) != (f.n_params,):
        raise ValueError(f"y and theta must have shapes (..., {f.dim}) and ({f.n_params},), "
                         f"not {np.shape(y)} and {np.shape(theta)}")


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
    """f(t, y) as a function of t and y alone, from f and, for f(t, y, theta), its theta."""
    arguments = "(t, y)" if theta is None else "(t, y, theta)"
    if isinstance(f, type) or not callable(f):
        got = f"the class {f.__name__} itself" if isinstance(f, type) else type(f).__name__
        raise TypeError(f"{name} must be callable as {name}{arguments}, not {got}")
    if theta is None:
        if hasattr(f, "param_jacobian"):
            raise TypeError(f"{name} must be callable as {name}(t, y), but it is a VectorField and wants "
                            "its θ too: hand in theta after t")
        return f
    theta = as_real_or_complex("theta", theta)
    if hasattr(f, "n_params"):
        theta = as_theta(theta, f)
    return lambda t, y: f(t, y, theta)


def as_parts(y0):
    """The parts of the state y0, an array or a tuple of arrays, as finite arrays."""
    parts = [as_real_or_complex("y0", part) for part in (y0 if isinstance(y0, tuple) else (y0,))]
    if sum(part.size for part in parts) == 0:
        raise ValueError("y0 must have at least one component, but it is empty")
    return parts


def check_velocity(values, shapes, dtype, is_tuple):
    """The values of f as arrays, if they have the shapes of the state, and are real for a real state."""
    if is_tuple and not (isinstance(values, tuple) and len(values) == len(shapes)):
        got = f"a tuple of {len(values)}" if isinstance(values, tuple) else type(values).__name__
        raise TypeError(f"f must return a tuple of {len(shapes)} arrays like y0, not {got}")
    for part, shape in zip(values, shapes):
        if part is None or np.shape(part) != shape:
            got = "None" if part is None else np.shape(part)
            raise ValueError(f"f must return the shape of y, {shape}, not {got}")
        if np.iscomplexobj(part) and dtype.kind != "c":
            raise TypeError("f returned complex values for a real state; make y0 complex to solve it so")
    return [np.asarray(part) for part in values]


def as_norm_value(value):
    """What a norm of the reader's returned, as a float: infinite or NaN if the error is."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":
        raise TypeError(f"norm must return a real number, not {value!r}")
    return float(value)


# -- tables of Runge–Kutta methods ----------------------------------------------------------


def as_rows(tableau):
    """The rows of a table as tuples of numbers, by name, if there are as many and as long as there must be."""
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
    rows = {name: as_row(getattr(tableau, name)) for name in ("b", "c", "b_hat", "b_hat_3")
            if getattr(tableau, name) is not None}
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
        entries = row.split() if isinstance(row, str) else row
        return tuple(float(x) if isinstance(x, float) else Fraction(x) for x in entries)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"a row of a tableau must hold numbers, such as '3/40 9/40', not {row!r}") from None


def as_times_between(first, last, t):
    """`t` as a float64 array of any shape, if all its times lie between the two ends of a solve."""
    times = as_real("t", t).astype(np.float64)
    if times.size and not min(first, last) <= times.min() <= times.max() <= max(first, last):
        raise ValueError(f"t must lie between {first} and {last}, not {times}")
    return times


def as_rows_velocity(f):
    """f(t, y) of times (m,) and states (m, d), its values checked and copied."""
    def velocity(t, y):
        value, = check_velocity((f(t, y),), [y.shape], y.dtype, False)
        return np.array(value, y.dtype)
    return velocity


# -- the keywords of a solve ----------------------------------------------------------------


def as_options(kind, keywords):
    """The keywords of `solve` as a record of this kind, or a TypeError with the list of those that there are."""
    for name in keywords:
        if name not in kind._fields:
            raise TypeError(f"unknown keyword {name!r}; known: {', '.join(kind._fields)}")
    return kind(**keywords)


def check_options(options, y, is_adaptive):
    """The options of a solve from y, each in the form in which the solvers use it."""
    rtol, atol = (as_positive(name, getattr(options, name), allow_zero=True) for name in ("rtol", "atol"))
    if rtol == 0 and atol == 0:
        raise ValueError("rtol and atol must not both be 0")
    max_steps = as_count("max_steps", options.max_steps)
    if options.norm is not None and not callable(options.norm):
        raise TypeError(f"norm must be callable as norm(error, scale), not {type(options.norm).__name__}")
    if is_adaptive and atol == 0 and (y == 0).any():
        raise ValueError("atol must be positive where a component of y0 is 0")
    step_size, first_step = options.step_size, options.first_step
    if step_size is not None:
        step_size = as_positive("step_size", step_size)
    if first_step is not None:
        if not is_adaptive:
            raise ValueError("first_step is for adaptive methods; give step_size to one of fixed steps")
        first_step = as_positive("first_step", first_step)
    return options._replace(rtol=rtol, atol=atol, max_steps=max_steps, step_size=step_size, first_step=first_step)


def check_reversible(method, is_tableau, coupling):
    """The coupling of `reversible(method)`, if the method is an explicit table."""
    if not is_tableau or not method.is_explicit:
        raise ValueError(f"reversible() takes an explicit Runge–Kutta method, not {method.name!r}")
    coupling = as_positive("coupling", coupling)
    if coupling > 1:
        raise ValueError(f"coupling must be at most 1, not {coupling}")
    return coupling


def check_trajectories(y0, method, is_fit):
    """ValueError if trajectories cannot take steps of their own from y0, or not by this method."""
    if not is_fit:
        raise ValueError("per_trajectory needs an adaptive explicit method without step_size, "
                         f"such as dopri5; got {method.name}")
    if isinstance(y0, tuple) or np.ndim(y0) != 2:
        raise ValueError("per_trajectory needs y0 of shape (B, d), not "
                         f"{'a tuple' if isinstance(y0, tuple) else np.shape(y0)}")


def as_jacobian(jacobian, f, y0, theta, problem, tableau):
    """f_y (B, d, d) as a function of t and a flat state: the one handed in, or that of the field f."""
    if isinstance(y0, tuple) or not np.shape(y0):
        raise ValueError(f"{tableau.name} is implicit and takes an array state (..., d), not "
                         f"{'a tuple' if isinstance(y0, tuple) else 'a number'}")
    if jacobian is None and theta is not None and hasattr(f, "jacobian"):
        theta = as_real_or_complex("theta", theta)

        def jacobian(t, y):
            return f.jacobian(t, y, theta)
    if not callable(jacobian):
        raise ValueError(f"{tableau.name} is implicit and needs jacobian(t, y) -> (..., d, d)")
    shape, stats = np.shape(y0), problem.stats
    expected = (*shape, shape[-1])

    def flat_jacobian(t, y):
        stats.n_jac += 1
        f_y = np.array(jacobian(t, y.reshape(shape)))
        if f_y.shape != expected:
            raise ValueError(f"jacobian must return shape {expected}, not {f_y.shape}")
        if np.iscomplexobj(f_y) and problem.y.dtype.kind != "c":
            raise TypeError("jacobian returned complex values for a real state; make y0 complex to solve it so")
        f_y = f_y.astype(np.result_type(f_y, problem.y))     # whole numbers as floats, complex if y is
        return f_y.reshape(-1, shape[-1], shape[-1])
    flat_jacobian(float(problem.t[0]), problem.y)            # before any work, whether it has the right shape
    return flat_jacobian


def as_progress(progress, t):
    """report(t_reached), which calls `progress` with the fraction of the span t that is done; or None."""
    if progress is None or progress is False:
        return None
    if progress is not True and not callable(progress):
        raise TypeError("progress must be True or callable as progress(fraction), "
                        f"not {type(progress).__name__}")
    show = line_on_stderr if progress is True else progress
    return lambda reached: show(float(np.min(np.abs(reached - t[0]))) / abs(t[-1] - t[0]))


def line_on_stderr(fraction):
    """Draw the fraction over the last one, if stderr is a terminal."""
    if sys.stderr.isatty():
        print(f"\rsolving: {fraction:6.1%}", end="\n" if fraction == 1 else "", file=sys.stderr, flush=True)


# -- derivatives of a solve -----------------------------------------------------------------


def check_pushforward(method, solver):
    """ValueError if y and its tangent cannot be solved as one state by this method."""
    if solver.get("per_trajectory") or not getattr(method, "is_explicit", True):
        raise ValueError("pushforward solves y and w as one state, and takes explicit and reversible methods "
                         f"with joint steps; got {method.name!r}")


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
    """What a loss returned, if it is the tuple that was expected, with a finite number in front."""
    if not isinstance(answer, tuple) or len(answer) != expected.count(",") + 1:
        got = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
        raise TypeError(f"loss must return {expected}, not {got}")
    as_real("L, what loss returns first,", answer[0], ())
    return answer


def check_route(gradient, routes, method, is_tableau, solver, backward, keywords, find_method):
    """The options of the backward solve, {} if there is none; ValueError if no such way leads back through this method."""
    if gradient not in routes:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(routes)}")
    if is_tableau and not method.is_explicit:
        raise ValueError(f"there are no gradients through {method.name}: "
                         "use an explicit or a reversible method")
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
    return own | {"method": method} | (backward or {})


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


def check_second(method, is_tableau, solver):
    if not is_tableau or not method.is_explicit or solver.get("per_trajectory"):
        raise ValueError("hessian_vector_product takes an explicit Runge–Kutta method with joint steps, "
                         f"not {method.name!r}")


# -- checks of derivatives ------------------------------------------------------------------


def as_float64_point(f, y, theta, name):
    """`as_point` in float64: differences of float32 numbers have few digits."""
    return [x.astype(np.float64, copy=False) for x in as_point(f, y, theta, name)]


def as_check_point(f, t, y, theta, name="y"):
    """t, y and theta in float64, if they are a time, at least one state and parameters of the field f."""
    (y, theta), t = as_float64_point(f, y, theta, name), as_real("t", t)[()]
    if not y.size:
        raise ValueError(f"{name} must hold at least one state, but has shape {y.shape}")
    if np.shape(t) not in ((), y.shape[:-1]):
        raise ValueError(f"t must be a number or have the batch's shape {y.shape[:-1]}, not {np.shape(t)}")
    return t, y, theta


# -- training, and files --------------------------------------------------------------------


def as_step(theta, gradient, state, n_parts, **numbers):
    """theta and the gradient as arrays, if an optimiser whose state has n_parts can make a step of them."""
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


def as_parameters(theta):
    """`theta` as a vector (p,) of its own in float64, for a fit to start from."""
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
    """ValueError or TypeError if a fit cannot be validated so, or would end before it is."""
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
    arrays = [np.asarray(array) for array in (data if isinstance(data, tuple) else (data,))]
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


def as_loss(what, value):
    """A loss as a float; TypeError if it is no number, ArithmeticError if it is infinite or NaN."""
    if np.shape(value) or np.asarray(value).dtype.kind not in "biuf":
        raise TypeError(f"{what} must be a number, not {type(value).__name__} {np.shape(value)}")
    if not np.isfinite(float(value)):
        raise ArithmeticError(f"{what} is {value}")
    return float(value)


def as_loss_and_gradient(answer, theta):
    """What an objective returned at theta (p,): a finite loss, and its gradient (p,)."""
    loss, gradient = as_pair("objective", "a loss and its gradient", answer)
    return as_loss("the loss", loss), as_real("the gradient", gradient, theta.shape)


def as_theta_and_state(answer, theta):
    """What an optimiser returned at theta (p,): the θ after its step (p,), and its state."""
    new, state = as_pair("optimiser", "the new θ and its state", answer)
    return as_real("the θ after a step", new, theta.shape), state


def check_divergence(loss, first, factor):
    """ArithmeticError if a loss is more than so many times 1 + |the first one|."""
    if loss > factor * (1 + abs(first)):
        raise ArithmeticError(f"the loss diverges: it is {loss:.3g} and was {first:.3g} at first")


def as_owner(field):
    """`field`, if it may own a θ: a field or a model, and not its class."""
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
    labels = np.asarray(labels)
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


def as_flow_point(f, y, theta, noise, solver):
    """y and theta as arrays that fit the field f, if noise and the keywords of the solve fit y."""
    if noise is not None:
        noise = as_noise(noise, as_field(f).dim)
    y, theta = as_point(f, y, theta, "y")
    if noise is not None and noise.shape[1:] != y.shape:
        raise ValueError(f"noise must have shape (K, *y.shape), here (K, {', '.join(map(str, y.shape))}), "
                         f"not {noise.shape}")
    if noise is not None and solver.get("per_trajectory"):
        raise ValueError("noise needs joint steps, not per_trajectory: each row of it belongs to a row of y")
    return y, theta


def check_base(base):
    """TypeError if the base density is no function."""
    if not callable(base):
        raise TypeError(f"base must be callable as base(z), a log density, not {base!r}")


def check_no_base(solver):
    """TypeError if a base density is among the keywords."""
    if "base" in solver:
        raise TypeError("base must be left to the standard normal, whose gradient is known; log_prob takes any base")


def as_base_value(log_p, shape):
    """What a base density returned, if it is a number for each point."""
    log_p = np.asarray(log_p)
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
    """`t` as times that increase: noise is not undone by going back."""
    times = as_times(t)
    if (np.diff(times) < 0).any():
        raise ValueError(f"t must increase, for noise is not undone going back, not {times}")
    return times


def as_density_time(v, t):
    """The variances v_k at t, if all of them are positive."""
    if not (np.real(v) > 0).all():
        raise ValueError(f"t = {np.min(np.real(t))} is before any density that this mixture could come from")
    return v

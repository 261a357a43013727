"""Appendix to chapter 22. What a field has to keep to

Solvers evaluate a field at many states in one call, and still need the arrays that they hand in.
So every method of a field must leave its arguments as they are, and return the same when it is
called twice. It must take any number of axes in front of the last one, take a time for each
trajectory, and treat each trajectory by itself. A field that does not may have all its
derivatives right at one state, and still give wrong gradients. This is checked first, so that the
message can name the cause: a sum over the wrong axis, a math.sin(t), a random number.
"""

import numpy as np

from ..fields.base import rows
from ..inputs import has_second_derivatives
from .differences import point_of_check, sizes_at
from .faults import mistakes_of_the_sum

ALIKE = np.sqrt(np.finfo(np.float64).eps)   # of the size of the terms: the same number, computed in another way
TINY = np.finfo(np.float64).tiny
TWICE = 1e-10                               # of the largest value: the same number, computed in the same way
SHRUNK = 1 / 8                              # a state beside y is y less this part of it
PARTS = {"vjp": 2, "value_and_vjp": 3, "vjp_derivative": 2}        # how many arrays it returns, if more than one
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AssertionError, RuntimeError)
AXES = "must take any axes in front of the last, write y[..., 0] for y[0]"
CLOCK = ("must take t as an array too, a time for each trajectory: np.sin(t) for math.sin(t), np.where for if, "
         "t[..., None] beside y")


def contract(f, t, y, theta):
    """f(t, y, θ), the `Sizes`, the arguments of a check, and what f does wrong for many states, or None."""
    point = point_of_check(f, t, y, theta)
    value = check_alone(f, point)
    sizes = sizes_at(f, t, y, theta, value)
    point["a"] = point["a"] / np.where(sizes.f == 0, 1.0, sizes.f)
    return value, sizes, point, stacked_fault(f, point, sizes, mistakes_of_the_sum)


def methods_of(f):
    """[(name, method, its arguments besides t, y and θ)] for all methods of a field."""
    def value_and_vjp(t, y, theta, a):
        value, vjp = f.value_and_vjp(t, y, theta)
        value = np.array(value)                  # a copy: vjp may write into it
        return (value, *vjp(a))
    methods = [("__call__", f, ""), ("jacobian", f.jacobian, ""), ("param_jacobian", f.param_jacobian, ""),
               ("time_derivative", f.time_derivative, ""), ("jvp", f.jvp, "w dtheta"), ("vjp", f.vjp, "a"),
               ("value_and_vjp", value_and_vjp, "a")]
    return methods + [("vjp_derivative", f.vjp_derivative, "a w dtheta")] * has_second_derivatives(f)


def shapes_of(name, f, y):
    """The shapes of the arrays that a method returns for states y."""
    value, p = (*y.shape[:-1], getattr(f, "dim_out", f.dim)), f.n_params
    return {"jacobian": [(*value, f.dim)], "param_jacobian": [(*value, p)], "vjp": [y.shape, (p,)],
            "vjp_derivative": [y.shape, (p,)], "value_and_vjp": [value, y.shape, (p,)]}.get(name, [value])


def call(name, method, more, arguments):
    """What a method returns, as a list of arrays. AssertionError if it writes into an argument."""
    handed = {key: np.array(arguments[key])[()] for key in ["t", "y", "theta", *more.split()]}
    answers = method(*handed.values())
    for key, value in handed.items():
        if not np.array_equal(value, arguments[key]):
            raise AssertionError(f"{title(name)} must not write into {key}: its caller still needs it")
    return [np.array(part) for part in (answers if name in PARTS and isinstance(answers, (tuple, list)) else [answers])]


def title(name):
    """A method as a reader calls it."""
    return "f(t, y, theta)" if name == "__call__" else name


def ask_all(f, arguments):
    """{name: what it returns} for all methods. AssertionError if a shape is wrong, or a number complex."""
    answers = {}
    for name, method, more in methods_of(f):
        answers[name] = call(name, method, more, arguments)
        got, expected = [part.shape for part in answers[name]], shapes_of(name, f, arguments["y"])
        if got != expected:
            got, expected = (" and ".join(map(str, shapes)) for shapes in (got, expected))
            raise AssertionError(
                f"{name} must return shapes {expected}, not {got}: a f_y is one row a trajectory, and a f_θ is summed "
                f"over the batch, (1.3)" if name in PARTS else f"{title(name)} must have shape {expected}, not {got}")
        for part in answers[name]:
            if part.dtype.kind not in "biuf":
                raise AssertionError(f"{title(name)} must be real where t, y and theta are, not {part.dtype}")
    return answers


def check_alone(f, arguments):
    """f(t, y, θ). AssertionError if f breaks the contract at these states, or returns no finite numbers."""
    first = ask_all(f, arguments)
    value, = first["__call__"]
    if value.dtype == np.float32:
        raise AssertionError("f(t, y, theta) must be in float64 where t, y and theta are, but is rounded to float32")
    for name, answers in ask_all(f, arguments).items():
        for one, other in zip(first[name], answers):
            if not np.isfinite(one).all():
                i = np.unravel_index(np.argmin(np.isfinite(one)), one.shape)
                raise AssertionError(f"{title(name)} must be finite where it is checked, but entry "
                                     f"({', '.join(map(str, map(int, i)))}) is {one[i]}")
            if not np.allclose(one, other, 0.0, TWICE * np.abs(one).max(initial=0.0)):
                i = np.unravel_index(np.argmax(np.abs(one - other)), one.shape)
                raise AssertionError(
                    f"{title(name)} must answer alike when it is called twice with the same arguments, not "
                    f"{one[i]:.12g} and then {other[i]:.12g}: is it random (draw noise once), or does it remember?")
    return value.astype(float)


def beside(f, arguments, k):
    """Arguments with other states, times and tangents; if f is undefined at those tried, the same ones."""
    t, y, shrunk = arguments["t"], arguments["y"], 1 - k * SHRUNK
    unit = np.abs(y).min(initial=1.0, where=y != 0)
    moved = {**arguments, "y": np.where(y == 0, k * SHRUNK * unit, shrunk * y),
             "t": np.where(t == 0, k * SHRUNK, shrunk * t)[()],
             "w": arguments["w"] / shrunk, "a": arguments["a"] / shrunk}
    for others in (moved, {**moved, "y": shrunk * y}, {**moved, "t": t}, {**moved, "y": y}):
        try:
            with np.errstate(all="ignore"):
                answers = [part for each in (others, {**others, "t": np.ravel(t)[0]})
                           for parts in ask_all(f, each).values() for part in parts]
        except REFUSALS:
            continue
        if all(np.isfinite(part).all() for part in answers):
            return others
    return arguments


def stacked_fault(f, arguments, sizes, mistakes):
    """What is wrong if f is called with several states and times at once, or None.

    The new axis and the last one differ in length, so that y[0] for y[..., 0] cannot fit by accident. From the terms
    of a sum `mistakes` makes {what may be wrong with the sum: what it then is}.
    """
    others = [beside(f, arguments, k) for k in ((1, 2) if arguments["y"].shape[-1] == 2 else (1,))]
    t = np.ravel(arguments["t"])[0]
    for rule, each in ((AXES, [{**one, "t": t} for one in (arguments, *others)]), (CLOCK, [arguments, *others])):
        stacked = {**arguments, **{key: np.stack([one[key] for one in each]) for key in ("y", "w", "a")}}
        stacked["t"] = t if rule == AXES else np.stack(
            [np.broadcast_to(one["t"], one["y"].shape[:-1]) for one in each])
        for name, method, more in methods_of(f):
            alone = [call(name, method, more, one) for one in each]
            shapes, terms = shapes_of(name, f, stacked["y"]), scales(name, arguments, sizes)
            fault = fault_of(name, method, more, stacked, shapes, alone, terms, mistakes)
            if fault:
                where = f"for y {stacked['y'].shape}"
                return f"{name}{fault}, {where}" if fault.startswith(":") else f"{name} {rule}: {where} {fault}"
    return fault_of_pair(f, arguments, sizes) or fault_of_batch(f, arguments, others[0], sizes)


def fault_of(name, method, more, stacked, shapes, alone, terms, mistakes):
    """What is wrong with the values for `stacked` states, if those of each `alone` are right, or None."""
    try:
        answers = call(name, method, more, stacked)
    except REFUSALS as error:
        return f"its shape must be {', '.join(map(str, shapes))}, not {type(error).__name__}: {error}"
    for k, (part, shape, *each) in enumerate(zip(answers, shapes, *alone)):
        each = np.stack(each)
        allowed = ALIKE * (np.abs(each).max(axis=0) + terms[k])
        if name in PARTS and k == PARTS[name] - 1:
            if not is_near(part, each.sum(axis=0), len(each) * allowed):
                found = [words for words, other in mistakes(each).items() if is_near(part, other, len(each) * allowed)]
                return (": the term Σ a f_θ of (1.3), and so of (17.3) and (18.4) "
                        + (found or ["is not the sum over the batch"])[0])
        elif part.shape != shape:
            return f"its shape must be {shape}, not {part.shape}"
        elif not is_near(part, each, allowed):
            return f"{len(each)} states must be answered as each of them alone"
    return None


def is_near(x, other, allowed):
    """Whether x is `other`, NaN where that is."""
    return x.shape == other.shape and bool(((np.abs(x - other) <= allowed) | np.isnan(x) & np.isnan(other)).all())


def scales(name, arguments, sizes):
    """The sizes of the terms in each array that a method returns."""
    each, a = sizes.f, np.abs(arguments["a"])[..., None]
    by_y, by_theta = each[..., None] / sizes.y[..., None, :], each[..., None] / sizes.theta
    products = [(a * by_y).sum(axis=-2), rows((a * by_theta).sum(axis=-2)).sum(axis=0)]
    n = 4.0 * (sizes.y.shape[-1] + sizes.theta.size)             # terms of a jvp, each of a normal number
    return {"jacobian": [by_y], "param_jacobian": [by_theta], "jvp": [n * each], "vjp": products,
            "time_derivative": [each / np.asarray(sizes.t)[..., None]], "value_and_vjp": [each, *products],
            "vjp_derivative": [n * part for part in products]}.get(name, [each])


def fault_of_pair(f, arguments, sizes):
    """What is wrong with `value_and_vjp`, if f and `vjp` are right, or None."""
    answers = ask_all(f, arguments)
    pair, terms = [*answers["__call__"], *answers["vjp"]], scales("value_and_vjp", arguments, sizes)
    for what, got, expected, size in zip(("f", "a f_y", "Σ a f_θ"), answers["value_and_vjp"], pair, terms):
        if not is_near(got, expected, ALIKE * (np.abs(expected) + size)):
            return f"value_and_vjp must give what f and vjp give, but its {what} differs"
    return None


def fault_of_batch(f, arguments, others, sizes):
    """What is wrong if one trajectory of a batch moves and the values for the others change, or None."""
    is_first = np.arange(sizes.y[..., 0].size).reshape(sizes.y.shape[:-1]) == 0
    mixed = {**arguments, "y": np.where(is_first[..., None], others["y"], arguments["y"])}
    before, after = ask_all(f, arguments), ask_all(f, mixed)
    for name in before:
        for k in range(max(1, PARTS.get(name, 1) - 1)):
            one, other, size = before[name][k], after[name][k], scales(name, arguments, sizes)[k]
            if not is_near(other[~is_first], one[~is_first], ALIKE * (np.abs(one) + size)[~is_first]):
                return f"{name} must answer each trajectory of a batch by itself, but one moves and another changes"
    return None

"""Appendix to chapter 22. What a check reports, and which term is off

The checks of chapter 22 see that a derivative is wrong, and a reader wants to know where. So each term of
(1.2) and (1.3) is computed by itself and compared with the same term made of differences. If the two
disagree, it is also compared with what the usual mistakes would give.
"""

import sys
from typing import NamedTuple

import numpy as np

from ..fields.base import rows
from ..inputs import in_letters_of

NEGLIGIBLE = 1e-9       # of the largest component: a smaller one is moved in units of 1
SMALLEST_UNIT = 1e-6    # of the largest component


class Row(NamedTuple):
    """One comparison: what is compared, the largest error, what is allowed, and whether it is ok."""

    what: str
    error: float
    tolerance: float

    @property
    def ok(self):
        return bool(self.error <= self.tolerance)


class Report(tuple):
    """The rows of a check; its `str` is a table."""

    def __str__(self):
        rows = [row._replace(what=in_letters_of(sys.stdout, row.what)) for row in self]       # it is for print()
        width = max(len(row.what) for row in rows)
        lines = [f"{'what':<{width}}  largest error  tolerance  ok"]
        lines += [f"{row.what:<{width}}  {row.error:13.1e}  {row.tolerance:9.1e}  {'yes' if row.ok else 'NO'}"
                  for row in rows]
        return "\n".join(lines)

    def require_ok(self, why):
        """This report, or AssertionError with its table and the sentences of why() if a row is not ok."""
        if not all(row.ok for row in self):
            raise AssertionError("\n".join(["a derivative is wrong", str(self), *why()]))
        return self


def directions(y, theta, shape):
    """A tangent w, Δθ and a cotangent a of the shape of f. They are random, but the same in every call."""
    rng = np.random.default_rng(0)
    return rng.normal(size=y.shape), rng.normal(size=theta.shape), rng.normal(size=shape)


def value_of_right_shape(f, t, y, theta):
    """f(t, y, theta), or AssertionError if it does not have the shape of (1.1), or if f writes into y."""
    y_given = y.copy()
    value = np.asarray(f(t, y_given, theta))
    if not np.array_equal(y_given, y):
        raise AssertionError("f(t, y, theta) must not write into y")
    expected = (*y.shape[:-1], getattr(f, "dim_out", f.dim))
    if value.shape != expected:
        raise AssertionError(f"f(t, y, theta) must have shape {expected}, not {value.shape}")
    return value


def vjp_of_right_shape(f, t, y, theta, a):
    """f.vjp(t, y, theta, a), or AssertionError if its shapes are not those of (1.3)."""
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    if np.shape(a_f_y) != y.shape or np.shape(a_f_theta) != theta.shape:
        raise AssertionError(f"vjp must return shapes {y.shape} and {theta.shape}, "
                             f"not {np.shape(a_f_y)} and {np.shape(a_f_theta)}: "
                             "a f_y is one row a trajectory, and a f_θ is summed over the batch, (1.3)")
    return a_f_y, a_f_theta


def joined(products):
    """What `vjp` returns, as one vector."""
    return np.concatenate([np.ravel(part) for part in products])


def check_axes_in_front(f, t, y, theta, dim_out):
    """AssertionError if f or one of its matrices does not accept one more axis in front of y.

    Solvers need that. The new axis and the last one differ in length: y[0] for y[..., 0] cannot fit by
    accident.
    """
    d, p = f.dim, f.n_params
    Y = np.stack([y] * (3 if d == 2 else 2))
    batch = Y.shape[:-1]
    for name, tail in (("__call__", ()), ("time_derivative", ()), ("jacobian", (d,)), ("param_jacobian", (p,))):
        expected, call = (*batch, dim_out, *tail), getattr(f, name)
        try:
            got = np.asarray(call(np.broadcast_to(t, batch), Y, theta))
            wrong = None if got.shape == expected else got.shape
        except (ValueError, IndexError, TypeError) as error:
            wrong = f"{type(error).__name__}: {error}"
        rule = f"{name} must take any axes in front of the last, write y[..., 0] for y[0]"
        if wrong:
            raise AssertionError(f"{rule}: for y {Y.shape} its shape must be {expected}, not {wrong}")
        alone = np.asarray(call(t, y, theta))
        alike = np.sqrt(np.finfo(np.result_type(alone, np.float32)).eps)
        if not np.allclose(got, alone, alike, alike * (1 + largest(alone) + largest(y) * (1 + largest(theta)))):
            raise AssertionError(f"{rule}: {len(Y)} states alike must be answered alike, and as one of them alone")


def largest(x):
    """The largest absolute value in x, and 0 if x is empty."""
    return float(np.abs(x).max(initial=0.0))


def size_of_terms(value, y, theta, f_y, f_theta):
    """The size that a rounding error in f is relative to.

    f may be a small difference of large terms. They are about as large as y_j ∂f/∂y_j and θ_j ∂f/∂θ_j.
    """
    return 1 + largest(value) + largest(f_y * y[..., None, :]) + largest(f_theta * theta)


def in_proportion(v, x):
    """v, each component multiplied by the size of that of x: all are rounded alike when x moves along it.

    A negligible component of x has no size to go by, and is moved in units of 1.
    """
    size, most = np.abs(x), largest(x)
    return v * np.where(size > NEGLIGIBLE * most, np.maximum(size, SMALLEST_UNIT * most), 1.0)


def faults(f, t, y, theta, differences, tolerance):
    """A sentence for each term of the derivatives of f at (t, y) that the differences contradict.

    t is a number or has the batch's shape. `differences` are f_y, f_θ and f_t, right to
    `tolerance` times the size of what was differenced.
    """
    size = size_of_terms(f(t, y, theta), y, theta, *differences[:2])
    found = []
    for term, got, expected, weight, known in terms_of_derivatives(f, t, y, theta, *differences):
        allowed = tolerance * (1 + weight) * (size + np.abs(expected).max())
        words = in_words(np.asarray(got), expected, known, allowed)
        if words:
            found.append(f"{term} {words}")
    return found or [
        "each term of (1.2) and (1.3) agrees with differences at these states: does f have a kink, a "
        "value_and_vjp of its own, or is its vjp_derivative wrong, of which only check_field has a row?"]


def terms_of_derivatives(f, t, y, theta, f_y, f_theta, f_t):
    """[(term, as computed, as expected, what differences are multiplied by, {mistake: what it gives})]."""
    w, dtheta, a = directions(y, theta, f_y.shape[:-1])
    transposed = np.swapaxes(f_y, -1, -2) if f_y.shape[-1] == f_y.shape[-2] else f_y
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    per_trajectory = (a[..., None, :] @ f_theta)[..., 0, :]
    return [
        ("jacobian: f_y, in (1.2), (1.3) and (18.2)",
         f.jacobian(t, y, theta), f_y, 1.0, {"is transposed": transposed}),
        ("param_jacobian: f_θ, in (1.2), (1.3) and (18.4)",
         f.param_jacobian(t, y, theta), f_theta, 1.0, {}),
        ("time_derivative: f_t",
         f.time_derivative(t, y, theta), f_t, 1.0, {}),
        ("jvp: the term f_y w of (1.2), and so of (16.2)",
         f.jvp(t, y, theta, w, 0 * dtheta), (f_y @ w[..., None])[..., 0], np.abs(w).sum(),
         {"has f_y transposed": (transposed @ w[..., None])[..., 0]}),
        ("jvp: the term f_θ Δθ of (1.2), and so of (16.2)",
         f.jvp(t, y, theta, 0 * w, dtheta), f_theta @ dtheta, np.abs(dtheta).sum(), {}),
        ("vjp: the term a f_y of (1.3), and so of (17.2) and (18.2)",
         a_f_y, (a[..., None, :] @ f_y)[..., 0, :], np.abs(a).sum(),
         {"has f_y transposed": (a[..., None, :] @ transposed)[..., 0, :]}),
        ("vjp: the term Σ a f_θ of (1.3), and so of (17.3) and (18.4)",
         a_f_theta, rows(per_trajectory).sum(axis=0), np.abs(a).sum(),
         mistakes_of_the_sum(per_trajectory)),
    ]


def mistakes_of_the_sum(per_trajectory):
    """{mistake: what it gives} for Σ a f_θ, from the a f_θ (..., p) of each trajectory."""
    each = rows(per_trajectory)
    return {"is averaged over the batch, not summed": each.mean(axis=0),
            "is not summed over the batch": per_trajectory,
            "is summed over θ, not over the batch": per_trajectory.sum(axis=-1),
            "is that of the first trajectory alone": each[0],
            "is that of the last trajectory alone": each[-1]}


def in_words(got, expected, known, allowed):
    """What is wrong with `got`, or None. `known` are mistakes in words, and what each would give."""
    def is_near(other):
        return got.shape == other.shape and bool((np.abs(got - other) <= allowed).all())

    if is_near(expected):
        return None
    known = {"is missing: it is zero": 0 * expected, "has the wrong sign": -expected, **known}
    for words, other in known.items():
        if is_near(other):
            return words
    if got.shape != expected.shape:
        return f"must have shape {expected.shape}, not {got.shape}"
    worst = np.unravel_index(np.argmax(np.nan_to_num(np.abs(got - expected), nan=np.inf)), got.shape)
    where = ", ".join(str(int(i)) for i in worst)
    return f"is wrong: entry ({where}) is {got[worst]:.6g}, and by differences {expected[worst]:.6g}"

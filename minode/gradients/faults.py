"""Appendix to chapter 22. What a check reports, and which term is off

The checks of chapter 22 see that a derivative is wrong, and a reader wants to know where. So each
term of (1.2) and (1.3) is computed by itself and compared with the same term made of differences.
If the two disagree, the term is also compared with what the usual mistakes would give.
"""

import math
import sys
from typing import NamedTuple

import numpy as np

from ..inputs import in_letters_of

SINGLE = float(np.finfo(np.float32).eps)


class Row(NamedTuple):
    """One comparison: what is compared, the largest error, the error allowed, and whether it is ok."""

    what: str
    error: float
    tolerance: float

    @property
    def ok(self):
        return bool(self.error <= self.tolerance < np.inf)


class Report(tuple):
    """The rows of a check. Its `str` is a table."""

    def __str__(self):
        rows = [row._replace(what=in_letters_of(sys.stdout, row.what)) for row in self]       # it is for print()
        width = max(len(row.what) for row in rows)
        lines = [f"{'what':<{width}}  largest error  tolerance  ok"]
        lines += [f"{row.what:<{width}}  {row.error:13.1e}  {row.tolerance:9.1e}  {'yes' if row.ok else 'NO'}"
                  for row in rows]
        return "\n".join(lines)

    def require_ok(self, why, fault):
        """This report. AssertionError with its table and why() if a row is not ok, or with a fault."""
        if not all(row.ok for row in self):
            raise AssertionError("\n".join(["a derivative is wrong", str(self), *why()]))
        if fault:
            raise AssertionError(fault)
        return self


class Term(NamedTuple):
    """A term of the derivatives: in words, as computed, as expected, the error allowed, {mistake: value}."""

    words: str
    got: np.ndarray
    expected: np.ndarray
    allowed: np.ndarray
    known: dict = {}


def joined(products):
    """What `vjp` returns, as one vector."""
    return np.concatenate([np.zeros(0), *(np.ravel(part) for part in products)])


def row(what, *terms):
    """The `Row` of these terms, which shows the entry that is furthest beyond the error allowed there."""
    error = joined(np.abs(term.got - term.expected) for term in terms)
    allowed = joined(np.broadcast_to(term.allowed, np.shape(term.expected)) for term in terms)
    if not error.size:
        return Row(what, 0.0, 0.0)
    worst = np.argmax(excess(error, allowed))
    return Row(what, float(error[worst]), float(allowed[worst]))


def excess(error, allowed):
    """The ratio of the error to the error allowed, infinite if the error is NaN."""
    with np.errstate(all="ignore"):
        return np.where(np.isnan(error), np.inf, error) / np.maximum(allowed, np.finfo(float).tiny)


def without_axes(fault):
    """The fault, if it is that of a sum, or None. AssertionError if it is another: f cannot be solved."""
    if fault and "the term Σ" not in fault:
        raise AssertionError(fault)
    return fault


def in_full(fault, terms):
    """A function that says what is wrong with f: the fault, if any, and each wrong one of terms()."""
    def why():
        found = [f"{term.words} {words}" for term in terms() for words in [in_words(*term[1:])] if words]
        if fault and not (found and "the term Σ" in fault):
            found.insert(0, fault)
        return found or [
            "each term of (1.2) and (1.3) agrees with differences at these states: does f have a kink, is its vjp or "
            "jvp not linear, or is its vjp_derivative wrong, of which only check_field has a row?"]
    return why


def terms_of_derivatives(f, t, y, theta, partials, sizes):
    """The seven `Term`s of (1.2) and (1.3). The products are computed column by column and row by row."""
    (f_y, allowed_y), (f_theta, allowed_theta), (f_t, allowed_t) = partials
    weights = np.random.default_rng(1).uniform(0.5, 1.5, size=(*y.shape[:-1], 1))       # of the trajectories
    columns_y, columns_theta = columns_of_jvp(f, t, y, theta, sizes)
    rows_y, rows_theta = rows_of_vjp(f, t, y, theta, weights, f_y.shape[-2])
    each, allowed = (np.moveaxis(weights[..., None] * part, -2, 0) for part in (f_theta, allowed_theta))
    axes, is_square = tuple(range(1, each.ndim - 1)), f_y.shape[-1] == f_y.shape[-2]
    turned = (np.swapaxes(f_y, -1, -2), allowed_y + np.swapaxes(allowed_y, -1, -2)) if is_square else (f_y, allowed_y)
    allowed = allowed.sum(axis=axes)
    return [
        Term("jacobian: f_y, in (1.2), (1.3) and (18.2)",
             np.asarray(f.jacobian(t, y, theta)), f_y, allowed_y, {"is transposed": turned}),
        Term("param_jacobian: f_θ, in (1.2), (1.3) and (18.4)",
             np.asarray(f.param_jacobian(t, y, theta)), f_theta, allowed_theta),
        Term("time_derivative: f_t", np.asarray(f.time_derivative(t, y, theta)), f_t, allowed_t),
        Term("jvp: the term f_y w of (1.2), and so of (16.2)",
             columns_y, f_y, allowed_y, {"has f_y transposed": turned}),
        Term("jvp: the term f_θ Δθ of (1.2), and so of (16.2)", columns_theta, f_theta, allowed_theta),
        Term("vjp: the term a f_y of (1.3), and so of (17.2) and (18.2)",
             rows_y, f_y, allowed_y, {"has f_y transposed": turned}),
        Term("vjp: the term Σ a f_θ of (1.3), and so of (17.3) and (18.4)",
             rows_theta, each.sum(axis=axes), allowed, mistakes_of_sums(each, allowed))]


def columns_of_jvp(f, t, y, theta, sizes):
    """f_y and f_θ from `jvp`, column by column, each with a tangent of the size of y_j or θ_j."""
    def column(size, w, dtheta):
        return np.asarray(f.jvp(t, y, theta, w, dtheta)) / size
    units, steps = np.eye(y.shape[-1]) * sizes.y[..., None, :], np.eye(theta.size) * sizes.theta
    f_y = [column(sizes.y[..., [j]], units[..., j, :], 0 * theta) for j in range(y.shape[-1])]
    f_theta = [column(sizes.theta[j], 0 * y, steps[j]) for j in range(theta.size)]
    return np.stack(f_y, axis=-1), np.stack(f_theta, axis=-1) if f_theta else np.empty((*f_y[0].shape, 0))


def rows_of_vjp(f, t, y, theta, weights, dim_out):
    """f_y (..., d, d) and Σ f_θ (d, p) from `vjp`, row by row; the trajectories have weights (..., 1)."""
    products = [f.vjp(t, y, theta, weights * e) for e in np.eye(dim_out)]
    return np.stack([a_f_y / weights for a_f_y, _ in products], axis=-2), np.stack([b for _, b in products])


def mistakes_of_the_sum(each):
    """{mistake: what it gives} for Σ a f_θ, from the a f_θ (B, p) of each trajectory."""
    return {"is averaged over the batch, not summed": each.mean(axis=0),
            "is not summed over the batch": each,
            "is summed over θ, not over the batch": each.sum(axis=-1),
            "is that of the first trajectory alone": each[0],
            "is that of the last trajectory alone": each[-1]}


def mistakes_of_sums(each, allowed):
    """{mistake: (what it gives, the error allowed)} for the rows Σ e_i f_θ, from all f_θ (d, ..., p)."""
    one_by_one = each.reshape(len(each), math.prod(each.shape[1:-1]), each.shape[-1])
    found = {words: other for words, other in mistakes_of_the_sum(np.swapaxes(one_by_one, 0, 1)).items()}
    shaped = {"is not summed over the batch": each, "is summed over θ, not over the batch": each.sum(axis=-1)}
    return {words: (other, allowed.max(initial=0.0)) for words, other in {**found, **shaped}.items()}


def in_words(got, expected, allowed, known):
    """What is wrong with `got`, or None. `known` is {mistake: (what it gives, the error allowed)}."""
    def is_near(other, nearness):
        return got.shape == other.shape and bool((np.abs(got - other) <= nearness).all())

    if not np.isfinite(allowed).all():
        return "cannot be compared: there are no finite values on either side of this point"
    if is_near(expected, allowed):
        return None
    usual = {"is missing: it is zero": (0 * expected, 0.0), "has the wrong sign": (-expected, allowed), **known}
    for words, (other, nearness) in usual.items():
        if is_near(other, nearness):
            return words
    if got.shape != expected.shape:
        return f"must have shape {expected.shape}, not {got.shape}"
    worst = np.unravel_index(np.argmax(excess(np.abs(got - expected), allowed)), got.shape)
    with np.errstate(all="ignore"):
        is_single = np.array_equal(got, got.astype(np.float32)) and \
            bool((np.abs(got - expected) <= allowed + SINGLE * np.abs(expected)).all())
    how = "rounded to float32" if is_single else "wrong"
    where = ", ".join(str(int(i)) for i in worst)
    return f"is {how}: entry ({where}) is {got[worst]:.12g}, and by differences {expected[worst]:.12g}"

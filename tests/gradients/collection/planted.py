"""Mistakes of the usual kinds, planted in the right fields one at a time: 90 and more, each large enough to show."""

from typing import NamedTuple

import numpy as np

from tests.gradients.collection.subjects import CASES, Case


SHOWS = 1e-6              # of the terms of a component of f: a smaller mistake may be beyond differences


class Planted(NamedTuple):
    """A wrong field where it is checked, the name of the method that is wrong, and what is wrong there."""

    case: Case
    method: str
    what: str


def with_method(case, method, wrong, what):
    """The case with this method replaced: wrong(right answer, t, y, θ, further arguments)."""
    cls = type(case.f)
    right = getattr(cls, method)

    def replaced(self, t, y, theta, *more):
        return wrong(right(self, t, y, theta, *more), t, y, theta, *more)
    f = object.__new__(type("Wrong", (cls,), {method: replaced}))
    f.__dict__.update(case.f.__dict__)
    return Planted(case._replace(f=f, name=f"{case.name}: {what}"), method, what)


def entry(case, method, k, factor):
    """[One entry of a matrix, the k-th by size, times `factor`], or [] if none is large enough to show."""
    x = {"jacobian": case.y, "param_jacobian": case.theta}[method]
    matrix, value = (getattr(case.f, name)(case.t, case.y, case.theta) for name in (method, "__call__"))
    terms = np.abs(matrix * (x if x is case.theta else x[..., None, :]))
    size = np.abs(value) + terms.sum(axis=-1)
    share = (terms / np.where(size == 0, 1.0, size)[..., None]).reshape(-1, *matrix.shape[-2:]).max(axis=0)
    places = [place for place in np.argsort(-share.ravel()) if share.ravel()[place] * abs(factor - 1) > SHOWS]
    if not places:
        return []
    i = np.unravel_index(places[k % len(places)], share.shape)

    def wrong(right, *_):
        right = np.array(right)
        right[(..., *i)] *= factor
        return right
    return [with_method(case, method, wrong, f"{method} times {factor} in {tuple(int(j) for j in i)}")]


def without_sum(case, how, words):
    """A vjp whose Σ a f_θ is something else of the terms (B, p)."""
    def wrong(right, t, y, theta, a):
        each = (a[..., None, :] @ case.f.param_jacobian(t, y, theta)).reshape(-1, theta.size)
        return right[0], how(each)
    return with_method(case, "vjp", wrong, f"vjp {words}")


def plant():
    """All of them."""
    found = []
    for k, case in enumerate(CASES):
        f_y = case.f.jacobian(case.t, case.y, case.theta)
        has_f_t = np.any(case.f.time_derivative(case.t, case.y, case.theta))
        found += entry(case, "jacobian", k, (-1.0, 0.0, 2.0, 1.01, 1.001)[k % 5])
        found += entry(case, "param_jacobian", 2 * k, (0.0, 1.001, -1.0, 0.5)[k % 4])
        if has_f_t:
            found.append(with_method(case, "time_derivative", lambda right, *_: (0 * right, -right)[k % 2].copy(),
                                     "time_derivative " + ("zero", "of the wrong sign")[k % 2]))
        if k % 4 == 0 and not np.allclose(f_y, np.swapaxes(f_y, -1, -2), 1e-3, 0.0):
            found.append(with_method(case, "vjp", lambda right, t, y, theta, a, f=case.f: (
                (f.jacobian(t, y, theta) @ a[..., None])[..., 0], right[1]), "vjp by the transpose"))
        if k % 4 == 1:
            found.append(without_sum(case, lambda each: each.mean(axis=0), "averaged over the batch"))
        if k % 4 == 2:
            found.append(with_method(case, "jvp", lambda right, t, y, theta, w, dtheta, f=case.f:
                                     (f.jacobian(t, y, theta) @ w[..., None])[..., 0], "jvp without f_θ Δθ"))
        if k % 4 == 3:
            found.append(without_sum(case, lambda each: each[0], "of the first trajectory alone"))
    return found

"""Appendix to chapter 22. Moving one number at a time

The differences of chapter 22 need f at points around (t, y, θ). Their distances reach from the
size of the number that is moved down to distances at which rounding hides every change. This page
chooses the distances, and evaluates f there. f may be undefined at some of these points: the root
of a negative number, a time before the start. The values there are NaN, and a difference that
needs one of them is not used.
"""

from typing import NamedTuple

import numpy as np

RATIO = 8.0                           # each step of a ladder is this many times smaller than the one before
FINEST = 2.0**-40                     # the last step, of the size of x: it leaves x 12 of its 52 bits
SMALLEST_SCALE = 2.0**-20             # over which f may vary about x = 0, if no component of x is smaller
NUDGED = 0.999
AT_ONCE = 10_000                      # numbers of f times parameters
NOTHING = 1e-60                       # is taken for 0
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AssertionError, RuntimeError)


class Partials(NamedTuple):
    """f_y (2, ..., d, d), f_θ (2, ..., d, p) and f_t (2, ..., d) by differences: values and tolerances."""

    f_y: np.ndarray
    f_theta: np.ndarray
    f_t: np.ndarray


class Sizes(NamedTuple):
    """What errors are relative to: sizes of the terms of f (..., d), and of t, y and θ, 1 in place of 0."""

    f: np.ndarray
    t: np.ndarray
    y: np.ndarray
    theta: np.ndarray


def guarded(g, shape):
    """g, with NaN in place of its value if it raises an error, or is not real or of this shape."""
    def value(*args):
        try:
            got = np.array(g(*args))                  # a copy: g may use its array again
        except REFUSALS:
            return np.full(shape, np.nan)
        is_usable = got.shape == shape and got.dtype.kind in "biuf"
        return got.astype(float) if is_usable else np.full(shape, np.nan)
    return value


def size_of(x):
    """|x|, and 1 in place of 0."""
    return np.where(np.abs(x) < NOTHING, 1.0, np.abs(x))


def ladder(x):
    """Steps (K, *x.shape) for each number in x, powers of two, the largest first, in the ratio `RATIO`.

    They begin at |x|, or at 1 if |x| is smaller, because x may be small by chance. They end at `FINEST` of |x|. A
    zero has no size. Its steps go from the largest other component, but at least 1, to `FINEST` of the smallest, but at
    most of `SMALLEST_SCALE`.
    """
    size = np.abs(np.asarray(x, dtype=float))
    size = np.where(size < NOTHING, 0.0, size)
    largest, least = size.max(initial=0.0), size.min(initial=SMALLEST_SCALE, where=size > 0)
    first = np.where(size > 0, np.maximum(size, 1.0), max(largest, 1.0))
    last = np.where(size > 0, size, least) * FINEST
    first = 2.0 ** np.floor(np.log2(first))
    n = int(np.ceil(np.log2(np.max(first / last, initial=2.0)) / np.log2(RATIO)))
    return first * RATIO ** -np.arange(n + 1.0).reshape(-1, *[1] * size.ndim)


class Samples(NamedTuple):
    """g at x and on both sides of it: the values (K, ...), and how far x really moved, (K, ...)."""

    centre: np.ndarray
    right: np.ndarray
    left: np.ndarray
    to_right: np.ndarray
    to_left: np.ndarray


def samples(g, x, steps, centre):
    """g(x + ε) and g(x − ε) for every ε in `steps` (K,) or (K, *x.shape); `centre` (..., d) is g(x)."""
    g, tail = guarded(g, centre.shape), [1] * (centre.ndim - np.ndim(x))
    with np.errstate(all="ignore"):
        right, left = x + steps, x - steps            # rounded, so ε is what remains of it
        values = [np.array([g(moved) for moved in side]) for side in (right, left)]
    return Samples(centre, *values, *(np.reshape(part, (*np.shape(part), *tail)) for part in (right - x, x - left)))


def joint(each):
    """The `Samples` of several numbers as one, with a last axis for the numbers."""
    return Samples(*(np.stack(np.broadcast_arrays(*parts), axis=-1) for parts in zip(*each)))


def samples_of_states(f, t, y, theta, centre):
    """The samples of f as each y_j moves. Every trajectory has steps of its own."""
    def along(j):
        def g(y_j):
            moved = y.copy()
            moved[..., j] = y_j
            return f(t, moved, theta)
        return samples(g, y[..., j], steps[..., j], centre)
    steps = ladder(y)
    return joint([along(j) for j in range(y.shape[-1])])


def samples_of_parameters(f, t, y, theta, parameters, centre):
    """The samples of f as each of these θ_j moves."""
    def along(j):
        def g(theta_j):
            moved = theta.copy()
            moved[j] = theta_j
            return f(t, y, moved)
        return samples(g, theta[j], steps[:, j], centre)
    steps = ladder(theta)
    return joint([along(j) for j in parameters])


def samples_of_time(f, t, y, theta, centre):
    """The samples of f as t moves, a number or an array."""
    return samples(lambda t: f(t, y, theta), t, ladder(t), centre)


def nudged(x):
    """x, each component moved by a thousandth of its size. A zero has the largest size, but at most 1."""
    unit = min(np.abs(x).max(initial=0.0) or 1.0, 1.0)
    return np.where(x == 0, (1 - NUDGED) * unit, NUDGED * x)


def sizes_at(f, t, y, theta, centre):
    """The `Sizes` at a point.

    f may be a small difference of large terms, and rounding errors are relative to the terms. A term that cancels in f
    shows when one of the numbers in it moves: for such a number x it is about as large as x ∂f/∂x, which is found here
    by a difference of a thousandth.
    """
    g, size = guarded(f, centre.shape), np.abs(centre)
    points = [(nudged(np.asarray(t))[()], y, theta)]
    points += [(t, np.where(np.arange(y.shape[-1]) == j, nudged(y), y), theta) for j in range(y.shape[-1])]
    points += [(t, y, np.where(np.arange(theta.size) == j, nudged(theta), theta)) for j in range(theta.size)]
    with np.errstate(all="ignore"):
        for point in points:
            size = size + np.nan_to_num(np.abs(g(*point) - centre), posinf=0.0) / (1 - NUDGED)
    return Sizes(size, size_of(t), size_of(y), size_of(theta))


def point_of_check(f, t, y, theta):
    """All arguments of the methods of f by name: t, y, θ, tangents w and Δθ, and a cotangent a like f.

    The last three are random, but the same in every call. w and Δθ are in proportion to y and θ.
    """
    rng, shape = np.random.default_rng(0), (*y.shape[:-1], getattr(f, "dim_out", f.dim))
    return {"t": t, "y": y, "theta": theta, "w": rng.normal(size=y.shape) * size_of(y),
            "dtheta": rng.normal(size=theta.shape) * size_of(theta), "a": rng.normal(size=shape)}


def moves(y, theta):
    """[(Δy, Δθ, the steps along them)]: first y moves, then θ, each component in proportion to its size.

    A component that is negligible beside the largest one may be small by chance. So these also move by themselves,
    in units of 1, or of the largest component if it is smaller than 1, and down to smaller steps.
    """
    rng, found = np.random.default_rng(0), []
    for k, x in enumerate((y, theta)):
        v, size = rng.normal(size=x.shape), np.abs(x)
        largest = size.max(initial=0.0) or 1.0
        is_small = size < SMALLEST_SCALE * largest
        for part, n in ((v * size, 14), (np.where(is_small, v * min(largest, 1.0), 0.0), 24)):
            if part.any():
                both = (part, 0 * theta) if k == 0 else (0 * y, part)
                found.append((*both, RATIO ** -np.arange(2.0, n + 1)))
    return found


def first_differences(f, t, y, theta, sizes, centre, allowed):
    """f_y, f_θ and f_t by differences, as `Partials`. Each is allowed(samples, size of f, size of x)."""
    f_theta, n = np.empty((2, *centre.shape, theta.size)), max(1, AT_ONCE // centre.size)
    for j in range(0, theta.size, n):
        some = samples_of_parameters(f, t, y, theta, np.arange(theta.size)[j:j + n], centre)
        f_theta[..., j:j + n] = allowed(some, sizes.f[..., None], sizes.theta[j:j + n])
    return Partials(allowed(samples_of_states(f, t, y, theta, centre), sizes.f[..., None], sizes.y[..., None, :]),
                    f_theta, allowed(samples_of_time(f, t, y, theta, centre), sizes.f, np.asarray(sizes.t)[..., None]))


def second_differences(f, t, y, theta, w, dtheta, a, f_y, f_theta, sizes, along):
    """[(`vjp_derivative`, the derivative of `vjp` with a held fixed, the error allowed)] for all moves."""
    def joined(products):
        return np.concatenate([np.ravel(part) for part in products])
    by_y, by_theta = (np.abs(a)[..., None] * np.abs(matrix) for matrix in (f_y, f_theta))
    size = joined([by_y.sum(axis=-2), by_theta.sum(axis=tuple(range(a.ndim)))])
    x, centre = joined([sizes.y, sizes.theta]), joined(f.vjp(t, y, theta, a))
    size = 100 * (size + np.max(size * x) / x)        # a small entry is rounded like the largest one
    return [(joined(f.vjp_derivative(t, y, theta, a, w, dtheta)),
             *along(lambda s: joined(f.vjp(t, y + s * w, theta + s * dtheta, a)), centre, size, steps))
            for w, dtheta, steps in moves(y, theta)]

"""Appendix to chapter 22. Which term is off

The checks of chapter 22 see that a derivative is wrong; a reader wants to know where. So each
term of (1.2) and (1.3) is computed by itself and held against the same term made of
differences, and where they disagree, against what the usual mistakes would have given.
"""

import numpy as np


def directions(y, theta, shape):
    """A tangent w, Δθ and a cotangent a of the shape of f, always the same."""
    rng = np.random.default_rng(0)
    return rng.normal(size=y.shape), rng.normal(size=theta.shape), rng.normal(size=shape)


def faults(f, t, y, theta, differences, tolerance):
    """A sentence for each term of the derivatives of f at (t, y) that the differences contradict.

    t is a number or has the batch's shape; `differences` are f_y, f_θ and f_t, right to
    `tolerance` times the size of what was differenced.
    """
    f_y, f_theta, f_t = differences
    w, dtheta, a = directions(y, theta, f_y.shape[:-1])
    transposed = np.swapaxes(f_y, -1, -2) if f_y.shape[-1] == f_y.shape[-2] else f_y
    each = (a[..., None, :] @ f_theta)[..., 0, :]
    rows = each.reshape(-1, f.n_params)
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    terms = [            # where, computed, expected, what differences are multiplied by, known mistakes
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
         a_f_theta, rows.sum(axis=0), np.abs(a).sum(),
         {"is averaged over the batch, not summed": rows.mean(axis=0),
          "is not summed over the batch": each,
          "is summed over θ, not over the batch": each.sum(axis=-1),
          "is that of the first trajectory alone": rows[0],
          "is that of the last trajectory alone": rows[-1]}),
    ]
    size = 1 + np.abs(f(t, y, theta)).max()
    found = [(where, in_words(np.asarray(got), expected, known,
                              tolerance * (1 + weight) * (size + np.abs(expected).max())))
             for where, got, expected, weight, known in terms]
    return [f"{where} {what}" for where, what in found if what] or [
        "each term of (1.2) and (1.3) agrees with differences at these states: does f have a kink, or a "
        "bind of its own, or have the differences moved the steps of an adaptive method?"]


def in_words(got, expected, known, allowed):
    """What is wrong with `got`, or None; `known` are mistakes, in words, and what they would give."""
    def near(other):
        return got.shape == other.shape and bool((np.abs(got - other) <= allowed).all())

    if near(expected):
        return None
    known = {"is missing: it is zero": 0 * expected, "has the wrong sign": -expected, **known}
    for words, other in known.items():
        if near(other):
            return words
    if got.shape != expected.shape:
        return f"must have shape {expected.shape}, not {got.shape}"
    worst = np.unravel_index(np.argmax(np.nan_to_num(np.abs(got - expected), nan=np.inf)), got.shape)
    where = ", ".join(str(int(i)) for i in worst)
    return f"is wrong: entry ({where}) is {got[worst]:.6g}, and by differences {expected[worst]:.6g}"

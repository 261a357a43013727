"""22. Is it right?

A derivative written by hand is wrong until something independent agrees with it. Three witnesses.

Central differences. For a function g of x along v,

    g'(x) v ≈ ( g(x + εv) − g(x − εv) ) / 2ε.                            (22.1)

By Taylor the error is ε²/6 g''' plus the rounding of g, about u |g| / ε with u = 2.2e-16. The sum
is least near

    ε = u^{1/3},                                                         (22.2)

where it is a multiple of u^{2/3} = 3.7e-11. No choice of ε does better, and that is all that
central differences can ever say: ten digits.

The complex step. For a g made of analytic operations, expand g(x + iεv) instead:

    g'(x) v = Im g(x + iεv) / ε + O(ε²).                                 (22.3)

Nothing is subtracted, so ε may be 1e-30, the O(ε²) vanishes, and the derivative is right to
round-off. It asks that f accept complex numbers, as those here do.

Duality. For tangents w, Δθ and a cotangent a, both products of chapter 1 compute
the same number in two orders,

    a · (f_y w + f_θ Δθ) = (a f_y) · w + (a f_θ) · Δθ,                   (22.4)

and so do pushforward and pullback of a whole solve, for the discrete route
whatever the step size is:

    Σ_i cotangent_i · w(t_i) = dL/dy₀ · Δy₀ + dL/dθ · Δθ.                (22.5)

Duality holds to round-off, but it cannot see a mistake made alike on both sides; differences
cannot see the last six digits. Together they leave little room.

A whole solve. Its g''' may be as large as a power of what the flow stretches, and the error of
(22.1) with it. Two differences D, one over half the distance, have errors as 4 to 1, so

    g'(x) v = ( 4 D(ε/2) − D(ε) ) / 3 + O(ε⁴)                            (22.6)

is without that term (Richardson 1911).

Where a check fails, each term of (1.2) and (1.3) is held against differences by itself, and the
error says in words which is off and what stands in its place: its transpose, its negative,
nothing, a mean over the batch for the sum.

The trap. Agreeing with finite differences is not being right: with an adaptive solver the
differences also see the steps change, and at a loose tolerance they can confirm a wrong gradient.
So all solves that are compared take the steps of the first.

Next: what the gradients are for (Part IV, chapter 23).
"""

import numpy as np

from ..solvers.solve import odeint, run
from ..solvers.states import as_real, as_times
from ..solvers.tableaus import Tableau
from .discrete import sweep
from .faults import (Report, Row, check_axes_in_front, directions, faults, in_float64, in_proportion, joined,
                     largest, size_of_terms, vjp_of_right_shape)
from .pullback import pullback
from .tangent import has_second_derivatives, pushforward

U = np.finfo(np.float64).eps
EPSILON = U ** (1 / 3)                                                             # (22.2)
DIFFERENCE_TOLERANCE = 50 * U ** (2 / 3)     # times the size of what is differenced, and of its terms
DUALITY_TOLERANCE = 1e4 * U                  # times the size of the terms: a few thousand roundings


def central_difference(g, x, v, epsilon=EPSILON):
    """The derivative of g at x along v by (22.1).

    >>> bool(abs(central_difference(np.sin, 1.0, 1.0) - np.cos(1.0)) < 1e-10)
    True
    """
    return (g(x + epsilon * v) - g(x - epsilon * v)) / (2 * epsilon)               # (22.1)


def extrapolated_difference(g, x, v, epsilon=2 * EPSILON):
    """The derivative of g at x along v by (22.6).

    >>> bool(abs(extrapolated_difference(np.exp, 3.0, 1.0, 1e-2) - np.exp(3.0)) < 1e-8)
    True
    """
    whole, half = central_difference(g, x, v, epsilon), central_difference(g, x, v, epsilon / 2)
    return (4 * half - whole) / 3                                                  # (22.6)


def complex_step(g, x, v, epsilon=1e-30):
    """The derivative of an analytic g at x along v by (22.3), to round-off.

    >>> float(complex_step(np.sin, 1.0, 1.0) - np.cos(1.0))
    0.0
    """
    return np.imag(g(x + 1j * epsilon * v)) / epsilon                              # (22.3)


def differences(f, t, y, theta):
    """f_y, f_θ and f_t by central differences: (..., d, d), (..., d, p), (..., d)."""
    f_t = time_difference(f, t, y, theta)
    f_y, f_theta = np.empty((*f_t.shape, f.dim)), np.empty((*f_t.shape, f.n_params))
    for i, e in enumerate(np.eye(f.dim)):
        f_y[..., i] = central_difference(lambda y: f(t, y, theta), y, e)
    for i, e in enumerate(np.eye(f.n_params)):
        f_theta[..., i] = central_difference(lambda theta: f(t, y, theta), theta, e)
    return f_y, f_theta, f_t


def time_difference(f, t, y, theta):
    """f_t by central differences, over the time that t really moves: t + ε is rounded, and late on is t."""
    size = np.maximum(1.0, 4 * np.spacing(np.abs(t)) / EPSILON)
    moved = central_difference(lambda t: t, np.asarray(t, dtype=float), size)
    return central_difference(lambda t: f(t, y, theta), t, size) / moved[..., None]


def why(f, t, y, theta):
    """In words, which term of f is off at these states."""
    return faults(f, t, y, theta, differences(f, t, y, theta), DIFFERENCE_TOLERANCE)


def check_field(f, t, y, theta):
    """Compare every hand-written derivative of the field f with central differences (22.1).

    y is (..., d), a batch included, t a number or of the batch's shape, theta (p,). Returns a
    `Report`, whose `str` is a table; AssertionError with it, and with the term that is off in words,
    where something is wrong, takes no more axes in front of y, or writes into y; ValueError or
    TypeError for unusable input. Choose y off the kinks of a field that has any. A map whose answers
    are of another size than y has it in `f.dim_out`. `vjp_derivative` is compared where there is one.

    >>> from minode import LotkaVolterra
    >>> print(check_field(LotkaVolterra(), 0.0, np.array([30.0, 4.0]), np.array([0.5, 0.05, 0.8, 0.02])))
    what                            largest error  tolerance  ok
    f_y, jacobian                         ...  yes
    f_θ, param_jacobian                   ...  yes
    f_t, time_derivative                  ...  yes
    f_y w + f_θ Δθ, jvp                   ...  yes
    a f_y, a f_θ, vjp against jvp         ...  yes
    change of both, vjp_derivative        ...  yes
    """
    y, theta, t = *in_float64(f, y, theta, "y"), as_real("t", t)[()]
    if not y.size:
        raise ValueError(f"y must hold at least one state, but has shape {y.shape}")
    if np.shape(t) not in ((), y.shape[:-1]):
        raise ValueError(f"t must be a number or have the batch's shape {y.shape[:-1]}, not {np.shape(t)}")
    handed = y.copy()
    value = np.asarray(f(t, handed, theta))
    if not np.array_equal(handed, y):
        raise AssertionError("f(t, y, theta) must not write into y")
    expected = (*y.shape[:-1], getattr(f, "dim_out", f.dim))
    if value.shape != expected:
        raise AssertionError(f"f(t, y, theta) must have shape {expected}, not {value.shape}")

    rows = []

    f_y, f_theta, f_t = differences(f, t, y, theta)
    terms = size_of_terms(value, y, theta, f_y, f_theta)

    def compare(what, name, got, expected, size=terms):
        if np.shape(got) != expected.shape:
            raise AssertionError(f"{name} must have shape {expected.shape}, not {np.shape(got)}")
        error, size = float(np.abs(got - expected).max(initial=0.0)), size + np.abs(expected).max(initial=0.0)
        rows.append(Row(f"{what}, {name}", error, DIFFERENCE_TOLERANCE * size))

    compare("f_y", "jacobian", f.jacobian(t, y, theta), f_y)
    compare("f_θ", "param_jacobian", f.param_jacobian(t, y, theta), f_theta)
    compare("f_t", "time_derivative", f.time_derivative(t, y, theta), f_t)

    w, dtheta, a = directions(y, theta, value.shape)
    forward = f.jvp(t, y, theta, w, dtheta)
    compare("f_y w + f_θ Δθ", "jvp", forward,
            central_difference(lambda s: f(t, y + s * w, theta + s * dtheta), 0.0, 1.0))

    a_f_y, a_f_theta = vjp_of_right_shape(f, t, y, theta, a)
    error = abs(np.vdot(a, forward) - np.vdot(a_f_y, w) - np.vdot(a_f_theta, dtheta))  # (22.4)
    size = np.abs(a_f_y * w).sum() + np.abs(a_f_theta * dtheta).sum() + np.abs(a * forward).sum()
    rows.append(Row("a f_y, a f_θ, vjp against jvp", float(error), DUALITY_TOLERANCE * (1 + size)))
    if has_second_derivatives(f):
        w, dtheta = in_proportion(w, y), in_proportion(dtheta, theta)
        compare("change of both", "vjp_derivative", joined(f.vjp_derivative(t, y, theta, a, w, dtheta)),
                central_difference(lambda s: joined(f.vjp(t, y + s * w, theta + s * dtheta, a)), 0.0, 1.0),
                1 + largest(joined((a_f_y, a_f_theta))))
    check_axes_in_front(f, t, y, theta, expected[-1])
    return Report(rows).insist(lambda: why(f, t, y, theta))


def check_gradients(f, y0, t, theta, **solver):
    """Compare pushforward and pullback with central differences and each other (22.5), and f_t besides.

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,), `solver` the keywords of `solve`; a method that
    chooses its steps chooses them once, and all that is compared is along these. Returns a `Report`;
    AssertionError with its table, and in words which term of the field is off along the solution,
    where something is wrong; ValueError, TypeError and SolverError as for `pushforward`. Each component of
    y0 and θ is moved in proportion to its size.

    >>> from minode import MLP
    >>> f = MLP([4, 5, 3], ["tanh", "tanh"])
    >>> theta = f.init(np.random.default_rng(0))
    >>> report = check_gradients(f, np.ones(3), np.linspace(0.0, 1.0, 5), theta, method="rk4")
    >>> [row.what for row in report][-1], all(row.ok for row in report)
    ('pullback against pushforward', True)
    """
    y0, theta, t = *in_float64(f, y0, theta, "y0"), as_times(t)
    dy0, dtheta, a = directions(y0, theta, y0.shape)
    dy0, dtheta = in_proportion(dy0, y0), in_proportion(dtheta, theta)

    bound, frozen = f.bind(theta, y0), solver
    forward = run(bound, y0, t, [], **solver)
    chooses = getattr(forward.method, "b_hat", None) and solver.get("step_size") is None
    if chooses and not solver.get("per_trajectory"):
        frozen = {"method": forward.method, "grid": [*(step[0] for step in forward.tape), t[-1]]}

    def states(y0, theta):
        return odeint(lambda t, y: f(t, y, theta), y0, t, **frozen)

    check_axes_in_front(f, float(t[0]), y0, theta, f.dim)
    vjp_of_right_shape(f, float(t[0]), y0, theta, a)
    ys, ws = pushforward(f, y0, t, theta, dy0, dtheta, **frozen)
    cotangent = np.random.default_rng(1).normal(size=ys.shape)
    pulled = [pullback(f, y0, t, theta, cotangent, **solver)[:2]]
    if isinstance(forward.method, Tableau):                  # once more, by the other way of chapter 18
        a = sweep(bound, forward.tape, forward.method, forward.problem.t, cotangent)
        pulled.append((a + cotangent[0], bound.a_f_theta()))
    along_y0 = extrapolated_difference(lambda s: states(y0 + s * dy0, theta), 0.0, 1.0)
    along_theta = extrapolated_difference(lambda s: states(y0, theta + s * dtheta), 0.0, 1.0)
    size = 1 + np.abs(ys).max() + np.abs(along_y0).max() + np.abs(along_theta).max()

    def row(what, got, expected, scale=1.0):
        return Row(what, float(np.abs(got - expected).max()), DIFFERENCE_TOLERANCE * size * scale)

    total = np.abs(cotangent).sum()
    pulled = [(a, b if np.shape(b) == theta.shape else np.full(theta.shape, np.nan)) for a, b in pulled]
    clock = np.broadcast_to(t.reshape(-1, *[1] * (ys.ndim - 2)), ys.shape[:-1])
    f_t = time_difference(f, clock, ys, theta)
    to_y0 = np.array([np.vdot(a, dy0) for a, _ in pulled])
    to_theta = np.array([np.vdot(b, dtheta) for _, b in pulled])
    terms = np.abs(cotangent * ws).sum()
    terms += max(np.abs(a * dy0).sum() + np.abs(b * dtheta).sum() for a, b in pulled)
    return Report([
        row("pushforward, along Δy0 and Δθ", ws, along_y0 + along_theta),
        row("pullback, dL/dy0", to_y0, np.vdot(cotangent, along_y0), total),
        row("pullback, dL/dθ", to_theta, np.vdot(cotangent, along_theta), total),
        row("f_t along the solution", f.time_derivative(clock, ys, theta), f_t, 1 + np.abs(f_t).max()),
        Row("pullback against pushforward",
            float(np.abs(np.vdot(cotangent, ws) - to_y0 - to_theta).max()),        # (22.5)
            DUALITY_TOLERANCE * (1 + terms)),
    ]).insist(lambda: why(f, clock, ys, theta))

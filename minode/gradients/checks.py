"""22. Is it right?

A derivative written by hand should count as wrong until something independent agrees with it.

Central differences. For a function g of x along v,

    g'(x) v ≈ ( g(x + εv) − g(x − εv) ) / 2ε.                            (22.1)

By Taylor's theorem the error is about ε²/6 g'''. The rounding of the two values of g adds about u |g| / ε,
with u = 2.2e-16. The sum is least at ε = (3u |g| / |g'''|)^{1/3}. If g and g''' are of one size, that is near

    ε = u^{1/3},                                                         (22.2)

and the error is a multiple of u^{2/3} = 3.7e-11: about ten digits are right. If g varies faster, ε must be
smaller. Near x = 0, ε = 6e-6 gives the derivative of sin(10⁴x) with a relative error of 6e-4, and ε = 6e-9
with 6e-10. The checks below use (22.2), so f should vary over distances of about one.

The complex step. For a g made of analytic operations, expand g(x + iεv) instead:

    g'(x) v = Im g(x + iεv) / ε + O(ε²).                                 (22.3)

Nothing is subtracted, so ε may be 1e-30. The O(ε²) then vanishes, and the derivative is right to round-off.
But f must accept complex numbers, as the fields of this book do.

Duality. For tangents w, Δθ and a cotangent a, the two products of chapter 1 compute one number in two orders,

    a · (f_y w + f_θ Δθ) = (a f_y) · w + (a f_θ) · Δθ,                   (22.4)

and so do pushforward and pullback of a whole solve, by the discrete route and at any step size:

    Σ_i cotangent_i · w(t_i) = dL/dy₀ · Δy₀ + dL/dθ · Δθ.                (22.5)

Duality holds to round-off, but it does not see a mistake that is made alike on both sides. Differences do see
that one, but not the last six digits. Together they leave little room.

A whole solve. If the flow stretches distances, g''' can be very large, and so can the error of (22.1). This
error is ε² times a constant, up to O(ε⁴). Write D(ε) for the right-hand side of (22.1). D(ε/2) has a quarter
of the error of D(ε), and so

    g'(x) v = ( 4 D(ε/2) − D(ε) ) / 3 + O(ε⁴)                            (22.6)

is free of it (Richardson 1911).

If a check fails, each term of (1.2) and (1.3) is compared with differences on its own. The message says in
words which term is wrong, and what stands there instead: its transpose, its negative, zero, or a mean over
the batch in place of the sum.

The trap. Agreeing with finite differences is not the same as being right. With an adaptive solver the
differences also see the steps change, and at a loose tolerance they can confirm a wrong gradient. So all
solves that are compared take the steps of the first one.

Next: what the gradients are for (Part IV, chapter 23).
"""

import numpy as np

from ..inputs import as_check_point, as_float64_point, as_stops, as_times, check_pushforward, has_second_derivatives
from ..solvers.solve import KEYWORDS, find_method, run
from ..solvers.tableaus import Tableau
from .discrete import Tape, backward_pass, run_on_tape
from .faults import (Report, Row, check_axes_in_front, directions, faults, in_proportion, joined, largest,
                     size_of_terms, value_of_right_shape, vjp_of_right_shape)
from .pullback import pullback, stops_in
from .tangent import solve_tangents

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
    """f_t by central differences, divided by the distance that t really moves: t + ε is rounded too."""
    unit = np.maximum(1.0, 4 * np.spacing(np.abs(t)) / EPSILON)           # if t is large, t + ε is t
    distance = central_difference(lambda t: t, np.asarray(t, dtype=float), unit)
    return central_difference(lambda t: f(t, y, theta), t, unit) / distance[..., None]


def check_field(f, t, y, theta):
    """Compare every hand-written derivative of the field f with central differences (22.1).

    y is (..., d), a batch included, t a number or of the batch's shape, theta (p,). Returns a `Report`, whose
    `str` is a table. If a derivative is wrong, AssertionError with that table and the wrong term in words;
    also if f does not accept more axes in front of y, or writes into y. ValueError or TypeError for unusable
    input. If the field has kinks, choose y away from them. `vjp_derivative` is compared if it is written. A
    map whose answers are of another size than y has that size in `f.dim_out`.

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
    t, y, theta = as_check_point(f, t, y, theta)
    value = value_of_right_shape(f, t, y, theta)
    f_y, f_theta, f_t = differences(f, t, y, theta)
    w, dtheta, a = directions(y, theta, value.shape)
    size = size_of_terms(value, y, theta, f_y, f_theta)
    rows = [compare("f_y", "jacobian", f.jacobian(t, y, theta), f_y, size),
            compare("f_θ", "param_jacobian", f.param_jacobian(t, y, theta), f_theta, size),
            compare("f_t", "time_derivative", f.time_derivative(t, y, theta), f_t, size),
            compare("f_y w + f_θ Δθ", "jvp", f.jvp(t, y, theta, w, dtheta),
                    central_difference(lambda s: f(t, y + s * w, theta + s * dtheta), 0.0, 1.0), size),
            duality_of_products(f, t, y, theta, w, dtheta, a)]
    if has_second_derivatives(f):
        rows.append(second_derivatives(f, t, y, theta, w, dtheta, a))
    check_axes_in_front(f, t, y, theta, value.shape[-1])
    return Report(rows).require_ok(lambda: faults(f, t, y, theta, differences(f, t, y, theta), DIFFERENCE_TOLERANCE))


def compare(what, name, got, expected, size):
    """The row of a derivative and its differences; AssertionError if their shapes differ."""
    if np.shape(got) != expected.shape:
        raise AssertionError(f"{name} must have shape {expected.shape}, not {np.shape(got)}")
    return Row(f"{what}, {name}", largest(got - expected), DIFFERENCE_TOLERANCE * (size + largest(expected)))


def duality_of_products(f, t, y, theta, w, dtheta, a):
    """The row of (22.4)."""
    f_dot = f.jvp(t, y, theta, w, dtheta)
    a_f_y, a_f_theta = vjp_of_right_shape(f, t, y, theta, a)
    error = abs(np.vdot(a, f_dot) - np.vdot(a_f_y, w) - np.vdot(a_f_theta, dtheta))  # (22.4)
    terms = np.abs(a_f_y * w).sum() + np.abs(a_f_theta * dtheta).sum() + np.abs(a * f_dot).sum()
    return Row("a f_y, a f_θ, vjp against jvp", float(error), DUALITY_TOLERANCE * (1 + terms))


def second_derivatives(f, t, y, theta, w, dtheta, a):
    """The row of `vjp_derivative`, the derivative of `vjp` with a held fixed."""
    w, dtheta = in_proportion(w, y), in_proportion(dtheta, theta)
    expected = central_difference(lambda s: joined(f.vjp(t, y + s * w, theta + s * dtheta, a)), 0.0, 1.0)
    size = 1 + largest(joined(f.vjp(t, y, theta, a)))
    got = joined(f.vjp_derivative(t, y, theta, a, w, dtheta))
    return compare("change of both", "vjp_derivative", got, expected, size)


def check_gradients(f, y0, t, theta, **solver):
    """Compare pushforward and pullback with central differences, with each other (22.5), and f_t besides.

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,), `solver` the keywords of `solve`. A method that
    chooses its steps chooses them once, and all solves that are compared take these. Each component of y0 and
    θ is moved in proportion to its size. Returns a `Report`. If something is wrong, AssertionError with its
    table and the wrong term of f in words; ValueError, TypeError and SolverError as for `pushforward`.

    >>> from minode import MLP
    >>> f = MLP([4, 5, 3], ["tanh", "tanh"])
    >>> theta = f.init(np.random.default_rng(0))
    >>> report = check_gradients(f, np.ones(3), np.linspace(0.0, 1.0, 5), theta, method="rk4")
    >>> [row.what for row in report][-1], all(row.ok for row in report)
    ('pullback against pushforward', True)
    """
    (y0, theta), t = as_float64_point(f, y0, theta, "y0"), as_times(t)
    dy0, dtheta, a = directions(y0, theta, y0.shape)
    check_pushforward(find_method(solver.get("method", "dopri5")), solver, KEYWORDS, dy0)
    dy0, dtheta = in_proportion(dy0, y0), in_proportion(dtheta, theta)
    first = run(f, y0, t, theta, [], **solver)
    steps = steps_of(first, solver) | {"tstops": as_stops(solver.get("tstops"), f)}
    check_axes_in_front(f, float(t[0]), y0, theta, f.dim)
    vjp_of_right_shape(f, float(t[0]), y0, theta, a)
    ys, ws = solve_tangents(f, y0, t, theta, dy0, dtheta, **steps).solution.ys
    cotangent = np.random.default_rng(1).normal(size=ys.shape)
    gradients = gradients_both_ways(f, y0, t, theta, cotangent, first.method, solver, steps)
    along_y0 = extrapolated_difference(lambda s: run(f, y0 + s * dy0, t, theta, **steps).solution.ys, 0.0, 1.0)
    along_theta = extrapolated_difference(lambda s: run(f, y0, t, theta + s * dtheta, **steps).solution.ys, 0.0, 1.0)
    size, total = 1 + largest(ys) + largest(along_y0) + largest(along_theta), np.abs(cotangent).sum()
    clock = np.broadcast_to(t.reshape(-1, *[1] * (ys.ndim - 2)), ys.shape[:-1])
    f_t = time_difference(f, clock, ys, theta)

    def row(what, got, expected, scale=1.0):
        return Row(what, largest(got - expected), DIFFERENCE_TOLERANCE * size * scale)

    return Report([
        row("pushforward, along Δy0 and Δθ", ws, along_y0 + along_theta),
        row("pullback, dL/dy0", np.array([np.vdot(dL_dy0, dy0) for dL_dy0, _ in gradients]),
            np.vdot(cotangent, along_y0), total),
        row("pullback, dL/dθ", np.array([np.vdot(dL_dtheta, dtheta) for _, dL_dtheta in gradients]),
            np.vdot(cotangent, along_theta), total),
        row("f_t along the solution", f.time_derivative(clock, ys, theta), f_t, 1 + largest(f_t)),
        duality_of_solves(cotangent, ws, gradients, dy0, dtheta),
    ]).require_ok(lambda: faults(f, clock, ys, theta, differences(f, clock, ys, theta), DIFFERENCE_TOLERANCE))


def steps_of(first, solver):
    """Keywords with which a solve takes the steps of the first one, even if its method chose them."""
    chooses_steps = getattr(first.method, "b_hat", None) is not None and solver.get("step_size") is None
    if not chooses_steps or solver.get("per_trajectory"):
        return solver
    return {"method": first.method, "grid": [*(step[0] for step in first.tape), first.problem.t[-1]]}


def gradients_both_ways(f, y0, t, theta, cotangent, method, solver, steps):
    """[(dL/dy0, dL/dθ)] by `pullback`, and again step by step, as `pullback` does if f is large."""
    gradients = [pullback(f, y0, t, theta, cotangent, **solver)[:2]]
    if isinstance(method, Tableau) and not stops_in(f, t, solver)[0]:
        tape = Tape(f, theta, method, may_choose_steps=False)
        run_on_tape(f, y0, t, theta, tape, **steps)
        a, b = backward_pass(f, theta, tape, method, t, cotangent, np.zeros(y0.shape), np.zeros(theta.shape))
        gradients.append((a + cotangent[0], b))
    return [(a, b if np.shape(b) == theta.shape else np.full(theta.shape, np.nan)) for a, b in gradients]


def duality_of_solves(cotangent, ws, gradients, dy0, dtheta):
    """The row of (22.5), for the worst of the gradients."""
    errors = [abs(np.vdot(cotangent, ws) - np.vdot(dL_dy0, dy0) - np.vdot(dL_dtheta, dtheta))  # (22.5)
              for dL_dy0, dL_dtheta in gradients]
    terms = [np.abs(dL_dy0 * dy0).sum() + np.abs(dL_dtheta * dtheta).sum() for dL_dy0, dL_dtheta in gradients]
    size = 1 + np.abs(cotangent * ws).sum() + max(terms)
    return Row("pullback against pushforward", largest(errors), DUALITY_TOLERANCE * size)

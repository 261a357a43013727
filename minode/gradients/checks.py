"""22. Is it right?

A derivative written by hand should count as wrong until something independent agrees with it. A central
difference is one such thing. For a function g of x along v,

    g'(x) v ≈ ( g(x + εv) − g(x − εv) ) / 2ε.                            (22.1)

By Taylor's theorem the error is about ε²/6 g'''. The rounding of the two values of g adds about u |g| / ε,
with u = 2.2e-16. The sum is least at ε = (3u |g| / |g'''|)^{1/3}. If g and g''' are of one size, that is near

    ε = u^{1/3},                                                         (22.2)

and the error is a multiple of u^{2/3} = 3.7e-11. If g varies faster, ε must be smaller. Near x = 0, ε = 6e-6
gives the derivative of sin(10⁴x) with a relative error of 6e-4, and ε = 6e-9 gives it with 6e-10.

The complex step. For a g made of analytic operations, expand g(x + iεv) instead:

    g'(x) v = Im g(x + iεv) / ε + O(ε²).                                 (22.3)

Nothing is subtracted, so ε may be 1e-30, and the derivative is right to round-off. But f must accept complex
numbers.

Duality. For tangents w, Δθ and a cotangent a, the two products of chapter 1 compute one number in two orders,

    a · (f_y w + f_θ Δθ) = (a f_y) · w + (a f_θ) · Δθ,                   (22.4)

and so do pushforward and the discrete pullback of a whole solve by the same steps, of any size:

    Σ_i ∂L/∂y(t_i) · w(t_i) = dL/dy₀ · Δy₀ + dL/dθ · Δθ.                 (22.5)

Duality holds to round-off, but it cannot see a mistake that is made alike on both sides. Differences see such
a mistake, but not the last six digits. The two checks together miss little.

Differences with an error bar. A concentration of 1e-9 mol/L and an orbit of 1.5e11 m need different steps. So
the checks move each number by a ladder of steps, each an eighth of the one before, from the size of the
number down to 1e-12 of it. Let D(ε) be (22.1). If its error is a multiple of ε^q, up to O(ε^{2q}), two steps
in the ratio r remove it (Richardson 1911):

    g'(x) v ≈ V(ε) = ( r^q D(ε/r) − D(ε) ) / ( r^q − 1 ).                (22.6)

For (22.1), q = 2. If g ends or jumps at x, only one side is left. There q = 1, and ε has either sign in

    D(ε) = ( g(x + εv) − g(x) ) / ε.                                     (22.7)

How far is V(ε) off? By far less than D(ε) is, and so by less than D changes from ε to ε/r, which is nearly
the whole error of D(ε). But this change may be small by chance, and rounding adds to it. Rounding that moves
g by η moves D(ε') by η/ε'. So for small steps ε', the change of D times ε' shows η. We take the largest of
these products, from all steps ε' ≤ ε, and divide it by ε:

    e(ε) = ( max_{ε' ≤ ε} ε' |D(ε') − D(ε'/r)| + u S ) / ε.              (22.8)

This covers both errors. S is the size of the terms of g, since g may be a small difference of large ones. A
step that is too large can miss a narrow bend of g, and then its e is too small. So ε counts only if it agrees
with all smaller steps: the intervals of half-width c e around them must have a point in common. With c = 10:

    max_{ε' ≤ ε} ( V(ε') − c e(ε') ) ≤ min_{ε' ≤ ε} ( V(ε') + c e(ε') ).  (22.9)

Of the steps that count, we take the one with the smallest e. The derivative written by hand is rounded too,
say n = 100 times. So it is wrong if it is further away than

    c e + n u ( |V| + S / max(|x|, ε) + |x g''| ).                       (22.10)

Every entry of f_y, f_θ and f_t has its own V, e and S, so a small one is not lost beside a large one.
Differences cannot see a mistake below (22.10), near 1e-9 of the terms of a component of f, nor one in a term
that is 0 at the point of the check. At a kink they allow everything between the slopes on both sides, and
between 0 and the sum of the two. A bend narrower than 1e-10 of x looks like a jump.
`python -m tests.gradients.collection` plants 197 mistakes in fields of chemistry, orbits, neurons and
circuits: all are caught and named; none of 63 right ones is accused.

With an adaptive solver the differences also see the steps change, and at a loose tolerance they can confirm a
wrong gradient. So all solves that are compared take the steps of the first one. If a check fails, the message
says which term of (1.2) or (1.3) is wrong, and whether its transpose, its negative or zero stands there
instead.

Figure 22 shows the errors of (22.1) and (22.3) for every ε.

Next: what the gradients are for (Part IV, chapter 23).
"""

import numpy as np

from ..inputs import as_check_point, as_times, has_second_derivatives
from ..solvers.solve import run
from .contract import contract
from .differences import NOTHING, first_differences, moves, samples, samples_of_time, second_differences, sizes_at
from .faults import Report, Row, Term, in_full, row, terms_of_derivatives, without_axes
from .ladders import at_kink, chosen, curvature, from_the_finest, rounding_of
from .solves import balanced, first_solve, gradients_both_ways, terms_in_time, terms_of_solves

U = np.finfo(np.float64).eps
EPSILON = U ** (1 / 3)                                                             # (22.2)
TRUST, ROUNDINGS, LAST = 10.0, 100.0, 2     # c, n, and how many last steps of a ladder show rounding
DUALITY_TOLERANCE = 1e4 * U                 # times the size of the terms: a few thousand roundings


def central_difference(g, x, v, epsilon=EPSILON):
    """The derivative of g at x along v by (22.1).

    >>> bool(abs(central_difference(np.sin, 1.0, 1.0) - np.cos(1.0)) < 1e-10)
    True
    """
    return (g(x + epsilon * v) - g(x - epsilon * v)) / (2 * epsilon)               # (22.1)


def extrapolated(D, D_finer, r, q):
    """The limit (22.6) of D(ε) as ε tends to 0, from D(ε) and D(ε/r)."""
    return (r**q * D_finer - D) / (r**q - 1)                                       # (22.6)


def complex_step(g, x, v, epsilon=1e-30):
    """The derivative of an analytic g at x along v by (22.3), to round-off.

    >>> float(complex_step(np.sin, 1.0, 1.0) - np.cos(1.0))
    0.0
    """
    return np.imag(g(x + 1j * epsilon * v)) / epsilon                              # (22.3)


def estimate(D, epsilon, q, uS):
    """The best extrapolated value of the differences D (K, ...) at steps ε, with its error bar."""
    r = epsilon[:-1] / epsilon[1:]
    V = extrapolated(D[:-1], D[1:], r, q)
    changes = epsilon[:-1] * np.abs(D[:-1] - D[1:])                                # (22.8)
    changes = np.where(np.isfinite(changes), changes, 0.0)
    finest = np.where(np.isfinite(D) & (epsilon > 0), epsilon, np.inf).min(axis=0)
    is_last = epsilon[:-1] <= r**LAST * finest               # these have no smaller steps to show η
    changes = np.where(is_last, np.where(is_last, changes, 0.0).max(axis=0), changes)      # equal by chance
    e = (from_the_finest(np.maximum, changes) + uS) / epsilon[:-1]                 # (22.8)
    e = np.where(np.isfinite(V), e, np.inf)
    low, high = (np.where(e < np.inf, V + c * e, c * np.inf) for c in (-TRUST, TRUST))
    counts = from_the_finest(np.maximum, low) <= from_the_finest(np.minimum, high)  # (22.9)
    return chosen(V, np.where(counts, e, np.inf), np.broadcast_to(epsilon[:-1], V.shape))


def derivative(g, size):
    """The `Estimate` of a derivative from `Samples` of g: central, or one-sided if that has a smaller bar.

    That is so if g jumps here, or ends. If both sides have small bars and differ, g has a kink: D lies between.
    """
    with np.errstate(all="ignore"):
        (uS, is_still), epsilon = rounding_of(g, U * size, size), (g.to_right + g.to_left) / 2
        g = g._replace(right=np.where(is_still, np.nan, g.right), left=np.where(is_still, np.nan, g.left))
        central = estimate((g.right - g.left) / (2 * epsilon), epsilon, 2, uS)
        right = estimate((g.right - g.centre) / g.to_right, g.to_right, 1, uS)     # (22.7)
        left = estimate((g.left - g.centre) / -g.to_left, g.to_left, 1, uS)        # (22.7)
    return at_kink(right, left, chosen(*(np.stack(parts) for parts in zip(central, right, left))), TRUST)


def allowed(g, S, x):
    """A derivative along a number of the size x from `Samples` of g, and the error allowed, (22.10)."""
    V, e, epsilon = derivative(g, S)
    g_xx, distance = curvature(g, x, epsilon, ROUNDINGS * U * S), np.maximum(x, epsilon)   # x may be small by chance
    return V, TRUST * e + ROUNDINGS * U * (np.abs(V) + S / distance + x * g_xx)    # (22.10)


def along(g, centre, size, steps):
    """g'(0) for a g(s) whose terms have this size, and the error allowed."""
    found = derivative(samples(g, 0.0, steps, centre), size)
    rounded = DUALITY_TOLERANCE * (np.abs(centre) + np.abs(found.value)) + ROUNDINGS * U * size
    return found.value, TRUST * found.bar + rounded + NOTHING


def check_field(f, t, y, theta):
    """Compare every hand-written derivative of the field f with central differences (22.1).

    y is (..., d), a batch included, t a number or of the batch's shape, theta (p,). Returns a `Report`, whose
    `str` is a table. If a derivative is wrong, AssertionError with that table and the wrong term in words. The
    same error if f cannot take more axes in front of y or an array of times, writes into an argument, or is random.
    ValueError or TypeError for unusable input. If the field has kinks, choose y away from them. If `vjp_derivative`
    is defined, it is compared too. If f(t, y) is longer or shorter than y, `f.dim_out` must say how long.

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
    value, sizes, point, fault = contract(f, t, y, theta)
    terms = terms_of_derivatives(f, t, y, theta, first_differences(f, t, y, theta, sizes, value, allowed), sizes)
    rows = [row("f_y, jacobian", terms[0]), row("f_θ, param_jacobian", terms[1]),
            row("f_t, time_derivative", terms[2]), row("f_y w + f_θ Δθ, jvp", *terms[3:5]),
            duality_of_products(f, *point.values(), sizes.f)]
    if has_second_derivatives(f):
        second = second_differences(f, *point.values(), terms[0].expected, terms[1].expected, sizes, along)
        rows.append(row("change of both, vjp_derivative", *(Term("", *term) for term in second)))
    return Report(rows).require_ok(in_full(fault, lambda: terms), fault)


def duality_of_products(f, t, y, theta, w, dtheta, a, size):
    """The row of (22.4)."""
    f_dot = f.jvp(t, y, theta, w, dtheta)
    a_f_y, a_f_theta = f.vjp(t, y, theta, a)
    error = abs(np.vdot(a, f_dot) - np.vdot(a_f_y, w) - np.vdot(a_f_theta, dtheta))  # (22.4)
    terms = np.abs(a_f_y * w).sum() + np.abs(a_f_theta * dtheta).sum() + (np.abs(a) * (np.abs(f_dot) + size)).sum()
    return Row("a f_y, a f_θ, vjp against jvp", float(error), DUALITY_TOLERANCE * terms)


def check_gradients(f, y0, t, theta, **solver):
    """Compare pushforward, pullback and f_t with differences, and the first two with each other (22.5).

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,), `solver` the keywords of `solve`. A method that chooses
    its steps chooses them once, and all solves compared take these, up to the `event` if there is one. There, or else
    at t[-1], its gradient is compared too (chapter 28). Each component of y0 and θ is moved in proportion to its size.
    Returns a `Report`. If something is wrong, AssertionError with it and the wrong term. Other errors as for `solve`.

    >>> from minode import MLP
    >>> f = MLP([4, 5, 3], ["tanh", "tanh"])
    >>> theta = f.init(np.random.default_rng(0))
    >>> report = check_gradients(f, np.ones(3), np.linspace(0.0, 1.0, 5), theta, method="rk4")
    >>> [row.what for row in report][-1], all(row.ok for row in report)
    ('pullback against pushforward', True)
    """
    t = as_times(t)
    start, y0, theta = as_check_point(f, t[0], y0, theta, "y0")
    fault = without_axes(contract(f, start, y0, theta)[-1])
    first, steps = first_solve(f, y0, t, theta, solver)
    ys = first.solution.ys
    clock = np.broadcast_to(t.reshape(-1, *[1] * (ys.ndim - 2)), ys.shape[:-1])
    value = f(clock, ys, theta)
    sizes = sizes_at(f, clock, ys, theta, value)
    size = np.abs(ys) + np.abs(clock - t[0])[..., None] * sizes.f.max(axis=0)        # all that was added up
    found = [(dy0, dtheta, *along(lambda s: run(f, y0 + s * dy0, t, theta + s * dtheta, **steps).solution.ys,
                                  ys, size, ladder)) for dy0, dtheta, ladder in moves(y0, theta)]
    cotangent = balanced(ys, found)
    gradients, dL_dt = gradients_both_ways(f, y0, t, theta, cotangent, first.method, solver, steps)
    f_t = allowed(samples_of_time(f, clock, ys, theta, value), sizes.f, sizes.t[..., None])
    in_time = terms_in_time(f, y0, theta, first, solver, cotangent, dL_dt, lambda states, steps: along(
        states, ys, size + np.abs(clock)[..., None] * sizes.f.max(axis=0), steps))
    forward, back_y0, back_theta, duality = (
        [Term("", *term) for term in terms]
        for terms in terms_of_solves(f, y0, t, theta, steps, cotangent, gradients, found, duality_of_solves))
    return Report([
        row("pushforward, along Δy0 and Δθ", *forward), row("pullback, dL/dy0", *back_y0),
        row("pullback, dL/dθ", *back_theta), *[row("pullback, dL/dt", Term("", *term)) for term in in_time],
        row("f_t along the solution", Term("", f.time_derivative(clock, ys, theta), *f_t)),
        row("pullback against pushforward", *duality),
    ]).require_ok(in_full(fault, lambda: terms_of_derivatives(
        f, clock, ys, theta, first_differences(f, clock, ys, theta, sizes, value, allowed), sizes)), fault)


def duality_of_solves(cotangent, ws, dL_dy0, dL_dtheta, dy0, dtheta):
    """The `Term` of (22.5), without its words: its error, 0, and the error allowed."""
    error = np.vdot(cotangent, ws) - np.vdot(dL_dy0, dy0) - np.vdot(dL_dtheta, dtheta)  # (22.5)
    size = np.abs(dL_dy0 * dy0).sum() + np.abs(dL_dtheta * dtheta).sum() + np.abs(cotangent * ws).sum()
    return error, 0.0, DUALITY_TOLERANCE * (size + cotangent.size)

"""16. The tangent system

Move the initial state by a small Δy₀ and the parameters by Δθ. How does y(t) move?
Call the first-order answer w(t). Differentiate y' = f(t, y, θ) in the direction
of the move, exchange the two derivatives, and use the chain rule:

    dy/dt = f(t, y, θ),                                                  (16.1)
    dw/dt = f_y w + f_θ Δθ,     w(t₀) = Δy₀.                             (16.2)

This is the tangent system: the field itself, and beside it the Jacobian-vector
product of chapter 1 along the solution. It runs forwards with y, needs nothing
stored, and answers one direction (Δy₀, Δθ) at a time. To differentiate along all
d + p directions takes d + p solves; one loss along all of them takes one solve
of the adjoint system instead (chapter 17). The map (Δy₀, Δθ) ↦ w(T) is called
the pushforward: tangents at the start are pushed forward to tangents at the end.

By hand, once: for y' = θ y the tangent system is w' = θ w + y Δθ with w(t₀) = Δy₀. Its solution is

    w(t) = e^{θ(t−t₀)} ( Δy₀ + (t − t₀) y₀ Δθ ),

which is also what moves if y(t) = e^{θ(t−t₀)} y₀ is differentiated along (Δy₀, Δθ).

Exact means exact. Apply a Runge–Kutta method with fixed steps to (16.1, 16.2). Its stages are k_i = f(Y_i)
for y, and for w they are k̇_i = f_y(Y_i) W_i + f_θ(Y_i) Δθ with W_i = w + h Σ_j a_ij k̇_j. These are exactly
the derivatives of (9.1), (9.2) and (9.3) along (Δy₀, Δθ). So solving the tangent system *is* differentiating
the discrete solve, to round-off and at every step size. For tangents, "first differentiate, then discretise"
and the reverse agree. For adjoints they do not (chapter 18).

An implicit method (chapter 13) needs a matrix for the pair. Its rows y and w are two trajectories of one batch, and
each of them gets f_y. That is not the whole Jacobian of the pair, since it leaves out how f_y w changes with y. But
it is the whole one for y, and for w as soon as y is known, so Newton's method needs only one iteration more. The
w that it finds solves the derivative of (13.1). In all steps it goes on to round-off here.

The trap is the error control of an adaptive method. Steps that keep y accurate may be far too long for w,
which can grow while y rests. Here the pair (y, w) is one state of the solver, so w is inside its error norm.

Next: the same derivatives backwards (chapter 17).
"""

import numpy as np

from ..fields.base import state_jacobian
from ..inputs import as_field, as_point, as_real, as_stops, check_pushforward, read_only, tolerances_of_parts
from ..solvers.solve import KEYWORDS, find_method, run


def tangent_rhs(f):
    """The right-hand side of the tangent system (16.1, 16.2) of a field f.

    Returns rhs(t, (y, w), theta, dtheta) -> (dy, dw); y and w are (..., d), theta and dtheta (p,). TypeError
    if f is no `VectorField`. Hairer, Nørsett and Wanner (1993), section I.14.

    >>> from minode import Linear
    >>> A, rest = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.zeros(4)
    >>> tangent_rhs(Linear(2))(0.0, (np.array([1.0, 2.0]), np.array([0.0, 1.0])), A.ravel(), rest)
    (array([ 2., -4.]), array([1., 0.]))
    """
    as_field(f)

    def rhs(t, state, theta, dtheta):
        y, w = state
        dy = f(t, y, theta)                                                        # (16.1)
        dw = f.jvp(t, y, theta, w, dtheta)                                         # (16.2)
        return dy, dw
    return rhs


def pushforward(f, y0, t, theta, dy0=None, dtheta=None, **solver):
    """The states at t and how they move with y0 and θ (16.2): (ys, ws), both (N, ..., d).

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,). dy0 has the shape of y0 and dtheta that of theta.
    Left out, they are zero. `solver` are the keywords of `solve`; a `norm` among them is that of the pair
    (y, w), and rtol and atol like y0 hold for w too. ValueError or TypeError for unusable input, SolverError if
    the solve fails. Griewank and Walther (2008).

    >>> from minode import Linear
    >>> t, A = np.linspace(0.0, 1.0, 101), np.array([[0.0, 1.0], [-4.0, 0.0]])
    >>> ys, ws = pushforward(Linear(2), [1.0, 0.0], t, A.ravel(), dy0=[1.0, 0.0], method="rk4")
    >>> bool(np.allclose(ws, ys))                   # the flow is linear: y0 pushes forward to y
    True
    """
    y0, theta = as_point(f, y0, theta)
    w0 = np.zeros_like(y0) if dy0 is None else as_real("dy0", dy0, y0.shape).astype(y0.dtype)
    check_pushforward(find_method(solver.get("method", "dopri5")), solver, KEYWORDS, w0)
    dtheta = np.zeros_like(theta) if dtheta is None else as_real("dtheta", dtheta, theta.shape).astype(theta.dtype)
    return solve_tangents(f, y0, t, theta, w0, dtheta, **solver).solution.ys


def solve_tangents(f, y0, t, theta, w0, dtheta, tape=None, **keywords):
    """The `Run` of the pair (y, w) by (16.1, 16.2), from arrays that fit; `tape` and keywords are those of `run`."""
    rhs, dtheta, keywords["tstops"] = tangent_rhs(f), read_only(dtheta), as_stops(keywords.get("tstops"), f)
    if not getattr(find_method(keywords.get("method", "dopri5")), "is_explicit", True):
        return solve_as_rows(f, rhs, y0, t, theta, w0, dtheta, tape, **keywords)
    keywords = tolerances_of_parts(keywords, y0, 2)
    return run(lambda t, state, theta: rhs(t, state, theta, dtheta), (y0, w0), t, theta, tape, **keywords)


def solve_as_rows(f, rhs, y0, t, theta, w0, dtheta, tape, jacobian=None, norm=None, **keywords):
    """`solve_tangents` by an implicit method, the pair being an array (2, ..., d)."""
    def f_y_twice(t, rows):
        f_y = state_jacobian(f, t, rows[0], theta) if jacobian is None else jacobian(t, rows[0])
        return np.stack([f_y, f_y])

    def norm_of_pair(error, scale):
        return norm(tuple(error), tuple(scale))
    for name in ("rtol", "atol"):
        if isinstance(keywords.get(name), tuple):            # one for y and one for w
            keywords[name] = np.stack(keywords[name])
    done = run(lambda t, rows, theta: np.stack(rhs(t, tuple(rows), theta, dtheta)), np.stack([y0, w0]), t, theta, tape,
               jacobian=f_y_twice, norm=norm and norm_of_pair, exactly=True, **keywords)
    return done._replace(solution=done.solution._replace(ys=tuple(done.solution.ys.swapaxes(0, 1))))

"""16. The tangent system

Move the initial state by a small Δy₀ and the parameters by Δθ. How does y(t) move? To first order
it moves by w(t), the tangent. Differentiate y' = f(t, y, θ) in the direction of the move, exchange
the two derivatives, and use the chain rule:

    dy/dt = f(t, y, θ),                                                  (16.1)
    dw/dt = f_y w + f_θ Δθ,     w(t₀) = Δy₀.                             (16.2)

This is the tangent system: the field itself, and beside it the Jacobian-vector product of chapter 1
along the solution. It runs forwards with y, and nothing has to be stored. One solve answers one
direction (Δy₀, Δθ). To differentiate along all d + p directions takes d + p solves, while one loss
along all of them takes one solve of the adjoint system (chapter 17). The map (Δy₀, Δθ) ↦ w(T) is
called the pushforward: it pushes tangents at the start forward to tangents at the end.

By hand, once: for y' = θ y we have f_y = θ and f_θ = y, so the tangent system is w' = θ w + y Δθ
with w(t₀) = Δy₀. Its solution is

    w(t) = e^{θ(t−t₀)} ( Δy₀ + (t − t₀) y₀ Δθ ).

Differentiate y(t) = e^{θ(t−t₀)} y₀ along (Δy₀, Δθ), and the same comes out.

Solved with fixed steps, w is exact in a second sense. Apply a Runge–Kutta method to (16.1, 16.2).
Its stages, with t and θ left out, are k_i = f(Y_i) for y, and for w
k̇_i = f_y(Y_i) W_i + f_θ(Y_i) Δθ with W_i = w + h Σ_j a_ij k̇_j. These are exactly the derivatives
of (9.1), (9.2) and (9.3) along (Δy₀, Δθ). So the computed w is the derivative of the computed y, to
round-off and at every step size. For tangents, "first differentiate, then discretise" and "first
discretise, then differentiate" agree. For adjoints they do not, except for methods such as
implicit_midpoint and gauss4 (chapter 18).

An adaptive method needs care. Steps that keep y accurate may be far too long for w, which can grow
while y rests. Here the pair (y, w) is one state of the solver, so that w is inside its error norm.

An implicit method (chapter 13) solves an equation for the pair, and needs its Jacobian. We give it
f_y for y and f_y for w, as if they were two trajectories of one batch. This leaves out the block
below the two, which says how f_y w changes with y. It multiplies only the correction of y, which is
0 once y has converged, so Newton's method takes only one iteration more. The w that it finds solves
the derivative of (13.1). Here Newton's method goes on to round-off in all steps, those of an
adaptive method too.

Figure 5 shows w along a trajectory, and figure 20 a state at rest whose tangent is not.

Next: the same derivatives backwards (chapter 17).

Exercises. 1. Derive: take (16.2) for y' = θ y by n steps of Euler's method, and show that w_n is
the derivative of (1 + hθ)^n y₀. 2. Predict, then run: x' = x − y, y' = y − x rests at (1, 1). What
is w(t) along Δy₀ = (1, 0)? Will dopri5 take more steps to t = 5 for the pair (y, w) than for y
alone? (Run `solve` and `pushforward` with the field Linear(2) and θ = (1, −1, −1, 1), and count the
calls of f.)
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
    If either is left out, it is zero. `solver` are the keywords of `solve`. A `norm` among them is that of the
    pair (y, w). rtol and atol of the shape of y0 hold for w too. ValueError or TypeError for unusable input,
    SolverError if the solve fails. Griewank and Walther (2008).

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
    """The `Run` of the pair (y, w) by (16.1, 16.2), with the tape and keywords of `run`."""
    rhs, dtheta, keywords["tstops"] = tangent_rhs(f), read_only(dtheta), as_stops(keywords.get("tstops"), f)
    if not getattr(find_method(keywords.get("method", "dopri5")), "is_explicit", True):
        return solve_as_rows(f, rhs, y0, t, theta, w0, dtheta, tape, **keywords)
    keywords = tolerances_of_parts(keywords, y0, 2)
    return run(lambda t, state, theta: rhs(t, state, theta, dtheta), (y0, w0), t, theta, tape, **keywords)


def solve_as_rows(f, rhs, y0, t, theta, w0, dtheta, tape, jacobian=None, norm=None, **keywords):
    """`solve_tangents` by an implicit method, with the pair as an array (2, ..., d)."""
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

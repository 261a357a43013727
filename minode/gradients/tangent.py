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

Exact means exact. Apply a Runge–Kutta method with fixed steps to (16.1, 16.2)
and its stages are k_i = f(Y_i) for y and f_y(Y_i) W_i + f_θ(Y_i) Δθ for w, with
W_i = w + h Σ a_ij (the w-stage j): exactly the derivatives of (9.1), (9.2) and
(9.3) in the direction. So solving the tangent system *is* differentiating the
discrete solve, to round-off and at every step size. "First differentiate, then
discretise" and the reverse agree for tangents. For adjoints they do not.

The trap is the error control of an adaptive method. Steps chosen to keep y
accurate may be far too long for w, which can grow where y rests. Here the pair
(y, w) is one state of the solver, so w is inside its error norm.

Next: the same derivatives backwards (chapter 17).
"""

import numpy as np

from ..fields.base import VectorField
from ..solvers.solve import find_method, odeint
from ..solvers.states import as_real


def tangent_rhs(f):
    """The right-hand side of the tangent system (16.1, 16.2) of a field f.

    Returns rhs(t, (y, w), theta, dtheta) -> (dy, dw); y and w are (..., d),
    theta and dtheta (p,). TypeError where f is no `VectorField`. Hairer, Nørsett and
    Wanner (1993), section I.14.

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

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,). dy0 has the shape of y0 and dtheta that of
    theta; left out, they are zero.
    `solver` are the keywords of `solve`; a `norm` among them is of the pair (y, w). ValueError
    or TypeError for unusable input, SolverError where the solve fails. Griewank and Walther (2008).

    >>> from minode import Linear
    >>> t, A = np.linspace(0.0, 1.0, 101), np.array([[0.0, 1.0], [-4.0, 0.0]])
    >>> ys, ws = pushforward(Linear(2), [1.0, 0.0], t, A.ravel(), dy0=[1.0, 0.0], method="rk4")
    >>> bool(np.allclose(ws, ys))                   # the flow is linear: y0 pushes forward to y
    True
    """
    y0, theta = as_point(f, y0, theta)
    method = find_method(solver.get("method", "dopri5"))
    if solver.get("per_trajectory") or not getattr(method, "is_explicit", True):
        raise ValueError("pushforward solves y and w as one state, and takes explicit and reversible methods "
                         f"with joint steps; got {method.name!r}")
    w0 = np.zeros_like(y0) if dy0 is None else as_real("dy0", dy0, y0.shape).astype(y0.dtype)
    dtheta = np.zeros_like(theta) if dtheta is None else as_real("dtheta", dtheta, theta.shape)
    rhs = tangent_rhs(f)
    return odeint(lambda t, state: rhs(t, state, theta, dtheta), (y0, w0), t, **solver)


def as_field(f, name="f"):
    """f, if it has what the derivatives need of a field."""
    if isinstance(f, type):
        raise TypeError(f"{name} must be a VectorField, an instance and not the class {f.__name__} itself")
    for part in ("vjp", "jvp", "dim", "n_params"):
        if not hasattr(f, part):
            raise TypeError(f"{name} must be a VectorField, with derivatives, not {type(f).__name__}, "
                            f"which has no {part}")
    return f


def has_second_derivatives(f):
    """Whether `vjp_derivative` is written, and not the one of VectorField that says it is not."""
    written = getattr(f, "vjp_derivative", None)
    return written is not None and getattr(written, "__func__", None) is not VectorField.vjp_derivative


def as_twice(f):
    """f, if it is a field whose second derivatives are written, which is asked before it is called."""
    if not has_second_derivatives(as_field(f)):
        raise TypeError(f"f must have second derivatives, but {type(f).__name__} does not define "
                        "vjp_derivative(t, y, theta, a, w, dtheta)")
    return f


def as_point(f, y0, theta, name="y0"):
    """y0 and theta as arrays that fit the field f, or an error that says which does not."""
    y0, theta = as_real(name, y0), as_real("theta", theta, (as_field(f).n_params,))
    if y0.ndim == 0 or y0.shape[-1] != f.dim:
        raise ValueError(f"{name} must have shape (..., {f.dim}) for this field, not {y0.shape}")
    return y0, theta

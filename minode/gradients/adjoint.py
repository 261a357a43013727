"""17. The adjoint system

A loss L reads the state at the end, y(T). How does it depend on the state at
some earlier t? Write L_t for L as a function of y(t) (and of θ), and

    a(t) = ∂L_t/∂y(t)   (a row),     b(t) = ∂L_t/∂θ   with y(t) held fixed.

a(T) is the plain derivative of L, and a(t₀) is the gradient that is wanted.
Both follow from one observation. Take any solution w of the tangent system
(16.2). The first-order change of L that it causes is a(t) · w(t) + b(t) · Δθ,
computed from whichever t one likes, since it is always the same change of the
same number. So along a trajectory

    a · w + b · Δθ   does not change.                                    (17.1)

Differentiate (17.1) and insert (16.2):

    0 = a' · w + a · (f_y w + f_θ Δθ) + b' · Δθ = (a' + a f_y) · w + (b' + a f_θ) · Δθ.

At a given t, w may be any vector: the matrix Y(t) with Y' = f_y Y, Y(t₀) = 1,
that carries Δy₀ to w, is invertible, as det Y = exp ∫ tr f_y > 0 (Liouville). And
Δθ may be any vector too. So both brackets vanish:

    da/dt = −a f_y,                                                      (17.2)
    db/dt = −a f_θ,     a(T) = ∂L/∂y(T),   b(T) = ∂L/∂θ.                 (17.3)

b(T) is zero where L sees θ only through the states; a penalty on the weights is
the usual exception. Together with dy/dt = f this is the augmented system for
[y, a, b], integrated from T back to t₀, where a(t₀) = dL/dy₀ and b(t₀) = dL/dθ. In
a batch each trajectory has its own a and all share b, which collects their sum.

Losses at several times. L = L(y(t₁), …, y(t_N)) changes by ∂L/∂y(t_i) · w(t_i) on
the way, so what is left of the change after t_i is smaller by that. Backwards,

    a(t_i⁻) = a(t_i⁺) + ∂L/∂y(t_i).                                      (17.4)

The times themselves. Moving the i-th output along the trajectory moves the state
read there by f; starting later leaves out a piece of the way, a(t₀⁺) · f of it:

    dL/dt_i = ∂L/∂y(t_i) · f(t_i, y(t_i)),   i ≥ 1,                      (17.5)
    dL/dt₀ = −a(t₀⁺) · f(t₀, y₀).                                        (17.6)

b stands on the left of (17.3) only. Its error does not feed back into y or a, and where θ is
long it can still dominate the error norm of an adaptive method and shorten its
steps. So b may be left out of the norm (Kidger, Chen and Lyons 2021):

    E = ( mean of (e_i / sc_i)² over the components of y and a )^{1/2}.  (17.7)

The price is b itself: left out, it is a quadrature of a f_θ along steps chosen for y and a
alone, and where f_θ changes faster than they do, dL/dθ can be wrong by any amount, unseen.

The trap. Solving y backwards must meet the states it came from. That does not ask
for a reversible method, only for an accurate solve, but where the field contracts
going forwards (y' = −λy) it expands going back, and errors grow like e^{λT}. Here
y is set right at each output time, where it is known. And what comes out is the
gradient of the ODE's solution, solved approximately; not the gradient of the
numbers the forward solve printed. The two differ by O(h^p) (chapter 18).

Next: the exact derivative of the steps (chapter 18).
"""

import numpy as np

from ..solvers.solve import odeint
from .tangent import as_field


def adjoint_rhs(f):
    """The right-hand side of the augmented system [y, a, b], (17.2) and (17.3), of a field f.

    Returns rhs(t, (y, a, b), theta) -> (dy, da, db), all in forward time (a
    solve from T back to t₀ simply has decreasing times). y and a are (..., d),
    b and theta (p,). TypeError where f is no `VectorField`. Pontryagin and others (1962);
    Chen, Rubanova, Bettencourt and Duvenaud (2018).

    >>> from minode import Linear
    >>> A = np.array([[0.0, 1.0], [-4.0, 0.0]])
    >>> state = np.array([1.0, 2.0]), np.array([3.0, 5.0]), np.zeros(4)
    >>> dy, da, db = adjoint_rhs(Linear(2))(0.0, state, A.ravel())
    >>> da, db
    (array([20., -3.]), array([ -3.,  -6.,  -5., -10.]))
    """
    as_field(f)

    def rhs(t, state, theta):
        y, a, b = state
        a_f_y, a_f_theta = f.vjp(t, y, theta, a)
        dy = f(t, y, theta)                                                        # (16.1)
        da = -a_f_y                                                                # (17.2)
        db = -a_f_theta                                                            # (17.3)
        return dy, da, db
    return rhs


def invariant(a, w, b, dtheta):
    """The number (17.1), a · w + b · Δθ, summed over the batch.

    >>> float(invariant(np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([5.0]), np.array([2.0])))
    21.0
    """
    return np.vdot(a, w) + np.vdot(b, dtheta)                                      # (17.1)


def backsolve(f, ys, t, theta, cotangents, b, y_at=None, **solver):
    """Integrate [y, a, b] from the last time back to the first; with `y_at(t)` given, only [a, b].

    ys and cotangents are (N, ..., d), b is ∂L/∂θ (p,). Returns a(t₀⁺), before any
    loss on y(t₀) itself is added, and b(t₀).
    """
    rhs, a = adjoint_rhs(f), np.zeros_like(ys[0])
    for i in range(len(t) - 1, 0, -1):
        a = a + cotangents[i]                                                      # (17.4)
        back = [t[i], t[i - 1]]
        if y_at is None:
            _, path_a, path_b = odeint(lambda t, state: rhs(t, state, theta), (ys[i], a, b), back, **solver)
        else:
            path_a, path_b = odeint(lambda t, state: rhs(t, (y_at(t), *state), theta)[1:],
                                    (a, b), back, **solver)
        a, b = path_a[-1], path_b[-1]
    return a, b


def seminorm(error, scale):
    """The error norm (17.7) for the backward solve: `backward=dict(norm=seminorm)`.

    >>> float(seminorm((np.array([3.0]), np.array([4.0]), np.array([1e9])), (1.0, 1.0, 1.0)))
    3.5355339059327378
    """
    r = np.concatenate([np.ravel(e / sc) for e, sc in zip(error[:-1], scale[:-1])])
    return np.sqrt(np.mean(r * r))                                                 # (17.7)


def time_gradient(f, ys, t, cotangents, a0):
    """dL/dt_i, (N,), from the states, their cotangents (N, ..., d) and a(t₀⁺); f is a field at its θ."""
    clock = np.empty(ys.shape[:-1])
    clock.T[...] = t
    velocity = f(clock, ys)
    dL_dt = (cotangents * velocity).reshape(len(t), -1).sum(axis=1)                # (17.5)
    dL_dt[0] = -np.vdot(a0, velocity[0])                                           # (17.6)
    return dL_dt

"""17. The adjoint system

A loss L reads the state at the end, y(T). How does it depend on the state at some earlier t? That state
determines the rest of the trajectory, and so L. Write L_t for L as a function of y(t) and of θ, and

    a(t) = ∂L_t/∂y(t)   (a row),     b(t) = ∂L_t/∂θ   with y(t) held fixed.

a is called the adjoint state. a(T) is the plain derivative of L, and a(t₀) is the gradient that we
want. The equations for a and b follow from one observation. Take any solution w of the tangent system
(16.2). Seen from t, the first-order change of L is a(t) · w(t) + b(t) · Δθ. Whatever t we choose, this
is the same change of the same number. So along a trajectory

    a · w + b · Δθ   does not change.                                    (17.1)

Differentiate (17.1) and insert (16.2):

    0 = a' · w + a · (f_y w + f_θ Δθ) + b' · Δθ = (a' + a f_y) · w + (b' + a f_θ) · Δθ.

At a given t, w may be any vector. To see this, let Δθ = 0. Then w(t) = Φ(t) Δy₀, with the matrix Φ that
solves Φ' = f_y Φ, Φ(t₀) = I. It is invertible, because det Φ = exp ∫ tr f_y dt > 0 (Liouville), so some
Δy₀ leads to the w in question, and the first bracket must vanish. Δθ may be any vector too, so the
second bracket vanishes as well:

    da/dt = −a f_y,     a(T) = ∂L/∂y(T),                                 (17.2)
    db/dt = −a f_θ,     b(T) = ∂L/∂θ.                                    (17.3)

b(T) is zero if L sees θ only through the states. A penalty on the weights is the usual exception.
Together with dy/dt = f this is the augmented system for [y, a, b]. It is integrated from T back to t₀,
where a(t₀) = dL/dy₀ and b(t₀) = dL/dθ. In a batch each trajectory has its own a, and all share one b,
which is the sum of theirs.

By hand, once: y' = θ y and L = y(T). First a: f_y = θ, so (17.2) is a' = −θ a with a(T) = 1, and
a(t) = e^{θ(T−t)}. Then b: f_θ = y = e^{θ(t−t₀)} y₀, so a f_θ = e^{θ(T−t₀)} y₀ = y(T), the same at every
t. (17.3) is b' = −y(T) with b(T) = 0, and b(t₀) = (T − t₀) y(T). So dL/dy₀ = a(t₀) = e^{θ(T−t₀)} and
dL/dθ = (T − t₀) y(T). Differentiate y(T) = e^{θ(T−t₀)} y₀ directly, and the same comes out.

Losses at several times. If L = L(y(t₁), …, y(t_N)), its first-order change is the sum of the
∂L/∂y(t_i) · w(t_i). If t is after t_i, the i-th term no longer depends on y(t). So, crossing t_i
backwards, a gains ∂L/∂y(t_i):

    a(t_i⁻) = a(t_i⁺) + ∂L/∂y(t_i).                                      (17.4)

The times themselves. If the i-th output is read δ later, the state there is further along by δ f.
Starting δ later from the same y₀ puts the state behind the old trajectory by δ f(t₀, y₀), which changes
L by −δ a(t₀⁺) · f:

    dL/dt_i = ∂L/∂y(t_i) · f(t_i, y(t_i)),   i ≥ 1,                      (17.5)
    dL/dt₀ = −a(t₀⁺) · f(t₀, y₀).                                        (17.6)

In the example dL/dT = θ y(T). This is the derivative of the solution. If t_i is moved, the steps of a
solver move too, and the number computed changes by a little more or less: chapter 18 differentiates
that.

b does not appear on any right-hand side, so its error does not feed back into y or a. But if θ is long,
b can dominate the error norm of an adaptive method and shorten its steps. It may be left out of the
norm (Kidger, Chen and Lyons 2021):

    E = ( mean of (e_i / sc_i)² over the components of y and a )^{1/2}.  (17.7)

The price is paid by b. It is then the integral of a f_θ by steps that were chosen for y and a alone. If
f_θ changes faster than they do, dL/dθ can be wrong by any amount, and no error estimate shows it.

The trap. Solving y backwards must meet the states it came from. This needs no reversible method, only
an accurate solve. But a field that contracts going forwards (y' = −λy) expands going back, and errors
grow like e^{λT}. Here y is reset at each output time, because it is known there. If a backward solve
that chooses its steps misses it by more than a twentieth of the largest state, a SolverError is raised.
(In steps of a given size, which may be coarse on purpose, it is raised if the miss exceeds the largest
state.) And even an accurate backward solve gives an approximation of the gradient of the ODE's
solution, not the gradient of the numbers that the forward solve printed. The two differ by O(h^p)
(chapter 18).

Figure 6 shows a along a trajectory, figure 7 what b collects, figure 21 errors that grow on the way
back, figure 24 the steps that (17.7) saves, and figure 49 the jumps of (17.4).

Next: the exact derivative of the steps (chapter 18).

Exercises. 1. Derive: solve (17.2) and (17.3) by hand for y' = −θ y² and L = y(T), and compare with
y = y₀ / (1 + θ y₀ (t − t₀)). 2. Predict, then run: y' = −30 y from y₀ = 1, and L is the sum of the
states at the times t, first for t = (0, 1), then for t = (0, 0.1, …, 1). How much does an error of
1e-9 at t = 1 grow on the way back to the time before it? What does `pullback` with
gradient="backsolve" and the field Linear(1) do in both cases?
"""

import numpy as np

from ..inputs import as_field, at_once, chooses_steps, read_only
from ..solvers.solve import find_method, odeint, run
from ..solvers.states import Solution, SolverError

LOST = 5e-2             # of the largest state, which the backward solve may miss; all of it in steps of a given size


def adjoint_rhs(f):
    """The right-hand side of the augmented system [y, a, b], (17.2) and (17.3), of a field f.

    Returns rhs(t, (y, a, b), theta) -> (dy, da, db), derivatives in t: a solve from T back to t₀ simply has
    decreasing times. y and a are (..., d), b and theta (p,). TypeError if f is no `VectorField`. Pontryagin
    and others (1962); Chen, Rubanova, Bettencourt and Duvenaud (2018).

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
        dy, vjp = f.value_and_vjp(t, y, theta)
        a_f_y, a_f_theta = vjp(a)
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


def solve_backwards(f, ys, t, theta, cotangents, b, y_at=None, **solver):
    """Integrate [y, a, b] from the last time back to the first; with `y_at(t)` given, only [a, b].

    ys and cotangents are (N, ..., d), b is ∂L/∂θ (p,), all in the precision of ys. Returns a(t₀⁺), which the
    loss on y(t₀) itself is not yet added to, and b(t₀).
    """
    rhs, a, cotangents, b = adjoint_rhs(f), np.zeros_like(ys[0]), cotangents.astype(ys.dtype), b.astype(ys.dtype)
    lost = LOST if chooses_steps(find_method(solver.get("method", "dopri5")), solver.get("step_size")) else 1.0

    def rhs_of_a_and_b(t, state, theta):
        _, da, db = rhs(t, (read_only(y_at(t)), *state), theta)
        return da, db

    for i in range(len(t) - 1, 0, -1):
        a = a + cotangents[i]                                                      # (17.4)
        back = [t[i], t[i - 1]]
        try:
            if y_at is None:
                path_y, path_a, path_b = odeint(rhs, (ys[i], a, b), back, theta, **solver)
            else:
                path_a, path_b = odeint(rhs_of_a_and_b, (a, b), back, theta, **solver)
        except SolverError as error:
            raise SolverError(f"the backward solve from t = {t[i]} to {t[i - 1]} failed: {error}. gradient='discrete' "
                              "takes back the steps of the forward solve", error.t, Solution(t, ys)) from error
        if y_at is None:
            check_way(path_y[-1], ys, t, i - 1, lost)
        a, b = path_a[-1], path_b[-1]
    return a, b


def check_way(y, ys, t, i, lost):
    """SolverError if the backward solve misses the state of the forward solve at t_i."""
    missed = np.abs(y - ys[i]).max(initial=0.0)
    if not missed <= lost * np.abs(ys).max(initial=0.0):
        raise SolverError(f"the backward solve comes to a state {missed:.1e} away from that of the forward solve at "
                          f"t = {t[i]}: errors grew too much on the way back for its gradient to be right. Take "
                          "gradient='discrete' or 'interpolate', which do not solve y back, or more output times or "
                          "smaller tolerances or steps", float(t[i]), Solution(t, ys))


def backsolve(f, y0, t, theta, method, solver, backward):
    """The route that solves y backwards too: the solution, and the way back (cotangents, b) -> (a, b)."""
    solution = run(f, y0, t, theta, **solver).solution

    def back(cotangents, b):
        return solve_backwards(f, solution.ys, solution.t, theta, cotangents, b, **backward)
    return solution, back


def interpolate(f, y0, t, theta, method, solver, backward):
    """The route that reads y off the dense output of the forward solve; otherwise as `backsolve`."""
    forward = run(f, y0, t, theta, [], **solver)
    solution, y_at = forward.solution, forward.interpolation()
    first, last = sorted(solution.t[[0, -1]])

    def back(cotangents, b):
        return solve_backwards(f, solution.ys, solution.t, theta, cotangents, b,
                               lambda t: y_at(np.clip(t, first, last)), **backward)      # the clock may round
    return solution, back


def seminorm(error, scale):
    """The error norm (17.7) for the backward solve: `backward=dict(norm=seminorm)`.

    >>> float(seminorm((np.array([3.0]), np.array([4.0]), np.array([1e9])), (1.0, 1.0, 1.0)))
    3.5355339059327378
    """
    r = np.concatenate([np.ravel(e / sc) for e, sc in zip(error[:-1], scale[:-1])])
    return np.sqrt(np.mean(r * r))                                                 # (17.7)


def time_gradient(f, ys, t, theta, cotangents, a0):
    """dL/dt_i, (N,), from the states, their cotangents (N, ..., d) and a(t₀⁺)."""
    clock = np.broadcast_to(t.reshape(-1, *[1] * (ys.ndim - 2)), ys.shape[:-1])
    velocity = at_once("f", f, clock, ys, theta, ys.shape[1:])
    dL_dt = (cotangents * velocity).reshape(len(t), -1).sum(axis=1)                # (17.5)
    dL_dt[0] = -np.vdot(a0, velocity[0])                                           # (17.6)
    return dL_dt

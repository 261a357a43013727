"""21. Second derivatives

The gradient of a loss is a map from (y₀, θ) to (dL/dy₀, dL/dθ). Its derivative along a
direction v = (v_y, v_θ) is the product of the Hessian with v, a vector as long as the
gradient,

    H v = d/dε ∇L(y₀ + ε v_y, θ + ε v_θ)   at ε = 0,                     (21.1)

and costs about as much as a few gradients, while the Hessian itself would cost as many as
there are parameters. It is what Newton's method wants, and what standard errors
are made of. Differentiate what chapter 18 computes, line by line, with a dot
for the derivative along v. Forwards that is the tangent system, so with y go the tangents

    ẏ = w,   W_i = w_n + Σ_j a_ij h k̇_j,   k̇_i = f_y W_i + f_θ v_θ,

which pushforward computes; and backwards (18.1) to (18.4) are linear in λ and μ, so their
dotted copies are the same lines, but for (18.2) and (18.4) whose f_y and f_θ move too:

    μ̇_i = λ̇_i f_y + λ_i (f_yy W_i + f_yθ v_θ),                           (21.2)
    ḃ  += λ̇_i f_θ + λ_i (f_θy W_i + f_θθ v_θ).                           (21.3)

The two brackets are the derivative of the vector-Jacobian product along (W_i, v_θ) with
its cotangent held fixed: `VectorField.vjp_derivative`. They are the only place where a
second derivative of the field is met. The loss has one as well: its gradient
∂L/∂y(t_i) moves with the states, and the reader's loss(ys, ws) says how.

The steps are those the solver accepted for y, and are held fixed, as in chapter 18.

The trap: σ'' of relu and leaky_relu is zero wherever it exists, and the kinks, which
are all their curvature, are not seen.

Next: how to find out whether any of this is right (chapter 22).
"""

import numpy as np

from ..solvers.dense import interpolant, stages_of, weights_at
from ..solvers.solve import find_method, run
from ..solvers.states import as_real
from ..solvers.tableaus import Tableau
from .discrete import step_back
from .pullback import Gradients, finite, parts_of_loss, read_only
from .tangent import as_point, as_twice, tangent_rhs


def hessian_vector_product(loss, f, y0, t, theta, v_y0, v_theta, **solver):
    """H v (21.1) for the discrete gradient, as `Gradients` (its .t is the change of dL/dt_i).

    loss(ys, ws) -> (L, dL_dys, the derivative of dL_dys along ws), the last two of the
    shape of ys. f is a `VectorField`, y0 (..., d), t (N,), theta (p,); v_y0 has the shape of
    y0, v_theta that of theta. `solver` are the
    keywords of `solve`, with an explicit Runge–Kutta method. ys and ws are (N, ..., d). ValueError or
    TypeError for unusable input, SolverError where the solve fails. Pearlmutter (1994).

    >>> from minode import LotkaVolterra
    >>> theta, t = np.array([0.5, 0.05, 0.8, 0.02]), np.linspace(0.0, 2.0, 5)
    >>> def loss(ys, ws): return 0.5 * np.sum(ys**2), ys, ws
    >>> Hv = hessian_vector_product(loss, LotkaVolterra(), [30.0, 4.0], t, theta, [1.0, 0.0], 0 * theta)
    >>> Hv.y0.shape, Hv.theta.shape
    ((2,), (4,))
    """
    y0, theta = as_point(as_twice(f), y0, theta)
    v_y0, v_theta = as_real("v_y0", v_y0, y0.shape), as_real("v_theta", v_theta, theta.shape)
    if not callable(loss):
        raise TypeError("loss must be callable as loss(ys, ws) -> (L, dL_dys, its derivative along ws), "
                        f"not {type(loss).__name__}")
    method = find_method(solver.get("method", "dopri5"))
    if not isinstance(method, Tableau) or not method.is_explicit or solver.get("per_trajectory"):
        raise ValueError("hessian_vector_product takes an explicit Runge–Kutta method with joint steps, "
                         f"not {method.name!r}")
    first = run(f.bind(theta, y0), y0, t, [], **solver)
    times, grid = first.problem.t, np.array([step[0] for step in first.tape] + [first.problem.t[-1]])
    rhs, tape = tangent_rhs(f), []
    if len(times) > 1:
        pair = run(lambda t, s: rhs(t, s, theta, v_theta), (y0, v_y0), times, tape, method=method, grid=grid,
                   max_steps=len(grid))
        ys, ws = pair.solution.ys
    else:
        ys, ws = y0[None], v_y0[None]
    _, dL_dys, moved = parts_of_loss(loss(read_only(ys), read_only(ws)), "(L, dL_dys, its derivative along ws)")
    g = np.stack([as_real("dL_dys", dL_dys, ys.shape), as_real("its derivative", moved, ys.shape)], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):                     # an overflow is a SolverError
        (a, a_dot), (_, b_dot) = sweep_twice(f, tape, method, theta, v_theta, times, g)
        dL_dt = time_gradient_derivative(f, ys, ws, times, theta, v_theta, g, np.stack([a, a_dot]))
        change = Gradients(y0=a_dot + g[0, 1], theta=b_dot, t=dL_dt)               # (21.1)
    return finite(change, first.solution)


def sweep_twice(f, tape, tableau, theta, v_theta, times, g):
    """(a, ȧ) at the first state and (b, ḃ), from the steps of (y, w) and cotangents g (N, 2, ..., d)."""
    dense, shape = interpolant(tableau), g.shape[2:]
    a, sums = np.zeros((2, *shape)), np.zeros((2, len(theta)))
    n_out, sign = len(times) - 1, np.sign(times[-1] - times[0])

    def pull(t, Y, Y_dot, lam, out):
        mu, lam_f_theta = f.vjp(t, Y, theta, lam[0])
        mu_dot, lam_dot_f_theta = f.vjp(t, Y, theta, lam[1])
        bend, bend_theta = f.vjp_derivative(t, Y, theta, lam[0], Y_dot, v_theta)
        sums[0] += lam_f_theta
        sums[1] += lam_dot_f_theta + bend_theta                                    # (21.3)
        out[0], out[1] = mu, mu_dot + bend                                         # (21.2)

    for t, h, y, hK in reversed(tape):
        gain, share = np.zeros_like(a), None
        while n_out > 0 and sign * (times[n_out] - t) > 0:
            theta_out = (times[n_out] - t) / h
            if theta_out == 1.0:
                a = a + g[n_out]
            else:
                gain += g[n_out]
                more = np.multiply.outer(weights_at(dense, theta_out), g[n_out])
                share = more if share is None else share + more
            n_out -= 1
        A, c, W = stages_of(tableau, share is not None)
        Y, Y_dot = np.moveaxis((y + A @ hK[:len(c)]).reshape(len(c), 2, *shape), 1, 0)
        mu, _ = step_back(W, h, a, share,
                          lambda i, lam, out: pull(t + c[i] * h, Y[i], Y_dot[i], lam, out))
        a = mu.sum(axis=0) + gain
    return a + g[1:n_out + 1].sum(axis=0), sums


def time_gradient_derivative(f, ys, ws, times, theta, v_theta, g, a):
    """The derivative of (17.5) and (17.6) along the direction."""
    clock = np.broadcast_to(times.reshape(-1, *[1] * (ys.ndim - 2)), ys.shape[:-1])
    speed, bend = f(clock, ys, theta), f.jvp(clock, ys, theta, ws, v_theta)
    change = (g[:, 1] * speed + g[:, 0] * bend).reshape(len(times), -1).sum(axis=1)
    change[0] = -np.vdot(a[1], speed[0]) - np.vdot(a[0], bend[0])
    return change

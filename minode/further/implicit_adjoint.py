"""29. Implicit steps taken back

An implicit step solves an equation for its stages (13.1), by Newton's method, in a number of iterations that nobody
knows beforehand. Need we take the iterations back, one by one? No. The stages do not depend on the path to them, only
on the equation that they fulfil, and the derivative of a solution comes from differentiating its equation (the implicit
function theorem). This holds with any start, with a rough Jacobian in Newton's method, and with none at all.

The derivation is that of chapter 18. k_i is used in y_{n+1}, with the factor h b_i, and in the stages Y_j, with the
factors h a_ji. What changes is that j now runs over all stages, so that each k̄ depends on the others and on itself,

    k̄_i = h ( b_i a_{n+1} + Σ_j a_ji Ȳ_j ),   Ȳ_j = k̄_j f_y(t_n + c_j h, Y_j).

The cotangents fulfil an equation too, and it is linear. If A falls into blocks (chapter 13), they are solved in turn, the
last block first. Then the Ȳ_j of all later blocks are known. For the stages i, j of one block, with everything that is
known on the right, we get

    r_j = h ( b_j a_{n+1} + Σ_{i later} a_ij Ȳ_i ),                      (29.1)
    Σ_i k̄_i (δ_ij I − h a_ij f_y(t_n + c_i h, Y_i)) = r_j.               (29.2)

The matrix is that of (13.3), and it stands to the right of the row of the k̄_i: (29.2) is the transposed system. There are
no iterations. A step back costs one linear solve for each block, where the step itself took one for each iteration.
Ȳ, a_n and b_n follow from the k̄ by (18.2) to (18.4), and the outputs inside a step add (18.5) to r, as they stand.

By hand, once: y' = λy by the implicit Euler method, z = hλ. Then r = h a_{n+1} and k̄ (1 − z) = r, so that
a_n = a_{n+1} + λ k̄ = a_{n+1} / (1 − z). For any method a_n = R(z) a_{n+1}: going back, a step multiplies by the same
R (13.2) as going forward, and a fast decay is damped out in both directions.

The carried velocity. The first stage of trapezoid, trbdf2 and kvaerno5 is not f(t_n, y_n) evaluated anew, but the last
stage of the step before. So is its cotangent handed on: what (29.2) gives as k̄_1 in step n + 1 joins the last stage of
step n,

    r_s ← r_s + k̄_1.                                                     (29.3)

Ȳ_1 is then zero, except in the first step of all, where k_1 is f(t_0, y_0). To multiply k̄_1 by f_y in every step would
be the same in exact arithmetic. But k̄_1 is a difference that has lost digits if the problem is stiff, and hλ times
its rounding error would stay in a_n; (29.2) divides it by 1 − z a_ss. It is the reason of chapter 13, transposed.

What "exact" means. The theorem is about the solution of (13.1), and Newton's method must have found it. In steps of a
given size it goes on to round-off. A method that chooses its steps lets it stop at a hundredth of the error tolerated. The
derivative of what it found is then off by a similar share: for trbdf2 on van der Pol's equation at rtol 1e-4 by 2e-4.
So where a gradient is wanted, Newton's method goes on to round-off in these steps too, for a third to two thirds more calls
of f. The loss is computed from these states, which differ from those of `odeint` by what it left undone. Their
gradient is then exact, with the accepted t_n and h held fixed as in chapter 18.

Checkpoints (19.1) work as in chapter 19. A stretch that is solved again begins with f evaluated anew, and not with the
velocity that was carried. Its stages differ by round-off, because every implicit stage divides by 1 − z a_ii, and
so the gradients agree to round-off.

Exercises. Why is L-stability, R(−∞) = 0, as good for the gradient as for the solution? And of the two transposes, of A in
(29.1) and of f_y in (29.2), which one would a test on y' = λy not miss?
"""

from functools import partial

import numpy as np

from ..fields.base import has_jacobian, state_jacobian
from ..gradients.discrete import PIECE, output_cotangents, stages
from ..gradients.memory import Checkpoints, outputs_on
from ..gradients.pullback import IMPLICIT_ROUTES
from ..inputs import at_once
from ..solvers.dense import dense_output
from ..solvers.implicit import blocks, newton_matrix
from ..solvers.solve import run


def stage_cotangents(h, A, b, parts, f_y, a, more):
    """k̄ and Ȳ (s, B, d) of one step, from the cotangent a (B, d) of y_{n+1} and what else joins r, `more` (s, B, d).

    f_y (s, B, d, d) are the matrices at the stages, `parts` the blocks of A (s, s); b (s,).
    """
    K_bar, Y_bar = np.empty(more.shape), np.empty(more.shape)
    for block in reversed(parts):
        A_block, later = A[block, block], slice(block.stop, len(A))
        known = np.tensordot(A[later, block].T, Y_bar[later], 1)
        r = h * (np.multiply.outer(b[block], a) + known) + more[block]             # (29.1)
        K_bar[block] = solve_transposed(h, A_block, f_y[block], r) if A_block.any() else r
        Y_bar[block] = (K_bar[block][..., None, :] @ f_y[block])[..., 0, :]
    return K_bar, Y_bar


def solve_transposed(h, A, f_y, r):
    """The k̄ (m, B, d) of the m stages of a block from r (m, B, d); f_y (m, B, d, d)."""
    m, B, d = r.shape
    columns = r.swapaxes(0, 1).reshape(B, m * d, 1)
    k_bar = np.linalg.solve(newton_matrix(h, A, f_y).swapaxes(1, 2), columns)      # (29.2)
    return k_bar.reshape(B, m, d).swapaxes(0, 1)


def steps_back(f, theta, tape, tableau, times, cotangents, a, b, k_bar):
    """a (..., d), b (p,) and the k̄ (..., d) of a carried velocity at the first of the steps, from those after the last.

    The tape lists (t, h, y, hK). cotangents (M, ..., d) are those of the outputs at `times` (M,), the first of them
    the first state and not looked at, as for `backward_pass` of chapter 18.
    """
    if not tape:
        return a + cotangents[1:].sum(axis=0), b, k_bar
    table, shape, (t, h) = dense_output(tableau), a.shape, np.array([step[:2] for step in tape]).T
    at_ends, inside = output_cotangents(t, h, table, times, cotangents.reshape(len(cotangents), -1))
    s, a, k_bar = len(table.P) if inside else tableau.stages, a.reshape(-1, f.dim), k_bar.reshape(-1, f.dim)
    a = a + at_ends.get(len(tape), np.zeros(a.size)).reshape(a.shape)
    A, parts, piece = table.A[:s, :s], blocks(table.A[:s, :s]), max(1, PIECE // (s * a.size * (f.dim + f.n_params)))
    for stop in range(len(tape), 0, -piece):
        first = max(0, stop - piece)
        T, _, Y = stages(table, tape[first:stop], s, shape)
        K_bar, f_y = np.empty((stop - first, s, *a.shape)), jacobians(f, T, Y, theta, shape)
        for n in reversed(range(first, stop)):
            more = h[n] * inside.get(n, np.zeros((s, a.size))).reshape(s, *a.shape)          # as (18.5) says
            more[tableau.stages - 1] += k_bar                                      # (29.3)
            stage_bars, Y_bar = stage_cotangents(h[n], A, table.b[:s], parts, f_y[:, n - first], a, more)
            if carries_first(tableau):
                k_bar, stage_bars[0], Y_bar[0] = stage_bars[0].copy(), 0.0, 0.0
            a = a + Y_bar.sum(axis=0) + at_ends.get(n, np.zeros(a.size)).reshape(a.shape)
            K_bar[n - first] = stage_bars
        _, k_bar_f_theta = at_once("vjp", f.vjp, T, Y, theta, shape, K_bar.swapaxes(0, 1).reshape(Y.shape))
        b = b + k_bar_f_theta
    return a.reshape(shape), b, k_bar.reshape(shape)


def jacobians(f, T, Y, theta, shape):
    """f_y (s, N, B, d, d) at the states Y (s, N, ..., d) of N steps and the times T of their s stages."""
    name = "jacobian" if has_jacobian(f) else "f_y by vjp"
    f_y = at_once(name, partial(state_jacobian, f), T, Y, theta, shape)
    return f_y.reshape(*Y.shape[:2], -1, f.dim, f.dim)


def carries_first(tableau):
    """Whether the first stage of a step is the last one of the step before."""
    return tableau.is_fsal and tableau.starts_with_velocity


def through_first_velocity(f, theta, t, y0, a, b, k_bar):
    """a and b of the whole solve: those of its steps, and what k_1 = f(t_0, y_0) of the first step adds."""
    k_bar_f_y, k_bar_f_theta = f.vjp(t, y0, theta, k_bar)
    return a + k_bar_f_y, b + k_bar_f_theta


def discrete(f, y0, t, theta, method, solver, backward=None):
    """The route of this chapter: the solve, and the way back, a function (cotangents, b) -> (a, b)."""
    tape = []
    solution = run(f, y0, t, theta, tape, exactly=True, **solver).solution

    def back(cotangents, b):
        zero = np.zeros(y0.shape)
        bars = steps_back(f, theta, tape, method, solution.t, cotangents, zero, b, zero)
        return through_first_velocity(f, theta, solution.t[0], y0, *bars)
    return solution, back


def checkpoint(f, y0, t, theta, method, solver, backward=None):
    """The same with checkpoints (19.1): stretch by stretch, last one first."""
    checkpoints = Checkpoints()
    solution = run(f, y0, t, theta, checkpoints, exactly=True, **solver).solution
    again = {"method": method, "exactly": True, **{key: solver.get(key) for key in ("jacobian", "step_size")}}

    def back(cotangents, b):
        bars = np.zeros(y0.shape), b, np.zeros(y0.shape)
        for y, grid in checkpoints.stretches(solution.t[-1]):
            (outputs, g), tape = outputs_on(solution.t, grid, cotangents), []
            run(f, y.reshape(y0.shape), np.append(outputs, grid[-1]), theta, tape, grid=grid, **again)
            bars = steps_back(f, theta, tape, method, outputs, g, *bars)
        bars = bars if checkpoints.states else (cotangents[1:].sum(axis=0), *bars[1:])
        return through_first_velocity(f, theta, solution.t[0], y0, *bars)
    return solution, back


IMPLICIT_ROUTES.update(discrete=discrete, checkpoint=checkpoint)

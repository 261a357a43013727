"""29. Implicit steps taken back

An implicit step solves an equation for its stages (13.1), in a number of Newton iterations that
nobody knows beforehand. Must they be taken back one by one? No. The stages depend on the equation
that they satisfy, and not on the path that led to them. The derivative of a solution follows from
differentiating its equation (the implicit function theorem). It does not matter where Newton's
method started, or which matrices it used.

The derivation is that of chapter 18. k_i is used in y_{n+1}, with the factor h b_i, and in the
stages Y_j, with the factors h a_ji. What is new is that j runs over all stages. So each k̄ depends
on the others and on itself,

    k̄_i = h b_i a_{n+1} + Σ_j h a_ji Ȳ_j,   Ȳ_j = k̄_j f_y(t_n + c_j h, Y_j).

The cotangents satisfy an equation too, and it is linear. If A falls into blocks (chapter 13), the
blocks are solved in turn, the last one first. For each block the Ȳ_i of all later blocks are then
known, and they add q_j to k̄_j. The stages i, j of the block satisfy

    q_j = h Σ_{i later} a_ij Ȳ_i,   r_j = h b_j a_{n+1} + q_j,           (29.1)
    Σ_i k̄_i ([i = j] I − h a_ij f_y(t_n + c_i h, Y_i)) = r_j.            (29.2)

The matrix is that of (13.3), now with the row of the k̄_i to its left: this is the transposed
system. No iteration is needed. A step back costs one linear solve for each block, whereas the
step itself cost one for each iteration. Ȳ, a_n and b_n follow from the k̄ by (18.2) to (18.4), and
outputs inside a step add to q by (18.5).

By hand, once: y' = λy by the implicit Euler method, z = hλ. Then r = h a_{n+1} and k̄ (1 − z) = r,
so that a_n = a_{n+1} + λ k̄ = a_{n+1} / (1 − z). For every method a_n = R(z) a_{n+1}: the step back
multiplies by the same R (13.2) as the step forward. So a fast decay is damped out in both
directions.

In a stiff problem digits can be lost in two places. One is the first stage of trapezoid, trbdf2 and
kvaerno5. It is not f(t_n, y_n) evaluated anew, but the last stage of the step before. So its
cotangent is handed on. What the equations give as k̄_1 in step n + 1 joins the last stage of
step n,

    q_s ← q_s + k̄_1,                                                     (29.3)

and Ȳ_1 is zero. The first step of all is an exception: there k_1 is f(t_0, y_0), and Ȳ_1 is k̄_1
f_y. In exact arithmetic we could also multiply every k̄_1 by f_y. But the rounding error of k̄_1,
times hλ, would then stay in a_n, whereas (29.2) divides it by 1 − z a_ss.

The other is the last stage if b is the last row of A. Then y_{n+1} is Y_s itself, and a_{n+1}
belongs to Ȳ_s. We must not add it to k̄_s f_y. That is nearly −a_{n+1} if the problem is stiff, and
the sum would lose its digits. If the last stage is a block of its own, its equation k̄_s = h a_ss
Ȳ_s + q_s gives the sum directly:

    Ȳ_s = (k̄_s − q_s) / (h a_ss).                                        (29.4)

What "exact" means. The theorem is about the solution of (13.1), so Newton's method must have found
it. In steps of a given size it iterates down to round-off. A method that chooses its steps lets it
stop at a share of the tolerated error, and what is left undone is missing in the derivative: for
trbdf2 at rtol 1e-3, on van der Pol's equation with μ = 30, a hundredth of it. If a derivative is
wanted, we therefore solve these steps to round-off too, which takes about twice the calls of f. The
loss is computed from these states, which differ from those of `odeint` by a share of the tolerance.
Their gradient is exact, with the accepted t_n and h held fixed as in chapter 18.

For the times, (18.7) and (18.8) hold with these k̄. Only the k̄_1 that q_s received is left out of
the sum over k̄ · k in (18.8), because it does not reach the step before through its h.

With checkpoints (19.1), a stretch that is solved again begins with f evaluated anew, and not with
the velocity that was carried over. The rounding error of its first stage is divided by 1 − z a_ii
as well, so the gradients agree to round-off.

Figure 42 shows what such a gradient can learn from a stiff reaction. Figure 41 compares the
implicit methods themselves.

Exercises. Show that a_n = R(z) a_{n+1} for every table. Which of the two transposes, of A in (29.1) and
of f_y in (29.2), would a test on y' = λy not miss?

Next: learning without a solve (chapter 30).
"""

from functools import partial

import numpy as np

from ..fields.base import has_newest_jacobian, state_jacobian
from ..gradients.discrete import PIECE
from ..gradients.memory import Checkpoints
from ..gradients.step_times import add_outputs, add_steps, end_of_steps
from ..gradients.tape import output_cotangents, outputs_on, stages
from ..inputs import at_once
from ..solvers.dense import dense_output
from ..solvers.newton import as_columns, as_stages, blocks, newton_matrix
from ..solvers.solve import run


def stage_cotangents(h, A, b, parts, last, f_y, a, q):
    """k̄ and Ȳ (s, B, d) of one step, and what of a (B, d) goes directly to y_n, from the a of y_{n+1}.

    f_y (s, B, d, d) are the matrices at the stages. `parts` are the blocks of A (s, s), and `last` is that of
    y_{n+1} (29.4). q (s, B, d) is what joins k̄ from elsewhere: from outputs inside the step, and by (29.3).
    """
    K_bar, Y_bar = np.empty(q.shape), np.empty(q.shape)
    for block in reversed(parts):
        A_block, later = A[block, block], slice(block.stop, len(A))
        q_j = q[block] + h * np.tensordot(A[later, block].T, Y_bar[later], 1)      # (29.1)
        r_j = h * np.multiply.outer(b[block], a) + q_j                             # (29.1)
        K_bar[block] = solve_transposed(h, A_block, f_y[block], r_j) if A_block.any() else r_j
        if block == last:                                    # a is part of this Ȳ, and reaches the others from here
            Y_bar[block], a = (K_bar[block] - q_j) / (h * A_block), 0 * a          # (29.4)
        else:
            Y_bar[block] = (K_bar[block][..., None, :] @ f_y[block])[..., 0, :]
    return K_bar, Y_bar, a


def solve_transposed(h, A, f_y, r):
    """The k̄ (m, B, d) of the m stages of a block from r (m, B, d); f_y (m, B, d, d)."""
    m, B, _ = r.shape
    k_bar = np.linalg.solve(newton_matrix(h, A, f_y).swapaxes(1, 2), as_columns(r, B))  # (29.2)
    return as_stages(k_bar, m).reshape(r.shape)


def last_block(tableau, parts):
    """The block of the last stage, if that stage is y_{n+1} and a block of its own; otherwise None."""
    block = slice(tableau.stages - 1, tableau.stages)
    return block if tableau.is_fsal and tableau.A[-1][-1] and block in parts else None


def carries_first(tableau):
    """Whether the first stage of a step is the last one of the step before."""
    return tableau.is_fsal and tableau.starts_with_velocity


def steps_back(f, theta, tape, tableau, times, cotangents, a, b, k_bar, ends=None):
    """a (..., d), b (p,) and the k̄_1 (..., d) handed on, before the steps, from those after them.

    The tape lists (t, h, y, hK). cotangents (M, ..., d) are those of the outputs at `times` (M,). The first
    output is the first state, and is not used. `ends` is that of `backward_pass` in chapter 18.
    """
    table, shape, rows, flat = dense_output(tableau), a.shape, (-1, f.dim), cotangents.reshape(len(cotangents), -1)
    t, h = (np.array([step[i] for step in tape]) for i in (0, 1))
    to_a, inside = output_cotangents(t, h, table, times, flat)
    a, k_bar = (a.ravel() + to_a.get(len(tape), 0.0)).reshape(rows), k_bar.reshape(rows)
    s, N = len(table.P) if inside else tableau.stages, len(tape)
    piece = max(1, PIECE // max(1, s * a.size * (f.dim + f.n_params)))
    if ends is not None:
        ends.begin(t, a.ravel())
        for n in inside:
            add_outputs(ends, table, n, tape[n], times, flat)
    for stop in range(N, 0, -piece):
        numbers = range(max(0, stop - piece), stop)
        T, _, Y, hK = stages(table, [tape[n] for n in numbers], s, shape)
        f_y, K_bar = jacobians(f, T, Y, theta, shape), np.empty((s, len(numbers), *a.shape))
        a_n, k_bar_k = np.empty((len(numbers), a.size)), np.empty(len(numbers))
        for i, n in reversed(list(enumerate(numbers))):
            added = h[n] * inside.get(n, np.zeros((s, a.size)))                    # as (18.5) says
            is_handed_on = carries_first(tableau) and (ends is None or t[n] not in ends.repeated)
            K_bar[:, i], through_h, a, k_bar = step_back(table, tableau, h[n], f_y[:, i], a, k_bar,
                                                         added.reshape(s, *a.shape), is_handed_on)
            a = a + np.reshape(to_a.get(n, np.zeros(a.size)), a.shape)
            a_n[i], k_bar_k[i] = a.ravel(), np.vdot(through_h, hK[:, i]) / h[n]
        if ends is not None:
            ends.visit(t[numbers], a_n)
            add_steps(ends, table, list(numbers), Y, K_bar.reshape(Y.shape), k_bar_k)
        k_bars = K_bar.reshape(Y.shape).astype(Y.dtype, copy=False)
        _, k_bar_f_theta = at_once("vjp", f.vjp, T, Y, theta, shape, k_bars)
        b = b + k_bar_f_theta
    return a.reshape(shape), b, k_bar.reshape(shape)


def step_back(table, tableau, h, f_y, a, k_bar, q, is_handed_on):
    """One step: its k̄ (s, B, d), their part through h; a (B, d) of y_n; and k̄_1 for the step before.

    k_bar (B, d) is the k̄_1 of the step after, and q (s, B, d) what outputs inside add. Between two
    equal times, which may move apart, the velocity counts as evaluated anew, and k̄_1 is not handed on.
    """
    s, own = len(q), tableau.stages
    parts = blocks(table.A[:s, :s])
    q[own - 1] = q[own - 1] + k_bar                                                # (29.3)
    K_bar, Y_bar, a = stage_cotangents(h, table.A[:s, :s], table.b[:s], parts, last_block(tableau, parts), f_y, a, q)
    through_h = K_bar.copy()
    through_h[own - 1] -= k_bar
    k_bar = np.zeros(a.shape)
    if is_handed_on:
        k_bar, K_bar[0], Y_bar[0] = K_bar[0].copy(), 0.0, 0.0
    return K_bar, through_h, a + Y_bar.sum(axis=0), k_bar


def jacobians(f, T, Y, theta, shape):
    """f_y (s, N, B, d, d) at the states Y (s, N, ..., d) of N steps and the times T of their s stages."""
    name = "jacobian" if has_newest_jacobian(f) else "f_y by vjp"
    f_y = at_once(name, partial(state_jacobian, f), T, Y, theta, shape)
    return f_y.reshape(*Y.shape[:2], -1, f.dim, f.dim)


def through_first_velocity(f, theta, t, y0, a, b, k_bar, ends=None):
    """a and b of the whole solve: those of its steps, and what k_1 = f(t_0, y_0) of the first step adds."""
    if not k_bar.any():
        return a, b
    if ends is not None:
        ends.total[0] += k_bar.ravel() @ ends.f_t_at(0.0, t, ends.t_new[0] - t, y0)
    k_bar_f_y, k_bar_f_theta = f.vjp(t, y0, theta, k_bar.astype(y0.dtype))
    return a + k_bar_f_y, b + k_bar_f_theta


def discrete(f, y0, t, theta, method, solver, backward=None):
    """The route of this chapter: the solve, and the way back, a function (cotangents, b) -> (a, b)."""
    tape = []
    solution = run(f, y0, t, theta, tape, exactly=True, **solver).solution

    def back(cotangents, b, ends=None):
        zero = np.zeros(y0.shape)
        bars = steps_back(f, theta, tape, method, solution.t, cotangents, zero, b, zero, ends)
        return through_first_velocity(f, theta, solution.t[0], y0, *bars, ends)
    return solution, back


def checkpoint(f, y0, t, theta, method, solver, backward=None):
    """The same with checkpoints (19.1): stretch by stretch, last one first."""
    checkpoints = Checkpoints()
    solution = run(f, y0, t, theta, checkpoints, exactly=True, **solver).solution
    again = {"method": method, "exactly": True, **{key: solver.get(key) for key in ("jacobian", "step_size")}}

    def back(cotangents, b, ends=None):
        bars = np.zeros(y0.shape), b, np.zeros(y0.shape)
        for y, grid in checkpoints.stretches(end_of_steps(solver, solution.t)):
            (outputs, g), tape = outputs_on(solution.t, grid, cotangents, ends), []
            run(f, y.reshape(y0.shape), np.append(outputs, grid[-1]), theta, tape, grid=grid, **again)
            bars = steps_back(f, theta, tape, method, outputs, g, *bars, ends)
        if not checkpoints.states:
            bars = steps_back(f, theta, [], method, solution.t, cotangents, *bars, ends)
        return through_first_velocity(f, theta, solution.t[0], y0, *bars, ends)
    return solution, back


ROUTES = {"discrete": discrete, "checkpoint": checkpoint}    # minode/__init__.py hands them to chapter 20

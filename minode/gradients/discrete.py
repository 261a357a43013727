"""18. The exact derivative of the steps

The solver did not compute y(T) but states y_0, y_1, …, y_N, each from the one before by

    Y_i = y_n + Σ_{j<i} a_ij h k_j,   k_i = f(t_n + c_i h, Y_i),   y_{n+1} = y_n + Σ_i b_i h k_i.

The loss that was printed is a function of these numbers. Its derivative is found as for a network: every intermediate
quantity, last one first, gets its cotangent, the derivative of L in it through all that was computed from it.
Suppose that the cotangent a_{n+1} of y_{n+1} is known, and write k̄_i for that of k_i and Ȳ_i for that of Y_i. k_i is
used in y_{n+1}, with the factor h b_i, and in the later stages Y_j, with the factors h a_ji. Y_i is used in k_i
alone, and y_n in y_{n+1} and in every Y_i. (a_ij and b_i, of stages, are the table; a_n and b_n, of steps, cotangents.) So

    k̄_i = h ( b_i a_{n+1} + Σ_{j>i} a_ji Ȳ_j ),                          (18.1)
    Ȳ_i = k̄_i f_y(t_n + c_i h, Y_i),                                     (18.2)
    a_n = a_{n+1} + Σ_i Ȳ_i,                                             (18.3)
    b_n = b_{n+1} + Σ_i k̄_i f_θ(t_n + c_i h, Y_i).                       (18.4)

The stages are visited from the last to the first. A is read by columns, which is its transpose. (18.2) and the term
of (18.4) are the two parts of one vector-Jacobian product. No limit was taken anywhere: this is the derivative of the
numbers that were computed, at any step size, up to rounding. It is discretise-then-optimise; chapter 17 was
optimise-then-discretise. On y' = θy by Euler's method y_N = (1 + hθ)^N y_0, and (18.1) to (18.3) are
a_n = (1 + hθ) a_{n+1}: for L = y_N, a_0 is (1 + hθ)^N.

An output inside a step at t_n + σh, y_n + Σ_j b_j(σ) h k_j by (11.1), with cotangent g, adds

    h b_j(σ) g  to k̄_j   and   g  to a_n.                                (18.5)

If a dense output has stages of its own, they are stages like the others, with b_j = 0. An output at the end of a step
joins a_{n+1}. If the method chooses its steps, the derivative is that with the accepted t_n and h held fixed. At a loose
tolerance the derivative of the number that an adaptive solve prints can be quite different.

Chapter 17 is different. If no b_i is 0, put k̄_i = h b_i Λ_i. Then (18.1) to (18.3) say that Λ_i = a_{n+1} + Σ_j (b_j
a_ji / b_i) h Λ_j f_y, which is a Runge–Kutta step of da/dt = −a f_y from a_{n+1} with −h, by the table b_j a_ji / b_i. It
conserves (17.1) exactly (Sanz-Serna, SIAM Review 58, 2016). The backward solve of chapter 17 conserves it only up
to its error, and computes y again. So the two gradients differ by O(h^p), and neither is always nearer to that of
the true solution. But a minimiser that is shown one function and the gradient of another may find no step downhill.

All steps at once. Everything above is linear in the cotangents, and only the chain of the a_n must be walked step by
step. In a small system a call of f costs more than its arithmetic. There the Jacobians of all stages of all
steps come from one call, and (18.1) to (18.3), applied to the rows of I, give all ∂y_{n+1}/∂y_n. Then, step by step,

    a_n = a_{n+1} ∂y_{n+1}/∂y_n + what the outputs add.                  (18.6)

The same rows then give every k̄_i from the a_{n+1}, and (18.4) is one product. Step by step takes more memory: a
network then saves the states of its layers for every stage (chapter 4).

The times. A step uses t_n in its stages alone, and h there and as the factor of every k_j. As k̄_j is the derivative
of L in k_j, and L sees k_j only in the product h k_j, its derivative in that product is k̄_j / h. So

    dL/dt_n = Σ_i k̄_i · f_t(t_n + c_i h, Y_i),   with h held fixed,      (18.7)
    dL/dh = Σ_i k̄_i · k_i / h + Σ_i c_i k̄_i · f_t(t_n + c_i h, Y_i).     (18.8)

Since h = t_{n+1} − t_n, the end of the step has dL/dh, and its start (18.7) without it. For an output inside the step
at t_i, σ = (t_i − t_n)/h. Moving σ by δ/h moves the output by δ times the slope of the polynomial, so

    dL/dt_i = g · Σ_j b_j'(σ) k_j,     b_j'(σ) = Σ_m m P_jm σ^{m−1},      (18.9)

of which the start of the step loses the part 1 − σ, and its end the part σ. Where the k_i are not kept, (18.1) gives

    Σ_i k̄_i · k_i = a_{n+1} · (y_{n+1} − y_n) + Σ_j Ȳ_j · (Y_j − y_n) + Σ g · (y(t_i) − y_n).   (18.10)

The last sum is over the outputs inside. The differences lose the digits that y has in common with y_n. The appendix
`step_times.py` says which ends move with the times handed in. On y' = θy by one step of Euler's method from 0 to h,
y_1 = (1 + hθ) y_0. So dy_1/dh is θ y_0, and not θ y_1 as (17.5) says of the solution.

Next: the same numbers in less memory (chapter 19).
"""

import numpy as np

from ..fields.base import has_newest_jacobian
from ..inputs import at_once, read_only
from ..solvers.batch import all_row_increments
from ..solvers.dense import dense_output, is_in_step, slopes_at, weights_at
from ..solvers.solve import run
from .tape import Tape, add_outputs, flat_vjp, output_cotangents, run_on_tape, stages, step_with_increments

SMALL = 600             # entries of f_y in a state, a tenth of those of f_θ: above, all at once costs more than it saves
PIECE = 2**22           # numbers of f_y and f_θ that are made at once, 32 MB
FEW = 2**12             # numbers in the stages whose f_t are computed at once, if f is wide


def reverse_step(table, h, vjps, a, b, inside=None, bars=None):
    """One step taken back: from the cotangents a (a row) of y_{n+1} and b (p,) of θ to those of y_n and θ.

    vjps[i] is the vector-Jacobian product of f at Y_i, k_bar -> (k_bar f_y, Σ k_bar f_θ); `table` has A and b of
    the stages. inside (s, n) is what the outputs inside the step add to k̄ / h (18.5), if there are any. The k̄_i and
    Ȳ_i are written into bars (2, s, n), if it is given.
    """
    s, (k_bars, Y_bar) = len(vjps), np.empty((2, len(vjps), a.size)) if bars is None else bars
    for i in reversed(range(s)):
        k_bar = h * (table.b[i] * a + table.A[i + 1:s, i].dot(Y_bar[i + 1:]))      # (18.1)
        if inside is not None:
            k_bar = k_bar + h * inside[i]                                          # (18.5)
        k_bars[i] = k_bar
        Y_bar[i], k_bar_f_theta = vjps[i](k_bar)                                   # (18.2)
        b = b + k_bar_f_theta                                                      # (18.4)
    return a + Y_bar.sum(axis=0), b                                                # (18.3)


def ends_of_steps(c, h, k_bar, k_bar_k, f_t):
    """What L gains if the start of a step moves, and if its end does, (N,) each, for N steps h (N,).

    k_bar and f_t (s, N, n) are of their stages at c (s,), and k_bar_k (N,) is Σ_i k̄_i · k_i.
    """
    c, each = np.asarray(c), np.einsum("snj,snj->sn", k_bar, f_t)
    dL_dt = each.sum(axis=0)                                                       # (18.7)
    dL_dh = k_bar_k / h + c @ each                                                 # (18.8)
    return dL_dt - dL_dh, dL_dh


def backward_pass(f, theta, tape, tableau, times, cotangents, a, b, ends=None):
    """a (..., d) at the first state and b (p,), from the steps on the tape, which is used up.

    cotangents (M, ..., d) are those of the outputs at `times` (M,). The first of them is the first state and
    not looked at. a (..., d) and b are what comes from everything after the last state. `ends`, if given, are
    the `StepEnds` that gather dL/dt.
    """
    table, shape, flat = dense_output(tableau), a.shape, cotangents.reshape(len(cotangents), -1)
    t, h = (np.array([step[i] for step in tape]) for i in (0, 1))
    at_ends, inside = output_cotangents(t, h, table, times, flat)
    a = a.ravel() + at_ends.get(len(tape), 0.0)                                    # (18.5)
    if ends is not None:
        ends.begin(t, a)
        gained = {n: add_outputs(ends, table, n, step_with_increments(f, theta, table, tape, n, shape), times, flat)
                  for n in inside}
    if not isinstance(tape, Tape):
        s = len(table.P) if inside else tableau.used
        return all_at_once(f, theta, table, tape, s, a.reshape(shape), b, at_ends, inside, ends)
    waiting, y_next = [], tape.y_end if tape and ends is not None else None
    while tape:
        n, (_, _, Y, vjps) = len(tape) - 1, tape.pop()
        s = len(vjps) if n in inside else tableau.used
        bars, a_next = np.empty((2, s, a.size)), a
        a, b = reverse_step(table, h[n], vjps[:s], a, b, inside.get(n), bars)
        a = a + at_ends.get(n, 0.0)                                                # (18.5)
        if ends is not None:
            Y = np.array(Y[:s])
            k_bar_k = a_next @ (y_next - Y[0]) + np.vdot(bars[1], Y - Y[0]) + gained.get(n, 0.0)  # (18.10)
            ends.visit(t[[n]], a[None])
            waiting, y_next = [*waiting, (n, Y.reshape(s, *shape), bars[0], k_bar_k)], Y[0]
            if not tape or len(waiting) * Y.size > FEW or (n - 1 in inside) != (n in inside):
                numbers, Y, k_bar, k_bar_k = zip(*waiting)
                add_steps(ends, table, list(numbers), np.stack(Y, axis=1), np.stack(k_bar, axis=1), np.array(k_bar_k))
                waiting = []
    return a.reshape(shape), b


def add_steps(ends, table, numbers, Y, k_bar, k_bar_k):
    """Tell `ends` of the steps of these numbers: Y and k̄ (s, N, ...), and Σ_i k̄_i · k_i (N,)."""
    t, t_new, c = ends.t_old[numbers], ends.t_new[numbers], table.c[:len(Y)]
    f_t = ends.f_t(c, t, t_new - t, Y).reshape(*Y.shape[:2], -1)
    ends.add(t, t_new, *ends_of_steps(c, t_new - t, k_bar.reshape(f_t.shape), k_bar_k, f_t))


def is_small(f, shape):
    """Whether states (..., d) are small enough for all steps at once; never if `vjp` is newer than `jacobian`."""
    size = int(np.prod(shape))
    return has_newest_jacobian(f) and size * f.dim < SMALL and size * f.n_params < 10 * SMALL


def all_at_once(f, theta, table, tape, s, a, b, at_ends, inside, ends=None):
    """`backward_pass` of a small system, in pieces of as many steps as PIECE allows; tape lists (t, h, y, hK)."""
    piece = max(1, PIECE // max(1, s * a.size * (f.dim + f.n_params)))
    for stop in range(len(tape), 0, -piece):
        numbers = range(max(0, stop - piece), stop)
        to_a = np.array([at_ends.get(n, np.zeros(a.size)) for n in numbers])
        add = {n - numbers[0]: inside[n] for n in numbers if n in inside}
        of_stages = stages(table, [tape[n] for n in numbers], s, a.shape)
        a, b, a_n, k_bar = steps_at_once(f, theta, table, of_stages, a, b, to_a, add)
        if ends is not None:
            ends.visit(ends.t_old[list(numbers)], a_n)
            (_, h, Y, hK), k_bar = of_stages, k_bar.reshape(of_stages[-1].shape)
            add_steps(ends, table, list(numbers), Y, k_bar, np.einsum("snj,snj->n", k_bar, hK / h[:, None]))
    return a, b


def steps_at_once(f, theta, table, stages, a, b, at_ends, inside):
    """N steps taken back together: (18.1) to (18.3) for the rows of I, (18.6) in turn, and (18.4) for all stages.

    Returns a and b, and the a_n (N, n) of all the steps and their k̄ (s, N, ..., d).
    """
    (T, h, Y, _), shape, d = stages, a.shape, a.shape[-1]
    s, N, h = *Y.shape[:2], h[:, None, None, None]
    f_y = at_once("jacobian", f.jacobian, T, Y, theta, shape).reshape(s, N, -1, d, d)
    K_bar, Y_bar, I = *np.empty((2, *f_y.shape[:3], d + 1, d)), np.eye(d + 1, d)   # a row more, for outputs inside
    for i in reversed(range(s)):
        later = table.A[i + 1:s, i].dot(Y_bar.reshape(s, -1)[i + 1:]).reshape(Y_bar[i].shape)
        K_bar[i] = h * (table.b[i] * I + later)                                    # (18.1)
        for n, add in inside.items():
            K_bar[i, n, :, d] += h[n, 0] * add[i].reshape(-1, d)                   # (18.5)
        Y_bar[i] = K_bar[i] @ f_y[i]                                               # (18.2)
    a_n, rows = np.empty((N + 1, f_y.shape[2], 1, d)), I + Y_bar.sum(axis=0)       # (18.3)
    a_n[N], dy_next_dy, added = a.reshape(-1, 1, d), rows[..., :d, :], rows[..., d:, :] + at_ends.reshape(a_n[1:].shape)
    for n in reversed(range(N)):
        a_n[n] = a_n[n + 1] @ dy_next_dy[n] + added[n]                             # (18.6)
    k_bar = (a_n[1:] @ K_bar[..., :d, :] + K_bar[..., d:, :]).reshape(Y.shape).astype(Y.dtype, copy=False)
    _, sum_k_bar_f_theta = at_once("vjp", f.vjp, T, Y, theta, shape, k_bar)        # (18.4)
    return a_n[0].reshape(shape), b + sum_k_bar_f_theta, a_n[:-1].reshape(N, -1), k_bar  # (18.4)


def discrete(f, y0, t, theta, method, solver, backward=None):
    """The route of this chapter: the solve, and the way back, a function (cotangents, b) -> (a, b)."""
    if solver.get("per_trajectory"):
        return discrete_trajectories(f, y0, t, theta, method, solver)
    tape = [] if is_small(f, y0.shape) else Tape(f, theta, method, solver.get("step_size") is None)
    solution = run_on_tape(f, y0, t, theta, tape, **solver)
    return solution, lambda cotangents, b, ends=None: backward_pass(
        f, theta, tape, method, solution.t, cotangents, np.zeros(y0.shape), b, ends)


def discrete_trajectories(f, y0, t, theta, method, solver):
    """The route for a batch (B, d) whose trajectories take steps of their own, pass by pass of chapter 12."""
    passes, table = [], dense_output(method)
    solution = run(f, y0, t, theta, passes, **solver).solution
    at_once("vjp", f.vjp, np.linspace(*solution.t[[0, -1]], len(y0)), y0, theta, y0.shape[1:], np.ones_like(y0))

    def back(cotangents, b, ends=None):
        a, times, t_next = np.zeros(y0.shape), solution.t[1:, None], np.full(len(y0), solution.t[-1])
        for ids, t, h, y, hK in reversed(passes):            # each is a step of length 1 of (12.1)
            sigma, t_new = (times - t) / h, t_next[ids]
            is_end = times == t_new
            is_inside, t_next[ids] = is_in_step(times, t, t_new) & ~is_end, t
            s = len(table.P) if is_inside.any() else method.used
            if is_inside.any():
                hK = all_row_increments(lambda t, y: f(t, y, theta), table, t, h, y, hK)
            a_next, add, to_a = a[ids], np.zeros((s, *y.shape)), np.zeros(y.shape)
            for i, (g, x, inside, end) in enumerate(zip(cotangents[1:, ids], sigma, is_inside, is_end), start=1):
                a_next[end] += g[end]
                to_a[inside] += g[inside]                                          # (18.5)
                add[:, inside] += weights_at(table, x[inside])[:s, :, None] * g[inside]  # (18.5)
                if ends is not None and inside.any():
                    hK_inside = np.einsum("rm,rmj->mj", slopes_at(table, x[inside]), hK[:, inside])
                    dL_dt = (g[inside] * hK_inside).sum(axis=-1) / h[inside]       # (18.9)
                    ends.add_inside(i, t[inside], t_new[inside], x[inside], dL_dt, ids[inside])
            Y = read_only((y + np.tensordot(table.A[:s, :s], hK[:s], 1)).astype(y.dtype, copy=False))
            vjps = [flat_vjp(f.value_and_vjp(t + table.c[i] * h, Y[i], theta)[1], y, h[:, None]) for i in range(s)]
            bars = np.empty((2, s, y.size))
            a_new, b = reverse_step(table, 1.0, vjps, a_next.ravel(), b, add.reshape(s, -1), bars)
            a[ids] = a_new.reshape(y.shape) + to_a
            if ends is not None:
                k_bar = bars[0].reshape(Y.shape)                               # of h k, in steps of length 1
                k_bar_k, f_t = np.einsum("smj,smj->m", k_bar, hK[:s]), ends.f_t(table.c[:s], t, h, Y)
                ends.add(t, t_new, *ends_of_steps(table.c[:s], h, h[:, None] * k_bar, k_bar_k, f_t))
        return a + cotangents[1:][solution.t[1:] == solution.t[0]].sum(axis=0), b
    return solution, back

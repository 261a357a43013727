"""18. The exact derivative of the steps

The solver did not compute y(T). It computed states y_0, y_1, …, y_N, each from the one before, by
(9.1) to (9.3):

    Y_i = y_n + Σ_{j<i} a_ij h k_j,   k_i = f(t_n + c_i h, Y_i),   y_{n+1} = y_n + Σ_i b_i h k_i.

The loss that was printed is a function of these numbers, and we want its derivative. As in a
network (chapter 4) we go through the step from its last line to its first, and give each quantity
its cotangent: the derivative of L in it, through everything that was computed from it. Write k̄_i
for the cotangent of k_i and Ȳ_i for that of Y_i, and suppose that a_{n+1}, that of y_{n+1}, is
known. For each quantity, look at where it is used:

    k_i is used in y_{n+1}, with the factor h b_i, and in each later stage Y_j, with the factor h a_ji,
    Y_i is used in k_i alone,
    y_n is used in y_{n+1} and in every Y_i,
    θ is used in every k_i.

Each place gives one term: the cotangent of what is computed there, times the factor. (a_ij and b_i,
with the numbers of stages, are the table; a_n and b_n, with the numbers of steps, are cotangents.)

    k̄_i = h b_i a_{n+1} + Σ_{j>i} h a_ji Ȳ_j,                            (18.1)
    Ȳ_i = k̄_i f_y(t_n + c_i h, Y_i),                                     (18.2)
    a_n = a_{n+1} + Σ_i Ȳ_i,                                             (18.3)
    b_n = b_{n+1} + Σ_i k̄_i f_θ(t_n + c_i h, Y_i).                       (18.4)

Visit the stages from the last to the first: k̄_i needs the Ȳ_j of later stages only. (18.1) reads A
by columns, so it is a product with the transpose of A. (18.2) and the term of (18.4) are the two
parts of one vector-Jacobian product.

By hand, once: Euler's method on y' = θy, and L = y_N. Here f_y = θ and f_θ = y, so k̄_1 = h a_{n+1},
Ȳ_1 = hθ a_{n+1}, a_n = (1 + hθ) a_{n+1} and b_n = b_{n+1} + h a_{n+1} y_n. From a_N = 1 we get
a_n = (1 + hθ)^{N−n}. With y_n = (1 + hθ)^n y_0 each step adds h (1 + hθ)^{N−1} y_0 to b. So
a_0 = (1 + hθ)^N and b_0 = N h (1 + hθ)^{N−1} y_0, which are exactly the derivatives of
y_N = (1 + hθ)^N y_0 in y_0 and in θ. Chapter 17 has e^{θ(T−t₀)} and (T − t₀) y(T) in their place.
The two agree in the limit h → 0.

No limit was taken: at any step size this is the derivative of the numbers computed, up to rounding.
It is called discretise-then-optimise, and chapter 17 optimise-then-discretise. If the method
chooses its steps, the derivative is that with the accepted t_n and h held fixed. At a loose
tolerance the steps themselves change with y₀ and θ. The derivative of the number that an adaptive
solve prints can then be quite different.

Outputs. Let g be the cotangent of an output. If the output is y_n, g joins a_n (that of the first, y_0,
is added in chapter 20). If it is inside a step, y_n + Σ_j b_j(σ) h k_j by (11.1), it adds

    h b_j(σ) g  to k̄_j   and   g  to a_n.                                (18.5)

If a dense output has stages of its own, they are stages like the others, with b_j = 0.

Compared with chapter 17. If no b_i is 0, put k̄_i = h b_i Λ_i. Then (18.1) to (18.3) become

    Λ_i = a_{n+1} + h Σ_j (b_j a_ji / b_i) Λ_j f_y(Y_j),     a_n = a_{n+1} + h Σ_j b_j Λ_j f_y(Y_j).

This is a Runge–Kutta step of (17.2) with −h, by the table b_j a_ji / b_i. With this table
a · w + b · Δθ of (17.1) stays exactly the same from step to step (Sanz-Serna, SIAM Review 58,
2016). For the Gauss methods it is b_j − a_ij, the table of the same step from its end, so their
adjoint is the gradient. In general the backward solve of chapter 17 uses the method's own table
and computes y again, so it conserves (17.1) only up to its error. The two gradients differ by
O(h^p), and neither is always nearer to that of the true solution. But a minimiser that is given
one function and the gradient of another may find no step downhill.

All steps at once. In a small system a call of f costs more than its arithmetic, so we want few
calls. One call gives the Jacobians f_y of all stages of all steps. (18.1) to (18.3) are linear in
a_{n+1}. With the rows of I in the place of a_{n+1} they give the matrix ∂y_{n+1}/∂y_n of each step.
Only a product with this matrix is left to do step by step:

    a_n = a_{n+1} ∂y_{n+1}/∂y_n + what the outputs add.                  (18.6)

Then every k̄_i is known, and (18.4) for all stages takes one call of the vector-Jacobian product. A
wide system is taken back step by step. It keeps more: a network saves the states of its layers for
every stage (chapter 4).

If the times t_i are moved, the steps move with them. The appendix step_times.py derives dL/dt_i.
Figure 9 shows this gradient beside those of chapter 17, figure 10 the number (17.1) at each step,
figure 20 what is lost if a method chooses its steps for y alone, and figure 90 what all this costs
in time.
Next: the same numbers in less memory (chapter 19).

Exercises. 1. Derive: what are (18.1) to (18.4) for the midpoint rule, and what is a_n for y' = θy?
2. Break this line: in `reverse_step` write hA[i, i + 1:s] for hA[i + 1:s, i]. Take 40
states at once and an `MLP` with the widths 4, 16, 3: too many for (18.6). For which method is the
gradient still right, and how wrong is it for the others as h tends to 0? Then run
`python -m pytest --eq 18.1`.
"""

import numpy as np

from ..fields.base import has_newest_jacobian
from ..inputs import at_once, read_only
from ..solvers.batch import all_row_increments
from ..solvers.dense import dense_output, is_in_step, slopes_at, weights_at
from ..solvers.solve import run
from .step_times import WideSteps, add_outputs, add_steps, ends_of_steps
from .tape import Tape, flat_vjp, output_cotangents, run_on_tape, stages, step_with_increments

SMALL = 600             # entries of f_y in a state (for f_θ ten times as many): above, all at once costs more
PIECE = 2**22           # numbers of f_y and f_θ that are made at once, 32 MB


def reverse_step(table, h, vjps, a, b, inside=None, bars=None):
    """Take one step back: from the cotangents a (a row) of y_{n+1} and b (p,) of θ to those of y_n and θ.

    vjps[i] is the vector-Jacobian product of f at Y_i, k_bar -> (k_bar f_y, Σ k_bar f_θ). `table` has A and b of
    the stages, and perhaps of more. If there are outputs inside the step, inside (s, n) is what they add to the
    k̄_i / h (18.5). If bars (2, s, n) is given, the k̄_i and Ȳ_i are written into it.
    """
    s, (k_bar, Y_bar) = len(vjps), (np.empty((2, len(vjps), a.size)) if bars is None else bars)
    hA, hb, shown = h * table.A, h * table.b, read_only(k_bar)       # f sees k_bar, and cannot change it
    for i in reversed(range(s)):
        k_bar[i] = hb[i] * a + hA[i + 1:s, i].dot(Y_bar[i + 1:s])                  # (18.1)
        if inside is not None:
            k_bar[i] += h * inside[i]                                              # (18.5)
        Y_bar[i], k_bar_f_theta = vjps[i](shown[i])                                # (18.2)
        b = b + k_bar_f_theta                                                      # (18.4)
    return a + Y_bar.sum(axis=0), b                                                # (18.3)


def backward_pass(f, theta, tape, tableau, times, cotangents, a, b, ends=None):
    """Take all steps on the tape back, the last one first: returns a (..., d) at the first state, and b (p,).

    a (..., d) and b, as given, come from everything after the last state. cotangents (M, ..., d) are those of the
    outputs at `times` (M,). The first output is the first state, and its cotangent is not read. `ends`, if given,
    are the `StepEnds` that gather dL/dt. The tape is used up.
    """
    table, shape, flat = dense_output(tableau), a.shape, cotangents.reshape(len(cotangents), -1)
    t, h = (np.array([step[i] for step in tape]) for i in (0, 1))
    to_a, inside = output_cotangents(t, h, table, times, flat)
    a = a.ravel() + to_a.get(len(tape), 0.0)                 # of outputs that are the last state
    if ends is not None:                                     # the times: appendix step_times.py
        ends.begin(t, a)
        gained = {n: add_outputs(ends, table, n, step_with_increments(f, theta, table, tape, n, shape), times, flat)
                  for n in inside}
    if not isinstance(tape, Tape):
        s = len(table.P) if inside else tableau.used
        return all_at_once(f, theta, table, tape, s, a.reshape(shape), b, to_a, inside, ends)
    watch = WideSteps(ends, table, tape.y_end, gained, shape).add if tape and ends is not None else None
    a, b = one_by_one(table, tape, tableau.used, a, b, to_a, inside, watch)
    return a.reshape(shape), b


def one_by_one(table, tape, used, a, b, to_a, inside, watch):
    """`backward_pass` of a wide system: from a_N and b_N to a_0 and b_0, which are rows (n,) and (p,).

    to_a[n] is what outputs add to a_n, inside[n] what they add to the k̄_i / h of step n. `used` stages make a
    step, and those behind them an output inside. `watch`, if not None, sees each step.
    """
    while tape:
        n, (_, h, Y, vjps) = len(tape) - 1, tape.pop()
        s = len(vjps) if n in inside else used
        bars, a_next = np.empty((2, s, a.size)), a
        a, b = reverse_step(table, h, vjps[:s], a_next, b, inside.get(n), bars)
        a = a + to_a.get(n, 0.0)                                                   # (18.5)
        if watch is not None:
            watch(n, Y[:s], a_next, a, bars)
    return a, b


def is_small(f, size):
    """Whether all steps of a state of `size` numbers are taken at once: if f_y is small, and as new as `vjp`."""
    return size * f.dim < SMALL and size * f.n_params < 10 * SMALL and has_newest_jacobian(f)


def all_at_once(f, theta, table, tape, s, a, b, to_a, inside, ends=None):
    """`backward_pass` of a small system, in pieces of as many steps as PIECE allows."""
    piece = max(1, PIECE // max(1, s * a.size * (f.dim + f.n_params)))
    for stop in range(len(tape), 0, -piece):
        numbers = range(max(0, stop - piece), stop)
        to_a_n = np.array([to_a.get(n, np.zeros(a.size)) for n in numbers])
        add = {n - numbers[0]: inside[n] for n in numbers if n in inside}
        of_stages = stages(table, [tape[n] for n in numbers], s, a.shape)
        a, b, a_n, k_bar = steps_at_once(f, theta, table, of_stages, a, b, to_a_n, add)
        if ends is not None:
            ends.visit(ends.t_old[list(numbers)], a_n)
            (_, h, Y, hK), k_bar = of_stages, k_bar.reshape(of_stages[-1].shape)
            add_steps(ends, table, list(numbers), Y, k_bar, np.einsum("snj,snj->n", k_bar, hK / h[:, None]))
    return a, b


def steps_at_once(f, theta, table, stages, a, b, to_a_n, inside):
    """Take N steps back together: (18.1) to (18.3) for the rows of I, (18.6) in turn, (18.4) for all stages.

    Returns a and b, and the a_n (N, n) of all the steps and their k̄ (s, N, ..., d).
    """
    (T, h, Y, _), shape, d = stages, a.shape, a.shape[-1]
    s, N, h, I = len(Y), len(h), h[:, None, None, None], np.eye(d + 1, d)          # I, and a row of 0
    f_y = at_once("jacobian", f.jacobian, T, Y, theta, shape).reshape(s, N, -1, d, d)
    K_bar, Y_bar = np.empty((2, *f_y.shape[:3], d + 1, d))   # (s, N, states, d + 1, d)
    for i in reversed(range(s)):
        later = table.A[i + 1:s, i].dot(Y_bar.reshape(s, -1)[i + 1:]).reshape(Y_bar[i].shape)
        K_bar[i] = h * (table.b[i] * I + later)                                    # (18.1)
        for n, add in inside.items():
            K_bar[i, n, :, d] += h[n, 0] * add[i].reshape(-1, d)                   # (18.5)
        Y_bar[i] = K_bar[i] @ f_y[i]                                               # (18.2)
    rows, a_n = I + Y_bar.sum(axis=0), np.empty((N + 1, f_y.shape[2], 1, d))       # (18.3)
    dy_next_dy, added = rows[..., :d, :], rows[..., d:, :] + to_a_n.reshape(a_n[1:].shape)
    a_n[N] = a.reshape(-1, 1, d)
    for n in reversed(range(N)):
        a_n[n] = a_n[n + 1] @ dy_next_dy[n] + added[n]                             # (18.6)
    # The rows of K_bar are k̄ for the rows of I. Those of a_{n+1}, and what the outputs add:
    k_bar = (a_n[1:] @ K_bar[..., :d, :] + K_bar[..., d:, :]).reshape(Y.shape).astype(Y.dtype, copy=False)
    _, sum_k_bar_f_theta = at_once("vjp", f.vjp, T, Y, theta, shape, k_bar)        # (18.4)
    return a_n[0].reshape(shape), b + sum_k_bar_f_theta, a_n[:-1].reshape(N, -1), k_bar  # (18.4)


def discrete(f, y0, t, theta, method, solver, backward=None):
    """The route of this chapter: the solve, and the way back, a function (cotangents, b) -> (a, b)."""
    if solver.get("per_trajectory"):
        return discrete_trajectories(f, y0, t, theta, method, solver)
    tape = [] if is_small(f, y0.size) else Tape(f, theta, method, solver.get("step_size") is None)
    solution = run_on_tape(f, y0, t, theta, tape, **solver)
    return solution, lambda cotangents, b, ends=None: backward_pass(
        f, theta, tape, method, solution.t, cotangents, np.zeros(y0.shape), b, ends)


def discrete_trajectories(f, y0, t, theta, method, solver):
    """The route for a batch (B, d) whose trajectories take steps of their own (chapter 12), pass by pass."""
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
            for i, (g, x, inside, at_end) in enumerate(zip(cotangents[1:, ids], sigma, is_inside, is_end), start=1):
                a_next[at_end] += g[at_end]
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

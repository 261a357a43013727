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

Next: the same numbers in less memory (chapter 19).
"""

from collections import deque

import numpy as np

from ..fields.base import has_newest_jacobian
from ..inputs import at_once, read_only
from ..solvers.batch import all_row_increments
from ..solvers.dense import dense_output, is_in_step, weights_at
from ..solvers.solve import run

SMALL = 600             # entries of f_y in a state, a tenth of those of f_θ: above, all at once costs more than it saves
PIECE = 2**22           # numbers of f_y and f_θ that are made at once, 32 MB


def reverse_step(table, h, vjps, a, b, inside=None):
    """One step taken back: from the cotangents a (a row) of y_{n+1} and b (p,) of θ to those of y_n and θ.

    vjps[i] is the vector-Jacobian product of f at Y_i, k_bar -> (k_bar f_y, Σ k_bar f_θ); `table` has A and b of
    the stages. inside (s, n) is what the outputs inside the step add to k̄ / h (18.5), if there are any.
    """
    s, Y_bar = len(vjps), np.empty((len(vjps), a.size))
    for i in reversed(range(s)):
        k_bar = h * (table.b[i] * a + table.A[i + 1:s, i] @ Y_bar[i + 1:])         # (18.1)
        if inside is not None:
            k_bar = k_bar + h * inside[i]                                          # (18.5)
        Y_bar[i], k_bar_f_theta = vjps[i](k_bar)                                   # (18.2)
        b = b + k_bar_f_theta                                                      # (18.4)
    return a + Y_bar.sum(axis=0), b                                                # (18.3)


class Tape(list):
    """The steps of a solve, each as (t, h, vjps), with the vector-Jacobian products of its stages.

    `velocity(t, y)` is what the solver evaluates: f, which leaves its vjp at each point. Those of rejected
    steps are dropped when as many later ones have come as a step has stages.
    """

    def __init__(self, f, theta, tableau, may_choose_steps):
        self.f, self.theta, self.first = f, theta, None      # first: the vjp of k_1, from the step before
        self.latest = deque(maxlen=len(dense_output(tableau).P))
        self.carries_first = tableau.is_fsal or (may_choose_steps and tableau.b_hat is not None)
        self.at_new_state = tableau.stages - tableau.is_fsal

    def velocity(self, t, y):
        value, vjp = self.f.value_and_vjp(t, y, self.theta)
        self.latest.append(flat_vjp(vjp, y.shape))
        if self.first is None:
            self.first = self.latest[-1]
        return value

    def append(self, step):
        t, h, _, hK = step
        vjps = [self.first, *list(self.latest)[len(self.latest) - (len(hK) - 1):]]  # of k_1, and of k_2, …, k_s
        self.first = vjps[self.at_new_state] if self.carries_first else None
        super().append((t, h, vjps))


def flat_vjp(vjp, shape, h=None):
    """A vector-Jacobian product of states of this shape as one of flat vectors; with h, that of h f (12.1)."""
    def product(a):
        a_f_y, a_f_theta = vjp(read_only(a.reshape(shape) if h is None else h * a.reshape(shape)))
        return a_f_y.reshape(-1), a_f_theta
    return product


def output_cotangents(t, h, table, times, cotangents):
    """What the outputs at times[1:] add (18.5): {n: to a_n}, and {n: to the k̄_i / h of step n}; steps t, h (N,)."""
    at_ends, inside, is_seen = {}, {}, cotangents.any(axis=1)                      # outputs that the loss sees
    is_seen[0] = False
    times, cotangents = times[is_seen], cotangents[is_seen]
    n_of = (np.sign(h[0]) * t).searchsorted(np.sign(h[0]) * times) - 1             # as `is_in_step` says
    for n, time, g in zip(n_of.tolist(), times, cotangents):
        sigma = (time - t[n]) / h[n]
        is_inside = n >= 0 and sigma != 1.0
        end = n if is_inside else n + 1
        at_ends[end] = at_ends.get(end, 0.0) + g                                   # (18.5)
        if is_inside:
            inside[n] = inside.get(n, 0.0) + weights_at(table, sigma)[:, None] * g  # (18.5)
    return at_ends, inside


def backward_pass(f, theta, tape, tableau, times, cotangents, a, b):
    """a (..., d) at the first state and b (p,), from the steps on the tape, which is used up.

    cotangents (M, ..., d) are those of the outputs at `times` (M,). The first of them is the first state and
    not looked at. a (..., d) and b are what comes from everything after the last state.
    """
    if not tape:
        return a + cotangents[1:].sum(axis=0), b
    table, shape, flat = dense_output(tableau), a.shape, cotangents.reshape(len(cotangents), -1)
    t, h = (np.array([step[i] for step in tape]) for i in (0, 1))
    at_ends, inside = output_cotangents(t, h, table, times, flat)
    a = a.ravel() + at_ends.get(len(tape), 0.0)                                    # (18.5)
    if not isinstance(tape, Tape):
        s = len(table.P) if inside else tableau.used
        return all_at_once(f, theta, table, tape, s, a.reshape(shape), b, at_ends, inside)
    while tape:
        n, (_, h, vjps) = len(tape) - 1, tape.pop()
        a, b = reverse_step(table, h, vjps if n in inside else vjps[:tableau.used], a, b, inside.get(n))
        a = a + at_ends.get(n, 0.0)                                                # (18.5)
    return a.reshape(shape), b


def is_small(f, shape):
    """Whether states (..., d) are small enough for all steps at once; never if `vjp` is newer than `jacobian`."""
    size = int(np.prod(shape))
    return has_newest_jacobian(f) and size * f.dim < SMALL and size * f.n_params < 10 * SMALL


def all_at_once(f, theta, table, tape, s, a, b, at_ends, inside):
    """`backward_pass` of a small system, in pieces of as many steps as PIECE allows; tape lists (t, h, y, hK)."""
    piece = max(1, PIECE // (s * a.size * (f.dim + f.n_params)))
    for stop in range(len(tape), 0, -piece):
        numbers = range(max(0, stop - piece), stop)
        ends = np.array([at_ends.get(n, np.zeros(a.size)) for n in numbers])
        add = {n - numbers[0]: inside[n] for n in numbers if n in inside}
        a, b = steps_at_once(f, theta, table, [tape[n] for n in numbers], s, a, b, ends, add)
    return a, b


def steps_at_once(f, theta, table, steps, s, a, b, at_ends, inside):
    """N steps taken back together: (18.1) to (18.3) for the rows of I, (18.6) in turn, and (18.4) for all stages."""
    (T, h, Y), N, shape, d = stages(table, steps, s, a.shape), len(steps), a.shape, a.shape[-1]
    f_y = at_once("jacobian", f.jacobian, T, Y, theta, shape).reshape(s, N, -1, d, d)
    K_bar, Y_bar, I = *np.empty((2, *f_y.shape[:3], d + 1, d)), np.eye(d + 1, d)   # a row more, for outputs inside
    for i in reversed(range(s)):
        later = table.A[i + 1:s, i].dot(Y_bar.reshape(s, -1)[i + 1:]).reshape(Y_bar[i].shape)
        K_bar[i] = h * (table.b[i] * I + later)                                    # (18.1)
        for n, add in inside.items():
            K_bar[i, n, :, d] += h[n, 0] * add[i].reshape(-1, d)                   # (18.5)
        Y_bar[i] = K_bar[i] @ f_y[i]                                               # (18.2)
    a_next, rows = np.empty((N, f_y.shape[2], 1, d)), I + Y_bar.sum(axis=0)        # (18.3)
    dy_next_dy, added, a = rows[..., :d, :], rows[..., d:, :] + at_ends.reshape(a_next.shape), a.reshape(-1, 1, d)
    for n in reversed(range(N)):
        a_next[n] = a
        a = a @ dy_next_dy[n] + added[n]                                           # (18.6)
    k_bar = (a_next @ K_bar[..., :d, :] + K_bar[..., d:, :]).reshape(Y.shape)
    _, sum_k_bar_f_theta = at_once("vjp", f.vjp, T, Y, theta, shape, k_bar)        # (18.4)
    return a.reshape(shape), b + sum_k_bar_f_theta                                 # (18.4)


def stages(table, steps, s, shape):
    """Times (s, N, ...) and states (s, N, ..., d) of the first s stages of N steps, and their h (N, 1, 1, 1)."""
    t, h, y = (np.array([step[i] for step in steps]) for i in range(3))
    hK = np.zeros((s, *y.shape), y.dtype)
    for n, (*_, rows) in enumerate(steps):
        hK[:len(rows), n] = rows[:s]
    Y = y + table.A[:s, :s].dot(hK.reshape(s, -1)).reshape(hK.shape)
    for n, (*_, rows) in enumerate(steps):
        Y[len(rows):, n] = y[n]                              # not needed in this step, but f_y must exist there
    Y = read_only(Y.reshape(s, len(t), *shape))
    T = (t + np.multiply.outer(table.c[:s], h)).reshape(s, len(t), *[1] * (len(shape) - 1))
    return np.broadcast_to(T, Y.shape[:-1]), h[:, None, None, None], Y


def discrete(f, y0, t, theta, method, solver, backward=None):
    """The route of this chapter: the solve, and the way back, a function (cotangents, b) -> (a, b)."""
    if solver.get("per_trajectory"):
        return discrete_trajectories(f, y0, t, theta, method, solver)
    tape = [] if is_small(f, y0.shape) else Tape(f, theta, method, solver.get("step_size") is None)
    solution = run_on_tape(f, y0, t, theta, tape, **solver)
    return solution, lambda cotangents, b: backward_pass(
        f, theta, tape, method, solution.t, cotangents, np.zeros(y0.shape), b)


def run_on_tape(f, y0, t, theta, tape, **solver):
    """The solution, its steps on the tape: with the vjp of each stage if it is a `Tape`."""
    f, theta = (tape.velocity, None) if isinstance(tape, Tape) else (f, theta)
    return run(f, y0, t, theta, tape, **solver).solution


def discrete_trajectories(f, y0, t, theta, method, solver):
    """The route for a batch (B, d) whose trajectories take steps of their own, pass by pass of chapter 12."""
    passes, table = [], dense_output(method)
    solution = run(f, y0, t, theta, passes, **solver).solution
    at_once("vjp", f.vjp, np.linspace(*solution.t[[0, -1]], len(y0)), y0, theta, y0.shape[1:], np.ones(y0.shape))

    def back(cotangents, b):
        a, times, t_next = np.zeros(y0.shape), solution.t[1:, None], np.full(len(y0), solution.t[-1])
        for ids, t, h, y, hK in reversed(passes):            # each is a step of length 1 of (12.1)
            sigma, is_end = (times - t) / h, times == t_next[ids]
            is_inside, t_next[ids] = is_in_step(times, t, t_next[ids]) & ~is_end, t
            s = len(table.P) if is_inside.any() else method.used
            if is_inside.any():
                hK = all_row_increments(lambda t, y: f(t, y, theta), table, t, h, y, hK)
            a_next, add, ends = a[ids], np.zeros((s, *y.shape)), np.zeros(y.shape)
            for g, x, inside, end in zip(cotangents[1:], sigma, is_inside, is_end):
                a_next[end] += g[ids[end]]
                ends[inside] += g[ids[inside]]                                     # (18.5)
                add[:, inside] += weights_at(table, x[inside])[:s, :, None] * g[ids[inside]]  # (18.5)
            Y = read_only(y + np.tensordot(table.A[:s, :s], hK[:s], 1))
            vjps = [flat_vjp(f.value_and_vjp(t + table.c[i] * h, Y[i], theta)[1], y.shape, h[:, None]) for i in range(s)]
            a_new, b = reverse_step(table, 1.0, vjps, a_next.ravel(), b, add.reshape(s, -1))
            a[ids] = a_new.reshape(y.shape) + ends
        return a + cotangents[1:][solution.t[1:] == solution.t[0]].sum(axis=0), b
    return solution, back

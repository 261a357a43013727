"""18. The exact derivative of the steps

The solver did not compute y(T) but some numbers y_0, y_1, …, y_N, each from the
one before by

    Y_i = y_n + Σ_{j<i} a_ij h k_j,   k_i = f(t_n + c_i h, Y_i),   y_{n+1} = y_n + Σ_i b_i h k_i.

The loss that was printed is a function of these numbers. Its derivative is found as for
a network: every intermediate quantity, last one first, gets its cotangent, the
derivative of L in it through all that was computed from it. Suppose the cotangent
a_{n+1} of y_{n+1} is known. Write λ_i for that of k_i and μ_i for that of Y_i. k_i is
used in y_{n+1}, with factor h b_i, and in the later stages Y_j, with factors h a_ji;
Y_i is used in k_i alone; y_n in y_{n+1} and in every Y_i. So

    λ_i = h ( b_i a_{n+1} + Σ_{j>i} a_ji μ_j ),                          (18.1)
    μ_i = λ_i f_y(t_n + c_i h, Y_i),                                     (18.2)
    a_n = a_{n+1} + Σ_i μ_i,                                             (18.3)
    b_n = b_{n+1} + Σ_i λ_i f_θ(t_n + c_i h, Y_i).                       (18.4)

The stages are visited from the last to the first; A is read by columns, which is
its transpose; (18.2) and the sum in (18.4) are one vector-Jacobian product. No
limit was taken anywhere: this is the derivative of the numbers that were computed,
at any step size, up to the rounding of the arithmetic.

An output inside a step, y_n + Σ_j b_j(θ) h k_j by (11.1), with cotangent g, adds

    h b_j(θ) g  to λ_j   and   g  to a_n,                                (18.5)

and where a dense output has stages of its own, they are stages like the others, with
weight b_j = 0 in the step. An output at the end of a step simply joins a_{n+1}. A method that
chooses its steps is differentiated along the steps it took: its accepted t_n and h are
numbers here, not functions of y₀ and θ.

How does it compare with chapter 17? Where no b_i is 0, divide (18.1) by h b_i, and the
recursion is a Runge–Kutta step again: one of da/dt = −a f_y from a_n to a_{n+1}, by a table
of its own, a*_ij = b_j − b_j a_ji / b_i, that is solved for a_n. (Counted as a step of −h
from a_{n+1} its table is b_j a_ji / b_i.) Whether one is 0 or not, the step and its
derivative conserve (17.1) exactly (Sanz-Serna, SIAM Review 58, 2016). The backward
solve of chapter 17 takes steps of −h by the table of the forward one, conserves (17.1) only
up to its error, and recomputes y on the way. So the two gradients differ by O(h^p). Neither
is nearer to the gradient of the true solution; but a minimiser that is shown one
function and the gradient of another may find no step downhill.

All of it is linear in the cotangents, and only the chain of the a_n has to be walked one step after
the other. For a small system, where a call of f costs more than its arithmetic, the Jacobians
of all the stages of all the steps come from one call on one array; (18.1) to (18.3) applied to
the rows of the identity give ∂y_{n+1}/∂y_n, for all steps at once; and what is left to do in turn is

    a_n = a_{n+1} ∂y_{n+1}/∂y_n + what the outputs add.                  (18.6)

In the code the sum is a product as well: [a_n, 1] is [a_{n+1}, 1] times a matrix whose last row
is what the outputs add. With all a_n known, the same rows give every λ_i at once, and (18.4) is
one product over all of them. For a large system the Jacobians would cost more than they save,
and the steps are taken back one by one.

The price is memory. The increments of all steps are kept, and Y_i is recovered from y_n and
them by (9.1); or for a large system the field keeps what it came across at each stage, for a
network the states of its layers, so that on the way back nothing is computed again.

Next: the same numbers in less memory (chapter 19).
"""

from math import copysign

import numpy as np

from ..solvers.dense import all_increments, interpolant, stages_of, weights_at
from .at_once import Packed, joined, walk

class Notes(list):
    """A tape for a large system: (t, h, None, notes), with what a bound field noted at each stage.

    In a step that chose its length, or is first same as last, the note of k_1 is an earlier step's.
    What a rejected step noted is handed back.
    """

    keep = staticmethod(len)                     # of the increments it is enough to know how many

    def __init__(self, network, tableau, chooses):
        self.network, self.first = network, None
        self.carries = chooses or tableau.is_fsal
        self.last = tableau.stages - tableau.is_fsal

    def append(self, step):
        t, h, _, rows = step
        log = self.network.log
        if self.first is None:
            self.first = log.pop(0)
        has_first = self.carries or not self                 # the note of k_1 is in hand already
        start = len(log) - rows + has_first
        notes = [self.first, *log[start:]] if has_first else log[start:]
        if start:
            self.network.give_back(log[:start])
        log.clear()
        if self.carries:
            self.first = notes[self.last]
        super().append((t, h, None, notes))


def step_back(W, h, a, share, pull, arrays=None):
    """One step (or many at once) taken back: all μ_i with a_{n+1} behind them, and all λ_i.

    Row i of W (s, s + 1) is a_1i, …, a_si, b_i. h broadcasts against a, which is a_{n+1}; share[i] is what
    (18.5) adds to λ_i / h, and share may be None; pull(i, λ_i, out) puts μ_i into out. `arrays` are
    those of the answer, (s + 1, *a.shape) and (s, *a.shape), against which a may broadcast.
    """
    s, h = len(W), np.asarray(h)
    mu, lam = arrays or (np.empty((s + 1, *a.shape)), np.empty((s, *a.shape)))
    flat, flat_mu = lam.reshape(s, -1), mu.reshape(s + 1, -1)
    mu[s] = a
    for i in range(s - 1, -1, -1):
        lam_i = lam[i]
        np.dot(W[i, i + 1:], flat_mu[i + 1:], flat[i])                             # (18.1)
        if share is not None:
            lam_i += share[i]                                                      # (18.5)
        lam_i *= h                                                                 # (18.1)
        pull(i, lam_i, mu[i])                                                      # (18.2)
    return mu, lam


def gains_and_shares(t, h, tableau, times, cotangents, a):
    """What (18.5) adds: {n: to a_n}, which has `a` for the last, and {n: to the λ_i / h of step n}.

    t and h (N,) are those of the steps; the others as for `sweep`.
    """
    gains, shares = {len(t): np.zeros(cotangents.shape[1:]) + a}, {}
    sign, after = copysign(1.0, h[0]), times[1:]
    n = (sign * t).searchsorted(sign * after) - 1                                  # the step to each output
    theta_out = (after - t[n]) / h[n]
    inside = (theta_out != 1.0) & (n >= 0)
    for reached, g_out in zip((n + ~inside).tolist(), cotangents[1:]):
        gains[reached] = gains.get(reached, 0.0) + g_out                           # (18.5)
    if inside.any():
        n, g = n[inside], cotangents[1:][inside]
        weights, flat = weights_at(interpolant(tableau), theta_out[inside]), g.reshape(len(g), -1)
        for step in set(n.tolist()):
            here = n == step
            shares[step] = (weights[:, here] @ flat[here]).reshape(-1, *g.shape[1:])  # (18.5)
    return gains, shares


def sweep(f, tape, tableau, times, cotangents, a=0.0):
    """The derivative of a chain of explicit steps: a at the first state (..., d); f sums b (18.4).

    f is a field at its θ, a `Bound`. tape lists the steps (t, h, y, hK) with flat y, or is `Notes` of them.
    cotangents (N, ..., d) are those of the outputs at `times` (N,), the first of which is the first
    state and not looked at; `a` is that of the last state for whatever comes after it.
    A `Packed` tape is taken back all at once.
    """
    if not tape:
        return a + cotangents[1:].sum(axis=0)
    t, h, y, increments = zip(*tape)
    t, h = np.fromiter(t, float), np.fromiter(h, float)
    gains, shares = gains_and_shares(t, h, tableau, times, cotangents, a)
    if isinstance(tape, Packed):
        y = joined(y, y[0].dtype).reshape(len(tape), -1)
        return sweep_at_once(f, tableau, t, h, y, increments, gains, shares)
    a, has_notes = gains[len(tape)], isinstance(tape, Notes)
    most = len(stages_of(tableau, bool(shares))[1])
    mu, lam = np.empty((most + 1, *a.shape)), np.empty((most, *a.shape))
    for n in range(len(tape) - 1, -1, -1):
        A, c, W = stages_of(tableau, n in shares)
        t, h, y, kept = tape[n]
        last = len(c)
        if has_notes:
            def pull(i, lam, out):
                f.pull(kept[i], lam, out)                                          # (18.4)
        else:
            Y = (y + A @ kept[:last]).reshape(last, *a.shape)                      # (9.1)

            def pull(i, lam, out):
                out[...] = f.vjp(t + c[i] * h, Y[i], lam)                          # (18.4)
        step_back(W, h, a, shares.get(n), pull, (mu[:last + 1], lam[:last]))
        a = mu[:last + 1].sum(axis=0)                                              # (18.3)
        if n in gains:
            a += gains[n]                                                          # (18.5)
        if has_notes:
            f.give_back(kept[1:] if tape.carries and n else kept)
    return a


def sweep_at_once(f, tableau, t, h, y, increments, gains, shares):
    """`sweep` of a small system: every Jacobian from one call, then the chain (18.6)."""
    N = len(t)
    *batch, d = gains[N].shape
    A, c, W = stages_of(tableau, bool(shares))
    s = len(c)
    own, hK = min(s, tableau.stages), np.zeros((s, *y.shape))
    for n in shares:
        hK[:, n] = joined([increments[n]], y.dtype).reshape(s, -1)
    if len(set(map(len, increments))) > 1:       # some have the rows of outputs inside, seen or not by the loss
        increments = [rows[:own * y[0].nbytes] for rows in increments]
    hK[:own] = joined(increments, y.dtype).reshape(N, -1, y.shape[1])[:, :own].transpose(1, 0, 2)
    Y = (y + (A @ hK.reshape(s, -1)).reshape(hK.shape)).reshape(s, N, *batch, d)   # (9.1)
    clock = np.empty(Y.shape[:-1])
    clock.T[...] = t[:, None] + h[:, None] * c
    f_y, pull_theta = f.linearize(clock, Y)
    mu, lam = np.empty((s + 1, N, *batch, d + 1, d)), np.empty((s, N, *batch, d + 1, d))
    share = np.zeros(lam.shape) if shares else None                # in the last row, which is 0 in the identity
    for n, rows in shares.items():
        share[:, n, ..., d, :] = rows
    step_back(W, h.reshape(N, *[1] * (len(batch) + 2)), np.eye(d + 1, d), share,
              lambda i, lam, out: np.matmul(lam, f_y[i], out), (mu, lam))
    chain = np.zeros((N, *batch, d + 1, d + 1))                    # [a_{n+1}, 1] times it is [a_n, 1]
    chain[..., :d], chain[..., d, d] = mu.sum(axis=0), 1.0                         # (18.3)
    for n in gains.keys() - {N}:
        chain[n, ..., d, :d] += gains[n]                                           # (18.5)
    last = np.ones((*batch, 1, d + 1))
    last[..., 0, :d] = gains[N]
    a = walk(last, chain[::-1])[::-1]                                              # (18.6)
    pull_theta((a[1:] @ lam)[..., 0, :])                                           # (18.1) (18.4)
    return a[0, ..., 0, :d]


def sweep_trajectories(f, passes, tableau, times, cotangents):
    """`sweep` of a batch (B, d) whose trajectories took steps of their own, pass by pass."""
    dense, a = interpolant(tableau), np.zeros(cotangents.shape[1:])
    for ids, t, h, y, hK in reversed(passes):
        theta_out = (times[1:, None] - t) / h
        inside = (theta_out > 0.0) & (theta_out < 1.0)
        if inside.any():
            hK, _ = all_increments(f, dense, t, h, y, hK)
        A, c, W = stages_of(tableau, inside.any())
        last = len(c)
        share, gain, a_next = np.zeros((last, *y.shape)), np.zeros_like(y), a[ids]
        for g, x, i in zip(cotangents[1:], theta_out, inside):
            a_next[x == 1.0] += g[ids[x == 1.0]]
            gain[i] += g[ids[i]]                                                   # (18.5)
            share[:, i] += weights_at(dense, x[i])[:last, :, None] * g[ids[i]]     # (18.5)
        Y = y + np.tensordot(A, hK[:last], 1)                                      # (9.1)

        def pull(i, lam, out):
            out[...] = f.vjp(t + c[i] * h, Y[i], lam)                              # (18.4)
        mu, _ = step_back(W, h[:, None], a_next, share, pull)
        a[ids] = mu.sum(axis=0) + gain                                             # (18.3)
    return a + cotangents[1:][times[1:] == times[0]].sum(axis=0)

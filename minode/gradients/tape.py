"""Appendix to chapter 18. What is kept of the steps

Going backwards we need what each step computed. A wide system keeps the vector-Jacobian products
of its stages, as `value_and_vjp` leaves them on the way forward (`Tape`). A small one keeps only
the steps, a list of (t, h, y, hK), and computes the Jacobians of all stages together (`stages`).
"""

from collections import deque

import numpy as np

from ..inputs import read_only
from ..solvers.dense import dense_output, is_in_step, weights_at
from ..solvers.solve import run


class Tape(list):
    """The steps of a solve, each as (t, h, Y, vjps): the Y_i of its stages, and the vjp of f at each of them.

    The solver evaluates `velocity(t, y)`, which is f and notes the vjp at each point. The tape keeps the latest of
    these, as many as a step has stages, so those of rejected steps drop out. `y_end` is the last state.
    """

    def __init__(self, f, theta, tableau, may_choose_steps):
        self.f, self.theta, self.first = f, theta, None      # first: Y_1 and its vjp, from the step before
        self.latest, self.b, self.last = deque(maxlen=len(dense_output(tableau).P)), dense_output(tableau).b, None
        self.carries_first = tableau.is_fsal or (may_choose_steps and tableau.b_hat is not None)
        self.at_new_state = tableau.stages - tableau.is_fsal

    def velocity(self, t, y):
        value, vjp = self.f.value_and_vjp(t, y, self.theta)
        self.latest.append((y.reshape(-1), flat_vjp(vjp, y)))
        if self.first is None:
            self.first = self.latest[-1]
        return value

    def append(self, step):
        t, h, y, hK = step
        stages = [self.first, *list(self.latest)[len(self.latest) + 1 - len(hK):]]  # k_1, and k_2, …, k_s
        self.first, self.last = stages[self.at_new_state] if self.carries_first else None, (y, hK)
        super().append((t, h, *zip(*stages)))

    @property
    def y_end(self):
        y, hK = self.last
        return y + self.b[:len(hK)] @ hK


def flat_vjp(vjp, y, h=None):
    """The vector-Jacobian product of f at y for flat read-only vectors, in y's precision; with h, that of h f."""
    def product(a, shape=y.shape, dtype=y.dtype):
        a = a.reshape(shape) if h is None else read_only(h * a.reshape(shape))
        a_f_y, a_f_theta = vjp(a if a.dtype is dtype else read_only(a.astype(dtype)))
        return a_f_y.reshape(-1), a_f_theta
    return product


def output_cotangents(t, h, table, times, cotangents):
    """What the outputs at times[1:] add (18.5): {n: to a_n}, and {n: to the k̄_i / h of step n}.

    If there are no steps, all outputs are the first state again.
    """
    if not len(t):
        return {0: cotangents[1:].sum(axis=0)}, {}                                 # (18.5)
    to_a, inside, is_seen = {}, {}, cotangents.any(axis=1)   # outputs that the loss sees
    is_seen[0] = False
    times, cotangents = times[is_seen], cotangents[is_seen]
    n_of = (np.sign(h[0]) * t).searchsorted(np.sign(h[0]) * times) - 1             # as `is_in_step` says
    sigma = (times - t[n_of]) / h[n_of]
    is_inside = (n_of >= 0) & (sigma != 1.0)
    for end, g in zip((n_of + ~is_inside).tolist(), cotangents):
        to_a[end] = to_a.get(end, 0.0) + g                                         # (18.5)
    n_of, g, weights = n_of[is_inside], cotangents[is_inside], weights_at(table, sigma[is_inside])
    for n in set(n_of.tolist()):
        inside[n] = weights[:, n_of == n] @ g[n_of == n]                           # (18.5)
    return to_a, inside


def outputs_on(times, grid, cotangents, ends=None):
    """The outputs on a stretch of steps and their cotangents. In front stand the start of the stretch, and 0.

    `ends`, if given, are the `StepEnds`, which are told of the stretch.
    """
    is_here = is_in_step(times, grid[0], grid[-1])
    if grid[0] == times[0]:
        is_here |= times == times[0]
        is_here[0] = False                                   # the first output is y0, and not on the way
    if ends is not None:
        ends.end, ends.at = grid[-1], np.append(0, np.flatnonzero(is_here))
    outputs = np.concatenate([grid[:1], times[is_here]])
    return outputs, np.concatenate([np.zeros((1, *cotangents.shape[1:])), cotangents[is_here]])


def step_with_increments(f, theta, table, tape, n, shape):
    """Step n as (t, h, y, hK). For a `Tape` the increments are computed again."""
    if not isinstance(tape, Tape):
        return tape[n]
    t, h, Y, _ = tape[n]
    return t, h, Y[0], np.array([h * f(t + c * h, Y_i.reshape(shape), theta).ravel() for c, Y_i in zip(table.c, Y)])


def stages(table, steps, s, shape):
    """Of s stages of N steps: times (s, N, ...), h (N,), states (s, N, ..., d), and hK (s, N, n)."""
    t, h, y = (np.array([step[i] for step in steps]) for i in range(3))
    hK = np.zeros((s, *y.shape), y.dtype)
    for n, (*_, rows) in enumerate(steps):
        hK[:len(rows), n] = rows[:s]
    Y = y + table.A[:s, :s].dot(hK.reshape(s, -1)).reshape(hK.shape)
    for n, (*_, rows) in enumerate(steps):
        Y[len(rows):, n] = y[n]                              # not needed in this step, but f_y must exist there
    Y = read_only(Y.reshape(s, len(t), *shape).astype(y.dtype, copy=False))
    T = (t + np.multiply.outer(table.c[:s], h)).reshape(s, len(t), *[1] * (len(shape) - 1))
    return np.broadcast_to(T, Y.shape[:-1]), h, Y, hK


def run_on_tape(f, y0, t, theta, tape, **solver):
    """The solution, its steps on the tape: with the vjp of each stage if it is a `Tape`."""
    f, theta = (tape.velocity, None) if isinstance(tape, Tape) else (f, theta)
    return run(f, y0, t, theta, tape, **solver).solution

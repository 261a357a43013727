"""Appendix to chapter 18. What is kept of the steps

A wide system keeps the vector-Jacobian products of its stages, as `value_and_vjp` leaves them on the way forward
(`Tape`). A small one keeps the steps alone, a list of (t, h, y, hK), and computes the Jacobians of all stages
together (`stages`).
"""

from collections import deque

import numpy as np

from ..fields.base import VectorField, generation
from ..inputs import read_only
from ..solvers.dense import dense_output, weights_at
from ..solvers.solve import run

SMALL = 600             # entries of f_y in a state, a tenth of those of f_θ: above, all at once costs more than it saves


class Tape(list):
    """The steps of a solve, each as (t, h, y, hK, vjps), with the vector-Jacobian products of its stages.

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
        t, h, y, hK = step
        vjps = [self.first, *list(self.latest)[len(self.latest) - (len(hK) - 1):]]  # of k_1, and of k_2, …, k_s
        self.first = vjps[self.at_new_state] if self.carries_first else None
        super().append((t, h, y, hK, vjps))


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


def is_small(f, shape):
    """Whether states (..., d) are small enough for all steps at once; never if `vjp` is newer than `jacobian`."""
    field = getattr(getattr(f, "jacobian", None), "__self__", f)         # if f wraps another field, the inner one
    kind, size = type(field), int(np.prod(shape))
    has_own = isinstance(field, VectorField) and kind.jacobian is not VectorField.jacobian
    is_newest = generation(kind, "jacobian") <= generation(kind, "vjp")
    return has_own and is_newest and size * f.dim < SMALL and size * f.n_params < 10 * SMALL


def stages(table, steps, s, shape):
    """Times (s, N, ...) and states (s, N, ..., d) of the first s stages of N steps, their h (N,), and hK (s, N, n)."""
    t, h, y = (np.array([step[i] for step in steps]) for i in range(3))
    hK = np.zeros((s, *y.shape), y.dtype)
    for n, (_, _, _, rows, *_) in enumerate(steps):
        hK[:len(rows), n] = rows[:s]
    Y = y + table.A[:s, :s].dot(hK.reshape(s, -1)).reshape(hK.shape)
    for n, (_, _, _, rows, *_) in enumerate(steps):
        Y[len(rows):, n] = y[n]                              # not needed in this step, but f_y must exist there
    Y = read_only(Y.reshape(s, len(t), *shape))
    T = (t + np.multiply.outer(table.c[:s], h)).reshape(s, len(t), *[1] * (len(shape) - 1))
    return np.broadcast_to(T, Y.shape[:-1]), h, Y, hK


def run_on_tape(f, y0, t, theta, tape, **solver):
    """The solution, its steps on the tape: with the vjp of each stage if it is a `Tape`."""
    f, theta = (tape.velocity, None) if isinstance(tape, Tape) else (f, theta)
    return run(f, y0, t, theta, tape, **solver).solution

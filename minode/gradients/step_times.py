"""Appendix to chapter 18. How the loss moves with the times

Chapter 18 holds the times of the steps fixed. Here they move, and the k̄_i and Ȳ_i of the reverse step say
what L gains.

A step uses t_n in the times t_n + c_i h of its stages, and nowhere else. If t_n moves by δ while h stays,
each k_i moves by f_t δ:

    dL/dt_n = Σ_i k̄_i · f_t(t_n + c_i h, Y_i),   with h held fixed.      (18.7)

h is used in these times too, and as the factor of every k_i. L sees k_i only in the product h k_i. As k̄_i
is the derivative of L in k_i, its derivative in h k_i is k̄_i / h. If h moves by δ, the product moves by
δ k_i:

    dL/dh = Σ_i k̄_i · k_i / h + Σ_i c_i k̄_i · f_t(t_n + c_i h, Y_i).     (18.8)

The step ends at t_{n+1} = t_n + h. If its end moves, only h does, and L gains (18.8). If its start moves, h
shrinks by as much, and L gains (18.7) less (18.8). By hand, once: one step of Euler's method on y' = θy
from 0 to h and L = y_1. Then k̄_1 = h and f_t = 0, so dL/dh = k_1 = θ y_0, which is the derivative of
y_1 = (1 + hθ) y_0. (17.5), which speaks of the solution, would have θ y_1.

An output at t_i inside the step lies at the fraction σ = (t_i − t_n)/h. If t_i moves by δ, σ moves by δ/h,
and the output along the polynomial (11.1). With g the cotangent of the output,

    dL/dt_i = g · Σ_j b_j'(σ) k_j,     b_j'(σ) = Σ_m m P_jm σ^{m−1}.      (18.9)

σ also moves if an end of the step does. If the start and the end of a step and t_i all move together, σ
stays. So of what t_i gains the start of the step loses the part 1 − σ, and its end the part σ.

A wide system keeps the Y_i and not the k_i, and (18.8) needs only the sum of the k̄_i · k_i. Insert (18.1),
with (18.5), and gather: beside a_{n+1} stands Σ_i b_i h k_i = y_{n+1} − y_n, and so on:

    Σ_i k̄_i · k_i = a_{n+1} · (y_{n+1} − y_n) + Σ_j Ȳ_j · (Y_j − y_n) + Σ g · (y(t_i) − y_n).   (18.10)

The last sum is over the outputs inside. The differences lose the digits that y has in common with y_n.

Which ends move with the times that were handed in? That depends on how the steps were found:

    grid       steps of a given size: t_j of (9.4) moves with t_a and t_b, by 1 − j/m and j/m of them
    outputs    an implicit method that chooses its steps: those that end at an output time, with it
    span       an explicit method that chooses its steps: the start of the first, the end of the last

All other ends were chosen by the method, and are held fixed. An explicit method that chooses its steps does
not step from output to output. There the output alone moves, on the polynomial, which has the slope f at a
step's end.

Between two equal times lies a step of length 0. If the second of them moves on, this step moves y by f, so
the second gains a · f and the first loses as much. A reversible method has no such step, since one of
length 0 would reflect its second state. So of equal times only the sum of what they gain is the derivative
of its numbers.
"""

import numpy as np

from ..inputs import at_once, chooses_steps
from ..solvers.dense import is_in_step, slopes_at, weights_at

NEAR = np.finfo(np.float64).eps ** (1 / 3)   # of a step: how far apart f is evaluated for f_t by differences
AT_ONCE = 16                                 # steps that are gathered before their ends are handed on
FEW = 2**12                                  # numbers in the stages whose f_t are computed at once, if f is wide


def ends_of_steps(c, h, k_bar, k_bar_k, f_t):
    """What L gains if the start of a step moves, and if its end does, (N,) each, for N steps h (N,).

    k_bar and f_t (s, N, n) are of their stages at c (s,), and k_bar_k (N,) is Σ_i k̄_i · k_i.
    """
    c, each = np.asarray(c), np.einsum("snj,snj->sn", k_bar, f_t)
    dL_dt = each.sum(axis=0)                                                       # (18.7)
    dL_dh = k_bar_k / h + c @ each                                                 # (18.8)
    return dL_dt - dL_dh, dL_dh


def moving_ends(method, step_size):
    """Which ends of the steps move with the times: "grid", "outputs" or "span"."""
    if not chooses_steps(method, step_size):
        return "grid"
    return "span" if method.is_explicit else "outputs"


def end_of_steps(solver, times):
    """Where the last step ends: at the last time, or behind it if an event (chapter 28) ended the solve."""
    until = solver.get("until")
    return until.t_new if until else times[-1]


class StepEnds:
    """dL/dt_i (N,) of a solve, gathered while its steps are taken back.

    `solution` is that of the field f and `cotangents` (N, ..., d) those of its states. A way back of chapters 18 and 19
    calls `add` for its steps, `add_inside` for an output inside a step, and `visit` with the cotangents of the states.
    If it goes piece by piece, `end` is that of the piece, and `at` are the numbers of its outputs among all.
    """

    def __init__(self, f, solution, theta, cotangents, moves):
        self.f, self.theta, self.moves, self.t, self.ys = f, theta, moves, solution.t, solution.ys
        self.g, self.total = cotangents.reshape(len(self.t), -1).copy(), np.zeros(len(self.t))
        self.g[0] = 0.0                                      # no step leads to the first output
        self.sign = 1.0 if self.t[-1] >= self.t[0] else -1.0
        self.end, self.at, self.t_old, self.t_new = self.t[-1], np.arange(len(self.t)), self.t[:0], self.t[:0]
        self.is_inside = np.zeros(self.ys.shape[:-1], dtype=bool)
        self.repeated = [] if moves == "span" else np.unique(self.t[1:][self.t[1:] == self.t[:-1]])
        self.waiting, self.has_f_t = [], None

    def begin(self, t, a):
        """Begin with steps from each t (N,) to the next and to `end`, where a is the cotangent."""
        self.t_old, self.t_new = t, np.append(t, self.end)[1:]
        self.visit([self.end], [a])

    def visit(self, t, a):
        """See the states at t (m,) with all of their cotangents a (m, n), which equal times share."""
        for k in np.flatnonzero(np.isin(t, self.repeated)) if len(self.repeated) else ():
            self.share(float(t[k]), a[k])

    def share(self, t, a):
        """Move the ends of the steps of length 0 between the equal times at t."""
        if t != self.t[0] and t in self.t_old[:1]:           # the end of the piece before: shared there
            return
        here = np.flatnonzero(self.t == t)
        velocity = self.f(t, self.ys[here[0]], self.theta).ravel()
        for i, j in zip(here, here[1:]):
            a = a - self.g[i]
            self.total[i] -= a @ velocity
            self.total[j] += a @ velocity

    def add(self, t, t_new, at_start, at_end):
        """What L gains if the starts and the ends of these steps move, all (m,)."""
        if self.moves == "span":
            self.total[0] += at_start[t == self.t[0]].sum()
            self.total[-1] += at_end[t_new == self.t[-1]].sum()
            return
        clock = self.sign * self.t
        i, j = clock.searchsorted(self.sign * t, side="right") - 1, clock.searchsorted(self.sign * t_new)
        if self.moves == "outputs":
            at_start, at_end = np.where(t == self.t[i], at_start, 0.0), np.where(t_new == self.t[j], at_end, 0.0)
        t_a, t_b = self.t[i], self.t[j]
        part, part_new = (t - t_a) / (t_b - t_a), (t_new - t_a) / (t_b - t_a)  # j/m of (9.4)
        np.add.at(self.total, i, (1 - part) * at_start + (1 - part_new) * at_end)
        np.add.at(self.total, j, part * at_start + part_new * at_end)

    def add_step(self, t, t_new, dL_dt, dL_dh):
        """The same for one step, from what L gains if the step is moved, and if it is made longer."""
        self.waiting.append((t, t_new, dL_dt - dL_dh, dL_dh))
        if len(self.waiting) == AT_ONCE:
            self.hand_on()

    def hand_on(self):
        """Add the steps that wait."""
        if self.waiting:
            self.add(*np.array(self.waiting).T)
            self.waiting = []

    def add_inside(self, i, t, t_new, sigma, dL_dt, rows=...):
        """Output number i of these rows moves along the polynomial, at the fraction sigma; all (m,)."""
        i = self.at[i]
        self.is_inside[i, rows] = True
        self.total[i] += dL_dt.sum()
        self.add(t, t_new, -(1 - sigma) * dL_dt, -sigma * dL_dt)

    def gradient(self):
        """dL/dt_i (N,), when all steps have been taken back."""
        self.hand_on()
        if self.moves == "span":
            last = len(self.t) - (self.t[-1] != self.t[0])
            for i in [i for i in range(1, last) if self.g[i].any() and not self.is_inside[i].all()]:
                velocity = self.f(float(self.t[i]), self.ys[i], self.theta)
                a_f = (self.g[i].reshape(velocity.shape) * velocity).sum(axis=-1)[~self.is_inside[i]].sum()
                self.total[i] += a_f
                if self.t[i] in self.t[[0, -1]]:
                    self.total[0 if self.t[i] == self.t[0] else -1] -= a_f
        return self.total

    def f_t(self, c, t, h, Y):
        """f_t at the states Y (s, m, ...) of the stages at t + c_i h of m steps.

        If f has no `time_derivative`, f_t comes from three values of f inside the step, and is good for about
        ten digits.
        """
        def clock(c):
            T = t + c * h
            return np.broadcast_to(T.reshape(*T.shape, *[1] * (Y.ndim - 1 - T.ndim)), Y.shape[:-1])

        c = np.reshape(c, (-1, 1))
        if self.has_f_t:
            return self.f.time_derivative(clock(c), Y, self.theta)
        if self.has_f_t is None:
            self.has_f_t = hasattr(self.f, "time_derivative")
            try:
                if self.has_f_t:
                    return at_once("time_derivative", self.f.time_derivative, clock(c), Y, self.theta, Y.shape[2:])
            except NotImplementedError:                      # the reader did not write it
                self.has_f_t = False
            at_once("f", self.f, clock(c), Y, self.theta, Y.shape[2:])
        near = np.clip(4 * np.spacing(np.abs(t) + np.abs(h)) / np.abs(h), NEAR, 0.5)
        middle = np.clip(c, near, np.maximum(c, 1.0) - near)
        p, q, r = (clock(middle + e)[..., None] for e in (-near, 0.0, near))
        f_p, f_q, f_r = (self.f(x[..., 0], Y, self.theta) for x in (p, q, r))
        early, late = (f_q - f_p) / (q - p), (f_r - f_q) / (r - q)
        return early + (2 * clock(c)[..., None] - p - q) * (late - early) / (r - p)

    def f_t_at(self, c, t, h, y):
        """f_t (n,) at one state y (n,), at t + c h of a step."""
        return self.f_t(c, np.array([t]), np.array([h]), y.reshape(1, 1, *self.ys.shape[1:])).ravel()


def add_outputs(ends, table, n, step, times, cotangents):
    """Tell `ends` of the outputs inside step n, and return Σ g · (y(t_i) − y_n) over them."""
    (t, h, y, hK), t_new, total = step, ends.t_new[n], 0.0
    for i in np.flatnonzero(is_in_step(times, t, t_new) & (times != t_new) & cotangents.any(axis=1)):
        sigma, g = (times[i] - t) / h, cotangents[i]
        dL_dt = g @ (slopes_at(table, sigma) @ hK) / h                             # (18.9)
        ends.add_inside(i, *np.array([[t], [t_new], [sigma], [dL_dt]]))
        total += g @ (weights_at(table, sigma) @ hK)                               # (18.10)
    return total


def add_steps(ends, table, numbers, Y, k_bar, k_bar_k):
    """Tell `ends` of the steps of these numbers: Y and k̄ (s, N, ...), and Σ_i k̄_i · k_i (N,)."""
    t, t_new, c = ends.t_old[numbers], ends.t_new[numbers], table.c[:len(Y)]
    f_t = ends.f_t(c, t, t_new - t, Y).reshape(*Y.shape[:2], -1)
    ends.add(t, t_new, *ends_of_steps(c, t_new - t, k_bar.reshape(f_t.shape), k_bar_k, f_t))


class WideSteps:
    """The steps of a wide system, the last one first, which wait until one call of f_t is worth its price.

    `y_end` is the last state, and gained[n] the last sum of (18.10) for step n, if it has outputs inside.
    """

    def __init__(self, ends, table, y_end, gained, shape):
        self.ends, self.table, self.y_next, self.gained, self.shape = ends, table, y_end, gained, shape
        self.waiting = []

    def add(self, n, Y, a_next, a, bars):
        """Step n has been taken back: its Y_i (s, n), a_{n+1} and a_n, and its k̄_i and Ȳ_i."""
        self.ends.visit(self.ends.t_old[[n]], a[None])
        Y, (k_bar, Y_bar) = np.array(Y), bars
        k_bar_k = a_next @ (self.y_next - Y[0]) + np.vdot(Y_bar, Y - Y[0]) + self.gained.get(n, 0.0)  # (18.10)
        if self.waiting and len(self.waiting[-1][1]) != len(Y):
            self.hand_on()                                   # those have another number of stages
        self.y_next = Y[0]
        self.waiting.append((n, Y.reshape(len(Y), *self.shape), k_bar, k_bar_k))
        if len(self.waiting) * Y.size > FEW or n == 0:
            self.hand_on()

    def hand_on(self):
        """Tell `ends` of the steps that wait."""
        numbers, Y, k_bar, k_bar_k = zip(*self.waiting)
        Y, k_bar = np.stack(Y, axis=1), np.stack(k_bar, axis=1)
        add_steps(self.ends, self.table, list(numbers), Y, k_bar, np.array(k_bar_k))
        self.waiting = []

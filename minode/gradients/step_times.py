"""Appendix to chapter 18. From the ends of the steps to the times

(18.7) and (18.8) say what L gains if an end of a step moves. Which ends move with the times that the reader handed in?

    grid       steps of a given size: t_j of (9.4) moves with t_a and t_b, by 1 − j/m and j/m of them
    outputs    an implicit method that chooses its steps: those that end at an output time, with it
    span       an explicit method that chooses its steps: the start of the first, the end of the last

All others are accepted steps, which are held fixed. Between two equal times a step of length 0 moves y by f: if the
second moves on, L gains a · f, of which the first loses as much. An explicit method that chooses its steps does
not step from output to output. There the output alone moves, on the polynomial, which has the slope f at a step's end.
A step of length 0 of a reversible method would reflect its second state. So of equal times only the sum of what they
gain is the derivative of its numbers.
"""

import numpy as np

from ..inputs import at_once, chooses_steps

NEAR = np.finfo(np.float64).eps ** (1 / 3)   # of a step: how far apart f is evaluated if it does not have f_t itself
AT_ONCE = 16                                 # steps that are gathered before their ends are handed on


def moving_ends(method, step_size):
    """Which ends of the steps move with the times: "grid", "outputs" or "span"."""
    if not chooses_steps(method, step_size):
        return "grid"
    return "span" if method.is_explicit else "outputs"


def end_of_steps(solver, times):
    """Where the last step ends: at the last time, or behind it if an event (chapter 28) ended the solve inside a step."""
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
        """Steps from t (N,) to the next of them and to `end` are taken back now, from the cotangent a of the last state."""
        self.t_old, self.t_new = t, np.append(t, self.end)[1:]
        self.visit([self.end], [a])

    def visit(self, t, a):
        """States at t (m,) with all of their cotangents a (m, n): equal times share them along steps of length 0."""
        for k in np.flatnonzero(np.isin(t, self.repeated)) if len(self.repeated) else ():
            self.share(float(t[k]), a[k])

    def share(self, t, a):
        if t != self.t[0] and t in self.t_old[:1]:           # the end of the piece before, and seen there
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
        if self.waiting:
            self.add(*np.array(self.waiting).T)
            self.waiting = []

    def add_inside(self, i, t, t_new, sigma, dL_dt, rows=...):
        """Output number i moves along the polynomial (18.9) of a step, at its fraction sigma; all (m,), of these rows."""
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
        """f_t at the states Y (s, m, ...) of the stages at t + c_i h of m steps; by differences if f does not have it.

        These are of three values of f inside the step, and good for about ten digits.
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
            except NotImplementedError:                      # nobody wrote it
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

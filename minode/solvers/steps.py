"""Appendix to chapter 11. Where the solver stepped

The steps that a method chose tell where a solution is hard to follow (figure 13). Every `solve` keeps
a list of them, its tape, because the polynomials of chapter 11 need them. Each step begins where the
one before it ended. So the times and states at which the solver stepped are the starts of the steps on
the tape, followed by the end of the last one:

    t₀, t₁, …, t_M     and     y₀, y₁, …, y_M.

They are put into arrays when they are first read. The rule is the same for a solve that stops and goes
on (in legs, chapter 15): the first step after a stop begins at the stop, which is therefore listed once.
"""

from functools import cached_property

import numpy as np


class Steps:
    """The times t (M + 1,) and states y (M + 1, ...) where a solve stepped, from its tape and its end.

    A copy or a pickle holds only these two. `unflatten` takes flat states (M + 1, n).
    """

    def __init__(self, tape, t, y, unflatten):
        self.tape, self.end, self.unflatten = tape, (t, y.copy()), unflatten

    @cached_property
    def t(self):
        return np.array([*(step[0] for step in self.tape), self.end[0]])

    @cached_property
    def y(self):
        return self.unflatten(np.array([*(step[2] for step in self.tape), self.end[1]]))

    def __getstate__(self):
        return {"t": self.t, "y": self.y}


class StepsOfTrajectories(Steps):
    """The same for each of B trajectories with steps of its own, from the passes of chapter 12: lists of B arrays.

    The end is t (B,) and y (B, d).
    """

    @cached_property
    def t(self):
        return self.each(1)

    @cached_property
    def y(self):
        return self.each(3)

    def each(self, part):
        """This part of the passes, one array for each trajectory, which closes with the trajectory's end."""
        ends = self.end[part // 2][:, None]
        ids = np.concatenate([np.empty(0, int), *(step[0] for step in self.tape)])
        starts = np.concatenate([ends[0, :0], *(step[part] for step in self.tape)])
        cuts = np.bincount(ids, minlength=len(ends)).cumsum()[:-1]
        return [np.concatenate(pair) for pair in zip(np.split(starts[ids.argsort(kind="stable")], cuts), ends)]


def steps_on(tape, t, y, unflatten=None):
    """The `Steps` of a tape that ends at (t, y), without `unflatten` those of trajectories; None if it is no list."""
    if type(tape) is list:
        return Steps(tape, t, y, unflatten) if unflatten else StepsOfTrajectories(tape, t, y, None)
    return None


def one_after_another(steps):
    """The steps of a whole solve, put together from those of its legs; None if a leg kept none."""
    if any(part is None for part in steps):
        return None
    last = steps[-1]
    return type(last)([step for part in steps for step in part.tape], *last.end, last.unflatten)

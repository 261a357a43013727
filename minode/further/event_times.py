"""Appendix to chapter 28. The times of a solve that an event ends

On the exact routes dL/dt_i is the derivative of the numbers computed with respect to the times that were handed in
(appendix step_times.py). An event leaves of these times some outputs, and adds one of its own, t_e. By (28.5) that is
an output at a fixed time inside the last step, and gets no derivative here. A time behind the event is no
output any more, but the last step may still end there, or at a place between that moves with it. Then the
polynomial in which the event was found depends on it: dL/dt_i is 0 for all times behind that.
"""

import numpy as np

from ..gradients.step_times import StepEnds
from ..solvers.states import Solution


def gradient_until(stop, f, t, solution, theta, cotangents, moves, b, back):
    """a, b and dL/dt_i (N,) for the times t (N,) by the way back of an exact route, until the event of `stop`
    or, if none came, to the end.

    `cotangents` are those of `solution`, that of the event as (28.5) leaves it, and `moves` as in step_times.py.
    """
    if stop.t is None:
        ends = StepEnds(f, solution, theta, cotangents, moves)
        return *back(cotangents, b, ends), ends.gradient()
    n = len(solution.t) - 1                                  # outputs before the event, which is number n
    ys, g = np.repeat(solution.ys[-1:], len(t), axis=0), np.zeros((len(t), *solution.ys.shape[1:]))
    ys[:n], g[:n] = solution.ys[:n], cotangents[:n]
    ends = StepEnds(f, Solution(t, ys), theta, g, moves)
    ends.end, ends.at, along = stop.t_new, np.arange(n + 1), cotangents[n] @ stop.slope
    if stop.t == stop.t_new:                                 # it stays when the end of the step moves away
        ends.add_inside(n, np.array([stop.t_old]), np.array([stop.t_new]), 1.0, np.array([along]))
    a, b = back(cotangents, b, ends)
    ends.total[n] -= along                                   # t_e is no time that was handed in
    return a, b, ends.gradient()

"""Appendix to chapter 28. The times of a solve that an event ends

On the exact routes dL/dt_i is the derivative of the computed numbers in the times that were passed
in (appendix step_times.py). If an event ends the solve, the times before it are still outputs, and
the event adds an output of its own at t_e. By (28.5) that is an output at a fixed time inside the
last step, so it gets no derivative here. The first time after the event is no longer an output, but
the last step may still end there, or at a place in between that moves with it. Then the polynomial
in which the event was found depends on that time. For all later times dL/dt_i is 0.
"""

import numpy as np

from ..gradients.step_times import StepEnds
from ..solvers.states import Solution


def gradient_until(stop, f, t, solution, theta, cotangents, moves, b, back):
    """a, b and dL/dt_i (N,) for the times t (N,), by the way back of an exact route.

    The solve ended at the event of `stop`, or at t[-1] if there was none. `cotangents` are those of the
    outputs in `solution`, with that of the event as (28.5) leaves it. `moves` is that of step_times.py.
    """
    if stop.t is None:
        ends = StepEnds(f, solution, theta, cotangents, moves)
        return *back(cotangents, b, ends), ends.gradient()
    n = len(solution.t) - 1                                  # outputs before the event; the event is number n
    ys, g = np.repeat(solution.ys[-1:], len(t), axis=0), np.zeros((len(t), *solution.ys.shape[1:]))
    ys[:n], g[:n] = solution.ys[:n], cotangents[:n]
    ends = StepEnds(f, Solution(t, ys), theta, g, moves)
    ends.end, ends.at, along = stop.t_new, np.arange(n + 1), cotangents[n] @ stop.slope
    if stop.t == stop.t_new:                                 # t_e stays when the end of the step moves away
        ends.add_inside(n, np.array([stop.t_old]), np.array([stop.t_new]), 1.0, np.array([along]))
    a, b = back(cotangents, b, ends)
    ends.total[n] -= along                                   # t_e is not among the times passed in
    return a, b, ends.gradient()

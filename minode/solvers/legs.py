"""Appendix to chapter 15. Times at which f may jump

A step across a jump of f makes an error of the size of h, whatever the order of the method. A step that ends at
the jump makes none, if all its stages are on its side. Two of them are in danger: at the time of the jump
itself f has one value, and it is wrong for one of the two steps that meet there. A last stage at t + h (c = 1) would
read the value that belongs to the next step. If the method is first same as last, that step would even begin with it.

So a solve with `tstops` is a chain of solves, one for each leg from stop to stop, and each begins anew where the
last one ended. On a leg f is asked for no time at or beyond a stop: the clock ends one spacing of floating-point
numbers before it (`OneSided`). Whichever value f has at the jump, it is not used. The derivative of the
chain is the chain of the derivatives, last leg first, and so every route of chapter 20 goes through.
"""

from typing import NamedTuple

import numpy as np

from ..inputs import as_times_between
from .dense import is_in_step
from .states import Solution, SolverError, Stats


WITH_CLOCK = ("jacobian", "param_jacobian", "time_derivative", "jvp", "vjp", "value_and_vjp", "vjp_derivative")


class Leg(NamedTuple):
    """A stretch between two stops: its own times t (m,), and which outputs of the whole solve are among them.

    `at` (m,) are their numbers among the outputs, −1 for an end that is none. Within it f is asked for times
    from `least` to `most`.
    """

    t: np.ndarray
    at: np.ndarray
    least: float
    most: float


def legs(t, stops):
    """The `Leg`s of a solve along t (N,), sorted, with these stops; [] if no stop lies in its span.

    >>> [leg.t.tolist() for leg in legs(np.array([0.0, 1.0, 3.0]), np.array([2.0, 5.0]))]
    [[0.0, 1.0, 2.0], [2.0, 3.0]]
    """
    first, last = t[[0, -1]].tolist()
    low, high = sorted([first, last])
    here = sorted({stop for stop in stops.tolist() if low <= stop <= high}, reverse=last < first)
    if first == last or not here:
        return []
    ends, found = [first, *(stop for stop in here if stop not in (first, last)), last], []
    for a, b in zip(ends, ends[1:]):
        is_here = is_in_step(t, a, b) | ((t == first) & (a == first))
        at = np.flatnonzero(is_here).tolist()
        no_output_a, no_output_b = a != first, b != last                 # ends that are stops, beside the outputs there
        times = np.array([*[a] * no_output_a, *t[at], *[b] * no_output_b])
        numbers = np.array([*[-1] * no_output_a, *at, *[-1] * no_output_b])
        start = np.nextafter(a, b) if a in here else np.copysign(np.inf, a - b)
        stop = np.nextafter(b, a) if b in here else np.copysign(np.inf, b - a)
        found.append(Leg(times, numbers, min(start, stop), max(start, stop)))
    return found


class OneSided:
    """f, or a `VectorField` with all its derivatives, with a clock that stays from `least` to `most`.

    >>> OneSided(lambda t, y: np.floor(t) + 0 * y, 0.0, np.nextafter(1.0, 0.0))(1.0, np.zeros(1))
    array([0.])
    """

    def __init__(self, f, least, most):
        self.f, self.least, self.most, self.tstops = f, least, most, ()

    def clock(self, t):
        return min(max(t, self.least), self.most) if np.ndim(t) == 0 else np.clip(t, self.least, self.most)

    def __call__(self, t, *rest):
        return self.f(self.clock(t), *rest)

    def __getattr__(self, name):
        found = getattr(vars(self)["f"], name)
        return (lambda t, *rest: found(self.clock(t), *rest)) if name in WITH_CLOCK else found


def chain(legs, t, y, solve_leg):
    """Solve leg after leg from y: the whole `Solution` at t, and what solve_leg(leg, y) -> (Solution, x) gave as x.

    A SolverError of a leg has in its .solution everything up to there.
    """
    solutions, rest = [], []
    try:
        for leg in legs:
            solution, x = solve_leg(leg, y)
            solutions, rest = [*solutions, solution], [*rest, x]
            y = tuple(part[-1] for part in solution.ys) if isinstance(solution.ys, tuple) else solution.ys[-1]
    except SolverError as error:
        if error.solution is not None:
            error.solution = joined(legs, t, [*solutions, error.solution])
        raise
    return joined(legs, t, solutions), rest


def joined(legs, t, solutions):
    """The `Solution` of the whole from those of its first legs, the last of which may be cut short."""
    def outputs(parts):
        return np.concatenate([part[leg.at[:len(part)] >= 0] for leg, part in zip(legs, parts)])
    ys = [solution.ys for solution in solutions]
    whole = tuple(map(outputs, zip(*ys))) if isinstance(ys[0], tuple) else outputs(ys)
    n = len(whole[0] if isinstance(whole, tuple) else whole)
    counts = (sum(getattr(solution.stats, name) for solution in solutions) for name in vars(Stats()))
    return Solution(t[:n], whole, Stats(*counts))


def clock_of_outputs(legs, t):
    """The times t (N,), each on the side of the leg that leads to it: there f is evaluated for dL/dt_i."""
    clock = t.copy()
    for leg in legs:
        at = leg.at[leg.at >= 0]
        clock[at] = np.clip(t[at], leg.least, leg.most)
    return clock


class InterpolationAlong:
    """interpolate(t) of the whole from those of the legs. At a stop it is the state there, the same from both sides."""

    def __init__(self, legs, pieces):
        self.legs, self.pieces = legs, pieces

    def __call__(self, t):
        """The states at t, a number or an array of any shape inside the span: (*t.shape, ...)."""
        first, last = self.legs[0].t[0], self.legs[-1].t[-1]
        times, ends, sign = as_times_between(first, last, t), np.array([leg.t[-1] for leg in self.legs]), np.sign(last - first)
        flat, of = times.ravel(), (sign * ends).searchsorted(sign * times.ravel())
        parts = [piece(flat[of == n]) for n, piece in enumerate(self.pieces)]
        order = np.argsort(np.argsort(of, kind="stable"), kind="stable")

        def put_together(parts):
            return np.concatenate(parts)[order].reshape(*times.shape, *parts[0].shape[1:])
        return tuple(map(put_together, zip(*parts))) if isinstance(parts[0], tuple) else put_together(parts)

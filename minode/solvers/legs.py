"""Appendix to chapter 15. Times at which f may jump

A step across a jump of f makes an error of the size of h, whatever the order of the method. A
step that ends at the jump makes none, if all its stages see f on its own side. But at the time of
the jump f has only one value, and this value is wrong for one of the two steps that meet there. A
last stage at t + h (c = 1) would read the value that belongs to the next step. If the method is
first same as last, the next step would even begin with it.

So a solve with `tstops` is a chain of solves, one for each leg from stop to stop. Each begins
anew where the last one ended. On a leg f is evaluated at no time at or beyond a stop: the clock
ends one spacing of floating-point numbers before it (`OneSided`). So it does not matter which
value f has at the jump. The derivative of the chain is the chain of the derivatives, last leg
first, and so every route of chapter 20 goes through.
"""

from typing import NamedTuple

import numpy as np

from ..inputs import as_times_between
from .dense import is_in_step
from .states import Solution, SolverError, Stats
from .steps import one_after_another


WITH_CLOCK = ("jacobian", "param_jacobian", "time_derivative", "jvp", "vjp", "value_and_vjp", "vjp_derivative")


class Leg(NamedTuple):
    """A stretch between two stops: its own times t (m,), and which outputs of the whole solve are among them.

    `at` (m,) are their numbers among the outputs. An end that is no output has the number −1. On the leg f is
    evaluated at times from `least` to `most`.
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
    if not len(stops):
        return []
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
        self.f, self.without_clock, self.least, self.most, self.tstops = f, f, least, most, ()

    def clock(self, t):
        return min(max(t, self.least), self.most) if np.ndim(t) == 0 else np.clip(t, self.least, self.most)

    def __call__(self, t, *rest):
        return self.f(self.clock(t), *rest)

    def __getattr__(self, name):
        found = getattr(vars(self)["f"], name)
        return (lambda t, *rest: found(self.clock(t), *rest)) if name in WITH_CLOCK else found


def chain(legs, t, y, solve_leg):
    """Solve leg after leg from y by solve_leg(leg, y) -> (Solution, x): the `Solution` at t, and all x.

    If a leg raises a SolverError, its .solution becomes everything up to there.
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


def run_legs(run, legs, f, y0, theta, tape, grid, controller, problem, options, report, exactly):
    """The `Solution` by `run` leg by leg, all steps on one tape, and a function that makes interpolate(t)."""
    def solve_leg(leg, y):
        t, own = leg.t, {"tstops": None, "progress": report and (lambda done: report(t[0] + done * (t[-1] - t[0])))}
        own["jacobian"] = options.jacobian and OneSided(options.jacobian, leg.least, leg.most)
        steps = None if grid is None else [s for s in grid if s == t[0] or is_in_step(s, t[0], t[-1])]
        done = run(OneSided(f, leg.least, leg.most), y, t, theta, None if tape is None else [], grid=steps,
                   controller=controller, exactly=exactly, **(options._asdict() | own))
        return done.solution, done
    solution, runs = chain(legs, problem.t, y0, solve_leg)
    if tape is not None:
        tape += [step for done in runs for step in done.tape]
    return solution, lambda: InterpolationAlong(legs, [done.interpolation() for done in runs])


def joined(legs, t, solutions):
    """The `Solution` of the whole from those of its legs. The last leg there is may have been cut short."""
    def outputs(parts):
        return np.concatenate([part[leg.at[:len(part)] >= 0] for leg, part in zip(legs, parts)])
    ys = [solution.ys for solution in solutions]
    whole = tuple(map(outputs, zip(*ys))) if isinstance(ys[0], tuple) else outputs(ys)
    n = len(whole[0] if isinstance(whole, tuple) else whole)
    counts = (sum(getattr(solution.stats, name) for solution in solutions) for name in vars(Stats()))
    return Solution(t[:n], whole, Stats(*counts), steps=one_after_another([solution.steps for solution in solutions]))


def clock_of_outputs(legs, t):
    """The times t (N,) at which f is evaluated for dL/dt_i: each on the side of the leg that leads to it."""
    clock = t.copy()
    for leg in legs:
        at = leg.at[leg.at >= 0]
        clock[at] = np.clip(t[at], leg.least, leg.most)
    return clock


class InterpolationAlong:
    """interpolate(t) of the whole, from those of the legs. At a stop both sides give the state there."""

    def __init__(self, legs, pieces):
        self.legs, self.pieces = legs, pieces

    def __call__(self, t):
        """The states at t, a number or an array of any shape inside the span: (*t.shape, ...)."""
        first, last = self.legs[0].t[0], self.legs[-1].t[-1]
        times, sign = as_times_between(first, last, t), np.sign(last - first)
        ends = np.array([leg.t[-1] for leg in self.legs])
        flat, of = times.ravel(), (sign * ends).searchsorted(sign * times.ravel())
        parts = [piece(flat[of == n]) for n, piece in enumerate(self.pieces)]
        order = np.argsort(np.argsort(of, kind="stable"), kind="stable")

        def put_together(parts):
            return np.concatenate(parts)[order].reshape(*times.shape, *parts[0].shape[1:])
        return tuple(map(put_together, zip(*parts))) if isinstance(parts[0], tuple) else put_together(parts)

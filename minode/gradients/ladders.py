"""Appendix to chapter 22. What a ladder of differences shows

Here are the parts of an estimate that a reader of the chapter may take for granted: how one of
the steps is chosen, how far g is rounded, how much it bends, and what counts as right at a kink.
"""

from typing import NamedTuple

import numpy as np

SLIGHT = 1e-2          # of the slopes: if those on both sides differ by less, there is one kink, not several
COARSEST = 1e-3        # of the size of its terms: g is rounded by less, and if terms cancel, by less than its cube
FLAT = 6.0             # between the largest and the smallest of three: the same, except for chance
FEWEST = 5             # steps at which g must change, if those at which it does not are to be left out
SHORTEST = 2.0**-26    # of x: g bends over no shorter distance


class Estimate(NamedTuple):
    """A derivative by differences, its error bar, and the step with which it was found; all (..., d)."""

    value: np.ndarray
    bar: np.ndarray
    epsilon: np.ndarray


def from_the_finest(function, x):
    """The running maximum or minimum of x along its steps, from the last and smallest one on."""
    return function.accumulate(x[::-1])[::-1]


def chosen(values, bars, epsilon):
    """The `Estimate` with the smallest bar along the first axis. Its value is 0 if no bar is finite."""
    best = np.argmin(bars, axis=0)[None]
    value, bar, epsilon = (np.take_along_axis(x, best, 0)[0] for x in (values, bars, epsilon))
    return Estimate(np.where(bar < np.inf, value, 0.0), bar, epsilon)


def at_kink(right, left, best, trust):
    """The best estimate, or at a kink one between both sides. At a kink these have small bars, and differ.

    There may be several kinks in one place, as in a network of relu at 0. Then a derivative of 0 and the sum of
    both slopes are right too, so they are allowed as well, unless the difference is slight.
    """
    apart, size = np.abs(right.value - left.value), np.abs(right.value) + np.abs(left.value)
    is_kink = apart > trust * (right.bar + left.bar)
    bar = np.where(apart < SLIGHT * size, 2 * apart, np.maximum(apart / 2, np.abs(right.value + left.value) / 2))
    return Estimate(np.where(is_kink, (right.value + left.value) / 2, best.value),
                    np.where(is_kink, bar / trust + np.maximum(right.bar, left.bar), best.bar), best.epsilon)


def rounding_of(g, uS, size):
    """How far g is rounded, at least uS, and at which steps it is too coarse to change at all (K, ...).

    It is more than uS if a part of g that cancels is rounded. Then a small step moves the rest of g alone, or nothing
    at all, and its error bar is too small. But the rounding shows at larger steps. There ε times the change of D(ε) is
    about the same from one step to the next, while for a smooth g it would fall by 64 or more. Or some steps do not
    change g at all. Then it is rounded by as much as the smallest change that the other steps show.
    """
    change = np.maximum(np.abs(g.right - g.centre), np.abs(g.left - g.centre))
    is_still, smallest = (change == 0) & (g.to_right > 0), np.where(change > 0, change, np.inf).min(axis=0)
    is_coarse = is_still.any(axis=0) & (smallest < COARSEST * size)
    is_seen = (change > 0).sum(axis=0) >= FEWEST
    D = (g.right - g.left) / (g.to_right + g.to_left)
    noise = g.to_right[:-1] * np.abs(D[:-1] - D[1:])
    three = np.stack([noise[:-2], noise[1:-1], noise[2:]])[:, ::-1]                   # the finest first
    is_flat = (three.max(axis=0) < FLAT * three.min(axis=0)) & (three.max(axis=0) < COARSEST**3 * size)
    flat = np.take_along_axis(np.where(is_flat, three.min(axis=0), 0.0), np.argmax(is_flat, axis=0)[None], 0)[0]
    seen = np.maximum(flat, np.where(is_coarse, smallest, 0.0))
    return np.maximum(uS, seen), is_coarse & is_seen & is_still


def curvature(g, x, epsilon, least):
    """The largest |g''| at steps up to ε, by those second differences that exceed `least`."""
    with np.errstate(all="ignore"):
        change = np.abs(g.right + g.left - 2 * g.centre)
        counts = (change > least) & (SHORTEST * x <= g.to_right) & (g.to_right <= epsilon)
        return np.where(counts, change / (g.to_right * g.to_left), 0.0).max(axis=0)

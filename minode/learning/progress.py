"""Appendix to chapter 24. The line of progress

A fit that runs for hours should say how far it is. On a terminal, `fit` draws one line on
stderr over and over: the step, the loss, and the seconds left. These are estimated from the
steps of this run only. If a fit continues from step 900 of 1,000, those 900 steps say nothing
about the speed of this run.
"""

import sys
import time
from contextlib import contextmanager

from ..inputs import is_terminal

SECONDS_BETWEEN_LINES = 0.2


@contextmanager
def progress_line(progress, n_steps):
    """Give report(done, loss), which calls the reader's own `progress`, draws the line, or does nothing."""
    if callable(progress):
        yield lambda done, loss: progress(done, n_steps, loss)
    elif (progress or progress is None and is_terminal(sys.stderr)) and sys.stderr is not None:
        try:
            yield Line(n_steps).draw
        finally:
            print(file=sys.stderr)
    else:
        yield lambda done, loss: None


class Line:
    """The line. It remembers when the run began and when it was last drawn."""

    def __init__(self, n_steps):
        self.n_steps, self.began, self.drawn = n_steps, time.monotonic(), float("-inf")
        self.first = None                                  # steps taken before this run

    def draw(self, done, loss):
        """Draw the line again, unless it was drawn a moment ago and more steps follow."""
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1
        if now - self.drawn >= SECONDS_BETWEEN_LINES or done == self.n_steps:
            left = (now - self.began) / (done - self.first) * (self.n_steps - done)
            print(f"\rstep {done}/{self.n_steps}   loss {loss:.6g}   {left:.0f} s left   ",
                  end="", file=sys.stderr, flush=True)
            self.drawn = now

"""Appendix to chapter 28. Is the gradient of an event right?

A solve needs g alone. So a wrong g_t, g_y or g_θ is noticed by nobody, and (28.4) and (28.5) carry it
into dL/dy₀ and dL/dθ. Here each is compared with differences of g, as the derivatives of a field are in
chapter 22: every entry with a step, a size and an allowed error (22.10) of its own. This is done at the
event, and the solves of chapter 22 end there too: behind it f may not exist.
"""

import numpy as np

from ..gradients import checks as chapter_22
from ..gradients.checks import allowed
from ..gradients.differences import first_differences, sizes_at
from ..gradients.faults import Report, Term, in_full, row
from ..inputs import as_check_point, as_event_gradient, as_times, check_event_gradient, read_only
from .events import solve


def check_gradients(f, y0, t, theta, *, event=None, **solver):
    if event is None:
        return chapter_22.check_gradients(f, y0, t, theta, **solver)
    check_event_gradient(event)
    _, y0, theta = as_check_point(f, as_times(t)[0], y0, theta, "y0")
    solution = solve(f, y0, t, theta, event=event, **solver)
    with np.errstate(all="ignore"):
        terms = terms_of_event(event, float(solution.t[-1]), solution.ys[-1], theta)
    rows = [row(f"{name}, event.gradient", term) for name, term in zip(("g_t", "g_y", "g_θ"), terms)]
    report = Report(rows).require_ok(in_full(None, lambda: terms), None)
    return Report([*chapter_22.check_gradients(f, y0, solution.t, theta, **solver), *report])


def terms_of_event(event, t, y, theta):
    """The `Term`s of g_t, g_y (d,) and g_θ (p,) at a time t and a state y (d,)."""
    def g(t, y, theta):                                      # a number, as the solve has seen
        return np.array([event(t, y, theta)], dtype=float)
    value = g(t, y, theta)
    sizes = sizes_at(g, t, y, theta, value)
    by_y, by_theta, by_t = first_differences(g, t, y, theta, sizes, value, allowed)
    g_t, g_y, g_theta = as_event_gradient(event.gradient(t, read_only(y), read_only(theta)), y.shape, theta.shape)
    return [Term("event.gradient: g_t of (28.4)", g_t[None], *by_t),
            Term("event.gradient: g_y of (28.4) and (28.5)", g_y[None], *by_y),
            Term("event.gradient: g_θ of (28.5)", g_theta[None], *by_theta)]


check_gradients.__doc__ = chapter_22.check_gradients.__doc__

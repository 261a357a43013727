"""28. Where to stop

When does a ball hit the ground? The solve should end when a function g(t, y, θ) of the state becomes zero,
and that time is not known beforehand. Such a zero is called an event. This chapter finds it, and then
differentiates through it: if θ changes, so do the time of the event and the state there.

Finding it. Inside a step the state is the polynomial y(t + σh) of (11.1), so g depends on σ alone. We take
g_j = g(σ_j) at the nine points σ_j = j/8. The solve ends in the first interval in which g is

    rising: g_j ≤ 0 ≤ g_{j+1},     falling: g_j ≥ 0 ≥ g_{j+1}.           (28.1)

`direction` says which of the two counts: 1 rising, −1 falling, 0 either. As in SciPy, a zero at the first
time is an event too, if g fits a thousandth of a step later. So a ball thrown up from the ground needs
direction −1, or it has landed at once. SciPy compares only the ends of a step. Here two zeros in one step are
found as well, unless no σ_j lies between the two. If g only touches zero, that is seen by chance at best.

In that interval zero is bracketed: g has different signs at its ends. Take three points a, b, c with the
values g_a, g_b, g_c, and the quadratic polynomial in g that gives σ there. Its value at g = 0 is

    σ = a · g_b/(g_a − g_b) · g_c/(g_a − g_c) + b · g_a/(g_b − g_a) · g_c/(g_b − g_c)
        + c · g_a/(g_c − g_a) · g_b/(g_c − g_b).                         (28.2)

Near a simple zero each call of g gains more digits than the last. Far from one this σ may lie anywhere. So
Brent (1973) and Chandrupatla (1997) take the middle of the bracket instead if the polynomial is not monotone
in it. The bracket shrinks until it is as short as rounding allows, most often after 5 to 13 calls.

Differentiating. Hold the steps fixed, as in chapter 18, and move y₀ and θ by Δy₀ and Δθ. The state at a fixed
time t inside the last step then moves by w(t). At the event g stays zero, so its time moves by dt_e, with

    (g_t + g_y · ẏ) dt_e + g_y · w(t_e) + g_θ · Δθ = 0.

Here ẏ is the slope of the polynomial at the event. It is not f, from which it differs by an error of the
method, because g is zero on the polynomial:

    ẏ = (1/h) Σ_j b_j'(σ) h k_j,   b_j' as in (18.9).                    (28.3)

The state at the event moves with the flow and along the trajectory, by w(t_e) + ẏ dt_e. Write a for
∂L/∂y(t_e). The loss changes by a · w(t_e) + (a · ẏ + ∂L/∂t_e) dt_e. With dt_e inserted, this is
a · w(t_e) − κ (g_y · w(t_e) + g_θ · Δθ). So a and b change by κ:

    κ = (a · ẏ + ∂L/∂t_e) / (g_t + g_y · ẏ),                             (28.4)
    a ← a − κ g_y,     b ← b − κ g_θ.                                    (28.5)

From there on the event is an output at a fixed time, (18.5) or (17.4), and the way back is that of chapter
20. The denominator of κ is the rate at which g passes zero. If it is zero, a SolverError is raised: the event
grazes, and the smallest change can make its time jump, or g has a multiple zero, and κ is 0/0.

By hand, once: y' = −θy from y₀ down to c. Then t_e = ln(y₀/c) / θ and dt_e/dθ = −t_e/θ. With g = y − c and
L = t_e, a is 0, ẏ is −θc and κ is −1/(θc). So a becomes 1/(θc), a(t) y(t) is 1/θ at every t, and by (17.3)
dL/dθ = −∫ a(t) y(t) dt = −t_e/θ. A gradient that holds t_e fixed would be 0. With g = t − T, on the other
hand, g_y and g_θ are 0: the event is an output at the time T, with the gradient of chapter 20.

Figure 40 shows a training that needs (28.4), and a gradient that leaves it out. The appendix event_checks.py
compares g_t, g_y and g_θ with differences of g.
Next: gradients through implicit steps (chapter 29).
"""

import numpy as np

from ..gradients import pullback as chapter_20
from ..gradients.pullback import ROUTES, Gradients, finite, gradient_in_times, in_precision, route_through
from ..gradients.step_times import moving_ends
from ..inputs import (as_event, as_event_gradient, as_event_value, as_loss_at_event, as_options, as_point, as_real,
                      as_times, check_event_route, check_flag, check_loss, check_route, read_only, with_keywords_of)
from ..solvers import solve as chapter_15
from ..solvers.dense import all_increments, slopes_at, state_inside
from ..solvers.solve import KEYWORDS, Options, find_method, run
from ..solvers.states import SolverError
from ..solvers.tableaus import Tableau
from .event_times import gradient_until

PIECES = 8              # of a step, at whose ends g is evaluated
AT_ONCE = 2.0 ** -10    # of the first step: there g is evaluated after a zero at the first time
GRAZING = 1e-6          # of the largest |g| in the step: a smaller rate per step counts as zero


class Event:
    """Where a solve ends. A subclass defines g(t, y, θ) -> float, zero at the event, and its derivatives.

    y is one trajectory (d,), theta (p,), or None if the solve has none. `direction` is 0 for any zero, 1 for
    a rising g, −1 for a falling one. `gradient(t, y, theta)` returns (g_t, g_y (d,), g_theta (p,)). Only
    `value_and_gradients` needs it, and `check_gradients` checks it. For a solve any function g(t, y, theta)
    will do. NotImplementedError if a method is needed and not defined. Equations (28.1) to (28.5).

    >>> from minode import Linear, solve, value_and_gradients
    >>> class Falls(Event):
    ...     direction = -1
    ...     def __call__(self, t, y, theta): return y[0] - 0.5
    ...     def gradient(self, t, y, theta): return 0.0, np.ones(1), np.zeros(1)
    >>> solution = solve(Linear(1), [1.0], [0.0, 5.0], [-2.0], event=Falls())
    >>> round(solution.t_event, 5), solution.ys.round(5).tolist()                  # ln 2 / 2
    (0.34657, [[1.0], [0.5]])
    >>> def loss(ys, t_event): return t_event, 0 * ys, 1.0
    >>> value_and_gradients(loss, Linear(1), [1.0], [0.0, 5.0], [-2.0], event=Falls())[1].theta.round(4)
    array([0.1733])
    """

    direction = 0

    def __call__(self, t, y, theta):
        raise NotImplementedError(f"{type(self).__name__} must define __call__(t, y, theta)")

    def gradient(self, t, y, theta):
        raise NotImplementedError(f"{type(self).__name__} must define gradient(t, y, theta) -> (g_t, g_y, g_theta)")


class Stop:
    """An event and what a solve found: its time `t` (None: no event), and `y` and `slope` (28.3) there.

    `run` passes its steps through `watch`, and its results through `cut`. `t_new` is the end of the last
    step, and `least_rate` the rate of g below which the event grazes.
    """

    def __init__(self, event, theta, direction):
        self.event, self.direction = event, direction
        self.theta = None if theta is None else read_only(np.asarray(theta))
        self.t, self.t_old, self.t_new = None, None, None

    def value(self, t, y):
        g = as_event_value(self.event(t, read_only(y), self.theta))
        if not np.isfinite(g):
            raise SolverError(f"event is not finite at t = {t}, but {g}", t)
        return g

    def is_event(self, g, g_next):
        rising, falling = g <= 0 <= g_next, g >= 0 >= g_next                       # (28.1)
        return rising and self.direction >= 0 or falling and self.direction <= 0

    def watch(self, problem, dense, steps):
        """The steps, each with all its increments, up to the one with the event in it."""
        g, sigma = self.value(float(problem.t[0]), problem.y), np.arange(PIECES + 1) / PIECES
        points = sigma if g != 0 else np.insert(sigma, 1, AT_ONCE)
        for t, h, y, t_new, y_new, hK in steps:
            self.t_old, self.t_new, hK = t, t_new, all_increments(problem.f, dense, t, h, y, hK)
            yield t, h, y, t_new, y_new, hK

            def at(s):                                       # time and state inside the step
                return (t_new, y_new) if s == 1 else (t + s * h, state_inside(dense, np.array([s]), y, hK)[0])
            values, states = [g], [*state_inside(dense, points[1:-1], y, hK), y_new]
            for s, s_next, Y in zip(points, points[1:], states):
                values.append(self.value(t_new if s_next == 1 else t + s_next * h, Y))
                if self.is_event(*values[-2:]):
                    s = zero(lambda s: self.value(*at(s)), s, s_next, *values[-2:])
                    self.t = at(s)[0]
                    s = 1.0 if self.t == t_new else (self.t - t) / h               # for t as it was rounded
                    self.y, self.slope = at(s)[1], slopes_at(dense, s) @ hK / h    # (28.3)
                    self.least_rate = GRAZING * np.abs(values).max() / abs(h)
                    return
            g, points = values[-1], sigma

    def cut(self, problem, ys):
        """The problem with the outputs before the event and the event itself, and their states (n, d)."""
        if self.t is None:
            return problem, ys
        n = int((np.sign(self.t_new - problem.t[0]) * (problem.t - self.t) < 0).sum())
        ys = np.concatenate([ys[:n], self.y[None]], dtype=ys.dtype)
        return problem._replace(t=np.append(problem.t[:n], self.t)), ys


def zero(g, a, b, g_a, g_b):
    """The zero of g between a and b, if g_a = g(a) and g_b = g(b) differ in sign or one of them is zero.

    >>> round(zero(lambda x: x**3 - 2, 1.0, 2.0, -1.0, 6.0), 14) == round(2 ** (1 / 3), 14)
    True
    """
    c, g_c, shortest = b, g_b, 2 * np.finfo(float).eps * max(abs(a), abs(b))
    while g_a != 0 and g_b != 0 and abs(b - a) > shortest:   # a is the newest point, c the last but one
        xi, phi = (a - b) / (c - b) if c != b else 1.0, (g_a - g_b) / (g_c - g_b) if g_c != g_b else 1.0
        is_smooth = phi**2 < xi and (1 - phi)**2 < 1 - xi    # the quadratic is monotone in the bracket
        x = zero_of_quadratic(a, b, c, g_a, g_b, g_c) if is_smooth else (a + b) / 2
        least = shortest / 2 / abs(b - a)                    # so that both ends move
        x = a + min(max((x - a) / (b - a), least), 1 - least) * (b - a)
        g_x = g(x)
        (b, g_b), (c, g_c) = ((b, g_b), (a, g_a)) if (g_x > 0) == (g_a > 0) else ((a, g_a), (b, g_b))
        a, g_a = x, g_x
    return float(a if abs(g_a) <= abs(g_b) else b)


def zero_of_quadratic(a, b, c, g_a, g_b, g_c):
    """σ at g = 0 of the quadratic polynomial σ(g) through three points."""
    return (a * (g_b / (g_a - g_b)) * (g_c / (g_a - g_c)) + b * (g_a / (g_b - g_a)) * (g_c / (g_b - g_c))  # (28.2)
            + c * (g_a / (g_c - g_a)) * (g_b / (g_c - g_b)))                       # (28.2)


def moved(stop, theta, a, b, dL_dt):
    """The cotangents a (d,) and b (p,) of a moving event, as those of an output at a fixed time."""
    g_t, g_y, g_theta = as_event_gradient(stop.event.gradient(stop.t, read_only(stop.y), theta), a.shape, b.shape)
    rate = g_t + g_y @ stop.slope
    if abs(rate) <= stop.least_rate:
        raise SolverError(f"the event grazes: at t = {stop.t} it passes zero at the rate {rate:.1e}, and its time has "
                          "no derivative", stop.t)
    kappa = (a @ stop.slope + dL_dt) / rate                                        # (28.4)
    return a - kappa * g_y, b - kappa * g_theta                                    # (28.5)


@with_keywords_of(Options)
def solve(f, y0, t, theta=None, *, event=None, **options):
    if event is None:
        return chapter_15.solve(f, y0, t, theta, **options)
    stop = Stop(event, theta, as_event(event, f, y0, options))
    done = run(f, y0, t, theta, [], until=stop, **as_options(Options, options)._asdict())
    return done.solution._replace(interpolate=done.interpolation(), t_event=stop.t)


def odeint(f, y0, t, theta=None, *, event=None, **options):
    if event is None:
        return chapter_15.odeint(f, y0, t, theta, **options)
    stop = Stop(event, theta, as_event(event, f, y0, options))
    return run(f, y0, t, theta, until=stop, **as_options(Options, options)._asdict()).solution.ys


def value_and_gradients(loss, f, y0, t, theta, *, event=None, gradient="discrete", dL_dtheta=None, backward=None,
                        times=True, **solver):
    if event is None:
        return chapter_20.value_and_gradients(loss, f, y0, t, theta, gradient=gradient, dL_dtheta=dL_dtheta,
                                              backward=backward, times=times, **solver)
    y0, theta = as_point(f, y0, theta)
    b = np.zeros(theta.shape) if dL_dtheta is None else as_real("dL_dtheta", dL_dtheta, theta.shape)
    check_flag("times", times)
    check_loss(loss, "loss(ys, t_event) -> (L, dL_dys, dL_dt_event)")
    stop, method = Stop(event, theta, as_event(event, f, y0, solver)), find_method(solver.get("method", "dopri5"))
    is_tableau = isinstance(method, Tableau)
    backward = check_route(gradient, ROUTES, method, is_tableau, solver, backward, KEYWORDS, find_method,
                           y0, as_times(t), theta)
    check_event_route(event, gradient, method, is_tableau)
    with np.errstate(all="ignore"):
        route = route_through(method, gradient)
        solution, back = route(f, y0, t, theta, method, solver | {"until": stop}, backward)
    if stop.t is not None and stop.t == solution.t[0] == as_times(t)[0]:
        raise SolverError(f"the event is at the first time, t = {stop.t}: its time has no derivative", stop.t, solution)
    value, dL_dys, dL_dt_event = as_loss_at_event(loss(read_only(solution.ys), stop.t), solution.ys.shape, stop.t)
    is_exact, n = gradient != "backsolve", len(solution.t) - (stop.t is not None)
    with np.errstate(all="ignore"):
        dL_dt, cotangents = np.zeros(len(t)), dL_dys.copy()  # by backsolve 0 for outputs not reached
        if stop.t is not None:
            cotangents[-1], b = moved(stop, theta, cotangents[-1], b, dL_dt_event)
        if times and is_exact:
            moves = moving_ends(method, solver.get("step_size"))
            a, b, dL_dt = gradient_until(stop, f, as_times(t), solution, theta, cotangents, moves, b, back)
        else:
            a, b = back(cotangents, b)
            outputs = solution._replace(t=solution.t[:n], ys=solution.ys[:n])
            dL_dt[:n] = gradient_in_times(f, outputs, theta, dL_dys[:n], a) if times else 0.0
        gradients = in_precision(Gradients(a + dL_dys[0], b, dL_dt if times else None), y0, theta)
    return value, finite(gradients, solution)


for function, described in ((solve, chapter_15.solve), (odeint, chapter_15.odeint),
                            (value_and_gradients, chapter_20.value_and_gradients)):
    function.__doc__ = described.__doc__

"""20. From a loss to its gradients

A loss hands us its cotangents ∂L/∂y(t_i), and we want dL/dy₀, dL/dθ and dL/dt_i. There are five
ways back, or routes. Each is a function that solves forwards, and returns the solution and a way
back. The way back is a function too. It takes the cotangents and b(T) = ∂L/∂θ, which is not zero
if the loss sees θ directly. It returns b(t₀), and a(t₀⁺): what arrives at t₀ from all later
outputs. The first output is y₀ itself, and no step leads to it, so its cotangent is added at the
end:

    dL/dy₀ = a(t₀⁺) + ∂L/∂y(t₀),     dL/dθ = b(t₀).                      (20.1)

    discrete      chapter 18: the exact derivative of the steps taken      memory ~ steps
    checkpoint    chapter 19: the same numbers, steps computed twice       memory ~ √steps
    reversible    chapter 19: the same up to round-off, steps undone       memory constant
    backsolve     chapter 17: the adjoint equation, y integrated back too  memory constant
    interpolate   chapter 17: the adjoint equation, y from dense output    memory ~ steps

With steps of fixed size the first three give the gradient of the number that was computed. The
default is therefore the first. If the method chooses its steps, the first three give its
derivative with the accepted steps held fixed. The last two approximate the gradient of the
solution. backsolve is as accurate as its solver if errors do not grow on the way back, and
interpolate as the dense output (chapter 11), which for cash_karp has one order less.

The same is true of dL/dt_i. The first three move the ends of the steps with the times (chapter
18). The last two take the formulas of the differential equation, (17.5) and (17.6). Implicit
methods have the first two routes, by the equations of chapter 29.

Figure 26 shows what accuracy each route gives for its cost, figure 9 the gradients side by side,
and figure 7 the numbers of dL/dθ at their weights.

Next: second derivatives (chapter 21).
"""

from typing import NamedTuple

import numpy as np

from ..inputs import (as_cotangent, as_loss_value, as_point, as_real, as_stops, as_times, check_flag, check_loss,
                      check_route, read_only)
from ..solvers.legs import Leg, OneSided, chain, clock_of_outputs, legs
from ..solvers.solve import KEYWORDS, find_method
from ..solvers.states import SolverError
from ..solvers.tableaus import Tableau
from .adjoint import backsolve, interpolate, time_gradient
from .discrete import discrete
from .memory import checkpoint, reversible_route
from .step_times import StepEnds, moving_ends


def discrete_route(f, y0, t, theta, method, solver, backward):
    """The exact derivative of the steps of any method: a reversible one remembers all its states."""
    if isinstance(method, Tableau):
        return discrete(f, y0, t, theta, method, solver, backward)
    return reversible_route(f, y0, t, theta, method, solver, backward, all_states=True)


ROUTES = {"discrete": discrete_route, "checkpoint": checkpoint, "reversible": reversible_route,
          "backsolve": backsolve, "interpolate": interpolate}
IMPLICIT_ROUTES = {}                                         # chapter 29 adds those of implicit methods
OF_THE_EQUATION = ("backsolve", "interpolate")


class Gradients(NamedTuple):
    """The gradients (20.1) of a loss L: `y0` is dL/dy0 (..., d), `theta` dL/dθ (p,), `t` dL/dt_i (N,).

    In units of L over those of y, θ and t, and in the precision of y0 and theta, t in float64. A tuple:
    `dL_dy0, dL_dtheta, dL_dt = pullback(...)`.

    >>> from minode import Linear, pullback
    >>> pulled = pullback(Linear(1), [1.0], [0.0, 2.0], [0.5], [1.0], rtol=1e-9)       # L = y(2) = e
    >>> pulled.y0.round(6), pulled.theta.round(6), pulled.t.round(6)                   # e; 2 e; ∓e / 2
    (array([2.718282]), array([5.436564]), array([-1.359141,  1.359141]))
    """

    y0: np.ndarray
    theta: np.ndarray
    t: np.ndarray


def pullback(f, y0, t, theta, cotangent, *, gradient="discrete", dL_dtheta=None, backward=None, times=True,
             **solver):
    """Pull a cotangent of the states back to y0, θ and the times: `Gradients`.

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,). `cotangent` is ∂L/∂ys, of the shape of ys (N, ..., d), or
    of y0 for a loss on the last state alone. `dL_dtheta` (p,) is ∂L/∂θ, for a loss that sees θ directly.
    `gradient` names the route: discrete, checkpoint, reversible, backsolve or interpolate. An implicit method has
    the first two. `solver` are the keywords of `solve`. `backward` is a dict of those that differ in the backward
    solve of backsolve and interpolate (norm, first_step and progress are not handed on to it). There rtol and atol
    of the shape of y hold for y and a, and b gets their smallest entry. In `backward` they may be tuples too, with
    one for each part of the state, (y, a, b) or, with interpolate, (a, b).
    dL/dt_i on the exact routes (discrete, checkpoint, reversible) is the derivative of the numbers computed, as
    dL/dy0 and dL/dθ are. It needs f_t. If f has no `time_derivative`, f_t is found by differences, to about ten
    digits. For equal times it is the derivative with their order kept (for a reversible method only their sum is).
    On backsolve and interpolate dL/dt_i is that of the solution, (17.5) and (17.6). With `times=False` it is None.
    ValueError or TypeError for unusable input, SolverError if a solve fails.
    An adaptive method chooses its steps for y alone. If y rests, they are as long as the span, and the exact
    routes' derivative of such steps can be far from the solution's at every tolerance.
    Give step_size then, or gradient="backsolve" (figure 20). Griewank and Walther (2008); Sanz-Serna (2016) for
    discrete; Chen, Rubanova, Bettencourt and Duvenaud (2018) for backsolve. Equation (20.1).

    >>> from minode import Linear
    >>> A, t = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.linspace(0.0, 1.0, 101)
    >>> pulled = pullback(Linear(2), [1.0, 0.0], t, A.ravel(), [1.0, 0.0], method="rk4")
    >>> pulled.y0.round(6)                               # the first row of exp(A)
    array([-0.416147,  0.454649])
    """
    (y0, theta), t = as_point(f, y0, theta), as_times(t)
    whole = t.shape + y0.shape
    weights = as_cotangent(cotangent, whole, y0.shape)

    def linear_loss(ys):                                     # only its gradient is used
        return 0.0, weights if weights.shape == whole else np.concatenate([0 * ys[:-1], weights[None]])
    return value_and_gradients(linear_loss, f, y0, t, theta, gradient=gradient,
                               dL_dtheta=dL_dtheta, backward=backward, times=times, **solver)[1]


def value_and_gradients(loss, f, y0, t, theta, *, gradient="discrete", dL_dtheta=None, backward=None,
                        times=True, **solver):
    """L and its `Gradients` (20.1), from loss(ys) -> (L, dL_dys) with dL_dys of the shape of ys.

    L is a number, ys (N, ..., d). The other arguments as for `pullback`, and the errors: ValueError,
    TypeError (also if loss returns something else), SolverError. With `event`, an `Event` that may end the
    solve (chapter 28 adds this), the loss is loss(ys, t_event) -> (L, dL_dys, dL_dt_event), and the routes are
    discrete, checkpoint and backsolve. If no event came, t_event is None, and dL_dt_event 0 or None. The gradients
    are those with a moving t_event. dL/dt_i (N,) is 0 for the times behind the step that it is in. SolverError if
    the event grazes or is at t[0].

    >>> from minode import Linear
    >>> A, t = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.linspace(0.0, 1.0, 101)
    >>> def loss(ys): return 0.5 * np.sum(ys**2), ys
    >>> value, gradients = value_and_gradients(loss, Linear(2), [1.0, 0.0], t, A.ravel(), method="rk4")
    >>> float(value), gradients.theta.shape, gradients.t.shape
    (140.308..., (4,), (101,))
    """
    y0, theta = as_point(f, y0, theta)
    b = np.zeros(theta.shape) if dL_dtheta is None else as_real("dL_dtheta", dL_dtheta, theta.shape)
    check_flag("times", times)
    check_loss(loss, "loss(ys) -> (L, dL_dys)")
    solution, back = solve_and_way_back(f, y0, t, theta, gradient, backward, solver)
    value, dL_dys = as_loss_value(loss(read_only(solution.ys)), "(L, dL_dys)")
    dL_dys = as_real("dL_dys", dL_dys, solution.ys.shape)
    with np.errstate(all="ignore"):                          # an overflow is a SolverError
        dL_dt = np.zeros(len(dL_dys)) if times else None
        a, b = back(dL_dys, b, None if gradient in OF_THE_EQUATION else dL_dt)     # adds to dL_dt
        if times and gradient in OF_THE_EQUATION:
            clock = clock_of_outputs(stops_in(f, solution.t, solver)[0], solution.t)
            dL_dt = gradient_in_times(f, solution._replace(t=clock), theta, dL_dys, a)
        gradients = Gradients(y0=a + dL_dys[0], theta=b, t=dL_dt)                  # (20.1)
        gradients = in_precision(gradients, y0, theta)
    return value, finite(gradients, solution)


def solve_and_way_back(f, y0, t, theta, gradient, backward, solver):
    """The solution by the route `gradient`, and its way back (cotangents, b) -> (a(t₀⁺), b(t₀)).

    If the way back of an exact route is given an array (N,) besides, it adds dL/dt_i to it.
    """
    t, method = as_times(t), find_method(solver.get("method", "dopri5"))
    between_stops, solver = stops_in(f, t, solver)
    backward = check_route(gradient, ROUTES, method, isinstance(method, Tableau), solver, backward, KEYWORDS,
                           find_method, y0, t, theta)
    route = route_through(method, gradient)
    moves, jacobian = moving_ends(method, solver.get("step_size")), solver.get("jacobian")

    def solve_leg(leg, y, f):
        own = solver | ({"jacobian": OneSided(jacobian, leg.least, leg.most)} if jacobian else {})
        solution, way_back = route(f, y, leg.t, theta, method, own, backward)

        def back(cotangents, b, dL_dt=None):
            if dL_dt is None:
                return way_back(cotangents, b)
            ends = StepEnds(f, solution, theta, cotangents, moves)
            a, b = way_back(cotangents, b, ends)
            dL_dt[leg.at[leg.at >= 0]] += ends.gradient()[leg.at >= 0]
            return a, b
        return solution, back
    with np.errstate(all="ignore"):                          # also of the first calls of f's products
        if not between_stops:
            return solve_leg(Leg(t, np.arange(len(t)), -np.inf, np.inf), y0, f)
        solution, ways_back = chain(between_stops, t, y0,
                                    lambda leg, y: solve_leg(leg, y, OneSided(f, leg.least, leg.most)))

    def back(cotangents, b, dL_dt=None):
        a = np.zeros(y0.shape)
        for leg, way_back in reversed(list(zip(between_stops, ways_back))):
            g = np.where((leg.at >= 0).reshape(-1, *[1] * y0.ndim), cotangents[leg.at], 0.0)
            g[-1] += a                                           # from the legs behind it
            a, b = way_back(g, b, dL_dt)
        return a, b
    return solution, back


def route_through(method, gradient):
    """The route of this name through the method. If the method is implicit, it comes from chapter 29."""
    return (ROUTES if getattr(method, "is_explicit", True) else IMPLICIT_ROUTES)[gradient]


def stops_in(f, t, solver):
    """The legs of a solve along t between the stops of its keywords and of f, and its other keywords."""
    return legs(t, as_stops(solver.get("tstops"), f)), {k: v for k, v in solver.items() if k != "tstops"}


def gradient_in_times(f, solution, theta, dL_dys, a):
    """dL/dt_i (N,), by (17.5) and (17.6). f is evaluated only at the first output and those that count."""
    is_seen = dL_dys.reshape(len(dL_dys), -1).any(axis=1)
    is_seen[0] = True
    dL_dt = np.zeros(len(dL_dys))
    dL_dt[is_seen] = time_gradient(f, solution.ys[is_seen], solution.t[is_seen], theta, dL_dys[is_seen], a)
    return dL_dt


def in_precision(gradients, y0, theta):
    """The gradients in the precision of y0 and of θ, and those of the times in float64."""
    dtypes = y0.dtype, theta.dtype, np.float64
    return Gradients(*(part if part is None else part.astype(dtype, copy=False)
                       for part, dtype in zip(gradients, dtypes)))


def finite(gradients, solution):
    """The gradients, or SolverError if one is infinite or NaN."""
    if not all(np.isfinite(part).all() for part in gradients if part is not None):
        first, last = solution.t[[0, -1]].tolist()
        raise SolverError(f"the gradient is no longer finite on the way back from t = {last} to {first}",
                          first, solution)
    return gradients

"""20. From a loss to its gradients

There are five ways back from the cotangents ∂L/∂y(t_i) to dL/dy₀, dL/dθ and dL/dt_i, and
this is the door to all of them. Each comes back with a(t₀⁺), what arrives at t₀ from all
the later outputs, and with b, here what was collected on the way from b(T) = 0; then

    dL/dy₀ = a(t₀⁺) + ∂L/∂y(t₀),     dL/dθ = ∂L/∂θ + b,                  (20.1)

for no step leads to the first output, which is y₀ itself.

    discrete      chapter 18: the exact derivative of the steps taken      memory ~ steps
    checkpoint    chapter 19: the same numbers, steps computed twice       memory ~ √steps
    reversible    chapter 19: the same but for round-off, steps undone     memory constant
    backsolve     chapter 17: the adjoint equation, y integrated back too  memory constant
    interpolate   chapter 17: the adjoint equation, y from dense output    memory ~ steps

The first three are the gradient of the number that was computed, and so the default is the
first. The last two are approximations of the gradient of the solution: backsolve is as good as its
solver, interpolate as the dense output (chapter 11), which costs cash_karp an order. A method that
chooses its steps is differentiated along the steps that it took. dL/dt_i is the formula of the differential equation, (17.5) and (17.6), on every route.

Next: second derivatives (chapter 21).
"""

from typing import NamedTuple

import numpy as np

from ..solvers.explicit import Grid
from ..solvers.solve import KEYWORDS, find_method, run
from ..solvers.states import SolverError, as_real
from ..solvers.tableaus import Tableau
from .adjoint import backsolve, time_gradient
from .at_once import Packed
from .discrete import Notes, sweep, sweep_trajectories
from .memory import Checkpoints, Remember, sweep_checkpoints, sweep_reversible
from .tangent import as_point

ROUTES = ("discrete", "checkpoint", "reversible", "backsolve", "interpolate")


class Gradients(NamedTuple):
    """The gradients (20.1) of a loss L: `y0` is dL/dy0 (..., d), `theta` dL/dθ (p,), `t` dL/dt_i (N,).

    In units of L over those of y, θ and t. A tuple: `dL_dy0, dL_dtheta, dL_dt = pullback(...)`.

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

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,). `cotangent` is ∂L/∂ys, of
    the shape of ys (N, ..., d), or of y0 for a loss on the last state alone.
    `gradient` names the route: discrete, checkpoint, reversible, backsolve or interpolate.
    `dL_dtheta` (p,) is ∂L/∂θ where the loss sees θ directly. `solver` are the
    keywords of `solve`, and `backward` a dict of those that differ in the backward solve
    of backsolve and interpolate (norm, first_step and progress are not handed on to it).
    `times=False` leaves out dL/dt_i, which takes a call of f on all the outputs that the loss sees;
    it is None then. ValueError or TypeError for unusable input,
    SolverError where a solve fails. Griewank and Walther (2008); Sanz-Serna (2016) for
    discrete; Chen, Rubanova, Bettencourt and Duvenaud (2018) for backsolve. Equation (20.1).

    >>> from minode import Linear
    >>> A, t = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.linspace(0.0, 1.0, 101)
    >>> pulled = pullback(Linear(2), [1.0, 0.0], t, A.ravel(), [1.0, 0.0], method="rk4")
    >>> pulled.y0.round(6)                               # the first row of exp(A)
    array([-0.416147,  0.454649])
    """
    weights, last, whole = as_real("cotangent", cotangent), np.shape(y0), np.shape(t) + np.shape(y0)
    if weights.shape not in (last, whole):
        raise ValueError(f"cotangent must have the shape of ys, {whole}, or of y0, {last}, "
                         f"not {weights.shape}")

    def linear_loss(ys):                                     # whose value nobody asks for
        return 0.0, weights if weights.shape == whole else np.concatenate([0 * ys[:-1], weights[None]])
    return value_and_gradients(linear_loss, f, y0, t, theta, gradient=gradient,
                               dL_dtheta=dL_dtheta, backward=backward, times=times, **solver)[1]


def value_and_gradients(loss, f, y0, t, theta, *, gradient="discrete", dL_dtheta=None, backward=None,
                        times=True, **solver):
    """L and its `Gradients` (20.1), from loss(ys) -> (L, dL_dys) with dL_dys of the shape of ys.

    L is a number, ys (N, ..., d). The other arguments as for `pullback`, and the errors: ValueError,
    TypeError (also where loss returns something else), SolverError.

    >>> from minode import Linear
    >>> A, t = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.linspace(0.0, 1.0, 101)
    >>> def loss(ys): return 0.5 * np.sum(ys**2), ys
    >>> value, gradients = value_and_gradients(loss, Linear(2), [1.0, 0.0], t, A.ravel(), method="rk4")
    >>> float(value), gradients.theta.shape, gradients.t.shape
    (140.308..., (4,), (101,))
    """
    y0, theta = as_point(f, y0, theta)
    b = np.zeros(theta.shape) if dL_dtheta is None else as_real("dL_dtheta", dL_dtheta, theta.shape)
    method = find_method(solver.get("method", "dopri5"))
    if not callable(loss):
        raise TypeError(f"loss must be callable as loss(ys) -> (L, dL_dys), not {type(loss).__name__}")
    if not isinstance(times, (bool, np.bool_)):
        raise TypeError(f"times must be True or False, not {times!r}")
    check_route(gradient, method, solver, backward)
    bound = f.bind(theta, y0)
    is_reversible = not isinstance(method, Tableau)
    at_once = getattr(bound, "linearize", None) is not None and bound.is_small(y0.shape)
    tape, velocity = None, bound
    if gradient == "checkpoint":
        tape = Checkpoints()
    elif gradient == "interpolate" or solver.get("per_trajectory"):
        tape = []
    elif gradient == "discrete" and not is_reversible:
        tape, velocity = tape_for(bound, method, at_once, solver)
    if is_reversible:
        solver["method"] = Remember(method, keep=gradient == "discrete")
    forward = run(velocity, y0, t, tape, **solver)
    t_out, ys = forward.solution.t, forward.solution.ys
    value, dL_dys = parts_of_loss(loss(read_only(ys)), "(L, dL_dys)")
    dL_dys, dL_dt = as_real("dL_dys", dL_dys, ys.shape), np.zeros(len(t_out)) if times else None
    seen = dL_dys.reshape(len(t_out), -1).any(axis=1)                              # by the loss, and the first
    seen[0] = True
    t_seen, g_seen = t_out[seen], dL_dys[seen]

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):    # an overflow is a SolverError
        if gradient in ("backsolve", "interpolate"):
            ends = min(t_out[0], t_out[-1]), max(t_out[0], t_out[-1])        # the clock of a solve may round
            between = forward.dense_output() if gradient == "interpolate" else None
            y_at = between and (lambda t: between(np.clip(t, *ends)))
            back = {k: v for k, v in solver.items() if k not in ("method", "norm", "first_step", "progress")}
            back = back | {"method": method} | (backward or {})
            a, b = backsolve(f, ys, t_out, theta, dL_dys, b, y_at, **back)
        else:
            if is_reversible:
                grid = Grid(t_out, solver.get("step_size"))
                a = sweep_reversible(bound, solver["method"], forward.solution, grid, dL_dys)
            elif solver.get("per_trajectory"):
                a = sweep_trajectories(bound, tape, method, t_out, dL_dys)
            elif gradient == "checkpoint":
                a = sweep_checkpoints(bound, tape, method, t_out, dL_dys, at_once)
            else:
                a = sweep(bound, tape, method, t_seen, g_seen)
            b = b + bound.a_f_theta()                                              # (20.1)
        if times:
            dL_dt[seen] = time_gradient(bound, ys[seen], t_seen, g_seen, a)
        gradients = Gradients(y0=a + dL_dys[0], theta=b, t=dL_dt)                  # (20.1)
    return value, finite(gradients, forward.solution)


def tape_for(bound, method, at_once, solver):
    """What chapter 18 keeps of the steps, and the velocity that fills it."""
    if at_once:
        return Packed(), bound
    if getattr(bound, "noted", None) is None:
        return [], bound
    chooses = method.b_hat is not None and solver.get("step_size") is None
    return Notes(bound, method, chooses), bound.noted


def read_only(ys):
    """ys as a loss may see it: one that wrote into it would change what comes after it."""
    shown = ys.view()
    shown.flags.writeable = False
    return shown


def parts_of_loss(answer, expected):
    """What a loss returned, if it is the tuple that was expected, with a finite number in front."""
    if not isinstance(answer, tuple) or len(answer) != expected.count(",") + 1:
        got = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
        raise TypeError(f"loss must return {expected}, not {got}")
    as_real("L, what loss returns first,", answer[0], ())
    return answer


def finite(gradients, solution):
    """The gradients, or SolverError where one is infinite or NaN, which no sweep looks for on its way."""
    if not all(np.isfinite(part).all() for part in gradients if part is not None):
        first, last = solution.t[[0, -1]].tolist()
        raise SolverError(f"the gradient is no longer finite on the way back from t = {last} to {first}",
                          first, solution)
    return gradients


def check_route(gradient, method, solver, backward=None):
    """ValueError where there is no such way back through this method, or none that `backward` is for."""
    if gradient not in ROUTES:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(ROUTES)}")
    is_tableau = isinstance(method, Tableau)
    if is_tableau and not method.is_explicit:
        raise ValueError(f"there are no gradients through {method.name}: "
                         "use an explicit or a reversible method")
    if gradient == "reversible" and is_tableau:
        raise ValueError("gradient='reversible' needs a reversible method, such as reversible('rk4'), "
                         f"not {method.name!r}")
    if gradient == "checkpoint" and not is_tableau:
        raise ValueError("gradient='checkpoint' is for Runge–Kutta methods; "
                         f"{method.name} has gradient='reversible'")
    if solver.get("per_trajectory") and gradient != "discrete":
        raise ValueError(f"per_trajectory goes with gradient='discrete', not {gradient!r}")
    if backward is not None:
        if gradient not in ("backsolve", "interpolate"):
            raise ValueError("backward is for gradient='backsolve' or 'interpolate', which solve backwards, "
                             f"not {gradient!r}")
        if not isinstance(backward, dict):
            raise TypeError(f"backward must be a dict of keywords of solve, not {type(backward).__name__}")
        for name in backward:
            if name not in KEYWORDS:
                raise ValueError(f"unknown keyword {name!r} in backward; known: {', '.join(KEYWORDS)}")
        back = find_method(backward.get("method", method))
        if backward.get("per_trajectory") or not getattr(back, "is_explicit", True):
            got = "per_trajectory" if backward.get("per_trajectory") else back.name
            raise ValueError("backward solves y, a and b as one state, and takes explicit and "
                             f"reversible methods with joint steps, not {got}")

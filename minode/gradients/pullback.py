"""19. From a loss to its gradients

Chapters 17 and 18 are two ways back from the cotangents ∂L/∂y(t_i) to dL/dy₀, dL/dθ
and dL/dt_i. This is the door to both, and its whole content is bookkeeping:

    dL/dy₀ = a(t₀⁺) + ∂L/∂y(t₀),     dL/dθ = b(t₀),                      (19.1)

where a(t₀⁺) is what arrives from all the later outputs. The first output is y₀ itself; no
step leads to it, and its cotangent joins only here.

`gradient="discrete"` is the default because it is the gradient of the number the
reader sees, whatever the step size; `gradient="backsolve"` is the source text's way.

Next: how to find out whether any of this is right (chapter 20).
"""

from typing import NamedTuple

import numpy as np

from ..solvers.solve import run
from ..solvers.states import as_real
from .adjoint import backsolve, time_gradient
from .discrete import sweep
from .tangent import as_point

ROUTES = ("discrete", "backsolve")


class Gradients(NamedTuple):
    """dL/dy0 (..., d), dL/dθ (p,) and dL/dt_i (N,)."""

    y0: np.ndarray
    theta: np.ndarray
    t: np.ndarray


def pullback(f, y0, t, theta, cotangent, *, gradient="discrete", dL_dtheta=None, **solver):
    """Pull a cotangent of the states back to y0, θ and the times: `Gradients`.

    f is a `VectorField`, y0 (..., d), t (N,), theta (p,). `cotangent` is ∂L/∂ys, of
    the shape of ys (N, ..., d), or of y0 for a loss on the last state alone.
    `gradient` is "discrete" (chapter 18: the exact derivative of the steps taken) or
    "backsolve" (chapter 17: the adjoint equation, y integrated back too).
    `dL_dtheta` (p,) is ∂L/∂θ where the loss sees θ directly. `solver` are the
    keywords of `solve`. ValueError or TypeError for unusable input, SolverError
    where a solve fails.

    >>> from minode import Linear
    >>> A, t = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.linspace(0.0, 1.0, 101)
    >>> pulled = pullback(Linear(2), [1.0, 0.0], t, A.ravel(), [1.0, 0.0], method="rk4")
    >>> pulled.y0.round(6)                               # the first row of exp(A)
    array([-0.416147,  0.454649])
    """
    weights, last, whole = as_real("cotangent", cotangent), np.shape(y0), np.shape(t) + np.shape(y0)
    if weights.shape not in (last, whole):
        raise ValueError(f"cotangent must have the shape of ys, {whole}, or of y0, {last}, not {weights.shape}")

    def linear_loss(ys):
        if weights.shape == whole:
            return np.vdot(weights, ys), weights
        return np.vdot(weights, ys[-1]), np.concatenate([np.zeros_like(ys[:-1]), weights[None]])
    return value_and_gradients(linear_loss, f, y0, t, theta, gradient=gradient,
                               dL_dtheta=dL_dtheta, **solver)[1]


def value_and_gradients(loss, f, y0, t, theta, *, gradient="discrete", dL_dtheta=None, **solver):
    """L and its `Gradients`, from loss(ys) -> (L, dL_dys) with dL_dys of the shape of ys.

    Arguments and errors as for `pullback`.

    >>> from minode import Linear
    >>> A, t = np.array([[0.0, 1.0], [-4.0, 0.0]]), np.linspace(0.0, 1.0, 101)
    >>> def loss(ys): return 0.5 * np.sum(ys**2), ys
    >>> value, gradients = value_and_gradients(loss, Linear(2), [1.0, 0.0], t, A.ravel(), method="rk4")
    >>> float(value), gradients.theta.shape, gradients.t.shape
    (140.308..., (4,), (101,))
    """
    if gradient not in ROUTES:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(ROUTES)}")
    y0, theta = as_point(f, y0, theta)
    b = np.zeros_like(theta) if dL_dtheta is None else as_real("dL_dtheta", dL_dtheta, theta.shape)

    forward = run(lambda t, y: f(t, y, theta), y0, t, [] if gradient == "discrete" else None, **solver)
    times, ys = forward.problem.t, forward.solution.ys
    value, dL_dys = loss(ys)
    dL_dys = as_real("dL_dys", dL_dys, ys.shape)
    if gradient == "backsolve":
        a, b = backsolve(f, ys, times, theta, dL_dys, b, **solver)
    else:
        a, b = sweep(f, forward.tape, forward.method, theta, times, dL_dys, b)
    return value, Gradients(
        y0=a + dL_dys[0], theta=b,                                                 # (19.1)
        t=time_gradient(f, ys, times, theta, dL_dys, a))

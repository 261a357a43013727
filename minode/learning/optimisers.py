"""23. Steps downhill

The chapters before this one end in a gradient g = dL/dθ. What follows is the same for every
model: change θ a little against g, and again. One such step is a function: θ, g and what
the method remembers go in, θ and what it remembers come out. Nothing is changed in
place, so a step can be undone, repeated, or continued elsewhere.

Momentum (Polyak, 1964). Plain descent in a long valley jumps from wall to wall and creeps
along the floor. Let the gradients add up in a velocity v, of which each step keeps the
part μ,

    v ← μ v + g,     θ ← θ − η v.                                        (23.1)

What alternates cancels in v, and what persists grows: under a constant g, v tends to
g / (1 − μ), ten times g at μ = 0.9. That is also the trap: with the same learning rate η, the
steps are ten times as long. With μ = 0 it is plain descent.

Adam (Kingma and Ba, 2015) divides each component by its own size. It averages g and g²,

    m ← β₁ m + (1 − β₁) g,     v ← β₂ v + (1 − β₂) g².                   (23.2)

Both start from zero, and in step k = 0, 1, … the weights in m add up to (1 − β₁) Σ β₁^j,
j ≤ k, which is 1 − β₁^{k+1} and not 1: early averages are too small. So they are divided
by that sum,

    m̂ = m / (1 − β₁^{k+1}),     v̂ = v / (1 − β₂^{k+1}),                 (23.3)
    θ ← θ − η m̂ / (√v̂ + ε).                                              (23.4)

Under a constant g, m̂ = g and v̂ = g² from the first step on, and every component moves by η
against the sign of its gradient, however small that is. Without (23.3) the first step would
be (1 − β₁) / √(1 − β₂) = 3.2 times as long. Multiply L by a positive constant and, but for ε,
nothing changes: η is a length in θ, where in (23.1) it is one divided by a curvature.

Clipping (Pascanu, Mikolov and Bengio, 2013). A loss on a long solve has cliffs, where one
gradient is a thousand times the usual one. Its direction is kept and its length bounded by G:

    g ← g min(1, G / ‖g‖₂).                                              (23.5)

Schedules. The noise of minibatches keeps θ moving by about η for ever, so η should end small;
and the first steps, on averages of few gradients, should not be the longest. In step k of n,
the first n_w of them to warm up,

    η_k = η min(1, (k + 1) / n_w) (1 + cos π k/n) / 2,                   (23.6)

or, in stairs of r steps, each lower by a factor γ,

    η_k = η γ^⌊k/r⌋.                                                     (23.7)

Next: the loop around them (chapter 24).
"""

import math
from typing import NamedTuple

import numpy as np

from ..solvers.states import as_positive, as_real


class Momentum(NamedTuple):
    """What `sgd` remembers: the velocity v (p,)."""

    v: np.ndarray


class Moments(NamedTuple):
    """What `adam` remembers: the averages m and v, both (p,), and the number k of steps behind them."""

    m: np.ndarray
    v: np.ndarray
    k: int


def sgd(theta, gradient, state, learning_rate, momentum=0.9):
    """One step of gradient descent with momentum (23.1): the new θ, and the state for the next step.

    theta and gradient are (p,), state is None in the first step, learning_rate is η and momentum μ,
    0 ≤ μ < 1. ValueError or TypeError for unusable input. Polyak (1964).

    >>> theta, state = sgd(np.array([1.0]), np.array([2.0]), None, 0.1)
    >>> theta, state = sgd(theta, np.array([2.0]), state, 0.1)
    >>> theta, state.v
    (array([0.42]), array([3.8]))
    """
    theta, gradient = as_step(theta, gradient, state, 1, learning_rate=learning_rate, momentum=momentum)
    v = np.zeros_like(theta) if state is None else state[0]
    v = momentum * v + gradient                                                    # (23.1)
    return theta - learning_rate * v, Momentum(v)                                  # (23.1)


def adam(theta, gradient, state, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """One step of Adam, (23.2) to (23.4): the new θ, and the state for the next step.

    theta and gradient are (p,), state is None in the first step, learning_rate is η; beta1, beta2
    and epsilon are β₁, β₂, from 0 on and less than 1, and ε, positive. ValueError or TypeError for
    unusable input. Kingma and Ba (2015).

    >>> theta, state = adam(np.array([1.0, 1.0]), np.array([2.0, -1e-3]), None, 0.1)
    >>> theta.round(4), state.k
    (array([0.9, 1.1]), 1)
    """
    theta, gradient = as_step(theta, gradient, state, 3, learning_rate=learning_rate, beta1=beta1,
                              beta2=beta2, epsilon=epsilon)
    m, v, k = (np.zeros_like(theta), np.zeros_like(theta), 0) if state is None else state
    k = int(k)
    m = beta1 * m + (1 - beta1) * gradient                                         # (23.2)
    v = beta2 * v + (1 - beta2) * gradient**2                                      # (23.2)
    m_hat, v_hat = m / (1 - beta1**(k + 1)), v / (1 - beta2**(k + 1))              # (23.3)
    return theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), Moments(m, v, k + 1)  # (23.4)


def as_step(theta, gradient, state, n_parts, **numbers):
    """theta and the gradient as arrays, if a step can be made of them, of such a state, and of these numbers."""
    theta = as_real("theta", theta)
    gradient = as_real("gradient", gradient, theta.shape)
    if state is not None and not (isinstance(state, tuple) and len(state) == n_parts
                                  and all(np.shape(part) in (theta.shape, ()) for part in state)):
        raise ValueError(f"state must be None or what the step before returned for this theta, not {state!r}")
    for name, value in numbers.items():
        below = math.inf if name in ("learning_rate", "epsilon") else 1.0
        if not (type(value) is float and 0.0 <= value < below):            # for as_positive takes 4 µs
            if as_positive(name, value, allow_zero=True) >= below:
                raise ValueError(f"{name} must be less than 1, not {value!r}")
        if name == "epsilon" and value == 0.0:
            raise ValueError("epsilon must be positive, not 0: a component that never moved would be 0/0")
    return theta, gradient


def as_pair(of, pair, answer):
    """What a function of the reader's returned, if it is a pair; an array of two numbers is none."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise TypeError(f"{of} must return {pair}, not {type(answer).__name__}")
    return answer


def clip(gradient, largest):
    """The gradient, made shorter where its 2-norm exceeds `largest` (23.5). Pascanu and others (2013).

    >>> clip(np.array([3.0, 4.0]), 1.0), clip(np.array([0.3, 0.4]), 1.0)
    (array([0.6, 0.8]), array([0.3, 0.4]))
    """
    size = np.abs(gradient).max(initial=0.0)                         # of which no square overflows
    norm = size * np.linalg.norm(gradient / size) if size else 0.0
    return gradient * (largest / norm) if norm > largest else gradient             # (23.5)


def cosine(step, rate, n_steps, warm_up=0):
    """The learning rate (23.6) in this step of n_steps, which starts at 0. Loshchilov and Hutter (2017).

    A fit that goes on after n_steps should not use it as it is: the cosine rises again.

    >>> [round(cosine(k, 0.1, 4), 4) for k in range(4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """
    rise = min(1.0, (step + 1) / warm_up) if warm_up else 1.0                      # (23.6)
    return rate * rise * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))              # (23.6)


def stairs(step, rate, every, factor=0.5):
    """The learning rate (23.7), lower by `factor` after `every` steps.

    >>> [stairs(k, 0.1, 2) for k in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """
    return rate * factor ** (step // every)                                        # (23.7)

"""23. Steps downhill

Part III ends with a gradient g = dL/dθ. What follows is the same for every model: change θ a
little against g, and repeat. Plain gradient descent is θ ← θ − η g, with a learning rate η. A
better step also uses what it has seen before. So a step is a function here. It takes θ, g and
its own memory, and returns the new θ and the new memory. It changes nothing in place, so it can
be undone, repeated, or continued elsewhere.

Momentum (Polyak, 1964). In a long valley, plain descent jumps from wall to wall and creeps
along the floor. Instead, add the gradients up in a velocity v. Each step keeps the fraction μ
of it,

    v ← μ v + g,     θ ← θ − η v.                                        (23.1)

Components of g that change sign from step to step cancel in v, and components that keep their
sign add up. If g is constant, v tends to the geometric series g (1 + μ + μ² + …) = g / (1 − μ),
which is ten times g at μ = 0.9. Steps along such g are ten times as long, so take a smaller η than
for plain descent, which is the case μ = 0.

Adam (Kingma and Ba, 2015) divides each component of the gradient by its usual size. It keeps
averages of g and of g², component by component, in which older gradients count less. With
β₁ = 0.9 and β₂ = 0.999,

    m ← β₁ m + (1 − β₁) g,     v ← β₂ v + (1 − β₂) g².                   (23.2)

Both start from zero. In step k = 0, 1, … the weights of the gradients in m add up to
(1 − β₁) Σ β₁^j, j ≤ k. This is 1 − β₁^{k+1} and not 1, so early averages are too small. We
divide each by the sum of its weights,

    m̂ = m / (1 − β₁^{k+1}),     v̂ = v / (1 − β₂^{k+1}),                 (23.3)
    θ ← θ − η m̂ / (√v̂ + ε).                                              (23.4)

For β near 1 the subtraction 1 − β^{k+1} would lose digits, so we compute it as −expm1((k + 1)
ln β).

If g is constant, m̂ = g and v̂ = g² from the first step on, and every component moves by η
against the sign of its gradient, however small that is, if it is large beside ε. Without (23.3) the first
step would be (1 − β₁) / √(1 − β₂) = 3.2 times as long. Multiplying L by a positive constant
changes nothing, apart from the effect of ε. So η is measured in the units of θ here. In (23.1)
it is measured in those of one over a curvature: in a bowl of curvature λ, plain descent needs
η < 2/λ.

Clipping (Pascanu, Mikolov and Bengio, 2013). The loss of a long solve can have cliffs
(chapter 31), on which one gradient is a thousand times as long as usual. We keep its direction
and bound its length by G:

    g ← g min(1, G / ‖g‖₂).                                              (23.5)

Schedules. The noise of minibatches (chapter 24) keeps θ moving by about η for ever, so η should
become small towards the end. The first averages of Adam contain few gradients, so its first
steps should be short. In step k of n, of which the first n_w are to warm up, take

    η_k = η min(1, (k + 1) / n_w) sin² (π/2 (1 − k/n)),                  (23.6)

where the last factor equals (1 + cos π k/n) / 2. Written as a sine it keeps all its digits near
the end. A simpler schedule is step decay, which lowers η by a factor γ after every r steps:

    η_k = η γ^⌊k/r⌋.                                                     (23.7)

Figures 32 and 33 show trainings by Adam, and figure 34 shows what clipping does. In figures 30
and 35 Newton's method (chapter 21) finishes what Adam began.

Next: the loop around them (chapter 24).
"""

import math
from typing import NamedTuple

import numpy as np

from ..inputs import as_new_theta, as_step


class Momentum(NamedTuple):
    """The memory of `sgd`: the velocity v (p,)."""

    v: np.ndarray


class Moments(NamedTuple):
    """The memory of `adam`: the averages m and v, both (p,), and the number k of steps taken."""

    m: np.ndarray
    v: np.ndarray
    k: int


def sgd(theta, gradient, state, learning_rate, momentum=0.9):
    """One step of gradient descent with momentum (23.1): the new θ, and the state for the next step.

    theta and gradient are (p,), and state is None in the first step. learning_rate is η, and momentum
    is μ, 0 ≤ μ < 1. ValueError or TypeError for unusable input. Polyak (1964).

    >>> theta, state = sgd(np.array([1.0]), np.array([2.0]), None, 0.1)
    >>> theta, state = sgd(theta, np.array([2.0]), state, 0.1)
    >>> theta, state.v
    (array([0.42]), array([3.8]))
    """
    theta, gradient = as_step(theta, gradient, state, 1, learning_rate=learning_rate, momentum=momentum)
    v = np.zeros_like(theta) if state is None else state[0]
    with np.errstate(all="ignore"):
        v = momentum * v + gradient                                                # (23.1)
        theta = theta - learning_rate * v                                          # (23.1)
    return as_new_theta(theta), Momentum(v)


def one_minus_power(beta, n):
    """1 − βⁿ, with all its digits even for β near 1.

    >>> one_minus_power(0.5, 2), one_minus_power(0.0, 3)
    (0.75, 1.0)
    """
    return -math.expm1(n * math.log(beta)) if beta else 1.0                        # (23.3)


def adam(theta, gradient, state, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """One step of Adam, (23.2) to (23.4): the new θ, and the state for the next step.

    theta and gradient are (p,), and state is None in the first step. learning_rate is η; beta1 and
    beta2 are β₁ and β₂, at least 0 and less than 1; epsilon is ε, positive. ValueError or TypeError
    for unusable input. Kingma and Ba (2015).

    >>> theta, state = adam(np.array([1.0, 1.0]), np.array([2.0, -1e-3]), None, 0.1)
    >>> theta.round(4), state.k
    (array([0.9, 1.1]), 1)
    """
    theta, gradient = as_step(theta, gradient, state, 3, learning_rate=learning_rate, beta1=beta1,
                              beta2=beta2, epsilon=epsilon)
    m, v, k = (np.zeros_like(theta), np.zeros_like(theta), 0) if state is None else state
    k = int(k)
    with np.errstate(all="ignore"):
        m = beta1 * m + (1 - beta1) * gradient                                     # (23.2)
        v = beta2 * v + (1 - beta2) * gradient**2                                  # (23.2)
        m_hat, v_hat = m / one_minus_power(beta1, k + 1), v / one_minus_power(beta2, k + 1)  # (23.3)
        theta = theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)         # (23.4)
    return as_new_theta(theta, v), Moments(m, v, k + 1)


def clip(gradient, max_norm):
    """The gradient, shortened if its 2-norm exceeds `max_norm` (23.5). Pascanu and others (2013).

    >>> clip(np.array([3.0, 4.0]), 1.0), clip(np.array([0.3, 0.4]), 1.0)
    (array([0.6, 0.8]), array([0.3, 0.4]))
    """
    size = np.abs(gradient).max(initial=0.0)               # divided by it, no square overflows
    with np.errstate(all="ignore"):
        norm = size * np.linalg.norm(gradient / size) if size else 0.0
        return gradient * (max_norm / norm) if norm > max_norm else gradient       # (23.5)


def cosine(step, rate, n_steps, warm_up=0):
    """The learning rate (23.6) in this step of n_steps; the first is step 0. Loshchilov and Hutter (2017).

    Do not use it beyond n_steps: there the cosine rises again.

    >>> [round(cosine(k, 0.1, 4), 4) for k in range(4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """
    rise = min(1.0, (step + 1) / warm_up) if warm_up else 1.0                      # (23.6)
    return rate * rise * math.sin(math.pi / 2 * ((n_steps - step) / n_steps)) ** 2  # (23.6)


def step_decay(step, rate, every, factor=0.5):
    """The learning rate (23.7), multiplied by `factor` after every `every` steps.

    >>> [step_decay(k, 0.1, 2) for k in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """
    return rate * factor ** (step // every)                                        # (23.7)

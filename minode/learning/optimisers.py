"""23. Steps downhill

Part III ends in a gradient g = dL/dθ. What follows is the same for every model: change θ
a little against g, and repeat. One such step is a function. It takes θ, g and what the method
remembers, and returns the new θ and what the method then remembers. Nothing is changed in
place, so a step can be undone, repeated, or continued elsewhere.

Momentum (Polyak, 1964). In a long valley, plain descent jumps from wall to wall and creeps
along the floor. Let the gradients add up in a velocity v, of which each step keeps the
fraction μ,

    v ← μ v + g,     θ ← θ − η v.                                        (23.1)

In v the parts of g that change their sign from step to step cancel, and the parts that persist
grow: if g is constant, v tends to g / (1 − μ), which is ten times g at μ = 0.9. So do not keep
the learning rate η of plain descent: with momentum 0.9 the steps are ten times as long. With
μ = 0 this is plain descent.

Adam (Kingma and Ba, 2015) divides each component by its own size. It averages g and g²,

    m ← β₁ m + (1 − β₁) g,     v ← β₂ v + (1 − β₂) g².                   (23.2)

Both start from zero. In step k = 0, 1, … the weights of the gradients in m add up to
(1 − β₁) Σ β₁^j, j ≤ k. This is 1 − β₁^{k+1} and not 1, so early averages are too small. We
divide each by the sum of its weights,

    m̂ = m / (1 − β₁^{k+1}),     v̂ = v / (1 − β₂^{k+1}),                 (23.3)
    θ ← θ − η m̂ / (√v̂ + ε).                                              (23.4)

Near β = 1 the difference 1 − β^{k+1} would lose its digits, and so it is computed as −expm1((k + 1) ln β).

If g is constant, m̂ = g and v̂ = g² from the first step on, and every component moves by η
against the sign of its gradient, however small that gradient is. Without (23.3) the first step
would be (1 − β₁) / √(1 − β₂) = 3.2 times as long. If L is multiplied by a positive constant,
nothing changes, except for ε. So η is a length in θ, whereas in (23.1) it is one divided by a
curvature.

Clipping (Pascanu, Mikolov and Bengio, 2013). A loss on a long solve has cliffs, at which one
gradient is a thousand times the usual one. We keep its direction and bound its length by G:

    g ← g min(1, G / ‖g‖₂).                                              (23.5)

Schedules. The noise of minibatches (chapter 24) keeps θ moving by about η for ever, so η should
end small. And the first steps rest on averages of few gradients, so they should not be the
longest. In step k of n, with the first n_w of them to warm up, take

    η_k = η min(1, (k + 1) / n_w) sin² (π/2 (1 − k/n)),                  (23.6)

where the last factor is (1 + cos π k/n) / 2, with all its digits to the end,
or lower η by a factor γ after every r steps, which is called step decay,

    η_k = η γ^⌊k/r⌋.                                                     (23.7)

Figures 32 and 33 show trainings by Adam, and figure 34 what clipping does. In figures 30 and 35
Newton's method (chapter 21) finishes what Adam began.

Next: the loop around them (chapter 24).
"""

import math
from typing import NamedTuple

import numpy as np

from ..inputs import as_new_theta, as_step


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
    with np.errstate(all="ignore"):
        v = momentum * v + gradient                                                # (23.1)
        theta = theta - learning_rate * v                                          # (23.1)
    return as_new_theta(theta), Momentum(v)


def one_minus_power(beta, n):
    """1 − βⁿ, with all its digits for β near 1 too.

    >>> one_minus_power(0.5, 2), one_minus_power(0.0, 3)
    (0.75, 1.0)
    """
    return -math.expm1(n * math.log(beta)) if beta else 1.0                        # (23.3)


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
    with np.errstate(all="ignore"):
        m = beta1 * m + (1 - beta1) * gradient                                     # (23.2)
        v = beta2 * v + (1 - beta2) * gradient**2                                  # (23.2)
        m_hat, v_hat = m / one_minus_power(beta1, k + 1), v / one_minus_power(beta2, k + 1)  # (23.3)
        theta = theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)         # (23.4)
    return as_new_theta(theta, v), Moments(m, v, k + 1)


def clip(gradient, max_norm):
    """The gradient, made shorter if its 2-norm exceeds `max_norm` (23.5). Pascanu and others (2013).

    >>> clip(np.array([3.0, 4.0]), 1.0), clip(np.array([0.3, 0.4]), 1.0)
    (array([0.6, 0.8]), array([0.3, 0.4]))
    """
    size = np.abs(gradient).max(initial=0.0)               # divide by it first, and no square overflows
    with np.errstate(all="ignore"):
        norm = size * np.linalg.norm(gradient / size) if size else 0.0
        return gradient * (max_norm / norm) if norm > max_norm else gradient       # (23.5)


def cosine(step, rate, n_steps, warm_up=0):
    """The learning rate (23.6) in this step of n_steps; the first is step 0. Loshchilov and Hutter (2017).

    A fit that goes on after n_steps should not use it as it is, because the cosine rises again.

    >>> [round(cosine(k, 0.1, 4), 4) for k in range(4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """
    rise = min(1.0, (step + 1) / warm_up) if warm_up else 1.0                      # (23.6)
    return rate * rise * math.sin(math.pi / 2 * ((n_steps - step) / n_steps)) ** 2  # (23.6)


def step_decay(step, rate, every, factor=0.5):
    """The learning rate (23.7), lower by `factor` after `every` steps.

    >>> [step_decay(k, 0.1, 2) for k in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """
    return rate * factor ** (step // every)                                        # (23.7)

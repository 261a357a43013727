"""19. The same gradient in less memory

The sweep of chapter 18 walks back over all n steps and so keeps them all. Two ways to
keep fewer, at the price of computing again, with the same numbers at the end, or by reversal
with the same but for its round-off.

Checkpoints. Keep the state at every m-th step only. To take back the steps between two
of them, start at the earlier one, take them forward again with everything kept, and
sweep. At any time that is n/m states, and the state and s increments of each of m steps, least for
m = √(n/(s + 1)). Leave out s, which is a matter of the method, and take

    m ≈ √n,                                                              (19.1)

so memory grows like √n, and each step is computed twice. How many steps there will be is not known
beforehand to a method that chooses them, so the spacing starts at one, and whenever 2m states
have gathered, every second is dropped and m doubled: about √(n/2) to √(2n) of them at
all times. The times of all steps are kept, 8 bytes each, since a step taken again must be the same step.

Reversal. A reversible method (chapter 14) needs no tape: the state at the last time is kept
whole, both copies, and each step is undone before it is differentiated. The derivatives of
one step, written for the cotangents of all that goes in and comes out of it, last line
first as always; a bar marks a cotangent, and a prime what comes out of the step (y' is the
y_new of chapter 14). Asynchronous leapfrog (14.1):

    v̄' ← v̄' + h/2 ȳ',   u = 2 v̄' f_y(t + h/2, y½),
    ȳ = ȳ' + u,   v̄ = h/2 ȳ − v̄'.                                        (19.2)

Reversible Heun (14.2), whose k' = f(t', z') enters y' and the next step:

    k̄' ← k̄' + h/2 ȳ',   z̄' ← z̄' + k̄' f_y(t', z'),
    ȳ = ȳ' + 2 z̄',   z̄ = −z̄',   k̄ = h/2 ȳ' + h z̄'.                       (19.3)

A method made reversible (14.3), with c its coupling (the λ there) and J_h(t, y) the
derivative of Ψ_h(t, y) in y, which (18.1) and (18.2) compute, without the identity in
(18.3):

    ȳ' ← ȳ' − z̄' J_{−h}(t', y'),   z̄ = z̄' + (1 − c) ȳ' + ȳ' J_h(t, z),   ȳ = c ȳ'.   (19.4)

Where a row meets f_y, the same row times f_θ is added to the sum for θ. At the start v = f(t₀,
y₀), z = y₀ and k = f(t₀, y₀) hand their cotangents on to y₀.

The trap is the one of chapter 14: the states met on the way back carry the round-off of the
reversal, amplified by 1/c a step by a method with coupling c, and wherever the solution grew. The
start is known, and a way back that ends further from it than a thousandth of its size is a
SolverError; `discrete` is right there.

Next: the door to all routes (chapter 20).
"""

from array import array

import numpy as np

from ..solvers.dense import stages_of
from ..solvers.reversible import AsynchronousLeapfrog, Reversible, ReversibleHeun, stages_used
from ..solvers.solve import run
from ..solvers.states import SolverError
from .at_once import Packed
from .discrete import step_back, sweep

LOST = 1e-3             # of y0, which the way back may miss


class Checkpoints:
    """A tape that keeps the times of all steps, and of the states every `spacing`-th (19.1)."""

    keep = staticmethod(len)                     # no increments

    def __init__(self):
        self.spacing, self.times, self.states = 1, array("d"), []

    def append(self, step):
        t, h, y, _ = step
        if len(self.states) == 2 * self.spacing and len(self.times) % self.spacing == 0:
            self.states, self.spacing = self.states[::2], 2 * self.spacing         # (19.1)
        if len(self.times) % self.spacing == 0:
            self.states.append(y)
        self.times.append(t)


def sweep_checkpoints(f, checkpoints, tableau, times, cotangents, at_once):
    """`sweep`, stretch by stretch from the last, each computed again from the state at its start."""
    shape = cotangents.shape[1:]
    starts = np.append(checkpoints.times, times[-1])
    sign = 1.0 if times[-1] >= times[0] else -1.0
    a = np.zeros(shape)
    for n in range(len(checkpoints.states) - 1, -1, -1):
        grid = starts[n * checkpoints.spacing:(n + 1) * checkpoints.spacing + 1]
        here = (sign * times > sign * grid[0]) & (sign * times <= sign * grid[-1])
        if n == 0:
            here |= times == grid[0]
            here[0] = False
        outputs = np.concatenate([grid[:1], times[here]])
        y = checkpoints.states[n].reshape(shape)
        tape = Packed() if at_once else []
        run(f, y, np.append(outputs, grid[-1]), tape, method=tableau, grid=grid)
        g = np.concatenate([np.zeros((1, *shape)), cotangents[here]])
        a = sweep(f, tape, tableau, outputs, g, a)
    if not checkpoints.states:
        a = cotangents[1:].sum(axis=0)
    return a


class Flat:
    """A field at its θ for flat states, as the methods of chapter 14 want it."""

    def __init__(self, bound, shape):
        self.bound, self.shape = bound, shape

    def __call__(self, t, y):
        return self.bound(t, y.reshape(self.shape)).ravel()

    def vjp(self, t, y, a):
        return self.bound.vjp(t, y.reshape(self.shape), a.reshape(self.shape)).ravel()


class Remember:
    """A reversible method that remembers its states while it is stepped: the last, or all where `keep`."""

    def __init__(self, method, keep):
        self.method, self.keep, self.states = method, keep, []
        self.name, self.back = method.name, method.back

    def note(self, state):
        if not self.keep:
            self.states.clear()
        self.states.append(state)
        return state

    def start(self, f, t, y):
        return self.note(self.method.start(f, t, y))

    def step(self, f, t, t_new, state):
        return self.note(self.method.step(f, t, t_new, state))


def sweep_reversible(f, remembered, solution, grid, cotangents):
    """`sweep` for a reversible method, from its last state or from all, along the `Grid` of its steps.

    SolverError where the way back ends away from the first state of the solution.
    """
    times, ys = solution.t, solution.ys
    shape = cotangents.shape[1:]
    if not remembered.states:
        return cotangents[1:].sum(axis=0)
    method, (*states, state), flat = remembered.method, remembered.states, Flat(f, shape)
    bars = [np.zeros_like(part) for part in state]
    for t, t_new in reversed(grid):
        bars[0] = bars[0] + cotangents[1:][times[1:] == t_new].sum(axis=0).ravel()
        before = states.pop() if remembered.keep else method.back(flat, t_new, t, state)
        bars = STEPS_BACK[type(method)](method, flat, t, t_new, before, state, bars)
        state = before
    missed = np.abs(state[0] - ys[0].ravel()).max()
    if not missed <= LOST * (np.abs(ys[0]).max() or np.abs(ys).max()):
        raise SolverError(f"undoing the steps leads to a state {missed:.1e} away from y0: round-off grew too much "
                          "on the way back; gradient='discrete' keeps the states", float(times[0]), solution)
    a = bars[0] + cotangents[1:][times[1:] == times[0]].sum(axis=0).ravel()
    if not isinstance(method, AsynchronousLeapfrog):
        a = a + bars[1]
    if not isinstance(method, Reversible):
        a = a + flat.vjp(times[0], state[0], bars[-1])
    return a.reshape(shape)


def leapfrog_back(method, flat, t, t_new, before, after, bars):
    (y, v), (y_bar, v_bar), h = before, bars, t_new - t
    v_bar = v_bar + h / 2 * y_bar                                                  # (19.2)
    y_bar = y_bar + flat.vjp(t + h / 2, y + h / 2 * v, 2 * v_bar)                 # (19.2)
    return [y_bar, h / 2 * y_bar - v_bar]                                          # (19.2)


def heun_back(method, flat, t, t_new, before, after, bars):
    (_, z_new, _), (y_bar, z_bar, k_bar), h = after, bars, t_new - t
    z_bar = z_bar + flat.vjp(t_new, z_new, k_bar + h / 2 * y_bar)                 # (19.3)
    return [y_bar + 2 * z_bar, -z_bar, h / 2 * y_bar + h * z_bar]                  # (19.3)


def reversible_back(method, flat, t, t_new, before, after, bars):
    (_, z), (y_new, _), (y_bar, z_bar), h, c = before, after, bars, t_new - t, method.coupling
    y_bar = y_bar + increment_back(method.tableau, flat, t_new, -h, y_new, -z_bar)  # (19.4)
    z_bar = z_bar + (1 - c) * y_bar + increment_back(method.tableau, flat, t, h, z, y_bar)  # (19.4)
    return [c * y_bar, z_bar]                                                      # (19.4)


def increment_back(tableau, flat, t, h, y, bar):
    """bar J_h(t, y), the cotangent of y from that of the increment."""
    _, c, W = stages_of(tableau, False)
    Y, _ = stages_used(flat, tableau, t, h, y)

    def pull(i, lam, out):
        out[...] = flat.vjp(t + c[i] * h, Y[i], lam)
    return step_back(W, h, bar, None, pull)[0][:-1].sum(axis=0)


STEPS_BACK = {AsynchronousLeapfrog: leapfrog_back, ReversibleHeun: heun_back, Reversible: reversible_back}

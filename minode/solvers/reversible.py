"""14. Reversible methods

Solve forwards, then backwards from where you arrived: do you meet the states you came
from? An explicit Runge–Kutta method meets them up to its error and no better: its step with
−h from y_new is not the inverse of the step. (The round trip is of order h^{p+1} for even
p and h^p for odd, one better than expected where the leading errors of the two ways
cancel.) A symmetric implicit method does meet them, at the price of an equation per step.
Three explicit ways do so exactly, in algebra, by carrying a second copy of the state.

Asynchronous leapfrog (Mutze 2013; Zhuang et al. 2021) carries a velocity v beside y, at
the start v = f(t₀, y₀), and reflects it in the velocity at the middle of the step:

    y½ = y + h/2 v,   v_new = 2 f(t + h/2, y½) − v,   y_new = y½ + h/2 v_new.   (14.1)

Take the step with −h from (y_new, v_new): it passes through the same y½, asks f the same
question, and reflects v_new back to v. One call of f a step, order two.

Reversible Heun (Kidger et al. 2021) carries a second state z, at the start z = y₀, and
its velocity:

    z_new = 2y − z + h f(t, z),   y_new = y + h/2 (f(t, z) + f(t_new, z_new)).  (14.2)

With −h from (y_new, z_new) the first line gives 2y_new − z_new − h f(t_new, z_new) = z. One call
a step, since f(t_new, z_new) is the next step's f(t, z); order two.

Any method Ψ, where Ψ_h(t, y) is the increment Σ b_i h k_i of its step (McCallum and Foster
2024), with a second state z and a coupling number λ a little less than one:

    y_new = λ y + (1 − λ) z + Ψ_h(t, z),   z_new = z − Ψ_{−h}(t_new, y_new).    (14.3)

Read backwards, each line can be undone, the second first:

    z = z_new + Ψ_{−h}(t_new, y_new),   y = ( y_new − (1 − λ) z − Ψ_h(t, z) ) / λ.   (14.4)

The order is that of Ψ, as h tends to 0; two evaluations of Ψ a step.

The trap. A step acts on two copies, the solution and the difference v − f or y − z that
started at nothing but its own errors, and on y' = μy the product of their factors, the
determinant of the step, is −1 in (14.1) and (14.2) and λ in (14.3). So where y falls by
e^{−x} a step, the difference grows by e^{x}, or by λ e^{x}, and on a decaying problem it ends
up larger than what is left of y; it is damped only if λ < e^{−x}. A smaller λ damps more,
and therefore (14.4) amplifies more: on the way back all factors are the inverse ones. Where y
neither grows nor falls, round-off grows by 1/λ a step, by λ⁻ⁿ in n. λ = 0.999 is the compromise
taken here: 2.7 after a thousand steps, 22,000 after ten thousand. Where y grows by e^{x} a step, the
round-off of e^{nx} at the end grows by e^{x} more, or e^{x}/λ, a step on the way back, while y itself
shrinks. From y₀ = 1 along y' = y to t = 20 and back, in steps of 0.05, none of the three meets y₀ again to
more than two digits; from t = 25, to any.

Next: one door to all of this (chapter 15).
"""

import numpy as np

from .dense import interpolant, stages_of
from .explicit import Grid
from .implicit import IMPLICIT_MIDPOINT
from .states import SolverError, copied, pose

COUPLING = 0.999


class AsynchronousLeapfrog:
    """(14.1); its state is (y, v)."""

    name, order = "asynchronous_leapfrog", 2

    def start(self, f, t, y):
        return y, f(t, y)

    def step(self, f, t, t_new, state):
        (y, v), h = state, t_new - t
        y_half = y + h / 2 * v                                                     # (14.1)
        v_new = 2 * f(t + h / 2, y_half) - v                                       # (14.1)
        return y_half + h / 2 * v_new, v_new                                       # (14.1)

    back = step


class ReversibleHeun:
    """(14.2); its state is (y, z, f(t, z))."""

    name, order = "reversible_heun", 2

    def start(self, f, t, y):
        return y, y, f(t, y)

    def step(self, f, t, t_new, state):
        (y, z, k), h = state, t_new - t
        z_new = 2 * y - z + h * k                                                  # (14.2)
        k_new = f(t_new, z_new)
        return y + h / 2 * (k + k_new), z_new, k_new                               # (14.2)

    back = step


class Reversible:
    """(14.3) and (14.4) around an explicit tableau; its state is (y, z)."""

    def __init__(self, tableau, coupling=COUPLING):
        self.name, self.order = f"reversible({tableau.name})", tableau.order
        self.tableau, self.coupling = tableau, coupling

    def increment(self, f, t, h, y):
        """Ψ_h(t, y)."""
        _, hK = stages_used(f, self.tableau, t, h, y)
        b = self.tableau.arrays[1][:len(hK)]
        return b.astype(y.real.dtype) @ hK                                         # (9.3) (14.3)

    def start(self, f, t, y):
        return y, y

    def step(self, f, t, t_new, state):
        (y, z), h, c = state, t_new - t, self.coupling
        y_new = c * y + (1 - c) * z + self.increment(f, t, h, z)                   # (14.3)
        return y_new, z - self.increment(f, t_new, -h, y_new)                      # (14.3)

    def back(self, f, t_new, t, state):
        (y_new, z_new), h, c = state, t_new - t, self.coupling
        z = z_new + self.increment(f, t_new, -h, y_new)                            # (14.4)
        return (y_new - (1 - c) * z - self.increment(f, t, h, z)) / c, z           # (14.4)


def stages_used(f, tableau, t, h, y):
    """Y_i and h k_i, (s, n) each, of the stages that a step from (t, y) depends on."""
    A, c, _ = stages_of(tableau, False)
    Y, hK = np.empty((2, len(c), *y.shape), y.dtype)
    for i in range(len(c)):
        Y[i] = y + A[i, :i].dot(hK[:i])                                            # (9.1) (14.3)
        hK[i] = h * f(t + c[i] * h, Y[i])                                          # (9.2) (14.3)
    return Y, hK


REVERSIBLE = (AsynchronousLeapfrog(), ReversibleHeun())
TWO_ENDS = interpolant(IMPLICIT_MIDPOINT)       # Hermite's cubic, from Δy and f at both ends


def reversible_steps(problem, method, grid, stats, max_steps=np.inf):
    """The steps of a reversible method along a `Grid`; their one increment is y_new − y.

    Raises SolverError where the new state is not finite, and after max_steps steps.
    """
    def f(t, y):
        stats.n_f += 1
        return copied(problem.y.dtype, problem.f(t, y) if stats.n_f > 1 else problem.first(t, y))

    state = None
    for t, t_new in grid:
        if state is None:
            state = method.start(f, t, problem.y)
        if stats.n_steps >= max_steps:
            raise SolverError(f"stopped at t = {t}: max_steps = {max_steps} were not enough", t)
        y, state = state[0], method.step(f, t, t_new, state)
        stats.n_steps += 1
        if not np.isfinite(state[0]).all():
            raise SolverError(f"the state is no longer finite after the step from t = {t} to {t_new}", t)
        stats.n_accepted += 1
        yield t, t_new - t, y, t_new, state[0], (state[0] - y)[None]


def round_trip(method, f, y0, t):
    """The state met at t[0] after stepping a reversible method along t and back.

    It is y0, but for what the way back makes of round-off.

    >>> from minode import methods
    >>> t, y0 = np.linspace(0.0, 5.0, 51), np.array([1.0, 0.5])
    >>> back = round_trip(methods["reversible_heun"], lambda t, y: np.sin(t) - y, y0, t)
    >>> bool(np.abs(back - y0).max() < 1e-13)
    True
    """
    problem = pose(f, y0, t)
    state = method.start(problem.f, float(problem.t[0]), problem.y)
    for t, t_new in Grid(problem.t):
        state = method.step(problem.f, t, t_new, state)
    for t, t_new in reversed(Grid(problem.t)):
        state = method.back(problem.f, t_new, t, state)
    return problem.unpack(state[0])

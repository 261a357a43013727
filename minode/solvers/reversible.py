"""14. Reversible methods

Solve forwards, then backwards from where you arrived: do you meet the states you came from? An
explicit Runge–Kutta method in general meets them up to its error and no better: its step with −h
from y_new is not the inverse of the step. (The leading errors of both steps, C h^{p+1} and
C (−h)^{p+1}, add up. For even p they cancel, and the round trip is of order h^{p+1}. For odd p
it is of order h^p.) A symmetric implicit method does meet them, but must solve an equation in
each step. Three kinds of explicit methods meet them exactly, in algebra. They carry a second
quantity beside the state.

Asynchronous leapfrog (Mutze 2013; Zhuang et al. 2021) carries a velocity v, which begins as
v = f(t₀, y₀). Each step reflects v in the velocity at the middle of the step, so that the mean of
v and v_new is f(t + h/2, y½):

    y½ = y + h/2 v,   v_new = 2 f(t + h/2, y½) − v,   y_new = y½ + h/2 v_new.   (14.1)

Take the step with −h from (y_new, v_new). It passes through the same y½, evaluates f there again,
and reflects v_new back to v. A step costs one call of f, and the order is two.

Reversible Heun (Kidger, Foster, Li and Lyons 2021) carries a second state z, which begins as
z = y₀, and its velocity:

    z_new = 2y − z + h f(t, z),   y_new = y + h/2 (f(t, z) + f(t_new, z_new)).  (14.2)

Take the step with −h from (y_new, z_new). The first formula gives
2y_new − z_new − h f(t_new, z_new), which is z, as both formulas show when they are inserted. Then
the second gives y. A step costs one call of f, since f(t_new, z_new) is the next step's f(t, z).
The order is two.

Any explicit method can be made reversible (McCallum and Foster 2024). Let Ψ_h(t, y) = Σ b_i h k_i
be the increment of its step. Carry a second state z, which begins as z = y₀, and choose a
coupling number c a little less than one:

    y_new = c y + (1 − c) z + Ψ_h(t, z),   z_new = z − Ψ_{−h}(t_new, y_new).    (14.3)

Each line can be undone, the second one first:

    z = z_new + Ψ_{−h}(t_new, y_new),   y = ( y_new − (1 − c) z − Ψ_h(t, z) ) / c.   (14.4)

A step evaluates Ψ twice. As h tends to 0, the order is that of Ψ.

How far does reversal reach? A step acts on two things: the solution, and the difference v − f or
y − z, which begins as the error of the first step. On y' = λy with x = hλ, (14.1) is a matrix
that takes (y, v) to (y_new, v_new), and (14.2) one that takes (y, z) to (y_new, z_new):

    [ 1 + x   h x/2 ]          [ 1 + x   x²/2  ]
    [ 2λ      x − 1 ],         [ 2       x − 1 ].

Both have the determinant −1, and (14.3) has the determinant c. The determinant is the product of
the factors by which the solution and the difference change. So if y falls by e^{−r} a step, the
difference grows by e^{r}, or changes by c e^{r}. On a decaying problem it ends up larger than
what is left of y, unless c e^{r} < e^{−r}, that is, c < e^{−2r}. Why not take a small c, then?
Because on the way back all factors are inverted, and the division by c in (14.4) amplifies
round-off. If y neither grows nor falls, round-off grows by 1/c a step. For c = 0.999, which is
used here, this makes a factor of 2.7 after a thousand steps and of 22,000 after ten thousand.

If y grows by e^{r} a step, it shrinks on the way back, while rounding errors of relative size u
at the end grow by a further e^{r}, or e^{r}/c, in each step. Take y' = y from y₀ = 1 to t = 20
and back in steps of 0.05. Leapfrog and reversible Heun miss y₀ by some thousandths or hundredths
of it, which depends on the rounding, and reversible("rk4") by about ten times y₀. From t = 25
all three miss it by far.

Figure 8 shows round trips of all kinds of methods, and figure 19 what the second copy costs.

Next: one function for every solve (chapter 15).
"""

import numpy as np

from .dense import dense_output
from .explicit import Grid
from .implicit_tables import IMPLICIT_MIDPOINT
from .states import SolverError, initial_value_problem

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
        """Ψ_h(t, y) = Σ b_i h k_i."""
        b, hK = self.tableau.arrays(y.dtype)[1], self.increments(f, t, h, y)
        return b[:len(hK)] @ hK                                                    # (14.3)

    def increments(self, f, t, h, y):
        """h k_i (r, n) of the stages that Ψ needs, by (9.1) and (9.2), without a last one of weight 0."""
        A, _, c = self.tableau.arrays(y.dtype)
        hK = np.empty((self.tableau.used, y.size), y.dtype)
        for i in range(len(hK)):
            hK[i] = h * f(t + c[i] * h, y + A[i, :i] @ hK[:i])
        return hK

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


REVERSIBLE = (AsynchronousLeapfrog(), ReversibleHeun())
TWO_ENDS = dense_output(IMPLICIT_MIDPOINT)      # (11.2): its one stage, of weight 1, stands for Δy


def reversible_steps(problem, method, grid, max_steps=np.inf):
    """Yield the steps (t, h, y, t_new, y_new, hK) of a reversible method along a `Grid`.

    hK has one row, the increment y_new − y. Raises SolverError if the new state is not finite, and after
    max_steps steps.
    """
    f, stats, state = problem.f, problem.stats, None
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

    In exact arithmetic it is y0. The difference is round-off, amplified on the way back.

    >>> from minode import methods
    >>> t, y0 = np.linspace(0.0, 5.0, 51), np.array([1.0, 0.5])
    >>> back = round_trip(methods["reversible_heun"], lambda t, y: np.sin(t) - y, y0, t)
    >>> bool(np.abs(back - y0).max() < 1e-13)
    True
    """
    problem = initial_value_problem(f, y0, t)
    state = method.start(problem.f, float(problem.t[0]), problem.y)
    for t, t_new in Grid(problem.t):
        state = method.step(problem.f, t, t_new, state)
    for t, t_new in reversed(Grid(problem.t)):
        state = method.back(problem.f, t_new, t, state)
    return problem.unflatten(state[0])

"""19. The same gradient in less memory

The backward pass of chapter 18 needs all n steps, and therefore stores them all. There are two ways to
store less by computing again. Checkpoints give the same gradients. Reversal gives them up to the round-off
of undoing the steps.

Checkpoints. Store the state at every m-th step only. To take back the steps between two of them, start from
the earlier one, take the steps forward again with everything stored, and go back through them as in
chapter 18. This stores n/m states, and those of s stages for each of the m steps that are taken again. The
sum n/m + s m is least for m = √(n/s). We leave out s, which depends on the method, and want m to be about
√n. A method that chooses its steps does not know n beforehand. So the spacing m starts at 1, and

    m ← 2m, and every second state is dropped, when 2m states are stored.     (19.1)

Just after this, m/2 + 1 states are stored (with the new m), and just before the next time 2m. Each stands
for m steps. So n lies between m²/2 and 2m², and m between √(n/2) and √(2n). The memory grows like √n, and
each step is computed twice. The times of all steps are stored, 8 bytes each, because a step that is taken
again must be the same step. (With several levels of checkpoints, as in Griewank's revolve, memory grows
like log n, but more must be computed again.)

Reversal. A reversible method (chapter 14) needs no tape. We store its whole state at the last time, and
undo each step before we differentiate it. For this we need the derivative of one step: from the cotangents
of all that comes out of it to those of all that goes in, last line first as always. A bar marks a
cotangent, the subscript "new" what comes out of the step, and ← a cotangent that gains a term. Asynchronous
leapfrog (14.1):

    v̄_new ← v̄_new + h/2 ȳ_new,     u = 2 v̄_new f_y(t + h/2, y½),
    ȳ = ȳ_new + u   (that of y½ too),     v̄ = h/2 ȳ − v̄_new.             (19.2)

Reversible Heun (14.2), whose k_new = f(t_new, z_new) enters y_new and the next step:

    k̄_new ← k̄_new + h/2 ȳ_new,     z̄_new ← z̄_new + k̄_new f_y(t_new, z_new),
    ȳ = ȳ_new + 2 z̄_new,     z̄ = −z̄_new,     k̄ = h/2 ȳ_new + h z̄_new.     (19.3)

A method made reversible (14.3), with its coupling c. J_h(t, y) is the derivative of Ψ_h(t, y) in y.
`reverse_step` of chapter 18 turns a row into the row times I + J_h:

    ȳ_new ← ȳ_new − z̄_new J_{−h}(t_new, y_new),
    z̄ = z̄_new + (1 − c) ȳ_new + ȳ_new J_h(t, z),     ȳ = c ȳ_new.        (19.4)

Whenever a row is multiplied by f_y, the same row times f_θ is added to b. At the start v = f(t₀, y₀),
z = y₀ and k = f(t₀, y₀), so their cotangents are passed on to y₀, and v̄ · f_t or k̄ · f_t to t₀.

The times, as in chapter 18: what does L gain if a step is moved with h held fixed, and if h grows? In
(14.1) h stands in three places: in y½, in y_new and in the time of f. In (14.2) it stands in z_new, in
y_new and in t_new. Each gives a term. With the v̄_new and ȳ of (19.2), and the k̄_new and z̄_new of (19.3),
all after their gains,

    dL/dt = 2 v̄_new · f_t(t + h/2, y½),     dL/dh = ½ (ȳ_new · v_new + ȳ · v + dL/dt),     (19.5)
    dL/dt = k̄_new · f_t(t_new, z_new),     dL/dh = z̄_new · k + ½ ȳ_new · (k + k_new) + dL/dt.     (19.6)

For (14.3) we use (18.7) and (18.8) for each of the two increments. Ψ_{−h} is a step from t_new to t.

As in chapter 14, the states met on the way back carry the round-off of the reversal. It is amplified by 1/c
in each step of a method with coupling c, and wherever the solution grew. Since y₀ is known, we check the
result: if the way back misses y₀ by more than a thousandth of its size, a SolverError is raised. Use
gradient="discrete" in that case.

Figure 51 shows what is kept when, and figure 25 the memory that each route takes.

Next: all routes behind one function (chapter 20).
"""

from array import array

import numpy as np

from ..inputs import read_only
from ..solvers.dense import dense_output
from ..solvers.explicit import Grid
from ..solvers.reversible import AsynchronousLeapfrog, Reversible, ReversibleHeun
from ..solvers.solve import run
from ..solvers.states import SolverError
from .discrete import Tape, backward_pass, flat_vjp, is_small, reverse_step, run_on_tape
from .step_times import end_of_steps, ends_of_steps
from .tape import outputs_on

LOST = 1e-3             # of y0, which the way back may miss


class Checkpoints:
    """A tape that stores the times of all steps, and every m-th state (19.1). `spacing` is m."""

    def __init__(self):
        self.spacing, self.times, self.states = 1, array("d"), []

    def append(self, step):
        t, h, y, _ = step
        if len(self.states) == 2 * self.spacing and len(self.times) % self.spacing == 0:
            self.spacing, self.states = 2 * self.spacing, self.states[::2]         # (19.1)
        if len(self.times) % self.spacing == 0:
            self.states.append(y)
        self.times.append(t)

    def stretches(self, end):
        """Yield, from the last to the first, a state and the times of the steps from it to the next one."""
        times = np.append(self.times, end)
        for n in reversed(range(len(self.states))):
            yield self.states[n], times[n * self.spacing:(n + 1) * self.spacing + 1]


def checkpoint(f, y0, t, theta, method, solver, backward=None):
    """The route of (19.1): the solve, and the way back, a function (cotangents, b) -> (a, b)."""
    checkpoints = Checkpoints()
    solution = run(f, y0, t, theta, checkpoints, **solver).solution
    times = solution.t

    def back(cotangents, b, ends=None):
        a = np.zeros(y0.shape)
        for y, grid in checkpoints.stretches(end_of_steps(solver, times)):
            outputs, g = outputs_on(times, grid, cotangents, ends)
            tape = [] if is_small(f, y0.size) else Tape(f, theta, method, may_choose_steps=False)
            run_on_tape(f, y.reshape(y0.shape), np.append(outputs, grid[-1]), theta, tape, method=method, grid=grid)
            a, b = backward_pass(f, theta, tape, method, outputs, g, a, b, ends)
        return (a, b) if checkpoints.states else backward_pass(f, theta, [], method, times, cotangents, a, b, ends)
    return solution, back


class Remembering:
    """A reversible method that remembers the states of its steps: all of them, or the last one alone."""

    def __init__(self, method, all_states):
        self.method, self.all_states, self.states = method, all_states, []
        self.name, self.back = method.name, method.back

    def remember(self, state):
        if not self.all_states:
            self.states.clear()
        self.states.append(state)
        return state

    def start(self, f, t, y):
        return self.remember(self.method.start(f, t, y))

    def step(self, f, t, t_new, state):
        return self.remember(self.method.step(f, t, t_new, state))


def reversible_route(f, y0, t, theta, method, solver, backward=None, all_states=False):
    """The route that undoes its steps, or remembers all states of them: the solve, and the way back."""
    remembering = Remembering(method, all_states)
    solution = run(f, y0, t, theta, **(solver | {"method": remembering})).solution
    grid = Grid(solution.t, solver.get("step_size"))

    def velocity(t, y):
        return f(t, y.reshape(y0.shape), theta).ravel()

    def vjp(t, y, a):
        return flat_vjp(lambda a: f.vjp(t, y.reshape(y0.shape), theta, a), y0)(read_only(a))

    def back(cotangents, b, ends=None):
        return undo_steps(method, velocity, vjp, remembering, solution, grid, cotangents, b, ends)
    return solution, back


def undo_steps(method, velocity, vjp, remembering, solution, grid, cotangents, b, ends=None):
    """Undo the steps along the `Grid`, from the last state: a (..., d) at the first state, and b (p,).

    `ends`, if given, are the `StepEnds` that gather dL/dt. SolverError if the way back misses the first state.
    """
    times, ys, shape = solution.t, solution.ys, cotangents.shape[1:]
    if not remembering.states:
        a = cotangents[1:].sum(axis=0)
        if ends is not None:
            ends.visit(times[:1], a.reshape(1, -1))
        return a, b
    *states, state = remembering.states
    bars = [np.zeros(part.shape) for part in state]
    for t, t_new in reversed(grid):
        bars[0] = bars[0] + cotangents[1:][times[1:] == t_new].sum(axis=0).ravel()
        if ends is not None:
            ends.visit([t_new], bars[:1])
        before = states.pop() if remembering.all_states else method.back(velocity, t_new, t, state)
        bars, b = STEPS_BACK[type(method)](method, velocity, vjp, t, t_new, before, state, bars, b, ends)
        state = before
    missed = np.abs(state[0] - ys[0].ravel()).max()
    if not missed <= LOST * (np.abs(ys[0]).max() or np.abs(ys).max()):
        raise SolverError(f"undoing the steps leads to a state {missed:.1e} away from y0: round-off grew too much "
                          "on the way back; gradient='discrete' keeps the states", float(times[0]), solution)
    a = bars[0] + cotangents[1:][times[1:] == times[0]].sum(axis=0).ravel()
    if ends is not None:
        ends.visit(times[:1], a[None])
    if isinstance(method, (ReversibleHeun, Reversible)):     # z = y₀ at the start
        a = a + bars[1]
    if isinstance(method, (AsynchronousLeapfrog, ReversibleHeun)):  # v or k = f(t₀, y₀) at the start
        a_f_y, a_f_theta = vjp(times[0], state[0], bars[-1])
        a, b = a + a_f_y, b + a_f_theta
        if ends is not None:
            ends.total[0] += bars[-1] @ ends.f_t_at(0.0, t, t_new - t, state[0])
    return a.reshape(shape), b


def leapfrog_back(method, velocity, vjp, t, t_new, before, after, bars, b, ends=None):
    (y, v), (_, v_new), (y_bar_new, v_bar_new), h = before, after, bars, t_new - t
    y_half, v_bar_new = y + h / 2 * v, v_bar_new + h / 2 * y_bar_new               # (19.2)
    u, u_theta = vjp(t + h / 2, y_half, 2 * v_bar_new)                             # (19.2)
    y_bar = y_bar_new + u                                                          # (19.2)
    if ends is not None:
        dL_dt = 2 * v_bar_new @ ends.f_t_at(0.5, t, h, y_half)                     # (19.5)
        ends.add_step(t, t_new, dL_dt, (y_bar_new @ v_new + y_bar @ v + dL_dt) / 2)  # (19.5)
    return [y_bar, h / 2 * y_bar - v_bar_new], b + u_theta                         # (19.2)


def heun_back(method, velocity, vjp, t, t_new, before, after, bars, b, ends=None):
    (_, _, k), (_, z_new, k_new), (y_bar_new, z_bar_new, k_bar_new), h = before, after, bars, t_new - t
    k_bar_new = k_bar_new + h / 2 * y_bar_new                                      # (19.3)
    k_bar_f_y, k_bar_f_theta = vjp(t_new, z_new, k_bar_new)                        # (19.3)
    z_bar_new = z_bar_new + k_bar_f_y                                              # (19.3)
    if ends is not None:
        dL_dt = k_bar_new @ ends.f_t_at(1.0, t, h, z_new)                          # (19.6)
        ends.add_step(t, t_new, dL_dt, z_bar_new @ k + y_bar_new @ (k + k_new) / 2 + dL_dt)  # (19.6)
    return [y_bar_new + 2 * z_bar_new, -z_bar_new, h / 2 * y_bar_new + h * z_bar_new], b + k_bar_f_theta  # (19.3)


def reversible_back(method, velocity, vjp, t, t_new, before, after, bars, b, ends=None):
    (_, z), (y_new, _), (y_bar_new, z_bar_new), h, c = before, after, bars, t_new - t, method.coupling
    z_bar_J, b, at_new, at_old = increment_back(method, velocity, vjp, t_new, -h, y_new, -z_bar_new, b, ends)
    y_bar_new = y_bar_new + z_bar_J                                                # (19.4)
    y_bar_J, b, at_start, at_end = increment_back(method, velocity, vjp, t, h, z, y_bar_new, b, ends)
    if ends is not None:
        ends.add(*np.array([[t], [t_new]]), at_start + at_old, at_end + at_new)
    return [c * y_bar_new, z_bar_new + (1 - c) * y_bar_new + y_bar_J], b           # (19.4)


def increment_back(method, velocity, vjp, t, h, y, bar, b, ends=None):
    """bar J_h(t, y), b plus bar times the derivative in θ, and what L gains if t moves and if t + h does."""
    table, hK = dense_output(method.tableau), method.increments(velocity, t, h, y)
    s, bars = len(hK), np.empty((2, *hK.shape))
    Y = (y + table.A[:s, :s] @ hK).astype(y.dtype, copy=False)
    vjps = [lambda k_bar, i=i: vjp(t + table.c[i] * h, Y[i], k_bar) for i in range(s)]
    a, b = reverse_step(table, h, vjps, bar, b, bars=bars)
    if ends is None:
        return a - bar, b, None, None
    c, t, h, shape, k_bar = table.c[:s], np.array([t]), np.array([h]), ends.ys.shape[1:], bars[0]
    f_t = ends.f_t(c, t, h, Y.reshape(s, 1, *shape)).reshape(s, 1, -1)
    return a - bar, b, *ends_of_steps(c, h, k_bar[:, None], np.vdot(k_bar, hK / h), f_t)


STEPS_BACK = {AsynchronousLeapfrog: leapfrog_back, ReversibleHeun: heun_back, Reversible: reversible_back}

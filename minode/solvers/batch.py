"""12. A step size for each trajectory

A batch of B trajectories can be integrated as one system of B d components. The error norm is then a mean
over all of them. This has two costs. The easy trajectories must take the short steps of the hard one. And
the error of the hard one is diluted by theirs, so that it may exceed the tolerance. (With a maximum in
place of the mean it does not, but then everyone takes even shorter steps.)

The alternative is to give trajectory r its own time t_r and its own step h_r, and still to compute all of
them as arrays. Let σ be the fraction of a trajectory's step that has passed: t = t_r + σ h_r. With σ as
the independent variable the equations are

    dy_r/dσ = h_r f(t_r + σ h_r, y_r),   0 ≤ σ ≤ 1,                      (12.1)

and a step of every trajectory is a step of length 1, the same for all. So one step of chapter 9, with
t = 0 and h = 1, takes them all. The norm (10.3) runs over the d components of one trajectory, and each
trajectory moves on or stays according to its own error:

    E_r = ( 1/d Σ_i (e_ri / sc_ri)² )^{1/2},                             (12.2)
    t_r ← t_r + h_r,   y_r ← y_new,r   if E_r < 1.                       (12.3)

The controller (10.4) is a formula, and takes arrays as well as numbers. In each pass, all trajectories
that have not arrived try one step. Those that succeed move on. Those that fail keep their state and get a
shorter step. Those that arrive leave the arrays. A pass costs one call of f on a matrix for each stage
after the first (and one more without FSAL), and there are about as many passes as the slowest trajectory
has steps. No trajectory sees another, so up to rounding the result is what solving each alone would give.

f must be able to take a time per trajectory, `t` of shape (B,). It is called with fewer rows as
trajectories arrive. When dop853 interpolates, it is called with one row for each state to be found. So
before the first step we check that f gives a row of a batch, at a time of its own, the same value as
the row alone.

Figure 16 shows what a step in common costs, and what (12.2) saves.

Next: equations to be solved in every step (chapter 13).
"""

import numpy as np

from ..inputs import as_rows_velocity, as_times_between, check_rows_velocity, size_by
from .adaptive import (LARGEST_E, SMALLEST_E, SMALLEST_E_PREV, Controller, error_size, first_step,
                       underflow)
from .dense import all_increments, known_states, require_finite, weights_at
from .explicit import explicit_step
from .states import Solution, SolverError
from .steps import steps_on


def unit_velocity(f, t, h):
    """The right-hand side of (12.1) for steps from t (m,): (σ, y) -> dy/dσ, of flat states (m d,)."""
    velocity = as_rows_velocity(f)

    def dy_dsigma(sigma, y):
        y = y.reshape(len(t), -1)
        return (h[:, None] * velocity(t + sigma * h, y)).ravel()                   # (12.1)
    return dy_dsigma


def row_norms(tolerances, d):
    """The function measure(error, scale), which gives E_r (m,) for the m d components of m trajectories."""
    def measure(error, scale):
        error, scale = error.reshape(-1, d), scale.reshape(-1, d)
        if tolerances.norm is not None:
            return np.array([size_by(tolerances.norm, e, sc) for e, sc in zip(error, scale)])
        r = np.abs(error) / scale
        return np.sqrt(np.sum(r * r, axis=1) / d)                                  # (12.2)
    return measure


def trajectory_steps(problem, tableau, tolerances, controller=Controller(), h=None, max_steps=np.inf, max_step=np.inf):
    """Yield the passes of a batch from the first time to the last, each trajectory with its own steps.

    A pass is (ids, accepted, t, h, y, t_new, y_new, hK) of the m trajectories that tried a step: t, h and
    t_new are (m,), y and y_new (m, d), hK (·, m, d). problem.f is f(t, y) for times (m,) and states
    (m, d). Raises SolverError if any trajectory cannot go on.
    """
    (B, d), stats, end, f = problem.y.shape, problem.stats, float(problem.t[-1]), as_rows_velocity(problem.f)
    measure, q = row_norms(tolerances, d), tableau.error_order
    sign, no_further = (1.0, np.minimum) if end >= problem.t[0] else (-1.0, np.maximum)  # stop at the end
    ids, t, y = np.arange(B), np.full(B, float(problem.t[0])), problem.y
    check_rows_velocity(f, t, y, end)
    k = f(t, y)
    stats.n_f += 1
    check_initial_velocity(k, t)
    if h is None:
        h = first_step(f, t, y, k, sign, np.minimum(abs(end - t), max_step), q, tolerances, measure, np.vectorize)
        stats.n_f += 1
    h, E_prev = np.full(B, np.minimum(h, max_step)), np.full(B, np.nan)
    is_retry, n_passes = np.zeros(B, dtype=bool), 0
    while ids.size:
        check_steps(ids, t, h, is_retry, n_passes, max_steps, tableau)
        n_passes += 1
        t_new = no_further(t + sign * np.maximum(h, 10 * np.spacing(abs(t))), end)
        h = t_new - t
        y_new, hk_new, hK = (x.reshape(*x.shape[:-1], -1, d) for x in explicit_step(
            unit_velocity(problem.f, t, h), tableau, 0.0, 1.0, y.ravel(), (h[:, None] * k).ravel()))
        k_new = hk_new / h[:, None]                                                # in (12.1) the velocity is h f
        E = row_errors(tableau, hK, tolerances.of(ids), y, y_new, measure)
        accepted = E < 1                                                           # (12.3)
        if not tableau.is_fsal:
            k_new = np.zeros_like(y)
            if accepted.any():
                k_new[accepted] = f(t_new[accepted], y_new[accepted])
            hK = np.concatenate([hK, h[:, None] * k_new[None]], dtype=y.dtype)     # for Hermite's cubic
        stats.n_f[ids] += tableau.stages - 1 + (0 if tableau.is_fsal else accepted)
        stats.n_steps[ids] = n_passes
        stats.n_accepted[ids] += accepted
        yield ids, accepted, t, h, y, t_new, y_new, hK
        h = np.minimum(next_h(controller, h, E, E_prev, accepted, is_retry, q), max_step)
        t = np.where(accepted, t_new, t)                                           # (12.3)
        y = np.where(accepted[:, None], y_new, y)                                  # (12.3)
        k = np.where(accepted[:, None], k_new, k)
        E_prev, is_retry = np.where(accepted, np.maximum(E, SMALLEST_E_PREV), E_prev), ~accepted
        going = t != end
        ids, t, h, y, k, E_prev, is_retry = (x[going] for x in (ids, t, h, y, k, E_prev, is_retry))


def row_errors(tableau, hK, tolerances, y, y_new, measure):
    """E_r (m,) of a pass; LARGEST_E if a state is not finite."""
    E = error_size(tableau, hK[:tableau.stages].reshape(tableau.stages, -1),
                   tolerances.scale(y.ravel(), y_new.ravel()), measure)
    E = np.where(np.isfinite(y_new).all(axis=1) & ~np.isnan(E), E, LARGEST_E)
    return np.clip(E, SMALLEST_E, LARGEST_E)


def next_h(controller, h, E, E_prev, accepted, is_retry, q):
    """The size of the next step of each trajectory, (10.4) within its limits."""
    ignores_E_prev = ~accepted | is_retry | np.isnan(E_prev)
    factor = controller.factor(E, np.where(ignores_E_prev, E, E_prev), q)
    most = np.where(is_retry, 1.0, controller.max_factor)
    least = np.where(accepted, 0.0, controller.min_factor)
    return abs(h) * np.minimum(np.maximum(factor, least), most)


def check_initial_velocity(k, t):
    is_finite = np.isfinite(k).all(axis=1)
    if not is_finite.all():
        raise SolverError(f"trajectory {np.argmin(is_finite)}: f is not finite at the initial state, t = {t[0]}", t[0])


def check_steps(ids, t, h, is_retry, n_passes, max_steps, tableau):
    """SolverError after max_steps passes, or if a step is too small to try again."""
    if n_passes >= max_steps:
        raise SolverError(f"stopped trajectory {ids[0]} at t = {t[0]}: max_steps = {max_steps} "
                          "were not enough", t[0])
    smallest = 10 * np.spacing(abs(t))
    is_stuck = is_retry & ~(h >= smallest)
    if is_stuck.any():
        i = np.argmax(is_stuck)
        raise SolverError(f"trajectory {ids[i]}: {underflow(t[i], smallest[i], tableau)}", t[i])


def rows_inside(dense, sigma, y, hK):
    """The states (m, d) by (11.1), each at its own sigma (m,) of its own step: y is (m, d), hK (r, m, d)."""
    return y + np.einsum("jm,jmd->md", weights_at(dense, sigma), hK)


def all_row_increments(f, dense, t, h, y, hK):
    """hK (s, m, d) of m steps, extended by the rows that only the dense output needs."""
    flat = all_increments(unit_velocity(f, t, h), dense, 0.0, 1.0, y.ravel(), hK.reshape(len(hK), -1))
    return flat.reshape(len(flat), *y.shape)


def collect_trajectories(problem, passes, dense, tape, report):
    """Run the passes and keep each trajectory's states at the output times, and the steps on the tape."""
    (B, d), t_out, stats = problem.y.shape, problem.t, problem.stats
    sign = 1.0 if t_out[-1] >= t_out[0] else -1.0
    ys = np.empty((len(t_out), B, d), problem.y.dtype)
    start = int(np.searchsorted(sign * t_out, sign * t_out[0], side="right"))
    ys[:start] = problem.y
    n_done, reached = np.full(B, start), (np.full(B, t_out[0]), problem.y.copy())   # of each trajectory
    try:
        with np.errstate(all="ignore"):
            for ids, accepted, t, h, y, t_new, y_new, hK in passes if start < len(t_out) else ():
                if tape is not None:
                    tape.append((ids[accepted], t[accepted], h[accepted], y[accepted], hK[:, accepted]))
                    reached[0][tape[-1][0]], reached[1][tape[-1][0]] = t_new[accepted], y_new[accepted]
                write_outputs(problem, dense, ys, n_done, sign, ids[accepted], t[accepted], h[accepted], y[accepted],
                              t_new[accepted], y_new[accepted], hK[:, accepted])
                if report is not None:
                    report(np.where(accepted, t_new, t))
    except SolverError as error:
        error.solution = Solution(t_out[:n_done.min()], ys[:n_done.min()], stats, steps=steps_on(tape, *reached))
        raise
    finally:
        stats.n_rejected = stats.n_steps - stats.n_accepted
    return Solution(t_out, ys, stats, steps=steps_on(tape, *reached))


def write_outputs(problem, dense, ys, n_done, sign, ids, t, h, y, t_new, y_new, hK):
    """Into ys the states of these m trajectories at all output times that their steps reached."""
    awaited = np.append(problem.t, sign * np.inf)
    is_inside = sign * awaited[n_done[ids]] < sign * t_new
    if is_inside.any():
        rows = np.zeros((len(dense.P), *y.shape), y.dtype)
        rows[:, is_inside] = all_row_increments(problem.f, dense, t[is_inside], h[is_inside], y[is_inside],
                                                hK[:, is_inside])
        problem.stats.n_f[ids[is_inside]] += len(dense.P) - len(hK)
    while (is_reached := sign * awaited[n_done[ids]] <= sign * t_new).any():
        j = np.flatnonzero(is_reached)
        due, values = awaited[n_done[ids[j]]], y_new[j]
        inside = due != t_new[j]
        i = j[inside]
        if i.size:
            values[inside] = rows_inside(dense, (due[inside] - t[i]) / h[i], y[i], rows[:, i])
            require_finite(values, due, ids[j])
        ys[n_done[ids[j]], ids[j]] = values
        n_done[ids[j]] += 1


class TrajectoryInterpolation:
    """interpolate(t) for a batch whose trajectories took their own steps, from the passes on the tape and ys.

    When it is copied or pickled, the increments that only the dense output needs are computed for all steps.
    """

    def __init__(self, problem, dense, tape, ys):
        self.f, self.stats, self.dense = problem.f, problem.stats, dense
        self.t, self.ys = problem.t.copy(), ys.copy()        # those of the solution are the caller's
        self.sign = 1.0 if self.t[-1] >= self.t[0] else -1.0
        if len(tape):
            self.ids, *self.steps = (np.concatenate([entry[i] for entry in tape]) for i in range(4))
            self.steps.append(np.concatenate([entry[4] for entry in tape], axis=1))
            self.of_trajectory = [np.flatnonzero(self.ids == r) for r in range(ys.shape[1])]  # its steps, in order

    def __getstate__(self):
        complete = {}
        if hasattr(self, "steps"):
            *steps, hK = self.steps
            with np.errstate(all="ignore"):
                complete = {"steps": [*steps, all_row_increments(self.f, self.dense, *steps, hK)]}
            np.add.at(self.stats.n_f, self.ids, len(self.dense.P) - len(hK))
        return self.__dict__ | complete | {"f": None}

    def __call__(self, t):
        """The states at t, a number or an array of any shape inside the span: (*t.shape, B, d)."""
        times, (_, B, d) = as_times_between(self.t[0], self.t[-1], t), self.ys.shape
        if not hasattr(self, "steps"):
            return np.broadcast_to(self.ys[0], (*times.shape, B, d)).copy()
        starts = self.sign * self.steps[0]
        step = np.stack([steps[np.searchsorted(starts[steps], self.sign * times.ravel(), "right") - 1]
                         for steps in self.of_trajectory], axis=1).ravel()
        start, h, y, hK = (part[..., step, :] if part.ndim > 1 else part[step] for part in self.steps)
        clock, ids = np.repeat(times.ravel(), B), self.ids[step]
        with np.errstate(all="ignore"):                      # an overflow is a SolverError
            rows = all_row_increments(self.f, self.dense, start, h, y, hK)
            np.add.at(self.stats.n_f, ids, len(self.dense.P) - len(hK))
            flat = rows_inside(self.dense, (clock - start) / h, y, rows)
        known_states(flat.reshape(times.size, B, d), self.sign * times.ravel(), self.sign * self.t, self.ys)
        require_finite(flat, clock, ids)
        return flat.reshape(*times.shape, B, d).astype(self.ys.dtype, copy=False)

"""12. A step size for each trajectory

A batch of B trajectories can be integrated as one system of B d components. The error
norm is then a mean over all of them: the easy ones pay for the steps of the hard one, and
the hard one, its error diluted by theirs, is solved less accurately than it was asked to.
(With a maximum in place of the mean it is not, and everyone pays more.)

The alternative is to give trajectory r its own time t_r, its own step h_r and its own
verdict, and still to compute all of them as arrays:

    Y_ir = y_r + Σ_j a_ij h_r k_jr,   E_r = ‖e_r / sc_r‖,   t_r ← t_r + h_r where E_r < 1.   (12.1)

The step is that of chapter 9: with a component of all trajectories in a row, (d, B), its t
and h may be vectors. The norm runs along the components of one trajectory; the controller
(10.4) is a formula, and takes arrays as well as numbers. In each pass all the trajectories
that are not done try one step, those that succeed move on, those that fail keep their state
and get a shorter step, and those that reach the end leave the arrays. A pass costs one call
of f on a matrix for each stage but the first, and there are about as many passes as the slowest
trajectory has steps. No trajectory sees another, so the result is what solving each alone
would give.

f must be able to take a time per trajectory, `t` of shape (B,). It is called with
fewer rows as trajectories finish, and by dop853's `interpolate` with one for each state asked for.

Next: equations to be solved in every step (chapter 13).
"""

import numpy as np

from .adaptive import SMALLEST_E, SMALLEST_E_PREV, Controller, error_estimator, first_step, underflow
from .dense import all_increments, evaluate, require_finite
from .explicit import Stats, explicit_stepper
from .states import Solution, SolverError, as_real, as_real_as, as_size


def trajectory_steps(problem, tableau, tolerances, stats, controller=Controller(), h=None, max_steps=np.inf):
    """The passes of a batch from the first time to the last, each trajectory with its own steps.

    A pass is (ids, accepted, t, h, y, t_new, y_new, hK) of m trajectories that tried a step each: t, h and
    t_new are (m,), y and y_new (m, d), hK (·, m, d). problem.f is f(t, y) for times (m,) and states
    (m, d). In here a state is (d, m), each component a row, so that whatever a trajectory has one
    of, (m,), broadcasts against it. Raises SolverError where any trajectory cannot go on.
    """
    B, d = problem.y.shape
    y, end = problem.y.T.copy(), float(problem.t[-1])
    sign, no_further = (1.0, np.minimum) if end >= problem.t[0] else (-1.0, np.maximum)
    ids, t = np.arange(B), np.full(B, float(problem.t[0]))

    def f(t, y):
        return np.asarray(problem.f(t, y.T)).T
    k = np.array(problem.first(t, problem.y).T)
    stats.n_f += 1
    if not np.isfinite(k).all():
        i = np.argmin(np.isfinite(k).all(axis=0))
        raise SolverError(f"trajectory {i}: f is not finite at the initial state, t = {t[0]}", t[0])

    def measure(error, scale):
        error = error.reshape(scale.shape)
        if tolerances.norm is not None:
            return np.array([as_size(tolerances.norm(e, sc)) for e, sc in zip(error.T, scale.T)])
        r = np.abs(error) / scale
        return np.sqrt((r * r).sum(axis=0) / d)                                    # (12.1)

    q, estimate = error_estimator(tableau, measure)
    if h is None:
        h = first_step(f, t, y, k, sign, abs(end - t), q, tolerances, measure)
        stats.n_f += 1
    else:
        h = np.full(B, h)
    hK, step = explicit_stepper(f, tableau, y, Stats())
    stages = hK[:tableau.stages].reshape(tableau.stages, -1)
    size, E_prev, rejected = np.abs(y), np.full(B, np.nan), np.zeros(B, dtype=bool)
    passes = 0

    while ids.size:
        smallest = 10 * np.spacing(abs(t))
        if passes >= max_steps:
            raise SolverError(f"stopped trajectory {ids[0]} at t = {t[0]}: max_steps = {max_steps} "
                              "were not enough", t[0])
        stuck = rejected & ~(h >= smallest)
        if stuck.any():
            i = np.argmax(stuck)
            raise SolverError(f"trajectory {ids[i]}: {underflow(t[i], smallest[i], tableau)}", t[i])
        t_new = no_further(t + sign * np.maximum(h, smallest), end)
        h = t_new - t
        y_new, k_new = step(t, h, y, k)                                            # (12.1)
        passes += 1
        size_new = np.abs(y_new)
        E = estimate(stages, tolerances.scale(np.maximum(size, size_new)))
        E[~np.isfinite(y_new).all(axis=0)] = np.nan
        accepted = E < 1                                                           # (12.1)
        calls = tableau.stages - 1
        if not tableau.is_fsal:
            k_new = np.copy(k)
            if accepted.any():
                k_new[:, accepted] = as_real_as(y.dtype, f(t_new[accepted], y_new[:, accepted]))
            np.multiply(h, k_new, out=hK[-1])
            calls = calls + accepted
        k_new = np.array(k_new)                  # f may write its next answer into the same array
        stats.n_f[ids] += calls
        stats.n_steps[ids] = passes
        stats.n_accepted[ids] += accepted
        yield ids, accepted, t, h, y.T, t_new, y_new.T, hK.transpose(0, 2, 1)

        E = np.fmin(np.maximum(E, SMALLEST_E), 1 / SMALLEST_E)                     # NaN is the largest
        steady = ~accepted | rejected | np.isnan(E_prev)
        factor = controller.factor(E, np.where(steady, E, E_prev), q)
        most = np.where(rejected, 1.0, controller.max_factor)
        least = np.where(accepted, 0.0, controller.min_factor)
        h = abs(h) * np.minimum(np.maximum(factor, least), most)
        if accepted.all():
            t, y, k, size = t_new, y_new, k_new, size_new                          # (12.1)
        else:
            t = np.where(accepted, t_new, t)                                       # (12.1)
            y, k, size = (np.where(accepted, new, old)
                          for new, old in ((y_new, y), (k_new, k), (size_new, size)))
        E_prev, rejected = np.where(accepted, np.maximum(E, SMALLEST_E_PREV), E_prev), ~accepted
        going = t != end
        if not going.all():
            rest = np.flatnonzero(going)
            ids, t, h, E_prev, rejected = (x[rest] for x in (ids, t, h, E_prev, rejected))
            y, k, size = (x.take(rest, axis=1) for x in (y, k, size))
            hK, step = explicit_stepper(f, tableau, y, Stats())
            stages = hK[:tableau.stages].reshape(tableau.stages, -1)


def collect_trajectories(problem, passes, interpolant, stats, tape, tell):
    """Run the passes and keep each trajectory's states at the output times, and the steps on the tape."""
    B, d = problem.y.shape
    t_out, N = problem.t, len(problem.t)
    sign = 1.0 if t_out[-1] >= t_out[0] else -1.0
    ys = np.empty((N, B, d), problem.y.dtype)
    start = int(np.searchsorted(sign * t_out, sign * t_out[0], side="right"))
    ys[:start] = problem.y
    due, awaited = np.full(B, start), np.append(t_out, sign * np.inf)

    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for ids, accepted, t, h, y, t_new, y_new, hK in passes if start < N else ():
                if tape is not None:
                    tape.append((ids[accepted], t[accepted], h[accepted], y[accepted], hK[:, accepted]))
                next_out, rows = awaited[due[ids]], None
                while (reached := accepted & (sign * next_out <= sign * t_new)).any():
                    j = np.nonzero(reached)[0]
                    values = y_new[j]
                    inside = next_out[j] != t_new[j]
                    if inside.any():
                        i = j[inside]
                        if rows is None:                 # all that this pass will ever need of them
                            rows, calls = all_increments(problem.f, interpolant, t[i], h[i], y[i], hK[:, i])
                            stats.n_f[ids[i]] += calls
                            row_of = np.cumsum(np.isin(np.arange(len(ids)), i)) - 1
                        theta = (next_out[i] - t[i]) / h[i]
                        values[inside] = evaluate(interpolant, theta, y[i], rows[:, row_of[i]])
                        require_finite(values, next_out[j], ids[j])
                    ys[due[ids[j]], ids[j]] = values
                    due[ids[j]] += 1
                    next_out = awaited[due[ids]]
                if tell is not None:
                    tell(np.where(accepted, t_new, t))
    except SolverError as error:
        reached = int(due.min())
        error.solution = Solution(t_out[:reached], ys[:reached], stats)
        raise
    finally:
        stats.n_rejected = stats.n_steps - stats.n_accepted
    return Solution(t_out, ys, stats)


def between_trajectories(problem, tape, interpolant, stats):
    """interpolate(t) for a batch whose trajectories took their own steps, from the passes on the tape."""
    B, d = problem.y.shape
    ids, starts, h, y = (np.concatenate([entry[i] for entry in tape]) for i in range(4)) if tape else [[]] * 4
    hK = np.concatenate([entry[4] for entry in tape], axis=1) if tape else None
    first, last = problem.t[0], problem.t[-1]
    sign = 1.0 if last >= first else -1.0
    order = np.lexsort((sign * starts, ids)) if tape else []

    def interpolate(t):
        """The states at t, a number or an array of any shape inside the span: (*t.shape, B, d)."""
        times = as_real("t", t).astype(np.float64)
        if (sign * times < sign * first).any() or (sign * times > sign * last).any():
            raise ValueError(f"t must lie between {first} and {last}, not {times}")
        if not tape:
            return np.broadcast_to(problem.y, (*times.shape, B, d)).copy()
        cuts = np.searchsorted(ids[order], np.arange(B + 1))
        step = np.stack([order[i + np.searchsorted(sign * starts[order[i:j]], sign * times.ravel(), "right") - 1]
                         for i, j in zip(cuts, cuts[1:])], axis=1).ravel()
        rows, calls = all_increments(problem.f, interpolant, starts[step], h[step], y[step], hK[:, step])
        np.add.at(stats.n_f, ids[step], calls)
        clock = np.repeat(times.ravel(), B)
        flat = evaluate(interpolant, (clock - starts[step]) / h[step], y[step], rows)
        require_finite(flat, clock, ids[step])
        return flat.reshape(*times.shape, B, d).astype(problem.y.dtype, copy=False)
    return interpolate

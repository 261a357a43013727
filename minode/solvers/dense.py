"""11. Between the steps

A step knows y at both its ends and s velocities inside. What lies between, at t + θh,
is a polynomial in θ, and like the step itself a weighted sum of increments, with
weights that depend on θ. (Here, and in b_j(θ) and `theta_out` later, θ is the part of
the step that has passed; elsewhere it is the parameters.)

    y(t + θh) ≈ y + Σ_j b_j(θ) h k_j,     b_j(θ) = Σ_m P_jm θᵐ.          (11.1)

At θ = 1 the weights are those of the method, b_j(1) = b_j. A dense output is of order q
if it meets the order conditions of chapter 7, for all trees with up to q nodes, with
b_j(θ) for b_j and with the right-hand side of a tree of n nodes multiplied by θⁿ.
dopri5 has such weights of order 4 (Shampine 1986) and tsit5 too; dop853 has weights of
order 7 at the price of three more velocities, taken only where the state between is
asked for.

Any other method gets the cubic that has the right values and slopes at both ends
(Hermite). With Δy = Σ b_j h k_j, and with h k at the left end and h k' at the right,

    y + (3θ² − 2θ³) Δy + (θ − 2θ² + θ³) h k + (θ³ − θ²) h k',            (11.2)

which is right through θ³ and wrong by a multiple of h⁴. That costs methods up to order
4 no order, though it can be many times the error at the steps (fehlberg45); it costs
cash_karp, kvaerno5, radau5, gauss6 and reversible("dopri5") theirs. No one controls it. It needs
f at both ends; an explicit method has the first, and the second is the first stage of the
next step, or one more call.

Output times do not change the steps of an adaptive method: a solve asked for a hundred
times and one asked for two take the same steps, and the other 98 states come from here.
A method of fixed steps stops at each of them (chapter 9).

Next: a step size for each trajectory (chapter 12).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .states import SolverError, as_real, as_real_as


class Interpolant(NamedTuple):
    """P (·, q) of (11.1), and what its rows beyond the method's own stages are: rows of A, and c."""

    P: np.ndarray
    extra: list


@lru_cache(maxsize=None)
def interpolant(tableau):
    """The dense output of a method, its own where it has one, Hermite's cubic elsewhere.

    >>> from minode import methods
    >>> interpolant(methods["euler"]).P @ [0.5, 0.25, 0.125]     # θ = 1/2: of h k, and of h k'
    array([ 0.625, -0.125])
    """
    _, b, _ = tableau.arrays
    s = tableau.stages
    at_end = [] if tableau.is_fsal else [(b, 1.0)]
    if tableau.dense is not None:
        rows = [np.array(row, dtype=float) for row in tableau.dense_A]
        return Interpolant(np.array(tableau.dense, dtype=float), at_end + [(row, row.sum()) for row in rows])
    at_start = [] if tableau.starts_with_velocity else [(np.zeros(s), 0.0)]
    extra = at_end + at_start
    P = np.zeros((s + len(extra), 3))
    P[:s] = b[:, None] * [0, 3, -2]                                                # (11.2)
    P[-1 if at_start else 0] += [1, -2, 1]                                          # (11.2)
    P[s - 1 if tableau.is_fsal else s] += [0, -1, 1]                               # (11.2)
    return Interpolant(P, extra)


@lru_cache(maxsize=None)
def stages_of(tableau, is_dense):
    """A (s, s), c (s,) and W (s, s + 1) of the stages that a step depends on.

    They are those up to the last that b uses; or where `is_dense` all, those of the dense output too,
    whose weight in the step is 0. Row i of W tells what k_i is used for: a_1i, …, a_si, b_i.

    >>> from minode import methods
    >>> stages_of(methods["midpoint"], False)[2]
    array([[0. , 0.5, 0. ],
           [0. , 0. , 1. ]])
    """
    A, b, c = tableau.arrays
    dense, used = interpolant(tableau), np.flatnonzero(b)[-1] + 1
    s = len(dense.P) if is_dense else used
    own, A_all, c_all, b_all = min(s, tableau.stages), np.zeros((s, s)), np.zeros(s), np.zeros((s, 1))
    A_all[:own, :own], c_all[:own], b_all[:own, 0] = A[:own, :own], c[:own], b[:own]
    for i, (row, node) in enumerate(dense.extra[:s - own], start=own):
        A_all[i, :len(row)], c_all[i] = row, node
    return A_all, c_all, np.concatenate([A_all.T, b_all], axis=1)


def all_increments(f, interpolant, t, h, y, hK):
    """hK with the rows that only the dense output needs, and how many calls of f they took.

    t and h are numbers, y is (n,) and hK (·, n); or, for many steps at once, t and h are (m,),
    y is (m, n) and hK (·, m, n).
    """
    missing = len(interpolant.P) - len(hK)
    if not missing:
        return hK, 0
    rows, h_column = list(hK), np.asarray(h)[..., None]
    for a, c in interpolant.extra[len(interpolant.extra) - missing:]:
        Y = y + np.tensordot(a, np.array(rows[:len(a)]), 1)
        rows.append(h_column * as_real_as(y.dtype, np.asarray(f(t + c * h, Y.astype(y.dtype)))))
    return np.array(rows), missing


def weights_at(interpolant, theta):
    """b_j(θ) of (11.1) for a number or an array theta: (·, *theta.shape)."""
    P, theta = interpolant.P, np.asarray(theta)
    powers = theta.ravel() ** np.arange(1, P.shape[1] + 1)[:, None]
    return (P @ powers).reshape(len(P), *theta.shape)                              # (11.1)


def evaluate(interpolant, theta, y, hK):
    """The state at t + θh (11.1) from all increments; theta a number, or (m,) for many steps."""
    return y + np.einsum("j...,j...n->...n", weights_at(interpolant, theta), hK)   # (11.1)


def finite_rows(ys):
    """How many rows of ys (m, n) come before the first that is infinite or NaN somewhere: m where none is."""
    return int(np.append(np.isfinite(ys).all(axis=1), False).argmin())


def require_finite(ys, t, ids=None):
    """SolverError at the first of the times t (m,) whose state between two steps, a row of ys, is not finite.

    `ids` (m,) are the numbers of the trajectories, where each takes its own steps.
    """
    m = finite_rows(ys)
    if m < len(ys):
        who = "" if ids is None else f"trajectory {ids[m]}: "
        raise SolverError(f"{who}the state is not finite between the steps, at t = {t[m]}", float(t[m]))


def between(problem, tape, interpolant, stats):
    """interpolate(t), the state at any times in the span, from the steps (t, h, y, hK) on the tape.

    Increments that only the dense output needs are computed when first asked for, and kept.
    """
    first, last = problem.t[[0, -1]].tolist()
    sign = 1.0 if last >= first else -1.0
    begin, end, starts = sign * first, sign * last, sign * np.array([step[0] for step in tape])

    def interpolate(t):
        """The states at t, a number or an array of any shape inside the span: (*t.shape, ...)."""
        times = as_real("t", t).astype(np.float64)
        clock = sign * times.ravel()
        if clock.size and not begin <= clock.min() <= clock.max() <= end:
            raise ValueError(f"t must lie between {first} and {last}, not {times}")
        flat = np.empty((times.size, problem.y.size), problem.y.dtype)
        flat[:] = problem.y
        inside = starts.searchsorted(clock, side="right") - 1
        for n in sorted(set(inside.tolist())) if tape else ():
            t_n, h, y, hK = tape[n]
            hK, calls = all_increments(problem.f, interpolant, t_n, h, y, hK)
            stats.n_f += calls
            tape[n] = t_n, h, y, hK
            here = inside == n
            flat[here] = evaluate(interpolant, (times.ravel()[here] - t_n) / h, y, hK[:, None])
        require_finite(flat, times.ravel())
        return problem.unpack(flat.reshape(*times.shape, problem.y.size))
    return interpolate

"""31. Learning from measurements

Measurements come at irregular times, with noise, and each trajectory has times of its own. A neural ODE
takes them as they are, because its solution exists at every time. No measurement has to be moved to a grid.

The loss. Let x_ijc be the measurement of component c of trajectory j at time t_i, and w_ijc its weight,
which is 0 if nothing was measured there. With W = Σ w, the loss is a mean square,

    L = Σ_ijc w_ijc (y_jc(t_i) − x_ijc)² / W.                            (31.1)

If the noise is normal with a standard deviation σ for each measurement, and w = 1/σ², then minimising L
maximises the likelihood. If all w are 1 and all σ are equal, the true model leaves L ≈ σ². A model that
leaves much less has learnt the noise. Part III needs the derivatives of L in the states,

    ∂L/∂y_jc(t_i) = 2 w_ijc (y_jc(t_i) − x_ijc) / W.                     (31.2)

They are 0 at the times of other trajectories, so one batch can be solved on all times together. An adaptive
explicit method takes no more steps for that (chapter 11). Several measurements x_m of one component at one
time, with weights w_m, are replaced by one,

    w = Σ_m w_m,   x = Σ_m w_m x_m / w,                                  (31.3)

since Σ_m w_m (y − x_m)² and w (y − x)² differ only by a number that does not depend on y.

Long solves are hard to learn. The gradient is dL/dθ = Σ_i ∂L/∂y(t_i) · ∂y(t_i)/∂θ. The last factor is a
tangent (chapter 16), which starts from 0 and grows with time, unless solutions approach each other. It grows
even for a point that moves on a circle. Let its angular frequency ω be unknown, ω* the true one, and let the
point be measured evenly from 0 to T. Then |∂y/∂ω| = t, and with δ = (ω − ω*) T the loss, a mean over both
components, is

    L = 1 − sin δ / δ.

For |δ| < 4.49 this is a bowl around ω*. Outside the bowl is a plain with ripples, whose gradients do not
lead to ω*. If T is doubled, the bowl is half as wide. If neighbouring solutions separate, the tangent grows
exponentially, and the plain has cliffs too. The gradient on a cliff is huge, and does not lead to ω*
either. There are two remedies. Both begin with short solves, whose loss is a bowl.

A growing horizon. Let L_T be (31.1) with the times up to T alone. Fit to the first measurements, then to
more,

    θ_m = what a fit of L_{T_m} finds from θ_{m−1},   T_1 < T_2 < …,     (31.4)

so that each fit starts in the bowl of its own loss. The θ found up to T_{m−1} has an error, from noise and
from too few steps. T_m must be so short that its bowl is wider than this error.

Multiple shooting (Bock and Plitt 1984). Cut the times at τ_0 = t_0 < τ_1 < … < τ_K. Each piece k starts at
τ_k from a state s_k of its own, which is learnt as θ is. Let y_k be the solution from it. A penalty with
the weight μ on the gaps g_k between the pieces draws them together. With n components in all gaps,

    L = Σ w (y_k(t_i) − x)² / W + μ Σ_k |g_k|² / n,   g_k = y_k(τ_{k+1}) − s_{k+1},   (31.5)

where k is the piece that contains t_i, τ_k ≤ t_i < τ_{k+1}, and t_N = τ_K is in the last one. No solve is
longer than a piece, so the loss has the bowl of a short solve. The way back through piece k begins with
(31.2) and, at the end of the piece, with 2μ g_k / n. It gives a_k and b_k. As s_k is also in the gap before
it,

    ∂L/∂s_k = a_k(τ_k) − 2 μ g_{k−1} / n,     ∂L/∂θ = Σ_k b_k,           (31.6)

without the last term for k = 0. The measured states are good first values of s_k. But as long as the s_k
stay there, their noise moves the minimum of the loss. At a finite μ gaps remain, because the fit trades
them for agreement with the data. So raise μ from fit to fit, or end with a fit of one solve from s_0. The
pieces do not depend on each other. If they have the same times and f does not depend on t, they can be one
batch.

Here is a whole training. A network learns the pendulum from 60 noisy states of three trajectories:

>>> from minode import MLP, solve, value_and_gradients
>>> from minode.learning.optimisers import cosine
>>> rng = np.random.default_rng(0)
>>> t, which = rng.uniform(0.0, 6.0, 60), np.repeat([0, 1, 2], 20)
>>> def pendulum(t, y): return np.stack([y[..., 1], -np.sin(y[..., 0])], axis=-1)
>>> true = solve(pendulum, np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.5]]), [0.0, 6.0], rtol=1e-8)
>>> x = true.interpolate(t)[np.arange(60), which] + 0.1 * rng.normal(size=(60, 2))
>>> measured, f = tabulate(t, which, x), MLP([2, 16, 2], ["tanh", "identity"])
>>> def objective(u, measured):                              # u = (θ, the three first states)
...     def loss(ys): return misfit(ys, measured)
...     theta, y0 = u[:f.n_params], u[f.n_params:].reshape(3, 2)
...     L, gradients = value_and_gradients(loss, f, y0, measured.t, theta, times=False, rtol=1e-2, atol=1e-2)
...     return L, np.concatenate([gradients.theta, gradients.y0.ravel()])
>>> u = np.concatenate([f.init(np.random.default_rng(1)), measured.states([0]).ravel()])
>>> fits = growing_horizon(objective, u, measured, [3.0, 6.0], n_steps=100,
...                        learning_rate=lambda k: cosine(k, 0.05, 100))
>>> bool(objective(u, measured)[0] > 1), bool(fits[-1].loss < 2 * 0.1**2)        # hardly more than the noise
(True, True)

Figure 44 shows such a training and its forecast, figure 45 the bowl, the plain and the cliffs of one loss,
and figure 34 a long solve learnt with and without the two remedies.

Next: what a flow cannot do (chapter 32).
"""

from typing import NamedTuple

import numpy as np

from ..gradients.pullback import Gradients, value_and_gradients
from ..inputs import (as_cuts, as_horizons, as_indices, as_measured, as_positive, as_real, as_single_measurements,
                      check_all_measured)
from ..learning.fit import fit


class Measurements(NamedTuple):
    """A table: increasing times t (N,), and at each what was `observed` and its `weights`, both (N, ..., d).

    A solve begins at the first time. A weight of 0 says that nothing was measured. `tabulate` makes such
    a table for (31.1).

    >>> measured = Measurements(np.array([0.0, 1.0, 3.0]), np.ones((3, 2)), np.ones((3, 2)))
    >>> measured.until(2.0).t, measured.until(2.0).observed.shape
    (array([0., 1.]), (2, 2))
    """

    t: np.ndarray
    observed: np.ndarray
    weights: np.ndarray

    def until(self, end):
        """The table up to the time `end`."""
        return Measurements(*(part[:np.searchsorted(self.t, end, side="right")] for part in self))

    def states(self, rows):
        """A first guess (n, ..., d) of the states at the times in these rows, on lines between measurements.

        Before its first measurement and after its last one a component is constant.
        ValueError if it has none.
        """
        t, observed, weights = as_measured(self)
        check_all_measured(weights)
        rows = as_indices("rows", rows, len(t))
        columns = [np.interp(t[rows], t[w > 0], x[w > 0])
                   for x, w in zip(observed.reshape(len(t), -1).T, weights.reshape(len(t), -1).T)]
        return np.stack(columns, axis=-1).reshape(len(rows), *observed.shape[1:])


def tabulate(t, which, x, weights=None, t0=0.0):
    """`Measurements` from single ones: states x (n, d) of the trajectories `which` (n,) at times t (n,).

    `which` counts from 0. weights (n,) are 1 if none are given. All solves begin at t0, which is not
    after any t. Several measurements of one trajectory at one time become one (31.3). ValueError or
    TypeError for unusable input.

    >>> measured = tabulate([2.0, 1.0, 2.0], [0, 1, 0], [[5.0], [4.0], [7.0]])
    >>> measured.t, measured.observed[..., 0], measured.weights[-1, 0]
    (array([0., 1., 2.]), array([[0., 0.], [0., 4.], [6., 0.]]), array([2.]))
    """
    t, which, x, weights = as_single_measurements(t, which, x, weights, t0)
    times = np.unique(np.append(t, t0))
    w, w_x = np.zeros((2, len(times), which.max() + 1, x.shape[1]))
    at = np.searchsorted(times, t), which
    np.add.at(w, at, weights[:, None])                                             # (31.3)
    np.add.at(w_x, at, weights[:, None] * x)                                       # (31.3)
    return Measurements(times, w_x / np.where(w > 0, w, 1.0), w)                   # (31.3)


def misfit(ys, measured):
    """The loss (31.1) of the states ys (N, ..., d) at the times of the `Measurements`, and dL/dys (31.2).

    ValueError or TypeError for unusable input, and if nothing is measured.

    >>> misfit(np.zeros((2, 1)), Measurements(np.array([0.0, 1.0]), np.array([[0.0], [3.0]]), np.ones((2, 1))))
    (4.5, array([[ 0.], [-3.]]))
    """
    _, observed, weights = as_measured(measured)
    return squares(as_real("ys", ys, observed.shape), observed, weights, weights.sum())


def squares(ys, observed, weights, W):
    """Σ w (y − x)² / W, and its derivative in the states ys."""
    r = ys - observed
    L = np.sum(weights * r**2) / W                                                 # (31.1)
    return float(L), 2 * weights * r / W                                           # (31.2)


def growing_horizon(objective, theta, measured, ends, **of_fit):
    """One `fit` for each horizon in `ends`, each from what the one before found (31.4): a list of `Fit`s.

    `ends` are increasing times. objective(theta, measured) returns a loss and its gradient (p,) for the
    `Measurements` up to an end. theta is (p,), and `of_fit` are the keywords of `fit`, except `data`,
    the same for every horizon. Ctrl-C ends the running fit, and no other follows. ValueError or
    TypeError for unusable input, `FitError` as from `fit`.

    >>> def objective(theta, measured):
    ...     L, dL_dys = misfit(np.multiply.outer(measured.t, theta), measured)         # y = θ t
    ...     return L, measured.t @ dL_dys
    >>> measured = Measurements(np.arange(5.0), 3 * np.arange(5.0)[:, None], np.ones((5, 1)))
    >>> fits = growing_horizon(objective, np.zeros(1), measured, [2.0, 4.0], n_steps=200, learning_rate=0.1)
    >>> fits[-1].theta.round(2)
    array([3.])
    """
    measured, fits = Measurements(*as_measured(measured)), []
    for end in as_horizons(ends, objective, measured, of_fit):
        part = measured.until(end)
        fits.append(fit(lambda theta, batch: objective(theta, part), theta, **of_fit))  # (31.4)
        if fits[-1].stopped == "interrupted":
            break
        theta = fits[-1].theta                                                     # (31.4)
    return fits


def shooting_loss(f, starts, measured, cuts, theta, penalty=1.0, **solver):
    """The loss (31.5) of K pieces, each from its own state, and its `Gradients` in the starts and θ (31.6).

    f is a `VectorField`, theta its θ (p,). `cuts` are K + 1 rows of the `Measurements`, from 0 to
    N − 1: the pieces begin and end at their times. starts (K, ..., d) are the states s_k. `penalty` is
    μ, `solver` the keywords of `value_and_gradients`. In the `Gradients` y0 has the shape of starts,
    and t is None. ValueError or TypeError for unusable input, SolverError if a solve fails. Bock and
    Plitt (1984).

    >>> from minode import Linear                            # y' = θ y, measured as 1, 2, 4, and two pieces
    >>> measured = Measurements(np.array([0.0, 1.0, 2.0]), np.array([[1.0], [2.0], [4.0]]), np.ones((3, 1)))
    >>> L, gradients = shooting_loss(Linear(1), [[1.0], [2.0]], measured, [0, 1, 2], np.log([2.0]), rtol=1e-9)
    >>> bool(L < 1e-15), gradients.y0.shape, gradients.theta.shape
    (True, (2, 1), (1,))
    """
    t, observed, weights = as_measured(measured, f)
    cuts, mu = as_cuts(cuts, len(t)), as_positive("penalty", penalty, allow_zero=True)
    starts = as_real("starts", starts, (len(cuts) - 1, *observed.shape[1:]))
    W, n, last = weights.sum(), starts[1:].size, len(starts) - 1
    L, dL_dstarts, dL_dends, dL_dtheta = 0.0, *np.zeros((2, *starts.shape)), 0.0
    for k, s_k in enumerate(starts):
        rows = slice(cuts[k], cuts[k + 1] + 1)
        x, w = observed[rows].copy(), weights[rows].copy()
        if k < last:                                         # its last row belongs to the next piece: put the gap there
            x[-1], w[-1] = starts[k + 1], mu * W / n                               # (31.5)

        def loss(ys):
            value, dL_dys = squares(ys, x, w, W)                                   # (31.5)
            dL_dends[k] = dL_dys[-1]
            return value, dL_dys
        value, (dL_dstarts[k], b_k, _) = value_and_gradients(loss, f, s_k, t[rows], theta, times=False, **solver)
        L, dL_dtheta = L + value, dL_dtheta + b_k                                  # (31.5) (31.6)
    dL_dstarts[1:] -= dL_dends[:-1]                                                # (31.6)
    return L, Gradients(dL_dstarts, dL_dtheta, None)

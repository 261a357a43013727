"""24. A loop that learns

To learn is to repeat one step of chapter 23, with the gradients of chapter 20. The loop around
it is where hours of work are lost: to an interrupt, to a NaN, to a run that nobody can
repeat. So here a fit is a chain of records, each computed from the one before it, and the
numbers of step k depend on that record, the seed and k, and on nothing else.

Batches. The gradient of a mean over n examples is the mean of theirs, and a random part
of m of them estimates it without bias at m/n of the cost. In each pass through the data
(an epoch) every example should be met once, or as good as: shuffle, deal out m at a time, and leave
the rest for another pass. With J = ⌊n/m⌋ batches in an epoch, the one of step k = 0, 1, … is

    π[j m], …, π[j m + m − 1],   e = ⌊k/J⌋,  j = k − e J,                (24.1)

where π is the permutation drawn by a generator seeded with (seed, e). No generator is carried
along: whoever knows the seed can make the batch of any step, and to resume needs only k.

Weight decay. A penalty on θ is a part of the loss that sees θ directly, not through the
states, which is the case the source text leaves out:

    L + λ/2 |θ|²,     ∂L/∂θ = λ θ,                                       (24.2)

and this is b(T), from where b is integrated back, or what is added to b at the end (20.1):
the same number, for b' does not contain b. `fit` does the latter for `weight_decay`; an objective may
hand in `dL_dtheta=decay(theta, rate)[1]`, from which backsolve and interpolate alone start b. Adam divides
this gradient by its size like any other (Loshchilov and Hutter, 2019, do the decay outside).

Which θ is the best? Where there is a validation loss, on data that no gradient sees, the one for
which it is least, and `patience` steps without a better one end the fit. Without it, the
loss itself; but that of a batch is noisy, and the least of many is least by luck. So θ_k is
judged by an average over about one epoch, of the losses L_0, …, L_k that were met on the way,

    s_k = (1 − w) s_{k−1} + w L_k,   w = 1 / min(k + 1, J),              (24.3)

which is L_k itself where each step sees all the data, J = 1. (A stream of batches has no
epochs; there J is 20.) A fit has failed when a loss is not finite, or L_k > `give_up` (1
+ |L_0|): the 1 is for a first loss near 0. Then the best θ is in the `FitError`.

Next: telling digits apart (chapter 25).
"""

import sys
import time
from contextlib import contextmanager

import numpy as np

from ..solvers.states import as_count, as_positive, as_real
from .optimisers import adam, as_pair, clip
from .records import Fit, FitError, History

OF_A_STREAM = 20                    # batches of a stream that stand for an epoch in (24.3)
BETWEEN_LINES = 0.2                 # seconds from one line of progress to the next


def fit(objective, theta, *, n_steps, data=None, batch_size=None, seed=0, optimiser=adam, learning_rate=1e-3,
        weight_decay=0.0, largest_gradient=None, validate=None, validate_every=10, patience=None,
        give_up=1e6, counter=None, progress=None):
    """Take n_steps steps downhill, and return a `Fit` with the best θ.

    objective(theta, batch) returns a loss and its gradient (p,). theta is (p,), or a `Fit` to
    go on from, to n_steps in all and, with the same keywords, to the same numbers. Keywords:

    data              an array, or a tuple of arrays, of n rows, of which a batch has batch_size, drawn
                      by (24.1), or all n; or data(rng) -> batch with a generator for each step;
                      or None, and batch is None
    seed              of everything that is drawn
    optimiser         optimiser(theta, gradient, state, learning_rate) -> (theta, state), such as
                      `adam` or `sgd` (adam)
    learning_rate     a number, or a function of the step, which counts from 0 (1e-3)
    weight_decay      λ in (24.2) (0)
    largest_gradient  G in (23.5) (none)
    validate          validate(theta) -> loss, computed before the first step and after every
                      `validate_every`, wherever n_steps ends: steps after the last one are not judged
    patience          stop after so many steps without a lower validation loss, or average (24.3)
    give_up           a loss so many times 1 + |the first| is divergence (1e6)
    counter           something whose n_f counts calls of f, such as `Counted(field)`
    progress          True draws a line on stderr, None where that is a terminal, False never;
                      or called as progress(step, n_steps, loss)

    Ctrl-C ends the fit and returns it. ValueError or TypeError for unusable input; `FitError`, with
    the fit so far in its .fit, where the objective fails or the loss diverges.

    >>> def objective(theta, batch): return 0.5 * np.sum((theta - 3) ** 2), theta - 3
    >>> found = fit(objective, np.zeros(2), n_steps=200, learning_rate=0.1)
    >>> found.theta.round(3), found.stopped, found.history.loss.shape
    (array([3., 3.]), 'n_steps done', (200,))
    """
    check(n_steps, data, batch_size, validate_every, patience, weight_decay, largest_gradient, give_up)
    for name, function in {"objective": objective, "optimiser": optimiser, "validate": validate}.items():
        if not callable(function) and (name, function) != ("validate", None):
            raise TypeError(f"{name} must be callable, not {function!r}")
    for name, steps in {"n_steps": n_steps, "patience": patience}.items():
        if validate is not None and steps is not None and steps < validate_every:
            raise ValueError(f"{name} = {steps} would end the fit before a validation, every {validate_every} steps")
    if counter is not None and not hasattr(counter, "n_f"):
        raise TypeError(f"counter must have an n_f that counts, such as Counted(field), not {counter!r}")
    if not callable(learning_rate):
        as_positive("learning_rate", learning_rate)
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer from 0 on, not {seed!r}")
    draw, per_epoch = batches(data, batch_size, seed)
    name = getattr(getattr(optimiser, "func", optimiser), "__name__", type(optimiser).__name__)
    if isinstance(theta, Fit):
        if theta.state is not None and theta.optimiser not in ("", name):
            raise ValueError(f"optimiser is {name}, but the fit to go on from was made with {theta.optimiser}")
        now = theta._replace(stopped="n_steps done", optimiser=name)
    else:
        theta = as_real("theta", theta).astype(np.float64)
        if theta.ndim != 1:
            raise ValueError(f"theta must have shape (p,), not {theta.shape}")
        now = Fit(theta, np.inf, 0, "n_steps done", History(*[np.empty(0)] * 4), 0, theta, None, 0.0, name)
    history = np.full((4, max(n_steps, now.steps)), np.nan)
    history[:, :now.steps] = now.history

    def after_one_more(now):
        k, before = now.steps, getattr(counter, "n_f", 0)
        value, gradient = as_pair("objective", "a loss and its gradient", objective(now.last, draw(k)))
        n_f = getattr(counter, "n_f", np.nan) - before
        penalty, dL_dtheta = decay(now.last, weight_decay)
        value = finite("the loss", finite("the loss", value) + penalty)
        gradient = as_real("the gradient", gradient, now.last.shape) + dL_dtheta
        history[:, k] = value, np.linalg.norm(gradient), n_f, np.nan
        if value > give_up * (1 + abs(history[0, 0])):
            raise ArithmeticError(f"the loss diverges: it is {value:.3g} and was {history[0, 0]:.3g} at first")
        gradient = gradient if largest_gradient is None else clip(gradient, largest_gradient)
        rate = learning_rate(k) if callable(learning_rate) else learning_rate
        moved = optimiser(now.last, gradient, now.state, rate)
        theta, state = as_pair("optimiser", "the new θ and its state", moved)
        theta = as_real("the θ after a step", theta, now.last.shape)
        weight = 1 / min(k + 1, per_epoch)                                         # (24.3)
        average = (1 - weight) * now.average + weight * value                      # (24.3)
        judged = average, now.last, k
        if validate is not None:
            judged = np.inf, theta, k + 1
            if (k + 1) % validate_every == 0:
                history[3, k] = finite("the validation loss", validate(theta))
                judged = history[3, k], theta, k + 1
        best = min((now.loss, now.theta, now.best_step), judged, key=lambda found: found[0])
        return now._replace(loss=float(best[0]), theta=best[1], best_step=best[2],
                            steps=k + 1, last=theta, state=state, average=average)

    with telling(progress, n_steps) as tell:
        try:
            if validate is not None and now.steps == 0:
                now = now._replace(loss=finite("the validation loss", validate(now.last)))
            while now.steps < n_steps:
                if patience is not None and now.steps - now.best_step >= patience:
                    now = now._replace(stopped=f"nothing better in {patience} steps")
                    break
                now = after_one_more(now)
                tell(now.steps, history[0, now.steps - 1])
        except KeyboardInterrupt:
            now = now._replace(stopped="interrupted")
        except Exception as error:
            now = now._replace(stopped="failed", history=History(*history[:, :now.steps]))
            raise FitError(f"stopped after {now.steps} steps: {error}", now) from error
    return now._replace(history=History(*history[:, :now.steps]))


def decay(theta, rate):
    """The penalty of weight decay and its ∂L/∂θ (24.2).

    >>> decay(np.array([3.0, 4.0]), 0.1)
    (1.25, array([0.3, 0.4]))
    """
    return 0.5 * rate * float(theta @ theta), rate * theta                         # (24.2)


def batches(data, batch_size, seed):
    """draw(k), which gives the batch of step k, and how many of them there are in an epoch."""
    if data is None:
        return lambda k: None, 1
    if callable(data):
        return lambda k: data(np.random.default_rng([seed, k])), OF_A_STREAM
    arrays = tuple(map(np.asarray, data)) if isinstance(data, tuple) else (np.asarray(data),)
    n = len(arrays[0])
    per_epoch = 1 if batch_size is None else n // batch_size

    def draw(k):
        if batch_size is None:
            return data
        epoch, j = divmod(k, per_epoch)                                            # (24.1)
        order = np.random.default_rng([seed, epoch]).permutation(n)                # (24.1)
        rows = order[j * batch_size:(j + 1) * batch_size]                          # (24.1)
        return tuple(array[rows] for array in arrays) if isinstance(data, tuple) else arrays[0][rows]
    return draw, per_epoch


def finite(what, value):
    """A loss as a float, or ArithmeticError."""
    if np.shape(value) or np.asarray(value).dtype.kind not in "biuf":
        raise TypeError(f"{what} must be a number, not {type(value).__name__} {np.shape(value)}")
    if not np.isfinite(float(value)):
        raise ArithmeticError(f"{what} is {value}")
    return float(value)


def check(n_steps, data, batch_size, validate_every, patience, weight_decay, largest_gradient, give_up):
    """ValueError where these keywords of `fit` are of no use."""
    counts = {"n_steps": n_steps, "batch_size": batch_size, "validate_every": validate_every, "patience": patience}
    for name, value in counts.items():
        if not (value is None and name in ("batch_size", "patience")):
            as_count(name, value)
    as_positive("weight_decay", weight_decay, allow_zero=True)
    as_positive("give_up", give_up)
    as_positive("largest_gradient", 1.0 if largest_gradient is None else largest_gradient)
    if isinstance(data, list) and np.ndim(data[0] if data else 0) and isinstance(data[0], np.ndarray):
        raise TypeError("data must be a tuple of arrays, not a list of them: give tuple(data)")
    if data is None or callable(data):
        if batch_size is not None:
            raise ValueError(f"batch_size = {batch_size} is for data in arrays")
        return
    arrays = [np.asarray(array) for array in (data if isinstance(data, tuple) else (data,))]
    if not arrays or min(array.ndim for array in arrays) == 0:
        raise TypeError(f"data must be an array, a tuple of arrays or data(rng), not {data!r}")
    lengths = [len(array) for array in arrays]
    if min(lengths) < max(1, batch_size or 1) or len(set(lengths)) > 1:
        raise ValueError(f"data must have the same number of rows everywhere, at least batch_size = {batch_size}, "
                         f"not {lengths}")
    for array in arrays:
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
            raise ValueError(f"data must be finite, but holds NaN or infinity in rows {rows}")


@contextmanager
def telling(progress, n_steps):
    """tell(done, loss): the reader's own, or a line on stderr with the loss and the time left."""
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, False, None or callable, not {progress!r}")
    if callable(progress):
        yield lambda done, loss: progress(done, n_steps, loss)
        return
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda done, loss: None
        return
    first, started, told = None, time.monotonic(), -np.inf

    def tell(done, loss):
        nonlocal first, told
        now = time.monotonic()
        first = done - 1 if first is None else first
        if now - told >= BETWEEN_LINES or done == n_steps:
            left, told = (now - started) / (done - first) * (n_steps - done), now
            print(f"\rstep {done}/{n_steps}   loss {loss:.6g}   {left:.0f} s left   ", end="", file=sys.stderr, flush=True)
    try:
        yield tell
    finally:
        print(file=sys.stderr)

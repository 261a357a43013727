"""24. A loop that learns

To learn is to repeat one step of chapter 23, each time with a gradient from chapter 20:

    for k in range(n_steps):
        L, g = objective(theta, the batch of step k)
        theta, state = adam(theta, g, state, learning_rate)

A neural ODE learns like this. The data are states on a spiral of chapter 2. We cut it into overlapping
pieces of six states. The network f(y, θ) is told nothing about the spiral. It is solved from the first
state of every piece, with all pieces as one batch. The loss is the mean square of the differences
between its states and those of the pieces:

>>> from minode import MLP, CubicSpiral, odeint, value_and_gradients
>>> from minode.learning.optimisers import cosine
>>> t, A = np.linspace(0.0, 5.0, 201), np.array([-0.1, 2.0, -2.0, -0.1])
>>> seen = odeint(CubicSpiral(), [2.0, 0.0], t, A, rtol=1e-9, atol=1e-9)        # (201, 2)
>>> pieces = np.stack([seen[j:j + 176:5] for j in range(0, 26, 5)])             # (6, 36, 2): six times, 36 pieces
>>> f = MLP([2, 32, 2], ["tanh", "identity"])
>>> def objective(theta, batch):                             # L and dL/dθ; every step uses all pieces
...     def loss(ys): return np.mean((ys - pieces) ** 2), 2 * (ys - pieces) / ys.size
...     L, gradients = value_and_gradients(loss, f, pieces[0], t[:26:5], theta, times=False, method="rk4")
...     return L, gradients.theta
>>> drawn = f.init(np.random.default_rng(0))
>>> found = fit(objective, drawn, n_steps=400, learning_rate=lambda k: cosine(k, 0.1, 400))
>>> bool(found.history.loss[0] > 1), bool(found.history.loss[-1] < 1e-3)
(True, True)
>>> distances = [np.abs(odeint(f, seen[0], t, theta) - seen).mean() for theta in (drawn, found.last)]
>>> bool(distances[0] > 1), bool(distances[1] < 0.2)         # from the first state alone along the whole spiral
(True, True)

The rest of this page is what such a loop needs in practice. Hours of work can be lost to an interrupt,
to a NaN, or to a run that nobody can repeat. So a fit is a chain of records here: the record after
step k depends on the record before it, on the seed and on k, and on nothing else.

Batches. The gradient of a mean over n examples is the mean of their gradients. A random subset of m
examples, called a batch, estimates it without bias at m/n of the cost. One pass through the data is
called an epoch, and every example should be used about once in it. So we shuffle the examples and cut
them into J = ⌊n/m⌋ batches of m. The remainder is left out, and the next epoch shuffles all n examples
again. Step k = 0, 1, … uses the examples

    π[j m], …, π[(j + 1) m − 1],   e = ⌊k/J⌋,  j = k − e J,              (24.1)

where e is the number of the epoch, j that of the batch in it, and π a permutation of 0, …, n − 1, drawn
by a generator seeded with (seed, e). No generator is carried from step to step. The seed determines the
batch of every step, so a fit that is resumed needs only k.

Weight decay. Large weights are discouraged by a penalty P, which is added to the loss,

    P = α/2 |θ|²,     ∂P/∂θ = α θ.                                       (24.2)

P depends on θ directly, and not through the states. So ∂P/∂θ can be the b(T) from which chapter 17
integrates b backwards, or it can be added to b at the end (20.1). Both give the same number, because b'
does not depend on b. `fit` adds it at the end if `weight_decay` is α. An objective of your own may
instead pass `dL_dtheta=decay(theta, alpha)[1]` to chapter 20, which starts b from it.

Adam divides α θ by the usual size of the whole gradient g + α θ, so weights with large gradients decay
less than others. AdamW (Loshchilov and Hutter, 2019) therefore leaves α θ out of g, and subtracts η α θ
from θ beside Adam's step. This is called decoupled weight decay.

Which θ is the best? With a validation loss, computed on data that no gradient uses, it is the θ with
the least validation loss, and `patience` steps without a better one end the fit. Without validation,
only the loss itself can tell. But the loss of a batch is noisy, and the least of many noisy losses owes
much to luck. So θ_k is judged by an average of the losses L_0, …, L_k over about one epoch,

    s_k = (1 − w) s_{k−1} + w L_k,   w = 1 / min(k + 1, J),              (24.3)

which is L_k itself if each step uses all the data, J = 1. (If the batches come from an endless stream,
there are no epochs, and J is 20.) A fit has failed if a loss is not finite, or if L_k > `give_up`
(1 + |L_0|). The 1 is there for a first loss near 0. In both cases a `FitError` is raised, which carries
the best θ so far.

The appendices have the rest: interrupts and failures (records.py), files (files.py), and the line of
progress (progress.py).

Figure 32 shows a longer spiral learnt from random pieces, and figures 29 and 31 show what was learnt
with weight decay.

Exercises. 1. Derive: unroll (24.3). What is the weight of L_i in s_k as long as k < J, and what is it
later? 2. Predict, then run: the objective returns the loss 0 and the gradient 0 for every θ. θ starts
at (1, 100), `weight_decay` is 0.1 and the learning rate 0.01. Where is θ after 10 steps of `adam`? And
after 10 steps of `sgd` without momentum?

Next: telling digits apart (chapter 25).
"""

import numpy as np

from ..inputs import as_judge, as_loss, as_objective, as_optimiser, check_data, check_training, check_validation
from .optimisers import adam, clip
from .progress import progress_line
from .records import Run

EPOCH_OF_A_STREAM = 20              # J in (24.3) for a stream of batches


@np.errstate()                               # restores the caller's settings, even if Ctrl-C ends a `with` half way
def fit(objective, theta, *, n_steps, data=None, batch_size=None, seed=0, optimiser=adam, learning_rate=1e-3,
        weight_decay=0.0, largest_gradient=None, validate=None, validate_every=10, patience=None,
        give_up=1e6, counter=None, progress=None):
    """Take n_steps steps downhill, and return a `Fit` with the best θ.

    objective(theta, batch) returns a loss and its gradient (p,). theta is (p,), or a `Fit` to continue
    until it has n_steps in all; with the same keywords it gives the numbers of one long fit. Keywords:

    data              an array of n rows, or a tuple of such arrays; a batch has batch_size rows, drawn
                      by (24.1), or all n if that is None. Or a function data(rng) -> batch, called
                      with a new generator in each step. Or None: then batch is None
    seed              the seed of everything that is drawn
    optimiser         optimiser(theta, gradient, state, learning_rate) -> (theta, state), such as
                      `adam` or `sgd` (adam)
    learning_rate     a number, or a function of the step, which counts from 0 (1e-3)
    weight_decay      α in (24.2) (0)
    largest_gradient  G in (23.5) (none)
    validate          validate(theta) -> loss, computed before the first step and after every
                      `validate_every` steps, but not at the end if that falls between two of them
    patience          stop after so many steps without a lower validation loss, or average (24.3)
    give_up           a loss of more than this many times 1 + |the first| ends the fit (1e6)
    counter           an object whose n_f counts calls of f, such as `Counted(field)`
    progress          True draws a line on stderr, None does so if that is a terminal, False never;
                      a function is called as progress(step, n_steps, loss)

    Ctrl-C ends the fit and returns it. ValueError or TypeError for unusable input; `FitError`, with
    the fit so far in its .fit, if the objective fails or the loss diverges.

    >>> def objective(theta, batch): return 0.5 * np.sum((theta - 3) ** 2), theta - 3
    >>> found = fit(objective, np.zeros(2), n_steps=200, learning_rate=0.1)
    >>> found.theta.round(3), found.stopped, found.history.loss.shape
    (array([3., 3.]), 'n_steps done', (200,))
    """
    check_training(objective, optimiser, n_steps, learning_rate, weight_decay, largest_gradient, give_up, counter,
                   progress)
    check_validation(validate, validate_every, n_steps, patience)
    draw, J = batches(data, batch_size, seed)
    loss_and_gradient, step = as_objective(objective, draw, counter), as_optimiser(optimiser)
    judge = as_judge(validate, validate_every)
    run = Run(theta, optimiser, n_steps, patience)
    with progress_line(progress, n_steps) as report, run:
        run.judge_start(judge)
        while run.goes_on():
            k, theta, state, s = run.now()

            # The loss of batch k and its gradient, with the penalty, and the calls of f that they took.
            L, g, n_f = loss_and_gradient(k, theta)
            L, g, norm = with_decay(L, g, theta, weight_decay)
            run.check(L, give_up)

            # One step of chapter 23.
            if largest_gradient is not None:
                g = clip(g, largest_gradient)
            eta = learning_rate(k) if callable(learning_rate) else learning_rate
            new_theta, state = step(theta, g, state, eta)

            # Is this θ, or with validation the new one, the best so far?
            w = 1 / min(k + 1, J)                                                  # (24.3)
            s = (1 - w) * s + w * L                                                # (24.3)
            validation = judge(k + 1, new_theta)             # NaN if none is due; NaN is never the best
            candidate = (s, theta, k) if validate is None else (validation, new_theta, k + 1)
            run.add((L, norm, n_f, validation), candidate, last=new_theta, state=state, average=s)
            report(k + 1, L)
    return run.result()


def with_decay(L, g, theta, alpha):
    """The loss and its gradient (p,) with the penalty (24.2) added, and the 2-norm of the sum."""
    with np.errstate(all="ignore"):                          # infinite results are refused below
        P, dP_dtheta = decay(theta, alpha)
        L, g = as_loss("the loss", L + P), g + dP_dtheta
        return L, g, np.linalg.norm(g)


def decay(theta, alpha):
    """The penalty P (24.2) of weight decay, and ∂P/∂θ (p,).

    >>> decay(np.array([3.0, 4.0]), 0.1)
    (1.25, array([0.3, 0.4]))
    """
    return 0.5 * alpha * float(theta @ theta), alpha * theta                       # (24.2)


def batches(data, batch_size, seed):
    """draw(k), which returns the batch of step k, and the number J of batches in an epoch."""
    check_data(data, batch_size, seed)
    if data is None:
        return lambda k: None, 1
    if callable(data):
        return lambda k: data(np.random.default_rng([seed, k])), EPOCH_OF_A_STREAM
    if batch_size is None:
        return lambda k: data, 1
    arrays = [np.asarray(array) for array in (data if isinstance(data, tuple) else (data,))]
    n, m = len(arrays[0]), batch_size
    J = n // m

    def draw(k):
        e, j = divmod(k, J)                                                        # (24.1)
        pi = np.random.default_rng([seed, e]).permutation(n)                       # (24.1)
        rows = pi[j * m:(j + 1) * m]                                               # (24.1)
        batch = tuple(array[rows] for array in arrays)
        return batch if isinstance(data, tuple) else batch[0]
    return draw, J

"""Appendix to chapter 24. What a fit leaves behind

A `Fit` is a record of the best θ, and of everything that the next step needs. A fit that
continues from it takes the same steps as one that never stopped. While a fit runs, a `Run`
holds the record of the last completed step. A step replaces that record by a single assignment,
so an interrupt at any line finds either the old record or the new one.

The record holds the optimiser's state and also its name, because another optimiser could take
that state for its own without an error. A record may be saved in a file (`files.py`).
"""

import functools
from typing import NamedTuple

import numpy as np

from ..inputs import as_parameters, check_divergence, check_fit


class History(NamedTuple):
    """One number for each step taken, in four arrays (steps,).

    loss belongs to the θ from which the step started. gradient is the 2-norm of dL/dθ there, before
    clipping, and n_f the calls of f that the two took. validation is the validation loss of the θ to
    which the step led, or NaN if none was computed.
    """

    loss: np.ndarray
    gradient: np.ndarray
    n_f: np.ndarray
    validation: np.ndarray


class Fit(NamedTuple):
    """The best θ (p,), its loss, and after how many steps it was found; why the fit stopped; its `History`.

    The other parts say where to continue: the number of steps taken, `last`, which is the θ after them,
    the optimiser's state, the average (24.3) of the losses, and the optimiser's name.

    >>> from minode import fit
    >>> found = fit(lambda theta, batch: (theta @ theta, 2 * theta), np.ones(3), n_steps=5)
    >>> found.theta.shape, found.steps, found.stopped
    ((3,), 5, 'n_steps done')
    """

    theta: np.ndarray
    loss: float
    best_step: int
    stopped: str
    history: History
    steps: int
    last: np.ndarray
    state: tuple | None
    average: float
    optimiser: str = ""


class FitError(RuntimeError):
    """The fit could not go on. `.fit` is the `Fit` up to that step, with the best θ (p,) so far (chapter 24).

    >>> from minode import fit
    >>> try:
    ...     fit(lambda theta, batch: (np.nan, theta), np.ones(3), n_steps=5)
    ... except FitError as error:
    ...     error.fit.theta
    array([1., 1., 1.])
    """

    def __init__(self, message, fit):
        super().__init__(message)
        self.fit = fit

    def __reduce__(self):
        """How to copy the error, or to send it to another process, together with the fit."""
        return type(self), (*self.args, self.fit)


class Run:
    """A fit while it runs: `record`, the `Fit` after the last completed step, and the rows of its `History`.

    theta is (p,), or the `Fit` to continue. A `Run` is used in a `with` statement: Ctrl-C inside it ends the
    fit, and any other exception becomes a `FitError` that carries the fit so far.
    """

    def __init__(self, theta, optimiser, n_steps, patience):
        self.record, self.n_steps, self.patience = start(theta, optimiser), n_steps, patience
        self.rows = list(zip(*self.record.history))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, KeyboardInterrupt):
            self.record = self.record._replace(stopped="interrupted")
            return True
        if isinstance(error, Exception):
            self.record = self.record._replace(stopped="failed")
            raise FitError(f"stopped after {self.record.steps} steps: {error}", self.result()) from error

    def judge_start(self, judge):
        """Judge the θ before the first step, if there is validation: judge(0, θ) is its loss, or NaN."""
        if self.record.steps == 0:
            loss = judge(0, self.record.last)
            if loss == loss:
                self.record = self.record._replace(loss=loss)

    def now(self):
        """The number of steps taken, the θ after them, the optimiser's state, and the average (24.3)."""
        return self.record.steps, self.record.last, self.record.state, self.record.average

    def check(self, loss, give_up):
        """ArithmeticError if the loss is more than give_up times 1 + |the first one|."""
        check_divergence(loss, self.rows[0][0] if self.record.steps > 0 else loss, give_up)

    def goes_on(self):
        """Whether there is another step to take. If patience has run out, the record says so."""
        if self.record.steps >= self.n_steps:
            return False
        if self.patience is not None and self.record.steps - self.record.best_step >= self.patience:
            self.record = self.record._replace(stopped=f"nothing better in {self.patience} steps")
            return False
        return True

    def add(self, row, candidate, last, state, average):
        """Record one more step. candidate is (loss, θ, steps that led to it), perhaps the best so far."""
        best = self.record.loss, self.record.theta, self.record.best_step
        if candidate[0] < self.record.loss:
            best = candidate
        self.rows.append(row)
        self.record = self.record._replace(
            loss=float(best[0]), theta=best[1], best_step=best[2],
            steps=self.record.steps + 1, last=last, state=state, average=average)

    def result(self):
        """The record with its history, without a row that an interrupted step may have left behind."""
        columns = np.reshape(self.rows[:self.record.steps], (-1, 4)).T
        return self.record._replace(history=History(*np.array(columns, dtype=float, order="C")))


def start(theta, optimiser):
    """The record before the first step from theta (p,); or theta itself, if it is a `Fit` to continue."""
    name = name_of(optimiser)
    if isinstance(theta, Fit):
        if theta.state is not None and theta.optimiser not in ("", name):
            raise ValueError(f"optimiser is {name}, but the fit to go on from was made with {theta.optimiser}")
        check_fit(theta)
        return theta._replace(stopped="n_steps done", optimiser=name)
    theta = as_parameters(theta)
    return Fit(theta=theta, loss=np.inf, best_step=0, stopped="n_steps done", history=History(*np.empty((4, 0))),
               steps=0, last=theta, state=None, average=0.0, optimiser=name)


def name_of(optimiser):
    """The name of a function, or of the function in a `functools.partial`, or of an object's class."""
    if isinstance(optimiser, functools.partial):
        optimiser = optimiser.func
    return getattr(optimiser, "__name__", type(optimiser).__name__)


class Counted:
    """A field that counts in `n_f` how often f is evaluated, and is otherwise that field.

    Each call counts, and each `value_and_vjp`. The function that `value_and_vjp` returns, and all other
    methods, do not count. All counting is done in the caller's thread.

    >>> from minode import Linear, odeint
    >>> field = Counted(Linear(1))
    >>> ys = odeint(field, [1.0], [0.0, 1.0, 2.0], np.ones(1), method="rk4")
    >>> field.n_f
    8
    """

    def __init__(self, field):
        self.field, self.n_f = field, 0

    def __call__(self, t, y, theta):
        self.n_f += 1
        return self.field(t, y, theta)

    def value_and_vjp(self, t, y, theta):
        self.n_f += 1
        return self.field.value_and_vjp(t, y, theta)

    def __getattr__(self, name):
        if name == "field":
            raise AttributeError(name)                     # a copy in the making has none yet
        return getattr(self.field, name)

"""Appendix to chapter 24. What a fit leaves behind, in memory and in a file

A `Fit` is a record: the best θ, and everything that the next step looks at. To go on from it is to
go on as if nothing had happened. While a fit runs, a `Run` holds the record of the last completed
step. A step replaces that record by a single assignment, so an interrupt at any line finds either
the old record or the new one.

A record may be saved in a file. The file is written whole, under another name in the same folder,
and forced to the disk. Then it takes the place of the old one in a single step, so that at any
time, and after a power cut, there is either the old file or the new one. It holds arrays and text
alone: `np.load` could also bring back arbitrary objects ("pickles"), which may run any code, and
is told not to. With θ goes a description of the field that it belongs to, because θ would
otherwise pass for that of any other field with as many parameters. With the optimiser's state goes
the optimiser's name, because another optimiser might read that state in silence as its own.
"""

import functools
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..inputs import as_owner, as_parameters, as_path, as_real

FORMAT = "minode, format 1"
SCALARS = ("loss", "best_step", "stopped", "steps", "average", "optimiser")
DESCRIBED = ("dim", "dim_out", "n_params", "widths", "names")


class History(NamedTuple):
    """One number for each step that was done: each is (steps,).

    loss and gradient (its 2-norm before clipping) at the θ that the step started from, the calls n_f of
    f that they took, and the validation loss of the θ that the step led to, NaN if none was computed.
    """

    loss: np.ndarray
    gradient: np.ndarray
    n_f: np.ndarray
    validation: np.ndarray


class Fit(NamedTuple):
    """The best θ (p,), its loss, and after how many steps it was found; why the fit stopped; its `History`.

    The rest is where to go on from: how many steps were done, `last`, the θ after them, the
    optimiser's state, the average (24.3) of the losses, and the optimiser's name.

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
    """The fit could not go on. `.fit` is the `Fit` up to there, with the best θ (p,) so far (chapter 24).

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
        """To be copied, and sent from one process to another, with the fit."""
        return type(self), (*self.args, self.fit)


class Run:
    """A fit while it runs: `record`, the `Fit` after the last completed step, and the rows of its `History`.

    theta is (p,), or the `Fit` to go on from. It is used as a context: Ctrl-C inside it ends the fit, and
    any other exception becomes a `FitError` that carries the fit so far.
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

    def goes_on(self):
        """Whether there is another step to take. If patience has run out, the record says so."""
        if self.record.steps >= self.n_steps:
            return False
        if self.patience is not None and self.record.steps - self.record.best_step >= self.patience:
            self.record = self.record._replace(stopped=f"nothing better in {self.patience} steps")
            return False
        return True

    def add(self, row, candidate, last, state, average):
        """One more step is done. candidate is (loss, θ, steps that led to it): perhaps the best so far."""
        best = self.record.loss, self.record.theta, self.record.best_step
        if candidate[0] < self.record.loss:
            best = candidate
        self.rows.append(row)
        self.record = self.record._replace(
            loss=float(best[0]), theta=best[1], best_step=best[2],
            steps=self.record.steps + 1, last=last, state=state, average=average)

    def result(self):
        """The record with its history; a row that an interrupted step left behind is not part of it."""
        columns = np.reshape(self.rows[:self.record.steps], (-1, 4)).T
        return self.record._replace(history=History(*np.array(columns, dtype=float, order="C")))


def start(theta, optimiser):
    """The record before the first step from theta (p,); or theta, if it is a `Fit` to go on from."""
    name = name_of(optimiser)
    if isinstance(theta, Fit):
        if theta.state is not None and theta.optimiser not in ("", name):
            raise ValueError(f"optimiser is {name}, but the fit to go on from was made with {theta.optimiser}")
        return theta._replace(stopped="n_steps done", optimiser=name)
    theta = as_parameters(theta)
    return Fit(theta=theta, loss=np.inf, best_step=0, stopped="n_steps done", history=History(*np.empty((4, 0))),
               steps=0, last=theta, state=None, average=0.0, optimiser=name)


def name_of(optimiser):
    """The name of a function, with or without settings of its own, or of the class of an object."""
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
            raise AttributeError(name)                     # of a copy that has none yet
        return getattr(self.field, name)


def save(path, field, theta):
    """Write theta (p,) of a field, or a whole `Fit`, to a file that only `load` for such a field accepts.

    The file at `path` is in NumPy's .npz format, and is there whole or not at all. ValueError if
    theta is not finite or not of the field's length, TypeError if path is no path, field no field, or
    the optimiser's state no tuple of arrays and numbers; OSError if the file cannot be written. Chapter 24.

    >>> from minode import Linear
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/theta.npz", Linear(2), np.ones(4))
    ...     load(folder + "/theta.npz", Linear(2))
    array([1., 1., 1., 1.])
    """
    path, field = as_path(path), as_owner(field)
    if isinstance(theta, Fit):
        arrays = arrays_of(theta, field.n_params)
    else:
        arrays = {"theta": as_real("theta", theta, (field.n_params,))}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufcU":
            raise TypeError(f"{name} is not an array of numbers, and only a pickle could keep it: {array!r}")
    write_whole(path, format=FORMAT, field=describe(field), **arrays)


def arrays_of(fit, n_params):
    """Everything in a `Fit` by name, as arrays."""
    state = () if fit.state is None else fit.state
    if not isinstance(state, tuple):
        raise TypeError(f"the optimiser's state must be a tuple of arrays to be kept, not {type(state).__name__}")
    arrays = {name: as_real(name, getattr(fit, name), (n_params,)) for name in ("theta", "last")}
    arrays |= {f"history_{name}": value for name, value in fit.history._asdict().items()}
    arrays |= {f"state_{i}": np.asarray(part) for i, part in enumerate(state)}
    return arrays | {name: np.asarray(getattr(fit, name)) for name in SCALARS}


def write_whole(path, **arrays):
    """Write the arrays to a new file beside `path`, and when all of it is on the disk, put it there."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path, field):
    """What `save` wrote at `path` for such a field: θ (p,), or the `Fit`. Chapter 24.

    ValueError if the file is damaged, comes from elsewhere, or belongs to another field; TypeError
    if path is no path or field no field, OSError if the file cannot be read.

    >>> from minode import MLP
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/theta.npz", MLP([2, 2], ["tanh"]), np.arange(6.0))
    ...     load(folder + "/theta.npz", MLP([2, 2], ["tanh"]))
    array([0., 1., 2., 3., 4., 5.])
    """
    path, expected = as_path(path), describe(as_owner(field))
    with open(path, "rb") as file:
        try:
            if zipfile.ZipFile(file).testzip() is not None:
                raise ValueError("a part of it is damaged")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
            if str(found["format"]) != FORMAT:
                raise ValueError(f"its format is {found['format']}, not {FORMAT}")
            described, theta = str(found["field"]), as_real("theta", found["theta"])
            fit = restored(theta, found) if "last" in found else None
        except Exception as error:
            raise ValueError(f"{path} is not a file that `save` wrote, or is damaged: {error}") from error
    if described != expected or theta.shape != (field.n_params,):
        raise ValueError(f"{path} holds θ for {described}, not for {expected}")
    return theta if fit is None else fit


def restored(theta, found):
    """The `Fit` in the arrays of a file."""
    history = History(*(found[f"history_{name}"] for name in History._fields))
    parts = [found[f"state_{i}"] for i in range(sum(name.startswith("state_") for name in found))]
    state = tuple(part if part.ndim else part.item() for part in parts) or None
    return Fit(theta=theta, history=history, last=as_real("last", found["last"], theta.shape), state=state,
               **{name: found[name].item() for name in SCALARS if name in found})


def describe(field):
    """A field's class and sizes as text, and those of the fields that it is made of: whose θ this is."""
    if isinstance(field, Counted):
        return describe(field.field)
    sizes = {name: getattr(field, name) for name in DESCRIBED if hasattr(field, name)}
    text = f"{type(field).__name__} {json.dumps(sizes)}"
    for name in ("field", "block", "f"):
        if hasattr(field, name):
            text += f" of {describe(getattr(field, name))}"
    return text

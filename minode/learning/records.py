"""Appendix to chapter 24. What a fit leaves behind, in memory and in a file

A `Fit` holds the best θ and everything that the next step would have looked at: to go on from
it is to go on as if nothing had happened. It may be kept in a file. A file is written whole, under
another name in the same folder, and waits until it is on the disk; then it takes the place of the
old one in a single step, so that at any time, and after a power cut, there is either the old file or
the new one. It holds arrays and text alone: `np.load` could also bring back arbitrary objects
("pickles"), which may run any code; it is told not to. And with θ goes a description of the field
that it belongs to, since it would otherwise pass for the θ of any other field with as many
parameters; with the optimiser's state goes the optimiser's name, for another might read that state
in silence as its own.
"""

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..solvers.states import as_real

FORMAT = "minode, format 1"
SCALARS = ("loss", "best_step", "stopped", "steps", "average", "optimiser")
DESCRIBED = ("dim", "dim_out", "n_params", "widths", "names")


class History(NamedTuple):
    """One number for each step that was done: each is (steps,).

    loss and gradient (its 2-norm before clipping) at the θ that the step started from, the calls n_f of
    f that they took, and the validation loss of the θ it led to, NaN where none was computed.
    """

    loss: np.ndarray
    gradient: np.ndarray
    n_f: np.ndarray
    validation: np.ndarray


class Fit(NamedTuple):
    """The best θ (p,), its loss, and after how many steps it was met; why the fit stopped; its `History`.

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


class Counted:
    """A field that counts in `n_f` how often f is evaluated, and is otherwise that field.

    >>> from minode import Linear, odeint
    >>> field = Counted(Linear(1))
    >>> ys = odeint(field.bind(np.ones(1), np.ones(1)), [1.0], [0.0, 1.0, 2.0], method="rk4")
    >>> field.n_f
    8
    """

    def __init__(self, field, owner=None):
        self.field, self.n_f, self.owner = field, 0, owner or self

    def __getattr__(self, name):
        if name == "field":
            raise AttributeError(name)                       # of a copy that has none yet
        attribute = getattr(self.field, name)
        return self.counting(attribute) if name == "noted" and attribute else attribute

    def __call__(self, *arguments):
        return self.counting(self.field)(*arguments)

    def counting(self, f):
        def counted(*arguments):
            self.owner.n_f += 1
            return f(*arguments)
        return counted

    def bind(self, theta, y):
        return type(self)(self.field.bind(theta, y), self.owner)


def save(path, field, theta):
    """Write theta (p,) of a field, or a whole `Fit`, to a file that only `load` for such a field accepts.

    The file at `path` is in NumPy's .npz format, and is there whole or not at all. ValueError where
    theta is not finite or not of the field's length, TypeError where path is no path, field no field, or
    the optimiser's state no tuple of arrays and numbers; OSError where the file cannot be written. Chapter 24.

    >>> from minode import Linear
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/theta.npz", Linear(2), np.ones(4))
    ...     load(folder + "/theta.npz", Linear(2))
    array([1., 1., 1., 1.])
    """
    path, described = as_path(path), describe(as_owner(field))
    fit = theta if isinstance(theta, Fit) else None
    arrays = {"theta": as_real("theta", fit.theta if fit else theta, (field.n_params,))}
    if fit:
        arrays |= {f"history_{name}": value for name, value in fit.history._asdict().items()}
        state = () if fit.state is None else fit.state
        if not isinstance(state, tuple):
            raise TypeError(f"the optimiser's state must be a tuple of arrays to be kept, not {type(state).__name__}")
        arrays |= {f"state_{i}": np.asarray(part) for i, part in enumerate(state)}
        arrays |= {"last": as_real("last", fit.last, (field.n_params,))}
        arrays |= {name: np.asarray(getattr(fit, name)) for name in SCALARS}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufcU":
            raise TypeError(f"{name} is not an array of numbers, and only a pickle could keep it: {array!r}")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, format=FORMAT, field=described, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path, field):
    """What `save` wrote at `path` for such a field: θ (p,), or the `Fit`. Chapter 24.

    ValueError where the file is damaged, comes from elsewhere, or belongs to another field; TypeError
    where path is no path or field no field, OSError where the file cannot be read.

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
    inner = "".join(f" of {describe(getattr(field, name))}" for name in ("field", "block", "f") if hasattr(field, name))
    return f"{type(field).__name__} {json.dumps(sizes)}{inner}"


def as_owner(field):
    """`field`, if a θ may be that of it: a field or a model, not its class."""
    if isinstance(field, type) or not hasattr(field, "n_params"):
        raise TypeError(f"field must be the VectorField or Classifier that theta is of, not {field!r}")
    return field


def as_path(path):
    """`path` as a Path: a number would be an open file, and the standard input as likely as any."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str or a Path, not {path!r}")
    if not Path(path).name:
        raise ValueError(f"path must name a file, not {path!r}")
    return Path(path)

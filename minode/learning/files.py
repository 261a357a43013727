"""Appendix to chapter 24. A fit, or θ, in a file

`save` first writes a new file under another name in the same folder, and waits until all of it is
on the disk. Then the new file replaces the old one in a single step. So at any time, and even after
a power cut, there is either the complete old file or the complete new one. The file gets the
permissions that `open` would give it. If the path is a symlink, the file to which it leads is
replaced, and not the link. A save that is killed leaves a file whose name ends in .part, and the
next save to that path removes it.

A file holds arrays and text only. `np.load` can also restore arbitrary Python objects ("pickles"),
and these may run any code, so we tell it not to. The file describes the field to which θ belongs.
Without that, θ would be accepted for any other field with as many parameters. The file also lists
its parts, so that `load` notices if one is missing.
"""

import errno
import json
import os
import platform
import re
import secrets
import stat
import zipfile
from pathlib import Path

import numpy as np

from ..inputs import as_numbers, as_owner, as_path, as_real, check_fit
from .records import Counted, Fit, History

FORMAT, OLDER = "minode, format 2", "minode, format 1"      # the older one has no list of its parts
SCALARS = ("loss", "best_step", "stopped", "steps", "average", "optimiser")
DESCRIBED = ("dim", "dim_out", "n_params", "widths", "names")
END, N_ENTRIES = 22, slice(10, 12)                          # length of a zip's last record; the count in it


def save(path, field, theta):
    """Write theta (p,) of a field, or a whole `Fit`, to a file that only `load` for such a field accepts.

    The file at `path` is in NumPy's .npz format, and is written completely or not at all. ValueError if
    theta is not finite or does not have the field's length. TypeError if path is no path, field no field, or
    the optimiser's state no tuple of arrays and numbers. OSError if the file cannot be written. Chapter 24.

    >>> from minode import Linear
    >>> import tempfile
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
    arrays |= {"format": FORMAT, "field": describe(field)}
    arrays["parts"] = json.dumps(sorted(arrays))
    write_whole(path, lambda file: np.savez(file, **arrays))


def arrays_of(fit, n_params):
    """All parts of a `Fit` as arrays, by name."""
    check_fit(fit, n_params)
    state = () if fit.state is None else fit.state
    if not isinstance(state, tuple):
        raise TypeError(f"the optimiser's state must be a tuple of arrays to be kept, not {type(state).__name__}")
    arrays = {name: np.asarray(getattr(fit, name)) for name in ("theta", "last", *SCALARS)}
    arrays |= {f"history_{name}": np.asarray(value) for name, value in fit.history._asdict().items()}
    return arrays | {f"state_{i}": np.asarray(part) for i, part in enumerate(state)}


def write_whole(path, write):
    """Call write(file) for a new file beside `path`, and move it to `path` when all of it is on the disk."""
    path = Path(os.path.realpath(path))                      # behind a symlink, the file to which it leads
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(path):
    """Remove the files of killed saves to `path`: those of processes that no longer run on this machine."""
    leftover = re.compile(rf"\.{re.escape(path.name)}-{re.escape(platform.node())}-(\d+)-[0-9a-f]{{8}}\.part")
    for name in os.listdir(path.parent):
        found = leftover.fullmatch(name)
        if found and not is_running(int(found[1])):
            (path.parent / name).unlink(missing_ok=True)


def is_running(process):
    """Whether a process with this number runs; yes if the system cannot tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)                                  # signal 0 only checks whether it could be sent
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def load(path, field):
    """Read what `save` wrote at `path` for such a field: θ (p,), or the `Fit`. Chapter 24.

    ValueError if the file is damaged, has lost a part, contradicts itself, was not written by `save`, or
    belongs to another field. TypeError if path is no path or field no field. OSError if it cannot be read.

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
            found = arrays_in(file)
            described, theta = str(found["field"]), as_real("theta", found["theta"])
            if described == expected:
                as_real("theta", theta, (field.n_params,))
                return restored(found) if "last" in found else theta
        except Exception as error:
            raise ValueError(f"{path} is not a file that `save` wrote, or is damaged: {error}") from error
    raise ValueError(f"{path} holds θ for {described}, not for {expected}")


def arrays_in(file):
    """The arrays of a file that `save` wrote, by name; ValueError if one is damaged or missing."""
    file.seek(-END, os.SEEK_END)
    end = file.read()
    archive = zipfile.ZipFile(file)
    if archive.testzip() is not None:
        raise ValueError("a part of it is damaged")
    if int.from_bytes(end[N_ENTRIES], "little") != len(archive.namelist()):      # one wrong byte may hide files
        raise ValueError("its table of contents is damaged")
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    if str(found["format"]) not in (FORMAT, OLDER):
        raise ValueError(f"its format is {found['format']}, not {FORMAT}")
    parts = {*json.loads(str(found["parts"])), "parts"} if str(found["format"]) == FORMAT else parts_of_older(found)
    if parts != set(found):
        raise ValueError("; ".join(f"{what} {', '.join(sorted(names))}" for what, names in (
            ("it has lost", parts - set(found)), ("it has more than save writes:", set(found) - parts)) if names))
    return found


def parts_of_older(found):
    """The parts that a file of the older format should have, as far as those that it has tell."""
    parts = {"format", "field", "theta"}
    if parts >= set(found):
        return parts
    parts |= {"last", *SCALARS, *(f"history_{name}" for name in History._fields)}
    parts |= {f"state_{i}" for i in range(sum(name.startswith("state_") for name in found))}
    return parts if "optimiser" in found else parts - {"optimiser"}


def restored(found):
    """The `Fit` in the arrays of a file; ValueError or TypeError if they contradict each other."""
    history = History(*(found[f"history_{name}"] for name in History._fields))
    parts = [as_numbers(f"state_{i}", found[f"state_{i}"])
             for i in range(sum(name.startswith("state_") for name in found))]
    state = tuple(part if part.ndim else part.item() for part in parts) or None
    fit = Fit(theta=found["theta"], history=history, last=found["last"], state=state,
              **{name: found[name].item() for name in SCALARS if name in found})
    check_fit(fit, len(fit.theta))
    return fit


def describe(field):
    """To whom θ belongs: the class and sizes of a field, and of the fields inside it, as text."""
    if isinstance(field, Counted):
        return describe(field.field)
    sizes = {name: getattr(field, name) for name in DESCRIBED if hasattr(field, name)}
    text = f"{type(field).__name__} {json.dumps(sizes, default=lambda x: np.asarray(x).tolist())}"
    for name in ("field", "block", "f"):
        if hasattr(field, name):
            text += f" of {describe(getattr(field, name))}"
    return text

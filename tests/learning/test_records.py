"""What a fit leaves in a file, whole or not at all, for its field, and never code; and a field that counts."""

import copy
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from minode import (MLP, Classifier, Fit, FitError, Flow, Layered, Linear, check_field, fit, load, odeint, save,
                    value_and_gradients)
from minode.gradients.pullback import OF_THE_EQUATION
from minode.learning.records import Counted
from tests.book import ROOT
from tests.learning.test_fit import SMALL, STARTS, THETA, VARIANTS, F, T, bits, mismatch

KEPT = "was here before"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "theta.npz"


@pytest.fixture(scope="module")
def found():
    """A fit of twelve steps by Adam."""
    return fit(mismatch, THETA, **SMALL)


def only(path):
    """Whether the file is alone in its folder: no temporary one is left."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_theta_comes_back_as_it_was_to_the_last_bit(path):
    theta = THETA.copy()
    theta[:3] = -0.0, 5e-324, np.nextafter(1, 2)
    for name in (path, str(path)):
        save(name, F, theta)
        assert load(name, F).tobytes() == theta.tobytes() and only(path)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fit_comes_back_as_it_was_to_the_last_bit(name, path):
    found = fit(mismatch, THETA, **SMALL | VARIANTS[name])
    save(path, F, found)
    assert bits(load(path, F)) == bits(found)
    for part in load(path, F).state:
        assert isinstance(part, (int, np.ndarray))


def test_a_fit_that_took_no_step_comes_back_too(path):
    def stop(theta, batch):
        raise KeyboardInterrupt
    found = fit(stop, THETA, **SMALL)
    save(path, F, found)
    assert bits(load(path, F)) == bits(found) and found.steps == 0 and found.loss == np.inf


def test_counting_is_not_a_property_of_the_field(path):
    save(path, Counted(F), THETA)
    assert np.array_equal(load(path, F), THETA)


@pytest.mark.parametrize("other", [
    MLP([3, 4, 2], ["tanh", "tanh"]), MLP([2, 5, 2], ["tanh", "identity"]), Linear(2),
    MLP([3, 3, 2], ["tanh", "identity"]),
])
def test_theta_of_another_field_is_refused_and_both_are_named(other, path):
    save(path, F, THETA)
    with pytest.raises(ValueError, match=rf"holds θ for MLP .*\[3, 4, 2\].*, not for {type(other).__name__} "):
        load(path, other)
    assert np.array_equal(load(path, F), THETA)


def test_theta_of_a_flow_of_another_field_is_refused(path):
    tanh, sin = (Flow(MLP([2, 5, 2], [name, "identity"])) for name in ("tanh", "sin"))
    save(path, tanh, np.ones(tanh.n_params))
    with pytest.raises(ValueError, match="holds θ for Flow .* of MLP .*tanh.*, not for Flow .* of MLP .*sin"):
        load(path, sin)


def test_a_classifier_is_described_with_what_it_is_made_of(path):
    def model(hidden, layers):
        return Classifier(4, Layered(MLP([2, hidden, 2], ["tanh", "identity"]), layers), 3)
    theta = model(4, 3).init(np.random.default_rng(0))
    save(path, model(4, 3), theta)
    assert np.array_equal(load(path, model(4, 3)), theta)
    with pytest.raises(ValueError, match=r"of Layered .* of MLP .*\[2, 4, 2\].*, not for .*\[2, 5, 2\]"):
        load(path, model(5, 3))


def test_a_file_cut_short_anywhere_is_refused(path):
    save(path, F, THETA)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a file that `save` wrote, or is damaged"):
            load(path, F)
        assert path.read_bytes() == whole[:length]


def test_a_file_with_a_byte_changed_is_refused_or_has_the_right_theta(path):
    save(path, F, THETA)
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1:])
        try:
            assert np.array_equal(load(path, F), THETA)        # a date, or another name for the whole
        except ValueError:
            refused += 1
    assert refused > len(whole) / 13 / 2


def test_a_fit_with_a_byte_changed_is_refused_or_the_same_fit(path, found):
    save(path, F, found)
    whole = path.read_bytes()
    contents = whole.index(b"PK\x01\x02")                     # zip's table of contents, where zipfile looks least
    second, last = whole.index(b"PK\x01\x02", contents + 1), whole.rindex(b"PK\x01\x02")      # entries alike
    for place in [*range(0, contents, 97), *range(contents, second), *range(second, last, 13),
                  *range(last, len(whole))]:
        for flip in (0x04, 0x55) if place >= contents else (0x55,):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1:])
            try:
                assert bits(load(path, F)) == bits(found)
            except ValueError as error:
                assert str(path) in str(error)


def changed(path, without=(), **parts):
    """The file with other parts, or without some."""
    with np.load(path) as arrays:
        found = {name: arrays[name] for name in arrays.files if name not in without}
    np.savez(path, **found | parts)


def test_a_fit_that_has_lost_a_part_is_refused_and_the_part_is_named(path, found):
    save(path, F, found)
    whole, names = path.read_bytes(), np.load(path).files
    assert len(names) == 18
    for name in names:
        path.write_bytes(whole)
        changed(path, without=[name])
        with pytest.raises(ValueError, match=f"is not a file that `save` wrote, or is damaged: .*{name}"):
            load(path, F)
    path.write_bytes(whole)
    changed(path, mine=THETA)
    with pytest.raises(ValueError, match="it has more than save writes: mine"):
        load(path, F)


CONTRADICTIONS = [
    ({"steps": 3}, "best_step = 11 is after the last of 3 steps"), ({"steps": 2.5}, "steps must be a number of steps"),
    ({"steps": 13}, r"history.loss must be a real number for each of 13 steps, not float64 \(12,\)"),
    ({"steps": -1}, "steps must be a number of steps, not -1"), ({"best_step": True}, "best_step must be a number"),
    ({"best_step": 12}, "theta, found after best_step = 12 of 12 steps, must be last"),
    ({"history_loss": np.ones((12, 2))}, r"history.loss must be .* not float64 \(12, 2\)"),
    ({"history_n_f": np.array(["a"] * 12)}, "history.n_f must be an array of numbers"),
    ({"history_gradient": 1j * np.ones(12)}, "history.gradient must be a real number .*complex128"),
    ({"theta": np.ones((26, 1)), "last": np.ones((26, 1))}, r"theta must have shape \(26,\), not \(26, 1\)"),
    ({"last": np.ones(25)}, r"last must have shape \(26,\), not \(25,\)"),
    ({"theta": np.array(["a"] * 26)}, "theta must be an array of numbers"), ({"loss": np.nan}, "loss must be a number"),
    ({"average": "low"}, "average must be a number, not 'low'"), ({"stopped": 3}, "stopped must be a str, not 3"),
    ({"optimiser": 1.0}, "optimiser must be a str, not 1.0"), ({"loss": np.ones(2)}, "can only convert an array of size 1"),
    ({"state_0": np.array(["a"] * 26)}, "state_0 must be an array of numbers"),
]


@pytest.mark.parametrize("change, message", CONTRADICTIONS, ids=lambda value: str(value)[:40])
def test_a_fit_whose_parts_contradict_each_other_is_refused(change, message, path, found):
    save(path, F, found)
    assert found.best_step == 11
    changed(path, **change)
    with pytest.raises(ValueError, match=f"is not a file that `save` wrote, or is damaged: {message}"):
        load(path, F)


@pytest.mark.parametrize("change", [{"steps": 3}, {"best_step": 12}, {"theta": THETA[:3]}, {"stopped": None},
                                    {"history": fit(mismatch, THETA, **SMALL | {"n_steps": 3}).history}], ids=str)
def test_such_a_fit_is_not_saved_and_not_gone_on_from(change, path, found):
    found = found._replace(**change)
    with pytest.raises((ValueError, TypeError), match="steps|best_step|theta|last|stopped") as caught:
        save(path, F, found)
    assert not isinstance(caught.value, FitError) and not path.exists()
    with pytest.raises((ValueError, TypeError), match="steps|best_step|theta|last|stopped"):
        fit(mismatch, found, **SMALL | {"n_steps": 20})


class Code:
    """What runs when it is unpickled."""

    ran = False

    def __reduce__(self):
        return exec, ("import tests.learning.test_records as here; here.Code.ran = True",)


def npy(path):
    with path.open("wb") as file:
        np.save(file, THETA)


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("theta", "1 2 3")


def pickled(path):
    np.savez(path, format="minode, format 1", field=np.array([Code()], dtype=object), theta=THETA)


FOREIGN = {
    "text": lambda path: path.write_text("θ = 1, 2, 3", encoding="utf-8"),
    "empty": lambda path: path.write_bytes(b""),
    "npy": npy,
    "npz of another": lambda path: np.savez(path, theta=THETA),
    "another format": lambda path: np.savez(path, format="minode, format 0", field="MLP", theta=THETA),
    "another zip": zipped,
    "pickle": lambda path: path.write_bytes(pickle.dumps(Code())),
    "pickle inside": pickled,
    "NaN": lambda path: np.savez(path, format="minode, format 1", field="MLP", theta=np.nan * THETA),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_comes_from_elsewhere_is_refused_and_no_code_in_it_is_run(kind, path):
    FOREIGN[kind](path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is not a file that `save` wrote, or is damaged"):
        load(path, F)
    assert path.read_bytes() == before and not Code.ran


def test_a_file_that_is_not_there_or_a_folder_that_is_not_is_the_systems_own_error(path):
    with pytest.raises(FileNotFoundError):
        load(path, F)
    with pytest.raises(FileNotFoundError):
        save(path / "below" / "theta.npz", F, THETA)


@pytest.mark.parametrize("theta, message", [
    (np.full(26, np.nan), "theta must be finite"), (THETA[:-1], r"theta must have shape \(26,\), not \(25,\)")])
def test_theta_that_cannot_be_used_is_not_saved(theta, message, path):
    path.write_text(KEPT)
    with pytest.raises(ValueError, match=message):
        save(path, F, theta)
    assert path.read_text() == KEPT and only(path)


@pytest.mark.parametrize("state, message", [
    ({"v": THETA}, "the optimiser's state must be a tuple of arrays to be kept, not dict"),
    (THETA, "must be a tuple of arrays to be kept, not ndarray"),
    ((None, THETA), "state_0 is not an array of numbers, and only a pickle could keep it: array"),
    (({"v": 1.0},), "state_0 is not an array of numbers"),
])
def test_a_state_that_could_not_be_loaded_is_not_saved_and_nothing_is_pickled(state, message, path, found):
    path.write_text(KEPT)
    with pytest.raises(TypeError, match=message):
        save(path, F, found._replace(state=state))
    assert path.read_text() == KEPT and only(path)


def test_a_fit_whose_last_theta_is_not_finite_is_not_saved_for_it_could_not_be_loaded(path, found):
    for last, message in ((np.nan * THETA, "last must be finite"), (THETA[:-1], r"last must have shape \(26,\)")):
        with pytest.raises(ValueError, match=message):
            save(path, F, found._replace(last=last))
    assert not path.exists()


@pytest.mark.parametrize("where", ["savez", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("what", [OSError("the disk is full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file_and_no_other(where, what, path, monkeypatch):
    def fail(*arguments, **more):
        raise what
    path.write_text(KEPT)
    monkeypatch.setattr(np if where == "savez" else os, where, fail)
    with pytest.raises(type(what)):
        save(path, F, THETA)
    assert path.read_text() == KEPT and only(path)


def test_a_file_is_whole_on_the_disk_before_it_takes_the_place_of_the_old_one(path, monkeypatch):
    path.write_text(KEPT)
    fsync, replace, done = os.fsync, os.replace, []

    def to_the_disk(handle):
        done.append(os.fstat(handle).st_size)
        fsync(handle)

    def to_its_place(temporary, target):
        assert target == path and path.read_text() == KEPT
        done.append(os.stat(temporary).st_size)
        replace(temporary, target)
    monkeypatch.setattr(os, "fsync", to_the_disk)
    monkeypatch.setattr(os, "replace", to_its_place)
    save(path, F, THETA)
    assert done == [path.stat().st_size] * 2 and np.array_equal(load(path, F), THETA)


@pytest.mark.skipif(os.name != "posix", reason="permissions and symlinks are those of POSIX")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o000, 0o666)])
def test_a_new_file_has_the_permissions_that_open_gives(umask, mode, path):
    before = os.umask(umask)
    try:
        save(path, F, THETA)
        (path.parent / "opened").write_text("")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode == (path.parent / "opened").stat().st_mode & 0o777


@pytest.mark.skipif(os.name != "posix", reason="permissions and symlinks are those of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(mode, path):
    path.write_text(KEPT)
    path.chmod(mode)
    save(path, F, THETA)
    assert path.stat().st_mode & 0o777 == mode and np.array_equal(load(path, F), THETA)


def test_a_file_that_may_not_be_written_is_kept(path, monkeypatch):
    path.write_text(KEPT)
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK)       # for the superuser all may be
    with pytest.raises(PermissionError) as caught:
        save(path, F, THETA)
    assert caught.value.filename == str(path) and path.read_text() == KEPT and only(path)


@pytest.mark.skipif(os.name != "posix", reason="permissions and symlinks are those of POSIX")
def test_a_symlink_stays_one_and_the_file_it_leads_to_is_replaced(path, tmp_path):
    folder, target = tmp_path / "links", tmp_path / "elsewhere" / "kept.npz"
    folder.mkdir()
    target.parent.mkdir()
    for name, there in (("here.npz", target), ("relative.npz", "../elsewhere/kept.npz"), ("twice.npz", "here.npz")):
        (folder / name).symlink_to(there)
        target.unlink(missing_ok=True)                       # at first it leads nowhere
        for theta in (THETA, 2 * THETA):
            save(folder / name, F, theta)
            assert (folder / name).is_symlink() and not target.is_symlink() and only(target)
            assert np.array_equal(load(target, F), theta) and np.array_equal(load(folder / name, F), theta)


KILLED = """
import os, sys
import numpy as np
from minode import Linear, save
def killed(handle): os.kill(os.getpid(), 9)
os.fsync = killed
save(sys.argv[1], Linear(2), np.ones(4))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_what_a_killed_save_leaves_is_no_fit_and_is_removed_by_the_next_one(path):
    save(path, F, THETA)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT)
    leftover, = (entry for entry in path.parent.iterdir() if entry != path)
    assert done.returncode == -9 and np.array_equal(load(path, F), THETA)
    assert leftover.name.startswith(".theta.npz-") and leftover.suffix == ".part"
    (path.parent / ".theta.npz-of mine.part").write_text("mine")
    running = leftover.with_name(leftover.name.replace(f"-{leftover.name.split('-')[-2]}-", f"-{os.getpid()}-"))
    running.write_text("of a save that goes on")
    save(path.parent / "other.npz", F, THETA)
    assert leftover.exists()                                 # it is not of that path
    save(path, F, 2 * THETA)
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {path.name, "other.npz", ".theta.npz-of mine.part", running.name}


def test_the_description_of_a_field_may_hold_numpys_numbers(path):
    class Own(Linear):
        names = np.array([1, 2])
    field = Own(2)
    field.dim = np.int64(2)
    save(path, field, THETA[:4])
    assert np.array_equal(load(path, field), THETA[:4])


def test_a_fit_in_a_file_of_before_the_optimiser_was_named_is_read(path):
    found = fit(mismatch, THETA, **SMALL)
    save(path, F, found)
    with np.load(path) as arrays:
        older = {name: arrays[name] for name in arrays.files if name not in ("optimiser", "parts")}
    older["format"] = "minode, format 1"
    np.savez(path, **older)
    assert bits(load(path, F)) == bits(found._replace(optimiser=""))
    assert bits(fit(mismatch, load(path, F), **SMALL)) == bits(found)
    np.savez(path, **{name: array for name, array in older.items() if name != "best_step"})
    with pytest.raises(ValueError, match="is not a file that `save` wrote"):
        load(path, F)


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_fit_error_can_be_sent_to_another_process_and_keeps_its_fit(again, found):
    error = again(FitError("stopped after 12 steps", found))
    assert isinstance(error.fit, Fit) and bits(error.fit) == bits(found) and str(error) == "stopped after 12 steps"


def test_the_file_of_the_last_save_is_the_one_that_counts(path):
    save(path, F, THETA)
    save(path, F, 2 * THETA)
    assert np.array_equal(load(path, F), 2 * THETA) and only(path)


def test_a_readers_field_may_have_anything_for_a_block(path):
    class Own(Linear):
        block = "of flats"
    save(path, Own(2), THETA[:4])
    assert np.array_equal(load(path, Own(2)), THETA[:4])


# -- a field that counts ------------------------------------------------------------------------


def test_evaluations_are_counted_and_products_and_matrices_of_derivatives_are_not():
    counted, a = Counted(F), np.cos(STARTS)
    assert np.array_equal(counted(0.3, STARTS, THETA), F(0.3, STARTS, THETA)) and counted.n_f == 1
    value, back = counted.value_and_vjp(0.3, STARTS, THETA)
    assert np.array_equal(value, F(0.3, STARTS, THETA)) and counted.n_f == 2
    for got, expected in zip(back(a), F.vjp(0.3, STARTS, THETA, a)):
        assert np.array_equal(got, expected)
    for name, more in {"jacobian": (), "param_jacobian": (), "time_derivative": (), "vjp": (a,), "jvp": (a, THETA),
                       "vjp_derivative": (a, a, THETA)}.items():
        got, expected = (np.concatenate([np.ravel(part) for part in getattr(f, name)(0.3, STARTS, THETA, *more)])
                         for f in (counted, F))
        assert np.array_equal(got, expected), name
    assert counted.n_f == 2


ONE_WAY, ON_THE_WAY_BACK = 8, {"discrete": 0, "checkpoint": 8, "backsolve": 8, "interpolate": 10}


@pytest.mark.parametrize("gradient", ON_THE_WAY_BACK)
@pytest.mark.parametrize("widths", [[3, 4, 2], [3, 64, 64, 2]], ids=["small", "wide"])
def test_a_gradient_of_two_steps_of_rk4_counts_what_its_route_evaluates(gradient, widths):
    field = MLP(widths, ["tanh"] * (len(widths) - 1))
    theta, counted = field.init(np.random.default_rng(1)), Counted(field)

    def half_square(ys):
        return 0.5 * np.sum(ys**2), ys
    for times in (False, True):                          # (17.5) and (17.6): at all the times at once, and at one alone
        counted.n_f = 0
        a = value_and_gradients(half_square, counted, STARTS, T, theta, method="rk4", gradient=gradient, times=times)
        assert counted.n_f == ONE_WAY + ON_THE_WAY_BACK[gradient] + 2 * (times and gradient in OF_THE_EQUATION)
        b = value_and_gradients(half_square, field, STARTS, T, theta, method="rk4", gradient=gradient, times=times)
        assert a[0] == b[0] and np.array_equal(a[1].y0, b[1].y0) and np.array_equal(a[1].theta, b[1].theta)


def test_a_counted_field_may_stand_wherever_a_field_may():
    counted, rng = Counted(F), np.random.default_rng(2)
    flow, model = Flow(counted), Classifier(4, counted, 3, t=T, method="rk4")
    theta, x = model.init(rng), rng.normal(size=(5, 4))
    assert check_field(counted, 0.3, STARTS[:2], THETA)
    counted.n_f = 0
    assert odeint(counted, STARTS, T, THETA, method="rk4").shape == (3, 10, 2) and counted.n_f == 8
    with pytest.raises(TypeError, match="a VectorField and wants its θ too"):
        odeint(counted, STARTS, T)
    states = np.concatenate([STARTS, np.zeros((10, 1))], axis=1)
    assert odeint(flow, states, T, THETA, method="rk4").shape == (3, 10, 3) and counted.n_f == 16
    model.logits(x, theta)
    assert counted.n_f == 24
    model.value_and_gradient(x, np.array([0, 1, 2, 0, 1]), theta)
    assert counted.n_f == 32


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda counted: pickle.loads(pickle.dumps(counted))])
def test_a_copy_of_a_counted_field_goes_on_counting_by_itself(again):
    counted = Counted(F)
    counted(0.0, STARTS, THETA)
    other = again(counted)
    other(0.0, STARTS, THETA)
    assert (counted.n_f, other.n_f) == (1, 2) and other.dim == 2
    with pytest.raises(AttributeError, match="no_such_name"):
        other.no_such_name

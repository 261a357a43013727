"""`python -m figures` draws whole pictures, the same ones each time, and says what it does."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import types
from concurrent.futures import Executor, Future
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import figures
from figures import __main__ as command
from tests.ahead import PICTURE, TWICE, result
from tests.book import ROOT

from . import computed
from .test_style import READABLE, contrast

ALL = figures.discover()
BY_DEFAULT = {name: module for name, module in ALL.items() if not getattr(module, "ON_REQUEST", False)}
LARGEST = 130_000              # bytes of one picture
LARGEST_MOVING = 200_000       # of an animation
WORDS, COUNTED = 60, 4         # of a caption: words, and numbers that are neither years nor those of a figure or chapter
PATIENCE = 60                  # seconds before a process counts as hung

MODULE = '''
    """Figure {number}. The {name} one

    Caption. A line.
    """
    import time, warnings
    SECONDS = {seconds}
    {flag}

    def compute():
        return {{"y": [1, 2]}}

    def draw(fig, data):
        {before}
        fig.subplots().plot(data["y"])
'''


SMALL = {"plain": ("", "pass"), "broken": ("", "1 / 0"), "warning": ("", "warnings.warn('mind this')"),
         "requested": ("ON_REQUEST = True", "pass"), "slow": ("ON_REQUEST = True", "time.sleep(1000)")}


@pytest.fixture
def folder(tmp_path):
    """A folder with the machinery of the figures and five small ones."""
    package = tmp_path / "figures"
    package.mkdir()
    for name in ("__init__.py", "__main__.py", "_kept.py", "style.py"):
        shutil.copy(Path(figures.__file__).parent / name, package)
    for number, (name, (flag, before)) in enumerate(SMALL.items(), start=1):
        source = MODULE.format(number=number, name=name, flag=flag, before=before, seconds=number / 2)
        (package / f"{name}.py").write_text(textwrap.dedent(source))
    return package


@pytest.fixture
def small(folder, tmp_path):
    """`python -m figures` of the five small figures: run(*arguments) starts the process."""
    def heed_ctrl_c():                          # which a shell lets its background jobs ignore, and they their own
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    started, environment = [], os.environ | {"PYTHONPATH": str(ROOT)}        # for minode; the figures are those here

    def run(*arguments):
        started.append(subprocess.Popen(
            [sys.executable, "-m", "figures", *arguments], env=environment, cwd=tmp_path, text=True, preexec_fn=heed_ctrl_c,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True))
        return started[-1]

    yield run
    for process in started:
        with process:                           # and no test leaves one running
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


class AtOnce(Executor):
    """A pool of no processes: what is handed in is done here, at once."""

    def __init__(self, *_, **__):
        pass

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def here(folder, tmp_path, monkeypatch, capsys):
    """The same without a process: run(*arguments) gives its exit code, output and errors."""
    monkeypatch.setattr(figures, "__path__", [str(folder)])
    for module, name, value in ((command, "HERE", folder), (command, "GALLERY", folder / "gallery"),
                                (command, "ProcessPoolExecutor", AtOnce), (figures._kept, "HERE", folder),
                                (figures._kept, "KEPT", folder / "kept"), (figures._kept, "FRESH", False)):
        monkeypatch.setattr(module, name, value)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            code = command.main(arguments)
        except SystemExit as stop:               # argparse's, of what cannot be done
            code = stop.code
        return code, *capsys.readouterr()

    yield run
    for name in {path.stem for path in folder.glob("[a-z]*.py")} - {"style"}:
        sys.modules.pop(f"figures.{name}", None)
        vars(figures).pop(name, None)


def is_whole(path):
    content = path.read_bytes()
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")


@cache
def drawn(name):
    return result(PICTURE + name)


def frames(module):
    return getattr(module, "FRAMES", None)


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_a_figure_is_drawn_without_a_warning_into_a_small_picture(name):
    assert len(drawn(name)[0]) < (LARGEST_MOVING if frames(ALL[name]) else LARGEST)


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_every_text_in_a_figure_can_be_read(name):
    texts = drawn(name)[1]
    assert texts
    for text, colour in texts:
        assert colour == "#ffffff" or contrast(colour) > READABLE, (text, colour)


@pytest.mark.parametrize("name, format", [picture.split() for picture in TWICE])
def test_a_figure_drawn_twice_is_the_same_byte_for_byte(name, format):
    once, again = result(f"{PICTURE}{name} {format}")[0], figures.render(ALL[name], computed(name), format)
    assert once == again and once[:5] == {"png": b"\x89PNG\r", "svg": b"<?xml", "pdf": b"%PDF-"}[format]


def test_the_dots_per_inch_are_those_asked_for():
    module, data = ALL["invariant"], computed("invariant")
    pixels = [Image.open(io.BytesIO(picture)).size
              for picture in (drawn("invariant")[0], figures.render(module, data, dpi=50))]
    assert pixels == [tuple(round(160 * inches) for inches in (8.0, 3.9)), (400, 195)]


def moving(frames):
    """A figure of a square that moves to the right, a step each frame."""
    def draw(fig, data, frame):
        ax = fig.subplots()
        ax.plot(data["x"][frame], 0.5, "s", ms=20)
        ax.set(xlim=(-1, frames))
    return types.SimpleNamespace(draw=draw, FRAMES=frames, SIZE=(3.0, 2.0), PER_SECOND=20, __name__="moving"), {
        "x": np.arange(float(frames))}


def test_an_animation_is_one_png_that_moves_and_begins_with_a_picture_of_its_own():
    module, data = moving(6)
    content = figures.render(module, data)
    assert content == figures.render(module, data) and content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
    picture = Image.open(io.BytesIO(content))
    assert picture.is_animated and picture.n_frames == 6 and picture.size == (240, 160) and picture.info["loop"] == 0
    shown, times = [], []
    for frame in range(6):
        picture.seek(frame)
        shown.append(np.array(picture.convert("RGB")))
        times.append(picture.info["duration"])
    assert times == [50] * 5 + [2000]
    at = [np.argwhere(np.ptp(pixels.astype(int), axis=2) > 60)[:, 1].mean() for pixels in shown]
    assert (np.diff(at) > 10).all()                                                  # pixels, to the right
    first = Image.open(io.BytesIO(figures.render(module, data, "png", dpi=80)))
    assert not getattr(first, "is_animated", False)
    assert np.abs(np.array(first.convert("RGB")).astype(int) - shown[0]).mean() < 1          # of 255: other palettes


@pytest.mark.parametrize("format, begins", [("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_an_animation_in_another_format_is_its_first_frame(format, begins):
    assert figures.render(*moving(3), format).startswith(begins)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The source of a figure, and run(...): the numbers that are had, which are how often they were computed."""
    _kept, times, source = figures._kept, [], tmp_path / "plain.py"
    source.write_text(textwrap.dedent(MODULE.format(number=1, name="plain", flag="", before="pass", seconds=1)))

    def compute():
        times.append("y")
        return {"y": len(times)}
    monkeypatch.delenv("FIGURES_OF_ANY_VERSION", raising=False)
    monkeypatch.setattr(_kept, "HERE", tmp_path)
    monkeypatch.setattr(_kept, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(_kept, "import_module", lambda name: types.SimpleNamespace(compute=compute))

    def run(fresh=False):
        monkeypatch.setattr(_kept, "FRESH", fresh)
        _kept.code.cache_clear()
        _kept.machine.cache_clear()
        return _kept.computed("plain")["y"]
    yield source, run
    _kept.code.cache_clear()
    _kept.machine.cache_clear()


def test_numbers_are_computed_anew_if_and_only_if_something_that_they_depend_on_has_changed(made, monkeypatch):
    source, run = made
    assert [run(), run()] == [1, 1]
    source.write_text(source.read_text().replace("A line.", "Another.").replace("plot(", "scatter(") + "# a remark\n")
    source.write_text(source.read_text() + "SIZE = 8, 5\ndef draw_more(ax):\n    pass\n")
    (source.parent / "style.py").write_text("BLUE = 1\ndef slope(x):\n    return x\n")
    source.write_text(source.read_text() + "from . import style\nCOLOURS = {'rk4': style.BLUE}\n")
    before = run()
    (source.parent / "style.py").write_text("BLUE = 2\ndef key(x):\n    pass\ndef slope(x):\n    return x\n")
    source.write_text(source.read_text().replace("style.BLUE", "style.METHOD['rk4']"))
    assert run() == before == 2                             # words, how it is drawn, and colours
    source.write_text(source.read_text() + "N = 1\n")
    assert [run(), run()] == [3, 3]
    (source.parent / "style.py").write_text("def slope(x):\n    return 2 * x\n")
    assert run() == 4
    (source.parent / "other.py").write_text("M = 1\n")
    source.write_text(source.read_text() + "from .other import M\n")
    assert run() == 5
    (source.parent / "other.py").write_text("M = 2\n")
    assert run() == 6
    (source.parent / "data").mkdir()
    (source.parent / "data" / "seen.csv").write_text("1")
    assert [run(), run()] == [7, 7]
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("OPENBLAS_CORETYPE", "one kind")
        assert [run(), run()] == [8, 8]
        elsewhere.setenv("FIGURES_OF_ANY_VERSION", "1")
        elsewhere.setenv("OPENBLAS_CORETYPE", "another")
        assert run() in (7, 8)
    assert run() == 7
    assert [run(fresh=True), run()] == [9, 9]


def test_a_kept_file_that_is_damaged_is_not_used_and_old_ones_go(made):
    source, run = made
    run()
    kept, = (source.parent / "kept").iterdir()
    content = kept.read_bytes()
    for damaged in (content[:-1], content[:20], b"", content.replace(b"y", b"z")):
        kept.write_bytes(damaged)
        before = run()
        assert run() == before and kept.read_bytes() != damaged
    for n in range(6):
        source.write_text(source.read_text() + f"N{n} = 0\n")
        run()
    assert len(list((source.parent / "kept").iterdir())) == 4


def test_minodes_own_code_is_in_the_key_and_its_words_are_not(tmp_path, monkeypatch):
    path = tmp_path / "chapter.py"
    texts = ['"""Words."""\ndef f(x):\n    """More."""\n    return 2 * x   # (9.1)\n', "def f(x):\n    return 2*x\n",
             "def f(x):\n    return 3 * x\n"]
    _kept = figures._kept
    codes = []
    for text in texts:
        path.write_text(text)
        codes.append(_kept.code.__wrapped__(path))
    assert codes[0] == codes[1] != codes[2]
    before, one = _kept.key("trajectory"), "another minode"
    monkeypatch.setattr(_kept, "code_of_minode", lambda: one)
    assert _kept.key("trajectory") != before


def test_what_two_figures_need_is_kept_for_each_of_its_arguments(made, monkeypatch):
    source, _ = made
    monkeypatch.setattr(figures._kept, "IS_AS_WRITTEN", True)
    calls = []

    def trained(name, steps=3):
        calls.append(name)
        return name, steps
    trained.__module__ = "figures.plain"
    assert figures._kept.kept(trained)("a", 4) == figures._kept.kept(trained)("a", 4) == ("a", 4)
    assert figures._kept.kept(trained)("a") == ("a", 3) and figures._kept.kept(trained)("b", 4) == ("b", 4)
    assert calls == ["a", "a", "b"]


def test_under_a_planted_mistake_nothing_kept_is_used(monkeypatch):
    monkeypatch.setattr(figures._kept, "IS_AS_WRITTEN", False)
    monkeypatch.setattr(ALL["trajectory"], "compute", lambda: "computed")
    assert figures._kept.computed("trajectory") == "computed"


def test_the_gallery_holds_the_figures_and_nothing_else():
    pictures = {path.name for path in command.GALLERY.iterdir()}
    assert {f"{name}.png" for name in BY_DEFAULT} <= pictures <= {f"{name}.png" for name in ALL}
    assert all(is_whole(path) for path in command.GALLERY.iterdir())


def test_every_figure_has_a_number_of_its_own_a_caption_and_equations():
    numbers = [figures.number_and_title(module)[0] for module in ALL.values()]
    assert numbers[:len(BY_DEFAULT)] == list(range(1, len(BY_DEFAULT) + 1))
    assert len(set(numbers)) == len(numbers)
    for module in ALL.values():
        assert figures.caption(module).startswith("Caption. ") and module.__doc__.count("\n\nCaption. ") == 1
        last = module.__doc__.partition("\n\nCaption. ")[2].split("\n\n")[1:]
        assert [paragraph.split()[0] for paragraph in last] in ([], ["Numbers."]), module.__name__
        assert re.search(r"shows\s+\(\d+\.\d+\)", module.__doc__), module.__name__
        assert module.SECONDS > 0


def is_long(name):
    """Whether a caption has more words or numbers than a reader takes in; years and the numbers of figures are free."""
    text = figures.caption(ALL[name]).removeprefix("Caption. ")
    counted = re.sub(r"\((?:[^()]* )?\d{4}\)|[Ff]igures? \d+(?:(?:, | and | to )\d+)*|chapters? \d+|\(\d+\.\d+\)", "", text)
    return len(text.split()) > WORDS or len(re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[-−]?\d+)?", counted)) > COUNTED


@pytest.mark.parametrize("name", ALL)
def test_a_caption_can_be_taken_in_at_once(name):
    assert not is_long(name)


def test_the_caption_and_the_numbers_are_paragraphs_of_their_own():
    module = types.SimpleNamespace(__doc__="""Figure 1. One

    Caption. It falls
    with n.

    Numbers. From 1
    to 0.5.
    """)
    assert figures.caption(module) == "Caption. It falls with n." and figures.numbers(module) == "Numbers. From 1 to 0.5."
    module.__doc__ = "Figure 1. One\n\nCaption. It falls.\n"
    assert figures.caption(module) == "Caption. It falls." and figures.numbers(module) == ""


def test_a_docstring_without_number_and_title_is_refused(monkeypatch):
    monkeypatch.setattr(ALL["trajectory"], "__doc__", "A picture.")
    with pytest.raises(ValueError, match="trajectory must begin its docstring with 'Figure N. Title'"):
        figures.discover()


def test_the_list_names_number_time_and_title(here):
    code, output, errors = here("--list")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert code == 0 and errors == "" and len(lines) == 5
    assert lines[0] == "1 plain about 0.5 s The plain one"
    assert lines[3] == "4 requested about 2 s The requested one (only when named)"


@pytest.mark.parametrize("arguments, message", [
    (["plian"], "unknown figure 'plian'; known: plain, broken, warning, requested, slow"),
    (["plain", "--jobs", "0"], "--jobs must be at least 1, not 0"),
    (["plain", "--dpi", "5"], "--dpi must be between 10 and 1200, not 5"),
    (["plain", "--format", "gif"], "argument --format: invalid choice: 'gif'"),
    (["--new", "Plain"], "--new must be a name of small letters, digits and _ that begins with a letter, not 'Plain'"),
    (["--new", "../plain"], "--new must be a name of small letters"),
    (["--new", "class"], "--new must be a name of small letters"),
    (["--new", "plain"], "figures/plain exists already: choose another name, or remove it first"),
    (["--new", "style"], "figures/style exists already"),
    (["plain", "--out", "figures/style.py"], "--out must be a folder"),
    (["plain", "--out", "figures/style.py/below"], "--out must be a folder that can be written to: "),
    (["plain", "--out", "full"], "--out must be a folder that can be written to: "),
])
def test_what_cannot_be_done_is_said_before_anything_is_drawn(here, folder, tmp_path, arguments, message):
    if "full" in arguments:                                  # a folder that even the superuser cannot write to
        (tmp_path / "full").symlink_to("/proc/self" if Path("/proc/self").exists() else "/dev")
    before = {path: path.read_text() for path in folder.glob("*.py")}
    code, output, errors = here(*arguments)
    assert code == 2 and message in errors and output == ""
    assert {path: path.read_text() for path in folder.glob("*.py")} == before and not [*tmp_path.rglob("*.png")]


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    def discover():
        raise ModuleNotFoundError(name="scipy")

    monkeypatch.setattr(command, "discover", discover)
    with pytest.raises(SystemExit):
        command.main([])
    assert "the figures need scipy: python -m pip install -e '.[figures]'" in capsys.readouterr().err


def test_a_failing_figure_is_reported_and_the_others_are_drawn(small, tmp_path):
    process = small("--out", "new/folder", "--jobs", "1")
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "drawing 3 figures in 1 processes: warning, broken, plain" in output
    assert re.search(r"\[\d/3\] plain: \d+\.\d s, \d+ kB", output)
    assert re.search(r"1 of 3 figures drawn in \d+\.\d s, in new/folder; failed: \w+, \w+$", output.strip())
    assert "ZeroDivisionError" in errors and "UserWarning: mind this" in errors
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["plain.png"]
    assert is_whole(tmp_path / "new/folder/plain.png")


def test_pictures_in_another_format_or_size_go_to_the_current_folder(here, tmp_path):
    for arguments, begins in ((["--format", "svg"], b"<?xml"), (["--format", "pdf"], b"%PDF-"), (["--dpi", "50"], b"\x89PNG")):
        _, output, errors = here("plain", *arguments)
        picture = tmp_path / f"plain.{arguments[1] if arguments[0] == '--format' else 'png'}"
        assert errors == "" and "1 of 1 figures drawn" in output and picture.read_bytes().startswith(begins)
    with Image.open(tmp_path / "plain.png") as picture:
        assert picture.size == (400, 195)
    assert not (tmp_path / "figures" / "gallery").exists()


def test_a_new_figure_has_the_next_number_draws_at_once_and_is_not_written_over(here, tmp_path):
    code, output, errors = here("--new", "swing")
    path = tmp_path / "figures" / "swing.py"
    assert code == 0 and errors == "" and output.startswith("figures/swing.py is figure 6. Draw it by `python")
    source = path.read_text()
    assert source.startswith('"""Figure 6. ') and "shows (6.2)" in source and "\n\nCaption. " in source
    code, output, errors = here("swing")
    assert code == 0 and errors == "" and "1 of 1 figures drawn" in output
    assert is_whole(tmp_path / "figures" / "gallery" / "swing.png")
    path.write_text(source + "# mine\n")
    code, _, errors = here("--new", "swing")
    assert "exists already" in errors and code == 2
    assert path.read_text() == source + "# mine\n"


def test_a_picture_that_cannot_be_written_fails_by_name_and_the_others_are_drawn(here, tmp_path):
    (tmp_path / "out" / "requested.png").mkdir(parents=True)
    code, output, errors = here("requested", "plain", "--out", "out", "--jobs", "1")
    assert code == 1 and errors == ""
    assert re.search(r"requested: FAILED, .*requested\.png", output) and "1 of 2 figures drawn" in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["plain.png", "requested.png"]


def test_a_reader_that_has_seen_enough_ends_the_list_without_a_word(small):
    process = small("--list")
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(PATIENCE) == 128 + 13


def test_an_interrupt_leaves_whole_pictures_and_says_which_are_new(small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "slow.png").write_bytes(b"as it was")
    process = small("slow", "requested", "plain", "--out", str(out), "--jobs", "2")
    lines = [process.stdout.readline() for _ in range(3)]
    os.killpg(process.pid, signal.SIGINT)                  # as a terminal does: to all its processes
    rest, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and errors == ""
    assert lines[0].startswith("drawing 3 figures in 2 processes: slow, requested, plain")
    assert re.search(r"interrupted after \d+\.\d s: 2 of 3 figures drawn \(requested, plain\), "
                     r"these left as they were: slow", rest)
    assert sorted(path.name for path in out.iterdir()) == ["plain.png", "requested.png", "slow.png"]
    assert is_whole(out / "plain.png") and (out / "slow.png").read_bytes() == b"as it was"


def test_a_picture_that_cannot_be_put_in_place_leaves_the_old_one_and_no_other_file(tmp_path, monkeypatch):
    def interrupted(source, target):
        raise KeyboardInterrupt

    command.write(tmp_path / "a.png", b"old")
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.write(tmp_path / "a.png", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"

"""What takes long and can be had ahead, on another core, while other tests run.

It is the run of all negative controls and three other programs, two calls, the slow figures whose numbers are not kept,
and the pictures. Whoever comes first, the second process or the test that needs a result, claims the work and does it; the
other goes on, or does what is left while it waits.
"""

import importlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

import figures
from figures import _kept
from tests.book import ROOT, witnesses

WITH_A_PLUGIN = "-m pytest --assert=plain -p tests.controls"      # nobody reads what its asserts compared
ALL_CONTROLS = f"{WITH_A_PLUGIN} --controls tests"
AN_UNMARKED_CONTROL = f"{WITH_A_PLUGIN} --controls --eq 17.1 tests/solvers/test_textbook.py"
EXERCISES = f"{WITH_A_PLUGIN} --exercises {' '.join(test for _, test in witnesses())}"
ONE_PAGE = "-W error:::__main__ -m minode.one_page"
PROGRAMS = {ALL_CONTROLS: "all controls", AN_UNMARKED_CONTROL: "a control", EXERCISES: "exercises", ONE_PAGE: "page"}
SCORE, TRACES = "tests.gradients.collection.score:of_some", "tests.test_controls:traces"
CALLS = {SCORE: "score", TRACES: "traces"}
SECONDS_AT_MOST = {ONE_PAGE: 120}
PICTURE = "the picture of "
TWICE = ("invariant png", "invariant svg", "invariant pdf", "pushforward svg")       # with axes; in space
SLOW = 3                   # seconds of a figure that is worth computing while other tests run
TOGETHER = (("digits", "learning_digits"), ("learnt_densities", "carried_density", "flow_animation"))   # the same training
CLAIMED = set()            # what this process has claimed
DONE = {}                  # what it has computed while it waited
AHEAD = {}                 # the second process, what it is to do and the folder of what it has done, while there is one


def result(name):
    """What `compute` returns, from the process that was first to begin with it."""
    if not AHEAD or name in CLAIMED or claim(AHEAD["folder"], name):
        return DONE.pop(name) if name in DONE else compute(name)
    done = file_of(name, "pickle")
    while not done.exists() and AHEAD["process"].is_alive():
        other = next((other for other in reversed(AHEAD["names"]) if claim(AHEAD["folder"], other)), None)
        if other is None:
            time.sleep(0.05)
        else:
            DONE[other] = compute(other)
    return pickle.loads(done.read_bytes()) if done.exists() else compute(name)


def compute(name):
    """What became of a program or a call, a figure's picture as `drawn` has it, or its numbers."""
    if name.startswith("-"):
        return python(*name.split(), timeout=SECONDS_AT_MOST.get(name))
    if name in CALLS:
        module, function = name.split(":")
        return getattr(importlib.import_module(module), function)()
    return drawn(*name.removeprefix(PICTURE).split()) if name.startswith(PICTURE) else _kept.computed(name)


def drawn(name, format=None):
    """The picture of a figure, and all that is written in it with the colours, from drawing it once."""
    on_paper = []
    with pytest.MonkeyPatch.context() as patch, figures.warnings_as_errors():
        def noted(*arguments, draw=figures.drawn):
            on_paper.append(draw(*arguments))
            return on_paper[-1]
        patch.setattr(figures, "drawn", noted)
        content = figures.render(figures.discover()[name], _kept.computed(name), format)
    return content, {(text.get_text(), to_hex(text.get_color()))
                     for fig in on_paper for text in fig.findobj(Text) if text.get_text()}


def python(*arguments, timeout=None):
    """Python with these arguments, in a process of its own that speaks UTF-8."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
                          timeout=timeout, env=os.environ | {"PYTHONIOENCODING": "utf-8"})


def claim(folder, name):
    """Whether this process is the first to want it, or what goes together with it."""
    group = next((names for names in TOGETHER if name in names), (name,))
    try:
        file_of(group[0], "claimed", folder).touch(exist_ok=False)
    except FileExistsError:
        return False
    CLAIMED.update(group)
    return True


def file_of(name, end, folder=None):
    """The file that says that this is claimed, or done."""
    return (folder or AHEAD["folder"]) / f"{(PROGRAMS | CALLS).get(name, name)}.{end}"


def work_ahead(names, folder):
    """Compute what nobody has claimed, and leave it in the folder, each file whole."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))                  # and end a pytest that is running
    for name in names:
        if name in CLAIMED or claim(folder, name):
            part = file_of(name, "part", folder)
            part.write_bytes(pickle.dumps(compute(name)))
            part.rename(file_of(name, "pickle", folder))


def work_of_figures():
    """The slow figures to be computed, slowest first, and each with what goes together with it; and all pictures."""
    all_figures = {name: module for name, module in figures.discover().items() if not getattr(module, "ON_REQUEST", False)}
    seconds = {name: module.SECONDS for name, module in all_figures.items()
               if module.SECONDS >= SLOW and not _kept.file_of(name, name).exists()}
    names = sorted(seconds, key=seconds.get, reverse=True)

    def place(name):
        together = {other for group in (*TOGETHER, (name,)) if name in group for other in group}
        return min(names.index(other) for other in together if other in names)
    return sorted(names, key=place) + [PICTURE + name for name in (*all_figures, *TWICE)]


def start_ahead(names):
    """Start on these in a second process, in this order. Returns a function that ends it.

    It leaves files: a thread that received them here would use memory while tests measure memory.
    """
    folder = tempfile.TemporaryDirectory()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    process = multiprocessing.get_context("spawn").Process(target=work_ahead, args=(names, Path(folder.name)), daemon=True)
    process.start()
    AHEAD.update(process=process, names=names, folder=Path(folder.name))

    def end():
        AHEAD.clear()
        process.terminate()
        process.join()
        folder.cleanup()
    return end

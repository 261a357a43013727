"""What the figures claim, held to what they compute."""

import multiprocessing
import os
import pickle
import tempfile
import time
from functools import cache
from importlib import import_module
from pathlib import Path

from figures import caption, discover


SLOW = 3                   # seconds of a figure that is worth computing while other tests run
AHEAD = {}                 # the second process and the folder of what it has computed, while there is one


@cache
def computed(name):
    """compute() of a figure, run once for all tests."""
    if not AHEAD or claim(AHEAD["folder"], name):
        return compute(name)
    done = AHEAD["folder"] / f"{name}.pickle"
    while not done.exists() and AHEAD["process"].is_alive():
        time.sleep(0.05)
    return pickle.loads(done.read_bytes()) if done.exists() else compute(name)


def compute(name):
    return import_module(f"figures.{name}").compute()


def claim(folder, name):
    """Whether this process is the first to want to compute a figure."""
    try:
        (folder / f"{name}.claimed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def work_ahead(names, folder):
    """Compute the figures that nobody has claimed, and leave them in the folder, each file whole."""
    for name in names:
        if claim(folder, name):
            part = folder / f"{name}.part"
            part.write_bytes(pickle.dumps(compute(name)))
            part.rename(folder / f"{name}.pickle")


def start_ahead():
    """Start on the slow figures in a second process, slowest first. Returns a function that ends it.

    It leaves files: a thread that received them here would use memory while tests measure memory.
    """
    seconds = {name: module.SECONDS for name, module in discover().items()
               if module.SECONDS >= SLOW and not getattr(module, "ON_REQUEST", False)}
    names, folder = sorted(seconds, key=seconds.get, reverse=True), tempfile.TemporaryDirectory()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    process = multiprocessing.get_context("spawn").Process(target=work_ahead, args=(names, Path(folder.name)), daemon=True)
    process.start()
    AHEAD.update(process=process, folder=Path(folder.name))

    def end():
        AHEAD.clear()
        process.terminate()
        process.join()
        folder.cleanup()
    return end


def says(name, text):
    """Whether the caption of a figure contains this text (of ASCII minus signs, exponents' alone stay so)."""
    return " ".join(text.split()) in caption(import_module(f"figures.{name}"))


def fixed(x, digits):
    """A number as captions print it: −0.39."""
    return f"{x:.{digits}f}".replace("-", "−")


def scientific(x, digits=1):
    """A small number as captions print it: 1.9e-7."""
    return f"{x:.{digits}e}".replace("e-0", "e-")


def listed(numbers, show, last=" and "):
    """Numbers as captions list them: 1, 2 and 3."""
    texts = [show(x) for x in numbers]
    return ", ".join(texts[:-1]) + last + texts[-1]

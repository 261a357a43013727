"""What the figures claim, held to what they compute."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import import_module

from figures import caption, discover


SLOW = 3                   # seconds of a figure that is worth computing while other tests run
AHEAD = {}                 # figure -> the future of its compute() in a second process


@cache
def computed(name):
    """compute() of a figure, run once for all tests."""
    ahead = AHEAD.pop(name, None)
    return compute(name) if ahead is None or ahead.cancel() else ahead.result()


def compute(name):
    return import_module(f"figures.{name}").compute()


def compute_ahead():
    """Start on the slow figures in a second process, slowest first; `computed` does itself what has not begun there."""
    seconds = {name: module.SECONDS for name, module in discover().items()
               if module.SECONDS >= SLOW and not getattr(module, "ON_REQUEST", False)}
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    AHEAD.update({name: pool.submit(compute, name) for name in sorted(seconds, key=seconds.get, reverse=True)})
    return pool


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

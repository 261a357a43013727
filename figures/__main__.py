"""Draw the figures: `python -m figures [NAME ...] [--out DIR] [--format F] [--dpi N] [--jobs N] [--fresh]`

Or list them by `python -m figures --list`, or begin one by `python -m figures --new NAME`.

Each figure is computed and drawn in a process of its own, which hands back the
finished picture. This process alone writes files, and only whole ones: a picture
goes to a temporary file in the same folder, which then takes the place of the old
one in a single step (minode/learning/files.py). Ctrl-C may therefore come at any time.
"""

import argparse
import keyword
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from minode.__main__ import any_terminal
from minode.learning.files import write_whole

from . import FORMATS, discover, number_and_title, picture

HERE = Path(__file__).parent
GALLERY = HERE / "gallery"
EXTRAS = ("matplotlib", "scipy")
INTERRUPTED = 128 + signal.SIGINT

TEMPLATE = '''"""Figure {number}. The title is the sentence to remember

What the figure shows, in which setting, and from which equations: it shows (6.2).

Caption. The message first, in at most 60 words and 4 numbers. Say what the lines are. The
pendulum swings up to 1.5 again and again.
"""

import numpy as np

from minode import odeint

from . import style

SECONDS = 0.1
T = np.linspace(0.0, 8.0, 161)


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0])])


def compute():
    return {{"t": T, "y": odeint(pendulum, np.array([1.5, 0.0]), T, method="rk4")}}


def draw(fig, data):
    angle, plane = fig.subplots(1, 2)
    angle.plot(data["t"], data["y"][:, 0], color=style.Y)
    angle.set(xlabel="time $t$", ylabel="angle", title="what one sees here")

    style.field(plane, lambda y: pendulum(0.0, y), np.linspace(-2.0, 2.0, 13))
    plane.plot(*data["y"].T, color=style.Y)
    style.key(plane, {{"solution": style.Y, "field": style.GREY}}, "lower right")
    plane.set(aspect="equal", xlabel="angle", ylabel="angular velocity", title="and here")
'''


def main(arguments=None):
    """Do what the command line asks; the exit code: 0, 1 (a figure failed), 2 (usage) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(prog="python -m figures", description="Draw the figures of the book.")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="the figures to draw (default: all but those drawn only when named)")
    parser.add_argument("--list", action="store_true", help="list the figures and about how long each takes")
    parser.add_argument("--new", metavar="NAME",
                        help="write figures/NAME.py, a new figure that draws, and nothing else")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where the pictures go (default: figures/gallery; with --format or --dpi the "
                             "current folder)")
    parser.add_argument("--format", choices=FORMATS, help="the format of the pictures (default: png; animations move "
                                                          "only by default, and are their first frame in any format)")
    parser.add_argument("--dpi", type=int, metavar="N", help="dots per inch (default: 160, for animations 80)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N",
                        help="processes at a time (default: the number of cores, %(default)s)")
    parser.add_argument("--fresh", action="store_true",
                        help="compute all numbers anew, not only those whose code or versions changed")
    options = parser.parse_args(arguments)
    try:
        figures = discover()
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        parser.error(f"the figures need {error.name}: python -m pip install -e '.[figures]'")
    if options.new is not None:
        return begin(options.new, figures, parser)
    unknown = [name for name in options.names if name not in figures]
    if unknown:
        parser.error(f"unknown figure {', '.join(map(repr, unknown))}; known: {', '.join(figures)}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {options.jobs}")
    if options.dpi is not None and not 10 <= options.dpi <= 1200:
        parser.error(f"--dpi must be between 10 and 1200, not {options.dpi}")
    if options.list:
        return show_list(figures)
    if options.out is None:
        options.out = GALLERY if options.format is None and options.dpi is None else Path.cwd()
    names = list(dict.fromkeys(options.names)) or [
        name for name, module in figures.items() if not getattr(module, "ON_REQUEST", False)]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:
        parser.error(f"--out must be a folder that can be written to: {error}")
    slowest_first = sorted(names, key=lambda name: -figures[name].SECONDS)
    return draw(slowest_first, options.out, min(options.jobs, len(names)), options.fresh, options.format, options.dpi)


def begin(name, figures, parser):
    """Write a figure of this name that draws, with the next number that is free, and say what comes next."""
    path = HERE / f"{name}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        parser.error(f"--new must be a name of small letters, digits and _ that begins with a letter, not {name!r}")
    if path.exists() or (HERE / name).exists():
        parser.error(f"figures/{name} exists already: choose another name, or remove it first")
    taken = {number_and_title(module)[0] for module in figures.values()}
    number = next(n for n in range(1, len(taken) + 2) if n not in taken)
    write(path, TEMPLATE.format(number=number).encode())
    print(f"figures/{name}.py is figure {number}. Draw it by `python -m figures {name}`, then write compute(), draw(), "
          "its title and\nits caption, test each number of it in tests/figures, and run `python -m tests.book`.")
    return 0


def show_list(figures):
    """Print number, name, time and title of every figure."""
    width = max(map(len, figures), default=0)
    for name, module in figures.items():
        number, title = number_and_title(module)
        note = " (only when named)" if getattr(module, "ON_REQUEST", False) else ""
        print(f"{number:3d}  {name:{width}}  about {module.SECONDS:4g} s  {title}{note}")
    return 0


def draw(names, out, jobs, fresh=False, format=None, dpi=None):
    """Draw these figures in `jobs` processes, write them to the folder, and say how it goes."""
    started = time.perf_counter()
    print(f"drawing {len(names)} figures in {jobs} processes: {', '.join(names)}", flush=True)
    drawn, failed = [], []
    pool, futures = submit(names, jobs, fresh, format, dpi)
    try:
        for future in as_completed(futures):
            name = futures[future]
            error = future.exception()
            if error is None:
                content, seconds = future.result()
                try:
                    write(out / f"{name}.{format or 'png'}", content)
                except OSError as problem:
                    failed.append(name)
                    print(f"[{len(drawn) + len(failed)}/{len(names)}] {name}: FAILED, {problem}", flush=True)
                    continue
                drawn.append(name)
                print(f"[{len(drawn) + len(failed)}/{len(names)}] {name}: {seconds:.1f} s, "
                      f"{len(content) / 1000:.0f} kB", flush=True)
            else:
                failed.append(name)
                print(f"[{len(drawn) + len(failed)}/{len(names)}] {name}: FAILED", flush=True)
                traceback.print_exception(error)
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        missing = [name for name in names if name not in drawn]
        print(f"\ninterrupted after {time.perf_counter() - started:.1f} s: {len(drawn)} of {len(names)} "
              f"figures drawn ({', '.join(drawn) or 'none'}), these left as they were: "
              f"{', '.join(missing)}", flush=True)
        return INTERRUPTED
    finally:
        pool.shutdown(cancel_futures=True)
    folder = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    print(f"{len(drawn)} of {len(names)} figures drawn in {time.perf_counter() - started:.1f} s, in {folder}"
          + (f"; failed: {', '.join(failed)}" if failed else ""), flush=True)
    return 1 if failed else 0


def submit(names, jobs, fresh, format, dpi):
    """A pool of processes with one thread each that leave Ctrl-C to this one, and future -> name."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    heed = signal.signal(signal.SIGINT, signal.SIG_IGN)      # inherited by the processes started here
    try:
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"),
                                   initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
        return pool, {pool.submit(picture, name, fresh, format, dpi): name for name in names}
    finally:
        signal.signal(signal.SIGINT, heed)


def write(path, content):
    """Put a file in place whole: written beside it under another name, then moved over it."""
    write_whole(path, lambda file: file.write(content))


if __name__ == "__main__":
    with any_terminal():
        code = main()
    sys.exit(code)

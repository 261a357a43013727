"""Draw the figures: `python -m figures [NAME ...] [--list] [--out DIR] [--jobs N] [--fresh]`

Each figure is computed and drawn in a process of its own, which hands back the
finished picture. This process alone writes files, and only whole ones: a picture
goes to a temporary file in the same folder, which then takes the place of the old
one in a single step (minode/learning/files.py). Ctrl-C may therefore come at any time.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from minode.__main__ import any_terminal
from minode.learning.files import write_whole

from . import discover, number_and_title, picture

GALLERY = Path(__file__).parent / "gallery"
EXTRAS = ("matplotlib", "scipy")
INTERRUPTED = 128 + signal.SIGINT


def main(arguments=None):
    """Do what the command line asks; the exit code: 0, 1 (a figure failed), 2 (usage) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(prog="python -m figures", description="Draw the figures of the book.")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="the figures to draw (default: all but those drawn only when named)")
    parser.add_argument("--list", action="store_true", help="list the figures and about how long each takes")
    parser.add_argument("--out", type=Path, default=GALLERY, metavar="DIR",
                        help="where the pictures go (default: figures/gallery)")
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
    unknown = [name for name in options.names if name not in figures]
    if unknown:
        parser.error(f"unknown figure {', '.join(map(repr, unknown))}; known: {', '.join(figures)}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {options.jobs}")
    if options.list:
        return show_list(figures)
    names = list(dict.fromkeys(options.names)) or [
        name for name, module in figures.items() if not getattr(module, "ON_REQUEST", False)]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:
        parser.error(f"--out must be a folder that can be written to: {error}")
    slowest_first = sorted(names, key=lambda name: -figures[name].SECONDS)
    return draw(slowest_first, options.out, min(options.jobs, len(names)), options.fresh)


def show_list(figures):
    """Print number, name, time and title of every figure."""
    width = max(map(len, figures), default=0)
    for name, module in figures.items():
        number, title = number_and_title(module)
        note = " (only when named)" if getattr(module, "ON_REQUEST", False) else ""
        print(f"{number:3d}  {name:{width}}  about {module.SECONDS:4g} s  {title}{note}")
    return 0


def draw(names, out, jobs, fresh=False):
    """Draw these figures in `jobs` processes, write them to the folder, and say how it goes."""
    started = time.perf_counter()
    print(f"drawing {len(names)} figures in {jobs} processes: {', '.join(names)}", flush=True)
    drawn, failed = [], []
    pool, futures = submit(names, jobs, fresh)
    try:
        for future in as_completed(futures):
            name = futures[future]
            error = future.exception()
            if error is None:
                png, seconds = future.result()
                try:
                    write(out / f"{name}.png", png)
                except OSError as problem:
                    failed.append(name)
                    print(f"[{len(drawn) + len(failed)}/{len(names)}] {name}: FAILED, {problem}", flush=True)
                    continue
                drawn.append(name)
                print(f"[{len(drawn) + len(failed)}/{len(names)}] {name}: {seconds:.1f} s, "
                      f"{len(png) / 1000:.0f} kB", flush=True)
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


def submit(names, jobs, fresh):
    """A pool of processes with one thread each that leave Ctrl-C to this one, and future -> name."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    heed = signal.signal(signal.SIGINT, signal.SIG_IGN)      # inherited by the processes started here
    try:
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"),
                                   initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
        return pool, {pool.submit(picture, name, fresh): name for name in names}
    finally:
        signal.signal(signal.SIGINT, heed)


def write(path, content):
    """Put a file in place whole: written beside it under another name, then moved over it."""
    write_whole(path, lambda file: file.write(content))


if __name__ == "__main__":
    with any_terminal():
        code = main()
    sys.exit(code)

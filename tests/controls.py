"""Negative controls: a deliberate mistake in a numbered line, and the tests of that equation must see it.

A pytest plugin, in three modes that differ only in where the mistakes come from:

    python -m pytest -p tests.controls --controls [--eq 17.2]     those of tests/mistakes.py, chosen by hand
    python -m pytest -p tests.controls --mutants  [--eq 17.2]     every one that tests/mutants.py can think of
    python -m pytest -p tests.controls --exercises                those that README.md asks the reader to make

pytest collects as ever. Then, instead of running everything once, each mistake is planted in turn, the tests
marked with its equation run until one fails, and the mistake is taken out again. A mistake that no test sees
has survived, and the run fails unless the list EXPLAINED of tests/mutants.py says why it makes no difference.

Planting works on the live objects, so that every `from x import name` sees it: the module's mutated source is
executed in a namespace of its own, and what came out of it is transplanted into what is already there: code
into functions, entries into dicts, attributes into classes and records. Only what cannot be changed in place
(a number, a string) is re-pointed wherever a module holds it under that name.
"""

import collections
import contextlib
import functools
import gc
import os
import signal
import sys
import time
import types
import warnings
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
from _pytest.config import apply_warning_filters
from _pytest.runner import runtestprotocol

PATIENCE = 60.0                 # seconds a single test may take before the mistake counts as seen
NOT_TRANSPLANTED = {"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__",
                    "__dataclass_fields__", "__dataclass_params__"}

hypothesis.settings.register_profile(
    "controls", max_examples=10, derandomize=True, deadline=None, database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),        # no shrinking
    suppress_health_check=list(hypothesis.HealthCheck))


class Mistake(NamedTuple):
    """A deliberate mistake: the equations it breaks, file and line, what it is, the whole changed text."""

    numbers: tuple
    path: str
    line: int
    what: str
    text: str

    def __str__(self):
        return f"({') ('.join(self.numbers)}) {self.path}:{self.line}  {self.what}"


class Stuck(KeyboardInterrupt):
    """A test took longer than PATIENCE; a KeyboardInterrupt, because hypothesis lets only that through."""


# -- planting a mistake ---------------------------------------------------------------------


def executed(mistake):
    """The namespace of the module with the mistake in it; raises what importing such a module would."""
    live = vars(module_of(mistake))
    namespace = {name: value for name, value in live.items() if name.startswith("__")}
    exec(compile(mistake.text, live["__file__"], "exec", dont_inherit=True), namespace)
    return {name: value for name, value in namespace.items() if not name.startswith("__")}


def module_of(mistake):
    return sys.modules[mistake.path.removesuffix(".py").replace("/", ".")]


@contextlib.contextmanager
def planted(mistake, namespace):
    """The book with the mistake in it, and afterwards without."""
    live, undo = vars(module_of(mistake)), []
    try:
        for name, new in namespace.items():
            if not transplant(live.get(name), new, undo):
                repoint(name, live.get(name), new, undo)
        forget()
        yield
    finally:
        for restore in reversed(undo):
            restore()
        forget()


def transplant(old, new, undo):
    """Make the live object `old` behave as `new`; False where it cannot, and its holder must let go of it."""
    if old is new:
        return True
    if type(old) is not type(new):
        return False
    if isinstance(old, types.FunctionType):
        if old.__code__.co_freevars != new.__code__.co_freevars:
            return False
        cells = [[cell.cell_contents for cell in f.__closure__ or ()] for f in (old, new)]
        if not all([transplant(a, b, undo) for a, b in zip(*cells) if not isinstance(a, type)]):
            return False
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            undo.append(functools.partial(setattr, old, name, getattr(old, name)))
            setattr(old, name, getattr(new, name))
        return True
    if isinstance(old, property):
        return transplant(old.fget, new.fget, undo)
    if isinstance(old, (staticmethod, classmethod)) or hasattr(old, "cache_clear"):
        return transplant(old.__wrapped__, new.__wrapped__, undo)
    if isinstance(old, type):
        return transplant_entries(vars(old), vars(new), undo, functools.partial(setattr, old))
    if isinstance(old, dict):
        return transplant_entries(old, new, undo, old.__setitem__)
    if isinstance(old, (tuple, list)):
        return len(old) == len(new) and all([transplant(a, b, undo) for a, b in zip(old, new)])
    if isinstance(old, np.ndarray):
        return np.array_equal(old, new, equal_nan=True)
    if hasattr(old, "__dict__"):
        return transplant_entries(vars(old), vars(new), undo, vars(old).__setitem__, remembered(type(old)))
    return old == new


def transplant_entries(old, new, undo, put, ignored=frozenset()):
    """The same, entry by entry, for a dict or an object's attributes; `put(name, value)` replaces one."""
    ignored = NOT_TRANSPLANTED | ignored
    if old.keys() - ignored != new.keys() - ignored:
        return False
    for name in new.keys() - ignored:
        if not transplant(old[name], new[name], undo):
            undo.append(functools.partial(put, name, old[name]))
            put(name, new[name])
    return True


def repoint(name, old, new, undo):
    """Where a module of the book or the tests holds `old` under this name, let it hold `new`."""
    for module in [m for key, m in sys.modules.items() if key.split(".")[0] in ("minode", "tests")]:
        if name in vars(module) and vars(module)[name] is old:
            undo.append(functools.partial(setattr, module, name, old))
            setattr(module, name, new)


@functools.cache
def remembered(kind):
    """The names of a class's cached properties."""
    return frozenset(name for name, value in vars(kind).items()
                     if isinstance(value, functools.cached_property))


@functools.cache
def memories():
    """What the book and its figures remember of earlier calls: cached functions, and records."""
    def is_ours(kind):
        return str(getattr(kind, "__module__", "")).startswith(("minode", "figures", "tests.figures", "tests.gradients"))
    objects = gc.get_objects()
    return ([o for o in objects if type(o) is functools._lru_cache_wrapper and is_ours(o)],
            [o for o in objects if is_ours(type(o)) and remembered(type(o))])


def forget():
    """They may hold what a mistake computed, or what one would change."""
    functions, records = memories()
    for function in functions:
        function.cache_clear()
    for record in records:
        for name in remembered(type(record)):
            vars(record).pop(name, None)


# -- the plugin -----------------------------------------------------------------------------


def pytest_addoption(parser):
    group = parser.getgroup("controls", "negative controls")
    group.addoption("--controls", action="store_true", help="plant the mistakes of tests/mistakes.py in turn")
    group.addoption("--mutants", action="store_true", help="plant every mistake that tests/mutants.py makes")
    group.addoption("--exercises", action="store_true", help="plant the mistakes of the exercises in README.md")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    options = early_config.known_args_namespace
    if options.controls or options.mutants or options.exercises:
        os.environ["HYPOTHESIS_PROFILE"] = "controls"


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    options = session.config.option
    if not (options.controls or options.mutants or options.exercises):
        return None
    if session.testsfailed:
        raise session.Interrupted(f"{session.testsfailed} errors during collection")
    from figures import _kept
    from tests.book import exercises
    from tests.mistakes import controls
    from tests.mutants import EXPLAINED, mutants
    _kept.IS_AS_WRITTEN = False
    wanted = set(options.eq or ())
    mistakes = (controls() if options.controls else []) + (mutants() if options.mutants else [])
    mistakes += controls(exercises()) if options.exercises else []
    mistakes = [m for m in mistakes if not wanted or wanted & set(m.numbers)]
    session.testsfailed = run(session, mistakes, EXPLAINED)
    return True


def run(session, mistakes, explained):
    """Plant each mistake, run its tests, print who saw it, and return how many survived unexplained."""
    say = session.config.pluginmanager.get_plugin("terminalreporter").write_line
    session.config.option.tbstyle = "line"
    tests = {}
    for item in session.items:
        for number in {number for mark in item.iter_markers("eq") for number in mark.args}:
            tests.setdefault(number, []).append(item)
    spent = collections.Counter()
    began, seen, excused, survived = time.perf_counter(), {}, [], []
    for mistake in mistakes:
        items = {item: None for number in mistake.numbers for item in tests.get(number, ())}
        witness = first_to_fail(session, mistake, items, spent)
        if witness is not None:
            seen[mistake] = witness
            say(f"seen     {mistake}  <- {getattr(witness, 'nodeid', witness).removeprefix('tests/')}")
        elif (mistake.path, mistake.what) in explained:
            excused.append(mistake)
            say(f"no harm  {mistake}  <- {explained[mistake.path, mistake.what]}")
        else:
            survived.append(mistake)
            say(f"SURVIVED {mistake}")

    # A witness is worth nothing if it fails without the mistake too.
    witnesses = dict.fromkeys(item for item in seen.values() if not isinstance(item, str))
    broken = [item.nodeid for item in witnesses if fails(session, item)]
    if broken:
        raise session.Interrupted(f"no witnesses, for they fail with no mistake planted: {', '.join(broken)}")
    say(f"{len(seen)} of {len(mistakes)} mistakes seen ({100 * len(seen) / max(1, len(mistakes)):.1f} %), "
        f"{len(excused)} do no harm, {len(survived)} survived, {time.perf_counter() - began:.1f} s")
    return len(survived)


def first_to_fail(session, mistake, items, spent):
    """The first of the tests that fails with the mistake planted (or what the import raised), or None.

    Next is always the test, with all its parameters, on which the fewest seconds have been `spent` in vain
    so far; those of figures come last.
    """
    try:
        namespace = executed(mistake)
    except SyntaxError:
        raise pytest.UsageError(f"not a mistake but a misprint: {mistake}") from None
    except Exception as error:
        return f"the import: {type(error).__name__}: {error}"
    with planted(mistake, namespace):
        while items:
            item = min(items, key=lambda item: (item.nodeid.startswith("tests/figures/"), spent[item.function]))
            del items[item]
            began = time.perf_counter()
            if fails(session, item):
                return item
            spent[item.function] += time.perf_counter() - began
    return None


def fails(session, item):
    """Whether one test fails, as pytest runs it: fixtures, capture, those warnings as errors that setup.cfg names."""
    try:
        with warnings.catch_warnings(), patience():
            warnings.simplefilter("ignore")
            apply_warning_filters(session.config.getini("filterwarnings"), [])
            for found_later in (ResourceWarning, pytest.PytestUnraisableExceptionWarning):
                warnings.simplefilter("ignore", found_later)       # by the garbage collector, in any test
            return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))
    except Stuck:
        session._setupstate.teardown_exact(None)
        return True


@contextlib.contextmanager
def patience():
    """Stuck after PATIENCE seconds, where the system has an alarm clock."""
    def give_up(*_):
        raise Stuck
    if not hasattr(signal, "setitimer"):
        yield
        return
    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

"""`--eq 8.2` runs one equation's tests; hypothesis is deterministic unless asked to be thorough."""

import gc
import os

import hypothesis
import matplotlib
import pytest

from tests.ahead import CALLS, PROGRAMS, start_ahead, work_of_figures
from tests.book import DEFINED

gc.disable()                # until all tests are collected: what a collection makes stays
matplotlib.use("Agg")

hypothesis.settings.register_profile("default", derandomize=True, deadline=None, max_examples=10, database=None)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser):
    parser.addoption("--eq", metavar="NUMBER", action="append",
                     help="run only the tests of this numbered equation (may be repeated)")


def pytest_collection_finish(session):
    """Where no mistake is planted, begin on another core with what is slow, what is asked for first in front."""
    gc.enable()
    nodes, config = [item.nodeid for item in session.items], session.config
    if config.pluginmanager.hasplugin("tests.controls") or config.option.collectonly:
        return
    if sum("test_a_figure_is_drawn" in node for node in nodes) > 1:
        plants_all = any("test_every_negative_control_is_seen" in node for node in nodes)
        config.add_cleanup(start_ahead([*CALLS, *PROGRAMS] * plants_all + work_of_figures()))


@pytest.fixture
def young():
    """A garbage collection looks at what the test has made alone, not at thousands of tests and all they import."""
    gc.freeze()
    yield
    gc.unfreeze()


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.nodeid.startswith("tests/figures/"))      # they may be computed meanwhile
    wanted = set(config.getoption("--eq") or ())
    if not wanted:
        return
    unknown = wanted - set(DEFINED)
    if unknown:
        raise pytest.UsageError(f"--eq: no chapter prints {', '.join(sorted(unknown))}; the map in tests/README.md lists them all")
    chosen = [item for item in items
              if wanted & {number for mark in item.iter_markers("eq") for number in mark.args}]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen

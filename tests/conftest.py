"""`--eq 8.2` runs one equation's tests; hypothesis is deterministic unless asked to be thorough."""

import os

import hypothesis
import matplotlib
import pytest

from tests.book import DEFINED
from tests.figures import start_ahead

matplotlib.use("Agg")

hypothesis.settings.register_profile("default", derandomize=True, deadline=None, max_examples=10, database=None)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser):
    parser.addoption("--eq", metavar="NUMBER", action="append",
                     help="run only the tests of this numbered equation (may be repeated)")


def pytest_collection_finish(session):
    """Where all figures are going to be drawn, and no mistake planted, begin with the slow ones on another core."""
    is_whole = sum("test_a_figure_is_drawn" in item.nodeid for item in session.items) > 1
    is_planting = session.config.pluginmanager.hasplugin("tests.controls")
    if is_whole and not is_planting and not session.config.option.collectonly:
        session.config.add_cleanup(start_ahead())


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.nodeid.startswith("tests/figures/"))      # they may be computed meanwhile
    wanted = set(config.getoption("--eq") or ())
    if not wanted:
        return
    unknown = wanted - set(DEFINED)
    if unknown:
        raise pytest.UsageError(f"--eq: no chapter prints {', '.join(sorted(unknown))}; the map in README.md lists them all")
    chosen = [item for item in items
              if wanted & {number for mark in item.iter_markers("eq") for number in mark.args}]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen

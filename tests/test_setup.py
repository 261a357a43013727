"""What setup.cfg says: the lowest versions, and that a warning of the book is an error and no other package's is."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from tests.book import ROOT


def test_the_second_environment_has_the_lowest_version_of_each_package_that_is_declared():
    done = subprocess.run([sys.executable, ROOT / ".ci" / "lowest.py"], capture_output=True, text=True, check=True)
    lowest = dict(line.split("==") for line in done.stdout.splitlines())
    assert lowest.keys() == {"numpy", "scipy", "matplotlib", "pytest", "hypothesis"}
    declared = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert all(f"{name}>={version}\n" in declared for name, version in lowest.items())


def warn_from(module, category):
    """A warning raised by code of this module."""
    exec(f"warnings.warn('mind this', {category.__name__})", {"__name__": module, "warnings": warnings})


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning, UserWarning,
                                      RuntimeWarning])
@pytest.mark.parametrize("module", ["minode", "minode.fields.mlp", "tests.test_readme", "figures._targets"])
def test_a_warning_from_the_book_its_tests_or_its_figures_is_an_error(module, category):
    with pytest.raises(category, match="mind this"):
        warn_from(module, category)


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning, UserWarning])
@pytest.mark.parametrize("module", ["pyparsing.util", "matplotlib._mathtext", "numpy.lib", "minodes", "test.support"])
def test_a_warning_from_inside_another_package_is_none(module, category):
    with warnings.catch_warnings(record=True) as found:
        warn_from(module, category)
    assert [warning.category for warning in found] == [category]


def test_a_warning_that_another_package_attributes_to_its_caller_is_an_error():
    with pytest.raises(RuntimeWarning, match="overflow"):                       # by NumPy's C, here
        np.exp(np.full(2, 1e3))
    with pytest.raises(DeprecationWarning):                                     # with a stacklevel, as NumPy does
        exec("def f():\n    warnings.warn('old', DeprecationWarning, stacklevel=2)",
             namespace := {"__name__": "numpy.lib", "warnings": warnings})
        namespace["f"]()


def test_what_numpys_own_python_meets_while_it_computes_for_the_book_is_an_error():
    with pytest.raises(RuntimeWarning):
        np.mean(np.empty(0))
    with pytest.raises(RuntimeWarning):
        np.std(np.array([1e200, -1e200]))                                       # within numpy._core._methods

"""What setup.cfg makes an error: a warning raised from the book, its tests or its figures, and no other package's."""

import warnings

import numpy as np
import pytest


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

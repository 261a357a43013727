"""Every equation has a negative control, a test of that equation sees it, and it leaves no trace."""

import importlib
import types

import pytest

from tests.ahead import ALL_CONTROLS, AN_UNMARKED_CONTROL, TRACES, result
from tests.book import BOOK, DEFINED, in_order
from tests.conftest import pytest_collection_modifyitems
from tests.controls import executed, planted
from tests.mistakes import CONTROLS, controls
from tests.mutants import EXPLAINED, mutants


def test_every_equation_has_a_negative_control():
    lacking, orphans = set(DEFINED) - set(CONTROLS), set(CONTROLS) - set(DEFINED)
    assert not lacking, f"tests/mistakes.py has no mistake in {in_order(lacking)}"
    assert not orphans, f"tests/mistakes.py has mistakes in {in_order(orphans)}, which no chapter prints"
    assert all(CONTROLS.values())


def test_every_negative_control_is_seen_by_a_test_of_its_equation():
    done = result(ALL_CONTROLS)
    missed = [line for line in done.stdout.splitlines() if not line.startswith(("seen", "no harm"))]
    assert done.returncode == 0, "\n".join(missed) + done.stderr


def test_a_mistake_that_no_test_sees_fails_the_run():
    done = result(AN_UNMARKED_CONTROL)
    assert done.returncode == 1 and "SURVIVED (17.1)" in done.stdout, done.stdout + done.stderr


def test_the_number_of_no_equation_is_told_before_anything_is_run(request):
    config = types.SimpleNamespace(getoption={"--eq": ["17.1", "99.1"]}.get)
    with pytest.raises(pytest.UsageError, match="no chapter prints 99.1; "):
        pytest_collection_modifyitems(config, [request.node])


def contents(value):
    """What a function, class or container of the book consists of, as something that can be compared."""
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return value.__code__, value.__defaults__, [contents(x) for x in cells if not isinstance(x, type)]
    if isinstance(value, property):
        return contents(value.fget)
    if hasattr(value, "__wrapped__"):
        return contents(value.__wrapped__)
    if isinstance(value, (tuple, list)):
        return [contents(entry) for entry in value]
    if isinstance(value, dict):
        return {name: contents(entry) for name, entry in value.items()}
    if isinstance(value, type) and value.__module__.startswith("minode"):
        return {name: contents(vars(value)[name]) for name in vars(value) if "__dataclass" not in name}
    return repr(value)


def traces():
    """What is wrong with the planting of the negative controls: which one changes nothing, and which one stays."""
    modules = {source.name: importlib.import_module(source.name.removesuffix(".py").replace("/", "."))
               for source in BOOK if not source.path.name.startswith("__")}
    before, found = {name: contents(vars(module)) for name, module in modules.items()}, []
    for mistake in controls():
        with planted(mistake, executed(mistake)):
            if contents(vars(modules[mistake.path])) == before[mistake.path]:
                found.append(f"{mistake} was not planted")
        if contents(vars(modules[mistake.path])) != before[mistake.path]:
            found.append(f"{mistake} is still there")
    return found + [f"{name} is not as it was" for name, module in modules.items() if contents(vars(module)) != before[name]]


def test_a_planted_mistake_changes_the_live_book_and_leaves_no_trace():
    assert result(TRACES) == []


def test_the_mutants_are_many_and_those_explained_exist():
    found = {(mutant.path, mutant.what) for mutant in mutants()}
    assert len(found) > 300
    assert set(EXPLAINED) <= found, f"explained, but no longer made: {set(EXPLAINED) - found}"

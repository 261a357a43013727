"""The README keeps its word: its examples run, its tables are those of the source, what it names is there."""

import doctest
import importlib
import inspect
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.integrate

import minode
from figures import _peers, speed
from minode import Linear, odeint, pullback
from minode.gradients.pullback import ROUTES
from minode.solvers.solve import KEYWORDS
from tests.ahead import planting
from tests.book import CHAPTERS, ROOT, exercises, hours, minutes, readme

README = (ROOT / "README.md").read_text(encoding="utf-8")
ERRATA = (ROOT / "tests" / "test_errata.py").read_text(encoding="utf-8")


def section(heading):
    return README[README.index(f"\n## {heading}\n"):].split("\n## ")[1]


def cells(text, columns=None):
    """The rows of the tables, or of those of so many columns, headings left out, as lists of cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    rules = [i for i, row in enumerate(rows) if set("".join(row)) == {"-"}]
    kept = [row for i, row in enumerate(rows) if i not in rules and i + 1 not in rules]
    return [row for row in kept if columns in (None, len(row))]


# -- blocks -----------------------------------------------------------------------------


def test_every_example_runs():
    examples = doctest.DocTestParser().get_doctest(README.replace("```", ""), {"__name__": __name__}, "README.md", "README.md", 0)
    assert len(examples.examples) >= 15, "this test no longer finds what it is about"
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(examples)
    assert outcome.failed == 0


def test_every_block_is_one_of_the_examples_or_of_the_two_commands():
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
    assert len(blocks) >= 5
    for language, block in blocks:
        assert block.startswith(">>> ") if language == "python" else block.startswith("python -m pip install")


def test_it_begins_with_one_sentence_and_one_picture():
    title, sentence, picture, following, *_ = README.split("\n\n")
    assert title == "# minode" and sentence.count(".") == 1 and sentence.endswith(".")
    assert re.fullmatch(r"!\[.+\]\(figures/gallery/\w+\.png\)", picture) and following == "## The idea"


def test_the_idea_runs_in_at_most_twenty_lines():
    first = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len(first.splitlines()) <= 20


def test_the_two_commands_are_there_once_each():
    commands = re.findall(r'^python -m pip install -e "\.\[(\w+)\]" && (.+)$', README, re.M)
    assert commands == [("figures", "python -m figures"), ("test", "python -m pytest")]


def test_every_file_it_links_to_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) >= 20, "this test no longer finds what it is about"
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing, f"README.md links to {missing}"


# -- what is generated ------------------------------------------------------------------


def test_the_minutes_the_gallery_and_the_map_are_those_of_the_source():
    assert README == readme(), "out of date: python -m tests.book writes them anew"


def test_the_reading_order_is_the_book_and_a_chapter_needs_only_chapters_before_it():
    rows = cells(section("Reading order"), 5)
    assert [int(row[0]) for row in rows] == sorted(CHAPTERS)
    for number, title, modules, needs, time in rows:
        chapter = CHAPTERS[int(number)]
        assert chapter.docstring.startswith(f"{number}. {title}\n"), f"chapter {number} has another title"
        assert f"]({chapter.name})" in modules
        assert all(int(earlier) < int(number) for earlier in re.findall(r"\d+", needs))
        assert 80 <= chapter.text.count("\n") <= 250              # as the README says
        assert int(time) == minutes(int(number)) == 5 * math.ceil(chapter.text.count("\n") / 40)
    assert f"about {hours(CHAPTERS)}." in section("Reading order")


@pytest.mark.parametrize("number", range(1, 14))
def test_every_erratum_is_decided_by_a_test(number):
    assert re.search(rf"^\| {number} \|.*`erratum_{number}[a-z]?`", README, re.M)
    assert re.search(rf"^def test_erratum_{number}[a-z]?_", ERRATA, re.M)


# -- the exercises ----------------------------------------------------------------------


def test_each_broken_line_is_named_by_the_test_that_the_answer_names():
    answers = re.findall(r"^(\d)\. `(tests/[\w/]+\.py::\w+)`", section("Break this line"), re.M)
    assert len(answers) == len(exercises()) == len(cells(section("Break this line"), 5)) >= 5
    done = planting("--exercises", *[test for _, test in answers])
    for (k, test), number in zip(answers, exercises()):
        assert re.search(rf"^seen +\({number}\) .* exercise {k}  <- {test.removeprefix('tests/')}", done.stdout, re.M), \
            f"exercise {k}: {done.stdout}{done.stderr}"
    assert done.returncode == 0


# -- speed ------------------------------------------------------------------------------


def test_the_speed_tables_have_the_rows_that_the_figure_measures(monkeypatch):
    measured = []
    monkeypatch.setattr(speed, "compare", lambda title, contenders, **_: measured.append((title, [*contenders])))
    monkeypatch.setattr(_peers, "available", lambda *names: False)
    list(speed.measured(np.random.default_rng(0)))
    rows = cells(section("Speed"))
    assert [title for title, *_ in rows] == [title for title, _ in measured] and len(rows) == 24
    for _, *times in rows:
        assert all(re.fullmatch(r"[\d,]+(\.\d+)?", time) for time in times)
    headings = re.findall(r"^\| ms \| (.+) \|$", section("Speed"), re.M)
    for heading, (_, ours) in zip(headings, {tuple(names): (title, names) for title, names in measured}.values()):
        assert set(ours) <= set(heading.split(" | ")), f"no column for some of {ours}"


def test_what_is_trained_from_import_on_ends_where_the_peers_end_or_the_figure_says_so(monkeypatch):
    monkeypatch.setattr(speed, "processes_in_turns", lambda commands: {name: np.ones(3) for name in commands
                                                                       if commands[name]() is None})
    monkeypatch.setattr(_peers, "for_training", lambda: ["peer"])
    done = {"minode": "0.2\n0.1\n", "peer": "0.2\n0.11\n"}

    def run(command, **_):
        name = re.search(r"with_(\w+)\.py$", command[1])[1]
        return subprocess.CompletedProcess(command, 0, stdout=done[name])

    monkeypatch.setattr(speed.subprocess, "run", run)
    assert list(speed.training_table()["rows"]) == ["minode", "peer"]
    done["peer"] = "0.2\n0.3\n"
    with pytest.raises(AssertionError, match="peer begins with the loss 0.2 and ends with 0.3, minode"):
        speed.training_table()


def test_minodes_program_of_the_training_runs_and_learns():
    done = subprocess.run([sys.executable, ROOT / "figures" / "demo" / "with_minode.py"], cwd=ROOT, capture_output=True,
                          text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    first, last = map(float, done.stdout.split())
    assert last < 0.1 * first


def test_a_table_of_times_is_printed_as_the_readme_has_it():
    tables = [{"title": "one", "rows": {"minode": (1.2345, 1.0), "SciPy": (1234.5, 1000.0)}},
              {"title": "two", "rows": {"minode": (0.5, 1.0), "SciPy": (12.345, 24.7)}}]
    assert speed.as_markdown(tables) == ("| ms | minode | SciPy |\n|---|---|---|\n"
                                         "| one | 1.23 | 1,234 |\n| two | 0.5 | 12.3 |")


# -- the other libraries ----------------------------------------------------------------

ELSEWHERE = cells(section("When you outgrow this book"), 5)
LIBRARIES = {2: "scipy.integrate", 3: "torchdiffeq", 4: "diffrax"}
OWN_NAMES = {*minode.__all__, *minode.methods}


def quoted(cell):
    """The names in backquotes: of `solve_ivp(..., events=g)` solve_ivp, and events."""
    for text in re.findall(r"`([^`]+)`", cell):
        yield from re.findall(r"^\.?\w+|\w+(?==)", text)


def test_each_name_of_this_book_is_there_under_that_name():
    names = [name for row in ELSEWHERE for name in quoted(row[1])]
    assert len(names) >= 14, "this test no longer finds what it is about"
    keywords = {*KEYWORDS, "gradient", "event", *(f".{name}" for name in dir(minode.Solution))}
    assert not [name for name in names if name not in OWN_NAMES and name not in keywords]
    for row in ELSEWHERE:
        assert all(route in ROUTES for route in re.findall(r'gradient="(\w+)"', row[1]))


@pytest.mark.parametrize("column", [c for c, library in LIBRARIES.items()
                                    if _peers.available(library.split(".")[0], library)])
def test_each_name_of_another_library_is_there_where_it_is_installed(column):
    library = importlib.import_module(LIBRARIES[column])
    known = {*dir(library), *OWN_NAMES}
    if library is scipy.integrate:
        result = scipy.integrate.solve_ivp(lambda t, y: -y, [0.0, 1.0], [1.0], dense_output=True)
        known |= {*inspect.signature(scipy.integrate.solve_ivp).parameters, *(f".{name}" for name in result),
                  *inspect.signature(scipy.integrate.RK45).parameters}
    elif LIBRARIES[column] == "torchdiffeq":
        solvers = importlib.import_module("torchdiffeq._impl.odeint").SOLVERS
        known |= {*solvers, ".backward", "AssertionError", *inspect.signature(library.odeint).parameters,
                  *inspect.signature(solvers["dopri5"].__mro__[1]).parameters}
    else:
        known |= {*inspect.signature(library.SaveAt.__init__).parameters, "jax",
                  *inspect.signature(library.PIDController).parameters, *inspect.signature(library.ClipStepSizeController).parameters}
    missing = [name for row in ELSEWHERE for name in quoted(row[column]) if name not in known]
    assert not missing, f"{LIBRARIES[column]} has no {missing}"


def test_what_is_left_out_is_refused():
    with pytest.raises(TypeError, match="event must be one Event"):
        odeint(lambda t, y: y, [1.0], [0.0, 1.0], event=[lambda t, y, theta: t])
    with pytest.raises(ValueError, match="event needs one trajectory"):
        odeint(lambda t, y: y, [[1.0], [2.0]], [0.0, 1.0], event=lambda t, y, theta: t)
    with pytest.raises(ValueError, match="gradient='backsolve' does not go through radau5"):
        pullback(Linear(1), [1.0], [0.0, 1.0], [1.0], [1.0], method="radau5", gradient="backsolve")

"""The pages keep their word: examples run, tables are those of the source, what they name is there, nothing is said twice."""

import configparser
import doctest
import importlib
import inspect
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
from tests.ahead import EXERCISES, result
from tests.book import (CHAPTERS, CORE, PAGES, READMES, ROOT, SPEED, as_made, cited_figures, exercises, figures, hours,
                        page, parts, sources, witnesses)

README, GALLERY, TESTS, GLOSSARY = (page(name) for name in (*READMES, "minode/GLOSSARY.md"))
ERRATA = (ROOT / "tests" / "test_errata.py").read_text(encoding="utf-8")
LONGEST_README = 250                                      # lines
LONGEST_REPEATED = 7                                      # words of a sentence that may stand on two pages

every_page = pytest.mark.parametrize("name", PAGES)


def section(heading, text=README):
    return text[text.index(f"\n## {heading}\n"):].split("\n## ")[1]


def cells(text, columns=None):
    """The rows of the tables, or of those of so many columns, headings left out, as lists of cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    rules = [i for i, row in enumerate(rows) if set("".join(row)) == {"-"}]
    kept = [row for i, row in enumerate(rows) if i not in rules and i + 1 not in rules]
    return [row for row in kept if columns in (None, len(row))]


def blocks(text):
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)


# -- blocks -----------------------------------------------------------------------------


def test_every_example_runs():
    examples = doctest.DocTestParser().get_doctest(README.replace("```", ""), {"__name__": __name__}, "README.md", "README.md", 0)
    assert len(examples.examples) >= 15, "this test no longer finds what it is about"
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(examples)
    assert outcome.failed == 0


def test_every_block_is_an_example_or_one_of_the_two_commands_or_how_to_cite():
    assert len(blocks(README)) >= 6
    for language, block in blocks(README):
        begins = {"python": ">>> ", "": "python -m pip install", "bibtex": "@software{minode,"}
        assert block.startswith(begins[language])
    assert not [name for name in PAGES[1:] if blocks(page(name))], "a block that no test runs"


def test_the_readme_is_short_enough_to_be_read():
    assert README.count("\n") <= LONGEST_README


def test_it_begins_with_one_sentence_and_one_picture():
    title, sentence, picture, following, *_ = README.split("\n\n")
    assert title == "# minode" and sentence.count(".") == 1 and sentence.endswith(".")
    assert re.fullmatch(r"!\[.+\]\(figures/gallery/\w+\.(png|gif)\)", picture) and following == "## The idea"


def test_the_idea_runs_in_at_most_fifteen_lines():
    first = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len(first.splitlines()) <= 15


def test_the_two_commands_are_there_once_each():
    commands = re.findall(r'^python -m pip install -e "\.\[(\w+)\]" && (.+)$', README, re.M)
    assert commands == [("figures", "python -m figures"), ("test", "python -m pytest")]


def test_what_to_cite_is_this_version_under_its_own_name():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    entry = next(block for language, block in blocks(README) if language == "bibtex")
    cited = dict(re.findall(r"^  (\w+) += \{+(.+?)\}+,?$", entry, re.M))
    holder = re.search(r"Copyright \(c\) (\d+) (.+)", page("LICENSE"))
    first_line = minode.__doc__.split("\n")[0]
    assert cited == {"title": first_line, "author": holder[2], "version": setup["metadata"]["version"], "year": holder[1]}


@every_page
def test_every_file_and_heading_that_a_page_links_to_exists(name):
    links = re.findall(r"\]\(<?([^)>#:]*)(?:#([^)]+))?>?\)", page(name))
    missing = []
    for file, heading in links:
        path = (ROOT / name).parent / file if file else ROOT / name
        text = path.read_text(encoding="utf-8") if heading and path.exists() else ""
        anchors = [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", text, re.M)]
        if not path.exists() or heading and heading not in anchors:
            missing.append((file, heading))
    assert not missing, f"{name} links to {missing}"


def test_there_are_links():
    assert len(re.findall(r"\]\([^)#:]+\)", README)) >= 40, "the test of the links no longer finds what it is about"


def sentences(text):
    """The sentences of a page as lists of words: no blocks, tables, pictures, comments, or addresses of links."""
    text = re.sub(r"^```.*?^```$|<!--.*?-->|^\|.*?$|^!\[.*?$|<[^>]+>|^#.*?$", "", text, flags=re.M | re.S)
    text = re.sub(r"\]\(<?[^)]*\)", "]", text)
    for sentence in re.split(r"(?<=[.:;?!])\s|\n\s*\n|\n- |\n\d+\. ", text):
        words = re.findall(r"[\w']+", sentence.lower())
        if len(words) > LONGEST_REPEATED:
            yield tuple(words)


def test_nothing_is_said_twice():
    said, twice = {}, []
    for name in PAGES:
        for sentence in sentences(page(name)):
            if sentence in said:
                twice.append((said[sentence], name, " ".join(sentence)))
            said[sentence] = name
    assert len(said) >= 100, "this test no longer finds what it is about"
    assert not twice


# -- what is made from the source -------------------------------------------------------


@every_page
def test_the_parts_that_are_made_from_the_source_are_up_to_date(name):
    assert page(name) == as_made(name), "out of date: python -m tests.book writes them anew"


def rows_of_chapters():
    return [row for row in cells(section("Begin here"), 4) if row[0]]


def test_the_reading_order_is_the_book_and_a_chapter_needs_only_chapters_before_it():
    rows = rows_of_chapters()
    numbers = [int(row[0]) for row in rows]
    assert numbers[:len(CORE)] == list(CORE) and sorted(numbers) == sorted(CHAPTERS) and len(numbers) == len(set(numbers))
    assert numbers[len(CORE):] == sorted(numbers[len(CORE):])
    for number, title, needs, time in rows:
        chapter = CHAPTERS[int(number)]
        assert title == f"[{chapter.docstring.split(chr(10))[0].partition('. ')[2]}]({chapter.name})"
        assert all(int(earlier) < int(number) for earlier in re.findall(r"\d+", needs))
        assert 80 <= chapter.text.count("\n") <= 250 and time == hours(int(number))


def test_the_times_are_those_that_a_reader_took():
    assert [hours(number) for number in (4, 9, 18, 26)] == ["2 h", "1 h", "3 h", "2 h"]
    assert hours(16, 17) == "2 h" and hours(16) == "½ h" and hours(17) == "1½ h"


def test_every_part_has_its_chapters_and_its_figures():
    assert len(parts()) >= 5 and sorted(sum(parts().values(), [0])) == sorted(CHAPTERS)
    shown = [int(n) for n in re.findall(r"^\*\*Figure (\d+)\.", GALLERY, re.M)]
    assert sorted(shown) == list(figures()) and shown[-1] == SPEED
    assert set(re.findall(r"^## (.+)$", GALLERY, re.M)) <= {*parts(), "Speed"}


def test_chapters_cite_the_figures_and_only_figures_that_exist():
    cited = {number: source.name for source in CHAPTERS.values() for text in source.docstrings()
             for number in cited_figures(text)}
    unknown = {number: name for number, name in cited.items() if number not in figures()}
    assert not unknown, f"no such figure: {unknown}"
    lacking = sorted(set(figures()) - set(cited) - {SPEED})
    assert not lacking, f"no chapter cites the figures {lacking}"


def test_figures_are_found_in_a_sentence():
    text = "Figure 13 shows it, figures 1 and 2 more, Figures 4, 5 and 7 the rest; so do figures 20 to 22 and\nfigures 30–31."
    assert cited_figures(text) == {13, 1, 2, 4, 5, 7, 20, 21, 22, 30, 31}


@pytest.mark.parametrize("number", range(1, 14))
def test_every_erratum_is_decided_by_a_test(number):
    assert re.search(rf"^\| {number} \|.*`erratum_{number}[a-z]?`", page("minode/ERRATA.md"), re.M)
    assert re.search(rf"^def test_erratum_{number}[a-z]?_", ERRATA, re.M)


# -- the tests --------------------------------------------------------------------------


def test_every_test_that_the_page_on_the_tests_names_exists():
    files = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TESTS)
    assert len(files) >= 12, "this test no longer finds what it is about"
    missing = [(file, name) for file, name in files
               if not (ROOT / file).exists() or name and f"def {name}(" not in page(file)]
    assert not missing


def test_the_score_of_the_mutants_adds_up():
    measured = section("Who tests the tests", TESTS).partition("<!-- measured")[2].partition("<!-- end of")[0]
    seen, of, explained = (int(number.replace(",", "")) for number in re.search(
        r"([\d,]+) of ([\d,]+) were seen .*? other (\d+) make", measured, re.S).groups())
    assert seen + explained == of and seen > 1000


def test_answers_are_given_to_exercises_that_are_there_and_to_all_of_them():
    asked = {number for number, chapter in CHAPTERS.items() if re.search(r"^Exercises?\. ", chapter.docstring, re.M)}
    answered = set(map(int, re.findall(r"^### Chapter (\d+)$", section("Answers to the exercises", TESTS), re.M)))
    decided = {int(number) for source in sources("tests") if "xercise" in source.text for text in source.docstrings()
               for number in re.findall(r"[Ee]xercises?\b[^.]*? of chapter (\d+)", text)}
    assert answered <= asked, f"answers to exercises that no longer exist: chapters {sorted(answered - asked)}"
    assert asked <= answered | decided, (f"no answer in tests/README.md, and no test with a docstring 'Exercise k of chapter n', "
                                         f"for chapters {sorted(asked - answered - decided)}")


# -- the exercises ----------------------------------------------------------------------


def test_each_broken_line_is_named_by_the_test_that_the_answer_names():
    answers = witnesses()
    assert len(answers) == len(exercises()) == len(cells(section("Break this line"), 5)) >= 5
    done = result(EXERCISES)
    for (k, test), number in zip(answers, exercises()):
        assert re.search(rf"^seen +\({number}\) .* exercise {k}  <- {test.removeprefix('tests/')}", done.stdout, re.M), \
            f"exercise {k}: {done.stdout}{done.stderr}"
    assert done.returncode == 0


# -- speed ------------------------------------------------------------------------------

TIMES = section("From import to trained") + section("Speed", GALLERY)


def test_the_speed_tables_have_the_rows_that_the_figure_measures(monkeypatch):
    measured = []
    monkeypatch.setattr(speed, "compare", lambda title, contenders, **_: measured.append((title, [*contenders])))
    monkeypatch.setattr(_peers, "available", lambda *names: False)
    list(speed.measured(np.random.default_rng(0)))
    rows = cells(TIMES)
    assert [title for title, *_ in rows] == [title for title, _ in measured] and len(rows) == 24
    for _, *times in rows:
        assert all(re.fullmatch(r"[\d,]+(\.\d+)?", time) for time in times)
    headings = re.findall(r"^\| ms \| (.+) \|$", TIMES, re.M)
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
    program = page("figures/demo/with_minode.py")
    assert program.count("range(500)") == program.count("(0, 499)") == 1
    a_fifth = program.replace("range(500)", "range(100)").replace("(0, 499)", "(0, 99)")
    done = subprocess.run([sys.executable, "-c", a_fifth], cwd=ROOT, capture_output=True, text=True, check=True)
    first, last = map(float, done.stdout.split())
    assert last < 0.1 * first


def test_a_table_of_times_is_printed_as_the_pages_have_it():
    tables = [{"title": "one", "rows": {"minode": (1.2345, 1.0), "SciPy": (1234.5, 1000.0)}},
              {"title": "two", "rows": {"minode": (0.5, 1.0), "SciPy": (12.345, 24.7)}}]
    assert speed.as_markdown(tables) == ("| ms | minode | SciPy |\n|---|---|---|\n"
                                         "| one | 1.23 | 1,234 |\n| two | 0.5 | 12.3 |")


def test_tables_read_back_from_the_readme_are_those_that_it_prints_with_the_ratios_of_their_times():
    tables = speed.from_markdown(TIMES)
    assert len(tables) == len(cells(TIMES))
    for printed in re.findall(r"(?:^\|.*\n)+", TIMES, re.M):
        assert speed.as_markdown(speed.from_markdown(printed)) == printed.strip()
    assert all(list(table["rows"].values())[0][1] == 1.0 for table in tables)
    ms, ratio = tables[0]["rows"]["torchdiffeq"]
    assert ratio == ms / tables[0]["rows"]["minode"][0]


# -- the other libraries ----------------------------------------------------------------

ELSEWHERE = cells(section("The same things elsewhere", GLOSSARY), 5)
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

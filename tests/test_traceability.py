"""Every printed equation is executed, tested and told apart: the numbers (chapter.k) form one unbroken net.

`tests/book.py` says what counts as defining, executing and testing an equation. Figures and the README may
point at equations, and only at some that exist.
"""

import re
import sys
from collections import Counter

import pytest

from tests.book import BOOK, CHAPTERS, DEFINED, ROOT, in_order, references, sources

LONGEST_CHAPTER = 250                                   # lines
TESTS = sources("tests")
CODED = {number for source in BOOK for _, number in source.code_numbers()}
MARKED = {number for source in TESTS for _, number in source.marked_numbers()}

PAGES = [source for source in BOOK if not source.path.name.startswith("__")]

one_chapter = pytest.mark.parametrize("chapter", [CHAPTERS[n] for n in sorted(CHAPTERS)],
                                      ids=lambda chapter: chapter.name)


def test_the_book_has_chapters_and_equations():
    assert len(CHAPTERS) >= 9 and len(DEFINED) >= 40, "this test no longer finds what it is about"


def test_every_module_is_a_chapter_with_a_number_of_its_own_or_an_appendix_to_one():
    untitled = [page.name for page in PAGES if page.place is None]
    assert not untitled, f"no 'N. Title' or 'Appendix to chapter N. Title' opens the docstring of {untitled}"
    twice = [n for n, times in Counter(page.chapter for page in PAGES if page.chapter).items() if times > 1]
    assert not twice, f"more than one chapter has the number {twice}"
    unprinted = [page.name for page in PAGES if page.chapter is None and page.defines]
    assert not unprinted, f"equations belong into chapters, not into {unprinted}"


def test_every_equation_is_defined_once():
    twice = [n for n, times in Counter(n for source in BOOK for n in source.defines).items() if times > 1]
    assert not twice, f"printed flush right more than once: {in_order(twice)}"


@one_chapter
def test_the_equations_of_a_chapter_carry_its_number_and_count_from_one(chapter):
    expected = [f"{chapter.chapter}.{k}" for k in range(1, len(chapter.defines) + 1)]
    assert chapter.defines == expected, f"{chapter.name} prints {chapter.defines}, expected {expected}"


def test_every_equation_is_executed():
    orphans = set(DEFINED) - CODED
    assert not orphans, f"no line of code in minode ends in the number of {in_order(orphans)}"


def test_every_equation_is_tested():
    orphans = set(DEFINED) - MARKED
    assert not orphans, f"no test is marked eq of {in_order(orphans)}"


def test_every_number_on_a_line_of_code_or_a_test_is_an_equation():
    used = [(source.name, *use) for source in BOOK for use in source.code_numbers()]
    used += [(source.name, *use) for source in TESTS for use in source.marked_numbers()]
    orphans = [f"({number}) at {name}:{line}" for name, line, number in used if number not in DEFINED]
    assert not orphans, "numbers that no docstring defines: " + "; ".join(orphans)


@pytest.mark.parametrize("folder", ["minode", "figures"])
def test_every_equation_that_a_docstring_refers_to_exists(folder):
    orphans = [f"({number}) in {source.name}" for source in sources(folder) for text in source.docstrings()
               for number in references(text) if number not in DEFINED]
    assert not orphans, "references to equations that do not exist: " + "; ".join(orphans)


def test_every_equation_that_the_readme_refers_to_exists():
    orphans = set(references((ROOT / "README.md").read_text(encoding="utf-8"))) - set(DEFINED)
    assert not orphans, f"README.md mentions {in_order(orphans)}, which no docstring defines"


@one_chapter
def test_a_chapter_refers_to_chapters_that_exist_and_hands_on_to_the_next(chapter):
    text = "\n".join(chapter.docstrings())
    named = [int(n) for some in re.findall(r"[Cc]hapters?\s(\d+(?:(?:,\s|\sand\s|–)\d+)*)", text)
             for n in re.findall(r"\d+", some)]
    unknown = sorted(set(named) - set(CHAPTERS))
    assert not unknown, f"{chapter.name} refers to chapters {unknown}, which do not exist"
    if chapter.chapter != max(CHAPTERS):
        following = re.search(r"\nNext: .*?chapter\s(\d+)", chapter.docstring, re.S)
        assert following and int(following[1]) == chapter.chapter + 1, \
            f"{chapter.name} should end in 'Next: … (chapter {chapter.chapter + 1})'"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_chapter_imports_only_what_comes_before_it(page):
    place = {source.name.removesuffix(".py").removesuffix("/__init__"): source.place for source in BOOK}
    later = []
    for line, module, name in page.imports():
        whole, part = f"{module}.{name}".replace(".", "/"), module.replace(".", "/")
        target = whole if whole in place else part
        if target in place and not (place[target] and place[target] < page.place):
            later.append(f"line {line}: {target} (chapter {place[target]})")
    assert not later, f"{page.name}, chapter {page.place}, imports what does not come before it: {later}"


def test_minode_imports_numpy_and_the_standard_library_alone():
    allowed = sys.stdlib_module_names | {"numpy", "minode"}
    foreign = [f"{source.name}:{line} imports {module}" for source in BOOK
               for line, module, _ in source.imports() if module.split(".")[0] not in allowed]
    assert not foreign, "; ".join(foreign)


@one_chapter
def test_a_chapter_is_short_enough_to_be_read_in_one_sitting(chapter):
    lines = chapter.text.count("\n")
    assert lines <= LONGEST_CHAPTER, f"{chapter.name} has {lines} lines, more than {LONGEST_CHAPTER}"

"""Every printed equation is executed, tested and told apart: the numbers (chapter.k) form one unbroken net.

`tests/book.py` says what counts as defining, executing and testing an equation. Figures and the pages may
point at equations, and only at some that exist.
"""

import re
import sys
from collections import Counter

import pytest

from tests import book
from tests.book import BOOK, CHAPTERS, DEFINED, in_order, references, sources

LONGEST_CHAPTER = 250                                   # lines
LONGEST_FUNCTION = 40                                   # lines of code, docstring and comments not counted
INPUTS = "minode/inputs"                                # the appendix on arguments, which every chapter may import
# Words that this book once had for what the field has a name for.
INVENTED = set("""
    bend bent bind Bound bound desk desks front_door furnish furnished gains give_back idle kept lent linearize march
    noted Notes own_share Packed pose posed pull push read_in_place room rooms shares stairs_of stocks sweep tell
    tell_of teller way_in way_out
""".split())
PAGES = [source for source in BOOK if not source.path.name.startswith("__")]

one_chapter = pytest.mark.parametrize("chapter", [CHAPTERS[n] for n in sorted(CHAPTERS)],
                                      ids=lambda chapter: chapter.name)


def test_the_book_has_chapters_and_equations():
    assert len(CHAPTERS) >= 9 and len(DEFINED) >= 40, "this test no longer finds what it is about"


def test_every_module_is_a_chapter_with_a_number_of_its_own_or_an_appendix_to_one():
    untitled = [page.name for page in PAGES if page.place is None and not page.is_outside]
    assert not untitled, f"no 'N. Title' or 'Appendix to chapter N. Title' opens the docstring of {untitled}"
    assert [page.name for page in PAGES if page.is_outside] == [INPUTS + ".py"], "one appendix to the whole book"
    chapters = Counter(page.chapter for page in PAGES if page.chapter is not None)
    twice = [n for n, times in chapters.items() if times > 1]
    assert sorted(chapters) == list(range(len(chapters))), f"the chapters are {sorted(chapters)}, with gaps"
    assert not twice, f"more than one chapter has the number {twice}"
    unprinted = [page.name for page in PAGES if page.belongs_to is None and page.defines]
    assert not unprinted, f"equations belong into chapters and their appendices, not into {unprinted}"


def test_every_equation_is_defined_once():
    twice = [n for n, times in Counter(n for source in BOOK for n in source.defines).items() if times > 1]
    assert not twice, f"printed flush right more than once: {in_order(twice)}"


@one_chapter
def test_the_equations_of_a_chapter_carry_its_number_and_count_from_one_on_into_its_appendices(chapter):
    appendices = [page for page in PAGES if page.chapter is None and page.belongs_to == chapter.chapter and page.defines]
    assert len(appendices) <= 1, f"in which order are {[page.name for page in appendices]} to be read?"
    printed = chapter.defines + [number for page in appendices for number in page.defines]
    expected = [f"{chapter.chapter}.{k}" for k in range(1, len(printed) + 1)]
    assert printed == expected, f"{chapter.name} and its appendices print {printed}, expected {expected}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_equation_is_executed_in_the_page_that_prints_it(page):
    orphans = set(page.defines) - {number for _, number in page.code_numbers()}
    assert not orphans, f"no line of code in {page.name} ends in the number of {in_order(orphans)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_chapter_and_its_appendices_execute_the_equations_of_this_chapter_alone(page):
    foreign = [f"({number}) in line {line}" for line, number in page.code_numbers()
               if int(number.split(".")[0]) != page.belongs_to]
    assert not foreign, f"{page.name} carries numbers of other chapters: {'; '.join(foreign)}"


def test_every_equation_is_tested():
    orphans = set(DEFINED) - set(book.tested_in())
    assert not orphans, f"no test is marked eq of {in_order(orphans)}"


def test_every_number_on_a_line_of_code_or_a_test_is_an_equation():
    used = [(source.name, *use) for source in BOOK for use in source.code_numbers()]
    used += [(source.name, *use) for source in sources("tests") for use in source.marked_numbers()]
    orphans = [f"({number}) at {name}:{line}" for name, line, number in used if number not in DEFINED]
    assert not orphans, "numbers that no docstring defines: " + "; ".join(orphans)


@pytest.mark.parametrize("folder", ["minode", "figures"])
def test_every_equation_that_a_docstring_refers_to_exists(folder):
    orphans = [f"({number}) in {source.name}" for source in sources(folder) for text in source.docstrings()
               for number in references(text) if number not in DEFINED]
    assert not orphans, "references to equations that do not exist: " + "; ".join(orphans)


@pytest.mark.parametrize("name", book.PAGES)
def test_every_equation_that_a_page_refers_to_exists(name):
    orphans = set(references(book.page(name))) - set(DEFINED)
    assert not orphans, f"{name} mentions {in_order(orphans)}, which no docstring defines"


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


def test_every_figure_that_the_book_names_exists():
    """"Figure 23", "figures 16, 20 and 24": a docstring that names a figure is about one that is drawn."""
    drawn = {int(found[1]) for source in sources("figures") if (found := re.match(r"Figure (\d+)\. ", source.docstring))}
    unknown = {source.name: sorted(named - drawn) for source in BOOK if (named := {
        int(n) for text in source.docstrings()
        for some in re.findall(r"[Ff]igures?\s(\d+(?:(?:,\s|\sand\s|,\sand\s|–|\sto\s)\d+)*)", text)
        for n in re.findall(r"\d+", some)}) - drawn}
    assert len(drawn) >= 40 and not unknown, f"no such figures: {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_chapter_imports_only_what_comes_before_it(page):
    place = {source.name.removesuffix(".py").removesuffix("/__init__"): source.place for source in BOOK}
    end = 2 if page.is_outside else page.place                       # the appendix on arguments knows chapter 1
    later = []
    for line, module, name in page.imports():
        whole, part = f"{module}.{name}".replace(".", "/"), module.replace(".", "/")
        target = whole if whole in place else part
        is_own = end % 1 and place.get(target) in (end, end + 0.5)       # an appendix knows its chapter and its sisters
        if target in place and not (
                target == INPUTS and end > 1 or is_own or place[target] is not None and place[target] < end):
            later.append(f"line {line}: {target} (chapter {place[target]})")
    assert not later, f"{page.name}, chapter {page.place}, imports what does not come before it: {later}"


def test_chapter_0_imports_numpy_alone_and_numbers_nothing():
    page = CHAPTERS[0]
    assert page.name == "minode/one_page.py" and not page.defines and not list(page.code_numbers())
    assert {module for _, module, _ in page.imports()} == {"numpy"}
    importing = [source.name for source in BOOK for _, module, name in source.imports()
                 if module == "minode.one_page" or (module, name) == ("minode", "one_page")]
    assert not importing, f"{importing} import chapter 0, which every other page says in general"


def test_minode_imports_numpy_and_the_standard_library_alone():
    allowed = sys.stdlib_module_names | {"numpy", "minode"}
    foreign = [f"{source.name}:{line} imports {module}" for source in BOOK
               for line, module, _ in source.imports() if module.split(".")[0] not in allowed]
    assert not foreign, "; ".join(foreign)


@one_chapter
def test_a_chapter_is_short_enough_to_be_read_in_one_sitting(chapter):
    lines = chapter.text.count("\n")
    assert lines <= LONGEST_CHAPTER, f"{chapter.name} has {lines} lines, more than {LONGEST_CHAPTER}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_function_has_more_lines_of_code_than_fit_on_a_screen(page):
    long = [f"{name} has {lines}" for name, lines in page.functions() if lines > LONGEST_FUNCTION]
    assert not long, f"{page.name}: {', '.join(long)} lines of code, more than {LONGEST_FUNCTION}"


@pytest.mark.parametrize("page", BOOK, ids=lambda page: page.name)
def test_what_has_a_name_is_called_by_it(page):
    invented = INVENTED & set(page.identifiers())
    assert not invented, f"{page.name} calls things {sorted(invented)}: what would the field's name be?"

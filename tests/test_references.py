"""The bibliography has every work that is cited, and no other; the glossary has terms that the chapters define."""

import re
from pathlib import Path

import pytest

import minode
from tests.book import BOOK, CHAPTERS, PAGES, page
from tests.cited import ENTRY, by_name, citations, citations_in, cited, works

TERMS = [[cell.strip() for cell in line.strip("|").split("|")]
         for line in page("minode/GLOSSARY.md").partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]


def test_every_citation_is_in_the_bibliography():
    assert len(citations()) >= 60, "this test no longer finds what it is about"
    unknown = [f"{citation.source.name}: {' '.join(citation.names)} {citation.year}" for citation in citations()
               if citation.is_certain and not cited(citation)]
    assert not unknown, f"minode/BIBLIOGRAPHY.md has no entry for {unknown}"


def test_every_work_in_the_bibliography_is_cited():
    used = {work.number for citation in citations() for work in cited(citation)}
    unused = [f"{work.names[0]} {work.year}" for work in works() if work.number not in used]
    assert not unused, f"nobody cites {unused}"


def test_the_bibliography_is_numbered_in_the_order_of_the_names():
    assert len(works()) >= 40 and [work.number for work in works()] == list(range(1, len(works()) + 1))
    assert works() == sorted(works(), key=by_name)


def test_every_entry_has_a_title_and_a_working_form_of_its_number():
    for number, _, year, rest in ENTRY.findall(page("minode/BIBLIOGRAPHY.md")):
        assert len(rest.split(". ")[0]) >= 8, f"{number} has no title"
        for shown, address in re.findall(r"\[(?:doi|arXiv):([^]]+)\]\(<?https://(?:doi\.org|arxiv\.org/abs)/([^>\s]+?)>?\)(?= |$)", rest):
            assert shown == address and re.fullmatch(r"10\.\d{4,}/\S+|\d{4}\.\d{4,5}", shown), f"{number}: {shown}"


@pytest.mark.parametrize("text, found", [
    ("(Dupont, Doucet and Teh, 2019)", [(("Dupont", "Doucet", "Teh"), "2019", True)]),
    ("The midpoint rule (Runge 1895) and Heun's (1900) reach", [(("Runge",), "1895", True), (("Heun",), "1900", True)]),
    ("Lotka (1925), Volterra (1926).", [(("Lotka",), "1925", True), (("Volterra",), "1926", True)]),
    ("(Hairer, section II.4)", [(("Hairer", "Nørsett", "Wanner"), "1993", True)]),
    ("Hairer and Wanner (section IV.8)", [(("Hairer", "Wanner"), "1996", True)]),
    ("FFJORD, Grathwohl et al. 2019", [(("Grathwohl",), "2019", True)]),
    ("the pelts of 1900 to 1920, and 2000 points", [])])
def test_citations_are_found_in_a_sentence(text, found):
    assert list(citations_in(text)) == found


def test_two_works_of_one_year_are_told_apart_by_the_other_names():
    chapter = next(citation for citation in citations() if citation.names[-3:] == ("Kidger", "Chen", "Lyons"))
    assert [work.authors for work in cited(chapter)] == [("Kidger", "Chen", "Lyons")]


def test_the_pages_that_help_names_are_beside_the_package_and_are_installed_with_it():
    named = re.findall(r"\b[A-Z]+\.md", minode.__doc__)
    assert set(named) == {name.removeprefix("minode/") for name in PAGES if name.startswith("minode/")}
    assert all((Path(minode.__file__).parent / name).exists() for name in named)
    assert "\n[options.package_data]\nminode = *.md\n" in page("setup.cfg")


def test_the_glossary_is_in_alphabetical_order_and_has_what_the_field_says():
    terms = [term for term, *_ in TERMS]
    assert len(terms) >= 30 and terms == sorted(terms, key=str.casefold)
    elsewhere = " ".join(other for _, other, *_ in TERMS)
    for name in ("NFE", "VJP", "JVP", "HVP", "FFJORD", "CNF", "revolve", "discretise-then-optimise", "costate",
                 "optimise-then-discretise", "continuous extension", "PI controller", "probability flow", "Hutchinson"):
        assert name in elsewhere, f"the glossary does not say {name}"


@pytest.mark.parametrize("term, chapter", [(term, int(chapter)) for term, _, _, chapter in TERMS])
def test_a_term_of_the_glossary_stands_in_the_chapter_that_defines_it(term, chapter):
    assert chapter in CHAPTERS
    text = " ".join(" ".join(docstring.split()) for source in BOOK if source.belongs_to == chapter
                    for docstring in source.docstrings())
    assert term.casefold() in text.casefold()

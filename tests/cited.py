"""The works that docstrings and comments cite by author and year, and the bibliography, minode/BIBLIOGRAPHY.md.

A citation is a year in brackets, or a year right after a name: Kutta (1901), (Butcher 1963), (Dupont, Doucet and Teh,
2019), Heun's (1900), Chen and others (2018). The first author and the year say which work it is, and the other
names, if that is not enough. A section of Hairer's two books, "section II.4", says by its chapter which of them it is.
"""

import re
from functools import cache
from typing import NamedTuple

from tests.book import page, sources

FOLDERS = ("minode", "figures", "tests")
YEAR = re.compile(r"\b(?:1[5-9]\d\d|20[0-2]\d)\b")
NAME = r"(?:Mc)?[A-ZÅÆÉÖØÜ][a-zåæéöøü]+(?:-[A-Z][a-z]+)*"
AFTER_A_NAME = re.compile(rf"(?:{NAME}(?:'s)?|\bet al|\bothers),? $")
SECTION = re.compile(r"\bHairer\b[^.;:]{0,80}?\bsections? (I{1,3}|IV|V|VI)\.\d")     # of Solving ODEs I or II, by its chapter
VOLUMES = {"1993": ("I", "II", "III"), "1996": ("IV", "V", "VI")}
ENTRY = re.compile(r"^(\d+)\. (.+?) \((\d{4})\)\. (.+)$", re.M)
PLACES = re.compile(r" \*Cited in [^*]*\*$")


class Work(NamedTuple):
    """An entry of the bibliography: its number, the authors without their initials, in order, and the year."""

    number: int
    authors: tuple
    year: str

    @property
    def names(self):
        """The last word of each author: Pol of van der Pol."""
        return tuple(author.split()[-1] for author in self.authors)


class Citation(NamedTuple):
    """Where a work is cited, the names in front of the year, in order, the year, and whether it must be a work."""

    source: object
    names: tuple
    year: str
    is_certain: bool


@cache
def works():
    found = []
    for number, authors, year, _ in ENTRY.findall(page("minode/BIBLIOGRAPHY.md")):
        names = re.split(r", | and ", re.sub(r"(?:\b[A-ZÅ][a-z]?\.[- ])+", "", authors).removesuffix(" and others"))
        found.append(Work(int(number), tuple(names), year))
    return found


def citations_in(text):
    """(names, year, whether it must be a citation) for every year with a name before it, in the same part of a sentence."""
    for match in YEAR.finditer(text):
        before = text[:match.start()].replace("et al.", "et al")
        in_brackets = before.endswith("(") and text[match.end():match.end() + 1] == ")"
        part = re.split(r"[;:.()]|" + YEAR.pattern, before.removesuffix("("))[-1]
        names = tuple(re.findall(NAME, part))
        if names:
            yield names, match[0], in_brackets or bool(AFTER_A_NAME.search(before))
    for match in SECTION.finditer(text):
        year = next(year for year, chapters in VOLUMES.items() if match[1] in chapters)
        yield ("Hairer", "Nørsett", "Wanner") if year == "1993" else ("Hairer", "Wanner"), year, True


@cache
def citations():
    return [Citation(source, *found) for folder in FOLDERS for source in sources(folder)
            if YEAR.search(source.text) or "Hairer" in source.text
            for text in source.prose() for found in citations_in(text)]


def cited(citation):
    """The works that a citation may mean: by the first author and the year, and by the other names if that leaves several."""
    found = [work for work in works() if work.year == citation.year and work.names[0] in citation.names]
    fitting = [work for work in found
               if set(citation.names[citation.names.index(work.names[0]):]) <= set(work.names)]
    return fitting if len(found) > 1 and fitting else found


def where(work):
    """The chapters and figures that cite a work, in words."""
    files = [citation.source for citation in citations() if work in cited(citation)]
    chapters = sorted({source.belongs_to for source in files if source.belongs_to is not None})
    drawn = sorted({int(n) for source in files for n in re.findall(r"^Figure (\d+)\.", source.docstring)})
    others = sorted({source.name for source in files if source.belongs_to is None
                     and not source.docstring.startswith("Figure ") and not source.name.startswith("tests/")})
    places = [f"chapter{'s' * (len(chapters) > 1)} {listed(chapters)}"] * bool(chapters)
    places += [f"figure{'s' * (len(drawn) > 1)} {listed(drawn)}"] * bool(drawn) + others
    return "; ".join(places or sorted({source.name for source in files}))


def listed(numbers):
    words = list(map(str, numbers))
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])


def by_name(work):
    return [author.casefold() for author in work.authors], work.year


def with_places(text):
    """The bibliography, in the order of the names, with the places that cite each work at the end of its line."""
    lines = {int(match[1]): PLACES.sub("", match[0]).partition(". ")[2] for match in ENTRY.finditer(text)}
    in_order = sorted(works(), key=by_name)
    new = [f"{place}. {lines[work.number]} *Cited in {where(work)}.*" for place, work in enumerate(in_order, 1)]
    return text[:text.index("\n1. ") + 1] + "\n".join(new) + "\n"

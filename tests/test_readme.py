"""The README keeps its word: its examples run, its tables are those of the source, what it names is there."""

import doctest
import re

import pytest

from tests.book import ROOT, readme

README = (ROOT / "README.md").read_text(encoding="utf-8")
ERRATA = (ROOT / "tests" / "test_errata.py").read_text(encoding="utf-8")


def test_every_example_runs():
    examples = doctest.DocTestParser().get_doctest(README.replace("```", ""), {}, "README.md", "README.md", 0)
    assert len(examples.examples) >= 15, "this test no longer finds what it is about"
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples)
    assert outcome.failed == 0


def test_the_idea_runs_in_at_most_twenty_lines():
    first = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len(first.splitlines()) <= 20


def test_the_gallery_and_the_map_are_those_of_the_source():
    assert README == readme(), "out of date: python -m tests.book writes them anew"


def test_every_file_it_links_to_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) >= 20, "this test no longer finds what it is about"
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing, f"README.md links to {missing}"


def test_the_two_commands_are_there_once_each():
    commands = re.findall(r'^python -m pip install -e "\.\[(\w+)\]" && (.+)$', README, re.M)
    assert commands == [("figures", "python -m figures"), ("test", "python -m pytest")]


@pytest.mark.parametrize("number", range(1, 14))
def test_every_erratum_is_decided_by_a_test(number):
    assert re.search(rf"^\| {number} \|.*`erratum_{number}[a-z]?`", README, re.M)
    assert re.search(rf"^def test_erratum_{number}[a-z]?_", ERRATA, re.M)

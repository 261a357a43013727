"""Reading the book as text: its chapters, the equations they print, where each number is used, and the pages made of it.

An equation is defined where a module docstring of `minode` prints its number flush right (two spaces or more
before it, nothing after it); it is executed where a line of code ends in `# (c.k)`; it is tested where a test
is marked `eq("c.k")`.

`python -m tests.book` writes the parts of the pages (PAGES) that are made from the source: whatever stands between
`<!-- made: NAME -->` and `<!-- end -->`, and in the bibliography the chapters that cite a work.
"""

import ast
import io
import math
import re
import tokenize
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from figures import paragraph

ROOT = Path(__file__).parent.parent
NUMBER = r"[1-9]\d*\.[1-9]\d*"
DEFINITION = re.compile(rf"  \(({NUMBER})\)$", re.M)
MARK = re.compile(r"\bpytest\.mark\.eq\((.*?)\)", re.S)
CODE_COMMENT = re.compile(rf"#(?: \({NUMBER}\))+$")
REFERENCE = re.compile(rf"(?<![\w)\]])\(({NUMBER}(?:, {NUMBER})*)\)")        # (16.2) or (16.1, 16.2)
TITLE = re.compile(r"(Appendix to chapter )?(\d+)\. \S")


class Numbered(NamedTuple):
    """A statement that carries numbers: they, its node in the tree, and the lines that they speak for.

    A number speaks for its line; after an opening bracket, for the lines down to the closing one.
    """

    numbers: tuple
    node: ast.stmt
    lines: tuple


class Source:
    """A Python file: its name below the project, text, docstring, and the chapter it is, if it is one.

    Its tree is made where it is first asked for: few are needed before the tests begin.

    `place` is where it stands in the reading order: a chapter at its number, an appendix (to be looked up,
    not read) just before its chapter. The appendix to the whole book, `minode/inputs.py`, is in no order.
    """

    def __init__(self, path):
        self.path, self.name = path, path.relative_to(ROOT).as_posix()
        self.text = path.read_text(encoding="utf-8")
        first = next(token for token in tokenize.generate_tokens(io.StringIO(self.text).readline)
                     if token.type not in (tokenize.COMMENT, tokenize.NL))
        self.docstring = ast.literal_eval(first.string) if first.type == tokenize.STRING else ""
        title = TITLE.match(self.docstring)
        self.chapter = int(title[2]) if title and not title[1] else None
        self.place = int(title[2]) - (0.5 if title[1] else 0.0) if title else None
        self.belongs_to = int(title[2]) if title else None           # the chapter whose equations it may execute
        self.is_outside = self.docstring.startswith("Appendix. ")
        self.defines = DEFINITION.findall(self.docstring)

    @cached_property
    def statements(self):
        """The module and all its statements, each before those inside it."""
        found = [ast.parse(self.text)]
        for node in found:                                        # which grows meanwhile
            found += [inner for inner in ast.iter_child_nodes(node)
                      if isinstance(inner, (ast.stmt, ast.excepthandler, ast.match_case))]
        return found

    @cache
    def code_numbers(self):
        """[(line, number)] for every number in a comment that ends a line of code."""
        found = []
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT and CODE_COMMENT.match(token.string):
                assert token.line[:token.start[1]].strip(), f"{self.name}:{token.start[0]}: a number, no code"
                found += [(token.start[0], number) for number in re.findall(NUMBER, token.string)]
        return found

    @cache
    def numbered_statements(self):
        """The statements (`Numbered`) that carry a number on one of their lines, in the order of the text."""
        statements = [node for node in self.statements if isinstance(node, ast.stmt)]
        text, found = self.text.splitlines(), {}
        for line, number in self.code_numbers():
            node = min((n for n in statements if n.lineno <= line <= n.end_lineno),
                       key=lambda n: n.end_lineno - n.lineno)
            opens = text[line - 1].split("#")[0].rstrip().endswith(("(", "[", "{"))
            numbers, lines = found.setdefault(node, ({}, {}))
            numbers[number] = None
            lines.update(dict.fromkeys(range(line, node.end_lineno + 1) if opens else [line]))
        return [Numbered(tuple(numbers), node, tuple(lines)) for node, (numbers, lines) in found.items()]

    @cache
    def code_lines(self):
        """The lines of code: no docstrings, blank lines and comments."""
        code = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.string.strip() and token.type != tokenize.COMMENT:
                code.update(range(token.start[0], token.end[0] + 1))
        for node in self.statements:
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
                code.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        return frozenset(code)

    def functions(self):
        """(name, how many lines of code) of every function, inner ones too."""
        for node in self.statements:
            if isinstance(node, ast.FunctionDef):
                yield node.name, len(self.code_lines() & set(range(node.lineno, node.end_lineno + 1)))

    def identifiers(self):
        """Every name that the code gives or uses: of variables, arguments, keywords, attributes, functions, classes."""
        for node in ast.walk(self.statements[0]):
            for field in ("id", "arg", "attr", "name", "asname"):
                if isinstance(getattr(node, field, None), str):
                    yield from getattr(node, field).split(".")

    def docstrings(self):
        """The docstrings of the module, its classes and its functions."""
        for node in self.statements:
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                yield ast.get_docstring(node) or ""

    def prose(self):
        """The docstrings and the comments, each on one line, without the examples."""
        yield from (" ".join(line for line in text.split("\n") if not line.lstrip().startswith((">>>", "...")))
                    for text in self.docstrings())
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.string

    @cache
    def marked_numbers(self):
        """[(line, number)] for every argument of a mark eq, in the order of the text."""
        return [(self.text.count("\n", 0, call.start()) + 1, number)
                for call in MARK.finditer(self.text) for number in ast.literal_eval(f"[{call[1]}]")]

    def imports(self):
        """(line, absolute module name, imported name or None) for every import, wherever it stands."""
        package = self.path.relative_to(ROOT).parent.parts
        for node in self.statements:
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[:len(package) - node.level + 1] if node.level else ()
                module = ".".join([*base, *(node.module.split(".") if node.module else [])])
                yield from ((node.lineno, module, alias.name) for alias in node.names)


@cache
def sources(folder):
    return [Source(path) for path in sorted((ROOT / folder).rglob("*.py"))]


def references(text):
    """The numbers that prose refers to: (16.2), or (16.1, 16.2)."""
    return [number for group in REFERENCE.findall(text) for number in group.split(", ")]


def in_order(numbers):
    """Numbers as a list for a message, 9.4 before 10.1."""
    return ", ".join(f"({n})" for n in sorted(numbers, key=lambda n: tuple(map(int, n.split(".")))))


BOOK = sources("minode")
BY_NAME = {source.name: source for source in BOOK}
CHAPTERS = {source.chapter: source for source in BOOK if source.chapter is not None}
DEFINED = {number: source for source in BOOK for number in source.defines}


def tested_in():
    """{equation: names of the test files with a test marked by it}."""
    where = {}
    for source in sources("tests"):
        for _, number in source.marked_numbers():
            where.setdefault(number, {})[source.name] = None
    return where


def shown_in():
    """{equation: names of the figures whose docstring refers to it}."""
    where = {}
    for _, source in figures().values():
        for number in references(source.docstring):
            where.setdefault(number, {})[source.path.stem] = None
    return where


def printed(number):
    """The equation as the docstring prints it: from a blank line, or the number before, to its number."""
    docstring = DEFINED[number].docstring
    end = docstring.index(f"  ({number})\n")
    lines = DEFINITION.split(docstring[docstring.rindex("\n\n", 0, end):end])[-1]
    return " ".join(lines.split()).rstrip(",")


# -- the parts of the pages that are made from the source ------------------------------------

READMES = ("README.md", "figures/README.md", "tests/README.md")
PAGES = (*READMES, "minode/ERRATA.md", "minode/GLOSSARY.md", "minode/BIBLIOGRAPHY.md")
CORE = (0, 1, 4, 6, 9, 16, 17, 18)                 # the chapters that the others rest on
BEGINNING, AN_EQUATION, LINES_A_MINUTE = 15, 7, 3  # minutes, minutes, lines of code
SPEED = 90                                         # the figure that belongs to no part
FIGURE_NUMBERS = re.compile(r"[Ff]igures?\s(\d+(?:(?:,\s|\sand\s|,\sand\s|–|\sto\s)\d+)*)")


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def minutes(number):
    """About how long a chapter takes with its appendices: 15 minutes, 7 for each equation, 1 for three lines of code.

    This is a fit to the notes of one reader, who had not seen the book before: 2 h for chapter 4, 1 h for 9, 1½ h
    for 13, 3 h for 18 and 2 h for 26. Chapter 13 is the worst of them, with 2½ h.
    """
    files = [source for source in BOOK if source.belongs_to == number]
    return (BEGINNING + AN_EQUATION * sum(len(source.defines) for source in files)
            + sum(len(source.code_lines()) for source in files) / LINES_A_MINUTE)


def hours(*chapters):
    """The time that some chapters take together, each to the nearest half hour, in words."""
    halves = sum(max(1, math.floor(minutes(number) / 30 + 0.5)) for number in chapters)
    return f"{halves // 2 or ''}{'½' * (halves % 2)} h"


def title_of(chapter):
    return chapter.docstring.split("\n")[0].partition(". ")[2]


def parts():
    """{title of a part: its chapters}, in the order of the book; chapter 0 is in none."""
    found = {}
    for number in sorted(set(CHAPTERS) - {0}):
        part = BY_NAME[f"{CHAPTERS[number].path.parent.relative_to(ROOT).as_posix()}/__init__.py"].docstring
        found.setdefault(re.match(r"Part [IVX]+\. ([^:]+):", part)[1], []).append(number)
    return found


def chapter_rows(numbers):
    """Rows of the README: number, title, what the chapter needs, time. What it needs is kept as it stands there."""
    needs = dict(re.findall(r"^\| (\d+) \| \[[^|]+\) \| ([^|]*?) ?\|", page("README.md"), re.M))
    for number in numbers:
        need = needs.get(str(number), "")
        yield (f"| {number} | [{title_of(CHAPTERS[number])}]({CHAPTERS[number].name}) | {need}{' ' * bool(need)}| "
               f"{hours(number)} |")


def core_path():
    return "\n".join(["| | chapter | what it needs | time |", "|---|---|---|---|", *chapter_rows(CORE)]) + "\n"


def other_chapters():
    lines = ["| | chapter | what it needs | time |", "|---|---|---|---|"]
    for part, numbers in parts().items():
        lines += [f"| | **{part}** | | |", *chapter_rows(number for number in numbers if number not in CORE)]
    return "\n".join(lines) + "\n"


def time_needed():
    return (f"The core path takes about {hours(*CORE)}, and the whole book about {hours(*CHAPTERS)}. These times are for a "
            f"reader with a pencil:\n{BEGINNING} minutes for a chapter, {AN_EQUATION} for each of its equations and 1 for "
            f"{LINES_A_MINUTE} lines of its code, appendices included.\n")


def equation_map():
    """The table of equations."""
    tests, figures = tested_in(), shown_in()
    lines = ["| equation | as printed | chapter | tests | figures |", "|---|---|---|---|---|"]
    for number, source in sorted(DEFINED.items(), key=lambda item: tuple(map(int, item[0].split(".")))):
        files = ", ".join(name.removeprefix("tests/").removesuffix(".py") for name in tests.get(number, ()))
        lines.append(f"| ({number}) | `{printed(number).replace('|', chr(0x2223))}` | {source.name.removeprefix('minode/')} "
                     f"| {files} | {', '.join(figures.get(number, ()))} |")
    return "\n".join(lines) + "\n"


@cache
def figures():
    """{number: (title, source)} of the figures."""
    found = {}
    for source in sources("figures"):
        title = re.match(r"Figure (\d+)\. (.+)", source.docstring)
        if title:
            found[int(title[1])] = title[2], source
    return dict(sorted(found.items()))


def chapter_of_figure(source):
    """The chapter of the last of the equations that a figure shows."""
    return max(int(number.split(".")[0]) for number in references(source.docstring))


def cited_figures(text):
    """The numbers of the figures that prose refers to, ranges included."""
    found = set()
    for some in FIGURE_NUMBERS.findall(text):
        ends = [list(map(int, re.findall(r"\d+", piece))) for piece in re.split(r",|\band\b", some)]
        found.update(n for piece in ends if piece for n in range(piece[0], piece[-1] + 1))
    return found


def entry(number, title, source):
    """A figure in the gallery: number, title, command, picture, caption, and folded what else is tested."""
    name, numbers = source.path.stem, paragraph(source.docstring, "Numbers").removeprefix("Numbers. ")
    folded = f"\n<details>\n<summary>Numbers</summary>\n\n{numbers}\n\n</details>\n" if numbers else ""
    return (f"**Figure {number}. {title}** `python -m figures {name}`\n\n![{title}](gallery/{name}.png)\n\n"
            f"{paragraph(source.docstring, 'Caption').removeprefix('Caption. ')}\n{folded}")


def gallery():
    """Every figure, part by part and chapter by chapter."""
    lines, place = [], {number: (chapter_of_figure(source), number) for number, (_, source) in figures().items()}
    for part, chapters in parts().items():
        shown = sorted((n for n in place if place[n][0] in chapters and n != SPEED), key=place.get)
        lines += [f"## {part}\n"] * bool(shown) + [entry(number, *figures()[number]) for number in shown]
    return "\n".join(lines)


def speed_entry():
    return entry(SPEED, *figures()[SPEED])


def counts():
    """How many equations, marks and negative controls there are, in two sentences."""
    from tests.mistakes import controls
    marked = sum(1 for source in sources("tests") for _ in source.marked_numbers())
    return (f"The book has {len(DEFINED)} numbered equations. Tests carry {marked:,} marks that say which equation they are "
            f"about,\nand {len(controls())} negative controls test the tests.\n")


def exercises():
    """The README's exercises: {equation: rows (module, fragment, replacement, what)}, as in tests/mistakes.py."""
    rows = re.findall(rf"^\| (\d+) \| `(.+?)` \| `(.+?)` \| `(.+?)` \| `--eq ({NUMBER})` \|$", page("README.md"), re.M)
    return {number: [(module, old, new, f"exercise {k}")] for k, module, old, new, number in rows}


def witnesses():
    """What tests/README.md answers to them: (number, test that sees the broken line)."""
    return re.findall(r"^(\d)\. `(tests/[\w/]+\.py::\w+)`", page("tests/README.md"), re.M)


MADE = {"core path": core_path, "other chapters": other_chapters, "time": time_needed, "map": equation_map,
        "gallery": gallery, "speed": speed_entry, "counts": counts}


def as_made(name):
    """A page with the parts that are made from the source as they should be."""
    def block(match):
        return f"<!-- made: {match[1]} -->\n\n{MADE[match[1]]()}\n<!-- end -->"
    text = re.sub(r"<!-- made: ([\w ]+) -->\n.*?<!-- end -->", block, page(name), flags=re.S)
    if name.endswith("BIBLIOGRAPHY.md"):
        from tests.cited import with_places
        text = with_places(text)
    return text


if __name__ == "__main__":
    for name in PAGES:
        (ROOT / name).write_text(as_made(name), encoding="utf-8")

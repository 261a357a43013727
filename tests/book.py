"""Reading the book as text: its chapters, the equations they print, and where each number is used.

An equation is defined where a module docstring of `minode` prints its number flush right (two spaces or more
before it, nothing after it); it is executed where a line of code ends in `# (c.k)`; it is tested where a test
is marked `eq("c.k")`.
"""

import ast
import io
import math
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
NUMBER = r"[1-9]\d*\.[1-9]\d*"
DEFINITION = re.compile(rf"  \(({NUMBER})\)$", re.M)
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
    """A Python file: its name below the project, text, tree, docstring, and the chapter it is, if it is one.

    `place` is where it stands in the reading order: a chapter at its number, an appendix (to be looked up,
    not read) just before its chapter. The appendix to the whole book, `minode/inputs.py`, is in no order.
    """

    def __init__(self, path):
        self.path, self.name = path, path.relative_to(ROOT).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        self.docstring = ast.get_docstring(self.tree, clean=False) or ""
        title = TITLE.match(self.docstring)
        self.chapter = int(title[2]) if title and not title[1] else None
        self.place = int(title[2]) - (0.5 if title[1] else 0.0) if title else None
        self.belongs_to = int(title[2]) if title else None           # the chapter whose equations it may execute
        self.is_outside = self.docstring.startswith("Appendix. ")
        self.defines = DEFINITION.findall(self.docstring)

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
        statements = [node for node in ast.walk(self.tree) if isinstance(node, ast.stmt)]
        text, found = self.text.splitlines(), {}
        for line, number in self.code_numbers():
            node = min((n for n in statements if n.lineno <= line <= n.end_lineno),
                       key=lambda n: n.end_lineno - n.lineno)
            opens = text[line - 1].split("#")[0].rstrip().endswith(("(", "[", "{"))
            numbers, lines = found.setdefault(node, ({}, {}))
            numbers[number] = None
            lines.update(dict.fromkeys(range(line, node.end_lineno + 1) if opens else [line]))
        return [Numbered(tuple(numbers), node, tuple(lines)) for node, (numbers, lines) in found.items()]

    def functions(self):
        """(name, how many lines of code) of every function: no docstrings, blank lines and comments; inner ones too."""
        code = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.string.strip() and token.type != tokenize.COMMENT:
                code.update(range(token.start[0], token.end[0] + 1))
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        for node in nodes:
            if ast.get_docstring(node) is not None:
                code.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        for node in nodes:
            if isinstance(node, ast.FunctionDef):
                yield node.name, len(code & set(range(node.lineno, node.end_lineno + 1)))

    def identifiers(self):
        """Every name that the code gives or uses: of variables, arguments, keywords, attributes, functions, classes."""
        for node in ast.walk(self.tree):
            for field in ("id", "arg", "attr", "name", "asname"):
                if isinstance(getattr(node, field, None), str):
                    yield from getattr(node, field).split(".")

    def docstrings(self):
        """The docstrings of the module, its classes and its functions."""
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                yield ast.get_docstring(node) or ""

    def marked_numbers(self):
        """(line, number) for every argument of a pytest.mark.eq(...)."""
        for node in ast.walk(self.tree):
            called = node.func if isinstance(node, ast.Call) else None
            if getattr(called, "attr", "") == "eq" and ast.unparse(called) == "pytest.mark.eq":
                yield from ((node.lineno, ast.literal_eval(argument)) for argument in node.args)

    def imports(self):
        """(line, absolute module name, imported name or None) for every import, wherever it stands."""
        package = self.path.relative_to(ROOT).parent.parts
        for node in ast.walk(self.tree):
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
    for source in sources("figures"):
        for number in references(source.docstring):
            where.setdefault(number, {})[source.path.stem] = None
    return where


def printed(number):
    """The equation as the docstring prints it: from a blank line, or the number before, to its number."""
    docstring = DEFINED[number].docstring
    end = docstring.index(f"  ({number})\n")
    lines = DEFINITION.split(docstring[docstring.rindex("\n\n", 0, end):end])[-1]
    return " ".join(lines.split()).rstrip(",")


def equation_map():
    """The README's table of equations."""
    tests, figures = tested_in(), shown_in()
    lines = ["| equation | as printed | chapter | tests | figures |", "|---|---|---|---|---|"]
    for number, source in sorted(DEFINED.items(), key=lambda item: tuple(map(int, item[0].split(".")))):
        files = ", ".join(name.removeprefix("tests/").removesuffix(".py") for name in tests.get(number, ()))
        lines.append(f"| ({number}) | `{printed(number).replace('|', chr(0x2223))}` | {source.name.removeprefix('minode/')} "
                     f"| {files} | {', '.join(figures.get(number, ()))} |")
    return "\n".join(lines) + "\n"


def gallery():
    """The README's gallery: every figure with its number, title, picture, caption and command."""
    entries = {}
    for source in sources("figures"):
        title = re.match(r"Figure (\d+)\. (.+)", source.docstring)
        if title:
            caption, _, numbers = " ".join(source.docstring.partition("\n\nCaption. ")[2].split()).partition(" Numbers. ")
            folded = f"\n<details><summary>Numbers</summary>\n\n{numbers}\n\n</details>\n" if numbers else ""
            name = source.path.stem
            entries[int(title[1])] = (f"**Figure {title[1]}. {title[2]}** `python -m figures {name}`\n\n"
                                      f"![{title[2]}](figures/gallery/{name}.png)\n\n{caption}\n{folded}")
    return "\n".join(entries[number] for number in sorted(entries))


def exercises():
    """The README's exercises: {equation: rows (module, fragment, replacement, what)}, as in tests/mistakes.py."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| (\d+) \| `(.+?)` \| `(.+?)` \| `(.+?)` \| `--eq ({NUMBER})` \|$", text, re.M)
    return {number: [(module, old, new, f"exercise {k}")] for k, module, old, new, number in rows}


def minutes(number):
    """The time a chapter takes: five minutes for each forty lines begun."""
    return 5 * math.ceil(CHAPTERS[number].text.count("\n") / 40)


def hours(chapters):
    """The time that some chapters take together, in words."""
    whole, rest = divmod(sum(map(minutes, chapters)), 60)
    return f"{whole} h {rest} min" if rest else f"{whole} h"


def timed(text):
    """The README with titles and minutes filled in, in each row of the reading order, and the sums."""
    def row(match):
        number, modules, needs = int(match[1]), match[2], match[3]
        title = CHAPTERS[number].docstring.split("\n")[0].removeprefix(f"{number}. ")
        return f"| {number} | {title} | {modules} | {needs}{' ' * bool(needs)}| {minutes(number)} |"
    text = re.sub(r"^\| (\d+) \| [^|]+ \| (\[[^|]+\)) \| ([^|]*?) ?\|(?: \d* ?\|)?$", row, text, flags=re.M)
    text = re.sub(r"All of it takes about [^.]+\.", f"All of it takes about {hours(CHAPTERS)}.", text)

    def hurry(match):
        chapters = map(int, re.findall(r"\d+", match[1]))
        return f"Someone in a hurry reads {match[1]} ({hours(chapters)})."
    return re.sub(r"Someone in a hurry reads ([\d,\s]+and \d+)[^.]*\.", hurry, text)


def readme():
    """The README with its minutes, its gallery and its map as they should be."""
    text = timed((ROOT / "README.md").read_text(encoding="utf-8"))
    for heading, content in (("## The figures", gallery()), ("## The map", equation_map())):
        start = text.index("\n\n", text.index(heading) if heading != "## The map" else text.index("writes both anew.")) + 2
        text = text[:start] + content + text[text.index("\n## ", start):]
    return text


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")

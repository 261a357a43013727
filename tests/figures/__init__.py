"""What the figures claim, held to what they compute."""

from functools import cache
from importlib import import_module

from figures import caption, numbers
from tests.ahead import result


@cache
def computed(name):
    """compute() of a figure, run once for all tests."""
    return result(name)


def says(name, text):
    """Whether a figure's caption or "Numbers." contain this text (of ASCII minus signs, exponents' alone stay so)."""
    module = import_module(f"figures.{name}")
    return any(" ".join(text.split()) in paragraph for paragraph in (caption(module), numbers(module)))


def fixed(x, digits):
    """A number as captions print it: −0.39."""
    return f"{x:.{digits}f}".replace("-", "−")


def scientific(x, digits=1):
    """A small number as captions print it: 1.9e-7."""
    return f"{x:.{digits}e}".replace("e-0", "e-")


def listed(numbers, show, last=" and "):
    """Numbers as captions list them: 1, 2 and 3."""
    texts = [show(x) for x in numbers]
    return ", ".join(texts[:-1]) + last + texts[-1]

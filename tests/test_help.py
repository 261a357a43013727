"""`help` of every public name is a page to learn from, and a wrong argument is told so in words."""

import inspect
import io
import os
import pydoc
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest

import minode.__main__
from figures import __main__ as figures_command
from minode import (MLP, CubicSpiral, Event, Linear, LotkaVolterra, Solution, SolverError, Tableau, VanDerPol,
                    VectorField, adjoint_rhs, check_field, check_gradients, hessian_vector_product, odeint,
                    odeint_euler, odeint_rk4, pullback, pushforward, reversible, solve, tangent_rhs,
                    value_and_gradients)
from minode.solvers.solve import KEYWORDS, Options
from tests.book import CHAPTERS, ROOT

SHAPE = re.compile(r"\((?:\.\.\.|[A-Zdpsn])(?:, [^()\n]+|,)?\)|\(\w × \w\)|\(d²,\)|\(\d,\)|\(\.\.\., ")
SOURCE = re.compile(r"\(\d+\.\d+|chapters? \d+|\((?:1[5-9]|20)\d\d\)", re.I)      # equation, chapter, or year
NOT_REFUSED = {"Solution", "Gradients"}         # records that are handed out
PUBLIC = {name: getattr(minode, name) for name in minode.__all__}
OF_PART_FOUR = {name for name, value in PUBLIC.items()                            # their table: learning/test_refused.py
                if getattr(value, "__module__", "").startswith("minode.learning")}
OF_FURTHER = {name for name, value in PUBLIC.items()                              # and further/test_matching.py, test_measurements.py
              if getattr(value, "__module__", "") in ("minode.further.matching", "minode.further.measurements")}
THETA, Y0, T = np.array([0.0, 1.0, -4.0, 0.0]), np.ones(2), np.linspace(0.0, 1.0, 5)

every_name = pytest.mark.parametrize("name", PUBLIC)


def page(name):
    return inspect.getdoc(PUBLIC[name]) or ""


@every_name
def test_a_page_begins_with_one_line_and_has_an_example_that_runs_as_a_doctest(name):
    first, *rest = page(name).split("\n")
    assert first.endswith((".", ":")) or not (rest and rest[0]), f"help(minode.{name}): no first sentence"
    assert "\n>>> " in page(name), f"help(minode.{name}) has no example"


@every_name
def test_a_page_says_where_its_mathematics_comes_from(name):
    assert SOURCE.search(page(name)), f"help(minode.{name}) names no equation, chapter or source"


@every_name
def test_a_page_says_what_shapes_it_is_about(name):
    assert name == "reversible" or SHAPE.search(page(name)), f"help(minode.{name}) says no shape"


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isfunction(PUBLIC[name])])
def test_a_page_of_a_function_explains_each_argument_and_the_errors(name):
    words = page(name).replace("`", "")
    unsaid = [argument for argument in inspect.signature(PUBLIC[name]).parameters
              if not re.search(rf"\b{argument}\b", words)]
    as_for = re.search(r"(?:errors|arguments)[^.]* (?:as for|those of) (\w+)", words)
    if as_for:
        words += page(as_for[1])
        unsaid = [argument for argument in unsaid if not re.search(rf"\b{argument}\b", words)]
    assert not unsaid, f"help(minode.{name}) does not explain {unsaid}"
    assert re.search(r"ValueError|TypeError", words), f"help(minode.{name}) names no error"


def test_the_page_of_the_methods_lists_them_all_and_that_of_solve_the_keywords():
    table, keywords = page("methods").split("A Runge–Kutta")[0], page("solve")
    assert set(minode.methods) <= set(re.findall(r"\w+", table))
    parameters = inspect.signature(solve).parameters
    assert list(parameters) == ["f", "y0", "t", "theta", "event", *KEYWORDS]
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ("event", *KEYWORDS))
    assert {name: parameters[name].default for name in KEYWORDS} == Options._field_defaults
    for name in ("event", *KEYWORDS):
        assert re.search(rf"^(\w+, )?{name}(, \w+)? {{2,}}\w", keywords, re.M), f"help(minode.solve): no line for {name}"


def test_the_page_of_the_package_has_the_contents_the_notation_and_an_example():
    text = pydoc.plain(pydoc.render_doc(minode))
    for chapter in CHAPTERS:
        assert re.search(rf"^ +{chapter} +\S.* {CHAPTERS[chapter].path.stem}\b", text, re.M), f"no chapter {chapter}"
    for word in ("theta", "f_y", "(..., d)", "cotangents", ">>> from minode import"):
        assert word in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_python_m_minode_prints_the_contents(encoding):
    done = subprocess.run([sys.executable, "-m", "minode"], cwd=ROOT, capture_output=True,
                          env=os.environ | {"PYTHONIOENCODING": encoding}, check=True)
    printed = done.stdout.decode(encoding).replace(os.linesep, "\n")
    assert printed == minode.__doc__.encode(encoding, "replace").decode(encoding) + "\n"


def contents():
    runpy.run_path(minode.__main__.__file__, run_name="__main__")


def figures():
    with minode.__main__.any_terminal():
        assert figures_command.main(["--list"]) == 0


def report():
    print(check_field(LotkaVolterra(), 0.0, np.array([30.0, 4.0]), np.array([0.5, 0.05, 0.8, 0.02])))


def progress():
    odeint(decay, [1.0], [0.0, 1.0], progress=True)
    minode.fit(lambda theta, batch: (theta @ theta, 2 * theta), np.ones(2), n_steps=3, progress=True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("what", [contents, figures, report, progress], ids=lambda what: what.__name__)
def test_what_is_printed_can_be_printed_on_a_terminal_of_any_letters(what, encoding, monkeypatch):
    terminal = {"stdout": io.TextIOWrapper(io.BytesIO(), encoding, "strict"),                    # as Python opens them
                "stderr": io.TextIOWrapper(io.BytesIO(), encoding, "backslashreplace")}
    with monkeypatch.context() as patch:
        for name, stream in terminal.items():
            patch.setattr(sys, name, stream)
        what()
    for stream in terminal.values():
        stream.flush()
    text, errors = (stream.buffer.getvalue().decode(encoding) for stream in terminal.values())
    assert "Error" not in errors and (text if what is not progress else errors)
    if what is report:
        assert ("f_θ, param_jacobian" if encoding == "utf-8" else "f_theta, param_jacobian") in text
        assert len({len(line) for line in text.splitlines()}) <= 2         # a table still: "yes" ends where "ok" began


def test_a_reader_that_has_seen_enough_of_the_contents_ends_them_without_a_word():
    with subprocess.Popen([sys.executable, "-m", "minode"], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 128 + 13


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "no terminal"])
def test_progress_needs_no_console(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    assert odeint(decay, [1.0], [0.0, 1.0], progress=True).shape == (2, 1)
    for progress in (None, True):
        assert minode.fit(lambda theta, batch: (theta @ theta, 2 * theta), Y0, n_steps=3, progress=progress).steps == 3


def decay(t, y):
    return -y


def half_square(ys):
    return 0.5 * np.sum(ys**2), ys


WRONG = {
    "VectorField": (lambda: VectorField().jacobian(0.0, Y0, THETA), NotImplementedError, "must define jacobian"),
    "MLP": (lambda: MLP(3, ["tanh"]), TypeError, r"widths must be a list of integers .* not 3 and \['tanh'\]"),
    "MLP.init": (lambda: MLP([2, 2], ["tanh"]).init(0), TypeError, "rng must be a NumPy Generator, .* not 0"),
    "Linear": (lambda: Linear(2.5), ValueError, "dim must be a positive integer, not 2.5"),
    "LotkaVolterra": (lambda: LotkaVolterra(2), TypeError, "takes no arguments"),
    "VanDerPol": (lambda: VanDerPol(2), TypeError, "takes no arguments"),
    "CubicSpiral": (lambda: CubicSpiral(2), TypeError, "takes 1 positional argument"),
    "odeint_euler": (lambda: odeint_euler(decay, "two", T), TypeError, "y0 must be an array of numbers, not 'two'"),
    "odeint_rk4": (lambda: odeint_rk4(decay, Y0, 1.0), ValueError, "t must be a 1-D array of at least one time"),
    "odeint": (lambda: odeint(decay, Y0, T, rtool=1e-3), TypeError,
               "unknown keyword 'rtool'; known: method, rtol, atol, .* progress, tstops$"),
    "odeint of a field": (lambda: odeint(Linear(2), Y0, T), TypeError, r"a VectorField and wants its θ too"),
    "solve": (lambda: solve(decay, Y0, T, method="ode45"), ValueError, "unknown method 'ode45'; known: euler, "),
    "solve.interpolate": (lambda: solve(decay, Y0, T).interpolate(2.0), ValueError, "t must lie between 0.0 and 1.0"),
    "methods": (lambda: minode.methods["ode45"], KeyError, "ode45"),
    "reversible": (lambda: reversible("radau5"), ValueError, "takes an explicit Runge–Kutta method, not 'radau5'"),
    "Tableau": (lambda: Tableau("mine", order=1, A=[""], b="l"), ValueError, "must hold numbers, .* not 'l'"),
    "SolverError": (lambda: odeint(decay, Y0, T, max_steps=1), SolverError, "max_steps = 1 were not enough"),
    "Event": (lambda: odeint(decay, Y0, T, event=Event()), NotImplementedError, "Event must define __call__"),
    "Event of no function": (lambda: solve(decay, Y0, T, event=1.0), TypeError, "event must be one Event, .* not a float"),
    "tangent_rhs": (lambda: tangent_rhs(decay), TypeError, "f must be a VectorField, .* not function"),
    "adjoint_rhs": (lambda: adjoint_rhs(decay), TypeError, "f must be a VectorField, .* not function"),
    "pushforward": (lambda: pushforward(Linear(2), Y0, T, THETA, dy0=1.0), ValueError,
                    r"dy0 must have shape \(2,\), not \(\)"),
    "pullback": (lambda: pullback(Linear(2), Y0, T, THETA, Y0, gradient="adjoint"), ValueError,
                 "unknown gradient 'adjoint'; known: discrete, checkpoint, "),
    "value_and_gradients": (lambda: value_and_gradients(lambda ys: 1.0, Linear(2), Y0, T, THETA), TypeError,
                            r"loss must return \(L, dL_dys\), not float"),
    "value_and_gradients of no loss": (lambda: value_and_gradients(1.0, Linear(2), Y0, T, THETA), TypeError,
                                       r"loss must be callable as loss\(ys\) -> \(L, dL_dys\), not float"),
    "value_and_gradients of many": (lambda: value_and_gradients(lambda ys: (ys, ys), Linear(2), Y0, T, THETA),
                                    ValueError, r"L, what loss returns first, must have shape \(\), not \(5, 2\)"),
    "value_and_gradients of NaN": (lambda: value_and_gradients(lambda ys: (np.nan, ys), Linear(2), Y0, T, THETA),
                                   ValueError, "L, what loss returns first, must be finite"),
    "hessian_vector_product": (lambda: hessian_vector_product(lambda ys, ws: half_square(ys), Linear(2), Y0, T, THETA,
                                                              Y0, THETA), TypeError, "loss must return .* tuple of 2"),
    "hessian_vector_product of no loss": (lambda: hessian_vector_product(None, Linear(2), Y0, T, THETA, Y0, THETA),
                                          TypeError, r"loss must be callable as loss\(ys, ws\) -> "),
    "augmented": (lambda: minode.augmented(1.0), ValueError, r"x must have shape \(\.\.\., d\), not \(\)"),
    "WithEnergy": (lambda: minode.WithEnergy(decay), TypeError, "f must be a VectorField, .* not function"),
    "check_field": (lambda: check_field(Linear(2), 0.0, [np.nan, 1.0], THETA), ValueError, "^y must be finite"),
    "check_gradients": (lambda: check_gradients(Linear(2), Y0, [1.0, 0.0, 2.0], THETA), ValueError,
                        "t must be monotone"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_refused_in_words(name):
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()


def test_no_public_name_of_the_first_three_parts_is_without_a_wrong_argument():
    assert set(PUBLIC) - OF_PART_FOUR - OF_FURTHER - NOT_REFUSED == {name.split(".")[0].split()[0] for name in WRONG}
    assert all(issubclass(PUBLIC[name], tuple) for name in NOT_REFUSED) and Solution is PUBLIC["Solution"]

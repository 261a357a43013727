"""Mistakes by rule: every single change of a listed kind in every numbered line of the book.

`python -m pytest -p tests.controls --mutants` plants them one by one (`--eq 17.2` only those of one equation)
and prints the score. The kinds are the mistakes people make: a sign, a transpose, an index, a coefficient, a
dropped term or factor, a wrong time, a condition turned round. Some changes make no difference; EXPLAINED
says why.
"""

import ast
import types

from tests.book import BOOK
from tests.controls import Mistake

EXPLAINED = {                                                    # (file, change): why no test can see it
    ("minode/solvers/adaptive.py", "coefficient in change / h_0 if h_0 > 0 else 0.0: 0.0 -> 1.0"):
        "if h₀ is 0, so is the first step",
    ("minode/solvers/adaptive.py", "sign: b_minus_b_hat.dot(hK) -> -(b_minus_b_hat.dot(hK))"): "(10.3) is even in e",
    ("minode/solvers/adaptive.py",
     "sign: measure(b_minus_b_hat_3.dot(hK), scale) -> -(measure(b_minus_b_hat_3.dot(hK), scale))"): "E₃ is squared",
    ("minode/solvers/tableaus.py", "sign: near(c_i, sum(A[i])) -> -(near(c_i, sum(A[i])))"): "−True is true too",
    ("minode/gradients/checks.py", "sign: U ** (1 / 3) -> -(U ** (1 / 3))"): "(22.1) is even in ε",
    ("minode/gradients/checks.py",
     "sign: np.vdot(cotangent, ws) - np.vdot(dL_dy0, dy0) - np.vdot(dL_dtheta, dtheta) -> "
     "-(np.vdot(cotangent, ws) - np.vdot(dL_dy0, dy0) - np.vdot(dL_dtheta, dtheta))"): "a row has the size of an error",
    **{("minode/learning/classify.py", f"coefficient in {call}: 0.0 -> 1.0"): "an affine map does not look at t"
       for call in ("self.inward(0.0, x, theta_in)", "self.outward(0.0, ys[-1], theta_out)",
                    "self.outward(0.0, y_T, theta_out)", "self.outward.vjp(0.0, y_T, theta_out, dL_dz)",
                    "self.inward.vjp(0.0, x, theta_in, dL_dy0)")},
    ("minode/learning/classify.py", "sign: -1 -> (1)"): "the last axis of a matrix is its axis 1",
    ("minode/gradients/discrete.py", "sign: -1 -> (1)"): "the last axis of a matrix is its axis 1",
    ("minode/further/matching.py", "sign: -1 -> (1)"): "the last axis of a matrix is its axis 1",
    ("minode/further/measurements.py", "coefficient in np.where(w > 0, w, 1.0): 1.0 -> 1.1"):
        "where nothing was measured, what is divided is 0",
    ("minode/learning/diffusion.py",
     "sign: m[k] + np.sqrt(v[k])[:, None] * rng.normal(size=(n, self.dim)) -> "
     "(m[k] - np.sqrt(v[k])[:, None] * rng.normal(size=(n, self.dim)))"): "the normal density is even",
}

OPPOSITE = {ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">", ast.Eq: "!=", ast.NotEq: "=="}


def mutants():
    """All of them, appendices included, as a list of `Mistake`s in the order of the book."""
    chapters = sorted((source for source in BOOK if source.place is not None), key=lambda source: source.place)
    return [mistake for source in chapters for statement in source.numbered_statements()
            for mistake in of_statement(source, statement)]


def of_statement(source, statement):
    """Every changed text of the module that one change in the statement's numbered lines gives, once."""
    lines = source.text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def place(line, column):
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    def text(node):
        return source.text[place(node.lineno, node.col_offset):place(node.end_lineno, node.end_col_offset)]

    seen = {source.text}
    for node, kind, replacement in changes(statement.node, text):
        if node.lineno not in statement.lines:
            continue
        begin, end = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
        changed = source.text[:begin] + replacement + source.text[end:]
        if changed not in seen:
            seen.add(changed)
            before, after = (" ".join(part.split()) for part in (source.text[begin:end], replacement))
            what = " ".join(f"{kind}: {before} -> {after}".split())
            yield Mistake(statement.numbers, source.name, node.lineno, what, changed)


def changes(statement, text):
    """(node, kind, new text) for every change of a listed kind in a statement; text(node) is the old one."""
    for node, parent, in_index in expressions(statement):
        match node:
            case ast.BinOp(left, ast.Add() | ast.Sub() as op, right):
                other, sign = ("-", "") if isinstance(op, ast.Add) else ("+", "-")
                yield node, "sign", f"({text(left)} {other} {text(right)})"
                yield node, "dropped term", f"({text(left)})"
                yield node, "dropped term", f"({sign}({text(right)}))"
            case ast.BinOp(left, ast.Mult() | ast.Div() as op, right):
                yield node, "dropped factor", f"({text(left)})"
                if isinstance(op, ast.Mult):
                    yield node, "dropped factor", f"({text(right)})"
            case ast.BinOp(left, ast.MatMult(), right):
                yield left, "transpose", f"np.swapaxes({text(left)}, -1, -2)"
                yield right, "transpose", f"np.swapaxes({text(right)}, -1, -2)"
            case ast.UnaryOp(ast.USub(), operand) if not in_index:
                yield node, "sign", f"({text(operand)})"
            case ast.Attribute(value, "T"):
                yield node, "transpose", text(value)
            case ast.Constant(bool() | None | str() | types.EllipsisType()):
                pass
            case ast.Constant(value) if in_index:
                yield node, f"index in {ast.unparse(parent)}", repr(value + 1)
            case ast.Constant(value) if not isinstance(parent, ast.UnaryOp):       # −1 has its sign to lose
                other = value + 1 if isinstance(value, int) else 1.1 * value or 1.0
                yield node, f"coefficient in {ast.unparse(parent)}", repr(other)
            case ast.Subscript(_, ast.Tuple([first, second, *rest]) as index):
                yield index, "transpose", ", ".join(text(part) for part in (second, first, *rest))
            case ast.Call(function, [time, *_]) if text(function) != "len" and "t" in names(time):
                yield time, "wrong time", f"({text(time)} + 1)"
            case ast.Compare(left, [op], [right]) if type(op) in OPPOSITE:
                yield node, "condition", f"({text(left)} {OPPOSITE[type(op)]} {text(right)})"
    if isinstance(statement, (ast.Return, ast.Assign)):
        if not isinstance(statement.value, (ast.Tuple, ast.Dict)):
            yield statement.value, "sign", f"-({text(statement.value)})"
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
        yield statement, "sign", f"{text(statement.target)} -= {text(statement.value)}"


def names(node):
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def expressions(node, in_index=False):
    """(expression, parent, is it in an index) for all below a node, but no messages and inner statements."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.JoinedStr)):
            continue
        inside = in_index or isinstance(node, ast.Subscript) and child is node.slice
        if isinstance(child, ast.expr):
            yield child, node, inside
        yield from expressions(child, inside)

"""The source of a function of numbers, what its names may mean, and errors that name a place in it."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

from tilegrad.kernels.formulas import advice
from tilegrad.kernels.function import DeviceFunction

Function = Callable[..., Any]


class FormulaError(TypeError):
    """A function uses something that no kernel can hold; the message names its place and a way out."""


@lru_cache(maxsize=None)
def standard() -> dict[str, DeviceFunction]:
    """The formulas that may be called by name: those of one to three numbers, PyTorch's names."""
    from tilegrad.kernels.formulas import TABLES

    names = {
        row.name: row.function
        for rows in TABLES
        for row in rows.values()
        if row.kind in ("same", "float", "rounding", "compare")
        and not row.params
        and not row.name.endswith("_int")
    }
    others = {
        "fabs": "abs", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
        "arctan2": "atan2", "absolute": "abs", "arcsinh": "asinh", "arccosh": "acosh",
        "arctanh": "atanh", "power": "pow",
    }  # fmt: skip
    return {**names, **{new: names[old] for new, old in others.items() if old in names}}


def title(function: Function) -> str:
    """Its name, as a word that source may hold."""
    name = function.__name__
    return name if name.isidentifier() else "function"


class Text:
    """The source of a function, and where it stands."""

    def __init__(self, function: Function):
        self.function = function
        self.name = title(function)
        code = function.__code__
        self.file = code.co_filename
        self.offset = code.co_firstlineno - 1
        tree = source_of(function)
        self.tree = self.traced() if tree is None else tree

    def traced(self) -> ast.FunctionDef:
        """The definition as running it over symbols shows it: there is no source."""
        from tilegrad.kernels.formulas import traced

        try:
            return traced.definition(self.function, set(standard()))
        except traced.TooManyWaysError:
            what = "a loop whose end depends on an operand, or more than a dozen conditions"
        except Exception as problem:
            what = f"what it does in line {self.line_of(problem)} ({self.told(problem)})"
        raise FormulaError(
            f"{self.name}: its source cannot be read ({self.file}), and without it a formula cannot "
            f"hold {what}; write it in a file or a notebook"
        )

    def line_of(self, problem: BaseException) -> int:
        """Where in the function it was raised."""
        line, trace = self.offset + 1, problem.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is self.function.__code__:
                line = trace.tb_lineno
            trace = trace.tb_next
        return line

    @staticmethod
    def told(problem: Exception) -> str:
        """What went wrong, and what to write instead."""
        if isinstance(problem, NameError) and not isinstance(problem, UnboundLocalError):
            return f"{problem}: {advice.of_call(str(problem.name), standard())}"
        return f"{type(problem).__name__}: {problem}"

    def error(self, node: ast.AST, what: str, instead: str) -> FormulaError:
        line = getattr(node, "lineno", 1) + self.offset
        text = ast.unparse(node).splitlines()[0]
        return FormulaError(
            f"{self.name}: a formula cannot hold {what}; got {text!r} ({self.file}, line {line}): "
            f"{instead}"
        )


def source_of(function: Function) -> ast.FunctionDef | None:
    """Its ``def``; None where there is no source, or it is a lambda."""
    tree = _statement(inspect.unwrap(function).__code__, function.__globals__)
    if not isinstance(tree, ast.FunctionDef) or tree.name != function.__name__:
        return None
    tree.decorator_list = []  # no part of what it does
    return tree


def _statement(code: CodeType, scope: dict[str, Any]) -> ast.stmt | None:
    """The statement that begins where the code does: as many lines as are one. What :mod:`inspect` tells
    takes 20 ms of a new process, for its tokenizer.
    """
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, scope)[code.co_firstlineno - 1 :]
    if not lines:
        return None
    indent = len(lines[0]) - len(lines[0].lstrip())
    for end in range(1, len(lines) + 1):
        following = lines[end] if end < len(lines) else "end"
        if not following.strip() or len(following) - len(following.lstrip()) > indent:
            continue  # blank, or within it
        try:
            body = ast.parse(textwrap.dedent("".join(lines[:end]))).body
        except (SyntaxError, ValueError):
            continue  # a decorator, a text of several lines
        if body:
            return body[0]
    return None


# ------------------------------------------------------------------------------------- kinds

_BITS = (ast.BitAnd, ast.BitOr, ast.BitXor)


def kind_of(function: Function) -> str:
    """How dtypes go through, by what the source does: ``compare`` where it returns a truth value,
    ``integer`` where it looks at bits, ``same`` where it adds, multiplies and compares whole numbers alone,
    else ``float``.
    """
    tree = Text(function).tree
    returns = [n.value for n in ast.walk(tree) if isinstance(n, ast.Return)]
    if returns and all(_is_truth(r) for r in returns):
        return "compare"
    if any(_is_bitwise(n) for n in ast.walk(tree)):
        return "integer"
    exact = (ast.Add, ast.Sub, ast.Mult, *_BITS)
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and not isinstance(node.op, exact):
            return "float"
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            return "float"
        if isinstance(node, ast.Call) and ast.unparse(node.func) not in ("abs", "min", "max"):
            return "float"
    return "same"


def _is_bitwise(node: ast.AST) -> bool:
    """Whether it is about the bits of integers: not of truth values."""
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Invert) and not _is_truth(node.operand)
    if not isinstance(node, ast.BinOp):
        return False
    sides = _is_truth(node.left) and _is_truth(node.right)
    return isinstance(node.op, (ast.LShift, ast.RShift)) or (
        isinstance(node.op, _BITS) and not sides
    )


def _is_truth(value: ast.expr | None) -> bool:
    if isinstance(value, ast.UnaryOp):
        return isinstance(value.op, ast.Not) or (
            isinstance(value.op, ast.Invert) and _is_truth(value.operand)
        )
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, _BITS) and _is_truth(value.left) and _is_truth(value.right)
    if isinstance(value, ast.IfExp):
        return _is_truth(value.body) and _is_truth(value.orelse)
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in ("isnan", "isinf", "isfinite")
    return isinstance(value, ast.Compare | ast.BoolOp) or (
        isinstance(value, ast.Constant) and isinstance(value.value, bool)
    )

"""Formulas from functions that anybody writes: plain Python on numbers becomes the house's form.

In a formula of :mod:`tilegrad.kernels.formulas` every literal is cast to the operands' type, and
every function it calls is one that compilers know. :func:`formula` brings a function there that was
written without a thought of either: literals and loop variables are cast, ``exp`` or ``math.exp`` or
``tilegrad.exp`` becomes the formula of that name, other functions of the user's are brought the same
way, and numbers of an enclosing scope become literals. What cannot be brought raises
:class:`FormulaError` with its place.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from tilegrad.kernels.formulas.symbolic.source import Definition, stored, walk, write
from tilegrad.kernels.function import DeviceFunction

Function = Callable[..., Any]

_BUILTINS = {"abs", "min", "max", "range", "float", "int", "bool"}
_STATEMENTS = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.For, ast.While, ast.Return, ast.Pass,
    ast.Break, ast.Continue,
)  # fmt: skip
_EXPRESSIONS = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Name, ast.Constant,
    ast.Attribute,
)  # fmt: skip
_INSTEAD: dict[type[ast.AST], str] = {
    ast.Subscript: "pass the element as an argument of its own",
    ast.Tuple: "write one expression per output, or one line per variable",
    ast.List: "write one variable per element",
    ast.Dict: "write if and else",
    ast.Lambda: "write a function with def",
    ast.ListComp: "write a loop over range(...)",
    ast.GeneratorExp: "write a loop over range(...)",
    ast.NamedExpr: "assign in a line of its own",
    ast.JoinedStr: "a formula has numbers only",
    ast.Try: "write if and else: a formula raises nothing",
    ast.Raise: "give NaN: a formula raises nothing",
    ast.Assert: "check before the call: a formula raises nothing",
    ast.With: "a formula has no context",
    ast.Starred: "name each argument",
    ast.FunctionDef: "define it beside the function, not within",
}


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
        "arctan2": "atan2", "absolute": "abs",
    }  # fmt: skip
    return {**names, **{new: names[old] for new, old in others.items() if old in names}}


def title(function: Function) -> str:
    """Its name, as a word that source may hold."""
    name = function.__name__
    return name if name.isidentifier() else "function"


class _Text:
    """The source of a function, and where it stands."""

    def __init__(self, function: Function):
        self.function = function
        self.name = title(function)
        code = function.__code__
        self.file = code.co_filename
        self.offset = code.co_firstlineno - 1
        tree = _source(function)
        self.tree = self.traced() if tree is None else tree

    def traced(self) -> ast.FunctionDef:
        """The definition as running it over symbols shows it: there is no source."""
        from tilegrad.kernels.formulas import traced

        try:
            return traced.definition(self.function, set(standard()))
        except traced.TooManyWaysError:
            what = "a loop whose end depends on an operand, or more than a dozen conditions"
        except Exception as problem:
            what = f"what this function does with symbols ({type(problem).__name__}: {problem})"
        raise FormulaError(
            f"{self.name}: its source cannot be read ({self.file}), and without it a formula cannot "
            f"hold {what}; write it in a file or a notebook"
        )

    def error(self, node: ast.AST, what: str, instead: str) -> FormulaError:
        line = getattr(node, "lineno", 1) + self.offset
        text = ast.unparse(node).splitlines()[0]
        return FormulaError(
            f"{self.name}: a formula cannot hold {what}; got {text!r} ({self.file}, line {line}): "
            f"{instead}"
        )


def _source(function: Function) -> ast.FunctionDef | None:
    """Its ``def``; None where there is no source, or it is a lambda."""
    try:
        lines, _ = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
    if not isinstance(tree, ast.FunctionDef) or tree.name != function.__name__:
        return None
    tree.decorator_list = []  # no part of what it does
    return tree


_open: list[Function] = []
_made: dict[Function, tuple[DeviceFunction, ...]] = {}


def formulas(function: Function) -> tuple[DeviceFunction, ...]:
    """One formula per output of ``function``, which takes numbers and returns one or a tuple of them.

    Raises:
        FormulaError: it holds something that no kernel can.
    """
    if function in _open:
        raise FormulaError(f"{function.__name__}: a formula cannot call itself; write a loop")
    found = _made.get(function)
    if found is None:
        _open.append(function)
        try:
            found = _made[function] = tuple(_bring(function))
        finally:
            _open.pop()
    return found


def of_callable(function: Any) -> tuple[DeviceFunction, ...] | None:
    """The formulas of a function of numbers, of one of ``tilegrad.elementwise``, or of a standard one
    (``math.sqrt``); None for anything else.
    """
    own = getattr(function, "formulas", None)
    if isinstance(own, tuple):
        return own
    if isinstance(function, DeviceFunction):
        return (function,)
    module, title = getattr(function, "__module__", None) or "", getattr(function, "__name__", "")
    if module in ("math", "numpy") or module.split(".")[0] == "tilegrad":
        return (standard()[title],) if title in standard() else None
    return formulas(function) if isinstance(function, types.FunctionType) else None


def _bring(function: Function) -> Iterator[DeviceFunction]:
    text = _Text(function)
    given = text.tree.args
    if given.vararg or given.kwarg:
        raise text.error(text.tree, "*args or **kwargs", "name each argument")
    parameters = [a.arg for a in [*given.posonlyargs, *given.args, *given.kwonlyargs]]
    if not parameters:
        raise text.error(text.tree, "a function without arguments", "give it an operand")
    outputs = _outputs(text)
    for place in range(outputs or 1):
        work = _Casts(text, parameters, place if outputs else None)
        body = work.block(text.tree.body)
        name = text.name if not outputs else f"{text.name}_{place}"
        scope = work.namespace
        definition = Definition(
            name, function.__module__, parameters, (), body, scope, (text.file, text.offset)
        )
        summary = inspect.getdoc(function) or f"{text.name}({', '.join(parameters)})"
        made = write(definition, summary.splitlines()[0])
        made.__doc__ = inspect.getdoc(function)
        yield made


def _outputs(text: _Text) -> int:
    """How many numbers it returns; 0: one, not in a tuple."""
    found = {
        len(n.value.elts) if isinstance(n.value, ast.Tuple) else 0
        for n in ast.walk(text.tree)
        if isinstance(n, ast.Return)
    }
    if len(found) != 1:
        what = "no return" if not found else "returns of different lengths"
        raise text.error(text.tree, what, "end each way with one return of as many numbers")
    return found.pop()


class _Casts:
    """Rewrites statements: every number gets the type of the first operand, every name a meaning."""

    def __init__(self, text: _Text, parameters: list[str], output: int | None):
        self.text = text
        self.output = output
        self.parameters = parameters
        self.assigned = set(stored(*text.tree.body))
        self.namespace: dict[str, Any] = {}
        self.counters = {
            n.target.id
            for n in ast.walk(text.tree)
            if isinstance(n, ast.For) and isinstance(n.target, ast.Name)
        }
        used = {n.id for n in walk(text.tree) if isinstance(n, ast.Name)} | {*parameters}
        self.cast = next(t for t in ("T", *(f"T{k}" for k in range(99))) if t not in used)
        closure = inspect.getclosurevars(text.function)
        self.known = {**text.function.__globals__, **closure.nonlocals}

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        body = body[1:] if _is_text(body[0]) else body
        first = ast.parse(f"{self.cast} = type({self.parameters[0]})").body
        return [*first, *self.statements(body)]

    def statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.statement(s) for s in body if not _is_text(s)]

    def statement(self, s: ast.stmt) -> ast.stmt:
        if not isinstance(s, _STATEMENTS):
            raise self.refuse(s)
        made: ast.stmt
        if isinstance(s, ast.Return):
            value = s.value
            if value is None:
                raise self.text.error(s, "a return without a value", "return a number")
            if self.output is not None:
                assert isinstance(value, ast.Tuple)
                value = value.elts[self.output]
            made = ast.Return(self.value(value))
        elif isinstance(s, ast.Assign):
            if len(s.targets) != 1:
                raise self.text.error(s, "a = b = c", "assign in lines of their own")
            made = ast.Assign([self.target(s.targets[0])], self.values(s.value), lineno=0)
        elif isinstance(s, ast.AugAssign):
            target = self.target(s.target)
            assert isinstance(target, ast.Name)
            whole = ast.BinOp(ast.Name(target.id, ast.Load()), s.op, s.value)
            made = ast.Assign([target], self.value(ast.copy_location(whole, s)), lineno=0)
        elif isinstance(s, ast.AnnAssign):
            if s.value is None:
                return ast.Pass()
            made = ast.Assign([self.target(s.target)], self.value(s.value), lineno=0)
        elif isinstance(s, ast.If):
            made = ast.If(self.value(s.test), self.statements(s.body), self.statements(s.orelse))
        elif isinstance(s, ast.While):
            made = ast.While(self.value(s.test), self.statements(s.body), [])
        elif isinstance(s, ast.For):
            made = self.loop(s)
        else:
            made = s
        return made

    def loop(self, s: ast.For) -> ast.stmt:
        call = s.iter
        ranged = isinstance(call, ast.Call) and self.meaning(call.func) is range
        if not ranged or not isinstance(s.target, ast.Name) or s.orelse:
            raise self.text.error(s, "this kind of loop", "loop over range(...), without else")
        for bound in call.args:  # type: ignore[attr-defined]
            if not isinstance(bound, ast.Constant | ast.Name):
                raise self.text.error(bound, "a computed bound", "give range(...) whole numbers")
        arguments: list[ast.expr] = [ast.Constant(self.whole(b)) for b in call.args]  # type: ignore[attr-defined]
        loop = ast.Call(ast.Name("range", ast.Load()), arguments, [])
        return ast.For(s.target, loop, self.statements(s.body), [], lineno=0)

    def whole(self, bound: ast.expr) -> int:
        value = bound.value if isinstance(bound, ast.Constant) else self.meaning(bound)
        if not isinstance(value, int):
            raise self.text.error(
                bound, "a bound that is not fixed", "give range(...) whole numbers"
            )
        return value

    def target(self, target: ast.expr) -> ast.expr:
        if isinstance(target, ast.Name):
            return target
        if isinstance(target, ast.Tuple) and all(isinstance(e, ast.Name) for e in target.elts):
            return target
        raise self.text.error(target, "an assignment to anything but names", "assign to a variable")

    # ------------------------------------------------------------------------------ expressions

    def values(self, e: ast.expr) -> ast.expr:
        """``e``, which may be several expressions for as many variables."""
        if isinstance(e, ast.Tuple):
            return ast.Tuple([self.value(v) for v in e.elts], ast.Load())
        return self.value(e)

    def value(self, e: ast.expr) -> ast.expr:
        """``e`` with its numbers cast and its names bound."""
        if not isinstance(e, _EXPRESSIONS):
            raise self.refuse(e)
        if isinstance(e, ast.Constant):
            return self.number(e, e.value)
        if isinstance(e, ast.Name | ast.Attribute):
            return self.name(e)
        if isinstance(e, ast.BinOp):
            return self.operation(e)
        if isinstance(e, ast.UnaryOp):
            return ast.UnaryOp(e.op, self.value(e.operand))
        if isinstance(e, ast.BoolOp):
            return ast.BoolOp(e.op, [self.value(v) for v in e.values])
        if isinstance(e, ast.Compare):
            return ast.Compare(self.value(e.left), e.ops, [self.value(c) for c in e.comparators])
        if isinstance(e, ast.IfExp):
            return ast.IfExp(self.value(e.test), self.value(e.body), self.value(e.orelse))
        assert isinstance(e, ast.Call)
        return self.call(e)

    def number(self, e: ast.expr, value: Any) -> ast.expr:
        if isinstance(value, bool) or not isinstance(value, int | float):
            if isinstance(value, bool):
                return ast.Constant(value)
            raise self.text.error(e, f"a {type(value).__name__}", "a formula has numbers only")
        if isinstance(value, float) and not math.isfinite(value):
            self.namespace["math"] = math
            made: ast.expr = ast.Attribute(
                ast.Name("math", ast.Load()), "nan" if value != value else "inf", ast.Load()
            )
            made = ast.UnaryOp(ast.USub(), made) if value < 0 else made
        else:
            made = ast.Constant(value)
        return _call(self.cast, made)

    def name(self, e: ast.Name | ast.Attribute) -> ast.expr:
        if isinstance(e, ast.Name):
            if e.id in self.counters:
                return _call(self.cast, e)
            if e.id in self.parameters or e.id in self.assigned:
                return ast.Name(e.id, ast.Load())
        value = self.meaning(e)
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()  # a NumPy number
        if isinstance(value, int | float):
            return self.number(e, value)
        raise self.text.error(
            e, f"a {type(value).__name__}", "use numbers, and pass tensors as arguments"
        )

    def operation(self, e: ast.BinOp) -> ast.expr:
        if isinstance(e.op, ast.MatMult):
            raise self.text.error(e, "a matrix product", "a formula is about one element")
        if isinstance(e.op, ast.Pow):
            power = e.right.value if isinstance(e.right, ast.Constant) else None
            if isinstance(power, int) and 1 <= power <= 4 and isinstance(e.left, ast.Name):
                base = self.value(e.left)
                made = base
                for _ in range(power - 1):
                    made = ast.BinOp(made, ast.Mult(), base)
                return made
            raised = [self.value(e.left), self.value(e.right)]
            return ast.Call(self.bound("pow", standard()["pow"]), raised, [])
        return ast.BinOp(self.value(e.left), e.op, self.value(e.right))

    def call(self, e: ast.Call) -> ast.expr:
        if e.keywords:
            raise self.text.error(e, "an argument by name", "give arguments by position")
        target = self.meaning(e.func)
        arguments = [self.value(a) for a in e.args]
        if target is float or target is int:
            raise self.text.error(
                e, "a change of type", "leave it out: numbers have the operands' type"
            )
        title = getattr(target, "__name__", "?")
        if target is abs and len(arguments) == 1:
            return ast.Call(self.bound("abs", standard()["abs"]), arguments, [])
        if target in (min, max):
            if len(arguments) < 2:
                raise self.text.error(e, f"{title} of one", f"give {title}(...) two numbers")
            two = standard()["minimum" if target is min else "maximum"]
            made = arguments[0]
            for other in arguments[1:]:
                made = ast.Call(self.bound(title, two), [made, other], [])
            return made
        found = self.function(e, target)
        wanted = found.function.__code__.co_argcount
        if len(arguments) != wanted:
            raise self.text.error(
                e, f"{len(arguments)} arguments of {title}", f"{title} takes {wanted}"
            )
        return ast.Call(self.bound(found.__name__, found), arguments, [])

    def function(self, e: ast.Call, target: Any) -> DeviceFunction:
        """The formula that a callable stands for."""
        if isinstance(target, DeviceFunction):
            return target
        own = getattr(target, "formula", None)
        if isinstance(own, DeviceFunction):  # one of tilegrad.elementwise
            return own
        module = getattr(target, "__module__", None) or ""
        title = getattr(target, "__name__", "?")
        named = module in ("math", "numpy") or module.split(".")[0] == "tilegrad"
        named = named or type(target).__name__ == "ufunc"
        if named and title in standard():
            return standard()[title]
        if isinstance(target, types.FunctionType) and not named:
            made = formulas(target)
            if len(made) > 1:
                raise self.text.error(e, "a call with several results", "write one function each")
            return made[0]
        raise self.text.error(
            e, f"a call of {title}", f"call one of {', '.join(sorted(standard()))[:60]}..., "
            f"a function of yours on numbers, abs, min or max",
        )  # fmt: skip

    def bound(self, title: str, target: Any) -> ast.expr:
        """A name for ``target`` in the formula's source."""
        wanted, number = title, 0
        taken = {*self.parameters, *self.assigned, self.cast}
        while wanted in taken or self.namespace.get(wanted, target) is not target:
            number += 1
            wanted = f"{title}_{number}"
        self.namespace[wanted] = target
        return ast.Name(wanted, ast.Load())

    def meaning(self, e: ast.expr) -> Any:
        """The object that a free name means: the user's own, else the formula of that name."""
        if isinstance(e, ast.Attribute):
            value = self.meaning(e.value)
            if not hasattr(value, e.attr):
                raise self.text.error(e, f"the attribute {e.attr}", "it is not there")
            return getattr(value, e.attr)
        if not isinstance(e, ast.Name):
            raise self.text.error(e, "a computed function", "call functions by their name")
        if e.id in self.known:
            return self.known[e.id]
        if e.id in _BUILTINS:
            return getattr(builtins, e.id)
        if e.id in standard():
            return standard()[e.id]
        if hasattr(builtins, e.id):
            return getattr(builtins, e.id)
        raise self.text.error(e, "an unknown name", "define it before the function is decorated")

    def refuse(self, node: ast.AST) -> FormulaError:
        instead = _INSTEAD.get(type(node), "write arithmetic, if, and loops over range(...)")
        return self.text.error(node, f"a {type(node).__name__}", instead)


def _call(function: str, argument: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), [argument], [])


def _is_text(s: ast.stmt) -> bool:
    return isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)


def kind_of(function: Function) -> str:
    """How dtypes go through, by what the source does: ``compare`` where it returns a truth value,
    ``same`` where it adds, multiplies and compares whole numbers alone, else ``float``.
    """
    tree = _Text(function).tree
    returns = [n.value for n in ast.walk(tree) if isinstance(n, ast.Return)]
    if returns and all(_is_truth(r) for r in returns):
        return "compare"
    exact = (ast.Add, ast.Sub, ast.Mult)
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and not isinstance(node.op, exact):
            return "float"
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            return "float"
        if isinstance(node, ast.Call) and ast.unparse(node.func) not in ("abs", "min", "max"):
            return "float"
    return "same"


def _is_truth(value: ast.expr | None) -> bool:
    if isinstance(value, ast.UnaryOp):
        return isinstance(value.op, ast.Not)
    return isinstance(value, ast.Compare | ast.BoolOp) or (
        isinstance(value, ast.Constant) and isinstance(value.value, bool)
    )

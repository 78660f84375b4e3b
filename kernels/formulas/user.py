"""Formulas from functions that anybody writes: plain Python on numbers becomes a formula.

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
import types
from collections.abc import Callable, Iterator
from typing import Any

from tilegrad.kernels.formulas import advice
from tilegrad.kernels.formulas.declared import parameters
from tilegrad.kernels.formulas.symbolic.source import Definition, stored, walk, write
from tilegrad.kernels.formulas.written import (
    FormulaError as FormulaError,
    Text,
    kind_of as kind_of,
    standard as standard,
    title as title,
)
from tilegrad.kernels.function import DeviceFunction

Function = Callable[..., Any]

_BUILTINS = {"abs", "min", "max", "range", "float", "int", "bool"}
_STATEMENTS = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.For, ast.While, ast.Return, ast.Pass,
    ast.Break, ast.Continue,
)  # fmt: skip
_EXPRESSIONS = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Name, ast.Constant,
    ast.Attribute, ast.Subscript,
)  # fmt: skip

_open: list[Function] = []
_made: dict[Function, tuple[DeviceFunction, ...]] = {}


def formulas(function: Function) -> tuple[DeviceFunction, ...]:
    """One formula per output of ``function``, which takes numbers and returns one or a tuple of them.

    Raises:
        FormulaError: it holds something that no kernel can.
    """
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
    text = Text(function)
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


def _outputs(text: Text) -> int:
    """How many numbers it returns; 0: one, not in a tuple."""
    found = {
        len(n.value.elts) if isinstance(n.value, ast.Tuple) else 0
        for n in ast.walk(text.tree)
        if isinstance(n, ast.Return)
    }
    if len(found) != 1:
        what = "no return" if not found else "returns of different lengths"
        raise text.error(text.tree, what, "end each way with one return of as many numbers")
    if not _returns(text.tree.body):
        raise text.error(text.tree, "a way without a return", "end each way with a return")
    return found.pop()


def _returns(body: list[ast.stmt]) -> bool:
    """Whether every way through ends in a return."""
    last = body[-1]
    if isinstance(last, ast.If):
        return _returns(last.body) and bool(last.orelse) and _returns(last.orelse)
    if isinstance(last, ast.While):
        endless = isinstance(last.test, ast.Constant) and bool(last.test.value)
        return endless and not any(isinstance(n, ast.Break) for n in ast.walk(last))
    return isinstance(last, ast.Return)


class _Casts:
    """Rewrites statements: every number gets the type of the first operand, every name a meaning."""

    def __init__(self, text: Text, parameters: list[str], output: int | None):
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
        arguments: list[ast.expr] = [ast.Constant(self.whole(b)) for b in call.args]  # type: ignore[attr-defined]
        loop = ast.Call(ast.Name("range", ast.Load()), arguments, [])
        return ast.For(s.target, loop, self.statements(s.body), [], lineno=0)

    def whole(self, bound: ast.expr) -> int:
        value = self.fixed(bound)
        if value.__class__ is not int:
            raise self.text.error(
                bound, "a bound that is not fixed", "give range(...) whole numbers that are known when the "
                "function is decorated, or write a while loop",
            )  # fmt: skip
        return value

    def fixed(self, e: ast.expr) -> float | None:
        """The number that an expression of known numbers is; None of any other."""
        if isinstance(e, ast.UnaryOp | ast.BinOp):
            parts = [e.operand] if isinstance(e, ast.UnaryOp) else [e.left, e.right]
            values = [self.fixed(p) for p in parts]
            if None in values or isinstance(e.op, ast.MatMult | ast.Not):
                return None
            made = ast.copy_location(_like(e, values), e)
            code = compile(ast.fix_missing_locations(ast.Expression(made)), self.text.file, "eval")
            try:
                made_of: float = eval(code, {})  # two numbers and an operator
            except (ArithmeticError, TypeError, ValueError):
                return None
            return made_of
        value = self.constant(e)
        return value if isinstance(value, int | float) else None

    def constant(self, e: ast.expr) -> object:
        """The value of a number, a free name, or an element of what it means; None of any other."""
        if isinstance(e, ast.Constant):
            return e.value
        if isinstance(e, ast.Subscript):
            base, place = self.constant(e.value), self.constant(e.slice)
            try:
                return None if base is None or place is None else _plain(base[place])  # type: ignore[index]
            except (TypeError, LookupError):
                return None
        root = e
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or self.own(root.id):
            return None
        return _plain(self.meaning(e))

    def own(self, name: str) -> bool:
        """Whether it is a variable of the function."""
        return name in self.parameters or name in self.assigned or name in self.counters

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
        if isinstance(e, ast.Call) and isinstance(e.func, ast.Name | ast.Attribute):
            target = None if self.is_method(e.func) else self.meaning(e.func)
            several = self.several(target)
            if len(several) > 1:
                calls = [self.called(e, target, one) for one in several]
                return ast.Tuple(calls, ast.Load())
        return self.value(e)

    def value(self, e: ast.expr) -> ast.expr:
        """``e`` with its numbers cast and its names bound."""
        if not isinstance(e, _EXPRESSIONS):
            raise self.refuse(e)
        if isinstance(e, ast.Constant):
            return self.number(e, e.value)
        if isinstance(e, ast.Subscript):
            value = self.constant(e)
            if not isinstance(value, int | float):
                raise self.refuse(e)
            return self.number(e, value)
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
        if isinstance(e, ast.Attribute) and self.is_method(e):
            raise self.text.error(
                e, f"an attribute of {ast.unparse(e.value)}", "an operand is a number"
            )
        value = _plain(self.meaning(e))
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

    def is_method(self, e: ast.expr) -> bool:
        """Whether it is an attribute of one of the function's own numbers."""
        root = e
        while isinstance(root, ast.Attribute):
            root = root.value
        return root is not e and not (isinstance(root, ast.Name) and not self.own(root.id))

    def call(self, e: ast.Call) -> ast.expr:
        if self.is_method(e.func):
            attribute: Any = e.func
            inner = ", ".join(map(ast.unparse, [attribute.value, *e.args]))
            raise self.text.error(e, "a method", f"write {attribute.attr}({inner})")
        target = self.meaning(e.func)
        title = getattr(target, "__name__", "?")
        if target is float and len(e.args) == 1:
            return _call(self.cast, self.value(e.args[0]))
        if isinstance(target, type) and target is not float and title not in ("int", "bool"):
            raise self.text.error(
                e, "a change of type", "leave it out: numbers have the operands' type"
            )
        if target is abs and len(e.args) == 1:
            return ast.Call(self.bound("abs", standard()["abs"]), [self.value(e.args[0])], [])
        if target in (min, max):
            return self.extreme(e, title)
        if target is math.log and len(e.args) == 2:
            log = self.bound("log", standard()["log"])
            one, base = (ast.Call(log, [self.value(a)], []) for a in e.args)
            return ast.BinOp(one, ast.Div(), base)
        if target in _open:
            raise self.text.error(e, "a function that calls itself", "write a loop")
        several = self.several(target)
        if not several:
            raise self.text.error(e, f"a call of {title}", advice.of_call(title, standard()))
        if len(several) > 1:
            raise self.text.error(
                e, "a call with several results here", f"assign them first: a, b = {ast.unparse(e)}"
            )
        return self.called(e, target, several[0])

    def extreme(self, e: ast.Call, title: str) -> ast.expr:
        """``min`` or ``max`` of several numbers, or of a tuple of them."""
        given = e.args
        if len(given) == 1 and isinstance(given[0], ast.Tuple | ast.List):
            given = given[0].elts
        if len(given) < 2 or e.keywords:
            raise self.text.error(e, f"{title} of one", f"give {title}(...) two numbers")
        two = standard()["minimum" if title == "min" else "maximum"]
        made, *others = [self.value(a) for a in given]
        for other in others:
            made = ast.Call(self.bound(title, two), [made, other], [])
        return made

    def called(self, e: ast.Call, target: Any, found: DeviceFunction) -> ast.expr:
        """The call of a formula, whose defaults and arguments by name are put in their places."""
        python = getattr(target, "python", target)
        wanted = list(parameters(found))
        defaults: dict[str, Any] = {}
        if isinstance(python, types.FunctionType):
            known = inspect.signature(python).parameters.values()
            defaults = {p.name: p.default for p in known if p.default is not p.empty}
        title = getattr(target, "__name__", found.__name__)
        given: dict[str, ast.expr] = dict(zip(wanted, e.args, strict=False))
        for keyword in e.keywords:
            if keyword.arg not in wanted or keyword.arg in given:
                raise self.text.error(
                    e,
                    f"the argument {keyword.arg} of {title}",
                    f"{title} takes {', '.join(wanted)}",
                )
            given[keyword.arg] = keyword.value
        lost = [n for n in wanted if n not in given and n not in defaults]
        if len(e.args) > len(wanted) or lost:
            raise self.text.error(
                e, f"{len(given) if lost else len(e.args)} arguments of {title}",
                f"{title} takes {len(wanted)}: {', '.join(wanted)}",
            )  # fmt: skip
        values = [
            self.value(given[n]) if n in given else self.number(e, defaults[n]) for n in wanted
        ]
        return ast.Call(self.bound(found.__name__, found), values, [])

    def several(self, target: Any) -> tuple[DeviceFunction, ...]:
        """The formulas that a callable stands for: one for each of its results; none where it is no formula."""
        if isinstance(target, DeviceFunction):
            return (target,)
        own = getattr(target, "formulas", None)
        if isinstance(own, tuple):  # one of tilegrad.elementwise
            return own
        module = getattr(target, "__module__", None) or ""
        title = getattr(target, "__name__", "?")
        named = module in ("math", "numpy") or module.split(".")[0] == "tilegrad"
        named = named or type(target).__name__ == "ufunc"
        if named and title in standard():
            return (standard()[title],)
        if isinstance(target, types.FunctionType) and not named and target not in _open:
            return formulas(target)
        return ()

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
            if isinstance(e, ast.Lambda):
                raise self.refuse(e)
            raise self.text.error(e, "a computed function", "call functions by their name")
        if e.id in self.known:
            return self.known[e.id]
        if e.id in _BUILTINS:
            return getattr(builtins, e.id)
        if e.id in standard():
            return standard()[e.id]
        if hasattr(builtins, e.id):
            return getattr(builtins, e.id)
        raise self.text.error(e, "an unknown name", advice.of_name(e.id, standard()))

    def refuse(self, node: ast.AST) -> FormulaError:
        return self.text.error(node, *advice.of_node(node))


def _call(function: str, argument: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), [argument], [])


def _like(e: ast.UnaryOp | ast.BinOp, values: list[Any]) -> ast.expr:
    """The operation of these numbers."""
    nodes = [ast.Constant(v) for v in values]
    return ast.UnaryOp(e.op, nodes[0]) if isinstance(e, ast.UnaryOp) else ast.BinOp(nodes[0], e.op, nodes[1])  # fmt: skip


def _plain(value: Any) -> Any:
    """A NumPy number as Python's."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _is_text(s: ast.stmt) -> bool:
    return isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)

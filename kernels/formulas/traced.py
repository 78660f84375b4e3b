"""The source of a function that has none: found by running it over symbols, once for each way through.

What is typed at a prompt, or given as text, leaves no source behind on some Pythons. Its code still
runs: with a symbol for every argument, each operation writes itself down, and each condition is taken
both ways. What comes out are nested ``if`` statements, with loops unrolled.
"""

from __future__ import annotations

import ast
import builtins
import types
from collections.abc import Callable
from typing import Any

MOST = 12  # conditions on one way through


class TooManyWaysError(Exception):
    """A loop whose end depends on an operand, or a great many conditions."""


class _Symbol:
    """An expression that is being written down."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: ast.expr, ways: _Ways):
        self.node = node
        self.ways = ways

    def __bool__(self) -> bool:
        return self.ways.decide(self.node)

    def __abs__(self) -> _Symbol:
        return _Symbol(_call("abs", self.node), self.ways)

    def __neg__(self) -> _Symbol:
        return _Symbol(ast.UnaryOp(ast.USub(), self.node), self.ways)

    def __pos__(self) -> _Symbol:
        return self

    def __round__(self) -> _Symbol:
        return _Symbol(_call("round", self.node), self.ways)

    def __float__(self) -> float:
        raise TypeError("float() of an operand: leave it out, numbers have the operands' type")

    def __int__(self) -> int:
        raise TypeError("int() of an operand: write floor(x) or trunc(x)")

    def __index__(self) -> int:
        raise TypeError(
            "range() of an operand: give it a number that is known when it is decorated"
        )

    def __iter__(self) -> Any:
        raise TypeError("a call with several results: write a function for each of them")

    def __divmod__(self, other: object) -> object:
        raise TypeError("divmod() of an operand: write x // y and x % y")

    def __getattr__(self, name: str) -> object:
        raise AttributeError(f"a method of an operand: write {name}({ast.unparse(self.node)})")

    def __invert__(self) -> _Symbol:
        return _Symbol(ast.UnaryOp(ast.Invert(), self.node), self.ways)


def _operator(op: ast.operator, turned: bool) -> Callable[[_Symbol, Any], _Symbol]:
    def apply(self: _Symbol, other: Any) -> _Symbol:
        left, right = self.node, _node(other)
        if turned:
            left, right = right, left
        return _Symbol(ast.BinOp(left, op, right), self.ways)

    return apply


def _comparison(op: ast.cmpop) -> Callable[[_Symbol, Any], _Symbol]:
    def apply(self: _Symbol, other: Any) -> _Symbol:
        return _Symbol(ast.Compare(self.node, [op], [_node(other)]), self.ways)

    return apply


for _name, _op in {
    "add": ast.Add(), "sub": ast.Sub(), "mul": ast.Mult(), "truediv": ast.Div(),
    "floordiv": ast.FloorDiv(), "mod": ast.Mod(), "pow": ast.Pow(), "matmul": ast.MatMult(),
    "and": ast.BitAnd(), "or": ast.BitOr(), "xor": ast.BitXor(), "lshift": ast.LShift(),
    "rshift": ast.RShift(),
}.items():  # fmt: skip
    setattr(_Symbol, f"__{_name}__", _operator(_op, False))
    setattr(_Symbol, f"__r{_name}__", _operator(_op, True))
for _name, _cmp in {
    "lt": ast.Lt(), "le": ast.LtE(), "gt": ast.Gt(), "ge": ast.GtE(), "eq": ast.Eq(), "ne": ast.NotEq(),
}.items():  # fmt: skip
    setattr(_Symbol, f"__{_name}__", _comparison(_cmp))


def _node(value: Any) -> ast.expr:
    if isinstance(value, _Symbol):
        return value.node
    if value is None or isinstance(value, (list, dict, set, str)):
        raise TypeError(f"a {type(value).__name__}: a formula has numbers only")
    if isinstance(value, tuple):
        return ast.Tuple([_node(v) for v in value], ast.Load())
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    return ast.Constant(value)


def _call(title: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(title, ast.Load()), list(arguments), [])


class _Ways:
    """The conditions met so far on one way through, and what was decided of them."""

    def __init__(self, decided: list[bool]):
        self.decided = decided
        self.met: list[ast.expr] = []

    def decide(self, condition: ast.expr) -> bool:
        self.met.append(condition)
        if len(self.met) > MOST:
            raise TooManyWaysError
        if len(self.decided) < len(self.met):
            self.decided.append(True)
        return self.decided[len(self.met) - 1]


class _Module:
    """A module whose functions write their calls down."""

    def __init__(self, title: ast.expr, module: Any, ways: _Ways):
        self._title, self._module, self._ways = title, module, ways

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        title = ast.Attribute(self._title, name, ast.Load())
        return _written(title, value, self._ways)


def _written(title: ast.expr, value: Any, ways: _Ways) -> Any:
    """``value``, or what writes down calls of it."""
    if isinstance(value, types.ModuleType):
        return _Module(title, value, ways)
    if not callable(value) or isinstance(value, type):
        return value

    def call(*given: Any, **named: Any) -> Any:
        keywords = [ast.keyword(n, _node(v)) for n, v in named.items()]
        return _Symbol(ast.Call(title, [_node(v) for v in given], keywords), ways)

    return call


def definition(function: Callable[..., Any], names: set[str]) -> ast.FunctionDef:
    """The ``def`` of ``function``, whose free names in ``names`` mean the standard formulas.

    Raises:
        TooManyWaysError: a loop's end depends on an operand.
    """
    code = function.__code__
    arguments = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])

    def follow(decided: list[bool]) -> list[ast.stmt]:
        ways = _Ways(decided)
        start = len(decided)
        result = _run(function, names, arguments, ways)
        body: list[ast.stmt] = [ast.Return(_node(result))]
        for place in range(len(ways.met) - 1, start - 1, -1):
            other = follow([*ways.decided[:place], False])
            body = [ast.If(ways.met[place], body, other)]
        return body

    given = ast.arguments([], [ast.arg(a) for a in arguments], None, [], [], None, [])
    made = ast.FunctionDef("f", given, follow([]), [], lineno=1)
    tree = ast.parse(ast.unparse(ast.fix_missing_locations(made)))
    found = tree.body[0]
    assert isinstance(found, ast.FunctionDef)
    return found


def _run(function: Callable[..., Any], names: set[str], arguments: list[str], ways: _Ways) -> Any:
    def known(title: str, value: Any) -> Any:
        return _written(ast.Name(title, ast.Load()), value, ways)

    code, own = function.__code__, function.__globals__
    scope: dict[str, Any] = {"__builtins__": builtins}
    for title in code.co_names:
        if title in own:
            scope[title] = known(title, own[title])
        elif title in ("min", "max") or (title in names and not hasattr(builtins, title)):
            scope[title] = known(title, min)
    cells = [types.CellType(known(n, c.cell_contents)) for n, c in _cells(function)]
    copy = types.FunctionType(code, scope, function.__name__, None, tuple(cells))
    return copy(
        **{name: _Symbol(ast.Name(name, ast.Load()), ways) for name in arguments}
    )  # defaults do not matter: every argument is given


def _cells(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    return list(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))

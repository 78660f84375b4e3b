"""One formula out of a chain of others: each value once, as readable source.

A :class:`Chain` is a list of values: arguments, numbers, casts, and formulas of earlier values. What is
computed alike is one value. :meth:`Chain.formula` writes what one of them needs as a formula, in which
sums and comparisons are operators, a choice computes both of its sides, and any other formula is called by
its name. The result is differentiated like a formula that was written by hand.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.formulas import arithmetic, primitives
from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.symbolic.simplify import assign, call, name, tidy
from tilegrad.kernels.formulas.symbolic.source import Definition, loaded, read, write
from tilegrad.kernels.function import DeviceFunction, TypedFunction, inline

_EXACT = (ast.BinOp, ast.UnaryOp, ast.Compare)
_NARROW = {"bool", "uint8", "int8", "int16", "int32"}  # whose sums a compiler makes wider


@inline
def constant(x):
    """x, which the derivative takes for a constant."""
    return x


declare(constant, x=0)


@dataclass(frozen=True, eq=False)
class Value:
    """A value of a chain.

    Attributes:
        kind: ``argument``, ``number``, ``cast`` or ``call``.
        dtype: of its elements, by name.
        of: an argument's name, a number, or the formula that is called.
        operands: numbers of the values that it is made of.
    """

    kind: str
    dtype: str
    of: Any = None
    operands: tuple[int, ...] = ()


@dataclass
class Chain:
    """The values of a function, in the order in which they were asked for; a value is its number."""

    values: list[Value] = field(default_factory=list)
    known: dict[Any, int] = field(default_factory=dict)

    def argument(self, title: str, dtype: str) -> int:
        """An argument of the formula."""
        return self._add(("argument", title), Value("argument", dtype, title))

    def number(self, value: float, dtype: str) -> int:
        """A constant."""
        key = ("number", dtype, value.__class__, repr(value))
        return self._add(key, Value("number", dtype, value))

    def cast(self, value: int, dtype: str) -> int:
        """A value in another dtype; itself if it has it."""
        if self.values[value].dtype == dtype:
            return value
        return self._add(("cast", dtype, value), Value("cast", dtype, None, (value,)))

    def call(self, function: DeviceFunction, operands: Sequence[int], dtype: str) -> int:
        """The formula ``function`` of values, which have the dtypes that it is called with."""
        operands = tuple(operands)
        key = ("call", function, operands, dtype)
        return self._add(key, Value("call", dtype, function, operands))

    def constant(self, value: int) -> int:
        """A value through which no gradient flows."""
        if self.values[value].kind == "number":
            return value
        return self.call(constant, (value,), self.values[value].dtype)

    def _add(self, key: Any, value: Value) -> int:
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.values)
            self.values.append(value)
        return found

    def needs(self, result: int) -> list[int]:
        """The values that ``result`` is made of, itself included, in order."""
        found, rest = {result}, [result]
        while rest:
            for operand in self.values[rest.pop()].operands:
                if operand not in found:
                    found.add(operand)
                    rest.append(operand)
        return sorted(found)

    def arguments(self, result: int) -> list[str]:
        """The names of the arguments that ``result`` depends on, in order."""
        return [self.values[v].of for v in self.needs(result) if self.values[v].kind == "argument"]

    def formula(self, title: str, module: str, result: int, summary: str) -> DeviceFunction:
        """The formula of the arguments that ``result`` depends on."""
        return _Writer(self, title, module, result).formula(summary)


class _Writer:
    """Writes the source of one result: a statement per value, of which tidying leaves the lines that a
    reader wants.
    """

    def __init__(self, chain: Chain, title: str, module: str, result: int):
        self.chain, self.title, self.module, self.result = chain, title, module, result
        self.needed = chain.needs(result)
        self.parameters = chain.arguments(result)
        self.namespace: dict[str, Any] = {}
        self.taken = {*self.parameters, title}
        self.body: list[ast.stmt] = []
        self.cast_of: dict[str, str] = {}  # the name of each type
        self.exact: dict[int, ast.expr] = {}  # how each value is read
        self.made: set[str] = set()
        self._type_of_arguments()

    def _type_of_arguments(self) -> None:
        """``T = type(x)`` for an argument of floats, where all floats are of its dtype."""
        needed = [self.chain.values[v] for v in self.needed]
        if len({v.dtype for v in needed if dtypes.is_float(v.dtype)}) > 1:
            return  # the types are named
        for value in needed:
            if value.kind == "argument" and dtypes.is_float(value.dtype):
                cast = self._fresh("T")
                self.cast_of[value.dtype] = cast
                self.body.append(assign(cast, call("type", name(value.of))))
                break

    def formula(self, summary: str) -> DeviceFunction:
        for number in self.needed:
            self.exact[number] = self._value(number)
        self.body.append(ast.Return(self.exact[self.result]))
        body = tidy(self.body, self.made, self.parameters)
        definition = Definition(
            self.title, self.module, self.parameters, (), body, self.namespace, (self.module, 0)
        )
        return write(definition, summary)

    def _value(self, number: int) -> ast.expr:
        value = self.chain.values[number]
        if value.kind == "argument":
            return name(value.of)
        if value.kind == "number":
            return self._literal(value.of, value.dtype)
        operands = [self.exact[v] for v in value.operands]
        if value.kind == "cast":
            made: ast.expr = call(self._type(value.dtype), operands[0])
        else:
            made = self._called(value.of, operands)
            if value.dtype in _NARROW and not self._keeps(value):
                made = call(self._type(value.dtype), made)
        variable = self._fresh("u", numbered=True)
        self.made.add(variable)
        self.body.append(assign(variable, made))
        return name(variable)

    def _keeps(self, value: Value) -> bool:
        """Whether a call gives its dtype by itself: truth values of comparisons, and what is only handed
        on.
        """
        if value.of in (constant, arithmetic.where):
            return True
        body = _expression(value.of)
        return value.dtype == "bool" and isinstance(body, ast.Compare)

    def _called(self, function: DeviceFunction, operands: list[ast.expr]) -> ast.expr:
        if function is arithmetic.where:
            return call(self._bound("select", primitives.select), *operands)
        if function is arithmetic.absolute:
            return call("abs", *operands)
        plain = _expression(function)
        if plain is not None:
            filled: ast.expr = _Filled(dict(zip(_names(function), operands, strict=True))).visit(
                plain
            )
            return filled
        return call(self._bound(function.__name__, function), *operands)

    def _literal(self, value: float, dtype: str) -> ast.expr:
        if dtype == "bool":
            return ast.Constant(bool(value))
        if isinstance(value, float) and not math.isfinite(value):
            module = self._bound("math", math)
            inner: ast.expr = ast.Attribute(
                name(module), "nan" if value != value else "inf", ast.Load()
            )
            inner = ast.UnaryOp(ast.USub(), inner) if value < 0 else inner
        else:
            inner = ast.Constant(value)
        return call(self._type(dtype), inner)

    def _type(self, dtype: str) -> str:
        """The name of a type."""
        if dtype not in self.cast_of:
            self.cast_of[dtype] = self._bound(dtype + "_" * (dtype == "bool"), np.dtype(dtype).type)
        return self.cast_of[dtype]

    def _bound(self, title: str, target: Any) -> str:
        """A name for ``target``."""
        for known, value in self.namespace.items():
            if value is target:
                return known
        title = self._fresh(title)
        self.namespace[title] = target
        return title

    def _fresh(self, base: str, numbered: bool = False) -> str:
        title, number = f"{base}1" if numbered else base, 1
        while title in self.taken:
            number += 1
            title = f"{base}{number}" if numbered else f"{base}_{number}"
        self.taken.add(title)
        return title


class _Filled(ast.NodeTransformer):
    """Values in the place of a formula's parameters."""

    def __init__(self, values: dict[str, ast.expr]):
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values[node.id]


def _names(function: DeviceFunction) -> list[str]:
    code = function.function.__code__
    return list(code.co_varnames[: code.co_argcount])


def _expression(function: DeviceFunction) -> ast.expr | None:
    """What a formula returns, where that is operators over its parameters and nothing else."""
    if isinstance(function, TypedFunction) or function is constant or function.source is not None:
        return None
    body = read(function).body
    if len(body) != 1 or not isinstance(body[0], ast.Return):
        return None
    found = body[0].value
    parts = [n for n in ast.walk(found) if isinstance(n, ast.expr)] if found is not None else []
    plain = all(isinstance(n, (*_EXACT, ast.Name)) for n in parts)
    if found is None or not plain or not set(loaded(found)) <= set(_names(function)):
        return None
    return found

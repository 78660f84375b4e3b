"""The names, types and constants of a formula that is being differentiated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tilegrad.kernels.formulas.symbolic.simplify import (
    MINUS_ONE,
    ONE,
    ZERO,
    add,
    assign,
    call,
    name,
)
from tilegrad.kernels.formulas.symbolic.source import Definition, loaded, stored, walk

Pair = tuple[ast.expr, ast.expr]  # an expression's value and its tangent
_MADE = re.compile(r"u\d+|\w+_dot\d*")  # names that an earlier derivative made
_CONSTANTS = {id(ZERO): 0, id(ONE): 1, id(MINUS_ONE): -1}


def is_constant(tangent: ast.expr) -> bool:
    """Whether a tangent is 0, 1 or -1, which need no variable."""
    return id(tangent) in _CONSTANTS


class Scope:
    """What the passes over expressions and statements share.

    Attributes:
        cast: the local name of ``type(wrt)``.
        mixed: whether the formula names floating types, as only those of several types do.
        types: local names that only ever hold a type, with the type where it is known.
        state: the tangent of each variable at this point; absent means zero.
        floating: variables known to hold no bare literal or integer.
        generated: names made here, which tidying may do away with.
        block: the statements made so far.
    """

    def __init__(self, formula: Definition, wrt: str):
        self.formula = formula
        self.namespace = dict(formula.namespace)
        self.assigned = stored(*formula.body)
        self.used = {formula.name, *formula.parameters, *self.assigned, *loaded(*formula.body)}
        named = [v for v in self.namespace.values() if isinstance(v, type)]
        self.mixed = any(issubclass(v, np.floating) for v in named)
        self.types = self._local_types()
        self.cast = self._own_cast(wrt)
        self.state: dict[str, ast.expr] = {wrt: ONE}
        self.floating = set(formula.parameters)
        self.dots: dict[str, str] = {}
        self.generated = {n for n in self.assigned if formula.generated and _MADE.fullmatch(n)}
        self.block: list[ast.stmt] = [assign(self.cast, call("type", name(wrt)))]

    @contextmanager
    def within(self, block: list[ast.stmt]) -> Iterator[None]:
        """Collect statements in another block."""
        outer, self.block = self.block, block
        yield
        self.block = outer

    # -------------------------------------------------------------------------------- names

    def fresh(self, base: str, numbered: bool = False) -> str:
        """A name that nothing else uses."""
        candidate, number = f"{base}1" if numbered else base, 1
        while candidate in self.used:
            number += 1
            candidate = f"{base}{number}"
        self.used.add(candidate)
        return candidate

    def temporary(self) -> str:
        variable = self.fresh("u", numbered=True)
        self.generated.add(variable)
        return variable

    def dot(self, variable: str) -> str:
        """The name of a variable's tangent."""
        if variable not in self.dots:
            self.dots[variable] = self.fresh(f"{variable}_dot")
            self.generated.add(self.dots[variable])
            self.floating.add(self.dots[variable])
        return self.dots[variable]

    def bind(self, target: Any) -> str:
        """The name under which the derivative's source knows an object."""
        for known, value in self.namespace.items():
            if value is target:
                return known
        identifier = self.fresh(target.__name__)
        self.namespace[identifier] = target
        return identifier

    def hold(self, value: ast.expr) -> ast.expr:
        """A name or constant equal to ``value``, so that it may be read many times."""
        if isinstance(value, ast.Name) or self.number_of(value) is not None:
            return value
        return self.copy(value)

    def copy(self, value: ast.expr) -> ast.expr:
        """A variable of its own for ``value``."""
        variable = self.temporary()
        self.block.append(assign(variable, value))
        if self.is_floating(value):
            self.floating.add(variable)
        return name(variable)

    # -------------------------------------------------------------------------------- types

    def _local_types(self) -> dict[str, Any]:
        """``T = type(x)`` gives None, ``D = np.float64`` the type."""
        found: dict[str, list[tuple[bool, Any]]] = {}
        for node in walk(*self.formula.body):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found.setdefault(node.targets[0].id, []).append(self.type_of(node.value))
        return {
            variable: kinds[0][1]
            for variable, kinds in found.items()
            if all(is_type for is_type, _ in kinds)
            and self.assigned.count(variable) == len(kinds)
            and variable not in self.formula.parameters
        }

    def type_of(self, node: ast.expr) -> tuple[bool, Any]:
        """Whether an expression is a type, and which (None: that of some variable)."""
        if isinstance(node, ast.Name) and node.id in getattr(self, "types", ()):
            return True, self.types[node.id]
        if isinstance(node, ast.Call) and self.formula.lookup(node.func) is type:
            return True, None
        if isinstance(node, ast.Name) and node.id in self.assigned:
            return False, None
        target = self.formula.lookup(node)
        return (True, target) if isinstance(target, type) else (False, None)

    def _own_cast(self, wrt: str) -> str:
        """The formula's own name for ``type(wrt)``, else a new one."""
        for s in self.formula.body:
            if isinstance(s, ast.Assign) and ast.unparse(s.value) == f"type({wrt})":
                target, *others = stored(s)
                only = not others and self.assigned.count(target) == 1
                if only and target in self.types and wrt not in self.assigned:
                    return target
        return self.fresh("T")

    def is_floating(self, value: ast.expr) -> bool:
        """False where a value may be a bare literal, an integer or a global float64."""
        if isinstance(value, ast.Name):
            return value.id in self.floating
        if isinstance(value, ast.BinOp):
            return self.is_floating(value.left) or self.is_floating(value.right)
        if isinstance(value, ast.UnaryOp):
            return self.is_floating(value.operand)
        if isinstance(value, ast.IfExp):
            return self.is_floating(value.body) and self.is_floating(value.orelse)
        if not isinstance(value, ast.Call):
            return False
        kind = self.type_of(value.func)[1]
        return kind is None or not issubclass(kind, int | np.integer | np.bool_)

    # ---------------------------------------------------------------------------- constants

    def number(self, value: float) -> ast.expr:
        """A constant of the parameter's type."""
        return call(self.cast, ast.Constant(value))

    def number_of(self, value: ast.expr) -> float | None:
        """The number that a literal, ``-literal`` or ``T(literal)`` stands for."""
        if isinstance(value, ast.Constant) and type(value.value) in (int, float):
            return value.value  # type: ignore[return-value]
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
            inner = self.number_of(value.operand)
            return None if inner is None else -inner
        if isinstance(value, ast.Call) and len(value.args) == 1 and self.type_of(value.func)[0]:
            return self.number_of(value.args[0])
        return None

    def explicit(self, tangent: ast.expr) -> ast.expr:
        """A tangent as code."""
        return self.number(_CONSTANTS[id(tangent)]) if is_constant(tangent) else tangent

    def total(self, x: ast.expr, y: ast.expr) -> ast.expr:
        """The sum of two tangents."""
        if x is ZERO or y is ZERO:
            return add(x, y)
        return add(self.explicit(x), self.explicit(y))

    def factor(self, value: ast.expr) -> ast.expr:
        """A held value that multiplies a tangent, in the parameter's type if it may have none."""
        number = self.number_of(value)
        for fixed in (ZERO, ONE, MINUS_ONE):
            if number == fixed.value:
                return fixed
        return value if self.is_floating(value) else call(self.cast, value)

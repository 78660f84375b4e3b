"""The tangent of an expression."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np

from tilegrad.kernels.formulas.symbolic.rules import CAST, COMPARISONS, FUSED, SELECT
from tilegrad.kernels.formulas.symbolic.scope import Pair, Scope, is_constant
from tilegrad.kernels.formulas.symbolic.simplify import (
    MINUS_ONE,
    ONE,
    ZERO,
    assign,
    binary,
    call,
    div,
    mul,
    name,
    neg,
    where,
)
from tilegrad.kernels.formulas.symbolic.source import Definition, loaded, parameters, stored, walk
from tilegrad.kernels.function import DeviceFunction

Grad = DeviceFunction | int | str  # a function, a constant, or what it equals: "out", "x"
Row = dict[str, Grad]  # per parameter

_IN_TABLE = {ast.Pow: operator.pow, ast.Mod: operator.mod, ast.FloorDiv: operator.floordiv}
_LOGICAL = (ast.BitAnd, ast.BitOr, ast.BitXor)
_FIXED: dict[int, ast.expr] = {0: ZERO, 1: ONE, -1: MINUS_ONE}


class Expressions(Scope):
    """Visits expressions.

    ``row_of`` finds the declared derivatives of a called object, ``partial`` derives one of a
    formula that has none.
    """

    def __init__(
        self,
        formula: Definition,
        wrt: str,
        row_of: Callable[[Any], Row | None],
        partial: Callable[[DeviceFunction, str], Grad],
    ):
        super().__init__(formula, wrt)
        self.row_of = row_of
        self.partial = partial

    def visit(self, node: ast.expr) -> Pair:
        """The value of an expression and its tangent; what they need first goes to the block."""
        if all(self.state.get(n, ZERO) is ZERO for n in loaded(node)):
            return node, ZERO
        if isinstance(node, ast.Name):
            return node, self.state[node.id]
        if isinstance(node, ast.Compare):
            return node, ZERO
        if isinstance(node, ast.BinOp):
            return self.operation(node)
        if isinstance(node, ast.UnaryOp):
            return self.unary(node)
        if isinstance(node, ast.IfExp):
            return self.choice(node)
        if isinstance(node, ast.Call):
            return self.application(node)
        if isinstance(node, ast.BoolOp):
            return self.logic(node, node.values, "and/or of numbers")
        raise self.formula.error(node, f"an expression of kind {type(node).__name__}")

    def logic(self, node: ast.expr, parts: Iterable[ast.expr], construct: str) -> Pair:
        """Truth values: as they are, if their parts are truth values too."""
        with self.within([]):
            if any(self.visit(part)[1] is not ZERO for part in parts):
                raise self.formula.error(node, construct)
        return node, ZERO

    def unary(self, node: ast.UnaryOp) -> Pair:
        value, tangent = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return node, ZERO
        if isinstance(node.op, ast.Invert) and tangent is not ZERO:
            raise self.formula.error(node, "the operator ~")
        tangent = neg(tangent) if isinstance(node.op, ast.USub) else tangent
        return ast.UnaryOp(node.op, value), tangent

    # ----------------------------------------------------------------------------- operators

    def operation(self, node: ast.BinOp) -> Pair:
        x, dx = self.visit(node.left)
        y, dy = self.visit(node.right)
        if dx is ZERO and dy is ZERO:
            return ast.BinOp(x, node.op, y), ZERO
        op = type(node.op)
        if op is ast.Add:
            return ast.BinOp(x, node.op, y), self.total(dx, dy)
        if op is ast.Sub:
            return ast.BinOp(x, node.op, y), self.total(dx, neg(dy))
        if op is ast.Mult:
            return self.product(x, dx, y, dy)
        if op is ast.Div:
            return self.quotient(x, dx, y, dy)
        if op in _IN_TABLE:
            return self.tabled(node, op, (x, y), [dx, dy])
        raise self.formula.error(node, f"the operator {op.__name__}")

    def product(self, x: ast.expr, dx: ast.expr, y: ast.expr, dy: ast.expr) -> Pair:
        x = x if dy is ZERO else self.hold(x)
        y = y if dx is ZERO else self.hold(y)
        left = ZERO if dx is ZERO else mul(dx, self.factor(y))
        right = ZERO if dy is ZERO else mul(self.factor(x), dy)
        return binary(x, ast.Mult, y), self.total(left, right)

    def quotient(self, x: ast.expr, dx: ast.expr, y: ast.expr, dy: ast.expr) -> Pair:
        y = self.hold(y)
        if dy is ZERO:
            return binary(x, ast.Div, y), div(self.explicit(dx), self.factor(y))
        quotient = self.hold(binary(x, ast.Div, y))
        change = mul(quotient, dy)
        if dx is ZERO:
            return quotient, neg(mul(div(quotient, y), dy))
        return quotient, div(self.total(dx, neg(change)), y)

    def tabled(
        self, node: ast.BinOp, op: type[ast.operator], values: Pair, tangents: list[ast.expr]
    ) -> Pair:
        x, y = map(self.hold, values)
        power = self.number_of(y)
        if op is ast.Pow and power is not None:
            return binary(x, ast.Pow, y), mul(self.power(x, y, power), tangents[0])
        out = binary(x, op, y)
        row = self.row_of(_IN_TABLE[op]) or {}
        typed = [self.factor(x), self.factor(y)]
        return self.chain(node, out, row, ["x", "y"], typed, tangents)

    def power(self, x: ast.expr, y: ast.expr, power: float) -> ast.expr:
        """The derivative of ``x ** power`` for a literal power; an integer stays one."""
        if power in (0, 1):
            return ZERO if power == 0 else ONE
        typed = isinstance(y, ast.Call) or isinstance(power, float)
        rest = self.number(power - 1) if typed else ast.Constant(power - 1)
        return mul(self.number(power), x if power == 2 else binary(x, ast.Pow, rest))

    def choice(self, node: ast.IfExp) -> Pair:
        """What a side prepares is computed in its own branch only."""
        test = node.test
        blocks: list[list[ast.stmt]] = [[], []]
        pairs: list[Pair] = []
        for block, side in zip(blocks, (node.body, node.orelse), strict=True):
            with self.within(block):
                pairs.append(self.visit(side))
        (x, dx), (y, dy) = pairs
        if dx is dy and is_constant(dx) and not any(blocks):
            return ast.IfExp(test, x, y), dx
        value, tangent = self.temporary(), self.temporary()
        for block, (v, d) in zip(blocks, pairs, strict=True):
            block += [assign(value, v), assign(tangent, self.explicit(d))]
        self.floating |= {tangent} | ({value} if self.is_floating(ast.IfExp(test, x, y)) else set())
        self.block.append(ast.If(test, blocks[0], blocks[1]))
        return name(value), dx if dx is dy and is_constant(dx) else name(tangent)

    # --------------------------------------------------------------------------------- calls

    def application(self, node: ast.Call) -> Pair:
        is_type, kind = self.type_of(node.func)
        target = kind if is_type else self.formula.lookup(node.func)
        if target is type:
            return node, ZERO
        pairs = [self.visit(argument) for argument in node.args]
        tangents = [tangent for _, tangent in pairs]
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise self.formula.error(node, "a call with keyword or starred arguments")
        if all(tangent is ZERO for tangent in tangents):
            return ast.Call(node.func, [value for value, _ in pairs], []), ZERO
        if is_type:
            return self.conversion(node.func, kind, *pairs[0])
        values = [self.hold(value) for value, _ in pairs]
        value = ast.copy_location(ast.Call(node.func, values, []), node)
        special = self.special(value, target, tangents)
        if special is not None:
            return special
        row, names = self.row_of(target), parameters(target)
        if isinstance(target, DeviceFunction):
            active = [p for p, d in zip(names, tangents, strict=False) if d is not ZERO]
            row = row or {}
            row |= {p: self.partial(target, p) for p in active if p not in row}
        elif row is None:
            raise self.formula.error(node, "a call of a function without a declared derivative")
        return self.chain(value, value, row, names or list(row), values, tangents)

    def special(self, value: ast.Call, target: Any, tangents: list[ast.expr]) -> Pair | None:
        """Calls whose tangent is a call of the same kind."""
        x, *rest = value.args
        if isinstance(target, Hashable) and target in COMPARISONS:
            return self.extremum(value, COMPARISONS[target](), tangents)
        if target is CAST:
            if is_constant(tangents[0]):
                return value, tangents[0]
            return value, call(value.func, tangents[0], *rest)
        if target is SELECT:
            _, dx, dy = tangents
            if dx is dy:
                return value, dx
            sides = [self.alike(d, v) for d, v in zip((dx, dy), rest, strict=True)]
            return value, call(value.func, x, *sides)
        if target is FUSED:
            _, tangent = self.product(x, tangents[0], rest[0], tangents[1])
            return value, self.total(tangent, tangents[2])
        return None

    def alike(self, tangent: ast.expr, value: ast.expr) -> ast.expr:
        """A tangent as code, in the type of its value where there are several."""
        shown = self.explicit(tangent)
        return call(self.bind(CAST), shown, value) if self.mixed else shown

    def conversion(self, kind: ast.expr, known: Any, value: ast.expr, tangent: ast.expr) -> Pair:
        """``T(value)``; its tangent is converted likewise, unless it gets rounded to integers."""
        result = call(kind, value)
        if known is not None and issubclass(known, int | np.integer | np.bool_):
            return result, ZERO
        if is_constant(tangent):
            return result, tangent
        negative = isinstance(tangent, ast.UnaryOp)
        inner = tangent.operand if isinstance(tangent, ast.UnaryOp) else tangent
        return result, neg(call(kind, inner)) if negative else call(kind, inner)

    def extremum(self, node: ast.Call, better: ast.cmpop, tangents: list[ast.expr]) -> Pair:
        """Python's min or max: the tangent of the argument they return, the first of equals."""
        if len(node.args) < 2:
            raise self.formula.error(node, "min or max of one argument")
        (best, *values), (tangent, *others) = node.args, tangents
        for value, other in zip(values, others, strict=True):
            if other is not tangent:
                test = ast.Compare(value, [better], [best])
                tangent = where(test, self.explicit(other), self.explicit(tangent))
            best = self.hold(call(node.func, best, value))
        return best, tangent

    def chain(
        self, node: ast.expr, value: ast.expr, row: Row, names: list[str],
        values: list[ast.expr], tangents: list[ast.expr],
    ) -> Pair:  # fmt: skip
        """The chain rule: declared derivatives read arguments by name and the result as ``out``."""
        if len(values) > len(names):
            raise self.formula.error(node, "a call with more arguments than have derivatives")
        out = value if all(row.get(n) == 0 for n in names) else self.hold(value)
        known = {"out": out, **dict(zip(names, values, strict=False))}
        tangent: ast.expr = ZERO
        for parameter, inner in zip(names, tangents, strict=False):
            if inner is ZERO:
                continue
            if parameter not in row:
                raise self.formula.error(node, f"a call by its {parameter} (none is declared)")
            grad = row[parameter]
            if isinstance(grad, int):
                outer = _FIXED[grad]
            elif isinstance(grad, str):
                outer = self.factor(known[grad])
            elif "g" in (reads := parameters(grad)) and "g" not in names:
                known["g"] = self.explicit(inner)
                tangent = self.total(tangent, call(self.bind(grad), *(known[r] for r in reads)))
                continue
            else:
                outer = call(self.bind(grad), *(known[read] for read in reads))
            tangent = self.total(tangent, mul(outer, inner))
        return out, tangent


def active_after(body: list[ast.stmt], active: set[str]) -> set[str]:
    """``active`` and the variables that may come to depend on them in these statements."""
    size = -1
    while size != len(active):
        size = len(active)
        for node in walk(*body):
            kind = isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
            if kind and active & {n.id for n in walk(node) if isinstance(n, ast.Name)}:
                active = active | set(stored(node))
    return active

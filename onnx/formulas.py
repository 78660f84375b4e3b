"""A formula on numbers as ONNX ops on tensors, from its source.

Its syntax tree is run with names of the graph in place of numbers. A condition that depends on them takes
both ways and chooses element by element; loops go as often as plain numbers say. A formula that is called and
has a row of its own (``exp``) is that row; any other is run likewise.
"""

from __future__ import annotations

import ast
import builtins
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.kernels.formulas import TABLES, primitives
from tilegrad.kernels.formulas.normal import normal_gate
from tilegrad.kernels.formulas.symbolic.source import DerivativeError, read
from tilegrad.kernels.formulas.transcendental import softplus
from tilegrad.kernels.function import DeviceFunction, Intrinsic, TypedFunction
from tilegrad.onnx.errors import UnsupportedOperatorError
from tilegrad.onnx.graph import Builder

Terms: TypeAlias = tuple[str, ...]
Say: TypeAlias = Callable[
    [Builder, DType, Terms, "tuple[Any, ...]"], str
]  # graph, dtype, operands, scalars

FORMULAS: dict[
    str, Say
] = {}  # by the names of rows of kernels/formulas; rows/elementwise.py fills it
_NAMES = {row.function: row.name for rows in TABLES for row in rows.values()}
_OTHERS: dict[Any, Say] = {
    softplus: lambda g, kind, args, params: g.op("Softplus", *args),
    normal_gate: lambda g, kind, args, params: FORMULAS["gelu"](g, kind, args, ()),
}
_MATH = {
    "exp": "exp", "log": "log", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin",
    "acos": "acos", "atan": "atan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "asinh",
    "acosh": "acosh", "atanh": "atanh", "erf": "erf", "erfc": "erfc", "floor": "floor", "ceil": "ceil",
    "trunc": "trunc", "fabs": "abs", "expm1": "expm1", "log1p": "log1p", "log2": "log2", "log10": "log10",
    "exp2": "exp2", "atan2": "atan2", "hypot": "hypot", "pow": "pow", "fmod": "fmod", "isnan": "isnan",
    "isinf": "isinf", "isfinite": "isfinite", "copysign": "copysign", "rint": "round", "maximum": "maximum",
    "minimum": "minimum",
}  # fmt: skip
_BY_OBJECT: dict[Any, str] = {
    **{getattr(math, n): row for n, row in _MATH.items() if hasattr(math, n)},
    **{getattr(np, n): row for n, row in _MATH.items() if hasattr(np, n)},
    **{getattr(primitives, n): row for n, row in _MATH.items() if isinstance(getattr(primitives, n, None), Intrinsic | DeviceFunction)},
    abs: "abs", round: "round",
}  # fmt: skip
_OPERATORS: dict[type[ast.AST], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", operator.add), ast.Sub: ("sub", operator.sub), ast.Mult: ("mul", operator.mul),
    ast.Div: ("div", operator.truediv), ast.Pow: ("pow", operator.pow), ast.Mod: ("remainder", operator.mod),
    ast.FloorDiv: ("floor_divide", operator.floordiv), ast.BitAnd: ("bitwise_and", operator.and_),
    ast.BitOr: ("bitwise_or", operator.or_), ast.BitXor: ("bitwise_xor", operator.xor),
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("eq", operator.eq), ast.NotEq: ("ne", operator.ne), ast.Lt: ("lt", operator.lt),
    ast.LtE: ("le", operator.le), ast.Gt: ("gt", operator.gt), ast.GtE: ("ge", operator.ge),
}  # fmt: skip
_BOUNDS = {
    "clamp": "clamp_between",
    "clamp_min": "clamp_above",
    "clamp_max": "clamp_below",
}  # by operands
_MOST_CONDITIONS = 12


class Term(NamedTuple):
    """A tensor of the graph inside a formula."""

    name: str
    dtype: DType


class _Type(NamedTuple):
    """What ``type(x)`` gives."""

    dtype: DType


_NOTHING = object()


class _Said:
    """A formula being said."""

    def __init__(self, g: Builder, title: str):
        self.g = g
        self.title = title
        self.depth = 0
        self.conditions = 0

    def refuse(self, what: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(
            f"export: {self.title}: its formula cannot be said in ONNX ops: {what}"
        )

    # ------------------------------------------------------------------------------- functions

    def call(self, function: Any, args: Sequence[Any]) -> Any:
        """What a called object gives."""
        if not any(isinstance(a, Term | _Type) for a in args) and not isinstance(function, _Type):
            return function(*args)
        if function is type:
            return _Type(args[0].dtype)
        if isinstance(function, _Type):
            return self.converted(args[0], function.dtype)
        if function in (float, int, bool):
            kinds = {float: dt.float64, int: dt.int64, bool: dt.bool_}
            return args[0] if function is float else self.converted(args[0], kinds[function])
        if function in (min, max):
            return self.extreme(function, args)
        if function is primitives.select:
            return self.choice(args[0], args[1], args[2])
        if function is primitives.cast:
            return self.converted(args[0], args[1].dtype)
        if function is primitives.fma:
            return self.named("add", [self.named("mul", args[:2]), args[2]])
        name = _BY_OBJECT.get(function) or (
            _NAMES.get(function) if isinstance(function, DeviceFunction) else None
        )
        if name in FORMULAS:
            return self.named(name, args)
        if isinstance(function, DeviceFunction):
            if function in _OTHERS:
                terms = self.alike(args)
                return Term(
                    _OTHERS[function](self.g, terms[0].dtype, tuple([t.name for t in terms]), ()),
                    terms[0].dtype,
                )
            return self.run(function, args)
        raise self.refuse(f"it calls {getattr(function, '__name__', function)}")

    def run(self, function: DeviceFunction, args: Sequence[Any]) -> Any:
        """A formula without a row of its own."""
        if isinstance(function, TypedFunction):
            function = function.case(next(a.dtype.name for a in args if isinstance(a, Term)))
        self.depth += 1
        if self.depth > 40:
            raise self.refuse("its calls are nested too deep")
        try:
            definition = read(function)
        except DerivativeError as error:
            raise self.refuse(str(error)) from None
        given = (
            [*args, *definition.defaults[len(args) - len(definition.parameters) :]]
            if len(args) < len(definition.parameters)
            else list(args)
        )
        scope = dict(definition.namespace)
        scope.update(zip(definition.parameters, given))
        made = self.block(definition.body, scope)
        self.depth -= 1
        if made is _NOTHING:
            raise self.refuse(f"{function.__name__} may end without a result")
        return made

    # ------------------------------------------------------------------------------ statements

    def block(self, body: Sequence[ast.stmt], scope: dict[str, Any]) -> Any:
        """The result of statements; ``_NOTHING`` where they return none."""
        for place, node in enumerate(body):
            if isinstance(node, ast.Return):
                return None if node.value is None else self.visit(node.value, scope)
            if isinstance(node, ast.Assign):
                self.assign(node.targets, self.visit(node.value, scope), scope)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self.assign([node.target], self.visit(node.value, scope), scope)
            elif isinstance(node, ast.AugAssign):
                left = self.visit(ast.Name(node.target.id, ast.Load()), scope)  # type: ignore[union-attr]
                made = self.binary(type(node.op), left, self.visit(node.value, scope))
                self.assign([node.target], made, scope)
            elif isinstance(node, ast.If):
                return self.branch(node, body[place + 1 :], scope)
            elif isinstance(node, ast.For):
                turns = self.visit(node.iter, scope)
                unrolled: list[ast.stmt] = []
                return self.loop(node, list(turns), [*unrolled, *body[place + 1 :]], scope)
            elif isinstance(node, ast.Pass | ast.Expr):
                continue
            else:
                raise self.refuse(f"{type(node).__name__} ({ast.unparse(node).splitlines()[0]})")
        return _NOTHING

    def loop(
        self, node: ast.For, turns: list[Any], rest: Sequence[ast.stmt], scope: dict[str, Any]
    ) -> Any:
        if any(isinstance(n, ast.Break | ast.Continue) for n in ast.walk(node)):
            raise self.refuse("a loop with break or continue")
        for turn in turns:
            self.assign([node.target], turn, scope)
            made = self.block(node.body, scope)
            if made is not _NOTHING:
                return made
        return self.block(rest, scope)

    def branch(self, node: ast.If, rest: Sequence[ast.stmt], scope: dict[str, Any]) -> Any:
        test = self.visit(node.test, scope)
        if not isinstance(test, Term):
            return self.block([*(node.body if test else node.orelse), *rest], scope)
        self.conditions += 1
        if self.conditions > _MOST_CONDITIONS:
            raise self.refuse("too many conditions that depend on operands")
        sides, scopes = [], []
        for way in (node.body, node.orelse):
            mine = dict(scope)
            sides.append(self.block(way, mine))
            scopes.append(mine)
        if sides[0] is _NOTHING and sides[1] is _NOTHING:
            for name in {*scopes[0], *scopes[1]}:
                one, other = (s.get(name, _NOTHING) for s in scopes)
                if one is not other:
                    both = one is not _NOTHING and other is not _NOTHING
                    scope[name] = (
                        self.choice(test, one, other)
                        if both
                        else (other if one is _NOTHING else one)
                    )
            return self.block(rest, scope)
        for place, mine in enumerate(scopes):
            if sides[place] is _NOTHING:
                sides[place] = self.block(rest, mine)
        if _NOTHING in sides:
            return _NOTHING
        return self.choice(test, sides[0], sides[1])

    def assign(self, targets: Sequence[ast.expr], value: Any, scope: dict[str, Any]) -> None:
        for target in targets:
            if isinstance(target, ast.Name):
                scope[target.id] = value
            elif isinstance(target, ast.Tuple):
                for one, part in zip(target.elts, value, strict=True):
                    self.assign([one], part, scope)
            else:
                raise self.refuse(f"an assignment to {ast.unparse(target)}")

    # ----------------------------------------------------------------------------- expressions

    def visit(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        """The value of an expression: a number, another object, or a :class:`Term`."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            if node.id in scope:
                return scope[node.id]
            return getattr(builtins, node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self.visit(node.value, scope), node.attr)
        if isinstance(node, ast.Tuple):
            return tuple([self.visit(n, scope) for n in node.elts])
        if isinstance(node, ast.BinOp):
            return self.binary(
                type(node.op), self.visit(node.left, scope), self.visit(node.right, scope)
            )
        if isinstance(node, ast.UnaryOp):
            return self.unary(node.op, self.visit(node.operand, scope))
        if isinstance(node, ast.Compare):
            return self.compare(node, scope)
        if isinstance(node, ast.BoolOp):
            name = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
            parts = [self.visit(v, scope) for v in node.values]
            made = parts[0]
            for part in parts[1:]:
                made = self.named(name, [made, part])
            return made
        if isinstance(node, ast.IfExp):
            test = self.visit(node.test, scope)
            if not isinstance(test, Term):
                return self.visit(node.body if test else node.orelse, scope)
            return self.choice(test, self.visit(node.body, scope), self.visit(node.orelse, scope))
        if isinstance(node, ast.Call) and not node.keywords:
            args = [self.visit(a, scope) for a in node.args]
            return self.call(self.visit(node.func, scope), args)
        if isinstance(node, ast.Subscript):
            return self.visit(node.value, scope)[self.visit(node.slice, scope)]
        raise self.refuse(ast.unparse(node))

    def unary(self, op: ast.unaryop, value: Any) -> Any:
        if not isinstance(value, Term):
            plain: dict[type[ast.unaryop], Callable[[Any], Any]] = {
                ast.USub: operator.neg, ast.Not: operator.not_, ast.Invert: operator.invert,
            }  # fmt: skip
            return plain.get(type(op), operator.pos)(value)
        if isinstance(op, ast.UAdd):
            return value
        name = {ast.USub: "neg", ast.Not: "logical_not", ast.Invert: "bitwise_not"}[type(op)]
        return self.named(name, [value])

    def binary(self, op: type[ast.operator], left: Any, right: Any) -> Any:
        if op not in _OPERATORS:
            raise self.refuse(f"the operator {op.__name__}")
        name, plain = _OPERATORS[op]
        if not isinstance(left, Term) and not isinstance(right, Term):
            return plain(left, right)
        if op is ast.Pow and isinstance(right, int) and 1 <= right <= 4 and isinstance(left, Term):
            made: Any = left
            for _ in range(right - 1):
                made = self.named("mul", [made, left])
            return made
        terms = self.alike([left, right])
        if not terms[0].dtype.is_floating_point:
            name = {
                "remainder": "remainder_int",
                "floor_divide": "floor_divide_int",
                "pow": "pow_int",
            }.get(name, name)
        return self.named(name, terms)

    def compare(self, node: ast.Compare, scope: dict[str, Any]) -> Any:
        left, made = self.visit(node.left, scope), None
        for op, side in zip(node.ops, node.comparators, strict=True):
            right = self.visit(side, scope)
            if type(op) not in _COMPARISONS:
                raise self.refuse(ast.unparse(node))
            name, plain = _COMPARISONS[type(op)]
            terms = isinstance(left, Term) or isinstance(right, Term)
            one = self.named(name, [left, right]) if terms else plain(left, right)
            made = one if made is None else self.named("logical_and", [made, one])
            left = right
        return made

    # -------------------------------------------------------------------------------- in the graph

    def converted(self, value: Any, dtype: DType) -> Any:
        if not isinstance(value, Term):
            return Term(self.g.constant(np.array(value, dtype.numpy)), dtype)
        return value if value.dtype is dtype else Term(self.g.cast(value.name, dtype), dtype)

    def alike(self, values: Sequence[Any]) -> list[Term]:
        """All as tensors of the dtype of the first that is one, numbers included."""
        kinds = [v.dtype for v in values if isinstance(v, Term)]
        kind = next((k for k in kinds if k.is_floating_point), kinds[0])
        return [self.converted(v, kind) for v in values]

    def named(self, name: str, args: Sequence[Any]) -> Term:
        """A row of the table."""
        if not any(isinstance(a, Term) for a in args):
            args = [self.converted(a, dt.float64) for a in args]
        terms = self.alike(args)
        kind = terms[0].dtype
        if name in _BOUNDS and len(terms) > 1:
            name = _BOUNDS[name]
        row = next(rows[name] for rows in TABLES if name in rows)
        arity = row.arity
        if len(terms) > arity:  # scalars are numbers, or operands of clamps
            raise self.refuse(f"{name} by a scalar that is an operand")
        out = dt.bool_ if row.kind == "compare" else kind
        return Term(FORMULAS[name](self.g, kind, tuple([t.name for t in terms]), ()), out)

    def choice(self, test: Any, one: Any, other: Any) -> Any:
        if not isinstance(test, Term):
            return one if test else other
        if isinstance(one, tuple) and not isinstance(one, Term | _Type):
            return tuple([self.choice(test, a, b) for a, b in zip(one, other, strict=True)])
        if not isinstance(one, Term) and not isinstance(other, Term):
            if one is other or isinstance(one, _Type) or one == other:
                return one
            whole = isinstance(one, bool) and isinstance(other, bool)
            kind = dt.bool_ if whole else dt.float64
            one, other = self.converted(one, kind), self.converted(other, kind)
        a, b = self.alike([one, other])
        truth = self.converted(test, dt.bool_)
        return Term(self.g.op("Where", truth.name, a.name, b.name), a.dtype)

    def extreme(self, function: Any, args: Sequence[Any]) -> Any:
        """Python's min and max: the first of what does not compare."""
        best = args[0]
        for value in args[1:]:
            better = self.named("lt" if function is min else "gt", [value, best])
            best = self.choice(better, value, best)
        return best


def say_formula(
    g: Builder, function: DeviceFunction, kinds: Sequence[DType], names: Terms, params: tuple[Any, ...],
    out: DType,
) -> str:  # fmt: skip
    """The ops that a formula of these operands, of dtypes ``kinds``, is made of; its result is an ``out``.

    Raises:
        UnsupportedOperatorError: it holds something that ONNX cannot express.
    """
    said = _Said(g, function.__name__)
    terms = [Term(n, k) for n, k in zip(names, kinds, strict=True)]
    common = next((k for k in kinds if k.is_floating_point), out)
    given = [said.converted(p, common) if isinstance(p, float) else p for p in params]
    made = said.run(function, [*terms, *given])
    if not isinstance(made, Term):
        made = said.converted(made, out)
    return said.converted(made, out).name  # type: ignore[no-any-return]

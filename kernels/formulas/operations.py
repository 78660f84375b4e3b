"""How many floating operations a formula takes, counted in its source.

Sums, products, quotients, roots and the larger or smaller of two count one, a fused multiply-add two, a
polynomial two for each coefficient but the first; of a formula's calls what they take. Both sides of a choice
count, since both are computed; comparisons, signs, casts and work on bits do not. A loop counts as often as
``range`` says, and ``while`` once.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

from tilegrad.kernels import dtypes
from tilegrad.kernels.formulas import primitives
from tilegrad.kernels.formulas.symbolic.source import Definition, read
from tilegrad.kernels.function import DeviceFunction, TypedFunction

_COUNTED = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
_SINGLE = {"fma": 2, "sqrt": 1, "scale2": 3}
_POLYNOMIALS = (
    primitives.polynomial, primitives.polynomial_derivative, primitives.polynomial_derivative_2,
    primitives.polynomial_derivative_3, primitives.polynomial_derivative_4,
)  # fmt: skip


@lru_cache(maxsize=None)
def operations(formula: DeviceFunction, dtype: str) -> int:
    """Floating operations on one element, for operands of ``dtype``."""
    if isinstance(formula, TypedFunction):
        return operations(formula.case(dtype), dtype)
    definition = read(formula)
    return sum(_count(s, definition, dtype) for s in definition.body)


def _count(node: ast.AST, formula: Definition, dtype: str) -> int:
    inside = sum(_count(child, formula, dtype) for child in ast.iter_child_nodes(node))
    if isinstance(node, ast.For):
        return inside * _times(node)
    if isinstance(node, ast.BinOp):
        constant = isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant)
        return inside + (isinstance(node.op, _COUNTED) and not constant)
    if isinstance(node, ast.Call):
        return inside + _called(node, formula.lookup(node.func), formula, dtype)
    return inside


def _called(node: ast.Call, target: Any, formula: Definition, dtype: str) -> int:
    if target in _POLYNOMIALS:
        tables = formula.lookup(node.args[1])
        if not isinstance(tables, tuple):
            return 0
        return 2 * (len(tables[dtypes.FLOATS.index(dtype)]) - 1)
    if isinstance(target, DeviceFunction):
        return operations(target, dtype)
    if target in (min, max):
        return len(node.args) - 1
    return _SINGLE.get(getattr(target, "__name__", ""), 0) if target is not None else 0


def _times(loop: ast.For) -> int:
    """How often the body runs."""
    try:
        return len(range(*[ast.literal_eval(a) for a in loop.iter.args]))  # type: ignore[attr-defined]
    except (ValueError, AttributeError, TypeError):
        return 1

"""How a public elementwise function is made from a row of the formula tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import own
from tilegrad.autograd.rules.elementwise import (
    Scalar,
    binary,
    inplace,
    operand,
    unary,
)
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import elementwise as ops
from tilegrad.engine.ops.elementwise import OPS

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

Unary = Callable[["Tensor"], "Tensor"]
Binary = Callable[["Tensor", Any], "Tensor"]


def _named(function: Any, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _doc(name: str) -> str:
    return f"{OPS[name].formula.function.__doc__}\n\nElementwise; any shape."


def unary_function(name: str) -> Unary:
    """The function that applies the formula ``name``."""
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        return unary(op, input)

    return _named(function, name, _doc(name))  # type: ignore[no-any-return]


def unary_inplace(name: str) -> Unary:
    """The function that applies the formula ``name`` in place."""
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        return inplace(op, input)

    return _named(function, name + "_", _doc(name) + " In place.")  # type: ignore[no-any-return]


def binary_function(name: str) -> Binary:
    """The function of two operands that applies the formula ``name``."""
    op = OPS[name]

    def function(input: Tensor, other: Tensor | Scalar) -> Tensor:
        return binary(op, input, other)

    doc = f"{op.formula.function.__doc__}\n\nElementwise; operands broadcast and are promoted."
    return _named(function, name, doc)  # type: ignore[no-any-return]


def binary_inplace(name: str) -> Binary:
    """The function of two operands that applies the formula ``name`` over the first."""
    op = OPS[name]

    def function(input: Tensor, other: Tensor | Scalar) -> Tensor:
        return inplace(op, input, operand(other, input, name + "_"))

    doc = f"{op.formula.function.__doc__}\n\nElementwise, in place; ``other`` broadcasts."
    return _named(function, name + "_", doc)  # type: ignore[no-any-return]


def always(value: bool, input: Tensor) -> Tensor:
    """A bool tensor that says ``value`` everywhere."""
    kind = input.layout
    return own(ops.full(kind.shape, value, dt.bool_, kind.device))


def rounding_function(name: str) -> Unary:
    """A rounding function, which leaves integers as they are."""
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        if input.layout.dtype is dt.bool_:
            raise NotImplementedError(f"\"{name}\" not implemented for 'bool'")
        return unary(op if input.dtype.is_floating_point else OPS["copy"], input)

    return _named(function, name, _doc(name))  # type: ignore[no-any-return]

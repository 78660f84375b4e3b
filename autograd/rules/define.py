"""Public elementwise functions, made from the rows of the formula tables.

A row that names no ``caller`` has its function here: with the name, the docstring and the signature
of a function written by hand, its twin that writes over the first operand, and its other names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import check_inplace
from tilegrad.autograd.rules.assign import overwrite
from tilegrad.autograd.rules.elementwise import (
    Scalar,
    binary,
    inplace,
    operand,
    unary,
)
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops.elementwise import OPS, Elementwise

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

Function = Callable[..., Any]


def publish(scope: dict[str, Any]) -> list[str]:
    """Put the functions of all rows, their twins and other names into the module ``scope``; the names
    that are public as functions, not as methods only.
    """
    public: list[str] = []
    for op in OPS.values():
        row = op.formula
        if row.caller:
            continue
        if row.params or row.arity > 2:
            raise TypeError(
                f"{row.name}: a function of parameters or of three operands is written by hand; "
                f"its row says so by caller=; got {', '.join(row.names)}"
            )
        made = {row.name: _function(op), f"{row.name}_": _twin(op)}
        for alias in row.aliases:
            made[alias] = made[f"{row.name}_" if alias.endswith("_") else row.name]
        for name, function in made.items():
            if function is not None:
                function.__module__ = scope["__name__"]
                scope[name] = function
                if not name.endswith("_") or row.writes == "function":
                    public.append(name)
    return public


def named(function: Any, name: str, doc: str) -> Function:
    """``function`` with a name of its own, in tracebacks and profiles too."""
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=name)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    result: Function = function
    return result


def _doc(op: Elementwise, ending: str) -> str:
    return f"{inspect.cleandoc(op.formula.function.__doc__ or '')}\n\nElementwise{ending}"


def _refuse_bool(name: str, input: Tensor) -> None:
    if input.layout.dtype is dt.bool_:
        raise NotImplementedError(f"\"{name}\" not implemented for 'bool'")


def _function(op: Elementwise) -> Function:
    """The function that applies ``op`` and gives new memory."""
    name, kind, arity = op.name, op.formula.kind, op.formula.arity

    def one(input: Tensor) -> Tensor:
        return unary(op, input)

    def rounded(input: Tensor) -> Tensor:
        _refuse_bool(name, input)
        return unary(op if input.dtype.is_floating_point else OPS["copy"], input)

    def two(input: Tensor, other: Tensor | Scalar) -> Tensor:
        return binary(op, input, other)

    if arity == 2:
        return named(two, name, _doc(op, "; operands broadcast and are promoted."))
    return named(rounded if kind == "rounding" else one, name, _doc(op, "; any shape."))


def _twin(op: Elementwise) -> Function | None:
    """The function that writes the result over its first operand."""
    row = op.formula
    name = f"{op.name}_"

    def one(input: Tensor) -> Tensor:
        return inplace(op, input)

    def rounded(input: Tensor) -> Tensor:
        _refuse_bool(name, input)
        if input.dtype.is_floating_point:
            return inplace(op, input)
        check_inplace(name, input)
        return input

    def two(input: Tensor, other: Tensor | Scalar) -> Tensor:
        return inplace(op, input, operand(other, input, name))

    def answer(input: Tensor) -> Tensor:  # of a comparison: a constant, as of another history
        check_inplace(name, input)
        return overwrite(name, input, unary(op, input))

    def answer_of_two(input: Tensor, other: Tensor | Scalar) -> Tensor:
        check_inplace(name, input)
        return overwrite(name, input, binary(op, input, other))

    if row.writes == "none":
        return None
    if row.arity == 2:
        chosen = answer_of_two if row.kind == "compare" else two
        return named(chosen, name, _doc(op, ", in place; ``other`` broadcasts."))
    alone = answer if row.kind == "compare" else rounded if row.kind == "rounding" else one
    return named(alone, name, _doc(op, "; any shape. In place."))

"""Public elementwise functions, made from the rows of the formula tables.

A row that names no ``caller`` has its function here: with the name, the docstring and the signature
of a function written by hand, its twin that writes over the first operand, and its other names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TypeVar

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import called
from tilegrad.autograd.rule import check_inplace
from tilegrad.autograd.rules import elementwise
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.elementwise import binary, inplace, unary
from tilegrad.autograd.rules.operands import OF_TENSORS, Scalar, operand
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.ops.elementwise import OPS, Elementwise
from tilegrad.kernels.function import function_from_source

Function = Callable[..., Tensor]
F = TypeVar("F", bound=Callable[..., object])


def publish(scope: dict[str, object]) -> dict[str, list[str]]:
    """Put the functions of all rows, their twins and other names into the module ``scope``; by home the
    names that are public as functions, not as methods only.

    Raises:
        TypeError: a row has neither one nor two operands, or two and params.
    """
    public: dict[str, list[str]] = {"tilegrad": [], "nn.functional": []}
    for op in OPS.values():
        row = op.formula
        if row.caller:
            continue
        if row.arity not in (1, 2) or (row.arity == 2 and (row.params or row.inplace)):
            raise TypeError(
                f"{row.name}: functions made from rows take one operand, or two and no params; one that "
                f"is written by hand is named by caller=; got {', '.join(row.names)}"
            )
        made = {row.name: _function(op), f"{row.name}_": _twin(op)}
        for alias in row.aliases:
            made[alias] = made[f"{row.name}_" if alias.endswith("_") else row.name]
        for name, function in made.items():
            if function is None:
                continue
            function.__module__ = str(scope["__name__"])
            scope[name] = function
            if name.endswith("_") and row.writes != "function":
                continue
            for home in row.home:
                if home == "tilegrad" or row.inplace or not name.endswith("_"):
                    public[home].append(name)
    return public


_SAFE = 3e38  # every float dtype holds what is smaller


def _stored(name: str, x: Tensor, params: tuple[float, ...]) -> tuple[float, ...]:
    """``params`` as elements of the dtype of ``x``."""
    kind = x.layout.dtype
    return tuple([number.stored(number.required(p, name), kind, name) for p in params])


def run(
    op: Elementwise, x: Tensor, inplace: bool = False, params: tuple[float, ...] = ()
) -> Tensor:
    """``op`` of ``x`` and numbers, written over ``x`` if ``inplace``, recorded."""
    floats = x.layout.dtype.is_floating_point
    for value in params:
        if value.__class__ is not float or not -_SAFE < value < _SAFE or not floats:
            params = _stored(op.name, x, params)
            break
    if not inplace:
        return elementwise.apply(op, x, params=params)
    if x.requires_grad and 0 in elementwise.derivative(op, 0).reads:
        # the gradient reads the old values, so they are kept
        name = f"{op.name}_"
        made = elementwise.apply(op, before(name, x), params=params)
        return overwrite(name, x, called(name, made))
    return elementwise.inplace(op, x, params=params)


def named(function: F, name: str, doc: str) -> F:
    """``function`` with a name of its own, in tracebacks and profiles too."""
    assert isinstance(function, FunctionType)
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=name)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _doc(op: Elementwise, ending: str) -> str:
    return f"{inspect.cleandoc(op.formula.function.__doc__ or '')}\n\nElementwise{ending}"


def _no_bool(name: str) -> NotImplementedError:
    return NotImplementedError(f"\"{name}\" not implemented for 'bool'")


def _with_numbers(op: Elementwise, name: str, ending: str, twin: bool) -> Function:
    """The function of a row that has params, or an argument ``inplace``, over one operand."""
    row = op.formula
    params = row.names[1:]
    first = len(params) - len(row.defaults)
    given = ["input: Tensor", *(f"{name}: float" for name in params[:first])]
    given += [f"{n}: float = {v}" for n, v in zip(params[first:], row.defaults, strict=True)]
    where = "True" if twin else "False"
    if row.inplace and not twin:
        given.append("inplace: bool = False")
        where = "inplace"
    numbers = "".join([f"{name}, " for name in params])
    head = f"def {name}({', '.join(given)}) -> Tensor:"
    source = f"{head}\n    return run(op, input, {where}, ({numbers}))\n"
    function = function_from_source(source, name, {"run": run, "op": op})
    function.__doc__ = _doc(op, ending)
    return function


def _typed(function: Function, name: str) -> Function:
    """``function``, whose annotations say where PyTorch's of this ``name`` takes no number."""
    if name in OF_TENSORS:
        function.__annotations__["other"] = "Tensor"
    return function


def _function(op: Elementwise) -> Function:
    """The function that applies ``op`` and gives new memory."""
    name, kind, arity = op.name, op.formula.kind, op.formula.arity
    if op.formula.params or op.formula.inplace:
        return _with_numbers(op, name, "; any shape.", False)

    def one(input: Tensor) -> Tensor:
        return unary(op, input)

    def rounded(input: Tensor) -> Tensor:
        kind = input.layout.dtype
        if kind is dt.bool_:
            raise _no_bool(name)
        return unary(op if kind.has_gradient else OPS["copy"], input)

    def two(input: Tensor, other: Tensor | Scalar) -> Tensor:
        return binary(op, input, other)

    if arity == 2:
        return named(_typed(two, name), name, _doc(op, "; operands broadcast and are promoted."))
    return named(rounded if kind == "rounding" else one, name, _doc(op, "; any shape."))


def made(op: Elementwise, module: str) -> Function:
    """The function that applies ``op``, defined in ``module``."""
    function = _function(op)
    function.__module__ = module
    return function


def _twin(op: Elementwise) -> Function | None:
    """The function that writes the result over its first operand."""
    row = op.formula
    name = f"{op.name}_"
    if row.writes == "none":
        return None
    if row.params or row.inplace:
        return _with_numbers(op, name, "; any shape. In place.", True)

    def one(input: Tensor) -> Tensor:
        return inplace(op, input)

    def rounded(input: Tensor) -> Tensor:
        kind = input.layout.dtype
        if kind is dt.bool_:
            raise _no_bool(name)
        if kind.has_gradient:
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

    if row.arity == 2:
        chosen = answer_of_two if row.kind == "compare" else two
        return named(_typed(chosen, name), name, _doc(op, ", in place; ``other`` broadcasts."))
    alone = answer if row.kind == "compare" else rounded if row.kind == "rounding" else one
    return named(alone, name, _doc(op, "; any shape. In place."))

"""Signatures of ops: ``row_softmax(x: f[*B, N], eps: float = 0.0) -> y: like x``.

A signature says what an op takes and gives: the dtypes and the named sizes of its operands, its
scalars, and the outputs' layouts. :func:`tilegrad.engine.signature_parser.parse` reads one;
:meth:`Signature.bind` checks layouts by it and gives the sizes of the names and the layouts of the outputs.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Layout, layout
from tilegrad.engine.dtype import DType
from tilegrad.engine.shape import numel

EXACT = {
    "f32": dt.float32, "f64": dt.float64, "i8": dt.int8, "i16": dt.int16, "i32": dt.int32,
    "i64": dt.int64, "u8": dt.uint8, "b": dt.bool_, **dt.BY_NAME,
}  # fmt: skip
CLASSES: dict[str, Callable[[DType], bool]] = {
    "f": lambda kind: kind.is_floating_point,
    "i": lambda kind: not kind.is_floating_point and kind is not dt.bool_,
    "any": lambda kind: True,
}
VARIABLES = ("f", "i")  # all operands of one have one dtype
WORDS = {"f": "a floating-point dtype", "i": "an integer dtype", "any": "any dtype"}
SCALARS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}

Dim = int | str | ast.expr  # a size, a name, or an expression of names


@dataclass(frozen=True)
class Operand:
    """An argument that is a tensor, or an output.

    Attributes:
        kind: the word of its dtype; "like" for that of ``like``.
        dims: its dimensions, of which one at most is a run ``*B``; None for any.
        inout: whether the op writes over it.
        like: the operand whose shape and dtype an output has.
    """

    name: str
    kind: str
    dims: tuple[Dim, ...] | None = None
    inout: bool = False
    like: str | None = None

    @property
    def run(self) -> int | None:
        """The place of the run among the dimensions."""
        for place, dim in enumerate(self.dims or ()):
            if isinstance(dim, str) and dim[0] == "*":
                return place
        return None

    def shape_text(self) -> str:
        """``[*B, N]``"""
        return "[" + ", ".join(map(text_of, self.dims or ())) + "]"


@dataclass(frozen=True)
class Scalar:
    """An argument that is a Python value. ``default`` is ``...`` where there is none."""

    name: str
    type: type
    default: Any = ...


@dataclass(frozen=True)
class Bound:
    """What a call's layouts are by the signature.

    Attributes:
        dims: the size of each name; that of a run is the product of its sizes.
        runs: the sizes of each run.
        types: the dtype of each variable.
        outs: the layouts of the outputs, row-major.
    """

    dims: dict[str, int]
    runs: dict[str, tuple[int, ...]]
    types: dict[str, DType]
    outs: tuple[Layout, ...]


def text_of(dim: Dim) -> str:
    """A dimension as it was written."""
    return ast.unparse(dim) if isinstance(dim, ast.expr) else str(dim)


@dataclass(frozen=True)
class Signature:
    """A signature that was read; see :func:`tilegrad.engine.signature_parser.parse`."""

    text: str
    name: str
    arguments: tuple[Operand | Scalar, ...]
    outputs: tuple[Operand, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The arguments that are tensors."""
        return tuple([a for a in self.arguments if isinstance(a, Operand)])

    @property
    def scalars(self) -> tuple[Scalar, ...]:
        """The arguments that are not."""
        return tuple([a for a in self.arguments if isinstance(a, Scalar)])

    @property
    def written(self) -> tuple[int, ...]:
        """The places, among the operands, of those that are written over."""
        return tuple([k for k, x in enumerate(self.operands) if x.inout])

    @property
    def dims(self) -> tuple[str, ...]:
        """All names of sizes, in order."""
        found: dict[str, None] = {}
        for x in self.operands:
            for dim in x.dims or ():
                if isinstance(dim, str) and dim != "_":
                    found[dim.lstrip("*")] = None
        return tuple(found)

    @property
    def sized(self) -> tuple[str, ...]:
        """The scalars that the shapes depend on."""
        names = {s.name for s in self.scalars}
        used = [
            n for x in (*self.operands, *self.outputs) for d in x.dims or () for n in names_in(d)
        ]
        return tuple([n for n in dict.fromkeys(used) if n in names])

    def bind(self, layouts: Sequence[Layout], scalars: Mapping[str, Any]) -> Bound:
        """The sizes, dtypes and outputs of a call.

        Raises:
            RuntimeError: a dtype or a shape does not fit.
        """
        return _Binding(self).run(layouts, scalars)

    def scalar(self, which: Scalar, value: Any) -> Any:
        """``value`` as the Python value that the scalar is.

        Raises:
            TypeError: it is another kind.
        """
        kind = which.type
        if value.__class__ is kind:
            return value
        if kind is not str and not hasattr(value, "layout") and value is not None:
            try:
                if kind is float and not isinstance(value, str):
                    return float(value)
                if kind is int:
                    return operator.index(value)
            except (TypeError, ValueError):
                pass
            if kind is bool and type(value).__name__ in ("bool", "bool_"):
                return bool(value)
        raise TypeError(
            f"{self.name}: {which.name} must be {article(kind.__name__)}; got {type(value).__name__}"
        )


def article(word: str) -> str:
    """``an int``, ``a float``."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def names_in(dim: Dim) -> list[str]:
    """The names that a dimension reads."""
    if isinstance(dim, ast.expr):
        return [n.id for n in ast.walk(dim) if isinstance(n, ast.Name) and n.id not in CALLS]
    return [dim.lstrip("*")] if isinstance(dim, str) else []


# ------------------------------------------------------------------------------------- binding


class _Binding:
    """One call's names, found operand by operand."""

    def __init__(self, signature: Signature):
        self.signature = signature
        self.dims: dict[str, int] = {}
        self.runs: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, DType] = {}
        self.origin: dict[str, str] = {}  # of each name: the operand that it was found in

    def run(self, layouts: Sequence[Layout], scalars: Mapping[str, Any]) -> Bound:
        operands = self.signature.operands
        for x, kind in zip(operands, layouts, strict=True):
            self.dtype(x, kind)
        for x, kind in zip(operands, layouts, strict=True):
            if x.dims is not None:
                self.shape(x, kind)
        for name, sizes in self.runs.items():
            self.dims[name] = numel(sizes)
        values = {**self.dims, **{n: scalars[n] for n in self.signature.sized}}
        for x, kind in zip(operands, layouts, strict=True):
            for dim, size in zip(x.dims or (), self.matched(x, kind.shape), strict=True):
                if isinstance(dim, ast.expr) and self.value(x, dim, values) != size:
                    raise self.error(
                        x, kind.shape, f"; {text_of(dim)} is {self.value(x, dim, values)}"
                    )
        device = layouts[0].device
        by_name = {x.name: kind for x, kind in zip(operands, layouts, strict=True)}
        outs = tuple([self.output(y, by_name, values, device) for y in self.signature.outputs])
        return Bound(self.dims, self.runs, self.types, outs)

    def dtype(self, x: Operand, kind: Layout) -> None:
        name, have = self.signature.name, kind.dtype
        exact = EXACT.get(x.kind)
        if exact is not None:
            if have is not exact:
                raise RuntimeError(f"{name}: {x.name} must be {exact.name}; got {have.name}")
            return
        if not CLASSES[x.kind](have):
            raise RuntimeError(f"{name}: {x.name} must have {WORDS[x.kind]}; got {have.name}")
        if x.kind in VARIABLES:
            first = self.types.setdefault(x.kind, have)
            origin = self.origin.setdefault(f"dtype {x.kind}", x.name)
            if first is not have:
                raise RuntimeError(
                    f"{name}: {origin} and {x.name} must have one dtype; got {first.name} and "
                    f"{have.name}"
                )

    def matched(self, x: Operand, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """The size, or the sizes of the run, that each of the dimensions stands for."""
        if x.dims is None:
            return ()
        place, count = x.run, len(x.dims)
        if place is None:
            return shape
        end = len(shape) - (count - 1 - place)
        return (*shape[:place], shape[place:end], *shape[end:])

    def shape(self, x: Operand, kind: Layout) -> None:
        shape, dims = kind.shape, x.dims or ()
        if len(shape) != len(dims) if x.run is None else len(shape) < len(dims) - 1:
            raise self.error(x, shape)
        for dim, size in zip(dims, self.matched(x, shape), strict=True):
            if isinstance(dim, int):
                if size != dim:
                    raise self.error(x, shape)
            elif isinstance(dim, str) and dim != "_":
                self.name(x, dim, size, shape)

    def name(self, x: Operand, dim: str, size: Any, shape: tuple[int, ...]) -> None:
        name = dim.lstrip("*")
        known: dict[str, Any] = self.runs if dim[0] == "*" else self.dims
        if name not in known:
            known[name] = size
            self.origin[name] = x.name
        elif known[name] != size:
            before = known[name]
            one, two = (list(v) if isinstance(v, tuple) else v for v in (before, size))
            where = self.origin[name]
            if where == x.name:
                raise self.error(x, shape)
            raise RuntimeError(
                f"{self.signature.name}: {name} is {one} in {where} but {two} in {x.name}; got "
                f"{x.name} of shape {list(shape)}"
            )

    def error(self, x: Operand, shape: tuple[int, ...], more: str = "") -> RuntimeError:
        return RuntimeError(
            f"{self.signature.name}: {x.name} must have shape {x.shape_text()}; got {list(shape)}{more}"
        )

    def value(self, x: Operand, dim: ast.expr, values: Mapping[str, int]) -> int:
        try:
            return _value(dim, values)
        except ZeroDivisionError:
            raise RuntimeError(
                f"{self.signature.name}: {x.name}: {text_of(dim)} divides by zero; got "
                f"{', '.join(f'{n}={values[n]}' for n in names_in(dim))}"
            ) from None

    def output(
        self, y: Operand, by_name: Mapping[str, Layout], values: Mapping[str, int], device: Any
    ) -> Layout:
        if y.like is not None:
            like = by_name[y.like]
            return layout(like.shape, like.dtype, device)
        sizes: list[int] = []
        for dim in y.dims or ():
            if isinstance(dim, str):
                sizes += self.runs[dim[1:]] if dim[0] == "*" else [values[dim]]
            else:
                sizes.append(dim if isinstance(dim, int) else self.value(y, dim, values))
        if any(n < 0 for n in sizes):
            raise RuntimeError(
                f"{self.signature.name}: {y.name} would have shape {sizes}, by {y.shape_text()}; got "
                f"{', '.join(f'{n}={v}' for n, v in values.items())}"
            )
        kind = EXACT.get(y.kind)
        return layout(tuple(sizes), self.types[y.kind] if kind is None else kind, device)


OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
CALLS: dict[str, Callable[..., int]] = {"min": min, "max": max}


def _value(e: ast.expr, values: Mapping[str, int]) -> int:
    if isinstance(e, ast.Constant):
        return int(e.value)  # type: ignore[arg-type]
    if isinstance(e, ast.Name):
        return values[e.id]
    if isinstance(e, ast.UnaryOp):
        return -_value(e.operand, values)
    if isinstance(e, ast.Call):
        return CALLS[e.func.id](*[_value(a, values) for a in e.args])  # type: ignore[attr-defined]
    assert isinstance(e, ast.BinOp)
    return OPERATORS[type(e.op)](_value(e.left, values), _value(e.right, values))


def sizes_in(x: Operand, sizes: Mapping[str, Any], scalars: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of an operand where these are the sizes of names and runs; an unnamed one is 2."""
    values = {n: v for n, v in {**scalars, **sizes}.items() if isinstance(v, int)}
    found: list[int] = []
    for dim in x.dims or (2, 3):
        if isinstance(dim, str):
            found += sizes[dim[1:]] if dim[0] == "*" else [2 if dim == "_" else values[dim]]
        else:
            found.append(dim if isinstance(dim, int) else _value(dim, values))
    return tuple(found)

"""Functions of masks and of index positions: where, nonzero, masked_*, triangles, diagonals."""

from __future__ import annotations

from typing import Any, Literal, overload

from tilegrad.autograd.annotations import Number, Tensor
from tilegrad.autograd.base import TensorBase, tensor_of, warn_expanded
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.rule import Rule, check_inplace, writable
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.elementwise import apply, single_value
from tilegrad.autograd.rules.index import IN_PLACE, Scalar, write, zeros
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.array import Array
from tilegrad.engine.ops import masked as ops
from tilegrad.engine.ops.elementwise import OPS, scalar
from tilegrad.engine.shape import broadcast_shapes, normalize_dim

__all__ = [
    "argwhere", "diag", "diag_embed", "masked_fill", "masked_scatter", "masked_select",
    "nonzero", "trace", "tril", "triu", "where",
]  # fmt: skip


def _require_mask(op: str, mask: Tensor) -> None:
    if mask.layout.dtype is not dt.bool_:
        raise RuntimeError(f"{op}: only supports boolean masks; got {mask.dtype.name}")


def _same_shape(op: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both expanded to their common shape."""
    shape = broadcast_shapes(op, tuple(x.shape), tuple(mask.shape))
    x = x if tuple(x.shape) == shape else view.expand(x, shape)
    return x, mask if tuple(mask.shape) == shape else view.expand(mask, shape)


# ---------------------------------------------------------------------------------------- where


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Tensor | Number, other: Tensor | Number) -> Tensor: ...
def where(
    condition: Tensor, input: object = None, other: object = None
) -> Tensor | tuple[Tensor, ...]:
    """``input`` where ``condition`` holds, else ``other``, broadcast and promoted; with the
    condition alone, ``nonzero(condition, as_tuple=True)``.

    Gradient: of ``input`` and ``other``.
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if condition.layout.dtype is not dt.bool_:
        raise RuntimeError(
            f"where: expected condition to be a boolean tensor; got {condition.dtype.name}"
        )
    x: Any = input
    y: Any = other
    tensors = isinstance(x, TensorBase) and isinstance(y, TensorBase)
    if not tensors or x.layout.dtype is not y.layout.dtype:
        x, y = _where_operands(condition, input, other)
    return apply(OPS["where"], condition, x, y)


def _where_operands(condition: Tensor, x: object, y: object) -> tuple[Tensor, Tensor]:
    """Python numbers as constants that do not decide the dtype beside a tensor."""
    x, y = (v if isinstance(v, TensorBase) else number.required(v, "where") for v in (x, y))
    ranks = [
        (v.dtype, 2 if v.ndim else 1) if isinstance(v, TensorBase) else (dt.of_scalar(v), 0)
        for v in (x, y)
    ]
    kind = dt.result_type(*ranks)

    def ready(v: Any) -> Tensor:
        if isinstance(v, TensorBase):
            return v if v.dtype is kind else v.to(kind)
        return tensor_of(scalar(v, kind, condition.device))

    return ready(x), ready(y)


@overload
def nonzero(input: Tensor, *, as_tuple: Literal[False] = False) -> Tensor: ...
@overload
def nonzero(input: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """int64 coordinates (count, ndim) of the elements that are not zero, in row-major order.

    ``as_tuple`` returns one vector per dimension instead (a zero-dimensional input counts as one).
    """
    if as_tuple and input.ndim == 0:
        input = view.reshape(input, (1,))
    found = tensor_of(ops.nonzero(input))
    if as_tuple:
        return tuple(view.select(found, 0, d) for d in range(input.ndim))
    return view.transpose(found, 0, 1)


def argwhere(input: Tensor) -> Tensor:
    """``nonzero(input)``."""
    return view.transpose(tensor_of(ops.nonzero(input)), 0, 1)


# ------------------------------------------------------------------------------- masked_fill, …


def _fill_value(input: Tensor, value: Tensor | Scalar) -> Tensor:
    if not isinstance(value, TensorBase):
        plain = number.required(value, "masked_fill")
        return tensor_of(scalar(plain, input.dtype, input.device))
    return single_value("masked_fill", value, input)


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Scalar) -> Tensor:
    """``value`` where ``mask`` holds, ``input`` elsewhere.

    Gradient: of ``input`` and a tensor ``value``.
    """
    _require_mask("masked_fill", mask)
    op = _FILL_BY_TENSOR if isinstance(value, TensorBase) else _FILL
    return apply(op, mask, _fill_value(input, value), input)


_FILL, _FILL_BY_TENSOR = (
    OPS["where"].under(name) for name in ("masked_fill", "masked_fill_tensor")
)


def masked_fill_(input: Tensor, mask: Tensor, value: Tensor | Scalar) -> Tensor:
    """:func:`masked_fill` in place."""
    writable("masked_fill_", input)
    _require_mask("masked_fill_", mask)
    value = _fill_value(input, value)
    repeated = _repeated(input) if 0 in input.layout.strides else ()
    if repeated:
        _fill_repeated(input, mask, value, repeated)
        return input
    operands = mask, value, input

    def run(inplace: bool, checked: bool) -> Array:
        return tensor_of(OPS["where"](*operands, input))

    return write(_MASKED_FILL, run, (input, mask, value), None, IN_PLACE, True)


def _repeated(x: Tensor) -> tuple[int, ...]:
    """The dimensions along which all elements lie in one place."""
    kind = x.layout
    places = zip(kind.shape, kind.strides, strict=True)
    return tuple([d for d, (n, s) in enumerate(places) if s == 0 and n > 1])


def _fill_repeated(x: Tensor, mask: Tensor, value: Tensor, dims: tuple[int, ...]) -> None:
    """A place is filled where the mask holds at one of its elements."""
    check_inplace("masked_fill_", x, True)
    warn_expanded("masked_fill_", x)
    mask = view.expand(mask, x.shape).any(dim=dims, keepdim=True)
    for dim in dims:
        x = view.narrow(x, dim, 0, 1)
    masked_fill_(x, mask, value)


def _fill_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (mask,) = node.unpack()
    g_value = None if node.edges[2] is None else where(mask, grad, 0)
    return masked_fill(grad, mask, 0), None, g_value


_MASKED_FILL = Rule("masked_fill", _fill_vjp, (1,))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements of ``input``, one dimension, where ``mask`` holds; both are broadcast.

    Gradient: of ``input``.
    """
    _require_mask("masked_select", mask)
    input, mask = _same_shape("masked_select", input, mask)
    return _MASKED_SELECT.record((input, mask), ops.masked_select(input, mask))


def _select_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (mask,) = node.unpack()
    return masked_scatter(zeros(node.inputs[0].shape, grad), mask, grad), None


_MASKED_SELECT = Rule("masked_select", _select_vjp, (1,))


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """``input`` with the elements of ``source``, in order, where ``mask`` holds; the first two are
    broadcast.

    Gradient: of ``input`` and ``source``.
    """
    _require_mask("masked_scatter", mask)
    if input.dtype is not source.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes; got "
            f"{input.dtype.name} and {source.dtype.name}"
        )
    input, mask = _same_shape("masked_scatter", input, mask)
    out = ops.masked_scatter(input, mask, source)
    return _MASKED_SCATTER.record((input, mask, source), out)


def _scatter_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (mask,) = node.unpack()
    g_source = None
    if node.edges[2] is not None:
        kind = node.inputs[2]
        taken = masked_select(grad, mask)
        flat = zeros((kind.numel,), grad)
        flat = view.embed(taken, flat.shape, view.SLICE, 0, 0, taken.numel(), 1)
        g_source = view.reshape(flat, kind.shape)
    return masked_fill(grad, mask, 0), None, g_source


_MASKED_SCATTER = Rule("masked_scatter", _scatter_vjp, (1,))


def masked_scatter_(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """:func:`masked_scatter` in place."""
    writable("masked_scatter_", input)
    made = masked_scatter(before("masked_scatter_", input, source), mask, source)
    return overwrite("masked_scatter_", input, made)


# --------------------------------------------------------------------- triangles and diagonals


def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    out = ops.triangle(input, diagonal, lower)
    return (_TRIL if lower else _TRIU).record((input,), out, (diagonal, lower))


def _triangle_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (_triangle(grad, *node.meta),)


_TRIL, _TRIU = Rule("tril", _triangle_vjp), Rule("triu", _triangle_vjp)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Each matrix on and below the ``diagonal``-th diagonal, zero above.

    Gradient: of ``input``.
    """
    return _triangle(input, diagonal, True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Each matrix on and above the ``diagonal``-th diagonal, zero below.

    Gradient: of ``input``.
    """
    return _triangle(input, diagonal, False)


def tril_(input: Tensor, diagonal: int = 0) -> Tensor:
    """:func:`tril` in place."""
    writable("tril_", input)
    return overwrite("tril_", input, tril(input, diagonal))


def triu_(input: Tensor, diagonal: int = 0) -> Tensor:
    """:func:`triu` in place."""
    writable("triu_", input)
    return overwrite("triu_", input, triu(input, diagonal))


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Zeros with the last dimension of ``input`` on the diagonal of two new ones.

    Gradient: of ``input``.
    """
    ndim = input.ndim + 1
    a, b = normalize_dim("diag_embed", dim1, ndim), normalize_dim("diag_embed", dim2, ndim)
    if a == b:
        raise RuntimeError(f"diag_embed: dimensions cannot be identical; got {dim1}, {dim2}")
    size = input.shape[-1] + abs(offset)
    rest = iter(input.shape[:-1])
    shape = tuple(size if d in (a, b) else next(rest) for d in range(ndim))
    return view.embed(input, shape, view.DIAGONAL, offset, a, b)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector.

    Gradient: of ``input``.
    """
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag: Supports 1D or 2D tensors; got {input.layout.describe()}")
    return view.diagonal(input, diagonal).clone()


def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    Gradient: of ``input``.
    """
    if input.layout.dtype is dt.bool_:
        raise NotImplementedError("\"trace\" not implemented for 'bool'")
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix; got {input.layout.describe()}")
    return called("trace", view.diagonal(input).sum())

"""Views: functions that show a tensor's memory in another shape, and how gradients flow back."""

from __future__ import annotations

from collections.abc import Sequence

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import zeros_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import AS_STRIDED, Rule, identity_vjp
from tilegrad.autograd.rules.elementwise import contiguous
from tilegrad.engine.array import Array, layout as make_layout
from tilegrad.engine.dispatch import Op
from tilegrad.engine.ops import elementwise as elementwise_ops, view as ops
from tilegrad.engine.shape import (
    Shape,
    as_index,
    as_indices,
    infer_size,
    normalize_dim,
    reach,
    view_strides,
)

__all__ = [
    "as_strided", "diagonal", "narrow", "permute", "reshape", "select", "squeeze", "swapaxes",
    "swapdims", "transpose", "unsqueeze",
]  # fmt: skip


def _transpose_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (transpose(grad, *node.meta),)


def _permute_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The inverse permutation."""
    (dims,) = node.meta
    inverse = [0] * len(dims)
    for position, dim in enumerate(dims):
        inverse[dim % len(dims)] = position
    return (permute(grad, inverse),)


def _reshape_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient in the input's shape."""
    return (reshape(grad, node.inputs[0].shape),)


def region(op: Op) -> Rule:
    """The rule of a view ``op`` that shows each element of a region once."""

    def vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (embed(grad, node.inputs[0].shape, rule, *node.meta),)

    rule = Rule(op, vjp)
    return rule


def _unfold_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Windows may share elements: add the windows up, one offset within the window at a time."""
    dimension, size, step = node.meta
    shape = node.inputs[0].shape
    if not shape:
        return (reshape(grad, ()),)
    axis = normalize_dim("unfold", dimension, len(shape))
    total: Tensor | None = None
    for offset in range(size):
        part = select(grad, -1, offset)
        stop = offset + (part.shape[axis] - 1) * step + 1
        piece = embed(part, shape, SLICE, axis, offset, stop, step)
        total = piece if total is None else total + piece
    if total is None:
        return (zeros_of(node.inputs[0]),)
    return (total,)


TRANSPOSE = Rule(ops.transpose, _transpose_vjp)
T = Rule(ops.t, _transpose_vjp)
PERMUTE = Rule(ops.permute, _permute_vjp)
EXPAND = Rule(ops.expand, identity_vjp, bare=True)  # the graph sums over what was repeated
VIEW = Rule(ops.view, _reshape_vjp, bare=True)
_SQUEEZE, _SQUEEZE_DIM, _SQUEEZE_DIMS = (
    Rule(ops.squeeze, _reshape_vjp, bare=True, name=name)
    for name in ("squeeze", "squeeze_dim", "squeeze_dims")
)
_UNSQUEEZE = Rule(ops.unsqueeze, _reshape_vjp, bare=True)
SELECT = region(ops.select)
SLICE = region(ops.slice_)
DIAGONAL = region(ops.diagonal)
_UNFOLD = Rule(ops.unfold, _unfold_vjp)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """``input`` with two dimensions swapped; shares its memory."""
    return TRANSPOSE.view(input, dim0, dim1)


def t(input: Tensor) -> Tensor:
    """A matrix with its dimensions swapped; shares its memory."""
    return T.view(input, 0, 1)


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """:func:`transpose`."""
    return TRANSPOSE.view(input, axis0, axis1)


def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """:func:`transpose`."""
    return TRANSPOSE.view(input, dim0, dim1)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """``input`` with its dimensions in the order ``dims``; shares its memory."""
    return PERMUTE.view(input, tuple(dims))


def expand(input: Tensor, shape: Sequence[int]) -> Tensor:
    """``input`` with size-1 dimensions repeated to ``shape`` (-1 keeps a size); shares its memory."""
    return EXPAND.view(input, tuple(shape))


def apart(x: Tensor) -> Tensor:
    """``x`` as a tensor that nothing was made of yet: derivatives by it are those where it is read from here on,
    also where another operand was made of ``x``.
    """
    return view(x, x.layout.shape)


def view(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same memory in another shape.

    Raises:
        RuntimeError: the sizes do not fit, or the strides would need a copy.
    """
    return VIEW.view(input, tuple(shape))


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """``input`` in another shape, as a view where its strides allow, else as a copy."""
    layout = input.layout
    target = infer_size("reshape", tuple(shape), layout.numel)
    if view_strides(layout.shape, layout.strides, target) is None:
        input = contiguous(input)
    return view(input, target)


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """``input`` without its size-1 dimensions, or without those of ``dim``."""
    if dim is None:
        return _SQUEEZE.view(input, None)
    if isinstance(dim, (tuple, list)):
        return _SQUEEZE_DIMS.view(input, tuple(dim))
    if dim.__class__ is not int:
        dim = as_index("squeeze", dim)
    return _SQUEEZE_DIM.view(input, (dim,))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """``input`` with a dimension of size 1 put in at ``dim``."""
    return _UNSQUEEZE.view(input, dim)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice ``index`` of dimension ``dim``, without that dimension."""
    if index.__class__ is not int:
        index = as_index("select", index, "index")
    return SELECT.view(input, dim, index)


def slice_(
    x: Tensor, dim: int, start: int | None = None, stop: int | None = None, step: int = 1
) -> Tensor:
    """``x[start:stop:step]`` along ``dim``."""
    return SLICE.view(x, dim, start, stop, step)


def _start(value: object) -> int:
    """Where :func:`narrow` begins: an int, or a tensor of one without dimensions."""
    kind = getattr(value, "layout", None)
    if kind is not None and (kind.ndim or kind.dtype.has_gradient or kind.dtype.name == "bool"):
        raise RuntimeError(f"narrow: start must be an 0-dim integral Tensor; got {kind.describe()}")
    return as_index("narrow", value, "start")


def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """``length`` slices of dimension ``dim`` from ``start`` on.

    Raises:
        IndexError: ``start`` does not lie within the dimension.
        RuntimeError: the last does not, or there is no dimension.
    """
    if not input.layout.ndim:
        raise RuntimeError("narrow: narrow() cannot be applied to a 0-dim tensor.")
    if start.__class__ is not int or start >> 63 not in (0, -1):
        start = _start(start)
    size = input.layout.shape[normalize_dim("narrow", dim, input.layout.ndim)]
    if not -size <= start <= size:
        raise IndexError(
            f"narrow: start out of range (expected to be in range of [{-size}, {size}], but got "
            f"{start})"
        )
    begin = start + size if start < 0 else start
    if length < 0 or not 0 <= begin <= size or begin + length > size:
        raise RuntimeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({size})"
        )
    return slice_(input, dim, begin, begin + length)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, as the last dimension."""
    return DIAGONAL.view(input, offset, dim1, dim2)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of ``size`` every ``step`` along ``dimension``, as a new last dimension."""
    return _UNFOLD.view(input, dimension, size, step)


def check_within(op: str, array: Array, held: int, shape: Shape, strides: Shape, start: int) -> int:
    """The bytes of memory up to the last element of ``array`` shown so, from element ``start`` of its storage on.

    Raises:
        RuntimeError: they are more than ``held``, or the numbers are no sizes, strides and start.
    """
    if len(shape) != len(strides):
        raise RuntimeError(
            f"{op}: mismatch in length of strides and shape; got {strides} for {shape}"
        )
    if start < 0:
        raise RuntimeError(f"{op}: Tensor: invalid storage offset {start}")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            f"{op}: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    if any(n < 0 for n in shape):
        raise RuntimeError(f"{op}: sizes must not be negative; got {list(shape)}")
    itemsize = array.layout.itemsize
    needed = (start + reach(shape, strides)) * itemsize if all(shape) else 0
    if needed > held:
        raise RuntimeError(
            f"{op}: setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {start}, and itemsize "
            f"{itemsize} requiring a storage size of {needed} are out of bounds for storage of size {held}"
        )
    return needed


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """The storage of ``input`` through any sizes and strides (in elements).

    Raises:
        RuntimeError: an element would lie outside the storage.
    """
    array = input
    start = array.offset if storage_offset is None else storage_offset
    shape = as_indices("as_strided", size, "size")
    strides = as_indices("as_strided", stride, "stride")
    check_within("as_strided", array, array.storage.nbytes, shape, strides, start)
    return AS_STRIDED.view(input, shape, strides, start - array.offset)


# ------------------------------------------------------------------------- gradients of regions


def embed(grad: Tensor, shape: Shape, rule: Rule, *values: object) -> Tensor:
    """Zeros of ``shape`` whose region, the view of ``rule`` by ``values``, holds ``grad``."""
    source = grad.layout
    whole = zeros_of(make_layout(shape, source.dtype, source.device))
    elementwise_ops.copy(grad, ops.of(rule.op, whole, *values))
    return _EMBED.record((grad,), whole, (rule, *values))


def _embed_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    rule, *values = node.meta
    return (rule.view(grad, *values),)


_EMBED = Rule("embed", _embed_vjp)

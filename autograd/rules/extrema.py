"""Largest and smallest elements and where they are, with gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.elementwise import apply, binary
from tilegrad.autograd.rules.reduce import (
    Dims,
    dims_of,
    only,
    sum,
    with_dims,
)
from tilegrad.autograd.rules.scatter import placed
from tilegrad.engine.array import window
from tilegrad.engine.dtype import bool_
from tilegrad.engine.ops import reduce as ops
from tilegrad.engine.ops.elementwise import OPS, contiguous
from tilegrad.engine.shape import normalize_dim

__all__ = ["amax", "amin", "aminmax", "argmax", "argmin", "max", "min"]

_MATCHES = OPS["matches"]


class max_result(NamedTuple):
    values: Tensor
    indices: Tensor


class min_result(NamedTuple):
    values: Tensor
    indices: Tensor


class aminmax_result(NamedTuple):
    min: Tensor
    max: Tensor


def _even_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """All elements that equal the extreme share its gradient evenly; all NaN that of a NaN, where
    PyTorch's ``amax`` gives NaN to the whole row and its ``max()`` does as this.
    """
    x, out = node.unpack()
    dims, keepdim = node.meta
    shape = node.inputs[0].shape
    ties = binary(_MATCHES, x.detach(), with_dims(out.detach(), shape, dims, keepdim))
    share = with_dims(grad, shape, dims, keepdim) / sum(ties, dims, True)
    return (only(ties, share),)


_AMAX, _AMIN = Rule("amax", _even_vjp, (0, -1)), Rule("amin", _even_vjp, (0, -1))
_OF_ALL = {name: Rule(f"{name[1:]}_of_all", _even_vjp, (0, -1)) for name in ("amax", "amin")}


def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest element over ``dim`` (all dimensions for ``()``); NaN if there is one.

    Gradient: of ``input``, shared evenly by equal elements; input and result are saved.
    """
    dims = dims_of("amax", dim, input.layout.ndim)
    if not input.layout.numel and len(dims) == input.layout.ndim and not (dim or dim == 0):
        _refuse_nothing("amax", input)
    made = ops.reduce("amax", input, dims, keepdim)
    if input._tracked or input._base is not None:
        return _AMAX.record((input,), made, (dims, keepdim))
    return tensor_of(made)


def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest element over ``dim`` (all dimensions for ``()``); NaN if there is one.

    Gradient: of ``input``, shared evenly by equal elements; input and result are saved.
    """
    dims = dims_of("amin", dim, input.layout.ndim)
    if not input.layout.numel and len(dims) == input.layout.ndim and not (dim or dim == 0):
        _refuse_nothing("amin", input)
    made = ops.reduce("amin", input, dims, keepdim)
    if input._tracked or input._base is not None:
        return _AMIN.record((input,), made, (dims, keepdim))
    return tensor_of(made)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> aminmax_result:
    """``(min, max)`` over ``dim``, or over all elements.

    Raises:
        IndexError, RuntimeError: there are no elements to choose from.
    """
    if dim is None and not input.layout.numel:
        raise RuntimeError(
            "aminmax: cannot compute aminmax over an empty dimension as the operation has no "
            f"identity; got {input.layout.describe()}"
        )
    dims = dims_of("aminmax", dim, input.layout.ndim)
    low = ops.reduce("amin", input, dims, keepdim)
    high = ops.reduce("amax", input, dims, keepdim)
    return aminmax_result(*_AMINMAX.record_all((input,), (low, high), (dims, keepdim)))


def _ends_vjp(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """What equals either extreme shares its gradient evenly; see :func:`_even_vjp`."""
    dims, keepdim = node.meta
    shape = node.inputs[0].shape
    x, low, high = (t.detach() for t in node.unpack())
    ends = [with_dims(end, shape, dims, keepdim) for end in (low, high)]
    shares = [
        with_dims(grad, shape, dims, keepdim) / sum(binary(_MATCHES, x, end), dims, True)
        for grad, end in zip(grads, ends, strict=True)
    ]
    return (apply(OPS["aminmax_vjp"], *shares, x, *ends),)


_AMINMAX = Rule("aminmax", _ends_vjp, (0, -1, -2))


def _first_vjp(node: Node, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient goes to the element that was chosen."""
    (where,) = node.unpack()
    dim, keepdim = node.meta
    shape = node.inputs[0].shape
    if not shape:
        return (grad,)
    grad, where = (with_dims(t, shape, (dim,), keepdim) for t in (grad, where))
    return (placed(node.inputs[0], dim, where, grad),)


_FIRST = {name: Rule(name[1:], _first_vjp, (-2,)) for name in ("amax", "amin")}


def _extreme(name: str, x: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    axis = normalize_dim(name[1:], dim, x.layout.ndim)
    if x.layout.dtype.is_complex:  # also of one element, which no kernel compares
        raise NotImplementedError(
            f"{name[1:]}: does not support complex input; got {x.layout.describe()}"
        )
    pair = ops.extreme(name, x, axis, keepdim)
    values, where = _FIRST[name].record_all((x,), pair, (axis, keepdim))
    return values, where


def max(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """``max(input)``: the largest element. ``max(input, dim)``: values and indices of the largest
    over ``dim``, the first of equal ones. ``max(input, other)``: the elementwise maximum.

    Gradient: of ``input``; shared evenly by equal elements without ``dim``, else to the one chosen.

    Raises:
        IndexError, RuntimeError: there are no elements to choose from.
    """
    if isinstance(dim, TensorBase) or other is not None:
        return pointwise.maximum(input, dim if other is None else other)
    if dim is None:
        return _of_all("amax", input)
    return max_result(*_extreme("amax", input, dim, keepdim))


def min(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """``min(input)``: the smallest element. ``min(input, dim)``: values and indices of the smallest
    over ``dim``, the first of equal ones. ``min(input, other)``: the elementwise minimum.

    Gradient: of ``input``; shared evenly by equal elements without ``dim``, else to the one chosen.

    Raises:
        IndexError, RuntimeError: there are no elements to choose from.
    """
    if isinstance(dim, TensorBase) or other is not None:
        return pointwise.minimum(input, dim if other is None else other)
    if dim is None:
        return _of_all("amin", input)
    return min_result(*_extreme("amin", input, dim, keepdim))


def _refuse_nothing(name: str, input: Tensor) -> None:
    raise RuntimeError(
        f"{name}: Expected reduction dim to be specified for input.numel() == 0. Specify the "
        f"reduction dim with the 'dim' argument; got {input.layout.describe()}"
    )


def _of_all(name: str, input: Tensor) -> Tensor:
    if not input.numel():
        _refuse_nothing(name[1:], input)
    dims = tuple(range(input.ndim))
    out = ops.reduce(name, input, dims, False)
    return _OF_ALL[name].record((input,), out, (dims, False))


def _position(name: str, input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    kind = input.layout
    if kind.dtype is bool_ or kind.dtype.is_complex:
        what = "bool" if kind.dtype is bool_ else "complex"
        raise RuntimeError(f"arg{name[1:]}: does not support {what} input; got {kind.describe()}")
    if dim is not None:
        axis = normalize_dim(f"arg{name[1:]}", dim, kind.ndim)
        return tensor_of(ops.extreme(name, input, axis, keepdim)[1])
    if not kind.numel:
        raise IndexError(
            f"arg{name[1:]}: Expected reduction dim to be specified for input.numel() == 0. Specify "
            f"the reduction dim with the 'dim' argument; got {input.layout.describe()}"
        )
    flat = window(contiguous(input), (kind.numel,), (1,))
    where = tensor_of(ops.extreme(name, flat, 0, False)[1])
    return view.view(where, [1] * kind.ndim) if keepdim else where


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """int64 position of the first largest element over ``dim``, or in the flattened input.

    Raises:
        IndexError: there are no elements to choose from.
    """
    return _position("amax", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """int64 position of the first smallest element over ``dim``, or in the flattened input.

    Raises:
        IndexError: there are no elements to choose from.
    """
    return _position("amin", input, dim, keepdim)

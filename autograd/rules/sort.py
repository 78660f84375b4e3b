"""Sorting, selection and searching; gradients go back to the places that values came from."""

from __future__ import annotations

import math
from typing import NamedTuple, overload

from tilegrad.autograd.annotations import Number, Tensor
from tilegrad.autograd.base import TensorBase, detached_view, tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import reduce, view
from tilegrad.autograd.rules.elementwise import binary
from tilegrad.autograd.rules.scatter import gather, placed
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array
from tilegrad.engine.ops import sort as ops
from tilegrad.engine.ops.elementwise import OPS, cast, full, scalar
from tilegrad.engine.shape import normalize_dim

__all__ = [
    "argsort", "bucketize", "kthvalue", "median", "mode", "msort", "nanmedian", "searchsorted",
    "sort", "topk",
]  # fmt: skip


class sort_result(NamedTuple):
    values: Tensor
    indices: Tensor


class topk_result(NamedTuple):
    values: Tensor
    indices: Tensor


class kthvalue_result(NamedTuple):
    values: Tensor
    indices: Tensor


class median_result(NamedTuple):
    values: Tensor
    indices: Tensor


class nanmedian_result(NamedTuple):
    values: Tensor
    indices: Tensor


class mode_result(NamedTuple):
    values: Tensor
    indices: Tensor


def _chosen_vjp(node: Node, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    (places,) = node.unpack()
    dim, squeezed = node.meta
    if squeezed:
        grad, places = view.unsqueeze(grad, dim), view.unsqueeze(places, dim)
    return (placed(node.inputs[0], dim, places, grad),)


_CHOSEN = {
    name: Rule(name, _chosen_vjp, (-2,))
    for name in ("kthvalue", "median", "mode", "nanmedian", "sort", "topk")
}


def _with_places(
    name: str, x: Tensor, dim: int, pair: ops.Pair, squeezed: bool = False
) -> tuple[Tensor, Tensor]:
    """The values and where they are, recorded as what ``name`` made of ``x``."""
    if squeezed:
        pair = tuple([detached_view(view.squeeze(tensor_of(t), dim)) for t in pair])  # type: ignore[assignment]
    values, places = _CHOSEN[name].record_all((x,), pair, (dim, squeezed))
    return values, places


def sort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> sort_result:
    """``(values, indices)`` in order along ``dim``. NaN counts as the largest value.

    Args:
        stable: accepted for compatibility; equal elements always keep their order.

    Gradient: of ``input``, by the indices.
    """
    axis = normalize_dim("sort", dim, input.ndim)
    pair = ops.sort(input, axis, descending)
    return sort_result(*_with_places("sort", input, axis, pair))


def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Tensor:
    """int64 indices that sort ``input`` along ``dim``, equal elements in their order; see
    :func:`sort`.
    """
    return tensor_of(ops.sort(input, dim, descending)[1])


def msort(input: Tensor) -> Tensor:
    """The values sorted along the first dimension."""
    values: Tensor = sort(input, 0)[0]
    return values


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> topk_result:
    """``(values, indices)`` of the ``k`` largest or smallest elements along ``dim``, in order.

    Of equal elements the first are taken.

    Args:
        sorted: accepted for compatibility; results are always in order.

    Gradient: of ``input``, by the indices.

    Raises:
        RuntimeError: there are fewer than ``k``, or they are bools.
    """
    axis = normalize_dim("topk", dim, input.ndim)
    if input.layout.dtype is dt.bool_:
        raise RuntimeError("topk: does not support bool dtypes")
    pair = ops.topk(input, k if input.ndim else k or 1, axis, largest)  # of no dimension: itself
    return topk_result(*_with_places("topk", input, axis, pair))


# --------------------------------------------------------------------------- one of a dimension


def _picked(name: str, x: Tensor, dim: int, keepdim: bool, pair: ops.Pair) -> tuple[Tensor, Tensor]:
    return _with_places(name, x, dim, pair, not keepdim and x.ndim > 0)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> kthvalue_result:
    """``(values, indices)`` of the ``k``-th smallest element along ``dim``, counted from 1;
    the index is of the first of equal elements.

    Gradient: of ``input``, by the indices.

    Raises:
        IndexError: the dimension is empty.
        RuntimeError: there is no k-th element.
    """
    axis = normalize_dim("kthvalue", dim, input.ndim)
    pair = ops.pick("kthvalue", input, axis, k)
    return kthvalue_result(*_picked("kthvalue", input, axis, keepdim, pair))


@overload
def median(input: Tensor) -> Tensor: ...
@overload
def median(input: Tensor, dim: int, keepdim: bool = False) -> median_result: ...
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | median_result:
    """The median, of two the lower; NaN if there is one. With ``dim``: ``(values, indices)``,
    the index of the first of equal elements.

    Gradient: of ``input``; by the indices, or without ``dim`` shared evenly by equal elements.

    Raises:
        IndexError: the dimension is empty.
    """
    if dim is None:
        return _overall("median", input)
    axis = normalize_dim("median", dim, input.ndim)
    pair = ops.pick("median", input, axis)
    return median_result(*_picked("median", input, axis, keepdim, pair))


@overload
def nanmedian(input: Tensor) -> Tensor: ...
@overload
def nanmedian(input: Tensor, dim: int, keepdim: bool = False) -> nanmedian_result: ...
def nanmedian(
    input: Tensor, dim: int | None = None, keepdim: bool = False
) -> Tensor | nanmedian_result:
    """As :func:`median`, of the elements that are not NaN."""
    if dim is None:
        return _overall("nanmedian", input)
    axis = normalize_dim("nanmedian", dim, input.ndim)
    pair = ops.pick("nanmedian", input, axis)
    return nanmedian_result(*_picked("nanmedian", input, axis, keepdim, pair))


def _overall(name: str, x: Tensor) -> Tensor:
    kind = x.layout
    if kind.numel == 0:
        if kind.dtype is dt.bool_:
            worst: Number = True
        else:
            whole = not (kind.dtype.is_floating_point or kind.dtype.is_complex)
            worst = dt.iinfo(kind.dtype).min if whole else math.nan
        made = tensor_of(full((), worst, kind.dtype, kind.device))
    else:
        flat = view.reshape(x.detach(), (-1,))
        made = detached_view(view.view(tensor_of(ops.pick(name, flat, 0)[0]), ()))
    return _OVERALL[name].record((x,), made)


def _shared_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """All elements that equal the result share its gradient evenly."""
    x, out = (t.detach() for t in node.unpack())
    same = binary(OPS["matches"], x, out)
    return (reduce.only(same, grad / reduce.sum(same)),)


_OVERALL = {name: Rule(name, _shared_vjp, (0, -1)) for name in ("median", "nanmedian")}


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> mode_result:
    """``(values, indices)`` of the most frequent element along ``dim``: of several the smallest,
    and the last place where it stands. NaN equals no other element: a row of them gives the first.

    Gradient: of ``input``, by the indices.
    """
    axis = normalize_dim("mode", dim, input.ndim)
    pair = ops.mode(input, axis)
    return mode_result(*_picked("mode", input, axis, keepdim, pair))


# -------------------------------------------------------------------------------------- searching


def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | float,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value of ``input`` would go into its ascending row, before equal elements or,
    with ``right``, behind them.

    Args:
        sorted_sequence: (N,), or (…, N) with the leading sizes of ``input``.
        sorter: indices that sort an unsorted ``sorted_sequence``.

    Returns:
        int64 (int32 with ``out_int32``), the shape of ``input``.

    Raises:
        RuntimeError: the shapes do not fit, or ``side`` contradicts ``right``.
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted: side can only be 'left' or 'right'; got {side!r}")
    if side == "left" and right:
        raise RuntimeError("searchsorted: side and right can't be set to opposites")
    if sorter is not None:
        sorted_sequence = gather(sorted_sequence.detach(), -1, sorter)
    behind = right or side == "right"
    return _searched("searchsorted", sorted_sequence, input, behind, out_int32)


def bucketize(
    input: Tensor | float, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The bucket of each value between ascending ``boundaries``, (N,); see :func:`searchsorted`."""
    if boundaries.ndim != 1:
        raise RuntimeError(f"bucketize: boundaries must be 1 dimension; got {boundaries.ndim}")
    return _searched("bucketize", boundaries, input, right, out_int32)


def _searched(
    op: str, borders: Array, values: Tensor | Number, right: bool, out_int32: bool
) -> Tensor:
    sought: Array = (
        values
        if isinstance(values, TensorBase)
        else scalar(values, dt.of_scalar(values), borders.device)
    )
    found = ops.searchsorted(op, borders, sought, right)
    return tensor_of(cast(found, dt.int32) if out_int32 else found)

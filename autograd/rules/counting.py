"""Functions that count or name distinct values: one_hot, bincount, unique. None has a gradient."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.creation import arange, zeros_like
from tilegrad.autograd.rules.index import index_copy, index_select
from tilegrad.autograd.rules.masked import nonzero
from tilegrad.autograd.rules.movement import repeat_interleave, stack
from tilegrad.autograd.rules.rearrange import movedim
from tilegrad.autograd.rules.scatter import scatter, scatter_add
from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.shape import as_index, existing_dim

__all__ = ["bincount", "tril_indices", "triu_indices", "unique", "unique_consecutive"]


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64 zeros of the shape of ``input``, then ``num_classes``, with 1 at each value's place.

    Args:
        input: int64 class numbers.
        num_classes: -1: one more than the largest.

    Raises:
        RuntimeError: a value is negative, or not below ``num_classes``.
    """
    if input.dtype is not dt.int64:
        raise RuntimeError(
            f"one_hot: is only applicable to index tensors of type int64; got {input.dtype.name}"
        )
    if input.numel() == 0 and num_classes <= 0:
        raise RuntimeError("one_hot: Can not infer total number of classes from empty tensor.")
    if input.numel():
        if input.amin().item() < 0:
            raise RuntimeError("one_hot: Class values must be non-negative.")
        most = int(input.amax().item())
        if num_classes == -1:
            num_classes = most + 1
        elif most >= num_classes:
            raise RuntimeError(
                f"one_hot: Class values must be smaller than num_classes; "
                f"got {most} and num_classes={num_classes}"
            )
    zeros = tensor_of(full((*input.shape, num_classes), 0, dt.int64, input.device))
    return scatter(zeros, -1, view.unsqueeze(input, -1), 1)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each value occurs in a vector of non-negative integers, or the sum of its weights.

    Weights that are not float32 count as float64. The result has at least ``minlength`` elements.

    Gradient: of ``weights`` (PyTorch has none).
    """
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength should be >= 0; got {minlength}")
    kind = input.layout
    if kind.dtype.is_floating_point or kind.dtype is dt.bool_:
        raise NotImplementedError(f"\"bincount\" not implemented for '{kind.dtype.name}'")
    if kind.ndim != 1 or (kind.numel and input.amin().item() < 0):
        raise RuntimeError(
            f"bincount: only supports 1-d non-negative integral inputs; got {kind.describe()}"
        )
    if weights is not None and tuple(weights.shape) != kind.shape:
        raise RuntimeError(
            f"bincount: weights should be 1-d and have the same length as input; got "
            f"{weights.layout.describe()} for {kind.describe()}"
        )
    length = max(minlength, int(input.amax().item()) + 1 if kind.numel else 0)
    index = input.to(dt.int64)
    if weights is None:
        weights = tensor_of(full(kind.shape, 1, dt.int64, input.device))
    elif weights.dtype is not dt.float32:
        weights = weights.to(dt.float64)
    counts = tensor_of(full((length,), 0, weights.dtype, input.device))
    return scatter_add(counts, 0, index, weights)


# --------------------------------------------------------------------------------------- unique


def _results(
    values: Tensor, inverse: Tensor | None, counts: Tensor | None
) -> Tensor | tuple[Tensor, ...]:
    given = tuple(t for t in (values, inverse, counts) if t is not None)
    return given if len(given) > 1 else values


def _runs(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(first row of each run of equal rows, number of each row's run, lengths of the runs)."""
    count = rows.shape[0]
    starts = tensor_of(full((count,), 1, dt.bool_, rows.device))
    if count > 1:
        starts[1:] = rows[1:].ne(rows[:-1]).any(1)
    first = nonzero(starts)[:, 0]
    number = starts.to(dt.int64).cumsum(0) - 1
    ends = tensor_of(full((first.numel(),), count, dt.int64, rows.device))
    ends[:-1] = first[1:]
    return first, number, ends - first


def _order(rows: Tensor) -> Tensor:
    """int64 permutation that sorts the rows, the first column foremost."""
    order = arange(rows.shape[0], device=rows.device)
    for column in range(rows.shape[1] - 1, -1, -1):
        keys = index_select(view.select(rows, 1, column), 0, order)
        order = index_select(order, 0, keys.argsort(stable=True))
    return order


def _rows(name: str, input: Tensor, dim: int | None) -> tuple[Tensor, int]:
    """Slices of ``dim`` as rows of a matrix; all elements as rows of one, for None."""
    if dim is None:
        return view.reshape(input, (-1, 1)), 0
    axis = existing_dim(name, dim, input.ndim)
    moved = movedim(input, axis, 0)
    return view.reshape(moved, (moved.shape[0], moved.numel() // max(moved.shape[0], 1))), axis


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements, or slices of ``dim``, in ascending order.

    Args:
        sorted: accepted for compatibility; the result is always sorted.
        return_inverse: also where each element of ``input`` went, in its shape.
        return_counts: also how often each occurs.
    """
    kind = input.layout
    if kind.dtype.is_complex:  # which have no order, whatever the dimension
        raise NotImplementedError(f"unique: not implemented for 'Complex'; got {kind.describe()}")
    with no_grad():
        rows, axis = _rows("unique", input.detach(), dim)
        order = _order(rows)
        first, number, counts = _runs(index_select(rows, 0, order))
        chosen = index_select(order, 0, first)
        inverse = None
        if return_inverse:
            inverse = index_copy(number, 0, order, number)
        return _answer(input, rows, dim, axis, chosen, inverse, counts if return_counts else None)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The first of every run of equal elements, or of equal slices of ``dim``; as :func:`unique`."""
    with no_grad():
        rows, axis = _rows("unique_consecutive", input.detach(), dim)
        first, number, counts = _runs(rows)
        inverse = number if return_inverse else None
        return _answer(input, rows, dim, axis, first, inverse, counts if return_counts else None)


def _answer(
    input: Tensor, rows: Tensor, dim: int | None, axis: int, chosen: Tensor,
    inverse: Tensor | None, counts: Tensor | None,
) -> Tensor | tuple[Tensor, ...]:  # fmt: skip
    if dim is not None:
        return _results(index_select(input.detach(), axis, chosen), inverse, counts)
    if inverse is not None:
        inverse = view.reshape(inverse, tuple(input.shape))
    return _results(view.reshape(index_select(rows, 0, chosen), (-1,)), inverse, counts)


# ------------------------------------------------------------------------ indices of triangles


def _triangle(
    op: str, row: int, col: int, offset: int, lower: bool, dtype: DType, device: object
) -> Tensor:
    row, col = as_index(op, row, "row"), as_index(op, col, "col")
    offset = as_index(op, offset, "offset")
    for name, size in (("row", row), ("col", col)):
        if size < 0:
            raise RuntimeError(f"{op}: {name} must be non-negative, got{size}")
    first, end = (max(0, -offset), row) if lower else (0, min(row, col - offset))
    rows = arange(first, max(first, end), device=device)
    begins = zeros_like(rows) if lower else (rows + offset).clamp(min=0)
    counts = (rows + (offset + 1)).clamp(max=col) if lower else col - begins
    steps = begins - (counts.cumsum(0) - counts)  # from a place in the result to its column
    columns = repeat_interleave(steps, counts)
    columns += arange(columns.shape[0], device=device)
    return stack((repeat_interleave(rows, counts), columns)).to(dtype)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType = dt.int64, device: object = None
) -> Tensor:
    """(2, count) coordinates of the lower triangle of a ``row`` by ``col`` matrix."""
    return _triangle("tril_indices", row, col, offset, True, dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType = dt.int64, device: object = None
) -> Tensor:
    """(2, count) coordinates of the upper triangle of a ``row`` by ``col`` matrix."""
    return _triangle("triu_indices", row, col, offset, False, dtype, device)

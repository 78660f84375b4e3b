"""Reductions of segments: parts of a dimension that follow each other, of lengths of their own."""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import called
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.creation import arange
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.rules.reduce import sum
from tilegrad.autograd.rules.scan import cumsum
from tilegrad.autograd.rules.scatter import scatter_reduce
from tilegrad.autograd.rules.sort import searchsorted
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.shape import normalize_dim

__all__ = ["segment_reduce"]

# how scatter_reduce calls it, and what a segment of no elements gives
_KINDS = {
    "sum": ("sum", 0.0), "mean": ("sum", math.nan), "prod": ("prod", 1.0), "max": ("amax", -math.inf),
    "min": ("amin", math.inf),
}  # fmt: skip


def _checked(
    name: str, data: Tensor, reduce: str, lengths: Tensor | None, indices: Tensor | None, offsets: Tensor | None,
    axis: int,
) -> tuple[Tensor, int]:  # fmt: skip
    """(lengths or offsets, the dimension), once all arguments fit."""
    if reduce not in _KINDS:
        raise RuntimeError(f"{name}: unsupported reduction given: {reduce}")
    if lengths is None and offsets is None:
        if indices is not None:
            raise RuntimeError(f"{name}: indices based reduction is not supported yet.")
        raise RuntimeError(f"{name}: Either lengths or offsets must be defined.")
    given = lengths if offsets is None else offsets
    assert given is not None
    if given.layout.dtype not in (dt.int32, dt.int64):
        raise RuntimeError(f"{name}: expected int32 or int64; got {given.layout.dtype.name}")
    axis = normalize_dim(name, axis, data.layout.ndim)
    if not data.layout.ndim:
        raise RuntimeError(f"{name}: expected data of at least one dimension; got none")
    if given.layout.ndim != axis + 1 or given.layout.shape[:-1] != data.layout.shape[:axis]:
        raise RuntimeError(
            f"{name}: Expected axis to be the last dimension of lengths, and those before it as in data; "
            f"got {given.layout.describe()} and axis {axis} of {data.layout.describe()}"
        )
    if not data.layout.dtype.is_floating_point:
        raise NotImplementedError(f"{name}: not implemented for '{data.layout.dtype.name}'")
    return given, axis


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Scalar | None = None,
) -> Tensor:
    """The ``reduce`` of each segment of dimension ``axis``.

    Args:
        data: floating point (…, N, …).
        reduce: ``"sum"``, ``"mean"``, ``"max"``, ``"min"`` or ``"prod"``.
        lengths: integers (…, S): how long the segments are, for each index before ``axis``.
        offsets: in place of it (…, S + 1): where they begin, and where the last one ends.
        unsafe: whether lengths are taken unseen that do not fill the dimension.
        initial: takes part in each segment; what one without elements gives.

    Gradient: of ``data``; of equal extremes each gets the same share.

    Raises:
        RuntimeError: there are neither lengths nor offsets, or they do not fit.
        NotImplementedError: the dtype is not floating point.
    """
    name = "segment_reduce"
    given, axis = _checked(name, data, reduce, lengths, indices, offsets, axis)
    with no_grad():
        counts, index = _segments(
            name, data, to_dtype(given, dt.int64), offsets is None, axis, unsafe
        )
    return _combined(name, data, reduce, counts, index, axis, initial)


def _combined(
    name: str, data: Tensor, reduce: str, counts: Tensor, index: Tensor, axis: int, initial: Scalar | None
) -> Tensor:  # fmt: skip
    """``data`` scattered to the segments that ``index`` says, ``initial`` with it."""
    how, empty = _KINDS[reduce]
    start: Scalar = empty if reduce != "mean" else 0.0
    least = None
    if initial is not None:
        least = empty = number.stored(number.required(initial, name), data.layout.dtype, name)
        start = start if how in ("amax", "amin") else least
    segments = counts.layout.shape[-1]
    shape = (
        *data.layout.shape[:axis],
        segments + 1,
        *data.layout.shape[axis + 1 :],
    )  # the last for what is in none
    base = tensor_of(full(shape, start, data.layout.dtype, data.layout.device))
    trailing = (1,) * (data.layout.ndim - axis - 1)
    index = view.expand(view.reshape(index, (*index.layout.shape, *trailing)), data.layout.shape)
    made = view.narrow(scatter_reduce(base, axis, index, data, how), axis, 0, segments)
    if reduce == "mean":
        counts = view.reshape(counts, (*counts.layout.shape, *trailing))
        some = pointwise.gt(counts, 0)
        made = where(some, made / counts.clamp_min(1), empty)
    if least is not None and how in ("amax", "amin"):  # whatever equals it has its gradient
        beyond = pointwise.lt if how == "amax" else pointwise.gt
        made = where(beyond(made, least), least, made)
    return called(name, made.clone() if made._base is not None else made)


def _segments(
    name: str, data: Tensor, given: Tensor, are_lengths: bool, axis: int, unsafe: bool
) -> tuple[Tensor, Tensor]:
    """(the segments' lengths, the segment of each position of ``axis``)."""
    size = data.layout.shape[axis]
    if are_lengths:
        counts = given
        if not unsafe and given.layout.numel:
            if given.amin().item() < 0:
                raise RuntimeError(f"{name}: lengths contains negative value!")
            if not sum(given, -1).eq(size).all().item():
                raise RuntimeError(
                    f"{name}: Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) "
                    f"when !unsafe."
                )
        ends = cumsum(given, -1)
    else:
        counts = view.slice_(given, -1, 1, None) - view.slice_(given, -1, 0, -1)
        ends = view.slice_(given, -1, 1, None)
    places = view.expand(arange(size, device=data.layout.device), (*data.layout.shape[:axis], size))
    index = searchsorted(ends, places, right=True)  # how many segments ended before
    if not are_lengths:  # what stands before the first segment is in none
        first = view.slice_(given, -1, 0, 1)
        index = where(pointwise.lt(places, first), ends.layout.shape[-1], index)
    return counts, index

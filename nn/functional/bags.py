"""Sums of rows of a table, and distances between all rows."""

from __future__ import annotations

from tilegrad.autograd.graph import called
from tilegrad.autograd.rules import pairs
from tilegrad.autograd.rules.creation import arange, zeros
from tilegrad.autograd.rules.embedding import embedding
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.rules.scatter import scatter_reduce
from tilegrad.autograd.tensor import Tensor


def _bags(
    input: Tensor, weight: Tensor, offsets: Tensor | None, include_last_offset: bool
) -> tuple[Tensor, Tensor, int]:
    """(row numbers, flat; the bag of each; how many bags)."""
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
                "fixed length sequences. However, found offsets of type Tensor"
            )
        B, L = input.shape
        places = arange(B, device=input.device).unsqueeze(1).expand(B, L).reshape(-1)
        return input.reshape(-1), places, B
    if input.ndim != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    many = offsets.shape[0] - include_last_offset
    if offsets.numel():
        first, last = int(offsets[0].item()), int(offsets[-1].item())
        if first != 0:
            raise RuntimeError(
                f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                f"position 0. However, got {first}"
            )
        if last > input.shape[0]:
            raise RuntimeError(
                f"offsets[-1] can not be greater than input's length {input.shape[0]} but got offsets[-1] "
                f"of {last}"
            )
    marks = zeros((input.shape[0] + 1,), dtype=offsets.dtype, device=input.device)
    ones = offsets.new_ones(many)
    places = marks.index_add(0, offsets[:many], ones)[:-1].cumsum(0) - 1
    return input, places.long(), many


def _check_bags(
    input: Tensor,
    weight: Tensor,
    per_sample_weights: Tensor | None,
    mode: str,
    frequencies: bool,
    sparse: bool,
) -> None:
    """Refuse arguments of :func:`embedding_bag` that do not fit each other."""
    if weight.dtype.name == "int64" and input.dtype.is_floating_point:
        raise TypeError("embedding_bag: the first argument is the input, the second the weight")
    if not weight.dtype.is_floating_point:
        raise RuntimeError(
            f"embedding_bag: Expected weight to be of floating point; got {weight.dtype.name}"
        )
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not None, then "
            f"it must have the same shape as the input ({list(input.shape)})"
        )
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum or mean or max")
    if mode == "max" and (frequencies or sparse):
        what = "scaling the gradient by the frequency" if frequencies else "sparse weights"
        raise ValueError(f"max mode does not support {what}")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
            f"mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )
    if per_sample_weights is not None and per_sample_weights.dtype is not weight.dtype:
        raise RuntimeError(
            f"embedding_bag: expected weight and per_sample_weights to have the same dtype; got "
            f"{weight.dtype.name} and {per_sample_weights.dtype.name}"
        )


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean or largest elements of the rows of ``weight`` (V, D) in each bag: (bags, D).

    Args:
        input: row numbers (B, L), a bag a row; or flat, with ``offsets`` where bags begin.
        mode: "sum", "mean" or "max". per_sample_weights: of rows, shaped like ``input``; of "sum" alone.
        include_last_offset: the last offset is the end of the last bag.
        padding_idx: a row that does not count. Others: see :func:`embedding`.

    Raises:
        ValueError, RuntimeError, NotImplementedError: arguments that do not fit each other.
    """
    _check_bags(input, weight, per_sample_weights, mode, scale_grad_by_freq, sparse)
    if include_last_offset and offsets is None:
        raise ValueError("include_last_offset must be True only with offsets")
    flat, places, many = _bags(input, weight, offsets, include_last_offset)
    rows = embedding(flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    V, D = weight.shape
    if padding_idx is None:
        counted = rows.detach().new_ones(flat.shape[0])
    else:
        counted = (flat != padding_idx % V).to(rows.dtype)
    empty = zeros((many, D), dtype=rows.dtype, device=rows.device)
    if mode == "max":
        # left out rows go to a bag of their own
        to = where(counted > 0, places, many)
        wide = cat([empty, empty.new_zeros(1, D)])
        index = to.unsqueeze(1).expand(flat.shape[0], D)
        largest = scatter_reduce(wide, 0, index, rows, "amax", include_self=False)
        return called("embedding_bag", largest[:many])
    weights = per_sample_weights
    scale = counted if weights is None else counted * weights.reshape(-1)
    if weights is not None or padding_idx is not None:
        rows = rows * scale.unsqueeze(1)
    total = empty.index_add(0, places, rows)
    if mode == "sum":
        return called("embedding_bag", total)
    counts = zeros((many,), dtype=rows.dtype, device=rows.device).index_add(0, places, counted)
    return called("embedding_bag", total / counts.clamp(min=1).unsqueeze(1))


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The ``p`` norms of the differences of all pairs of rows of (N, M), first by first row.

    Raises:
        RuntimeError: not two dimensions, not floating point, or p is negative.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.dtype.is_floating_point:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    return pairs.among(input, float(p))

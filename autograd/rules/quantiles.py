"""Quantiles, histograms, and which elements are among others; composed of sorting and counting."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.arguments import tensors_or_numbers
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules import arithmetic, pointwise, rearrange, view
from tilegrad.autograd.rules.counting import bincount
from tilegrad.autograd.rules.creation import as_tensor, linspace
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.extrema import aminmax
from tilegrad.autograd.rules.masked import masked_fill, where
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.rules.reduce import any, sum
from tilegrad.autograd.rules.scatter import gather
from tilegrad.autograd.rules.sort import searchsorted, sort
from tilegrad.autograd.rules.unary import round
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.shape import normalize_dim, numel

__all__ = ["histc", "histogram", "histogramdd", "isin", "nanquantile", "quantile"]

histogram_result = namedtuple("histogram_result", "hist bin_edges")
histogramdd_result = namedtuple("histogramdd_result", "hist bin_edges")

_MODES = ("linear", "lower", "higher", "midpoint", "nearest")


# ------------------------------------------------------------------------------------ quantiles


def quantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The value below which the share ``q`` of the elements lies, over ``dim`` or all of them.

    Args:
        q: in [0, 1]; a vector gives a dimension more, in front.
        interpolation: between neighbours: ``linear``, ``lower``, ``higher``, ``midpoint``, ``nearest``.

    Gradient: of ``input`` and ``q``.

    Raises:
        RuntimeError: ``q`` or the dtype is not as said, or there are no elements.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


def nanquantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """:func:`quantile` of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _share(name: str, input: Tensor, q: float | Tensor) -> Tensor:
    """``q`` as a tensor, checked."""
    kind = input.layout
    if not isinstance(q, TensorBase):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}: quantile() q must be in the range [0, 1] but got {q}")
        return tensor_of(full((), float(q), kind.dtype, kind.device))
    if q.layout.ndim > 1:
        raise RuntimeError(f"{name}: quantile() q must be a scalar or 1D tensor")
    if q.layout.dtype is not kind.dtype:
        raise RuntimeError(f"{name}: quantile() q tensor must be same dtype as the input tensor")
    low, high = aminmax(q.detach()) if q.layout.numel else (0, 0)
    if not (low >= 0 and high <= 1):
        raise RuntimeError(f"{name}: quantile() q values must be in the range [0, 1]")
    return q


def _quantile(
    name: str, input: Tensor, q: float | Tensor, dim: int | None, keepdim: bool, mode: str
) -> Tensor:
    kind = input.layout
    if not kind.numel:
        raise RuntimeError(f"{name}: quantile() input tensor must be non-empty")
    if not kind.dtype.is_floating_point:
        raise RuntimeError(f"{name}: quantile() input tensor must be either float or double dtype")
    if mode not in _MODES:
        raise RuntimeError(
            f"{name}: quantile() interpolation must be one of linear, lower, higher, midpoint or "
            f"nearest, but got {mode}"
        )
    share = _share(name, input, q)
    several = share.layout.ndim == 1
    if dim is None:
        shape: list[int] = [1] * kind.ndim if keepdim else []
        rows = view.reshape(input, (-1,))
    else:
        axis = normalize_dim(name, dim, kind.ndim)
        shape = list(kind.shape)
        if keepdim and shape:
            shape[axis] = 1
        elif shape:
            del shape[axis]
        rows = view.reshape(input, (1,)) if not kind.ndim else rearrange.movedim(input, axis, -1)
    ordered = sort(rows, -1)[0]
    missing = pointwise.isnan(rows.detach())
    last = rows.layout.shape[-1] - 1
    share = view.reshape(share, (-1,))
    if name == "quantile":
        ranks = masked_fill(share * last, any(missing, -1, True), last)
    else:
        count = sum(pointwise.logical_not(missing), -1, True)
        ranks = arithmetic.clamp_min(share * (count - 1), 0)
    made = _between(ordered, ranks, mode)
    if not several:
        return view.reshape(made, shape)
    made = view.permute(made, [made.ndim - 1, *range(made.ndim - 1)])
    return view.reshape(made, (share.numel(), *shape))


def _between(ordered: Tensor, ranks: Tensor, mode: str) -> Tensor:
    """The elements at these ranks of the last dimension."""
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "lower": pointwise.floor,
        "higher": pointwise.ceil,
        "nearest": round,
    }
    change = ways.get(mode)
    if change is not None:
        return gather(ordered, -1, to_dtype(change(ranks.detach()), dt.int64))
    below = pointwise.floor(ranks.detach())
    above = to_dtype(pointwise.ceil(ranks.detach()), dt.int64)
    low, high = gather(ordered, -1, to_dtype(below, dt.int64)), gather(ordered, -1, above)
    return arithmetic.lerp(low, high, 0.5 if mode == "midpoint" else ranks - below)


# ----------------------------------------------------------------------------------- histograms


_Bins: TypeAlias = "Tensor | int"  # how many, or their edges


def _ends(name: str, x: Tensor, low: Scalar, high: Scalar) -> tuple[float, float]:
    """The range of a histogram: that of the data where none is given."""
    for end in (low, high):
        number.in_64_bits(end)
        if isinstance(end, complex):
            raise RuntimeError(f"{name}: a range is of real numbers; got {end}")
    low, high = float(low), float(high)
    if low == high and x.layout.numel:
        low, high = (t.item() for t in aminmax(x.detach()))
    if low == high:
        low, high = low - (0.5 if name != "histc" else 1), high + (0.5 if name != "histc" else 1)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}: max must be larger than min")
    return low, high


def histc(input: Tensor, bins: int = 100, min: Scalar = 0, max: Scalar = 0) -> Tensor:
    """How many elements lie in each of ``bins`` equal parts of ``[min, max]``, by default of the range of
    the data; others are not counted.

    Raises:
        RuntimeError: no bins, or a range that is none.
        NotImplementedError: integers.
    """
    kind = input.layout
    if not kind.dtype.is_floating_point:
        raise NotImplementedError(f"\"histc\" not implemented for '{kind.dtype.name}'")
    if bins <= 0:
        raise RuntimeError(f"histc: bins must be > 0, but got {bins}")
    low, high = _ends("histc", input, min, max)
    with no_grad():
        flat = view.reshape(input, (-1,))
        places = pointwise.floor((flat - low) / (high - low) * bins)
        places = where(pointwise.eq(flat, high), bins - 1, places)
        inside = pointwise.logical_and(pointwise.ge(flat, low), pointwise.le(flat, high))
        places = to_dtype(where(inside, places, bins), dt.int64)
        counts = bincount(places, minlength=bins + 1)
        return to_dtype(view.narrow(counts, 0, 0, bins), kind.dtype)


def histogram(
    input: Tensor,
    bins: object = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    """``(hist, bin_edges)``: how many elements, or what weight of them, lie between edges.

    Args:
        bins: how many equal bins in ``range``, or a vector of edges.
        density: divided by the total and by each bin's width.

    Raises:
        RuntimeError: edges or weights do not fit.
        NotImplementedError: integers.
    """
    points = view.reshape(input, (-1, 1))
    if weight is not None:
        if weight.layout.shape != input.layout.shape:
            raise RuntimeError(
                f"histogram: if weight tensor is provided it should have the same shape as the input "
                f"tensor; got {list(input.shape)} and {list(weight.shape)}"
            )
        if weight.layout.dtype is not input.layout.dtype:
            raise RuntimeError(
                f"histogram: if weight tensor is provided, input tensor and weight tensor should have the "
                f"same dtype; got {input.layout.dtype.name} and {weight.layout.dtype.name}"
            )
        weight = view.reshape(weight, (-1,))
    single: Any = bins if isinstance(bins, TensorBase | int) else as_tensor(bins)
    hist, found = _histogram("histogram", points, [single], range, weight, density)
    return histogram_result(hist, found[0])


def histogramdd(
    input: Tensor,
    bins: object,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """:func:`histogram` of points: (..., D), with bins or edges for each of their coordinates.

    Raises:
        RuntimeError: edges or weights do not fit.
    """
    kind = input.layout
    if kind.ndim < 2:
        raise RuntimeError("histogramdd: input tensor should have at least 2 dimensions")
    count = kind.shape[-1]
    given = [bins] * count if isinstance(bins, int) else list(bins)  # type: ignore[call-overload]
    if len(given) != count:
        raise RuntimeError(
            f"histogramdd: expected {count} sequences of bin edges for a {count}-dimensional histogram "
            f"but got {len(given)}"
        )
    if weight is not None:
        weight = view.reshape(weight, (-1,))
    hist, found = _histogram(
        "histogramdd", view.reshape(input, (-1, count)), given, range, weight, density
    )
    return histogramdd_result(hist, tuple(found))


def _histogram(
    name: str,
    points: Tensor,
    bins: Sequence[_Bins],
    limits: Sequence[float] | None,
    weight: Tensor | None,
    density: bool,
) -> tuple[Tensor, list[Tensor]]:
    kind = points.layout
    if not kind.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{kind.dtype.name}'")
    columns = [view.select(points.detach(), 1, d) for d in range(kind.shape[1])]
    with no_grad():
        edges = [
            _edges(name, x, b, limits, d)
            for d, (x, b) in enumerate(zip(columns, bins, strict=True))
        ]
        counts = [e.numel() - 1 for e in edges]
        flat: Any = 0
        outside: Any = None
        for x, e, count in zip(columns, edges, counts, strict=True):
            place = searchsorted(e, x, right=True) - 1
            place = where(pointwise.eq(x, view.select(e, 0, -1)), count - 1, place)
            missed = pointwise.logical_or(pointwise.lt(place, 0), pointwise.ge(place, count))
            outside = missed if outside is None else pointwise.logical_or(outside, missed)
            flat = flat * count + place
        total = numel(tuple(counts))
        places = where(outside, total, flat)
        made = bincount(places, None if weight is None else weight.detach(), minlength=total + 1)
        hist = to_dtype(view.narrow(made, 0, 0, total), kind.dtype)
        hist = view.reshape(hist, counts)
        if density:
            hist = hist / sum(hist)
            for d, e in enumerate(edges):
                width = view.narrow(e, 0, 1, counts[d]) - view.narrow(e, 0, 0, counts[d])
                hist = hist / view.view(width, [-1 if k == d else 1 for k in range(len(edges))])
    return hist, edges


def _edges(
    name: str, x: Tensor, bins: Tensor | int, limits: Sequence[float] | None, place: int
) -> Tensor:
    kind = x.layout
    if isinstance(bins, TensorBase):
        if bins.layout.dtype is not kind.dtype:
            raise RuntimeError(
                f"{name}: input tensor and bins tensors should have the same dtype; got "
                f"{kind.dtype.name} and {bins.layout.dtype.name} for dimension {place}"
            )
        return bins.detach()
    if bins <= 0:
        raise RuntimeError(f"{name}: bins must be > 0, but got {bins} for dimension {place}")
    low, high = (0, 0) if limits is None else (limits[2 * place], limits[2 * place + 1])
    if limits is None and not kind.numel:
        low, high = 0.0, 1.0
    low, high = _ends(name, x, low, high)
    return linspace(low, high, bins + 1, dtype=kind.dtype, device=kind.device)


def isin(
    elements: Tensor | Scalar,
    test_elements: Tensor | Scalar,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Whether each of ``elements`` is among ``test_elements``; one of the two may be a number.

    Args:
        assume_unique: accepted for compatibility; invert: whether it is not.

    Raises:
        TypeError: neither is a tensor, or one is neither a tensor nor a number.
    """
    tensors_or_numbers("isin", elements, test_elements)
    if not isinstance(elements, TensorBase) and not isinstance(test_elements, TensorBase):
        raise TypeError("isin(): received an invalid combination of arguments; got two numbers")
    like = elements if isinstance(elements, TensorBase) else test_elements
    device = like.layout.device  # type: ignore[union-attr]
    x, y = (as_tensor(v, device=device).detach() for v in (elements, test_elements))
    for kind in (x.layout.dtype, y.layout.dtype):
        if kind is dt.bool_ or kind.is_complex:
            raise RuntimeError(f"isin: Unsupported input type encountered for isin(): {kind.name}")
    common = dt.promote_types(x.layout.dtype, y.layout.dtype)
    x, y = to_dtype(x, common), view.reshape(to_dtype(y, common), (-1,))
    if not y.layout.numel:
        found = pointwise.ne(x, x) if not common.is_floating_point else pointwise.lt(x * 0, 0)
    elif y.layout.numel < 10 * max(x.layout.numel, 1) ** 0.145:
        found = any(pointwise.eq(view.unsqueeze(x, -1), y), -1)
    else:
        ordered = sort(y)[0]
        places = arithmetic.clamp_max(searchsorted(ordered, x), y.layout.numel - 1)
        found = pointwise.eq(view.reshape(ordered[view.reshape(places, (-1,))], x.layout.shape), x)
    return pointwise.logical_not(found) if invert else found

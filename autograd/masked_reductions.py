"""``tilegrad.masked``: reductions and normalisations of the elements that a mask lets through.

A masked-out element counts as what changes nothing (0 for a sum, -inf for a maximum). A reduction of none is that
number, or NaN for means and variances. ``mask`` is True where an element counts and broadcasts to ``input``;
``dim`` is one dimension, several, or None for all, and ``dtype`` that of the result. Gradients reach the elements
that count. MaskedTensor is left out: masks are arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.rules import moments, pointwise
from tilegrad.autograd.rules.creation import full, ones
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.matrices import vector_norm
from tilegrad.autograd.rules.planar import conj
from tilegrad.autograd.rules.view import expand, reshape
from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.engine.shape import broadcast_shapes

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean",
    "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

Dims = int | Sequence[int] | None


def _dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    """Dimensions in rising order; all for None and for none, as PyTorch has it.

    Raises:
        RuntimeError: one appears twice; IndexError: there is none of that number.
    """
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    found: list[int] = []
    count = max(ndim, 1)
    for d in (dim,) if isinstance(dim, int) else dim:
        if d in found:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -count <= d < count:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-count}, {count - 1}], but got {d})"
            )
        found.append(d % count)
    return tuple(sorted(found))


def _mask(input: Tensor, mask: Tensor) -> Tensor:
    """``mask`` as truths in the shape of ``input``.

    Raises:
        IndexError: it has more dimensions, or does not broadcast.
    """
    shape = input.layout.shape
    if mask.layout.shape == shape:
        return to_dtype(mask, dt.bool_)
    if mask.layout.ndim > len(shape):
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)"
        )
    broadcast_shapes("masked", mask.layout.shape, shape)
    return to_dtype(expand(mask, shape), dt.bool_)


def _kept(input: Tensor, mask: Tensor | None, other: float) -> Tensor:
    """``input``, with ``other`` in place of what is masked out."""
    if mask is None:
        return input
    blank = full((), other, dtype=input.layout.dtype, device=input.layout.device)
    return where(_mask(input, mask), input, blank)


def _lowest(op: str, kind: DType) -> float:
    """The number that is never a maximum.

    Raises:
        NotImplementedError: the dtype has none.
    """
    if kind.is_floating_point:
        return -math.inf
    if kind.is_complex or kind is dt.bool_:
        raise NotImplementedError(f"identity of {op} on torch.{kind.name} input")
    return dt.iinfo(kind).min


def _highest(op: str, kind: DType) -> float:
    """The number that is never a minimum; as :func:`_lowest`."""
    lowest = _lowest(op, kind)
    return -lowest if kind.is_floating_point else dt.iinfo(kind).max


def _largest(op: str, input: Tensor, mask: Tensor | None) -> Tensor:
    return input if mask is None else _kept(input, mask, _lowest(op, input.layout.dtype))


def _smallest(op: str, input: Tensor, mask: Tensor | None) -> Tensor:
    return input if mask is None else _kept(input, mask, _highest(op, input.layout.dtype))


def _kind(input: Tensor, dtype: DType | None) -> DType:
    return input.layout.dtype if dtype is None else dt.dtype(dtype)


def _summed_kind(input: Tensor, dtype: DType | None) -> DType:
    if dtype is not None:
        return dt.dtype(dtype)
    kind = input.layout.dtype
    return kind if kind.has_gradient else dt.int64


# ----------------------------------------------------------------------------------- reductions


def sum(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The sum of the elements that count; 0 of none.

    Gradient: of ``input``.
    """
    kept = _kept(input, mask, 0)
    kind = _summed_kind(input, dtype)
    return kept.sum(_dims(dim, input.layout.ndim), bool(keepdim), dtype=kind)


def prod(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The product of the elements that count; 1 of none.

    Gradient: of ``input``.
    """
    kept = to_dtype(_kept(input, mask, 1), _summed_kind(input, dtype))
    for d in reversed(_dims(dim, input.layout.ndim)):
        kept = kept.prod(d, bool(keepdim))
    return kept


def cumsum(
    input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """Sums of the elements that count, up to each.

    Gradient: of ``input``.
    """
    kept, kind = _kept(input, mask, 0), _kind(input, dtype)
    return to_dtype(kept.cumsum(_dims(dim, input.layout.ndim)[0], dtype=kind), kind)


def cumprod(
    input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """Products of the elements that count, up to each.

    Gradient: of ``input``.
    """
    kept, kind = _kept(input, mask, 1), _kind(input, dtype)
    return to_dtype(kept.cumprod(_dims(dim, input.layout.ndim)[0], dtype=kind), kind)


def amax(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The largest element that counts; of none the lowest number there is.

    Gradient: of ``input``.
    """
    kept = _largest("amax", input, mask)
    made = kept.amax(_dims(dim, input.layout.ndim), bool(keepdim))
    return to_dtype(made, _kind(input, dtype))


def amin(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The smallest element that counts; of none the highest number there is.

    Gradient: of ``input``.
    """
    kept = _smallest("amin", input, mask)
    made = kept.amin(_dims(dim, input.layout.ndim), bool(keepdim))
    return to_dtype(made, _kind(input, dtype))


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False,
    dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The place of :func:`amax`, in the dtype of ``input`` unless another is named."""
    made = _largest("argmax", input, mask).argmax(dim, bool(keepdim))
    return to_dtype(made, _kind(input, dtype))


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False,
    dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The place of :func:`amin`, in the dtype of ``input`` unless another is named."""
    made = _smallest("argmin", input, mask).argmin(dim, bool(keepdim))
    return to_dtype(made, _kind(input, dtype))


def _count(input: Tensor, dims: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements count."""
    kind = input.layout
    given = (
        ones(*kind.shape, dtype=dt.bool_, device=kind.device)
        if mask is None
        else _mask(input, mask)
    )
    return given.sum(dims, keepdim)


def mean(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The mean of the elements that count; NaN of none.

    Gradient: of ``input``.

    Raises:
        ValueError: the result would be of integers.
    """
    kind = _kind(input, dtype)
    if not kind.has_gradient:
        raise ValueError(
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be "
            f"either a floating point or complex dtype. Got: torch.{kind.name}"
        )
    total = sum(input, dim, keepdim=keepdim, dtype=kind, mask=mask)
    return total / _count(input, _dims(dim, input.layout.ndim), bool(keepdim), mask)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The median of the elements that count, of an even number the lower; NaN of none.

    Gradient: of ``input``.

    Raises:
        ValueError: none count, and the result would be of integers.
    """
    real = input.layout.dtype.is_floating_point
    kept = _kept(input if real else to_dtype(input, dt.float32), mask, math.nan)
    made: Tensor = kept.nanmedian(_dims(dim, input.layout.ndim)[0], bool(keepdim))[0]
    if real:
        return made
    if bool(made.isnan().any().item()):
        raise ValueError(
            "masked median expects no fully masked out rows if dtype is not floating point"
        )
    return to_dtype(made, _kind(input, dtype))


def logsumexp(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The logarithm of the sum of exponentials of the elements that count; -inf of none.

    Gradient: of ``input``.
    """
    kind = input.layout.dtype
    lowest = -math.inf if kind.is_complex or mask is None else _lowest("logsumexp", kind)
    made = moments.logsumexp(_kept(input, mask, lowest), _dims(dim, input.layout.ndim), keepdim)
    return to_dtype(made, _kind(input, dtype))


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: DType | None = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """``log(exp(input) + exp(other))`` of what counts of each.

    Gradient: of both.
    """
    left = _largest("logaddexp", input, input_mask)
    made = pointwise.logaddexp(left, _largest("logaddexp", other, other_mask))
    return to_dtype(made, _kind(input, dtype))


def norm(
    input: Tensor, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool | None = False,
    dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The vector norm of the elements that count; of none 0, of the order -inf infinity.

    Gradient: of ``input``.
    """
    order = 2.0 if ord is None else ord
    kept = _kept(input, mask, math.inf if order == -math.inf else 0)
    dims = _dims(dim, input.layout.ndim)
    return vector_norm(kept, order, dims, bool(keepdim), dtype=_kind(input, dtype))


def _variance(
    input: Tensor, dim: Dims, unbiased: bool | None, correction: float | None, keepdim: bool | None,
    dtype: DType | None, mask: Tensor | None,
) -> Tensor:  # fmt: skip
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    less = float(correction) if correction is not None else float(unbiased in (None, True))
    kind = _kind(input, dtype)
    if dtype is None and not kind.has_gradient:
        kind = dt.float32
    wide = kind if kind.has_gradient else dt.float32
    dims = _dims(dim, input.layout.ndim)
    count = _count(input, dims, True, mask)
    rest = input - sum(input, dim, keepdim=True, dtype=kind, mask=mask) / count
    total = sum(rest * conj(rest), dim, keepdim=keepdim, dtype=wide, mask=mask)
    if not keepdim:
        count = reshape(count, total.layout.shape)
    if less:
        count = (to_dtype(count, wide.to_real()) - less).clamp(min=0)
    return to_dtype(total / count, kind)


def var(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The variance of the elements that count, over ``n - correction`` (1, or 0 with ``unbiased=False``).

    Gradient: of ``input``.
    """
    return _variance(input, dim, unbiased, correction, keepdim, dtype, mask)


def std(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The root of :func:`var`.

    Gradient: of ``input``.
    """
    return _variance(input, dim, unbiased, correction, keepdim, dtype, mask).sqrt()


# ------------------------------------------------------------------------------- normalisations


def softmax(
    input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """Softmax of the elements that count; 0 for the others, NaN where none do.

    Gradient: of ``input``.
    """
    kept, d = _largest("amax", input, mask), _dims(dim, input.layout.ndim)[0]
    return kept.softmax(d, dtype=_kind(input, dtype))


def log_softmax(
    input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The logarithm of :func:`softmax`.

    Gradient: of ``input``.
    """
    kept, d = _largest("amax", input, mask), _dims(dim, input.layout.ndim)[0]
    return kept.log_softmax(d, dtype=_kind(input, dtype))


def softmin(
    input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """:func:`softmax` of ``-input``.

    Gradient: of ``input``.
    """
    kept, d = _smallest("amin", input, mask), _dims(dim, input.layout.ndim)[0]
    return (-kept).softmax(d, dtype=_kind(input, dtype))


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """``input`` over its :func:`norm`, or ``eps`` if that is less; 0 for what does not count.

    Gradient: of ``input``.
    """
    length = norm(input, ord, dim, keepdim=True, dtype=_kind(input, dtype), mask=mask)
    return _kept(input, mask, 0) / length.clamp(min=eps)

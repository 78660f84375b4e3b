"""Tensors made of vectors and shapes: products of sets, diagonals, powers, coordinates; dtypes of results."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.arguments import tensors_or_numbers
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.graph import called
from tilegrad.autograd.rules import arithmetic, view
from tilegrad.autograd.rules.assign import copy_, fill_
from tilegrad.autograd.rules.creation import arange, as_tensor
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.index import index_select
from tilegrad.autograd.rules.masked import diag_embed
from tilegrad.autograd.rules.movement import cat, stack
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.rules.rearrange import meshgrid
from tilegrad.autograd.rules.scan import cumprod
from tilegrad.autograd.size import Size
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.dtype import DType
from tilegrad.engine.memory import refuse_beyond_memory
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.shape import as_index, numel

__all__ = [
    "block_diag", "broadcast_shapes", "can_cast", "cartesian_prod", "combinations", "diagflat",
    "get_device", "range", "result_type", "unravel_index", "vander",
]  # fmt: skip


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices (vectors as rows) along the diagonal of zeros, promoted.

    Gradient: of all.

    Raises:
        RuntimeError: one has more than two dimensions.
    """
    if not tensors:
        return tensor_of(full((1, 0), 0, dt.get_default_dtype(), as_tensor(0).layout.device))
    blocks = []
    for place, x in enumerate(tensors):
        if not isinstance(x, TensorBase):
            raise TypeError(
                f"block_diag: expected Tensor as element {place} in argument 0, but got "
                f"{type(x).__name__}"
            )
        if x.layout.ndim > 2:
            raise RuntimeError(
                f"block_diag: Input tensors must have 2 or fewer dimensions. Input {place} has "
                f"{x.layout.ndim} dimensions"
            )
        blocks.append(view.reshape(x, (1,) * (2 - x.layout.ndim) + x.layout.shape))
    kinds = [x.layout.dtype for x in blocks]
    common = kinds[0]
    for kind in kinds[1:]:
        common = dt.promote_types(common, kind)
    shape = [math.fsum(x.layout.shape[d] for x in blocks) for d in (0, 1)]
    whole = tensor_of(full((int(shape[0]), int(shape[1])), 0, common, blocks[0].layout.device))
    row = column = 0
    for x in blocks:
        height, width = x.layout.shape
        place_ = view.narrow(view.narrow(whole, 0, row, height), 1, column, width)
        copy_(place_, x)
        row, column = row + height, column + width
    return called("block_diag", whole)


def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape that tensors of these shapes have together.

    Raises:
        RuntimeError: there is none.
    """
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    found = [1] * max((len(s) for s in given), default=0)
    for place, shape in enumerate(given):
        for back in _count(1, len(shape) + 1):
            size = shape[-back]
            if size < 0:
                raise ValueError("Attempting to broadcast a dimension with negative length!")
            if size not in (1, found[-back]):
                if found[-back] != 1:
                    raise RuntimeError(
                        f"broadcast_shapes: Attempting to broadcast a dimension of length {size} at "
                        f"{-back}! Mismatching argument at index {place} had {shape}; but expected shape "
                        f"should be broadcastable to {found}"
                    )
                found[-back] = size
    return Size(found)


_count = range
_PLACE = 64  # bytes that an item of a row is worked out in


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All rows with an element of each vector, the last running fastest.

    Raises:
        RuntimeError: one is no vector, or the dtypes differ.
    """
    for x in tensors:
        if x.layout.ndim != 1:
            raise RuntimeError(f"cartesian_prod: Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    if len({x.layout.dtype for x in tensors}) > 1:
        raise RuntimeError("cartesian_prod: meshgrid expects all tensors to have the same dtype")
    grids = meshgrid(*tensors)
    return stack([view.reshape(g, (-1,)) for g in grids], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All rows of ``r`` elements of a vector, in their order, as :mod:`itertools` gives them.

    Raises:
        RuntimeError: no vector, or ``r`` is negative.
    """
    if input.layout.ndim != 1:
        raise RuntimeError(f"combinations: Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations: Expect a non-negative number, but got {r}")
    kind = input.layout
    if r == 0:
        return tensor_of(full((0,), 0, kind.dtype, kind.device))
    n = kind.shape[0]
    rows = math.comb(n + r - 1, r) if with_replacement else math.comb(n, r)
    refuse_beyond_memory("combinations", rows, r * _PLACE)
    chosen = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    found = itertools.chain.from_iterable(chosen(_count(n), r) if rows else ())
    places = as_tensor(np.fromiter(found, np.int64, rows * r), device=kind.device)
    return view.reshape(index_select(input, 0, places), (-1, r))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The elements of ``input``, in row-major order, on a diagonal of zeros.

    Gradient: of ``input``.
    """
    return diag_embed(view.reshape(input, (-1,)), offset)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector as a row, the highest first unless ``increasing``.

    Raises:
        RuntimeError: no vector, or ``N`` is negative.
    """
    if x.layout.ndim != 1:
        raise RuntimeError("vander: x must be a one-dimensional tensor.")
    count = x.layout.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError(f"vander: N must be non-negative; got {N}")
    kind = x.layout.dtype if x.layout.dtype.has_gradient else dt.int64
    x = to_dtype(x, kind)
    columns = [tensor_of(full((x.layout.shape[0], 1), 1, kind, x.layout.device))]
    if count > 1:
        wide = view.expand(view.unsqueeze(x, 1), (x.layout.shape[0], count - 1))
        columns.append(cumprod(wide, 1))
    made = cat(columns, 1) if count else view.narrow(columns[0], 1, 0, 0)
    return made if increasing else made.flip(1)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The coordinates, in a tensor of ``shape``, of places in row-major order.

    Raises:
        TypeError: ``indices`` are no integers; ValueError: a size is negative.
    """
    if indices.layout.dtype.has_gradient or indices.layout.dtype is dt.bool_:
        raise TypeError(
            f"unravel_index: expected 'indices' to be integer dtype, but got {indices.dtype.name}"
        )
    if isinstance(shape, int):
        sizes: tuple[int, ...] = (as_index("unravel_index", shape, "shape"),)
    else:
        sizes = tuple([as_index("unravel_index", n, "shape", 1) for n in shape])
    if any(n < 0 for n in sizes):
        raise ValueError(f"unravel_index: 'shape' cannot have negative values, but got {sizes}")
    indices = to_dtype(indices, dt.int64)  # sizes may be beyond the range of narrower integers
    made = []
    for axis, size in enumerate(sizes):
        step = numel(sizes[axis + 1 :])
        made.append(arithmetic.remainder(arithmetic.floor_divide(indices, step), size))
    return tuple(made)


def range(
    start: Scalar, end: Scalar, step: Scalar = 1, *, dtype: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``start``, ``start + step`` and so on, up to ``end`` with it; the default float unless given.

    Raises:
        RuntimeError: ``step`` is 0 or leads away from ``end``.
    """
    warnings.warn(
        "range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use arange, which produces values in "
        "[start, end).",
        UserWarning,
        stacklevel=2,
    )
    for given in (start, end, step):
        number.in_64_bits(given)
    if step == 0:
        raise RuntimeError("range: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("range: upper bound and lower bound inconsistent with step sign")
    kind: DType = dt.get_default_dtype() if dtype is None else dt.dtype(dtype)
    count = int((end - start) / step) + 1
    made = arange(count, dtype=dt.float64, device=device) * step + start
    made = to_dtype(made, kind)
    return made.requires_grad_() if requires_grad else made


def result_type(
    tensor: Tensor | Scalar | None = None, other: Tensor | Scalar | None = None, *,
    scalar: Scalar | None = None, scalar1: Scalar | None = None, scalar2: Scalar | None = None,
) -> DType:  # fmt: skip
    """The dtype of a result of these two, tensors or numbers.

    Raises:
        TypeError: one of them is neither.
    """
    operands = [v for v in (scalar, tensor, other, scalar1, scalar2) if v is not None]
    if len(operands) != 2:
        raise TypeError(f"result_type(): needs two operands; got {len(operands)}")
    tensors_or_numbers("result_type", *operands)
    ranks = []
    for v in operands:
        if isinstance(v, TensorBase):
            ranks.append((v.layout.dtype, 2 if v.layout.ndim else 1))
        else:
            ranks.append((dt.of_scalar(number.required(v, "result_type")), 0))
    return dt.result_type(*ranks)


def can_cast(from_: object, to: object) -> bool:
    """Whether a result of one dtype may be written to a tensor of another."""
    return dt.can_cast(dt.named(from_), dt.named(to))


def get_device(input: Tensor) -> int:
    """Number of the GPU, -1 on the CPU."""
    return input.get_device()


def fill_diagonal_(self: Tensor, fill_value: Scalar, wrap: bool = False) -> Tensor:
    """Write ``fill_value`` on the diagonal, which goes on below a tall matrix if ``wrap``.

    Raises:
        RuntimeError: fewer than two dimensions, or more than two of unequal sizes.
    """
    kind = self.layout
    if kind.ndim < 2:
        raise RuntimeError("fill_diagonal_: dimensions must larger than 1")
    if kind.ndim > 2 and len(set(kind.shape)) > 1:
        raise RuntimeError("fill_diagonal_: all dimensions of input must be of equal length")
    step = sum(kind.strides)
    count = min(kind.shape)
    fill_(view.as_strided(self, (count,), (step,)), fill_value)
    height, width = kind.shape[0], kind.shape[1]
    if wrap and kind.ndim == 2 and height > width + 1:
        for row in _count(width + 1, height, width + 1):
            fill_diagonal_(view.narrow(self, 0, row, height - row), fill_value)
    return self

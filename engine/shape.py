"""Shape rules: broadcasting, dimension arguments, merging of dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tilegrad.kernels import plans

Shape = tuple[int, ...]


def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """The common shape that all of ``shapes`` broadcast to.

    Raises:
        RuntimeError: two sizes differ and neither is 1.
    """
    if len(shapes) == 2 and shapes[0] == shapes[1]:
        return shapes[0]
    ndim = max((len(s) for s in shapes), default=0)
    result = [1] * ndim
    for shape in shapes:
        lead = ndim - len(shape)
        for axis, size in enumerate(shape):
            held = result[lead + axis]
            if held == 1:
                result[lead + axis] = size
            elif size not in (1, held):
                raise RuntimeError(
                    f"{op}: sizes must be equal or 1 at each dimension, aligned at the last; "
                    f"got {' and '.join(map(str, shapes))}"
                )
    return tuple(result)


def broadcast_strides(shape: Shape, strides: Shape, target: Shape) -> Shape:
    """Strides that walk an array of ``shape`` as if it had the shape ``target``."""
    lead = len(target) - len(shape)
    return (0,) * lead + tuple(
        0 if size == 1 and target[lead + axis] != 1 else strides[axis]
        for axis, size in enumerate(shape)
    )


def normalize_dim(op: str, dim: int, ndim: int, place: int = -1) -> int:
    """``dim`` counted from the front; ``place``: where it stands in a sequence (see :func:`as_index`).

    Raises:
        IndexError: ``dim`` is out of range (a zero-dimensional array counts as one dimension).
        TypeError: it is no int; a tensor is one here if it has no dimensions.
    """
    bound = max(ndim, 1)
    if dim.__class__ is not int:
        kind = getattr(dim, "layout", None) if place == -1 else None
        if kind is not None and (kind.ndim or kind.dtype.name == "bool"):
            raise TypeError(f"{op}: dim must be an int; got a tensor, {kind.describe()}")
        dim = as_index(op, dim, place=place)
    if not -bound <= dim < bound:
        as_index(op, dim, place=place)
        raise IndexError(
            f"{op}: Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], "
            f"but got {dim})"
        )
    return dim + bound if dim < 0 else dim


def existing_dim(op: str, dim: int, ndim: int) -> int:
    """:func:`normalize_dim` where there must be a dimension.

    Raises:
        IndexError: there is none, or ``dim`` is out of range.
    """
    if ndim == 0:
        raise IndexError(f"{op}: Dimension specified as {dim} but tensor has no dimensions")
    return normalize_dim(op, dim, ndim)


_SIZES = frozenset(
    (
        "normalized_shape",
        "output_size",
        "pad",
        "repeats",
        "shape",
        "shifts",
        "size",
        "sizes",
        "split_sizes",
    )
)  # arguments that PyTorch reads as symbolic ints


def as_index(op: str, value: object, what: str = "dim", place: int = -1) -> int:
    """``value``, an argument or the item at ``place`` of one, as an int. A bool is one behind the first
    place alone, for PyTorch looks at no other item's type.

    Raises:
        TypeError: it stands for no int (a float, a string), or is an item beyond int64.
        ValueError: it is an argument beyond int64.
        RuntimeError: it is a size, and a tensor of a truth value.
    """
    if place > 0 or not isinstance(value, bool):
        try:
            whole: int = value.__index__()  # type: ignore[attr-defined]
        except AttributeError:
            pass
        else:
            if whole is not value and what in _SIZES and hasattr(value, "layout"):
                if value.layout.dtype.name == "bool":
                    raise RuntimeError(
                        f"{op}: Expected scalar.isIntegral( false) to be true, but got false: "
                        f"'{what}' has a tensor of a truth value"
                    )
            if -(1 << 63) <= whole < 1 << 63:
                return whole
            if place < 0:
                raise ValueError(f"{op}: Overflow when unpacking long long; got {whole}")
            raise TypeError(
                f"{op}(): argument '{what}' failed to unpack the object at pos {place + 1} with error "
                f'"Overflow when unpacking long long"'
            )
    raise TypeError(f"{op}: {what} must be an int; got {type(value).__name__}")


def spread(value: Any, dims: int) -> tuple[Any, ...]:
    """``value`` for each of ``dims`` dimensions; what can be iterated over has one for each."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * dims


def as_indices(op: str, values: Iterable[object], what: str) -> Shape:
    """The items of an argument as ints: :func:`as_index` of each."""
    return tuple([as_index(op, value, what, place) for place, value in enumerate(values)])


def normalize_dims(op: str, dim: int | Sequence[int] | None, ndim: int) -> Shape:
    """Sorted dimensions, all of them for ``None`` or an empty sequence.

    Raises:
        RuntimeError: a dimension appears twice.
    """
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, (tuple, list)):
        if not dim:
            return tuple(range(ndim))
        dims = sorted(normalize_dim(op, d, ndim, place) for place, d in enumerate(dim))
    else:
        dims = [normalize_dim(op, as_index(op, dim), ndim)]
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"{op}: each dimension may appear once; got dim={dim}")
    return tuple(dims) if ndim else ()


def reduced_shape(shape: Shape, dims: Shape, keepdim: bool) -> Shape:
    """``shape`` with ``dims`` reduced to 1, or dropped."""
    if keepdim:
        return tuple(1 if a in dims else s for a, s in enumerate(shape))
    return tuple(s for a, s in enumerate(shape) if a not in dims)


def merge_dims(shape: Shape, strides: Sequence[Shape]) -> tuple[Shape, tuple[Shape, ...]]:
    """Fewest dimensions that walk the operands in the same order: size-1 dimensions dropped,
    neighbours joined where every operand's strides allow. At least one dimension remains.
    """
    sizes, steps = plans.merge_dims(shape, strides)
    return (sizes, steps) if sizes else ((1,), tuple((1,) for _ in strides))


def numel(shape: Shape) -> int:
    """Number of elements."""
    count = 1
    for size in shape:
        count *= size
    return count


def dense_strides(shape: Shape, strides: Shape) -> Shape:
    """These strides if they leave no gaps, else gapless ones in their order of dimensions."""
    if 0 in shape or permutation_of(shape, strides) is not None:
        return strides
    return ordered_strides(shape, [strides])


def ordered_strides(shape: Shape, several: Sequence[Shape]) -> Shape:
    """Gapless strides in the order of dimensions that operands with these strides have, the first of
    them deciding where it can (PyTorch's rule: what is broadcast does not count).
    """
    order = list(range(len(shape) - 1, -1, -1))  # the innermost first
    for end in range(1, len(order)):
        place = end
        for before in range(end - 1, -1, -1):
            known = _compared(shape, several, order[before], order[place])
            if known > 0:
                order[before], order[place] = order[place], order[before]
                place = before
            elif known < 0:
                break
    made, step = [1] * len(shape), 1
    for axis in order:
        made[axis] = step
        step *= max(shape[axis], 1)
    return tuple(made)


def _compared(shape: Shape, several: Sequence[Shape], one: int, other: int) -> int:
    """-1 where dimension ``one`` is the inner one of two, 1 where ``other`` is, 0 for no matter."""
    for strides in several:
        if strides[one] and strides[other]:
            if strides[one] != strides[other]:
                return -1 if strides[one] < strides[other] else 1
            if shape[one] > shape[other]:
                return 1
    return 0


def reach(shape: Shape, strides: Shape) -> int:
    """Elements from the first to the last, both included; none where there are none."""
    if 0 in shape:
        return 0
    return 1 + sum([(n - 1) * s for n, s in zip(shape, strides, strict=True)])


def permutation_of(shape: Shape, strides: Shape) -> Shape | None:
    """The order of dimensions, largest stride first, if this is a gapless permutation."""
    order = sorted(range(len(shape)), key=lambda a: (-strides[a], a))
    step = 1
    for axis in reversed(order):
        if shape[axis] != 1:
            if strides[axis] != step:
                return None
            step *= shape[axis]
    return tuple(order)


def infer_size(op: str, shape: Sequence[int], count: int) -> Shape:
    """``shape`` with its one -1 filled in so that it holds ``count`` elements.

    Raises:
        RuntimeError: no size fits.
    """
    known, unknown = 1, None
    for axis, size in enumerate(shape):
        if size == -1:
            if unknown is not None:
                raise RuntimeError(f"{op}: only one dimension can be inferred; got {tuple(shape)}")
            unknown = axis
            if size.__class__ is not int:
                as_index(op, size, "shape", axis)
        elif size < 0:
            as_index(op, size, "shape", axis)
            raise RuntimeError(f"{op}: invalid shape dimension {size}; got {tuple(shape)}")
        else:
            known *= size
    if known.__class__ is not int:  # nor is one of the sizes
        shape = as_indices(op, shape, "shape")
    result = list(shape)
    if known >> 63:
        as_indices(op, shape, "shape")
    if unknown is not None:
        if known == 0 or count % known:
            raise RuntimeError(
                f"{op}: shape '{list(shape)}' is invalid for input of size {count}"
                + (" because the unspecified dimension could be any value" if known == 0 else "")
            )
        result[unknown] = count // known
    elif known != count:
        raise RuntimeError(f"{op}: shape '{list(shape)}' is invalid for input of size {count}")
    return tuple(result)


def view_strides(shape: Shape, strides: Shape, target: Shape) -> Shape | None:
    """Strides that show the same memory in the shape ``target``, or None if a copy is needed."""
    if numel(shape) == 0:
        step, result = 1, []
        for size in reversed(target):
            result.append(step)
            step *= max(size, 1)
        return tuple(reversed(result))
    sizes, (steps,) = merge_dims(shape, (strides,))
    result = []
    axis = len(sizes) - 1
    left, step = sizes[axis], steps[axis]
    for size in reversed(target):
        while left == 1 and size != 1 and axis > 0:
            axis -= 1
            left, step = sizes[axis], steps[axis]
        if left % size:
            return None
        result.append(step)
        step *= size
        left //= size
    return tuple(reversed(result))

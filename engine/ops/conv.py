"""Convolution, and its two gradients, as ops on arrays.

The three are the partial maps of one trilinear form: with ``x`` of shape ``(N, C, *size)``, ``weight``
of ``(K, C / groups, *kernel)`` and ``y`` of ``(N, K, *out)``, ``conv`` maps ``x, weight`` to ``y``,
``conv_input`` maps ``y, weight`` to ``x`` and ``conv_weight`` maps ``x, y`` to ``weight``. So each
one's gradients are the other two. Every spatial size is explicit, one to three of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tilegrad.engine.array import Layout, layout
from tilegrad.engine.dispatch import Plan, composed, kernel
from tilegrad.engine.ops.elementwise import full, row_major
from tilegrad.engine.shape import Shape, as_index, as_indices
from tilegrad.kernels.window import Window

Values = tuple[Shape, Shape, Shape, Shape, int]
_GEOMETRY = ("stride", "before", "dilation", "groups")


def make_window(
    size: Shape, kernel_size: Shape, out: Shape, stride: Shape, before: Shape, dilation: Shape
) -> Window:
    """The window of one to three dimensions, as one of three."""
    lead = 3 - len(size)
    fills = (1, 1, 1, 1, 0, 1)
    # a step that no second window takes: any does, and a huge one makes huge tables
    stride = tuple([min(s, n) if o == 1 else s for s, n, o in zip(stride, size, out, strict=True)])
    given = (size, kernel_size, out, stride, before, dilation)
    return Window._make((fill,) * lead + sizes for fill, sizes in zip(fills, given, strict=True))


def per_dimension(op: str, name: str, value: int | Sequence[int], count: int) -> Shape:
    """``value`` for each of ``count`` spatial dimensions.

    Raises:
        TypeError: what is no integer.
        RuntimeError: a sequence of another length.
    """
    if not isinstance(value, (tuple, list)):
        return (as_index(op, value, name),) * count
    values = as_indices(op, value, name)
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise RuntimeError(f"{op}: {name} must be one int or {count} ints; got {values}")
    return values


def refuse_thin(op: str, weight: Layout) -> None:
    """RuntimeError for a weight without spatial dimensions."""
    if weight.ndim < 3:
        raise RuntimeError(
            f"{op}: weight should have at least three dimensions; got {weight.describe()}"
        )


def resolve(
    op: str,
    x: Layout,
    weight: Layout,
    bias: Layout | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int] | str,
    dilation: int | Sequence[int],
    groups: int,
) -> Values:
    """The metadata of ``conv``, in order, for these arguments; ``x`` has a batch dimension.

    Raises:
        RuntimeError: shapes that do not go together, or sizes out of range.
    """
    count = x.ndim - 2
    refuse_thin(op, weight)
    steps = per_dimension(op, "stride", stride, count)
    spread = per_dimension(op, "dilation", dilation, count)
    check_steps(op, steps, spread)
    check_channels(op, x, weight, groups, x.shape[1] if groups > 0 else 0, weight.shape[1] * groups)
    if groups > 0 and weight.shape[0] % groups:
        raise RuntimeError(
            f"{op}: expected weight to be divisible by groups={groups} at dimension 0; "
            f"got {weight.describe()}"
        )
    before, after = _padding(op, padding, weight.shape[2:], steps, spread)
    out = []
    for axis in range(count):
        padded = x.shape[2 + axis] + before[axis] + after[axis]
        reach = spread[axis] * (weight.shape[2 + axis] - 1) + 1
        if padded < reach or weight.shape[2 + axis] == 0:
            raise RuntimeError(
                f"{op}: Calculated padded input size per channel: {padded} at dimension {2 + axis}."
                f" Kernel size: {reach}. Kernel size can't be greater than actual input size"
            )
        out.append((padded - reach) // steps[axis] + 1)
    check_bias(op, bias, weight.shape[0])
    return tuple(out), steps, before, spread, groups


# the checks of arguments that were seen before are a look-up; 1.0 is not taken for 1
resolved = lru_cache(maxsize=4096, typed=True)(resolve)


def resolve_transpose(
    op: str,
    y: Layout,
    weight: Layout,
    bias: Layout | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    output_padding: int | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
) -> Values:
    """The metadata of ``conv_input``, in order, for a transposed convolution; ``y`` has a batch dimension.

    Raises:
        RuntimeError: shapes that do not go together, or sizes out of range.
    """
    count = y.ndim - 2
    refuse_thin(op, weight)
    steps = per_dimension(op, "stride", stride, count)
    before = per_dimension(op, "padding", padding, count)
    extra = per_dimension(op, "output_padding", output_padding, count)
    spread = per_dimension(op, "dilation", dilation, count)
    check_steps(op, steps, spread)
    check_channels(op, y, weight, groups, y.shape[1], weight.shape[0])
    if 0 in weight.shape[1:]:
        raise RuntimeError(f"{op}: non-empty weight tensor expected; got {weight.describe()}")
    size = []
    for axis in range(count):
        if before[axis] < 0:
            raise RuntimeError(f"{op}: negative padding is not supported; got padding={before}")
        if not 0 <= extra[axis] < max(steps[axis], spread[axis]):
            raise RuntimeError(
                f"{op}: output padding must be smaller than either stride or dilation; got "
                f"output_padding={extra}, stride={steps}, dilation={spread}"
            )
        reach = spread[axis] * (weight.shape[2 + axis] - 1) + 1
        made = (y.shape[2 + axis] - 1) * steps[axis] - 2 * before[axis] + reach + extra[axis]
        if made < 0 or (made == 0 and y.shape[0]):
            raise RuntimeError(
                f"{op}: Given input size per channel: {y.shape[2:]}. Calculated output size per "
                f"channel: {made} at dimension {2 + axis}. Output size is too small"
            )
        size.append(made)
    check_bias(op, bias, weight.shape[1] * groups)
    return tuple(size), steps, before, spread, groups


resolved_transpose = lru_cache(maxsize=4096, typed=True)(resolve_transpose)


def check_bias(op: str, bias: Layout | None, channels: int) -> None:
    """Raise RuntimeError unless there is a number for each channel, or no bias."""
    if bias is not None and bias.shape != (channels,):
        raise RuntimeError(
            f"{op}: expected bias to be 1-dimensional with {channels} elements; "
            f"got {bias.describe()}"
        )


def check_steps(op: str, stride: Shape, dilation: Shape) -> None:
    """Raise RuntimeError unless all are positive."""
    if any(s <= 0 for s in stride):
        raise RuntimeError(f"{op}: non-positive stride is not supported; got stride={stride}")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"{op}: dilation should be greater than zero; got dilation={dilation}")


def check_channels(
    op: str, x: Layout, weight: Layout, groups: int, have: int, expected: int
) -> None:
    """Raise RuntimeError unless ranks, channels and groups fit each other, and there are positions."""
    if groups <= 0:
        raise RuntimeError(f"{op}: non-positive groups is not supported; got groups={groups}")
    if weight.ndim != x.ndim:
        raise RuntimeError(f"{op}: expected {x.ndim}-dimensional weight; got {weight.describe()}")
    if have != expected or have % groups:
        raise RuntimeError(
            f"{op}: Given groups={groups}, weight of size {list(weight.shape)}, expected input "
            f"{list(x.shape)} to have {expected} channels, but got {have} channels instead"
        )
    if weight.shape[0] < groups:
        raise RuntimeError(
            f"{op}: Given groups={groups}, expected weight to be at least {groups} at dimension 0, "
            f"but got weight of size {list(weight.shape)} instead"
        )
    if 0 in x.shape[2:] and x.shape[0] and x.shape[1]:
        raise RuntimeError(
            f"{op}: Only zero batch or zero channel inputs are supported, but got input shape: "
            f"{list(x.shape)}"
        )


def _padding(
    op: str,
    padding: int | Sequence[int] | str,
    kernel_size: Shape,
    stride: Shape,
    dilation: Shape,
) -> tuple[Shape, Shape]:
    """(before, after) per dimension; "same" puts the odd one after."""
    count = len(kernel_size)
    if padding == "valid":
        return (0,) * count, (0,) * count
    if padding == "same":
        if any(s != 1 for s in stride):
            raise RuntimeError(f"{op}: padding='same' is not supported for strided convolutions")
        total = [d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True)]
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    if isinstance(padding, str):
        raise RuntimeError(
            f"{op}: Invalid padding string: {padding!r}, should be one of 'valid', 'same'"
        )
    sizes = per_dimension(op, "padding", padding, count)
    if any(p < 0 for p in sizes):
        raise RuntimeError(f"{op}: negative padding is not supported; got padding={sizes}")
    return sizes, sizes


def check_one_dtype(name: str, layouts: Sequence[Layout]) -> None:
    """Raise RuntimeError unless all arguments have one dtype."""
    first = layouts[0].dtype
    if any(x.dtype is not first for x in layouts):
        raise RuntimeError(
            f"{name}: all arguments must have one dtype; "
            f"got {' and '.join(x.describe() for x in layouts)}"
        )


def _check(name: str, layouts: tuple[Layout, ...]) -> None:
    check_one_dtype(name, layouts)
    first = layouts[0].dtype
    if not first.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{first.name}'")


def _plan_conv(
    x: Layout,
    weight: Layout,
    bias: Layout | None = None,
    *,
    out: Shape,
    stride: Shape,
    before: Shape,
    dilation: Shape,
    groups: int,
) -> Plan:
    _check("conv", (x, weight) if bias is None else (x, weight, bias))
    window = make_window(x.shape[2:], weight.shape[2:], out, stride, before, dilation)
    made = layout((x.shape[0], weight.shape[0], *out), x.dtype, x.device)
    if made.numel == 0:
        return Plan((made,), nothing)
    launch, scratch = kernel("conv", x.device).conv(
        x.dtype.name, x.shape[0], groups, weight.shape[1], weight.shape[0] // groups, window,
        bias is not None,
    )  # fmt: skip
    return Plan((made,), launch, scratch)


def _plan_input(
    y: Layout,
    weight: Layout,
    *,
    size: Shape,
    stride: Shape,
    before: Shape,
    dilation: Shape,
    groups: int,
) -> Plan:
    _check("conv_input", (y, weight))
    window = make_window(size, weight.shape[2:], y.shape[2:], stride, before, dilation)
    made = layout((y.shape[0], weight.shape[1] * groups, *size), y.dtype, y.device)
    if made.numel == 0:
        return Plan((made,), nothing)
    launch, scratch = kernel("conv", y.device).conv_input(
        y.dtype.name, y.shape[0], groups, weight.shape[1], weight.shape[0] // groups, window
    )
    return Plan((made,), launch, scratch)


def _plan_weight(
    x: Layout,
    y: Layout,
    *,
    kernel_size: Shape,
    stride: Shape,
    before: Shape,
    dilation: Shape,
    groups: int,
) -> Plan:
    _check("conv_weight", (x, y))
    window = make_window(x.shape[2:], kernel_size, y.shape[2:], stride, before, dilation)
    inputs, outputs = x.shape[1] // groups, y.shape[1] // groups
    made = layout((y.shape[1], inputs, *kernel_size), x.dtype, x.device)
    if made.numel == 0:
        return Plan((made,), nothing)
    if not (x.numel and y.numel):  # a sum over samples and positions, of which there are none
        return composed(lambda arrays, params: full(made.shape, 0, made.dtype, made.device))
    launch, scratch = kernel("conv", x.device).conv_weight(
        x.dtype.name, x.shape[0], groups, inputs, outputs, window
    )
    return Plan((made,), launch, scratch)


def nothing(*addresses: int) -> None:
    """The result is empty."""


conv = row_major("conv", _plan_conv, ("out", *_GEOMETRY))
conv_input = row_major("conv_input", _plan_input, ("size", *_GEOMETRY))
conv_weight = row_major("conv_weight", _plan_weight, ("kernel_size", *_GEOMETRY))

"""Functions that move elements: pixels and channels shuffled, patches taken apart and put together."""

from __future__ import annotations

from collections.abc import Sequence

from tilegrad.autograd.graph import called
from tilegrad.autograd.rules.conv import conv1d
from tilegrad.autograd.rules.creation import arange, zeros
from tilegrad.autograd.rules.formats import copied
from tilegrad.autograd.rules.movement import pad
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.formats import contiguous_format
from tilegrad.engine.shape import as_indices

Pair = int | Sequence[int]


def _moved(op: str, parts: Tensor, *shape: int) -> Tensor:
    """What ``op`` makes: the elements of ``parts`` copied, in another shape."""
    return called(op, copied(parts, contiguous_format).reshape(*shape))


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C r^2, H, W) as (…, C, H r, W r) (Shi et al. 2016).

    Raises:
        RuntimeError: fewer than three dimensions, or channels that r^2 does not divide.
    """
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, C, H, W = input.shape
    if C % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but input.size(-3)={C} is not divisible by {r * r}"
        )
    n = len(lead)
    split = input.reshape(*lead, C // (r * r), r, r, H, W)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return _moved("pixel_shuffle", split.permute(*order), *lead, C // (r * r), H * r, W * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of :func:`pixel_shuffle`: (…, C, H r, W r) as (…, C r^2, H, W).

    Raises:
        RuntimeError: fewer than three dimensions, or sizes that r does not divide.
    """
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, C, H, W = input.shape
    for name, at, size in (("height", -2, H), ("width", -1, W)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({at})={size} is not divisible by {r}"
            )
    n = len(lead)
    split = input.reshape(*lead, C, H // r, r, W // r, r)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return _moved("pixel_unshuffle", split.permute(*order), *lead, C * r * r, H // r, W // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, …), ``groups`` rows of them read column by column.

    Raises:
        RuntimeError: too few dimensions, or channels that ``groups`` does not divide.
    """
    if input.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    N, C, *rest = input.shape
    if C % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {C} channels and {groups} groups."
        )
    split = input.reshape(N, groups, C // groups, *rest)
    return _moved("channel_shuffle", split.transpose(1, 2), N, C, *rest)


native_channel_shuffle = channel_shuffle


def _two(op: str, name: str, value: Pair) -> tuple[int, int]:
    items = value if isinstance(value, (tuple, list)) else (value,)
    found = as_indices(op, items, name)
    if len(found) == 1:
        found = found * 2
    if len(found) != 2:
        raise RuntimeError(f"{op}: {name} must be one int or two ints; got {value}")
    return found[0], found[1]


def _blocks(
    op: str, size: tuple[int, int], kernel: tuple[int, int], dilation: tuple[int, int],
    padding: tuple[int, int], stride: tuple[int, int],
) -> tuple[int, int]:  # fmt: skip
    """How many patches there are down and across."""
    for name, pair, least in (("kernel size", kernel, 1), ("dilation", dilation, 1), ("stride", stride, 1), ("padding", padding, 0)):  # fmt: skip
        if min(pair) < least:
            what = "greater than zero" if least else "non-negative"
            raise RuntimeError(f"{op}: {name} should be {what}, but got {pair}")
    found = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    )
    if min(found) < 1:
        raise RuntimeError(
            f"{op}: Given input with spatial size {size}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, stride={stride}, calculated shape of the array of sliding blocks as "
            f"{found}, but its components must be at least one."
        )
    return found[0], found[1]


def _rows(kernel: int, dilation: int, stride: int, blocks: int, like: Tensor) -> Tensor:
    """For every offset in a patch, then every patch, its place in the padded input."""
    offsets = arange(kernel, device=like.device) * dilation
    starts = arange(blocks, device=like.device) * stride
    return (offsets.unsqueeze(1) + starts).reshape(-1)


def unfold(
    input: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Tensor:
    """The patches of (N, C, H, W) as columns: (N, C k_h k_w, patches); without N likewise.

    Raises:
        RuntimeError: sizes out of range, or no patch at all.
    """
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            f"unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other "
            f"non-zero dimensions for input, but got: {list(input.shape)}"
        )
    k, d = _two("unfold", "kernel_size", kernel_size), _two("unfold", "dilation", dilation)
    p, s = _two("unfold", "padding", padding), _two("unfold", "stride", stride)
    x = input if input.ndim == 4 else input.unsqueeze(0)
    N, C, H, W = x.shape
    down, across = _blocks("unfold", (H, W), k, d, p, s)
    padded = pad(x, (p[1], p[1], p[0], p[0])) if max(p) else x
    tall = padded.index_select(2, _rows(k[0], d[0], s[0], down, x))
    both = tall.index_select(3, _rows(k[1], d[1], s[1], across, x))
    parts = both.reshape(N, C, k[0], down, k[1], across).permute(0, 1, 2, 4, 3, 5)
    out = parts.reshape(N, C * k[0] * k[1], down * across)
    return called("im2col", out if input.ndim == 4 else out.squeeze(0))


def fold(
    input: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0,
    stride: Pair = 1,
) -> Tensor:  # fmt: skip
    """The adjoint of :func:`unfold`: patches added up where they lie, (N, C, *output_size).

    Raises:
        RuntimeError: sizes out of range or that do not fit each other.
    """
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            f"fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(input.shape)}"
        )
    size = _two("fold", "output_size", output_size)
    k, d = _two("fold", "kernel_size", kernel_size), _two("fold", "dilation", dilation)
    p, s = _two("fold", "padding", padding), _two("fold", "stride", stride)
    x = input if input.ndim == 3 else input.unsqueeze(0)
    N, rows, blocks = x.shape
    if min(k) < 1:
        raise RuntimeError(f"fold: kernel size should be greater than zero, but got {k}")
    if rows % (k[0] * k[1]):
        raise RuntimeError(
            f"fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={rows} and kernel_size={k}."
        )
    down, across = _blocks("fold", size, k, d, p, s)
    if blocks != down * across:
        raise RuntimeError(
            f"fold: Given output_size={size}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{down} * {across} = {down * across}, but got input.size(2)={blocks}."
        )
    C, H, W = rows // (k[0] * k[1]), size[0] + 2 * p[0], size[1] + 2 * p[1]
    parts = x.reshape(N, C, k[0], k[1], down, across).permute(0, 1, 2, 4, 3, 5)
    parts = parts.reshape(N, C, k[0] * down, k[1] * across)
    how = {"dtype": x.dtype, "device": x.device}
    wide = zeros((N, C, k[0] * down, W), **how)  # type: ignore[arg-type]
    wide = wide.index_add(3, _rows(k[1], d[1], s[1], across, x), parts)
    whole = zeros((N, C, H, W), **how)  # type: ignore[arg-type]
    whole = whole.index_add(2, _rows(k[0], d[0], s[0], down, x), wide)
    out = whole[:, :, p[0] : H - p[0], p[1] : W - p[1]]
    out = out.contiguous() if max(p) else out
    return called("col2im", out if input.ndim == 3 else out.squeeze(0))


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """A convolution of (time, batch, channels) with weight (taps, channels, outputs) and bias (outputs,).

    Raises:
        RuntimeError: other numbers of dimensions.
    """
    if input.ndim != 3 or weight.ndim != 3 or bias.ndim != 1:
        raise RuntimeError(
            f"conv_tbc: Input and weight must have 3 dims: time, batch, in_channel, and bias 1; got "
            f"{input.ndim}, {weight.ndim} and {bias.ndim}"
        )
    found = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return found.permute(2, 0, 1).contiguous()

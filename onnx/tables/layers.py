"""Products, convolutions and losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.onnx.tables.call import Call, ints, says
from tilegrad.onnx.tables.shapes import edges


@says("Gemm")
def _gemm(call: Call, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.t() if call.get("transA", 0) else a
    b = b.t() if call.get("transB", 0) else b
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    made = tilegrad.matmul(a, b)
    if alpha != 1:
        made = (made * alpha).to(a.dtype)
    if c is None:
        return made
    return made + (c if beta == 1 else (c * beta).to(c.dtype))


@says("Einsum")
def _einsum(call: Call, *inputs: Tensor) -> Tensor:
    return tilegrad.einsum(call.get("equation").replace(" ", ""), *inputs)


# ----------------------------------------------------------------------------------- convolutions


def same_pads(
    sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int], lower: bool
) -> list[int]:
    """The padding, before all and then after all, for as many positions as strides ask for."""
    before, after = [], []
    for n, r, s in zip(sizes, reach, strides, strict=True):
        total = max((-(-n // s) - 1) * s + r - n, 0)
        small = total // 2
        before.append(total - small if lower else small)
        after.append(small if lower else total - small)
    return [*before, *after]


def window_of(
    call: Call, x: Tensor, kernel: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """(strides, dilations, pads) of a window over ``x``."""
    count = len(kernel)
    strides = list(call.get("strides", [1] * count))
    dilations = list(call.get("dilations", [1] * count))
    pads = list(call.get("pads", [0] * 2 * count))
    auto = call.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        pads = same_pads(x.shape[2:], reach, strides, auto == "SAME_LOWER")
    elif auto == "VALID":
        pads = [0] * 2 * count
    return strides, dilations, pads


def padded(x: Tensor, pads: Sequence[int], value: Any = 0.0) -> Tensor:
    """Spatial dimensions padded with a number."""
    half = len(pads) // 2
    for axis in range(half):
        if pads[axis] or pads[half + axis]:
            x = edges(x, 2 + axis, pads[axis], pads[half + axis], "constant", value)
    return x


_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def convolved(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution by the node's attributes."""
    strides, dilations, pads = window_of(call, x, list(weight.shape[2:]))
    half = len(pads) // 2
    padding: Any = pads[:half]
    if pads[:half] != pads[half:]:
        x, padding = padded(x, pads), 0
    count = x.ndim - 2
    if count not in _CONV:
        raise call.refuse(f"{count} spatial dimensions")
    return _CONV[count](x, weight, bias, strides, padding, dilations, call.get("group", 1))


@says("Conv")
def _conv(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return convolved(call, x, weight, bias)


@says("ConvTranspose")
def _conv_transpose(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = x.ndim - 2
    kernel = list(weight.shape[2:])
    strides = list(call.get("strides", [1] * count))
    dilations = list(call.get("dilations", [1] * count))
    extra = list(call.get("output_padding", [0] * count))
    pads = list(call.get("pads", [0] * 2 * count))
    shape, auto = call.get("output_shape"), call.get("auto_pad", "NOTSET")
    if shape is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        shape = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if shape is not None:
        shape = shape[-count:]
        for axis in range(count):
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            total = (x.shape[2 + axis] - 1) * strides[axis] + extra[axis] + reach - shape[axis]
            small = total // 2
            upper = auto == "SAME_UPPER"
            pads[axis], pads[count + axis] = (
                (small, total - small) if upper else (total - small, small)
            )
    made = _TRANSPOSED[count](x, weight, bias, strides, 0, 0, call.get("group", 1), dilations)
    cut = [*[-p for p in pads[:count]], *[e - p for e, p in zip(extra, pads[count:], strict=True)]]
    if any(c > 0 for c in cut) and bias is not None:  # beyond the product there is the bias alone
        wide = bias.reshape(1, -1, *[1] * count)
        return padded(made - wide, cut) + wide
    return padded(made, cut)


@says("DeformConv")
def _deform(
    call: Call,
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Each tap of the window reads beside its place, between four elements."""
    kh, kw = weight.shape[2:]
    (sh, sw), (dh, dw), pads = window_of(call, x, [kh, kw])
    groups, shifts = call.get("group", 1), call.get("offset_group", 1)
    N, C = x.shape[:2]
    OH, OW = offset.shape[2:]
    off = offset.reshape(N, shifts, kh * kw, 2, OH, OW)
    masks = None if mask is None else mask.reshape(N, shifts, kh * kw, 1, OH, OW)
    rows = tilegrad.arange(OH).reshape(-1, 1) * sh - pads[0]
    columns = tilegrad.arange(OW).reshape(1, -1) * sw - pads[1]
    taps = []
    for k in range(kh * kw):
        i, j = divmod(k, kw)
        y = off[:, :, k, 0] + (rows + i * dh)
        z = off[:, :, k, 1] + (columns + j * dw)
        found = between(x.reshape(N, shifts, C // shifts, *x.shape[2:]), y, z)
        taps.append(found if masks is None else found * masks[:, :, k])
    stacked = tilegrad.stack(taps, 3).reshape(N, C, kh * kw, OH, OW)
    parts = stacked.reshape(N, groups, C // groups * kh * kw, OH * OW)
    made = tilegrad.matmul(weight.reshape(groups, weight.shape[0] // groups, -1), parts)
    made = made.reshape(N, weight.shape[0], OH, OW)
    return made if bias is None else made + bias.reshape(1, -1, 1, 1)


def between(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """``x`` (N, G, C, H, W) between its elements at (N, G, h, w); zero outside: (N, G, C, h, w)."""
    N, G, C, H, W = x.shape
    flat = x.reshape(N, G, C, H * W)
    total: Any = None
    low_y, low_z = y.floor(), z.floor()
    for a in (0, 1):
        for b in (0, 1):
            at_y, at_z = low_y + a, low_z + b
            share = (1 - (y - at_y).abs()) * (1 - (z - at_z).abs())
            inside = (at_y >= 0) & (at_y < H) & (at_z >= 0) & (at_z < W)
            place = (at_y.clamp(0, H - 1) * W + at_z.clamp(0, W - 1)).to(tilegrad.int64)
            index = place.reshape(N, G, 1, -1).expand(N, G, C, place.shape[2] * place.shape[3])
            found = flat.gather(3, index).reshape(N, G, C, *place.shape[2:])
            term = found * (share * inside.to(x.dtype)).unsqueeze(2)
            total = term if total is None else total + term
    return total  # type: ignore[no-any-return]


@says("Col2Im")
def _col2im(call: Call, x: Tensor, image: Tensor, block: Tensor) -> Tensor:
    sizes, kernel = ints(image), ints(block)
    count = len(sizes)
    strides, dilations = call.get("strides", [1] * count), call.get("dilations", [1] * count)
    pads = call.get("pads", [0] * 2 * count)
    if count == 2 and pads[:2] == pads[2:]:
        return F.fold(x, sizes, kernel, dilations, pads[:2], strides)
    N = x.shape[0]
    taps = 1
    for k in kernel:
        taps *= k
    weight = tilegrad.eye(taps, dtype=x.dtype).reshape(taps, 1, *kernel)
    out = [
        (n + pads[a] + pads[count + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1
        for a, n in enumerate(sizes)
    ]
    C = x.shape[1] // taps
    columns = x.reshape(N * C, taps, *out)
    if count not in _TRANSPOSED:
        return _folded(call, columns, sizes, kernel, out, strides, dilations, pads).reshape(
            N, C, *sizes
        )
    made = _TRANSPOSED[count](columns, weight, None, strides, 0, 0, 1, dilations)
    after = [n - made.shape[2 + a] + pads[a] for a, n in enumerate(sizes)]
    return padded(made, [*[-p for p in pads[:count]], *after]).reshape(N, C, *sizes)


def _folded(
    call: Call, columns: Tensor, sizes: list[int], kernel: list[int], out: list[int], strides: list[int],
    dilations: list[int], pads: list[int],
) -> Tensor:  # fmt: skip
    """Any number of dimensions: elements added where their windows put them."""
    count = len(sizes)
    wide = [n + pads[a] + pads[count + a] for a, n in enumerate(sizes)]
    place: Any = 0
    for a in range(count):
        along = np.arange(kernel[a])[:, None] * dilations[a] + np.arange(out[a])[None] * strides[a]
        shape = [1] * (2 * count)
        shape[a], shape[count + a] = along.shape
        place = place * wide[a] + along.reshape(shape)
    index = tilegrad.tensor(np.ascontiguousarray(place).reshape(-1))
    rows = columns.shape[0]
    flat = tilegrad.zeros(rows, int(np.prod(wide)), dtype=columns.dtype)
    made = flat.index_add(1, index, columns.reshape(rows, -1)).reshape(rows, 1, *wide)
    return padded(made, [-p for p in pads])


# ------------------------------------------------------------------------------------------ losses


def _negative_log(call: Call, logs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    ignore = call.get("ignore_index")
    kind = call.get("reduction", "mean")
    target = target.to(tilegrad.int64)
    skipped = None if ignore is None else target == ignore
    at = target if skipped is None else tilegrad.where(skipped, tilegrad.zeros_like(target), target)
    loss = -logs.gather(1, at.unsqueeze(1)).squeeze(1)
    share = tilegrad.ones_like(loss) if weight is None else weight[at.reshape(-1)].reshape(at.shape)
    if skipped is not None:
        share = tilegrad.where(skipped, tilegrad.zeros_like(share), share)
    loss = loss * share
    if kind == "none":
        return loss
    return loss.sum() if kind == "sum" else loss.sum() / share.sum()


@says("NegativeLogLikelihoodLoss")
def _nll(call: Call, logs: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    return _negative_log(call, logs, target, weight)


@says("SoftmaxCrossEntropyLoss")
def _cross_entropy(call: Call, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Any:
    logs = tilegrad.log_softmax(x, 1)
    return (_negative_log(call, logs, target, weight), logs)[: max(call.count, 1)]

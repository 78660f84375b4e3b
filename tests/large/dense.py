"""Programs of many multiply-adds: convolutions, products, attention; pooling and normalization."""

from __future__ import annotations

import math
from typing import Any

from tests.large.program import BOOL, DISTINCT, POSITIVE, Draw


def _window(
    d: Draw, rank: int, side: int
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """(size, kernel, stride, padding, dilation), with at least one output."""
    kernel = [d.pick(1, 2, 3, 3, 4, 5, 7) for _ in range(rank)]
    if d.chance(0.6):
        kernel = kernel[:1] * rank
    stride = [d.pick(1, 1, 2, 2, 3)] * rank if d.chance(0.8) else [d.int(1, 4) for _ in range(rank)]
    dilation = [1] * rank if d.chance(0.75) else [d.int(1, 3) for _ in range(rank)]
    padding = [d.int(0, k // 2 + d.chance(0.1)) for k in kernel]
    size = [
        max(d.size(side, 4), dl * (k - 1) + 1 - 2 * p, 1)
        for k, dl, p in zip(kernel, dilation, padding, strict=True)
    ]
    if d.chance(0.4):
        size = [max(size)] * rank
    return size, kernel, stride, padding, dilation


def _channels(d: Draw, most: int) -> tuple[int, int, int]:
    """(groups, input channels of a group, output channels of a group)."""
    if d.chance(0.12):  # depthwise
        return d.size(most), 1, d.pick(1, 1, 2)
    groups = d.pick(1, 1, 1, 1, 2, 3, 4)
    return groups, d.size(max(1, most // groups)), d.size(max(1, 2 * most // groups))


def _geometry(d: Draw, rank: int) -> tuple[Any, ...]:
    """Batch, channels and window within the sizes; shrinks what is too large."""
    side = {1: 3000, 2: 120, 3: 24}[rank] if d.sizes.products > 1_000_000 else 12
    batch, (groups, inputs, outputs) = d.size(8), _channels(d, 160)
    size, kernel, stride, padding, dilation = _window(d, rank, side)

    def over() -> bool:
        places = math.prod(max(1, n // s) for n, s in zip(size, stride, strict=True))
        products = batch * groups * inputs * outputs * math.prod(kernel) * places
        elements = batch * groups * max(inputs * math.prod(size), outputs * places)
        weights = groups * inputs * outputs * math.prod(kernel)
        limit = d.sizes.elements
        return products > d.sizes.products or elements > 2 * limit or weights > limit

    for _ in range(60):
        if not over():
            break
        what = d.int(0, 3)
        batch = -(-batch // 2) if what == 0 else batch
        inputs = -(-inputs // 2) if what == 1 else inputs
        outputs = -(-outputs // 2) if what == 2 else outputs
        groups = -(-groups // 2) if what == 3 else groups
    return batch, groups, inputs, outputs, size, kernel, stride, padding, dilation


def convolution(d: Draw) -> str:
    """conv1d, conv2d, conv3d."""
    rank = d.pick(1, 2, 2, 2, 2, 3)
    batch, groups, inputs, outputs, size, kernel, stride, padding, dilation = _geometry(d, rank)
    x = d.array((batch, groups * inputs, *size))
    w = d.array((groups * outputs, inputs, *kernel))
    bias = d.array((groups * outputs,)) if d.chance(0.4) else None
    if bias:
        places = math.prod(size) / math.prod(stride)
        d.program.least = max(
            1e-3, math.sqrt(batch * places) / 10
        )  # its gradient: terms that cancel
    return (
        f"F.conv{rank}d({x}, {w}, {bias}, stride={tuple(stride)}, padding={tuple(padding)}, "
        f"dilation={tuple(dilation)}, groups={groups})"
    )


def transposed(d: Draw) -> str:
    """conv_transpose1d, 2d, 3d."""
    rank = d.pick(1, 2, 2, 2, 3)
    batch, groups, inputs, outputs, size, kernel, stride, padding, dilation = _geometry(d, rank)
    room = zip(kernel, dilation, padding, strict=True)
    padding = [min(p, (k - 1) * dl // 2) for k, dl, p in room]
    x_size = [max(1, n // s) for n, s in zip(size, stride, strict=True)]
    extra = [d.int(0, max(s, dl) - 1) for s, dl in zip(stride, dilation, strict=True)]
    x = d.array((batch, groups * inputs, *x_size))
    w = d.array((groups * inputs, outputs, *kernel))
    bias = d.array((groups * outputs,)) if d.chance(0.4) else None
    if bias:
        d.program.least = math.sqrt(batch * math.prod(size)) / 10  # its gradient: terms that cancel
    return (
        f"F.conv_transpose{rank}d({x}, {w}, {bias}, stride={tuple(stride)}, "
        f"padding={tuple(padding)}, output_padding={tuple(extra)}, groups={groups}, "
        f"dilation={tuple(dilation)})"
    )


def product(d: Draw) -> str:
    """mm, matmul with batches and broadcasting, mv, linear, addmm, baddbmm."""
    n, m = d.sizes.products, d.sizes.elements
    a = d.size(min(2000, m))
    b = d.size(min(2000, m // a))
    c = d.size(max(1, min(2000, n // (a * b), m // a, m // b)))
    way = d.pick("mm", "mm", "matmul", "bmm", "broadcast", "mv", "vm", "linear", "addmm", "baddbmm")  # fmt: skip
    if way == "mm":
        return f"{d.array((a, b))} @ {d.array((b, c))}"
    if way == "mv":
        return f"{d.array((a, b))} @ {d.array((b,))}"
    if way == "vm":
        return f"{d.array((b,))} @ {d.array((b, a))}"
    if way == "linear":
        lead = (a,) if d.chance(0.5) else (d.pick(1, 2, 3), a)
        x, w = d.array((*lead, b)), d.array((c, b))
        return f"F.linear({x}, {w}, {d.array((c,)) if d.chance(0.7) else None})"
    if way == "addmm":
        added = d.array(d.pick((a, c), (c,), (a, 1)))
        return f"lib.addmm({added}, {d.array((a, b))}, {d.array((b, c))}, beta=0.5, alpha=2)"
    limit = max(1, min(n // (a * b * c), m // max(a * b, b * c, a * c)))
    batch = d.size(limit)
    if way == "bmm":
        return f"lib.bmm({d.array((batch, a, b))}, {d.array((batch, b, c))})"
    if way == "baddbmm":
        added = d.array(d.pick((batch, a, c), (a, c)))
        x, y = d.array((batch, a, b)), d.array((batch, b, c))
        return f"lib.baddbmm({added}, {x}, {y}, beta=-1, alpha=0.5)"
    outer = d.size(max(1, limit // batch))
    lead = d.pick(((outer, batch), (batch,)), ((outer, 1), (batch,)), ((batch,), (outer, 1)),
                  ((), (batch,)), ((batch,), ()))  # fmt: skip
    return f"lib.matmul({d.array((*lead[0], a, b))}, {d.array((*lead[1], b, c))})"


def attention(d: Draw) -> str:
    """scaled_dot_product_attention: masks, causal, other features, groups of heads."""
    width = d.pick(1, 8, 16, 31, 32, 64, 65, 128)
    value = width if d.chance(0.7) else d.size(140)
    limit = max(1, d.sizes.products // 2 // (width + value))
    q = d.size(min(700, limit))
    k = d.size(min(700, limit // q))
    if 1 in (q, k):  # the weight of a single key has no gradient, nor has a first row's that is
        d.program.least = math.sqrt(q * value)  # causal: all of it cancels
    heads = d.size(
        max(1, min(limit // (q * k), d.sizes.elements // (max(q, k) * max(width, value))))
    )
    batch = d.size(max(1, heads // 4))
    heads = max(1, heads // batch)
    d.program.tolerance = 3.0  # a softmax of large scores, twice over
    arrays = [d.array((batch, heads, n, f)) for n, f in ((q, width), (k, width), (k, value))]
    way = d.pick("none", "causal", "bool", "float")
    options = {"none": "", "causal": ", is_causal=True"}.get(way)
    if options is None:
        shape = d.pick((q, k), (batch, 1, q, k), (1, heads, q, k))
        if way == "float":
            options = f", attn_mask={d.array(shape)}"
        else:  # the first key is seen by all: no row without a key
            seen = BOOL + f" | (np.arange({k}) == 0)"
            options = f", attn_mask={d.array(shape, seen, fixed=True)}"
    return f"F.scaled_dot_product_attention({', '.join(arrays)}{options})"


def pooling(d: Draw) -> str:
    """max, avg, lp and adaptive pooling."""
    rank = d.pick(1, 2, 2, 2, 3)
    side = {1: 5000, 2: 150, 3: 30}[rank] if d.sizes.elements > 10_000 else 9
    size, kernel, stride, padding, dilation = _window(d, rank, side)
    padding = [min(p, k // 2) for p, k in zip(padding, kernel, strict=True)]
    planes = max(1, d.sizes.elements // math.prod(size))
    lead = (d.size(max(1, planes // 4)), d.size(planes))
    lead = lead if math.prod(lead) <= 2 * planes else (1, planes)
    way = d.pick("max", "max", "avg", "avg", "adaptive_avg", "adaptive_max")
    x = d.array(
        (*lead, *size), DISTINCT if "max" in way else "rng.standard_normal({shape}).astype(dtype)"
    )
    if way.startswith("adaptive"):
        outs = tuple(d.int(1, max(1, n)) if d.chance(0.3) else d.int(1, min(n, 9)) for n in size)
        return f"F.{way}_pool{rank}d({x}, {outs if rank > 1 else outs[0]})"
    options = f"stride={tuple(stride)}, padding={tuple(padding)}"
    if way == "max":
        fits = all(
            n + 2 * p > dl * (k - 1)
            for n, k, p, dl in zip(size, kernel, padding, dilation, strict=True)
        )
        options += f", dilation={tuple(dilation)}" if fits else ""
    else:
        options += f", count_include_pad={d.chance(0.5)}"
    bare = (way, rank) == ("avg", 3)  # PyTorch's wants a window's size without the padding
    fits = all(n + 2 * p * (not bare) >= k for n, k, p in zip(size, kernel, padding, strict=True))
    kernel = kernel if fits else [1] * rank
    options = options if fits else "stride=2"
    return f"F.{way}_pool{rank}d({x}, {tuple(kernel)}, {options}, ceil_mode={d.chance(0.3)})"


def norm(d: Draw) -> str:
    """batch, layer, group, instance and rms norm, normalize."""
    way = d.pick("batch", "batch", "layer", "layer", "group", "instance", "rms", "normalize")
    d.program.tolerance = 5.0  # sums of many terms, whose differences are left
    shape = d.shape(d.int(1, 4) if way in ("layer", "rms") else d.int(2, 5))
    d.program.least = math.sqrt(math.prod(shape)) / 100  # a weight's gradient: terms of either sign
    if way in ("layer", "rms"):
        tail = shape[-d.int(1, min(2, len(shape))) :]
        weight = d.array(tail) if d.chance(0.7) else None
        bias = f", {d.array(tail)}" if weight and way == "layer" and d.chance(0.7) else ""
        return f"F.{way}_norm({d.array(shape)}, {tail}, {weight}{bias}, eps=1e-3)"
    if way == "normalize":
        dim = d.int(0, len(shape) - 1)
        if shape[dim] == 1:  # of one element the gradient is 0: all of it cancels
            d.program.least = 1.0
        return f"F.normalize({d.array(shape, POSITIVE)}, dim={dim})"
    if way == "group":
        groups = d.pick(1, 2, 3)
        shape = (shape[0], groups * max(1, shape[1] // groups), *(shape[2:] or (2,)))
        weights = [d.array(shape[1:2]) for _ in range(2)] if d.chance(0.7) else [None, None]
        return f"F.group_norm({d.array(shape)}, {groups}, {weights[0]}, {weights[1]}, eps=1e-3)"
    if way == "instance" or shape[0] * math.prod(shape[2:]) < 2:
        shape = (*shape[:2], *shape[2:-1], max(2, shape[-1])) if len(shape) > 2 else (*shape, 7)
        weights = [d.array(shape[1:2]) for _ in range(2)] if d.chance(0.7) else [None, None]
        x = d.array(shape)
        return f"F.instance_norm({x}, None, None, {weights[0]}, {weights[1]}, eps=1e-3)"
    weights = [d.array(shape[1:2]) for _ in range(2)] if d.chance(0.8) else [None, None]
    if d.chance(0.3):
        mean, var = d.array(shape[1:2], fixed=True), d.array(shape[1:2], POSITIVE, fixed=True)
        x = d.array(shape)
        return f"F.batch_norm({x}, {mean}, {var}, {weights[0]}, {weights[1]}, False)"
    x = d.array(shape)
    return f"F.batch_norm({x}, None, None, {weights[0]}, {weights[1]}, True, eps=1e-3)"


TABLE = {
    "convolution": convolution, "transposed": transposed, "product": product,
    "attention": attention, "pooling": pooling, "norm": norm,
}  # fmt: skip

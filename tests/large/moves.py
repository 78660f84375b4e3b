"""Programs that move elements: indexing, joins, pads, layouts."""

from __future__ import annotations

import math

from tests.large.program import BOOL, Draw

UNIQUE = "np.argsort(rng.random({shape}), {dim}).astype('int64')"


def gather(d: Draw) -> str:
    """gather, index_select, take_along_dim, take, indexing by tensors and masks."""
    shape = d.shape(d.int(1, 4))
    rank = len(shape)
    dim = d.int(0, rank - 1)
    way = d.pick(
        "gather", "gather", "index_select", "take", "index", "indices", "mask", "take_along"
    )
    x = d.array(shape)
    # an element's gradient is a running sum of about this many terms of either sign, rounded each time
    d.program.least = max(1e-3, d.sizes.elements / math.prod(shape) / 250)
    n = shape[dim]
    count = d.size(max(1, d.sizes.elements * n // math.prod(shape)))
    if way == "gather":
        sizes = [d.size(m) if d.chance(0.3) else m for m in shape]
        sizes[dim] = min(count, 4 * n)
        return f"lib.gather({x}, {dim}, {d.index(tuple(sizes), n)})"
    if way == "index_select":
        return f"lib.index_select({x}, {dim}, {d.index((count,), n)})"
    if way == "take":
        return f"lib.take({x}, {d.index(d.shape(d.int(1, 2)), math.prod(shape), negative=True)})"
    if way == "take_along":
        sizes = tuple(count if i == dim else m for i, m in enumerate(shape))
        return f"lib.take_along_dim({x}, {d.index(sizes, n)}, {dim})"
    if way == "index":
        return f"{x}[{':, ' * dim}{d.index((count,), n, negative=True)}]"
    if way == "indices" and rank > 1:
        size = (d.size(max(1, d.sizes.elements * shape[0] * shape[1] // math.prod(shape))),)
        other = (1,) if d.chance(0.2) else size
        return f"{x}[{d.index(size, shape[0], negative=True)}, {d.index(other, shape[1])}]"
    return f"{x}[{d.array(shape[: d.int(1, rank)], BOOL)}]"


def scatter(d: Draw) -> str:
    """scatter, scatter_add, scatter_reduce, index_add, index_copy, index_put, masked_scatter."""
    shape = d.shape(d.int(1, 4))
    rank = len(shape)
    dim = d.int(0, rank - 1)
    n = shape[dim]
    way = d.pick("scatter", "scatter_add", "scatter_add", "scatter_reduce", "index_add", "index_add",
                 "index_copy", "index_put", "masked_scatter", "masked_fill", "index_fill")  # fmt: skip
    x = d.array(shape)
    count = d.size(max(1, d.sizes.elements * n // math.prod(shape)))
    if way.startswith("scatter"):
        sizes = [d.size(m) if d.chance(0.2) else m for m in shape]
        if way == "scatter":  # an element is written once
            sizes[dim] = n
            unique = UNIQUE.replace("{dim}", str(dim))
            index = d.array(tuple(sizes), unique, fixed=True)
            return f"lib.scatter({x}, {dim}, {index}, {d.array(tuple(sizes))})"
        sizes[dim] = min(count, 4 * n)
        index, y = d.index(tuple(sizes), n), d.array(tuple(sizes))
        if way == "scatter_add":
            return f"lib.scatter_add({x}, {dim}, {index}, {y})"
        kind = d.pick("sum", "mean", "amax", "amin")
        return (
            f"lib.scatter_reduce({x}, {dim}, {index}, {y}, {kind!r}, include_self={d.chance(0.6)})"
        )
    if way == "index_add":
        sizes = tuple(count if i == dim else m for i, m in enumerate(shape))
        return f"lib.index_add({x}, {dim}, {d.index((count,), n)}, {d.array(sizes)}, alpha=2)"
    if way == "index_copy":
        index = d.array((n,), "rng.permutation({count})", fixed=True)
        return f"lib.index_copy({x}, {dim}, {index}, {d.array(shape)})"
    if way == "index_fill":
        return f"lib.index_fill({x}, {dim}, {d.index((d.size(n),), n)}, 0.5)"
    if way == "index_put":
        size = (d.size(max(1, d.sizes.elements * shape[0] // math.prod(shape))),)
        values = d.array((*size, *shape[1:]))
        return f"lib.index_put({x}, ({d.index(size, shape[0], negative=True)},), {values}, accumulate=True)"
    mask = d.array(shape[d.int(0, rank - 1) :], BOOL)
    if way == "masked_fill":
        return f"{x}.masked_fill({mask}, 0.25)"
    return f"{x}.masked_scatter({mask}, {d.array((math.prod(shape),))})"


def embedding(d: Draw) -> str:
    """embedding, with and without a row that stays, one_hot."""
    width = d.size(1200)
    rows = d.size(max(1, d.sizes.elements // width))
    index = d.index(d.shape(d.int(1, 3), max(1, d.sizes.elements // width)), rows)
    if d.chance(0.1):
        return f"F.one_hot({d.index((d.size(500),), min(rows, 200))}, {min(rows, 200)})"
    options = f", padding_idx={d.int(0, rows - 1)}" if d.chance(0.4) else ""
    # a row's gradient is a running sum of about this many terms of either sign, rounded each time
    d.program.least = max(1e-3, d.sizes.elements / width / rows / 250)
    return f"F.embedding({index}, {d.array((rows, width))}{options})"


def join(d: Draw) -> str:
    """cat, stack, split, chunk, unbind, tile, repeat, repeat_interleave."""
    shape = d.shape(d.int(1, 4), d.sizes.elements // 3)
    dim = d.int(0, len(shape) - 1)
    way = d.pick("cat", "cat", "stack", "split", "chunk", "repeat", "interleave", "unbind", "tile")
    if way in ("cat", "stack"):
        names = []
        for _ in range(d.int(1, 11)):
            longer = d.size(max(1, 2 * shape[dim])) if way == "cat" else shape[dim]
            sizes = tuple(longer if i == dim else n for i, n in enumerate(shape))
            if math.prod(sizes) * (len(names) + 1) > 2 * d.sizes.elements:
                break
            names.append(d.array(sizes))
        names = names or [d.array(shape)]
        return f"lib.{way}(({', '.join(names)},), {dim})"
    if way == "unbind" and shape[dim] > 40:
        way = "chunk"
    x = d.array(shape)
    if way == "split":
        return f"lib.split({x}, {max(d.size(shape[dim]), -(-shape[dim] // 12))}, {dim})"
    if way == "chunk":
        return f"lib.chunk({x}, {d.int(1, 9)}, {dim})"
    if way == "unbind":
        return f"lib.unbind({x}, {dim})"
    if way == "interleave":
        return f"lib.repeat_interleave({x}, {d.int(1, 3)}, {dim})"
    times = tuple(d.int(1, 2) if math.prod(shape) < 50_000 else 1 for _ in shape)
    return f"{x}.{way}({times})"


def pad(d: Draw) -> str:
    """pad in its four modes, also by less than nothing."""
    mode = d.pick("constant", "constant", "reflect", "replicate", "circular")
    rank = d.int(1, 5) if mode == "constant" else d.int(2, 5)
    shape = d.shape(rank, d.sizes.elements // 2)
    last = (
        d.int(1, rank)
        if mode == "constant"
        else min(3, rank - 1 if rank < 3 else rank - d.int(1, 2))
    )
    if mode != "constant":
        last = {2: 1, 3: d.pick(1, 2), 4: d.pick(2, 3), 5: 3}[rank]
    pads: list[int] = []
    for n in reversed(shape[rank - last :]):
        limit = {"constant": 9, "reflect": n - 1, "replicate": 9, "circular": n}[mode]
        low = -min(2, (n - 1) // 2) if mode == "constant" and d.chance(0.3) else 0
        pads += [d.int(low, min(9, limit)), d.int(low, min(9, limit))]
    value = ", 0.5" if mode == "constant" and d.chance(0.5) else ""
    return f"F.pad({d.array(shape)}, {tuple(pads)}, {mode!r}{value})"


def movement(d: Draw) -> str:
    """Copies into another order: contiguous, flip, roll, tril, diagonal, reshape, unfold, shuffle."""
    shape = d.shape(d.int(2, 5))
    rank = len(shape)
    order = tuple(int(i) for i in d.rng.permutation(rank))
    i, j = (int(k) for k in d.rng.permutation(rank)[:2])
    x = d.array(shape)
    steps = ", ".join(f"{d.int(0, n - 1)}::{d.int(1, 4)}" if d.chance(0.5) else ":" for n in shape)
    return d.pick(
        f"{x}.permute({order}).contiguous()", f"{x}.permute({order}).reshape(-1)",
        f"{x}.flip({(i, j)})", f"{x}.roll(({d.int(-9, 9)}, {d.int(-99, 99)}), ({i}, {j}))",
        f"{x}.tril({d.int(-9, 9)})", f"{x}.triu({d.int(-9, 9)})",
        f"{x}.diagonal({d.int(0, shape[j] - 1)}, {i}, {j}) * 2",
        f"{x}.unfold({i}, {d.size(shape[i])}, {d.int(1, 5)}).contiguous()" if math.prod(shape) < 3000
        else f"{x}[{steps}] * 2",
        f"{x}[{steps}].contiguous()", f"{x}.transpose({i}, {j}).flatten()",
        f"{x}.narrow({i}, {shape[i] // 3}, {max(1, shape[i] // 2)}).clone()",
        f"{x}.permute({order}) + {x}.permute({order}).flip(0)",
    )  # fmt: skip


TABLE = {
    "gather": gather, "scatter": scatter, "embedding": embedding, "join": join, "pad": pad,
    "movement": movement,
}  # fmt: skip

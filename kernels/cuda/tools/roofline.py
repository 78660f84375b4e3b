"""What a launch must move and compute, and how long that takes at best: estimates on paper.

:func:`work_of` reads a launch's parameters; :func:`least_time` is the larger of the time that the
memory needs for the bytes and the processors for the operations. Launches of kernels that are not
in :data:`_WORK` are not judged. ``tests/kernels/cuda/tools/test_roofline.py`` counts what the simulated device accesses.

Source: Williams, Waterman and Patterson, Roofline: An Insightful Visual Performance Model (2009).
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.ptx import pointer, thread
from tilegrad.kernels.cuda.parts.strided import PER_AXIS
from tilegrad.kernels.cuda.run.backend import compile_kernel
from tilegrad.kernels.cuda.run.jit import Launch
from tilegrad.kernels.cuda.tools.occupancy import WARP, Chip
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import DeviceFunction, function_from_source, place
from tilegrad.kernels.monoids import MONOIDS


@dataclass(frozen=True)
class Work:
    """Of one launch.

    Attributes:
        read: bytes of memory that are read, each counted once however often it is asked for.
        written: bytes that are written.
        operations: floating operations (integer ones, where the data are integers) on elements.
        asked: bytes that all reads together ask for, if known; caches serve what goes beyond ``read``.
        itemsize: of a number that is computed with.
    """

    read: int
    written: int
    operations: int
    asked: int | None = None
    itemsize: int = 4

    @property
    def bytes(self) -> int:
        """What must cross the memory's bus."""
        return self.read + self.written

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / max(self.bytes, 1)


def least_time(work: Work, chip: Chip) -> tuple[float, str]:
    """(seconds, "memory" or "arithmetic"): no launch of this work can be faster, as the data sheet
    has it.
    """
    moving = work.bytes / chip.bandwidth
    computing = work.operations / chip.rates[8 if work.itemsize == 8 else 4]
    return (moving, "memory") if moving >= computing else (computing, "arithmetic")


# --------------------------------------------------------------------- operations of a formula

_ARITHMETIC = re.compile(
    r"\b(fma|mad|add|sub|mul|div|sqrt|rsqrt|rcp|ex2|lg2|sin|cos|tanh|min|max)(?:\.\w+)*\.f(?:32|64)\b"
)


@lru_cache(maxsize=None)
def operations_of(formula: DeviceFunction, dtypes: tuple[str, ...], params: int = 0) -> int:
    """Floating operations of a formula per element: those in its PTX, both sides of a branch, a
    fused multiply-add counted as two. At least one, and one for a formula over integers.

    ``dtypes`` names the output last.
    """
    if all(not is_float(d) for d in dtypes):
        return 1
    scope = {"formula": formula, "pointer": pointer, "thread": thread}
    stored = ["uint8" if d == "bool" else d for d in dtypes]
    scope |= {f"T{k}": np.dtype(d).type for k, d in enumerate(stored)}
    last = len(dtypes) - 1
    given = [f"pointer(a{k}, T{k})[thread()]" for k in range(last)]
    given = [f"({x} != 0)" if d == "bool" else x for x, d in zip(given, dtypes)]
    given += [f"T0(p{k})" for k in range(params)]
    names = ", ".join([f"a{k}" for k in range(last + 1)] + [f"p{k}" for k in range(params)])
    source = (
        f"def once({names}):\n"
        f"    pointer(a{last}, T{last})[thread()] = T{last}(formula({', '.join(given)}))\n"
    )
    body = function_from_source(source, "once", scope, __name__)
    letter = "d" if is_float(dtypes[0]) else "i"
    signature = "i" * (last + 1) + letter * params
    found = _ARITHMETIC.findall(compile_kernel(body, signature, WARP, output="ptx"))
    return max(1, sum(2 if name in ("fma", "mad") else 1 for name in found))


# ------------------------------------------------------------------------------ work of a launch


class _Call:
    """A launch with its variant and its parameters by name; ``t`` is the rest of the parameters."""

    def __init__(self, launch: Launch):
        names = list(inspect.signature(launch.factory.factory).parameters)
        self.variant: dict[str, Any] = dict(zip(names, launch.variant))
        body = launch.source.body
        inner = body.__globals__.get("kernel")
        shown = inner.function if isinstance(inner, DeviceFunction) else body
        words = list(inspect.signature(shown).parameters)
        fixed = len(words) - (1 if shown is not body else 0)
        self.args, self.named = launch.args, dict[str, Any]()
        first = 0
        for word, count in zip(words[:fixed], getattr(body, "groups", [1] * fixed), strict=True):
            value = launch.args[first] if count else 0
            self.named[word] = value
            if isinstance(value, tuple):
                self.named.update(value._asdict())  # type: ignore[attr-defined]
            first += count
        self.t = launch.args[first:]
        self.grid = launch.grid

    def __getitem__(self, name: str) -> Any:
        return self.variant[name] if name in self.variant else self.named[name]

    @property
    def itemsize(self) -> int:
        """Bytes of an element of the variant's ``dtype``."""
        return int(np.dtype(self["dtype"]).itemsize)

    def block(self, dims: int, first: int = 0) -> tuple[list[int], list[int]]:
        """(sizes, strides) of the block that begins at ``t[first]``."""
        flat = self.t[first : first + PER_AXIS * dims]
        return list(flat[::PER_AXIS]), list(flat[PER_AXIS - 1 :: PER_AXIS])


def _distinct(sizes: Sequence[int], strides: Sequence[int]) -> int:
    """Elements of a block, those that broadcasting repeats counted once."""
    return math.prod(n for n, step in zip(sizes, strides) if step)


def _elementwise(call: _Call) -> Work:
    dtypes, pattern, dims = call["dtypes"], call["pattern"], call["dims"]
    count, V, params = len(dtypes), call["vector"], call["params"]
    shape = call.args[count + params : -1]
    total = call.args[-1]
    sizes, steps = shape[: 3 * dims : 3], shape[3 * dims :]
    groups = total // V
    read, asked = 0, 0
    for k, (dtype, letter) in enumerate(zip(dtypes[:-1], pattern)):
        size = np.dtype(dtype).itemsize
        repeats = math.prod(
            n for axis, n in enumerate(sizes) if axis and not steps[axis * count + k]
        )
        if letter == "s":
            elements = max(1, groups // (sizes[0] * repeats)) if dims > 1 else 1
            asked += (groups + total % V) * size
        else:
            elements = total // repeats
            asked += total * size
        read += elements * size
    each = operations_of(call["formula"], dtypes, params)
    size = max(np.dtype(d).itemsize for d in dtypes)
    return Work(read, total * np.dtype(dtypes[-1]).itemsize, total * each, asked, size)


def _combining(name: str, dtype: str) -> int:
    """Operations of a reduction per element."""
    monoid = MONOIDS[name]
    if name == "sum_exp":
        return 1 + operations_of(monoid.lift, (dtype, dtype, dtype))
    return {"norm2": 2, "var": 3}.get(name, 1)


def _reduction(call: _Call, outputs: int, chunks: int, elements: int, read: int) -> Work:
    monoid = MONOIDS[call["name"]]
    dtype, out = call["dtype"], call["out_dtype"]
    lifts = call.variant.get("stage") != "last"
    finishes = call.variant.get("stage", "part") != "part" or call.variant.get("finishes", False)
    size = np.dtype(dtype).itemsize
    centres = outputs * np.dtype(out).itemsize if monoid.centred and lifts else 0
    made = np.dtype(out if finishes else monoid.block_dtype(dtype)).itemsize
    each = _combining(call["name"], dtype) if lifts else 1
    return Work(
        read=read * size + centres,
        written=outputs * chunks * made,
        operations=elements * each,
        asked=elements * size + centres * chunks,
        itemsize=size,
    )


def _reduced_rows(call: _Call) -> Work:
    kept, reduced = call["kept"], call["reduced"]
    sizes, strides = call.block(kept + reduced)
    outputs = math.prod(sizes[:kept])
    read = _distinct(sizes, strides)
    work = _reduction(call, outputs, call["chunks"], math.prod(sizes), read)
    lanes = call["lanes"]  # every thread of an output reads its centre
    return _asking_more(work, call, outputs * call["chunks"] * lanes)


def _reduced_columns(call: _Call) -> Work:
    kept, reduced = call["kept"], call["reduced"]
    sizes, strides = call.block(kept + reduced)
    outputs = math.prod(sizes[:kept]) * call["width"]
    read = _distinct(sizes, strides) * call["width"]
    work = _reduction(call, outputs, call.grid[1], math.prod(sizes) * call["width"], read)
    return _asking_more(work, call, outputs * call.grid[1] * 8)


def _asking_more(work: Work, call: _Call, readers: int) -> Work:
    """``work`` where each of ``readers`` threads asks for a centre, if there are any."""
    monoid = MONOIDS[call["name"]]
    if not monoid.centred or call.variant.get("stage") == "last":
        return work
    elements = math.prod(call.block(call["kept"] + call["reduced"])[0]) * call.named.get("width", 1)
    asked = elements * call.itemsize + readers * np.dtype(call["out_dtype"]).itemsize
    return Work(work.read, work.written, work.operations, asked, work.itemsize)


def _items(call: _Call) -> tuple[list[int], int]:
    """(distinct items of x, y and out in a batch, items)."""
    dims = call["dims"]
    blocks = [call.block(dims, PER_AXIS * dims * k) for k in range(3)]
    return [_distinct(*block) for block in blocks], math.prod(blocks[0][0])


def _tiled_product(call: _Call) -> Work:
    tile, size = call["tile"], call.itemsize
    (xs, ys, _), items = _items(call)
    M, N, K = call["M"], call["N"], _depth(call)
    chunks = call.grid[1]
    biased = call["biased"] and call["final"]
    again = 0 if call["fresh"] else M * N * items * size
    tiles = -(-M // tile.BM) * -(-N // tile.BN) * items
    return Work(
        read=(xs * M + ys * N) * K * size + (N * size if biased else 0) + again,
        written=M * N * items * chunks * size,
        operations=2 * M * N * K * items,
        asked=tiles * (tile.BM + tile.BN) * K * size
        + (M * N * items * size if biased else 0)
        + again,
        itemsize=size,
    )


def _depth(call: _Call) -> int:
    """Steps of k that a launch of a tiled product takes."""
    return int(min(call["K"] - call["begin"], call["chunk"] * call.grid[1]))


def _chunks_added(call: _Call) -> Work:
    total, size = call["total"], call.itemsize
    parts = total * (call["chunks"] + (1 if call["accumulate"] else 0))
    read = parts + (call["biases"] if call["biased"] else 0)
    asked = parts + (total if call["biased"] else 0)
    operations = asked - total
    return Work(read * size, total * size, operations, asked * size, size)


def _convolution(call: _Call) -> Work:
    """Exact where windows reach all of the image."""
    from tilegrad.kernels.cuda.conv.images import Rows
    from tilegrad.kernels.cuda.parts.tiled_gemm import StridedIterator

    size, groups, walks = call.itemsize, call.block(1)[0][0], 3 * PER_AXIS
    M, N, K, depth = call["M"], call["N"], call["K"], _depth(call)
    if "way" in call.variant:  # weights times windows
        image, pixels = (call.t[walks + len(StridedIterator.names) + k] for k in (0, 2))
        x, y = groups * M * depth, N // pixels * image * depth // K
        biases = groups * M if call["biased"] and call["final"] else 0
    else:  # gradients of outputs times windows
        gradients, pixels, image = (call.t[walks + k] for k in (0, 2, len(Rows.names)))
        x, y, biases = depth // pixels * gradients, depth // pixels * image, 0
    made = groups * M * N * call.grid[1]
    again = 0 if call["fresh"] else made
    return Work(
        read=(x + y + biases + again) * size,
        written=made * size,
        operations=2 * groups * M * N * depth,
        itemsize=size,
    )


def _vector_product(call: _Call) -> Work:
    (xs, ys, _), items = _items(call)
    M, K, size = call["M"], call["K"], call.itemsize
    return Work(
        read=(xs * M + ys) * K * size,
        written=M * items * size,
        operations=2 * M * K * items,
        asked=2 * M * K * items * size,
        itemsize=size,
    )


def _softmax(passes: int, arrays: int) -> Callable[[_Call], Work]:
    def work(call: _Call) -> Work:
        n, size = call["groups"] * call["layout"].V, call.itemsize
        total = call["rows"] * n
        each = 4 * arrays
        if arrays == 1 or call["logs"]:
            from tilegrad.kernels.formulas.transcendental import exp

            each += operations_of(exp, (call["dtype"], call["dtype"]))
        asked = total * size * arrays * (passes if call["tiled"] else 1)
        if arrays == 2 and call["tiled"] and call["logs"]:
            asked -= total * size  # the sum needs the gradient alone
        return Work(total * size * arrays, total * size, total * each, asked, size)

    return work


def _normalised(call: _Call) -> Work:
    """Of rows that are kept in registers; in the backward pass two arrays are read."""
    arrays = 2 if "g" in call.named else 1
    n, rows, size, scale = call["n"], call["rows"], call.itemsize, call["scale"]
    weights = {"element": n, "channel": n, "row": rows}[scale]
    if scale == "channel":
        weights = call["cycle"] * call["channels"]
    used = sum(1 for name in ("weight", "bias") if call.named.get(name, 0))
    beside = rows * sum(
        1 for name in ("mean", "rstd", "sums_g_xhat", "sums_g") if call.named.get(name)
    )
    read = arrays * rows * n + used * weights
    if arrays == 2:  # mean and deviation are read, not written
        kept = rows * sum(1 for name in ("mean", "rstd") if call.named[name])
        read, beside = read + kept, beside - kept
    return Work(read * size, (rows * n + beside) * size, (6 + 6 * arrays) * rows * n, None, size)


def _copied(call: _Call) -> Work:
    from tilegrad.kernels.cuda.movement import AHEAD

    sizes, width = call.t[:: PER_AXIS + 1], call["width"]
    strides = call.t[PER_AXIS - 1 :: PER_AXIS + 1]
    total, whole = (
        math.prod(sizes),
        AHEAD * call["bounds"].threads,
    )  # a thread's last words are read again
    asked = -(-total // whole) * whole * width
    return Work(_distinct(sizes, strides) * width, total * width, 0, asked, width)


def _attention(call: _Call) -> Work:
    """Products of queries and keys, as many with values; where keys are rows, twice as many."""
    L, S, E, F, heads, size = (*(call[n] for n in ("L", "S", "E", "F", "heads")), call.itemsize)
    backward, by_keys = "g" in call.named, "dk" in call.named
    tile = call["tile"]
    items = call.grid[0] // call["blocks"]
    batch = (items // heads, heads)
    fewer = (batch[0], heads // call["share"])
    q, k, v = ((call[f"{x}_outer"], call[f"{x}_inner"]) for x in "qkv")
    seen, pairs = S, L * S
    if call["causal"]:
        pairs = sum(min(i + 1, S) for i in range(L))
        end = min(S, call["blocks"] * tile.BR)  # of the keys that the last queries see
        seen = S if by_keys else min(S, -(-end // tile.BC) * tile.BC)
    read = _distinct(batch, q) * L * E + _distinct(fewer, k) * seen * E
    read += _distinct(fewer, v) * seen * F
    written = items * L * (F + 1)
    products = E + F
    if backward:  # g, lse, and either out or its products with g
        read += items * L * (F + 1 + (1 if by_keys else F))
        written = items * (S * (E + F) if by_keys else L * (E + 1))
        products = 2 * (E + F) if by_keys else 2 * E + F
    strides = tuple(call[f"m_{x}"] for x in ("outer", "inner", "row", "column"))
    mask = _distinct((*batch, L, S), strides) if call["mask"] != "none" else 0
    return Work(
        read=read * size + mask * (1 if call["mask"] == "bool" else size),
        written=written * size,
        operations=2 * items * pairs * products,
        itemsize=size,
    )


_WORK: dict[str, Callable[[_Call], Work]] = {
    "elementwise.map_groups": _elementwise,
    "reduce.rows": _reduced_rows,
    "reduce.columns": _reduced_columns,
    "gemm.tiles": _tiled_product,
    "matvec.vectors": _vector_product,
    "matvec.tall_vectors": _vector_product,
    "softmax.forward": _softmax(2, 1),
    "softmax.backward": _softmax(2, 2),
    "gemm.add_chunks": _chunks_added,
    "conv.windows": _convolution,
    "conv.weights": _convolution,
    "attention.forward.forward": _attention,
    "attention.backward.queries": _attention,
    "attention.backward.keys": _attention,
    "norm.forward": _normalised,
    "norm.backward": _normalised,
    "movement.copy_words": _copied,
}


def work_of(launch: Launch) -> Work | None:
    """What a launch moves and computes; None for a kernel that is not judged."""
    factory = launch.factory
    known = _WORK.get(f"{place(factory.__module__)}.{factory.__name__}")
    if known in (_reduced_rows, _reduced_columns) and MONOIDS[launch.variant[0]].own:
        return None  # of a user's own functions nothing is known
    return known(_Call(launch)) if known is not None else None

"""Convolution and its two gradients as products of matrices that are never stored.

``x`` is ``(N, groups * inputs, *size)``, ``weight`` ``(groups * outputs, inputs, *kernel)`` and ``y``
``(N, groups * outputs, *out)``, all row-major. The group is the item of a batched product:

========  =========================  =====================  ======================
          rows                       columns                k
========  =========================  =====================  ======================
forward   outputs                    pixels of y            inputs and taps
input     inputs                     pixels of x            outputs and taps
weight    outputs                    inputs and taps        pixels of y
========  =========================  =====================  ======================

Where a group has one input, there is no product to speak of: see :mod:`.depthwise`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.conv import depthwise
from tilegrad.kernels.cuda.conv.images import (
    Pixels,
    Rows,
    Taps,
    pixels_params,
    rows_params,
    taps_params,
)
from tilegrad.kernels.cuda.device.ptx import multiply_wide
from tilegrad.kernels.cuda.device.shapes import Tile
from tilegrad.kernels.cuda.movement import copy
from tilegrad.kernels.cuda.parts.gemm import add_chunks
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide, magic
from tilegrad.kernels.cuda.parts.tiled_gemm import Gemm, StridedIterator, multiply
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.tuning import Products, products
from tilegrad.kernels.function import inline
from tilegrad.kernels.window import Window

Launch = Callable[..., None]


@inline
def pixel_place(c, params):
    """Where pixel ``c``, counted through the batch, lies from the first of its channel on.

    The last parameters: pixels of an item with multiplier and shift, and elements of an item.
    """
    item = multiply_wide(c, params[-3]) >> params[-2]
    return item * params[-1] + (c - item * params[-4])


@kernel
def windows(
    dtype: str, tile: Tile, way: str, vector: int, dims: int, pointwise: bool, strided: bool,
    biased: bool,
) -> Source:  # fmt: skip
    """Weights times windows: the output ("forward"), or the gradient of the input ("backward")."""
    size = np.dtype(dtype).itemsize
    x = StridedIterator("x", tile, "k", vector, size)
    y = Pixels(tile, size, dims, pointwise, way, strided)
    return multiply(
        dtype, tile, x, y, 1, biased="row" if biased else "", column_place=pixel_place, more=4,
        per_sm=max(1, tile.per_sm // 2),
    )  # fmt: skip


@kernel
def weights(dtype: str, tile: Tile, vector: int, dims: int, pointwise: bool) -> Source:
    """Gradients of outputs times windows: the gradient of the weight."""
    size = np.dtype(dtype).itemsize
    x, y = Rows(tile, size, vector), Taps(tile, size, dims, pointwise)
    return multiply(dtype, tile, x, y, 1, per_sm=max(1, tile.per_sm // 2))


def _tile(chosen: Products, M: int, N: int, items: int) -> Tile:
    """The largest tile of which there are enough, and that is not mostly beyond the matrix."""
    for tile, least in chosen.large:
        if M >= least and -(-M // tile.BM) * -(-N // tile.BN) * items >= chosen.full:
            return tile
    return chosen.rest


def _check(op: str, *numbers: int) -> None:
    """Raise NotImplementedError where a product's extents, which are 32 bits, do not suffice."""
    if is_wide(max(numbers)):
        raise NotImplementedError(
            f"{op}: a GPU takes fewer than 2^31 pixels, channels times taps at a time; got {numbers}"
        )


def _dims(window: Window) -> int:
    """Dimensions that matter: leading ones of size 1 do not."""
    flat = [
        s == k == o == 1 and b == 0
        for s, k, o, b in zip(window.size, window.kernel, window.out, window.before)
    ]
    return 3 if not flat[0] else 2 if not flat[1] else 1


def conv(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window, bias: bool
) -> tuple[Launch, int]:
    """Prepare ``launch(x, weight, [bias], y, scratch)``; gives ``(launch, scratch_bytes)``."""
    if inputs == 1:
        return depthwise.forward(dtype, batch, groups, outputs, window, bias), 0
    run, scratch = _windows(dtype, "forward", batch, groups, (outputs, inputs), window, bias)

    def launch(x: int, weight: int, *where: int) -> None:
        b, y, *more = where if bias else (0, *where)
        run(weight, x, y, more[0] if more else 0, b)

    return launch, scratch


def conv_input(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> tuple[Launch, int]:
    """Prepare ``launch(y, weight, x, scratch)``; gives ``(launch, scratch_bytes)``."""
    if inputs == 1:
        return depthwise.backward(dtype, batch, groups, outputs, window), 0
    taps, size = math.prod(window.kernel), np.dtype(dtype).itemsize
    run, scratch = _windows(dtype, "backward", batch, groups, (inputs, outputs), window, False)
    # the product wants (inputs, outputs, taps), with k consecutive
    sizes = (groups, inputs, outputs, taps)
    elements = outputs * inputs * taps
    transpose = copy(
        size, sizes, (elements, taps, inputs * taps, 1), (elements, outputs * taps, taps, 1)
    )
    held = -(-groups * elements * size // 256) * 256

    def launch(y: int, weight: int, x: int, scratch: int = 0) -> None:
        transpose(weight, scratch)
        run(scratch, y, x, scratch + held, 0)

    return launch, held + scratch


def _windows(
    dtype: str, way: str, batch: int, groups: int, channels: tuple[int, int], window: Window,
    biased: bool,
) -> tuple[Launch, int]:  # fmt: skip
    """``launch(weight, image, result, scratch, bias)``; ``channels``: of the result, of the image."""
    M, C = channels
    read, made = (window.size, window.out) if way == "forward" else (window.out, window.size)
    pixels, plane = math.prod(made), math.prod(read)
    N, K = batch * pixels, C * math.prod(window.kernel)
    _check("conv", M, N, K)
    chosen, size = products(dtype), np.dtype(dtype).itemsize
    tile, step = _tile(chosen, M, N, groups), chosen.chunk
    W = 16 // size
    pointwise = math.prod(window.kernel) == 1
    strided = way == "backward" and any(s != 1 for s in window.stride)
    tiles = (-(-M // tile.BM), -(-N // tile.BN))
    chunks, blocks = -(-K // step), tiles[0] * tiles[1] * groups
    split = chunks > 1 and blocks < chosen.split
    image = groups * C * plane
    group = ((groups,), (M * K,)), ((groups,), (C * plane,)), ((groups,), (M * pixels,))
    walks = [v for sizes, strides in group for v in index_params(sizes, strides)]
    iterator_params = [*pixels_params(way, image, plane, window)]
    place = [pixels, *magic(pixels), groups * M * pixels]
    tail = (*walks, K, 1, tile.BK * size, *iterator_params, *place, blocks)
    total = batch * groups * M * pixels
    all_chunks = Gemm(
        parts=total, fresh=1, final=0, begin=0, chunk=step, M=M, N=N, K=K, os_row=pixels,
        out_whole=int(pixels % W == 0), tiles_m=tiles[0], tiles_n=tiles[1],
    )  # fmt: skip
    stages = [
        all_chunks._replace(parts=0, fresh=int(c == 0), final=int(c == chunks - 1), begin=c * step)
        for c in range(chunks)
    ]
    vector = W if K % W == 0 else 1

    def launch(weight: int, data: int, out: int, scratch: int, bias: int) -> None:
        V = vector if weight % 16 == 0 else 1
        function = windows.build(
            dtype, tile, way, V, _dims(window), pointwise, strided, biased and not split
        )
        if split:
            function(weight, data, scratch, 0, *all_chunks, *tail, chunks, 1)
            collect = add_chunks.build(dtype, biased, chosen.threads)
            grid = (-(-total // chosen.threads), 1, 1)
            collect(scratch, out, bias, total, pixels, groups * M, chunks, 0, *grid)
            return
        for stage in stages:
            function(weight, data, out, bias, *stage, *tail, 1, 1)

    return launch, chunks * total * size if split else 0


def conv_weight(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y, weight, scratch)``; gives ``(launch, scratch_bytes)``."""
    if inputs == 1:
        return depthwise.weight(dtype, batch, groups, outputs, window)
    taps, size = math.prod(window.kernel), np.dtype(dtype).itemsize
    pixels, plane = math.prod(window.out), math.prod(window.size)
    M, N, K = outputs, inputs * taps, batch * pixels
    _check("conv_weight", M, N, K)
    chosen, W = products(dtype), 16 // size
    tile = _tile(chosen, M, N, groups * min(chosen.parts, -(-K // chosen.part)))
    tiles = (-(-M // tile.BM), -(-N // tile.BN))
    blocks = tiles[0] * tiles[1] * groups
    parts = max(1, min(-(-K // chosen.part), chosen.parts // blocks))
    chunk = -(-K // parts)
    chunk += -chunk % tile.BK
    parts = -(-K // chunk)
    total = groups * M * N
    group = (
        ((groups,), (outputs * pixels,)),
        ((groups,), (inputs * plane,)),
        ((groups,), (M * N,)),
    )
    walks = [v for sizes, strides in group for v in index_params(sizes, strides)]
    iterator_params = [
        *rows_params(groups * outputs * pixels, pixels),
        *taps_params(groups * inputs * plane, plane, window),
    ]
    sizes = Gemm(
        parts=total if parts > 1 else 0, fresh=1, final=1, begin=0, chunk=chunk, M=M, N=N, K=K,
        os_row=N, out_whole=int(N % W == 0), tiles_m=tiles[0], tiles_n=tiles[1],
    )  # fmt: skip
    tail = (*sizes, *walks, *iterator_params, blocks, parts, 1)
    vector = W if pixels % W == 0 else 1

    def launch(x: int, y: int, weight: int, scratch: int = 0) -> None:
        V = vector if y % 16 == 0 else 1
        function = weights.build(dtype, tile, V, _dims(window), taps == 1)
        target = scratch if parts > 1 else weight
        function(y, x, target, 0, *tail)
        if parts > 1:
            collect = add_chunks.build(dtype, False, chosen.threads)
            grid = (-(-total // chosen.threads), 1, 1)
            collect(scratch, weight, 0, total, 1, 1, parts, 0, *grid)

    return launch, parts * total * size if parts > 1 else 0

"""Matrix products ``out = x @ y`` of float32, float64 and integers, with batches, bias and strides.

A row of the result does not depend on how many other rows there are, on the batch or on the GPU:
the order of summation follows from K alone, or for N = 1 from K and the layout of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda.device.ptx import WARP
from tilegrad.kernels.cuda.device.shapes import Tile
from tilegrad.kernels.cuda.parts.gemm import add_chunks, tiles
from tilegrad.kernels.cuda.parts.matvec import tall_vectors, vectors
from tilegrad.kernels.cuda.parts.strided import index_params
from tilegrad.kernels.cuda.parts.tiled_gemm import Gemm
from tilegrad.kernels.cuda.tuning import Products, products
from tilegrad.kernels.function import DeviceFunction
from tilegrad.kernels.plans import merge_batch

Launch = Callable[..., None]
Strides = tuple[int, ...]


def matmul(
    dtype: str,
    M: int,
    N: int,
    K: int,
    batch: tuple[int, ...],
    x_strides: Strides,
    y_strides: Strides,
    out_strides: Strides,
    *,
    accumulate: bool = False,
    activation: DeviceFunction | None = None,
) -> tuple[Launch, int]:
    """Prepare ``out = x @ y`` for these sizes; gives ``(launch, scratch_bytes)``.

    See :func:`tilegrad.kernels.cpu.matmul.matmul`. ``activation``, a scalar formula, is applied to
    the finished elements, bias included.
    """
    if 0 in (M, N, *batch):
        return lambda x, y, out, scratch=0, bias=0: None, 0
    batch, strides = merge_batch(batch, x_strides, y_strides, out_strides)
    x, y, out = strides
    if batch and y[0] == 0 and len(batch) == 1 and all(s[0] == M * s[1] for s in (x, out)):
        M, batch = M * batch[0], ()  # one taller matrix
        x, y, out = x[1:], y[1:], out[1:]
    if N == 1 and not accumulate and activation is None:
        return _times_vector(dtype, M, K, batch, (x, y, out)), 0
    return _tiled(dtype, (M, N, K), batch, (x, y, out), accumulate, activation)


def multiplies(dtype: str) -> bool:
    """Whether there are products of ``dtype``: of complex numbers there are those of their parts."""
    return dtype not in dtypes.COMPLEX


def _batches(batch: tuple[int, ...], strides: tuple[Strides, ...]) -> tuple[int, list[int]]:
    """(dimensions, parameters) of the batch for the three operands."""
    shape = batch or (1,)
    flat: list[int] = []
    for s in strides:
        flat += index_params(shape, s[:-2] or (0,))
    return len(shape), flat


def _times_vector(
    dtype: str, M: int, K: int, batch: tuple[int, ...], strides: tuple[Strides, ...]
) -> Launch:
    x, v, out = strides
    items = math.prod(batch)
    dims, walk = _batches(batch, strides)
    shape = (M * items, M, K, x[-2], x[-1], v[-2], out[-2])
    chosen = products(dtype)
    if x[-2] == 1 and x[-1] != 1 and M >= chosen.gemv_tall and items < 65536:  # CUDA's limit
        function = tall_vectors.build(dtype, chosen.threads, dims)
        grid = (-(-M // WARP), items, 1)
    else:
        vector = 16 // np.dtype(dtype).itemsize if x[-1] == v[-2] == 1 else 1
        vector = vector if dtypes.is_float(dtype) else 1
        lanes = next((n for least, n in chosen.gemv if least < K), chosen.gemv[-1][1])
        threads = max(lanes, chosen.gemv_threads)
        function = vectors.build(dtype, lanes, threads, vector, dims)
        grid = (-(-M * items * lanes // threads), 1, 1)

    def launch(x: int, y: int, out: int, scratch: int = 0, bias: int = 0) -> None:
        function(x, y, out, bias, *shape, *walk, *grid)

    return launch


def _tile(chosen: Products, M: int, N: int, items: int) -> Tile:
    """The largest tile of which there are enough."""
    if chosen.skinny and M <= chosen.skinny.BM:
        return chosen.skinny
    for tile, _ in chosen.large:
        if -(-M // tile.BM) * -(-N // tile.BN) * items >= chosen.full:
            return tile
    return chosen.rest


def _reading(dtype: str, lane: int, k: int, lanes: int, K: int, batch: Strides) -> tuple[str, int]:
    """(direction of neighbouring threads, elements of a vector) for an operand.

    ``lane`` and ``k``: its strides over rows or columns of the result, and over k.
    """
    along = "lane" if lane == 1 and k != 1 else "k"
    if not dtypes.is_float(dtype):
        return along, 1
    V = 16 // np.dtype(dtype).itemsize
    step, other, extent = (lane, k, lanes) if along == "lane" else (k, lane, K)
    fits = step == 1 and extent % V == 0 and other % V == 0 and all(s % V == 0 for s in batch)
    return along, V if fits else 1


def _stages(product: Gemm, chunks: int, accumulate: bool) -> list[Gemm]:
    """A launch for each chunk of k, one after the other."""
    return [
        product._replace(
            fresh=int(c == 0 and not accumulate),
            final=int(c >= chunks - 1),
            begin=c * product.chunk,
        )
        for c in range(max(chunks, 1))
    ]


def _tiled(
    dtype: str,
    size: tuple[int, int, int],
    batch: tuple[int, ...],
    strides: tuple[Strides, ...],
    accumulate: bool,
    activation: DeviceFunction | None,
) -> tuple[Launch, int]:
    M, N, K = size
    x, y, out = strides
    items = math.prod(batch)
    chosen = products(dtype)
    tile, step = _tile(chosen, M, N, items), chosen.chunk
    down, across = -(-M // tile.BM), -(-N // tile.BN)
    chunks = -(-K // step)
    row_major = (*_contiguous(batch, M, N), 1)
    few = down * across * items < chosen.split
    split = chunks > 1 and few and activation is None and out == row_major
    reads = [
        _reading(dtype, x[-2], x[-1], M, K, x[:-2]),
        _reading(dtype, y[-1], y[-2], N, K, y[:-2]),
    ]
    target = row_major if split else out
    dims, walk = _batches(batch, (x, y, target))
    size_of = np.dtype(dtype).itemsize
    vector_out = 16 // dtypes.row(dtypes.row(dtype).short).nbytes
    row, whole_rows = target[-2], all(s % vector_out == 0 for s in (N, *target[:-1]))
    panel = tile.BK * size_of
    strides_of = (x[-2], x[-1], panel * x[-1], y[-1], y[-2], panel * y[-2])
    tail = (*walk, *strides_of, down * across * items)
    whole_product = Gemm(
        parts=0, fresh=1, final=0, begin=0, chunk=step, M=M, N=N, K=K, os_row=row,
        out_whole=int(whole_rows), tiles_m=down, tiles_n=across,
    )  # fmt: skip
    stages = _stages(whole_product, chunks, accumulate)
    vector_mask = 15 if any(V > 1 for _, V in reads) else 0

    def build(biased: bool, aligned: bool) -> Launch:
        ways = [(along, V if aligned else 1) for along, V in reads]
        return tiles.build(dtype, tile, *ways[0], *ways[1], dims, biased, activation)

    def launch(x_at: int, y_at: int, out: int, scratch: int = 0, bias: int = 0) -> None:
        function = build(bias != 0, (x_at | y_at) & vector_mask == 0)
        for stage in stages:
            function(x_at, y_at, out, bias, *stage, *tail, 1, 1)

    if not split:
        return launch, 0

    total = M * N * items
    apart = whole_product._replace(parts=total)

    def in_chunks(x_at: int, y_at: int, out: int, scratch: int, bias: int = 0) -> None:
        function = build(False, (x_at | y_at) & vector_mask == 0)
        function(x_at, y_at, scratch, 0, *apart, *tail, chunks, 1)
        whole_sum = add_chunks.build(dtype, bias != 0, chosen.threads)
        grid = (-(-total // chosen.threads), 1, 1)
        whole_sum(scratch, out, bias, total, 1, N, chunks, int(accumulate), *grid)

    return in_chunks, chunks * M * N * items * size_of


def _contiguous(batch: tuple[int, ...], M: int, N: int) -> Strides:
    """Row-major strides of a (*batch, M, N) array, but for the last."""
    strides = [N]
    step = M * N
    for size in reversed(batch):
        strides.insert(0, step)
        step *= size
    return tuple(strides)

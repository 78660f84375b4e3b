"""The kernels of matrix products over register tiles."""

from __future__ import annotations

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.device.shapes import Tile
from tilegrad.kernels.cuda.parts.tiled_gemm import StridedIterator, multiply
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.function import DeviceFunction


@kernel
def tiles(
    dtype: str, tile: Tile, x_along: str, x_vector: int, y_along: str, y_vector: int,
    dims: int, biased: bool, activation: DeviceFunction | None = None,
) -> Source:  # fmt: skip
    """``out = activation(x @ y + bias)`` for a batch of matrices; see
    :func:`tilegrad.kernels.cuda.parts.tiled_gemm.multiply` for the parameters.
    """
    size = np.dtype(dtype).itemsize
    x = StridedIterator("x", tile, x_along, x_vector, size)
    y = StridedIterator("y", tile, y_along, y_vector, size)
    slim = x_vector > 1 and y_vector > 1
    per_sm = tile.per_sm if slim or size < 4 else max(1, tile.per_sm // 2)
    return multiply(
        dtype, tile, x, y, dims, biased="column" if biased else "", activation=activation,
        per_sm=per_sm,
    )  # fmt: skip


@kernel
def add_chunks(dtype: str, biased: bool, threads: int) -> Source:
    """``out = chunk 0 + chunk 1 + …`` in order, then the bias: the second stage of a split k.

    Parameters: parts, out, bias, elements, how many in a row have the same bias, biases, chunks,
    whether to start from what ``out`` holds.
    """
    T = np.dtype(dtype).type
    A = np.dtype(dtypes.row(dtype).short).type

    def sum_chunks_body(parts, out, bias, total, run, biases, chunks, accumulate):
        i = block() * threads + thread()
        if i < total:
            source, target = pointer(parts, T), pointer(out, T)
            a = A(source[i])
            if accumulate:
                a = A(target[i]) + a
            for c in range(1, chunks):
                a = a + A(source[c * total + i])
            if biased:
                a = a + A(pointer(bias, T)[i // run % biases])
            target[i] = T(a)

    return Source(sum_chunks_body, "i" * 8, threads)

"""Reductions over the threads of a warp, several warps or a whole block."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, barrier, shared, shuffle_xor, thread
from tilegrad.kernels.function import DeviceFunction, inline


def stored(dtype: str) -> Any:
    """The NumPy type that elements of ``dtype`` are read and written as: bool as uint8."""
    return np.dtype("uint8" if dtype == "bool" else dtype).type


def block_reduce(combine: DeviceFunction, dtype: str, lanes: int) -> DeviceFunction:
    """The device function ``fold(a)``: the combination over ``lanes`` threads that follow each
    other, in all of them, to the bit if ``combine`` commutes. All threads of the block must call it.
    """
    warps = lanes // WARP
    steps = min(lanes, WARP)
    parts = shared(dtype, max(warps, 1), "tree")
    T = np.dtype(dtype).type

    @inline
    def fold(a):
        step = steps // 2
        while step > 0:
            a = T(combine(a, shuffle_xor(a, step)))
            step //= 2
        if warps > 1:
            held = parts()
            barrier()
            if thread() % WARP == 0:
                held[thread() // WARP] = a
            barrier()
            a = held[thread() % warps]
            step = warps // 2
            while step > 0:
                a = T(combine(a, shuffle_xor(a, step)))
                step //= 2
        return a

    return fold

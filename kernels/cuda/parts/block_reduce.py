"""Reductions over the threads of a warp, several warps or a whole block."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.kernels.accumulators import function, items, packed, reading, writing
from tilegrad.kernels.cuda.device.ptx import WARP, barrier, shared, shuffle_xor, thread
from tilegrad.kernels.function import DeviceFunction, inline


def stored(dtype: str) -> Any:
    """The NumPy type that elements of ``dtype`` are read and written as: bool as uint8."""
    return np.dtype("uint8" if dtype == "bool" else dtype).type


def block_reduce(combine: DeviceFunction, dtype: str, lanes: int, width: int = 1) -> DeviceFunction:
    """The device function ``fold(a)``: the combination over ``lanes`` threads that follow each
    other, in all of them, to the bit if ``combine`` commutes. All threads of the block must call it.
    ``a`` is a number, or a tuple of ``width`` numbers that ``combine`` keeps in their type.
    """
    warps = lanes // WARP
    steps = min(lanes, WARP)
    parts = shared(dtype, max(warps, 1) * width, "tree")
    swaps = [f"shuffle_xor({a}, step)" for a in items("a", width)]
    swapped = function("swapped", "a, step", packed(swaps), {"shuffle_xor": shuffle_xor})
    get, put = reading(width), writing(width)

    scope = {"T": np.dtype(dtype).type, "combine": combine}
    typed = function("typed", "a, b", "T(combine(a, b))", scope) if width == 1 else combine

    @inline
    def fold(a):
        step = steps // 2
        while step > 0:
            a = typed(a, swapped(a, step))
            step //= 2
        if warps > 1:
            held = parts()
            barrier()
            if thread() % WARP == 0:
                put(held, thread() // WARP, warps, a)
            barrier()
            a = get(held, thread() % warps, warps)
            step = warps // 2
            while step > 0:
                a = typed(a, swapped(a, step))
                step //= 2
        return a

    return fold

"""Attention and its gradients without the matrix of scores: planning and launching."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu import attention_block as block
from tilegrad.kernels.cpu.attention_forward import forward
from tilegrad.kernels.cpu.product import PANEL
from tilegrad.kernels.cpu.threads import get_num_threads
from tilegrad.kernels.cpu.tile import heights
from tilegrad.kernels.cpu.vector import lanes
from tilegrad.kernels.scores import Scores

SERIAL = 1 << 20  # multiply-adds below which a second thread costs more than it gives


def fits(E: int, F: int) -> bool:
    """Whether there are kernels for queries of ``E`` features and values of ``F``."""
    return max(E, F) * 32 <= block.CAPACITY


def _split(count: int, most: int, multiple: int) -> int:
    """The size of even parts of ``count``, at most about ``most`` each, in whole multiples."""
    parts = -(-count // most)
    return -(-(-(-count // parts)) // multiple) * multiple


def _plan(given: Scores) -> np.ndarray:
    N, tallest = PANEL * lanes(given.dtype), heights()[0]
    wide = max(given.E, -(-given.F // lanes(given.dtype)) * lanes(given.dtype))
    rows = min(block.ROWS, block.CAPACITY // wide) // N * N
    p = np.zeros(block.PLAN, np.int64)
    p[[block.INNER_ITEMS, block.L, block.S]] = given.batch[1], given.L, given.S
    p[[block.E, block.F, block.CAUSAL]] = given.E, given.F, given.causal
    p[block.MASK] = ("none", "bool", "float").index(given.mask)
    for first, strides in (
        (block.Q_OUTER, given.q), (block.K_OUTER, given.k), (block.V_OUTER, given.v),
        (block.MASK_OUTER, given.m),
    ):  # fmt: skip
        p[first : first + 2] = strides[:2]
    p[[block.Q_ROW, block.K_ROW, block.V_ROW]] = given.q[2], given.k[2], given.v[2]
    p[[block.MASK_ROW, block.MASK_COL]] = given.m[2:]
    p[block.QUERIES] = _split(given.L, rows, N)
    p[block.KEYS] = min(_split(given.S, block.COLUMNS, tallest), block.COLUMNS)
    p[block.BLOCKS] = -(-given.L // p[block.QUERIES])
    return p


def attention(given: Scores) -> tuple[Callable[..., None], int]:
    """Prepare ``launch(q, k, v, [mask], out, lse)``; gives ``(launch, scratch_bytes)``."""
    p, function = _plan(given), forward.build(given.dtype)
    items = given.batch[0] * given.batch[1]
    tasks, address, scale = int(items * p[block.BLOCKS]), p.ctypes.data, given.scale
    small = items * given.L * given.S * (given.E + given.F) < SERIAL
    masked = given.mask != "none"

    def launch(q: int, k: int, v: int, *rest: int, _plan: np.ndarray = p) -> None:
        mask, out, lse = rest if masked else (0, *rest)
        threads = 0 if small else get_num_threads()
        function(q, k, v, mask, out, lse, address, scale, tasks, threads)

    return launch, 0

"""Attention and its gradients without the matrix of scores: planning and launching."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.attention import block as block
from tilegrad.kernels.cpu.attention.backward import Grads, backward, collect
from tilegrad.kernels.cpu.attention.forward import forward
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import backward_follows
from tilegrad.kernels.cpu.run.threads import get_num_threads
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import NR_VECTORS, Attention
from tilegrad.kernels.scores import Scores


def fits(dtype: str, features: int) -> bool:
    """Whether the kernels support this number of features of queries or values."""
    return features <= Attention.features


def _split(count: int, most: int, multiple: int) -> int:
    """The size of even parts of ``count``, at most about ``most`` each, in whole multiples."""
    parts = -(-count // most)
    each = -(-count // parts)
    return -(-each // multiple) * multiple


def _params(given: Scores) -> np.ndarray:
    N, mr = NR_VECTORS * lanes(given.dtype), tuning.micro_kernel(given.dtype).mr[0]
    padded = max(given.E, -(-given.F // lanes(given.dtype)) * lanes(given.dtype))
    rows = min(Attention.queries, Attention.capacity // padded) // N * N
    p = np.zeros(block.PARAMS, np.int64)
    items = given.batch[0] * given.batch[1]
    p[[block.ITEMS, block.INNER_ITEMS]] = items, given.batch[1]
    p[[block.L, block.S]] = given.L, given.S
    p[[block.E, block.F, block.CAUSAL]] = given.E, given.F, given.causal
    p[block.SHARE] = given.share
    p[block.MASK] = ("none", "bool", "float").index(given.mask)
    for first, strides in (
        (block.Q_OUTER, given.q), (block.K_OUTER, given.k), (block.V_OUTER, given.v),
        (block.MASK_OUTER, given.m),
    ):  # fmt: skip
        p[first : first + 2] = strides[:2]
    p[[block.Q_ROW, block.K_ROW, block.V_ROW]] = given.q[2], given.k[2], given.v[2]
    p[[block.MASK_ROW, block.MASK_COL]] = given.m[2:]
    p[block.QUERIES] = _split(given.L, splitting.extent(given.L, rows, N), N)
    keys = splitting.extent(given.S, Attention.keys, mr)
    p[block.KEYS] = min(_split(given.S, keys, mr), Attention.keys)
    p[block.BLOCKS] = -(-given.L // p[block.QUERIES])
    blocks = int(p[block.BLOCKS])
    p[block.GROUPS] = splitting.pieces(min(blocks, -(-Attention.units // items)), blocks)
    return p


def attention(given: Scores) -> tuple[Callable[..., None], int]:
    """Prepare ``launch(q, k, v, [mask], out, lse)``; gives ``(launch, scratch_bytes)``."""
    if backward_follows():
        backward.begin(given.dtype)
    p, function = _params(given), forward.build(given.dtype)
    tasks, address, scale = int(p[block.ITEMS] * p[block.BLOCKS]), p.ctypes.data, given.scale
    small = splitting.serial(_work(given), Attention.serial)
    masked = given.mask != "none"

    def launch(q: int, k: int, v: int, *rest: int, _params: np.ndarray = p) -> None:
        mask, out, lse = rest if masked else (0, *rest)
        threads = 0 if small else get_num_threads()
        function(q, k, v, mask, out, lse, address, scale, tasks, threads)

    return launch, 0


def attention_backward(given: Scores) -> tuple[Callable[..., None], int]:
    """Prepare ``launch(g, q, k, v, out, lse, [mask], dq, dk, dv, scratch)``; gives
    ``(launch, scratch_bytes)``.

    ``g``, ``out`` and the gradients are row-major; dk and dv have a head for each of q. Where there are few items, blocks of queries are
    shared out to groups, whose sums of dk and dv are added up in order.
    """
    p = _params(given)
    if p[block.GROUPS] > 1:
        collect.begin(given.dtype)
    function = backward.build(given.dtype)
    tasks, address, scale = int(p[block.ITEMS] * p[block.GROUPS]), p.ctypes.data, given.scale
    small = splitting.serial(_work(given), Attention.serial)
    masked, groups = given.mask != "none", int(p[block.GROUPS])
    size, rows = np.dtype(given.dtype).itemsize, int(p[block.ITEMS]) * given.S
    add = collect.build(given.dtype) if groups > 1 else None

    def launch(
        g: int, q: int, k: int, v: int, out: int, lse: int, *rest: int, _params: np.ndarray = p
    ) -> None:
        mask, dq, dk, dv, *more = rest if masked else (0, *rest)
        threads = 0 if small else get_num_threads()
        part_k, part_v = dk, dv
        if groups > 1:
            part_k, part_v = more[0], more[0] + size * groups * rows * given.E
        grads = Grads(dq, part_k, part_v)
        function(g, q, k, v, out, lse, mask, *grads, address, scale, tasks, threads)
        if add is not None:
            for part, made, features in ((part_k, dk, given.E), (part_v, dv, given.F)):
                total = rows * features
                each, tasks_each = splitting.share(total, 1, Attention.grain)
                add(part, made, total, groups, each, tasks_each, threads)

    return launch, size * groups * rows * (given.E + given.F) if groups > 1 else 0


def _work(given: Scores) -> int:
    """Multiply-adds of the forward pass."""
    return given.batch[0] * given.batch[1] * given.L * given.S * (given.E + given.F)

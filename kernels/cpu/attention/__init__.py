"""Attention and its gradients without the matrix of scores: planning and launching."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.attention.backward import Grads, backward, collect
from tilegrad.kernels.cpu.attention.block import AT
from tilegrad.kernels.cpu.attention.forward import forward
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import backward_follows
from tilegrad.kernels.cpu.run.threads import get_num_threads
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import NR_VECTORS, Attention
from tilegrad.kernels.plans import with_absent
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
    p = np.zeros(len(AT), np.int64)
    items = given.batch[0] * given.batch[1]
    p[[AT.items, AT.inner_items]] = items, given.batch[1]
    p[[AT.L, AT.S]] = given.L, given.S
    p[[AT.E, AT.F, AT.causal]] = given.E, given.F, given.causal
    p[AT.share] = given.share
    p[AT.mask] = ("none", "bool", "float").index(given.mask)
    for first, strides in (
        (AT.q_outer, given.q), (AT.k_outer, given.k), (AT.v_outer, given.v),
        (AT.mask_outer, given.m),
    ):  # fmt: skip
        p[first : first + 2] = strides[:2]
    p[[AT.q_row, AT.k_row, AT.v_row]] = given.q[2], given.k[2], given.v[2]
    p[[AT.mask_row, AT.mask_col]] = given.m[2:]
    p[AT.queries] = _split(given.L, splitting.extent(given.L, rows, N), N)
    keys = splitting.extent(given.S, Attention.keys, mr)
    p[AT.keys] = min(_split(given.S, keys, mr), Attention.keys)
    p[AT.blocks] = -(-given.L // p[AT.queries])
    blocks = int(p[AT.blocks])
    p[AT.groups] = splitting.pieces(min(blocks, -(-Attention.units // items)), blocks)
    return p


def attention(given: Scores) -> tuple[Callable[..., None], int]:
    """Prepare ``launch(q, k, v, [mask], out, lse)``; gives ``(launch, scratch_bytes)``."""
    if backward_follows():
        backward.begin(given.dtype)
    p, function = _params(given), forward.build(given.dtype)
    tasks, address, scale = int(p[AT.items] * p[AT.blocks]), p.ctypes.data, given.scale
    small = splitting.serial(_work(given), Attention.serial)
    masked = given.mask != "none"

    def launch(
        q: int, k: int, v: int, mask: int, out: int, lse: int, *, _params: np.ndarray = p
    ) -> None:
        threads = 0 if small else get_num_threads()
        function(q, k, v, mask, out, lse, address, scale, tasks, threads)

    return with_absent(launch, (True, True, True, masked)), 0


def attention_backward(given: Scores) -> tuple[Callable[..., None], int]:
    """Prepare ``launch(g, q, k, v, out, lse, [mask], dq, dk, dv, scratch)``; gives
    ``(launch, scratch_bytes)``.

    ``g``, ``out`` and the gradients are row-major; dk and dv have a head for each of q. Where there are few items, blocks of queries are
    shared out to groups, whose sums of dk and dv are added up in order.
    """
    p = _params(given)
    if p[AT.groups] > 1:
        collect.begin(given.dtype)
    function = backward.build(given.dtype)
    tasks, address, scale = int(p[AT.items] * p[AT.groups]), p.ctypes.data, given.scale
    small = splitting.serial(_work(given), Attention.serial)
    masked, groups = given.mask != "none", int(p[AT.groups])
    size, rows = np.dtype(given.dtype).itemsize, int(p[AT.items]) * given.S
    add = collect.build(given.dtype) if groups > 1 else None

    def launch(
        g: int, q: int, k: int, v: int, out: int, lse: int, mask: int, dq: int, dk: int, dv: int,
        parts: int = 0, *, _params: np.ndarray = p,
    ) -> None:  # fmt: skip
        threads = 0 if small else get_num_threads()
        part_k, part_v = dk, dv
        if groups > 1:
            part_k, part_v = parts, parts + size * groups * rows * given.E
        grads = Grads(dq, part_k, part_v)
        function(g, q, k, v, out, lse, mask, *grads, address, scale, tasks, threads)
        if add is not None:
            for part, made, features in ((part_k, dk, given.E), (part_v, dv, given.F)):
                total = rows * features
                each, tasks_each = splitting.share(total, 1, Attention.grain)
                add(part, made, total, groups, each, tasks_each, threads)

    scratch = size * groups * rows * (given.E + given.F) if groups > 1 else 0
    return with_absent(launch, (*[True] * 6, masked)), scratch


def _work(given: Scores) -> int:
    """Multiply-adds of the forward pass."""
    return given.batch[0] * given.batch[1] * given.L * given.S * (given.E + given.F)

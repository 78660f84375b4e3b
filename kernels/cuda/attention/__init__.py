"""Attention and its gradients without the matrix of scores: planning and launching."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.attention.backward import keys, queries
from tilegrad.kernels.cuda.attention.forward import forward
from tilegrad.kernels.cuda.attention.tile import Params
from tilegrad.kernels.cuda.device.shapes import AttentionTile
from tilegrad.kernels.cuda.tuning import ATTENTION, find, row
from tilegrad.kernels.plans import with_absent
from tilegrad.kernels.scores import Scores


def fits(dtype: str, features: int) -> bool:
    """Whether the kernels support this number of features of queries or values."""
    chosen = find(
        ATTENTION, dtype
    )  # that there is none, the planner says, which knows the operands
    return chosen is None or features <= min(chosen.forward[-1].D, chosen.backward[-1].D)


def _tile(given: Scores, tiles: tuple[AttentionTile, ...]) -> AttentionTile:
    """The first tile with room for the features."""
    return next(tile for tile in tiles if max(given.E, given.F) <= tile.D)


def _vector(given: Scores) -> int:
    """Elements that move together: 16 bytes, if rows and items of all operands consist of them."""
    V = 16 // np.dtype(given.dtype).itemsize
    steps = [s for x in (given.q, given.k, given.v) for s in x[:3]]
    return V if all(n % V == 0 for n in (given.E, given.F, *steps)) else 1


def _params(given: Scores, blocks: int) -> Params:
    """With so many blocks to an item."""
    return Params(
        given.L, given.S, given.E, given.F, given.batch[1], given.share, blocks, given.scale,
        *given.q[:3], *given.k[:3], *given.v[:3], *given.m,
    )  # fmt: skip


def attention(given: Scores) -> tuple[Callable[..., None], int]:
    """Prepare ``launch(q, k, v, [mask], out, lse)``; gives ``(launch, scratch_bytes)``."""
    chosen = row(ATTENTION, given.dtype, "attention")
    tile, vector, masked = _tile(given, chosen.forward), _vector(given), given.mask != "none"
    blocks = -(-given.L // tile.BR)
    tail = (*_params(given, blocks), given.batch[0] * given.batch[1] * blocks, 1, 1)

    def launch(q: int, k: int, v: int, mask: int, out: int, lse: int) -> None:
        V = 1 if (q | k | v) % 16 else vector
        function = forward.build(given.dtype, tile, V, given.mask, given.causal)
        function(q, k, v, mask, out, lse, *tail)

    return with_absent(launch, (True, True, True, masked)), 0


def attention_backward(given: Scores) -> tuple[Callable[..., None], int]:
    """Prepare ``launch(g, q, k, v, out, lse, [mask], dq, dk, dv, scratch)``; gives
    ``(launch, scratch_bytes)``.

    ``g``, ``out`` and the gradients are row-major; dk and dv have a head for each of q.
    """
    chosen = row(ATTENTION, given.dtype, "attention")
    tile, vector, masked = _tile(given, chosen.backward), _vector(given), given.mask != "none"
    items = given.batch[0] * given.batch[1]
    tails = []
    for blocks in (-(-given.L // tile.BR), -(-given.S // tile.BR)):
        tails.append((*_params(given, blocks), items * blocks, 1, 1))

    def launch(
        g: int, q: int, k: int, v: int, out: int, lse: int, mask: int, dq: int, dk: int, dv: int,
        sums: int,
    ) -> None:  # fmt: skip
        V = 1 if (g | q | k | v) % 16 else vector
        variant = (given.dtype, tile, V, given.mask, given.causal)
        queries.build(*variant)(g, q, k, v, mask, out, lse, dq, sums, *tails[0])
        keys.build(*variant)(g, q, k, v, mask, lse, sums, dk, dv, *tails[1])

    return with_absent(launch, (*[True] * 6, masked)), items * given.L * np.dtype(
        given.dtype
    ).itemsize

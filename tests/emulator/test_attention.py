"""Attention's CUDA kernels on the emulator: many blocks and tiles, bank conflicts, planted mistakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.emulator.device import Device, emulated
from tests.emulator.flow import Fault
from tilegrad.kernels.cuda.attention import attention, attention_backward
from tilegrad.kernels.scores import Scores


def exact(q: Any, k: Any, v: Any, g: Any, mask: Any, causal: bool) -> tuple[np.ndarray, ...]:
    """Result and gradients in float64; k and v have as many heads as q."""
    q, k, v, g = (x.astype(np.float64) for x in (q, k, v, g))
    scale = 1 / math.sqrt(q.shape[-1])
    s = np.einsum("nhle,nhse->nhls", q, k) * scale
    if causal:
        s = np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    with np.errstate(all="ignore"):
        p = np.exp(s - s.max(-1, keepdims=True))
        p = np.nan_to_num(p / p.sum(-1, keepdims=True))
    out = p @ v
    d = p * (g @ v.swapaxes(-1, -2) - (g * out).sum(-1, keepdims=True)) * scale
    return out, d @ k, d.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g


def check(
    device: Device, L: int, S: int, E: int, F: int, *, dtype: str = "float32", causal: bool = False,
    mask: np.ndarray | None = None, share: int = 1,
) -> None:  # fmt: skip
    """Forward and backward through the launchers."""
    rng = np.random.default_rng(0)
    shapes = ((1, 2, L, E), (1, 2 // share, S, E), (1, 2 // share, S, F), (1, 2, L, F))
    q, k, v, g = (rng.standard_normal(s).astype(dtype) for s in shapes)
    steps = [tuple(n // x.itemsize for n in x.strides) for x in (q, k, v)]
    kind, m_steps, masks = "none", (0, 0, 0, 0), []
    if mask is not None:
        kind, masks = "bool" if mask.dtype == bool else "float", [device.put(mask)]
        m_steps = (0, 0, mask.shape[-1], 1)
    given = Scores(
        dtype, (1, 2), share, L, S, E, F, causal, kind, *steps, m_steps, 1 / math.sqrt(E)
    )
    operands = [device.put(x) for x in (q, k, v)]
    result = np.full((1, 2, L, F), 77, dtype)
    out, lse = device.put(result), device.put(np.full((1, 2, L), 77, dtype))
    launch, _ = attention(given)
    launch(*operands, *masks, out, lse)
    wide = [np.repeat(x, share, 1) for x in (k, v)]
    made = [device.put(np.full_like(x, 77)) for x in (q, *wide)]
    back, scratch = attention_backward(given)
    back(device.put(g), *operands, out, lse, *masks, *made, device.scratch(scratch))
    limit = 2e-5 if dtype == "float32" else 1e-12
    for have, want in zip((out, *made), exact(q, *wide, g, mask, causal), strict=True):
        np.testing.assert_allclose(device.get(have), want, rtol=limit, atol=limit)


def _mask(kind: str, L: int, S: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    seen = (rng.random((L, S)) < 0.5) & (np.arange(L)[:, None] != 2)  # query 2 sees nothing
    if kind == "bool":
        return seen
    return np.where(seen, rng.standard_normal((L, S)), -np.inf).astype(kind)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [32, 64, 128])
@pytest.mark.parametrize("causal", [False, True])
def test_all_tiles(dtype: str, features: int, causal: bool) -> None:
    with emulated() as device:
        check(device, 70, 75, features, features, dtype=dtype, causal=causal)
    traffic = device.report.traffic.values()
    assert traffic and max(t.ways for t in traffic) == 1


@pytest.mark.parametrize(
    "L, S, E, F",
    [(1, 1, 1, 1), (31, 33, 17, 40), (33, 31, 65, 3), (130, 5, 8, 8), (5, 131, 100, 66)],
)
@pytest.mark.parametrize("causal", [False, True])
def test_odd_sizes(L: int, S: int, E: int, F: int, causal: bool) -> None:
    with emulated() as device:
        check(device, L, S, E, F, causal=causal)
        check(device, L, S, E, F, causal=causal, dtype="float64", share=2)


@pytest.mark.parametrize("kind", ["bool", "float32", "float64"])
def test_masks(kind: str) -> None:
    dtype = "float32" if kind == "bool" else kind
    with emulated() as device:
        check(device, 40, 70, 24, 16, dtype=dtype, mask=_mask(kind, 40, 70))


K_TILE = "copy_columns(k_at + size * key * p.k_row, p.k_row, p.S - key, p.E, columns, t)"
V_TILE = "copy_columns(v_at + size * key * p.v_row, p.v_row, p.S - key, p.F, columns, t)"
END = "end = min(p.S, first + BR) if causal else p.S"
START = "\n    accumulators, row_max"

MISTAKES = {
    "no barrier before a tile": (f"barrier()\n        {K_TILE}", K_TILE, "race"),
    "no barrier after the keys": (f"{K_TILE}\n        barrier()", K_TILE, "race|nobody wrote"),
    "values over keys in use": (f"barrier()\n        {V_TILE}", V_TILE, "race"),
    "a tile too few": (END + START, f"{END} - BC{START}", "Not equal"),
    "a row's end forgotten": ("inside = i < valid and", "inside =", "no live allocation|bounds"),
    "accumulators that are not rescaled": (
        "accumulators = scaled(accumulators, rescale)", "accumulators = accumulators", "Not equal",
    ),
    "the wrong features": ("as_int32(c * 4)", "as_int32(c * 8)", "bounds|nobody wrote"),
    "dS without a barrier": (
        "store_scores(d, scores, r, c)\n        warp_barrier()", "store_scores(d, scores, r, c)", "race",
    ),
    "P overwritten in use": ("warp_barrier()\n        store_scores(d", "store_scores(d", "race"),
    "a column of another query": ("sums[c + 8] if c + 8 < valid", "sums[c] if c + 8 < valid",
                                  "Not equal"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_seen(name: str) -> None:
    old, new, problem = MISTAKES[name]
    with emulated((old, new)) as device, pytest.raises((Fault, AssertionError), match=problem):
        check(device, 70, 75, 32, 32)

"""Indexing on every device: the order in which values meet, NaN, words, chunks of masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad
from tilegrad.engine import transfer
from tilegrad.engine.array import Array, from_numpy
from tilegrad.engine.device import device as as_device
from tilegrad.engine.ops import index as ops
from tilegrad.engine.transfer import host


def moved(x: np.ndarray, device: str) -> Array:
    """``x`` on the device."""
    return transfer.to_device(from_numpy(x), as_device(device))


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("length", [20, 150])
def test_accumulation_order(dim: int, length: int, device: str) -> None:
    """Position by position or place by place, float sums are those of a loop in index order."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((9, 6)).astype(np.float32)
    source = (rng.standard_normal((length, 6)) * 1e3).astype(np.float32)
    index = rng.integers(0, 9, length)
    along = rng.integers(0, 9, (length, 6))
    want, spread = x.copy(), x.copy()
    for k in range(length):
        want[index[k]] += source[k]
        for column in range(6):
            spread[along[k, column], column] += source[k, column]

    def on(array: np.ndarray) -> Any:
        turned = array.T if dim and array.ndim == 2 else array
        return tilegrad.from_numpy(turned.copy()).to(device)

    ours = on(x).index_add(dim, on(index), on(source)).cpu().numpy()
    assert np.array_equal(ours.T if dim else ours, want)
    full = on(index[:, None]).expand(*((6, length) if dim else (length, 6)))
    ours = on(x).scatter_add(dim, full, on(source)).cpu().numpy()
    assert np.array_equal(ours.T if dim else ours, want)
    ours = on(x).scatter_add(dim, on(along), on(source)).cpu().numpy()
    assert np.array_equal(ours.T if dim else ours, spread)


def test_nan_stays_in_its_place(device: str) -> None:
    """Extremes keep NaN; other places do not see it."""
    source = np.ones((60, 2))
    source[[3, 59], 0] = np.nan
    index = np.arange(60) % 5
    for how in ("amax", "amin", "sum"):
        made = ops.put(
            "put", moved(np.zeros((5, 2)), device), moved(index, device), moved(source, device), 0, how,
        )  # fmt: skip
        nan = np.isnan(host(made))
        assert nan[:, 0].tolist() == [False, False, False, True, True]
        assert not nan[:, 1].any()


def test_masks_of_several_chunks(device: str) -> None:
    """Chunks with nothing, masks that begin between two words, matrices cut anywhere."""
    rng = np.random.default_rng(8)
    flat = rng.standard_normal(4700)
    mask = rng.random(4700) < 0.3
    mask[2048:4100] = False
    for start in (0, 1, 4):
        x, holds = (tilegrad.from_numpy(a).to(device)[start:] for a in (flat, mask))
        kept = flat[start:][mask[start:]]
        assert np.array_equal(x[holds].cpu().numpy(), kept)
        assert np.array_equal(holds.nonzero().cpu().numpy()[:, 0], np.flatnonzero(mask[start:]))
        source = tilegrad.arange(float(kept.size), dtype="float64", device=device)
        filled = flat[start:].copy()
        filled[mask[start:]] = np.arange(kept.size)
        assert np.array_equal(x.masked_scatter(holds, source).cpu().numpy(), filled)
    box = flat[:4680].reshape(3, 39, 40)
    ours = tilegrad.from_numpy(box).to(device)
    for diagonal in (0, -5, 60):
        assert np.array_equal(ours.tril(diagonal).cpu().numpy(), np.tril(box, diagonal))
        assert np.array_equal(ours.triu(diagonal).cpu().numpy(), np.triu(box, diagonal))


def test_rows_read_by_words(device: str) -> None:
    """Rows of whole words at any address, elements beside one another, indices that repeat."""
    rng = np.random.default_rng(5)
    for dtype in ("bool", "int16", "float32", "float64"):
        table = rng.integers(0, 200, (37, 48)).astype(dtype)
        ours = tilegrad.from_numpy(table).to(device)
        index = rng.integers(-37, 37, 45)
        at = tilegrad.from_numpy(index).to(device)
        for start in (0, 1, 2, 8):
            for width in (16, 24, 17, 1):
                part = slice(start, start + width)
                assert np.array_equal(ours[:, part][at].cpu().numpy(), table[:, part][index])
        assert np.array_equal(ours[:, at[:9]].cpu().numpy(), table[:, index[:9]])
        pairs = tilegrad.from_numpy(index % 48).to(device)
        assert np.array_equal(ours[at, pairs].cpu().numpy(), table[index, index % 48])

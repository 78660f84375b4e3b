"""Indexing on the GPU: the order in which values meet, sorting by place, words, chunks of masks."""

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


def to_device(x: Array) -> Array:
    """``x`` on the GPU."""
    return transfer.to_device(x, as_device("cuda"))


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("length", [20, 150])
def test_accumulation_order_on_the_gpu(dim: int, length: int) -> None:
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

    def on_gpu(array: np.ndarray) -> Any:
        turned = array.T if dim and array.ndim == 2 else array
        return tilegrad.from_numpy(turned.copy()).to("cuda")

    ours = on_gpu(x).index_add(dim, on_gpu(index), on_gpu(source)).cpu().numpy()
    assert np.array_equal(ours.T if dim else ours, want)
    full = on_gpu(index[:, None]).expand(*((6, length) if dim else (length, 6)))
    ours = on_gpu(x).scatter_add(dim, full, on_gpu(source)).cpu().numpy()
    assert np.array_equal(ours.T if dim else ours, want)
    ours = on_gpu(x).scatter_add(dim, on_gpu(along), on_gpu(source)).cpu().numpy()
    assert np.array_equal(ours.T if dim else ours, spread)


def _loop(x: np.ndarray, index: np.ndarray, source: np.ndarray, how: str) -> np.ndarray:
    """``source`` combined into rows of ``x``, in index order, in float64."""
    meet = {
        "set": lambda a, b: b, "sum": np.add, "prod": np.multiply, "amax": np.maximum,
        "amin": np.minimum,
    }  # fmt: skip
    out = x.astype(np.float64 if x.dtype.kind == "f" else x.dtype)
    for place, row in zip(index, source, strict=True):
        out[place] = meet[how](out[place], row)
    return out


@pytest.mark.parametrize(
    "how, dtype",
    [
        ("sum", "float32"), ("sum", "uint8"), ("sum", "bool"), ("prod", "float64"),
        ("prod", "bool"), ("amax", "float32"), ("amin", "int64"), ("set", "int16"),
    ],
)  # fmt: skip
def test_groups_in_pieces_and_slabs(how: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places with more sources than a piece, more indices than a slab, negative indices."""
    from tilegrad.kernels.cuda.index import scatter_groups

    monkeypatch.setattr(scatter_groups, "PIECE_BITS", 2)
    monkeypatch.setattr(scatter_groups, "SLAB", 100)
    monkeypatch.setattr(ops.put_rows, "plans", {})
    rng = np.random.default_rng(11)
    index = np.where(rng.random(170) < 0.6, 3, rng.integers(-20, 20, 170))
    index[:40] = np.arange(-20, 20)
    x, source = (rng.standard_normal((n, 3)) * 2 for n in (20, 170))
    if how == "prod":
        source = 1 + source / 50
    x, source = (np.abs(a) if np.dtype(dtype).kind in "ub" else a for a in (x, source))
    x, source = x.astype(dtype), source.astype(dtype)
    results = []
    for _ in range(2):  # the simulated GPU takes blocks of threads in another order every time
        made = ops.put(
            "put", to_device(from_numpy(x)), to_device(from_numpy(index)),
            to_device(from_numpy(source)), 0, how, negative=True,
        )  # fmt: skip
        results.append(host(made))
    assert results[0].tobytes() == results[1].tobytes()
    want = _loop(x, index, source, how)
    if dtype == "bool" and how in ("sum", "prod"):
        want = _loop(x, index, source, {"sum": "amax", "prod": "amin"}[how])
    rtol = {"float32": 1e-5, "float64": 1e-13}.get(dtype, 0)
    np.testing.assert_allclose(results[0].astype(want.dtype), want, rtol=rtol, atol=100 * rtol)


def test_nan_stays_in_its_place() -> None:
    """Extremes keep NaN; other places do not see it."""
    source = np.ones((60, 2))
    source[[3, 59], 0] = np.nan
    index = np.arange(60) % 5
    for how in ("amax", "amin", "sum"):
        made = ops.put(
            "put", to_device(from_numpy(np.zeros((5, 2)))), to_device(from_numpy(index)),
            to_device(from_numpy(source)), 0, how,
        )  # fmt: skip
        nan = np.isnan(host(made))
        assert nan[:, 0].tolist() == [False, False, False, True, True]
        assert not nan[:, 1].any()


@pytest.mark.parametrize(
    "total, limit", [(1, 2), (33, 3), (300, 257), (700, 5), (4200, 300), (40, 1 << 33)]
)
def test_grouping(total: int, limit: int) -> None:
    """A stable sort: of one digit and several, by one block of threads and two."""
    from tilegrad.kernels.cuda.sort.group import Grouping

    rng = np.random.default_rng(total)
    groups = Grouping(total, limit)
    keys = rng.integers(0, limit, total).astype(groups.dtype)
    keys[::3] = keys[0]
    memory = np.zeros(groups.nbytes, np.uint8)
    memory[: keys.nbytes] = keys.view(np.uint8)
    scratch = to_device(from_numpy(memory))
    groups.launcher()(scratch.address)
    after = host(scratch)
    order = np.argsort(keys, kind="stable")
    assert np.array_equal(after[groups.sorted_keys :][: keys.nbytes].view(keys.dtype), keys[order])
    assert np.array_equal(after[groups.places :][: 8 * total].view(np.int64), order)
    first = np.searchsorted(keys[order], keys[order])
    ranks = after[groups.ranks :][: 4 * total].view(np.int32)
    assert np.array_equal(ranks, np.arange(total) - first)


def test_masks_of_several_chunks_on_the_gpu() -> None:
    """Chunks with nothing, masks that begin between two words, matrices cut anywhere."""
    rng = np.random.default_rng(8)
    flat = rng.standard_normal(4700)
    mask = rng.random(4700) < 0.3
    mask[2048:4100] = False
    for start in (0, 1, 4):
        x, holds = (tilegrad.from_numpy(a).to("cuda")[start:] for a in (flat, mask))
        kept = flat[start:][mask[start:]]
        assert np.array_equal(x[holds].cpu().numpy(), kept)
        assert np.array_equal(holds.nonzero().cpu().numpy()[:, 0], np.flatnonzero(mask[start:]))
        source = tilegrad.arange(float(kept.size), dtype="float64", device="cuda")
        filled = flat[start:].copy()
        filled[mask[start:]] = np.arange(kept.size)
        assert np.array_equal(x.masked_scatter(holds, source).cpu().numpy(), filled)
    box = flat[:4680].reshape(3, 39, 40)
    ours = tilegrad.from_numpy(box).to("cuda")
    for diagonal in (0, -5, 60):
        assert np.array_equal(ours.tril(diagonal).cpu().numpy(), np.tril(box, diagonal))
        assert np.array_equal(ours.triu(diagonal).cpu().numpy(), np.triu(box, diagonal))


def test_rows_read_by_words_on_the_gpu() -> None:
    """Rows of whole words at any address, elements beside one another, indices that repeat."""
    rng = np.random.default_rng(5)
    for dtype in ("bool", "int16", "float32", "float64"):
        table = rng.integers(0, 200, (37, 48)).astype(dtype)
        ours = tilegrad.from_numpy(table).to("cuda")
        index = rng.integers(-37, 37, 45)
        at = tilegrad.from_numpy(index).to("cuda")
        for start in (0, 1, 2, 8):
            for width in (16, 24, 17, 1):
                part = slice(start, start + width)
                assert np.array_equal(ours[:, part][at].cpu().numpy(), table[:, part][index])
        assert np.array_equal(ours[:, at[:9]].cpu().numpy(), table[:, index[:9]])
        pairs = tilegrad.from_numpy(index % 48).to("cuda")
        assert np.array_equal(ours[at, pairs].cpu().numpy(), table[index, index % 48])

"""Sorting: properties against NumPy, ties, NaN, threads, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.cases.case import ALL
from tests.conftest import DEVICES
from tests.cuda.simulated import retune
from tilegrad.engine.ops import sort as ops
from tilegrad.kernels.cpu.tuning import Sort
from tilegrad.kernels.cuda.tuning import SORT

VALUES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, 3.4e38)


LENGTH = {"cpu": 150, "cuda": 40}


@st.composite
def rows(draw: Any, device: str) -> np.ndarray:
    """Rows of any dtype with many ties, and for floats all kinds of values."""
    dtype = draw(st.sampled_from(ALL))
    shape = (draw(st.integers(0, 4)), draw(st.integers(1, LENGTH[device])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return filled(rng, dtype, shape, draw(st.booleans()))


def filled(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], wide: bool) -> np.ndarray:
    """Numbers of the whole range, or few different ones."""
    if np.dtype(dtype).kind == "f":
        x = rng.standard_normal(shape) * 10.0 ** rng.integers(-30, 30, shape)
        return (x if wide else rng.choice(VALUES, shape)).astype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    limits = np.iinfo(dtype)
    low, high = (limits.min, limits.max) if wide else (max(limits.min, -2), 3)
    return rng.integers(low, high, shape, dtype=dtype, endpoint=True)


def place(x: np.ndarray, device: str) -> Any:
    return tilegrad.from_numpy(x).to(device)


def bits(t: Any) -> bytes:
    return bytes(np.ascontiguousarray(t.cpu().numpy()).tobytes())


@pytest.mark.parametrize("device", DEVICES)
@given(st.data(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_sort(device: str, data: Any, descending: bool) -> None:
    """Stable, also descending; the values keep their bits (signs of zeros, too)."""
    x = data.draw(rows(device))
    values, places = place(x, device).sort(-1, descending)
    theirs = torch.sort(torch.from_numpy(x), dim=-1, descending=descending, stable=True)
    want = theirs.indices.numpy()
    assert np.array_equal(places.cpu().numpy(), want)
    assert bits(values) == np.take_along_axis(x, want, -1).tobytes()


@pytest.mark.parametrize("device", DEVICES)
@given(st.data(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_topk_is_the_head_of_the_sorted_row(device: str, data: Any, largest: bool) -> None:
    x = data.draw(rows(device))
    k = data.draw(st.integers(0, x.shape[1]))
    t = place(x, device)
    if x.dtype == bool:  # PyTorch sorts them, but has no topk of them
        with pytest.raises(RuntimeError, match="bool"):
            t.topk(k, -1, largest)
        return
    for have, want in zip(t.topk(k, -1, largest), t.sort(-1, descending=largest), strict=True):
        assert bits(have) == bits(want[:, :k])


@pytest.mark.parametrize("device", DEVICES)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_kthvalue_and_median(device: str, data: Any) -> None:
    x = data.draw(rows(device))
    k = data.draw(st.integers(1, x.shape[1]))
    t = place(x, device)
    ordered = t.sort()[0].cpu().numpy()
    values, places = (r.cpu().numpy() for r in t.kthvalue(k))
    np.testing.assert_array_equal(values, ordered[:, k - 1])
    np.testing.assert_array_equal(np.take_along_axis(x, places[:, None], 1)[:, 0], values)
    if x.dtype != bool:
        for name in ("median", "nanmedian"):
            have = getattr(tilegrad, name)(t, 1).values.cpu().numpy()
            want = getattr(torch, name)(torch.from_numpy(x), 1).values.numpy()
            np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("device", DEVICES)
@given(st.data(), st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_searchsorted(device: str, data: Any, seed: int, right: bool) -> None:
    x = data.draw(rows(device))
    x = x[~np.isnan(x).any(1)] if x.dtype.kind == "f" else x
    if x.dtype == bool or len(x) == 0:
        return
    sought = (
        np.random.default_rng(seed).permutation(x.reshape(-1))[: 3 * len(x)].reshape(len(x), -1)
    )
    borders = np.sort(x, 1)
    arrays = (place(a, device) for a in (borders, sought))
    have = tilegrad.searchsorted(*arrays, right=right).cpu().numpy()
    side = "right" if right else "left"
    for i in range(len(x)):
        assert np.array_equal(have[i], np.searchsorted(borders[i], sought[i], side))


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_both_algorithms(dtype: str, rng: np.random.Generator) -> None:
    """Lengths around the border between merging and radix sorting."""
    border = Sort.radix_from * np.dtype(dtype).itemsize
    for n in (border - 1, border, border + 1, 8 * 33 + 1):
        x = (rng.integers(-3, 3, (3, n)) * 1000).astype(dtype)
        places = tilegrad.from_numpy(x).argsort().numpy()
        assert np.array_equal(places, np.argsort(x, -1, kind="stable"))


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch):
    """On the device, rows soon count as long and are shared by blocks."""
    caches: list[dict[Any, Any]] = [op.plans for op in (ops._sort, ops._topk, ops._pick, ops._mode)]
    retune(monkeypatch, SORT, short=64, entries=64, gathered=32, tile=1 << 10)
    for plans in caches:
        plans.clear()
    yield monkeypatch
    for plans in caches:
        plans.clear()


LONG = [
    lambda t: t.sort(-1, True),
    lambda t: t.topk(3),
    lambda t: t.topk(32, -1, False),
    lambda t: t.kthvalue(101),
    lambda t: t.median(1),
    lambda t: t.nanmedian(1),
    lambda t: t.mode(-1),
]


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("dtype, wide", [("float32", False), ("float64", True), ("uint8", False)])
def test_long_rows_on_the_device(
    dtype: str, wide: bool, cut: bool, low_limits: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Radix sort, and selection by digits of keys and places: to the bit what the CPU gives."""
    if cut:
        retune(low_limits, SORT, chunk=128, single=128, run=128)
    x = filled(rng, dtype, (1 if cut else 2, 261), wide)
    for call in LONG[1:] if cut else LONG[:-1]:
        for have, want in zip(call(place(x, "cuda")), call(place(x, "cpu")), strict=True):
            assert bits(have) == bits(want)


@pytest.mark.parametrize("k", [1, 16, 32, 33, 100])
def test_few_entries_of_many_long_rows(k: int, rng: np.random.Generator) -> None:
    """At most 32 entries are gathered by all warps of a block, and sorted by one."""
    x = rng.standard_normal((6, 4096), dtype=np.float32)
    for have, want in zip(place(x, "cuda").topk(k), place(x, "cpu").topk(k), strict=True):
        assert bits(have) == bits(want)


@pytest.mark.parametrize(
    "call", [lambda x: x.sort(), lambda x: x.topk(5), lambda x: x.median(0), lambda x: x.sort(0)]
)
def test_threads_do_not_matter(call: Any, rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.integers(0, 50, (300, 200)).astype(np.float32))
    before = tilegrad.get_num_threads()
    results = []
    for threads in (1, 2):
        tilegrad.set_num_threads(threads)
        results.append([r.numpy().tobytes() for r in call(x)])
    tilegrad.set_num_threads(before)
    assert results[0] == results[1]


def test_names_of_results(device: str) -> None:
    x = tilegrad.tensor([3.0, 1.0, 2.0], device=device)
    assert x.sort().values.tolist() == [1, 2, 3]
    assert x.topk(1).indices.tolist() == [0]
    assert x.kthvalue(1).values.item() == 1
    assert x.median(0).indices.item() == 2
    assert x.mode().values.item() == 1


def test_shared_gradient_of_the_median(device: str) -> None:
    for values in ([1.0, 2.0, 2.0, 2.0, 5.0], [1.0, float("nan"), float("nan")]):
        grads = []
        for t, where in ((tilegrad, device), (torch, "cpu")):
            x = t.tensor(values, requires_grad=True, device=where)
            x.median().backward()
            grads.append(x.grad.tolist())
        assert grads[0] == pytest.approx(grads[1])


def test_empty(device: str) -> None:
    assert np.isnan(tilegrad.zeros(0, device=device).median().item())
    none = tilegrad.zeros(0, dtype=tilegrad.int64, device=device)
    assert none.median().item() == -(2**63)
    assert tilegrad.zeros(0, 2, device=device).median(1).values.shape == (0,)
    assert tilegrad.zeros(3, 0, device=device).sort().values.shape == (3, 0)
    assert tilegrad.zeros(3, 0, device=device).topk(0).values.shape == (3, 0)


ERRORS = [
    (lambda t, x: x.sort(2), IndexError),
    (lambda t, x: x.topk(5), RuntimeError),
    (lambda t, x: x.topk(-1), RuntimeError),
    (lambda t, x: x.kthvalue(0), RuntimeError),
    (lambda t, x: x.kthvalue(5), RuntimeError),
    (lambda t, x: t.zeros(2, 0).kthvalue(1), IndexError),
    (lambda t, x: t.zeros(2, 0).median(1), IndexError),
    (lambda t, x: t.zeros(2, 0).mode(1), IndexError),
    (lambda t, x: t.searchsorted(x, x[0]), RuntimeError),
    (lambda t, x: t.searchsorted(x[0], x, side="up"), RuntimeError),
    (lambda t, x: t.searchsorted(x[0], x, side="left", right=True), RuntimeError),
    (lambda t, x: t.bucketize(x, x), RuntimeError),
]


@pytest.mark.parametrize("call, error", ERRORS, ids=range(len(ERRORS)))
def test_errors(call: Any, error: Any) -> None:
    for t in (tilegrad, torch):
        with pytest.raises(error):
            call(t, t.ones(3, 4))

"""Sorting: properties against NumPy, ties, NaN, threads, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.cases.case import ALL
from tilegrad.kernels.cpu.sort import RADIX_FROM

VALUES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, 3.4e38)


@st.composite
def rows(draw: Any) -> np.ndarray:
    """Rows of any dtype with many ties, and for floats all kinds of values."""
    dtype = draw(st.sampled_from(ALL))
    shape = (draw(st.integers(0, 4)), draw(st.integers(1, 150)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    wide = draw(st.booleans())
    if np.dtype(dtype).kind == "f":
        x = rng.standard_normal(shape) * 10.0 ** rng.integers(-30, 30, shape)
        return (x if wide else rng.choice(VALUES, shape)).astype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    limits = np.iinfo(dtype)
    low, high = (limits.min, limits.max) if wide else (max(limits.min, -2), 3)
    return rng.integers(low, high, shape, dtype=dtype, endpoint=True)


@given(rows(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_sort(x: np.ndarray, descending: bool) -> None:
    """Stable, also descending; the values keep their bits (signs of zeros, too)."""
    values, places = tilegrad.from_numpy(x).sort(-1, descending)
    theirs = torch.sort(torch.from_numpy(x), dim=-1, descending=descending, stable=True)
    want = theirs.indices.numpy()
    assert np.array_equal(places.numpy(), want)
    assert values.numpy().tobytes() == np.take_along_axis(x, want, -1).tobytes()


@given(rows(), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_topk_is_the_head_of_the_sorted_row(x: np.ndarray, largest: bool, data: Any) -> None:
    k = data.draw(st.integers(0, x.shape[1]))
    t = tilegrad.from_numpy(x)
    for have, want in zip(t.topk(k, -1, largest), t.sort(-1, descending=largest), strict=True):
        assert have.numpy().tobytes() == np.ascontiguousarray(want.numpy()[:, :k]).tobytes()


@given(rows(), st.data())
@settings(max_examples=60, deadline=None)
def test_kthvalue_and_median(x: np.ndarray, data: Any) -> None:
    k = data.draw(st.integers(1, x.shape[1]))
    t = tilegrad.from_numpy(x)
    ordered = t.sort()[0].numpy()
    values, places = (r.numpy() for r in t.kthvalue(k))
    np.testing.assert_array_equal(values, ordered[:, k - 1])
    np.testing.assert_array_equal(np.take_along_axis(x, places[:, None], 1)[:, 0], values)
    if x.dtype != bool:
        for name in ("median", "nanmedian"):
            have = getattr(tilegrad, name)(t, 1).values.numpy()
            want = getattr(torch, name)(torch.from_numpy(x), 1).values.numpy()
            np.testing.assert_array_equal(have, want)


@given(rows(), st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_searchsorted(x: np.ndarray, seed: int, right: bool) -> None:
    x = x[~np.isnan(x).any(1)] if x.dtype.kind == "f" else x
    if x.dtype == bool or len(x) == 0:
        return
    sought = (
        np.random.default_rng(seed).permutation(x.reshape(-1))[: 3 * len(x)].reshape(len(x), -1)
    )
    borders = np.sort(x, 1)
    have = tilegrad.searchsorted(*map(tilegrad.from_numpy, (borders, sought)), right=right).numpy()
    side = "right" if right else "left"
    for i in range(len(x)):
        assert np.array_equal(have[i], np.searchsorted(borders[i], sought[i], side))


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_both_algorithms(dtype: str, rng: np.random.Generator) -> None:
    """Lengths around the border between merging and radix sorting."""
    border = RADIX_FROM * np.dtype(dtype).itemsize
    for n in (border - 1, border, border + 1, 8 * 33 + 1):
        x = (rng.integers(-3, 3, (3, n)) * 1000).astype(dtype)
        places = tilegrad.from_numpy(x).argsort().numpy()
        assert np.array_equal(places, np.argsort(x, -1, kind="stable"))


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


def test_names_of_results() -> None:
    x = tilegrad.tensor([3.0, 1.0, 2.0])
    assert x.sort().values.tolist() == [1, 2, 3]
    assert x.topk(1).indices.tolist() == [0]
    assert x.kthvalue(1).values.item() == 1
    assert x.median(0).indices.item() == 2
    assert x.mode().values.item() == 1


def test_shared_gradient_of_the_median() -> None:
    for values in ([1.0, 2.0, 2.0, 2.0, 5.0], [1.0, float("nan"), float("nan")]):
        grads = []
        for t in (tilegrad, torch):
            x = t.tensor(values, requires_grad=True)
            x.median().backward()
            grads.append(x.grad.tolist())
        assert grads[0] == pytest.approx(grads[1])


def test_empty() -> None:
    assert np.isnan(tilegrad.zeros(0).median().item())
    assert tilegrad.zeros(0, dtype=tilegrad.int64).median().item() == -(2**63)
    assert tilegrad.zeros(0, 2).median(1).values.shape == (0,)
    assert tilegrad.zeros(3, 0).sort().values.shape == (3, 0)
    assert tilegrad.zeros(3, 0).topk(0).values.shape == (3, 0)


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

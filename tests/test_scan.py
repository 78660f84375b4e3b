"""Scans: accuracy, threads, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=4),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_sums_of_integers_are_exact(shape: list[int], dim: int, flip: bool, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-5, 6, shape).astype("float64")
    x = x.transpose() if flip else x
    dim = dim % x.ndim
    assert np.array_equal(tilegrad.from_numpy(x).cumsum(dim).numpy(), x.cumsum(dim))


def test_a_long_float32_sum_stays_accurate(rng: np.random.Generator) -> None:
    x = rng.random(300_001, "float32")
    exact = x.astype("float64").cumsum()
    have = tilegrad.from_numpy(x).cumsum(0).numpy()
    np.testing.assert_allclose(have, exact, rtol=2e-7)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp", "cummax"])
def test_threads_do_not_change_a_bit(name: str, rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.uniform(0.9, 1.1, (311, 307)).astype("float32"))
    before = tilegrad.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            tilegrad.set_num_threads(count)
            made = [getattr(x, name)(dim) for dim in (0, 1)]
            made = [m.values if isinstance(m, tuple) else m for m in made]
            results.append([m.numpy().tobytes() for m in made])
    finally:
        tilegrad.set_num_threads(before)
    assert results[0] == results[1]


def test_logcumsumexp_at_the_ends() -> None:
    x = np.array([-np.inf, -np.inf, 1.0, 800.0, 801.0, -np.inf, np.inf, 0.0, np.nan, 1.0])
    have = tilegrad.from_numpy(x).logcumsumexp(0).numpy()
    want = torch.from_numpy(x).logcumsumexp(0).numpy()
    np.testing.assert_allclose(have, want, rtol=1e-12)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
def test_errors(name: str) -> None:
    x: Any = tilegrad.zeros(2, 3)
    with pytest.raises(IndexError, match="Dimension out of range"):
        getattr(x, name)(2)
    with pytest.raises(TypeError):
        getattr(x, name)("last")

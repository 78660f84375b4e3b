"""Pooling and convolution of integers against PyTorch's, value for value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import tilegrad
from tilegrad.nn import functional as F

DTYPES = ("uint8", "int8", "int16", "int32", "int64")


def _numbers(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    """All of the type's range, so that sums wrap around."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_max_pool(dtype: str, device: str, rng: np.random.Generator) -> None:
    for dims in (1, 2, 3):
        x = _numbers(rng, dtype, 2, 3, *(7, 5, 4)[:dims])
        for how in ({}, {"stride": 1, "padding": 1}, {"dilation": 2, "stride": 1}):
            name = f"max_pool{dims}d"
            ours = getattr(F, name)(
                tilegrad.from_numpy(x).to(device), 2, return_indices=True, **how
            )
            theirs = getattr(TF, name)(torch.from_numpy(x), 2, return_indices=True, **how)
            for have, want in zip(ours, theirs, strict=True):
                assert have.dtype.name == str(want.dtype).split(".")[1]
                assert np.array_equal(have.cpu().numpy(), want.numpy())


def test_max_pool_of_the_least_integers(device: str) -> None:
    x = np.full((1, 1, 3, 3), np.iinfo("int64").min)
    ours = F.max_pool2d(tilegrad.from_numpy(x).to(device), 2, padding=1, return_indices=True)
    theirs = TF.max_pool2d(torch.from_numpy(x), 2, padding=1, return_indices=True)
    assert all(
        np.array_equal(a.cpu().numpy(), b.numpy()) for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_convolution(dtype: str, rng: np.random.Generator) -> None:
    rows: list[dict[str, Any]] = [
        {}, {"stride": 2, "padding": 1}, {"groups": 2, "padding": 2},
    ]  # fmt: skip
    for dims in (1, 2, 3):
        for how in rows:
            x = _numbers(rng, dtype, 2, 4, *(7, 6, 5)[:dims])
            w = _numbers(rng, dtype, 6, 4 // how.get("groups", 1), *(3, 2, 3)[:dims])
            b = _numbers(rng, dtype, 6)
            name = f"conv{dims}d"
            have = getattr(F, name)(*map(tilegrad.from_numpy, (x, w, b)), **how)
            want = getattr(TF, name)(*map(torch.from_numpy, (x, w, b)), **how)
            assert have.dtype.name == dtype
            assert np.array_equal(have.numpy(), want.numpy()), (name, how)


def test_transposed_convolution(rng: np.random.Generator) -> None:
    """Of int64 alone, as PyTorch's."""
    rows: list[dict[str, Any]] = [
        {}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "padding": 2},
        {"stride": 3, "dilation": 2}, {"stride": (2,), "dilation": 3, "padding": 5, "groups": 2},
    ]  # fmt: skip
    for dims in (1, 2, 3):
        for how in rows:
            x = _numbers(rng, "int64", 2, 4, *(5, 1, 4)[:dims])
            w = _numbers(rng, "int64", 4, 3, *(3, 2, 3)[:dims])
            b = _numbers(rng, "int64", 3 * how.get("groups", 1))
            name = f"conv_transpose{dims}d"
            given = {**how, "padding": (how.get("padding", 0), 0, 1)[:dims]}
            have = getattr(F, name)(*map(tilegrad.from_numpy, (x, w, b)), **given)
            want = getattr(TF, name)(*map(torch.from_numpy, (x, w, b)), **given)
            assert have.dtype.name == "int64"
            assert np.array_equal(have.numpy(), want.numpy()), (name, how)


def test_mean_pool(device: str, rng: np.random.Generator) -> None:
    """Of int64 alone, as PyTorch's; the mean is rounded towards zero."""
    rows: list[dict[str, Any]] = [
        {}, {"stride": 2, "padding": 1}, {"stride": 1, "padding": 1, "count_include_pad": False},
        {"stride": 2, "ceil_mode": True}, {"divisor_override": 5}, {"divisor_override": -3},
    ]  # fmt: skip
    for dims in (1, 2, 3):
        for how in rows[: 4 if dims == 1 else None]:
            for small in (False, True):
                x = _numbers(rng, "int64", 2, 3, *(7, 6, 5)[:dims])
                x = x % 19 - 9 if small else x
                name = f"avg_pool{dims}d"
                have = getattr(F, name)(tilegrad.from_numpy(x).to(device), 3, **how)
                want = getattr(TF, name)(torch.from_numpy(x), 3, **how)
                assert have.dtype.name == "int64"
                assert np.array_equal(have.cpu().numpy(), want.numpy()), (name, how)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_what_is_of_int64_alone(dims: int) -> None:
    for dtype in ("uint8", "int8", "int16", "int32", "bool"):
        x, w = np.ones((1, 1, *(4,) * dims), dtype), np.ones((1, 1, *(2,) * dims), dtype)
        for module, make in ((F, tilegrad.from_numpy), (TF, torch.from_numpy)):
            with pytest.raises(NotImplementedError, match="not implemented"):
                getattr(module, f"conv_transpose{dims}d")(make(x), make(w))
            with pytest.raises(NotImplementedError, match="not implemented"):
                getattr(module, f"avg_pool{dims}d")(make(x), 2)


@pytest.mark.parametrize("name", ["adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_not_implemented(name: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(F, name)(tilegrad.ones(1, 1, 4, 4, dtype=tilegrad.int32), 2)
    with pytest.raises(NotImplementedError):
        F.max_pool2d(tilegrad.ones(1, 1, 4, 4, dtype=tilegrad.bool), 2)

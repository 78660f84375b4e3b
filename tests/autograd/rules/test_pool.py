"""Pools: any geometry, threads, special values, indices, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from hypothesis import given, settings, strategies as st

import tilegrad
from tilegrad.nn import functional as F


@st.composite
def pools(draw: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
    """A shape and the options of a pool with a result."""
    pick = lambda low, high: draw(st.integers(low, high))
    size, kernel, padding = [], [], []
    for _ in range(2):
        k = pick(1, 4)
        kernel.append(k)
        padding.append(pick(0, k // 2))
        size.append(pick(k, 21))
    options = {
        "kernel_size": tuple(kernel),
        "stride": (pick(1, 4), pick(1, 4)),
        "padding": tuple(padding),
        "ceil_mode": draw(st.booleans()),
    }
    return (pick(1, 2), pick(1, 3), *size), options


def _run(package: Any, name: str, x: np.ndarray, options: dict[str, Any]) -> list[np.ndarray]:
    """All results, and the gradient of the first under a seed of small integers."""
    make = tilegrad.from_numpy if package is tilegrad else torch.from_numpy
    tensor = make(x.copy()).requires_grad_()
    made = getattr(package.nn.functional, name)(tensor, **options)
    results = list(made) if isinstance(made, tuple) else [made]
    shape = tuple(results[0].shape)
    seed = np.arange(np.prod(shape)).reshape(shape).astype(x.dtype) % 7
    results[0].backward(make(seed))
    return [*(r.detach().numpy() for r in results), tensor.grad.numpy()]


@given(pools(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_maxima(case: tuple[tuple[int, ...], dict[str, Any]], seed: int) -> None:
    """Few different values, so that many windows hold equals: the first is taken."""
    shape, options = case
    x = np.random.default_rng(seed).integers(0, 4, shape).astype("float32")
    options = {**options, "return_indices": True}
    ours, theirs = (_run(p, "max_pool2d", x, options) for p in (tilegrad, torch))
    for have, want in zip(ours, theirs, strict=True):
        assert np.array_equal(have, want)


@given(pools(), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_means(case: tuple[tuple[int, ...], dict[str, Any]], include: bool, seed: int) -> None:
    shape, options = case
    x = np.random.default_rng(seed).integers(-9, 9, shape).astype("float32")
    options = {**options, "count_include_pad": include}
    ours, theirs = (_run(p, "avg_pool2d", x, options) for p in (tilegrad, torch))
    assert np.array_equal(ours[0], theirs[0])  # sums of integers are exact, one division follows
    np.testing.assert_allclose(ours[1], theirs[1], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_maxima_of_special_values(stride: int, rng: np.random.Generator) -> None:
    """A NaN wins, the last among several; windows of minus infinities have an index too."""
    x = rng.choice(np.array([np.nan, -np.inf, np.inf, 0.0, -0.0, 1.0], "float32"), (2, 2, 9, 9))
    x[0, 0] = -np.inf
    options = {"kernel_size": 3, "stride": stride, "padding": 1, "return_indices": True}
    have = F.max_pool2d(tilegrad.from_numpy(x), **options)
    want = torch.nn.functional.max_pool2d(torch.from_numpy(x), **options)
    for ours, theirs in zip(have, want, strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy(), equal_nan=ours.dtype.is_floating_point)
    values = F.max_pool2d(tilegrad.from_numpy(x), 3, stride, 1)
    assert np.array_equal(values.numpy(), want[0].numpy(), equal_nan=True)


@pytest.mark.parametrize(
    "name, options",
    [
        ("max_pool2d", {"kernel_size": 2}),
        ("max_pool2d", {"kernel_size": 3, "stride": 1, "padding": 1}),
        ("avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
        ("adaptive_avg_pool2d", {"output_size": 5}),
    ],
)
def test_bits_do_not_depend_on_threads(
    name: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    x = rng.standard_normal((16, 8, 33, 31)).astype("float32")
    before, results = tilegrad.get_num_threads(), []
    for threads in (1, 2):
        tilegrad.set_num_threads(threads)
        results.append(_run(tilegrad, name, x, options))
    tilegrad.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert np.array_equal(one, two)


def test_indices_serve_the_gradient_even_if_returned(rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.standard_normal((1, 1, 4, 4)).astype("float32")).requires_grad_()
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    assert values.requires_grad and not indices.requires_grad
    values.backward(tilegrad.from_numpy(np.ones((1, 1, 2, 2), "float32")))
    assert sorted(np.flatnonzero(x.grad.numpy())) == sorted(indices.numpy().ravel())
    indices.zero_()
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    indices.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.backward(tilegrad.from_numpy(np.ones((1, 1, 2, 2), "float32")))


@pytest.mark.parametrize(
    "name, shape, options, words",
    [
        ("max_pool2d", (3, 3), {"kernel_size": 2}, "Expected 3D or 4D"),
        ("max_pool2d", (1, 1, 3, 3), {"kernel_size": 4}, "too small"),
        ("max_pool2d", (1, 1, 3, 3), {"kernel_size": 2, "padding": 2}, "pad should be"),
        ("max_pool2d", (1, 1, 3, 3), {"kernel_size": 0}, "kernel size"),
        ("max_pool2d", (1, 1, 3, 3), {"kernel_size": 2, "stride": -1}, "stride"),
        ("max_pool2d", (1, 1, 3, 3), {"kernel_size": 2, "dilation": 0}, "dilation"),
        ("max_pool2d", (1, 1, 3, 3), {"kernel_size": (2, 2, 2)}, "kernel_size"),
        ("avg_pool2d", (1, 1, 3, 3), {"kernel_size": 2, "divisor_override": 0}, "divisor"),
        ("avg_pool2d", (1, 1, 0, 3), {"kernel_size": 2}, "Expected 3D or 4D"),
        ("adaptive_avg_pool2d", (1, 1, 3, 3), {"output_size": -1}, "output_size"),
        ("adaptive_avg_pool2d", (3, 3), {"output_size": 2}, "Expected 3D or 4D"),
    ],
)
def test_errors(name: str, shape: tuple[int, ...], options: dict[str, Any], words: str) -> None:
    x = np.zeros(shape, "float32")
    with pytest.raises(RuntimeError, match=words):
        getattr(F, name)(tilegrad.from_numpy(x), **options)
    with pytest.raises((RuntimeError, ValueError)):
        getattr(torch.nn.functional, name)(torch.from_numpy(x), **options)


def test_integers_are_refused() -> None:
    x = tilegrad.from_numpy(np.zeros((1, 1, 4, 4), "int64"))
    with pytest.raises(RuntimeError, match="int64"):
        F.adaptive_avg_pool2d(x, 2)


INTEGERS = ("uint8", "int8", "int16", "int32", "int64")


def _numbers(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    """All of the type's range, so that sums wrap around."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_maxima_of_integers(dtype: str, device: str, rng: np.random.Generator) -> None:
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


def test_maxima_of_the_least_integers(device: str) -> None:
    x = np.full((1, 1, 3, 3), np.iinfo("int64").min)
    ours = F.max_pool2d(tilegrad.from_numpy(x).to(device), 2, padding=1, return_indices=True)
    theirs = TF.max_pool2d(torch.from_numpy(x), 2, padding=1, return_indices=True)
    assert all(
        np.array_equal(a.cpu().numpy(), b.numpy()) for a, b in zip(ours, theirs, strict=True)
    )


def test_means_of_integers(device: str, rng: np.random.Generator) -> None:
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
def test_pools_that_are_not_implemented(name: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(F, name)(tilegrad.ones(1, 1, 4, 4, dtype=tilegrad.int32), 2)
    with pytest.raises(NotImplementedError):
        F.max_pool2d(tilegrad.ones(1, 1, 4, 4, dtype=tilegrad.bool), 2)

"""Planes at other sizes, in step with PyTorch: values, gradients, strides, bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

F, T = tilegrad.nn.functional, torch.nn.functional
SHAPES = {1: (2, 3, 7), 2: (2, 3, 7, 9), 3: (1, 2, 5, 6, 7)}
MODES = (
    ("nearest", 1), ("linear", 1), ("nearest", 2), ("nearest-exact", 2), ("bilinear", 2), ("bicubic", 2),
    ("nearest-exact", 3), ("trilinear", 3),
)  # fmt: skip


def _ways(mode: str, dims: int) -> list[dict[str, Any]]:
    ways: list[dict[str, Any]] = [{"size": (n,) * dims} for n in (1, 3, 13)]
    ways += [{"size": (4, 8, 20)[:dims]}, {"scale_factor": 1.7}, {"scale_factor": (0.5,) * dims}]
    if not mode.startswith("nearest"):
        ways.append({"size": (4, 20, 7)[:dims], "align_corners": True})
    if mode in ("bilinear", "bicubic"):
        ways += [{"size": (3, 20), "antialias": True}, {"size": (11, 2), "antialias": True}]
    return [{"mode": mode, **way} for way in ways]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode, dims", MODES)
def test_values_and_gradients(mode: str, dims: int, dtype: str) -> None:
    rng, tolerance = np.random.default_rng(dims), 1e-5 if dtype == "float32" else 1e-12
    for way in _ways(mode, dims):
        x = rng.standard_normal(SHAPES[dims]).astype(dtype)
        a, b = tilegrad.from_numpy(x).requires_grad_(), torch.from_numpy(x).requires_grad_()
        have, want = F.interpolate(a, **way), T.interpolate(b, **way)
        assert have.stride() == want.stride()
        np.testing.assert_allclose(
            have.detach().numpy(), want.detach().numpy(), rtol=0, atol=tolerance
        )
        g = rng.standard_normal(tuple(want.shape)).astype(dtype)
        have.backward(tilegrad.from_numpy(g))
        want.backward(torch.from_numpy(g))
        # sums of as many terms as an output has inputs
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=0, atol=20 * tolerance)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest", "nearest-exact"])
def test_bytes_are_pytorchs(mode: str) -> None:
    """Fixed-point weights, rounded after each axis; sizes beyond those of PyTorch's own error at 1 x 1."""
    rng = np.random.default_rng(5)
    for shape in ((2, 3, 7, 9), (1, 6, 40, 33), (1, 3, 2, 5)):
        x = rng.integers(0, 256, shape).astype(np.uint8)
        for way in _ways(mode, 2):
            if way.get("size") == (1, 1):
                continue
            want = T.interpolate(torch.from_numpy(x), **way).numpy()
            have = F.interpolate(tilegrad.from_numpy(x), **way).numpy()
            np.testing.assert_array_equal(have, want, err_msg=f"{shape} {way}")


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_channels_stay_last(mode: str) -> None:
    x = np.random.default_rng(6).standard_normal((2, 5, 8, 9)).astype(np.float32)
    a = tilegrad.from_numpy(x).contiguous(memory_format=tilegrad.channels_last).requires_grad_()
    b = torch.from_numpy(x).contiguous(memory_format=torch.channels_last).requires_grad_()
    have, want = (
        F.interpolate(a, size=(5, 17), mode=mode),
        T.interpolate(b, size=(5, 17), mode=mode),
    )
    assert have.stride() == want.stride()
    np.testing.assert_allclose(have.detach().numpy(), want.detach().numpy(), rtol=0, atol=1e-5)
    (have * have).sum().backward()
    (want * want).sum().backward()
    assert a.grad.stride() == b.grad.stride()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=0, atol=1e-3)


def test_an_infinite_element_reaches_its_neighbours_alone() -> None:
    x = np.ones((1, 1, 4, 6), np.float32)
    x[0, 0, 2, 1], x[0, 0, 0, 5] = np.inf, np.nan
    for mode in ("bilinear", "bicubic", "nearest"):
        have = F.interpolate(tilegrad.from_numpy(x), size=(9, 13), mode=mode).numpy()
        want = T.interpolate(torch.from_numpy(x), size=(9, 13), mode=mode).numpy()
        np.testing.assert_array_equal(np.isfinite(have), np.isfinite(want), err_msg=mode)


def test_dtypes() -> None:
    """Of integers there are bytes alone."""
    x = tilegrad.randn(1, 2, 5, 6)
    for mode, kind in (("nearest", "int64"), ("bilinear", "int32")):
        with pytest.raises(NotImplementedError, match=kind):
            F.interpolate(x.to(getattr(tilegrad, kind)), size=(3, 3), mode=mode)

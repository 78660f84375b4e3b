"""Blocked factorisations: the same matrices whatever the sizes of leaves and panels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad
from tilegrad.kernels import blocked
from tilegrad.kernels.cpu import linalg as cpu


@pytest.mark.parametrize("leaf", [1, 3, 16, 64])
@pytest.mark.parametrize("n", [1, 7, 40, 65])
def test_any_leaf(
    leaf: int, n: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves = cpu._LEAVES._replace(leaf=leaf, columns=min(leaf, 32))
    monkeypatch.setattr(blocked, "SQUARE", 16)
    a = rng.standard_normal((2, n, n))
    a = a @ a.swapaxes(-1, -2) + np.eye(n)
    strides = (n * n, n, 1)
    out, info = np.empty_like(a), np.empty(2, np.int32)
    _run(blocked.cholesky_of(leaves, "float64", 2, n, strides, strides), a, out, info)
    np.testing.assert_allclose(out @ out.swapaxes(-1, -2), a, atol=1e-11)
    pivots = np.empty((2, n), np.int32)
    _run(blocked.lu_of(leaves, "float64", 2, n, n, strides), a, out, pivots, info)
    want = tilegrad.linalg.lu_factor(tilegrad.tensor(a))
    assert pivots.tolist() == want.pivots.tolist()
    np.testing.assert_allclose(out, want.LU.numpy(), atol=1e-11)
    tau = np.empty((2, n))
    _run(blocked.qr_of(leaves, "float64", 2, n, n, strides), a, out, tau)
    want_r = tilegrad.linalg.qr(tilegrad.tensor(a)).R.numpy()
    np.testing.assert_allclose(np.triu(out), want_r, atol=1e-11)


def _run(made: tuple[Any, int], *arrays: np.ndarray) -> None:
    launch, nbytes = made
    addresses = [a.ctypes.data for a in arrays]
    scratch = np.empty(nbytes + 64, np.uint8)
    if nbytes:
        addresses.append(-(-scratch.ctypes.data // 64) * 64)
    launch(*addresses)


def test_scratch_memory_is_used_again() -> None:
    """A solve of many blocks takes as much as its largest copy, and no more."""
    _, less = cpu.triangular("float64", 1, 512, 512, (0, 512, 1), (0, 512, 1), True, False, True)
    assert less <= 8 * 512 * 512


def test_parts_of_blocks() -> None:
    block = blocked.Block(1, 5, 4, 6, 100, 10, 1)
    assert block.part(2, 3, 1, 2) == blocked.Block(1, 28, 1, 2, 100, 10, 1)
    assert block.T.part(3, 2, 2, 1) == block.part(2, 3, 1, 2).T
    assert [blocked.half(n, 8) for n in (9, 16, 17, 64, 65)] == [8, 8, 16, 32, 64]

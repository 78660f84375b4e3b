"""Transposed elementwise operands, and columns beside a matrix."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int8"])
@pytest.mark.parametrize("shape", [(8, 8), (37, 61), (130, 65), (3, 9, 200), (1, 300), (64, 7)])
def test_operands_that_lie_across(shape: tuple[int, ...], dtype: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    across = (*shape[:-2], shape[-1], shape[-2])
    a, b, c = (rng.integers(1, 50, s).astype(dtype) for s in (shape, across, shape[-2:-1]))
    x, y, z = (tilegrad.tensor(v) for v in (a, b, c))
    turned, theirs = y.transpose(-1, -2), b.swapaxes(-1, -2)
    column, beside = z.unsqueeze(1), c[:, None]
    assert np.array_equal((x + turned).numpy(), a + theirs)
    assert np.array_equal((x * column - turned).numpy(), a * beside - theirs)
    where = tilegrad.where(turned.gt(25), x, turned)  # a mask across, which goes another way
    assert np.array_equal(where.numpy(), np.where(theirs > 25, a, theirs))
    x += turned
    assert np.array_equal(x.numpy(), (a + theirs).astype(dtype))

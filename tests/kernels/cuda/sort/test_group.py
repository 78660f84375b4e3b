"""Sorting by place: stable, of one digit and several, by one block of threads and two."""

from __future__ import annotations

import numpy as np
import pytest

from tilegrad.engine import transfer
from tilegrad.engine.array import Array, from_numpy
from tilegrad.engine.device import device as as_device
from tilegrad.engine.transfer import host


def to_device(x: Array) -> Array:
    """``x`` on the GPU."""
    return transfer.to_device(x, as_device("cuda"))


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

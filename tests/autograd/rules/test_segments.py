"""Reductions of segments beside PyTorch's, their gradients, and what they refuse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

SHAPES = [((7,), [3, 0, 4], 0), ((2, 4, 2), [[1, 3], [4, 0]], 1)]


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "prod"])
def test_segments_as_pytorchs(reduce: str) -> None:
    """Values and gradients by lengths and by offsets, with a first value and without."""
    for (shape, lengths, axis), initial in itertools.product(SHAPES, (None, 2.0)):
        # different numbers, zero among them: PyTorch does not share negative gradients of equal ones
        start = (
            np.random.default_rng(3).permutation(np.arange(-3.0, np.prod(shape) - 3)).reshape(shape)
        )
        found = []
        for t in (torch, tilegrad):
            library: Any = t
            x = library.tensor(start, requires_grad=True)
            how = {"lengths": library.tensor(lengths)}
            if axis == 0:
                how = {"offsets": library.tensor([0, *np.cumsum(lengths)])}
            made = library.segment_reduce(x, reduce, axis=axis, initial=initial, **how)
            finite = made[library.isfinite(made)]
            (finite * finite).sum().backward()
            found.append((made.detach().numpy(), x.grad.numpy()))
        for want, have in zip(*found, strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-12)


def test_second_derivatives_of_segments() -> None:
    """By differences."""
    x = tilegrad.tensor([1.0, -2.0, 3.0, 0.5], dtype=tilegrad.float64, requires_grad=True)
    for reduce in ("sum", "mean", "prod"):
        call = lambda v, reduce=reduce: tilegrad.segment_reduce(
            v, reduce, lengths=tilegrad.tensor([3, 1])
        )
        assert tilegrad.autograd.gradcheck(call, (x,))
        assert tilegrad.autograd.gradgradcheck(call, (x,))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"lengths": [1, 1]},
        {"lengths": [-1, 5]},
        {"lengths": [[4]]},
        {"lengths": [4.0]},
        {"lengths": [4], "axis": 1},
    ],
)
def test_wrong_segments_are_refused(how: dict[str, Any]) -> None:
    """As PyTorch refuses them, by the same kind of exception."""
    for t in (torch, tilegrad):
        library: Any = t
        given = {k: library.tensor(v) if k == "lengths" else v for k, v in how.items()}
        with pytest.raises((RuntimeError, IndexError, NotImplementedError)):
            library.segment_reduce(library.ones(4), "sum", **given)


def test_segments_of_integers_are_refused() -> None:
    """As in PyTorch."""
    with pytest.raises(NotImplementedError, match="segment_reduce"):
        tilegrad.segment_reduce(tilegrad.tensor([1, 2]), "sum", lengths=tilegrad.tensor([2]))


def test_segments_that_leave_elements_out() -> None:
    """``unsafe`` lengths and offsets may end early and begin late."""
    x = tilegrad.tensor([1.0, 2.0, 4.0, 8.0])
    by_lengths = tilegrad.segment_reduce(x, "sum", lengths=tilegrad.tensor([1, 2]), unsafe=True)
    by_offsets = tilegrad.segment_reduce(x, "sum", offsets=tilegrad.tensor([1, 2, 3]))
    assert (by_lengths.tolist(), by_offsets.tolist()) == ([1.0, 6.0], [2.0, 4.0])

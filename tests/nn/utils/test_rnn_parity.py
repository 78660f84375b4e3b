"""Packed and padded sequences, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.nn.utils import rnn

theirs = torch.nn.utils.rnn


def _rows(rng: np.random.Generator, lengths: list[int], *rest: int) -> list[np.ndarray]:
    return [rng.standard_normal((n, *rest)).astype(np.float32) for n in lengths]


def _same(ours: Any, other: Any) -> None:
    if other is None:
        assert ours is None
    else:
        assert ours.dtype.name == str(other.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(ours.detach().numpy(), other.detach().numpy())


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("rest", [(), (3,), (2, 3)])
@pytest.mark.parametrize("lengths", [[5, 3, 3, 1], [2, 4, 1, 4], [1]])
def test_there_and_back(
    lengths: list[int], rest: tuple[int, ...], batch_first: bool, rng: np.random.Generator
) -> None:
    sorts = lengths != sorted(lengths, reverse=True)
    found = []
    for t, r, read in ((tilegrad, rnn, tilegrad.from_numpy), (torch, theirs, torch.from_numpy)):
        state = np.random.default_rng(1)
        rows = [read(a).requires_grad_() for a in _rows(state, lengths, *rest)]
        padded = r.pad_sequence(rows, batch_first, 0.5)
        packed = r.pack_padded_sequence(padded, t.tensor(lengths), batch_first, not sorts)
        back, sizes = r.pad_packed_sequence(packed, batch_first, -1.0, max(lengths) + 2)
        (back * back).sum().backward()
        apart = r.unpack_sequence(packed)
        cut = r.unpad_sequence(padded.clone(), sizes, batch_first)  # PyTorch turns what it gets
        left = r.pad_sequence(rows, batch_first, 2.0, "left")
        grads = [row.grad for row in rows]
        found.append([padded, *packed, back, sizes, *apart, *cut, left, *grads])
    for ours, other in zip(*found, strict=True):
        _same(ours, other)


def test_a_packed_sequence_moves(rng: np.random.Generator) -> None:
    rows = [tilegrad.from_numpy(a) for a in _rows(rng, [2, 3])]
    packed = rnn.pack_sequence(rows, enforce_sorted=False)
    assert packed.double().data.dtype is tilegrad.float64 and packed.to("cpu") is packed
    there = packed.to("cuda")
    assert there.is_cuda and not there.cpu().is_cuda
    assert there.sorted_indices.device.type == "cuda" and there.batch_sizes.device.type == "cpu"
    assert [r.tolist() for r in rnn.unpack_sequence(there)] == [r.tolist() for r in rows]
    assert rnn.PackedSequence(packed.data, packed.batch_sizes).sorted_indices is None
    assert rnn.invert_permutation(tilegrad.tensor([2, 0, 1])).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda t, r: r.pack_padded_sequence(t.ones(3, 2), [1, 2]),
        lambda t, r: r.pack_padded_sequence(t.ones(3, 2), [2, 0]),
        lambda t, r: r.pack_padded_sequence(t.ones(3, 2), [2]),
        lambda t, r: r.pack_padded_sequence(t.ones(0, 2), [1, 1]),
        lambda t, r: r.pad_sequence([t.ones(2)], padding_side="up"),
        lambda t, r: r.pad_sequence(3),
        lambda t, r: r.pad_packed_sequence(r.pack_sequence([t.ones(3)]), total_length=2),
    ],
)
def test_refusals(call: Any) -> None:
    for t, r in ((tilegrad, rnn), (torch, theirs)):
        with pytest.raises((RuntimeError, ValueError)):
            call(t, r)

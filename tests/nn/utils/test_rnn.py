"""Packed and padded sequences against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

LENGTHS = [4, 2, 5]


def _sequences(t: Any, arrays: list[np.ndarray]) -> list[Any]:
    return [t.from_numpy(a.copy()).requires_grad_() for a in arrays]


def _values(found: Any) -> list[Any]:
    if isinstance(found, (tuple, list)):
        return [x for part in found for x in _values(part)]
    return [] if found is None else [found.detach().numpy()]


@pytest.mark.parametrize(
    "call",
    [
        lambda r, s: r.pad_sequence(s),
        lambda r, s: r.pad_sequence(s, True, -1.5, "left"),
        lambda r, s: r.pack_sequence(s, enforce_sorted=False),
        lambda r, s: r.unpack_sequence(r.pack_sequence(s, enforce_sorted=False)),
        lambda r, s: r.pack_padded_sequence(r.pad_sequence(s), [5, 3, 1]),
        lambda r, s: r.pack_padded_sequence(r.pad_sequence(s, True), [2, 5, 3], True, False),
        lambda r, s: r.pad_packed_sequence(r.pack_sequence(s, False), True, 7.0, 8),
        lambda r, s: r.unpad_sequence(
            r.pad_sequence(s, True), s[0].detach().new_tensor(LENGTHS).long(), True
        ),
    ],
)
def test_computes_as_pytorch(call: Any, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal((n, 2)) for n in LENGTHS]
    found = []
    for t in (tilegrad, torch):
        given = _sequences(t, arrays)
        made = call(t.nn.utils.rnn, given)
        first = made[0] if isinstance(made, (tuple, list)) else made
        (first * first).sum().backward()
        grads = [np.zeros_like(a) if s.grad is None else s.grad.numpy() for s, a in zip(given, arrays, strict=True)]  # fmt: skip
        found.append([*_values(made), *grads])
    for have, want in zip(*found, strict=True):
        np.testing.assert_allclose(have, want)
        assert have.dtype == want.dtype


@pytest.mark.parametrize(
    "call",
    [
        lambda t, r: r.pack_padded_sequence(t.ones(3, 2, 1), [1, 2]),
        lambda t, r: r.pack_padded_sequence(t.ones(3, 2, 1), [2, 0]),
        lambda t, r: r.pack_padded_sequence(t.ones(3, 2, 1), [2]),
        lambda t, r: r.pad_packed_sequence(r.pack_sequence([t.ones(3)]), total_length=2),
        lambda t, r: r.pad_sequence(3),
        lambda t, r: r.pad_sequence([]),
        lambda t, r: r.pad_sequence([t.ones(2)], padding_side="up"),
    ],
)
def test_refuses_what_pytorch_refuses(call: Any) -> None:
    with pytest.raises(Exception) as theirs:  # whatever PyTorch raises
        call(torch, torch.nn.utils.rnn)
    with pytest.raises(theirs.type):
        call(tilegrad, tilegrad.nn.utils.rnn)


def test_a_packed_sequence_moves_whole() -> None:
    rows = tilegrad.nn.utils.rnn.pack_sequence([tilegrad.ones(2), tilegrad.ones(3)], False)
    assert rows.double().data.dtype is tilegrad.float64
    assert rows.to("cpu") is rows
    assert not rows.is_cuda
    assert rows.sorted_indices.tolist() == [1, 0]

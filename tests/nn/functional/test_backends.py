"""Which way attention is computed, by PyTorch's names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.engine import dispatch

BOTH = (tilegrad, torch)


def _ops(backends: Any, first: bool = False) -> list[str]:
    seen: list[str] = []

    def note(op: Any, arrays: Any, params: Any, metadata: Any) -> Any:
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    q = tilegrad.ones(1, 2, 4, 8)
    with tilegrad.nn.attention.sdpa_kernel(backends, first), dispatch.mode(note):
        tilegrad.nn.functional.scaled_dot_product_attention(q, q, q)
    return seen


def test_the_way_that_is_taken() -> None:
    kinds = tilegrad.nn.attention.SDPBackend
    for fused in (kinds.FLASH_ATTENTION, [kinds.MATH, kinds.EFFICIENT_ATTENTION]):
        assert "attention" in _ops(fused)
    for composed in (kinds.MATH, [kinds.MATH]):
        assert "attention" not in _ops(composed) and "softmax" in _ops(composed)
    assert "softmax" in _ops([kinds.MATH, kinds.FLASH_ATTENTION], True)
    assert "attention" in _ops([kinds.FLASH_ATTENTION, kinds.MATH], True)


def test_as_pytorch() -> None:
    from tilegrad.nn.attention import SDPBackend, sdpa_kernel

    assert {b.name: int(b) for b in SDPBackend} == {
        n: int(b) for n, b in torch.nn.attention.SDPBackend.__members__.items()
    }
    assert str(SDPBackend.MATH) == str(torch.nn.attention.SDPBackend.MATH)
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 4))
    found = []
    for t in BOTH:
        q = t.tensor(x, requires_grad=True)
        with t.nn.attention.sdpa_kernel(t.nn.attention.SDPBackend.MATH):
            out = t.nn.functional.scaled_dot_product_attention(q, q * 2, q, is_causal=True)
        out.sum().backward()
        found += [out.detach().numpy(), q.grad.numpy()]
        with (
            pytest.raises(AssertionError, match="Backend must be an instance of SDPBackend"),
            t.nn.attention.sdpa_kernel("math"),
        ):
            pass
        with (
            t.nn.attention.sdpa_kernel([t.nn.attention.SDPBackend.OVERRIDEABLE]),
            pytest.raises(RuntimeError, match="No viable backend"),
        ):
            t.nn.functional.scaled_dot_product_attention(q, q, q)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-9)
    np.testing.assert_allclose(found[1], found[3], rtol=1e-9)
    with sdpa_kernel(SDPBackend.MATH), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        pass

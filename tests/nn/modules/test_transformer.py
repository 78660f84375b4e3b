"""Attention and transformer layers against PyTorch's, with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import nn

L, S, N, E = 5, 7, 2, 8


def _pair(make: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    ours, theirs = make(nn).double(), make(torch.nn).double()
    state = {k: tilegrad.from_numpy(np.array(v.numpy())) for k, v in theirs.state_dict().items()}
    assert list(state) == list(ours.state_dict())
    ours.load_state_dict(state)
    return ours, theirs


def _compare(make: Any, arrays: list[np.ndarray], **options: Any) -> None:
    """Outputs and all gradients; options that are arrays become tensors."""
    ours, theirs = _pair(make)
    found = []
    for t, module in ((tilegrad, ours), (torch, theirs)):
        inputs = [t.from_numpy(a.copy()).requires_grad_() for a in arrays]
        given = {
            k: t.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v
            for k, v in options.items()
        }
        out = module(*inputs, **given)
        outputs = [o for o in (out if isinstance(out, tuple) else (out,)) if o is not None]
        sum((o * o).sum() for o in outputs).backward()
        values = [o.detach().numpy() for o in outputs]
        found.append([*values, *(x.grad.numpy() for x in [*inputs, *module.parameters()])])
    assert len(found[0]) == len(found[1])
    for have, want in zip(*found, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9)


MASK = np.triu(np.ones((L, S), bool), 2)
PADDING = np.array([[False] * 5 + [True] * 2, [False] * 7])


@pytest.mark.parametrize(
    ("how", "options"),
    [
        ({}, {}),
        ({"batch_first": True}, {"need_weights": False}),
        ({"bias": False}, {"average_attn_weights": False}),
        ({}, {"attn_mask": MASK, "key_padding_mask": PADDING}),
        ({}, {"attn_mask": np.where(MASK, -1.5, 0.5), "need_weights": False}),
        ({"kdim": 6, "vdim": 4}, {}),
        ({"add_bias_kv": True, "add_zero_attn": True}, {"attn_mask": MASK}),
    ],
)
def test_attention(how: dict[str, Any], options: dict[str, Any], rng: np.random.Generator) -> None:
    sizes = [(L, E), (S, how.get("kdim", E)), (S, how.get("vdim", E))]
    order = (lambda n, e: (N, n, e)) if how.get("batch_first") else (lambda n, e: (n, N, e))
    arrays = [rng.standard_normal(order(*size)) for size in sizes]
    _compare(lambda n: n.MultiheadAttention(E, 2, **how), arrays, **options)


def test_attention_without_a_batch(rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal((n, E)) for n in (L, S, S)]
    _compare(lambda n: n.MultiheadAttention(E, 4), arrays)


@pytest.mark.parametrize("first", [False, True])
def test_encoder(first: bool, rng: np.random.Generator) -> None:
    def make(n: Any) -> Any:
        layer = n.TransformerEncoderLayer(
            E, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=first
        )
        return n.TransformerEncoder(layer, 2, n.LayerNorm(E), enable_nested_tensor=False)

    _compare(make, [rng.standard_normal((N, L, E))], mask=np.triu(np.ones((L, L), bool), 1))


def test_decoder(rng: np.random.Generator) -> None:
    def make(n: Any) -> Any:
        layer = n.TransformerDecoderLayer(E, 2, 16, dropout=0.0)
        return n.TransformerDecoder(layer, 2)

    arrays = [rng.standard_normal((L, N, E)), rng.standard_normal((S, N, E))]
    options = {"tgt_mask": np.triu(np.ones((L, L), bool), 1), "memory_key_padding_mask": PADDING}
    _compare(make, arrays, **options)


def test_dropout_follows_the_mode() -> None:
    layer = nn.TransformerEncoderLayer(E, 2, 16, dropout=0.5)
    x = tilegrad.ones(L, N, E)
    assert layer(x).tolist() != layer(x).tolist()
    layer.eval()
    assert layer(x).tolist() == layer(x).tolist()


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda t, n: n.MultiheadAttention(7, 2), AssertionError),
        (lambda t, n: n.MultiheadAttention(0, 2), ValueError),
        (lambda t, n: n.TransformerEncoderLayer(4, 2, activation="tanh"), RuntimeError),
        (lambda t, n: n.MultiheadAttention(4, 2)(*[t.ones(3, 1, 4)] * 3, is_causal=True), RuntimeError),
    ],
)  # fmt: skip
def test_refuses_what_pytorch_refuses(call: Any, kind: type) -> None:
    for t, n in ((tilegrad, nn), (torch, torch.nn)):
        with pytest.raises(kind):
            call(t, n)


def test_more_layers_than_memory_are_refused_at_once() -> None:
    layer = nn.TransformerEncoderLayer(2, 1, 2)
    with pytest.raises(RuntimeError, match="2147483648 times .* bytes are more than the"):
        nn.TransformerEncoder(layer, 2**31)

"""Fused attention: sizes of many blocks, threads, memory, what takes it and what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.conftest import ROOT
from tilegrad import nn
from tilegrad.engine import dispatch
from tilegrad.engine.device import CPU
from tilegrad.engine.memory import reset_peaks
from tilegrad.nn import functional as F

TOLERANCES = {"float32": 2e-5, "float64": 1e-11}


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(dtype)


def compare(
    arrays: list[np.ndarray], mask: np.ndarray | None = None, view: Any = None, **how: Any
) -> None:
    """Result and gradients against PyTorch in float64; ``view`` makes operands of the arrays."""
    dtype = arrays[0].dtype.name
    found = []
    for t in (tilegrad, torch):
        wide = [a if t is tilegrad else a.astype(np.float64) for a in arrays]
        leaves = [t.from_numpy(a.copy()).requires_grad_() for a in wide]
        given = leaves if view is None else [view(x) for x in leaves]
        seen = mask if mask is None or t is tilegrad or mask.dtype == bool else mask.astype(float)
        held = None if seen is None else t.from_numpy(seen.copy())
        out = t.nn.functional.scaled_dot_product_attention(*given, held, **how)
        grad = numbers(*out.shape).astype(wide[0].dtype)
        out.backward(t.from_numpy(grad))
        found.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves)])
    for place, (have, want) in enumerate(zip(*found, strict=True)):
        assert have.dtype.name == dtype
        # gradients of queries and keys: PyTorch's own float32 misses the first of these by 1.8e-5
        held = TOLERANCES[dtype] * (1.5 if place in (1, 2) else 1)
        np.testing.assert_allclose(have, want, rtol=held, atol=held)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "batch, L, S, E, F",
    [
        ((2, 3), 128, 128, 64, 64),
        ((1, 1), 500, 333, 32, 48),  # few items: blocks of queries in groups
        ((1, 2), 131, 517, 80, 24),
        ((20, 1), 1, 259, 64, 64),  # one query at a time
        ((1, 1), 97, 1, 5, 9),
        ((1, 1), 100, 200, 512, 512),  # the most features
        ((1, 1), 40, 50, 33, 513),  # too many: composed
    ],
)
def test_many_blocks(
    dtype: str, causal: bool, batch: tuple[int, int], L: int, S: int, E: int, F: int
) -> None:
    arrays = [numbers(*batch, *s, dtype=dtype) for s in ((L, E), (S, E), (S, F))]
    compare(arrays, is_causal=causal)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 130, 250), (2, 1, 1, 250), (2, 130, 1), (250,)])
def test_masks(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    lead = (2,) if len(shape) == 1 else (2, 2)  # PyTorch takes one dimension with three only
    arrays = [numbers(*lead, n, 40, dtype=dtype) for n in (130, 250, 250)]
    compare(arrays, rng.random(shape) < 0.4)
    compare(arrays, rng.standard_normal(shape).astype(dtype))
    hidden = np.where(rng.random(shape) < 0.4, -np.inf, rng.standard_normal(shape))
    compare(arrays, hidden.astype(dtype))


def test_a_query_that_sees_nothing_is_zero() -> None:
    mask = np.ones((130, 120), bool)
    mask[7:60] = False
    arrays = [numbers(1, 2, n, 16) for n in (130, 120, 120)]
    compare(arrays, mask)
    q, k, v = (tilegrad.from_numpy(a).requires_grad_() for a in arrays)
    out = F.scaled_dot_product_attention(q, k, v, tilegrad.from_numpy(mask), dropout_p=0.5)
    out.sum().backward()
    assert not out[:, :, 7:60].detach().numpy().any()
    assert not q.grad[:, :, 7:60].numpy().any()


def test_scores_of_any_size() -> None:
    """Far beyond where an exponential overflows or vanishes."""
    q, k, v = (numbers(1, 1, n, 8, dtype="float64") for n in (70, 90, 90))
    compare([q * 30, k * 30, v])
    for value in (np.nan, np.inf):
        k[0, 0, 3, 2] = value
        given = [tilegrad.from_numpy(a) for a in (q, k, v)]
        assert np.isnan(F.scaled_dot_product_attention(*given).numpy()).all(-1).any()


@pytest.mark.parametrize("causal", [False, True])
def test_heads_as_layers_have_them(causal: bool) -> None:
    """(N, L, H, E) seen as (N, H, L, E); features with gaps; queries shared by a batch."""
    compare([numbers(2, n, 4, 24) for n in (70, 50, 50)], view=lambda x: x.transpose(1, 2),
            is_causal=causal)  # fmt: skip
    compare([numbers(2, 2, n, 48) for n in (70, 50, 50)], view=lambda x: x[..., ::2],
            is_causal=causal)  # fmt: skip
    compare([numbers(1, 2, n, 24) for n in (70, 50, 50)], view=lambda x: x.expand(3, -1, -1, -1),
            is_causal=causal)  # fmt: skip


def test_results_do_not_depend_on_threads() -> None:
    before, found = tilegrad.get_num_threads(), []
    for threads in (1, 2):
        tilegrad.set_num_threads(threads)
        for heads, L in ((1, 700), (9, 150)):
            x = [tilegrad.from_numpy(numbers(1, heads, L, 64)).requires_grad_() for _ in range(3)]
            out = F.scaled_dot_product_attention(*x, is_causal=True)
            out.sum().backward()
            found.append([out.detach().numpy().tobytes(), *(t.grad.numpy().tobytes() for t in x)])
    tilegrad.set_num_threads(before)
    assert found[:2] == found[2:]


def test_a_head_does_not_depend_on_the_others() -> None:
    """Nor a query on how many there are after it."""
    q, k, v = (tilegrad.from_numpy(numbers(3, 5, n, 32)) for n in (300, 200, 200))
    whole = F.scaled_dot_product_attention(q, k, v)
    one = F.scaled_dot_product_attention(q[1:2, 2:3], k[1:2, 2:3], v[1:2, 2:3])
    assert (whole[1:2, 2:3] == one).all()


@pytest.mark.parametrize("mask", [None, "row", "square"])
def test_scores_are_not_stored(mask: str | None) -> None:
    L = 2048
    q, k, v = (tilegrad.from_numpy(numbers(1, 4, L, 16)).requires_grad_() for _ in range(3))
    shape = {"row": (1, 1, 1, L), "square": (L, L)}
    held = None if mask is None else tilegrad.ones(shape[mask], dtype=tilegrad.bool)
    counts = CPU.allocator.counts
    reset_peaks(counts)
    before = counts.peak
    F.scaled_dot_product_attention(q, k, v, held).sum().backward()
    assert counts.peak - before < 4 * L * L


def ops_of(call: Callable[[], Any]) -> list[str]:
    """Names of the ops that a call runs, in order."""
    names = []

    def note(op: Any, arrays: Any, params: Any, metadata: Any) -> Any:
        names.append(op.name)
        return op(*arrays, params=params, **metadata)

    with dispatch.mode(note):
        call()
    return names


MASK = np.triu(np.ones((5, 5), bool), 1)
PADDING = np.array([[False] * 4 + [True], [False] * 5])


@pytest.mark.parametrize("masks", [{}, {"attn_mask"}, {"attn_mask", "key_padding_mask"}])
def test_layers_take_the_fused_op(masks: set[str]) -> None:
    values = {"attn_mask": MASK, "key_padding_mask": PADDING}
    given = {name: tilegrad.from_numpy(values[name]) for name in masks}
    heads, x = nn.MultiheadAttention(8, 2, batch_first=True), tilegrad.randn(2, 5, 8)
    names = ops_of(lambda: heads(x, x, x, need_weights=False, **given))
    assert "attention" in names and "softmax" not in names
    names = ops_of(lambda: heads(x, x, x, need_weights=True, **given))
    assert "attention" not in names and "softmax" in names


def test_encoders_take_the_fused_op() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x, masks = tilegrad.randn(2, 5, 8), [tilegrad.from_numpy(m) for m in (MASK, PADDING)]
    assert "attention" in ops_of(lambda: layer(x, *masks))
    assert "attention_backward" in ops_of(lambda: layer(x, *masks).sum().backward())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_composed(device: str) -> None:
    """Dropout, a mask that wants a gradient, too many features."""

    def names(E: int = 4, mask: Any = None, **how: Any) -> list[str]:
        x = tilegrad.ones(1, 1, 2, E, device=device)
        return ops_of(lambda: F.scaled_dot_product_attention(x, x, x, mask, **how))

    wide = {"cpu": 513, "cuda": 129}[device]
    mask = tilegrad.zeros(2, 2, device=device)
    assert "attention" in names() and "attention" in names(mask=mask)
    assert "attention" in names(E=wide - 1)
    assert "softmax" in names(E=wide)
    assert "softmax" in names(dropout_p=0.5)
    assert "softmax" in names(mask=mask.requires_grad_())


def test_gradients_of_the_composed_and_the_fused_agree() -> None:
    arrays = [numbers(1, 2, n, 8, dtype="float64") for n in (9, 7, 7)]
    found = []
    for again in (False, True):
        x = [tilegrad.from_numpy(a).requires_grad_() for a in arrays]
        out = F.scaled_dot_product_attention(*x, is_causal=True)
        found.append(tilegrad.autograd.grad((out * out).sum(), x, create_graph=again))
    for fused, composed in zip(*found, strict=True):
        assert composed.requires_grad and not fused.requires_grad
        np.testing.assert_allclose(fused.numpy(), composed.detach().numpy(), atol=1e-12)


def _ones(*shape: int, dtype: Any = None) -> Any:
    return lambda t: t.ones(*shape, dtype=dtype and getattr(t, dtype))


@pytest.mark.parametrize(
    "operands, how",
    [
        ([_ones(4), _ones(5, 4), _ones(5, 4)], {}),
        ([_ones(3, 4), _ones(5, 3), _ones(5, 4)], {}),
        ([_ones(3, 4), _ones(5, 4), _ones(6, 4)], {}),
        ([_ones(2, 3, 4), _ones(3, 5, 4), _ones(3, 5, 4)], {}),
        ([_ones(3, 4), _ones(5, 4, dtype="float64"), _ones(5, 4)], {}),
        ([_ones(3, 4), _ones(5, 4), _ones(5, 4), _ones(3, 5, dtype="int64")], {}),
        ([_ones(3, 4), _ones(5, 4), _ones(5, 4), _ones(3, 5, dtype="float64")], {}),
        ([_ones(3, 4), _ones(5, 4), _ones(5, 4), _ones(3, 4)], {}),
        ([_ones(3, 4), _ones(5, 4), _ones(5, 4), _ones(2, 3, 5)], {}),
        ([_ones(3, 4), _ones(5, 4), _ones(5, 4), _ones(3, 5)], {"is_causal": True}),
        ([_ones(1, 4, 3, 4), _ones(1, 3, 5, 4), _ones(1, 3, 5, 4)], {"enable_gqa": True}),
    ],
)
def test_refuses_what_pytorch_refuses(operands: list[Any], how: dict[str, Any]) -> None:
    for t in (torch, tilegrad):
        with pytest.raises(RuntimeError):
            t.nn.functional.scaled_dot_product_attention(*(make(t) for make in operands), **how)


@pytest.mark.parametrize("bits", [128])
def test_narrower_vectors(bits: int, tmp_path: Path) -> None:
    """Other widths are other tiles and other code."""
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.autograd.rules.test_attention import compare, numbers\n"
        "import numpy as np\n"
        "x = [numbers(1, 2, n, 21) for n in (75, 130, 130)]\n"
        "compare(x, is_causal=True)\n"
        "compare(x, np.random.default_rng(0).random((75, 130)) < 0.5)\n"
    )
    given = {"TILEGRAD_SIMD_BITS": str(bits), "TILEGRAD_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, **given, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

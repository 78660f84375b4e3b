"""Memory: freed blocks are used again, and what passes allocate is bounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import tilegrad
from tilegrad.engine import memory
from tilegrad.engine.memory import memory_stats, reset_peak_memory_stats

F = tilegrad.nn.functional
N = 64


def peak_of(function: Callable[[], Any]) -> int:
    """Bytes of tensors that were there at once during the call, beyond those before it."""
    before = memory_stats()["allocated_bytes"]
    reset_peak_memory_stats()
    function()
    return memory_stats()["peak_allocated_bytes"] - before


@pytest.mark.parametrize("chunk", [1, 1 << 16])
def test_bilinear_forms_in_chunks(chunk: int, monkeypatch: Any, rng: np.random.Generator) -> None:
    """First and second gradients of forms that are worked on one output at a time, and all at once."""
    monkeypatch.setattr("tilegrad.autograd.rules.bilinear.CHUNK", chunk)
    arrays = [rng.standard_normal(s) for s in ((7, 3), (7, 5), (6, 3, 5), (6,))]
    made = []
    for lib in (tilegrad, torch):
        leaves = [lib.from_numpy(a).requires_grad_() for a in arrays]
        out = lib.nn.functional.bilinear(*leaves)
        grads = lib.autograd.grad((out**3).sum(), leaves, create_graph=True)
        total = sum((g**2).sum() for g in grads)
        seconds = lib.autograd.grad(total, leaves, create_graph=True)
        thirds = lib.autograd.grad(sum((g**2).sum() for g in seconds), leaves)
        made.append([t.detach().numpy() for t in (out, *grads, *seconds, *thirds)])
    for have, want in zip(*made, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-10, atol=1e-10)


INDEX = tilegrad.arange(0, 1000) % 7
ONES = tilegrad.ones(1000, 300)
IMAGES, FILTERS = (8, 32, 56, 56), (32, 32, 3, 3)


def _total(results: Any) -> Any:
    return sum(r.sum() for r in results)


# a call and the shapes of its operands: the gradient of one is small where the result or the other is
# large, or is a sum over what was broadcast
PASSES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "matmul, right broadcast": (lambda x, y: x @ y, ((N, 2, 128), (1, 128, 512))),
    "matmul, right a matrix": (lambda x, y: x @ y, ((N, 2, 128), (128, 512))),
    "matmul, left broadcast": (lambda x, y: x @ y, ((1, 512, 128), (N, 128, 2))),
    "matmul, left a matrix": (lambda x, y: x @ y, ((512, 128), (N, 128, 2))),
    "matmul, one of two": (lambda x, y: x @ y, ((4, N, 2, 128), (4, 1, 128, 512))),
    "matmul, crossed": (lambda x, y: x @ y, ((N, 1, 2, 128), (1, 4, 128, 256))),
    "matmul, a vector": (lambda x, y: x @ y, ((N, 200, 128), (128,))),
    "matmul, a vector first": (lambda x, y: x @ y, ((128,), (N, 128, 200))),
    "bmm": (tilegrad.bmm, ((N, 2, 128), (N, 128, 64))),
    "linear": (F.linear, ((N, 4, 128), (256, 128), (256,))),
    "bilinear": (F.bilinear, ((256, 64), (256, 64), (64, 64, 64), (64,))),
    "bilinear, many samples": (F.bilinear, ((4096, 32), (4096, 32), (32, 32, 32))),
    "outer": (tilegrad.outer, ((1000,), (1000,))),
    "mul": (lambda x, y: x * y, ((500, 1), (1, 500))),
    "expand": (lambda x: x.expand(1000, 500), ((1, 500),)),
    "where": (lambda x, y: tilegrad.where(x > 0, x, y), ((500, 500), (1, 1))),
    "sum": (lambda x: x.sum(0), ((1000, 300),)),
    "mean": (lambda x: x.mean(), ((1000, 300),)),
    "amax": (lambda x: x.amax(1), ((1000, 300),)),
    "var": (lambda x: x.var(1), ((1000, 300),)),
    "softmax": (lambda x: x.softmax(1), ((1000, 300),)),
    "cumsum": (lambda x: x.cumsum(1), ((1000, 300),)),
    "embedding": (lambda w: F.embedding(INDEX, w), ((50, 300),)),
    "index_select": (lambda x: x.index_select(0, INDEX), ((50, 300),)),
    "gather": (lambda x: x.gather(0, INDEX.view(-1, 1).expand(1000, 300)), ((50, 300),)),
    "layer_norm": (lambda x, w: F.layer_norm(x, (300,), w), ((1000, 300), (300,))),
    "cat": (lambda x, y: tilegrad.cat([x, y]), ((1000, 200), (500, 200))),
    "cross_entropy": (lambda x: F.cross_entropy(x, INDEX), ((1000, 300),)),
    "prelu": (F.prelu, ((10, 8, 3000), (8,))),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), ((8, 8, 64, 64),)),
    "attention": (F.scaled_dot_product_attention, ((2, 4, 128, 64),) * 3),
    "attention, keys broadcast": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        ((16, 4, 64, 64), (1, 4, 64, 64), (1, 4, 64, 64)),
    ),
    **{
        f"norm {p} {dim}": (lambda x, p=p, dim=dim: x.norm(p, dim), ((1000, 300),))
        for p in (1.0, 2.0, 3.0, 0.5, math.inf, -math.inf)
        for dim in (None, 1)
    },
    "std": (lambda x: x.std(1), ((1000, 300),)),
    "var_mean": (lambda x: _total(tilegrad.var_mean(x, 1)), ((1000, 300),)),
    "std_mean": (lambda x: _total(tilegrad.std_mean(x, 1)), ((1000, 300),)),
    "aminmax": (lambda x: _total(tilegrad.aminmax(x)), ((1000, 300),)),
    "logsumexp": (lambda x: x.logsumexp(1), ((1000, 300),)),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), ((1000, 300),)),
    "cumprod": (lambda x: x.cumprod(1), ((1000, 300),)),
    "prod": (lambda x: x.prod(1), ((1000, 300),)),
    "median": (lambda x: x.median(), ((1000, 300),)),
    "kthvalue": (lambda x: x.kthvalue(3)[0], ((1000, 300),)),
    "take": (lambda x: x.take(INDEX), ((1000, 300),)),
    "index_put": (lambda x, y: x.index_put((INDEX[:100],), y), ((1000, 300), (100, 300))),
    "masked_select": (lambda x: x.masked_select(x > 0.5), ((1000, 300),)),
    "normalize": (F.normalize, ((1000, 300),)),
    "glu": (F.glu, ((1000, 300),)),
    "used three times": (lambda x: x * 2 + x.exp() + x, ((1000, 300),)),
    "written in part": (lambda x: x.clone().index_fill_(0, INDEX[:9], 0), ((1000, 300),)),
    "a view written to": (lambda x: x.clone().narrow(0, 0, 9).mul_(2)._base, ((1000, 300),)),
    "cross_entropy, smoothed": (
        lambda x: F.cross_entropy(x, INDEX, label_smoothing=0.1),
        ((1000, 300),),
    ),
    "cross_entropy, smoothed and weighted": (
        lambda x: F.cross_entropy(x, INDEX, ONES[0], label_smoothing=0.1),
        ((1000, 300),),
    ),
    "cross_entropy, spatial": (
        lambda x: F.cross_entropy(x, INDEX[:400].view(8, 50)),
        ((8, 300, 50),),
    ),
    "cross_entropy, probabilities": (F.cross_entropy, ((1000, 300), (1000, 300))),
    "hinge": (lambda x: F.hinge_embedding_loss(x, ONES), ((1000, 300),)),
    "ranking": (lambda x, y: F.margin_ranking_loss(x, y, ONES), ((1000, 300), (1000, 300))),
    "soft margin": (lambda x: F.soft_margin_loss(x, ONES), ((1000, 300),)),
    "cosine": (
        lambda x, y: F.cosine_embedding_loss(x, y, ONES[:, 0].contiguous()),
        ((1000, 300), (1000, 300)),
    ),
    "cosine similarity": (F.cosine_similarity, ((1000, 300), (1000, 300))),
    "triplet": (F.triplet_margin_loss, ((1000, 300),) * 3),
    "gaussian": (F.gaussian_nll_loss, ((1000, 300),) * 3),
    "poisson": (F.poisson_nll_loss, ((1000, 300),) * 2),
    "logits, weighted": (
        lambda x: F.binary_cross_entropy_with_logits(x, ONES, ONES),
        ((1000, 300),),
    ),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), (IMAGES, FILTERS)),
    # twice the images: the sixteen blocks that its tasks hold take 4 MB of 128-bit vectors, whatever the batch
    "conv2d, strided": (lambda x, w: F.conv2d(x, w, stride=2), ((16, *IMAGES[1:]), FILTERS)),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2), (IMAGES, FILTERS)),
    "batch_norm": (
        lambda x, w: F.batch_norm(x, None, None, w, training=True),
        ((8, 32, 40, 40), (32,)),
    ),
    "group_norm": (lambda x, w: F.group_norm(x, 4, w), ((8, 32, 40, 40), (32,))),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), ((8, 8, 64, 64),)),
    "pad": (lambda x: F.pad(x, (3, 3, 3, 3), mode="reflect"), ((8, 8, 64, 64),)),
}
# a loss reads its weighted gradient beside its own result; a log-softmax, of learned probabilities, what
# its successors' gradients are added up in
_MORE = {"bilinear": 2.0, "logits, weighted": 2.3, "cross_entropy, probabilities": 2.3}


@pytest.mark.parametrize("name", PASSES)
def test_a_backward_pass_takes_no_more_than_it_reads(name: str) -> None:
    """With the gradients that it leaves, little more than its operands, its result and that one's
    gradient; the gradient of a bilinear form's weight is put together from parts.
    """
    call, shapes = PASSES[name]
    # no zeros, of which 300,000 draws hold one now and then: the gradient of a product then takes longer
    inputs = [tilegrad.rand(*s).clamp_(min=1e-3).requires_grad_() for s in shapes]
    out = call(*inputs)
    grad = tilegrad.rand(*out.shape)
    read = 4 * (sum(x.numel() for x in inputs) + 2 * out.numel())
    assert peak_of(lambda: out.backward(grad)) <= _MORE.get(name, 1.5) * read + (1 << 16)


def test_freed_memory_is_used_again_and_counted() -> None:
    before = tilegrad.memory_stats()
    x = tilegrad.empty(3_000_000)
    held = tilegrad.memory_stats()
    assert held["allocated_bytes"] - before["allocated_bytes"] >= 12_000_000
    address = x.data_ptr()
    del x
    assert tilegrad.memory_stats()["allocated_bytes"] == before["allocated_bytes"]
    y = tilegrad.empty(3_000_000)
    assert y.data_ptr() == address
    assert tilegrad.memory_stats()["reserved_bytes"] == held["reserved_bytes"]


def test_empty_cache_returns_memory() -> None:
    x = tilegrad.empty(5_000_000)
    del x
    before = tilegrad.memory_stats()["reserved_bytes"]
    tilegrad.empty_cache()
    assert tilegrad.memory_stats()["reserved_bytes"] <= before - 20_000_000


def test_a_view_keeps_its_storage_alive() -> None:
    x = tilegrad.arange(2_000_000)
    row = x[1_999_990:]
    del x
    other = [tilegrad.zeros(2_000_000, dtype=tilegrad.int64) for _ in range(3)]
    assert row.tolist() == list(range(1_999_990, 2_000_000))
    del other


@given(st.integers(0, 1 << 40))
def test_size_classes_hold_the_request_without_much_waste(nbytes: int) -> None:
    size = memory.size_class(nbytes)
    assert size >= nbytes
    assert size % memory.ALIGNMENT == 0
    assert size <= max(memory.ALIGNMENT, nbytes * 3 // 2 + memory.ALIGNMENT)


def test_an_impossible_request_is_a_clear_error() -> None:
    with pytest.raises(tilegrad.OutOfMemoryError, match="refused"):
        tilegrad.empty(1 << 60, dtype=tilegrad.uint8)


def test_alignment() -> None:
    for n in (1, 3, 17, 100, 1000, 100_000):
        assert tilegrad.empty(n).data_ptr() % 64 == 0


def test_sizes_that_change_for_ever_are_not_cached_for_ever() -> None:
    """The cache holds as much as was ever in use, or the source's spare: a program whose shapes
    differ at every step would else grow until the system kills it.
    """
    given: list[int] = []

    class Pages:
        spare = 10 << 20
        place = 1 << 20

        def take(self, nbytes: int) -> int:
            self.place += nbytes
            return self.place

        def give(self, address: int, nbytes: int) -> None:
            given.append(nbytes)

        def describe(self) -> str:
            return ""

    pages = Pages()
    allocator = memory.Allocator(pages)
    for step in range(200):  # two blocks at a time, of sizes that do not come again
        held = [allocator.allocate((1 << 20) + (step << 17)) for _ in range(2)]
        in_use = 2 * held[0].nbytes
        del held
        cached = allocator.counts.reserved
        assert cached <= max(in_use, pages.spare) + 2 * in_use
    assert given
    given.clear()
    for step in range(100):  # two sizes that alternate: cached after the first round
        held = [allocator.allocate((step % 2 + 1) << 20) for _ in range(4)]
        del held
        if step == 1:
            given.clear()
    assert not given

"""What passes, prints and comparisons allocate, and what errors leave behind."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
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
}


@pytest.mark.parametrize("name", PASSES)
def test_a_backward_pass_takes_no_more_than_it_reads(name: str) -> None:
    """With the gradients that it leaves, little more than its operands, its result and that one's
    gradient; a variance makes a difference and a product of its input's size, and the gradient of
    a bilinear form's weight is put together from parts.
    """
    call, shapes = PASSES[name]
    inputs = [tilegrad.rand(*s, requires_grad=True) for s in shapes]
    out = call(*inputs)
    grad = tilegrad.rand(*out.shape)
    read = 4 * (sum(x.numel() for x in inputs) + 2 * out.numel())
    most = {"var": 2.3, "bilinear": 2.0}.get(name, 1.5)
    assert peak_of(lambda: out.backward(grad)) <= most * read + (1 << 16)


def test_saving_copies_no_tensor_as_a_whole(tmp_path: Any) -> None:
    """Nor the file: of an expanded, a transposed and a plain tensor of 32 MB each."""
    tensors = {
        "expanded": tilegrad.arange(2.0).expand(4_000_000, 2),
        "wide": tilegrad.ones(1, 1).expand(2, 4_000_000),
        "turned": tilegrad.rand(2000, 4000).t(),
        "plain": tilegrad.rand(8_000_000),
    }
    tracemalloc.start()
    try:
        assert peak_of(lambda: tilegrad.save(tensors, tmp_path / "tensors")) < 1 << 16
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    for name, have in tilegrad.load(tmp_path / "tensors").items():
        assert tilegrad.equal(have, tensors[name]), name


def test_files_are_the_librarys(tmp_path: Any) -> None:
    """Byte for byte: order, header and padding, for every dtype, empty and 0-d tensors."""
    from safetensors.numpy import save

    names = ("int64", "float64", "float32", "int32", "int16", "int8", "uint8", "bool")
    kinds = {n: getattr(tilegrad, n) for n in names}
    tensors = {
        f'{n}.ü\n"\t{k}': tilegrad.ones(3, k, dtype=d) for k, (n, d) in enumerate(kinds.items())
    }
    tensors |= {f"z{n}": tilegrad.tensor(1, dtype=d) for n, d in kinds.items()}
    tensors["a"] = tilegrad.rand(3, 4).t()
    for metadata in (None, {"k": "é\x01/"}):
        tilegrad.save(dict(sorted(tensors.items())), tmp_path / "f", metadata=metadata)
        hosts = {n: np.ascontiguousarray(t.numpy()) for n, t in tensors.items()}
        hosts |= {n: h.reshape(tensors[n].shape) for n, h in hosts.items()}
        assert (tmp_path / "f").read_bytes() == save(hosts, metadata)

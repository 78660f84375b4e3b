"""Softmax and cross-entropy: accuracy, threads, bad targets, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tilegrad.kernels.cpu.emit import has_fma

F, TF = tilegrad.nn.functional, torch.nn.functional


def rms(x: np.ndarray) -> float:
    return float(np.sqrt((x * x).mean()))


@given(st.integers(1, 70), st.integers(1, 70), st.floats(0.1, 1e4), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_rows_sum_to_one_and_do_not_know_their_scale(
    rows: int, n: int, scale: float, seed: int
) -> None:
    x = (scale * np.random.default_rng(seed).standard_normal((rows, n))).astype("float32")
    t = tilegrad.from_numpy(x)
    for dim in (0, 1):
        y = t.softmax(dim).numpy()
        np.testing.assert_allclose(y.sum(dim), 1, rtol=1e-5)
        np.testing.assert_allclose((t + 64).softmax(dim).numpy(), y, rtol=1e-2, atol=1e-6)
        exact = torch.from_numpy(x).double().softmax(dim).numpy()
        np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not has_fma(), reason="where a product is rounded too, PyTorch's is not")
@pytest.mark.parametrize("shape, dim", [((257, 1003), 1), ((301, 211), 0)])
def test_errors_are_no_larger_than_pytorchs(
    shape: tuple[int, ...], dim: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype("float32")
    for name in ("softmax", "log_softmax"):
        exact = getattr(torch.from_numpy(x).double(), name)(dim).numpy()
        ours = rms(getattr(tilegrad.from_numpy(x), name)(dim).numpy() - exact)
        theirs = rms(getattr(torch.from_numpy(x), name)(dim).numpy() - exact)
        assert ours <= 1.1 * theirs, name  # both are a few roundings


def test_threads_do_not_change_a_bit(rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.standard_normal((257, 301)).astype("float32"))
    target = tilegrad.from_numpy(rng.integers(0, 301, 257))
    before = tilegrad.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            tilegrad.set_num_threads(count)
            leaf = x.clone().requires_grad_()
            loss = F.cross_entropy(leaf, target) + (leaf.softmax(0) * leaf.log_softmax(1)).sum()
            loss.backward()
            results.append((loss.item(), leaf.grad.numpy().tobytes()))
    finally:
        tilegrad.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("bad", [10, -1, 2**40, -(2**62)])
def test_a_target_out_of_range_is_refused(name: str, bad: int) -> None:
    x = tilegrad.zeros(3, 10)
    target = tilegrad.tensor([1, bad, 2])
    with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
        getattr(F, name)(x, target)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, f, x, y: f.cross_entropy(x, y[:2]),
        lambda t, f, x, y: f.cross_entropy(x, y.to(t.int32)),
        lambda t, f, x, y: f.cross_entropy(x, y, weight=t.zeros(3)),
        lambda t, f, x, y: f.cross_entropy(x, y, reduction="average"),
        lambda t, f, x, y: f.cross_entropy(x, y, label_smoothing=1.5),
        lambda t, f, x, y: f.nll_loss(x, y[:2]),
        lambda t, f, x, y: f.softmax(x, 2),
        lambda t, f, x, y: f.softmax(y, 0),
    ],
)
def test_errors_are_of_pytorchs_type(call: Any) -> None:
    x, y = np.zeros((3, 5)), np.array([1, 2, 3])
    with pytest.raises(Exception) as theirs:
        call(torch, TF, torch.from_numpy(x), torch.from_numpy(y))
    with pytest.raises(type(theirs.value)):
        call(tilegrad, F, tilegrad.from_numpy(x), tilegrad.from_numpy(y))


def test_all_ignored_is_nan_as_in_pytorch() -> None:
    x = tilegrad.zeros(2, 5, requires_grad=True)
    loss = F.cross_entropy(x, tilegrad.tensor([-100, -100]))
    loss.backward()
    assert np.isnan(loss.item())
    assert F.cross_entropy(x, tilegrad.tensor([-100, -100]), reduction="sum").item() == 0

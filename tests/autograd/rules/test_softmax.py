"""Softmax and cross-entropy: accuracy, threads, bad targets, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.cuda.simulated import retune
from tilegrad.kernels.cpu.simd.emit import has_fma
from tilegrad.kernels.cuda.tuning import ROWS

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
    shape: tuple[int, ...], dim: int, device: str, rng: np.random.Generator
) -> None:
    if device == "cuda":
        shape = tuple(n // 32 if a != dim else n for a, n in enumerate(shape))
    x = rng.standard_normal(shape).astype("float32")
    for name in ("softmax", "log_softmax"):
        exact = getattr(torch.from_numpy(x).double(), name)(dim).numpy()
        ours = rms(getattr(tilegrad.from_numpy(x).to(device), name)(dim).cpu().numpy() - exact)
        theirs = rms(getattr(torch.from_numpy(x), name)(dim).numpy() - exact)
        assert ours <= 1.1 * theirs, name  # both are a few roundings


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(1, 70, 150), (2, 33, 67)])
def test_columns_of_every_width(
    name: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Groups of vectors, single ones and a rest, in blocks of columns and of rows."""
    x, g = (rng.standard_normal(shape).astype("float32") for _ in "xg")
    ours, theirs = tilegrad.from_numpy(x), torch.from_numpy(x).double()
    for t in (ours, theirs):
        getattr(t.requires_grad_(), name)(1).backward(type(t).new_tensor(t, g))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), 1e-5, 1e-6)


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


# lines of every length that threads share differently: the (rows, n) of rows, the (n, columns)
_ROWS = [(70, 1), (70, 3), (9, 16), (9, 17), (3, 100), (2, 129), (1, 514)]
_COLUMNS = [(2, 70), (5, 37), (40, 9), (70, 3), (300, 2)]
_LINES = [
    *[(s, dim, "float32") for dim, shapes in ((1, _ROWS), (0, _COLUMNS)) for s in shapes],
    *[(s, dim, "float64") for s, dim in (((9, 16), 1), ((3, 100), 1), ((40, 9), 0), ((300, 2), 0))],
    ((2, 1028), 1, "float32"),
    ((1, 4099), 1, "float64"),
]


@pytest.mark.parametrize("shape, dim, dtype", _LINES)
def test_lines_of_any_length_at_any_address(
    shape: tuple[int, int], dim: int, dtype: str, device: str, rng: np.random.Generator
) -> None:
    for offset in (0, 1) if shape[0] * shape[1] < 1000 else (1,):
        whole = rng.uniform(-9, 9, offset + shape[0] * shape[1]).astype(dtype)
        seed = rng.standard_normal(shape)
        exact = torch.from_numpy(whole[offset:].reshape(shape)).double().requires_grad_()
        x = tilegrad.from_numpy(whole).to(device)[offset:].view(*shape).detach().requires_grad_()
        for name in ("softmax", "log_softmax"):
            x.grad = exact.grad = None
            y, want = getattr(x, name)(dim), getattr(exact, name)(dim)
            y.backward(tilegrad.from_numpy(seed.astype(dtype)).to(device))
            want.backward(torch.from_numpy(seed))
            bound = 2e-5 if dtype == "float32" else 1e-12
            pairs = ((y.detach(), want.detach()), (x.grad, exact.grad))
            for have, value in pairs:
                np.testing.assert_allclose(have.cpu().numpy(), value.numpy(), bound, bound)


@pytest.mark.parametrize("n, dim", [(3, 1), (40, 1), (600, 1), (3, 0), (300, 0)])
def test_infinite_and_undefined_lines(n: int, dim: int, device: str) -> None:
    x = np.zeros((4, n), "float32")
    x[0] = -np.inf
    x[1, n // 2] = np.inf
    x[2, n - 1] = np.nan
    x[3, : n - 1] = -np.inf
    x = np.ascontiguousarray(x if dim else x.T)
    for name in ("softmax", "log_softmax"):
        have = getattr(tilegrad.from_numpy(x).to(device), name)(dim).cpu().numpy()
        np.testing.assert_array_equal(have, getattr(torch.from_numpy(x), name)(dim).numpy())


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("bad", [10, -1, 2**40, -(2**62)])
def test_a_target_out_of_range_is_refused(name: str, bad: int, device: str) -> None:
    x = tilegrad.zeros(3, 10, device=device)
    target = tilegrad.tensor([1, bad, 2], device=device)
    with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
        getattr(F, name)(x, target).tolist()


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(
    "name, shape",
    [("cross_entropy", (20, 40)), ("nll_loss", (40, 3, 9)), ("nll_loss", (2, 3, 1500))],
)
def test_samples_of_several_blocks(
    name: str, shape: tuple[int, ...], reduction: str, device: str, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype("float32")
    target = rng.integers(0, shape[1], shape[:1] + shape[2:])
    weight = rng.uniform(0.5, 2, shape[1]).astype("float32")
    tensors = [tilegrad.from_numpy(a).to(device) for a in (x, target, weight)]
    tensors[0].requires_grad_()
    theirs = [torch.from_numpy(a) for a in (x.astype("float64"), target, weight.astype("float64"))]
    theirs[0].requires_grad_()
    results = []
    for t, f in ((tensors, F), (theirs, TF)):
        loss = getattr(f, name)(*t, ignore_index=1, reduction=reduction)
        loss.sum().backward()
        results.append((loss.detach().cpu().numpy(), t[0].grad.cpu().numpy()))
    for have, want in zip(*results, strict=True):
        np.testing.assert_allclose(have, want, 2e-5, 1e-6)
    target.flat[[15, 11]] = 99, -7
    with pytest.raises(IndexError, match="Target -7 is out of bounds"):
        getattr(F, name)(tensors[0], tilegrad.from_numpy(target).to(device)).tolist()


def test_blocks_take_samples_in_turn(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    retune(monkeypatch, ROWS, blocks=2)
    x = rng.standard_normal((133, 9)).astype("float32")
    target = rng.integers(0, 9, 133)
    want = TF.cross_entropy(torch.from_numpy(x), torch.from_numpy(target)).item()
    have = F.cross_entropy(*(tilegrad.from_numpy(a).to("cuda") for a in (x, target))).item()
    assert abs(have - want) < 1e-5
    target[[132, 131]] = 9
    with pytest.raises(IndexError, match="Target 9 is out of bounds"):
        F.cross_entropy(*(tilegrad.from_numpy(a).to("cuda") for a in (x, target))).item()


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


def test_all_ignored_is_nan_as_in_pytorch(device: str) -> None:
    x = tilegrad.zeros(2, 5, requires_grad=True, device=device)
    target = tilegrad.tensor([-100, -100], device=device)
    loss = F.cross_entropy(x, target)
    loss.backward()
    assert np.isnan(loss.item())
    assert F.cross_entropy(x, target, reduction="sum").item() == 0


def test_no_samples(device: str) -> None:
    x, target = tilegrad.zeros(0, 5, device=device), tilegrad.zeros(0, dtype=tilegrad.int64)
    target = target.to(device)
    assert np.isnan(F.cross_entropy(x, target).item())
    assert F.cross_entropy(x, target, reduction="sum").item() == 0
    assert F.cross_entropy(x, target, reduction="none").tolist() == []


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_what_is_ignored_may_be_infinite(
    reduction: str, weighted: bool, rng: np.random.Generator, device: str
) -> None:
    """With smoothing, too: a sample that is ignored counts as 0, whatever its logits are."""
    x = rng.standard_normal((4, 5)).astype("float32")
    x[1, 2], x[2, 0] = -np.inf, np.nan
    target, weight = np.array([0, -100, -100, 4]), np.arange(1.0, 6.0, dtype="float32")
    results = []
    for lib, where in ((tilegrad, device), (torch, "cpu")):
        logits = lib.from_numpy(x.copy()).to(where).requires_grad_()
        out = lib.nn.functional.cross_entropy(
            logits,
            lib.from_numpy(target).to(where),
            lib.from_numpy(weight).to(where) if weighted else None,
            label_smoothing=0.1,
            reduction=reduction,
        )
        out.sum().backward()
        results.append([t.detach().cpu().numpy() for t in (out, logits.grad)])
    for have, want in zip(*results, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)

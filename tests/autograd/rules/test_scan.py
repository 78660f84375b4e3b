"""Scans: accuracy, threads, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.conftest import DEVICES
from tests.cuda.simulated import retune
from tilegrad.engine.ops import scan as ops
from tilegrad.kernels.cuda.tuning import SCAN

NAMES = ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin")


@pytest.mark.parametrize("device", DEVICES)
@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=4),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_sums_of_integers_are_exact(
    device: str, shape: list[int], dim: int, flip: bool, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(-5, 6, shape).astype("float64")
    t = tilegrad.from_numpy(x).to(device)
    x, t = (x.transpose(), t.permute(*range(x.ndim)[::-1])) if flip else (x, t)
    dim = dim % x.ndim
    assert np.array_equal(t.cumsum(dim).cpu().numpy(), x.cumsum(dim))


@pytest.mark.parametrize("device, size", [("cpu", 300_001), ("cuda", 20_001)])
def test_a_long_float32_sum_stays_accurate(
    device: str, size: int, rng: np.random.Generator
) -> None:
    x = rng.random(size, "float32")
    exact = x.astype("float64").cumsum()
    have = tilegrad.from_numpy(x).to(device).cumsum(0).cpu().numpy()
    np.testing.assert_allclose(have, exact, rtol=2e-7)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch):
    """On the device, lines are cut into chunks early."""
    caches = [op.plans for op in (*ops.SCANS.values(), ops.cummax_op, ops.cummin_op)]
    retune(monkeypatch, SCAN, least=1024, deep=4)
    for plans in caches:
        plans.clear()
    yield
    for plans in caches:
        plans.clear()


LONG = [(name, (4500,), 0) for name in ("cumsum", "cummax")] + [("cummin", (2, 4100), 1)]
DEEP = [(name, (1, 23, 9), 1) for name in NAMES]


@pytest.mark.parametrize("name, shape, dim", LONG + DEEP)
def test_chunks(
    name: str, shape: tuple[int, ...], dim: int, small_chunks: None, rng: np.random.Generator
) -> None:
    """Lines that several blocks share, in all directions, against the CPU."""
    x = rng.uniform(0.99, 1.01, shape).astype("float32")
    if name in ("cummax", "cummin"):
        x = rng.integers(0, 50, shape).astype("float32")
        x.reshape(-1)[x.size // 2] = np.nan
    ways = [(r, e) for r in (False, True) for e in (False, True)] if name in ops.SCANS else [()]
    for way in ways:
        results = []
        for device in DEVICES:
            array = tilegrad.from_numpy(x).to(device)
            if way:
                made = (ops.scan(name, array, dim, *way),)
            else:
                made = ops.extreme(name == "cummax", array, dim)
            results.append([tilegrad.autograd.base.tensor_of(a).cpu().numpy() for a in made])
        for want, have in zip(*results, strict=True):
            np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp", "cummax"])
def test_threads_do_not_change_a_bit(name: str, rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.uniform(0.9, 1.1, (311, 307)).astype("float32"))
    before = tilegrad.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            tilegrad.set_num_threads(count)
            made = [getattr(x, name)(dim) for dim in (0, 1)]
            made = [m.values if isinstance(m, tuple) else m for m in made]
            results.append([m.numpy().tobytes() for m in made])
    finally:
        tilegrad.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize("shape", [(40, 7), (3, 64), (1, 5), (0, 3), (9,)])
def test_turns_of_complex_logcumsumexp(shape: tuple[int, ...], device: str) -> None:
    """Angles beyond a turn, as PyTorch's, which adds one element after the other; gradients too."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=shape) * 2 + 1j * rng.normal(size=shape) * 6
    for dim in range(len(shape)):
        found = []
        for t, where in ((torch, "cpu"), (tilegrad, device)):
            v = t.tensor(x, device=where, requires_grad=True)
            out = t.logcumsumexp(v, dim)
            out.abs().sum().backward()
            found += [out.detach().cpu().numpy(), v.grad.resolve_conj().cpu().numpy()]
        np.testing.assert_allclose(found[2], found[0], 1e-9, 1e-9)
        np.testing.assert_allclose(found[3], found[1], 1e-8, 1e-8)


def test_logcumsumexp_at_the_ends(device: str) -> None:
    x = np.array([-np.inf, -np.inf, 1.0, 800.0, 801.0, -np.inf, np.inf, 0.0, np.nan, 1.0])
    have = tilegrad.from_numpy(x).to(device).logcumsumexp(0).cpu().numpy()
    want = torch.from_numpy(x).logcumsumexp(0).numpy()
    np.testing.assert_allclose(have, want, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_errors(name: str) -> None:
    x: Any = tilegrad.zeros(2, 3)
    with pytest.raises(IndexError, match="Dimension out of range"):
        getattr(x, name)(2)
    with pytest.raises(TypeError):
        getattr(x, name)("last")

"""Transforms on raw memory, on both devices, against NumPy's in twice the precision."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.cuda.simulated import retune
from tilegrad.kernels import fourier
from tilegrad.kernels.cpu.fft import plan as cpu_plan
from tilegrad.kernels.cpu.tuning import Fourier
from tilegrad.kernels.cuda.fft import plan as cuda_plan
from tilegrad.kernels.cuda.run import driver
from tilegrad.kernels.cuda.tuning import FOURIER

COMPLEX = {"float32": "complex64", "float64": "complex128"}
# of the largest number of the result; a float32 is compared with float64, and a float64 with another order
# of the same sums
TOLERANCE = {"float32": 1e-6, "float64": 2e-15}


class Memory:
    """Memory that kernels of a device may use."""

    def __init__(self, device: str):
        self.device, self.held = device, []

    def of(self, nbytes: int, content: np.ndarray | None = None) -> int:
        """The address of so many bytes, 64-byte aligned."""
        if self.device == "cuda":
            address = driver.get().allocate(0, max(nbytes, 8), 0)
        else:
            raw = np.full(nbytes + 64, 0x7F, np.uint8)  # of what is not written: large numbers
            address = -(-raw.ctypes.data // 64) * 64
            self.held.append(raw)
        if content is not None:
            self.move(address, content.ctypes.data, content.nbytes)
        return address

    def move(self, to: int, source: int, nbytes: int) -> None:
        if self.device == "cuda":
            driver.get().copy(to, source, nbytes, 0)
        else:
            ctypes.memmove(to, source, nbytes)


def transform(
    device: str,
    dtype: str,
    kind: str,
    x: np.ndarray,
    n: int,
    dim: int,
    forward: bool,
    scale: float = 1.0,
) -> np.ndarray:
    """``x`` transformed along ``dim`` by the device's kernels."""
    family = importlib.import_module(f"tilegrad.kernels.{device}.fft")
    dim, size, memory = dim % x.ndim, np.dtype(dtype).itemsize, Memory(device)
    shape = list(x.shape)
    shape[dim] = n // 2 + 1 if kind == "r2c" else n
    y = np.full(shape, np.nan, dtype if kind == "c2r" else COMPLEX[dtype])
    xs, ys = ([s // size for s in a.strides] for a in (x, y))
    rest = [d for d in range(x.ndim) if d != dim]
    batch = tuple(tuple(values[d] for d in rest) for values in (shape, xs, ys))
    line = fourier.Line(n, x.shape[dim], xs[dim], ys[dim])
    launch, scratch = family.fft(dtype, kind, batch, line, forward, scale)
    whole = x.base if x.base is not None else x
    start = memory.of(whole.nbytes, whole)
    there = memory.of(y.nbytes, y)
    launch(start + x.ctypes.data - whole.ctypes.data, there, memory.of(scratch))
    memory.move(y.ctypes.data, there, y.nbytes)
    return y


def reference(kind: str, x: np.ndarray, n: int, dim: int, forward: bool) -> np.ndarray:
    """Without a scale."""
    wide = x.astype("f8" if x.dtype.kind == "f" else "c16")
    if kind == "r2c":
        made = np.fft.rfft(wide, n, dim)
        return made if forward else made.conj()
    if kind == "c2r":
        return np.fft.irfft(wide.conj() if forward else wide, n, dim, norm="forward")
    return np.fft.fft(wide, n, dim) if forward else np.fft.ifft(wide, n, dim, norm="forward")


def operand(rng: np.random.Generator, dtype: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.standard_normal(shape)
    if kind == "r2c":
        return x.astype(dtype)
    return (x + 1j * rng.standard_normal(shape)).astype(COMPLEX[dtype])


def compare(
    device: str, dtype: str, kind: str, x: np.ndarray, n: int, dim: int = -1, forward: bool = True
) -> None:
    got = transform(device, dtype, kind, x, n, dim, forward)
    want = reference(kind, x, n, dim, forward)
    assert got.shape == want.shape
    error = np.abs(got - want).max(initial=0) / np.abs(want).max(initial=1e-30)
    assert error < TOLERANCE[dtype], (x.shape, n, dim, forward, error)


@pytest.fixture
def small(device: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Transforms are cut where they are short, so that simulated ones reach every path."""
    cpu_plan.rows.cache_clear()
    cuda_plan.rows.cache_clear()
    monkeypatch.setattr(Fourier, "split", 16)
    monkeypatch.setattr(Fourier, "whole", 16)
    retune(monkeypatch, FOURIER, capacity=64, threads=32)
    yield
    cpu_plan.rows.cache_clear()
    cuda_plan.rows.cache_clear()


SHORT = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 32, 37, 49, 61)
LONG = (127, 128, 243, 1000, 1009, 4096, 3125, 2 * 1009, 37 * 37)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("n", SHORT)
def test_short_lengths(device: str, n: int, forward: bool, rng: np.random.Generator) -> None:
    compare(device, "float32", "c2c", operand(rng, "float32", "c2c", (3, n)), n, -1, forward)


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("n", LONG)
def test_long_lengths(n: int, dtype: str, rng: np.random.Generator) -> None:
    for kind, count in (("c2c", n), ("r2c", n), ("c2r", n // 2 + 1)):
        for forward in (True, False):
            compare("cpu", dtype, kind, operand(rng, dtype, kind, (2, count)), n, -1, forward)


@pytest.mark.parametrize("kind", ["c2c", "r2c", "c2r"])
@pytest.mark.parametrize("n", [20, 21, 67, 100, 134])
def test_matrices_of_matrices_and_convolutions(
    device: str, small: None, kind: str, n: int, rng: np.random.Generator
) -> None:
    count = n // 2 + 1 if kind == "c2r" else n
    compare(device, "float32", kind, operand(rng, "float32", kind, (2, count)), n, -1, False)


@pytest.mark.parametrize("kind", ["c2c", "r2c", "c2r"])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_dimensions_and_strides(device: str, kind: str, dim: int, rng: np.random.Generator) -> None:
    for dtype in COMPLEX:
        x = operand(rng, dtype, kind, (6, 10, 14))
        for view in (x, x[::2, 1::3, ::-1][:, :, ::2], x.transpose(2, 0, 1)):
            if view.strides[-1] > 0:
                n = view.shape[dim] if kind != "c2r" else 2 * view.shape[dim] - 1
                compare(device, dtype, kind, view, n, dim)


@pytest.mark.parametrize("kind", ["c2c", "r2c", "c2r"])
@pytest.mark.parametrize("n", [3, 5, 12, 30, 71, 142])
def test_more_numbers_than_there_are_and_fewer(
    device: str, small: None, kind: str, n: int, rng: np.random.Generator
) -> None:
    x = operand(rng, "float32", kind, (3, 9))
    compare(device, "float32", kind, x, n)
    compare(device, "float32", kind, np.ascontiguousarray(x.T), n, 0, False)


@pytest.mark.parametrize("shape", [(5, 128), (40, 64), (33, 17), (20, 16)])
def test_batches_that_fill_lanes_and_do_not(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    for kind in ("c2c", "r2c", "c2r"):
        x = operand(rng, "float32", kind, shape)
        compare("cpu", "float32", kind, x, shape[1] if kind != "c2r" else 2 * shape[1] - 2)
        compare("cpu", "float32", kind, x, shape[0], 0)


def test_nothing_is_done_for_no_elements(device: str) -> None:
    for shape in ((0, 4), (3, 0, 2)):
        x = np.zeros(shape, "c8")
        assert (
            transform(device, "float32", "c2c", x, shape[1], 1, True).shape == shape
            if shape[1]
            else True
        )


def test_the_scale_multiplies_the_result(device: str, rng: np.random.Generator) -> None:
    x = operand(rng, "float32", "c2c", (2, 12))
    got = transform(device, "float32", "c2c", x, 12, -1, False, 1 / 12)
    np.testing.assert_allclose(got, np.fft.ifft(x.astype("c16")), atol=1e-6)


def test_threads_change_no_bit(rng: np.random.Generator) -> None:
    import tilegrad

    before = tilegrad.get_num_threads()
    for shape, n in (((64, 300), 300), ((1, 1 << 16), 1 << 16), ((3, 1009), 1009)):
        x, found = operand(rng, "float32", "c2c", shape), []
        for threads in (1, 2, 5):
            tilegrad.set_num_threads(threads)
            found.append(transform("cpu", "float32", "c2c", x, n, -1, True))
        assert all(np.array_equal(found[0], other) for other in found[1:])
    tilegrad.set_num_threads(before)


def _error(got: Any, x: np.ndarray) -> float:
    want = np.fft.fft(x.astype("c16"))
    return float(np.sqrt(np.mean(np.abs(got - want) ** 2) / np.mean(np.abs(want) ** 2)))


@pytest.mark.parametrize("n", [256, 1000, 1009, 4096, 6561, 15625, 1 << 16])
def test_errors_are_no_larger_than_those_of_pocketfft(n: int, rng: np.random.Generator) -> None:
    """In float32, against float64, over several draws."""
    scipy_fft = pytest.importorskip("scipy.fft")
    ours, theirs = 0.0, 0.0
    for _ in range(4):
        x = operand(rng, "float32", "c2c", (n,))
        ours += _error(transform("cpu", "float32", "c2c", x, n, -1, True), x)
        theirs += _error(scipy_fft.fft(x), x)
    # sums in another order: the same size of error, one draw above and the next below
    assert ours < 1.1 * theirs, (ours, theirs)

"""The vector type of kernel bodies, against NumPy lane by lane."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tilegrad.kernels.cpu.run import jit
from tilegrad.kernels.cpu.run.jit import kernel
from tilegrad.kernels.cpu.simd import vector
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import (
    broadcast,
    convert,
    fabs,
    floor,
    fma,
    head,
    hmax,
    hmin,
    hsum,
    iota,
    lanes,
    load,
    load_masked,
    maximum,
    minimum,
    prefetch,
    reinterpret,
    rint,
    select,
    splat,
    sqrt,
    store,
    store_masked,
    transpose,
)

DTYPES = ("float32", "float64", "int32", "int64")
FLOATS = DTYPES[:2]


@kernel
def arithmetic(dtype):
    T, W = np.dtype(dtype).type, lanes(dtype)

    def body(task, x_address, y_address, out_address):
        x, y, out = pointer(x_address, T), pointer(y_address, T), pointer(out_address, T)
        prefetch(x, 10_000_000)
        a, b = load(x, 0), load(y, 0)
        store(out, 0, a + b)
        store(out, W, a - b)
        store(out, 2 * W, a * b)
        store(out, 3 * W, -a)
        store(out, 4 * W, select(a < b, a, b))
        store(out, 5 * W, select((a >= b) & ~(a == b), a, splat(T(7))))
        store(out, 6 * W, select((a != b) | (a > b), a, broadcast(y, 1)))
        store(out, 7 * W, select(a <= b, iota(T), a))

    return body, "iii"


@kernel
def floating(dtype):
    T, W = np.dtype(dtype).type, lanes(dtype)
    integer = np.int32 if dtype == "float32" else np.int64

    def body(task, x_address, y_address, out_address):
        x, y, out = pointer(x_address, T), pointer(y_address, T), pointer(out_address, T)
        a, b = load(x, 0), load(y, 0)
        store(out, 0, a / b)
        store(out, W, fma(a, b, b))
        store(out, 2 * W, sqrt(fabs(a)))
        store(out, 3 * W, rint(a))
        store(out, 4 * W, floor(a))
        store(out, 5 * W, maximum(a, b))
        store(out, 6 * W, minimum(a, b))
        store(
            out, 7 * W, convert((convert(a, integer) + splat(integer(1))) << splat(integer(2)), T)
        )
        store(out, 8 * W, reinterpret(reinterpret(a, integer) ^ reinterpret(b, integer), T))

    return body, "iii"


@kernel
def across(dtype):
    T = np.dtype(dtype).type

    def body(task, x_address, out_address, count):
        x, out = pointer(x_address, T), pointer(out_address, T)
        a, mask = load(x, 0), head(T, count)
        out[0], out[1], out[2] = hsum(a), hmax(a), hmin(a)
        out[3] = hsum(load_masked(x, 0, mask, splat(T(5))))
        store_masked(out, 4, a, mask)

    return body, "iii"


@kernel
def transposing(dtype):
    T = np.dtype(dtype).type

    def body(task, x_address, out_address, i, stride, rows, j, out_stride):
        transpose(pointer(x_address, T), i, stride, rows, pointer(out_address, T), j, out_stride)

    return body, "iiiiiii"


def call(factory, dtype, *arguments):
    numbers = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    factory.build(dtype)(*numbers, 1, 0)


def values(dtype, count, seed=0):
    generator = np.random.default_rng(seed)
    if dtype in FLOATS:
        return (generator.standard_normal(count) * 10).astype(dtype)
    return generator.integers(-1000, 1000, count).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic_and_comparisons(dtype):
    W = lanes(dtype)
    a, b = values(dtype, W), values(dtype, W, 1)
    b[::3] = a[::3]
    out = np.empty(8 * W, dtype)
    call(arithmetic, dtype, a, b, out)
    expected = [
        *(a + b, a - b, a * b, -a, np.minimum(a, b), np.where(a > b, a, 7)),
        *(np.where(a != b, a, b[1]), np.where(a <= b, np.arange(W), a)),
    ]
    assert (out.reshape(8, W) == np.array(expected, dtype)).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_comparisons_with_nan_are_false(dtype):
    W = lanes(dtype)
    a, b = np.full(W, np.nan, dtype), np.ones(W, dtype)
    out = np.empty(8 * W, dtype)
    call(arithmetic, dtype, a, b, out)
    below, between, unequal, at_most = out.reshape(8, W)[4:]
    assert (below == 1).all()
    assert (between == 7).all()
    assert np.isnan(unequal).all()
    assert np.isnan(at_most).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_floating_functions(dtype):
    W, integer = lanes(dtype), {"float32": np.int32, "float64": np.int64}[dtype]
    a, b = values(dtype, W), values(dtype, W, 1)
    a[0] = 2.5
    out = np.empty(9 * W, dtype)
    call(floating, dtype, a, b, out)
    out = out.reshape(9, W)
    exact = a.astype(np.longdouble) * b + b
    assert (np.abs(out[1] - exact) <= np.spacing(np.abs(a * b) + np.abs(b))).all()
    expected = [a / b, out[1], np.sqrt(np.abs(a)), np.rint(a), np.floor(a), np.maximum(a, b)]
    expected += [np.minimum(a, b), (a.astype(integer) + 1) << 2]
    assert (out[:8] == np.array(expected, dtype)).all()
    assert (out[8].view(integer) == a.view(integer) ^ b.view(integer)).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_maximum_and_minimum_give_nan(dtype):
    W = lanes(dtype)
    a, b = values(dtype, W), values(dtype, W, 1)
    a[0] = b[1] = np.nan
    out = np.empty(9 * W, dtype)
    call(floating, dtype, a, b, out)
    assert np.isnan(out.reshape(9, W)[5:7, :2]).all()
    single, few = np.empty(4 + W, dtype), np.zeros(W, dtype)
    few[-1] = np.nan
    call(across, dtype, few, single, 0)
    assert np.isnan(single[:3]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_across_the_lanes_and_masks(dtype):
    W = lanes(dtype)
    a = values(dtype, W)
    for count in (-1, 0, 1, W - 1, W, W + 3):
        out = np.full(4 + W, 9, dtype)
        inside = np.arange(W) < count
        call(across, dtype, a, out, count)
        assert np.allclose(out[0], a.sum(dtype=np.float64), rtol=1e-5)
        assert (out[1], out[2]) == (a.max(), a.min())
        assert np.allclose(out[3], np.where(inside, a, 5).sum(dtype=np.float64), rtol=1e-5)
        assert (out[4:] == np.where(inside, a, 9)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose(dtype):
    W = lanes(dtype)
    x = values(dtype, (W + 2) * (W + 5)).reshape(W + 2, W + 5)
    for rows in (1, 2, W - 1, W, W + 4):
        out = np.zeros((W + 1, W + 3), dtype)
        call(transposing, dtype, x, out, 3, W + 5, rows, 1, W + 3)
        read = x[np.minimum(np.arange(W), rows - 1), 3 : 3 + W]
        assert (out[:W, 1 : W + 1] == read.T).all()
        assert (out[W] == 0).all()


def test_lanes_fill_a_register():
    bits = jit.simd_bits()
    assert [lanes(d) * np.dtype(d).itemsize * 8 for d in DTYPES] == [bits] * 4


@pytest.mark.parametrize("bits", [128, 256])
def test_narrower_vectors(bits):
    if bits >= jit.simd_bits() or "TILEGRAD_VECTOR_TEST" in os.environ:
        pytest.skip("this is the width that the other tests use, or wider")
    environment = {**os.environ, "TILEGRAD_SIMD_BITS": str(bits), "TILEGRAD_VECTOR_TEST": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_import_leaves_numba_alone():
    script = f"import sys, {vector.__name__}; assert 'numba' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()

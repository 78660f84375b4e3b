"""The matrix-product kernels, called through raw addresses of NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tilegrad.kernels.cpu import jit
from tilegrad.kernels.cpu.matmul import matmul

FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8")


def strides_of(array, ndim):
    """Strides in elements of ``array`` seen as ``ndim`` dimensions, 0 where it is broadcast."""
    own = [s // array.itemsize if n > 1 else 0 for s, n in zip(array.strides, array.shape)]
    own[-2:] = [s // array.itemsize for s in array.strides[-2:]]
    return tuple([0] * (ndim - array.ndim) + own)


def product(x, y, bias=None, onto=None, threads=None):
    """``x @ y`` by the kernel."""
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    (M, K), N = x.shape[-2:], y.shape[-1]
    shape = (*batch, M, N)
    out = np.full(shape, 77, x.dtype) if onto is None else onto.copy()
    launch, scratch_bytes = matmul(
        x.dtype.name,
        M,
        N,
        K,
        batch,
        *(strides_of(a, len(shape)) for a in (x, y, out)),
        accumulate=onto is not None,
    )
    scratch = np.full(scratch_bytes + 64, 255, np.uint8)  # NaN wherever it is read unwritten
    start = -scratch.ctypes.data % 64
    before = jit.get_num_threads()
    jit.set_num_threads(threads or before)
    try:
        launch(
            x.ctypes.data,
            y.ctypes.data,
            out.ctypes.data,
            scratch.ctypes.data + start,
            0 if bias is None else bias.ctypes.data,
        )
    finally:
        jit.set_num_threads(before)
    return out


def random(dtype, *shape, seed=0):
    generator = np.random.default_rng(seed + sum(shape))
    if dtype in FLOATS:
        return generator.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return generator.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def laid_out(array, layout):
    """A copy of ``array`` with its last two dimensions in memory as ``layout`` says."""
    if layout == "rows":
        return np.ascontiguousarray(array)
    if layout == "columns":
        return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)
    *batch, rows, cols = array.shape
    padded = np.full((*batch, 2 * rows + 1, 3 * cols + 2), 88, array.dtype)
    view = padded[..., 1::2, 1:-1:3]
    view[...] = array
    return view


def assert_close(out, x, y, plus=0.0):
    """Within the error that any order of summation keeps: K eps |x| @ |y|."""
    exact = x.astype(np.float64) @ y.astype(np.float64) + plus
    bound = np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64) + np.abs(plus)
    K = x.shape[-1]
    limit = (K + 2) * np.finfo(out.dtype).eps * bound + np.finfo(out.dtype).tiny
    assert np.isfinite(out).all()
    assert (np.abs(out - exact) <= limit).all()


SIZES = [1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 100]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("K", [1, 2, 5, 33, 256, 257, 600])
def test_every_remainder(dtype, K):
    for M in SIZES:
        for N in SIZES:
            x, y = random(dtype, M, K), random(dtype, K, N)
            assert_close(product(x, y), x, y)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("x_layout", ["rows", "columns", "strided"])
@pytest.mark.parametrize("y_layout", ["rows", "columns", "strided"])
@pytest.mark.parametrize(
    "M, N, K", [(1, 70, 300), (70, 1, 300), (5, 40, 20), (33, 45, 270), (150, 170, 530), (1, 1, 9)]
)
def test_layouts(dtype, x_layout, y_layout, M, N, K):
    x, y = laid_out(random(dtype, M, K), x_layout), laid_out(random(dtype, K, N), y_layout)
    assert_close(product(x, y), x, y)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize(
    "x_shape, y_shape",
    [
        ((5, 9, 7), (5, 7, 20)),
        ((5, 9, 7), (7, 20)),
        ((9, 7), (5, 7, 20)),
        ((6, 1, 9, 7), (4, 7, 20)),
        ((2, 3, 4, 1, 5), (3, 1, 5, 6)),
        ((2, 1, 3, 1, 5, 6), (4, 1, 2, 6, 7)),
        ((40, 64, 33), (40, 33, 64)),
        ((3, 1, 50), (50, 40)),
        ((3, 150, 300), (3, 300, 70)),
        ((3, 9, 7), (3, 7, 1)),
    ],
)
def test_batches(dtype, layout, x_shape, y_shape):
    x, y = laid_out(random(dtype, *x_shape), layout), laid_out(random(dtype, *y_shape), layout)
    assert_close(product(x, y), x, y)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "M, N, K", [(3, 5, 0), (4, 37, 10), (1, 40, 300), (40, 1, 300), (90, 133, 600)]
)
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_bias_and_accumulate(dtype, M, N, K, layout):
    x, y = random(dtype, M, K), laid_out(random(dtype, K, N), layout)
    bias, onto = random(dtype, N), random(dtype, M, N)
    assert_close(product(x, y, bias=bias), x, y, plus=bias.astype(np.float64))
    assert_close(product(x, y, onto=onto), x, y, plus=onto.astype(np.float64))


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_empty(dtype):
    assert (product(random(dtype, 3, 0), random(dtype, 0, 4)) == 0).all()
    assert product(random(dtype, 0, 3), random(dtype, 3, 4)).shape == (0, 4)
    assert product(random(dtype, 3, 4), random(dtype, 4, 0)).shape == (3, 0)
    assert product(random(dtype, 0, 3, 2), random(dtype, 2, 4)).shape == (0, 3, 4)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
@pytest.mark.parametrize(
    "x_shape, y_shape", [((3, 5), (5, 4)), ((4, 1, 9, 70), (3, 70, 20)), ((150, 160), (160, 170))]
)
def test_integers_wrap_around(dtype, layout, x_shape, y_shape):
    x, y = laid_out(random(dtype, *x_shape), layout), laid_out(random(dtype, *y_shape), layout)
    assert (product(x, y) == x @ y).all()
    onto, bias = product(x, y), random(dtype, y.shape[-1])
    assert (product(x, y, onto=onto) == onto + x @ y).all()
    assert (product(x, y, bias=bias) == bias + x @ y).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("N, K", [(1, 300), (40, 300), (70, 64), (200, 513)])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_a_row_does_not_depend_on_the_others(dtype, N, K, layout):
    x, y = random(dtype, 300, K), laid_out(random(dtype, K, N), layout)
    whole = product(x, y)
    for first, last in [(0, 1), (7, 8), (3, 6), (20, 80)]:
        assert (product(x[first:last], y) == whole[first:last]).all()
    assert (product(x.reshape(3, 100, K), y).reshape(300, N) == whole).all()
    assert (product(x.reshape(300, 1, K), y)[:, 0] == whole).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "shape", [(300, 310, 320), (4000, 40, 50), (1, 2000, 2000), (2000, 1, 2000)]
)
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_threads_do_not_change_the_result(dtype, shape, layout):
    M, N, K = shape
    x, y = random(dtype, M, K), laid_out(random(dtype, K, N), layout)
    assert (product(x, y, threads=1) == product(x, y, threads=2)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("M, N, K", [(20, 40, 30), (1, 70, 30), (70, 1, 30), (200, 200, 200)])
def test_nan_and_infinity_stay_in_their_rows_and_columns(dtype, M, N, K):
    x, y = random(dtype, M, K), random(dtype, K, N)
    x[M // 2, K // 2], y[0, N // 2] = np.nan, np.inf
    out = product(x, y)
    assert np.isnan(out[M // 2]).all()
    x[M // 2] = 0
    assert (np.isfinite(out) == np.isfinite(product(x, y)))[np.arange(M) != M // 2].all()
    if N > 1:
        rest = np.delete(np.delete(out, M // 2, 0), N // 2, 1)
        assert np.isfinite(rest).all()

"""The matrix-product kernels, called through raw addresses of NumPy arrays."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest

from tilegrad.kernels.cpu import matmul as planner, tuning
from tilegrad.kernels.cpu.matmul import matmul
from tilegrad.kernels.cpu.parts import gemm as kernels
from tilegrad.kernels.cpu.parts.micro_kernel import micro_kernel
from tilegrad.kernels.cpu.run import backend, caches, jit, translate
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.tuning import NR_VECTORS

FLOATS = ("float32", "float64")
NUMBERS = (*FLOATS, "complex64", "complex128")
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
    if dtype in NUMBERS:
        return (generator.standard_normal((*shape, 2)) @ (1, 1j)).astype(dtype)
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
    wide = np.result_type(x, np.float64)
    exact = x.astype(wide) @ y.astype(wide) + plus
    bound = np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64) + np.abs(plus)
    K = x.shape[-1] * (
        1 if wide == np.float64 else 2
    )  # a product of complex numbers is two sums of two
    limit = (K + 2) * np.finfo(out.dtype).eps * bound + np.finfo(out.dtype).tiny
    assert np.isfinite(out).all()
    assert (np.abs(out - exact) <= limit).all()


SIZES = [1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 100]


@pytest.mark.parametrize(
    "K, dtype",
    [
        *((K, dtype) for K in (1, 2, 5, 33, 256, 257, 600) for dtype in FLOATS),
        *((33, "complex64"), (257, "complex128")),
    ],
)
def test_every_remainder(K, dtype):
    for M in SIZES:
        for N in SIZES:
            x, y = random(dtype, M, K), random(dtype, K, N)
            assert_close(product(x, y), x, y)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("x_layout", ["rows", "columns", "strided"])
@pytest.mark.parametrize("y_layout", ["rows", "columns", "strided"])
@pytest.mark.parametrize(
    "M, N, K",
    [
        *((1, 1, 9), (1, 70, 300), (70, 1, 300), (5, 40, 20), (32, 70, 100), (33, 45, 270)),
        *((150, 170, 530), (30, 50, 1024), (260, 900, 900)),
    ],
)
def test_layouts(dtype, x_layout, y_layout, M, N, K):
    x, y = laid_out(random(dtype, M, K), x_layout), laid_out(random(dtype, K, N), y_layout)
    assert_close(product(x, y), x, y)


@pytest.mark.parametrize("dtype", NUMBERS)
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


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(
    "M, N, K", [(3, 5, 0), (4, 37, 10), (1, 40, 300), (40, 1, 300), (90, 133, 600)]
)
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_bias_and_accumulate(dtype, M, N, K, layout):
    x, y = random(dtype, M, K), laid_out(random(dtype, K, N), layout)
    bias, onto = random(dtype, N), random(dtype, M, N)
    assert_close(product(x, y, bias=bias), x, y, plus=bias.astype(np.result_type(bias, np.float64)))
    assert_close(product(x, y, onto=onto), x, y, plus=onto.astype(np.result_type(onto, np.float64)))


@pytest.mark.parametrize("dtype", NUMBERS + INTEGERS)
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


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("N, K", [(1, 300), (40, 300), (70, 64), (200, 513)])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_a_row_does_not_depend_on_the_others(dtype, N, K, layout):
    x, y = random(dtype, 300, K), laid_out(random(dtype, K, N), layout)
    whole = product(x, y)
    for first, last in [(0, 1), (7, 8), (3, 6), (20, 80)]:
        assert (product(x[first:last], y) == whole[first:last]).all()
    assert (product(x.reshape(3, 100, K), y).reshape(300, N) == whole).all()
    assert (product(x.reshape(300, 1, K), y)[:, 0] == whole).all()


_SHARED = [(300, 310, 320), (4000, 40, 50), (1, 2000, 2000), (2000, 1, 2000)]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", _SHARED)
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_threads_do_not_change_the_result(dtype, shape, layout):
    M, N, K = shape
    x, y = random(dtype, M, K), laid_out(random(dtype, K, N), layout)
    assert (product(x, y, threads=1) == product(x, y, threads=2)).all()


@pytest.mark.parametrize("shape", _SHARED)
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_a_cut_for_other_processors_does_not_change_the_result(shape, layout, monkeypatch):
    M, N, K = shape
    x, y, found = random("float32", M, K), laid_out(random("float32", K, N), layout), []
    for count in (1, 2, 3, 16):
        monkeypatch.setattr(jit, "processors", lambda count=count: count)
        found.append(product(x, y))
    assert all((other == found[0]).all() for other in found[1:])


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("M, N, K", [(20, 40, 30), (1, 70, 30), (70, 1, 30), (200, 200, 200)])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_nan_and_infinity_reach_their_row_or_column_only(dtype, M, N, K, layout):
    x, y = random(dtype, M, K), laid_out(random(dtype, K, N), layout)
    clean = product(x, y)
    x[M // 2, K - 1] = np.nan
    out = product(x, y)
    assert np.isnan(out[M // 2]).all()
    assert (np.delete(out, M // 2, 0) == np.delete(clean, M // 2, 0)).all()
    y[0, N // 2] = np.inf
    out = product(x, y)
    assert not np.isfinite(out[:, N // 2]).any()
    rest = np.delete(np.delete(out, M // 2, 0), N // 2, 1)
    assert (rest == np.delete(np.delete(clean, M // 2, 0), N // 2, 1)).all()


@pytest.mark.parametrize("M, N", [(30, 40), (1, 40), (40, 1)])
def test_sums_are_split(M, N):
    """A long sum is a sum of short ones: far closer than adding up in one go."""
    K = 8192
    generator = np.random.default_rng(0)
    x, y = generator.random((M, K), np.float32), generator.random((K, N), np.float32)
    exact = x.astype(np.float64) @ y.astype(np.float64)
    in_one_go = np.stack([np.cumsum(x * column, axis=1)[:, -1] for column in y.T], axis=1)
    error, naive = (np.abs(out - exact).mean() for out in (product(x, y), in_one_go))
    assert error < naive / 3


NARROW = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from test_matmul import assert_close, laid_out, product, random
from tilegrad.kernels.cpu.parts import gemm as kernels
from tilegrad.kernels.cpu.run import backend, caches, jit, translate
assert jit.simd_bits() == {bits}
for dtype, M, N, K in (
    *(("float32", 1, 1, 1), ("float32", 1, 37, 50), ("float32", 37, 1, 50), ("float32", 9, 1, 30)),
    *(("float32", 13, 21, 33), ("float32", 20, 40, 1024), ("float32", 64, 70, 300)),
    *(("float64", 13, 21, 33), ("float64", 64, 70, 300)),
):
    for layout in ("rows", "columns") if dtype == "float32" or M > 32 else ("rows",):
        x, y = random(dtype, M, K), laid_out(random(dtype, K, N), layout)
        bias = random(dtype, N)
        assert_close(product(x, y, bias=bias), x, y, plus=bias.astype(np.result_type(bias, np.float64)))
"""


@pytest.mark.parametrize("facts", [("Data", "48K"), ("Data", "?"), ("Unified", "64K"), None])
def test_the_size_of_the_cache(facts, tmp_path, monkeypatch):
    """As the system tells it, else the usual one."""
    if facts:
        (tmp_path / "index0").mkdir()
        for name, text in zip(("level", "type", "size"), ("1", *facts)):
            (tmp_path / "index0" / name).write_text(text + "\n")
    (tmp_path / "index1").mkdir()  # one that tells nothing
    monkeypatch.setattr(caches, "FOLDER", tmp_path)
    size = caches.size.__wrapped__()
    assert size == (48 << 10 if facts == ("Data", "48K") else caches.USUAL[1])
    (tmp_path / "index1" / "level").write_text("2\n")
    (tmp_path / "index1" / "type").write_text("Unified\n")
    assert caches.size.__wrapped__(2) == caches.USUAL[2]
    (tmp_path / "index1" / "size").write_text("1024K\n")
    assert caches.size.__wrapped__(2) == 1 << 20


@pytest.mark.parametrize("column", [1024, 527])
def test_one_row_reads_as_many_columns_as_the_cache_holds(column, monkeypatch):
    """Columns that push each other out of the cache are read fewer at a time, to the same bits."""
    x, y = random("float32", 1, column), laid_out(random("float32", column, 70), "columns")
    variants, build, results = [], kernels.gemm.build, []
    monkeypatch.setattr(
        kernels.gemm,
        "build",
        lambda dtype, variant: variants.append(variant) or build(dtype, variant),
    )
    for size in (1 << 12, 1 << 20):
        monkeypatch.setattr(caches, "size", lambda level=1, size=size: size)
        results.append(product(x, y))
    assert variants == ["gemv_col" if column == 527 else "col_major_b", "gemv_col"]
    assert (results[0] == results[1]).all()


@pytest.mark.parametrize("columns, copied", [(96, False), (90, True), (1024, True)])
def test_a_block_of_b_that_stays_near_is_read_in_place(columns, copied, monkeypatch):
    """No copy where the L2 cache holds KC rows in whole lines apart; to the same bits."""
    row = tuning.micro_kernel("float32")._replace(b_in_place=4)
    monkeypatch.setattr(tuning, "micro_kernel", lambda dtype: row)
    x, y = random("float32", 70, 300), random("float32", 300, columns)
    results, choose, asked = [], planner._choose, []
    monkeypatch.setattr(planner, "_choose", lambda p: asked.append(choose(p)) or asked[-1])
    for size in (1 << 10, 1 << 24):
        monkeypatch.setattr(caches, "size", lambda level=1, size=size: size)
        results.append(product(x, y))
    packed = [choice.pack_b or choice.prepack_b for choice in asked]
    assert packed == [True, copied]
    assert (results[0] == results[1]).all()


def inner_loops(text):
    """The loops of an assembly text without a jump in them, each a list of its lines."""
    lines, labels, found = text.splitlines(), {}, []
    for number, line in enumerate(lines):
        if label := re.match(r"(\.\w+):", line):
            labels[label[1]] = number
        elif (jump := re.match(r"\s+j\w+\s+(\.\w+)", line)) and jump[1] in labels:
            inside = lines[labels[jump[1]] + 1 : number]
            if not any(re.match(r"\s+j", line) for line in inside):
                found.append(inside)
    return found


PROCESSORS = {  # that kernels of this width run on: what LLVM makes of a loop differs
    256: ("x86-64-v3", "haswell", "skylake", "znver2", "znver3"),
    512: ("x86-64-v4", "skylake-avx512", "icelake-server", "sapphirerapids", "znver4", "znver5"),
}


def texts_for_processors(body, signature):
    """``(name, assembly text)`` of a loop nest for every processor of this register width."""
    kernel = translate.translate(body, signature)
    for name in PROCESSORS[jit.simd_bits()]:
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=name, features=jit.target()[1], opt=3, reloc="pic", jit=True
        )
        yield name, str(target.emit_assembly(backend.optimised(kernel, target)))


@pytest.mark.skipif(jit.simd_bits() not in PROCESSORS, reason="too few registers for these tiles")
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_sums_stay_in_registers(dtype):
    """No loop of a tile moves a vector to memory and back: that costs more than the arithmetic."""
    mr, T = tuning.micro_kernel(dtype).mr, np.dtype(dtype).type
    sums = mr[0] * (1 if dtype == "float32" else 2)
    multiply = micro_kernel(NR_VECTORS, mr, unmasked=True)

    def body(task, x, x_row, y, y_row, out, out_row, rows, depth):
        o, a, b = pointer(out, T), pointer(x, T), pointer(y, T)
        multiply(a, x_row, 1, b, y_row, o, out_row, o, out_row, rows, depth, 1)

    for name, text in texts_for_processors(body, "iiiiiiii"):
        loops = [loop for loop in inner_loops(text) if "vfmadd" in "".join(loop)]
        longest = max(sum("vfmadd" in line for line in loop) for loop in loops)
        assert longest % (NR_VECTORS * sums) == 0, name  # the largest tile is among them
        moves = [line for loop in loops for line in loop if "mm" in line and "(%rsp)" in line]
        assert not moves, name


@pytest.mark.parametrize("bits", [128, 256])
def test_narrower_vectors(bits):
    """The same results from the kernels for processors with shorter registers."""
    if bits >= jit.simd_bits():
        pytest.skip("this is the width that the other tests use, or wider")
    script = NARROW.format(folder=os.path.dirname(__file__), bits=bits)
    environment = {**os.environ, "TILEGRAD_SIMD_BITS": str(bits)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()

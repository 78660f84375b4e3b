"""Accumulators over columns: against NumPy, and that they stay in registers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.kernels.cpu.test_matmul import inner_loops
from tilegrad.kernels.cpu.run.jit import assembly, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import accumulate, lanes, load, splat
from tilegrad.kernels.cpu.softmax import backward_columns, softmax_columns
from tilegrad.kernels.cpu.tuning import Softmax
from tilegrad.kernels.function import inline


@kernel
def column_sums(dtype, vectors):
    """``sum = (sum + x[i, j]) / 2`` down the rows: the order shows."""
    T, down = np.dtype(dtype).type, accumulate(vectors)

    @inline
    def step(total, i, j, x, inner):
        return (total + load(x, i * inner + j)) * splat(T(0.5))

    def body(task, x, sums, rows, first, inner):
        down(step, rows, pointer(sums, T), first, (pointer(x, T), inner))

    return body, "iiiii"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("vectors", [1, 3, 4])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_accumulators_go_down_the_rows(dtype, vectors, rows):
    """Each vector goes down its own columns, in the order of rows, and no other lane is written."""
    T, count, first = np.dtype(dtype).type, vectors * lanes(dtype), 3
    width = first + count + 2
    x = np.random.default_rng(0).standard_normal((max(rows, 1), width)).astype(dtype)
    sums = np.arange(width, dtype=dtype)
    expected = sums.copy()
    for row in x[:rows]:
        part = slice(first, first + count)
        expected[part] = (expected[part] + row[part]) * T(0.5)
    function = column_sums.build(dtype, vectors)
    function(x.ctypes.data, sums.ctypes.data, rows, first, width, 1, 0)
    assert np.array_equal(sums, expected)


@pytest.mark.parametrize("logs", [False, True])
@pytest.mark.parametrize(
    ("factory", "operation"), [(softmax_columns, "maxps"), (backward_columns, r"(addps|fmadd\w+)")]
)
def test_columns_stay_in_registers(factory, operation, logs):
    """A loop down the rows takes the maxima, or sums, of several vectors and writes none."""
    text = assembly(*factory.factory("float32", logs))
    loops = ["\n".join(loop) for loop in inner_loops(text)]
    several = [
        loop for loop in loops if len(re.findall(rf"\tv?{operation}\t", loop)) >= Softmax.together
    ]
    assert [loop for loop in several if not re.search(r"mov\w+\t%[xyz]mm\d+, .*\(", loop)]

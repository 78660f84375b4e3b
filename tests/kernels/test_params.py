"""Named structures of kernel parameters, on both devices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import tilegrad
from tilegrad.kernels import params
from tilegrad.kernels.cpu.run import jit
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cuda.device import ptx
from tilegrad.kernels.cuda.run import jit as cuda_jit


class Line(NamedTuple):
    n: int
    step: int
    factor: float
    start: int


class Wrong(NamedTuple):
    name: str


SIGNATURE = ("ii", Line)


def body(task, x, out, p):
    source, target = pointer(x, np.float64), pointer(out, np.float64)
    for i in range(p.n):
        target[i] = source[p.start + i * p.step] * p.factor


def flat_body(task, x, out, n, step, factor, start):
    source, target = pointer(x, np.float64), pointer(out, np.float64)
    for i in range(n):
        target[i] = source[start + i * step] * factor


@jit.kernel
def scaled(dtype: str) -> jit.Kernel:
    """``out[i] = x[start + i * step] * factor``"""
    return body, SIGNATURE


def test_a_structure_is_its_fields_in_order() -> None:
    assert params.letters(SIGNATURE) == "iiiidi"
    assert params.letters("id") == "id"
    assert params.kinds(SIGNATURE, {"i": int, "d": float}, lambda types, of: (of, types)) == [
        int, int, (Line, [int, int, float, int]),
    ]  # fmt: skip
    assert params.grouped(SIGNATURE, (1, 2, 3, 4, 0.5, 6)) == (1, 2, Line(3, 4, 0.5, 6))
    assert params.places(Line) == Line(0, 1, 2, 3)


def test_a_field_is_a_number() -> None:
    with pytest.raises(TypeError, match="Wrong.name: int or float expected"):
        params.letters(("i", Wrong))


def test_the_machine_code_is_that_of_its_fields() -> None:
    named = jit.assembly(body, SIGNATURE)
    plain = jit.assembly(flat_body, "iiiidi")
    assert named.splitlines()[1:] == plain.splitlines()[1:]


def test_a_launch_hands_its_fields_on() -> None:
    x, out = np.arange(10.0), np.zeros(3)
    run = jit.bind(scaled.build("float64"), *Line(n=3, step=2, factor=0.5, start=1), 1, 0)
    run(x.ctypes.data, out.ctypes.data)
    assert out.tolist() == [0.5, 1.5, 2.5]


def cuda_body(x, out, p):
    i = ptx.thread()
    if i < p.n:
        source, target = ptx.pointer(x, np.float64), ptx.pointer(out, np.float64)
        target[i] = source[p.start + i * p.step] * p.factor


@cuda_jit.kernel
def cuda_scaled(dtype: str) -> cuda_jit.Source:
    """The same by a thread per element."""
    return cuda_jit.Source(cuda_body, SIGNATURE, threads=32)


def test_a_launch_on_the_other_device() -> None:
    x = tilegrad.arange(10, dtype=tilegrad.float64, device="cuda")
    out = tilegrad.zeros(3, dtype=tilegrad.float64, device="cuda")
    run = cuda_jit.bind(
        cuda_scaled.build("float64"), *Line(n=3, step=2, factor=0.5, start=1), 1, 1, 1
    )
    run(x.data_ptr(), out.data_ptr())
    assert out.tolist() == [0.5, 1.5, 2.5]

"""What a kernel computes is its own affair: neither the floating-point mode of the thread that calls it nor the place
of an element changes a bit.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.kernels.cpu.run import native

_MODE = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define i32 @get() {
  %at = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %mode = load i32, ptr %at
  ret i32 %mode
}
define void @set(i32 %mode) {
  %at = alloca i32
  store i32 %mode, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
"""
PLAIN = 0x1F80
MODES = {"subnormals are zero": 0x9FC0, "up": 0x5F80, "to zero": 0x7F80, "division traps": 0x1D80}

needs_mxcsr = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="x86's register"
)


@pytest.fixture(scope="module")
def mode() -> Iterator[tuple[Callable[[], int], Callable[[int], None]]]:
    """Reads and sets this thread's MXCSR."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_MODE), native.new_machine())
    engine.finalize_object()
    address = engine.get_function_address
    yield (
        ctypes.CFUNCTYPE(ctypes.c_uint)(address("get")),
        ctypes.CFUNCTYPE(None, ctypes.c_uint)(address("set")),
    )
    engine.close()


def _calls() -> dict[str, Callable[[], Any]]:
    draw = np.random.default_rng(0).random
    small = tilegrad.tensor((draw(1 << 20) * 1e-38).astype(np.float32))
    x, m = tilegrad.tensor(draw(1 << 20).astype(np.float32)), tilegrad.tensor(draw((200, 200)))
    few = small[:32].clone()
    return {
        "mul": lambda: small * x, "few": lambda: few * 0.3, "exp": lambda: (x - 100).exp(), "sum": lambda: x.sum(),
        "div": lambda: x / 0, "mm": lambda: m @ m, "max": lambda: small.max(), "cumsum": lambda: x.cumsum(0),
    }  # fmt: skip


@needs_mxcsr
@pytest.mark.parametrize("name", MODES)
def test_the_mode_of_the_calling_thread_is_not_that_of_kernels(name: str, mode: Any) -> None:
    get, set_ = mode
    before, threads = get(), tilegrad.get_num_threads()
    try:
        for call in _calls().values():
            set_(PLAIN)
            wanted = call().numpy().tobytes()
            for count in (1, 2):
                tilegrad.set_num_threads(count)
                set_(MODES[name])
                made = call()
                after = get()
                set_(PLAIN)
                assert made.numpy().tobytes() == wanted
                assert after & 0xFFC0 == MODES[name]
    finally:
        set_(before)
        tilegrad.set_num_threads(threads)


FLOATS = [
    -1.75,
    -3.0,
    -0.25,
    1.5,
    127.9,
    128.0,
    255.9,
    256.5,
    300.0,
    -300.0,
    40000.7,
    -70000.2,
    2147483520.0,
]
FLOATS += [1e10, -1e10, 1e30, float("inf"), float("-inf"), float("nan"), 3.5]


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("of", ["float32", "float64"])
def test_a_float_becomes_the_same_integer_wherever_it_stands(of: str, kind: str) -> None:
    alone = {
        v: tilegrad.tensor([v], dtype=getattr(tilegrad, of)).to(getattr(tilegrad, kind)).item()
        for v in FLOATS
    }
    for count in (1, 2, 3, 7):
        values = np.array(FLOATS * count)
        x = tilegrad.tensor(values, dtype=getattr(tilegrad, of))
        wanted = [alone[v] for v in FLOATS] * count
        assert x.to(getattr(tilegrad, kind)).tolist() == wanted
        assert x.reshape(count, -1).T.to(getattr(tilegrad, kind)).T.reshape(-1).tolist() == wanted
    inside = [v for v in FLOATS if abs(v) < 2**31]
    theirs = torch.tensor(inside * 5, dtype=getattr(torch, of)).to(getattr(torch, kind)).tolist()
    assert [alone[v] for v in inside] * 5 == theirs

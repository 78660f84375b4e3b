"""Debug mode: who did it, on the simulated device and in the debug builds of kernels."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.cuda.simulated import only_simulated
from tilegrad import cuda, optim
from tilegrad.engine import cuda as engine
from tilegrad.kernels.cuda.clip import squares
from tilegrad.kernels.cuda.device import checked
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.cuda.elementwise import map_groups
from tilegrad.kernels.cuda.optim import step
from tilegrad.kernels.cuda.reduce import rows
from tilegrad.kernels.cuda.run import driver, launch
from tilegrad.kernels.cuda.tools import guard

BOUNDS = Bounds(256, 4)


def beyond(count: int) -> Any:
    """A tensor of ``count`` elements of which only the first two are in its memory."""
    x = tilegrad.ones(count, device="cuda")
    storage = tilegrad.zeros(2, device="cuda").storage
    x.storage, x.address = storage, storage.address
    return x


# --------------------------------------------------------------------------------- the simulator


@only_simulated
def test_faults_name_the_op() -> None:
    with cuda.debug():
        x = beyond(3)
        fault = r"exp: elementwise_map_groups_exp_.*: block \(0, 0, 0\), thread \d+: .* element \d"
        with pytest.raises(cuda.KernelFault, match=fault):
            x.exp()
        with pytest.raises(cuda.KernelFault, match=r"sum: reduce_rows_.*: block"):
            x.sum()
    with pytest.raises(cuda.KernelFault, match=r"^elementwise_map_groups_exp"):
        x.exp()


@only_simulated
def test_faults_of_optimizers_name_the_kernel() -> None:
    x = beyond(3).requires_grad_()
    x.grad = tilegrad.ones(3, device="cuda")
    with cuda.debug(), pytest.raises(cuda.KernelFault, match=r"optim_step_sgd_float32_\w+: block"):
        optim.SGD([x], 0.1).step()


def test_checks_are_made_at_once() -> None:
    def fail() -> None:
        raise IndexError("out of range")

    with cuda.debug(), pytest.raises(IndexError):
        engine.check_later(fail)
    engine.check_later(fail)
    with pytest.raises(IndexError):
        cuda.synchronize()


def test_debug_is_a_function_too() -> None:
    assert not engine.debugging()
    cuda.debug()
    assert engine.debugging()
    with cuda.debug(False):
        assert not engine.debugging()
    assert engine.debugging()
    x = tilegrad.arange(5.0, device="cuda", requires_grad=True)
    (x * x).sum().backward()
    x.detach().add_(1)
    assert x.grad.tolist() == [0, 2, 4, 6, 8]
    cuda.debug(False)
    assert not engine.debugging()
    assert (x + x.grad).tolist() == [1, 4, 7, 10, 13]


# --------------------------------------------------------------------------------- debug builds


@only_simulated
def test_accesses_are_compared_with_live_memory() -> None:
    memory = machine.memory
    first, second, table = [memory.allocate(n) for n in (40, 24, 8 * checked.WORDS)]
    starts, ends = checked.table([(second, 24), (first, 40)])
    words = memory.blocks[table].view(np.int64)
    words[:] = 0
    words[checked.COUNT] = 2
    words[checked.STARTS : checked.STARTS + 2] = starts
    words[checked.ENDS : checked.ENDS + 2] = ends
    pointer, locate = checked.pointer_to(table), checked.locate_from(table)
    machine.thread, machine.block = 7, (3, 2, 1)
    for where, size in ((first, 40), (second, 24)):
        for offset in (0, 8, size):
            place = pointer(where + offset, np.float64)
            assert place == (where + offset, where, where + size)
    assert pointer(min(first, second) - 8, np.float64)[1:] == (0, 0)
    middle = pointer(first + 16, np.float32)
    assert locate(*middle, -4, 4, 1) == first and locate(*middle, 2, 4, 4) == first + 24
    assert locate(*middle, 100, 4, 0) == first + 416  # nothing is accessed
    assert words[checked.REPORT] == 0
    spare = table + 8 * checked.SPARE
    assert [locate(*middle, i, 4, n) for i, n in ((3, 4), (6, 1), (-5, 1))] == [spare] * 3
    report = words[: checked.SPARE]
    assert report.tolist() == [1, 3, 2, 1, 7, 3, -4, 5]  # the first of the three
    assert guard.describe("kern", report) == (
        "kern: block (3, 2, 1), thread 7: access to element 3 of a pointer that has -4 … 5"
    )
    words[checked.REPORT] = 0
    locate(*pointer(min(first, second) - 8, np.float64), 0, 8, 1)
    assert "element 0 of no live allocation" in guard.describe("kern", report)
    for address in (first, second, table):
        memory.free(address)


@pytest.mark.parametrize(
    ("factory", "variant"),
    [
        (squares, ("float32", BOUNDS)),
        (step, ("adam", "float32", BOUNDS)),
        (rows, ("sum", "float64", "float64", "whole", 32, 1, 1, 2, False, BOUNDS)),
    ],
)
def test_debug_builds_assemble(factory: Any, variant: tuple[Any, ...]) -> None:
    for made in factory.assemble_all(variant, ((8, 0), (9, 0)), guard=1 << 40):
        assert made.cubin[:4] == b"\x7fELF" and not made.usage.warnings
    again = factory.assemble(variant, (8, 0))
    assert again.usage.stack == again.usage.spills == 0  # a debug build leaves no trace


def test_debug_builds_report() -> None:
    from tilegrad.engine.ops.elementwise import OPS
    from tilegrad.kernels.cuda.run import backend

    names = ("float32", "float32")
    source = map_groups.factory(OPS["exp"].formula.function, names, "cc", 0, 1, 4, False, BOUNDS, 2)
    shape = (source.body, source.signature, source.threads, source.per_sm)
    plain = backend.compile_kernel(*shape, output="ptx")
    debug = backend.compile_kernel(*shape, output="ptx", guard=1 << 40)
    assert "atom.global.exch" in debug and str(1 << 40) in debug
    assert "atom.global.exch" not in plain


# ------------------------------------------------------------------------------------- diverting


def test_launches_are_diverted() -> None:
    """The compiled launcher over a stand-in for the driver's function."""
    from numba.core.registry import cpu_target

    assert cpu_target.target_context  # gives some of Python's symbols another meaning
    launched: list[Any] = []
    types = [ctypes.c_void_p, *[ctypes.c_uint32] * 7, *[ctypes.c_void_p] * 3]

    @ctypes.CFUNCTYPE(ctypes.c_int32, *types)
    def launch_kernel(*args: Any) -> int:
        launched.append((args[0], *args[1:8], *_values(args[9])))
        return 0 if args[1] < 100 else 1

    @ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_char_p))
    def error_string(status: int, text: Any) -> int:
        text[0] = b"what a pity"
        return 0

    def _values(table: int) -> tuple[int, float]:
        places = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))
        whole = ctypes.cast(places[0], ctypes.POINTER(ctypes.c_int64))[0]
        return whole, ctypes.cast(places[1], ctypes.POINTER(ctypes.c_double))[0]

    def instead(function: int, params: int, *shape: int) -> None:
        launched.append(("instead", function, *shape, *_values(params)))
        if shape[0] == 9:
            raise cuda.KernelFault("found")

    symbols = {
        "cuLaunchKernel": ctypes.cast(launch_kernel, ctypes.c_void_p).value or 0,
        "cuGetErrorString": ctypes.cast(error_string, ctypes.c_void_p).value or 0,
    }
    kept = dict(launch._launchers)
    launch._launchers.clear()
    try:
        kernel = launch.load("kern", 1234, "id", 64, 96, symbols)
        bound = launch.bind(kernel, 2.5, 3, 2, 1)
        bound(7)
        with pytest.raises(RuntimeError, match=r"kern: .* failed, CUDA error 1 \(what a pity\)"):
            kernel(7, 2.5, 100, 1, 1)
        launch.intercept(instead)
        bound(8)
        with pytest.raises(cuda.KernelFault, match="found"):
            kernel(8, 2.5, 9, 1, 1)
        launch.intercept(None)
        bound(9)
        shape = launch.block_number((16, 8, 4))
        assert launch.block_shape(shape) == (16, 8, 4) and launch.block_number((64, 1, 1)) == 64
        launch.load("wide", 1234, "id", shape, 0, symbols)(7, 2.5, 1, 1, 1)
    finally:
        launch.intercept(None)
        launch._launchers.clear()
        launch._launchers.update(kept)
    assert launched == [
        (1234, 3, 2, 1, 64, 1, 1, 96, 7, 2.5),
        (1234, 100, 1, 1, 64, 1, 1, 96, 7, 2.5),
        ("instead", 1234, 3, 2, 1, 64, 96, 8, 2.5),
        ("instead", 1234, 9, 1, 1, 64, 96, 8, 2.5),
        (1234, 3, 2, 1, 64, 1, 1, 96, 9, 2.5),
        (1234, 1, 1, 1, 16, 8, 4, 0, 7, 2.5),
    ]


class StandIn:
    """A driver with real memory of the simulated device, whose launches write a report."""

    simulated, device = False, 0

    def __init__(self, report: list[int]):
        self.report, self.sizes, self.ran = report, {}, []

    def allocate(self, device: int, nbytes: int, stream: int) -> int:
        address = machine.memory.allocate(nbytes)
        self.sizes[address] = nbytes
        return address

    def memory_ranges(self) -> list[tuple[int, int]]:
        return list(self.sizes.items())

    def properties(self, device: int) -> driver.Properties:
        return driver.Properties("stand-in", 8, 0, 1 << 30, 1)

    def load(self, cubin: bytes, entry: str, shared: int) -> tuple[int, Any]:
        return len(cubin), None

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        machine.copy(target, source, nbytes)

    def synchronize_stream(self, stream: int) -> None:
        pass

    def launch(
        self, function: int, grid: Any, threads: int, shared: int, stream: int, params: int
    ) -> None:
        self.ran.append((function, grid, threads, shared, params))
        words = machine.pointer(self.guard, np.int64)
        self.table = [words[checked.COUNT], words[checked.STARTS], words[checked.ENDS]]
        for place, word in enumerate(self.report):
            words[place] = word


def test_the_guard_runs_debug_builds_and_raises_their_reports(monkeypatch: Any) -> None:
    from tilegrad.kernels.cuda.run import jit

    there = StandIn([])
    monkeypatch.setattr(driver, "get", lambda: there)
    monkeypatch.setitem(jit._loaded, 77, (squares, ("float32", BOUNDS)))
    borrowed = [(1 << 50, 10)]
    made = guard.Guard(lambda: borrowed)
    there.guard = made.address
    own = there.allocate(0, 64, 0)
    borrowed.append((own + 8, 4))  # a part of what is ours
    for _ in range(2):
        made.launch(77, 5, 1, 2, 3, 256, 0)
    assert there.table == [2, own, own + 64]
    assert [run[1:] for run in there.ran] == [((1, 2, 3), (256, 1, 1), 0, 5)] * 2
    made.launch(78, 5, 1, 2, 3, 256, 0)  # of C++ or PTX: as it is
    assert there.ran.pop()[0] == 78
    there.report = [1, 4, 0, 0, 31, 10, 0, 9]
    fault = r"clip_squares_float32_256x4: block \(4, 0, 0\), thread 31: access to element 10 of .* 0 … 9"
    with pytest.raises(cuda.KernelFault, match=fault):
        made.launch(77, 5, 1, 2, 3, 256, 0)
    there.report = []
    made.launch(77, 5, 1, 2, 3, 256, 0)
    monkeypatch.undo()
    for address in there.sizes:
        machine.memory.free(address)

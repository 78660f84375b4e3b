"""What a kernel takes is read from its cubin: right where the linker's log is empty, and in any number
of processes at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from tests.conftest import ROOT
from tilegrad.kernels.cuda.device.ptx import barrier, pointer, shared, thread
from tilegrad.kernels.cuda.run import backend, cubin
from tilegrad.kernels.function import intrinsic

pytestmark = pytest.mark.skipif(find_spec("numba_cuda") is None, reason="no numba-cuda")

ARCHS = ((7, 5), (8, 0), (9, 0), (10, 0))
PROCESSES = 8


def plain(x: int, n: int) -> None:
    """No shared memory at all."""
    i = thread()
    if i < n:
        pointer(x, np.float32)[i] = np.float32(2) * pointer(x, np.float32)[i]


def staged(x: int, n: int) -> None:
    """1000 bytes of it."""
    held = _held()
    held[thread()] = pointer(x, np.float32)[thread()]
    barrier()
    pointer(x, np.float32)[thread()] = held[n - thread()]


def crowded(x: int, n: int) -> None:
    """An array of a thread's own, indexed by what only the data say: a stack."""
    own, p = _own(), pointer(x, np.float32)
    for k in range(STACK // 4):
        own[k] = p[k]
    for k in range(n):
        own[(k * n) % (STACK // 4)] += own[n - k]
    p[thread()] = own[n]


STACK = 256  # bytes


@intrinsic
def _own(typing):
    """A float32 array in local memory."""
    from llvmlite import ir
    from numba.cuda import types

    def codegen(context, builder, sig, args):
        held = builder.alloca(ir.ArrayType(ir.FloatType(), STACK // 4))
        return builder.gep(held, [ir.IntType(32)(0), ir.IntType(32)(0)])

    return types.CPointer(types.float32)(), codegen


_held = shared("float32", 250, "held")
KERNELS: dict[str, tuple[Callable[..., None], int, int]] = {
    "plain": (plain, 256, 1),
    "staged": (staged, 250, 1),
    "crowded": (crowded, 128, 1),
}


def compiled(name: str) -> bytes:
    body, threads, per_sm = KERNELS[name]
    return bytes(backend.compile_kernel(body, "ii", threads, per_sm))


@pytest.mark.parametrize("name", KERNELS)
def test_the_cubin_says_what_the_log_says(name: str) -> None:
    from tests.assembly.assembler import _logged

    code = compiled(name)
    for arch in ARCHS:
        _, usage = backend.link(code, arch)
        assert _logged(usage.log) == [usage.registers, usage.stack, usage.shared], (name, arch)
        assert f"'{usage.entry}'" in usage.log
        assert usage.shared == (1000 if name == "staged" else 0)
        if name == "crowded":  # else nothing here would tell a stack from none
            assert usage.stack >= STACK


@pytest.mark.parametrize("name", KERNELS)
def test_an_empty_log_takes_nothing_away(name: str) -> None:
    """What nvJitLink gives where it found the code in the driver's cache."""
    code, whole = compiled(name), backend._linked
    with patch.object(backend, "_linked", lambda *given: (whole(*given)[0], "")):
        for arch in ARCHS:
            made, silent = backend.link(code, arch)
            assert vars(cubin.resources(made, arch)).items() <= vars(silent).items()
            assert silent.registers > 0 and silent.entry and silent.log == ""
            assert (silent.stack > 0) == (name == "crowded")


def test_a_launch_is_found_without_a_log() -> None:
    """The whole way of a kernel: what the disk keeps has the entry point."""
    from tilegrad.kernels.cuda.device.shapes import Bounds
    from tilegrad.kernels.cuda.reduce import rows

    variant, whole = (
        ("sum", "float32", "float32", "last", 1, 1, 1, 1, False, Bounds(256, 4)),
        backend._linked,
    )
    with patch.object(backend, "_linked", lambda *given: (whole(*given)[0], "")):
        made = rows.assemble(variant, (9, 0))
    assert made.usage.entry.encode() in made.cubin


def test_the_linker_is_told_to_leave_the_drivers_cache_alone() -> None:
    from cuda.bindings import nvjitlink

    create, seen = nvjitlink.create, []

    def noting(count: int, options: list[str]) -> Any:
        seen.append(options)
        return create(count, options)

    with patch.object(nvjitlink, "create", noting):
        backend.link(compiled("plain"), (9, 0))
    assert all("-no-cache" in options for options in seen) and seen


def share(folder: str) -> None:
    """What each of several processes does at once: links equal kernels."""
    for path in sorted(Path(folder).iterdir()):
        for arch in ARCHS:
            _, usage = backend.link(path.read_bytes(), arch)
            print(path.name, arch, usage.entry, usage.registers, usage.stack, usage.shared)


def test_many_processes_link_at_once(tmp_path: Path) -> None:
    for name in KERNELS:
        (tmp_path / name).write_bytes(compiled(name))
    code = f"import tests.kernels.cuda.run.test_cubin as t; t.share({str(tmp_path)!r})"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(PROCESSES)
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    assert len(said[0].splitlines()) == len(KERNELS) * len(ARCHS)
    assert said == said[:1] * PROCESSES


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"", "not a little-endian ELF-64"),
        (b"\x7fELF\x01\x01" + bytes(100), "not a little-endian ELF-64"),
        (b"\x7fELF\x02\x01" + bytes(34) + bytes(24), "one kernel is expected"),
    ],
)
def test_what_is_no_cubin_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        cubin.resources(data, (9, 0))

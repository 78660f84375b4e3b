"""What a row is measured in: a library, on a device, with a number of threads."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from tilegrad.bench.areas import Benchmark
from tilegrad.bench.failure import Failure
from tilegrad.bench.rows.row import Prepared, Row
from tilegrad.engine import cuda

LIBRARIES = ("tilegrad", "torch", "torch.compile", "numpy", "cupy")
NAMES = {"tilegrad": "tilegrad", "torch": "PyTorch", "torch.compile": "PyTorch, compiled",
         "numpy": "NumPy", "cupy": "CuPy"}  # fmt: skip
ON_GPU = ("tilegrad", "torch", "cupy")


class Column(NamedTuple):
    """``threads`` is 0 on a GPU."""

    library: str
    device: str
    threads: int

    @property
    def key(self) -> str:
        """``tilegrad/cpu/2``, ``torch/cuda``."""
        parts = [self.library, self.device, *([str(self.threads)] if self.threads else [])]
        return "/".join(parts)


def spoken(key: str) -> str:
    """The key of a column in words: ``PyTorch, 2 threads``."""
    library, device, *threads = key.split("/")
    where = "GPU" if device == "cuda" else f"{threads[0]} thread{'s' * (threads[0] != '1')}"
    return f"{NAMES.get(library, library)}, {where}"


def everything() -> int:
    """The threads there can be."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_missing() -> str:
    """Why there is no GPU to measure; empty where there is one."""
    if not cuda.is_available():
        return "no GPU is here that tilegrad can use"
    if cuda.driver().simulated:
        return "the GPU of this process is simulated, and no time means anything there"
    return ""


def devices(asked: Sequence[str]) -> list[str]:
    """Those asked for, or all there are.

    Raises:
        Failure: one is not there.
    """
    if not asked:
        return ["cpu"] if gpu_missing() else ["cpu", "cuda"]
    if unknown := [x for x in asked if x not in ("cpu", "cuda")]:
        raise Failure(f"devices are cpu and cuda; got {unknown[0]!r}")
    if "cuda" in asked and gpu_missing():
        raise Failure(f"--devices cuda: {gpu_missing()}")
    return list(dict.fromkeys(asked))


def threads(asked: Sequence[str]) -> list[int]:
    """Numbers of threads: those asked for (``all`` or a number), or one and all.

    Raises:
        Failure: one is no number of threads.
    """
    found = []
    for word in asked or ("1", "all"):
        if word != "all" and not (word.isdigit() and 0 < int(word) <= 1024):
            raise Failure(f"--threads takes whole numbers and 'all'; got {word!r}")
        found.append(everything() if word == "all" else int(word))
    return list(dict.fromkeys(found))


def missing(library: str) -> str:
    """Why a library cannot be measured; empty where it can."""
    if importlib.util.find_spec(library.partition(".")[0]) is None:
        return "it is not installed"
    if library == "torch.compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "no C++ compiler is here"
    return ""


def against(asked: Sequence[str] | None) -> list[str]:
    """Libraries to stand beside: those asked for, or those that are installed.

    Raises:
        Failure: one is unknown, or not there.
    """
    others = LIBRARIES[1:]
    if asked is None:
        return [x for x in others if not missing(x)]
    for name in asked:
        if name not in others:
            raise Failure(f"--against takes {', '.join(others)}; got {name!r}")
        if why := missing(name):
            raise Failure(f"--against {name}: {why}")
    return list(dict.fromkeys(asked))


def columns(places: Sequence[str], counts: Sequence[int], others: Sequence[str]) -> list[Column]:
    """All columns: tilegrad's first. NumPy has one, with all threads for its BLAS."""
    found = []
    for library in ("tilegrad", *others):
        if "cpu" in places and library != "cupy":
            taken = counts if library not in ("numpy", "torch.compile") else counts[-1:]
            found += [Column(library, "cpu", n) for n in taken]
        if "cuda" in places and library in ON_GPU:
            found.append(Column(library, "cuda", 0))
    return found


def runs(row: Benchmark, column: Column) -> bool:
    """Whether a row can be measured there."""
    if column.library in ("numpy", "cupy"):
        return row.numpy is not None
    if column.library == "torch.compile":
        return row.compiled
    return column.device == "cuda" or not row.transfer


def use(column: Column) -> None:
    """Set the threads of the column's library."""
    if not column.threads:
        return
    if column.library == "tilegrad":
        import tilegrad

        tilegrad.set_num_threads(column.threads)
    elif column.library in ("torch", "torch.compile"):
        import torch

        torch.set_num_threads(column.threads)
    elif column.library == "numpy":
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            threadpool_limits(column.threads, user_api="blas")


def synchronize(column: Column) -> None:
    """Wait for what was queued on the device."""
    if column.device != "cuda":
        return
    if column.library == "tilegrad":
        import tilegrad

        tilegrad.cuda.synchronize()
    elif column.library == "cupy":
        __import__("cupy").cuda.Device().synchronize()
    else:
        __import__("torch").cuda.synchronize()


def sampler(column: Column) -> Callable[[Callable[[], Any], int], float]:
    """What takes a sample, ``sample(call, count)`` in seconds of a call: the device's events, or the clock."""
    if column.device != "cuda":
        return _by_clock
    if column.library == "cupy":
        cupy = __import__("cupy")
        return lambda call, count: _by_events(
            call, count, cupy.cuda.Event, lambda a, b: cupy.cuda.get_elapsed_time(a, b)
        )
    t = __import__(column.library)
    return lambda call, count: _by_events(
        call, count, lambda: t.cuda.Event(enable_timing=True), lambda a, b: a.elapsed_time(b)
    )


def _by_clock(call: Callable[[], Any], count: int) -> float:
    repeats = range(count)
    start = time.perf_counter()
    for _ in repeats:
        call()
    return (time.perf_counter() - start) / count


def _by_events(
    call: Callable[[], Any], count: int, event: Callable[[], Any], between: Callable[..., float]
) -> float:
    first, last = event(), event()
    repeats = range(count)
    first.record()
    for _ in repeats:
        call()
    last.record()
    last.synchronize()
    return between(first, last) / 1e3 / count


def prepare(
    row: Benchmark, column: Column, dtype: str, arrays: list[Any] | None = None
) -> Prepared:
    """The row in the column's library, its operands on the column's device."""
    if column.library == "torch.compile":
        import torch

        assert isinstance(row, Row)
        compiled = torch.compile(partial(row.call, torch), dynamic=False)
        row = replace(row, call=lambda t, *x: compiled(*x))
        return row.prepare("torch", dtype, arrays=arrays)
    place = "cpu" if row.transfer == "in" else column.device
    return row.prepare(column.library, dtype, place, arrays)

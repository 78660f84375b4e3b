"""Threads: how many a large kernel may use, and the OpenMP loop that runs its tasks."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

from tilegrad.kernels.builtin import cell, forever
from tilegrad.kernels.faults import SettingError

TEAM = -1  # as the number of threads in a bound call: as many as are allowed when it runs

_threads = cell(0)  # kernels read it; 0: not known yet
_forked = False


def get_num_threads() -> int:
    """Threads a large kernel may use."""
    return _threads.value or _default_threads()


def _default_threads() -> int:
    """``TILEGRAD_NUM_THREADS``, else ``OMP_NUM_THREADS`` (the first of a list of levels), else one
    per processor, but not more than the container's share of them.

    Raises:
        SettingError: the first of them is no number of threads.
    """
    for name in ("TILEGRAD_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdigit() and int(text):
            _threads.value = int(text)
            return _threads.value
        if text and name.startswith("TILEGRAD"):  # what OpenMP cannot read, it ignores
            raise SettingError(f"{name}: a number from 1 on; got {text!r}")
    _threads.value = max(1, int(min(processors(), _quota())))
    return _threads.value


def _quota(root: Path = Path("/")) -> float:
    """Processors' worth of time that the control groups of this process allow; infinity without.

    A group's limit holds for those below it. Version 2 keeps ``cpu.max``, version 1 two files.
    """
    least = math.inf
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return least
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top = root / "sys/fs/cgroup"
            read = _limit_v2
        elif "cpu" in controllers.split(","):
            top = root / "sys/fs/cgroup" / "cpu"
            read = _limit_v1
        else:
            continue
        below = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(below) + 1):
            try:
                least = min(least, read(top.joinpath(*below[:depth])))
            except (OSError, ValueError, ZeroDivisionError):  # in a container it is not all seen
                continue
    return least


def _limit_v2(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text().split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _limit_v1(group: Path) -> float:
    quota = int((group / "cpu.cfs_quota_us").read_text())
    return math.inf if quota <= 0 else quota / int((group / "cpu.cfs_period_us").read_text())


@cache
def processors() -> int:
    """Processors this process may run on.

    Work is cut for this number of threads where no sum's order depends on it: plans outlive a
    change of :func:`get_num_threads`.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_address() -> int:
    """Where :func:`get_num_threads` reads its number, an int64."""
    get_num_threads()
    return ctypes.addressof(_threads)


def set_num_threads(count: int) -> None:
    """Use at most ``count`` threads from now on (1 in a forked child, where OpenMP would die).

    Raises:
        RuntimeError: ``count`` is not a positive integer.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise RuntimeError(f"set_num_threads: expects a positive integer; got {count!r}")
    _threads.value = 1 if _forked else count


def _after_fork() -> None:
    global _forked
    _forked = True
    _threads.value = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def parallel_for_address() -> int:
    """numba's OpenMP loop ``parallel_for``, from its extension module alone."""
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("tilegrad needs numba: pip install numba")
    folder = Path(spec.submodule_search_locations[0]) / "np" / "ufunc"
    for layer in ("omppool", "workqueue"):
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = folder / f"{layer}{suffix}"
            if path.is_file():
                try:
                    loader = importlib.machinery.ExtensionFileLoader(layer, str(path))
                    pool = importlib.util.module_from_spec(
                        importlib.util.spec_from_loader(layer, loader)  # type: ignore[arg-type]
                    )
                    loader.exec_module(pool)
                except ImportError:  # this layer's runtime (libgomp) is not installed
                    continue
                _launch(forever(pool), path)
                return int(pool.parallel_for)
    raise ImportError(f"numba has no usable threading layer in {folder}")


def _launch(pool: Any, path: Path) -> None:
    """Start the threads. numba's OpenMP layer allows teams within teams as it does so, for all of
    the process: PyTorch, if it shares the runtime, would start threads in every inner loop.
    """
    runtime = ctypes.CDLL(str(path))
    levels = getattr(runtime, "omp_get_max_active_levels", int)()
    launch = ctypes.CFUNCTYPE(None, ctypes.c_int)(pool.launch_threads)
    launch(os.cpu_count() or 1)
    if levels:
        runtime.omp_set_max_active_levels(levels)

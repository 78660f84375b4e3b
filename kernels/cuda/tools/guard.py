"""Launching debug builds in place of kernels, and raising what they report.

See :mod:`tilegrad.kernels.cuda.device.checked` for what such a build does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device import checked
from tilegrad.kernels.cuda.device.simulator import KernelFault
from tilegrad.kernels.cuda.run import driver, jit, launch

Ranges = list[tuple[int, int]]  # (address, bytes)


class Guard:
    """The table of live allocations, the report, and the debug builds over both.

    Args:
        borrowed: gives memory that kernels may access besides the driver's own allocations.
    """

    def __init__(self, borrowed: Callable[[], Ranges]):
        self.driver: Any = driver.get()
        self.borrowed = borrowed
        self.address: int = self.driver.allocate(self.driver.device, 8 * checked.WORDS, 0)
        self._builds: dict[int, tuple[str, int, Any]] = {}

    def launch(
        self, function: int, params: int, x: int, y: int, z: int, block: int, shared: int
    ) -> None:
        """Run the debug build of the kernel ``function`` to its end.

        Raises:
            KernelFault: it accessed memory outside of live allocations, or failed otherwise.
        """
        here, stream = self.driver, launch.current_stream.value
        name, build, _ = self._builds.get(function) or self._build(function)
        here.synchronize_stream(stream)
        self._write(stream)
        report = np.zeros(checked.SPARE, np.int64)
        try:
            here.launch(build, (x, y, z), launch.block_shape(block), shared, stream, params)
            here.copy(report.ctypes.data, self.address, report.nbytes, stream)
            here.synchronize_stream(stream)
        except driver.CudaError as error:
            raise KernelFault(f"{name}: {error}") from None
        if report[0]:
            raise KernelFault(describe(name, report))

    def _build(self, function: int) -> tuple[str, int, Any]:
        kernel = jit.kernel_of(function)
        if kernel is None:  # of C++ or PTX: it is run as it is, its accesses are not compared
            found = self._builds[function] = ("a kernel from source", function, None)
            return found
        factory, variant = kernel
        here = self.driver.properties(self.driver.device)
        made = factory.assemble(variant, (here.major, here.minor), self.address)
        build, owner = self.driver.load(made.cubin, made.usage.entry, made.source.shared)
        found = self._builds[function] = (factory.name(variant), build, owner)
        return found

    def _write(self, stream: int) -> None:
        """No report, and the table as memory is now."""
        own: Ranges = [r for r in self.driver.memory_ranges() if r[0] != self.address]
        foreign = [r for r in self.borrowed() if not _within(r, own)]
        starts, ends = checked.table(own + foreign)
        head = np.zeros(checked.STARTS, np.int64)
        head[checked.COUNT] = len(starts)
        for place, words in ((0, head), (checked.STARTS, starts), (checked.ENDS, ends)):
            if len(words):
                target = self.address + 8 * place
                self.driver.copy(target, words.ctypes.data, words.nbytes, stream)
        self.driver.synchronize_stream(stream)


def _within(one: tuple[int, int], others: Ranges) -> bool:
    return any(start <= one[0] < start + size for start, size in others)


def describe(name: str, report: np.ndarray) -> str:
    """The message for a report of a launch of the kernel ``name``."""
    _, x, y, z, thread, index, first, last = report.tolist()
    bounds = f"a pointer that has {first} … {last}" if first <= last else "no live allocation"
    return f"{name}: block ({x}, {y}, {z}), thread {thread}: access to element {index} of {bounds}"

"""A GPU on paper: ops plan and queue their launches for it, and nothing runs.

:func:`plan_for` makes it the device of this process. Its memory is addresses with nothing behind
them, so shapes may be as large as on the GPU it stands for; the size of that GPU decides the grids.
:func:`tilegrad.kernels.cuda.run.jit.recording` lists what would be launched.
"""

from __future__ import annotations

import ctypes

from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.cuda.run import driver, jit
from tilegrad.kernels.cuda.run.backend import Arch, arch_name
from tilegrad.kernels.cuda.run.driver import Properties, SimulatedDriver
from tilegrad.kernels.cuda.tools.occupancy import CHIPS, LIMITS, Chip

NOWHERE = 1 << 56  # addresses from here on are no process's
ALIGNMENT = 256


class PlannedDriver(SimulatedDriver):
    """The simulated device with the dimensions of a real one. What the host reads from it is zero.

    Attributes:
        chip: what it stands for.
        small: blocks of at most so many bytes are memory after all, of zeros at first.
        read: bytes that the host has waited for: what followed may depend on values.
    """

    def __init__(self, chip: Chip, small: int = 0):
        super().__init__()
        self.chip = chip
        self.small = small
        self.capacity = chip.memory
        self.read = 0
        self._next_address = NOWHERE

    def properties(self, device: int) -> Properties:
        limits = LIMITS[self.chip.arch]
        return Properties(
            name=f"{self.chip.name}, on paper",
            major=self.chip.arch[0],
            minor=self.chip.arch[1],
            total_memory=self.chip.memory,
            multi_processor_count=self.chip.processors,
            max_threads_per_multi_processor=limits.threads,
            shared_memory_per_multiprocessor=limits.shared,
            shared_memory_per_block_optin=limits.shared_block,
        )

    def allocate(self, device: int, nbytes: int, stream: int) -> int:
        if nbytes <= self.small:
            address = super().allocate(device, nbytes, stream)
            ctypes.memset(address, 0, nbytes)
            return address
        if self.used + nbytes > self.capacity:
            raise driver.CudaOutOfMemory(f"out of memory ({self.used} bytes are in use)")
        address = self._next_address
        self._next_address += -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        self.used += nbytes
        self._sizes[address] = nbytes
        return address

    def free(self, device: int, address: int, stream: int) -> None:
        if address < NOWHERE:
            super().free(device, address, stream)
        else:
            self.used -= self._sizes.pop(address)

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        if self._is_device(source) and not self._is_device(target):
            self.read += nbytes if machine.host_block(target) is None else 0
        if target >= NOWHERE:
            return
        if source >= NOWHERE:
            ctypes.memset(target, 0, nbytes)
        else:
            super().copy(target, source, nbytes, stream)

    def _is_device(self, address: int) -> bool:
        """Whether ``address`` is of this device's memory."""
        return address >= NOWHERE or machine.memory.block_of(address) is not None


ARCHS = {arch_name(arch): arch for arch in CHIPS}  # by name: sm_90


def plan_for(arch: Arch, small: int = 0) -> PlannedDriver:
    """Let ops of this process plan for the GPU of ``arch`` in :data:`CHIPS` and run nothing.

    Call it before the process uses a device. See :class:`PlannedDriver` for ``small``.
    """
    chosen = PlannedDriver(CHIPS[arch], small)
    driver.simulate(chosen)
    machine.executes = False
    return chosen


def assemble_planned(arch: Arch, seen: int = 0) -> list[str]:
    """Have the disk keep what ops of this process asked for, but for the first ``seen`` kernels, for the GPUs of
    ``arch``; the names of its files.

    Raises:
        Unavailable, ImportError: a package that compiles for GPUs is missing.
    """
    fresh = jit.kernels_built[seen:]
    for factory, variant in fresh:
        factory.keep(variant, arch)
    return [factory.kept_as(variant, arch) for factory, variant in fresh]

"""The emulated device: launches kernels, holds their arrays, collects what is to be reported."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.emulator.block import Block, Report
from tests.emulator.flow import Fault
from tests.emulator.meanings import Meanings
from tests.emulator.translate import Edit
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.cuda.run import jit, launch

Grid = tuple[int, int, int]


class Program:
    """A kernel's body over lanes."""

    def __init__(self, body: Callable[..., None], threads: int, edits: list[Edit]):
        self.block = Block(threads)
        self.entry = Meanings(self.block, edits).of(body)

    def run(self, name: str, grid: Grid, args: tuple[Any, ...], dynamic: int) -> None:
        """Run all blocks, in a shuffled order: kernels must not depend on it."""
        places = [(x, y, z) for z in range(grid[2]) for y in range(grid[1]) for x in range(grid[0])]
        random.Random(0).shuffle(places)
        self.block.launch()
        try:
            with np.errstate(all="ignore"):
                for place in places:
                    self.block.start(place, grid, dynamic)
                    self.entry(*args)
                    self.block.end()
        except Fault as fault:
            raise Fault(f"{name}: {fault}") from fault
        except Exception as error:
            error.add_note(f"in {name}, block {self.block.block}")
            raise


_programs: dict[Any, Program] = {}  # of sources as they are
_sources: dict[Any, jit.Source] = {}


class Device:
    """An emulated device. :func:`emulated` makes one.

    Attributes:
        report: of all its launches.
        launches: names of the kernels that ran.
    """

    def __init__(self, edits: list[Edit]):
        self.edits = edits
        self.report = Report()
        self.launches: list[str] = []
        self._programs: dict[Any, Program] = {} if edits else _programs
        self._held: dict[int, np.ndarray] = {}

    def launch(
        self, name: str, body: Callable[..., None], threads: int, grid: Grid, args: tuple[Any, ...],
        dynamic: int = 0, shape: tuple[int, int, int] | None = None,
    ) -> None:  # fmt: skip
        """Run a grid to its end.

        Raises:
            Fault: naming the kernel, the block, the thread and the line.
            NotImplementedError: blocks have more dimensions than one, as only users' kernels have.
        """
        if shape is not None and shape[1:] != (1, 1):
            raise NotImplementedError(f"{name}: the emulator runs rows of threads; got {shape}")
        program = self._programs.get(body)
        if program is None:
            program = self._programs[body] = Program(body, threads, self.edits)
        program.block.report = self.report
        self.launches.append(name)
        program.run(name, grid, args, dynamic)

    def build(self, factory: jit.KernelFactory, *variant: Any) -> Callable[..., None]:
        """What ``factory.build`` gives while this device is in use."""
        source = _sources.get((factory, variant))
        if source is None:
            source = _sources[factory, variant] = factory.factory(*variant)

        def run(grid: Grid, args: tuple[Any, ...]) -> None:
            name = factory.name(variant)
            self.launch(name, source.body, source.threads, grid, args, source.shared)

        return launch.simulated(run, source.signature)

    # ------------------------------------------------------------------------------------ arrays

    def put(self, array: np.ndarray) -> int:
        """The address of a copy of a contiguous array in device memory."""
        array = np.ascontiguousarray(array)
        address = machine.memory.allocate(array.nbytes)
        machine.copy(address, array.ctypes.data, array.nbytes)
        self._held[address] = array
        return address

    def get(self, address: int) -> np.ndarray:
        """What now lies where :meth:`put` put an array."""
        made = np.empty_like(self._held[address])
        machine.copy(made.ctypes.data, address, made.nbytes)
        return made

    def scratch(self, nbytes: int) -> int:
        """The address of garbage."""
        return self.put(np.full(nbytes, 0xFF, np.uint8)) if nbytes else 0

    def release(self) -> None:
        """Forget all arrays."""
        for address in self._held:
            machine.memory.free(address)
        self._held.clear()


@contextmanager
def emulated(*edits: tuple[str, str]) -> Iterator[Device]:
    """Within the block, kernels that launchers build run on the device it gives.

    ``edits``: pairs (old, new) of source text; each must apply to one function of what runs.
    """
    device = Device([Edit(*edit) for edit in edits])
    try:
        with patch.object(jit.KernelFactory, "build", lambda *given: device.build(*given)):
            yield device
        missed = [edit.old for edit in device.edits if len(edit.used) != 1]
        assert not missed, f"edits that apply to no function, or to several: {missed}"
    finally:
        device.release()


def run(
    body: Callable[..., None], threads: int, *args: Any, grid: Grid = (1, 1, 1),
    edits: tuple[tuple[str, str], ...] = (), dynamic: int = 0,
) -> Report:  # fmt: skip
    """Launch one kernel. Arrays among ``args`` are handed over by address and changed in place."""
    with emulated(*edits) as device:
        given = [device.put(a) if isinstance(a, np.ndarray) else a for a in args]
        device.launch(body.__name__, body, threads, grid, tuple(given), dynamic)
        for address, array in zip(given, args, strict=True):
            if isinstance(array, np.ndarray):
                array[...] = device.get(address)
        return device.report

"""Asynchronous copies from global to shared memory, whose data lands no sooner than waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.emulator.memory import Pointer
from tests.emulator.shared import Area

if TYPE_CHECKING:
    from tests.emulator.block import Block, Site

BYTES = 16
WHOLE = np.dtype("V16")


@dataclass
class _Copy:
    """One statement's copies: what each thread brings where, and in which of its groups."""

    area: Area
    addresses: np.ndarray
    data: np.ndarray
    waiting: np.ndarray  # threads whose data has not landed
    group: np.ndarray  # of each thread's groups, the number; -1 before it is committed
    site: Site


class Copies:
    """The copies of one block that are under way."""

    def __init__(self, block: Block):
        self.block = block
        self.begin()

    def begin(self) -> None:
        """None."""
        self.open: list[_Copy] = []
        self.groups = np.zeros(self.block.threads, np.int64)  # that each thread has committed

    def start(self, target: Pointer, at: Any, source: Pointer, start: Any, have: Any) -> None:
        """16 bytes from element ``start`` of ``source`` to element ``at`` of ``target``: ``have``
        elements, then zeros.
        """
        block, size = self.block, target.dtype.itemsize
        data = np.zeros((block.threads, BYTES // size), target.dtype)
        misplaced = (source.address + start * size) % BYTES != 0
        if block.truth(misplaced) is not False:
            block.fault("misaligned: source of an asynchronous copy")
        for k in range(BYTES // size):
            value = block.choose(have > k, lambda k=k: source[start + k], lambda: 0)
            data[:, k] = value
        area = target.space
        assert isinstance(area, Area), "the target of an asynchronous copy is shared memory"
        addresses, waiting = block.lanes(target.address + at * size), block.at_work().copy()
        area.place(addresses[waiting], WHOLE, 1, "copy")
        pattern, site = area.pattern(addresses[waiting], WHOLE, 1), block.site()
        area.flying |= pattern.bits
        group = np.full(block.threads, -1)
        self.open.append(_Copy(area, addresses, data, waiting, group, site))

    def commit(self) -> None:
        """The threads at work close a group."""
        who = self.block.at_work()
        for copy in self.open:
            fresh = who & copy.waiting & (copy.group < 0)
            copy.group[fresh] = self.groups[fresh]
        self.groups[who] += 1

    def wait(self, count: int) -> None:
        """The threads at work go on once all but their ``count`` newest groups have landed."""
        block = self.block
        who, outer = block.at_work(), block.mask
        for copy in list(self.open):
            landing = who & copy.waiting & (copy.group >= 0) & (copy.group < self.groups - count)
            if landing.any():
                block.mask = landing
                self._land(copy, landing)
                block.mask = outer
            if not copy.waiting.any():
                self.open.remove(copy)

    def _land(self, copy: _Copy, landing: np.ndarray) -> None:
        pattern = copy.area.pattern(copy.addresses[landing], WHOLE, 1)
        copy.area.flying &= ~pattern.bits
        rows = copy.addresses[landing] // BYTES
        copy.area.data.reshape(-1, BYTES)[rows] = copy.data[landing].view(np.uint8)
        copy.area.log("write", pattern, copy.site)
        copy.waiting &= ~landing

    def end(self) -> None:
        """The block is done."""
        if self.open:
            self.block.fault("asynchronous copies that nobody waits for", site=self.open[0].site)

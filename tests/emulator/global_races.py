"""Races in global memory, within one launch.

An element that a thread writes must be no other thread's, unless a barrier of their block lies
between: blocks run in any order and at once, so that one cannot hand anything to another within a
launch. Exempt are atomics among themselves, and stores of what is there already, which kernels make
instead of a branch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.emulator.flow import WARP
from tilegrad.kernels.cuda.device.simulator import machine

if TYPE_CHECKING:
    from tests.emulator.block import Block

SEATS = 11  # bits of a thread's number in the number it has in the grid
ALL = (1 << SEATS) - 1  # stands for several threads of a block: none has this number
NOBODY, BLOCKS, ATOMIC = -1, -2, -3  # instead of a thread: none, several blocks', by atomics
WARPS = 20  # bits of the count of a warp's own barriers, below the block's


class _Shadow:
    """Who wrote and read the units of one allocation last, and how many barriers they had passed."""

    def __init__(self, nbytes: int, unit: int):
        self.unit = unit
        count = -(-nbytes // unit)
        self.writer, self.reader = np.full(count, NOBODY), np.full(count, NOBODY)
        self.written, self.was_read = np.zeros(count, np.int64), np.zeros(count, np.int64)

    def refine(self, unit: int) -> None:
        """Make units smaller."""
        times, self.unit = self.unit // unit, unit
        for name in ("writer", "reader", "written", "was_read"):
            setattr(self, name, np.repeat(getattr(self, name), times))


class GlobalRaces:
    """What the blocks of a launch did to global memory."""

    def __init__(self, block: Block):
        self.block = block
        self.begin()

    def begin(self) -> None:
        """A new launch."""
        self._shadows: dict[int, _Shadow] = {}

    def note(
        self, kind: str, addresses: np.ndarray, dtype: np.dtype, count: int,
        fresh: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """The threads at work access ``count`` elements each; only ``fresh`` ones, of all (count,
        threads), change.
        """
        size, threads = dtype.itemsize, self.block.active()
        each = addresses + size * np.arange(count)[:, None]
        who = np.broadcast_to(threads, each.shape)
        if fresh is not None:
            each, who = each[fresh], who[fresh]
        each, who = each.reshape(-1), who.reshape(-1)
        while len(each):
            start = machine.memory.block_of(int(each[0]))
            if start is None:  # page-locked memory of the host
                return
            nbytes = len(machine.memory.blocks[start])
            here = (each >= start) & (each < start + nbytes)
            self._access(kind, start, nbytes, each[here] - start, who[here], size)
            each, who = each[~here], who[~here]

    def _access(
        self, kind: str, start: int, nbytes: int, places: np.ndarray, threads: np.ndarray, size: int
    ) -> None:
        shadow = self._shadows.get(start)
        if shadow is None:
            shadow = self._shadows[start] = _Shadow(nbytes, size)
        if size < shadow.unit:
            shadow.refine(size)
        if size > shadow.unit:
            times = size // shadow.unit
            units = (places[:, None] // shadow.unit + np.arange(times)).reshape(-1)
            threads = np.repeat(threads, times)
        else:
            units = places // size
        me = (self._number() << SEATS) + threads
        now = (self.block.passed << WARPS) + self.block.epochs[threads // WARP]
        if kind == "atomic":
            me = np.full(len(me), ATOMIC)
        self._compare(kind, "write", shadow.writer[units], shadow.written[units], me, now, units)
        if kind == "read":
            self._read(shadow, units, me, now)
        else:
            self._compare(
                kind, "read", shadow.reader[units], shadow.was_read[units], me, now, units
            )
            shadow.writer[units], shadow.written[units] = me, now

    def _number(self) -> int:
        (x, y, z), (width, height, _) = self.block.block, self.block.grid
        return (z * height + y) * width + x

    def _compare(
        self, kind: str, other: str, them: np.ndarray, then: np.ndarray, me: np.ndarray,
        now: np.ndarray, units: np.ndarray,
    ) -> None:  # fmt: skip
        """Refuse an access that no barrier orders after what ``them`` did ``then``."""
        bad = (them != NOBODY) & (them != me)
        if not bad.any():
            return
        same_block = (them >= 0) & (me >= 0) & (them >> SEATS == me >> SEATS)
        same_warp = same_block & (them & ALL != ALL) & (them // WARP == me // WARP)
        ordered = same_block & (then >> WARPS != now >> WARPS) | same_warp & (then != now)
        bad &= ~ordered
        if bad.any():
            k = int(np.argmax(bad))
            whose = {BLOCKS: "other blocks", ATOMIC: "atomics"}.get(int(them[k]))
            whose = whose or f"block {them[k] >> SEATS}, thread {them[k] & ALL}"
            self.block.fault(
                f"race in global memory, element {units[k]}: no barrier between the {other} by "
                f"{whose} and the {kind}",
                int(np.argmax(self.block.active() == me[k] & ALL)),
            )

    def _read(self, shadow: _Shadow, units: np.ndarray, me: np.ndarray, now: np.ndarray) -> None:
        them, then = shadow.reader[units], shadow.was_read[units]
        known = them != NOBODY
        same_block = them >> SEATS == me >> SEATS
        reader = np.where(known & ~same_block | (them == BLOCKS), BLOCKS, me)
        shared = known & same_block & (them != me) & (then >> WARPS == now >> WARPS)
        reader = np.where(shared, me | ALL, reader)
        shadow.reader[units], shadow.was_read[units] = reader, now
        twice = shadow.reader[units] != reader  # several threads of this access
        shadow.reader[units[twice]] = me[twice] | ALL

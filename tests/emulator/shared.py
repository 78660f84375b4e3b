"""Shared memory: bank conflicts, races between barriers, and copies that have not landed.

Accesses are logged from one barrier to the next. Then every element that was written must have been
accessed by one thread alone, or by threads of one warp with a warp's barrier in between: otherwise
the order of the two accesses is a matter of luck, whatever came of it here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.emulator.flow import WARP
from tests.emulator.memory import Space

if TYPE_CHECKING:
    from tests.emulator.block import Block, Site

BANK = 4  # bytes
BANKS = 32
KEPT = 4096  # patterns that are remembered
_ATOMIC = 1 << 20  # the thread that stands for all those that access an element atomically


def bank_ways(addresses: np.ndarray, threads: np.ndarray, width: int) -> int:
    """How many passes the slowest group of threads needs for one access of ``width`` bytes.

    A warp's threads are served in groups whose accesses make up 128 bytes: all 32 of up to 4 bytes
    each, 16 of 8, 8 of 16. A group needs a pass for every word that it touches of one bank.
    """
    words = max(width // BANK, 1)
    group = threads // (WARP // words)
    each = (addresses[:, None] // BANK + np.arange(words)).ravel()
    keys = np.unique(np.repeat(group, words) * (1 << 32) + each)
    return int(np.bincount((keys >> 32) * BANKS + keys % BANKS).max())


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which threads access which units of an area.

    Attributes:
        numbers: of the elements, for :meth:`tests.emulator.memory.Space.place`.
        units, threads: in pairs.
        bits: the units as a set.
        ways: passes that the access needs, because of bank conflicts.
        width: bytes that a thread accesses.
    """

    numbers: np.ndarray
    units: np.ndarray
    threads: np.ndarray
    bits: int
    ways: int
    width: int


@dataclass(frozen=True, eq=False)
class _Access:
    kind: str
    pattern: Pattern
    site: Site
    epochs: np.ndarray

    @property
    def who(self) -> np.ndarray | int:
        """The thread that each unit is accessed by."""
        return _ATOMIC if self.kind == "atomic" else self.pattern.threads


class Area(Space):
    """One array in shared memory.

    Attributes:
        unit: bytes of the smallest thing that is accessed in it.
        flying: units, as a set, whose copies have not landed.
        known: units, as a set, that were written.
    """

    def __init__(self, block: Block, name: str, nbytes: int, unit: int):
        super().__init__(block)
        self.name, self.nbytes, self.unit = name, nbytes, unit
        self.data = np.empty(-(-nbytes // 16) * 16, np.uint8)
        self._patterns: dict[Any, Pattern] = {}
        self._log: list[_Access] = []
        self.begin()

    def begin(self) -> None:
        """A new block: garbage."""
        self.data[:] = 0xA5
        self.flying = self.known = 0
        self._log.clear()

    def place(
        self, addresses: np.ndarray, dtype: np.dtype, count: int, kind: str
    ) -> tuple[Any, np.ndarray]:
        pattern = self.pattern(addresses, dtype, count)
        site = self.block.note(self.name, kind, pattern)
        if pattern.bits & self.flying:
            self._refuse(pattern, self.flying, "an asynchronous copy has not landed in")
        if kind in ("write", "copy"):
            self.known |= pattern.bits
        elif pattern.bits & ~self.known:
            self._refuse(pattern, ~self.known, "nobody wrote")
        self.log(kind, pattern, site)
        return self.data.view(dtype), pattern.numbers

    def _refuse(self, pattern: Pattern, where: int, what: str) -> None:
        found = pattern.bits & where
        unit = (found & -found).bit_length() - 1
        thread = pattern.threads[np.argmax(pattern.units == unit)]
        lane = int(np.argmax(self.block.active() == thread))
        self.block.fault(f"{what} element {unit} of shared {self.name}", lane)

    def pattern(self, addresses: np.ndarray, dtype: np.dtype, count: int) -> Pattern:
        """What the threads at work access at these addresses."""
        mask = self.block.mask
        key = (dtype, count, addresses.tobytes(), b"" if mask is None else mask.tobytes())
        found = self._patterns.get(key)
        if found is None:
            if len(self._patterns) >= KEPT:
                self._patterns.clear()
            found = self._patterns[key] = self._new_pattern(addresses, dtype.itemsize, count)
        return found

    def _new_pattern(self, addresses: np.ndarray, size: int, count: int) -> Pattern:
        width = size * count
        outside = (addresses < 0) | (addresses + width > self.nbytes)
        if outside.any():
            lane = int(np.argmax(outside))
            at = int(addresses[lane]) // self.unit
            self.block.fault(f"out of bounds: element {at} of shared {self.name}", lane)
        crooked = addresses % width != 0
        if crooked.any():
            lane = int(np.argmax(crooked))
            self.block.fault(f"misaligned: {width} bytes at {int(addresses[lane])}", lane)
        each = width // self.unit
        units = (addresses[:, None] // self.unit + np.arange(each)).ravel()
        active = self.block.active()
        flags = np.zeros(len(self.data) // self.unit, bool)
        flags[units] = True
        bits = int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")
        numbers = addresses // size + np.arange(count)[:, None]
        ways = bank_ways(addresses, active, width)
        return Pattern(numbers, units, np.repeat(active, each), bits, ways, width)

    # ------------------------------------------------------------------------------------ races

    def log(self, kind: str, pattern: Pattern, site: Site) -> None:
        """Remember an access until the next barrier."""
        self._log.append(_Access(kind, pattern, site, self.block.epochs))

    def settle(self) -> None:
        """At a barrier: look for races since the last one."""
        log, self._log = self._log, []
        written = twice = 0
        for access in log:
            if access.kind != "read":
                twice |= written & access.pattern.bits
                written |= access.pattern.bits
        reads = [a for a in log if a.kind == "read" and a.pattern.bits & written]
        if not twice and not reads:
            return
        if any(access.epochs.any() for access in log):
            self._look(log)
            self._look(log[::-1])
        else:  # no order among them
            self._look([a for a in log if a.kind != "read"] + reads)

    def _look(self, log: Iterable[_Access]) -> None:
        """Compare every access with the last write before it."""
        last = np.full(len(self.data) // self.unit, -1)
        epoch = np.zeros(len(last), np.int64)
        before: list[_Access] = []
        for access in log:
            units, threads = access.pattern.units, access.pattern.threads
            now, other = access.epochs[threads // WARP], last[units]
            bad = (other >= 0) & (other != access.who)
            if bad.any():
                bad &= ~((other // WARP == threads // WARP) & (epoch[units] != now))
                if bad.any():
                    self._race(access, int(np.argmax(bad)), before)
            if access.kind != "read":
                last[units], epoch[units] = access.who, now
                before.append(access)

    def _race(self, access: _Access, number: int, before: list[_Access]) -> None:
        unit, thread = access.pattern.units[number], access.pattern.threads[number]
        for other in reversed(before):
            found = np.flatnonzero(other.pattern.units == unit)
            if len(found):
                break
        writer = other.pattern.threads[found[-1]]
        message = (
            f"race on element {unit} of shared {self.name}: no barrier between the {other.kind} by "
            f"thread {writer} at {other.site} and the {access.kind} by thread {thread}"
        )
        self.block.fault(message, site=access.site)

"""One block of threads: what intrinsics ask of the machine, for all threads at once."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from linecache import getline
from types import CodeType, FrameType
from typing import Any

import numpy as np

from tests.emulator.copies import Copies
from tests.emulator.flow import WARP, Fault, Flow
from tests.emulator.memory import Global, Pointer
from tests.emulator.shared import Area, Pattern
from tests.emulator.translate import LANES


@dataclass(frozen=True)
class Site:
    """A place in a kernel's source."""

    function: str
    file: str
    line: int

    @property
    def text(self) -> str:
        """The line itself."""
        return getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{self.function}, line {self.line}: {self.text}"


@dataclass
class Traffic:
    """What one place in the source does to shared memory.

    Attributes:
        ways: passes that the worst access of a group of threads needs; 1 is free of conflicts.
        accesses: by the whole block.
    """

    site: Site
    code: CodeType  # what the key of this in a report stands for lives as long as this
    area: str
    kind: str
    width: int
    ways: int = 1
    accesses: int = 0


@dataclass
class Report:
    """What was seen of kernels that ran."""

    traffic: dict[Any, Traffic] = field(default_factory=dict)
    barriers: int = 0

    def find(self, text: str, kind: str = "") -> list[Traffic]:
        """Accesses to shared memory by lines that contain ``text``."""
        found = [t for t in self.traffic.values() if text in t.site.text and kind in ("", t.kind)]
        assert found, f"no {kind} of shared memory in lines with {text!r}"
        return found

    def ways(self, text: str, kind: str = "") -> int:
        """The worst bank conflict of :meth:`find`."""
        return max(t.ways for t in self.find(text, kind))


class Block(Flow):
    """A block of threads; between :meth:`start` and :meth:`end` it runs.

    It has the methods of the simulator's ``Machine`` that intrinsics call.

    Attributes:
        epochs: barriers of its own that each warp has passed since the block's last one.
        passed: barriers that the block has passed.
    """

    def __init__(self, threads: int):
        super().__init__(threads)
        self.thread = np.arange(threads)
        self.block = (0, 0, 0)
        self.grid = (1, 1, 1)
        self.report = Report()
        self._global = Global(self)
        self._areas: dict[str, Area] = {}
        self._dynamic = 0
        self._copies = Copies(self)
        self._random = random.Random(0)
        self._none = np.zeros(threads // WARP, np.int64)
        self.epochs = self._none
        self.passed = 0

    def launch(self) -> None:
        """Begin a launch: no block has touched global memory."""
        self._global.races.begin()

    def start(self, place: tuple[int, int, int], grid: tuple[int, int, int], dynamic: int) -> None:
        """Begin block number ``place``, with so many bytes of dynamic shared memory."""
        self.begin()
        self.block, self.grid = place, grid
        self.epochs = self._none
        if dynamic != self._dynamic:
            self._areas.pop("dynamic", None)
            self._dynamic = dynamic
        for area in self._areas.values():
            area.begin()
        self._copies.begin()

    def end(self) -> None:
        """All threads are done."""
        self._copies.end()
        for area in self._areas.values():
            area.settle()

    # ---------------------------------------------------------------------------------- reports

    def _frame(self) -> FrameType:
        """The frame of the kernel's function that we are in."""
        frame = sys._getframe(2)
        while LANES not in frame.f_globals:
            assert frame.f_back is not None
            frame = frame.f_back
        return frame

    def site(self) -> Site:
        """Where in the kernel we are."""
        frame = self._frame()
        return Site(frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno)

    def note(self, area: str, kind: str, pattern: Pattern) -> Site:
        """Count an access to shared memory; gives its place."""
        frame = self._frame()
        key = (id(frame.f_code), frame.f_lasti, kind)
        seen = self.report.traffic.get(key)
        if seen is None:
            seen = Traffic(self.site(), frame.f_code, area, kind, pattern.width)
            self.report.traffic[key] = seen
        seen.accesses += 1
        if pattern.ways > seen.ways:
            seen.ways = pattern.ways
        return seen.site

    def fault(self, message: str, lane: int | None = None, site: Site | None = None) -> None:
        """Raise a :class:`Fault`. ``lane``: the number of the culprit among the threads at work."""
        who = "" if lane is None else f", thread {self.active()[lane]}"
        raise Fault(f"block {self.block}{who}: {message}; at {site or self.site()}")

    def order(self, count: int) -> Iterator[int]:
        """The numbers below ``count`` in an order that changes."""
        numbers = list(range(count))
        self._random.shuffle(numbers)
        return iter(numbers)

    # ------------------------------------------------------------------------------------ memory

    def pointer(self, address: Any, dtype: Any) -> Pointer:
        """A pointer to global memory."""
        return Pointer(self._global, address, dtype)

    def shared(self, name: str, dtype: str, count: int) -> Pointer:
        """The block's shared array of this name."""
        area = self._areas.get(name)
        if area is None:
            size = np.dtype(dtype).itemsize
            area = self._areas[name] = Area(self, name, count * size, size)
        return Pointer(area, 0, dtype)

    def dynamic(self, offset: Any, dtype: Any) -> Pointer:
        """The block's dynamic shared memory from a byte on."""
        area = self._areas.get("dynamic")
        if area is None:
            area = self._areas["dynamic"] = Area(self, "dynamic", self._dynamic, 1)
        return Pointer(area, offset, dtype)

    def copy_async(self, target: Pointer, at: Any, source: Pointer, start: Any, have: Any) -> None:
        """Begin copies from global to shared memory."""
        self._copies.start(target, at, source, start, have)

    def commit_copies(self) -> None:
        """The copies begun since the last time become a group."""
        self._copies.commit()

    def wait_copies(self, count: int) -> None:
        """Wait until at most ``count`` groups are under way."""
        self._copies.wait(count)

    # ----------------------------------------------------------------------- threads that meet

    def barrier(self) -> None:
        """Wait for the block."""
        if self.mask is not None and not self.mask.all():
            count = np.count_nonzero(self.mask)
            self.fault(f"barrier that only {count} of {self.threads} threads reach")
        self.report.barriers += 1
        self.passed += 1
        for area in self._areas.values():
            area.settle()
        self.epochs = self._none

    def warp_barrier(self) -> None:
        """Wait for the warp."""
        self._whole_warps("warp barrier")
        self.epochs = self.epochs + self.at_work()[::WARP]

    def _whole_warps(self, what: str) -> None:
        if not self.whole_warps():
            self.fault(f"{what} that only some threads of a warp reach")

    def shuffle(self, mode: str, value: Any, lane: Any) -> np.ndarray:
        """Exchange within warps."""
        self._whole_warps(f"shuffle {mode}")
        me = self.thread % WARP
        lane = self.lanes(lane)
        there = {"down": me + lane, "up": me - lane, "bfly": me ^ lane, "idx": lane % WARP}[mode]
        inside = (there >= 0) & (there < WARP)
        return self.lanes(value)[np.where(inside, self.thread - me + there, self.thread)]

    def ballot(self, condition: Any) -> np.ndarray:
        """The warps' conditions as bits."""
        self._whole_warps("ballot")
        bits = self.lanes(condition).astype(np.int64).reshape(-1, WARP) << np.arange(WARP)
        return np.repeat(bits.sum(1), WARP)

    def one_by_one(self, meaning: Callable[..., Any], *args: Any) -> Any:
        """A meaning that takes numbers only, thread by thread."""
        if not any(type(a) is np.ndarray for a in args):
            return meaning(*args)
        lanes = [self.lanes(a) for a in args]
        results = [meaning(*(a[k] for a in lanes)) for k in range(self.threads)]
        if isinstance(results[0], tuple):
            return tuple(np.array(column) for column in zip(*results, strict=True))
        return np.array(results)

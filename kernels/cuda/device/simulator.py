"""A simulated GPU: runs the Python source of CUDA kernels thread by thread, memory and all.

It stands in for the CUDA driver when ``NUMBA_ENABLE_CUDASIM=1`` is set. Every thread of a block is a
greenlet that runs until it has to wait for others (a barrier, a shuffle). Blocks run one after the
other, and between two barriers of a block its warps do, each as far as it gets alone, in orders that
a seed shuffles: a kernel which relies on an order, or lacks a barrier, fails. It is stricter than
hardware: an access outside a live allocation, a misaligned vector, a barrier that
not all threads reach and a read of fresh memory as if it were zero are errors or visible garbage.

numba's own simulator runs threads as operating system threads: measured, 150 us a thread and as
much again for every barrier, against 3 us here, and it has no shuffles.
"""

from __future__ import annotations

import bisect
import contextvars
import ctypes
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.faults import KernelFault as KernelFault
from tilegrad.kernels.forking import DRIVER, fork_lock

WARP = 32


class Pointer:
    """Typed view of a piece of simulated memory, as kernels index it."""

    __slots__ = ("first", "items", "itemsize", "where")

    def __init__(self, items: np.ndarray, first: int, where: str):
        self.items = items  # the whole allocation
        self.first = first  # the element that index 0 means
        self.itemsize = items.itemsize
        self.where = where

    def _at(self, index: Any, count: int = 1) -> int:
        place = self.first + int(index)
        if place < 0 or place + count > len(self.items):
            raise KernelFault(
                f"access outside {self.where}: element {int(index)} of a {self.items.dtype} pointer "
                f"that has {-self.first} … {len(self.items) - self.first - 1}"
            )
        return place

    def __getitem__(self, index: Any) -> Any:
        return self.items[self._at(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.items[self._at(index)] = value

    def load(self, index: Any, count: int) -> tuple[Any, ...]:
        place = self._aligned(index, count)
        return tuple(self.items[place : place + count])

    def store(self, index: Any, values: Any) -> None:
        count = len(values)
        place = self._aligned(index, count)
        for k in range(count):
            self.items[place + k] = values[k]

    def _aligned(self, index: Any, count: int) -> int:
        place = self._at(index, count)
        address = self.items.ctypes.data + place * self.itemsize
        if address % (count * self.itemsize):
            raise KernelFault(f"misaligned vector access of {count} elements in {self.where}")
        return place


class Memory:
    """Global memory: allocations at real addresses, so that copies need no translation."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.blocks: dict[int, np.ndarray] = {}

    def allocate(self, nbytes: int) -> int:
        """A 256-byte aligned block of ``nbytes`` bytes of garbage."""
        raw = np.empty(nbytes + 256, np.uint8)
        start = -raw.ctypes.data % 256
        block = raw[start : start + nbytes]
        block[:] = 0xA5
        address = int(block.ctypes.data)
        bisect.insort(self.starts, address)
        self.blocks[address] = block
        return address

    def free(self, address: int) -> None:
        """Forget a block; later accesses to it are faults."""
        del self.blocks[address]
        self.starts.remove(address)

    def block_of(self, address: int) -> int | None:
        """The start of the block that holds ``address`` or ends there."""
        number = bisect.bisect_right(self.starts, address) - 1
        if number < 0 or address > self.starts[number] + len(self.blocks[self.starts[number]]):
            return None
        return self.starts[number]

    def find(self, address: int) -> tuple[np.ndarray, int]:
        """(block that holds ``address``, offset in it)."""
        start = self.block_of(address)
        if start is None:
            raise KernelFault(f"address {address:#x} is in no live allocation")
        return self.blocks[start], address - start


class _Waiting:
    """What a thread that cannot go on waits for."""

    __slots__ = ("kind", "site", "value")

    def __init__(self, kind: str, value: Any = None):
        self.kind = kind
        self.value = value


_OF_A_LAUNCH = (
    "grid", "shape", "block", "thread", "_pointers", "_dynamic", "_copies", "_scheduler",
)  # fmt: skip


class Machine:
    """The one simulated processor: who runs now, where, and over which memory."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.host: dict[int, np.ndarray] = {}
        self.thread = 0
        self.block = (0, 0, 0)
        self.grid = (1, 1, 1)
        self.shape = (1, 1, 1)  # of a block
        self.executes = True
        self.launches = 0
        self._pointers: dict[Any, Pointer] = {}
        self._dynamic: np.ndarray = np.empty(0, np.uint8)
        self._copies: dict[int, list[list[Any]]] = {}  # each thread's groups, the last one open
        self._scheduler: Any = None
        self._order = random.Random(0)
        self._lock = fork_lock(DRIVER)

    # ------------------------------------------------------------------ what intrinsics mean

    def pointer(self, address: int, dtype: Any) -> Pointer:
        """A view of global (or mapped host) memory from ``address`` on."""
        key = (address, dtype)
        found = self._pointers.get(key)
        if found is None:
            found = self._pointers[key] = self._make_pointer(int(address), np.dtype(dtype))
        return found

    def _make_pointer(self, address: int, dtype: np.dtype) -> Pointer:
        if address == 0:
            return Pointer(np.empty(0, dtype), 0, "a null pointer")
        block, offset = self.host_block(address) or self.memory.find(address)
        if offset % dtype.itemsize:
            raise KernelFault(f"address {address:#x} is not a multiple of {dtype.itemsize}")
        whole = len(block) // dtype.itemsize * dtype.itemsize
        where = f"the allocation of {len(block)} bytes"
        return Pointer(block[:whole].view(dtype), offset // dtype.itemsize, where)

    def host_block(self, address: int) -> tuple[np.ndarray, int] | None:
        """The page-locked host block that holds ``address``, which kernels may read too."""
        for start, block in self.host.items():
            if start <= address < start + len(block):
                return block, address - start
        return None

    def shared(self, name: str, dtype: str, count: int) -> Pointer:
        """The block's shared array of this name."""
        key = ("shared", name)
        found = self._pointers.get(key)
        if found is None:
            raw = np.full(count * np.dtype(dtype).itemsize + 16, 0xA5, np.uint8)
            start = -raw.ctypes.data % 16
            items = raw[start : start + count * np.dtype(dtype).itemsize].view(dtype)
            found = self._pointers[key] = Pointer(items, 0, f"shared memory {name}")
        return found

    def dynamic(self, offset: int, dtype: Any) -> Pointer:
        """The block's dynamic shared memory from a byte on."""
        kind = np.dtype(dtype)
        start = -self._dynamic.ctypes.data % 1024
        size = (len(self._dynamic) - 1024) // kind.itemsize * kind.itemsize
        if offset % kind.itemsize:
            raise KernelFault(f"dynamic shared memory: offset {offset} of {kind}")
        items = self._dynamic[start : start + size].view(kind)
        return Pointer(items, offset // kind.itemsize, "dynamic shared memory")

    def barrier(self) -> None:
        """Wait for the block."""
        self._wait(_Waiting("barrier"))

    def warp_barrier(self) -> None:
        """Wait for the warp."""
        self._wait(_Waiting("warp barrier"))

    def shuffle(self, mode: str, value: Any, lane: int) -> Any:
        """Exchange within the warp."""
        values = self._wait(_Waiting(f"shuffle {mode}", value))
        me = self.thread % WARP
        source = {"down": me + lane, "up": me - lane, "bfly": me ^ lane, "idx": lane % WARP}[mode]
        return values[source] if 0 <= source < WARP else value

    def ballot(self, condition: bool) -> int:
        """The warp's conditions as bits."""
        values = self._wait(_Waiting("ballot", condition))
        return sum(1 << k for k, value in enumerate(values) if value)

    def copy_async(self, target: Pointer, at: int, source: Pointer, start: int, have: int) -> None:
        """Begin to copy 16 bytes, whose last elements are zero from number ``have`` on."""
        count = 16 // target.itemsize
        if (source.items.ctypes.data + (source.first + start) * source.itemsize) % 16:
            raise KernelFault(f"misaligned asynchronous copy from {source.where}")
        values = [source[start + k] if k < have else 0 for k in range(count)]
        self._copies.setdefault(self.thread, [[]])[-1].append((target, at, values))

    def commit_copies(self) -> None:
        """Close the thread's group of copies."""
        self._copies.setdefault(self.thread, [[]]).append([])

    def wait_copies(self, count: int) -> None:
        """Let all but the thread's newest ``count`` groups land."""
        groups = self._copies.setdefault(self.thread, [[]])
        while len(groups) - 1 > count:
            for target, at, values in groups.pop(0):
                target.store(at, values)

    def _wait(self, what: _Waiting) -> Any:
        return self._scheduler.switch(what)

    # ------------------------------------------------------------------------------- launches

    def launch(
        self, name: str, body: Callable[..., None], threads: int, grid: tuple[int, int, int],
        args: tuple[Any, ...], dynamic: int = 0, shape: tuple[int, int, int] | None = None,
    ) -> None:  # fmt: skip
        """Run a grid of blocks of this ``shape`` (by default a row of threads) to its end. Launches of other
        threads wait; one by a finalizer that runs meanwhile leaves everything as it was.

        Raises:
            KernelFault: naming the kernel, the block and the thread.
        """
        self.launches += 1
        if not self.executes:
            return
        places = [(x, y, z) for z in range(grid[2]) for y in range(grid[1]) for x in range(grid[0])]
        self._order.shuffle(places)
        with self._lock, np.errstate(all="ignore"):
            before = {state: getattr(self, state) for state in _OF_A_LAUNCH}
            try:
                self.grid, self.shape = grid, shape or (threads, 1, 1)
                for self.block in places:
                    self._pointers = {}
                    self._dynamic = np.full(dynamic + 1024, 0xA5, np.uint8)
                    self._copies = {}
                    self._run_block(name, body, threads, args)
            finally:
                # the scheduler above all: greenlet drops what the collector does not see (gc.freeze) once
                # more when its thread ends
                self.__dict__.update(before)

    def _run_block(
        self, name: str, body: Callable[..., None], threads: int, args: tuple[Any, ...]
    ) -> None:
        from greenlet import getcurrent, greenlet

        self._scheduler = getcurrent()
        context = contextvars.copy_context()  # NumPy's error state lives there
        made = [greenlet(body) for _ in range(threads)]
        for glet in made:
            glet.gr_context = context.copy()
        try:
            self._run_threads(name, made, args)
        except BaseException:
            for glet in made:
                if glet:  # waiting: it ends here, not when and where it is collected
                    glet.throw()
            raise

    def _run_threads(self, name: str, made: list[Any], args: tuple[Any, ...]) -> None:
        waiting: dict[int, tuple[Any, _Waiting]] = {}
        threads = len(made)
        warps = [range(k, min(k + WARP, threads)) for k in range(0, threads, WARP)]
        running = dict(enumerate(made))
        while running:
            self._order.shuffle(warps)
            for warp in warps:
                self._run_warp(name, warp, running, args, waiting)
            if len(waiting) not in (0, threads) or any(
                what.kind != "barrier" for _, what in waiting.values()
            ):
                kinds = sorted({what.kind for _, what in waiting.values()})
                raise KernelFault(
                    f"{name}: block {self.block} is stuck: {len(waiting)} of {threads} threads "
                    f"wait at a {' or '.join(kinds)} that the others do not reach"
                )
            running, args = {k: glet for k, (glet, _) in waiting.items()}, (None,)
            waiting.clear()

    def _run_warp(
        self, name: str, warp: range, running: dict[int, Any], args: tuple[Any, ...],
        waiting: dict[int, tuple[Any, _Waiting]],
    ) -> None:  # fmt: skip
        """Run the threads of one warp as far as they get without the others."""
        for number in warp:
            self._step(name, number, running[number], args, waiting)
        while all(k in waiting for k in warp):
            whats = [waiting[k][1] for k in warp]
            if whats[0].kind == "barrier" or any(w.kind != whats[0].kind for w in whats):
                return
            values = [what.value for what in whats]
            for number in warp:
                self._step(name, number, waiting.pop(number)[0], (values,), waiting)

    def _step(
        self, name: str, number: int, glet: Any, args: tuple[Any, ...], waiting: dict[int, Any]
    ) -> None:
        """Let one thread run until it waits or ends."""
        self.thread = number
        try:
            result = glet.switch(*args)
        except Exception as error:
            place = f"{name}: block {self.block}, thread {number}"
            raise KernelFault(f"{place}: {error}") from error
        if not glet.dead:
            waiting[number] = (glet, result)

    # ---------------------------------------------------------------------------------- copies

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy between any two places, host or device."""
        ctypes.memmove(target, source, nbytes)


machine = Machine()

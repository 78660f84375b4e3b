"""Memory as kernels index it: pointers, global memory, and the checks of every access.

An access is by all threads at work at once: an address, or one per thread. Global memory is the
simulated device's (:class:`tilegrad.kernels.cuda.device.simulator.Memory`), at real addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.emulator.global_races import GlobalRaces
from tilegrad.kernels.cuda.device.simulator import KernelFault, machine

if TYPE_CHECKING:
    from tests.emulator.block import Block

_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Pointer:
    """A typed address, or one per thread, in a space of memory."""

    __slots__ = ("address", "dtype", "space")

    def __init__(self, space: Space, address: Any, dtype: Any):
        self.space, self.address, self.dtype = space, address, np.dtype(dtype)

    def _at(self, index: Any) -> Any:
        return self.address + index * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Any:
        return self.space.read(self._at(index), self.dtype, 1)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.space.write(self._at(index), self.dtype, (value,))

    def load(self, index: Any, count: int) -> tuple[Any, ...]:
        """``count`` elements in one access."""
        found: tuple[Any, ...] = self.space.read(self._at(index), self.dtype, count)
        return found

    def store(self, index: Any, values: Any) -> None:
        """As many elements as there are values, in one access."""
        self.space.write(self._at(index), self.dtype, tuple(values))

    def update(self, index: Any, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Atomically ``combine(old, value)``; gives the old element."""
        return self.space.update(self._at(index), self.dtype, value, combine)

    def blended(self, mask: np.ndarray, other: Pointer) -> Pointer:
        """This one for the threads of ``mask``, ``other`` for the rest."""
        if self.space is not other.space or self.dtype != other.dtype:
            return self
        return Pointer(self.space, np.where(mask, self.address, other.address), self.dtype)


class Space:
    """A kind of memory: how accesses are made. Where elements lie, subclasses say."""

    def __init__(self, block: Block):
        self.block = block

    def place(
        self, addresses: np.ndarray, dtype: np.dtype, count: int, kind: str
    ) -> tuple[Any, np.ndarray]:
        """(elements, numbers): where the threads at work find ``count`` elements each.

        Numbers are an array of ``count`` by threads. ``kind``: "read", "write", "copy" or "atomic".
        Faults are raised here.
        """
        raise NotImplementedError

    def changes(self, addresses: np.ndarray, dtype: np.dtype, fresh: np.ndarray) -> None:
        """Of the elements (count, threads) that are to be written, the ``fresh`` ones change."""

    def _addresses(self, address: Any) -> np.ndarray:
        """The addresses of the threads at work."""
        if type(address) is np.ndarray:
            return address if self.block.mask is None else address[self.block.mask]
        return np.full(len(self.block.active()), address)

    def read(self, address: Any, dtype: np.dtype, count: int) -> Any:
        """Elements from an address on: one, or a tuple of ``count``."""
        items, numbers = self.place(self._addresses(address), dtype, count, "read")
        if type(address) is not np.ndarray:
            got = items[numbers[:, 0]]
        else:
            got = items[numbers]
            if self.block.mask is not None:
                everyone = np.zeros((count, self.block.threads), dtype)
                everyone[:, self.block.mask] = got
                got = everyone
        return got[0] if count == 1 else tuple(got)

    def write(self, address: Any, dtype: np.dtype, values: tuple[Any, ...]) -> None:
        """Store elements from an address on."""
        addresses, mask = self._addresses(address), self.block.mask
        made = np.empty((len(values), len(addresses)), dtype)
        for k, value in enumerate(values):
            lanes = type(value) is np.ndarray and mask is not None
            made[k] = value[mask] if lanes else value
        items, numbers = self.place(addresses, dtype, len(values), "write")
        bits = _BITS[dtype.itemsize]
        self.changes(addresses, dtype, items[numbers].view(bits) != made.view(bits))
        items[numbers] = made
        lost = items[numbers].view(bits) != made.view(bits)
        if lost.any():
            lane = int(np.argmax(lost.any(0)))
            self.block.fault("threads of one store write different values to one place", lane)

    def update(
        self, address: Any, dtype: np.dtype, value: Any, combine: Callable[[Any, Any], Any]
    ) -> Any:
        """Atomics, one thread after the other in an order that changes."""
        items, numbers = self.place(self._addresses(address), dtype, 1, "atomic")
        active, given = self.block.active(), self.block.lanes(value)
        old = np.zeros(self.block.threads, dtype)
        for k in self.block.order(len(active)):
            place, number = numbers[:, k], active[k]
            old[number] = items[place][0]
            items[place] = combine(old[number], dtype.type(given[number]))
        return old


class Global(Space):
    """Global memory. An access lies in one live allocation, aligned to its width."""

    def __init__(self, block: Block):
        super().__init__(block)
        self.races = GlobalRaces(block)

    def changes(self, addresses: np.ndarray, dtype: np.dtype, fresh: np.ndarray) -> None:
        self.races.note("write", addresses, dtype, len(fresh), fresh)

    def place(
        self, addresses: np.ndarray, dtype: np.dtype, count: int, kind: str
    ) -> tuple[Any, np.ndarray]:
        width, asked = dtype.itemsize * count, addresses
        if (addresses & (width - 1)).any():
            lane = int(np.argmax(addresses & (width - 1) != 0))
            self.block.fault(f"misaligned: {width} bytes at {int(addresses[lane]):#x}", lane)
        low, high = int(addresses.min()), int(addresses.max())
        held, start = self._allocation(low, width, addresses)
        if high + width > start + len(held):
            held, addresses = self._gathered(addresses, width)
            start = 0
        if kind != "write":
            self.races.note(kind, asked, dtype, count)
        numbers = (addresses - start) // dtype.itemsize
        return _view(held, dtype), numbers + np.arange(count)[:, None]

    def _allocation(
        self, address: int, width: int, addresses: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """(bytes, first address) of the allocation in which ``width`` bytes at ``address`` lie."""
        try:
            held, offset = machine.host_block(address) or machine.memory.find(address)
        except KernelFault:
            held, offset = np.empty(0, np.uint8), 0
        if offset + width > len(held):
            lane = int(np.argmax(addresses == address))
            near = f"byte {offset} of {len(held)}" if len(held) else "no allocation"
            self.block.fault(f"out of bounds: {width} bytes at {address:#x}, {near}", lane)
        return held, address - offset

    def _gathered(self, addresses: np.ndarray, width: int) -> tuple[Scattered, np.ndarray]:
        """(memory, addresses in it) where threads access different allocations."""
        parts: list[np.ndarray] = []
        moved = np.zeros(len(addresses), np.int64)
        rest = np.ones(len(addresses), bool)
        while rest.any():
            held, start = self._allocation(int(addresses[rest].min()), width, addresses)
            inside = rest & (addresses + width <= start + len(held))
            moved[inside] = addresses[inside] - start + (len(parts) << SPLIT)
            parts.append(held)
            rest &= ~inside
        return Scattered(parts), moved


def _view(held: Any, dtype: np.dtype) -> Any:
    """Bytes as elements, without what is left over at the end."""
    return held[: len(held) // dtype.itemsize * dtype.itemsize].view(dtype)


SPLIT = 40  # bits of an address within an allocation


class Scattered:
    """Several allocations as one array."""

    def __init__(self, parts: list[np.ndarray], dtype: Any = np.uint8):
        self.parts, self.dtype = parts, np.dtype(dtype)

    def __len__(self) -> int:
        return len(self.parts) << SPLIT

    def __getitem__(self, numbers: Any) -> Any:
        if isinstance(numbers, slice):
            return self
        got = np.empty(numbers.shape, self.dtype)
        for part, mine, places in self._each(numbers):
            got[mine] = part[places]
        return got

    def __setitem__(self, numbers: np.ndarray, values: Any) -> None:
        values = np.broadcast_to(values, numbers.shape)
        for part, mine, places in self._each(numbers):
            part[places] = values[mine]

    def _each(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        reach = (1 << SPLIT) // self.dtype.itemsize
        for k, part in enumerate(self.parts):
            mine = numbers // reach == k
            yield _view(part, self.dtype), mine, numbers[mine] % reach

    def view(self, dtype: Any) -> Scattered:
        """The same bytes as elements of another type."""
        return Scattered(self.parts, dtype)

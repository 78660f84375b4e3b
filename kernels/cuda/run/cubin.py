"""What a cubin says of its kernel: entry point, registers, stack, static shared memory, instructions.

nvJitLink's log says most of it too, but is empty where the linker took the code from its own cache.

Source: ELF-64 for the container; CUDA Binary Utilities for the meaning of the ``.nv.info`` attributes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_FUNCTION = 2  # type of a symbol
_ENTRY = 0x10  # among a symbol's other bits: a kernel
_FRAME_SIZE, _REGISTERS = 0x11, 0x2F  # attributes of a function: (number of its symbol, value)
_PARAMETER = 0x17  # attribute of a parameter: (index, ordinal and offset, size above 18 other bits)
_SIZED = 4  # format of an attribute that says how many bytes follow
_SYSTEM = 1024  # bytes of a block's shared memory that the system has, from sm_90 on


@dataclass(frozen=True)
class Resources:
    """What one kernel takes."""

    entry: str  # mangled name
    registers: int  # of a thread
    stack: int  # bytes of local memory a thread has
    shared: int  # static bytes


@dataclass(frozen=True)
class _Section:
    name: str
    start: int
    length: int
    link: int


class _Elf:
    """Sections of an ELF-64 file, little-endian."""

    def __init__(self, data: bytes):
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("cubin: not a little-endian ELF-64 file")
        self.data = data
        (table,) = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        rows = [struct.unpack_from("<IIQQQQII", data, table + k * size) for k in range(count)]
        self.sections = [
            _Section(self.text(rows[names][4] + name), start, length, link)
            for name, _, _, _, start, length, link, _ in rows
        ]

    def text(self, at: int) -> str:
        """The string that begins at a byte."""
        return self.data[at : self.data.index(b"\0", at)].decode()

    def section(self, name: str) -> _Section | None:
        """The section of this name."""
        return next((s for s in self.sections if s.name == name), None)

    def entries(self) -> list[tuple[int, str]]:
        """(number of the symbol, name) of every kernel."""
        table = self.section(".symtab")
        if table is None:
            return []
        names = self.sections[table.link].start
        found = []
        for k in range(table.length // 24):
            name, info, other = struct.unpack_from("<IBB", self.data, table.start + 24 * k)
            if info & 15 == _FUNCTION and other & _ENTRY:
                found.append((k, self.text(names + name)))
        return found

    def attributes(self, symbol: int) -> dict[int, int]:
        """The numbers that ``.nv.info`` has of a symbol."""
        return {what: value for what, who, value in self._pairs() if who == symbol}

    def parameters(self, entry: str) -> tuple[int, ...]:
        """Bytes of each parameter of a kernel, in order."""
        sizes = {}
        for attribute, at, length in self._records(f".nv.info.{entry}"):
            if attribute == _PARAMETER and length == 12:
                _, place, packed = struct.unpack_from("<III", self.data, at)
                sizes[place & 0xFFFF] = packed >> 18
        return tuple([sizes[k] for k in sorted(sizes)])

    def _pairs(self) -> Iterator[tuple[int, int, int]]:
        for attribute, at, length in self._records(".nv.info"):
            if length == 8:
                yield (attribute, *struct.unpack_from("<II", self.data, at))

    def _records(self, section: str) -> Iterator[tuple[int, int, int]]:
        """(attribute, where its bytes are, how many) of those that say so."""
        info = self.section(section)
        at, end = (info.start, info.start + info.length) if info else (0, 0)
        while at < end:
            form, attribute, length = struct.unpack_from("<BBH", self.data, at)
            at += 4
            if form == _SIZED:
                yield attribute, at, length
                at += length


def resources(cubin: bytes, arch: tuple[int, int]) -> Resources:
    """What the one kernel of a cubin for ``arch`` takes.

    Raises:
        ValueError: the file is no cubin of one kernel.
    """
    elf = _Elf(cubin)
    entries = elf.entries()
    if len(entries) != 1:
        raise ValueError(f"cubin: one kernel is expected; got {[name for _, name in entries]}")
    ((symbol, entry),) = entries
    known = elf.attributes(symbol)
    if _REGISTERS not in known or _FRAME_SIZE not in known:
        raise ValueError(f"cubin: no count of registers or bytes of stack of {entry}")
    held = elf.section(f".nv.shared.{entry}")
    shared = 0 if held is None else held.length - (_SYSTEM if arch >= (9, 0) else 0)
    return Resources(entry, known[_REGISTERS], known[_FRAME_SIZE], shared)


def kernels(cubin: bytes) -> list[str]:
    """The names of a cubin's kernels."""
    return [name for _, name in _Elf(cubin).entries()]


def parameters(cubin: bytes, entry: str) -> tuple[int, ...] | None:
    """Bytes of each parameter of a kernel, in order; None where there is no such kernel."""
    elf = _Elf(cubin)
    return elf.parameters(entry) if entry in [name for _, name in elf.entries()] else None


def code(cubin: bytes) -> bytes:
    """The instructions of a cubin's kernel."""
    elf = _Elf(cubin)
    for section in elf.sections:
        if section.name.startswith(".text."):
            return cubin[section.start : section.start + section.length]
    raise ValueError("cubin: no section of instructions")

"""Kernels compiled elsewhere, many in one file: those that came with the installation, or with a model.

A bundle is for one level of x86-64 and holds what the cache would, under the same names: a name is a hash
over the sources, the versions of the compilers, the processor and the variant, so that what does not fit is
not found. Each entry has a checksum; a damaged one counts as absent, and so does a damaged file.

A file is ``MAGIC``, the length of the index in 8 bytes (little-endian), the index, the entries. The index is
JSON: ``level``, ``about`` (texts for people) and ``entries``, of each name its place and length.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from tilegrad.kernels import cache

MAGIC = b"tilegrad kernels 1\n"
FOLDER = Path(__file__).parent / "bundled"  # where a wheel brings them; a checkout has none
_INDEX = 1 << 24  # bytes that an index has at most


class Bundle:
    """An open bundle: its index. Entries are read when they are asked for.

    Args:
        path: of the file; data: its bytes, where they were read already, out of this file or another.

    Raises:
        ValueError: it is no bundle, or damaged.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, data: bytes | None = None):
        self.path = path
        self._data = data
        with self._open() as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError(f"{path}: not a bundle of kernels")
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= _INDEX else b""
        try:
            index = json.loads(text)
            self.level: str = index["level"]
            self.about: dict[str, str] = index["about"]
            self.entries: dict[str, tuple[int, int]] = {
                name: (int(at), int(size)) for name, (at, size) in index["entries"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}: the index of kernels is damaged") from None
        self._start = len(MAGIC) + 8 + length

    def _open(self) -> BinaryIO:
        return open(self.path, "rb") if self._data is None else io.BytesIO(self._data)

    def read(self, name: str) -> bytes | None:
        """What it has under ``name``, unless it has nothing or that was damaged."""
        at, size = self.entries.get(name, (0, -1))
        if at < 0 or not 0 < size < 1 << 30:
            return None
        try:
            with self._open() as file:
                file.seek(self._start + at)
                data = file.read(size)
        except (OSError, OverflowError):
            return None
        checksum, code = data[:32], data[32:]
        return code if hashlib.sha256(code).digest() == checksum else None


def packed(level: str, codes: Mapping[str, bytes], **about: str) -> bytes:
    """The bytes of a bundle of ``codes``, by the names that the cache has for them."""
    entries, places, at = [], {}, 0
    for name, code in sorted(codes.items()):
        entries.append(hashlib.sha256(code).digest() + code)
        places[name] = (at, len(entries[-1]))
        at += len(entries[-1])
    index = json.dumps({"level": level, "about": about, "entries": places}).encode()
    return b"".join([MAGIC, len(index).to_bytes(8, "little"), index, *entries])


def collected(level: str, names: Iterable[str]) -> dict[str, bytes]:
    """What the cache, or else the bundles of ``level``, have under these names.

    Raises:
        FileNotFoundError: neither has one.
    """
    codes, folder = {}, cache.cache_dir()
    for name in names:
        code = cache.read(folder / name) or find(level, name)
        if code is None:
            raise FileNotFoundError(f"{folder} lacks {name}; is it writable?")
        codes[name] = code
    return codes


@lru_cache(maxsize=None)
def installed(level: str) -> Bundle | None:
    """The bundle of ``level`` that came with the installation, if one did."""
    try:
        return Bundle(FOLDER / f"{level}.kernels")
    except (OSError, ValueError):
        return None


_attached: list[Bundle] = []


def attach(bundle: Bundle) -> None:
    """Look for kernels in ``bundle`` too, in this process, from now on."""
    _attached.append(bundle)


def detach(bundle: Bundle) -> None:
    """No longer look in ``bundle``; kernels that were loaded stay."""
    _attached.remove(bundle)


def any_for(level: str) -> bool:
    """Whether there is any bundle of ``level`` to look in."""
    return installed(level) is not None or any(one.level == level for one in _attached)


def find(level: str, name: str) -> bytes | None:
    """The kernel ``name`` out of the bundles of ``level``."""
    bundles: list[Any] = [one for one in _attached if one.level == level]
    for one in [*bundles, installed(level)]:
        code: bytes | None = None if one is None else one.read(name)
        if code is not None:
            return code
    return None

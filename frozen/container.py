"""The file of a frozen model: an index with checksums, and sections one behind the other.

``MAGIC``, the SHA-256 of the index (32 bytes), its length (8 bytes, little-endian), the index, the sections.
The index is JSON: ``about``, facts in words, and ``sections``, of each its name, its length and its SHA-256, in
order. Nothing is compressed, sections cannot overlap, names are no paths, and the checksum of the index stands
for the whole file: it is the file's *fingerprint*.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tilegrad.onnx.errors import LoadError

MAGIC = b"tilegrad frozen 1\n"
MOST_INDEX = 1 << 20  # bytes
MOST_SECTIONS = 1024


def packed(about: Mapping[str, Any], sections: Mapping[str, bytes]) -> list[bytes]:
    """The pieces of a file, in order."""
    places = [[n, len(data), hashlib.sha256(data).hexdigest()] for n, data in sections.items()]
    index = json.dumps({"about": about, "sections": places}, sort_keys=True).encode()
    head = [MAGIC, hashlib.sha256(index).digest(), len(index).to_bytes(8, "little"), index]
    return [*head, *sections.values()]


class Container:
    """An open file: its index is read and sound, its sections have the lengths that it says.

    Args:
        path: of the file.
        fingerprint: 64 hexadecimal digits that it must have, or None.
        most_bytes: of the file.

    Attributes:
        about: facts in words. fingerprint: of the file.

    Raises:
        LoadError: it cannot be read, is no such file, is damaged or too large, or another than is asked for.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str | None, most_bytes: int):
        self.path = Path(path)
        self.name = self.path.name
        try:
            if not self.path.is_file():
                what = "is no regular file" if self.path.exists() else "is not there"
                raise self.wrong(what)
            size = self.path.stat().st_size
            if size > most_bytes:
                raise self.wrong(f"has {size} bytes, more than the {most_bytes} that are read")
            with open(self.path, "rb") as file:
                index = self._index(file, fingerprint)
                self._start = file.tell()
        except OSError as error:
            raise self.wrong(f"cannot be read: {error.strerror}") from None
        self._read_index(index, size)

    def wrong(self, what: str) -> LoadError:
        """The error that this is the matter with the file."""
        return LoadError(f"load_frozen: {self.name} {what}")

    def _index(self, file: BinaryIO, fingerprint: str | None) -> bytes:
        head = file.read(len(MAGIC) + 40)
        if not head.startswith(MAGIC[:15]):
            raise self.wrong("is no frozen model")
        if not head.startswith(MAGIC):
            raise self.wrong("is of another version of the format; freeze the model anew")
        digest, length = head[len(MAGIC) : -8], int.from_bytes(head[-8:], "little")
        if len(head) < len(MAGIC) + 40 or length > MOST_INDEX:
            raise self.wrong("is damaged: it has no index")
        index = file.read(length)
        if hashlib.sha256(index).digest() != digest:
            raise self.wrong("is damaged: its index does not fit its checksum")
        self.fingerprint = digest.hex()
        if fingerprint is not None and fingerprint.lower() != self.fingerprint:
            raise self.wrong(f"is another file: its fingerprint is {self.fingerprint}")
        return index

    def _read_index(self, index: bytes, size: int) -> None:
        try:
            found = json.loads(index)
            self.about = found["about"]
            if not isinstance(self.about, dict) or len(found["sections"]) > MOST_SECTIONS:
                raise ValueError
            self.sections: dict[str, tuple[int, int, str]] = {}
            at = self._start
            for name, length, checksum in found["sections"]:
                if type(length) is not int or length < 0 or name in self.sections:
                    raise ValueError
                self.sections[str(name)] = (at, length, str(checksum))
                at += length
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self.wrong("is damaged: its index is not sound") from None
        if at != size:
            raise self.wrong(f"is damaged: it has {size} bytes where its index asks for {at}")

    def section(self, name: str) -> bytes:
        """The bytes of a section.

        Raises:
            LoadError: there is none, or it is damaged.
        """
        if name not in self.sections:
            raise self.wrong(f"is damaged: it has no {name}")
        at, length, checksum = self.sections[name]
        try:
            with open(self.path, "rb") as file:
                file.seek(at)
                data = file.read(length)
        except OSError as error:
            raise self.wrong(f"cannot be read: {error.strerror}") from None
        if len(data) != length or hashlib.sha256(data).hexdigest() != checksum:
            raise self.wrong(f"is damaged: its {name} does not fit its checksum")
        return data

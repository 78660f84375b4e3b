"""The safetensors format: 8 bytes with the length of the header, a header in JSON, the elements.

Everything a file says is checked before it is used: it may come from anywhere.

Source: the format's specification, https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.engine import array as arrays
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array

METADATA = "__metadata__"
HEADER_LIMIT = 100_000_000  # bytes; the specification's
_RANK_LIMIT = 64
_NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_KINDS = {code: dt.BY_NAME[name] for name, code in _NAMES.items() if name in dt.BY_NAME}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type, shape, and where its elements begin."""

    kind: dt.DType
    shape: tuple[int, ...]
    position: int

    def read(self, file: Any, name: str) -> Array:
        """The elements, in memory of their own.

        Raises:
            RuntimeError: the file is shorter than its header says, or holds bools that are none.
        """
        made = arrays.empty(self.shape, self.kind)
        if not made.layout.nbytes:
            return made
        host = arrays.to_numpy(made).reshape(-1).view(np.uint8)
        file.seek(self.position)
        view = memoryview(host)  # type: ignore[arg-type]
        while len(view):
            count = file.readinto(view)
            if not count:
                raise _error(name, "it ends too early")
            view = view[count:]
        if self.kind is dt.bool_ and host.max() > 1:
            raise _error(name, "a bool must be 0 or 1")
        return made


@dataclass(frozen=True)
class Header:
    """What a file holds: strings, and tensors by name."""

    metadata: dict[str, str]
    entries: dict[str, Entry]


def _error(name: str, what: str) -> RuntimeError:
    return RuntimeError(f"load: {name} is not a valid safetensors file: {what}")


# -------------------------------------------------------------------------------------- writing


def write(file: Any, hosts: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write contiguous arrays. Larger items come first, so that all are aligned."""
    header: dict[str, Any] = {METADATA: metadata} if metadata else {}
    order = sorted(hosts, key=lambda name: -hosts[name].itemsize)
    begins: dict[str, int] = {}
    end = 0
    for name in order:
        begins[name] = end
        end += hosts[name].nbytes
    for name, host in hosts.items():
        header[name] = {
            "dtype": _NAMES[dt.BY_NUMPY[host.dtype].name],
            "shape": list(host.shape),
            "data_offsets": [begins[name], begins[name] + host.nbytes],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"save: the header must be at most {HEADER_LIMIT} bytes; got {len(text)}")
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in order:
        if hosts[name].nbytes:
            file.write(memoryview(hosts[name]).cast("B"))  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------- reading


def read_header(file: Any, name: str) -> Header:
    """Read and check everything before the elements.

    Raises:
        RuntimeError: the file does not keep to the format.
    """
    total = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(8)
    if len(start) < 8:
        raise _error(name, f"it has {len(start)} bytes")
    length = int.from_bytes(start, "little")
    if length > min(HEADER_LIMIT, total - 8):
        if start[:1] == b"\x80" or start[:2] == b"PK":
            raise _error(name, "it looks like a pickle, which is never loaded")
        raise _error(name, f"its header would have {length} bytes, the file has {total}")
    try:
        text = file.read(length).decode()
    except UnicodeDecodeError:
        raise _error(name, "its header is not UTF-8") from None
    if not text.startswith("{"):
        raise _error(name, "its header is not a JSON object")
    raw = parse_json(text, name)
    metadata = _metadata(raw.pop(METADATA, {}), name)
    ranges: list[tuple[int, int]] = []
    entries = {key: _entry(key, value, 8 + length, ranges, name) for key, value in raw.items()}
    end = 0
    for begin, stop in sorted(ranges):
        if begin != end:
            raise _error(name, f"tensors overlap or leave a gap at byte {min(begin, end)}")
        end = stop
    if end != total - 8 - length:
        raise _error(name, f"tensors end at byte {end} of {total - 8 - length}")
    return Header(metadata, entries)


def parse_json(text: str, name: str) -> Any:
    """The value of ``text``.

    Raises:
        RuntimeError: it is no JSON, nested too deeply, or repeats a key.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise _error(name, "its header is nested too deeply") from None
    except ValueError as error:
        raise _error(name, f"its header is damaged: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice")
    return made


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _metadata(raw: Any, name: str) -> dict[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(v, str) for v in raw.values()):
        raise _error(name, "its metadata must be strings by name")
    return raw


def _entry(key: str, raw: Any, data: int, ranges: list[tuple[int, int]], name: str) -> Entry:
    if not isinstance(raw, dict) or set(raw) != {"dtype", "shape", "data_offsets"}:
        raise _error(name, f"{key!r} must have dtype, shape and data_offsets")
    kind = _KINDS.get(raw["dtype"]) if isinstance(raw["dtype"], str) else None
    if kind is None:
        raise _error(
            name, f"{key!r}: dtype must be one of {', '.join(_KINDS)}; got {raw['dtype']!r}"
        )
    shape, offsets = raw["shape"], raw["data_offsets"]
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _error(name, f"{key!r}: shape and data_offsets must be lists of sizes")
    count = extent = kind.itemsize
    for size in shape:
        count *= size
        extent *= max(size, 1)
    if len(shape) > _RANK_LIMIT or extent >= 1 << 63:
        raise _error(name, f"{key!r}: shape is too large")
    begin, end = offsets
    if end - begin != count:
        raise _error(name, f"{key!r}: shape {shape} takes {count} bytes, not {end - begin}")
    ranges.append((begin, end))
    return Entry(kind, tuple(shape), data + begin)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in value)

"""Arrays in safetensors files, read through the library ``safetensors``, which checks what a file says.

The library is imported where it is used, so that importing tilegrad does not load it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from tilegrad.autograd.tensor import Tensor
from tilegrad.engine import array as arrays, dtype as dt
from tilegrad.engine.array import Array

METADATA = "__metadata__"  # the one name that no tensor can have
_NAMES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
_CODES = {name: code for code, name in _NAMES.items()}
_ORDER = (
    "int64",
    "float64",
    "complex64",
    "float32",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
)  # in a file
_LONGEST = 100_000_000  # bytes of a header that the library reads
_PIECE = 1 << 20  # bytes that are copied at once
_KINDS = {code: dt.BY_NAME[name] for code, name in _NAMES.items() if name in dt.BY_NAME}

Source = str | os.PathLike[str] | IO[bytes]


def write(file: Any, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and strings as the library does, but in pieces: no tensor is copied as a whole,
    save those of a GPU, one at a time. Equal contents give equal bytes.

    Raises:
        ValueError: the names and the metadata take more than the format allows, 100 MB.
    """
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    for name, t in tensors.items():
        if t.dtype.name not in _CODES:
            raise ValueError(
                f"save: a safetensors file holds no {t.dtype.name}; got it as {name!r} (save view_as_real of it)"
            )
    names = sorted(tensors, key=lambda name: (_ORDER.index(tensors[name].dtype.name), name))
    end = 0
    for name in names:
        t = tensors[name]
        start, end = end, end + t.numel() * t.itemsize
        header[name] = {
            "dtype": _CODES[t.dtype.name], "shape": list(t.shape), "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST:
        raise ValueError(
            f"save: the header takes {len(text)} bytes; at most {_LONGEST} are allowed"
        )
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        for piece in _pieces(arrays.to_numpy(tensors[name].detach().cpu())):
            file.write(piece.reshape(-1).view(np.uint8).data)


def _pieces(host: np.ndarray) -> Iterator[np.ndarray]:
    """Contiguous arrays that make up ``host``, in order: itself, or copies of about a MB."""
    if host.size == 0:
        return
    if host.flags.c_contiguous:
        yield host
    elif host.nbytes <= _PIECE:
        yield np.ascontiguousarray(host)
    elif len(host) == 1 or host[0].nbytes > _PIECE:
        for part in host:
            yield from _pieces(part)
    else:
        rows = _PIECE // host[0].nbytes
        for first in range(0, len(host), rows):
            yield np.ascontiguousarray(host[first : first + rows])


def read(f: Source) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a file, by name in sorted order, and its metadata.

    Raises:
        OSError: the file cannot be read.
        RuntimeError: it is not a valid safetensors file, or holds a dtype that is not supported.
    """
    with _opened(f) as file:
        return {name: _array(file, name) for name in sorted(file.keys())}, file.metadata() or {}


def read_metadata(f: Source) -> dict[str, str]:
    """The metadata of a file; raises as :func:`read`."""
    with _opened(f) as file:
        return file.metadata() or {}


def name_of(f: Source) -> str:
    """What messages call the file."""
    return str(getattr(f, "name", "the file")) if hasattr(f, "read") else os.fsdecode(f)


def _array(file: Any, name: str) -> Array:
    """One tensor, in aligned memory of its own."""
    code = file.get_slice(name).get_dtype()
    kind = _KINDS.get(code)
    if kind is None:
        raise ValueError(f"tensor {name!r}: dtype must be one of {', '.join(_KINDS)}; got {code}")
    host = file.get_tensor(name)
    if kind is dt.bool_ and host.size and host.view(np.uint8).max() > 1:
        raise ValueError(f"tensor {name!r}: a bool must be 0 or 1")
    made = arrays.empty(host.shape, kind)
    if host.size:
        arrays.to_numpy(made)[...] = host
    return made


@contextmanager
def _opened(f: Source) -> Iterator[Any]:
    """The library's view of a file. What it or the block finds wrong names the file."""
    from safetensors import SafetensorError, safe_open

    with _located(f) as (path, start):
        try:
            with safe_open(path, framework="numpy") as file:
                yield file
        except (SafetensorError, ValueError) as error:
            pickled = isinstance(error, SafetensorError) and start.startswith((b"\x80", b"PK"))
            what = "it looks like a pickle, which is never loaded" if pickled else error
            raise RuntimeError(
                f"load: {name_of(f)} is not a valid safetensors file: {what}"
            ) from None


@contextmanager
def _located(f: Any) -> Iterator[tuple[str, bytes]]:
    """Where a file lies, and its first two bytes.

    A file object is copied to a temporary file: the library reads metadata from paths only.
    """
    if hasattr(f, "read"):
        with tempfile.NamedTemporaryFile() as copy:
            f.seek(0)
            shutil.copyfileobj(f, copy)
            copy.flush()
            copy.seek(0)
            yield copy.name, copy.read(2)
        return
    with open(f, "rb") as file:
        start = file.read(2)
    yield os.fsdecode(f), start

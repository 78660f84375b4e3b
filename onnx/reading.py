"""ONNX files as they come, from anywhere: nothing in one is run, and nothing outside its folder is read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from tilegrad.onnx import messages
from tilegrad.onnx.errors import LoadError
from tilegrad.onnx.messages import EXTERNAL, MalformedError, ModelProto, TensorProto

MOST_BYTES = 1 << 33  # of a model with the files of its weights
MOST_NODES = 1_000_000
# the element types that tilegrad has, by ONNX's numbers, and where numbers of them lie
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("float32"), 2: np.dtype("uint8"), 3: np.dtype("int8"), 5: np.dtype("int16"), 6: np.dtype("int32"),
    7: np.dtype("int64"), 9: np.dtype("bool"), 11: np.dtype("float64"),
}  # fmt: skip
_OTHERS = {
    4: "UINT16", 8: "STRING", 10: "FLOAT16", 12: "UINT32", 13: "UINT64", 14: "COMPLEX64", 15: "COMPLEX128",
    16: "BFLOAT16", 17: "FLOAT8E4M3FN", 18: "FLOAT8E4M3FNUZ", 19: "FLOAT8E5M2", 20: "FLOAT8E5M2FNUZ",
    21: "UINT4", 22: "INT4", 23: "FLOAT4E2M1", 24: "FLOAT8E8M0", 25: "UINT2", 26: "INT2",
}  # fmt: skip


def dtype_of_number(number: int) -> np.dtype:
    """The dtype of an ONNX element type.

    Raises:
        LoadError: tilegrad has none for it.
    """
    if number not in DTYPES:
        raise LoadError(f"load: element type {_OTHERS.get(number, number)} is not supported")
    return DTYPES[number]


def read_model(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> ModelProto:
    """The model in a file, without the files of its weights.

    Raises:
        LoadError: it is none, or larger than ``most_bytes``, or has no graph.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise LoadError(f"load: {file.name} is no regular file")
        if size > most_bytes:
            raise LoadError(
                f"load: {file.name} has {size} bytes, more than the {most_bytes} that are read"
            )
        data = file.read_bytes()
    except OSError as error:
        raise LoadError(f"load: {file.name} cannot be read: {error.strerror}") from None
    return parse(data, file.name)


def parse(data: bytes | memoryview, name: str = "the model") -> ModelProto:
    """The model in some bytes.

    Raises:
        LoadError: they are none.
    """
    try:
        model: ModelProto = messages.read(ModelProto, data)
    except MalformedError as error:
        raise LoadError(f"load: {name} is no ONNX model: {error}") from None
    if model.graph is None or not model.opset_import:
        raise LoadError(f"load: {name} is no ONNX model: it has no graph, or names no operators")
    if len(model.graph.node) > MOST_NODES:
        raise LoadError(f"load: {name} has more than {MOST_NODES} nodes")
    return model


# the field of a tensor that holds numbers of a dtype where they are not bytes
_HOME = {"float32": "float_data", "float64": "double_data", "int64": "int64_data"}


def _of_bytes(data: bytes | memoryview, kind: np.dtype) -> np.ndarray:
    """Elements as they lie in memory; any byte but 0 is true."""
    return np.frombuffer(data, np.uint8) != 0 if kind.kind == "b" else np.frombuffer(data, kind)


class Weights:
    """Reads tensors of a model: those in files beside it too, of its folder alone.

    Args:
        folder: of the model; None of one that has no files.
        most_bytes: of all tensors together.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, most_bytes: int = MOST_BYTES):
        self.folder = None if folder is None else os.path.realpath(folder)
        self.left = most_bytes

    def array(self, proto: TensorProto) -> np.ndarray:
        """The elements of a tensor.

        Raises:
            LoadError: it is not whole, too large, of an unknown type, or lies elsewhere.
        """
        name = proto.name or "a tensor"
        kind = dtype_of_number(proto.data_type)
        if any(d < 0 for d in proto.dims):
            raise LoadError(f"load: {name} has a negative size")
        count = math.prod(proto.dims)
        nbytes = count * kind.itemsize
        self.left -= nbytes
        if self.left < 0:
            raise LoadError(f"load: {name}: the tensors have more bytes than are read")
        if proto.data_location == EXTERNAL:
            return self._external(proto, name, kind, nbytes)
        if proto.raw_data is not None:
            if len(proto.raw_data) != nbytes:
                raise LoadError(
                    f"load: {name} has {len(proto.raw_data)} bytes where its sizes ask for {nbytes}"
                )
            found = _of_bytes(proto.raw_data, kind)
        else:
            pieces = getattr(proto, _HOME.get(kind.name, "int32_data"))
            found = np.concatenate([np.empty(0, kind), *pieces], dtype=kind, casting="unsafe")
        if found.size != count:
            raise LoadError(
                f"load: {name} has {found.size} elements where its sizes ask for {count}"
            )
        return self._shaped(found, proto, name)

    def _shaped(self, found: np.ndarray, proto: TensorProto, name: str) -> np.ndarray:
        try:
            return found.reshape(tuple(proto.dims))
        except ValueError:  # more dimensions than an array can have, or empty ones beyond counting
            raise LoadError(f"load: {name} has sizes that no array has") from None

    def _external(self, proto: TensorProto, name: str, kind: Any, nbytes: int) -> np.ndarray:
        info = {e.key: e.value for e in proto.external_data}
        if self.folder is None:
            raise LoadError(f"load: {name} lies in another file, and the model in none")
        location = info.get("location", "")
        path = os.path.realpath(os.path.join(self.folder, location))
        if (
            not location
            or os.path.commonpath([path, self.folder]) != self.folder
            or path == self.folder
        ):
            raise LoadError(f"load: {name} lies outside the model's folder: {location[:120]!r}")
        try:
            offset, length = int(info.get("offset", 0)), int(info.get("length", nbytes))
        except ValueError:
            raise LoadError(f"load: {name} has an offset or a length that is no number") from None
        if offset < 0 or length != nbytes:
            raise LoadError(f"load: {name} has {length} bytes where its sizes ask for {nbytes}")
        if not os.path.isfile(path) or os.path.getsize(path) < offset + length:
            raise LoadError(f"load: {name}: the file {location[:120]!r} is not there, or too short")
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise LoadError(f"load: {name}: the file {location[:120]!r} is too short")
        found = _of_bytes(data, kind)
        return self._shaped(found, proto, name)

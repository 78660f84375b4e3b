"""The messages that an ONNX file is made of, and reading them from their bytes, without ONNX's own package.

Each class says which numbered fields it reads; others are passed over. A message holds what was read, so a
small file cannot become much memory: nesting and the number of messages are bounded.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, NamedTuple

import numpy as np

MOST_DEPTH = 100  # of messages inside messages, as the format's own library has it
MOST_MESSAGES = 4_000_000
EXTERNAL = 1  # where a tensor's data may lie


class MalformedError(ValueError):
    """Bytes that are no message."""


class Field(NamedTuple):
    """What a numbered field is: an attribute's name, what it holds, and whether there are many.

    ``kind``: a class of messages, or ``int``, ``float``, ``bytes``, ``text``; of many numbers also the dtype that
    they are kept in, as arrays.
    """

    name: str
    kind: Any
    many: bool = False


Fields = dict[int, Field]


class Message:
    """What was read of one message; a field that was not there has its empty value."""

    __slots__ = ("raw",)
    FIELDS: ClassVar[Fields] = {}

    def __init__(self, raw: memoryview | bytes = b""):
        self.raw = raw
        for field in self.FIELDS.values():
            setattr(self, field.name, _empty(field))


def _empty(field: Field) -> Any:
    if field.many:
        return []
    return {"int": 0, "float": 0.0, "bytes": b"", "text": ""}.get(field.kind)


class StringEntry(Message):
    """A name and its value."""

    __slots__ = ("key", "value")
    key: str
    value: str
    FIELDS: ClassVar[Fields] = {1: Field("key", "text"), 2: Field("value", "text")}


class OperatorSet(Message):
    """A version of a domain's operators."""

    __slots__ = ("domain", "version")
    domain: str
    version: int
    FIELDS: ClassVar[Fields] = {1: Field("domain", "text"), 2: Field("version", "int")}


class TensorProto(Message):
    """A tensor; ``raw_data`` is None unless it was given, numbers are arrays, in pieces.

    ``made`` is for whoever makes something of it, once.
    """

    __slots__ = (
        "data_location", "data_type", "dims", "double_data", "external_data", "float_data", "int32_data",
        "int64_data", "made", "name", "raw_data",
    )  # fmt: skip
    dims: list[int]
    data_type: int
    float_data: list[np.ndarray]
    int32_data: list[np.ndarray]
    int64_data: list[np.ndarray]
    name: str
    raw_data: memoryview | None
    double_data: list[np.ndarray]
    external_data: list[StringEntry]
    data_location: int
    made: Any
    FIELDS: ClassVar[Fields] = {
        1: Field("dims", "int", True), 2: Field("data_type", "int"), 4: Field("float_data", "<f4", True),
        5: Field("int32_data", "<i8", True), 7: Field("int64_data", "<i8", True), 8: Field("name", "text"),
        9: Field("raw_data", "view"), 10: Field("double_data", "<f8", True),
        13: Field("external_data", StringEntry, True), 14: Field("data_location", "int"),
    }  # fmt: skip

    def __init__(self, raw: memoryview | bytes = b""):
        super().__init__(raw)
        self.made = None


class Dimension(Message):
    """A size, where it is known."""

    __slots__ = ("dim_param", "dim_value")
    dim_value: int
    dim_param: str
    FIELDS: ClassVar[Fields] = {1: Field("dim_value", "int"), 2: Field("dim_param", "text")}


class Shape(Message):
    """Sizes of a type."""

    __slots__ = ("dim",)
    dim: list[Dimension]
    FIELDS: ClassVar[Fields] = {1: Field("dim", Dimension, True)}


class TensorType(Message):
    """An element type and, where it is known, a shape."""

    __slots__ = ("elem_type", "shape")
    elem_type: int
    shape: Shape | None
    FIELDS: ClassVar[Fields] = {1: Field("elem_type", "int"), 2: Field("shape", Shape)}


class Inner(Message):
    """What a type is a sequence of, or optional."""

    __slots__ = ()


class TypeProto(Message):
    """A type of values: one of its fields is there."""

    __slots__ = ("optional_type", "sequence_type", "tensor_type")
    tensor_type: TensorType | None
    sequence_type: Inner | None
    optional_type: Inner | None
    FIELDS: ClassVar[Fields] = {
        1: Field("tensor_type", TensorType), 4: Field("sequence_type", Inner), 9: Field("optional_type", Inner),
    }  # fmt: skip


class ValueInfo(Message):
    """A name of a value, with its type."""

    __slots__ = ("name", "type")
    name: str
    type: TypeProto | None
    FIELDS: ClassVar[Fields] = {1: Field("name", "text"), 2: Field("type", TypeProto)}


class AttributeProto(Message):
    """A named argument of a node."""

    __slots__ = (
        "f", "floats", "g", "graphs", "i", "ints", "name", "ref_attr_name", "s", "strings", "t", "tensors", "type",
    )  # fmt: skip
    name: str
    ref_attr_name: str
    type: int
    f: float
    i: int
    s: bytes
    t: TensorProto | None
    g: GraphProto | None
    floats: list[float]
    ints: list[int]
    strings: list[bytes]
    tensors: list[TensorProto]
    graphs: list[GraphProto]


class NodeProto(Message):
    """One call of an operator."""

    __slots__ = ("attribute", "domain", "input", "name", "op_type", "output")
    input: list[str]
    output: list[str]
    name: str
    op_type: str
    attribute: list[AttributeProto]
    domain: str
    FIELDS: ClassVar[Fields] = {
        1: Field("input", "text", True), 2: Field("output", "text", True), 3: Field("name", "text"),
        4: Field("op_type", "text"), 5: Field("attribute", AttributeProto, True), 7: Field("domain", "text"),
    }  # fmt: skip


class GraphProto(Message):
    """Nodes in order, with the tensors that they read."""

    __slots__ = ("initializer", "input", "name", "node", "output", "sparse_initializer")
    node: list[NodeProto]
    name: str
    initializer: list[TensorProto]
    input: list[ValueInfo]
    output: list[ValueInfo]
    sparse_initializer: list[Inner]
    FIELDS: ClassVar[Fields] = {
        1: Field("node", NodeProto, True), 2: Field("name", "text"), 5: Field("initializer", TensorProto, True),
        11: Field("input", ValueInfo, True), 12: Field("output", ValueInfo, True),
        15: Field("sparse_initializer", Inner, True),
    }  # fmt: skip


AttributeProto.FIELDS = {
    1: Field("name", "text"), 2: Field("f", "float"), 3: Field("i", "int"), 4: Field("s", "bytes"),
    5: Field("t", TensorProto), 6: Field("g", GraphProto), 7: Field("floats", "float", True),
    8: Field("ints", "int", True), 9: Field("strings", "bytes", True), 10: Field("tensors", TensorProto, True),
    11: Field("graphs", GraphProto, True), 20: Field("type", "int"), 21: Field("ref_attr_name", "text"),
}  # fmt: skip


class FunctionProto(Message):
    """An operator that a file defines by others."""

    __slots__ = ("attribute_proto", "domain", "input", "name", "node", "opset_import", "output")
    name: str
    input: list[str]
    output: list[str]
    node: list[NodeProto]
    opset_import: list[OperatorSet]
    domain: str
    attribute_proto: list[AttributeProto]
    FIELDS: ClassVar[Fields] = {
        1: Field("name", "text"), 4: Field("input", "text", True), 5: Field("output", "text", True),
        7: Field("node", NodeProto, True), 9: Field("opset_import", OperatorSet, True),
        10: Field("domain", "text"), 11: Field("attribute_proto", AttributeProto, True),
    }  # fmt: skip


class ModelProto(Message):
    """A whole file."""

    __slots__ = ("functions", "graph", "opset_import")
    graph: GraphProto | None
    opset_import: list[OperatorSet]
    functions: list[FunctionProto]
    FIELDS: ClassVar[Fields] = {
        7: Field("graph", GraphProto), 8: Field("opset_import", OperatorSet, True),
        25: Field("functions", FunctionProto, True),
    }  # fmt: skip


# ---------------------------------------------------------------------------------------- reading


def read(kind: type[Message], data: bytes | memoryview) -> Any:
    """The message of this kind that the bytes are.

    Raises:
        MalformedError: they are none, or more than is read.
    """
    return _Reader().message(kind, memoryview(data), 0)


class _Reader:
    def __init__(self) -> None:
        self.messages = 0

    def message(
        self, kind: type[Message], data: memoryview, depth: int, made: Any = None
    ) -> Message:
        """One message; its fields go to ``made``, where a field of one message comes in parts."""
        self.messages += 1
        if depth > MOST_DEPTH or self.messages > MOST_MESSAGES:
            raise MalformedError("messages are nested too deep, or too many")
        made = kind(data) if made is None else made
        at, end = 0, len(data)
        while at < end:
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise MalformedError("a field has no number")
            value, at = _value(data, at, wire)
            field = kind.FIELDS.get(number)
            if field is not None:
                self.take(made, field, wire, value, depth)
        return made  # type: ignore[no-any-return]

    def take(self, made: Any, field: Field, wire: int, value: Any, depth: int) -> None:
        """Put a field where it belongs; one of another wire type is passed over, as unknown ones are."""
        name, kind, many = field
        if isinstance(kind, type):
            if wire != _BYTES:
                return
            if many:
                getattr(made, name).append(self.message(kind, value, depth + 1))
            else:
                before = getattr(made, name)
                setattr(made, name, self.message(kind, value, depth + 1, before))
            return
        if kind in ("bytes", "text", "view"):
            if wire != _BYTES:
                return
            found = value if kind == "view" else _text(value) if kind == "text" else bytes(value)
        elif wire == _BYTES and many:
            numbers = _packed(kind, value)
            if kind in ("int", "float"):
                getattr(made, name).extend(numbers.tolist())
            elif len(numbers):
                getattr(made, name).append(numbers)
            return
        else:
            found = _number(kind, wire, value)
            if found is None:
                return
            if kind not in ("int", "float"):
                found = np.array([found], kind)
        if many:
            getattr(made, name).append(found)
        else:
            setattr(made, name, found)


_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_WIRES = {"int": _VARINT, "<i8": _VARINT, "float": _FOUR, "<f4": _FOUR, "<f8": _EIGHT}
_DTYPES = {"float": "<f4", "<f4": "<f4", "<f8": "<f8"}


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(an unsigned number of up to 64 bits, the place behind it)"""
    found = shift = 0
    for byte in data[at : at + 10]:
        found |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return found & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise MalformedError("a number does not end")


def _value(data: memoryview, at: int, wire: int) -> tuple[Any, int]:
    """(the value of a field as it lies there, the place behind it)"""
    if wire == _VARINT:
        return _varint(data, at)
    if wire == _BYTES:
        size, at = _varint(data, at)
    elif wire in (_EIGHT, _FOUR):
        size = 8 if wire == _EIGHT else 4
    else:
        raise MalformedError(f"wire type {wire}")
    if size > len(data) - at:
        raise MalformedError("a field is longer than its message")
    return data[at : at + size], at + size


def _text(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise MalformedError("a name is no text") from None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _number(kind: str, wire: int, value: Any) -> Any:
    """A single number, or None where it is of another wire type."""
    if wire != _WIRES[kind]:
        return None
    if wire == _VARINT:
        return _signed(value)
    return struct.unpack("<f" if wire == _FOUR else "<d", value)[0]


def _packed(kind: str, value: memoryview) -> np.ndarray:
    """Many numbers in one field."""
    if kind in _DTYPES:
        dtype = np.dtype(_DTYPES[kind])
        if len(value) % dtype.itemsize:
            raise MalformedError("numbers do not fill their field")
        return np.frombuffer(value, dtype)
    data = np.frombuffer(value, np.uint8)
    ends = np.flatnonzero(data < 128)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        raise MalformedError("a number does not end")
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - starts + 1
    if len(lengths) and lengths.max() > 10:
        raise MalformedError("a number does not end")
    found = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max()) if len(lengths) else 0):
        here = lengths > k
        part = (data[starts[here] + k] & 127).astype(np.uint64)
        found[here] |= part << np.uint64(7 * k)
    return found.view(np.int64)

"""Files made to harm: each must be refused, in little memory and time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.fuzzing.targets import mended
from tilegrad.data.serialization import STRUCTURE, VERSION
from tilegrad.frozen import container

Made = Iterator[tuple[str, str, bytes]]  # (what it tries, a file's name, its bytes)


def _safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _row(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def tensors() -> Made:
    """Of safetensors files and checkpoints."""
    one = {"a": _row([1], 0, 4)}

    def structured(text: str) -> bytes:
        return _safetensors({"__metadata__": {STRUCTURE: text, VERSION: "1"}, **one}, b"\0" * 4)

    cases = {
        "an empty file": b"",
        "a header beyond the file": _safetensors(one, length=1 << 40),
        "a header of all numbers": _safetensors(one, length=(1 << 64) - 1),
        "sizes beyond the file": _safetensors({"a": _row([1 << 40], 0, 1 << 42)}),
        "sizes that overflow": _safetensors({"a": _row([1 << 62, 1 << 62], 0, 4)}, b"\0" * 4),
        "sizes that overflow to nothing": _safetensors({"a": _row([1 << 32, 1 << 32], 0, 0)}),
        "negative sizes": _safetensors({"a": _row([-1], 0, 4)}, b"\0" * 4),
        "offsets that overlap": _safetensors({"a": _row([2], 0, 8), "b": _row([2], 4, 12)}, b"\0" * 12),
        "offsets backwards": _safetensors({"a": _row([1], 4, 0)}, b"\0" * 4),
        "a header nested deep": _safetensors(b'{"a":' * 50000 + b"}" * 50000),
        "a pickle": b"\x80\x04\x95" + b"cos\nsystem\n(S'true'\ntR.",
        "an archive": b"PK\x03\x04" + b"\0" * 60,
        "a dtype that is none": _safetensors({"a": _row([1], 0, 4, "F31")}, b"\0" * 4),
        "a bool of 2": _safetensors({"a": _row([1], 0, 1, "BOOL")}, b"\2"),
        "a structure nested deep": structured("[" * 200000),
        "a structure nested, and valid": structured('{"list":[' * 150 + '{"list":[]}' + "]}" * 150),
        "a structure with no such tensor": structured('{"tensor":"b"}'),
        "a structure of an unknown kind": structured('{"call":["os.system","true"]}'),
        "a structure with a list for a key": structured('{"dict":[[{"list":[]},1]]}'),
        "a number of a million digits": structured("9" * 1000000),
        "another version": _safetensors({"__metadata__": {STRUCTURE: "{}", VERSION: "2"}, **one}, b"\0" * 4),
    }  # fmt: skip
    for what, data in cases.items():
        yield what, "hostile.safetensors", data


def graphs() -> Made:
    """Of ONNX files."""
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, None)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)

    def model(nodes: list[Any], tensors: tuple[Any, ...] = (), **more: Any) -> bytes:
        graph = helper.make_graph(nodes, "g", [image], [out], list(tensors))
        sets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
        made: bytes = helper.make_model(
            graph, opset_imports=sets, ir_version=10, **more
        ).SerializeToString()
        return made

    def beside(place: str) -> bytes:
        weight = TensorProto(name="w", data_type=1, dims=[16], data_location=TensorProto.EXTERNAL)
        weight.external_data.add(key="location", value=place)
        return model([helper.make_node("Add", ["input", "w"], ["y"])], (weight,))

    node = helper.make_node
    doubling = [node("Concat", [f"v{k}"] * 2, [f"v{k + 1}"], axis=0) for k in range(60)]
    laughs = [
        helper.make_function("own", f"f{k}", ["x"], ["y"], [
            node(f"f{k + 1}", ["x"], ["z"], domain="own"), node(f"f{k + 1}", ["z"], ["y"], domain="own"),
        ], [helper.make_opsetid("own", 1)])
        for k in range(40)
    ]  # fmt: skip
    itself = helper.make_function(
        "own", "f", ["x"], ["y"], [node("f", ["x"], ["y"], domain="own")], [helper.make_opsetid("own", 1)]
    )  # fmt: skip
    huge = helper.make_tensor("huge", TensorProto.INT64, [2], [1 << 20, 1 << 10])
    wide = TensorProto(name="w", data_type=1, dims=[1 << 31, 1 << 31])
    cases = {
        "no model": b"\x0a" * 100,
        "only a wide tensor": model([node("Add", ["input", "w"], ["y"])], (wide,)),
        "a tensor that doubles": model([node("Identity", ["input"], ["v0"]), *doubling, node("Identity", ["v60"], ["y"])]),
        "a tensor of a given size": model([node("ConstantOfShape", ["huge"], ["y"])], (huge,)),
        "an expansion": model([node("Expand", ["one", "huge"], ["y"])], (
            huge, helper.make_tensor("one", TensorProto.FLOAT, [1], [1]))),
        "functions of functions": model([node("f0", ["input"], ["y"], domain="own")], functions=laughs),
        "a function of itself": model([node("f", ["input"], ["y"], domain="own")], functions=[itself]),
        "a parent's file": beside("../secret.bin"),
        "a file by its whole path": beside("/etc/passwd"),
        "a device": beside("/dev/zero"),
        "a path with a zero": beside("a\0b"),
        "a file in the parent of a folder within": beside("x/../../secret.bin"),
        "an operator of the system": model([node("PyFunc", ["input"], ["y"], code="import os")]),
    }  # fmt: skip
    for what, data in cases.items():
        yield what, "hostile.onnx", data
    yield (
        "messages without end",
        "hostile.onnx",
        b"\x3a\xff\xff\xff\xff\x07" + b"\x0a\x00" * 3000000,
    )
    packed = np.full(1 << 20, 255, np.uint8).tobytes()
    yield "a number without end", "hostile.onnx", b"\x3a" + b"\xff" * 11 + packed


def frozen() -> Made:
    """Of frozen files."""
    about = {
        "versions": {"tilegrad": "0", "numba": "0", "llvmlite": "0"},
        "inputs": [],
        "outputs": [],
        "kernels": {},
    }

    def made(index: Any, data: bytes = b"") -> bytes:
        text = index if isinstance(index, bytes) else json.dumps(index).encode()
        head = container.MAGIC + hashlib.sha256(text).digest() + len(text).to_bytes(8, "little")
        return head + text + data

    cases = {
        "an empty file": b"",
        "a head alone": container.MAGIC,
        "an index without end": container.MAGIC + b"\0" * 32 + b"\xff" * 8,
        "an index nested deep": made(b"[" * 100000),
        "an index of another shape": made([1, 2]),
        "no graph": made({"about": about, "sections": []}),
        "a section beyond the file": made({"about": about, "sections": [["model.onnx", 1 << 60, ""]]}),
        "a section of negative length": made({"about": about, "sections": [["model.onnx", -5, ""], ["b", 5, ""]]}),
        "a section twice": made({"about": about, "sections": [["a", 0, ""], ["a", 0, ""]]}),
        "a length that is true": made({"about": about, "sections": [["a", True, ""]]}, b"x"),
        "sections without end": made({"about": about, "sections": [[str(k), 0, ""] for k in range(5000)]}),
        "another checksum": made({"about": about, "sections": [["model.onnx", 3, "00"]]}, b"abc"),
        "a path for a section": made({"about": about, "sections": [["../../x", 3, "00"]]}, b"abc"),
        "no graph in the graph": mended(made({"about": about, "sections": [["model.onnx", 3, ""]]}, b"abc")),
        "a pickle": b"\x80\x04\x95" + b"cos\nsystem\n(S'true'\ntR.",
    }  # fmt: skip
    for what, data in cases.items():
        yield what, "hostile.frozen", data


HOSTILE = {"safetensors": tensors, "checkpoint": tensors, "onnx": graphs, "frozen": frozen}

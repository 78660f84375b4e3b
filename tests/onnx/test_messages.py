"""The reader of ONNX's messages, beside the one of ONNX's own package; and models where that is not installed."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import tilegrad
import tilegrad.onnx
from tests.onnx.node_tests import cases
from tests.onnx.programs import PROGRAMS
from tilegrad.onnx import messages
from tilegrad.onnx.messages import MalformedError
from tilegrad.onnx.reading import DTYPES, Weights


def same(found, wanted, where: str = "") -> None:
    """Every field that the reader knows has what ONNX's own reader found."""
    for field in found.FIELDS.values():
        a, b, place = (
            getattr(found, field.name),
            getattr(wanted, field.name),
            f"{where}.{field.name}",
        )
        if isinstance(field.kind, type):
            if field.many:
                assert len(a) == len(b), place
                for x, y in zip(a, b):
                    same(x, y, place)
            else:
                assert (a is not None) == wanted.HasField(field.name), place
                if a is not None:
                    same(a, b, place)
        elif field.kind == "view":
            assert (b"" if a is None else bytes(a)) == b, place
        elif field.many and field.kind[0] == "<":
            np.testing.assert_array_equal(
                np.concatenate([np.empty(0, field.kind), *a]), list(b), place
            )
        else:
            assert (list(b) if field.many else b) == a, place


def test_what_onnx_reads() -> None:
    """Every tenth of ONNX's node tests: graphs in graphs, functions, every kind of attribute."""
    for case in cases()[::10]:
        same(
            messages.read(messages.ModelProto, case.model.SerializeToString()),
            case.model,
            case.name,
        )


@pytest.mark.parametrize("number", DTYPES)
def test_tensors_in_either_form(number: int) -> None:
    info = np.array([[0, 1, 3], [100, 126, 127]])
    data = (info - (64 if number not in (2, 9) else 0)).astype(DTYPES[number])
    for proto in (
        numpy_helper.from_array(data, "w"),
        helper.make_tensor("w", number, data.shape, data.ravel().tolist()),
        helper.make_tensor("w", number, (0, 3), []),
    ):
        found = Weights(None).array(messages.read(messages.TensorProto, proto.SerializeToString()))
        wanted = numpy_helper.to_array(proto)
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted)


def test_numbers_one_by_one_and_negative() -> None:
    """Older writers put each number in a field of its own."""
    data = b"\x08\x02\x10\x07" + b"".join(b"\x38" + bytes([n]) for n in (5, 6))
    found = messages.read(messages.TensorProto, data)
    assert found.dims == [2] and np.concatenate(found.int64_data).tolist() == [5, 6]
    wide = TensorProto(dims=[3], data_type=7, int64_data=[-1, -(1 << 63), (1 << 63) - 1])
    found = messages.read(messages.TensorProto, wide.SerializeToString())
    assert found.int64_data[0].tolist() == list(wide.int64_data)
    floats = b"\x08\x01\x10\x01\x25" + struct.pack("<f", 2.5)
    assert Weights(None).array(messages.read(messages.TensorProto, floats)).tolist() == [2.5]


BAD = {
    "no end of a number": b"\x08" + b"\xff" * 11,
    "cut off": b"\x08",
    "longer than the message": b"\x3a\x7f\x00",
    "no number": b"\x00\x00",
    "groups": b"\x3b\x3c",
    "no text": b"\x42\x02\x0a\x00\x3a\x03\x12\x01\xff",
    "numbers that do not fill their field": b"\x3a\x06\x2a\x04\x22\x02\x00\x00",
}


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_are_no_message(name: str) -> None:
    with pytest.raises(MalformedError):
        messages.read(messages.ModelProto, BAD[name])


def test_nesting_and_number_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs inside attributes of nodes inside graphs; and many empty nodes, which would be much memory."""
    data = b""
    for _ in range(60):
        for tag in (
            b"\x32",
            b"\x2a",
            b"\x0a",
        ):  # an attribute's graph, a node's attribute, a graph's node
            data = tag + _size(len(data)) + data
    with pytest.raises(MalformedError, match="nested too deep"):
        messages.read(messages.GraphProto, data)
    monkeypatch.setattr(messages, "MOST_MESSAGES", 1000)
    with pytest.raises(MalformedError, match="too many"):
        messages.read(messages.GraphProto, b"\x0a\x00" * 1000)


def _size(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


WITHOUT = """
import sys
sys.modules["onnx"] = None
import tilegrad, tilegrad.onnx
x = tilegrad.arange(2 * 784, dtype=tilegrad.float32).reshape(2, 1, 28, 28) / 1000
print(tilegrad.onnx.load(sys.argv[1])(x).sum().item())
assert tilegrad.onnx.is_in_onnx_export() is False
try:
    tilegrad.onnx.export
except ImportError as error:
    print(error)
"""


def test_models_run_where_onnx_is_not_installed(tmp_path: Path) -> None:
    program, args, _ = PROGRAMS["lenet"]
    path = tmp_path / "lenet.onnx"
    tilegrad.onnx.export(program, args, path, verify=False, dynamic_axes={"x": {0: "n"}})
    made = subprocess.run(
        [sys.executable, "-c", WITHOUT, path], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    x = tilegrad.arange(2 * 784, dtype=tilegrad.float32).reshape(2, 1, 28, 28) / 1000
    assert float(made[0]) == pytest.approx(program.eval()(x).sum().item(), rel=1e-4)
    assert made[1] == "tilegrad.onnx.export needs the package onnx: pip install 'tilegrad[onnx]'"

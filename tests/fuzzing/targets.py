"""What reads files that may come from anywhere: good files to spoil, how they are read, what may be raised."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tilegrad
import tilegrad.onnx
from tilegrad import nn, optim
from tilegrad.cli.failure import Failure
from tilegrad.cli.model import Classifier, Shape, load_classifier
from tilegrad.frozen import container, load_frozen, read_frozen
from tilegrad.onnx import LoadError


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        seeds: writes good files to a folder, and gives their paths.
        read: reads a file, and uses what was read as a program would.
        allowed: what it may raise, by its documentation.
        one_line: what it raises is one line.
        mended: of spoiled bytes, with checksums that fit, as an attacker would write them.
    """

    seeds: Callable[[Path], Iterator[Path]]
    read: Callable[[Path], None]
    allowed: tuple[type[Exception], ...]
    mended: Callable[[bytes], bytes] = lambda data: data
    one_line: bool = True


def _net() -> nn.Module:
    tilegrad.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)
    )


IMAGE = (2, 1, 8, 8)


def _tensors(folder: Path) -> Iterator[Path]:
    flat, nested = folder / "flat.safetensors", folder / "nested.safetensors"
    both = tilegrad.arange(5.0)
    tilegrad.save({"w": both, "again": both, "mask": both > 2, "n": tilegrad.arange(3)}, flat)
    tilegrad.save({"a": [1, (both, {"x": both[:2], 3: None})], "b": float("nan")}, nested)
    yield from (flat, nested)


def _read_tensors(path: Path) -> None:
    tilegrad.load(path)
    from tilegrad.data.serialization import load_metadata

    load_metadata(path)


def _trained() -> tuple[nn.Module, optim.Optimizer]:
    net = _net()
    made = optim.Adam(net.parameters(), lr=0.1)
    for parameter in net.parameters():
        parameter.grad = tilegrad.ones_like(parameter)
    made.step()
    return net, made


def _checkpoints(folder: Path) -> Iterator[Path]:
    net, made = _trained()
    path = folder / "checkpoint.safetensors"
    kept = {"model": net.state_dict(), "optimizer": made.state_dict(), "epoch": 3}
    tilegrad.save(kept, path)
    yield path


def _read_checkpoint(path: Path) -> None:
    found = tilegrad.load(path)
    if isinstance(found, dict) and isinstance(found.get("model"), dict):
        net = _net()
        net.load_state_dict(found["model"])


def _classifiers(folder: Path) -> Iterator[Path]:
    model = Classifier(Shape(4, 4, 2, (2, 2)))
    path = folder / "model.safetensors"
    tilegrad.save(model.state_dict(), path, metadata=model.metadata())
    yield path


def _graphs(folder: Path) -> Iterator[Path]:
    x = tilegrad.zeros(IMAGE)
    plain, loop, beside, longer, wider = (
        folder / f"{n}.onnx" for n in ("plain", "loop", "beside", "longer", "wider")
    )
    tilegrad.onnx.export(_net(), x, plain, dynamic_axes={"input": {0: "n"}}, verify=False)
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Add", ["s", "s"], ["t"])], "body",
        [helper.make_tensor_value_info(n, k, s) for n, k, s in
         (("i", TensorProto.INT64, []), ("c", TensorProto.BOOL, []), ("s", TensorProto.FLOAT, None))],
        [helper.make_tensor_value_info(n, k, s) for n, k, s in
         (("d", TensorProto.BOOL, []), ("t", TensorProto.FLOAT, None))],
    )  # fmt: skip
    nodes = [helper.make_node("Loop", ["most", "", "input"], ["y"], body=body)]
    most = helper.make_tensor("most", TensorProto.INT64, [], [3])
    _write(loop, nodes, [most])
    weight = numpy_helper.from_array(np.float32([1, 2]), "w")
    _write(
        beside, [helper.make_node("Mul", ["input", "w"], ["y"])], [weight], external="weights.bin"
    )
    assert onnx.load(beside, load_external_data=False).graph.initializer[0].external_data
    names = [
        "input",
        *(f"v{k}" for k in range(14)),
        "y",
    ]  # a file that goes on has the same kernels
    doubling = [
        helper.make_node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)
    ]
    _write(longer, doubling, [])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 10, 1 << 10])
    _write(wider, [helper.make_node("Expand", ["one", "shape"], ["y"])], [one, shape])
    yield from (plain, loop, beside, longer, wider)


def _write(path: Path, nodes: list[Any], tensors: list[Any], external: str = "") -> None:
    """A model of one input, with ``tensors`` in the file ``external`` if that is given."""
    import onnx
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, None)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [image], [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if external:
        (path.parent / external).unlink(missing_ok=True)
        onnx.save_model(
            model, str(path), save_as_external_data=True, location=external, size_threshold=0
        )
    else:
        onnx.save_model(model, str(path))


def _read_graph(path: Path) -> None:
    model = tilegrad.onnx.load(path, most_memory=1 << 28)
    if len(model.input_names) == 1:
        model(np.ones(IMAGE[:2] + ((2,) if "beside" in path.name else IMAGE[2:]), np.float32))


def _frozen(folder: Path) -> Iterator[Path]:
    """A file without machine code: what that does is its maker's choice, by design."""
    path = folder / "bare.frozen"
    if not path.exists():
        tilegrad.freeze(_net(), tilegrad.zeros(IMAGE), path, cpu=(), verify=False)
    yield path


def _read_frozen(path: Path) -> None:
    read_frozen(path)
    load_frozen(path, machine_code=False)(np.ones(IMAGE, np.float32))
    load_frozen(path, compile=True)


def mended(data: bytes) -> bytes:
    """A frozen file whose checksums fit what is in it, as far as its index can be read."""
    start = len(container.MAGIC) + 40
    length = int.from_bytes(data[start - 8 : start], "little")
    index = data[start : start + length]
    try:
        found = json.loads(index)
        at = start + length
        for row in found["sections"]:
            row[2] = hashlib.sha256(data[at : at + row[1]]).hexdigest()
            at += row[1]
        index = json.dumps(found, sort_keys=True).encode()
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError):
        pass
    head = container.MAGIC + hashlib.sha256(index).digest() + len(index).to_bytes(8, "little")
    return head + index + data[start + length :]


def _bad(path: Path) -> None:
    """What a reader must not do; for the test of those who watch."""
    turn = _turns[0] = _turns[0] + 1
    if turn == 2:
        Path("/etc/hostname").read_bytes()
    elif turn == 3:
        subprocess.run(["true"], check=True)
    elif turn == 4:
        bytearray(1 << 34)
    elif turn == 5:
        raise ValueError("not documented")


_turns = [0]
BAD = {"bad reader": Target(_classifiers, _bad, (LoadError,))}
TARGETS = {
    "safetensors": Target(_tensors, _read_tensors, (RuntimeError,)),
    "checkpoint": Target(_checkpoints, _read_checkpoint, (RuntimeError,), one_line=False),
    "classifier": Target(
        _classifiers, lambda path: load_classifier(str(path)) and None, (Failure,)
    ),
    "onnx": Target(_graphs, _read_graph, (LoadError,)),
    "frozen": Target(_frozen, _read_frozen, (LoadError,)),
    "resealed": Target(_frozen, _read_frozen, (LoadError,), mended),
}

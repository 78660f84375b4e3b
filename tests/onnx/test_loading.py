"""Graphs from files: as modules, trained on, and files that are not to be trusted."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tilegrad
import tilegrad.onnx
from tests.onnx.programs import PROGRAMS
from tilegrad import nn
from tilegrad.onnx import LoadError
from tilegrad.onnx.loading import prepare

FLOATS = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, initializers=(), opset=20, **more) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs]
    ends = [helper.make_tensor_value_info(n, FLOATS, None) for n in outputs]
    graph = helper.make_graph(nodes, "g", infos, ends, list(initializers))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **more
    )


@pytest.mark.parametrize(
    "name", ["lenet", "lstm2", "gru", "enc", "bn_dyn_hw", "setitem", "upbi", "sort", "index2"]
)
def test_what_was_exported_comes_back(name: str, tmp_path: Path) -> None:
    program, args, axes = PROGRAMS[name]
    names = [f"in{k}" for k in range(len(args))]
    path = tmp_path / "model.onnx"
    dynamic = dict(zip(names, axes, strict=True))
    tilegrad.onnx.export(program, args, path, input_names=names, dynamic_axes=dynamic, verify=False)
    loaded = tilegrad.onnx.load(path)
    if isinstance(program, nn.Module):
        program.eval()
    found, wanted = loaded(*args), program(*args)
    flat = [
        t
        for w in (wanted if isinstance(wanted, tuple) else (wanted,))
        for t in (w if isinstance(w, tuple) else (w,))
    ]
    for a, b in zip(found if isinstance(found, tuple) else (found,), flat, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_weights_are_parameters_that_learn(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    path = tmp_path / "net.onnx"
    tilegrad.onnx.export(model, tilegrad.randn(5, 3), path, input_names=["x"])
    loaded = tilegrad.onnx.load(path)
    assert sorted(p.shape for p in loaded.parameters()) == sorted(
        p.shape for p in model.parameters()
    )
    x = tilegrad.randn(5, 3)
    loaded(x=x).sum().backward()
    model(x).sum().backward()
    by_shape = {tuple(p.shape): p.grad.numpy() for p in model.parameters()}
    for p in loaded.parameters():
        np.testing.assert_allclose(p.grad.numpy(), by_shape[tuple(p.shape)], rtol=1e-5, atol=1e-6)


def test_inputs_by_name_and_what_is_wrong_with_them() -> None:
    made = prepare(
        model_of(
            [helper.make_node("Sub", ["a", "b"], ["y"])],
            [("a", FLOATS, [2]), ("b", FLOATS, [2])],
            ["y"],
        )
    )
    one, two = np.float32([5, 6]), np.float32([1, 2])
    assert made(b=two, a=one).tolist() == [4, 4] == made(one, two).tolist()
    with pytest.raises(TypeError, match=r"inputs are \['a', 'b'\]"):
        made(one)
    with pytest.raises(TypeError, match="inputs are"):
        made(one, two, c=two)


def external(location: str, **more: str) -> onnx.ModelProto:
    weight = TensorProto(name="w", data_type=FLOATS, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        weight.external_data.add(key=key, value=value)
    return model_of(
        [helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOATS, [2])], ["y"], [weight]
    )


def test_weights_in_files_of_the_models_folder_alone(tmp_path: Path) -> None:
    inside = tmp_path / "models"
    (inside / "sub").mkdir(parents=True)
    np.float32([1, 2, 3, 4]).tofile(inside / "sub" / "w.bin")
    np.float32([7, 8]).tofile(tmp_path / "secret.bin")
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    onnx.save(external("sub/w.bin", offset="8", length="8"), inside / "m.onnx")
    assert tilegrad.onnx.load(inside / "m.onnx")(np.float32([1, 1])).tolist() == [4, 5]
    for place in (
        "../secret.bin",
        str(tmp_path / "secret.bin"),
        "link.bin",
        "",
        ".",
        "sub/../../secret.bin",
        "/dev/zero",
    ):
        onnx.save(external(place), inside / "bad.onnx")
        with pytest.raises(LoadError, match=r"^load: w lies outside the model's folder"):
            tilegrad.onnx.load(inside / "bad.onnx")
    for more in ({"offset": "12"}, {"offset": "-8"}, {"length": "4"}, {"length": "x"}):
        onnx.save(external("sub/w.bin", **more), inside / "bad.onnx")
        with pytest.raises(LoadError, match="^load: w"):
            tilegrad.onnx.load(inside / "bad.onnx")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model at all")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("text.onnx", "empty.onnx", "none.onnx", "."):
        with pytest.raises(LoadError, match="^load: "):
            tilegrad.onnx.load(tmp_path / name)
    good = model_of([helper.make_node("Relu", ["x"], ["y"])], [("x", FLOATS, [2])], ["y"])
    onnx.save(good, tmp_path / "good.onnx")
    with pytest.raises(LoadError, match="more than the 10 that are read"):
        tilegrad.onnx.load(tmp_path / "good.onnx", most_bytes=10)


HUGE = [1 << 40]
BAD = {
    "an unknown operator": ([helper.make_node("Sytem", ["x"], ["y"])], "Sytem"),
    "a name that nothing gives": ([helper.make_node("Add", ["x", "z"], ["y"])], "reads 'z', which nothing gives"),
    "shapes that do not go together": ([helper.make_node("Reshape", ["x", "s"], ["y"])], "Reshape"),
    "a tensor too large": ([helper.make_node("ConstantOfShape", ["huge"], ["y"])], "too large"),
    "an expansion too large": ([helper.make_node("Expand", ["x", "huge"], ["y"])], "too large"),
    "a range too long": ([helper.make_node("Range", ["zero", "end", "one"], ["y"])], "too large"),
    "padding too wide": ([helper.make_node("Pad", ["x", "wide"], ["y"])], "too large"),
    "a missing attribute": ([helper.make_node("DepthToSpace", ["x"], ["y"])], "DepthToSpace"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_graphs_that_are_wrong_are_one_line(name: str) -> None:
    nodes, said = BAD[name]
    given = {"s": np.int64([3]), "huge": np.int64([1 << 40, 2]), "zero": np.int64(0), "one": np.int64(1),
             "end": np.int64(1 << 50), "wide": np.int64([1 << 40, 0])}  # fmt: skip
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in given.items()]
    with pytest.raises(LoadError, match="^load: ") as raised:
        prepare(model_of(nodes, [("x", FLOATS, [2])], ["y"], tensors))(np.float32([1, 2]))
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_tensors_that_are_not_whole() -> None:
    def weight(**more) -> TensorProto:
        return TensorProto(
            name="w", **{"data_type": FLOATS, "dims": [2], "raw_data": b"\0" * 8, **more}
        )

    for bad in (weight(raw_data=b"\0" * 7), weight(dims=[-2]), weight(dims=[1 << 40]), weight(data_type=99),
                weight(data_type=10, raw_data=b"\0" * 4), TensorProto(name="w", data_type=FLOATS, dims=[2])):  # fmt: skip
        made = model_of(
            [helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOATS, [2])], ["y"], [bad]
        )
        with pytest.raises(LoadError, match="^load: ") as raised:
            prepare(made)
        assert "\n" not in str(raised.value)


def test_a_function_that_calls_itself() -> None:
    call = helper.make_node("f", ["x"], ["y"], domain="own")
    own = helper.make_function("own", "f", ["x"], ["y"], [call], [helper.make_opsetid("own", 1)])
    made = model_of([call], [("x", FLOATS, [2])], ["y"], functions=[own])
    made.opset_import.append(helper.make_opsetid("own", 1))
    loaded = prepare(made)
    for _ in range(2):
        with pytest.raises(LoadError, match="nested too deep"):
            loaded(np.float32([1, 2]))


def test_spoiled_files_raise_nothing_else(tmp_path: Path) -> None:
    """Bytes changed, cut and doubled at random: each file loads and runs, or is a LoadError of one line."""
    _, args, _ = PROGRAMS["ce"]
    model = tilegrad.onnx.export(
        nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Flatten()), args[0], None
    )
    good = model.model_proto.SerializeToString()
    source = random.Random(7)
    said = []
    for _ in range(150):
        data = bytearray(good)
        for _ in range(source.randint(1, 6)):
            place = source.randrange(len(data))
            kind = source.random()
            if kind < 0.7:
                data[place] = source.randrange(256)
            elif kind < 0.85:
                del data[place : place + source.randint(1, 20)]
            else:
                data[place:place] = data[place : place + source.randint(1, 20)]
        try:
            loaded = prepare(bytes(data))
            loaded(*[args[0]] * len(loaded.input_names))
        except LoadError as error:
            said.append(str(error))
    assert len(said) > 20
    assert all(s.startswith("load: ") and "\n" not in s for s in said)


class Recurrent(nn.Module):
    """Its graph computes shapes: of states that are made for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.register_buffer("places", tilegrad.tensor([0, 2]))

    def forward(self, x):
        found, _ = self.lstm(x)
        return found.index_select(1, self.places) + tilegrad.arange(
            x.shape[0], device=x.device
        ).reshape(-1, 1, 1)


def test_numbers_of_shapes_stay_on_the_cpu(device: str, tmp_path: Path) -> None:
    """And tensors that meet them do not: indices of data, a range that is added."""
    tilegrad.manual_seed(0)
    model, x, path = Recurrent().eval(), tilegrad.rand(2, 3, 4), tmp_path / "net.onnx"
    tilegrad.onnx.export(
        model, x, path, input_names=["x"], dynamic_axes={"x": {0: "n"}}, verify=False
    )
    loaded = tilegrad.onnx.load(path).to(device)
    for n in (2, 3):
        x = tilegrad.rand(n, 3, 4)
        made = loaded(x.to(device))
        assert made.device.type == device
        np.testing.assert_allclose(
            made.detach().cpu().numpy(), model(x).detach().numpy(), atol=1e-6
        )

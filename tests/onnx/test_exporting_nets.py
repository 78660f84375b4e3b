"""Nets of some size, ops of the user's own, and what happens where a graph is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import tilegrad
import tilegrad.nn.functional as F
import tilegrad.onnx
from tests.conftest import ROOT
from tilegrad import Tensor, nn
from tilegrad.onnx import LoadError, MismatchError, OnnxExporterError, UnsupportedOperatorError
from tilegrad.onnx.rows import ROWS


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, c: int, k: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(c, k, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(k, k, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(k), nn.BatchNorm2d(k)])
        self.short = nn.Identity()
        if stride != 1 or c != k:
            self.short = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False), nn.BatchNorm2d(k))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)), inplace=True)
        y = self.norms[1](self.second(y))
        y += self.short(x)
        return F.relu(y)


def resnet18(width: int) -> nn.Module:
    """ResNet-18, ``width`` channels wide (64 is the paper's)."""
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    stages = [
        Block(widths[k + first], widths[k + 1], 2 if k and not first else 1)
        for k in range(4)
        for first in (0, 1)
    ]  # fmt: skip
    stem = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    return nn.Sequential(
        *stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 10)
    )


class GPT(nn.Module):
    """A small one; the head is the embedding."""

    def __init__(
        self, tokens: int = 17, width: int = 16, heads: int = 2, depth: int = 2, length: int = 12
    ):
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            [
                nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width),
                               nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)])
                for _ in range(depth)
            ]
        )  # fmt: skip
        self.norm, self.head, self.heads = (
            nn.LayerNorm(width),
            nn.Linear(width, tokens, bias=False),
            heads,
        )
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        N, T = tokens.shape
        x = self.tokens(tokens) + self.places(tilegrad.arange(T))
        for norm, qkv, out, norm2, up, down in self.blocks:
            q, k, v = (
                t.view(N, T, self.heads, -1).transpose(1, 2) for t in qkv(norm(x)).chunk(3, -1)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + out(y.transpose(1, 2).reshape(N, T, -1))
            x = x + down(F.gelu(up(norm2(x))))
        return self.head(self.norm(x))


def compared(
    model: nn.Module, example: Tensor, axes: dict[int, str], others: list[Tensor]
) -> tilegrad.onnx.ONNXProgram:
    """Exported, and run by onnxruntime on inputs of other sizes: equal to 1e-4."""
    made = tilegrad.onnx.export(model, example, input_names=["x"], dynamic_axes={"x": axes})
    session = onnxruntime.InferenceSession(
        made.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    model.eval()
    for x in (example, *others):
        (found,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-4, atol=1e-4)
    return made


def test_resnet18() -> None:
    model = resnet18(4)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    made = compared(model, tilegrad.randn(2, 3, 32, 32), {0: "N"}, [tilegrad.randn(5, 3, 32, 32)])
    assert sum(n.op_type == "Conv" for n in made.model_proto.graph.node) == 20


def test_gpt_with_a_weight_that_is_shared() -> None:
    tilegrad.manual_seed(3)
    model = GPT()
    tokens = tilegrad.randint(0, 17, (2, 6))
    made = compared(
        model,
        tokens,
        {0: "N", 1: "T"},
        [tilegrad.randint(0, 17, (3, 12)), tilegrad.randint(0, 17, (1, 1))],
    )
    names = [i.name for i in made.model_proto.graph.initializer]
    assert names.count("tokens.weight") == 1 and "head.weight" not in names


def test_lstm_with_two_lengths_is_onnx_own_op() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(5, 4, num_layers=2, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    made = compared(Net(), tilegrad.randn(2, 6, 5), {0: "N", 1: "T"}, [tilegrad.randn(4, 9, 5)])
    assert sum(n.op_type == "LSTM" for n in made.model_proto.graph.node) == 2


# ------------------------------------------------------------------------------ ops of the user's own


@tilegrad.elementwise
def squashed(x, y, scale=2.0):
    z = x * scale
    for k in range(2):
        z = z + y / (k + 1)
    if z > 1:
        return exp(-z)  # noqa: F821
    return z if x < y else tanh(z) * max(x, 0.25)  # noqa: F821


@tilegrad.op("own_softmax(x: f[N, M]) -> y: f[N, M]")
def own_softmax(x):
    return tilegrad.exp(x) / tilegrad.exp(x).sum(1, keepdim=True)


def test_formulas_of_the_users() -> None:
    made = tilegrad.onnx.export(
        lambda x, y: squashed(x, y, 1.5), (tilegrad.randn(3, 4), tilegrad.randn(4)), input_names=["x", "y"],
        dynamic_axes={"x": {0: "N"}},
    )  # fmt: skip
    assert "Where" in {n.op_type for n in made.model_proto.graph.node}


def test_an_op_by_its_reference() -> None:
    made = tilegrad.onnx.export(
        own_softmax, tilegrad.randn(3, 4), dynamic_axes={"x": {0: "N"}}, input_names=["x"]
    )
    assert {n.domain for n in made.model_proto.graph.node} == {""}


@tilegrad.op("own_total(total: inout f[N], x: f[N], decay: float = 0.5)")
def own_total(total, x, decay):
    return total * decay + x


@own_total.cpu(tasks=1)
def _(task, total, x, decay, N):
    for j in range(N):
        total[j] = total[j] * decay + x[j]


def test_an_op_that_writes_is_of_a_domain_of_its_own(tmp_path: Path) -> None:
    def model(x):
        total = x * 2
        own_total(total, x, 0.25)
        return total + 1

    path = tmp_path / "own.onnx"
    with pytest.warns(UserWarning, match="a domain of tilegrad's own, .*: it was not compared"):
        made = tilegrad.onnx.export(model, tilegrad.randn(4), path)
    (node,) = [n for n in made.model_proto.graph.node if n.domain == "tilegrad"]
    assert node.op_type == "own_total" and len(node.input) == 2 and len(node.output) == 1
    assert [(a.name, a.f) for a in node.attribute] == [("decay", 0.25)]
    assert ("tilegrad", 1) in [(o.domain, o.version) for o in made.model_proto.opset_import]
    with pytest.raises(LoadError, match="own_total of tilegrad version 1 is not known"):
        tilegrad.onnx.load(path)(tilegrad.randn(4))


def test_a_chain_that_was_fused() -> None:
    @tilegrad.fuse
    def chain(x, y):
        return (x * y + 1).tanh() * x

    tilegrad.onnx.export(chain, (tilegrad.randn(3, 4), tilegrad.randn(3, 4)))


# ------------------------------------------------------------------------------------ what goes wrong


def test_a_wrong_row_is_a_mismatch_that_names_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Softmax(1), nn.Linear(4, 2))
    monkeypatch.setitem(
        ROWS, "softmax", lambda g, step: g.op("LogSoftmax", g.name(step.operands[0]), axis=1)
    )
    with pytest.raises(
        MismatchError,
        match=r"the first node that differs is \d+\.softmax/LogSoftmax.*of the op softmax",
    ):
        tilegrad.onnx.export(model, tilegrad.randn(3, 4))


def test_a_size_that_was_frozen_is_seen_on_the_second_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def frozen(g, step):
        return g.op("Reshape", g.name(step.operands[0]), g.constant(np.int64([3, 8])))

    monkeypatch.setitem(ROWS, "view", frozen)
    with pytest.raises(OnnxExporterError):
        tilegrad.onnx.export(
            lambda x: x.view(x.shape[0], 8) + 1,
            tilegrad.randn(3, 2, 4),
            dynamic_axes={"x": {0: "N"}},
        )


def test_programs_that_depend_on_sizes_otherwise() -> None:
    def by_size(x: Tensor) -> Tensor:
        return x + 1 if x.shape[0] % 2 else x.exp()

    with pytest.raises(OnnxExporterError, match="another one for other sizes of N: at op 0"):
        tilegrad.onnx.export(by_size, tilegrad.randn(3, 2), dynamic_axes={"x": {0: "N"}})

    def by_list(x: Tensor) -> Tensor:
        return x + tilegrad.tensor(list(range(x.shape[0])))

    with pytest.raises(OnnxExporterError, match="hold data that depends on the sizes"):
        tilegrad.onnx.export(by_list, tilegrad.randn(3), dynamic_axes={"x": {0: "N"}})
    tilegrad.onnx.export(by_list, tilegrad.randn(3))  # a size that stays


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout())
    model[0].eval()
    before = {n: t.tolist() for n, t in model.state_dict().items()}
    tilegrad.onnx.export(model, tilegrad.randn(4, 3))
    assert [m.training for m in model] == [False, True, True] and model.training
    assert {n: t.tolist() for n, t in model.state_dict().items()} == before
    how = {"training": tilegrad.onnx.TrainingMode.TRAINING, "input_names": ["x"]}
    tilegrad.onnx.export(model[:2], tilegrad.randn(4, 3), dynamic_axes={"x": {0: "N"}}, **how)
    assert {n: t.tolist() for n, t in model.state_dict().items()} == before
    with pytest.raises(UnsupportedOperatorError, match="dropout: draws random numbers"):
        tilegrad.onnx.export(model, tilegrad.randn(4, 3), **how)


def test_arguments() -> None:
    def program(a: Tensor, pair: tuple[Tensor, Tensor], *, power: int = 1, more: dict) -> dict:
        return {"sum": (a + pair[0] * pair[1]) ** power, "less": a - more["b"]}

    a, b = tilegrad.randn(2, 3), tilegrad.randn(2, 3)
    batch = {0: "N"}
    made = tilegrad.onnx.export(
        program, (a, (b, a)), kwargs={"power": 2, "more": {"b": b}}, output_names=["sum", "less"],
        dynamic_shapes={"a": batch, "pair": (batch, batch), "more": {"b": batch}},
    )  # fmt: skip
    graph = made.model_proto.graph
    assert [i.name for i in graph.input] == ["a", "pair_0", "pair_1", "more_0"]
    assert [o.name for o in graph.output] == ["sum", "less"]
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    with pytest.raises(ValueError, match="has 2 dimensions; got dimension 5"):
        tilegrad.onnx.export(lambda x: x, a, input_names=["x"], dynamic_axes={"x": {5: "N"}})
    with pytest.raises(ValueError, match="opset_version must be 18 to 23"):
        tilegrad.onnx.export(lambda x: x, a, opset=9)
    with pytest.raises(ValueError, match="dynamic_axes or dynamic_shapes"):
        tilegrad.onnx.export(lambda x: x, a, dynamic_axes={"x": [0]}, dynamic_shapes=[{0: "N"}])
    with pytest.raises(OnnxExporterError, match="gives no tensor"):
        tilegrad.onnx.export(lambda x: 1, a)


@pytest.mark.parametrize("opset", [18, 21, 23])
def test_opsets(opset: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        made = tilegrad.onnx.export(layer, tilegrad.randn(2, 5, 8), opset_version=opset)
    assert made.model_proto.opset_import[0].version == opset


def test_torch_onnx_of_a_served_script(tmp_path) -> None:
    code = (
        "import tilegrad; tilegrad.as_torch()\n"
        "import torch, torch.onnx\n"
        "torch.onnx.export(torch.nn.Linear(2, 3), (torch.randn(4, 2),), 'm.onnx', input_names=['x'], dynamic_axes={'x': [0]})\n"
        "print(torch.onnx is tilegrad.onnx, *torch.onnx.load('m.onnx')(torch.randn(7, 2)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.stdout.strip() == "True 7 3", done.stderr

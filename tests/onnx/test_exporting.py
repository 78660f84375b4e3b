"""Exported programs give what they gave: :func:`tilegrad.onnx.export` compares them itself, by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import tilegrad
import tilegrad.onnx
from tests.onnx.programs import PROGRAMS
from tilegrad import nn


def exported(program, args, axes, **options):
    names = [f"in{k}" for k in range(len(args))]
    dynamic = dict(zip(names, axes, strict=True))
    return tilegrad.onnx.export(program, args, input_names=names, dynamic_axes=dynamic, **options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    program, args, axes = PROGRAMS[name]
    made = exported(program, args, axes).model_proto
    for value, example, dims in zip(made.graph.input, args, axes, strict=True):
        sizes = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert sizes == [dims.get(a, n) for a, n in enumerate(example.shape)]


def test_an_mlp_from_a_file_runs_on_a_third_size(tmp_path: Path) -> None:
    """Names, parameters by their own names, and a size that neither the trace nor the comparison saw."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    path = tmp_path / "mlp.onnx"
    tilegrad.onnx.export(
        model, tilegrad.randn(4, 8), path, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}},
        opset=18,
    )  # fmt: skip
    graph = onnx.load(path)
    assert graph.opset_import[0].version == 18
    assert {i.name for i in graph.graph.initializer} == {n for n, _ in model.named_parameters()}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = tilegrad.randn(37, 8)
    (found,) = session.run(["y"], {"x": x.numpy()})
    np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)

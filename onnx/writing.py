"""From a recorded program to an ONNX model: a row for every step that an output needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper

from tilegrad.engine.ops.elementwise import Elementwise
from tilegrad.engine.ops.user import UserOp
from tilegrad.onnx.errors import UnsupportedOperatorError
from tilegrad.onnx.graph import Builder, type_of
from tilegrad.onnx.rows import ROWS, WITHOUT
from tilegrad.onnx.rows.elementwise import elementwise
from tilegrad.onnx.sizes import Size
from tilegrad.onnx.tracing import Step
from tilegrad.onnx.trials import Axes
from tilegrad.onnx.unify import Run

IR_VERSION = 10
CUSTOM = "tilegrad"  # the domain of ops that only tilegrad has


@dataclass
class Written:
    """A model, and what names of it are results of which steps: (step, result, name), in order."""

    model: onnx.ModelProto
    results: list[tuple[int, int, str]]
    custom: bool


def write(run: Run, opset: int, names: dict[int, str], outputs: list[str], axes: Axes) -> Written:
    """The model of a program.

    Args:
        names: of arrays by the number of their storage.
        outputs: names of the outputs.
    """
    g = Builder(opset, names)
    inputs = []
    for value, dims in zip(run.inputs, axes.inputs, strict=True):
        g.bind(value, value.name)
        shape = [
            dims.get(a, n if not isinstance(n, Size) else None) for a, n in enumerate(value.shape)
        ]
        inputs.append(helper.make_tensor_value_info(value.name, type_of(value.dtype), shape))
    results: list[tuple[int, int, str]] = []
    needed = _needed(run)
    for number, step in enumerate(run.steps):
        if id(step) not in needed:
            continue
        for place, name in enumerate(_said(g, step, number)):
            if name is not None:
                results.append((number, place, name))
    infos = []
    for value, name in zip(run.outputs, outputs, strict=True):
        g.node(helper.make_node("Identity", [g.name(value)], [name], name=f"output/{name}"))
        shape = [_output_size(n, run, axes, name, a) for a, n in enumerate(value.shape)]
        infos.append(helper.make_tensor_value_info(name, type_of(value.dtype), shape))
    graph = helper.make_graph(g.nodes, "tilegrad", inputs, infos, g.initializers)
    domains = [
        helper.make_opsetid("", opset),
        *[helper.make_opsetid(d, v) for d, v in g.domains.items()],
    ]
    model = helper.make_model(
        graph, opset_imports=domains, ir_version=IR_VERSION, producer_name="tilegrad"
    )
    return Written(model, results, bool(g.domains))


def _output_size(size: Any, run: Run, axes: Axes, name: str, axis: int) -> Any:
    """A size of an output: a number, the name of an input's dimension that it follows, or unknown."""
    if not isinstance(size, Size):
        return size
    asked = axes.outputs.get(name, {}).get(axis)
    for value, dims in zip(run.inputs, axes.inputs, strict=True):
        for dim, known in dims.items():
            if value.shape[dim] == size:
                return known
    return asked


def _needed(run: Run) -> set[int]:
    """The steps that outputs depend on."""
    found: set[int] = set()
    left = [v.step for v in run.outputs]
    while left:
        step = left.pop()
        if step is not None and id(step) not in found:
            found.add(id(step))
            left += [v.step for v in step.operands]
    return found


def _said(g: Builder, step: Step, number: int) -> list[str | None]:
    """The names of a step's results, which are bound to them."""
    g.place = f"{number}.{step.name}"
    row = ROWS.get(step.name)
    if isinstance(step.op, UserOp):
        made: Any = _custom(g, step.op, step)
    elif row is not None and (step.name == "copy" or not isinstance(step.op, Elementwise)):
        made = row(g, step)
    elif step.name in WITHOUT:
        raise UnsupportedOperatorError(f"export: {step.name}: {WITHOUT[step.name]}")
    elif isinstance(step.op, Elementwise):
        made = elementwise(g, step)
    else:
        raise UnsupportedOperatorError(f"export: {step.name}: ONNX has no op for it")
    names = [made] if isinstance(made, str) else list(made)
    for value, name in zip(step.results, names, strict=True):
        if name is not None:
            g.bind(value, name)
    return names


def _custom(g: Builder, op: UserOp, step: Step) -> list[str]:
    """An op of the user's that writes over its operands: a node of a domain of its own, its scalars as attributes."""
    g.domains[CUSTOM] = 1
    scalars = [s.name for s in op.signature.scalars if s.name not in step.metadata]
    how = dict(step.metadata) | dict(zip(scalars, step.params, strict=True))
    names = [g.name(v) for v in step.operands]
    return g.ops(step.name, *names, count=len(step.results), domain=CUSTOM, **how)

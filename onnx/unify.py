"""One program of several runs: what differs from run to run becomes a :class:`~tilegrad.onnx.sizes.Size`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.engine.array import Array
from tilegrad.onnx.errors import OnnxExporterError
from tilegrad.onnx.sizes import joined, moving
from tilegrad.onnx.tracing import Step, Value


@dataclass
class Run:
    """A recorded run: its inputs, its steps and its outputs."""

    inputs: list[Value]
    steps: list[Step]
    outputs: list[Value]


class Parted(Exception):  # noqa: N818  # a finding, not an error: the caller tries other sizes
    """Two runs are not the same program; says where they part."""


def _numbers(found: Sequence[Any]) -> Any:
    """A piece of metadata in all runs as one."""
    first = found[0]
    if isinstance(first, (tuple, list)):
        if any(not isinstance(f, (tuple, list)) or len(f) != len(first) for f in found):
            raise Parted("their arguments have other lengths")
        return tuple([_numbers(parts) for parts in zip(*found)])
    if isinstance(first, (int, float)) and not isinstance(first, bool):
        return joined(found)
    if any(f is not first and f != first for f in found):
        raise Parted("their arguments differ")
    return first


class _Unified:
    """The values of all runs, one by one made one."""

    def __init__(self, runs: Sequence[Run]):
        self.runs = runs
        self.made: dict[tuple[int, ...], Value] = {}

    def value(self, values: Sequence[Value]) -> Value:
        key = tuple([id(v) for v in values])
        if key not in self.made:
            self.made[key] = self._constant(values)
        return self.made[key]

    def _constant(self, values: Sequence[Value]) -> Value:
        first = values[0]
        if any(v.kind != "const" for v in values):
            raise Parted("they take values of other origins")
        if any(v.dtype is not first.dtype or len(v.shape) != len(first.shape) for v in values):
            raise Parted("their constants have other dtypes or dimensions")
        shape = _numbers([v.shape for v in values])
        data, fill = first.data, first.fill
        if fill is not None and all(v.fill == fill for v in values[1:]):
            pass
        elif (
            all(isinstance(v.data, Array) for v in values)
            and len({id(v.data.storage) for v in values}) == 1
        ):
            pass  # a parameter, or another array that all runs share
        else:
            data, fill = _same_data(values, shape)
        return Value(shape, first.dtype, first.strides, "const", data, fill)

    def declare(self, values: Sequence[Value], step: Step | None) -> Value:
        first = values[0]
        if any(v.dtype is not first.dtype or len(v.shape) != len(first.shape) for v in values):
            raise Parted("their results have other dtypes or dimensions")
        shape, strides = (_numbers([getattr(v, n) for v in values]) for n in ("shape", "strides"))
        made = Value(shape, first.dtype, strides, first.kind, None, None, step, first.name)
        self.made[tuple([id(v) for v in values])] = made
        return made

    def step(self, steps: Sequence[Step]) -> Step:
        first = steps[0]
        if any(s.name != first.name or len(s.operands) != len(first.operands) for s in steps):
            raise Parted(f"one calls {' and the other '.join(sorted({s.name for s in steps}))}")
        if any(s.metadata.keys() != first.metadata.keys() for s in steps):
            raise Parted("their arguments differ")
        operands = tuple([self.value(vs) for vs in zip(*[s.operands for s in steps])])
        metadata = {n: _numbers([s.metadata[n] for s in steps]) for n in first.metadata}
        params = _numbers([s.params for s in steps])
        made = Step(first.name, first.op, operands, (), params, metadata, first.how)
        if len(first.how) and any(s.how != first.how for s in steps):
            made.how = tuple([_planned(parts) for parts in zip(*[s.how for s in steps])])
        if any(len(s.results) != len(first.results) for s in steps):
            raise Parted("one gives more results")
        made.results = tuple([self.declare(vs, made) for vs in zip(*[s.results for s in steps])])
        return made


def _planned(found: Sequence[Any]) -> Any:
    """What planners were made with: an object that is not a number is looked at by its slots."""
    if all(f is found[0] for f in found):
        return found[0]
    if hasattr(found[0], "groups"):  # rows of a normalisation
        names = ("n", "S", "groups", "centred")
        return _Rows(*[_numbers([getattr(f, n) for f in found]) for n in names])
    return _numbers(found)


@dataclass
class _Rows:
    """How an array splits into rows (:class:`tilegrad.engine.ops.norm.Rows`), in all runs."""

    n: Any
    S: Any
    groups: Any
    centred: bool


def _same_data(values: Sequence[Value], shape: Any) -> tuple[Any, Any]:
    """(elements, None) of constants that are the same in all runs, or (None, number) of those that are one
    number all over.
    """
    arrays = [v.numpy() for v in values]
    first = arrays[0]
    if not moving(shape) and all(
        np.array_equal(a, first, equal_nan=a.dtype.kind == "f") for a in arrays
    ):
        return first.copy(), None
    numbers = {a.ravel()[0].item() for a in arrays if a.size}
    if len(numbers) == 1 and all((a == a.ravel()[0]).all() for a in arrays if a.size):
        return None, numbers.pop()
    if first.size == 1 and not moving(shape):
        return np.array([a.item() for a in arrays]), joined([a.item() for a in arrays])
    raise Parted(
        "they hold data that depends on the sizes of inputs and was not made by ops (a NumPy array, a list, "
        "or numbers read from a tensor)"
    )


def unify(runs: Sequence[Run]) -> Run:
    """The program of which these are runs.

    Raises:
        Parted: they are not runs of one program.
    """
    all_ = _Unified(runs)
    inputs = [all_.declare(vs, None) for vs in zip(*[r.inputs for r in runs])]
    steps = []
    for number, group in enumerate(zip(*[r.steps for r in runs])):
        try:
            steps.append(all_.step(group))
        except Parted as parted:
            raise Parted(f"at op {number} ({group[0].name}) {parted}") from None
    if len({len(r.steps) for r in runs}) > 1:
        raise Parted(f"one has {' and the other '.join(str(len(r.steps)) for r in runs)} ops")
    if len({len(r.outputs) for r in runs}) > 1:
        raise Parted("one has more outputs")
    return Run(inputs, steps, [all_.value(vs) for vs in zip(*[r.outputs for r in runs])])


def require_one(runs: Sequence[Run]) -> Run:
    """:func:`unify` of a single run, which cannot part."""
    try:
        return unify(runs)
    except Parted as parted:
        raise OnnxExporterError(f"export: {parted}") from None

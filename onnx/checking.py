"""Comparing an exported model with the program that it was made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tilegrad.engine.array import to_numpy
from tilegrad.onnx.errors import MismatchError, OnnxExporterError
from tilegrad.onnx.graph import type_of
from tilegrad.onnx.trials import Trial
from tilegrad.onnx.writing import Written

Feeds = dict[str, np.ndarray]


def runner(model: onnx.ModelProto) -> Callable[[Feeds], list[np.ndarray]]:
    """What runs a model: onnxruntime, or ONNX's reference where that is not installed or lacks a kernel for a
    dtype.
    """
    reference = _reference(model)
    try:
        import onnxruntime
    except ImportError:
        return reference
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        ready = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return reference
    return lambda feeds: list(ready.run(None, feeds))


def _reference(model: onnx.ModelProto) -> Callable[[Feeds], list[np.ndarray]]:
    def run(feeds: Feeds) -> list[np.ndarray]:
        from onnx.reference import ReferenceEvaluator

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feeds)]

    return run


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    """Whether two arrays are equal, floats to ``tolerance``, of float64 to a thousandth of it."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind != "f":
        return np.array_equal(found, wanted)
    allowed = tolerance if wanted.dtype == np.float32 else tolerance / 1000
    return np.allclose(found, wanted, rtol=allowed, atol=allowed, equal_nan=True)


def check(
    made: Written,
    record: Callable[..., tuple[Any, Any, list[np.ndarray]]],
    seen: Sequence[Trial],
    tolerance: float,
) -> None:
    """Check the model, and compare it on these inputs.

    Raises:
        OnnxExporterError: ONNX's checker refuses it, or the runtime does.
        MismatchError: results differ.
    """
    try:
        onnx.checker.check_model(made.model, full_check=not made.custom)
    except Exception as error:
        raise OnnxExporterError(f"export: the checker refuses the graph: {_line(error)}") from None
    if made.custom:
        warnings.warn(
            "export: the graph has ops of a domain of tilegrad's own, which no runtime has: it was not compared",
            stacklevel=3,
        )
        return
    try:
        run = runner(made.model)
    except Exception as error:
        raise OnnxExporterError(f"export: the runtime refuses the graph: {_line(error)}") from None
    names = [i.name for i in made.model.graph.input]
    for trial in seen:
        _, _, wanted = record(trial)
        feeds = {n: to_numpy(x.detach().contiguous()) for n, x in zip(names, trial, strict=True)}
        try:
            found = run(feeds)
        except Exception as error:
            raise MismatchError(
                f"export: the graph does not run on inputs of {_shapes(feeds)}: {_line(error)}"
            ) from None
        for output, a, b in zip(made.model.graph.output, found, wanted, strict=True):
            if not close(a, b, tolerance):
                raise MismatchError(
                    f"export: on inputs of {_shapes(feeds)} the graph's {output.name} {_apart(a, b)}; "
                    f"{first_difference(made, record, trial, feeds, tolerance)}"
                )


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:400] or type(error).__name__


def _shapes(feeds: Feeds) -> str:
    return ", ".join(f"{n} {tuple(x.shape)}" for n, x in feeds.items())


def _apart(found: np.ndarray, wanted: np.ndarray) -> str:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return f"is {tuple(found.shape)} {found.dtype} and the program's {tuple(wanted.shape)} {wanted.dtype}"
    with np.errstate(all="ignore"):
        gap = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    return f"differs by {np.nanmax(gap):.3g}"


def first_difference(
    made: Written, record: Callable[..., tuple[Any, Any, list[np.ndarray]]], trial: Trial, feeds: Feeds,
    tolerance: float,
) -> str:  # fmt: skip
    """Which node differs first, by the results of all steps."""
    run, _, _ = record(trial, keep=True)
    model = onnx.ModelProto()
    model.CopyFrom(made.model)
    known = {o.name for o in model.graph.output}
    asked: dict[str, Any] = {}
    for number, place, name in made.results:
        if number < len(run.steps) and place < len(run.steps[number].results):
            value = run.steps[number].results[place]
            if value.data is not None and name not in known and name not in asked:
                asked[name] = run.steps[number], value
                info = helper.make_tensor_value_info(name, type_of(value.dtype), None)
                model.graph.output.append(info)
    try:
        found = dict(zip([o.name for o in model.graph.output], runner(model)(feeds)))
    except Exception as error:
        return f"its nodes could not be looked at: {_line(error)}"
    makers = {o: n for n in model.graph.node for o in n.output}
    for name, (step, value) in asked.items():
        if not close(found[name], value.data, tolerance):
            node = makers[name]
            return (
                f"the first node that differs is {node.name} ({node.op_type}), of the op {step.name}: it "
                f"{_apart(found[name], value.data)}"
            )
    return "no step before the outputs differs"

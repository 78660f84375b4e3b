"""Models from elsewhere on tilegrad's kernels."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tilegrad.autograd.mode import no_grad
from tilegrad.engine.memory import at_most
from tilegrad.nn.modules.module import Module
from tilegrad.nn.parameter import Parameter
from tilegrad.onnx.errors import LoadError
from tilegrad.onnx.messages import ModelProto
from tilegrad.onnx.reading import MOST_BYTES, Weights, parse, read_model
from tilegrad.onnx.running import Runner, numbers
from tilegrad.onnx.tables.call import DTYPES, constant

MOST_MEMORY = 1 << 34  # bytes that a run may take


class OnnxModel(Module):
    """The graph of a file as a module: its floating-point weights are parameters, its other tensors buffers, but for
    a few whole numbers in a row (shapes, axes): these are constants, which stay on the CPU.

    Called with tensors (or NumPy arrays) in the order of its inputs, or by their names.

    Attributes:
        input_names, output_names: of the graph.
    """

    def __init__(self, model: ModelProto, weights: Weights, most_memory: float = MOST_MEMORY):
        super().__init__()
        self._most_memory = most_memory
        graph = model.graph
        assert graph is not None  # the reader refuses models without one
        self._places: dict[str, str] = {}
        self._constants: dict[str, Any] = {}
        for proto in graph.initializer:
            data = constant(weights.array(proto))
            if numbers(data):
                self._constants[proto.name] = data
                continue
            place = self._place(proto.name)
            if data.is_floating_point():
                self.register_parameter(place, Parameter(data))
            else:
                self.register_buffer(place, data)
            self._places[proto.name] = place
        known = {*self._places, *self._constants}
        self.input_names = [i.name for i in graph.input if i.name not in known]
        self.output_names = [o.name for o in graph.output]
        self._optional = {
            i.name for i in graph.input if i.type is not None and i.type.optional_type is not None
        }
        self._graph = copy.copy(graph)
        self._graph.initializer = []
        self._runner = Runner(model, weights)

    def _place(self, name: str) -> str:
        """A name of an attribute that no other weight has."""
        stem = re.sub(r"\W", "_", name) or "weight"
        stem = f"w_{stem}" if hasattr(self, stem) or stem[0].isdigit() else stem
        place, count = stem, 1
        while place in self._places.values():
            place, count = f"{stem}_{count}", count + 1
        return place

    def input_types(self) -> list[tuple[str, str | None, tuple[int | None, ...]]]:
        """(name, dtype, shape) of each input: None for a dtype that is none of tensors here, and for open sizes."""
        found = []
        for value in self._graph.input:
            if value.name not in self.input_names:
                continue
            kind = value.type and value.type.tensor_type
            known = DTYPES.get(kind.elem_type) if kind else None
            dims = kind.shape.dim if kind and kind.shape else []
            sizes = tuple(d.dim_value if d.dim_value > 0 else None for d in dims)
            found.append((value.name, known.name if known else None, sizes))
        return found

    def forward(self, *args: Any, **inputs: Any) -> Any:
        """The outputs of the graph: one, or a tuple of them.

        Raises:
            TypeError: inputs are missing, or there are others.
            LoadError: a node cannot run on them.
        """
        if len(args) > len(self.input_names):
            raise TypeError(f"the graph has {len(self.input_names)} inputs; got {len(args)}")
        given = dict(zip(self.input_names, args)) | inputs
        missing = [n for n in self.input_names if n not in given and n not in self._optional]
        if missing or len(given) > len({*self.input_names, *given} & {*self.input_names}):
            raise TypeError(f"the graph's inputs are {self.input_names}; got {sorted(given)}")
        scope: dict[str, Any] = {n: _as_input(given.get(n)) for n in self.input_names}
        scope |= self._constants
        scope |= {name: getattr(self, place) for name, place in self._places.items()}
        self._runner.run.depth = self._runner.run.steps = 0
        with at_most(self._most_memory):
            found = self._runner.graph(self._graph, (), scope, self._runner.versions)
        return found[0] if len(found) == 1 else tuple(found)

    def __deepcopy__(self, memo: Any) -> OnnxModel:
        raise TypeError("a loaded graph is not copied: load it again")


def _as_input(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return constant(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return [_as_input(v) for v in value]
    return value


def load(
    path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES, most_memory: float = MOST_MEMORY
) -> OnnxModel:
    """The model of an ONNX file, which runs on tilegrad's kernels, gradients included.

    The file may come from anywhere: nothing in it is run but tensor operations, weights are read from its folder
    alone, and what is wrong with it is one line.

    Args:
        path: of the file.
        most_bytes: of the file with its weights.
        most_memory: bytes that a run may take beside them.

    Raises:
        LoadError: it is no such file, is not whole, or holds what tilegrad lacks.
    """
    model = read_model(path, most_bytes)
    return prepare(model, Path(path).parent, most_bytes, most_memory)


def prepare(
    model: Any,
    folder: str | os.PathLike[str] | None = None,
    most_bytes: int = MOST_BYTES,
    most_memory: float = MOST_MEMORY,
) -> OnnxModel:
    """:func:`load` of a model that was read already: as here, as bytes, or as ``onnx.ModelProto``."""
    if hasattr(model, "SerializeToString"):
        model = model.SerializeToString()
    if isinstance(model, (bytes, memoryview)):
        model = parse(model)
    if not isinstance(model, ModelProto):
        raise LoadError(f"load: a model expected; got {type(model).__name__}")
    try:
        with no_grad():
            return OnnxModel(model, Weights(folder, most_bytes), most_memory)
    except LoadError:
        raise
    except Exception as error:  # names that are no text, and what else a spoiled file may hold
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise LoadError(f"load: the model is not whole: {text}") from None

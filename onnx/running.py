"""Running the nodes of a graph, one by one, by the functions of :mod:`tilegrad.onnx.tables`."""

from __future__ import annotations

import copy
import threading
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.kernels.faults import MissingKernelError
from tilegrad.onnx import definitions
from tilegrad.onnx.errors import LoadError
from tilegrad.onnx.messages import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
)
from tilegrad.onnx.reading import Weights
from tilegrad.onnx.tables import TABLE, Call
from tilegrad.onnx.tables.call import DTYPES, constant

Scope = MutableMapping[str, Any]
MOST_DEPTH = 48
MOST_STEPS = 1 << 24  # nodes that one call runs: functions of functions and loops multiply
MOST_DEFINITIONS = 1024  # that are kept: one may depend on the shapes of its inputs
_NUMBERS = {kind: number for number, kind in DTYPES.items()}
MOST_NUMBERS = 64  # elements of a tensor of whole numbers that is computed with on the CPU: of shapes and the like
# whose inputs behind the first are read as numbers, wherever they are
_NUMBERS_FOLLOW = frozenset(
    ["AffineGrid", "CenterCropPad", "Clip", "Col2Im", "ConstantOfShape", "CumSum", "DFT", "Dropout", "Expand", "Loop", "If", "Scan", "MelWeightMatrix", "OneHot", "Pad", "Range", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Reshape", "Resize", "Slice", "Split", "SplitToSequence", "Squeeze", "STFT", "Tile", "TopK", "Trilu", "Unsqueeze", "Upsample"]
)  # fmt: skip
_SAME = {"ai.onnx": ""}
HOMES = {
    1: "f",
    2: "i",
    3: "s",
    4: "t",
    5: "g",
    6: "floats",
    7: "ints",
    8: "strings",
}  # of attributes, by type


class _Run(threading.local):
    """Where a thread is: how deep in graphs and functions, and how many nodes it has run."""

    depth = 0
    steps = 0


class Runner:
    """What runs a model's graphs.

    Args:
        model: the model; only its graphs and functions are looked at.
        weights: reads its tensors.
    """

    def __init__(self, model: ModelProto, weights: Weights):
        self.weights = weights
        self.versions = versions_of(model.opset_import)
        self.functions = {(_home(f.domain), f.name): f for f in model.functions}
        self._definitions: dict[Any, FunctionProto] = {}
        self.run = _Run()

    def tensor(self, proto: TensorProto) -> Tensor:
        """A tensor of the file, made once."""
        if proto.made is None:
            proto.made = constant(self.weights.array(proto))
        found: Tensor = proto.made
        return found

    def graph(
        self, graph: GraphProto, inputs: Sequence[Any], outer: Scope, versions: Mapping[str, int],
        bound: Mapping[str, AttributeProto] | None = None,
    ) -> list[Any]:  # fmt: skip
        """The outputs of a graph on inputs in order; names that it lacks are those of ``outer``."""
        scope: Scope = ChainMap({}, outer)
        for proto in graph.initializer:
            scope[proto.name] = self.tensor(proto)
        if graph.sparse_initializer:
            raise LoadError("load: sparse tensors are not supported")
        if len(inputs) > len(graph.input):
            raise LoadError(f"load: a graph of {len(graph.input)} inputs was given {len(inputs)}")
        scope.update(zip([i.name for i in graph.input], inputs))
        self.nodes(graph.node, scope, versions, bound or {})
        return [self._value(scope, o.name, "an output") for o in graph.output]

    def nodes(
        self, nodes: Sequence[NodeProto], scope: Scope, versions: Mapping[str, int],
        bound: Mapping[str, AttributeProto],
    ) -> None:  # fmt: skip
        """Run nodes in order; their results go to ``scope``."""
        run = self.run
        run.depth += 1
        if run.depth > MOST_DEPTH:
            raise LoadError("load: graphs or functions are nested too deep")
        for node in nodes:
            run.steps += 1
            if run.steps > MOST_STEPS:
                raise LoadError(f"load: more than {MOST_STEPS} nodes are run")
            title = f"{node.name or node.op_type} ({node.op_type})"
            inputs = [self._value(scope, n, title) if n else None for n in node.input]
            try:
                made = self._run(node, inputs, scope, versions, bound)
            except (LoadError, MissingKernelError):
                raise
            except (MemoryError, RecursionError):
                raise LoadError(f"load: {title}: out of memory") from None
            except Exception as error:  # whatever a wrong graph brings tilegrad's functions to say
                text = " ".join(str(error).split())[:240]
                raise LoadError(f"load: {title}: {text or type(error).__name__}") from None
            for name, value in zip(node.output, made, strict=False):
                if name:
                    scope[name] = value
        run.depth -= 1

    def _value(self, scope: Scope, name: str, who: str) -> Any:
        if name not in scope:
            raise LoadError(f"load: {who} reads {name!r}, which nothing gives")
        return scope[name]

    def _run(
        self, node: NodeProto, inputs: Sequence[Any], scope: Scope, versions: Mapping[str, int],
        bound: Mapping[str, AttributeProto],
    ) -> Sequence[Any]:  # fmt: skip
        domain = _home(node.domain)
        given = _attributes(node, bound)
        inputs = _on_one_device(node.op_type, inputs)
        own = self.functions.get((domain, node.op_type))
        if own is not None:
            return self.function(own, inputs, given)
        function = TABLE.get((domain, node.op_type))
        version = versions.get(domain, 1)
        if function is None:
            return self._by_definition(node, inputs, given, domain, version)
        attributes = {name: self._attribute(a) for name, a in given.items()}

        def run(graph: GraphProto, values: Sequence[Any]) -> list[Any]:
            return self.graph(graph, values, scope, versions, bound)

        count = max([k + 1 for k, name in enumerate(node.output) if name], default=0)
        call = Call(node.op_type, version, attributes, count, run, list(node.output))
        made = function(call, *inputs)
        return made if isinstance(made, (tuple, list)) else (made,)

    def _attribute(self, attribute: AttributeProto) -> Any:
        home = HOMES.get(attribute.type)
        if home is None:
            raise LoadError(
                f"load: the attribute {attribute.name} is of a kind that is not supported"
            )
        value = getattr(attribute, home)
        if home == "t":
            if value is None:
                raise LoadError(f"load: the attribute {attribute.name} has no tensor")
            return self.weights.array(value)
        if home == "s":
            return value.decode("utf-8", "replace")
        if home == "strings":
            return [s.decode("utf-8", "replace") for s in value]
        return value

    # ----------------------------------------------------------------------------------- functions

    def function(
        self,
        function: FunctionProto,
        inputs: Sequence[Any],
        given: Mapping[str, AttributeProto],
    ) -> list[Any]:
        """A function of nodes, which sees its inputs alone."""
        scope: Scope = dict.fromkeys(function.input)
        scope.update(zip(function.input, inputs))
        bound = {a.name: a for a in function.attribute_proto} | dict(given)
        self.nodes(function.node, scope, versions_of(function.opset_import), bound)
        return [
            scope.get(name) for name in function.output
        ]  # one that is not asked for may be missing

    def _by_definition(
        self, node: NodeProto, inputs: Sequence[Any], given: Mapping[str, AttributeProto], domain: str, version: int
    ) -> list[Any]:  # fmt: skip
        """An operator that no function runs, by its definition in others, if ONNX has one.

        Raises:
            LoadError: it has none.
        """
        key = (id(node), *[_kind_of(v) for v in inputs])
        found = self._definitions.get(key)
        if found is None:
            if len(self._definitions) >= MOST_DEFINITIONS:
                self._definitions.clear()
            found = definitions.of(node, list(given.values()), domain, version, key[1:])
            self._definitions[key] = found
        return self.function(found, inputs, given)


def numbers(x: Tensor) -> bool:
    """Whether a tensor is small and of whole numbers, as shapes and places in them are: kept on the CPU, which asks
    for their values.
    """
    return x.ndim < 2 and x.numel() <= MOST_NUMBERS and x.dtype.name in ("int64", "int32", "bool")


def _on_one_device(op: str, inputs: Sequence[Any]) -> Sequence[Any]:
    """The inputs of a node where it needs them: small whole numbers on the CPU, others on the model's device."""
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if len({x.device for x in tensors}) < 2 or op in _NUMBERS_FOLLOW:
        return inputs
    host = all(numbers(x) for x in tensors)
    device = "cpu" if host else next(x.device for x in tensors if x.device.type != "cpu")
    return [x.to(device) if isinstance(x, Tensor) else x for x in inputs]


def _home(domain: str) -> str:
    return _SAME.get(domain, domain)


def versions_of(imports: Any) -> dict[str, int]:
    """Versions of operator sets by their domain."""
    return {_home(i.domain): i.version for i in imports}


def _attributes(node: NodeProto, bound: Mapping[str, AttributeProto]) -> dict[str, AttributeProto]:
    """A node's attributes; those that name one of the function they are in are that, if it is given."""
    found = {}
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            found[attribute.name] = attribute
        elif attribute.ref_attr_name in bound:
            made = copy.copy(bound[attribute.ref_attr_name])
            made.name = attribute.name
            found[attribute.name] = made
    return found


def _kind_of(value: Any) -> Any:
    """What a definition may depend on: element type and shape of a tensor, in a tuple that of a sequence's."""
    if isinstance(value, Tensor):
        return _NUMBERS[value.dtype], tuple(value.shape)
    if isinstance(value, list) and value:
        return (_kind_of(value[0]),)
    return None

"""An ONNX graph being written: nodes, initializers, and numbers that follow the sizes of inputs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tilegrad.engine.array import Array
from tilegrad.engine.dtype import DType
from tilegrad.onnx.errors import OnnxExporterError
from tilegrad.onnx.formulas_of_sizes import Known, Recipe, find
from tilegrad.onnx.sizes import Number, Size, moving, product
from tilegrad.onnx.tracing import Step, Value

TYPES = {
    "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int8": TensorProto.INT8, "int16": TensorProto.INT16,
    "int32": TensorProto.INT32, "int64": TensorProto.INT64, "uint8": TensorProto.UINT8, "bool": TensorProto.BOOL,
}  # fmt: skip


def type_of(dtype: DType) -> int:
    """ONNX's number of a dtype.

    Raises:
        OnnxExporterError: it has none.
    """
    if dtype.name not in TYPES:
        raise OnnxExporterError(f"export: dtype {dtype.name} is not exported")
    return int(TYPES[dtype.name])


class Builder:
    """The graph so far.

    Attributes:
        opset: the version of ONNX's operators that nodes are written for.
        domains: versions of other operator sets that nodes use.
    """

    def __init__(self, opset: int, names: dict[int, str]):
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.domains: dict[str, int] = {}
        self.place = ""  # of the step whose nodes are being written
        self._given = names  # of arrays by the number of their storage: parameters
        self._names: dict[int, str] = {}  # of values
        self._values: list[Value] = []  # held, so that numbers stay theirs
        self._constants: dict[Any, str] = {}
        self._known: list[Known] = []
        self._sizes: dict[Size, str] = {}
        self._shapes: dict[str, str] = {}
        self._count = itertools.count()

    # ---------------------------------------------------------------------------------- values

    def bind(self, value: Value, name: str) -> None:
        """``value`` is what the graph calls ``name``."""
        self._names[id(value)] = name
        self._values.append(value)
        for axis, size in enumerate(value.shape):
            if isinstance(size, Size):
                self._known.append(Known(size, name, axis))

    def has(self, value: Value) -> bool:
        """Whether the graph has this value."""
        return value.kind == "const" or id(value) in self._names

    def name(self, value: Value) -> str:
        """What the graph calls ``value``; a constant becomes an initializer when it is first asked for."""
        found = self._names.get(id(value))
        if found is None:
            if value.kind != "const":
                raise OnnxExporterError(
                    f"export: {value.step.name if value.step else 'an op'} gives a result that ONNX does not "
                    f"have, and the program uses it"
                )
            found = self._constant(value)
            self._names[id(value)] = found
            self._values.append(value)
        return found

    def _constant(self, value: Value) -> str:
        if isinstance(value.fill, Size):  # a number worked out from sizes
            return self.number(value.fill, value.dtype)
        if moving(value.shape):
            one = self.constant(np.array(value.fill, value.dtype.numpy))
            return self.op("Expand", one, self.ints(value.shape))
        if value.fill is not None and value.shape:
            if product(value.shape) > 64:
                made = numpy_helper.from_array(np.array([value.fill], value.dtype.numpy))
                return self.op("ConstantOfShape", self.ints(value.shape), value=made)
            return self.constant(value.numpy())
        if isinstance(value.data, Array):
            given = self._given.get(id(value.data.storage))
            key = ("array", id(value.data.storage), value.data.layout, value.data.address)
            if given is not None and key not in self._constants:
                name = given if not self._taken(given) else self.fresh(given)
                self._constants[key] = self._initializer(value.numpy(), name)
            if key in self._constants:
                return self._constants[key]
        return self.constant(value.numpy())

    def _taken(self, name: str) -> bool:
        return any(i.name == name for i in self.initializers)

    def _initializer(self, data: np.ndarray, name: str) -> str:
        self.initializers.append(
            numpy_helper.from_array(np.ascontiguousarray(data).reshape(data.shape), name)
        )
        return name

    def constant(self, data: Any, dtype: Any = None) -> str:
        """An initializer of these elements; one for all that are alike."""
        array = np.asarray(data, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._initializer(array, self.fresh("const"))
        return self._constants[key]

    def like(self, value: Value, number: float) -> str:
        """``number`` as a scalar of the dtype of ``value``."""
        return self.constant(np.array(number, value.dtype.numpy))

    # ----------------------------------------------------------------------------------- nodes

    def fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        return f"{stem}_{next(self._count)}"

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one result, whose name this is."""
        return self.ops(kind, *inputs, count=1, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, count: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node with ``count`` results."""
        outputs = [self.fresh(kind.lower()) for _ in range(count)]
        given = {n: v for n, v in attributes.items() if v is not None}
        node = helper.make_node(
            kind,
            list(inputs),
            outputs,
            name=self.fresh(f"{self.place}/{kind}"),
            domain=domain,
            **given,
        )
        self.nodes.append(node)
        return outputs

    def node(self, node: onnx.NodeProto) -> None:
        """Take a node that was made elsewhere."""
        self.nodes.append(node)

    def cast(self, name: str, dtype: DType) -> str:
        """``name`` in another dtype."""
        return self.op("Cast", name, to=type_of(dtype))

    # ----------------------------------------------------------------------------------- sizes

    def shape(self, name: str) -> str:
        """The shape of ``name``, int64."""
        if name not in self._shapes:
            self._shapes[name] = self.op("Shape", name)
        return self._shapes[name]

    def size(self, size: Number) -> str:
        """``size`` as int64 of shape (1,)."""
        if not isinstance(size, Size):
            return self.constant([size], np.int64)
        if size not in self._sizes:
            recipe = find(size, self._known)
            if recipe is None:
                raise OnnxExporterError(
                    f"export: {self.place}: a number that is {', '.join(map(str, size.values))} with other "
                    f"sizes of inputs does not follow from them"
                )
            self._sizes[size] = self._follow(recipe)
        return self._sizes[size]

    def _follow(self, recipe: Recipe) -> str:
        total = self.constant([recipe.factor], np.int64) if recipe.factor != 1 else ""
        for known in recipe.known:
            one = self.op("Gather", self.shape(known.name), self.constant([known.axis], np.int64))
            total = self.op("Mul", total, one) if total else one
        if recipe.plus:
            total = self.op("Add", total, self.constant([recipe.plus], np.int64))
        if recipe.divisor != 1:
            total = self.op("Div", total, self.constant([recipe.divisor], np.int64))
        if recipe.after:
            total = self.op("Add", total, self.constant([recipe.after], np.int64))
        return total

    def ints(self, values: Sequence[Number]) -> str:
        """These numbers as one int64 tensor."""
        if not moving(tuple(values)):
            return self.constant(np.array(list(values), np.int64).reshape(-1))
        return self.op("Concat", *[self.size(v) for v in values], axis=0)

    def number(self, value: Number, dtype: DType) -> str:
        """A scalar that may follow the sizes of inputs; of a float also its root or its reciprocal."""
        if not isinstance(value, Size):
            return self.constant(np.array(value, dtype.numpy))
        for power in (1.0, 2.0, -1.0, -2.0):
            whole = [v**power if v or power > 0 else np.inf for v in value.values]
            if all(abs(w - round(w)) < 1e-4 * max(1, abs(w)) and w < 2**53 for w in whole):
                base = self.size(Size(tuple([round(w) for w in whole])))
                made = self.cast(self.op("Squeeze", base, self.constant([0], np.int64)), dtype)
                if power == 1.0:
                    return made
                return self.op("Pow", made, self.constant(np.array(1 / power, dtype.numpy)))
        raise OnnxExporterError(
            f"export: {self.place}: a number that is {', '.join(map(str, value.values))} with other sizes of "
            f"inputs does not follow from them"
        )

    # --------------------------------------------------------------------------- common idioms

    def reshape(self, name: str, shape: Sequence[Number], of: Value | None = None) -> str:
        """``name`` in another shape. Sizes that ``of`` has in the same place are left as they are, and one that
        follows from the others is left out, so that few need to be worked out.
        """
        wanted: list[Any] = list(shape)
        if of is not None:
            for axis, size in enumerate(wanted):
                if isinstance(size, Size) and axis < len(of.shape) and size == of.shape[axis]:
                    wanted[axis] = 0
        loose = [axis for axis, size in enumerate(wanted) if isinstance(size, Size)]
        if len(loose) == 1 and 0 not in shape:
            wanted[loose[0]] = -1
        if 0 in shape:
            return self.op("Reshape", name, self.ints(shape), allowzero=1)
        return self.op("Reshape", name, self.ints(wanted))

    def transpose(self, name: str, order: Sequence[int]) -> str:
        """The dimensions in another order."""
        if list(order) == list(range(len(order))):
            return name
        return self.op("Transpose", name, perm=list(order))

    def axes(self, axes: Sequence[int]) -> str:
        """Axes, as an input."""
        return self.constant(np.array(list(axes), np.int64))

    def slice(self, name: str, axis: int, start: Number, stop: Number | None, step: int = 1) -> str:
        """Part of one dimension."""
        end: Number = np.iinfo(np.int64).max if stop is None else stop
        return self.op(
            "Slice", name, self.size(start), self.size(end), self.axes([axis]), self.size(step)
        )


def rank(value: Value) -> int:
    """Number of dimensions."""
    return len(value.shape)


__all__ = ["Builder", "Step", "TYPES", "Value", "rank", "type_of"]

"""One node of a graph that is running, and the table of what runs nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from tilegrad.autograd.rules.creation import from_numpy, tensor
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.onnx import reading
from tilegrad.onnx.errors import LoadError

DTYPES: dict[int, DType] = {
    number: dt.BY_NAME[kind.name] for number, kind in reading.DTYPES.items()
}
MOST_ELEMENTS = 1 << 31  # of a tensor that a number in the file makes


def dtype_of(number: int) -> DType:
    """The dtype of an ONNX element type.

    Raises:
        LoadError: tilegrad has none for it.
    """
    reading.dtype_of_number(number)
    return DTYPES[number]


class Call:
    """A node as it runs.

    Attributes:
        kind: the operator. version: of its operator set.
        attributes: by name, as Python values; tensors as NumPy arrays, graphs as they are.
        count: how many results are asked for.
        run: runs a graph that is an attribute, on inputs in order.
    """

    __slots__ = ("attributes", "count", "kind", "names", "run", "version")

    def __init__(
        self, kind: str, version: int, attributes: dict[str, Any], count: int,
        run: Callable[[Any, Sequence[Any]], list[Any]], names: Sequence[str],
    ):  # fmt: skip
        self.kind, self.version, self.attributes, self.count, self.run = (
            kind,
            version,
            attributes,
            count,
            run,
        )
        self.names = names

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def refuse(self, what: str) -> LoadError:
        """The error that this node cannot run."""
        return LoadError(f"load: {self.kind}: {what}")


Function: TypeAlias = Callable[..., Any]
TABLE: dict[tuple[str, str], Function] = {}  # by domain and operator


def says(*names: str, domain: str = "") -> Callable[[Function], Function]:
    """Decorator: the function ``(call, *inputs)`` that runs these operators."""

    def take(function: Function) -> Function:
        for name in names:
            TABLE[domain, name] = function
        return function

    return take


def plain(function: Callable[..., Any], *names: str) -> None:
    """A function of tensors alone runs these operators."""

    def run(call: Call, *inputs: Any) -> Any:
        return function(*inputs)

    says(*names)(run)


def ints(x: Tensor) -> list[int]:
    """The elements of an integer tensor."""
    found = x.reshape(-1).tolist()
    return [int(v) for v in found]


def number(x: Tensor | None, default: Any = None) -> Any:
    """The one element of a tensor."""
    return default if x is None else x.reshape(-1)[0].item()


def constant(data: Any, dtype: DType | None = None) -> Tensor:
    """A tensor of NumPy's or Python's numbers."""
    if isinstance(data, np.ndarray):
        made = from_numpy(np.array(data, order="C", copy=True))
        return made if dtype is None else made.to(dtype)
    return tensor(data, dtype=dtype)


def checked_sizes(call: Call, shape: Sequence[int]) -> tuple[int, ...]:
    """Sizes that numbers in the graph ask for.

    Raises:
        LoadError: more elements than a graph may ask for, or negative ones.
    """
    total = 1
    for size in shape:
        total *= max(int(size), 1)
    if total > MOST_ELEMENTS or any(s < 0 for s in shape):
        raise call.refuse(f"a tensor of sizes {list(shape)[:8]} is too large")
    return tuple(int(s) for s in shape)

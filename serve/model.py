"""A module with what it takes and gives: arrays of examples, the batch first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.autograd.rules.softmax import softmax
from tilegrad.autograd.tensor import Tensor

DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


@dataclass(frozen=True)
class Input:
    """One operand of a model.

    Attributes:
        name: by which requests speak of it.
        shape: of one example, without the batch.
        dtype: its name, one of :data:`DTYPES`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if any(type(size) is not int or size < 1 for size in self.shape):
            raise ValueError(f"Input: sizes must be positive whole numbers; got {self.shape!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"Input: dtype must be one of {', '.join(DTYPES)}; got {self.dtype!r}")

    @property
    def nbytes(self) -> int:
        """Of one example."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def image(self) -> tuple[int, int, int] | None:
        """(channels, height, width) where an example may be an image; None elsewhere."""
        sizes = (1, *self.shape) if len(self.shape) == 2 else self.shape
        if len(sizes) != 3 or sizes[0] not in (1, 3, 4) or min(sizes[1:]) < 2:
            return None
        return sizes if self.dtype in ("float32", "float64", "uint8") else None  # type: ignore[return-value]


class Model:
    """What a server calls: ``module`` on batches of examples, without gradients.

    Args:
        module: a callable of one tensor for each input, with the batch in its first dimension, which gives a
            tensor, or several (a tuple, a list, or a dict by name), with a row for each example.
        inputs: the inputs in order, or the shape of the one float32 input's examples.
        name: what the page calls it.
        softmax: whether the only output is scores of classes, of which probabilities are to be made.
        batch: the only batch that the module takes; None if it takes any.
        outputs: names of the outputs.
        device: where the module lies.

    Raises:
        ValueError: names of inputs are not unique.
    """

    def __init__(
        self,
        module: Callable[..., Any],
        inputs: Sequence[Input] | tuple[int, ...],
        *,
        name: str = "model",
        softmax: bool = False,
        batch: int | None = None,
        outputs: Sequence[str] | None = None,
        device: str = "cpu",
    ):
        self.module, self.name, self.softmax = module, name, softmax
        self.batch, self.device = batch, device
        if all(isinstance(i, Input) for i in inputs) and inputs:
            self.inputs: tuple[Input, ...] = tuple(i for i in inputs if isinstance(i, Input))
        else:
            self.inputs = (Input("input", tuple(inputs)),)  # type: ignore[arg-type]
        if len({i.name for i in self.inputs}) < len(self.inputs):
            raise ValueError(f"Model: two inputs have one name: {[i.name for i in self.inputs]}")
        self.outputs = list(outputs) if outputs else None
        self.shapes: dict[str, list[int]] = {}

    def sizes(self, max_batch: int) -> list[int]:
        """The batches that are computed, ascending: powers of two up to ``max_batch``, so that few kernels and plans
        serve any number of requests; others are filled up.
        """
        if self.batch is not None:
            return [self.batch]
        return [1 << k for k in range(max_batch.bit_length()) if 1 << k < max_batch] + [max_batch]

    def warm(self, max_batch: int) -> None:
        """Run every size of batch once, and keep the outputs' shapes.

        Raises:
            ValueError: the module cannot run, or its outputs have no row for each example.
        """
        for size in self.sizes(max_batch):
            zeros = [np.zeros((size, *i.shape), i.dtype) for i in self.inputs]
            try:
                found = self(zeros)
            except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError,
                    ValueError) as error:  # fmt: skip
                raise ValueError(f"it cannot run on a batch of {size}: {error}") from error
            self.shapes = {name: list(rows.shape[1:]) for name, rows in found.items()}

    def __call__(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for a batch, by name, each with a row for each example."""
        with no_grad():
            found = self.module(*(from_numpy(a).to(self.device) for a in arrays))
            named = self._named(found)
            if self.softmax:
                ((_, scores),) = named.items()
                named = {"probabilities": softmax(scores, dim=-1)}
            result = {name: value.cpu().numpy() for name, value in named.items()}
        count = len(arrays[0])
        for name, rows in result.items():
            if rows.ndim == 0 or len(rows) != count:
                raise ValueError(
                    f"the output {name} has shape {rows.shape}, which is no row for each of {count} examples"
                )
        return result

    def _named(self, found: Any) -> dict[str, Tensor]:
        if isinstance(found, Mapping):
            values, names = list(found.values()), [str(name) for name in found]
        else:
            values = list(found) if isinstance(found, (tuple, list)) else [found]
            names = ["output"] if len(values) == 1 else [f"output_{k}" for k in range(len(values))]
            names = self.outputs if self.outputs and len(self.outputs) == len(values) else names
        for value in values:
            if not isinstance(value, Tensor):
                raise TypeError(f"outputs must be tensors; got {type(value).__name__}")
        if self.softmax and (len(values) != 1 or values[0].ndim != 2):
            raise ValueError(
                "softmax is of one output (N, classes); the outputs have shapes "
                f"{[tuple(v.shape) for v in values]}"
            )
        return dict(zip(names, values, strict=True))

    def describe(self) -> dict[str, Any]:
        """For ``GET /model``: names, shapes, dtypes, and what the page needs to know."""
        only = self.inputs[0] if len(self.inputs) == 1 else None
        image = only.image if only else None
        return {
            "name": self.name,
            "inputs": [
                {"name": i.name, "shape": list(i.shape), "dtype": i.dtype} for i in self.inputs
            ],
            "outputs": [{"name": name, "shape": shape} for name, shape in self.shapes.items()],
            "probabilities": self.softmax,
            "image": dict(zip(("channels", "height", "width"), image)) if image else None,
        }

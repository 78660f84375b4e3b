"""One row of the table of ops: how to call it, on what, and what may differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOATS = ("float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
NUMBERS = (*FLOATS, *INTEGERS)
ALL = (*NUMBERS, "bool")


@dataclass(frozen=True)
class Arg:
    """A random array argument: shape, and how to fill it.

    Attributes:
        shape: sizes.
        low, high: uniform range (integers: inclusive low, exclusive high).
        dtype: fixed dtype; None takes the dtype under test.
        away: points to keep away from (kinks), by ``margin``.
        values: exact contents instead of random ones.
        distinct: a random permutation of well separated values (for max, sort, …).
    """

    shape: tuple[int, ...]
    low: float = -3.0
    high: float = 3.0
    dtype: str | None = None
    away: tuple[float, ...] = ()
    margin: float = 0.05
    values: Any = None
    distinct: bool = False

    def make(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        """A fresh array for a test in ``dtype``."""
        kind = np.dtype(self.dtype or dtype)
        if self.values is not None:
            return np.array(self.values, kind).reshape(self.shape)
        if kind.kind == "b":
            return rng.integers(0, 2, self.shape).astype(bool)
        if self.distinct:
            count = int(np.prod(self.shape))
            return (
                rng.permutation(np.linspace(self.low, self.high, count))
                .astype(kind)
                .reshape(self.shape)
            )
        if kind.kind in "iu":
            low = max(int(np.ceil(self.low)), 0) if kind.kind == "u" else int(np.ceil(self.low))
            return rng.integers(low, max(int(self.high), low + 1), self.shape).astype(kind)
        x = rng.uniform(self.low, self.high, self.shape)
        for point in self.away:
            near = np.abs(x - point) < self.margin
            x = np.where(near, point + 2 * self.margin * np.where(x < point, -1, 1), x)
        return x.astype(kind)


@dataclass(frozen=True)
class Case:
    """One op in one use.

    Attributes:
        name: for the test's id: the op, then what is particular (``"softmax-dim0"``).
        call: ``call(t, *tensors)`` where ``t`` is the module ``tilegrad`` or ``torch``; returns a
            tensor or a tuple of tensors. Both sides run this same function.
        args: the array arguments.
        dtypes: dtypes to run in.
        differentiable: which arguments get a gradient check (all floating ones by default);
            ``()`` for none.
        second_order: whether gradgradcheck runs.
        numeric: False where the arguments sit on a kink, so that finite differences see one side
            and the other: gradients are compared with PyTorch's alone.
        strided: also run with non-contiguous arguments.
        special: also run forward with NaN, inf and signed zeros sprinkled in.
        tolerance: factor on the dtype's tolerance, with the ``reason`` why.
        simulated: tests that also run on the GPU. Where another row runs the same kernels in the
            same way, a long simulation may be left to that one.
    """

    name: str
    call: Callable[..., Any]
    args: tuple[Arg, ...]
    dtypes: tuple[str, ...] = FLOATS
    differentiable: tuple[int, ...] | None = None
    second_order: bool = True
    numeric: bool = True
    strided: bool = True
    special: bool = False
    tolerance: float = 1.0
    reason: str = ""
    simulated: tuple[str, ...] = ("forward", "strided", "gradient")

    def gradient_positions(self) -> tuple[int, ...]:
        """Arguments that the gradient checks vary."""
        if self.differentiable is not None:
            return self.differentiable
        return tuple(i for i, a in enumerate(self.args) if a.dtype in (None, *FLOATS))

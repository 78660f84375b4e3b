"""A fused function that ends in a reduction: one kernel computes the elements and combines them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.custom_reduction import Reduction
from tilegrad.autograd.reduction_parts import Parts
from tilegrad.autograd.rules.reduce import Dims, dims_of, reduced_count
from tilegrad.engine import calls
from tilegrad.engine.array import Layout
from tilegrad.engine.device import CPU
from tilegrad.engine.shape import broadcast_shapes
from tilegrad.kernels.formulas.arithmetic import maximum, minimum
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import add


@inline
def largest(a, b):  # type: ignore[no-untyped-def]
    """The larger; NaN if either is."""
    return maximum(a, b)


@inline
def smallest(a, b):  # type: ignore[no-untyped-def]
    """The smaller; NaN if either is."""
    return minimum(a, b)


Way = Callable[[tuple[Tensor, ...]], object]  # the result for a call's tensors, or None

_INFINITE = float("inf")
# how two partial results combine, and what changes nothing
KINDS: dict[str, tuple[DeviceFunction, float]] = {
    "sum": (add, 0.0), "mean": (add, 0.0), "amax": (largest, -_INFINITE), "amin": (smallest, _INFINITE),
}  # fmt: skip


@dataclass(frozen=True)
class Reduced:
    """What a symbol's reduction gives: a function may return it, and do nothing else with it.

    Attributes:
        symbol: of the elements; kind: one of :data:`KINDS`.
        dim, keepdim: as they were given.
    """

    symbol: Any
    kind: str
    dim: Dims
    keepdim: bool


class Ending:
    """The reduction of the elements that ``formula`` gives of operands named ``names``."""

    def __init__(self, title: str, formula: DeviceFunction, names: tuple[str, ...], end: Reduced):
        combine, identity = KINDS[end.kind]
        parts = Parts(title, (identity,), (combine,), (formula,), None, names, {}, "float", False)
        self.work = Reduction(parts, "float", None)
        self.title, self.kind, self.dim, self.keepdim = title, end.kind, end.dim, end.keepdim

    def __call__(self, operands: list[Any]) -> Any:
        """The result.

        Raises:
            IndexError: the largest of nothing.
        """
        where = next((t.device for t in operands if t.layout.device is not CPU), CPU)
        operands = [t if t.layout.ndim else t.to(where) for t in operands]
        shape = broadcast_shapes(self.title, *(t.layout.shape for t in operands))
        dims = dims_of(self.kind, self.dim, len(shape))
        count = reduced_count(shape, dims)
        if self.kind in ("amax", "amin") and not count:
            empty = next(d for d in dims if not shape[d])
            raise IndexError(
                f"{self.title}: Expected reduction dim {empty} to have non-zero size; got {shape}"
            )
        made = self.work.other(tuple(operands), self.dim, self.keepdim, (), None)
        return made / count if self.kind == "mean" else made

    def way(self, places: tuple[int, ...], layouts: tuple[Layout, ...]) -> Way | None:
        """The straight way of a call whose operands are at ``places`` of its tensors, of these layouts; None
        where there is none. It gives None where there is more to be looked at.
        """
        kinds = [layouts[p] for p in places]
        if any(k.device is not kinds[0].device for k in kinds):
            return None
        shape = broadcast_shapes(self.title, *(k.shape for k in kinds))
        dims, keepdim = dims_of(self.kind, self.dim, len(shape)), bool(self.keepdim)
        count = reduced_count(shape, dims)
        if not count:
            return None
        alike = all(k.shape == shape and k.dtype is kinds[0].dtype for k in kinds)
        same, work, divided = places == tuple(range(len(layouts))), self.work, self.kind == "mean"
        op = work.op

        def way(tensors: tuple[Tensor, ...]) -> object:
            given = tensors if same else tuple([tensors[p] for p in places])
            for t in given:
                if t._tracked or t._base is not None:
                    break
            else:
                made = calls.run(op, *given, dims, keepdim)
                return made if made is None or not divided else made / count
            if not alike or work.recorded is None:
                return None
            made = work.recorded.at(given, (dims, keepdim))
            return made / count if divided else made

        return way

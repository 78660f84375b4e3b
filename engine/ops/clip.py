"""The norm of many arrays taken together, and its limit."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, composed, kernel
from tilegrad.engine.ops.elementwise import contiguous, copy, row_major
from tilegrad.engine.transfer import to_device


def _plan_norm(*layouts: Layout) -> Plan:
    first = layouts[0]
    for kind in layouts:
        if kind.dtype is not first.dtype:
            raise RuntimeError(
                f"total_norm: arrays must have one dtype; got {first.dtype} and {kind.dtype}"
            )
    family = kernel("clip", first.device)
    launch = family.total_norm(first.dtype.name, tuple([kind.numel for kind in layouts]))

    def launched(*addresses: int) -> None:
        table = array("q", addresses[:-1])
        launch(table.buffer_info()[0], addresses[-1])

    return Plan((layout((), first.dtype, first.device),), launched)


_norm = row_major("total_norm", _plan_norm)


def total_norm(arrays: Sequence[Array]) -> Array:
    """The 2-norm of all elements, zero-dimensional, in the arrays' common dtype."""
    result: Array = _norm(*arrays)
    return result


def _plan_shrink(*layouts: Layout) -> Plan:
    *kinds, norm = layouts
    if not all(kind.contiguous for kind in kinds):
        return composed(_shrink_copies)
    launch = kernel("clip", norm.device).shrink_to(
        norm.dtype.name, tuple([kind.numel for kind in kinds])
    )
    count = len(kinds)

    def launched(*given: Any) -> None:
        table = array("q", given[:count])
        launch(table.buffer_info()[0], given[count], given[count + 1])

    return Plan((), launched, writes=tuple(range(count)), device=norm.device)


def _shrink_copies(arrays: tuple[Array, ...], params: tuple[Any, ...]) -> None:
    *given, norm = arrays
    ready = [contiguous(a) for a in given]
    _shrink(*ready, norm, params=params)
    for target, made in zip(given, ready, strict=True):
        if made is not target:
            copy(made, target)


_shrink = Op("shrink", _plan_shrink)  # writes over all operands but the last, the norm


def shrink(arrays: Sequence[Array], norm: Array, limit: float) -> None:
    """Scale the arrays, in place, by ``min(1, limit / (norm + 1e-6))``.

    Args:
        norm: their norm, zero-dimensional, of their dtype; on their device or on the CPU.
    """
    _shrink(*arrays, to_device(norm, arrays[0].layout.device), params=(limit,))

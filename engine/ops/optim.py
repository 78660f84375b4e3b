"""Optimizer steps over all parameters of a group at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilegrad.engine.array import Array, Layout, empty_layout, layout
from tilegrad.engine.dispatch import kernel, same_device
from tilegrad.engine.dtype import float32
from tilegrad.engine.ops import elementwise
from tilegrad.engine.shape import permutation_of
from tilegrad.kernels.updates import UPDATES


def state_names(rule: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the state arrays and of the float32 scalars that a rule keeps per parameter."""
    update = UPDATES[rule]
    return update.state, update.scalars


def state_layout(parameter: Layout) -> Layout:
    """How state of a parameter lies in memory: as the parameter, without gaps."""
    if _dense(parameter):
        return parameter
    return layout(parameter.shape, parameter.dtype, parameter.device)


def _dense(kind: Layout) -> bool:
    return kind.contiguous or permutation_of(kind.shape, kind.strides) is not None


def step(rule: str, rows: Sequence[Sequence[Array]], hypers: tuple[float, ...]) -> None:
    """One step of ``rule``, in place.

    Args:
        rule: a name in :data:`~tilegrad.kernels.updates.UPDATES`.
        rows: per parameter: the parameter, its gradient, the state arrays, the scalars (float32,
            zero-dimensional). Arrays are float32 or float64, all of the parameter's dtype.
        hypers: the rule's hyperparameters.

    Raises:
        RuntimeError: shapes or dtypes in a row differ.
    """
    by_dtype: dict[tuple[object, object], list[Sequence[Array]]] = {}
    for row in rows:
        kind = row[0].layout
        by_dtype.setdefault((kind.dtype, kind.device), []).append(row)
    for alike in by_dtype.values():
        _step(rule, alike, hypers)


def _step(rule: str, rows: list[Sequence[Array]], hypers: tuple[float, ...]) -> None:
    arrays = 2 + len(UPDATES[rule].state)
    scalar = layout((), float32, rows[0][0].layout.device)
    flat: list[int] = []
    ready: list[Sequence[Array]] = []
    for row in rows:
        kind = row[0].layout
        same = _dense(kind)
        for place, array in enumerate(row):
            same = same and array.layout is (kind if place < arrays else scalar)
        laid = row if same else _laid_out(rule, row, arrays)
        ready.append(laid)
        for array in laid:
            flat.append(array.address)
    kind = rows[0][0].layout
    launch = kernel("optim", kind.device).optim_step(
        rule, kind.dtype.name, tuple([row[0].layout.numel for row in rows])
    )
    table = np.array(flat, np.int64)
    launch(table.ctypes.data, *hypers)
    for row, laid in zip(rows, ready, strict=True):
        if laid is not row:
            for target, source in zip(row[2:arrays], laid[2:arrays], strict=True):
                _put(target, source)
            _put(row[0], laid[0])
        for place, written in enumerate(row):
            if place != 1:
                written.storage.version += 1


def _laid_out(rule: str, row: Sequence[Array], arrays: int) -> Sequence[Array]:
    """The row with every array in the same gapless order of elements."""
    kind = row[0].layout
    same_device(rule, [array.layout for array in row])
    for array in row[1:arrays]:
        if array.layout.shape != kind.shape or array.layout.dtype is not kind.dtype:
            raise RuntimeError(
                f"{rule}: gradient and state must have the parameter's shape and dtype; "
                f"got {array.layout.describe()} for {kind.describe()}"
            )
    for array in row[arrays:]:
        if array.layout.dtype is not float32 or array.layout.numel != 1:
            raise RuntimeError(
                f"{rule}: scalar state must be one float32; got {array.layout.describe()}"
            )
    target = state_layout(kind)
    return [
        a if a.layout is target or k >= arrays else elementwise.copy.into(empty_layout(target), a)
        for k, a in enumerate(row)
    ]


def _put(target: Array, source: Array) -> None:
    if target is not source:
        elementwise.copy.into(target, source)

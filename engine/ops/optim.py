"""Optimizer steps over all parameters of a group at once."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial
from typing import Any

from tilegrad.engine.array import Array, Layout, empty_layout, layout
from tilegrad.engine.dispatch import Op, Plan, composed, kernel, same_device
from tilegrad.engine.dtype import float32
from tilegrad.engine.ops.elementwise import copy
from tilegrad.engine.shape import permutation_of
from tilegrad.kernels.updates import UPDATES, Update


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
    STEPS[rule](*[array for row in rows for array in row], params=hypers)


def _rows(update: Update, flat: Sequence[Any]) -> list[Sequence[Any]]:
    """What belongs to one parameter, each."""
    width = 2 + len(update.state) + len(update.scalars)
    return [flat[at : at + width] for at in range(0, len(flat), width)]


def _plan(rule: str, *layouts: Layout) -> Plan:
    update = UPDATES[rule]
    rows = _rows(update, layouts)
    arrays, first = 2 + len(update.state), layouts[0]
    if any(row[0].dtype is not first.dtype or row[0].device is not first.device for row in rows):
        return composed(partial(_by_dtype, rule))
    if not all(_fits(rule, row, arrays) for row in rows):
        return composed(partial(_laid_out, rule))
    step = kernel("optim", first.device).optim_step(
        rule, first.dtype.name, tuple([row[0].numel for row in rows])
    )
    count, width = len(layouts), len(rows[0])
    return Plan(
        (),
        _by_table(step, count),
        writes=tuple([place for place in range(count) if place % width != 1]),
        device=first.device,
    )


STEPS = {rule: Op(rule, partial(_plan, rule), anywhere=True) for rule in UPDATES}


def _by_table(launch: Any, count: int) -> Any:
    """A launch that takes ``count`` addresses, for one that takes the address of a table of them."""

    def launched(*given: Any) -> None:
        table = array("q", given[:count])
        launch(table.buffer_info()[0], *given[count:])

    return launched


def _fits(rule: str, row: Sequence[Layout], arrays: int) -> bool:
    """Whether every array of a row has the same gapless order of elements.

    Raises:
        DeviceError: they lie on several devices.
        RuntimeError: shapes or dtypes differ.
    """
    kind = row[0]
    same_device(rule, list(row))
    for other in row[1:arrays]:
        if other.shape != kind.shape or other.dtype is not kind.dtype:
            raise RuntimeError(
                f"{rule}: gradient and state must have the parameter's shape and dtype; "
                f"got {other.describe()} for {kind.describe()}"
            )
    for other in row[arrays:]:
        if other.dtype is not float32 or other.numel != 1:
            raise RuntimeError(f"{rule}: scalar state must be one float32; got {other.describe()}")
    return _dense(kind) and all(other is kind for other in row[1:arrays])


def _by_dtype(rule: str, flat: tuple[Array, ...], hypers: tuple[float, ...]) -> None:
    """A step for the parameters of each dtype and device."""
    alike: dict[Any, list[Array]] = {}
    for row in _rows(UPDATES[rule], flat):
        kind = row[0].layout
        alike.setdefault((kind.dtype, kind.device), []).extend(row)
    for group in alike.values():
        STEPS[rule](*group, params=hypers)


def _laid_out(rule: str, flat: tuple[Array, ...], hypers: tuple[float, ...]) -> None:
    """A step over copies in one order of elements, of arrays that differ in it."""
    update = UPDATES[rule]
    arrays = 2 + len(update.state)
    ready: list[Array] = []
    for row in _rows(update, flat):
        target = state_layout(row[0].layout)
        for place, given in enumerate(row):
            kept = given.layout is target or place >= arrays
            ready.append(given if kept else copy(given, empty_layout(target)))
    STEPS[rule](*ready, params=hypers)
    for row, laid in zip(_rows(update, flat), _rows(update, ready), strict=True):
        for place in (0, *range(2, arrays)):
            if laid[place] is not row[place]:
                copy(laid[place], row[place])

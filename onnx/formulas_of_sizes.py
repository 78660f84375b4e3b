"""How a number that differs from run to run follows from sizes that the graph knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilegrad.onnx.sizes import Size


class Known(NamedTuple):
    """A size that the graph has: dimension ``axis`` of ``name``."""

    size: Size
    name: str
    axis: int


class Recipe(NamedTuple):
    """``(factor * known[0] * … + plus) // divisor + after``."""

    known: tuple[Known, ...]
    factor: int = 1
    plus: int = 0
    divisor: int = 1
    after: int = 0


_LARGEST_DIVISOR = 64


def find(size: Size, known: Sequence[Known]) -> Recipe | None:
    """The simplest recipe that gives ``size`` in every run; None if there is none.

    A size itself goes first, then one times and plus numbers, then a product of two, then one divided
    with the fraction dropped. Three runs with unrelated sizes leave little to chance, and a fourth is what
    the exported graph is compared on.
    """
    distinct: dict[Size, Known] = {}
    for one in known:
        distinct.setdefault(one.size, one)
    if size in distinct:
        return Recipe((distinct[size],))
    singles = list(distinct.values())
    for one in singles:
        line = _line(size, one.size.values)
        if line is not None:
            return Recipe((one,), *line)
    for i, one in enumerate(singles):
        for other in singles[i:]:
            both = [a * b for a, b in zip(one.size.values, other.size.values)]
            line = _line(size, both)
            if line is not None and line[1] == 0:
                return Recipe((one, other), *line)
    for one in singles:
        divided = _divided(size, one)
        if divided is not None:
            return divided
    return None


def _line(size: Size, values: Sequence[int]) -> tuple[int, int] | None:
    """(factor, plus) with ``factor * value + plus`` in every run."""
    base = 0
    other = next((k for k, v in enumerate(values) if v != values[base]), None)
    if other is None:
        return None
    rise, run = size.values[other] - size.values[base], values[other] - values[base]
    if rise % run:
        return None
    factor = rise // run
    plus = size.values[base] - factor * values[base]
    if factor == 0 or any(factor * v + plus != s for v, s in zip(values, size.values)):
        return None
    return factor, plus


def _divided(size: Size, one: Known) -> Recipe | None:
    for divisor in range(2, _LARGEST_DIVISOR + 1):
        for plus in range(divisor):
            parts = [(v + plus) // divisor for v in one.size.values]
            after = {s - p for s, p in zip(size.values, parts)}
            if len(after) == 1:
                return Recipe((one,), 1, plus, divisor, after.pop())
    return None

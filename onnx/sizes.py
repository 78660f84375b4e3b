"""Numbers that are known in several runs of one program, with inputs of other sizes each."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias


class Size:
    """A number that differs from run to run, by its value in each: arithmetic goes run by run, and a
    result that is the same in all runs is a plain number.
    """

    __slots__ = ("values",)

    def __init__(self, values: tuple[Any, ...]):
        self.values = values

    def __repr__(self) -> str:
        return f"Size{self.values}"

    def __hash__(self) -> int:
        return hash(self.values)

    def __eq__(self, other: object) -> bool:
        """Whether they are the same in every run."""
        return isinstance(other, Size) and other.values == self.values

    def _with(
        self, function: Callable[[Any, Any], Any], other: Number, turned: bool = False
    ) -> Any:
        others = other.values if isinstance(other, Size) else (other,) * len(self.values)
        pairs = zip(others, self.values) if turned else zip(self.values, others)
        return joined([function(a, b) for a, b in pairs])

    def __add__(self, other: Number) -> Any:
        return self._with(operator.add, other)

    def __radd__(self, other: Number) -> Any:
        return self._with(operator.add, other, True)

    def __sub__(self, other: Number) -> Any:
        return self._with(operator.sub, other)

    def __rsub__(self, other: Number) -> Any:
        return self._with(operator.sub, other, True)

    def __mul__(self, other: Number) -> Any:
        return self._with(operator.mul, other)

    def __rmul__(self, other: Number) -> Any:
        return self._with(operator.mul, other, True)

    def __floordiv__(self, other: Number) -> Any:
        return self._with(operator.floordiv, other)

    def __mod__(self, other: Number) -> Any:
        return self._with(operator.mod, other)

    def __neg__(self) -> Any:
        return self._with(operator.mul, -1)


Number: TypeAlias = "int | float | Size"
Sizes: TypeAlias = "tuple[Any, ...]"


def joined(values: Iterable[Any]) -> Any:
    """The number that has these values in the runs: itself where they are all alike."""
    found = tuple(values)
    first = found[0]
    if all(v == first and type(v) is type(first) for v in found):
        return first
    return Size(found)


def product(sizes: Iterable[Number]) -> Any:
    """Of all of them; 1 of none."""
    total: Any = 1
    for size in sizes:
        total = size * total if isinstance(size, Size) else total * size
    return total


def moving(value: object) -> bool:
    """Whether there is a :class:`Size` in a number or nested tuples."""
    if isinstance(value, (tuple, list)):
        return any(moving(v) for v in value)
    return isinstance(value, Size)

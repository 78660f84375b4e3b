"""Shapes as users see and give them."""

from __future__ import annotations

from typing import Any


def sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    for size in given:
        if size.__class__ is not int:
            break
    else:
        return given
    if len(given) == 1 and not isinstance(given[0], int):
        first = given[0]
        given = tuple(first) if isinstance(first, (tuple, list, range)) else given
    return tuple(int(s) for s in given)


class Size(tuple):  # type: ignore[type-arg]
    """A shape: a tuple of ints that can count elements."""

    __slots__ = ()

    def numel(self) -> int:
        """Product of the sizes."""
        count = 1
        for size in self:
            count *= size
        return count

    def __repr__(self) -> str:
        return f"tilegrad.Size({list(self)})"

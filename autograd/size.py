"""Shapes as users see and give them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex, overload

from tilegrad.engine.shape import as_index


def sizes(given: tuple[object, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    for size in given:
        if size.__class__ is not int:
            break
    else:
        return given  # type: ignore[return-value]  # each is an int
    if len(given) == 1 and not isinstance(given[0], int):
        first = given[0]
        given = tuple(first) if isinstance(first, (tuple, list, range)) else given
    return tuple(_whole(place, size) for place, size in enumerate(given))


class Size(tuple[int, ...]):
    """A shape: a tuple of ints that can count elements; its slices, sums and multiples are shapes."""

    __slots__ = ()

    def __new__(cls, sizes: Iterable[object] = ()) -> Size:
        """A shape of ints, or of what stands for one (an integer tensor, a NumPy integer).

        Raises:
            TypeError: an item is no integer.
        """
        made = tuple(sizes)
        for size in made:
            if size.__class__ is not int:
                made = tuple([_whole(place, item) for place, item in enumerate(made, 1)])
                break
        return tuple.__new__(cls, made)

    def numel(self) -> int:
        """Product of the sizes."""
        count = 1
        for size in self:
            count *= size
        return count

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> Size: ...
    def __getitem__(self, key: SupportsIndex | slice) -> int | Size:
        found = tuple.__getitem__(self, key)
        return _shape(found) if isinstance(found, tuple) else found

    def __add__(self, other: object) -> Size:
        if not isinstance(other, tuple):
            raise TypeError(f"can only concatenate tuple (not {type(other).__name__}) to Size")
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: object) -> Size:
        return Size(other).__add__(self) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, count: SupportsIndex) -> Size:
        return _shape(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[object, ...]:
        return Size, (tuple(self),)

    def __repr__(self) -> str:
        return f"tilegrad.Size({list(self)})"


def _shape(sizes: tuple[int, ...]) -> Size:
    return tuple.__new__(Size, sizes)


def _whole(place: int, size: object) -> int:
    if hasattr(size, "__index__") and (place or not isinstance(size, bool)):
        try:
            return as_index("sizes", size, "size", place)
        except TypeError as error:
            if "failed to unpack" in str(error):
                raise
    raise TypeError(f"sizes: must be 'int' (item {place} is {type(size).__name__!r})")

"""Memory that several arrays of a pickle have in common."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, empty, window
from tilegrad.engine.ops import elementwise


class Shared:
    """What a storage is in a pickle: disjoint runs of bytes, sorted, with the arrays over each. When
    loaded arrays overlap, their runs become one.
    """

    __slots__ = ("begins", "ends", "runs")

    def __init__(self) -> None:
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.runs: list[tuple[Array, list[tuple[Array, int]]]] = []

    def add(self, begin: int, data: Array, made: Array, offset: int) -> None:
        """``made`` is to lie ``offset`` bytes into the storage, whose bytes from ``begin`` on are
        ``data``.
        """
        end, shown = begin + data.layout.nbytes, [(made, offset)]
        low, high = bisect_right(self.ends, begin), bisect_left(self.begins, end)
        if low < high:
            first, last = self.begins[low], self.ends[high - 1]
            known, over = self.runs[low]
            if first <= begin and end <= last and high - low == 1:
                over.append((made, offset))
                begin, data = first, known
            else:
                pieces = [(begin, data)]
                for start, (held, others) in zip(
                    self.begins[low:high], self.runs[low:high], strict=True
                ):
                    pieces.append((start, held))
                    shown += others
                begin, end = min(begin, first), max(end, last)
                data = _joined(begin, end, pieces)
        if len(shown) > 1 or low >= high:
            high = max(low, high)
            self.begins[low:high], self.ends[low:high] = [begin], [end]
            self.runs[low:high] = [(data, shown)]
        for array, place in shown:
            array.storage, array.address = data.storage, data.address + place - begin


def _joined(begin: int, end: int, pieces: list[tuple[int, Array]]) -> Array:
    """The bytes from ``begin`` to ``end``, from pieces that overlap."""
    whole = empty((end - begin,), dt.uint8, pieces[0][1].layout.device)
    for start, data in pieces:
        part = window(whole, data.layout.shape, data.layout.strides, start - begin)
        elementwise.copy(data, part)
    return whole

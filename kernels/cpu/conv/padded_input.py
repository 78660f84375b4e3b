"""The padded input: a copy in which every tap of a window is one offset, whatever padding and stride.

It holds rows of ``pitch`` elements. In a *dense* padded input a row is as long as the output's, and
is kept once for each different tap along it, shifted by that tap: consecutive output pixels, across
rows too, read consecutive elements. In a *flat* one a row is kept once with its padding, and the
zeros at its end serve as those at the start of the next: less to copy, but a few elements between the
rows are computed and dropped.

In the other two dimensions, input ``i`` of stride ``s`` is put at ``q`` of *stride residue* ``f``, where
``i + before = q * s + f``.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.conv.copy import copy_rows, store_zeros
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.window import Triple

# Indices of a padded input's part of a parameter block, an array of int64.
SIZE, STRIDE, BEFORE, DEPTHS, ROWS, PITCH, SHIFTS, TABLE, RESIDUE, CHANNEL, ZEROS = (
    0, 3, 6, 9, 10, 11, 12, 13, 14, 15, 16,
)  # fmt: skip
PADDED_PARAMS = 17


class PaddedInput(NamedTuple):
    """Where one channel's copy keeps its elements.

    Attributes:
        size, stride, before: of the input; see the module.
        shifts: per copy of a row, which (padded) input comes first.
        depths, rows, pitch: extent of an item in memory.
        items: how many of them a channel holds of each stride residue, one after the other.
        zeros: elements after the last that are set to zero.
        slack: elements after the last, at least a vector more, that a store may spill to.
        flat: whether there is one copy only, whose rows serve all shifts.
    """

    size: Triple
    stride: Triple
    before: Triple
    shifts: tuple[int, ...]
    depths: int
    rows: int
    pitch: int
    items: int
    zeros: int
    slack: int
    flat: bool = False

    @property
    def item(self) -> int:
        """Elements from an item to the next."""
        return self.depths * self.rows * self.pitch

    @property
    def residue(self) -> int:
        """Elements from a stride residue to the next."""
        return self.items * self.item + self.slack

    @property
    def channel(self) -> int:
        """Elements from a channel to the next."""
        return len(self.shifts) * self.stride[0] * self.stride[1] * self.residue

    def offset(self, tap_offset: Triple) -> int:
        """The element that output 0 reads for a tap ``tap_offset`` inputs after the first (padded) one."""
        (d, h, w), (sd, sh, _) = tap_offset, self.stride
        shift, column = (0, w) if self.flat else (self.shifts.index(w), 0)
        residue = (shift * sd + d % sd) * sh + h % sh
        return residue * self.residue + (d // sd * self.rows + h // sh) * self.pitch + column

    def params(self, table: np.ndarray) -> list[int]:
        """The padded input's part of a parameter block."""
        return [
            *self.size, *self.stride, *self.before, self.depths, self.rows, self.pitch,
            len(self.shifts), table.ctypes.data, self.residue, self.channel, self.zeros,
        ]  # fmt: skip

    def table(self) -> np.ndarray:
        """Per copy: the column that is put first, the first and the last valid one as they are put;
        per stride residue of the rows: the first valid row and the end.
        """
        numbers = []
        for shift in self.shifts:
            column = shift - self.before[2]
            first, last = _valid(self.size[2], self.stride[2], -column)
            first = min(first, self.pitch)
            numbers += [column, first, max(first, min(last, self.pitch))]
        for residue in range(self.stride[1]):
            numbers += _valid(self.size[1], self.stride[1], self.before[1] - residue)
        return np.array(numbers, np.int64)


def _valid(size: int, stride: int, before: int) -> tuple[int, int]:
    """The ``q``, first and end, for which ``0 <= q * stride - before < size``; first is >= 0."""
    first = max(0, -(-before // stride))
    return first, max(first, (size - 1 + before) // stride + 1)


def shared_zeros(size: int, stride: int, before: int, extent: int) -> int:
    """Positions that are zero at the end of every stride residue and at the start of the next item."""
    shared = extent
    for residue in range(stride):
        first, last = _valid(size, stride, before - residue)
        shared = min(shared, first, max(0, extent - last))
    return shared


def taps(kernel: Triple, dilation: Triple) -> list[Triple]:
    """The offset of each tap from the first one, in inputs, in the order of the weights."""
    return [
        (d * dilation[0], h * dilation[1], w * dilation[2])
        for d, h, w in product(*(range(k) for k in kernel))
    ]


def copier(dtype: str) -> DeviceFunction:
    """``fill(x, x_channel, padded, params, channels, row, write_zeros)``: copy ``channels`` channels of an item.

    ``x`` and ``padded`` are addresses: of the first channel of the item, whose channels are
    ``x_channel`` elements apart, and of where the item goes in the padded input's first channel. ``row`` is
    the ``q`` of the first row. What is zero whatever the item holds is written only if ``write_zeros``: it
    stays from one item to the next.
    """
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    @inline
    def zero_channels(padded, channel, at, count, channels):
        for c in range(channels):
            store_zeros(padded, c * channel + at, count)

    def fill(x, x_channel, padded, p, channels, row, write_zeros):
        D, H, width = p[SIZE], p[SIZE + 1], p[SIZE + 2]
        sd, sh, sw = p[STRIDE], p[STRIDE + 1], p[STRIDE + 2]
        rows, pitch, shifts, channel = p[ROWS], p[PITCH], p[SHIFTS], p[CHANNEL]
        table, zeros = pointer(p[TABLE], np.int64), pointer(padded, T)
        for shift in range(shifts):
            column, first, last = table[3 * shift], table[3 * shift + 1], table[3 * shift + 2]
            for fd in range(sd):
                for fh in range(sh):
                    valid = 3 * shifts + 2 * fh
                    top = min(rows, max(0, table[valid] - row))
                    end = max(top, min(rows, table[valid + 1] - row))
                    h = (row + top) * sh + fh - p[BEFORE + 1]
                    to, d = ((shift * sd + fd) * sh + fh) * p[RESIDUE], fd - p[BEFORE]
                    for _ in range(p[DEPTHS]):
                        inside = d >= 0 and d < D
                        if write_zeros:
                            below = end if inside else 0
                            count = (rows - below) * pitch + p[ZEROS]
                            zero_channels(zeros, channel, to, top * pitch, channels)
                            zero_channels(zeros, channel, to + below * pitch, count, channels)
                        if inside:
                            start = x + size * ((d * H + h) * width + column)
                            copy_rows(
                                pointer(start, T), x_channel, sh * width, sw, first, last,
                                pointer(padded + size * (to + top * pitch), T), channel, pitch,
                                end - top, channels,
                            )  # fmt: skip
                        to += rows * pitch
                        d += sd

    return inline(fill)

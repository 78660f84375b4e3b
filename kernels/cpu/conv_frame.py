"""The padded copy of an input in which every tap of a window is one offset.

Input ``i`` of a dimension with stride ``s`` is put at ``q`` of *phase* ``f``, where
``i + before = q * s + f``. Outputs that follow each other then read inputs that follow each other,
whatever the stride: output ``o`` meets tap ``t`` at ``o + offset(t)``. The zeros after a row double
as the zeros before the next.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.vector import head, lanes, load_masked, splat, store
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.window import Triple

# Places in a frame's part of a plan, an array of int64.
SIZE, STRIDE, BEFORE, DEPTHS, ROWS, PITCH, LEAD, COLS, PHASE, CHANNEL, ZEROS = (
    0, 3, 6, 9, 10, 11, 12, 13, 14, 15, 16,
)  # fmt: skip
FRAME = 17


class Frame(NamedTuple):
    """Where one channel's copy keeps its elements.

    Attributes:
        size, stride, before: of the input; see the module.
        extent: values of ``q`` in use, per dimension; the rows may be a part of the output's.
        shared: elements at the end of a row that are the first ones of the next.
        rows: rows in memory of one ``q`` of the first dimension.
        items: copies, one after the other, that a channel holds of each phase.
        slack: elements after a phase, at least a vector, that a store may spill to.
        zeros: how many of them are set to zero, whole vectors.
    """

    size: Triple
    stride: Triple
    before: Triple
    extent: Triple
    shared: int
    rows: int
    items: int
    slack: int
    zeros: int

    @property
    def pitch(self) -> int:
        """Elements from a row to the next."""
        return self.extent[2] - self.shared

    @property
    def item(self) -> int:
        """Elements from a copy to the next."""
        return self.extent[0] * self.rows * self.pitch

    @property
    def phase(self) -> int:
        """Elements from a phase to the next."""
        return self.items * self.item + self.slack

    @property
    def channel(self) -> int:
        """Elements from a channel to the next."""
        return self.stride[0] * self.stride[1] * self.stride[2] * self.phase

    def offset(self, reach: tuple[int, ...]) -> int:
        """Where output 0 finds what lies ``reach`` inputs after the first (padded) one."""
        phase = q = 0
        steps = (self.rows * self.pitch, self.pitch, 1)
        for r, s, step in zip(reach, self.stride, steps, strict=True):
            phase = phase * s + r % s
            q += r // s * step
        return phase * self.phase + q

    def plan(self) -> list[int]:
        """The frame's part of a plan."""
        return [
            *self.size, *self.stride, *self.before, self.extent[0], self.rows, self.pitch,
            min(self.before[2], self.extent[2]), self.extent[2], self.phase, self.channel, self.zeros,
        ]  # fmt: skip


def shared_zeros(size: int, stride: int, before: int, extent: int) -> int:
    """Elements that are zero at the end of every phase's row and at the start of the next."""
    shared = extent
    for phase in range(stride):
        first = max(0, -(-(before - phase) // stride))
        last = (size - 1 + before - phase) // stride + 1
        shared = min(shared, first, max(0, extent - last))
    return shared


def taps(kernel: Triple, dilation: Triple) -> list[Triple]:
    """What each tap of a window lies after its first one, in the order of the weights."""
    return [
        (d * dilation[0], h * dilation[1], w * dilation[2])
        for d, h, w in product(*(range(k) for k in kernel))
    ]


def copier(dtype: str) -> DeviceFunction:
    """``fill(x, x_channel, frame, plan, channels, row, phase_step)``: copy ``channels`` channels.

    ``x`` points to the first channel of an item, whose channels are ``x_channel`` elements apart;
    ``frame`` to where the item goes in the first channel. ``row`` is the ``q`` of the first row.
    Every element of the item is written, and the zeros after it.
    """
    T = np.dtype(dtype).type
    W = lanes(dtype)

    @inline
    def clear(frame, at, count):  # type: ignore[no-untyped-def]
        nothing = splat(T(0))
        for i in range(0, count, W):
            store(frame, at + i, nothing)

    @inline
    def copy_row(x, start, width, frame, at, pitch, lead):  # type: ignore[no-untyped-def]
        nothing = splat(T(0))
        for i in range(0, lead, W):
            store(frame, at + i, nothing)
        for i in range(0, pitch - lead, W):
            values = load_masked(x, start + i, head(T, width - i), nothing)
            store(frame, at + lead + i, values)

    @inline
    def gather_row(x, start, width, stride, first, frame, at, pitch):  # type: ignore[no-untyped-def]
        for q in range(pitch):
            w = q * stride + first
            frame[at + q] = x[start + w] if w >= 0 and w < width else T(0)

    def fill(x, x_channel, frame, p, channels, row):  # type: ignore[no-untyped-def]
        D, H, width = p[SIZE], p[SIZE + 1], p[SIZE + 2]
        sd, sh, sw = p[STRIDE], p[STRIDE + 1], p[STRIDE + 2]
        rows, pitch, lead = p[ROWS], p[PITCH], p[LEAD]
        kept = min(width, p[COLS] - lead)
        for c in range(channels):
            for phase in range(sd * sh * sw):
                fd, fh, fw = phase // (sh * sw), phase // sw % sh, phase % sw
                at = c * p[CHANNEL] + phase * p[PHASE]
                for q in range(p[DEPTHS]):
                    d = q * sd + fd - p[BEFORE]
                    for r in range(row, row + rows):
                        h = r * sh + fh - p[BEFORE + 1]
                        if d < 0 or d >= D or h < 0 or h >= H:
                            clear(frame, at, pitch)
                        elif sw == 1:
                            start = c * x_channel + (d * H + h) * width
                            copy_row(x, start, kept, frame, at, pitch, lead)
                        else:
                            start = c * x_channel + (d * H + h) * width
                            first = fw - p[BEFORE + 2]
                            gather_row(x, start, width, sw, first, frame, at, pitch)
                        at += pitch
                clear(frame, at, p[ZEROS])

    return inline(fill)

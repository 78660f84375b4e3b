"""Positions in planes of up to three dimensions, for kernels with a thread for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilegrad.kernels.cuda.device.ptx import multiply_wide
from tilegrad.kernels.cuda.parts.strided import magic
from tilegrad.kernels.function import inline


class Axes(NamedTuple):
    """The sizes of a plane, outermost first, with multiplier and shift that divide by the last two."""

    size0: int
    size1: int
    size2: int
    multiplier1: int
    shift1: int
    multiplier2: int
    shift2: int


def axes(size: Sequence[int]) -> Axes:
    """Of a plane of this size."""
    return Axes(size[0], size[1], size[2], *magic(size[1]), *magic(size[2]))


@inline
def position(p, axes):
    """The three coordinates of position ``p`` in a plane of fewer than 2^31."""
    line = multiply_wide(p, axes.multiplier2) >> axes.shift2
    plane = multiply_wide(line, axes.multiplier1) >> axes.shift1
    return plane, line - plane * axes.size1, p - line * axes.size2

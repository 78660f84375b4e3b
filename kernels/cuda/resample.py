"""Resampling of planes along their axes, one element of the result per thread.

The sums are sparse tables in device memory; the adjoint is the same kernel by the transposed tables, so that
every element is gathered in order, without atomics. See :mod:`tilegrad.kernels.cpu.resample`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.parts.planes import Axes, axes, position
from tilegrad.kernels.cuda.parts.pointer_table import DeviceConstant
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.plans import storage_form
from tilegrad.kernels.window import Taps

Launch = Callable[..., None]


class Tables(NamedTuple):
    """The tables of three axes, in device memory.

    Attributes:
        inner: elements within a step of the last axis, with multiplier and shift that divide by it.
        outputs: of a plane, likewise. inputs: elements of a plane of x.
        size1, size2: of the last two axes of x.
        first0 …, index0 …, weight0 …: addresses. bits1, bits2: of the weights of the last two axes.
    """

    inner: int
    inner_multiplier: int
    inner_shift: int
    outputs: int
    outputs_multiplier: int
    outputs_shift: int
    inputs: int
    size1: int
    size2: int
    first0: int
    first1: int
    first2: int
    index0: int
    index1: int
    index2: int
    weight0: int
    weight1: int
    weight2: int
    bits1: int
    bits2: int


@kernel
def weighted(dtype: str, wide: bool, threads: int) -> Source:
    """Weighted sums along three axes; parameters: x, out, elements of out, then the tables and the sizes of a
    plane of out.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def weigh(x, out, total, t, outs):
        e = block() * threads + thread()
        if e < total:
            step = divide(e, t.inner, t.inner_multiplier, t.inner_shift)
            j = e - step * t.inner
            plane = divide(step, t.outputs, t.outputs_multiplier, t.outputs_shift)
            o0, o1, o2 = position(step - plane * t.outputs, outs)
            first0, first1 = pointer(t.first0, np.int64), pointer(t.first1, np.int64)
            first2, index0 = pointer(t.first2, np.int64), pointer(t.index0, np.int64)
            index1, index2 = pointer(t.index1, np.int64), pointer(t.index2, np.int64)
            weight0, weight1 = pointer(t.weight0, T), pointer(t.weight1, T)
            weight2, source = pointer(t.weight2, T), pointer(x, T)
            start, whole = plane * t.inputs, T(0)
            for a in range(first0[o0], first0[o0 + 1]):
                plane_sum = T(0)
                for b in range(first1[o1], first1[o1 + 1]):
                    line = (index0[a] * t.size1 + index1[b]) * t.size2
                    row_sum = T(0)
                    for c in range(first2[o2], first2[o2 + 1]):
                        row_sum += weight2[c] * source[start + (line + index2[c]) * t.inner + j]
                    plane_sum += weight1[b] * row_sum
                whole += weight0[a] * plane_sum
            pointer(out, T)[e] = whole

    return Source(weigh, ("i" * 3, Tables, Axes), threads)


@kernel
def copied(dtype: str, wide: bool, threads: int) -> Source:
    """Copies; parameters as :func:`weighted`."""
    T, divide = np.dtype(dtype).type, division(wide)

    def take_nearest(x, out, total, t, outs):
        e = block() * threads + thread()
        if e < total:
            step = divide(e, t.inner, t.inner_multiplier, t.inner_shift)
            j = e - step * t.inner
            plane = divide(step, t.outputs, t.outputs_multiplier, t.outputs_shift)
            o0, o1, o2 = position(step - plane * t.outputs, outs)
            i0, i1 = pointer(t.index0, np.int64)[o0], pointer(t.index1, np.int64)[o1]
            place = (i0 * t.size1 + i1) * t.size2 + pointer(t.index2, np.int64)[o2]
            pointer(out, T)[e] = pointer(x, T)[plane * t.inputs + place * t.inner + j]

    return Source(take_nearest, ("i" * 3, Tables, Axes), threads)


@kernel
def fixed_point(dtype: str, wide: bool, threads: int) -> Source:
    """Sums of bytes by weights times 2^bits along the last two axes, rounded and kept within a byte after each;
    parameters as :func:`weighted`.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def weigh_bytes(x, out, total, t, outs):
        e = block() * threads + thread()
        if e < total:
            step = divide(e, t.inner, t.inner_multiplier, t.inner_shift)
            j = e - step * t.inner
            plane = divide(step, t.outputs, t.outputs_multiplier, t.outputs_shift)
            _, o1, o2 = position(step - plane * t.outputs, outs)
            first1, first2 = pointer(t.first1, np.int64), pointer(t.first2, np.int64)
            index1, index2 = pointer(t.index1, np.int64), pointer(t.index2, np.int64)
            weight1, weight2 = pointer(t.weight1, np.int64), pointer(t.weight2, np.int64)
            source, start = pointer(x, T), plane * t.inputs
            whole = (1 << t.bits1) >> 1
            for b in range(first1[o1], first1[o1 + 1]):
                line, row_sum = index1[b] * t.size2, (1 << t.bits2) >> 1
                for c in range(first2[o2], first2[o2 + 1]):
                    byte = np.int64(source[start + (line + index2[c]) * t.inner + j])
                    row_sum += weight2[c] * byte
                whole += weight1[b] * min(255, max(0, row_sum >> t.bits2))
            pointer(out, T)[e] = T(min(255, max(0, whole >> t.bits1)))

    return Source(weigh_bytes, ("i" * 3, Tables, Axes), threads)


def _whole(n: int, like: Taps) -> Taps:
    """An axis that stays as it is."""
    place = np.arange(n + 1, dtype=np.int64)
    if like.bits:
        return Taps(n, place, place[:n], np.ones(n, np.int32))
    return Taps(n, place, place[:n], None if like.weight is None else np.ones(n, like.weight.dtype))


def _held(numbers: np.ndarray | None) -> DeviceConstant:
    """On the device, as they are; of int32 as int64."""
    if numbers is None:
        return DeviceConstant(np.zeros(0, np.int64))
    if numbers.dtype == np.int32:
        numbers = numbers.astype(np.int64)
    raw = numbers.tobytes()
    return DeviceConstant(np.frombuffer(raw + bytes(-len(raw) % 8), np.int64))


def resample(
    dtype: str, planes: int, size: Sequence[int], inner: int, taps: Sequence[Taps | None]
) -> tuple[Launch, int]:
    """Prepare ``launch(x, out)``; see :func:`tilegrad.kernels.cpu.resample.resample`."""
    kind = next(t for t in taps if t is not None)
    lead = 3 - len(size)
    sizes = (1,) * lead + tuple(size)
    full = [
        _whole(n, kind) if t is None else t
        for n, t in zip(sizes, (*(None,) * lead, *taps), strict=True)
    ]
    outs = tuple(t.out for t in full)
    held = [[_held(t.first), _held(t.place), _held(t.weight)] for t in full]
    outputs, total = math.prod(outs), planes * math.prod(outs) * inner
    numbers = [inner, *magic(inner), outputs, *magic(outputs), math.prod(sizes) * inner, *sizes[1:]]
    numbers += [h[k].address for k in range(3) for h in held]
    given = Tables._make([*numbers, full[1].bits, full[2].bits])
    if kind.weight is None:
        dtype = storage_form(dtype, "set")[0]
    factory = copied if kind.weight is None else fixed_point if kind.bits else weighted
    threads = grid("resample").bounds.threads
    function = factory.build(dtype, is_wide(max(total, planes * given.inputs)), threads)
    tail = (total, *given, *axes(outs), -(-total // threads), 1, 1)

    def launch(x: int, out: int, keep: list[list[DeviceConstant]] = held) -> None:
        function(x, out, *tail)

    return launch, 0

"""Resampling of planes along their axes: every output is a weighted sum of inputs along each axis in turn.

The sums are sparse tables (:class:`tilegrad.kernels.window.Taps`); the adjoint is the same work by the transposed
tables. An axis is a pass over the plane: along memory where nothing lies within a step of it, else row by row,
with the inner elements in the lanes. Every task handles whole planes: results do not depend on the number
of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import offset, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import (
    head,
    lanes,
    load,
    load_masked,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.cpu.tuning import Resample
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.plans import storage_form
from tilegrad.kernels.window import Taps

# of a pass in the plan
OUTER, SIZE, OUT, INNER, FIRST, INDEX, WEIGHT, ALIKE, BITS, FIELDS = range(10)

Launch = Callable[..., None]


def _along(dtype: str) -> DeviceFunction:
    """The device function ``along(x, y, p, at)``: a pass whose outputs are adjacent."""
    T = np.dtype(dtype).type

    @inline
    def along(x, y, p, at):
        count, taps = p[at + OUT], p[at + ALIKE]
        first, index = pointer(p[at + FIRST], np.int64), pointer(p[at + INDEX], np.int64)
        weight = pointer(p[at + WEIGHT], T)
        for line in range(p[at + OUTER]):
            source, out = offset(x, line * p[at + SIZE]), offset(y, line * count)
            if taps == 2:
                for o in range(count):
                    a = read(weight, 2 * o) * read(source, read(index, 2 * o))
                    b = read(weight, 2 * o + 1) * read(source, read(index, 2 * o + 1))
                    write(out, o, a + b)
            elif taps == 4:
                for o in range(count):
                    k = 4 * o
                    a = read(weight, k) * read(source, read(index, k))
                    a += read(weight, k + 1) * read(source, read(index, k + 1))
                    b = read(weight, k + 2) * read(source, read(index, k + 2))
                    b += read(weight, k + 3) * read(source, read(index, k + 3))
                    write(out, o, a + b)
            else:
                for o in range(count):
                    total = T(0)
                    for k in range(first[o], first[o + 1]):
                        total += weight[k] * source[index[k]]
                    out[o] = total

    return along


def _across(dtype: str) -> DeviceFunction:
    """The device function ``across(x, y, p, at)``: a pass whose outputs are ``inner`` elements apart."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def across(x, y, p, at):
        count, inner = p[at + OUT], p[at + INNER]
        first, index = pointer(p[at + FIRST], np.int64), pointer(p[at + INDEX], np.int64)
        weight = pointer(p[at + WEIGHT], T)
        for line in range(p[at + OUTER]):
            source = offset(x, line * p[at + SIZE] * inner)
            for o in range(count):
                out = offset(y, (line * count + o) * inner)
                if p[at + ALIKE] == 2:
                    a, b = (
                        offset(source, index[2 * o] * inner),
                        offset(source, index[2 * o + 1] * inner),
                    )
                    u, v, whole = splat(weight[2 * o]), splat(weight[2 * o + 1]), inner - inner % W
                    for j in range(0, whole, W):
                        store(out, j, u * load(a, j) + v * load(b, j))
                    if whole < inner:
                        mask, zero = head(T, inner - whole), splat(T(0))
                        first_part = u * load_masked(a, whole, mask, zero)
                        second_part = v * load_masked(b, whole, mask, zero)
                        store_masked(out, whole, first_part + second_part, mask)
                    continue
                for j in range(0, inner, W):
                    mask, total = head(T, inner - j), splat(T(0))
                    for k in range(first[o], first[o + 1]):
                        part = load_masked(source, index[k] * inner + j, mask, splat(T(0)))
                        total = total + splat(weight[k]) * part
                    store_masked(out, j, total, mask)

    return across


@kernel
def weighted(dtype: str) -> Kernel:
    """Passes one after the other, each a weighted sum; arguments: x, out, room for what lies between two
    passes (twice ``room`` elements a task), planes, planes of a task, elements of a plane of x and of out,
    room, the plan: passes, then of each its fields.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    along, across = _along(dtype), _across(dtype)

    def body(task, x_, out_, scratch, planes, per_task, inputs, outputs, room, plan):
        p = pointer(plan, np.int64)
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            source = x_ + size * plane * inputs
            for s in range(p[0]):
                target = scratch + size * (2 * task + s % 2) * room
                if s == p[0] - 1:
                    target = out_ + size * plane * outputs
                at = 1 + s * FIELDS
                if p[at + INNER] == 1:
                    along(pointer(source, T), pointer(target, T), p, at)
                else:
                    across(pointer(source, T), pointer(target, T), p, at)
                source = target

    return body, "iiiiiiiii"


@kernel
def copied(dtype: str) -> Kernel:
    """Passes of which each output is one input; arguments as :func:`weighted`."""
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize

    def body(task, x_, out_, scratch, planes, per_task, inputs, outputs, room, plan):
        p = pointer(plan, np.int64)
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            source = x_ + size * plane * inputs
            for s in range(p[0]):
                target = scratch + size * (2 * task + s % 2) * room
                if s == p[0] - 1:
                    target = out_ + size * plane * outputs
                at = 1 + s * FIELDS
                count, inner = p[at + OUT], p[at + INNER]
                index = pointer(p[at + INDEX], np.int64)
                for line in range(p[at + OUTER]):
                    x = pointer(source + size * line * p[at + SIZE] * inner, T)
                    y = pointer(target + size * line * count * inner, T)
                    if inner == 1:
                        for o in range(count):
                            write(y, o, read(x, read(index, o)))
                    else:
                        for o in range(count):
                            row, into = offset(x, index[o] * inner), offset(y, o * inner)
                            for j in range(inner):
                                write(into, j, read(row, j))
                source = target

    return body, "iiiiiiiii"


@kernel
def fixed_point(dtype: str) -> Kernel:
    """Passes of bytes by weights times 2^bits (int32), rounded and kept within a byte after each; arguments
    as :func:`weighted`.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize

    @inline
    def rounded(total, bits):
        return T(min(np.int32(255), max(np.int32(0), np.int32(total >> bits))))

    @inline
    def two_rows(x, y, o, inner, weight, index, bits):
        a, b = offset(x, index[2 * o] * inner), offset(x, index[2 * o + 1] * inner)
        u, v, half = weight[2 * o], weight[2 * o + 1], np.int32(1 << (bits - 1))
        shift = np.int32(bits)
        for j in range(inner):
            total = np.int32(u * np.int32(read(a, j)) + v * np.int32(read(b, j)) + half)
            write(y, o * inner + j, rounded(total, shift))

    @inline
    def some_rows(x, y, o, inner, weight, index, bits, start, end):
        for j in range(inner):
            total = 1 << (bits - 1)
            for k in range(start, end):
                total += np.int64(weight[k]) * np.int64(x[index[k] * inner + j])
            y[o * inner + j] = rounded(total, bits)

    def body(task, x_, out_, scratch, planes, per_task, inputs, outputs, room, plan):
        p = pointer(plan, np.int64)
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            source = x_ + size * plane * inputs
            for s in range(p[0]):
                target = scratch + size * (2 * task + s % 2) * room
                if s == p[0] - 1:
                    target = out_ + size * plane * outputs
                at = 1 + s * FIELDS
                count, inner, bits = p[at + OUT], p[at + INNER], p[at + BITS]
                first, index = pointer(p[at + FIRST], np.int64), pointer(p[at + INDEX], np.int64)
                weight = pointer(p[at + WEIGHT], np.int32)
                for line in range(p[at + OUTER]):
                    x = pointer(source + size * line * p[at + SIZE] * inner, T)
                    y = pointer(target + size * line * count * inner, T)
                    for o in range(count):
                        if p[at + ALIKE] == 2:
                            two_rows(x, y, o, inner, weight, index, bits)
                        else:
                            some_rows(x, y, o, inner, weight, index, bits, first[o], first[o + 1])
                source = target

    return body, "iiiiiiiii"


def _passes(
    size: Sequence[int], taps: Sequence[Taps | None], inner: int, fixed: bool
) -> list[tuple[int, int, int, int, int]]:
    """(axis, outer, size, outputs, inner) of each pass: of bytes the innermost axis first, as PyTorch rounds
    after each; else axes that shrink come first, then the one along memory, which is the slowest.
    """

    def growth(k: int) -> float:
        table = taps[k]
        along = inner == 1 and k == len(size) - 1
        return 1.0 if along or table is None else table.out / size[k]

    order = [k for k in reversed(range(len(size))) if taps[k] is not None]
    if not fixed:
        order.sort(key=growth)
    now, found = list(size), []
    for k in order:
        table = taps[k]
        assert table is not None
        outer, within = math.prod(now[:k]), math.prod(now[k + 1 :]) * inner
        found.append((k, outer, now[k], table.out, within))
        now[k] = table.out
    return found


def resample(
    dtype: str, planes: int, size: Sequence[int], inner: int, taps: Sequence[Taps | None]
) -> tuple[Launch, int]:
    """Prepare ``launch(x, out, [scratch])``; gives ``(launch, scratch_bytes)``.

    Args:
        planes, size, inner: x is (planes, *size, inner). taps: of each axis, None where it stays as it is;
            their weights are numbers of ``dtype``, or None for copies, or int32 with ``bits``.
    """
    kind = next(t for t in taps if t is not None)
    if kind.weight is None:
        dtype = storage_form(dtype, "set")[0]
    passes = _passes(size, taps, inner, kind.bits > 0)
    out = [n if t is None else t.out for n, t in zip(size, taps, strict=True)]
    inputs, outputs = math.prod(size) * inner, math.prod(out) * inner
    flat, room = [len(passes)], 0
    for axis, outer, n, count, within in passes:
        t = taps[axis]
        assert t is not None
        counts = np.diff(t.first)
        alike = int(counts[0]) if len(counts) and (counts == counts[0]).all() else 0
        weight = 0 if t.weight is None else t.weight.ctypes.data
        flat += [outer, n, count, within, t.first.ctypes.data, t.place.ctypes.data, weight, alike]
        flat.append(t.bits)
        if len(flat) < 1 + len(passes) * FIELDS:
            room = max(room, outer * count * within)
    plan = np.array(flat, np.int64)
    factory = copied if kind.weight is None else fixed_point if kind.bits else weighted
    per_task, tasks = splitting.share(planes, inputs + outputs, Resample.grain)
    small = splitting.serial(planes * (inputs + outputs), 2 * Resample.grain)
    function, address = factory.build(dtype), plan.ctypes.data

    def launch(x: int, y: int, scratch: int = 0, keep: Any = (plan, tuple(taps))) -> None:
        threads = 0 if small else jit.get_num_threads()
        function(x, y, scratch, planes, per_task, inputs, outputs, room, address, tasks, threads)

    return launch, 2 * tasks * room * np.dtype(dtype).itemsize

"""Negative log-likelihood of one class per sample, from log-probabilities or from logits.

Logits are (rows, C); log-probabilities (outer, C, inner), with a target for each outer and inner.
A row of logits is read once, with a running maximum (online softmax). Blocks add up the losses of their samples and
count the targets out of range; one more block combines what they found, into ``status`` too:
``status[0]`` counts those targets, ``status[1]`` holds the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, blocks, pointer, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.row_layout import (
    ADJACENT,
    RowLayout,
    layout_of,
    loader,
    map_elements,
    row_layout,
    storer,
    thread_map,
    valid_count,
    vector,
)
from tilegrad.kernels.cuda.parts.strided import (
    PER_AXIS,
    index_params,
    is_wide,
    offset_of,
    offsets_of,
    unpack_params,
)
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.softmax import online, probability
from tilegrad.kernels.cuda.tuning import ROWS, row
from tilegrad.kernels.formulas.transcendental import exp_decay, log
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import add, smaller
from tilegrad.kernels.plans import with_absent

FAR = np.iinfo(np.int64).max  # after every sample


class Samples(NamedTuple):
    """Samples of ``C`` classes, ``inner`` apart, that a row has in ``groups``; the class to ignore."""

    rows: int
    C: int
    groups: int
    inner: int
    ignored: int


@inline
def subtract(x, lse):
    """x - lse"""
    return x - lse


@kernel
def forward(
    dtype: str, logits: bool, keeps: bool, layout: RowLayout, dims: int, wide: bool
) -> Source:
    """Per sample its weight, from logits their logsumexp and, if it ``keeps`` them, the losses.

    Parameters: x, targets, weight (null: all ones), losses, scale, lse, logs (the log-probabilities
    of logits, or null), parts, :class:`Samples`, then the block of samples. ``parts``: for every block how
    many bad targets it met and the first one's sample, the sums of its losses and weights.
    """
    T = np.dtype(dtype).type
    zero, one, rows = T(0), T(1), layout.rows
    lane_of, row_of = thread_map(layout)
    base_of = offset_of(dims, 0, wide)
    load, store, valid = loader(layout, ADJACENT), storer(layout, ADJACENT), valid_count(layout)
    max_and_sum, subtract_lse, stride = (
        online(dtype, layout, load),
        map_elements(layout, subtract, 1, 1),
        layout.lanes * layout.vectors,
    )
    mask = layout.V * np.dtype(dtype).itemsize - 1
    add_up, count_up = (
        block_reduce(add, dtype, layout.threads),
        block_reduce(add, "int64", layout.threads),
    )
    earliest = block_reduce(smaller, "int64", layout.threads)

    @inline
    def losses_of(x, targets, weight, losses, scale, lse, logs, parts, p, t):
        source, target, weights = pointer(x, T), pointer(targets, np.int64), pointer(weight, T)
        made, scales, lses = pointer(losses, T), pointer(scale, T), pointer(lse, T)
        lane, aligned = lane_of(), (x | logs) & mask == 0
        bad, where, loss, total_weight = 0, FAR, zero, zero
        first = row_of()
        start = block() * rows
        while start < p.rows:
            base = base_of(first, t)
            high = zero
            if logits:
                count = p.groups if first < p.rows else 0
                top, part = max_and_sum(source, base, count, lane, aligned, t)
                high = top + log(part)
                if logs != 0:
                    g = lane
                    while g < count:
                        n_valid = valid(count, g)
                        v = subtract_lse(load(source, base, g, n_valid, aligned, zero, t), high)
                        store(pointer(logs, T), base, g, n_valid, aligned, v, t)
                        g += stride
            if lane == 0 and first < p.rows:
                k = target[first]
                w = value = zero
                if k != p.ignored and 0 <= k < p.C:
                    w = weights[k] if weight != 0 else one
                    value = (high - source[base + k * p.inner]) * w
                elif k != p.ignored:
                    where = first if bad == 0 else where
                    bad += 1
                scales[first] = w
                if logits:
                    lses[first] = high
                if keeps:
                    made[first] = value
                loss += value
                total_weight += w
            first += blocks() * rows
            start += blocks() * rows
        bad, where = count_up(np.int64(bad)), earliest(np.int64(where))
        loss, total_weight = add_up(loss), add_up(total_weight)
        if thread() == 0:
            found, sums = pointer(parts, np.int64), pointer(parts + 16 * blocks(), T)
            found[block()], found[blocks() + block()] = bad, where
            sums[block()], sums[blocks() + block()] = loss, total_weight

    params = PER_AXIS * dims
    signature = ("i" * 8, Samples, "i" * params)
    return Source(unpack_params(losses_of, 9, params), signature, *layout.bounds)


@kernel
def finish(dtype: str, mean: bool, bounds: Bounds) -> Source:
    """One block combines the parts of ``count`` blocks; ``out`` and ``weight_sum`` may be null."""
    T = np.dtype(dtype).type
    zero, threads = T(0), bounds.threads
    add_up, count_up = block_reduce(add, dtype, threads), block_reduce(add, "int64", threads)
    earliest = block_reduce(smaller, "int64", threads)

    def body(parts, count, targets, status, out, weight_sum):
        found, sums = pointer(parts, np.int64), pointer(parts + 16 * count, T)
        bad, where, loss, total_weight = 0, FAR, zero, zero
        i = thread()
        while i < count:
            bad += found[i]
            where = smaller(where, found[count + i])
            loss += sums[i]
            total_weight += sums[count + i]
            i += threads
        bad, where = count_up(np.int64(bad)), earliest(np.int64(where))
        loss, total_weight = add_up(loss), add_up(total_weight)
        if thread() == 0:
            told = pointer(status, np.int64)
            told[0] = bad
            told[1] = pointer(targets, np.int64)[where] if bad > 0 else 0
            if out != 0:
                pointer(out, T)[0] = loss / total_weight if mean else loss
                pointer(weight_sum, T)[0] = total_weight

    return Source(body, "iiiiii", *bounds)


@kernel
def backward(
    dtype: str, logits: bool, per_sample: bool, layout: RowLayout, dims: int, wide: bool
) -> Source:
    """``(softmax - onehot) * factor`` for logits, whose log-probabilities ``x`` are; for
    log-probabilities ``-onehot * factor``.

    The factor is the sample's weight times its gradient (one for all unless ``per_sample``), over
    ``weight_sum`` unless that is null. A thread has a group of the layout. Parameters: grad, x, targets,
    scale, weight_sum, out, groups, then the block of groups by sample and class.
    """
    T = np.dtype(dtype).type
    zero, one, V, threads = T(0), T(1), layout.V, layout.threads
    load, store = loader(layout, ADJACENT), storer(layout, ADJACENT)
    probabilities, nothing = map_elements(layout, probability, 1, 2), (zero,) * V
    at = offsets_of(dims, 2, 0, wide)
    mask = V * np.dtype(dtype).itemsize - 1

    @inline
    def grad_of(grad, x, targets, scale, weight_sum, out, groups, t):
        group = block() * threads + thread()
        if group < groups:
            source, made = pointer(x, T), pointer(out, T)
            sample, k = at(group, t)
            base = group * V
            w = pointer(scale, T)[sample]
            factor = zero
            if w != zero:
                divisor = pointer(weight_sum, T)[0] if weight_sum != 0 else one
                factor = pointer(grad, T)[sample if per_sample else 0] * w / divisor
            aligned = (x | out) & mask == 0
            if logits and w != zero:
                v = load(source, base, 0, 1, aligned, zero, t)
                store(made, base, 0, 1, aligned, probabilities(v, zero, factor), t)
            else:
                store(made, base, 0, 1, aligned, nothing, t)
            if w != zero:
                here = pointer(targets, np.int64)[sample] - k
                if 0 <= here < V:
                    value = -factor
                    if logits:
                        value += exp_decay(source[base + here]) * factor
                    made[base + here] = value

    params = (PER_AXIS + 1) * dims
    return Source(unpack_params(grad_of, 7, params), "i" * (7 + params), threads)


def cross_entropy(
    dtype: str, logits: bool, kept: bool, weighted: bool, reduction: str, outer: int, C: int,
    inner: int,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """The launch of :func:`tilegrad.kernels.cpu.cross_entropy.cross_entropy`, and the bytes of
    scratch memory it needs, whatever the reduction.
    """
    samples, keeps = outer * inner, reduction == "none"
    chosen, V = row(ROWS, dtype, "cross_entropy"), vector(dtype, C) if logits else 1
    if logits:
        layout = row_layout(chosen, C, V, chosen.softmax // 2)
    else:
        layout = layout_of(chosen, False, 1, chosen.least, 1)
    rows = ((samples,), (C,)) if inner == 1 else ((outer, inner), (C * inner, 1))
    wide = is_wide(samples * C)
    run = forward.build(dtype, logits, keeps, layout, len(rows[0]), wide)
    bounds = Bounds(chosen.threads, chosen.resident // chosen.threads)
    combine = finish.build(dtype, reduction == "mean", bounds)
    grid = max(1, min(layout.blocks(samples), chosen.blocks))
    tail = Samples(samples, C, C // V, inner, 0)[:-1]  # the class to ignore comes with a call
    shape = (*index_params(*rows), grid, 1, 1)

    def launch(
        x: int, targets: int, weight: int, out: int, scale: int, status: int, lse: int,
        weight_sum: int, logs: int, scratch: int, ignored: int,
    ) -> None:  # fmt: skip
        run(x, targets, weight, out, scale, lse, logs, scratch, *tail, ignored, *shape)
        results = (0, 0) if keeps else (out, weight_sum)
        combine(scratch, grid, targets, status, *results, 1, 1, 1)

    given = (True, True, weighted, True, True, True, logits, not keeps, kept)
    return with_absent(launch, given), 32 * grid  # for every block two int64, two sums


def cross_entropy_backward(
    dtype: str, logits: bool, reduction: str, outer: int, C: int, inner: int
) -> Callable[..., None]:
    """A launch ``(grad, targets, scale, [log-probabilities], [weight_sum], out)``; see :func:`backward`.

    ``weight_sum`` is an operand for the reduction "mean" only.
    """
    V = vector(dtype, C) if inner == 1 else 1
    groups = outer * C * inner // V
    if groups == 0:
        return lambda *addresses: None
    if inner == 1:
        shape = index_params((outer, C // V), (1, 0), (0, V))
    else:
        shape = index_params((outer, C, inner), (inner, 0, 1), (0, 1, 0))
    dims = 2 if inner == 1 else 3
    wide = is_wide(groups)
    layout = layout_of(row(ROWS, dtype, "cross_entropy"), False, 1, 1, V)
    function = backward.build(dtype, logits, reduction == "none", layout, dims, wide)
    grid = -(-groups // layout.threads)

    def launch(grad: int, targets: int, scale: int, x: int, weight_sum: int, out: int) -> None:
        function(grad, x, targets, scale, weight_sum, out, groups, *shape, grid, 1, 1)

    return with_absent(launch, (True, True, True, logits, reduction == "mean"))

"""Negative log-likelihood of one class per sample, from log-probabilities or from logits.

Logits are (rows, C); log-probabilities (outer, C, inner), with a target for each outer and inner.
A target out of range, other than the one to ignore, is reported in ``status`` and read nothing
for: ``status[0]`` counts them, ``status[1]`` holds the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, backward_follows, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import (
    head,
    lanes,
    load,
    load_masked,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.cpu.softmax import peak, row_pieces
from tilegrad.kernels.cpu.tuning import CrossEntropy
from tilegrad.kernels.formulas.transcendental import exp_decay, log
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.plans import with_absent


class Given(NamedTuple):
    """Addresses of what may be absent, then null: the weights, and memory for a loss per sample."""

    weight: int
    losses: int


class Samples(NamedTuple):
    """``rows`` samples, ``per`` a task, of ``C`` classes that stand ``inner`` apart."""

    rows: int
    per: int
    C: int
    inner: int


@inline
def examine(target, found, rows, C, ignored):
    """``found`` = [targets out of range, the first of them]."""
    bad = 0
    for r in range(rows):
        t = target[r]
        bad += (t != ignored) & ((t < 0) | (t >= C))
    found[0] = bad
    found[1] = 0
    if bad:
        r = 0
        while target[r] == ignored or 0 <= target[r] < C:
            r += 1
        found[1] = target[r]


@inline
def evenly_spaced(begin, end, C, inner):
    """Of samples ``begin`` to ``end`` the first with one step from each to the next: (the element of
    class 0 of the first, the step, the end of these samples).
    """
    if inner == 1:
        return begin * C, C, end
    outer = begin // inner
    return outer * (C - 1) * inner + begin, 1, min(end, (outer + 1) * inner)


@kernel
def forward(
    dtype: str, logits: bool, kept: bool, short: bool, reduction: str, alone: bool
) -> Kernel:
    """Per sample its loss, its weight and, from logits, their logsumexp; the log-probabilities too
    if they are to be ``kept``. ``alone``, a task does also what :func:`finish` does, and a reduction
    keeps no losses. ``weight`` may be null: all ones.
    """
    T = np.dtype(dtype).type
    logsumexp_of, subtract = logsumexp_rows(dtype, short), subtract_lse(dtype)
    reduced, mean = reduction != "none", reduction == "mean"
    keeps = not (alone and reduced)

    @inline
    def losses_of(task, x, targets, out, scale, status, lse, weight_sum, logs, ignored, given, p):
        C, inner = p.C, p.inner
        source, target = pointer(x, T), pointer(targets, np.int64)
        weights, losses = pointer(given.weight, T), pointer(given.losses, T)
        scales, lses = pointer(scale, T), pointer(lse, T)
        first, end = task * p.per, min(p.rows, (task + 1) * p.per)
        if logits:
            logsumexp_of(source, first, end, C, lses)
            if kept:
                subtract(source, first, end, C, lses, pointer(logs, T))
        total, divisor = 0.0, 0.0
        begin = first
        while begin < end:
            at, step, stop = evenly_spaced(begin, end, C, inner)
            for r in range(begin, stop):
                t = target[r]
                w, value = T(0), T(0)
                if t != ignored and 0 <= t < C:
                    w = weights[t] if given.weight != 0 else T(1)
                    value = -source[at + (r - begin) * step + t * inner]
                    if logits:
                        value = value + lses[r]
                    value = value * w
                if keeps:
                    losses[r] = value
                scales[r] = w
                total += value
                divisor += w
            begin = stop
        if alone:
            examine(target, pointer(status, np.int64), p.rows, C, ignored)
            if reduced:
                pointer(out, T)[0] = T(total / divisor) if mean else T(total)
                pointer(weight_sum, T)[0] = T(divisor)

    def keeping(task, x, targets, out, scale, status, lse, weight_sum, logs, ignored, given, p):
        losses_of(task, x, targets, out, scale, status, lse, weight_sum, logs, ignored, given, p)

    def plain(task, x, targets, out, scale, status, lse, weight_sum, ignored, given, p):
        losses_of(task, x, targets, out, scale, status, lse, weight_sum, 0, ignored, given, p)

    return (keeping if kept else plain), ("i" * (9 if kept else 8), Given, Samples)


def subtract_lse(dtype: str) -> DeviceFunction:
    """``subtract(x, first, end, C, lses, out)``: rows of ``C`` logits minus their logsumexp."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def subtract(x, first, end, C, lses, out):
        nothing = splat(T(0))
        for r in range(first, end):
            at, lse_r = r * C, splat(lses[r])
            i = 0
            while i + W <= C:
                store(out, at + i, load(x, at + i) - lse_r)
                i += W
            if i < C:
                mask = head(T, C - i)
                store_masked(out, at + i, load_masked(x, at + i, mask, nothing) - lse_r, mask)

    return subtract


def logsumexp_rows(dtype: str, short: bool) -> DeviceFunction:
    """``logsumexp_of(x, first, end, C, lses)``: the logsumexp of these rows of ``C`` logits.

    ``short`` rows are taken together, a row per lane: what is done
    across the lanes of a vector would cost more than their exponentials.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    highest, sum_exp = row_pieces(dtype)
    group, low = CrossEntropy.group, T(-np.inf)
    held, highs, totals = (
        local(dtype, CrossEntropy.group * CrossEntropy.short),
        local(dtype, CrossEntropy.group),
        local(dtype, CrossEntropy.group),
    )

    @inline
    def row_by_row(x, first, end, C, lses):
        for r in range(first, end):
            top = highest(x, r * C, C)
            lses[r] = top + log(sum_exp(x, r * C, C, top))

    @inline
    def rows_across_lanes(x, first, end, C, lses):
        lines, tops, sums = held(), highs(), totals()
        for r in range(first, end, group):
            count = min(group, end - r)
            for c in range(C):
                for k in range(count):
                    write(lines, c * group + k, read(x, (r + k) * C + c))
            for k in range(0, count, W):  # the last lanes may hold anything
                top, total = splat(low), splat(T(0))
                for c in range(C):
                    top = peak(load(lines, c * group + k), top)
                for c in range(C):
                    total = total + exp_decay(load(lines, c * group + k) - top)
                store(tops, k, top)
                store(sums, k, total)
            for k in range(count):
                write(lses, r + k, read(tops, k) + log(read(sums, k)))

    return rows_across_lanes if short else row_by_row


@inline
def sum_of(x, count):
    """The sum of ``count`` elements in double precision: four sums, so that an addition needs not wait
    for the last.
    """
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for i in range(0, count - 3, 4):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
    for i in range(count - count % 4, count):
        a += x[i]
    return (a + b) + (c + d)


@kernel
def finish(dtype: str, reduction: str) -> Kernel:
    """``status``, and the results of a reduction, once every sample has its loss: the losses' sum,
    for the mean over that of the weights.
    """
    T = np.dtype(dtype).type
    reduced, mean = reduction != "none", reduction == "mean"

    def body(task, targets, scale, loss, status, out, weight_sum, ignored, rows, C):
        examine(pointer(targets, np.int64), pointer(status, np.int64), rows, C, ignored)
        if reduced:
            losses, scales = pointer(loss, T), pointer(scale, T)
            total, divisor = sum_of(losses, rows), sum_of(scales, rows)
            pointer(out, T)[0] = T(total / divisor) if mean else T(total)
            pointer(weight_sum, T)[0] = T(divisor)

    return body, "iiiiiiiii"


@kernel
def backward(dtype: str, logits: bool, per_sample: bool) -> Kernel:
    """``(softmax - onehot) * factor`` for logits, whose log-probabilities ``x`` are; for
    log-probabilities ``-onehot * factor``.

    The factor is the sample's weight times its gradient (one for all unless ``per_sample``), over
    ``weight_sum`` unless that is null. ``rows`` of logits; else ``outer * inner`` samples.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def of_logits(source, made, at, C, class_at, w, factor):
        times, nothing = splat(factor), splat(T(0))
        i = 0
        while i + W <= C:
            store(made, at + i, exp_decay(load(source, at + i)) * times)
            i += W
        if i < C:
            mask = head(T, C - i)
            rest = exp_decay(load_masked(source, at + i, mask, nothing)) * times
            store_masked(made, at + i, rest, mask)
        if w != T(0):
            made[class_at] -= factor
        else:
            for k in range(C):
                made[at + k] = T(0)

    @inline
    def clear(made, at, count, C, inner):
        if inner == 1:
            for q in range(at, at + count * C):
                made[q] = T(0)
        else:
            for k in range(C):
                for q in range(at + k * inner, at + k * inner + count):
                    made[q] = T(0)

    def body(task, grad, x, targets, scale, weight_sum, out, p):
        C, inner = p.C, p.inner
        grads, target, scales = pointer(grad, T), pointer(targets, np.int64), pointer(scale, T)
        source, made = pointer(x, T), pointer(out, T)
        divisor = pointer(weight_sum, T)[0] if weight_sum != 0 else T(1)
        begin, end = task * p.per, min(p.rows, (task + 1) * p.per)
        while begin < end:
            first, step, stop = evenly_spaced(begin, end, C, inner)
            if not logits:
                clear(made, first, stop - begin, C, inner)
            for r in range(begin, stop):
                w, at = scales[r], first + (r - begin) * step
                factor, class_at = T(0), at + target[r] * inner
                if w != T(0):
                    factor = grads[r if per_sample else 0] * w / divisor
                if logits:
                    of_logits(source, made, at, C, class_at, w, factor)
                elif w != T(0):
                    made[class_at] = -factor
            begin = stop

    return body, ("iiiiii", Samples)


def _shared(rows: int, work: int) -> tuple[int, int]:
    """(rows per task, tasks), one task at least."""
    per, tasks = splitting.share(rows, work, CrossEntropy.grain, CrossEntropy.tasks)
    return per, max(1, tasks)


def cross_entropy(
    dtype: str, logits: bool, kept: bool, weighted: bool, reduction: str, outer: int, C: int,
    inner: int,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """A launch ``(x, targets, [weight], out, scale, status, [lse], [weight_sum], [logs], [scratch],
    ignored)``, and the bytes of scratch memory it needs.

    ``out`` holds a loss per sample for the reduction "none", else one number; ``scale`` the weight
    of every sample, ``lse`` (logits) its logsumexp; then ``weight_sum`` ("mean", "sum") their sum,
    and ``logs``, if ``kept``, the log-probabilities of logits.
    """
    rows = outer * inner
    per, tasks = _shared(rows, C if logits else 8)
    reduced, alone = reduction != "none", tasks == 1
    if backward_follows():
        backward.begin(dtype, logits, reduction == "none")
    if not alone:
        finish.begin(dtype, reduction)
    function = forward.build(
        dtype, logits, kept, logits and C <= CrossEntropy.short, reduction, alone
    )
    sizing = (*Samples(rows, per, C, inner), tasks, 0 if alone else TEAM)
    if alone and logits and reduced and not weighted:
        return bind(function, *Given(weight=0, losses=0), *sizing), 0
    run = bind(function, *sizing)
    last = None if alone else bind(finish.build(dtype, reduction), rows, C, 1, 0)
    scratch = rows * np.dtype(dtype).itemsize if reduced and not alone else 0

    def launch(
        x: int, targets: int, weight: int, out: int, scale: int, status: int, lse: int,
        weight_sum: int, logs: int, losses: int, ignored: int,
    ) -> None:  # fmt: skip
        if not reduced:
            losses = out
        made = (lse, weight_sum, logs) if kept else (lse, weight_sum)
        run(x, targets, out, scale, status, *made, ignored, *Given(weight, losses))
        if last is not None:
            last(targets, scale, losses, status, out, weight_sum, ignored)

    given = (True, True, weighted, True, True, True, logits, reduced, kept, scratch > 0)
    return with_absent(launch, given), scratch


def cross_entropy_backward(
    dtype: str, logits: bool, reduction: str, outer: int, C: int, inner: int
) -> Callable[..., None]:
    """A launch ``(grad, targets, scale, [log-probabilities], [weight_sum], out)``; see :func:`backward`.

    ``weight_sum`` is an operand for the reduction "mean" only.
    """
    rows = outer * inner
    per, tasks = _shared(rows, C)
    function = backward.build(dtype, logits, reduction == "none")

    run = bind(function, *Samples(rows, per, C, inner), tasks, TEAM if tasks > 1 else 0)

    def launch(grad: int, targets: int, scale: int, x: int, weight_sum: int, out: int) -> None:
        run(grad, x, targets, scale, weight_sum, out)

    return with_absent(launch, (True, True, True, logits, reduction == "mean"))

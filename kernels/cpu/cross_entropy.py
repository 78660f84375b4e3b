"""Negative log-likelihood of one class per sample, from log-probabilities or from logits.

Logits are (rows, C); log-probabilities (outer, C, inner), with a target for each outer and inner.
A target out of range, other than the one to ignore, is reported in ``status`` and read nothing
for: ``status[0]`` counts them, ``status[1]`` holds the first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.jit import bind, kernel
from tilegrad.kernels.cpu.memory import pointer
from tilegrad.kernels.cpu.softmax import row_pieces
from tilegrad.kernels.cpu.threads import TEAM
from tilegrad.kernels.cpu.vector import head, lanes, load, load_masked, splat, store, store_masked
from tilegrad.kernels.formulas.transcendental import exp_decay, log
from tilegrad.kernels.function import inline

GRAIN = 1 << 13  # elements a task handles at least; fewer in all: no threads
TASKS = 64


@inline
def examine(target, found, rows, C, ignored):  # type: ignore[no-untyped-def]
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


def conclusion(dtype: str, reduction: str):  # type: ignore[no-untyped-def]
    """``conclude(losses, scales, out, weight_sum, rows)``: the losses' sum, over the weights' sum
    for the mean; and that sum. Nothing for the reduction "none".
    """
    T = np.dtype(dtype).type
    none, mean = reduction == "none", reduction == "mean"

    @inline
    def conclude(losses, scales, out, weight_sum, rows):  # type: ignore[no-untyped-def]
        if not none:
            a, w = 0.0, 0.0
            for r in range(rows):
                a += losses[r]
                w += scales[r]
            pointer(out, T)[0] = T(a / w) if mean else T(a)
            pointer(weight_sum, T)[0] = T(w)

    return conclude


@kernel
def forward(dtype: str, logits: bool, reduction: str):  # type: ignore[no-untyped-def]
    """Per sample its loss, its weight and, from logits, their logsumexp; where one task does all,
    also what :func:`finish` does. ``weight`` may be null: all ones.
    """
    T = np.dtype(dtype).type
    highest, sum_exp = row_pieces(dtype)
    conclude = conclusion(dtype, reduction)

    def body(  # type: ignore[no-untyped-def]
        task, x, targets, weight, out, scale, status, lse, weight_sum, loss, ignored, rows, per, C,
        inner,
    ):  # fmt: skip
        source, target = pointer(x, T), pointer(targets, np.int64)
        weights, losses = pointer(weight, T), pointer(loss, T)
        scales, levels = pointer(scale, T), pointer(lse, T)
        for r in range(task * per, min(rows, (task + 1) * per)):
            t = target[r]
            known = t != ignored and 0 <= t < C
            w = T(0)
            value = T(0)
            if known:
                outer = r // inner
                w = weights[t] if weight != 0 else T(1)
                value = -source[(outer * C + t) * inner + (r - outer * inner)]
            if logits:
                top = highest(source, r * C, C)
                level = top + log(sum_exp(source, r * C, C, top))
                levels[r] = level
                value = value + level
            losses[r] = value * w if known else T(0)
            scales[r] = w
        if per >= rows:
            examine(target, pointer(status, np.int64), rows, C, ignored)
            conclude(losses, scales, out, weight_sum, rows)

    return body, "iiiiiiiiiiiiii"


@kernel
def finish(dtype: str, reduction: str):  # type: ignore[no-untyped-def]
    """``status``, and the results of a reduction, once every sample has its loss."""
    T = np.dtype(dtype).type
    conclude = conclusion(dtype, reduction)

    def body(task, targets, scale, loss, status, out, weight_sum, ignored, rows, C):  # type: ignore[no-untyped-def]
        examine(pointer(targets, np.int64), pointer(status, np.int64), rows, C, ignored)
        conclude(pointer(loss, T), pointer(scale, T), out, weight_sum, rows)

    return body, "iiiiiiiii"


@kernel
def backward(dtype: str, logits: bool, per_sample: bool):  # type: ignore[no-untyped-def]
    """``(softmax - onehot) * factor``, from log-probabilities ``-onehot * factor``.

    The factor is the sample's weight times its gradient (one for all unless ``per_sample``), over
    ``weight_sum`` unless that is null. ``rows`` of logits; else ``outer * inner`` samples.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)

    def body(task, grad, x, targets, scale, lse, weight_sum, out, rows, per, C, inner):  # type: ignore[no-untyped-def]
        grads, target, scales = pointer(grad, T), pointer(targets, np.int64), pointer(scale, T)
        source, levels, made = pointer(x, T), pointer(lse, T), pointer(out, T)
        divisor = pointer(weight_sum, T)[0] if weight_sum != 0 else T(1)
        for r in range(task * per, min(rows, (task + 1) * per)):
            w = scales[r]
            factor = T(0)
            if w != T(0):
                factor = grads[r if per_sample else 0] * w / divisor
            if logits:
                at = r * C
                level, times = splat(levels[r]), splat(factor)
                i = 0
                while i + W <= C:
                    store(made, at + i, exp_decay(load(source, at + i) - level) * times)
                    i += W
                if i < C:
                    mask = head(T, C - i)
                    rest = exp_decay(load_masked(source, at + i, mask, level) - level) * times
                    store_masked(made, at + i, rest, mask)
                if w != T(0):
                    made[at + target[r]] -= factor
                else:
                    for k in range(C):
                        made[at + k] = T(0)
            else:
                outer = r // inner
                at = outer * C * inner + (r - outer * inner)
                for k in range(C):
                    made[at + k * inner] = T(0)
                if w != T(0):
                    made[at + target[r] * inner] = -factor

    return body, "iiiiiiiiiii"


def _shared(rows: int, work: int) -> tuple[int, int]:
    """(rows per task, tasks), one task at least."""
    per = max(1, GRAIN // max(work, 1), -(-rows // TASKS))
    return per, max(1, -(-rows // per))


def cross_entropy(
    dtype: str, logits: bool, weighted: bool, reduction: str, outer: int, C: int, inner: int
) -> Callable[..., None]:
    """A launch ``(x, targets, [weight], out, scale, status, [lse], [weight_sum], ignored)``.

    ``out`` holds a loss per sample for the reduction "none", else one number; ``scale`` the weight
    of every sample, ``lse`` (logits) its logsumexp; then ``weight_sum`` ("mean", "sum") their sum,
    and for these a scratch address follows, of ``outer * inner`` losses.
    """
    rows = outer * inner
    per, tasks = _shared(rows, C if logits else 8)
    reduced = reduction != "none"
    team = TEAM if tasks > 1 else 0
    run = bind(forward.build(dtype, logits, reduction), rows, per, C, inner, tasks, team)
    if tasks == 1 and logits and reduced:
        return run if weighted else lambda x, targets, *rest: run(x, targets, 0, *rest)
    last = None if tasks == 1 else bind(finish.build(dtype, reduction), rows, C, 1, 0)

    def launch(x: int, targets: int, *rest: int) -> None:
        weight, rest = (rest[0], rest[1:]) if weighted else (0, rest)
        out, scale, status, *more, scratch, ignored = rest
        lse = more.pop(0) if logits else 0
        losses, weight_sum = (scratch, more[0]) if reduced else (out, 0)
        run(x, targets, weight, out, scale, status, lse, weight_sum, losses, ignored)
        if last is not None:
            last(targets, scale, losses, status, out, weight_sum, ignored)

    return launch


def cross_entropy_backward(
    dtype: str, logits: bool, reduction: str, outer: int, C: int, inner: int
) -> Callable[..., None]:
    """A launch ``(grad, targets, scale, [x, lse], [weight_sum], out)``; see :func:`backward`.

    ``weight_sum`` is an operand for the reduction "mean" only.
    """
    rows = outer * inner
    per, tasks = _shared(rows, C)
    function = backward.build(dtype, logits, reduction == "none")

    run = bind(function, rows, per, C, inner, tasks, TEAM if tasks > 1 else 0)

    def launch(grad: int, targets: int, scale: int, *rest: int) -> None:
        x, lse = (rest[0], rest[1]) if logits else (0, 0)
        weight_sum = rest[-2] if reduction == "mean" else 0
        run(grad, x, targets, scale, lse, weight_sum, rest[-1])

    return launch

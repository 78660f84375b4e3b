"""Negative log-likelihood of one class per sample, from log-probabilities or from logits.

Logits are (rows, C); log-probabilities (outer, C, inner), with a target for each outer and inner.
A target out of range, other than the one to ignore, is reported in ``status`` and read nothing
for: ``status[0]`` counts them, ``status[1]`` holds the first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.jit import kernel
from tilegrad.kernels.cpu.memory import pointer
from tilegrad.kernels.cpu.softmax import row_pieces
from tilegrad.kernels.cpu.threads import get_num_threads
from tilegrad.kernels.cpu.vector import head, lanes, load, load_masked, splat, store, store_masked
from tilegrad.kernels.formulas.transcendental import exp_decay, log

GRAIN = 1 << 13  # elements a task handles at least; fewer in all: no threads
TASKS = 64


@kernel
def forward(dtype: str, logits: bool):  # type: ignore[no-untyped-def]
    """Per sample its loss, its weight and, from logits, their logsumexp.

    ``weight`` may be null: all ones.
    """
    T = np.dtype(dtype).type
    highest, sum_exp = row_pieces(dtype)

    def body(task, x, targets, weight, loss, scale, lse, rows, per, C, inner, ignored):  # type: ignore[no-untyped-def]
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

    return body, "iiiiiiiiiii"


@kernel
def total(dtype: str, mean: bool):  # type: ignore[no-untyped-def]
    """``out`` = the losses' sum, over the weights' sum for the mean; ``weight_sum`` that sum."""
    T = np.dtype(dtype).type

    def body(task, loss, scale, out, weight_sum, rows):  # type: ignore[no-untyped-def]
        losses, scales = pointer(loss, T), pointer(scale, T)
        a, w = 0.0, 0.0
        for r in range(rows):
            a += losses[r]
            w += scales[r]
        pointer(out, T)[0] = T(a / w) if mean else T(a)
        pointer(weight_sum, T)[0] = T(w)

    return body, "iiiii"


@kernel
def check():  # type: ignore[no-untyped-def]
    """``status`` = [targets out of range, the first of them]."""

    def body(task, targets, status, rows, C, ignored):  # type: ignore[no-untyped-def]
        target, found = pointer(targets, np.int64), pointer(status, np.int64)
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

    return body, "iiiii"


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
    """(rows per task, tasks)."""
    per = max(1, GRAIN // max(work, 1), -(-rows // TASKS))
    return per, -(-rows // per)


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
    run, examine = forward.build(dtype, logits), check.build()
    finish = None if reduction == "none" else total.build(dtype, reduction == "mean")

    def launch(x: int, targets: int, *rest: int) -> None:
        weight, rest = (rest[0], rest[1:]) if weighted else (0, rest)
        out, scale, status, *more, ignored = rest
        lse = more.pop(0) if logits else 0
        losses = out if finish is None else more[1]
        examine(targets, status, rows, C, ignored, 1, 0)
        threads = get_num_threads() if tasks > 1 else 0
        run(x, targets, weight, losses, scale, lse, rows, per, C, inner, ignored, tasks, threads)
        if finish is not None:
            finish(losses, scale, out, more[0], rows, 1, 0)

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

    def launch(grad: int, targets: int, scale: int, *rest: int) -> None:
        x, lse = rest[:2] if logits else (0, 0)
        weight_sum = rest[-2] if reduction == "mean" else 0
        threads = get_num_threads() if tasks > 1 else 0
        where = (grad, x, targets, scale, lse, weight_sum, rest[-1])
        function(*where, rows, per, C, inner, tasks, threads)

    return launch

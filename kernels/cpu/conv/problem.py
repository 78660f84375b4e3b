"""What the output of a convolution and the gradient of its input have in common.

A *pass* is a list of jobs over one padded input, each a convolution of stride 1. The output of a
convolution is one job. The gradient of the input of a convolution of stride ``s`` is a job for each
residue of the input's position modulo ``s``: those taps that reach it, at every ``s``-th place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from tilegrad.kernels.cpu.conv.frame import taps
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.window import Triple, Window


class Job(NamedTuple):
    """One convolution of stride 1 over the frame.

    Attributes:
        counts: outputs per dimension. first, steps: where output 0 goes, and how far the next.
        reaches: per tap in use, what it lies after the first (padded) input.
        taps: their numbers.
    """

    counts: Triple
    first: int
    steps: Triple
    reaches: list[Triple]
    taps: list[int]


class Pass(NamedTuple):
    """Jobs over one input; channels are those of a group."""

    dtype: str
    batch: int
    groups: int
    inputs: int
    outputs: int
    size: Triple
    stride: Triple
    before: Triple
    out: Triple
    jobs: list[Job]


WORKERS = 16  # tasks that a weight's gradient is wanted in


def cut_rows(outputs: int, step: int, unit: int, others: int) -> int:
    """Outputs of a task of the weight's gradient, whole units: ``step``, fewer while that and the
    ``others`` ways it is cut give too few tasks, or as the splitting is forced.
    """
    if splitting.PIECES:
        return splitting.extent(outputs, step, unit)
    while step > unit and others * -(-outputs // step) < WORKERS // 2:
        step = -(-step // (2 * unit)) * unit
    return step


class WeightPass(NamedTuple):
    """The gradient of the weights; channels are those of a group."""

    dtype: str
    batch: int
    groups: int
    inputs: int
    outputs: int
    window: Window


def work_of(work: Pass | WeightPass) -> int:
    """Multiply-adds of a pass."""
    if isinstance(work, WeightPass):
        products = math.prod(work.window.kernel) * math.prod(work.window.out)
        return work.batch * work.groups * work.inputs * work.outputs * products
    pixels = sum(len(job.taps) * math.prod(job.counts) for job in work.jobs)
    return work.batch * work.groups * work.inputs * work.outputs * pixels


def forward_pass(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> Pass:
    """From ``x`` to ``y``."""
    _, H, W = window.out
    reaches = taps(window.kernel, window.dilation)
    job = Job(window.out, 0, (H * W, W, 1), reaches, list(range(len(reaches))))
    return Pass(
        dtype, batch, groups, inputs, outputs, window.size, window.stride, window.before,
        window.out, [job],
    )  # fmt: skip


def backward_pass(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> Pass:
    """From ``y`` to ``x``: its inputs are the ``outputs`` channels of ``y``."""
    phases = product(*(range(s) for s in window.stride))
    jobs = [job for job in (_phase(window, phase) for phase in phases) if all(job.counts)]
    lowest = _triple(min([0, *(r[axis] for job in jobs for r in job.reaches)]) for axis in range(3))
    before = _triple(-n for n in lowest)
    shifted = [job._replace(reaches=[_add(r, before) for r in job.reaches]) for job in jobs]
    return Pass(
        dtype, batch, groups, outputs, inputs, window.out, (1, 1, 1), before, window.size, shifted
    )  # fmt: skip


def _phase(window: Window, phase: tuple[int, ...]) -> Job:
    """The inputs ``q * stride + phase - before``, by the taps that reach them.

    The reaches are relative to ``y``: output ``o`` meets input ``o * stride + tap - before``.
    """
    size, _, _, stride, before, dilation = window
    _, H, W = size
    begin = _triple(-(-(b - f) // s) for b, f, s in zip(before, phase, stride, strict=True))
    end = _triple(
        (n - 1 + b - f) // s + 1 for n, b, f, s in zip(size, before, phase, stride, strict=True)
    )
    d, h, w = (q * s + f - b for q, s, f, b in zip(begin, stride, phase, before, strict=True))
    used = [
        (number, _triple((f - t) // s for f, t, s in zip(phase, tap, stride, strict=True)))
        for number, tap in enumerate(taps(window.kernel, dilation))
        if all(t % s == f for t, s, f in zip(tap, stride, phase, strict=True))
    ]
    return Job(
        _triple(max(0, e - b) for e, b in zip(end, begin, strict=True)),
        (d * H + h) * W + w,
        (stride[0] * H * W, stride[1] * W, stride[2]),
        [_add(begin, reach) for _, reach in used],
        [number for number, _ in used],
    )


def _triple(values: Iterable[int]) -> Triple:
    a, b, c = values
    return a, b, c


def _add(x: Triple, y: Triple) -> Triple:
    return _triple(a + b for a, b in zip(x, y, strict=True))

"""What the output of a convolution and the gradient of its input have in common.

A *problem* is a list of *sub-convolutions* over one padded input, each of stride 1. The output of a
convolution is one of them. The gradient of the input of a convolution of stride ``s`` has one for each
residue of the input's position modulo ``s``: of the taps that meet it, at every ``s``-th position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from tilegrad.kernels.cpu.conv.padded_input import taps
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.tuning import ConvWeight
from tilegrad.kernels.window import Triple, Window


class SubConv(NamedTuple):
    """One convolution of stride 1 over the padded input.

    Attributes:
        counts: outputs per dimension. first, steps: where output 0 goes, and how far the next.
        tap_offsets: per tap in use, its distance from the first (padded) input.
        taps: their numbers.
    """

    counts: Triple
    first: int
    steps: Triple
    tap_offsets: list[Triple]
    taps: list[int]


class ConvProblem(NamedTuple):
    """Sub-convolutions over one input; channels are those of a group."""

    dtype: str
    batch: int
    groups: int
    inputs: int
    outputs: int
    size: Triple
    stride: Triple
    before: Triple
    out: Triple
    sub_convs: list[SubConv]


def cut_rows(outputs: int, step: int, unit: int, others: int) -> int:
    """Outputs of a task of the weight's gradient, whole units: ``step``, fewer while that and the
    ``others`` ways it is cut give too few tasks, or as the splitting is forced.
    """
    if splitting.PIECES:
        return splitting.extent(outputs, step, unit)
    while step > unit and others * -(-outputs // step) < ConvWeight.tasks // 2:
        step = -(-step // (2 * unit)) * unit
    return step


class WeightGradProblem(NamedTuple):
    """The gradient of the weights; channels are those of a group."""

    dtype: str
    batch: int
    groups: int
    inputs: int
    outputs: int
    window: Window


def multiply_adds(problem: ConvProblem | WeightGradProblem) -> int:
    """Multiply-adds of a problem."""
    if isinstance(problem, WeightGradProblem):
        products = math.prod(problem.window.kernel) * math.prod(problem.window.out)
        return problem.batch * problem.groups * problem.inputs * problem.outputs * products
    pixels = sum(len(sub_conv.taps) * math.prod(sub_conv.counts) for sub_conv in problem.sub_convs)
    return problem.batch * problem.groups * problem.inputs * problem.outputs * pixels


def forward_problem(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> ConvProblem:
    """From ``x`` to ``y``."""
    _, H, W = window.out
    tap_offsets = taps(window.kernel, window.dilation)
    sub_conv = SubConv(window.out, 0, (H * W, W, 1), tap_offsets, list(range(len(tap_offsets))))
    return ConvProblem(
        dtype, batch, groups, inputs, outputs, window.size, window.stride, window.before,
        window.out, [sub_conv],
    )  # fmt: skip


def input_grad_problem(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> ConvProblem:
    """From ``y`` to ``x``: its inputs are the ``outputs`` channels of ``y``."""
    residues = product(*(range(s) for s in window.stride))
    sub_convs = [
        sub_conv
        for sub_conv in (_sub_conv(window, residue) for residue in residues)
        if all(sub_conv.counts)
    ]
    lowest = _triple(
        min([0, *(r[axis] for sub_conv in sub_convs for r in sub_conv.tap_offsets)])
        for axis in range(3)
    )
    before = _triple(-n for n in lowest)
    shifted = [
        sub_conv._replace(tap_offsets=[_add(r, before) for r in sub_conv.tap_offsets])
        for sub_conv in sub_convs
    ]
    return ConvProblem(
        dtype, batch, groups, outputs, inputs, window.out, (1, 1, 1), before, window.size, shifted
    )  # fmt: skip


def _sub_conv(window: Window, residue: tuple[int, ...]) -> SubConv:
    """The inputs ``q * stride + residue - before``, by the taps that reach them.

    The tap offsets are relative to ``y``: output ``o`` meets input ``o * stride + tap - before``.
    """
    size, _, _, stride, before, dilation = window
    _, H, W = size
    begin = _triple(-(-(b - f) // s) for b, f, s in zip(before, residue, stride, strict=True))
    end = _triple(
        (n - 1 + b - f) // s + 1 for n, b, f, s in zip(size, before, residue, stride, strict=True)
    )
    d, h, w = (q * s + f - b for q, s, f, b in zip(begin, stride, residue, before, strict=True))
    used = [
        (number, _triple((f - t) // s for f, t, s in zip(residue, tap, stride, strict=True)))
        for number, tap in enumerate(taps(window.kernel, dilation))
        if all(t % s == f for t, s, f in zip(tap, stride, residue, strict=True))
    ]
    return SubConv(
        _triple(max(0, e - b) for e, b in zip(end, begin, strict=True)),
        (d * H + h) * W + w,
        (stride[0] * H * W, stride[1] * W, stride[2]),
        [_add(begin, tap_offset) for _, tap_offset in used],
        [number for number, _ in used],
    )


def _triple(values: Iterable[int]) -> Triple:
    a, b, c = values
    return a, b, c


def _add(x: Triple, y: Triple) -> Triple:
    return _triple(a + b for a, b in zip(x, y, strict=True))

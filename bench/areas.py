"""All benchmarks, by area, and what each area has to reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilegrad.bench.rows import (
    convolution,
    elementwise,
    kernels,
    matmul,
    movement,
    overhead,
    recurrent,
    reductions,
)
from tilegrad.bench.rows.row import Row
from tilegrad.bench.steps import STEPS, Step

Benchmark = Row | Step


class Mark(NamedTuple):
    """Ratios of PyTorch's time to ours that an area promises: its geometric mean, its least row."""

    mean: float
    least: float


MARKS = {
    "elementwise": Mark(2.5, 1.0),
    "reductions": Mark(2.0, 1.0),
    "matmul": Mark(1.8, 1.0),
    "convolution": Mark(1.4, 0.95),
    "movement": Mark(1.5, 0.9),
    "recurrent": Mark(1.0, 0.3),  # images are resampled by gathers and products of their own
    "overhead": Mark(2.0, 1.2),
    "training": Mark(1.5, 1.1),
    "kernels": Mark(1.0, 0.05),  # users' kernels; the one-page product is no rival to a library's
}
ALL = Mark(2.0, 0.9)

ROWS: list[Benchmark] = [
    *elementwise.ROWS,
    *reductions.ROWS,
    *matmul.ROWS,
    *convolution.ROWS,
    *movement.ROWS,
    *recurrent.ROWS,
    *overhead.ROWS,
    *kernels.ROWS,
    *STEPS.values(),
]


def chosen(areas: Sequence[str] = (), part: str = "") -> list[Benchmark]:
    """Those of ``areas`` (all, if none is named) with ``part`` in ``area/name``, area by area."""
    wanted = areas or list(MARKS)
    rows = [r for area in MARKS for r in ROWS if r.area == area and area in wanted]
    return [r for r in rows if part in f"{r.area}/{r.name}"]

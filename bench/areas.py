"""All benchmarks, by area, and what each area has to reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilegrad.bench.failure import Failure
from tilegrad.bench.rows import (
    convolution,
    elementwise,
    fourier,
    kernels,
    linalg,
    matmul,
    movement,
    numbers,
    overhead,
    recurrent,
    reductions,
    special,
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
    "recurrent": Mark(1.2, 0.9),
    "fft": Mark(1.2, 0.66),  # 1.5 times PyTorch's time at most
    "linalg": Mark(1.5, 0.7),
    "complex": Mark(1.5, 0.7),
    "special": Mark(2.0, 0.9),
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
    *fourier.ROWS,
    *linalg.ROWS,
    *numbers.ROWS,
    *special.ROWS,
    *overhead.ROWS,
    *kernels.ROWS,
    *STEPS.values(),
]


def missing(area: str) -> str:
    """Why an area cannot be measured here, or ``""``."""
    if area == "kernels" and not kernels.EXAMPLES.is_dir():
        return "its ops are a clone's examples/kernels, which no installed package holds"
    return ""


def chosen(areas: Sequence[str] = (), part: str = "") -> list[Benchmark]:
    """Those of ``areas`` (all that can be measured, if none is named) with ``part`` in ``area/name``,
    area by area.

    Raises:
        Failure: a named area cannot be measured here.
    """
    for area in areas:
        if why := missing(area):
            raise Failure(f"area {area!r}: {why}")
    wanted = areas or [area for area in MARKS if not missing(area)]
    rows = [r for area in MARKS for r in ROWS if r.area == area and area in wanted]
    return [r for r in rows if part in f"{r.area}/{r.name}"]

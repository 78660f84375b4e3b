"""Every row in every library, grouped by row; ``-k`` chooses by area, row or library."""

from __future__ import annotations

from typing import Any

import pytest

from tilegrad.bench import libraries
from tilegrad.bench.areas import ROWS, Benchmark

RUNS = [(row, library) for row in ROWS for library in libraries.of(row)]


@pytest.mark.parametrize(
    "row, library", RUNS, ids=[f"{row.area}-{row.name}-{library}" for row, library in RUNS]
)
def test_row(benchmark: Any, row: Benchmark, library: str) -> None:
    benchmark.group = f"{row.area}: {row.name}"
    benchmark(row.prepare(library).call)

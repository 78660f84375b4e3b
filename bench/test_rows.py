"""Every row in every library, one group a row: ``-k`` chooses areas, rows and libraries."""

from __future__ import annotations

import pytest

from bench import libraries
from bench.areas import ROWS

RUNS = [pytest.param(r, x, id=f"{r.area}/{r.name}-{x}") for r in ROWS for x in libraries.of(r)]


@pytest.mark.parametrize(("row", "library"), RUNS)
def test_row(benchmark, row, library) -> None:
    benchmark.group = f"{row.area}: {row.name}"
    benchmark(row.prepare(library).call)

"""Benchmarks: reduction."""

from __future__ import annotations

import pytest

from bench.conftest import runs


@pytest.mark.parametrize(
    ("row", "library"), runs("reduction"), ids=lambda v: v if isinstance(v, str) else v.name
)
def test_reduction(benchmark, row, library) -> None:
    benchmark.group = row.name
    benchmark(row.prepare(library))

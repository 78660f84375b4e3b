"""Benchmarks: elementwise."""

from __future__ import annotations

import pytest

from bench.conftest import runs


@pytest.mark.parametrize(
    ("row", "library"), runs("elementwise"), ids=lambda v: v if isinstance(v, str) else v.name
)
def test_elementwise(benchmark, row, library) -> None:
    benchmark.group = row.name
    benchmark(row.prepare(library))

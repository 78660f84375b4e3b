"""Benchmarks: convolution."""

from __future__ import annotations

import pytest

from bench.conftest import runs


@pytest.mark.parametrize(
    ("row", "library"), runs("convolution"), ids=lambda v: v if isinstance(v, str) else v.name
)
def test_convolution(benchmark, row, library) -> None:
    benchmark.group = row.name
    benchmark(row.prepare(library))

"""Benchmarks: whole training steps."""

from __future__ import annotations

import pytest

from bench.conftest import LIBRARIES
from bench.steps import STEPS, prepare


@pytest.mark.parametrize("library", [x for x in LIBRARIES if x != "numpy"])
@pytest.mark.parametrize("name", STEPS)
def test_training_step(benchmark, name: str, library: str) -> None:
    benchmark.group = name
    benchmark(prepare(name, library))

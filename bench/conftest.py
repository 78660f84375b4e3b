"""Benchmarks through pytest-benchmark: ``make bench``."""

from __future__ import annotations

import pytest

from tilegrad.bench import libraries

THREADS = 2


def pytest_configure(config: pytest.Config) -> None:
    """The libraries' threads, in the order that disturbs least."""
    libraries.start(THREADS)

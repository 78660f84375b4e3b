"""pytest-benchmark runs of the same rows: ``make bench``."""

from __future__ import annotations

import os

import pytest

from bench import libraries


def pytest_configure(config: pytest.Config) -> None:
    """Threads, in the order that disturbs least."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        libraries.start(2)

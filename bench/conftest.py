"""Which libraries a benchmark runs in."""

from __future__ import annotations

import importlib.util

import pytest

from bench.rows import ROWS, Row

LIBRARIES = ["tilegrad", "numpy"] + (["torch"] if importlib.util.find_spec("torch") else [])
THREADS = 2


def pytest_configure(config: pytest.Config) -> None:
    """Start our threads before PyTorch's: two OpenMP teams disturb each other otherwise."""
    import tilegrad

    tilegrad.set_num_threads(THREADS)
    (tilegrad.ones(1 << 20) + 1).sum()
    if "torch" in LIBRARIES:
        import torch

        torch.set_num_threads(THREADS)


def runs(group: str) -> list[tuple[Row, str]]:
    """(row, library) pairs of one area."""
    return [
        (row, library)
        for row in ROWS
        if row.group == group
        for library in LIBRARIES
        if library != "numpy" or row.numpy is not None
    ]

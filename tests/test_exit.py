"""The end of a process: what machine code has the address of outlives everything that uses it."""

from __future__ import annotations

from pathlib import Path

from tests.exits import count


def test_exits_of_a_process_with_plans_threads_and_workers(tmp_path: Path) -> None:
    """Twenty here; 500 by hand: ``python -m tests.exits 500``."""
    assert not count(20, tmp_path / "ending.py")

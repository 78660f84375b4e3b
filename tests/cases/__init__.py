"""The table of ops: a module per family, a row per way to call an op; `test_cases.py` runs them all."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cases.case import Case

_NO_ROWS = ("__init__", "case")


def stems() -> list[str]:
    """The families."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [p.stem for p in files if p.stem not in _NO_ROWS and not p.stem.startswith("test_")]


def table() -> list[Case]:
    """Every row, by family."""
    return [c for s in stems() for c in importlib.import_module(f"tests.cases.{s}").CASES]

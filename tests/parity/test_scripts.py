"""Programs in the manner of PyTorch's public examples run unchanged, and learn as they do with PyTorch."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))


def _losses(shown: str) -> list[tuple[float, float]]:
    """(first, last) of each line that says so."""
    return [(float(a), float(b)) for a, b in re.findall(r"^LOSS (\S+) (\S+)$", shown, re.M)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_script(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tilegrad", "run", str(path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    runpy.run_path(str(path), run_name="__main__")
    ours, theirs = _losses(done.stdout), _losses(capsys.readouterr().out)
    assert len(ours) == len(theirs) > 0
    assert all(last < first for first, last in [*ours, *theirs])

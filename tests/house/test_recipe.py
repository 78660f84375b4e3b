"""What CONTRIBUTING.md says of adding an elementwise op, done word for word on a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.house import stubs

LEFT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", "results", "runs", "build"
)
USE = """
import pickle, tilegrad
x = tilegrad.tensor([3.0])
assert tilegrad.bump(x).item() == x.bump().item() == x.bump_().item() == x.item() != 3
assert pickle.loads(pickle.dumps(tilegrad.bump)) is tilegrad.bump
assert "bump" in tilegrad.__all__ and "1 + x^2" in tilegrad.bump.__doc__
"""
# a test of each kind: values, strides, special values, derivatives, on both devices
TESTS = (
    "test_forward[bump-float32-cpu]", "test_forward[bump-int64-cpu]",
    "test_forward[bump-float64-cuda]", "test_strided[bump-float32-cpu]",
    "test_special_values[bump-special-float32-cuda]", "test_gradient[bump-cpu]",
    "test_gradient[bump-cuda]", "test_gradcheck[bump]", "test_gradgradcheck[bump]",
    "test_points[bump-float32]", "test_nothing_has_fallen_out",
)  # fmt: skip


def _run(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f".dev{os.pathsep}."},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _insert(path: Path, text: str, before: str, count: int) -> None:
    """Put ``text`` before the line that begins with ``before``; ``count`` lines of it are not empty."""
    lines = path.read_text()
    assert lines.count(f"\n{before}") == 1, f"{path.name}: {before}"
    assert len([line for line in text.splitlines() if line]) == count
    path.write_text(lines.replace(f"\n{before}", f"\n{text}{before}"))


def test_contributing_adds_an_op_in_two_files(tmp_path: Path) -> None:
    tree = tmp_path / "tilegrad"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=LEFT)
    section = (tree / "CONTRIBUTING.md").read_text().split("\n## ")[1]
    formula, row, method = re.findall(r"```(?:python)?\n(.*?)```", section, re.S)
    formulas, methods = re.findall(r"`(\w+/[\w/]+\.py)`", section)[:2]
    assert stubs.COMMAND in section
    _insert(tree / formulas, f"{formula}\n\n", "TABLE = table(", 5)
    _insert(tree / formulas, row, '    _floating("leaky_relu"', 1)
    _insert(tree / methods, method, "    ceil, ceil_ =", 1)
    _run(tree, *stubs.COMMAND.split()[1:])
    chosen = ("-k", "bump or fallen", "tests/cases", "tests/house/test_registry.py")
    said = _run(tree, "-m", "pytest", "-v", "-n", "0", *chosen)
    for test in TESTS:
        assert re.search(rf"::{re.escape(test)} PASSED", said), said
    _run(tree, "-c", USE)

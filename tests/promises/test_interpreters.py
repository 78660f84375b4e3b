"""The interpreter's own options change nothing: without docstrings and assertions, with every warning an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = """
import tilegrad as tg
from tilegrad.formulas import exp
from tilegrad import nn


@tg.elementwise
def swish(x, beta):
    \"\"\"x times the sigmoid of beta x.\"\"\"
    return x / (1 + exp(-beta * x))


tg.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
optimizer = tg.optim.Adam(net.parameters(), 0.01)
x, y = tg.randn(16, 4), tg.randint(0, 3, (16,))
for _ in range(3):
    loss = nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
beta = tg.tensor(1.5, requires_grad=True)
swish(x, beta).sum().backward()
print(loss.item(), beta.grad.item(), nn.functional.hardtanh_(x).max().item())
"""


def _printed(*options: str, before: str = "", **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, *options, "-c", before + PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr[-3000:]
    return ran.stdout


@pytest.fixture(scope="module")
def plain() -> str:
    """What the program prints without options."""
    return _printed()


@pytest.mark.parametrize("options", [("-OO",), ("-X", "dev", "-bb", "-W", "error")], ids=" ".join)
def test_options(plain: str, options: tuple[str, ...]) -> None:
    """No docstring and no assertion is leaned on; nothing warns, leaks a file or compares bytes with str."""
    assert _printed(*options) == plain


def test_bare_environment(plain: str, tmp_path: Path) -> None:
    """No locale, no folder for temporary files, one processor."""
    bare = {"LANG": "C", "LC_ALL": "C", "TMPDIR": str(tmp_path / "no")}
    one = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    assert _printed(before=one, **bare) == plain

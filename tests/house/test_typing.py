"""What a type checker makes of a program that uses the installed package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = """
import tilegrad
from tilegrad import *
from tilegrad import Tensor, nn

x: Tensor = tilegrad.exp(ones(3))
y = arcsin(x.sigmoid().mul(2.0)).maximum(x)
reveal_type(tilegrad.exp)  # def (input: Tensor, out: Tensor | None =) -> Tensor
reveal_type(tilegrad.mul)  # def (input: Tensor, other: Tensor | float | int | bool, out: Tensor | None =) -> Tensor
reveal_type(x.exp_())  # Tensor
reveal_type(x.eq_(2.0))  # Tensor
reveal_type(nn.functional.silu(y))  # Tensor
reveal_type(tilegrad.float32)  # DType
tilegrad.exp("x")  # incompatible type "str"; expected "Tensor"
tilegrad.mul(x)  # Missing positional argument "other"
tilegrad.expp(x)  # has no attribute "expp"
x.digamma_()
digamma_(x)  # "digamma_" is not defined
"""


def test_functions_made_from_rows_have_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(PROGRAM)
    how = ("--strict", "--config-file=", "--cache-dir=cache", "--follow-imports=silent")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *how, "program.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / ".dev")},
        check=False,
    )
    said = {}
    for line in done.stdout.splitlines():
        if found := re.match(r"program.py:(\d+): (?:note|error): (.*)", line):
            said[int(found[1])] = re.sub(r"tilegrad[\w.]+\.", "", found[2])
    expected = {n: line for n, line in enumerate(PROGRAM.splitlines(), 1) if "  # " in line}
    assert said.keys() == expected.keys(), done.stdout + done.stderr
    for number, line in expected.items():
        assert line.split("  # ")[1] in said[number]


MOST = 229  # lines of autograd that say Any, imports of it too: lower it with every change that takes some away


def test_any_does_not_spread() -> None:
    texts = [path.read_text() for path in (ROOT / "autograd").rglob("*.py")]
    said = sum(bool(re.search(r"\bAny\b", line)) for text in texts for line in text.splitlines())
    assert said <= MOST, f"{said} lines say Any: name the type, or object where any value is meant"

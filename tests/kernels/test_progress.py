"""Compilation shows itself on a terminal, and only there."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = """if True:
    import sys, tilegrad
    print("one", tilegrad.ones(3).sum().item(), flush=True)
    print("two", tilegrad.ones(3).exp().sum().item() > 8, flush=True)
"""


def on_terminal(code: str, **environment: str) -> str:
    """All that a process writes on a terminal of 60 columns, its stdout and stderr."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=theirs, stderr=theirs, stdin=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TERM": "xterm", "COLUMNS": "60",
             **environment},
    )  # fmt: skip
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # all have closed it
            break
        if not part:
            break
        found += part
    os.close(ours)
    assert program.wait() == 0, found
    return found.decode()


def screen(text: str) -> list[str]:
    """The lines that remain when \\r goes back and ESC [K erases the rest."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in re.split(r"(\r|\x1b\[K)", line):
            if part == "\r":
                column = 0
            elif part == "\x1b[K":
                shown = shown[:column]
            else:
                column = 0 if not shown else column
                shown = shown[:column] + part + shown[column + len(part) :]
                column += len(part)
        lines.append(shown)
    return lines


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("kernels"))


def test_a_terminal_sees_what_is_compiled_and_then_no_more(cache: str) -> None:
    text = on_terminal(PROGRAM, TILEGRAD_CACHE_DIR=cache)
    lines = re.findall(r"\r\x1b\[K(compiling kernels (\d+)/(\d+): [^\r]*)", text)
    names = " ".join(line for line, _, _ in lines)
    assert "elementwise_map_rows_fill" in names and "reduce_rows_sum" in names
    assert all(0 < int(done) <= int(known) for _, done, known in lines)
    assert max(len(line) for line, _, _ in lines) < 60
    assert screen(text) == ["one 3.0", "two True", ""]
    assert on_terminal(PROGRAM, TILEGRAD_CACHE_DIR=cache) == "one 3.0\r\ntwo True\r\n"


def test_quiet_is_quiet(tmp_path: Path) -> None:
    environment = {"TILEGRAD_CACHE_DIR": str(tmp_path), "TILEGRAD_QUIET": "1"}
    assert on_terminal(PROGRAM, **environment) == "one 3.0\r\ntwo True\r\n"


def test_a_pipe_sees_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("one 3.0\ntwo True\n", "")
    closed = f"import sys; sys.stderr = None\n{PROGRAM}"
    assert "two True" in on_terminal(closed, TILEGRAD_CACHE_DIR=str(tmp_path / "another"))

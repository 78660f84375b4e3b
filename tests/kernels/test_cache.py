"""The kernel cache: damaged, unwritable, and keyed by every source involved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def _cached(code: str, cache: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache)},
    )  # fmt: skip
    return done.stdout.split()


def test_a_corrupt_cache_entry_is_compiled_again(tmp_path: Path) -> None:
    code = (
        "import tilegrad\nfrom tilegrad.kernels.cpu.run import jit\n"
        "print((tilegrad.ones(3) + 1).tolist()[0], sum(c for *_, c in jit.compile_log))"
    )
    assert _cached(code, tmp_path)[0] == "2.0"
    for entry in tmp_path.glob("*.o"):
        entry.write_bytes(entry.read_bytes()[:100])
    assert _cached(code, tmp_path)[0] == "2.0"


def test_the_key_covers_helpers_in_other_files() -> None:
    from tilegrad.kernels.function import _closure

    closure = _closure("tilegrad.kernels.cpu.elementwise")
    assert {"tilegrad.kernels.cpu.simd.memory", "tilegrad.kernels.cpu.run.native"} <= closure
    formulas = _closure("tilegrad.kernels.formulas.activation")
    assert {
        "tilegrad.kernels.formulas.transcendental",
        "tilegrad.kernels.formulas.primitives",
    } <= formulas


def test_an_unwritable_cache_costs_only_speed(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert _cached("import tilegrad; print((tilegrad.ones(3) + 1).tolist()[0])", blocked) == ["2.0"]

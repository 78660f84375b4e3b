"""How kernels come to be: the same object anywhere, kept as soon as it is done, no needless work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(code: str, cache: Path | str, cwd: Path | str = "/", **environment: str) -> str:
    """What ``code`` prints in a process of its own that keeps its kernels in ``cache``."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache),
             **environment},
    )  # fmt: skip
    return done.stdout


def objects(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("*.o")}


SOFTMAX = "x = tilegrad.zeros(3, 5); x.softmax(1)"
# helpers that the second program has translated before, for other kernels
OTHERS = "y = tilegrad.ones(7); (y.exp() * y.tanh()).sum(0); y.log_softmax(0); y.std()"


def test_objects_are_the_same_from_process_to_process(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(f"import tilegrad; {SOFTMAX}", first, PYTHONHASHSEED="1")
    run(f"import tilegrad; {OTHERS}; {SOFTMAX}", second, PYTHONHASHSEED="2")
    one, two = objects(first), objects(second)
    assert len(one) >= 2 and set(one) < set(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_numba_only_translates(tmp_path: Path) -> None:
    """Its own libraries, optimised function by function and made into machine code, stay unused."""
    code = """if True:
        import numba.core.codegen as codegen, tilegrad
        made = []
        codegen.CPUCodeLibrary.__init__ = lambda self, *a: made.append(a)
        print((tilegrad.ones(5).exp() + 1).sum().isfinite().item(), made)
    """
    assert run(code, tmp_path).split() == ["True", "[]"]


def test_an_empty_cache_folder_means_unset(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = "import tilegrad; tilegrad.ones(3)"
    run(code, "", home, XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert not list(home.iterdir())
    assert list((tmp_path / "xdg" / "tilegrad").glob("*.o"))

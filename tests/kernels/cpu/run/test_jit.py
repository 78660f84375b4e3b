"""How kernels come to be: the same object anywhere, kept as soon as it is done, no needless work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tilegrad
from tests.conftest import ROOT
from tilegrad.engine.linking import CALLS
from tilegrad.kernels.cpu.run import jit


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
    """Of kernels."""
    found = [path for path in cache.rglob("*.o") if not path.name.startswith(CALLS)]
    return {path.name: path.read_bytes() for path in found}


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


BEGIN = """if True:
    import os, sys, threading, time, tilegrad
    from tilegrad.kernels import cache
    from tilegrad.kernels.cpu import softmax
    from tilegrad.kernels.cpu.run import ahead
    ahead.processors = lambda: 2
    variants = [(dtype, logs) for dtype in ("float32", "float64") for logs in (False, True)]
    for variant in variants:
        softmax.softmax_rows.begin(*variant)
"""


def test_kernels_are_begun_ahead_and_taken_over(tmp_path: Path) -> None:
    code = f"""{BEGIN}
    started = len(ahead._jobs)
    with ahead.compiler:  # nobody else translates: what waits is taken over, the rest waited for
        for variant in reversed(variants):
            softmax.softmax_rows.build(*variant)
    print(started, len(cache.compile_log), any(cached for *_, cached in cache.compile_log))
    print(len(os.listdir(cache.cache_dir())), ahead._jobs, ahead._waiting)
    """
    assert run(code, tmp_path).split() == ["4", "4", "False", "4", "{}", "{}"]


def test_what_fails_ahead_fails_where_it_is_needed(tmp_path: Path) -> None:
    code = f"""{BEGIN}
    softmax.softmax_rows.begin("float31", False)
    while ahead._jobs:
        time.sleep(0.01)
    for _ in range(2):
        try:
            softmax.softmax_rows.build("float31", False)
        except Exception as error:
            print(type(error).__name__)
    print(float((tilegrad.ones(3) * 2).sum()))
    """
    assert run(code, tmp_path).split() == ["TypeError", "TypeError", "6.0"]


def test_a_process_may_end_and_fork_while_kernels_are_begun(tmp_path: Path) -> None:
    code = f"""{BEGIN}
    child = os.fork()
    value = float(tilegrad.zeros(2, 4).softmax(1).sum())
    if child:
        print(os.waitpid(child, 0)[1], value)
    else:
        os._exit(0 if value == 2 else 1)
    import atexit  # what is registered first runs last
    atexit.register(lambda: print(float(tilegrad.zeros(2, 4, dtype=tilegrad.float64).log_softmax(1).sum())))
    atexit.unregister(ahead.close)
    atexit.register(ahead.close)
    for logs in (False, True):
        softmax.backward_rows.begin("float64", logs)
    """
    begin = time.perf_counter()
    zero, value, last = run(code, tmp_path).split()
    assert (zero, value) == ("0", "2.0") and float(last) < -11
    assert time.perf_counter() - begin < 60


def test_a_killed_program_keeps_what_it_had_compiled(tmp_path: Path) -> None:
    code = (
        "import tilegrad; x = tilegrad.ones(5)\nfor f in (x.sum, x.exp, x.sin, x.sort, x.tanh): f()"
    )
    environment = {"PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **environment}
    ) as program:
        while program.poll() is None and len(objects(tmp_path)) < 3:
            time.sleep(0.01)
        assert program.poll() is None
        kept = objects(tmp_path)
        program.kill()
    assert len(kept) >= 3
    count = "from tilegrad.kernels import cache; print(sum(c for *_, c in cache.compile_log))"
    assert int(run(f"{code}\n{count}", tmp_path)) >= len(kept)


def test_a_kernel_refuses_wrong_arguments() -> None:
    (tilegrad.ones(3) + 1).sum()
    from tilegrad.engine.ops.elementwise import OPS
    from tilegrad.kernels.cpu.elementwise import map_rows

    function = map_rows.build(OPS["add"].formula.function, ("float32",) * 3, "ccc", 0)
    with pytest.raises(TypeError):
        function(1, 2)
    with pytest.raises(TypeError):
        function(*["a"] * 8)
    assert jit.compile_log

"""Machine code over objects, kept on disk: found by the next process, and never where objects differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tilegrad.engine.interpreter import why_plain
from tilegrad.engine.linking import Objects

compiled = pytest.mark.skipif(why_plain() is not None, reason=f"calls are plain: {why_plain()}")

USE = """if True:
    import sys
    import tilegrad
    from tilegrad.engine import linking
    if "once" in sys.argv:
        def refuse(*args):
            raise SystemExit("it is compiled again")
        linking.compiled = refuse
    w = tilegrad.arange(6.0).requires_grad_()
    y = (w.view(2, 3).t() * w[:2]).sum(1)
    y.sum().backward()
    print(y.tolist(), w.grad.tolist(), tilegrad.arange(3).sort()[0].tolist())
"""


def use(cache: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", USE, *words], capture_output=True, text=True, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache)},
    )  # fmt: skip
    return done.stdout + done.stderr[-500:]


@compiled
def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    first = use(tmp_path)
    files = sorted(tmp_path.glob("calls_*.o"))
    assert [f.name.split("-")[0] for f in files] == [
        "calls_dealloc", "calls_ops", "calls_record", "calls_storage",
    ]  # fmt: skip
    assert first == use(tmp_path, "once") and first.startswith("[3.0, 4.0, 5.0]")
    files[1].write_bytes(files[1].read_bytes()[:-1] + b"x")
    assert "it is compiled again" in use(tmp_path, "once")
    assert use(tmp_path) == first == use(tmp_path, "once")


class _Two:
    __slots__ = ("a", "b")


class _Swapped:
    __slots__ = ("b_", "a", "b")


def test_names_and_where_fields_are() -> None:
    mode: list[int] = []
    names = Objects({"kind": _Two, "mode": mode, "same": None}, {"cell": 4096})
    assert names.name_of(mode) == "tilegrad_object_mode"
    assert names.name_of(None) == "tilegrad_object_none"  # one object, one name
    assert names.addresses()["tilegrad_object_cell"] == 4096
    assert names.addresses()["tilegrad_object_mode"] == id(mode)
    with pytest.raises(KeyError):
        names.name_of([])
    others = [
        Objects({"kind": _Swapped, "mode": mode, "same": None}, {"cell": 4096}),
        Objects({"kind": _Two, "mode": mode, "same": True}, {"cell": 4096}),
        Objects({"kind": _Two, "mode": mode, "same": None}, {"cells": 4096}),
    ]
    assert len({names.facts(), *[o.facts() for o in others]}) == 4

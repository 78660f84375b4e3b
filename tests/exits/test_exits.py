"""The end of a process: what machine code has the address of outlives everything that uses it."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.exits.__main__ import count
from tilegrad.kernels import builtin


def test_exits_of_a_process_with_plans_threads_and_workers(tmp_path: Path) -> None:
    """Twenty here; 500 by hand: ``python -m tests.exits 500``."""
    assert not count(20, tmp_path / "ending.py")


def test_no_container_keeps_what_machine_code_has_the_address_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A built-in's definition and its code live without an owner: owners are emptied at the end."""
    made: list[weakref.ref[Any]] = []

    class Definition(builtin._MethodDef):
        def __init__(self, *fields: Any) -> None:
            super().__init__(*fields)
            made.append(weakref.ref(self))

    class Code:
        pass

    monkeypatch.setattr(builtin, "_MethodDef", Definition)
    code = Code()
    made.append(weakref.ref(code))
    function = builtin.built_in(0, "nothing", keep=code)
    bound = builtin.bind(function, 1, 2.0)
    del function, bound, code
    gc.collect()
    kept = [ref() for ref in made]
    assert len(kept) == 2 and None not in kept
    for value in kept:
        assert all(owner is kept or owner is sys._getframe() for owner in gc.get_referrers(value))

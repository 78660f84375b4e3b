"""The end of a process: what machine code has the address of outlives everything that uses it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.exits import interrupts
from tests.exits.__main__ import count
from tilegrad.kernels import builtin


def test_exits_of_a_process_with_plans_threads_and_workers(tmp_path: Path) -> None:
    """Twenty here; 500 by hand: ``python -m tests.exits 500``."""
    assert not count(20, tmp_path / "ending.py")


def test_interrupts_leave_nothing_behind(tmp_path: Path) -> None:
    """Two of each here; 100 by hand, and while compiling and loading: ``python -m tests.exits.interrupts 100``."""
    names = ("kernel", "step", "device")
    said = interrupts.count(",".join(names), 2, tmp_path).splitlines()
    assert said == [f"{name}: 2 of 2" for name in names]


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


ENDING = """
import atexit
import sys
import weakref

import tilegrad


class Holder:
    def __init__(self, name):
        self.name, self.x = name, tilegrad.ones(3, requires_grad=True)

    def __del__(self):
        y = (self.x * 2 + 1).sum()
        y.backward()
        print(self.name, y.item(), self.x.grad.tolist(), tuple(self.x[1:].shape), flush=True)


Holder("warm")
cycle = Holder("cycle")
cycle.me = cycle
del cycle
tilegrad.kept = Holder("of the module")
held = tilegrad.ones(3)
weakref.finalize(held, lambda: print("finalized", (tilegrad.ones(3) * 2).sum().item(), flush=True))
atexit.register(lambda: print("at exit", (held * 2).sum().item(), flush=True))
"""


@pytest.mark.parametrize("native", ["1", "0"])
def test_tensors_are_of_use_until_the_very_end(native: str) -> None:
    """In handlers at exit, finalizers, and __del__ of what a cycle or a module keeps: forward, views and a
    backward pass, by ops that ran before.
    """
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_NATIVE": native},
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    passed = "9.0 [2.0, 2.0, 2.0] (2,)"
    assert sorted(done.stdout.splitlines()) == sorted([
        f"warm {passed}", f"cycle {passed}", f"of the module {passed}", "finalized 6.0", "at exit 6.0",
    ])  # fmt: skip


LATE = """
import tilegrad


class Holder:
    def __init__(self):
        self.x = tilegrad.ones(3, requires_grad=True)
        self.y = self.x.cosh()  # differentiated by what has not run so far

    def __del__(self):
        for late in (lambda: tilegrad.erf(self.x), lambda: self.y.backward(tilegrad.ones(3))):
            try:
                late()
            except RuntimeError as error:
                print(error, flush=True)


tilegrad.kept = Holder()
"""


def test_what_did_not_run_before_is_refused_at_the_end() -> None:
    """Where nothing can be imported any more: a RuntimeError that says so, forward and backward."""
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all("Python is shutting down" in line for line in lines)
    assert lines[0].startswith("erf: ") and lines[1].startswith("cosh_backward: ")

"""Which interpreters get machine code over their objects, and the plain way of the others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tilegrad.engine import interpreter

PROGRAM = """
import sys
from tilegrad.engine import interpreter
{change}
import tilegrad
from tilegrad.engine import calls, memory, plain
import tilegrad.nn.functional as F
x = tilegrad.arange(12.0).view(3, 4).requires_grad_()
y = tilegrad.ones(3, 4, requires_grad=True)
for _ in range(3):  # the second and third time by what the first has left
    x.grad = y.grad = None
    part = (x * y + x).relu()[1:, ::2].t()
    (F.softmax(part, 0).exp() @ part.sum(0)).sum().backward()
    one, two = x.detach().sort(0)
print(interpreter.why_plain(), type(x.storage) is plain.Storage, float(x.grad.sum()))
held = memory.HOST.counts.allocated
del part, one, two, x, y
print(memory.HOST.counts.allocated < held)
"""


def run(change: str, **environment: str) -> list[str]:
    """What the program prints, words of its lines, in a process whose interpreter module is changed."""
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(change=change)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TILEGRAD_NATIVE": "1", "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


TUPLE = "interpreter.TUPLE_ITEMS += 8"  # what CPython 3.14 did


@pytest.mark.parametrize(
    "change, environment, reason",
    [
        (TUPLE, {}, "objects of this interpreter differ: the items of a tuple"),
        ("interpreter.LIST_ITEMS -= 8", {}, "objects of this interpreter differ: the items of a list"),
        ("interpreter.SIZE += 16", {}, "objects of this interpreter differ: the head of an object"),
        ("interpreter.slot_offset = lambda kind, name: 16", {}, "objects of this interpreter differ: the slots of a class"),
        ("interpreter.TESTED = ((3, 6), (3, 7))", {}, f"Python 3.{sys.version_info[1]} was not tested"),
        ("interpreter.sysconfig.get_config_var = lambda name: 1", {}, "the interpreter has no global lock"),
        ("", {"TILEGRAD_NATIVE": "0"}, "TILEGRAD_NATIVE=0"),
    ],
)  # fmt: skip
def test_other_interpreters_take_the_plain_way(
    change: str, environment: dict[str, str], reason: str
) -> None:
    """The same numbers, and memory that is given back."""
    native = run("")
    plain = run(change, **environment)
    assert native[0].startswith("None False ") and native[1] == "True"
    assert plain[0].startswith(f"{reason} True ") and plain[1] == "True"
    assert plain[0].split()[-1] == native[0].split()[-1]


def test_this_interpreter_is_known() -> None:
    assert interpreter._wrong_offset() is None
    oldest, newest = interpreter.TESTED
    assert oldest <= sys.version_info[:2] <= newest

"""`.explain` of ops of one's own: formula, derivatives, both devices' kernels; this process stays as it was."""

from __future__ import annotations

import os
import re

import pytest

import tilegrad
from tilegrad.autograd.explaining import formulas
from tilegrad.engine import cuda, inspection


@tilegrad.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))  # noqa: F821


@tilegrad.fuse
def gated(x, gate):
    return tilegrad.where(gate > 0, x, 0) * gate


@tilegrad.op("twice(x: f[*B]) -> y: like x")
def twice(x):
    return x + x


def test_everything_is_shown_and_nothing_changes(capsys):
    x = tilegrad.rand(5, requires_grad=True)
    before, available = swish(x), cuda.is_available()
    swish.explain((1000, 1000), arch="sm_80", ptx=True, asm=True)
    said = capsys.readouterr().out
    for words in (
        "def swish(x, beta):", "# d swish / d x", "# d swish / d beta", "on sm_80 (A100", "2 launches of 2 kernels",
        "registers ", "stack, spills   0, 0 bytes", "shared memory", "occupancy ", "formula swish_backward_x",
        "def map_body(", "def map_rows_body(", ".visible .entry", "at best ",
    ):  # fmt: skip
        assert words in said, words
    assert (
        len(re.findall(r"^  assembly$", said, re.M)) == 2
    )  # of the forward and the backward kernel
    assert tilegrad.equal(swish(x), before) and cuda.is_available() == available
    swish.explain(10, backward=False, arch="sm_90")
    said = capsys.readouterr().out
    assert "1 launch of 1 kernel" in said and said.count(": 1 kernel\n") == 1


@tilegrad.fuse
def precise(x, y):
    """Several types in one formula, which NVVM must take too."""
    inside = (x > 0) & (y.double() < 1)
    return tilegrad.where(inside, (x.double() * y).float(), (x > y) * 2)


def test_other_kinds_of_ops(capsys):
    precise.explain(1000)
    said = capsys.readouterr().out
    assert "float64(x)" in said and "3 launches of 3 kernels" in said
    gated.explain((4, 5), (5,), dtype="float64")
    said = capsys.readouterr().out
    assert "gated, float64 (4, 5), float64 (5,), on " in said and "# d gated / d gate" in said
    twice.explain(100)
    assert "twice, float32 (100,), on" in capsys.readouterr().out
    assert formulas(twice.subject) == ""
    with pytest.raises(ValueError, match=r"swish: arch must be one of sm_75, .*; got 'sm_1'"):
        swish.explain(arch="sm_1")
    with pytest.raises(TypeError, match="a shape is given for all operands"):
        gated.explain((4,), (4,), (4,))


def test_errors_of_the_child_are_told(monkeypatch, capsys):
    def fails():
        raise inspection.InspectionError("no assembler")

    with pytest.raises(inspection.InspectionError, match="no assembler"):
        inspection.apart(fails)
    with pytest.raises(inspection.InspectionError, match="ZeroDivisionError: division by zero"):
        inspection.apart(lambda: str(1 / 0))
    with pytest.raises(inspection.InspectionError, match="ended early"):
        inspection.apart(lambda: os._exit(1))
    monkeypatch.setitem(__import__("sys").modules, "numba.cuda", None)
    swish.explain(10)
    assert re.search(r"swish, on sm_90: left out: .*tilegrad\[cuda\]", capsys.readouterr().out)

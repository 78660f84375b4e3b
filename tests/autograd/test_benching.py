"""`.bench` of ops of one's own: what is measured, against what, and what is left out and why."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd import benching
from tilegrad.autograd.picture import bars
from tilegrad.autograd.porting import PortError, ported
from tilegrad.autograd.subject import Subject
from tilegrad.engine import cuda, timing
from tilegrad.kernels.formulas.operations import operations
from tilegrad.nn import functional as F

HALF = 0.5
WEIGHT = tilegrad.full((3,), 2.0)


@tilegrad.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))  # noqa: F821


@tilegrad.elementwise
def stepped(x, y):
    total = 0
    for k in range(3):
        total = total + k * math.sin(x)
    return y if x > 0 else total


@tilegrad.fuse
def gated(x, gate):
    return tilegrad.where(gate > 0, x * F.silu(gate), 0) * HALF


@tilegrad.op("scaled(x: f[*B], y: f[*B]) -> z: like x")
def scaled(x, y):
    return x * y.exp()


def helper(a: Any) -> Any:
    return max(a, 0) * math.pi + min(a, HALF, -1)


def both(x: Any) -> Any:
    return helper(x).exp() + tilegrad.where(x > 0, swish(x), F.relu(x)) * WEIGHT


def plain(x: Any) -> Any:
    return exp(x) + helper(x) + atan2(x, x)  # noqa: F821


def test_the_same_source_runs_in_every_library():
    array = np.array([-1.5, 0.25, 2.0])
    x, theirs = tilegrad.tensor(array), torch.tensor(array)
    low = np.minimum(np.minimum(array, 0.5), -1.0)
    want = np.exp(np.maximum(array, 0) * math.pi + low)
    want = want + np.where(array > 0, array / (1 + np.exp(-array)), 0) * 2
    np.testing.assert_allclose(ported(both, "torch")(theirs).numpy(), want)
    np.testing.assert_allclose(ported(both, "tilegrad")(x).numpy(), want)
    want = np.exp(array) + np.maximum(array, 0) * math.pi + low + np.arctan2(array, array)
    np.testing.assert_allclose(ported(plain, "numpy")(array), want)
    np.testing.assert_allclose(ported(plain, "torch")(theirs).numpy(), want)
    with pytest.raises(PortError, match="numpy has no relu"):
        ported(both, "numpy")(array)


def quick(monkeypatch: Any) -> None:
    """Samples that measure nothing, at once."""
    monkeypatch.setattr(timing, "SAMPLE", 0.0)
    monkeypatch.setattr(benching, "PRODUCT", 8)


def test_rows_table_and_picture(monkeypatch, tmp_path: Path, capsys):
    quick(monkeypatch)
    file = tmp_path / "picture.svg"
    libraries = ("op by op", "numpy", "torch")
    rows = swish.bench(100, (3, 5), libraries=libraries, rounds=3, picture=str(file))
    assert [(r.shapes, r.what, r.library) for r in rows] == [
        (((n,),) if k == 0 else ((3, 5),), what, library)
        for k, n in ((0, 100), (1, 0))
        for what, names in (
            ("forward", ("tilegrad", *libraries)), ("backward", ("tilegrad", "op by op", "torch")),
        )
        for library in names
    ]  # fmt: skip
    for row in rows:
        assert 0 < row.best <= row.median and row.error < 1e-6
        assert row.bandwidth and row.rate and row.share and row.share > 0
    size = 100 * 4
    forward, backward = rows[0], rows[4]
    assert forward.bandwidth == pytest.approx(2 * size / forward.best)
    assert backward.bandwidth == pytest.approx(3 * size / backward.best)  # g and x; the gradient
    assert forward.rate == pytest.approx(
        100 * operations(swish.formulas[0], "float32") / forward.best
    )
    said = capsys.readouterr().out
    assert said.count("\n") == 1 + 1 + len(rows) and "of the roof" in said
    root = ElementTree.parse(file).getroot()
    found = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(found) == 1 + len(rows)


def test_operands_that_broadcast_flags_and_ops_without_formulas(monkeypatch, capsys):
    quick(monkeypatch)
    rows = gated.bench(((4, 6), (6,)), rounds=2, libraries=("op by op", "numpy", "torch"))
    assert {r.library for r in rows} == {"tilegrad", "op by op", "torch"}
    assert "numpy: left out: PortError: numpy has no silu" in capsys.readouterr().out
    assert rows[0].bandwidth == pytest.approx((24 + 6 + 24) * 4 / rows[0].best)
    rows = scaled.bench((4, 6), rounds=2, libraries=("torch",))
    assert [r.library for r in rows] == ["tilegrad", "torch"] * 2
    assert rows[0].bandwidth is None and rows[0].error < 1e-6
    rows = stepped.bench(10, rounds=2, libraries=("op by op", "torch"), dtype="float64")
    assert {r.library for r in rows} == {"tilegrad"}
    said = capsys.readouterr().out
    assert "op by op: left out: RuntimeError" in said and "torch: left out: RuntimeError" in said
    with pytest.raises(
        TypeError, match=r"gated: a shape is given for all operands, or one for each of x, gate"
    ):
        gated.bench(((4,), (4,), (4,)))
    with pytest.raises(ValueError, match="libraries are among"):
        swish.bench(10, libraries=("jax",))


def test_a_wrong_result_shows_as_an_error(monkeypatch):
    quick(monkeypatch)
    wrong = Subject(swish, ("x",), lambda x: x * 1.001 / (1 + (-x).exp()), swish.subject.checking)
    rows = benching.bench(wrong, 50, rounds=2, libraries=("torch",))
    assert rows[0].error > 1e-4 and rows[1].error < 1e-6


def test_what_is_not_at_hand_is_said(monkeypatch, capsys):
    quick(monkeypatch)
    monkeypatch.setattr(benching.shutil, "which", lambda name: None)
    monkeypatch.setattr(benching.importlib.util, "find_spec", lambda name: None)
    rows = swish.bench(10, rounds=2, libraries=("torch", "torch.compile", "numpy"))
    assert {r.library for r in rows} == {"tilegrad"}
    said = capsys.readouterr().out
    assert "torch: left out: not installed" in said and "numpy: left out: not installed" in said
    if cuda.is_available() and cuda.driver().simulated:
        with pytest.raises(RuntimeError, match="swish: bench needs a GPU"):
            swish.bench(10, device="cuda")


def test_operations_are_counted_in_the_source():
    """Those of PyTorch's names that have no branch, against hand counts."""
    from tilegrad.kernels.formulas import TABLES

    rows = {row.name: row.function for table in TABLES for row in table.values()}
    for name, count in (("add", 1), ("addcmul", 3), ("sqrt", 1), ("copy", 0), ("lerp", 7)):
        assert operations(rows[name], "float32") == count, name
    assert operations(rows["exp"], "float64") > operations(rows["exp"], "float32") > 10
    sine = operations(rows["sin"], "float32")
    assert operations(stepped.formulas[0], "float32") == 3 * (2 + sine)
    assert operations(swish.formulas[0], "float32") == 3 + operations(rows["exp"], "float32")


def test_bars_are_as_long_as_their_values():
    text = bars("a < b", [("g", "one", 1.0), ("g", "two", 2.0), ("h", "one", 0.0)])
    root = ElementTree.fromstring(text)
    rects = root.findall("{http://www.w3.org/2000/svg}rect")[1:]
    widths = [float(r.get("width", 0)) for r in rects]
    assert widths[1] == 2 * widths[0] and widths[2] == 1.0
    assert rects[0].get("fill") == rects[2].get("fill") != rects[1].get("fill")

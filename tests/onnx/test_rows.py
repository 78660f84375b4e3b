"""The table of rows is whole: every op of the engine has one, or a reason why ONNX cannot express it."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import tilegrad.engine.ops
import tilegrad.onnx
from tilegrad.engine import dtype as dt, transfer
from tilegrad.engine.dispatch import Op
from tilegrad.engine.ops import norm
from tilegrad.engine.ops.elementwise import OPS, Elementwise
from tilegrad.engine.ops.optim import STEPS
from tilegrad.onnx.errors import OnnxExporterError, UnsupportedOperatorError
from tilegrad.onnx.graph import Builder
from tilegrad.onnx.rows import ROWS, WITHOUT
from tilegrad.onnx.rows.elementwise import elementwise
from tilegrad.onnx.tracing import Step, Value

VALUES = {"dense", "transfer"}  # copies: the same values, which the tracer knows


def ops_of(value: object) -> list[Op]:
    if isinstance(value, Op):
        return [value]
    return [op for v in value.values() for op in ops_of(v)] if isinstance(value, dict) else []


def structured() -> set[str]:
    """The names of all ops that are no formulas."""
    importlib.import_module("tilegrad.autograd.rules.indexing")
    modules = [transfer, importlib.import_module("tilegrad.autograd.rules.indexing")]
    for info in pkgutil.iter_modules(tilegrad.engine.ops.__path__):
        modules.append(importlib.import_module(f"tilegrad.engine.ops.{info.name}"))
    found = [op for m in modules for v in vars(m).values() for op in ops_of(v)]
    found += [*norm.rows_of(4).forward.values(), *norm.rows_of(4).backward.values()]
    updates = {op.name for op in STEPS.values()}
    return {op.name for op in found if not isinstance(op, Elementwise)} - updates - VALUES | {
        "getitem"
    }


def test_every_op_has_a_row_or_a_reason() -> None:
    names = structured()
    assert len(names) > 60
    assert not sorted(names - ROWS.keys() - WITHOUT.keys()), "a row, or a reason in rows/without.py"
    assert not sorted(ROWS.keys() & WITHOUT.keys()), "a row and a reason"


def said(op: Elementwise) -> str:
    """A formula in ONNX: what is wrong, or ""."""
    formula = op.formula
    kind = dt.int64 if formula.kind == "integer" else dt.float32
    kinds = [dt.bool_ if formula.kind == "where" and k == 0 else kind for k in range(formula.arity)]
    g = Builder(20, {})
    operands = tuple([Value((3,), k, (1,), "input", name=f"x{n}") for n, k in enumerate(kinds)])
    for value in operands:
        g.bind(value, value.name)
    out = dt.bool_ if formula.kind == "compare" else kind
    result = Value((3,), out, (1,), "result")
    step = Step(
        formula.name, op, operands, (result,), tuple(formula.samples or (0.5,) * formula.params), {}
    )
    try:
        elementwise(g, step)
    except OnnxExporterError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", sorted(OPS.keys() - {"copy", "fill"}))
def test_every_formula_is_said_or_has_a_reason(name: str) -> None:
    wrong = said(OPS[name])
    if name in WITHOUT:
        assert "backward" in WITHOUT[name] or wrong
    else:
        assert not wrong, "a row in rows/elementwise.py, or a reason in rows/without.py"


def test_what_has_a_reason_says_it() -> None:
    x = tilegrad.rand(3)
    with pytest.raises(UnsupportedOperatorError, match="export: erfinv: ONNX has no op for it"):
        tilegrad.onnx.export(tilegrad.erfinv, x)
    with pytest.raises(UnsupportedOperatorError, match="export: uniform: draws random numbers"):
        tilegrad.onnx.export(lambda x: x + tilegrad.rand(3), x)

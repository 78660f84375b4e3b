"""The table of what kernels know of a dtype, and what becomes of a dtype that is not in it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tilegrad
from tests.cases import table
from tests.conftest import ROOT
from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.kernels import dtypes


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> DType:
    """A float dtype that arrays know and kernels do not."""
    made = DType("float16", dt.float32.category)
    monkeypatch.setattr(dt, "ALL", (*dt.ALL, made))
    monkeypatch.setitem(dt.BY_NAME, made.name, made)
    monkeypatch.setitem(dt.BY_NUMPY, made.numpy, made)
    return made


def _answer(call, *tensors) -> str:
    """What is wrong with the way a call refuses its operands, if anything."""
    try:
        call(*tensors)
    except NotImplementedError as error:
        fits = re.fullmatch(r"\w+: not implemented for 'float16'; got .*float16.*", str(error))
        return "" if fits else str(error)
    except Exception as error:
        return repr(error)
    return "a result"


def test_every_op_refuses_a_dtype_without_kernels(
    half: DType, device: str, rng: np.random.Generator
) -> None:
    """One message, by the op that met it first: never a compiler's, never a result."""
    wrong, asked = {}, 0
    for case in table():
        if any(a.dtype is None for a in case.args) and "float32" in case.dtypes:
            arrays = [a.make(rng, half.name) for a in case.args]
            tensors = [tilegrad.from_numpy(a).to(device) for a in arrays]
            asked += 1
            if answer := _answer(lambda *t, case=case: case.call(tilegrad, *t), *tensors):
                wrong[case.name] = answer
    assert asked > 500
    assert not wrong


@pytest.mark.parametrize(
    "make",
    [
        lambda **how: tilegrad.zeros(3, **how),
        lambda **how: tilegrad.full((2,), 1.5, **how),
        lambda **how: tilegrad.eye(3, **how),
        lambda **how: tilegrad.arange(3, **how),
        lambda **how: tilegrad.linspace(0, 1, 3, **how),
        lambda **how: tilegrad.rand(3, **how),
        lambda **how: tilegrad.randn(3, **how),
        lambda dtype, device: tilegrad.empty(3, dtype=dtype, device=device).bernoulli_(0.5),
        lambda dtype, device: tilegrad.empty(3, dtype=dtype, device=device).random_(),
        lambda dtype, device: tilegrad.ones(3, device=device).to(dtype),
    ],
)
def test_nothing_is_made_in_a_dtype_without_kernels(half: DType, device: str, make) -> None:
    with pytest.raises(NotImplementedError, match=r"^\w+: not implemented for 'float16'; got "):
        make(dtype=half, device=device)


def test_rows_are_numpys_and_the_engines() -> None:
    assert set(dtypes.TABLE) == set(dt.BY_NAME)
    for name, row in {**dtypes.TABLE, **dtypes.WORDS}.items():
        if name != "mask":
            assert (row.kind, row.nbytes) == (np.dtype(name).kind, np.dtype(name).itemsize)
        assert row.short in dtypes.TABLE and row.accumulator in dtypes.TABLE
        assert (row.words > 0) == (row.kind in "fc")
        assert bool(row.part) == (row.kind == "c")


def test_what_a_table_lacks_is_said() -> None:
    with pytest.raises(dtypes.DTypeError, match="softmax: not implemented for 'float16'"):
        dtypes.at({"float32": 1}, "float16", "softmax")
    for found in (dtypes.row, dtypes.of_llvm):
        with pytest.raises(NotImplementedError, match="not implemented for 'half'"):
            found("half")


def test_dtypes_are_listed_in_one_place() -> None:
    """No list of floats and no choice between two of them but in the tables by dtype."""
    other = re.compile(
        r"""\(["']float32["'], ["']float64["']\)|["']f32["']|["']f64["']"""
        r"""|== ["']float(32|64)["']|is (dt\.)?float(32|64) else"""
    )
    allowed = {"kernels/dtypes.py", "kernels/cpu/tuning.py", "kernels/cuda/tuning.py"}
    allowed |= {"engine/signature.py"}  # the words of signatures
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for room in ("kernels", "engine", "autograd")
        for path in sorted((ROOT / room).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in allowed
        for line in path.read_text().splitlines()
        if other.search(line)
    ]
    assert not found

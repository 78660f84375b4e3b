"""``out=``: every function that takes it in PyTorch, with PyTorch's rules of shapes and dtypes."""

import os
import subprocess
import sys

import pytest

import tilegrad
from tests.conftest import ROOT


def test_each_function_takes_out_as_pytorch_does():
    """By the sample database, in a process of its own: importing it changes PyTorch's settings."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/conformance/out_cases.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT / '.dev'}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_out_may_be_an_operand_or_overlap_one():
    x = tilegrad.arange(6.0)
    tilegrad.add(x[1:], x[:-1], out=x[1:])
    assert x.tolist() == [0, 1, 3, 5, 7, 9]
    tilegrad.cumsum(x, 0, out=x)
    assert x.tolist() == [0, 1, 4, 9, 16, 25]
    y = tilegrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    tilegrad.mm(y, y, out=y)
    assert y.tolist() == [[7, 10], [15, 22]]
    tilegrad.exp(y.t(), out=y)


def test_out_keeps_its_strides_and_its_views_see_the_result():
    base = tilegrad.zeros(3, 4)
    tilegrad.mul(tilegrad.ones(4, 3), 2, out=base.t())
    assert base.tolist() == [[2.0] * 4] * 3


def test_a_recorded_call_is_refused():
    x, leaf = tilegrad.ones(2), tilegrad.ones(2, requires_grad=True)
    for given, out in ((leaf, x), (x, leaf)):
        with pytest.raises(RuntimeError, match="support automatic differentiation"):
            tilegrad.exp(given, out=out)
    with tilegrad.no_grad():
        assert tilegrad.exp(leaf, out=tilegrad.empty(2)).shape == (2,)


def test_resizing_warns_where_elements_are_lost():
    out = tilegrad.empty(3)
    with pytest.warns(UserWarning, match="was resized"):
        tilegrad.add(tilegrad.ones(2), 1, out=out)
    assert out.tolist() == [2, 2]


@pytest.mark.parametrize(
    "out", [1, None.__class__, (tilegrad.empty(2), tilegrad.empty(2)), "x", [1.0]]
)
def test_what_is_no_out(out):
    with pytest.raises(TypeError):
        tilegrad.exp(tilegrad.ones(2), out=out)


def test_out_is_no_argument_by_position():
    with pytest.raises(TypeError):
        tilegrad.mul(tilegrad.ones(2), tilegrad.ones(2), tilegrad.ones(2))
    with pytest.raises(TypeError):
        tilegrad.max(tilegrad.ones(2), 0, out=tilegrad.empty(0))


def test_expanded_out_is_refused():
    with pytest.raises(RuntimeError, match="single memory location"):
        tilegrad.exp(tilegrad.ones(3), out=tilegrad.empty(1).expand(3))

"""``out=``: every function that takes it in PyTorch, with PyTorch's rules of shapes and dtypes."""

import os
import subprocess
import sys

import pytest
import torch

import tilegrad
from tests.conftest import ROOT
from tilegrad.autograd.extra import FUNCTIONAL


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
    with pytest.warns(UserWarning, match="was resized") as caught:
        tilegrad.add(tilegrad.ones(2), 1, out=out)
    assert out.tolist() == [2, 2] and caught[0].filename == __file__


@tilegrad.elementwise
def doubled(x):
    return x + x


@tilegrad.reduction(identity=0.0)
def total(a, b):
    return a + b


@tilegrad.fuse
def chained(x):
    return x * 2 + 0


@tilegrad.fuse
def averaged(x):
    return (x * 2).mean()


@tilegrad.fuse
def listed(x):
    return [x * 2, x + 1]


@pytest.mark.parametrize("op", [doubled, total, chained, averaged], ids=lambda f: f.__name__)
def test_ops_of_the_users_have_the_same_out(op):
    """Resized, cast, warned of, refused, as of built-in functions."""
    x = tilegrad.rand(2, 3)
    want = op(x)
    out = tilegrad.ones(5)
    with pytest.warns(UserWarning, match="was resized") as caught:
        assert op(x, out=out) is out
    assert tilegrad.equal(out, want) and caught[0].filename == __file__
    wide = tilegrad.empty(want.shape, dtype=tilegrad.float64)
    assert tilegrad.equal(op(x, out=wide), want.double())
    same = x.clone()
    assert tilegrad.equal(op(same, out=same.view(same.shape)), want) if want.ndim else True
    for wrong, kind, words in (
        (tilegrad.ones(2, 3, dtype=tilegrad.int64), RuntimeError, "can't be cast"),
        ((want, want), TypeError, "argument 'out' must be Tensor, not tuple of 2"),
        (3, TypeError, "argument 'out' must be Tensor, not int"),
        (want.clone().requires_grad_(), RuntimeError, "don't support automatic differentiation"),
    ):
        with pytest.raises(kind, match=words):
            op(x, out=wrong)
    leaf = x.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        op(leaf, out=tilegrad.empty(0))
    with tilegrad.no_grad():
        assert tilegrad.equal(op(leaf, out=tilegrad.empty(0)), want)


def test_several_results_of_the_users_have_one_out_each():
    x, outs = tilegrad.rand(3), [tilegrad.empty(0), tilegrad.empty(3)]
    assert listed(x, out=outs) is outs and tilegrad.equal(outs[1], x + 1)


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


def test_functions_of_layers_that_take_out():
    """Those of nn.functional that do in PyTorch, which no sample database calls so."""
    x, many = tilegrad.linspace(-2, 2, 4), tilegrad.ones(1, 1, 4, 4, 4)
    arguments = {
        "avg_pool2d": (many[0], 2), "avg_pool3d": (many, 2), "linear": (tilegrad.ones(2, 3), tilegrad.ones(4, 3)),
        "normalize": (tilegrad.ones(2, 2),),
    }  # fmt: skip
    for name in (*FUNCTIONAL, "normalize"):
        for t in (tilegrad, torch):
            call = getattr(t.nn.functional, name)
            given = [
                t.tensor(a.tolist()) if hasattr(a, "tolist") else a
                for a in arguments.get(name, (x,))
            ]
            out = t.empty(0)
            assert call(*given, out=out) is out and out.tolist() == call(*given).tolist()

"""``out=``: every function that takes it in PyTorch, with PyTorch's rules of shapes and dtypes."""

import functools
import importlib
import types
import warnings

import pytest
import torch

import tilegrad
from tilegrad.autograd import extra


@functools.cache
def rows():
    """The database's rows that take ``out``, by name and other names; they take seconds to import."""
    found = {}
    for row in ops().entries():
        for name in (row.name, *(a.name for a in row.aliases)):
            if row.supports_out and isinstance(getattr(tilegrad, name, None), types.FunctionType):
                found.setdefault(name, row)
    return found


def ops():
    return importlib.import_module("tests.conformance.ops")


def convert():
    return importlib.import_module("tests.conformance.convert")


RANDOM = ("bernoulli", "multinomial", "normal", "rand", "randint", "randn", "randperm", "empty")
# no row of the database, but PyTorch's documentation
UNLISTED = {"argsort", "prod", "sum", "median", "nanmedian", "rand", "randint", "randperm"}


def first(name):
    """A sample of the row that both libraries take, and PyTorch's result."""
    for kind in (torch.float32, torch.int64):
        if kind not in rows()[name].supported_dtypes("cpu"):
            continue
        for given in ops().samples(rows()[name], kind, 1):
            given = ops().copied(given)
            plain = torch.utils._pytree.tree_map(
                lambda t: t.detach() if isinstance(t, torch.Tensor) else t, given
            )
            return plain, ops().run_torch(rows()[name].op, plain)[0]
    raise AssertionError(name)


def called(name, given, **more):
    args = convert().value([ops().copied(given[0]), *ops().copied(given[1])])
    return function_of(name)(*args, **convert().value(ops().copied(given[2])), **more)


def function_of(name):
    row = rows()[name]
    return ops().our_function(row) if name == row.name else getattr(tilegrad, name)


def targets(want, change=None):
    outs = [
        torch.empty(r.shape, dtype=r.dtype if change is None else change)
        for r in convert().leaves(want)
    ]
    mine = [convert().tensor(t) for t in outs]
    if isinstance(want, torch.Tensor):
        return outs[0], mine[0]
    return tuple(outs), tuple(mine)


LISTED = sorted(extra.ALL - UNLISTED)


@pytest.mark.parametrize("name", LISTED)
def test_the_result_is_in_out(name):
    given, want = first(name)
    _, mine = targets(want)
    got = called(name, given, out=mine)
    if name not in RANDOM:
        convert().same(got, want, name)
        convert().same(mine, want, name)
    for a, b in zip(convert().leaves(got), convert().leaves(mine), strict=True):
        assert a is b
    empty = tuple(tilegrad.empty(0, dtype=t.dtype) for t in convert().leaves(mine))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is lost
        called(name, given, out=empty if isinstance(mine, tuple) else empty[0])
    assert [e.shape for e in empty] == [tuple(t.shape) for t in convert().leaves(mine)]


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("kind", [torch.float64, torch.int32])
def test_another_dtype_is_cast_or_refused_as_pytorch_does(name, kind):
    given, want = first(name)
    theirs, mine = targets(want, kind)
    args = [ops().copied(given[0]), *ops().copied(given[1])]
    try:
        rows()[name].op(*args, **ops().copied(given[2]), out=theirs)
    except (RuntimeError, TypeError) as error:
        if name == "nansum":
            return  # of integers into others: PyTorch has no kernel for it
        with pytest.raises(TypeError if isinstance(error, TypeError) else RuntimeError):
            called(name, given, out=mine)
    else:
        got = called(name, given, out=mine)
        if name not in RANDOM:
            right = [t.dtype for t in convert().leaves(want)]  # both computed in this precision
            convert().same(
                [
                    t.to(convert().dtype(k))
                    for t, k in zip(convert().leaves(got), right, strict=True)
                ],
                [t.to(k) for t, k in zip(convert().leaves(theirs), right, strict=True)],
                name,
            )


def test_the_table_is_pytorchs():
    """A function whose row takes ``out`` is in extra.py's table, and no other is."""
    wanted = UNLISTED | set(rows())
    wanted -= {"equal"}  # it gives no tensor
    assert sorted(wanted - extra.ALL) == []
    assert sorted(extra.ALL - wanted) == []
    assert len(extra.CAST) + len(extra.INFERRED) + len(extra.EXACT) == len(extra.ALL)


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

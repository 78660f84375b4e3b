"""``out=`` by PyTorch's sample database; tests/autograd/test_extra.py runs this in a process of its own, since
the database changes PyTorch's settings for all that follows.
"""

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
    for row in ops().entries():  # of linalg and nn.functional, by their last word
        if row.supports_out and row.name.rpartition(".")[2] in extra.ALL:
            found.setdefault(row.name.rpartition(".")[2], row)
    return found


def ops():
    return importlib.import_module("tests.conformance.ops")


def convert():
    return importlib.import_module("tests.conformance.convert")


pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated")
SIGNS = ("eigh", "qr", "svd")  # of vectors, which the algorithm decides
RANDOM = (
    *SIGNS,
    "bernoulli",
    "multinomial",
    "normal",
    "rand",
    "randint",
    "randn",
    "randperm",
    "empty",
)
# no row of the database, but PyTorch's documentation
UNLISTED = {
    "argsort", "prod", "sum", "median", "nanmedian", "rand", "randint", "randperm", "range", "view_as_complex_copy",
    "view_as_real_copy",
}  # fmt: skip


def first(name):
    """A sample of the row that both libraries take, and PyTorch's result."""
    for kind in (torch.float32, torch.int64):
        if kind not in rows()[name].supported_dtypes("cpu"):
            continue
        for given in ops().samples(rows()[name], kind, 1):
            given = ops().copied(tuple(given))
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
    own = name in (row.name, row.name.rpartition(".")[2])
    return ops().our_function(row) if own else getattr(tilegrad, name)


def targets(want, change=None):
    outs = [
        torch.empty(r.shape, dtype=r.dtype if change is None else change)
        for r in convert().leaves(want)
    ]
    mine = [convert().tensor(t) for t in outs]
    if isinstance(want, torch.Tensor):
        return outs[0], mine[0]
    return tuple(outs), tuple(mine)


LISTED = sorted(
    extra.ALL - UNLISTED - {"lu"}
)  # PyTorch's lu, deprecated Python, copies into anything


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
    wanted -= {"equal", "histogramdd"}  # no tensor; none in PyTorch either
    assert sorted(wanted - extra.ALL) == []
    assert sorted(extra.ALL - wanted) == []
    tables = (extra.CAST, extra.INFERRED, extra.EXACT, extra.FUNCTIONAL)
    assert sum(map(len, tables)) == len(extra.ALL)

"""Sorting, selection and searching."""

from __future__ import annotations

from tests.cases.case import ALL, FLOATS, Arg, Case

X = Arg((3, 7, 5), distinct=True)
ROWS = Arg((5, 33), distinct=True)
LONG = Arg((2, 131), distinct=True)
TIES = Arg((4, 31), low=0, high=4)  # integers: many equal elements
SCALAR = Arg(())
INTEGERS = ("uint8", "int64")

CASES = [
    Case("sort", lambda t, x: t.sort(x), (ROWS,)),
    Case("sort-long", lambda t, x: t.sort(x, descending=True), (LONG,)),
    Case("sort-dim", lambda t, x: x.sort(1), (X,)),
    Case("sort-first", lambda t, x: x.sort(0, descending=True), (X,)),
    Case("sort-scalar", lambda t, x: t.sort(x), (SCALAR,)),
    Case("sort-empty", lambda t, x: t.sort(x, dim=0), (Arg((0, 3)),)),
    Case(
        "sort-stable",
        lambda t, x: t.sort(x, stable=True),
        (TIES,),
        ALL[2:],
        differentiable=(),
    ),
    Case(
        "sort-stable-descending",
        lambda t, x: t.sort(x, dim=0, descending=True, stable=True),
        (TIES,),
        ALL[2:],
        differentiable=(),
    ),
    Case(
        "sort-special",
        lambda t, x: t.sort(x, stable=True),
        (Arg((67,)),),
        special=True,
        differentiable=(),
    ),
    Case(
        "sort-special-descending",
        lambda t, x: x.sort(descending=True, stable=True),
        (Arg((35,)),),
        special=True,
        differentiable=(),
    ),
    Case("argsort", lambda t, x: t.argsort(x, dim=1), (X,), differentiable=()),
    Case("msort", lambda t, x: t.msort(x), (ROWS,)),
    Case("topk", lambda t, x: t.topk(x, 4), (ROWS,)),
    Case("topk-smallest", lambda t, x: x.topk(3, dim=1, largest=False), (X,)),
    Case("topk-many", lambda t, x: t.topk(x, 50, -1), (LONG,)),
    Case("topk-all", lambda t, x: t.topk(x, 3, 0), (X,)),
    Case("topk-none", lambda t, x: t.topk(x, 0), (ROWS,)),
    Case("topk-scalar", lambda t, x: t.topk(x, 1), (SCALAR,)),
    Case(
        "topk-ties",
        lambda t, x: t.topk(x, 9)[0],
        (TIES,),
        INTEGERS,
        differentiable=(),
    ),
    Case(
        "topk-special",
        lambda t, x: t.topk(x, 12)[0],
        (Arg((67,)),),
        special=True,
        differentiable=(),
    ),
    Case("kthvalue", lambda t, x: t.kthvalue(x, 3), (ROWS,)),
    Case("kthvalue-dim", lambda t, x: x.kthvalue(7, 1, keepdim=True), (X,)),
    Case("kthvalue-ints", lambda t, x: t.kthvalue(x, 20)[0], (TIES,), INTEGERS, differentiable=()),
    Case("median", lambda t, x: t.median(x), (X,)),
    Case("median-dim", lambda t, x: t.median(x, 1), (X,)),
    Case("median-even", lambda t, x: x.median(-1, keepdim=True), (Arg((3, 8), distinct=True),)),
    Case(
        "median-special",
        lambda t, x: t.median(x, 0)[0],
        (Arg((35,)),),
        special=True,
        differentiable=(),
    ),
    Case("nanmedian", lambda t, x: t.nanmedian(x), (ROWS,)),
    Case("nanmedian-dim", lambda t, x: t.nanmedian(x, 0), (Arg((7, 3), distinct=True),)),
    Case(
        "nanmedian-special",
        lambda t, x: t.nanmedian(x),
        (Arg((35,)),),
        special=True,
        differentiable=(),
    ),
    Case("mode", lambda t, x: t.mode(x)[0], (TIES,), INTEGERS, differentiable=()),
    Case("mode-dim", lambda t, x: t.mode(x, 0, keepdim=True)[0], (X,)),
    Case(
        "searchsorted",
        lambda t, s, x: t.searchsorted(s, x),
        (Arg((5,), values=[-2, -1, 0, 0, 2]), Arg((3, 4))),
        (*FLOATS, "int64"),
        differentiable=(),
    ),
    Case(
        "searchsorted-rows",
        lambda t, s, x: t.searchsorted(s, x, right=True),
        (Arg((2, 3), values=[-2, 0, 1, -1, 1, 2]), Arg((2, 5))),
        differentiable=(),
    ),
    Case(
        "searchsorted-sorter",
        lambda t, s, x: t.searchsorted(s, x, sorter=t.argsort(s), side="right", out_int32=True),
        (ROWS, Arg((5, 2))),
        differentiable=(),
    ),
    Case(
        "bucketize",
        lambda t, x, b: t.bucketize(x, b, right=True),
        (Arg((3, 4), values=list(range(-6, 6))), Arg((4,), values=[-3, 0, 1, 4])),
        (*FLOATS, "int32"),
        differentiable=(),
    ),
    Case(
        "bucketize-empty", lambda t, x, b: t.bucketize(x, b), (SCALAR, Arg((0,))), differentiable=()
    ),
]

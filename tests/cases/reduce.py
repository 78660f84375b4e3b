"""Rows for reductions over dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cases.case import FLOATS, Arg, Case

_SOME = ("bool", "uint8", "int64")
_BLOCK = Arg((2, 3, 33))
_ROW = Arg((7, 31))
_TIES = Arg((3, 5), values=[1, 2, 2, 0, 2, 3, 3, 3, 3, 3, 0, -1, -1, -1, 0])
_ZEROS = Arg((3, 4), values=[1.5, 0, 2, -1, 0, 3, 0, 2, 1, 2, 3, -2])
_APART = Arg((5, 33), distinct=True)


def _over(name: str, **extra: Any) -> list[Case]:
    """A reduction over all dimensions, one, several, with and without keepdim, odd shapes."""

    def call(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        return lambda t, x: getattr(x, name)(*args, **kwargs)

    return [
        Case(f"{name}", call(), (_BLOCK,), **extra),
        Case(f"{name}-last", call(-1), (_ROW,), **extra),
        Case(f"{name}-first", call(0, True), (_ROW,), **extra),
        Case(f"{name}-outer", call((0, 2)), (_BLOCK,), **extra),
        Case(f"{name}-middle", call((-2,), keepdim=True), (_BLOCK,), **extra),
        Case(f"{name}-scalar", call(0), (Arg(()),), **extra),
        Case(f"{name}-one", call(1), (Arg((5, 1)),), **extra),
    ]


_TYPED = [
    Case("sum-dtypes", lambda t, x: x.sum(1), (_ROW,), _SOME),
    Case("sum-dtypes-all", lambda t, x: x.sum(0), (_ROW,), ("bool", "int64")),
    Case("sum-to-float64", lambda t, x: x.sum(0, dtype=t.float64), (_ROW,), ("float32", "int32")),
    Case("sum-to-int32", lambda t, x: x.sum(0, dtype=t.int32), (_ROW,), ("int64",)),
    Case(
        "sum-long",
        lambda t, x: x.sum(),
        (Arg((100_003,), 0.0, 1.0),),
        second_order=False,
        differentiable=(),
    ),
    Case("sum-tall", lambda t, x: x.sum(0), (Arg((8191, 33), 0.0, 1.0),), differentiable=()),
    Case("sum-narrow", lambda t, x: x.sum(0), (Arg((4099, 3)),), differentiable=()),
    Case("sum-expanded", lambda t, x: x.expand(5, 3).sum(1), (Arg((1, 3)),)),
    Case("sum-empty", lambda t, x: x.sum(1), (Arg((3, 0)),), differentiable=()),
    Case("sum-no-rows", lambda t, x: x.sum(1), (Arg((0, 3)),), differentiable=()),
    Case("sum_to_size", lambda t, x: x.sum_to_size(3, 1), (_BLOCK,)),
    Case("mean-to-float64", lambda t, x: x.mean(1, dtype=t.float64), (_ROW,), ("float32", "int64")),
    Case("mean-empty", lambda t, x: x.mean(1), (Arg((3, 0)),), differentiable=()),
    Case(
        "nansum",
        lambda t, x: x.nansum(1),
        (Arg((2, 3), values=[1, float("nan"), 2, 3, 4, 5]),),
        FLOATS,
        differentiable=(),
    ),
    Case("nansum-finite", lambda t, x: x.nansum(0), (_ROW,)),
    Case(
        "nanmean",
        lambda t, x: x.nanmean(1),
        (Arg((2, 3), values=[1, float("nan"), 2, 3, 4, 5]),),
        FLOATS,
        differentiable=(),
    ),
    Case("prod", lambda t, x: x.prod(), (Arg((3, 5)),), (*FLOATS, "int32")),
    Case("prod-last", lambda t, x: x.prod(-1), (Arg((3, 5)),)),
    Case("prod-first", lambda t, x: x.prod(0, keepdim=True), (Arg((3, 9)),), (*FLOATS, "int64")),
    Case("prod-zeros", lambda t, x: x.prod(1), (_ZEROS,)),
    Case("prod-zeros-all", lambda t, x: x.prod(), (_ZEROS,)),
    Case("prod-empty", lambda t, x: x.prod(1), (Arg((3, 0)),), differentiable=()),
]

_TRUTH = [
    Case(
        f"{name}-{where}",
        lambda t, x, n=name, d=dim: getattr(x, n)(*d),
        (Arg((5, 33), -1, 2),),
        ("float32", *_SOME),
        differentiable=(),
    )
    for name in ("any", "all", "count_nonzero")
    for where, dim in (("full", ()), ("first", (0,)), ("last", (1,)))
]

_EXTREME = [
    case
    for name in ("max", "min")
    for case in (
        Case(name, lambda t, x, n=name: getattr(x, n)(), (_APART,)),
        Case(f"{name}-first", lambda t, x, n=name: getattr(x, n)(0), (_APART,), (*FLOATS, "int64")),
        Case(f"{name}-last", lambda t, x, n=name: getattr(x, n)(1, keepdim=True), (_APART,), (*FLOATS, "uint8", "bool")),
        Case(f"{name}-long", lambda t, x, n=name: getattr(x, n)(0), (Arg((3001,), distinct=True),),
             differentiable=()),
        Case(f"{name}-scalar", lambda t, x, n=name: getattr(x, n)(0), (Arg(()),)),
        Case(f"{name}-pair", lambda t, x, y, n=name: getattr(t, n)(x, y), (_ROW, _ROW), FLOATS),
        Case(f"a{name}-outer", lambda t, x, n=name: getattr(x, "a" + n)((0, 2)),
             (Arg((2, 3, 33), distinct=True),)),
        Case(f"a{name}-ties", lambda t, x, n=name: getattr(x, "a" + n)(1), (_TIES,), numeric=False,
             second_order=False),
        Case(f"arg{name}", lambda t, x, n=name: getattr(x, "arg" + n)(), (_APART,), (*FLOATS, "int32"),
             differentiable=()),
        Case(f"arg{name}-ties", lambda t, x, n=name: getattr(x, "arg" + n)(1), (_TIES,),
             differentiable=()),
        Case(f"arg{name}-ties-first", lambda t, x, n=name: getattr(x, "arg" + n)(0, True),
             (Arg((4, 9), values=[1, 2, 2] * 12),), differentiable=()),
    )
]  # fmt: skip

_MOMENTS = [
    Case("var-biased", lambda t, x: x.var(1, unbiased=False), (_ROW,)),
    Case("var-correction", lambda t, x: x.var(0, correction=2), (_ROW,)),
    Case("var-far", lambda t, x: x.var(1), (Arg((5, 33), 99.0, 101.0),), tolerance=20,
         reason="the mean's rounding weighs in: 100 against a spread of 1"),
    Case("var_mean", lambda t, x: t.var_mean(x, 1), (_ROW,)),
    Case("std_mean", lambda t, x: t.std_mean(x, (0, 2), keepdim=True), (_BLOCK,)),
    Case("logsumexp", lambda t, x: x.logsumexp((0, 1)), (_ROW,)),
    Case("logsumexp-first", lambda t, x: x.logsumexp(0, True), (_ROW,)),
    Case("logsumexp-large", lambda t, x: (x * 300).logsumexp(1), (_ROW,), tolerance=10,
         reason="arguments up to 900 keep fewer digits after the point", second_order=False),
    Case("logsumexp-ends", lambda t, x: x.logsumexp(1), (Arg((3, 2), values=[
        float("inf"), 1, float("-inf"), float("-inf"), float("-inf"), 2]),), differentiable=()),
    *(
        Case(f"norm{p}-{'-'.join(map(str, d))}", lambda t, x, p=p, d=d: t.norm(x, p, *d),
             (Arg((5, 31), away=(0.0,)),))
        for p in (0, 1, 2, 3.5, 1.5, 0.5, float("inf"), float("-inf"))
        for d in ((), (1,))
    ),
    Case("norm-fro", lambda t, x: x.norm(), (_BLOCK,)),
    Case("norm2-first", lambda t, x: x.norm(2, 0, True), (_ROW,)),
    Case("norm2-zero", lambda t, x: x.norm(2, 1), (Arg((2, 3), values=[0, 0, 0, 1, 2, 3]),),
         differentiable=()),
]  # fmt: skip

_ENDS = [
    Case("aminmax", lambda t, x: t.aminmax(x), (_APART,)),
    Case("aminmax-last", lambda t, x: t.aminmax(x, dim=1), (_APART,)),
    Case("aminmax-first", lambda t, x: t.aminmax(x, dim=0, keepdim=True), (_APART,)),
    Case(
        "aminmax-ties",
        lambda t, x: t.aminmax(x, dim=1),
        (_TIES,),
        numeric=False,
        second_order=False,
    ),
]

CASES = [
    *_over("sum"),
    *_over("mean"),
    *_over("var")[:5],
    *_over("std")[:5],
    *_TYPED,
    *_TRUTH,
    *_EXTREME,
    *_ENDS,
    *_MOMENTS,
]

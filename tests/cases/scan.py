"""Rows for cumulative functions."""

from __future__ import annotations

from tests.cases.case import FLOATS, Arg, Case

_BLOCK = Arg((2, 9, 33))
_ZEROS = Arg((3, 5), values=[1.5, 0, 2, -1, 3, 0, 3, 0, 2, 1, 2, 3, -2, 1, 2])

CASES = [
    *(
        case
        for name in ("cumsum", "cumprod", "logcumsumexp")
        for case in (
            Case(f"{name}-last", lambda t, x, n=name: getattr(x, n)(-1), (Arg((5, 31), -1.5, 1.5),),
                 FLOATS if name == "logcumsumexp" else (*FLOATS, "int32", "bool")),
            Case(f"{name}-middle", lambda t, x, n=name: getattr(x, n)(1), (Arg((2, 5, 9)),)),
            Case(f"{name}-first", lambda t, x, n=name: getattr(x, n)(0), (Arg((7, 3)),)),
            Case(f"{name}-scalar", lambda t, x, n=name: getattr(x, n)(0), (Arg(()),)),
            Case(f"{name}-empty", lambda t, x, n=name: getattr(x, n)(1), (Arg((3, 0)),),
                 differentiable=()),
        )
    ),
    Case("cumsum-wide", lambda t, x: x.cumsum(0), (Arg((5, 300)),), differentiable=()),
    Case("cumsum-long", lambda t, x: x.cumsum(0), (Arg((30_011,), -1.0, 1.0),), differentiable=()),
    Case("cumsum-to-float64", lambda t, x: x.cumsum(0, dtype=t.float64), (Arg((7,)),),
         ("float32", "int32")),
    Case("cumprod-zeros", lambda t, x: x.cumprod(1), (_ZEROS,)),
    Case("logcumsumexp-spread", lambda t, x: (x * 50).logcumsumexp(0), (Arg((31,)),), tolerance=10,
         reason="arguments up to 150 keep fewer digits after the point", second_order=False),
    *(
        case
        for name in ("cummax", "cummin")
        for case in (
            Case(f"{name}-last", lambda t, x, n=name: getattr(x, n)(1),
                 (Arg((5, 31), distinct=True),), (*FLOATS, "int64")),
            Case(f"{name}-first", lambda t, x, n=name: getattr(x, n)(0),
                 (Arg((9, 17), distinct=True),)),
            Case(f"{name}-ties", lambda t, x, n=name: getattr(x, n)(0),
                 (Arg((6,), values=[1, 2, 2, 0, 2, 1]),), FLOATS, second_order=False,
                 differentiable=()),
            Case(f"{name}-nan", lambda t, x, n=name: getattr(x, n)(0),
                 (Arg((4,), values=[1, float("nan"), 2, 3]),), FLOATS, differentiable=()),
        )
    ),
]  # fmt: skip

"""Every row of the formula tables, found by looping over them, and the functions around them."""

from __future__ import annotations

from typing import Any

from tests.cases.case import ALL, FLOATS, INTEGERS, NUMBERS, Arg, Case
from tilegrad.kernels.formulas import TABLES
from tilegrad.kernels.formulas.formula import Formula

# rows that are halves of a function below, or kernels of their own family's tests
_INTERNAL = {
    "copy", "fill", "add_scaled", "div_trunc", "floor_divide_int", "remainder_int",
    "trunc_divide_int", "fmod_int", "pow_int", "clamp_min", "clamp_max", "lerp", "addcmul",
    "addcdiv", "where", "clamp", "left_shift", "right_shift", "floor_divide", "prelu",
}  # fmt: skip
# PyTorch refuses integers for these, which tilegrad promotes
_FLOAT_ONLY = {"frac", "hypot", "logaddexp", "logaddexp2", "fmod", "remainder"}
# PyTorch's vectorised forms say NaN for a denormal divisor; ours are exact (test_transcendental)
_NO_DENORMALS = {"fmod", "remainder"}
_DTYPES = {
    "same": NUMBERS,
    "float": (*FLOATS, "int64"),
    "compare": ALL,
    "integer": (*INTEGERS, "bool"),
}


def _args(row: Formula, shapes: tuple[tuple[int, ...], ...]) -> tuple[Arg, ...]:
    domains = row.domain * row.arity if len(row.domain) == 1 else row.domain
    return tuple(
        Arg(s, low, high, away=row.kinks) for s, (low, high) in zip(shapes, domains, strict=True)
    )


def _call(row: Formula) -> Any:
    return lambda t, *tensors: getattr(t, row.name)(*tensors)


def _rows() -> list[Case]:
    import torch

    import tilegrad

    found = []
    for rows in TABLES:
        for row in rows.values():
            public = hasattr(tilegrad, row.name) and hasattr(torch, row.name)
            if row.name in _INTERNAL or row.params or not public or row.arity > 2:
                continue
            shapes = ((3, 11),) if row.arity == 1 else ((3, 1, 4), (5, 1))
            dtypes = tuple(d for d in _DTYPES[row.kind] if d not in row.excludes)
            if row.name in _FLOAT_ONLY:
                dtypes = FLOATS
            grads = None if row.differentiable else ()
            if row.kind in ("compare", "integer"):
                grads = ()
            found.append(
                Case(
                    row.name,
                    _call(row),
                    _args(row, shapes),
                    dtypes,
                    grads,
                    second_order=row.order is None or row.order > 1,
                    tolerance=10 if row.name == "digamma" else 1,
                    reason="PyTorch's own trigamma is good to 1e-9"
                    if row.name == "digamma"
                    else "",
                )
            )
            special = ((64,),) * row.arity
            if row.kind != "integer" and row.name not in _NO_DENORMALS:
                found.append(
                    Case(
                        f"{row.name}-special",
                        _call(row),
                        _args(row, special),
                        FLOATS,
                        (),
                        strided=False,
                        special=True,
                    )
                )
    return found


def _unary(name: str, call: Any, **how: Any) -> Case:
    return Case(name, call, (Arg((4, 9), **how),))


CASES = _rows() + [
    Case("add-alpha", lambda t, x, y: t.add(x, y, alpha=2), (Arg((3, 4)), Arg((4,))), NUMBERS),
    Case("sub-alpha", lambda t, x, y: t.sub(x, y, alpha=3), (Arg((3, 4)), Arg((4,)))),
    Case("add-scalar", lambda t, x: x + 2, (Arg((5,)),), ALL),
    Case("radd-float", lambda t, x: 1.5 + x, (Arg((5,)),), ALL),
    Case("rsub-scalar", lambda t, x: 2 - x, (Arg((5,)),), NUMBERS),
    Case("mul-scalar", lambda t, x: x * 2.5, (Arg((5,)),), ALL),
    Case("rdiv-scalar", lambda t, x: 2 / x, (Arg((5,), 1, 4),), NUMBERS),
    Case("zero-dim", lambda t, x, y: x * y + x, (Arg(()), Arg((3,)))),
    Case("empty", lambda t, x, y: x * y, (Arg((0, 3)), Arg((3,)))),
    Case("pow-2", lambda t, x: x**2, (Arg((5,)),), NUMBERS),
    Case("pow-3", lambda t, x: x**3, (Arg((5,)),), NUMBERS),
    Case("pow-int-tensor", lambda t, x, y: x**y, (Arg((5,)), Arg((5,), 0, 5)), INTEGERS),
    _unary("pow-half", lambda t, x: x**0.5, low=0.2),
    _unary("pow-float", lambda t, x: x**1.7, low=0.2),
    _unary("pow-negative", lambda t, x: x**-2, low=0.2),
    _unary("rpow", lambda t, x: 2**x),
    Case(
        "div-floor",
        lambda t, x, y: t.div(x, y, rounding_mode="floor"),
        (Arg((7,)), Arg((7,), 1, 4)),
        NUMBERS,
        (),
    ),
    Case(
        "div-trunc",
        lambda t, x, y: t.div(x, y, rounding_mode="trunc"),
        (Arg((7,)), Arg((7,), 1, 4)),
        NUMBERS,
        (),
    ),
    Case("floordiv", lambda t, x: x // 2, (Arg((9,), -9, 9),), NUMBERS, ()),
    Case("mod", lambda t, x: x % 3, (Arg((9,), -9, 9, away=(-6, -3, 0, 3, 6)),), NUMBERS),
    Case(
        "fmod",
        lambda t, x: t.fmod(x, 2),
        (Arg((9,), -9, 9, away=(-8, -6, -4, -2, 0, 2, 4, 6, 8)),),
        NUMBERS,
    ),
    Case("clamp", lambda t, x: t.clamp(x, -1, 2), (Arg((3, 9), away=(-1, 2)),), NUMBERS),
    Case("clamp-min", lambda t, x: x.clamp(min=-1), (Arg((3, 9), away=(-1,)),), NUMBERS),
    Case("clamp-max", lambda t, x: x.clamp(max=1), (Arg((3, 9), away=(1,)),), NUMBERS),
    Case("clamp-tensor", lambda t, x, a: t.clamp(x, min=a), (Arg((40,), -3, -1), Arg((40,), 0, 3))),
    Case("lerp", lambda t, x, y: t.lerp(x, y, 0.3), (Arg((5,)), Arg((5,)))),
    Case(
        "lerp-tensor",
        lambda t, x, y, w: t.lerp(x, y, w),
        (Arg((5,)), Arg((5,)), Arg((5,), 0.6, 0.9)),
    ),
    Case(
        "addcmul",
        lambda t, x, y, z: t.addcmul(x, y, z, value=0.5),
        (Arg((3, 4)), Arg((4,)), Arg((3, 1))),
    ),
    Case(
        "addcdiv",
        lambda t, x, y, z: t.addcdiv(x, y, z, value=2),
        (Arg((3, 4)), Arg((4,)), Arg((3, 1), 1, 3)),
    ),
    Case("shift", lambda t, x, y: (x << y) >> 1, (Arg((9,), 0, 5), Arg((9,), 0, 3)), INTEGERS),
    Case("invert", lambda t, x: ~x, (Arg((9,)),), (*INTEGERS, "bool"), ()),
    Case(
        "logic-operators",
        lambda t, x, y: (x & y) | (x ^ y),
        (Arg((9,)), Arg((9,))),
        (*INTEGERS, "bool"),
        (),
    ),
    Case("compare-scalar", lambda t, x: (x > 0) & (x <= 2) & (x != 1), (Arg((9,)),), ALL, ()),
    Case(
        "mixed-dtypes", lambda t, x, y: x * y + 1, (Arg((4, 3)), Arg((3,), dtype="int64")), NUMBERS
    ),
    Case("mixed-floats", lambda t, x, y: x - y, (Arg((4, 3)), Arg((3,), dtype="float64"))),
    Case("isclose", lambda t, x, y: t.isclose(x, x + y * 1e-6), (Arg((9,)), Arg((9,))), FLOATS, ()),
    _unary("logit-eps", lambda t, x: t.logit(x, 0.2), low=0.25, high=0.75),
    _unary("round-decimals", lambda t, x: t.round(x, decimals=1)),
    Case("to-float64", lambda t, x: x.to(t.float64) * 2, (Arg((5,)),), ALL),
    Case("to-int32", lambda t, x: x.to(t.int32), (Arg((9,)),), ALL, ()),
    Case("to-bool", lambda t, x: x.to(t.bool), (Arg((9,)),), ALL, ()),
    Case(
        "where",
        lambda t, c, x, y: t.where(c, x, y),
        (Arg((4, 1), dtype="bool"), Arg((4, 3)), Arg((3,))),
        ALL,
    ),
]

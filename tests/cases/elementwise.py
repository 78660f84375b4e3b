"""Every row of the formula tables, found by looping over them, and the functions around them."""

from __future__ import annotations

from typing import Any

import tilegrad
from tests.cases import activation
from tests.cases.case import ALL, FLOATS, INTEGERS, NUMBERS, Arg, Case
from tilegrad.kernels.formulas import TABLES
from tilegrad.kernels.formulas.formula import Formula

# rows whose own cases are below
_ELSEWHERE = {
    "floor_divide": "its gradient is refused",
    "prelu": "its weight does not broadcast as operands do",
}
_DTYPES = {
    "same": NUMBERS,
    "float": (*FLOATS, "int64"),
    "rounding": (*FLOATS, "int64"),
    "compare": ALL,
    "integer": (*INTEGERS, "bool"),
}


def _args(row: Formula, shapes: tuple[tuple[int, ...], ...]) -> tuple[Arg, ...]:
    domains = row.domain * row.arity if len(row.domain) == 1 else row.domain
    return tuple(
        Arg(s, low, high, away=row.kinks) for s, (low, high) in zip(shapes, domains, strict=True)
    )


def call_of(row: Formula) -> Any:
    """The function of the row in both libraries, or what the row compares it with."""

    def call(t: Any, *tensors: Any) -> Any:
        if t.__name__ == "torch" and row.reference is not None:
            return row.reference(t, *tensors)
        owner = t if "tilegrad" in row.home else t.nn.functional
        return getattr(owner, row.name)(*tensors, *row.samples)

    return call


def _found(row: Formula) -> bool:
    """Whether the row's function is called as every other, and no case of its own family does so."""
    if row.name in _ELSEWHERE or any(c.name.split("-")[0] == row.name for c in activation.CASES):
        return row.name in ("relu", "selu")  # whose integers and special values are tried here
    if row.caller and (row.caller != row.name or row.params or row.arity > 2):
        return False
    return not row.caller or hasattr(tilegrad, row.name)


def _rows() -> list[Case]:
    found = []
    for row in (row for rows in TABLES for row in rows.values() if _found(row)):
        shapes = ((3, 11),) if row.arity == 1 else ((3, 1, 4), (5, 1))
        dtypes = [d for d in _DTYPES[row.kind] if d not in row.excludes]
        flat = not row.differentiable or row.kind in ("compare", "integer")
        found.append(
            Case(
                row.name,
                call_of(row),
                _args(row, shapes),
                tuple(dtypes),
                () if flat else None,
                second_order=row.order is None or row.order > 1,
                tolerance=row.tolerance,
                reason=row.reason,
            )
        )
        if row.kind != "integer" and row.denormals:
            special = _args(row, ((64,),) * row.arity)
            title = f"{row.name}-special"
            found.append(
                Case(title, call_of(row), special, FLOATS, (), strided=False, special=True)
            )
    return found


def _unary(name: str, call: Any, **how: Any) -> Case:
    return Case(name, call, (Arg((4, 9), **how),))


CASES = _rows() + [
    Case("heaviside", lambda t, x, y: t.heaviside(x, y), (Arg((3, 5)), Arg((5,))), NUMBERS, ()),
    Case("signbit", lambda t, x: t.signbit(x), (Arg((3, 5)),), ALL, (), special=True),
    Case(
        "frexp",
        lambda t, x: t.frexp(x)[0],
        (Arg((3, 5), away=(-2, -1, -0.5, 0.5, 1, 2)),),
        FLOATS,
        special=True,
    ),
    Case(
        "frexp-exponent", lambda t, x: t.frexp(x).exponent, (Arg((3, 5)),), FLOATS, (), special=True
    ),
    Case(
        "nan_to_num",
        lambda t, x: t.nan_to_num(x, 1.5, 2.5, -3.5),
        (Arg((3, 5)),),
        NUMBERS,
        special=True,
    ),
    Case("clone", lambda t, x: t.clone(x), (Arg((3, 4)),), ALL),
    Case("fill_", lambda t, x: (x * 1).fill_(2), (Arg((3, 4)),), ALL),
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
    Case("floor_divide-operator", lambda t, x: x // 2, (Arg((9,), -9, 9),), NUMBERS, ()),
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

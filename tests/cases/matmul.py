"""Matrix products: vectors, matrices, batches, broadcasting."""

from __future__ import annotations

from tests.cases.case import FLOATS, INTEGERS, Arg, Case

_SHAPES = [
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (3, 4, 2)),
    ((3, 4), (2, 4, 5)),
    ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)),
    ((1, 1), (1, 1)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((2, 3), (3, 0)),
]
_LARGE = [
    ((31, 33), (33, 37)),
    ((64, 127), (127, 65)),
    ((130, 300), (300, 97)),
    ((1, 257), (257, 129)),
    ((257, 129), (129, 1)),
]


def _name(shapes: tuple[tuple[int, ...], ...]) -> str:
    return "matmul-" + "@".join("x".join(map(str, s)) for s in shapes)


CASES = [
    Case(
        _name(s), lambda t, x, y: t.matmul(x, y), (Arg(s[0]), Arg(s[1])), dtypes=(*FLOATS, "int64")
    )
    for s in _SHAPES
]
CASES += [
    Case(
        _name(s),
        lambda t, x, y: t.matmul(x, y),
        (Arg(s[0]), Arg(s[1])),
        differentiable=(),
        tolerance=3,
        reason="sums of up to 300 products",
        simulated=("forward",),
    )
    for s in _LARGE
]
CASES += [
    Case("matmul-integers", lambda t, x, y: x @ y, (Arg((7, 9)), Arg((9, 5))), dtypes=INTEGERS),
    Case(
        "matmul-transposed",
        lambda t, x, y: x.t() @ y.t(),
        (Arg((33, 17)), Arg((9, 33))),
        differentiable=(),
    ),
    Case("mm", lambda t, x, y: t.mm(x, y), (Arg((2, 3)), Arg((3, 4)))),
    Case("bmm", lambda t, x, y: t.bmm(x, y), (Arg((2, 2, 3)), Arg((2, 3, 4)))),
    Case("mv", lambda t, x, y: t.mv(x, y), (Arg((2, 3)), Arg((3,)))),
    Case("dot", lambda t, x, y: t.dot(x, y), (Arg((5,)), Arg((5,)))),
    Case("outer", lambda t, x, y: t.outer(x, y), (Arg((3,)), Arg((4,)))),
    Case(
        "addmm",
        lambda t, b, x, y: t.addmm(b, x, y, beta=0.5, alpha=2.0),
        (Arg((4,)), Arg((2, 3)), Arg((3, 4))),
    ),
    Case(
        "baddbmm",
        lambda t, b, x, y: t.baddbmm(b, x, y),
        (Arg((2, 1, 4)), Arg((2, 2, 3)), Arg((2, 3, 4))),
    ),
    Case(
        "linear",
        lambda t, x, w, b: t.nn.functional.linear(x, w, b),
        (Arg((2, 5, 3)), Arg((4, 3)), Arg((4,))),
    ),
]

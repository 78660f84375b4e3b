"""Signatures of ops: what they may say, and what calls have to fit."""

from __future__ import annotations

import pytest

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Layout, layout
from tilegrad.engine.device import CPU
from tilegrad.engine.signature import Operand, Scalar
from tilegrad.engine.signature_parser import SignatureError, parse


def of(*shape: int, dtype: dt.DType = dt.float32) -> Layout:
    return layout(shape, dtype, CPU)


def test_a_signature_is_read():
    made = parse(
        "norm(x: f[*B, N], w: inout f[N], ids: i64[M], mask: bool[_], eps: float = -1e-5, k: int = 2, "
        "way: str = 'a, b', on: bool = True) -> y: like x, s: f[*B, (N + k - 1)//k, 3]"
    )
    assert made.name == "norm"
    assert [type(a) for a in made.arguments] == [Operand] * 4 + [Scalar] * 4
    assert [s.default for s in made.scalars] == [-1e-5, 2, "a, b", True]
    assert made.written == (1,) and made.dims == ("B", "N", "M") and made.sized == ("k",)
    assert made.outputs[1].shape_text() == "[*B, (N + k - 1) // k, 3]"


def test_layouts_are_bound():
    made = parse("g(x: f[*B, N], w: f[N], k: int = 2) -> y: like x")
    bound = made.bind([of(2, 3, 5), of(5)], {})
    assert bound.dims == {"B": 6, "N": 5} and bound.runs == {"B": (2, 3)}
    assert bound.types == {"f": dt.float32} and bound.outs == (of(2, 3, 5),)
    made = parse("g(x: any[N, *B, 2], ids: i, k: int) -> y: i32[N//k + max(N, 2), *B], z: i[]")
    bound = made.bind([of(7, 2), of(4, 4, dtype=dt.uint8)], {"k": 3})
    assert bound.outs == (of(9, dtype=dt.int32), of(dtype=dt.uint8))
    assert bound.dims["B"] == 1 and bound.runs["B"] == ()
    transposed = layout((3, 4), dt.float64, CPU, (1, 3))
    assert parse("g(x: f) -> y: like x").bind([transposed], {}).outs[0].strides == (4, 1)


SIGNATURE = "g(x: f[*B, N], w: f[N], ids: i64[M], m: bool[M, 2], twice: f[2*N]) -> y: like x"
GOOD = {
    "x": of(3, 5), "w": of(5), "ids": of(4, dtype=dt.int64), "m": of(4, 2, dtype=dt.bool_),
    "twice": of(10),
}  # fmt: skip
WRONG = {
    "a size": ("w", of(6), r"g: N is 5 in x but 6 in w; got w of shape \[6\]"),
    "a rank": ("x", of(), r"g: x must have shape \[\*B, N\]; got \[\]"),
    "too many dimensions": ("w", of(1, 5), r"g: w must have shape \[N\]; got \[1, 5\]"),
    "a number": ("m", of(4, 3, dtype=dt.bool_), r"g: m must have shape \[M, 2\]; got \[4, 3\]"),
    "an expression": ("twice", of(5), r"twice must have shape \[2 \* N\]; got \[5\]; 2 \* N is 10"),
    "a dtype": ("ids", of(4, dtype=dt.int32), "g: ids must be int64; got int32"),
    "a class": ("x", of(3, 5, dtype=dt.int32), "x must have a floating-point dtype; got int32"),
    "two dtypes": (
        "w",
        of(5, dtype=dt.float64),
        "x and w must have one dtype; got float32 and float64",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(name):
    which, kind, words = WRONG[name]
    made = parse(SIGNATURE)
    made.bind(list(GOOD.values()), {})
    with pytest.raises(RuntimeError, match=words):
        made.bind([kind if n == which else k for n, k in GOOD.items()], {})


def test_runs_and_impossible_sizes():
    made = parse("g(x: f[*B, N], z: f[*B], k: int = 1) -> y: f[N - k]")
    with pytest.raises(RuntimeError, match=r"B is \[2\] in x but \[3\] in z; got z of shape \[3\]"):
        made.bind([of(2, 5), of(3)], {"k": 1})
    with pytest.raises(RuntimeError, match=r"y would have shape \[-2\], by \[N - k\]; got N=5"):
        made.bind([of(2, 5), of(2)], {"k": 7})
    with pytest.raises(RuntimeError, match=r"N // k divides by zero; got N=5, k=0"):
        parse("g(x: f[N], k: int) -> y: f[N // k]").bind([of(5)], {"k": 0})
    with pytest.raises(RuntimeError, match=r"x must have shape \[N, N\]; got \[2, 3\]"):
        parse("g(x: f[N, N]) -> y: like x").bind([of(2, 3)], {})


UNREADABLE = {
    "f": "'(' expected before 'its end'",
    "f(x)": "':' expected before",
    "f(x: q[N]) -> y: like x": "the type of x must be one of f, i, any",
    "f(x: f[N]) -> y: like z": "y is like z, which is no operand",
    "f(x: f[N]) -> y: f[M]": "y: no operand has a size M",
    "f(x: f[N])": "it gives nothing",
    "f(x: f[*A, *B]) -> y: like x": "x has two runs of sizes",
    "f(eps: float = 1, x: f[N]) -> y: like x": "x has no default, and stands behind eps",
    "f(x: f[N.a]) -> y: like x": "a size is made of names, whole numbers",
    "f(x: f[N], k: int = 2.0) -> y: like x": "the default of k must be an int; it is '2.0'",
    "f(x: f[N]) -> y: like x z": "',' expected before 'z'",
    "f(task: f[N]) -> y: like task": "task means something else in a body",
    "f(x: f[*B], z: f[B]) -> y: like x": "B is a run of sizes in one place only",
    "f(x: f32[N]) -> y: f[N]": "y: no operand has the dtype f",
    "f(x: f[N]) -> y: any[N]": "y needs a dtype",
    "f(x: f[N]) -> y: f": "y needs its sizes",
    "f(x: f[N], N: int) -> y: like x": "two things are called N",
    "f(k: int) -> y: f32[k]": "one argument at least must be a tensor",
    "f(x: f[N) -> y: like x": "is no size",
}


@pytest.mark.parametrize("text", UNREADABLE)
def test_wrong_signatures_are_refused(text):
    with pytest.raises(SignatureError) as caught:
        parse(text)
    assert UNREADABLE[text] in str(caught.value) and repr(text) in str(caught.value)

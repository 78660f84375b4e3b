"""Joining, splitting, flipping, rolling, padding and repeating."""

from __future__ import annotations

from typing import Any

from tests.cases.case import ALL, Arg, Case

X = Arg((3, 4, 5))
ROWS = Arg((33, 31))
VECTOR = Arg((31,))
SCALAR = Arg(())


def _pad(t: Any, x: Any, *args: Any, **options: Any) -> Any:
    return t.nn.functional.pad(x, *args, **options)


JOINING = [
    Case("cat", lambda t, x, y: t.cat((x, y)), (X, Arg((2, 4, 5))), ALL),
    Case("cat-last", lambda t, x, y, z: t.cat((x, y, z), -1), (X, Arg((3, 4, 1)), Arg((3, 4, 0)))),
    Case("cat-same", lambda t, x: t.cat((x, x, x), dim=1), (ROWS,)),
    Case("cat-legacy-empty", lambda t, x, y: t.cat((x, y), 1), (Arg((0,)), Arg((2, 3)))),
    Case(
        "cat-promotes",
        lambda t, x, y: t.cat((x, y)),
        (Arg((2, 3)), Arg((1, 3), dtype="int64")),
        ("float32", "int32"),
    ),
    Case("stack", lambda t, x, y: t.stack((x, y)), (X, X), ALL),
    Case("stack-last", lambda t, x, y, z: t.stack((x, y, z), -1), (VECTOR, VECTOR, VECTOR)),
    Case("stack-scalars", lambda t, x, y: t.stack((x, y)), (SCALAR, SCALAR)),
    Case("hstack", lambda t, x, y: t.hstack((x, y)), (Arg((3, 2)), Arg((3, 4)))),
    Case("hstack-vectors", lambda t, x, y: t.hstack((x, y)), (Arg((3,)), SCALAR)),
    Case("vstack", lambda t, x, y: t.vstack((x, y)), (Arg((3,)), Arg((2, 3)))),
    Case("dstack", lambda t, x, y: t.dstack((x, y)), (Arg((3,)), Arg((3,)))),
    Case("column_stack", lambda t, x, y: t.column_stack((x, y)), (Arg((3,)), Arg((3, 2)))),
]

SPLITTING = [
    Case("split", lambda t, x: t.split(x, 2, 1), (Arg((3, 5)),)),
    Case("split-list", lambda t, x: x.split([1, 0, 4], dim=-1), (Arg((3, 5)),)),
    Case("chunk", lambda t, x: t.chunk(x, 3, -1), (Arg((2, 7)),)),
    Case("chunk-few", lambda t, x: x.chunk(4), (Arg((6, 2)),)),
    Case("tensor_split", lambda t, x: t.tensor_split(x, 3), (Arg((7, 2)),)),
    Case("tensor_split-at", lambda t, x: x.tensor_split([1, 3, 9], 1), (Arg((2, 5)),)),
    Case("hsplit", lambda t, x: t.hsplit(x, 2), (Arg((3, 4)),)),
    Case("vsplit", lambda t, x: t.vsplit(x, [1]), (Arg((3, 4)),)),
    Case(
        "hsplit-named",
        lambda t, x: (*t.hsplit(x, indices=[1, 3]), *x.vsplit(sections=3)),
        (Arg((3, 4)),),
    ),
    Case("vsplit-one by one", lambda t, x: x.vsplit(1, 2), (Arg((3, 4)),)),
    Case("dsplit", lambda t, x: t.dsplit(x, 2), (Arg((2, 1, 4)),)),
    Case("unbind", lambda t, x: x.unbind(1), (Arg((2, 3)),)),
]

TURNING = [
    Case("flip", lambda t, x: t.flip(x, (0, 2)), (X,), ALL),
    Case("flip-last", lambda t, x: x.flip(-1), (ROWS,)),
    Case("flip-none", lambda t, x: t.flip(x, ()), (X,)),
    Case("flip-empty", lambda t, x: t.flip(x, (0, 1)), (Arg((0, 3)),)),
    Case("fliplr", lambda t, x: t.fliplr(x), (ROWS,)),
    Case("flipud", lambda t, x: t.flipud(x), (VECTOR,)),
    Case("roll", lambda t, x: t.roll(x, 7), (X,), ALL),
    Case("roll-dims", lambda t, x: t.roll(x, (-1, 13), (0, 2)), (X,)),
    Case("roll-twice", lambda t, x: x.roll((1, 2), (1, 1)), (X,)),
    Case("roll-empty", lambda t, x: t.roll(x, 3, 0), (Arg((0, 2)),)),
    Case("rot90", lambda t, x: t.rot90(x), (Arg((3, 4)),)),
    Case("rot90-thrice", lambda t, x: t.rot90(x, 3, (2, 0)), (X,)),
    Case("rot90-half", lambda t, x: x.rot90(-2, (0, 1)), (X,)),
]

PADDING = [
    Case("pad", lambda t, x: _pad(t, x, (1, 2)), (VECTOR,), ALL),
    Case("pad-value", lambda t, x: _pad(t, x, (1, 0, 0, 2, 3, 1), value=2.0), (X,)),
    Case("pad-crop", lambda t, x: _pad(t, x, (-1, 2, 1, -2)), (X,)),
    Case("pad-empty", lambda t, x: _pad(t, x, (1, 1), value=1.5), (Arg((2, 0)),)),
    Case("pad-reflect", lambda t, x: _pad(t, x, (3, 2), mode="reflect"), (Arg((2, 3, 5)),)),
    Case("pad-reflect-2d", lambda t, x: _pad(t, x, (2, 4, 3, 1), mode="reflect"), (X,)),
    Case("pad-replicate", lambda t, x: _pad(t, x, (2, 1, 3, 2), mode="replicate"), (X,)),
    Case("pad-circular", lambda t, x: _pad(t, x, (2, 1, 4, 2), mode="circular"), (X,)),
    Case("pad-circular-whole", lambda t, x: _pad(t, x, (5, 5), mode="circular"), (Arg((1, 2, 5)),)),
]

REPEATING = [
    Case("repeat", lambda t, x: x.repeat(2, 3), (Arg((3, 4)),), ALL),
    Case("repeat-new", lambda t, x: x.repeat((2, 1, 3)), (Arg((5,)),)),
    Case("repeat-once", lambda t, x: x.repeat(1, 1), (Arg((3, 4)),)),
    Case("repeat-never", lambda t, x: x.repeat(0, 2), (Arg((3, 4)),)),
    Case("tile", lambda t, x: t.tile(x, (2,)), (Arg((3, 4)),)),
    Case("tile-more", lambda t, x: x.tile((2, 2, 1)), (Arg((3, 4)),)),
    Case("repeat_interleave", lambda t, x: t.repeat_interleave(x, 3, 1), (X,)),
    Case("repeat_interleave-flat", lambda t, x: x.repeat_interleave(2), (Arg((3, 4)),)),
    Case(
        "repeat_interleave-each",
        lambda t, x, n: t.repeat_interleave(x, n, dim=1),
        (Arg((2, 4)), Arg((4,), dtype="int64", values=[2, 0, 1, 3])),
    ),
]

REARRANGING = [
    Case("movedim", lambda t, x: t.movedim(x, (0, 1), (-1, 0)), (X,)),
    Case("moveaxis", lambda t, x: x.moveaxis(-1, 0), (X,)),
    Case("flatten", lambda t, x: t.flatten(x), (X,)),
    Case("flatten-some", lambda t, x: x.flatten(1, -1), (X,)),
    Case("flatten-scalar", lambda t, x: x.flatten(), (SCALAR,)),
    Case("unflatten", lambda t, x: t.unflatten(x, 1, (2, -1)), (X,)),
    Case("ravel", lambda t, x: t.ravel(x), (X,)),
    Case("broadcast_to", lambda t, x: t.broadcast_to(x, (2, 3, 4)), (Arg((3, 1)),)),
    Case("broadcast_tensors", lambda t, *x: t.broadcast_tensors(*x), (Arg((3, 1)), Arg((2,)))),
    Case("atleast_1d", lambda t, x: t.atleast_1d(x), (SCALAR,)),
    Case("atleast_2d", lambda t, *x: t.atleast_2d(*x), (SCALAR, Arg((3,)))),
    Case("atleast_3d", lambda t, *x: t.atleast_3d(x), (SCALAR, Arg((3,)), Arg((2, 3)))),
    Case("meshgrid", lambda t, *x: t.meshgrid(*x, indexing="ij"), (Arg((3,)), Arg((2,)), SCALAR)),
    Case("meshgrid-xy", lambda t, *x: t.meshgrid(x, indexing="xy"), (Arg((3,)), Arg((2,)))),
    Case("transpose-copy", lambda t, x: x.transpose(0, 1).contiguous(), (Arg((37, 35)),), ALL),
    Case("permute-copy", lambda t, x: x.permute(2, 0, 1).contiguous(), (Arg((3, 18, 17)),), ALL),
]

CASES = [*JOINING, *SPLITTING, *TURNING, *PADDING, *REPEATING, *REARRANGING]

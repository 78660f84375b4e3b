"""Reading and writing through indices and masks: x[key], gather, scatter, masked_*, triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases.case import Arg, Case

WIDTHS = ("float32", "float64", "int16", "bool")  # movement has one kernel per width
SUMS = ("float32", "float64", "int64", "uint8")
X = Arg((4, 5, 6))
ROWS = Arg((11, 13))
VECTOR = Arg((31,))
SCALAR = Arg(())


def ints(*values: Any, dtype: str = "int64") -> Arg:
    """An index argument."""
    array = np.array(values)
    return Arg(array.shape, dtype=dtype, values=values)


def below(bound: int, *shape: int) -> Arg:
    """Random indices below ``bound``."""
    return Arg(shape, 0, bound, dtype="int64")


def mask(*shape: int) -> Arg:
    """A random mask."""
    return Arg(shape, dtype="bool")


def key(name: str, call: Any, *args: Arg, dtypes: tuple[str, ...] = ("float32", "float64")) -> Case:
    """``x[key]`` on a (4, 5, 6) array."""
    return Case(f"getitem-{name}", call, (X, *args), dtypes)


def written(name: str, write: Any, *args: Arg, dtypes: Any = ("float32", "float64")) -> Case:
    """What a function leaves of a copy of its first argument, a (4, 5, 6) array."""

    def call(t: Any, x: Any, *rest: Any) -> Any:
        y = x.clone()
        write(y, *rest)
        return y

    return Case(name, call, (X, *args), dtypes)


def _set(target: Any, where: Any, value: Any) -> None:
    target[where] = value


I3, J3 = ints(3, -1, 3), ints(0, 4, -5)
GRID = ints([0], [2])

GETITEM = [
    key("int", lambda t, x: x[2], dtypes=WIDTHS),
    key("basic", lambda t, x: x[1:, ..., None, -2]),
    key("steps", lambda t, x: x[::2, 1:9:3, -4:-1]),
    key("empty", lambda t, x: x[3:1]),
    key("ellipsis", lambda t, x: x[...]),
    key("vector", lambda t, x, i: x[i], I3, dtypes=WIDTHS),
    key("list", lambda t, x: x[[1, 1, 0]]),
    key("middle", lambda t, x, i: x[:, i], J3),
    key("last-repeated", lambda t, x, i: x[..., i], below(6, 3, 7)),
    key("pair", lambda t, x, i, j: x[i, j], I3, J3),
    key("pair-last", lambda t, x, i, j: x[:, i, j], J3, ints(5, 5, 0)),
    key("grid", lambda t, x, i, j: x[i, :, j], GRID, J3),
    key("apart", lambda t, x, i, j: x[i, :, None, j], I3, J3),
    key("all", lambda t, x, i, j: x[i, j, i], I3, J3),
    key("after-int", lambda t, x, i: x[1, i], J3),
    key("int32", lambda t, x, i: x[1:, i], ints(1, 0, dtype="int32")),
    key("empty-index", lambda t, x, i: x[:, i], Arg((0,), dtype="int64")),
    key("mask", lambda t, x, m: x[m], mask(4, 5, 6), dtypes=WIDTHS),
    key("mask-first", lambda t, x, m: x[m], mask(4)),
    key("mask-two", lambda t, x, m: x[:, m], mask(5, 6)),
    key("mask-and-index", lambda t, x, m, i: x[m, i], ints(1, 0, 1, 1, dtype="bool"), J3),
    key("true", lambda t, x: x[True, 1]),
    key("false", lambda t, x: x[False]),
    key("number", lambda t, x, i: x[i, i], Arg((), dtype="int64", values=3)),
]

SETITEM = [
    written("setitem-number", lambda x: _set(x, (slice(1, 3), 2), 7), dtypes=WIDTHS),
    written("setitem-slice", lambda x, v: _set(x, (slice(1, 3), Ellipsis, 0), v), Arg((5,))),
    written("setitem-leading-ones", lambda x, v: _set(x, 0, v), Arg((1, 1, 5, 6))),
    written("setitem-index", lambda x, i, v: _set(x, i, v), ints(3, 0), Arg((2, 5, 6)), dtypes=WIDTHS),
    written("setitem-index-number", lambda x, i: _set(x, (slice(None), i), 2), J3),
    written("setitem-pair", lambda x, i, j, v: _set(x, (i, j), v), ints(3, 1), ints(0, -1), Arg((6,))),
    written("setitem-apart", lambda x, i, v: _set(x, (i, slice(1, 4), i), v), ints(3, 1), Arg((2, 1))),
    written("setitem-mask-number", lambda x, m: _set(x, m, 4), mask(4, 5, 6), dtypes=WIDTHS),
    written("setitem-mask-rows", lambda x, m: _set(x, (slice(None), m), 4), mask(5)),
    written("setitem-mask-scalar", lambda x, m, v: _set(x, m, v), mask(4, 5), SCALAR),
    written(
        "setitem-mask-values", lambda x, m, v: _set(x, m, v), ints(1, 0, 1, 0, dtype="bool"),
        Arg((2, 5, 6)),
    ),
    written("index_put", lambda x, i, j, v: x.index_put_((i, j), v), ints(3, 1), ints(0, 4), Arg((2, 6))),
    written(
        "index_put-accumulate", lambda x, i, v: x.index_put_((i,), v, accumulate=True), I3,
        Arg((3, 5, 6)), dtypes=("float32", "float64", "int64"),
    ),
    written("index_put-add-broadcast", lambda x, i, j, v: x.index_put_((i, j), v, True), GRID, J3, SCALAR),
]  # fmt: skip

SELECT = [
    Case("index_select", lambda t, x, i: x.index_select(0, i), (ROWS, below(11, 17)), WIDTHS),
    Case("index_select-last", lambda t, x, i: x.index_select(-1, i), (X, ints(5, 5, 0))),
    Case("index_select-scalar", lambda t, x, i: x.index_select(0, i), (SCALAR, ints(0))),
    Case("index_select-none", lambda t, x, i: x.index_select(1, i), (X, Arg((0,), dtype="int64"))),
    Case("take", lambda t, x, i: x.take(i), (X, ints([0, -1], [119, 7]))),
    Case("put", lambda t, x, i, s: x.put(i, s), (X, ints([0, -1], [118, 7]), Arg((2, 2)))),
    Case("put-add", lambda t, x, i, s: x.put(i, s, True), (ROWS, ints(3, 3, 0), Arg((3,)))),
    Case("take_along_dim", lambda t, x, i: x.take_along_dim(i, 1), (X, below(5, 1, 3, 6))),
    Case(
        "take_along_dim-flat",
        lambda t, x, i: x.take_along_dim(i),
        (X, below(120, 2, 3)),
        strided=False,  # PyTorch cannot flatten such strides there
    ),
    Case("gather-first", lambda t, x, i: x.gather(0, i), (ROWS, below(11, 17, 13)), WIDTHS),
    Case("gather-last", lambda t, x, i: x.gather(2, i), (X, below(6, 4, 5, 9))),
    Case("gather-smaller", lambda t, x, i: x.gather(1, i), (X, below(5, 2, 7, 3))),
    Case("gather-scalar", lambda t, x, i: x.gather(0, i), (SCALAR, ints(0, 0))),
    Case("gather-int32", lambda t, x, i: x.gather(0, i), (VECTOR, ints(30, 0, dtype="int32"))),
]

SCATTER = [
    Case("scatter", lambda t, x, i, s: x.scatter(0, i, s), (VECTOR, ints(7, 30, 0), Arg((3,))), WIDTHS),
    Case("scatter-last", lambda t, x, i, s: x.scatter(-1, i, s), (X, ints([[5, 0]]), Arg((1, 1, 2)))),
    Case("scatter-value", lambda t, x, i: x.scatter(1, i, 2.5), (X, below(5, 2, 7, 3))),
    Case(
        "scatter-add-value", lambda t, x, i: x.scatter(0, i, 2, reduce="add"), (ROWS, below(11, 9, 4)),
        differentiable=(),
    ),
    Case("scatter_add", lambda t, x, i, s: x.scatter_add(0, i, s), (ROWS, below(11, 17, 13), Arg((17, 13))), SUMS),
    Case("scatter_add-last", lambda t, x, i, s: x.scatter_add(2, i, s), (X, below(6, 3, 5, 9), Arg((3, 5, 9)))),
    Case("scatter_add-scalar", lambda t, x, i, s: x.scatter_add(0, i, s), (SCALAR, ints(0, 0), Arg((2,)))),
]  # fmt: skip


def _reduce(how: str, include: bool) -> Any:
    return lambda t, x, i, s: x.scatter_reduce(0, i, s, how, include_self=include)


HOLES = Arg((6,), dtype=None, values=(2.0, 0.0, 3.0, 0.0, 0.0, 1.5))
SCATTER_REDUCE = [
    Case(
        f"scatter_reduce-{how}{'' if include else '-alone'}",
        _reduce(how, include),
        (Arg((5, 3)), below(5, 7, 3), Arg((7, 3), distinct=True)),
        ("float32", "float64", "int32"),
        second_order=how in ("sum", "mean"),
    )
    for how in ("sum", "mean", "prod", "amax", "amin")
    for include in (True, False)
]
SCATTER_REDUCE += [
    Case("scatter_reduce-zeros", _reduce("prod", False), (Arg((4,)), ints(0, 0, 1, 1, 1, 2), HOLES), second_order=False),
    Case("scatter_reduce-ties", _reduce("amax", True), (Arg((3,)), ints(0, 0, 1), Arg((3,), values=(9, 9, 1))), differentiable=(0,)),
]  # fmt: skip

SLICES = [
    Case("index_add", lambda t, x, i, s: x.index_add(0, i, s), (ROWS, below(11, 17), Arg((17, 13))), SUMS),
    Case("index_add-alpha", lambda t, x, i, s: x.index_add(1, i, s, alpha=-2), (X, ints(4, 0, 4), Arg((4, 3, 6)))),
    Case("index_add-last", lambda t, x, i, s: x.index_add(-1, i, s), (X, ints(5, 0, 5), Arg((4, 5, 3)))),
    Case("index_copy", lambda t, x, i, s: x.index_copy(1, i, s), (X, ints(4, 0), Arg((4, 2, 6))), WIDTHS),
    Case("index_fill", lambda t, x, i: x.index_fill(1, i, 3), (X, ints(4, -5)), WIDTHS),
    Case("index_fill-tensor", lambda t, x, i, v: x.index_fill(0, i, v), (X, ints(1, 3), SCALAR)),
]  # fmt: skip


def _where(t: Any, c: Any, x: Any, y: Any) -> Any:
    return t.where(c, x, y)


MASKED = [
    Case("where", _where, (mask(4, 5, 1), X, Arg((6,))), WIDTHS),
    Case("where-numbers", lambda t, c, x: t.where(c, x, 2), (mask(31), VECTOR), SUMS),
    Case("where-method", lambda t, c, x: x.where(c, -x), (mask(31), VECTOR)),
    Case("where-promotes", _where, (mask(3), Arg((3,), dtype="int32"), Arg((3,))), differentiable=(2,)),
    Case("where-positions", lambda t, c: t.where(c), (mask(7, 5),), ("bool",), differentiable=()),
    Case("masked_fill", lambda t, x, m: x.masked_fill(m, -1), (X, mask(5, 1)), WIDTHS),
    Case("masked_fill-tensor", lambda t, x, m, v: x.masked_fill(m, v), (X, mask(4, 5, 6), SCALAR)),
    Case("masked_select", lambda t, x, m: x.masked_select(m), (X, mask(6)), WIDTHS),
    Case("masked_scatter", lambda t, x, m, s: x.masked_scatter(m, s), (X, mask(5, 6), Arg((200,))), WIDTHS),
    written("masked_fill_", lambda x, m: x.masked_fill_(m, 9), mask(4, 1, 6)),
    written("masked_scatter_", lambda x, m, s: x.masked_scatter_(m, s), mask(4, 5, 6), X),
    Case("nonzero", lambda t, x: x.nonzero(), (Arg((7, 5), -1, 2, dtype="int64"),), ("int64",)),
    Case("nonzero-float", lambda t, x: (x.relu()).nonzero(as_tuple=True), (X,), differentiable=()),
    Case("nonzero-scalar", lambda t, x: x.nonzero(), (SCALAR,), differentiable=()),
    Case("argwhere", lambda t, x: x.argwhere(), (Arg((31,), 0, 2),), ("uint8", "int64"), differentiable=()),
]  # fmt: skip

COUNTING = [
    Case("one_hot", lambda t, x: t.nn.functional.one_hot(x), (below(5, 3, 4),), ("int64",)),
    Case("one_hot-more", lambda t, x: t.nn.functional.one_hot(x, 9), (below(5, 7),), ("int64",)),
    Case("bincount", lambda t, x: x.bincount(minlength=9), (below(6, 31),), ("int64", "uint8")),
    Case(
        "bincount-weights", lambda t, x, w: x.bincount(w), (below(6, 31), VECTOR),
        ("float32", "float64", "int64"), differentiable=(),
    ),
    Case("unique", lambda t, x: x.unique(True, True, True), (below(9, 4, 5),), ("int64",)),
    Case("unique-values", lambda t, x: x.unique(), (Arg((31,), 0, 3),), ("float32", "uint8"), ()),
    Case("unique-rows", lambda t, x: x.unique(True, True, True, dim=0), (below(2, 12, 3),), ("int64",)),
    Case("unique-columns", lambda t, x: x.unique(dim=1), (below(2, 2, 9, 2),), ("int64",)),
    Case(
        "unique_consecutive", lambda t, x: x.unique_consecutive(True, True), (below(2, 31),), ("int64",)
    ),
    Case("tril_indices", lambda t, x: t.tril_indices(3, 4, 1, device=x.device), (SCALAR,), ("int64",)),
    Case("triu_indices", lambda t, x: t.triu_indices(3, 4, -1, device=x.device), (SCALAR,), ("int64",)),
]  # fmt: skip

MATRIX = [
    Case("tril", lambda t, x: x.tril(), (X,), WIDTHS),
    Case("tril-above", lambda t, x: x.tril(2), (ROWS,)),
    Case("triu", lambda t, x: x.triu(), (ROWS,), WIDTHS),
    Case("triu-far", lambda t, x: x.triu(-40), (ROWS,)),
    Case("triu-batched", lambda t, x: x.triu(-1), (X,)),
    Case("diag-vector", lambda t, x: x.diag(1), (Arg((5,)),)),
    Case("diag-matrix", lambda t, x: x.diag(-1), (Arg((5, 3)),)),
    Case("diag_embed", lambda t, x: x.diag_embed(-1, 0, 2), (Arg((2, 3)),)),
    Case("trace", lambda t, x: x.trace(), (Arg((4, 7)),)),
]

CASES = [
    *GETITEM,
    *SETITEM,
    *SELECT,
    *SCATTER,
    *SCATTER_REDUCE,
    *SLICES,
    *MASKED,
    *COUNTING,
    *MATRIX,
]

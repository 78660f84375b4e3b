"""CUDA kernels on the emulator: sizes that the thread-by-thread simulator has no time for, bank
conflicts, races, and mistakes planted in their sources, all of which must be seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest

from tests.emulator.device import Device, emulated
from tests.emulator.flow import Fault
from tilegrad.kernels.cuda import matmul as products
from tilegrad.kernels.cuda.matmul import matmul
from tilegrad.kernels.cuda.reduce import reduce
from tilegrad.kernels.cuda.softmax import softmax, softmax_backward
from tilegrad.kernels.cuda.tuning import DOUBLE, LARGE, MEDIUM, SKINNY, SMALL
from tilegrad.kernels.formulas.activation import silu
from tilegrad.kernels.formulas.user import formulas
from tilegrad.kernels.monoids import MONOIDS, Own, own_monoid

ROWS, COLUMNS = "rows", "columns"
TILES = {"large": LARGE, "medium": MEDIUM, "small": SMALL, "skinny": SKINNY, "double": DOUBLE}
DTYPES = {"double": "float64"}  # of the other tiles: float32


def random(dtype: str, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(list(shape))
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def placed(
    device: Device, array: np.ndarray, layout: str, dims: int
) -> tuple[int, tuple[int, ...]]:
    """(address, strides in elements) of a matrix or batch whose ``layout`` is contiguous."""
    stored = np.ascontiguousarray(array if layout == ROWS else array.swapaxes(-1, -2))
    strides = [s // array.itemsize for s in stored.strides]
    if layout == COLUMNS:
        strides[-2:] = strides[:-3:-1]
    steps = [0 if n == 1 else s for n, s in zip(array.shape[:-2], strides, strict=False)]
    return device.put(stored), (*[0] * (dims - array.ndim), *steps, *strides[-2:])


def product(
    device: Device, x: np.ndarray, y: np.ndarray, layouts: tuple[str, str] = (ROWS, ROWS), *,
    bias: np.ndarray | None = None, onto: np.ndarray | None = None, tile: str = "",
    activation: object = None,
) -> np.ndarray:  # fmt: skip
    """``x @ y`` by the launcher, with a certain tile."""
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    (M, K), N = x.shape[-2:], y.shape[-1]
    out = np.full((*batch, M, N), 77, x.dtype) if onto is None else onto
    places = [placed(device, a, k, out.ndim) for a, k in ((x, layouts[0]), (y, layouts[1]))]
    target, whole = placed(device, out, ROWS, out.ndim)
    with patch.object(products, "_tile", (lambda *args: TILES[tile]) if tile else products._tile):
        launch, scratch = matmul(
            x.dtype.name, M, N, K, batch, places[0][1], places[1][1], whole,
            accumulate=onto is not None, activation=activation,
        )  # fmt: skip
    at = 0 if bias is None else device.put(bias)
    launch(places[0][0], places[1][0], target, device.scratch(scratch), at)
    return device.get(target)


def assert_close(out: np.ndarray, x: np.ndarray, y: np.ndarray, plus: object = 0.0) -> None:
    """Within the error that any order of summation keeps: K eps |x| @ |y|."""
    exact = x.astype(np.float64) @ y.astype(np.float64) + plus
    bound = np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64) + np.abs(plus)
    limit = (x.shape[-1] + 2) * np.finfo(out.dtype).eps * bound
    assert (np.abs(out - exact) <= limit).all(), "Not equal"


# ----------------------------------------------------------------------------------- products

# bank conflicts of the stores of store_shared; elsewhere there are none
STORE_SHARED = {"large": 1, "medium": 1, "small": 2, "skinny": 4, "double": 2}


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "scalars"])
@pytest.mark.parametrize(
    "layouts", list(itertools.product((ROWS, COLUMNS), repeat=2)), ids="-".join
)
def test_tiles(tile: str, vectors: bool, layouts: tuple[str, str]) -> None:
    """Four blocks of which three are ragged, tiles that end early, all ways to read them."""
    shape, dtype = TILES[tile], DTYPES.get(tile, "float32")
    M = 4 if tile == "skinny" else shape.BM + 8
    N, K = shape.BN + 8, 2 * shape.BK + 4
    if not vectors:
        M, N, K = M - 1, N - 1, K - 1
    x, y = random(dtype, M, K), random(dtype, K, N)
    with emulated() as device:
        assert_close(product(device, x, y, layouts, tile=tile), x, y)
    V = 16 // x.itemsize if vectors else 1
    along = ("k" if layouts[0] == ROWS else "lane", "lane" if layouts[1] == ROWS else "k")
    assert f"{shape}_{along[0]}_{V}_{along[1]}_{V}" in device.launches[0]
    report = device.report
    assert report.ways("load_fragment(smem, x_from", "read") == 1
    assert report.ways("load_fragment(smem, y_from", "read") == 1
    assert report.ways("store_fragment(smem", "write") == 1
    for name in "xy":
        assert report.ways(f"{name}_put + to", "write") <= STORE_SHARED[tile]
    if vectors:
        assert report.ways("v = load_fragment(smem, e)", "read") == 1


def test_a_product_of_many_blocks() -> None:
    x, y, bias = random("float32", 260, 200), random("float32", 200, 260), random("float32", 260)
    with emulated() as device:
        out = product(device, x, y, tile="large", bias=bias, activation=silu)
    z = x.astype(np.float64) @ y + bias
    np.testing.assert_allclose(out, z / (1 + np.exp(-z)), rtol=2e-5, atol=2e-5)


def test_a_product_as_it_is_launched() -> None:
    x, y = random("float32", 256, 256), random("float32", 256, 256)
    with emulated() as device:
        assert_close(product(device, x, y), x, y)
    assert len(device.launches) == 1


@pytest.mark.parametrize("layout", [ROWS, COLUMNS])
@pytest.mark.parametrize(
    "x_shape, y_shape",
    [
        ((3, 33, 20), (3, 20, 40)),
        ((2, 1, 5, 7), (3, 7, 70)),
        ((2, 3, 36, 4), (4, 33)),
        ((2, 3, 0), (0, 4)),
    ],
)
def test_batches(x_shape: tuple[int, ...], y_shape: tuple[int, ...], layout: str) -> None:
    x, y = random("float32", *x_shape), random("float32", *y_shape)
    with emulated() as device:
        assert_close(product(device, x, y, (layout, layout)), x, y)


@pytest.mark.parametrize("N", [36, 35])
def test_bias_and_accumulation(N: int) -> None:
    x, y = random("float32", 40, 30), random("float32", 30, N)
    bias, onto = random("float32", N), random("float32", 40, N)
    with emulated() as device:
        assert_close(product(device, x, y, bias=bias), x, y, bias.astype(np.float64))
        assert_close(product(device, x, y, onto=onto), x, y, onto.astype(np.float64))


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
def test_integer_products_wrap_around(dtype: str) -> None:
    x, y, onto = random(dtype, 37, 21), random(dtype, 21, 34), random(dtype, 37, 34)
    with emulated() as device:
        assert (product(device, x, y, (COLUMNS, ROWS)) == x @ y).all()
        assert (product(device, x, y, (ROWS, COLUMNS), onto=onto) == onto + x @ y).all()


@pytest.mark.parametrize("activation", [None, silu], ids=["side-by-side", "one-after-another"])
def test_long_sums_are_cut(activation: object) -> None:
    x, y = random("float32", 9, 2100), random("float32", 2100, 12)
    bias = random("float32", 12)
    with emulated() as device:
        out = product(device, x, y, bias=bias, activation=activation, tile="small")
    assert len(device.launches) == 2
    if activation is None:
        assert_close(out, x, y, bias.astype(np.float64))
    else:
        z = x.astype(np.float64) @ y + bias
        np.testing.assert_allclose(out, z / (1 + np.exp(-z)), rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("dtype, K", [("float32", 5), ("float32", 300), ("float64", 4200)])
@pytest.mark.parametrize("layout", [ROWS, COLUMNS])
def test_matrix_times_vector(dtype: str, K: int, layout: str) -> None:
    x, y = random(dtype, 70, K), random(dtype, K, 1)
    with emulated() as device:
        assert_close(product(device, x, y, (layout, ROWS), bias=np.ones(1, dtype)), x, y, 1.0)


# ------------------------------------------------------------------------- reductions, softmax

EXACT: dict[str, Callable[..., np.ndarray]] = {
    "sum": lambda x, axis: x.sum(axis),
    "amax": lambda x, axis: x.max(axis),
    "norm2": lambda x, axis: np.sqrt((x * x).sum(axis)),
    "var": lambda x, axis: x.var(axis, ddof=1),
}


def reduced(device: Device, name: str, x: np.ndarray, rows: bool) -> np.ndarray:
    """A reduction of a matrix over one of its dimensions."""
    sizes, strides = x.shape, (x.shape[1], 1)
    pair = [((n,), (s,)) for n, s in zip(sizes, strides, strict=True)]
    kept, over = pair if rows else pair[::-1]
    launch, scratch = reduce(name, x.dtype.name, x.dtype.name, kept, over)
    out = device.put(np.full(kept[0], 77, x.dtype))
    center = [device.put(x.mean(int(rows), dtype=np.float64).astype(x.dtype))] * (name == "var")
    held = [device.scratch(scratch)] if scratch else []
    launch(device.put(x), *center, out, *held, 1.0)
    return device.get(out)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", [(3, 5), (40, 37), (9, 260), (700, 33), (2, 9001)])
@pytest.mark.parametrize("rows", [True, False], ids=["over-rows", "over-columns"])
def test_reductions(name: str, shape: tuple[int, int], rows: bool) -> None:
    x = random("float32", *shape)
    with emulated() as device:
        out = reduced(device, name, x, rows)
    exact = EXACT[name](x.astype(np.float64), int(rows))
    np.testing.assert_allclose(out, exact, rtol=2e-5, atol=2e-5)
    ways = [t.ways for t in device.report.traffic.values()]
    assert max(ways, default=1) == 1


@pytest.mark.parametrize("shape", [(5, 7, 1), (3, 1000, 1), (2, 9000, 1), (2, 40, 33), (1, 700, 5)])
@pytest.mark.parametrize("logs", [False, True], ids=["plain", "log"])
def test_softmax(shape: tuple[int, int, int], logs: bool) -> None:
    x, g = random("float32", *shape), random("float32", *shape[::-1]).reshape(shape)
    wide, grad = x.astype(np.float64), g.astype(np.float64)
    e = np.exp(wide - wide.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    y = np.log(p) if logs else p
    slope = grad - p * grad.sum(1, keepdims=True)
    slope = slope if logs else p * (grad - (grad * p).sum(1, keepdims=True))
    with emulated() as device:
        places = [device.put(a) for a in (x, g, np.zeros_like(x), np.zeros_like(x))]
        softmax("float32", logs, *shape)(places[0], places[2])
        softmax_backward("float32", logs, *shape)(places[1], places[2], places[3])
        outs = [device.get(a) for a in places[2:]]
    np.testing.assert_allclose(outs[0], y, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(outs[1], slope, rtol=2e-5, atol=2e-4)
    assert all(t.ways <= 2 for t in device.report.traffic.values())


# -------------------------------------------------------------------------------- planted mistakes

WRONG = "Not equal"  # the result to what it should be

PRODUCT_MISTAKES = {
    "no barrier before the first tile": ("barrier()\n    while left", "\n    while left", "race"),
    "no barrier after a tile": ("        barrier()\n    u = ", "    u = ", "race"),
    "no barrier before rows go out": ("    barrier()\n    e = u", "    e = u", "race"),
    "the half that is being read": ("to = i32(1 - to)", "to = i32(to)", "race"),
    "the other half of y": ("+ column + to * ", "+ column + (1 - to) * ", "race|nobody wrote"),
    "a tile one element off": ("x_from = row + to", "x_from = row + 1 + to", "misaligned"),
    "a tile one vector off": ("x_from = row + to", "x_from = row + 4 + to", "nobody wrote|race"),
    "a tile one step off": ("x_from = row + to", "x_from = row + 36 + to", "nobody wrote|race"),
    "a tile to the wrong place": ("x_put = i32(0 + ", "x_put = i32(1 + ", "nobody wrote|race"),
    "a step too many": ("min(K - first, chunk)", "min(K - first + 1, chunk)", "out of bounds"),
    "a tile too few": ("while left > 0", f"while left > {TILES['small'].BK}", WRONG),
    "no guard of columns": ("if r < M and c < N:", "if r < M:", "out of bounds|race"),
    "no guard of rows": ("if r < M and c < N:", "if c < N:", "out of bounds"),
    "rows beyond the matrix": ("x_slow + 0, M - 1)", "x_slow + 0, M + 0)", "out of bounds"),
    "a divergent barrier": (" barrier()\n    u", " if t < 32: barrier()\n    u", "only 32"),
    "accumulators one row off": ("held = down * 32", "held = 32 + down * 32", WRONG),
    "lanes of a warp swapped": ("row, column = i32(", "column, row = i32(", WRONG),
    "a wrong tile origin": ("tile_origin[0], tile_origin[1], tile_origin[2] = item, x0, y0",
                       "tile_origin[0], tile_origin[1], tile_origin[2] = item, y0, x0", WRONG),
}  # fmt: skip


def planted(check: Callable[..., None], old: str, new: str, problem: str) -> None:
    """``check(device)`` with a mistake: a fault, or a wrong result, that the message tells."""
    with emulated((old, new)) as device, pytest.raises((Fault, AssertionError), match=problem):
        check(device)


def check_product(device: Device, M: int = 39, N: int = 44, K: int = 36) -> None:
    x, y = random("float32", M, K), random("float32", K, N)
    assert_close(product(device, x, y, tile="small"), x, y)


@pytest.mark.parametrize("name", PRODUCT_MISTAKES)
def test_mistakes_in_products_are_seen(name: str) -> None:
    planted(check_product, *PRODUCT_MISTAKES[name])


def check_odd_product(device: Device) -> None:
    check_product(device, N=43)


def check_softmax(device: Device, n: int = 3000) -> None:
    x = random("float32", 3, n)
    places = [device.put(x), device.put(np.zeros_like(x))]
    softmax("float32", False, 3, n, 1)(*places)
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(
        device.get(places[1]), e / e.sum(1, keepdims=True), rtol=2e-5, atol=1e-9
    )


def check_columns(device: Device) -> None:
    x = random("float32", 50, 37)
    np.testing.assert_allclose(reduced(device, "sum", x, False), x.sum(0), rtol=2e-5, atol=2e-5)


def check_crooked_rows(device: Device) -> None:
    """Rows that begin anywhere: of an odd number of elements."""
    x = random("float32", 9, 1101)
    np.testing.assert_allclose(reduced(device, "sum", x, True), x.sum(1), rtol=2e-5, atol=2e-4)


PARTS, BARRIER = "held = parts()\n        barrier()", "        barrier()\n        a = get(held"
GUARD = "    barrier()\n    if row == 0 and active:"

OTHER_MISTAKES = {
    check_softmax: {
        "fold without its first barrier": (PARTS, "held = parts()", "race"),
        "fold without its second barrier": (BARRIER, "        a = get(held", "race|nobody wrote"),
        "fold with a divergent barrier": (
            PARTS,
            PARTS.replace("b", "if thread() < 32: b"),
            "only 32",
        ),
        "fold of swapped lanes": ("step = steps // 2", "step = steps // 2 - 1", WRONG),
        "fold from the wrong warp": (
            "put(held, thread() // WARP",
            "put(held, thread() // 16",
            "out of bounds",
        ),
    },
    check_columns: {
        "columns without a barrier": ("    barrier()\n", "", "race"),
        "columns with a guarded barrier": (GUARD, GUARD[14:] + "\n        barrier()", "only 32"),
        "columns without a guard": ("row == 0 and active", "row == 0", "out of bounds"),
        "columns with a row too many": ("range(1, depth)", "range(1, depth + 1)", "out of bounds"),
        "columns crosswise": (
            "held, k * TILE + column",
            "held, k + column * TILE",
            "out of bounds",
        ),
    },
    check_crooked_rows: {
        "vectors from anywhere": ("(x + base * size) & mask == 0", "True", "misaligned"),
        "a row's end forgotten": (
            "end = min(R, i + chunk) if",
            "end = i + chunk + 8 if",
            "out of bounds",
        ),
    },
    check_odd_product: {
        "vectors across a row's end": ("whole = p.out_whole != 0", "whole = True", "misaligned"),
    },
}


@pytest.mark.parametrize(
    "check, name", [(check, name) for check, table in OTHER_MISTAKES.items() for name in table]
)
def test_mistakes_in_other_kernels_are_seen(check: Callable[[Device], None], name: str) -> None:
    planted(check, *OTHER_MISTAKES[check][name])


@pytest.mark.parametrize("check", [check_product, check_softmax, check_columns, check_crooked_rows])
def test_without_mistakes_nothing_is_seen(check: Callable[[Device], None]) -> None:
    with emulated() as device:
        check(device)


# ------------------------------------------------------------------------ reductions of a user's


def start(x):
    return 1.0, x, 0.0


def spread(n, mean, m2):
    return mean, m2 / n


def combine(n, mean, m2, n_, mean_, m2_):
    count = n + n_
    share = n_ / max(count, 1)
    apart = mean_ - mean
    return count, mean + apart * share, m2 + m2_ + apart * apart * n * share


def times(x, y):
    return x * y


def plus(a, b):
    return a + b


def largest(a, b):
    return max(a, b)


def itself(a):
    return a


def owned(lift: Callable[..., object], fold: Callable[..., object], last: Callable[..., object],
          operands: int, *starts: float) -> str:  # fmt: skip
    """The name of a monoid of these functions."""
    own = Own(formulas(lift), formulas(fold), starts, formulas(last), operands, 0)
    monoid = own_monoid("mine", own, lift is itself)
    MONOIDS[monoid.name] = monoid
    return monoid.name


MOMENTS = owned(start, combine, spread, 1, 0.0, 0.0, 0.0)
DOT = owned(times, plus, itself, 2, 0.0)
LARGEST = owned(itself, largest, itself, 1, float("-inf"))


@pytest.mark.parametrize("shape", [(3, 5), (40, 37), (700, 33), (2, 9001)])
@pytest.mark.parametrize("rows", [True, False], ids=["over-rows", "over-columns"])
def test_reductions_of_several_accumulators_and_operands(
    shape: tuple[int, int], rows: bool
) -> None:
    """Totals between the stages, shuffles and shared memory have one of each accumulator; a second
    operand is one number a row.
    """
    x, y = random("float32", *shape), random("float32", shape[0])
    pair = [((n,), (s,), (t,)) for n, s, t in zip(shape, (shape[1], 1), (1, 0), strict=True)]
    kept, over = pair if rows else pair[::-1]
    with emulated() as device:
        made = []
        for name, operands, results in ((MOMENTS, 1, 2), (DOT, 2, 1), (LARGEST, 1, 1)):
            sides = kept[: 1 + operands], over[: 1 + operands]
            launch, scratch = reduce(name, "float32", "float32", *sides)
            outs = [device.put(np.full(kept[0], 77, np.float32)) for _ in range(results)]
            given = [device.put(a) for a in (x, y)[:operands]]
            launch(*given, *outs, *([device.scratch(scratch)] if scratch else []))
            made += [device.get(out) for out in outs]
    wide, axis = x.astype(np.float64), int(rows)
    wanted = wide.mean(axis), wide.var(axis), (wide * y[:, None]).sum(axis), wide.max(axis)
    for have, want in zip(made, wanted, strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-4, atol=2e-4)
    assert max((t.ways for t in device.report.traffic.values()), default=1) == 1

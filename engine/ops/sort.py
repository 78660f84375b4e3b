"""Sorting, selection and searching along one dimension.

Kernels work on rows: another dimension than the last is moved there and back. Results come as
(values, indices), indices int64.
"""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.device import Device
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops.elementwise import cast
from tilegrad.engine.ops.movement import dense
from tilegrad.engine.ops.view import slice_, transpose, view
from tilegrad.engine.shape import Shape, normalize_dim

Pair = tuple[Array, Array]
_LIMIT = 1 << 32  # kernels count places within a row in 32 bits


def _pair(shape: Shape, dtype: DType, device: Device) -> tuple[Layout, Layout]:
    return layout(shape, dtype, device), layout(shape, dt.int64, device)


def _rows(x: Layout) -> tuple[int, int]:
    n = x.shape[-1]
    if n >= _LIMIT:
        raise RuntimeError(f"sort: rows must have fewer than 2**32 elements; got {n}")
    return x.numel // n if n else 0, n


def _sort_plan(x: Layout, descending: bool) -> Plan:
    launch, scratch = kernel("sort", x.device).sort(x.dtype.name, *_rows(x), descending)
    return Plan(_pair(x.shape, x.dtype, x.device), launch, scratch)


def _topk_plan(x: Layout, k: int, largest: bool) -> Plan:
    launch, scratch = kernel("topk", x.device).topk(x.dtype.name, *_rows(x), k, largest)
    return Plan(_pair((*x.shape[:-1], k), x.dtype, x.device), launch, scratch)


def _pick_plan(x: Layout, which: int) -> Plan:
    launch, scratch = kernel("topk", x.device).pick(x.dtype.name, *_rows(x), which)
    return Plan(_pair((*x.shape[:-1], 1), x.dtype, x.device), launch, scratch)


def _mode_plan(values: Layout, places: Layout) -> Plan:
    launch = kernel("topk", values.device).mode(values.dtype.name, *_rows(values))
    return Plan(_pair((*values.shape[:-1], 1), values.dtype, values.device), launch)


def _search_plan(borders: Layout, values: Layout, right: bool) -> Plan:
    n = borders.shape[-1]
    rows = borders.numel // n if n and borders.ndim > 1 else 1
    each = values.numel // rows if rows else 0
    launch = kernel("topk", values.device).searchsorted(values.dtype.name, rows, n, each, right)
    return Plan((layout(values.shape, dt.int64, values.device),), launch)


_sort = Op("sort", _sort_plan)
_topk = Op("topk", _topk_plan)
_pick = Op("kthvalue", _pick_plan)
_mode = Op("mode", _mode_plan)
_search = Op("searchsorted", _search_plan)


def _by_rows(op: str, x: Array, dim: int, run: Callable[[Array], Pair]) -> Pair:
    """``run`` on ``x`` with ``dim`` last; a zero-dimensional array is one row of one element."""
    axis = normalize_dim(op, dim, x.layout.ndim)
    if x.layout.ndim == 0:
        values, places = run(view(x, shape=(1,)))
        return view(values, shape=()), view(places, shape=())
    if axis == x.layout.ndim - 1:
        return run(dense(x))
    values, places = run(dense(transpose(x, dim0=axis, dim1=-1)))
    return (
        dense(transpose(values, dim0=axis, dim1=-1)),
        dense(transpose(places, dim0=axis, dim1=-1)),
    )


def sort(x: Array, dim: int, descending: bool) -> Pair:
    """All elements along ``dim`` in order; equal ones stay in order, NaN counts as the largest."""
    return _by_rows("sort", x, dim, lambda rows: _sort(rows, descending=descending))


def topk(x: Array, k: int, dim: int, largest: bool) -> Pair:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, first ones first.

    Raises:
        RuntimeError: there are fewer.
    """
    size = x.shape[normalize_dim("topk", dim, x.layout.ndim)] if x.layout.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: selected index k out of range; got {k} for size {size}")
    if x.layout.ndim == 0 and k == 0:
        x = view(x, shape=(1,))

    def run(rows: Array) -> Pair:
        if kernel("topk", x.device).one_pass(x.dtype.name, rows.shape[-1], k):
            pair: Pair = _topk(rows, k=k, largest=largest)
            return pair
        values, places = _sort(rows, descending=largest)
        head = [slice_(r, dim=-1, start=0, stop=k, step=1) for r in (values, places)]
        return dense(head[0]), dense(head[1])

    return _by_rows("topk", x, dim, run)


KTH = "kthvalue"
MEDIAN = "median"
NANMEDIAN = "nanmedian"
_WHICH = {MEDIAN: -1, NANMEDIAN: -2}


def pick(op: str, x: Array, dim: int, k: int = 1) -> Pair:
    """One element along ``dim``, which becomes 1: the k-th smallest, from 1; or the median, the
    lower one of two, where NaN counts (``median``) or does not (``nanmedian``).

    Raises:
        IndexError: ``dim`` is empty.
        RuntimeError: there is no k-th element.
    """
    axis = normalize_dim(op, dim, x.layout.ndim)
    size = x.shape[axis] if x.layout.ndim else 1
    if size == 0:
        raise IndexError(f"{op}: Expected reduction dim {axis} to have non-zero size")
    if not 1 <= k <= size:
        raise RuntimeError(
            f"{op}: selected number k out of range for dimension {axis}; got {k} for size {size}"
        )
    which = _WHICH.get(op, k - 1)
    return _by_rows(op, x, axis, lambda rows: _pick(rows, which=which))


def mode(x: Array, dim: int) -> Pair:
    """The most frequent element along ``dim``, which becomes 1: the smallest of several, and the
    last place where it stands.

    Raises:
        IndexError: ``dim`` is empty.
    """
    axis = normalize_dim("mode", dim, x.layout.ndim)
    if x.layout.ndim and x.shape[axis] == 0:
        raise IndexError(f"mode: Expected reduction dim {axis} to have non-zero size")
    return _by_rows("mode", x, axis, lambda rows: _mode(*_sort(rows, descending=False)))


def searchsorted(op: str, borders: Array, values: Array, right: bool) -> Array:
    """For each value, how many elements of its ascending row are smaller (with ``right``: or equal).

    Args:
        borders: (N,), or (…, N) with the leading sizes of ``values``.
        values: any shape.

    Raises:
        RuntimeError: the shapes do not fit. NotImplementedError: truth values among truth values.
    """
    lead = borders.shape[:-1]
    if borders.layout.ndim == 0 or (
        borders.layout.ndim > 1 and (values.layout.ndim == 0 or values.shape[:-1] != lead)
    ):
        raise RuntimeError(
            f"{op}: boundaries must be 1-D or match all but the last dimension of the input; "
            f"got {borders.layout.describe()} and {values.layout.describe()}"
        )
    kind = dt.promote_types(borders.dtype, values.dtype)
    if kind is dt.bool_:
        raise NotImplementedError(f"\"{op}\" not implemented for 'bool'")
    result: Array = _search(dense(cast(borders, kind)), dense(cast(values, kind)), right=right)
    return result

"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.engine.array import Array, Layout, empty, layout
from tilegrad.engine.dispatch import Op, Plan, composed, kernel
from tilegrad.engine.ops import view
from tilegrad.engine.ops.elementwise import OPS, contiguous, copy
from tilegrad.engine.ops.parts import part, parts, whole
from tilegrad.engine.shape import Shape, broadcast_shapes, broadcast_strides


def _check(x: Layout, y: Layout) -> None:
    got = f"got x {x.describe()} and y {y.describe()}"
    if x.ndim == 0 or y.ndim == 0:
        raise RuntimeError(f"matmul: both arguments need to be at least 1D; {got}")
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"matmul: expected m1 and m2 to have the same dtype, but got: {x.dtype.name} != "
            f"{y.dtype.name}"
        )
    if x.dtype.name == "bool":
        raise NotImplementedError(f"matmul: \"addmm_impl_cpu_\" not implemented for 'bool'; {got}")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else -1]:
        raise RuntimeError(
            f"matmul: x.shape[-1] must equal y.shape[{-2 if y.ndim > 1 else -1}]; {got}"
        )


def _product(x: Layout, y: Layout) -> tuple[Layout, Callable[..., None], int]:
    """(result, launch, bytes of scratch), for any number of dimensions: vectors count as a row or a
    column, batches broadcast.
    """
    x_shape, x_strides = (x.shape, x.strides) if x.ndim > 1 else ((1, *x.shape), (0, *x.strides))
    y_shape, y_strides = (y.shape, y.strides) if y.ndim > 1 else ((*y.shape, 1), (*y.strides, 0))
    M, K, N = x_shape[-2], x_shape[-1], y_shape[-1]
    batch = broadcast_shapes("matmul", x_shape[:-2], y_shape[:-2])
    shape: Shape = batch
    if x.ndim > 1:
        shape = (*shape, M)
    if y.ndim > 1:
        shape = (*shape, N)
    out = layout(shape, x.dtype, x.device)
    lead = len(batch)
    full = layout((*batch, M, N), x.dtype, x.device).strides
    launch, scratch = kernel("matmul", x.device).matmul(
        x.dtype.name,
        M,
        N,
        K,
        batch,
        broadcast_strides(x_shape[:-2], x_strides[:-2], batch) + x_strides[-2:],
        broadcast_strides(y_shape[:-2], y_strides[:-2], batch) + y_strides[-2:],
        full[:lead] + (N, 1),
    )
    return out, launch, scratch


def _expanded(y: Array) -> Array:
    """The real (…, 2K, 2N) that a complex (…, K, N) is to pairs: [re im; -im re] of each element."""
    kind = y.layout
    *batch, K, N = kind.shape
    made = empty((*batch, K, 2, N, 2), kind.dtype.to_real(), kind.device)
    real, imag = part(y, 0), part(y, 1)
    moves = ((real, 0, 0), (imag, 0, 1), (OPS["neg"](imag), 1, 0), (real, 1, 1))
    for source, row, column in moves:
        line = view.select(made, dim=-3, index=row)
        copy(source, view.select(line, dim=-1, index=column))
    found: Array = view.view(made, shape=(*batch, 2 * K, 2 * N))
    return found


def _complex_product(x: Array, y: Array) -> Array:
    """A real product of x seen as (…, M, 2K) and y expanded to (…, 2K, 2N): four multiplications an element,
    by the packed product of floats.
    """
    if x.layout.ndim == 1 and y.layout.ndim > 1:  # the vector is cheaper to expand
        return _complex_product(view.transpose(y, dim0=-2, dim1=-1), x)
    column = y.layout.ndim == 1
    left = x if x.layout.ndim > 1 else view.unsqueeze(x, dim=0)
    left = contiguous(left)
    *batch, M, K = left.layout.shape
    pairs = view.view(parts(left), shape=(*batch, M, 2 * K))
    right = _expanded(view.unsqueeze(y, dim=1) if column else y)
    made = matmul(pairs, right)
    shape = made.layout.shape
    found: Array = whole(view.view(made, shape=(*shape[:-1], shape[-1] // 2, 2)))
    gone = ([-1] if column else []) + ([-1 - (not column)] if x.layout.ndim == 1 else [])
    for dim in gone:
        found = view.squeeze(found, dims=(dim,))
    return found


def _by_parts(x: Layout) -> bool:
    """Whether the device's product takes the parts of such numbers only."""
    multiplies = kernel("matmul", x.device).multiplies
    return x.dtype.is_complex and not multiplies(x.dtype.name)


def _plan(x: Layout, y: Layout) -> Plan:
    _check(x, y)
    if _by_parts(x):
        return composed(lambda arrays, params: _complex_product(*arrays))
    out, launch, scratch = _product(x, y)
    return Plan((out,), launch, scratch)


def _complex_linear(arrays: tuple[Array, ...], params: object) -> Array:
    x, weight, *bias = arrays
    made: Array = matmul(x, view.transpose(weight, dim0=0, dim1=1))
    return OPS["add"](made, *bias) if bias else made  # type: ignore[no-any-return]


def _plan_linear(x: Layout, weight: Layout, bias: Layout | None = None) -> Plan:
    """``x @ weight.T + bias``."""
    kind = x.dtype
    if (
        weight.ndim != 2
        or x.ndim == 0
        or x.shape[-1] != weight.shape[1]
        or weight.dtype is not kind
    ):
        raise RuntimeError(
            f"linear: input must have the columns and the dtype of a 2-D weight; got input "
            f"{x.describe()} and weight {weight.describe()}"
        )
    turned = layout(weight.shape[::-1], kind, weight.device, weight.strides[::-1])
    _check(x, turned)
    if _by_parts(x):
        return composed(_complex_linear)
    out, launch, scratch = _product(x, turned)
    if bias is None:
        return Plan((out,), launch, scratch)
    N = weight.shape[0]
    if bias.shape != (N,) or bias.dtype is not kind or not bias.contiguous:
        raise RuntimeError(
            f"linear: bias must have shape ({N},) and dtype {kind.name}; got {bias.describe()}"
        )

    def with_bias(x: int, y: int, bias: int, out: int, scratch: int = 0) -> None:
        launch(x, y, out, scratch, bias)

    return Plan((out,), with_bias, scratch)


matmul = Op("matmul", _plan, planar=True)
linear = Op("linear", _plan_linear, planar=True)

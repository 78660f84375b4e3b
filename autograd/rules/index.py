"""Reading and writing through integer indices, and how gradients pass.

Reading one way is undone by adding the other way: ``index_select`` by ``index_add``, ``x[i, j]``
by an accumulating ``index_put``, and back; so gradients of any order follow. Values that meet at
one place are combined in index order, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import (
    TensorBase,
    refuse_overlap,
    tensor_of,
    warn_expanded,
    zeros_of,
)
from tilegrad.autograd.graph import Node, Saves, called
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, check_inplace, needs_graph, writable
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.elementwise import apply, single_value
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.array import Array, Layout, layout as make_layout
from tilegrad.engine.ops import index as ops
from tilegrad.engine.ops.elementwise import OPS, scalar
from tilegrad.engine.shape import Shape, normalize_dim, numel

__all__ = [
    "index_add", "index_copy", "index_fill", "index_select", "put", "take",
]  # fmt: skip

Scalar = float | int | bool


def dim_of(op: str, dim: int, x: Tensor) -> int:
    """``dim`` counted from the front; see :func:`normalize_dim`."""
    return normalize_dim(op, dim, x.layout.ndim)


def index_of(op: str, index: Tensor) -> Tensor:
    """``index`` as int64; see :func:`ops.as_index`."""
    if index.layout.dtype is dt.int64:
        return index
    return tensor_of(ops.as_index(op, index))


# What a writing function does with its target: write over it; write over a copy; or take over a
# constant that its caller made for it, with indices that are known to be in bounds.
IN_PLACE, COPY, FRESH = "in place", "copy", "fresh"


def write(
    rule: Rule, run: Callable[..., Array], inputs: tuple[Tensor, ...], meta: Hashable, target: str,
    same: bool = False, single: bool = False,
) -> Tensor:  # fmt: skip
    """``run(inplace, checked)`` overwrites parts of ``inputs[0]``, or of a copy; record it.

    The other inputs must not share the target's memory, or only the ``same`` elements. A target with
    several elements in one place takes a ``single`` value, with a warning, if nothing is recorded.
    """
    if target != IN_PLACE:
        fresh = target == FRESH
        return rule.record(inputs, run(fresh, fresh), meta)
    x, name = inputs[0], rule.name + "_"
    kind = x.layout
    recording = state.grad and kind.dtype.has_gradient and needs_graph(inputs)
    check_inplace(name, x, single and not recording)
    if single and 0 in kind.strides:
        warn_expanded(name, x)
    refuse_overlap(name, x, inputs[1:], same)
    return rule.write(inputs, run, True, False, meta=meta)


def zeros(shape: Shape, like: Tensor) -> Tensor:
    """A constant of zeros with the dtype and device of ``like``."""
    kind = like.layout
    return zeros_of(make_layout(tuple(shape), kind.dtype, kind.device))


def constant(value: Scalar, like: Tensor) -> Tensor:
    """A zero-dimensional constant, not to be written to, of the dtype of ``like``."""
    kind = like.layout
    return tensor_of(scalar(number.required(value, "constant"), kind.dtype, kind.device))


def require_same_dtype(op: str, x: Tensor, source: Tensor) -> None:
    """Raise RuntimeError if the dtypes differ."""
    if x.dtype is not source.dtype:
        raise RuntimeError(
            f"{op}: Expected self.dtype to be equal to src.dtype; "
            f"got {x.dtype.name} and {source.dtype.name}"
        )


# -------------------------------------------------------------- x[i, j]: index_get, index_put


def index_get(input: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """``input[indices]``: int64 tensors that broadcast together; None keeps a dimension.

    Gradient: of ``input``; equal indices add up.
    """
    dims = tuple([d for d, i in enumerate(indices) if i is not None])
    given = tuple([i for i in indices if i is not None])
    out = ops.index_get(input, tuple(indices))
    return _reading(len(given)).record((input, *given), out, dims)


@lru_cache(maxsize=None)
def _reading(count: int) -> Rule:
    """The rule of ``x[indices]`` with that many of them."""
    return Rule("index", _index_vjp, tuple(range(1, count + 1)))


def _placed(dims: Shape, indices: Sequence[Tensor]) -> list[Tensor | None]:
    result: list[Tensor | None] = [None] * (dims[-1] + 1)
    for dim, given in zip(dims, indices, strict=True):
        result[dim] = given
    return result


def _index_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    indices = node.unpack()
    whole = zeros(node.inputs[0].shape, grad)
    g = put_at(whole, _placed(node.meta, indices), grad, True, FRESH)
    return (g, *[None] * len(indices))


def put_at(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool, target: str
) -> Tensor:
    """Write or add ``values`` at ``x[indices]``; ``target``: see :func:`write`."""
    dims = tuple(d for d, i in enumerate(indices) if i is not None)
    given = tuple(i for i in indices if i is not None)
    arrays = tuple(indices)

    def run(inplace: bool, checked: bool) -> Array:
        return ops.index_put(x, arrays, values, accumulate, inplace, checked)

    single = values.layout.numel == 1 and not accumulate
    inputs = (x, values, *given)
    rule = _writing(len(given), accumulate)
    return write(rule, run, inputs, (dims, accumulate), target, False, single)


@lru_cache(maxsize=None)
def _writing(count: int, accumulate: bool) -> Rule:
    """The rule of :func:`put_at` with that many indices."""
    indexed = range(2, count + 2)
    saves: Saves = tuple([(p, 1) for p in indexed]) if accumulate else tuple(indexed)
    return Rule("index_put", _put_vjp, saves)


def _put_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    dims, accumulate = node.meta
    given = node.unpack()
    g, g_values = grad if accumulate else None, None
    if accumulate and node.edges[1] is None:
        return (g, *[None] * (len(given) + 1))
    indices = _placed(dims, given)
    if node.edges[0] is not None and not accumulate:
        g = put_at(grad, indices, constant(0, grad), False, COPY)
    if node.edges[1] is not None:
        g_values = index_get(grad, indices)
    return (g, g_values, *[None] * len(given))


def at_least_1d(x: Tensor) -> Tensor:
    """``x``, or a view of one dimension if it has none."""
    return view.reshape(x, (1,)) if x.layout.ndim == 0 else x


# --------------------------------------------------------------------- whole slices by index


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices ``index`` (one dimension, or none) of dimension ``dim``.

    Gradient: of ``input``; equal indices add up.
    """
    dim = dim_of("index_select", dim, input)
    index = index_of("index_select", index)
    if index.layout.ndim > 1:
        raise IndexError(
            f"index_select: Index is supposed to be a vector; got {index.layout.describe()}"
        )
    if input.layout.ndim == 0:
        if index.layout.numel != 1:
            raise RuntimeError(
                f"index_select: Index to scalar can have only 1 value; got {index.layout.numel}"
            )
        return view.reshape(index_select(at_least_1d(input), 0, index), ())
    return select_by(input, at_least_1d(index), dim, "index_select")


def select_by(x: Tensor, index: Tensor, dim: int, name: str) -> Tensor:
    """``x`` with dimension ``dim`` replaced by the dimensions of ``index``."""
    return SELECT.record((x, index), ops.take(name, x, index, dim), dim)


def _select_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (at,) = node.unpack()
    whole = zeros(node.inputs[0].shape, grad)
    return slices(INDEX_ADD, whole, at, grad, node.meta, FRESH), None


def slices(rule: Rule, x: Tensor, index: Tensor, source: Tensor, dim: int, target: str) -> Tensor:
    """Write or add ``source`` to slices of ``x``; ``target``: see :func:`write`."""

    def run(inplace: bool, checked: bool) -> Array:
        return ops.put(rule.name, x, index, source, dim, combine, inplace, fills, checked)

    combine, fills = "sum" if rule.vjp is index_add_vjp else "set", rule is INDEX_FILL
    return write(rule, run, (x, index, source), dim, target, False, fills)


def index_add_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient of what was added is that of where it went."""
    (at,) = node.unpack()
    wanted = node.edges[2] is not None
    return grad, None, select_by(grad, at, node.meta, "index_select") if wanted else None


def _index_copy_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (at,) = node.unpack()
    wanted = node.edges
    return (
        None if wanted[0] is None else index_fill(grad, node.meta, at, 0),
        None,
        None if wanted[2] is None else index_get(grad, [*[None] * node.meta, at]),
    )


def _index_fill_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (at,) = node.unpack()
    of_value = None
    if node.edges[2] is not None:  # a place that is named twice counts once
        filled = index_fill(zeros(node.inputs[0].shape, grad), node.meta, at, 1)
        of_value = apply(OPS["where"], filled.ne(0), grad, constant(0, grad))
    return index_fill(grad, node.meta, at, 0), None, of_value


SELECT = Rule("index_select", _select_vjp, (1,))
INDEX_ADD = Rule("index_add", index_add_vjp, ((1, 2),))
INDEX_COPY = Rule("index_copy", _index_copy_vjp, (1,))
INDEX_FILL = Rule("index_fill", _index_fill_vjp, (1,))


def _slice_operands(
    name: str, x: Tensor, dim: int, index: Tensor, source: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Operands of at least one dimension, checked to fit."""
    index = index_of(name, index)
    require_same_dtype(name, x, source)
    if index.layout.ndim > 1:
        raise IndexError(f"{name}: Index should have dimension 1 or 0; got {index.ndim}")
    x, index, source = at_least_1d(x), at_least_1d(index), at_least_1d(source)
    have, want = source.shape, (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])
    if tuple(have) != want:
        raise (IndexError if name == "index_copy" and len(have) == len(want) else RuntimeError)(
            f"{name}: source must have the shape of self with {index.numel()} slices along dim "
            f"{dim}, {list(want)}; got {list(have)}"
        )
    return x, index, source


def _write_slices(
    rule: Rule, x: Tensor, dim: int, index: Tensor, source: Tensor, target: str
) -> Tensor:
    name = rule.name
    if target == IN_PLACE:
        writable(name + "_", x)
    dim = dim_of(name, dim, x)
    ready = _slice_operands(name, x, dim, index, source)
    out = slices(rule, *ready, dim, target)
    if target == IN_PLACE:
        return x
    return view.reshape(out, ()) if x.ndim == 0 else out


def require_put_dtype(input: Tensor, values: Tensor) -> None:
    """Raise RuntimeError unless the dtypes are the same."""
    if values.dtype is not input.dtype:
        raise RuntimeError(
            f"index_put: Index put requires the source and destination dtypes match, got "
            f"{input.dtype.name} for the destination and {values.dtype.name} for the source"
        )


def _scaled(source: Tensor, alpha: Scalar) -> Tensor:
    """``source`` times ``alpha``, which becomes a number of its dtype first."""
    if alpha == 1:
        return source
    return source * number.stored(number.required(alpha, "index_add"), source.dtype, "index_add")


def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1
) -> Tensor:
    """A copy of ``input`` with ``alpha`` times slice i of ``source`` added to slice ``index[i]``.

    Gradient: of ``input`` and ``source``.
    """
    source = source if alpha == 1 else _scaled(source, alpha)
    return _write_slices(INDEX_ADD, input, dim, index, source, COPY)


def index_add_(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1
) -> Tensor:
    """:func:`index_add` in place."""
    refuse_overlap("index_add_", input, (source,), False)
    source = source if alpha == 1 else _scaled(source, alpha)
    return _write_slices(INDEX_ADD, input, dim, index, source, IN_PLACE)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of ``input`` with slice i of ``source`` in place of slice ``index[i]``.

    Gradient: of ``input`` and ``source``.
    """
    return _write_slices(INDEX_COPY, input, dim, index, source, COPY)


def index_copy_(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """:func:`index_copy` in place."""
    return _write_slices(INDEX_COPY, input, dim, index, source, IN_PLACE)


def _fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Scalar, target: str) -> Tensor:
    if target == IN_PLACE:
        writable("index_fill_", input)
    dim = dim_of("index_fill", dim, input)
    index = at_least_1d(index_of("index_fill", index))
    of_complex = (
        value.layout.dtype.is_complex
        if isinstance(value, TensorBase)
        else isinstance(value, complex)
    )
    if of_complex and not input.layout.dtype.is_complex:
        raise RuntimeError(
            "index_fill_(): Converting complex Scalar to non-complex type is not supported"
        )
    if not isinstance(value, TensorBase):
        value = constant(value, input)
    else:
        value = single_value("index_fill", value, input)
    out = slices(INDEX_FILL, at_least_1d(input), index, value, dim, target)
    if target == IN_PLACE:
        return input
    return view.reshape(out, ()) if input.ndim == 0 else out


def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Scalar) -> Tensor:
    """A copy of ``input`` with ``value`` in the slices ``index`` of dimension ``dim``.

    Gradient: of ``input`` and a tensor ``value``.
    """
    return _fill(input, dim, index, value, COPY)


def index_fill_(input: Tensor, dim: int, index: Tensor, value: Tensor | Scalar) -> Tensor:
    """:func:`index_fill` in place."""
    return _fill(input, dim, index, value, IN_PLACE)


# ------------------------------------------------------------------------------ take, put


def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of ``input``, read as one row-major row, in the shape of ``index``.

    Gradient: of ``input``; equal indices add up.

    Raises:
        RuntimeError: ``index`` is not of int64.
    """
    if index.layout.dtype is not dt.int64:
        raise RuntimeError(
            f"take: Expected a long tensor for index, but got {index.layout.dtype.name}"
        )
    return called("take", index_get(view.reshape(input, (-1,)), [index_of("take", index)]))


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of ``input`` with the elements of ``source`` written (or added) at ``index``, which
    counts the elements of ``input`` in row-major order.

    Gradient: of ``input`` and ``source``.
    """
    require_same_dtype("put", input, source)
    flat = view.reshape(input, (-1,))
    if source.layout.numel != index.layout.numel:
        raise IndexError(
            f"put: Expected source and index to have the same number of elements; got "
            f"{source.layout.describe()} and {index.layout.describe()}"
        )
    values = view.reshape(source, index.shape)
    out = put_at(flat, [index_of("put", index)], values, accumulate, COPY)
    return called("put", view.reshape(out, input.shape))


# ------------------------------------------------------------- gradients of regions of memory


def strided_indices(shape: Shape, strides: Shape, offset: int, base: Layout) -> Tensor:
    """int64 positions in memory, counted from the first element of ``base``, of a region."""
    return tensor_of(ops.strided_offsets(base.device, tuple(shape), tuple(strides), offset))


def index_add_flat(grad: Tensor, positions: Tensor, base: Layout) -> Tensor:
    """Zeros in the layout ``base`` with ``grad`` added at ``positions`` of its memory.

    Gradient: of ``grad``.
    """
    reach = sum((n - 1) * s for n, s in zip(base.shape, base.strides, strict=True)) + 1
    reach = reach if numel(base.shape) else 0
    memory = index_add(
        zeros((reach,), grad), 0, view.reshape(positions, (-1,)), view.reshape(grad, (-1,))
    )
    if base.contiguous:
        return view.reshape(memory, base.shape)
    return view.as_strided(memory, base.shape, base.strides, 0)

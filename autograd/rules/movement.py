"""Joining, flipping, rolling, padding and repeating: the elements move, nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of, zeros_of
from tilegrad.autograd.graph import Node, called, tied
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import view as views
from tilegrad.autograd.rules.assign import clone
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.index import index_select
from tilegrad.autograd.rules.reduce import sum
from tilegrad.autograd.size import sizes as as_sizes
from tilegrad.engine import calls, number
from tilegrad.engine.array import Array, Layout, window
from tilegrad.engine.ops import movement as ops
from tilegrad.engine.shape import Shape, as_index, as_indices, normalize_dim

__all__ = [
    "cat", "concat", "concatenate", "flip", "fliplr", "flipud", "repeat_interleave", "roll",
    "rot90", "stack", "tile",
]  # fmt: skip

Result = tuple["Tensor | None", ...]


# ---------------------------------------------------------------------------------------- joining


def _cat_vjp(node: Node, grad: Tensor) -> Result:
    layout = grad.layout
    axis = normalize_dim("cat", node.meta, layout.ndim)
    gradients: list[Tensor | None] = []
    at = 0
    for edge, kind in zip(node.edges, node.inputs, strict=True):
        if kind.shape == (0,):  # ignored by the forward
            gradients.append(zeros_of(kind))
            continue
        size = kind.shape[axis]
        if edge is None:
            gradients.append(None)
        elif state.grad:
            gradients.append(views.narrow(grad, axis, at, size))
        else:
            step = layout.strides[axis]
            gradients.append(tensor_of(window(grad, kind.shape, layout.strides, at * step)))
        at += size
    return tuple(gradients)


def _stack_vjp(node: Node, grad: Tensor) -> Result:
    dim = node.meta
    return tuple(
        None if edge is None else views.select(grad, dim, index)
        for index, edge in enumerate(node.edges)
    )


class _Joining(NamedTuple):
    """An op that takes any number of tensors, and a dimension."""

    rule: Rule
    general: Callable[..., Array]  # the same for operands that its plans do not know yet


_CAT = _Joining(Rule(ops.cat_op, _cat_vjp), ops.cat)
_STACK = _Joining(Rule(ops.stack_op, _stack_vjp), ops.stack)


def _tensors(op: str, tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    if isinstance(tensors, TensorBase):
        raise TypeError(f"{op}: tensors must be a tuple of Tensors; got Tensor")
    result = tuple(tensors)
    for item in result:
        if not isinstance(item, TensorBase):
            raise TypeError(f"{op}: tensors must all be Tensors; got {type(item).__name__}")
    return result


def _joined(how: _Joining, given: Sequence[Tensor], dim: int) -> Tensor:
    """Run the op and record it; the node's meta is ``dim``."""
    rule, out = how.rule, None
    if given.__class__ is list or given.__class__ is tuple:
        out = calls.run(rule.op, *given, dim)
    if out is None:
        given = _tensors(rule.name, given)
        out = how.general(*given, dim=dim)
    for t in given:
        if t._tracked or t._base is not None:
            return rule.record(tuple(given), out, dim)
    return out  # type: ignore[return-value]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along ``dim``, in their common dtype.

    Raises:
        RuntimeError: sizes differ in another dimension, or nothing is given.
    """
    return _joined(_CAT, tensors, dim)


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new dimension ``dim``.

    Raises:
        RuntimeError: shapes differ, or nothing is given.
    """
    return _joined(_STACK, tensors, dim)


# --------------------------------------------------------------------------------- flip and roll


def _flip_vjp(node: Node, grad: Tensor) -> Result:
    return (_FLIP.at((grad,), node.meta),)


def _roll_vjp(node: Node, grad: Tensor) -> Result:
    shifts, dims = node.meta
    return (_ROLL.at((grad,), (tuple([-s for s in shifts]), dims)),)


_FLIP = Rule(ops.flip, _flip_vjp)
_ROLL = Rule(ops.roll, _roll_vjp)


def flip(input: Tensor, dims: int | Sequence[int]) -> Tensor:
    """A copy with the order of elements along ``dims`` reversed."""
    return _FLIP.at((input,), ((dims,) if isinstance(dims, int) else tuple(dims),))


def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d; got {input.ndim}-d")
    return flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order."""
    if input.ndim < 1:
        raise RuntimeError("flipud: Input must be >= 1-d; got 0-d")
    return flip(input, (0,))


def roll(
    input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None
) -> Tensor:
    """Elements moved on by ``shifts`` along ``dims``, those that fall off coming back in front.

    Without ``dims`` the tensor is rolled as if it were flat.

    Raises:
        RuntimeError: there is no shift, or not one per dimension.
    """
    if isinstance(shifts, (tuple, list)):
        by = as_indices("roll", shifts, "shifts")
    else:
        by = (as_index("roll", shifts, "shifts"),)
    if not by:
        raise RuntimeError("roll: `shifts` required; got none")
    along = () if dims is None else tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if not along and len(by) == 1:
        flat = views.reshape(input, (-1,))
        return called("roll", views.view(_ROLL.at((flat,), (by, (0,))), input.shape))
    if len(by) != len(along):
        raise RuntimeError(
            f"roll: shifts and dimensions must align; got shifts {len(by)}, dims {len(along)}"
        )
    if not input.ndim:
        raise IndexError(f"roll: Dimension specified as {along[0]} but tensor has no dimensions")
    return _ROLL.at((input,), (by, along))


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy turned ``k`` times by 90 degrees, from the first of ``dims`` towards the second."""
    dims = as_indices("rot90", dims, "dims")
    if input.ndim < 2:
        raise RuntimeError(f"rot90: expected at least two dimensions; got {input.ndim}")
    axes = [normalize_dim("rot90", d, input.ndim, place) for place, d in enumerate(dims)]
    if len(axes) != 2 or axes[0] == axes[1]:
        raise RuntimeError(f"rot90: expected two different rotation dims; got {tuple(dims)}")
    turns = as_index("rot90", k, "k") % 4
    if turns == 0:
        return called("rot90", clone(input))
    if turns == 2:
        return called("rot90", flip(input, dims))
    turned = flip(input, (dims[1] if turns == 1 else dims[0],))
    return called("rot90", views.transpose(turned, *dims))


# ---------------------------------------------------------------------------------------- padding


class _Padding(NamedTuple):
    """Elements put before and after each dimension, negative: cut off; see :func:`pad`."""

    pairs: ops.Pairs
    mode: str = "constant"
    value: float = 0


def _pad_vjp(node: Node, grad: Tensor) -> Result:
    """One kernel after the other, unless it is to be differentiated again."""
    how: _Padding = node.meta
    if how.mode == "constant":
        back = tuple([(-before, -after) for before, after in how.pairs])
        return (_padded(grad, _Padding(back)),)
    if not state.grad:
        return (tensor_of(ops.pad_backward(grad, how.pairs, how.mode)),)
    for axis, (before, after) in enumerate(how.pairs):
        if before or after:
            size = node.inputs[0].shape[axis]
            grad = _fold(grad, axis, size, before, after, how.mode)
    return (grad if how.mode == "circular" else tied(node, grad),)


def _fold(grad: Tensor, axis: int, size: int, before: int, after: int, mode: str) -> Tensor:
    """Add the gradients of the borders to the elements they were copied from."""
    total = views.narrow(grad, axis, before, size)
    borders = ((0, before, True), (before + size, after, False))
    for begin, length, leading in borders:
        if not length:
            continue
        part = views.narrow(grad, axis, begin, length)
        if mode == "replicate":
            part = part.sum(axis, keepdim=True)
            place = 0 if leading else size - 1
        elif mode == "reflect":
            part = flip(part, (axis,))
            place = 1 if leading else size - 1 - length
        else:
            place = size - length if leading else 0
        total = total + _along(part, axis, place, size)
    return total


def _along(part: Tensor, axis: int, place: int, size: int) -> Tensor:
    """``part`` within zeros of ``size`` along ``axis``, from ``place`` on."""
    rest = size - place - part.shape[axis]
    pairs = tuple([(place, rest) if a == axis else (0, 0) for a in range(part.ndim)])
    return _padded(part, _Padding(pairs))


_PAD = Rule("pad", _pad_vjp)


def _padded(x: Tensor, how: _Padding) -> Tensor:
    return _PAD.record((x,), ops.pad(x, *how), how)


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """``input`` with elements put before and after it in its last dimensions.

    Args:
        pad: (before, after) of the last dimension, then of the one before it, …; negative numbers
            cut elements off: in ``reflect`` and ``replicate`` mode of the padded tensor, so that
            borders see the whole input, in ``circular`` mode before.
        mode: ``constant``, ``reflect`` (mirrored, the edge not repeated), ``replicate`` (the edge
            repeated) or ``circular``.
        value: of constant padding, 0 unless given.

    Raises:
        RuntimeError: ``pad`` does not fit the dimensions, or a border is wider than its source.
        NotImplementedError: unknown mode, or one other than ``constant`` over other than the last
            one to three dimensions of a tensor with one or two more.
    """
    width = as_indices("pad", pad, "pad")
    pairs, cuts = _pairs(input.layout, width, mode)
    if mode != "constant" and value:
        raise ValueError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    if cuts and mode == "circular":
        input = _padded(input, _Padding(cuts))
    fill = 0 if value is None else number.required(value, "pad")
    made = _padded(input, _Padding(pairs, mode, fill))
    if cuts and mode != "circular":
        made = _padded(made, _Padding(cuts))
    return made


@lru_cache(maxsize=4096)
def _pairs(x: Layout, pad: tuple[int, ...], mode: str) -> tuple[ops.Pairs, ops.Pairs]:
    """Elements before and after per dimension, and what is cut off apart, as negative numbers; of
    constant mode all at once.
    """
    if len(pad) % 2 or len(pad) // 2 > x.ndim:
        raise RuntimeError(
            f"pad: Padding length must be divisible by 2 and at most twice the number of "
            f"dimensions of the input ({x.ndim}); got {pad}"
        )
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: Unrecognised padding mode {mode}")
    pairs = [(0, 0)] * x.ndim
    for place in range(len(pad) // 2):
        pairs[-1 - place] = (int(pad[2 * place]), int(pad[2 * place + 1]))
    for n, (before, after) in zip(x.shape, pairs, strict=True):
        if n + min(before, 0) + min(after, 0) < 0 or n + before + after < 0:
            raise RuntimeError(
                f"pad: no more can be cut off than there is; got ({before}, {after}) for size {n}"
            )
    if mode == "constant":
        return tuple(pairs), ()
    _check_border(x, pairs, mode, len(pad) // 2)
    cuts = tuple([(min(before, 0), min(after, 0)) for before, after in pairs])
    given = tuple([(max(before, 0), max(after, 0)) for before, after in pairs])
    return given, cuts if any(a or b for a, b in cuts) else ()


def _check_border(x: Layout, pairs: list[tuple[int, int]], mode: str, count: int) -> None:
    """Raise an error, in PyTorch's words, for a border that no padding of this mode can have."""
    if not 1 <= count <= 3 or x.ndim not in (count + 1, count + 2):
        raise NotImplementedError(
            f"pad: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now; "
            f"got {2 * count} numbers for {x.describe()}"
        )
    padded = list(zip(x.shape[-count:], pairs[-count:], strict=True))
    made = [n + before + after for n, (before, after) in padded]
    if mode != "circular" and not any(made):
        raise RuntimeError(
            f"pad: input of shape {x.shape} is too small. Calculated output size: {made}"
        )
    for n, (before, after) in padded:
        if mode == "circular" and max(before, after) > n:
            raise RuntimeError(
                f"pad: Padding value causes wrapping around more than once; got "
                f"({before}, {after}) for size {n}"
            )


# -------------------------------------------------------------------------------------- repeating


def _expanded(x: Tensor, apart: Shape, wide: Shape, shape: Shape) -> Tensor:
    """A copy of ``x``, seen in the shape ``apart``, expanded to ``wide``, then merged."""
    result = views.reshape(views.expand(views.view(x, apart), wide), shape)
    return clone(result) if result.storage is x.storage else result


def _repeat_vjp(node: Node, grad: Tensor) -> Result:
    """The sum over the repetitions."""
    shape = node.inputs[0].shape
    _, apart = ops.repeated(shape, *node.meta)
    parts = views.reshape(grad, apart)
    return (views.view(sum(parts, tuple(range(0, len(apart), 2))), shape),)


_REPEAT = Rule(ops.repeat, _repeat_vjp)


def repeat(input: Tensor, *repeats: object) -> Tensor:
    """The whole tensor ``repeats[d]`` times along each dimension; new dimensions go in front.

    Raises:
        RuntimeError: fewer sizes than dimensions.
    """
    times = as_sizes(repeats)
    return _REPEAT.at((input,), (times,))


def tile(input: Tensor, *dims: object) -> Tensor:
    """As :func:`repeat`, with missing leading repeats taken as 1."""
    times = as_sizes(dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element ``repeats`` times in a row along ``dim``, or of the flat tensor without it.

    Args:
        repeats: one number, or an integer tensor with one per element of ``dim``. Without it a vector ``input`` says
            how often each of its places 0, 1, … appears.
    """
    if repeats is None:
        if dim is not None:
            raise TypeError("repeat_interleave(): missing required argument 'repeats'")
        return to_dtype(_places(input, output_size), input.dtype)
    if dim is None:
        input, dim = views.reshape(input, (-1,)), 0
    axis = normalize_dim("repeat_interleave", dim, input.ndim)
    if isinstance(repeats, TensorBase) and repeats.layout.numel == 1:
        if repeats.layout.dtype.name not in ("int32", "int64"):
            raise NotImplementedError(
                f"\"repeat_interleave\" not implemented for '{repeats.layout.dtype.name}' as repeats"
            )
        repeats = int(repeats.item())
    if isinstance(repeats, TensorBase):
        return _select_repeated(input, repeats, axis, output_size)
    count = as_index("repeat_interleave", repeats, "repeats")
    if count < 0:
        raise RuntimeError(f"repeat_interleave: repeats has to be non-negative; got {count}")
    shape = tuple(input.shape) or (1,)
    before, after = shape[: axis + 1], shape[axis + 1 :]
    merged = (*shape[:axis], shape[axis] * count, *after)
    return _expanded(input, (*before, 1, *after), (*before, count, *after), merged)


def _select_repeated(input: Tensor, repeats: Tensor, axis: int, total: int | None) -> Tensor:
    if repeats.ndim == 1 and repeats.shape[0] != input.shape[axis]:
        raise RuntimeError(
            f"repeat_interleave: repeats must have the same size as input along dim; "
            f"got {repeats.shape[0]} for {input.shape[axis]}"
        )
    return index_select(input, axis, _places(repeats, total))


def _places(repeats: Tensor, total: int | None) -> Tensor:
    """The number of each element of a vector, as often as that says: int64."""
    if repeats.dtype.is_floating_point:
        raise NotImplementedError(
            f"\"repeat_interleave\" not implemented for '{repeats.dtype.name}' as repeats"
        )
    if repeats.ndim != 1:
        raise RuntimeError(
            f"repeat_interleave: repeats must be an int or a 1-D integer tensor; "
            f"got {repeats.layout.describe()}"
        )
    return tensor_of(ops.repeated_indices(repeats, total))

"""The bare tensor: an array with its place in the graph, and what may be written over it.

The public :class:`Tensor`, with all its methods, is in ``autograd/tensor.py``; how ops become part of the
graph, in ``autograd/rule.py``.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from tilegrad.autograd import graph
from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.custom_call import CustomCall
from tilegrad.autograd.graph import (
    Node,
    detached_view as detached_view,
    ones_of as ones_of,
    tensor_of as tensor_of,
    zeros_of as zeros_of,
)
from tilegrad.autograd.mode import state
from tilegrad.engine import calls, dispatch
from tilegrad.engine.array import Array
from tilegrad.engine.memory import overlap
from tilegrad.engine.shape import permutation_of


class TensorSlots(Array):
    """An array with its place in the graph.

    Slots: ``_tracked`` (requires_grad); ``_node`` and ``_index``, the output of the graph this is,
    None for a leaf; ``_grad``; ``_base``, the tensor this is a view of, with the
    ``_epoch`` of the base's history it belongs to; hooks.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_base", "_epoch", "_hooks", "_index", "_node", "_post_hooks",
        "_grad", "_tracked",
    )  # fmt: skip

    _base: Tensor | None
    _epoch: int
    _hooks: Any  # of a leaf: a list; of others: the handle of retain_grad's hook
    _index: int  # of a view without a node that may not get a history: see :data:`NO_GRAD`
    _node: Node | None
    _post_hooks: Any  # None, or a leaf's LeafHooks
    _tracked: bool
    _grad: Tensor | None


if TYPE_CHECKING:  # what isinstance tells is a tensor has the public class's methods
    TensorBase = Tensor
else:
    TensorBase = TensorSlots

# what a tensor is at first: a leaf that requires no gradient
LEAF = {
    "_tracked": False, "_node": None, "_index": 0, "_grad": None, "_base": None, "_epoch": 0,
    "_hooks": None, "_post_hooks": None,
}  # fmt: skip


def set_tensor_class(kind: type[object]) -> None:
    """Let the engine's ops make instances of ``kind``: the public class names itself here."""
    calls.bind_to(lambda: dispatch.make_calls(kind, LEAF))
    dispatch.recorded[0] = lambda arrays: (
        state.grad and any(getattr(a, "_tracked", False) for a in arrays)
    )


graph.bind_to(TensorSlots)

# The index of a view without a node that may not get a history, by how it was made: where nothing is
# recorded, as one of several, or as an input's memory that a custom function returned.
NO_GRAD, INFERENCE, SEVERAL, CUSTOM = -1, -2, -3, -4

_AMBIGUOUS = (
    "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code "
    "by moving both the view and the inplace either both inside the {mode} block (if you don't want the "
    "inplace to be tracked) or both outside (if you want the inplace to be tracked)."
)
_WHY = {
    NO_GRAD: _AMBIGUOUS.format(mode="no_grad"),
    INFERENCE: _AMBIGUOUS.format(mode="inference_mode"),
    SEVERAL: "This view is the output of a function that returns multiple views. Such functions do not "
        "allow the output views to be modified inplace. You should replace the inplace operation by an "
        "out-of-place one.",
    CUSTOM: "This view was created inside a custom Function (or because an input was returned as-is) and "
        "the autograd logic to handle view+inplace would override the custom backward associated with "
        "the custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix "
        "this by cloning the output of the custom Function.",
}  # fmt: skip

_VIEW_ALONE = 2  # references to a base that its view alone has: the view's, and the one that counts

# nodes of one view each: such a one of a view that may not get a history may not either
_VIEWS = frozenset((
    "as_strided", "diagonal", "expand", "getitem", "imag", "permute", "real", "select", "slice", "squeeze",
    "squeeze_dim", "squeeze_dims", "t", "transpose", "unfold", "unsqueeze", "view", "view_as_complex",
    "view_as_real",
))  # fmt: skip


def unrecorded() -> int:
    """The index of a view that is made now, where nothing is recorded."""
    return INFERENCE if state.inference else NO_GRAD


def refuse_view(name: str, view: Tensor, what: str) -> None:
    """Raise if ``view`` is one that PyTorch lets nobody give a new history: one that was made where
    nothing is recorded, one of several that a function returned, an input's memory that a custom
    function returned, whose backward a new history would pass by; or a view of such a one.

    A view whose base nobody else has, as a function leaves it that ends in ``reshape``, is a tensor by itself
    from then on.
    """
    node, index = view._node, view._index
    if node is None:
        if index == NO_GRAD and sys.getrefcount(view._base) == _VIEW_ALONE:
            view._base, view._epoch, view._index = None, 0, 0
            return
        if index < 0:
            mode, ends = "no_grad", "with grad mode enabled"
            if index == INFERENCE:
                mode, ends = "inference", "in normal mode"
            raise RuntimeError(
                f"{name}: A view was created in {mode} mode and {what} modified inplace {ends}. "
                f"{_WHY[index]}"
            )
        return
    first: Any = node
    while isinstance(first, Node) and first.op in _VIEWS:
        first = first.edges[0]
        first, index = first if first.__class__ is tuple else (first, 0)
    if not isinstance(first, Node):
        return
    if first.op in ("split", "split_with_sizes", "unbind"):
        why = SEVERAL
    elif first.meta.__class__ is CustomCall and index in first.meta.views:
        why = CUSTOM
    else:
        return
    stem, _, form = node.name().rpartition("Backward")
    raise RuntimeError(
        f"Output {view._index} of {stem}{form.strip('0')} is a view and {what} modified inplace. "
        f"{_WHY[why]}"
    )


def warn_expanded(name: str, x: Tensor) -> None:
    """PyTorch's warning, where several elements of ``x`` lie in one place."""
    kind = x.layout
    if any(s == 0 and n > 1 for n, s in zip(kind.shape, kind.strides, strict=True)):
        warnings.warn(
            f"Use of {name} on expanded tensors is deprecated. Please clone() the tensor before "
            f"performing this operation. This also applies to advanced indexing e.g. tensor[indices] "
            f"= tensor",
            UserWarning,
            stacklevel=4,
        )


def refuse_overlap(
    name: str, target: Tensor, sources: tuple[object, ...], same: bool = True
) -> None:
    """Refuse to write over ``target`` what shares memory with it in part, or, unless ``same``, at all:
    the one rule of every in-place op. Values that are no tensors are skipped.

    As in PyTorch, memory is compared where both are gapless; else the engine copies what a write
    would change before it is read.

    Raises:
        RuntimeError: a source's memory overlaps.
    """
    storage = target.storage
    lent = storage.pool is None
    for source in sources:
        if isinstance(source, TensorBase):
            other = source.storage
            if other is storage or ((lent or other.pool is None) and overlap(other, storage)):
                if source is not target or not same:
                    _refuse_shared(name, target, source, same)


def _refuse_shared(name: str, target: Tensor, source: TensorBase, same: bool) -> None:
    one, other = target.layout, source.layout
    if source is not target:
        if not (one.numel and other.numel):
            return
        if any(permutation_of(x.shape, x.strides) is None for x in (one, other)):
            return
    first, begin = target.address, source.address
    if first == begin and one.nbytes == other.nbytes and one.strides == other.strides and same:
        return
    if source is target or (first < begin + other.nbytes and begin < first + one.nbytes):
        raise RuntimeError(
            f"{name}: unsupported operation: some elements of the input tensor and the written-to "
            f"tensor refer to a single memory location. Please clone() the tensor before performing "
            f"the operation."
        )

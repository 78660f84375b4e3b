"""The bare tensor and the one place where ops become part of a graph.

:class:`TensorBase` holds an array and its place in the graph. :func:`apply` runs an op and records
it; :func:`apply_inplace` runs it over its first operand. The public :class:`Tensor`, with all its
methods, is in ``autograd/tensor.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tilegrad.autograd import graph
from tilegrad.autograd.graph import (
    CustomCall,
    Node,
    SavedOutput,
    Saves as Saves,
    Vjp,
    alias as alias,
    new_node,
    ones_of as ones_of,
    own as own,
    zeros_of as zeros_of,
)  # fmt: skip
from tilegrad.autograd.mode import state
from tilegrad.engine import calls, dispatch
from tilegrad.engine.array import Array
from tilegrad.engine.ops import elementwise as ops
from tilegrad.engine.shape import permutation_of

if TYPE_CHECKING:
    from tilegrad.autograd.hooks import LeafHooks
    from tilegrad.autograd.tensor import Tensor


class TensorBase(Array):
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
    _index: int  # of a view that was made where nothing is recorded: UNRECORDED
    _node: Node | None
    _post_hooks: LeafHooks | None
    _tracked: bool
    _grad: Tensor | None


# what a tensor is at first: a leaf that requires no gradient
LEAF = {
    "_tracked": False, "_node": None, "_index": 0, "_grad": None, "_base": None, "_epoch": 0,
    "_hooks": None, "_post_hooks": None,
}  # fmt: skip


def set_tensor_class(kind: type[Any]) -> None:
    """Let the engine's ops make instances of ``kind``: the public class names itself here."""
    calls.bind_to(lambda: dispatch.make_calls(kind, LEAF))
    dispatch.recorded[0] = lambda arrays: (
        state.grad and any(getattr(a, "_tracked", False) for a in arrays)
    )


UNRECORDED = -1


class Rule:
    """How one op is differentiated.

    Args:
        op: the engine's op.
        vjp: ``vjp(node, *gradients)`` -> one gradient or None per input, in differentiable tensor
            functions; ``node.unpack()`` gives what ``saves`` names, ``node.meta`` the metadata.
        saves: see :data:`Saves`.
    """

    __slots__ = ("op", "saves", "vjp")

    def __init__(self, op: Callable[..., Any], vjp: Vjp | None, saves: Saves = ()):
        self.op = op
        self.vjp = vjp
        self.saves = saves

    @property
    def name(self) -> str:
        """The op's name."""
        return getattr(self.op, "name", getattr(self.op, "__name__", "?"))

    def __call__(self, *tensors: Tensor, params: tuple[Any, ...] = (), **metadata: Any) -> Any:
        """Run the op on ``tensors`` and record it."""
        out: Any = None
        if not metadata and not params and self.vjp is not None:
            out = calls.run(self.op, *tensors)
            if out is not None and out.__class__ is not tuple:
                for t in tensors:
                    if t._tracked or t._base is not None:
                        if state.grad:
                            record_one(self.name, self.vjp, tensors, out, self.saves, None)
                        break
                return out
        if out is None:
            out = self.op(*tensors, params=params, **metadata)
        results = out if out.__class__ is tuple else (out,)
        if state.grad and self.vjp is not None and needs_graph(tensors):
            meta = metadata
            if params:
                meta = {**metadata, "params": params}
            record(self.name, self.vjp, tensors, results, self.saves, meta)
        return out

    def at(self, tensors: tuple[Tensor, ...], values: tuple[Any, ...]) -> Tensor:
        """Run the op, whose metadata are ``values`` in the order of its names, and record its one
        result; the node's meta is ``values``.
        """
        op: Any = self.op
        out: Tensor | None = calls.run(op, *tensors, *values)
        if out is None:
            out = own(op(*tensors, **dict(zip(op.names, values, strict=True))))
        if state.grad and self.vjp is not None:
            for t in tensors:
                if t._tracked or t._base is not None:
                    record_one(self.name, self.vjp, tensors, out, self.saves, values)
                    break
        return out


def needs_graph(tensors: tuple[Tensor, ...]) -> bool:
    """Whether any input asks for a gradient (bringing stale views up to date first)."""
    needed = False
    for t in tensors:
        if t._base is not None:
            refresh(t)
        if t._tracked:
            needed = True
    return needed


def record(
    name: str,
    vjp: Vjp,
    inputs: tuple[Tensor, ...],
    results: tuple[Tensor, ...],
    saves: Saves,
    meta: Any,
) -> Node:
    """Make ``results`` outputs of a new node over ``inputs``. Every tensor that the VJP reads is an
    input or an output that ``saves`` names (constants are inputs without an edge); ``meta`` is
    plain values.
    """
    node = new_node(name, vjp, inputs, tuple([r.layout for r in results]), meta)
    if saves:
        keep(node, saves, inputs, results)
    for index, result in enumerate(results):
        if result.layout.dtype.is_floating_point:
            result._tracked = True
            result._node = node
            result._index = index
    return node


def keep(
    node: Node, saves: Saves, inputs: tuple[Tensor, ...], results: tuple[Tensor, ...] = ()
) -> None:
    """Let ``node`` save what the gradients that are asked for read, None in place of the rest."""
    found: list[Any] = []
    for s in needed_saves(saves, sum([t._tracked << k for k, t in enumerate(inputs)])):
        if s is None or s >= 0:
            found.append(None if s is None else inputs[s])
        else:
            found.append(SavedOutput(results[-1 - s], -1 - s))
    node.save(*found)


@lru_cache(maxsize=None)
def needed_saves(saves: Saves, tracked: int) -> tuple[int | None, ...]:
    """The positions of ``saves``, where the inputs in the bits ``tracked`` need a gradient; None for
    what no such gradient reads.
    """
    found: list[int | None] = []
    for s in saves:
        if isinstance(s, tuple):
            position, *readers = s
            found.append(position if any(tracked >> r & 1 for r in readers) else None)
        else:
            found.append(s)
    return tuple(found)


_templates: dict[Any, dict[int, Any]] = {}  # for record_by_template, by what makes a node


def record_one(
    name: str,
    vjp: Vjp,
    inputs: tuple[Tensor, ...],
    result: Tensor,
    saves: Saves,
    meta: Any,
) -> None:
    """:func:`record` for one result and a ``meta`` of plain values, which is kept for later calls:
    what belongs to one call alone must not be in it. Some inputs are tracked.
    """
    key = (name, vjp, meta, saves, len(inputs))
    templates = _templates.get(key)
    if templates is None:
        if len(_templates) > 4096:
            _templates.clear()
        templates = _templates[key] = {
            tracked: (name, vjp, needed_saves(saves, tracked), meta)
            for tracked in range(1, 1 << len(inputs))
        }
    if not graph.record_by_template(templates, result, *inputs) and needs_graph(inputs):
        record(name, vjp, inputs, (result,), saves, meta)


def recorded(
    name: str,
    vjp: Vjp,
    inputs: tuple[Tensor, ...],
    result: Tensor,
    saves: Saves,
    meta: Any,
) -> Tensor:
    """``result``, recorded by :func:`record_one` if a gradient is asked for."""
    if state.grad:
        for t in inputs:
            if t._tracked or t._base is not None:
                record_one(name, vjp, inputs, result, saves, meta)
                break
    return result


# -------------------------------------------------------------------------- views and in-place


def part_of(tensor: Tensor, array: Array) -> Tensor:
    """The tensor over ``array`` as a view of ``tensor``, not recorded yet."""
    if tensor._base is not None:
        refresh(tensor)
    result = own(array)
    base = tensor._base if tensor._base is not None else tensor
    result._base = base
    result._epoch = base._epoch
    return result


def refresh(view: Tensor) -> None:
    """If the base got a new history since, make ``view`` a view of the base as it is now."""
    base = view._base
    if base is None or view._epoch == base._epoch:
        return
    if view._node is not None:
        refuse_view(view, "its base or another view of its base has been")
    elif view._index == UNRECORDED and base._tracked:
        if state.grad:
            refuse_unrecorded("view", "its base or another view of its base has been")
        return
    view._epoch = base._epoch
    if base._tracked:
        from tilegrad.autograd.rules.view import as_strided_vjp

        layout = view.layout
        meta = (layout.shape, layout.strides, view.offset - base.offset)
        record("as_strided", as_strided_vjp, (base,), (view,), (), meta)
        if view._hooks is not None:
            _retain_again(view)


_VIEWS = frozenset((
    "as_strided", "diagonal", "expand", "getitem", "permute", "select", "slice", "squeeze",
    "transpose", "unfold", "unsqueeze", "view",
))  # fmt: skip


def refuse_view(view: Tensor, what: str) -> None:
    """Raise if ``view`` is one that PyTorch lets nobody give a new history: one of several that a
    function returned, a view of such a one, or an input's memory that a custom function returned,
    whose backward a new history would pass by.
    """
    node: Any = view._node
    while isinstance(node, Node) and node.op in _VIEWS:
        node = node.edges[0]
    origin = node[0] if node.__class__ is tuple else node
    if isinstance(origin, Node) and origin.op in ("split", "unbind"):
        assert view._node is not None
        raise RuntimeError(
            f"Output {view._index} of {view._node.name().removesuffix('Backward0')} is a view and {what} modified inplace. This "
            f"view is the output of a function that returns multiple views. Such functions do not "
            f"allow the output views to be modified inplace. You should replace the inplace "
            f"operation by an out-of-place one."
        )
    node = view._node
    if node is not None and node.meta.__class__ is CustomCall and view._index in node.meta.views:
        raise RuntimeError(
            f"Output {view._index} of {node.op} is a view and {what} modified inplace. This view "
            f"was created inside a custom Function (or because an input was returned as-is) and the "
            f"autograd logic to handle view+inplace would override the custom backward associated "
            f"with the custom Function, leading to incorrect gradients. This behavior is forbidden. "
            f"You can fix this by cloning the output of the custom Function."
        )


def refuse_unrecorded(name: str, what: str) -> None:
    """Raise: a view that was made where nothing is recorded would get a history."""
    raise RuntimeError(
        f"{name}: A view was created in no_grad mode and {what} modified inplace with grad mode "
        f"enabled. Given that this use case is ambiguous and error-prone, it is forbidden. You can "
        f"clarify your code by moving both the view and the inplace either both inside the no_grad "
        f"block (if you don't want the inplace to be tracked) or both outside (if you want the "
        f"inplace to be tracked)."
    )


def check_inplace(name: str, target: Tensor, expanded: bool = False) -> None:
    """Refuse to write over ``target`` where that would break the graph. ``expanded`` lets pass what
    has several elements in one place.

    Raises:
        RuntimeError: it is a leaf that requires a gradient, or a view of one, or a view made without
            a graph of what has one, or expanded memory.
    """
    if target._base is not None:
        refresh(target)
    if target.storage.version < 0 and not state.inference:
        raise RuntimeError(
            f"{name}: Inplace update to inference tensor outside InferenceMode is not allowed. You "
            f"can make a clone to get a normal tensor before doing inplace update."
        )
    if state.grad:
        owner = target if target._base is None else target._base
        if target._base is not None:
            refuse_view(target, "is being")
        if target._tracked and target._node is None:
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad is being used in an in-place operation."
            )
        if target._base is not None and owner._tracked and owner._node is None:
            raise RuntimeError(
                f"{name}: a view of a leaf Variable that requires grad is being used in an "
                f"in-place operation."
            )
        if owner._tracked and not target._tracked:
            refuse_unrecorded(name, "is being")
    layout = target.layout
    if (
        not expanded
        and layout.numel
        and any(s == 0 and n > 1 for n, s in zip(layout.shape, layout.strides, strict=True))
    ):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers "
            f"to a single memory location. Please clone() the tensor before performing the operation."
        )


def writable(name: str, target: Tensor) -> None:
    """:func:`check_inplace` of the graph alone, for ops that judge it before their other arguments."""
    if target._tracked or target._base is not None:
        check_inplace(name, target, True)


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


def refuse_overlap(name: str, target: Tensor, sources: tuple[Any, ...], same: bool = True) -> None:
    """Refuse to write over ``target`` what shares memory with it in part, or, unless ``same``, at all:
    the one rule of every in-place op. Values that are no tensors are skipped.

    As in PyTorch, memory is compared where both are gapless; else the engine copies what a write
    would change before it is read.

    Raises:
        RuntimeError: a source's memory overlaps.
    """
    storage = target.storage
    for source in sources:
        if isinstance(source, TensorBase) and source.storage is storage:
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


def rebase(target: Tensor, node: Node, index: int = 0) -> None:
    """``target`` was overwritten by output ``index`` of ``node``: give it, and the tensor whose
    memory it shows, the new history.
    """
    base = target._base
    if base is None:
        target._tracked = True
        target._node = node
        target._index = index
        target._epoch += 1
        if target._hooks is not None:
            _retain_again(target)
        return
    target._tracked = True
    target._node = node
    target._index = index
    from tilegrad.autograd.rules.view import copy_slices_vjp

    layout = target.layout
    meta = (layout.shape, layout.strides, target.offset - base.offset)
    whole = new_node("copy_slices", copy_slices_vjp, (base, target), (base.layout,), meta)
    base._tracked = True
    base._node = whole
    base._index = 0
    base._epoch += 1
    target._epoch = base._epoch
    for written in (target, base):
        if written._hooks is not None:
            _retain_again(written)


def _retain_again(tensor: Tensor) -> None:
    """``tensor`` has a new history: what ``retain_grad`` asked for is its gradient as it is now."""
    from tilegrad.autograd.hooks import retain

    if not isinstance(tensor._hooks, list):
        retain(tensor)


def apply_inplace(
    op: ops.Elementwise,
    vjp: Vjp | None,
    target: Tensor,
    others: tuple[Tensor, ...],
    saves: tuple[int, ...],
    params: tuple[Any, ...] = (),
    meta: Any = None,
) -> Tensor:
    """``target = op(target, *others)`` in place; the new value's history replaces the old."""
    check_inplace(op.name + "_", target)
    for other in others:
        if other.storage is target.storage:
            refuse_overlap(op.name + "_", target, others)
    inputs = (target, *others)
    recording = state.grad and vjp is not None and needs_graph(inputs)
    node = None
    if recording:
        assert vjp is not None
        node = new_node(op.name + "_", vjp, inputs, (target.layout,), meta)
        if 0 in saves:  # the old value goes: keep a copy of it
            from tilegrad.autograd.rules.elementwise import unary

            inputs = (unary(ops.OPS["copy"], target), *others)
        if saves:
            node.save(*[inputs[s] if s >= 0 else None for s in saves])
    if params or calls.run(op, target, *others, target) is None:
        op(target, *others, target, params=params)
    if node is not None:
        if any(s < 0 for s in saves):
            fixed = [SavedOutput(target, 0) if s < 0 else inputs[s] for s in saves]
            versions = node.versions
            node.save(*fixed)
            node.versions = tuple(
                new if s < 0 else old
                for s, old, new in zip(saves, versions, node.versions, strict=True)
            )
        rebase(target, node)
    return target

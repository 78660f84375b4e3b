"""Rules: how ops are differentiated, and the one place where they become part of a graph.

A :class:`Rule` runs its op and records it (:meth:`Rule.run`, :meth:`Rule.at`, :meth:`Rule.view`), or records
what a function made of several ops (:meth:`Rule.record`, :meth:`Rule.record_all`) or writes over its first
operand (:meth:`Rule.write`). Nodes are made here alone, but for those of custom functions
(``autograd/function.py``) and of :func:`tilegrad.autograd.graph.tied`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from tilegrad.autograd import graph, hooks
from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import NO_GRAD, SEVERAL, TensorBase, refuse_view, tensor_of, unrecorded
from tilegrad.autograd.graph import Node, SavedOutput, Saves, Vjp, connect, new_node
from tilegrad.autograd.mode import inferring, others, state, unrecording
from tilegrad.engine import calls
from tilegrad.engine.array import Array
from tilegrad.engine.dispatch import Op
from tilegrad.engine.ops import view as view_ops
from tilegrad.engine.ops.elementwise import copy

# name, VJP, what is saved (inputs by position, outputs as -1 - position, None for what nobody reads), meta
Template = tuple[str, Vjp, tuple[int | None, ...], object]

LIMIT = 1024  # of the metas of a rule whose templates are kept


class Rule:
    """How one op is differentiated.

    Args:
        op: the engine's op, or a function of its arguments; or the name of what several ops make.
        vjp: ``vjp(node, *gradients)`` -> one gradient or None per input, in differentiable tensor
            functions; ``node.unpack()`` gives what ``saves`` names, ``node.meta`` the metadata.
        saves: see :data:`Saves`.
        bare: of a view: whether its VJP reads no metadata, and nodes keep none.
        name: of the nodes, if not the op's.
        whole: whether ``vjp`` is that of complex operands too, and :attr:`planar` the rule itself.

    Every tensor that the VJP reads is an input, or an output that ``saves`` names (constants are inputs
    without an edge); a node's meta is plain values.
    """

    __slots__ = ("_planar", "bare", "name", "op", "saves", "templates", "vjp")

    def __init__(
        self,
        op: Op | Callable[..., object] | str,
        vjp: Vjp,
        saves: Saves = (),
        *,
        bare: bool = False,
        name: str = "",
        whole: bool = False,
    ):
        self.op: Any = op
        self.name = name or (op if isinstance(op, str) else getattr(op, "name", "") or op.__name__)  # type: ignore[union-attr]
        self.vjp = vjp
        self.saves = saves
        self.bare = bare
        self._planar: Rule | None = self if whole else None
        # by meta, by the bits of the inputs that need a gradient
        self.templates: dict[Hashable, dict[int, Template]] = {}

    def __repr__(self) -> str:
        return f"<rule {self.name}>"

    def template(self, tracked: int, meta: object) -> Template:
        """What makes a node where the inputs in the bits ``tracked`` need a gradient."""
        saves = self.saves
        return self.name, self.vjp, needed_saves(saves, tracked) if saves else (), meta

    @property
    def planar(self) -> Rule:
        """The rule of the same function, which is holomorphic, of complex numbers: the VJP of real ones, of the
        conjugate of what comes in, gives the conjugate of what goes out.
        """
        if self._planar is None:
            made = Rule(self.op, _of_complex(self.vjp), self.saves, bare=self.bare, name=self.name)
            self._planar = made._planar = made
        return self._planar

    # ------------------------------------------------------------------------ run and record

    def run(self, *tensors: Tensor, **metadata: object) -> Tensor:
        """Run the op and record its one result; the node's meta is the dictionary ``metadata``."""
        out: Tensor = self.op(*tensors, **metadata)
        self.record_all(tensors, (out,), metadata)
        return out

    def at(self, tensors: tuple[Tensor, ...], values: tuple[object, ...] = ()) -> Tensor:
        """Run the op, whose metadata are ``values`` in the order of its names, and record its one
        result; the node's meta is ``values``.
        """
        op = self.op
        out: Tensor | None = calls.run(op, *tensors, *values)
        if out is None:
            if self._planar is not self and any(t.layout.dtype.is_complex for t in tensors):
                return self.planar.at(tensors, values)
            out = tensor_of(op(*tensors, **dict(zip(op.names, values, strict=True))))
        for t in tensors:
            if t._base is not None:
                refresh(t)
            if t._tracked:
                if state.grad:
                    templates = self.templates.get(values)
                    if templates is None or not graph.record_by_template(templates, out, *tensors):
                        self._record_anew(tensors, out, values)
                break
        return out

    def view(self, x: Tensor, *values: object) -> Tensor:
        """The view of ``x`` by metadata in the order of the op's names, which are the node's meta."""
        made: Tensor | None = calls.show(self.op, x, *values)
        result = view_of(x, view_ops.of(self.op, x, *values)) if made is None else made
        if not x._tracked:
            if x._base is not None:
                result._index = x._index
            if unrecording and not (others and state.grad):
                result._index = unrecorded() if inferring else NO_GRAD
        elif state.grad:
            meta = None if self.bare else values
            templates = self.templates.get(meta)
            if templates is None or not graph.record_by_template(templates, result, x):
                self._record_anew((x,), result, meta)
        else:
            result._index = unrecorded() if inferring else NO_GRAD
        return result

    def views(
        self, x: Tensor, several: Sequence[tuple[object, ...]], meta: object
    ) -> tuple[Tensor, ...]:
        """A view of ``x`` for each of ``several`` metadata, all of them outputs of one node."""
        pieces = []
        index = 0 if x._tracked else SEVERAL
        if unrecording and not state.grad:
            index = unrecorded()
        for values in several:
            made: Tensor | None = calls.show(self.op, x, *values)
            if made is None:
                made = view_of(x, view_ops.of(self.op, x, *values))
            if index:
                made._index = index
            pieces.append(made)
        found = tuple(pieces)
        if found and x._tracked:
            self.record_all((x,), found, meta)
        return found

    # ---------------------------------------------------------------- record what has been run

    def record(self, inputs: tuple[Tensor, ...], result: Array, meta: Hashable = None) -> Tensor:
        """``result``, which was made of ``inputs``, recorded if a gradient is asked for. ``meta`` is kept
        for later calls: what belongs to one call alone must not be in it.
        """
        made: Tensor = result  # type: ignore[assignment]  # what ops make is of the tensor's class
        for t in inputs:
            if t._base is not None:
                refresh(t)
            if t._tracked:
                if state.grad:
                    templates = self.templates.get(meta)
                    if templates is None or not graph.record_by_template(templates, made, *inputs):
                        self._record_anew(inputs, made, meta)
                break
        return made

    def record_all(
        self, inputs: tuple[Tensor, ...], results: tuple[Array, ...], meta: object = None
    ) -> tuple[Tensor, ...]:
        """:meth:`record` for any number of results, and any ``meta``, of which nothing is kept."""
        made: tuple[Tensor, ...] = results  # type: ignore[assignment]
        if state.grad:
            tracked = needs_graph(inputs)
            if tracked:
                self._connect(inputs, made, self.template(tracked, meta))
        return made

    def write(
        self,
        inputs: tuple[Tensor, ...],
        run: Callable[..., object],
        *args: object,
        meta: object = None,
    ) -> Tensor:
        """``run(*args)`` writes over ``inputs[0]``, whose new value's history replaces the old if a
        gradient is asked for. Its caller has asked :func:`check_inplace`.
        """
        target = inputs[0]
        for t in inputs:
            if t._tracked or t._base is not None:
                if state.grad and target.layout.dtype.has_gradient:
                    tracked = needs_graph(inputs)
                    if tracked:
                        self._write(inputs, self.template(tracked, in_numbers(meta)), run, args)
                        return target
                break
        run(*args)
        return target

    def _record_anew(self, inputs: tuple[Tensor, ...], result: Tensor, meta: Hashable) -> None:
        """The long way, which keeps a template for the calls to come."""
        tracked = needs_graph(inputs)
        if not tracked:
            return
        meta = in_numbers(meta)
        templates = self.templates.get(meta)
        if templates is None:
            if len(self.templates) >= LIMIT:
                self.templates.clear()
            templates = self.templates[meta] = {}
        template = templates.get(tracked)
        if template is None:
            template = templates[tracked] = self.template(tracked, meta)
        self._connect(inputs, (result,), template)

    def _connect(
        self, inputs: tuple[Tensor, ...], results: tuple[Tensor, ...], template: Template
    ) -> None:
        """Make ``results`` outputs of a new node over ``inputs``."""
        name, vjp, places, meta = template
        node = new_node(name, vjp, inputs, tuple([r.layout for r in results]), meta)
        if places:
            saved: list[Array | None] = []
            for p in places:
                if p is None or p >= 0:
                    saved.append(None if p is None else inputs[p])
                else:
                    saved.append(SavedOutput(results[-1 - p], -1 - p))
            node.save(*saved)
        connect(node, results)

    def _write(
        self,
        inputs: tuple[Tensor, ...],
        template: Template,
        run: Callable[..., object],
        args: tuple[object, ...],
    ) -> None:
        """The recorded half of :meth:`write`: what is saved has the versions from before it."""
        target, (name, vjp, places, meta) = inputs[0], template
        if target._base is not None and target._node is None:
            refuse_view(name, target, "is being")
        node = new_node(name.rstrip("_") + "_", vjp, inputs, (target.layout,), meta)
        if 0 in places:  # the old value goes: keep a copy of it
            inputs = (_OLD.record((target,), copy(target)), *inputs[1:])
        saved: list[Array | None] = [None if p is None or p < 0 else inputs[p] for p in places]
        node.save(*saved)
        run(*args)
        outputs = [k for k, p in enumerate(places) if p is not None and p < 0]
        if outputs:
            before, versions = list(node.saved or ()), list(node.versions)
            node.save(*[SavedOutput(target, 0) for _ in outputs])
            for k, value, version in zip(outputs, node.saved or (), node.versions, strict=True):
                before[k], versions[k] = value, version
            node.saved, node.versions = tuple(before), tuple(versions)
        rebase(target, node)


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


def needs_graph(tensors: Sequence[Tensor]) -> int:
    """Which inputs ask for a gradient, bit k for input k (bringing stale views up to date first)."""
    tracked = 0
    for place, t in enumerate(tensors):
        if t._base is not None:
            refresh(t)
        if t._tracked:
            tracked |= 1 << place
    return tracked


def in_numbers(meta: Any) -> Any:
    """``meta`` with the numbers that its tensors are now: they may change before the gradient is asked for."""
    if not isinstance(meta, tuple):
        return meta.item() if isinstance(meta, TensorBase) else meta
    for part in meta:
        if isinstance(part, (TensorBase, tuple)):
            break
    else:
        return meta
    parts = [in_numbers(part) for part in meta]
    return meta._make(parts) if hasattr(meta, "_make") else tuple(parts)


def identity_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient as it is; the graph undoes broadcasting and promotion."""
    return (grad,)


def _of_complex(vjp: Vjp) -> Vjp:
    """See :attr:`Rule.planar`."""

    def of_complex(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
        conj: Callable[[Tensor], Tensor] = import_module("tilegrad.autograd.rules.planar").conj
        made = vjp(node, *map(conj, grads))
        return tuple([None if t is None else conj(t) for t in made])

    return of_complex


# ------------------------------------------------------------------------- views and in-place


def _not_yet(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
    raise AssertionError(f"{node.op}: nobody has said how it is differentiated")


# What a view is of a base that was written over, and what such a base is of the view. Their VJPs are
# written in tensor functions, which stand above this module: :func:`set_view_vjps` brings them.
AS_STRIDED = Rule(view_ops.as_strided, _not_yet)
COPY_SLICES = Rule("copy_slices", _not_yet)


def set_view_vjps(as_strided: Vjp, copy_slices: Vjp) -> None:
    """How views whose base was written over, and such bases, are differentiated."""
    AS_STRIDED.vjp, COPY_SLICES.vjp = as_strided, copy_slices


_OLD = Rule(copy, identity_vjp)


def view_of(tensor: Tensor, array: Array) -> Tensor:
    """The tensor over ``array`` as a view of ``tensor``, not recorded yet."""
    if tensor._base is not None:
        refresh(tensor)
    result = tensor_of(array)
    base = tensor._base if tensor._base is not None else tensor
    result._base = base
    result._epoch = base._epoch
    return result


def _region(view: Tensor, base: Tensor) -> tuple[object, ...]:
    """Where ``view`` lies in ``base``: the meta of :data:`AS_STRIDED` and :data:`COPY_SLICES`. Of real parts
    of complex numbers, or complex numbers over pairs of real ones, counted in real numbers.
    """
    kind, whole = view.layout, base.layout.dtype
    if kind.dtype is whole or whole.is_complex == kind.dtype.is_complex:
        return kind.shape, kind.strides, view.offset - base.offset
    if whole.is_complex:
        return kind.shape, kind.strides, view.offset - 2 * base.offset
    strides = (*[2 * s for s in kind.strides], 1)
    return (*kind.shape, 2), strides, 2 * view.offset - base.offset


def refresh(view: Tensor) -> None:
    """If the base got a new history since, make ``view`` a view of the base as it is now."""
    base = view._base
    if base is None or view._epoch == base._epoch:
        return
    if view._node is not None:
        refuse_view("view", view, "its base or another view of its base has been")
    elif view._index < 0 and base._tracked:
        if state.grad:
            refuse_view("view", view, "its base or another view of its base has been")
        return
    view._epoch = base._epoch
    if base._tracked:
        AS_STRIDED._connect((base,), (view,), AS_STRIDED.template(1, _region(view, base)))
        if view._hooks is not None:
            retain_again(view)


def kept(target: Tensor) -> Tensor:
    """A copy of ``target``, which is about to be written over, with its history."""
    old = tensor_of(copy(target))
    if target._tracked:
        old._tracked, old._node, old._index = True, target._node, target._index
    return old


def rebase(target: Tensor, node: Node, index: int = 0) -> None:
    """``target`` was overwritten by output ``index`` of ``node``: give it, and the tensor whose
    memory it shows, the new history.
    """
    target._tracked = True
    target._node = node
    target._index = index
    base = target._base
    if base is None:
        target._epoch += 1
        if target._hooks is not None:
            retain_again(target)
        return
    how = COPY_SLICES.template(3, _region(target, base))
    COPY_SLICES._connect((base, target), (base,), how)
    base._epoch += 1  # from here on the target is a view of the base as it is now
    if base._hooks is not None:
        retain_again(base)
    if target._hooks is not None:
        refresh(target)


def retain_again(tensor: Tensor) -> None:
    """``tensor`` has a new history: what ``retain_grad`` asked for is its gradient as it is now."""
    if not isinstance(tensor._hooks, list):
        hooks.retain(tensor)


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
        base = target._base
        if base is not None and (target._tracked or base._tracked):
            refuse_view(name, target, "is being")
            if base._node is None:
                raise RuntimeError(
                    f"{name}: a view of a leaf Variable that requires grad is being used in an "
                    f"in-place operation."
                )
        if target._tracked and target._node is None:
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad is being used in an in-place operation."
            )
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

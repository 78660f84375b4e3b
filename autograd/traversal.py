"""The backward pass: nodes in the order that graph and gradients ask for.

Nodes are numbered as they are recorded, and whatever uses a node's output is newer than it. So the
newest node that a gradient has reached is always complete, and its VJP may run.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from functools import cached_property, lru_cache
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any, TypeAlias

from tilegrad.autograd import hooks
from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import ones_of, zeros_of
from tilegrad.autograd.custom_call import CustomCall
from tilegrad.autograd.gathering import Gathering, Place, asked, running
from tilegrad.autograd.graph import (
    Edge,
    GradientEdge,
    Hook,
    Node,
    edge_of,
    named_kinds,
    shared_view,
)
from tilegrad.autograd.mode import _Switch, anomalies, state
from tilegrad.autograd.rule import refresh
from tilegrad.autograd.rules.elementwise import copy_to_layout
from tilegrad.engine.array import Layout, layout
from tilegrad.engine.dtype import DType

# whose gradient is asked for, or where a pass begins
Target: TypeAlias = "Tensor | GradientEdge"


def edge_at(target: Target) -> Edge:
    """Where the gradient of ``target`` flows to."""
    return target.edge if isinstance(target, GradientEdge) else edge_of(target)


def _place(edge: Edge) -> tuple[int, int]:
    """What an edge leads to, for dictionaries."""
    return (id(edge[0]), edge[1]) if isinstance(edge, tuple) else (id(edge), 0)


class _Pass:
    """One backward pass: gradients on their way, and what to do with them."""

    accumulate = False
    roots: list[Edge]
    again: tuple[tuple[int, int], ...] = ()  # places of what is wanted twice, and the first ones

    def __init__(
        self,
        inputs: Sequence[Target] | None,
        retain: bool,
        create: bool,
        accumulate: bool = False,
    ):
        self.retain = retain
        self.create = create
        if accumulate:
            self.accumulate = True
        self.wanted: dict[tuple[int, int], int] | None = (
            None  # (id of node or leaf, index) -> place in result
        )
        self.captured: list[Tensor | None] = []
        if inputs is not None:
            self.captured = [None] * len(inputs)
            self.wanted = {}
            for place, target in enumerate(inputs):
                first = self.wanted.setdefault(_place(edge_at(target)), place)
                if first != place:
                    self.again = (*self.again, (place, first))
        self.leading: set[Node] = set()  # nodes with something wanted behind them
        self.ready: list[tuple[int, Node]] = []  # a heap of those with a gradient, newest first
        self.buffers: dict[Node, list[Tensor | None]] = {}  # what flows into their outputs
        self.leaves: dict[int, tuple[Tensor, Tensor]] = {}  # with what reached them
        self.owned: set[int] = set()  # ids of buffered sums that nobody else sees

    def run(self, roots: list[Edge], grads: list[Tensor]) -> None:
        """Visit the nodes from the newest on: whatever uses a node's output is newer than it."""
        if self.wanted is not None:
            self.leading = _leading_to(self.wanted, roots)
        if not asked[0]:
            self._visit(roots, grads)
            return
        self.roots = roots
        outer, running.run = running.run, self
        try:
            self._visit(roots, grads)
        finally:
            running.run = outer

    @cached_property
    def gathering(self) -> dict[object, Gathering]:
        """By what hooks on several tensors ask for."""
        return {}

    @cached_property
    def reached(self) -> set[int]:
        """Ids of nodes and leaves to which edges lead from the roots."""
        nodes = _behind(self.roots)
        ends = [*self.roots, *[edge for node in nodes for edge in node.edges if edge is not None]]
        return {_place(edge)[0] for edge in ends}

    def _visit(self, roots: list[Edge], grads: list[Tensor]) -> None:
        for root, grad in zip(roots, grads, strict=True):
            self.deliver(root, grad)
        ready, buffers = self.ready, self.buffers
        with _Switch(self.create):
            while ready:
                _, node = heappop(ready)
                gradients = self.evaluate(node, buffers.pop(node))
                if gradients is None:
                    continue
                for edge, gradient in zip(node.edges, gradients, strict=True):
                    if gradient is not None and edge is not None:
                        self.deliver(edge, gradient)
                gradients = gradient = None  # what was added to another goes before the next VJP
            for leaf, total in self.leaves.values():
                self._accumulate(leaf, total)
            if asked[0] and "gathering" in self.__dict__:
                for gathering in list(self.gathering.values()):
                    gathering.finish()
        if self.again:
            for place, first in self.again:
                self.captured[place] = shared_view(self.captured[first])

    def deliver(self, edge: Edge, grad: Tensor) -> None:
        """Add ``grad`` to what flows into one output of a node, or into a leaf."""
        if grad._base is not None and not self.create:
            grad = shared_view(grad)  # its base may go
        kind = edge.__class__
        if kind is Node:
            target: Any = edge
            index = 0
        elif kind is tuple:
            target, index = edge  # type: ignore[misc, assignment]
        elif kind in named_kinds:  # somebody has looked at this node
            target, index = edge, 0
        else:
            before = self.leaves.get(id(edge))  # summed first: hooks see it once
            total = grad if before is None else self._add(before[1], grad)
            self.leaves[id(edge)] = (edge, total)  # type: ignore[assignment]
            return
        held = self.buffers.get(target)
        if held is None:
            heappush(self.ready, (-target.sequence, target))
            if len(target.outputs) == 1:
                self.buffers[target] = [grad]
                return
            held = self.buffers[target] = [None] * len(target.outputs)
        old = held[index]
        held[index] = grad if old is None else self._add(old, grad)

    def _add(self, before: Tensor, grad: Tensor) -> Tensor:
        """Their sum, in the memory of one of them where nobody else sees that."""
        if not self.create:
            if id(before) in self.owned:
                return before.add_(grad)
            for one, other in ((before, grad), (grad, before)):
                if one.layout.contiguous and _alone(one) and one.dtype is other.dtype:
                    return one.add_(other)
        total = before + grad
        self.owned.add(id(total))
        return total

    def visits(self, place: Place) -> bool:
        """Whether the pass comes to ``place``, as far as the graph says."""
        if self.wanted is not None and (id(place[0]), place[1]) not in self.wanted:
            return place[0] in self.leading
        return id(place[0]) in self.reached

    def _accumulate(self, leaf: Tensor, grad: Tensor) -> None:
        if self.wanted is not None and (id(leaf), 0) not in self.wanted:
            return
        if leaf._hooks:
            for hook in list(leaf._hooks):
                grad = _replaced(hook, hook(shared_view(grad)), grad)
        if self.wanted is not None and not self.accumulate:
            self.captured[self.wanted[id(leaf), 0]] = grad
            return
        more = None if leaf._post_hooks is None else hooks.leaf_hooks(leaf)
        if more is not None:
            grad = more.before(grad)
        before = leaf._grad
        if before is None:
            leaf._grad = self._own(leaf, grad)
        elif self.create:
            leaf._grad = _laid_out(before + grad, leaf.layout)
        else:
            before.add_(grad)
        if more is not None:
            more.after(leaf, grad)

    def _own(self, leaf: Tensor, grad: Tensor) -> Tensor:
        """``grad`` as it may be kept in ``.grad``, in the strides of ``leaf`` (see :func:`gradient_layout`): a copy of it
        where another tensor shares its memory.
        """
        shared = not _alone(grad)
        if grad._tracked and not self.create:
            grad = grad.detach()
        if grad.layout is not leaf.layout:
            made = _laid_out(grad, leaf.layout)
            if made is not grad:
                return made
        return grad.clone() if shared else grad

    def evaluate(
        self, node: Node, gradients: list[Tensor | None]
    ) -> Sequence[Tensor | None] | None:
        """Run hooks and the VJP of ``node``; undo broadcasting and promotion. None: nothing that
        is wanted lies behind this node.
        """
        if self.owned:
            self.owned.difference_update([id(g) for g in gradients])
        if self.wanted is not None and node not in self.leading and not self._captures(node):
            return None  # its hooks are not run either
        extras = node.extras
        if extras is not None:
            for hook in hooks.in_order(extras.pre_hooks):
                changed = hook(tuple(map(shared_view, gradients)))
                if changed is not None:
                    gradients = hooks.check_hooked_all(hook, changed, gradients)
        if self.wanted is not None:
            for index, grad in enumerate(gradients):
                place = self.wanted.get((id(node), index))
                if place is not None and grad is not None:
                    self.captured[place] = shared_view(grad)
            if node not in self.leading:
                return None
        full = gradients if len(gradients) == 1 else _filled(gradients, node)
        results = self._differentiate(node, full)
        if not self.retain:
            node.saved = None
        fitted: list[Tensor | None] = []
        count = 0
        for kind, edge, grad in zip(node.inputs, node.edges, results, strict=True):
            if edge is None:
                grad = None
            elif grad is not None:
                count += 1
                if grad.layout is not kind:
                    grad = _fit(grad, kind)
            fitted.append(grad)
        if count > 1 and (count > 2 or len(fitted) > 2 or fitted[0] is fitted[1]):
            _set_apart(fitted)  # mostly two that differ
        if anomalies and state.anomaly:
            _refuse_nan(node, fitted)
        if extras is None:
            return fitted
        for hook in list(extras.hooks):
            changed = hook(tuple(map(shared_view, fitted)), tuple(map(shared_view, full)))
            if changed is not None:
                fitted = hooks.check_hooked_all(hook, changed, fitted)
        return fitted

    def _captures(self, node: Node) -> bool:
        """Whether a gradient that reaches ``node`` was asked for."""
        places = [(id(node), index) for index in range(len(node.outputs))]
        return any(place in self.wanted for place in places) if self.wanted else False

    def _differentiate(self, node: Node, full: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """What the VJP of ``node`` says, one gradient per input."""
        try:
            results = node.vjp(node, *full)
        except RuntimeError as error:
            if node.extras is not None and node.extras.trace is not None:
                raise RuntimeError(f"{error}\n{_forward_line(node)}") from None
            raise
        if len(results) != len(node.edges):
            raise RuntimeError(
                f"{node.op}: the backward must return one gradient per input; "
                f"got {len(results)} for {len(node.edges)} inputs"
            )
        return results


def _alone(tensor: Tensor) -> bool:
    """Whether no other tensor shares the memory of ``tensor``, which is most of its storage.

    What a program may keep (arguments of hooks, what they and custom functions return, gradients
    that were asked for) is another tensor than the pass goes on with.
    """
    return (
        getrefcount(tensor.storage) <= 2  # its slot and this call
        and tensor.storage.nbytes < 2 * tensor.layout.nbytes + 64
    )


def _laid_out(grad: Tensor, leaf: Layout) -> Tensor:
    """``grad`` itself if its strides suit a leaf of this layout, else a copy whose strides do."""
    wanted = gradient_layout(leaf, grad.layout.dtype)
    have = grad.layout
    if have is wanted or all(
        n == 1 or s == t for n, s, t in zip(have.shape, have.strides, wanted.strides, strict=True)
    ):
        return grad
    return copy_to_layout(grad, wanted)


@lru_cache(maxsize=4096)
def gradient_layout(leaf: Layout, kind: DType) -> Layout:
    """What the gradient of a leaf looks like in memory: as the leaf, if its elements lie without
    gaps or overlaps in some order of its dimensions, else row-major.
    """
    reach = 1
    for stride, size in sorted(zip(leaf.strides, leaf.shape, strict=True)):
        if size < 2:
            continue
        if stride != reach:
            return layout(leaf.shape, kind, leaf.device)
        reach *= size
    return layout(leaf.shape, kind, leaf.device, leaf.strides)


def _set_apart(gradients: list[Tensor | None]) -> None:
    """A tensor that stands for several gradients becomes several tensors over its memory."""
    seen: set[int] = set()
    for place, grad in enumerate(gradients):
        if grad is not None and id(grad) in seen:
            gradients[place] = shared_view(grad)
        seen.add(id(grad))


def _filled(gradients: list[Tensor | None], node: Node) -> list[Tensor | None]:
    """Zeros for the outputs that no gradient reached, unless a custom function wants None."""
    meta = node.meta
    if meta.__class__ is CustomCall and not meta.context._materialize:
        return gradients
    return [zeros_of(o) if g is None else g for g, o in zip(gradients, node.outputs, strict=True)]


def _replaced(hook: Hook, changed: Any, grad: Tensor) -> Tensor:
    if changed is None:
        return grad
    hooks.check_hooked(hook, changed, grad)
    kept: Tensor = shared_view(changed)
    return kept


def _fit(grad: Tensor, kind: Layout) -> Tensor:
    """``grad`` in the input's shape and dtype, on its device."""
    have = grad.layout
    if have.shape != kind.shape:
        grad = grad.sum_to_size(kind.shape)
    if have.dtype is not kind.dtype or have.device is not kind.device:
        if have.dtype.is_complex and not kind.dtype.is_complex:
            grad = grad.real  # of a real operand
        grad = grad.to(kind.device, kind.dtype)
    return grad


def _leading_to(wanted: dict[tuple[int, int], int], roots: list[Edge]) -> set[Node]:
    """The nodes behind ``roots`` from which edges lead to a wanted leaf or output."""
    leading: set[Node] = set()
    for node in sorted(
        _behind(roots), key=lambda n: n.sequence
    ):  # inputs are older than what uses them
        for edge in node.edges:
            if edge is not None and (_place(edge) in wanted or _node_of(edge) in leading):
                leading.add(node)
                break
    return leading


def _behind(roots: list[Edge]) -> set[Node]:
    """All nodes to which edges lead from ``roots``, theirs among them."""
    stack = [n for n in map(_node_of, roots) if n is not None]
    nodes = set(stack)
    while stack:
        for edge in stack.pop().edges:
            node = _node_of(edge)
            if node is not None and node not in nodes:
                nodes.add(node)
                stack.append(node)
    return nodes


def _node_of(edge: Edge | None) -> Node | None:
    """The node that an edge leads to; None for a leaf."""
    if isinstance(edge, tuple):
        return edge[0]
    return edge if isinstance(edge, Node) else None


def _forward_line(node: Node) -> str:
    lines = "".join(
        traceback.format_list(node.extras.trace or [] if node.extras is not None else [])
    )
    return f"{node.op}: the forward call that made this node was\n{lines}"


def _refuse_nan(node: Node, results: Sequence[Tensor | None]) -> None:
    for index, grad in enumerate(results):
        if grad is not None and bool(grad.detach().isnan().any().item()):
            raise RuntimeError(
                f"Function '{node.name()}' returned nan values in its {index}th output.\n"
                + _forward_line(node)
            )


def backward(
    tensors: Sequence[Target],
    grads: Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Target] | None = None,
    allow_unused: bool = True,
    accumulate: bool = False,
) -> list[Tensor | None]:
    """Run the backward pass from ``tensors``; gather gradients of ``inputs`` or of all leaves.

    ``accumulate``: those of ``inputs`` are added to ``.grad``, not gathered.

    Raises:
        RuntimeError: a root does not require a gradient, is not a scalar and has none given, or an
            input is not part of the graph.
    """
    starts = _root_gradients(tensors, grads, create_graph)
    if accumulate:
        for target in inputs or ():
            if not isinstance(target, GradientEdge) and target._node is not None:
                target.retain_grad()
    retain = create_graph if retain_graph is None else retain_graph
    run = _Pass(inputs, retain, create_graph, accumulate)
    run.run([edge_at(t) for t in tensors], starts)
    if accumulate:
        return []
    if inputs is not None and not allow_unused and any(g is None for g in run.captured):
        raise RuntimeError(
            "grad: One of the differentiated Tensors appears to not have been used in the graph. "
            "Set allow_unused=True if this is the desired behavior."
        )
    return run.captured


def _root_gradients(
    tensors: Sequence[Target], grads: Sequence[Tensor | None] | None, create: bool
) -> list[Tensor]:
    starts: list[Tensor] = []
    given = list(grads) if grads is not None else [None] * len(tensors)
    if len(given) != len(tensors):
        raise RuntimeError(
            f"backward: needs one gradient per tensor; got {len(given)} for {len(tensors)}"
        )
    for tensor, grad in zip(tensors, given, strict=True):
        if isinstance(tensor, GradientEdge):
            kind = tensor.layout
        else:
            if tensor._base is not None:
                refresh(tensor)
            if not tensor._tracked:
                raise RuntimeError(
                    "backward: element 0 of tensors does not require grad and does not have a grad_fn"
                )
            kind = tensor.layout
        if grad is None:
            if kind.numel != 1:
                raise RuntimeError(
                    f"backward: grad can be implicitly created only for scalar outputs; "
                    f"got {kind.describe()}"
                )
            if kind.dtype.is_complex:
                raise RuntimeError(
                    f"backward: grad can be implicitly created only for real scalar outputs but got {kind.dtype}"
                )
            grad = ones_of(kind)
        elif grad.layout.shape == kind.shape:
            if grad.layout.dtype is not kind.dtype and grad.layout.dtype.has_gradient:
                grad = grad.to(kind.dtype)
            grad = shared_view(grad)
        else:
            raise RuntimeError(
                f"backward: Mismatch in shape: grad_output has a shape of {grad.shape} and output "
                f"has a shape of {kind.shape}"
            )
        starts.append(grad)
    return starts

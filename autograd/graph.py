"""The graph: nodes, what they save, and the backward pass over them.

A rule says how to differentiate one op. Its VJP is written with differentiable tensor functions,
so that gradients of gradients need nothing more; without ``create_graph`` it runs unrecorded.
Broadcasting and dtype promotion are undone here, after every rule, so that no rule thinks of them.
"""

from __future__ import annotations

import heapq
import itertools
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.mode import _Switch, anomalies, state
from tilegrad.engine.array import Array, Layout

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

# (node, *gradients of the outputs) -> gradients of the inputs, None where there is none
Vjp = Callable[..., "tuple[Tensor | None, ...]"]

_sequence = itertools.count()


class SavedOutput(Array):
    """Output ``index`` of the node that keeps it: an array, for the tensor would be a cycle."""

    __slots__ = ("index",)

    def __init__(self, array: Array, index: int):
        self.layout = array.layout
        self.storage = array.storage
        self.address = array.address
        self.index = index


class Extras:
    """What few nodes have: hooks, and the stack of the forward call in anomaly mode."""

    __slots__ = ("hooks", "pre_hooks", "trace")

    def __init__(self) -> None:
        self.hooks: list[Any] = []
        self.pre_hooks: list[Any] = []
        self.trace: traceback.StackSummary | None = None


class Node:
    """One recorded op.

    Attributes:
        name: of the op.
        vjp: see :data:`Vjp`.
        edges: per input, ``(node, output index)``, ``(leaf tensor, 0)`` or None.
        saved: tensors (inputs) and :class:`SavedOutput`, with the versions they had.
        meta: scalars and metadata that the VJP reads.
        inputs: layouts of the inputs; outputs: layouts of the outputs.
    """

    __slots__ = (
        "__weakref__", "edges", "extras", "inputs", "meta", "name", "outputs", "saved", "sequence",
        "versions", "vjp",
    )  # fmt: skip

    name: str
    vjp: Vjp
    edges: list[tuple[Any, int] | None]
    inputs: list[Layout]
    outputs: tuple[Layout, ...]
    meta: Any
    sequence: int
    extras: Extras | None
    saved: tuple[Any, ...] | None  # None once the graph is freed
    versions: tuple[int, ...]

    def save(self, *values: Any) -> None:
        """Keep tensors (or :class:`SavedOutput`) for the VJP, with their versions."""
        self.saved = values
        versions: tuple[int, ...] = ()
        for v in values:
            if v is None:
                versions += (-1,)
            else:
                versions += (v.storage.version,)
        self.versions = versions

    def unpack(self) -> list[Any]:
        """The saved tensors, in order.

        Raises:
            RuntimeError: one was overwritten since, or the graph was freed.
        """
        if self.saved is None:
            raise RuntimeError(
                f"{self.name}: Trying to backward through the graph a second time (or directly "
                f"access saved tensors after they have already been freed). Saved intermediate "
                f"values of the graph are freed when you call .backward() or autograd.grad(). "
                f"Specify retain_graph=True if you need to backward through the graph a second time"
            )
        result: list[Any] = []
        for value, version in zip(self.saved, self.versions, strict=True):
            if value is None:
                result.append(None)
                continue
            if value.storage.version != version:
                raise RuntimeError(
                    f"{self.name}: one of the variables needed for gradient computation has been "
                    f"modified by an inplace operation: [{value.layout.describe()}] is at version "
                    f"{value.storage.version}; expected version {version} instead"
                )
            result.append(_rebuild(self, value) if value.__class__ is SavedOutput else value)
        return result

    def release(self) -> None:
        """Drop saved tensors; a second backward through here is an error."""
        self.saved = None

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """PyTorch's view of the edges."""
        return tuple((None, 0) if e is None else e for e in self.edges)

    def register_hook(self, hook: Callable[..., Any]) -> Any:
        """Call ``hook(grad_inputs, grad_outputs)`` after this node's VJP; it may replace them."""
        self.extras = self.extras or Extras()
        return RemovableHandle(self.extras.hooks, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Any:
        """Call ``hook(grad_outputs)`` before this node's VJP; it may replace them."""
        self.extras = self.extras or Extras()
        return RemovableHandle(self.extras.pre_hooks, hook)

    def __repr__(self) -> str:
        return f"<{self.name.title().replace('_', '')}Backward0 object at {id(self):#x}>"


_make: Any = object.__new__


def new_node(
    name: str,
    vjp: Vjp,
    inputs: Sequence[Tensor],
    outputs: tuple[Layout, ...],
    meta: Any = None,
) -> Node:
    """A node over ``inputs``. A plain function with plain loops: every recorded op comes by, and a
    constructor or a comprehension would be one call more.
    """
    edges: list[tuple[Any, int] | None] = []
    layouts = []
    for t in inputs:
        if t._tracked:
            edges.append((t, 0) if t._node is None else (t._node, t._index))
        else:
            edges.append(None)
        layouts.append(t.layout)
    node: Node = _make(Node)
    node.name = name
    node.vjp = vjp
    node.edges = edges
    node.inputs = layouts
    node.outputs = outputs
    node.meta = meta
    node.saved = node.versions = ()
    node.sequence = next(_sequence)
    node.extras = None
    if anomalies.active and state.anomaly:
        node.extras = Extras()
        node.extras.trace = traceback.StackSummary.from_list(traceback.extract_stack()[:-2])
    return node


class RemovableHandle:
    """Takes a hook back with :meth:`remove`."""

    __slots__ = ("hook", "hooks", "id")

    _ids = itertools.count()

    def __init__(self, hooks: Any, hook: Any):
        self.hooks = hooks
        self.hook = hook
        self.id = next(RemovableHandle._ids)
        hooks.append(hook)

    def remove(self) -> None:
        """Never call the hook again."""
        if self.hook in self.hooks:
            self.hooks.remove(self.hook)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *args: object) -> None:
        self.remove()


def _edge(tensor: Tensor) -> tuple[Any, int]:
    node = tensor._node
    return (tensor, 0) if node is None else (node, tensor._index)


def _rebuild(node: Node, value: SavedOutput) -> Tensor:
    from tilegrad.autograd.base import alias

    tensor = alias(value)
    tensor._tracked = True
    tensor._node = node
    tensor._index = value.index
    return tensor


# ------------------------------------------------------------------------------------ backward


class _Pass:
    """One backward pass: gradients on their way, and what to do with them."""

    def __init__(self, inputs: Sequence[Tensor] | None, retain: bool, create: bool):
        self.retain = retain
        self.create = create
        self.wanted: dict[Any, int] | None = None  # (id of node or leaf, index) -> place in result
        self.captured: list[Tensor | None] = []
        if inputs is not None:
            self.captured = [None] * len(inputs)
            self.wanted = {}
            for place, tensor in enumerate(inputs):
                target, index = _edge(tensor)
                self.wanted.setdefault((id(target), index), place)
        self.leading: set[Node] = set()  # nodes with something wanted behind them
        self.buffers: dict[Node, list[Tensor | None]] = {}
        self.owned: set[int] = set()  # ids of buffered sums that nobody else sees
        self.delivered: set[int] = set()  # ids of storages that some .grad already uses

    def run(self, roots: list[tuple[Any, int]], grads: list[Tensor]) -> None:
        for grad in grads:
            self.delivered.add(id(grad.storage))
        pending, reachable = _count_dependencies([t for t, _ in roots if isinstance(t, Node)])
        if self.wanted is not None:
            self.leading = _leading_to(self.wanted, reachable)
        for (target, index), grad in zip(roots, grads, strict=True):
            self.deliver(target, index, grad)
        ready = [(-n.sequence, n) for n in self.buffers if not pending.get(n, 0)]
        heapq.heapify(ready)
        with _Switch(self.create):
            while ready:
                _, node = heapq.heappop(ready)
                gradients = self.evaluate(node, self.buffers.pop(node))
                if gradients is None:
                    self._skip(node, pending, ready)
                    continue
                for edge, gradient in zip(node.edges, gradients, strict=True):
                    if edge is None:
                        continue
                    target, index = edge
                    if gradient is not None:
                        self.deliver(target, index, gradient)
                    if isinstance(target, Node):
                        pending[target] -= 1
                        if not pending[target] and target in self.buffers:
                            heapq.heappush(ready, (-target.sequence, target))
                        elif not pending[target]:
                            self._skip(target, pending, ready)

    def _skip(self, node: Node, pending: dict[Node, int], ready: list[Any]) -> None:
        """No gradient reached ``node``: its inputs must not wait for it."""
        stack = [node]
        while stack:
            for edge in stack.pop().edges:
                if edge is None or not isinstance(edge[0], Node):
                    continue
                target = edge[0]
                pending[target] -= 1
                if not pending[target]:
                    if target in self.buffers:
                        heapq.heappush(ready, (-target.sequence, target))
                    else:
                        stack.append(target)

    def deliver(self, target: Any, index: int, grad: Tensor) -> None:
        """Add ``grad`` to what flows into one output of a node, or into a leaf."""
        if not isinstance(target, Node):
            self._accumulate(target, grad)
            return
        held = self.buffers.get(target)
        if held is None:
            held = self.buffers[target] = [None] * len(target.outputs)
        before = held[index]
        if before is None:
            held[index] = grad
        else:
            held[index] = self._add(before, grad)

    def _add(self, before: Tensor, grad: Tensor) -> Tensor:
        if not self.create and id(before) in self.owned:
            return before.add_(grad)
        total = before + grad
        self.owned.add(id(total))
        return total

    def _accumulate(self, leaf: Tensor, grad: Tensor) -> None:
        for hook in list(leaf._hooks or ()):
            grad = _replaced(hook(grad), grad)
        if self.wanted is not None:
            place = self.wanted.get((id(leaf), 0))
            if place is not None:
                before = self.captured[place]
                self.captured[place] = grad if before is None else before + grad
            return
        if leaf.grad is None:
            leaf.grad = self._own(grad)
        elif self.create:
            leaf.grad = leaf.grad + grad
        else:
            leaf.grad.add_(grad)
        for hook in list(leaf._post_hooks or ()):
            hook(leaf)

    def _own(self, grad: Tensor) -> Tensor:
        """``grad`` for keeps: no other gradient shares its memory."""
        storage = id(grad.storage)
        if storage in self.delivered or not grad.layout.contiguous:
            grad = grad.clone() if self.create else grad.detach().clone()
            storage = id(grad.storage)
        elif not self.create:
            grad = grad.detach()
        self.delivered.add(storage)
        return grad

    def evaluate(
        self, node: Node, gradients: list[Tensor | None]
    ) -> Sequence[Tensor | None] | None:
        """Run hooks and the VJP of ``node``; undo broadcasting and promotion. None: nothing that
        is wanted lies behind this node.
        """
        from tilegrad.autograd.base import zeros_of

        self.owned.difference_update(id(g) for g in gradients)
        if node.extras is not None:
            for hook in list(node.extras.pre_hooks):
                changed = hook(tuple(gradients))
                if changed is not None:
                    gradients = list(changed) if isinstance(changed, (tuple, list)) else [changed]
        if self.wanted is not None:
            for index, grad in enumerate(gradients):
                place = self.wanted.get((id(node), index))
                if place is not None and grad is not None:
                    self.captured[place] = grad
            if node not in self.leading:
                return None
        full = [
            zeros_of(o) if g is None else g for g, o in zip(gradients, node.outputs, strict=True)
        ]
        try:
            results: Sequence[Tensor | None] = node.vjp(node, *full)
        except RuntimeError as error:
            if node.extras is not None and node.extras.trace is not None:
                raise RuntimeError(f"{error}\n{_forward_line(node)}") from None
            raise
        if not self.retain:
            node.release()
        if len(results) != len(node.edges):
            raise RuntimeError(
                f"{node.name}: the backward must return one gradient per input; "
                f"got {len(results)} for {len(node.edges)} inputs"
            )
        results = [
            None if g is None or e is None else _fit(g, kind)
            for g, e, kind in zip(results, node.edges, node.inputs, strict=True)
        ]
        if state.anomaly:
            _refuse_nan(node, results)
        for hook in list(node.extras.hooks) if node.extras is not None else ():
            changed = hook(tuple(results), tuple(full))
            if changed is not None:
                results = list(changed) if isinstance(changed, (tuple, list)) else [changed]
        return results


def _replaced(changed: Any, grad: Tensor) -> Tensor:
    return grad if changed is None else changed


def _fit(grad: Tensor, kind: Layout) -> Tensor:
    """``grad`` in the input's shape and dtype, on its device."""
    have = grad.layout
    if have.shape != kind.shape:
        grad = grad.sum_to_size(kind.shape)
    if have.dtype is not kind.dtype or have.device is not kind.device:
        grad = grad.to(kind.device, kind.dtype)
    return grad


def _count_dependencies(roots: list[Node]) -> tuple[dict[Node, int], set[Node]]:
    """How many reachable edges lead to each reachable node, and the reachable nodes."""
    counts: dict[Node, int] = {}
    seen: set[Node] = set(roots)
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and isinstance(edge[0], Node):
                target = edge[0]
                counts[target] = counts.get(target, 0) + 1
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
    return counts, seen


def _leading_to(wanted: dict[tuple[int, int], int], nodes: set[Node]) -> set[Node]:
    """The nodes from which an edge path leads to a wanted leaf or output."""
    leading: set[Node] = set()
    for node in sorted(nodes, key=lambda n: n.sequence):  # inputs are older than what uses them
        for edge in node.edges:
            if edge is not None and ((id(edge[0]), edge[1]) in wanted or edge[0] in leading):
                leading.add(node)
                break
    return leading


def _forward_line(node: Node) -> str:
    lines = "".join(
        traceback.format_list(node.extras.trace or [] if node.extras is not None else [])
    )
    return f"{node.name}: the forward call that made this node was\n{lines}"


def _refuse_nan(node: Node, results: Sequence[Tensor | None]) -> None:
    for index, grad in enumerate(results):
        if grad is not None and bool(grad.detach().isnan().any().item()):
            raise RuntimeError(
                f"Function '{node.name}Backward0' returned nan values in its {index}th output.\n"
                + _forward_line(node)
            )


def backward(
    tensors: Sequence[Tensor],
    grads: Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
    allow_unused: bool = True,
) -> list[Tensor | None]:
    """Run the backward pass from ``tensors``; gather gradients of ``inputs`` or of all leaves.

    Raises:
        RuntimeError: a root does not require a gradient, is not a scalar and has none given, or an
            input is not part of the graph.
    """
    starts = _root_gradients(tensors, grads, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    run = _Pass(inputs, retain, create_graph)
    run.run([_edge(t) for t in tensors], starts)
    if inputs is not None and not allow_unused and any(g is None for g in run.captured):
        raise RuntimeError(
            "grad: One of the differentiated Tensors appears to not have been used in the graph. "
            "Set allow_unused=True if this is the desired behavior."
        )
    return run.captured


def _root_gradients(
    tensors: Sequence[Tensor], grads: Sequence[Tensor | None] | None, create: bool
) -> list[Tensor]:
    from tilegrad.autograd.base import ones_of, refresh

    starts = []
    given = list(grads) if grads is not None else [None] * len(tensors)
    if len(given) != len(tensors):
        raise RuntimeError(
            f"backward: needs one gradient per tensor; got {len(given)} for {len(tensors)}"
        )
    for tensor, grad in zip(tensors, given, strict=True):
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
            grad = ones_of(kind)
        elif grad.layout.shape != kind.shape:
            raise RuntimeError(
                f"backward: Mismatch in shape: grad_output has a shape of {grad.shape} and output "
                f"has a shape of {tensor.shape}"
            )
        starts.append(grad)
    return starts

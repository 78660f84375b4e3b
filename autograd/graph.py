"""The graph: nodes, and what they save.

A rule says how to differentiate one op. Its VJP is written with differentiable tensor functions,
so that gradients of gradients need nothing more; without ``create_graph`` it runs unrecorded.
Broadcasting and dtype promotion are undone here, after every rule, so that no rule thinks of them.
"""

from __future__ import annotations

import ctypes
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, overload

from tilegrad.autograd import native_record
from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.gathering import (
    Hook as Hook,
    RemovableHandle as RemovableHandle,
    register_multi_grad_hook as register_multi_grad_hook,
)
from tilegrad.autograd.mode import anomalies, state
from tilegrad.autograd.naming import name_of
from tilegrad.autograd.saving import (
    Packed,
    disable_saved_tensors_hooks as disable_saved_tensors_hooks,
    packed,
    save_on_cpu as save_on_cpu,
    saved_tensors_hooks as saved_tensors_hooks,
)
from tilegrad.engine import calls
from tilegrad.engine.array import Array, Layout
from tilegrad.engine.interpreter import chosen
from tilegrad.engine.ops.elementwise import full, number_of
from tilegrad.kernels.builtin import cell
from tilegrad.kernels.forking import DATA, compiler, fork_lock

# (node, *gradients of the outputs) -> gradients of the inputs, None where there is none
Vjp = Callable[..., "tuple[Tensor | None, ...]"]

# where a gradient goes: the first output of a node, another one as (node, index), or a leaf
Edge: TypeAlias = "Node | tuple[Node, int] | Tensor"


class GradFn(Protocol):
    """What ``grad_fn`` and ``next_functions`` show: a node, or the end of the graph at a leaf."""

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]: ...
    def name(self) -> str: ...
    def register_hook(self, hook: Hook) -> RemovableHandle: ...
    def register_prehook(self, hook: Hook) -> RemovableHandle: ...


# What a node keeps: inputs by position, outputs as ``-1 - position``; as a tuple (position, inputs
# …) only if one of these inputs needs a gradient, for whose sake it is read.
Saves = tuple[int | tuple[int, ...], ...]

_sequence = cell(0)  # number of the newest node


def tensor_of(array: Array) -> Tensor:
    """The result of an engine's op as the tensor it is, not recorded."""
    return array  # type: ignore[return-value]


def detached_view(array: Array) -> Tensor:
    """Another tensor over the same memory, out of the graph."""
    return calls.new(array.layout, array.storage, array.address)  # type: ignore[no-any-return]


def zeros_of(kind: Layout) -> Tensor:
    """A constant of zeros, shaped like ``kind``."""
    return tensor_of(full(kind.shape, 0, kind.dtype, kind.device))


def ones_of(kind: Layout) -> Tensor:
    """A constant of ones, shaped like ``kind``, of a floating dtype."""
    return tensor_of(full(kind.shape, 1.0, kind.dtype, kind.device))


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
        self.hooks: list[Hook] = []
        self.pre_hooks: list[Hook] = []
        self.trace: traceback.StackSummary | None = None


class Node:
    """One recorded op.

    Attributes:
        op: its name here; :meth:`name` is PyTorch's.
        vjp: see :data:`Vjp`.
        edges: see :data:`Edge`, one per input; None where no gradient flows.
        saved: tensors (inputs) and :class:`SavedOutput`, with the versions they had; None in place
            of what no gradient that is asked for reads. No tensor is kept anywhere else.
        meta: plain values that the VJP reads.
        inputs: layouts of the inputs; outputs: layouts of the outputs.
    """

    __slots__ = (
        "__weakref__", "edges", "extras", "inputs", "meta", "op", "outputs", "saved", "sequence",
        "versions", "vjp",
    )  # fmt: skip

    op: str
    vjp: Vjp
    edges: Sequence[Edge | None]
    inputs: Sequence[Layout]
    outputs: tuple[Layout, ...]
    meta: Any  # of what type, each rule knows
    sequence: int
    extras: Extras | None
    saved: tuple[Array | Packed | None, ...] | None  # None once the graph is freed
    versions: tuple[int, ...]

    def save(self, *values: Array | None) -> None:
        """Keep tensors (or :class:`SavedOutput`) for the VJP, with their versions."""
        kept: tuple[Array | Packed | None, ...] = values
        if anomalies and state.packers:
            kept = tuple([None if v is None else _packed(self.op, v) for v in values])
        self.saved = kept
        versions: tuple[int, ...] = ()
        for v in kept:
            if v is None:
                versions += (-1,)
            elif isinstance(v, Packed):
                versions += (Packed.NOTED,)
            else:
                versions += (v.storage.version,)
                if versions[-1] < 0:
                    refuse_inference(self.op)
        self.versions = versions

    def unpack(self) -> list[Any]:
        """The saved tensors, in order; None for what no gradient that is asked for reads.

        Raises:
            RuntimeError: one was overwritten since, or the graph was freed.
        """
        return [
            _rebuild(self, value) if value.__class__ is SavedOutput else value
            for value in self.peek()
        ]

    def peek(self) -> tuple[Any, ...]:
        """What :meth:`unpack` gives, but outputs as bare arrays: memory to read, no more."""
        if self.saved is None:
            raise RuntimeError(
                f"{self.op}: Trying to backward through the graph a second time (or directly "
                f"access saved tensors after they have already been freed). Saved intermediate "
                f"values of the graph are freed when you call .backward() or autograd.grad(). "
                f"Specify retain_graph=True if you need to backward through the graph a second time"
            )
        hooked = False
        for value, version in zip(self.saved, self.versions, strict=True):
            if value is not None and value.storage.version != version:
                if isinstance(value, Packed):
                    hooked = True
                    continue
                raise RuntimeError(
                    f"{self.op}: one of the variables needed for gradient computation has been "
                    f"modified by an inplace operation: [{value.layout.describe()}] is at version "
                    f"{value.storage.version}; expected version {version} instead"
                )
        if hooked:
            return tuple([_opened(self, v) if isinstance(v, Packed) else v for v in self.saved])
        return self.saved

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]:
        """PyTorch's view of the edges."""
        return tuple([function_at(edge) for edge in self.edges])

    def name(self) -> str:
        """PyTorch's name of the op: ``AddBackward0``."""
        return name_of(self)

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` after this node's VJP; it may replace them."""
        self.extras = self.extras or Extras()
        return RemovableHandle(self.extras.hooks, hook)

    def register_prehook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(grad_outputs)`` before this node's VJP; it may replace them."""
        self.extras = self.extras or Extras()
        return RemovableHandle(self.extras.pre_hooks, hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


named_kinds: set[type[Node]] = set()  # the classes of nodes that somebody has looked at
_kinds: dict[str, type[Node]] = {}


def named(node: Node) -> Node:
    """``node`` itself, of a class with PyTorch's name from now on."""
    if node.__class__ is Node:
        name = name_of(node)
        kind = _kinds.get(name)
        if kind is None:
            made = type(name, (Node,), {"__slots__": (), "__module__": Node.__module__})
            kind = _kinds.setdefault(name, made)
            named_kinds.add(kind)
        node.__class__ = kind
    return node


def function_at(edge: Edge | None) -> tuple[GradFn | None, int]:
    """PyTorch's view of an edge: what it leads to, and which of its outputs (see ``next_functions``)."""
    if edge is None:
        return None, 0
    if isinstance(edge, tuple):
        return named(edge[0]), edge[1]
    return (named(edge) if isinstance(edge, Node) else edge._accumulation()), 0


def new_node(
    name: str,
    vjp: Vjp,
    inputs: Sequence[Tensor],
    outputs: tuple[Layout, ...],
    meta: object = None,
) -> Node:
    """A node over ``inputs`` that saves nothing yet."""
    edges: list[Edge | None] = []
    layouts = []
    for t in inputs:
        edges.append(edge_of(t) if t._tracked else None)
        layouts.append(t.layout)
    made: Node = node(name, vjp, edges, layouts, outputs, meta)
    if anomalies and state.anomaly:
        made.extras = Extras()
        made.extras.trace = traceback.StackSummary.from_list(traceback.extract_stack()[:-2])
    return made


def connect(node: Node, results: Sequence[Tensor]) -> None:
    """Make ``results`` the outputs of ``node``; indices and the like lie outside the graph."""
    for index, result in enumerate(results):
        if result.layout.dtype.has_gradient:
            result._tracked = True
            result._node = node
            result._index = index


# Bound once, when the first node is made, to machine code or to plain Python; callers go by way of this
# module.
#
# - ``node(name, vjp, edges, inputs, outputs, meta)``: a node without a trace for anomaly mode;
# - ``record_by_template(templates, out, *tensors)``: make ``out`` the output of a node over ``tensors``, by a template for
#   the bits of those that are tracked; None where that takes the long way. See
#   :mod:`tilegrad.autograd.native_record`.


def _first_node(*fields: Any) -> Node:
    _bind()
    return node(*fields)


def _first_record(*args: Any) -> Tensor | None:
    _bind()
    return record_by_template(*args)


node: Callable[..., Node] = _first_node
record_by_template: Callable[..., Tensor | None] = _first_record


_tensor: type[Array] = Array


def bind_to(base: type[Array]) -> None:
    """``base`` has the slots of tensors: what a tensor is, only the module above knows."""
    global _tensor
    _tensor = base


def _bind() -> None:
    global node, record_by_template
    with compiler:
        number = ctypes.addressof(_sequence)
        node, record_by_template = chosen(
            lambda: native_record.compile_recording(Node, _tensor, SavedOutput, anomalies, number),
            lambda: (_plain_node, _plain_record),
        )


_number = fork_lock(DATA)


def _plain_node(
    name: str,
    vjp: Vjp,
    edges: Sequence[Edge | None],
    inputs: Sequence[Layout],
    outputs: tuple[Layout, ...],
    meta: object,
) -> Node:
    """``node`` in Python."""
    made = object.__new__(Node)
    made.op, made.vjp, made.edges, made.inputs = name, vjp, edges, inputs
    made.outputs, made.meta, made.extras = outputs, meta, None
    made.saved = made.versions = ()
    with _number:
        _sequence.value += 1
        made.sequence = _sequence.value
    return made


def _plain_record(*args: object) -> None:
    """``record_by_template`` in Python: the long way, always."""


def tied(origin: Node, grad: Tensor) -> Tensor:
    """``grad``, which a VJP of ``origin`` worked out without its inputs, as a function of them whose
    derivative is zero: under ``create_graph`` only, where a second derivative may be asked for.
    """
    if not state.grad:
        return grad
    edges = [edge_of(grad) if grad._tracked else None, *origin.edges]
    result = detached_view(grad)
    inputs = [grad.layout, *origin.inputs]
    result._node = node(origin.op + "_backward", _tied_vjp, edges, inputs, (grad.layout,), None)
    result._tracked = True
    return result


def called(name: str, result: Tensor) -> Tensor:
    """``result``, which the last of several ops has just made: its node gets the name of what they are
    together.
    """
    made = result._node
    if made is not None:
        made.op = name
    return result


def _tied_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    zeros = zip(node.edges[1:], node.inputs[1:], strict=True)
    return grad, *[None if edge is None else zeros_of(kind) for edge, kind in zeros]


class GradientEdge(NamedTuple):
    """A place in the graph, that gradients are asked for at, or sent from: output ``output_nr`` of
    ``node``, or a leaf, whose node is at the end.
    """

    node: Any  # a Node, or the AccumulateGrad of a leaf
    output_nr: int
    ownership_token: object = None  # PyTorch's; a node here keeps the graph behind it alive

    @property
    def edge(self) -> Edge:
        """The same place as the graph has it."""
        node = self.node
        if not isinstance(node, Node):
            return node.variable  # type: ignore[no-any-return]
        return (node, self.output_nr) if self.output_nr else node

    @property
    def layout(self) -> Layout:
        """Of the tensor that the place belongs to."""
        node = self.node
        if isinstance(node, Node):
            return node.outputs[self.output_nr]
        return node.variable.layout  # type: ignore[no-any-return]


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where the gradient of ``tensor`` is worked out.

    Raises:
        RuntimeError: it requires no gradient.
    """
    if not tensor.requires_grad:
        raise RuntimeError(
            "get_gradient_edge: It is not possible to get the gradient edge for a Tensor that does "
            "not require gradients"
        )
    return GradientEdge(*function_at(edge_of(tensor)))


def edge_of(tensor: Tensor) -> Edge:
    """Where the gradient of ``tensor`` flows to; it asks for one."""
    node = tensor._node
    if node is None:
        return tensor
    return (node, tensor._index) if tensor._index else node


def refuse_inference(name: str) -> None:
    """Raise: what was made in inference mode is to be saved."""
    raise RuntimeError(
        f"{name}: Inference tensors cannot be saved for backward. Please do not use Tensors created "
        f"in inference mode in computation tracked by autograd. To work around this, you can make a "
        f"clone to get a normal tensor and use it in autograd, or use `tilegrad.no_grad()` instead "
        f"of `tilegrad.inference_mode()`."
    )


def _packed(name: str, value: Array) -> Packed | Array:
    """``value``, which a node saves, as its hooks keep it."""
    if value.storage.version < 0:
        refuse_inference(name)
    if isinstance(value, SavedOutput):
        return packed(detached_view(value), None, value.index)
    given = tensor_of(value)
    if not given.layout.ndim and number_of(given) is not None:
        return value  # the program has no such tensor
    return packed(given, edge_of(given) if given._tracked else None, None)


def _opened(origin: Node, value: Packed) -> Tensor:
    """What the hooks kept of a tensor of ``origin``, in its place of the graph."""
    made = detached_view(value.opened())
    if value.output is not None:
        if made.layout.dtype.is_floating_point:
            made._tracked, made._node, made._index = True, origin, value.output
    elif value.edge is not None and state.grad:
        alias = node("alias", _alias_vjp, [value.edge], [made.layout], (made.layout,), None)
        made._tracked, made._node = True, alias
    return made


def _alias_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (grad,)


def _rebuild(node: Node, value: SavedOutput) -> Tensor:
    tensor = detached_view(value)
    if value.layout.dtype.has_gradient:  # indices lie outside the graph
        tensor._tracked = True
        tensor._node = node
        tensor._index = value.index
    return tensor


@overload
def shared_view(grad: Tensor) -> Tensor: ...
@overload
def shared_view(grad: None) -> None: ...
def shared_view(grad: Tensor | None) -> Tensor | None:
    """A new tensor over the same memory, which then counts as shared, for a caller that may keep it."""
    return grad if grad is None or grad._tracked else detached_view(grad)

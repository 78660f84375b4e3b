"""Custom functions: a forward and a backward written by the user, as one node of the graph."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import CUSTOM, TensorBase, detached_view, refuse_view
from tilegrad.autograd.custom_call import CustomCall
from tilegrad.autograd.graph import (
    Node,
    SavedOutput,
    connect,
    new_node,
    shared_view,
)
from tilegrad.autograd.mode import _Switch, state
from tilegrad.autograd.rule import Rule, needs_graph, rebase
from tilegrad.engine.array import Array
from tilegrad.engine.shape import Shape

T = TypeVar("T")


class FunctionCtx:
    """What ``forward`` leaves for ``backward``. Any attribute may be set on it."""

    def __init__(self) -> None:
        self._to_save: tuple[Tensor | None, ...] = ()
        self._node: Any = None  # a weak reference, for the node keeps this
        self._non_differentiable: set[int] = set()
        self._dirty: tuple[Tensor, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or others; changing them later in place is then an error.

        Raises:
            TypeError: one is neither a tensor nor None.
        """
        for place, value in enumerate(tensors):
            if value is not None and not isinstance(value, TensorBase):
                raise TypeError(
                    f"save_for_backward: save_for_backward can only save variables, but argument "
                    f"{place} is of type {type(value).__name__}"
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """What :meth:`save_for_backward` kept; empty while ``forward`` runs."""
        if self._node is None:
            return ()
        node = self._node()
        if node is None:
            raise RuntimeError(
                "saved_tensors: Trying to directly access saved tensors after they have already been "
                "freed: nobody holds the graph any more"
            )
        return tuple(node.unpack())

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs get no gradient."""
        self._non_differentiable = {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """These inputs were written over, and are returned.

        Raises:
            RuntimeError: one is no tensor.
        """
        for value in tensors:
            if not isinstance(value, TensorBase):
                raise RuntimeError(
                    f"mark_dirty: mark_dirty can only accept variables; got {type(value).__name__}"
                )
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing gradients arrive in ``backward`` as zeros (default) or None.

        Raises:
            TypeError: ``value`` is no bool.
        """
        if not isinstance(value, bool):
            raise TypeError(f"set_materialize_grads: expected a bool; got {type(value).__name__}")
        self._materialize = value


class Function:
    """Subclass with static ``forward(ctx, *args)`` and ``backward(ctx, *grads)``; use ``apply``.

    ``backward`` is recorded itself under ``create_graph``, so it is differentiable as far as the
    functions it calls are. A subclass may define ``setup_context(ctx, inputs, output)``; then
    ``forward`` takes no ``ctx``.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs from plain values."""
        raise NotImplementedError(
            "Function: You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what ``backward`` needs."""
        raise NotImplementedError("Function: setup_context is not defined")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient, or None, per argument of ``forward``."""
        raise NotImplementedError(
            "Function: You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args: object, **kwargs: object) -> Any:
        """Run ``forward`` and record the call."""
        context = FunctionCtx()
        tensors = tuple(a for a in args if isinstance(a, TensorBase))
        recording = state.grad and needs_graph(tensors) > 0
        context.needs_input_grad = tuple([isinstance(a, TensorBase) and a._tracked for a in args])
        with _Switch(False):
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, output)
            else:
                output = cls.forward(context, *args, **kwargs)
        outputs = output if isinstance(output, tuple) else (output,)
        _check_dirty(cls.__name__, context._dirty, outputs, recording)
        if recording:
            results = cls._record(context, args, tensors, outputs)
        else:
            inputs, dirty = {id(t) for t in tensors}, {id(t) for t in context._dirty}
            results = [_unrecorded(o, inputs, dirty) for o in outputs]
        return tuple(results) if isinstance(output, tuple) else results[0]

    @classmethod
    def _record(
        cls,
        context: FunctionCtx,
        args: tuple[object, ...],
        tensors: tuple[Tensor, ...],
        outputs: tuple[Any, ...],
    ) -> list[Any]:
        """``outputs`` as outputs of a new node: written inputs as they are, the others under new
        handles; a part of an input stays known as one.
        """
        dirty = {id(t) for t in context._dirty}
        inputs = {id(t) for t in tensors}
        call = CustomCall(
            cls, context, [i for i, a in enumerate(args) if isinstance(a, TensorBase)], len(args)
        )
        results: list[Any] = []
        for value in outputs:
            if isinstance(value, TensorBase) and id(value) not in dirty:
                value = _another(value, inputs)
                if value._base is not None:
                    call.views.add(sum(isinstance(r, TensorBase) for r in results))
            results.append(value)
        call.outputs = [i for i, r in enumerate(results) if isinstance(r, TensorBase)]
        call.count = len(results)
        returned = tuple([results[i] for i in call.outputs])
        layouts = tuple([r.layout for r in returned])
        node = new_node(cls.__name__, _vjp, tensors, layouts, call)
        connect(node, returned)
        context._node = weakref.ref(node)
        context._dirty = ()
        _save(context, node, outputs, results, inputs - dirty)
        for index, place in enumerate(call.outputs):
            value, result = outputs[place], results[place]
            if id(value) in context._non_differentiable:
                if result is not value and id(value) in inputs and value._tracked:
                    result._base = None  # no view, but the input's memory out of the graph
                result._tracked = False
                result._node = None
                result._index = 0 if result._base is None else CUSTOM
            elif id(value) in dirty and result._tracked:
                rebase(result, node, index)
        return results


def _another(value: Tensor, inputs: set[int]) -> Tensor:
    """Another handle of what ``forward`` returned: a view if that is one, or one of the ``inputs``."""
    made = detached_view(value)
    base = value if value._base is None and id(value) in inputs else value._base
    if base is not None:
        made._base, made._epoch, made._index = base, base._epoch, CUSTOM
    return made


def _unrecorded(value: object, inputs: set[int], dirty: set[int]) -> object:
    """What becomes of ``value``, which ``forward`` returned, where no node is made: no part of a graph."""
    if not isinstance(value, TensorBase) or (id(value) in dirty and not value._tracked):
        return value
    if id(value) in inputs and value._tracked:
        return detached_view(value)
    if id(value) in inputs or value._base is not None:
        return _another(value, inputs)
    return detached_view(value) if value._tracked else value


def _check_dirty(
    name: str, dirty: tuple[Tensor, ...], outputs: tuple[object, ...], recording: bool
) -> None:
    """Refuse written inputs that are not returned, or whose history cannot be replaced."""
    returned = {id(o) for o in outputs}
    if any(id(t) not in returned for t in dirty):
        raise RuntimeError(
            f"{name}: Some elements marked as dirty during the forward method were not returned as "
            f"output. The inputs that are modified inplace must all be outputs of the Function."
        )
    for tensor in dirty if recording else ():
        if tensor._tracked and tensor._node is None:
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad has been used in an in-place operation."
            )
        base = tensor._base
        if base is not None:
            refuse_view(name, tensor, "is being")
        if base is not None and base._tracked and base._node is None:
            raise RuntimeError(
                f"{name}: a view of a leaf Variable that requires grad is being used in an in-place "
                f"operation."
            )


def _save(
    context: FunctionCtx,
    node: Node,
    outputs: tuple[object, ...],
    results: list[Any],
    kept_inputs: set[int],
) -> None:
    """Save what ``forward`` named: an output as such, for the tensor would be a cycle."""
    places = {id(o): r for o, r in zip(outputs, results, strict=True)}
    kept: list[Array | None] = []
    for value in context._to_save:
        result = None if value is None or id(value) in kept_inputs else places.get(id(value))
        kept.append(value if result is None else SavedOutput(result, result._index))
    node.save(*kept)
    context._to_save = ()


def _vjp(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
    call: CustomCall = node.meta
    kind, name = call.kind, f"{call.kind.__name__}Backward"
    given: list[object] = [None] * call.count
    for place, grad in zip(call.outputs, grads, strict=True):
        given[place] = grad
    found = _backward_of(kind)(call.context, *given)
    if not isinstance(found, tuple):
        found = (found,)
    if len(found) < call.arguments or any(f is not None for f in found[call.arguments :]):
        raise RuntimeError(
            f"function {name} returned an incorrect number of gradients "
            f"(expected {call.arguments}, got {len(found)})"
        )
    for place, grad in enumerate(found):
        if grad is None:
            continue
        if place not in call.positions:
            raise RuntimeError(
                f"function {name} returned a gradient different than None at position "
                f"{place + 1}, but the corresponding forward input was not a Variable"
            )
        if not isinstance(grad, TensorBase):
            raise RuntimeError(f"{name}: expected Variable or None (got {type(grad).__name__})")
    by_input = [found[p] for p in call.positions]
    for place, (grad, layout) in enumerate(zip(by_input, node.inputs, strict=True)):
        if grad is not None and node.edges[place] is not None:
            _check_shape(name, place, grad.layout.shape, layout.shape)
    return tuple([shared_view(grad) for grad in by_input])  # saved tensors may be among them


def _check_shape(name: str, place: int, have: Shape, want: Shape) -> None:
    """A gradient may have more than its input's shape, from broadcasting; never less."""
    behind = have[len(have) - len(want) :] if len(have) >= len(want) else None
    if behind is None or any(w not in (1, h) for h, w in zip(behind, want, strict=True)):
        raise RuntimeError(
            f"Function {name} returned an invalid gradient at index {place} - got {list(have)} but "
            f"expected shape compatible with {list(want)}"
        )


def _backward_of(kind: type[Function]) -> Callable[..., object]:
    if kind.vjp is Function.vjp:
        return kind.backward
    if kind.backward is Function.backward:
        return kind.vjp
    raise RuntimeError(
        f"{kind.__name__}: Implementing both 'backward' and 'vjp' for a custom Function is not "
        f"allowed. You should only implement one of them."
    )


def once_differentiable(function: Callable[..., T]) -> Callable[..., T]:
    """Decorator of ``backward``: its results cannot be differentiated again, and say so."""

    @functools.wraps(function)
    def backward(ctx: object, *grads: object) -> Any:
        with _Switch(False):
            found = function(ctx, *grads)
        inputs = tuple([g for g in grads if isinstance(g, TensorBase)])
        if not (state.grad and needs_graph(inputs)):
            return found
        several = found if isinstance(found, tuple) else (found,)
        made = [detached_view(f) if isinstance(f, TensorBase) else f for f in several]
        results: Any = tuple([m for m in made if m is not None])
        _ONCE.record_all(inputs, results)
        return tuple(made) if isinstance(found, tuple) else made[0]

    return backward


def _refuse(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
    raise RuntimeError(
        "once_differentiable: trying to differentiate twice a function that was marked with "
        "@once_differentiable"
    )


_ONCE = Rule("once_differentiable", _refuse)

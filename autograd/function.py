"""Custom functions: a forward and a backward written by the user, as one node of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import TensorBase, alias, needs_graph, record
from tilegrad.autograd.graph import Node, another
from tilegrad.autograd.mode import _Switch, state

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor


class FunctionCtx:
    """What ``forward`` leaves for ``backward``. Any attribute may be set on it."""

    def __init__(self) -> None:
        self._to_save: tuple[Tensor | None, ...] = ()
        self._node: Node | None = None
        self._non_differentiable: set[int] = set()
        self._dirty: tuple[Tensor, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs; changing them later in place is then an error."""
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """What :meth:`save_for_backward` kept."""
        assert self._node is not None
        return tuple(self._node.unpack())

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs get no gradient."""
        self._non_differentiable = {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """These inputs were written over, and are returned."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing gradients arrive in ``backward`` as zeros (default) or None."""
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
        raise NotImplementedError("Function: a subclass must define the static method forward")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what ``backward`` needs."""
        raise NotImplementedError("Function: setup_context is not defined")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient, or None, per argument of ``forward``."""
        raise NotImplementedError("Function: a subclass must define the static method backward")

    vjp = backward

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` and record the call."""
        context = FunctionCtx()
        tensors = tuple(a for a in args if isinstance(a, TensorBase))
        recording = state.grad and needs_graph(tensors)  # type: ignore[arg-type]
        context.needs_input_grad = tuple(
            recording and isinstance(a, TensorBase) and a._tracked for a in args
        )
        with _Switch(False):
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, output)
            else:
                output = cls.forward(context, *args, **kwargs)
        if not recording:
            return output
        return cls._record(context, args, tensors, output)

    @classmethod
    def _record(
        cls, context: FunctionCtx, args: tuple[Any, ...], tensors: tuple[Any, ...], output: Any
    ) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        given = {id(t): t for t in tensors}
        dirty = {id(t) for t in context._dirty}
        results = []
        for value in outputs:
            if not isinstance(value, TensorBase):
                results.append(value)
            elif id(value) in dirty:
                results.append(value)
            else:  # an input passed through, or a fresh tensor: a new handle on the same memory
                results.append(alias(value))
        made = tuple(r for r in results if isinstance(r, TensorBase))
        positions = [i for i, a in enumerate(args) if isinstance(a, TensorBase)]
        node = record(cls.__name__, _vjp, tensors, made, (), (cls, context, positions, len(args)))  # type: ignore[arg-type]
        context._node = node
        _save(context, node, outputs, results, given)
        for value, result in zip(outputs, results, strict=True):
            if id(value) in context._non_differentiable:
                result._tracked = False
                result._node = None
        return tuple(results) if isinstance(output, tuple) else results[0]


def _save(
    context: FunctionCtx,
    node: Node,
    outputs: tuple[Any, ...],
    results: list[Any],
    given: dict[int, Any],
) -> None:
    from tilegrad.autograd.graph import SavedOutput

    places = {id(o): r for o, r in zip(outputs, results, strict=True)}
    kept: list[Any] = []
    for value in context._to_save:
        result = None if value is None or id(value) in given else places.get(id(value))
        kept.append(value if result is None else SavedOutput(result, result._index))
    node.save(*kept)
    context._to_save = ()


def _vjp(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
    kind, context, positions, count = node.meta
    found = kind.backward(context, *grads)
    if not isinstance(found, tuple):
        found = (found,)
    if len(found) < count or any(f is not None for f in found[count:]):
        raise RuntimeError(
            f"function {kind.__name__}Backward returned an incorrect number of gradients "
            f"(expected {count}, got {len(found)})"
        )
    return tuple([another(found[p]) for p in positions])  # saved tensors may be among them

"""Checkpoints: parts of a graph that are computed once more instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar, cast

from tilegrad.autograd.function import Function, FunctionCtx
from tilegrad.autograd.gradients import grad
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import enable_grad, is_grad_enabled
from tilegrad.autograd.rules.creation import ones
from tilegrad.autograd.rules.random import get_rng_state, random_state
from tilegrad.autograd.tensor import Tensor

Context = AbstractContextManager[object]
R = TypeVar("R")

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]


class CheckpointError(RuntimeError):
    """A function did something else the second time."""


class _Context(FunctionCtx):
    """What :class:`_Again` keeps beside tensors."""

    call: _Call


class _Again(Function):
    """The outputs of a call that was made already, of inputs that its graph leads to."""

    @staticmethod
    def forward(ctx: _Context, call: _Call, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.save_for_backward(*inputs)
        return tuple(call.outputs.pop(0).detach() for _ in range(call.count))

    @staticmethod
    def backward(ctx: object, *grads: object) -> tuple[Tensor | None, ...]:
        context = cast(_Context, ctx)
        given = [g if isinstance(g, Tensor) else None for g in grads]
        return (None, *context.call.gradients(context.saved_tensors, given))


def _leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_(x.requires_grad)


class _Call:
    """A function with its arguments, and the random state it saw."""

    def __init__(
        self, function: Callable[..., object], args: Sequence[object], kwargs: dict[str, object]
    ):
        self.function, self.args, self.kwargs = function, tuple(args), kwargs
        self.places = [k for k, a in enumerate(args) if isinstance(a, Tensor)]
        self.state: Tensor | None = None
        self.outputs: list[Tensor] = []
        self.kinds: list[object] = []
        self.count = 0
        self.contexts: tuple[Context, Context] = (nullcontext(), nullcontext())
        self.given = 0  # inputs that are arguments

    def run(
        self, tensors: Sequence[Tensor], context: Context, linked: bool = False
    ) -> tuple[object, list[Tensor], list[Tensor]]:
        """(the result, the differentiable outputs in it, what stands for the arguments: leaves, or views that keep the graph)"""
        args, leaves = list(self.args), list[Tensor]()
        for place, each in zip(self.places, tensors, strict=True):
            with enable_grad():
                leaves.append(each.view_as(each) if linked else _leaf(each))
            args[place] = leaves[-1]
        with enable_grad(), context:
            result = self.function(*args, **self.kwargs)
        values = result if isinstance(result, (tuple, list)) else (result,)
        return result, [v for v in values if isinstance(v, Tensor) and v.requires_grad], leaves

    def gradients(
        self, inputs: Sequence[Tensor], grads: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """The gradients of ``inputs`` (arguments, then leaves from elsewhere), by a second run."""
        again = is_grad_enabled()
        with random_state(self.state):
            _, outputs, leaves = self.run(inputs[: self.given], self.contexts[1], again)
        kinds = [(o.shape, o.dtype) for o in outputs]
        if kinds != self.kinds:
            raise CheckpointError(
                f"checkpoint: Recomputed values have different metadata than during the forward "
                f"pass; got {kinds} instead of {self.kinds}"
            )
        asked = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
        wanted = [*leaves, *inputs[self.given :]]
        tracked = [w for w in wanted if w.requires_grad]
        outs, starts = (list(part) for part in zip(*asked, strict=True))
        with enable_grad():
            found = iter(grad(outs, tracked, starts, create_graph=again, allow_unused=True))
        return [next(found) if w.requires_grad else None for w in wanted]


def _elsewhere(outputs: list[Tensor], own: list[Tensor], first: int) -> list[Tensor]:
    """The leaves, other than ``own``, that the graph of ``outputs`` leads to.

    Raises:
        RuntimeError: it leads to a node older than ``first``: to a tensor that is no leaf.
    """
    seen: set[int] = {id(leaf) for leaf in own}
    found: list[Tensor] = []
    left: list[object] = [o.grad_fn if o.grad_fn is not None else o for o in outputs]
    while left:
        edge = left.pop()
        edge = edge[0] if isinstance(edge, tuple) else edge
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        if isinstance(edge, Tensor):
            found.append(edge)
            continue
        assert isinstance(edge, Node)
        if edge.sequence < first:
            raise RuntimeError(
                "checkpoint: the function reads a tensor that is neither an argument nor a leaf; "
                "pass it as an argument"
            )
        else:
            left += edge.edges
    return found


def checkpoint(
    function: Callable[..., R],
    *args: object,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Context, Context]] | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: object,
) -> R:
    """``function(*args, **kwargs)`` of which the backward pass keeps the arguments alone.

    It is called once more in the backward pass, with the default generator where it was, so that
    dropout drops the same. Gradients of any order, also of parameters that it reads.

    Args:
        function: gives a tensor, or a tuple or list with tensors.
        context_fn: gives two context managers, around the first call and the second.
        preserve_rng_state: put the generator back for the second call.
        use_reentrant, early_stop, debug, determinism_check: accepted; there is one way, and shapes
            and dtypes are compared unless the last is ``"none"``.

    Raises:
        CheckpointError: the second call gave other shapes or dtypes (in the backward pass).
        RuntimeError: the function reads a tensor that is neither an argument nor a leaf.
    """
    if determinism_check not in ("default", "none"):
        raise RuntimeError(
            f"checkpoint: determinism_check must be 'default' or 'none'; got {determinism_check!r}"
        )
    if not is_grad_enabled():
        return function(*args, **kwargs)
    call = _Call(function, args, kwargs)
    if context_fn is not None:
        call.contexts = context_fn()
    call.state = get_rng_state() if preserve_rng_state else None
    mark = (ones(1).requires_grad_() * 1).grad_fn
    assert isinstance(mark, Node)
    given = [a for a in args if isinstance(a, Tensor)]
    whole, outputs, leaves = call.run(given, call.contexts[0])
    if not outputs:
        return cast(R, whole)
    inputs = [*given, *_elsewhere(outputs, leaves, mark.sequence)]
    call.given, call.count = len(given), len(outputs)
    call.kinds = [(o.shape, o.dtype) for o in outputs]
    call.outputs = list(outputs)
    made = iter(_Again.apply(call, *inputs))
    if not isinstance(whole, (tuple, list)):
        return cast(R, next(made))
    kept = [next(made) if isinstance(v, Tensor) and v.requires_grad else v for v in whole]
    kind: Callable[..., object] = type(whole)
    return cast(R, kind(kept) if kind in (tuple, list) else kind(*kept))


def checkpoint_sequential(
    functions: Iterable[Callable[[Tensor], Tensor]],
    segments: int,
    input: Tensor,
    use_reentrant: bool | None = None,
    *,
    preserve_rng_state: bool = True,
) -> Tensor:
    """The functions one after the other, checkpointed in ``segments`` parts, the last one kept.

    Args:
        functions: modules or functions, or an ``nn.Sequential``.
        use_reentrant, preserve_rng_state: as :func:`checkpoint`.
    """
    parts = list(functions)

    def through(begin: int, end: int) -> Callable[[Tensor], Tensor]:
        def run(value: Tensor) -> Tensor:
            for part in parts[begin:end]:
                value = part(value)
            return value

        return run

    size, end = len(parts) // segments, 0
    for begin in range(0, size * (segments - 1), size) if size else ():
        end = begin + size
        input = checkpoint(
            through(begin, end),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
    return through(end, len(parts))(input)

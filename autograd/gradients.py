"""``backward`` and ``grad``, PyTorch's arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tilegrad.autograd import traversal
from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, zeros_of
from tilegrad.autograd.graph import GradientEdge
from tilegrad.autograd.rules.movement import stack
from tilegrad.autograd.traversal import Target
from tilegrad.engine.array import layout

# cotangents as they were given, one per output; None for ones
Given = Sequence[Tensor | None] | None


def _sequence(value: Target | Sequence[Target | None] | None) -> list[Any]:
    if isinstance(value, TensorBase) or value is None:
        return [value]
    return [value] if isinstance(value, GradientEdge) else list(value)


def _differentiable(op: str, values: list[Target]) -> list[Target]:
    """``values``, all of them tensors or edges.

    Raises:
        TypeError: one is not.
    """
    for place, value in enumerate(values):
        if not isinstance(value, (TensorBase, GradientEdge)):
            raise TypeError(f"{op}: element {place} must be a Tensor; got {type(value).__name__}")
    return values


def backward(
    tensors: Target | Sequence[Target],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Target | Sequence[Target] | None = None,
) -> None:
    """Add the gradients of ``tensors`` to ``.grad`` of every leaf, or of ``inputs`` only.

    An edge (:func:`tilegrad.autograd.graph.get_gradient_edge`) may stand for a tensor, here and in :func:`grad`;
    as one of ``inputs`` it has a ``.grad`` if it is a leaf's.
    """
    roots = _differentiable("backward", _sequence(tensors))
    given = None if grad_tensors is None else _sequence(grad_tensors)
    if inputs is None:
        traversal.backward(roots, given, retain_graph, create_graph)
        return
    leaves = _sequence(inputs)
    if not leaves:
        raise RuntimeError("backward: 'inputs' argument cannot be empty.")
    wanted = _differentiable("backward", leaves)
    traversal.backward(roots, given, retain_graph, create_graph, wanted, accumulate=True)


def grad(
    outputs: Target | Sequence[Target],
    inputs: Target | Sequence[Target],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, leaving every ``.grad`` alone.

    With ``is_grads_batched`` the first dimension of ``grad_outputs`` counts them: one pass for each,
    and every gradient has that dimension too.

    Raises:
        RuntimeError: an input does not require a gradient, or (unless ``allow_unused``) was not
            used.
        ValueError: ``materialize_grads`` with ``allow_unused=False``, or ``only_inputs=False``.
    """
    if not only_inputs:
        raise ValueError("grad: only_inputs must be True; use backward to accumulate in leaves")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "grad: Expected allow_unused to be True or not passed when materialize_grads=True, but "
            "got: allow_unused=False."
        )
    roots = _differentiable("grad", _sequence(outputs))
    wanted = _differentiable("grad", _sequence(inputs))
    if not wanted:
        raise ValueError("grad: grad requires non-empty inputs.")
    for tensor in wanted:
        if not isinstance(tensor, GradientEdge) and not tensor.requires_grad:
            raise RuntimeError("grad: One of the differentiated Tensors does not require grad")
    given = None if grad_outputs is None else _sequence(grad_outputs)
    unused = materialize_grads if allow_unused is None else allow_unused

    def once(starts: Given, retain: bool | None) -> list[Tensor | None]:
        return traversal.backward(roots, starts, retain, create_graph, wanted, allow_unused=unused)

    if is_grads_batched:
        found = _batched(once, given, create_graph if retain_graph is None else retain_graph)
    else:
        found = once(given, retain_graph)
    if materialize_grads:
        pairs = zip(found, wanted, strict=True)
        if any(f is None and isinstance(w, GradientEdge) for f, w in pairs):
            raise RuntimeError(
                "grad: materialize_grads cannot be used when the given input is a GradientEdge"
            )
        count = (_batch(given),) if is_grads_batched else ()
        kinds = [w.layout for w in wanted]
        found = [
            zeros_of(layout((*count, *k.shape), k.dtype, k.device)).requires_grad_(create_graph)
            if f is None
            else f
            for f, k in zip(found, kinds, strict=True)
        ]
    return tuple(found)


def _batch(given: Given) -> int:
    """How many cotangents each of ``given`` has."""
    sizes = {len(g) for g in given or () if g is not None}
    if len(sizes) != 1:
        raise RuntimeError(
            f"grad: is_grads_batched needs grad_outputs of one size in dimension 0; got {sizes}"
        )
    return int(sizes.pop())


def _batched(
    once: Callable[[Given, bool | None], list[Tensor | None]], given: Given, retain: bool
) -> list[Tensor | None]:
    """The gradients of every cotangent, stacked."""
    count = _batch(given)
    passes = [
        once([None if g is None else g[i] for g in given or ()], retain or i + 1 < count)
        for i in range(count)
    ]
    return [None if each[0] is None else stack(each) for each in zip(*passes, strict=True)]

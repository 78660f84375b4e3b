"""``backward`` and ``grad``, PyTorch's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilegrad.autograd import traversal
from tilegrad.autograd.base import TensorBase, zeros_of

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor


def _sequence(value: Any) -> list[Any]:
    return [value] if isinstance(value, TensorBase) or value is None else list(value)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of ``tensors`` to ``.grad`` of every leaf, or of ``inputs`` only."""
    roots = _sequence(tensors)
    given = None if grad_tensors is None else _sequence(grad_tensors)
    if inputs is None:
        traversal.backward(roots, given, retain_graph, create_graph)
        return
    leaves = _sequence(inputs)
    if not leaves:
        raise RuntimeError("backward: 'inputs' argument cannot be empty.")
    found = traversal.backward(roots, given, retain_graph, create_graph, leaves)
    for leaf, value in zip(leaves, found, strict=True):
        if value is not None:
            leaf.grad = value if leaf.grad is None else leaf.grad + value


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, leaving every ``.grad`` alone.

    Raises:
        RuntimeError: an input does not require a gradient, or (unless ``allow_unused``) was not
            used.
    """
    wanted = _sequence(inputs)
    for tensor in wanted:
        if not tensor.requires_grad:
            raise RuntimeError("grad: One of the differentiated Tensors does not require grad")
    given = None if grad_outputs is None else _sequence(grad_outputs)
    unused = materialize_grads if allow_unused is None else allow_unused
    found = traversal.backward(
        _sequence(outputs), given, retain_graph, create_graph, wanted, allow_unused=unused
    )
    if materialize_grads:
        found = [zeros_of(w.layout) if f is None else f for f, w in zip(found, wanted, strict=True)]
    return tuple(found)

"""Hooks on tensors: on leaves they see the gradient before it is accumulated, on others before the
node that made them runs its VJP.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.graph import RemovableHandle

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor


def register(tensor: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call ``hook(grad)`` for this tensor's gradient.

    Raises:
        RuntimeError: the tensor requires no gradient.
    """
    if not tensor.requires_grad:
        raise RuntimeError(
            "register_hook: cannot register a hook on a tensor that doesn't require gradient"
        )
    node = tensor.grad_fn
    if node is None:
        if tensor._hooks is None:
            tensor._hooks = []
        return RemovableHandle(tensor._hooks, hook)
    index = tensor._index

    def on_node(grads: tuple[Tensor | None, ...]) -> Any:
        grad = grads[index]
        changed = None if grad is None else hook(grad)
        if changed is None:
            return None
        return (*grads[:index], changed, *grads[index + 1 :])

    handle: RemovableHandle = node.register_prehook(on_node)
    return handle


def register_post_accumulate(tensor: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Call ``hook(leaf)`` after its ``.grad`` was updated."""
    if not tensor.is_leaf:
        raise RuntimeError(
            "register_post_accumulate_grad_hook: post accumulate grad hooks cannot be registered "
            "on non-leaf tensors"
        )
    if tensor._post_hooks is None:
        tensor._post_hooks = []
    return RemovableHandle(tensor._post_hooks, hook)


def retain(tensor: Tensor) -> None:
    """Keep the gradient of a non-leaf in its ``.grad``."""
    node, index = tensor.grad_fn, tensor._index
    assert node is not None
    target = weakref.ref(tensor)

    def keep(grads: tuple[Tensor | None, ...]) -> None:
        alive, grad = target(), grads[index]
        if alive is not None and grad is not None:
            alive.grad = grad if alive.grad is None else alive.grad + grad

    node.register_prehook(keep)

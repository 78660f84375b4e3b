"""Hooks on tensors: on leaves they see the gradient before it is accumulated, on others before the
node that made them runs its VJP.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.graph import GradFn, Hook, RemovableHandle, shared_view


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

    def on_node(grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
        grad = grads[index]
        changed = None if grad is None else hook(grad)
        if changed is None:
            return None
        check_hooked(hook, changed, grad)
        return (*grads[:index], changed, *grads[index + 1 :])

    return node.register_prehook(on_node)


def register_post_accumulate(tensor: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Call ``hook(leaf)`` after its ``.grad`` was updated."""
    if not tensor.is_leaf:
        raise RuntimeError(
            "register_post_accumulate_grad_hook: post accumulate grad hooks cannot be registered "
            "on non-leaf tensors"
        )
    return RemovableHandle(leaf_hooks(tensor).tensor, hook)


class LeafHooks:
    """Hooks around the accumulation of a leaf's gradient; :func:`register` has those before.

    Attributes:
        node: a weak reference to the leaf's :class:`AccumulateGrad`.
        pre, post: hooks of that node. tensor: of the leaf, between the two.
    """

    __slots__ = ("node", "post", "pre", "tensor")

    def __init__(self) -> None:
        self.node: Callable[[], AccumulateGrad | None] = lambda: None
        self.pre: list[Hook] = []
        self.tensor: list[Hook] = []
        self.post: list[Hook] = []

    def before(self, grad: Tensor) -> Tensor:
        """What the hooks before the accumulation make of ``grad``."""
        for hook in list(self.pre):
            changed = hook((shared_view(grad),))
            if isinstance(changed, TensorBase):
                changed = (changed,)
            if changed is not None:
                (grad,) = check_hooked_all(hook, changed, (grad,))
        return grad

    def after(self, leaf: Tensor, grad: Tensor) -> None:
        """Call the hooks after the accumulation of ``grad``."""
        for hook in list(self.tensor):
            hook(leaf)
        for hook in list(self.post):
            changed = hook((), (shared_view(grad),))
            if changed is not None:
                check_hooked_all(hook, changed, ())


def leaf_hooks(leaf: Tensor) -> LeafHooks:
    """The hooks of a leaf, made when first asked for."""
    known = leaf._post_hooks
    if not isinstance(known, LeafHooks):
        known = leaf._post_hooks = LeafHooks()
    return known


class AccumulateGrad:
    """The end of the graph at a leaf: what adds to its ``.grad``. Its hooks are the leaf's, and live as
    long.

    Attributes:
        variable: the leaf.
    """

    __slots__ = ("__weakref__", "variable")

    next_functions: tuple[tuple[GradFn | None, int], ...] = ()

    def __init__(self, variable: Tensor):
        self.variable = variable

    def name(self) -> str:
        """PyTorch's name."""
        return "torch::autograd::AccumulateGrad"

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook((), (grad,))`` after ``grad`` was added to the leaf's."""
        return RemovableHandle(leaf_hooks(self.variable).post, hook)

    def register_prehook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook((grad,))`` before the gradient is added; it may replace it."""
        return RemovableHandle(leaf_hooks(self.variable).pre, hook)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


def accumulation(leaf: Tensor) -> AccumulateGrad:
    """The node of a leaf: the same one as long as somebody holds it."""
    known = leaf_hooks(leaf)
    found = known.node()
    if found is None:
        found = AccumulateGrad(leaf)
        known.node = weakref.ref(found)
    return found


def retain(tensor: Tensor) -> None:
    """Keep the gradient of a non-leaf in its ``.grad``."""
    node, index = tensor._node, tensor._index
    assert node is not None
    if tensor._hooks is not None:
        tensor._hooks.remove()
    target = weakref.ref(tensor)

    def keep(grads: tuple[Tensor | None, ...]) -> None:
        alive, grad = target(), grads[index]
        if alive is not None and grad is not None:
            alive.grad = grad if alive.grad is None else alive.grad + grad

    keep.last = True  # type: ignore[attr-defined]
    tensor._hooks = node.register_prehook(keep)


def in_order(hooks: list[Hook]) -> list[Hook]:
    """Those that keep a gradient see it as the others have left it."""
    return sorted(hooks, key=lambda hook: getattr(hook, "last", False))


def check_hooked(hook: object, changed: object, grad: object) -> None:
    """Refuse what a hook gave for ``grad``, unless it is a tensor of the same kind.

    Raises:
        TypeError: it is no tensor.
        RuntimeError: its shape, dtype or device differ.
    """
    if not isinstance(changed, TensorBase):
        raise TypeError(f"expected Variable, but hook returned '{type(changed).__name__}'")
    if not isinstance(grad, TensorBase):
        return
    name, have, want = getattr(hook, "__name__", "hook"), changed.layout, grad.layout
    if have.dtype is not want.dtype or have.device is not want.device:
        raise RuntimeError(
            f"hook '{name}' has changed the type of value (was {want.describe()} got "
            f"{have.describe()})"
        )
    if have.shape != want.shape:
        raise RuntimeError(f"hook '{name}' has changed the size of value")


def check_hooked_all(hook: object, changed: object, grads: Sequence[object]) -> list[Any]:
    """The same for a hook of a node, which gives a tuple."""
    if not isinstance(changed, (tuple, list)):
        raise TypeError(f"expected tuple, but hook returned '{type(changed).__name__}'")
    if len(changed) != len(grads):
        name = getattr(hook, "__name__", "hook")
        raise RuntimeError(
            f"hook '{name}' has returned an incorrect number of values (got {len(changed)}, but "
            f"expected {len(grads)})"
        )
    for value, grad in zip(changed, grads, strict=True):
        if value is not None:
            check_hooked(hook, value, grad)
    return [shared_view(value) for value in changed]


# ------------------------------------------------------------------------------- what is assigned


def _check_grad(tensor: Tensor, grad: object) -> None:
    if not isinstance(grad, TensorBase):
        raise TypeError(
            f"grad: assigned grad expected to be a Tensor or None but got grad of type "
            f"{type(grad).__name__}"
        )
    if grad is tensor:
        raise RuntimeError("grad: can't assign Variable as its own grad")
    have, want = grad.layout, tensor.layout
    if have.shape != want.shape:
        raise RuntimeError(
            f"grad: attempting to assign a gradient of size '{list(have.shape)}' to a tensor of size "
            f"'{list(want.shape)}'. Please ensure that the gradient and the tensor are the same size"
        )
    if have.dtype is not want.dtype or have.device is not want.device:
        raise RuntimeError(
            f"grad: attempting to assign a gradient of {have.describe()} to a tensor of "
            f"{want.describe()}. The gradient must match the tensor's dtype and device"
        )


def check_data(tensor: Tensor, value: object) -> None:
    """Refuse what cannot be the ``.data`` of ``tensor``.

    Raises:
        TypeError: it is no tensor.
        RuntimeError: it is not floating point, and ``tensor`` requires a gradient.
    """
    if not isinstance(value, TensorBase):
        raise TypeError(f"data: Variable data has to be a tensor, but got {type(value).__name__}")
    if tensor._tracked and not value.layout.dtype.has_gradient:
        raise RuntimeError(
            "data: data set to a tensor that requires gradients must be floating point or complex "
            "dtype"
        )


def _set_grad(tensor: Tensor, value: Tensor | None) -> None:
    if value is not None:
        _check_grad(tensor, value)
    tensor._grad = value


def _drop_grad(tensor: Tensor) -> None:
    tensor._grad = None


def _get_grad(tensor: Tensor) -> Tensor | None:
    grad = tensor._grad
    if grad is None and tensor._node is not None and tensor._hooks is None:
        warnings.warn(
            "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
            "attribute won't be populated during autograd.backward(). If you indeed want the .grad "
            "field to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. "
            "If you access the non-leaf Tensor by mistake, make sure you access the leaf Tensor "
            "instead.",
            stacklevel=2,
        )
    return grad


GRAD = property(
    _get_grad, _set_grad, _drop_grad,
    "What backward passes added up: a tensor of this one's shape, dtype and device, or None.",
)  # fmt: skip

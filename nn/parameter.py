"""Tensors that a module registers by assignment: parameters, which it learns, and buffers."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.tensor import Tensor


def _adopt(made: Any, data: Tensor, requires_grad: bool) -> Any:
    """Make ``made`` a leaf over the memory of ``data``."""
    made.layout, made.storage, made.address = data.layout, data.storage, data.address
    made._node = made.grad = made._base = made._hooks = made._post_hooks = None
    made._index = made._epoch = 0
    made._tracked = False
    made.requires_grad_(requires_grad)
    return made


class Parameter(Tensor):
    """A tensor that a module learns: assigned to an attribute, it appears in ``parameters()``.

    Args:
        data: the initial value, any shape; its memory is shared. None makes an empty tensor.
        requires_grad: whether gradients flow to it; then the dtype must be floating point.
    """

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return _adopt(object.__new__(cls), _checked(cls, data), requires_grad)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        found: Parameter | None = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return found


class Buffer(Tensor):
    """A tensor that a module keeps but does not learn: assigned to an attribute, it is a buffer.

    Args:
        data: the initial value, any shape and dtype; its memory is shared.
        persistent: whether it is part of ``state_dict()``.
    """

    __slots__ = ()

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        made: Buffer = _adopt(object.__new__(cls), _checked(cls, data), False)
        made.persistent = persistent
        return made

    def __repr__(self) -> str:
        return "Buffer containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        found: Buffer | None = memo.get(id(self))
        if found is None:
            copied = type(self)(self.detach().clone(), persistent=self.persistent)
            found = memo[id(self)] = copied
        return found


def _checked(kind: type, data: Any) -> Tensor:
    if data is None:
        from tilegrad.autograd.rules.creation import empty

        return empty(0)
    if not isinstance(data, Tensor):
        raise TypeError(f"{kind.__name__}: data must be a Tensor; got {type(data).__name__}")
    return data

"""Tensors that a module registers by assignment: parameters, which it learns, and buffers."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.copying import of_kind
from tilegrad.autograd.rules.creation import empty
from tilegrad.autograd.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: assigned to an attribute, it appears in ``parameters()``.

    Args:
        data: the initial value, any shape; its memory is shared. None makes an empty tensor.
        requires_grad: whether gradients flow to it; then the dtype must be floating point.
    """

    __slots__ = ()

    _keeps_class = False  # what is made of it is a Tensor

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        made: Parameter = of_kind(cls, _checked(cls, data))
        made.requires_grad_(requires_grad)
        return made

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

    _keeps_class = False

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        tensor = _checked(cls, data)
        made: Buffer = of_kind(cls, tensor)
        made.requires_grad_(tensor.requires_grad)
        made.persistent = persistent
        return made

    def __repr__(self) -> str:
        return "Buffer containing:\n" + super().__repr__()


def _checked(kind: type, data: Any) -> Tensor:
    if data is None:
        return empty(0)
    if not isinstance(data, Tensor):
        raise TypeError(f"{kind.__name__}: data must be a Tensor; got {type(data).__name__}")
    return data

"""Tensors that a module registers by assignment: parameters, which it learns, and buffers."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.copying import of_kind
from tilegrad.autograd.rules.creation import empty
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.device import Device
from tilegrad.engine.dtype import DType


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


class _Uninitialized:
    """A parameter or buffer that has no shape yet."""

    __slots__ = ()

    cls_to_become: type[Tensor]

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give it this shape, with undefined contents, and its dtype and device if none is given."""
        this: Any = self
        where, kind = this.device if device is None else device, dtype or this.dtype
        this.data = empty(tuple(shape), device=where, dtype=kind)
        this.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        """Raises RuntimeError: there is none."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call "
            "`forward` to initialize the parameters before accessing their attributes."
        )

    def detach(self) -> Any:
        """Itself: there is nothing to share."""
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        found = memo.get(id(self))
        if found is None:
            this: Any = self
            made = type(this)(this.requires_grad, this.device, this.dtype)
            found = memo[id(self)] = made
        return found


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape follows from the first input of its module."""

    __slots__ = ()

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        made: UninitializedParameter = of_kind(cls, empty(0, device=device, dtype=dtype))
        made.requires_grad_(requires_grad)
        return made


class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer whose shape follows from the first input of its module."""

    __slots__ = ()

    _keeps_class = False

    cls_to_become = Tensor

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None
    ) -> UninitializedBuffer:
        made: UninitializedBuffer = of_kind(cls, empty(0, device=device, dtype=dtype))
        made.requires_grad_(requires_grad)
        return made


def is_lazy(param: object) -> bool:
    """Whether ``param`` has no shape yet."""
    return isinstance(param, _Uninitialized)


def moved(
    t: Tensor, where: Device | None, kind: DType | None, queued: bool, memory_format: Any
) -> Tensor:
    """A parameter or buffer as ``Module.to`` has it: its dtype changes if it is floating point, its memory format
    if it has four or five dimensions.

    Raises:
        NotImplementedError: it is on the meta device and is to leave it.
    """
    if where is not None and t.device.type == "meta" != where.type:
        raise NotImplementedError(
            "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
            "torch.nn.Module.to() when moving module from meta to a different device."
        )
    wanted = kind if t.is_floating_point() else None
    kept = memory_format if t.ndim in (4, 5) else None
    return t.to(device=where, dtype=wanted, non_blocking=queued, memory_format=kept)

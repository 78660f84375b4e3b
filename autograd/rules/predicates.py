"""Questions about tensors, and the plainest views, as functions."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase

__all__ = [
    "detach", "is_complex", "is_floating_point", "is_inference", "is_nonzero", "is_same_size",
    "is_signed", "is_storage", "is_tensor", "numel", "t", "typename",
]  # fmt: skip


def is_tensor(obj: object) -> bool:
    """Whether ``obj`` is a tensor."""
    return isinstance(obj, TensorBase)


def is_storage(obj: object) -> bool:
    """Whether ``obj`` is a storage: never, they are not public."""
    return False


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating-point one."""
    return input.layout.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.layout.dtype.is_complex


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.layout.dtype.is_signed


def is_inference(input: Tensor) -> bool:
    """Whether ``input`` was made in inference mode."""
    return input.storage.version < 0


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape."""
    return input.layout.shape == other.layout.shape


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not zero.

    Raises:
        RuntimeError: there is not exactly one.
    """
    if input.layout.numel != 1:
        what = "no values" if not input.layout.numel else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
    return bool(input.item())


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.layout.numel


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a view of what has fewer dimensions."""
    return input.t()


def detach(input: Tensor) -> Tensor:
    """The same memory, out of the graph."""
    return input.detach()


def typename(obj: object) -> str:
    """The name of a tensor's type (``torch.FloatTensor``), or of the class of anything else."""
    if isinstance(obj, TensorBase):
        return str(obj.type())
    home, name = type(obj).__module__, type(obj).__qualname__
    return name if home == "builtins" else f"{home}.{name}"

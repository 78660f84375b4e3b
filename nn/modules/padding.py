"""Padding layers."""

from __future__ import annotations

from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.shape import spread
from tilegrad.nn import functional as F
from tilegrad.nn.modules.module import Module
from tilegrad.nn.modules.utils import Sizes


class _Pad(Module):
    """Padding of the last ``dims`` dimensions: one number, or (left, right, top, bottom, …)."""

    dims: int
    mode = "constant"

    def __init__(self, padding: Sizes):
        super().__init__()
        self.padding = spread(padding, 2 * self.dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """Padding with one value."""

    def __init__(self, padding: Sizes, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_Pad):
    """Padding with zeros."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, 0.0)


class _CircularPad(_Pad):
    """Padding with the elements of the other end."""

    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.dims + 1, self.dims + 2):
            raise ValueError(
                f"expected {self.dims + 1}D or {self.dims + 2}D input (got {input.ndim}D input)"
            )
        return super().forward(input)


class _ReflectionPad(_Pad):
    """Padding with the mirror image, the edge not repeated."""

    mode = "reflect"


class _ReplicationPad(_Pad):
    """Padding with the edge."""

    mode = "replicate"


class CircularPad1d(_CircularPad):
    """Pads the last dimension with the elements of the other end."""

    dims = 1


class CircularPad2d(_CircularPad):
    """Pads the last two dimensions with the elements of the other end."""

    dims = 2


class CircularPad3d(_CircularPad):
    """Pads the last three dimensions with the elements of the other end."""

    dims = 3


class ConstantPad1d(_ConstantPad):
    """Pads the last dimension with ``value``."""

    dims = 1


class ConstantPad2d(_ConstantPad):
    """Pads the last two dimensions with ``value``."""

    dims = 2


class ConstantPad3d(_ConstantPad):
    """Pads the last three dimensions with ``value``."""

    dims = 3


class ReflectionPad1d(_ReflectionPad):
    """Pads the last dimension with the mirror image, the edge not repeated."""

    dims = 1


class ReflectionPad2d(_ReflectionPad):
    """Pads the last two dimensions with the mirror image, the edge not repeated."""

    dims = 2


class ReflectionPad3d(_ReflectionPad):
    """Pads the last three dimensions with the mirror image, the edge not repeated."""

    dims = 3


class ReplicationPad1d(_ReplicationPad):
    """Pads the last dimension with the edge."""

    dims = 1


class ReplicationPad2d(_ReplicationPad):
    """Pads the last two dimensions with the edge."""

    dims = 2


class ReplicationPad3d(_ReplicationPad):
    """Pads the last three dimensions with the edge."""

    dims = 3


class ZeroPad1d(_ZeroPad):
    """Pads the last dimension with zeros."""

    dims = 1


class ZeroPad2d(_ZeroPad):
    """Pads the last two dimensions with zeros."""

    dims = 2


class ZeroPad3d(_ZeroPad):
    """Pads the last three dimensions with zeros."""

    dims = 3

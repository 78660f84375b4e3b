"""Methods of tensors that take sizes or dimensions one by one or as one sequence: ``x.view(2, 3)``,
``x.view((2, 3))``; and their kin by another tensor's shape.
"""

from __future__ import annotations

from tilegrad.autograd.annotations import Sizes, Tensor
from tilegrad.autograd.graph import called
from tilegrad.autograd.rules import movement, view as views
from tilegrad.autograd.rules.reinterpret import view_dtype
from tilegrad.autograd.size import sizes
from tilegrad.engine.dtype import DType


def view(self: Tensor, *size: Sizes | DType) -> Tensor:
    """The same memory in another shape, or as another dtype."""
    if size and size[0].__class__ is DType:
        return view_dtype(self, *size)
    return views.VIEW.view(self, sizes(size))


def reshape(self: Tensor, *shape: Sizes) -> Tensor:
    """Another shape, as a view where possible."""
    return views.reshape(self, sizes(shape))


def permute(self: Tensor, *dims: Sizes) -> Tensor:
    """The dimensions in another order."""
    return views.PERMUTE.view(self, sizes(dims))


def expand(self: Tensor, *size: Sizes) -> Tensor:
    """Size-1 dimensions repeated, without a copy."""
    return views.EXPAND.view(self, sizes(size))


def broadcast_to(self: Tensor, *size: Sizes) -> Tensor:
    """A view of shape ``size`` that repeats this tensor.

    Raises:
        TypeError: no size is given.
    """
    if not size:
        raise TypeError('broadcast_to() missing 1 required positional arguments: "size"')
    return expand(self, *size)


def flip(self: Tensor, *dims: Sizes) -> Tensor:
    """The order of elements along ``dims`` reversed."""
    return movement.flip(self, sizes(dims))


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """:meth:`view` in the shape of ``other``."""
    return self.view(other.layout.shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """:meth:`reshape` to the shape of ``other``."""
    return views.reshape(self, other.layout.shape)


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """:meth:`expand` to the shape of ``other``."""
    return views.expand(self, other.layout.shape)


def t(self: Tensor) -> Tensor:
    """The transpose of a matrix; a view of what has fewer dimensions."""
    if self.ndim > 2:
        raise RuntimeError(f"t: expects a tensor with <= 2 dimensions; got {self.ndim}")
    if self.layout.ndim < 2:
        return called("t", views.view(self, self.layout.shape))
    return views.t(self)

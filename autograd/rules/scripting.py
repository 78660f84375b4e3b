"""Methods that old and odd programs call: Python functions over elements, memory handed from tensor to tensor."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from tilegrad.autograd.annotations import Number, Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.mode import no_grad, state
from tilegrad.autograd.rule import check_inplace, needs_graph
from tilegrad.autograd.rules import creation, special, view
from tilegrad.autograd.rules.assign import before, copy_, overwrite
from tilegrad.autograd.rules.resize import enlarge
from tilegrad.autograd.size import Size
from tilegrad.engine import array as arrays
from tilegrad.engine.device import Device
from tilegrad.engine.memory import counted_apart, owner

__all__: list[str] = []


def _over_elements(
    name: str, self: Tensor, function: Callable[..., Number], others: Sequence[Tensor]
) -> Tensor:
    """``self`` overwritten by ``function`` of its elements and those of ``others``, one by one, in Python."""
    for tensor in (self, *others):
        if tensor.device.type != "cpu":
            raise TypeError(f"{name} is only implemented on CPU tensors")
        if tensor.dtype is not self.dtype:
            raise TypeError(
                f"{name}: expected tensors of {self.dtype.name}; got {tensor.dtype.name}"
            )
    if self.requires_grad:
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
        )
    check_inplace(name, self)
    with no_grad():
        given = [view.expand(o, self.layout.shape) for o in others]
        columns = [arrays.to_numpy(x).reshape(-1).tolist() for x in (self, *given)]
        made = [function(*each) for each in zip(*columns, strict=True)]
        values = np.array(made, self.dtype.numpy).reshape(self.layout.shape)
        return copy_(self, creation.from_numpy(values))


def apply_(self: Tensor, callable: Callable[[Number], Number]) -> Tensor:
    """``callable`` of each element in its place, in Python: slow.

    Raises:
        TypeError: not on the CPU. RuntimeError: the tensor requires a gradient.
    """
    return _over_elements("apply_", self, callable, ())


def map_(self: Tensor, other: Tensor, callable: Callable[[Number, Number], Number]) -> Tensor:
    """``callable`` of each element and the one of ``other``, which broadcasts, in its place."""
    return _over_elements("map_", self, callable, (other,))


def map2_(
    self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Number, Number, Number], Number]
) -> Tensor:
    """:meth:`map_` of two others."""
    return _over_elements("map2_", self, callable, (x, y))


def new(
    self: Tensor,
    *data: object,
    device: object = None,
    other: Tensor | None = None,
    size: Sequence[int] | None = None,
) -> Tensor:
    """A tensor of this one's dtype and device: of sizes (undefined contents), of data, or over the memory of
    another.
    """
    where = self.device if device is None else device
    first = data[0] if data else None
    if other is None and len(data) == 1 and isinstance(first, TensorBase):
        other = first
    if other is not None:
        return other.detach()
    if size is None and isinstance(first, Size):
        size = first
    if size is None and first is not None and not isinstance(first, int):
        return creation.tensor(first, dtype=self.dtype, device=where)
    given = size if size is not None else data or (0,)
    shape = tuple([operator.index(n) for n in given])  # type: ignore[arg-type]
    return creation.empty(shape, dtype=self.dtype, device=where)


def set_(
    self: Tensor,
    source: Tensor | None = None,
    storage_offset: int | None = None,
    size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:
    """Show the memory of ``source``, with its shape and strides or from its element ``storage_offset`` on with these;
    without a source, no elements. Memory that ends too early grows, as by :meth:`resize_`.

    Raises:
        RuntimeError: the dtypes differ, ``source`` is not contiguous where it is shown otherwise, its memory cannot
            grow, or a gradient flows to either.
    """
    other = creation.empty(0, dtype=self.dtype, device=self.device) if source is None else source
    if other.layout.dtype is not self.layout.dtype:
        raise RuntimeError(
            f"set_: could not set tensor of type {other.dtype.name} to a tensor of type {self.dtype.name}"
        )
    check_inplace("set_", self, True)
    if state.grad and needs_graph((self, other)):
        raise RuntimeError("set_: derivative for set_ is not implemented")
    if size is not None:
        if not other.layout.contiguous:
            raise RuntimeError("set_: passed in tensor to be used as storage must be contiguous")
        shape = tuple(size)
        strides = arrays.contiguous_strides(shape) if stride is None else tuple(stride)
        start = other.offset + (storage_offset or 0)
        needed = view.check_within("set_", other, sys.maxsize, shape, strides, start)
        enlarge("set_", other, needed)
        other = view.as_strided(other.detach(), shape, strides, start)
    version = self.storage.version + 1
    self.storage.version = version  # views of the old memory are saved, too
    self.layout, self.address = other.layout, other.address
    self.storage = counted_apart(other.storage)
    self.storage.version = version
    return self


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both show the same memory in the same way."""
    return (
        self.layout is tensor.layout
        and self.address == tensor.address
        and owner(self.storage) is owner(tensor.storage)
    )


def is_shared(self: Tensor) -> bool:
    """Whether other processes see the memory of this tensor: only that of a loader's batches is shared."""
    return False


def to_dense(self: Tensor, dtype: object = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself, which is dense; in another dtype if one is given."""
    return self if dtype is None else self.to(dtype=dtype)


def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost."""
    strides = self.layout.strides
    return tuple(sorted(range(self.ndim), key=lambda d: (-strides[d], d)))


def resize(self: Tensor, *sizes: int) -> Tensor:
    """:meth:`reshape` by a name that PyTorch has given up.

    Raises:
        RuntimeError: another number of elements.
    """
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    shape = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    count = int(np.prod(np.array(shape, dtype=np.int64)))
    if count != self.layout.numel:
        raise RuntimeError(
            f"requested resize to {'x'.join(map(str, shape))} ({count} elements in total), but the given "
            f"tensor has a size of {'x'.join(map(str, self.shape))} ({self.numel()} elements). autograd's "
            f"resize can only change the shape of a given tensor, while preserving the number of elements. "
        )
    return view.reshape(self, tuple(shape))


def resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """:meth:`resize` to the shape of ``tensor``."""
    return resize(self, *tensor.shape)


class _UntypedStorage:
    """The memory of a tensor, all of it, as bytes.

    Attributes:
        device: where it is.
    """

    def __init__(self, tensor: Tensor):
        self._storage, self.device = tensor.storage, Device(tensor.device)

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return self._storage.address

    def nbytes(self) -> int:
        """How many bytes there are."""
        return self._storage.nbytes

    size = __len__ = nbytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _UntypedStorage) and owner(self._storage) is owner(other._storage)

    def __hash__(self) -> int:
        return hash(self._storage.address)


def untyped_storage(self: Tensor) -> _UntypedStorage:
    """The memory of this tensor."""
    return _UntypedStorage(self)


def const_data_ptr(self: Tensor) -> int:
    """Address of the first element."""
    return self.address


def polygamma(self: Tensor, n: int) -> Tensor:
    """:func:`tilegrad.polygamma` of ``self``."""
    return special.polygamma(n, self)


def polygamma_(self: Tensor, n: int) -> Tensor:
    """:func:`tilegrad.polygamma` of ``self``, in its place."""
    return overwrite("polygamma_", self, special.polygamma(n, before("polygamma_", self)))

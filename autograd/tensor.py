"""The public tensor: PyTorch's methods, one line each, by family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tilegrad.autograd import base, copying, formatting, functional, graph as graphs, hooks, once
from tilegrad.autograd.arguments import checked
from tilegrad.autograd.base import alias, own, refresh
from tilegrad.autograd.families import FamilyMethods
from tilegrad.autograd.kinds import exact
from tilegrad.autograd.mode import state
from tilegrad.autograd.names import renamed
from tilegrad.autograd.naming import named
from tilegrad.autograd.rules import (
    assign,
    creation,
    elementwise,
    view,
)
from tilegrad.autograd.size import Size as Size, sizes
from tilegrad.autograd.twins import add_twins
from tilegrad.engine import array as arrays, transfer
from tilegrad.engine.device import Device, device as as_device
from tilegrad.engine.dtype import DType, dtype as as_dtype
from tilegrad.engine.ops import view as ops
from tilegrad.engine.shape import as_index
from tilegrad.engine.transfer import host

if TYPE_CHECKING:
    from tilegrad.engine.cuda import Stream


class Tensor(FamilyMethods):
    """A multi-dimensional array of one dtype on one device, which may record its history.

    Made by :func:`tilegrad.tensor`, :func:`tilegrad.zeros` and their kin, never called directly.
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        raise TypeError(f"{cls.__name__}: use tilegrad.tensor(data) to make a tensor")

    # ---------------------------------------------------------------------------- properties

    @property
    def shape(self) -> Size:
        """Sizes of the dimensions."""
        return tuple.__new__(Size, self.layout.shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.layout.dtype

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return self.layout.device

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.layout.ndim

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor."""
        if self._base is not None and self._index >= 0:
            refresh(self)
        return self._tracked

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def grad_fn(self) -> graphs.Node | None:
        """The node that made this tensor; None for a leaf."""
        if self._base is not None:
            refresh(self)
        return None if self._node is None else named(self._node)

    @property
    def is_leaf(self) -> bool:
        """True for tensors that no recorded op made."""
        if self._base is not None:
            refresh(self)
        return self._node is None

    grad = hooks.GRAD

    @property
    def data(self) -> Tensor:
        """The same memory, out of the graph, without counting writes."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        hooks.check_data(self, value)
        self.layout, self.storage, self.address = value.layout, value.storage, value.address

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        if self.layout.ndim != 2:
            once.warn_of_reversal()
        return view.permute(self, range(self.ndim - 1, -1, -1))

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped."""
        if self.ndim == 1:
            raise RuntimeError(
                "tensor.mT is only supported on matrices or batches of matrices. Got 1-D tensor."
            )
        if self.ndim == 0:
            return self
        return view.transpose(self, -2, -1)

    @property
    def _version(self) -> int:
        if self.storage.version < 0:
            raise RuntimeError("_version: Inference tensors do not track version counter.")
        return self.storage.version

    def is_inference(self) -> bool:
        """Whether the memory was made in inference mode: no backward pass may need it."""
        return self.storage.version < 0

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.layout.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.layout.nbytes

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of dimensions."""
        return self.layout.ndim

    def numel(self) -> int:
        """Number of elements."""
        return self.layout.numel

    nelement = numel
    ndimension = dim

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.layout.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Strides in elements, or one of them."""
        strides = self.layout.strides
        return strides if dim is None else strides[as_index("stride", dim)]

    def storage_offset(self) -> int:
        """Elements before the first one in the storage."""
        return self.offset

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self.address

    def is_contiguous(self) -> bool:
        """Whether the memory is row-major without gaps."""
        return self.layout.contiguous

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self.dtype.is_floating_point

    # ------------------------------------------------------------------------------ autograd

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add d self / d leaf to ``.grad`` of every leaf that requires it."""
        functional.backward(self, gradient, retain_graph, create_graph, inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient of this leaf, or stop asking.

        Raises:
            RuntimeError: not a leaf, or not floating point.
        """
        if requires_grad and not self.dtype.is_floating_point:
            raise RuntimeError(
                f"requires_grad_: only Tensors of floating point dtype can require gradients; "
                f"got {self.dtype.name}"
            )
        if requires_grad and self.storage.version < 0 and not state.inference:
            raise RuntimeError(
                "requires_grad_: Setting requires_grad=True on inference tensor outside "
                "InferenceMode is not allowed."
            )
        if self._node is not None and not requires_grad:
            raise RuntimeError(
                "requires_grad_: you can only change requires_grad flags of leaf variables."
            )
        self._tracked = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same memory, out of the graph."""
        return alias(self)

    def detach_(self) -> Tensor:
        """Leave the graph."""
        self._node = self._hooks = None
        self._tracked = False
        self._base = None
        return self

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this non-leaf too."""
        if not self.requires_grad:
            raise RuntimeError(
                "retain_grad: can't retain_grad on Tensor that has requires_grad=False"
            )
        if self._node is None or self._hooks is not None:
            return
        hooks.retain(self)

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this non-leaf."""
        return self.grad_fn is not None and self._hooks is not None

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> graphs.RemovableHandle:
        """Call ``hook(grad)`` when this tensor's gradient is known; it may return another."""
        return hooks.register(self, hook)

    def register_post_accumulate_grad_hook(
        self, hook: Callable[[Tensor], None]
    ) -> graphs.RemovableHandle:
        """Call ``hook(leaf)`` each time ``.grad`` of this leaf was updated."""
        return hooks.register_post_accumulate(self, hook)

    # ------------------------------------------------------------------------------- to Python

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            RuntimeError: there is not exactly one.
        """
        if self.layout.numel != 1:
            raise RuntimeError(
                f"item: a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return host(self).item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return host(self).tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A NumPy array over the same memory.

        Raises:
            RuntimeError: the tensor requires a gradient and ``force`` is not set.
        """
        if self.requires_grad and not force:
            raise RuntimeError(
                "numpy: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            )
        return host(self) if force else arrays.to_numpy(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        result = self.numpy()
        if dtype is not None and result.dtype != dtype:
            return result.astype(dtype)
        return result.copy() if copy else result

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What a NumPy function made of tensors, as a tensor again."""
        return creation.as_tensor(np.asarray(array), device="cpu")

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self.requires_grad:
            raise BufferError(
                "__dlpack__: Can't export tensors that require gradient, use tensor.detach()"
            )
        here = self.__dlpack_device__()
        wanted = here if dl_device is None else tuple(dl_device)
        if wanted not in (here, (1, 0)) or (wanted != here and copy is False):
            raise BufferError(
                f"__dlpack__: cannot hand a tensor on {self.device} over to DLPack device {wanted}"
            )
        source = self.cpu() if wanted != here else assign.clone(self) if copy else self
        if not source.is_cuda:
            return source.numpy().__dlpack__(stream=stream if wanted == here else None)
        from tilegrad.engine import interchange

        return interchange.to_dlpack(source, stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, self.device.index or 0) if self.is_cuda else (1, 0)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if not self.is_cuda:
            raise AttributeError(
                f"__cuda_array_interface__: can't get it on non-CUDA tensor; got {self.device}"
            )
        if self.requires_grad:
            raise RuntimeError(
                "__cuda_array_interface__: can't get it on Tensor that requires grad. If gradients "
                "aren't required, use tensor.detach() to get Tensor that doesn't require gradient."
            )
        from tilegrad.engine import interchange

        return interchange.cuda_interface(self)

    def __repr__(self) -> str:
        return formatting.tensor_repr(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 and spec else repr(self)

    def __bool__(self) -> bool:
        if self.layout.numel != 1:
            raise RuntimeError(
                f"bool: Boolean value of Tensor with {self.numel() or 'no'} values is ambiguous"
            )
        return bool(self.item())

    def __int__(self) -> int:
        return int(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def _number(self) -> Any:
        if self.layout.numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        if self.requires_grad:
            once.warn_of_scalar()
        return self.item()

    def __index__(self) -> int:
        if self.dtype.is_floating_point or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.layout.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter([view.select(self, 0, i) for i in range(len(self))])

    __hash__ = object.__hash__

    # ------------------------------------------------------------------------------ conversion

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``; ``copy=True``
        copies always. Returns ``self`` if nothing changes. With ``non_blocking`` a copy between
        page-locked host memory and the GPU is queued, not waited for.
        """
        kind, where = kwargs.get("dtype"), kwargs.get("device")
        flags = iter(("non_blocking", "copy"))
        for value in args:
            if isinstance(value, Tensor):
                kind, where = value.dtype, value.device
            elif isinstance(value, DType):
                kind = value
            elif isinstance(value, (str, Device)):
                where = value
            elif isinstance(value, bool):
                kwargs[next(flags)] = value
            elif isinstance(value, int):
                where = value
            elif value is not None:
                kind = as_dtype(value)
        result = elementwise.to_dtype(self, self.dtype if kind is None else as_dtype(kind))
        if where is not None:
            result = elementwise.to_device(
                result, as_device(where), bool(kwargs.get("non_blocking", False))
            )
        return assign.clone(self) if result is self and kwargs.get("copy") else result

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Tensor:
        """On an NVIDIA GPU."""
        return self.to("cuda" if device is None else as_device(device), non_blocking=non_blocking)

    def pin_memory(self) -> Tensor:
        """A copy in page-locked host memory, which the GPU copies from and to without waiting."""
        return own(transfer.pin_memory(self))

    def is_pinned(self) -> bool:
        """Whether the memory is page-locked."""
        return transfer.is_pinned(self)

    def record_stream(self, stream: Stream) -> None:
        """Say that ``stream`` uses this tensor too: once nobody holds it, its memory serves others
        only when the work that the stream has queued by then is done.

        Raises:
            RuntimeError: the tensor is not on a GPU.
        """
        if not self.is_cuda:
            raise RuntimeError(f"record_stream: needs a CUDA tensor; got one on {self.device}")
        from tilegrad.engine.device_memory import use_on_stream

        use_on_stream(self.storage, stream.cuda_stream)

    @property
    def is_cuda(self) -> bool:
        """Whether the memory is a GPU's."""
        return self.device.type == "cuda"

    def get_device(self) -> int:
        """Number of the GPU, -1 on the CPU."""
        return -1 if self.device.index is None else self.device.index

    __copy__, __deepcopy__, __reduce_ex__ = copying.shallow, copying.deep, copying.reduced

    def type_as(self, other: Tensor) -> Tensor:
        """In the dtype and on the device of ``other``."""
        return self.to(dtype=other.layout.dtype, device=other.layout.device)

    def contiguous(self) -> Tensor:
        """Row-major: itself, or a copy."""
        return elementwise.contiguous(self)

    # ------------------------------------------------------------------------------------- views

    def view(self, *size: Any) -> Tensor:
        """The same memory in another shape."""
        return view.show(ops.view, view.reshape_vjp, self, None, sizes(size))

    def reshape(self, *shape: Any) -> Tensor:
        """Another shape, as a view where possible."""
        return view.reshape(self, sizes(shape))

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order."""
        dims = sizes(dims)
        return view.show(ops.permute, view.permute_vjp, self, dims, dims)

    def expand(self, *size: Any) -> Tensor:
        """Size-1 dimensions repeated, without a copy."""
        return view.show(ops.expand, view.broadcast_vjp, self, None, sizes(size))

    def expand_as(self, other: Tensor) -> Tensor:
        """:meth:`expand` to the shape of ``other``."""
        return view.expand(self, other.layout.shape)

    def t(self) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim > 2:
            raise RuntimeError(f"t: expects a tensor with <= 2 dimensions; got {self.ndim}")
        return view.transpose(self, 0, 1) if self.ndim == 2 else self


add_twins(Tensor)
base.set_tensor_class(Tensor)
for _kind in Tensor.__mro__[:-1]:
    _methods = [method for name, method in vars(_kind).items() if not name.startswith("_")]
    exact(_methods)
    renamed(_methods)
    checked(_methods)

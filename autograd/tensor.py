"""The public tensor: PyTorch's methods, one line each, by family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

from tilegrad.autograd import (
    base,
    copying,
    formatting,
    gradients,
    graph as graphs,
    hooks,
    interop,
    once,
    typed,
)
from tilegrad.autograd.arguments import checked, reflected
from tilegrad.autograd.base import detached_view, tensor_of
from tilegrad.autograd.extra import extras
from tilegrad.autograd.families import FamilyMethods
from tilegrad.autograd.kinds import exact
from tilegrad.autograd.later import add_methods, of_one
from tilegrad.autograd.mode import state
from tilegrad.autograd.names import renamed
from tilegrad.autograd.rule import refresh, set_view_vjps
from tilegrad.autograd.rules import (
    assign,
    elementwise,
    regions,
    view,
)
from tilegrad.autograd.rules.formats import contiguous as in_memory, in_format
from tilegrad.autograd.size import Size as Size
from tilegrad.autograd.subclass import keep_class
from tilegrad.autograd.twins import add_twins, written
from tilegrad.engine import formats, transfer
from tilegrad.engine.device import META, Device, gpu
from tilegrad.engine.dtype import DType
from tilegrad.engine.shape import as_index

if TYPE_CHECKING:
    from tilegrad.engine.cuda import Stream


T = TypeVar("T", bound="Tensor")


class Tensor(FamilyMethods):
    """A multi-dimensional array of one dtype on one device, which may record its history.

    Made by :func:`tilegrad.tensor`, :func:`tilegrad.zeros` and their kin. Called itself, it makes one of
    the default dtype: of sizes (contents undefined), of data, or over another tensor's memory.
    """

    __slots__ = ()

    # whether methods of a subclass give tensors of the subclass
    _keeps_class = True

    def __new__(cls, *data: object, device: object = None) -> Tensor:
        made: Tensor = typed.default_tensor(cls, data, device)
        return made

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if cls._keeps_class:
            keep_class(cls, Tensor)

    def as_subclass(self, cls: type[T]) -> T:
        """The same memory and history as a tensor of a subclass."""
        if not (isinstance(cls, type) and issubclass(cls, Tensor)):
            raise TypeError(f"as_subclass: cls must be a subclass of Tensor; got {cls}")
        made = view.view(self, self.layout.shape)
        made.__class__ = cls
        return made  # type: ignore[return-value]  # of that class now

    @staticmethod
    def _make_subclass(cls: type[T], data: Tensor, require_grad: bool = False) -> T:
        made = copying.of_kind(cls, data)
        made._tracked = require_grad
        return made

    type = typed.type_of

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
        return None if self._node is None else graphs.named(self._node)

    @property
    def is_leaf(self) -> bool:
        """True for tensors that no recorded op made."""
        if self._base is not None:
            refresh(self)
        return self._node is None

    def _accumulation(self) -> hooks.AccumulateGrad:
        return hooks.accumulation(self)

    grad = hooks.GRAD

    @property
    def data(self) -> Tensor:
        """The same memory, out of the graph. Writes are counted, as those to :meth:`detach`."""
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
    def mH(self) -> Tensor:
        """:attr:`mT`, conjugated."""
        return of_one("conj", self.mT)

    @property
    def H(self) -> Tensor:
        """The transpose of a matrix, conjugated."""
        if self.ndim not in (0, 2):
            raise RuntimeError(
                f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor."
            )
        return of_one("conj", view.transpose(self, 0, 1) if self.ndim else self)

    @property
    def real(self) -> Tensor:
        """The real parts, a view; of real numbers the tensor itself."""
        return of_one("real", self)

    @real.setter
    def real(self, value: Tensor) -> None:
        assign.copy_(self.real, value)

    @property
    def imag(self) -> Tensor:
        """The imaginary parts, a view."""
        return of_one("imag", self)

    @imag.setter
    def imag(self, value: Tensor) -> None:
        assign.copy_(self.imag, value)

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

    @overload
    def size(self) -> Size: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> Size | int:
        """The shape, or one size of it."""
        return self.shape if dim is None else self.layout.shape[as_index("size", dim)]

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

    @overload
    def stride(self) -> tuple[int, ...]: ...
    @overload
    def stride(self, dim: int) -> int: ...
    def stride(self, dim: int | None = None) -> tuple[int, ...] | int:
        """Strides in elements, or one of them."""
        strides = self.layout.strides
        return strides if dim is None else strides[as_index("stride", dim)]

    def storage_offset(self) -> int:
        """Elements before the first one in the storage."""
        return self.offset

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self.address

    def is_contiguous(self, memory_format: object = None) -> bool:
        """Whether the memory is without gaps, row-major or in this format."""
        kind = self.layout
        if memory_format is None:
            return kind.contiguous
        wanted = formats.memory_format(memory_format, "is_contiguous")
        return wanted.fits(kind.shape, kind.strides)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self.dtype.is_complex

    # ------------------------------------------------------------------------------ autograd

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add d self / d leaf to ``.grad`` of every leaf that requires it."""
        gradients.backward(self, gradient, retain_graph, create_graph, inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient of this leaf, or stop asking.

        Raises:
            RuntimeError: not a leaf, or not floating point.
        """
        if requires_grad and not self.dtype.has_gradient:
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
        return detached_view(self)

    def detach_(self) -> Tensor:
        """Leave the graph.

        Raises:
            RuntimeError: it is a view, whose base would not know.
        """
        if self._base is not None:
            raise RuntimeError(
                "detach_: Can't detach views in-place. Use detach() instead: what is written to a view "
                "is part of its base's history."
            )
        self._node = self._hooks = None
        self._tracked = False
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

    __hash__ = object.__hash__

    # ------------------------------------------------------------------------------ conversion

    def to(self, *args: object, **kwargs: object) -> Tensor:
        """``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``; ``copy=True``
        copies always. Returns ``self`` if nothing changes. With ``non_blocking`` a copy between
        page-locked host memory and the GPU is queued, not waited for.
        """
        if len(args) == 1 and not kwargs and args[0].__class__ is DType:
            return elementwise.to_dtype(self, args[0])  # type: ignore[arg-type]  # it is one
        kind, where, queued, copied, wanted = interop.destination("to", args, kwargs)
        result = elementwise.to_dtype(self, self.dtype if kind is None else kind)
        if where is not None:
            result = elementwise.to_device(result, where, queued)
        if wanted is not None and wanted is not formats.preserve_format:
            result = in_format(result, formats.memory_format(wanted, "to"))
        return assign.clone(self) if result is self and copied else result

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, device: object = None, non_blocking: bool = False) -> Tensor:
        """On an NVIDIA GPU."""
        return self.to(gpu(device), non_blocking=non_blocking)

    def pin_memory(self) -> Tensor:
        """A copy in page-locked host memory, which the GPU copies from and to without waiting."""
        return tensor_of(transfer.pin_memory(self))

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

    @property
    def is_meta(self) -> bool:
        """Whether there is no memory."""
        return self.device is META

    @property
    def is_cpu(self) -> bool:
        """Whether the memory is the host's."""
        return self.device.type == "cpu"

    # kinds of tensors and devices that there are not
    is_sparse = is_sparse_csr = is_quantized = is_nested = is_mkldnn = False
    is_mps = is_xpu = is_xla = is_ipu = is_maia = is_mtia = is_vulkan = False

    @property
    def output_nr(self) -> int:
        """Which output of its node this tensor is."""
        return max(self._index, 0) if self._node is not None else 0

    def get_device(self) -> int:
        """Number of the GPU, -1 on the CPU."""
        return -1 if self.device.index is None else self.device.index

    # numbers, lists, and the protocols of Python and of other libraries
    item, tolist, numpy = interop.item, interop.tolist, interop.numpy
    __bool__, __int__, __float__ = interop.as_bool, interop.as_int, interop.as_float
    __complex__ = interop.as_complex
    __index__, __len__, __iter__ = interop.as_index, interop.length, interop.iterate
    __reversed__, __contains__ = interop.reverse, interop.contains
    __repr__, __format__ = formatting.tensor_repr, interop.formatted
    __array__, __array_wrap__ = interop.to_array, interop.wrap_array
    __dlpack__, __dlpack_device__ = interop.dlpack, interop.dlpack_device
    __cuda_array_interface__ = property(interop.cuda_array_interface)

    __copy__, __deepcopy__, __reduce_ex__ = copying.shallow, copying.deep, copying.reduced

    def type_as(self, other: Tensor) -> Tensor:
        """In the dtype and on the device of ``other``."""
        return self.to(dtype=other.layout.dtype, device=other.layout.device)

    def contiguous(self, memory_format: object = None) -> Tensor:
        """Row-major or in this format: itself, or a copy."""
        if memory_format is None:
            return elementwise.contiguous(self)
        return in_memory(self, formats.memory_format(memory_format, "contiguous"))


add_twins(Tensor)
add_methods(Tensor, written)
base.set_tensor_class(Tensor)
set_view_vjps(regions.as_strided_vjp, regions.copy_slices_vjp)
for _kind in Tensor.__mro__[:-1]:
    _methods = [method for name, method in vars(_kind).items() if not name.startswith("_")]
    exact(_methods)
    renamed(_methods, extras)
    checked(_methods)
    reflected(_kind)

"""The public tensor: PyTorch's methods, one line each, by family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from tilegrad.autograd import base, formatting
from tilegrad.autograd import graph as graphs
from tilegrad.autograd.base import refresh, wrap
from tilegrad.autograd.operators import ElementwiseMethods
from tilegrad.autograd.rules import (
    counting,
    creation,
    elementwise,
    extrema,
    index,
    indexing,
    masked,
    moments,
    movement,
    pointwise,
    random,
    rearrange,
    reduce,
    sampling,
    scan,
    view,
)
from tilegrad.autograd.rules import matmul as products
from tilegrad.autograd.rules import softmax as softmax_rules
from tilegrad.autograd.rules import scatter as scattering
from tilegrad.autograd.rules import sort as sorting
from tilegrad.engine import array as arrays
from tilegrad.engine.device import Device
from tilegrad.engine.device import device as as_device
from tilegrad.engine.dtype import DType
from tilegrad.engine.dtype import dtype as as_dtype


class Tensor(ElementwiseMethods):
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
        return Size(self._array.layout.shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._array.layout.dtype

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return self._array.layout.device

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._array.layout.ndim

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor."""
        if self._base is not None:
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
        return self._node

    @property
    def is_leaf(self) -> bool:
        """True for tensors that no recorded op made."""
        return self.grad_fn is None

    @property
    def data(self) -> Tensor:
        """The same memory, out of the graph, without counting writes."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        self._array = value._array

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        return view.permute(self, range(self.ndim - 1, -1, -1))

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped."""
        return view.transpose(self, -2, -1)

    @property
    def _version(self) -> int:
        return self._array.storage.version

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._array.layout.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._array.layout.nbytes

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of dimensions."""
        return self._array.layout.ndim

    def numel(self) -> int:
        """Number of elements."""
        return self._array.layout.numel

    nelement = numel
    ndimension = dim

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._array.layout.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Strides in elements, or one of them."""
        strides = self._array.layout.strides
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """Elements before the first one in the storage."""
        return self._array.offset

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self._array.address

    def is_contiguous(self) -> bool:
        """Whether the memory is row-major without gaps."""
        return self._array.layout.contiguous

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
        from tilegrad.autograd.functional import backward

        backward(self, gradient, retain_graph, create_graph, inputs)

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
        if self._node is not None and not requires_grad:
            raise RuntimeError("requires_grad_: you can only change requires_grad flags of leaf variables.")
        self._tracked = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same memory, out of the graph."""
        return wrap(self._array)

    def detach_(self) -> Tensor:
        """Leave the graph."""
        self._node = None
        self._tracked = False
        self._base = None
        return self

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this non-leaf too."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None:
            return
        from tilegrad.autograd.hooks import retain

        retain(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> graphs.RemovableHandle:
        """Call ``hook(grad)`` when this tensor's gradient is known; it may return another."""
        from tilegrad.autograd.hooks import register

        return register(self, hook)

    # ------------------------------------------------------------------------------- to Python

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            RuntimeError: there is not exactly one.
        """
        if self._array.layout.numel != 1:
            raise RuntimeError(
                f"item: a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return arrays.to_numpy(self._array).item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return arrays.to_numpy(self._array).tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A NumPy array over the same memory.

        Raises:
            RuntimeError: the tensor requires a gradient and ``force`` is not set.
        """
        if self.requires_grad and not force:
            raise RuntimeError(
                "numpy: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            )
        return arrays.to_numpy(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        result = self.numpy()
        if dtype is not None and result.dtype != dtype:
            return result.astype(dtype)
        return result.copy() if copy else result

    def __dlpack__(self, **options: Any) -> Any:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __repr__(self) -> str:
        return formatting.tensor_repr(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 and spec else repr(self)

    def __bool__(self) -> bool:
        if self._array.layout.numel != 1:
            raise RuntimeError(
                f"bool: Boolean value of Tensor with {self.numel() or 'no'} values is ambiguous"
            )
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating_point or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._array.layout.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter([view.select(self, 0, i) for i in range(len(self))])

    __hash__ = object.__hash__

    # ------------------------------------------------------------------------------ conversion

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``; ``copy=True``
        copies always. Returns ``self`` if nothing changes.
        """
        kind, where = kwargs.get("dtype"), kwargs.get("device")
        for value in args:
            if isinstance(value, Tensor):
                kind, where = value.dtype, value.device
            elif isinstance(value, DType):
                kind = value
            elif isinstance(value, (str, Device)):
                where = value
            elif not isinstance(value, bool):
                kind = as_dtype(value)
        if where is not None:
            as_device(where)
        result = elementwise.to_dtype(self, self.dtype if kind is None else as_dtype(kind))
        return pointwise.clone(self) if result is self and kwargs.get("copy") else result

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Tensor:
        """On an NVIDIA GPU."""
        return self.to(as_device("cuda" if device is None else device))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "deepcopy: Only Tensors created explicitly by the user (graph leaves) support the "
                "deepcopy protocol at the moment"
            )
        found: Tensor | None = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = self.detach().clone()
            found._tracked = self._tracked
            found.grad = None if self.grad is None else self.grad.detach().clone()
        return found

    def type_as(self, other: Tensor) -> Tensor:
        """In the dtype and on the device of ``other``."""
        return self.to(other)

    def contiguous(self) -> Tensor:
        """Row-major: itself, or a copy."""
        return elementwise.contiguous(self)

    # ------------------------------------------------------------------------------ creation

    new_empty = creation.new_empty
    new_full = creation.new_full
    new_ones = creation.new_ones
    new_tensor = creation.new_tensor
    new_zeros = creation.new_zeros

    # ------------------------------------------------------------------------------------- views

    transpose = swapaxes = swapdims = view.transpose
    squeeze = view.squeeze
    unsqueeze = view.unsqueeze
    select = view.select
    narrow = view.narrow
    diagonal = view.diagonal
    unfold = view.unfold
    as_strided = view.as_strided

    def view(self, *shape: Any) -> Tensor:
        """The same memory in another shape."""
        return view.view(self, _sizes(shape))

    def reshape(self, *shape: Any) -> Tensor:
        """Another shape, as a view where possible."""
        return view.reshape(self, _sizes(shape))

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order."""
        return view.permute(self, _sizes(dims))

    def expand(self, *sizes: Any) -> Tensor:
        """Size-1 dimensions repeated, without a copy."""
        return view.expand(self, _sizes(sizes))

    def t(self) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim > 2:
            raise RuntimeError(f"t: expects a tensor with <= 2 dimensions; got {self.ndim}")
        return view.transpose(self, 0, 1) if self.ndim == 2 else self

    # -------------------------------------------------------------------------------- reductions

    sum = reduce.sum
    sum_to_size = reduce.sum_to_size
    mean = reduce.mean
    prod = reduce.prod
    nansum = reduce.nansum
    nanmean = reduce.nanmean
    any = reduce.any
    all = reduce.all
    count_nonzero = reduce.count_nonzero
    max = extrema.max
    min = extrema.min
    amax = extrema.amax
    amin = extrema.amin
    aminmax = extrema.aminmax
    argmax = extrema.argmax
    argmin = extrema.argmin
    var = moments.var
    std = moments.std
    norm = moments.norm
    logsumexp = moments.logsumexp
    cumsum = scan.cumsum
    cumprod = scan.cumprod
    cummax = scan.cummax
    cummin = scan.cummin
    logcumsumexp = scan.logcumsumexp

    # ------------------------------------------------------------------------------------ matmul

    matmul = __matmul__ = products.matmul

    def __rmatmul__(self, other: Any) -> Tensor:
        return products.matmul(other, self)

    mm, bmm, mv = products.mm, products.bmm, products.mv
    dot, outer = products.dot, products.outer
    addmm, addmv, baddbmm = products.addmm, products.addmv, products.baddbmm

    # ----------------------------------------------------------------------------- softmax, norms

    softmax = softmax_rules.softmax
    log_softmax = softmax_rules.log_softmax

    # --------------------------------------------------------------- indexing, joining, sorting

    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem
    index_put = index.index_put
    index_put_ = index.index_put_
    index_select = index.index_select
    index_add = index.index_add
    index_add_ = index.index_add_
    index_copy = index.index_copy
    index_copy_ = index.index_copy_
    index_fill = index.index_fill
    index_fill_ = index.index_fill_
    put = index.put
    take = index.take
    take_along_dim = scattering.take_along_dim
    gather = scattering.gather
    scatter = scattering.scatter
    scatter_ = scattering.scatter_
    scatter_add = scattering.scatter_add
    scatter_add_ = scattering.scatter_add_
    scatter_reduce = scattering.scatter_reduce
    scatter_reduce_ = scattering.scatter_reduce_
    masked_fill = masked.masked_fill
    masked_fill_ = masked.masked_fill_
    masked_select = masked.masked_select
    masked_scatter = masked.masked_scatter
    masked_scatter_ = masked.masked_scatter_
    nonzero = masked.nonzero
    argwhere = masked.argwhere
    tril = masked.tril
    tril_ = masked.tril_
    triu = masked.triu
    triu_ = masked.triu_
    diag = masked.diag
    diag_embed = masked.diag_embed
    trace = masked.trace
    bincount = counting.bincount
    unique = counting.unique
    unique_consecutive = counting.unique_consecutive

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """This tensor where ``condition`` holds, else ``other``."""
        result: Tensor = masked.where(condition, self, other)
        return result

    broadcast_to = rearrange.broadcast_to
    chunk = rearrange.chunk
    flatten = rearrange.flatten

    def flip(self, *dims: Any) -> Tensor:
        """The order of elements along ``dims`` reversed."""
        return movement.flip(self, _sizes(dims))

    fliplr = movement.fliplr
    flipud = movement.flipud
    movedim = moveaxis = rearrange.movedim
    argsort = sorting.argsort
    kthvalue = sorting.kthvalue
    median = sorting.median
    mode = sorting.mode
    msort = sorting.msort
    nanmedian = sorting.nanmedian
    ravel = rearrange.ravel
    repeat = movement.repeat
    repeat_interleave = movement.repeat_interleave
    roll = movement.roll
    rot90 = movement.rot90
    split = rearrange.split
    hsplit = rearrange.hsplit
    vsplit = rearrange.vsplit
    dsplit = rearrange.dsplit
    tensor_split = rearrange.tensor_split
    sort = sorting.sort
    tile = movement.tile
    topk = sorting.topk
    unbind = rearrange.unbind
    unflatten = rearrange.unflatten

    # ------------------------------------------------------------------------------------ random

    bernoulli = random.bernoulli
    bernoulli_ = random.bernoulli_
    exponential_ = random.exponential_
    multinomial = sampling.multinomial
    normal_ = random.normal_
    random_ = random.random_
    uniform_ = random.uniform_


def _sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    if len(given) == 1 and not isinstance(given[0], int):
        first = given[0]
        given = tuple(first) if isinstance(first, (tuple, list, range)) else given
    return tuple(int(s) for s in given)


class Size(tuple):  # type: ignore[type-arg]
    """A shape: a tuple of ints that can count elements."""

    __slots__ = ()

    def numel(self) -> int:
        """Product of the sizes."""
        count = 1
        for size in self:
            count *= size
        return count

    def __repr__(self) -> str:
        return f"tilegrad.Size({list(self)})"



base.set_tensor_class(Tensor)

"""Layers that learn the size of their input from the first one."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.creation import tensor
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import int64
from tilegrad.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from tilegrad.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from tilegrad.nn.modules.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from tilegrad.nn.modules.linear import Linear
from tilegrad.nn.modules.module import Module
from tilegrad.nn.modules.utils import Sizes
from tilegrad.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy


class LazyModuleMixin:
    """What makes a module lazy: parameters without a shape, which the first call, or a state dict that is
    loaded, gives them; then the module is one of :attr:`cls_to_become`.
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        this: Any = self
        this._initialize_hook = this.register_forward_pre_hook(self._infer, with_kwargs=True)
        this._load_hook = this.register_load_state_dict_pre_hook(self._take_shapes)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes, by the arguments of a call; subclasses define it."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or a buffer has no shape yet."""
        this: Any = self
        return any(map(is_lazy, [*this._parameters.values(), *this._buffers.values()]))

    def _infer(self, module: Any, args: Any, kwargs: Any) -> None:
        module.initialize_parameters(*args, **kwargs)
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {module._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become

    def _take_shapes(self, module: Any, state: Any, prefix: str, *rest: Any) -> None:
        for name, value in [*module._parameters.items(), *module._buffers.items()]:
            given = state.get(prefix + name)
            if value is not None and is_lazy(value) and given is not None and not is_lazy(given):
                with no_grad():
                    value.materialize(given.shape)


class LazyLinear(LazyModuleMixin, Linear):
    """A :class:`Linear` whose ``in_features`` are those of the first input."""

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new initial values, once there is a shape."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Shapes for the features of ``input``."""
        if self.has_uninitialized_params():
            with no_grad():
                self.in_features = input.shape[-1]
                shapes = {
                    "weight": (self.out_features, self.in_features),
                    "bias": (self.out_features,),
                }
                for name, value in self._parameters.items():
                    if isinstance(value, UninitializedParameter):
                        value.materialize(shapes[name])
                self.reset_parameters()
        if self.in_features == 0:
            self.in_features = self.weight.shape[-1]


class _LazyConv(LazyModuleMixin):
    """A convolution whose ``in_channels`` are those of the first input."""

    def _begin(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        this: Any = self
        this.weight = UninitializedParameter(device=device, dtype=dtype)
        this.out_channels = out_channels
        if bias:
            this.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new initial values, once there is a shape."""
        this: Any = self
        if not self.has_uninitialized_params() and this.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Shapes for the channels of ``input``."""
        this: Any = self
        if not self.has_uninitialized_params():
            return
        dims = len(this.kernel_size)
        if input.ndim not in (dims + 1, dims + 2):
            raise RuntimeError(
                f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {this._get_name()}, "
                f"but got input of size: {input.shape}"
            )
        with no_grad():
            this.in_channels = input.shape[-dims - 1]
            if this.in_channels % this.groups:
                raise ValueError("in_channels must be divisible by groups")
            ends = (this.in_channels, this.out_channels)
            first, second = ends if this.transposed else ends[::-1]
            this.weight.materialize((first, second // this.groups, *this.kernel_size))
            if this.bias is not None:
                this.bias.materialize((this.out_channels,))
            this.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    """A :class:`Conv1d` whose ``in_channels`` are those of the first input."""

    cls_to_become = Conv1d

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._begin(out_channels, bias, device, dtype)


class LazyConv2d(_LazyConv, Conv2d):
    """A :class:`Conv2d` whose ``in_channels`` are those of the first input."""

    cls_to_become = Conv2d

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._begin(out_channels, bias, device, dtype)


class LazyConv3d(_LazyConv, Conv3d):
    """A :class:`Conv3d` whose ``in_channels`` are those of the first input."""

    cls_to_become = Conv3d

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._begin(out_channels, bias, device, dtype)


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """A :class:`ConvTranspose1d` whose ``in_channels`` are those of the first input."""

    cls_to_become = ConvTranspose1d

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
        )
        self._begin(out_channels, bias, device, dtype)


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """A :class:`ConvTranspose2d` whose ``in_channels`` are those of the first input."""

    cls_to_become = ConvTranspose2d

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
        )
        self._begin(out_channels, bias, device, dtype)


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """A :class:`ConvTranspose3d` whose ``in_channels`` are those of the first input."""

    cls_to_become = ConvTranspose3d

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
        )
        self._begin(out_channels, bias, device, dtype)


class _LazyNorm(LazyModuleMixin):
    """A normalisation whose ``num_features`` are the channels of the first input."""

    def __init__(
        self, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
        device: Any, dtype: Any, bias: bool,
    ):  # fmt: skip
        super().__init__(0, eps, momentum, False, False)
        this: Any = self
        this.affine = affine
        this.track_running_stats = track_running_stats
        how = {"device": device, "dtype": dtype}
        if affine:
            this.weight = UninitializedParameter(**how)
            if bias:
                this.bias = UninitializedParameter(**how)
        if track_running_stats:
            this.running_mean = UninitializedBuffer(**how)
            this.running_var = UninitializedBuffer(**how)
            this.num_batches_tracked = tensor(0, dtype=int64, device=device)

    def reset_parameters(self) -> None:
        """Set the weight to 1, the bias to 0, and forget what was measured, once there is a shape."""
        this: Any = self
        if not self.has_uninitialized_params() and this.num_features != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor) -> None:
        """Shapes for the channels of ``input``."""
        this: Any = self
        single = isinstance(self, _Instance) and input.ndim == min(this.ranks)
        if this.num_features == 0:
            this.num_features = input.shape[0 if single else 1]
        if not self.has_uninitialized_params():
            return
        names = ("weight", "bias", "running_mean", "running_var")
        for value in [getattr(this, name) for name in names]:
            if value is not None and is_lazy(value):
                value.materialize((this.num_features,))
        this.reset_parameters()


_Instance = (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d)


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A :class:`BatchNorm1d` whose ``num_features`` are the channels of the first input."""

    cls_to_become = BatchNorm1d

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias)


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A :class:`BatchNorm2d` whose ``num_features`` are the channels of the first input."""

    cls_to_become = BatchNorm2d

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias)


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """A :class:`BatchNorm3d` whose ``num_features`` are the channels of the first input."""

    cls_to_become = BatchNorm3d

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias)


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """A :class:`InstanceNorm1d` whose ``num_features`` are the channels of the first input."""

    cls_to_become = InstanceNorm1d

    def __init__(
        self, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias)


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """A :class:`InstanceNorm2d` whose ``num_features`` are the channels of the first input."""

    cls_to_become = InstanceNorm2d

    def __init__(
        self, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias)


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """A :class:`InstanceNorm3d` whose ``num_features`` are the channels of the first input."""

    cls_to_become = InstanceNorm3d

    def __init__(
        self, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias)

"""Pooling layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.shape import spread
from tilegrad.nn import functional as F
from tilegrad.nn.modules.module import Module
from tilegrad.nn.modules.utils import Sizes


class _MaxPool(Module):
    """Maxima of windows."""

    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window.

    Args:
        kernel_size, stride (that of the window if not given), padding (with minus infinity),
        dilation: one number, or one per dimension.
        return_indices: also return where it was.
        ceil_mode: let the last window reach over the edge.
    """

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest element of each window of (N, C, H, W) or (C, H, W). Arguments as :class:`MaxPool1d`."""

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest element of each window of (N, C, D, H, W). Arguments as :class:`MaxPool1d`."""

    _function = staticmethod(F.max_pool3d)


class _AvgPool(Module):
    """Means of windows."""

    _function: Callable[..., Tensor]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def _options(self) -> tuple[Any, ...]:
        return self.ceil_mode, self.count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(
            input, self.kernel_size, self.stride, self.padding, *self._options()
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window.

    Args:
        kernel_size, stride (that of the window if not given), padding (with zeros): one number,
        or one per dimension.
        ceil_mode: let the last window reach over the edge.
        count_include_pad: whether the padding counts in the mean.
    """

    _function = staticmethod(F.avg_pool1d)

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.kernel_size, self.stride, self.padding = (
            spread(value, 1) for value in (self.kernel_size, self.stride, self.padding)
        )


class AvgPool2d(_AvgPool):
    """The mean of each window of (N, C, H, W) or (C, H, W). Arguments as :class:`AvgPool1d`, and
    ``divisor_override``: what to divide the sum by instead.
    """

    _function = staticmethod(F.avg_pool2d)

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def _options(self) -> tuple[Any, ...]:
        return self.ceil_mode, self.count_include_pad, self.divisor_override


class AvgPool3d(AvgPool2d):
    """The mean of each window of (N, C, D, H, W). Arguments as :class:`AvgPool2d`."""

    _function = staticmethod(F.avg_pool3d)


class _Adaptive(Module):
    """Pooling to a given size."""

    _function: Callable[..., Any]

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Means of windows that make the output ``output_size``, whatever the input's size.

    Args:
        output_size: one number, or one per dimension (None keeps the input's).
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """:class:`AdaptiveAvgPool1d` of (N, C, H, W)."""

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    """:class:`AdaptiveAvgPool1d` of (N, C, D, H, W)."""

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMax(_Adaptive):
    """Maxima, and where they were if asked for."""

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """As :class:`AdaptiveAvgPool1d`, with maxima; ``return_indices`` for where they were."""

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """As :class:`AdaptiveAvgPool2d`, with maxima; ``return_indices`` for where they were."""

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """As :class:`AdaptiveAvgPool3d`, with maxima; ``return_indices`` for where they were."""

    _function = staticmethod(F.adaptive_max_pool3d)


class _MaxUnpool(Module):
    """Values back where a max pool took them from."""

    _function: Callable[..., Tensor]
    dims: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0):
        super().__init__()
        self.kernel_size = spread(kernel_size, self.dims)
        self.stride = spread(kernel_size if stride is None else stride, self.dims)
        self.padding = spread(padding, self.dims)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        return type(self)._function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """The values of :class:`MaxPool1d` back at their indices, among zeros."""

    dims = 1
    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """The values of :class:`MaxPool2d` back at their indices, among zeros."""

    dims = 2
    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """The values of :class:`MaxPool3d` back at their indices, among zeros."""

    dims = 3
    _function = staticmethod(F.max_unpool3d)


class _LPPool(Module):
    """Power means of windows."""

    _function: Callable[..., Tensor]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The ``norm_type`` norm of each window, over one dimension."""

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """The ``norm_type`` norm of each window, over two dimensions."""

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """The ``norm_type`` norm of each window, over three dimensions."""

    _function = staticmethod(F.lp_pool3d)


class _FractionalMaxPool(Module):
    """Maxima of windows that begin at random steps."""

    _function: Callable[..., Any]
    dims: int

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ):
        super().__init__()
        name = type(self).__name__
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        self.kernel_size = spread(kernel_size, self.dims)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else spread(output_size, self.dims)
        self.output_ratio: tuple[float, ...] | None = None
        if output_ratio is not None:
            ratios = spread(output_ratio, self.dims)
            if not all(0 < r < 1 for r in ratios):
                raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")
            self.output_ratio = ratios

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of windows that begin at random steps, over two dimensions.

    Args:
        output_size: how many windows; or output_ratio: times the input's sizes.
        return_indices: also return where the elements were.
    """

    dims = 2
    _function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest element of windows that begin at random steps, over three dimensions.

    Args:
        output_size: how many windows; or output_ratio: times the input's sizes.
        return_indices: also return where the elements were.
    """

    dims = 3
    _function = staticmethod(F.fractional_max_pool3d)

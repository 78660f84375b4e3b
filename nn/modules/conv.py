"""Convolutions and transposed convolutions over one, two or three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tilegrad.autograd.rules.creation import empty
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.shape import spread
from tilegrad.nn import functional as F, init
from tilegrad.nn.modules.module import Module
from tilegrad.nn.modules.utils import Sizes
from tilegrad.nn.parameter import Parameter

_PADS = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


class _Convolution(Module):
    """What all convolutions share."""

    dims: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        output_padding: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ):
        super().__init__()
        _check(in_channels, out_channels, groups, padding, stride, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = spread(kernel_size, self.dims)
        self.stride = spread(stride, self.dims)
        self.padding = padding if isinstance(padding, str) else spread(padding, self.dims)
        self.dilation = spread(dilation, self.dims)
        self.output_padding = spread(output_padding, self.dims)
        self.groups = groups
        self.padding_mode = padding_mode
        ends = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (ends[0], ends[1] // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        own = Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", own)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values: uniform in +-1 / sqrt(fan in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        none = (0,) * self.dims
        parts = [
            f"{self.in_channels}",
            f"{self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding != none:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self.dims:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != none:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


def _check(
    inputs: int, outputs: int, groups: int, padding: Sizes | str, stride: Sizes, mode: str
) -> None:
    if groups <= 0:
        raise ValueError("groups must be a positive integer")
    if inputs % groups:
        raise ValueError("in_channels must be divisible by groups")
    if outputs % groups:
        raise ValueError("out_channels must be divisible by groups")
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
            )
        if padding == "same" and any(s != 1 for s in spread(stride, 1)):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if mode not in _PADS:
        raise ValueError(f"padding_mode must be one of {set(_PADS)}, but got padding_mode='{mode}'")


class _Conv(_Convolution):
    """A convolution over ``dims`` dimensions."""

    _function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._edges(), _PADS[self.padding_mode])
            padding = 0  # type: ignore[assignment]
        return type(self)._function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _edges(self) -> list[int]:
        """Padding before and after each dimension, the last first, as ``pad`` wants it."""
        edges: list[int] = []
        for axis in reversed(range(self.dims)):
            if isinstance(self.padding, str):
                total = self.dilation[axis] * (self.kernel_size[axis] - 1)
                total = total if self.padding == "same" else 0
                edges += [total // 2, total - total // 2]
            else:
                edges += [self.padding[axis]] * 2
        return edges


class Conv1d(_Conv):
    """A convolution over (N, C, L) or (C, L).

    Args:
        in_channels, out_channels: sizes of dimension 1 before and after.
        kernel_size, stride, padding, dilation: one number, or one per dimension; padding also
            ``"same"`` or ``"valid"``.
        groups: parts of the channels that do not see each other.
        bias: whether to add one number per output channel.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Attributes:
        weight: (out_channels, in_channels / groups, *kernel_size); bias: (out_channels,) or None.
    """

    dims = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """A convolution over (N, C, H, W) or (C, H, W). Arguments as :class:`Conv1d`."""

    dims = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """A convolution over (N, C, D, H, W) or (C, D, H, W). Arguments as :class:`Conv1d`."""

    dims = 3
    _function = staticmethod(F.conv3d)


class _ConvTranspose(_Convolution):
    """The adjoint of a convolution over ``dims`` dimensions."""

    transposed = True
    _function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
            groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return type(self)._function(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip

    def _extra(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives ``output_size``.

        Raises:
            ValueError: no output padding does, or it has neither a size for each spatial dimension nor for all.
        """
        if len(output_size) not in (self.dims, input.layout.ndim):
            raise ValueError(
                f"ConvTranspose{self.dims}D: for {input.ndim}D input, output_size must have {self.dims} or "
                f"{input.ndim} elements (got {len(output_size)})"
            )
        wanted = list(output_size)[-self.dims :]
        sizes = input.shape[-self.dims :]
        padding: tuple[int, ...] = self.padding  # type: ignore[assignment]  # no word here
        extra = []
        for axis in range(self.dims):
            least = (
                (sizes[axis] - 1) * self.stride[axis]
                - 2 * padding[axis]
                + self.dilation[axis] * (self.kernel_size[axis] - 1)
                + 1
            )
            most = least + self.stride[axis] - 1
            if not least <= wanted[axis] <= most:
                raise ValueError(
                    f"requested an output size of {wanted}, but valid sizes range from {least} to "
                    f"{most} in dimension {axis} (for an input of {list(sizes)})"
                )
            extra.append(wanted[axis] - least)
        return tuple(extra)


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of a convolution over (N, C, L), as a layer of its own.

    Args:
        in_channels, out_channels: sizes of dimension 1 before and after.
        kernel_size, stride, padding, dilation: one number, or one per dimension.
        output_padding: added to one side of the output's size.
        groups: parts of the channels that do not see each other.
        bias: whether to add one number per output channel.

    Attributes:
        weight: (in_channels, out_channels / groups, *kernel_size); bias: (out_channels,) or None.
    """

    dims = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of a convolution over (N, C, H, W). Arguments as :class:`ConvTranspose1d`."""

    dims = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of a convolution over (N, C, D, H, W). Arguments as :class:`ConvTranspose1d`."""

    dims = 3
    _function = staticmethod(F.conv_transpose3d)

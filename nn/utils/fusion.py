"""A batch norm that no longer learns, taken into the layer before it."""

from __future__ import annotations

import copy
from typing import Any

from tilegrad.autograd.rules.creation import ones_like, zeros_like
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.modules.module import Module
from tilegrad.nn.parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights",
]  # fmt: skip


def _fused(
    weight: Tensor,
    bias: Tensor | None,
    mean: Any,
    var: Any,
    eps: float,
    scale: Any,
    shift: Any,
    dim: int,
) -> tuple[Parameter, Parameter]:
    bias = zeros_like(mean) if bias is None else bias
    scale = ones_like(mean) if scale is None else scale
    shift = zeros_like(mean) if shift is None else shift
    factor = scale * (var + eps).rsqrt()
    sizes = [1] * weight.ndim
    sizes[dim] = -1
    made = (weight * factor.reshape(sizes)).to(weight.dtype)
    moved = ((bias - mean) * factor + shift).to(bias.dtype)
    return Parameter(made.detach(), weight.requires_grad), Parameter(
        moved.detach(), bias.requires_grad or weight.requires_grad
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """(weight, bias) of a convolution that does what it and the norm after it did."""
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """(weight, bias) of a linear layer that does what it and the norm after it did."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _checked(layer: Any, bn: Any) -> Any:
    """A copy of ``layer``, where both are in evaluation and the norm has statistics."""
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn running_mean and running_var must not be None")
    return copy.deepcopy(layer)


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Any:
    """A convolution that does what ``conv`` and then ``bn`` do, both in evaluation.

    Raises:
        AssertionError: one is in training, or the norm keeps no statistics.
    """
    made: Any = _checked(conv, bn)
    norm: Any = bn
    made.weight, made.bias = fuse_conv_bn_weights(
        made.weight, made.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias,
        transpose,
    )  # fmt: skip
    return made


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Any:
    """A linear layer that does what ``linear`` and then ``bn`` do, both in evaluation.

    Raises:
        AssertionError: one is in training, the norm keeps no statistics, or is of other features.
    """
    made: Any = _checked(linear, bn)
    norm: Any = bn
    if made.out_features != norm.num_features and norm.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    made.weight, made.bias = fuse_linear_bn_weights(
        made.weight,
        made.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return made

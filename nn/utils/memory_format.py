"""Weights of convolutions in another order of memory."""

from __future__ import annotations

from typing import TypeVar

from tilegrad.engine.formats import MemoryFormat
from tilegrad.nn.modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from tilegrad.nn.modules.module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]

M = TypeVar("M", bound=Module)


def _convert(module: M, kinds: tuple[type, ...], memory_format: MemoryFormat) -> M:
    for each in module.modules():
        if isinstance(each, kinds):
            weight = each.weight
            weight.data = weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: M, memory_format: MemoryFormat) -> M:
    """``module`` with the weights of its two-dimensional convolutions in ``memory_format``."""
    return _convert(module, (Conv2d, ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module: M, memory_format: MemoryFormat) -> M:
    """``module`` with the weights of its three-dimensional convolutions in ``memory_format``."""
    return _convert(module, (Conv3d, ConvTranspose3d), memory_format)

"""Integers beyond 32 and 64 bits in every integer argument: refused as PyTorch refuses them, never a wrap, a
loop of 2^31 turns or an error of the machinery beneath."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tilegrad

WIDE = [2**31, 2**32 + 1, 2**63 - 1, 2**63, 2**64 + 1, 2**70, -(2**63) - 1, -(2**70)]
BEYOND = [2**63, 2**64 + 1, 2**70, -(2**63) - 1, -(2**70)]  # of int64
CALLS: dict[str, tuple[str, list[int]]] = {
    "trapezoid": ("T.trapezoid(x, dx=n)", BEYOND),
    "cumulative_trapezoid": ("T.cumulative_trapezoid(x, dx=n)", BEYOND),
    "device": ("T.device('cpu', n)", BEYOND),
    "interpolate": ("F.interpolate(image, size=n)", BEYOND),
    "interpolate-scale": ("F.interpolate(image, scale_factor=n)", [2**63 - 1, *BEYOND]),
    "fold-size": ("F.fold(columns, (n, 4), 2)", BEYOND),
    "fold-kernel": ("F.fold(columns, (4, 4), n)", BEYOND),
    "fold-padding": ("F.fold(columns, (4, 4), 2, padding=n)", BEYOND),
    "unfold-kernel": ("F.unfold(image, n)", BEYOND),
    "unfold-stride": ("F.unfold(image, 2, stride=n)", WIDE),
    "unfold-dilation": ("F.unfold(image, 2, dilation=n)", BEYOND),
    "layer_norm": ("F.layer_norm(x, (n,))", WIDE),
    "conv-stride": ("F.conv2d(image, weight, stride=n)", WIDE),
    "conv-dilation": ("F.conv_transpose2d(image, weight, dilation=n)", [2**31 + 5, *BEYOND]),
    "adaptive": ("F.adaptive_max_pool2d(image, n)", [2**31, 2**32 + 1]),
    "expand": ("x[:1].expand(n, n, 3)", WIDE),
    "repeat": ("x.repeat(n, n)", WIDE),
    "tensor_split": ("T.tensor_split(x, n)", [2**63 - 1, *BEYOND]),
    "roll": ("x.roll(n)", WIDE),
    "narrow": ("x.narrow(0, n, 1)", WIDE),
    "topk": ("x.topk(n)", WIDE),
    "split": ("x.split([n, 1])", WIDE),
    "pad": ("F.pad(x, (n, 0))", BEYOND),
    "arange": ("T.arange(2**31 * n)", BEYOND),
}  # fmt: skip


def _outcome(lib: Any, code: str, n: int) -> object:
    """The kind of exception, or the result's shape."""
    names = {
        "T": lib, "F": lib.nn.functional, "n": n,
        "x": lib.arange(6.0).reshape(2, 3),
        "image": lib.arange(64.0).reshape(1, 1, 8, 8),
        "weight": lib.ones(1, 1, 2, 2),
        "columns": lib.arange(16.0).reshape(1, 4, 4),
    }  # fmt: skip
    try:
        made = eval(code, names)
    except (TypeError, ValueError, OverflowError, IndexError) as error:
        return type(error)
    except RuntimeError:
        return RuntimeError  # out of memory is one
    return tuple(made.shape)


@pytest.mark.parametrize("name", CALLS)
def test_wide_integers_are_refused_as_pytorch_refuses_them(name: str) -> None:
    code, numbers = CALLS[name]
    for n in numbers:
        assert _outcome(tilegrad, code, n) == _outcome(torch, code, n), f"{code}, n = {n}"


def test_sizes_whose_product_is_beyond_64_bits() -> None:
    with pytest.raises(RuntimeError, match="numel: integer multiplication overflow"):
        tilegrad.ones(1, 1).expand(2**32, 2**32)
    with pytest.raises(RuntimeError, match="Storage size calculation overflowed"):
        tilegrad.empty(2**31, 2**31)

"""Rows for convolutions and transposed convolutions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tests.cases.case import Arg, Case


def _call(name: str, **options: Any) -> Callable[..., Any]:
    """``name(input, weight, [bias])`` with further options."""

    def call(t: Any, x: Any, w: Any, b: Any = None) -> Any:
        with warnings.catch_warnings():  # PyTorch's, that uneven padding costs it a copy
            warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")
            return getattr(t.nn.functional, name)(x, w, b, **options)

    return call


def _args(*shapes: tuple[int, ...]) -> tuple[Arg, ...]:
    return tuple(Arg(shape, -1.0, 1.0) for shape in shapes)


_SMALL = [
    Case("conv2d-bias-same", _call("conv2d", padding=1),
         _args((2, 2, 4, 5), (3, 2, 3, 3), (3,))),
    Case("conv2d-plain", _call("conv2d"), _args((1, 2, 4, 3), (5, 2, 2, 3))),
    Case("conv2d-unbatched", _call("conv2d", padding="valid"),
         _args((2, 4, 4), (3, 2, 3, 2), (3,))),
    Case("conv2d-stride", _call("conv2d", stride=(2, 3), padding=(1, 2)),
         _args((2, 1, 5, 7), (2, 1, 3, 3))),
    Case("conv2d-stride-beyond-kernel", _call("conv2d", stride=3, padding=1),
         _args((1, 2, 7, 5), (2, 2, 2, 2))),
    Case("conv2d-dilation", _call("conv2d", dilation=(2, 1), padding=(2, 0)),
         _args((1, 2, 4, 5), (2, 2, 3, 2))),
    Case("conv2d-groups", _call("conv2d", groups=2, padding=1),
         _args((1, 4, 3, 4), (6, 2, 3, 3), (6,))),
    Case("conv2d-depthwise", _call("conv2d", groups=3, padding="same"),
         _args((2, 3, 4, 4), (3, 1, 3, 3))),
    Case("conv2d-same-even", _call("conv2d", padding="same", dilation=(1, 2)),
         _args((1, 1, 5, 6), (2, 1, 2, 4))),
    Case("conv2d-one-by-one", _call("conv2d"), _args((2, 3, 3, 3), (4, 3, 1, 1), (4,))),
    Case("conv2d-padding-beyond-kernel", _call("conv2d", padding=3),
         _args((1, 1, 2, 3), (1, 1, 2, 2))),
    Case("conv2d-unused-inputs", _call("conv2d", stride=2), _args((1, 1, 6, 4), (1, 1, 1, 1))),
    Case("conv1d-bias", _call("conv1d", padding=1), _args((2, 2, 9), (3, 2, 3), (3,))),
    Case("conv1d-all", _call("conv1d", stride=2, padding=4, dilation=3, groups=2),
         _args((2, 4, 11), (2, 2, 3))),
    Case("conv1d-unbatched", _call("conv1d", padding="same"), _args((2, 7), (2, 2, 4))),
    Case("conv3d", _call("conv3d", stride=(1, 2, 1), padding=1),
         _args((1, 2, 2, 3, 4), (2, 2, 3, 3, 2), (2,))),
    Case("conv_transpose1d", _call("conv_transpose1d", stride=2, padding=1, output_padding=1),
         _args((2, 2, 5), (2, 3, 4), (3,))),
    Case("conv_transpose2d",
         _call("conv_transpose2d", stride=(2, 3), padding=1, output_padding=(1, 0), groups=2),
         _args((1, 4, 3, 2), (4, 2, 3, 3), (4,))),
    Case("conv_transpose2d-dilation", _call("conv_transpose2d", dilation=2),
         _args((2, 3, 3), (2, 2, 2, 3))),
    Case("conv_transpose3d", _call("conv_transpose3d", stride=2, padding=1),
         _args((1, 2, 2, 2, 3), (2, 1, 3, 2, 3))),
]  # fmt: skip


def _large(name: str, shape: tuple[int, ...], weight: tuple[int, ...], **options: Any) -> Case:
    """Enough pixels, channels and items to reach every tile, block and part."""
    return Case(
        f"{name}", _call("conv2d", **options), _args(shape, weight), second_order=False,
    )  # fmt: skip


_LARGE = [
    _large("conv2d-tall-tiles", (1, 3, 5, 33), (13, 3, 3, 3), padding=1),
    _large("conv2d-wide-rows", (1, 2, 6, 67), (9, 2, 3, 5), padding=(1, 2)),
    _large("conv2d-deep", (2, 37, 5, 5), (6, 37, 3, 3), padding=1),
    _large("conv2d-many-outputs", (1, 3, 4, 8), (71, 3, 3, 3), padding=1),
    _large("conv2d-many-items", (23, 2, 4, 4), (3, 2, 3, 3), padding=1),
    _large("conv2d-tiny-images", (17, 4, 2, 2), (5, 4, 3, 3), padding=1),
    _large("conv2d-tiny-images-groups", (21, 8, 4, 3), (12, 4, 3, 3), groups=2),
    _large("conv2d-one-pixel", (9, 6, 3, 3), (10, 3, 3, 3), groups=2),
    _large("conv2d-many-rows", (1, 1, 52, 16), (3, 1, 3, 3), padding=1),
    _large("conv2d-strided-rows", (1, 2, 9, 35), (9, 2, 3, 3), stride=2, padding=1),
    _large("conv2d-large-stride", (1, 2, 9, 53), (4, 2, 5, 5), stride=3, padding=2),
]

CASES = _SMALL + _LARGE

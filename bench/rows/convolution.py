"""Convolutions of all kinds, 1 to 256 channels, and pooling."""

from __future__ import annotations

from functools import partial
from typing import Any

from tilegrad.bench.rows.row import Row, Shape, floats, rows

_rows = partial(rows, "convolution", tolerance=1e-4)

# name: (input, weight, arguments, passes)
DENSE: dict[str, tuple[Shape, Shape, dict[str, int], str]] = {
    "3x3, 1 to 32, 28x28": ((64, 1, 28, 28), (32, 1, 3, 3), {"padding": 1}, "fb"),
    "3x3, 3 to 64, 32x32": ((32, 3, 32, 32), (64, 3, 3, 3), {"padding": 1}, "fb"),
    "3x3, 16 to 16, 32x32": ((32, 16, 32, 32), (16, 16, 3, 3), {"padding": 1}, "fb"),
    "3x3, 64 to 64, 32x32": ((16, 64, 32, 32), (64, 64, 3, 3), {"padding": 1}, "fb"),
    "3x3, 128 to 128, 16x16": ((16, 128, 16, 16), (128, 128, 3, 3), {"padding": 1}, "fb"),
    "3x3, 256 to 256, 8x8": ((16, 256, 8, 8), (256, 256, 3, 3), {"padding": 1}, "fb"),
    "3x3, 64 to 64, 56x56, one image": ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}, "f"),
    "1x1, 64 to 256, 28x28": ((16, 64, 28, 28), (256, 64, 1, 1), {}, "fb"),
    "1x1, 256 to 64, 28x28": ((16, 256, 28, 28), (64, 256, 1, 1), {}, "f"),
    "1x1 stride 2, 64 to 128, 28x28": ((16, 64, 28, 28), (128, 64, 1, 1), {"stride": 2}, "f"),
    "5x5, 1 to 6, 28x28": ((64, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}, "fb"),
    "5x5, 32 to 64, 14x14": ((32, 32, 14, 14), (64, 32, 5, 5), {"padding": 2}, "fb"),
    "7x7 stem, 3 to 64, 112x112": ((4, 3, 112, 112), (64, 3, 7, 7), {"padding": 3, "stride": 2}, "fb"),
    "3x3 stride 2, 64 to 128, 32x32": ((16, 64, 32, 32), (128, 64, 3, 3), {"padding": 1, "stride": 2}, "fb"),
    "3x3 dilated, 64 to 64, 28x28": ((8, 64, 28, 28), (64, 64, 3, 3), {"padding": 2, "dilation": 2}, "fb"),
    "3x3 in 4 groups, 64 to 64, 28x28": ((16, 64, 28, 28), (64, 16, 3, 3), {"padding": 1, "groups": 4}, "fb"),
    "3x3 depthwise, 128, 28x28": ((16, 128, 28, 28), (128, 1, 3, 3), {"padding": 1, "groups": 128}, "fb"),
    "5x5 depthwise, 64, 28x28": ((16, 64, 28, 28), (64, 1, 5, 5), {"padding": 2, "groups": 64}, "f"),
}  # fmt: skip

TRANSPOSED: dict[str, tuple[Shape, Shape, dict[str, int], str]] = {
    "transposed 2x2, 64 to 32, 14x14": ((16, 64, 14, 14), (64, 32, 2, 2), {"stride": 2}, "fb"),
    "transposed 4x4, 64 to 32, 14x14": ((16, 64, 14, 14), (64, 32, 4, 4), {"stride": 2, "padding": 1}, "fb"),
    "transposed 3x3, 32 to 32, 28x28": ((8, 32, 28, 28), (32, 32, 3, 3), {"padding": 1}, "f"),
}  # fmt: skip


def _size(n: int, k: int, stride: int = 1, padding: int = 0, dilation: int = 1, **_: int) -> int:
    return (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1


def _convolutions() -> list[Row]:
    def convolve(t: Any, x: Any, w: Any, b: Any, how: dict[str, int]) -> Any:
        return t.nn.functional.conv2d(x, w, b, **how)

    found = []
    for name, (x, w, how, passes) in DENSE.items():
        area = _size(x[2], w[2], **how) * _size(x[3], w[3], **how)
        flops = 2.0 * x[0] * area * w[0] * w[1] * w[2] * w[3]
        found += _rows(
            name, partial(convolve, how=how), floats(*x), floats(*w), floats(w[0]),
            flops=flops, passes=passes, accuracy="rms",
        )  # fmt: skip
    return found


def _transposed() -> list[Row]:
    def convolve(t: Any, x: Any, w: Any, b: Any, how: dict[str, int]) -> Any:
        return t.nn.functional.conv_transpose2d(x, w, b, **how)

    found = []
    for name, (x, w, how, passes) in TRANSPOSED.items():
        flops = 2.0 * x[0] * x[2] * x[3] * w[0] * w[1] * w[2] * w[3]
        found += _rows(
            name, partial(convolve, how=how), floats(*x), floats(*w), floats(w[1]),
            flops=flops, passes=passes, accuracy="rms",
        )  # fmt: skip
    return found


def _pools() -> list[Row]:
    x, stem = floats(32, 64, 28, 28), floats(8, 64, 56, 56)
    found = _rows("max pool 2x2", lambda t, x: t.nn.functional.max_pool2d(x, 2), x)
    found += _rows("max pool 3x3 stride 2", lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1), stem)  # fmt: skip
    found += _rows("average pool 2x2", lambda t, x: t.nn.functional.avg_pool2d(x, 2), x)
    found += _rows("average pool 3x3 stride 1", lambda t, x: t.nn.functional.avg_pool2d(x, 3, 1, 1), x, passes="f")  # fmt: skip
    found += _rows("average pool to one", lambda t, x: t.nn.functional.adaptive_avg_pool2d(x, 1), x)
    return found


ROWS = [*_convolutions(), *_transposed(), *_pools()]

"""Rows for pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cases.case import Arg, Case


def _call(name: str, *sizes: Any, **options: Any) -> Callable[..., Any]:
    return lambda t, x: getattr(t.nn.functional, name)(x, *sizes, **options)


def _max(name: str, shape: tuple[int, ...], *sizes: Any, label: str = "", **options: Any) -> Case:
    """Elements are well apart: the largest is no matter of rounding."""
    return Case(
        f"{name}{label}", _call(name, *sizes, **options), (Arg(shape, distinct=True),), special=True
    )


def _mean(name: str, shape: tuple[int, ...], *sizes: Any, label: str = "", **options: Any) -> Case:
    return Case(f"{name}{label}", _call(name, *sizes, **options), (Arg(shape),))


_TWO = {"stride": 2, "padding": 1}

CASES = [
    _max("max_pool1d", (2, 3, 9), 2),
    _max("max_pool1d", (3, 17), 4, 3, label="-ceil", padding=1, ceil_mode=True),
    _max("max_pool1d", (1, 2, 37), 3, 1, label="-indices", return_indices=True),
    _max("max_pool2d", (2, 2, 4, 6), 2),
    _max("max_pool2d", (1, 2, 5, 35), (2, 3), label="-wide", return_indices=True, **_TWO),
    _max("max_pool2d", (2, 5, 7), 3, label="-unbatched", return_indices=True, **_TWO),
    _max("max_pool2d", (1, 2, 7, 6), 3, 1, label="-overlap", padding=1, return_indices=True),
    _max("max_pool2d", (1, 2, 9, 7), (3, 2), label="-dilation", stride=(2, 1), padding=(1, 0),
         dilation=(2, 3), ceil_mode=True, return_indices=True),
    _max("max_pool2d", (1, 1, 8, 7), 2, 3, label="-gaps"),
    _max("max_pool2d", (0, 2, 4, 4), 2, label="-empty"),
    _max("max_pool3d", (1, 2, 3, 4, 5), (2, 3, 2), label="", padding=1),
    _max("adaptive_max_pool1d", (2, 2, 7), 3),
    _max("adaptive_max_pool2d", (1, 2, 5, 7), (3, 2), return_indices=True),
    _max("adaptive_max_pool3d", (1, 2, 4, 5, 3), (3, 2, 2), return_indices=True),
    _mean("avg_pool1d", (2, 3, 9), 2),
    _mean("avg_pool1d", (3, 17), 4, 3, label="-ceil", padding=2, ceil_mode=True),
    _mean("avg_pool2d", (2, 2, 4, 6), 2),
    _mean("avg_pool2d", (2, 5, 35), 3, label="-padded", **_TWO),
    _mean("avg_pool2d", (1, 2, 5, 7), 3, label="-pad-excluded", count_include_pad=False, **_TWO),
    _mean("avg_pool2d", (2, 6, 5), (3, 2), 3, label="-ceil", padding=1, ceil_mode=True),
    _mean("avg_pool2d", (1, 1, 6, 5), (3, 2), 2, label="-ceil-pad-excluded", padding=1,
          ceil_mode=True, count_include_pad=False),
    _mean("avg_pool2d", (2, 5, 4), 3, 1, label="-divisor", divisor_override=5),
    _mean("avg_pool3d", (1, 2, 3, 4, 5), 3, label="", divisor_override=4, **_TWO),
    _mean("adaptive_avg_pool1d", (2, 2, 7), 3),
    _mean("adaptive_avg_pool2d", (1, 2, 5, 7), (3, None)),
    _mean("adaptive_avg_pool2d", (2, 3, 4), 1, label="-whole"),
    _mean("adaptive_avg_pool3d", (1, 1, 3, 4, 2), 2),
]  # fmt: skip

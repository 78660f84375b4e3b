"""Rows for functions that resample, rearrange and rank, made of other ops: the GPU runs one of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cases.case import Arg, Case


def _call(name: str, *args: Any, **options: Any) -> Callable[..., Any]:
    return lambda t, *tensors: getattr(t.nn.functional, name)(*tensors, *args, **options)


def _row(
    name: str, *operands: Arg, label: str = "", gpu: bool = False, args: tuple[Any, ...] = (),
    to: tuple[int, ...] | None = None, second: bool = False, **options: Any,
) -> Case:  # fmt: skip
    return Case(
        f"{name}{label}", _call(name, *args, **options), operands, ("float64",), to, second,
        strided=False, simulated=("forward",) if gpu else (),
    )  # fmt: skip


def _resized(mode: str, shape: tuple[int, ...], label: str = "", **options: Any) -> Case:
    gpu = mode == "bilinear" and not label
    return _row("interpolate", Arg(shape), label=f"-{mode}{label}", gpu=gpu, mode=mode, **options)


_IMAGE, _GRID = Arg((2, 2, 4, 5)), Arg((2, 3, 4, 2), -1.2, 1.2)
_X = Arg((5, 4))
_LABELS = Arg((5,), values=[0, 3, 1, 1, 2], dtype="int64")
_BAGS = Arg((6,), values=[1, 0, 4, 4, 2, 1], dtype="int64")
_STARTS = Arg((3,), values=[0, 2, 2], dtype="int64")
_TARGETS = Arg((2, 3), values=[[1, 2, 2], [3, 1, 0]], dtype="int64")

CASES = [
    _resized("nearest", (1, 2, 5), size=8),
    _resized("nearest", (1, 2, 4, 5), "-scaled", scale_factor=(1.7, 0.6)),
    _resized("nearest-exact", (1, 2, 4, 5), size=(3, 9)),
    _resized("area", (1, 2, 6, 5), size=(3, 2)),
    _resized("linear", (2, 2, 5), size=9),
    _resized("bilinear", (2, 2, 4, 5), size=(7, 3)),
    _resized("bilinear", (1, 2, 4, 5), "-corners", size=(7, 3), align_corners=True),
    _resized("bilinear", (1, 2, 4, 5), "-scaled", scale_factor=1.7),
    _resized("bilinear", (1, 2, 4, 5), "-again", scale_factor=1.7, recompute_scale_factor=True),
    _resized("bilinear", (1, 2, 9, 7), "-smooth", size=(4, 9), antialias=True),
    _resized("bicubic", (1, 2, 4, 5), size=(7, 3)),
    _resized("bicubic", (1, 2, 9, 7), "-smooth", size=(4, 3), antialias=True),
    _resized("trilinear", (1, 1, 3, 4, 2), size=(5, 3, 4)),
    *(
        _row("grid_sample", _IMAGE, _GRID, label=f"-{mode}-{padding}", align_corners=align,
             mode=mode, padding_mode=padding, second=mode == "bilinear" and padding == "zeros",
             gpu=padding == "zeros" and mode == "bilinear", to=(0,) if mode == "nearest" else None)
        for mode in ("bilinear", "nearest", "bicubic")
        for padding, align in (("zeros", False), ("border", True), ("reflection", False))
    ),
    _row("grid_sample", Arg((1, 2, 3, 4, 3)), Arg((1, 2, 2, 3, 3), -1.2, 1.2), label="-deep",
         align_corners=True, padding_mode="reflection"),
    _row("affine_grid", Arg((2, 2, 3)), args=((2, 1, 3, 4),), align_corners=False, gpu=True),
    _row("affine_grid", Arg((1, 3, 4)), label="-deep", args=((1, 1, 2, 3, 4),), align_corners=True),
    _row("pixel_shuffle", Arg((2, 8, 2, 3)), args=(2,), gpu=True),
    _row("pixel_unshuffle", Arg((8, 4, 6)), args=(2,)),
    _row("channel_shuffle", Arg((2, 6, 3)), args=(3,)),
    _row("unfold", Arg((2, 3, 5, 6)), args=((2, 3),), dilation=(2, 1), padding=1, stride=2, gpu=True),
    _row("fold", Arg((2, 12, 12)), args=((4, 5), (2, 2)), gpu=True),
    _row("fold", Arg((8, 9)), label="-padded", args=((5, 5), 2), stride=2, padding=1, dilation=2),
    _row("lp_pool1d", Arg((2, 3, 7), 0.2, 3.0), args=(2.0, 3), stride=2),
    _row("lp_pool2d", Arg((2, 3, 7, 5), 0.2, 3.0), args=(3.0, 2), ceil_mode=True, gpu=True),
    _row("local_response_norm", Arg((2, 7, 3, 2)), args=(4,), alpha=0.1),
    Case("fractional_max_pool2d",
         lambda t, x, s: t.nn.functional.fractional_max_pool2d(
             x, 2, output_size=(4, 3), return_indices=True, _random_samples=s),
         (Arg((2, 2, 7, 6), distinct=True), Arg((2, 2, 2), 0.0, 0.99)), ("float64",), (0,),
         strided=False, simulated=("forward",)),
    Case("fractional_max_pool3d",
         lambda t, x, s: t.nn.functional.fractional_max_pool3d(
             x, 2, output_ratio=0.6, return_indices=True, _random_samples=s),
         (Arg((1, 2, 7, 6, 5), distinct=True), Arg((1, 2, 3), 0.0, 0.99)), ("float64",), (0,),
         strided=False, simulated=()),
    Case("max_unpool2d",
         lambda t, x: t.nn.functional.max_unpool2d(
             *t.nn.functional.max_pool2d(x, 2, return_indices=True), 2),
         (Arg((2, 2, 4, 6), distinct=True),), ("float64",), strided=False, simulated=("forward",)),
    _row("embedding_bag", _BAGS, Arg((5, 3)), _STARTS, mode="sum", gpu=True, to=(1,)),
    _row("embedding_bag", _BAGS, Arg((5, 3)), _STARTS, label="-mean", padding_idx=4, to=(1,)),
    _row("embedding_bag", _BAGS, Arg((5, 3), distinct=True), _STARTS, label="-max", mode="max", to=(1,)),
    _row("pdist", Arg((5, 3)), gpu=True, second=True),
    _row("pdist", Arg((5, 3)), label="-one", p=1.0),
    *(
        Case(f"cdist-{p:g}", lambda t, x, y, p=p: t.cdist(x, y, p), (Arg((2, 1, 4, 3)), Arg((3, 5, 3))),
             ("float64",), simulated=("forward", "gradient") if p == 1 else ("forward",))
        for p in (0.5, 1.0, 2.0, 3.0, float("inf"))
    ),
    _row("multi_margin_loss", _X, _LABELS, gpu=True, to=(0,)),
    _row("multi_margin_loss", _X, _LABELS, label="-square", p=2, margin=0.7, to=(0,)),
    _row("multilabel_margin_loss", Arg((2, 4)),
         Arg((2, 4), values=[[1, 3, -1, 0], [2, -1, 0, 1]], dtype="int64"), to=(0,)),
    _row("multilabel_soft_margin_loss", _X, Arg((5, 4), 0.0, 1.0), to=(0,)),
    _row("triplet_margin_with_distance_loss", _X, _X, _X, margin=9.0, swap=True),
    Case("ctc_loss",
         lambda t, x, y: t.nn.functional.ctc_loss(
             t.log_softmax(x, 2), y, t.tensor([6, 5]), t.tensor([3, 2])),
         (Arg((6, 2, 4)), _TARGETS), ("float64",), (0,), False, strided=False,
         simulated=("forward",)),
    Case("ctc_loss-joined",
         lambda t, x: t.nn.functional.ctc_loss(
             t.log_softmax(x, 2), t.tensor([1, 2, 2, 3]), [6, 4], [3, 1], reduction="none"),
         (Arg((6, 2, 4)),), ("float64",), None, False, strided=False, simulated=()),
]  # fmt: skip

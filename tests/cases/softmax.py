"""Rows for softmax and the losses built on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.cases.case import Arg, Case

_INF = float("inf")

_SOFTMAX = [
    case
    for name in ("softmax", "log_softmax")
    for case in (
        Case(f"{name}-last", lambda t, x, n=name: getattr(x, n)(-1), (Arg((3, 5, 33)),)),
        Case(f"{name}-short", lambda t, x, n=name: getattr(x, n)(1), (Arg((7, 10)),)),
        Case(f"{name}-middle", lambda t, x, n=name: getattr(x, n)(1), (Arg((2, 5, 17)),)),
        Case(f"{name}-first", lambda t, x, n=name: getattr(x, n)(0), (Arg((5, 3)),)),
        Case(f"{name}-one", lambda t, x, n=name: getattr(x, n)(0), (Arg((1, 3)),)),
        Case(f"{name}-scalar", lambda t, x, n=name: getattr(x, n)(0), (Arg(()),)),
        Case(f"{name}-empty", lambda t, x, n=name: getattr(x, n)(1), (Arg((0, 3)),),
             differentiable=()),
        Case(f"{name}-long", lambda t, x, n=name: getattr(x, n)(0), (Arg((3001,)),),
             differentiable=()),
        Case(f"{name}-wide", lambda t, x, n=name: getattr(x, n)(0), (Arg((5, 301)),),
             differentiable=()),
        Case(f"{name}-dtype", lambda t, x, n=name: getattr(x, n)(1, dtype=t.float64),
             (Arg((3, 5)),), ("float32", "int64")),
        Case(f"{name}-ends", lambda t, x, n=name: getattr(x, n)(1),
             (Arg((3, 3), values=[-_INF, 1, 2, 1e4, -1e4, 0, float("nan"), 1, 2]),),
             differentiable=()),
        Case(f"{name}-ends-first", lambda t, x, n=name: getattr(x, n)(0),
             (Arg((3, 3), values=[-_INF, 1, 2, 1e4, -1e4, 0, float("nan"), 1, 2]),),
             differentiable=()),
    )
]  # fmt: skip

_WEIGHT = Arg((5,), 0.2, 2.0)


def _classes(*shape: int, count: int = 5, ignored: int | None = None) -> Arg:
    """Targets that meet every class, the second of them ``ignored``."""
    values = [(3 * i + 1) % count for i in range(int(np.prod(shape)))]
    if ignored is not None:
        values[1] = ignored
    return Arg(shape, dtype="int64", values=values)


def _loss(name: str, **options: Any) -> Callable[..., Any]:
    """``name(input, target, [weight])`` with further options."""
    return lambda t, x, target, weight=None: getattr(t.nn.functional, name)(
        x, target, weight, **options
    )


_LOSSES = [
    case
    for name in ("cross_entropy", "nll_loss")
    for case in (
        *(Case(f"{name}-{r}", _loss(name, reduction=r), (Arg((7, 5)), _classes(7)))
          for r in ("mean", "sum", "none")),
        *(Case(f"{name}-weight-{r}", _loss(name, reduction=r, ignore_index=2),
               (Arg((7, 5)), _classes(7, ignored=2), _WEIGHT), differentiable=(0,))
          for r in ("mean", "sum", "none")),
        *(Case(f"{name}-spatial-{r}", _loss(name, reduction=r), (Arg((2, 5, 3, 4)),
               _classes(2, 3, 4, ignored=-100), _WEIGHT), differentiable=(0,))
          for r in ("mean", "none")),
        Case(f"{name}-one", _loss(name), (Arg((5,)), _classes(count=5))),
        Case(f"{name}-many", _loss(name), (Arg((67, 33)), _classes(67, count=33)),
             differentiable=()),
        Case(f"{name}-ignored", _loss(name, ignore_index=1), (Arg((1, 5)), _classes(1)),
             differentiable=()),
    )
] + [
    *(Case(f"cross_entropy-smooth-{r}", _loss("cross_entropy", reduction=r, label_smoothing=0.1),
           (Arg((7, 5)), _classes(7, ignored=-100))) for r in ("mean", "sum", "none")),
    Case("cross_entropy-smooth-weight", _loss("cross_entropy", label_smoothing=0.2),
         (Arg((2, 5, 3)), _classes(2, 3, ignored=-100), _WEIGHT), differentiable=(0,)),
    *(Case(f"cross_entropy-probabilities-{r}", _loss("cross_entropy", reduction=r),
           (Arg((3, 5)), Arg((3, 5), 0.1, 1.0))) for r in ("mean", "none")),
    Case("cross_entropy-probabilities-smooth", _loss("cross_entropy", label_smoothing=0.3),
         (Arg((2, 5, 3)), Arg((2, 5, 3), 0.1, 1.0), _WEIGHT), differentiable=(0, 1)),
    Case("cross_entropy-probabilities-one", _loss("cross_entropy", reduction="sum"),
         (Arg((5,)), Arg((5,), 0.1, 1.0))),
]  # fmt: skip

CASES = [*_SOFTMAX, *_LOSSES]

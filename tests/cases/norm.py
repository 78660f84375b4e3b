"""Rows for normalisations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cases.case import Arg, Case

_C = Arg((6,), 0.5, 1.5)
_ROW = Arg((33,), 0.5, 1.5)


def _norm(name: str, *args: Any, **options: Any) -> Callable[..., Any]:
    """``name(input, *args, weight, bias)`` with further options."""
    return lambda t, x, *wb: getattr(t.nn.functional, name)(x, *args, *wb, **options)


def _batch(training: bool, statistics: bool = False, **options: Any) -> Callable[..., Any]:
    """Batch norm; the running statistics it leaves behind too, if ``statistics`` are asked for."""

    def call(t: Any, x: Any, mean: Any, var: Any, *wb: Any) -> Any:
        mean, var = mean.clone(), var.clone()
        out = t.nn.functional.batch_norm(x, mean, var, *wb, training=training, **options)
        return (out, mean, var) if statistics else out

    return call


def _instance(t: Any, x: Any, mean: Any, var: Any) -> Any:
    mean, var = mean.clone(), var.clone()
    return t.nn.functional.instance_norm(x, mean, var), mean, var


_RUNNING = (Arg((6,)), Arg((6,), 0.5, 2.0))

CASES = [
    Case("layer_norm", _norm("layer_norm", (33,)), (Arg((5, 33)), _ROW, _ROW)),
    Case("layer_norm-plain", _norm("layer_norm", (33,)), (Arg((2, 3, 33)),)),
    Case("layer_norm-weight", _norm("layer_norm", (9,)), (Arg((5, 9)), Arg((9,)))),
    Case("layer_norm-two", _norm("layer_norm", (3, 5), eps=1e-3),
         (Arg((4, 3, 5)), Arg((3, 5)), Arg((3, 5)))),
    Case("layer_norm-many", _norm("layer_norm", (17,)), (Arg((201, 17)), Arg((17,)), Arg((17,))),
         second_order=False),
    Case("layer_norm-long", _norm("layer_norm", (5003,)), (Arg((3, 5003)),), differentiable=()),
    Case("layer_norm-none", _norm("layer_norm", (5,)), (Arg((0, 5)), Arg((5,)), Arg((5,)))),
    Case("layer_norm-far", _norm("layer_norm", (33,)), (Arg((3, 33), 99.0, 101.0),), tolerance=20,
         reason="the input's own rounding: 100 against a spread of 1", differentiable=()),
    Case("rms_norm", _norm("rms_norm", (33,)), (Arg((5, 33)), _ROW)),
    Case("rms_norm-plain", _norm("rms_norm", (3, 11), None, 1e-3), (Arg((5, 3, 11)),)),
    *(
        Case(f"group_norm-{groups}", _norm("group_norm", groups), (Arg((2, 6, 3, 5)), _C, _C))
        for groups in (1, 3, 6)
    ),
    Case("group_norm-plain", _norm("group_norm", 2), (Arg((3, 6, 17)),)),
    Case("group_norm-flat", _norm("group_norm", 2), (Arg((5, 6)), _C, _C)),
    Case("instance_norm", _norm("instance_norm"), (Arg((2, 6, 3, 5)),)),
    Case("instance_norm-affine", lambda t, x, w, b: t.nn.functional.instance_norm(
        x, weight=w, bias=b), (Arg((2, 6, 9)), _C, _C)),
    Case("instance_norm-running", _instance, (Arg((3, 6, 9)), *_RUNNING), differentiable=()),
    *(
        Case(f"batch_norm-{'train' if training else 'eval'}-{len(shape)}d", _batch(training),
             (Arg(shape), *_RUNNING, _C, _C), differentiable=(0, 3, 4))
        for training in (True, False)
        for shape in ((7, 6), (3, 6, 9), (2, 6, 3, 5), (2, 6, 2, 3, 2))
    ),
    Case("batch_norm-plain", lambda t, x: t.nn.functional.batch_norm(x, None, None, training=True),
         (Arg((5, 6)),)),
    Case("batch_norm-wide", _batch(True, momentum=0.3, eps=1e-3),
         (Arg((9, 131)), Arg((131,)), Arg((131,), 0.5, 2.0), Arg((131,)), Arg((131,))),
         differentiable=(0, 3, 4), second_order=False),
    *(
        Case(f"batch_norm-statistics-{len(shape)}d", _batch(True, statistics=True),
             (Arg(shape), *_RUNNING), differentiable=())
        for shape in ((7, 6), (3, 6, 9))
    ),
    Case("batch_norm-tall", _batch(True, statistics=True), (Arg((61, 6, 67)), *_RUNNING),
         differentiable=()),
]  # fmt: skip

"""Rows for activation functions. Strides are the elementwise loop's business, tested there."""

from __future__ import annotations

from typing import Any

from tests.cases.case import FLOATS, Arg, Case

_X = Arg((3, 11), -5.0, 5.0, away=(-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 3.0))
_SMOOTH = Arg((3, 11), -5.0, 5.0)
_WIDE = Arg((40,), -120.0, 120.0, away=(-6.0, -3.0, 0.0, 3.0, 6.0))


def _row(name: str, *args: Any, curved: bool = False, **kwargs: Any) -> list[Case]:
    """A function with its options: values and gradients; to second order if it is ``curved``."""

    def call(t: Any, x: Any) -> Any:
        return getattr(t.nn.functional, name)(x, *args, **kwargs)

    given = [str(v) for v in (*args, *kwargs.values())]
    title = "-".join([name, *given])
    arg = _SMOOTH if curved else _X
    return [
        Case(title, call, (arg,), strided=False, second_order=curved),
        Case(f"{title}-wide", call, (_WIDE,), strided=False, differentiable=()),
    ]


# PyTorch computes their gradients with constants rounded to float32, even in float64
_ROUGH = [
    Case("celu", lambda t, x: t.nn.functional.celu(x, 0.7), (_X,), FLOATS, (), strided=False),
    Case(
        "hardsigmoid",
        lambda t, x: t.nn.functional.hardsigmoid(x),
        (_WIDE,),
        FLOATS,
        (),
        strided=False,
    ),
]

_BOTH = [
    *_row("relu"),
    *_row("relu6"),
    *_row("leaky_relu", 0.1),
    *_row("elu", 0.7),
    *_row("selu"),
    *_row("gelu", curved=True),
    *_row("gelu", approximate="tanh", curved=True),
    *_row("silu", curved=True),
    *_row("mish", curved=True),
    *_row("softplus", 2.0, 1.0),
    *_row("softplus", curved=True),
    *_row("logsigmoid"),
    *_row("softsign"),
    *_row("tanhshrink", curved=True),
    *_row("hardtanh", -1.0, 1.5),
    *_row("hardswish"),
    *_row("softshrink", 0.5),
    *_row("hardshrink", 0.5),
    *_row("threshold", 0.5, -1.0),
]

_KINKED = Arg((9,), values=[-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0])


def _at_kinks(name: str, *args: Any) -> Case:
    """PyTorch's choice of a derivative where there is none."""

    def call(t: Any, x: Any) -> Any:
        x = x.detach().requires_grad_()
        y = getattr(t.nn.functional, name)(x, *args)
        y.backward(t.ones_like(y))
        return x.grad

    return Case(f"{name}-kinks", call, (_KINKED,), FLOATS, (), strided=False)


CASES = [
    *_BOTH,
    *_ROUGH,
    _at_kinks("relu"),
    _at_kinks("relu6"),
    _at_kinks("leaky_relu", 0.1),
    _at_kinks("elu", 0.7),
    _at_kinks("hardtanh", -1.0, 1.0),
    _at_kinks("hardswish"),
    _at_kinks("softshrink", 0.5),
    _at_kinks("hardshrink", 0.5),
    _at_kinks("threshold", 0.5, -1.0),
    _at_kinks("softplus", 1.0, 3.0),
    Case(
        "prelu-channels",
        lambda t, x, w: t.nn.functional.prelu(x, w),
        (Arg((2, 3, 5), away=(0.0,)), Arg((3,), 0.1, 0.4)),
    ),
    Case(
        "prelu-one",
        lambda t, x, w: t.nn.functional.prelu(x, w),
        (Arg((7,), away=(0.0,)), Arg((1,), 0.1, 0.4)),
        strided=False,
    ),
    Case("glu", lambda t, x: t.nn.functional.glu(x, 1), (Arg((3, 8, 2)),)),
    Case("glu-last", lambda t, x: t.nn.functional.glu(x), (Arg((3, 6)),), second_order=False),
    Case(
        "hardtanh-int",
        lambda t, x: t.nn.functional.hardtanh(x, -1, 1),
        (Arg((9,)),),
        ("int64",),
        (),
    ),
]

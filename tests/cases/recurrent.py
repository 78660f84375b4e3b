"""Rows for recurrent layers and cells."""

from __future__ import annotations

from typing import Any

from tests.cases.case import Arg, Case

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
T, B, I, H = 3, 2, 2, 3  # noqa: E741  # steps, batch, features, units


def _small(*shape: int) -> Arg:
    return Arg(shape, -1.0, 1.0)


def _parameters(name: str, inputs: int, bias: bool) -> tuple[Arg, ...]:
    rows = _GATES[name] * H
    biases = (_small(rows), _small(rows)) if bias else ()
    return _small(rows, inputs), _small(rows, H), *biases


def _layers(name: str, sides: int = 1, bias: bool = True, sizes: Any = None) -> Case:
    """One layer in one or two directions; with ``sizes`` of packed rows."""
    states = 2 if name == "lstm" else 1

    def call(t: Any, x: Any, *rest: Any) -> Any:
        hx, params = rest[:states], list(rest[states:])
        first = hx if name == "lstm" else hx[0]
        how = (bias, 1, 0.0, True, sides == 2)
        if sizes is not None:
            return getattr(t, name)(x, t.tensor(sizes), first, params, *how)
        return getattr(t, name)(x, first, params, *how, False)

    input = _small(sum(sizes), I) if sizes is not None else _small(T, B, I)
    params = [p for _ in range(sides) for p in _parameters(name, I, bias)]
    label = "".join(
        ["-both" * (sides == 2), "-plain" * (not bias), "-packed" * (sizes is not None)]
    )
    small = sides == 1 and bias and sizes is None
    return Case(
        f"{name}{label}", call, (input, *[_small(sides, B, H)] * states, *params),
        second_order=small, strided=small,
        simulated=("forward", "gradient") if small else (),
    )  # fmt: skip


def _cell(name: str) -> Case:
    states = 2 if name == "lstm" else 1

    def call(t: Any, x: Any, *rest: Any) -> Any:
        hx = rest[:states] if name == "lstm" else rest[0]
        return getattr(t, f"{name}_cell")(x, hx, *rest[states:])

    args = (_small(B, I), *[_small(B, H)] * states, *_parameters(name, I, True))
    return Case(f"{name}_cell", call, args, second_order=False, simulated=())


CASES = [
    *(_layers(name) for name in _GATES),
    *(_layers(name, 2, sizes=(2, 2, 1)) for name in _GATES),
    _layers("lstm", 2),
    _layers("gru", bias=False),
    _layers("lstm", bias=False, sizes=(2, 1)),
    *(_cell(name) for name in _GATES),
]

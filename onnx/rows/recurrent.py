"""Layers of recurrent cells: RNN, GRU and LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.onnx.graph import Builder
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.tracing import Step, Value

# the gates of PyTorch's order in ONNX's
_ORDER = {"tanh": (0,), "relu": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
_KINDS = {"tanh": "RNN", "relu": "RNN", "lstm": "LSTM", "gru": "GRU"}


def _turned(g: Builder, name: str, mode: str, H: Any) -> str:
    """The rows of a weight, or the elements of a bias, by ONNX's order of gates."""
    order = _ORDER[mode]
    if len(order) == 1:
        return name
    parts = [g.slice(name, 0, k * H, (k + 1) * H) for k in order]
    return g.op("Concat", *parts, axis=0)


def _input(g: Builder, gates: Value, width: Any) -> tuple[str, str, str]:
    """(the input's rows, its weight, its bias or ""), where a linear layer made its part of the gates; else
    that part as it is, by the unit matrix.
    """
    made = gates.step
    if made is not None and made.name == "linear":
        x, weight, *bias = made.operands
        return g.name(x), g.name(weight), g.name(bias[0]) if bias else ""
    return g.name(gates), g.constant(np.eye(width, dtype=gates.dtype.numpy)), ""


@row("recurrent")
def _recurrent(g: Builder, step: Step) -> list[str | None]:
    """One direction over rows of all steps. What the backward pass keeps has no results."""
    mode, sizes = step.metadata["mode"], step.metadata["sizes"]
    gates, weight, h, *rest = step.operands
    cells = mode == "lstm"
    bias = rest[cells] if len(rest) > cells else None
    steps, batch = sizes
    H = weight.shape[1]
    width = gates.shape[1]
    x, w, b = _input(g, gates, width)
    turned = [_turned(g, n, mode, H) for n in (w, g.name(weight))]
    none = g.constant(np.zeros(int(width), gates.dtype.numpy))
    biases = [_turned(g, n or none, mode, H) for n in (b, g.name(bias) if bias else "")]
    rows = g.op("Reshape", x, g.ints([steps, batch, -1]))
    first = [g.op("Unsqueeze", g.name(v), g.axes([0])) for v in ((h, rest[0]) if cells else (h,))]
    how: dict[str, Any] = {
        "hidden_size": int(H),
        "direction": "reverse" if step.metadata["reverse"] else "forward",
    }
    if mode == "gru":
        how["linear_before_reset"] = 1
    if mode in ("tanh", "relu"):
        how["activations"] = [mode.capitalize()]
    one = g.axes([0])
    names = [g.op("Unsqueeze", n, one) for n in turned]
    joined = g.op("Unsqueeze", g.op("Concat", *biases, axis=0), one)
    made = g.ops(_KINDS[mode], rows, *names, joined, "", *first, count=2 + cells, **how)
    out = g.op("Reshape", made[0], g.constant([-1, int(H)], np.int64))
    last: list[str | None] = [g.op("Squeeze", n, one) for n in made[1:]]
    return [out, *[None] * (len(step.results) - 1 - len(last)), *last]

"""RNN, GRU and LSTM, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.onnx.tables.call import Call, says

Activation = Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "relu": lambda x, a, b: tilegrad.relu(x),
    "tanh": lambda x, a, b: tilegrad.tanh(x),
    "sigmoid": lambda x, a, b: tilegrad.sigmoid(x),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: F.leaky_relu(x, a),
    "thresholdedrelu": lambda x, a, b: tilegrad.where(x >= a, x, tilegrad.zeros_like(x)),
    "scaledtanh": lambda x, a, b: a * tilegrad.tanh(b * x),
    "hardsigmoid": lambda x, a, b: (a * x + b).clamp(0.0, 1.0),
    "elu": lambda x, a, b: F.elu(x, a),
    "softsign": lambda x, a, b: F.softsign(x),
    "softplus": lambda x, a, b: F.softplus(x),
}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_NUMBERS = {
    "leakyrelu": (0.01, 0.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, 0.0),
    "thresholdedrelu": (1.0, 0.0),
}


def _activations(call: Call, directions: int) -> list[list[Activation]]:
    """Per direction, the functions that its gates go through."""
    each = _DEFAULTS[call.kind]
    names = call.get("activations", each * directions)
    alphas, betas = list(call.get("activation_alpha", [])), list(call.get("activation_beta", []))
    clip = call.get("clip")
    made: list[Activation] = []
    for name in names:
        low = name.lower() if isinstance(name, str) else name.decode().lower()
        if low not in _ACTIVATIONS:
            raise call.refuse(f"the activation {name}")
        a, b = _NUMBERS.get(low, (1.0, 1.0))
        if low in ("affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"):
            a = alphas.pop(0) if alphas else a
        if low in ("affine", "scaledtanh", "hardsigmoid"):
            b = betas.pop(0) if betas else b

        def run(x: Tensor, function: Any = _ACTIVATIONS[low], a: float = a, b: float = b) -> Tensor:
            return function(x if clip is None else x.clamp(-clip, clip), a, b)  # type: ignore[no-any-return]

        made.append(run)
    return [made[k * len(each) : (k + 1) * len(each)] for k in range(directions)]


def _rnn(gates: Sequence[Tensor], state: tuple[Tensor, ...], R: Tensor, b: Tensor, f: list[Activation], rest: Any) -> tuple[Tensor, ...]:  # fmt: skip
    (x,), (h,) = gates, state
    return (f[0](x + tilegrad.matmul(h, R.t()) + b),)


def _gru(gates: Sequence[Tensor], state: tuple[Tensor, ...], R: Tensor, b: Tensor, f: list[Activation], rest: Any) -> tuple[Tensor, ...]:  # fmt: skip
    (z, r, n), (h,) = gates, state
    H = h.shape[1]
    Rz, Rr, Rn = R.split(H, 0)
    bz, br, bn = b.split(H, 0)
    z = f[0](z + tilegrad.matmul(h, Rz.t()) + bz)
    r = f[0](r + tilegrad.matmul(h, Rr.t()) + br)
    if rest["linear_before_reset"]:
        n = f[1](n + r * (tilegrad.matmul(h, Rn.t()) + bn))
    else:
        n = f[1](n + tilegrad.matmul(r * h, Rn.t()) + bn)
    return ((1 - z) * n + z * h,)


def _lstm(gates: Sequence[Tensor], state: tuple[Tensor, ...], R: Tensor, b: Tensor, f: list[Activation], rest: Any) -> tuple[Tensor, ...]:  # fmt: skip
    h, c = state
    H = h.shape[1]
    i, o, g, n = (
        x + y for x, y in zip(gates, (tilegrad.matmul(h, R.t()) + b).split(H, 1), strict=True)
    )
    peep = rest["peepholes"]
    pi, po, pf = peep.split(H, 0) if peep is not None else (None, None, None)
    if pi is not None:
        i, g = i + pi * c, g + pf * c
    i = f[0](i)
    g = 1 - i if rest["input_forget"] else f[0](g)
    c = g * c + i * f[1](n)
    if po is not None:
        o = o + po * c
    return f[0](o) * f[2](c), c


_CELLS = {"RNN": (_rnn, 1), "GRU": (_gru, 3), "LSTM": (_lstm, 4)}


@says("RNN", "GRU", "LSTM")
def _recurrent(
    call: Call, x: Tensor, W: Tensor, R: Tensor, B: Tensor | None = None, lengths: Tensor | None = None,
    first_h: Tensor | None = None, first_c: Tensor | None = None, P: Tensor | None = None,
) -> Any:  # fmt: skip
    cell, count = _CELLS[call.kind]
    directions, H = R.shape[0], R.shape[2]
    batch_first = bool(call.get("layout", 0))
    if batch_first:
        x = x.transpose(0, 1)
        first_h = None if first_h is None else first_h.transpose(0, 1)
        first_c = None if first_c is None else first_c.transpose(0, 1)
    T, N = x.shape[:2]
    functions = _activations(call, directions)
    outs, lasts = [], []
    for side in range(directions):
        zero = tilegrad.zeros(N, H, dtype=x.dtype)
        state: tuple[Tensor, ...] = (zero if first_h is None else first_h[side],)
        if call.kind == "LSTM":
            state = (*state, zero if first_c is None else first_c[side])
        bias = tilegrad.zeros(2 * count * H, dtype=x.dtype) if B is None else B[side]
        back = call.get("direction", "forward") == "reverse" or side == 1
        rest = {
            "linear_before_reset": call.get("linear_before_reset", 0), "input_forget": call.get("input_forget", 0),
            "peepholes": None if P is None else P[side],
        }  # fmt: skip
        made: list[Any] = [None] * T
        for step in range(T):
            t = T - 1 - step if back else step
            gates = tilegrad.matmul(x[t], W[side].t()) + bias[: count * H]
            now = cell(gates.split(H, 1), state, R[side], bias[count * H :], functions[side], rest)
            if lengths is not None:
                going = (lengths > t).reshape(-1, 1)
                out = tilegrad.where(going, now[0], tilegrad.zeros_like(now[0]))
                now = tuple([tilegrad.where(going, a, b) for a, b in zip(now, state, strict=True)])
            else:
                out = now[0]
            made[t], state = out, now
        outs.append(tilegrad.stack(made, 0))
        lasts.append(state)
    Y = tilegrad.stack(outs, 1)
    ends = [tilegrad.stack([s[k] for s in lasts], 0) for k in range(len(lasts[0]))]
    if batch_first:
        Y = Y.permute(2, 0, 1, 3)
        ends = [e.transpose(0, 1) for e in ends]
    return (Y, *ends)

"""Recurrent layers (plain, LSTM, GRU) and single cells, PyTorch's functions and order of gates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, needs_graph
from tilegrad.autograd.rules import matmul, pointwise, reduce, view
from tilegrad.autograd.rules.activation import relu
from tilegrad.autograd.rules.movement import cat, stack
from tilegrad.autograd.rules.rearrange import chunk
from tilegrad.autograd.rules.sampling import dropout as drop
from tilegrad.autograd.rules.view import narrow, reshape, select, squeeze, transpose, unsqueeze
from tilegrad.autograd.traversal import backward
from tilegrad.engine.ops import recurrent as ops
from tilegrad.engine.shape import Shape

__all__ = [
    "gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell",
]  # fmt: skip

States = tuple[Tensor, ...]


class _Meta(NamedTuple):
    """A layer in one direction: which cell, members of the batch at each step, from the last step on,
    and whether the states' part of the pre-activations has a bias.
    """

    mode: str
    sizes: Shape
    reverse: bool
    biased: bool


# ---------------------------------------------------------------------------------- one direction


def _step(
    mode: str, gx: Tensor, states: States, w: Tensor, b: Tensor | None, project: Tensor | None
) -> States:
    """The states after one step; ``gx`` is the input's part of the pre-activations."""
    sigmoid, tanh = pointwise.sigmoid, pointwise.tanh
    gh = matmul.linear(states[0], w, b)
    if mode == "gru":
        (xr, xz, xn), (hr, hz, hn) = chunk(gx, 3, 1), chunk(gh, 3, 1)
        n = tanh(xn + sigmoid(xr + hr) * hn)
        return ((states[0] - n) * sigmoid(xz + hz) + n,)
    if mode != "lstm":
        return ((tanh if mode == "tanh" else relu)(gx + gh),)
    i, f, g, o = chunk(gx + gh, 4, 1)
    c = sigmoid(f) * states[1] + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h if project is None else matmul.linear(h, project), c


class Weights(NamedTuple):
    """Of a layer in one direction: (gates H, features), (gates H, H), biases (gates H,) or None, and of an LSTM
    whose states are projected (P, H).
    """

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    w_hr: Tensor | None = None


def _composed(meta: _Meta, x: Tensor, weights: Weights, first: States) -> tuple[Tensor, ...]:
    """(output, last states) by differentiable functions, step by step."""
    mode, sizes, reverse, _ = meta
    w_ih, w, b_ih, b, project = weights
    gx = matmul.linear(x, w_ih, b_ih)
    starts = [0, *accumulate(sizes)]
    order = range(len(sizes))
    now = first
    if reverse:
        order = order[::-1]
        now = tuple([narrow(s, 0, 0, sizes[-1]) for s in first])
    outs: list[Tensor] = []
    ended: list[States] = []
    for t in order:
        n, had = sizes[t], now[0].shape[0]
        if n < had:
            ended.append(tuple([narrow(s, 0, n, had - n) for s in now]))
            now = tuple([narrow(s, 0, 0, n) for s in now])
        elif n > had:
            begun = [narrow(s, 0, had, n - had) for s in first]
            now = tuple([cat(pair) for pair in zip(now, begun, strict=True)])
        now = _step(mode, narrow(gx, 0, starts[t], n), now, w, b, project)
        outs.append(now[0])
    parts = [now, *reversed(ended)]
    last = [cat(pieces) if len(parts) > 1 else pieces[0] for pieces in zip(*parts, strict=True)]
    return cat(outs[::-1] if reverse else outs), *last


def _before(meta: _Meta, out: Tensor, first: Tensor) -> Tensor:
    """The states before each step, as the rows of ``out`` lie: those of the step that came before it, and
    ``first`` of members that begin with it.
    """
    sizes, starts = meta.sizes, [0, *accumulate(meta.sizes)]
    steps, n = len(sizes), sizes[0]
    if sizes[-1] == n:
        if steps == 1:
            return first
        came = narrow(out, 0, n if meta.reverse else 0, n * (steps - 1))
        return cat((came, first) if meta.reverse else (first, came))
    pieces: list[Tensor] = []
    for t, n in enumerate(sizes):
        past = t + 1 if meta.reverse else t - 1
        had = min(n, sizes[past]) if 0 <= past < steps else 0
        if had:
            pieces.append(narrow(out, 0, starts[past], had))
        if n > had:
            pieces.append(narrow(first, 0, had, n - had))
    return cat(pieces)


def _layer_vjp(node: Node, grad: Tensor, *last: Tensor) -> tuple[Tensor | None, ...]:
    meta: _Meta = node.meta
    x, w_ih, w_hh, *rest = node.unpack()
    count, biases = len(last), 2 if meta.biased else 0
    first, given, kept = tuple(rest[:count]), rest[count : count + biases], rest[count + biases :]
    inputs = 3 + count + biases
    if state.grad:
        operands = [view.apart(t) for t in (x, w_ih, w_hh, *first, *given)]
        x, w_ih, w_hh, *rest = operands
        first, weights = tuple(rest[:count]), Weights(w_ih, w_hh, *rest[count:])
        wanted = [t for t, edge in zip(operands, node.edges, strict=False) if edge is not None]
        outs = _composed(meta, x, weights, first)
        found = iter(backward(outs, [grad, *last], True, True, wanted))
        grads = [next(found) if edge is not None else None for edge in node.edges[:inputs]]
        return *grads, *[None] * (len(node.edges) - inputs)
    *kept, out = kept
    before = None
    if meta.mode == "gru" or node.edges[2] is not None:
        before = _before(meta, out, first[0])
    read: Any = (*kept, before) if meta.mode == "gru" else kept or (out,)
    made = ops.backward(meta.mode, grad, w_hh, last, read, meta.sizes, meta.reverse)
    dx, dh, now = tensor_of(made[0]), tensor_of(made[1]), map(tensor_of, made[2])
    dw_hh = None
    if node.edges[2] is not None and before is not None:
        dw_hh = matmul.matmul(transpose(dh, 0, 1), before)
    return (
        matmul.matmul(dx, w_ih) if node.edges[0] is not None else None,
        matmul.matmul(transpose(dx, 0, 1), x) if node.edges[1] is not None else None,
        dw_hh,
        *now,
        *[reduce.sum(d, 0) for d in (dx, dh)[:biases]],
        *[None] * (len(node.edges) - inputs),
    )


# by name and number of operands: inputs, what the forward pass kept, then the result
_LAYERS = {
    (name, count): Rule(name, _layer_vjp, (*range(count), -1))
    for name in ("rnn", "lstm", "gru")
    for count in range(4, 10)
}


def layer(meta: _Meta, x: Tensor, weights: Weights, first: States) -> tuple[Tensor, ...]:
    """(output, last states) of a layer in one direction.

    Args:
        x: (rows of all steps, features). first: the states at the beginning, (batch, H), of an LSTM two.
    Gradient: all; saves the operands, the gates, the cells of an LSTM, and the result.
    """
    if weights.w_hr is not None:
        return _composed(meta, x, weights, first)
    w_ih, w_hh, b_ih, b_hh, _ = weights
    inputs = (x, w_ih, w_hh, *first, *(() if b_ih is None or b_hh is None else (b_ih, b_hh)))
    tracked = state.grad and needs_graph(inputs)
    bias = None if b_ih is None else b_ih.detach()
    if bias is not None and b_hh is not None and meta.mode != "gru":
        bias = bias + b_hh.detach()  # one bias for the sum of both parts
    gx = matmul.linear(x.detach(), w_ih.detach(), bias)
    apart = b_hh if meta.mode == "gru" else None
    made = ops.forward(meta.mode, gx, w_hh, apart, first, meta.sizes, meta.reverse, bool(tracked))
    out, last, kept = tensor_of(made[0]), tuple(map(tensor_of, made[1])), made[2]
    if not tracked:
        return out, *last
    gates = (gx,) if meta.mode in ("lstm", "gru") else ()
    operands = (*inputs, *gates, *map(tensor_of, kept))
    name = meta.mode if meta.mode in ("lstm", "gru") else "rnn"
    return _LAYERS[name, len(operands)].record_all(operands, (out, *last), meta)


# -------------------------------------------------------------------------------------- all layers


def _weights(params: Sequence[Tensor], biased: bool, projected: bool) -> list[Weights]:
    """The weights of every layer and direction."""
    each = 2 + 2 * biased + projected
    found = []
    for at in range(0, len(params), each):
        part = list(params[at : at + each])
        w_hr = part.pop() if projected else None
        found.append(Weights(*part)._replace(w_hr=w_hr))
    return found


def _run(
    mode: str, x: Tensor, sizes: Shape, hx: States, params: Sequence[Tensor], biased: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """(output, last states of all layers) for packed rows ``x``."""
    directions = 1 + bidirectional
    projected = mode == "lstm" and hx[0].shape[-1] != hx[1].shape[-1]
    weights = _weights(params, biased, projected)
    if len(weights) != num_layers * directions:
        raise RuntimeError(
            f"{mode}: weights for {num_layers * directions} layers and directions expected; "
            f"got {len(params)} tensors"
        )
    last: list[tuple[Tensor, ...]] = []
    for depth in range(num_layers):
        outs = []
        for side in range(directions):
            first = tuple([select(h, 0, depth * directions + side) for h in hx])
            meta = _Meta(mode, sizes, bool(side), biased)
            out, *now = layer(meta, x, weights[depth * directions + side], first)
            outs.append(out)
            last.append(tuple(now))
        x = cat(outs, 1) if bidirectional else outs[0]
        if dropout and train and depth < num_layers - 1:
            x = drop(x, dropout, train)
    return x, *[stack(of_all) for of_all in zip(*last, strict=True)]


def _steps_of(mode: str, x: Tensor, hx: States, batch_first: bool) -> tuple[Tensor, int, int]:
    """(rows of all steps, steps, batch) of (steps, batch, features), or with ``batch_first`` (batch,
    steps, features).
    """
    if x.ndim != 3:
        raise RuntimeError(f"{mode}: input must have 3 dimensions, got {x.ndim}")
    turned = transpose(x, 0, 1) if batch_first else x
    steps, batch, features = turned.shape
    if steps == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    for h in hx:
        if h.ndim != 3 or h.shape[1] != batch:
            raise RuntimeError(
                f"{mode}: Expected hidden states of {batch} batch members; got {tuple(h.shape)}"
            )
    return reshape(turned, (steps * batch, features)), steps, batch


_NAMES = ("hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional")


def _public(mode: str, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Tensor, ...]:
    """Either of PyTorch's forms, that of packed rows if its fourth argument is not ``has_biases``."""
    packed = "batch_sizes" in kwargs or (len(args) > 3 and not isinstance(args[3], bool))
    names = ("data", "batch_sizes", *_NAMES) if packed else ("input", *_NAMES, "batch_first")
    given: dict[str, Any] = dict(zip(names, args, strict=False)) | kwargs
    if given.keys() != set(names) or len(args) + len(kwargs) != len(names):
        raise TypeError(f"{mode}: arguments are {', '.join(names)}; got {', '.join(given)}")
    hx = given["hx"]
    states: States = tuple(hx) if mode == "lstm" else (hx,)
    rest = [given[n] for n in _NAMES[1:]]
    if packed:
        return _run(mode, given["data"], tuple(given["batch_sizes"].tolist()), states, *rest)
    first: bool = given["batch_first"]
    flat, steps, batch = _steps_of(mode, given["input"], states, first)
    out, *last = _run(mode, flat, (batch,) * steps, states, *rest)
    bidirectional = rest[-1]
    out = called("cat" if bidirectional else "stack", reshape(out, (steps, batch, out.shape[1])))
    return transpose(out, 0, 1) if first else out, *last


def lstm(*args: object, **kwargs: object) -> tuple[Tensor, ...]:
    """(output, last states, last cells) of the layers of an LSTM.

    ``lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``, or
    ``lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)`` for
    packed rows. ``hx`` are states (layers and directions, batch, H) and cells; ``params`` of each layer
    and direction w_ih, w_hh and with ``has_biases`` b_ih, b_hh, then w_hr where states are projected.
    """
    return _public("lstm", args, kwargs)


def gru(*args: object, **kwargs: object) -> tuple[Tensor, ...]:
    """(output, last states) of the layers of a GRU; arguments of :func:`lstm`, ``hx`` one tensor."""
    return _public("gru", args, kwargs)


def rnn_tanh(*args: object, **kwargs: object) -> tuple[Tensor, ...]:
    """:func:`gru` for plain cells, tanh(x W_ih^T + b_ih + h W_hh^T + b_hh)."""
    return _public("tanh", args, kwargs)


def rnn_relu(*args: object, **kwargs: object) -> tuple[Tensor, ...]:
    """:func:`rnn_tanh` with ReLU."""
    return _public("relu", args, kwargs)


# ------------------------------------------------------------------------------------ single cells


def _cell(
    name: str, mode: str, input: Tensor, hx: States, w_ih: Tensor, w_hh: Tensor,
    b_ih: Tensor | None, b_hh: Tensor | None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The states after one step of (batch, features), or of one member without a batch."""
    gates, H = ops.GATES[mode], w_hh.shape[1]
    single = input.ndim == 1
    x, first = input, hx
    if single:
        x, first = unsqueeze(input, 0), tuple([unsqueeze(h, 0) for h in hx])
    if x.shape[1] != w_ih.shape[1]:
        raise RuntimeError(
            f"{name}: input has inconsistent input_size: got {x.shape[1]} expected {w_ih.shape[1]}"
        )
    for h in first:
        if tuple(h.shape) != (x.shape[0], H):
            raise RuntimeError(
                f"{name}: states of shape {(x.shape[0], H)} expected; got {tuple(h.shape)}"
            )
    if w_ih.shape[0] != gates * H:
        raise RuntimeError(f"{name}: weights have {gates} times {H} rows; got {w_ih.shape[0]}")
    meta = _Meta(mode, (x.shape[0],), False, b_hh is not None)
    _, *last = layer(meta, x, Weights(w_ih, w_hh, b_ih, b_hh), first)
    return tuple([squeeze(s, 0) for s in last]) if single else tuple(last)


def lstm_cell(
    input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(state, cell) after one step of an LSTM; ``hx`` are those before, (batch, H)."""
    if len(hx) != 2:
        raise RuntimeError(f"lstm_cell expects two hidden states; got {len(hx)}")
    h, c = _cell("lstm_cell", "lstm", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return h, c


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The state after one step of a GRU."""
    return _cell("gru_cell", "gru", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The state after one step of a plain cell with tanh."""
    return _cell("rnn_tanh_cell", "tanh", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The state after one step of a plain cell with ReLU."""
    return _cell("rnn_relu_cell", "relu", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]

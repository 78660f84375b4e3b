"""Recurrent layers against PyTorch's, with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import nn

T, B, I, H = 5, 3, 4, 6  # noqa: E741  # steps, batch, features, units
ARGUMENTS = {
    "plain": {},
    "deep": {"num_layers": 3, "bidirectional": True},
    "first": {"batch_first": True, "bias": False},
    "dropped": {"num_layers": 2, "dropout": 0.5},
}


def _pair(make: Any) -> tuple[Any, Any]:
    ours, theirs = make(nn).double(), make(torch.nn).double()
    assert repr(ours) == repr(theirs)
    state = {k: tilegrad.from_numpy(np.array(v.numpy())) for k, v in theirs.state_dict().items()}
    assert list(state) == list(ours.state_dict())
    ours.load_state_dict(state)
    return ours, theirs


def _flat(found: Any) -> list[Any]:
    if isinstance(found, tuple):
        return [x for part in found for x in _flat(part)]
    return [] if found is None else [found]


def _compare(ours: Any, theirs: Any, call: Any, arrays: list[np.ndarray]) -> None:
    """``call(t, module, *tensors)`` in both, with all gradients."""
    found = []
    for t, module in ((tilegrad, ours), (torch, theirs)):
        tensors = [t.from_numpy(a.copy()).requires_grad_() for a in arrays]
        outs = _flat(call(t, module, *tensors))
        floats = [o for o in outs if o.dtype is t.float64]
        sum((o * o).sum() for o in floats).backward()
        graded = [*tensors, *module.parameters()]
        found.append([o.detach().numpy() for o in outs] + [x.grad.numpy() for x in graded])
    for have, want in zip(*found, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("how", ARGUMENTS)
@pytest.mark.parametrize("kind", ["RNN", "RNN-relu", "LSTM", "LSTM-projected", "GRU"])
def test_layers(kind: str, how: str, rng: np.random.Generator) -> None:
    name, _, more = kind.partition("-")
    options = ARGUMENTS[how] | {"": {}, "relu": {"nonlinearity": "relu"}, "projected": {"proj_size": 3}}[more]  # fmt: skip
    ours, theirs = _pair(lambda n: getattr(n, name)(I, H, **options))
    ours.eval(), theirs.eval()
    sides = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    sizes = [options.get("proj_size", H), H][: 1 + (name == "LSTM")]
    states = [rng.standard_normal((sides, B, s)) for s in sizes]
    shape = (B, T, I) if options.get("batch_first") else (T, B, I)

    def whole(t: Any, module: Any, x: Any, *hx: Any) -> Any:
        return module(x, hx if name == "LSTM" else hx[0])

    def single(t: Any, module: Any, x: Any) -> Any:
        return module(x)

    def packed(t: Any, module: Any, x: Any, *hx: Any) -> Any:
        first = options.get("batch_first", False)
        rnn = t.nn.utils.rnn
        rows = rnn.pack_padded_sequence(x, t.tensor([2, 5, 3]), first, enforce_sorted=False)
        out, last = module(rows, hx if name == "LSTM" else hx[0])
        assert isinstance(out, rnn.PackedSequence)
        return *rnn.pad_packed_sequence(out, first, total_length=6), last

    _compare(ours, theirs, whole, [rng.standard_normal(shape), *states])
    ours.zero_grad(), theirs.zero_grad()
    _compare(ours, theirs, single, [rng.standard_normal((T, I))])
    ours.zero_grad(), theirs.zero_grad()
    _compare(ours, theirs, packed, [rng.standard_normal(shape), *states])


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(name: str, dims: int, rng: np.random.Generator) -> None:
    ours, theirs = _pair(lambda n: getattr(n, name)(I, H))
    batch = (B,) if dims == 2 else ()
    states = [rng.standard_normal((*batch, H)) for _ in range(1 + (name == "LSTMCell"))]

    def call(t: Any, module: Any, x: Any, *hx: Any) -> Any:
        return module(x), module(x, hx if name == "LSTMCell" else hx[0])

    _compare(ours, theirs, call, [rng.standard_normal((*batch, I)), *states])


def test_dropout_between_layers_follows_the_mode() -> None:
    layer = nn.LSTM(I, H, 2, dropout=0.5)
    x = tilegrad.ones(T, B, I)
    assert layer(x)[0].tolist() != layer(x)[0].tolist()
    layer.eval()
    assert layer(x)[0].tolist() == layer(x)[0].tolist()


@pytest.mark.parametrize(
    "call",
    [
        lambda t, n: n.LSTM(0, 2),
        lambda t, n: n.GRU(2, 2.0),
        lambda t, n: n.RNN(2, 3, proj_size=1),
        lambda t, n: n.LSTM(2, 3, proj_size=3),
        lambda t, n: n.RNN(2, 3, nonlinearity="elu"),
        lambda t, n: n.LSTM(2, 3, dropout=1.5),
        lambda t, n: n.LSTM(2, 3, bias=1),
        lambda t, n: n.LSTM(2, 3)(t.ones(4, 1, 3)),
        lambda t, n: n.LSTM(2, 3)(t.ones(4)),
        lambda t, n: n.LSTM(2, 3)(t.ones(0, 1, 2)),
        lambda t, n: n.LSTM(2, 3)(t.ones(4, 1, 2, dtype=t.float64)),
        lambda t, n: n.LSTM(2, 3)(t.ones(4, 1, 2), (t.ones(1, 2, 3), t.ones(1, 1, 3))),
        lambda t, n: n.GRU(2, 3)(t.ones(4, 2), t.ones(1, 1, 3)),
        lambda t, n: n.GRU(2, 3)(t.ones(4, 1, 2), t.ones(1, 3)),
        lambda t, n: n.GRUCell(2, 3)(t.ones(1, 1, 2)),
        lambda t, n: n.LSTMCell(2, 3)(t.ones(1, 3)),
        lambda t, n: n.RNNCell(2, 3, nonlinearity="elu")(t.ones(1, 2)),
    ],
)
def test_refuses_what_pytorch_refuses(call: Any) -> None:
    with pytest.raises(Exception) as theirs:  # whatever PyTorch raises
        call(torch, torch.nn)
    with pytest.raises(theirs.type):
        call(tilegrad, nn)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_more_layers_than_memory_are_refused_at_once(kind: str) -> None:
    with pytest.raises(RuntimeError, match="2147483648 times 2048 bytes are more than the"):
        getattr(tilegrad.nn, kind)(1, 1, num_layers=2**31)


def test_warns_of_dropout_in_one_layer() -> None:
    for n in (nn, torch.nn):
        with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
            n.GRU(2, 3, dropout=0.1)

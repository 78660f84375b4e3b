"""Modules: registration, iteration, state dicts, hooks, printing."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.cuda.simulated import ramp
from tilegrad import nn

BOTH = [(tilegrad, nn), (torch, torch.nn)]


def _net(t: Any, n: Any) -> Any:
    """The same network in either library, with a shared layer and a buffer that is not saved."""

    class Inner(n.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = n.Parameter(t.ones(3))
            self.register_buffer("seen", t.zeros(3))
            self.register_buffer("scratch", t.zeros(2), persistent=False)
            self.register_parameter("absent", None)

        def forward(self, x: Any) -> Any:
            return x * self.scale

        def extra_repr(self) -> str:
            return "scale=3"

    class Net(n.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Inner()
            self.layers = n.ModuleList([n.Linear(3, 3), n.Linear(3, 3), n.ReLU()])
            self.again = self.first

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            for layer in self.layers:
                x = layer(x)
            return x

    return Net()


def test_names_order_and_sharing_are_pytorchs() -> None:
    ours, theirs = (_net(t, n) for t, n in BOTH)
    for query in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        have, want = ([k for k, _ in getattr(m, query)()] for m in (ours, theirs))
        assert have == want, query
    for query in ("named_parameters", "named_buffers", "named_modules"):
        have, want = (
            [k for k, _ in getattr(m, query)(remove_duplicate=False)] for m in (ours, theirs)
        )
        assert have == want, query
    assert len(list(ours.parameters(recurse=False))) == 0
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)


def test_assignment_moves_names_between_tables() -> None:
    net = nn.Module()
    net.x = 3
    net.x = nn.Parameter(tilegrad.ones(2))
    assert "x" not in net.__dict__ and list(net._parameters) == ["x"]
    net.x = nn.Linear(1, 1)
    assert not net._parameters and list(net._modules) == ["x"]
    with pytest.raises(TypeError, match="child module"):
        net.x = nn.Buffer(tilegrad.zeros(1))
    del net.x
    net.x = 3
    with pytest.raises(KeyError, match="already exists"):
        net.x = nn.Buffer(tilegrad.zeros(1))
    del net.x
    net.x = nn.Buffer(tilegrad.zeros(1), persistent=False)
    assert not net._modules and list(net.state_dict()) == []
    net.x = tilegrad.ones(1)
    assert net._buffers["x"].item() == 1
    del net.x
    assert not hasattr(net, "x")


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda t, n: setattr(_net(t, n).first, "scale", t.ones(3)), TypeError),
        (lambda t, n: setattr(_net(t, n), "first", 3), TypeError),
        (lambda t, n: setattr(_net(t, n).first, "seen", "a"), TypeError),
        (lambda t, n: _net(t, n).register_parameter("a.b", None), KeyError),
        (lambda t, n: _net(t, n).register_parameter("", None), KeyError),
        (lambda t, n: _net(t, n).register_parameter("forward", None), KeyError),
        (lambda t, n: _net(t, n).register_parameter("p", t.ones(1)), TypeError),
        (lambda t, n: _net(t, n).register_buffer("forward", None), KeyError),
        (lambda t, n: _net(t, n).add_module("m", 3), TypeError),
        (lambda t, n: _net(t, n).nothing, AttributeError),
        (lambda t, n: _net(t, n).get_submodule("layers.7"), AttributeError),
        (lambda t, n: _net(t, n).get_parameter("first.seen"), AttributeError),
        (lambda t, n: n.Module()(1), NotImplementedError),
        (lambda t, n: _net(t, n).train("yes"), ValueError),
        (lambda t, n: _net(t, n).to(t.int64), TypeError),
        (lambda t, n: _net(t, n).load_state_dict(3), TypeError),
    ],
)
def test_refuses_what_pytorch_refuses(act: Any, kind: type) -> None:
    for t, n in BOTH:
        with pytest.raises(kind):
            act(t, n)


def test_assignment_before_init_is_an_error() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match="cannot assign module before"):
        Early()


def test_getters_follow_paths() -> None:
    net = _net(tilegrad, nn)
    assert net.get_submodule("layers.1") is net.layers[1]
    assert net.get_submodule("") is net
    assert net.get_parameter("layers.0.bias") is net.layers[0].bias
    assert net.get_buffer("first.seen") is net.first.seen
    assert "scale" in dir(net.first) and "layers" in dir(net)


# ------------------------------------------------------------------------------------ state dict


def _messages(bad: Any) -> list[str]:
    found = []
    for t, n in BOTH:
        with pytest.raises(RuntimeError) as error:
            _net(t, n).load_state_dict(bad(t))
        found.append(str(error.value).replace("tilegrad.Size", "torch.Size"))
    return found


@pytest.mark.parametrize(
    "bad",
    [
        lambda t: {},
        lambda t: {"first.scale": t.ones(4), "other": t.ones(1), "layers.0.weight": t.ones(3, 4)},
        lambda t: {
            **dict(_net(t, nn if t is tilegrad else torch.nn).state_dict()),
            "x.y": t.ones(1),
        },
    ],
)
def test_load_errors_read_as_pytorchs(bad: Any) -> None:
    ours, theirs = _messages(bad)
    assert ours == theirs


def test_state_dict_shares_memory_and_loading_copies() -> None:
    net, other = _net(tilegrad, nn), _net(tilegrad, nn)
    state = net.state_dict()
    with tilegrad.no_grad():
        net.first.scale.fill_(7)
    assert state["first.scale"].tolist() == [7, 7, 7]
    assert not state["first.scale"].requires_grad
    scale = other.first.scale
    result = other.load_state_dict(state)
    assert str(result) == "<All keys matched successfully>"
    assert other.first.scale is scale and scale.tolist() == [7, 7, 7]
    result = other.load_state_dict({"first.scale": tilegrad.zeros(3), "odd": 1}, strict=False)
    assert result.unexpected_keys == ["odd"]
    assert "layers.0.weight" in result.missing_keys
    given = {k: v.to(tilegrad.float64) for k, v in state.items()}
    other.load_state_dict(given, assign=True)
    assert other.first.scale is not scale
    assert isinstance(other.first.scale, nn.Parameter)
    assert other.layers[0].weight.dtype is tilegrad.float64


def test_state_dict_hooks() -> None:
    net = nn.Linear(2, 2)
    calls: list[str] = []
    handles = [
        net.register_state_dict_pre_hook(lambda m, prefix, keep: calls.append("pre")),
        net.register_state_dict_post_hook(lambda m, d, prefix, meta: d.__delitem__("bias")),
        net.register_load_state_dict_pre_hook(
            lambda m, d, *rest: d.update({"bias": tilegrad.zeros(2)})
        ),
        net.register_load_state_dict_post_hook(lambda m, keys: calls.append("post")),
    ]
    state = net.state_dict()
    assert list(state) == ["weight"]
    net.load_state_dict(state)
    assert net.bias.tolist() == [0, 0]
    assert calls == ["pre", "post"]
    for handle in handles:
        handle.remove()
    assert list(net.state_dict()) == ["weight", "bias"]


# ----------------------------------------------------------------------------------------- hooks


def _forward_hooks(t: Any, n: Any) -> list[Any]:
    seen: list[Any] = []
    layer = n.ReLU()
    layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    layer.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(sorted(kwargs)), with_kwargs=True, prepend=True
    )
    layer.register_forward_hook(lambda m, args, out: out + 1)
    gone = layer.register_forward_hook(lambda m, args, out: out * 100)
    gone.remove()
    layer.register_forward_hook(
        lambda m, args, kwargs, out: seen.append(out.tolist()), with_kwargs=True
    )
    return [layer(t.tensor([-1.0, 2.0])).tolist(), seen]


def test_forward_hooks() -> None:
    ours, theirs = (_forward_hooks(t, n) for t, n in BOTH)
    assert ours == theirs == [[1.0, 5.0], [[], [1.0, 5.0]]]


def test_always_called_hook_sees_a_failure() -> None:
    seen = []
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(RuntimeError):
        layer(tilegrad.ones(3))
    assert seen == [None]


def _plain(value: Any) -> Any:
    return tuple(None if v is None else v.tolist() for v in value)


def _backward_hooks(t: Any, n: Any, needs: bool) -> list[Any]:
    seen: list[Any] = []

    class Two(n.Module):
        def forward(self, x: Any, k: Any, y: Any) -> Any:
            return x * y * weight, x + y

    weight = t.ones(2).requires_grad_()
    module = Two()
    module.register_full_backward_pre_hook(lambda m, out: seen.append(_plain(out)))
    module.register_full_backward_hook(lambda m, i, o: seen.append((_plain(i), _plain(o))))
    module.register_full_backward_hook(
        lambda m, i, o: tuple(None if g is None else g * 10 for g in i)
    )
    x, y = t.tensor([1.0, 2.0]), t.tensor([3.0, 4.0])
    if needs:
        x.requires_grad_()
        y.requires_grad_()
    a, b = module(x, 5, y)
    (a * 2 + b).sum().backward()
    return [
        seen,
        weight.grad.tolist(),
        *(None if v.grad is None else v.grad.tolist() for v in (x, y)),
    ]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # PyTorch's
@pytest.mark.parametrize("needs", [True, False])
def test_backward_hooks(needs: bool) -> None:
    ours, theirs = (_backward_hooks(t, n, needs) for t, n in BOTH)
    assert ours == theirs


# ------------------------------------------------------------------------------------ conversion


def test_dtype_changes_keep_identity_and_integers() -> None:
    layer = nn.BatchNorm1d(3)
    weight = layer.weight
    layer(tilegrad.ones(2, 3)).sum().backward()
    layer.double()
    assert layer.weight is weight and weight.dtype is tilegrad.float64
    assert weight.grad.dtype is tilegrad.float64
    assert layer.running_mean.dtype is tilegrad.float64
    assert layer.num_batches_tracked.dtype is tilegrad.int64
    assert layer.to(tilegrad.ones(1)).weight.dtype is tilegrad.float32
    assert layer.to("cpu", tilegrad.float64).float().weight.dtype is tilegrad.float32


def test_apply_train_and_requires_grad() -> None:
    net = _net(tilegrad, nn)
    order: list[str] = []
    net.apply(lambda m: order.append(type(m).__name__))
    assert order == ["Inner", "Linear", "Linear", "ReLU", "ModuleList", "Net"]
    net.eval()
    assert not any(m.training for m in net.modules())
    net.layers.train()
    assert not net.training and net.layers[0].training
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_zero_grad() -> None:
    layer = nn.Linear(2, 1)
    layer(tilegrad.ones(2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0, 0]]
    layer.zero_grad()
    assert layer.weight.grad is None


def test_deepcopy_keeps_sharing_and_drops_gradients() -> None:
    net = _net(tilegrad, nn)
    net(tilegrad.ones(3)).sum().backward()
    twin = copy.deepcopy(net)
    assert twin.again is twin.first and twin.first is not net.first
    assert isinstance(twin.first.scale, nn.Parameter) and twin.first.scale.requires_grad
    assert twin.first.scale.grad is None
    assert twin.first.scale.data_ptr() != net.first.scale.data_ptr()


def test_parameter_and_buffer() -> None:
    p = nn.Parameter(tilegrad.ones(2))
    assert p.requires_grad and p.is_leaf and repr(p).startswith("Parameter containing:\ntensor(")
    assert not nn.Parameter(tilegrad.ones(2), requires_grad=False).requires_grad
    assert type(p * 2) is tilegrad.Tensor and type(p.detach()) is tilegrad.Tensor
    assert repr(nn.Buffer(tilegrad.ones(2))).startswith("Buffer containing:\n")
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(tilegrad.ones(2, dtype=tilegrad.int64))
    with pytest.raises(TypeError):
        nn.Parameter(3)


# ------------------------------------------------------------------------------------ containers


def _sequential(n: Any) -> list[Any]:
    net = n.Sequential(OrderedDict(a=n.Linear(1, 2), b=n.ReLU()))
    plain = n.Sequential(n.Linear(1, 2), n.ReLU(), n.Tanh())
    log = [repr(net), repr(plain[1:]), repr(plain[-1]), list(net.state_dict()), repr(net[:1])]
    plain.append(n.Linear(2, 1)).insert(1, n.Sigmoid())
    log += [repr(plain), len(plain)]
    del plain[0]
    plain[0] = n.Identity()
    log += [repr(plain), repr(plain + n.Sequential(n.ReLU())), repr(plain.pop(1)), repr(plain)]
    plain.extend([n.ReLU()])
    return [*log, repr(plain)]


def _lists(n: Any) -> list[Any]:
    layers = n.ModuleList([n.Linear(1, 1), n.Linear(1, 1)])
    layers.append(n.ReLU()).extend([n.Tanh(), n.Tanh()])
    layers.insert(1, n.Sigmoid())
    log = [repr(layers), repr(layers[-2:]), len(layers), repr(layers.pop(0))]
    del layers[1:3]
    layers[0] = n.Identity()
    return [*log, repr(layers), repr(layers + [n.ReLU()]), repr(n.ModuleList())]


def _dicts(n: Any) -> list[Any]:
    named = n.ModuleDict({"a": n.ReLU(), "b": n.Tanh()})
    named["c"] = n.Sigmoid()
    named.update([("d", n.Linear(1, 1))])
    log = [repr(named), list(named), "a" in named, repr(named.pop("a")), list(named.keys())]
    del named["b"]
    return [*log, list(named.state_dict()), len(named)]


@pytest.mark.parametrize("use", [_sequential, _lists, _dicts])
def test_module_containers(use: Any) -> None:
    assert use(nn) == use(torch.nn)


def _parameters(t: Any, n: Any) -> list[Any]:
    listed = n.ParameterList([t.ones(2), n.Parameter(t.zeros(1, 2))])
    listed.append(t.ones(3))
    named = n.ParameterDict({"left": t.ones(2), "right": n.Parameter(t.zeros(1))})
    named["more"] = t.ones(1)
    log = [len(listed), [tuple(p.shape) for p in listed], list(listed.state_dict())]
    log += [list(named.keys()), list(named.state_dict()), "left" in named, len(named)]
    log += [tuple(named.pop("left").shape), [tuple(v.shape) for v in named.values()]]
    text = repr(listed).replace("tilegrad.", "torch.")
    return [*log, text, all(p.requires_grad for p in listed)]


def test_parameter_containers() -> None:
    ours, theirs = (_parameters(t, n) for t, n in BOTH)
    assert ours == theirs


def test_parameter_dict_prints_sizes() -> None:
    text = repr(nn.ParameterDict({"a": tilegrad.ones(2, 3), "b": 3}))
    assert "(a): Parameter containing: [torch.FloatTensor of size 2x3]" in text
    assert "(b): Object of type: int" in text


@pytest.mark.parametrize("make", [nn.Sequential, nn.ModuleList])
def test_an_index_out_of_range(make: Any) -> None:
    layers = make(nn.ReLU()) if make is nn.Sequential else make([nn.ReLU()])
    with pytest.raises(IndexError, match="out of range"):
        layers[1]


def test_training_changes_the_numbers(rng: np.random.Generator) -> None:
    """A small network learns the sign of a sum."""
    tilegrad.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    x = tilegrad.from_numpy(rng.standard_normal((64, 4)).astype(np.float32))
    y = tilegrad.from_numpy((x.numpy().sum(1, keepdims=True) > 0).astype(np.float32))
    optimizer = tilegrad.optim.Adam(net.parameters(), lr=0.05)
    loss = nn.BCEWithLogitsLoss()
    before = loss(net(x), y).item()
    for _ in range(40):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()
    assert loss(net(x), y).item() < before / 5


class Counter(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.w = nn.Parameter(tilegrad.ones(1))

    def get_extra_state(self) -> Any:
        return {"n": self.n}

    def set_extra_state(self, state: Any) -> None:
        self.n = state["n"]


def test_extra_state_travels(tmp_path: Path) -> None:
    state = nn.Sequential(Counter(7)).state_dict()
    assert list(state) == ["0.w", "0._extra_state"]
    tilegrad.save(state, tmp_path / "f")
    other = nn.Sequential(Counter(0))
    assert not other.load_state_dict(tilegrad.load(tmp_path / "f")).unexpected_keys
    assert other[0].n == 7
    with pytest.raises(RuntimeError, match='Unexpected.*"_extra_state"'):
        nn.Linear(1, 1).load_state_dict({**nn.Linear(1, 1).state_dict(), "_extra_state": 1})
    with pytest.raises(RuntimeError, match='Missing.*"_extra_state"'):
        Counter(1).load_state_dict({"w": tilegrad.ones(1)})
    found = Counter(1).load_state_dict({"w": tilegrad.ones(1)}, strict=False)
    assert found.missing_keys == ["_extra_state"]


def test_modules_move_to_the_device() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    weight = net[0].weight
    net[0].weight.grad = tilegrad.ones(4, 3)
    for move in (lambda: net.to("cuda"), net.cuda, lambda: net.to(0), lambda: net.to(ramp(1))):
        assert move() is net and net.cpu()[0].weight is weight
        move()
        assert all(t.is_cuda for t in net.state_dict().values())
    assert net[0].weight is weight and isinstance(weight, nn.Parameter) and weight.grad.is_cuda
    assert net.to("cuda", tilegrad.float64, non_blocking=True)[0].bias.dtype is tilegrad.float64
    assert net[1].num_batches_tracked.dtype is tilegrad.int64
    twin = copy.deepcopy(net.float())
    assert twin[0].weight.is_cuda and twin[0].weight.data_ptr() != weight.data_ptr()

"""The device meta: shapes, strides and dtypes of every op, and no memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tilegrad

BOTH = (tilegrad, torch)


def _facts(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_facts(v) for v in value]
    kind = str(value.dtype).rpartition(".")[2]
    return tuple(value.shape), value.stride(), kind, str(value.device), value.requires_grad


def _layers(t: Any) -> Any:
    nn = t.nn
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(), nn.Flatten(),
        nn.LayerNorm(36), nn.Linear(36, 5),
    )  # fmt: skip


CALLS: dict[str, Any] = {
    "creation": lambda t, x: [t.ones(2, device="meta"), t.arange(5, device="meta"), t.randn(2, 3, device="meta")],
    "data": lambda t, x: t.tensor([[1, 2], [3, 4]], device="meta"),
    "like": lambda t, x: [t.zeros_like(x), t.empty_like(x.t()), x.new_ones(2)],
    "arithmetic": lambda t, x: [x + 1, x * x.double(), x > 0, x.sum(), x.mean(1), x.argmax(0)],
    "number on the CPU": lambda t, x: x + t.tensor(2.0),
    "views": lambda t, x: [x.t(), x[1:, None], x.unfold(1, 2, 1), x.expand(2, 4, 6), x.diagonal()],
    "copies": lambda t, x: [x.t().contiguous(), t.cat([x, x], 1), x.repeat(2, 1), x.flip(0), x[[0, 1]]],
    "products": lambda t, x: [x @ x.t(), t.einsum("ij,kj->ik", x, x), t.bmm(x[None], x.t()[None])],
    "orders": lambda t, x: [*x.sort(1), *x.topk(2), x.cumsum(0), x.argsort(0)],
    "rows": lambda t, x: [x.softmax(1), t.nn.functional.layer_norm(x, (6,)), x.norm(), x.var(0)],
    "indices": lambda t, x: [x.gather(1, t.zeros(4, 2, dtype=t.int64, device="meta")), x.index_select(0, t.tensor([1], device="meta"))],
    "in place": lambda t, x: [x.add_(1), x.clone().fill_(2), x.copy_(t.ones(4, 6))],
    "random": lambda t, x: [t.rand_like(x), x.bernoulli(), t.nn.functional.dropout(x), x.normal_()],
    "moved": lambda t, x: [t.ones(2, 3).t().to("meta"), x.to(t.float64), t.ones(2).cpu().to(x)],
    "recurrent": lambda t, x: t.nn.GRU(6, 3, device="meta")(x[None])[0],
    "layers": lambda t, x: _layers(t).to("meta")(t.ones(2, 3, 8, 8, device="meta")),
    "block": lambda t, x: t.nn.TransformerEncoderLayer(6, 2, 7, device="meta")(x[None]),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_facts_as_pytorchs(name: str) -> None:
    found = [_facts(CALLS[name](t, t.empty(4, 6, device="meta"))) for t in BOTH]
    assert found[0] == found[1]


def test_a_training_step() -> None:
    """Gradients and optimizers have their layouts, too; the program's random numbers stay."""
    found = []
    for t in BOTH:
        with t.device("meta"):
            net = _layers(t)
            x, y = t.ones(2, 3, 8, 8), t.zeros(2, dtype=t.int64)
        loss = t.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        t.optim.SGD(net.parameters(), 0.1, momentum=0.9).step()
        found.append([_facts(p.grad) for p in net.parameters()])
    assert found[0] == found[1]
    tilegrad.manual_seed(3)
    drawn = tilegrad.rand(1)
    tilegrad.manual_seed(3)
    assert tilegrad.nn.Linear(3, 3, device="meta").weight.is_meta
    assert tilegrad.rand(1).item() == drawn.item()


def test_nothing_can_be_read() -> None:
    for t in BOTH:
        x = t.ones(2, device="meta")
        assert x.is_meta and not t.ones(1).is_meta and t.device("meta:0").type == "meta"
        assert repr(x.double()).replace("torch.", "").replace("tilegrad.", "") == (
            "tensor(..., device='meta', size=(2,), dtype=float64)"
        )
        for read in (
            lambda x: x.sum().item(),
            lambda x: x.tolist(),
            lambda x: bool(x[0]),
            lambda x: x.nonzero(),
        ):
            with pytest.raises((NotImplementedError, RuntimeError)):
                read(x)
        with pytest.raises(TypeError, match="can't convert meta device type tensor"):
            x.numpy()
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor; no data!"):
            x.cpu()
        with pytest.raises(NotImplementedError, match="Please use torch.nn.Module.to_empty"):
            t.nn.Linear(2, 2, device="meta").to("cpu")
        with pytest.raises(RuntimeError):
            x + t.ones(2)


def test_modules_get_memory_and_states() -> None:
    for t in BOTH:
        net = t.nn.Sequential(t.nn.Linear(2, 3, device="meta"), t.nn.BatchNorm1d(3, device="meta"))
        state = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.BatchNorm1d(3)).state_dict()
        with pytest.warns(
            UserWarning, match="copying from a non-meta parameter in the checkpoint to a meta"
        ):
            net.load_state_dict(state)
        assert net[0].weight.is_meta
        net.load_state_dict(state, assign=True)
        assert net[0].weight is not state["0.weight"] and net[0].weight.equal(state["0.weight"])
        empty = t.nn.Linear(2, 3, device="meta").to_empty(device="cpu")
        assert empty.weight.device.type == "cpu" and empty.weight.requires_grad

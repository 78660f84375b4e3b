"""Parametrizations, in step with PyTorch."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.nn.utils import parametrizations, parametrize

BOTH = ((tilegrad, parametrize), (torch, torch.nn.utils.parametrize))


def _symmetric(t: Any) -> Any:
    class Symmetric(t.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.triu() + x.triu(1).mT

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    return Symmetric()


def _product(t: Any) -> Any:
    class Product(t.nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return x * y

        def right_inverse(self, z: Any) -> Any:
            return z, t.ones_like(z)

    return Product()


def _layer(t: Any) -> Any:
    layer = t.nn.Linear(3, 3)
    with t.no_grad():
        layer.weight.copy_(t.arange(9.0).reshape(3, 3) / 7)
        layer.bias.fill_(0.5)
    return layer


def _both(made: Any) -> list[Any]:
    """What ``made(t, parametrize)`` gives of each library."""
    return [made(t, p) for t, p in BOTH]


def test_one_original() -> None:
    def made(t: Any, p: Any) -> Any:
        layer = _layer(t)
        weight = layer.weight
        assert p.register_parametrization(layer, "weight", _symmetric(t)) is layer
        assert p.is_parametrized(layer) and not p.is_parametrized(layer, "bias")
        assert p.type_before_parametrizations(layer) is t.nn.Linear
        assert layer.parametrizations.weight.original is weight
        out = layer(t.ones(2, 3))
        out.square().sum().backward()
        seen = [
            sorted(layer.state_dict()),
            type(layer).__name__,
            out.tolist(),
            weight.grad.tolist(),
        ]
        layer.weight = t.eye(3) * 2
        seen += [layer.weight.tolist(), repr(layer)]
        with p.cached():
            assert layer.weight is layer.weight
        assert layer.weight is not layer.weight
        twin = copy.deepcopy(layer)
        assert twin.weight.tolist() == layer.weight.tolist() and type(twin) is type(layer)
        with pytest.raises(RuntimeError, match="only supported through state_dict"):
            pickle.dumps(layer)
        p.remove_parametrizations(layer, "weight")
        assert (
            type(layer) is t.nn.Linear and layer.weight is weight and not p.is_parametrized(layer)
        )
        return [*seen, layer.weight.tolist(), sorted(layer.state_dict())]

    ours, other = _both(made)
    assert ours == other


def test_two_originals_one_more_and_a_transfer() -> None:
    def made(t: Any, p: Any) -> Any:
        layer = _layer(t)
        p.register_parametrization(layer, "weight", _product(t))
        p.register_parametrization(layer, "weight", _symmetric(t))
        seen = [sorted(layer.state_dict()), layer.weight.tolist()]
        layer.weight = t.eye(3)
        seen += [layer.parametrizations.weight.original0.tolist()]
        with pytest.raises(ValueError, match="sequence of tensors"):
            p.remove_parametrizations(layer, "weight", leave_parametrized=False)
        to = t.nn.Linear(3, 3)
        p.transfer_parametrizations_and_params(layer, to)
        assert to.parametrizations.weight.original0 is layer.parametrizations.weight.original0
        p.remove_parametrizations(layer, "weight")
        return [*seen, to.weight.tolist(), layer.weight.tolist(), layer.weight.requires_grad]

    ours, other = _both(made)
    assert ours == other


def test_refusals() -> None:
    for t, p in BOTH:

        class Wider(t.nn.Module):  # type: ignore[name-defined]
            def forward(self, x: Any) -> Any:
                return x.double()

        class Shorter(t.nn.Module):  # type: ignore[name-defined]
            def forward(self, x: Any) -> Any:
                return x[:1]

        for kind in (Wider, Shorter):
            with pytest.raises(ValueError, match="may not change the"):
                p.register_parametrization(_layer(t), "weight", kind())
            free = p.register_parametrization(_layer(t), "weight", kind(), unsafe=True)
            assert free.weight.shape[-1] == 3
        with pytest.raises(RuntimeError, match="does not implement right_inverse"):
            free.weight = t.ones(1, 3)
        with pytest.raises(ValueError, match="does not have a parameter"):
            p.register_parametrization(_layer(t), "height", Wider())
        with pytest.raises(ValueError, match="does not have a parametrization"):
            p.remove_parametrizations(_layer(t), "weight")


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("form", ["parametrizations", "old"])
def test_weight_norm(form: str, dim: int | None, rng: np.random.Generator) -> None:
    value = rng.standard_normal((3, 3)).astype(np.float32)
    found = []
    for t, read in ((tilegrad, tilegrad.from_numpy), (torch, torch.from_numpy)):
        layer = _layer(t)
        layer.weight.data = read(value.copy())
        utils = t.nn.utils
        make = (
            utils.parametrizations.weight_norm if form == "parametrizations" else utils.weight_norm
        )
        with pytest.warns(FutureWarning) if t is torch and form == "old" else _quiet():
            make(layer, dim=dim)
        layer(t.ones(2, 3)).square().sum().backward()
        grads = [p.grad.numpy() for _, p in sorted(layer.named_parameters())]
        keys = sorted(layer.state_dict())
        if form == "old":
            utils.remove_weight_norm(layer)
        else:
            utils.parametrize.remove_parametrizations(layer, "weight")
        found.append((keys, grads, layer.weight.detach().numpy(), sorted(layer.state_dict())))
    assert found[0][0] == found[1][0] and found[0][3] == found[1][3]
    for ours, other in zip([*found[0][1], found[0][2]], [*found[1][1], found[1][2]], strict=True):
        np.testing.assert_allclose(ours, other, rtol=2e-5, atol=2e-6)


class _quiet:
    def __enter__(self) -> None: ...
    def __exit__(self, *args: object) -> None: ...


@pytest.mark.parametrize("form", ["parametrizations", "old"])
@pytest.mark.parametrize("kind", ["Linear", "ConvTranspose2d"])
def test_spectral_norm(form: str, kind: str, rng: np.random.Generator) -> None:
    """From the same vectors: the same weights after calls in training and in evaluation."""
    found = []
    start: dict[str, np.ndarray] = {}
    for t in (torch, tilegrad):
        layer = getattr(t.nn, kind)(3, 4, *(() if kind == "Linear" else (2,)))
        make = (
            t.nn.utils.spectral_norm if form == "old" else t.nn.utils.parametrizations.spectral_norm
        )
        make(layer, n_power_iterations=2)
        x = t.ones(2, 3) if kind == "Linear" else t.ones(1, 3, 2, 2)
        if t is torch:
            start = {k: v.numpy().copy() for k, v in layer.state_dict().items()}
        else:
            layer.load_state_dict({k: tilegrad.from_numpy(v) for k, v in start.items()})
        out = layer(x)
        layer(x)
        out.square().sum().backward()
        layer.eval()
        last = layer(x)
        found.append([
            *(v.numpy() for _, v in sorted(layer.state_dict().items())), out.detach().numpy(),
            last.detach().numpy(), *(p.grad.numpy() for _, p in sorted(layer.named_parameters())),
        ])  # fmt: skip
        assert sorted(layer.state_dict()) == sorted(start)
        if form == "old":
            t.nn.utils.remove_spectral_norm(layer)
        else:
            t.nn.utils.parametrize.remove_parametrizations(layer, "weight")
        found[-1].append(layer.weight.detach().numpy())
        assert isinstance(layer.weight, t.nn.Parameter)
    for other, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, other, rtol=2e-4, atol=2e-5)


def test_what_needs_linear_algebra_says_so() -> None:
    with pytest.raises(NotImplementedError, match="needs linear algebra"):
        parametrizations.orthogonal(_layer(tilegrad))
    for t in (tilegrad, torch):
        with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
            t.nn.utils.parametrizations.orthogonal(_layer(t), orthogonal_map="up")


def test_norms_once_only() -> None:
    layer = tilegrad.nn.utils.weight_norm(_layer(tilegrad))
    with pytest.raises(RuntimeError, match="Cannot register two weight_norm hooks"):
        tilegrad.nn.utils.weight_norm(layer)
    old = layer.state_dict()
    newer = parametrizations.weight_norm(_layer(tilegrad))
    newer.load_state_dict(old)
    assert newer.weight.tolist() == layer.weight.tolist()

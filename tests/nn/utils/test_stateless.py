"""Calls with other parameters, fused norms and what else works on a module from outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import nn
from tilegrad.nn.utils import (
    convert_conv2d_weight_memory_format,
    fuse_conv_bn_eval,
    fuse_linear_bn_eval,
    skip_init,
)
from tilegrad.nn.utils.stateless import functional_call


def test_functional_call() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    own = net[0].weight
    given = {
        "0.weight": tilegrad.ones(3, 2, requires_grad=True),
        "1.running_mean": tilegrad.ones(3),
    }
    x = tilegrad.randn(4, 2)
    net.eval()
    out = functional_call(net, given, x)
    want = nn.functional.linear(x, given["0.weight"], net[0].bias)
    assert net[0].weight is own and tilegrad.allclose(
        out, (want - 1) / (1 + 1e-5) ** 0.5, atol=1e-5
    )
    out.sum().backward()
    assert given["0.weight"].grad is not None and own.grad is None
    with pytest.raises(RuntimeError, match="Missing key"):
        functional_call(net, given, (x,), strict=True)
    with pytest.raises(AttributeError):
        functional_call(net, {"0.height": x}, x)
    assert net[0].weight is own


def test_functional_call_of_tied_weights() -> None:
    for t, call in ((tilegrad, functional_call), (torch, torch.func.functional_call)):
        net = t.nn.Sequential(t.nn.Linear(2, 2, bias=False), t.nn.Linear(2, 2, bias=False))
        net[1].weight = net[0].weight
        x, two = t.ones(1, 2), t.ones(2, 2)
        assert call(net, {"0.weight": two}, x).tolist() == [[4.0, 4.0]]
        alone = call(net, {"0.weight": two}, x, tie_weights=False)
        assert t.allclose(alone, (x @ two.T) @ net[1].weight.T)
        with pytest.raises(ValueError, match="multiple values"):
            call(net, {"0.weight": two, "1.weight": two + 1}, x)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d", "Linear"])
def test_fused_norm(kind: str, bias: bool, rng: np.random.Generator) -> None:
    shape = (2, 3) if kind == "Linear" else (2, 3, 5, 5)
    layer = getattr(nn, kind)(3, 4, *(() if kind == "Linear" else (2,)), bias=bias)
    norm = (nn.BatchNorm1d if kind == "Linear" else nn.BatchNorm2d)(4)
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        value.data = tilegrad.from_numpy(rng.uniform(0.5, 2, 4).astype(np.float32))
    x = tilegrad.from_numpy(rng.standard_normal(shape).astype(np.float32))
    fuse: Any = fuse_linear_bn_eval if kind == "Linear" else fuse_conv_bn_eval
    with pytest.raises(AssertionError, match="Fusion only for eval!"):
        fuse(layer, norm)
    layer.eval()
    norm.eval()
    how = (True,) if kind == "ConvTranspose2d" else ()
    fused = fuse(layer, norm, *how)
    assert fused is not layer and isinstance(fused.weight, nn.Parameter)
    np.testing.assert_allclose(
        fused(x).detach().numpy(), norm(layer(x)).detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_skipped_and_converted() -> None:
    state = tilegrad.get_rng_state()
    made = skip_init(nn.Linear, 3, 2, dtype=tilegrad.float64)
    assert made.weight.shape == (2, 3) and made.weight.dtype is tilegrad.float64
    assert tilegrad.equal(state, tilegrad.get_rng_state())
    for t in (tilegrad, torch):
        with pytest.raises(RuntimeError, match="must support a 'device' arg"):
            t.nn.utils.skip_init(t.nn.ReLU)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    before = net[0].weight
    assert convert_conv2d_weight_memory_format(net, tilegrad.channels_last) is net
    assert net[0].weight is before and before.is_contiguous(memory_format=tilegrad.channels_last)


def test_the_old_name_of_clipping_warns() -> None:
    for t in (tilegrad, torch):
        p = t.ones(2).requires_grad_()
        p.grad = t.tensor([3.0, 4.0])
        with pytest.warns(FutureWarning, match="deprecated"):
            total = t.nn.utils.clip_grad_norm([p], 1.0)
        assert total.item() == 5 and p.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-4)

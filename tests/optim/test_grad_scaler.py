"""``GradScaler`` and ``autocast``, in step with PyTorch on a machine without half precision."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd import autocast

BOTH = (tilegrad, torch)


def _trained(t: Any) -> tuple[list[np.ndarray], list[float], dict[str, Any]]:
    p = t.tensor([1.0, 2.0], requires_grad=True)
    opt = t.optim.SGD([p], 0.1)
    scaler = t.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
    seen, scales = [], []
    for factor in (1.0, float("inf"), 1.0, 1.0, float("nan"), 1.0):
        opt.zero_grad()
        scaler.scale((p * p).sum() * factor).backward()
        if factor == 1.0:
            scaler.unscale_(opt)
            t.nn.utils.clip_grad_norm_([p], 3.0)
        scaler.step(opt)
        scaler.update()
        seen.append(p.detach().numpy().copy())
        scales.append(scaler.get_scale())
    return seen, scales, scaler.state_dict()


def test_steps_and_scales() -> None:
    ours, theirs = (_trained(t) for t in BOTH)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    assert ours[1] == theirs[1] and ours[2] == theirs[2]
    for t in BOTH:
        other = t.amp.GradScaler("cpu")
        other.load_state_dict(ours[2])
        assert other.get_scale() == ours[1][-1]


def test_order_of_calls() -> None:
    for t in BOTH:
        p = t.ones(1, requires_grad=True)
        opt = t.optim.SGD([p], 0.1)
        scaler = t.amp.GradScaler("cpu")
        scaler.scale(t.ones(1))
        with pytest.raises(AssertionError, match="No inf checks were recorded"):
            scaler.step(opt)
        scaler = t.amp.GradScaler("cpu")
        scaler.scale(p.sum()).backward()
        scaler.unscale_(opt)
        with pytest.raises(RuntimeError, match="already been called on this optimizer"):
            scaler.unscale_(opt)
        scaler.step(opt)
        with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
            scaler.step(opt)
        with pytest.raises(RuntimeError, match="being called after step"):
            scaler.unscale_(opt)
        scaler.update()
        off = t.amp.GradScaler("cpu", enabled=False)
        assert off.scale(3) == 3 and off.get_scale() == 1.0 and off.state_dict() == {}


@pytest.mark.filterwarnings("ignore")
def test_where_there_is_no_gpu() -> None:
    """The scaler of CUDA is off, and what autocast surrounds computes as it is."""
    for t in BOTH:
        if t.cuda.is_available():
            continue
        assert not t.cuda.amp.GradScaler().is_enabled()
    x = tilegrad.ones(2)
    with tilegrad.cuda.amp.autocast(), tilegrad.autocast("cpu"), tilegrad.cpu.amp.autocast():
        assert (x @ x).dtype is tilegrad.float32 and not tilegrad.is_autocast_enabled("cpu")
    assert tilegrad.autocast("cuda")(lambda: 3)() == 3
    assert (
        tilegrad.amp.custom_fwd(len) is len
        and tilegrad.amp.custom_bwd(device_type="cpu")(len) is len
    )
    with pytest.raises(RuntimeError):
        tilegrad.autocast("abacus")


def test_said_once() -> None:
    autocast._say.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            with tilegrad.autocast("cpu"):
                pass
        with tilegrad.autocast("cpu", enabled=False):
            pass
    assert [str(w.message)[:8] for w in caught] == ["autocast"]
    assert (
        tilegrad.accelerator.device_count()
        == tilegrad.cuda.device_count() * tilegrad.cuda.is_available()
    )

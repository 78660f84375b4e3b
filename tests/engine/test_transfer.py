"""Tensors of two devices: numbers beside them, copies, what is refused, values in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.cuda.simulated import ramp
from tilegrad import cuda
from tilegrad.engine import dispatch


def test_a_zero_dimensional_cpu_tensor_counts_as_a_number() -> None:
    x, two = ramp(3), tilegrad.tensor(2.0, dtype=tilegrad.float64)
    for made in (x * two, two * x, x.mul(two), tilegrad.where(x > 5, x, two * x)):
        assert made.is_cuda and made.dtype is tilegrad.float32 and made.tolist() == [0, 2, 4]
    assert (x.to(tilegrad.int64) + tilegrad.tensor(True)).tolist() == [1, 2, 3]
    assert (two + two.cuda()).is_cuda
    x += two
    assert x.is_cuda and x.tolist() == [2, 3, 4]
    assert tilegrad.clamp(x, two, two + 1).tolist() == [2, 3, 3]


def test_its_gradient_goes_back_to_the_cpu() -> None:
    x, scale = ramp(3).requires_grad_(), tilegrad.tensor(2.0, requires_grad=True)
    (x * scale * scale).sum().backward()
    assert x.grad.is_cuda and x.grad.tolist() == [4, 4, 4]
    assert not scale.grad.is_cuda and scale.grad.item() == 12


def test_all_else_that_is_mixed_is_refused() -> None:
    x, y = ramp(3), tilegrad.ones(3)
    for call in (
        lambda: x + y,
        lambda: y + x[0],
        lambda: y.add_(x[0]),
        lambda: tilegrad.tensor(1.0).add_(x[0]),
        lambda: tilegrad.where(x > 1, x, y),
        lambda: x.double() @ y.double(),
    ):
        with pytest.raises(tilegrad.DeviceError, match="same device; got .*cuda:0"):
            call()


@pytest.mark.parametrize("source", ["cpu", "cuda"])
def test_copies_between_devices(source: str) -> None:
    target = "cuda" if source == "cpu" else "cpu"
    x = ramp(2, 3, device=source)
    same, wide, turned = (
        tilegrad.zeros(2, 3, device=target),
        tilegrad.zeros(2, 2, 3, dtype=tilegrad.float64, device=target),
        tilegrad.zeros(3, 2, device=target).t(),
    )
    version = same._version
    for out in (same, wide, turned):
        out.copy_(x)
        assert out.cpu().tolist() == (x.cpu() + out.cpu() * 0).tolist()
    assert same._version == version + 1
    assert tilegrad.zeros(3, device=target).copy_(x[:, 1:2].reshape(2)[:1]).tolist() == [1] * 3
    there = x.requires_grad_().to(target)
    assert there.requires_grad
    (there * 3).sum().backward()
    assert x.grad.device is x.device and x.grad.tolist() == [[3.0] * 3] * 2


def test_to_takes_what_pytorch_takes() -> None:
    x = tilegrad.ones(2)
    here = cuda.current_device()
    for made in (
        x.cuda(), x.cuda(here), x.to("cuda"), x.to(here), x.to(ramp(1)), x.type_as(ramp(1)),
        x.to(device="cuda", dtype=tilegrad.float32), x.to("cuda", tilegrad.float32, True),
        tilegrad.asarray(x, device="cuda", copy=True), tilegrad.as_tensor(x, device="cuda"),
    ):  # fmt: skip
        assert made.is_cuda and made.tolist() == [1, 1] and made.get_device() == here
    there = x.cuda()
    assert there.to("cuda") is there and there.cuda() is there
    assert there.to("cuda", copy=True).data_ptr() != there.data_ptr()
    assert there.to("cuda", tilegrad.float32, False, True).data_ptr() != there.data_ptr()
    assert there.cpu().get_device() == -1
    assert there.new_zeros(3).is_cuda and tilegrad.ones_like(there).is_cuda


def test_values_come_to_python() -> None:
    x = ramp(2, 3)
    assert repr(x) == "tensor([[0., 1., 2.],\n        [3., 4., 5.]], device='cuda:0')"
    assert repr(tilegrad.zeros(0, 2, device="cuda")) == "tensor([], device='cuda:0', size=(0, 2))"
    assert "requires_grad=True" in repr(ramp(1).requires_grad_())
    assert x[1, 2].item() == 5.0 and float(x[0, 1]) == 1.0 and bool(x[0, 1]) and int(x[1, 0]) == 3
    assert f"{x[0, 1]:.2f}" == "1.00"
    assert x.t().tolist() == [[0, 3], [1, 4], [2, 5]] and [len(row) for row in x] == [3, 3]
    np.testing.assert_array_equal(x.numpy(force=True), np.arange(6).reshape(2, 3))
    for call in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(TypeError, match="Use Tensor.cpu\\(\\) to copy the tensor to host"):
            call()
    with pytest.raises(RuntimeError, match="item: a Tensor with 6 elements"):
        x.item()


def test_a_mode_sees_transfers_and_pinning() -> None:
    """As every other op, and what is made is new: nobody has written over it yet."""
    seen: list[str] = []

    def watch(op: Any, arrays: Any, params: Any, metadata: Any) -> Any:
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    x = tilegrad.rand(2, 3)
    with dispatch.mode(watch):
        pinned = x.pin_memory()
        there = [x.to("cuda"), pinned.to("cuda", non_blocking=True)]
        back = [there[0].cpu(), there[0].to("cpu", non_blocking=True)]
        there[1].copy_(x)
        x.copy_(there[0])
    assert seen == ["transfer"] * 7
    assert [t._version for t in (pinned, *there, *back)] == [0, 0, 1, 0, 0]
    tilegrad.cuda.synchronize()
    assert back[0].tolist() == back[1].tolist() == pinned.tolist() == x.tolist()

"""Memory shared with other libraries: NumPy, DLPack, the CUDA array interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.cuda.simulated import ramp
from tilegrad import cuda
from tilegrad.engine import (
    interchange,
)


def test_numpy_shares_memory_both_ways() -> None:
    a = np.zeros(3, np.float32)
    t = tilegrad.from_numpy(a)
    t.add_(1)
    assert a.tolist() == [1, 1, 1]
    b = (t * 2).numpy()
    assert b.tolist() == [2, 2, 2]
    assert np.asarray(t).base is not None
    assert np.asarray(t, dtype=np.float64).dtype == np.float64


def test_dlpack_on_the_cpu() -> None:
    t = tilegrad.arange(6, dtype=tilegrad.float32).view(2, 3).t()
    theirs = torch.from_dlpack(t)
    theirs[0, 1] = 50
    assert t[0, 1].item() == 50
    source = torch.arange(4.0)
    ours = tilegrad.from_dlpack(source)
    ours.mul_(2)
    assert source.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("bad", [np.zeros(3, np.clongdouble), np.array(["a"]), np.zeros(3, ">f4")])
def test_foreign_dtypes_are_refused(bad) -> None:
    kind = TypeError if bad.dtype.isnative else ValueError
    with pytest.raises(kind, match="from_numpy"):
        tilegrad.from_numpy(bad)


def test_negative_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="from_numpy: strides"):
        tilegrad.from_numpy(np.arange(3)[::-1])


class Foreign:
    """Another library's array: only the protocols are left of a tensor."""

    def __init__(self, tensor: Any, kind: int = 2, index: int = 0):
        self.tensor, self.device = tensor, (kind, index)
        self.asked: dict[str, Any] = {}

    def __dlpack__(self, **options: Any) -> Any:
        self.asked = options
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class Interface:
    """An object with a CUDA array interface."""

    def __init__(self, tensor: Any, **changed: Any):
        self.tensor = tensor
        self.__cuda_array_interface__ = {**tensor.__cuda_array_interface__, **changed}


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float64"])
def test_dlpack_both_ways(dtype: str) -> None:
    x = ramp(2, 3, dtype=dtype).t()[1:]
    source = Foreign(x)
    made = tilegrad.from_dlpack(source)
    assert made.device is x.device and made.dtype is x.dtype
    assert (made.shape, made.stride(), made.data_ptr()) == (x.shape, x.stride(), x.data_ptr())
    assert source.asked == {"stream": 1}
    made.fill_(1)
    assert x.tolist() == made.tolist()
    assert x.__dlpack_device__() == (2, 0)


def test_dlpack_keeps_memory_as_long_as_it_is_used() -> None:
    x = ramp(4)
    address, exported = x.data_ptr(), len(interchange._exported)
    made = tilegrad.from_dlpack(Foreign(x))
    del x
    ramp(4)
    assert made.tolist() == [0, 1, 2, 3]
    assert (address, 16) in interchange.foreign_memory()
    del made
    assert len(interchange._exported) == exported
    unused = ramp(4).__dlpack__()
    assert len(interchange._exported) == exported + 1
    del unused
    assert len(interchange._exported) == exported


def test_dlpack_orders_the_streams(monkeypatch: Any) -> None:
    waits: list[tuple[int, int]] = []
    monkeypatch.setattr(interchange, "_order", lambda a, b: waits.append((a, b)))
    x, other = ramp(2), cuda.Stream()
    for stream in (None, 1, other.cuda_stream, -1):
        x.__dlpack__(stream=stream)
    with other:
        source = Foreign(x)
        tilegrad.from_dlpack(source)
        assert source.asked == {"stream": other.cuda_stream}
    own = other.cuda_stream
    assert waits == [(0, 1), (0, 1), (0, own), (own, own)]
    with pytest.raises(ValueError, match="stream 0 is ambiguous"):
        x.__dlpack__(stream=0)


def test_dlpack_to_the_cpu_and_copies() -> None:
    x = ramp(3)
    host = np.from_dlpack(Foreign(x.cpu(), 1))
    assert host.tolist() == [0, 1, 2]
    made = tilegrad.from_dlpack(Foreign(_Given(x, dl_device=(1, 0)), 1))
    assert not made.is_cuda and made.tolist() == [0, 1, 2]
    copied = tilegrad.from_dlpack(Foreign(_Given(x, copy=True)))
    assert copied.data_ptr() != x.data_ptr() and copied.tolist() == [0, 1, 2]
    for options in ({"dl_device": (10, 0)}, {"dl_device": (1, 0), "copy": False}):
        with pytest.raises(BufferError, match="cannot hand"):
            x.__dlpack__(**options)
    with pytest.raises(BufferError, match="require gradient"):
        ramp(2).requires_grad_().__dlpack__()
    with pytest.raises(TypeError, match="from_dlpack: device"):
        tilegrad.from_dlpack(Foreign(x, 10))


class _Given:
    """A tensor asked for DLPack with options of its own."""

    def __init__(self, tensor: Any, **options: Any):
        self.tensor, self.options = tensor, options

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__(**self.options)


def test_cuda_array_interface() -> None:
    x = ramp(2, 3).t()
    found = x.__cuda_array_interface__
    assert found["version"] == 3 and found["typestr"] == "<f4" and found["shape"] == (3, 2)
    assert found["strides"] == (4, 12) and found["data"] == (x.data_ptr(), False)
    assert found["stream"] == 1 and ramp(3).__cuda_array_interface__["strides"] is None
    assert tilegrad.zeros(0, device="cuda").__cuda_array_interface__["data"] == (0, False)
    with cuda.Stream() as other:
        assert x.__cuda_array_interface__["stream"] == other.cuda_stream
    made = tilegrad.as_tensor(Interface(x))
    assert made.data_ptr() == x.data_ptr() and made.stride() == x.stride() and made.is_cuda
    copied = tilegrad.tensor(Interface(x))
    assert copied.is_cuda and copied.data_ptr() != x.data_ptr() and copied.tolist() == x.tolist()
    assert tilegrad.as_tensor(Interface(x), dtype="float64", device="cpu").tolist() == x.tolist()
    assert not hasattr(tilegrad.ones(2), "__cuda_array_interface__")
    with pytest.raises(RuntimeError, match="requires grad"):
        _ = ramp(2).requires_grad_().__cuda_array_interface__


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"typestr": "<f2"}, TypeError),
        ({"mask": object()}, TypeError),
        ({"strides": (-4,)}, ValueError),
        ({"strides": (6,)}, ValueError),
    ],
)
def test_interfaces_that_do_not_fit_are_refused(changed: dict[str, Any], kind: type) -> None:
    with pytest.raises(kind, match="from_cuda_interface: "):
        tilegrad.as_tensor(Interface(ramp(3), **changed))

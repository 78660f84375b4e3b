"""New tensors: values, dtypes and errors against PyTorch's."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

DATA = [
    1, 1.5, True, [1, 2], [1, 2.0], [True, False], [True, 2], [[1, 2], [3, 4]], [], [[], []],
    (1, 2), range(3), [np.float32(1), 2], [np.int32(1)], np.float64(1), [np.array([1, 2], np.int32)],
    np.arange(6.0).reshape(2, 3).T, [float("nan"), math.inf], [2**62, -1],
]  # fmt: skip


def _same(have: Any, want: Any) -> None:
    assert have.dtype.name == str(want.dtype).removeprefix("torch.")
    assert tuple(have.shape) == tuple(want.shape)
    np.testing.assert_array_equal(have.numpy(), want.numpy())


@pytest.mark.parametrize("data", DATA, ids=repr)
@pytest.mark.filterwarnings("ignore:Creating a tensor from a list")
def test_tensor(data: Any) -> None:
    _same(tilegrad.tensor(data), torch.tensor(data))
    _same(tilegrad.tensor(data, dtype=tilegrad.float64), torch.tensor(data, dtype=torch.float64))


@pytest.mark.parametrize(
    "data, dtype, error",
    [
        ([[1, 2], [3]], None, ValueError),
        ([[[1]], [[1, 2]]], None, ValueError),
        ([[1, 2], 3], None, TypeError),
        ([1, [3]], "float32", TypeError),
        ("a", None, TypeError),
        (None, None, RuntimeError),
        ([None], "float32", TypeError),
        ({1}, None, RuntimeError),
        ([300], "uint8", RuntimeError),
        ([float("nan")], "int32", RuntimeError),
        (np.zeros(2, np.clongdouble), None, TypeError),
    ],
    ids=repr,
)
def test_tensor_refuses(data: Any, dtype: str | None, error: type[Exception]) -> None:
    with pytest.raises(error, match="tensor:"):
        tilegrad.tensor(data, dtype=dtype)


def test_tensor_of_tensors() -> None:
    x = tilegrad.tensor([1.0, 2.0], requires_grad=True)
    y = tilegrad.tensor([[x[0], x[1]], [x[1], 3]])
    assert y.tolist() == [[1, 2], [2, 3]]
    assert not y.requires_grad
    with pytest.warns(UserWarning, match="To copy construct from a tensor"):
        copy = tilegrad.tensor(x)
    copy.fill_(5)
    assert x.tolist() == [1, 2]
    with pytest.warns(UserWarning, match="To copy construct from a tensor"):
        assert tilegrad.tensor(x, dtype=tilegrad.int32).tolist() == [1, 2]
    assert tilegrad.tensor([tilegrad.tensor(1.5), 2]).dtype is tilegrad.float32


def test_tensor_copies_arrays() -> None:
    source = np.arange(3.0)
    made = tilegrad.tensor(source)
    source[0] = 7
    assert made.tolist() == [0, 1, 2]
    assert tilegrad.tensor(np.arange(4.0)[::-1]).tolist() == [3, 2, 1, 0]
    assert tilegrad.tensor(np.arange(3, dtype=">f4")).tolist() == [0, 1, 2]


def test_sharing() -> None:
    source = np.zeros((2, 3), np.float32)
    for made in (
        tilegrad.from_numpy(source),
        tilegrad.as_tensor(source),
        tilegrad.asarray(source, copy=False),
        tilegrad.from_dlpack(source),
    ):
        made.fill_(float(source[0, 0]) + 1)
        assert source[1, 2] == made.tolist()[0][0]
    assert not np.shares_memory(tilegrad.asarray(source, copy=True).numpy(), source)
    assert not np.shares_memory(tilegrad.as_tensor(source, dtype=tilegrad.int32).numpy(), source)
    x = tilegrad.ones(2)
    assert tilegrad.as_tensor(x) is x
    theirs = torch.from_dlpack(x)
    theirs[0] = 9
    assert x.tolist() == [9, 1]
    assert tilegrad.from_dlpack(theirs).tolist() == [9, 1]
    with pytest.raises(ValueError, match="without a copy"):
        tilegrad.asarray([1, 2], copy=False)
    with pytest.raises(TypeError, match="from_numpy"):
        tilegrad.from_numpy([1])
    with pytest.raises(TypeError, match="from_numpy"):
        tilegrad.from_numpy(np.zeros(2, np.clongdouble))
    with pytest.raises(ValueError, match="strides"):
        tilegrad.from_numpy(np.zeros(3)[::-1])


def test_grad_needs_floats() -> None:
    assert tilegrad.zeros(2, requires_grad=True).requires_grad
    with pytest.raises(RuntimeError, match="floating point"):
        tilegrad.tensor([1], requires_grad=True)
    with pytest.raises(RuntimeError, match="floating point"):
        tilegrad.ones(2, dtype=tilegrad.int32, requires_grad=True)


ARANGES = [
    (3,), (0,), (2.5,), (1, 2.5), (0, 1, 0.1), (5, 0, -2), (5, 0, -0.7), (-3, 3), (2**40, 2**40 + 5),
    (1e-3, 1, 1e-3), (0, 0), (100_003,),
]  # fmt: skip


@pytest.mark.parametrize("args", ARANGES, ids=repr)
@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int32", "uint8"])
def test_arange(args: Any, dtype: str | None, device: str) -> None:
    if device == "cuda" and args == (100_003,):
        args = (4103,)
    if dtype in ("int32", "uint8") and (max(map(abs, args)) > 200 or min(args) < 0):
        args = args[:1] if 0 <= args[0] < 200 else (7,)
    want = torch.arange(*args, dtype=None if dtype is None else getattr(torch, dtype))
    have = tilegrad.arange(*args, dtype=dtype, device=device)
    assert have.dtype.name == str(want.dtype).removeprefix("torch.")
    assert have.device.type == device
    # ours rounds once; PyTorch's vectors round their first element, too
    np.testing.assert_allclose(have.cpu().numpy(), want.numpy(), rtol=2e-7, atol=1e-7)


def test_arange_rounds_once(device: str) -> None:
    made = tilegrad.arange(0.3, 1000, 0.1, device=device).cpu().numpy()
    exact = 0.3 + np.arange(made.size) * 0.1
    assert np.array_equal(made, exact.astype(np.float32))


@pytest.mark.parametrize("args", [(0, 1, 0), (0, 1, -1), (1, 0), (float("nan"),), (math.inf,)])
def test_arange_refuses(args: Any) -> None:
    with pytest.raises(RuntimeError, match="arange"):
        tilegrad.arange(*args)


@pytest.mark.parametrize(
    "args", [(0, 1, 1), (0, 10, 4), (0, 10, 0), (1, -1, 101), (0.1, 0.9, 50_001)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_linspace(args: Any, dtype: str, device: str) -> None:
    if device == "cuda" and args[2] > 5000:
        args = (*args[:2], 5001)
    want = torch.linspace(
        *args, dtype=torch.float64 if dtype == "float32" else getattr(torch, dtype)
    )
    have = tilegrad.linspace(*args, dtype=dtype, device=device)
    assert have.dtype.name == dtype
    assert have.device.type == device
    if device == "cuda":
        here = tilegrad.linspace(*args, dtype=dtype)
        assert have.cpu().numpy().tobytes() == here.numpy().tobytes()
    np.testing.assert_allclose(have.cpu().numpy(), want.numpy(), rtol=1e-7, atol=1e-14)
    if dtype != "int64" and args[2] > 1:
        assert have[-1].item() == np.dtype(dtype).type(args[1])


def test_linspace_is_symmetric(device: str) -> None:
    made = tilegrad.linspace(-3, 3, 1001, device=device).cpu().numpy()
    assert np.array_equal(made, -made[::-1])
    with pytest.raises(RuntimeError, match="non-negative"):
        tilegrad.linspace(0, 1, -1)


def test_logspace() -> None:
    for base in (2.0, 10.0):
        have = tilegrad.logspace(-2, 3, 11, base, dtype=tilegrad.float64)
        want = torch.logspace(-2, 3, 11, base, dtype=torch.float64)
        np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-14)
    assert tilegrad.logspace(0, 3, 4, dtype=tilegrad.int64).tolist() == [1, 10, 100, 1000]


def test_constants() -> None:
    for ours, theirs in [
        (tilegrad.zeros(2, 3), torch.zeros(2, 3)),
        (tilegrad.ones((2, 0)), torch.ones((2, 0))),
        (tilegrad.full((2,), True), torch.full((2,), True)),
        (tilegrad.full((2,), 3), torch.full((2,), 3)),
        (tilegrad.full((2,), 3.5, dtype=tilegrad.int32), torch.full((2,), 3.5, dtype=torch.int32)),
        (tilegrad.full((), math.inf), torch.full((), math.inf)),
        (tilegrad.eye(3), torch.eye(3)),
        (tilegrad.eye(2, 5, dtype=tilegrad.int64), torch.eye(2, 5, dtype=torch.int64)),
        (tilegrad.eye(0, 2), torch.eye(0, 2)),
        (tilegrad.ones(3).new_zeros(2, 2), torch.ones(3).new_zeros(2, 2)),
        (tilegrad.ones(3).new_full((2,), 2), torch.ones(3).new_full((2,), 2)),
        (tilegrad.ones(3).new_tensor([1, 2]), torch.ones(3).new_tensor([1, 2])),
        (
            tilegrad.zeros(2, dtype=tilegrad.int8).new_ones(4),
            torch.zeros(2, dtype=torch.int8).new_ones(4),
        ),
    ]:
        _same(ours, theirs)
    assert tilegrad.empty(2, 3).shape == tilegrad.ones(1).new_empty(2, 3).shape == (2, 3)
    assert tilegrad.empty_strided((2, 3), (1, 2)).stride() == (1, 2)


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
def test_new_tensors_on_a_device(device: str) -> None:
    x = tilegrad.ones(2, 3, device=device)
    source = tilegrad.tensor([1.5, 2.5])
    turned = x.t()
    for made, expected in [
        (tilegrad.eye(2, 3, device=device), [[1, 0, 0], [0, 1, 0]]),
        (tilegrad.full((2,), 3, device=device), [3, 3]),
        (tilegrad.tensor([[1, 2]], device=device), [[1, 2]]),
        (tilegrad.tensor(source, device=device), [1.5, 2.5]),
        (tilegrad.tensor(source, dtype="int64", device=device), [1, 2]),
        (tilegrad.as_tensor(np.arange(3), device=device), [0, 1, 2]),
        (tilegrad.zeros_like(turned), [[0, 0], [0, 0], [0, 0]]),
        (tilegrad.full_like(turned, 2), [[2, 2], [2, 2], [2, 2]]),
        (x.new_zeros(2), [0, 0]),
        (x.new_full((1,), 7), [7]),
        (x.new_tensor([4]), [4]),
        (tilegrad.logspace(0, 2, 3, device=device), [1, 10, 100]),
    ]:
        assert made.device.type == device
        assert made.tolist() == expected
    assert tilegrad.tensor(x).device.type == device
    if device == "cuda":
        with pytest.raises(ValueError, match="without a copy"):
            tilegrad.asarray(np.zeros(2), device=device, copy=False)


def test_like_keeps_the_order_of_dimensions() -> None:
    x, y = tilegrad.ones(2, 3, 4), torch.ones(2, 3, 4)
    for ours, theirs in [
        (x.permute(2, 0, 1), y.permute(2, 0, 1)),
        (x.narrow(1, 0, 2), y.narrow(1, 0, 2)),
        (x[:, :1].expand(2, 3, 4), y[:, :1].expand(2, 3, 4)),
    ]:
        for name in ("zeros_like", "ones_like", "empty_like"):
            made = getattr(tilegrad, name)(ours)
            assert made.shape == ours.shape
        assert tilegrad.zeros_like(ours).tolist() == torch.zeros_like(theirs).tolist()
    turned = x.permute(2, 0, 1)
    assert tilegrad.zeros_like(turned).stride() == torch.zeros_like(y.permute(2, 0, 1)).stride()
    assert tilegrad.full_like(x, 7, dtype=tilegrad.int32).dtype is tilegrad.int32


@pytest.mark.parametrize(
    "size, error", [((-1,), RuntimeError), ((2.0,), TypeError), (((2,), 3), TypeError)]
)
def test_bad_sizes(size: Any, error: type[Exception]) -> None:
    for function in (tilegrad.zeros, tilegrad.empty, tilegrad.rand):
        with pytest.raises(error):
            function(*size)


def test_values_must_fit() -> None:
    with pytest.raises(RuntimeError, match="overflow"):
        tilegrad.full((2,), 300, dtype=tilegrad.uint8)
    with pytest.raises(RuntimeError, match="eye"):
        tilegrad.eye(-1)


def test_default_dtype() -> None:
    tilegrad.set_default_dtype(tilegrad.float64)
    try:
        for made in (
            tilegrad.zeros(1),
            tilegrad.tensor(1.0),
            tilegrad.arange(1.5),
            tilegrad.rand(1),
        ):
            assert made.dtype is tilegrad.float64
    finally:
        tilegrad.set_default_dtype(tilegrad.float32)


@pytest.mark.parametrize("name", ["linspace", "logspace", "arange"])
def test_sequences_of_integers_round_as_pytorch_does(name: str) -> None:
    dtypes = ["int8", "uint8", "int16", "int32", "int64"]
    third = (1, 2, -1, 0.5, -0.3, 1.5, 3) if name == "arange" else (0, 1, 2, 4, 7)
    for kind, *given in itertools.product(
        dtypes, (0, -2, 1.7, -2.5, 0.2), (0, 2, -1.5, 2.6), third
    ):
        found = []
        for m in (tilegrad, torch):
            try:
                found.append(getattr(m, name)(*given, dtype=getattr(m, kind)).tolist())
            except (RuntimeError, ValueError) as error:
                found.append(type(error).__name__)
        assert found[0] == found[1], (kind, given)


def test_evenly_spaced_integers(device: str) -> None:
    """Each number is ``start + i * step`` (from the middle on, counted from the end), product and sum
    rounded once in float64, then cut off: as PyTorch's are.
    """
    random = np.random.default_rng(7)
    held = ("uint8", "int8", "int16", "int32", "int64")
    cases: list[tuple[Any, ...]] = [(-3, 9.9, 10, "int8"), (51, -33, 100, "int8")]
    for _ in range(2000 if device == "cpu" else 60):
        dtype = str(random.choice(held))
        limits = np.iinfo(dtype)
        low, high = random.uniform(limits.min / 2, limits.max / 2, 2) / 10.0 ** random.integers(
            0, 3
        )
        ends = (low, high) if random.integers(2) else (int(low), int(high))
        cases.append((*ends, int(random.integers(2, 120)), dtype))
    for *args, dtype in cases:
        want = torch.linspace(*args, dtype=getattr(torch, dtype)).tolist()
        assert tilegrad.linspace(*args, dtype=dtype, device=device).tolist() == want, (args, dtype)


@pytest.mark.parametrize(
    "options", [{}, {"count": 2}, {"offset": 8}, {"offset": 8, "count": 1}, {"count": 0}, {"offset": 3},
                {"offset": 99}, {"count": 9}, {"offset": -1}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["int32", "float64", "uint8"])
def test_frombuffer(options, kind):
    data = bytearray(range(16))
    try:
        right = torch.frombuffer(data, dtype=getattr(torch, kind), **options)
    except ValueError:
        with pytest.raises(ValueError):
            tilegrad.frombuffer(data, dtype=getattr(tilegrad, kind), **options)
        return
    got = tilegrad.frombuffer(data, dtype=getattr(tilegrad, kind), **options)
    assert got.tolist() == right.tolist()


def test_frombuffer_shares_the_memory():
    data = bytearray(4)
    tilegrad.frombuffer(data, dtype=tilegrad.uint8)[1] = 7
    assert data == bytearray([0, 7, 0, 0])


def test_scalar_tensor():
    assert tilegrad.scalar_tensor(2.5).shape == ()
    assert tilegrad.scalar_tensor(2).dtype is tilegrad.float32


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
def test_indices_of_triangles(name: str) -> None:
    for row, col, offset in itertools.product((0, 1, 3, 5), (0, 1, 4), (-7, -2, 0, 1, 3, 9)):
        ours = getattr(tilegrad, name)(row, col, offset)
        theirs = getattr(torch, name)(row, col, offset)
        assert ours.tolist() == theirs.tolist() and tuple(ours.shape) == tuple(theirs.shape)
    assert getattr(tilegrad, name)(2, 2, dtype=tilegrad.int32).dtype is tilegrad.int32
    far = (2**31, 3, 1 - 2**31) if name == "tril_indices" else (3, 2**31, 2**31 - 1)
    assert getattr(tilegrad, name)(*far).tolist() == getattr(torch, name)(*far).tolist()

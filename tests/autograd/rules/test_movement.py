"""Joining, flipping, rolling, padding: errors, properties, memory, threads."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.conftest import DEVICES
from tilegrad.engine.array import Array, from_numpy, window
from tilegrad.engine.device import device as as_device
from tilegrad.engine.ops.movement import dense, repeated_indices
from tilegrad.engine.transfer import host, to_device

DTYPES = ("bool", "int16", "float32", "float64")  # one per element size
LIMIT = {"cpu": 20_000, "cuda": 1_500}  # elements of random arrays


def placed(x: np.ndarray, device: str) -> Array:
    """``x`` in memory of the device, with the strides it has."""
    if device == "cpu":
        return from_numpy(x)
    whole = x
    while whole.base is not None:
        whole = whole.base
    memory = to_device(from_numpy(whole.ravel(order="K")), as_device(device))
    start = x.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    strides = tuple(s // x.itemsize for s in x.strides)
    return window(memory, x.shape, strides, start // x.itemsize if x.size else 0)


@st.composite
def strided(draw: Any, max_dims: int = 4, limit: int = LIMIT["cpu"]) -> np.ndarray:
    """An array of up to four dimensions: permuted, with gaps, possibly expanded."""
    shape = draw(st.lists(st.integers(0, 40), min_size=1, max_size=max_dims))
    while np.prod(shape) > limit:
        shape[int(np.argmax(shape))] //= 3
    base = np.arange(2 * int(np.prod(shape)), dtype=np.int64).reshape(*shape[:-1], 2 * shape[-1])
    view = base[..., ::2] if draw(st.booleans()) else base[..., : shape[-1]]
    view = view.astype(draw(st.sampled_from(DTYPES))) if draw(st.booleans()) else view
    view = view.transpose(draw(st.permutations(range(view.ndim))))
    if draw(st.booleans()):
        axis = draw(st.integers(0, view.ndim))
        view = np.broadcast_to(
            np.expand_dims(view, axis), (*view.shape[:axis], 3, *view.shape[axis:])
        )
    return view


@pytest.mark.parametrize("device", DEVICES)
@given(st.data())
@settings(max_examples=80, deadline=None)
def test_copies_of_any_strides(device: str, data: Any) -> None:
    x = data.draw(strided(limit=LIMIT[device]))
    made = dense(placed(x, device))
    assert made.layout.contiguous
    assert np.array_equal(host(made), x)


@pytest.mark.parametrize("device", DEVICES)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_flip_and_roll(device: str, data: Any) -> None:
    x = data.draw(strided(3, LIMIT[device]))
    t = tilegrad.autograd.base.tensor_of(placed(x, device))
    dims = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, max_size=x.ndim))
    assert np.array_equal(t.flip(dims).cpu().numpy(), np.flip(x, dims))
    shifts = [data.draw(st.integers(-50, 50)) for _ in dims]
    if dims:
        assert np.array_equal(t.roll(shifts, dims).cpu().numpy(), np.roll(x, shifts, dims))
    by = data.draw(st.integers(-1000, 1000))
    assert np.array_equal(t.roll(by).cpu().numpy(), np.roll(x, by))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [0, 1, 2, 4, 8])
def test_rows_that_begin_anywhere(device: str, dtype: str, start: int) -> None:
    """Rows of 16 and 24 elements at any address: the widest words that fit move them."""
    for columns in (16, 24, 17):
        x = np.arange(5 * 48).astype(dtype).reshape(5, 48)
        t = tilegrad.from_numpy(x).to(device)[1:4, start : start + columns]
        want = x[1:4, start : start + columns]
        for made, expected in (
            (tilegrad.cat((t, t), 1), np.concatenate((want, want), 1)),
            (tilegrad.roll(t, start, 1), np.roll(want, start, 1)),
            (tilegrad.cat((t[:0], t)), want),
        ):
            assert np.array_equal(made.cpu().numpy(), expected)


TURNS = {
    "transpose": lambda t: t.transpose(1, 2),
    "rotate": lambda t: t.rot90(1, (1, 2)),
    "rotate-back": lambda t: t.rot90(-1, (1, 2)),
    "first-last": lambda t: t.permute(2, 1, 0),
    "gaps": lambda t: t[:, ::2, ::3].transpose(1, 2),
}


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_transposing_copies(device: str, name: str, dtype: str) -> None:
    """Tiles that are full, that hang over both edges, and rows walked backwards."""
    for shape in ((1, 32, 64), (2, 35, 33), (17, 2, 50)):
        x = (np.arange(np.prod(shape)) % 251).astype(dtype).reshape(shape)
        ours, theirs = tilegrad.from_numpy(x).to(device), torch.from_numpy(x)
        made = tilegrad.cat((TURNS[name](ours),) * 2)
        assert np.array_equal(made.cpu().numpy(), torch.cat((TURNS[name](theirs),) * 2).numpy())


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_repeated_indices(device: str, dtype: str, rng: np.random.Generator) -> None:
    """More counts than one task takes, most of them zero."""
    counts = np.maximum(rng.integers(-9, 4, 2500 if device == "cuda" else 70_000), 0)
    counts[-1] = 0
    ours = placed(counts.astype(dtype), device)
    expected = np.repeat(np.arange(counts.size), counts)
    for total in (None, expected.size):
        assert np.array_equal(host(repeated_indices(ours, total)), expected)
    with pytest.raises(RuntimeError, match="output_size"):
        repeated_indices(ours, expected.size + 1)
    if dtype != "uint8":
        counts[-2] = -1
        with pytest.raises(RuntimeError, match="negative"):
            repeated_indices(placed(counts.astype(dtype), device))
    assert host(repeated_indices(placed(np.zeros(0, dtype), device))).shape == (0,)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_split_and_cat_are_inverse(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
    dim = data.draw(st.integers(0, len(shape) - 1))
    x = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    t = tilegrad.from_numpy(x)
    size = data.draw(st.integers(1, 10))
    pieces = t.split(size, dim)
    assert [p.shape[dim] for p in pieces] == [
        p.shape[dim] for p in torch.tensor(x).split(size, dim)
    ]
    assert np.array_equal(tilegrad.cat(pieces, dim).numpy(), x)
    assert np.array_equal(tilegrad.cat(t.tensor_split(size, dim), dim).numpy(), x)
    if shape[dim]:
        assert np.array_equal(tilegrad.stack(t.unbind(dim), dim).numpy(), x)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_padding(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    x = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", "wrap"]))
    pairs = []
    for n in shape:
        most = {"reflect": n - 1, "wrap": n}.get(mode, 5)
        pairs.append((data.draw(st.integers(0, most)), data.draw(st.integers(0, most))))
    flat = [n for pair in reversed(pairs) for n in pair]
    ours = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    made = tilegrad.nn.functional.pad(tilegrad.from_numpy(x[None]), flat, ours)
    assert np.array_equal(made.numpy()[0], np.pad(x, pairs, mode=mode))


MODES = ("constant", "reflect", "replicate", "circular")


def _outcome(t: Any, x: Any, pad: tuple[int, ...], mode: str) -> Any:
    """Value and gradient of a padding, or the type of what it raises."""
    try:
        made = t.nn.functional.pad(x, pad, mode=mode)
    except Exception as error:
        return type(error)
    (made * made).sum().backward()
    return made.detach().tolist(), x.grad.tolist(), tuple(made.shape)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 2), (1, 4), (1, 2, 1, 3), (2, 0), (0, 2, 3)])
def test_negative_padding(shape: tuple[int, ...], mode: str) -> None:
    """Sides of either sign, in step with PyTorch: value, gradient or error."""
    values = np.arange(1.0, 1 + np.prod(shape), dtype=np.float64).reshape(shape)
    circular = mode == "circular"
    for before, after in itertools.product(range(-5, 5), repeat=2):
        for pad in ((before, after), (after, 0, before, after)):
            rows = list(zip(reversed(shape), pad[::2], pad[1::2], strict=False))
            room = [n + min(p, 0) + min(q, 0) - max(p, q, 0) * circular for n, p, q in rows]
            if mode != "constant" and (min(room) < 0 or (len(rows) == 2 and 0 in shape)):
                continue  # PyTorch gives memory that it has not written, or looks at one size only
            theirs = torch.tensor(values, requires_grad=True)
            ours = tilegrad.tensor(values, requires_grad=True)
            want = _outcome(torch, theirs, pad, mode)
            assert _outcome(tilegrad, ours, pad, mode) == want, (pad, mode)


BIG = {
    "transpose": lambda x: x.t().contiguous(),
    "flip": lambda x: x.flip(0, 1),
    "cat": lambda x: tilegrad.cat((x, x.t()), 0),
    "roll": lambda x: x.roll((7, 300), (0, 1)),
    "repeat": lambda x: x.repeat(2, 3),
    "pad": lambda x: tilegrad.nn.functional.pad(x, (3, 5, 1, 2), value=1.0),
}


@pytest.mark.parametrize("name", BIG)
def test_threads_do_not_matter(name: str, rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.standard_normal((600, 600)).astype(np.float32))
    before = tilegrad.get_num_threads()
    results = []
    for threads in (1, 2):
        tilegrad.set_num_threads(threads)
        results.append(BIG[name](x).numpy())
    tilegrad.set_num_threads(before)
    assert results[0].tobytes() == results[1].tobytes()


def test_copies_and_views() -> None:
    x = tilegrad.arange(12.0).reshape(3, 4)

    def shares(y: Any) -> bool:
        return np.shares_memory(x.numpy(), y.numpy())

    for view in (*x.split(2), *x.chunk(2, 1), *x.unbind(), x.flatten(), x.movedim(0, 1), x.ravel()):
        assert shares(view)
    for copy in (x.flip(()), x.roll(0), x.repeat(1, 1), x.tile(1), x.rot90(0), tilegrad.cat((x,))):
        assert not shares(copy)
    assert not shares(tilegrad.repeat_interleave(x, 1, 0))
    assert not shares(tilegrad.nn.functional.pad(x, (0, 0)))


def test_writes_through_pieces() -> None:
    """Pieces are views: writing to one is writing to the tensor. Several at once have no history to
    take a write's, and refuse it where gradients are recorded, as PyTorch's.
    """
    x = tilegrad.ones(4, 2)
    first, second = x.split(2)
    first.mul_(3)
    second.fill_(7)
    assert x.tolist() == [[3, 3], [3, 3], [7, 7], [7, 7]]
    for t in (tilegrad, torch):
        leaf = t.ones(4, 2, requires_grad=True)
        for pieces in ((leaf * 1).split(2), (leaf * 1).unbind(), (leaf * 1).chunk(2, 1)):
            with pytest.raises(
                RuntimeError, match="output of a function that returns multiple views"
            ):
                pieces[0].mul_(3)


def test_pieces_are_one_node() -> None:
    """A piece that nothing uses has a gradient of zeros; one of a tensor changed since is refused."""
    leaf = tilegrad.ones(2, 6, requires_grad=True)
    x = leaf * 2
    first, second, third = x.split(2, 1)
    assert first._node is second._node is third._node
    (first * 3 + third).sum().backward()
    assert leaf.grad.tolist() == [[6, 6, 0, 0, 2, 2]] * 2
    for t in (tilegrad, torch):
        y = t.ones(2, 6, requires_grad=True) * 2
        rows = y.unbind()
        y.mul_(5)
        with pytest.raises(RuntimeError, match="its base or another view of its base has been"):
            (rows[1] * rows[1]).sum()


ERRORS = [
    (lambda t, x: t.cat(()), (RuntimeError, ValueError)),
    (lambda t, x: t.cat((x, 1)), TypeError),
    (lambda t, x: t.cat(x), TypeError),
    (lambda t, x: t.cat((x, x), 2), IndexError),
    (lambda t, x: t.cat((x, x[0])), RuntimeError),
    (lambda t, x: t.cat((x, x[:, :2])), RuntimeError),
    (lambda t, x: t.cat((x[0, 0], x[0, 0])), RuntimeError),
    (lambda t, x: t.stack((x, x[0])), RuntimeError),
    (lambda t, x: t.stack((x, x), 3), IndexError),
    (lambda t, x: x.split(0), RuntimeError),
    (lambda t, x: x.split([1, 1]), RuntimeError),
    (lambda t, x: x.split(-1), RuntimeError),
    (lambda t, x: x[0, 0].split(1), RuntimeError),
    (lambda t, x: x.chunk(0), RuntimeError),
    (lambda t, x: x.tensor_split(0), RuntimeError),
    (lambda t, x: t.hsplit(x, 3), RuntimeError),
    (lambda t, x: t.dsplit(x, 1), RuntimeError),
    (lambda t, x: x.flip(2), IndexError),
    (lambda t, x: x.flip(0, 0), RuntimeError),
    (lambda t, x: t.fliplr(x[0]), RuntimeError),
    (lambda t, x: x.roll((1, 2), 0), RuntimeError),
    (lambda t, x: x.rot90(1, (0, 0)), RuntimeError),
    (lambda t, x: x.rot90(1, (0,)), RuntimeError),
    (lambda t, x: x.repeat(2), RuntimeError),
    (lambda t, x: x.repeat(2, -1), RuntimeError),
    (lambda t, x: x.repeat_interleave(-1), RuntimeError),
    (lambda t, x: x.repeat_interleave(t.tensor([1, -1, 1]), 0), RuntimeError),
    (lambda t, x: x.repeat_interleave(t.tensor([1, 2]), 0), RuntimeError),
    (lambda t, x: x.movedim((0, 1), (0,)), RuntimeError),
    (lambda t, x: x.movedim((0, 0), (0, 1)), RuntimeError),
    (lambda t, x: x.flatten(1, 0), RuntimeError),
    (lambda t, x: x.unflatten(0, (2, 2)), RuntimeError),
    (lambda t, x: t.meshgrid(x, x, indexing="ij"), RuntimeError),
    (lambda t, x: t.nn.functional.pad(x, (1,)), RuntimeError),
    (lambda t, x: t.nn.functional.pad(x, (1,) * 6), RuntimeError),
    (lambda t, x: t.nn.functional.pad(x, (-5, 0)), RuntimeError),
    (lambda t, x: t.nn.functional.pad(x, (4, 0), mode="reflect"), RuntimeError),
    (lambda t, x: t.nn.functional.pad(x, (5, 0), mode="circular"), (RuntimeError, IndexError)),
    (lambda t, x: t.nn.functional.pad(x, (1, 0), mode="mirror"), NotImplementedError),
]


@pytest.mark.parametrize("call, error", ERRORS, ids=range(len(ERRORS)))
def test_errors(call: Any, error: Any) -> None:
    for t in (tilegrad, torch):
        with pytest.raises(error):
            call(t, t.ones(3, 4))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("n", [1, 7, 40_001])
def test_a_stack_along_the_last_dimension_takes_its_operands_in_turn(count: int, n: int) -> None:
    for kind in (np.int8, np.int16, np.float32, np.complex64, np.complex128):
        arrays = [np.arange(k, n + k).astype(kind) for k in range(count)]
        tensors = [tilegrad.from_numpy(x) for x in arrays]
        np.testing.assert_array_equal(tilegrad.stack(tensors, -1).numpy(), np.stack(arrays, -1))
        columns = tilegrad.cat([x[:, None] for x in tensors], 1)
        np.testing.assert_array_equal(columns.numpy(), np.stack(arrays, -1))

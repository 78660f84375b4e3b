"""Indexing: random keys against PyTorch, bounds, in-place writes, order of accumulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.conftest import DEVICES
from tilegrad.autograd import grad
from tilegrad.autograd.rules.embedding import embedding
from tilegrad.autograd.rules.masked import where


def both(array: Any, device: str = "cpu") -> tuple[Any, Any]:
    """The same values for each library, in memory of their own; ours on the device."""
    array = np.asarray(array)
    return tilegrad.from_numpy(array.copy()).to(device), torch.from_numpy(array.copy())


# ------------------------------------------------------------------------------------ random keys


@st.composite
def keys(draw: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A key for an array of ``shape``: arrays in it are NumPy, broadcast together, are in bounds."""
    common = draw(st.sampled_from([(), (1,), (3,), (2, 3), (0,)]))
    items: list[Any] = []
    axis = 0
    while axis < len(shape) and draw(st.integers(0, 5)):
        size = shape[axis]
        kinds = ["slice", "none", "mask"] + (["int", "array", "array"] if size else [])
        kind = draw(st.sampled_from(kinds))
        if kind == "int":
            items.append(draw(st.integers(-size, size - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-size - 2, size + 2)
            items.append(slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 3))))
        elif kind == "none":
            items.append(None)
            continue
        elif kind == "mask":
            count = int(np.prod(common)) if len(common) < 2 else 1
            holds = np.zeros(size, bool)
            holds[: min(count, size)] = True
            items.append(np.array(draw(st.permutations(holds.tolist())), bool))
        else:
            dims = draw(st.integers(0, len(common)))
            part = tuple(draw(st.sampled_from([1, n])) for n in common[len(common) - dims :])
            flat = st.lists(
                st.integers(-size, size - 1),
                min_size=int(np.prod(part)),
                max_size=int(np.prod(part)),
            )
            items.append(np.array(draw(flat), np.int64).reshape(part))
        axis += 1
    if draw(st.booleans()):
        items.append(Ellipsis)
        if axis < len(shape) and shape[-1] and draw(st.booleans()):
            items.append(draw(st.integers(-shape[-1], shape[-1] - 1)))
    return tuple(items)


@st.composite
def indexed(draw: Any) -> tuple[np.ndarray, tuple[Any, ...]]:
    """An array, possibly with strides of its own, and a key."""
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    array = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)
    if draw(st.booleans()):
        array = np.ascontiguousarray(array.T).T
    return array, draw(keys(shape))


def _converted(key: tuple[Any, ...], convert: Any) -> tuple[Any, ...]:
    return tuple(convert(k) if isinstance(k, np.ndarray) else k for k in key)


def _tensors(case: tuple[np.ndarray, tuple[Any, ...]], device: str) -> tuple[Any, Any, Any, Any]:
    """Ours and theirs; of our index arrays every second stays in host memory."""
    array, key = case
    places = iter([device, "cpu"] * len(key))
    ours, theirs = tilegrad.from_numpy(array).to(device), torch.from_numpy(array)
    our_key = _converted(key, lambda k: tilegrad.from_numpy(k).to(next(places)))
    return ours, our_key, theirs, _converted(key, torch.from_numpy)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=250, deadline=None)
@given(indexed())
def test_getitem_of_any_key(device: str, case: tuple[np.ndarray, tuple[Any, ...]]) -> None:
    x, key, theirs, their_key = _tensors(case, device)
    try:
        want = theirs[their_key]
    except IndexError:
        with pytest.raises(IndexError):
            x[key]
        return
    have = x[key]
    assert tuple(have.shape) == tuple(want.shape)
    assert np.array_equal(have.cpu().numpy(), want.numpy())
    if device == "cuda":
        return
    shares = have.numel() and np.shares_memory(have.numpy(), x.numpy())
    assert bool(shares) == bool(want.numel() and np.shares_memory(want.numpy(), theirs.numpy()))


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=250, deadline=None)
@given(indexed(), st.booleans())
def test_setitem_of_any_key(
    device: str, case: tuple[np.ndarray, tuple[Any, ...]], number: bool
) -> None:
    x, key, theirs, their_key = _tensors(case, device)
    x, theirs = x.clone(), theirs.clone()
    try:
        shape = tuple(theirs[their_key].shape)
        value = -7.5 if number else np.arange(1.0, np.prod(shape[-1:]) + 1).reshape(shape[-1:])
        theirs[their_key] = value if number else torch.from_numpy(value)
    except IndexError:
        with pytest.raises(IndexError):
            x[key] = 1
        return
    x[key] = value if number else tilegrad.from_numpy(value).to(device)
    x = x.cpu()
    repeated = any(isinstance(k, np.ndarray) and k.dtype.kind == "i" for k in case[1])
    if number or not repeated or shape[:-1] in ((), (1,)):
        assert np.array_equal(x.numpy(), theirs.numpy())
    else:  # of values for one element, PyTorch may keep any
        assert set(np.unique(x.numpy())) <= {*np.unique(case[0]), *np.unique(value)}


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=100, deadline=None)
@given(indexed())
def test_gradient_of_any_key(device: str, case: tuple[np.ndarray, tuple[Any, ...]]) -> None:
    x, key, theirs, their_key = _tensors(case, device)
    x.requires_grad_()
    theirs.requires_grad_()
    try:
        want = theirs[their_key]
    except IndexError:
        return
    have = x[key]
    weights = np.asarray(np.random.default_rng(0).standard_normal(tuple(have.shape)))
    have.backward(tilegrad.from_numpy(weights).to(device))
    want.backward(torch.from_numpy(weights))
    np.testing.assert_allclose(x.grad.cpu().numpy(), theirs.grad.numpy(), atol=1e-12)


# ------------------------------------------------------------------------------------------ errors

CUBE = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    "key, error, message",
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        ((0, -4), IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
        ((0, 0, 0, 0), IndexError, "too many indices for tensor of dimension 3"),
        ([0, 9], IndexError, "index 9 is out of bounds for dimension 0 with size 2"),
        ((slice(None), [1], [0, -5]), IndexError, "index -5 is out of bounds for dimension 2"),
        (([0, 1], [0, 1, 2]), IndexError, "could not be broadcast together with shapes"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        ("name", TypeError, "invalid data type"),
        (1.0, IndexError, r"are valid indices \(got float\)"),
        ([1.0], IndexError, "tensors used as indices must be long, int, byte or bool"),
        ([True], IndexError, r"The shape of the mask \[1\] at index 0 does not match"),
    ],
    ids=str,
)
def test_bad_keys(key: Any, error: type[Exception], message: str, device: str) -> None:
    x, _ = both(CUBE, device)
    with pytest.raises(error, match=message):
        x[key].cpu()
    if device == "cpu" or error is not IndexError or "out of bounds" not in message:
        with pytest.raises(error, match=message):
            x[key] = 1
        assert np.array_equal(x.cpu().numpy(), CUBE)


def test_indexing_a_number() -> None:
    x, _ = both(3.0)
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        x[0]
    assert x[...].item() == 3.0
    assert x[None].shape == (1,)


WRITERS = [
    lambda x, i, s: x.scatter_(0, i.unsqueeze(1), s),
    lambda x, i, s: x.scatter_add_(0, i.unsqueeze(1), s),
    lambda x, i, s: x.index_add_(0, i, s),
    lambda x, i, s: x.index_copy_(0, i, s),
]
READERS = [
    lambda x, i, s: x.index_select(0, i),
    lambda x, i, s: x.gather(0, i.unsqueeze(1)),
    lambda x, i, s: embedding(i, x),
]


OUT_OF_BOUNDS = (IndexError, RuntimeError)  # which of them, per op: tests/cases/bad_calls.txt


@pytest.mark.parametrize("bad", [5, -1])
@pytest.mark.parametrize("call", [*READERS, *WRITERS])
def test_indices_out_of_bounds_write_nothing(call: Any, bad: int) -> None:
    x, _ = both(np.ones((5, 4)))
    index, _ = both([0, bad])
    source, _ = both(np.zeros((2, 4)))
    with pytest.raises(
        OUT_OF_BOUNDS, match=f"index {bad} is out of bounds for dimension 0 with size 5"
    ):
        call(x, index, source)
    assert (x.numpy() == 1).all()


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize("bad", [5, -1, 2**62, -(2**63)])
@pytest.mark.parametrize("call", [*READERS, *WRITERS])
def test_indices_out_of_bounds_are_reported_later(call: Any, bad: int, count: int) -> None:
    """On the GPU: when the host next waits. Nothing outside is touched, nothing elsewhere."""
    x, _ = both(np.ones((5, 4)), "cuda")
    index, _ = both([3] * (count - 1) + [bad], "cuda")
    source, _ = both(np.full((count, 4), 2.0), "cuda")
    result = call(x, index, source)
    message = f"index {bad} is out of bounds for dimension 0 with size 5"
    with pytest.raises(OUT_OF_BOUNDS, match=message):
        result.cpu()
    written = x.cpu().numpy()
    assert (written[[0, 1, 2, 4]] == 1).all()
    assert (written[3, 0] != 1) == (call in WRITERS)


def test_pairs_out_of_bounds_write_nothing(device: str) -> None:
    x, _ = both(np.ones((5, 4)), device)
    rows, _ = both([3, 3, 3], device)
    columns, _ = both([0, -4, 4], device)
    values = x[0, :3] * 2
    for call in (lambda: x[rows, columns], lambda: x.index_put_((rows, columns), values)):
        with pytest.raises(
            OUT_OF_BOUNDS, match="index 4 is out of bounds for dimension 1 with size 4"
        ):
            call().cpu()
    written = x.cpu().numpy()
    assert (written[:, 1:] == 1).all() and (written[[0, 1, 2, 4]] == 1).all()
    assert (written[3, 0] == 1) == (device == "cpu")  # the GPU leaves out the wrong one only


def test_empty_dimensions_have_no_indices(device: str) -> None:
    """Known at once: there is nothing to read in the meantime."""
    x, _ = both(np.zeros((3, 0, 2)), device)
    index, _ = both([0], device)
    for call in (
        lambda: x[:, index],
        lambda: x[[0], index],
        lambda: x.index_select(1, index),
        lambda: x.index_add(1, index, tilegrad.zeros(3, 1, 2, dtype="float64", device=device)),
    ):
        with pytest.raises(
            OUT_OF_BOUNDS, match="index 0 is out of bounds for dimension 1 with size 0"
        ):
            call()


def test_first_bad_index_is_named(threads: int) -> None:
    index = np.zeros(200_000, np.int64)
    index[[70_001, 150_000]] = 9, -8
    x, _ = both(np.ones(3))
    with pytest.raises(IndexError, match="index 9 is"):
        x[tilegrad.from_numpy(index)]


def test_first_bad_index_is_named_on_the_gpu() -> None:
    """Of several in one chunk, and in several chunks."""
    index = np.zeros(5000, np.int64)
    index[[4100, 2300, 2200, 2500]] = 7, 9, 8, -8
    x, _ = both(np.ones(3), "cuda")
    made = x[tilegrad.from_numpy(index)]
    with pytest.raises(IndexError, match="index 8 is"):
        made.cpu()


def test_indices_of_another_device() -> None:
    """Host indices and host numbers serve a GPU tensor, not the other way round."""
    x, theirs = both(CUBE, "cuda")
    mask = CUBE[0, :, 0] > 3
    for key in ([1, 0], np.array([1, 1]), (slice(None), mask), (Ellipsis, [[0, 3]])):
        want = torch.from_numpy(CUBE)[
            tuple(torch.from_numpy(k) if isinstance(k, np.ndarray) else k for k in key)
            if isinstance(key, tuple)
            else key
        ]
        assert np.array_equal(x[key].cpu().numpy(), want.numpy())
    x[[0]] = tilegrad.tensor(5.0, dtype="float64")
    x[tilegrad.tensor([1]), [2]] = 7
    x.index_put_((tilegrad.tensor([1]),), x[0].clone(), accumulate=True)
    assert x[0].cpu().numpy().tolist() == np.full((3, 4), 5.0).tolist()
    assert x[1, 2].tolist() == [12] * 4
    here, _ = both(CUBE)
    with pytest.raises(RuntimeError, match="either on cpu or on the same device"):
        here[tilegrad.tensor([0], device="cuda")]
    del theirs


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x, i: x.gather(0, i), "same number of dimensions"),
        (lambda x, i: x.gather(0, i.unsqueeze(1).expand((3, 9))), "Size does not match"),
        (lambda x, i: x.scatter(0, i.unsqueeze(1), x[:1, :1]), "no larger than src"),
        (lambda x, i: x.scatter(0, i.unsqueeze(1), x.to(tilegrad.float32)), "dtype to be equal"),
        (lambda x, i: x.index_add(0, i, x[:1]), "must have the shape"),
        (lambda x, i: x.index_put((i,), x.to(tilegrad.float32)), "dtypes match"),
        (lambda x, i: x.gather(0, x), "Expected dtype int64"),
        (lambda x, i: x.masked_fill(i, 0), "only supports boolean masks"),
        (lambda x, i: x.masked_scatter(x > -9, x[0]), "source < number of ones"),
        (lambda x, i: x[0].tril(), "at least 2 dimensions"),
        (lambda x, i: x.scatter_reduce(0, i.unsqueeze(1), x, "most"), "reduce must be one of"),
    ],
)
def test_misfits(call: Any, message: str) -> None:
    x, _ = both(np.arange(12.0).reshape(4, 3))
    index, _ = both([0, 1, 2])
    with pytest.raises(RuntimeError, match=message):
        call(x, index)


def test_setitem_takes_tensors_and_numbers_only() -> None:
    x, _ = both(CUBE)
    for value in ([1, 2], np.ones(4), "a"):
        with pytest.raises(TypeError, match="can't assign"):
            x[0] = value
    x[0, 0] = np.float32(2.5)
    assert (x.numpy()[0, 0] == 2.5).all()


# --------------------------------------------------------------------------------- writes in place


def test_write_to_an_overlapping_part() -> None:
    x, _ = both(np.arange(6.0))
    with pytest.raises(RuntimeError, match="memory location"):
        x[1:] = x[:-1]
    index, _ = both([2, 1, 0])
    x[:3] = x[index]
    assert x.tolist() == [2, 1, 0, 3, 4, 5]


def test_operands_that_are_the_target() -> None:
    x, _ = both([2, 0, 1])
    for name in ("scatter_", "index_add_"):
        with pytest.raises(RuntimeError, match="memory location"):
            getattr(x, name)(0, x, x)
    assert x.tolist() == [2, 0, 1]


def test_writes_pass_through_modes() -> None:
    """A mode sees the writing ops, and passing them on still writes in place."""
    from tilegrad.engine.dispatch import mode

    seen = []

    def look(op: Any, arrays: Any, params: Any, metadata: dict[str, Any]) -> Any:
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    x, _ = both(np.zeros((3, 2)))
    index, _ = both([2, 0])
    ones, _ = both(np.ones(2))
    with mode(look):
        x[index] = ones
        y = x.index_add(0, index, x[:2])
    assert x.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert y.tolist() == [[1, 1], [0, 0], [2, 2]]
    assert seen.count("put_rows") == 2


def test_setitem_casts_and_wraps() -> None:
    x, _ = both(np.zeros(4, np.int32))
    x[1:3] = tilegrad.from_numpy(np.array([2.7, -1.2]))
    x[x == 0] = tilegrad.from_numpy(np.array([5.9]))
    assert x.tolist() == [5, 2, -1, 5]
    with pytest.raises(RuntimeError, match="source and destination dtypes match"):
        x[[0]] = tilegrad.from_numpy(np.array([5.9]))


@pytest.mark.parametrize("write", ["slice", "index", "pair", "mask", "mask-values", "add"])
def test_gradient_through_setitem(write: str, device: str) -> None:
    """The overwritten part gets no gradient, the values get theirs; twice through views."""
    keys = {
        "slice": (slice(1, None), 2),
        "index": [1, 0],
        "pair": ([1, 0], [2, 2]),
        "mask": CUBE > 11,
        "mask-values": np.array([True, True]),
        "add": (0, slice(1, 3)),
    }
    shape = {"slice": (1, 4), "index": (4,), "pair": (2, 4), "mask": (), "add": (2, 1)}
    results = []
    for library, convert in (
        (tilegrad, lambda a: tilegrad.from_numpy(a).to(device)),
        (torch, torch.from_numpy),
    ):
        x = convert(CUBE.copy()).requires_grad_()
        value = convert(np.asarray(np.full(shape.get(write, (4,)), 3.0))).requires_grad_()
        key = keys[write]
        key = convert(key) if isinstance(key, np.ndarray) else key
        y = x * 2
        if write == "add":
            y[key] += value
        else:
            y[key] = value
        y[0, 0] *= 3
        (y * y * y).sum().backward()
        results.append([t.detach().cpu().numpy() for t in (y, x.grad, value.grad)])
        del library
    for have, want in zip(*results, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12)


def test_writing_into_a_leaf_is_refused() -> None:
    x, _ = both(CUBE)
    x.requires_grad_()
    for key in (0, [0], CUBE > 3):
        key = tilegrad.from_numpy(key) if isinstance(key, np.ndarray) else key
        with pytest.raises(RuntimeError, match="leaf Variable"):
            x[key] = 1
    with tilegrad.no_grad():
        x[0] = 1
    assert x.numpy(force=True)[0, 0, 0] == 1


def test_changed_index_is_noticed() -> None:
    x, _ = both(CUBE)
    index, _ = both([1, 0])
    y = x.requires_grad_().index_select(0, index)
    index[0] = 0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    "name",
    ["scatter_", "scatter_add_", "scatter_reduce_", "index_add_", "index_copy_", "index_fill_"],
)
def test_in_place_forms(name: str, device: str) -> None:
    """The in-place form gives the values and the gradients of the other, and counts its write."""
    rng = np.random.default_rng(3)
    rows = name.startswith("index")
    index, _ = both([4, 0] if rows else [[0, 1, 1], [4, 0, 1]], device)
    operands = {"index_fill_": (2.5,)}.get(name, (both(rng.standard_normal((2, 3)), device)[0],))
    operands += ("amax",) if name == "scatter_reduce_" else ()
    data = rng.standard_normal((5, 3))
    results = []
    for form in (name, name[:-1]):
        leaf = both(data, device)[0].requires_grad_()
        x = leaf * 1
        version = x._version
        out = getattr(x, form)(0, index, *operands)
        assert (out is x) == (form == name)
        assert x._version == version + (form == name)
        (out * out).sum().backward()
        results.append((out.numpy(force=True), leaf.grad.cpu().numpy()))
    for have, want in zip(*results, strict=True):
        assert np.array_equal(have, want)


# --------------------------------------------------------------- the same bits for any thread count


@pytest.mark.parametrize("dim", [0, 1])
def test_accumulation_order(dim: int, threads: int) -> None:
    """Float sums are those of a loop in index order."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((70, 600)).astype(np.float32)
    source = (rng.standard_normal((700, 600)) * 1e3).astype(np.float32)
    x, source = (x, source) if dim == 0 else (x.T.copy(), source.T.copy())
    index = rng.integers(0, 70, 700)
    want = np.moveaxis(x.copy(), dim, 0)
    for position, row in zip(index, np.moveaxis(source, dim, 0), strict=True):
        want[position] += row
    ours = tilegrad.from_numpy(x).index_add(
        dim, tilegrad.from_numpy(index), tilegrad.from_numpy(source)
    )
    assert np.array_equal(np.moveaxis(ours.numpy(), dim, 0), want)
    full = np.ascontiguousarray(
        np.broadcast_to(index[:, None] if dim == 0 else index, source.shape)
    )
    ours = tilegrad.from_numpy(x).scatter_add(
        dim, tilegrad.from_numpy(full), tilegrad.from_numpy(source)
    )
    assert np.array_equal(np.moveaxis(ours.numpy(), dim, 0), want)


def test_large_operands_in_parallel(threads: int) -> None:
    """Work that is split between tasks: every path against NumPy."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal((300, 401))
    rows, columns = rng.integers(-300, 300, 70_000), rng.integers(-401, 401, 70_000)
    mask = rng.random((300, 401)) < 0.3
    t = tilegrad.from_numpy
    assert np.array_equal(t(x)[t(rows), t(columns)].numpy(), x[rows, columns])
    assert np.array_equal(t(x)[t(rows[:500])].numpy(), x[rows[:500]])
    assert np.array_equal(t(x)[:, t(columns[:500])].numpy(), x[:, columns[:500]])
    assert np.array_equal(t(x.T)[t(columns[:500])].numpy(), x.T[columns[:500]])
    assert np.array_equal(t(x)[t(mask)].numpy(), x[mask])
    assert np.array_equal(t(mask).nonzero().numpy(), np.argwhere(mask))
    filled = x.copy()
    filled[mask] = np.arange(mask.sum())
    ours = t(x).masked_scatter(t(mask), t(np.arange(x.size, dtype=np.float64)))
    assert np.array_equal(ours.numpy(), filled)
    along = rng.integers(0, 300, (300, 401))
    assert np.array_equal(t(x).gather(0, t(along)).numpy(), np.take_along_axis(x, along, 0))
    assert np.array_equal(t(x).tril(50).numpy(), np.tril(x, 50))
    assert np.array_equal(t(x).triu(-50).numpy(), np.triu(x, -50))


# --------------------------------------------------------------------------- embedding, where, views


@pytest.mark.parametrize("padding, by_frequency", [(None, False), (2, False), (-1, True)])
def test_embedding(padding: int | None, by_frequency: bool, device: str) -> None:
    rng = np.random.default_rng(9)
    index, their_index = both(rng.integers(0, 7, (3, 15)), device)
    weight, theirs = both(rng.standard_normal((7, 4)), device)
    weight.requires_grad_()
    theirs.requires_grad_()
    options = {"padding_idx": padding, "scale_grad_by_freq": by_frequency}
    have = embedding(index, weight, **options)
    want = torch.nn.functional.embedding(their_index, theirs, **options)
    assert np.array_equal(have.numpy(force=True), want.detach().numpy())
    g, their_g = both(rng.standard_normal((3, 15, 4)), device)
    (ours,) = grad(have, weight, g, create_graph=True)
    (other,) = torch.autograd.grad(want, theirs, their_g)
    np.testing.assert_allclose(ours.numpy(force=True), other.numpy(), rtol=1e-12)


def test_embedding_is_linear_twice() -> None:
    index, _ = both([1, 1, 0])
    weight, _ = both(np.arange(6.0).reshape(3, 2))
    weight.requires_grad_()

    def cubes(w: Any) -> Any:
        return embedding(index, w, padding_idx=0) ** 3

    assert tilegrad.autograd.gradgradcheck(lambda w: embedding(index, w) * 2, [weight])
    (first,) = grad(cubes(weight).sum(), weight, create_graph=True)
    assert np.allclose(first.numpy(force=True), [[0, 0], [2 * 3 * 4, 2 * 3 * 9], [0, 0]])


def test_embedding_max_norm(device: str) -> None:
    index, their_index = both([0, 2, 2], device)
    weight, theirs = both(np.arange(12.0).reshape(4, 3), device)
    have = embedding(index, weight, max_norm=2.0)
    want = torch.nn.functional.embedding(their_index, theirs, max_norm=2.0)
    np.testing.assert_allclose(have.cpu().numpy(), want.numpy(), rtol=1e-6)
    np.testing.assert_allclose(weight.cpu().numpy(), theirs.numpy(), rtol=1e-6)


def test_where_with_numbers_only() -> None:
    condition, theirs = both([True, False])
    for pair in ((1, 2), (1.5, 2), (True, False)):
        have, want = where(condition, *pair), torch.where(theirs, *pair)
        assert str(have.dtype).split(".")[1] == str(want.dtype).split(".")[1]
        assert have.tolist() == want.tolist()


def test_gradient_through_a_view_made_before_a_write() -> None:
    """A view kept across a write to its base is looked up in the base's new history."""
    results = []
    for convert in (tilegrad.from_numpy, torch.from_numpy):
        x = convert(np.arange(12.0).reshape(3, 4)).requires_grad_()
        y = (x * 2).transpose(0, 1)
        kept = y[1:3, ::2]
        y[0] *= 5
        y.mul_(y.detach() + 1)
        (kept * kept).sum().backward()
        results.append(x.grad.numpy())
    np.testing.assert_allclose(*results, rtol=1e-12)


def test_overlapping_windows_add_up(device: str) -> None:
    x, theirs = both(np.arange(8.0), device)
    x.requires_grad_()
    theirs.requires_grad_()
    for t in (x, theirs):
        (t.as_strided((3, 3), (2, 1), 1) ** 2).sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), theirs.grad.numpy())
    leaf = tilegrad.from_numpy(np.arange(8.0)).requires_grad_()
    assert tilegrad.autograd.gradgradcheck(lambda v: v.as_strided((3, 3), (2, 1), 1) ** 2, [leaf])


def test_products_of_complex_numbers_that_meet(device: str) -> None:
    """By position, and by place where many indices are for few."""
    rng = np.random.default_rng(5)
    for shape, count in (((3, 2), 5), ((2,), 40)):
        x = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        s = np.exp(1j * rng.standard_normal((count, *shape[1:])))
        k = rng.integers(0, shape[0], s.shape)
        s[0] = 0
        want = x.copy()
        for place in np.ndindex(*s.shape):
            want[(k[place], *place[1:])] *= s[place]
        mine = tilegrad.tensor(x).to(device)
        made = mine.scatter(
            0, tilegrad.tensor(k).to(device), tilegrad.tensor(s).to(device), reduce="multiply"
        )
        np.testing.assert_allclose(made.cpu().numpy(), want, rtol=1e-12, atol=1e-12)


def test_gradients_of_complex_products_that_meet() -> None:
    x = tilegrad.tensor([1j, 2.0, 3 - 1j], dtype=tilegrad.complex128, requires_grad=True)
    k = tilegrad.tensor([0, 0, 2, 1, 0])
    for first in (1j, 0):
        s = tilegrad.tensor([first, 2 - 1j, first, 0.5j, 1 + 1j], dtype=tilegrad.complex128)
        product = lambda x, s: x.scatter(0, k, s, reduce="multiply")
        assert tilegrad.autograd.gradcheck(product, (x, s.requires_grad_()))

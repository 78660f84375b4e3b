"""``vmap``, in step with PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd import batching
from tilegrad.autograd.trees import mapped, spread, taken_apart, together

BOTH = (tilegrad, torch)
X, Y = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4) / 7


def _flat(value: Any) -> list[np.ndarray]:
    return [x.detach().numpy() for x in taken_apart(value)[0]]


CALLS: dict[str, Any] = {
    "product": lambda t, v: v(lambda a, b: (a * b).sum())(t.tensor(X), t.tensor(X)),
    "shared": lambda t, v: v(t.matmul, (0, None))(t.tensor(X), t.tensor(Y)),
    "columns": lambda t, v: v(lambda a: a * 2, 1, 1)(t.tensor(X)),
    "negative": lambda t, v: v(lambda a: a.sum(), -1)(t.tensor(X)),
    "nested": lambda t, v: v(lambda p, k: {"s": p["a"] + k[0], "t": (k[1].sum(), p["a"])}, ({"a": 0}, (0, None)))(
        {"a": t.tensor(X)}, (t.tensor(X), t.tensor(Y))
    ),
    "several outs": lambda t, v: v(lambda a: (a, a.sum()), 0, (1, 0))(t.tensor(X)),
    "named": lambda t, v: v(lambda a, b: a + b)(t.tensor(X), b=t.tensor(X)),
    "twice": lambda t, v: v(v(t.dot))(t.tensor(X).reshape(1, 2, 3), t.tensor(X).reshape(1, 2, 3)),
    "unbatched out": lambda t, v: v(lambda a, b: b * 2, (0, None), None)(t.tensor(X), t.tensor(Y)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name: str) -> None:
    ours, theirs = (_flat(CALLS[name](t, t.vmap)) for t in BOTH)
    assert [a.shape for a in ours] == [a.shape for a in theirs]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b)


WRONG: dict[str, Any] = {
    "sizes": lambda t, v: v(t.add)(t.tensor(X), t.tensor(Y)),
    "no inputs": lambda t, v: v(lambda: 0)(),
    "all none": lambda t, v: v(t.sum, (None,))(t.tensor(X)),
    "range": lambda t, v: v(t.sum, 3)(t.tensor(X)),
    "a number": lambda t, v: v(t.add)(t.tensor(X), 3),
    "gives a number": lambda t, v: v(lambda a: 3)(t.tensor(X)),
    "structure": lambda t, v: v(t.add, (0, 0, 0))(t.tensor(X), t.tensor(X)),
    "randomness": lambda t, v: v(t.add, randomness="never")(t.tensor(X), t.tensor(X)),
    "random": lambda t, v: v(lambda a: a + t.rand(3))(t.tensor(X)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name: str) -> None:
    kinds = []
    for t in BOTH:
        with pytest.raises((ValueError, RuntimeError)) as error:
            WRONG[name](t, t.vmap)
        kinds.append(error.type)
    assert kinds[0] is kinds[1]


@pytest.mark.filterwarnings("ignore")
def test_randomness_and_gradients() -> None:
    for t in BOTH:
        same = t.vmap(lambda a, t=t: t.rand(3) + 0 * a, randomness="same")(t.tensor(X))
        other = t.vmap(lambda a, t=t: t.rand(3) + 0 * a, randomness="different")(t.tensor(X))
        assert (same[0] == same[1]).all() and not (other[0] == other[1]).all()
        x = t.tensor(X, requires_grad=True)
        t.vmap(lambda a: (a * a).sum())(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * X)


def test_said_once_and_no_samples() -> None:
    batching._say.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tilegrad.vmap(tilegrad.sum)(tilegrad.tensor(X))
        tilegrad.vmap(tilegrad.sum)(tilegrad.tensor(X))
    assert "no batching rules" in str(caught[0].message)
    assert len(caught) == 1 and caught[0].filename == __file__
    none = tilegrad.vmap(lambda a: a * 2, 1)(tilegrad.zeros(3, 0, 2))
    assert tuple(none.shape) == (0, 3, 2)


def test_trees() -> None:
    value = {"a": [1, (2, 3)], "b": ()}
    leaves, form = taken_apart(value)
    assert leaves == [1, 2, 3] and together(leaves, form) == value
    assert mapped(lambda a, b: a + b, value, value) == {"a": [2, (4, 6)], "b": ()}
    assert spread({"a": [0, 1], "b": 5}, form, "dims") == [0, 1, 1]
    with pytest.raises(ValueError, match="not compatible"):
        spread((0, 1, 2), form, "dims")

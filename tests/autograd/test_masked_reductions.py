"""``masked``: reductions and normalisations of what a mask lets through, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd import masked_reductions

# names, and keywords of their calls
_GROUPS: list[tuple[str, list[dict[str, Any]]]] = [
    ("sum prod amax amin mean logsumexp norm",
     [{}, {"dim": 1}, {"dim": (0, -1), "keepdim": True}, {"dim": ()}]),
    ("argmax argmin", [{}, {"dim": 1}, {"dim": -1, "keepdim": True}]),
    ("median", [{}, {"dim": 0, "keepdim": True}]),
    ("var std", [{}, {"dim": 1}, {"dim": 0, "unbiased": False}, {"dim": (0, 2), "correction": 2}]),
    ("cumsum cumprod softmax log_softmax softmin", [{"dim": 0}, {"dim": -1}]),
    ("normalize", [{"ord": 2.0, "dim": 1}, {"ord": float("inf"), "dim": -1}]),
]  # fmt: skip
CALLS = {name: calls for names, calls in _GROUPS for name in names.split()}
MASKS = {
    "none": None,
    "full": np.arange(24).reshape(2, 3, 4) % 5 != 0,
    "broadcast": np.array([[True], [False], [True]]),
    "nothing": np.zeros((1, 4), bool),
}


def _both(name: str, x: np.ndarray, mask: np.ndarray | None, **more: Any) -> list[Any]:
    """Value and gradient, or the exception, of both libraries."""
    found: list[Any] = []
    for t in (tilegrad, torch):
        given = t.tensor(x)
        if x.dtype.kind == "f":
            given.requires_grad_()
        kept = None if mask is None else t.tensor(mask)
        try:
            made = getattr(t.masked, name)(given, mask=kept, **more)
        except (ValueError, IndexError, RuntimeError) as error:
            found.append((type(error).__name__, str(error)))
            continue
        slope = None
        if made.requires_grad:
            weight = t.tensor(np.cos(np.arange(made.numel() or 1)).reshape(tuple(made.shape)))
            (made * weight).sum().backward()
            slope = given.grad.numpy()
        found.append((str(made.dtype).split(".")[-1], made.detach().numpy(), slope))
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", ["float64", "int32"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients_are_pytorchs(
    name: str, mask: str, dtype: str, rng: np.random.Generator
) -> None:
    x = (rng.standard_normal((2, 3, 4)) * 3).astype(dtype)
    for more in CALLS[name]:
        have, want = _both(name, x, MASKS[mask], **more)
        assert len(have) == len(want), (have, want)
        if len(want) == 2:
            assert have[0] == want[0]
            continue
        assert have[0] == want[0]
        np.testing.assert_allclose(have[1], want[1], rtol=1e-6 if dtype == "int32" else 1e-12)
        assert (have[2] is None) is (want[2] is None)
        if want[2] is not None:
            np.testing.assert_allclose(have[2], want[2], rtol=1e-10, atol=1e-12)


def test_sums_of_exponentials_of_two() -> None:
    x, y = np.array([-100.0, -200, -300]), np.array([-1.0, -2, -3])
    kept = np.array([True, False, True])
    made = [
        t.masked.logaddexp(
            t.tensor(x), t.tensor(y), input_mask=t.tensor(kept), other_mask=t.tensor(kept)
        )
        for t in (tilegrad, torch)
    ]
    np.testing.assert_array_equal(made[0].numpy(), made[1].numpy())


@pytest.mark.parametrize("name", ["sum", "mean", "amax"])
def test_dtypes_and_errors_are_pytorchs(name: str) -> None:
    x = np.arange(6.0).reshape(2, 3)
    for more in ({"dim": 2}, {"dim": (0, 0)}, {"dim": -3}):
        have, want = _both(name, x, None, **more)
        assert have == want
    wide = np.ones((1, 2, 3), bool)
    have, want = _both(name, x, wide)
    assert have == want
    kinds = [
        str(getattr(t.masked, name)(t.tensor(x), dtype=t.float32).dtype).split(".")[-1]
        for t in (tilegrad, torch)
    ]
    assert kinds == ["float32", "float32"]


def test_every_name_is_there() -> None:
    theirs = {n for n in torch.masked.__all__ if n[0].islower() and "masked_tensor" not in n}
    assert theirs == set(masked_reductions.__all__) == set(tilegrad.masked.__all__)

"""``assert_close`` and ``make_tensor``, in step with PyTorch word for word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

BOTH = (tilegrad, torch)
NAN, INF = float("nan"), float("inf")

PAIRS: dict[str, Any] = {
    "equal": lambda t: (t.ones(2), t.ones(2), {}),
    "close": lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 2.000001]), {}),
    "far": lambda t: (t.tensor([[1.0, 2.0], [3.0, 4.5]]), t.tensor([[1.0, 2.5], [0.0, 4.0]]), {}),
    "double": lambda t: (t.tensor([1.0], dtype=t.float64), t.tensor([1.0 + 1e-6], dtype=t.float64), {}),
    "integers": lambda t: (t.tensor([1, 2, 3]), t.tensor([1, 5, 3]), {}),
    "bytes": lambda t: (t.tensor([0, 255], dtype=t.uint8), t.tensor([255, 255], dtype=t.uint8), {}),
    "bools": lambda t: (t.tensor([True, False]), t.tensor([True, True]), {}),
    "0-d": lambda t: (t.tensor(1.0), t.tensor(2.0), {}),
    "shape": lambda t: (t.ones(2), t.ones(3), {}),
    "dtype": lambda t: (t.ones(2), t.ones(2, dtype=t.float64), {}),
    "dtype aside": lambda t: (t.ones(2), t.ones(2, dtype=t.float64), {"check_dtype": False}),
    "stride": lambda t: (t.ones(2, 3), t.ones(3, 2).t(), {"check_stride": True}),
    "strides aside": lambda t: (t.ones(2, 3), t.ones(3, 2).t(), {}),
    "nan": lambda t: (t.tensor([NAN]), t.tensor([NAN]), {}),
    "equal nan": lambda t: (t.tensor([NAN]), t.tensor([NAN]), {"equal_nan": True}),
    "infinite": lambda t: (t.tensor([INF, 1.0]), t.tensor([INF, 1.0]), {}),
    "infinite apart": lambda t: (t.tensor([INF]), t.tensor([-INF]), {}),
    "exact": lambda t: (t.tensor([1.0]), t.tensor([1.000001]), {"rtol": 0, "atol": 0}),
    "wide": lambda t: (t.tensor([1.0]), t.tensor([1.5]), {"rtol": 0.5, "atol": 0.5}),
    "one tolerance": lambda t: (t.ones(1), t.ones(1), {"rtol": 0.1}),
    "list": lambda t: ([t.ones(1), t.zeros(2)], (t.ones(1), t.ones(2)), {}),
    "lengths": lambda t: ([1, 2], [1], {}),
    "dict": lambda t: ({"a": {"b": t.ones(1)}}, {"a": {"b": t.zeros(1)}}, {}),
    "keys": lambda t: ({"a": 1}, {"b": 1}, {}),
    "numbers": lambda t: (1.0, 1.5, {}),
    "numbers close": lambda t: (1.0, 1.0 + 1e-9, {}),
    "to zero": lambda t: (1, 0, {}),
    "int and float": lambda t: (1, 1.0, {}),
    "int as float": lambda t: (1, 1.0, {"check_dtype": False}),
    "booleans": lambda t: (True, False, {}),
    "none": lambda t: (None, 3, {}),
    "nones": lambda t: (None, None, {}),
    "arrays": lambda t: (np.ones(2), np.zeros(2), {}),
    "array and tensor": lambda t: (np.ones(2), t.ones(2), {}),
    "words": lambda t: ("a", "a", {}),
    "parameter": lambda t: (t.nn.Parameter(t.ones(2)), t.ones(2), {}),
    "own message": lambda t: (t.ones(1), t.zeros(1), {"msg": "no"}),
    "message made": lambda t: (t.ones(1), t.zeros(1), {"msg": lambda m: f"<{m}>"}),
}  # fmt: skip


def _outcome(t: Any, name: str) -> tuple[str, str]:
    actual, expected, options = PAIRS[name](t)
    try:
        t.testing.assert_close(actual, expected, **options)
    except Exception as error:
        return type(error).__name__, str(error).replace("tilegrad", "torch")
    return "", ""


@pytest.mark.parametrize("name", PAIRS)
def test_as_pytorch(name: str) -> None:
    ours, theirs = (_outcome(t, name) for t in BOTH)
    if name == "array and tensor":  # the class's name
        ours, theirs = ours[:1], theirs[:1]
    assert ours == theirs


@pytest.mark.filterwarnings("ignore")
def test_the_older_name() -> None:
    for t in BOTH:
        t.testing.assert_allclose(t.ones(2), t.ones(2, dtype=t.float64))
        with pytest.raises(AssertionError, match="Tensor-likes are not close"):
            t.testing.assert_allclose(t.ones(2), [1.0, 2.0])


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int64", "float32", "float64"])
@pytest.mark.parametrize("bounds", [{}, {"low": 1, "high": 3}, {"low": -1000, "high": 2}])
def test_made_tensors(kind: str, bounds: dict[str, int]) -> None:
    """Ranges are PyTorch's, seen from many numbers."""
    ends = []
    for t in BOTH:
        made = t.testing.make_tensor(4000, dtype=getattr(t, kind), device="cpu", **bounds)
        values = made.numpy().astype(np.float64)
        ends.append((made.dtype == getattr(t, kind), values.min(), values.max()))
    wide = ends[1][2] - ends[1][1]
    np.testing.assert_allclose(ends[0][1:], ends[1][1:], atol=0.02 * wide)


def test_options_of_made_tensors() -> None:
    for t in BOTH:
        make = t.testing.make_tensor
        apart = make((3, 4), dtype=t.float32, device="cpu", noncontiguous=True, requires_grad=True)
        assert tuple(apart.shape) == (3, 4) and not apart.is_contiguous() and apart.requires_grad
        last = make(1, 2, 3, 4, dtype=t.float32, device="cpu", memory_format=t.channels_last)
        assert last.is_contiguous(memory_format=t.channels_last)
        some = make((100,), dtype=t.int8, device="cpu", low=0, high=2, exclude_zero=True)
        assert (some == 1).all()
        for wrong in (
            {"low": 3, "high": 3}, {"low": NAN}, {"low": 1000}, {"requires_grad": True},
            {"noncontiguous": True, "memory_format": t.channels_last},
        ):  # fmt: skip
            with pytest.raises(ValueError):
                make((2,), dtype=t.int8, device="cpu", **wrong)

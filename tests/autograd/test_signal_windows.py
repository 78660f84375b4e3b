"""``signal.windows`` in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

NAMES = (
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming",
    "hamming", "hann", "kaiser", "nuttall",
)  # fmt: skip
REFUSED: list[tuple[str, Any, dict[str, Any]]] = [
    ("hann", -1, {}),
    ("bartlett", 4, {"dtype": "int64"}),
    ("exponential", 4, {"tau": -1}),
    ("exponential", 4, {"center": 1}),
    ("gaussian", 4, {"std": 0}),
    ("general_cosine", 4, {"a": []}),
    ("general_cosine", 4, {"a": 1}),
    ("kaiser", 4, {"beta": -1}),
]


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_values(name: str, sym: bool) -> None:
    more = {"a": [0.4, 0.5, 0.1, 0.2]} if name == "general_cosine" else {}
    for size in (0, 1, 2, 3, 8, 51):
        want = getattr(torch.signal.windows, name)(size, sym=sym, dtype=torch.float64, **more)
        for dtype, error in (("float32", 1e-7), ("float64", 1e-14)):
            have = getattr(tilegrad.signal.windows, name)(size, sym=sym, dtype=dtype, **more)
            assert have.dtype.name == dtype
            np.testing.assert_allclose(have.numpy(), want.numpy(), atol=error, rtol=0)


def test_options() -> None:
    windows = tilegrad.signal.windows
    want = torch.signal.windows.exponential(9, sym=False, center=1.5, tau=3.0, dtype=torch.float64)
    have = windows.exponential(9, sym=False, center=1.5, tau=3.0)
    np.testing.assert_allclose(have.numpy(), want.numpy(), atol=1e-7)
    want = torch.signal.windows.general_hamming(9, alpha=0.3, dtype=torch.float64)
    np.testing.assert_allclose(windows.general_hamming(9, alpha=0.3), want.numpy(), atol=1e-7)
    assert windows.hann(4, requires_grad=True).requires_grad


@pytest.mark.parametrize(("name", "size", "options"), REFUSED)
def test_errors(name: str, size: Any, options: dict[str, Any]) -> None:
    raised = []
    for t in (torch, tilegrad):
        given = {k: getattr(t, v) if k == "dtype" else v for k, v in options.items()}
        with pytest.raises((ValueError, TypeError)) as error:
            getattr(t.signal.windows, name)(size, **given)
        raised.append((error.type, str(error.value).replace("torch.", "")))
    assert raised[0] == raised[1]

"""Connectionist temporal classification, in step with PyTorch: losses and gradients of random sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

F = tilegrad.nn.functional


def _draw(rng: np.random.Generator, joined: bool, most: int) -> tuple[Any, ...]:
    """Log-probabilities of a batch, targets, lengths, the class of no label: PyTorch's gradient at the last step is
    not that of its loss where that is a label too.
    """
    T, N, C, S = (
        int(rng.integers(low, high)) for low, high in ((1, most), (1, 5), (2, 9), (1, most))
    )
    x, blank = rng.standard_normal((T, N, C)), int(rng.integers(0, C))
    steps, many = rng.integers(0, T + 1, N).tolist(), rng.integers(0, S + 1, N).tolist()
    labels = rng.choice([c for c in range(C) if c != blank], (N, S))
    if joined:
        labels = np.concatenate([row[:n] for row, n in zip(labels, many, strict=True)])
    else:
        for row, n in zip(labels, many, strict=True):
            row[n:] = -1  # what stands behind a sequence's own labels is not read
    return x, labels.astype(np.int64), steps, many, blank


def _found(t: Any, device: str, dtype: str, given: tuple[Any, ...], **how: Any) -> list[np.ndarray]:
    x, labels, steps, many, blank = given
    a = t.tensor(x.astype(dtype), device=device).requires_grad_()
    loss = t.nn.functional.ctc_loss(a, t.tensor(labels, device=device), steps, many, blank, **how)
    loss.backward(t.linspace(-1, 2, loss.numel(), dtype=a.dtype).to(device).reshape(loss.shape))
    return [loss.detach().cpu().numpy(), a.grad.cpu().numpy()]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_random_sequences(joined: bool, zero_infinity: bool, reduction: str) -> None:
    rng = np.random.default_rng(5)
    for trial in range(20):
        given, dtype = _draw(rng, joined, 25), ("float32", "float64")[trial % 2]
        how = {"reduction": reduction, "zero_infinity": zero_infinity}
        both = (_found(t, "cpu", dtype, given, **how) for t in (tilegrad, torch))
        tolerance = 1e-3 if dtype == "float32" else 1e-9
        for have, want in zip(*both, strict=True):
            np.testing.assert_allclose(have, want, tolerance, tolerance, err_msg=str(given[1:]))


def test_random_sequences_on_each_device(device: str) -> None:
    rng = np.random.default_rng(6)
    for trial in range(4):
        given, how = (
            _draw(rng, trial % 2 == 0, 6),
            {"reduction": "none", "zero_infinity": trial > 1},
        )
        have, want = (
            _found(tilegrad, device, "float64", given, **how),
            _found(torch, "cpu", "float64", given, **how),
        )
        for ours, theirs in zip(have, want, strict=True):
            np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9)


def test_classes_of_no_probability(device: str) -> None:
    """The gradient is finite, where PyTorch has NaN for a class of probability 0."""
    x = np.random.default_rng(7).standard_normal((5, 2, 4))
    x[1, 0, 3] = x[2, 0, 1] = -np.inf
    given = (x, np.array([[1, 2], [2, 1]]), [5, 5], [2, 2], 0)
    (loss, grad), (want, theirs) = (
        _found(t, d, "float64", given, reduction="none")
        for t, d in ((tilegrad, device), (torch, "cpu"))
    )
    np.testing.assert_allclose(loss, want, 1e-12)
    assert np.isfinite(grad).all() and grad[1, 0, 3] == 0
    np.testing.assert_allclose(grad[np.isfinite(theirs)], theirs[np.isfinite(theirs)], 1e-9)


@pytest.mark.parametrize("label", [4, -1, 1 << 40])
def test_labels_that_are_no_classes(label: int, device: str) -> None:
    x = tilegrad.zeros(5, 2, 4, device=device)
    targets = tilegrad.tensor([[1, label], [2, 1]], device=device)
    with pytest.raises(IndexError, match=f"ctc_loss: Target {label} is out of bounds"):
        F.ctc_loss(x, targets, [5, 5], [2, 2]).item()


@pytest.mark.parametrize(
    "targets, steps, many",
    [
        ([[1, 2], [2, 1]], [6, 5], [2, 2]), ([[1, 2], [2, 1]], [5, 5], [3, 2]), ([1, 2, 1], [5, 5], [2, 2]),
        ([1, 2, 1, 1, 1], [5, 5], [2, 2]), ([[1, 2], [2, 1]], [5, 5], [2, -1]), ([[1, 2]], [5, 5], [2, 2]),
        ([[1, 2], [2, 1]], [5], [2, 2]), ([[1, 2], [2, 1]], [5, -1], [2, 2]),
    ],
)  # fmt: skip
def test_lengths_that_do_not_fit(targets: Any, steps: Any, many: Any) -> None:
    for t in (tilegrad, torch):
        with pytest.raises(RuntimeError):
            t.nn.functional.ctc_loss(t.zeros(5, 2, 4), t.tensor(targets), steps, many)


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_second_derivatives(zero_infinity: bool) -> None:
    x = tilegrad.tensor(np.random.default_rng(8).standard_normal((6, 3, 4)), requires_grad=True)
    targets = tilegrad.tensor([[1, 2, 2], [3, 0, 1], [0, 0, 0]])

    def loss(x: Any) -> Any:
        logs = x.log_softmax(2)
        return F.ctc_loss(logs, targets, [6, 5, 4], [3, 2, 0], zero_infinity=zero_infinity)

    assert tilegrad.autograd.gradcheck(loss, (x,))
    assert tilegrad.autograd.gradgradcheck(loss, (x,))

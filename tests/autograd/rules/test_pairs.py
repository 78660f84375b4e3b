"""Distances of all rows to all rows, in step with PyTorch: values, gradients, edges of tiles, equal rows, NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

POWERS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, float("inf"))
NEVER = "donot_use_mm_for_euclid_dist"
# of x and of y: batches that broadcast, rows and elements beyond a tile, single ones
SHAPES = [((2, 1, 5, 3), (3, 4, 3)), ((37, 19), (70, 19)), ((1, 1), (1, 1)), ((3, 70), (66, 70))]


def _found(t: Any, p: float, device: str, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Distances, pairs' distances and the gradients of all."""
    a, b = (t.tensor(v, device=device).requires_grad_() for v in (x, y))
    made = t.cdist(a, b, p, compute_mode=NEVER)
    seed = t.linspace(-1, 2, made.numel(), dtype=a.dtype).to(device).reshape(made.shape)
    made.backward(seed)
    c = t.tensor(x.reshape(-1, *x.shape[-2:])[0], device=device).requires_grad_()
    among = t.nn.functional.pdist(c, p)
    among.backward(t.linspace(-1, 2, among.numel(), dtype=a.dtype).to(device))
    return [v.detach().cpu().numpy() for v in (made, a.grad, b.grad, among, c.grad)]


def _compare(x: np.ndarray, y: np.ndarray, device: str, powers: tuple[float, ...] = POWERS) -> None:
    tolerance = 1e-3 if x.dtype == np.float32 else 1e-8  # PyTorch adds its sums up one by one
    for p in powers:
        for have, want in zip(
            _found(tilegrad, p, device, x, y), _found(torch, p, "cpu", x, y), strict=True
        ):
            np.testing.assert_allclose(have, want, tolerance, tolerance, err_msg=str(p))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_values_and_gradients(shapes: Any, dtype: str) -> None:
    rng = np.random.default_rng(1)
    _compare(*(rng.standard_normal(s).astype(dtype) for s in shapes), "cpu")


def test_equal_rows_on_each_device(device: str) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 1, 6, 3)), rng.standard_normal((3, 5, 3))
    x[0, 0, 0] = y[0, 0]
    x[0, 0, 1] = x[0, 0, 2]
    _compare(x, y, device)


def test_nan_reaches_its_distances_alone(device: str) -> None:
    x = tilegrad.tensor([[0.0, float("nan")], [1.0, 2.0], [1.0, 2.0]], device=device)
    for p in POWERS:
        made = tilegrad.cdist(x, x, p, compute_mode=NEVER).isnan().tolist()
        assert made == [[True] * 3, [True, False, False], [True, False, False]]
        assert tilegrad.nn.functional.pdist(x, p).isnan().tolist() == [True, True, False]


def test_nothing_to_compare(device: str) -> None:
    for shapes in [((0, 3), (2, 3)), ((4, 0), (2, 0)), ((0, 2, 3), (5, 3))]:
        for p in POWERS:
            x, y = (tilegrad.ones(s, device=device, requires_grad=True) for s in shapes)
            made = tilegrad.cdist(x, y, p, compute_mode=NEVER)
            want = torch.cdist(torch.ones(shapes[0]), torch.ones(shapes[1]), p, compute_mode=NEVER)
            assert made.shape == want.shape
            assert not made.cpu().any()
            made.sum().backward()
            assert x.grad.shape == x.shape and not x.grad.cpu().any()
    assert tilegrad.nn.functional.pdist(tilegrad.ones(1, 3, device=device)).shape == (0,)


@pytest.mark.parametrize("p", POWERS[1:])
def test_second_derivatives(p: float) -> None:
    rng = np.random.default_rng(3)
    x, y = (
        tilegrad.tensor(rng.standard_normal(s)).requires_grad_() for s in ((2, 1, 4, 3), (3, 2, 3))
    )
    assert tilegrad.autograd.gradgradcheck(lambda a, b: tilegrad.cdist(a, b, p, NEVER), (x, y))
    assert tilegrad.autograd.gradgradcheck(lambda a: tilegrad.nn.functional.pdist(a[0, 0], p), (x,))


@pytest.mark.parametrize("mode", [None, 0, 1, True, "never"])
def test_modes_of_distances_are_names(mode: Any) -> None:
    for t in (torch, tilegrad):
        with pytest.raises(ValueError, match=f"{mode} is not a valid value for compute_mode"):
            t.cdist(t.ones(3, 2), t.ones(3, 2), compute_mode=mode)

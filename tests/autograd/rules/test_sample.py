"""Samples at the places of a grid, in step with PyTorch: values and both gradients, in every way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

F, T = tilegrad.nn.functional, torch.nn.functional
PADDINGS = ("zeros", "border", "reflection")


def _places(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Inside, outside, and far from where the image is."""
    return np.where(rng.random(shape) < 0.1, 9.0, 1.0) * rng.uniform(-1.4, 1.4, shape)


def _both(x: np.ndarray, grid: np.ndarray, **how: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(value, gradients by both) of tilegrad and of PyTorch."""
    found = []
    for t in (tilegrad, torch):
        a, b = (t.from_numpy(v.copy()).requires_grad_() for v in (x, grid))
        out = t.nn.functional.grid_sample(a, b, **how)
        g = np.random.default_rng(7).standard_normal(tuple(out.shape)).astype(x.dtype)
        out.backward(t.from_numpy(g))
        found.append([v.numpy() for v in (out.detach(), a.grad, b.grad)])
    return found[0], found[1]


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_values_and_gradients(mode: str, padding: str, align: bool) -> None:
    rng = np.random.default_rng(3)
    how = {"mode": mode, "padding_mode": padding, "align_corners": align}
    cases = [((2, 3, 7, 5), (2, 17, 9, 2)), ((1, 2, 1, 4), (1, 3, 3, 2))]
    if mode != "bicubic":
        cases += [((2, 3, 4, 5, 6), (2, 3, 4, 5, 3))]
    for shape, places in cases:
        x, grid = rng.standard_normal(shape), _places(rng, *places)
        for have, want in zip(*_both(x, grid, **how), strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9, err_msg=str(shape))
        # float32: neighbouring places round to other elements at most where two are as near
        if mode != "nearest":
            have, want = (v[0] for v in _both(x.astype("f4"), grid.astype("f4"), **how))
            np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_that_are_no_numbers_read_nothing_outside(mode: str, padding: str) -> None:
    """Values there are unspecified; all others are as they are without them."""
    x = np.random.default_rng(4).standard_normal((1, 2, 4, 5))
    grid = np.random.default_rng(5).uniform(-1, 1, (1, 2, 6, 2))
    how = {"mode": mode, "padding_mode": padding, "align_corners": False}
    want = F.grid_sample(tilegrad.from_numpy(x), tilegrad.from_numpy(grid), **how).numpy()
    grid[0, 0, :4, 0] = np.nan, np.inf, -np.inf, 1e300
    have = F.grid_sample(tilegrad.from_numpy(x), tilegrad.from_numpy(grid), **how).numpy()
    assert (have[:, :, 1] == want[:, :, 1]).all() and (have[:, :, 0, 4:] == want[:, :, 0, 4:]).all()


def test_an_infinite_element_counts_where_it_is() -> None:
    """What lies outside is zero, whatever the first element holds."""
    x = np.ones((1, 1, 3, 3), np.float32)
    x[0, 0, 0, 0] = np.inf
    grid = np.full((1, 1, 1, 2), 1.2, np.float32)
    have, want = (
        t.nn.functional.grid_sample(t.from_numpy(x), t.from_numpy(grid), align_corners=False)
        for t in (tilegrad, torch)
    )
    assert have.item() == pytest.approx(want.item())


def test_gradients_in_parts() -> None:
    """The same alone as together, and what a second derivative by the image alone needs."""
    rng = np.random.default_rng(6)
    x, grid = (tilegrad.from_numpy(v) for v in (rng.random((1, 2, 4, 5)), _places(rng, 1, 3, 3, 2)))
    image, places = x.clone().requires_grad_(), grid.clone().requires_grad_()
    F.grid_sample(image, places, align_corners=True).sum().backward()
    for wanted, other in ((image, 0), (places, 1)):
        again = wanted.detach().clone().requires_grad_()
        given = (again, grid) if other == 0 else (x, again)
        F.grid_sample(*given, align_corners=True).sum().backward()
        assert (again.grad == wanted.grad).all()
    again = x.clone().requires_grad_()
    out = F.grid_sample(again, grid, align_corners=True)
    (slope,) = tilegrad.autograd.grad((out * out).sum(), again, create_graph=True)
    (second,) = tilegrad.autograd.grad(slope.sum(), again)
    assert second.shape == x.shape and second.abs().sum().item() > 0

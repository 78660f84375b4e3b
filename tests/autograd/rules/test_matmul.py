"""Matrix products on every device: rows that do not know one another, addresses of any alignment."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad


def on(device: str, *arrays: np.ndarray) -> list[Any]:
    return [tilegrad.from_numpy(a).to(device) for a in arrays]


def test_a_row_does_not_depend_on_the_others(device: str, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((40, 21)).astype("f4"), rng.standard_normal((21, 6)).astype("f4")
    a, b = on(device, x, y)
    whole = (a @ b).cpu().numpy()
    for rows in (1, 3, 17):
        few = tilegrad.from_numpy(x[:rows]).to(device)
        np.testing.assert_array_equal((few @ b).cpu().numpy(), whole[:rows])


def test_an_address_that_is_not_aligned(device: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((8, 13)).astype("f4")
    y = rng.standard_normal((8, 8)).astype("f4")
    flat, b = on(device, x.ravel(), y)
    got = (flat[1:65].reshape(8, 8) @ b).cpu().numpy()
    np.testing.assert_allclose(got, x.ravel()[1:65].reshape(8, 8) @ y, rtol=1e-4, atol=1e-5)


def test_gradients_of_complex_products_conjugate_warm_too(
    device: str, rng: np.random.Generator
) -> None:
    """The first call of a layout and the ones after it take different ways through the rule."""
    x, y, g = (rng.standard_normal((*s, 2)) @ (1, 1j) for s in ((3, 4), (4, 5), (3, 5)))
    for _ in range(3):
        for product, right in ((tilegrad.matmul, y), (tilegrad.nn.functional.linear, y.T.copy())):
            a, b, grad = on(device, x, right, g)
            a.requires_grad_()
            b.requires_grad_()
            product(a, b).backward(grad)
            of_y = x.conj().T @ g
            np.testing.assert_allclose(a.grad.cpu().numpy(), g @ y.conj().T, atol=1e-12)
            np.testing.assert_allclose(
                b.grad.cpu().numpy(), of_y if right is y else of_y.T, atol=1e-12
            )


def test_arrays_of_another_dtype(rng: np.random.Generator) -> None:
    """NumPy's dtypes, on either side, as PyTorch leaves ``x @ array`` to NumPy; gradients flow to the tensor."""
    x, y = rng.standard_normal((2, 3)).astype("f4"), rng.standard_normal((3, 2))
    for array in (y, (9 * y).astype("i8")):
        leaf = tilegrad.from_numpy(x).requires_grad_()
        right, left = leaf @ array, array @ leaf
        assert right.dtype is left.dtype is tilegrad.float64
        np.testing.assert_allclose(right.detach().numpy(), x @ array, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(left.detach().numpy(), array @ x, rtol=1e-5, atol=1e-6)
        (grad,) = tilegrad.autograd.grad(right.sum(), leaf)
        want = np.broadcast_to(array.sum(1), (2, 3))
        np.testing.assert_allclose(grad.numpy(), want, rtol=1e-5, atol=1e-6)

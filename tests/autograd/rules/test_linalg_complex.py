"""Linear algebra of complex matrices, and eigenvalues of any: values and gradients against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import linalg


def _firm(t: Any, x: Any) -> Any:
    """Hermitian, positive definite."""
    return x @ x.mH + 3 * t.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def _far(t: Any, x: Any) -> Any:
    return x + 4 * t.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def _of_values(t: Any, found: Any) -> Any:
    """What does not depend on phases or order: V f(L) V^-1."""
    values, vectors = found
    return (vectors * (values * 0.3).exp().unsqueeze(-2)) @ t.linalg.inv(vectors)


def _of_both(t: Any, u: Any, s: Any, vh: Any) -> Any:
    return (u * (s * 0.3).exp().unsqueeze(-2)) @ vh


# name: the call over square (2, n, n), right-hand sides (2, n, 2) and a matrix (5, n)
CALLS = {
    "cholesky": lambda t, a, b, m: t.linalg.cholesky(_firm(t, a)),
    "cholesky-upper": lambda t, a, b, m: t.linalg.cholesky(_firm(t, a), upper=True),
    "cholesky_solve": lambda t, a, b, m: t.cholesky_solve(b, t.linalg.cholesky(_firm(t, a))),
    "cholesky_inverse": lambda t, a, b, m: t.cholesky_inverse(t.linalg.cholesky(_firm(t, a))),
    "solve": lambda t, a, b, m: t.linalg.solve(_far(t, a), b),
    "solve-right": lambda t, a, b, m: t.linalg.solve(_far(t, a), b.mT, left=False),
    "inv": lambda t, a, b, m: t.linalg.inv(_far(t, a)),
    "det": lambda t, a, b, m: t.linalg.det(a),
    "slogdet": lambda t, a, b, m: t.linalg.slogdet(a)[1],
    "slogdet-sign": lambda t, a, b, m: t.linalg.slogdet(a)[0],
    "logdet": lambda t, a, b, m: t.logdet(_far(t, a)),
    "lu_factor": lambda t, a, b, m: t.linalg.lu_factor(a)[0],
    "lu-tall": lambda t, a, b, m: t.linalg.lu(m)[1],
    "lu-wide": lambda t, a, b, m: t.linalg.lu(m.mT)[2],
    "lu_solve": lambda t, a, b, m: t.linalg.lu_solve(*t.linalg.lu_factor(a), b),
    "lu_solve-adjoint": lambda t, a, b, m: t.linalg.lu_solve(*t.linalg.lu_factor(a), b, adjoint=True),
    "lu_solve-right": lambda t, a, b, m: t.linalg.lu_solve(*t.linalg.lu_factor(a), b.mT, left=False),
    "lu_solve-right-adjoint": lambda t, a, b, m: t.linalg.lu_solve(
        *t.linalg.lu_factor(a), b.mT, left=False, adjoint=True),
    "solve_triangular": lambda t, a, b, m: t.linalg.solve_triangular(_far(t, a), b, upper=False),
    "solve_triangular-right": lambda t, a, b, m: t.linalg.solve_triangular(
        a * 0.1, b.mT, upper=True, left=False, unitriangular=True),
    "triangular_solve": lambda t, a, b, m: t.triangular_solve(b, _far(t, a), transpose=True)[0],
    "qr": lambda t, a, b, m: t.linalg.qr(m)[0],
    "qr-r": lambda t, a, b, m: t.linalg.qr(m)[1],
    "qr-wide": lambda t, a, b, m: t.linalg.qr(m.mT)[1],
    "householder_product": lambda t, a, b, m: t.linalg.householder_product(m, b[0, :2, 0] * 0.2),
    "ormqr": lambda t, a, b, m: t.ormqr(m, a[0, 0] * 0.2, m, True, True),
    "ormqr-right": lambda t, a, b, m: t.ormqr(m, a[0, 0] * 0.2, m.mT, False, False),
    "eigh": lambda t, a, b, m: _of_values(t, t.linalg.eigh(_firm(t, a))),
    "eigh-upper": lambda t, a, b, m: _of_values(t, t.linalg.eigh(a * 0.3, "U")),
    "eigh-real": lambda t, a, b, m: _of_values(t, t.linalg.eigh(a.real * 0.3)),
    "eigvalsh": lambda t, a, b, m: t.linalg.eigvalsh(_firm(t, a)),
    "svd": lambda t, a, b, m: _of_both(t, *t.linalg.svd(m, full_matrices=False)),
    "svd-wide": lambda t, a, b, m: _of_both(t, *t.linalg.svd(m.mT, full_matrices=False)),
    "svdvals": lambda t, a, b, m: t.linalg.svdvals(m),
    "pinv": lambda t, a, b, m: t.linalg.pinv(m),
    "pinv-hermitian": lambda t, a, b, m: t.linalg.pinv(_firm(t, a), hermitian=True),
    "lstsq": lambda t, a, b, m: t.linalg.lstsq(m, m * 1j + 1, driver="gels")[0],
    "lstsq-singular": lambda t, a, b, m: t.linalg.lstsq(m, m * 1j + 1, driver="gelsd")[0],
    "residuals": lambda t, a, b, m: t.linalg.lstsq(m, (m * m) + 1, driver="gelsd")[1],
    "matrix_exp": lambda t, a, b, m: t.linalg.matrix_exp(a),
    "matrix_power": lambda t, a, b, m: t.linalg.matrix_power(_far(t, a), -3),
    "matrix_norm": lambda t, a, b, m: t.linalg.matrix_norm(a),
    "matrix_norm-nuc": lambda t, a, b, m: t.linalg.matrix_norm(a, "nuc"),
    "matrix_norm-1": lambda t, a, b, m: t.linalg.matrix_norm(a, 1),
    "matrix_norm-minus-inf": lambda t, a, b, m: t.linalg.matrix_norm(a, -float("inf")),
    "matrix_norm-2": lambda t, a, b, m: t.linalg.matrix_norm(a, 2),
    "vector_norm": lambda t, a, b, m: t.linalg.vector_norm(a, 3, -1),
    "vector_norm-inf": lambda t, a, b, m: t.linalg.vector_norm(a, float("inf"), (1, 2)),
    "vector_norm-half": lambda t, a, b, m: t.linalg.vector_norm(a, 0.5),
    "cond": lambda t, a, b, m: t.linalg.cond(a),
    "multi_dot": lambda t, a, b, m: t.linalg.multi_dot([m, a[0], b[0]]),
    "vecdot": lambda t, a, b, m: t.linalg.vecdot(a, b[..., :1]),
    "vander": lambda t, a, b, m: t.linalg.vander(a[0]),
    "tensorinv": lambda t, a, b, m: t.linalg.tensorinv(_far(t, a)[0], 1),
    "tensorsolve": lambda t, a, b, m: t.linalg.tensorsolve(_far(t, a)[0], b[0, :, 0]),
    "eig": lambda t, a, b, m: _of_values(t, t.linalg.eig(a * 0.5)),
    "eig-real": lambda t, a, b, m: _of_values(t, t.linalg.eig(a.real * 0.5)),
    "eig-vectors": lambda t, a, b, m: t.linalg.eig(a)[1].abs().sum(-1),
    "eigvals": lambda t, a, b, m: t.linalg.eigvals(a).abs().sum(-1),
    "eigvals-real": lambda t, a, b, m: (t.linalg.eigvals(a.real) ** 3).sum(-1),
}  # fmt: skip


def _operands(n: int, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(n)
    shapes = (2, n, n), (2, n, 2), (n + 2, n)
    return [(rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype) for s in shapes]


def _both(name: str, t: Any, given: list[np.ndarray]) -> tuple[Any, list[Any]]:
    """The value, and gradients of a loss that weighs its parts."""
    leaves = [t.tensor(x).requires_grad_() for x in given]
    made = CALLS[name](t, *leaves)
    weight = np.cos(np.arange(made.numel() or 1) * 1.7).reshape(tuple(made.shape))
    if made.is_complex():
        loss = (made.real * t.tensor(weight)).sum() + (made.imag * t.tensor(1 - weight)).sum()
    else:
        loss = (made * t.tensor(weight)).sum()
    loss.backward()
    return made, [x.grad for x in leaves]


@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")
@pytest.mark.parametrize("n", [3, 12])
@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients_are_pytorchs(name: str, n: int) -> None:
    given = _operands(n, "complex128")
    (have, grads), (want, right) = (_both(name, t, given) for t in (tilegrad, torch))
    assert str(have.dtype).split(".")[-1] == str(want.dtype).split(".")[-1]
    value = want.detach().resolve_conj().numpy()
    np.testing.assert_allclose(
        have.detach().numpy(), value, atol=1e-9 * np.abs(value).max(), rtol=0
    )
    for mine, theirs in zip(grads, right, strict=True):
        assert (mine is None) is (theirs is None)
        if mine is not None:
            size = np.abs(theirs.resolve_conj().numpy()).max()
            np.testing.assert_allclose(
                mine.numpy(), theirs.resolve_conj().numpy(), atol=1e-8 * size, rtol=0
            )


ON_DEVICES = [
    "cholesky", "cholesky-upper", "solve", "inv", "det", "lu_solve-right-adjoint", "qr", "qr-r",
    "solve_triangular-right", "householder_product", "ormqr-right", "eigh", "eigh-upper", "svd", "svd-wide",
]  # fmt: skip


@pytest.mark.parametrize("name", ON_DEVICES)
def test_both_devices_agree(name: str, device: str) -> None:
    given = [x[:1] if x.ndim == 3 else x for x in _operands(2, "complex64")]
    have = CALLS[name](tilegrad, *[tilegrad.tensor(x, device=device) for x in given])
    want = CALLS[name](torch, *map(torch.tensor, given)).resolve_conj().numpy()
    np.testing.assert_allclose(have.cpu().numpy(), want, atol=1e-4 * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("name", ["cholesky-upper", "qr"])
def test_blocks_on_both_devices(name: str, device: str) -> None:
    """Products between leaves: of pairs of floats, with conjugates."""
    given = [x[:1] if x.ndim == 3 else x for x in _operands(33, "complex128")]
    have = CALLS[name](tilegrad, *[tilegrad.tensor(x, device=device) for x in given])
    want = CALLS[name](torch, *map(torch.tensor, given)).numpy()
    np.testing.assert_allclose(have.cpu().numpy(), want, atol=1e-10 * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("n", [33, 70, 150])
def test_factors_of_larger_matrices(n: int, rng: np.random.Generator) -> None:
    a = rng.standard_normal((2, n, n)) + 1j * rng.standard_normal((2, n, n))
    x = tilegrad.tensor(a)
    firm = _firm(tilegrad, x)
    low = linalg.cholesky(firm)
    for made, want in (
        (low @ low.mH, firm),
        (linalg.qr(x)[0] @ linalg.qr(x)[1], x),
        (x @ linalg.solve(x, x.mT), x.mT),
        (_rebuilt(*linalg.eigh(firm)), firm),
        (_rebuilt(*linalg.eigh(x + x.mH, "U")), x + x.mH),
    ):
        np.testing.assert_allclose(made.numpy(), want.numpy(), atol=1e-11 * n * n)
    np.testing.assert_allclose(linalg.svdvals(x).numpy(), np.linalg.svd(a)[1], atol=1e-12 * n)


def _rebuilt(values: Any, vectors: Any) -> Any:
    return vectors * values.unsqueeze(-2) @ vectors.mH


def test_phases_have_no_gradient() -> None:
    """A loss that depends on what nothing determines is refused, in PyTorch's words."""
    given = _operands(3, "complex128")[0]
    for call in (
        lambda t, a: t.linalg.eigh(_firm(t, a))[1].real.sum(),
        lambda t, a: t.linalg.eig(a)[1].real.sum(),
        lambda t, a: t.linalg.svd(a)[0].real.sum(),
    ):
        said = []
        for t in (tilegrad, torch):
            with pytest.raises(RuntimeError, match="specified up to multiplication") as caught:
                call(t, t.tensor(given).requires_grad_()).backward()
            said.append(str(caught.value).split(":")[0])
        assert said[0] == said[1]


ODD: dict[str, Any] = {
    "not finite": lambda t: t.linalg.eig(t.tensor([[1.0, float("nan")], [0, 1]])),
    "singular": lambda t: t.linalg.inv(t.zeros(2, 2, dtype=t.complex64)),
    "not positive": lambda t: t.linalg.cholesky(t.tensor([[1, 2j], [-2j, 1]])),
    "no square": lambda t: t.linalg.eigvals(t.ones(2, 3)),
    "two dtypes": lambda t: t.linalg.solve(t.eye(2), t.ones(2, 1, dtype=t.complex64)),
    "not finite values": lambda t: t.linalg.svdvals(t.full((40, 40), float("nan") + 0j)),
}


@pytest.mark.parametrize("what", ODD)
def test_errors_are_pytorchs(what: str) -> None:
    caught = []
    for t in (tilegrad, torch):
        with pytest.raises(RuntimeError) as error:
            ODD[what](t)
        caught.append((type(error.value).__name__, str(error.value)))
    assert caught[0][1] == caught[1][1]


def test_empty_and_special_matrices_have_eigenvalues() -> None:
    for t in (tilegrad, torch):
        values, vectors = t.linalg.eig(t.zeros(0, 0, dtype=t.float64))
        assert values.shape == (0,) and vectors.shape == (0, 0)
        assert values.dtype == vectors.dtype == t.complex128
        assert t.linalg.eigvals(t.zeros(3, 0, 0)).dtype == t.complex64
        turn = t.linalg.eigvals(t.tensor([[0.0, -1], [1, 0]]))
        assert sorted(turn.imag.tolist()) == [-1, 1]


def test_determinants_of_singular_complex_matrices_have_cofactors() -> None:
    a = np.array([[1, 2j], [2, 4j]])
    x = tilegrad.tensor(a, requires_grad=True)
    linalg.det(x).real.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.array([[4j, -2], [-2j, 1]]).conj(), atol=1e-12)

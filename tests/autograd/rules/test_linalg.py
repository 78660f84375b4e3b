"""Linear algebra against PyTorch: shapes, strides, condition numbers, singular and odd input, messages."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import linalg
from tilegrad.autograd.rules import decompositions, indefinite, linalg_names, matrices, spectral

EPS = {"float32": 1.2e-7, "float64": 2.3e-16}


def _conditioned(rng: np.random.Generator, shape: tuple[int, ...], cond: float) -> np.ndarray:
    """Square matrices whose singular values fall from 1 to 1 / ``cond``."""
    n = shape[-1]
    left, right = (np.linalg.qr(rng.standard_normal(shape))[0] for _ in range(2))
    return (left * np.geomspace(1, 1 / cond, n)) @ right


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max()) if a.size else 0.0


SHAPES = [(0, 0), (1, 1), (2, 2), (7, 7), (8, 8), (9, 9), (31, 31), (67, 67), (131, 131), (0, 3, 3),
          (3, 0, 0), (5, 2, 13, 13), (300, 3, 3)]  # fmt: skip


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_residuals_are_small_whatever_the_condition(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    """Backward errors: what the factors multiply to, beside the matrix; they depend on no condition number."""
    n = shape[-1]
    for cond in (1.0, 1e3, 1e-1 / EPS[dtype]):
        a = _conditioned(rng, shape, cond).astype(dtype)
        x, bound = tilegrad.tensor(a), 40 * EPS[dtype] * max(n, 1)
        p, low, high = linalg.lu(x)
        assert _relative((p @ low @ high).numpy(), a) < bound
        q, r = linalg.qr(x)
        assert _relative((q @ r).numpy(), a) < bound
        assert _relative((q.mT @ q).numpy(), np.broadcast_to(np.eye(n), shape)) < bound
        b = rng.standard_normal((*shape[:-1], 2)).astype(dtype)
        made = linalg.solve(x, tilegrad.tensor(b))
        left = np.abs((x @ made).numpy() - b).max(initial=0)
        size = np.abs(a).max(initial=0) * np.abs(made.numpy()).max(initial=0) + 1
        assert left <= bound * size * 4
        positive = tilegrad.tensor((a @ a.swapaxes(-1, -2) + np.eye(n)).astype(dtype))
        factor = linalg.cholesky(positive)
        assert _relative((factor @ factor.mT).numpy(), positive.numpy()) < bound
        assert not factor.triu(1).any()


@pytest.mark.parametrize(
    "shape", [(5, 3), (3, 5), (70, 33), (33, 70), (2, 40, 1), (1, 40), (0, 4), (4, 0)]
)
def test_rectangles(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    a = rng.standard_normal(shape)
    x, y = tilegrad.tensor(a), torch.from_numpy(a)
    for mode in ("reduced", "complete", "r"):
        for have, want in zip(linalg.qr(x, mode), torch.linalg.qr(y, mode), strict=True):
            np.testing.assert_allclose(have.numpy(), want.numpy(), atol=1e-12)
    for have, want in zip(linalg.lu(x), torch.linalg.lu(y), strict=True):
        np.testing.assert_allclose(have.numpy(), want.numpy(), atol=1e-11)
    u, s, vh = linalg.svd(x)
    m, n = shape[-2:]
    assert tuple(u.shape[-2:]) == (m, m) and tuple(vh.shape[-2:]) == (n, n)
    np.testing.assert_allclose(s.numpy(), torch.linalg.svdvals(y).numpy(), atol=1e-12)
    k = min(m, n)
    np.testing.assert_allclose(
        (u[..., :k] * s.unsqueeze(-2) @ vh[..., :k, :]).numpy(), a, atol=1e-12
    )
    for basis in (u, vh):
        one = np.broadcast_to(np.eye(basis.shape[-1]), tuple(basis.shape))
        np.testing.assert_allclose((basis.mT @ basis).numpy(), one, atol=1e-12)


def test_any_strides(rng: np.random.Generator) -> None:
    """Transposed, every second, broadcast: the same to the bit as a row-major copy."""
    big = tilegrad.tensor(rng.standard_normal((4, 3, 40, 42)))
    views = [
        big[..., :40].mT, big[::2, :, ::2, 1::2][..., :20], big.permute(1, 0, 2, 3)[..., 2:],
        big[:1, :1, :5, :5].expand(2, 3, 5, 5),
    ]  # fmt: skip
    for view in views:
        for call in (
            lambda x: linalg.lu_factor(x)[0],
            linalg.inv,
            linalg.det,
            lambda x: linalg.qr(x)[1],
        ):
            assert tilegrad.equal(
                call(view), call(view.clone(memory_format=tilegrad.contiguous_format))
            )


def test_a_batch_is_its_matrices(rng: np.random.Generator) -> None:
    """Whatever the size of the batch, also where lanes are not full: the same to the bit."""
    for n in (1, 3, 8, 12):
        a = tilegrad.tensor(rng.standard_normal((37, n, n)))
        for call in (linalg.inv, linalg.det, lambda x: linalg.eigvalsh(x)):
            whole = call(a)
            assert all(tilegrad.equal(call(a[k : k + 1])[0], whole[k]) for k in (0, 17, 36))


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_deficient_rank(rank: int, rng: np.random.Generator) -> None:
    a = rng.standard_normal((6, rank)) @ rng.standard_normal((rank, 4))
    x, y = tilegrad.tensor(a), torch.from_numpy(a)
    assert int(linalg.matrix_rank(x)) == rank
    np.testing.assert_allclose(linalg.pinv(x).numpy(), torch.linalg.pinv(y).numpy(), atol=1e-12)
    u, s, vh = linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose((u.mT @ u).numpy(), np.eye(4), atol=1e-12)
    np.testing.assert_allclose((u * s @ vh).numpy(), a, atol=1e-12)
    b = rng.standard_normal((6, 2))
    want = torch.linalg.lstsq(y, torch.from_numpy(b), driver="gelsd")
    have = linalg.lstsq(x, tilegrad.tensor(b), driver="gelsd")
    for mine, theirs in zip(have, want, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-10)


def test_larger_spectra_are_lapacks(rng: np.random.Generator) -> None:
    """On both sides of the size where LAPACK takes over."""
    for n in (32, 33, 60):
        a = rng.standard_normal((2, n, n))
        a = a + a.swapaxes(-1, -2)
        values, vectors = linalg.eigh(tilegrad.tensor(a))
        np.testing.assert_allclose(values.numpy(), np.linalg.eigvalsh(a), atol=1e-11)
        np.testing.assert_allclose(
            (vectors * values.unsqueeze(-2) @ vectors.mT).numpy(), a, atol=1e-11
        )
        np.testing.assert_allclose(
            linalg.svdvals(tilegrad.tensor(a)).numpy(), np.linalg.svd(a)[1], atol=1e-11
        )


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    assert linalg.eigvalsh(tilegrad.eye(32)).tolist() == [1] * 32
    with pytest.raises(ImportError, match=r"linalg.eigh: .*pip install 'tilegrad\[linalg\]'"):
        linalg.eigvalsh(tilegrad.eye(33))


NAN = float("nan")
WRONG = {
    "not positive": lambda t: t.linalg.cholesky(t.tensor([[1.0, 2], [2, 1]])),
    "not positive, in a batch": lambda t: t.linalg.cholesky(t.stack([t.eye(2), -t.eye(2)])),
    "not positive, in a later block": lambda t: t.linalg.cholesky(
        t.diag(t.arange(90, 0, -1.0) - 9)
    ),
    "not finite": lambda t: t.linalg.cholesky(t.full((2, 2), NAN)),
    "singular inverse": lambda t: t.linalg.inv(t.zeros(3, 2, 2)),
    "singular, in a later block": lambda t: t.linalg.inv(t.diag(t.arange(50, 0, -1.0) - 9)),
    "singular solve": lambda t: t.linalg.solve(t.zeros(2, 2), t.ones(2)),
    "shapes": lambda t: t.linalg.solve(t.eye(2), t.ones(3, 1)),
    "dtypes": lambda t: t.linalg.solve(t.eye(2), t.ones(2, 1, dtype=t.float64)),
    "zero pivot": lambda t: t.linalg.lu_factor(t.zeros(2, 2)),
    "no square": lambda t: t.linalg.det(t.ones(2, 3)),
    "no matrix": lambda t: t.linalg.inv(t.ones(3)),
    "integers": lambda t: t.linalg.inv(t.ones(2, 2, dtype=t.int64)),
    "mode": lambda t: t.linalg.qr(t.eye(2), mode="x"),
    "half": lambda t: t.linalg.eigh(t.eye(2), "X"),
    "svd of nan": lambda t: t.linalg.svd(t.full((2, 3), NAN)),
    "order": lambda t: t.linalg.matrix_norm(t.eye(2), 3),
    "condition of a rectangle": lambda t: t.linalg.cond(t.ones(2, 3), "nuc"),
    "eigenvalues of infinities": lambda t: t.linalg.eig(t.full((2, 2), math.inf)),
    "no such norm": lambda t: t.norm(t.eye(2), "x"),
    "condition's order": lambda t: t.linalg.cond(t.eye(2), 3),
    "chain": lambda t: t.linalg.multi_dot([t.ones(2, 3), t.eye(2)]),
    "tensor": lambda t: t.linalg.tensorinv(t.ones(2, 3), 1),
    "reflections": lambda t: t.linalg.householder_product(t.ones(2, 3), t.ones(2)),
    "least squares": lambda t: t.linalg.lstsq(t.ones(3, 2), t.ones(2, 1)),
    "driver": lambda t: t.linalg.lstsq(t.ones(3, 2), t.ones(3, 1), driver="x"),
    "by a factor": lambda t: t.cholesky_solve(t.ones(3, 1), t.eye(2)),
}


def _error(call: Any, t: Any) -> tuple[bool, str]:
    with pytest.raises(RuntimeError) as caught:
        call(t)
    kind = torch.linalg.LinAlgError if t is torch else linalg.LinAlgError
    return isinstance(caught.value, kind), str(caught.value)


@pytest.mark.parametrize("what", WRONG)
def test_errors_are_pytorchs(what: str) -> None:
    (ours, mine), (theirs, words) = (_error(WRONG[what], t) for t in (tilegrad, torch))
    assert mine == words
    assert ours is theirs


ODD = {
    "nan": lambda t: t.linalg.eigvalsh(t.full((3, 2, 2), NAN)),
    "inverse of nan": lambda t: t.linalg.inv(t.full((2, 2), NAN)),
    "singular determinant": lambda t: t.linalg.slogdet(t.zeros(2, 2)),
    "negative": lambda t: t.logdet(t.tensor([[-1.0, 0], [0, 1]])),
    "logarithm of nothing": lambda t: t.logdet(t.zeros(2, 2)),
    "determinant of nothing": lambda t: t.linalg.det(t.zeros(2, 0, 0)),
    "triangle": lambda t: t.linalg.solve_triangular(t.zeros(2, 2), t.ones(2, 1), upper=True),
    "zeros": lambda t: t.linalg.qr(t.zeros(3, 2))[1],
    "condition": lambda t: t.linalg.cond(t.zeros(2, 2), 1),
    "no condition": lambda t: t.linalg.cond(t.zeros(0, 0)),
    "large exponential": lambda t: t.linalg.matrix_exp(t.tensor([[20.0, 1], [0, 20.0]])),
    "exponential of nan": lambda t: t.linalg.matrix_exp(t.full((2, 2), NAN)),
    "ranks": lambda t: t.linalg.matrix_rank(t.ones(2, 3, 3)),
    "codes": lambda t: t.linalg.cholesky_ex(t.stack([t.eye(3), -t.eye(3)])).info,
    "codes of zeros": lambda t: t.linalg.inv_ex(t.zeros(2, 3, 3)).info,
}


@pytest.mark.parametrize("what", ODD)
def test_odd_input_gives_what_pytorchs_gives(what: str) -> None:
    have, want = (ODD[what](t) for t in (tilegrad, torch))
    for a, b in zip(*((x if isinstance(x, tuple) else (x,)) for x in (have, want)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_a_singular_matrix_has_a_determinant_with_a_gradient() -> None:
    a = np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]])
    x = tilegrad.tensor(a, requires_grad=True)
    linalg.det(x).backward()
    cofactors = [
        [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(3)]
        for i in range(3)
    ]
    np.testing.assert_allclose(x.grad.numpy(), cofactors, atol=1e-12)


def test_equal_eigenvalues_have_gradients_where_the_choice_of_vectors_does_not_show() -> None:
    x = tilegrad.eye(3, dtype=tilegrad.float64).requires_grad_()
    values, vectors = linalg.eigh(x)
    (vectors * values.exp().unsqueeze(-2) @ vectors.mT).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_several_zero_pivots_may_have_cofactors(dtype: str) -> None:
    """A shift has rank n - 1 and nothing but zeros for pivots; eps^16 in their place is zero in float32."""
    x = tilegrad.tensor(np.eye(16, k=1, dtype=dtype), requires_grad=True)
    linalg.det(x).real.backward()
    want = np.zeros((16, 16))
    want[15, 0] = -1
    np.testing.assert_allclose(x.grad.numpy(), want, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
def test_eigenvalues_of_any_size(dtype: str, scale: float, rng: np.random.Generator) -> None:
    """SciPy's geev scales such matrices, and gives the scaled matrix's values."""
    x = tilegrad.tensor(rng.standard_normal((9, 9)).astype(dtype))
    ours, right = linalg.eig(x * scale), linalg.eig(x)
    for have, want in (
        (ours.eigenvalues / scale, right.eigenvalues),
        (ours.eigenvectors, right.eigenvectors),
    ):
        np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        (linalg.eigvals(x * scale) / scale).numpy(), right.eigenvalues.numpy(), atol=1e-3
    )


@pytest.mark.parametrize("order", [1, 2, math.inf, -1, -2, -math.inf])
@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (2, 0, 3)])
def test_norms_of_nothing(shape: tuple[int, ...], order: float) -> None:
    """The largest of no sums is 0, the smallest none; condition numbers are 0."""

    def answers(t: Any) -> list[Any]:
        found: list[Any] = [t.linalg.cond(t.zeros(*shape), order).tolist()]
        for keepdim in (False, True):
            try:
                found.append(t.linalg.matrix_norm(t.zeros(*shape), order, keepdim=keepdim).tolist())
            except IndexError:
                found.append("refused")
        return found

    assert answers(tilegrad) == answers(torch)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_reflections_of_what_is_as_good_as_nothing(dtype: str, device: str) -> None:
    """Columns that an elimination leaves denormal: 1 over their length is infinite, the length of a few bits."""
    tiny = float(np.finfo(dtype).tiny)
    for a in (np.ones((33, 20)), np.arange(63.0).reshape(9, 7) % 5 * tiny / 16):
        x = tilegrad.tensor(a.astype(dtype)).to(device)
        q, r = (t.cpu() for t in linalg.qr(x))
        bound = 300 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose((q.mH @ q).numpy(), np.eye(a.shape[1]), atol=bound)
        size = a.max()
        np.testing.assert_allclose(
            (q @ (r / size)).numpy(), a / size, atol=1e-5 if size < 1 else bound
        )


def test_columns_that_others_span_exactly(device: str) -> None:
    """Equal halves stay equal through every rotation, so that what is left of a column may become 0."""
    halves = np.array([[-2, -0.75, 2.25], [1.25, -2.5, -2.25]])
    a = np.concatenate([halves, halves])
    for dtype in ("float64", "complex128") if device == "cpu" else ("float64",):
        x = tilegrad.tensor(a.astype(dtype)).to(device)
        u, s, vh = linalg.svd(x, full_matrices=False)
        assert s[2].item() < 1e-14
        np.testing.assert_allclose((u * s @ vh).cpu().numpy(), a, atol=1e-14)


def test_low_rank_vectors_find_the_largest(rng: np.random.Generator) -> None:
    a = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 30))
    for x in (tilegrad.tensor(a), tilegrad.tensor(a).mT):
        u, s, v = tilegrad.svd_lowrank(x, 5)
        np.testing.assert_allclose((u * s @ v.mT).numpy(), x.numpy(), atol=1e-9)
    u, s, v = tilegrad.pca_lowrank(tilegrad.tensor(a), 5)
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(a - a.mean(0))[1][:5], rtol=1e-6)


def test_ldl_solves(rng: np.random.Generator) -> None:
    a = rng.standard_normal((2, 5, 5))
    a = a + a.swapaxes(-1, -2)
    x, b = tilegrad.tensor(a), tilegrad.tensor(rng.standard_normal((2, 5, 3)))
    made = linalg.ldl_solve(*linalg.ldl_factor(x), b)
    np.testing.assert_allclose((x @ made).numpy(), b.numpy(), atol=1e-12)
    want = torch.linalg.ldl_factor(torch.from_numpy(a))
    np.testing.assert_allclose(linalg.ldl_factor(x).LD.numpy(), want.LD.numpy(), atol=1e-12)


def test_every_public_name_is_pytorchs() -> None:
    """All of torch.linalg's, and each of ours in the module that lists it."""
    theirs = {n for n in dir(torch.linalg) if n[0] != "_" and callable(getattr(torch.linalg, n))}
    theirs -= {"Tensor"}
    assert all(hasattr(linalg, n) for n in theirs)
    for module in (decompositions, matrices, spectral, indefinite):
        assert set(module.__all__) <= theirs
    assert len(theirs) > 40
    assert all(hasattr(tilegrad, n) and hasattr(torch, n) for n in linalg_names.__all__)

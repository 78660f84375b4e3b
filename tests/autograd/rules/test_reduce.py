"""Reductions: accuracy, special values, threads, gradients at ties and zeros, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.cuda.simulated import retune
from tilegrad.engine.ops.reduce import _arg_reduce
from tilegrad.kernels.cuda.tuning import REDUCTION


def both(array: np.ndarray) -> tuple[Any, Any]:
    return tilegrad.from_numpy(array), torch.from_numpy(array)


@st.composite
def reductions(draw: Any) -> tuple[np.ndarray, Any, bool]:
    """A strided array of up to four dimensions, and some of them."""
    shape = tuple(draw(st.lists(st.integers(0, 9), min_size=0, max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(-4, 5, shape).astype("float32")
    x = x.transpose(draw(st.permutations(range(len(shape)))))
    if x.ndim and draw(st.booleans()):
        x = x[::2]
    dims = draw(st.one_of(st.none(), st.lists(st.integers(0, max(x.ndim - 1, 0)), unique=True)))
    if dims is not None and (not dims or x.ndim == 0):
        dims = None
    return x, dims if dims is None else tuple(dims), draw(st.booleans())


@given(reductions())
@settings(max_examples=100, deadline=None)
def test_any_layout_any_dims(case: tuple[np.ndarray, Any, bool]) -> None:
    """Small integers are summed exactly in any order."""
    x, dims, keepdim = case
    have = tilegrad.from_numpy(x).sum(dims, keepdim).numpy()
    want = x.sum(axis=dims, keepdims=keepdim)
    assert have.shape == want.shape
    assert np.array_equal(have, want)
    if x.size:
        assert np.array_equal(
            tilegrad.from_numpy(x).amax(() if dims is None else dims, keepdim).numpy(),
            x.max(axis=dims, keepdims=keepdim),
        )


@pytest.mark.parametrize("shape, dim", [((1_000_003,), 0), ((20_011, 33), 0), ((33, 20_011), 1)])
def test_rounding_errors_are_no_larger_than_pytorchs(
    shape: tuple[int, ...], dim: int, rng: np.random.Generator
) -> None:
    x = rng.random(shape, "float32")
    ours, theirs = both(x)
    exact = x.astype("float64").sum(dim)
    error = np.abs(ours.sum(dim).numpy() - exact).max()
    bound = np.abs(theirs.sum(dim).numpy() - exact).max()
    assert error <= max(bound, np.spacing(np.float32(exact.max())))  # one unit in the last place


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", ["sum", "amax", "prod", "var", "argmax", "norm", "logsumexp"])
def test_threads_do_not_change_a_bit(name: str, rng: np.random.Generator) -> None:
    x = rng.uniform(0.9, 1.1, (301, 503)).astype("float32")
    results = []
    before = tilegrad.get_num_threads()
    try:
        for count in (1, 2, 3):
            tilegrad.set_num_threads(count)
            t = tilegrad.from_numpy(x)
            for y in (t, t.t(), t.reshape(-1, 1), t.reshape(1, -1)):
                for dim in (0, 1):
                    value = t.norm(2, dim) if name == "norm" else getattr(y, name)(dim)
                    results.append((count, value.numpy().tobytes()))
    finally:
        tilegrad.set_num_threads(before)
    by_count = [[r for c, r in results if c == count] for count in (1, 2, 3)]
    assert by_count[0] == by_count[1] == by_count[2]


@pytest.mark.parametrize("name", ["max", "min", "amax", "amin", "argmax", "argmin"])
@pytest.mark.parametrize("dim", [0, 1])
def test_nan_comes_before_all_else(name: str, dim: int, device: str) -> None:
    x = np.zeros((67, 70), "float32")
    x[40, 3] = x[50, 3] = x[3, 66] = np.nan
    x[5, 5] = np.inf
    ours, theirs = both(x)
    have, want = getattr(ours.to(device), name)(dim), getattr(theirs, name)(dim)
    for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (have, want)), strict=True):
        np.testing.assert_array_equal(a.cpu().numpy(), b.numpy())


def test_first_of_equals_anywhere_in_a_long_row(device: str) -> None:
    for place in (0, 1, 63, 64, 65, 127, 129, 199):
        x = np.zeros(200, "float32")
        x[place:] = 1
        assert tilegrad.from_numpy(x).to(device).argmax().item() == place
        assert tilegrad.from_numpy(-x).to(device).min(0).indices.item() == place


@pytest.mark.parametrize("shape, dim", [((1301,), 0), ((3, 402), 1), ((90, 9), 0)])
def test_first_of_equals_where_blocks_share_a_line(
    shape: tuple[int, ...], dim: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    retune(monkeypatch, REDUCTION, search=64)
    _arg_reduce.plans.clear()
    for x in (rng.integers(0, 9, shape), rng.integers(0, 2000, shape)):
        t = tilegrad.from_numpy(x).to("cuda")
        assert np.array_equal(t.argmax(dim).cpu().numpy(), x.argmax(dim))
        assert np.array_equal(t.argmin(dim).cpu().numpy(), x.argmin(dim))
    _arg_reduce.plans.clear()


def test_product_gradient_with_zeros() -> None:
    for row in ([2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [0.0, 3.0, 0.0]):
        ours = tilegrad.tensor(row, dtype=tilegrad.float64, requires_grad=True)
        theirs = torch.tensor(row, dtype=torch.float64, requires_grad=True)
        (g,) = tilegrad.autograd.grad(ours.prod(), ours, create_graph=True)
        (h,) = torch.autograd.grad(theirs.prod(), theirs, create_graph=True)
        np.testing.assert_allclose(g.detach().numpy(), h.detach().numpy())
        (g2,) = tilegrad.autograd.grad((g * g).sum(), ours)
        (h2,) = torch.autograd.grad((h * h).sum(), theirs)
        np.testing.assert_allclose(g2.numpy(), h2.numpy())


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, float("inf")])
def test_norm_gradient_at_zero(p: float) -> None:
    x = np.array([[0.0, 0.0], [0.0, 2.0]])
    ours, theirs = both(x)
    tilegrad.norm(ours.requires_grad_(), p, 1).sum().backward()
    torch.norm(theirs.requires_grad_(), p, 1).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


def test_variance_of_too_few(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 1))
    ours, theirs = both(x)
    with pytest.warns(UserWarning, match="degrees of freedom"):
        want = theirs.var(1).numpy()
    with pytest.warns(UserWarning, match="degrees of freedom"):
        np.testing.assert_array_equal(ours.var(1).numpy(), want)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, x: x.sum(2),
        lambda t, x: x.sum(-3),
        lambda t, x: x.sum((0, 0)),
        lambda t, x: x.argmax(5),
        lambda t, x: x.max(2),
        lambda t, x: x.to(t.int64).mean(),
        lambda t, x: x.to(t.int64).var(),
        lambda t, x: t.zeros(0).max(),
        lambda t, x: t.zeros(0, 3).max(0),
        lambda t, x: t.zeros(0, 3).amax(0),
        lambda t, x: t.zeros(0).argmax(),
        lambda t, x: x.sum_to_size(3, 2),
        lambda t, x: t.norm(x.to(t.int64)),
    ],
)
def test_errors_are_of_pytorchs_type(call: Any) -> None:
    x = np.ones((2, 3))
    with pytest.raises(Exception) as theirs:
        call(torch, torch.from_numpy(x))
    with pytest.raises(type(theirs.value)):
        call(tilegrad, tilegrad.from_numpy(x))


def test_empty_results_of_empty_extremes() -> None:
    assert tilegrad.zeros(3, 0).sum(1).tolist() == [0, 0, 0]
    assert tilegrad.zeros(0, 3).amax(1).shape == (0,)
    assert tilegrad.zeros(3, 0).logsumexp(1).tolist() == [-np.inf] * 3


def test_sums_of_nothing_are_one_piece_however_work_is_cut(monkeypatch):
    from tilegrad.kernels.cpu import reduce as loops

    monkeypatch.setattr(loops.splitting, "PIECES", 3)
    split = loops._Split(3, 0, 3, loops.Reduce.block, 1)
    assert (split.chunk, split.chunks, split.units) == (1, 1, 3)


PAIRED = {
    "all": lambda x: x.sum(),
    "rows": lambda x: x.sum(1),
    "columns": lambda x: x.sum(0, keepdim=True),
    "transposed": lambda x: x.T.sum(),
    "steps": lambda x: x[:, ::3].sum(),
    "part": lambda x: x[1:, 5:].sum((0, 1)),
    "mean": lambda x: x.mean(),
    "parts": lambda x: x.real.sum(0) + x.imag.sum(0),
}


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("pieces", [0, 3])
def test_sums_of_complex_numbers(dtype: Any, pieces: int, monkeypatch, rng) -> None:
    """In one piece and several, of lengths around those of vectors and blocks, with the bits of one thread."""
    from tilegrad.kernels.cpu import reduce as loops

    monkeypatch.setattr(loops.splitting, "PIECES", pieces)
    before = tilegrad.get_num_threads()
    for shape in ((1, 1), (3, 2), (2, 7), (1, 33), (5, 2055), (300, 301)):
        x = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
        for name, call in PAIRED.items():
            found = []
            for threads in (1, 2):
                tilegrad.set_num_threads(threads)
                found.append(call(tilegrad.tensor(x)).numpy())
            tilegrad.set_num_threads(before)
            wanted = call(torch.tensor(x).to(torch.complex128)).numpy()
            assert found[0].tobytes() == found[1].tobytes(), name
            assert found[0].dtype.itemsize <= dtype().itemsize
            near = (
                {"rtol": 1e-6, "atol": 1e-4}
                if dtype is np.complex64
                else {"rtol": 1e-12, "atol": 1e-11}
            )
            np.testing.assert_allclose(found[0], wanted, **near, err_msg=name)


@pytest.mark.parametrize("name", ["sum", "amax", "amin", "prod"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reductions_of_pairs_of_floats(name: str, dtype: str, rng) -> None:
    for shape in ((1, 2), (17, 2), (3, 130, 2), (4100, 2)):
        x = (1 + rng.standard_normal(shape) / 64).astype(dtype)
        found = getattr(tilegrad.tensor(x), name)(-2).numpy()
        wanted = getattr(torch.tensor(x).double(), name)(-2).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == "float32" else 1e-12)
        x[shape[0] // 2, ..., 1] = np.nan
        found = getattr(tilegrad.tensor(x), name)(-2).numpy()
        assert (np.isnan(found) == np.isnan(x).any(-2)).all()


def test_sums_of_complex_numbers_are_one_launch_over_pairs(monkeypatch) -> None:
    """They were views, reduced by a gather of every second number, at 6 times PyTorch's time."""
    from tilegrad.engine.array import layout
    from tilegrad.engine.device import CPU
    from tilegrad.engine.dtype import complex64
    from tilegrad.engine.ops.reduce import REDUCTIONS
    from tilegrad.kernels.cpu import reduce as loops

    built = []
    monkeypatch.setattr(loops.pairs, "build", lambda *variant: built.append(variant) or len)
    monkeypatch.setattr(loops, "bind", lambda *values, **more: None)
    plan = REDUCTIONS["sum"].planner(
        layout((10, 1001), complex64, CPU), dims=(0, 1), keepdim=False, p=1.0
    )
    assert plan.instead is None and built == [("sum", "float32", "float32")]


def test_a_correction_is_read_when_the_op_runs() -> None:
    x = tilegrad.arange(6.0).requires_grad_()
    correction = tilegrad.tensor(1.0)
    y = x.var(correction=correction)
    correction.add_(3)
    y.backward()
    assert x.grad.tolist() == pytest.approx([2 * (k - 2.5) / 5 for k in range(6)])


@pytest.mark.parametrize("p", [0.5, 1.5, 3.0, -1.0])
@pytest.mark.parametrize(
    "values", [(0, 1, math.nan), (0, 1, math.inf), (0, 0), (0, 1, 2), (-math.inf, 0)]
)
def test_gradients_of_norms_beside_zeros(p: float, values: tuple[float, ...]) -> None:
    """Zero is no slope where the norm itself is NaN."""
    found = []
    for lib in (torch, tilegrad):
        x = lib.tensor(values, dtype=lib.float64, requires_grad=True)
        lib.norm(x, p).backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(*found, rtol=1e-12)

"""CUDA matrix products beyond the table of cases: tiles, epilogue, split sums, rows and batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.cuda.simulated import retune
from tilegrad.kernels.cuda import matmul as family, tuning
from tilegrad.kernels.cuda.device.shapes import Tile

FLOATS = (tuning.LARGE, tuning.MEDIUM, tuning.SMALL, tuning.SKINNY)


def on(array: np.ndarray) -> Any:
    return tilegrad.from_numpy(array).to("cuda")


@pytest.fixture
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tile]:
    monkeypatch.setattr(family, "_tile", lambda *given: request.param)
    tilegrad.engine.ops.matmul.matmul.plans.clear()
    yield request.param
    tilegrad.engine.ops.matmul.matmul.plans.clear()


@pytest.mark.parametrize("tile", FLOATS, indirect=True, ids=str)
@pytest.mark.parametrize("turned", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("size", [(36, 40, 24), (33, 31, 19)])
def test_tiles_and_transpositions(
    tile: Tile, turned: tuple[int, int], size: tuple[int, int, int], rng: np.random.Generator
) -> None:
    M, N, K = size
    x, y = rng.standard_normal((M, K)).astype("f4"), rng.standard_normal((K, N)).astype("f4")
    a = on(np.ascontiguousarray(x.T)).t() if turned[0] else on(x)
    b = on(np.ascontiguousarray(y.T)).t() if turned[1] else on(y)
    got = (a @ b).cpu().numpy()
    np.testing.assert_allclose(got, x.astype("f8") @ y, rtol=2e-5, atol=2e-5)


def test_every_tile_gives_the_same_bits(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = rng.standard_normal((3, 50)).astype("f4"), rng.standard_normal((50, 9)).astype("f4")
    found = []
    for tile in FLOATS:
        monkeypatch.setattr(family, "_tile", lambda *given, t=tile: t)
        tilegrad.engine.ops.matmul.matmul.plans.clear()
        found.append((on(x) @ on(y)).cpu().numpy())
    tilegrad.engine.ops.matmul.matmul.plans.clear()
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_split_sums_have_the_bits_of_sequential_ones(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    retune(monkeypatch, tuning.PRODUCTS, chunk=16)
    x, y = rng.standard_normal((5, 40)).astype("f4"), rng.standard_normal((40, 3)).astype("f4")
    found = []
    for split in (0, 64):
        retune(monkeypatch, tuning.PRODUCTS, split=split)
        tilegrad.engine.ops.matmul.matmul.plans.clear()
        bias = on(np.arange(3, dtype="f4"))
        found.append(tilegrad.nn.functional.linear(on(x), on(y).t(), bias).cpu().numpy())
    tilegrad.engine.ops.matmul.matmul.plans.clear()
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], x @ y + np.arange(3), rtol=1e-4, atol=1e-4)


def test_activation_after_bias(rng: np.random.Generator) -> None:
    from tilegrad.kernels.formulas import activation

    x, y = rng.standard_normal((9, 12)).astype("f4"), rng.standard_normal((12, 8)).astype("f4")
    bias, out = rng.standard_normal(8).astype("f4"), tilegrad.empty(9, 8, device="cuda")
    launch, scratch = family.matmul(
        "float32", 9, 8, 12, (), (12, 1), (8, 1), (8, 1), activation=activation.silu
    )
    assert scratch == 0
    tensors = [on(a) for a in (x, y, bias)]
    launch(tensors[0].data_ptr(), tensors[1].data_ptr(), out.data_ptr(), 0, tensors[2].data_ptr())
    z = x.astype("f8") @ y + bias
    np.testing.assert_allclose(out.cpu().numpy(), z / (1 + np.exp(-z)), rtol=2e-5, atol=2e-5)


def test_tiles_fill_their_blocks() -> None:
    for row in tuning.PRODUCTS.values():
        for tile in {*(tile for tile, _ in row.large), row.rest, row.skinny} - {None}:
            assert tile.threads % 32 == 0
            assert tile.BM % (tile.LM * tile.TM) == 0
            assert tile.BN % (tile.LN * tile.TN) == 0
            assert tile.LM * tile.LN == 32

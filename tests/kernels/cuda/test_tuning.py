"""The CUDA table of tuning numbers: a row for every float dtype, and no kernel where there is none."""

from __future__ import annotations

import pytest

from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda import conv, matmul, tuning

BY_DTYPE = [name for name in vars(tuning) if name.startswith(("KEPT_", "PRODUCT_"))]


def test_every_float_has_its_rows() -> None:
    assert len(BY_DTYPE) == 5
    for name in BY_DTYPE:
        assert set(getattr(tuning, name)) == set(dtypes.FLOATS), name
    for table in (tuning.FORWARD, tuning.BACKWARD):
        assert set(table) == {(d, size) for d in dtypes.FLOATS for size in tuning.SIZES}
    for row in tuning.PRODUCT_TILES.values():
        assert {*(name for name, _ in row.large), row.rest, row.skinny} - {None} <= set(
            tuning.TILES
        )


def test_a_dtype_without_a_row_is_refused() -> None:
    for choose in (
        lambda: tuning.product_tiles("float16"),
        lambda: tuning.attention_tile(tuning.FORWARD, "float16", 32),
        lambda: conv._tile("float16", 64, 64, 1),
        lambda: dtypes.at(tuning.KEPT_SOFTMAX, "float16", "softmax"),
    ):
        with pytest.raises(NotImplementedError, match="^[a-z]+: not implemented for 'float16'"):
            choose()


def test_another_row_moves_products_and_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    large = (2048, 2048, 1)
    assert (matmul._tile("float32", *large), conv._tile("float32", *large)) == ("large", "large")
    row = tuning.PRODUCT_TILES["float32"]._replace(large=(("medium", 32),))
    monkeypatch.setitem(tuning.PRODUCT_TILES, "float32", row)
    assert (matmul._tile("float32", *large), conv._tile("float32", *large)) == ("medium", "medium")

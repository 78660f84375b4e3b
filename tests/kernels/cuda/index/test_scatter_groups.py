"""Values that meet in one place: in index order, in pieces and slabs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.simulated import retune
from tilegrad.engine import transfer
from tilegrad.engine.array import Array, from_numpy
from tilegrad.engine.device import device as as_device
from tilegrad.engine.ops import index as ops
from tilegrad.engine.transfer import host
from tilegrad.kernels.cuda.tuning import SCATTER


def to_device(x: Array) -> Array:
    """``x`` on the GPU."""
    return transfer.to_device(x, as_device("cuda"))


def _loop(x: np.ndarray, index: np.ndarray, source: np.ndarray, how: str) -> np.ndarray:
    """``source`` combined into rows of ``x``, in index order, in float64."""
    meet = {
        "set": lambda a, b: b, "sum": np.add, "prod": np.multiply, "amax": np.maximum,
        "amin": np.minimum,
    }  # fmt: skip
    out = x.astype(np.float64 if x.dtype.kind == "f" else x.dtype)
    for place, row in zip(index, source, strict=True):
        out[place] = meet[how](out[place], row)
    return out


@pytest.mark.parametrize(
    "how, dtype",
    [
        ("sum", "float32"), ("sum", "uint8"), ("sum", "bool"), ("prod", "float64"),
        ("prod", "bool"), ("amax", "float32"), ("amin", "int64"), ("set", "int16"),
    ],
)  # fmt: skip
def test_groups_in_pieces_and_slabs(how: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places with more sources than a piece, more indices than a slab, negative indices."""
    retune(monkeypatch, SCATTER, piece_bits=2, slab=100)
    monkeypatch.setattr(ops.put_rows, "plans", {})
    rng = np.random.default_rng(11)
    index = np.where(rng.random(170) < 0.6, 3, rng.integers(-20, 20, 170))
    index[:40] = np.arange(-20, 20)
    x, source = (rng.standard_normal((n, 3)) * 2 for n in (20, 170))
    if how == "prod":
        source = 1 + source / 50
    x, source = (np.abs(a) if np.dtype(dtype).kind in "ub" else a for a in (x, source))
    x, source = x.astype(dtype), source.astype(dtype)
    results = []
    for _ in range(2):  # the simulated GPU takes blocks of threads in another order every time
        made = ops.put(
            "put", to_device(from_numpy(x)), to_device(from_numpy(index)),
            to_device(from_numpy(source)), 0, how, negative=True,
        )  # fmt: skip
        results.append(host(made))
    assert results[0].tobytes() == results[1].tobytes()
    want = _loop(x, index, source, how)
    if dtype == "bool" and how in ("sum", "prod"):
        want = _loop(x, index, source, {"sum": "amax", "prod": "amin"}[how])
    rtol = {"float32": 1e-5, "float64": 1e-13}.get(dtype, 0)
    np.testing.assert_allclose(results[0].astype(want.dtype), want, rtol=rtol, atol=100 * rtol)

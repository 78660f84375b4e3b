"""Fourier transforms, complex and real, of all kinds of lengths; SciPy's pocketfft beside PyTorch's."""

from __future__ import annotations

import math
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Operand, Row, Shape, complexes, floats, rows

_rows = partial(rows, "fft", accuracy="rms", by_norm=True)

LENGTHS = {
    "2^4": 1 << 4, "2^7": 1 << 7, "2^10": 1 << 10, "2^13": 1 << 13, "2^16": 1 << 16, "2^19": 1 << 19,
    "2^22": 1 << 22, "3^5": 3**5, "3^8": 3**8, "5^6": 5**6, "10^3": 10**3, "7^5": 7**5, "1009": 1009,
    "65537": 65537,
}  # fmt: skip
BATCHES: dict[str, tuple[Shape, int]] = {
    "1000 x 64": ((1000, 64), -1), "1000 x 64, columns": ((1000, 64), 0), "256 x 1024": ((256, 1024), -1),
    "1024 x 256, columns": ((1024, 256), 0), "64 x 4096": ((64, 4096), -1), "100 x 1009": ((100, 1009), -1),
}  # fmt: skip


def _call(t: Any, x: Any, name: str, options: dict[str, Any]) -> Any:
    return getattr(t.fft, name)(x, **options)


def _scipy(x: np.ndarray, name: str, options: dict[str, Any]) -> Any:
    words = {"dim": "axis" if name in ("fft", "rfft", "irfft") else "axes"}
    return getattr(import_module("scipy.fft"), name)(
        x, **{words.get(k, k): v for k, v in options.items()}
    )


def _transform(
    label: str, name: str, operand: Operand, count: int, passes: str = "f", **options: Any
) -> list[Row]:
    """``count``: numbers that are transformed together, by whose logarithm operations are counted."""
    flops = 5.0 * math.prod(operand.shape) * math.log2(max(count, 2))
    flops *= 0.5 if name.startswith("r") else 1.0
    array_call = partial(_scipy, name=name, options=options) if find_spec("scipy") else None
    call = partial(_call, name=name, options=options)
    return _rows(label, call, operand, numpy=array_call, flops=flops, passes=passes)


def _all() -> list[Row]:
    found = []
    for label, n in LENGTHS.items():
        passes = "fb" if n in (1 << 10, 1 << 16) else "f"
        found += _transform(f"fft {label}", "fft", complexes(n), n, passes)
    for label, n in LENGTHS.items():
        if n in (1 << 10, 1 << 16, 1 << 22, 3**8, 10**3):
            found += _transform(
                f"rfft {label}", "rfft", floats(n), n, "fb" if n == 1 << 16 else "f"
            )
            found += _transform(f"irfft {label}", "irfft", complexes(n // 2 + 1), n)
    for label, (shape, dim) in BATCHES.items():
        found += _transform(f"fft {label}", "fft", complexes(*shape), shape[dim], dim=dim)
    found += _transform("rfft 1024 x 1024", "rfft", floats(1024, 1024), 1024)
    found += _transform("irfft 1024 x 1024", "irfft", complexes(1024, 513), 1024)
    found += _transform("rfft 100 x 6561", "rfft", floats(100, 6561), 6561)
    found += _transform("irfft 100 x 6561", "irfft", complexes(100, 3281), 6561, n=6561)
    found += _transform("rfft 1000 x 243", "rfft", floats(1000, 243), 243)
    found += _transform("rfft 1000 x 101", "rfft", floats(1000, 101), 101)
    found += _transform("fft2 1024 x 1024", "fft2", complexes(1024, 1024), 1 << 20)
    found += _transform("rfft2 1024 x 1024", "rfft2", floats(1024, 1024), 1 << 20, "fb")
    found += _transform("fftn 64 x 64 x 64", "fftn", complexes(64, 64, 64), 1 << 18)
    return found


ROWS = _all()

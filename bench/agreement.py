"""Whether the libraries computed the same, and how far each is from float64."""

from __future__ import annotations

import numpy as np

from tilegrad.bench.areas import Benchmark
from tilegrad.bench.rows.row import Row


def difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest distance of two elements, over their size and that of their array.

    ``|a - b| / (|b| + mean |b|)``: relative, but an element near zero counts by its array's scale.
    Infinite if shapes, integers or NaN differ.
    """
    if len(ours) != len(theirs):
        return float("inf")
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            return float("inf")
        if a.dtype.kind == "c":  # by their parts
            a, b = (np.ascontiguousarray(v).view(v.real.dtype) for v in (a, b))
        if a.dtype.kind != "f":
            worst = max(worst, 0.0 if np.array_equal(a, b) else float("inf"))
        elif a.size:
            worst = max(worst, _distance(a, b.astype(np.float64)))
    return worst


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    finite = np.abs(b[np.isfinite(b)])
    scale = np.abs(b) + (finite.mean() if finite.size else 0.0)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b) / np.maximum(scale, 1e-30))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max())


def agree(row: Benchmark) -> tuple[bool, float]:
    """(tilegrad's results are PyTorch's, up to the row's tolerance; their difference)."""
    distance = difference(row.prepare("tilegrad").results(), row.prepare("torch").results())
    return distance <= row.tolerance, distance


def errors(row: Row, libraries: list[str]) -> dict[str, float]:
    """Each library's error against PyTorch in float64.

    ``rms``: of output and gradients together, over the root mean square of the exact values;
    ``ulp``: the largest one, in units of the last place of the exact value.
    """
    exact = row.prepare("torch", "float64").results()
    found = {}
    for library in libraries:
        given = row.prepare(library).results()
        measure = _ulp if row.accuracy == "ulp" else _rms
        found[library] = max(measure(a, b) for a, b in zip(given, exact, strict=True))
    return found


def _rms(given: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.abs(given - exact) ** 2) / np.mean(np.abs(exact) ** 2)))


def _ulp(given: np.ndarray, exact: np.ndarray) -> float:
    units = np.spacing(np.abs(exact).astype(np.float32))
    return float(np.max(np.abs(given - exact) / units))

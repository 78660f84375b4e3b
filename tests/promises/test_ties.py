"""Which of equal elements is taken: one rule on every device, in any layout, however work is cut.

``python -m tests.promises.test_ties`` checks this process (its ``TILEGRAD_PIECES``) and is what the last test runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.conftest import DEVICES, ROOT

SMALL = [(5,), (37,), (3, 40), (4, 5, 6), (1, 1)]
LONG = [(1500,), (70_000,), (100, 7, 3)]
LAYOUTS = {
    "plain": lambda t: t,
    "across": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "apart": lambda t: tilegrad.stack([t, t], -1).select(-1, 1),
    "reversed twice": lambda t: t.flip(0)[None].expand(3, *t.shape)[1].flip(0),
}
FIRST = ("kthvalue", "median", "nanmedian", "max", "min", "argmax", "argmin")  # of equal elements
LAST = ("mode", "cummax", "cummin")  # of those so far, for the running ones


def filled(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Few different numbers, zeros of both signs; a third of the arrays of floats have NaN."""
    x = rng.integers(-1, 3, shape).astype(kind)
    if x.dtype.kind == "f":
        x *= rng.choice([-1, 1], shape).astype(kind)
        if rng.random() < 0.35:
            x[rng.random(shape) < 0.2] = np.nan
    return x


def order(row: np.ndarray, descending: bool) -> np.ndarray:
    """Stable, NaN as the largest."""
    keys = np.unique(row, return_inverse=True)[1]  # NaN comes last
    return np.argsort(-keys if descending else keys, kind="stable")


def same(row: np.ndarray, value: Any) -> np.ndarray:
    return np.isnan(row) if value != value else row == value


def wanted(name: str, row: np.ndarray, value: Any) -> Any:
    """The position that the rule says, of the ``value`` that was found."""
    if name.startswith("cum"):
        return [np.flatnonzero(same(row[: i + 1], v))[-1] for i, v in enumerate(value)]
    where = np.flatnonzero(same(row, value))
    first = name in FIRST or value != value  # to mode every NaN is another value
    return where[0] if first else where[-1]


def found(name: str, t: Any, dim: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and indices, with ``dim`` last."""
    if name.startswith("arg"):
        at = getattr(t, name)(dim, keepdim=True)
        pair = (t.gather(dim, at), at)
    elif name == "kthvalue":
        pair = t.kthvalue(k, dim, keepdim=True)
    elif name.startswith("cum"):
        pair = getattr(t, name)(dim)
    else:
        pair = getattr(t, name)(dim, keepdim=True)
    return tuple(np.moveaxis(r.cpu().numpy(), dim, -1) for r in pair)  # type: ignore[return-value]


def check(x: np.ndarray, t: Any, dim: int, k: int, descending: bool) -> None:
    """``t`` holds ``x``; every op along ``dim`` takes the elements that the rules say."""
    n = x.shape[dim]
    rows = np.moveaxis(x, dim, -1).reshape(-1, n)
    sorted_rows = np.array([order(row, descending) for row in rows])
    for name, places in {
        "sort": t.sort(dim, descending)[1],
        "argsort": t.argsort(dim, descending),
        "topk": t.topk(k, dim, descending)[1],
    }.items():
        have = np.moveaxis(places.cpu().numpy(), dim, -1).reshape(len(rows), -1)
        assert np.array_equal(have, sorted_rows[:, : have.shape[1]]), (name, dim)
    kinds = (*FIRST, *LAST) if n < 1000 else (*FIRST, "mode")  # the reference is quadratic
    for name in kinds:
        values, places = (r.reshape(len(rows), -1) for r in found(name, t, dim, k))
        for row, value, place in zip(rows, values, places, strict=True):
            if name.startswith("cum"):
                assert place.tolist() == wanted(name, row, value), (name, dim)
            elif name != "nanmedian" or value == value:  # of NaN alone it is NaN
                assert place.item() == wanted(name, row, value.item()), (name, dim)
    if dim == 0:
        flat = x.reshape(-1)
        for name in ("argmax", "argmin"):
            at = getattr(t, name)().item()
            assert at == wanted(name, flat, flat[at]), name


def run(device: str, shapes: list[tuple[int, ...]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    ways = list(LAYOUTS.values())
    for number, shape in enumerate(shapes):
        x = filled(rng, shape, ("float32", "int64", "float64", "uint8", "int16")[(number + seed) % 5]
                   if seed % 2 else "float32")  # fmt: skip
        for layout in (ways[number % 4], ways[(number + seed + 1) % 4]):
            dim = int(rng.integers(len(shape)))
            k = int(rng.integers(1, shape[dim] + 1))
            t = layout(tilegrad.from_numpy(x).to(device))
            check(x, t, dim, k, bool(rng.random() < 0.5))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(2))
def test_the_rule_on_every_device(device: str, seed: int) -> None:
    run(device, SMALL + LONG[: 3 * (device == "cpu" and seed == 1)], seed)


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
def test_the_rule_however_work_is_cut(pieces: int) -> None:
    paths = os.pathsep.join([str(ROOT / ".dev"), str(ROOT)])
    environment = {**os.environ, "TILEGRAD_PIECES": str(pieces), "PYTHONPATH": paths}
    command = [sys.executable, "-m", "tests.promises.test_ties"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    for seed in range(2):
        run("cpu", [*SMALL, (1500,), (100, 7, 3)], seed)

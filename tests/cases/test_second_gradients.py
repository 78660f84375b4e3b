"""Which second gradients exist, and what they are: one that is zero everywhere is zeros, as PyTorch's, not
unused in the graph. The suite takes some rows of tests/cases, others every day; all of them by hand:

``python -m tests.cases.test_second_gradients`` (``-k pad`` for rows whose name has that in it)
"""

from __future__ import annotations

import argparse
import datetime
import random
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.cases.case import Case
from tests.cases.test_cases import CASES, _outputs
from tests.cases.test_saving import _arrays

ROWS = [c for c in CASES if "float64" in c.dtypes and c.gradient_positions() and c.second_order]
# no gradient of a gradient there: composed of gather, whose gradient is linear, as PyTorch's gather's is
COMPOSED = ("fractional_max_pool2d", "fractional_max_pool3d")
# rows whose first gradient does not depend on the operand
ZERO = [c for c in ROWS if c.name.startswith(("pad-re", "max_pool2d", "avg_pool1d", "nll_loss"))]
TODAY = random.Random(datetime.date.today().toordinal()).sample(ROWS, 8)


def _second(lib: Any, case: Case) -> list[Any] | None:
    """Second gradients by the row's floating operands; None where the first ones have no graph."""
    lib.manual_seed(0)
    tensors = [lib.from_numpy(a.copy()) for a in _arrays(case)]
    leaves = [tensors[i].requires_grad_() for i in case.gradient_positions()]
    ends = [o for o in _outputs(case.call(lib, *tensors)) if o.requires_grad]
    seeds = [lib.ones_like(o) for o in ends]
    first = lib.autograd.grad(ends, leaves, seeds, create_graph=True, allow_unused=True)
    sums = [g.sum() for g in first if g is not None and g.requires_grad]
    if not sums:
        return None
    second = lib.autograd.grad(sum(sums), leaves, allow_unused=True)
    return [None if g is None else (g.detach() + 0).numpy() for g in second]


def _difference(case: Case) -> str:
    """How a row differs from PyTorch's; nothing where PyTorch has no second gradient."""
    try:
        right = _second(torch, case)
    except (RuntimeError, NotImplementedError, AttributeError):
        return ""
    if right is None:
        return ""
    mine = _second(tilegrad, case)
    if mine is None:
        return f"{case.name}: the first gradient has no graph"
    for i, (a, b) in enumerate(zip(mine, right, strict=True)):
        if a is None and b is not None:
            return f"{case.name}: argument {i} is unused in the graph; PyTorch's is not"
        if a is not None and not np.allclose(a, 0 if b is None else b, 1e-6, 1e-6, equal_nan=True):
            return f"{case.name}: argument {i} is {a}; PyTorch: {b}"
    return ""


@pytest.mark.parametrize(
    "case", list({c.name: c for c in ZERO + TODAY}.values()), ids=lambda c: c.name
)
def test_second_gradients_are_there_where_pytorch_has_them(case: Case) -> None:
    difference = _difference(case)
    assert not difference or case.name in COMPOSED, difference


def main() -> int:
    """Every row; 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="only rows with this in their name")
    wanted = parser.parse_args().k
    rows = [c for c in ROWS if wanted in c.name]
    found = [d for d in map(_difference, rows) if d and d.split(":")[0] not in COMPOSED]
    print(f"{len(rows)} rows, {len(found)} differ", *found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())

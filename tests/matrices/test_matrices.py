"""Some random programs of matrices a day; any number by ``python -m tests.matrices``."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import torch

import tilegrad
from tests.matrices.check import check
from tests.matrices.program import write
from tests.matrices.table import TABLE

SEEDS, GROUPS = 12, 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", range(GROUPS))
def test_seeds_of_the_day(group: int) -> None:
    """Small matrices; they begin anew every day."""
    first = datetime.datetime.now(datetime.UTC).date().toordinal() * 100_000
    for seed in range(first + group, first + SEEDS, GROUPS):
        program = write(seed, TABLE, list(TABLE), 20)
        faults = program.run()
        assert not faults, f"seed {seed}: {faults}\n{program.text()}"


def test_faults_are_found() -> None:
    """What is off by a hundredth, of another shape, refused or lost is a fault."""
    a = np.eye(3) * 2
    spoiled = np.stack([a, np.full((3, 3), np.nan)])

    def found(mine: object, given: np.ndarray = a, **how: object) -> list[str]:
        def call(lib: object, x: object) -> object:
            made = (torch if lib is torch else tilegrad).linalg.inv(x)
            return made if lib is torch else mine(made)  # type: ignore[operator]

        return check(lambda t: [t(given)], call, "inverse", 0, loss=lambda lib, x: [x], **how)  # type: ignore[arg-type]

    assert found(lambda x: x) == []
    assert found(lambda x: x * 1.01)[0].startswith("A X - 1")
    assert found(lambda x: x[0])[0].startswith("results")
    assert found(lambda x: x + x.detach() - x.detach() * 1.0) == []
    assert found(lambda x: x + (x - x.detach()))[0].startswith("gradient 0")
    assert found(lambda x: 1 / 0)[0].startswith("refused")
    assert found(lambda x: x, spoiled, clean=False) == []
    assert found(lambda x: x * float("nan"), spoiled, clean=False) == [
        "1 finite matrices were lost"
    ]
    assert found(lambda x: x.nan_to_num(), spoiled, clean=False)[0].startswith("finite where")

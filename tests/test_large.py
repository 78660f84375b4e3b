"""Random large programs against float64, and small ones cut in every way: see :mod:`tests.large`."""

from __future__ import annotations

import datetime

import pytest

from tests.large import NAMES, TABLE
from tests.large.program import Sizes, run, write

GROUPS = 20  # tests that share the seeds out
SIMULATED = 40  # seeds; what a simulated GPU can carry is small


def _run(seed: int, sizes: Sizes, device: str) -> None:
    program = write(seed, TABLE, sizes, NAMES)
    faults = run(program, device)
    assert not faults, f"seed {seed}: {faults}\n{program.text(device, whole=True)}"


def _first_of_the_day() -> int:
    return datetime.datetime.now(datetime.UTC).date().toordinal() * 100_000


@pytest.mark.parametrize("group", range(GROUPS))
def test_seeds_of_the_day(group: int, request: pytest.FixtureRequest) -> None:
    """``--seeds`` says how many; they begin anew every day."""
    first = _first_of_the_day()
    for seed in range(first + group, first + request.config.getoption("--seeds"), GROUPS):
        _run(seed, Sizes(), "cpu")


@pytest.mark.parametrize("group", range(4))
def test_seeds_of_the_day_on_the_gpu(group: int) -> None:
    """The same programs, a few hundred elements each: the GPU is simulated where there is none."""
    first = _first_of_the_day()
    for seed in range(first + group, first + SIMULATED, 4):
        _run(seed, Sizes(elements=300, products=6000), "cuda")

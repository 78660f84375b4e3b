"""Random large programs against float64, and small ones cut in every way: see :mod:`tests.large`."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.large import NAMES, TABLE
from tests.large.check import check, refused
from tests.large.program import Sizes, run, write

GROUPS = 20  # tests that share the seeds out
SPLIT = 60  # seeds for each number of pieces
PATHS = os.pathsep.join([str(ROOT / ".dev"), str(ROOT)])
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
    last = first + request.config.getoption("--seeds")
    refused.clear()
    for seed in range(first + group, last, GROUPS):
        _run(seed, Sizes(), "cpu")
    assert len(refused) <= 1 + (last - first) // GROUPS // 200, refused


@pytest.mark.parametrize("group", range(4))
def test_seeds_of_the_day_on_the_gpu(group: int) -> None:
    """The same programs, a few hundred elements each: the GPU is simulated where there is none."""
    first = _first_of_the_day()
    for seed in range(first + group, first + SIMULATED, 4):
        _run(seed, Sizes(elements=300, products=6000), "cuda")


def test_what_pytorch_refuses_is_refused() -> None:
    """Such a program is counted; that tilegrad gives a value where PyTorch does not is a fault."""
    make = lambda t: [t(np.ones((2, 3), "float32"))]
    refused.clear()
    assert check(make, lambda lib, F, x: x.view(4), 0) == []
    assert len(refused) == 1
    bare = lambda lib, F, x: x.view(4) if lib is torch else x
    assert check(make, bare, 0)[0].startswith("not refused")


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
def test_cut_into(pieces: int) -> None:
    """Every number of tasks, bands, blocks and chunks forced, at sizes that have no need of it."""
    command = [
        sys.executable, "-m", "tests.large", "--seeds", str(SPLIT),
        "--first", str(_first_of_the_day() + SPLIT * pieces),
        "--elements", "4000", "--products", "200000",
    ]  # fmt: skip
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "TILEGRAD_PIECES": str(pieces), "PYTHONPATH": PATHS},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-4000:]


def test_cut_as_forced() -> None:
    """The setting reaches the planners: a fault that only several bands can show is looked for."""
    source = (
        "from tilegrad.kernels.cpu.conv import forward as f, problem as conv\nfrom tilegrad.kernels.cpu.run import splitting\n"
        "from tilegrad.kernels.window import Window\n"
        "w = Window((1, 9, 9), (1, 3, 3), (1, 5, 5), (1, 2, 2), (0, 1, 1), (1, 1, 1))\n"
        "p = conv.input_grad_problem('float32', 1, 1, 2, 2, w)\n"
        "print(f.plan_padded_input(p)[1], splitting.share(10, 1, 1 << 20), splitting.serial(1, 9))\n"
    )
    said = {}
    for pieces in ("0", "1", "2", "5"):
        environment = {**os.environ, "TILEGRAD_PIECES": pieces, "PYTHONPATH": PATHS}
        command = [sys.executable, "-c", source]
        said[pieces] = subprocess.check_output(
            command, cwd=ROOT, env=environment, text=True
        ).strip()
    assert said == {
        "0": "5 (1048576, 1) True",
        "1": "5 (10, 1) True",
        "2": "3 (5, 2) False",
        "5": "1 (2, 5) False",
    }

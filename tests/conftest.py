"""Fixtures, the one table of tolerances, and the folder of the tree."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest

# relative, absolute: what a chain of a few correctly rounded operations may lose
TOLERANCES = {
    "float32": (2e-5, 2e-5),
    "float64": (1e-10, 1e-10),
}

DEVICES = ("cpu", "cuda")

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many random large programs to run."""
    parser.addoption("--seeds", type=int, default=400, help="of tests/large/test_large.py")


def pytest_configure(config: pytest.Config) -> None:
    """Where there is no GPU, the device "cuda" of the tests is the simulated one."""
    from tilegrad.kernels.cuda.run import driver

    try:
        driver.get()
    except driver.Unavailable:
        driver.simulate()


def pytest_collection_finish() -> None:
    """PyTorch is settled, where tests use it; the collector passes over the tests themselves, near a
    million objects, from here on.
    """
    if "torch" in sys.modules:
        from tests.settled import settle

        settle()
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """No test leaves an error behind as the one that is handled now; byte code written here could."""
    assert sys.exc_info()[1] is None


def every_object() -> list[object]:
    """What the collector knows, those that are frozen too."""
    gc.unfreeze()
    found: list[object] = gc.get_objects()
    gc.freeze()
    return found


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Run the test on the CPU and on the GPU."""
    return str(request.param)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that are the same for a test's name on every run."""
    return np.random.default_rng([ord(c) for c in request.node.name])


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest):
    """Run the test with one thread and with two."""
    import tilegrad

    before = tilegrad.get_num_threads()
    tilegrad.set_num_threads(request.param)
    yield request.param
    tilegrad.set_num_threads(before)

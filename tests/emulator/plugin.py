"""``pytest -p tests.emulator.plugin``: tests on the simulated device run on the emulated one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.emulator.device import Device
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.cuda.run import jit


def pytest_configure(config: pytest.Config) -> None:
    """Hand over what the simulator would launch."""
    device = Device([])

    def launch(*args: Any) -> None:
        machine.launches += 1
        if machine.executes:
            device.launch(*args)

    jit.machine = SimpleNamespace(launch=launch)  # type: ignore[assignment]

"""What the tests of the GPU share: it is the simulated one where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad
from tilegrad.kernels.cuda import tuning
from tilegrad.kernels.cuda.run import driver


def _there_is_a_gpu() -> bool:
    try:
        return not driver.get().simulated
    except driver.Unavailable:  # a process that simulates none imports this, too
        return False


only_simulated = pytest.mark.skipif(_there_is_a_gpu(), reason="looks into the simulated device")


def retune(monkeypatch: pytest.MonkeyPatch, table: tuning.Table[Any], **numbers: Any) -> None:
    """Other numbers in every row of a table, for a test; plans that exist keep theirs."""
    for key, row in table.items():
        monkeypatch.setitem(table, key, row._replace(**numbers))


def ramp(*shape: int, device: Any = "cuda", dtype: Any = tilegrad.float32) -> Any:
    count = int(np.prod(shape))
    return tilegrad.from_numpy(np.arange(count).reshape(shape)).to(dtype=dtype).to(device)

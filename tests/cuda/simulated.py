"""What the tests of the GPU share: it is the simulated one where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad
from tilegrad.kernels.cuda.run import driver

only_simulated = pytest.mark.skipif(
    not driver.get().simulated, reason="looks into the simulated device"
)


def ramp(*shape: int, device: Any = "cuda", dtype: Any = tilegrad.float32) -> Any:
    count = int(np.prod(shape))
    return tilegrad.from_numpy(np.arange(count).reshape(shape)).to(dtype=dtype).to(device)

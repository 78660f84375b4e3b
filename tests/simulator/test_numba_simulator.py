"""The kernels agree with the CPU under numba's own CUDA simulator, too."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import ROOT


def test_kernels_under_numbas_simulator() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "tests/simulator/numba_simulator.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "NUMBA_ENABLE_CUDASIM": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "agreed" in done.stdout

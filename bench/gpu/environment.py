"""What the check runs on."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from tilegrad.bench.machine import versions

PACKAGES = (
    "numpy", "numba", "llvmlite", "numba-cuda", "cuda-core", "cuda-bindings", "nvidia-nvvm",
    "nvidia-nvjitlink", "torch", "cupy-cuda12x", "cupy-cuda13x", "cupy",
)  # fmt: skip


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return (done.stdout or done.stderr).strip()


def main() -> None:
    """Write the facts to the file named on the command line."""
    import tilegrad

    facts: dict[str, Any] = {
        "versions": {"python": platform.python_version(), **versions(PACKAGES)},
        "commit": _output("git", "rev-parse", "HEAD"),
        "changed": bool(_output("git", "status", "--porcelain", "--untracked-files=no")),
        "processor": platform.processor() or platform.machine(),
        "nvidia-smi": _output(
            "nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit",
            "--format=csv,noheader",
        ),
    }  # fmt: skip
    properties = tilegrad.cuda.get_device_properties(0)
    facts["gpu"] = vars(properties)
    Path(sys.argv[1]).write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()

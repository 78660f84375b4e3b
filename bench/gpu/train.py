"""``tilegrad train --device cuda``: to the same accuracy as on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tilegrad.bench.gpu.pool import quick

LEAST = 0.97  # of the held out digits, that are right


def main() -> None:
    """Train on the digits and keep what the command says."""
    folder = Path(os.environ.get("OUT", "runs/gpu")) / "digits"
    start = time.perf_counter()
    command = [sys.executable, "-m", "tilegrad", "train", "--device", "cuda", "--out", str(folder)]
    command += ["--epochs", "1"] if quick() else []
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=float(sys.argv[2]) - 2, check=False
    )
    metrics = folder / "metrics.json"
    found = json.loads(metrics.read_text()) if done.returncode == 0 else {}
    accuracy = found.get("test_accuracy", 0.0)
    failed = [f"exit status {done.returncode}"] if done.returncode else []
    if not failed and not quick() and accuracy < LEAST:
        failed = [f"{accuracy:.2%} of the held out digits are right, not {LEAST:.0%}"]
    result = {
        "status": done.returncode,
        "accuracy": round(100 * accuracy, 2),
        "wall_seconds": round(time.perf_counter() - start, 1),
        "said": (done.stdout + done.stderr).splitlines()[-12:],
        "failed": failed,
    }
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""``tilegrad train --device cuda``: to the same accuracy as on the CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.gpu.pool import quick


def main() -> None:
    """Train on the digits and keep what the command says."""
    folder = Path(os.environ.get("OUT", "runs/gpu")) / "digits"
    start = time.perf_counter()
    command = [sys.executable, "-m", "tilegrad", "train", "--device", "cuda", "--out", str(folder)]
    command += ["--epochs", "1"] if quick() else []
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=float(sys.argv[2]) - 2, check=False
    )
    text = done.stdout + done.stderr
    found = re.findall(r"(\d+\.\d+) ?%", text)
    result = {
        "status": done.returncode,
        "accuracy": float(found[-1]) if found else None,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "said": text.splitlines()[-12:],
        "failed": [] if done.returncode == 0 else [f"exit status {done.returncode}"],
    }
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

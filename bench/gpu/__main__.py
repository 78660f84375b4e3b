"""Run the stages of the GPU check one after the other, each in a process of its own.

A stage that fails or runs out of time leaves its error in the result, and the rest goes on. The
result, ``$OUT/gpu.json``, names machine, versions and commit; a short table is printed last.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# stage -> seconds it may take; together under ten minutes
STAGES = {
    "environment": 30,
    "build": 155,
    "correctness": 120,
    "large": 55,
    "sanitizer": 70,
    "speed": 120,
    "train": 50,
}
OUT = Path(os.environ.get("OUT", "runs/gpu"))


def run(stage: str, seconds: float) -> dict[str, Any]:
    """The stage's own result, or what went wrong."""
    path = OUT / f"{stage}.json"
    path.unlink(missing_ok=True)
    start = time.perf_counter()
    error = None
    with (OUT / f"{stage}.log").open("w") as log:
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"bench.gpu.{stage}", str(path)],
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
            if done.returncode:
                error = f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            error = f"not done after {seconds:.0f} s"
    result = json.loads(path.read_text()) if path.is_file() else {}
    result["seconds"] = round(time.perf_counter() - start, 1)
    if error:
        tail = (OUT / f"{stage}.log").read_text(errors="replace").splitlines()[-12:]
        result["error"] = {"what": error, "log": tail}
    return result


def main() -> int:
    """All stages, or those named on the command line."""
    OUT.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or list(STAGES)
    results: dict[str, Any] = {}
    for stage in wanted:
        print(f"== {stage}", flush=True)
        results[stage] = run(stage, STAGES[stage])
        (OUT / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    from bench.gpu import report

    table = report.table(results)
    (OUT / "gpu.txt").write_text(table + "\n")
    print(table)
    return int(any("error" in r or r.get("failed") for r in results.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Run the stages of the GPU check one after the other, each in a process of its own.

``bench/gpu_check.sh [--quick] [STAGE…]``. A stage that fails or runs out of time leaves what it had
found and its error in the result, and the rest goes on. The result, ``$OUT/gpu.json``, names machine,
versions and commit, and grows while stages run; a short table is printed last.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tilegrad.bench.gpu import report
from tilegrad.bench.gpu.pool import Writer

# stage -> seconds it may take, whole and in a short run (0: not at all)
STAGES = {
    "environment": (12, 12),
    "build": (145, 60),
    "correctness": (45, 35),
    "large": (50, 30),
    "programs": (12, 0),
    "sanitizer": (50, 20),
    "speed": (128, 14),
    "train": (36, 9),
}
TOTAL = (480, 180)  # seconds of all together
OUT = Path(os.environ.get("OUT", "runs/gpu"))


def read(path: Path) -> dict[str, Any]:
    """What a stage has written so far."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def run(
    stage: str, seconds: float, keep: Any, module: str = "tilegrad.bench.gpu"
) -> dict[str, Any]:
    """The stage's own result, or how far it came and what went wrong. ``keep(result)`` has it
    meanwhile.
    """
    path, log = OUT / f"{stage}.json", OUT / f"{stage}.log"
    path.unlink(missing_ok=True)
    start = time.perf_counter()
    error = None
    command = [sys.executable, "-m", f"{module}.{stage}", str(path), f"{seconds:.0f}"]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        while process.poll() is None:
            late = time.perf_counter() - start - seconds
            if late > 3:  # it should have ended by itself, with what it has
                os.killpg(process.pid, signal.SIGKILL)  # its workers too
                process.wait()
                error = f"not done after {seconds:.0f} s"
            keep(read(path))
            time.sleep(0.1)
    if error is None and process.returncode:
        error = f"exit status {process.returncode}"
    result = read(path)
    result["seconds"] = round(time.perf_counter() - start, 1)
    if error:
        tail = log.read_text(errors="replace").splitlines()[-12:]
        result["error"] = {"what": error, "log": tail}
    return result


def well(result: dict[str, Any]) -> bool:
    """Whether a stage did all it should, and found nothing."""
    return not (result.get("error") or result.get("failed") or result.get("whole") is False)


def main() -> int:
    """All stages, or those named on the command line."""
    words = [word for word in sys.argv[1:] if word != "--quick"]
    quick = len(words) < len(sys.argv) - 1
    if quick:
        os.environ["GPU_CHECK_QUICK"] = "1"
    unknown = [word for word in words if word not in STAGES]
    if unknown:
        raise SystemExit(f"gpu_check: stages are {', '.join(STAGES)}; got {', '.join(unknown)}")
    OUT.mkdir(parents=True, exist_ok=True)
    write, results = Writer(OUT / "gpu.json"), dict[str, Any]()
    deadline = time.perf_counter() + TOTAL[quick]
    for stage in words or [name for name, limits in STAGES.items() if limits[quick]]:
        limit = STAGES[stage][quick] or STAGES[stage][0]
        seconds = min(limit, deadline - time.perf_counter() - 4)
        if seconds < 1:
            results[stage] = {"error": {"what": "no time was left", "log": []}}
            continue
        print(f"== {stage}", flush=True)
        results[stage] = run(stage, seconds, lambda r, s=stage: write({**results, s: r}))
        write(results, now=True)
    write(results, now=True)
    table = report.table(results)
    (OUT / "gpu.txt").write_text(table + "\n")
    print(table)
    return int(not all(map(well, results.values())))


if __name__ == "__main__":
    sys.exit(main())

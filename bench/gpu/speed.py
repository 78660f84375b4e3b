"""Speed on the hardware: `tilegrad bench --devices cuda` for as long as the stage may take, and what of it is amiss."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tilegrad.bench import columns, store
from tilegrad.bench.gpu.pool import Writer, quick
from tilegrad.bench.sizes import OPS, QUICK

SIZES = (10, 16, 20, 22, 24, 26)
QUICK_SIZES = (10, 16, 22)
END = 8.0  # seconds before the stage's end when no job begins any more: the report is written then


def calls() -> Iterator[tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...], bool]]:
    """(name, call, shapes of its operands, whether it is differentiated) of what is timed, but for
    training steps and copies between host and GPU.
    """
    for op in OPS:
        if op.transfer or (quick() and op.name not in QUICK):
            continue
        for exponent in QUICK_SIZES if quick() else SIZES:
            yield f"{op.name}, 2^{exponent}", op.call, op.shapes(1 << exponent), False


def command(out: Path, seconds: float) -> list[str]:
    """The harness, on the GPU alone, beside what is installed."""
    others = [x for x in ("torch", "cupy") if not columns.missing(x)]
    sizes = ",".join(f"2^{e}" for e in (QUICK_SIZES if quick() else SIZES))
    return [
        sys.executable, "-m", "tilegrad.bench", "--devices", "cuda", "--sizes", sizes, "--out", str(out),
        "--limit", f"{max(1, int(seconds - END))}", "--against", ",".join(others), *(["--quick"] if quick() else []),
    ]  # fmt: skip


def said(results: store.Results) -> dict[str, Any]:
    """What the check keeps of a run: its rows in short, and what failed or is WRONG."""
    failed = [f"{r['name']}, {r['column']}: {r['fault']}" for r in results["rows"] if "fault" in r]
    failed += [
        f"{r['name']}, {r['column']}: off by {r['error']}, tolerance {r['tolerance']}"
        for r in results["rows"]
        if not r.get("agrees", True)
    ]
    failed += [
        f"{t['name']}, {t['column']}: {t['fault']}" for t in results["trainings"] if "fault" in t
    ]
    rows = {
        r["name"]: {
            "us": r["min"] * 1e6,
            "share": r["share"],
            "torch/tilegrad": r["speedup"].get("torch/cuda"),
        }
        for r in results["rows"]
        if r["column"] == "tilegrad/cuda" and "min" in r
    }
    return {"failed": failed, "rows": rows, "left out": len(results["left_out"])}


def main() -> None:
    """The stage."""
    path, seconds = Path(sys.argv[1]), float(sys.argv[2])
    out = path.parent / f"bench-{time.strftime('%Y-%m-%d-%H%M%S')}"
    status = subprocess.run(command(out, seconds), check=False).returncode
    result: dict[str, Any] = {
        "folder": str(out),
        "failed": [f"exit status {status}"] if status else [],
    }
    if (out / store.FILE).is_file():
        found = said(store.load(out))
        result |= {**found, "failed": result["failed"] + found["failed"]}
    Writer(path)(result, now=True)


if __name__ == "__main__":
    main()

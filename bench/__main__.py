"""``python -m bench``: every row in tilegrad, NumPy and PyTorch, interleaved; a table and JSON.

Prints time and the ratio PyTorch / tilegrad (above 1: tilegrad is faster), and geometric means.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import conftest, steps
from bench.harness import Call, compare
from bench.rows import ROWS


def _facts(threads: int) -> dict[str, Any]:
    cpu = "unknown"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].split(":")[1].strip() if names else cpu
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    import tilegrad.kernels.cpu.jit as jit

    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "simd_bits": jit.simd_bits(),
        "threads": threads,
        "python": platform.python_version(),
        "commit": commit,
        **{p: version(p) for p in ("tilegrad", "numpy", "numba", "llvmlite", "torch") if _has(p)},
    }


def _has(package: str) -> bool:
    try:
        version(package)
    except Exception:
        return False
    return True


def _calls(chosen: str | None) -> list[tuple[str, str, dict[str, Call], float]]:
    found = []
    for row in ROWS:
        libraries = [x for x in conftest.LIBRARIES if x != "numpy" or row.numpy is not None]
        if chosen is None or chosen in f"{row.group}/{row.name}":
            calls = {library: row.prepare(library) for library in libraries}
            found.append((row.group, row.name, calls, row.flops))
    for name in steps.STEPS:
        if chosen is None or chosen in f"training/{name}":
            calls = {x: steps.prepare(name, x) for x in conftest.LIBRARIES if x != "numpy"}
            found.append(("training", name, calls, 0.0))
    return found


def _text(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("-k", dest="chosen", help="only rows whose group/name contains this")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    options = parser.parse_args()
    conftest.THREADS = options.threads
    conftest.pytest_configure(None)  # type: ignore[arg-type]
    facts = _facts(options.threads)
    print(", ".join(f"{k} {v}" for k, v in facts.items()))
    print(f"{'':44}{'tilegrad':>10}{'numpy':>10}{'torch':>10}{'torch/tilegrad':>16}")
    results: list[dict[str, Any]] = []
    for group, name, calls, flops in _calls(options.chosen):
        best = compare(calls, options.rounds)
        ratio = best["torch"] / best["tilegrad"] if "torch" in best else math.nan
        rate = f"  {flops / best['tilegrad'] / 1e9:.0f} GFLOP/s" if flops else ""
        columns = "".join(f"{_text(best.get(x)):>10}" for x in ("tilegrad", "numpy", "torch"))
        print(f"{group + ' ' + name:44}{columns}{ratio:>15.2f}x{rate}", flush=True)
        results.append({"group": group, "name": name, "seconds": best, "torch_ratio": ratio})
    for group in dict.fromkeys(r["group"] for r in results):
        ratios = [r["torch_ratio"] for r in results if r["group"] == group]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"{group:44}geometric mean {mean:.2f}x, least {min(ratios):.2f}x")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": facts, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

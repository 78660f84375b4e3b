"""Compile every kernel the tests use, in as many processes as there are processors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def share(part: int, parts: int, arch: tuple[int, int]) -> None:
    """Plan all ops on paper and compile one share of what they need; prints what failed."""
    from tests.assembler import survey
    from tilegrad.kernels.cuda import jit

    survey()
    rows = sorted(jit.kernels_built, key=lambda row: row[0].name(row[1]))
    made, failed = 0, []
    for factory, variant in rows[part::parts]:
        try:
            made += not factory.keep(variant, arch)[1]
        except Exception as error:
            failed.append(f"{factory.name(variant)}: {type(error).__name__}: {str(error)[:200]}")
    print(json.dumps({"kernels": len(rows), "made": made, "failed": failed}))


def main() -> None:
    """Start the shares and collect what they say."""
    if sys.argv[1] == "share":
        part, parts, major, minor = map(int, sys.argv[2:])
        share(part, parts, (major, minor))
        return
    import tilegrad

    arch = tilegrad.cuda.get_device_capability()
    start, parts = time.perf_counter(), max(1, (os.cpu_count() or 2) - 1)
    command = [sys.executable, "-W", "ignore", "-m", "bench.gpu.build", "share"]
    running = [
        subprocess.Popen([*command, str(k), str(parts), *map(str, arch)], stdout=subprocess.PIPE)
        for k in range(parts)
    ]
    found = [json.loads(p.communicate()[0].splitlines()[-1]) for p in running]
    result = {
        "kernels": found[0]["kernels"],
        "made": sum(f["made"] for f in found),
        "failed": [line for f in found for line in f["failed"]],
        "processes": parts,
        "wall_seconds": round(time.perf_counter() - start, 1),
    }
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

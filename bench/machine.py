"""The facts that figures depend on: processor, versions, and which code the libraries run here."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("tilegrad", "numpy", "numba", "llvmlite", "torch")
_PROBE = """
import torch
x = torch.ones(256, 256); x @ x
torch.nn.functional.conv2d(torch.ones(16, 64, 32, 32), torch.ones(64, 64, 3, 3))
print("ATEN", torch.backends.cpu.get_cpu_capability())
"""


def facts(threads: int, brief: bool = False) -> dict[str, Any]:
    """Everything that stands over a table; ``brief``: but what takes seconds to ask."""
    from tilegrad.kernels.cpu.run.jit import simd_bits

    found: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "SIMD bits": simd_bits(),
        "threads": threads,
        "python": platform.python_version(),
        **versions(PACKAGES),
        "commit": commit(),
        "NumPy's BLAS": openblas(),
    }
    if importlib.util.find_spec("torch") and not brief:
        found |= _peers()
        found |= _faults()
    return found


def caches() -> dict[str, int]:
    """Bytes of the first processor's caches, as Linux tells them: ``{"L1 data": …}``."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / x).read_text().strip() for x in ("level", "type", "size"))
        except OSError:
            continue
        scale = {"K": 1 << 10, "M": 1 << 20}.get(size[-1:], 1)
        named = f"L{level}" + ("" if kind == "Unified" else f" {kind.lower()}")
        found[named] = int(size.rstrip("KM")) * scale
    return found


def last_cache() -> int:
    """Bytes of the largest cache; 32 MB where nothing is known."""
    return max(caches().values(), default=32 << 20)


def gpu_cache() -> int:
    """Bytes of the GPU's last cache."""
    import tilegrad

    return int(tilegrad.cuda.get_device_properties(0).L2_cache_size)


def gpu() -> dict[str, str]:
    """The GPU's name, size and driver, where there is one that is not simulated."""
    from tilegrad.engine import cuda

    if not cuda.is_available() or cuda.driver().simulated:
        return {}
    import tilegrad

    found = {"gpu": str(tilegrad.cuda.get_device_name())}
    query = "--query-gpu=driver_version,memory.total,clocks.max.sm,power.limit"
    try:
        done = subprocess.run(["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True, check=False)  # fmt: skip
    except OSError:
        return found
    return {**found, "driver": done.stdout.strip()}


def add_simd(parser: argparse.ArgumentParser) -> None:
    """``--simd``."""
    parser.add_argument(
        "--simd",
        type=int,
        choices=(128, 256, 512),
        help="build our kernels for registers of so many bits, if the processor has them",
    )


def simd_environment(bits: int | None) -> dict[str, str]:
    """The environment that forces a width; empty where the processor's own is taken."""
    return {"TILEGRAD_SIMD_BITS": str(bits)} if bits else {}


def lines(found: dict[str, Any]) -> list[str]:
    """As text."""
    return [f"{name:36}{value}" for name, value in found.items()]


class Others:
    """What other processes take of the processor while this one measures."""

    def __init__(self) -> None:
        self.begin = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds of all processors, busy seconds of them, busy seconds of this process."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return 0.0, 0.0, 0.0
        ticks, own = [int(x) / os.sysconf("SC_CLK_TCK") for x in fields], os.times()
        busy = sum(ticks) - ticks[3] - ticks[4]  # all but idle and waiting for a disk
        return sum(ticks), busy, sum(own[:4])

    def share(self) -> float:
        """Of all processors' time since the start, from 0 to 1."""
        total, busy, own = (b - a for a, b in zip(self.begin, self._now(), strict=True))
        return max(0.0, busy - own) / total if total else 0.0


def processor() -> str:
    """Its name, family and model."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    fields = {
        k: re.search(rf"^{k}\s*: (.+)$", text, re.M) for k in ("model name", "cpu family", "model")
    }
    name, family, model = (m.group(1) if m else "" for m in fields.values())
    return f"{name} (family {family}, model {model})" if name else platform.machine()


def flags() -> list[str]:
    """What the processor can do, as Linux names it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*: (.+)$", info.read_text() if info.is_file() else "", re.M)
    return found.group(1).split() if found else []


def commit() -> str:
    """The commit in use, and whether files differ from it."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
            )
        except OSError:
            return ""
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (", changed" if changed else "")


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Those of the packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def openblas() -> str:
    """NumPy's BLAS, and for which processor it takes its kernels."""
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))
    if not importlib.util.find_spec("threadpoolctl"):
        return "unknown (threadpoolctl is not installed)"
    from threadpoolctl import threadpool_info

    cores = [
        f"{p['internal_api']} {p['version']}, {p.get('architecture', '?')} kernels"
        for p in threadpool_info()
        if p["user_api"] == "blas" and "numpy" in p["filepath"]
    ]
    return "; ".join(cores) or "none that threadpoolctl knows"


def _peers() -> dict[str, str]:
    """Which code MKL, oneDNN and PyTorch's own loops run here, as they say themselves."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        capture_output=True,
        text=True,
        env={**os.environ, "MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"},
        check=False,
    )
    text = done.stdout + done.stderr
    mkl = re.search(r"MKL_VERBOSE (.*?) Product.*?for Intel\(R\) 64 architecture (.*?),? Lnx", text)
    dnn = re.search(r"info,cpu,isa:(.+)", text)
    release = re.search(r"info,(oneDNN v[\d.]+)", text)
    loops = re.search(r"^ATEN (.+)$", text, re.M)
    return {
        "MKL": f"{mkl.group(1)}, {mkl.group(2)}" if mkl else "not used or silent",
        "oneDNN": f"{release.group(1) if release else ''}, {dnn.group(1)}" if dnn else "silent",
        "PyTorch's loops": loops.group(1) if loops else "unknown",
    }


def _faults() -> dict[str, str]:
    """Fresh pages that the sum of two arrays of 1e7 elements touches, once it is warm."""
    counts = []
    for library in ("tilegrad", "torch"):
        t = __import__(library)
        x = t.ones(10_000_000)
        for _ in range(3):
            x + x
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        x + x
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    ours, theirs = counts
    return {"page faults of x + x, 1e7 elements": f"{ours} in tilegrad, {theirs} in PyTorch"}

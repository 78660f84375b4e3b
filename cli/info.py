"""`tilegrad info`: what this installation runs on."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from tilegrad.kernels.cpu.run.jit import cache_dir, get_num_threads
from tilegrad.kernels.cpu.run.native import target

_PACKAGES = (
    "numpy", "numba", "llvmlite", "safetensors", "tqdm", "scikit-learn", "matplotlib", "pillow",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of tilegrad, Python and the packages used; those not installed are left out."""
    from tilegrad import __version__

    found = {"tilegrad": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    del arguments
    rows = versions()
    cpu, features = target()
    folder = cache_dir()
    kernels = [p for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    megabytes = sum(p.stat().st_size for p in kernels) / 1e6
    rows["devices"] = f"cpu ({cpu}, {platform.machine()})"
    rows["threads"] = str(get_num_threads())
    rows["kernel cache"] = f"{folder} ({len(kernels)} files, {megabytes:.1f} MB)"
    del features
    for name, value in rows.items():
        print(f"{name:<14}{value}")

"""`tilegrad info`: what this installation runs on."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from tilegrad.kernels import bundle
from tilegrad.kernels.cpu.run.jit import cache_dir, get_num_threads
from tilegrad.kernels.cpu.run.native import level, target

_PACKAGES = (
    "numpy", "numba", "llvmlite", "safetensors", "tqdm", "scikit-learn", "matplotlib", "pillow",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of tilegrad, Python and the packages used; those not installed are left out."""
    from tilegrad import _release

    found = {"tilegrad": _release, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _installed() -> str:
    """Which kernels came with the installation, and whether they are used."""
    fits = level()
    found = None if fits is None else bundle.installed(fits)
    if found is None:
        there = ", ".join(path.stem for path in sorted(bundle.FOLDER.glob("*.kernels")))
        return f"kernels for {there}, which do not fit this processor" if there else "no kernels"
    other = [f"{name} {was}" for name, was in found.about.items() if version(name) != was]
    why = f", unused: they were compiled with {' and '.join(other)}" if other else ""
    return f"{len(found.entries)} kernels for {found.level}{why}"


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
    rows["installed"] = _installed()
    del features
    for name, value in rows.items():
        print(f"{name:<14}{value}")

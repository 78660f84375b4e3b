"""How archives are built: by setuptools, and wheels for x86-64 Linux carry compiled kernels.

They are compiled when a wheel is made from a source archive, as `python -m build` does: the standing set of
`tilegrad warmup`, for x86-64-v3 and v4. A wheel straight from a checkout (`pip install .`) has none, as they
take minutes. `-C kernels=standing`, `digits` (what `tilegrad train` needs) or `none` says otherwise.

The tag is manylinux_2_17: no file is a library that links to one. Kernels are objects for tilegrad's own
loader, and ask the process for Python's stable ABI and a few functions of libc, all of them older than that
(tests/kernels/test_bundle.py holds which); so one wheel serves every Python, too.
"""

from __future__ import annotations

import configparser
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

ROOT = Path(__file__).resolve().parents[1]
LEVELS = ("x86-64-v3", "x86-64-v4")
NAMES = {"none": None, "digits": ("digits",), "standing": ()}  # what to give `tilegrad warmup`
TAG = "manylinux_2_17_x86_64"
BUNDLED = "kernels/bundled"  # in the package

Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """What compiling kernels takes, where that is asked for: what tilegrad itself requires."""
    wanted = list(build_meta.get_requires_for_build_wheel(config_settings))
    if _names(config_settings) is not None:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(ROOT / "setup.cfg")
        wanted += parser["options"]["install_requires"].split()
    return wanted


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """A wheel, with kernels where they are asked for: then for this platform alone."""
    names, settings = _names(config_settings), dict(config_settings or {})
    _clean()
    if names is not None:
        given = settings.get("--build-option", [])
        options = [given] if isinstance(given, str) else given
        settings["--build-option"] = [*options, "--plat-name", TAG]
    try:
        if names is not None:
            _compile(names)
        return build_meta.build_wheel(wheel_directory, settings, metadata_directory)
    finally:
        _clean()


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """A link to the checkout. What setuptools says of any such link, each user would read at `make train`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Editable installation")
        return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


def _names(settings: Settings) -> tuple[str, ...] | None:
    """What is compiled; None for nothing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    archive = (ROOT / "PKG-INFO").is_file()
    chosen = (settings or {}).get("kernels", "standing" if archive else "none")
    if chosen not in NAMES:
        raise ValueError(f"kernels: one of {', '.join(NAMES)}; got {chosen!r}")
    return NAMES[chosen]


def _clean() -> None:
    """No kernels of another build, in the tree or where setuptools collects files."""
    for folder in (ROOT / BUNDLED, *ROOT.glob(f"build/lib*/tilegrad/{BUNDLED}")):
        shutil.rmtree(folder, ignore_errors=True)


def _compile(names: tuple[str, ...]) -> None:
    """Write the bundles into the tree: a process a level, and half of the processors for each."""
    (ROOT / BUNDLED).mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "tilegrad").symlink_to(ROOT)  # the tree's root is the package
        passed = {k: v for k, v in os.environ.items() if not k.startswith("TILEGRAD_")}
        environment = passed | {
            "PYTHONPATH": os.pathsep.join([scratch, os.environ.get("PYTHONPATH", "")]).rstrip(":"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TILEGRAD_CACHE_DIR": f"{scratch}/kernels",
            "TILEGRAD_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // 2)),
        }
        command = [sys.executable, "-m", "tilegrad", "warmup", *names]
        running = [
            subprocess.Popen(
                [*command, "--target", level, "--bundle", str(ROOT / BUNDLED / f"{level}.kernels")],
                env=environment, cwd=scratch,
            )
            for level in LEVELS
        ]  # fmt: skip
        failed = [level for level, one in zip(LEVELS, running, strict=True) if one.wait()]
    if failed:
        raise RuntimeError(f"kernels for {', '.join(failed)} could not be compiled")

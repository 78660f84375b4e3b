"""The assembly gate against the oldest and the newest toolchain that ``tilegrad[cuda]`` admits.

``python -m tests.toolchains oldest|newest [pytest's arguments]`` makes an environment of the packages
of setup.cfg, each at its lower bound or as new as there is, and runs tests/assembly/test_assembly.py and
tests/kernels/cuda/run/test_cubin.py there, with every formula compiled. pytest and PyTorch are this environment's. No
GPU is needed; each takes some twenty minutes of a processor.
"""

from __future__ import annotations

import configparser
import os
import re
import site
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TESTS = ("tests/assembly/test_assembly.py", "tests/kernels/cuda/run/test_cubin.py")


def requirements() -> list[str]:
    """What setup.cfg asks for to run kernels on a GPU."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    text = parser["options"]["install_requires"] + parser["options.extras_require"]["cuda"]
    return [line.strip() for line in text.splitlines() if line.strip()]


def at_lower_bounds(lines: list[str]) -> list[str]:
    """The same packages, each at its bound.

    Raises:
        ValueError: one has none.
    """
    exact = [re.sub(r">=(\S+)$", r"==\1", line) for line in lines]
    loose = [line for line in exact if "==" not in line]
    if loose:
        raise ValueError(f"setup.cfg: every package has a lower bound; got {loose}")
    return exact


def environment(name: str, folder: Path) -> Path:
    """The Python of an environment of the oldest or newest packages."""
    lines = requirements()
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(folder)
    python = folder / "bin/python"
    how = at_lower_bounds(lines) if name == "oldest" else ["--upgrade", *lines]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *how], check=True)
    (here,) = folder.glob("lib/python*/site-packages")
    (here / "development.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def main() -> int:
    """Make the environment, say what it has, run the gate."""
    name, *rest = sys.argv[1:] or [""]
    if name not in ("oldest", "newest"):
        raise SystemExit("python -m tests.toolchains oldest|newest [pytest's arguments]")
    folder = ROOT / "runs/toolchains" / name
    python = environment(name, folder)
    variables = os.environ | {
        "TILEGRAD_ASSEMBLE": "formulas",
        "TILEGRAD_CACHE_DIR": str(folder / "kernels"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / ".dev"), str(ROOT)]),
    }
    said = "from tilegrad.kernels.cuda.run.backend import versions; print(versions())"
    subprocess.run([python, "-c", said], cwd=ROOT, env=variables, check=True)
    # a kernel's formulas take minutes, and on a busy machine more than the suite's limit
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout=7200",
        *TESTS,
        *rest,
    ]
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""The oldest and the newest packages that setup.cfg admits.

``python -m tests.toolchains oldest|newest [pytest's arguments]`` makes an environment of the packages
of ``tilegrad[cuda]``, each at its lower bound or as new as there is, and runs tests/assembly/test_assembly.py and
tests/kernels/cuda/run/test_cubin.py there, with every formula compiled. No GPU is needed; each takes some
twenty minutes of a processor. ``python -m tests.toolchains cpu [tests]`` has the packages that tilegrad itself
requires at their lower bounds, and runs tests there that compile CPU kernels, or those that are named.
pytest and PyTorch are this environment's.
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

GATE = ("tests/assembly/test_assembly.py", "tests/kernels/cuda/run/test_cubin.py")
COMPILING = (
    "tests/autograd/test_graph.py",
    "tests/engine/test_dispatch.py",
    "tests/engine/test_native.py",
    "tests/kernels/test_cache.py",
)


def requirements(cuda: bool) -> list[str]:
    """What setup.cfg asks for, and for kernels on a GPU."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    text = parser["options"]["install_requires"]
    text += parser["options.extras_require"]["cuda"] if cuda else ""
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
    lines = requirements(cuda=name != "cpu")
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(folder)
    python = folder / "bin/python"
    how = at_lower_bounds(lines) if name != "newest" else ["--upgrade", *lines]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *how], check=True)
    (here,) = folder.glob("lib/python*/site-packages")
    (here / "development.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def main() -> int:
    """Make the environment, say what it has, run the tests."""
    name, *rest = sys.argv[1:] or [""]
    if name not in ("oldest", "newest", "cpu"):
        raise SystemExit("python -m tests.toolchains oldest|newest|cpu [pytest's arguments]")
    folder = ROOT / "runs/toolchains" / name
    python = environment(name, folder)
    variables = os.environ | {
        "TILEGRAD_ASSEMBLE": "formulas",
        "TILEGRAD_CACHE_DIR": str(folder / "kernels"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / ".dev"), str(ROOT)]),
    }
    if name == "cpu":
        said = "import numba, numpy; print(f'{numba.__version__=} {numpy.__version__=}')"
        named = any(part.startswith("tests/") for part in rest)
        tests = [*(() if named else COMPILING), *rest]
    else:
        said = "from tilegrad.kernels.cuda.run.backend import versions; print(versions())"
        tests = [*GATE, *rest]
    subprocess.run([python, "-c", said], cwd=ROOT, env=variables, check=True)
    # a kernel's formulas take minutes, and on a busy machine more than the suite's limit
    options = ["-q", "-p", "no:cacheprovider", "--timeout=7200"]
    command = [python, "-m", "pytest", *options, *tests]
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

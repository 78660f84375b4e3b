"""Results as JSON files, and children that measure in processes of their own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def add_out(parser: argparse.ArgumentParser) -> None:
    """``--out``."""
    parser.add_argument("--out", type=Path, metavar="JSON", help="add the figures to this file")


def write(path: Path | None, kind: str, content: dict[str, Any]) -> None:
    """Keep the results of one command beside those of others, if somebody wants them."""
    if path is None:
        return
    found = json.loads(path.read_text()) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**found, kind: content}, indent=1) + "\n")


def child(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python *arguments`` here, with the environment changed.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
    return done


def figures_of(*arguments: str, **environment: str) -> Any:
    """What such a process prints as JSON in its last line."""
    return json.loads(child(*arguments, **environment).stdout.splitlines()[-1])

"""`tilegrad run`: a PyTorch script, unchanged, on tilegrad."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from tilegrad.cli.failure import Failure
from tilegrad.drop_in import as_torch

USAGE = "usage: tilegrad run script.py [args]"


def run(arguments: argparse.Namespace) -> int:
    """Run the script with ``import torch`` served from tilegrad, as ``python script.py args`` would.

    Raises:
        Failure: no script is named, or it is no file.
    """
    words: list[str] = arguments.words
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    script = Path(words[0])
    if words[0].startswith("-") or not script.is_file():
        raise Failure(f"no such script: {words[0]} ({USAGE})")
    as_torch()
    sys.argv = words
    sys.path.insert(0, str(script.resolve().parent))
    runpy.run_path(str(script), run_name="__main__")
    return 0

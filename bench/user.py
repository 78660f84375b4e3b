"""An op of your own, MODULE:OP, forward and backward: against its source op by op, NumPy and PyTorch.

OP is what tilegrad's decorators made of a function (docs/kernels.md). Rates and errors as `.bench()` of the op tells them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from tilegrad.autograd.benching import LIBRARIES
from tilegrad.bench import columns, options
from tilegrad.bench.failure import Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench user``."""
    option = parser.add_argument
    option("op", metavar="MODULE:OP", help="package.module:name")
    option("--shape", nargs="+", action="append", default=[], metavar="N,N", help="of all operands, or of "
           "each; again for another row (1000000)")  # fmt: skip
    options.add_dtype(parser)
    option("--devices", type=options.words, default=["cpu"], metavar="cpu,cuda", help="where (cpu)")
    option("--against", type=options.words, metavar="LIBRARIES", help=", ".join(LIBRARIES))
    option("--rounds", type=options.whole, default=15, help="samples of each (%(default)s)")
    option("--out", type=Path, metavar="SVG", help="a picture of the times")


def run(given: argparse.Namespace) -> int:
    """Print the table."""
    op = _found(given.op)
    for name in given.against or ():
        if name not in LIBRARIES:
            raise Failure(f"--against takes {', '.join(LIBRARIES)}; got {name!r}")
    for device in columns.devices(given.devices):
        how: dict[str, Any] = {"dtype": given.dtype, "device": device, "rounds": given.rounds}
        try:
            op.bench(
                *map(_shapes, given.shape), libraries=given.against, picture=_text(given.out), **how
            )
        except (ValueError, TypeError, OSError) as error:
            raise Failure(" ".join(str(error).split())) from None
    return 0


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _shapes(texts: list[str]) -> Any:
    try:
        found = [tuple(int(n) for n in text.split(",")) for text in texts]
    except ValueError:
        raise Failure(f"--shape takes whole numbers with commas; got {' '.join(texts)}") from None
    return found[0] if len(found) == 1 else tuple(found)


def _found(path: str) -> Any:
    """The op.

    Raises:
        Failure: there is no such module or name, or it is no op of a user's.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise Failure(f"an op is named MODULE:OP; got {path!r}")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise Failure(f"cannot import {module}: {error}") from None
    except AttributeError:
        raise Failure(f"{module} has no {name!r}") from None
    if not hasattr(found, "bench"):
        raise Failure(f"{path} is no op made by tilegrad's decorators: it has no .bench")
    return found

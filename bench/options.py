"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tilegrad.bench import columns, sizes
from tilegrad.bench.columns import Column


def words(text: str) -> list[str]:
    """``a,b`` as a list."""
    return [word for word in text.split(",") if word]


def whole(text: str) -> int:
    """A whole number above zero."""
    if not text.isdigit() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; got {text!r}")
    return int(text)


def exponents(text: str) -> list[int]:
    """``2^10:2^26`` or ``2^10,2^20`` as exponents; ``2^10:2^26:1`` takes every one, not every other."""
    try:
        if ":" in text:
            first, last, *step = text.split(":")
            if len(step) > 1:
                raise ValueError
            found = list(range(_exponent(first), _exponent(last) + 1, int(step[0]) if step else 2))
        else:
            found = [_exponent(x) for x in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(sizes.LEAST <= x <= sizes.MOST for x in found):
        raise argparse.ArgumentTypeError(
            f"must be like 2^10:2^26 or 2^12,2^20, from 2^{sizes.LEAST} to 2^{sizes.MOST}; got {text!r}"
        )
    return sorted(set(found))


def _exponent(text: str) -> int:
    if text.startswith("2^"):
        return int(text[2:])
    n = int(text)
    if n < 1 or n & (n - 1):
        raise ValueError
    return n.bit_length() - 1


def add_places(parser: argparse.ArgumentParser) -> None:
    """``--devices``, ``--threads``, ``--against``."""
    option = parser.add_argument
    option("--devices", type=words, default=[], metavar="cpu,cuda", help="where (all there are)")
    option("--threads", type=words, default=[], metavar="1,all", help="of the CPU (1,all)")
    option("--against", type=words, metavar="LIBRARIES",
           help="torch, torch.compile, numpy, cupy (those that are installed)")  # fmt: skip


def places(given: argparse.Namespace) -> list[Column]:
    """The columns asked for.

    Raises:
        Failure: something is not there.
    """
    return columns.columns(
        columns.devices(given.devices),
        columns.threads(given.threads),
        columns.against(given.against),
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """``--out``, ``--resume``, ``--gpu-results``, ``--seed``."""
    option = parser.add_argument
    option(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of all results (a dated one under runs/bench)",
    )
    option(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on with the run in this folder, with its options",
    )
    option(
        "--limit", type=whole, metavar="SECONDS", help="begin nothing more after so long (no limit)"
    )
    option(
        "--gpu-results",
        type=Path,
        metavar="FILE",
        help="figures of another machine's GPU, for the report",
    )


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """``--dtype``."""
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)"
    )


def kept(given: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Those that a run that is resumed takes over."""
    return {name: getattr(given, name) for name in names}

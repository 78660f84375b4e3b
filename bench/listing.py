"""What can be measured: ops at any size, areas with rows of fixed sizes, trainings."""

from __future__ import annotations

import argparse

from tilegrad.bench import columns
from tilegrad.bench.areas import MARKS, chosen, missing
from tilegrad.bench.sizes import OPS
from tilegrad.bench.trainings import TRAININGS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench list``."""
    parser.add_argument("--rows", action="store_true", help="every row of every area too")


def run(given: argparse.Namespace) -> int:
    """Print it."""
    print("ops at sizes from 2^10 to 2^26 (`run OP… --sizes`), by area:")
    for area in dict.fromkeys(op.area for op in OPS):
        print(f"  {area:16}{', '.join(repr(op.name) for op in OPS if op.area == area)}")
    print("\nareas with rows of fixed sizes (`run AREA…`):")
    for area in MARKS:
        rows = [] if missing(area) else chosen([area])
        print(f"  {area:16}{missing(area) or f'{len(rows)} rows'}")
        for row in rows if given.rows else []:
            print(f"    {row.name}")
    print("\ntrainings, to a goal:")
    for training in TRAININGS:
        print(f"  {training.name:40}{training.stated}")
    print("\nlibraries:")
    for name in columns.LIBRARIES:
        print(f"  {name:16}{columns.missing(name) or 'installed'}")
    print(f"  GPU{'':13}{columns.gpu_missing() or 'there'}")
    return 0

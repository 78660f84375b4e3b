"""Random programs at full size on the hardware, as many as time allows: see :mod:`tests.large`."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path

from tests.large import NAMES, TABLE
from tests.large.__main__ import faults_of
from tests.large.program import Sizes, write
from tests.settled import settle
from tilegrad.bench.gpu.pool import Writer

SIZES = Sizes(elements=1_500_000, products=60_000_000)


def main() -> None:
    """Write the JSON of this stage; failing seeds as programs that run by themselves."""
    keep, deadline = Writer(Path(sys.argv[1])), time.perf_counter() + float(sys.argv[2]) - 4
    settle()
    ran, failed = 0, list[str]()
    seed = datetime.datetime.now(datetime.UTC).date().toordinal() * 100_000
    while time.perf_counter() < deadline:
        program = write(seed, TABLE, SIZES, NAMES)
        faults = faults_of(program, "cuda")
        if faults:
            failed.append(f"seed {seed}: {'; '.join(faults)}")
            print(program.text("cuda", whole=True), flush=True)
        ran, seed = ran + 1, seed + 1
        keep({"ran": ran, "failed": failed, "whole": True})
    keep({"ran": ran, "failed": failed, "whole": True}, now=True)


if __name__ == "__main__":
    main()

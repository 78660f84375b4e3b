"""Random programs at full size on the hardware, for 40 seconds: see :mod:`tests.large`."""

from __future__ import annotations

import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.large import NAMES, TABLE
from tests.large.__main__ import faults_of
from tests.large.program import Sizes, write

SECONDS = 40
SIZES = Sizes(elements=1_500_000, products=60_000_000)


def main() -> None:
    """Write the JSON of this stage; failing seeds as programs that run by themselves."""
    start, ran, failed = time.perf_counter(), 0, dict[str, Any]()
    seed = datetime.datetime.now(datetime.UTC).date().toordinal() * 100_000
    while time.perf_counter() - start < SECONDS:
        program = write(seed, TABLE, SIZES, NAMES)
        faults = faults_of(program, "cuda")
        if faults:
            failed[str(seed)] = {"faults": faults, "program": program.text("cuda", whole=True)}
        ran, seed = ran + 1, seed + 1
    result = {"ran": ran, "failed": failed}
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1))
    if failed:
        print(json.dumps(failed, indent=1)[:4000])


if __name__ == "__main__":
    main()

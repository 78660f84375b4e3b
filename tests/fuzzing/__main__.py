"""``python -m tests.fuzzing``: files of models, spoiled at random and on purpose, read by tied hands.

``--seconds`` for each kind of file, ``--only`` some kinds, ``--first`` seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.fuzzing.targets import TARGETS


def read(name: str, first: int, count: int, seconds: float) -> dict[str, Any]:
    """What came of spoiled files of a kind, in a process of their own; a crash is a finding."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "models"
        folder.mkdir()
        words = [name, str(folder), str(first), str(count), str(seconds)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzzing.child", *words], capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
    if done.returncode:
        said = {"what": f"the process ended with {done.returncode}", "said": done.stderr[-2000:]}
        return {"read": 0, "refused": 0, "slowest": 0.0, "findings": [said]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("--seconds", type=float, default=300, help="for each kind (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="seed (%(default)s)")
    parser.add_argument("--only", default=",".join(TARGETS), help="kinds, by comma")
    options = parser.parse_args(argv)
    wrong = 0
    for name in TARGETS:
        if name not in options.only.split(","):
            continue
        made = read(name, options.first, 1 << 40, options.seconds)
        print(f"{name}: {made['read']} read, {made['refused']} refused, slowest {made['slowest']} s, "
              f"{len(made['findings'])} findings")  # fmt: skip
        for one in made["findings"][:10]:
            print(f"  {one['what']}: {one['said']}")
        wrong += len(made["findings"])
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

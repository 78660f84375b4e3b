"""One tree's tilegrad in a process of its own: prepares a row when told to, and times samples of it.

``python -m bench.sampler THREADS`` answers each line of JSON on its standard input with one on its
standard output: ``["prepare", area, name]`` with ``{}``, or with ``{"missing": reason}`` where this
tilegrad cannot run the row; ``["sample"]`` with ``{"seconds": of one call}``.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any

from bench.areas import Benchmark, chosen
from bench.harness import Call, repeat_count, sample


class Sampler:
    """The row at hand, and how many calls a sample of it takes."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Benchmark] = {(r.area, r.name): r for r in chosen()}
        self.call: Call = lambda: None
        self.count = 1

    def prepare(self, area: str, name: str) -> dict[str, Any]:
        """Compile, warm up and count; the row before is forgotten."""
        self.call = lambda: None
        gc.collect()
        try:
            self.call = self.rows[area, name].prepare("tilegrad").call
            self.call()
        except Exception as error:
            return {"missing": f"{type(error).__name__}: {error}"}
        gc.collect()
        gc.freeze()  # what is there already costs no row a pass of the collector
        self.count = repeat_count(self.call)
        return {}

    def sample(self) -> dict[str, Any]:
        """One sample; a call before it wakes the threads."""
        if self.count > 1:
            self.call()
        return {"seconds": sample(self.call, self.count)}


def main(threads: int) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a row prints is no answer
    import tilegrad

    tilegrad.set_num_threads(threads)
    sampler = Sampler()
    for text in sys.stdin:
        command, *arguments = json.loads(text)
        print(json.dumps(getattr(sampler, command)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

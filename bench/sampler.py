"""One tree's tilegrad in a process of its own: prepares a row when told to, and times samples of it.

The file is run as a script, ``python bench/sampler.py THREADS``, with any tree's tilegrad: the rows are those
of the tree that the file lies in, which takes the place of that tilegrad's own ``bench``. It answers each line of JSON on its standard input with one on its
standard output: ``["prepare", area, name]`` with ``{}``, or with ``{"missing": reason}`` where this
tilegrad cannot run the row; ``["sample"]`` with ``{"seconds": of one call}``.
"""

from __future__ import annotations

import gc
import importlib.machinery
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilegrad.bench.areas import Benchmark
    from tilegrad.bench.harness import Call


def graft() -> None:
    """Have ``tilegrad.bench`` be the folder of this file, in whichever tree's tilegrad."""
    import tilegrad

    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "tilegrad.bench", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tilegrad.bench"] = tilegrad.bench = module
    spec.loader.exec_module(module)


class Sampler:
    """The row at hand, and how many calls a sample of it takes."""

    def __init__(self) -> None:
        from tilegrad.bench.areas import chosen

        self.rows: dict[tuple[str, str], Benchmark] = {(r.area, r.name): r for r in chosen()}
        self.call: Call = lambda: None
        self.count = 1

    def prepare(self, area: str, name: str) -> dict[str, Any]:
        """Compile, warm up and count; the row before is forgotten."""
        from tilegrad.bench.harness import repeat_count

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
        from tilegrad.bench.harness import sample

        if self.count > 1:
            self.call()
        return {"seconds": sample(self.call, self.count)}


def main(threads: int) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a row prints is no answer
    graft()
    import tilegrad

    tilegrad.set_num_threads(threads)
    sampler = Sampler()
    for text in sys.stdin:
        command, *arguments = json.loads(text)
        print(json.dumps(getattr(sampler, command)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

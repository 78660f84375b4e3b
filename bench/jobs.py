"""A run: its jobs one after the other, with progress, kept on Ctrl-C, resumed where it stopped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tilegrad.bench import energy, machine, store
from tilegrad.bench.columns import spoken
from tilegrad.bench.figures import seconds
from tilegrad.bench.store import Results

KEEP = 2.0  # seconds between two writings of the results, at least


class Job(NamedTuple):
    """What is measured in one piece.

    Attributes:
        key: of its own in the run; a run that is resumed leaves out those that are done.
        weight: about how many seconds it takes.
        run: adds what it finds to the results.
    """

    key: str
    weight: float
    run: Callable[[Results], Any]


def header(threads: int, seed: int, brief: bool = False) -> dict[str, Any]:
    """What figures depend on; ``brief`` leaves out what takes seconds to ask."""
    found = dict(machine.facts(threads, brief))
    known = {k: str(found.pop(k)) for k in machine.PACKAGES if k in found}
    return {
        **found,
        "versions": {"python": str(found.pop("python")), **known},
        "commit": str(found.pop("commit")),
        "caches": machine.caches(),
        "seed": seed,
        **machine.gpu(),
        "clocks": {"before": energy.clocks()},
        "load": {"before": list(os.getloadavg())},
    }


def carry_out(
    jobs: Sequence[Job], results: Results, place: Path, limit: float | None = None
) -> int:
    """Run what is not done yet; 130 after Ctrl-C, with all that was measured kept.

    After ``limit`` seconds no job begins any more.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    others, kept, status = machine.Others(), time.perf_counter(), 0
    left = [job for job in jobs if job.key not in set(results["done"])]
    console = Console() if sys.stdout.isatty() else Console(width=130)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
        console=console, disable=not sys.stderr.isatty() and not sys.stdout.isatty(),
    )  # fmt: skip
    clock = _Clock(left)
    with progress:
        bar = progress.add_task("", total=sum(j.weight for j in left), left="")
        try:
            for job in left:
                if limit is not None and time.perf_counter() - clock.start > limit:
                    why = f"--limit {limit:g}: no time was left"
                    results["left_out"].append({"what": job.key, "why": why})
                    continue
                progress.update(bar, description=f"{job.key:34}"[:34], left=clock.left())
                before = len(results["rows"])
                try:
                    job.run(results)
                except Exception as error:  # the other jobs go on
                    why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                    results["left_out"].append({"what": job.key, "why": why})
                results["done"].append(job.key)
                clock.done(job)
                progress.update(bar, advance=job.weight)
                for text in lines(results["rows"][before:]):
                    progress.console.print(text, highlight=False)
                if time.perf_counter() - kept > KEEP:
                    store.save(place, results)
                    kept = time.perf_counter()
            results["finished"] = all(job.key in results["done"] for job in jobs)
        except KeyboardInterrupt:
            status = 130
    _close(results, others)
    store.save(place, results)
    return status


def _close(results: Results, others: machine.Others) -> None:
    results["machine"]["clocks"]["after"] = energy.clocks()
    results["machine"]["load"]["after"] = list(os.getloadavg())
    results["machine"]["load"]["others"] = round(others.share(), 4)


class _Clock:
    """How long the rest takes, by the seconds that a unit of weight took so far."""

    def __init__(self, jobs: Sequence[Job]):
        self.rest = sum(j.weight for j in jobs)
        self.past, self.start = 0.0, time.perf_counter()

    def done(self, job: Job) -> None:
        """Count it."""
        self.rest -= job.weight
        self.past += job.weight

    def left(self) -> str:
        """``about 3:20 left``."""
        pace = (time.perf_counter() - self.start) / self.past if self.past else 1.0
        minutes, rest = divmod(int(self.rest * pace), 60)
        return f"about {minutes}:{rest:02} left"


def lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """A row as it is shown while it runs: each column's best time, and what it is against tilegrad's."""
    if not records:
        return []
    cells = []
    for record in records:
        if "fault" in record:
            cells.append(f"{spoken(record['column'])}: {record['fault'][:60]}")
            continue
        wrong = "" if record["agrees"] else ", WRONG"
        cells.append(f"{spoken(record['column'])} {seconds(record['min'])}{wrong}")
    return [f"[bold]{records[0]['name']:26}[/bold] {' · '.join(cells)}"]

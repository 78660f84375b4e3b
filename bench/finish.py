"""The end of a run: its tables on the terminal, its files, and where they lie."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from tilegrad.bench import columns, store
from tilegrad.bench.failure import Failure
from tilegrad.bench.figures import seconds
from tilegrad.bench.store import Results

BUSY = 0.05  # of the processors' time, taken by others: beyond it figures mean little

# what the end of a run needs: module -> package
_NEEDED = {"rich": "rich", "jsonschema": "jsonschema", "vl_convert": "vl-convert-python"}


def check(gpu: Path | None) -> None:
    """Say before anything is measured what its end would lack.

    Raises:
        Failure: a package is missing, or the figures of a GPU machine cannot be read.
    """
    for module, package in _NEEDED.items():
        if importlib.util.find_spec(module) is None:
            raise Failure(f"{package} is not installed; pip install 'tilegrad[bench]'")
    if gpu is not None:
        from tilegrad.bench import gpu_results

        gpu_results.read(gpu)


def finish(results: Results, place: Path, gpu: Path | None = None) -> None:
    """Tables, results.csv, report.html, and the folder's name last."""
    from rich.console import Console

    from tilegrad.bench import page

    console = Console() if sys.stdout.isatty() else Console(width=130)
    for table in tables(results):
        console.print(table)
    for note in notes(results):
        console.print(note, highlight=False)
    store.write_csv(place, results)
    (place / "report.html").write_text(page.page(results, gpu), encoding="utf-8")
    state = "" if results["finished"] else f" (not finished: --resume {place} goes on)"
    console.print(f"results in {place}/{state}", highlight=False, soft_wrap=True)


def tables(results: Results) -> list[Any]:
    """A table an area: each column's best time, and the speedup of tilegrad's fastest over the others."""
    from rich import box
    from rich.table import Table

    found = []
    for area in dict.fromkeys(r["area"] for r in results["rows"]):
        rows = [r for r in results["rows"] if r["area"] == area and "min" in r]
        keys = list(dict.fromkeys(r["column"] for r in rows))
        table = Table(title=area, title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("", no_wrap=True)
        for key in keys:
            table.add_column(columns.spoken(key), justify="right")
        for head in ("over NumPy", "over PyTorch", "of the roof", "error"):
            table.add_column(head, justify="right")
        for name in dict.fromkeys(r["name"] for r in rows):
            same = {r["column"]: r for r in rows if r["name"] == name}
            table.add_row(name, *(_time(same.get(k)) for k in keys), *_against(list(same.values())))
        found.append(table)
    return found


def _time(record: dict[str, Any] | None) -> str:
    if record is None:
        return ""
    return seconds(record["min"]) + ("" if record["agrees"] else " WRONG")


def _against(records: list[dict[str, Any]]) -> list[str]:
    """tilegrad's best column over the best of NumPy and of PyTorch on its device, its share and error."""
    ours = [r for r in records if r["library"] == "tilegrad"]
    if not ours:
        return ["", "", "", ""]
    best = min(ours, key=lambda r: float(r["min"]))
    cells = []
    for library in ("numpy", "torch"):
        ratios = [v for k, v in best["speedup"].items() if k.split("/")[0] == library]
        cells.append(f"{min(ratios):.2f}x" if ratios else "")
    share = best["share"]
    error = best["error"]
    return [*cells, f"{share:.0%}" if share else "", "off" if error is None else f"{error:.0e}"]


def notes(results: Results) -> list[str]:
    """Trainings, what was left out, and what a GPU would add, in lines."""
    found = []
    for one in results["trainings"]:
        where = f"{one['name']}, {columns.spoken(one['column'])}"
        if "fault" in one:
            found.append(f"{where}: {one['fault']}")
        elif one["seconds"] is None:
            found.append(f"{where}: {one['goal']} not reached in {one['steps']} steps")
        else:
            found.append(
                f"{where}: {one['goal']} after {seconds(one['seconds'])}, {seconds(one['step'])} a step"
            )
    out = results["left_out"]
    if out:
        found.append(f"{len(out)} left out, as {out[0]['what']}: {out[0]['why']}")
    wrong = [r for r in results["rows"] if not r.get("agrees", True)]
    found += [
        f"WRONG: {r['name']}, {columns.spoken(r['column'])}, off by {r['error']}" for r in wrong
    ]
    found += [line for line in (busy(results), no_gpu(results)) if line]
    return found


def busy(results: Results) -> str:
    """That other processes disturbed the run, where they did."""
    others = results["machine"]["load"].get("others", 0.0)
    if others < BUSY:
        return ""
    return f"Other processes took {others:.0%} of the processors meanwhile: these figures are not to be relied on."


def no_gpu(results: Results) -> str:
    """What a GPU would add, where the run had none."""
    if any(r["device"] == "cuda" for r in results["rows"]):
        return ""
    return (
        "No GPU was measured: on a machine with one, this command adds its times, the size from which it wins, "
        "and what copies to and from it cost."
    )

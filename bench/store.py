"""A run's folder: results.json with its schema, results.csv, report.html."""

from __future__ import annotations

import csv
import datetime
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from tilegrad.bench.failure import Failure

SCHEMA = "tilegrad-bench/1"
FILE = "results.json"
FOLDER = Path("runs/bench")  # dated folders are made in it

Results = dict[str, Any]


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of results.json."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text())
    return found


def empty(command: str, options: dict[str, Any], machine: dict[str, Any]) -> Results:
    """Results of a run that begins."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "schema": SCHEMA, "created": now, "command": command, "options": options, "machine": machine,
        "roofline": {}, "rows": [], "trainings": [], "left_out": [], "done": [], "finished": False,
    }  # fmt: skip


def folder(out: Path | None) -> Path:
    """The folder of a new run, made.

    Raises:
        Failure: it cannot be made, or holds results already.
    """
    if out is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
        out = FOLDER / stamp
    if (out / FILE).exists():
        raise Failure(f"{out} holds results already; --resume {out} goes on with them")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot make {out}: {error.strerror}") from None
    return out


def save(place: Path, results: Results) -> None:
    """Write results.json in one step: a reader never sees half of it."""
    path, scratch = place / FILE, place / f".{FILE}"
    scratch.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    os.replace(scratch, path)


def path_of(where: Path) -> Path:
    """The result file of a run, named by its folder or by itself."""
    return where / FILE if where.is_dir() else where


def read(where: Path) -> dict[str, Any]:
    """The JSON of a result file, of any kind.

    Raises:
        Failure: it is not there, cut off, or no JSON object.
    """
    path = path_of(where)
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise Failure(f"{path} is no whole JSON file ({error}); was it cut off?") from None
    if not isinstance(found, dict):
        raise Failure(f"{path} is no result file: it holds a {type(found).__name__}")
    return found


def load(where: Path) -> Results:
    """Results of this schema.

    Raises:
        Failure: the file is not there, cut off, or of another schema.
    """
    found = read(where)
    path = path_of(where)
    if found.get("schema") != SCHEMA:
        raise Failure(
            f"{path} is of schema {found.get('schema', 'unknown')!r}; this program reads {SCHEMA!r}"
        )
    import jsonschema

    try:
        jsonschema.validate(found, schema())
    except jsonschema.ValidationError as error:
        where_in = "/".join(map(str, error.absolute_path)) or "the top"
        raise Failure(
            f"{path} does not hold to {SCHEMA}: at {where_in}: {error.message[:120]}"
        ) from None
    return found


COLUMNS = (
    "op", "area", "name", "size", "shapes", "dtype", "device", "threads", "library", "rounds", "calls", "min",
    "median", "p95", "cold", "gbps", "gflops", "share", "bound", "error", "tolerance", "oracle", "agrees",
    "joules", "first cold", "first cached", "fault",
)  # fmt: skip


def write_csv(place: Path, results: Results) -> None:
    """A line for each record: what COLUMNS names, and its speedup over each other column."""
    others = list(dict.fromkeys(r["column"] for r in results["rows"]))
    with (place / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *(f"speedup over {o}" for o in others)])
        for record in results["rows"]:
            flat = {**record, "shapes": " ".join("x".join(map(str, s)) for s in record["shapes"])}
            first = record.get("first_call") or {}
            flat |= {"first cold": first.get("cold"), "first cached": first.get("cached")}
            speedups = record.get("speedup", {})
            writer.writerow([*(flat.get(c) for c in COLUMNS), *(speedups.get(o) for o in others)])

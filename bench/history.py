"""Committed results of earlier commits: PyTorch's time over ours, by area."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

from tilegrad.bench.figures import geometric_mean

FOLDER = Path(__file__).resolve().parent / "results"  # in a clone


def found(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """``{"date", "commit", "machine", "areas": {area: ratio}}`` of each file, oldest first; it is named for its
    machine.
    """
    past = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(ValueError, KeyError, OSError, TypeError):
            if one := _of(json.loads(path.read_text())):
                past.append({**one, "machine": path.stem})
    return sorted(past, key=lambda p: str(p["date"]))


def _of(content: dict[str, Any]) -> dict[str, Any] | None:
    if "table" in content:  # of `tilegrad bench table --out`
        machine = content["table"]["machine"]
        areas = {k: v["mean"] for k, v in content["table"]["areas"].items() if k != "all"}
        day = content.get("date") or _day(machine["commit"])
        return {
            "date": day,
            "commit": machine["commit"],
            "areas": areas,
        }
    if str(content.get("schema", "")).startswith("tilegrad-bench/"):
        machine, ratios = content["machine"], dict[str, list[float]]()
        for r in content["rows"]:
            other = f"torch/{r['device']}" + (f"/{r['threads']}" if r["threads"] else "")
            if r["library"] == "tilegrad" and other in r.get("speedup", {}):
                ratios.setdefault(r["area"], []).append(r["speedup"][other])
        areas = {k: geometric_mean(v) for k, v in ratios.items()}
        return {
            "date": content["created"][:10],
            "commit": machine["commit"],
            "areas": areas,
        }
    if "families" in content:  # of the GPU check
        areas = {}
        for section in ("families", "products", "training"):
            over = [
                v["torch/tilegrad"]
                for v in content[section].values()
                if isinstance(v, dict) and "torch/tilegrad" in v
            ]
            if over:
                areas[{"families": "memory-bound", "products": "matmul"}.get(section, section)] = (
                    geometric_mean(over)
                )
        return {
            "date": content.get("date", ""),
            "commit": content.get("commit", ""),
            "areas": areas,
        }
    return None


def _day(commit: str) -> str:
    """When a commit was made, where git knows it."""
    try:
        done = subprocess.run(
            ["git", "-C", str(FOLDER.parent), "show", "-s", "--format=%cs", commit.split(",")[0]],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return ""
    return done.stdout.strip()

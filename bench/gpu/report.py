"""The GPU check's result as a short table."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

# section -> (column that counts, mark, whether more is better)
MARKS = {
    "families": ("share of copy", 0.85, True),
    "products": ("torch/tilegrad", 0.80, True),
    "convolutions": ("forward, torch/tilegrad", 0.60, True),
    "overhead": ("tilegrad/torch", 1.5, False),
}


def table(results: dict[str, Any]) -> str:
    """Lines for a terminal."""
    facts = results.get("environment", {})
    lines = [facts.get("nvidia-smi", "(no environment)"), f"commit {facts.get('commit', '?')}", ""]
    for stage, result in results.items():
        said = _said(stage, result)
        lines.append(f"{stage:<12} {result.get('seconds', 0):6.1f} s  {said}")
        for line in result.get("failed", [])[:20]:
            lines.append(f"    {line}")
        if "error" in result:
            lines += [f"    {line}" for line in result["error"]["log"]]
    for section, rows in results.get("speed", {}).items():
        if isinstance(rows, dict) and section != "error":
            lines += ["", *_section(section, rows)]
    return "\n".join(lines)


def _said(stage: str, result: dict[str, Any]) -> str:
    if "error" in result:
        return f"FAILED: {result['error']['what']}"
    if stage == "build":
        return f"{result['kernels']} kernels, {len(result['failed'])} failed"
    if stage in ("correctness", "large"):
        return f"{result['ran']} of {result['of']} checks, {len(result['failed'])} failed"
    if stage == "programs":
        return f"{result['ran']} seeds, {len(result['failed'])} failed"
    if stage == "sanitizer":
        foreign = sum(n for found in result["foreign"].values() for n in found.values())
        tools = "; ".join(f"{k}: {v}" for k, v in result["tools"].items())
        return result.get("note") or f"{tools} ({foreign} of them not ours)"
    if stage == "train":
        return f"accuracy {result['accuracy']} % in {result['wall_seconds']} s"
    return "done"


def _section(name: str, rows: dict[str, Any]) -> list[str]:
    lines = [name]
    column, mark, more = MARKS.get(name, ("", 0.0, True))
    values = []
    for row, columns in rows.items():
        if not isinstance(columns, dict):
            lines.append(f"  {row}: {columns}")
            continue
        cells = [f"{k} {_number(v)}" for k, v in columns.items()]
        value = columns.get(column)
        missed = ""
        if isinstance(value, float):
            values.append(value)
            missed = "" if (value >= mark) is more or value == mark else f"   (mark {mark})"
        lines.append(f"  {row:<20} {', '.join(cells)}{missed}")
    if values:
        mean = math.exp(sum(map(math.log, values)) / len(values))
        lines.append(f"  {'geometric mean':<20} {column} {_number(mean)}, mark {mark}")
    return lines


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))

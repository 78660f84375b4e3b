"""The GPU check's result as a short table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MARK = 0.8  # PyTorch's time over ours: less is said


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
    rows = results.get("speed", {}).get("rows", {})
    lines += ["", *map(_row, rows, rows.values())] if rows else []
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
    if stage == "speed":
        return f"{len(result.get('rows', {}))} rows, {len(result['failed'])} failed; {result['folder']}"
    if stage == "train":
        return f"accuracy {result['accuracy']} % in {result['wall_seconds']} s"
    return "done"


def _row(name: str, row: dict[str, Any]) -> str:
    """Microseconds, the share of the measured roofline, and PyTorch's time over ours."""
    share = "" if row["share"] is None else f"{row['share']:.0%} of the roof"
    ratio = row["torch/tilegrad"]
    against = (
        "" if ratio is None else f"{ratio:.2f}x PyTorch{f' (mark {MARK})' if ratio < MARK else ''}"
    )
    return f"  {name:<26}{row['us']:>12.1f} us  {share:>18}  {against}".rstrip()


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))

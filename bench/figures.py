"""Figures as text: times, ratios, one line a row, the areas against their marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tilegrad.bench.areas import ALL, MARKS, Mark

Result = dict[str, Any]


def seconds(value: float | None) -> str:
    """``12.3 us``, three digits."""
    if value is None:
        return ""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{_three(value / scale)} {unit}"
    return f"{value * 1e9:.0f} ns"


def _three(value: float) -> str:
    return f"{value:.{max(0, 2 - int(math.log10(value)))}f}" if value < 1000 else f"{value:.0f}"


def verdict(result: Result) -> str:
    """``1.23x``, or what is wrong."""
    if not result.get("agrees", True):
        return "WRONG"
    return f"{result['ratio']:.2f}x" if "ratio" in result else ""


def notes(result: Result) -> str:
    """What else is known: spread where it is large, rate, errors, how far WRONG is."""
    found = []
    if "gflops" in result:
        found.append(f"{result['gflops']:.0f} GF/s")
    if "errors" in result:
        kind, ours, theirs = (result["errors"][k] for k in ("kind", "tilegrad", "torch"))
        digits = ".1f" if kind == "ulp" else ".1e"
        found.append(f"{kind} {ours:{digits}} ({theirs:{digits}})")
    wide = {k: s for k, s in result["spread"].items() if s > 1.3 and k != "numpy"}
    found += [f"unsteady: {k} {s:.1f}" for k, s in wide.items()]
    if not result.get("agrees", True):
        found.append(f"differs by {result['difference']:.1e}")
    return ", ".join(found)


HEAD = f"{'':36}{'tilegrad':>10}{'PyTorch':>10}{'NumPy':>10}{'ratio':>9}  "


def line(result: Result) -> str:
    """One row as text."""
    times = result["seconds"]
    columns = "".join(f"{seconds(times.get(x)):>10}" for x in ("tilegrad", "torch", "numpy"))
    return f"{result['name']:36}{columns}{verdict(result):>9}  {notes(result)}".rstrip()


def geometric_mean(ratios: Sequence[float]) -> float:
    """The mean of factors."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def summary(results: list[Result]) -> dict[str, dict[str, Any]]:
    """Per area, then for all: geometric mean and least row, the marks, and rows under the mark."""
    found = {}
    for area, mark in [*MARKS.items(), ("all", ALL)]:
        rows = [r for r in results if area in (r["area"], "all")]
        if any("ratio" in r for r in rows):
            found[area] = _summary(rows, mark)
    return found


def _summary(rows: list[Result], mark: Mark) -> dict[str, Any]:
    compared = [r for r in rows if "ratio" in r]
    mean = geometric_mean([r["ratio"] for r in compared])
    least = min(compared, key=lambda r: r["ratio"])
    under = [r["name"] for r in compared if r["ratio"] < mark.least]
    wrong = [r["name"] for r in rows if not r.get("agrees", True)]
    return {
        "rows": len(rows),
        "mean": mean,
        "mean mark": mark.mean,
        "least": least["ratio"],
        "least row": least["name"],
        "least mark": mark.least,
        "under": under,
        "wrong": wrong,
        "reached": mean >= mark.mean and not under and not wrong,
    }


def summary_lines(found: dict[str, dict[str, Any]]) -> list[str]:
    """The areas against their marks, as text."""
    lines = [f"{'area':14}{'rows':>5}{'mean':>8}{'mark':>7}{'least':>8}{'mark':>7}  under the mark"]
    for area, s in found.items():
        missed = f"{len(s['under'])} rows, least {s['least row']}" if s["under"] else "none"
        wrong = f"; {len(s['wrong'])} WRONG" if s["wrong"] else ""
        lines.append(
            f"{area:14}{s['rows']:>5}{s['mean']:>7.2f}x{s['mean mark']:>6.1f}x"
            f"{s['least']:>7.2f}x{s['least mark']:>6.2f}x  {missed}{wrong}"
        )
    return lines

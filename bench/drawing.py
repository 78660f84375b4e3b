"""What the report's charts share: their look, axes, and the words for what was measured where."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilegrad.bench.store import Results

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# middle tones: three to one against white and against the dark page
COLOURS = [
    "#2f7fc1",
    "#c9690f",
    "#2a9266",
    "#bb4f93",
    "#8467cf",
    "#92800a",
    "#2b919f",
    "#c4483d",
    "#767c85",
]

FIXED_HEIGHT = {"type": "fit-x", "contains": "padding"}

Spec = dict[str, Any]


@dataclass
class Chart:
    """A figure: its name in the page, heading, what it says in words, specification and table."""

    name: str
    title: str
    caption: str
    spec: Spec
    heads: list[str]
    rows: list[list[str]] = field(default_factory=list)


def specification(values: Iterable[dict[str, Any]], **parts: Any) -> Spec:
    """A specification over rows, as wide as its column."""
    return {
        "$schema": SCHEMA, "width": "container", "height": 380,
        "autosize": {"type": "fit", "contains": "padding", "resize": True},
        "data": {"values": list(values)}, "config": CONFIG, **parts,
    }  # fmt: skip


CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "axis": {"labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
             "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.13, "labelFontSize": 12,
             "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 130},
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "orient": "bottom", "columns": 4,
               "labelFontSize": 12, "title": None, "labelLimit": 220, "symbolStrokeWidth": 2},
    "text": {"color": "currentColor", "fontSize": 12},
    "rule": {"color": "currentColor"},
    "view": {"stroke": None},
    "range": {"category": COLOURS},
}  # fmt: skip
POWER = "'2^' + round(log(datum.value) / LN2)"
TIMES = "format(datum.value, '~r') + 'x'"


def sized(results: Results) -> list[dict[str, Any]]:
    """The rows of ops that have a size."""
    return [r for r in results["rows"] if r["size"] and "min" in r]


def height(bands: int, each: int) -> int:
    """Pixels of so many bands."""
    return 40 + bands * each


def marked(axis: Spec | None = None) -> Spec:
    """An axis of a logarithmic scale that is marked at 1, 2 and 5 alone."""
    values = [float(f"{m}e{k}") for k in range(-10, 7) for m in (1, 2, 5)]
    return {"values": values, "labelOverlap": True, **(axis or {})}


def known(values: Sequence[dict[str, Any]], field: str) -> Spec:
    """Colours in the order of columns, tilegrad's first."""
    names = list(dict.fromkeys(str(v[field]) for v in values))
    return {
        "domain": sorted(names, key=lambda n: (not n.startswith("tilegrad"), n)),
        "range": COLOURS,
    }


def three(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def power(size: int) -> str:
    """A number of elements as a power of two, where it is one."""
    k = math.log2(size)
    return f"2^{k:.0f}" if k == int(k) else f"{size:,}"


def where(record: dict[str, Any]) -> str:
    """The device of a record in words."""
    return "GPU" if record["device"] == "cuda" else threads(record["threads"])


def threads(count: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{count} thread{'s' * (count != 1)}"

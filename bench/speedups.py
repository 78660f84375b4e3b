"""The report's first chart: how many times as fast one thing is as another, by size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilegrad.bench.columns import spoken
from tilegrad.bench.drawing import (
    COLOURS,
    POWER,
    TIMES,
    Chart,
    Spec,
    marked,
    power,
    sized,
    specification,
    three,
)
from tilegrad.bench.gpu_results import Gpu
from tilegrad.bench.store import Results

BOOK = 50  # the speedup that a GPU is often said to bring


def comparisons(results: Results, gpu: Gpu | None) -> list[tuple[str, str, str, int, float]]:
    """(what over what, op, area, size, speedup), those with a GPU first."""
    found = []
    for r in sized(results):
        if r["library"] != "tilegrad":
            continue
        for other, ratio in r["speedup"].items():
            if _told(r, other):
                what = f"{spoken(r['column'])}, over {spoken(other)}"
                found.append((what, r["op"], r["area"], r["size"], ratio))
    if gpu is not None:
        found += _committed(results, gpu)
    return sorted(found, key=lambda f: (not _is_gpu(f[0], gpu), "over tilegrad" not in f[0]))


def _told(record: dict[str, Any], other: str) -> bool:
    """Whether a comparison is told: GPU with CPU, more threads with one, and others on as many threads."""
    library, device, *threads = other.split("/")
    if library != "tilegrad":
        return device == record["device"] and threads in ([], [str(record["threads"])])
    if record["device"] == "cuda":
        return device == "cpu"
    return device == "cpu" and threads == ["1"] and record["threads"] > 1


def _committed(results: Results, gpu: Gpu) -> list[tuple[str, str, str, int, float]]:
    """A committed GPU over this machine's processor, and over its own."""
    found = []
    here = {(r["op"], r["size"], r["column"]): r for r in sized(results) if r["agrees"]}
    keys = dict.fromkeys(k for _, _, k in here if k.startswith("tilegrad/cpu"))
    for key in keys:
        for call in gpu.calls:
            record = here.get((call.op, call.size, key))
            if record:
                what = f"{gpu.name} (committed), over this machine: {spoken(key)}"
                found.append((what, call.op, call.area, call.size, record["min"] / call.seconds))
    for op, size, ratio in gpu.own:
        area = next((c.area for c in gpu.calls if c.op == op), "convolutions")
        found.append((f"{gpu.name} (committed), over its own machine's CPU", op, area, size, ratio))
    return found


def crossover(points: Sequence[tuple[int, float]]) -> int | None:
    """The size from which the speedup stays above one; None where it never does."""
    found = None
    for size, ratio in sorted(points, reverse=True):
        if ratio <= 1:
            break
        found = size
    return found


def chart(results: Results, gpu: Gpu | None) -> Chart:
    """Speedup against size, with the crossover and the 50x line."""
    found = comparisons(results, gpu)
    whats = list(dict.fromkeys(f[0] for f in found))
    lines = [{"what": w, "y": 1, "label": "as fast"} for w in whats]
    lines += [{"what": w, "y": BOOK, "label": f"{BOOK}x"} for w in whats if _is_gpu(w, gpu)]
    keys = ("what", "op", "area", "size", "speedup")
    values = [{**dict(zip(keys, f, strict=True)), "elements": power(f[3])} for f in found]
    choice = {"input": "select", "options": whats, "name": "Compare "}
    spec = specification(
        values,
        height=420,
        params=[{"name": "what", "value": whats[0] if whats else "", "bind": choice}],
        layer=_layers(lines),
    )
    rows = []
    for what in whats:
        for op in dict.fromkeys(f[1] for f in found if f[0] == what):
            points = [(f[3], f[4]) for f in found if f[0] == what and f[1] == op]
            at, best = crossover(points), max(points, key=lambda p: p[1])
            rows.append([what, op, power(at) if at else "never", f"{three(best[1])}x at {power(best[0])}"])  # fmt: skip
    caption = (
        "How many times as fast the first is as the second, by the number of elements of one call. Above the line "
        "“as fast” the first wins; the table names the size from which it does. Choose an area in the legend to see it alone."
    )
    heads = ["what over what", "op", "wins from", "best"]
    return Chart("speedup", "Speedup against size", caption, spec, heads, rows)


def _layers(lines: list[dict[str, Any]]) -> list[Spec]:
    """The two lines across, with their names; a line and its points for each op."""
    x = {"field": "size", "type": "quantitative", "title": "elements",
         "scale": {"type": "log", "base": 2, "nice": False, "padding": 12},
         "axis": {"values": [1 << k for k in range(10, 27, 2)], "labelExpr": POWER, "grid": False}}  # fmt: skip
    y = {"type": "quantitative", "title": "times as fast", "scale": {"type": "log"},
         "axis": marked({"labelExpr": TIMES})}  # fmt: skip
    tip = [{"field": "op"}, {"field": "elements"}, {"field": "speedup", "format": ".3~r"},
           {"field": "what", "title": " "}]  # fmt: skip
    marks = {"x": x, "y": {**y, "field": "speedup"}, "detail": {"field": "op"},
             "color": {"field": "area", "scale": {"range": COLOURS}}, "tooltip": tip,
             "opacity": {"condition": {"param": "area", "value": 1}, "value": 0.08}}  # fmt: skip
    seen = [{"filter": "datum.what == what"}]
    across = {"data": {"values": lines}, "transform": seen}
    by_area = {"name": "area", "select": {"type": "point", "fields": ["area"]}, "bind": "legend"}
    named = {"type": "text", "align": "right", "baseline": "bottom", "dy": -3, "x": "width"}
    return [
        {**across, "mark": {"type": "rule", "strokeDash": [5, 4], "opacity": 0.7},
         "encoding": {"y": {**y, "field": "y"}}},
        {**across, "mark": named, "encoding": {"y": {**y, "field": "y"}, "text": {"field": "label"}}},
        {"transform": seen, "mark": {"type": "line", "strokeWidth": 1.6}, "params": [by_area], "encoding": marks},
        {"transform": seen, "mark": {"type": "point", "filled": True, "size": 46}, "encoding": marks},
    ]  # fmt: skip


def _is_gpu(what: str, gpu: Gpu | None) -> bool:
    return what.startswith("tilegrad, GPU") or (gpu is not None and what.startswith(gpu.name))
